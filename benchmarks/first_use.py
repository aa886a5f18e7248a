"""The first use on a fresh install, compilation included, and the next process, which finds the cache.

.venv/bin/python benchmarks/first_use.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

CODE = """
import time; start = time.perf_counter()
import numpy as np
from napari_exposure import core
volume = np.random.default_rng(0).integers(0, 4000, (60, 256, 256), dtype=np.uint16).astype({dtype!r})
core.{verb}(volume)
print(time.perf_counter() - start)
"""


def seconds(verb, dtype, cache):
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    code = CODE.format(verb=verb, dtype=dtype)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)


print(f"{'verb':22}{'dtype':10}{'first use':>12}{'next process':>14}   (imports included; at most 8 s)")
for verb in ("adjust_gamma", "clip_percentiles", "equalize_hist", "equalize_adapthist"):
    for dtype in ("uint16", "float32"):
        with tempfile.TemporaryDirectory() as cache:
            first, later = (seconds(verb, dtype, cache) for _ in range(2))
        print(f"{verb:22}{dtype:10}{first:10.2f} s{later:12.2f} s")

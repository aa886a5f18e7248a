"""The first use on a fresh install, compilation included, and the next process, which finds the cache.

    .venv/bin/python benchmarks/first_use.py
    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python benchmarks/first_use.py --window

With --window the first dock of a process: how long it takes to open beside an empty dock, how long its first card takes
to be shown three seconds later and Apply after that, and the longest pause of the window meanwhile. Beside seconds
stand processor seconds of the whole process, which other programs disturb less.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

CODE = """
import time; start = time.perf_counter()
import numpy as np
from napari_exposure import core
volume = np.random.default_rng(0).integers(0, 4000, (60, 256, 256), dtype=np.uint16).astype({dtype!r})
core.{verb}(volume)
print(time.perf_counter() - start)
"""


def in_process(cache, *command):
    """What a process with a cache of its own prints; its modules are compiled to bytecode, as an installer does."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def verbs():
    print(f"{'verb':22}{'dtype':10}{'first use':>12}{'next process':>14}   (imports included; at most 8 s)")
    for verb in ("adjust_gamma", "clip_percentiles", "equalize_hist", "equalize_adapthist"):
        for dtype in ("uint16", "float32"):
            with tempfile.TemporaryDirectory() as cache:
                code = CODE.format(verb=verb, dtype=dtype)
                first, later = (float(in_process(cache, "-c", code)) for _ in range(2))
            print(f"{verb:22}{dtype:10}{first:10.2f} s{later:12.2f} s")


def window():
    """What one process of `--window` prints."""
    import napari
    from qtpy.QtWidgets import QApplication, QWidget

    from napari_exposure.samples import make_synthetic
    from pace import Heartbeat, let_work, settle

    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1500, 950)
    viewer.add_image(make_synthetic((60, 256, 256), cells=60), name="cells")
    settle(2)
    heartbeat = Heartbeat()

    def timed(what, begin, over=lambda: True):
        start, used = time.perf_counter(), time.process_time()
        begin()
        let_work(over)
        QApplication.processEvents()
        end, busy = time.perf_counter(), time.process_time() - used
        print(f"  {what:28}{end - start:7.2f} s{busy:7.2f} s of processor, ", end="")
        print(f"longest pause {heartbeat.pause(start, end):.2f} s")

    timed("an empty dock", lambda: viewer.window.add_dock_widget(QWidget()))
    docks = []
    timed("Exposure", lambda: docks.append(viewer.window.add_plugin_dock_widget("napari-exposure", "Exposure")[1]))
    from napari_exposure import core

    dock = docks[0]
    settle(3)
    shown = lambda: dock.live.layer is not None and not dock.live.running  # noqa: E731
    timed("the first card, until shown", lambda: dock.add_card(core.AdaptiveEqualization), shown)
    timed("Apply", dock.apply, lambda: not dock.work.running)
    viewer.close()


if sys.argv[1:] == ["--window", "here"]:
    window()
elif sys.argv[1:] == ["--window"]:
    with tempfile.TemporaryDirectory() as cache:
        # once for the bytecode, which an installer makes
        in_process(cache, __file__, "--window", "here")
    with tempfile.TemporaryDirectory() as cache:
        for title in ("a fresh install", "the next process"):
            print(title, in_process(cache, __file__, "--window", "here"), sep="\n", flush=True)
else:
    verbs()

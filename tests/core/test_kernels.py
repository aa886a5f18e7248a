import json
import os
import subprocess
import sys

import pytest

START = """
import warnings
import numpy as np
import napari_exposure.core as core

warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
whole = rng.integers(0, 65536, (4, 7, 9)).astype(np.uint16)
real = rng.normal(size=(4, 7, 9)).astype(np.float32)
real[0, 0, :3] = np.nan, np.inf, -np.inf
"""
EVERYTHING = """
# many blocks, whose borders cut tiles
core.blocks.contiguous_blocks.__defaults__ = (40,)
for volume in (whole, real):
    for per in ("dataset", "plane"):
        core.clip_percentiles(volume, 5, 95, mask=volume > 0, per=per)
        for method in ("cdf", "rank"):
            core.equalize_hist(volume, method=method, per=per)
core.histogram(real, 7, mask=real > 0)
core.histogram(real, 7, range=(-1, 1))
core.equalize_hist(real, in_range=(-1e-30, 1e-30))
core.adjust_gamma(whole, 0.5, in_range=(-5, 1e5))
for kernel_size in (1, 2.5, 100):
    core.equalize_adapthist(whole, kernel_size, nbins=16, ignore_zeros=True)
core.equalize_adapthist(whole, 3, in_range=(40000.5, 40001.5))
"""


# These are planes with ties, crowded buckets and a voxel far off, and a volume whose sorting takes several parts.
ORDER = """
crowd = np.exp2(-60 * rng.random((3, 50, 60))).astype(np.float32)
ties = np.floor(9 * rng.random((3, 50, 60))).astype(np.float32)
ties[1] = 0
ties[2, 3, 4] = np.inf
import napari_exposure.core.ranking
napari_exposure.core.ranking.PART = 100
for volume in (crowd, ties):
    for method in ("cdf", "rank"):
        for options in ({"per": "plane"}, {"per": "plane", "mask": volume < 5}, {"in_range": (0.001, 0.5)}):
            core.equalize_hist(volume, method=method, **options)
"""
CHECKS = {
    "an order": ORDER,
    # half a unit to either side is lost in the rounding of such numbers
    "a huge constant": "assert core.histogram(np.full((3, 4), 1e30, np.float32)).counts.sum() == 12",
    "an empty block": "assert core.AdaptiveEqualization(3).fit(whole)(whole[:, :0]).shape == (4, 0, 9)",
    # the last one, as it makes all blocks small
    "everything": EVERYTHING,
}
# each check begins with data of its own, and those after one that fails run too
RUN = """
import json, sys, traceback

start, checks = json.load(sys.stdin)
failures = {}
for name, code in checks.items():
    try:
        exec(start + code, {})
    except Exception:
        failures[name] = traceback.format_exc()
print(json.dumps(failures))
"""


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    """What fails in a Python whose kernels check their indices: usually a wrong one writes anywhere, unseen."""
    # with a cache of its own: numba would take kernels without the check from the usual one
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path_factory.mktemp("numba"))}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([START, CHECKS]),
        env=os.environ | checked,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("check", CHECKS)
def test_kernels_stay_in_bounds(check, failures):
    assert check not in failures, failures[check]

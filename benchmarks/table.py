"""Speed and memory against the peers, on 128 x 512 x 512 voxels.

    .venv/bin/python benchmarks/table.py [--repeat 5] [--rows NAME ...]

Times are medians of runs in turn in one process, ours and the peer's, after a warm-up of both; the
ratio is the median of the ratios pair by pair.  Memory is the peak above the state before the call,
each side in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.exposure
from scipy import ndimage, stats

from napari_exposure import core
from napari_exposure.recipe import Recipe
from napari_exposure.samples import make_synthetic

SHAPE = (128, 512, 512)
# both sides of the adaptive row: tiles of 16 x 64 x 64 voxels, 256 bins
KERNEL = (16, 64, 64)


def peer_clip(volume):
    lo, hi = np.percentile(volume, (0.5, 99.5))
    return skimage.exposure.rescale_intensity(volume, in_range=(lo, hi), out_range=str(volume.dtype))


def peer_stretch(volume, low=1, high=99, max_gain=20):
    """The percentiles of blocks with NumPy, blended by SciPy's zoom."""
    blocks = volume.reshape([n for size, edge in zip(volume.shape, KERNEL, strict=True) for n in (size // edge, edge)])
    lows, highs = np.percentile(blocks, (low, high), axis=(1, 3, 5)).astype(np.float32)
    widths = np.maximum(highs - lows, np.ptp(np.percentile(volume, (0.01, 99.99))) / max_gain)
    lows, widths = (ndimage.zoom(field, KERNEL, order=1, mode="nearest", grid_mode=True) for field in (lows, widths))
    return np.rint(65535 * np.clip((volume - lows) / widths, 0, 1)).astype(np.uint16)


STEPS = (core.DecayCorrection(), core.PercentileClip(), core.AdaptiveEqualization(KERNEL))


def in_turn(volume):
    for step in STEPS:
        volume = core.adjust(step, volume)
    return volume


# name: (dtype, ours, peer, ratio to reach, what the peer is)
ROWS = {
    "equalize_adapthist": (
        "uint16",
        lambda v: core.equalize_adapthist(v, KERNEL),
        lambda v: skimage.exposure.equalize_adapthist(v, KERNEL, nbins=256),
        120,
        "skimage",
    ),
    "stretch_local": (
        "uint16",
        lambda v: core.stretch_local(v, KERNEL),
        peer_stretch,
        50,
        "NumPy + SciPy's zoom (tapenade 1.0.2: 360 to 830 ns)",
    ),
    "equalize_hist": ("uint16", core.equalize_hist, skimage.exposure.equalize_hist, 20, "skimage"),
    "clip_percentiles": ("uint16", core.clip_percentiles, peer_clip, 6, "percentile + rescale_intensity"),
    **{
        f"{name} {dtype}": (dtype, getattr(core, name), getattr(skimage.exposure, name), goal, "skimage")
        for name, dtype, goal in (
            ("adjust_log", "uint16", 10),
            ("adjust_sigmoid", "float32", 3),
            ("rescale_intensity", "uint16", 5),
        )
    },
    "adjust_gamma uint16": (
        "uint16",
        lambda v: core.adjust_gamma(v, 0.7),
        lambda v: skimage.exposure.adjust_gamma(v, 0.7),
        4,
        "skimage",
    ),
    "recipe of three steps": ("uint16", Recipe(STEPS).apply, in_turn, 0.9, "its steps one after the other"),
    "adjust_gamma float32": (
        "float32",
        lambda v: core.adjust_gamma(v, 0.7),
        lambda v: skimage.exposure.adjust_gamma(v, 0.7),
        2,
        "skimage",
    ),
    "histogram": ("uint16", core.histogram, lambda v: np.bincount(v.ravel()), 3, "np.bincount"),
    "histogram float32": ("float32", core.histogram, lambda v: np.histogram(v, 256), 3, "np.histogram"),
    "percentile float32": (
        "float32",
        lambda v: core.percentile(v, (1, 50, 99)),
        lambda v: np.percentile(v, (1, 50, 99)),
        6,
        "np.percentile",
    ),
    "exact ranks float64": (
        "float64",
        lambda v: core.equalize_hist(v, method="rank"),
        lambda v: stats.rankdata(v, "min") / v.size,
        4,
        "scipy.stats.rankdata",
    ),
}


def make_volume(shape, dtype):
    volume = make_synthetic(shape, spacing=(1.0, 0.3, 0.3), cells=300)
    if dtype == "float64":
        # All values differ, as those of a volume that was deconvolved do.
        return (volume + np.random.default_rng(0).random(shape)) / 4096
    return volume if dtype == "uint16" else (volume / 4095).astype(np.float32)


def seconds(function, volume):
    start = time.perf_counter()
    function(volume)
    return time.perf_counter() - start


def processor_seconds(function, volume):
    """Of all threads: other programs disturb them less than seconds."""
    start = time.process_time()
    function(volume)
    return time.process_time() - start


def compare(name, volume, repeat):
    _, ours, peer, goal, what = ROWS[name]
    small = volume[:16, :128, :128].copy()
    ours(small)
    peer(small)
    ours(volume)
    pairs = [(seconds(ours, volume), seconds(peer, volume)) for _ in range(repeat)]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    return mine, theirs, ratio, goal, what


def peak_memory(name, side, path):
    """Bytes above the state before the call, in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, side, path]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(name, side, path):
    function = ROWS[name][1 if side == "ours" else 2]
    volume = np.load(path)
    function(volume[:16, :128, :128].copy())
    before = _resident()
    _reset_peak()
    result = function(volume)
    print(max(0, _peak() - before))
    del result


def _status(key):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise SystemExit("Memory is measured on Linux only; see /proc/self/status.")


def _resident():
    return _status("VmRSS")


def _peak():
    return _status("VmHWM")


def _reset_peak():
    Path("/proc/self/clear_refs").write_text("5")


def import_cost(repeat=15):
    def run(code):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    pairs = [(run("import napari_exposure"), run("pass")) for _ in range(repeat)]
    mine, bare = (statistics.median(side) for side in zip(*pairs, strict=True))
    return mine, bare


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    print(f"{' x '.join(map(str, SHAPE))} voxels, {core.blocks.thread_count()} threads")
    print(
        f"{'work':22}{'ours':>10}{'ns/voxel':>10}{'peer':>10}{'ns/voxel':>10}{'ratio':>8}{'reach':>7}"
        f"{'memory':>10}{'peer':>10}   against"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in options.rows:
            volume = make_volume(SHAPE, ROWS[name][0])
            path = str(Path(folder, "volume.npy"))
            np.save(path, volume)
            mine, theirs, ratio, goal, what = compare(name, volume, options.repeat)
            memory = [peak_memory(name, side, path) / 2**20 for side in ("ours", "peer")]
            print(
                f"{name:22}{mine * 1e3:7.1f} ms{mine / volume.size * 1e9:10.2f}{theirs * 1e3:7.0f} ms"
                f"{theirs / volume.size * 1e9:10.1f}{ratio:7.1f}x{goal:6}x{memory[0]:7.0f} MB{memory[1]:7.0f} MB"
                f"   {what}; input {volume.nbytes / 2**20:.0f} MB",
                flush=True,
            )
    mine, bare = import_cost()
    print(f"import napari_exposure: {(mine - bare) * 1e3:.1f} ms above a bare interpreter ({bare * 1e3:.1f} ms)")


if __name__ == "__main__":
    main()

"""Stacks of images: per-image equalization, per-pixel histograms, matching, and colours back to numbers.

    .venv/bin/python benchmarks/stacks.py [--repeat 5] [--rows NAME ...]

The peers are what one finds on the web for these tasks, and scikit-image.  Times are medians of runs in turn in one
process, ours and the peer's, after a warm-up of both; the ratio is the median of the ratios pair by pair.  Memory is
the peak above the state before the call, each side in a process of its own (Linux).
"""

from __future__ import annotations

import argparse
import functools
import statistics
import subprocess
import sys

import numpy as np
from scipy.spatial import cKDTree
from skimage import exposure

from napari_exposure import core
from napari_exposure.samples import make_synthetic
from table import _peak, _reset_peak, _resident, seconds

IMAGES, EDGE = 1800, 96
FRAMES, FRAME, BINS = 1000, (64, 64), 100


def images(dtype):
    data = np.random.default_rng(0).random((IMAGES, 1, EDGE, EDGE))
    return (255 * data).astype(dtype) if dtype == "uint8" else data.astype(dtype)


def each_image(function, data):
    out = np.empty(data.shape)
    for i in range(len(data)):
        out[i, 0] = function(data[i, 0])
    return out


def interpolated(image, bins=256):
    """np.histogram, cumsum, np.interp."""
    counts, edges = np.histogram(image.ravel(), bins)
    cdf = counts.cumsum()
    return np.interp(image.ravel(), edges[:-1], (bins - 1) * cdf / cdf[-1]).reshape(image.shape)


def ranks(image):
    return np.sort(image.ravel()).searchsorted(image)


def frames():
    return np.random.default_rng(0).normal(0.5, 0.05, (FRAMES, *FRAME))


def pixel_by_pixel(stack, share=0.1):
    """A loop over the pixels of each image, for a part of the images."""
    edges = np.linspace(0, 1, BINS)
    counts = np.zeros((*FRAME, BINS))
    for image in stack[: int(share * len(stack))]:
        found = np.searchsorted(edges, image.ravel()).reshape(FRAME)
        for i in range(FRAME[0]):
            for j in range(FRAME[1]):
                counts[i, j, found[i, j]] += 1
    return counts


def image_by_image(stack):
    """Fancy indices, all pixels of an image at once."""
    edges = np.linspace(0, 1, BINS)
    counts = np.zeros((*FRAME, BINS))
    y, x = np.meshgrid(*map(np.arange, FRAME), indexing="ij")
    for image in stack:
        counts[y, x, np.searchsorted(edges, image.ravel()).reshape(FRAME)] += 1
    return counts


@functools.cache
def pair(dtype):
    volume, other = (make_synthetic((64, 256, 256), cells=80, seed=seed) for seed in (0, 1))
    return tuple(each if dtype == "uint16" else (each / 4095).astype(dtype) for each in (volume, other // 2))


def colours(size=(16, 256, 256)):
    import matplotlib

    table = matplotlib.colormaps["turbo"](np.arange(256))[:, :3]
    index = np.random.default_rng(0).integers(0, 256, size)
    return (table[index] * 255).round().astype(np.uint8), table


def along(stack):
    return core.histogram_along(stack, bins=BINS - 1, range=(0, 1))


def planes(data, method="cdf"):
    return core.equalize_hist(data, method=method, per="plane")


# name: (data, ours, peer, how many times the peer's work is ours, ratio to reach, what the peer is)
ROWS = {
    "equalize float64": (lambda: images("float64"), planes, functools.partial(each_image, interpolated), 1, 15, "loop"),
    "equalize uint8": (lambda: images("uint8"), planes, functools.partial(each_image, interpolated), 1, 15, "loop"),
    "equalize float64 ": (
        lambda: images("float64"), planes, functools.partial(each_image, exposure.equalize_hist), 1, 15, "skimage",
    ),
    "equalize float32": (
        lambda: images("float32"), planes, functools.partial(each_image, exposure.equalize_hist), 1, 15, "skimage",
    ),
    "equalize uint8 ": (
        lambda: images("uint8"), planes, functools.partial(each_image, exposure.equalize_hist), 1, 15, "skimage",
    ),
    "rank float64": (
        lambda: images("float64"),
        functools.partial(planes, method="rank"),
        functools.partial(each_image, ranks), 1, None, "sort + searchsorted",
    ),
    "rank uint8": (
        lambda: images("uint8"),
        functools.partial(planes, method="rank"),
        functools.partial(each_image, ranks), 1, None, "sort + searchsorted",
    ),
    "histogram_along": (frames, along, pixel_by_pixel, 10, 50, "loop over pixels (a tenth of it)"),
    "histogram_along ": (frames, along, image_by_image, 1, None, "fancy indices"),
    "match uint16": (
        lambda: pair("uint16"),
        lambda both: core.match_histograms(*both), lambda both: exposure.match_histograms(*both), 1, None, "skimage",
    ),
    "match float32": (
        lambda: pair("float32"),
        lambda both: core.match_histograms(*both), lambda both: exposure.match_histograms(*both), 1, None, "skimage",
    ),
    "from_colormap": (
        colours,
        lambda both: core.from_colormap(*both),
        lambda both: cKDTree(both[1]).query(both[0].reshape(-1, 3) / 255)[1] / 255, 1, None, "cKDTree",
    ),
}  # fmt: skip


def compare(name, repeat):
    make, ours, peer, times, _, _ = ROWS[name]
    data = make()
    ours(data)
    peer(data)
    pairs = [(seconds(ours, data), times * seconds(peer, data)) for _ in range(repeat)]
    mine, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
    return mine, theirs, statistics.median(b / a for a, b in pairs)


def peak_memory(name, side):
    """Bytes above the state before the call, in a process of its own."""
    command = [sys.executable, __file__, "--measure", name, side]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(name, side):
    make, ours, peer = ROWS[name][:3]
    function = ours if side == "ours" else peer
    data = make()
    # what is loaded and compiled on first use
    small = tuple(each[:2] if each.ndim > 2 else each for each in data) if isinstance(data, tuple) else data[:2]
    function(small)
    before = _resident()
    _reset_peak()
    result = function(data)
    print(max(0, _peak() - before))
    del result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    print(f"{core.blocks.thread_count()} threads; {IMAGES} images of {EDGE} x {EDGE}; {FRAMES} frames of {FRAME}")
    print(f"{'work':20}{'ours':>10}{'peer':>12}{'ratio':>9}{'reach':>7}{'memory':>10}{'peer':>10}   against")
    for name in options.rows:
        mine, theirs, ratio = compare(name, options.repeat)
        goal, what = ROWS[name][4:]
        memory = [peak_memory(name, side) / 2**20 for side in ("ours", "peer")]
        reach = "" if goal is None else f"{goal}x"
        print(
            f"{name.strip():20}{mine * 1e3:7.1f} ms{theirs * 1e3:9.0f} ms{ratio:8.1f}x{reach:>7}"
            f"{memory[0]:7.0f} MB{memory[1]:7.0f} MB   {what}",
            flush=True,
        )


if __name__ == "__main__":
    main()

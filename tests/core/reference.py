"""Slow, obvious float64 versions of what the core defines, in NumPy alone: what the tests compare with."""

import itertools
import math

import numpy as np

from napari_exposure.core import Percentiles, progress

INTEGERS = tuple(f"{kind}{bits}" for kind in ("uint", "int") for bits in (8, 16, 32, 64))
DTYPES = (*INTEGERS, "float16", "float32", "float64")


def ends(dtype):
    """The least and the greatest value of an integer dtype, of 64 bits up to what float64 holds."""
    info = np.iinfo(dtype)
    return max(info.min, -(2**53)), min(info.max, 2**53)


def make_volume(dtype, shape=(6, 11, 13), seed=0):
    """A seeded volume that uses a good part of its dtype: with negatives where there are any, with ties."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    bumps = rng.normal(size=shape) + 2 * np.sin(np.arange(math.prod(shape)).reshape(shape) / 17)
    if dtype.kind == "f":
        return np.round(bumps, 2).astype(dtype)
    least, most = ends(dtype)
    middle = (most + least) / 2 if dtype.kind == "u" else 0
    return np.clip(middle + bumps * most / 12, least, most).astype(dtype)


def heard(work):
    """The reports of some work that say more than the ones before, and its result."""
    found = []

    def listen(step):
        if step.slow or step.partial is not None or step.fraction > max((each.fraction for each in found), default=0):
            found.append(step)

    with progress.listening(listen):
        result = work()
    return found, result


def stopped(work, number=1, then=lambda: None):
    """Stop some work at its report with this number, counted as `heard` does; `then` is called first.

    Whether it was stopped: work of fewer reports comes to its end.
    """
    reached = 0

    def listen(step):
        nonlocal reached
        reached += step.slow or step.fraction > 0
        if reached >= number:
            then()
            raise progress.Cancelled

    try:
        with progress.listening(listen):
            work()
    except progress.Cancelled:
        return True
    return False


def percentile(values, q):
    """Linear between the two order statistics around q; `values` without NaN, infinities allowed."""
    ordered = np.sort(values, axis=None)
    position = q / 100 * (ordered.size - 1)
    below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
    return below if below == above else below + (above - below) * (position - math.floor(position))


def input_range(values, in_range, dtype):
    """Two numbers from any form of in_range; `values` are the counted ones."""
    finite = values[np.isfinite(values)]
    if isinstance(in_range, tuple):
        return in_range
    if in_range == "dtype":
        low = min(float(np.sign(finite.min())), 0)
        if np.dtype(dtype).kind == "f":
            return low, 1.0
        least, most = ends(dtype)
        return (least if low else 0), most
    if isinstance(in_range, Percentiles):
        # a voxel at either end that is cut is left out, however few there are
        places = [in_range.low / 100 * (finite.size - 1), in_range.high / 100 * (finite.size - 1)]
        inner = [max(places[0], in_range.low > 0), min(places[1], finite.size - 1 - (in_range.high < 100))]
        places = inner if inner[0] < inner[1] else places
        lo, hi = np.interp(places, np.arange(finite.size), np.sort(finite, axis=None).astype(np.float64))
        if lo < hi:
            return lo, hi
    return finite.min(), finite.max()


def counted_voxels(volume, mask, ignore_zeros):
    counted = ~np.isnan(volume)
    if mask is not None:
        counted &= mask != 0
    if ignore_zeros:
        counted &= volume != 0
    return counted


def tile_edges(size, tiles):
    """Rounded down in the lower half, mirrored in the upper."""
    edges = [0] * (tiles + 1)
    for i in range(tiles + 1):
        edges[i] = i * size // tiles if 2 * i <= tiles else size - edges[tiles - i]
    return edges


def water_fill(heights, limit):
    """min(heights + r, limit) with the r that keeps the sum, found by bisection."""
    total = heights.sum()
    low, high = 0.0, float(limit)
    for _ in range(200):
        r = (low + high) / 2
        if np.minimum(heights + r, limit).sum() < total:
            low = r
        else:
            high = r
    return np.minimum(heights + high, limit)


def clip_histogram(heights, clip_limit):
    heights = heights.astype(np.float64)
    if not 0 < clip_limit < 1 or heights.sum() == 0:
        return heights
    return water_fill(heights, max(clip_limit * heights.sum(), heights.sum() / heights.size))


def knots(heights, clip_limit):
    """The tile function at the borders of the bins."""
    return np.concatenate([[0], np.cumsum(clip_histogram(heights, clip_limit))]) / heights.sum()


def bin_counts(values, lo, hi, nbins):
    """Uniform bins from lo to hi; values outside are in the first and the last one."""
    u = nbins * np.clip((values.ravel() - lo) / (hi - lo), 0, 1)
    return np.bincount(np.minimum(np.floor(u), nbins - 1).astype(int), minlength=nbins)


def adaptive(
    volume,
    kernel_size=None,
    clip_limit=0.01,
    nbins=256,
    *,
    spacing=None,
    in_range=Percentiles(0.05, 99.95),
    mask=None,
    ignore_zeros=False,
    per="dataset",
):
    """CLAHE in [0, 1]: the sum over all tiles of (hat function of the place) x (tile function of the intensity)."""

    def fitted(values, counted, kernel, lo, hi):
        u = nbins * np.clip((values - lo) / (hi - lo), 0, 1)
        result = np.zeros(values.shape)
        for heights, weight in zip(*tiles_of(values, counted, kernel, lo, hi, nbins), strict=True):
            result += weight * np.interp(u, np.arange(nbins + 1), knots(heights, clip_limit))
        return result

    return by_tiles(fitted, volume, kernel_size, spacing, in_range, mask, ignore_zeros, per)


def by_tiles(fitted, volume, kernel_size, spacing, in_range, mask, ignore_zeros, per):
    """What `fitted(values, counted, tile in voxels, lo, hi)` makes of whatever shares a fit."""
    spatial = 2 if per == "plane" else min(volume.ndim, 3)
    own_fit = volume.shape[: volume.ndim - spatial] if per != "dataset" else ()
    spacing = (1,) * spatial if spacing is None else tuple(np.broadcast_to(spacing, spatial))
    if kernel_size is None:
        kernel_size = max(n * step for n, step in zip(volume.shape[-spatial:], spacing, strict=True)) / 8
    kernel = np.broadcast_to(kernel_size, spatial) / np.array(spacing)
    values = volume.astype(np.float64)
    counted = counted_voxels(values, mask, ignore_zeros)
    result = np.empty(volume.shape)
    for index in np.ndindex(*own_fit):
        lo, hi = input_range(values[index][counted[index]], in_range, volume.dtype)
        result[index] = fitted(values[index], counted[index], kernel, lo, hi)
    return result


def tiles_of(values, counted, kernel, lo, hi, nbins):
    """The histogram of each tile, of all together where it has none, and its share in every voxel."""
    u = nbins * np.clip((values - lo) / (hi - lo), 0, 1)
    bins = np.minimum(np.floor(np.where(counted, u, 0)), nbins - 1).astype(int)
    shape = values.shape[-len(kernel) :]
    tiles = [min(size, max(1, round(size / edge))) for size, edge in zip(shape, kernel, strict=True)]
    edges = [tile_edges(size, n) for size, n in zip(shape, tiles, strict=True)]
    everything = np.bincount(bins[counted], minlength=nbins)
    found, weights = [], []
    for place in itertools.product(*map(range, tiles)):
        tile = (..., *(slice(e[i], e[i + 1]) for e, i in zip(edges, place, strict=True)))
        heights = np.bincount(bins[tile][counted[tile]], minlength=nbins)
        found.append(heights if heights.sum() else everything)
        weight = np.ones(())
        for e, i, size in zip(edges, place, shape, strict=True):
            centres = (np.array(e[:-1]) + np.array(e[1:])) / 2
            hat = np.interp(np.arange(size) + 0.5, centres, np.arange(len(centres)) == i)
            weight = np.multiply.outer(weight, hat)
        weights.append(weight)
    return found, weights


def rank(volume, counted):
    """The number of counted voxels below each, divided by that of the brightest one; at most 1."""
    ordered = np.sort(volume[counted])
    below_brightest = np.searchsorted(ordered, ordered[-1], side="left")
    return np.minimum(np.searchsorted(ordered, volume, side="left") / below_brightest, 1)


def histogram_percentile(heights, q):
    """Where q percent of a histogram are reached, in bins: those of a bin lie evenly in it."""
    wanted = q / 100 * heights.sum()
    below = 0
    for j, height in enumerate(heights):
        if height and below + height >= wanted:
            return j + (wanted - below) / height
        below += height
    raise AssertionError("nothing was counted")


def stretch(
    volume,
    kernel_size=None,
    low=1,
    high=99,
    max_gain=20,
    *,
    spacing=None,
    in_range=Percentiles(0.05, 99.95),
    mask=None,
    ignore_zeros=False,
    per="dataset",
    nbins=4096,
):
    """A local stretch in [0, 1]: (v - L) / W, both the sums over all tiles of (hat of the place) x (the tile's)."""

    def fitted(values, counted, kernel, lo, hi):
        heights, weights = tiles_of(values, counted, kernel, lo, hi, nbins)
        starts = np.zeros(values.shape)
        widths = np.zeros(values.shape)
        for each, weight in zip(heights, weights, strict=True):
            first, last = (lo + (hi - lo) * histogram_percentile(each, q) / nbins for q in (low, high))
            starts += weight * first
            widths += weight * max(last - first, (hi - lo) / max_gain)
        return np.clip((values - starts) / widths, 0, 1)

    return by_tiles(fitted, volume, kernel_size, spacing, in_range, mask, ignore_zeros, per)

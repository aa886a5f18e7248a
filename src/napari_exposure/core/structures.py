"""Finds how large structures are in a sample, and how regions of it differ."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_exposure.core.robust import percentiles
from napari_exposure.core.sample import Sample, cut

# The autocorrelation of balls falls to a half at this fraction of their diameter.
HALF_OF_BALL = 0.3473


@dataclass(frozen=True)
class Regions:
    """How regions differ: `ratio` of the contrasts of bright and dim ones, and `use` of the range by the median one.

    `sure` is the contrast of the dim ones in units of their noise.
    """

    ratio: float
    use: float
    sure: float


def find_regions(sample: Sample, edge: tuple[float, ...] | None = None) -> Regions | None:
    """Compare the contrasts of regions, from the 1st to the 99th percentile of the cells of each.

    The edge of a region is given in voxels along the spatial axes; by default it is an eighth of the longest axis.
    """
    spatial = sample.spatial
    size = sample.volume.shape[-spatial:]
    edge = edge or (max(size) / 8,) * spatial
    sides = zip(sample.cells.shape[-spatial:], size, edge, strict=True)
    cuts = [cut(cells, max(1, min(12, round(n / along)))) for cells, n, along in sides]
    widths = []
    for place in itertools.product(*cuts):
        index: tuple[Any, ...] = (..., *place)
        low, high = percentiles(sample.cells[index], 1.0, 99.0)
        widths.append(high - low)
    found = np.array([width for width in widths if width > 8 * sample.cell_noise])
    first, last = percentiles(sample.cells, 0.1, 99.9)
    if found.size < 4 or not last > first:
        return None
    dim, usual, bright = percentiles(found, 10.0, 50.0, 90.0)
    sure = dim / sample.cell_noise if sample.cell_noise else math.inf
    return Regions(float(bright / dim), float(usual / (last - first)), float(sure))


def find_structures(sample: Sample) -> tuple[float, ...] | None:
    """Find the size of structures in voxels along each spatial axis, or None if there are none in the noise.

    The autocorrelation of balls falls to a half at 0.347 of their diameter, and structures are given the size of such
    balls.  Noise is correlated only with itself, so that the value at distance 0 is not used.  The size is NaN along an
    axis that is too short to tell.
    """
    fine = _sizes(sample.boxes, sample.spatial, (1,) * sample.spatial)
    pitch = sample.cell[-sample.spatial :]
    if fine is None:
        return None
    large = not any(size < 6 * step for size, step in zip(fine, pitch, strict=True))
    if not large and not any(map(math.isnan, fine)):
        return fine
    # The cells lie all over the volume, and hold more of the larger structures.
    coarse = _sizes([sample.cells], sample.spatial, pitch) or fine
    if large:
        return coarse
    return tuple(other if math.isnan(size) else size for size, other in zip(fine, coarse, strict=True))


def _sizes(boxes: list[np.ndarray], spatial: int, pitch: tuple[int, ...]) -> tuple[float, ...] | None:
    """Find sizes as `find_structures` does, in boxes whose voxels are `pitch` apart."""
    # The brightest hundredth is clipped, so that one bright thing does not decide alone.
    (top,) = percentiles(np.concatenate([box.reshape(-1) for box in boxes]), 99.0)
    if math.isnan(top):
        return None
    total = sum(float(np.nansum(box.clip(max=top))) for box in boxes)
    mean = total / sum(np.count_nonzero(~np.isnan(box)) for box in boxes)
    found = [each for box in boxes if (each := _correlations(box, spatial, top, mean)) is not None]
    noise_free, white = sum(each[1] for each in found), sum(each[2] for each in found)
    if noise_free < 0.02 * white or white == 0:
        return None
    sizes = []
    for axis in range(spatial):
        lags = found[0][0][axis][0]
        heights = np.sum([each[0][axis][1] for each in found], axis=0) / noise_free
        half = _half(lags, heights)
        # An axis holds too few independent distances that are longer than a quarter of it.
        extent = boxes[0].shape[axis - spatial]
        sizes.append(pitch[axis] * half / HALF_OF_BALL if half <= extent / 4 else math.nan)
    return tuple(sizes)


def _correlations(
    box: np.ndarray, spatial: int, top: float, mean: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], float, float] | None:
    """Return lags and their covariances along each axis, the variance of structures, and that of all."""
    known = ~np.isnan(box)
    if not known.any():
        return None
    values = np.where(known, np.minimum(box, top) - mean, 0.0)
    every = known.all()
    found, starts = [], []
    for axis in range(box.ndim - spatial, box.ndim):
        size = box.shape[axis]
        lags = np.unique(np.rint(1.3 ** np.arange(40)).astype(int))
        lags = lags[lags <= max(size // 2, 1)] if size > 2 else np.empty(0, int)
        products = np.empty(lags.size)
        for number, lag in enumerate(lags):
            there, here = _shifted(axis, int(lag), box.ndim)
            counted = values[here].size if every else np.count_nonzero(known[there] & known[here])
            products[number] = float((values[there] * values[here]).sum()) / max(counted, 1)
        if lags.size > 1:
            # The value at 0 is the mean of a line, for sharp edges, and of a parabola level at 0, for soft ones.
            starts.append((5 * products[0] - 2 * products[1]) / 3)
        found.append((lags, products))
    white = float((values**2).sum() / known.sum())
    # The largest value is that of the finest axis, where structures change least from voxel to voxel.
    return found, min(max(starts, default=0.0), white), white


def _half(lags: np.ndarray, heights: np.ndarray) -> float:
    """Return the distance at which a correlation has fallen to a half, or infinity if it does not."""
    lags, heights = np.append(0, lags), np.append(1.0, heights)
    below = np.flatnonzero(heights < 0.5)
    if not below.size:
        return math.inf
    last = below[0]
    share = (heights[last - 1] - 0.5) / (heights[last - 1] - heights[last])
    return float(lags[last - 1] + share * (lags[last] - lags[last - 1]))


def _shifted(axis: int, shift: int, ndim: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of neighbors at a distance, and of the voxels whose neighbors they are."""
    there, here = [slice(None)] * ndim, [slice(None)] * ndim
    there[axis], here[axis] = slice(shift, None), slice(None, -shift)
    return tuple(there), tuple(here)

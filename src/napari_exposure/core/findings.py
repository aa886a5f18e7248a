"""Finds what the gray levels of a sample show; each function returns None if that is not there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_exposure.core.intensity import dtype_range
from napari_exposure.core.robust import middle, percentiles
from napari_exposure.core.sample import Sample

LOW_CONTRAST, CROWDED = 0.05, 0.05


@dataclass(frozen=True)
class Bits:
    """How many bits intensities really use: `step` is the distance of gray levels, `of` what the dtype has."""

    bits: int
    of: int
    step: int


def find_bits(sample: Sample) -> Bits | None:
    """Find the bits of integers, or None for floats and where there are only zeros."""
    dtype = sample.volume.dtype
    if dtype.kind not in "iu":
        return None
    levels = np.unique(np.concatenate([_levels(box[~np.isnan(box)].astype(np.int64)) for box in sample.boxes]))
    if not levels.size or not np.abs(levels).max():
        return None
    step = int(np.gcd.reduce(np.diff(levels))) if levels.size > 1 else 1
    most = int(np.abs(levels).max()) // max(step, 1)
    return Bits(max(most.bit_length(), 1), 8 * dtype.itemsize, max(step, 1))


def _levels(values: np.ndarray) -> np.ndarray:
    """Return the distinct values of integers, without sorting them if they have 16 bits."""
    if not values.size or np.ptp(values) > 1 << 17:
        return np.unique(values)
    least = int(values.min())
    return np.flatnonzero(np.bincount(values - least)) + least


@dataclass(frozen=True)
class Ends:
    """Fractions of voxels that are `saturated`, at the greatest value, and `hot`, bright among dark ones.

    `limit` is the greatest value of voxels that are not hot.
    """

    saturated: float
    hot: float
    limit: float


def find_ends(sample: Sample) -> Ends | None:
    """Find saturated voxels, which lie among bright ones, and hot ones, whose neighbors are dark on all sides."""
    values = np.concatenate([box[~np.isnan(box)] for box in sample.boxes])
    if not values.size:
        return None
    top = values.max()
    if top == values.min():
        return None
    at_top = np.count_nonzero(values == top) / values.size
    # Where a tail ends by itself, fewer voxels have the greatest value than the values just below it.
    below = np.count_nonzero((values < top) & (values >= top - 0.02 * (top - values.min()))) / values.size
    saturated = at_top if at_top > 1e-4 and at_top > below else 0.0
    hot, voxels, limit = 0, 0, -math.inf
    for box in sample.boxes:
        alone = _alone(box, sample)
        hot += int(np.count_nonzero(alone))
        voxels += int(np.count_nonzero(~np.isnan(box)))
        calm = box[~alone & ~np.isnan(box)]
        limit = max(limit, float(calm.max())) if calm.size else limit
    if not saturated and not hot:
        return None
    return Ends(float(saturated), float(hot / voxels), float(limit))


def _alone(box: np.ndarray, sample: Sample) -> np.ndarray:
    """Mark voxels that stand out from all of their neighbors by far more than noise and structure explain."""
    alone = np.zeros(box.shape, bool)
    low, bright = percentiles(box, 50.0, 99.9)
    if math.isnan(low) or math.isnan(sample.noise.most):
        return alone
    # Only bright voxels are candidates, of which there are few.
    places = np.argwhere(box > max(bright, low + 12 * sample.noise.most))
    around = np.full(len(places), -np.inf)
    for axis, size in enumerate(box.shape):
        for shift in (-2, -1, 1, 2):
            there = places[:, axis] + shift
            inside = (there >= 0) & (there < size)
            index = places[inside].copy()
            index[:, axis] = there[inside]
            around[inside] = np.fmax(around[inside], box[tuple(index.T)])
    values = box[tuple(places.T)]
    # A hot voxel stands out from the noise, and is over three times as far above the median as the brightest around it.
    found = (values - around > 12 * sample.noise.most) & (values - low > 3 * (around - low))
    alone[tuple(places[found].T)] = True
    return alone


@dataclass(frozen=True)
class Background:
    """The estimated intensity of no light, and the fraction of the volume that is dark."""

    offset: float
    share: float


def find_background(sample: Sample) -> Background | None:
    """Find the darkest level, and how many cells are dark."""
    cells = sample.cells[~np.isnan(sample.cells)]
    if not cells.size:
        return None
    # Noise alone puts one cell in a hundred this far below its level.
    lowest, dark, highest = percentiles(cells, 0.0, 1.0, 99.9)
    offset = dark + 2.326 * sample.cell_noise
    edges = np.linspace(lowest, max(highest, np.nextafter(lowest, np.inf)), 257)
    counts = np.bincount(np.clip(np.searchsorted(edges, cells, side="right") - 1, 0, 255), minlength=256)
    # The cut lies between the two classes that are farthest apart (Otsu 1979).
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = (sums / below - (sums[-1] - sums) / (below[-1] - below)) ** 2 * below * (below[-1] - below)
    cut = int(np.argmax(np.nan_to_num(apart[:-1])))
    return Background(float(offset), float(below[cut] / cells.size))


@dataclass(frozen=True)
class Crowded:
    """Crowded intensities: half of the lit voxels lie in this `share` of the range, at its lower end.

    `dark` is the percentage of voxels that are not lit.
    """

    share: float
    dark: float


def find_crowded(sample: Sample, background: Background) -> Crowded | None:
    """Find out whether half of the lit voxels lie within a twentieth of the range of intensities."""
    cells = sample.cells[~np.isnan(sample.cells)]
    lit = cells[cells > background.offset + 6 * sample.cell_noise]
    (last,) = percentiles(cells, 99.9)
    if lit.size < 100 or last <= background.offset:
        return None
    share = float((middle(lit) - background.offset) / (last - background.offset))
    return Crowded(share, 100 * (1 - lit.size / cells.size)) if share < CROWDED else None


def find_low_contrast(sample: Sample, bits: Bits | None = None) -> float | None:
    """Return which part of the range of the bits in use, or of 0 to 1, is used if it is less than a twentieth.

    The used range lies between the percentiles 0.1 and 99.9.
    """
    low, high = percentiles(sample.cells, 0.1, 99.9)
    bits = bits or find_bits(sample)
    if bits is None:
        first, last = dtype_range(sample.volume.dtype, negative=low < 0)
    else:
        # A stack of 12 bits in 16 is as good as one of 12 bits, but all of 8 bits are meant to be used.
        first, last = 0.0, float(bits.step * (1 << max(bits.bits, 8)) - 1)
    share = (high - low) / (last - first)
    return float(share) if 0 < share < LOW_CONTRAST else None

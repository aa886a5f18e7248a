"""Finds what a sample of a volume shows; each function looks for one thing, and returns None if it is not there.

What a function finds must hold in all parts of the field alike: light that fades does so everywhere, while structures
lie here and there.  So a volume is cut into parts, and their agreement says how sure a finding is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_exposure.core.axes import time_axis
from napari_exposure.core.functions import exp, log
from napari_exposure.core.histogram import at_place
from napari_exposure.core.intensity import dtype_range
from napari_exposure.core.profiles import robust_line
from napari_exposure.core.sample import Sample

# The field is cut into this many parts along either other axis, and into this many pieces along the axis itself.
PARTS, PIECES = 3, 8
# These percentiles of the cells of a part are its light, where a tenth of the cells is structure, and its dark.
LIGHT, DARK = 90.0, 10.0
# This fraction of the cells of a plane is too dark to be compared with other planes.
BRIGHT = 0.6
# A finding is sure or likely from this many standard errors on, and a decay must change the logarithm by this.
SURE, LIKELY, LEAST_DECAY = 9.0, 6.0, 0.15
# A trend is steady if its logarithm deviates from a line by less than this fraction of the whole change.
STEADY = 0.1
LEAST_JUMP = 0.015
# Where structures reach across parts, the true error of a median is this many times the estimated one.
CLUSTERED = 1.5
# This part of the jumps must be common to bright and dark percentiles.
AGREEING = 0.3
# A jump must go the same way in more than this fraction of the parts.
AGREED = 0.85
LOW_CONTRAST, CROWDED = 0.05, 0.05
# A jump is measured against the median over this many planes on either side.
SMOOTH = 5
# The autocorrelation of balls falls to a half at this fraction of their diameter.
HALF_OF_BALL = 0.3473


def percentiles(values: np.ndarray, *percents: float) -> list[float]:
    """Return percentiles of the values that are not NaN, or NaN if there are none."""
    known = np.sort(values, axis=None)
    # Sorting puts NaN last.
    known = known[: known.size - np.count_nonzero(np.isnan(known))]
    last = known.size - 1
    return [at_place(known.__getitem__, percent / 100 * last) if known.size else math.nan for percent in percents]


def middle(values: np.ndarray) -> float:
    """Return the median of the values that are not NaN."""
    return percentiles(values, 50.0)[0]


def spread(values: np.ndarray) -> float:
    """Return the standard deviation about the median, estimated such that a few outliers do not change it."""
    return 1.4826 * middle(np.abs(values - middle(values)))


# --- gray levels ------------------------------------------------------------------------


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


def _shifted(axis: int, shift: int, ndim: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return the slices of neighbors at a distance, and of the voxels whose neighbors they are."""
    there, here = [slice(None)] * ndim, [slice(None)] * ndim
    there[axis], here[axis] = slice(shift, None), slice(None, -shift)
    return tuple(there), tuple(here)


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


# --- light along an axis ----------------------------------------------------------------


@dataclass(frozen=True)
class Trend:
    """Light that fades or grows along an axis, which is counted from the end: -1 is x.

    `rate` is the change of the logarithm from one end of the axis to the other, below 0 where the light fades, and
    `sure` is the rate in standard errors.  The light is `steady` if it changes exponentially; the level `offset` does
    not fade.
    """

    axis: int
    rate: float
    sure: float
    steady: bool
    offset: float

    @property
    def left(self) -> float:
        """The fraction of the light that is left at the darker end."""
        return float(exp(np.array([-abs(self.rate)]))[0])


def find_trend(sample: Sample, axis: int, background: Background | None = None) -> Trend | None:
    """Find light that fades along an axis, everywhere alike and by more than structures explain.

    Each part of the field has a slope of its own; the median of these must be many times its standard error, which
    follows from how many they are and how much they differ.
    """
    background = background or find_background(sample)
    if background is None or sample.cells.shape[axis] < 6:
        return None
    light, dark = _pieces(sample, axis)
    found = _slope(sample, axis, background.offset, light)
    if found is None or found.sure < LIKELY / 2:
        # No other level would make the trend many times surer.
        return None
    # All percentiles fade alike, and meet at the level that does not fade.
    found = _slope(sample, axis, _meeting(light, dark, background.offset, sample), light) or found
    return found if found.sure >= LIKELY and abs(found.rate) >= LEAST_DECAY else None


def _slope(sample: Sample, axis: int, offset: float, light: np.ndarray) -> Trend | None:
    """Return the trend above a level that does not fade, from two estimates of which the surer counts more.

    One compares each plane with the next, which suits structures that reach through several planes; the other compares
    the light of pieces of the axis, which suits structures that are many.
    """
    steps = _all_steps(sample, axis, offset, PARTS + 1)
    gaps = steps.shape[1]
    ways = [(gaps + 1) * _means(steps), _line_slopes(light, offset, sample)]
    found = []
    for rates in ways:
        rates = rates[~np.isnan(rates)]
        if rates.size >= 4:
            found.append((middle(rates), max(1.2533 * spread(rates) / math.sqrt(rates.size), 1e-9)))
    if not found:
        return None
    weights = [error**-2 for _, error in found]
    rate = sum(weight * each for weight, (each, _) in zip(weights, found, strict=True)) / sum(weights)
    # Both see the same structures, so that together they are no surer than the better one, and less so where they
    # differ by more than their errors (Birge 1932).
    apart = max([abs(each - rate) * weight**0.5 for weight, (each, _) in zip(weights, found, strict=True)])
    sure = abs(rate) / (min(error for _, error in found) * max(apart, 1.0))
    # The course is the logarithm of the light along the axis, as the median of all parts.
    course = np.cumsum([0.0 if np.isnan(column).all() else middle(column) for column in steps.T])
    if len(found) < 2 or weights[1] > weights[0]:
        logs = _logs(light, offset, sample)
        course = np.array([middle(column) for column in (logs - np.array([[middle(row)] for row in logs])).T])
    course = course[~np.isnan(course)]
    at = np.arange(course.size, dtype=np.float64)
    line, start = robust_line(at, course)
    steady = spread(course - (start + line * at)) < STEADY * abs(rate)
    return Trend(axis, float(rate), float(sure), bool(steady), float(offset))


def _means(steps: np.ndarray) -> np.ndarray:
    """Return the mean of each row, or NaN where less than half of it is known."""
    known = ~np.isnan(steps)
    number = known.sum(axis=1)
    enough = number >= max(4, steps.shape[1] // 2)
    return np.where(enough, np.where(known, steps, 0.0).sum(axis=1) / np.maximum(number, 1), math.nan)


def _logs(light: np.ndarray, offset: float, sample: Sample) -> np.ndarray:
    """Return the logarithm of the light above a level, or NaN where it is not above the noise."""
    above = light - offset
    bright = above > max(4 * sample.cell_noise, 0.0)
    logs = np.full(light.shape, math.nan)
    logs[bright] = log(above[bright])
    return logs


def _line_slopes(light: np.ndarray, offset: float, sample: Sample) -> np.ndarray:
    """Return for each part the slope of the line through the logarithms of its pieces, from end to end."""
    logs = _logs(light, offset, sample)
    at = (np.arange(light.shape[1]) + 0.5) / light.shape[1]
    return np.array(
        [
            robust_line(at[known], row[known])[0] if known.sum() >= max(4, at.size // 2) else math.nan
            for row, known in zip(logs, ~np.isnan(logs), strict=True)
        ]
    )


def _all_steps(sample: Sample, axis: int, offset: float, parts: int) -> np.ndarray:
    """Return the steps of log light from plane to plane in each part, shape (parts, planes - 1)."""
    cells = np.moveaxis(sample.cells, axis, 0) - offset
    across = 2 if sample.spatial > 2 or axis < -sample.spatial else 1
    return np.array([_steps(part.reshape(len(cells), -1), sample) for part in _parts(cells, across, parts)])


def _parts(cells: np.ndarray, across: int, parts: int) -> Iterator[np.ndarray]:
    """Yield so many parts of the field along each of the last two axes, or the square of it along the last one."""
    sizes = cells.shape[1:][-across:]
    # Only these axes are cut, so that a part has all that lies along the axes before them.
    for place in itertools.product(*(_cut(size, parts if len(sizes) > 1 else parts**2) for size in sizes)):
        index: tuple[Any, ...] = (..., *place)
        yield cells[index]


def _steps(part: np.ndarray, sample: Sample) -> np.ndarray:
    """Return the median log ratio of each plane to the one before, over cells that are bright in both.

    Most of these lie in the same structure, and their median is not moved by those where one begins or ends.
    """
    both = (part[:-1] + part[1:]) / 2
    order = np.sort(both, axis=1)
    number = order.shape[1] - np.isnan(order).sum(axis=1)
    limit = order[np.arange(len(order)), np.maximum((BRIGHT * number).astype(int) - 1, 0)]
    # Where a structure begins, one of the planes shows only what surrounds it, which says nothing about the light.
    least = np.fmin(part[:-1], part[1:])
    bright = (both > limit[:, None]) & (least > max(6 * sample.cell_noise, 0.0))
    ratios = np.full(both.shape, math.nan)
    ratios[bright] = log(part[1:][bright] / part[:-1][bright])
    ratios.sort(axis=1)
    count = bright.sum(axis=1)
    rows = np.arange(len(ratios))
    # Sorting puts NaN last.
    middles = (
        ratios[rows, np.maximum(count - 1, 0) // 2] + ratios[rows, np.minimum(count // 2, ratios.shape[1] - 1)]
    ) / 2
    return np.where(count >= 8, middles, math.nan)


def _pieces(sample: Sample, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return light and dark of each piece along an axis in each part of the field, shape (parts, pieces)."""
    cells = np.moveaxis(sample.cells, axis, 0)
    runs = _cut(cells.shape[0], PIECES)
    parts = _parts(cells, sample.spatial - 1, PARTS)
    found = [[percentiles(part[run], LIGHT, DARK) for run in runs] for part in parts]
    light, dark = np.moveaxis(np.array(found), -1, 0)
    return light, dark


def _cut(size: int, number: int) -> list[slice]:
    edges = [at * size // min(number, size) for at in range(min(number, size) + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


def _meeting(light: np.ndarray, dark: np.ndarray, offset: float, sample: Sample) -> float:
    """Return the level where bright and dark percentiles meet as both fade, or `offset` if it cannot be told."""
    bright, dim = (np.array([middle(column) for column in each.T]) for each in (light, dark))
    known = ~np.isnan(bright) & ~np.isnan(dim)
    bright, dim = bright[known], dim[known]
    order = np.argsort(bright, kind="stable")
    bright, dim = bright[order], dim[order]
    if bright.size < 4 or len(np.unique(bright)) < bright.size or bright[-1] - offset < 2 * (bright[0] - offset):
        return offset
    slope, start = robust_line(bright, dim)
    if not 0 <= slope < 0.8:
        return offset
    lowest = float(np.nanmin(sample.cells))
    return float(min(max(start / (1 - slope), lowest - 3 * sample.cell_noise), offset))


@dataclass(frozen=True)
class Jumps:
    """Brightness that jumps from index to index along an axis: by which fraction, and how sure that is.

    `axis` is counted from the end; `offset` is the level that does not jump.
    """

    axis: int
    size: float
    sure: float
    offset: float


def find_jumps(sample: Sample, background: Background | None = None) -> Jumps | None:
    """Find whole planes along z that are brighter or darker than the ones before, as between sections."""
    if sample.spatial < 3 or sample.cell[-3] != 1:
        return None
    return _jumps(sample, -3, background)


def find_flicker(sample: Sample, background: Background | None = None) -> Jumps | None:
    """Find whole time points that are brighter or darker than those before."""
    axis = _time(sample)
    return None if axis is None else _jumps(sample, axis, background)


def _time(sample: Sample) -> int | None:
    """Return the axis of time, counted from the end, or None if there is none before those of space."""
    axes = sample.cells.ndim
    axis = time_axis(sample.volume.labels, axes - sample.spatial)
    return None if axis is None else axis - axes


def _jumps(sample: Sample, axis: int, background: Background | None) -> Jumps | None:
    """Find steps of brightness that all parts of the field share, compared with how much the parts differ."""
    background = background or find_background(sample)
    planes, (rows, columns) = sample.cells.shape[axis], sample.cells.shape[-2:]
    if background is None or planes < 8:
        return None
    # A part has enough cells in each plane that some dozens of them are bright.
    number = int(np.clip(math.sqrt(rows * columns / 160), 2, 8))
    steps = _all_steps(sample, axis, background.offset, number)
    known = (~np.isnan(steps)).sum(axis=0)
    steps, known = steps[:, known >= 4], known[known >= 4]
    if known.size < 6:
        return None
    common = np.array([middle(column) for column in steps.T])
    # Structures reach across parts, so that the parts do not differ by chance alone.
    errors = CLUSTERED * 1.2533 * np.array([spread(column) for column in steps.T]) / np.sqrt(known)
    # A jump is compared with the planes on both sides of it, so that a change over several planes is not taken for one.
    # The first and the last step along z have planes on one side only, and a structure that ends there would look like
    # a jump, so they are left out.  Over time structures stay, so that all steps count.
    stay = axis < -sample.spatial
    reach = [SMOOTH if stay else min(SMOOTH, n, common.size - 1 - n) for n in range(common.size)]
    away = common - np.array([middle(common[max(0, n - far) : n + far + 1]) for n, far in enumerate(reach)])
    told = slice(None) if stay else slice(1, -1)
    size, error = (math.sqrt(float(np.mean(each[told] ** 2))) for each in (away, errors))
    # Jumps may be several steps that are far larger than those beside them, in nearly all parts.
    apart = steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2
    alone = common[1:-1] - (common[:-2] + common[2:]) / 2
    usual = spread(alone)
    alike = np.nansum(np.sign(apart) == np.sign(alone), axis=0) / np.maximum((~np.isnan(apart)).sum(axis=0), 1)
    # A step between the ones beside it belongs to a change that goes on, as at the ends of structures.
    beyond = np.abs(common[1:-1] - np.median([common[:-2], common[1:-1], common[2:]], axis=0))
    least = max(2.5 * usual, 2 * LEAST_JUMP)
    found = (np.abs(alone) > least) & (beyond > least / 2) & (alike > AGREED)
    large = np.abs(alone)[found]
    if large.size >= max(2, 0.03 * alone.size):
        jump = middle(np.abs(common[1:-1])[found])
        sure = middle(large) / usual * math.sqrt(large.size) if usual else math.inf
        return Jumps(axis, jump, sure, _still(sample, axis, background.offset))
    # Otherwise they may be many steps that are a little too large together.
    if size > 2.5 * error and size**2 - error**2 > LEAST_JUMP**2:
        sure = size / error if error else math.inf
        return Jumps(axis, math.sqrt(size**2 - error**2), sure, _still(sample, axis, background.offset))
    return None


def _still(sample: Sample, axis: int, offset: float) -> float:
    """Return the level where bright and dark percentiles of planes meet as both jump, at most `offset`."""
    planes = np.moveaxis(sample.cells, axis, 0)
    bright, dim = np.array([percentiles(plane, LIGHT, DARK) for plane in planes]).T
    # Steps from plane to plane are compared, because what planes hold changes slowly.
    steps, others = np.diff(bright), np.diff(dim)
    known = ~np.isnan(steps) & ~np.isnan(others)
    steps, others = steps[known], others[known]
    together, alone = float((steps * others).sum()), float((others**2).sum())
    # What planes hold moves bright percentiles more, so that the dark ones show jumps of the light, if both agree.
    if together <= 0 or together**2 < AGREEING * alone * float((steps**2).sum()) or alone >= 0.8 * together:
        return offset
    slope = alone / together
    level = (middle(dim) - slope * middle(bright)) / (1 - slope)
    return float(min(max(level, min(float(np.nanmin(sample.cells)), 0.0)), offset))


def find_bleaching(sample: Sample, background: Background | None = None) -> Trend | None:
    """Find light that fades over time."""
    axis = _time(sample)
    background = background or find_background(sample)
    trend = None if axis is None or background is None else find_trend(sample, axis, background)
    if trend is None or background is None:
        return None
    # Structures stay over time, so that single steps tell the level too.
    return replace(trend, offset=min(trend.offset, _still(sample, trend.axis, background.offset)))


def flattened(sample: Sample, trends: list[Trend]) -> Sample:
    """Return the sample as it would be without these trends."""
    cells, boxes = sample.cells, sample.boxes
    for trend in trends:
        size = sample.volume.shape[trend.axis]
        gains = _gains(trend, (np.arange(sample.cells.shape[trend.axis]) + 0.5) / sample.cells.shape[trend.axis])
        cells = trend.offset + (cells - trend.offset) * _along(gains, trend.axis, cells.ndim)
        if trend.axis >= -sample.spatial:
            placed = [
                _gains(trend, (corner[trend.axis] + np.arange(box.shape[trend.axis]) + 0.5) / size)
                for box, corner in zip(boxes, sample.corners, strict=True)
            ]
            boxes = [
                trend.offset + (box - trend.offset) * _along(each, trend.axis, box.ndim)
                for box, each in zip(boxes, placed, strict=True)
            ]
    return replace(sample, cells=cells, boxes=boxes)


def _gains(trend: Trend, at: np.ndarray) -> np.ndarray:
    """Return the gains, at least 1, at positions from 0 to 1 along the axis."""
    return exp(-trend.rate * (at - (0.0 if trend.rate < 0 else 1.0)))


def _along(values: np.ndarray, axis: int, ndim: int) -> np.ndarray:
    """Shape values along an axis such that they multiply an array with this many axes."""
    return values.reshape([-1 if n == axis else 1 for n in range(-ndim, 0)])


# --- regions and structures -------------------------------------------------------------


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
    cuts = [_cut(cells, max(1, min(12, round(n / along)))) for cells, n, along in sides]
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

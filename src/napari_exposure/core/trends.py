"""Finds light that fades or jumps along an axis of a sample; each function returns None if it does not.

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
from napari_exposure.core.findings import Background, find_background
from napari_exposure.core.functions import exp, log
from napari_exposure.core.robust import middle, percentiles, robust_line, spread
from napari_exposure.core.sample import Sample, cut

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
# A jump is measured against the median over this many planes on either side.
SMOOTH = 5


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
    for place in itertools.product(*(cut(size, parts if len(sizes) > 1 else parts**2) for size in sizes)):
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
    runs = cut(cells.shape[0], PIECES)
    parts = _parts(cells, sample.spatial - 1, PARTS)
    found = [[percentiles(part[run], LIGHT, DARK) for run in runs] for part in parts]
    light, dark = np.moveaxis(np.array(found), -1, 0)
    return light, dark


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

"""Fits of pointwise adjustments: a curve from intensity to [0, 1], as a table or a fused kernel."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, Self

import numpy as np

from napari_exposure.core.blocks import walk
from napari_exposure.core.functions import interpolate, power
from napari_exposure.core.intensity import is_lookup, result_dtype, working_dtype
from napari_exposure.core.jit import kernel, load_kernel
from napari_exposure.core.transform import Fit


@cache
def _limits(dtype: np.dtype) -> tuple[int, int]:
    """Return the least and the greatest integer, which NumPy takes longer to find than an 8-bit table takes to map."""
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


# Kernels that map for one fit, and those that do so for the fits of many small volumes in one call.
_OF_ROWS = {"map_table": "table_rows", "map_knots": "knots_rows", "map_steps": "steps_rows", "map_curve": "curve_rows"}


@dataclass(frozen=True, eq=False)
class PointwiseFit(Fit):
    """A curve from intensities to results; integers of up to 16 bits go through a table that is made of it once."""

    pointwise: ClassVar[bool] = True

    @property
    def first(self) -> int:
        """The integer that the table begins with."""
        least, most = _limits(self.dtype)
        return min(max(math.floor(self.lo), least), most)

    @cached_property
    def table(self) -> np.ndarray | None:
        """Results of `out_dtype` for the integers from `first` on, level beyond; None for dtypes without a table."""
        if not is_lookup(self.dtype):
            return None
        least, most = _limits(self.dtype)
        last = min(max(math.ceil(self.hi), least), most)
        bottom, span = self.scale
        results = bottom + span * self._at_integers(self.first, last)
        if self.out_dtype.kind in "iu":
            # The results may lie outside the dtype where the range does.
            least, most = _limits(self.out_dtype)
            results = np.minimum(np.maximum(np.rint(results), least), most)
        return results.astype(self.out_dtype)

    def at(self, values: np.ndarray) -> np.ndarray:
        """Return the results for integers from the table."""
        table = self.table
        assert table is not None, "The volume holds integers of up to 16 bits."
        results: np.ndarray = table[np.clip(values - self.first, 0, len(table) - 1)]
        return results

    @property
    def scale(self) -> tuple[float, float]:
        """The result where the curve is 0, and how much greater the result is where the curve is 1."""
        return self.bottom, self.span

    def curve(self, values: np.ndarray) -> np.ndarray:
        """Return the curve at intensities as float64, in [0, 1] unless `scale` says otherwise."""
        raise NotImplementedError

    def _at_integers(self, first: int, last: int) -> np.ndarray:
        return self.curve(np.arange(first, last + 1, dtype=np.float64))

    def position(self, values: np.ndarray) -> np.ndarray:
        """Return where intensities lie in the input range, clamped to [0, 1]."""
        return np.clip((values - self.lo) / (self.upper - self.lo), 0, 1)

    @property
    def kernel_key(self) -> tuple[Any, ...]:
        name = "map_table" if is_lookup(self.dtype) else self._kernel_name
        return name, working_dtype(self.dtype), working_dtype(self.out_dtype)

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        run = kernel(*self.kernel_key)
        if is_lookup(self.dtype):
            run(values.reshape(-1), self.first, self.table, out.reshape(-1))
        else:
            run(values.reshape(-1), *self._kernel_parameters(), *self.scale, out.reshape(-1))

    def rows_key(self, fits: Sequence[Self]) -> tuple[Any, ...] | None:
        name, *dtypes = self.kernel_key
        # All fits of a transform have the same dtypes.
        alike = all(type(fit) is type(self) for fit in fits)
        return (_OF_ROWS[name], *dtypes) if alike and name in _OF_ROWS else None

    def map_rows(self, fits: Sequence[Self], values: np.ndarray, out: np.ndarray) -> None:
        key = self.rows_key(fits)
        assert key is not None, "The fits have a kernel for rows."
        run = kernel(*key)
        if is_lookup(self.dtype):
            starts, tables = _joined([fit.table for fit in fits if fit.table is not None])
            run(values, np.array([fit.first for fit in fits]), starts, tables, out)
            return
        parameters: list[np.ndarray] = []
        told = False
        for column in zip(*(fit._row_parameters() for fit in fits), strict=True):
            if not isinstance(column[0], np.ndarray):
                parameters.append(np.array(column))
                continue
            starts, flat = _joined(column)
            # All arrays of a fit are equally long, so the starts are given only once.
            parameters += [flat] if told else [starts, flat]
            told = True
        bottom, span = np.ascontiguousarray(np.array([fit.scale for fit in fits], np.float64).T)
        run(values, *parameters, bottom, span, out)

    # Dtypes without a table have this kernel, which takes these parameters between the values and `scale`.
    @property
    def _kernel_name(self) -> str:
        raise NotImplementedError

    def _kernel_parameters(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def _row_parameters(self) -> tuple[Any, ...]:
        """Return what a kernel that maps rows takes of each fit."""
        return self._kernel_parameters()


def _joined(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return where each array begins and the last one ends, and the arrays end to end."""
    return np.cumsum([0, *map(len, arrays)]), np.concatenate(arrays)


@dataclass(frozen=True, eq=False)
class TableFit(PointwiseFit):
    """A table that combines the tables of several steps in a row, and begins with the integer `start`."""

    start: int
    results: np.ndarray

    @property
    def first(self) -> int:
        return self.start

    @property
    def table(self) -> np.ndarray:
        return self.results


@dataclass(frozen=True, eq=False)
class PowerFit(PointwiseFit):
    """gain * position ** gamma, at most 1."""

    gamma: float
    gain: float

    def curve(self, values: np.ndarray) -> np.ndarray:
        return np.minimum(self.gain * power(self.position(values), self.gamma), 1)

    @property
    def _kernel_name(self) -> str:
        single = self.dtype.kind == "f" and working_dtype(self.out_dtype) == np.float32
        return "map_power_single" if single else "map_power"

    def _kernel_parameters(self) -> tuple[Any, ...]:
        return self.lo, self.upper, self.gamma, self.gain


@dataclass(frozen=True, eq=False)
class KnotsFit(PointwiseFit):
    """Piecewise linear through knots that are evenly spaced from `lo` to `hi`."""

    knots: np.ndarray

    def _at_integers(self, first: int, last: int) -> np.ndarray:
        if (first, last) == (self.lo, self.hi) and last - first == len(self.knots) - 1:
            # Each knot lies at an integer, so the knots are taken without the rounding of a position.
            return self.knots
        return super()._at_integers(first, last)

    def curve(self, values: np.ndarray) -> np.ndarray:
        return interpolate(self.position(values), np.linspace(0, 1, len(self.knots)), self.knots)

    _kernel_name = "map_knots"

    def _kernel_parameters(self) -> tuple[Any, ...]:
        return self.lo, self.upper, self.knots


# Straight lines between knots may lie so far from the curve that they stand for, whose whole height is 1.  There are
# at least LEAST_PIECES between knots, so that none of its turns are missed, and at most MOST_PIECES.
TOLERANCE = 2e-7
LEAST_PIECES, MOST_PIECES = 1 << 10, 1 << 18


def sampled(curve: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return so many knots of a curve from 0 to 1 that float32 does not tell the lines between them from the curve."""
    pieces = LEAST_PIECES
    while True:
        knots = curve(np.linspace(0, 1, pieces + 1))
        away = np.abs(knots[1::2] - (knots[:-1:2] + knots[2::2]) / 2)
        # The distances are those of half as many knots, whose errors are four times as large.
        if pieces >= MOST_PIECES or away.max() <= 4 * TOLERANCE:
            return knots
        pieces *= 2


def fit_curve(
    curve: Callable[[np.ndarray], np.ndarray], lo: float, hi: float, dtype: np.dtype, output: str, *kernels: str
) -> KnotsFit:
    """Return the fit of a curve that keeps the intensity range, on positions in that range and results in [0, 1].

    Kernels that the curve needs are loaded here, where the wait is reported.
    """
    for each in kernels:
        load_kernel(each)
    bottom, top = (lo, hi) if output == "dtype" else (0.0, 1.0)
    return KnotsFit(lo, hi, bottom, top, dtype, result_dtype(dtype, output), sampled(curve))


@dataclass(frozen=True, eq=False)
class ResultsFit(KnotsFit):
    """Knots that are results already, and are not scaled."""

    scale = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class CurveFit(PointwiseFit):
    """Piecewise linear through knots that lie anywhere: at least two places in ascending order, and their heights."""

    places: np.ndarray
    heights: np.ndarray

    _kernel_name = "map_curve"

    def curve(self, values: np.ndarray) -> np.ndarray:
        return interpolate(values, self.places, self.heights)

    def _kernel_parameters(self) -> tuple[Any, ...]:
        return self.places, self.heights


# The index of levels has a part for so many of them, but at most so many parts.
PART_LEVELS, MOST_PARTS = 1 << 14, 512


@dataclass(frozen=True, eq=False)
class StepsFit(PointwiseFit):
    """Steps: values above levels[k - 1], up to and with levels[k], become heights[k]."""

    # Blocks are small, because a search among many levels mostly waits for memory.
    block_voxels: ClassVar[tuple[int, ...]] = (1 << 18,)

    levels: np.ndarray
    heights: np.ndarray

    def curve(self, values: np.ndarray) -> np.ndarray:
        results: np.ndarray = self.heights[np.minimum(np.searchsorted(self.levels, values), len(self.levels) - 1)]
        return results

    _kernel_name = "map_steps"

    @cached_property
    def index(self) -> np.ndarray:
        """An index of the levels in equal parts, because even buckets suit only a short part of skewed levels."""
        levels, parts = self.levels, min(max(len(self.levels) // PART_LEVELS, 1), MOST_PARTS)
        starts = np.empty(len(levels) + parts, np.uint32)
        run = load_kernel("index_steps", levels.dtype)
        walk(range(parts), lambda part: run(levels, part, part + 1, starts), lambda _: None, "ranking")
        return starts

    def _kernel_parameters(self) -> tuple[Any, ...]:
        return self.levels, self.heights, self.index

    def _row_parameters(self) -> tuple[Any, ...]:
        return self.levels, self.heights

"""Mean, variance and extremes of voxels, mergeable like the histograms that hold them.

The last digits of a sum of floats depend on the order of its terms, so these are sums of integers, which do not: most
voxels are rounded to a grid that the edges of the bins decide, and the others are added up digit by digit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from napari_exposure.core.jit import Kernel


@dataclass(frozen=True)
class Grid:
    """Multiples of `unit`, counted from `center`; 2**52 of them lie between two edges."""

    center: float
    unit: float

    @classmethod
    def between(cls, low: float, high: float) -> Grid:
        """The grid between two edges."""
        center = low + (high - low) / 2
        _, exponent = math.frexp(max(high - center, center - low))
        unit = math.ldexp(1.0, max(exponent, -900) - 51)
        # 0 and whole numbers belong to it where they can
        return cls(round(center / unit) * unit if abs(center) < 2.0**52 * unit else center, unit)


@dataclass(frozen=True)
class Moments:
    """What bins cannot tell of the finite voxels, the same in any order; `first` and `second` are the sums of the
    voxels and of their squares, each voxel right to 40 bits and to 2**-52 of what lies between the edges of the bins.
    """

    n: int = 0
    first: Fraction = Fraction(0)
    second: Fraction = Fraction(0)
    minimum: float = math.nan
    maximum: float = math.nan
    at_minimum: int = 0
    at_maximum: int = 0

    @property
    def mean(self) -> float:
        """NaN where there are no voxels."""
        if not self.n:
            return math.nan
        # Rounded voxels may lie beyond the extremes by a last digit.
        return min(max(float(self.first / self.n), self.minimum), self.maximum)

    @property
    def std(self) -> float:
        """The standard deviation, as ``numpy.std`` has it; NaN where there are no voxels."""
        if not self.n:
            return math.nan
        variance = self.second / self.n - (self.first / self.n) ** 2
        # A variance may be greater or smaller than floats are, though its root is one.
        half = (variance.numerator.bit_length() - variance.denominator.bit_length()) // 2
        return math.ldexp(math.sqrt(variance / Fraction(4) ** half), half)

    def __add__(self, other: Moments) -> Moments:
        if not (self.n and other.n):
            return self if self.n else other
        low, high = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        return Moments(
            self.n + other.n,
            self.first + other.first,
            self.second + other.second,
            low,
            high,
            sum(part.at_minimum for part in (self, other) if part.minimum == low),
            sum(part.at_maximum for part in (self, other) if part.maximum == high),
        )

    @classmethod
    def of_values(
        cls, kernel: Kernel, values: np.ndarray, counted: np.ndarray, grid: Grid, extent: tuple[float, float]
    ) -> Moments:
        """Of flat values, with the kernel "moments" of their dtype; an empty `counted` means all of them.

        `extent` has their finite minimum and maximum.
        """
        low, high = extent
        if math.isnan(low):
            return cls()
        near, far, tally = np.zeros(8, np.int64), np.zeros((2047, 8), np.int64), np.zeros(4, np.int64)
        kernel(values, counted, grid.center, 1 / grid.unit, low, high, near, far, tally)
        center, unit = Fraction(grid.center), Fraction(grid.unit)
        n, beyond, at_minimum, at_maximum = tally.tolist()
        total, squares = _sums(near)
        first = n * center + unit * total
        second = n * center**2 + 2 * center * unit * total + unit**2 * squares
        for exponent in np.flatnonzero(far.any(axis=1)).tolist():
            # the unit of a float64 with this exponent
            unit = Fraction(2) ** (max(exponent, 1) - 1075)
            total, squares = _sums(far[exponent])
            first, second = first + unit * total, second + unit**2 * squares
        return cls(n + beyond, first, second, low, high, at_minimum, at_maximum)

    @classmethod
    def of_counts(cls, values: np.ndarray, counts: np.ndarray) -> Moments:
        """Of whole numbers in ascending order that occur `counts` times."""
        values, counts = values[counts > 0].astype(np.int64), counts[counts > 0]
        if not values.size:
            return cls()
        ends = (float(values[0]), float(values[-1]), int(counts[0]), int(counts[-1]))
        first, second = (_product(counts, values**power) for power in (1, 2))
        return cls(int(counts.sum()), Fraction(first), Fraction(second), *ends)


def _sums(slots: np.ndarray) -> tuple[int, int]:
    """The sum of integers and that of their squares, from what the kernel has added up of their halves."""
    high, low, *squares = slots.tolist()
    highs, mixed, lows = ((squares[at] << 32) + squares[at + 1] for at in (0, 2, 4))
    return (high << 26) + low, (highs << 52) + (mixed << 27) + lows


def _product(counts: np.ndarray, values: np.ndarray) -> int:
    """The sum of products of numbers of up to 32 bits with counts, which would be too great for 64 bits."""
    high, low = counts >> 24, counts & 0xFFFFFF
    return (int((high * values).sum()) << 24) + int((low * values).sum())

"""Mean, variance and extremes of voxels, mergeable like the histograms that hold them.

The last digits of a sum of floats depend on the order of its terms, but a sum of integers does not.  So most voxels are
rounded to a grid that lies between the edges of the bins, and the others are added up exactly for each exponent.
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
        """Return the grid between two edges."""
        center = low + (high - low) / 2
        _, exponent = math.frexp(max(high - center, center - low))
        unit = math.ldexp(1.0, max(exponent, -900) - 51)
        # The center is a multiple of the unit where it can be, so that 0 and whole numbers lie on the grid.
        return cls(round(center / unit) * unit if abs(center) < 2.0**52 * unit else center, unit)


@dataclass(frozen=True)
class Moments:
    """What bins cannot tell of the finite voxels; it is the same in any order of the voxels.

    The sums of the voxels and of their squares are `first` and `second`; each voxel is right to 40 bits and to 2**-52
    of the range between the edges of the bins.
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
        """The mean, which is NaN where there are no voxels."""
        if not self.n:
            return math.nan
        # Rounded voxels may lie beyond the extremes by a last digit.
        return min(max(float(self.first / self.n), self.minimum), self.maximum)

    @property
    def std(self) -> float:
        """The standard deviation as ``numpy.std`` defines it, which is NaN where there are no voxels."""
        if not self.n:
            return math.nan
        variance = self.second / self.n - (self.first / self.n) ** 2
        # A variance may lie beyond the range of floats, though its root does not.
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
        """Return the moments of flat values, which the kernel "moments" of their dtype counts.

        An empty `counted` means all of them; `extent` has their finite minimum and maximum.
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
            # A float64 with this exponent is a multiple of this unit.
            unit = Fraction(2) ** (max(exponent, 1) - 1075)
            total, squares = _sums(far[exponent])
            first, second = first + unit * total, second + unit**2 * squares
        return cls(n + beyond, first, second, low, high, at_minimum, at_maximum)

    @classmethod
    def of_counts(cls, values: np.ndarray, counts: np.ndarray) -> Moments:
        """Return the moments of whole numbers in ascending order that occur `counts` times."""
        values, counts = values[counts > 0].astype(np.int64), counts[counts > 0]
        if not values.size:
            return cls()
        ends = (float(values[0]), float(values[-1]), int(counts[0]), int(counts[-1]))
        first, second = (_product(counts, values**power) for power in (1, 2))
        return cls(int(counts.sum()), Fraction(first), Fraction(second), *ends)


def _sums(slots: np.ndarray) -> tuple[int, int]:
    """Return the sum of integers and that of their squares, from the sums that the kernel has made of their halves."""
    high, low, *squares = slots.tolist()
    highs, mixed, lows = ((squares[at] << 32) + squares[at + 1] for at in (0, 2, 4))
    return (high << 26) + low, (highs << 52) + (mixed << 27) + lows


def _product(counts: np.ndarray, values: np.ndarray) -> int:
    """Return the sum of counts times numbers of up to 32 bits, which may be too great for 64 bits."""
    high, low = counts >> 24, counts & 0xFFFFFF
    return (int((high * values).sum()) << 24) + int((low * values).sum())

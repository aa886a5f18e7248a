"""Mean, variance and extremes of voxels, mergeable like the histograms that hold them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_exposure.core.jit import Kernel


@dataclass(frozen=True)
class Moments:
    """What bins cannot tell of the finite voxels; `m2` is the sum of squares about the mean."""

    n: int = 0
    mean: float = math.nan
    m2: float = 0.0
    minimum: float = math.nan
    maximum: float = math.nan
    at_minimum: int = 0
    at_maximum: int = 0

    def __add__(self, other: Moments) -> Moments:
        if not (self.n and other.n):
            return self if self.n else other
        n = self.n + other.n
        apart = other.mean - self.mean
        low, high = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        return Moments(
            n,
            self.mean + apart * (other.n / n),
            self.m2 + other.m2 + apart * (self.n / n) * apart * other.n,
            low,
            high,
            sum(part.at_minimum for part in (self, other) if part.minimum == low),
            sum(part.at_maximum for part in (self, other) if part.maximum == high),
        )

    @classmethod
    def of_values(cls, kernel: Kernel, values: np.ndarray, counted: np.ndarray) -> Moments:
        """Of flat values, with the kernel "moments" of their dtype; an empty `counted` means all of them."""
        out = np.array([0, 0, 0, np.inf, -np.inf, 0, 0])
        kernel(values, counted, out)
        if not out[0]:
            return cls()
        n, mean, m2, minimum, maximum, at_minimum, at_maximum = out.tolist()
        return cls(int(n), mean, m2, minimum, maximum, int(at_minimum), int(at_maximum))

    @classmethod
    def of_counts(cls, values: np.ndarray, counts: np.ndarray) -> Moments:
        """Of values in ascending order that occur `counts` times."""
        values, counts = values[counts > 0], counts[counts > 0]
        if not values.size:
            return cls()
        n = int(counts.sum())
        # about the first value, so that no digits are lost to a distant one; one term after the other, because the
        # order of the additions in a product of vectors depends on the processor
        away = values - values[0]
        mean = float(np.cumsum(counts * away)[-1]) / n
        m2 = float(np.cumsum(counts * (away - mean) ** 2)[-1])
        ends = (float(values[0]), float(values[-1]), int(counts[0]), int(counts[-1]))
        return cls(n, ends[0] + mean, m2, *ends)

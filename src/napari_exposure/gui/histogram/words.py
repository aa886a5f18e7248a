"""Numbers of the panel as text."""

from __future__ import annotations

import math

import numpy as np


def digits_between(low: float, high: float) -> int:
    """Return how many digits tell the values of a range apart, however narrow it is."""
    wide = high - low
    if not wide > 0:
        return 6
    return int(np.clip(5 + np.log10(max(abs(low), abs(high), wide) / wide), 6, 15))


def number(value: float, digits: int = 6) -> str:
    """Write an intensity, or a dash for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.{digits}g}"


def voxels(count: int) -> str:
    """Write a number of voxels."""
    return f"{count:,} voxel{'s' * (count != 1)}"


def percent(count: float, total: int) -> str:
    """Write a fraction of all voxels in percent, or the number of voxels if they are few."""
    share = 100 * count / max(total, 1)
    return f"{share:.3g} %" if share >= 0.01 else voxels(round(count)) if round(count) else "0 %"

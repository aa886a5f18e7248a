"""Statistics and curves that a few outliers do not change."""

from __future__ import annotations

import math

import numpy as np

from napari_exposure.core.functions import exp, interpolate
from napari_exposure.core.histogram import at_place

# A robust line is the median of at most about PLANES**2 / 2 slopes.
PLANES = 2048
# A smooth curve is computed at so many places at most, and is straight between them.
KNOTS = 512
ROUNDS = 4


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


def robust_line(at: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Return slope and intercept of the line whose slope is the median of those between any two points [1]_.

    Up to 29 % of the points, which are in order, may lie anywhere.  Of many points, only pairs at some of the distances
    are compared.

    References
    ----------
    .. [1] P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, Journal of the American
       Statistical Association 63, 1968.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.robust import robust_line
    >>> robust_line(np.arange(5.0), np.array([1.0, 3.0, 99.0, 7.0, 9.0]))
    (2.0, 1.0)
    """
    step = -(-len(at) // PLANES)
    lags = range(step, len(at), step)
    slopes = [(values[lag:] - values[:-lag]) / (at[lag:] - at[:-lag]) for lag in lags]
    slope = float(np.median(np.concatenate(slopes)))
    return slope, float(np.median(values - slope * at))


def robust_curve(at: np.ndarray, values: np.ndarray, width: float) -> np.ndarray:
    """Fit a smooth curve to points in order, which is a line near each point and robust against outliers [1]_.

    The Gaussian weights have the standard deviation `width`.

    References
    ----------
    .. [1] W. S. Cleveland, Robust locally weighted regression and smoothing scatterplots, Journal of the American
       Statistical Association 74, 1979; here with Gaussian weights of one width.
    """
    knots = at if len(at) <= KNOTS else np.linspace(at[0], at[-1], KNOTS)
    apart = at - knots[:, None]
    near = exp(-0.5 * (apart / width) ** 2)
    # The moments about each knot need each Gaussian times the distance to the powers 0, 1 and 2.
    moments = near, near * apart, near * apart**2
    trust = np.ones(len(at))
    for _ in range(ROUNDS):
        # These are sums and not matrix products, whose order of additions depends on the processor.
        n, first, second = ((moment * trust).sum(axis=1) for moment in moments)
        height, tilt = ((moment * (trust * values)).sum(axis=1) for moment in moments[:2])
        # Each knot has a line of its own, whose height at the knot is the curve.
        determinant = n * second - first**2
        straight = determinant > 1e-12 * n * second
        mean = height / np.maximum(n, np.finfo(float).tiny)
        line = (second * height - first * tilt) / np.where(straight, determinant, 1)
        curve = interpolate(at, knots, np.where(straight, line, mean))
        away = np.abs(values - curve)
        scale = 6 * np.median(away)
        if scale == 0:
            break
        trust = np.clip(1 - (away / scale) ** 2, 0, None) ** 2
    return curve

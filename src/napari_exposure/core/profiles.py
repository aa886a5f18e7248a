"""Models of an intensity profile: a robust line, a smooth curve, or the profile itself."""

from __future__ import annotations

import numpy as np

from napari_exposure.core.functions import exp, interpolate, log

# A robust line is the median of at most about PLANES**2 / 2 slopes.
PLANES = 2048
# A smooth curve is computed at so many places at most, and is straight between them.
KNOTS = 512
ROUNDS = 4


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
    >>> from napari_exposure.core.profiles import robust_line
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


def modelled(model: str, levels: np.ndarray, known: np.ndarray, smoothness: float) -> np.ndarray:
    """Fit a model to the levels of planes, and return it for all planes in natural logarithms.

    These follow ratios and stay above 0.  The model is "exponential", "smooth" or "plane".  At least two planes are
    known, and have a level above 0; the width of the smooth curve is a fraction of the axis.  Beyond the known planes a
    line goes on, and the other models stay at the value of the nearest known plane.
    """
    places = np.arange(len(levels), dtype=np.float64)
    at, values = places[known], log(levels[known])
    if model == "exponential":
        slope, start = robust_line(at, values)
        return start + slope * places
    if model == "smooth":
        values = robust_curve(at, values, smoothness * len(levels))
    return interpolate(places, at, values)


# The profile of the chosen percentile is compared with those of these.
RANKS = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0)
# A percentile is not compared if its median level is less than this fraction of that of the chosen one.
DIMMEST = 0.1
# A profile that varies so little cannot be told from chance, and does no harm.
RIPPLE = 0.005


def compared(percentile: float) -> tuple[float, ...]:
    """Return the percentiles that tell whether light was lost: the chosen one first, then others near it and far off.

    Examples
    --------
    >>> from napari_exposure.core.profiles import compared
    >>> compared(99.0)
    (99.0, 5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0, 98.0, 99.5, 99.75)
    """
    above = 100 - percentile
    others = {*RANKS, *(100 - above * part for part in (2.0, 0.5, 0.25))} - {percentile}
    return (percentile, *sorted(rank for rank in others if 0 < rank < 100))


def common_profile(model: str, levels: np.ndarray, known: np.ndarray, smoothness: float) -> tuple[np.ndarray, float]:
    """Fit a model to the levels of planes, and find how far the data support that light was lost.

    Lost light dims all intensities of a plane by one factor.  Where a plane only holds less, its bright voxels become
    fewer and its dark ones stay.  So a model is fitted to each of several percentiles, and the models are compared: the
    support is the fraction of all variation that is the same in all of them, at most 1.

    Levels, shape (percentiles, planes), are those above the background.  The chosen percentile comes first, whose model
    is returned as `modelled` gives it.  Percentiles that are not above 0 everywhere, or less than a tenth of the chosen
    one, are too dim to say anything and are left out.
    """
    with np.errstate(invalid="ignore"):
        bright = (levels[:, known] > 0).all(axis=1) & (
            np.median(levels[:, known], axis=1) >= DIMMEST * np.median(levels[0, known])
        )
    fits = np.array([modelled(model, each, known, smoothness) for each in levels[bright]])
    away = fits[:, known] - fits[:, known].mean(axis=1, keepdims=True)
    if (away[0] ** 2).mean() <= RIPPLE**2:
        return fits[0], 1.0
    apart = away - np.median(away, axis=0)
    return fits[0], 1 - float((apart**2).sum() / (away**2).sum())

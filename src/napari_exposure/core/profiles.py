"""Models of an intensity profile: a robust line, a smooth curve, or the profile itself."""

from __future__ import annotations

import numpy as np

from napari_exposure.core.functions import exp, interpolate, log

# slopes that a robust line is made from, at most about: half the square of this
PLANES = 2048
# places at which a smooth curve is found; between them it is straight
KNOTS = 512
ROUNDS = 4


def robust_line(at: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the line whose slope is the median of those between any two points [1]_.

    Up to 29 % of the points may lie anywhere.  Of many points, some of the distances between two are left out.

    Parameters
    ----------
    at : numpy.ndarray, ascending
    values : numpy.ndarray of the same shape, at least 2 points

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
    """A smooth curve through points: locally a line, made robust against outliers [1]_.

    Parameters
    ----------
    at : numpy.ndarray, ascending
    values : numpy.ndarray of the same shape
    width : float
        Standard deviation of the Gaussian weights, in units of `at`.

    Returns
    -------
    numpy.ndarray
        The curve at `at`.

    References
    ----------
    .. [1] W. S. Cleveland, Robust locally weighted regression and smoothing scatterplots, Journal of the American
       Statistical Association 74, 1979; here with Gaussian weights of one width.
    """
    knots = at if len(at) <= KNOTS else np.linspace(at[0], at[-1], KNOTS)
    apart = at - knots[:, None]
    near = exp(-0.5 * (apart / width) ** 2)
    # each Gaussian times the distance to the powers 0, 1 and 2, for the moments about each knot
    moments = near, near * apart, near * apart**2
    trust = np.ones(len(at))
    for _ in range(ROUNDS):
        # sums, not products of matrices, whose order of additions depends on the processor
        n, first, second = ((moment * trust).sum(axis=1) for moment in moments)
        height, tilt = ((moment * (trust * values)).sum(axis=1) for moment in moments[:2])
        # the height of each knot's line there is the curve
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
    """What a model makes of the levels of planes, in logarithms, so that it follows ratios and is above 0.

    Parameters
    ----------
    model : "exponential", "smooth" or "plane"
    levels : numpy.ndarray, shape (planes,)
    known : numpy.ndarray of bool, shape (planes,)
        The planes that have a level, which is above 0; at least 2.
    smoothness : float
        Width of the smooth curve as a fraction of the axis.

    Returns
    -------
    numpy.ndarray, shape (planes,)
        Natural logarithms, of all planes: a line goes on, a curve and single planes stay what they are at the nearest
        that is known.
    """
    places = np.arange(len(levels), dtype=np.float64)
    at, values = places[known], log(levels[known])
    if model == "exponential":
        slope, start = robust_line(at, values)
        return start + slope * places
    if model == "smooth":
        values = robust_curve(at, values, smoothness * len(levels))
    return interpolate(places, at, values)


# the parts of a plane whose profiles are compared, and of those the least bright, as a part of the chosen one
RANKS = (5.0, 20.0, 35.0, 50.0, 65.0, 80.0, 95.0)
DIMMEST = 0.1
# ripples of a profile that are too small to be told from chance, and to do harm
RIPPLE = 0.005


def compared(percentile: float) -> tuple[float, ...]:
    """Percentiles of planes that tell whether a decay is one: the chosen one first, then others near it and far off.

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
    """A model of the levels of planes, and how far the data support that light was lost.

    Lost light dims all intensities of a plane by one factor.  Where a plane only holds less, its bright voxels become
    fewer and its dark ones stay.  So several percentiles of each plane are modelled, each by itself, and compared.

    Parameters
    ----------
    model : "exponential", "smooth" or "plane"
    levels : numpy.ndarray, shape (percentiles, planes)
        Above the background; the chosen percentile first.  Those that are not bright enough to say anything are left
        out: not above 0 everywhere, or less than a tenth of the chosen one.
    known, smoothness
        As `modelled` has them.

    Returns
    -------
    profile : numpy.ndarray, shape (planes,)
        Natural logarithms: the model of the chosen percentile.
    support : float
        The part of all variation that is the same in all percentiles, at most 1.
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

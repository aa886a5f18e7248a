"""Models of an intensity profile: a robust line, a smooth curve, or the profile itself."""

from __future__ import annotations

import numpy as np

from napari_exposure.core.functions import interpolate, log
from napari_exposure.core.robust import robust_curve, robust_line


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

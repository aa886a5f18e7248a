"""Powers, logarithms and interpolation whose results are the same bits on every processor.

The last digit of NumPy's functions depends on the processor: exp, log and power use the vector instructions that it
has, and for interp a compiler may fuse a multiplication with an addition.  Here each function is a fixed sequence of
operations that IEEE 754 prescribes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_exposure.core.jit import kernel


def power(values: npt.ArrayLike, exponent: float) -> np.ndarray:
    """Return ``values ** exponent`` in float64, for values from 0 on and an exponent above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.functions import power
    >>> power(np.array([0, 0.25, 1, 9]), 0.5)
    array([0. , 0.5, 1. , 3. ])
    """
    return _through("power", values, exponent)


def log(values: npt.ArrayLike) -> np.ndarray:
    """Return the natural logarithm in float64 of finite values above 0."""
    return _through("log", values)


def exp(values: npt.ArrayLike) -> np.ndarray:
    """Return the exponential in float64 of numbers that are not NaN."""
    return _through("exp", values)


def _through(name: str, values: npt.ArrayLike, *parameters: float) -> np.ndarray:
    values = np.require(values, np.float64, ["C", "A"])
    out = np.empty_like(values)
    kernel(name)(values.reshape(-1), *parameters, out.reshape(-1))
    return out


def interpolate(at: npt.ArrayLike, places: npt.ArrayLike, values: npt.ArrayLike) -> np.ndarray:
    """Interpolate values between ascending places by straight lines; beyond the ends they are those of the ends.

    Examples
    --------
    >>> from napari_exposure.core.functions import interpolate
    >>> interpolate([-1, 0.5, 2, 9], [0, 1, 2], [10, 20, 40])
    array([10., 15., 40., 40.])
    """
    places = np.asarray(places)
    found: np.ndarray = np.clip(at, places[0], places[-1], dtype=np.float64)
    left = np.searchsorted(places, found, side="right") - 1
    # Behind the last place the values stay level, so a slope of 0 is appended.
    slopes = np.append(np.diff(values) / np.diff(places), 0.0)
    found -= np.take(places, left)
    found *= np.take(slopes, left)
    found += np.take(values, left)
    return found


def monotone_cubic(at: npt.ArrayLike, places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Interpolate values between ascending places by cubics [1]_; beyond the ends they are those of the ends.

    The curve never overshoots: it goes up where the values do, and is level where two neighbors are alike.  Its slopes
    at the places are those of ``scipy.interpolate.PchipInterpolator``.

    References
    ----------
    .. [1] F. N. Fritsch and J. Butland, A method for constructing local monotone piecewise cubic interpolants, SIAM
       Journal on Scientific and Statistical Computing 5, 1984.

    Examples
    --------
    >>> from napari_exposure.core.functions import monotone_cubic
    >>> monotone_cubic([-1, 0.5, 1, 1.5, 3], [0, 1, 2], [0, 3, 4])
    array([0.    , 1.8125, 3.    , 3.6875, 4.    ])
    """
    places, values = np.asarray(places, np.float64), np.asarray(values, np.float64)
    steps = np.diff(places)
    slopes = np.diff(values) / steps
    found = np.clip(at, places[0], places[-1], dtype=np.float64)
    left = np.minimum(np.searchsorted(places, found, side="right") - 1, len(steps) - 1)
    tangents = _tangents(steps, slopes)
    # In Hermite's form, the two tangents bend the straight line between two places.
    step, slope = steps[left], slopes[left]
    t = (found - places[left]) / step
    first, second = tangents[left] - slope, tangents[left + 1] - slope
    bend = t * (1 - t) * ((1 - t) * first - t * second)
    result: np.ndarray = values[left] + step * (t * slope + bend)
    return result


def _tangents(steps: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return the slopes at the places: weighted harmonic means inside, and at the ends those of parabolas, limited."""
    if len(slopes) == 1:
        return np.repeat(slopes, 2)
    before, after = slopes[:-1], slopes[1:]
    near, far = 2 * steps[1:] + steps[:-1], steps[1:] + 2 * steps[:-1]
    same = before * after > 0
    ones = np.ones(len(before))
    harmonic = (near + far) / (near / np.where(same, before, ones) + far / np.where(same, after, ones))
    return np.concatenate(
        [
            [_end_slope(steps[0], steps[1], slopes[0], slopes[1])],
            np.where(same, harmonic, 0.0),
            [_end_slope(steps[-1], steps[-2], slopes[-1], slopes[-2])],
        ]
    )


def _end_slope(step: float, next_step: float, slope: float, next_slope: float) -> float:
    """Return the slope at an end of the parabola through three places, limited so that the curve does not turn back."""
    found = ((2 * step + next_step) * slope - step * next_slope) / (step + next_step)
    if found * slope <= 0:
        return 0.0
    return 3 * slope if slope * next_slope < 0 and abs(found) > 3 * abs(slope) else found

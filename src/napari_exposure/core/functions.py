"""Powers, logarithms and interpolation whose results are the same bits on every processor.

NumPy's own differ in the last digit: exp, log and power by the vector instructions that are there, interp where the
compiler fuses a multiplication with an addition.  Here each is a fixed row of operations that IEEE 754 prescribes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_exposure.core.jit import kernel


def power(values: npt.ArrayLike, exponent: float) -> np.ndarray:
    """``values ** exponent`` in float64, for values from 0 on and an exponent above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.functions import power
    >>> power(np.array([0, 0.25, 1, 9]), 0.5)
    array([0. , 0.5, 1. , 3. ])
    """
    return _through("power", values, exponent)


def log(values: npt.ArrayLike) -> np.ndarray:
    """The natural logarithm in float64 of finite values above 0."""
    return _through("log", values)


def exp(values: npt.ArrayLike) -> np.ndarray:
    """The exponential in float64 of numbers that are not NaN."""
    return _through("exp", values)


def _through(name: str, values: npt.ArrayLike, *parameters: float) -> np.ndarray:
    values = np.require(values, np.float64, ["C", "A"])
    out = np.empty_like(values)
    kernel(name)(values.reshape(-1), *parameters, out.reshape(-1))
    return out


def interpolate(at: npt.ArrayLike, places: npt.ArrayLike, values: npt.ArrayLike) -> np.ndarray:
    """Values between places in ascending order, on straight lines; beyond the ends those of the ends.

    Examples
    --------
    >>> from napari_exposure.core.functions import interpolate
    >>> interpolate([-1, 0.5, 2, 9], [0, 1, 2], [10, 20, 40])
    array([10., 15., 40., 40.])
    """
    places = np.asarray(places)
    found: np.ndarray = np.clip(at, places[0], places[-1], dtype=np.float64)
    left = np.searchsorted(places, found, side="right") - 1
    # Behind the last place the values stay level, so its slope is 0.
    slopes = np.append(np.diff(values) / np.diff(places), 0.0)
    found -= np.take(places, left)
    found *= np.take(slopes, left)
    found += np.take(values, left)
    return found

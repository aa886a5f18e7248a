"""What a correction of decay sees: the intensities along an axis, and how much more one channel loses than another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from napari_exposure.core.adjustment import warn_constant
from napari_exposure.core.axes import check_spacing
from napari_exposure.core.decay_fit import DecayFit, DecayTransform
from napari_exposure.core.depth import SURFACE, Along, DecayCorrection
from napari_exposure.core.functions import log
from napari_exposure.core.images import opened
from napari_exposure.core.typing import ArrayLike, Layer, Spacing


def _correction(function: str, axis: Along, parameters: dict[str, Any]) -> DecayCorrection:
    """Return the correction with these parameters, or raise an error that names the function if one is unknown."""
    if strange := DecayCorrection.unknown(parameters):
        raise TypeError(f"{function} {strange}")
    return DecayCorrection(axis, **parameters)


def decay_profile(
    image: ArrayLike | Layer,
    axis: Along = "z",
    *,
    mask: ArrayLike | Layer | None = None,
    spacing: Spacing = None,
    rgb: bool | None = None,
    **parameters: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The intensity of each plane along an axis, and what `correct_decay` makes of it: for a plot.

    Parameters
    ----------
    image, axis, mask, rgb, **parameters
        As in `correct_decay`.
    spacing : float or sequence of float, optional
        Of arrays: physical size of a voxel along the spatial axes.

    Returns
    -------
    positions : numpy.ndarray of float64, shape (planes,)
        Of the planes, from 0 on, in units of `spacing` or in the layer's unit; of shells their depth.  Along "t" the
        times in the unit of that axis, or numbers of time points where it has none.
    profile : numpy.ndarray of float64, shape (planes,)
        Percentile of each plane; NaN where there is none above the background.
    fitted : numpy.ndarray of float64, shape (planes,)
        The model of it, also where the data do not support it.  Where volumes or planes have fits of their own,
        they are of shape (..., planes); so are the depths of shells.

    Raises
    ------
    TypeError, ValueError
        As `correct_decay` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import decay_profile
    >>> positions, profile, fitted = decay_profile(np.array([[800, 400, 200, 100]], dtype=np.uint16), "x")
    >>> profile
    array([800., 400., 200., 100.])
    >>> fitted
    array([800., 400., 200., 100.])
    """
    adjustment = _correction("decay_profile", axis, parameters)
    found = opened(image, mask=mask, spacing=spacing, rgb=rgb)
    volume = found.volume(adjustment.ignore_zeros)
    with found.bar():
        transform = cast(DecayTransform, adjustment.fit_volume(volume, found.spacing))
    warn_constant(transform)
    if axis == SURFACE:
        return transform.of_fits("middles"), transform.profile, transform.fitted
    if axis == "t":
        step = found.time_step(adjustment._time(volume))
    else:
        sizes = check_spacing(found.spacing, len(volume.shape), adjustment.per)
        step = sizes[adjustment.place(volume, transform.spatial)]
    return step * np.arange(transform.profile.shape[-1]), transform.profile, transform.fitted


def decay_exponent(
    image: Any,
    reference: Any,
    axis: Along = "z",
    *,
    mask: ArrayLike | Layer | None = None,
    spacing: Spacing = None,
    rgb: bool | None = None,
    **parameters: Any,
) -> float:
    """The power of a reference channel's gains that suits another channel, which loses more light or less.

    Parameters
    ----------
    image : array-like or napari.layers.Image
        The channel to be corrected.
    reference : array-like or napari.layers.Image
        The channel that the correction is fitted on, of the same shape, such as a nuclear stain that is everywhere
        alike.
    axis, mask, rgb, **parameters
        As in `correct_decay`, for both.
    spacing : float or sequence of float, optional
        Of arrays: physical size of a voxel along the spatial axes.

    Returns
    -------
    float
        For ``exponent``.

    Raises
    ------
    TypeError, ValueError
        As `correct_decay` does; also where the reference does not decay, or grows where the other channel decays.

    Notes
    -----
    Absorption and scattering take the light to a power that is the ratio of two wavelengths' coefficients.  It is
    the slope of one model against the other, both in logarithms of robust plane statistics.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import DecayCorrection, decay_exponent
    >>> dapi = np.float32([100, 50, 25])[:, None, None] * np.ones((3, 4, 5), np.float32)
    >>> gfp = np.float32([64, 16, 4])[:, None, None] * np.ones((3, 4, 5), np.float32)
    >>> decay_exponent(gfp, dapi)
    2.0
    >>> DecayCorrection(exponent=2.0).fit(dapi).apply(gfp)[:, 0, 0]
    array([64., 64., 64.], dtype=float32)
    """
    adjustment = replace(_correction("decay_exponent", axis, parameters), force=True)
    profiles = []
    for each in (reference, image):
        found = opened(each, mask=mask, spacing=spacing, rgb=rgb)
        with found.bar():
            transform = adjustment.fit_volume(found.volume(adjustment.ignore_zeros), found.spacing)
        fits = [cast(DecayFit, fit) for fit in transform.fits.values()]
        light = np.reshape([fit.fitted - fit.background for fit in fits], -1)
        profiles.append(log(light) if np.isfinite(light).all() else np.zeros(1))
    of_reference, of_image = (profile - profile.mean() for profile in profiles)
    if of_reference.shape != of_image.shape or not (of_reference**2).sum() > 0:
        raise ValueError(
            "The two channels must have the same planes, and the reference must change along them. Choose another "
            "reference, axis or background."
        )
    exponent = float((of_image * of_reference).sum() / (of_reference**2).sum())
    if exponent <= 0:
        raise ValueError(
            f"One channel gets darker along {axis} where the other gets brighter, so no power of its gains suits the "
            "other. Choose another reference, axis or background."
        )
    return exponent

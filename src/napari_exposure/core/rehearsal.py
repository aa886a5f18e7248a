"""Loads kernels before anybody waits for them."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import numpy.typing as npt

from napari_exposure.core import progress
from napari_exposure.core.adjustment import adjustments
from napari_exposure.core.intensity import check_dtype

SHAPE = 4, 32, 32


def rehearse(dtype: npt.DTypeLike) -> None:
    """Fit every adjustment, as it is by default, to a small ramp, so that the kernels for a dtype are loaded.

    On a fresh install numba compiles each in half a second to two; later it reads them from its cache.

    Parameters
    ----------
    dtype : dtype
        The dtype of the images that will be adjusted.

    Raises
    ------
    TypeError
        For a dtype that has no exposure.

    Examples
    --------
    >>> from napari_exposure.core.rehearsal import rehearse
    >>> rehearse("uint8")
    """
    dtype = check_dtype(np.dtype(dtype))
    steps = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    ramp = (steps % 128 if dtype.kind in "iu" else steps / steps.size).astype(dtype)
    kinds = adjustments()
    for number, kind in enumerate(kinds):
        # An adjustment that needs more than a volume, such as a reference, is left out.
        with progress.item(number, len(kinds)), suppress(TypeError, ValueError):
            kind().fit(ramp).load_kernels()

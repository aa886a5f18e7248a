"""Whether a volume has little contrast."""

from __future__ import annotations

from dataclasses import replace

from napari_exposure.core.blocks import Volume
from napari_exposure.core.counting import find_percentiles
from napari_exposure.core.images import opened
from napari_exposure.core.intensity import Percentiles, check_number, dtype_range, luminance
from napari_exposure.core.typing import ArrayLike, Layer

__all__ = ["is_low_contrast"]


def contrast_of(volume: Volume, lower: float = 1.0, upper: float = 99.0) -> float:
    """Return the distance of two percentiles of a volume, as a fraction of its dtype's range; 0 if nothing is counted.

    The range of a dtype is scikit-image's: that of floats goes from -1 to 1, and colors are turned into gray floats.
    """
    found = find_percentiles(volume, (lower, upper))
    if found is None:
        return 0.0
    least, most = dtype_range(volume.dtype, negative=True)
    width = 2 * dtype_range(volume.dtype, negative=False)[1] if volume.rgb else most - least
    return (found[1] - found[0]) / width


def is_low_contrast(
    image: ArrayLike | Layer,
    fraction_threshold: float = 0.05,
    lower_percentile: float = 1.0,
    upper_percentile: float = 99.0,
    *,
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    rgb: bool | None = None,
) -> bool:
    """Return whether the intensities of a volume span less than a fraction of what its dtype holds.

    Parameters
    ----------
    image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
        As in `histogram`.  Of RGB data the luminance counts.
    fraction_threshold : float
        In [0, 1].
    lower_percentile, upper_percentile : float
        The span goes from the one percentile to the other, in [0, 100].
    mask, ignore_zeros, rgb
        As in `histogram`.

    Returns
    -------
    bool

    Raises
    ------
    TypeError, ValueError
        As `histogram` does; also for percentiles out of order.

    Notes
    -----
    The answer is that of ``skimage.exposure.is_low_contrast``: floats and colors have a range of 2, from -1 to 1, and
    a mask has low contrast only if all of its voxels are alike.  The percentiles are exact for every dtype, and NaN is
    not counted.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import is_low_contrast
    >>> dim = np.arange(100, 110, dtype=np.uint8).reshape(2, 5)
    >>> is_low_contrast(dim), is_low_contrast(dim, 0.02)
    (True, False)
    """
    threshold = check_number(fraction_threshold, "fraction_threshold", low=0, high=1)
    asked = Percentiles(lower_percentile, upper_percentile)
    found = opened(image, mask=mask, rgb=rgb)
    volume = replace(found.volume(ignore_zeros), color=luminance)
    with found.bar():
        if volume.array.dtype.kind == "b":
            # In scikit-image a mask has full contrast as soon as it holds both values.
            return contrast_of(volume, 0.0, 100.0) == 0
        return contrast_of(volume, asked.low, asked.high) < threshold

"""Functions that count images exactly: histograms, cumulative distributions, percentiles, and how much contrast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, overload

import numpy as np

from napari_exposure.core.counting import count_histogram, find_percentiles
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.images import opened
from napari_exposure.core.intensity import (
    Percentiles,
    check_choice,
    check_count,
    check_number,
    check_percents,
    check_range,
    dtype_range,
    luminance,
)
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume

SOURCE_RANGE = ("image", "dtype")


def histogram(
    image: ArrayLike | Layer,
    nbins: int = 256,
    source_range: Literal["image", "dtype"] = "image",
    *,
    range: tuple[float, float] | None = None,
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    rgb: bool | None = None,
) -> Histogram:
    """Count every voxel of a volume, exactly.

    Parameters
    ----------
    image : array-like, 2 to 5 axes, or napari.layers.Image
        bool, integers of 8 to 64 bits (to 2**53), float16, float32 or float64.  Read block by block,
        never written.
    nbins : int
        Bins for floats and 32-bit integers; integers of up to 16 bits have one bin for every value.
        The bins of 32-bit integers are whole numbers wide.
    source_range : "image" or "dtype"
        Where bins begin and end, in scikit-image's words.  "image": at the exact finite minimum and maximum.
        "dtype": at the ends of the dtype, which for floats are -1 and 1.
    range : (float, float), optional
        Where bins begin and end, in numbers.  Default: `source_range` says it.
    mask : array-like or napari.layers.Labels, optional
        It has the image's shape, without the color axis; only voxels where it is not zero are counted.
    ignore_zeros : bool
        Leave out voxels that are exactly 0.
    rgb : bool, optional
        For arrays: the last axis holds RGB or RGBA.  The value channel is counted.

    Returns
    -------
    Histogram
        It has ``counts``, ``edges``, ``cdf``, ``percentile(q)``, and the name of a layer.  It is empty if no voxel is
        finite.

    Raises
    ------
    TypeError
        For a dtype that cannot be counted (complex, object).
    ValueError
        For an empty volume, a wrong number of axes, a mask of another shape, or a bad range.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import histogram
    >>> h = histogram(np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 10, 10), nbins=4)
    >>> h.counts
    array([250, 250, 250, 250])
    """
    found = opened(image, mask=mask, rgb=rgb)
    volume = found.volume(ignore_zeros)
    whole = check_choice(source_range, "source_range", SOURCE_RANGE) == "dtype"
    if range is not None:
        if whole:
            raise ValueError("Give range in numbers or source_range='dtype', but not both.")
        range = check_range(range, "range")
    elif whole:
        range = dtype_range(volume.dtype, negative=True)
    nbins = check_count(nbins, "nbins", low=1, high=1 << 24)
    with found.bar():
        counted = replace(count_histogram(volume, nbins, range), name=found.name)
    return _over(counted, *range) if whole and range is not None and counted.by_value else counted


def _over(found: Histogram, low: float, high: float) -> Histogram:
    """Return the same counts with a bin for every value from `low` to `high`, even if no voxel has it."""
    counts = np.zeros(round(high - low) + 1, np.int64)
    if len(found.counts):
        first = round(found.centers[0] - low)
        counts[first : first + len(found.counts)] = found.counts
    return replace(found, counts=counts, edges=np.arange(len(counts) + 1) + (low - 0.5))


def cumulative_distribution(
    image: ArrayLike | Layer,
    nbins: int = 256,
    *,
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    rgb: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cumulative distribution of a volume's intensities, as scikit-image's function of that name.

    Parameters
    ----------
    image, nbins, mask, ignore_zeros, rgb
        As in `histogram`.

    Returns
    -------
    cdf : numpy.ndarray of float64, shape (nbins,)
        Fraction of the voxels at or below each bin.
    bin_centers : numpy.ndarray of float64, shape (nbins,)
        In units of intensity.

    Raises
    ------
    TypeError, ValueError
        As `histogram` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import cumulative_distribution
    >>> cdf, centers = cumulative_distribution(np.array([[0, 1], [1, 2]], dtype=np.uint8))
    >>> cdf
    array([0.25, 0.75, 1.  ])
    """
    found = histogram(image, nbins, mask=mask, ignore_zeros=ignore_zeros, rgb=rgb)
    return found.cdf, found.centers


@overload
def percentile(
    image: ArrayLike | Layer,
    q: float,
    *,
    mask: ArrayLike | Layer | None = ...,
    ignore_zeros: bool = ...,
    rgb: bool | None = ...,
) -> float: ...


@overload
def percentile(
    image: ArrayLike | Layer,
    q: Sequence[float] | np.ndarray,
    *,
    mask: ArrayLike | Layer | None = ...,
    ignore_zeros: bool = ...,
    rgb: bool | None = ...,
) -> np.ndarray: ...


def percentile(
    image: ArrayLike | Layer,
    q: float | Sequence[float] | np.ndarray,
    *,
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    rgb: bool | None = None,
) -> float | np.ndarray:
    """Return exact percentiles of a volume without sorting or copying it.

    Equal to ``numpy.nanpercentile(volume, q, method="linear")``; between a number and an infinity it is
    the infinity, where NumPy gives NaN.

    Parameters
    ----------
    image, mask, ignore_zeros, rgb
        As in `histogram`.
    q : float or sequence of float
        In [0, 100].

    Returns
    -------
    float or numpy.ndarray of float64
        One value for each q.

    Raises
    ------
    TypeError, ValueError
        As `histogram` does; also for q out of bounds, or where no voxel is counted.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import percentile
    >>> percentile(np.arange(101, dtype=np.float32).reshape(1, 101), (0.5, 99.5))
    array([ 0.5, 99.5])
    """
    wanted = check_percents(q)
    found = opened(image, mask=mask, rgb=rgb)
    volume = found.volume(ignore_zeros)
    with found.bar():
        values = find_percentiles(volume, wanted)
    if values is None:
        raise ValueError("No voxel was counted, so there are no percentiles.")
    return values[0] if np.ndim(q) == 0 else np.array(values)


def _contrast(volume: Volume, lower: float = 1.0, upper: float = 99.0) -> float:
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
            return _contrast(volume, 0.0, 100.0) == 0
        return _contrast(volume, asked.low, asked.high) < threshold

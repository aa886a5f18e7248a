"""Percentile clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.adjustment import Adjustment, GivenRange, Output, Per, check_width, parameter
from napari_exposure.core.blocks import Volume
from napari_exposure.core.counting import find_percentiles
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import Percentiles, result_dtype, result_range
from napari_exposure.core.pointwise import KnotsFit
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer

__all__ = ["PercentileClip", "clip_percentiles"]


@dataclass(frozen=True)
class PercentileClip(Adjustment):
    """Clip the darkest and brightest voxels and stretch the rest; see `clip_percentiles`."""

    short_name: ClassVar[str] = "clip"
    verb: ClassVar[str] = "clip_percentiles"
    title: ClassVar[str] = "Percentile clipping"
    use: ClassVar[str] = "a few very bright or dark voxels take all of the range"

    low: float = parameter(
        0.5,
        "Low %",
        "Voxels up to this percentile become the lowest value.",
        low=0.0,
        high=100.0,
        step=0.01,
        slider=(0.01, 50.0),
    )
    high: float = parameter(
        99.5,
        "High %",
        "Voxels from this percentile on become the highest value.",
        low=0.0,
        high=100.0,
        step=0.01,
        slider=(50.0, 0.01),
        top=100.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # Percentiles raises where the two are not in order.
        Percentiles(self.low, self.high)

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        lo, hi = find_percentiles(volume, (self.low, self.high)) or (0.0, 0.0)
        if not (lo < hi and math.isfinite(hi - lo)):
            # Nearly all voxels are alike, or a percentile is infinite.
            least, most = self._find_range(volume, "data")
            inner = max(lo, least), min(hi, most)
            lo, hi = check_width(*(inner if inner[0] < inner[1] else (least, most)))
        if self.in_range != "data":
            # percentiles of clamped data are the clamped percentiles
            lo, hi = np.clip((lo, hi), *self._find_range(volume)).tolist()
        out_dtype = result_dtype(volume.dtype, self.output)
        bottom, top = result_range(volume.dtype, out_dtype, lo)
        knots = np.array([0.0, float(lo < hi)])
        return KnotsFit(lo, hi, bottom, top, volume.dtype, out_dtype, knots)


@verb
def clip_percentiles(
    image: Any,
    low: float = 0.5,
    high: float = 99.5,
    *,
    in_range: GivenRange = "data",
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    window: int = 1,
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Clip the darkest and the brightest voxels and stretch the rest over the full range.

    Parameters
    ----------
    image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
        Integers of 8 to 64 bits (to 2**53), float16, float32 or float64, in either byte order.
        Never written.
    low, high : float
        Percentiles, 0 <= low < high <= 100: voxels at or below the first become the lowest value,
        at or above the second the highest.  Exact, on every dtype.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        Intensities are clamped to this range first.
    output : "dtype" or "float32"
        "dtype" stretches over the full range of the input's dtype (floats: [0, 1]);
        "float32" gives [0, 1].
    mask : array-like or napari.layers.Labels, optional
        Of the image's shape; only voxels where it is not zero are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the percentiles.
    per : "dataset", "volume" or "plane"
        Which voxels share percentiles.
    window : int
        With "volume" and "plane": so many time points around each are fitted together, as if they were one volume, so
        that the result follows a slow change and does not pulse.  Time is the axis that is called so; of an array, or
        where no name says it, the first one.  Channels are not mixed.
    rgb : bool, optional
        Of arrays: the last axis holds RGB or RGBA.  The value channel is adjusted, hue, saturation and alpha stay.
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

    Returns
    -------
    numpy.ndarray, dask.array.Array or napari.layers.Image
        As the image is: a new array of its shape, lazy for dask, or a new layer with the same place and levels, not
        yet in a viewer, whose ``metadata["napari_exposure"]`` says how it was made.

    Raises
    ------
    TypeError
        For a dtype that has no exposure, or a parameter that is not a number.
    ValueError
        For an empty volume, percentiles out of order, or a mask of another shape.

    Notes
    -----
    The same as ``numpy.percentile`` and ``skimage.exposure.rescale_intensity(out_range="dtype")``,
    without a float copy of the volume and with rounding instead of truncation.  Where the two
    percentiles coincide, the exact minimum and maximum are used instead; a constant volume becomes
    the lowest value, with a warning.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import clip_percentiles
    >>> clip_percentiles(np.arange(5, dtype=np.uint8).reshape(1, 5), 25, 75)
    array([[  0,   0, 128, 255, 255]], dtype=uint8)
    """
    return adjust_image(
        image,
        PercentileClip,
        low=low,
        high=high,
        in_range=in_range,
        output=output,
        mask=mask,
        ignore_zeros=ignore_zeros,
        per=per,
        window=window,
        rgb=rgb,
        level=level,
    )

"""Rescaling, which stretches one range of intensities over another."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.counting import find_extent
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import check_pair, dtype_range, named_range, range_name, result_dtype
from napari_exposure.core.parameters import IN_RANGE_WORDS, GivenRange, InRange, Output, Per, parameter
from napari_exposure.core.pointwise import ResultsFit
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume
from napari_exposure.core.words import given

OutRange = str | tuple[float, float]

RESCALED = {"dtype": "by output range", "float32": "float32: not rounded"}


@dataclass(frozen=True)
class Rescale(Adjustment):
    """Stretch a range of intensities over another one; see `rescale_intensity`."""

    short_name, verb, title = "rescaled", "rescale_intensity", "Rescale intensity"
    use: ClassVar[str] = "a range of intensities shall become another one"

    # It is declared again because it is the first parameter here.
    in_range: InRange = parameter("data", *IN_RANGE_WORDS)
    out_range: OutRange = parameter(
        "dtype",
        "Output range",
        "What the input range becomes: the range of the dtype, that of the image, that of another dtype, to which the "
        "result is converted, or two numbers, which make the result floating point.",
    )
    _: KW_ONLY
    output: Literal["dtype", "float32"] = parameter(
        "dtype",
        "Output",
        "The data type that the output range asks for, or float32 of the same range, not rounded.",
        choices=RESCALED,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("out_range", check_out_range(self.out_range))

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the dtype of results for volumes of `dtype`."""
        if isinstance(self.out_range, tuple):
            # Two numbers do not name a dtype, so the result is floating point and nothing is rounded.
            dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
        elif self.out_range not in OUT_RANGE:
            dtype = named_range(self.out_range)[0]
            if self.output == "dtype":
                return dtype
        return result_dtype(dtype, self.output)

    def _find_range(self, volume: Volume, in_range: InRange | None = None) -> tuple[float, float]:
        # As in scikit-image, the range of a dtype includes its negative part even if the data have none.
        if (self.in_range if in_range is None else in_range) == "dtype":
            return dtype_range(volume.dtype, negative=True)
        return super()._find_range(volume, in_range)

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        lo, hi = self._find_range(volume)
        first, last = self._find_out_range(volume, lo)
        bottom, top = min(first, last), max(first, last)
        dtypes = volume.dtype, self.result_dtype(volume.dtype)
        if lo == hi:
            # A single intensity has no range, so it is only clamped to the output range.
            return ResultsFit(bottom, top, bottom, top, *dtypes, np.array([bottom, top]))
        return ResultsFit(lo, hi, bottom, top, *dtypes, np.array([first, last]))

    def _find_out_range(self, volume: Volume, lo: float) -> tuple[float, float]:
        if isinstance(self.out_range, tuple):
            return self.out_range
        if self.out_range == "image":
            # One volume of many in which nothing is counted has 0 here, as in its input range.
            least, most = np.nan_to_num(find_extent(volume)).tolist()
            return least, most
        least, most = named_range(volume.dtype.name if self.out_range == "dtype" else self.out_range)[1]
        return (0.0 if lo >= 0 else least), most


OUT_RANGE = ("dtype", "image")


def check_out_range(value: Any) -> OutRange:
    """Return an output range in its one form, or raise what it may be."""
    if isinstance(value, str) and value == "data":
        return "image"
    if isinstance(value, str) and value in OUT_RANGE:
        return value
    if name := range_name(value):
        if name != "float16":
            return name
    elif not isinstance(value, str) and np.iterable(value):
        return check_pair(value, "out_range")
    raise ValueError(
        "out_range must be 'dtype', 'image', the name of a dtype such as 'uint8', 'uint12' or 'float32', or two "
        f"numbers, got {given(value)}."
    )


@verb
def rescale_intensity(
    image: Any,
    in_range: GivenRange = "data",
    out_range: OutRange = "dtype",
    *,
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    window: int = 1,
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Stretch or shrink a range of intensities to another one, in scikit-image's words.

    Parameters
    ----------
    in_range : "image", "dtype", name of a dtype, (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities that are stretched; values outside are clamped.  "image" (or "data") is the exact finite
        minimum and maximum.  "dtype" is the range of the image's dtype with its negative part, for floats -1 to 1.
        A name such as "uint8", "uint10", "uint12", "uint14", "int16" or "float", or a type, is the range of that dtype.
    out_range : "dtype", "image", name of a dtype, or (low, high)
        What they become.  "dtype" is the range of the image's dtype, which begins at 0 where `in_range` has nothing
        negative.  "image" is the image's own minimum and maximum.  A name is the range of that dtype, and the result
        has it (uint16 for "uint10" to "uint14").  Two numbers give floats, float64 for integers; if the first one is
        the greater one, the result is inverted.
    output : "dtype" or "float32"
        "dtype": the dtype that `out_range` asks for, integers rounded to nearest.  "float32": not rounded.

    See Also
    --------
    clip_percentiles : the range is found in percentiles.

    Notes
    -----
    Results are those of ``skimage.exposure.rescale_intensity``, but integers are rounded where that truncates, NaN is
    left out of the range where that makes all voxels NaN, and there is no float copy of the volume.  If there is only
    one intensity, it is clamped to `out_range`.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import rescale_intensity
    >>> image = np.array([[51, 102, 153]], dtype=np.uint8)
    >>> rescale_intensity(image)
    array([[  0, 128, 255]], dtype=uint8)
    >>> rescale_intensity(image, out_range="uint12")
    array([[   0, 2048, 4095]], dtype=uint16)
    >>> rescale_intensity(image, in_range=(0, 255), out_range=(0, 1))
    array([[0.2, 0.4, 0.6]])
    """
    return adjust_image(Rescale, **locals())

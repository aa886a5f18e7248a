"""Percentile clipping."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.counting import find_percentiles
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import Percentiles, result_dtype, result_range
from napari_exposure.core.parameters import GivenRange, Output, Per, check_width, parameter
from napari_exposure.core.pointwise import KnotsFit
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume


@dataclass(frozen=True)
class PercentileClip(Adjustment):
    """Clip the darkest and brightest voxels and stretch the rest; see `clip_percentiles`."""

    short_name, verb, title = "clip", "clip_percentiles", "Percentile clipping"
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
            # If nearly all voxels are alike or a percentile is infinite, the finite extremes take its place.
            least, most = self._find_range(volume, "data")
            inner = max(lo, least), min(hi, most)
            lo, hi = check_width(*(inner if inner[0] < inner[1] else (least, most)))
        if self.in_range != "data":
            # Data that are clamped first have these percentiles, clamped.
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
    low, high : float
        Percentiles, 0 <= low < high <= 100: voxels at or below the first become the lowest value,
        at or above the second the highest.  Exact, on every dtype.

    Raises
    ------
    ValueError
        Also for percentiles out of order.

    Notes
    -----
    The result is that of ``numpy.percentile`` and ``skimage.exposure.rescale_intensity(out_range="dtype")``,
    without a float copy of the volume and with rounding instead of truncation.  If the two
    percentiles coincide, the exact minimum and maximum are used instead; a constant volume becomes
    the lowest value, with a warning.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import clip_percentiles
    >>> clip_percentiles(np.arange(5, dtype=np.uint8).reshape(1, 5), 25, 75)
    array([[  0,   0, 128, 255, 255]], dtype=uint8)
    """
    return adjust_image(PercentileClip, **locals())

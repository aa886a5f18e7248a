"""A factor and an offset, such as bring the tiles of a mosaic to one scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import dtype_range, is_lookup
from napari_exposure.core.keeping import ScaleKeeping
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.pointwise import PointwiseFit
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume


@dataclass(frozen=True, eq=False)
class LinearFit(PointwiseFit):
    """A line that does not end where the range of intensities does; factor and offset are in units of the result.

    Intensities are clamped to `clamp` before they go along the line.
    """

    factor: float
    offset: float
    clamp: tuple[float, float]

    # The only intensity of a constant volume goes along the line like any other.
    constant = False

    @property
    def scale(self) -> tuple[float, float]:
        return self.offset, self.factor

    @property
    def stretched(self) -> tuple[float, float]:
        # The table of integers goes on behind the range that was found, and the results do not.
        start, factor = self.scale
        return (self.bottom - start) / factor, (self.top - start) / factor

    def curve(self, values: np.ndarray) -> np.ndarray:
        inside: np.ndarray = np.clip(values, *self.clamp)
        return inside

    # The kernel that fills gaps is given NaN as the gap, which equals no value, and as its fill: NaN stays NaN.
    _kernel_name = "map_replace"

    def _kernel_parameters(self) -> tuple[Any, ...]:
        return math.nan, math.nan, *self.clamp


@dataclass(frozen=True)
class Linear(ScaleKeeping):
    """Multiply intensities by a factor and add an offset; see `adjust_linear`."""

    short_name, verb, title = "linear", "adjust_linear", "Factor and offset"
    group: ClassVar[str] = "Correct"
    use: ClassVar[str] = "two images differ by a known factor, as tiles of a mosaic do"

    factor: float = parameter(
        1.0,
        "Factor",
        "What intensities are multiplied by. 1 changes nothing.",
        above=0.0,
        min=1e-6,
        max=1e6,
        step=0.1,
    )
    offset: float = parameter(
        0.0,
        "Offset",
        "What is added then, in the intensities of the result.",
        min=-1e9,
        max=1e9,
        step=1.0,
    )

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        (lo, hi), clamp = self._find_clamp(volume)
        dtype, out_dtype, unit, _ = self._dtypes(volume).values()
        if volume.rgb and out_dtype.kind == "f":
            # Colors as floats end at 0 and 1.
            top = dtype_range(dtype, negative=False)[1]
            ends = -self.offset / self.factor, (top - self.offset) / self.factor
            clamp = max(clamp[0], ends[0]), min(clamp[1], ends[1])
        factor, offset = unit * self.factor, unit * self.offset
        bottom, top = (offset + factor * min(max(end, clamp[0]), clamp[1]) for end in (lo, hi))
        # A table has every integer of the dtype, because values outside the range that was found go along the line too.
        lo, hi = dtype_range(dtype, negative=dtype.kind == "i") if is_lookup(dtype) else (lo, hi)
        return LinearFit(lo, hi, bottom, top, dtype, out_dtype, factor, offset, clamp)


@verb
def adjust_linear(
    image: Any,
    factor: float = 1.0,
    offset: float = 0.0,
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
    """Multiply intensities by a factor and add an offset, so that two images have one scale.

    Parameters
    ----------
    factor : float
        Greater than 0.
    offset : float
        In the intensities of the result.
    output : "dtype" or "float32"
        "dtype": the dtype stays, integers are rounded to nearest and clamped to it.
        "float32": neither rounded nor clamped, of the same scale (of RGB data from 0 to 1).

    See Also
    --------
    match_overlaps : finds the factors and offsets of tiles that overlap.
    rescale_intensity : the two ends of a range are given.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import adjust_linear
    >>> adjust_linear(np.array([[0, 100, 250]], dtype=np.uint8), 1.1, 3)
    array([[  3, 113, 255]], dtype=uint8)
    """
    return adjust_image(Linear, **locals())

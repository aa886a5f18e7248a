"""Logarithmic correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.functions import exp, log
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.pointwise import fit_curve
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume

LN2 = 0.6931471805599453


@dataclass(frozen=True)
class Log(Adjustment):
    """Logarithmic correction that keeps the intensity range; see `adjust_log`."""

    short_name, verb, title = "log", "adjust_log", "Logarithm"
    use: ClassVar[str] = "a few bright structures and much that is dim"

    gain: float = parameter(
        1.0,
        "Gain",
        "Factor after the logarithm; what exceeds the range is clamped.",
        above=0,
        min=0.01,
        max=100.0,
        step=0.1,
        slider=(0.1, 10.0),
    )
    inv: bool = parameter(False, "Inverse", "The exponential instead, which darkens what the logarithm brightens.")

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        lo, hi = self._find_range(volume)
        return fit_curve(self._curve, lo, hi, volume.dtype, self.output, "exp" if self.inv else "log")

    def _curve(self, position: np.ndarray) -> np.ndarray:
        found = exp(LN2 * position) - 1 if self.inv else log(1 + position) / LN2
        return np.minimum(self.gain * found, 1)


@verb
def adjust_log(
    image: Any,
    gain: float = 1.0,
    inv: bool = False,
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
    """Brighten the dim intensities of a volume by a logarithm, or darken them by its inverse, in the same range.

    Each intensity is scaled to [0, 1] by `in_range`, becomes gain * log2(1 + it), or with `inv`
    gain * (2 ** it - 1), and is scaled back.

    Parameters
    ----------
    gain : float
        Greater than 0; results beyond the range are clamped.
    inv : bool
        The inverse of the logarithm.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities that stay fixed; values outside are clamped.  With "dtype" the result equals
        ``skimage.exposure.adjust_log``, but for the clamp.
    output : "dtype" or "float32"
        "dtype" keeps dtype and range; "float32" gives [0, 1].

    See Also
    --------
    adjust_gamma : a power instead, as strong as one wants.

    Notes
    -----
    The curve is the one of [1]_, section 3.2: at most 0.086 of the range above the straight line.

    References
    ----------
    .. [1] R. C. Gonzalez and R. E. Woods, Digital Image Processing, 4th edition, Pearson, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import adjust_log
    >>> adjust_log(np.array([[0, 1000, 4095]], dtype=np.uint16))
    array([[   0, 1291, 4095]], dtype=uint16)
    """
    return adjust_image(Log, **locals())

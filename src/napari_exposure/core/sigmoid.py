"""Sigmoid correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.functions import exp
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.pointwise import fit_curve
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume


@dataclass(frozen=True)
class Sigmoid(Adjustment):
    """More contrast about one intensity and less at the ends; see `adjust_sigmoid`."""

    short_name, verb, title = "sigmoid", "adjust_sigmoid", "Sigmoid"
    use: ClassVar[str] = "more contrast about one intensity, less elsewhere"

    cutoff: float = parameter(
        0.5,
        "Cutoff",
        "Where the curve is steepest, as a fraction of the input range.",
        low=-10.0,
        high=10.0,
        min=0.0,
        max=1.0,
        step=0.01,
    )
    gain: float = parameter(
        10.0,
        "Gain",
        "How steep the curve is at the cutoff: about 10 is strong contrast, 100 nearly a threshold.",
        low=0.0,
        high=1000.0,
        step=0.5,
        slider=(1.0, 100.0),
    )
    inv: bool = parameter(False, "Inverse", "Bright becomes dark and dark bright.")

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        lo, hi = self._find_range(volume)
        return fit_curve(self._curve, lo, hi, volume.dtype, self.output, "exp")

    def _curve(self, position: np.ndarray) -> np.ndarray:
        found = 1 / (1 + exp(self.gain * (self.cutoff - position)))
        return 1 - found if self.inv else found


@verb
def adjust_sigmoid(
    image: Any,
    cutoff: float = 0.5,
    gain: float = 10.0,
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
    """Give a volume more contrast about one intensity and less at both ends, in the same range.

    Each intensity is scaled to [0, 1] by `in_range`, becomes 1 / (1 + exp(gain * (cutoff - it))), and is scaled
    back.

    Parameters
    ----------
    cutoff : float
        Where the curve is steepest, as a fraction of the range; in [-10, 10].
    gain : float
        In [0, 1000]; the slope at the cutoff is a quarter of it.
    inv : bool
        Subtract the curve from 1, so that bright becomes dark.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities that count as 0 and 1; values outside are clamped.  With "dtype" the result equals
        ``skimage.exposure.adjust_sigmoid``.
    output : "dtype" or "float32"
        "dtype" keeps dtype and range; "float32" gives [0, 1].

    See Also
    --------
    adjust_curve : any curve, through points.

    Notes
    -----
    The curve is the one of [1]_.  It reaches neither end of the range: at the defaults the least intensity
    becomes 0.0067 of it, and the greatest 0.9933.

    References
    ----------
    .. [1] G. J. Braun and M. D. Fairchild, Image lightness rescaling using sigmoidal contrast enhancement
       functions, Journal of Electronic Imaging 8, 1999.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import adjust_sigmoid
    >>> adjust_sigmoid(np.array([[0, 64, 128, 255]], dtype=np.uint8))
    array([[  2,  20, 129, 253]], dtype=uint8)
    """
    return adjust_image(Sigmoid, **locals())

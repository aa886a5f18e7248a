"""Gamma correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import result_dtype
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.pointwise import PowerFit
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume


@dataclass(frozen=True)
class Gamma(Adjustment):
    """Correct the gamma and keep the intensity range; see `adjust_gamma`."""

    short_name, verb, title = "gamma", "adjust_gamma", "Gamma"
    use: ClassVar[str] = "dim structures shall be brighter, bright ones stay"

    gamma: float = parameter(
        1.0,
        "Gamma",
        "Exponent: below 1 brightens dim structures, above 1 darkens them.",
        above=0,
        min=0.05,
        max=10.0,
        step=0.05,
        slider=(0.1, 10.0),
    )
    gain: float = parameter(
        1.0,
        "Gain",
        "Factor after the power; what exceeds the range is clamped.",
        above=0,
        min=0.01,
        max=100.0,
        step=0.1,
        slider=(0.1, 10.0),
    )

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        lo, hi = self._find_range(volume)
        # The kernel is loaded here, because nobody wants to wait for it when the curve is drawn.
        load_kernel("power")
        out_dtype = result_dtype(volume.dtype, self.output)
        bottom, top = (lo, hi) if self.output == "dtype" else (0.0, 1.0)
        return PowerFit(lo, hi, bottom, top, volume.dtype, out_dtype, self.gamma, self.gain)


@verb
def adjust_gamma(
    image: Any,
    gamma: float = 1.0,
    gain: float = 1.0,
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
    """Correct the gamma of a volume and keep its intensity range.

    Each intensity is scaled to [0, 1] by `in_range`, raised to the power of `gamma`, multiplied by
    `gain`, and scaled back: the least stays the least and the greatest the greatest, so 12-bit data
    in a 16-bit file stay 12-bit.

    Parameters
    ----------
    gamma : float
        Greater than 0; below 1 brightens, above 1 darkens.
    gain : float
        Greater than 0; results beyond the range are clamped.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities that stay fixed; values outside are clamped.  With "dtype" the curve is that of
        ``skimage.exposure.adjust_gamma``, rounded where that cuts fractions of 16 bits off.
    output : "dtype" or "float32"
        "dtype" keeps dtype and range; "float32" gives [0, 1].

    Notes
    -----
    A power law as in [1]_, section 3.2.  NaN stays NaN, infinities are clamped.  Intensities are no
    longer proportional to the amount of light.

    References
    ----------
    .. [1] R. C. Gonzalez and R. E. Woods, Digital Image Processing, 4th edition, Pearson, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import adjust_gamma
    >>> adjust_gamma(np.array([[100, 400, 4095]], dtype=np.uint16), gamma=0.5)
    array([[ 100, 1195, 4095]], dtype=uint16)
    """
    return adjust_image(Gamma, **locals())

"""Simulated decay of intensity along an axis, to try corrections on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.functions import exp
from napari_exposure.core.gains import AXIS_WORDS, Axis, GainsFit, axis_from_end
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.keeping import ScaleKeeping
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer, Spacing
from napari_exposure.core.volume import Volume


@dataclass(frozen=True)
class Decay(ScaleKeeping):
    """Let the intensity decay along an axis, as it does deep in tissue; see `degrade`."""

    short_name, verb, title = "degraded", "degrade", "Simulated decay"
    group: ClassVar[str] = "Teaching"
    use: ClassVar[str] = "to try a correction: darkens a stack along an axis"
    place_note: ClassVar[str] = "its planes are those that were fitted"

    rate: float = parameter(
        3.0,
        "Rate",
        "The last plane becomes exp(-rate) times as bright.",
        low=-20.0,
        high=20.0,
        step=0.1,
    )
    axis: Axis = parameter("z", "Axis", "The axis along which the intensity decays.", choices=AXIS_WORDS)

    def check(self, volume: Volume, spacing: Spacing = None) -> tuple[float, ...]:
        """Check as every adjustment does, and raise an error if the volume has no such axis."""
        sizes = super().check(volume, spacing)
        axis_from_end(self.axis, len(sizes), len(volume.shape), volume.labels)
        return sizes

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        (lo, hi), clamp = self._find_clamp(volume)
        parts = self._dtypes(volume)
        axis = axis_from_end(self.axis, len(spacing), labels=volume.labels)
        gains = exp(-self.rate * np.linspace(0, 1, volume.shape[axis]))
        ends = parts["unit"] * np.outer((lo, hi), (gains.min(), gains.max()))
        bottom, top = float(ends.min()), float(ends.max())
        return GainsFit(lo, hi, bottom, top, axis=axis, gains=gains, background=0.0, clamp=clamp, **parts)


@verb
def degrade(
    image: Any,
    rate: float = 3.0,
    axis: Axis = "z",
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
    """Let the intensity of a volume decay exponentially along an axis: a known decay to try corrections on.

    Every voxel is multiplied by exp(-rate * x), where x goes from 0 at the first to 1 at the last plane
    across the axis.

    Parameters
    ----------
    rate : float
        In [-20, 20]; below 0 the intensity grows.
    axis : "z", "y" or "x"
        One of the last three axes.
    output : "dtype" or "float32"
        "dtype": the dtype stays, integers are rounded to nearest and clamped to it.
        "float32": neither rounded nor clamped, on the same scale (RGB data from 0 to 1).

    Raises
    ------
    ValueError
        Also for a volume without this axis.

    Notes
    -----
    NaN stays NaN.  `correct_decay` finds the decay and undoes it, except for what rounding has lost.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import degrade
    >>> degrade(np.full((1, 5), 1000, dtype=np.uint16), rate=3.0, axis="x")
    array([[1000,  472,  223,  105,   50]], dtype=uint16)
    """
    return adjust_image(Decay, **locals())

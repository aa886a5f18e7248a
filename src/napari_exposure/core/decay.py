"""Intensity decay along an axis, for experiments."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.adjustment import Adjustment, GivenRange, InRange, Output, Per, parameter
from napari_exposure.core.blocks import Volume
from napari_exposure.core.functions import exp
from napari_exposure.core.gains import (
    AXES,
    IN_RANGE_WORDS,
    OUTPUT,
    OUTPUT_WORDS,
    Axis,
    GainsFit,
    axis_from_end,
    dtypes_of,
    find_clamp,
)
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer, Spacing

__all__ = ["Decay", "degrade"]


@dataclass(frozen=True)
class Decay(Adjustment):
    """Let the intensity decay along an axis, as deep in tissue; see `degrade`."""

    short_name: ClassVar[str] = "degraded"
    verb: ClassVar[str] = "degrade"
    title: ClassVar[str] = "Simulated decay"
    group: ClassVar[str] = "Teaching"
    use: ClassVar[str] = "to try a correction: darkens a stack along an axis"
    place_note: ClassVar[str] = "its planes are those that were fitted"
    keeps_scale: ClassVar[bool] = True

    rate: float = parameter(
        3.0,
        "Rate",
        "The last plane becomes exp(-rate) times as bright.",
        low=-20.0,
        high=20.0,
        step=0.1,
    )
    axis: Axis = parameter("z", "Axis", "The axis along which the intensity decays.", choices=AXES)
    _: KW_ONLY
    in_range: InRange = parameter("data", *IN_RANGE_WORDS)
    output: Output = parameter("dtype", *OUTPUT_WORDS, choices=OUTPUT)

    def check(self, volume: Volume, spacing: Spacing = None) -> tuple[float, ...]:
        """As every adjustment; also raise where the volume has no such axis."""
        sizes = super().check(volume, spacing)
        axis_from_end(self.axis, len(sizes), len(volume.shape))
        return sizes

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        (lo, hi), clamp = find_clamp(self, volume)
        parts = dtypes_of(self, volume)
        axis = axis_from_end(self.axis, len(spacing))
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
    image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
        Integers of 8 to 64 bits (to 2**53), float16, float32 or float64, in either byte order.
        Never written.
    rate : float
        In [-20, 20]; below 0 the intensity grows.
    axis : "z", "y" or "x"
        One of the last three axes.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        Intensities are clamped to this range first; with "data" none is.
    output : "dtype" or "float32"
        "dtype": the dtype stays, integers are rounded to nearest and clamped to it.
        "float32": neither rounded nor clamped, of the same scale (of RGB data from 0 to 1).
    mask : array-like or napari.layers.Labels, optional
        Of the image's shape; only voxels where it is not zero decide an `in_range` that is found in the
        data.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out when the range is found.
    per : "dataset", "volume" or "plane"
        Which voxels share a range.
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
        For an empty volume, a volume without this axis, a parameter out of bounds, or a mask of another
        shape.

    Notes
    -----
    NaN stays NaN.  `correct_decay` finds the decay and takes it back, but for what rounding has lost.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import degrade
    >>> degrade(np.full((1, 5), 1000, dtype=np.uint16), rate=3.0, axis="x")
    array([[1000,  472,  223,  105,   50]], dtype=uint16)
    """
    return adjust_image(
        image,
        Decay,
        rate=rate,
        axis=axis,
        in_range=in_range,
        output=output,
        mask=mask,
        ignore_zeros=ignore_zeros,
        per=per,
        window=window,
        rgb=rgb,
        level=level,
    )

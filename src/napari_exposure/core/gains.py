"""Gains along an axis: the one way in which planes are dimmed or brightened."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.blocks import Block, Volume
from napari_exposure.core.functions import interpolate
from napari_exposure.core.intensity import dtype_range, result_dtype, working_dtype
from napari_exposure.core.jit import kernel
from napari_exposure.core.transform import Fit

# what may be chosen, and how a widget words it; the last spatial axes in the order of arrays
Axis = Literal["z", "y", "x"]
AXES = {"z": "z (depth)", "y": "y (rows)", "x": "x (columns)"}
OUTPUT = {"dtype": "same bit depth", "float32": "float32, not rounded"}
# label and tooltip of what means another thing here than where intensities are stretched
IN_RANGE_WORDS = (
    "Input range",
    "Intensities outside are clamped to this range first; with the minimum and maximum nothing is. The result keeps "
    "the scale of the data.",
)
OUTPUT_WORDS = (
    "Output",
    "Same bit depth: keep the data type and clamp what exceeds it. Or make float32 that is neither rounded nor "
    "clamped. The scale of the intensities stays.",
)


def axis_from_end(axis: str, spatial: int, axes: int = 3) -> int:
    """Index of an axis counted from the end, -1 for x, or an error where the volume has no such axis.

    Parameters
    ----------
    axis : "z", "y" or "x"
    spatial : int
        How many of the last axes are space.
    axes : int
        How many the volume has in all.
    """
    index = list(AXES).index(axis) - len(AXES)
    if -index > axes:
        raise ValueError(f"There is no axis {axis!r}: the image has only the axes y and x. Choose one of these.")
    if -index > spatial:
        raise ValueError(
            f"There is no axis {axis!r}: what shares a fit has only the axes y and x, as planes have, and movies of "
            "planes, whose other axis is time. Choose one of these, or, for a volume of planes, per='volume' or "
            "per='dataset'."
        )
    return index


def split_at(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """The three numbers of voxels before, along and behind an axis that is counted from the end."""
    axis += len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


@dataclass(frozen=True, eq=False)
class GainsFit(Fit):
    """A factor for each plane across one axis.

    `lo` and `hi` are the intensities that were found, `bottom` and `top` what the result is to be shown over.

    Attributes
    ----------
    dtype, out_dtype : numpy.dtype
        Of the volume and of the result.
    axis : int
        Counted from the end: -1 is x.
    gains : numpy.ndarray of float64
        One for each plane.
    background : float
        The intensity that stays what it is.
    clamp : (float, float)
        Intensities outside become these before they are multiplied.
    unit, most : float
        The result is multiplied by the one and is at most the other: of colours as floats, which end at 1.
    """

    dtype: np.dtype
    out_dtype: np.dtype
    axis: int
    gains: np.ndarray
    background: float
    clamp: tuple[float, float]
    unit: float
    most: float

    @property
    def constant(self) -> bool:
        """Never: an intensity that stays alone is multiplied like others."""
        return False

    @property
    def used(self) -> np.ndarray:
        """The gains of the voxels that are mapped."""
        return self.gains

    @property
    def reach(self) -> tuple[float, float]:
        """Of the intensities that were found, each with the least and the greatest gain."""
        gains = float(self.used.min()), float(self.used.max())
        ends = [self.background + gain * (end - self.background) for gain in gains for end in (self.lo, self.hi)]
        return self.unit * min(ends), min(self.unit * max(ends), self.most)

    @property
    def kernel_key(self) -> tuple[Any, ...]:
        return "map_gains", working_dtype(self.dtype), working_dtype(self.out_dtype)

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...]) -> Self:
        return replace(self.at_level(shape), gains=self._along(self.gains, shape)[:: steps[self.axis]])

    def at_level(self, shape: tuple[int, ...]) -> Self:
        return replace(self, gains=self._along(self.gains, shape))

    def _along(self, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Values of the planes of another shape over the same extent, at the centres of its planes."""
        planes, found = shape[self.axis], len(values)
        if planes == found:
            return values
        places = (np.arange(planes) + 0.5) / planes * found - 0.5
        return interpolate(places, np.arange(found), values)

    def gains_in(self, block: Block) -> np.ndarray:
        """The factors of the voxels of a block, in an array that broadcasts with it."""
        return self.gains[block[self.axis]].reshape(-1, *[1] * (-1 - self.axis))

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        before, planes, behind = split_at(values.shape, self.axis)
        start = offset[self.axis]
        gains = self.gains[start : start + planes, None]
        if behind == 1:
            # a row of the kernel has all of them
            planes, behind, gains = 1, planes, gains.T
        self._multiply(values, (before, planes, behind), gains, out)

    def _multiply(self, values: np.ndarray, shape: tuple[int, int, int], gains: np.ndarray, out: np.ndarray) -> None:
        """Apply gains of shape (rows, 1) or (rows, behind) to values that are seen in `shape`: before, rows, behind."""
        kernel(*self.kernel_key)(
            values.reshape(shape),
            np.ascontiguousarray(gains),
            *self.clamp,
            self.background,
            self.unit,
            self.most,
            out.reshape(shape),
        )


def dtypes_of(adjustment: Adjustment, volume: Volume) -> dict[str, Any]:
    """What a `GainsFit` of a volume has besides its axis, its gains and what was found."""
    out_dtype = result_dtype(volume.dtype, adjustment.output)
    colours = volume.rgb and out_dtype.kind == "f"
    return {
        "dtype": volume.dtype,
        "out_dtype": out_dtype,
        "unit": 1 / dtype_range(volume.dtype, negative=False)[1] if colours else 1.0,
        "most": 1.0 if colours else math.inf,
    }


def find_clamp(adjustment: Adjustment, volume: Volume) -> tuple[tuple[float, float], tuple[float, float]]:
    """The range that was found, and the one to clamp to: none where the data decide, as others may be brighter."""
    found = adjustment._find_range(volume)
    return found, (-math.inf, math.inf) if adjustment.in_range == "data" else found

"""Gains along an axis: each plane across it is multiplied by a factor of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from napari_exposure.core.axes import axis_letter, in_words
from napari_exposure.core.blocks import Block
from napari_exposure.core.functions import interpolate
from napari_exposure.core.intensity import working_dtype
from napari_exposure.core.jit import kernel
from napari_exposure.core.transform import Fit

# These are the choices of a parameter, and how a widget words each of them. Axes are in the order of arrays.
Axis = Literal["z", "y", "x"]
AXIS_WORDS = {"z": "z (depth)", "y": "y (rows)", "x": "x (columns)"}


def axis_from_end(axis: str, spatial: int, axes: int = 3, labels: Sequence[object] = ()) -> int:
    """Return the index of z, y or x, counted from the end, or raise an error if there is no such axis.

    So many of the last axes are `spatial`, and the volume has so many `axes` in all.  Where no axis is called so, -1
    is x, -2 is y and -3 is z.
    """
    letters = [axis_letter(label) for label in labels]
    place = list(AXIS_WORDS).index(axis) - len(AXIS_WORDS)
    index = letters.index(axis.upper()) - len(letters) if axis.upper() in letters else place
    if -index > axes:
        raise ValueError(f"There is no axis {axis!r}: the image has only the axes y and x. Choose one of these.")
    if letters and letters[index] not in ("", axis.upper()):
        raise ValueError(f"There is no axis {axis!r}: the image has {in_words(labels, axes)}. Choose one of these.")
    if -index > spatial:
        raise ValueError(
            f"There is no axis {axis!r}: each fit has only the axes y and x, because planes are fitted alone or the "
            "axis before them is time. Choose one of these, or for a volume of planes per='volume' or per='dataset'."
        )
    return index


def split_at(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Return the numbers of voxels before, along and behind an axis that is counted from the end."""
    axis += len(shape)
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


@dataclass(frozen=True, eq=False)
class GainsFit(Fit):
    """A factor for each plane across one axis, which is counted from the end: -1 is x.

    The intensities that were found go from `lo` to `hi`; the result is shown from `bottom` to `top`.  Intensities are
    clamped to `clamp` before they are multiplied, and `background` stays what it is.  The result is multiplied by
    `unit` and is at most `most`; both are for colors as floats, which end at 1.
    """

    axis: int
    gains: np.ndarray
    background: float
    clamp: tuple[float, float]
    unit: float
    most: float

    @property
    def constant(self) -> bool:
        """False, because a volume of one intensity is multiplied like any other."""
        return False

    @property
    def used(self) -> np.ndarray:
        """The gains by which voxels are multiplied."""
        return self.gains

    @property
    def reach(self) -> tuple[float, float]:
        """What the intensities that were found become at the least and at the greatest gain."""
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
        """Return values of the planes of another shape over the same extent, at the centers of its planes."""
        planes, found = shape[self.axis], len(values)
        if planes == found:
            return values
        places = (np.arange(planes) + 0.5) / planes * found - 0.5
        return interpolate(places, np.arange(found), values)

    def gains_in(self, block: Block) -> np.ndarray:
        """Return the gains of the voxels of a block, in an array that broadcasts with it."""
        return self.gains[block[self.axis]].reshape(-1, *[1] * (-1 - self.axis))

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        before, planes, behind = split_at(values.shape, self.axis)
        start = offset[self.axis]
        gains = self.gains[start : start + planes, None]
        if behind == 1:
            # Along the last axis every row of voxels has all gains, and the kernel takes them as one row.
            planes, behind, gains = 1, planes, gains.T
        self._multiply(values, (before, planes, behind), gains, out)

    def _multiply(self, values: np.ndarray, shape: tuple[int, int, int], gains: np.ndarray, out: np.ndarray) -> None:
        """Multiply values, seen in `shape` (before, rows, behind), by gains of shape (rows, 1) or (rows, behind)."""
        kernel(*self.kernel_key)(
            values.reshape(shape),
            np.ascontiguousarray(gains),
            *self.clamp,
            self.background,
            self.unit,
            self.most,
            out.reshape(shape),
        )

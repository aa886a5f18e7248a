"""Finds the planes of a layer that cross at a point, and reads them, without Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_exposure.core.blocks import read_part
from napari_exposure.io.units import PIXEL, voxel_size

# A cut through a multiscale layer is read at the first level that gives at most this many voxels.
MOST = 1 << 22


@dataclass(frozen=True)
class Axes:
    """The three axes of a layer that the planes lie along, in the order in which the viewer shows them.

    Attributes
    ----------
    plane, row, column : int
        The axis across the plane in the main view, and those that run down and right in it.
    """

    plane: int
    row: int
    column: int

    @classmethod
    def of(cls, layer, dims) -> Axes | None:
        """Return the axes, or None for a layer that has fewer than three or is seen from its edge."""
        more = dims.ndim - layer.ndim
        last = [axis - more for axis in dims.order[-3:]]
        return cls(*last) if len(last) == 3 and min(last) >= 0 else None


@dataclass(frozen=True)
class Cut:
    """A plane through a layer along two of its axes.

    Attributes
    ----------
    down, right : int
        The axes that it lies along.
    level : int
        The level of a multiscale layer, otherwise 0.
    index : tuple of int and slice
        The part of that level to read.
    """

    down: int
    right: int
    level: int
    index: tuple

    @classmethod
    def through(cls, layer, voxel: tuple[int, ...], down: int, right: int) -> Cut:
        """Make the plane through a voxel of level 0."""
        levels = layer.data if layer.multiscale else [layer.data]
        shapes = [tuple(array.shape[: layer.ndim]) for array in levels]
        sizes = [shape[down] * shape[right] for shape in shapes]
        level = next((level for level, size in enumerate(sizes) if size <= MOST), len(sizes) - 1)
        index = tuple(
            slice(0, n) if axis in (down, right) else min(n - 1, int((voxel[axis] + 0.5) * n / whole))
            for axis, (n, whole) in enumerate(zip(shapes[level], shapes[0], strict=True))
        )
        return cls(down, right, level, index)

    def read(self, layer) -> np.ndarray:
        """Read the voxels as (rows, columns), with a last axis of colors for an RGB layer."""
        array = layer.data[self.level] if layer.multiscale else layer.data
        index = (*self.index, slice(0, array.shape[-1])) if layer.rgb else self.index
        values = read_part(array, index)
        return np.swapaxes(values, 0, 1) if self.down > self.right else values


def shape_of(layer) -> tuple[int, ...]:
    """Return the shape of level 0 without the color axis."""
    array = layer.data[0] if layer.multiscale else layer.data
    return tuple(map(int, array.shape[: layer.ndim]))


def sizes_of(layer) -> tuple[tuple[float, ...], str]:
    """Return the drawn size of voxels along each axis, and its unit; time is drawn as the last axis is."""
    sizes, unit = voxel_size(layer)
    return tuple(sizes[-1] if math.isnan(size) else size for size in sizes), unit


def where(layer, axis: int, voxel: tuple[int, ...]) -> str:
    """Describe the position along an axis in words."""
    sizes, unit = voxel_size(layer)
    words = f"{layer.axis_labels[axis]} = {voxel[axis]}"
    return words if unit == PIXEL or math.isnan(sizes[axis]) else f"{words} · {voxel[axis] * sizes[axis]:.2f} {unit}"


def look_up_table(layer, entries: int = 1024) -> np.ndarray:
    """Return colormap and gamma of a layer as a table from black to white, uint8 RGBA."""
    level = np.linspace(0, 1, entries) ** layer.gamma
    return np.round(255 * layer.colormap.map(level)).astype(np.uint8)


def drawable(values: np.ndarray) -> np.ndarray:
    """Convert values to a dtype that can be drawn."""
    if values.dtype.kind == "f":
        return values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
    return values.astype(values.dtype.newbyteorder("=") if values.dtype.itemsize <= 2 else np.float64, copy=False)

"""The grid of tiles with a physical edge: their borders in voxels, and tables for interpolation between centers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from napari_exposure.core.intensity import check_number


@dataclass(frozen=True)
class TileAxis:
    """One axis of `size` voxels, cut into `tiles` tiles that mirror each other about the middle.

    Examples
    --------
    >>> from napari_exposure.core.tiles import TileAxis
    >>> TileAxis(10, 3).edges
    array([ 0,  3,  7, 10])
    """

    size: int
    tiles: int
    # Only every step-th voxel is used, for a coarser picture of the same tiles.
    step: int = 1
    # Another level of the pyramid has so many voxels over the same extent.
    level: int | None = None

    @cached_property
    def edges(self) -> np.ndarray:
        """The borders of the tiles in voxels, shape (tiles + 1,)."""
        n = self.tiles
        lower = np.arange(n + 1) * self.size // n
        mirrored = self.size - lower[::-1]
        return np.where(np.arange(n + 1) <= n / 2, lower, mirrored)

    @property
    def borders(self) -> np.ndarray:
        """`edges` in voxels of the level."""
        return self.edges if self.level is None else np.rint(self.edges * (self.level / self.size)).astype(int)

    @property
    def voxels(self) -> np.ndarray:
        """The middles of the voxels that are used, in voxels of the whole axis."""
        count = self.size if self.level is None else self.level
        return (np.arange(0, count, self.step) + 0.5) * (self.size / count)

    @cached_property
    def tile(self) -> np.ndarray:
        """The tile that counts each used voxel, shape (voxels,)."""
        return (np.searchsorted(self.edges, self.voxels, side="right") - 1).astype(np.int32)

    @cached_property
    def _place(self) -> tuple[np.ndarray, np.ndarray]:
        centers = (self.edges[:-1] + self.edges[1:]) / 2
        voxels = self.voxels
        if self.tiles == 1:
            return np.zeros(len(voxels), np.int32), np.zeros(len(voxels))
        left = np.clip(np.searchsorted(centers, voxels, side="right") - 1, 0, self.tiles - 2)
        weight = (voxels - centers[left]) / (centers[left + 1] - centers[left])
        return left.astype(np.int32), np.clip(weight, 0, 1)

    @property
    def left(self) -> np.ndarray:
        """The tile whose center lies before each used voxel, shape (voxels,)."""
        return self._place[0]

    @property
    def weight(self) -> np.ndarray:
        """The weight of the next tile in each used voxel, shape (voxels,)."""
        return self._place[1]


@dataclass(frozen=True)
class TileGrid:
    """The tiles of a volume along each spatial axis; the edge that was asked for is in units of the spacing."""

    axes: tuple[TileAxis, ...]
    kernel_size: tuple[float, ...]
    spacing: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of tiles along each axis."""
        return tuple(axis.tiles for axis in self.axes)

    @property
    def voxels(self) -> tuple[float, ...]:
        """The mean edge of a tile in voxels along each axis."""
        return tuple(axis.size / axis.tiles for axis in self.axes)

    def at(self, voxel: tuple[int, ...]) -> tuple[int, ...]:
        """Return the tile that counts a voxel."""
        return tuple(int(axis.tile[place]) for axis, place in zip(self.axes, voxel, strict=True))

    def box(self, tile: tuple[int, ...]) -> tuple[slice, ...]:
        """Return where a tile lies, in voxels of the level."""
        return tuple(slice(*map(int, axis.borders[at : at + 2])) for axis, at in zip(self.axes, tile, strict=True))

    def warnings(self, nbins: int) -> list[str]:
        """Return what a user should know of these tiles before using them, as a list of sentences."""
        found = []
        planes = self.voxels[0]
        if len(self.axes) == 3 and planes < 3 and self.axes[0].size > 1:
            found.append(
                f"A tile is only {planes:.2g} planes deep: neighboring planes will be equalized apart. "
                "Choose a larger edge along z."
            )
        filled = math.prod(self.voxels) / nbins
        if filled < 10:
            found.append(
                f"Too few voxels in a tile ({filled:.2g} for each bin): noise is amplified. Choose a larger edge or "
                "fewer bins."
            )
        return found


def tile_grid(
    shape: tuple[int, ...], kernel_size: float | Iterable[float] | None, spacing: tuple[float, ...]
) -> TileGrid:
    """Lay tiles of a physical size over a volume.

    Their edge is in units of `spacing`, one number for all spatial axes or one each; None is an eighth of the largest
    extent.

    Examples
    --------
    >>> from napari_exposure.core.tiles import tile_grid
    >>> tile_grid((60, 256, 256), 13.0, (0.29, 0.26, 0.26)).shape
    (1, 5, 5)
    """
    extents = [n * step for n, step in zip(shape, spacing, strict=True)]
    if not all(map(math.isfinite, extents)):
        raise ValueError(f"spacing is so large that {shape} voxels have no extent in floats, got {spacing}.")
    if kernel_size is None:
        kernel_size = max(extents) / 8
    edges = tuple(kernel_size) if np.iterable(kernel_size) else (kernel_size,) * len(shape)
    if len(edges) != len(shape):
        raise ValueError(
            f"kernel_size has {len(edges)} numbers but there are {len(shape)} spatial axes; give one number for "
            "all axes, or one for each."
        )
    edges = tuple(check_number(edge, "kernel_size", above=0) for edge in edges)
    # No tile is smaller than a voxel. Rounding first to 9 digits keeps a half a half in any unit of the sizes.
    counts = [round(round(min(size / edge, n), 9)) for n, size, edge in zip(shape, extents, edges, strict=True)]
    axes = tuple(TileAxis(n, min(n, max(1, count))) for n, count in zip(shape, counts, strict=True))
    return TileGrid(axes, edges, spacing)

"""Tiles, drawn in the viewer as thin lines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from qtpy.QtCore import QObject

from napari_exposure.core.tiles import TileGrid
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.viewer.cursor import place_in, voxel_under
from napari_exposure.gui.viewer.line_overlay import FAINT, LineOverlay, border_lines, box_lines


class TileOverlay(LineOverlay):
    """Shows the tiles on an image: in 2D their borders, in 3D the volume, and the one pointed at."""

    what = "tiles"

    def __init__(self, viewer, gone: Callable, parent: QObject):
        super().__init__(viewer, gone, parent)
        self._grid: TileGrid | None = None
        # The cursor pointed at this voxel last.
        self._voxel: tuple[int, ...] = ()
        self._look = Paced(self._find_voxel, self)

    def show(self, image, grid: TileGrid) -> None:
        """Draw the tiles of `grid` on an image layer."""
        if image == self._bared:
            return
        if self._turn(image):
            self._voxel = ()
            self._connections.add(self._look, self._viewer.cursor.events.position)
        self._grid = grid
        if len(self._voxel) != image.ndim or any(at >= n for at, n in zip(self._voxel, self._shape, strict=True)):
            self._voxel = tuple(n // 2 for n in self._shape)
        self._draw()

    def remove(self) -> None:
        """Take the layer away."""
        self._look.cancel()
        super().remove()

    def _find_voxel(self, event=None) -> None:
        image = self._image
        voxel = voxel_under(image, self._viewer, image) if image is not None and self._fits else None
        if voxel is not None and self._tile(voxel) != self._tile(self._voxel):
            self._voxel = voxel
            self._draw()

    @property
    def _fits(self) -> bool:
        """Whether the grid fits the data; when they change, a grid that fits them follows in a moment."""
        sizes = tuple(axis.size for axis in self._grid.axes)
        return self._shape[-len(sizes) :] == sizes and len(self._voxel) == len(self._shape)

    def _tile(self, voxel) -> tuple[int, ...]:
        return self._grid.at(voxel[-len(self._grid.axes) :])

    def _draw(self, event=None) -> None:
        image, dims = self._image, self._viewer.dims
        ndim, displayed = image.ndim, self._displayed
        if not self._fits or len(displayed) < 2:
            # With fewer than two displayed axes the image is seen from its edge.
            return
        here = place_in(image, dims.point, dims)
        # The tile is taken in the plane that is shown, where the cursor was.
        shown = np.round(here)
        shown[displayed] = np.array(self._voxel)[displayed]
        shown = np.clip(shown, 0, np.array(self._shape) - 1).astype(int)
        lead = ndim - len(self._grid.axes)
        inside = [slice(0, n) for n in self._shape[:lead]] + list(self._grid.box(self._tile(tuple(shown))))
        # A voxel is centered on its index, so its borders are half a voxel away.
        edges = [np.array([0, n]) - 0.5 for n in self._shape[:lead]] + [axis.edges - 0.5 for axis in self._grid.axes]
        edges = [edges[axis] for axis in displayed]
        tile = box_lines(
            *zip(*((inside[axis].start - 0.5, inside[axis].stop - 0.5) for axis in displayed), strict=True)
        )
        if len(displayed) == 2:
            rest = border_lines(edges)
        else:
            rest = box_lines(*zip(*((edge[0], edge[-1]) for edge in edges), strict=True))
        lines = np.empty((len(rest) + len(tile), 2, ndim))
        lines[:] = here
        lines[..., displayed] = np.concatenate([rest, tile])
        self._put(lines, here, [FAINT] * len(rest) + [1.0] * len(tile))

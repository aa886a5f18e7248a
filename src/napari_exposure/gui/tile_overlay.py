"""The tiles of an adaptive equalization, drawn in the viewer as thin lines."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from napari.layers import Vectors
from qtpy.QtCore import QObject

from napari_exposure.core.tiles import TileGrid
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.cursor import place_in, voxel_under
from napari_exposure.gui.paced import Paced

# pixels of the canvas
THICKNESS = 2.0
CRIMSON = (0.863, 0.078, 0.235)
# of the lines that are not the tile under the cursor
FAINT = 0.55


def box_lines(low, high) -> np.ndarray:
    """The edges of a box: from start to end, shape (lines, 2, axes)."""
    corners = np.stack([low, high])
    axes = range(len(low))
    lines = []
    for along in axes:
        for ends in itertools.product((0, 1), repeat=len(low) - 1):
            start = [*ends[:along], 0, *ends[along:]]
            stop = [*ends[:along], 1, *ends[along:]]
            lines.append([[corners[at, axis] for axis, at in enumerate(end)] for end in (start, stop)])
    return np.array(lines, float).reshape(-1, 2, len(low))


def border_lines(edges: list[np.ndarray]) -> np.ndarray:
    """The borders of a grid in the plane, from those along its two axes, shape (lines, 2, 2)."""
    lines = []
    for along, across in ((0, 1), (1, 0)):
        ends = np.empty((len(edges[across]), 2, 2))
        ends[:, :, across] = edges[across][:, None]
        ends[:, :, along] = edges[along][[0, -1]]
        lines.append(ends)
    return np.concatenate(lines)


class TileOverlay(QObject):
    """Owns a layer that shows the tiles on an image: in 2D their borders, in 3D the volume, and the one pointed at.

    The layer lies in world coordinates, so that lines are equally thick along all axes, and right on images that
    are scaled, rotated or moved.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    gone : callable
        Called when somebody else removed the layer: it is not wanted.
    parent : QObject
        Owns this object.
    """

    def __init__(self, viewer, gone: Callable, parent: QObject):
        super().__init__(parent)
        self._viewer, self._gone = viewer, gone
        self.layer: Vectors | None = None
        self._image = None
        self._grid: TileGrid | None = None
        # the voxel that was pointed at last
        self._voxel: tuple[int, ...] | None = None
        self._connections = Connections()
        self._look = Paced(self._find_voxel, self)

    def show(self, image, grid: TileGrid) -> None:
        """Draw the tiles of `grid` on an image layer."""
        if image != self._image or (self.layer is not None and self.layer.ndim != image.ndim):
            self.remove()
            self._image, self._voxel = image, ()
            viewer, add, events = self._viewer, self._connections.add, image.events
            add(self._draw, viewer.dims.events.point, viewer.dims.events.order, viewer.dims.events.ndisplay)
            add(self._draw, events.scale, events.translate, events.rotate, events.shear, events.affine)
            add(self._thicken, viewer.scene.camera.events.zoom)
            add(self._look, viewer.cursor.events.position)
            add(self._draw, events.units)
            add(self._on_removed, viewer.layers.events.removed)
        self._grid = grid
        if len(self._voxel) != image.ndim or any(at >= n for at, n in zip(self._voxel, self._shape, strict=True)):
            self._voxel = tuple(n // 2 for n in self._shape)
        self._draw()

    def is_of(self, layer) -> bool:
        """Whether the tiles are those of `layer`."""
        return self._image is not None and self._image == layer

    def remove(self) -> None:
        """Take the layer away."""
        self._connections.drop()
        self._look.cancel()
        layer, self.layer, self._image = self.layer, None, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_removed(self, event) -> None:
        if event.value == self.layer:
            self.remove()
            self._gone()

    @property
    def _shape(self) -> tuple[int, ...]:
        shape = self._image.data.shape
        return tuple(shape[:-1] if self._image.rgb else shape)

    @property
    def _displayed(self) -> list[int]:
        """The axes of the image that are seen: its last axes are the last of the viewer."""
        more = self._viewer.dims.ndim - self._image.ndim
        return [axis - more for axis in self._viewer.dims.displayed if axis >= more]

    def _find_voxel(self, event=None) -> None:
        image = self._image
        voxel = voxel_under(image, self._viewer, image) if image is not None and self._fits else None
        if voxel is not None and self._tile(voxel) != self._tile(self._voxel):
            self._voxel = voxel
            self._draw()

    @property
    def _fits(self) -> bool:
        """Whether the grid is that of the data: of other data it follows in a moment."""
        sizes = tuple(axis.size for axis in self._grid.axes)
        return self._shape[-len(sizes) :] == sizes and len(self._voxel) == len(self._shape)

    def _tile(self, voxel) -> tuple[int, ...]:
        return self._grid.at(voxel[-len(self._grid.axes) :])

    # --- the layer ---

    def _draw(self, event=None) -> None:
        image, dims = self._image, self._viewer.dims
        ndim, displayed = image.ndim, self._displayed
        if not self._fits or len(displayed) < 2:
            # the latter: seen from its edge
            return
        here = place_in(image, dims.point, dims)
        # in the plane that is shown, where the cursor was
        shown = np.round(here)
        shown[displayed] = np.array(self._voxel)[displayed]
        shown = np.clip(shown, 0, np.array(self._shape) - 1).astype(int)
        lead = ndim - len(self._grid.axes)
        inside = [slice(0, n) for n in self._shape[:lead]] + list(self._grid.box(self._tile(tuple(shown))))
        # a voxel is centred on its index
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

    def _put(self, lines: np.ndarray, here: np.ndarray, alphas: list[float]) -> None:
        """Draw lines given in voxels, in the plane through `here`."""
        image, displayed = self._image, self._displayed
        ndim = image.ndim
        corner = np.asarray(image.data_to_world(np.zeros(ndim)))[-ndim:]
        steps = np.stack([np.asarray(image.data_to_world(unit))[-ndim:] - corner for unit in np.eye(ndim)])
        world = lines @ steps + corner
        hidden = [axis for axis in range(ndim) if axis not in displayed]
        # also where the image is rotated against the plane: all in the plane
        world[..., hidden] = (here @ steps + corner)[hidden]
        # where axes are hidden, planes must lie as in the image; where they are seen, lines are of one thickness
        scale = np.abs(np.asarray(image.scale, float))
        scale[displayed] = scale[displayed].min()
        ends = world / scale
        vectors = np.stack([ends[:, 0], ends[:, 1] - ends[:, 0]], axis=1)
        if len(displayed) == 3:
            # a hair off its axis: napari draws a line along an axis as one flat band, which has no width from the side
            vectors[:, 1] += 1e-5 * np.abs(vectors[:, 1]).max()
        colours = np.array([(*CRIMSON, alpha) for alpha in alphas])
        if self.layer is not None:
            if self.layer.units != image.units:
                self.layer.units = image.units
            if not np.array_equal(self.layer.scale, scale):
                self.layer.scale = scale
        if self.layer is None:
            layers = self._viewer.layers
            selected, active = set(layers.selection), layers.selection.active
            self.layer = Vectors(
                vectors,
                name=f"{image.name} - tiles",
                scale=scale,
                units=image.units,
                axis_labels=image.axis_labels,
                vector_style="line",
                edge_color=colours,
                opacity=1,
                blending="translucent_no_depth",
            )
            self._thicken()
            layers.append(self.layer)
            layers.selection = selected
            layers.selection.active = active
        else:
            self.layer.data = vectors
            self.layer.edge_color = colours
            self._thicken()

    def _thicken(self, event=None) -> None:
        """Lines of the same number of pixels at every zoom."""
        if self.layer is not None and self.layer.ndim == self._image.ndim and len(self._displayed) >= 2:
            scale = float(np.min(np.asarray(self.layer.scale)[self._displayed]))
            self.layer.edge_width = THICKNESS / (self._viewer.scene.camera.zoom * scale)

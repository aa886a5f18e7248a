"""Thin lines over an image in the viewer, of the same width at every zoom."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from napari.layers import Vectors
from qtpy.QtCore import QObject, QTimer

from napari_exposure.gui.connections import Connections
from napari_exposure.gui.napari_versions import camera_of, units_events
from napari_exposure.gui.viewer.layer_order import insert, take_away

# Lines are this many pixels of the canvas wide.
THICKNESS = 2.0
CRIMSON = (0.863, 0.078, 0.235)
# The lines that matter less have this opacity.
FAINT = 0.55


def box_lines(low, high) -> np.ndarray:
    """The edges of a box, each from start to end, in an array of shape (lines, 2, axes)."""
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
    """The lines of a grid in the plane, from the borders along both axes, in an array of shape (lines, 2, 2)."""
    lines = []
    for along, across in ((0, 1), (1, 0)):
        ends = np.empty((len(edges[across]), 2, 2))
        ends[:, :, across] = edges[across][:, None]
        ends[:, :, along] = edges[along][[0, -1]]
        lines.append(ends)
    return np.concatenate(lines)


class LineOverlay(QObject):
    """Owns a layer of crimson lines that belong to an image.

    The layer lies in world coordinates, so that lines are equally thick along all axes, and lie right on images
    that are scaled, rotated or moved.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    gone : callable
        Called when somebody else removed the layer but not the image, because then the lines are not wanted.
    parent : QObject
        Owns this object.
    """

    # The name of the layer ends with this.
    what: str

    def __init__(self, viewer, gone: Callable, parent: QObject):
        super().__init__(parent)
        self._viewer, self._gone = viewer, gone
        self.layer: Vectors | None = None
        self._image: Any = None
        self._connections = Connections()
        # The sliders had this position and these numbers of steps before the size of their steps changed.
        self._stood: tuple[tuple, tuple] = ((), ())
        self._stepping = QTimer(self, singleShot=True)
        self._stepping.timeout.connect(self._step_back)
        # Somebody else has just removed the lines of this image.
        self._bared = None
        self._asking = QTimer(self, singleShot=True)
        self._asking.timeout.connect(self._ask)

    def _turn(self, image) -> bool:
        """Turn to an image, and say whether it is another one."""
        if image == self._image and (self.layer is None or self.layer.ndim == image.ndim):
            return False
        self.remove()
        self._image = image
        viewer, add, events = self._viewer, self._connections.add, image.events
        dims = viewer.dims.events
        add(self._draw, dims.point, dims.order, dims.ndisplay, *units_events(viewer.dims))
        add(self._draw, events.scale, events.translate, events.rotate, events.shear, events.affine)
        add(self._draw, events.units)
        add(self._thicken, camera_of(viewer).events.zoom)
        add(self._on_removed, viewer.layers.events.removed)
        return True

    def is_of(self, layer) -> bool:
        """Whether the lines are those of `layer`."""
        return self._image is not None and self._image == layer

    def remove(self) -> None:
        """Take the layer away."""
        self._connections.drop()
        self._stepping.stop()
        layer, self.layer, self._image = self.layer, None, None
        if layer is not None:
            take_away(self._viewer, layer)

    def _on_removed(self, event) -> None:
        if event.value == self.layer:
            # The image may go next, as when all layers are cleared, so `_ask` waits for that.
            self._bared = self._image
            self.remove()
            self._asking.start(0)

    def _ask(self) -> None:
        image, self._bared = self._bared, None
        if image in self._viewer.layers:
            self._gone()

    @property
    def _shape(self) -> tuple[int, ...]:
        shape = self._image.data.shape
        return tuple(shape[:-1] if self._image.rgb else shape)

    @property
    def _displayed(self) -> list[int]:
        """The axes of the image that are displayed, where its axes are the last ones of the viewer."""
        more = self._viewer.dims.ndim - self._image.ndim
        return [axis - more for axis in self._viewer.dims.displayed if axis >= more]

    @abstractmethod
    def _draw(self, event=None) -> None:
        """Put the lines where they belong."""

    def _put(self, lines: np.ndarray, here: np.ndarray, alphas: list[float]) -> None:
        """Draw lines given in voxels, in the plane through `here`."""
        image, displayed = self._image, self._displayed
        ndim = image.ndim
        corner = np.array(image.data_to_world(np.zeros(ndim)))
        steps = np.stack([np.array(image.data_to_world(unit)) - corner for unit in np.eye(ndim)])
        world = lines @ steps + corner
        hidden = [axis for axis in range(ndim) if axis not in displayed]
        # All lines are put into the plane in view, because a rotated image is not parallel to it.
        world[..., hidden] = (here @ steps + corner)[hidden]
        # Along hidden axes planes lie as in the image; displayed axes share a scale, so that lines are equally wide.
        scale = np.abs(np.asarray(image.scale, np.float64))
        scale[displayed] = scale[displayed].min()
        ends = world / scale
        vectors = np.stack([ends[:, 0], ends[:, 1] - ends[:, 0]], axis=1)
        if len(displayed) == 3:
            # Lines go a hair off their axis: napari draws a line along an axis as a flat band, unseen from the side.
            vectors[:, 1] += 1e-5 * np.abs(vectors[:, 1]).max()
        colors = np.array([(*CRIMSON, alpha) for alpha in alphas])
        if self.layer is not None:
            if self.layer.units != image.units:
                self.layer.units = image.units
            if not np.array_equal(self.layer.scale, scale):
                if not self._stepping.isActive():
                    dims = self._viewer.dims
                    self._stood = dims.point, dims.current_step
                    self._stepping.start(0)
                self.layer.scale = scale
        if self.layer is None:
            self.layer = Vectors(
                vectors,
                name=f"{image.name} - {self.what}",
                scale=scale,
                units=image.units,
                axis_labels=image.axis_labels,
                vector_style="line",
                edge_color=colors,
                opacity=1,
                blending="translucent_no_depth",
            )
            self._thicken()
            insert(self._viewer, self.layer, len(self._viewer.layers))
        else:
            self.layer.data = vectors
            if not np.array_equal(self.layer.edge_color, colors.astype(np.float32)):
                self.layer.edge_color = colors
            self._thicken()

    def _step_back(self) -> None:
        """Show the planes again that were in view.

        Sliders take steps of the smallest scale of all layers.  When that changes, they keep the number of their step,
        or take the last step there is, but only at the end of the event that changed it.
        """
        dims, (point, steps) = self._viewer.dims, self._stood
        kept = tuple(min(step, count - 1) for step, count in zip(steps, dims.nsteps, strict=False))
        if tuple(dims.current_step) == kept:
            dims.point = point

    def _thicken(self, event=None) -> None:
        """Keep lines as many pixels wide at every zoom."""
        if self.layer is not None and self.layer.ndim == self._image.ndim and len(self._displayed) >= 2:
            scale = float(np.min(np.asarray(self.layer.scale)[self._displayed]))
            width = THICKNESS / (camera_of(self._viewer).zoom * scale)
            if width != self.layer.edge_width:
                self.layer.edge_width = width

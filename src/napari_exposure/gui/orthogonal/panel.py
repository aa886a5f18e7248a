"""The dock widget "Orthogonal planes": wires viewer, panes and cross-hair."""

from __future__ import annotations

import napari.layers
import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QLabel, QSplitter, QVBoxLayout, QWidget
from superqt.utils import qdebounced

from napari_exposure.gui.connections import Connections
from napari_exposure.gui.napari_versions import units_events
from napari_exposure.gui.orthogonal.crosshair import CrossHair
from napari_exposure.gui.orthogonal.cuts import Axes, Cut, drawable, look_up_table, shape_of, sizes_of, where
from napari_exposure.gui.orthogonal.pane import Pane
from napari_exposure.gui.orthogonal.reader import Reader
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.preview import is_preview
from napari_exposure.gui.scrolled import make_scrollable
from napari_exposure.gui.viewer.cursor import place_in, point_of
from napari_exposure.gui.viewer.edits import Edits
from napari_exposure.gui.viewer.layer_order import lies_above
from napari_exposure.io.units import PIXEL
from napari_exposure.source import in_memory, level_0

NOTHING = "Select an image layer with at least three axes."
# Most volumes are flat, so that the row gets more room side by side, and the column one below the other.
SIZES = [2000, 1000]
# A press is a click if the mouse moves by at most this many pixels.
STILL = 4


class OrthogonalPanel(QWidget):
    """Layers > Visualize > Orthogonal planes: the row and the column through a point, beside the plane in view.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer, or its public proxy as napari passes it.
    """

    def __init__(self, napari_viewer):
        super().__init__()
        self._viewer = napari_viewer
        self.layer: napari.layers.Image | None = None
        # The planes cross here in the viewer; setting napari's own point along displayed axes would slice again.
        self._point = np.zeros(0)
        # This is true while the panel itself moves the sliders.
        self._moving = False
        self._axes: Axes | None = None
        self.voxel: tuple[int, ...] = ()
        self.row, self.column = Pane(), Pane()
        self._panes = (self.row, self.column)
        self._readers = (Reader(), Reader())
        # The panes show these cuts and their values.
        self._cuts: list[Cut | None] = [None, None]
        self._values: list[np.ndarray | None] = [None, None]
        self._of_viewer, self._of_layer = Connections(), Connections()
        self._edits = Edits(napari_viewer, self._reread, self._reread)
        self._build()
        self._crosshair = CrossHair(napari_viewer, gone=lambda: self.cross.setChecked(False), parent=self)
        self._update = Paced(self._show, self)
        # Moves are followed as fast as napari's canvas can be drawn.
        for pane, move in zip(self._panes, (self._move_row, self._move_column), strict=True):
            pane.moved.connect(Paced(move, self))
        # Adding a layer activates others for a moment.
        self._follow = qdebounced(self._follow_active, timeout=1)

    def _build(self) -> None:
        self.cross = QCheckBox("Cross-hair in the main view", checked=True)
        self.cross.setToolTip("In 2D the lines where the row and the column lie; in 3D the three planes.")
        self.cross.toggled.connect(lambda _: self._draw_crosshair())
        self.facts = QLabel()
        self.facts.setTextFormat(Qt.TextFormat.PlainText)
        self.facts.setWordWrap(True)
        self.facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._split = QSplitter(Qt.Orientation.Vertical)
        for pane in self._panes:
            pane.setToolTip("Click, drag or press arrow keys to move the planes; wheel zooms, double click shows all.")
            self._split.addWidget(pane)
        self._split.setChildrenCollapsible(False)
        self._split.setSizes(SIZES[::-1])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(self._split, 1)
        layout.addWidget(self.facts)
        layout.addWidget(self.cross)
        make_scrollable(self)

    def resizeEvent(self, event):
        """Put the panes side by side where there is room."""
        super().resizeEvent(event)
        wide = self.width() > max(1.3 * self.height(), 400)
        orientation = Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical
        if orientation != self._split.orientation():
            self._split.setOrientation(orientation)
            self._split.setSizes(SIZES if wide else SIZES[::-1])

    # --- shown and hidden ---

    def showEvent(self, event):
        """Catch up with the viewer."""
        super().showEvent(event)
        if self._of_viewer:
            return
        viewer, add = self._viewer, self._of_viewer.add
        layers, dims = viewer.layers, viewer.dims
        add(self._follow, layers.selection.events.active, layers.events.removed)
        add(lambda event: self._before_removal(self._viewer.layers[event.index]), layers.events.removing)
        add(self._on_point, dims.events.point, dims.events.ndim)
        add(self._on_turned, dims.events.order, dims.events.ndisplay)
        add(self._update, *units_events(dims))
        add(self._paint, viewer.events.theme)
        viewer.mouse_drag_callbacks.append(self._on_press)
        self._paint()
        self._follow_active()

    def hideEvent(self, event):
        """Stop following the viewer and release the layer until shown again."""
        super().hideEvent(event)
        self._of_viewer.drop()
        callbacks = self._viewer.mouse_drag_callbacks
        if self._on_press in callbacks:
            callbacks.remove(self._on_press)
        for waiting in (self._follow, self._update):
            waiting.cancel()
        self._turn(None)

    def _paint(self, event=None) -> None:
        for pane in self._panes:
            pane.follow_theme(self._viewer)

    # --- which layer ---

    def _follow_active(self) -> None:
        """Show the active image, and stay where something else is active."""
        if not self._of_viewer:
            return
        layers = self._viewer.layers
        active = layers.selection.active
        if isinstance(active, napari.layers.Image):
            self._turn(active)
        elif self.layer is None or self.layer not in layers:
            images = [layer for layer in layers if isinstance(layer, napari.layers.Image)]
            self._turn(images[-1] if images else None)

    def _turn(self, layer) -> None:
        if layer is not None and layer == self.layer:
            return
        self._of_layer.drop()
        self._edits.watch(layer)
        self.layer = layer
        if layer is None or not self._crosshair.is_of(layer):
            self._crosshair.remove()
        if layer is not None:
            events, add = layer.events, self._of_layer.add
            add(self._on_look, events.contrast_limits, events.gamma, events.colormap)
            add(self._update, events.scale, events.translate, events.rotate, events.shear, events.affine, events.units)
            add(self._update, events.axis_labels)
            self._take_point()
        self._reread()

    def _before_removal(self, layer) -> None:
        """Take away the cross-hair that lies above a layer that is removed."""
        lines = self._crosshair.layer
        if layer == self.layer and (lines is None or lies_above(self._viewer, lines, layer)):
            self._turn(None)
        if len(self._viewer.layers) == 1:
            # The viewer becomes empty, and the next layer is shown in its middle.
            self._point = np.zeros(0)

    def _reread(self, event=None) -> None:
        """Read the planes again, because the layer or its values have changed."""
        self._cuts = [None, None]
        self._show()

    # --- where ---

    def _hidden(self) -> list[int]:
        dims = self._viewer.dims
        return [axis for axis in range(dims.ndim) if axis not in dims.displayed]

    def _on_point(self, event=None) -> None:
        """Follow a slider that was moved."""
        if self._moving or self.layer is None:
            return
        self._take_point()
        self._update()

    def _take_point(self) -> None:
        """Go to the position of the sliders, and stay along the axes that are displayed."""
        dims, before = self._viewer.dims, self._point
        self._point = np.array(dims.point, float)
        # Axes are counted from the last, because they come and go at the front.
        kept = [axis - dims.ndim for axis in dims.displayed if dims.ndim - axis <= len(before)]
        self._point[kept] = before[kept]

    def _on_turned(self, event=None) -> None:
        """Keep the plane in view at the cross-hair when other axes are displayed."""
        self._push()
        self._update()

    def _push(self) -> None:
        """Set the sliders to the cross-hair."""
        dims, hidden = self._viewer.dims, self._hidden()
        if len(self._point) == dims.ndim and any(dims.point[axis] != self._point[axis] for axis in hidden):
            dims.set_point(hidden, self._point[hidden].tolist())

    def _move_row(self, down, right) -> None:
        if self._axes is not None:
            self._move({self._axes.plane: down, self._axes.column: right})

    def _move_column(self, down, right) -> None:
        if self._axes is not None:
            self._move({self._axes.row: down, self._axes.plane: right})

    def _move(self, positions: dict) -> None:
        """Go to positions along axes, in the unit of the panes; None leaves an axis as it is."""
        sizes, _ = sizes_of(self.layer)
        self.go_to({axis: at / sizes[axis] for axis, at in positions.items() if at is not None})

    def go_to(self, places: dict) -> None:
        """Move the crossing of the planes to these indices of some axes; the sliders follow."""
        if self.layer is None or not self.voxel:
            return
        shape, voxel = shape_of(self.layer), list(self.voxel)
        for axis, at in places.items():
            voxel[axis] = int(np.clip(round(at), 0, shape[axis] - 1))
        if tuple(voxel) != self.voxel:
            dims = self._viewer.dims
            self._point[dims.ndim - self.layer.ndim :] = point_of(self.layer, voxel, dims)
            self._crosshair.voxel = tuple(voxel)
            self._moving = True
            self._push()
            self._moving = False
        self._show()

    def _on_press(self, viewer, event):
        """Move the cross-hair to a click in the main view."""
        layer = self.layer
        busy = layer is None or event.button != 1 or event.modifiers or self._viewer.dims.ndisplay != 2
        if busy or self._viewer.layers.selection.active != layer or layer.mode != "pan_zoom":
            return
        start, still = np.array(event.pos), True
        yield
        while event.type == "mouse_move":
            still = still and np.abs(np.array(event.pos) - start).max() <= STILL
            yield
        if still and self.layer is layer:
            voxel = place_in(layer, event.position, self._viewer.dims)
            self.go_to({axis: voxel[axis] for axis in (self._axes.row, self._axes.column)} if self._axes else {})

    # --- showing ---

    def _show(self, event=None) -> None:
        """Bring panes and cross-hair up to date."""
        layer, dims = self.layer, self._viewer.dims
        if layer is not None and not len(self._point) == dims.ndim >= layer.ndim:
            # Axes come and go in several events; a later one brings this up to date.
            return
        self._axes = None if layer is None else Axes.of(layer, dims)
        if self._axes is None:
            self._show_nothing()
            return
        axes, shape = self._axes, shape_of(layer)
        place = np.round(place_in(layer, self._point, dims))
        self.voxel = tuple(np.clip(place, 0, np.array(shape) - 1).astype(int).tolist())
        sizes, unit = sizes_of(layer)
        for number, (down, right, across) in enumerate(
            [(axes.plane, axes.column, axes.row), (axes.row, axes.plane, axes.column)]
        ):
            pane = self._panes[number]
            pane.set_title(where(layer, across, self.voxel))
            named = (
                layer.axis_labels[axis] if unit == PIXEL else f"{layer.axis_labels[axis]} ({unit})"
                for axis in (down, right)
            )
            pane.set_labels(*named)
            pane.place(self.voxel[down] * sizes[down], self.voxel[right] * sizes[right])
            cut = Cut.through(layer, self.voxel, down, right)
            drawn = (sizes[down], sizes[right]), (shape[down], shape[right])
            if cut != self._cuts[number]:
                self._cuts[number] = cut
                self._read(number, layer, cut, drawn)
            elif self._values[number] is not None:
                pane.show_image(self._values[number], *drawn)
        self._say()
        self._draw_crosshair()

    def _show_nothing(self) -> None:
        self.voxel = ()
        self._cuts, self._values = [None, None], [None, None]
        for pane, reader in zip(self._panes, self._readers, strict=True):
            reader.stop()
            pane.show_image(None)
            pane.set_title("")
        self.facts.setText(NOTHING)
        self._crosshair.remove()

    def _read(self, number: int, layer, cut: Cut, drawn) -> None:
        """Show the voxels of a cut, at once if they are in memory."""

        def read():
            return drawable(cut.read(layer))

        def done(values):
            if self.layer is not layer or self._cuts[number] is None:
                return
            self._values[number] = values
            self._panes[number].show_image(values, *drawn)
            self._look(number)
            self._say()

        array = level_0(layer)
        if in_memory(array.array if is_preview(layer) else array):
            self._readers[number].stop()
            done(read())
        else:
            self._readers[number].read(read, done)

    def _on_look(self, event=None) -> None:
        for number in (0, 1):
            self._look(number)

    def _look(self, number: int) -> None:
        """Use contrast limits, gamma and colors of the main view."""
        layer, values = self.layer, self._values[number]
        if values is None:
            return
        if layer.rgb:
            top = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1.0
            self._panes[number].set_look((0, top), None)
        else:
            self._panes[number].set_look(tuple(layer.contrast_limits), look_up_table(layer))

    def _say(self) -> None:
        layer, axes = self.layer, self._axes
        words = [layer.name, *(where(layer, axis, self.voxel) for axis in (axes.plane, axes.row, axes.column))]
        values, cut = self._values[0], self._cuts[0]
        if values is not None and cut is not None and cut.level == 0 and not self._readers[0].running:
            row, column = self.voxel[axes.plane], self.voxel[axes.column]
            words.append(f"intensity {values[row, column]}")
        self.facts.setText(",  ".join(words))

    def _draw_crosshair(self) -> None:
        if self.cross.isChecked() and self.layer is not None and self.voxel and self.isVisible():
            self._crosshair.show(self.layer, self.voxel)
        else:
            self._crosshair.remove()

    @property
    def running(self) -> bool:
        """Whether a plane is being read."""
        return any(reader.running for reader in self._readers)

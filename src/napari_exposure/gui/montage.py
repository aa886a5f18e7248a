"""Layers > Visualize > Montage of planes: asks which, and adds the layer."""

from __future__ import annotations

import html
import math

import napari
import napari.layers
from magicgui import widgets
from napari.utils.notifications import show_error

from napari_exposure.gui.connections import Connections
from napari_exposure.gui.editors import text, warn
from napari_exposure.gui.jobs import ActivityJob
from napari_exposure.gui.viewer.layer_order import insert, place, take_away
from napari_exposure.layer_montage import arrangement, label_montage, montage_job

# The dialog begins with about this many planes, which fill an area of this width to height.
PLANES, ASPECT = 30, 1.3
# Graphics cards do not show an image as it is if it has more pixels along an edge.
LONGEST = 1 << 14


def open_montage() -> None:
    """Ask for step and columns, and add a montage of the active layer."""
    viewer = napari.current_viewer()
    layer = viewer.layers.selection.active
    if not isinstance(layer, napari.layers.Image) or layer.ndim < 3:
        show_error("Select an image layer with several planes first: a montage shows them in rows and columns.")
        return
    dialog = MontageDialog(layer, viewer.window._qt_window)
    try:
        if dialog.exec():
            add_montage(viewer, layer, labels=dialog["labels"].value, **dialog.parameters())
    finally:
        # Without this, the main window would keep the dialog.
        dialog.native.deleteLater()


class MontageDialog(widgets.Dialog):
    """Which planes of a layer are shown, and in how many columns.

    Parameters
    ----------
    layer : napari.layers.Image
    parent : QWidget, optional
    """

    def __init__(self, layer, parent=None):
        self._source = layer
        shape = layer.data[0].shape if layer.multiscale else layer.data.shape
        axes = {f"{label} ({shape[axis]} planes)": axis for axis, label in enumerate(layer.axis_labels)}
        self._axis = widgets.ComboBox(
            name="axis",
            label="Planes along",
            choices=list(axes.items()),
            value=layer.ndim - 3,
            tooltip="The axis that the planes are taken along.",
        )
        self._step = widgets.SpinBox(name="step", label="Every … planes", min=1, max=10**6, tooltip="1 shows all.")
        self._columns = widgets.SpinBox(
            name="columns", label="Columns", min=1, max=10**6, tooltip="Planes beside each other."
        )
        self._written = widgets.CheckBox(
            name="labels",
            text="Write where each plane lies",
            value=True,
            tooltip="A layer of text over the montage, in the unit of the layer; it is hidden and removed with it.",
        )
        self._facts = text()
        self._facts.name, self._facts.label = "facts", ""
        super().__init__(widgets=[self._axis, self._step, self._columns, self._written, self._facts], parent=parent)
        self.native.setWindowTitle(f"Montage of {layer.name}")
        self.native.setMinimumWidth(360)
        self._axis.changed.connect(self._suggest)
        self._step.changed.connect(self._fill)
        self._columns.changed.connect(self._describe)
        self._suggest()

    def parameters(self) -> dict:
        """What `nx.montage` is called with."""
        chosen = {"step": self._step.value, "columns": self._columns.value, "axis": self._axis.value}
        return {**chosen, "level": self._level(**chosen)}

    def _level(self, **chosen) -> int:
        """The finest level of a multiscale layer whose montage can be shown as it is."""
        levels = len(self._source.data) if self._source.multiscale else 1
        sizes = (max(arrangement(self._source, **chosen, level=level).shape) for level in range(levels))
        return next((level for level, size in enumerate(sizes) if size <= LONGEST), levels - 1)

    def _suggest(self) -> None:
        """Begin with about thirty planes."""
        count = len(arrangement(self._source, 1, 1, axis=self._axis.value).planes)
        self._step.value = math.ceil(count / PLANES)
        self._fill()

    def _fill(self) -> None:
        """Choose as many columns as fill a window."""
        chosen = arrangement(self._source, self._step.value, 1, axis=self._axis.value)
        scale = [size for axis, size in enumerate(self._source.scale) if axis != chosen.axis][-2:]
        height, width = (n * abs(size) for n, size in zip(chosen.plane, scale, strict=True))
        count = len(chosen.planes)
        self._columns.value = min(count, max(1, round(math.sqrt(ASPECT * count * height / width))))
        self._describe()

    def _describe(self) -> None:
        chosen = self.parameters()
        found = arrangement(self._source, **chosen)
        height, width = found.shape
        words = f"{len(found.planes)} planes in {found.rows} × {found.columns}, {width:,} × {height:,} pixels"
        if chosen["level"]:
            words += f", of level {chosen['level']}"
        self._facts.value = html.escape(words)
        if max(found.shape) > LONGEST:
            self._facts.value += "<br>" + warn("Too long for most graphics cards: shown coarser than it is.")


def add_montage(viewer, layer, *, labels: bool = True, **parameters) -> ActivityJob:
    """Make a montage in a worker, with the parameters of `nx.montage`, and add it with its labels above its source."""
    work, make = montage_job(layer, **parameters)

    def done(data, seconds):
        if layer in viewer.layers:
            montage = make(data)
            place(viewer, montage, layer)
            if labels:
                _add_labels(viewer, montage)
            viewer.reset_view()

    return ActivityJob(f"Montage: {layer.name}", work, done=done)


def _add_labels(viewer, montage) -> None:
    """Write labels on a montage, which are shown, hidden and removed with it."""
    labels, layers = label_montage(montage), viewer.layers
    insert(viewer, labels, layers.index(montage) + 1)
    connections = Connections()

    def follow(event=None):
        labels.visible = montage.visible

    def on_removed(event):
        if event.value in (montage, labels):
            connections.drop()
            take_away(viewer, labels)

    connections.add(follow, montage.events.visible)
    connections.add(on_removed, layers.events.removed)
    follow()

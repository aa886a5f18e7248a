"""The strip below the plot: the histogram of each time point or plane as a picture, with the one in view marked."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import napari.layers
import numpy as np
import pyqtgraph as pg
from napari.utils.theme import get_theme
from qtpy.QtCore import QPointF, QSize, Qt, Signal
from superqt.utils import qdebounced

from napari_exposure.core.progress import Step
from napari_exposure.core.strip import count_strip
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.histogram import survey
from napari_exposure.gui.histogram.caption import Caption
from napari_exposure.gui.histogram.model import HistogramModel
from napari_exposure.gui.jobs import Job
from napari_exposure.gui.plotting import AFTER, PlotView
from napari_exposure.gui.viewer.cursor import place_in, point_of
from napari_exposure.gui.viewer.edits import Edits
from napari_exposure.io.units import time_step

BINS = 256
COLORS = "viridis"


class Strip(PlotView):
    """Counts what a HistogramModel counts for each index of one axis, and goes to the one that is clicked on.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    model : HistogramModel
        The strip reads it and listens to it, and never writes to it.
    """

    # Emitted when a job begins or ends, or when the axes of the layer change.
    changed = Signal()

    def __init__(self, viewer, model: HistogramModel):
        super().__init__()
        self._viewer, self._model = viewer, model
        self._of_viewer = Connections()
        self._layer: napari.layers.Image | None = None
        self._axis: str | None = None
        self._job: Job | None = None
        # The layer, axis, part and mask that were counted, or None once the data were edited.
        self._counted: tuple | None = None
        self.counts, self.edges = np.zeros((0, 1), np.int64), np.zeros(2)
        self._at: int | None = None
        self._update = qdebounced(self._look, timeout=30)
        self._edits = Edits(viewer, self._forget, self._forget)
        self._build()
        events = model.events
        for signal in (events.content, events.scope, events.mask, events.ignore_zeros):
            signal.connect(self._update)

    def _build(self) -> None:
        self.setMinimumHeight(150)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Histogram along an axis")
        self.setToolTip(
            "Each column is the histogram of a time point or plane: flicker and fading show as steps and slopes. "
            "Click to go there, or press the left and right arrow keys."
        )
        self._caption = Caption()
        self._box = pg.ViewBox(enableMenu=False, enableMouse=False, defaultPadding=0)
        self.ci.addItem(self._caption, 0, 0, 1, 2)
        self.ci.addItem(self._box, 1, 1)
        for side, row, column in (("left", 1, 0), ("bottom", 2, 1)):
            self.add_axis(side, row, column).linkToView(self._box)
        self.ci.layout.setRowStretchFactor(1, 1)
        self.ci.layout.setColumnStretchFactor(1, 1)
        self.name_axis("left", "intensity")
        self._image = pg.ImageItem(axisOrder="row-major")
        self._image.setColorMap(pg.colormap.get(COLORS))
        self._box.addItem(self._image)
        self._here = pg.InfiniteLine(pen=pg.mkPen(AFTER, width=2))
        self._box.addItem(self._here, ignoreBounds=True)
        self.scene().sigMouseClicked.connect(self._on_click)
        self.set_font(self._letters)
        self._draw()

    def sizeHint(self):
        """Return a size that is narrow enough for a dock."""
        return QSize(380, 180)

    def wheelEvent(self, event):
        """Let the wheel scroll the dock, because nothing zooms here; Qt calls this."""
        event.ignore()

    # --- public ---

    def follow(self, layer: Any) -> None:
        """Show this layer, or none."""
        if layer != self._layer:
            self._layer = layer
            self._edits.watch(layer if self._of_viewer else None)
            self._forget()

    @property
    def axes_of_layer(self) -> list[str]:
        """The names of the axes that a strip can run along: all but the last two."""
        layer = self._layer
        if layer is None:
            return []
        ndim = layer.ndim
        return survey.axis_names(layer, ndim)[: max(0, ndim - 2)]

    @property
    def axis(self) -> str | None:
        """The name of the axis that the strip runs along, or None for no strip."""
        return self._axis

    @axis.setter
    def axis(self, axis: str | None) -> None:
        self._axis = axis
        self.setVisible(axis is not None)
        self._update()

    @property
    def counting(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def cancel(self) -> None:
        """Stop counting; what was counted before stays."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
            self._say("Cancelled; Refresh counts again.")
            self.changed.emit()

    def count_again(self) -> None:
        """Count again even if nothing seems to have changed."""
        self._forget()

    # --- shown and hidden ---

    def showEvent(self, event):
        """Follow the theme and the sliders."""
        super().showEvent(event)
        if not self._of_viewer:
            dims = self._viewer.dims.events
            self._of_viewer.add(self._paint, self._viewer.events.theme)
            self._of_viewer.add(self._on_dims, dims.point, dims.order, dims.ndisplay)
            self._edits.watch(self._layer)
            self._paint()
            self._update()

    def hideEvent(self, event):
        """Stop following the viewer until shown again."""
        super().hideEvent(event)
        self._of_viewer.drop()
        self._edits.watch()
        self._update.cancel()
        self.cancel()
        self._counted = None

    def _paint(self, event=None) -> None:
        theme = get_theme(self._viewer.theme)
        self.set_colors(theme.background.as_hex(), theme.text.as_hex())

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        super().set_colors(background, text)
        self._say()

    def set_font(self, font) -> None:
        """Write as large as the rest of the window."""
        super().set_font(font)
        self._caption.set_font(font)

    # --- counting ---

    def _forget(self, event=None) -> None:
        self._counted = None
        self.changed.emit()
        self._update()

    def _on_dims(self, event=None) -> None:
        self._place()
        self._update()

    def _number(self) -> int | None:
        """Return the index of the axis in the layer, or None if the layer has no axis of this name."""
        names = self.axes_of_layer
        return names.index(self._axis) if self._axis in names else None

    def _step(self) -> tuple[float, str]:
        """Return the step between time points and its unit, or 1 and "" where there is no unit of time."""
        layer, axis = self._layer, self._number()
        return (1.0, "") if layer is None or axis is None else time_step(layer, axis)

    def _look(self) -> None:
        """Count, unless exactly this was counted before."""
        if not self.isVisible():
            return
        layer, axis, model = self._layer, self._number(), self._model
        if layer is None or axis is None:
            self.cancel()
            self._counted = None
            self.counts, self.edges = np.zeros((0, 1), np.int64), np.zeros(2)
            self._draw("Select an image layer that has this axis.")
            return
        try:
            # The last target of an RGB layer is the luminance.
            target = survey.targets(layer, self._viewer.dims, model.scope, model.mask, model.ignore_zeros)[-1]
        except (TypeError, ValueError) as error:
            self._draw(str(error))
            return
        volume = target.volume
        whole = slice(0, (layer.data.shape[:-1] if layer.rgb else layer.data.shape)[axis])
        volume = replace(volume, box=(*volume.box[:axis], whole, *volume.box[axis + 1 :]))
        wanted = layer, axis, volume.part, model.mask
        if wanted == self._counted:
            return
        self.cancel()
        self._counted = wanted

        def done(found: tuple[np.ndarray, np.ndarray], seconds: float) -> None:
            if self._job is job:
                self.counts, self.edges = found
                self._draw()

        def ended() -> None:
            if self._job is job:
                self._job = None
                self.changed.emit()

        def step(step: Step) -> None:
            if self._job is job:
                self._say(f"Counting … {step.fraction:.0%}")

        def failed(error: Exception) -> None:
            if self._job is job:
                self._draw(str(error))

        job = self._job = Job(
            partial(count_strip, volume, axis, BINS), done=done, ended=ended, step=step, failed=failed
        )
        self._say("Counting …")
        self.changed.emit()

    # --- drawing ---

    def _draw(self, words: str = "") -> None:
        """Draw each column as the logarithm of its fractions, so that rare voxels show too."""
        points = len(self.counts)
        there = bool(self.counts.any() and self.edges[0] < self.edges[-1])
        self._image.setVisible(there)
        if there:
            shares = self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)
            least = shares[shares > 0].min()
            picture = np.log(np.maximum(shares, least)).T
            self._image.setImage(picture.astype(np.float32), autoLevels=True)
            low, high = self.edges[[0, -1]]
            self._image.setRect(-0.5, low, points, high - low)
            self._box.setRange(xRange=(-0.5, points - 0.5), yRange=(low, high), padding=0)
        elif points and not words:
            words = "All voxels that count are alike, or there is none."
        step, unit = self._step()
        self.axes["bottom"].setScale(step)
        self.name_axis("bottom", f"{self._axis} ({unit})" if unit else self._axis or "")
        self._place()
        self._say(words)

    def _place(self) -> None:
        """Mark the column that is in view."""
        layer, axis, self._at = self._layer, self._number(), None
        dims = self._viewer.dims
        if layer is not None and axis is not None and dims.ndim - layer.ndim + axis not in dims.displayed:
            at = round(float(place_in(layer, dims.point, dims)[axis]))
            self._at = at if 0 <= at < len(self.counts) else None
        self._here.setVisible(self._at is not None)
        if self._at is not None:
            self._here.setValue(self._at)
        self._say(self._words)

    _words = ""

    def _say(self, words: str = "") -> None:
        self._words = words
        legend = []
        if self._at is not None:
            step, unit = self._step()
            time = f", {self._at * step:g} {unit}" if unit else ""
            legend.append((AFTER, "┃", f"{self._axis} = {self._at}{time}"))
        self._caption.say(legend, words or ("brighter: more voxels" if len(self.counts) else ""), self._text)

    # --- mouse and keys ---

    def _on_click(self, event) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._box.sceneBoundingRect().contains(event.scenePos()):
            event.accept()
            self._go(math.floor(self._box.mapSceneToView(event.scenePos()).x() + 0.5))

    def keyPressEvent(self, event):
        """Go to the neighboring column on the left or right arrow key; Qt calls this."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in steps and self._at is not None:
            self._go(self._at + steps[event.key()])
        else:
            super().keyPressEvent(event)

    def _go(self, at: int) -> None:
        """Move the slider of the axis to this index."""
        layer, axis, dims = self._layer, self._number(), self._viewer.dims
        if layer is not None and axis is not None and len(self.counts):
            voxel = place_in(layer, dims.point, dims)
            voxel[axis] = min(max(at, 0), len(self.counts) - 1)
            dims.set_point(dims.ndim - layer.ndim + axis, point_of(layer, voxel, dims)[axis])

    def point_of(self, x: float, y: float):
        """Return where in this widget a point of the strip lies; tests and pictures need it."""
        return self.mapFromScene(self._box.mapViewToScene(QPointF(x, y)))

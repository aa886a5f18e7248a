"""The strip below the plot: the histogram of each time point or plane as a picture, with the one in view marked."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import napari.layers
import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Signal
from superqt.utils import qdebounced

from napari_exposure.core.strip import count_strip
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.histogram import survey
from napari_exposure.gui.histogram.model import HistogramModel
from napari_exposure.gui.jobs import Latest
from napari_exposure.gui.plotting import AFTER, AlongAxis
from napari_exposure.gui.viewer.cursor import place_in, point_of
from napari_exposure.gui.viewer.edits import Edits
from napari_exposure.io.units import time_step

BINS = 256
COLORS = "viridis"


class Strip(AlongAxis):
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
        what = "Each column is the histogram of a time point or plane: flicker and fading show as steps and slopes."
        super().__init__("Histogram along an axis", what, padding=0)
        self._viewer, self._model = viewer, model
        self._of_viewer = Connections()
        self._layer: napari.layers.Image | None = None
        self._axis: str | None = None
        self._job = Latest()
        # The layer, axis, part and mask that were counted, or None once the data were edited.
        self._counted: tuple | None = None
        self.counts, self.edges = np.zeros((0, 1), np.int64), np.zeros(2)
        self._words = ""
        self._update = qdebounced(self._look, timeout=30)
        self._edits = Edits(viewer, self._forget, self._forget)
        self.setMinimumHeight(150)
        self._image = pg.ImageItem(axisOrder="row-major")
        self._image.setColorMap(pg.colormap.get(COLORS))
        self._box.addItem(self._image)
        self._here.setPen(pg.mkPen(AFTER, width=2))
        self.pointed.connect(self._go)
        self._draw()
        events = model.events
        for signal in (events.content, events.scope, events.mask, events.ignore_zeros):
            signal.connect(self._update)

    def sizeHint(self):
        # It is narrow enough for a dock.
        return QSize(380, 180)

    def _positions_of(self) -> np.ndarray:
        return np.arange(len(self.counts))

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
        return bool(self._job)

    def cancel(self) -> None:
        """Stop counting; what was counted before stays."""
        if self._job:
            self._job.stop()
            self._tell("Cancelled; Refresh counts again.")
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
        self.follow_theme(self._viewer)

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

        def done(found: tuple[np.ndarray, np.ndarray]) -> None:
            self.counts, self.edges = found
            self._draw()

        self._job.start(
            partial(count_strip, volume, axis, BINS),
            done,
            ended=self.changed.emit,
            step=lambda step: self._tell(f"Counting … {step.fraction:.0%}"),
            failed=lambda error: self._draw(str(error)),
        )
        self._tell("Counting …")
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
        self._words = words
        self._place()

    def _place(self) -> None:
        """Mark the column that is in view."""
        layer, axis, dims = self._layer, self._number(), self._viewer.dims
        there = layer is not None and axis is not None and dims.ndim - layer.ndim + axis not in dims.displayed
        self._mark(round(float(place_in(layer, dims.point, dims)[axis])) if there else None)

    def _tell(self, words: str) -> None:
        self._words = words
        self._say()

    def _say(self) -> None:
        legend = []
        if self._at is not None:
            step, unit = self._step()
            time = f", {self._at * step:g} {unit}" if unit else ""
            legend.append((AFTER, "┃", f"{self._axis} = {self._at}{time}"))
        self._caption.say(legend, self._words or ("brighter: more voxels" if len(self.counts) else ""), self._text)

    # --- mouse and keys ---

    def _go(self, at: int) -> None:
        """Move the slider of the axis to this index."""
        layer, axis, dims = self._layer, self._number(), self._viewer.dims
        if layer is not None and axis is not None:
            voxel = place_in(layer, dims.point, dims)
            voxel[axis] = at
            dims.set_point(dims.ndim - layer.ndim + axis, point_of(layer, voxel, dims)[axis])

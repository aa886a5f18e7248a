"""Draws the intensity of planes along an axis, before and after it was corrected; knows nothing of layers."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize

from napari_exposure.gui.plotting import AFTER, BEFORE, MAPPING, AlongAxis


class ProfilePlot(AlongAxis):
    """Points for the planes, a line for the model, and an upright line for the plane in view."""

    def __init__(self):
        super().__init__("Intensity along the axis", "The intensity of each plane, before and after.", padding=0.03)
        self.setMinimumHeight(160)
        self._positions = np.empty(0)
        self._before, self._after = (
            pg.ScatterPlotItem(size=5, pen=None, brush=pg.mkBrush(color)) for color in (BEFORE, AFTER)
        )
        self._model = pg.PlotCurveItem(pen=pg.mkPen(MAPPING, width=2))
        for item in (self._before, self._after, self._model):
            self._box.addItem(item)
        self.empty()

    def sizeHint(self):
        # It is narrow enough for a dock.
        return QSize(280, 200)

    def _positions_of(self) -> np.ndarray:
        return self._positions

    def draw(self, positions: np.ndarray, before: np.ndarray, model: np.ndarray, after: np.ndarray, label: str) -> None:
        """Show a profile; planes whose intensity or model is NaN are left out."""
        self._positions = positions
        for item, values in ((self._before, before), (self._model, model), (self._after, after)):
            there = np.isfinite(values)
            item.setData(positions[there], values[there])
        self.name_axis("bottom", label)
        self._say()

    def place(self, plane: int | None) -> None:
        """Mark the plane in view; None where there is no such plane."""
        self._mark(plane)

    def empty(self) -> None:
        """Show nothing."""
        nothing = np.empty(0)
        self.draw(nothing, nothing, nothing, nothing, "")
        self.place(None)

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        super().set_colors(background, text)
        self._here.setPen(pg.mkPen(text, width=1.5))

    def _say(self) -> None:
        legend = [(BEFORE, "●", "before"), (MAPPING, "━", "model"), (AFTER, "●", "after")]
        if self._at is not None:
            legend.append((self._text, "┃", "plane in view"))
        self._caption.say(legend if len(self._positions) else [], "", self._text)

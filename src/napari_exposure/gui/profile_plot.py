"""Draws the intensity of planes along an axis and the model of it; knows nothing of layers."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize

POINTS, LINE = "#56b4e9", "#e69f00"


class ProfilePlot(pg.GraphicsLayoutWidget):
    """Points for the planes, and a line for the model."""

    def __init__(self):
        super().__init__()
        self.setMinimumHeight(140)
        # no PlotItem: it makes menus that outlive it
        self._axes = {side: pg.AxisItem(side) for side in ("left", "bottom")}
        self._box = pg.ViewBox(enableMenu=False, enableMouse=False)
        for axis in self._axes.values():
            axis.enableAutoSIPrefix(False)
            axis.linkToView(self._box)
        # of a size that does not follow the numbers: otherwise the plot jumps while a slider moves
        self._axes["left"].setWidth(58)
        self._axes["bottom"].setHeight(40)
        self._axes["left"].setLabel("intensity")
        self.ci.setContentsMargins(2, 2, 8, 2)
        self.ci.setSpacing(0)
        self.ci.addItem(self._axes["left"], 0, 0)
        self.ci.addItem(self._box, 0, 1)
        self.ci.addItem(self._axes["bottom"], 1, 1)
        self._points = pg.ScatterPlotItem(size=5, pen=None, brush=pg.mkBrush(POINTS))
        self._line = pg.PlotCurveItem(pen=pg.mkPen(LINE, width=2))
        for item in (self._points, self._line):
            self._box.addItem(item)

    def sizeHint(self):
        """Narrow enough for a dock."""
        return QSize(280, 160)

    def wheelEvent(self, event):
        """Qt's hook: the wheel zooms nothing here, so it scrolls the dock."""
        event.ignore()

    def draw(self, positions: np.ndarray, profile: np.ndarray, fitted: np.ndarray, label: str) -> None:
        """Show a profile; planes whose profile or model is NaN are left out."""
        there = np.isfinite(profile)
        self._points.setData(positions[there], profile[there])
        there = np.isfinite(fitted)
        self._line.setData(positions[there], fitted[there])
        self._axes["bottom"].setLabel(label)

    def empty(self) -> None:
        """Show nothing."""
        nothing = np.empty(0)
        self.draw(nothing, nothing, nothing, "")

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        self.setBackground(background)
        for axis in self._axes.values():
            axis.setPen(pg.mkPen(text, width=1))
            axis.setTextPen(text)

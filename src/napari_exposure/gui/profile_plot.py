"""Draws the intensity of planes along an axis, before and after it was corrected; knows nothing of layers."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QSize, Qt, Signal

from napari_exposure.gui.histogram.caption import Caption
from napari_exposure.gui.plotting import AFTER, BEFORE, MAPPING, PlotView


class ProfilePlot(PlotView):
    """Points for the planes, a line for the model, and an upright line for the plane in view."""

    # It tells the number of the plane that was clicked on, or that a key asks for.
    pointed = Signal(int)

    def __init__(self):
        super().__init__()
        self.setMinimumHeight(160)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Intensity along the axis")
        self.setToolTip("Click on a plane to go there, or press the left and right arrow keys.")
        self._positions = np.empty(0)
        self._plane: int | None = None
        self._caption = Caption()
        # A PlotItem would make menus that outlive it.
        self._box = pg.ViewBox(enableMenu=False, enableMouse=False, defaultPadding=0.03)
        self.ci.addItem(self._caption, 0, 0, 1, 2)
        self.ci.addItem(self._box, 1, 1)
        for side, row, column in (("left", 1, 0), ("bottom", 2, 1)):
            self.add_axis(side, row, column).linkToView(self._box)
        self.ci.layout.setRowStretchFactor(1, 1)
        self.ci.layout.setColumnStretchFactor(1, 1)
        self.name_axis("left", "intensity")
        self._before, self._after = (
            pg.ScatterPlotItem(size=5, pen=None, brush=pg.mkBrush(color)) for color in (BEFORE, AFTER)
        )
        self._model = pg.PlotCurveItem(pen=pg.mkPen(MAPPING, width=2))
        for item in (self._before, self._after, self._model):
            self._box.addItem(item)
        self._here = pg.InfiniteLine()
        self._box.addItem(self._here, ignoreBounds=True)
        self.scene().sigMouseClicked.connect(self._on_click)
        self.set_font(self._letters)
        self.empty()

    def sizeHint(self):
        """Qt's hook: it is narrow enough for a dock."""
        return QSize(280, 200)

    def wheelEvent(self, event):
        """Qt's hook: the wheel zooms nothing here, so it scrolls the dock."""
        event.ignore()

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
        self._plane = plane if plane is not None and plane < len(self._positions) else None
        self._here.setVisible(self._plane is not None)
        if self._plane is not None:
            self._here.setValue(self._positions[self._plane])
        self._say()

    def empty(self) -> None:
        """Show nothing."""
        nothing = np.empty(0)
        self.draw(nothing, nothing, nothing, nothing, "")
        self.place(None)

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        super().set_colors(background, text)
        self._here.setPen(pg.mkPen(text, width=1.5))
        self._say()

    def set_font(self, font) -> None:
        """Write as large as the rest of the window."""
        super().set_font(font)
        self._caption.set_font(font)

    def _say(self) -> None:
        legend = [(BEFORE, "●", "before"), (MAPPING, "━", "model"), (AFTER, "●", "after")]
        if self._plane is not None:
            legend.append((self._text, "┃", "plane in view"))
        self._caption.say(legend if len(self._positions) else [], "", self._text)

    def _on_click(self, event) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._box.sceneBoundingRect().contains(event.scenePos()):
            event.accept()
            self._point(self._box.mapSceneToView(event.scenePos()).x())

    def keyPressEvent(self, event):
        """Qt's hook."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in steps and self._plane is not None:
            plane = self._plane + steps[event.key()]
            self.pointed.emit(min(max(plane, 0), len(self._positions) - 1))
        else:
            super().keyPressEvent(event)

    def _point(self, position: float) -> None:
        if len(self._positions):
            self.pointed.emit(int(np.abs(self._positions - position).argmin()))

    def point_of(self, x: float, y: float):
        """Where in this widget a point of the plot lies; for tests and pictures."""
        return self.mapFromScene(self._box.mapViewToScene(QPointF(x, y)))

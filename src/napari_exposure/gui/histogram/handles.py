"""The items that can be dragged in the plot (contrast limits, gamma, percentiles), and the color bar."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QObject, Qt, Signal

from napari_exposure.gui.histogram.items import Curve, Handle, Line
from napari_exposure.gui.histogram.model import HistogramModel, gamma_at
from napari_exposure.gui.plotting import AFTER, PERCENTILE

# The color bar has this many colors.
STRIP = 256
# The names of the two percentiles stand at least this many pixels apart.
APART = 4


class Handles(QObject):
    """Draws a model's display and percentiles into a plot, and says by signals what the mouse wants.

    Parameters
    ----------
    model : HistogramModel
        Read; never written.
    box, strip : pyqtgraph.ViewBox
        The view boxes of the plot and of the color bar.
    parent : QObject
        Owns this object.
    """

    # The first argument is 0 for the lower and 1 for the upper line, the second the intensity.
    limit_dragged = Signal(int, float)
    percentile_dragged = Signal(int, float)
    gamma_dragged = Signal(float)

    def __init__(self, model: HistogramModel, box: pg.ViewBox, strip: pg.ViewBox, parent: QObject):
        super().__init__(parent)
        self._model, self._box = model, box
        self._setting = False
        self._strip = pg.ImageItem()
        strip.addItem(self._strip)
        self._transfer = self._add(Curve(), 20)
        self.gamma = self._add(Handle(size=11, symbol="o", movable=True), 30)
        self.gamma.setToolTip("Gamma of the display: drag it up or down.")
        self.gamma.sigPositionChanged.connect(self._drag_gamma)
        self.percentiles = [self._line(which, self.percentile_dragged, 21) for which in (0, 1)]
        self.limits = [self._line(which, self.limit_dragged, 25) for which in (0, 1)]
        self._names = [self._add(pg.TextItem(color=PERCENTILE), 22) for _ in (0, 1)]
        for line, which in zip((*self.percentiles, *self.limits), 2 * ("low", "high"), strict=True):
            kind = "contrast limit" if line in self.limits else "percentile"
            line.setToolTip(f"The {which} {kind}: drag it.")

    def _add(self, item, height: int):
        item.setZValue(height)
        # Items outside the data must not move the view.
        self._box.addItem(item, ignoreBounds=True)
        return item

    def _line(self, which: int, signal, height: int) -> Line:
        line = Line(movable=True)
        line.sigDragged.connect(lambda line: signal.emit(which, line.value()))
        # A line that the model did not follow returns to its place.
        line.sigPositionChangeFinished.connect(self.place)
        return self._add(line, height)

    @contextmanager
    def _quiet(self):
        """Mark moves of the handles as made by the program and not by the mouse."""
        before, self._setting = self._setting, True
        try:
            yield
        finally:
            self._setting = before

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        for item in self.limits:
            item.setPen(pg.mkPen(text, width=2))
            item.setHoverPen(pg.mkPen(text, width=4))
            item.grip = background
        for item in self.percentiles:
            item.setPen(pg.mkPen(PERCENTILE, width=1.5, style=Qt.PenStyle.DashLine))
            item.setHoverPen(pg.mkPen(PERCENTILE, width=4))
        self._transfer.setPen(pg.mkPen(text, width=1, style=Qt.PenStyle.DotLine))
        self.gamma.setPen(pg.mkPen(text, width=2))
        self.gamma.setBrush(pg.mkBrush(background))
        self.gamma.setHoverPen(pg.mkPen(AFTER, width=2))

    def set_font(self, font) -> None:
        """Write as large as the rest of the window."""
        for name in self._names:
            name.setFont(font)

    def place(self) -> None:
        """Put everything where the model has it."""
        with self._quiet():
            self.place_display()
            self.place_percentiles()

    def place_display(self) -> None:
        """Put limits, gamma and color bar where the model has them."""
        model = self._model
        display = model.display if model.tile is None and model.drawable() else None
        for item in (*self.limits, self._transfer, self.gamma, self._strip):
            item.setVisible(display is not None)
        if display is None:
            return
        low, high = self._box.viewRange()[0]
        with self._quiet():
            for line, value in zip(self.limits, display.contrast_limits, strict=True):
                line.setValue(value)
            inside = np.linspace(*display.contrast_limits, 65)
            x = np.clip(np.concatenate([[low], inside, [high]]), low, high)
            self._transfer.setData(x, display.level(x))
            self.gamma.setPos(*display.handle)
        values = low + (high - low) * (np.arange(STRIP) + 0.5) / STRIP
        colors = display.colors[np.round(255 * display.level(values)).astype(int)]
        self._strip.setImage(colors[:, None, :], autoLevels=False, rect=[low, 0, high - low, 1])

    def place_percentiles(self) -> None:
        """Put the lines of the percentiles where the model has them, and their names above the plot."""
        model = self._model
        values = model.percentile_lines() if model.tile is None else (math.nan, math.nan)
        low, high = self._box.viewRange()[0]
        for line, value, percent, name in zip(
            self.percentiles, values, (model.low, model.high), self._names, strict=True
        ):
            line.setVisible(math.isfinite(value))
            # A name without its line would say nothing.
            name.setVisible(math.isfinite(value) and low <= value <= high)
            if math.isfinite(value):
                name.setText(f"{percent:g} %")
                with self._quiet():
                    line.setValue(value)
        self._place_names(values)

    def _place_names(self, values) -> None:
        """Place the names left and right of their lines, apart from each other and inside the plot."""
        (low, high), (_, top) = self._box.viewRange()
        pixel = (high - low) / max(1.0, self._box.width())
        left, right = (name.boundingRect().width() * pixel if name.isVisible() else 0.0 for name in self._names)
        apart = APART * pixel
        # The lower name stands right of its line where there is no room on the left.
        first = values[0] if values[0] - left < low else values[0] - left
        first = min(first, high - right - left - apart) if left else low
        second = min(high - right, max(values[1], first + left + apart))
        for name, place in zip(self._names, (first, second), strict=True):
            if name.isVisible():
                name.setPos(place, top)

    def _drag_gamma(self) -> None:
        if not self._setting:
            gamma = gamma_at(self.gamma.pos().y())
            # The handle moves only up and down.
            with self._quiet():
                self.gamma.setPos(self._model.display.handle[0], 0.5**gamma)
            self.gamma_dragged.emit(gamma)

    @contextmanager
    def printed(self):
        """Hide grips and handles, which only the mouse needs, and lines beyond the plot.

        Some programs that draw an SVG do not clip such lines.
        """
        low, high = self._box.viewRange()[0]
        hidden = [item for item in (*self.limits, *self.percentiles) if not low <= item.value() <= high]
        hidden = [item for item in (self.gamma, *hidden) if item.isVisible()]
        grips = [line.grip for line in self.limits]
        for item in hidden:
            item.hide()
        for line in self.limits:
            line.grip = None
        try:
            yield
        finally:
            for item in hidden:
                item.show()
            for line, grip in zip(self.limits, grips, strict=True):
                line.grip = grip

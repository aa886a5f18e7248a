"""What the plots of the plugin have in common: the colors of the theme, and text as large as that of the window."""

from __future__ import annotations

import html

import pyqtgraph as pg
from napari.settings import get_settings
from qtpy.QtCore import QEvent
from qtpy.QtGui import QFont, QFontMetricsF

# These colors are told apart in both themes and by the color-blind.
AFTER, BEFORE, TILE, MAPPING, PERCENTILE = "#e69f00", "#56b4e9", "#dc143c", "#009e73", "#cc79a7"
# This many pixels lie between the numbers of an axis, its name and its line.
ROOM = 8


class Axis(pg.AxisItem):
    """An axis with fewer numbers where they would run into each other, as large letters in a narrow dock do."""

    def tickValues(self, least, most, size):
        """pyqtgraph's hook."""
        levels = super().tickValues(least, most, size)
        if self.orientation in ("top", "bottom") and levels:
            (step, values), *finer = levels
            texts = self.tickStrings(values, self.autoSIPrefixScale * self.scale, step)
            metrics = QFontMetricsF(self.style["tickFont"] or QFont())
            widest = 1.2 * max(map(metrics.horizontalAdvance, texts), default=0)
            while len(values) > 1 and widest > step / (most - least) * size:
                step *= 2
                values = [value for value in values if round(value / step) * step == value]
            levels = [(step, values), *finer]
        return levels


class PlotView(pg.GraphicsLayoutWidget):
    """A plot whose axes keep their size whatever their numbers are; otherwise it would jump while it is dragged.

    Attributes
    ----------
    axes : dict of pyqtgraph.AxisItem
        The axis of each side.
    """

    def __init__(self):
        super().__init__()
        self.axes: dict[str, pg.AxisItem] = {}
        # The upright axes have room for numbers as wide as these.
        self._widest = {"left": "000000", "right": "000000"}
        self._text, self._background = "#ffffff", "#000000"
        # napari's style sets a font for labels and buttons only, so this widget finds its own.
        self._letters = self._find_font()
        self.ci.setContentsMargins(2, 2, 2, 2)
        self.ci.setSpacing(0)

    def add_axis(self, side: str, row: int, column: int) -> pg.AxisItem:
        """Put an axis into a cell of the layout."""
        axis = self.axes[side] = Axis(side)
        axis.enableAutoSIPrefix(False)
        # The first and the last number of a horizontal axis may reach into the empty corners.
        axis.setStyle(hideOverlappingLabels=side in ("left", "right"))
        self.ci.addItem(axis, row, column)
        return axis

    def make_room(self, side: str, widest: str) -> None:
        """Let an upright axis have room for this number."""
        self._widest[side] = widest
        self._fit_axis(side)

    def name_axis(self, side: str, name: str) -> None:
        """Write what the numbers of an axis mean; nothing where the name is empty."""
        axis = self.axes[side]
        # pyqtgraph reads the name as HTML, and users name the axes of a layer as they like.
        name = html.escape(name)
        if name != axis.labelText or bool(name) != axis.label.isVisible():
            axis.setLabel(name)
            axis.showLabel(bool(name))
            self._fit_axis(side)

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        self._background, self._text = background, text
        self.setBackground(background)
        for axis in self.axes.values():
            axis.setPen(pg.mkPen(text, width=1))
            axis.setTextPen(text)

    def set_font(self, font: QFont) -> None:
        """Write as large as the rest of the window."""
        self._letters = font
        for side, axis in self.axes.items():
            axis.setTickFont(font)
            axis.label.setFont(font)
            self._fit_axis(side)

    def _find_font(self) -> QFont:
        font = QFont(self.font())
        font.setPointSize(get_settings().appearance.font_size)
        return font

    def changeEvent(self, event):
        """Qt's hook: with another theme or another size of text napari sets its style anew."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self.set_font(self._find_font())

    @property
    def line_height(self) -> float:
        """Pixels from one line of text to the next."""
        return QFontMetricsF(self._letters).height()

    def _fit_axis(self, side: str) -> None:
        axis = self.axes[side]
        name = self.line_height if axis.label.isVisible() else 0
        if side in ("left", "right"):
            axis.setWidth(QFontMetricsF(self._letters).horizontalAdvance(self._widest[side]) + name + ROOM)
        else:
            axis.setHeight(self.line_height + name + ROOM)

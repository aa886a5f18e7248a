"""What the plots of the plugin have in common: the colors of the theme, and text as large as that of the window."""

from __future__ import annotations

import html

import numpy as np
import pyqtgraph as pg
from napari.settings import get_settings
from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QPointF, Qt, Signal
from qtpy.QtGui import QFont, QFontMetricsF

from napari_exposure.gui.histogram.caption import Caption

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

    def follow_theme(self, viewer) -> None:
        """Take the colors that a viewer has now."""
        theme = get_theme(viewer.theme)
        self.set_colors(theme.background.as_hex(), theme.text.as_hex())

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
        if event.type() == QEvent.Type.StyleChange and (font := self._find_font()) != self._letters:
            self.set_font(font)

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


class FramedPlot(PlotView):
    """A caption above a box, with axes on its left and below it.

    Parameters
    ----------
    box : pyqtgraph.ViewBox
    single : bool
        Whether the caption has one line.
    """

    def __init__(self, box: pg.ViewBox, single: bool = False):
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._caption, self._box = Caption(single=single), box
        self.ci.addItem(self._caption, 0, 0, 1, 2)
        self.ci.addItem(box, 1, 1)
        for side, row, column in (("left", 1, 0), ("bottom", 2, 1)):
            self.add_axis(side, row, column).linkToView(box)
        self.ci.layout.setRowStretchFactor(1, 1)
        self.ci.layout.setColumnStretchFactor(1, 1)
        self.set_font(self._letters)

    def set_font(self, font: QFont) -> None:
        """Write as large as the rest of the window."""
        super().set_font(font)
        self._caption.set_font(font)

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        super().set_colors(background, text)
        self._say()

    def _say(self) -> None:
        """Write the caption."""

    def point_of(self, x: float, y: float):
        """Where in this widget a point of the plot lies; for tests and pictures."""
        return self.mapFromScene(self._box.mapViewToScene(QPointF(x, y)))


class AlongAxis(FramedPlot):
    """A framed plot of the planes or time points along an axis, with a line at the one in view.

    Parameters
    ----------
    name : str
        For screen readers.
    tooltip : str
    padding : float
        The part of the box that is left free beside what is drawn.
    """

    # It tells the number that was clicked on, or that a key asks for.
    pointed = Signal(int)

    def __init__(self, name: str, tooltip: str, padding: float):
        # A PlotItem would make menus that outlive it.
        super().__init__(pg.ViewBox(enableMenu=False, enableMouse=False, defaultPadding=padding))
        self.setAccessibleName(name)
        self.setToolTip(f"{tooltip} Click to go there, or press the left and right arrow keys.")
        self.name_axis("left", "intensity")
        self._at: int | None = None
        self._here = pg.InfiniteLine()
        self._here.setZValue(10)
        self._box.addItem(self._here, ignoreBounds=True)
        self.scene().sigMouseClicked.connect(self._on_click)

    def wheelEvent(self, event):
        # The wheel zooms nothing here, so it scrolls the dock.
        event.ignore()

    def _positions_of(self) -> np.ndarray:
        """Where each of the planes or time points is drawn."""
        raise NotImplementedError

    def _mark(self, at: int | None) -> None:
        """Mark one of them; None where none is in view."""
        positions = self._positions_of()
        self._at = at if at is not None and 0 <= at < len(positions) else None
        self._here.setVisible(self._at is not None)
        if self._at is not None:
            self._here.setValue(positions[self._at])
        self._say()

    def _on_click(self, event) -> None:
        positions, place = self._positions_of(), event.scenePos()
        left = event.button() == Qt.MouseButton.LeftButton
        if left and len(positions) and self._box.sceneBoundingRect().contains(place):
            event.accept()
            self.pointed.emit(int(np.abs(positions - self._box.mapSceneToView(place).x()).argmin()))

    def keyPressEvent(self, event):
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        if event.key() in steps and self._at is not None:
            self.pointed.emit(min(max(self._at + steps[event.key()], 0), len(self._positions_of()) - 1))
        else:
            super().keyPressEvent(event)

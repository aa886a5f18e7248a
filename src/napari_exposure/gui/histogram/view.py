"""The plot of a HistogramModel with axes, zoom and readout; it never changes the model."""

from __future__ import annotations

import pyqtgraph as pg
from qtpy.QtCore import QPointF, QSize, Qt

from napari_exposure.core.words import as_tooltip
from napari_exposure.gui.histogram.caption import Caption
from napari_exposure.gui.histogram.curves import Curves
from napari_exposure.gui.histogram.handles import Handles
from napari_exposure.gui.histogram.items import Curve, Line
from napari_exposure.gui.histogram.model import HistogramModel
from napari_exposure.gui.histogram.picture import save_picture
from napari_exposure.gui.histogram.survey import short
from napari_exposure.gui.plotting import AFTER, PlotView

# A compact plot has this many pixels, and room for so many lines of text: about 140 pixels with the usual font.
COMPACT, COMPACT_LINES = 84, 4
# A plot with axes is at least this many pixels plus this many lines of text high.
LEAST, LINES = 130, 8
# A key pans by this fraction of the view, or narrows the view to this fraction.
PAN, ZOOM = 0.1, 0.8


class HistogramView(PlotView):
    """Bars, cumulative distributions, handles that can be dragged, and the color bar.

    Parameters
    ----------
    model : HistogramModel
        The view reads it and listens to it, and never writes to it.
    compact : bool
        Whether the height is fixed and the axes of counts and fractions are left out.
    """

    def __init__(self, model: HistogramModel, *, compact: bool = False):
        super().__init__()
        self._compact = compact
        self._model = model
        self._setting = False
        self._extent: tuple[float, float] | None = None
        # What is drawn, and the range of the view that shows all of it.
        self._subject: tuple[bool, object] | None = None
        self._all: list[float] | None = None
        self.setMinimumWidth(220)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Histogram")
        self._build()
        events = model.events
        events.log.connect(self._make_room)
        for signal in (events.content, events.log, events.tile):
            signal.connect(self.draw)
        for signal in (events.low, events.high):
            signal.connect(self.handles.place_percentiles)
        events.display.connect(self._show_display)
        events.progress.connect(self._place_progress)
        self.set_font(self._letters)
        self.draw()

    def sizeHint(self):
        return QSize(300, self.minimumHeight()) if self._compact else QSize(380, 300)

    # --- parts that are always there ---

    def _build(self) -> None:
        layout = self.ci
        self._title = Caption(single=self._compact)
        layout.addItem(self._title, 0, 0, 1, 3)
        self.box = pg.ViewBox(enableMenu=False)
        self.box.setMouseEnabled(x=True, y=False)
        strip = pg.ViewBox(enableMenu=False, enableMouse=False)
        strip.setFixedHeight(6 if self._compact else 10)
        strip.setYRange(0, 1, padding=0)
        strip.setXLink(self.box)
        for side, row, column in (("top", 1, 1), ("left", 2, 0), ("right", 2, 2), ("bottom", 4, 1)):
            self.add_axis(side, row, column)
        layout.addItem(self.box, 2, 1)
        layout.addItem(strip, 3, 1)
        layout.layout.setRowStretchFactor(2, 1)
        layout.layout.setColumnStretchFactor(1, 1)
        self.axes["right"].setTicks([[(n / 5, f"{n / 5:g}") for n in range(6)]])
        for side, name in (("left", "voxels"), ("right", "CDF")):
            self.axes[side].setVisible(not self._compact)
            self.name_axis(side, name)
        self.make_room("right", "0.0")
        self._make_room()
        self._curves = Curves(self._model, self.box, self.axes["left"])
        self.handles = Handles(self._model, self.box, strip, self)
        self._progress = self._add(Curve(), 5)
        self._message = self._add(pg.TextItem(anchor=(0.5, 0.5)), 40)
        self._edges = [self._add(pg.TextItem(anchor=(side, 0)), 40) for side in (0, 1)]
        self._pointed = self._add(Line(), 35)
        self._readout = self._add(pg.TextItem(), 45)
        self._point_at(None)
        self.box.sigXRangeChanged.connect(self._on_range)
        self.box.sigResized.connect(self._on_range)
        self.scene().sigMouseClicked.connect(self._on_click)
        self.scene().sigMouseMoved.connect(self._point_at)

    def _make_room(self) -> None:
        if not self._compact:
            # Powers of ten need less room.
            self.make_room("left", "000" if self._model.log else "0000000")

    def _add(self, item, height: int):
        item.setZValue(height)
        # Items outside the data must not move the view.
        self.box.addItem(item, ignoreBounds=True)
        return item

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        super().set_colors(background, text)
        self.handles.set_colors(background, text)
        self._progress.setPen(pg.mkPen(AFTER, width=4))
        self._pointed.setPen(pg.mkPen(text, width=1, style=Qt.PenStyle.DotLine))
        self._readout.fill = pg.mkBrush(background)
        self._readout.border = pg.mkPen(text, width=1)
        self._readout.setColor(text)
        self.draw()

    def set_font(self, font) -> None:
        """Write as large as the rest of the window."""
        super().set_font(font)
        self._title.set_font(font)
        self.handles.set_font(font)
        for item in (self._message, self._readout, *self._edges):
            item.setFont(font)
        if self._compact:
            for side in ("left", "right"):
                self.axes[side].setWidth(0)
            self.setFixedHeight(round(COMPACT + COMPACT_LINES * self.line_height))
        else:
            # Below this height the lines of text and the axes would leave no plot.
            self.setMinimumHeight(round(LEAST + LINES * self.line_height))
        self._on_range()

    # --- drawing ---

    def draw(self) -> None:
        """Draw all of the model again."""
        model = self._model
        tile = model.tile
        two_axes = tile is None and model.compared
        self.axes["top"].setVisible(two_axes)
        if not self._compact:
            self.name_axis("bottom", model.content.unit)
        extent = (tile.edges[0], tile.edges[-1]) if tile is not None else model.extent()
        before, self._setting = self._setting, True
        subject = tile is None, model.main and model.main.name
        zoomed = subject == self._subject and self.box.viewRange()[0] != self._all
        self._extent = extent
        self._limit_zoom()
        # The zoom stays when a slider changes what is counted.
        if not zoomed:
            self.show_all()
        self._subject, self._setting = subject, before
        self._point_at(None)
        self._on_range()

    def show_all(self) -> None:
        """Zoom out to all intensities, as a double click does."""
        low, high, room = self._ends()
        self.box.setXRange(low - room, high + room, padding=0)
        self._all = self.box.viewRange()[0]

    def _ends(self) -> tuple[float, float, float]:
        """Return the lowest and highest intensity, and the margin beside them."""
        low, high = self._extent or (0.0, 0.0)
        if not low < high:
            low, high = low - 0.5, high + 0.5
        return low, high, 0.02 * (high - low)

    def _limit_zoom(self) -> None:
        low, high, room = self._ends()
        limits = self._model.display.contrast_limits if self._model.display else (low, high)
        least, most = min(low, limits[0]) - room, max(high, limits[1]) + room
        self.box.setLimits(xMin=least, xMax=most, minXRange=1e-6 * (high - low))

    def _show_display(self) -> None:
        if self._model.display is not None and self._extent is not None:
            before, self._setting = self._setting, True
            self._limit_zoom()
            self._setting = before
        self.handles.place_display()

    def _on_range(self) -> None:
        """Draw what depends on the visible part of the axis and on the size of the plot."""
        if self._setting or self._extent is None:
            return
        # One line above the bars is left for the names of the percentiles.
        line, height = self.line_height + 4, self.box.height()
        self.box.setYRange(0, 1 / (1 - min(0.5, line / max(1.0, height))), padding=0)
        (low, high), (_, top) = self.box.viewRange()
        self.axes["bottom"].setRange(low, high)
        self.axes["right"].setRange(0, top)
        if self._model.compared:
            offset, factor = self._model.before_axis()
            self.axes["top"].setRange((low - offset) / factor, (high - offset) / factor)
        self._curves.draw(self._text)
        self._say()
        self.handles.place()
        self._place_progress()

    def _say(self) -> None:
        """Write the lines above the plot, and how many voxels lie beyond either end of the view."""
        model, legend = self._model, self._curves.legend
        main, tile = model.main, model.tile
        # The caption names the first layer, which the numbers, lines and buttons refer to.
        counted = "" if main is None else f"{short(main.name)}: {main.coverage}" if len(legend) > 1 else main.coverage
        if tile is not None:
            counted = tile.title
        if self._compact:
            self.setToolTip(as_tooltip(counted))
            legend = [entry for entry in legend if entry[1] == "■"]
            counted = "" if main is None or main.whole else main.coverage
        self._title.say(legend, counted, self._text)
        ends, texts = self.box.viewRange()[0], ("◂ {:,}", "{:,} ▸")
        for item, count, where, text in zip(self._edges, self._curves.outside, ends, texts, strict=True):
            item.setVisible(count > 0)
            if count:
                item.setText(text.format(count), color=self._text)
                item.setPos(where, 1)

    def _place_progress(self) -> None:
        progress = self._model.progress
        (low, high), (_, top) = self.box.viewRange()
        self._progress.setVisible(progress is not None)
        if progress is not None:
            self._progress.setData([low, low + progress * (high - low)], [top, top])
        sentence = self._model.content.message
        if progress is not None and self._model.main is None:
            sentence = f"Counting … {progress:.0%}"
        self._message.setVisible(bool(sentence))
        self._message.setText(sentence, color=self._text)
        self._message.setTextWidth(max(100, 0.9 * self.box.width()))
        self._message.setPos((low + high) / 2, 0.55)

    # --- mouse and keys ---

    def _point_at(self, place) -> None:
        """Describe what is under the mouse, which is at this point of the scene, or outside with None."""
        inside = place is not None and self.box.sceneBoundingRect().contains(place)
        x = self.box.mapSceneToView(place).x() if inside else 0.0
        words = self._curves.under(x) if inside else ""
        for item in (self._pointed, self._readout):
            item.setVisible(bool(words))
        if words:
            self._pointed.setValue(x)
            self._readout.setTextWidth(-1)
            self._readout.setHtml(words)
            wide, room = self._readout.boundingRect().width(), self.box.width()
            if wide > room:
                self._readout.setTextWidth(room)
            # The readout stays beside the mouse and inside the plot.
            (low, high), pixel = self.box.viewRange()[0], self.box.viewPixelSize()[0]
            self._readout.setPos(max(low, min(x, high - wide * pixel)), 1)

    def leaveEvent(self, event):
        """Hide the readout; Qt calls this."""
        super().leaveEvent(event)
        self._point_at(None)

    def _on_click(self, event) -> None:
        if event.double():
            event.accept()
            self.show_all()

    def keyPressEvent(self, event):
        """Pan by arrows, zoom by plus and minus, show all by Home; Qt calls this."""
        low, high = self.box.viewRange()[0]
        middle, half = (low + high) / 2, (high - low) / 2
        pans = {Qt.Key.Key_Left: -PAN, Qt.Key.Key_Right: PAN}
        zooms = {Qt.Key.Key_Plus: ZOOM, Qt.Key.Key_Equal: ZOOM, Qt.Key.Key_Minus: 1 / ZOOM}
        if event.key() in pans:
            self.box.translateBy(x=pans[event.key()] * 2 * half)
        elif event.key() in zooms:
            half *= zooms[event.key()]
            self.box.setXRange(middle - half, middle + half, padding=0)
        elif event.key() == Qt.Key.Key_Home:
            self.show_all()
        else:
            super().keyPressEvent(event)

    # --- pictures ---

    def export(self, path: str) -> None:
        """Save the plot as SVG or PNG, whichever the name ends with: black on white, without handles."""
        theme = self._background, self._text
        self.set_colors("#ffffff", "#000000")
        try:
            with self.handles.printed():
                save_picture(self, path, self._background)
        finally:
            self.set_colors(*theme)

    def point_of(self, x: float, y: float):
        """Return where in this widget a point of the plot lies; tests and pictures need it."""
        return self.mapFromScene(self.box.mapViewToScene(QPointF(x, y)))

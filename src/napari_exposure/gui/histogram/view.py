"""Draws a HistogramModel with pyqtgraph, and says by signals what the mouse wants; changes nothing itself."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QPointF, QSize, Qt, Signal

from napari_exposure.gui.histogram.caption import Caption
from napari_exposure.gui.histogram.items import Curve, Handle, Line
from napari_exposure.gui.histogram.model import Display, HistogramModel, gamma_at
from napari_exposure.gui.histogram.picture import save_picture
from napari_exposure.gui.histogram.survey import short

AFTER, BEFORE, TILE, MAPPING, PERCENTILE = "#e69f00", "#56b4e9", "#dc143c", "#009e73", "#cc79a7"
# the plot is 1 high, whatever it shows: counts up to here, fractions all of it
TOP = 1.06
MOST_BARS = 256
STRIP = 256
# pixels of height
COMPACT = 140


class HistogramView(pg.GraphicsLayoutWidget):
    """Bars, CDF, lines, handles and the colour bar.

    Parameters
    ----------
    model : HistogramModel
        Read, and listened to; never written.
    compact : bool
        Of a fixed height, without the axes of counts and fractions.
    """

    # 0 or 1, and the intensity
    limit_dragged = Signal(int, float)
    percentile_dragged = Signal(int, float)
    gamma_dragged = Signal(float)

    def __init__(self, model: HistogramModel, *, compact: bool = False):
        super().__init__()
        self._compact = compact
        self._model = model
        self._text, self._background = "#ffffff", "#000000"
        self._setting = False
        self._extent: tuple[float, float] | None = None
        # what is drawn, and the view when all of it is shown
        self._subject: tuple[bool, object] | None = None
        self._all: list[float] | None = None
        self._items: list = []
        # with two lines of text and two axes above each other there is still a plot
        self.setMinimumSize(220, COMPACT if compact else 260)
        if compact:
            self.setMaximumHeight(COMPACT)
        self._build()
        events = model.events
        for signal in (events.content, events.log, events.tile):
            signal.connect(self.draw)
        for signal in (events.low, events.high):
            signal.connect(self._place_percentiles)
        events.display.connect(self._place_display)
        events.progress.connect(self._place_progress)
        self.draw()

    def sizeHint(self):
        """Narrow enough for a dock."""
        return QSize(300, COMPACT) if self._compact else QSize(380, 300)

    # --- parts that are always there ---

    def _build(self) -> None:
        layout = self.ci
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(0)
        self._title = Caption(single=self._compact)
        layout.addItem(self._title, 0, 0, 1, 3)
        self._axes = {side: pg.AxisItem(side) for side in ("top", "left", "right", "bottom")}
        for axis in self._axes.values():
            axis.enableAutoSIPrefix(False)
        self._box = pg.ViewBox(enableMenu=False)
        self._box.setMouseEnabled(x=True, y=False)
        self._box.setYRange(0, TOP, padding=0)
        self._strip_box = pg.ViewBox(enableMenu=False, enableMouse=False)
        self._strip_box.setFixedHeight(6 if self._compact else 10)
        self._strip_box.setYRange(0, 1, padding=0)
        self._strip_box.setXLink(self._box)
        layout.addItem(self._axes["top"], 1, 1)
        layout.addItem(self._axes["left"], 2, 0)
        layout.addItem(self._box, 2, 1)
        layout.addItem(self._axes["right"], 2, 2)
        layout.addItem(self._axes["bottom"], 3, 1)
        layout.addItem(self._strip_box, 4, 1)
        layout.layout.setRowStretchFactor(2, 1)
        layout.layout.setColumnStretchFactor(1, 1)
        # widths that do not follow the numbers: otherwise the plot jumps while it is dragged
        self._axes["right"].setRange(0, TOP)
        for side, width, label in (("left", 58, "voxels"), ("right", 44, "CDF")):
            self._axes[side].setVisible(not self._compact)
            self._axes[side].setWidth(0 if self._compact else width)
            self._axes[side].setLabel(label)

        self._strip = pg.ImageItem()
        self._strip_box.addItem(self._strip)
        self._transfer = self._add(Curve(), 20)
        self._handle = self._add(Handle(size=11, symbol="o", movable=True), 30)
        self._handle.sigPositionChanged.connect(self._drag_handle)
        self._percentiles = [self._line(which, self.percentile_dragged, 21) for which in (0, 1)]
        self._limits = [self._line(which, self.limit_dragged, 25) for which in (0, 1)]
        self._progress = self._add(Curve(), 5)
        self._message = self._add(pg.TextItem(anchor=(0.5, 0.5)), 40)
        self._edges = [self._add(pg.TextItem(anchor=(side, 0)), 40) for side in (0, 1)]
        self._box.sigXRangeChanged.connect(self._on_range)
        self._box.sigResized.connect(self._on_range)
        self.scene().sigMouseClicked.connect(self._on_click)

    def _add(self, item, height):
        item.setZValue(height)
        # what is outside the data must not move the view
        self._box.addItem(item, ignoreBounds=True)
        return item

    def _line(self, which, signal, height):
        line = Line(movable=True, label="", labelOpts={"position": 0.94})
        line.sigDragged.connect(lambda line: signal.emit(which, line.value()))
        # where the model did not follow, back to where it is
        line.sigPositionChangeFinished.connect(self._place_lines)
        return self._add(line, height)

    @contextmanager
    def _quiet(self):
        """Items that are placed here are not being dragged."""
        before, self._setting = self._setting, True
        try:
            yield
        finally:
            self._setting = before

    def set_colors(self, background: str, text: str) -> None:
        """Follow a theme."""
        self._background, self._text = background, text
        self.setBackground(background)
        for axis in self._axes.values():
            axis.setPen(pg.mkPen(text, width=1))
            axis.setTextPen(text)
        line = pg.mkPen(text, width=2)
        shade = pg.mkColor(background)
        shade.setAlphaF(0.6)
        for item in self._limits:
            item.setPen(line)
            item.setHoverPen(pg.mkPen(text, width=4))
        for item in self._percentiles:
            item.setPen(pg.mkPen(PERCENTILE, width=1.5, style=Qt.PenStyle.DashLine))
            item.setHoverPen(pg.mkPen(PERCENTILE, width=4))
            item.label.setColor(PERCENTILE)
            item.label.fill = pg.mkBrush(shade)
        self._transfer.setPen(pg.mkPen(text, width=1, style=Qt.PenStyle.DotLine))
        self._handle.setPen(pg.mkPen(text, width=2))
        self._handle.setBrush(pg.mkBrush(background))
        self._handle.setHoverPen(pg.mkPen(AFTER, width=2))
        self._progress.setPen(pg.mkPen(AFTER, width=4))
        self.draw()

    # --- drawing ---

    def draw(self) -> None:
        """Draw all of the model again."""
        model = self._model
        tile = model.tile
        two_axes = tile is None and model.compared
        self._axes["top"].setVisible(two_axes)
        self._axes["top"].setHeight(None if two_axes else 0)
        if not self._compact:
            self._axes["bottom"].setLabel(model.content.unit)
        extent = (tile.edges[0], tile.edges[-1]) if tile is not None else model.extent()
        with self._quiet():
            subject = tile is None, model.main and model.main.name
            zoomed = subject == self._subject and self._box.viewRange()[0] != self._all
            self._extent = extent
            self._limit_zoom()
            # a slider that changes what is counted leaves the zoom as it is
            if not zoomed:
                self.show_all()
            self._subject = subject
            self._draw_curves()
            self._place_display()
            self._place_percentiles()
            self._place_progress()

    def show_all(self) -> None:
        """Zoom out to all intensities, as a double click does."""
        low, high, room = self._ends()
        self._box.setXRange(low - room, high + room, padding=0)
        self._all = self._box.viewRange()[0]

    def _ends(self) -> tuple[float, float, float]:
        """The least and greatest intensity, and room beside them."""
        low, high = self._extent or (0.0, 0.0)
        if not low < high:
            low, high = low - 0.5, high + 0.5
        return low, high, 0.02 * (high - low)

    def _limit_zoom(self) -> None:
        low, high, room = self._ends()
        limits = self._model.display.contrast_limits if self._model.display else (low, high)
        least, most = min(low, limits[0]) - room, max(high, limits[1]) + room
        self._box.setLimits(xMin=least, xMax=most, minXRange=1e-6 * (high - low))

    def _draw_curves(self) -> None:
        for item in self._items:
            self._box.removeItem(item)
        self._items = []
        if self._model.tile is not None:
            self._draw_tile(self._model.tile)
        else:
            self._draw_histograms()

    def _draw_histograms(self) -> None:
        model = self._model
        curves = model.drawable()
        legend = []
        shown = [(curve, *self._look(curve)) for curve in curves]
        bars = [self._bars(curve, offset, factor) for curve, _, (offset, factor), _ in shown]
        most = max((int(found.counts.max()) for found, _, _ in bars), default=1)
        scale = self._count_axis(max(most, 1))
        outside = 0, 0
        for (curve, colour, _, filled), (found, edges, cdf) in zip(shown, bars, strict=True):
            brush = pg.mkColor(colour)
            brush.setAlphaF(0.55 if filled else 0.25)
            pen = None if filled else pg.mkPen(colour, width=1)
            self._draw_steps(edges, scale(found.counts), brush, pen)
            x, y = cdf
            self._draw_line(x, y, pg.mkPen(colour, width=2))
            legend.append((colour, "■", curve.name))
            if curve is model.main:
                outside = found.below, found.above
        if mapping := model.mapping():
            values, level = mapping
            offset, factor = model.before_axis()
            self._draw_line(offset + factor * values, level, pg.mkPen(MAPPING, width=2, style=Qt.PenStyle.DashLine))
            legend.append((MAPPING, "┅", "input to output"))
        main = model.main
        # the numbers, lines and buttons are those of the first
        counted = "" if main is None else f"{short(main.name)}: {main.coverage}" if len(legend) > 1 else main.coverage
        if self._compact:
            self.setToolTip(counted)
            legend = [entry for entry in legend if entry[1] == "■"]
            counted = "" if main is None or main.whole else main.coverage
        self._title.say(legend, counted, self._text)
        self._say_outside(*outside)

    def _look(self, curve):
        """Colour, offset and factor of intensities, and whether bars are filled."""
        content = self._model.content
        if self._model.compared:
            if curve is content.before:
                return BEFORE, self._model.before_axis(), False
            return AFTER, (0.0, 1.0), True
        colour = self._text if curve.colour is None else "#{:02x}{:02x}{:02x}".format(*curve.colour)
        return colour, (0.0, 1.0), len(content.curves) == 1

    def _bars(self, curve, offset, factor):
        low, high = self._box.viewRange()[0]
        bars = min(MOST_BARS, max(64, int(self._box.width())))
        low, high = (low - offset) / factor, (high - offset) / factor
        found = curve.histogram.rebin(low, high, bars)
        # level to both sides of the data
        start = found.below / max(found.total, 1)
        x = np.concatenate([[min(low, found.edges[0])], found.edges, [max(high, found.edges[-1])]])
        cdf = offset + factor * x, np.concatenate([[start, start], found.cdf, found.cdf[-1:]])
        return found, offset + factor * found.edges, cdf

    def _draw_tile(self, tile) -> None:
        limit = tile.limit or 0
        scale = self._count_axis(max(1, int(tile.counts.max()), math.ceil(limit)))
        brush = pg.mkColor(TILE)
        brush.setAlphaF(0.45)
        self._draw_steps(tile.edges, scale(tile.counts), brush, None)
        self._draw_steps(tile.edges, scale(tile.clipped), None, pg.mkPen(self._text, width=1))
        legend = [(TILE, "■", "tile"), (self._text, "□", "clipped")]
        if tile.limit is not None:
            line = Line(float(scale(tile.limit)), angle=0, pen=pg.mkPen(TILE, style=Qt.PenStyle.DashLine))
            self._keep(line)
            legend.append((TILE, "┅", f"clip limit {tile.limit:,.0f}"))
        self._draw_line(tile.edges, tile.function, pg.mkPen(AFTER, width=2.5))
        legend.append((AFTER, "━", "its function"))
        self._title.say(legend, tile.title, self._text)
        self._say_outside(0, 0)

    def _count_axis(self, most: int):
        """Number the left axis, and return the function from counts to heights in the plot."""
        axis = self._axes["left"]
        if not self._model.log:
            axis.setLogMode(x=False, y=False)
            axis.setRange(0, TOP * most)
            return lambda counts: np.asarray(counts) / most
        # a bar of one voxel has a height too
        bottom = math.log10(0.7)
        height = math.log10(max(most, 2)) - bottom
        axis.setLogMode(x=False, y=True)
        axis.setRange(bottom, bottom + TOP * height)
        return lambda counts: np.clip((np.log10(np.maximum(counts, 0.5)) - bottom) / height, 0, None)

    def _draw_steps(self, edges, heights, brush, pen):
        edges = np.clip(edges, *self._box.viewRange()[0])
        self._keep(Curve(edges, heights, stepMode="center", fillLevel=0, brush=brush, pen=pen))

    def _draw_line(self, x, y, pen):
        self._keep(Curve(*self._in_view(x, y), pen=pen, antialias=True))

    def _in_view(self, x, y) -> tuple[np.ndarray, np.ndarray]:
        """The part of a line from left to right that is seen: not every program that draws an SVG cuts the rest off."""
        ends = np.clip([x[0], x[-1]], *self._box.viewRange()[0])
        inside = (ends[0] < x) & (x < ends[1])
        heights = np.interp(ends, x, y)
        return np.insert(ends, 1, x[inside]), np.insert(heights, 1, y[inside])

    def _keep(self, item):
        item.setZValue(10)
        self._box.addItem(item, ignoreBounds=True)
        self._items.append(item)

    def _say_outside(self, below: int, above: int) -> None:
        """How many voxels lie beyond either end of the view."""
        ends, texts = self._box.viewRange()[0], ("◂ {:,}", "{:,} ▸")
        for item, count, where, text in zip(self._edges, (below, above), ends, texts, strict=True):
            item.setVisible(count > 0)
            if count:
                item.setText(text.format(count), color=self._text)
                item.setPos(where, TOP)

    # --- lines, handle, colour bar ---

    def _place_lines(self) -> None:
        with self._quiet():
            self._place_display()
            self._place_percentiles()

    def _place_display(self) -> None:
        display: Display | None = self._model.display if self._model.tile is None and self._model.drawable() else None
        for item in (*self._limits, self._transfer, self._handle, self._strip):
            item.setVisible(display is not None)
        if display is None:
            return
        with self._quiet():
            self._limit_zoom()
        low, high = self._box.viewRange()[0]
        with self._quiet():
            for line, value in zip(self._limits, display.contrast_limits, strict=True):
                line.setValue(value)
            inside = np.linspace(*display.contrast_limits, 65)
            x = np.clip(np.concatenate([[low], inside, [high]]), low, high)
            self._transfer.setData(x, display.level(x))
            self._handle.setPos(*display.handle)
        values = low + (high - low) * (np.arange(STRIP) + 0.5) / STRIP
        colours = display.colours[np.round(255 * display.level(values)).astype(int)]
        self._strip.setImage(colours[:, None, :], autoLevels=False, rect=[low, 0, high - low, 1])

    def _place_percentiles(self) -> None:
        values = self._model.percentile_lines() if self._model.tile is None else (math.nan, math.nan)
        percents = self._model.low, self._model.high
        with self._quiet():
            for line, value, percent in zip(self._percentiles, values, percents, strict=True):
                line.setVisible(math.isfinite(value))
                if math.isfinite(value):
                    line.setValue(value)
                    line.label.setFormat(f"{percent:g} %")

    def _place_progress(self) -> None:
        progress = self._model.progress
        self._progress.setVisible(progress is not None)
        sentence = self._model.content.message
        if progress is not None and self._model.main is None:
            sentence = f"Counting … {progress:.0%}"
        self._message.setText(sentence, color=self._text)
        self._message.setVisible(bool(sentence))
        if progress is not None:
            low, high = self._box.viewRange()[0]
            self._progress.setData([low, low + progress * (high - low)], [TOP, TOP])

    # --- mouse ---

    def _on_range(self) -> None:
        low, high = self._box.viewRange()[0]
        self._axes["bottom"].setRange(low, high)
        if self._model.compared:
            offset, factor = self._model.before_axis()
            self._axes["top"].setRange((low - offset) / factor, (high - offset) / factor)
        self._message.setPos((low + high) / 2, 0.55)
        self._message.setTextWidth(max(100, 0.9 * self._box.width()))
        if not self._setting:
            self._draw_curves()
            self._place_display()
            self._place_progress()

    def _drag_handle(self) -> None:
        if not self._setting:
            gamma = gamma_at(self._handle.pos().y())
            # it moves up and down only
            with self._quiet():
                self._handle.setPos(self._model.display.handle[0], 0.5**gamma)
            self.gamma_dragged.emit(gamma)

    def _on_click(self, event) -> None:
        if event.double():
            event.accept()
            self.show_all()

    # --- pictures ---

    def export(self, path: str) -> None:
        """Save the plot as SVG or PNG, whichever the name ends with."""
        low, high = self._box.viewRange()[0]
        movable = (*self._limits, *self._percentiles, self._handle)
        # not every program that draws an SVG cuts off what is outside of the view
        outside = [item for item in movable if item.isVisible() and not low <= item.pos().x() <= high]
        for item in outside:
            item.hide()
        try:
            save_picture(self, path, self._background)
        finally:
            for item in outside:
                item.show()

    def point_of(self, x: float, y: float):
        """Where in this widget a point of the plot lies; for tests and pictures."""
        return self.mapFromScene(self._box.mapViewToScene(QPointF(x, y)))

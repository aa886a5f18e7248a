"""Draws what was counted: bars, cumulative distributions, the curve from input to output, and the tile."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt

from napari_exposure.gui.histogram import survey
from napari_exposure.gui.histogram.items import Curve, Line
from napari_exposure.gui.histogram.model import HistogramModel
from napari_exposure.gui.plotting import AFTER, BEFORE, MAPPING, TILE

MOST_BARS = 256


@dataclass(frozen=True, eq=False)
class Bars:
    """What is drawn of one curve.

    Attributes
    ----------
    curve : survey.Curve
    color : str
    edges, counts : numpy.ndarray
        Edges of the bars on the lower axis, and their voxels.
    below, above : int
        Numbers of voxels below and above the view.
    cdf : (numpy.ndarray, numpy.ndarray)
        Positions on the lower axis, and the fraction of voxels up to each.
    offset, factor : float
        An intensity v of the curve is drawn at offset + factor * v on the lower axis.
    """

    curve: survey.Curve
    color: str
    edges: np.ndarray
    counts: np.ndarray
    below: int
    above: int
    cdf: tuple[np.ndarray, np.ndarray]
    offset: float
    factor: float


class Curves:
    """Draws a model into a plot of height 1, to which counts are scaled and in which fractions are drawn as they are.

    Parameters
    ----------
    model : HistogramModel
        Read; never written.
    box : pyqtgraph.ViewBox
    counts : pyqtgraph.AxisItem
        The axis that shows the counts.

    Attributes
    ----------
    legend : list of (str, str, str)
        Color, mark and name of what was drawn.
    outside : (int, int)
        Numbers of voxels of the first curve below and above the view.
    """

    def __init__(self, model: HistogramModel, box: pg.ViewBox, counts: pg.AxisItem):
        self._model, self._box, self._axis = model, box, counts
        self._items: list = []
        self._bars: list[Bars] = []
        self._text = "#ffffff"
        self.legend: list[tuple[str, str, str]] = []
        self.outside = 0, 0

    def draw(self, text: str) -> None:
        """Draw everything anew; `text` is the color of items that have no color of their own."""
        for item in self._items:
            self._box.removeItem(item)
        self._items, self._bars, self.legend, self.outside = [], [], [], (0, 0)
        self._text = text
        if self._model.tile is not None:
            self._draw_tile(self._model.tile)
        else:
            self._draw_histograms()

    def under(self, x: float) -> str:
        """Describe the bars at a position of the lower axis as lines of HTML, empty where there is no bar."""
        tile = self._model.tile
        if tile is not None:
            return html.escape(tile.under(x))
        lines = []
        for bars in self._bars:
            number = int(np.searchsorted(bars.edges, x, side="right")) - 1
            if 0 <= number < len(bars.counts):
                low, high = (bars.edges[number : number + 2] - bars.offset) / bars.factor
                words = bars.curve.between(float(low), float(high), int(bars.counts[number]))
                lines.append(f"<span style='color:{bars.color}'>■</span> {html.escape(words)}")
        return "<br>".join(lines)

    def _draw_histograms(self) -> None:
        model = self._model
        self._bars = [self._count(curve) for curve in model.drawable()]
        scale = self._count_axis(max((int(bars.counts.max()) for bars in self._bars), default=1))
        for bars in self._bars:
            # The other curves are outlines, so that none hides another.
            filled = bars.curve is model.main and (model.compared or len(model.content.curves) == 1)
            brush = pg.mkColor(bars.color)
            brush.setAlphaF(0.55 if filled else 0.25)
            self._draw_steps(bars.edges, scale(bars.counts), brush, None if filled else pg.mkPen(bars.color, width=1))
            self._draw_line(*bars.cdf, pg.mkPen(bars.color, width=2))
            self.legend.append((bars.color, "■", bars.curve.name))
            if bars.curve is model.main:
                self.outside = bars.below, bars.above
        if mapping := model.mapping():
            values, level = mapping
            offset, factor = model.before_axis()
            self._draw_line(offset + factor * values, level, pg.mkPen(MAPPING, width=2, style=Qt.PenStyle.DashLine))
            self.legend.append((MAPPING, "┅", "input to output"))

    def _look(self, curve: survey.Curve) -> tuple[str, tuple[float, float]]:
        """Return the color of a curve, and the offset and factor of its intensities."""
        if self._model.compared:
            if curve is self._model.content.before:
                return BEFORE, self._model.before_axis()
            return AFTER, (0.0, 1.0)
        return self._text if curve.color is None else "#{:02x}{:02x}{:02x}".format(*curve.color), (0.0, 1.0)

    def _count(self, curve: survey.Curve) -> Bars:
        color, (offset, factor) = self._look(curve)
        number = min(MOST_BARS, max(64, int(self._box.width())))
        low, high = ((end - offset) / factor for end in self._box.viewRange()[0])
        found = curve.histogram.rebin(low, high, number)
        # The CDF is level on both sides of the data.
        start = found.below / max(found.total, 1)
        x = np.concatenate([[min(low, found.edges[0])], found.edges, [max(high, found.edges[-1])]])
        cdf = offset + factor * x, np.concatenate([[start, start], found.cdf, found.cdf[-1:]])
        edges = offset + factor * found.edges
        return Bars(curve, color, edges, found.counts, found.below, found.above, cdf, offset, factor)

    def _draw_tile(self, tile) -> None:
        scale = self._count_axis(max(1, int(tile.counts.max()), math.ceil(tile.limit or 0)))
        brush = pg.mkColor(TILE)
        brush.setAlphaF(0.45)
        self._draw_steps(tile.edges, scale(tile.counts), brush, None)
        self.legend.append((TILE, "■", "tile"))
        if tile.clipped is not None:
            self._draw_steps(tile.edges, scale(tile.clipped), None, pg.mkPen(self._text, width=1))
            self.legend.append((self._text, "□", "clipped"))
        if tile.limit is not None:
            line = Line(float(scale(tile.limit)), angle=0, pen=pg.mkPen(TILE, style=Qt.PenStyle.DashLine))
            self._keep(line)
            self.legend.append((TILE, "┅", f"clip limit {tile.limit:,.0f}"))
        if tile.ends is not None:
            for end in tile.ends:
                self._keep(Line(end, angle=90, pen=pg.mkPen(TILE, style=Qt.PenStyle.DashLine)))
            self.legend.append((TILE, "┅", "its percentiles {:.4g} and {:.4g}".format(*tile.ends)))
        self._draw_line(tile.edges, tile.function, pg.mkPen(AFTER, width=2.5))
        self.legend.append((AFTER, "━", "its function"))

    def _count_axis(self, most: int):
        """Number the axis of counts, and return the function from counts to heights in the plot."""
        axis, (_, top) = self._axis, self._box.viewRange()[1]
        most = max(most, 1)
        axis.setLogMode(x=False, y=self._model.log)
        if not self._model.log:
            axis.setRange(0, top * most)
            return lambda counts: np.asarray(counts) / most
        # The axis starts below 1, so that a bar of one voxel has a height.
        bottom = math.log10(0.7)
        height = math.log10(max(most, 2)) - bottom
        axis.setRange(bottom, bottom + top * height)
        return lambda counts: np.clip((np.log10(np.maximum(counts, 0.5)) - bottom) / height, 0, None)

    def _draw_steps(self, edges, heights, brush, pen) -> None:
        edges = np.clip(edges, *self._box.viewRange()[0])
        self._keep(Curve(edges, heights, stepMode="center", fillLevel=0, brush=brush, pen=pen))

    def _draw_line(self, x, y, pen) -> None:
        # Only the visible part is drawn, because some programs do not clip what an SVG has beyond it.
        ends = np.clip([x[0], x[-1]], *self._box.viewRange()[0])
        inside = (ends[0] < x) & (x < ends[1])
        heights = np.interp(ends, x, y)
        self._keep(
            Curve(np.insert(ends, 1, x[inside]), np.insert(heights, 1, y[inside]), pen=pen, antialias=True),
        )

    def _keep(self, item) -> None:
        item.setZValue(10)
        self._box.addItem(item, ignoreBounds=True)
        self._items.append(item)

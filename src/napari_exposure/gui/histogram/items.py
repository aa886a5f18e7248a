"""Curves and lines of the plot that hand their points to the painter in pixels.

The items of pyqtgraph give the painter intensities and a matrix that turns them into pixels.  On the screen this looks
the same.  But an SVG file keeps six digits of each number, which are too few in a narrow view, and some programs scale
the width of pens by the matrix, so that one line fills the plot.
"""

from __future__ import annotations

from contextlib import contextmanager

import pyqtgraph as pg
from qtpy.QtCore import QLineF, QPointF, QRectF, Qt
from qtpy.QtGui import QPainter

# A grip has this size in pixels, across and along its line, and lies at this fraction of the line from the bottom.
GRIP, GRIP_AT = (8.0, 22.0), 0.3


class Curve(pg.PlotCurveItem):
    """Steps or a line, filled down to ``fillLevel`` where there is a brush."""

    def paint(self, painter, option, widget=None):
        with _in_pixels(painter) as transform:
            path = transform.map(self.getPath())
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, self.opts["antialias"])
            if self.opts["brush"] is not None:
                painter.fillPath(path, self.opts["brush"])
            if self.opts["pen"] is not None:
                painter.strokePath(path, self.opts["pen"])


class Line(pg.InfiniteLine):
    """A level or upright line; if it can be dragged, the cursor shows it, and so does a grip of color `grip`."""

    grip: str | None = None

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        if self.movable:
            self.setCursor(Qt.CursorShape.SizeHorCursor)

    def paint(self, painter, option, widget=None):
        ends = self.boundingRect()
        with _in_pixels(painter) as transform:
            painter.setPen(self.currentPen)
            painter.drawLine(transform.map(QLineF(ends.left(), 0, ends.right(), 0)))
            if self.grip is not None:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                painter.setPen(pg.mkPen(self.grip, width=1))
                painter.setBrush(self.currentPen.brush())
                outline = QRectF(0, 0, *GRIP)
                outline.moveCenter(transform.map(QPointF(ends.left() + GRIP_AT * ends.width(), 0)))
                painter.drawRoundedRect(outline, 3, 3)


class Handle(pg.TargetItem):
    """A point that can be dragged."""

    def paint(self, painter, option, widget=None):
        with _in_pixels(painter) as transform:
            painter.setPen(self.currentPen)
            painter.setBrush(self.currentBrush)
            painter.drawPath(transform.map(self.shape()))


@contextmanager
def _in_pixels(painter: QPainter):
    """Yield the matrix of a painter, and let it paint in pixels meanwhile."""
    painter.save()
    transform = painter.transform()
    painter.resetTransform()
    try:
        yield transform
    finally:
        painter.restore()

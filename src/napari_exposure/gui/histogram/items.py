"""Curves and lines of the plot that hand their points to the painter in pixels.

pyqtgraph's own hand over intensities, and a matrix that makes pixels of them.  On the screen this is the same.  An SVG
file keeps six digits of each number, which are too few where the view is narrow, and not every program that draws it
knows pens whose width does not follow the matrix: it fills the plot with a line that is 100 intensities wide.
"""

from __future__ import annotations

from contextlib import contextmanager

import pyqtgraph as pg
from qtpy.QtCore import QLineF, QPointF, QRectF, Qt
from qtpy.QtGui import QPainter

# of a grip: pixels across and along its line, and where on the line it is, from bottom to top
GRIP, GRIP_AT = (8.0, 22.0), 0.3


class Curve(pg.PlotCurveItem):
    """Steps or a line, filled down to ``fillLevel`` where there is a brush."""

    def paint(self, painter, option, widget=None):
        """Qt's hook."""
        with _in_pixels(painter) as transform:
            path = transform.map(self.getPath())
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, self.opts["antialias"])
            if self.opts["brush"] is not None:
                painter.fillPath(path, self.opts["brush"])
            if self.opts["pen"] is not None:
                painter.strokePath(path, self.opts["pen"])


class Line(pg.InfiniteLine):
    """A level or upright line; where it can be dragged the mouse shows it, and with `grip` so does the line."""

    # its color, None where it has none
    grip: str | None = None

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        if self.movable:
            self.setCursor(Qt.CursorShape.SizeHorCursor)

    def paint(self, painter, option, widget=None):
        """Qt's hook."""
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
        """Qt's hook."""
        with _in_pixels(painter) as transform:
            painter.setPen(self.currentPen)
            painter.setBrush(self.currentBrush)
            painter.drawPath(transform.map(self.shape()))


@contextmanager
def _in_pixels(painter: QPainter):
    """Yield the matrix of a painter, which meanwhile has none."""
    painter.save()
    transform = painter.transform()
    painter.resetTransform()
    try:
        yield transform
    finally:
        painter.restore()

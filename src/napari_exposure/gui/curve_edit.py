"""Editor of a tone curve: points that are dragged, from what goes in to what comes out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_exposure.core import ToneCurve
from napari_exposure.core.curve import Points
from napari_exposure.gui.parts import Parts
from napari_exposure.gui.plotting import AFTER, BEFORE

# In pixels: the frame is this far inside, a point has this radius, and the mouse takes hold of it this near.
FRAME, POINT, NEAR = 6, 4, 9
# Points are at least this far apart, and an arrow key moves a point by as much.
STEP = 0.01


class _Canvas(QWidget):
    """Draws the curve and its points, and changes them as the mouse and the keys say."""

    moved = Signal()

    def __init__(self):
        super().__init__()
        self.points: Points = ToneCurve().points
        # So many voxels lie in each of equal parts of the input range; the array is empty where that is not known.
        self._counts = np.empty(0)
        self._held: int | None = None
        self.setMinimumHeight(130)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Tone curve")

    def _frame(self) -> QRectF:
        return QRectF(self.rect()).adjusted(FRAME, FRAME, -FRAME, -FRAME)

    def place(self, point: tuple[float, float]) -> QPointF:
        """Where a point of the curve is in the widget."""
        frame = self._frame()
        return QPointF(frame.left() + point[0] * frame.width(), frame.bottom() - point[1] * frame.height())

    def show_counts(self, counts: np.ndarray) -> None:
        """Draw a histogram of the input range behind the curve, or none."""
        self._counts = counts
        self.update()

    def _under(self, position: QPointF) -> int | None:
        apart = [(self.place(point) - position).manhattanLength() for point in self.points]
        nearest = int(np.argmin(apart))
        return nearest if apart[nearest] <= 2 * NEAR else None

    def _value(self, position: QPointF) -> tuple[float, float]:
        frame = self._frame()
        x, y = (position.x() - frame.left()) / frame.width(), (frame.bottom() - position.y()) / frame.height()
        return round(min(max(x, 0.0), 1.0), 3), round(min(max(y, 0.0), 1.0), 3)

    def _put(self, at: int, value: tuple[float, float]) -> None:
        """Move a point, as far as its neighbors let it."""
        low = self.points[at - 1][0] + STEP if at else 0.0
        high = self.points[at + 1][0] - STEP if at + 1 < len(self.points) else 1.0
        points = list(self.points)
        points[at] = round(min(max(value[0], low), high), 3), round(min(max(value[1], 0.0), 1.0), 3)
        self._change(tuple(points))

    def _change(self, points: Points) -> None:
        if points != self.points and all(b[0] - a[0] >= STEP / 2 for a, b in pairwise(points)):
            self.points = points
            self.update()
            self.moved.emit()

    def mousePressEvent(self, event):
        """Qt's hook: take hold of a point, or make one."""
        self._held = self._under(event.position())
        if self._held is None:
            value = self._value(event.position())
            self._change(tuple(sorted((*self.points, value))))
            self._held = self.points.index(value) if value in self.points else None

    def mouseMoveEvent(self, event):
        if self._held is not None:
            self._put(self._held, self._value(event.position()))

    def mouseReleaseEvent(self, event):
        self.update()

    def mouseDoubleClickEvent(self, event):
        """Qt's hook: remove a point, but leave two at least."""
        at = self._under(event.position())
        self._held = None
        if at is not None and len(self.points) > 2:
            self._change(self.points[:at] + self.points[at + 1 :])

    def keyPressEvent(self, event):
        """Qt's hook: the arrows move the point that was held last."""
        ways = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, 1), Qt.Key.Key_Down: (0, -1)}
        way = ways.get(event.key())
        if way is None or self._held is None or self._held >= len(self.points):
            super().keyPressEvent(event)
            return
        x, y = self.points[self._held]
        self._put(self._held, (x + STEP * way[0], y + STEP * way[1]))

    def paintEvent(self, event):
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        if self._counts.any():
            # Square roots, because beside many dark voxels few bright ones would have no height.
            heights = np.sqrt(self._counts / self._counts.max())
            steps = np.linspace(0, 1, len(heights) + 1).repeat(2)[1:-1]
            outline = [(0.0, 0.0), *zip(steps.tolist(), heights.repeat(2).tolist(), strict=True), (1.0, 0.0)]
            shade = QColor(BEFORE)
            shade.setAlpha(110)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(shade)
            painter.drawPolygon(QPolygonF([self.place(point) for point in outline]))
            painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(text, 1))
        painter.drawRect(self._frame())
        painter.setPen(QPen(text, 1, Qt.PenStyle.DotLine))
        painter.drawLine(self.place((0, 0)), self.place((1, 1)))
        x = np.linspace(0, 1, 101)
        y = ToneCurve(self.points).curve(x)
        painter.setPen(QPen(QColor(AFTER), 2))
        painter.drawPolyline(QPolygonF([self.place(point) for point in zip(x.tolist(), y.tolist(), strict=True)]))
        for at, point in enumerate(self.points):
            painter.setBrush(QColor(AFTER) if at == self._held else self.palette().color(QPalette.ColorRole.Window))
            painter.drawEllipse(self.place(point), POINT, POINT)


class CurveEdit(Parts):
    """The points of a tone curve; ``value`` is as `ToneCurve` takes it."""

    def __init__(self, value: Points, tooltip: str = "", **options):
        super().__init__(tooltip=tooltip, **options)
        self.canvas = _Canvas()
        self.canvas.setToolTip(tooltip)
        self.native.layout().addWidget(self.canvas)
        self.canvas.moved.connect(lambda: self.changed.emit(self))
        self.value = value

    @property
    def value(self) -> Points:
        """The points."""
        return self.canvas.points

    @value.setter
    def value(self, value: Points) -> None:
        self.canvas.points = value
        self.canvas.update()

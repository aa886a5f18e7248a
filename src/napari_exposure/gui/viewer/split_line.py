"""Looking at source and result in one view: the source on one side of a line, the result on the other."""

from __future__ import annotations

from napari.layers import Image
from qtpy.QtCore import QEvent, QPointF, QRect, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QWidget
from vispy.visuals.filters.base_filter import Filter
from vispy.visuals.shaders import Function, Varying

from napari_exposure.gui.connections import Connections
from napari_exposure.gui.napari_versions import grid_of
from napari_exposure.gui.viewer.compare import Comparison
from napari_exposure.gui.viewer.layer_order import family, uncovered
from napari_exposure.source import unwrapped

# The mouse can take hold of this many pixels, and the grip that shows where is this large.
WIDTH, GRIP = 15, 12
# An arrow key moves the line by this part of the width of the canvas.
STEP = 0.02


class SplitLine(Comparison):
    """Cuts the pictures of source and result off at an upright line that can be dragged, in 2D and in 3D.

    The graphics card draws each of them on its own side only: no data are read, written or cut.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer):
        super().__init__(viewer)
        self._line: _Line | None = None
        self._at = 0.5
        self._cuts: dict = {}

    def _show(self, source: Image, result: Image) -> None:
        for layer in family(self._viewer, source):
            if layer not in (source, result):
                self._set(layer, visible=False)
        if self._line is None:
            self._begin(source, result)
        for layer, corner in ((result, "top_right"), (source, "top_left")):
            self._set(layer, visible=True)
            self._name(layer, visible=True, position=corner)

    def _begin(self, source: Image, result: Image) -> None:
        viewer = unwrapped(self._viewer)
        canvas = viewer.window._qt_viewer.canvas
        uncovered.add(unwrapped(result))
        # `layer_order.place` hears this, and no longer lets the result hide its source.
        result.events.visible()
        self._set(grid_of(self._viewer), enabled=False)
        self._line = _Line(canvas.native, self._at)
        self._line.moved.connect(self._move)
        connections = Connections()
        connections.add(lambda event: self._attach(), canvas._scene_canvas.events.draw)
        connections.add(self._on_removed, self._viewer.layers.events.removed)
        self._undo.append(lambda: self._end(canvas, connections, result))
        canvas.native.update()

    def _end(self, canvas, connections: Connections, result: Image) -> None:
        connections.drop()
        for visual, cut in self._cuts.items():
            visual.detach(cut)
        self._cuts = {}
        line, self._line = self._line, None
        line.hide()
        line.deleteLater()
        uncovered.discard(unwrapped(result))
        result.events.visible()
        canvas.native.update()

    def _on_removed(self, event) -> None:
        if self._pair is not None and event.value in self._pair[:2]:
            self.stop()

    def _move(self, at: float) -> None:
        self._at = at
        for cut in self._cuts.values():
            cut.move(at)
        # vispy draws a visual again only when it is told to.
        for visual in self._cuts:
            visual.update()

    def _attach(self) -> None:
        """Cut what is about to be drawn, because napari draws a layer by other visuals in 3D and for large planes."""
        if self._pair is None:
            return
        drawn = unwrapped(self._viewer).window._qt_viewer.canvas.layer_to_visual
        wanted = {}
        for layer, side in zip(self._pair[:2], (-1, 1), strict=True):
            node = drawn[unwrapped(layer)].node
            wanted.update(dict.fromkeys(getattr(node, "adopted_children", [node]), side))
        for visual in [visual for visual in self._cuts if visual not in wanted]:
            visual.detach(self._cuts.pop(visual))
        for visual, side in wanted.items():
            if visual not in self._cuts:
                self._cuts[visual] = _Cut(side, self._at)
                visual.attach(self._cuts[visual])


class _Cut(Filter):
    """Draws only what lies left (-1) or right (1) of a line across the canvas."""

    PLACE = "void find_place() { $place = gl_Position; }"
    CUT = "void cut_off() { if ($side * ($place.x / $place.w - $line) < 0.) discard; }"

    def __init__(self, side: int, at: float):
        super().__init__(Function(self.PLACE), "post", 1, Function(self.CUT), "pre", 1)
        place = Varying("place", "vec4")
        self.vshader["place"], self.fshader["place"] = place, place
        self.fshader["side"] = float(side)
        self.move(at)

    def move(self, at: float) -> None:
        """Put the line at this part of the width; OpenGL counts it from -1 to 1."""
        self.fshader["line"] = 2 * at - 1


class _Line(QWidget):
    """The line over the canvas; it knows where it is, from 0 to 1."""

    moved = Signal(float)

    def __init__(self, canvas: QWidget, at: float):
        super().__init__(canvas)
        self._at = at
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip("Drag the line, or press the left and right arrow keys: on its left is the source.")
        self.setAccessibleName("Line between source and result")
        canvas.installEventFilter(self)
        self._place()
        self.show()

    def _place(self) -> None:
        canvas = self.parentWidget()
        self.setGeometry(QRect(round(self._at * canvas.width()) - WIDTH // 2, 0, WIDTH, canvas.height()))

    def _go(self, at: float) -> None:
        self._at = min(max(at, 0.0), 1.0)
        self._place()
        self.moved.emit(self._at)

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Resize:
            self._place()
        return False

    def mousePressEvent(self, event):
        """Qt's hook: a press on the line must not reach the canvas."""
        event.accept()

    def mouseMoveEvent(self, event):
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._go(self.mapToParent(event.position()).x() / self.parentWidget().width())

    def mouseDoubleClickEvent(self, event):
        """Qt's hook: back to the middle."""
        self._go(0.5)

    def keyPressEvent(self, event):
        steps = {Qt.Key.Key_Left: -STEP, Qt.Key.Key_Right: STEP}
        if event.key() in steps:
            self._go(self._at + steps[event.key()])
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event):
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, height = self.width() / 2, self.height()
        # A light line within a dark one is seen on any picture.
        for color, wider in (("black", 2), ("white", 0)):
            painter.setPen(QPen(QColor(color), 1 + wider))
            painter.drawLine(QPointF(middle, 0), QPointF(middle, height))
            painter.setBrush(QColor("white" if self.hasFocus() else "#e69f00"))
            painter.drawEllipse(QPointF(middle, height / 2), GRIP / 2, GRIP)

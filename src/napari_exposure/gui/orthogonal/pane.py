"""One plane with its cross-hair, which a signal asks to move; the pane changes nothing itself."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import QSize, Qt, Signal

from napari_exposure.gui.plotting import FramedPlot

CRIMSON = "#dc143c"


class _Box(pg.ViewBox):
    """Moves the cross-hair by the left button, and moves and zooms the picture by the others and the wheel."""

    pointed = Signal(object)

    def mouseClickEvent(self, event):
        if event.button() == Qt.MouseButton.LeftButton:
            event.accept()
            if event.double():
                self.autoRange(padding=0.02)
            else:
                self.pointed.emit(self.mapSceneToView(event.scenePos()))

    def mouseDragEvent(self, event, axis=None):
        if event.button() == Qt.MouseButton.LeftButton:
            event.accept()
            self.pointed.emit(self.mapSceneToView(event.scenePos()))
        else:
            super().mouseDragEvent(event, axis)


class Pane(FramedPlot):
    """A picture in physical units, and two lines that can be dragged."""

    # The new position down and right in the unit of the picture, None where it stays.
    moved = Signal(object, object)

    def __init__(self):
        super().__init__(_Box(enableMenu=False, invertY=True, lockAspect=True), single=True)
        self.setMinimumSize(160, 120)
        self.make_room("left", "0000")
        self.image = pg.ImageItem(axisOrder="row-major")
        self.lines = [pg.InfiniteLine(angle=angle, movable=True) for angle in (0, 90)]
        for line in self.lines:
            line.setPen(pg.mkPen(CRIMSON, width=1.5))
            line.setHoverPen(pg.mkPen(CRIMSON, width=4))
            line.sigDragged.connect(self._drag)
        for item in (self.image, *self.lines):
            self._box.addItem(item, ignoreBounds=item is not self.image)
        self._box.pointed.connect(lambda at: self.moved.emit(at.y(), at.x()))
        self._extent: tuple | None = None
        # The size of a voxel, down and right.
        self._sizes: tuple[float, float] = (1, 1)
        self._title = ""
        self.show_image(None)

    def sizeHint(self):
        # It is narrow enough for a dock.
        return QSize(320, 240)

    def set_title(self, title: str) -> None:
        """Write the line above the picture."""
        self._title = title
        self._say()

    def _say(self) -> None:
        self._caption.say([], self._title, self._text)

    def set_labels(self, down: str, right: str) -> None:
        """Name the two axes."""
        self.name_axis("left", down)
        self.name_axis("bottom", right)

    def show_image(self, values: np.ndarray | None, sizes: tuple[float, float] = (1, 1), shape=(1, 1)) -> None:
        """Show a picture, or none.

        Parameters
        ----------
        values : numpy.ndarray, optional
        sizes : (float, float)
            Size of a voxel, down and right.
        shape : (int, int)
            Number of such voxels, which is larger than that of the values at a coarser level.
        """
        for item in (self.image, *self.lines):
            item.setVisible(values is not None)
        if values is None:
            self._extent = None
            return
        self._sizes = sizes
        self.image.setImage(values, autoLevels=False)
        height, width = (n * size for n, size in zip(shape, sizes, strict=True))
        # A voxel is centered on its position.
        extent = (-0.5 * sizes[1], -0.5 * sizes[0], width, height)
        self.image.setRect(*extent)
        if extent != self._extent:
            self._extent = extent
            self._box.autoRange(padding=0.02)

    def set_look(self, levels, table: np.ndarray | None) -> None:
        """Set the contrast limits and the colors from black to white, None for RGB."""
        self.image.setLookupTable(table, update=False)
        self.image.setLevels(levels)

    def place(self, down: float, right: float) -> None:
        """Put the cross-hair at a point."""
        with self._quiet():
            for line, value in zip(self.lines, (down, right), strict=True):
                line.setValue(value)

    @contextmanager
    def _quiet(self):
        for line in self.lines:
            line.blockSignals(True)
        try:
            yield
        finally:
            for line in self.lines:
                line.blockSignals(False)

    def _drag(self, line) -> None:
        down = line is self.lines[0]
        self.moved.emit(line.value() if down else None, None if down else line.value())

    def keyPressEvent(self, event):
        """Move the cross-hair by a voxel on an arrow key; Qt calls this."""
        steps = {Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0), Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1)}
        if event.key() in steps and self._extent is not None:
            moves = zip(self.lines, steps[event.key()], self._sizes, strict=True)
            self.moved.emit(*(line.value() + step * size if step else None for line, step, size in moves))
        else:
            super().keyPressEvent(event)

    def point_of(self, down: float, right: float):
        """Where in this widget a point of the picture lies; for tests and pictures."""
        return super().point_of(right, down)

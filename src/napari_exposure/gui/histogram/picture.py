"""Saves what a graphics view shows as PNG or SVG."""

from __future__ import annotations

from qtpy.QtCore import QRectF
from qtpy.QtGui import QColor, QImage, QPainter, QPicture
from qtpy.QtSvg import QSvgGenerator
from qtpy.QtWidgets import QGraphicsView


def save_picture(view: QGraphicsView, path: str, background: str) -> None:
    """Save a view as SVG or as PNG of twice its size, whichever the name ends with.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    size = view.viewport().size()
    if path.lower().endswith(".svg"):
        picture = QSvgGenerator()
        picture.setFileName(path)
        # pyqtgraph records axes as a QPicture, which Qt scales where the dots per inch differ.
        picture.setResolution(QPicture().logicalDpiX())
        picture.setSize(size)
        picture.setViewBox(QRectF(0, 0, size.width(), size.height()))
        written = _paint(view, picture, background)
    else:
        picture = QImage(2 * size, QImage.Format.Format_RGB32)
        written = _paint(view, picture, background) and picture.save(path)
    if not written:
        raise OSError(f"{path} could not be written. Choose a folder that exists and may be written to.")


def _paint(view, device, background) -> bool:
    painter = QPainter()
    if not painter.begin(device):
        return False
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.fillRect(painter.viewport(), QColor(background))
    view.render(painter)
    return painter.end()

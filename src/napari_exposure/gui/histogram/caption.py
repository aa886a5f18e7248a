"""The lines above the plot: what its colors mean, and what was counted."""

from __future__ import annotations

import html

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QFont, QFontMetricsF
from qtpy.QtWidgets import QGraphicsTextItem

GAP = "&nbsp;&nbsp;"
MIDDLE = Qt.TextElideMode.ElideMiddle


class Caption(pg.GraphicsWidget):
    """Lines of text that take the height they need and never widen the plot.

    Parameters
    ----------
    single : bool
        Whether to write one line and shorten the names in it until all fit; otherwise lines wrap.
    """

    def __init__(self, *, single: bool = False):
        super().__init__()
        self._single = single
        self._said: tuple[list[tuple[str, str, str]], str, str] = ([], "", "#000000")
        self._item = QGraphicsTextItem(self)
        self._item.document().setDocumentMargin(2)
        self.setMinimumWidth(0)

    def say(self, legend: list[tuple[str, str, str]], line: str, color: str) -> None:
        """Show the color, mark and name of each entry of a legend, and below or behind it a line in `color`."""
        self._said = legend, line, color
        self._write()

    def set_font(self, font: QFont) -> None:
        """Write as large as the text of the window is."""
        self._item.setFont(font)
        self._write()

    def resizeEvent(self, event):
        super().resizeEvent(event)
        self._write()

    def _write(self) -> None:
        legend, line, color = self._said
        metrics, width = QFontMetricsF(self._item.font()), max(50.0, self.size().width() - 4)
        # In a single line the names share the width that the marks and the other words leave.
        taken = metrics.horizontalAdvance("".join(f"{mark}    " for _, mark, _ in legend) + line)
        room = (width - taken) / max(1, len(legend)) if self._single else width
        # The mark has the color: not every color can be read on every background.
        names = [
            _span(shade, f"{mark}\N{NO-BREAK SPACE}")
            + _span(color, _together(metrics.elidedText(" ".join(name.split()), MIDDLE, max(40, room))))
            for shade, mark, name in legend
        ]
        between, behind = (GAP, GAP) if self._single else (" &nbsp;", "<br>")
        parts = between.join(names), _span(color, line) if line else ""
        self._item.setHtml(behind.join(filter(None, parts)) or " ")
        self._item.setTextWidth(-1 if self._single else width)
        self.setFixedHeight(self._item.boundingRect().height())


def _span(color: str, text: str) -> str:
    return f"<span style='color:{color}'>{html.escape(text)}</span>"


def _together(text: str) -> str:
    """Join the words so that Qt does not break the text into lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")

"""The lines above the plot: what its colors mean, and what was counted."""

from __future__ import annotations

import html
from collections.abc import Iterable

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
        names, room = [" ".join(name.split()) for _, _, name in legend], width
        if self._single:
            # In a single line the names share the width that the marks and the other words leave.
            names = _differing(names)
            taken = metrics.horizontalAdvance("".join(f"{mark}    " for _, mark, _ in legend) + line)
            room = max(40, _most(width - taken, map(metrics.horizontalAdvance, names)))
        # The mark has the color: not every color can be read on every background.
        names = [
            _span(shade, f"{mark}\N{NO-BREAK SPACE}") + _span(color, _together(metrics.elidedText(name, MIDDLE, room)))
            for (shade, mark, _), name in zip(legend, names, strict=True)
        ]
        between, behind = (GAP, GAP) if self._single else (" &nbsp;", "<br>")
        parts = between.join(names), _span(color, line) if line else ""
        self._item.setHtml(behind.join(filter(None, parts)) or " ")
        self._item.setTextWidth(-1 if self._single else width)
        self.setFixedHeight(self._item.boundingRect().height())


def _differing(names: list[str]) -> list[str]:
    """Names without the layer, where all are of the same one, as the colors of RGB are."""
    alike = len(names) > 1 and len({name.partition(" of ")[2] for name in names}) == 1
    return [name.partition(" of ")[0] for name in names] if alike else names


def _most(room: float, widths: Iterable[float]) -> float:
    """The most that each of these may take, so that together they have room; short ones leave theirs to the others."""
    left, *rest = [room, *sorted(widths)]
    for number, wide in enumerate(rest):
        if wide * (len(rest) - number) > left:
            return left / (len(rest) - number)
        left -= wide
    return room


def _span(color: str, text: str) -> str:
    return f"<span style='color:{color}'>{html.escape(text)}</span>"


def _together(text: str) -> str:
    """Join the words so that Qt does not break the text into lines."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")

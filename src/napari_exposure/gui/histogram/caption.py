"""The lines above the plot: what its colours mean, and what was counted."""

from __future__ import annotations

import html

import pyqtgraph as pg
from qtpy.QtWidgets import QGraphicsTextItem

from napari_exposure.gui.histogram.survey import short


class Caption(pg.GraphicsWidget):
    """Some lines of text that wrap, as high as they need; however long, they do not widen the plot."""

    def __init__(self):
        super().__init__()
        self._item = QGraphicsTextItem(self)
        self._item.document().setDocumentMargin(2)
        self.setMinimumWidth(0)

    def say(self, legend: list[tuple[str, str, str]], line: str, colour: str) -> None:
        """Show the colour, mark and name of each entry of a legend, and below it a line in `colour`."""
        names = "&nbsp;&nbsp;".join(_span(shade, f"{mark} {short(name)}") for shade, mark, name in legend)
        self._item.setHtml("<br>".join(filter(None, (names, _span(colour, line) if line else ""))) or " ")
        self._fit()

    def resizeEvent(self, event):
        super().resizeEvent(event)
        self._fit()

    def _fit(self):
        self._item.setTextWidth(max(50, self.size().width()))
        self.setFixedHeight(self._item.boundingRect().height())


def _span(colour: str, text: str) -> str:
    return f"<span style='color:{colour}'>{html.escape(text)}</span>"

"""Lets the Tab key go from top to bottom, also through widgets that came later than those below them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLayout, QScrollArea, QWidget


def order_tabs(widget: QWidget) -> None:
    """Let Tab go through all that is in the layout of a widget, in its order."""
    for before, after in pairwise(_stops(widget.layout())):
        QWidget.setTabOrder(before, after)


def _stops(layout: QLayout | None) -> Iterator[QWidget]:
    """What can have the focus by the Tab key."""
    for at in range(0 if layout is None else layout.count()):
        item = layout.itemAt(at)
        widget = item.widget()
        if widget is None:
            yield from _stops(item.layout())
            continue
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
            yield widget
        inside = widget.widget() if isinstance(widget, QScrollArea) else widget
        yield from _stops(inside.layout())

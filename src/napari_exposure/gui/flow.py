"""Buttons, and rows of widgets that go on below where there is no room for all of them."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.compat import isalive
from qtpy.QtCore import QPoint, QRect, QSize, Qt
from qtpy.QtWidgets import QLayoutItem, QMenu, QPushButton, QToolButton, QWidget
from superqt import QFlowLayout


def make_button(text: str, tooltip: str, does: Callable[[], object] | QMenu | None = None) -> QPushButton:
    """A button that calls something, or lets a menu drop down."""
    button = QPushButton(text, toolTip=tooltip)
    if isinstance(does, QMenu):
        button.setMenu(does)
    elif does is not None:
        button.clicked.connect(lambda: does())
    return button


class Fold(QToolButton):
    """A button with an arrow, which shows and hides what is below it: it calls `shown` with True or False."""

    def __init__(self, text: str, tooltip: str, shown: Callable[[bool], object]):
        super().__init__(text=text, toolTip=tooltip, checkable=True, autoRaise=True)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.toggled.connect(self._turn)
        self.toggled.connect(shown)
        self._turn(False)

    def _turn(self, on: bool) -> None:
        self.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)


def keep_place(widget: QWidget) -> None:
    """Let nothing move when a widget comes or goes."""
    policy = widget.sizePolicy()
    policy.setRetainSizeWhenHidden(True)
    widget.setSizePolicy(policy)


class Flow(QFlowLayout):
    """superqt's layout with lines that are about equally long, so that no widget stands alone on the last one.

    It leaves out what Qt has deleted, because PySide6 asks for sizes even while a window closes.

    Parameters
    ----------
    widgets : QWidget
        What it lays out.
    gaps : (int, int)
        The pixels between widgets, and between lines.
    parent : QWidget, optional
    """

    _items: list[QLayoutItem]

    def __init__(self, *widgets, gaps=(4, 3), parent=None):
        super().__init__(parent)
        self.setHorizontalSpacing(gaps[0])
        self.setVerticalSpacing(gaps[1])
        self.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            self.addWidget(widget)

    @property
    def _item_list(self) -> list[QLayoutItem]:
        """The items that superqt's layout lays out."""
        self._items = [item for item in self._items if isalive(item)]
        return self._items

    @_item_list.setter
    def _item_list(self, items: list[QLayoutItem]) -> None:
        self._items = items

    def _lines(self, room: int) -> tuple[list[list[tuple[QLayoutItem, QSize]]], int]:
        """The items that can be seen in lines that have this room, and how long the longest line is."""
        lines: list[list[tuple[QLayoutItem, QSize]]] = []
        end = longest = 0
        for item in self._item_list:
            size = QSize(0, 0) if item.isEmpty() else item.sizeHint()
            if not size.width():
                continue
            end += size.width() + self.horizontalSpacing()
            if not lines or end - self.horizontalSpacing() > room:
                lines.append([])
                end = size.width() + self.horizontalSpacing()
            lines[-1].append((item, size))
            longest = max(longest, end - self.horizontalSpacing())
        return lines, longest

    def heightForWidth(self, width: int) -> int:
        lines, _ = self._lines(width)
        heights = [max(size.height() for _, size in line) for line in lines]
        return sum(heights) + self.verticalSpacing() * max(len(lines) - 1, 0)

    def setGeometry(self, rect: QRect) -> None:
        lines, longest = self._lines(rect.width())
        while len(lines) > 1:
            # Shorter lines are tried as long as no more of them are needed.
            others, length = self._lines(longest - 1)
            if len(others) > len(lines) or length >= longest:
                break
            lines, longest = others, length
        top = rect.top()
        for line in lines:
            left, height = rect.left(), max(size.height() for _, size in line)
            for item, size in line:
                item.setGeometry(QRect(QPoint(left, top + (height - size.height()) // 2), size))
                left += size.width() + self.horizontalSpacing()
            top += height + self.verticalSpacing()

"""Tells a widget when it enters and leaves a window, so that nothing stays connected to a closed one."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


class Docked(QObject):
    """Calls back once each time `widget` gets a parent and once each time it loses it.

    napari keeps the inner widget of a dock that is closed: it is not destroyed, only without a parent.

    Parameters
    ----------
    widget : QWidget
        Owns this object.
    entered, left : callable
        `left` is also called when the widget is destroyed.
    """

    # of the class: the garbage collector may clear this object before Qt says that the widget is destroyed
    _inside = False

    def __init__(self, widget: QWidget, entered: Callable[[], None], left: Callable[[], None]):
        super().__init__(widget)
        self._widget = widget
        self._entered, self._left = entered, left
        widget.installEventFilter(self)
        widget.destroyed.connect(lambda: self._set(False))

    def _set(self, inside: bool) -> None:
        if inside != self._inside:
            self._inside = inside
            (self._entered if inside else self._left)()

    def eventFilter(self, watched, event):
        """Qt's hook."""
        if event.type() == QEvent.Type.ParentChange:
            self._set(self._widget.parent() is not None)
        return False

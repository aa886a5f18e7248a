"""Tells when a widget enters and leaves a window, and when it can be seen."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


class Docked(QObject):
    """Calls back once each time `widget` gets a parent and once each time it loses it, so that nothing stays connected.

    napari keeps the inner widget of a dock that is closed: it is not destroyed, only without a parent.

    Parameters
    ----------
    widget : QWidget
        Owns this object.
    entered, left : callable
        `left` is also called when the widget is destroyed.
    seen : callable
        Called with True or False when it is shown or hidden.
    """

    # The class holds the default, because the garbage collector may clear this object before Qt destroys the widget.
    _inside = False

    def __init__(self, widget: QWidget, entered: Callable[[], None], left: Callable[[], None], seen: Callable):
        super().__init__(widget)
        self._widget = widget
        self._entered, self._left, self._seen = entered, left, seen
        widget.installEventFilter(self)
        # A method and no lambda: PyQt crashes where it calls a function that the garbage collector has cleared.
        widget.destroyed.connect(self._on_destroyed)

    def _on_destroyed(self) -> None:
        self._set(False)

    def _set(self, inside: bool) -> None:
        if inside != self._inside:
            self._inside = inside
            (self._entered if inside else self._left)()

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.ParentChange:
            self._set(self._widget.parent() is not None)
        elif event.type() in (QEvent.Type.Show, QEvent.Type.Hide):
            self._seen(event.type() == QEvent.Type.Show)
        return False

"""Calls that are made as often as the window can draw what they change, and not more often."""

from __future__ import annotations

import time
from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

# The pause after a call takes this many seconds at least and at most.
LEAST, MOST = 0.01, 0.25


class Paced(QObject):
    """Passes on the last of many calls, and then leaves the event loop twice the time that this one took.

    Dragging stays smooth whatever a move sets going, such as a redrawn canvas without a graphics card.

    Parameters
    ----------
    callback : callable
        Called with the arguments of the latest call; at once if there was none for a while.
    parent : QObject
        Owns this object.
    """

    def __init__(self, callback: Callable, parent: QObject):
        super().__init__(parent)
        self._callback = callback
        self._waiting: tuple | None = None
        self._begun = 0.0
        self._rest = self._timer(self._go)
        self._drawn = self._timer(self._measure)

    def _timer(self, slot):
        timer = QTimer(self, singleShot=True)
        timer.timeout.connect(slot)
        return timer

    def __call__(self, *arguments) -> None:
        self._waiting = arguments
        if not (self._rest.isActive() or self._drawn.isActive()):
            self._go()

    def soon(self, *arguments) -> None:
        """Call in the next turn of the event loop, for callers that are in the midst of an event of others."""
        self._waiting = arguments
        if not (self._rest.isActive() or self._drawn.isActive()):
            self._rest.start(0)

    def cancel(self) -> None:
        """Forget a call that waits."""
        self._waiting = None

    def _go(self) -> None:
        arguments, self._waiting = self._waiting, None
        if arguments is None:
            return
        self._begun = time.perf_counter()
        self._callback(*arguments)
        # The timer comes after what the call has posted, such as painting, so that this is measured too.
        self._drawn.start(0)

    def _measure(self) -> None:
        took = time.perf_counter() - self._begun
        self._rest.start(int(1000 * min(max(2 * took, LEAST), MOST)))

"""What the benchmarks of the window share: letting it work, and the pauses of its event loop."""

from __future__ import annotations

import itertools
import time

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication


def let_work(condition, seconds=60):
    """Run the event loop until `condition` holds."""
    end = time.perf_counter() + seconds
    while not condition() and time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.001)


def settle(seconds=0.5):
    """Run the event loop for a while."""
    end = time.perf_counter() + seconds
    let_work(lambda: time.perf_counter() > end)


class Heartbeat:
    """Notes every beat of the event loop; `pause` is the longest gap in a stretch of time."""

    def __init__(self):
        self.beats = []
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.timeout.connect(lambda: self.beats.append(time.perf_counter()))
        self.timer.start(10)

    def pause(self, start, stop):
        """Seconds of the longest gap between two beats."""
        inside = [start, *(beat for beat in self.beats if start < beat < stop), stop]
        return max(b - a for a, b in itertools.pairwise(inside))

"""Runs a job of core in a worker: progress in the activity dock, cancel, errors as notifications."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from napari.qt.threading import create_worker
from napari.utils import cancelable_progress
from napari.utils.notifications import notification_manager

from napari_exposure.core.blocks import Step, Steps

# seconds; each showing repaints a good part of the window, which costs the job its processors
SHOW_EVERY = 0.1


class Job:
    """One run of `steps` in a thread; make and cancel it on the GUI thread.

    Parameters
    ----------
    title : str
        What the activity dock shows.
    steps : generator of Step
        Closed in the worker, also when the job is cancelled.
    done : callable
        Called with the result and the seconds it took; not after a cancel or an error.
    ended : callable
        Called last, however the job ended.
    step : callable
        Called with the `Step` that the job is at, some times a second.
    """

    def __init__(self, title: str, steps: Steps, *, done: Callable, ended: Callable, step: Callable):
        self._steps = steps
        self._done, self._ended, self._step = done, ended, step
        self._bar = cancelable_progress(total=100, desc=title)
        self._cancelled = False
        self._over = False
        self._result = self._error = None
        self._seconds = 0.0
        self._worker = create_worker(self._work, _start_thread=False)
        self._worker.yielded.connect(self._show)
        self._worker.finished.connect(self._finish)
        self._worker.warned.connect(lambda warning: notification_manager.receive_warning(*warning))
        self._worker.start()

    def cancel(self) -> None:
        """Stop after the blocks that are being worked on, some ten milliseconds; the result is dropped."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        return self._cancelled or self._bar.is_canceled

    def _work(self):
        start = time.perf_counter()
        shown = 0.0
        try:
            # closed here, in the worker: closing waits for the blocks that are being worked on
            with closing(self._steps):
                while not self.cancelled:
                    try:
                        step = next(self._steps)
                    except StopIteration as end:
                        self._result = (end.value,)
                        break
                    now = time.perf_counter()
                    if now - shown >= SHOW_EVERY:
                        shown = now
                        yield step
        except Exception as error:
            # superqt takes a RuntimeError for a deleted worker, and others for its own
            self._error = error
        self._seconds = time.perf_counter() - start

    def _show(self, step: Step) -> None:
        percent = int(100 * step.fraction)
        if self._over or self.cancelled or (percent <= self._bar.n and step.what == self._bar.desc.removesuffix(": ")):
            return
        # the bar lets other events run: the job may be over when it comes back
        self._bar.set_description(step.what)
        if not self._over:
            self._bar.update(max(0, percent - self._bar.n))
        if not (self._over or self.cancelled):
            self._step(step)

    def _finish(self) -> None:
        self._over = True
        self._bar.close()
        # napari stops workers by itself when it closes, and leaves their generators as they are
        self._steps.close()
        try:
            if self._error is not None:
                notification_manager.receive_error(type(self._error), self._error, self._error.__traceback__)
            elif self._result is not None and not self.cancelled:
                self._done(self._result[0], self._seconds)
        finally:
            self._ended()

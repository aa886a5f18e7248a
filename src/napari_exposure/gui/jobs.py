"""Runs work in a worker: cancel, errors as notifications, and progress in the activity dock if wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from napari.qt.threading import create_worker
from napari.utils import cancelable_progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject, Qt, Signal

from napari_exposure.core import progress
from napari_exposure.core.progress import Step

# seconds; each showing repaints the window, which costs the job its processors: quick jobs show nothing
SHOW_EVERY = 0.25
# seconds that a window waits for work that is not at a block's end when it closes
CLOSE_AFTER = 1.0
# errors about what the user chose, the disk, or a package that is missing: their sentence is enough
MENDABLE = (TypeError, ValueError, OSError, ImportError)


class _Reports(QObject):
    """Carries reports from the worker to the GUI thread, on which this object is made."""

    made = Signal(object)

    def __init__(self, heard: Callable[[Step], None]):
        super().__init__()
        self._heard = heard
        self.made.connect(self._hear, Qt.ConnectionType.QueuedConnection)

    def _hear(self, step: Step) -> None:
        self._heard(step)


class Job:
    """One run of `work` in a thread; make and cancel it on the GUI thread.

    Parameters
    ----------
    work : callable
        Called in the worker; what it reports is heard here, and a cancel stops it at its next report.
    done : callable
        Called with the result and the seconds it took; not after a cancel or an error.
    ended : callable
        Called last, however the job ended.
    step : callable
        Called with the `Step` that the job is at, some times a second.
    failed : callable
        Called with an error that the user can mend (`MENDABLE`); other errors, and these where it is left out,
        are shown by napari.
    """

    def __init__(
        self,
        work: Callable[[], object],
        *,
        done: Callable,
        ended: Callable = lambda: None,
        step: Callable = lambda step: None,
        failed: Callable | None = None,
    ):
        # None when it is over
        self._work: Any = work
        self._done: Any = done
        self._ended: Any = ended
        self._step: Any = step
        self._failed: Any = failed
        self._cancelled = False
        self._over = False
        self._result: tuple[object] | None = None
        self._error: Exception | None = None
        self._seconds = 0.0
        self._reports = _Reports(self._show)
        # napari declares functions and not methods, and that something comes with the end
        create: Any = create_worker
        self._worker = create(self._run, _start_thread=False)
        self._worker.finished.connect(self._finish)
        self._worker.warned.connect(lambda warning: notification_manager.receive_warning(*warning))
        self._worker.start()

    def cancel(self) -> None:
        """Stop after the blocks that are being worked on, some ten milliseconds; the result is dropped."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def _run(self) -> None:
        """Have the work done in a thread of its own, which is left to itself where the window closes meanwhile.

        It ends at its next report. Until then it may wait for a slow disk, but a window does not wait with it.
        """
        thread = threading.Thread(target=self._carry_out, name="napari-exposure-job", daemon=True)
        thread.start()
        closing = None
        while thread.is_alive():
            thread.join(0.02)
            if self._worker.abort_requested:
                now = time.perf_counter()
                closing = closing or now
                if now - closing > CLOSE_AFTER:
                    self._cancelled = True
                    return

    def _stop(self) -> None:
        # napari asks its workers to stop when its window closes
        if self.cancelled or self._worker.abort_requested:
            raise progress.Cancelled

    def _carry_out(self) -> None:
        start = shown = time.perf_counter()

        def hear(step: Step) -> None:
            nonlocal shown
            self._stop()
            now = time.perf_counter()
            if step.slow or now - shown >= SHOW_EVERY:
                shown = now
                self._reports.made.emit(step)

        try:
            with progress.listening(hear, self._stop):
                work = self._work
                if work is not None and not self.cancelled:
                    self._result = (work(),)
        except progress.Cancelled:
            self._cancelled = True
        except Exception as error:
            # superqt takes a RuntimeError for a deleted worker, and others for its own
            self._error = error
        self._seconds = time.perf_counter() - start

    def _show(self, step: Step) -> None:
        if not (self._over or self.cancelled):
            self._step(step)

    def _finish(self) -> None:
        self._over = True
        result, error, done, ended, failed = self._result, self._error, self._done, self._ended, self._failed
        # the worker keeps this job, which must not keep the volumes
        self._work = self._result = self._error = None
        self._done = self._ended = self._step = self._failed = None
        try:
            if failed is not None and isinstance(error, MENDABLE):
                failed(error)
            elif error is not None:
                notification_manager.receive_error(type(error), error, error.__traceback__)
            elif result is not None and not self.cancelled:
                done(result[0], self._seconds)
        finally:
            ended()


class ActivityJob(Job):
    """A job that the activity dock shows under `title`, with a button that cancels it."""

    def __init__(self, title: str, work: Callable[[], object], **callbacks: Callable):
        self._title = title
        self._bar: cancelable_progress | None = None
        self._showing = False
        super().__init__(work, **callbacks)

    @property
    def cancelled(self) -> bool:
        return self._cancelled or (self._bar is not None and self._bar.is_canceled)

    def _show(self, step: Step) -> None:
        if self._showing or self._over or self.cancelled:
            return
        # napari's bar lets other events run: this may be called again, and the job may be over when it comes back
        self._showing = True
        self._step(step)
        if self._bar is None:
            self._bar = cancelable_progress(total=100, desc=self._title)
        if not self._over:
            self._bar.set_description(f"{self._title}, {step.what}")
        if not self._over:
            self._bar.update(int(100 * step.fraction) - self._bar.n)
        self._showing = False
        if self._over:
            self._close_bar()

    def _close_bar(self) -> None:
        self._cancelled = self.cancelled
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.close()

    def _finish(self) -> None:
        self._over = True
        if not self._showing:
            self._close_bar()
        super()._finish()

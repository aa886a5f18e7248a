"""Runs work in a worker: cancel, errors as notifications, and progress in the activity dock if wanted."""

from __future__ import annotations

import functools
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from napari.utils import cancelable_progress
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QApplication

from napari_exposure.core import progress
from napari_exposure.core.progress import Step
from napari_exposure.gui.words import of_docks

# Progress is shown once in so many seconds, and not of quick jobs, because repainting takes processors from them.
SHOW_EVERY = 0.25
# napari waits these seconds at its end for work that is in the midst of a block.
CLOSE_AFTER = 1.0
# These errors are about what the user chose, the disk, or a missing package, so their sentence is enough.
MENDABLE = (TypeError, ValueError, OSError, ImportError)


class _Reports(QObject):
    """Carries reports and the end from the worker to the GUI thread, on which this object is made."""

    made = Signal(object)
    over = Signal()

    def __init__(self, heard: Callable[[Step], None], ended: Callable[[], None]):
        super().__init__()
        self._heard, self._ended = heard, ended
        self.made.connect(self._hear, Qt.ConnectionType.QueuedConnection)
        self.over.connect(self._end, Qt.ConnectionType.QueuedConnection)

    def _hear(self, step: Step) -> None:
        self._heard(step)

    def _end(self) -> None:
        self._ended()


def _show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
    """Let napari show a warning, in the words of the docks."""
    notification_manager.receive_warning(UserWarning(of_docks(str(message))), category, filename, lineno)


class _Told:
    """Lets napari show warnings as long as any thread is inside, because threads share filters and hooks."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("always")
                tell: Any = _show_warning
                warnings.showwarning = tell
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_told = _Told()
# These jobs are under way.
_running: set[Job] = set()


def stop_all() -> None:
    """Stop all jobs, and wait a moment for them: Qt calls it when napari ends."""
    for job in _running:
        job.cancel()
    end = time.perf_counter() + CLOSE_AFTER
    for job in _running:
        job.wait(end - time.perf_counter())


@functools.cache
def _hear_of_the_end() -> None:
    app: Any = QApplication.instance()
    app.aboutToQuit.connect(stop_all)


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
        Called with the `Step` that the job is at, a few times a second.
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
        # The callables are None when the job is over.
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
        self._reports = _Reports(self._show, self._finish)
        _hear_of_the_end()
        _running.add(self)
        # A thread that waits for a slow disk must not keep napari from ending.
        self._thread = threading.Thread(target=self._carry_out, name="napari-exposure-job", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Stop after the blocks that are being worked on, some ten milliseconds; the result is dropped."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        return self._cancelled

    def wait(self, seconds: float) -> None:
        """Wait for the thread, at most for so many seconds."""
        self._thread.join(max(seconds, 0.0))

    def _stop(self) -> None:
        if self.cancelled:
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
            with progress.listening(hear, self._stop), _told:
                if not self.cancelled:
                    self._result = (self._work(),)
        except progress.Cancelled:
            self._cancelled = True
        except Exception as error:
            self._error = error
        self._seconds = time.perf_counter() - start
        # Python may be at its end, where Qt's objects are gone.
        with suppress(RuntimeError):
            self._reports.over.emit()

    def _show(self, step: Step) -> None:
        if not (self._over or self.cancelled):
            self._step(step)

    def _finish(self) -> None:
        self._over = True
        _running.discard(self)
        result, error, done, ended, failed = self._result, self._error, self._done, self._ended, self._failed
        # Whoever keeps this job must not keep the volumes.
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


class Latest:
    """Runs one job at a time: a new one takes the place of an older one, of which nothing more is heard."""

    def __init__(self) -> None:
        self._job: Job | None = None

    def __bool__(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def start(
        self,
        work: Callable[[], object],
        done: Callable,
        *,
        ended: Callable = lambda: None,
        step: Callable = lambda step: None,
        failed: Callable = lambda error: None,
    ) -> None:
        """Begin a job, with callables as `Job` has them, but `done` without the seconds; the job is over before it."""
        self.stop()

        def over(then: Callable[[], object] = lambda: None) -> None:
            if self._job is job:
                self._job = None
                then()
                ended()

        job = self._job = Job(
            work,
            done=lambda found, seconds: over(lambda: done(found)),
            ended=over,
            step=lambda found: step(found) if self._job is job else None,
            failed=lambda error: failed(error) if self._job is job else None,
        )

    def stop(self) -> None:
        """Cancel the job that is under way."""
        if self._job is not None:
            self._job.cancel()
        self._job = None


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
        # napari's bar lets other events run, so this may be called again, and the job may be over afterwards.
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

"""Reads planes, which may take long, one at a time."""

from __future__ import annotations

from collections.abc import Callable

from napari_exposure.gui.jobs import Job


class Reader:
    """Reads in a worker, and of the requests that come meanwhile only the last one next.

    Reading a plane cannot be stopped, so that parallel reads would pile up.
    """

    def __init__(self):
        self._job: Job | None = None
        self._next: tuple[Callable, Callable] | None = None

    @property
    def running(self) -> bool:
        """Whether anything is being read."""
        return self._job is not None

    def read(self, read: Callable, done: Callable) -> None:
        """Call `done` with what `read` returns, unless another request comes meanwhile."""
        self._next = read, done
        if self._job is None:
            self._begin()

    def stop(self) -> None:
        """Stop reading, and call no `done` any more."""
        self._next = None
        if self._job is not None:
            self._job.cancel()

    def _begin(self) -> None:
        if self._next is None:
            return
        (read, done), self._next = self._next, None

        def finish(result, seconds):
            # A later request replaces this result.
            if self._next is None:
                done(result)

        self._job = Job(read, done=finish, ended=self._ended)

    def _ended(self) -> None:
        self._job = None
        if self._next is not None:
            self._begin()

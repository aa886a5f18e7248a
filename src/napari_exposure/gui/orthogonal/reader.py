"""Reads planes that may take long, one at a time."""

from __future__ import annotations

from collections.abc import Callable

from napari_exposure.gui.jobs import Job


class Reader:
    """Reads in a worker; of what is asked for meanwhile only the last is read next.

    A read of a plane cannot be stopped, so that more at once would pile up.
    """

    def __init__(self):
        self._job: Job | None = None
        self._next: tuple[Callable, Callable] | None = None

    @property
    def running(self) -> bool:
        """Whether anything is being read."""
        return self._job is not None

    def read(self, read: Callable, done: Callable) -> None:
        """Have `done` called with what `read` returns, unless something else is asked for meanwhile."""
        self._next = read, done
        if self._job is None:
            self._begin()

    def stop(self) -> None:
        """Nothing more is heard of it."""
        self._next = None
        if self._job is not None:
            self._job.cancel()

    def _begin(self) -> None:
        if self._next is None:
            return
        (read, done), self._next = self._next, None

        def finish(result, seconds):
            # of what was asked for since, that is shown
            if self._next is None:
                done(result)

        self._job = Job(read, done=finish, ended=self._ended)

    def _ended(self) -> None:
        self._job = None
        if self._next is not None:
            self._begin()

"""A pool of threads that does not keep the process alive."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Threads(Executor):
    """Threads that end with the process, also where one of them waits for a slow disk.

    Python waits for those of `concurrent.futures.ThreadPoolExecutor` when it ends, so a window that was closed would
    leave a process behind for as long as a chunk takes to be read.

    Parameters
    ----------
    number : int

    Examples
    --------
    >>> from napari_exposure.core.threads import Threads
    >>> with Threads(2) as pool:
    ...     pool.submit(pow, 2, 5).result()
    32
    """

    def __init__(self, number: int) -> None:
        # dask asks a pool for this name.
        self._max_workers = number
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._serve, name=f"napari-exposure_{each}", daemon=True) for each in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[Given, Result], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Result]:
        """Have a thread call a function."""
        future: Future[Result] = Future()
        self._tasks.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads after what they were asked to do, or where futures are canceled after what has begun."""
        if cancel_futures:
            with suppress(Empty):
                while task := self._tasks.get_nowait():
                    task[0].cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _serve(self) -> None:
        while task := self._tasks.get():
            future, call = task
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)
            # What was worked on is not kept until the next task comes.
            del task, future, call

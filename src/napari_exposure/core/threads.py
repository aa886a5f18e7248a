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
    """So many threads that end with the process, even if one of them waits for a slow disk.

    At its end Python waits for the threads of `concurrent.futures.ThreadPoolExecutor`, so a closed window would leave a
    process behind until a chunk is read.

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
        """End the threads after all tasks, or only after those that have begun if the others are canceled."""
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
            # The task is forgotten here, so that its memory is free before the next one comes.
            del task, future, call

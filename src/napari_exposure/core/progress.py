"""Progress: passes over data report how far they are, and the listener may stop them.

Work is plain functions that return values.  A pass calls `report` before its first block and after each block, and
knows neither the bar nor the window that shows it.  A caller that wants the reports runs the work inside `listening`;
an error that the listener raises, such as `Cancelled`, stops the work at the next block.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

Listener = Callable[["Step"], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

_listener: ContextVar[Listener | None] = ContextVar("napari_exposure_listener", default=None)
_stopper: ContextVar[Callable[[], None] | None] = ContextVar("napari_exposure_stopper", default=None)
# Work that waits, such as for a slow disk, asks every so many seconds whether it is still wanted.
PATIENCE = 0.1


@dataclass(frozen=True)
class Step:
    """A report: what is being done, and which fraction of the whole work is done, in [0, 1].

    `slow` says that what comes next may take seconds, so that the report should be shown at once; `partial` is what
    was found so far, if it can be shown.
    """

    what: str
    fraction: float
    slow: bool = False
    partial: object = None


class Cancelled(Exception):
    """Raised by a listener to stop the work that reports to it."""


class MustRead(Exception):
    """Raised inside `at_once` where the work would have to read data."""


def report(what: str, fraction: float, *, slow: bool = False, found: object = None) -> None:
    """Tell the listener, if there is one, how far the work is; the listener may raise, which stops the work."""
    listener = _listener.get()
    if listener is not None:
        listener(Step(what, fraction, slow, found))


def look() -> None:
    """Let work that waits stop here if it is not wanted any more; nothing is reported."""
    if (stopper := _stopper.get()) is not None:
        stopper()


@contextmanager
def listening(listener: Listener, stopper: Callable[[], None] | None = None) -> Iterator[None]:
    """Have all work inside report to `listener`, in the thread that does the work.

    Work that waits calls `stopper` now and then, which raises `Cancelled` to stop it, as `listener` may too.
    """
    token, other = _listener.set(listener), _stopper.set(stopper or _stopper.get())
    try:
        yield
    finally:
        _listener.reset(token)
        _stopper.reset(other)


@contextmanager
def changed(change: Callable[[Step], Step]) -> Iterator[None]:
    """Pass reports of the work inside through `change` before the listener gets them."""
    outer = _listener.get()
    if outer is None:
        yield
        return
    with listening(lambda step: outer(change(step))):
        yield


@contextmanager
def part(start: float, stop: float) -> Iterator[None]:
    """Report the work inside as fractions `start` to `stop` of longer work, which never decrease."""
    reached = start

    def placed(step: Step) -> Step:
        nonlocal reached
        reached = max(reached, start + (stop - start) * step.fraction)
        return replace(step, fraction=reached)

    with changed(placed):
        yield


def item(number: int, count: int) -> AbstractContextManager[None]:
    """Report the work inside as item `number` of `count` equal ones."""
    return part(number / count, (number + 1) / count)


def each(items: Sequence[Item], work: Callable[[Item], Result]) -> list[Result]:
    """Do the work for one item after the other, each as an equal part of the whole, and return the results."""
    results = []
    for number, one in enumerate(items):
        with item(number, len(items)):
            results.append(work(one))
    return results


@contextmanager
def shared() -> Iterator[Callable[..., Any]]:
    """Let work in several threads report to the listener, one at a time.

    Yields a function that calls another in the thread it is called in: ``inside(work, *arguments)``.
    """
    lock = threading.Lock()

    def locked(step: Step, listener: Listener) -> None:
        with lock:
            listener(step)

    with part(0, 1), ExitStack() as stack:
        if (listener := _listener.get()) is not None:
            stack.enter_context(listening(partial(locked, listener=listener)))
        context = copy_context()
        yield lambda work, *arguments: context.copy().run(work, *arguments)


@contextmanager
def at_once() -> Iterator[None]:
    """Allow only work that reads no data, because all of it is known already.

    Raises
    ------
    MustRead
        If a pass over data would begin, or a kernel would be compiled.
    """

    def refuse(step: Step) -> None:
        raise MustRead(step.what)

    with listening(refuse):
        yield


def undisturbed(work: Callable[[], Result]) -> Result:
    """Do some work in a thread of its own, where Ctrl+C cannot interrupt it in the middle of something.

    Ctrl+C interrupts only the main thread, at any place.  In another thread it cannot interrupt the writing of a chunk
    or the removal of unfinished files: the work stops at its next report, and only then the interrupt goes on.  The
    listener runs in the thread that called this.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    events: SimpleQueue[Step | BaseException | None] = SimpleQueue()
    heard: SimpleQueue[bool] = SimpleQueue()
    results: list[Result] = []
    stopped = threading.Event()

    def hear(step: Step) -> None:
        # The work waits for its listener, so that it does not go on while the listener stops it.
        events.put(step)
        heard.get()
        if stopped.is_set():
            raise Cancelled

    def run() -> None:
        try:
            with listening(hear):
                results.append(work())
            events.put(None)
        except BaseException as error:
            events.put(error)

    thread = threading.Thread(target=copy_context().run, args=(run,), name="napari-exposure-work")
    thread.start()
    try:
        while isinstance(event := events.get(), Step):
            if (listener := _listener.get()) is not None:
                listener(event)
            heard.put(True)
    except BaseException:
        stopped.set()
        heard.put(True)
        while thread.is_alive():
            with suppress(KeyboardInterrupt):
                thread.join()
        raise
    thread.join()
    if event is not None:
        raise event
    return results[0]


@contextmanager
def bar(make: Callable[..., Any] | None = None, delay: float = 0.5) -> Iterator[None]:
    """Show the progress of the work inside as a bar, unless somebody listens to it already.

    Parameters
    ----------
    make : callable, optional
        A tqdm class, or a function that makes its bars.  The default makes a bar on a terminal.
    delay : float
        The bar appears after so many seconds, or at once for a slow step.
    """
    if _listener.get() is not None:
        yield
        return
    with ExitStack() as stack:
        start, at = time.perf_counter(), 0
        shown: Any = None

        def show(step: Step) -> None:
            nonlocal at, shown
            if shown is None and (step.slow or time.perf_counter() - start >= delay):
                shown = stack.enter_context((make or _terminal_bar())(total=100, leave=False))
            now = int(100 * step.fraction)
            if shown is not None and (now > at or step.slow):
                shown.set_description(step.what)
                shown.update(now - at)
                at = now

        with listening(show):
            yield


def _terminal_bar() -> Callable[..., Any]:
    from tqdm import tqdm

    return partial(tqdm, disable=None, bar_format="{desc}: {percentage:3.0f}% {bar}")

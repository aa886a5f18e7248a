"""A memory of what passes over a volume found, so that another fit of the same volume need not read it again."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import reduce
from typing import Any, Protocol, Self, TypeVar, TypeVarTuple

from napari_exposure.core import progress

# The results of one volume may take so many bytes, which hold the tile histograms of several kernel sizes.
LIMIT = 256 << 20
# The passes and steps of one fit may share results of so many bytes, such as histograms of gray levels.
SHARED = 8 << 20

Result = TypeVar("Result")
Rest = TypeVarTuple("Rest")


class Remembering(Protocol):
    """The part of a volume's interface that this module needs."""

    @property
    def memory(self) -> Memory | None:
        """The memory that keeps its results, if there is one."""

    @property
    def part(self) -> Hashable:
        """A key that tells it apart from other parts of the same volume."""

    @property
    def halves(self) -> Sequence[Self]:
        """Two volumes that it consists of; empty where it is a single one."""


Seen = TypeVar("Seen", bound=Remembering)


class Memory:
    """Results of passes, of which the least recently used is forgotten when they take more bytes than `limit`.

    Each volume has its own as ``Volume.memory``; code that changes the volume or its mask makes a new one.

    Examples
    --------
    >>> from napari_exposure.core.memory import Memory
    >>> memory = Memory(limit=100)
    >>> memory.put("a", 1, size=60)
    >>> memory.put("b", 2, size=60)
    >>> memory.get("a"), memory.get("b"), memory.size
    (None, 2, 60)
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self._found: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()
        self.size = 0

    def get(self, key: Hashable) -> Any:
        """Return what is remembered under `key`, or None."""
        with self._lock:
            if key not in self._found:
                return None
            self._found.move_to_end(key)
            return self._found[key][0]

    def put(self, key: Hashable, value: object, size: int) -> None:
        """Remember `value`, which takes `size` bytes, unless it is larger than the limit."""
        with self._lock:
            if key in self._found or size > self.limit:
                return
            self._found[key] = value, size
            self.size += size
            while self.size > self.limit:
                _, (_, oldest) = self._found.popitem(last=False)
                self.size -= oldest


def remembered(
    size: Callable[[Any], int],
    add: Callable[[Any, Any], Any] | None = None,
) -> Callable[[Callable[[Seen, *Rest], Result]], Callable[[Seen, *Rest], Result]]:
    """Let a pass ``find(volume, *arguments)`` keep its result in the volume's memory, if it has one.

    `size` returns the bytes that a result takes.  If `add` adds the results of two volumes, a volume with halves is
    not read as a whole: its result is the sum of theirs, each of which is found once.
    """

    def decorate(find: Callable[[Seen, *Rest], Result]) -> Callable[[Seen, *Rest], Result]:
        @functools.wraps(find)
        def remembering(volume: Seen, *arguments: *Rest) -> Result:
            memory = volume.memory
            key = find, volume.part, *arguments
            known: Result | None = None if memory is None else memory.get(key)
            if known is not None:
                return known
            if add is not None and volume.halves:
                found: Result = reduce(add, progress.each(volume.halves, lambda half: remembering(half, *arguments)))
            else:
                found = find(volume, *arguments)
            if memory is not None and found is not None:
                memory.put(key, found, size(found))
            return found

        return remembering

    return decorate

"""An array that lies in a file as it would lie in memory; it is read part by part, and never mapped.

If a mapped file is cut off, whoever touches its end ends the process; to read it is an error instead.
"""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class FlatFile:
    """An array in C order in a file, `offset` bytes behind its beginning; it is pickled without its voxels.

    An OSError says that the file is too short; when a part is read, also that it was changed or replaced meanwhile.
    """

    path: Path
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    stamp: tuple[int, int, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with open(self.path, "rb") as file:
            found = os.fstat(file.fileno())
        object.__setattr__(self, "stamp", _stamp(found))
        self._check(found, self.offset + math.prod(self.shape) * self.dtype.itemsize)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        # NumPy indexes an array over a single voxel of memory, and the address of the view says which bytes to read.
        # The ellipsis makes it a view also where one voxel is asked for, so that no voxel is looked at.
        index = index if isinstance(index, tuple) else (index,)
        index = index if any(each is Ellipsis for each in index) else (*index, Ellipsis)
        nothing = np.empty(1, self.dtype)
        strides = [math.prod(self.shape[axis + 1 :]) * self.dtype.itemsize for axis in range(self.ndim)]
        view = np.lib.stride_tricks.as_strided(nothing, self.shape, strides, writeable=False)[index]
        if view.size == 0:
            return np.empty(view.shape, self.dtype)
        first = nothing.ctypes.data
        low, high = (end - first for end in np.lib.array_utils.byte_bounds(view))
        buffer = self._read(low, high)
        return np.ndarray(view.shape, self.dtype, buffer, view.ctypes.data - first - low, view.strides)

    def _read(self, low: int, high: int) -> np.ndarray:
        buffer = np.empty(high - low, np.uint8)
        with open(self.path, "rb", buffering=0) as file:
            self._check(os.fstat(file.fileno()), self.offset + high)
            file.seek(self.offset + low)
            done = 0
            while done < len(buffer):
                count = file.readinto(buffer[done:].data)
                if not count:
                    self._check(os.fstat(file.fileno()), self.offset + high)
                    raise OSError(f"{self.path.name} ends before its data do.")
                done += count
        return buffer

    def _check(self, found: os.stat_result, end: int) -> None:
        if found.st_size < end:
            raise OSError(f"{self.path.name} is cut off: it has {found.st_size} bytes instead of {end}.")
        if _stamp(found) != self.stamp:
            raise OSError(f"{self.path.name} was changed or replaced while it was read. Open it again.")


def in_map(values: np.ndarray) -> tuple[Any, mmap.mmap, int, int] | None:
    """Return the memory map that values lie in, and where in its file they begin and end; None for others."""
    base: Any = values
    mapped: Any = None
    while isinstance(base, np.ndarray):
        mapped = base if isinstance(base, np.memmap) else mapped
        base = base.base
    if not isinstance(base, mmap.mmap) or mapped is None:
        return None
    # The system begins a map at a multiple of its granularity, which may lie before the offset that was asked for.
    first = mapped.offset - mapped.offset % mmap.ALLOCATIONGRANULARITY - np.frombuffer(base, np.uint8).ctypes.data
    start, end = (first + each for each in np.lib.array_utils.byte_bounds(values))
    return mapped, base, start, end


def off_map(values: np.ndarray) -> np.ndarray:
    """Return the same values, copied if they lie in a mapped file, or raise an error if that file is cut off."""
    found = in_map(values) if values.size else None
    if found is None:
        return np.asarray(values)
    mapped, base, _, end = found
    if base.size() < end:
        raise OSError(f"{mapped.filename} is cut off: it has {base.size()} bytes instead of {end}.")
    return np.array(values, copy=True, subok=False)


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns

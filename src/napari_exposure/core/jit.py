"""Compiled kernels on demand; numba is imported when the first one is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_exposure.core import progress

_lock = threading.RLock()
# The keys are names with dtypes.
_compiled: dict[tuple[Any, ...], Kernel] = {}


class Kernel:
    """A compiled function that is pickled by its name, so that a worker of a cluster makes its own."""

    def __init__(self, key: tuple[Any, ...], run: Callable[..., None]) -> None:
        self._key, self._run = key, run

    def __call__(self, *arguments: Any) -> None:
        self._run(*arguments)

    def __reduce__(self) -> tuple[Callable[..., Kernel], tuple[Any, ...]]:
        return kernel, self._key


def kernel(name: str, *dtypes: npt.DTypeLike) -> Kernel:
    """Return the kernel `name` for `dtypes` (those that its signature leaves open).

    It comes from numba's cache on disk, or is compiled in about a second and then cached there.
    """
    key: tuple[Any, ...] = (name, *(np.dtype(each) for each in dtypes))
    # A compiled kernel is returned without the lock, which another thread that compiles may hold for seconds.
    if key not in _compiled:
        with _lock:
            if key not in _compiled:
                from napari_exposure.core import kernels

                _compiled[key] = Kernel(key, kernels.build(*key))
    return _compiled[key]


def load_kernel(name: str, *dtypes: npt.DTypeLike) -> Kernel:
    """Return a kernel as `kernel` does, and report that it may take a while where it is not loaded yet."""
    if (name, *(np.dtype(each) for each in dtypes)) not in _compiled:
        progress.report("loading kernels (compiled on first use)", 0.0, slow=True)
    return kernel(name, *dtypes)

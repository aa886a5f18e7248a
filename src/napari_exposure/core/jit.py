"""Compiled kernels on demand; numba is imported when the first one is needed."""

from __future__ import annotations

import threading

import numpy as np

from napari_exposure.core import progress

_lock = threading.RLock()
_compiled: dict = {}


class Kernel:
    """A compiled function that is pickled by its name, so that a worker of a cluster makes its own."""

    def __init__(self, key: tuple, run):
        self._key, self._run = key, run

    def __call__(self, *arguments):
        return self._run(*arguments)

    def __reduce__(self):
        return kernel, self._key


def kernel(name: str, *dtypes) -> Kernel:
    """Return the kernel `name` for `dtypes` (those that its signature leaves open).

    It comes from numba's cache on disk, or is compiled, a second or so, and cached there.
    """
    key = (name, *map(np.dtype, dtypes))
    # one that is there needs no lock: another thread may be compiling for seconds
    if key not in _compiled:
        with _lock:
            if key not in _compiled:
                from napari_exposure.core import kernels

                _compiled[key] = Kernel(key, kernels.build(*key))
    return _compiled[key]


def load_kernel(name: str, *dtypes) -> Kernel:
    """`kernel` as a part of longer work, which reports where it may take a while."""
    if (name, *map(np.dtype, dtypes)) not in _compiled:
        progress.report("loading kernels (compiled on first use)", 0.0, slow=True)
    return kernel(name, *dtypes)

"""Compiles kernels in another process, so that a window stays quick meanwhile.

numba is written in Python, so a thread that compiles takes turns with the one that draws the window.  Another process
writes what it compiled to numba's cache on disk, from which this one loads it in some ten milliseconds.  Nothing
depends on it: where there is no such process, or it fails, a kernel is compiled here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.threads import Threads

# This process waits at most this many seconds for a kernel that the other one compiles.  Compiling takes a second or
# two, and several times that on a busy machine; whatever takes longer probably hangs, so the kernel is compiled here.
PATIENCE = 60.0
CODE = "from napari_exposure.core.elsewhere import serve; serve()"

_wanted = False
_compiler: Compiler | None = None


class Compiler:
    """A process that compiles kernels; it ends when this one does, because its input then ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # Without -P Python would look for modules in the folder that napari was started in first, and would import
            # a file called numpy.py if there is one.
            [sys.executable, "-P", "-c", CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # This flag keeps Windows from opening a console window for the new process.
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._threads = Threads(1)

    def compile(self, words: str) -> bool:
        """Have a kernel compiled, and return whether the process is still of use."""
        answer: Future[bool] = self._threads.submit(self._ask, words)
        end = time.monotonic() + PATIENCE
        while not wait([answer], progress.PATIENCE).done:
            if time.monotonic() > end:
                return False
            progress.look()
        return answer.result()

    def _ask(self, words: str) -> bool:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None, "It is a pipe."
        assert answers is not None, "It is a pipe."
        with suppress(OSError, ValueError):
            print(words, file=requests, flush=True)
            # Other lines are skipped, because modules may print when they are imported, and the answer to a request
            # that was canceled may come late.
            return any(line.strip() == words for line in answers)
        return False

    def end(self) -> None:
        """End the process and the thread that waits for it."""
        self._process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        # Closing a pipe fails if the process was killed before it read a request, and then nothing is left to close.
        with suppress(OSError):
            self._process.communicate()
        self._process.wait()


def begin() -> None:
    """Have kernels that are not in the cache compiled in another process from now on, if there can be one."""
    global _wanted
    # In a frozen application sys.executable is the application itself, which would open once more instead of running
    # the code.
    _wanted = Path(sys.executable or "").stem.lower().startswith("python") and not getattr(sys, "frozen", False)


def end() -> None:
    """Compile kernels here again."""
    global _wanted, _compiler
    ended, _compiler, _wanted = _compiler, None, False
    if ended is not None:
        ended.end()


def compile_elsewhere(name: str, *dtypes: np.dtype) -> None:
    """Have a kernel compiled to the cache, if that is wanted; it is called by one thread at a time."""
    global _compiler
    if not _wanted:
        return
    compiler = _compiler
    if compiler is None:
        with suppress(OSError):
            compiler = _compiler = Compiler()
    if compiler is None or not compiler.compile(" ".join([name, *map(str, dtypes)])):
        end()


def serve() -> None:
    """Compile kernels whose names and dtypes come as lines, until there are no more; it is the other process's work."""
    from napari_exposure.core import kernels

    for line in sys.stdin:
        name, *dtypes = line.split()
        with suppress(Exception):
            kernels.build(name, *map(np.dtype, dtypes))
        print(line.strip(), flush=True)

"""Kernels come whatever has happened to numba's cache, and the cache is made again where it can be written."""

import errno
import io
import os
import pickle
import shutil
import subprocess
import sys
import threading

import numba
import numpy as np
import pytest
from numba.core import caching

from napari_exposure.core import jit, kernels

UINT8, UINT16 = np.dtype("uint8"), np.dtype("uint16")
KERNEL = "count_values"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder that numba keeps its cache in."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def build(dtype=UINT8):
    """Make the kernel as a new process does, try it, and say whether it came from the cache."""
    kernel = kernels.build(KERNEL, dtype)
    counts = np.zeros(4, np.int64)
    kernel(np.array([0, 1, 1, 3], dtype), np.empty(0, bool), 0, counts)
    assert counts.tolist() == [1, 2, 0, 1]
    return sum(kernel.stats.cache_hits.values()) == 1


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with a whole cache of the kernel for uint8, which is compiled once for all that damage a copy of it."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "CACHE_DIR", str(folder))
        assert not build()
    return folder


@pytest.fixture
def filled(built, folder):
    """A folder of its own with such a cache, which numba takes the kernel from."""
    shutil.copytree(built, folder, dirs_exist_ok=True)
    assert build()
    return folder


def files(folder, ending):
    return sorted(path for path in folder.rglob(f"*{ending}") if KERNEL in path.name)


def test_a_kernel_is_cached(folder):
    assert not build()
    assert build()


def flipped(data):
    """One bit in the middle is another one, where the machine code lies."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 16]) + data[middle + 1 :]


# what a crash, a full disk or a bad one makes of a file
DAMAGES = {
    "empty": lambda data: b"",
    "halved": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "its first byte": lambda data: data[:1],
    "zeros": lambda data: bytes(len(data)),
    "half zeros": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "garbage": lambda data: bytes(np.random.default_rng(0).integers(0, 256, len(data), np.uint8)),
    "text": lambda data: b"no such thing\n",
    "a number": lambda data: pickle.dumps(5),
    "nothing": lambda data: pickle.dumps(None),
    "a class that is gone": lambda data: b"cno_such_module\nNothing\n.",
    "a number behind the version": lambda data: pickle.dumps(numba.__version__) + pickle.dumps(5),
    "a pair behind the version": lambda data: pickle.dumps(numba.__version__) + pickle.dumps((None, 5)),
    "a pair": lambda data: pickle.dumps((bytes(32), b"code")),
    "one bit": flipped,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_a_damaged_file_is_made_again(ending, damage, filled):
    (path,) = files(filled, ending)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    build()
    assert build()
    assert not list(filled.rglob("*.tmp.*"))


def test_a_strange_index_is_made_again(filled):
    # its stamp and its keys are right, and its names of files are none
    (path,) = files(filled, ".nbi")
    with path.open("rb") as file:
        version = pickle.load(file)
        stamp, index = pickle.loads(file.read())
    path.write_bytes(pickle.dumps(version) + pickle.dumps((stamp, dict.fromkeys(index, 5))))
    build()
    assert build()


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_a_missing_file_is_made_again(ending, filled):
    (path,) = files(filled, ending)
    path.unlink()
    build()
    assert build()


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_a_folder_in_the_place_of_a_file(ending, filled):
    (path,) = files(filled, ending)
    path.unlink()
    path.mkdir()
    assert not build()


def test_code_of_another_dtype_is_not_taken(folder):
    # two processes that compile at once may give two dtypes the same file
    build(UINT8)
    build(UINT16)
    first, second = files(folder, ".nbc")
    shutil.copy(first, second)
    assert not build(UINT16)
    assert build(UINT8)
    assert build(UINT16)


def test_code_of_another_kernel_is_not_taken(folder):
    kernels.build("log")
    kernels.build("exp")
    log, exp = (next(folder.rglob(f"*._{name}-*.nbc")) for name in ("log", "exp"))
    shutil.copy(log, exp)
    out = np.empty(1)
    kernels.build("exp")(np.zeros(1), out)
    assert out == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO])
@pytest.mark.parametrize("when", ["opened", "written"])
def test_a_cache_that_cannot_be_written(when, number, folder, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(number, os.strerror(number))

    def opened(path, mode):
        if mode != "wb":
            return open(path, mode)
        if when == "written":
            return Full()
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(caching, "open", opened, raising=False)
    assert not build()
    assert not build()


def test_a_disk_that_is_full_after_the_index(folder, monkeypatch):
    def fail(self, name, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(caching.IndexDataCacheFile, "_save_data", fail)
        assert not build()
    assert not build()
    assert build()


def test_no_folder_for_a_cache(folder, monkeypatch):
    def fail(**options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # so numba finds out whether it may write somewhere
    monkeypatch.setattr(caching.tempfile, "TemporaryFile", fail)
    assert not build()
    assert not list(folder.rglob("*.nb?"))


def test_a_process_with_a_damaged_cache(tmp_path):
    code = (
        "import numpy as np; from napari_exposure import core; print(core.adjust_gamma(np.uint8([[0, 64, 255]]), 0.5))"
    )

    def run():
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        return done.stdout

    expected = run()
    paths = [*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")]
    assert paths
    for path in paths:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run() == expected


def test_a_kernel_that_is_there_waits_for_no_other():
    expected = jit.kernel("log")
    compiling, ready, found = threading.Event(), threading.Event(), []

    def compile_long():
        with jit._lock:
            compiling.set()
            ready.wait(60)

    def look_up():
        found.append(jit.kernel("log"))
        ready.set()

    threads = [threading.Thread(target=work) for work in (compile_long, look_up)]
    threads[0].start()
    assert compiling.wait(60)
    threads[1].start()
    assert ready.wait(30)
    for thread in threads:
        thread.join()
    assert found == [expected]

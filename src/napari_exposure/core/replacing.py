"""Writes results so that they are whole or not there: beside their place, flushed to the disk, then moved at once.

An unfinished result lies in a hidden folder beside its place, and the process that writes it holds a lock there::

    .napari-exposure-<machine>-<token>/
        lock
        new/<name>    what is being written
        old/<name>    the folder that it replaces, while the two change places

A process that dies releases its lock.  The next process that writes beside it then removes what it has left.
"""

from __future__ import annotations

import errno
import os
import platform
import shutil
import sys
import time
import uuid
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]
PREFIX = ".napari-exposure-"
MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
# Some network drives keep locks to one machine, so what another machine has left counts as dead after so many seconds.
FOREIGN = 7 * 86400.0

# Some network drives would give this process a lock that it holds already, so it knows its own folders by name.
_ours: set[str] = set()


@contextmanager
def replacing(path: PathLike, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a place to write a file or a folder, which becomes `path` when all of it is on the disk.

    The place has the same name, in a folder that exists.  If anything fails, `path` is what it was; errors are those of
    `check_place`.  A new file gets the mode of the file that it replaces.  A link itself is replaced, not what it
    points to.  A device or a pipe, such as ``/dev/stdout``, is written to directly.
    """
    # The working directory may change while this runs.
    path = Path(os.path.abspath(path))
    if _is_device(path):
        yield path
        return
    tidy(path.parent)
    with _hidden_folder(path) as place:
        new, old = place / "new" / path.name, place / "old" / path.name
        new.parent.mkdir()
        yield new
        check_place(path, folder=new.is_dir(), overwrite=overwrite)
        _sync(new)
        if path.exists() and not path.is_symlink() and path.is_dir() == new.is_dir():
            shutil.copymode(path, new)
        _put(new, path, old)
        _sync_folder(path.parent)


def _is_device(path: Path) -> bool:
    """Whether a path is a device, a pipe, or a link of the system such as /dev/stdout, which may lead to a file."""
    folder = os.path.realpath(path.parent)
    return folder == "/dev" or folder.startswith("/proc/") or (path.exists() and not (path.is_file() or path.is_dir()))


def check_place(path: PathLike, *, folder: bool = False, overwrite: bool = True) -> None:
    """Raise if a file, or a `folder` that is a zarr store, cannot be put at a path.

    A FileNotFoundError says that the folder around it is missing; a FileExistsError, that something there must not be
    replaced: a file replaces no folder, a zarr store no folder but another store.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}.")
    if path.is_dir() and not path.is_symlink() and not (folder and (is_zarr(path) or not any(path.iterdir()))):
        what = "a folder, but no zarr store" if folder else "a folder"
        raise FileExistsError(f"{path} is {what}, and is not replaced. Choose another name.")
    if os.path.lexists(path) and not overwrite and not _is_device(path):
        raise FileExistsError(f"{path} exists. Choose another name, or overwrite=True.")


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


def keep_apart(inputs: Iterable[PathLike], outputs: Iterable[PathLike]) -> None:
    """Raise if an output would replace an input or another output, also through links, or would lie within one.

    No file was opened then.
    """
    read: dict[_Name, Path] = {}
    written: dict[_Name, Path] = {}
    for path in map(Path, inputs):
        read |= dict.fromkeys(_names(path), path)
    for path in map(Path, outputs):
        for name in (*_names(path), *_folders(path)):
            if name in written:
                raise ValueError(f"{written[name]} and {path} are one place. Write each to a place of its own.")
            if name in read:
                raise ValueError(_REPLACES.format(read[name], path))
        written |= dict.fromkeys(_names(path), path)
    for path in set(read.values()):
        for name in _folders(path):
            if name in written:
                raise ValueError(_REPLACES.format(path, written[name]))


_REPLACES = "{} is read, and {} would replace it or a part of it. Choose another place for that."


# A name is a real path, or the device and number of a file.
_Name: TypeAlias = str | tuple[int, int]


def _names(path: Path) -> Iterator[_Name]:
    """Yield names of a path, of which two paths that lead to one place have one in common."""
    yield os.path.realpath(path)
    with suppress(OSError):
        found = os.stat(path)
        yield found.st_dev, found.st_ino


def _folders(path: Path) -> Iterator[str]:
    """Return the real folders around a path, any of which may be a zarr store."""
    return (str(folder) for folder in Path(os.path.realpath(path)).parents if not folder.is_file())


def tidy(folder: PathLike) -> None:
    """Remove what dead processes have left in a folder, and finish the replacements that they had begun."""
    for place in Path(folder).glob(f"{PREFIX}*"):
        # What cannot be locked or removed is left to the next run, or to its owner.
        if place.name not in _ours and not place.is_symlink():
            with suppress(OSError):
                _tidy(place)


def _tidy(place: Path) -> None:
    try:
        lock = os.open(place / "lock", os.O_RDWR)
    except FileNotFoundError:
        # Its process died before it could lock the folder. If there is anything in it, it is not ours and stays.
        place.rmdir()
        return
    try:
        ours = place.name.startswith(PREFIX + MACHINE) or time.time() - os.fstat(lock).st_mtime > FOREIGN
        if not ours or not _locked(lock):
            return
        _remove(place)
    finally:
        os.close(lock)
    # Windows does not remove a lock that is open.
    shutil.rmtree(place, ignore_errors=True)


def _remove(place: Path) -> None:
    """Remove a hidden folder, after results in it that have no other copy are moved to their places."""
    for old in place.glob("old/*"):
        new, path = place / "new" / old.name, place.parent / old.name
        if not os.path.lexists(path):
            # Both are whole, because the new one was on the disk before the old one was moved away.
            os.replace(new if os.path.lexists(new) else old, path)
            _sync_folder(path.parent)
    _drop(place / "old")
    for each in place.glob("*"):
        # The lock is removed last, because the next run needs it to tell that the folder is a leftover.
        if each.name != "lock":
            shutil.rmtree(each, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)


def _drop(old: Path) -> None:
    """Remove what was replaced; it is renamed first, because a part of it must never be put back."""
    with suppress(OSError):
        dead = old.with_name(uuid.uuid4().hex)
        os.replace(old, dead)
        shutil.rmtree(dead, ignore_errors=True)


@contextmanager
def _hidden_folder(path: Path) -> Iterator[Path]:
    """Give a locked folder beside `path`, which is removed at the end."""
    while True:
        place = path.with_name(f"{PREFIX}{MACHINE}-{uuid.uuid4().hex[:8]}")
        lock = None
        _ours.add(place.name)
        try:
            try:
                place.mkdir()
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from None
            # Until the folder is locked, another process may take it for a leftover and remove it.
            with suppress(FileNotFoundError):
                lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL)
            if lock is not None and _lockable(lock) and (place / "lock").exists():
                yield place
                return
        finally:
            try:
                _remove(place)
            finally:
                _ours.discard(place.name)
                if lock is not None:
                    os.close(lock)
            # Windows does not remove a lock that is open.
            shutil.rmtree(place, ignore_errors=True)


def _lockable(lock: int) -> bool:
    """Lock a new file; on a file system without locks this counts as done, and leftovers of killed processes stay."""
    try:
        return _locked(lock)
    except OSError:
        return True


def _locked(lock: int) -> bool:
    """Lock an open file until it is closed or this process ends; return False if another process has locked it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _put(new: Path, path: Path, old: Path) -> None:
    """Move a file to its place in one step, and a folder in two, because a folder cannot replace another one."""
    if not new.is_dir():
        os.replace(new, path)
        return
    while True:
        try:
            if os.path.lexists(path):
                # Another process may have put its own folder there meanwhile, which is then the one that is replaced.
                _drop(old.parent)
                old.parent.mkdir()
                os.replace(path, old)
            os.replace(new, path)
            return
        except BaseException as error:
            if os.path.lexists(old) and not os.path.lexists(path):
                os.replace(old, path)
            elif isinstance(error, OSError) and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue
            raise


def _sync(path: Path) -> None:
    """Flush a file, or a folder and all that it holds, to the disk."""
    if not path.is_dir():
        _sync_file(path)
        return
    folders, files = [], []
    for folder, _, names in os.walk(path):
        folders.append(folder)
        files += [os.path.join(folder, name) for name in names]
    # Several threads ask at once, because the file system flushes together what is asked for together.
    with ThreadPoolExecutor(8) as pool:
        for each in (pool.map(_sync_file, files), pool.map(_sync_folder, folders)):
            list(each)


def _sync_file(path: PathLike) -> None:
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def _sync_folder(path: PathLike) -> None:
    if os.name == "nt":
        return
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        # Some network drives cannot flush folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(folder)

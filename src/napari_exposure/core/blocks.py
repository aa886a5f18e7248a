"""Walks the blocks of any array on a pool of threads; nothing else reads or writes volumes."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.flatfile import off_map
from napari_exposure.core.threads import Threads
from napari_exposure.core.typing import Array, Index, WritableArray

if TYPE_CHECKING:
    import dask.array as da


# A block of so many voxels is some ten milliseconds of work: short enough to be canceled promptly, and long enough
# that Python's own share of the time does not matter.
BLOCK_VOXELS = 1 << 21

Block = tuple[slice, ...]
Part = TypeVar("Part")
Found = TypeVar("Found")


def thread_count() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def contiguous_blocks(shape: tuple[int, ...], voxels: int = BLOCK_VOXELS) -> Iterator[Block]:
    """Cut `shape` into runs of whole trailing axes of about `voxels` voxels, in C order."""
    inner = 1
    axis = len(shape)
    while axis > 0 and inner * shape[axis - 1] <= voxels:
        axis -= 1
        inner *= shape[axis]
    whole = tuple(slice(0, n) for n in shape[axis:])
    if axis == 0:
        yield whole
        return
    split = axis - 1
    step = max(1, voxels // inner)
    for outer in np.ndindex(*shape[:split]):
        lead = tuple(slice(i, i + 1) for i in outer)
        for start in range(0, shape[split], step):
            yield (*lead, slice(start, min(start + step, shape[split])), *whole)


def stored_chunks(array: object) -> tuple[int, ...] | None:
    """Return the shape of what a zarr array or an h5py dataset reads at once; None for other arrays."""
    chunks = getattr(array, "shards", None) or getattr(array, "chunks", None)
    return chunks if isinstance(chunks, tuple) and all(isinstance(n, int) for n in chunks) else None


def missing_chunks(array: Any) -> int:
    """Return how many chunks of the zarr arrays that an array reads are not stored, which are read as fill values."""
    return sum(int(each.nchunks - each.nchunks_initialized) for each in _zarr_arrays(array))


def _zarr_arrays(array: Any) -> list[Any]:
    """Return the zarr arrays that an array reads: itself, or those that a dask array was made from."""
    stored = [array]
    if is_dask(array):
        graph: Any = array.__dask_graph__()
        stored = [
            each for name, layer in graph.layers.items() if name.startswith("original-") for each in layer.values()
        ]
    # The class is asked, because the attribute of an instance would look for all chunks on the disk.
    return [each for each in stored if hasattr(type(each), "nchunks_initialized")]


def check_there(array: Any) -> None:
    """Raise an `OSError` if a zarr array was removed while it was read, because zarr then gives its fill value."""
    for each in _zarr_arrays(array):
        # Only stores that are folders have a root.
        root = getattr(each.store, "root", None)
        if isinstance(root, Path) and not (root / each.path).is_dir():
            raise OSError(f"{root / each.path} was removed while it was read. Open it again.")


def chunked_blocks(shape: tuple[int, ...], chunks: tuple[int, ...], voxels: int = BLOCK_VOXELS) -> Iterator[Block]:
    """Cut `shape` into blocks of whole chunks, joined along the last axes to about `voxels` voxels."""
    sizes = [min(chunk, n) for chunk, n in zip(chunks, shape, strict=True)]
    for axis in reversed(range(len(shape))):
        together = max(1, voxels // math.prod(sizes))
        sizes[axis] = min(shape[axis], sizes[axis] * together)
    starts = (range(0, n, size) for n, size in zip(shape, sizes, strict=True))
    for corner in product(*starts):
        yield tuple(slice(at, min(at + size, n)) for at, size, n in zip(corner, sizes, shape, strict=True))


def stored_blocks(array: object, shape: tuple[int, ...], *voxels: int) -> Iterator[Block]:
    """Cut `shape` into blocks of about so many voxels: whole chunks of a zarr array or an h5py dataset, each once."""
    chunks = stored_chunks(array)
    if chunks is None:
        return contiguous_blocks(shape, *voxels)
    return chunked_blocks(shape, chunks[: len(shape)], *voxels)


class ClusterError(RuntimeError):
    """A cluster cannot go on, for a reason that has nothing to do with the data."""


def read_part(array: Array, index: Index) -> np.ndarray:
    """Read a part of an array; if it cannot be read, the error says which part that is."""
    if isinstance(array, np.ndarray):
        return off_map(np.asanyarray(array[index]))
    try:
        if is_dask(array):
            from napari_exposure.core import lazy

            found = lazy.read(array[index])
        else:
            found = np.asarray(array[index])
        check_there(array)
        return found
    except ClusterError:
        raise
    except Exception as error:
        raise unreadable(_bad_chunk(array, index), error) from error


def _bad_chunk(array: Array, index: Index) -> Index:
    """Return the chunk within `index` that cannot be read, or `index` if the array has no chunks."""
    chunks = stored_chunks(array)
    parts = [part for part in index if isinstance(part, slice)]
    if chunks is None or len(parts) < len(index):
        return index
    shape = tuple(part.stop - part.start for part in parts)
    for block in chunked_blocks(shape, chunks[: len(shape)], 1):
        place = tuple(
            slice(whole.start + part.start, whole.start + part.stop) for whole, part in zip(parts, block, strict=True)
        )
        try:
            array[place]
        except Exception:
            return place
    return index


def unreadable(index: Index, error: Exception) -> OSError:
    """Return the error for a part of an array that cannot be read."""
    where = ", ".join(f"{at.start}:{at.stop}" if isinstance(at, slice) else str(at) for at in index)
    return OSError(f"The voxels [{where}] cannot be read: {type(error).__name__}: {error}")


def is_dask(array: object) -> TypeGuard[da.Array]:
    """Return whether it is a dask array, without importing dask."""
    # The class may be missing because another thread is just importing dask; then no array can be one yet.
    kind = getattr(sys.modules.get("dask.array.core"), "Array", None)
    return kind is not None and isinstance(array, kind)


def walk(blocks: Iterable[Part], work: Callable[[Part], Found], merge: Callable[[Found], object], what: str) -> None:
    """Run ``work(block)`` over blocks on a pool of threads, and ``merge(result)`` in their order on this thread.

    Progress is reported after each block.
    """
    blocks = list(blocks)
    progress.report(what, 0.0)
    with closing(in_threads(blocks, work)) as results:
        for done, result in enumerate(results, start=1):
            merge(result)
            progress.report(what, done / len(blocks))


def in_threads(items: Sequence[Part], work: Callable[[Part], Found]) -> Generator[Found]:
    """Run ``work(item)`` on a pool of threads, and yield the results in the order of the items.

    Closing drops items that have not begun and waits for the others, which takes a few milliseconds, so that nothing
    goes on behind a canceled call.
    """
    if len(items) == 1:
        yield work(items[0])
        return
    threads = thread_count()
    pool = Threads(threads)
    try:
        waiting: deque[Future[Found]] = deque()
        ahead = iter(items)
        for _ in items:
            # The queue is short, so that blocks that were read from disk do not pile up in memory.
            while len(waiting) < 2 * threads and (item := next(ahead, None)) is not None:
                waiting.append(pool.submit(work, item))
            yield _awaited(waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _awaited(future: Future[Found]) -> Found:
    """Wait for the result of a block; the listener may stop the work meanwhile."""
    while not wait([future], progress.PATIENCE).done:
        progress.look()
    return future.result()


def store(array: Array, target: WritableArray, what: str) -> None:
    """Write an array to another of its shape, such as one on disk, block by block.

    Blocks are whole chunks of the target.  Chunks of a dask array must consist of whole chunks of the target.
    """
    if is_dask(array):
        from napari_exposure.core import lazy

        lazy.store(array, target, what)
        check_there(array)
        return

    def work(block: Block) -> None:
        target[block] = read_part(array, block)

    walk(stored_blocks(target, tuple(array.shape)), work, lambda _: None, what)

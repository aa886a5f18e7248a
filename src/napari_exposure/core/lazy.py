"""dask arrays: passes that read each chunk once, on threads or on a cluster, and results that stay lazy."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Generator, Hashable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise, product
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.arrays import held
from napari_exposure.core.blocks import BLOCK_VOXELS, Block, ClusterError, is_dask, stored_chunks, unreadable
from napari_exposure.core.flatfile import in_map, off_map
from napari_exposure.core.threads import Threads
from napari_exposure.core.typing import Array, Index, WritableArray
from napari_exposure.core.volume import Volume

if TYPE_CHECKING:
    import dask.array as da
    from distributed import Client

    from napari_exposure.core.transform import BlockMap

# A chunk lies at its (start, stop) along each axis.
Place = tuple[tuple[int, int], ...]
Chunks = tuple[tuple[int, ...], ...]
Found = TypeVar("Found")

# Arrays that are not stored in chunks are divided into chunks of about so many bytes.
CHUNK_BYTES = 1 << 26
# A cluster may be without a worker for so many seconds, because its nanny or its queue may start a new one.
PATIENCE = 25.0
# The cluster is asked for its workers every so many seconds.
LOOK = 1.0


def known(array: da.Array) -> da.Array:
    """Return a dask array whose shape is known, or raise what to do."""
    if any(map(math.isnan, array.shape)):
        raise ValueError("The dask array has chunks of unknown size. Call array.compute_chunk_sizes() first.")
    return array


def checked(array: da.Array) -> da.Array:
    """Return a dask array, or raise what to do if its chunks have no known size or do not fit into memory."""
    known(array)
    import psutil

    largest = tuple(max(sizes) for sizes in array.chunks)
    needed, free = math.prod(largest) * array.dtype.itemsize, psutil.virtual_memory().available
    if 2 * needed > free:
        raise ValueError(
            f"A chunk of shape {largest} takes {needed / 2**30:.1f} GB, which does not fit twice into the memory that "
            f"is free ({free / 2**30:.1f} GB). Use smaller chunks, as array.rechunk('auto') makes them."
        )
    return array


class _Stored:
    """An array that dask reads in place, because it shows no method copy, which dask's ``from_array`` would call."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, len(array.shape)

    def __getitem__(self, index: Index) -> Any:
        found = self._array[index]
        return off_map(found) if isinstance(found, np.ndarray) else found

    def __reduce__(self) -> tuple[Callable[..., _Stored], tuple[Any, ...]]:
        # The workers of a cluster open the file of a memory map themselves.
        file = _file(self._array)
        return (_Stored, (self._array,)) if file is None else (_reopened, file)


def _file(array: Array) -> tuple[Any, ...] | None:
    """Return the arguments of `_reopened` for a memory map or a view of one, and None for other arrays."""
    if not isinstance(array, np.memmap) or array.filename is None or (found := in_map(array)) is None:
        return None
    _, _, start, end = found
    inside = array.ctypes.data - np.lib.array_utils.byte_bounds(array)[0]
    return str(array.filename), start, end - start, inside, array.shape, array.strides, array.dtype


def _reopened(
    path: str,
    offset: int,
    size: int,
    inside: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: np.dtype,
) -> _Stored:
    buffer = np.memmap(path, np.uint8, "r", offset, (size,))
    return _Stored(np.ndarray(shape, dtype, buffer, inside, strides))


def as_dask(array: Array) -> da.Array:
    """Return a dask array of a stored array, without reading or copying it.

    Parameters
    ----------
    array : array-like
        NumPy, a memory map, zarr, h5py, xarray, TensorStore or dask.  The dask array shows what is written to it later.

    Returns
    -------
    dask.array.Array
        Its chunks are those that are stored, or else whole planes of about 64 MB together.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure import core
    >>> core.as_dask(np.zeros((600, 512, 512), np.uint16)).chunksize
    (128, 512, 512)
    """
    array, _ = held(array)
    if is_dask(array):
        return array
    import dask.array as da
    from dask.array.core import normalize_chunks

    chunks = stored_chunks(array)
    if chunks is None:
        planes = array.shape[-2:]
        whole = planes if math.prod(planes) * array.dtype.itemsize <= CHUNK_BYTES else ("auto", "auto")[: len(planes)]
        chunks = ("auto",) * (len(array.shape) - len(planes)) + tuple(whole)
        chunks = normalize_chunks(chunks, array.shape, CHUNK_BYTES, array.dtype)
    made: da.Array = da.from_array(_Stored(array), chunks=chunks, name=False)
    return made


def mapped(transform: BlockMap, array: da.Array) -> da.Array:
    """Return what a transform makes of a dask array, lazily and in the same chunks."""
    import dask
    import dask.array as da

    if transform.rgb:
        array = array.rechunk({-1: -1})
    # All tasks depend on one delayed object, so that it is sent to each worker only once.
    shared = dask.delayed(transform, traverse=False)
    nothing = np.empty((0,) * array.ndim, transform.out_dtype)
    made: da.Array = da.map_blocks(_map, array, transform=shared, dtype=transform.out_dtype, meta=nothing)
    return made


def _map(chunk: np.ndarray, transform: BlockMap, block_info: dict[int | None, Any] | None = None) -> np.ndarray:
    place = block_info[0]["array-location"] if block_info else [(0, n) for n in chunk.shape]
    return transform(chunk, [start for start, _ in place][: len(transform.shape)])


def count(
    volume: Volume,
    visit: Callable[[Block, np.ndarray, np.ndarray], Found],
    merge: Callable[[Found], object],
    what: str,
) -> None:
    """Count as `volume.count` does, on dask's scheduler: its threads, or the cluster of a distributed client."""
    import dask
    import dask.array as da

    array = checked(as_dask(volume.array))
    for transform in volume.through:
        array = mapped(transform, array)
    array = _grouped(_part(volume, array.rechunk({-1: -1}) if volume.rgb else array))
    spatial = array.chunks[:-1] if volume.rgb else array.chunks
    arrays = [array]
    if volume.mask is not None:
        mask = _part(volume, as_dask(volume.mask)).rechunk(spatial)
        arrays.append(mask[..., None] if volume.rgb else mask)
    # One task reads a chunk and counts it; its result is the only element of a chunk of objects.
    found = da.map_blocks(
        _visit,
        *arrays,
        shared=dask.delayed(visit, traverse=False),
        fixed=(volume.rgb, volume.color, volume.dtype, volume.ignore_zeros),
        chunks=tuple((1,) * len(sizes) for sizes in array.chunks),
        dtype=object,
        meta=np.empty((0,) * array.ndim, object),
    )
    tasks, chunks = found.to_delayed().ravel(), array.to_delayed().ravel()
    places = list(_places(spatial))
    # Concatenating and indexing may leave chunks without voxels, which are left out.
    full = [number for number, place in enumerate(places) if all(start < stop for start, stop in place)]
    tasks, chunks, places = ([each[number] for number in full] for each in (tasks, chunks, places))
    _run(tasks, lambda result: merge(result.item()), what, _client(), chunks, places)


def store(array: da.Array, target: WritableArray, what: str) -> None:
    """Write a dask array to another array, each chunk by the task that has made it."""
    import dask

    shared = dask.delayed(target, traverse=False)
    task = dask.delayed(_store, pure=False)
    chunks = checked(array).to_delayed().ravel()
    places = list(_places(array.chunks))
    tasks = [task(values, shared, place) for values, place in zip(chunks, places, strict=True)]
    # Workers of a cluster cannot write to an array in the memory of this process.
    client = None if isinstance(target, np.ndarray) else _client()
    _run(tasks, lambda _: None, what, client, chunks, places)


def _store(values: np.ndarray, target: WritableArray, place: Place) -> None:
    target[tuple(slice(start, stop) for start, stop in place)] = values


def _client() -> Client | None:
    """Return the client of a cluster, if there is one and dask was not told to use another scheduler."""
    from dask.base import get_scheduler

    return getattr(get_scheduler(), "__self__", None)


def read(array: da.Array) -> np.ndarray:
    """Return the values of a small dask array, which the cluster computes if there is one."""
    client = _client()
    if client is not None:
        ((_, found),) = _on_cluster([array], client)
        return np.asarray(found)
    return np.asarray(array)


def _run(
    tasks: Sequence[Any],
    merge: Callable[[Any], object],
    what: str,
    client: Client | None,
    chunks: Sequence[Any],
    places: Sequence[Place],
) -> None:
    """Run tasks, and merge their results here as they come; errors name the chunk by its place."""
    progress.report(what, 0.0)
    results = _on_threads(tasks) if client is None else _on_cluster(tasks, client)
    left = dict(enumerate(zip(chunks, places, strict=True)))
    try:
        for number, result in results:
            merge(result)
            del left[number]
            progress.report(what, 1 - len(left) / len(tasks))
    except (ClusterError, progress.Cancelled, progress.MustRead):
        raise
    except Exception as error:
        _name_chunk(error, left.values())
        raise
    finally:
        results.close()


def _name_chunk(error: Exception, chunks: Iterable[tuple[Any, Place]]) -> None:
    """Raise an error that names the unreadable chunk if reading one fails the same way, as dask does not name it."""
    for chunk, place in chunks:
        try:
            chunk.compute(scheduler="synchronous")
        except Exception as again:
            if type(again) is type(error):
                raise unreadable(tuple(slice(*ends) for ends in place), error) from error
            return


def blocks_of(array: da.Array) -> tuple[da.Array, list[Block]]:
    """Return a dask array with its small chunks joined, and its chunks as blocks."""
    array = _grouped(checked(array))
    places = (tuple(slice(start, stop) for start, stop in place) for place in _places(array.chunks))
    return array, [block for block in places if all(part.start < part.stop for part in block)]


def _part(volume: Volume, array: da.Array) -> da.Array:
    """Return the part of an array that a volume is restricted to."""
    # Leading indices count from the corner of the box, as in `Volume`.
    array = array[volume.box] if volume.box else array
    return array[volume.lead] if volume.lead else array


def _grouped(array: da.Array) -> da.Array:
    """Join small chunks along an axis, so that a task is worth its cost; no chunk is read twice."""
    voxels = math.prod(max(sizes) for sizes in array.chunks)
    axis = max(0, array.ndim - 3)
    if voxels * 4 > BLOCK_VOXELS or len(array.chunks[axis]) == 1:
        return array
    together = BLOCK_VOXELS // voxels
    sizes = array.chunks[axis]
    joined = tuple(sum(sizes[at : at + together]) for at in range(0, len(sizes), together))
    grouped: da.Array = array.rechunk({axis: joined})
    return grouped


def _places(chunks: Chunks) -> Iterator[Place]:
    """Yield where each chunk lies, as (start, stop) along each axis, in C order."""
    ends = [np.cumsum((0, *sizes)).tolist() for sizes in chunks]
    yield from product(*(list(pairwise(axis)) for axis in ends))


def _visit(
    values: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    shared: Callable[[Block, np.ndarray, np.ndarray], object],
    fixed: tuple[bool, Callable[[np.ndarray], np.ndarray], np.dtype, bool],
    block_info: Any = None,
) -> np.ndarray:
    """Return what `shared` finds in a chunk, as an array of one object; this is one task."""
    from napari_exposure.core.intensity import prepared
    from napari_exposure.core.volume import which_count

    rgb, color, dtype, ignore_zeros = fixed
    place = block_info[0]["array-location"]
    found = np.empty((1,) * values.ndim, object)
    block = tuple(slice(start, stop) for start, stop in (place[:-1] if rgb else place))
    mask = mask[..., 0] if rgb and mask is not None else mask
    values = prepared(color(values) if rgb else values, dtype)
    found[(0,) * found.ndim] = shared(block, values, which_count(values, mask, ignore_zeros))
    return found


def _on_cluster(tasks: Sequence[Any], client: Client) -> Generator[tuple[int, Any]]:
    """Yield the number and result of each task as it is done; the scheduler runs the tasks of a lost worker again."""
    from distributed import CancelledError, KilledWorker, as_completed

    left = {future: number for number, future in enumerate(client.compute(tasks))}
    # Results come along with the futures: a later request for one whose worker is gone by then would wait forever.
    done = as_completed(list(left), client.loop, with_results=True)
    try:
        while left:
            _while_there_are_workers(client, done.has_ready, left)
            try:
                future, result = next(done)
            except KilledWorker as error:
                raise ClusterError(
                    "Workers of the cluster died again and again at the same part of the work, often for want of "
                    f"memory. Use smaller chunks, or workers with more memory. {error}"
                ) from error
            if isinstance(result, CancelledError):
                raise ClusterError(
                    f"The cluster gave up the work, or is gone: its client is {client.status!r}. Make a new client of "
                    "a cluster that runs, and run this again."
                ) from result
            # Once the future is dropped, the cluster may forget the result.
            yield left.pop(future), result
    finally:
        if left and client.status == "running":
            client.cancel(list(left))
            _wait(client, {future.key for future in left})


def _while_there_are_workers(client: Client, ready: Callable[[], bool], left: Collection[object]) -> None:
    """Wait until a result is ready, or raise what to do when the cluster has had no worker for some time."""
    seen = looked = time.monotonic()
    while not ready():
        progress.look()
        time.sleep(0.005)
        now = time.monotonic()
        if now - looked < LOOK:
            continue
        looked = now
        # The question fails where the client has lost its scheduler; the client then gives up the work itself.
        with suppress(OSError):
            if client.status != "running" or client.nthreads():
                seen = now
        if now - seen >= PATIENCE:
            scheduler: Any = client.scheduler
            raise ClusterError(
                f"The cluster at {scheduler.address} has 0 workers, and none came within {PATIENCE:g} s; "
                f"{len(left)} parts of the work are left. Start workers, wait for them with "
                "client.wait_for_workers(1), and run this again; or close the client to work in this process."
            )


def _wait(client: Client, keys: set[Hashable]) -> None:
    """Wait until no worker runs one of the tasks `keys`: tasks that have begun run to their end, and may write."""

    def busy(dask_worker: Any) -> set[Hashable]:
        return set(dask_worker.active_threads.values())

    while any(keys & at for at in client.run(busy, on_error="ignore").values()):
        time.sleep(0.05)


def _awaited(found: SimpleQueue[Found]) -> Found:
    """Wait for the next result, unless the work is stopped meanwhile."""
    while True:
        with suppress(Empty):
            return found.get(timeout=progress.PATIENCE)
        progress.look()


def _on_threads(tasks: Sequence[Any]) -> Generator[tuple[int, Any]]:
    """Yield the number and result of each task as dask's threads finish it; closing stops tasks that have not begun."""
    import dask
    from dask.system import CPU_COUNT

    found: SimpleQueue[tuple[int, Any] | BaseException] = SimpleQueue()
    stopped = threading.Event()

    class Stopped(Exception):
        pass

    def before(key: object, graph: object, state: object) -> None:
        if stopped.is_set():
            raise Stopped

    def noted(number: int, result: object) -> None:
        found.put((number, result))

    note = dask.delayed(noted, pure=False)
    noting = [note(number, task) for number, task in enumerate(tasks)]

    threads = dask.config.get("num_workers", None) or CPU_COUNT

    def run() -> None:
        # The pool belongs to this call and ends with the last task that has begun, so that nothing is written later.
        with Threads(threads) as pool:
            try:
                dask.compute(*noting, scheduler="threads", pool=pool, callbacks=[(None, None, before, None, None)])
            except BaseException as error:
                stopped.set()
                found.put(error)

    thread = threading.Thread(target=run, name="napari-exposure-dask", daemon=True)
    thread.start()
    try:
        for _ in tasks:
            each = _awaited(found)
            if isinstance(each, BaseException):
                raise each
            yield each
    finally:
        stopped.set()
        thread.join()

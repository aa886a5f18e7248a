"""Histograms along an axis: one for every pixel of a stack of images."""

from __future__ import annotations

import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import BLOCK_VOXELS, Block, chunked_blocks, is_dask, read_part, stored_chunks, walk
from napari_exposure.core.counting import find_extent
from napari_exposure.core.intensity import check_count, check_number, check_range, is_lookup, prepared, working_dtype
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.typing import Array, ArrayLike
from napari_exposure.core.volume import Volume

# A block holds so many images, because the counts of its pixels come into the processor's cache once a block.
_TOGETHER = 128


def histogram_along(
    volume: ArrayLike,
    axis: int = 0,
    bins: int | Sequence[float] | np.ndarray = 256,
    range: tuple[float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count along an axis, such as that of a stack of images: every pixel gets a histogram.

    The counts are those of ``np.histogram(volume[:, y, x], bins, range)`` for each pixel.

    Parameters
    ----------
    volume : array-like, 2 to 5 axes
        bool, integers of 8 to 64 bits, float16, float32 or float64.  Read block by block, each
        block once (twice without `range`), never written.  The chunks of a dask array are computed, and
        counted in this process.
    axis : int
        The axis to count along.
    bins : int or sequence of float
        Bins of equal width, or their edges in ascending order.  Each holds its lower edge, the last one
        also its upper.
    range : (float, float), optional
        Where bins of equal width begin and end; values outside are not counted.  Default: the exact
        finite minimum and maximum of the volume, which takes a pass of its own.

    Returns
    -------
    counts : numpy.ndarray, shape (the other axes, bins)
        uint16 for up to 65535 images, because no count can be greater; else uint32.  NaN is not counted.
    edges : numpy.ndarray of float64, shape (bins + 1,)

    Raises
    ------
    TypeError
        For a dtype that has no exposure.
    ValueError
        For an empty volume, an axis that is not there, or bins or a range out of order.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import histogram_along
    >>> stack = np.array([[[0, 9]], [[0, 7]], [[1, 9]]], dtype=np.uint8)
    >>> counts, edges = histogram_along(stack, bins=2, range=(0, 10))
    >>> counts
    array([[[3, 0],
            [0, 3]]], dtype=uint16)
    >>> edges
    array([ 0.,  5., 10.])
    """
    # A Volume turns lists and the like into an array, and checks it.
    checked = Volume(cast(Array, volume))
    if checked.mask is not None:
        raise TypeError("Histograms along an axis count all voxels, so pass the data of a masked array: array.data.")
    dims = len(checked.shape)
    at = check_count(axis, "axis", low=-dims, high=dims - 1) % dims
    if np.iterable(bins) and not isinstance(bins, str | bytes):
        edges = np.array([check_number(edge, "bins") for edge in bins])
        if range is not None:
            raise ValueError("Give the edges of bins, or their number and a range, but not edges and a range.")
        if len(edges) < 2 or (np.diff(edges) <= 0).any():
            raise ValueError("The edges of bins must be two or more, in ascending order.")
        with progress.bar():
            return _count_along(checked, at, edges, False)
    number = check_count(bins, "bins", low=1, high=1 << 24)
    if range is not None:
        lo, hi = check_range(range, "range")
    with progress.bar():
        if range is not None:
            return _count_along(checked, at, np.linspace(lo, hi, number + 1), True)
        with progress.part(0, 0.3):
            lo, hi = find_extent(checked)
        edges = np.histogram_bin_edges(np.empty(0), number, (0.0, 1.0) if math.isnan(lo) else (lo, hi))
        with progress.part(0.3, 1):
            return _count_along(checked, at, edges, True)


def _count_along(volume: Volume, axis: int, edges: np.ndarray, uniform: bool) -> tuple[np.ndarray, np.ndarray]:
    shape, dtype = volume.shape, working_dtype(volume.dtype)
    rest = shape[:axis] + shape[axis + 1 :]
    pixels = np.arange(math.prod(rest)).reshape(rest)
    counts = np.zeros((pixels.size, len(edges) - 1), np.uint16 if shape[axis] < 1 << 16 else np.uint32)
    if is_lookup(dtype):
        kernel = load_kernel("along_table", dtype, counts.dtype)
        how: tuple[Any, ...] = _table(dtype, edges)
    else:
        kernel = load_kernel("along_bins", dtype, counts.dtype)
        how = edges, uniform
    array, blocks = _blocks(volume.array, shape, axis)
    # Blocks that lie behind one another along the axis count into the same pixels, so one waits for the other.
    locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
    places = [(block, locks[str(block[:axis] + block[axis + 1 :])]) for block in blocks]

    def work(place: tuple[Block, threading.Lock]) -> None:
        block, lock = place
        values = prepared(read_part(array, block), volume.dtype)
        rows = pixels[block[:axis] + block[axis + 1 :]]
        outer = math.prod(values.shape[:axis])
        with lock:
            kernel(
                values.reshape(outer, values.shape[axis], -1),
                np.ascontiguousarray(rows).reshape(outer, -1),
                *how,
                counts,
            )

    walk(places, work, lambda _: None, "counting")
    return counts.reshape(*rest, -1), edges


def _table(dtype: np.dtype, edges: np.ndarray) -> tuple[int, np.ndarray]:
    """Return the first integer of a dtype, and the bin of every integer, or -1 if it lies in no bin."""
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, limits.max + 1)
    table = np.searchsorted(edges, values, side="right") - 1
    # The last bin also holds its upper edge.
    table[values == edges[-1]] = len(edges) - 2
    table[values > edges[-1]] = -1
    return limits.min, table.astype(np.int32)


def _blocks(array: Array, shape: tuple[int, ...], axis: int) -> tuple[Array, Iterable[Block]]:
    """Return an array to read, and blocks that cover it, each of which is read once."""
    if is_dask(array):
        from napari_exposure.core import lazy

        return lazy.blocks_of(array)
    chunks = stored_chunks(array)
    if chunks is not None:
        return array, chunked_blocks(shape, chunks)
    # A block is some rows of many images, so that the counts of these rows stay in the processor's cache. There are at
    # least eight blocks, so that all threads have work.
    chunks = tuple(min(n, _TOGETHER) if number == axis else 1 for number, n in enumerate(shape))
    voxels = min(BLOCK_VOXELS, max(1, math.prod(shape) // shape[axis] // 8) * chunks[axis])
    return array, chunked_blocks(shape, chunks, voxels)

"""Counts the histogram of each plane across an axis, such as time, which together show flicker and fading."""

from __future__ import annotations

import math

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import Block
from napari_exposure.core.counting import find_cuts, place_bins
from napari_exposure.core.intensity import working_dtype
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.stacks import count_rows
from napari_exposure.core.volume import Volume, count

# So many percent of all voxels lie beyond either end of the bins; they are counted in the first and the last bin.
BEYOND = 0.05


def count_strip(volume: Volume, axis: int, nbins: int) -> tuple[np.ndarray, np.ndarray]:
    """Count each plane across an axis, all in the same bins of equal width; return counts (planes, bins) and edges.

    There may be fewer than `nbins` for integers, whose bins are whole numbers wide.  Nearly all voxels lie between the
    first and the last edge, and those beyond are counted there.  The edges are equal where all voxels are alike, and
    NaN where none is counted.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.volume import Volume
    >>> from napari_exposure.core.strip import count_strip
    >>> count_strip(Volume(np.array([[0, 0, 1], [2, 2, 2]], np.uint8)), 0, 3)[0]
    array([[2, 1, 0],
           [0, 0, 3]])
    """
    dtype, planes = working_dtype(volume.dtype), volume.shape[axis]
    with progress.part(0, 0.5):
        found = find_cuts(volume, BEYOND, 100 - BEYOND)
    low, high = found or (math.nan, math.nan)
    if not low < high:
        return np.zeros((planes, 1), np.int64), np.full(2, low)
    if dtype.kind in "iu":
        low, high = math.floor(low), math.ceil(high)
        nbins = min(nbins, high - low + 1)
        nbins = math.ceil((high - low + 1) / math.ceil((high - low + 1) / nbins))
    first, width, last = (float(each) for each in place_bins(dtype, low, high, nbins))
    kernel = load_kernel("bins_rows", dtype)
    counts = np.zeros((planes, nbins), np.int64)

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[slice, np.ndarray]:
        rows = _rows(values, axis)
        used = _rows(counted, axis) if counted.size else np.empty((0, 0), bool)
        part = np.zeros((len(rows), nbins), np.int64)
        count_rows(kernel, rows, used, [np.full(len(rows), each) for each in (first, width, last)], part)
        return block[axis], part

    def merge(result: tuple[slice, np.ndarray]) -> None:
        place, part = result
        counts[place] += part

    with progress.part(0.5, 1):
        count(volume, visit, merge, "counting planes")
    return counts, np.append(first + width * np.arange(nbins), last)


def _rows(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the planes across an axis as rows."""
    return np.ascontiguousarray(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1))

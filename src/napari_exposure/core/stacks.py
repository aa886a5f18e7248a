"""Counts many small volumes, such as the planes of a stack, in a few calls, because a call for each would be slow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import Block, walk
from napari_exposure.core.counting import place_bins
from napari_exposure.core.intensity import dtype_range, is_lookup, working_dtype
from napari_exposure.core.jit import Kernel, load_kernel
from napari_exposure.core.memory import remembered
from napari_exposure.core.quantiles import PARTS
from napari_exposure.core.volume import Volume, count

# A volume is small if it has at most so many voxels; the cost of a call for a larger one does not matter.
SMALL = 1 << 18
# The counts of all small volumes may take so many bytes.
MOST = 1 << 27
# A curve through quantiles has at most so many knots: two at each part and at the second value of either end.
KNOTS = 2 * (PARTS + 3)


def is_stack(volume: Volume, lead: int) -> bool:
    """Whether a volume consists of small ones along its first `lead` axes."""
    return math.prod(volume.shape[:lead]) > 1 and math.prod(volume.shape[lead:]) <= SMALL


def rows_of(array: np.ndarray, lead: int) -> np.ndarray:
    """Return a block with its small volumes, or its parts of them, as rows."""
    return array.reshape(math.prod(array.shape[:lead]), -1)


def _rows_counted(counted: np.ndarray, lead: int) -> np.ndarray:
    return rows_of(counted, lead) if counted.size else np.empty((0, 0), bool)


def _placed(lead: int, block: Block) -> tuple[Block, tuple[int, ...]]:
    """Return where the rows of a block lie in an array of all small volumes, and their shape there."""
    place = block[:lead]
    return place, tuple(part.stop - part.start for part in place)


@dataclass(frozen=True, eq=False)
class Stack:
    """The counts of small volumes; each volume is an item along the first axis of every array.

    Attributes
    ----------
    lo, hi : numpy.ndarray of float64
        The input range.
    constant : numpy.ndarray of bool
        Whether fewer than two intensities were found in that range.
    begin, end : numpy.ndarray of float64
        The middles of the first and the last bin.
    sizes : numpy.ndarray of int
        How many bins there are.
    counts : numpy.ndarray of int64, shape (small volumes, most bins)
        Voxels outside the range are counted at its ends.
    """

    lo: np.ndarray
    hi: np.ndarray
    constant: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray


@remembered(lambda found: found.counts.nbytes)
def count_stack(volume: Volume, lead: int, in_range: str, nbins: int) -> Stack | None:
    """Count small volumes, each in its own range, or return None if that would take too much memory.

    Parameters
    ----------
    in_range : "data" or "dtype"
    nbins : int
        The bins of floats and 32-bit integers; other integers have a bin for each value.
    """
    number = math.prod(volume.shape[:lead])
    if not is_lookup(volume.dtype) and number * nbins * 8 > MOST:
        return None
    with progress.part(0, 0.4):
        low, high = find_extents(volume, lead)
    lo, hi = ranges(volume.dtype, low, high, in_range)
    # The negation also holds for NaN, which stands where nothing is counted.
    constant = ~(np.clip(low, lo, hi) < np.clip(high, lo, hi))
    start, stop = np.where(constant, 0, lo), np.where(constant, 1, hi)
    if is_lookup(volume.dtype):
        start, stop = np.where(constant, np.nan_to_num(low), low), np.where(constant, np.nan_to_num(low), high)
        sizes = (stop - start).astype(int) + 1
        nbins = int(sizes.max())
        begin, end, edges = start, stop, (start, np.ones_like(start), stop)
    else:
        sizes = np.full(len(lo), nbins)
        edges = first, width, last = place_bins(volume.dtype, start, stop, nbins)
        begin, end = (first + (width + first)) / 2, ((nbins - 1) * width + first + last) / 2
    if number * nbins * 8 > MOST:
        return None
    with progress.part(0.4, 1):
        counts = count_bins(volume, lead, edges, nbins)
    return Stack(lo, hi, constant, begin, end, sizes, counts)


def ranges(dtype: np.dtype, low: np.ndarray, high: np.ndarray, in_range: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the input ranges of small volumes from their extents; both ends are 0 where nothing is counted."""
    if in_range == "data":
        lo, hi = np.nan_to_num(low), np.nan_to_num(high)
        with np.errstate(over="ignore"):
            width = hi - lo
        if not np.isfinite(width).all():
            raise _too_wide()
        return lo, hi
    least, top = dtype_range(dtype, negative=True)
    return np.where(low < 0, least, 0.0), np.full(len(low), top)


def _too_wide() -> ValueError:
    return ValueError("The intensities spread wider than float64 can hold; give in_range=(low, high).")


def find_extents(volume: Volume, lead: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact finite minima and maxima of small volumes, which are NaN where nothing is counted."""
    dtype = working_dtype(volume.dtype)
    kernel = load_kernel("extents_rows", dtype)
    shape = volume.shape[:lead]
    ends = np.full((2, *shape), np.nan)

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[Block, np.ndarray]:
        place, shape = _placed(lead, block)
        found = np.full((2, math.prod(shape)), np.nan)
        kernel(rows_of(values, lead), _rows_counted(counted, lead), found)
        return place, found.reshape(2, *shape)

    def merge(part: tuple[Block, np.ndarray]) -> None:
        place, (low, high) = part
        for end, extreme, found in zip(ends, (np.fmin, np.fmax), (low, high), strict=True):
            end[place] = extreme(end[place], found)

    count(volume, visit, merge, "finding ranges")
    # Adding 0 turns -0.0 into 0.0, so that the result does not depend on which of them came first.
    low, high = ends.reshape(2, -1) + 0.0
    return low, high


def count_bins(volume: Volume, lead: int, edges: tuple[np.ndarray, np.ndarray, np.ndarray], nbins: int) -> np.ndarray:
    """Count small volumes in bins of equal width; values outside are counted at the ends.

    Parameters
    ----------
    volume : Volume
    lead : int
    edges : three flat arrays of float64
        The first edge, the width of a bin, and the last edge of each small volume.
    nbins : int

    Returns
    -------
    numpy.ndarray of int64, shape (small volumes, nbins)
    """
    dtype = working_dtype(volume.dtype)
    lookup = is_lookup(dtype)
    kernel = load_kernel("values_rows" if lookup else "bins_rows", dtype)
    counts = np.zeros((*volume.shape[:lead], nbins), np.int64)
    placed = [each.reshape(volume.shape[:lead]) for each in edges]

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[Block, np.ndarray]:
        place, shape = _placed(lead, block)
        found = np.zeros((math.prod(shape), nbins), np.int64)
        rows = rows_of(values, lead), _rows_counted(counted, lead)
        ends = [np.ascontiguousarray(each[place]).reshape(-1) for each in placed]
        if lookup:
            kernel(*rows, np.ceil(ends[0]).astype(np.int64), found)
        else:
            count_rows(kernel, *rows, ends, found)
        return place, found.reshape(*shape, nbins)

    def merge(part: tuple[Block, np.ndarray]) -> None:
        place, found = part
        counts[place] += found

    count(volume, visit, merge, "counting")
    return counts.reshape(-1, nbins)


def count_rows(
    kernel: Kernel, values: np.ndarray, counted: np.ndarray, edges: Sequence[np.ndarray], counts: np.ndarray
) -> None:
    """Count rows with the kernel "bins_rows", and at the ends of each what lies outside of its bins."""
    rest = np.zeros((len(counts), 3), np.int64)
    kernel(values, counted, *edges, counts, rest)
    counts[:, 0] += rest[:, 0]
    counts[:, -1] += rest[:, 1]


# The input range of a small volume, and its curve as two arrays, of at most one item if all of its voxels are alike.
Ordered = tuple[float, float, np.ndarray, np.ndarray]


def order_volumes(volume: Volume, lead: int, in_range: str, *, ranks: bool) -> list[Ordered]:
    """Return the two ends of the input range of each small volume, and its counted voxels as a curve.

    The curve has the distinct values and their ranks from 0 to 1, or else the knots that `knots_of_sorted` returns.
    """
    dtype = working_dtype(volume.dtype)
    kernel = load_kernel("ranks_rows" if ranks else "quantiles_rows", dtype)
    # A top of 0 stands for the extent of the values.
    limits = (0.0, 0.0) if in_range == "data" else dtype_range(volume.dtype, negative=True)
    whole = () if ranks else (dtype.kind in "iu",)
    groups, own = list(np.ndindex(*volume.shape[:lead])), volume.shape[lead:]
    parts: dict[tuple[int, ...], list[np.ndarray]] = {}
    curves: dict[tuple[int, ...], Ordered] = {}

    def order(rows: np.ndarray, used: np.ndarray) -> list[Ordered]:
        columns = rows.shape[1] if ranks else KNOTS
        ends, sizes = np.empty((len(rows), 2)), np.empty(len(rows), np.int64)
        places = np.empty((len(rows), columns), dtype if ranks else np.float64)
        heights = np.empty((len(rows), columns))
        kernel(rows, used, *limits, *whole, ends, places, heights, sizes)
        most = sizes.max()
        # Rows that are mostly empty are not kept.
        places, heights = (np.ascontiguousarray(each[:, :most]) for each in (places, heights))
        columns = zip(ends.tolist(), places, heights, sizes.tolist(), strict=True)
        found = [(lo, hi, place[:size], height[:size]) for (lo, hi), place, height, size in columns]
        if ranks:
            for _, _, _, height in found:
                height /= max(height[-1:].sum(), 1)
        return found

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[Block, list[Any]]:
        place, _ = _placed(lead, block)
        rows, used = rows_of(values, lead), _rows_counted(counted, lead)
        if values.shape[lead:] == own:
            return place, order(rows, used)
        return place, [row[used[number]] if used.size else row for number, row in enumerate(rows)]

    def merge(result: tuple[Block, list[Any]]) -> None:
        place, rows = result
        for index, row in zip(product(*(range(part.start, part.stop) for part in place)), rows, strict=True):
            if isinstance(row, np.ndarray):
                parts.setdefault(index, []).append(row)
            else:
                curves[index] = row

    def join(group: tuple[int, ...]) -> None:
        values = np.concatenate(parts.pop(group))[None]
        (curves[group],) = order(values, np.empty((0, 0), bool))

    count(volume, visit, merge, "ranking")
    # A volume that lies in several blocks is ordered when all of its parts are there.
    walk(list(parts), join, lambda _: None, "ranking")
    ordered = [curves[group] for group in groups]
    if not all(math.isfinite(hi - lo) for lo, hi, _, _ in ordered):
        raise _too_wide()
    return ordered

"""Counts volumes: the passes for histograms, extremes and percentiles."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_exposure.core import progress
from napari_exposure.core.blocks import Block
from napari_exposure.core.histogram import Histogram, at_place
from napari_exposure.core.intensity import COLORS, is_lookup, working_dtype
from napari_exposure.core.jit import Kernel, load_kernel
from napari_exposure.core.memory import remembered
from napari_exposure.core.moments import Grid, Moments
from napari_exposure.core.volume import Volume, count

if TYPE_CHECKING:
    from napari_exposure.core.pointwise import PointwiseFit

# To sort so few voxels takes less time than a radix selection, which counts 65,536 digits in each pass.
FEW = 1 << 16


def _bytes(found: Histogram) -> int:
    return found.counts.nbytes + found.edges.nbytes


def count_histogram(volume: Volume, nbins: int = 256, bounds: tuple[float, float] | None = None) -> Histogram:
    """Count a volume; reports of progress hold the histogram of what has been counted so far."""
    return _count_values(volume) if is_lookup(volume.dtype) else _count_bins(volume, nbins, bounds)


@remembered(_bytes)
def _count_bins(volume: Volume, nbins: int, bounds: tuple[float, float] | None) -> Histogram:
    dtype = working_dtype(volume.dtype)
    kernel = load_kernel("bins_rows", dtype)
    moments, extents = load_kernel("moments", dtype), load_kernel("extents_rows", dtype)
    start = 0.0
    if bounds is None:
        with progress.part(0, 0.5):
            lo, hi = find_extent(volume)
        bounds = (0.0, 1.0) if math.isnan(lo) else (lo, hi)
        start = 0.5
    first, width, last = places = _place_bins(volume.dtype, *bounds, nbins)
    edges = np.append(first + width * np.arange(nbins), last)
    grid = Grid.between(*map(float, edges[[0, -1]]))
    nothing = Histogram(np.zeros(nbins, np.int64), edges, math.nan, math.nan, moments=Moments())

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> Histogram:
        values, counted = values.reshape(1, -1), counted.reshape(1, -1)
        counts, rest = np.zeros((1, nbins), np.int64), np.zeros((1, 3), np.int64)
        kernel(values, counted, *places, counts, rest)
        extent = _extent(extents, values, counted)
        finite = Moments.of_values(moments, values.reshape(-1), counted.reshape(-1), grid, extent)
        below, above, nan = rest[0].tolist()
        return Histogram(counts[0], edges, finite.minimum, finite.maximum, below, above, nan, moments=finite)

    with progress.part(start, 1):
        return _added(volume, visit, nothing, "counting")


def count_colors(volume: Volume, nbins: int) -> Histogram:
    """Count a volume; of RGB data the histograms of red, green and blue come with that of the value channel."""
    if not volume.rgb:
        return count_histogram(volume, nbins)
    channels = (volume.color, *COLORS)
    value, *colors = progress.each(channels, lambda channel: count_histogram(volume.seen_as(channel), nbins))
    return replace(value, colors=tuple(colors))


def _added(
    volume: Volume, visit: Callable[[Block, np.ndarray, np.ndarray], Histogram], found: Histogram, what: str
) -> Histogram:
    """Add to `found` what `visit` counts in each block; reports of progress hold the sum so far."""

    def merge(part: Histogram) -> None:
        nonlocal found
        found = found + part

    with progress.changed(lambda step: replace(step, partial=found if step.fraction else None)):
        count(volume, visit, merge, what)
    return found


def _place_bins(dtype: np.dtype, lo: float, hi: float, nbins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not math.isfinite(hi - lo):
        raise ValueError(f"The range {lo:g} to {hi:g} is too wide to be divided into bins; rescale the data first.")
    if lo == hi and dtype.kind == "f":
        # NumPy also takes half a unit on either side of a single value.
        lo, hi = lo - 0.5, hi + 0.5
    return place_bins(dtype, [lo], [hi], nbins)


def place_bins(
    dtype: np.dtype, lo: npt.ArrayLike, hi: npt.ArrayLike, nbins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first edge, the width and the last edge of bins from `lo` to `hi`, which may be arrays."""
    lo, hi = np.asarray(lo, np.float64), np.asarray(hi, np.float64)
    if dtype.kind in "iu":
        # The width is a whole number, because the histogram would look like a comb if some bins held more values.
        first, width = lo - 0.5, np.ceil((hi - lo + 1) / nbins)
        return first, width, first + width * nbins
    # If the range has fewer numbers of float64 than bins are asked for, each number is an edge, and the other bins lie
    # toward zero, where numbers are closer.
    _, exponent = np.frexp(np.maximum(np.abs(lo), np.abs(hi)))
    step = np.maximum(np.ldexp(1.0, exponent - 53), np.finfo(np.float64).tiny)
    positive = hi > 0
    with np.errstate(over="ignore"):
        first, last = np.floor(lo / step), np.ceil(hi / step)
        narrow = (hi - lo < nbins * step) & (last - first <= nbins)
        # The last bin also holds its upper edge, so one more edge is taken if there is room for it.
        spare = last - first < nbins
        last = np.where(positive, (last + spare) * step, (first + nbins) * step)
        last = np.minimum(last, np.finfo(np.float64).max)
    return (
        np.where(narrow, last - nbins * step, lo),
        np.where(narrow, step, (hi - lo) / nbins),
        np.where(narrow, last, hi),
    )


@remembered(_bytes, Histogram.__add__)
def _count_values(volume: Volume) -> Histogram:
    if (table := _last_table(volume)) is not None:
        # The counts behind a table follow from those before it, so no voxel needs to be read.
        before = _count_values(replace(volume, through=volume.through[:-1], ignore_zeros=False))
        return _through(table, before, volume.ignore_zeros)
    kernel = load_kernel("count_values", volume.dtype)
    nothing = Histogram(np.zeros(0, np.int64), np.full(1, np.nan), math.nan, math.nan, by_value=True)
    if np.dtype(volume.array.dtype).kind == "b":
        # A mask has two bars, even if all of its voxels are alike.
        nothing = replace(nothing, counts=np.zeros(2, np.int64), edges=np.arange(3) - 0.5)

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> Histogram:
        first, last = int(values.min()), int(values.max())
        counts = np.zeros(last - first + 1, np.int64)
        kernel(values.reshape(-1), counted.reshape(-1), first, counts)
        used = np.flatnonzero(counts)
        if not used.size:
            return nothing
        counts = counts[used[0] : used[-1] + 1]
        first += int(used[0])
        edges = np.arange(first, first + len(counts) + 1) - 0.5
        return Histogram(counts, edges, float(first), float(first + len(counts) - 1), by_value=True)

    return _added(volume, visit, nothing, "counting gray levels")


def _last_table(volume: Volume) -> PointwiseFit | None:
    """Return the table of the last step that a volume is read through, if that maps all voxels by one table."""
    return volume.through[-1].table_fit if volume.through and not volume.rgb else None


def _through(fit: PointwiseFit, before: Histogram, ignore_zeros: bool) -> Histogram:
    """Return the histogram of gray levels behind a table, from the one before it."""
    used = np.flatnonzero(before.counts)
    results, counts = fit.at(before.centers[used].astype(np.int64)).astype(np.int64), before.counts[used]
    if ignore_zeros:
        results, counts = results[results != 0], counts[results != 0]
    if not results.size:
        return Histogram(np.zeros(0, np.int64), np.full(1, np.nan), math.nan, math.nan, by_value=True)
    first, last = int(results.min()), int(results.max())
    total = np.zeros(last - first + 1, np.int64)
    np.add.at(total, results - first, counts)
    return Histogram(total, np.arange(first, last + 2) - 0.5, float(first), float(last), by_value=True)


def _wider(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the extent of two parts together; NaN stands for a part that has none."""
    return float(np.fmin(one[0], other[0])), float(np.fmax(one[1], other[1]))


@remembered(lambda found: 64, _wider)
def find_extent(volume: Volume) -> tuple[float, float]:
    """Return the exact finite minimum and maximum of a volume; NaN where nothing finite is counted."""
    if is_lookup(volume.dtype):
        found = _count_values(volume)
        return found.minimum, found.maximum
    kernel = load_kernel("extents_rows", working_dtype(volume.dtype))
    ends = math.nan, math.nan

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[float, float]:
        return _extent(kernel, values, counted)

    def merge(part: tuple[float, float]) -> None:
        nonlocal ends
        ends = _wider(ends, part)

    count(volume, visit, merge, "finding the range")
    # To add 0 turns -0 into 0, so that the result does not depend on which zero came first.
    return ends[0] + 0.0, ends[1] + 0.0


def _extent(kernel: Kernel, values: np.ndarray, counted: np.ndarray) -> tuple[float, float]:
    """Return the finite minimum and maximum of a block, which the kernel "extents_rows" finds; NaN if there is none."""
    if not counted.size:
        # NumPy's functions are faster. If they give NaN or infinity, there are voxels that the kernel must leave out.
        low, high = float(values.min()), float(values.max())
        if math.isfinite(low) and math.isfinite(high):
            return low, high
    found = np.full((2, 1), math.nan)
    kernel(values.reshape(1, -1), counted.reshape(1, -1) if counted.size else np.empty((0, 0), bool), found)
    low, high = found[:, 0].tolist()
    return low, high


@remembered(lambda found: 64)
def find_percentiles(volume: Volume, percentiles: tuple[float, ...]) -> list[float] | None:
    """Return exact percentiles of a volume of any dtype; None if nothing is counted."""
    return _select(volume, lambda n: [q / 100 * (n - 1) for q in percentiles], finite=False)


@remembered(lambda found: 64)
def find_cuts(volume: Volume, low: float, high: float) -> list[float] | None:
    """Return the range between two percentiles of the finite voxels; None if nothing finite is counted.

    If `low` is above 0 or `high` is below 100, at least one voxel lies outside at this end, if there are enough:
    otherwise one hot voxel among few would be the end of the range.
    """

    def places(n: int) -> list[float]:
        first, last = low / 100 * (n - 1), high / 100 * (n - 1)
        inner = max(first, float(low > 0)), min(last, float(n - 1 - (high < 100)))
        return list(inner) if inner[0] < inner[1] else [first, last]

    return _select(volume, places, finite=True)


def _select(volume: Volume, places: Callable[[int], list[float]], finite: bool) -> list[float] | None:
    """Return the values at places in the sorted voxels, interpolated between two voxels; None if nothing is counted.

    `places` returns the places for a number of voxels, of which infinite ones are left out if `finite`.  Integers of up
    to 16 bits are counted in one pass.  Few voxels of other dtypes are sorted; for many the order statistics are found
    by a radix selection of 16 bits a pass, so that 32-bit values take two passes and 64-bit ones four, whatever their
    distribution.
    """
    if is_lookup(volume.dtype):
        found = _count_values(volume)
        return [at_place(found.order_statistic, at) for at in places(found.total)] if found.total else None
    if math.prod(volume.shape) <= FEW:
        ordered = _sorted_values(volume, finite)
        return [at_place(ordered.item, at) for at in places(len(ordered))] if len(ordered) else None
    dtype = working_dtype(volume.dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    kernel = load_kernel("count_digits", unsigned)
    kind = "uif".index(dtype.kind) + (dtype.kind == "f" and finite)
    passes = dtype.itemsize // 2
    prefixes: dict[int, int] = {}
    for number in range(passes):
        shift = 16 * (passes - 1 - number)
        wanted = sorted(set(prefixes.values())) if number else [0]
        counts = {prefix: np.zeros(1 << 16, np.int64) for prefix in wanted}

        def visit(
            block: Block, values: np.ndarray, counted: np.ndarray, wanted: list[int] = wanted, shift: int = shift
        ) -> list[np.ndarray]:
            parts = []
            for prefix in wanted:
                part = np.zeros(1 << 16, np.int64)
                kernel(values.reshape(-1).view(unsigned), counted.reshape(-1), kind, prefix, shift, part)
                parts.append(part)
            return parts

        def merge(parts: list[np.ndarray], wanted: list[int] = wanted, counts: dict[int, np.ndarray] = counts) -> None:
            for prefix, part in zip(wanted, parts, strict=True):
                np.add(counts[prefix], part, out=counts[prefix])

        with progress.item(number, passes):
            count(volume, visit, merge, "finding percentiles")
        if number == 0:
            n = int(counts[0].sum())
            if not n:
                return None
            positions = places(n)
            left = {r: r for p in positions for r in {math.floor(p), math.ceil(p)}}
            prefixes = dict.fromkeys(left, 0)
        for rank, prefix in prefixes.items():
            cumulative = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(cumulative, left[rank], side="right"))
            left[rank] -= int(cumulative[digit] - counts[prefix][digit])
            prefixes[rank] = prefix << 16 | digit
    value_at = dict(zip(prefixes, value_of_keys(list(prefixes.values()), dtype).tolist(), strict=True))
    return [at_place(value_at.__getitem__, at) for at in positions]


def _sorted_values(volume: Volume, finite: bool) -> np.ndarray:
    """Return all values that are counted, in ascending order and as float64."""
    parts: list[np.ndarray] = []

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> np.ndarray:
        found = (values[counted] if counted.size else values.reshape(-1)).astype(np.float64)
        kept: np.ndarray = found[np.isfinite(found) if finite else ~np.isnan(found)]
        return kept

    count(volume, visit, parts.append, "finding percentiles")
    return np.sort(np.concatenate(parts))


def key_of_values(ends: tuple[float, float], dtype: np.dtype) -> tuple[int, int]:
    """Return the sort keys of the ends of a range; for integers those of the whole numbers at or beyond the ends."""
    lo, hi = ends
    size = 8 * dtype.itemsize
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        least, most = (min(max(end, int(info.min)), int(info.max)) for end in (math.floor(lo), math.ceil(hi)))
        return least - int(info.min), most - int(info.min)
    sign = 1 << (size - 1)
    bits = np.array([lo, hi], dtype).view(f"u{dtype.itemsize}").tolist()
    least, most = (each ^ (2 * sign - 1) if each & sign else each | sign for each in bits)
    return least, most


def value_of_keys(keys: npt.ArrayLike, dtype: np.dtype) -> np.ndarray:
    """Return the values, as float64, of the sort keys that a kernel made of their bits."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    bits: np.ndarray = np.asarray(keys, np.uint64).astype(unsigned)
    sign = unsigned.type(1 << (8 * dtype.itemsize - 1))
    if dtype.kind == "i":
        bits = bits ^ sign
    elif dtype.kind == "f":
        bits = np.where(bits & sign, bits ^ sign, ~bits)
    return bits.view(dtype).astype(np.float64)

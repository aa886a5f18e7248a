"""Counts volumes: the passes for histograms, extremes and percentiles, and the functions that run them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from napari_exposure.core.blocks import Steps, Volume, changed, count, drain, is_dask, share
from napari_exposure.core.histogram import Histogram, interpolate
from napari_exposure.core.intensity import check_count, check_number, check_range, is_lookup, working_dtype
from napari_exposure.core.jit import kernel_steps
from napari_exposure.core.memory import remembered
from napari_exposure.core.moments import Moments

__all__ = ["cumulative_distribution", "histogram", "percentile"]


def _bytes(found: Histogram) -> int:
    return found.counts.nbytes + found.edges.nbytes


def histogram_steps(volume: Volume, nbins: int = 256, bounds: tuple[float, float] | None = None) -> Steps:
    """Count a volume; the generator returns a Histogram."""
    return (yield from _values_steps(volume) if is_lookup(volume.dtype) else _bins_steps(volume, nbins, bounds))


@remembered(_bytes)
def _bins_steps(volume: Volume, nbins: int, bounds: tuple[float, float] | None) -> Steps:
    dtype = working_dtype(volume.dtype)
    kernel = yield from kernel_steps("count_bins", dtype)
    moments = yield from kernel_steps("moments", dtype)
    start = 0.0
    if bounds is None:
        lo, hi = yield from share(extent_steps(volume), 0, 0.5)
        bounds = (0.0, 1.0) if math.isnan(lo) else (lo, hi)
        start = 0.5
    edges = _edges(volume.dtype, *bounds, nbins)
    found = [Histogram(np.zeros(nbins, np.int64), edges, math.nan, math.nan, moments=Moments())]

    def visit(block, values, counted):
        values, counted = values.reshape(-1), counted.reshape(-1)
        counts, rest = np.zeros(nbins, np.int64), np.zeros(3, np.int64)
        kernel(values, counted, edges, counts, rest)
        finite = Moments.of_values(moments, values, counted)
        return Histogram(counts, edges, finite.minimum, finite.maximum, *map(int, rest), moments=finite)

    yield from share(_adding(volume, visit, found, "counting"), start, 1)
    return found[0]


def _adding(volume, visit, found, what):
    """Count a volume into ``found[0]``, a Histogram; what is known so far goes along with each step."""
    moments = {}

    def placed(block, values, counted):
        return [part.start for part in block], visit(block, values, counted)

    def merge(result):
        place, part = result
        moments[tuple(place)] = part.moments
        found[0] = found[0] + part

    yield from changed(count(volume, placed, merge, what), lambda step: replace(step, partial=found[0]))
    if is_dask(volume.array) and found[0].moments is not None:
        # its chunks come in any order, on which the last digits of their sum would depend
        found[0] = replace(found[0], moments=sum((moments[place] for place in sorted(moments)), Moments()))


def _edges(dtype, lo, hi, nbins):
    if not math.isfinite(hi - lo):
        raise ValueError(f"The range {lo:g} to {hi:g} is too wide to be divided into bins; rescale the data first.")
    if dtype.kind in "iu":
        # whole-number widths: otherwise some bins hold one value more than others, a comb
        width = math.ceil((hi - lo + 1) / nbins)
        return lo - 0.5 + width * np.arange(nbins + 1, dtype=np.float64)
    if lo == hi:
        # half a unit as NumPy has it; more where float64 has no such steps
        half = max(0.5, float(np.spacing(abs(lo))))
        lo, hi = lo - half, hi + half
    return np.linspace(lo, hi, nbins + 1)


@remembered(_bytes)
def _values_steps(volume: Volume) -> Steps:
    kernel = yield from kernel_steps("count_values", volume.dtype)
    nothing = Histogram(np.zeros(0, np.int64), np.full(1, np.nan), math.nan, math.nan, by_value=True)
    found = [nothing]

    def visit(block, values, counted):
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

    yield from _adding(volume, visit, found, "counting grey levels")
    return found[0]


@remembered(lambda found: 64)
def extent_steps(volume: Volume) -> Steps:
    """Exact finite minimum and maximum; NaN where nothing finite is counted."""
    if is_lookup(volume.dtype):
        found = yield from _values_steps(volume)
        return found.minimum, found.maximum
    kernel = yield from kernel_steps("moments", working_dtype(volume.dtype))
    ends = [math.nan, math.nan]

    def visit(block, values, counted):
        if not counted.size:
            # NumPy's are vectorised, and show by NaN or infinity that they do not suffice
            low, high = float(values.min()), float(values.max())
            if math.isfinite(low) and math.isfinite(high):
                return low, high
        found = Moments.of_values(kernel, values.reshape(-1), counted.reshape(-1))
        return found.minimum, found.maximum

    def merge(part):
        ends[:] = float(np.fmin(ends[0], part[0])), float(np.fmax(ends[1], part[1]))

    yield from count(volume, visit, merge, "finding the range")
    # a zero is one of no sign, whichever came first
    return ends[0] + 0.0, ends[1] + 0.0


@remembered(lambda found: 64)
def percentile_steps(volume: Volume, percentiles: tuple[float, ...]) -> Steps:
    """Exact percentiles of any dtype; the generator returns a list of floats, None if nothing is counted.

    Integers of up to 16 bits: one pass.  Others: a radix selection of the order statistics, 16 bits
    a pass (32-bit values two passes, 64-bit ones four), whatever the distribution.
    """
    if is_lookup(volume.dtype):
        found = yield from _values_steps(volume)
        return [found.percentile(q) for q in percentiles] if found.total else None
    dtype = working_dtype(volume.dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    kernel = yield from kernel_steps("count_digits", unsigned)
    kind = "uif".index(dtype.kind)
    passes = dtype.itemsize // 2
    prefixes: dict[int, int] = {}
    for number in range(passes):
        shift = 16 * (passes - 1 - number)
        wanted = sorted(set(prefixes.values())) if number else [0]
        counts = {prefix: np.zeros(1 << 16, np.int64) for prefix in wanted}

        def visit(block, values, counted, wanted=wanted, shift=shift):
            parts = []
            for prefix in wanted:
                part = np.zeros(1 << 16, np.int64)
                kernel(values.reshape(-1).view(unsigned), counted.reshape(-1), kind, prefix, shift, part)
                parts.append(part)
            return parts

        def merge(parts, wanted=wanted, counts=counts):
            for prefix, part in zip(wanted, parts, strict=True):
                np.add(counts[prefix], part, out=counts[prefix])

        steps = count(volume, visit, merge, "finding percentiles")
        yield from share(steps, number / passes, (number + 1) / passes)
        if number == 0:
            n = int(counts[0].sum())
            if not n:
                return None
            positions = [q / 100 * (n - 1) for q in percentiles]
            left = {r: r for p in positions for r in {math.floor(p), math.ceil(p)}}
            prefixes = dict.fromkeys(left, 0)
        for rank, prefix in prefixes.items():
            cumulative = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(cumulative, left[rank], side="right"))
            left[rank] -= int(cumulative[digit] - counts[prefix][digit])
            prefixes[rank] = prefix << 16 | digit
    value_at = dict(zip(prefixes, value_of_keys(list(prefixes.values()), dtype).tolist(), strict=True))
    return [interpolate(value_at.__getitem__, q, n) for q in percentiles]


def value_of_keys(keys, dtype: np.dtype) -> np.ndarray:
    """Undo the sort keys that a kernel made of the bits of values; the values as float64."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    keys = np.asarray(keys, np.uint64).astype(unsigned)
    sign = unsigned.type(1 << (8 * dtype.itemsize - 1))
    if dtype.kind == "i":
        keys = keys ^ sign
    elif dtype.kind == "f":
        keys = np.where(keys & sign, keys ^ sign, ~keys)
    return keys.view(dtype).astype(np.float64)


def histogram(volume, nbins=256, *, range=None, mask=None, ignore_zeros=False, rgb=False) -> Histogram:
    """Count every voxel of a volume, exactly.

    Parameters
    ----------
    volume : array-like, 2 to 5 axes
        uint8, uint16, uint32, int8, int16, int32, float16, float32 or float64.  Read block by block,
        never written.
    nbins : int
        Bins for floats and 32-bit integers; integers of up to 16 bits have one bin for every value.
        The bins of 32-bit integers are whole numbers wide.
    range : (float, float), optional
        Where those bins begin and end.  Default: the exact finite minimum and maximum.
    mask : array-like, optional
        Of the volume's shape (without the colour axis); only voxels where it is not zero are counted.
    ignore_zeros : bool
        Leave out voxels that are exactly 0.
    rgb : bool
        The last axis holds RGB or RGBA; the value channel is counted.

    Returns
    -------
    Histogram
        With ``counts``, ``edges``, ``cdf``, ``percentile(q)``; empty where no voxel is finite.

    Raises
    ------
    TypeError
        For a dtype that has no exposure (bool, complex, object, 64-bit integers).
    ValueError
        For an empty volume, a wrong number of axes, a mask of another shape, or a bad range.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import histogram
    >>> h = histogram(np.linspace(0, 1, 1000, dtype=np.float32).reshape(10, 10, 10), nbins=4)
    >>> h.counts
    array([250, 250, 250, 250])
    """
    checked = Volume(volume, mask, ignore_zeros, rgb)
    if range is not None:
        range = check_range(range, "range")
    return drain(histogram_steps(checked, check_count(nbins, "nbins", low=1, high=1 << 24), range))


def cumulative_distribution(volume, nbins=256, *, mask=None, ignore_zeros=False, rgb=False):
    """The cumulative distribution of a volume's intensities, as scikit-image's function of that name.

    Parameters
    ----------
    volume, nbins, mask, ignore_zeros, rgb
        As in `histogram`.

    Returns
    -------
    cdf : numpy.ndarray of float64, shape (nbins,)
        Fraction of the voxels at or below each bin.
    bin_centers : numpy.ndarray of float64, shape (nbins,)
        In units of intensity.

    Raises
    ------
    TypeError, ValueError
        As `histogram` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import cumulative_distribution
    >>> cdf, centers = cumulative_distribution(np.array([[0, 1], [1, 2]], dtype=np.uint8))
    >>> cdf
    array([0.25, 0.75, 1.  ])
    """
    found = histogram(volume, nbins, mask=mask, ignore_zeros=ignore_zeros, rgb=rgb)
    return found.cdf, found.centers


def percentile(volume, q, *, mask=None, ignore_zeros=False, rgb=False):
    """Exact percentiles of a volume without sorting or copying it.

    Equal to ``numpy.nanpercentile(volume, q, method="linear")``; between a number and an infinity it is
    the infinity, where NumPy gives NaN.

    Parameters
    ----------
    volume, mask, ignore_zeros, rgb
        As in `histogram`.
    q : float or sequence of float
        In [0, 100].

    Returns
    -------
    float or numpy.ndarray of float64
        One value for each q.

    Raises
    ------
    TypeError, ValueError
        As `histogram` does; also for q out of bounds, or where no voxel is counted.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import percentile
    >>> percentile(np.arange(101, dtype=np.float32).reshape(1, 101), (0.5, 99.5))
    array([ 0.5, 99.5])
    """
    wanted = tuple(check_number(value, "q", low=0, high=100) for value in np.atleast_1d(q))
    values = drain(percentile_steps(Volume(volume, mask, ignore_zeros, rgb), wanted))
    if values is None:
        raise ValueError("No voxel was counted, so there are no percentiles.")
    return values[0] if np.ndim(q) == 0 else np.array(values)

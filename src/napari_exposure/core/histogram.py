"""Exact, mergeable histograms; percentiles and cumulative distributions from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_exposure.core.blocks import Steps, Volume, count, drain, share
from napari_exposure.core.intensity import check_count, check_number, is_lookup, working_dtype
from napari_exposure.core.jit import kernel_steps

__all__ = ["Histogram", "cumulative_distribution", "histogram", "percentile"]


@dataclass(frozen=True, eq=False)
class Histogram:
    """The counts of every voxel of a volume, or of a part of it.

    Integers of up to 16 bits have one bin for every value between the least and the greatest one.
    Other dtypes have uniform bins: from ``edges[j]`` up to, not including, ``edges[j + 1]``, the last
    bin with its upper edge.  Histograms of parts (blocks, planes, machines) add up with ``+``.

    Attributes
    ----------
    counts : numpy.ndarray of int64, shape (nbins,)
        Voxels in each bin.
    edges : numpy.ndarray of float64, shape (nbins + 1,)
        Borders of the bins, in units of intensity.
    minimum, maximum : float
        The exact finite extremes; NaN where nothing finite was counted.
    below, above : int
        Voxels below the first and above the last edge, infinities among them.
    nan : int
        Voxels that are not a number; they are in no other figure.
    by_value : bool
        Whether each bin is one integer value, so that everything derived is exact.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import histogram
    >>> h = histogram(np.array([[1, 2], [2, 4]], dtype=np.uint8))
    >>> h.counts
    array([1, 2, 0, 1])
    >>> h.centers
    array([1., 2., 3., 4.])
    >>> h.percentile(50)
    2.0
    >>> (h + h).total
    8
    """

    counts: np.ndarray
    edges: np.ndarray
    minimum: float
    maximum: float
    below: int = 0
    above: int = 0
    nan: int = 0
    by_value: bool = False

    @property
    def centers(self) -> np.ndarray:
        """Middle of each bin; for integers of up to 16 bits the value itself."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def total(self) -> int:
        """Voxels counted, with those below and above, without NaN."""
        return int(self.counts.sum()) + self.below + self.above

    @property
    def cdf(self) -> np.ndarray:
        """Fraction of the voxels at or below each bin, shape (nbins,); zeros where nothing was counted."""
        return (self.below + np.cumsum(self.counts)) / max(self.total, 1)

    def percentile(self, q: float) -> float:
        """The value below which `q` percent of the voxels lie, as ``numpy.nanpercentile`` has it.

        Parameters
        ----------
        q : float
            In [0, 100].

        Returns
        -------
        float
            Exact where each bin is one value; otherwise interpolated inside a bin, so right to a
            bin's width.  The function `percentile` is exact for every dtype.

        Raises
        ------
        ValueError
            If q is out of bounds, or nothing was counted.
        """
        q = check_number(q, "q", low=0, high=100)
        if not self.total:
            raise ValueError("No voxel was counted, so there are no percentiles.")
        return _interpolate(self._order_statistic, q, self.total)

    def _order_statistic(self, rank: int) -> float:
        if rank < self.below:
            return self.minimum if self.minimum < self.edges[0] else -math.inf
        cumulative = self.below + np.cumsum(self.counts)
        j = int(np.searchsorted(cumulative, rank, side="right"))
        if j == len(self.counts):
            return self.maximum if self.maximum > self.edges[-1] else math.inf
        if self.by_value:
            return float(self.centers[j])
        inside = (rank - (cumulative[j] - self.counts[j]) + 0.5) / self.counts[j]
        value = self.edges[j] + inside * (self.edges[j + 1] - self.edges[j])
        return float(min(max(value, self.minimum), self.maximum))

    def __add__(self, other: Histogram) -> Histogram:
        if not isinstance(other, Histogram):
            return NotImplemented
        if self.by_value and other.by_value:
            counts, edges = _add_values(self, other)
        elif self.by_value == other.by_value and np.array_equal(self.edges, other.edges):
            counts, edges = self.counts + other.counts, self.edges
        else:
            raise ValueError(
                "These histograms have different bins; count both with the same nbins and range=(low, high)."
            )
        return Histogram(
            counts,
            edges,
            float(np.fmin(self.minimum, other.minimum)),
            float(np.fmax(self.maximum, other.maximum)),
            self.below + other.below,
            self.above + other.above,
            self.nan + other.nan,
            self.by_value,
        )

    def __repr__(self) -> str:
        return f"Histogram({self.total:,} voxels, {len(self.counts)} bins, {self.minimum:g} to {self.maximum:g})"


def _add_values(a: Histogram, b: Histogram):
    if not len(a.counts) or not len(b.counts):
        full = a if len(a.counts) else b
        return full.counts, full.edges
    first = min(a.edges[0], b.edges[0])
    last = max(a.edges[-1], b.edges[-1])
    counts = np.zeros(round(last - first), np.int64)
    for h in (a, b):
        start = round(h.edges[0] - first)
        counts[start : start + len(h.counts)] += h.counts
    return counts, np.arange(len(counts) + 1) + first


def _interpolate(order_statistic, q: float, n: int) -> float:
    """Percentile `q` from two order statistics, with NumPy's linear rule."""
    position = q / 100 * (n - 1)
    below = math.floor(position)
    t = position - below
    a = order_statistic(below)
    b = order_statistic(below + 1) if t else a
    for value in (a, b):
        if math.isinf(value):
            return float(value)
    # from the nearer end, so that equal neighbours give themselves
    return float(a + (b - a) * t if t < 0.5 else b - (b - a) * (1 - t))


# --- passes over a volume ---------------------------------------------------------------


def histogram_steps(volume: Volume, nbins: int = 256, bounds: tuple[float, float] | None = None) -> Steps:
    """Count a volume; the generator returns a Histogram."""
    if is_lookup(volume.dtype):
        return (yield from _values_steps(volume))
    dtype = working_dtype(volume.dtype)
    extent = _Extent((yield from kernel_steps("extent", dtype)))
    kernel = yield from kernel_steps("count_bins", dtype)
    start = 0.0
    if bounds is None:
        yield from share(count(volume, extent.visit, extent.merge, "finding the range"), 0, 0.5)
        start = 0.5
    edges = _edges(volume.dtype, *(bounds or extent.finite or (0.0, 1.0)), nbins)
    counts = np.zeros(nbins, np.int64)
    tally = np.zeros(3, np.int64)

    def visit(block, values, counted):
        part, rest = np.zeros(nbins, np.int64), np.zeros(3, np.int64)
        kernel(values.reshape(-1), counted.reshape(-1), edges, part, rest)
        # where the bounds were given, the extremes are found on the way
        return part, rest, extent.visit(block, values, counted) if bounds else None

    def merge(result):
        part, rest, found = result
        np.add(counts, part, out=counts)
        np.add(tally, rest, out=tally)
        if found:
            extent.merge(found)

    yield from share(count(volume, visit, merge, "counting"), start, 1)
    return Histogram(counts, edges, *(extent.finite or (math.nan, math.nan)), *map(int, tally))


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

    def merge(part):
        found[0] = found[0] + part

    yield from count(volume, visit, merge, "counting grey levels")
    return found[0]


class _Extent:
    """Finite minimum and maximum, and how many voxels are finite, -inf, +inf, NaN."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.bounds = np.array([np.inf, -np.inf])
        self.tally = np.zeros(4, np.int64)

    def visit(self, block, values, counted):
        if not counted.size:
            # NumPy's are vectorised, and show by NaN or infinity that they do not suffice
            low, high = float(values.min()), float(values.max())
            if math.isfinite(low) and math.isfinite(high):
                return np.array([low, high]), np.array([values.size, 0, 0, 0])
        bounds, tally = np.array([np.inf, -np.inf]), np.zeros(4, np.int64)
        self.kernel(values.reshape(-1), counted.reshape(-1), bounds, tally)
        return bounds, tally

    def merge(self, part):
        bounds, tally = part
        self.bounds[0] = min(self.bounds[0], bounds[0])
        self.bounds[1] = max(self.bounds[1], bounds[1])
        self.tally += tally

    @property
    def finite(self) -> tuple[float, float] | None:
        """Minimum and maximum, None where nothing finite was counted."""
        return (float(self.bounds[0]), float(self.bounds[1])) if self.tally[0] else None


def extent_steps(volume: Volume) -> Steps:
    """Exact finite minimum and maximum; NaN where nothing finite is counted."""
    if is_lookup(volume.dtype):
        found = yield from _values_steps(volume)
        return found.minimum, found.maximum
    extent = _Extent((yield from kernel_steps("extent", working_dtype(volume.dtype))))
    yield from count(volume, extent.visit, extent.merge, "finding the range")
    return extent.finite or (math.nan, math.nan)


def percentile_steps(volume: Volume, percentiles) -> Steps:
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
    value_at = {rank: _value_of_key(key, dtype) for rank, key in prefixes.items()}
    return [_interpolate(value_at.__getitem__, q, n) for q in percentiles]


def _value_of_key(key: int, dtype: np.dtype) -> float:
    """Undo the sort key that the kernel made of a value's bits."""
    bits = dtype.itemsize * 8
    sign = 1 << (bits - 1)
    if dtype.kind == "i" or (dtype.kind == "f" and key & sign):
        key ^= sign
    elif dtype.kind == "f":
        key ^= (1 << bits) - 1
    return float(np.array(key, f"u{dtype.itemsize}").view(dtype))


# --- public -----------------------------------------------------------------------------


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
        lo, hi = (check_number(value, "range") for value in range)
        if not lo < hi:
            raise ValueError(f"range must be (low, high) with low < high, got {range!r}.")
        range = lo, hi
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
    wanted = [check_number(value, "q", low=0, high=100) for value in np.atleast_1d(q)]
    values = drain(percentile_steps(Volume(volume, mask, ignore_zeros, rgb), wanted))
    if values is None:
        raise ValueError("No voxel was counted, so there are no percentiles.")
    return values[0] if np.ndim(q) == 0 else np.array(values)

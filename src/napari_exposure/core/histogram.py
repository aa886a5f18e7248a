"""Exact histograms that can be added, and what follows from one: percentiles, statistics, bars, tables."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO, overload

import numpy as np

from napari_exposure.core.intensity import check_count, check_kind, check_percents
from napari_exposure.core.jsonfile import KeptAsJson
from napari_exposure.core.moments import Moments
from napari_exposure.core.words import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from napari_exposure.core.mixtures import Mixture


@dataclass(frozen=True, eq=False)
class Histogram(KeptAsJson):
    """The counts of every voxel of a volume, or of a part of it.

    Integers of up to 16 bits have one bin for every value between the least and the greatest one.
    Other dtypes have uniform bins: bin j holds ``edges[j]`` but not ``edges[j + 1]``, and the last bin also
    holds its upper edge.  Histograms of parts (blocks, planes, machines) are added with ``+``.

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
        Voxels that are not a number; no other attribute counts them.
    by_value : bool
        Whether each bin is one integer value, so that everything that follows from it is exact.
    moments : Moments
        Sums, and voxels at the extremes, if bins are not single values.  Their bits do not depend on the order.
    name : str
        The name of the layer that was counted, if it was a layer.  Equal histograms may have different names.
    colors : tuple of Histogram
        Those of red, green and blue, if they were counted beside the value channel of RGB data; else empty.

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
    moments: Moments | None = field(default=None, repr=False)
    name: str = field(default="", repr=False)
    colors: tuple[Histogram, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        for name in ("counts", "edges"):
            check_kind(getattr(self, name), name, np.ndarray, "an array, as histogram(volume) has it")

    @property
    def centers(self) -> np.ndarray:
        """The middle of each bin; for integers of up to 16 bits the value itself."""
        centers: np.ndarray = (self.edges[:-1] + self.edges[1:]) / 2
        return centers

    @property
    def total(self) -> int:
        """How many voxels were counted, with those below and above, without NaN."""
        return int(self.counts.sum()) + self.below + self.above

    @property
    def whole(self) -> bool:
        """Whether the bins are those of integers, so that their edges lie between whole numbers."""
        # From 2**52 on float64 has no numbers between whole ones, and bins up to there are millions wide.
        return self.by_value or bool((self.edges % 1 == 0.5).all() or np.abs(self.edges).max() >= 2.0**52)

    @property
    def cdf(self) -> np.ndarray:
        """The fraction of the voxels at or below each bin, shape (nbins,); zeros if nothing was counted."""
        return (self.below + np.cumsum(self.counts)) / max(self.total, 1)

    @overload
    def percentile(self, q: float) -> float: ...

    @overload
    def percentile(self, q: Sequence[float] | np.ndarray) -> np.ndarray: ...

    def percentile(self, q: float | Sequence[float] | np.ndarray) -> float | np.ndarray:
        """Return the value below which `q` percent of the voxels lie, as ``numpy.nanpercentile`` has it.

        Parameters
        ----------
        q : float or sequence of float
            In [0, 100].

        Returns
        -------
        float or numpy.ndarray of float64
            One value for each q.  It is exact if each bin is one value; otherwise it is interpolated inside a bin, so
            it may be off by a bin's width.  The function `percentile` is exact for every dtype.

        Raises
        ------
        ValueError
            If q is out of bounds, or nothing was counted.
        """
        wanted = check_percents(q)
        if not self.total:
            raise ValueError("No voxel was counted, so there are no percentiles.")
        found = [at_place(self.order_statistic, value / 100 * (self.total - 1)) for value in wanted]
        return found[0] if np.ndim(q) == 0 else np.array(found)

    def fraction(self, value: float) -> float:
        """Return the fraction of all voxels at or below `value`: the CDF at any place, and the inverse of `percentile`.

        It is exact if each bin is one value; otherwise it is interpolated inside a bin.  It is 0 without voxels.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure.core import histogram
        >>> histogram(np.array([[1, 2], [2, 4]], dtype=np.uint8)).fraction(2)
        0.75
        """
        if math.isnan(value):
            return math.nan
        if not self.total:
            return 0.0
        first, last = self.edges[0], self.edges[-1]
        if value < first:
            # Only infinities lie beyond the edges, unless the range was given; then finite values may lie there too.
            finite = self.minimum < first
            return self.below * (_share(value, self.minimum, first) if finite else 1.0) / self.total
        if value >= last:
            beyond = _share(value, last, self.maximum) if self.maximum > last else float(value == math.inf)
            return (self.total - self.above + beyond * self.above) / self.total
        j = int(np.searchsorted(self.edges, value, side="right")) - 1
        share = float(value >= self.centers[j]) if self.by_value else _share(value, *self.edges[j : j + 2])
        return float(self.below + self.counts[:j].sum() + share * self.counts[j]) / self.total

    # --- statistics of the finite voxels ---

    @cached_property
    def _moments(self) -> Moments:
        if self.moments is not None or not self.by_value:
            return self.moments or Moments()
        return Moments.of_counts(self.centers, self.counts)

    @property
    def mean(self) -> float:
        """The mean of the finite voxels, from the voxels and not from the bins; NaN if there are none."""
        return self._moments.mean

    @property
    def std(self) -> float:
        """The standard deviation of the finite voxels, as ``numpy.std`` has it; NaN if there are none."""
        return self._moments.std

    @property
    def mode(self) -> float:
        """The most frequent value; of floats and 32-bit integers the middle of the fullest bin.

        If several are equally frequent it is the lowest of them; it is NaN if nothing was counted.
        """
        return float(self.centers[np.argmax(self.counts)]) if self.counts.any() else math.nan

    @property
    def levels(self) -> int:
        """How many distinct gray levels there are; of floats and 32-bit integers there are at least so many."""
        return int(np.count_nonzero(self.counts))

    @property
    def at_minimum(self) -> int:
        """How many voxels have the minimum: many are a sign of clipping, such as by a detector's offset set too low."""
        return self._moments.at_minimum

    @property
    def at_maximum(self) -> int:
        """How many voxels have the maximum: many are a sign of saturation, also of 12-bit data in a 16-bit file."""
        return self._moments.at_maximum

    def mixture(self, n: int = 2, *, tol: float = 1e-3) -> Mixture:
        """Describe the intensities by a sum of Gaussians, such as background and cells.

        Parameters
        ----------
        n : int
            How many components, 1 to 32.
        tol : float
            The search ends when an iteration adds less than this to the mean logarithm of the density.

        Returns
        -------
        Mixture
            With ``means``, ``stds`` and ``weights``; `plot` draws it.

        Raises
        ------
        ValueError
            If no finite voxel was counted, or a parameter is out of bounds.

        See Also
        --------
        mixture : of an image, also of its colors.
        """
        from napari_exposure.core.mixtures import check_parameters, fit_histogram

        return fit_histogram(self, *check_parameters(n, tol))

    # --- other forms ---

    def rebin(self, low: float, high: float, nbins: int) -> Histogram:
        """Join neighboring bins to at most about `nbins` bars from `low` to `high`, as a plot draws them.

        Every bar joins the same number of bins, because the bars would look like a comb if some held one value more
        than their neighbors.  Integers that were stretched, such as 12 bits over the range of 16, have gray levels at
        a distance from one another; every bar joins the same number of these.  Bars do not move with the range.

        Parameters
        ----------
        low, high : float
            In units of intensity; bars that they cut belong to the result.
        nbins : int

        Returns
        -------
        Histogram
            Voxels outside of its edges are counted in ``below`` and ``above``.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure.core import histogram
        >>> bars = histogram(np.arange(10, dtype=np.uint8).reshape(2, 5)).rebin(0, 5, 3)
        >>> bars.counts, bars.edges, bars.above
        (array([2, 2, 2]), array([-0.5,  1.5,  3.5,  5.5]), 4)
        """
        bins = len(self.counts)
        if not bins:
            return self
        start = min(max(int(np.searchsorted(self.edges, low, side="right")) - 1, 0), bins - 1)
        stop = min(max(int(np.searchsorted(self.edges, high, side="left")), start + 1), bins)
        first, gap = self._grid
        width = math.ceil((stop - start) / check_count(nbins, "nbins", low=1, high=1 << 24) / gap) * gap
        bars = np.arange(math.floor((start - first) / width), math.ceil((stop - first) / width) + 1)
        cuts = np.unique(np.clip(np.ceil(first + width * bars).astype(int), 0, bins))
        start, stop = int(cuts[0]), int(cuts[-1])
        return replace(
            self,
            counts=np.add.reduceat(self.counts[:stop], cuts[:-1]),
            edges=self.edges[cuts],
            below=self.below + int(self.counts[:start].sum()),
            above=self.above + int(self.counts[stop:].sum()),
            by_value=self.by_value and width == 1,
            moments=self._moments,
        )

    @cached_property
    def _grid(self) -> tuple[float, float]:
        """Where bars may begin, and at what distance, in bins: 1, unless gray levels occur at greater distances."""
        used = np.flatnonzero(self.counts) if self.by_value else np.empty(0)
        apart = np.diff(used)
        if 2 * np.count_nonzero(apart == 1) > len(apart):
            # So is their median then, which takes longer to find.
            return 0.0, 1.0
        usual = float(np.median(apart)) if len(used) >= 16 else 1.0
        if usual < 2:
            return 0.0, 1.0
        # Distances vary after a stretch by a fraction, and multiples of their median would drift away from the levels,
        # so the mean is taken.
        gap = float(used[-1] - used[0]) / float(np.maximum(np.round(apart / usual), 1).sum())
        return used[0] - gap / 2, gap

    def to_dict(self) -> dict[str, Any]:
        """Return plain data (str, float, bool, list, dict) that `from_dict` takes back, exact in every bit.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure.core import histogram
        >>> histogram(np.array([[1, 2], [2, 9]], dtype=np.uint8)).to_dict()["counts"]
        '0:1 2;8:1'
        """
        from napari_exposure.core.plain import plain_of

        return plain_of(self)

    @staticmethod
    def from_dict(plain: dict[str, Any]) -> Histogram:
        """Make the histogram that ``to_dict`` described.

        Raises
        ------
        ValueError
            If a name or a value is not known or not valid.
        """
        from napari_exposure.core.plain import histogram_of

        return histogram_of(plain)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        log: bool = True,
        nbins: int = 512,
        mixture: Mixture | None = None,
        **options: Any,
    ) -> Axes:
        """Draw bars and the CDF with matplotlib (``pip install matplotlib``).

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Default: the current one.
        log : bool
            Whether counts have a logarithmic axis.
        nbins : int
            About so many bars at most.
        mixture : Mixture, optional
            Its components are drawn over the bars; ``mixture(2)`` gives one.
        **options
            Options of ``Axes.stairs``, such as color and label.

        Returns
        -------
        matplotlib.axes.Axes
            The axes of the counts.

        Raises
        ------
        ModuleNotFoundError
            If matplotlib is not installed.
        ValueError
            If nothing was counted.
        """
        import matplotlib.pyplot as plt

        if not self.counts.any():
            raise ValueError("No finite voxel was counted, so there is nothing to plot.")
        ax = plt.gca() if ax is None else ax
        bars = self.rebin(self.edges[0], self.edges[-1], nbins)
        ax.stairs(bars.counts, bars.edges, **{"fill": True, "color": "0.6", **options})
        ax.set(xlabel="intensity", ylabel="voxels", yscale="log" if log else "linear")
        if mixture is not None:
            heights = self.total * np.diff(bars.edges) * mixture.density(bars.centers)
            for component in heights:
                # A component is not drawn where it is less than half a voxel, as a logarithmic axis has no end there.
                ax.plot(bars.centers, np.where(component < 0.5, np.nan, component), linewidth=1)
        fraction = ax.twinx()
        ax.figure.sca(ax)
        fraction.plot(bars.edges[1:], bars.cdf, color="C3", linewidth=1)
        fraction.set(ylabel="fraction of voxels (CDF)", ylim=(0, 1.02))
        return ax

    def order_statistic(self, rank: int) -> float:
        """Return the value of the voxel that has `rank` others below it; in a bin of many values it is interpolated."""
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
            None if self.moments is None or other.moments is None else self.moments + other.moments,
            self.name if self.name == other.name else "",
        )

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Histogram) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.total, len(self.counts), self.by_value))

    @property
    def _key(self) -> tuple[Any, ...]:
        """What equal histograms have in common, which is all but the name."""
        # As text, NaN is equal to itself.
        numbers = repr((self.minimum, self.maximum, self.below, self.above, self.nan, self.by_value, self.moments))
        return self.counts.tobytes(), self.edges.tobytes(), numbers, tuple(each._key for each in self.colors)

    def __repr__(self) -> str:
        name = f"{self.name!r}, " * bool(self.name)
        return f"Histogram({name}{self.total:,} voxels, {len(self.counts)} bins, {self.minimum:g} to {self.maximum:g})"


def _share(value: float, low: float, high: float) -> float:
    """Return where a value lies from low to high, clamped to [0, 1]."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _add_values(a: Histogram, b: Histogram) -> tuple[np.ndarray, np.ndarray]:
    if not len(a.counts) or not len(b.counts):
        full = a if len(a.counts) else b
        return full.counts, full.edges
    first = min(a.edges[0], b.edges[0])
    last = max(a.edges[-1], b.edges[-1])
    # Blocks mostly have the values that were counted before.
    for wide, narrow in ((a, b), (b, a)):
        if first == wide.edges[0] and last == wide.edges[-1]:
            start = round(narrow.edges[0] - first)
            counts = wide.counts.copy()
            counts[start : start + len(narrow.counts)] += narrow.counts
            return counts, wide.edges
    counts = np.zeros(round(last - first), np.int64)
    for h in (a, b):
        start = round(h.edges[0] - first)
        counts[start : start + len(h.counts)] += h.counts
    return counts, np.arange(len(counts) + 1) + first


def at_place(order_statistic: Callable[[int], float], position: float) -> float:
    """Return the value at a place in the sorted voxels, interpolated between two of them by NumPy's linear rule."""
    below = math.floor(position)
    t = position - below
    a = order_statistic(below)
    b = order_statistic(below + 1) if t else a
    for value in (a, b):
        if math.isinf(value):
            return float(value)
    # The sum begins at the nearer value, so that two equal values give exactly this value.
    return float(a + (b - a) * t if t < 0.5 else b - (b - a) * (1 - t))


def cell(name: str) -> str:
    """Return a name as the cell of a table, so that spreadsheets do not take it for a formula."""
    return f"'{name}" if name.lstrip()[:1] in tuple("=+-@") else name


def write_csv(file: TextIO, histograms: Mapping[str, Histogram], about: Mapping[str, object]) -> None:
    """Write counts and CDFs as a table with a row for each bin, to a file that was opened with ``newline=""``.

    The first column holds the names of the histograms.  Above the table stand lines ``# key: value``, which say what it
    is `about`.
    """
    for key, value in about.items():
        file.write(f"# {printable(key)}: {printable(value)}\n")
    # Names are quoted, so that one that begins with # is not taken for a comment.
    table = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    file.write("name,low,high,count,cdf\n")
    for name, found in histograms.items():
        lows, highs = (found.centers, found.centers) if found.by_value else (found.edges[:-1], found.edges[1:])
        columns = (lows, highs, found.counts, found.cdf)
        table.writerows([cell(name), *row] for row in zip(*(column.tolist() for column in columns), strict=True))

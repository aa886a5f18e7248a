"""The base of adjustments by tiles: the grid of tiles, their counts, and between which of them a voxel lies."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment, check_counted
from napari_exposure.core.blocks import Block
from napari_exposure.core.intensity import (
    Percentiles,
    check_number,
    is_lookup,
    result_dtype,
    result_range,
    working_dtype,
)
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.memory import remembered
from napari_exposure.core.parameters import InRange, parameter
from napari_exposure.core.tiles import TileAxis, TileGrid, tile_grid
from napari_exposure.core.transform import Fit
from napari_exposure.core.volume import Volume, count

# Integers are counted in cells, whose numbers have this dtype.
CELL = np.dtype(np.uint16)
# A fit may take so many bytes; more means tiles of a few voxels, which come from a mistake in units.
MOST_BYTES = 1 << 30
# A tile with more voxels than so many in each bin is counted in several tables, which takes less time and more memory.
MANY_VOXELS = 64

Each = TypeVar("Each")


@dataclass(frozen=True)
class TiledAdjustment(Adjustment):
    """An adjustment that differs from place to place, by the histograms of tiles of a physical size.

    Its subclasses are `AdaptiveEqualization` and `LocalStretch`.  The edge of a tile is in units of the spacing.
    """

    needs_spacing: ClassVar[bool] = True
    place_note: ClassVar[str] = "its tiles lie where they were fitted"
    # An error about memory ends with these words, which say what besides larger tiles would need less.
    fewer_bytes: ClassVar[str] = ""

    kernel_size: float | tuple[float, ...] | None = parameter(
        None,
        "Tile",
        "Edge of the tiles in the layer's unit, the same physical length on every axis. "
        "Choose it a few times larger than the structures of interest.",
        min=0.0001,
        max=1e9,
    )
    _: KW_ONLY
    in_range: InRange = parameter(
        Percentiles(0.05, 99.95),
        "Input range",
        "Which intensities the bins divide: two percentiles (so that one hot voxel cannot ruin the bins), the exact "
        "minimum and maximum, the range of the dtype, or fixed numbers. Values outside are clamped.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if np.iterable(self.kernel_size) and not isinstance(self.kernel_size, str | dict):
            self._set("kernel_size", tuple(check_number(edge, "kernel_size", above=0) for edge in self.kernel_size))
        elif self.kernel_size is not None:
            self._set("kernel_size", check_number(self.kernel_size, "kernel_size", above=0))

    @property
    @abstractmethod
    def bins(self) -> int:
        """How many bins the histogram of a tile has."""

    @abstractmethod
    def gain(self, limit: float) -> float:
        """Return how many times as steep as a stretch of the input range the result may be, for a limit in numbers."""

    @abstractmethod
    def _fit_bytes(self) -> int:
        """Return how many bytes a fit keeps for each tile."""

    @abstractmethod
    def _fit_tiles(self, volume: Volume, counts: np.ndarray | None, **shared: Any) -> TiledFit:
        """Return the fit of the counts of all tiles, which are None where all counted voxels are alike.

        `shared` are the attributes that every `TiledFit` has.
        """

    def grid(self, shape: tuple[int, ...], spacing: tuple[float, ...]) -> TileGrid:
        """Return the tiles of a volume of this spatial shape."""
        return tile_grid(shape, self.kernel_size, spacing)

    def _check_shape(self, shape: tuple[int, ...], spacing: tuple[float, ...], fits: int) -> None:
        grid = self.grid(shape, spacing)
        # All fits are kept, but only one is counted at a time.
        needed = math.prod(grid.shape) * (self._fit_bytes() * fits + 12 * (self.bins + 1))
        if needed > MOST_BYTES:
            edges = " x ".join(f"{edge:.3g}" for edge in grid.voxels)
            raise ValueError(
                f"kernel_size={self.kernel_size} makes {math.prod(grid.shape):,} tiles of {edges} voxels in each of "
                f"{fits} fits, whose histograms need {needed / 2**30:.1f} GB. Choose a larger kernel_size (it is in "
                f"units of spacing){self.fewer_bytes}."
            )

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> TiledFit:
        with progress.part(0, 0.4):
            lo, hi = self._find_range(volume)
        counts = None
        if lo < hi:
            axes = self.grid(volume.shape[-len(spacing) :], spacing).axes
            with progress.part(0.4, 1):
                counts = tile_counts(volume, axes, lo, hi, self.bins)
        return self._fit_counts(volume, spacing, lo, hi, counts)

    def _fit_windows(self, windows: Sequence[Volume], spacing: tuple[float, ...]) -> Sequence[Fit]:
        axes = self.grid(windows[0].shape[-len(spacing) :], spacing).axes
        members = max(len(window.joins) for window in windows)
        cells = min(members * self.bins, 1 << 16) * math.prod(axis.tiles for axis in axes)
        if not is_lookup(windows[0].dtype) or 16 * members * cells > MOST_BYTES:
            return super()._fit_windows(windows, spacing)
        with progress.part(0, 0.4):
            ranges = progress.each(windows, self._find_range)
        counted = count_windows(windows, axes, ranges, self.bins)

        def fit(number: int) -> TiledFit:
            return self._fit_counts(windows[number], spacing, *ranges[number], next(counted))

        with progress.part(0.4, 1):
            return progress.each(range(len(windows)), fit)

    def _fit_counts(
        self, volume: Volume, spacing: tuple[float, ...], lo: float, hi: float, counts: np.ndarray | None
    ) -> TiledFit:
        """Return the fit of the counts of all tiles, which are None where the range is a single number."""
        grid = self.grid(volume.shape[-len(spacing) :], spacing)
        out_dtype = result_dtype(volume.dtype, self.output)
        bottom, top = result_range(volume.dtype, out_dtype, lo)
        if counts is not None:
            check_counted(counts.sum(), volume)
            if not counts.any():
                counts, hi = None, lo
        return self._fit_tiles(
            volume,
            counts,
            lo=lo,
            hi=hi,
            bottom=bottom,
            top=top,
            grid=grid,
            nbins=self.bins,
            dtype=volume.dtype,
            out_dtype=out_dtype,
        )


def three(values: Sequence[Each], fill: Each) -> tuple[Each, ...]:
    """Return two or three values as the three that kernels take, for which a plane is a volume of one plane."""
    return (fill,) * (3 - len(values)) + tuple(values)


@dataclass(frozen=True, eq=False)
class TiledFit(Fit):
    """The base of fits that have something for each tile of a grid, whose histograms have `nbins` bins."""

    grid: TileGrid
    nbins: int

    @property
    def edges(self) -> np.ndarray:
        """The edges of the bins in intensities, shape (nbins + 1,)."""
        return np.linspace(self.lo, self.upper, self.nbins + 1)

    def function(self, tile: tuple[int, ...]) -> np.ndarray:
        """Return what one tile makes of the edges of its bins, from 0 to 1, shape (nbins + 1,)."""
        raise NotImplementedError

    def count_tile(self, volume: Volume) -> np.ndarray:
        """Count a tile as the fit did; `volume` is the part of the volume in the box of the tile."""
        axes = tuple(TileAxis(size, 1) for size in volume.shape[-len(self.grid.axes) :])
        counts: np.ndarray = tile_counts(volume, axes, self.lo, self.upper, self.nbins)[0, 0, 0]
        return counts

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...]) -> Self:
        axes = (TileAxis(n, axis.tiles, step) for n, axis, step in zip(shape, self.grid.axes, steps, strict=True))
        return replace(self, grid=replace(self.grid, axes=tuple(axes)))

    def at_level(self, shape: tuple[int, ...]) -> Self:
        axes = (replace(axis, level=n) for n, axis in zip(shape, self.grid.axes, strict=True))
        return replace(self, grid=replace(self.grid, axes=tuple(axes)))

    def places(self, offset: tuple[int, ...], shape: tuple[int, ...], dtype: DTypeLike) -> list[np.ndarray]:
        """Return for z, y and x the tile before each voxel and the weight of the next one, as kernels take them."""
        found = []
        if len(shape) == 2:
            found += [np.zeros(1, np.int32), np.zeros(1, dtype)]
        for axis, start, size in zip(self.grid.axes, offset, shape, strict=True):
            found += [axis.left[start : start + size], axis.weight[start : start + size].astype(dtype)]
        return found


@remembered(lambda counts: counts.nbytes)
def tile_counts(volume: Volume, axes: tuple[TileAxis, ...], lo: float, hi: float, nbins: int) -> np.ndarray:
    """Count every voxel in the one tile that holds it; the counts have shape (tiles z, y, x, nbins)."""
    return _count_tiles(volume, axes, lo, hi, nbins)


def _count_tiles(
    volume: Volume,
    axes: tuple[TileAxis, ...],
    lo: float,
    hi: float,
    nbins: int,
    table: tuple[int, np.ndarray] | None = None,
) -> np.ndarray:
    """Count every voxel in the tile that holds it; a table is its first integer, and the cell of each integer."""
    spatial = len(axes)
    total = np.zeros((*three([axis.tiles for axis in axes], 1), nbins), np.int64)
    count_tiles = load_kernel("count_tiles" if table is None else "count_cells", working_dtype(volume.dtype))
    how: tuple[Any, ...] = (lo, hi) if table is None else table
    many = math.prod(axis.size / axis.tiles for axis in axes) > MANY_VOXELS * nbins
    tables = 4 if many else 1

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[list[int], np.ndarray]:
        tiles: list[np.ndarray] = []
        origin: list[int] = []
        for axis, part in zip(axes, block[-spatial:], strict=True):
            tile = axis.tile[part]
            origin.append(int(tile[0]))
            tiles.append(tile - tile[0])
        if spatial == 2:
            tiles, origin = [np.zeros(1, np.int32), *tiles], [0, *origin]
        # The kernel counts bins in one or several tables, and has one more bin for voxels that are not counted.
        each = (tables, nbins + 1) if table is None else (nbins,)
        counts = np.zeros((*(int(tile[-1]) + 1 for tile in tiles), *each), np.uint32)
        # All indices of leading axes (time, channel) share the tiles.
        pieces = values.reshape(-1, *(len(tile) for tile in tiles))
        masks = counted.reshape(pieces.shape) if counted.size else [counted.reshape(0, 0, 0)] * len(pieces)
        for piece, mask in zip(pieces, masks, strict=True):
            count_tiles(piece, mask, *how, *tiles, counts)
        return origin, counts if table is not None else counts[..., :-1].sum(axis=3, dtype=np.int64)

    def merge(result: tuple[list[int], np.ndarray]) -> None:
        origin, counts = result
        place = tuple(slice(o, o + n) for o, n in zip(origin, counts.shape, strict=False))
        total[place] += counts

    count(volume, visit, merge, "counting tiles")
    return total


def bin_borders(dtype: np.dtype, lo: float, hi: float, nbins: int) -> np.ndarray:
    """Return how many integers of a dtype lie before each bin, and before the end; the shape is (nbins + 1,)."""
    limits = np.iinfo(dtype)
    values = np.arange(limits.min, limits.max + 1).astype(dtype).reshape(1, 1, -1)
    one = np.zeros(1, np.int32), np.zeros(1, np.int32), np.zeros(values.size, np.int32)
    counts = np.zeros((1, 1, 1, 1, nbins + 1), np.uint32)
    load_kernel("count_tiles", dtype)(values, np.empty((0, 0, 0), bool), lo, hi, *one, counts)
    return np.concatenate([[0], counts[0, 0, 0, 0, :-1].cumsum(dtype=np.int64)])


def count_windows(
    windows: Sequence[Volume], axes: tuple[TileAxis, ...], ranges: Sequence[tuple[float, float]], nbins: int
) -> Iterator[np.ndarray | None]:
    """Yield what `tile_counts` gives for each window in its own range; each of their parts is counted only once.

    The bins of windows differ, because their ranges do.  So a part is counted in cells, which no bin of any of its
    windows divides, and the bins of a window are sums of cells.
    """
    dtype = working_dtype(windows[0].dtype)
    borders = [bin_borders(dtype, lo, hi, nbins) if lo < hi else None for lo, hi in ranges]
    within: dict[tuple[int, ...], list[int]] = {}
    for number, window in enumerate(windows):
        for lead in window.joins:
            within.setdefault(lead, []).append(number)
    sums: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
    whole = windows[0].unjoined
    for number, window in enumerate(windows):
        mine = borders[number]
        if mine is None:
            yield None
            continue
        total: Any = 0
        for lead in window.joins:
            if lead not in sums:
                sums[lead] = _cell_sums(whole.at(lead), axes, [borders[each] for each in within[lead]])
            cells, below = sums[lead]
            total = total + below[np.searchsorted(cells, mine)]
        yield np.moveaxis(np.diff(total, axis=0), 0, -1)
        for lead in [lead for lead in window.joins if within[lead][-1] == number]:
            del sums[lead]


def _cell_sums(
    volume: Volume, axes: tuple[TileAxis, ...], borders: Sequence[np.ndarray | None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the borders of cells, in the form of `bin_borders`, and how many voxels of each tile lie below each."""
    known = [each for each in borders if each is not None]
    there = np.zeros(known[0][-1] + 1, bool)
    there[np.concatenate(known)] = True
    cells = np.flatnonzero(there)
    table = np.repeat(np.arange(len(cells) - 1, dtype=CELL), np.diff(cells))
    first = int(np.iinfo(working_dtype(volume.dtype)).min)
    counts = _count_tiles(volume, axes, 0.0, float(len(cells) - 1), len(cells) - 1, (first, table))
    # All tiles lie together for each border, because a window takes some borders and all tiles.
    below = np.zeros((len(cells), *counts.shape[:-1]), np.int64)
    np.cumsum(np.moveaxis(counts, -1, 0), axis=0, out=below[1:])
    return cells, below

"""Adaptive histogram equalization (CLAHE): continuous, contrast-limited, tiles in physical units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment, GivenRange, InRange, Output, Per, check_counted, parameter
from napari_exposure.core.blocks import Block, Volume, count
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import (
    Percentiles,
    check_number,
    result_dtype,
    result_range,
    working_dtype,
)
from napari_exposure.core.jit import kernel, load_kernel
from napari_exposure.core.memory import remembered
from napari_exposure.core.tiles import TileAxis, TileGrid, tile_grid
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer, Spacing

__all__ = ["AdaptiveEqualization", "equalize_adapthist"]

# bytes; the tables of so many tiles that each holds a few voxels are a mistake in units
TABLE_LIMIT = 1 << 30
# bins of all tiles that take longer than some ten milliseconds to clip
MANY_BINS = 1 << 20
# of a result from 0 to 1, for the places of voxels in single precision; far below the 1e-5 that results are exact to
PLACE_ERROR = 4e-6


@dataclass(frozen=True)
class AdaptiveEqualization(Adjustment):
    """Equalize each region by its own histogram (CLAHE); see `equalize_adapthist`."""

    short_name: ClassVar[str] = "adaptive"
    verb: ClassVar[str] = "equalize_adapthist"
    title: ClassVar[str] = "Adaptive equalization"
    needs_spacing: ClassVar[bool] = True
    place_note: ClassVar[str] = "its tiles lie where they were fitted"

    kernel_size: float | tuple[float, ...] | None = parameter(
        None,
        "Tile edge",
        "Edge of the tiles in the layer's unit, the same physical length on every axis. "
        "Choose it a few times larger than the structures of interest.",
        min=0.0001,
        max=1e9,
    )
    clip_limit: float = parameter(
        0.01,
        "Clip limit",
        "Largest fraction of a tile's voxels in one bin: higher gives more contrast and more noise. 0 or 1: no limit.",
        min=0.0,
        max=1.0,
        step=0.001,
        slider=(0.001, 1.0),
    )
    nbins: int = parameter(256, "Bins", "Bins of each tile's histogram.", low=2, high=65536, step=1)
    _: KW_ONLY
    in_range: InRange = parameter(
        Percentiles(0.05, 99.95),
        "Input range",
        "Which intensities the bins divide: two percentiles (so that one hot voxel cannot ruin the bins), the exact "
        "minimum and maximum, the range of the dtype, or fixed numbers. Values outside are clamped.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if np.iterable(self.kernel_size) and not isinstance(self.kernel_size, str):
            self._set("kernel_size", tuple(check_number(edge, "kernel_size", above=0) for edge in self.kernel_size))
        elif self.kernel_size is not None:
            self._set("kernel_size", check_number(self.kernel_size, "kernel_size", above=0))

    def grid(self, shape: tuple[int, ...], spacing: tuple[float, ...]) -> TileGrid:
        """The tiles that a volume of this spatial shape gets."""
        return tile_grid(shape, self.kernel_size, spacing)

    def _check_shape(self, shape: tuple[int, ...], spacing: tuple[float, ...], fits: int) -> None:
        grid = self.grid(shape, spacing)
        # of all fits the tables, of one the counts
        needed = math.prod(grid.shape) * (self.nbins + 1) * (4 * fits + 12)
        if needed > TABLE_LIMIT:
            edges = " x ".join(f"{edge:.3g}" for edge in grid.voxels)
            raise ValueError(
                f"kernel_size={self.kernel_size} makes {math.prod(grid.shape):,} tiles of {edges} voxels in each of "
                f"{fits} fits, whose histograms need {needed / 2**30:.1f} GB. Choose a larger kernel_size (it is in "
                "units of spacing) or fewer nbins."
            )

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        with progress.part(0, 0.4):
            lo, hi = self._find_range(volume)
        lead = len(volume.shape) - len(spacing)
        grid = self.grid(volume.shape[lead:], spacing)
        out_dtype = result_dtype(volume.dtype, self.output)
        bottom, top = result_range(volume.dtype, out_dtype, lo)
        tables = np.zeros((*_three(grid.shape, 1), self.nbins + 1), np.float32)
        if lo < hi:
            with progress.part(0.4, 1):
                counts = _tile_counts(volume, grid.axes, lo, hi, self.nbins)
            check_counted(counts.sum(), volume)
            if counts.size > MANY_BINS:
                progress.report("clipping the tiles' histograms", 1.0)
            if counts.any():
                tables = tile_functions(counts, self.clip_limit)
            else:
                hi = lo
        return TilesFit(lo, hi, bottom, top, grid, tables, volume.dtype, out_dtype)


Each = TypeVar("Each")


def _three(values: Sequence[Each], fill: Each) -> tuple[Each, ...]:
    """Of two or three values the three that kernels take: a plane is a volume of one plane."""
    return (fill,) * (3 - len(values)) + tuple(values)


@dataclass(frozen=True, eq=False)
class TilesFit(Fit):
    """The functions of all tiles.

    Attributes
    ----------
    grid : TileGrid
    tables : numpy.ndarray of float32, shape (tiles z, tiles y, tiles x, nbins + 1)
        Each tile's function at the borders of the bins, from 0 to 1.
    """

    grid: TileGrid
    tables: np.ndarray

    dtype: np.dtype
    out_dtype: np.dtype

    @cached_property
    def kernel_key(self) -> tuple[Any, ...]:
        # In single precision a voxel may be placed a few times 2**-24 of the largest number of bins beside its place.
        offset = max(abs(self.lo), abs(self.upper)) / (self.upper - self.lo)
        bins = self.tables.shape[-1] - 1
        steepest = bins * float(np.max(self.tables[..., 1:] - self.tables[..., :-1], initial=0))
        place = np.float32 if 2.0**-24 * (2 * offset + 3) * steepest < PLACE_ERROR else np.float64
        # single precision tells all values of 16 bits apart, and is what the tables have
        written = working_dtype(self.out_dtype)
        few = written.itemsize <= 2 or written == np.float32
        return "map_tiles", working_dtype(self.dtype), written, place, np.float32 if few else np.float64

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...]) -> Self:
        axes = (TileAxis(n, axis.tiles, step) for n, axis, step in zip(shape, self.grid.axes, steps, strict=True))
        return replace(self, grid=replace(self.grid, axes=tuple(axes)))

    def at_level(self, shape: tuple[int, ...]) -> Self:
        axes = (replace(axis, level=n) for n, axis in zip(shape, self.grid.axes, strict=True))
        return replace(self, grid=replace(self.grid, axes=tuple(axes)))

    def function(self, tile: tuple[int, ...]) -> np.ndarray:
        """The function of one tile at the borders of its bins, from 0 to 1, shape (nbins + 1,)."""
        table: np.ndarray = self.tables[_three(tile, 0)]
        return table

    def count_tile(self, volume: Volume) -> np.ndarray:
        """Count a tile as the fit did; `volume` is what lies in its box."""
        axes = tuple(TileAxis(size, 1) for size in volume.shape[-len(self.grid.axes) :])
        counts = _tile_counts(volume, axes, self.lo, self.upper, self.tables.shape[-1] - 1)
        only: np.ndarray = counts[0, 0, 0]
        return only

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        shape = _three(values.shape, 1)
        places: list[np.ndarray] = []
        if len(values.shape) == 2:
            places += [np.zeros(1, np.int32), np.zeros(1, np.float32)]
        for axis, start, size in zip(self.grid.axes, offset, values.shape, strict=True):
            places += [axis.left[start : start + size], axis.weight[start : start + size]]
        kernel(*self.kernel_key)(
            values.reshape(shape), self.lo, self.upper, self.tables, *places, self.bottom, self.span, out.reshape(shape)
        )


@remembered(lambda counts: counts.nbytes)
def _tile_counts(volume: Volume, axes: tuple[TileAxis, ...], lo: float, hi: float, nbins: int) -> np.ndarray:
    """Count every voxel in its one tile: counts of shape (tiles z, y, x, nbins)."""
    spatial = len(axes)
    total = np.zeros((*_three([axis.tiles for axis in axes], 1), nbins), np.int64)
    count_tiles = load_kernel("count_tiles", working_dtype(volume.dtype))

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[list[int], np.ndarray]:
        tiles: list[np.ndarray] = []
        origin: list[int] = []
        for axis, part in zip(axes, block[-spatial:], strict=True):
            tile = axis.tile[part]
            origin.append(int(tile[0]))
            tiles.append(tile - tile[0])
        if spatial == 2:
            tiles, origin = [np.zeros(1, np.int32), *tiles], [0, *origin]
        counts = np.zeros((*(int(tile[-1]) + 1 for tile in tiles), 2, nbins + 1), np.uint32)
        # leading axes (time, channel) share the tiles
        pieces = values.reshape(-1, *(len(tile) for tile in tiles))
        masks = counted.reshape(pieces.shape) if counted.size else [counted.reshape(0, 0, 0)] * len(pieces)
        for piece, mask in zip(pieces, masks, strict=True):
            count_tiles(piece, mask, lo, hi, *tiles, counts)
        return origin, counts[..., :-1].sum(axis=3, dtype=np.int64)

    def merge(result: tuple[list[int], np.ndarray]) -> None:
        origin, counts = result
        place = tuple(slice(o, o + n) for o, n in zip(origin, counts.shape, strict=False))
        total[place] += counts

    count(volume, visit, merge, "counting tiles")
    return total


def clip_height(total: Any, nbins: int, clip_limit: float) -> Any:
    """Voxels that a bin may hold of histograms of `total` voxels; None where there is no limit."""
    return np.maximum(clip_limit * total, total / nbins) if 0 < clip_limit < 1 else None


def clip_histograms(counts: np.ndarray, clip_limit: float) -> np.ndarray:
    """Limit the bins of histograms and spread what was cut over the others; the sum stays.

    Parameters
    ----------
    counts : numpy.ndarray, shape (..., nbins)
    clip_limit : float
        Fraction of a histogram's sum; <= 0 or >= 1 does nothing.

    Returns
    -------
    numpy.ndarray of float64
        ``min(counts + r, limit)`` with the one r >= 0 that keeps each sum (water filling).

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.adaptive import clip_histograms
    >>> clip_histograms(np.array([8, 1, 1, 0]), 0.5)
    array([5., 2., 2., 1.])
    """
    counts = np.asarray(counts, np.int64)
    clipped = counts.astype(np.float64)
    if 0 < clip_limit < 1:
        rows = np.ascontiguousarray(counts.reshape(-1, counts.shape[-1]))
        kernel("clip_rows")(rows, clip_limit, clipped.reshape(rows.shape))
    return clipped


def tile_functions(counts: np.ndarray, clip_limit: float) -> np.ndarray:
    """The function of each tile at the borders of its bins.

    Parameters
    ----------
    counts : numpy.ndarray of int, shape (..., nbins)
    clip_limit : float

    Returns
    -------
    numpy.ndarray of float32, shape (..., nbins + 1)
        Rises from 0 to 1.  An empty tile has the function of all tiles together.
    """
    nbins = counts.shape[-1]
    rows = np.ascontiguousarray(counts.reshape(-1, nbins))
    tables = np.zeros((len(rows), nbins + 1), np.float32)
    share = clip_limit if 0 < clip_limit < 1 else 0.0
    cumulate = load_kernel("cumulate_rows")
    cumulate(rows, share, tables)
    empty = tables[:, -1] == 0
    if empty.any():
        whole = np.zeros((1, nbins + 1), np.float32)
        cumulate(rows.sum(axis=0, keepdims=True), share, whole)
        tables[empty] = whole
    return tables.reshape(*counts.shape[:-1], nbins + 1)


@verb
def equalize_adapthist(
    image: Any,
    kernel_size: float | Sequence[float] | None = None,
    clip_limit: float = 0.01,
    nbins: int = 256,
    *,
    spacing: Spacing = None,
    in_range: GivenRange = Percentiles(0.05, 99.95),
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Equalize each region of a volume by its own histogram, with limited contrast (CLAHE).

    The volume is cut into tiles of a physical size.  Each has a histogram, whose bins are limited, and
    whose cumulative sum maps intensities; a voxel's result is interpolated between the functions of
    the tiles around it.  It depends on absolute positions only, so chunks and blocks never show.

    Parameters
    ----------
    image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
        Integers of 8 to 64 bits (to 2**53), float16, float32 or float64, in either byte order.
        Never written.  The last three axes are tiled (two if `per` is "plane"); time and channel are not.
    kernel_size : float, sequence of float or None
        Edge of a tile in units of `spacing`: a number is the same physical edge on every axis, a
        sequence has one for each spatial axis, None is an eighth of the largest extent.  Tiles are
        rounded so that they divide the volume evenly.
    clip_limit : float
        Largest fraction of a tile's voxels in one bin; greater gives more contrast.  <= 0 or >= 1: no
        limit.  At least 1 / nbins takes effect, where the mapping is linear.
    nbins : int
        Bins of each tile's histogram, 2 to 65536.
    spacing : float or sequence of float, optional
        Physical size of a voxel along the spatial axes, such as (2.0, 0.5, 0.5) in micrometres.
        Default 1: `kernel_size` is in voxels.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities that the bins divide; values outside are clamped.  The default keeps one hot
        voxel from ruining the bins.  A fixed range makes volumes comparable.
    output : "dtype" or "float32"
        "dtype" stretches over the full range of the input's dtype (floats: [0, 1]);
        "float32" gives [0, 1].
    mask : array-like or napari.layers.Labels, optional
        Of the image's shape; only voxels where it is not zero are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the histograms, such as an empty background.
    per : "dataset", "volume" or "plane"
        Which voxels share tiles: with "dataset" all time points and channels do.
    rgb : bool, optional
        Of arrays: the last axis holds RGB or RGBA.  The value channel is adjusted, hue, saturation and alpha stay.
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

    Returns
    -------
    numpy.ndarray, dask.array.Array or napari.layers.Image
        As the image is: a new array of its shape, lazy for dask, or a new layer with the same place and levels, not
        yet in a viewer, whose ``metadata["napari_exposure"]`` says how it was made.

    Raises
    ------
    TypeError
        For a dtype that has no exposure, or a parameter that is not a number.
    ValueError
        For an empty volume, a parameter out of bounds, a mask of another shape, no counted voxel, or
        tiles so small that their histograms would not fit into memory.

    Notes
    -----
    After [1]_, with these differences from ``skimage.exposure.equalize_adapthist``: interpolation
    centres are the centres of the tiles, clipping conserves the number of voxels (water filling), the
    functions are continuous inside a bin, nothing is padded, and there is no final stretch by the
    result's own extremes.  NaN is not counted and stays NaN; a tile without counted voxels takes the
    function of the whole volume; a constant volume becomes the lowest value, with a warning.  The
    result is for looking and segmenting, not for measuring intensity.

    References
    ----------
    .. [1] S. M. Pizer et al., Adaptive histogram equalization and its variations, Computer Vision,
       Graphics, and Image Processing 39 (1987) 355-368.
    .. [2] K. Zuiderveld, Contrast limited adaptive histogram equalization, Graphics Gems IV (1994) 474-485.

    Examples
    --------
    Tiles of 8 micrometres in a stack whose planes are four times as far apart as its pixels:

    >>> import numpy as np
    >>> from napari_exposure.core import equalize_adapthist
    >>> rng = np.random.default_rng(0)
    >>> volume = rng.poisson(np.linspace(20, 200, 64), (16, 64, 64)).astype(np.uint16)
    >>> result = equalize_adapthist(volume, 8.0, spacing=(2.0, 0.5, 0.5))
    >>> result.shape, result.dtype
    ((16, 64, 64), dtype('uint16'))
    """
    return adjust_image(
        image,
        AdaptiveEqualization,
        kernel_size=kernel_size,
        clip_limit=clip_limit,
        nbins=nbins,
        in_range=in_range,
        output=output,
        mask=mask,
        ignore_zeros=ignore_zeros,
        per=per,
        spacing=spacing,
        rgb=rgb,
        level=level,
    )

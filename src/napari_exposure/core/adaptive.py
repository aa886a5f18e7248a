"""Adaptive histogram equalization (CLAHE): continuous, contrast-limited, tiles in physical units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adjustment import GivenRange, Output, Per, parameter
from napari_exposure.core.blocks import Volume
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import Percentiles, working_dtype
from napari_exposure.core.jit import kernel, load_kernel
from napari_exposure.core.noise import noise_gain
from napari_exposure.core.noise_limit import NoiseLimit
from napari_exposure.core.tiled import TiledAdjustment, TiledFit, three
from napari_exposure.core.typing import ArrayLike, Layer, Spacing

__all__ = ["AdaptiveEqualization", "equalize_adapthist"]

# bins of all tiles that take longer than some ten milliseconds to clip
MANY_BINS = 1 << 20
# Single precision is used where it moves no result, which lies from 0 to 1, by more than this. Results are exact to
# 1e-5, so there is room.
PLACE_ERROR = 4e-6
# Between these a range and its bins are numbers of single precision.
SINGLE = 2.0**-100, 2.0**126


@dataclass(frozen=True)
class AdaptiveEqualization(TiledAdjustment):
    """Equalize each region by its own histogram (CLAHE); see `equalize_adapthist`."""

    short_name: ClassVar[str] = "adaptive"
    verb: ClassVar[str] = "equalize_adapthist"
    title: ClassVar[str] = "Adaptive equalization"
    group: ClassVar[str] = "Local contrast"
    use: ClassVar[str] = "structures are hidden in dim and in bright regions (CLAHE)"
    fewer_bytes: ClassVar[str] = " or fewer nbins"

    clip_limit: float | NoiseLimit = parameter(
        0.01,
        "Clip limit",
        "Largest fraction of a tile's voxels in one bin: higher gives more contrast and more noise. 0 or 1: no limit. "
        "Or how strong noise may become.",
        min=0.0,
        max=1.0,
        step=0.001,
        slider=(0.001, 1.0),
        noise=True,
    )
    nbins: int = parameter(256, "Bins", "Bins of each tile's histogram.", low=2, high=65536, step=1, advanced=True)

    @property
    def bins(self) -> int:
        return self.nbins

    def gain(self, limit: float) -> float:
        """How many times as steep as a stretch of the input range it is at most, with a limit that is a number."""
        return max(limit * self.nbins, 1.0) if 0 < limit < 1 else self.nbins

    def _fit_bytes(self) -> int:
        return 4 * (self.nbins + 1)

    def _fit_tiles(self, volume: Volume, counts: np.ndarray | None, **shared: Any) -> TilesFit:
        limit = self.clip_limit
        if isinstance(limit, NoiseLimit):
            # A tile's function is at most clip_limit * nbins times as steep as a stretch of the range, and noise
            # grows by the steepness, so the largest gain that noise allows gives the clip limit.
            limit = min(noise_gain(limit, volume, shared["hi"] - shared["lo"]) / self.nbins, 1.0)
        if counts is None:
            tables = np.zeros((*three(shared["grid"].shape, 1), self.nbins + 1), np.float32)
            return TilesFit(**shared, clip_limit=limit, tables=tables)
        if counts.size > MANY_BINS:
            progress.report("clipping the tiles' histograms", 1.0)
        return TilesFit(**shared, clip_limit=limit, tables=tile_functions(counts, limit))


@dataclass(frozen=True, eq=False)
class TilesFit(TiledFit):
    """The functions of all tiles.

    Attributes
    ----------
    clip_limit : float
        What histograms were clipped at, also where a limit of noise was asked for.
    tables : numpy.ndarray of float32, shape (tiles z, tiles y, tiles x, nbins + 1)
        Each tile's function at the borders of the bins, from 0 to 1.
    """

    clip_limit: float
    tables: np.ndarray

    @cached_property
    def kernel_key(self) -> tuple[Any, ...]:
        # Single precision rounds the place of a voxel among the bins. The error grows with the offset of the range, and
        # the steepest bin says how much it moves the result. Ranges that it cannot hold need double precision too.
        width, farthest = self.upper - self.lo, max(abs(self.lo), abs(self.upper))
        steepest = self.nbins * float(np.max(self.tables[..., 1:] - self.tables[..., :-1], initial=0))
        held = width > SINGLE[0] and farthest < SINGLE[1]
        exact = held and 2.0**-24 * (2 * farthest / width + 3) * steepest < PLACE_ERROR
        place = np.float32 if exact else np.float64
        # The tables are in single precision, which also tells all values of 16 bits apart, so results need no more.
        written = working_dtype(self.out_dtype)
        few = written.itemsize <= 2 or written == np.float32
        return "map_tiles", working_dtype(self.dtype), written, place, np.float32 if few else np.float64

    def function(self, tile: tuple[int, ...]) -> np.ndarray:
        table: np.ndarray = self.tables[three(tile, 0)]
        return table

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        shape = three(values.shape, 1)
        places = self.places(offset, values.shape, np.float32)
        kernel(*self.kernel_key)(
            values.reshape(shape), self.lo, self.upper, self.tables, *places, self.bottom, self.span, out.reshape(shape)
        )


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
    clip_limit: float | NoiseLimit = 0.01,
    nbins: int = 256,
    *,
    spacing: Spacing = None,
    in_range: GivenRange = Percentiles(0.05, 99.95),
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    window: int = 1,
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
    clip_limit : float or NoiseLimit
        Largest fraction of a tile's voxels in one bin; greater gives more contrast.  <= 0 or >= 1: no
        limit.  At least 1 / nbins takes effect, where the mapping is linear.  ``NoiseLimit(0.02)`` lets noise
        grow to 2 % of the result's range.
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
    window : int
        With "volume" and "plane": so many time points around each are fitted together, as if they were one volume, so
        that the result follows a slow change and does not pulse.  Time is the axis that is called so; of an array, or
        where no name says it, the first one.  Channels are not mixed.
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
        window=window,
        spacing=spacing,
        rgb=rgb,
        level=level,
    )

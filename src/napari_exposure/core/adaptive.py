"""Adaptive histogram equalization (CLAHE): continuous, contrast-limited, tiles in physical units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import NoiseLimit, Percentiles, working_dtype
from napari_exposure.core.jit import kernel, load_kernel
from napari_exposure.core.noise import noise_gain
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.tiled import TiledAdjustment, TiledFit, three
from napari_exposure.core.typing import ArrayLike, Layer, Spacing
from napari_exposure.core.volume import Volume

# Clipping more bins than these, of all tiles together, takes over ten milliseconds, so progress is reported.
MANY_BINS = 1 << 20
# Single precision is used where it moves no result, which lies from 0 to 1, by more than this. The result may be off
# by 1e-5, so there is room.
PLACE_ERROR = 4e-6
# Single precision holds a range whose width is above the first of these, and whose ends are below the second.
SINGLE = 2.0**-100, 2.0**126


@dataclass(frozen=True)
class AdaptiveEqualization(TiledAdjustment):
    """Equalize each region by its own histogram (CLAHE); see `equalize_adapthist`."""

    short_name, verb, title = "adaptive", "equalize_adapthist", "Adaptive equalization"
    group: ClassVar[str] = "Local contrast"
    use: ClassVar[str] = "structures are hidden in dim and in bright regions (CLAHE)"
    fewer_bytes: ClassVar[str] = " or fewer nbins"

    clip_limit: float | NoiseLimit = parameter(
        0.01,
        "Clip limit",
        "Largest fraction of a tile's voxels in one bin: higher gives more contrast and more noise. 0 or 1: no limit. "
        "It can also be found from how strong noise may become.",
        low=0.0,
        high=1.0,
        step=0.001,
        slider=(0.001, 1.0),
        noise=True,
    )
    nbins: int = parameter(256, "Bins", "Bins of each tile's histogram.", low=2, high=65536, step=1, advanced=True)

    @property
    def bins(self) -> int:
        return self.nbins

    def gain(self, limit: float) -> float:
        """Return how many times as steep as a stretch of the input range the result may be, for a limit in numbers."""
        return max(limit * self.nbins, 1.0) if 0 < limit < 1 else self.nbins

    def _fit_bytes(self) -> int:
        return 4 * (self.nbins + 1)

    def _fit_tiles(self, volume: Volume, counts: np.ndarray | None, **shared: Any) -> TilesFit:
        limit = self.clip_limit
        if isinstance(limit, NoiseLimit):
            # Noise grows by the steepness of a tile's function, which is at most clip_limit * nbins times that of a
            # stretch of the range. So the largest gain that noise allows gives the clip limit.
            limit = min(noise_gain(limit, volume, shared["hi"] - shared["lo"]) / self.nbins, 1.0)
        if counts is None:
            tables = np.zeros((*three(shared["grid"].shape, 1), self.nbins + 1), np.float32)
            return TilesFit(**shared, clip_limit=limit, tables=tables)
        if counts.size > MANY_BINS:
            progress.report("clipping the tiles' histograms", 1.0)
        return TilesFit(**shared, clip_limit=limit, tables=tile_functions(counts, limit))


@dataclass(frozen=True, eq=False)
class TilesFit(TiledFit):
    """The functions of all tiles, which `tables` has from 0 to 1 at the borders of the bins.

    The tables are float32 of shape (tiles z, tiles y, tiles x, nbins + 1).  `clip_limit` is the number that histograms
    were clipped at, also where a limit of noise was asked for.
    """

    clip_limit: float
    tables: np.ndarray

    @cached_property
    def kernel_key(self) -> tuple[Any, ...]:
        # Single precision rounds the place of a voxel among the bins. The error grows with the offset of the range, and
        # the steepest bin says how much it moves the result.
        width, farthest = self.upper - self.lo, max(abs(self.lo), abs(self.upper))
        steepest = self.nbins * float(np.max(self.tables[..., 1:] - self.tables[..., :-1], initial=0))
        held = width > SINGLE[0] and farthest < SINGLE[1]
        exact = held and 2.0**-24 * (2 * farthest / width + 3) * steepest < PLACE_ERROR
        place = np.float32 if exact else np.float64
        # The tables are in single precision, which tells all values of 16 bits apart, so such results need no more.
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
    """Return how many voxels a bin may hold in histograms of `total` voxels; None where there is no limit."""
    return np.maximum(clip_limit * total, total / nbins) if 0 < clip_limit < 1 else None


def clip_histograms(counts: np.ndarray, clip_limit: float) -> np.ndarray:
    """Limit the bins of histograms and spread what was cut off over the others, so that the sum stays.

    Counts have the shape (..., nbins).  The limit is a fraction of a histogram's sum; <= 0 or >= 1 does nothing.  The
    result is ``min(counts + r, limit)`` with the one r >= 0 that keeps each sum (water filling).

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
    """Return the function of each tile at the borders of its bins, from counts of shape (..., nbins).

    Each rises from 0 to 1, in float32 of shape (..., nbins + 1).  An empty tile has the function of all tiles together.
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
    the tiles around it.  The tiles lie where the volume says and not where its chunks are, so chunks never show.

    Parameters
    ----------
    clip_limit : float or NoiseLimit
        Largest fraction of a tile's voxels in one bin, from 0 to 1; greater gives more contrast.  0 and 1: no
        limit.  At 1 / nbins the mapping is linear, and less changes nothing.  ``NoiseLimit(0.02)`` lets noise
        grow to 2 % of the result's range.
    nbins : int
        Bins of each tile's histogram, 2 to 65536.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities that the bins divide; values outside are clamped.  The default keeps one hot
        voxel from ruining the bins.  A fixed range makes volumes comparable.

    Raises
    ------
    ValueError
        Also where no voxel is counted, or for tiles so small that their histograms would not fit into memory.

    Notes
    -----
    After [1]_, with these differences from ``skimage.exposure.equalize_adapthist``: interpolation
    centers are the centers of the tiles, clipping conserves the number of voxels (water filling), the
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
    Tiles of 8 micrometers in a stack whose planes are four times as far apart as its pixels:

    >>> import numpy as np
    >>> from napari_exposure.core import equalize_adapthist
    >>> rng = np.random.default_rng(0)
    >>> volume = rng.poisson(np.linspace(20, 200, 64), (16, 64, 64)).astype(np.uint16)
    >>> result = equalize_adapthist(volume, 8.0, spacing=(2.0, 0.5, 0.5))
    >>> result.shape, result.dtype
    ((16, 64, 64), dtype('uint16'))
    """
    return adjust_image(AdaptiveEqualization, **locals())

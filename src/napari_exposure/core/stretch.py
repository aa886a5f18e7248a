"""Local contrast stretch: each region between two percentiles of its own, tiles in physical units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.adjustment import GivenRange, Output, Per, parameter
from napari_exposure.core.blocks import Volume
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import Percentiles, working_dtype
from napari_exposure.core.jit import kernel
from napari_exposure.core.noise import noise_gain
from napari_exposure.core.noise_limit import NoiseLimit
from napari_exposure.core.tiled import TiledAdjustment, TiledFit, three
from napari_exposure.core.typing import ArrayLike, Layer, Spacing

__all__ = ["LocalStretch", "stretch_local"]

# of each tile's histogram: the narrowest tile at the usual largest gain still has two hundred of them
BINS = 4096
MOST_GAIN = 1e6


@dataclass(frozen=True)
class LocalStretch(TiledAdjustment):
    """Stretch each region between two percentiles of its own; see `stretch_local`."""

    short_name: ClassVar[str] = "stretched"
    verb: ClassVar[str] = "stretch_local"
    title: ClassVar[str] = "Local contrast stretch"
    group: ClassVar[str] = "Local contrast"
    use: ClassVar[str] = "regions are of different brightness, and noise shall stay low"

    low: float = parameter(
        1.0,
        "Low %",
        "Voxels up to this percentile of their surroundings become the lowest value.",
        low=0.0,
        high=100.0,
        step=0.1,
        slider=(0.01, 50.0),
    )
    high: float = parameter(
        99.0,
        "High %",
        "Voxels from this percentile of their surroundings on become the highest value.",
        low=0.0,
        high=100.0,
        step=0.1,
        slider=(50.0, 0.01),
        top=100.0,
    )
    max_gain: float | NoiseLimit = parameter(
        20.0,
        "Largest gain",
        "No region is stretched more than this many times as much as the whole input range would be, so that regions "
        "of nothing but noise stay dark. Or how strong noise may become.",
        low=1.0,
        high=MOST_GAIN,
        step=1.0,
        slider=(1.0, 1000.0),
        noise=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # Percentiles raises where the two are not in order.
        Percentiles(self.low, self.high)

    @property
    def bins(self) -> int:
        return BINS

    def gain(self, limit: float) -> float:
        """How many times as steep as a stretch of the input range it is at most, with a limit that is a number."""
        return limit

    def _fit_bytes(self) -> int:
        return 16

    def _fit_tiles(self, volume: Volume, counts: np.ndarray | None, **shared: Any) -> StretchFit:
        lo, hi = shared["lo"], shared["hi"]
        gain = self.max_gain
        if isinstance(gain, NoiseLimit):
            gain = min(noise_gain(gain, volume, hi - lo), MOST_GAIN)
        if counts is None:
            shape = three(shared["grid"].shape, 1)
            return StretchFit(**shared, max_gain=gain, low=np.zeros(shape), width=np.ones(shape))
        places = tile_percentiles(counts, (self.low, self.high))
        # the part of the range that a tile has, at least as much as the largest gain leaves
        width = np.maximum(places[1] - places[0], 1 / gain)
        return StretchFit(**shared, max_gain=gain, low=lo + (hi - lo) * places[0], width=(hi - lo) * width)


@dataclass(frozen=True, eq=False)
class StretchFit(TiledFit):
    """Where the stretch of each tile begins, and how wide it is, in intensities.

    Attributes
    ----------
    max_gain : float
        The largest gain, also where a limit of noise was asked for.
    low, width : numpy.ndarray of float64, shape (tiles z, tiles y, tiles x)
        What becomes 0 in the middle of a tile, and how much above it becomes 1.
    """

    max_gain: float
    low: np.ndarray
    width: np.ndarray

    @property
    def kernel_key(self) -> tuple[Any, ...]:
        return "map_stretch", working_dtype(self.dtype), working_dtype(self.out_dtype)

    def ends(self, tile: tuple[int, ...]) -> tuple[float, float]:
        """The intensities that become 0 and 1 in the middle of a tile."""
        low, width = float(self.low[three(tile, 0)]), float(self.width[three(tile, 0)])
        return low, low + width

    def function(self, tile: tuple[int, ...]) -> np.ndarray:
        low, high = self.ends(tile)
        part: np.ndarray = np.clip((self.edges - low) / (high - low), 0, 1)
        return part

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        shape = three(values.shape, 1)
        places = self.places(offset, values.shape, np.float64)
        # of a constant volume all becomes the lowest value
        span = self.span if self.lo < self.hi else 0.0
        kernel(*self.kernel_key)(
            values.reshape(shape), self.low, self.width, *places, self.bottom, span, out.reshape(shape)
        )


def tile_percentiles(counts: np.ndarray, percentiles: tuple[float, ...]) -> np.ndarray:
    """Percentiles of histograms, interpolated inside a bin.

    Parameters
    ----------
    counts : numpy.ndarray of int, shape (tiles z, tiles y, tiles x, nbins)
    percentiles : tuple of float
        In [0, 100].

    Returns
    -------
    numpy.ndarray of float64, shape (percentiles, tiles z, tiles y, tiles x)
        Where so many percent of a tile's voxels are reached, as a fraction of the range that the bins divide: those
        of a bin lie evenly in it.  An empty tile has what all tiles together have.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.stretch import tile_percentiles
    >>> tile_percentiles(np.array([[[[0, 4, 4, 0]]]]), (0, 25, 100)).ravel()
    array([0.25 , 0.375, 0.75 ])
    """
    nbins = counts.shape[-1]
    empty = counts.sum(axis=-1) == 0
    everything = counts.reshape(-1, nbins).sum(axis=0)
    found = np.empty((len(percentiles), *counts.shape[:-1]))
    for place in np.ndindex(*counts.shape[:-3]):
        # one sheet of tiles at a time: what is made of them stays small
        heights = np.where(empty[place][..., None], everything, counts[place])
        sums = np.cumsum(heights, axis=-1)
        first = (sums == 0).sum(axis=-1)
        for number, percent in enumerate(percentiles):
            reached = percent / 100 * sums[..., -1]
            # the first bin that reaches so far, and that holds anything
            j = np.maximum((sums < reached[..., None]).sum(axis=-1), first)
            height, total = (np.take_along_axis(each, j[..., None], -1)[..., 0] for each in (heights, sums))
            found[(number, *place)] = (j + (reached - (total - height)) / height) / nbins
    return found


@verb
def stretch_local(
    image: Any,
    kernel_size: float | Sequence[float] | None = None,
    low: float = 1.0,
    high: float = 99.0,
    max_gain: float | NoiseLimit = 20.0,
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
    """Stretch each region of a volume between two percentiles of its own.

    The volume is cut into tiles of a physical size.  Each has two percentiles; between the tiles both are
    interpolated, and what lies between them at the place of a voxel is stretched over the whole range.  So regions
    become equally bright, while differences inside a region stay proportional.

    Parameters
    ----------
    image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
        uint8, uint16, uint32, int8, int16, int32, float16, float32 or float64, in either byte order.
        Never written.  The last three axes are tiled (two if `per` is "plane"); time and channel are not.
    kernel_size : float, sequence of float or None
        Edge of a tile in units of `spacing`: a number is the same physical edge on every axis, a
        sequence has one for each spatial axis, None is an eighth of the largest extent.  Tiles are
        rounded so that they divide the volume evenly.
    low, high : float
        Percentiles of a tile's voxels, 0 <= low < high <= 100: what lies at or below the first becomes the lowest
        value, at or above the second the highest.
    max_gain : float or NoiseLimit
        In [1, 1e6]: no tile is stretched more than this many times as much as `in_range` would be, so that tiles of
        nothing but noise stay dark.  ``NoiseLimit(0.02)`` lets noise grow to 2 % of the result's range.
    spacing : float or sequence of float, optional
        Physical size of a voxel along the spatial axes, such as (2.0, 0.5, 0.5) in micrometres.
        Default 1: `kernel_size` is in voxels.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities in which percentiles are looked for, and which `max_gain` refers to.  The default keeps one
        hot voxel from counting.  A fixed range makes the largest gain of volumes comparable.
    output : "dtype" or "float32"
        "dtype" stretches over the full range of the input's dtype (floats: [0, 1]);
        "float32" gives [0, 1].
    mask : array-like or napari.layers.Labels, optional
        Of the image's shape; only voxels where it is not zero are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the percentiles, such as an empty background.
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
        For an empty volume, a parameter out of bounds, percentiles out of order, a mask of another shape, no counted
        voxel, or tiles so small that their histograms would not fit into memory.

    See Also
    --------
    equalize_adapthist : gives each region an even histogram, which brings out more and keeps less.
    clip_percentiles : the same two percentiles for the whole volume.
    correct_decay : for an intensity that fades along one axis.

    Notes
    -----
    Tiles and interpolation are those of `equalize_adapthist`.  With L and H the two interpolated intensities, a voxel
    v becomes (v - L) / (H - L), clamped to [0, 1]; a tile whose H - L is less than the width of `in_range` divided by
    `max_gain` has that width above its L instead.  Percentiles are those of a histogram of 4096 bins over `in_range`,
    interpolated inside a bin.  NaN is not counted and stays NaN; a tile without counted voxels takes the percentiles of
    the whole volume; a constant volume becomes the lowest value, with a warning.  The result is for looking and
    segmenting, not for measuring intensity.

    Examples
    --------
    A stack of which one half has a tenth of the light of the other:

    >>> import numpy as np
    >>> from napari_exposure.core import stretch_local
    >>> volume = np.random.default_rng(0).integers(100, 200, (8, 32, 64)).astype(np.float32)
    >>> volume[..., 32:] /= 10
    >>> result = stretch_local(volume, 16.0)
    >>> float(result[..., :16].mean()), float(result[..., 48:].mean())
    (0.49, 0.50)
    """
    return adjust_image(
        image,
        LocalStretch,
        kernel_size=kernel_size,
        low=low,
        high=high,
        max_gain=max_gain,
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

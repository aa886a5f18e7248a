"""Local contrast stretch, which stretches each region between two percentiles of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import NoiseLimit, Percentiles, working_dtype
from napari_exposure.core.jit import kernel
from napari_exposure.core.noise import noise_gain
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.tiled import TiledAdjustment, TiledFit, three
from napari_exposure.core.typing import ArrayLike, Layer, Spacing
from napari_exposure.core.volume import Volume

# The histogram of a tile has so many bins, of which the narrowest tile still has 200 at the default largest gain.
BINS = 4096
MOST_GAIN = 1e6


@dataclass(frozen=True)
class LocalStretch(TiledAdjustment):
    """Stretch each region between two percentiles of its own; see `stretch_local`."""

    short_name, verb, title = "stretched", "stretch_local", "Local contrast stretch"
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
        """Return how many times as steep as a stretch of the input range the result may be, for a limit in numbers."""
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
        # The width of a tile is a fraction of the range, and at least as wide as the largest gain asks for.
        width = np.maximum(places[1] - places[0], 1 / gain)
        return StretchFit(**shared, max_gain=gain, low=lo + (hi - lo) * places[0], width=(hi - lo) * width)


@dataclass(frozen=True, eq=False)
class StretchFit(TiledFit):
    """Where the stretch of each tile begins, and how wide it is, in intensities.

    In the middle of a tile `low` becomes 0, and what lies `width` above it becomes 1.  `max_gain` is a number, also if
    a limit of noise was asked for.
    """

    max_gain: float
    low: np.ndarray
    width: np.ndarray

    @property
    def kernel_key(self) -> tuple[Any, ...]:
        return "map_stretch", working_dtype(self.dtype), working_dtype(self.out_dtype)

    def ends(self, tile: tuple[int, ...]) -> tuple[float, float]:
        """Return the intensities that become 0 and 1 in the middle of a tile."""
        low, width = float(self.low[three(tile, 0)]), float(self.width[three(tile, 0)])
        return low, low + width

    def function(self, tile: tuple[int, ...]) -> np.ndarray:
        low, high = self.ends(tile)
        part: np.ndarray = np.clip((self.edges - low) / (high - low), 0, 1)
        return part

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        shape = three(values.shape, 1)
        places = self.places(offset, values.shape, np.float64)
        # All voxels of a constant volume become the lowest value.
        span = self.span if self.lo < self.hi else 0.0
        kernel(*self.kernel_key)(
            values.reshape(shape), self.low, self.width, *places, self.bottom, span, out.reshape(shape)
        )


def tile_percentiles(counts: np.ndarray, percentiles: tuple[float, ...]) -> np.ndarray:
    """Return percentiles of the histograms of tiles, shape (tiles z, tiles y, tiles x, nbins), along a first axis.

    They say where so many percent of a tile's voxels are reached, as a fraction of the range that the bins divide.  The
    voxels of a bin lie evenly in it.  An empty tile has the percentiles of all tiles together.

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
        # Only one sheet of tiles is worked on at a time, so that little memory is needed.
        heights = np.where(empty[place][..., None], everything, counts[place])
        sums = np.cumsum(heights, axis=-1)
        first = (sums == 0).sum(axis=-1)
        for number, percent in enumerate(percentiles):
            reached = percent / 100 * sums[..., -1]
            # This is the first bin that reaches so far, and that is not empty.
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

    The volume is cut into tiles of a physical size, and two percentiles are found in each.  Both are interpolated
    between the tiles, and the intensities between them at the place of a voxel are stretched over the whole range.
    So regions become equally bright, while differences inside a region stay proportional.

    Parameters
    ----------
    low, high : float
        Percentiles of a tile's voxels, 0 <= low < high <= 100.  Voxels at or below the first become the lowest value,
        those at or above the second the highest.
    max_gain : float or NoiseLimit
        In [1, 1e6].  No tile is stretched more than this many times as much as `in_range` would be, so that tiles of
        nothing but noise stay dark.  ``NoiseLimit(0.02)`` lets noise grow to 2 % of the result's range.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities in which percentiles are looked for, and to which `max_gain` refers.  With the default, one
        hot voxel does not count.  A fixed range makes the largest gain of volumes comparable.

    Raises
    ------
    ValueError
        Also for percentiles out of order, where no voxel is counted, or for tiles so small that their histograms would
        not fit into memory.

    See Also
    --------
    equalize_adapthist : gives each region an even histogram, which brings out more and keeps less.
    clip_percentiles : the same two percentiles for the whole volume.
    correct_decay : for an intensity that fades along one axis.

    Notes
    -----
    Tiles and interpolation are those of `equalize_adapthist`.  With L and H the two interpolated intensities, a voxel
    v becomes (v - L) / (H - L), clamped to [0, 1].  H - L is at least the width of `in_range` divided by `max_gain`;
    a narrower tile has its H raised.  Percentiles are those of a histogram of 4096 bins over `in_range`, interpolated
    inside a bin.  NaN is not counted and stays NaN; a tile without counted voxels takes the percentiles of the whole
    volume; a constant volume becomes the lowest value, with a warning.  The result is for looking and segmenting, not
    for measuring intensity.

    Examples
    --------
    One half of this stack has a tenth of the light of the other half:

    >>> import numpy as np
    >>> from napari_exposure.core import stretch_local
    >>> volume = np.random.default_rng(0).integers(100, 200, (8, 32, 64)).astype(np.float32)
    >>> volume[..., 32:] /= 10
    >>> result = stretch_local(volume, 16.0)
    >>> float(result[..., :16].mean()), float(result[..., 48:].mean())
    (0.49, 0.50)
    """
    return adjust_image(LocalStretch, **locals())

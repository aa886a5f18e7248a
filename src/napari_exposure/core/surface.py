"""Measures how deep each voxel lies below the surface of a mask, such as that of a spheroid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from napari_exposure.core.blocks import Block, walk
from napari_exposure.core.functions import interpolate
from napari_exposure.core.memory import remembered
from napari_exposure.core.stretch import tile_percentiles
from napari_exposure.core.volume import Volume, count

# The inside of a mask is divided into so many shells of equal thickness.
SHELLS = 64
# Distances to the surface are measured at up to MEASURED points along an axis, of which up to KEPT are kept.
MEASURED, KEPT = 160, 64
# The intensities of each shell are counted in so many bins.
BINS = 4096


@dataclass(frozen=True, eq=False)
class Depths:
    """Depths below a surface at the points of a coarse grid, in the unit of the spacing; negative outside.

    `places` says where the voxels along each axis lie between the points, counted in points.  From the surface to the
    deepest point there are `SHELLS` shells of one `thickness`.
    """

    values: np.ndarray
    places: tuple[np.ndarray, ...]
    thickness: float

    @property
    def nbytes(self) -> int:
        """The bytes that it takes in memory."""
        return self.values.nbytes + sum(place.nbytes for place in self.places)

    @property
    def middles(self) -> np.ndarray:
        """The depth of the middle of each shell."""
        return (np.arange(SHELLS) + 0.5) * self.thickness

    def gains(self, gains: np.ndarray, block: Block) -> np.ndarray:
        """Return the factor of each voxel of a block, interpolated between `gains` in the middles of the shells."""
        place = np.clip(self.shells(block) - 0.5, 0, SHELLS - 1)
        left = np.minimum(place.astype(np.int64), SHELLS - 2)
        found: np.ndarray = gains[left] + (place - left) * (gains[left + 1] - gains[left])
        return found

    def shells(self, block: Block) -> np.ndarray:
        """Return in which shell each voxel of a block lies, as a number with a fraction from 0 to `SHELLS`."""
        found: np.ndarray = self.values
        for axis, (place, part) in enumerate(zip(self.places, block, strict=True)):
            last = found.shape[axis] - 1
            left = np.clip(place[part].astype(np.int64), 0, max(last - 1, 0))
            weight = np.clip(place[part] - left, 0, 1).reshape(
                [-1 if each == axis else 1 for each in range(found.ndim)]
            )
            before, behind = (np.take(found, index, axis) for index in (left, np.minimum(left + 1, last)))
            found = before + weight * (behind - before)
        return np.clip(found / self.thickness, 0, SHELLS)

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...] | None = None) -> Depths:
        """Return the same depths for voxels of another size, of which every step-th one is taken."""
        places = []
        for place, size, step in zip(self.places, shape, steps or (1,) * len(shape), strict=True):
            centers = (np.arange(size) + 0.5) / size * len(place) - 0.5
            places.append(interpolate(centers, np.arange(len(place)), place)[::step] if len(place) > 1 else place)
        return replace(self, places=tuple(places))


def _every(size: int, most: int) -> slice:
    """Return a slice with a step that takes at most `most` of `size` points, evenly about their middle."""
    step = -(-size // most)
    return slice((size - 1) % step // 2, None, step)


@remembered(lambda depths: depths.nbytes)
def find_depths(volume: Volume, spacing: tuple[float, ...]) -> Depths:
    """Find how deep the voxels of a volume lie below the surface of its mask, which must have an inside and an outside.

    The mask is sampled.  Distances to the nearest sample outside are Euclidean, and the surface lies half a sample
    before that sample.  Where the mask reaches the border of the volume there is no surface.
    """
    from scipy.ndimage import distance_transform_edt

    fine = [_every(size, MEASURED) for size in volume.shape]
    inside = np.zeros([len(range(size)[each]) for size, each in zip(volume.shape, fine, strict=True)], bool)

    def sample(block: Block) -> tuple[Block, np.ndarray]:
        places, chosen = [], []
        for part, each in zip(block, fine, strict=True):
            # Before the block there are so many samples, and the first one inside lies at this index.
            before = -(-max(part.start - each.start, 0) // each.step)
            first = each.start + before * each.step - part.start
            chosen.append(slice(first, None, each.step))
            places.append(slice(before, before + len(range(part.stop - part.start)[chosen[-1]])))
        return tuple(places), np.asarray(volume.masked(block))[tuple(chosen)] != 0

    def merge(found: tuple[Block, np.ndarray]) -> None:
        inside[found[0]] = found[1]

    walk(volume.blocks(), sample, merge, "reading the mask")
    if inside.all() or not inside.any():
        raise ValueError(
            f"The mask selects {'all voxels' if inside.all() else 'no voxel'}, so it has no surface. Give a mask that "
            "fills the sample and leaves out what surrounds it."
        )
    between = [size * each.step for size, each in zip(spacing, fine, strict=True)]
    half = min(step for step, size in zip(between, inside.shape, strict=True) if size > 1) / 2
    within = distance_transform_edt(inside, between) - half
    signed = np.where(inside, within, half - distance_transform_edt(~inside, between))
    coarse = [_every(size, KEPT) for size in inside.shape]
    places = []
    for size, each, other in zip(volume.shape, fine, coarse, strict=True):
        places.append((np.arange(size) - each.start - each.step * other.start) / (each.step * other.step))
    kept = np.ascontiguousarray(signed[tuple(coarse)], np.float32)
    return Depths(kept, tuple(places), float(within.max()) / SHELLS)


def shell_percentiles(
    volume: Volume, depths: Depths, lo: float, hi: float, percentiles: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Count the voxels of each shell, and find their percentiles, shape (percentiles, shells).

    Intensities are clamped to lo..hi.  Percentiles are interpolated inside a bin of a histogram; NaN where nothing
    counts.
    """
    nbins = BINS
    if volume.dtype.kind in "iu":
        # Each integer stands for all intensities that round to it.
        lo, hi = lo - 0.5, hi + 0.5
        nbins = int(min(BINS, max(hi - lo, 1)))
    counts = np.zeros(SHELLS * nbins, np.int64)

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> np.ndarray:
        used = ~np.isnan(values) & (counted if counted.size else True)
        shell = np.minimum(depths.shells(block)[used].astype(np.int64), SHELLS - 1)
        place = (values[used].astype(np.float64) - lo) * (nbins / (hi - lo)) if hi > lo else np.zeros(len(shell))
        return np.bincount(shell * nbins + np.clip(place, 0, nbins - 1).astype(np.int64), minlength=len(counts))

    count(volume, visit, lambda found: np.add(counts, found, out=counts), "measuring shells")
    shells = counts.reshape(1, 1, SHELLS, nbins)
    counted: np.ndarray = shells.sum(axis=-1).ravel()
    levels = lo + (hi - lo) * tile_percentiles(shells, percentiles)[:, 0, 0]
    return counted, np.where(counted, levels, math.nan)

"""Finds the tile of a result under the cursor and counts it, without Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_exposure.core.adaptive import clip_height, clip_histograms
from napari_exposure.core.stretch import StretchFit
from napari_exposure.core.tiled import TiledFit
from napari_exposure.core.transform import Transform
from napari_exposure.core.volume import Volume
from napari_exposure.gui.histogram.survey import axis_names
from napari_exposure.gui.histogram.words import digits_between, number, percent, voxels
from napari_exposure.source import Origin, Source, mask_array

# The histogram of a tile of a local stretch is shown with at most this many bars.
BARS = 256


@dataclass(frozen=True, eq=False)
class Tile:
    """One tile of an adaptive equalization or a local stretch.

    Attributes
    ----------
    counts : numpy.ndarray, shape (nbins,)
        The histogram of the tile.
    edges : numpy.ndarray, shape (nbins + 1,)
        Edges of the bins in intensities of the source.
    function : numpy.ndarray, shape (nbins + 1,)
        Result of each edge, from 0 to 1.
    title : str
        Position and size of the tile in words.
    clipped : numpy.ndarray, shape (nbins,), or None
        The histogram after clipping, for an adaptive equalization.
    limit : float or None
        Number of voxels at which the bins are clipped, or None without a limit.
    ends : (float, float) or None
        The intensities that become the lowest and the highest value, for a local stretch.
    """

    counts: np.ndarray
    edges: np.ndarray
    function: np.ndarray
    title: str
    clipped: np.ndarray | None = None
    limit: float | None = None
    ends: tuple[float, float] | None = None

    def rows(self) -> list[tuple[str, str]]:
        """Return names and numbers of the statistics."""
        total = self.counts.sum()
        centers = (self.edges[:-1] + self.edges[1:]) / 2
        share = self.counts / max(total, 1)
        mean = float(share @ centers)
        digits = digits_between(self.edges[0], self.edges[-1])
        # The slope is relative to a straight line from the lowest to the highest intensity.
        steepest = np.diff(self.function).max() * len(self.counts)
        rows = [
            ("voxels", f"{total:,}"),
            ("mean", f"≈ {number(mean, digits)}"),
            ("std", f"≈ {number(math.sqrt(share @ (centers - mean) ** 2), digits)}"),
            ("mode", f"≈ {number(centers[self.counts.argmax()], digits)}"),
            ("bins", f"{len(self.counts):,}"),
            ("fullest bin", voxels(int(self.counts.max()))),
            ("steepest", f"{steepest:.3g} ×"),
        ]
        if self.limit is not None:
            cut = np.maximum(self.counts - self.limit, 0).sum()
            rows += [("clip limit", f"{self.limit:,.1f} voxels"), ("clipped", percent(cut, total))]
        if self.ends is not None:
            rows += [("its lowest", number(self.ends[0], digits)), ("its highest", number(self.ends[1], digits))]
        return rows

    def under(self, value: float) -> str:
        """Describe the bin at an intensity of the source in words, empty outside the bins."""
        at = int(np.searchsorted(self.edges, value, side="right")) - 1
        if not 0 <= at < len(self.counts):
            return ""
        digits = digits_between(self.edges[0], self.edges[-1])
        ends = " to ".join(number(end, digits) for end in self.edges[at : at + 2])
        level = np.interp(value, self.edges, self.function)
        clipped = "" if self.clipped is None else f", clipped {self.clipped[at]:,.1f}"
        return f"{ends}: {voxels(int(self.counts[at]))}{clipped}; becomes {level:.3g}"


def tiles_fit(origin: Origin | None, voxel: tuple[int, ...] | None = None) -> TiledFit | None:
    """Return the fit that made a voxel of a result of tiles, or None for another result."""
    if origin is None:
        return None
    fits = _last(origin).fits
    fit = next(iter(fits.values())) if voxel is None else fits[group_of(origin, voxel)]
    return fit if isinstance(fit, TiledFit) else None


def _last(origin: Origin) -> Transform:
    """Return the last step that made a result."""
    return origin.transform.transforms[-1]


def group_of(origin: Origin, voxel: tuple[int, ...]) -> tuple[int, ...]:
    """Return the key of the fit that a voxel belongs to."""
    last = _last(origin)
    return () if () in last.fits else voxel[: len(voxel) - last.spatial]


def count_tile_at(source_layer, origin: Origin, voxel: tuple[int, ...]) -> Tile:
    """Count the tile of a voxel in the layer that was adjusted."""
    source = Source.of(source_layer)
    transform = _last(origin)
    fit = tiles_fit(origin, voxel)
    tile = fit.grid.at(voxel[-transform.spatial :])
    inside = fit.grid.box(tile)
    mask = None if origin.mask is None else origin.mask()
    counted = None if mask is None else mask_array(mask, source)
    lead = len(voxel) - transform.spatial
    shared = () in transform.fits
    box = tuple(
        slice(0, size) if shared else slice(at, at + 1) for at, size in zip(voxel[:lead], source.shape, strict=False)
    )
    # The last step of a recipe sees what the steps before it give.
    before = origin.transform.transforms[:-1]
    ignored = transform.adjustment.ignore_zeros
    volume = Volume(source.array, counted, ignored, source.rgb, box=box + inside, through=before)
    counts = fit.count_tile(volume)
    step = source.spacing[lead:]
    names = axis_names(source_layer, len(voxel))[lead:]
    size = " × ".join(f"{(part.stop - part.start) * unit:.3g}" for part, unit in zip(inside, step, strict=True))
    place = ", ".join(f"{name} {part.start * unit:.3g}" for name, part, unit in zip(names, inside, step, strict=True))
    of = " × ".join(map(str, fit.grid.shape))
    title = f"tile {tuple(at + 1 for at in tile)} of {of}: {size} {source.unit} at {place}; {counts.sum():,} voxels"
    if isinstance(fit, StretchFit):
        # Bins are joined, because those finer than the levels of integers would look like a comb.
        together = max(1, fit.nbins // BARS)
        counts = counts.reshape(-1, together).sum(axis=1)
        return Tile(counts, fit.edges[::together], fit.function(tile)[::together], title, ends=fit.ends(tile))
    limit = fit.clip_limit
    clipped, height = clip_histograms(counts, limit), clip_height(counts.sum(), len(counts), limit)
    return Tile(counts, fit.edges, fit.function(tile), title, clipped, height)

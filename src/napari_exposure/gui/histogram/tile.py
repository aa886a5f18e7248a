"""The tile of an adaptive equalization under the cursor: which it is, and what it counted.  No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_exposure.core.adaptive import TilesFit, clip_height, clip_histograms
from napari_exposure.core.blocks import Volume
from napari_exposure.core.transform import Transform
from napari_exposure.gui.histogram.survey import axis_names
from napari_exposure.source import Origin, Source, mask_array


@dataclass(frozen=True, eq=False)
class Tile:
    """One tile of an adaptive equalization.

    Attributes
    ----------
    counts, clipped : numpy.ndarray, shape (nbins,)
        Its histogram, and that after clipping.
    edges : numpy.ndarray, shape (nbins + 1,)
        Of the bins, in intensities of the source.
    limit : float or None
        Voxels at which bins are clipped; None: no limit.
    function : numpy.ndarray, shape (nbins + 1,)
        What the edges become, from 0 to 1.
    title : str
        Place and size in words.
    """

    counts: np.ndarray
    clipped: np.ndarray
    edges: np.ndarray
    limit: float | None
    function: np.ndarray
    title: str


def tiles_fit(origin: Origin | None, voxel: tuple[int, ...] | None = None) -> TilesFit | None:
    """The fit that made the voxel of an adaptive result, or None if it is no such result."""
    if origin is None:
        return None
    fits = _last(origin).fits
    fit = next(iter(fits.values())) if voxel is None else fits[group_of(origin, voxel)]
    return fit if isinstance(fit, TilesFit) else None


def _last(origin: Origin) -> Transform:
    """The last step of what made a result."""
    return origin.transform.transforms[-1]


def group_of(origin: Origin, voxel: tuple[int, ...]) -> tuple[int, ...]:
    """Which of the fits of a result a voxel belongs to."""
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
    # of a recipe the last step, which sees what those before it give
    before = origin.transform.transforms[:-1]
    ignored = transform.adjustment.ignore_zeros
    volume = Volume(source.array, counted, ignored, source.rgb, box=box + inside, through=before)
    counts = fit.count_tile(volume)
    nbins = len(counts)
    adaptive: Any = transform.adjustment
    limit = adaptive.clip_limit
    n = counts.sum()
    step = source.spacing[lead:]
    names = axis_names(source_layer, len(voxel))[lead:]
    size = " × ".join(f"{(part.stop - part.start) * unit:.3g}" for part, unit in zip(inside, step, strict=True))
    place = ", ".join(f"{name} {part.start * unit:.3g}" for name, part, unit in zip(names, inside, step, strict=True))
    of = " × ".join(map(str, fit.grid.shape))
    return Tile(
        counts,
        clip_histograms(counts, limit),
        np.linspace(fit.lo, fit.upper, nbins + 1),
        clip_height(n, nbins, limit),
        fit.function(tile),
        f"tile {tuple(at + 1 for at in tile)} of {of}: {size} {source.unit} at {place}; {n:,} voxels",
    )

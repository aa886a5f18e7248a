"""All voxels of a volume in order, which takes a copy of them; nothing else of a fit does."""

from __future__ import annotations

import math

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import BLOCK_VOXELS, Block, walk
from napari_exposure.core.intensity import working_dtype
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.memory import remembered
from napari_exposure.core.quantiles import find_knots
from napari_exposure.core.volume import Volume, count

# A volume is sorted in parts of about so many voxels, but at most so many parts.
PART, MOST = 1 << 16, 512


@remembered(lambda ordered: ordered.nbytes)
def sort_voxels(volume: Volume, lo: float, hi: float) -> np.ndarray:
    """Return all counted voxels, clamped to a range and sorted."""
    (pieces,) = _divide(volume, lo, hi, np.zeros(0))
    return np.sort(np.concatenate(pieces))


@remembered(lambda found: found[0].nbytes + found[1].nbytes)
def rank_voxels(volume: Volume, lo: float, hi: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the distinct intensities of the counted voxels, clamped to a range, and their ranks from 0 to 1.

    The volume is divided at quantiles, and its parts are sorted by several threads, each in its cache.  So the work can
    be stopped at any time.

    Returns
    -------
    levels, heights : numpy.ndarray
        Of the dtype that kernels see, and of float64.
    number : int
        How many voxels are counted.
    """
    dtype = working_dtype(volume.dtype)
    wanted = min(volume.size // PART, MOST)
    edges = np.zeros(0)
    if wanted > 1:
        with progress.part(0, 0.3):
            places, heights = find_knots(volume, lo, hi)
        # The places are knots, so that parts are equally large where intensities differ.
        edges = places[np.unique(np.searchsorted(heights, np.arange(1, wanted) / wanted))] if places.size else edges
    with progress.part(0.3 if wanted > 1 else 0, 0.6):
        pieces = _divide(volume, lo, hi, edges)
    number = sum(len(piece) for part in pieces for piece in part)
    kernel = load_kernel("ranks_rows", dtype)
    # Parts are written where they belong, because to join them at the end would take long, with nothing to report.
    levels, starts = np.empty(number, dtype), np.empty(number)
    found = below = 0

    def rank(part: int) -> tuple[np.ndarray, np.ndarray, int]:
        row, pieces[part] = np.concatenate(pieces[part])[None], []
        own, firsts, size = np.empty(row.shape, dtype), np.empty(row.shape), np.empty(1, np.int64)
        kernel(row, np.empty((0, 0), bool), 0.0, 0.0, np.empty((1, 2)), own, firsts, size)
        return own[0, : size[0]], firsts[0, : size[0]], row.size

    def merge(ranked: tuple[np.ndarray, np.ndarray, int]) -> None:
        nonlocal found, below
        own, firsts, size = ranked
        place = slice(found, found + len(own))
        levels[place] = own
        np.add(firsts, below, out=starts[place])
        found, below = place.stop, below + size

    def divide(start: int) -> None:
        starts[start : start + BLOCK_VOXELS] /= most

    with progress.part(0.6, 0.95):
        walk(range(len(pieces)), rank, merge, "ranking")
    levels, starts = levels[:found], starts[:found]
    if found > 1:
        most = starts[-1].copy()
        with progress.part(0.95, 1):
            walk(range(0, found, BLOCK_VOXELS), divide, lambda _: None, "ranking")
    return levels, starts, number


def _divide(volume: Volume, lo: float, hi: float, edges: np.ndarray) -> list[list[np.ndarray]]:
    """Return all counted voxels, clamped to a range, in pieces: those up to each edge, and those above the last."""
    dtype = working_dtype(volume.dtype)
    if dtype.kind in "iu":
        # Integers are clamped to the next whole numbers outside; all beyond are alike, so their ranks stay the same.
        info = np.iinfo(dtype)
        lo, hi = float(max(math.floor(lo), int(info.min))), float(min(math.ceil(hi), int(info.max)))
    kernel = load_kernel("divide", dtype)
    parts: list[list[np.ndarray]] = [[np.zeros(0, dtype)] for _ in range(len(edges) + 1)]

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> list[np.ndarray]:
        out, stops = np.empty(values.size, dtype), np.empty(len(edges) + 1, np.int64)
        kernel(values.reshape(-1), counted.reshape(-1), lo, hi, edges, out, stops)
        return np.split(out[: stops[-1]], stops[:-1])

    def merge(found: list[np.ndarray]) -> None:
        for part, piece in zip(parts, found, strict=True):
            part.append(piece)

    count(volume, visit, merge, "ranking")
    return parts

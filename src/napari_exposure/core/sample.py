"""Samples of volumes, which are small enough for many measurements in a moment."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import Block, contiguous_blocks, is_dask, stored_chunks, walk
from napari_exposure.core.noise import NoiseLevel, find_noise, spread_blocks
from napari_exposure.core.volume import Volume

# A sample has about so many cells.
CELLS = 1 << 18
# A cell is the mean of so many voxels along x, in as many rows, so that its noise is a fraction of theirs.
EDGE = 4
# About so many bytes are read of a volume that does not lie in memory.
MOST_READ = 1 << 28
# A sample also has so many boxes of single voxels with these edges, spread like the windows in noise.py, but in 3D.
BOXES, BOX = 4, (32, 96, 96)
SPREAD = 0.8191725133961645, 0.6710436067037893, 0.5497004779019703


@dataclass(frozen=True, eq=False)
class Sample:
    """What is known of a volume without reading all of it.

    `cells` are float64 means of voxels, so many as `averaged` says, of a row or of a few rows, with the axes of the
    volume; `cell` is their distance in voxels along each axis.  `boxes` hold single voxels with the spatial axes, and
    begin at `corners` along the axes of the volume.  Both are NaN where a voxel does not count or is not finite.  So
    many voxels as `looked` says were read; the last `spatial` axes are space.
    """

    volume: Volume
    cells: np.ndarray
    cell: tuple[int, ...]
    averaged: int
    boxes: list[np.ndarray]
    corners: list[tuple[int, ...]]
    noise: NoiseLevel
    looked: int
    spatial: int

    @property
    def cell_noise(self) -> float:
        """The noise of cells where the volume is dark."""
        return self.noise.dark / math.sqrt(self.averaged) if self.noise.dark > 0 else 0.0


def take_sample(volume: Volume, spatial: int | None = None) -> Sample:
    """Read a sample, which is the same for any chunks.

    `spatial` is how many of the last axes are space; by default the last three are.
    """
    spatial = min(len(volume.shape), 3) if spatial is None else spatial
    with progress.part(0, 0.3):
        noise = find_noise(volume)
    with progress.part(0.3, 0.8):
        cells, cell, averaged, looked = _cells(volume)
    with progress.part(0.8, 1):
        boxes, corners = _boxes(volume, spatial)
    looked += noise.voxels + sum(box.size for box in boxes)
    return Sample(volume, cells, cell, averaged, boxes, corners, noise, min(looked, volume.size), spatial)


def _cells(volume: Volume) -> tuple[np.ndarray, tuple[int, ...], int, int]:
    *lead, rows, columns = volume.shape
    planes = math.prod(lead)
    edge = max(EDGE, math.ceil(math.sqrt(planes * rows * columns / CELLS)))
    along, across = (min(edge, n) for n in (columns, rows))
    # A cell averages several rows in a small volume, but only one in a large volume, to read less.
    together = min(EDGE, across) if planes * rows * columns <= 32 * CELLS else 1
    # Planes are left out of a volume that would take long to read.
    apart = 1
    if lead and not (isinstance(volume.array, np.ndarray) and not isinstance(volume.array, np.memmap)):
        apart = min(lead[-1], math.ceil(volume.size * volume.dtype.itemsize / MOST_READ))
    skip = (*[slice(None)] * (len(lead) - 1), *[slice(None, None, apart)] * bool(lead))
    number = rows // across
    shape = (*lead[:-1], *[-(-n // apart) for n in lead[-1:]], number, columns // along)
    total, looked = np.zeros(shape), 0
    for row in range(together):
        taken = (*skip, slice(row, row + (number - 1) * across + 1, across))
        part = replace(volume, array=_taken(volume.array, taken), mask=_taken(volume.mask, taken))

        def work(block: Block, part: Volume = part) -> tuple[Block, np.ndarray]:
            found = _read(part, block)[..., : shape[-1] * along]
            return block, found.reshape(*found.shape[:-1], shape[-1], along).mean(axis=-1)

        def merge(found: tuple[Block, np.ndarray]) -> None:
            total[found[0][:-1]] += found[1]

        with progress.part(row / together, (row + 1) / together):
            # A block has whole rows, so that no cell lies in two blocks.
            blocks = contiguous_blocks(part.shape, max(1 << 20, math.prod(part.shape[-2:])))
            walk(blocks, work, merge, "taking a sample")
        looked += part.size
    cell = (*[1] * len(lead[:-1]), *[apart] * bool(lead), across, along)
    return total / together, cell, together * along, looked


def _read(volume: Volume, block: Block) -> np.ndarray:
    """Read a block as float64, with NaN where a voxel does not count or is not finite."""
    values = volume.read(block)
    counted = volume.counted(block, values)
    found = values.astype(np.float64)
    found[~np.isfinite(found)] = np.nan
    if counted.size:
        found[~counted] = np.nan
    return found


def _taken(array: Any, index: tuple[slice, ...]) -> Any:
    """Return a part of an array, with steps, as a view or lazily."""
    if array is None:
        return None
    if stored_chunks(array) is not None and not is_dask(array):
        from napari_exposure.core.lazy import as_dask

        array = as_dask(array)
    return array[index]


def _boxes(volume: Volume, spatial: int) -> tuple[list[np.ndarray], list[tuple[int, ...]]]:
    """Read the boxes of single voxels, or one if it holds the whole volume; return them and their corners."""
    lead, size = volume.shape[:-spatial], volume.shape[-spatial:]
    edges = tuple(min(n, most) for n, most in zip(size, BOX[-spatial:], strict=True))
    number = 1 if edges == size and math.prod(lead) == 1 else BOXES
    blocks = list(spread_blocks(volume.shape, edges, range(number), SPREAD))
    found: list[np.ndarray] = []

    def work(block: Block) -> np.ndarray:
        return _read(volume, block).reshape(edges)

    walk(blocks, work, found.append, "taking a sample")
    return found, [tuple(part.start for part in block) for block in blocks]


def cut(size: int, number: int) -> list[slice]:
    """Cut an axis into so many parts of about the same length."""
    edges = [at * size // min(number, size) for at in range(min(number, size) + 1)]
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]

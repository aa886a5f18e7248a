"""Exact percentiles of the planes across any axis, from passes over the whole volume in any order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import Block
from napari_exposure.core.counting import value_of_keys
from napari_exposure.core.gains import split_at
from napari_exposure.core.intensity import working_dtype
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.memory import remembered
from napari_exposure.core.volume import Volume, count

BITS = 8


@dataclass(frozen=True, eq=False)
class PlanePercentiles:
    """Some percentiles of each plane, shape (percentiles, planes), which are NaN where nothing is counted.

    `counted` says how many voxels of a plane are; NaN are not.  `values` are the intensities of the voxels below which
    these shares of the plane lie.  `levels` are the same without steps: an integer stands for all intensities that
    round to it, so that a plane whose voxels are 0, 1 and 2 may have a level between them.
    """

    counted: np.ndarray
    values: np.ndarray
    levels: np.ndarray


@remembered(lambda found: found.counted.nbytes + 2 * found.values.nbytes)
def plane_percentiles(volume: Volume, axis: int, percentiles: tuple[float, ...]) -> PlanePercentiles:
    """Return percentiles of each plane across `axis`, which is counted from the end.

    A radix selection finds them in all planes at once, with 8 bits in each pass.  Blocks are read in the order in
    which they are stored, and only 256 counts are kept for each plane and percentile, for any dtype.
    """
    dtype = working_dtype(volume.dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    kernel = load_kernel("count_plane_digits", unsigned)
    kind = "uif".index(dtype.kind)
    along = len(volume.shape) + axis
    planes, wanted = volume.shape[along], len(percentiles)
    prefixes = np.zeros((planes, wanted), np.uint64)
    passes = dtype.itemsize
    for number in range(passes):
        shift = BITS * (passes - 1 - number)
        counts = np.zeros((planes, wanted, 1 << BITS), np.int64)

        def visit(
            block: Block,
            values: np.ndarray,
            counted: np.ndarray,
            prefixes: np.ndarray = prefixes,
            shift: int = shift,
        ) -> tuple[slice, np.ndarray]:
            part = block[along]
            shape = split_at(values.shape, axis)
            found = np.zeros((shape[1], wanted, 1 << BITS), np.int64)
            counted = counted.reshape(shape if counted.size else (0, 0, 0))
            kernel(values.view(unsigned).reshape(shape), counted, kind, prefixes[part].copy(), shift, found)
            return part, found

        def merge(result: tuple[slice, np.ndarray], counts: np.ndarray = counts) -> None:
            part, found = result
            counts[part] += found

        with progress.item(number, passes):
            count(volume, visit, merge, "measuring planes")
        if number == 0:
            # No percentile has a prefix yet, so the kernel counts the top digit only once for all.
            counts[:] = counts[:, :1]
        cumulative = np.cumsum(counts, axis=-1)
        if number == 0:
            totals = cumulative[:, 0, -1]
            # Places are ranks in the sorted plane, and after each pass ranks among the keys with the same prefix.
            places = np.array(percentiles) / 100 * np.maximum(totals - 1, 0)[:, None]
        digits = (cumulative <= np.floor(places)[..., None]).sum(axis=-1).clip(max=(1 << BITS) - 1)
        here = np.take_along_axis(counts, digits[..., None], -1)[..., 0]
        places = places - (np.take_along_axis(cumulative, digits[..., None], -1)[..., 0] - here)
        prefixes = prefixes << np.uint64(BITS) | digits.astype(np.uint64)
    values = np.where(totals[:, None], value_of_keys(prefixes, dtype), math.nan)
    levels = values
    if dtype.kind in "iu":
        levels = values - 0.5 + np.minimum((places + 0.5) / np.maximum(here, 1), 1)
    return PlanePercentiles(totals, values.T, levels.T)

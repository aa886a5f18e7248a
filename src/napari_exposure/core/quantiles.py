"""The cumulative distribution of a volume as a curve through knots at its quantiles, exact at each knot."""

from __future__ import annotations

import math

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import Block
from napari_exposure.core.counting import key_of_values, value_of_keys
from napari_exposure.core.intensity import working_dtype
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.memory import remembered
from napari_exposure.core.volume import Volume, count

# Between two knots lies no more than this part of all voxels, unless they are all alike.
PARTS = 512
# Knots that are found anyway are kept this many times finer.
FINER = 2
# The first digit of keys has DIGIT bits.  Later at most 2**CACHED counts are taken at once, which stay in the cache.
DIGIT, CACHED = 16, 14
LOWER = np.uint64((1 << DIGIT) - 1)

Knots = tuple[np.ndarray, np.ndarray]
_NONE: Knots = (np.zeros(0), np.zeros(0))


def knots_of_sorted(ordered: np.ndarray) -> Knots:
    """Return the curve of sorted voxels, without a knot if all are alike.

    Returns
    -------
    places, heights : numpy.ndarray of float64
        Intensities in ascending order, and the fraction of the voxels at or below each.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.quantiles import knots_of_sorted
    >>> knots_of_sorted(np.array([1, 2, 2, 7]))
    (array([1., 2., 6., 7.]), array([0.25, 0.75, 0.75, 1.  ]))
    """
    n = len(ordered)
    if not n or ordered[0] == ordered[-1]:
        return _NONE
    ranks = np.arange(PARTS) * n // PARTS
    # The second value at either end is a knot too, so that a single voxel far off is apart from the rest.
    found = np.unique(ordered[np.concatenate([ranks, [1, n - 2, n - 1]])])
    below, upto = (np.searchsorted(ordered, found, side) / n for side in ("left", "right"))
    places = found.astype(np.float64)
    # A knot right below each value has the fraction of the voxels below it.
    before = places - 1 if ordered.dtype.kind in "iu" else np.nextafter(places, -math.inf)
    pairs = np.stack([before, places], axis=1), np.stack([below, upto], axis=1)
    return _strict(*(pair.ravel()[1:] for pair in pairs))


def _strict(places: np.ndarray, heights: np.ndarray) -> Knots:
    """Drop knots that are not below the next one, so that places ascend strictly."""
    last = np.append(places[1:] > places[:-1], True)
    return places[last], heights[last]


def _index(prefixes: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the prefixes begin that have each lower 16 bits, and the prefixes if they have more bits.

    Prefixes of 16 bits need no search: the index has the row of each, and the last row for keys with none of them.
    """
    if bits > DIGIT:
        return np.searchsorted(prefixes & LOWER, np.arange((1 << DIGIT) + 1)).astype(np.int32), prefixes
    own = np.full((1 << DIGIT) + 1, len(prefixes), np.int32)
    own[prefixes.astype(np.int64)] = np.arange(len(prefixes))
    return own, prefixes[:0]


@remembered(lambda knots: 16 * len(knots[0]))
def find_knots(volume: Volume, lo: float, hi: float) -> Knots:
    """Return the curve of a volume with voxels clamped to a range, without a knot if none counts or all are alike.

    The keys by which a radix sort orders values are divided into bins of equal width.  Bins with too many voxels are
    divided again in another pass, until each holds at most its part or one key.  Two passes usually suffice.
    """
    dtype = working_dtype(volume.dtype)
    unsigned = np.dtype(f"u{dtype.itemsize}")
    kernel = load_kernel("count_keys", unsigned)
    kind, size = "uif".index(dtype.kind), 8 * dtype.itemsize
    least, most = key_of_values((lo, hi), dtype)
    prefixes, above, bits, total = np.zeros(0, np.uint64), size, DIGIT, 0
    parts, rest = [], 1.0
    while True:
        shift = above - bits
        starts, longer = _index(prefixes, size - above)
        found = np.zeros((len(prefixes) + 1, 1 << bits), np.int64)

        def visit(
            block: Block,
            values: np.ndarray,
            counted: np.ndarray,
            starts: np.ndarray = starts,
            longer: np.ndarray = longer,
            place: tuple[int, int] = (min(above, size - DIGIT), shift),
            shape: tuple[int, ...] = found.shape,
        ) -> np.ndarray:
            part = np.zeros(shape, np.int64)
            keys = values.reshape(-1).view(unsigned)
            kernel(keys, counted.reshape(-1), kind, least, most, starts, longer, *place, part)
            return part

        def merge(part: np.ndarray, found: np.ndarray = found) -> None:
            np.add(found, part, out=found)

        with progress.part(1 - rest, 1 - rest / 2):
            count(volume, visit, merge, "finding quantiles")
        rest /= 2
        total = total or int(found.sum())
        if not total:
            return _NONE
        found = found[: max(len(prefixes), 1)]
        begun = prefixes if len(prefixes) else np.zeros(1, np.uint64)
        bins = begun[:, None] << np.uint64(bits) | np.arange(1 << bits, dtype=np.uint64)
        heavy = found * PARTS > total
        heavy &= shift > 0
        fine = (found > 0) & ~heavy
        first = bins[fine] << np.uint64(shift)
        parts.append((first, first | np.uint64((1 << shift) - 1), found[fine]))
        if not heavy.any():
            break
        prefixes, above = bins[heavy], shift
        prefixes = prefixes[np.argsort(prefixes & LOWER)]
        bits = min(shift, CACHED - (len(prefixes) - 1).bit_length())
    firsts, lasts, counts = (np.concatenate(each) for each in zip(*parts, strict=True))
    if len(counts) == 1:
        return _NONE
    order = np.argsort(firsts)
    cumulative = np.cumsum(counts[order])
    # Knots are the bins in which another part begins, each from right before its first key to its last.
    reached = cumulative * (FINER * PARTS) // total
    kept = np.diff(reached, prepend=0) > 0
    before = np.maximum(firsts[order][kept], np.uint64(least + 1)) - np.uint64(1)
    keys = np.stack([before, np.minimum(lasts[order][kept], np.uint64(most))], axis=1)
    heights = np.stack([cumulative - counts[order], cumulative], axis=1)[kept] / total
    return _strict(value_of_keys(keys.ravel(), dtype), heights.ravel())

"""Brings the tiles of a mosaic to one scale, by what they have in common where they overlap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.arrays import held
from napari_exposure.core.axes import Tile
from napari_exposure.core.blocks import BLOCK_VOXELS, read_part, walk
from napari_exposure.core.functions import exp, log
from napari_exposure.core.images import Opened, listed, open_all, opened
from napari_exposure.core.intensity import check_exposure
from napari_exposure.core.linear import Linear
from napari_exposure.core.parameters import Output
from napari_exposure.core.typing import Array, ArrayLike, Layer, Spacing
from napari_exposure.core.words import given

# A cell has so many voxels along each axis: its mean has little noise, and small shifts of the tiles do not matter.
CELL = 4
# Two tiles must have this fraction of their variance in common, so that their overlap tells a factor.
ALIKE = 0.25
# Voxel sizes may differ by this fraction, because files round them.
SAME = 1e-3

Matrix = list[list[float]]


@dataclass(eq=False)
class Overlap:
    """A place where two tiles overlap, and what was found there: `starts` says where it begins in either tile.

    `sums` has six lists with a number for each piece that was read: how many voxels count, and over the cells of the
    piece the sums of either tile, of the squares of either, and of the products of both.
    """

    pair: tuple[int, int]
    starts: tuple[tuple[int, ...], tuple[int, ...]]
    shape: tuple[int, ...]
    sums: list[list[float]] = field(default_factory=lambda: [[] for _ in range(6)])

    def pieces(self) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Yield parts that consist of whole cells, as slices of either tile; they are the same on every machine."""
        inner = math.prod(self.shape[1:])
        planes = max(1, BLOCK_VOXELS // (CELL * inner)) * CELL
        for at in range(0, self.shape[0], planes):
            stop = min(at + planes, self.shape[0])
            first, second = (
                (
                    slice(start[0] + at, start[0] + stop),
                    *(slice(begin, begin + size) for begin, size in zip(start[1:], self.shape[1:], strict=True)),
                )
                for start in self.starts
            )
            yield first, second

    @property
    def moments(self) -> tuple[float, float, float, float, float, float]:
        """How many voxels count, the means and variances of both tiles, and their covariance, over means of cells."""
        count, x, y, xx, yy, xy = (math.fsum(each) for each in self.sums)
        if not count:
            return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        x, y = x / count, y / count
        return count, x, y, xx / count - x * x, yy / count - y * y, xy / count - x * y


def fit_overlaps(
    images: Iterable[ArrayLike | Layer],
    *,
    translate: Sequence[Sequence[float]] | None = None,
    spacing: Spacing = None,
    fixed: int | ArrayLike | Layer = 0,
    output: Output = "dtype",
) -> list[Linear]:
    """Find the factor and the offset of each tile of a mosaic; see `match_overlaps`, which applies them.

    Parameters
    ----------
    images, translate, spacing, fixed, output
        As `match_overlaps` has them.

    Returns
    -------
    list of Linear
        One for each image.

    Raises
    ------
    TypeError, ValueError
        As `match_overlaps` does.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import fit_overlaps
    >>> scene = np.random.default_rng(0).uniform(100, 200, (8, 16, 40)).astype(np.float32)
    >>> tiles = [scene[:, :, :24], 10 + 0.5 * scene[:, :, 16:]]
    >>> first, second = fit_overlaps(tiles, translate=[(0, 0, 0), (0, 0, 16)])
    >>> round(second.factor, 4), round(second.offset, 2)
    (2.0, -20.0)
    """
    found, mosaic = _opened(images, translate, spacing, fixed)
    with found[0].bar():
        return mosaic.fit(output)


def match_overlaps(
    images: Iterable[Any],
    *,
    translate: Sequence[Sequence[float]] | None = None,
    spacing: Spacing = None,
    fixed: int | ArrayLike | Layer = 0,
    output: Output = "dtype",
) -> list[Any]:
    """Bring the tiles of a mosaic to one scale: each gets a factor and an offset, so that no seam is seen.

    Parameters
    ----------
    images : list of napari.layers.Image or array-like, or layers of a viewer such as ``viewer.layers.selection``
        Two or more images with the same number of axes, each of which overlaps with another one.  Never written.
    translate : sequence of sequence of float, optional
        Where the first voxel of each array lies, along all axes, in units of `spacing`.  A layer knows its own place in
        the world.
    spacing : float or sequence of float, optional
        The size of a voxel of arrays along all axes, which is the same for all arrays and 1 by default.
    fixed : int, or one of the images
        The image that stays as it is, or its number.
    output : "dtype" or "float32"
        "dtype": dtypes stay, integers are rounded to nearest and clamped.  "float32": neither.

    Returns
    -------
    list of napari.layers.Image, numpy.ndarray or dask.array.Array
        They are of the kind of the images, and lazy for dask.  Layers have the place and the colors of their sources,
        and all have the contrast limits of the fixed one; `Recipe.of` tells the factor and the offset of each.

    Raises
    ------
    TypeError
        For images that are not all layers or all arrays, or for RGB.
    ValueError
        If a layer is rotated, sheared or has an affine transform of its own, if voxel sizes or units differ, or
        if an image does not overlap with the others or its overlaps show nothing; the message names it.

    See Also
    --------
    adjust_linear : applies a factor and an offset.
    fit_overlaps : only finds them.

    Notes
    -----
    Places are rounded to whole voxels.  Voxels at the lowest or the highest intensity that a tile has in its overlaps
    may be cut off, so they do not count, nor do NaN and infinite ones.  The others are averaged in cells of 4 voxels
    along each axis, which takes most of the noise away.  If the cells of two tiles have the standard deviations s and
    t, their factors have the ratio 1/s to 1/t.  This is the reduced major axis [1]_: noise on both sides cancels,
    where a regression of one on the other would make every factor too small.  The logarithms of the factors are found
    by least squares over all overlaps, weighted by the number of voxels and by how closely both tiles agree; overlaps
    in which less than a quarter of the variance is common are left out.  Then the offsets are found from the means.
    Sums are exact, and the few equations are solved in a fixed order, so the same bits come out everywhere.

    References
    ----------
    .. [1] R. J. Smith, Use and misuse of the reduced major axis for line-fitting, American Journal of Physical
       Anthropology 140 (2009) 476-486.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import match_overlaps
    >>> scene = np.random.default_rng(0).uniform(100, 200, (8, 16, 40)).astype(np.float32)
    >>> tiles = [scene[:, :, :24], 10 + 0.5 * scene[:, :, 16:]]
    >>> left, right = match_overlaps(tiles, translate=[(0, 0, 0), (0, 0, 16)])
    >>> bool(np.allclose(left[:, :, 16:], right[:, :, :8], rtol=1e-4))
    True
    """
    found, mosaic = _opened(images, translate, spacing, fixed)
    with found[0].bar():
        with progress.part(0, 0.4):
            lines = mosaic.fit(output)
        with progress.part(0.4, 1):
            results = progress.each(range(len(found)), lambda tile: found[tile].adjusted(lines[tile]))
    found[mosaic.fixed].show_alike(results)
    return results


def _opened(
    images: Iterable[Any], translate: Sequence[Sequence[float]] | None, spacing: Spacing, fixed: Any
) -> tuple[list[Opened], Mosaic]:
    """Open images and make their mosaic; `fixed` is one of them or its number."""
    images = listed(images)
    found = open_all(images, opened)
    same = [number for number, image in enumerate(images) if image is fixed]
    if found and not same and not (isinstance(fixed, int) and not isinstance(fixed, bool) and 0 <= fixed < len(found)):
        raise ValueError(f"fixed must be one of the images or its number, 0 to {len(found) - 1}, got {given(fixed)}.")
    return found, Mosaic.of(found, translate, spacing, *same[:1] or [fixed])


# --- where tiles lie --------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Mosaic:
    """The tiles of a mosaic on one grid, which is checked before any voxel is read.

    The first voxel of each tile lies at its corner on the grid, errors call it by its name, and the tile number `fixed`
    stays as it is.
    """

    arrays: Sequence[Any]
    corners: Sequence[tuple[int, ...]]
    names: Sequence[str]
    fixed: int = 0

    @classmethod
    def of(
        cls,
        found: Sequence[Opened],
        translate: Sequence[Sequence[float]] | None = None,
        spacing: Spacing = None,
        fixed: int = 0,
    ) -> Mosaic:
        """Make a mosaic of opened images; parameters and errors are those of `match_overlaps`."""
        if len(found) < 2:
            raise ValueError("match_overlaps needs two images or more, which overlap.")
        if len({type(each) for each in found}) > 1:
            raise TypeError("match_overlaps needs images of one kind: all layers, or all arrays.")
        if translate is not None and not (np.iterable(translate) and len(translate) == len(found)):
            raise ValueError(f"translate must have a place for each of {len(found)} images, got {given(translate)}.")
        names = [f"Layer {each.name!r}" if each.name else f"Image {number}" for number, each in enumerate(found)]
        tiles = [
            each.tile(None if translate is None else translate[number], spacing) for number, each in enumerate(found)
        ]
        arrays, places = [array for array, _ in tiles], [place for _, place in tiles]
        for array, name in zip(arrays, names, strict=True):
            check_exposure(array.dtype, name)
        return cls(arrays, _corners(arrays, places, names), names, fixed)

    def fit(self, output: Output = "dtype") -> list[Linear]:
        """Find the factor and the offset of each tile."""
        lines = solve(self.arrays, self.corners, self.names, self.fixed)
        return [Linear(factor, offset, output=output) for factor, offset in lines]


def _corners(arrays: Sequence[Array], places: Sequence[Tile], names: Sequence[str]) -> list[tuple[int, ...]]:
    """Return where the first voxel of each tile lies on the grid of the first tile, or raise why it does not."""
    shape, (sizes, origin) = tuple(arrays[0].shape), places[0]
    corners = []
    for array, (size, place), name in zip(arrays, places, names, strict=True):
        if len(array.shape) != len(shape):
            raise ValueError(f"{name} has {len(array.shape)} axes, but {names[0]} has {len(shape)}.")
        if not all(abs(a - b) <= SAME * abs(b) for a, b in zip(size, sizes, strict=True)):
            raise ValueError(
                f"{name} has voxels of another size than {names[0]}: {_words(size)} and {_words(sizes)}. Tiles of a "
                "mosaic need one grid; resample one of them first."
            )
        apart = ((a - b) / step for a, b, step in zip(place, origin, sizes, strict=True))
        corners.append(tuple(round(voxels) for voxels in apart))
    return corners


def _words(sizes: Sequence[float]) -> str:
    return " × ".join(f"{size:g}" for size in sizes)


def find_overlaps(shapes: Sequence[tuple[int, ...]], corners: Sequence[tuple[int, ...]]) -> list[Overlap]:
    """Return all pairs of boxes on a grid that have voxels in common.

    Examples
    --------
    >>> from napari_exposure.core.overlaps import find_overlaps
    >>> (found,) = find_overlaps([(4, 6), (4, 6), (4, 6)], [(0, 0), (1, 4), (9, 9)])
    >>> found.pair, found.starts, found.shape
    ((0, 1), ((1, 4), (0, 0)), (3, 2))
    """
    found = []
    for i in range(len(shapes)):
        for j in range(i + 1, len(shapes)):
            first = [max(a, b) for a, b in zip(corners[i], corners[j], strict=True)]
            last = [min(a + m, b + n) for a, m, b, n in zip(corners[i], shapes[i], corners[j], shapes[j], strict=True)]
            size = tuple(stop - start for start, stop in zip(first, last, strict=True))
            if min(size) > 0:
                starts = [tuple(at - corner for at, corner in zip(first, corners[n], strict=True)) for n in (i, j)]
                found.append(Overlap((i, j), (starts[0], starts[1]), size))
    return found


# --- what is found there ----------------------------------------------------------------


def solve(
    arrays: Sequence[Array], corners: Sequence[tuple[int, ...]], names: Sequence[str], fixed: int
) -> list[tuple[float, float]]:
    """Find the factor and the offset of each array, whose first voxel lies at its corner on a common grid.

    Those of the array number `fixed` are 1 and 0.  A ValueError names arrays that do not overlap, or overlap where
    there is nothing to compare.
    """
    tiles = [held(array) for array in arrays]
    overlaps = find_overlaps([tuple(array.shape) for array, _ in tiles], corners)
    _check_joined([overlap.pair for overlap in overlaps], names, fixed, "does not overlap with")
    pieces = [(overlap, *piece) for overlap in overlaps for piece in overlap.pieces()]
    ends = [(math.inf, -math.inf) for _ in arrays]

    def read(number: int, place: tuple[slice, ...]) -> np.ndarray:
        """Return voxels as float64, which are NaN where a masked array has none."""
        array, counted = tiles[number]
        values = read_part(array, place).astype(np.float64)
        if counted is not None:
            values[~read_part(counted, place)] = math.nan
        return values

    def extent(piece: tuple[Overlap, Any, Any]) -> list[tuple[int, float, float]]:
        overlap, *places = piece
        found = []
        for number, place in zip(overlap.pair, places, strict=True):
            values = read(number, place)
            values = values[np.isfinite(values)]
            if values.size:
                found.append((number, float(values.min()), float(values.max())))
        return found

    def widen(found: list[tuple[int, float, float]]) -> None:
        for number, low, high in found:
            ends[number] = min(ends[number][0], low), max(ends[number][1], high)

    def measure(piece: tuple[Overlap, Any, Any]) -> tuple[Overlap, list[float]]:
        overlap, *places = piece
        (i, j), (here, there) = overlap.pair, places
        return overlap, _sums((read(i, here), *ends[i]), (read(j, there), *ends[j]))

    def add(found: tuple[Overlap, list[float]]) -> None:
        overlap, sums = found
        for kept, each in zip(overlap.sums, sums, strict=True):
            kept.append(each)

    with progress.part(0, 0.4):
        walk(pieces, extent, widen, "finding what is cut off")
    with progress.part(0.4, 1):
        walk(pieces, measure, add, "comparing overlaps")
    moments = [overlap.moments for overlap in overlaps]
    # The lowest value of each tile was subtracted before the sums.
    lows = [low if math.isfinite(low) else 0.0 for low, _ in ends]
    factors = _factors(overlaps, moments, names, fixed)
    equations = []
    for overlap, (count, x, y, *_) in zip(overlaps, moments, strict=True):
        i, j = overlap.pair
        if count:
            equations.append((i, j, factors[j] * (y + lows[j]) - factors[i] * (x + lows[i]), count))
    offsets = differences(equations, len(arrays), fixed)
    return list(zip(factors, offsets, strict=True))


def _factors(
    overlaps: Sequence[Overlap], moments: Sequence[tuple[float, ...]], names: Sequence[str], fixed: int
) -> list[float]:
    equations = []
    for overlap, (count, _, _, xx, yy, xy) in zip(overlaps, moments, strict=True):
        if not (xx > 0 and yy > 0 and xy > 0):
            continue
        common = min(xy / xx * (xy / yy), 1.0)
        if common < ALIKE:
            continue
        ratio = float(log(np.array([yy / xx]))[0]) / 2
        # A ratio weighs the more, the more voxels there are and the closer both agree, up to 0.1 %, which shifts cost.
        equations.append((*overlap.pair, ratio, count / (1 - common + 1e-3)))
    _check_joined([pair[:2] for pair in equations], names, fixed, "shows nothing in common, where they overlap, with")
    logs = differences(equations, len(names), fixed)
    return [1.0 if number == fixed else float(exp(np.array([each]))[0]) for number, each in enumerate(logs)]


def _sums(first: tuple[np.ndarray, float, float], second: tuple[np.ndarray, float, float]) -> list[float]:
    """Return what `Overlap.sums` keeps of a piece; either tile is given as its values, their lowest and highest."""
    use = np.ones(first[0].shape, bool)
    for values, low, high in (first, second):
        use &= (values > low) & (values < high)
    count = _cells(use.astype(np.float64))
    with np.errstate(invalid="ignore"):
        # Infinite values may give NaN here, but they do not count.
        x, y = (_cells(np.where(use, values - low, 0.0)) for values, low, _ in (first, second))
    there = count > 0
    count, x, y = count[there], x[there], y[there]
    parts = count, x, y, x * x / count, y * y / count, x * y / count
    return [math.fsum(part.tolist()) for part in parts]


def _cells(values: np.ndarray) -> np.ndarray:
    """Return the sums over cells, added in the order of the voxels; the last cells may be smaller."""
    for axis in range(values.ndim):
        size = -(-values.shape[axis] // CELL)
        spare = size * CELL - values.shape[axis]
        values = np.pad(values, [(0, spare if each == axis else 0) for each in range(values.ndim)])
        parts = np.moveaxis(values, axis, 0).reshape(size, CELL, *np.delete(values.shape, axis))
        total = parts[:, 0].copy()
        for step in range(1, CELL):
            total += parts[:, step]
        values = np.moveaxis(total, 0, axis)
    return values


def _check_joined(pairs: Sequence[tuple[int, int]], names: Sequence[str], fixed: int, why: str) -> None:
    """Raise an error that names the tiles from which no chain of pairs leads to the fixed one."""
    reached, wider = {fixed}, True
    while wider:
        near = {number for pair in pairs if set(pair) & reached for number in pair}
        wider = not near <= reached
        reached |= near
    lost = [name for number, name in enumerate(names) if number not in reached]
    if lost:
        raise ValueError(
            f"{', '.join(lost)} {why} {names[fixed]}, neither directly nor through other tiles. Move what lies wrong "
            "(translate), or leave it out."
        )


# --- least squares ----------------------------------------------------------------------


def differences(equations: Sequence[tuple[int, int, float, float]], number: int, fixed: int) -> list[float]:
    """Find numbers whose differences are known, by weighted least squares; the one with the index `fixed` is 0.

    An equation (i, j, difference, weight) says what number i less number j is.  A chain of equations must join each
    number with the fixed one.

    Examples
    --------
    >>> from napari_exposure.core.overlaps import differences
    >>> differences([(1, 0, 3.0, 1.0), (2, 1, 2.0, 1.0), (2, 0, 5.0, 1.0)], 3, 0)
    [0.0, 3.0, 5.0]
    """
    most = max((weight for *_, weight in equations), default=1.0)
    free = {each: row for row, each in enumerate(each for each in range(number) if each != fixed)}
    matrix: Matrix = [[0.0] * (len(free) + 1) for _ in free]
    for i, j, difference, weight in equations:
        share = weight / most
        for here, other, sign in ((i, j, 1), (j, i, -1)):
            if here == fixed:
                continue
            row = matrix[free[here]]
            row[free[here]] += share
            row[-1] += sign * share * difference
            if other != fixed:
                row[free[other]] -= share
    found = eliminated(matrix)
    return [0.0 if each == fixed else found[free[each]] for each in range(number)]


def eliminated(matrix: Matrix) -> list[float]:
    """Solve linear equations, whose right side is the last column, by Gaussian elimination in a fixed order.

    There are few equations, and no library solves them with the same bits on every processor.
    """
    rows = [list(row) for row in matrix]
    number = len(rows)
    for at in range(number):
        pivot = max(range(at, number), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for below in range(at + 1, number):
            ratio = rows[below][at] / rows[at][at]
            if ratio:
                rows[below] = [a - ratio * b for a, b in zip(rows[below], rows[at], strict=True)]
    found = [0.0] * number
    for at in reversed(range(number)):
        known = math.fsum(rows[at][column] * found[column] for column in range(at + 1, number))
        found[at] = (rows[at][number] - known) / rows[at][at]
    return [each + 0.0 for each in found]

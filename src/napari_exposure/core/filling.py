"""Fills voxels that hold nothing: dead pixels, and the gaps between stitched tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adjustment import check_counted
from napari_exposure.core.arrays import Several
from napari_exposure.core.blocks import Block
from napari_exposure.core.counting import find_percentiles
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import dtype_range, is_lookup
from napari_exposure.core.keeping import ScaleKeeping
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.pointwise import PointwiseFit
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer, Spacing
from napari_exposure.core.volume import Volume, count

if TYPE_CHECKING:
    from scipy.spatial import KDTree

METHODS = {"nearest": "nearest: go on from the nearest voxels", "median": "median: of all other voxels"}
# A fit holds at most so many voxels beside gaps.
MOST_BESIDE = 1 << 24


@dataclass(frozen=True, eq=False)
class ReplaceFit(PointwiseFit):
    """Voxels of the intensity `value`, and NaN, become `filling`, and all others are clamped.

    The result is multiplied by `unit`.
    """

    value: float
    filling: float
    clamp: tuple[float, float]
    unit: float

    # Other adjustments make a volume of one intensity black and warn of it.  This one leaves it as it is.
    constant = False

    @property
    def scale(self) -> tuple[float, float]:
        return 0.0, self.unit

    @property
    def stretched(self) -> tuple[float, float]:
        # The table of integers goes on behind the range that was found, and the results do not.
        return self.bottom / self.unit, self.top / self.unit

    def curve(self, values: np.ndarray) -> np.ndarray:
        return np.where(values == self.value, self.filling, np.clip(values, *self.clamp))

    _kernel_name = "map_replace"

    def _kernel_parameters(self) -> tuple[Any, ...]:
        return self.value, self.filling, *self.clamp


@dataclass(frozen=True, eq=False)
class NearestFit(ReplaceFit):
    """Voxels of one intensity, and NaN, become what the nearest other voxel is.

    The nearest voxel always lies beside a gap, so only such voxels are kept: where they are in the fitted volume, an
    int32 array `sites` of shape (n, axes), and their intensities.  `shape` and `spacing` are those of the fitted volume
    too.  Along each axis, whose entry in `places` is (first, step), voxel i of the volume to map lies at first + step *
    i of it.
    """

    pointwise: ClassVar[bool] = False
    # Blocks are small, because each voxel of a gap takes a search.
    block_voxels: ClassVar[tuple[int, ...]] = (1 << 18,)

    sites: np.ndarray
    intensities: np.ndarray
    spacing: tuple[float, ...]
    places: tuple[tuple[float, float], ...]
    shape: tuple[int, ...]

    @cached_property
    def _tree(self) -> KDTree:
        from scipy.spatial import KDTree

        return KDTree(self.sites * np.array(self.spacing))

    def __getstate__(self) -> dict[str, Any]:
        return {name: each for name, each in vars(self).items() if name != "_tree"}

    def rows_key(self, fits: Sequence[Self]) -> None:
        return None

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...]) -> Self:
        level = self.at_level(shape)
        places = zip(level.places, steps, strict=True)
        return replace(level, places=tuple((first, step * every) for (first, step), every in places))

    def at_level(self, shape: tuple[int, ...]) -> Self:
        ratios = [found / n for found, n in zip(self.shape, shape, strict=True)]
        return replace(self, places=tuple((0.5 * ratio - 0.5, ratio) for ratio in ratios))

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        super().map(values, offset, out)
        gaps = np.argwhere(_is_gap(values, self.value))
        if not len(self.sites) or not len(gaps):
            return
        first, step = np.array(self.places).T
        at = (first + step * (gaps + np.array(offset))) * np.array(self.spacing)
        _, nearest = self._tree.query(at)
        found = self.unit * np.clip(self.intensities[nearest], *self.clamp)
        out[tuple(gaps.T)] = np.rint(found) if out.dtype.kind in "iu" else found


def _is_gap(values: np.ndarray, value: float) -> np.ndarray:
    gap: np.ndarray = values == value
    if values.dtype.kind == "f":
        gap |= np.isnan(values)
    return gap


@dataclass(frozen=True)
class Fill(ScaleKeeping):
    """Fill voxels that hold nothing; see `fill`."""

    short_name, verb, title = "filled", "fill", "Fill gaps"
    use: ClassVar[str] = "some voxels hold nothing, as where planes or tiles are missing"

    method: Literal["nearest", "median"] = parameter(
        "nearest",
        "Method",
        "What gaps become: what the nearest voxel beside them is, or the median of all other voxels.",
        choices=METHODS,
    )
    value: float = parameter(
        0.0,
        "Gap value",
        "The intensity of voxels that hold nothing: 0 between stitched tiles, or that of a dead pixel. NaN is always "
        "filled.",
        min=-1e9,
        max=1e9,
        step=1.0,
    )

    @property
    def needs_spacing(self) -> bool:  # type: ignore[override]  # A parameter decides it here.
        """Whether the size of a voxel matters: it says which voxel is the nearest."""
        return self.method == "nearest"

    @property
    def place_note(self) -> str:  # type: ignore[override]  # The same holds here.
        """Why a fit on one shape does not hold for another; empty where it does."""
        return "its gaps are those that were fitted" if self.method == "nearest" else ""

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        with progress.part(0, 0.2):
            (lo, hi), clamp = self._find_clamp(volume)
        with progress.part(0.2, 0.6):
            filling = _median_of_others(volume, self.value)
        dtype, out_dtype, unit, _ = self._dtypes(volume).values()
        # A table holds every integer of the dtype, because values outside of the range that was found also stay.
        ends = dtype_range(dtype, negative=dtype.kind == "i") if is_lookup(dtype) else (lo, hi)
        made = ReplaceFit(*ends, unit * lo, unit * hi, dtype, out_dtype, self.value, filling, clamp, unit)
        if self.method == "median":
            return made
        with progress.part(0.6, 1):
            sites, intensities = _beside_gaps(volume, self.value)
        shape = volume.shape[-len(spacing) :]
        places = ((0.0, 1.0),) * len(shape)
        found: dict[str, Any] = {**vars(made), "sites": sites, "intensities": intensities}
        # Only the ratios of sizes matter. A power of two keeps them, and the squares of distances within float64.
        sizes = tuple(np.ldexp(spacing, -np.frexp(max(spacing))[1]).tolist())
        return NearestFit(**found, spacing=sizes, places=places, shape=shape)

    def check(self, volume: Volume, spacing: Spacing = None) -> tuple[float, ...]:
        """Check as every adjustment does, and raise an error if the nearest voxel may be one of another volume."""
        sizes = super().check(volume, spacing)
        if self.method == "nearest" and isinstance(volume.array, Several):
            raise ValueError(
                "The nearest voxel must be one of the same image, but several images share this fit: fit on each, "
                "without fit_on, or use method='median'."
            )
        if self.method == "nearest" and self.window > 1:
            raise ValueError(
                "The nearest voxel must be one of the same volume, so time points are not filled together: leave "
                "window at 1, or use method='median'."
            )
        if self.method == "nearest" and self.per == "dataset" and len(volume.shape) > len(sizes):
            raise ValueError(
                "The nearest voxel must be one of the same volume, but the image has several: use per='volume', "
                "per='plane' or method='median'."
            )
        return sizes


def _median_of_others(volume: Volume, value: float) -> float:
    """Return the median of the counted voxels that have another intensity; `value` where there is none."""
    totals = np.zeros(3, np.int64)

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[int, int, int]:
        used = values[counted] if counted.size else values
        return int((used < value).sum()), int((used == value).sum()), int((used > value).sum())

    count(volume, visit, lambda found: np.add(totals, found, out=totals), "counting gaps")
    below, gaps, above = totals.tolist()
    check_counted(below + above, volume, f"all have the gap value, {value:g}" if gaps else "")
    if not below + above:
        return value
    # The percentiles are those of all voxels, so the ranks of values above that of gaps include the voxels of gaps.
    middle = (below + above - 1) / 2
    ranks = [rank + (gaps if rank >= below else 0) for rank in (math.floor(middle), math.ceil(middle))]
    last = max(below + gaps + above - 1, 1)
    found = find_percentiles(volume, tuple(100 * rank / last for rank in ranks))
    low, high = found or (value, value)
    return low + (high - low) / 2


def _beside_gaps(volume: Volume, value: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the counted voxels beside gaps, and their intensities."""
    shape = volume.shape
    gap = np.zeros(shape, bool)
    known = np.zeros(shape, bool)

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[Block, np.ndarray, np.ndarray]:
        found = _is_gap(values, value)
        usable = ~found if not counted.size else counted & ~found
        if values.dtype.kind == "f":
            usable &= np.isfinite(values)
        return block, found, usable

    def merge(found: tuple[Block, np.ndarray, np.ndarray]) -> None:
        block, gaps, usable = found
        gap[block], known[block] = gaps, usable

    with progress.part(0, 0.5):
        count(volume, visit, merge, "finding gaps")
    # Voxels that are not counted cannot fill a gap, so they are treated as gaps here.
    open_ = ~known if volume.mask is not None or volume.ignore_zeros else gap
    beside = np.zeros(shape, bool)
    for axis in range(len(shape)):
        here = np.moveaxis(beside, axis, 0)
        there = np.moveaxis(open_, axis, 0)
        here[1:] |= there[:-1]
        here[:-1] |= there[1:]
    beside &= known
    if not gap.any():
        beside[...] = False
    sites = np.argwhere(beside).astype(np.int32)
    if len(sites) > MOST_BESIDE:
        raise ValueError(
            f"{len(sites):,} voxels lie beside one of intensity {value:g}, which is no gap but a part of the image. "
            "Give the value of the gaps, or method='median'."
        )
    intensities = np.empty(len(sites))
    numbers = np.flatnonzero(beside)

    def read(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        part = beside[block]
        at = np.argwhere(part) + [each.start for each in block]
        return np.searchsorted(numbers, np.ravel_multi_index(tuple(at.T), shape)), values[part]

    def keep(found: tuple[np.ndarray, np.ndarray]) -> None:
        at, values = found
        intensities[at] = values

    with progress.part(0.5, 1):
        count(volume, read, keep, "reading beside gaps")
    return sites, intensities


@verb
def fill(
    image: Any,
    method: Literal["nearest", "median"] = "nearest",
    value: float = 0.0,
    *,
    spacing: Spacing = None,
    in_range: GivenRange = "data",
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    window: int = 1,
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Fill voxels that hold nothing, such as dead pixels and the gaps between stitched tiles.

    Parameters
    ----------
    method : "nearest" or "median"
        "nearest": the intensity of the nearest voxel beside a gap, in physical units, so that the image goes on into
        its gaps.  "median": the median of all other voxels.
    value : float
        The intensity of voxels that hold nothing.  NaN is always filled.
    output : "dtype" or "float32"
        As `correct_decay` has it.
    mask : array-like or napari.layers.Labels, optional
        It has the image's shape.  Gaps are filled only with voxels where it is not zero, but all gaps are filled.

    Raises
    ------
    ValueError
        Also where `value` is spread over the whole image, so that it is no gap.

    Notes
    -----
    All other voxels stay what they are, bit by bit.  "nearest" is what
    ``scipy.ndimage.distance_transform_edt(gap, spacing, return_indices=True)`` leads to, but the fit keeps only the
    voxels beside gaps, so that it also maps chunks.  To find them takes two bytes of memory a voxel, and to fill a
    voxel takes about a microsecond.  Of several nearest voxels one is taken.

    What is filled was not measured: leave it out of statistics, by a mask of the gaps.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import fill
    >>> tiles = np.array([[7, 8, 0, 0, 0, 3, 4]], dtype=np.uint8)
    >>> fill(tiles, spacing=(1, 0.5))[0, [2, 4]]
    array([8, 3], dtype=uint8)
    >>> fill(tiles, "median")
    array([[7, 8, 6, 6, 6, 3, 4]], dtype=uint8)
    """
    return adjust_image(Fill, **locals())

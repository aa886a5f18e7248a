"""Adjustments in a row: each is fitted on what those before it give, and no volume between them is ever kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.arrays import Several
from napari_exposure.core.axes import check_spacing
from napari_exposure.core.memory import SHARED, Memory
from napari_exposure.core.pointwise import TableFit
from napari_exposure.core.transform import BlockMap, Transform
from napari_exposure.core.typing import Array, Spacing
from napari_exposure.core.volume import Volume

if TYPE_CHECKING:
    pass


class Chain(Protocol):
    """Adjustments in a row: a recipe, or an adjustment alone."""

    @property
    def steps(self) -> tuple[Adjustment, ...]:
        """The adjustments in their order."""

    def result_dtype(self, dtype: np.dtype) -> np.dtype:
        """Return the dtype of results for volumes of `dtype`."""


class Chained(BlockMap):
    """The base of mappings that have several transforms in a row, of which the first maps the volume."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the volume that was fitted, without its color axis."""
        return self.transforms[0].shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the volume that was fitted, in native byte order."""
        return self.transforms[0].dtype

    @property
    def rgb(self) -> bool:
        """Whether blocks have RGB or RGBA along their last axis."""
        return self.transforms[0].rgb

    @property
    def spatial(self) -> int:
        """How many of the last axes are space in every step, 2 or 3."""
        return min(transform.spatial for transform in self.transforms)


@dataclass(frozen=True, eq=False)
class FittedRecipe(Chained):
    """A recipe fitted on a volume: small, picklable, the same mapping for every volume.

    It is used as a `Transform`: called on a block of the volume it gives the block of the result.  ``apply`` also maps
    a volume of another shape if no step depends on places; it raises a TypeError or a ValueError where one does, or
    where the dtype is another one.

    Attributes
    ----------
    transforms : tuple of Transform
        One for each step.
    """

    transforms: tuple[Transform, ...]

    @property
    def out_dtype(self) -> np.dtype:
        return self.transforms[-1].out_dtype

    @property
    def out_range(self) -> tuple[float, float]:
        return self.transforms[-1].out_range

    @cached_property
    def _joined(self) -> tuple[Transform, ...]:
        """The transforms; neighbors that are tables are joined into one table, so that a block is mapped once."""
        found: list[Transform] = []
        for transform in self.transforms:
            before = found[-1].table_fit if found and not self.rgb else None
            table = transform.table_fit
            if before is None or table is None or before.table is None:
                found.append(transform)
                continue
            results = table.at(before.table.astype(np.int64))
            ends = before.lo, before.hi, table.bottom, table.top
            joined = TableFit(*ends, before.dtype, table.out_dtype, before.first, results)
            found[-1] = replace(transform, dtype=found[-1].dtype, fits={(): joined})
        return tuple(found)

    def __call__(
        self, block: npt.ArrayLike, offset: Sequence[int] | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Map a block of the volume; parameters and errors as ``Transform.__call__`` has them."""
        *first, last = self._joined
        for transform in first:
            block = transform(block, offset)
        return last(block, offset, out)

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...] | None = None) -> FittedRecipe:
        """As ``Transform.onto``, for all steps."""
        return FittedRecipe(tuple(transform.onto(shape, steps) for transform in self.transforms))

    def at_level(self, shape: tuple[int, ...]) -> FittedRecipe:
        """As ``Transform.at_level``, for all steps."""
        return FittedRecipe(tuple(transform.at_level(shape) for transform in self.transforms))

    def fitting(self, volume: Array) -> FittedRecipe:
        """Return the same mapping for a volume of perhaps another shape; errors as ``Transform.fitting`` has them."""
        first, *rest = self.transforms
        first = first.fitting(volume)
        return FittedRecipe((first, *(transform.fitting_shape(first.shape) for transform in rest)))


def fit_chain(steps: Sequence[Adjustment], volume: Volume, spacing: Spacing = None) -> tuple[Transform, ...]:
    """Fit adjustments in a row, each on what the ones before it make of the volume that the first step reads.

    Each step decides for itself whether zeros are counted.
    """
    # The spacing is a part of the key under which a fit is kept, so it must be hashable.
    spacing = tuple(spacing) if isinstance(spacing, Iterable) else spacing
    memory = volume.memory or Memory(SHARED)
    transforms: tuple[Transform, ...] = ()
    for number, step in enumerate(steps):
        seen = replace(volume, through=transforms, ignore_zeros=step.ignore_zeros, memory=memory)
        with progress.item(number, len(steps)):
            transforms += (_fit(step, seen, spacing, last=number == len(steps) - 1),)
    return transforms


def _fit(step: Adjustment, volume: Volume, spacing: Spacing, last: bool) -> Transform:
    """Fit one step; if others follow it, the memory keeps the fit, because it keeps what they count under this fit."""
    spacing = _seen(step, volume, spacing)
    if last or volume.memory is None:
        return step.fit_volume(volume, spacing)
    key = "fit", step, spacing, volume.part
    found: Transform | None = volume.memory.get(key)
    if found is None:
        found = step.fit_volume(volume, spacing)
        volume.memory.put(key, found, found.nbytes)
    return found


def _seen(step: Adjustment, volume: Volume, spacing: Spacing) -> tuple[float, ...]:
    """Return the size of a voxel as far as a step needs it: most steps need only how many axes are space."""
    sizes = check_spacing(spacing, len(volume.shape))
    return sizes if step.needs_spacing else (1.0,) * len(sizes)


def check_chain(steps: Sequence[Adjustment], volume: Volume, spacing: Spacing = None) -> None:
    """Raise an error before any voxel is read, if shapes and dtypes tell that a step does not fit."""
    dtype = np.dtype(volume.array.dtype).newbyteorder("=")
    for step in steps:
        # Each array stands for a result of the step before: it has its shape and dtype, but only one voxel in memory.
        likes = [np.broadcast_to(np.zeros((), dtype), part.array.shape) for part in volume.parts]
        like = likes[0] if len(likes) == 1 else Several(likes)
        step.check(replace(volume, array=like, mask=None), _seen(step, volume, spacing))
        dtype = step.result_dtype(dtype)

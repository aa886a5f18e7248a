"""A volume as an adjustment reads it, block by block, and the passes that go over it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from copy import copy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_exposure.core import blocks, progress
from napari_exposure.core.arrays import Several, both, held, inside
from napari_exposure.core.axes import check_shape
from napari_exposure.core.blocks import Block
from napari_exposure.core.intensity import check_dtype, check_flag, prepared, value_channel, working_dtype
from napari_exposure.core.memory import Memory
from napari_exposure.core.typing import Array, Index

if TYPE_CHECKING:
    from napari_exposure.core.transform import Transform

Found = TypeVar("Found")
_NOTHING_MASKED = np.empty(0, bool)


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume as an adjustment reads it: it is checked once and read block by block, never whole.

    Parameters
    ----------
    array : array-like
        Anything with ``shape``, ``dtype`` and basic slicing: numpy, memory maps, zarr, h5py, dask.  `Several` arrays
        are counted together.
    mask : array-like, optional
        It has the shape of the volume; only voxels where it is not zero are counted.
    ignore_zeros : bool
        Whether voxels of exactly 0 are left out of the counts.
    rgb : bool
        Whether the last axis holds RGB or RGBA; then the value channel is what is read.
    lead : tuple of int
        The index of the leading axes at which the volume lies in the array.
    box : tuple of slice
        The part of the array that is read, with start and stop on every axis but the color axis; all if empty.
    color : callable
        It turns a block of RGB data into what is read of it, which has no last axis, such as the value channel.
    memory : Memory, optional
        It keeps what passes found, for the next fit of this volume.
    through : tuple of Transform
        Each block is mapped by these, one after the other, as it is read.  So a step of a recipe is fitted on the
        results of the steps before it, which are never kept.
    labels : tuple of str
        What the axes of the array are called, without the color axis; empty where the image does not say.
    joins : tuple of tuple of int
        The indices of the leading axes that this volume consists of, if it consists of several.
    """

    array: Array
    mask: Array | None = None
    ignore_zeros: bool = False
    rgb: bool = False
    lead: tuple[int, ...] = ()
    box: Block = ()
    color: Callable[[np.ndarray], np.ndarray] = value_channel
    memory: Memory | None = field(default=None, repr=False)
    through: tuple[Transform, ...] = ()
    labels: tuple[str, ...] = ()
    joins: tuple[tuple[int, ...], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        check_flag(self.ignore_zeros, "ignore_zeros")
        array, own = held(self.array)
        mask, masked = (None, None) if self.mask is None else held(self.mask, "mask")
        object.__setattr__(self, "array", array)
        object.__setattr__(self, "mask", both(mask, masked))
        dtype = check_dtype(self.array.dtype)
        for each in (self.array, self.mask):
            if blocks.is_dask(each):
                from napari_exposure.core import lazy

                lazy.known(each)
        full = check_shape(tuple(map(int, self.array.shape)), self.rgb)
        if self.rgb and dtype.kind == "i":
            raise TypeError(f"RGB data must be unsigned integers or floats, got {dtype}.")
        if self.mask is not None and np.dtype(self.mask.dtype).kind not in "biufc":
            raise TypeError(
                f"The mask has dtype {self.mask.dtype}; it must hold numbers or booleans, of which all but 0 and NaN "
                "are inside. Make such a one, e.g. mask = labels == 'cell'."
            )
        if self.mask is not None and tuple(self.mask.shape) != full:
            raise ValueError(
                f"The mask has shape {tuple(self.mask.shape)} but the volume has {full}; they must be the same."
            )
        if own is not None:
            # The mask of a masked RGB array has a color axis, and a voxel counts if all of its colors do.
            kept = np.asarray(own).all(axis=-1) if self.rgb else own
            object.__setattr__(self, "mask", both(self.mask, kept))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape without the color axis and without the leading axes that are fixed."""
        if self.box:
            return tuple(part.stop - part.start for part in self.box[len(self.lead) :])
        shape = tuple(map(int, self.array.shape))
        return shape[len(self.lead) : -1 if self.rgb else None]

    @property
    def part(self) -> tuple[Any, ...]:
        """A key under which a memory keeps what it found in these voxels, apart from what it found in others."""
        box = tuple((part.start, part.stop) for part in self.box)
        how = self.mask is None, self.ignore_zeros, self.rgb, self.color
        return tuple(self.array.shape), self.lead, box, *how, self.through

    @property
    def parts(self) -> tuple[Volume, ...]:
        """The volumes of one array each that are counted one after the other; mostly there is only this one."""
        if not isinstance(self.array, Several):
            return (self,)
        return tuple(replace(self, array=array) for array in self.array.arrays)

    @property
    def size(self) -> int:
        return sum(math.prod(part.shape) for part in self.parts)

    @property
    def dtype(self) -> np.dtype:
        """The dtype of what is read, in native byte order; bool is read as the integers 0 and 1."""
        if self.through:
            return self.through[-1].out_dtype
        native = np.dtype(self.array.dtype).newbyteorder("=")
        return native if native.kind != "b" else working_dtype(native)

    def seen_as(self, color: Callable[[np.ndarray], np.ndarray]) -> Volume:
        """Return the same volume, of whose RGB data something else is read, such as one color."""
        return self._with(color=color)

    def at(self, lead: tuple[int, ...]) -> Volume:
        """Return the part at one index of the leading axes."""
        return self._with(lead=lead)

    def around(self, lead: tuple[int, ...], axis: int, window: int) -> Volume:
        """Return the parts at `window` neighboring indices along a leading axis as one volume, `lead` in the middle.

        Near the ends of the axis there are fewer of them.
        """
        at = lead[axis]
        near = range(max(0, at - (window - 1) // 2), min(self.shape[axis], at + window // 2 + 1))
        return self.joined([(*lead[:axis], each, *lead[axis + 1 :]) for each in near])

    def joined(self, leads: Sequence[tuple[int, ...]]) -> Volume:
        """Return the parts at several indices of the leading axes, which must fill a box, as one volume."""
        first, last = leads[0], leads[-1]
        held = tuple(slice(start, stop + 1) for start, stop in zip(first, last, strict=True))
        whole = tuple(slice(0, n) for n in self.shape[len(first) :])
        return self._with(box=held + whole, joins=tuple(leads))

    @property
    def unjoined(self) -> Volume:
        """The volume of whose parts a joined one consists."""
        return self._with(box=(), joins=())

    @property
    def halves(self) -> tuple[Volume, ...]:
        """Two volumes that a joined one consists of, or the one; empty where it is not joined.

        It is cut at a multiple of the greatest power of 2, so that windows side by side have most parts in common.
        """
        if len(self.joins) < 2:
            return tuple(map(self.unjoined.at, self.joins))
        axis = next(
            axis for axis, ends in enumerate(zip(self.joins[0], self.joins[-1], strict=True)) if len({*ends}) > 1
        )
        first, last = self.joins[0][axis], self.joins[-1][axis]
        bit = (first ^ last).bit_length() - 1
        cut = sum(lead[axis] < last >> bit << bit for lead in self.joins)
        runs = self.joins[:cut], self.joins[cut:]
        return tuple(self.unjoined.at(run[0]) if len(run) == 1 else self.unjoined.joined(run) for run in runs)

    def _with(self, **changes: Any) -> Volume:
        """Return the same volume with some fields changed, which need no check."""
        other = copy(self)
        vars(other).update(changes)
        return other

    def blocks(self) -> Iterator[Block]:
        """Return blocks that cover the volume: whole chunks, each read once, of a zarr array or an h5py dataset."""
        chunks = blocks.stored_chunks(self.array)
        # Blocks of a box that begins inside of a chunk cannot be whole chunks.
        if chunks is None or any(part.start % size for part, size in zip(self.box, chunks, strict=False)):
            # Results of several steps are in memory at the same time, so their blocks are half as large.
            return blocks.contiguous_blocks(self.shape, *[blocks.BLOCK_VOXELS // 2] * bool(self.through))
        lead = len(self.lead)
        return blocks.chunked_blocks(self.shape, chunks[lead : lead + len(self.shape)])

    def read(self, block: Block) -> np.ndarray:
        """Read a block as kernels take it: native, aligned and C-contiguous."""
        values = self._mapped(self._place(block)) if self.through else blocks.read_part(self.array, self._place(block))
        return prepared(self.color(values) if self.rgb else values, self.dtype)

    def _mapped(self, place: Index) -> np.ndarray:
        """Read a part of the array and map it by all transforms that the volume is read through."""
        # Transforms take blocks with all axes, so axes that an index fixes are dropped at the end.
        whole = tuple(slice(at, at + 1) if isinstance(at, int) else at for at in place)
        values, offset = blocks.read_part(self.array, whole), tuple(at.start for at in whole)
        for transform in self.through:
            values = transform(values, offset)
        found: np.ndarray = values[tuple(0 for at in place if isinstance(at, int))]
        return found

    def _place(self, block: Block) -> Index:
        """Return the index of a block in the array."""
        index: Index = self.lead + block
        if not self.box:
            return index
        return tuple(
            part.start + at if isinstance(at, int) else slice(part.start + at.start, part.start + at.stop)
            for part, at in zip(self.box, index, strict=True)
        )

    def masked(self, block: Block) -> np.ndarray | None:
        """Return the mask of a block, if there is one."""
        return None if self.mask is None else blocks.read_part(self.mask, self._place(block))

    def counted(self, block: Block, values: np.ndarray) -> np.ndarray:
        """Return which voxels of a block count, as booleans; an empty array means all of them."""
        return which_count(values, self.masked(block), self.ignore_zeros)


def which_count(values: np.ndarray, mask: npt.ArrayLike | None, ignore_zeros: bool) -> np.ndarray:
    """Return which of some values count, as booleans; an empty array means all of them."""
    if mask is None and not ignore_zeros:
        return _NOTHING_MASKED
    found = np.ones(values.shape, bool) if mask is None else inside(mask)
    if ignore_zeros:
        found &= values != 0
    return found


def count(
    volume: Volume,
    visit: Callable[[Block, np.ndarray, np.ndarray], Found],
    merge: Callable[[Found], object],
    what: str,
) -> None:
    """Walk a volume for a fit: run ``visit(block, values, counted)``, and merge its results in the order of blocks."""
    parts = volume.parts
    if len(parts) > 1:
        progress.each(parts, lambda part: count(part, visit, merge, what))
        return
    (volume,) = parts
    if blocks.is_dask(volume.array):
        from napari_exposure.core import lazy

        lazy.count(volume, visit, merge, what)
        blocks.check_there(volume.array)
        return

    def work(block: Block) -> Found:
        values = volume.read(block)
        return visit(block, values, volume.counted(block, values))

    blocks.walk(volume.blocks(), work, merge, what)


def each_volume(volumes: Sequence[Volume], work: Callable[[Volume], Found]) -> list[Found]:
    """Work on one volume after the other; on several at a time where each is one block, which one thread works on."""
    if len(volumes) == 1 or not all(map(_is_block, volumes)):
        return progress.each(volumes, work)

    def one(number: int) -> Found:
        with progress.item(number, len(volumes)):
            return work(volumes[number])

    with progress.shared() as inside, closing(blocks.in_threads(range(len(volumes)), partial(inside, one))) as results:
        return list(results)


def _is_block(volume: Volume) -> bool:
    """Return whether a pass over a volume has one block only, and finds nothing that other volumes need too."""
    return (
        not (volume.joins or any(blocks.is_dask(part.array) for part in volume.parts))
        and volume.size <= blocks.BLOCK_VOXELS
    )

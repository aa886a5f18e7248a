"""Transforms, which are fitted adjustments that map any block of a volume."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, product
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast, overload

import numpy as np
import numpy.typing as npt

from napari_exposure.core import progress
from napari_exposure.core.arrays import held, like
from napari_exposure.core.blocks import BLOCK_VOXELS, Block, is_dask, read_part, stored_blocks, walk
from napari_exposure.core.intensity import dtype_range, is_lookup, prepared, recolor, value_channel, working_dtype
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.typing import Array

if TYPE_CHECKING:
    import dask.array as da

    from napari_exposure.core.adjustment import Adjustment
    from napari_exposure.core.pointwise import PointwiseFit


@dataclass(frozen=True, eq=False)
class Fit:
    """What was found in voxels that share a fit: the input range, what its ends become in the result, and dtypes.

    `dtype` is that of the volume, and `out_dtype` that of the result.
    """

    lo: float
    hi: float
    bottom: float
    top: float
    dtype: np.dtype
    out_dtype: np.dtype
    # A slow map has blocks of so many voxels, because blocks of the usual size could not be canceled promptly.
    block_voxels: ClassVar[tuple[int, ...]] = ()
    # This is true where the result does not depend on the place of a voxel.
    pointwise: ClassVar[bool] = False

    @property
    def constant(self) -> bool:
        """Whether the whole result is the lowest value, because one intensity was found, or none, which reads as 0.

        A single intensity that stays what it is, as with `Gamma`, is no loss and does not count, unless it is 0.
        """
        return self.lo == self.hi and (self.span != 0 or self.lo == 0)

    @property
    def upper(self) -> float:
        """`hi`, but always above `lo`, so that kernels never divide by zero."""
        return max(self.hi, math.nextafter(self.lo, math.inf))

    @property
    def stretched(self) -> tuple[float, float]:
        """The input range that a plain stretch would bring to the range of results."""
        return self.lo, self.upper

    @property
    def span(self) -> float:
        """The distance from `bottom` to `top`."""
        return self.top - self.bottom

    @property
    def reach(self) -> tuple[float, float]:
        """The lowest and the highest possible result."""
        return self.bottom, self.top

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...]) -> Self:
        """Return the same fit for a volume of another spatial shape, of which every step-th voxel is taken."""
        return self

    def at_level(self, shape: tuple[int, ...]) -> Self:
        """Return the same fit for a volume of fewer and larger voxels."""
        return self

    @property
    def kernel_key(self) -> tuple[Any, ...]:
        """The name and dtypes of the kernel that maps."""
        raise NotImplementedError

    def rows_key(self, fits: Sequence[Self]) -> tuple[Any, ...] | None:
        """Return name and dtypes of a kernel that maps the volumes of several fits in one call, or None."""
        return None

    def map_rows(self, fits: Sequence[Self], values: np.ndarray, out: np.ndarray) -> None:
        """Map for several fits at once, each of which has a volume that is a row of `values`."""
        raise NotImplementedError

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        """Write the result of `values` (C-contiguous, at `offset` on the spatial axes) to `out`."""
        raise NotImplementedError


class BlockMap(ABC):
    """The base of what maps any block of a volume, and so the whole volume: a `Transform`, or several in a row."""

    if TYPE_CHECKING:
        # A type checker sees these as properties; one kind has them as fields, and the other computes them.
        @property
        def shape(self) -> tuple[int, ...]: ...

        @property
        def dtype(self) -> np.dtype: ...

        @property
        def rgb(self) -> bool: ...

        @property
        def spatial(self) -> int: ...

        # Each of these steps maps the result of the one before.
        @property
        def transforms(self) -> tuple[Transform, ...]: ...

    @property
    @abstractmethod
    def out_dtype(self) -> np.dtype:
        """The dtype of results."""

    @property
    @abstractmethod
    def out_range(self) -> tuple[float, float]:
        """The range over which results are shown: the lowest and highest possible ones, or those that are no noise."""

    @abstractmethod
    def __call__(
        self, block: npt.ArrayLike, offset: Sequence[int] | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Map a block whose first voxel is at `offset`."""

    @abstractmethod
    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...] | None = None) -> BlockMap:
        """Return the same mapping for a volume of another shape."""

    @abstractmethod
    def at_level(self, shape: tuple[int, ...]) -> BlockMap:
        """Return the same mapping for another level of the pyramid."""

    @abstractmethod
    def fitting(self, volume: Array) -> BlockMap:
        """Return the same mapping for a volume that may have another shape."""

    @property
    def steps(self) -> tuple[Adjustment, ...]:
        """The adjustments that were fitted."""
        return tuple(transform.adjustment for transform in self.transforms)

    @property
    def title(self) -> str:
        """The titles of all steps."""
        return ", ".join(step.title for step in self.steps)

    def load_kernels(self) -> None:
        """Load the kernels that map, so that no block waits for the compiler."""
        for transform in self.transforms:
            fit = next(iter(transform.fits.values()))
            load_kernel(*((len(transform.fits) > 1 and fit.rows_key([fit])) or fit.kernel_key))

    # The order matters: a dask array is an Array too, but its result is a dask array.
    @overload
    def apply(self, volume: da.Array) -> da.Array: ...

    @overload
    def apply(self, volume: Array) -> np.ndarray: ...

    def apply(self, volume: Array) -> np.ndarray | da.Array:
        """Map a whole volume, block by block on a pool of threads.

        Parameters
        ----------
        volume : array-like
            The fitted volume, or another of its dtype; also of another shape, unless the fit is one of places.

        Returns
        -------
        numpy.ndarray, or dask.array.Array for a dask array
            The result of an xarray DataArray is one too.  The source is not changed.

        Raises
        ------
        TypeError, ValueError
            If what was fitted cannot be used for this volume; the message says why.
        """
        array, _ = held(volume)
        kept: np.ndarray | da.Array = like(volume, self.fitting(array)._mapped(array))
        return kept

    def _mapped(self, volume: Array) -> np.ndarray | da.Array:
        if is_dask(volume):
            from napari_exposure.core import lazy

            return lazy.mapped(self, lazy.checked(volume))
        out = np.empty(volume.shape, self.out_dtype)

        def work(block: Block) -> None:
            offset = tuple(part.start for part in block)
            piece = out[block]
            whole = piece if piece.flags.c_contiguous else None
            result = self(read_part(volume, block), offset, whole)
            if whole is None:
                piece[...] = result

        with progress.bar():
            self.load_kernels()
            walk(stored_blocks(volume, self.shape, *self._block_voxels), work, lambda _: None, self.title)
        return out

    @property
    def _block_voxels(self) -> tuple[int, ...]:
        """Voxels of blocks, fewer than usual if a map is slow or if results of several steps are in memory at once."""
        wanted = [next(iter(transform.fits.values())).block_voxels for transform in self.transforms]
        several: list[tuple[int, ...]] = [(BLOCK_VOXELS // 2,)] if len(self.transforms) > 1 else []
        return min(filter(None, wanted + several), default=())


@dataclass(frozen=True, eq=False)
class Transform(BlockMap):
    """A fitted adjustment: small, picklable, independent of the volume, and pure.

    The same voxel gives the same value whichever block it comes in.

    Attributes
    ----------
    adjustment : Adjustment
        The parameters.
    shape : tuple of int
        The shape of the volume that was fitted, without its color axis.
    dtype : numpy.dtype
        The dtype of the volume, in native byte order.
    rgb : bool
        Whether blocks have RGB or RGBA along their last axis.
    spatial : int
        How many of the last axes are space, 2 or 3.
    fits : dict
        One fit for each index of the axes that have fits of their own; the key is ``()`` where all share one.
    """

    adjustment: Adjustment
    shape: tuple[int, ...]
    dtype: np.dtype
    rgb: bool
    spatial: int
    fits: dict[tuple[int, ...], Fit]

    @property
    def transforms(self) -> tuple[Transform, ...]:
        """This transform alone; a recipe has several."""
        return (self,)

    @property
    def nbytes(self) -> int:
        """About how many bytes the fits take."""
        return sum(getattr(each, "nbytes", 8) for fit in self.fits.values() for each in vars(fit).values())

    def of_fits(self, name: str) -> Any:
        """Return an attribute of the fit, or an array of those of all fits over the axes that have fits of their own.

        For example, "clip_limit" of an adaptive equalization is the number that a limit of noise became.
        """
        if () in self.fits:
            return getattr(self.fits[()], name)
        lead = self.shape[: -self.spatial]
        found = np.array([getattr(self.fits[group], name) for group in np.ndindex(*lead)])
        return found.reshape(*lead, *found.shape[1:])

    @property
    def table_fit(self) -> PointwiseFit | None:
        """The fit with the one table for all voxels, or None where there is no such table."""
        shared = self.fits.get(())
        if shared is None or not shared.pointwise or not is_lookup(self.dtype):
            return None
        return cast("PointwiseFit", shared)

    @property
    def out_dtype(self) -> np.dtype:
        """The dtype of results."""
        return next(iter(self.fits.values())).out_dtype

    @property
    def out_range(self) -> tuple[float, float]:
        """The range over which results are shown: the lowest and the highest that the fits give."""
        low = min(fit.bottom for fit in self.fits.values())
        high = max(fit.top for fit in self.fits.values())
        if self.out_dtype.kind == "f":
            return low, high
        limits = np.iinfo(self.out_dtype)
        return max(low, float(limits.min)), min(high, float(limits.max))

    def __call__(
        self, block: npt.ArrayLike, offset: Sequence[int] | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Map a block of the volume.

        Parameters
        ----------
        block : array-like
            A block with the axes of the volume, of the fitted dtype in any byte order.
        offset : tuple of int, optional
            The index of the block's first voxel in the volume.  The default is the origin.
        out : numpy.ndarray, optional
            Where to write the result: a C-contiguous array of the block's shape and of ``out_dtype``.

        Returns
        -------
        numpy.ndarray

        Raises
        ------
        TypeError, ValueError
            If the block has another dtype, or does not lie in the volume, or `out` does not fit.
        """
        block = np.asarray(block)
        if block.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(f"The transform was fitted on {self.dtype}, the block is {block.dtype}.")
        shape = block.shape[:-1] if self.rgb else block.shape
        offset = (0,) * len(self.shape) if offset is None else tuple(map(int, offset))
        fits = len(shape) == len(offset) == len(self.shape)
        if not fits or any(o < 0 or o + n > s for o, n, s in zip(offset, shape, self.shape, strict=True)):
            raise ValueError(f"A block of shape {shape} at {offset} does not lie in the volume of shape {self.shape}.")
        if out is None:
            out = np.empty(block.shape, self.out_dtype)
        elif out.shape != block.shape or out.dtype != self.out_dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"out must be C-contiguous, of shape {block.shape} and dtype {self.out_dtype}; it has shape "
                f"{out.shape} and dtype {out.dtype}."
            )
        if not block.size:
            return out
        self._write(block, offset, out)
        return out

    def _write(self, block: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        """Map a block that has been checked."""
        shape = block.shape[:-1] if self.rgb else block.shape
        values = prepared(value_channel(block) if self.rgb else block, self.dtype)
        written = working_dtype(self.out_dtype)
        mapped = out if out.dtype == written and not self.rgb else np.empty(shape, written)
        self._map(values, offset, mapped)
        if self.rgb:
            recolor(block, values, mapped, out, top=dtype_range(self.dtype, negative=False)[1])
        elif mapped is not out:
            out[...] = mapped

    def _map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        lead = values.ndim - self.spatial
        shared = self.fits.get(())
        if shared is not None and shared.pointwise:
            shared.map(values, offset[lead:], out)
            return
        groups = product(*(range(o, o + n) for o, n in zip(offset, values.shape[:lead], strict=False)))
        fits = [self.fits[group] if shared is None else shared for group in groups]
        rows, results = (each.reshape(len(fits), *each.shape[lead:]) for each in (values, out))
        start = 0
        # Fits of one kind are mapped together; constant volumes among others have another kind.
        for _, run in groupby(fits, type):
            alike = list(run)
            stop = start + len(alike)
            if len(alike) > 1 and alike[0].rows_key(alike):
                flat = len(alike), -1
                alike[0].map_rows(alike, rows[start:stop].reshape(flat), results[start:stop].reshape(flat))
            else:
                for place, fit in enumerate(alike, start):
                    fit.map(rows[place], offset[lead:], results[place])
            start = stop

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...] | None = None) -> Self:
        """Return the same transform for a volume of another shape, as from a coarse volume to the full one or back.

        Parameters
        ----------
        shape : tuple of int
            As ``Transform.shape``; axes that have fits of their own must keep their sizes.
        steps : tuple of int, optional
            The result maps every step-th voxel, along each axis, of a volume of this shape.

        Returns
        -------
        Transform
            For volumes of `shape`, divided by `steps` and rounded up.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure.core import AdaptiveEqualization
        >>> volume = np.random.default_rng(0).integers(0, 255, (16, 32, 32), dtype=np.uint8)
        >>> transform = AdaptiveEqualization(8.0).fit(volume)
        >>> coarse = transform.onto(volume.shape, (2, 2, 2))
        >>> bool((coarse.apply(volume[::2, ::2, ::2]) == transform.apply(volume)[::2, ::2, ::2]).all())
        True
        """
        steps = (1,) * len(shape) if steps is None else steps
        lead = len(shape) - self.spatial
        fits = {group: fit.onto(shape[lead:], steps[lead:]) for group, fit in self.fits.items()}
        return replace(self, shape=tuple(-(-n // step) for n, step in zip(shape, steps, strict=True)), fits=fits)

    def at_level(self, shape: tuple[int, ...]) -> Self:
        """Return the same transform for another level of the pyramid that the fitted volume belongs to.

        Parameters
        ----------
        shape : tuple of int
            The shape of the level, without its color axis: fewer and larger voxels over the same extent.

        Returns
        -------
        Transform
            For volumes of `shape`.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure.core import AdaptiveEqualization
        >>> volume = np.random.default_rng(0).integers(0, 255, (16, 32, 32), dtype=np.uint8)
        >>> transform = AdaptiveEqualization(8.0).fit(volume)
        >>> transform.at_level((16, 16, 16)).apply(volume[:, ::2, ::2]).shape
        (16, 16, 16)
        """
        lead = len(shape) - self.spatial
        fits = {group: fit.at_level(shape[lead:]) for group, fit in self.fits.items()}
        if () not in fits:
            # Each plane of a coarser level has the fit of the plane that lies in its middle.
            ratios = [whole / n for whole, n in zip(self.shape, shape[:lead], strict=False)]
            places = np.ndindex(*shape[:lead])
            fits = {at: fits[tuple(int((i + 0.5) * r) for i, r in zip(at, ratios, strict=True))] for at in places}
        return replace(self, shape=tuple(shape), fits=fits)

    def fitting(self, volume: Array) -> Self:
        """Return this transform for a volume that may have another shape.

        Raises
        ------
        TypeError, ValueError
            If it cannot be used for such a volume; the message says why.
        """
        volume, _ = held(volume)
        shape = tuple(volume.shape[:-1] if self.rgb else volume.shape)
        if volume.dtype.newbyteorder("=") != self.dtype:
            raise TypeError(f"The recipe was fitted on {self.dtype}, this volume is {volume.dtype}.")
        return self.fitting_shape(shape)

    def fitting_shape(self, shape: tuple[int, ...]) -> Self:
        adjustment = self.adjustment
        if shape == self.shape:
            return self
        if adjustment.place_note:
            raise ValueError(
                f"{adjustment.title} was fitted on shape {self.shape}, this volume has {shape}: "
                f"{adjustment.place_note}. Fit it on each volume, without fit_on."
            )
        lead = len(shape) - self.spatial
        if len(shape) != len(self.shape) or (() not in self.fits and shape[:lead] != self.shape[:lead]):
            raise ValueError(
                f"{adjustment.title} was fitted on shape {self.shape} per {adjustment.per}, this volume has {shape}. "
                "Choose a volume of the same axes."
            )
        return self.onto(shape)

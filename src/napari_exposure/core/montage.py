"""Montages, which show every n-th plane of a volume in rows and columns."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.arrays import held
from napari_exposure.core.axes import check_shape
from napari_exposure.core.blocks import is_dask, read_part, stored_chunks, walk
from napari_exposure.core.images import opener, verb
from napari_exposure.core.intensity import check_count, check_flag, check_number
from napari_exposure.core.typing import Array, Index
from napari_exposure.core.words import given

if TYPE_CHECKING:
    import dask.array as da

# A gap is this fraction of the longer edge of a plane, unless it is given.
THIN = 1 / 64
Gap = int | Sequence[int] | None


@dataclass(frozen=True)
class Arrangement:
    """Which planes are shown, and where.

    `planes` has their numbers along an axis that is counted from the first one.  `plane` is the height and width of a
    plane, and `gap` the distance of rows and of columns, in voxels.  There is a montage for each index of the leading
    axes, whose sizes are `lead`.
    """

    axis: int
    planes: range
    columns: int
    plane: tuple[int, int]
    gap: tuple[int, int]
    lead: tuple[int, ...]

    @classmethod
    def of(
        cls, shape: tuple[int, ...], step: int = 2, columns: int = 6, axis: int = -3, gap: Gap = None
    ) -> Arrangement:
        """Arrange the planes of a volume of this shape, without its color axis; see `montage`."""
        ndim = len(check_shape(shape, rgb=False))
        if ndim == 2:
            # A 2D image is a stack of a single plane.
            shape = (1, *shape)
        at = check_count(axis, "axis", low=-len(shape), high=len(shape) - 1) % len(shape)
        if ndim == 2 and at > 0:
            raise ValueError(f"A 2D image is a single plane; along axis {axis} it has none. Leave axis out.")
        step = check_count(step, "step", low=1, high=2**31)
        columns = check_count(columns, "columns", low=1, high=2**31)
        planes = range(0, shape[at], step)
        *lead, height, width = [n for number, n in enumerate(shape) if number != at]
        if gap is None:
            gap = max(1, round(THIN * max(height, width)))
        gaps = tuple(gap) if np.iterable(gap) else (gap, gap)
        if len(gaps) != 2:
            raise ValueError(f"gap must be a number of voxels, or one for rows and one for columns, got {given(gap)}.")
        between_rows, between_columns = (check_count(each, "gap", low=0, high=2**31) for each in gaps)
        return cls(at, planes, min(columns, len(planes)), (height, width), (between_rows, between_columns), tuple(lead))

    @property
    def rows(self) -> int:
        return math.ceil(len(self.planes) / self.columns)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the montage in voxels."""
        counts = self.rows, self.columns
        height, width = (n * (size + gap) - gap for n, size, gap in zip(counts, self.plane, self.gap, strict=True))
        return height, width

    def place(self, number: int) -> tuple[slice, slice]:
        """Return where in the montage the shown plane `number` lies, counted from 0."""
        cell = divmod(number, self.columns)
        sizes = zip(cell, self.plane, self.gap, strict=True)
        rows, columns = (slice(at * (size + gap), at * (size + gap) + size) for at, size, gap in sizes)
        return rows, columns

    def runs(self, chunk: int = 1) -> Iterator[list[int]]:
        """Yield the numbers of shown planes in runs, whose planes lie in one chunk each."""
        for _, run in groupby(range(len(self.planes)), key=lambda number: self.planes[number] // chunk):
            yield list(run)


def check_fill(fill: Any, dtype: np.dtype) -> Any:
    """Return the value of gaps, or raise if the dtype has no such value."""
    value = check_number(fill, "fill")
    if dtype.kind in "iu" and not (value.is_integer() and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max):
        raise ValueError(f"fill must be a value of {dtype}, got {given(fill)}.")
    return dtype.type(fill)


@verb
def montage(
    image: Any,
    step: int = 2,
    columns: int = 6,
    axis: int = -3,
    *,
    gap: Gap = None,
    fill: float | None = None,
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Show every n-th plane of a layer or an array in rows and columns.

    Parameters
    ----------
    image : napari.layers.Image or array-like
        Arrays: 2 to 5 axes ([T, C,] [Z,] Y, X), and a color axis where `rgb`, of any dtype.  Never written.
    step : int
        Every `step`-th plane is shown, beginning with the first.
    columns : int
        Planes beside each other; never more than there are.
    axis : int
        The axis along which planes are taken; a color axis is not counted.  A plane has the last two of the other
        axes: with the default, z of (z, y, x), planes are (y, x); with -2 they are (z, x).
    gap : int or (int, int), optional
        Voxels between planes, or between rows and between columns.  By default a gap is 1/64 of the longer edge; in
        layers, gaps between rows and columns are equally wide in the unit of the layer.
    fill : float, optional
        The value of gaps, and of cells that have no plane.  The default is 0, or the lower contrast limit of a layer.
    rgb : bool, optional
        Whether the last axis of an array holds RGB or RGBA, which is kept.
    level : int
        The level of a multiscale layer whose planes are shown.

    Returns
    -------
    numpy.ndarray, dask.array.Array or napari.layers.Image
        It is of the kind and dtype of the image.  An array has the axes before those of the volume, then height and
        width of the montage.  A layer is not yet in a viewer; it has the voxel size, colormap and contrast limits of
        the old one, time and channel stay sliders, and it is lazy where that is a dask, zarr or h5py array.

    Raises
    ------
    TypeError
        If a parameter is not a number, or a layer is no Image layer.
    ValueError
        If a parameter is out of bounds, `fill` is no value of the dtype, or the volume has another number of axes.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import montage
    >>> volume = np.repeat([1, 2, 3, 4, 5], 2).reshape(5, 1, 2)
    >>> montage(volume, step=2, columns=2, gap=1)
    array([[1, 1, 0, 3, 3],
           [0, 0, 0, 0, 0],
           [5, 5, 0, 0, 0]])
    """
    rgb = None if rgb is None else check_flag(rgb, "rgb")
    return opener(image).montage(image, step, columns, axis, gap=gap, fill=fill, rgb=rgb, level=level)


def array_montage(
    volume: Any, step: int = 2, columns: int = 6, axis: int = -3, *, gap: Gap = None, fill: float = 0, rgb: bool = False
) -> np.ndarray | da.Array:
    """Return the montage of an array; see `montage`."""
    volume, counted = held(volume)
    if counted is not None:
        arrange = partial(array_montage, step=step, columns=columns, axis=axis, gap=gap, rgb=rgb)
        made, hidden = arrange(volume, fill=fill), arrange((~counted).astype(np.uint8), fill=0) != 0
        if is_dask(made):
            import dask.array as da

            masked: da.Array = da.ma.masked_array(made, mask=hidden)
            return masked
        return np.ma.masked_array(made, mask=hidden)
    if is_dask(volume):
        from napari_exposure.core import lazy

        lazy.known(volume)
    arranged = Arrangement.of(check_shape(tuple(volume.shape), rgb), step, columns, axis, gap)
    fill = check_fill(fill, np.dtype(volume.dtype))
    colors = tuple(volume.shape[-1:]) if rgb else ()
    if is_dask(volume):
        return _lazy(volume, arranged, fill, len(colors))
    with progress.bar():
        return _filled(volume, arranged, fill, colors)


def _filled(volume: Array, arranged: Arrangement, fill: Any, colors: tuple[int, ...]) -> np.ndarray:
    # A single plane has no axis along which planes are taken.
    single = len(volume.shape) - len(colors) == 2
    out = np.full((*arranged.lead, *arranged.shape, *colors), fill, np.dtype(volume.dtype).newbyteorder("="))
    chunks = stored_chunks(volume)
    runs = arranged.runs(1 if chunks is None or single else chunks[arranged.axis])
    everything = (slice(None),) * (2 + len(colors))

    def work(block: tuple[tuple[int, ...], list[int]]) -> None:
        lead, run = block
        first, last = arranged.planes[run[0]], arranged.planes[run[-1]]
        index: list[int | slice] = [*lead, *everything]
        if single:
            found = read_part(volume, tuple(index))[None]
        else:
            index.insert(arranged.axis, slice(first, last + 1, arranged.planes.step))
            found = np.moveaxis(read_part(volume, tuple(index)), max(0, arranged.axis - len(lead)), 0)
        for number, plane in zip(run, found, strict=True):
            place: Index = (*lead, *arranged.place(number))
            out[place] = plane

    walk(product(np.ndindex(*arranged.lead), runs), work, lambda _: None, "montage")
    return out


def _lazy(volume: da.Array, arranged: Arrangement, fill: Any, colors: int) -> da.Array:
    """Return the montage as a lazy dask array, in which no chunk holds parts of two planes."""
    import dask.array as da

    volume = volume.astype(np.dtype(volume.dtype).newbyteorder("="))
    if volume.ndim - colors == 2:
        volume = volume[None]
    before = (slice(None),) * arranged.axis

    def cell(number: int) -> da.Array:
        if number >= len(arranged.planes):
            empty: da.Array = da.full_like(cell(0), fill)
            return empty
        plane = volume[(*before, arranged.planes[number])]
        widths, chunks = [(0, 0)] * plane.ndim, list(plane.chunks)
        for axis, gap in enumerate(arranged.gap, plane.ndim - colors - 2):
            widths[axis] = 0, gap
            # The gap belongs to the last chunk of the plane, so that it is not a chunk of its own.
            *most, last = chunks[axis]
            chunks[axis] = *most, last + gap
        padded: da.Array = da.pad(plane, widths, constant_values=fill).rechunk(tuple(chunks))
        return padded

    height, width = -2 - colors, -1 - colors
    rows = [
        da.concatenate([cell(row * arranged.columns + column) for column in range(arranged.columns)], axis=width)
        for row in range(arranged.rows)
    ]
    inside = tuple(slice(0, n) for n in arranged.shape) + (slice(None),) * colors
    whole: da.Array = da.concatenate(rows, axis=height)[(Ellipsis, *inside)]
    return whole

"""The data of a live layer, which are computed where they are read."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import psutil

from napari_exposure.core import progress
from napari_exposure.core.blocks import is_dask
from napari_exposure.core.lazy import read
from napari_exposure.core.transform import BlockMap
from napari_exposure.source import in_memory

# The sample, and the coarse picture in 3D, have about this many voxels.
SAMPLE = 1 << 20


class PreviewData:
    """An array that maps whatever is read of it; napari reads the plane in view.

    Whoever takes it as an array, to save or to copy it, gets the whole result, as Apply computes it.

    Parameters
    ----------
    array : array-like
        The source.
    transform : BlockMap
        It is replaced while the layer stays.
    exact : callable, optional
        Fits all of the source and returns its transform, where `transform` was fitted on a sample.
    level : bool
        Whether it is one of several levels.  napari asks these for the part in view of all planes, then for one plane.
    """

    def __init__(self, array, transform: BlockMap, exact: Callable[[], BlockMap] | None = None, level: bool = False):
        self.array = array
        self.transform = transform
        self.exact = exact
        self.level = level
        # In 3D this is all of the result, of an older transform as long as the newer one is being computed.
        self.volume: np.ndarray | None = None
        self._kept: tuple | None = None
        # The data were read last at this time, which took these seconds.
        self.read = self.seconds = 0.0

    def fits(self, array, transform: BlockMap) -> bool:
        """Whether another transform can take the place of this one."""
        looks = [(each.out_dtype, each.out_range, each.shape) for each in (transform, self.transform)]
        return array is self.array and looks[0] == looks[1]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.transform.out_dtype

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def settled(self) -> PreviewData:
        """The data that Apply would give: where a sample was fitted so far, all of the source is fitted now."""
        return self if self.exact is None else PreviewData(self.array, self.exact())

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError("A live preview is computed when it is read, so there is no array without a copy.")
        return np.asarray(_read(self.settled().transform.apply(self.array)), dtype)

    def __deepcopy__(self, memo):
        # napari's Duplicate copies the data of a layer, and the copy is to be a layer like others.
        return np.asarray(self)

    def __getitem__(self, index) -> Any:
        start = time.perf_counter()
        index = index if isinstance(index, tuple) else (index,)
        whole = [at == slice(None) for at in index]
        if self.level and len(index) == self.ndim and any(whole) != all(whole) and all(map(_is_run, index)):
            return Part(self, index)
        looked_at = index[-3:] == (slice(None),) * 3
        index = _complete(index, self.ndim)
        cut = [_contiguous(at, size) for at, size in zip(index, self.shape, strict=True)]
        if self.transform.rgb:
            # The colors of a voxel are adjusted together, so all of them are read.
            cut[-1] = slice(0, self.shape[-1]), index[-1]
        parts, rest = tuple(part for part, _ in cut), tuple(inside for _, inside in cut)
        if looked_at and self._is_volume(parts):
            result = self._of_volume(parts)
        else:
            # The offset has no number for a color axis, which every block has whole.
            offset = tuple(part.start for part in parts[: len(self.transform.shape)])
            result = self.transform(self._part(parts), offset)
        self.read = time.perf_counter()
        self.seconds = self.read - start
        inside: Any = rest
        return result[inside]

    def _part(self, parts) -> np.ndarray:
        """A part of the source; what comes from a disk is kept until another is wanted."""
        if in_memory(self.array):
            return self.array[parts]
        if self._kept is None or self._kept[0] != parts:
            self._kept = parts, _read(self.array[parts])
        return self._kept[1]

    def _is_volume(self, parts) -> bool:
        """Whether all of a 3D volume is asked for."""
        shape = self.transform.shape[-3:]
        sizes = [part.stop - part.start for part in parts[: len(self.transform.shape)]][-3:]
        return len(shape) == 3 and min(shape) > 1 and tuple(sizes) == shape

    def _of_volume(self, parts) -> np.ndarray:
        if self.volume is None or self.volume.dtype != self.dtype:
            # The coarse volume is there in a moment; a worker makes the full one.
            self.volume = coarse(self.array, self.transform)
        return self.volume[parts]


class Part:
    """A part of `PreviewData` that is computed when it is read, or when a part of it is.

    Parameters
    ----------
    data : PreviewData
    runs : tuple of slice
        One for each axis, of step 1.
    """

    def __init__(self, data: PreviewData, runs: tuple[slice, ...]):
        self._data = data
        self._ranges = [range(*run.indices(size)) for run, size in zip(runs, data.shape, strict=True)]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(len, self._ranges))

    @property
    def ndim(self) -> int:
        return len(self._ranges)

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[(slice(0, None),) * self.ndim], dtype)

    def __getitem__(self, index) -> np.ndarray:
        index = _complete(index if isinstance(index, tuple) else (index,), self.ndim)
        found = [within[at] for within, at in zip(self._ranges, index, strict=True)]
        return self._data[tuple(map(_slice_of, found))]


def _complete(index: tuple, ndim: int) -> tuple:
    """An index with a number or a slice for each axis."""
    at = index.index(Ellipsis) if Ellipsis in index else len(index)
    return (*index[:at], *[slice(None)] * (ndim - len(index) + (at < len(index))), *index[at + 1 :])


def _slice_of(places: range | int) -> slice | int:
    """A range of indices as a slice."""
    if not isinstance(places, range):
        return places
    return slice(places.start, places.stop if places.stop >= 0 else None, places.step)


def _is_run(index) -> bool:
    return isinstance(index, slice) and index.step in (None, 1)


def _read(array) -> np.ndarray:
    """The values of an array; dask's come from the cluster if there is one, whose workers may be lost."""
    return read(array) if is_dask(array) else np.asarray(array)


def _contiguous(index, size: int) -> tuple[slice, object]:
    """The run of an axis that an index lies in, and the index in that run."""
    if isinstance(index, slice):
        places = range(*index.indices(size))
        if not len(places):
            return slice(0, 0), slice(0, 0)
        low, high = min(places[0], places[-1]), max(places[0], places[-1]) + 1
        return slice(low, high), slice(None) if places.step == 1 else slice(None, None, places.step)
    at = int(index) % size if -size <= int(index) < size else int(index)
    return slice(at, at + 1), 0


def sampling(shape: tuple[int, ...], spatial: int) -> tuple[int, ...]:
    """For each axis the step that leaves about `SAMPLE` voxels."""
    step = max(1, round((np.prod(shape) / SAMPLE) ** (1 / spatial)))
    return (1,) * (len(shape) - spatial) + tuple(min(step, n) for n in shape[-spatial:])


def coarse(array, transform: BlockMap) -> np.ndarray:
    """The result on a coarser grid, blown up to the full one."""
    shape = transform.shape
    steps = sampling(shape, transform.spatial)
    taken = tuple(slice(None, None, step) for step in steps)
    result = transform.onto(shape, steps).apply(_read(array[taken]))
    # The last axis comes first, so that most of the work is copying whole planes.
    for axis in reversed(range(len(shape))):
        if steps[axis] > 1:
            result = np.repeat(result, steps[axis], axis=axis)[(slice(None),) * axis + (slice(0, shape[axis]),)]
    return result


def map_volume(data: PreviewData) -> np.ndarray:
    """Compute all of the result; for a large volume, a report brings a coarse picture first."""
    if max(sampling(data.transform.shape, data.transform.spatial)) > 1:
        with progress.changed(lambda step: replace(step, fraction=0.0)):
            rough = coarse(data.array, data.transform)
        progress.report("mapping", 0.0, slow=True, found=rough)
        if 2 * rough.nbytes > psutil.virtual_memory().available:
            return rough
    return _read(data.transform.apply(data.array))

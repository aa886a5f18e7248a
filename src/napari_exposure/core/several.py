"""Several images that share one fit, such as the channels of a volume, as one array for the fit to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from napari_exposure.core.arrays import Several, both, held
from napari_exposure.core.blocks import is_dask, read_part, stored_chunks
from napari_exposure.core.intensity import dtype_range
from napari_exposure.core.typing import Array, Index
from napari_exposure.core.words import given

Together = Literal["all", "sum", "max"]

# Images that share one fit are fitted on one of these; the values are its words in errors.
TOGETHER: dict[str, str] = {
    "all": "the voxels of all",
    "sum": "their sum, voxel by voxel",
    "max": "the largest of them, voxel by voxel",
}


class Combined:
    """The sum or the largest of several arrays of one shape, voxel by voxel, which is computed as it is read.

    Sums of integers are clamped to the dtype, because no channel has intensities beyond it.
    """

    def __init__(self, arrays: Sequence[Array], how: str) -> None:
        self.arrays, self._how = tuple(arrays), how
        self.shape, self.dtype, self.ndim = tuple(arrays[0].shape), np.dtype(arrays[0].dtype), len(arrays[0].shape)
        # The chunks are those of the first array that has any, as all are read in the same blocks.
        self.chunks = next((chunks for each in arrays if (chunks := stored_chunks(each))), None)

    def __getitem__(self, index: Index, /) -> np.ndarray:
        return combined(*(read_part(each, index) for each in self.arrays), how=self._how)


def combined(*values: np.ndarray, how: str) -> np.ndarray:
    """Return the sum or the largest of arrays in their dtype; they are added in the order in which they are given.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.several import combined
    >>> combined(np.array([100, 200], np.uint8), np.array([50, 100], np.uint8), how="sum")
    array([150, 255], dtype=uint8)
    """
    dtype = values[0].dtype.newbyteorder("=")
    if how == "max":
        largest = values[0].astype(dtype)
        for each in values[1:]:
            np.maximum(largest, each, out=largest)
        return largest
    # Integers of 64 bits are handled as float64 everywhere in this project.
    total = values[0].astype(np.int64 if dtype.kind in "iu" and dtype.itemsize < 8 else np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for each in values[1:]:
            total += each
        if dtype.kind in "iu":
            least, most = np.array(dtype_range(dtype, negative=True)).astype(total.dtype)
            total = total.clip(least, most)
        return total.astype(dtype)


def join(arrays: Sequence[Any], names: Sequence[str], how: str) -> tuple[Array, Any]:
    """Return an array on which several images are fitted, and which of its voxels count (None for all).

    It has the voxels of "all", their "sum" or the largest of them ("max").  Arrays that cannot share a fit raise an
    error by the name of one that does not fit to the first.
    """
    check_together(how)
    first, *rest = (held(array) for array in arrays)
    shape, dtype = tuple(first[0].shape), np.dtype(first[0].dtype).newbyteorder("=")
    for name, (array, _) in zip(names[1:], rest, strict=True):
        other = np.dtype(array.dtype).newbyteorder("=")
        if other != dtype:
            raise TypeError(
                f"{name} has dtype {other}, but {names[0]} has {dtype}. Images that share one fit need one dtype; "
                "convert one of them first."
            )
        if len(array.shape) != len(shape) or (how != "all" and tuple(array.shape) != shape):
            needed = "Give images with the same number of axes." if how == "all" else f"Their {how} needs one shape."
            raise ValueError(f"{name} has shape {tuple(array.shape)}, but {names[0]} has {shape}. {needed}")
    if how == "all":
        # Each array in it knows which of its voxels count.
        return Several(list(arrays)), None
    found = [first, *rest]
    counted = None
    for _, own in found:
        counted = both(counted, own)
    return _combine([array for array, _ in found], how), counted


def _combine(arrays: Sequence[Array], how: str) -> Array:
    if not any(map(is_dask, arrays)):
        return Combined(arrays, how)
    import dask.array as da

    from napari_exposure.core.lazy import as_dask

    dtype = np.dtype(arrays[0].dtype).newbyteorder("=")
    lazy = [as_dask(array) for array in arrays]
    nothing = np.empty((0,) * lazy[0].ndim, dtype)
    # dask cuts arrays with different chunks alike.
    made: Array = da.map_blocks(combined, *lazy, how=how, dtype=dtype, meta=nothing)
    return made


def check_together(how: object) -> None:
    """Raise what `fit_on` may be if it names no way to fit several images."""
    if not isinstance(how, str) or how not in TOGETHER:
        words = ", ".join(f"{word!r} ({what})" for word, what in TOGETHER.items())
        raise ValueError(f"fit_on must be {words}, or one image, got {given(how)}.")

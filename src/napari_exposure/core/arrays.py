"""Arrays of other packages: how they are read, which of their voxels count, and how a result becomes one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from napari_exposure.core.intensity import as_array
from napari_exposure.core.typing import Array

# The array that is read, and a mask of the voxels that count; None means that all count.
Held = tuple[Array, Any]


def held(array: Any, name: str = "volume") -> Held:
    """Return the array that another one holds, and a mask of the voxels that count; None where all count.

    It may be an array of numpy, masked or not, xarray, pint, TensorStore or dask, anything that has a shape, a dtype
    and slices, or something that NumPy can make an array of.  A TypeError says by this name what is none of these.
    """
    holder = _holder(array)
    return (checked(array, name), None) if holder is None else holder(array)


def checked(array: Any, name: str = "volume") -> Any:
    """Return the array, or the one that NumPy makes of nested lists; parameters and errors as `held` has them."""
    known = _holder(array) or (hasattr(array, "shape") and _is_dtype(getattr(array, "dtype", None)))
    return array if known else as_array(array, name)


def _holder(array: Any) -> Callable[[Any], Held] | None:
    # Classes are found by their names, so that none of these packages needs to be imported.
    kinds = (_HOLDERS.get(f"{cls.__module__}.{cls.__qualname__}") for cls in type(array).__mro__)
    return next(filter(None, kinds), None)


def _is_dtype(dtype: object) -> bool:
    """Return whether NumPy knows a dtype, which may be one of another package."""
    try:
        return dtype is not None and isinstance(np.dtype(dtype), np.dtype)  # type: ignore[call-overload]
    except TypeError:
        return False


def like(image: Any, result: Any) -> Any:
    """Turn a result into what the image is: a DataArray with its coordinates, or masked as it is, also lazily."""
    if isinstance(image, np.ma.MaskedArray):
        return np.ma.array(result, mask=image.mask)
    if _is_masked_dask(image):
        import dask.array as da

        return da.ma.masked_array(result, mask=da.ma.getmaskarray(image))
    if is_data_array(image):
        return image.copy(data=result)
    return result


def is_data_array(array: object) -> bool:
    """Return whether it is a DataArray of xarray."""
    return any(f"{cls.__module__}.{cls.__qualname__}" == DATA_ARRAY for cls in type(array).__mro__)


def both(mask: Any, other: Any) -> Any:
    """Return a mask of the voxels that count in both masks; None stands for a mask in which all voxels count."""
    if mask is None or other is None:
        return other if mask is None else mask
    return inside(mask) & inside(other)


def inside(mask: Any) -> np.ndarray:
    """Return where a mask is other than 0, in C order, as kernels take it; NaN is no number that is other than 0."""
    mask = np.asarray(mask)
    found: np.ndarray = np.not_equal(mask, 0, order="C")
    if mask.dtype.kind in "fc":
        found &= ~np.isnan(mask)
    return found


class Several:
    """Arrays of one dtype that share a fit: a pass over a volume counts one of them after the other.

    Their `shape` is that of the first one.
    """

    def __init__(self, arrays: Sequence[Array]) -> None:
        self.arrays = tuple(arrays)
        self.shape, self.dtype, self.ndim = tuple(arrays[0].shape), np.dtype(arrays[0].dtype), len(arrays[0].shape)

    @property
    def alike(self) -> bool:
        """Whether all arrays have the same shape, so that a place means the same in each."""
        return len({tuple(array.shape) for array in self.arrays}) == 1

    def __getitem__(self, index: Any, /) -> Several:
        # A preview reads every second voxel, for example, and gets those of every array.
        return Several([array[index] for array in self.arrays])


class _Foreign:
    """An array that another package stores, of which parts are read."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, read: Callable[[Any], Any], chunks: Any = None) -> None:
        self.shape, self.dtype, self.ndim, self.chunks = tuple(shape), np.dtype(dtype), len(shape), chunks
        self._read = read

    def __getitem__(self, index: Any, /) -> np.ndarray:
        return np.asarray(self._read(index))


def _of_masked(array: np.ma.MaskedArray[Any, Any]) -> Held:
    mask = np.ma.getmask(array)
    return np.asarray(np.ma.getdata(array)), ~mask if mask.any() else None


def _of_data_array(array: Any) -> Held:
    # Data in memory and dask arrays are used as they are. A file is read part by part, because ``data`` reads it whole.
    data = array.data if array.chunks is not None else getattr(array.variable, "_data", None)
    if array.chunks is not None or isinstance(data, np.ndarray):
        return held(data)
    return _Foreign(array.shape, array.dtype, array.variable.__getitem__), None


def _of_quantity(array: Any) -> Held:
    return held(array.magnitude)


def _of_store(array: Any) -> Held:
    import tensorstore

    placed = array[tensorstore.d[:].translate_to[0]]
    chunks = array.chunk_layout.read_chunk.shape
    known = chunks if chunks and all(chunks) else None
    return _Foreign(array.shape, array.dtype.numpy_dtype, lambda index: placed[index].read().result(), known), None


def _of_dask(array: Any) -> Held:
    if not _is_masked_dask(array):
        return array, None
    import dask.array as da

    return da.ma.getdata(array), ~da.ma.getmaskarray(array)


def _is_masked_dask(array: object) -> bool:
    # Dask keeps an empty array of the kind of the chunks under this name; no other array has it.
    return isinstance(getattr(array, "_meta", None), np.ma.MaskedArray)


DATA_ARRAY = "xarray.core.dataarray.DataArray"
_HOLDERS: dict[str, Callable[[Any], Held]] = {
    "numpy.ma.MaskedArray": _of_masked,
    "numpy.ma.core.MaskedArray": _of_masked,
    DATA_ARRAY: _of_data_array,
    "pint.facets.plain.quantity.PlainQuantity": _of_quantity,
    "tensorstore.TensorStore": _of_store,
    "dask.array.core.Array": _of_dask,
}

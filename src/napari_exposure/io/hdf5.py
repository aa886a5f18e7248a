"""Reads datasets of HDF5 files with their voxel size, lazily."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_exposure.core.blocks import stored_chunks
from napari_exposure.core.lazy import as_dask
from napari_exposure.io.files import (
    DamagedFile,
    Facts,
    FileVolume,
    Refused,
    check_chunk,
    chosen,
    given_axes,
    guessed_axes,
)
from napari_exposure.io.unpacked import SPARE, unpacked_size

if TYPE_CHECKING:
    import h5py

# Datasets with fewer or more axes hold no volumes.
NDIMS = range(2, 7)


@dataclass(frozen=True)
class Dataset:
    """A dataset that opens its file for each part that is read, so that it can be sent to other processes.

    It raises where the file is gone or was replaced by one with another dataset.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] | None

    def __getitem__(self, index: Any) -> np.ndarray:
        import h5py

        with h5py.File(self.path, "r") as file:
            found = file[self.name]
            if found.shape != self.shape or found.dtype != self.dtype:
                raise OSError(f"{self.path.name} was replaced while it was read. Open it again.")
            if self.chunks is not None and found.id.get_create_plist().get_nfilters():
                self._check_chunks(found, index)
            values: np.ndarray = found[index]
            return values

    def _check_chunks(self, found: h5py.Dataset, index: Any) -> None:
        """Raise if a requested chunk unpacks to more than a chunk, because HDF5 would take any memory for it."""
        assert self.chunks is not None, "Datasets in one piece are not packed."
        index = (*(index if isinstance(index, tuple) else (index,)), *[slice(None)] * len(self.shape))
        touched = []
        for at, n, size in zip(index, self.shape, self.chunks, strict=False):
            places = range(n)[at if isinstance(at, slice) else slice(at, at + 1)]
            touched.append(range(min(places, default=0) // size * size, max(places, default=-1) + 1, size))
        size = math.prod(self.chunks) * self.dtype.itemsize
        plist = found.id.get_create_plist()
        filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
        for place in itertools.product(*touched):
            if not found.id.get_chunk_info_by_coord(place).size:
                # A chunk that was never written has no bytes.
                continue
            left_out, packed = found.id.read_direct_chunk(place)
            applied = [_CODECS.get(each, "") for bit, each in enumerate(filters) if not left_out >> bit & 1]
            if unpacked_size(tuple(reversed(applied)), memoryview(packed), size + SPARE) > size + SPARE:
                raise DamagedFile(
                    f"The chunk at {place} of {self.name} in {self.path.name} unpacks to more than {size} bytes, a "
                    "chunk's."
                )


# HDF5 knows its filters by these numbers.
_CODECS = {1: "zlib", 3: "crc32c", 307: "bz2", 32001: "blosc", 32015: "zstd"}


def read_hdf5(
    path: Path, *, axes: str | None = None, series: int | None = None, dataset: str | None = None
) -> FileVolume:
    """Read a dataset of an HDF5 file; the parameters are those of `read`."""
    try:
        import h5py
    except ImportError:
        raise ImportError(f"{path.name} needs h5py: pip install h5py") from None
    try:
        with h5py.File(path, "r") as file:
            names = _images(file)
            images = [f"{each} ({' x '.join(map(str, file[each].shape))})" for each in names]
            number = _number(path, names, images, series, dataset)
            found = file[names[number]]
            chunks = stored_chunks(found)
            data = Dataset(path, names[number], found.shape, found.dtype, chunks)
            facts, said = Facts(), _said_axes(found)
            # Sizes that cannot be understood are ignored.
            with contextlib.suppress(TypeError, ValueError):
                _sizes(found, said, facts)
    except (Refused, ImportError):
        raise
    except Exception as error:
        # A damaged file makes h5py raise any kind of error.
        raise DamagedFile(
            f"{path.name} cannot be read as HDF5: {type(error).__name__}: {error}. TIFF, OME-Zarr and PNG can be "
            "read too."
        ) from error
    check_chunk(path.name, chunks or (), data.dtype)
    guessed = ""
    if axes is not None:
        letters = given_axes(path.name, data.shape, axes)
    elif said:
        letters = said
    else:
        letters, guessed = guessed_axes(path.name, data.shape)
    return facts.of_file(path, as_dask(data), letters, images, guessed=guessed, series=number)


def _images(file: h5py.File) -> list[str]:
    """Return the names of the datasets that may be volumes, sorted."""
    import h5py

    found: list[str] = []

    def look(name: str, each: object) -> None:
        if isinstance(each, h5py.Dataset) and each.dtype.kind in "biufc" and each.ndim in NDIMS:
            found.append(name)

    file.visititems(look)
    return sorted(found)


def _number(path: Path, names: list[str], images: list[str], series: int | None, dataset: str | None) -> int:
    if dataset is not None:
        name = str(dataset).strip("/")
        if name in names:
            return names.index(name)
        listed = ", ".join(names) or "none of 2 to 6 axes"
        raise Refused(f"{path.name} has no dataset {dataset!r} of numbers; its datasets are: {listed}.")
    if not names:
        raise Refused(f"{path.name} has no dataset of numbers with 2 to 6 axes.")
    return chosen(path.name, images, series)


def _said_axes(found: h5py.Dataset) -> str:
    """Return the axes of a dataset if they are named as by ilastik or h5py, else an empty text."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        tags = json.loads(found.attrs["axistags"])["axes"]
        return _letters([str(each["key"]) for each in tags], found)
    with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
        return _letters([each.label for each in found.dims], found)
    return ""


def _letters(names: list[str], found: h5py.Dataset) -> str:
    letters = "".join(name[:1].upper() for name in names)
    whole = len(letters) == found.ndim == len(set(letters)) and not set(letters) - set("TCZYX")
    if whole and letters.endswith("C") and found.shape[-1] in (3, 4) and found.dtype == np.uint8:
        # ilastik stores colors as channels along the last axis.
        return f"{letters[:-1]}S"
    return letters if whole else ""


def _sizes(found: h5py.Dataset, axes: str, facts: Facts) -> None:
    """Note the size of a voxel that Fiji and others write, from z to x in micrometers."""
    sizes = np.ravel(np.asarray(found.attrs.get("element_size_um", ()), float)).tolist()
    space = [axis for axis in axes or "ZYX" if axis in "ZYX"][-len(sizes) :]
    if len(sizes) in (2, 3) and all(0 < size < math.inf for size in sizes):
        for axis, size in zip(space, sizes, strict=False):
            facts.size(axis, size, "um", "HDF5 element_size_um")

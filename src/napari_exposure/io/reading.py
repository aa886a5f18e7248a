"""Reads volumes in files of any format, or says which package has to be installed to read one."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_exposure.core.intensity import as_path
from napari_exposure.core.replacing import is_zarr
from napari_exposure.core.words import given
from napari_exposure.io.files import (
    HDF5_SUFFIXES,
    TIFF_SUFFIXES,
    DamagedFile,
    Facts,
    FileVolume,
    Refused,
    check_memory,
    chosen,
    given_axes,
    needs,
    reader_of,
)
from napari_exposure.io.hdf5 import read_hdf5
from napari_exposure.io.omezarr import read_zarr
from napari_exposure.io.tiff import read_tiff


def read(
    path: str | PathLike[str],
    *,
    lazy: bool | None = None,
    axes: str | None = None,
    series: int | None = None,
    dataset: str | None = None,
    dtype: npt.DTypeLike | None = None,
) -> FileVolume:
    """Read an image of a file with what the file says of it: voxel size, axes, channels, place.

    TIFF, OME-Zarr, HDF5 and PNG are read here.  Files of microscopes, such as CZI, ND2 and LIF, are read where
    ``bioio`` and its reader for them are installed.

    Parameters
    ----------
    path : str or pathlib.Path
    lazy : bool, optional
        Whether TIFF data are read only as they are looked at, which is the default for more than 1 GB.
    axes : str, optional
        A letter of "tczyxs" for each axis of the data, in the order of the file, if the file does not say them or
        says others; s is color.
    series : int, optional
        Which image to read from a file of several, by default the first; `FileVolume.images` lists them.
    dataset : str, optional
        The name of an HDF5 dataset, such as "volumes/raw", instead of `series`.
    dtype : str or numpy.dtype, optional
        The dtype that data are converted to, which must hold all values; complex numbers become their magnitudes.

    Returns
    -------
    FileVolume

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If a package that reads it is missing; the message names it.
    ValueError
        If it is damaged, does not fit into memory, or its content has no exposure.

    See Also
    --------
    save : Write a volume.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> import napari_exposure as nx
    >>> folder = Path(tempfile.mkdtemp())
    >>> path = nx.save(np.zeros((3, 4, 5), np.uint8), folder / "a.ome.tif", spacing=(2, 0.5, 0.5), unit="um")
    >>> nx.read(path).scale
    (2.0, 0.5, 0.5)
    """
    path = as_path(path)
    volume = _read(path, lazy, dataset, axes=axes, series=series)
    if dtype is None:
        return volume
    # Data of files are arrays of NumPy or dask, which have these methods.
    data: Any = volume.data
    way = "Leave out dtype="
    if data.dtype.kind == "c":
        data = abs(data)
        way = f"Give dtype='{data.dtype}', which holds all magnitudes"
    if not np.can_cast(data.dtype, dtype, "safe"):
        raise TypeError(f"{path.name} holds {volume.data.dtype} values, of which {dtype} would lose some. {way}.")
    return replace(volume, data=data.astype(dtype))


def _read(path: Path, lazy: bool | None, dataset: str | None, **options: Any) -> FileVolume:
    name = path.name.lower()
    if dataset is not None and not name.endswith(HDF5_SUFFIXES):
        raise Refused(f"{path.name} is no HDF5 file, so it has no dataset {given(dataset)}; series= chooses an image.")
    if is_zarr(path):
        return read_zarr(path, **options)
    if path.is_dir():
        there = sorted(each.name for each in path.iterdir() if each.is_file())[:3]
        inside = f" Give a file in it, such as {', '.join(there)}." if there else ""
        raise ValueError(f"{path} is a folder, but no zarr store.{inside}")
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if name.endswith(HDF5_SUFFIXES):
        return read_hdf5(path, dataset=dataset, **options)
    if name.endswith(".png"):
        return _read_png(path, **options)
    if reader_of(path) is not None and not name.endswith(TIFF_SUFFIXES):
        return _read_bioio(path, **options)
    return read_tiff(path, lazy=lazy, **options)


def _read_png(path: Path, *, axes: str | None = None, series: int | None = None) -> FileVolume:
    """Read a picture; its resolution is ignored, because it is meant for printers."""
    try:
        import imagecodecs
    except ImportError:
        raise ImportError(f"{path.name} needs imagecodecs: pip install imagecodecs") from None
    chosen(path.name, ["image"], series)
    content = path.read_bytes()
    # The header has the width, the height and the bits of a sample, from which the size in memory follows.
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    check_memory(path.name, (height, width, 4), np.dtype("uint16" if content[24:25] == b"\x10" else "uint8"))
    try:
        data = imagecodecs.png_decode(content)
    except Exception as error:
        raise DamagedFile(
            f"{path.name} cannot be read as PNG: {error}. TIFF, OME-Zarr and HDF5 can be read too."
        ) from None
    letters = "YX" if data.ndim == 2 else "YXS" if data.shape[2] > 2 else "YXC"
    letters = letters if axes is None else given_axes(path.name, data.shape, axes)
    return Facts().of_file(path, data, letters)


def _read_bioio(path: Path, *, axes: str | None = None, series: int | None = None) -> FileVolume:
    """Read a file of another format with a reader of bioio that is installed."""
    try:
        from bioio import BioImage
        from bioio_base.exceptions import UnsupportedFileFormatError
    except ImportError:
        raise ImportError(needs(path)) from None
    try:
        image = BioImage(path)
        number = chosen(path.name, list(image.scenes), series)
        image.set_scene(number)
        data, letters = image.dask_data, image.dims.order
    except UnsupportedFileFormatError:
        raise ImportError(needs(path)) from None
    except Refused:
        raise
    except Exception as error:
        raise DamagedFile(f"{path.name} cannot be read by bioio: {type(error).__name__}: {error}") from error
    facts = Facts()
    for axis in "ZYX":
        facts.size(axis, getattr(image.physical_pixel_sizes, axis), "um", f"bioio {axis}")
    interval = getattr(image, "time_interval", None)
    facts.size("T", getattr(interval, "total_seconds", lambda: interval)(), "s", "bioio time interval")
    facts.channels = tuple(map(str, image.channel_names or ()))
    # bioio gives all axes to each file, so axes of one voxel are left out.
    kept = [at for at, axis in enumerate(letters) if axis in "YXS" or data.shape[at] > 1]
    data, letters = (
        data[tuple(slice(None) if at in kept else 0 for at in range(data.ndim))],
        "".join(letters[at] for at in kept),
    )
    if "C" not in letters:
        facts.channels = ()
    letters = letters if axes is None else given_axes(path.name, data.shape, axes)
    return facts.of_file(path, data, letters, list(map(str, image.scenes)), series=number)

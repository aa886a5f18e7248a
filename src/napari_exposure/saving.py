"""Saves results block by block, with their voxel size, as OME-Zarr with a pyramid, OME-TIFF, or ImageJ's TIFF."""

from __future__ import annotations

import errno
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.arrays import held, is_data_array
from napari_exposure.core.axes import axis_letter
from napari_exposure.core.blocks import is_dask
from napari_exposure.core.intensity import as_path, check_flag, check_number, dtype_range
from napari_exposure.core.lazy import as_dask, checked
from napari_exposure.core.replacing import check_place, replacing
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.words import given, printable, warn_user
from napari_exposure.io.files import UNKNOWN, WRITTEN_SUFFIXES, Facts, FileVolume, in_order, stem
from napari_exposure.io.omezarr import check_zarr, write_zarr
from napari_exposure.io.tiff import check_tiff, write_pages
from napari_exposure.io.units import LENGTH, TIME, axis_names, turned, unit_name
from napari_exposure.provenance import METADATA_KEY, noted
from napari_exposure.xarrays import OpenedDataArray

LETTERS = {2: "YX", 3: "ZYX", 4: "TZYX", 5: "TCZYX"}
# The samples of a color become channels in these colors, which add up to it; alpha is black, which adds nothing.
SAMPLES = {"red": "#ff0000", "green": "#00ff00", "blue": "#0000ff", "alpha": "#000000"}


def save(
    result: ArrayLike | Layer | FileVolume,
    path: str | PathLike[str],
    *,
    spacing: float | Sequence[float] | None = None,
    unit: str | None = None,
    axes: str | None = None,
    overwrite: bool = False,
    ome_version: Literal["0.4", "0.5"] = "0.5",
) -> Path:
    """Write a result to disk block by block, so that only blocks in work of a dask array are in memory.

    It is written beside `path`, flushed to the disk, and moved to its place at the end.  Whatever happens, even a kill
    or a power cut, `path` is the whole result or what it was before.  The next process that writes in this folder
    removes what a killed one has left there, and completes the replacement of an OME-Zarr if that had begun.

    Parameters
    ----------
    result : napari.layers.Image or array-like
        A layer, or a DataArray of xarray, which know their axes and voxel size; or a numpy, dask, zarr or h5py array
        with 2 to 5 axes.
    path : str or Path
        Ending in ``.zarr`` for OME-Zarr with a pyramid, or in ``.ome.tif`` for OME-TIFF.
    spacing : float or sequence of float, optional
        The size of a voxel along the last axes of an array, by default 1; one number is that along z, y and x.
    unit : str, optional
        The unit of `spacing`, such as "um".
    axes : str, optional
        A letter of "tczyxs" for each axis of an array, in this order; s is color, which is red, green, blue and
        perhaps alpha.  The default is the last ones of "tzyx", or "tczyx" for 5 axes.  OME-Zarr has no axis s: there
        colors become channels.
    overwrite : bool
        Replace what is at `path`, and keep its mode.  A folder is replaced only if it is a zarr store.
    ome_version : "0.5" or "0.4"
        The version of OME-Zarr: 0.5 has zarr version 3, and 0.4 version 2.

    Returns
    -------
    Path
        Where it was written.

    Raises
    ------
    FileExistsError
        If there is something at `path`.
    OSError
        If the disk is full; the message says how much is missing.
    TypeError, ValueError
        If the ending of `path`, the axes or the dtype cannot be written.

    Warns
    -----
    UserWarning
        If a layer is mirrored, rotated or sheared, which files cannot hold: its voxels are written as they are.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "small.ome.tif")
    >>> save(np.zeros((3, 4, 5), np.uint8), path, spacing=(2.0, 0.5, 0.5), unit="um").name
    'small.ome.tif'
    >>> from napari_exposure import read_tiff
    >>> read_tiff(path).scale
    (2.0, 0.5, 0.5)
    """
    path, overwrite = as_path(path), check_flag(overwrite, "overwrite")
    return save_volume(_volume_of(result, path, spacing, unit, axes), path, overwrite, ome_version)


def save_volume(
    volume: FileVolume,
    path: Path,
    overwrite: bool = False,
    ome_version: str = "0.5",
    before: Callable[[], None] = lambda: None,
) -> Path:
    """Write a volume as `save` does.

    `before` is called when all is written, but not yet moved to `path`; if it raises, `path` stays as it was.
    """
    name = path.name.lower()
    if name.endswith(".zarr"):
        check_zarr(ome_version, volume.data.dtype)
        volume = _colors_as_channels(volume)
        write: Callable[[FileVolume, Path], None] = partial(write_zarr, ome_version=ome_version)
    elif name.endswith(tuple(f".ome{suffix}" for suffix in WRITTEN_SUFFIXES)):
        check_tiff(volume, imagej=False)
        write = partial(write_pages, imagej=False)
    else:
        raise ValueError(f"{path.name} must end in .zarr (OME-Zarr) or .ome.tif (OME-TIFF).")
    return _write(path, volume, write, overwrite, name.endswith(".zarr"), before)


def write_tiff(
    result: ArrayLike | Layer | FileVolume,
    path: str | PathLike[str],
    *,
    spacing: float | Sequence[float] | None = None,
    unit: str | None = None,
    axes: str | None = None,
    channels: Sequence[str] = (),
    imagej: bool = False,
    overwrite: bool = False,
) -> Path:
    """Write a volume as OME-TIFF, or as ImageJ's TIFF, block by block, with voxel size, axes and how it was made.

    Parameters
    ----------
    result, path, spacing, unit, axes, overwrite
        As `save` has them; `path` may also end in ``.tif`` or ``.tiff``.
    channels : sequence of str
        The names of the channels along the axis c.
    imagej : bool
        Write the TIFF of ImageJ and Fiji, which holds uint8, uint16 and float32 up to 4 GB.  Colors other than
        uint8 are channels there.

    Returns
    -------
    Path

    Raises
    ------
    FileExistsError, OSError, TypeError, ValueError
        As `save` does.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> from pathlib import Path
    >>> from napari_exposure import read_tiff, write_tiff
    >>> path = Path(tempfile.mkdtemp(), "small.tif")
    >>> path = write_tiff(np.zeros((3, 4, 5), np.uint8), path, spacing=(2.0, 0.5, 0.5), unit="um", imagej=True)
    >>> read_tiff(path).came_from["Z"]
    'ImageJ spacing'
    """
    path = as_path(path)
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise ValueError(f"{path.name} must end in .tif or .tiff, or in .btf, .tf2 or .tf8 (BigTIFF).")
    imagej, overwrite = check_flag(imagej, "imagej"), check_flag(overwrite, "overwrite")
    volume = _volume_of(result, path, spacing, unit, axes, channels)
    check_tiff(volume, imagej)
    if imagej and volume.data.dtype != np.uint8:
        volume = _colors_as_channels(volume)
    return _write(path, volume, partial(write_pages, imagej=imagej), overwrite)


def write_layer(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Save an image layer as OME-TIFF, for File > Save of napari."""
    import napari.layers

    layer = napari.layers.Layer.create(data, meta, "image")
    return [str(write_tiff(layer, path, overwrite=True))]


def _write(
    path: Path,
    volume: FileVolume,
    write: Callable[[FileVolume, Path], None],
    overwrite: bool,
    folder: bool = False,
    before: Callable[[], None] = lambda: None,
) -> Path:
    if is_dask(volume.data):
        checked(volume.data)
    if 0 in volume.data.shape:
        raise ValueError(f"The array is empty: its shape is {tuple(volume.data.shape)}.")
    check_place(path, folder=folder, overwrite=overwrite)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path} is neither a file nor a folder. Choose another name.")

    def work() -> None:
        with replacing(path, overwrite=overwrite) as unfinished:
            write(volume, unfinished)
            before()

    try:
        with progress.bar():
            progress.undisturbed(work)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = math.prod(volume.data.shape) * volume.data.dtype.itemsize
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            errno.ENOSPC,
            f"The disk is full: {path.name} holds {needed / 2**30:.1f} GB before compression, "
            f"{free / 2**30:.1f} GB are free. Nothing was kept",
            str(path),
        ) from error
    return path


def _volume_of(
    result: Any,
    path: Path,
    spacing: float | Sequence[float] | None = None,
    unit: str | None = None,
    axes: str | None = None,
    channels: Sequence[str] = (),
) -> FileVolume:
    """Return a layer, an array or a volume of a file as the volume that is written."""
    if isinstance(result, FileVolume):
        return result
    if hasattr(result, "axis_labels") and hasattr(result, "metadata"):
        if not hasattr(result, "rgb"):
            raise TypeError(f"An Image layer or an array is needed, got {given(result)}.")
        return _of_layer(result)
    known = None if unit is None else unit_name(unit)
    if unit is not None and known is None:
        raise ValueError(f"unit must be one of the units of length that pint knows, such as um, got {given(unit)}.")
    if isinstance(channels, str) or not np.iterable(channels):
        raise TypeError(f"channels must be a list of names, got {given(channels)}.")
    channels = tuple(map(str, channels))
    if is_data_array(result) and axes is None and spacing is None:
        return _of_data_array(result, path, known, channels)
    array = result if hasattr(result, "shape") and hasattr(result, "dtype") else np.asarray(result)
    ndim = len(array.shape)
    letters = LETTERS.get(ndim) if axes is None else str(axes).upper()
    space = (letters or "").removesuffix("S")
    ordered = space.endswith("YX") and space == "".join(each for each in "TCZYX" if each in space)
    if letters is None or len(letters) != ndim or not ordered:
        raise ValueError(
            f"axes must be {ndim} of the letters tczyx in this order, the last ones y and x, or y, x and s (color), "
            f"got {given(axes)}; shape {array.shape}."
        )
    if letters.endswith("S") and array.shape[-1] not in (3, 4):
        raise ValueError(f"The axis s (color) must have 3 or 4 samples, got {given(axes)}; shape {array.shape}.")
    sized = len(space)
    # One number is the size along all axes of space, as it is for every verb.
    sizes = spacing if np.iterable(spacing) else () if spacing is None else (spacing,) * sum(map("ZYX".count, space))
    spacing = tuple(check_number(size, "spacing", above=0) for size in sizes)
    if len(spacing) > sized:
        raise ValueError(f"spacing must be up to {sized} positive numbers, got {spacing}.")
    _check_channels(channels, letters, array.shape)
    lead = sized - len(spacing)
    # An axis without a given size has no unit either.
    units = [known if known and axis in "ZYX" and at >= lead else UNKNOWN for at, axis in enumerate(letters[:sized])]
    return FileVolume(
        array, letters, (1.0,) * lead + spacing, tuple(units), name=printable(stem(path)), channels=channels
    )


def _colors_as_channels(volume: FileVolume) -> FileVolume:
    """Return a volume with the samples of colors along the axis C, for files that have no color."""
    if not volume.axes.endswith("S"):
        return volume
    if "C" in volume.axes:
        raise ValueError(f"{volume.name!r} has colors and channels; save it as OME-TIFF, or its channels apart.")
    import dask.array as da

    at, samples = volume.axes.find("T") + 1, volume.data.shape[-1]
    return replace(
        volume,
        data=da.moveaxis(as_dask(volume.data), -1, at),
        axes=f"{volume.axes[:at]}C{volume.axes[at:-1]}",
        scale=(*volume.scale[:at], 1.0, *volume.scale[at:]),
        units=(*volume.units[:at], UNKNOWN, *volume.units[at:]),
        translate=(*volume.translate[:at], 0.0, *volume.translate[at:]) if volume.translate else (),
        channels=tuple(SAMPLES)[:samples],
        colors=tuple(SAMPLES.values())[:samples],
        windows=() if volume.data.dtype == bool else (dtype_range(volume.data.dtype, negative=False),) * samples,
    )


def _of_layer(layer: Any) -> FileVolume:
    array = layer.data[0] if layer.multiscale else layer.data
    if hasattr(array, "settled"):
        # A live preview may have been fitted only on a sample so far, but what Apply would give is saved.
        array = array.settled()
    axes = _axes_of(axis_names(layer), layer.name)
    facts = Facts(name=layer.name)
    sizes, places = _laid(layer)
    for axis, step, unit, place in zip(axes, sizes, layer.units, places, strict=True):
        name = unit_name(unit, TIME if axis == "T" else LENGTH)
        facts.size(axis, step, name, "layer")
        facts.place(axis, place)
    facts.notes = noted(layer.metadata.get(METADATA_KEY))
    if not layer.rgb:
        facts.windows = ((float(layer.contrast_limits[0]), float(layer.contrast_limits[1])),)
        facts.colors = (_color(layer),)
    return _with_facts(facts, array, axes + "S" * layer.rgb, layer.name)


def _check_channels(channels: tuple[str, ...], axes: str, shape: tuple[int, ...]) -> None:
    if channels and (shape[axes.index("C")] if "C" in axes else 1) != len(channels):
        raise ValueError(f"channels must have a name for each of axis c, got {given(channels)} for {axes} of {shape}.")


def _of_data_array(image: Any, path: Path, unit: str | None, channels: tuple[str, ...]) -> FileVolume:
    opened = OpenedDataArray(image)
    axes = _axes_of(opened.names, opened.name)
    _check_channels(channels, axes, image.shape)
    facts = opened.facts(axes)
    facts.channels = channels or facts.channels
    facts.units.update({axis: unit for axis in facts.sizes if unit and axis != "T"})
    return _with_facts(facts, held(image)[0], axes, stem(path))


def _with_facts(facts: Facts, array: Any, axes: str, name: str) -> FileVolume:
    """Return the volume of an array whose axes may be in any order."""
    letters, order = in_order(axes)
    if order != sorted(order):
        array = (array if isinstance(array, np.ndarray) else as_dask(array)).transpose(order)
    return facts.volume(array, letters, name)


def _laid(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the size of a layer's voxels and the place of the first one, and warn of what files cannot hold."""
    place = {name: getattr(layer, name) for name in ("scale", "rotate", "shear", "affine")}
    matrix = np.asarray(layer.affine)
    factors = matrix.diagonal()[:-1]
    sizes, places = layer.scale, layer.translate
    if np.array_equal(matrix[:-1, :-1], np.diag(factors)):
        # Such a transform only scales and moves, which are sizes and places too.
        sizes, places = factors * sizes, factors * places + matrix[:-1, -1]
        place |= {"scale": sizes, "affine": np.eye(len(matrix))}
    if wrong := turned(place):
        warn_user(
            f"Layer {layer.name!r} is {' and '.join(wrong)}, which a file cannot hold. It gets the voxels as they are, "
            "their size and the place of the first one. Set the rest again on the layer that is read, or resample the "
            "layer before it is saved; flip the data of a mirrored one and make its scale positive."
        )
    return sizes, places


def _axes_of(names: Sequence[str], name: str) -> str:
    """Return the axes of an image by their names, or else by their place, where an axis may be known as time."""
    letters, ndim = [axis_letter(each) for each in names], len(names)
    if all(letters) and len(set(letters)) == len(letters) and {"Y", "X"} <= set(letters):
        return "".join(letters)
    timed = [at for at, letter in enumerate(letters) if letter == "T"]
    if len(timed) == 1 and timed[0] < ndim - 2 and ndim <= 5:
        others = "CZYX"[1 - ndim :]
        return f"{others[: timed[0]]}T{others[timed[0] :]}"
    if ndim not in LETTERS:
        raise ValueError(f"{name!r} has {ndim} axes; files have 2 to 5 of the axes tczyx.")
    return LETTERS[ndim]


def _color(layer: Any) -> str:
    """Return the color of a colormap from black to it, or "" for other colormaps and for gray, the default."""
    colors = np.asarray(layer.colormap.colors)
    if len(colors) != 2 or colors[0, :3].any() or (colors[1] == 1).all():
        return ""
    return "#" + "".join(f"{round(255 * float(each)):02x}" for each in colors[1, :3])

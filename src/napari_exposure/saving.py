"""Results to disk, block by block: OME-Zarr with a pyramid, OME-TIFF, or ImageJ's TIFF, with voxel size."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import uuid
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from napari_exposure.core.blocks import (
    Steps,
    chunked_blocks,
    drain,
    is_dask,
    read_part,
    share,
    store_steps,
    stored_chunks,
    walk,
)
from napari_exposure.files import FileVolume
from napari_exposure.tiff import ANNOTATION
from napari_exposure.voxels import unit_name

__all__ = ["save", "write_tiff"]

# voxels of a chunk on disk, about: a few megabytes, many in a large volume
CHUNK_VOXELS = 1 << 21
# the coarsest level of a pyramid is no larger along any axis
COARSEST = 256
AXES = {2: "yx", 3: "zyx", 4: "tzyx", 5: "tczyx"}
IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
TIFF_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
LONG = {"nm": "nanometer", "um": "micrometer", "mm": "millimeter", "cm": "centimeter", "m": "meter", "inch": "inch"}


@dataclass(frozen=True, eq=False)
class Contents:
    """What is written: an array of the axes `axes` (letters of tczyxs), the size of its voxels, and notes.

    The axis s, which has no size, is colour: 3 or 4 samples.  Time is in seconds, where it is known.
    """

    array: object
    axes: str
    spacing: tuple[float, ...]
    unit: str | None
    name: str
    notes: dict | None = None
    timed: bool = False
    channels: tuple[str, ...] = ()


def save(result, path, *, spacing=None, unit=None, axes=None, overwrite=False, ome_version="0.5") -> Path:
    """Write a result to disk block by block; of dask arrays only what is being worked on is in memory.

    It is written under another name, which is changed at the end: whatever happens, `path` is all of it or
    not there.

    Parameters
    ----------
    result : napari.layers.Image or array-like
        A layer, which knows its voxel size; or a numpy, dask, zarr or h5py array with 2 to 5 axes.
    path : str or Path
        Ending in ``.zarr`` for OME-Zarr with a pyramid, or in ``.ome.tif`` for OME-TIFF.
    spacing : sequence of float, optional
        Size of a voxel along the last axes of an array.  Default: 1.
    unit : str, optional
        Of `spacing`, such as "um".
    axes : str, optional
        A letter of "tczyxs" for each axis of an array, in this order; s is colour, which is red, green, blue and
        perhaps alpha.  Default: the last ones of "tzyx"; with 5 axes "tczyx".  OME-Zarr has no such axis: there
        colours are channels.
    overwrite : bool
        Replace what is at `path`.
    ome_version : "0.5" or "0.4"
        Of OME-Zarr: 0.5 is zarr version 3, 0.4 version 2.

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
    steps = save_steps(
        result, path, spacing=spacing, unit=unit, axes=axes, overwrite=overwrite, ome_version=ome_version
    )
    return drain(steps)


def write_tiff(result, path, *, spacing=None, unit=None, axes=None, channels=(), imagej=False, overwrite=False) -> Path:
    """Write a volume as OME-TIFF, or as ImageJ's TIFF, block by block, with voxel size, axes and how it was made.

    Parameters
    ----------
    result, path, spacing, unit, axes, overwrite
        As `save` has them; `path` may end in ``.tif`` or ``.tiff``.
    channels : sequence of str
        Names along the axis c.
    imagej : bool
        Write the TIFF of ImageJ and Fiji, which holds uint8, uint16 and float32 up to 4 GB.  Colours other than
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
    options = {"spacing": spacing, "unit": unit, "axes": axes, "channels": channels}
    return drain(tiff_steps(result, path, **options, imagej=imagej, overwrite=overwrite))


def tiff_steps(result, path, *, imagej=False, overwrite=False, **options) -> Steps:
    """`write_tiff` as a generator that yields progress; closing it leaves nothing behind."""
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise ValueError(f"{path.name} must end in .tif or .tiff.")
    contents = _contents(result, path, **options)
    _check_tiff(contents, imagej)
    if imagej and contents.array.dtype != np.uint8:
        contents = _colours_as_channels(contents)
    return _steps_to(path, contents, partial(_tiff_steps, imagej=imagej), overwrite)


def write_layer(path: str, data, meta: dict) -> list[str]:
    """napari's File > Save: an image layer as OME-TIFF."""
    import napari.layers

    layer = napari.layers.Layer.create(data, meta, "image")
    return [str(write_tiff(layer, path, overwrite=True))]


def save_steps(result, path, *, spacing=None, unit=None, axes=None, overwrite=False, ome_version="0.5") -> Steps:
    """`save` as a generator that yields progress; closing it leaves nothing behind.

    What does not fit raises here, not when it runs.
    """
    path = Path(path)
    contents = _contents(result, path, spacing, unit, axes)
    name = path.name.lower()
    if name.endswith(".zarr"):
        _require_ome_version(ome_version)
        return _steps_to(path, _colours_as_channels(contents), partial(_zarr_steps, ome_version=ome_version), overwrite)
    if not name.endswith((".ome.tif", ".ome.tiff")):
        raise ValueError(f"{path.name} must end in .zarr (OME-Zarr) or .ome.tif (OME-TIFF).")
    _check_tiff(contents, imagej=False)
    return _steps_to(path, contents, partial(_tiff_steps, imagej=False), overwrite)


def _check_tiff(contents: Contents, imagej: bool) -> None:
    dtype = contents.array.dtype
    if dtype.name not in TIFF_DTYPES:
        raise TypeError(
            f"OME-TIFF has no {dtype}; save as .zarr, or convert it, such as with result.astype('float32')."
        )
    if imagej and dtype.name not in IMAGEJ_DTYPES:
        raise TypeError(
            f"ImageJ's TIFF has no {dtype}, only {', '.join(IMAGEJ_DTYPES)}. Write OME-TIFF (imagej=False), or convert "
            "it, such as with result.astype('float32')."
        )
    if imagej and math.prod(contents.array.shape) * dtype.itemsize >= 4 << 30:
        raise ValueError("ImageJ's TIFF holds less than 4 GB. Write OME-TIFF (imagej=False), which Fiji opens as well.")


def _steps_to(path: Path, contents: Contents, write, overwrite: bool) -> Steps:
    if is_dask(contents.array):
        from napari_exposure.core import lazy

        lazy.checked(contents.array)
    if 0 in contents.array.shape:
        raise ValueError(f"The array is empty: its shape is {tuple(contents.array.shape)}.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent}.")
    if path.exists() and not overwrite:
        raise _exists(path)
    return _written(path, contents, write, overwrite)


def _written(path: Path, contents: Contents, write, overwrite: bool) -> Steps:
    """Write under another name, and change that at the end."""
    unfinished, former = (path.with_name(f".{uuid.uuid4().hex[:8]}-{path.name}") for _ in range(2))
    try:
        yield from write(contents, unfinished)
        if path.exists() and not overwrite:
            raise _exists(path)
        if path.exists():
            path.rename(former)
        unfinished.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        needed = math.prod(contents.array.shape) * contents.array.dtype.itemsize
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            errno.ENOSPC,
            f"The disk is full: {path.name} holds {needed / 2**30:.1f} GB before compression, "
            f"{free / 2**30:.1f} GB are free. Nothing was kept",
            str(path),
        ) from error
    finally:
        remove(unfinished)
        remove(former)
    return path


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} exists. Choose another name, or overwrite=True.")


def remove(path: Path) -> None:
    """Delete a file, a folder or a link, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _require_ome_version(version) -> None:
    if version not in ("0.4", "0.5"):
        raise ValueError(f"ome_version must be '0.4' or '0.5', got {version!r}.")
    try:
        import ome_zarr.writer  # noqa: F401
    except ImportError:
        raise ImportError('Writing OME-Zarr needs ome-zarr: pip install "napari-exposure[zarr]".') from None


def _contents(result, path: Path, spacing=None, unit=None, axes=None, channels=()) -> Contents:
    if hasattr(result, "axis_labels") and hasattr(result, "metadata"):
        return _of_layer(result)
    if isinstance(result, Contents):
        return result
    array = result if hasattr(result, "shape") and hasattr(result, "dtype") else np.asarray(result)
    ndim = len(array.shape)
    axes = AXES.get(ndim) if axes is None else str(axes).lower()
    if axes is None or len(axes) != ndim or not _in_order(axes.removesuffix("s")):
        raise ValueError(
            f"axes must be {ndim} of the letters tczyx in this order, the last ones y and x, or y, x and s (colour), "
            f"got {axes!r}; shape {array.shape}."
        )
    if axes.endswith("s") and array.shape[-1] not in (3, 4):
        raise ValueError(f"The axis s (colour) must have 3 or 4 samples, got {axes!r}; shape {array.shape}.")
    sized = len(axes.removesuffix("s"))
    spacing = () if spacing is None else tuple(map(float, spacing))
    spacing = (1.0,) * (sized - len(spacing)) + spacing
    if len(spacing) != sized or not all(0 < size < math.inf for size in spacing):
        raise ValueError(f"spacing must be up to {sized} positive numbers, got {spacing}.")
    known = None if unit is None else unit_name(unit)
    if unit is not None and known is None:
        raise ValueError(f"unit must be one of {', '.join(LONG)}, got {unit!r}.")
    channels = tuple(map(str, channels))
    if channels and (array.shape[axes.index("c")] if "c" in axes else 1) != len(channels):
        raise ValueError(f"channels must have a name for each of axis c, got {channels} for {axes} of {array.shape}.")
    return Contents(array, axes, spacing, known, path.name.split(".")[0], channels=channels)


def contents_of(array, volume: FileVolume, notes: dict) -> Contents:
    """An array made of a volume in a file, placed and named like it."""
    timed = "s" in volume.units
    return Contents(array, volume.axes.lower(), volume.scale, volume.unit, volume.name, notes, timed, volume.channels)


def _colours_as_channels(contents: Contents) -> Contents:
    """The same for files that have no colour: its samples along the axis c."""
    if not contents.axes.endswith("s"):
        return contents
    if "c" in contents.axes:
        raise ValueError(f"{contents.name!r} has colours and channels; save it as OME-TIFF, or its channels apart.")
    import dask.array as da

    from napari_exposure.core.lazy import as_dask

    at = contents.axes.find("t") + 1
    array = da.moveaxis(as_dask(contents.array), -1, at)
    axes = f"{contents.axes[:at]}c{contents.axes[at:-1]}"
    spacing = (*contents.spacing[:at], 1.0, *contents.spacing[at:])
    return replace(contents, array=array, axes=axes, spacing=spacing, channels=())


def _in_order(axes: str) -> bool:
    return axes.endswith("yx") and axes == "".join(each for each in "tczyx" if each in axes)


def _of_layer(layer) -> Contents:
    from napari_exposure.voxels import voxel_size

    record = layer.metadata.get("napari_exposure")
    if isinstance(record, dict) and record.get("preview"):
        raise TypeError(f"{layer.name!r} is a live preview, which is not saved. Press Apply, and save the result.")
    array = layer.data[0] if layer.multiscale else layer.data
    labels = "".join(str(label).lower()[:1] for label in layer.axis_labels)
    axes = labels if len(labels) == layer.ndim and _in_order(labels) else AXES.get(layer.ndim)
    if axes is None:
        raise ValueError(f"{layer.name!r} has {layer.ndim} axes; files have 2 to 5 of the axes tczyx.")
    # an axis of another kind, such as time, keeps its number
    spacing = [
        float(abs(step)) if math.isnan(size) else size
        for size, step in zip(voxel_size(layer)[0], layer.scale, strict=True)
    ]
    timed = axes[0] == "t" and layer.units[0].is_compatible_with("s")
    if timed:
        spacing[0] = float((spacing[0] * layer.units[0]).to("s").magnitude)
    if layer.rgb:
        axes += "s"
    unit = unit_name(str(layer.units[-1]))
    return Contents(
        array, axes, tuple(spacing), unit, layer.name, timed=timed, notes=record if isinstance(record, dict) else None
    )


# --- OME-Zarr ---


def _zarr_steps(contents: Contents, path: Path, ome_version: str) -> Steps:
    import zarr
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_multiscales_metadata

    fmt = FormatV05() if ome_version == "0.5" else FormatV04()
    group = zarr.open_group(path, mode="w-", zarr_format=fmt.zarr_format)
    array, chunks = _regular(contents.array, contents.axes)
    shapes, factors = _pyramid(tuple(array.shape), contents.axes, contents.spacing)
    datasets, done, total = [], 0.0, sum(map(math.prod, shapes))
    previous = array
    for number, (shape, factor) in enumerate(zip(shapes, factors, strict=True)):
        target = group.create_array(
            str(number),
            shape=shape,
            chunks=tuple(min(c, n) for c, n in zip(chunks, shape, strict=True)),
            dtype=np.dtype(array.dtype).newbyteorder("="),
            chunk_key_encoding={"name": "default" if ome_version == "0.5" else "v2", "separator": "/"},
            **({"dimension_names": list(contents.axes)} if ome_version == "0.5" else {}),
        )
        steps = store_steps(array, target, "writing") if number == 0 else _coarser_steps(previous, target)
        part = math.prod(shape) / total
        yield from share(steps, done, done + part)
        done, previous = done + part, target
        scale = [size * f for size, f in zip(contents.spacing, factor, strict=True)]
        # its voxels lie in the middle of those that they are the mean of
        shift = [size * (f - 1) / 2 for size, f in zip(contents.spacing, factor, strict=True)]
        placed = [{"type": "scale", "scale": scale}]
        if any(shift):
            placed.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(number), "coordinateTransformations": placed})
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} for axis in contents.axes]
    for axis in axes:
        if axis["type"] == "space" and contents.unit is not None:
            axis["unit"] = LONG[contents.unit]
    write_multiscales_metadata(group, datasets, fmt=fmt, axes=axes, name=contents.name)
    if contents.notes is not None:
        group.attrs["napari_exposure"] = contents.notes


def _regular(array, axes: str):
    """The array, a dask array in chunks of one size, and chunks for the disk that each lie within one of those."""
    if is_dask(array):
        sizes = [max(each) for each in array.chunks]
        regular = all(set(each[:-1]) <= {size} for each, size in zip(array.chunks, sizes, strict=True))
        array = array if regular else array.rechunk(tuple(sizes))
    else:
        space = 128 if "z" in axes else 1024
        sizes = stored_chunks(array) or [space if axis in "zyx" else 1 for axis in axes]
    sizes = [min(size, n) for size, n in zip(sizes, array.shape, strict=True)]
    single = [size == n for size, n in zip(sizes, array.shape, strict=True)]
    while math.prod(sizes) > CHUNK_VOXELS:
        for axis in sorted(range(len(sizes)), key=lambda axis: -sizes[axis]):
            # an axis of one chunk may be cut anywhere
            parts = 2 if single[axis] else next((d for d in (2, 3, 5, 7) if sizes[axis] % d == 0), 1)
            if sizes[axis] > 1 < parts:
                sizes[axis] = -(-sizes[axis] // parts)
                break
        else:
            break
    return array, tuple(sizes)


def _pyramid(shape, axes, spacing) -> tuple[list, list]:
    """Shapes of all levels, and how many voxels of the first each of theirs spans."""
    shapes, factors = [shape], [(1,) * len(shape)]
    space = [number for number, axis in enumerate(axes) if axis in "zyx"]
    while max(shapes[-1][axis] for axis in space) > COARSEST:
        sizes = [size * factor for size, factor in zip(spacing, factors[-1], strict=True)]
        finest = min(sizes[axis] for axis in space if shapes[-1][axis] > 1)
        # axes of larger voxels wait until the others have caught up
        halved = [axis in space and shapes[-1][axis] > 1 and sizes[axis] < 2 * finest for axis in range(len(shape))]
        shapes.append(tuple(-(-n // 2) if half else n for n, half in zip(shapes[-1], halved, strict=True)))
        factors.append(tuple(f * 2 if half else f for f, half in zip(factors[-1], halved, strict=True)))
    return shapes, factors


def _coarser_steps(fine, coarse) -> Steps:
    """Write means of neighbouring voxels, two along each axis that is shorter in `coarse`."""
    factors = [2 if n < m else 1 for n, m in zip(coarse.shape, fine.shape, strict=True)]

    def work(block):
        region = tuple(slice(part.start * f, part.stop * f) for part, f in zip(block, factors, strict=True))
        coarse[block] = halved(read_part(fine, region), factors)

    blocks = chunked_blocks(tuple(coarse.shape), tuple(coarse.chunks), CHUNK_VOXELS // math.prod(factors))
    yield from walk(blocks, work, lambda _: None, "writing coarser levels")


def halved(values: np.ndarray, factors) -> np.ndarray:
    """Means over `factors` (1 or 2) voxels along each axis; of an odd length the last voxel alone."""
    sums = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    for axis, factor in enumerate(factors):
        if factor == 2:
            if sums.shape[axis] % 2:
                sums = np.concatenate([sums, np.take(sums, [-1], axis)], axis)
            even = (slice(None),) * axis
            sums = sums[(*even, slice(0, None, 2))] / 2 + sums[(*even, slice(1, None, 2))] / 2
    return (np.rint(sums) if values.dtype.kind in "iu" else sums).astype(values.dtype)


# --- OME-TIFF ---


def _tiff_steps(contents: Contents, path: Path, imagej: bool) -> Steps:
    import tifffile

    array = contents.array
    needed, free = math.prod(array.shape) * array.dtype.itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, "too large", str(path))
    colours = contents.axes.endswith("s")
    sizes = dict(zip(contents.axes.removesuffix("s"), contents.spacing, strict=True))
    order = sorted(range(len(contents.axes)), key=lambda axis: "tzcyxs".find(contents.axes[axis])) if imagej else None
    order = order or list(range(len(contents.axes)))
    options = _imagej_options(contents, sizes) if imagej else {"ome": True, "metadata": _ome_metadata(contents, sizes)}
    options["metadata"]["axes"] = "".join(contents.axes[axis] for axis in order).upper()
    written = tifffile.memmap(
        path,
        shape=tuple(array.shape[axis] for axis in order),
        dtype=np.dtype(array.dtype).newbyteorder(">" if imagej else "="),
        photometric="rgb" if colours else "minisblack",
        planarconfig="contig" if colours else None,
        extrasamples=("unassalpha",) if colours and array.shape[-1] == 4 else None,
        **options,
    )
    if hasattr(os, "posix_fallocate"):
        # a disk that fills up later would be a bus error
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    yield from store_steps(array, written.transpose(np.argsort(order)), "writing")
    written.flush()


def _ome_metadata(contents: Contents, sizes: dict) -> dict:
    metadata = {"Name": contents.name}
    if contents.unit is not None or set(contents.spacing) != {1.0}:
        symbol = {"um": "µm", "inch": "in", None: "pixel"}.get(contents.unit, contents.unit)
        for axis in "zyx":
            if axis in sizes:
                metadata |= {f"PhysicalSize{axis.upper()}": sizes[axis], f"PhysicalSize{axis.upper()}Unit": symbol}
    if contents.timed:
        metadata |= {"TimeIncrement": sizes["t"], "TimeIncrementUnit": "s"}
    if contents.channels:
        metadata["Channel"] = {"Name": list(contents.channels)}
    if contents.notes is not None:
        metadata["CommentAnnotation"] = {"Namespace": ANNOTATION, "Value": json.dumps(contents.notes)}
    return metadata


def _imagej_options(contents: Contents, sizes: dict) -> dict:
    metadata = {}
    if contents.unit is not None:
        metadata["unit"] = contents.unit
    if "z" in sizes:
        metadata["spacing"] = sizes["z"]
    if contents.timed:
        metadata["finterval"] = sizes["t"]
    if contents.notes is not None:
        metadata["Info"] = json.dumps(contents.notes)
    return {"imagej": True, "resolution": (1 / sizes["x"], 1 / sizes["y"]), "metadata": metadata}

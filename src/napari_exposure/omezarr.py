"""OME-Zarr volumes with their voxel size: read, and written block by block with a pyramid."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import (
    chunked_blocks,
    is_dask,
    read_part,
    store,
    stored_chunks,
    walk,
)
from napari_exposure.core.replacing import is_zarr
from napari_exposure.files import DamagedFile, FileVolume
from napari_exposure.voxels import LONG, SECONDS, converted, unit_name

__all__ = ["read_zarr"]

# voxels of a chunk on disk, about: a few megabytes, many in a large volume
CHUNK_VOXELS = 1 << 21
# the coarsest level of a pyramid is no larger along any axis
COARSEST = 256


def read_zarr(path) -> FileVolume:
    """Open the finest level of an OME-Zarr image, or a bare zarr array, as a dask array.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    FileVolume

    Raises
    ------
    FileNotFoundError
        If there is no such store.
    ValueError
        If it holds no image, or its axes are others than T, C, Z, Y, X.
    """
    path = Path(path)
    if not is_zarr(path):
        raise FileNotFoundError(f"There is no zarr store {path}.")
    import dask.array as da
    import zarr

    name = path.name.split(".")[0]
    try:
        found = zarr.open(path, mode="r")
        if isinstance(found, zarr.Array):
            data = da.from_zarr(found)
            axes = "TCZYX"[-data.ndim :] if data.ndim != 4 else "TZYX"
            return FileVolume.of(data, axes, (1.0,) * data.ndim, None, name=name)
        attributes = found.attrs.asdict()
        image = attributes.get("ome", attributes).get("multiscales", [None])[0]
        if image is None:
            raise ValueError("it has no multiscales metadata")
        level = image["datasets"][0]
        data = da.from_zarr(found[level["path"]])
        # before 0.4 axes were names, before 0.3 there were none
        named = [
            axis if isinstance(axis, dict) else {"name": axis} for axis in image.get("axes", "tczyx"[-data.ndim :])
        ]
        placed = [*level.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, FileNotFoundError) as error:
        raise DamagedFile(f"{path.name} cannot be read as OME-Zarr: {type(error).__name__}: {error}") from error
    scale = [1.0] * data.ndim
    for step in placed:
        if step.get("type") == "scale":
            scale = [size * float(factor) for size, factor in zip(scale, step["scale"], strict=True)]
    axes = "".join(axis["name"] for axis in named).upper()
    if len(axes) != data.ndim or axes != "".join(axis for axis in "TCZYX" if axis in axes) or axes[-2:] != "YX":
        raise ValueError(f"{path.name} has the axes {axes or 'unknown'}; only T, C, Z, Y, X in this order can be read.")
    units = [unit_name(axis.get("unit", "")) for axis in named]
    unit = units[-1]
    timed = False
    for at, axis in enumerate(axes):
        seconds = SECONDS.get(str(named[at].get("unit")).lower())
        if axis in "ZYX" and units[at] not in (None, unit) and unit is not None:
            scale[at] = converted(scale[at], units[at], unit)
        if axis == "T" and seconds is not None:
            timed, scale[at] = True, scale[at] * seconds
    notes = attributes.get("napari_exposure")
    return FileVolume.of(
        data,
        axes,
        scale,
        unit,
        timed=timed,
        name=str(image.get("name") or name),
        notes=notes if isinstance(notes, dict) else {},
        came_from=dict.fromkeys(axes, "OME-Zarr scale") if placed else {},
    )


# --- written ---


def check_ome_version(version) -> None:
    """Raise if such an OME-Zarr cannot be written."""
    if version not in ("0.4", "0.5"):
        raise ValueError(f"ome_version must be '0.4' or '0.5', got {version!r}.")
    try:
        import ome_zarr.writer  # noqa: F401
    except ImportError:
        raise ImportError('Writing OME-Zarr needs ome-zarr: pip install "napari-exposure[zarr]".') from None


def write_zarr(volume: FileVolume, path: Path, ome_version: str) -> None:
    """Write a volume without colours as OME-Zarr with a pyramid."""
    try:
        _write_levels(volume, path, ome_version)
    except BaseException:
        from zarr.core.sync import sync

        # Nothing may appear in the folder after this has failed, because it is removed then.
        sync(_settled())
        raise


async def _settled() -> None:
    """Wait for what zarr is writing: where one chunk of a block fails, it goes on with the others in its own loop."""
    # Two threads that wait here do not wait for each other.
    asyncio.current_task().set_name(__name__)
    others = [task for task in asyncio.all_tasks() if task.get_name() != __name__]
    if others:
        await asyncio.wait(others)


def _write_levels(volume: FileVolume, path: Path, ome_version: str) -> None:
    import zarr
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_multiscales_metadata

    fmt = FormatV05() if ome_version == "0.5" else FormatV04()
    group = zarr.open_group(path, mode="w-", zarr_format=fmt.zarr_format)
    letters = volume.axes.lower()
    array, chunks = _regular(volume.data, letters)
    shapes, factors = _pyramid(tuple(array.shape), letters, volume.scale)
    datasets, done, total = [], 0.0, sum(map(math.prod, shapes))
    previous = array
    for number, (shape, factor) in enumerate(zip(shapes, factors, strict=True)):
        target = group.create_array(
            str(number),
            shape=shape,
            chunks=tuple(min(c, n) for c, n in zip(chunks, shape, strict=True)),
            dtype=np.dtype(array.dtype).newbyteorder("="),
            chunk_key_encoding={"name": "default" if ome_version == "0.5" else "v2", "separator": "/"},
            **({"dimension_names": list(letters)} if ome_version == "0.5" else {}),
        )
        part = math.prod(shape) / total
        with progress.part(done, done + part):
            store(array, target, "writing") if number == 0 else _write_coarser(previous, target)
        done, previous = done + part, target
        scale = [size * f for size, f in zip(volume.scale, factor, strict=True)]
        # its voxels lie in the middle of those that they are the mean of
        shift = [size * (f - 1) / 2 for size, f in zip(volume.scale, factor, strict=True)]
        placed = [{"type": "scale", "scale": scale}]
        if any(shift):
            placed.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(number), "coordinateTransformations": placed})
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} for axis in letters]
    for axis in axes:
        if axis["type"] == "space" and volume.unit is not None:
            axis["unit"] = LONG[volume.unit]
        if axis["type"] == "time" and volume.timed:
            axis["unit"] = "second"
    write_multiscales_metadata(group, datasets, fmt=fmt, axes=axes, name=volume.name)
    if volume.notes:
        group.attrs["napari_exposure"] = volume.notes


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


def _write_coarser(fine, coarse) -> None:
    """Write means of neighbouring voxels, two along each axis that is shorter in `coarse`."""
    factors = [2 if n < m else 1 for n, m in zip(coarse.shape, fine.shape, strict=True)]

    def work(block):
        region = tuple(slice(part.start * f, part.stop * f) for part, f in zip(block, factors, strict=True))
        coarse[block] = halved(read_part(fine, region), factors)

    blocks = chunked_blocks(tuple(coarse.shape), tuple(coarse.chunks), CHUNK_VOXELS // math.prod(factors))
    walk(blocks, work, lambda _: None, "writing coarser levels")


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

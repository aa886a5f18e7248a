"""OME-Zarr volumes with their voxel size."""

from __future__ import annotations

from pathlib import Path

from napari_exposure.files import FileVolume
from napari_exposure.voxels import SECONDS, converted, unit_name

__all__ = ["is_zarr", "read_zarr"]


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return path.is_dir() and any((path / name).is_file() for name in ("zarr.json", ".zgroup", ".zarray"))


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
            return FileVolume(data, axes, (1.0,) * data.ndim, None, ("pixel",) * data.ndim, name)
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
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path.name} cannot be read as OME-Zarr: {type(error).__name__}: {error}") from error
    scale = [1.0] * data.ndim
    for step in placed:
        if step.get("type") == "scale":
            scale = [size * float(factor) for size, factor in zip(scale, step["scale"], strict=True)]
    axes = "".join(axis["name"] for axis in named).upper()
    if len(axes) != data.ndim or axes != "".join(axis for axis in "TCZYX" if axis in axes) or axes[-2:] != "YX":
        raise ValueError(f"{path.name} has the axes {axes or 'unknown'}; only T, C, Z, Y, X in this order can be read.")
    units = [unit_name(axis.get("unit", "")) for axis in named]
    unit = units[-1]
    said = []
    for at, axis in enumerate(axes):
        seconds = SECONDS.get(str(named[at].get("unit")).lower())
        if axis in "ZYX" and units[at] not in (None, unit) and unit is not None:
            scale[at] = converted(scale[at], units[at], unit)
        if axis == "T" and seconds is not None:
            scale[at] *= seconds
        said.append("s" if axis == "T" and seconds is not None else unit if axis in "ZYX" and unit else "pixel")
    notes = attributes.get("napari_exposure")
    return FileVolume(
        data,
        axes,
        tuple(scale),
        unit,
        tuple(said),
        str(image.get("name") or name),
        notes=notes if isinstance(notes, dict) else {},
        came_from=dict.fromkeys(axes, "OME-Zarr scale") if placed else {},
    )

"""OME-Zarr volumes with their voxel size: read, and written block by block with a pyramid."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.axes import axis_letter
from napari_exposure.core.blocks import (
    Block,
    chunked_blocks,
    is_dask,
    read_part,
    store,
    stored_chunks,
    walk,
)
from napari_exposure.core.intensity import as_path
from napari_exposure.core.replacing import is_zarr
from napari_exposure.core.typing import Array
from napari_exposure.core.words import given
from napari_exposure.io.files import (
    UNKNOWN,
    DamagedFile,
    Facts,
    FileVolume,
    Refused,
    check_axes,
    chosen,
    given_axes,
    guessed_axes,
    in_order,
    stem,
)
from napari_exposure.io.units import long_name

if TYPE_CHECKING:
    import dask.array as da

    from napari_exposure.io.zarrstore import CarefulStore

__all__ = ["read_zarr"]

# voxels of a chunk on disk, about: a few megabytes, many in a large volume
CHUNK_VOXELS = 1 << 21
# the coarsest level of a pyramid is no larger along any axis
COARSEST = 256
Value = TypeVar("Value")


def read_zarr(path: str | PathLike[str], *, axes: str | None = None, series: int | None = None) -> FileVolume:
    """Open the finest level of an OME-Zarr image, or a bare zarr array, as a dask array.

    Parameters
    ----------
    path : str or pathlib.Path
        Of an image, of what bioformats2raw writes, of a plate, or of one of its wells.
    axes : str, optional
        A letter of "tczyx" for each axis of the array, where the store does not say or says something else.
    series : int, optional
        Which image, in a store of several.  Default: the first; `FileVolume.images` lists them.

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
    path = as_path(path)
    if not is_zarr(path):
        raise FileNotFoundError(f"There is no zarr store {path}.")
    import zarr

    from napari_exposure.io.zarrstore import CarefulStore

    facts, number = Facts(), 0
    images: list[str] = []
    steps: list[dict[str, Any]] = []
    named: list[dict[str, Any]] | None
    array: Any
    try:
        store = CarefulStore(path)
        found = zarr.open(store, mode="r")
        if isinstance(found, zarr.Array):
            array = found
            said = getattr(found.metadata, "dimension_names", None)
            named = None if said is None else [{"name": each or ""} for each in said]
        else:
            places = _images(found)
            images = [f"image {each}" if each else "image" for each, _ in places]
            number = chosen(path.name, images, series)
            place, at = places[number]
            group = found[place] if place else found
            ome = _ome(group)
            image = ome["multiscales"][at]
            level = image["datasets"][0]
            array = group[level["path"]]
            # Before 0.4 axes were names, before 0.3 there were none, and from 0.6 on they are those of a system.
            named = [
                axis if isinstance(axis, dict) else {"name": axis}
                for axis in image.get("axes") or _system(image, level) or "tczyx"[-array.ndim :]
            ]
            steps = [*level.get("coordinateTransformations", ())]
            if "coordinateSystems" not in image:
                # From 0.6 on those of the image lead on to other systems, with axes and units of their own.
                steps += image.get("coordinateTransformations", ())
            # What cannot be understood has not been said.
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                _note(facts, group.attrs.asdict(), ome, image)
        data = _lazy(path.name, store, array)
        letters, guessed = _letters(path.name, data.shape, named, axes)
        if images:
            units = [axis.get("unit") for axis in named or ()]
            _place(facts, letters, units, _flat(steps))
    except Refused:
        raise
    except DamagedFile:
        raise
    except Exception as error:
        # Metadata that are wrong raise whatever the place that is wrong leads to.
        raise DamagedFile(f"{path.name} cannot be read as OME-Zarr: {type(error).__name__}: {error}") from error
    check_axes(path.name, letters)
    letters, order = in_order(letters)
    return facts.volume(
        data.transpose(order),
        letters,
        stem(path),
        guessed=guessed,
        images=tuple(images) if len(images) > 1 else (),
        series=number,
    )


def _lazy(name: str, store: CarefulStore, array: Any) -> da.Array:
    """A zarr array as a dask array, or an error that says why it can be none."""
    import dask.array as da

    from napari_exposure.io.zarrstore import check_array

    check_array(name, array)
    store.expect(array)
    found: da.Array = da.from_zarr(array)
    return found


def _ome(group: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = group.attrs.asdict()
    ome: dict[str, Any] = attributes.get("ome", attributes)
    return ome


def _images(group: Any, path: str = "") -> list[tuple[str, int]]:
    """The images in a group: the path of each and which of its multiscales it is; wells and series in their order."""
    ome, before = _ome(group), f"{path}/" if path else ""
    if "multiscales" in ome:
        return [(path, at) for at in range(len(ome["multiscales"]))]
    if "plate" in ome:
        wells = [str(well["path"]) for well in ome["plate"]["wells"]]
        return [image for well in wells for image in _images(group[well], f"{before}{well}")]
    if "well" in ome:
        return [(f"{before}{image['path']}", 0) for image in ome["well"]["images"]]
    listed = _ome(group["OME"]).get("series") if "OME" in group else None
    # bioformats2raw numbers its images where it does not list them, and fields of a well are numbered.
    numbered = sorted((each for each in group.group_keys() if each.isdigit()), key=int)
    found = [(f"{before}{each}", 0) for each in listed or numbered]
    if not found:
        raise ValueError("it has no multiscales metadata, and no groups of images")
    return found


def _system(image: dict[str, Any], level: dict[str, Any]) -> list[Any] | None:
    """The axes that the voxels of a level are placed in."""
    systems = {each.get("name"): each["axes"] for each in image.get("coordinateSystems", ())}
    outputs = [step.get("output") for step in level.get("coordinateTransformations", ())]
    names = [each.get("name") if isinstance(each, dict) else each for each in outputs]
    return next((systems[each] for each in names if each in systems), next(iter(systems.values()), None))


def _letters(
    name: str, shape: tuple[int, ...], named: list[dict[str, Any]] | None, axes: str | None
) -> tuple[str, str]:
    """The axes of an array, and which of them are guesses."""
    if axes is not None:
        return given_axes(name, shape, axes), ""
    if named is None or not any(each.get("name") for each in named):
        return guessed_axes(name, shape)
    if len(named) != len(shape):
        raise Refused(f"{name} names {len(named)} axes, but its array has {len(shape)}. Say which they are: axes=.")
    return "".join(map(_letter, named)), ""


def _letter(axis: dict[str, Any]) -> str:
    """The letter of an axis by its name, or its type."""
    return axis_letter(axis.get("name")) or {"time": "T", "channel": "C"}.get(str(axis.get("type")), "?")


def _flat(steps: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Transformations one after the other, without the sequences that hold them."""
    found: list[dict[str, Any]] = []
    for step in steps:
        found += _flat(step["transformations"]) if step.get("type") == "sequence" else [step]
    return found


def _place(facts: Facts, axes: str, units: list[str | None], steps: list[dict[str, Any]]) -> None:
    """Note how large voxels are and where the first lies."""
    scale, shift, sized = [1.0] * len(axes), [0.0] * len(axes), False
    for step in steps:
        kind = step.get("type")
        if kind == "scale":
            factors, more = [float(factor) for factor in step["scale"]], [0.0] * len(axes)
        elif kind == "translation":
            factors, more = [1.0] * len(axes), [float(place) for place in step["translation"]]
        elif kind == "affine":
            rows = np.asarray(step["affine"], float)[: len(axes)]
            factors, more = np.diagonal(rows).tolist(), rows[:, -1].tolist()
            if rows.shape != (len(axes), len(axes) + 1) or (rows[:, :-1] != np.diag(factors)).any():
                # Voxels that are turned or sheared have no size along an axis of space.
                return
        elif kind == "identity":
            continue
        else:
            # What cannot be understood may change sizes, so these are not known.
            return
        sized |= kind != "translation"
        scale = [size * factor for size, factor in zip(scale, factors, strict=True)]
        places = zip(shift, factors, more, strict=True)
        shift = [place * factor + by for place, factor, by in places]
    for axis, unit, size, place in zip(axes, units, scale, shift, strict=True):
        if sized:
            facts.size(axis, size, unit, "OME-Zarr scale")
        if place:
            facts.place(axis, place)


def _note(facts: Facts, attributes: dict[str, Any], ome: dict[str, Any], image: dict[str, Any]) -> None:
    """Note names, how channels are shown, and how the image was made."""
    notes = attributes.get("napari_exposure")
    facts.notes = notes if isinstance(notes, dict) else {}
    facts.name = str(image.get("name") or "")
    shown = (ome.get("omero") or attributes.get("omero") or {}).get("channels", ())
    facts.channels = tuple(str(each.get("label") or "") for each in shown)
    facts.colors = tuple(_color(str(each.get("color") or "")) for each in shown)
    facts.windows = tuple(_window(each.get("window") or {}) for each in shown)


def _color(text: str) -> str:
    """A color of six hexadecimal digits, perhaps with its opacity; else ""."""
    found = re.fullmatch("#?([0-9a-fA-F]{6})([0-9a-fA-F]{2})?", text)
    return f"#{found[1].lower()}" if found else ""


def _window(window: dict[str, Any]) -> tuple[float, float] | None:
    low, high = window.get("start"), window.get("end")
    return None if low is None or high is None or not low < high else (float(low), float(high))


# --- written ---


def check_ome_version(version: object) -> None:
    """Raise if such an OME-Zarr cannot be written."""
    if version not in ("0.4", "0.5"):
        raise ValueError(f"ome_version must be '0.4' or '0.5', got {given(version)}.")
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
    own = asyncio.current_task()
    assert own is not None, "This runs in a loop."
    own.set_name(__name__)
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
            dimension_names=list(letters) if ome_version == "0.5" else None,
        )
        part = math.prod(shape) / total
        with progress.part(done, done + part):
            store(array, target, "writing") if number == 0 else _write_coarser(previous, target)
        done, previous = done + part, target
        scale = [size * f for size, f in zip(volume.scale, factor, strict=True)]
        # its voxels lie in the middle of those that they are the mean of
        shift = [
            place + size * (f - 1) / 2
            for place, size, f in zip(volume.translate or [0.0] * len(scale), volume.scale, factor, strict=True)
        ]
        placed = [{"type": "scale", "scale": scale}]
        if any(shift):
            placed.append({"type": "translation", "translation": shift})
        datasets.append({"path": str(number), "coordinateTransformations": placed})
    kinds = {"t": "time", "c": "channel"}
    axes = [{"name": axis, "type": kinds.get(axis, "space")} for axis in letters]
    for axis, unit in zip(axes, volume.units, strict=True):
        if unit != UNKNOWN:
            axis["unit"] = long_name(unit)
    write_multiscales_metadata(group, datasets, fmt=fmt, axes=axes, name=volume.name)
    if channels := _omero(volume):
        shown: dict[str, Any] = {"omero": {"channels": channels}}
        group.attrs.update({"ome": {**_ome(group), **shown}} if ome_version == "0.5" else shown)
    if volume.notes:
        group.attrs["napari_exposure"] = volume.notes


def _omero(volume: FileVolume) -> list[dict[str, Any]]:
    """How channels are called and shown, as far as it is known."""
    found = []
    for number in range(max(map(len, (volume.channels, volume.colors, volume.windows)))):
        channel: dict[str, Any] = {"active": True}
        if name := _at(volume.channels, number):
            channel["label"] = name
        if color := _at(volume.colors, number):
            channel["color"] = color.lstrip("#").upper()
        if window := _at(volume.windows, number):
            low, high = window
            kind = volume.data.dtype.kind
            least, most = (np.iinfo(volume.data.dtype).min, np.iinfo(volume.data.dtype).max) if kind in "iu" else window
            channel["window"] = {"start": low, "end": high, "min": min(low, least), "max": max(high, most)}
        found.append(channel)
    return found


def _at(values: Sequence[Value], number: int) -> Value | None:
    return values[number] if number < len(values) else None


def _regular(array: Array, axes: str) -> tuple[Array, tuple[int, ...]]:
    """The array, a dask array in chunks of one size, and chunks for the disk that each lie within one of those."""
    if is_dask(array):
        sizes = [max(each) for each in array.chunks]
        regular = all(set(each[:-1]) <= {size} for each, size in zip(array.chunks, sizes, strict=True))
        array = array if regular else array.rechunk(tuple(sizes))
    else:
        space = 128 if "z" in axes else 1024
        sizes = list(stored_chunks(array) or [space if axis in "zyx" else 1 for axis in axes])
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


def _pyramid(
    shape: tuple[int, ...], axes: str, spacing: Sequence[float]
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of all levels, and how many voxels of the first each of theirs spans."""
    shapes = [shape]
    factors: list[tuple[int, ...]] = [(1,) * len(shape)]
    space = [number for number, axis in enumerate(axes) if axis in "zyx"]
    while max(shapes[-1][axis] for axis in space) > COARSEST:
        sizes = [size * factor for size, factor in zip(spacing, factors[-1], strict=True)]
        finest = min(sizes[axis] for axis in space if shapes[-1][axis] > 1)
        # axes of larger voxels wait until the others have caught up
        halved = [axis in space and shapes[-1][axis] > 1 and sizes[axis] < 2 * finest for axis in range(len(shape))]
        shapes.append(tuple(-(-n // 2) if half else n for n, half in zip(shapes[-1], halved, strict=True)))
        factors.append(tuple(f * 2 if half else f for f, half in zip(factors[-1], halved, strict=True)))
    return shapes, factors


def _write_coarser(fine: Array, coarse: Any) -> None:
    """Write means of neighbouring voxels, two along each axis that is shorter in `coarse`."""
    factors = [2 if n < m else 1 for n, m in zip(coarse.shape, fine.shape, strict=True)]

    def work(block: Block) -> None:
        region = tuple(slice(part.start * f, part.stop * f) for part, f in zip(block, factors, strict=True))
        coarse[block] = halved(read_part(fine, region), factors)

    blocks = chunked_blocks(tuple(coarse.shape), tuple(coarse.chunks), CHUNK_VOXELS // math.prod(factors))
    walk(blocks, work, lambda _: None, "writing coarser levels")


def halved(values: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Means over `factors` (1 or 2) voxels along each axis; of an odd length the last voxel alone."""
    sums: np.ndarray = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    for axis, factor in enumerate(factors):
        if factor == 2:
            if sums.shape[axis] % 2:
                sums = np.concatenate([sums, np.take(sums, [-1], axis)], axis)
            even = (slice(None),) * axis
            sums = sums[(*even, slice(0, None, 2))] / 2 + sums[(*even, slice(1, None, 2))] / 2
    return (np.rint(sums) if values.dtype.kind in "iu" else sums).astype(values.dtype)

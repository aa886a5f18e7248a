"""Reads OME-Zarr volumes with their voxel size, and writes them block by block with a pyramid."""

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
    chosen,
    given_axes,
    guessed_axes,
)
from napari_exposure.io.units import long_name

if TYPE_CHECKING:
    import dask.array as da

    from napari_exposure.io.zarrstore import CarefulStore

# A chunk on disk has at most about so many voxels, which are a few megabytes.
CHUNK_VOXELS = 1 << 21
# The coarsest level of a pyramid has at most so many voxels along any axis.
COARSEST = 256
# Channels without colors get these, as in napari: a single one, two, or more of them.
WHITE = "#ffffff"
TWO = ("#ff00ff", "#00ff00")
MORE = ("#00ffff", "#ffff00", "#ff00ff", "#ff0000", "#00ff00", "#0000ff")
Value = TypeVar("Value")


def read_zarr(path: str | PathLike[str], *, axes: str | None = None, series: int | None = None) -> FileVolume:
    """Open the finest level of an OME-Zarr image, or a bare zarr array, as a dask array.

    Parameters
    ----------
    path : str or pathlib.Path
        The path of an image, of a result of bioformats2raw, of a plate, or of one of its wells.
    axes, series
        As `read` has them.

    Returns
    -------
    FileVolume

    Raises
    ------
    FileNotFoundError
        If there is no such store.
    ValueError
        If it holds no image, or has other axes than T, C, Z, Y, X.
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
            # Axes were only names before 0.4, did not exist before 0.3, and belong to a coordinate system from 0.6 on.
            named = [
                axis if isinstance(axis, dict) else {"name": axis}
                for axis in image.get("axes") or _system(image, level) or "tczyx"[-array.ndim :]
            ]
            steps = [*level.get("coordinateTransformations", ())]
            if "coordinateSystems" not in image:
                # From 0.6 on transformations of the image lead to other systems, which have their own axes and units.
                steps += image.get("coordinateTransformations", ())
            # Notes that cannot be understood are ignored.
            with contextlib.suppress(AttributeError, TypeError, ValueError):
                _note(facts, group.attrs.asdict(), ome, image)
        data = _lazy(path.name, store, array)
        letters, guessed = _letters(path.name, data.shape, named, axes)
        if images:
            units = [axis.get("unit") for axis in named or ()]
            # Sizes that cannot be understood are ignored.
            with contextlib.suppress(KeyError, TypeError, ValueError):
                _place(facts, letters, units, _flat(steps))
    except (Refused, DamagedFile):
        raise
    except Exception as error:
        # Wrong metadata may raise any kind of error.
        raise DamagedFile(f"{path.name} cannot be read as OME-Zarr: {type(error).__name__}: {error}") from error
    return facts.of_file(path, data, letters, images, guessed=guessed, series=number)


def _lazy(name: str, store: CarefulStore, array: Any) -> da.Array:
    """Return a zarr array as a dask array, or raise why that cannot be done."""
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
    """Return the path of each image in a group, and its number among the multiscales there."""
    ome, before = _ome(group), f"{path}/" if path else ""
    if "multiscales" in ome:
        return [(path, at) for at in range(len(ome["multiscales"]))]
    if "plate" in ome:
        wells = [str(well["path"]) for well in ome["plate"]["wells"]]
        return [image for well in wells for image in _images(group[well], f"{before}{well}")]
    if "well" in ome:
        return [(f"{before}{image['path']}", 0) for image in ome["well"]["images"]]
    listed = _ome(group["OME"]).get("series") if "OME" in group else None
    # If bioformats2raw does not list its images, their names are numbers, like those of the fields of a well.
    numbered = sorted((each for each in group.group_keys() if each.isdigit()), key=int)
    found = [(f"{before}{each}", 0) for each in listed or numbered]
    if not found:
        raise ValueError("it has no multiscales metadata, and no groups of images")
    return found


def _system(image: dict[str, Any], level: dict[str, Any]) -> list[Any] | None:
    """Return the axes of the coordinate system in which the voxels of a level are placed."""
    systems = {each.get("name"): each["axes"] for each in image.get("coordinateSystems", ())}
    outputs = [step.get("output") for step in level.get("coordinateTransformations", ())]
    names = [each.get("name") if isinstance(each, dict) else each for each in outputs]
    return next((systems[each] for each in names if each in systems), next(iter(systems.values()), None))


def _letters(
    name: str, shape: tuple[int, ...], named: list[dict[str, Any]] | None, axes: str | None
) -> tuple[str, str]:
    """Return the axes of an array, and which of them are guesses."""
    if axes is not None:
        return given_axes(name, shape, axes), ""
    if named is None or not any(each.get("name") for each in named):
        return guessed_axes(name, shape)
    if len(named) != len(shape):
        raise Refused(f"{name} names {len(named)} axes, but its array has {len(shape)}. Say which they are: axes=.")
    return "".join(map(_letter, named)), ""


def _letter(axis: dict[str, Any]) -> str:
    """Return the letter of an axis by its name or its type."""
    return axis_letter(axis.get("name")) or {"time": "T", "channel": "C"}.get(str(axis.get("type")), "?")


def _flat(steps: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return transformations as one list, with the sequences in it resolved."""
    found: list[dict[str, Any]] = []
    for step in steps:
        found += _flat(step["transformations"]) if step.get("type") == "sequence" else [step]
    return found


def _place(facts: Facts, axes: str, units: list[str | None], steps: list[dict[str, Any]]) -> None:
    """Note how large voxels are and where the first one lies."""
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
                # Rotated or sheared voxels have no size along an axis of space.
                return
        elif kind == "identity":
            continue
        else:
            # An unknown transformation may change sizes, so they are not known.
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
    if facts.colors == (WHITE,):
        # A file must give each channel a color, and writes white for a single channel without one.
        facts.colors = ()
    facts.windows = tuple(_window(each.get("window") or {}) for each in shown)


def _color(text: str) -> str:
    """Return a color of six hexadecimal digits, without opacity, or "" if the text is no color."""
    found = re.fullmatch("#?([0-9a-fA-F]{6})([0-9a-fA-F]{2})?", text)
    return f"#{found[1].lower()}" if found else ""


def _window(window: dict[str, Any]) -> tuple[float, float] | None:
    low, high = window.get("start"), window.get("end")
    return None if low is None or high is None or not low < high else (float(low), float(high))


# --- written ---


def check_zarr(version: object, dtype: np.dtype) -> None:
    """Raise if such an OME-Zarr cannot be written."""
    if dtype.kind not in "buif" or dtype.itemsize > 8:
        raise TypeError(f"OME-Zarr holds whole numbers and floats of up to 64 bits, not {dtype}; convert the array.")
    if version not in ("0.4", "0.5"):
        raise ValueError(f"ome_version must be '0.4' or '0.5', got {given(version)}.")
    try:
        import ome_zarr.writer  # noqa: F401
    except ImportError:
        raise ImportError('Writing OME-Zarr needs ome-zarr: pip install "napari-exposure[zarr]".') from None


def write_zarr(volume: FileVolume, path: Path, ome_version: str) -> None:
    """Write a volume without colors as OME-Zarr with a pyramid."""
    try:
        _write_levels(volume, path, ome_version)
    except BaseException:
        from zarr.core.sync import sync

        # After a failure the folder is removed, so nothing may be written to it any more.
        sync(_settled())
        raise


async def _settled() -> None:
    """Wait until zarr stops writing: if a chunk fails, it still writes the others of its block in a loop of its own."""
    # The name keeps two threads that wait here from waiting for each other.
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
            # The name makes one dtype of all with the same numbers, such as C's long and long long.
            dtype=np.dtype(array.dtype.name),
            chunk_key_encoding={"name": "default" if ome_version == "0.5" else "v2", "separator": "/"},
            dimension_names=list(letters) if ome_version == "0.5" else None,
        )
        part = math.prod(shape) / total
        with progress.part(done, done + part):
            store(array, target, "writing") if number == 0 else _write_coarser(previous, target)
        done, previous = done + part, target
        scale = [size * f for size, f in zip(volume.scale, factor, strict=True)]
        # A voxel of a coarser level lies in the middle of the voxels of which it is the mean.
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
    omero: dict[str, Any] = {"channels": _omero(volume, previous)}
    if "z" in letters:
        # Viewers on the web open on this plane, and on the first one, which may be empty, if none is named.
        omero["rdefs"] = {"defaultZ": shapes[0][letters.index("z")] // 2, "model": "color"}
    shown = {"omero": omero}
    group.attrs.update({"ome": {**_ome(group), **shown}} if ome_version == "0.5" else shown)
    if volume.notes:
        group.attrs["napari_exposure"] = volume.notes


def _omero(volume: FileVolume, coarsest: Any) -> list[dict[str, Any]]:
    """Return name, color and window of each channel; the format requires a color and a window even if none is known.

    By default one channel is white, several have colors that tell them apart, and a window is the range of the
    coarsest level.
    """
    at = volume.axes.find("C")
    count = 1 if at < 0 else coarsest.shape[at]
    palette = (WHITE,) if count == 1 else TWO if count == 2 else MORE
    free = [color for color in palette if color not in volume.colors] or palette
    whole = np.iinfo(coarsest.dtype) if coarsest.dtype.kind in "iu" else None
    found = []
    for number in range(count):
        channel: dict[str, Any] = {"active": True}
        if name := _at(volume.channels, number):
            channel["label"] = name
        channel["color"] = (_at(volume.colors, number) or free[number % len(free)]).lstrip("#").upper()
        window = _at(volume.windows, number)
        low, high = window or _range(coarsest, volume.axes, number)
        least, most = (low, high) if whole is None else (whole.min, whole.max)
        channel["window"] = {"start": low, "end": high, "min": min(low, least), "max": max(high, most)}
        found.append(channel)
    return found


def _range(coarsest: Any, axes: str, channel: int) -> tuple[float, float]:
    """Return the least and the greatest finite value of a channel in the first, the middle and the last time point."""
    times = coarsest.shape[0] if "T" in axes else 1
    low, high = math.inf, -math.inf
    for time in sorted({0, times // 2, times - 1}):
        part = np.asarray(coarsest[tuple({"T": time, "C": channel}.get(axis, slice(None)) for axis in axes)])
        known = np.isfinite(part)
        if known.any():
            low, high = min(low, float(part[known].min())), max(high, float(part[known].max()))
    if low > high:
        return 0.0, 1.0
    return (low, high) if low < high else (low, float(np.nextafter(low + 1, math.inf)))


def _at(values: Sequence[Value], number: int) -> Value | None:
    return values[number] if number < len(values) else None


def _regular(array: Array, axes: str) -> tuple[Array, tuple[int, ...]]:
    """Return the array, with regular chunks if it is dask, and the chunks on disk, each within one of the array."""
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
            # An axis with a single chunk may be cut anywhere, others only into equal parts.
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
    """Return the shapes of all levels, and how many voxels of the first level one of theirs spans."""
    shapes = [shape]
    factors: list[tuple[int, ...]] = [(1,) * len(shape)]
    space = [number for number, axis in enumerate(axes) if axis in "zyx"]
    while max(shapes[-1][axis] for axis in space) > COARSEST:
        sizes = [size * factor for size, factor in zip(spacing, factors[-1], strict=True)]
        finest = min(sizes[axis] for axis in space if shapes[-1][axis] > 1)
        # Axes with larger voxels are halved only when the others have reached their size.
        halved = [axis in space and shapes[-1][axis] > 1 and sizes[axis] < 2 * finest for axis in range(len(shape))]
        shapes.append(tuple(-(-n // 2) if half else n for n, half in zip(shapes[-1], halved, strict=True)))
        factors.append(tuple(f * 2 if half else f for f, half in zip(factors[-1], halved, strict=True)))
    return shapes, factors


def _write_coarser(fine: Array, coarse: Any) -> None:
    """Write means of neighboring voxels, two along each axis that is shorter in `coarse`."""
    factors = [2 if n < m else 1 for n, m in zip(coarse.shape, fine.shape, strict=True)]

    def work(block: Block) -> None:
        region = tuple(slice(part.start * f, part.stop * f) for part, f in zip(block, factors, strict=True))
        coarse[block] = halved(read_part(fine, region), factors)

    blocks = chunked_blocks(tuple(coarse.shape), tuple(coarse.chunks), CHUNK_VOXELS // math.prod(factors))
    walk(blocks, work, lambda _: None, "writing coarser levels")


def halved(values: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """Return means over `factors` (1 or 2) voxels along each axis; an odd last voxel stays alone."""
    sums: np.ndarray = values.astype(np.float64 if values.dtype.itemsize > 2 else np.float32)
    for axis, factor in enumerate(factors):
        if factor == 2:
            if sums.shape[axis] % 2:
                sums = np.concatenate([sums, np.take(sums, [-1], axis)], axis)
            even = (slice(None),) * axis
            sums = sums[(*even, slice(0, None, 2))] / 2 + sums[(*even, slice(1, None, 2))] / 2
    return (np.rint(sums) if values.dtype.kind in "iu" else sums).astype(values.dtype)

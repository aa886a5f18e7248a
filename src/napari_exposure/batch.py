"""A recipe on many files: which, where to, one after the other, and what came of it."""

from __future__ import annotations

import glob
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import is_dask
from napari_exposure.core.lazy import as_dask
from napari_exposure.core.replacing import PathLike, check_place, is_zarr, keep_apart, tidy
from napari_exposure.core.typing import Array
from napari_exposure.files import TIFF_SUFFIXES, UNKNOWN, DamagedFile, FileVolume, converted
from napari_exposure.omezarr import read_zarr
from napari_exposure.provenance import NOTE, version
from napari_exposure.recipe import FittedRecipe, Recipe
from napari_exposure.saving import save
from napari_exposure.tiff import goes_on_in, read_tiff
from napari_exposure.voxels import unit_name

# bytes of a channel up to which it is read at once: sooner done than block by block
WHOLE = 1 << 28
SUFFIXES = {"tiff": ".ome.tif", "zarr": ".zarr"}


@dataclass(frozen=True)
class Outcome:
    """What came of a file: "done", "skipped" or "failed", and why."""

    path: Path
    target: Path
    status: str
    seconds: float = 0.0
    words: str = ""


def collect(inputs: Iterable[PathLike]) -> list[Path]:
    """The volumes that names, folders and patterns mean, each once, also where it lies in several files.

    Raises
    ------
    FileNotFoundError
        If one of them means none.
    """
    found: dict[Path, None] = {}
    for each in map(str, inputs):
        path = Path(each)
        if path.is_file() or is_zarr(path):
            matches = [path]
        elif path.is_dir():
            matches = sorted(child for child in path.iterdir() if is_volume(child))
        else:
            matches = sorted(match for match in map(Path, glob.glob(each, recursive=True)) if is_volume(match))
        if not matches:
            raise FileNotFoundError(f"There is no TIFF file and no zarr store at {each}.")
        found |= dict.fromkeys(matches)
    parts: set[Path] = set()
    for path in found:
        if path not in parts and path.is_file():
            parts |= goes_on_in(path) - {path}
    return [path for path in found if path not in parts]


def is_volume(path: Path) -> bool:
    """Whether a file or folder is one that can be read; what begins with a dot is somebody's unfinished work."""
    if path.name.startswith("."):
        return False
    return is_zarr(path) or (path.is_file() and path.suffix.lower() in TIFF_SUFFIXES)


def targets(paths: list[Path], folder: Path, form: str | None) -> dict[Path, Path]:
    """Where the result of each file goes.

    Raises
    ------
    ValueError
        If two of them would go to one place, or a result would replace one of them.
    """
    found: dict[Path, Path] = {}
    endings = "|".join(map(re.escape, (*TIFF_SUFFIXES, ".zarr")))
    for path in paths:
        stem = re.sub(rf"(\.ome)?({endings})$", "", path.name, flags=re.IGNORECASE)
        target = folder / (stem + SUFFIXES[form or ("zarr" if path.is_dir() else "tiff")])
        if target in found:
            raise ValueError(
                f"{found[target]} and {path} would both become {target}. Run them into folders of their own."
            )
        found[target] = path
    keep_apart(paths, found)
    return {path: target for target, path in found.items()}


def open_volume(
    path: Path,
    lazy: bool | None = None,
    *,
    axes: str | None = None,
    series: int | None = None,
    dtype: str | None = None,
) -> FileVolume:
    """Read a TIFF file or an OME-Zarr store; large ones as they are looked at.

    With `dtype` they are converted, complex numbers to their magnitudes; no value may be lost.
    """
    if path.is_dir():
        volume = read_zarr(path, axes=axes, series=series)
    else:
        volume = read_tiff(path, lazy=lazy, axes=axes, series=series)
    if dtype is None:
        return volume
    # numpy and dask have these methods, and nothing else comes from files
    data: Any = volume.data
    data = abs(data) if data.dtype.kind == "c" else data
    if not np.can_cast(data.dtype, dtype, "safe"):
        raise TypeError(f"{path.name} holds {data.dtype} values, of which {dtype} would lose some. Leave out --dtype.")
    return replace(volume, data=data.astype(dtype))


def check_dtype(path: Path, volume: FileVolume) -> None:
    """Raise where data have no exposure."""
    dtype = volume.data.dtype
    if dtype.kind == "b":
        holds, way = "a mask of 1 bit a pixel, which has", "uint8"
    elif dtype.kind == "c":
        holds, way = "complex numbers, which have", f"float{4 * dtype.itemsize}, which takes their magnitude"
    else:
        return
    raise TypeError(f"{path.name} holds {holds} no exposure to adjust. Convert it: --dtype {way}.")


def is_done(target: Path) -> bool:
    """Whether a result is there; what is empty or damaged is none."""
    try:
        open_volume(target, lazy=True)
    except (DamagedFile, FileNotFoundError):
        return False
    except Exception:
        # The file is whole, but of a kind that this program does not read, so it is replaced only with --overwrite.
        return True
    return True


def run(
    recipe: Recipe,
    paths: dict[Path, Path],
    *,
    jobs: int,
    overwrite: bool = False,
    fit_on: FittedRecipe | None = None,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    lazy: bool = False,
    opening: dict[str, Any] | None = None,
    step: Callable[[Path, progress.Step], None] = lambda path, step: None,
) -> Iterator[Outcome]:
    """Apply a recipe to files, some at once; what becomes of each is told as it is done.

    `opening` holds the options of `open_volume`.
    Closing the generator stops what is under way; no half file stays.
    """
    # What a killed run has left may be a whole result, so this comes before looking what is done.
    for folder in {target.parent for target in paths.values()}:
        tidy(folder)
    stopped = threading.Event()

    def hear(path: Path, each: progress.Step) -> None:
        step(path, each)
        if stopped.is_set():
            raise progress.Cancelled

    def work(path: Path, target: Path) -> Outcome:
        start = time.perf_counter()
        if not overwrite and is_done(target):
            return Outcome(path, target, "skipped", words="its result is there")
        try:
            with progress.listening(partial(hear, path)):
                words = apply_to_file(
                    recipe, path, target, fit_on=fit_on, spacing=spacing, unit=unit, lazy=lazy, opening=opening
                )
        except progress.Cancelled:
            return Outcome(path, target, "stopped")
        except Exception as error:
            words = str(error) or type(error).__name__
            return Outcome(path, target, "failed", time.perf_counter() - start, words)
        return Outcome(path, target, "done", time.perf_counter() - start, words)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, path, target) for path, target in paths.items()]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def apply_to_file(
    recipe: Recipe,
    path: Path,
    target: Path,
    *,
    fit_on: FittedRecipe | None = None,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    lazy: bool = False,
    opening: dict[str, Any] | None = None,
) -> str:
    """Apply a recipe to one file, and say what of it was left out."""
    check_place(target, folder=target.suffix == ".zarr")
    volume = resized(open_volume(path, **(opening or {})), spacing, unit)
    check_dtype(path, volume)
    size = spacing_in(recipe.unit, volume, recipe.has_sizes)
    results = []
    channels = list(split(volume))
    for number, array in enumerate(channels):
        with progress.part(0.5 * number / len(channels), 0.5 * (number + 1) / len(channels)):
            results.append(_apply_to_channel(recipe, array, size, volume.axes.endswith("S"), fit_on, lazy))
    # A result is shown in its own range, not in that of its source.
    result = replace(volume, data=joined(volume, results), notes=notes(recipe, path, size), windows=())
    with progress.part(0.5, 1):
        save(result, target, overwrite=True)
    if not volume.others:
        return ""
    return f"image {volume.series} of {len(volume.images)}; left out: {', '.join(volume.others)} (--series)"


def _apply_to_channel(
    recipe: Recipe, array: Array, spacing: tuple[float, ...], rgb: bool, fit_on: FittedRecipe | None, lazy: bool
) -> Array:
    small = math.prod(array.shape) * array.dtype.itemsize <= WHOLE
    array = np.asarray(array) if small and not lazy else as_dask(array)
    return recipe.apply(array, spacing=spacing, rgb=rgb, fit_on=fit_on)


def split(volume: FileVolume) -> Iterator[Array]:
    """The data of each channel: as layers in napari, channels have fits of their own."""
    at = volume.axes.find("C")
    if at < 0:
        yield volume.data
        return
    for number in range(volume.data.shape[at]):
        yield volume.data[(slice(None),) * at + (number,)]


def joined(volume: FileVolume, results: Sequence[Any]) -> Array:
    """The channels again as one array."""
    at = volume.axes.find("C")
    if at < 0:
        only: Array = results[0]
        return only
    if is_dask(results[0]):
        import dask.array as da

        stacked: da.Array = da.stack(results, at)
        return stacked
    return np.stack(results, at)


def resized(volume: FileVolume, spacing: Sequence[float] | None = None, unit: str | None = None) -> FileVolume:
    """A volume with another voxel size along its spatial axes."""
    if spacing is None:
        return volume
    axes = [axis for axis in volume.axes if axis in "ZYX"]
    if len(spacing) != len(axes):
        raise ValueError(
            f"--spacing has {len(spacing)} numbers, but the file has the axes {', '.join(axes)}; "
            "give one number for each."
        )
    lead = len(volume.scale) - len(axes)
    scale = (*volume.scale[:lead], *map(float, spacing))
    units = (*volume.units[:lead], *[unit or UNKNOWN] * len(axes))
    return replace(volume, scale=scale, units=units)


def spacing_in(unit: str | None, volume: FileVolume, needed: bool = True) -> tuple[float, ...]:
    """The voxel size along the spatial axes in the unit of a recipe, or an error that says what to do."""
    sizes = tuple(volume.sizes[axis][0] for axis in volume.axes if axis in "ZYX")
    if unit is None or not needed:
        return sizes
    name, known = unit_name(unit), volume.unit
    if name is None and known is not None:
        raise ValueError(
            f"The recipe has tiles in {unit}, but the voxel size of the file is in {known}. Make the recipe from a "
            "layer with a voxel size."
        )
    if name is not None and (known is None or volume.unsized):
        which = "" if known is None else f" along {', '.join(volume.unsized.lower())}"
        raise ValueError(
            f"The recipe has tiles in {name}, but the file has no voxel size{which}. Give it: --spacing 1 0.3 0.3 "
            "--unit um."
        )
    if name is None or known is None:
        return sizes
    return tuple(converted(size, known, name) for size in sizes)


def notes(recipe: Recipe, path: Path, spacing: tuple[float, ...]) -> dict[str, Any]:
    """What is written down in the result, as in a layer's metadata."""
    steps = [{**each.to_dict(), "spacing": list(spacing), "unit": recipe.unit, "mask": None} for each in recipe.steps]
    return {"version": version(), "source": path.name, "origin": path.name, "steps": steps, "note": NOTE}


def fit_on_file(
    recipe: Recipe,
    path: Path,
    *,
    spacing: Sequence[float] | None = None,
    unit: str | None = None,
    lazy: bool = False,
    opening: dict[str, Any] | None = None,
) -> FittedRecipe:
    """Fit a recipe on a file of one channel, to apply the same mapping to others."""
    volume = resized(open_volume(path, **(opening or {})), spacing, unit)
    check_dtype(path, volume)
    if "C" in volume.axes:
        raise ValueError(f"{path} has channels; fit on a file of one, so that it is clear on which.")
    size = spacing_in(recipe.unit, volume, recipe.has_sizes)
    return recipe.fit(volume.data, spacing=size, rgb=volume.axes.endswith("S"))

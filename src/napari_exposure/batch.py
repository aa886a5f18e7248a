"""Applies a recipe to many files: finds them, names their results, runs several at once, and tells what became."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.blocks import is_dask, read_part
from napari_exposure.core.lazy import as_dask
from napari_exposure.core.replacing import PathLike, check_place, is_zarr, keep_apart, tidy
from napari_exposure.core.several import TOGETHER, Together
from napari_exposure.core.typing import Array
from napari_exposure.core.words import naming, printable, warn_user
from napari_exposure.io.files import (
    PICTURE_SUFFIXES,
    UNKNOWN,
    VOLUME_SUFFIXES,
    DamagedFile,
    FileVolume,
    Refused,
    converted,
    stem,
)
from napari_exposure.io.reading import read
from napari_exposure.io.tiff import TIFF_DTYPES, goes_on_in
from napari_exposure.io.units import unit_name
from napari_exposure.provenance import noted, record, step_record
from napari_exposure.recipe import FittedRecipe, Recipe
from napari_exposure.saving import save_volume
from napari_exposure.suggesting import Suggestion, suggest

# Each channel of a file has a fit of its own.
EACH = "each"
# A channel of at most so many bytes is read at once, which is faster than block by block.
WHOLE = 1 << 28
SUFFIXES = {"tiff": ".ome.tif", "zarr": ".zarr"}
# File systems refuse names of more bytes.
LONGEST = 255


@dataclass(frozen=True)
class Outcome:
    """What became of a file: "done", "skipped", "failed" or "stopped", and why."""

    path: Path
    target: Path
    status: str
    seconds: float = 0.0
    words: str = ""


@dataclass(frozen=True)
class Plan:
    """What is done to each file.

    If there is a file `fit_on`, the mapping that the recipe has there is applied to all; by default each file has its
    own.  `spacing`, in `unit`, takes the place of the voxel size of the files along the spatial axes, and `opening` has
    options of `read`.  `lazy` asks for dask arrays of small files too, which a cluster needs.  `channels` says what the
    channels of a file are fitted on: "each" on itself; one fit on "all", on their "sum" or on their "max", as in
    `Recipe.apply`; or the number of the channel whose fit all share.
    """

    recipe: Recipe
    fit_on: Path | None = None
    spacing: Sequence[float] | None = None
    unit: str | None = None
    opening: dict[str, Any] = field(default_factory=dict)
    lazy: bool = False
    channels: str = EACH
    # If the recipe does not say in which unit its tiles are, this holds the first file that was found in each unit,
    # and under None the first that has no unit.  Tiles differ between these files, of which the user is warned.
    units: dict[str | None, Path] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def fitted(self) -> FittedRecipe | None:
        """The recipe fitted on the file `fit_on`, or None."""
        if self.fit_on is None:
            return None
        volume, size = self.open(self.fit_on)
        channels, rgb = list(split(volume)), volume.axes.endswith("S")
        with naming(str(self.fit_on)):
            if len(channels) == 1:
                return self.recipe.fit(channels[0], spacing=size, rgb=rgb)
            fitted = self.fit_channels(channels, size, rgb)
        if fitted is None:
            raise ValueError(
                f"{self.fit_on} has channels; say on which to fit: --channels all, sum, max, or the number of one."
            )
        return fitted

    def fit_channels(self, channels: Sequence[Array], spacing: tuple[float, ...], rgb: bool) -> FittedRecipe | None:
        """Return the fit that the channels of a file share, or None where each has its own."""
        number = int(self.channels) if self.channels not in (EACH, *TOGETHER) else 0
        if number >= len(channels):
            raise ValueError(
                f"There is no channel {number}: the file has {len(channels)}, counted from 0. Give another number with "
                "--channels."
            )
        if self.channels == EACH or len(channels) == 1:
            return None
        channels = [as_dask(channel) for channel in channels] if self.lazy else channels
        if self.channels in TOGETHER:
            return self.recipe.fit(channels, spacing=spacing, rgb=rgb, fit_on=cast(Together, self.channels))
        return self.recipe.fit(channels[number], spacing=spacing, rgb=rgb)

    def open(self, path: Path) -> tuple[FileVolume, tuple[float, ...]]:
        """Open a file; return its volume, and its voxel size in the unit of the recipe."""
        volume = resized(read(path, **self.opening), self.spacing, self.unit)
        check_dtype(path, volume)
        if self.recipe.unit is None and self.recipe.has_sizes and self.fit_on is None:
            self.units.setdefault(volume.unit, path)
        return volume, spacing_in(self.recipe.unit, volume, self.recipe.has_sizes)

    def asked(self, path: Path) -> dict[str, Any]:
        """Return what tells the result of a file from other results, so that a later run knows what is done."""
        recipe = json.dumps(self.recipe.to_dict(), sort_keys=True).encode()
        options = {name: value for name, value in self.opening.items() if value is not None}
        if self.channels != EACH:
            options |= {"channels": self.channels}
        if self.spacing is not None:
            options |= {"spacing": list(map(float, self.spacing)), "unit": self.unit}
        return {
            "recipe": hashlib.sha256(recipe).hexdigest(),
            "input": identity(path),
            "options": options,
            "fit_on": None if self.fit_on is None else identity(self.fit_on),
        }


def identity(path: Path) -> dict[str, Any]:
    """Return name, number of files, bytes and time of the last change of a volume, which may be a store or a set."""
    if path.is_dir():
        stats = [each.stat() for folder, _, names in os.walk(path) for each in map(Path(folder).joinpath, names)]
    else:
        stats = [each.stat() for each in {path, *goes_on_in(path)}]
    changed = max((each.st_mtime for each in stats), default=0.0)
    return {
        "name": printable(path.name),
        "files": len(stats),
        "bytes": sum(each.st_size for each in stats),
        "changed": datetime.fromtimestamp(changed, UTC).isoformat(),
    }


class _Heard(threading.local):
    """The warnings on the file in work in this thread, or None in a thread without one."""

    words: list[str] | None = None


_heard = _Heard()


@contextmanager
def _of_file() -> Iterator[list[str]]:
    """Give the warnings on a file that this thread works on inside."""
    words: list[str] = []
    _heard.words = words
    try:
        yield words
    finally:
        _heard.words = None


@contextmanager
def _hearing() -> Iterator[None]:
    """Keep the warnings on each file with it, because Python would show them without its name, and only the first."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        show: Callable[..., None] = warnings.showwarning

        def hear(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if _heard.words is None or not issubclass(category, UserWarning):
                show(message, category, *place, **more)
            else:
                _heard.words.append(str(message))

        warnings.showwarning = hear
        yield


def collect(inputs: Iterable[PathLike]) -> list[Path]:
    """Return the volumes that names, folders and patterns mean, each once even if it lies in several files.

    A FileNotFoundError names one that means no volume.
    """
    found: dict[Path, None] = {}
    for each in map(str, inputs):
        path = Path(each)
        if path.is_file() or is_zarr(path):
            matches = [path]
        elif path.is_dir():
            matches = sorted(child for child in path.iterdir() if is_volume(child))
        else:
            named = map(Path, glob.glob(each, recursive=True))
            matches = sorted(match for match in named if is_volume(match, (*VOLUME_SUFFIXES, *PICTURE_SUFFIXES)))
        if not matches:
            raise FileNotFoundError(
                f"There is no TIFF file and no zarr store at {each}, and no other volume that can be read."
            )
        found |= dict.fromkeys(matches)
    parts: set[Path] = set()
    for path in found:
        if path not in parts and path.is_file():
            parts |= goes_on_in(path) - {path}
    return [path for path in found if path not in parts]


def is_volume(path: Path, endings: tuple[str, ...] = VOLUME_SUFFIXES) -> bool:
    """Whether a path is that of a volume; a name that begins with a dot is that of unfinished work."""
    if path.name.startswith("."):
        return False
    return is_zarr(path) or (path.is_file() and path.name.lower().endswith(endings))


def targets(paths: list[Path], folder: Path, form: str | None) -> dict[Path, Path]:
    """Return where the result of each file goes; no two go to one place, and none replaces an input."""
    found: dict[Path, Path] = {}
    for path in paths:
        target = folder / _fitting(stem(path), SUFFIXES[form or ("zarr" if path.is_dir() else "tiff")])
        if target in found:
            raise ValueError(
                f"{found[target]} and {path} would both become {target}. Run them into folders of their own."
            )
        found[target] = path
    keep_apart(paths, found)
    return {path: target for target, path in found.items()}


def _fitting(name: str, ending: str) -> str:
    """Return a name with an ending, shortened where a file system would refuse it."""
    while len(os.fsencode(name + ending)) > LONGEST:
        name = name[:-1]
    return name + ending


def check_dtype(path: Path, volume: FileVolume) -> None:
    """Raise if data have no exposure."""
    dtype = volume.data.dtype
    if dtype.kind == "b":
        holds, way = "a mask of 1 bit a pixel, which has", "uint8"
    elif dtype.kind == "c":
        holds, way = "complex numbers, which have", f"float{4 * dtype.itemsize}, which takes their magnitude"
    else:
        return
    raise TypeError(f"{path.name} holds {holds} no exposure to adjust. Convert it: --dtype {way}.")


def check_written(target: Path, dtype: np.dtype) -> None:
    """Raise what to do if the result cannot be written in the format that it goes to."""
    if target.suffix != ".zarr" and dtype.name not in TIFF_DTYPES:
        larger = "float32" if dtype.kind == "f" else "float64"
        raise TypeError(
            f"OME-TIFF has no {dtype}. --dtype {larger} converts what is read, and --format zarr writes it as it is."
        )


def left(target: Path, asked: dict[str, Any]) -> str | None:
    """Return "" if the result is at its place, words for something else there, or None for nothing.

    An empty or damaged file counts as nothing.
    """
    try:
        found = read(target, lazy=True).notes.get("asked")
    except Refused:
        found = None
    except (DamagedFile, FileNotFoundError):
        return None
    except Exception:
        # The file may be valid, but it cannot be read here, so nothing is known of how it was made.
        found = None
    if not isinstance(found, dict):
        return f"{target.name} is there, but is not known to be a result of this recipe and this file"
    others = [name.replace("_", "-") for name, value in asked.items() if found.get(name) != value]
    return f"{target.name} is there, but was made with another {' and another '.join(others)}" if others else ""


def run(
    plan: Plan,
    paths: dict[Path, Path],
    *,
    jobs: int,
    overwrite: bool = False,
    step: Callable[[Path, progress.Step], None] = lambda path, step: None,
) -> Iterator[Outcome]:
    """Carry out a plan on files, several at once, and yield what became of each as it is done.

    Closing the generator stops the files in work; no half file stays.
    """
    # A killed run may have left a whole result under a temporary name, which is put in its place first, so that it
    # counts as done below.
    for folder in {target.parent for target in paths.values()}:
        tidy(folder)
    # The file that all are fitted on is read now, so that an error in it is raised before any work begins.
    with _hearing(), _of_file() as said:
        _ = plan.fitted
    for words in said:
        warn_user(f"{plan.fit_on}: {words}")
    stopped = threading.Event()

    def stop() -> None:
        if stopped.is_set():
            raise progress.Cancelled

    def hear(path: Path, each: progress.Step) -> None:
        step(path, each)
        stop()

    def work(path: Path, target: Path) -> Outcome:
        start = time.perf_counter()

        def outcome(status: str, words: str = "") -> Outcome:
            return Outcome(path, target, status, time.perf_counter() - start, words)

        try:
            there = None if overwrite else left(target, plan.asked(path))
            if there == "":
                return outcome("skipped", "its result is there")
            if there is not None:
                return outcome("failed", f"{there}. It is kept: give another folder, or --overwrite.")
            with progress.listening(partial(hear, path), stop), _of_file() as said:
                words = apply_to_file(plan, path, target)
                # Each channel may have given the same warning.
                return outcome("done", "; ".join(filter(None, dict.fromkeys([words, *said]))))
        except progress.Cancelled:
            return outcome("stopped")
        except Exception as error:
            return outcome("failed", str(error) or type(error).__name__)

    with _hearing(), ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work, path, target) for path, target in paths.items()]
        try:
            told = False
            for future in as_completed(futures):
                if len(plan.units) > 1 and not told:
                    told = True
                    in_units = [f"in {unit or 'no unit'} ({path})" for unit, path in plan.units.copy().items()]
                    warn_user(
                        "The recipe does not say in which unit its tiles are, so they have other sizes in files with "
                        f'voxel sizes {" and ".join(in_units)}. Write one into the recipe, such as "unit": "um", and '
                        "run it again with --overwrite."
                    )
                yield future.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


def apply_to_file(plan: Plan, path: Path, target: Path) -> str:
    """Carry out a plan on one file, and return words on images in it that were left out, or ""."""
    check_place(target, folder=target.suffix == ".zarr")
    asked = plan.asked(path)
    volume, size = plan.open(path)
    check_written(target, plan.recipe.result_dtype(volume.data.dtype))
    channels, rgb = list(split(volume)), volume.axes.endswith("S")
    with progress.part(0, 0.2):
        fitted = plan.fitted or plan.fit_channels(channels, size, rgb)

    def apply(array: Array) -> Any:
        return plan.recipe.apply(_taken(plan, array), spacing=size, rgb=rgb, fit_on=fitted)

    with progress.part(0.0 if fitted is None else 0.2, 0.5):
        results = progress.each(channels, apply)
    steps = [step_record(each, size, plan.recipe.unit) for each in plan.recipe.steps]
    made = record(printable(path.name), noted(volume.notes), steps, asked=asked)
    # The display windows of the source are dropped, because the result has another range.
    result = replace(volume, data=joined(volume, results), notes=made, windows=())
    with progress.part(0.5, 1):
        save_volume(result, target, overwrite=True, before=partial(check_same, path, asked["input"]))
    if not volume.others:
        return ""
    return f"image {volume.series} of {len(volume.images)}; left out: {', '.join(volume.others)} (--series)"


def check_same(path: Path, before: dict[str, Any]) -> None:
    """Raise if a file has changed, because what was read may be half of the old and half of the new one."""
    try:
        same = identity(path) == before
    except OSError:
        same = False
    if not same:
        raise OSError(f"{path.name} was changed, replaced or removed while it was read. Run it again.")


def _taken(plan: Plan, array: Array) -> Any:
    """Return a channel in memory if it is small, else as a dask array."""
    small = math.prod(array.shape) * array.dtype.itemsize <= WHOLE and not plan.lazy
    return read_part(array, tuple(slice(0, n) for n in array.shape)) if small else as_dask(array)


def split(volume: FileVolume) -> Iterator[Array]:
    """Yield the data of each channel, because channels have fits of their own, as napari layers do."""
    at = volume.axes.find("C")
    if at < 0:
        yield volume.data
        return
    for number in range(volume.data.shape[at]):
        yield volume.data[(slice(None),) * at + (number,)]


def suggestion(volume: FileVolume, channel: int) -> Suggestion:
    """Return what Suggest finds in a channel of a file."""
    array = list(split(volume))[channel]
    known = volume.unit is not None and not volume.unsized
    # The last three axes count as space, so a movie of planes gets a z axis of one plane, which keeps time out.
    flat = "T" in volume.axes and "Z" not in volume.axes
    if flat:
        array = array[:, None]
    sizes = [volume.sizes[axis][0] for axis in volume.axes if axis in "ZYX"]
    spacing = [*[max(sizes)] * flat, *sizes] if known else None
    return suggest(array, spacing=spacing, unit=volume.unit, rgb=volume.axes.endswith("S"))


def joined(volume: FileVolume, results: Sequence[Any]) -> Array:
    """Return the channels joined to one array again."""
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
    """Return a volume with another voxel size along its spatial axes."""
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
    """Return the voxel size along the spatial axes in the unit of a recipe, or raise what to do."""
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
            f"The recipe has tiles in {name}, but the file has no voxel size{which}. Give it: --spacing "
            f"{' '.join('1' if axis == 'Z' else '0.3' for axis in volume.axes if axis in 'ZYX')} --unit um."
        )
    if name is None or known is None:
        return sizes
    return tuple(converted(size, known, name) for size in sizes)

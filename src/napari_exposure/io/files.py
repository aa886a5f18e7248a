"""A volume in a file: its data and what the file knows of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from napari_exposure.core.blocks import missing_chunks
from napari_exposure.core.typing import Array
from napari_exposure.core.words import given, printable
from napari_exposure.io.units import LENGTH, TIME, in_unit, unit_name

# the unit along axes whose size is not known
UNKNOWN = "pixel"
# the lowest and highest value that are shown
Window = tuple[float, float]
# of TIFF files: those with offsets of 64 bits, those that are written, and all that are read
BIG_SUFFIXES = (".btf", ".tf2", ".tf8")
WRITTEN_SUFFIXES = (".tif", ".tiff", *BIG_SUFFIXES)
TIFF_SUFFIXES = (*WRITTEN_SUFFIXES, ".lsm", ".stk", ".svs")
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
# Readers of bioio for other formats.
_READERS = {
    **{f".{each}": f"bioio-{each}" for each in ("czi", "lif", "nd2", "dv")},
    ".sldy": "bioio-sldy",
    **dict.fromkeys(PICTURE_SUFFIXES[1:], "bioio-imageio"),
    **dict.fromkeys(
        (
            *(".ims", ".mrc", ".mrcs", ".rec", ".map", ".nii", ".nii.gz", ".nrrd", ".sld", ".oib", ".oif", ".oir"),
            *(".vsi", ".ics", ".dm3", ".dm4", ".lei", ".r3d", ".zvi"),
        ),
        "bioio-bioformats",
    ),
}
VOLUME_SUFFIXES = (*TIFF_SUFFIXES, *HDF5_SUFFIXES, *(set(_READERS) - set(PICTURE_SUFFIXES)))
# How much of what is free an array may take: its results and what is worked on need some too.
MOST_MEMORY = 0.8


class DamagedFile(ValueError):
    """A file is cut off or damaged, or something else than its name says."""


class Refused(ValueError):
    """A file is whole, but what is asked of it is not there, or it holds what has no exposure."""


@dataclass(frozen=True, eq=False)
class FileVolume:
    """The data of a file and what the file says of them.

    Attributes
    ----------
    data : numpy.ndarray, numpy.memmap or dask.array.Array
        Axes as in `axes`, always in the order T, C, Z, Y, X and last S, the samples of a color image.
    axes : str
        One letter an axis, such as "ZYX" or "TCZYX".
    scale : tuple of float
        Size of a voxel along each axis but S, 1 where the file does not say.
    units : tuple of str
        Of each axis of `scale`: of space one unit for all axes whose size is known in one, of time that of the file;
        "pixel" where the file does not say.
    name : str
        Of the image, or of the file.
    channels, colors : tuple of str
        Names and colors ("#rrggbb") of the channels, where the file has them; "" for a channel that has none.
    windows : tuple
        For each channel the lowest and highest value that are shown, where the file says so, else None.
    translate : tuple of float
        Where the first voxel lies along each axis of `scale`; empty where the file does not say.
    notes : dict
        What `save` has written down of a result: how it was made.
    came_from : dict
        For each letter of `axes` with a size, and "unit": the field of the file that says so.
    guessed : str
        The letters of `axes` that the file does not say.
    images : tuple of str
        What all images in the file are, where it holds several.
    series : int
        Which of them this is.
    """

    data: Array
    axes: str
    scale: tuple[float, ...]
    units: tuple[str, ...]
    name: str = ""
    channels: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    windows: tuple[Window | None, ...] = ()
    translate: tuple[float, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict, repr=False)
    came_from: dict[str, str] = field(default_factory=dict)
    guessed: str = ""
    images: tuple[str, ...] = ()
    series: int = 0

    @property
    def missing(self) -> int:
        """How many chunks of a zarr store are not there, and read as its fill value."""
        return missing_chunks(self.data)

    @property
    def sizes(self) -> dict[str, tuple[float, str]]:
        """Size and unit along each axis but S."""
        return dict(zip(self.axes, zip(self.scale, self.units, strict=True), strict=False))

    @property
    def unit(self) -> str | None:
        """Unit of the spatial axes; None where the file does not say."""
        units = [self.sizes[axis][1] for axis in "XYZ" if axis in self.sizes]
        return next((unit for unit in units if unit != UNKNOWN), None)

    @property
    def timed(self) -> bool:
        """Whether it is known how long a time point is."""
        return "T" in self.axes and self.sizes["T"][1] != UNKNOWN

    @property
    def unsized(self) -> str:
        """The spatial axes along which the size of a voxel is not known, though it is along others."""
        if self.unit is None:
            return ""
        return "".join(axis for axis in "ZYX" if axis in self.axes and self.sizes[axis][1] == UNKNOWN)

    def channel(self, number: int) -> str:
        """The name of a channel."""
        return (self.channels[number] if number < len(self.channels) else "") or f"channel {number + 1}"

    @property
    def others(self) -> list[str]:
        """The other images in the file."""
        return [each for number, each in enumerate(self.images) if number != self.series]

    def layers(self) -> list[tuple[Any, dict[str, Any], str]]:
        """What napari adds: an image for each channel, as (data, options, "image")."""
        axes = self.axes.rstrip("S")
        options: dict[str, Any] = {
            "name": self.name,
            "scale": self.scale,
            "units": self.units,
            "axis_labels": tuple(axes.lower()),
            "metadata": {"napari_exposure": self.notes} if self.notes else {},
            "rgb": self.axes.endswith("S"),
        }
        if self.translate:
            options["translate"] = self.translate
        if "C" not in axes:
            return [(self.data, {**options, **self._shown(0)}, "image")]
        at = axes.index("C")
        if self.data.shape[at] == 1 and len(axes) <= 3:
            return [(self.data, options, "image")]
        for name in ("scale", "units", "axis_labels", "translate"):
            if name in options:
                options[name] = options[name][:at] + options[name][at + 1 :]
        found = []
        for number in range(self.data.shape[at]):
            more = {"name": f"{self.name} - {self.channel(number)}", **self._shown(number)}
            if "colormap" in more:
                more["blending"] = "additive"
            found.append((self.data[(slice(None),) * at + (number,)], {**options, **more}, "image"))
        return found

    def _shown(self, number: int) -> dict[str, Any]:
        """How the file shows a channel."""
        shown: dict[str, Any] = {}
        if self.axes.endswith("S"):
            return shown
        if number < len(self.colors) and self.colors[number]:
            shown["colormap"] = self.colors[number]
        if number < len(self.windows) and self.windows[number]:
            shown["contrast_limits"] = self.windows[number]
        return shown


@dataclass
class Facts:
    """What is found in a file of its voxels; what was found first counts. Units may differ between the axes."""

    sizes: dict[str, float] = field(default_factory=dict)
    units: dict[str, str | None] = field(default_factory=dict)
    places: dict[str, tuple[float, str | None]] = field(default_factory=dict)
    came_from: dict[str, str] = field(default_factory=dict)
    name: str = ""
    channels: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    windows: tuple[Window | None, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)

    def size(self, axis: str, size: Any, unit: str | None, field: str) -> None:
        """Note the size along an axis, if it is one; the unit as the file spells it.

        A size of 1 without a unit is what writers put where none is known.
        """
        number = abs(_number(size))
        known = unit and unit_name(unit, TIME if axis == "T" else LENGTH)
        if axis not in self.sizes and 0 < number < float("inf") and (known or number != 1):
            self.sizes[axis], self.units[axis], self.came_from[axis] = number, known, field

    def place(self, axis: str, place: Any, unit: str | None = None) -> None:
        """Note where the first voxel lies along an axis, in the unit of its size if no other is given."""
        number = _number(place)
        if abs(number) < float("inf"):
            self.places[axis] = (number, unit)

    def volume(self, data: Array, axes: str, name: str, **more: Any) -> FileVolume:
        """A volume with these facts, its spatial axes in one unit."""
        unit = next((self.units[axis] for axis in "XYZ" if axis in axes and self.units.get(axis)), None)
        scale: list[float] = []
        units: list[str] = []
        translate: list[float] = []
        for axis in axes.removesuffix("S"):
            own = self.units.get(axis)
            to = unit if axis in "ZYX" else own
            size = self.sizes.get(axis, 1.0)
            scale.append(converted(size, own, to) if own and to else size)
            units.append(to if own and to else UNKNOWN)
            place, of = self.places.get(axis, (0.0, None))
            if of is not None and own is None:
                # A length says nothing where a voxel has none.
                place = 0.0
            translate.append(converted(place, of or own, to) if own and to else place)
        return FileVolume(
            data,
            axes,
            tuple(scale),
            tuple(units),
            name=self.name or printable(name),
            channels=self.channels if any(self.channels) else (),
            colors=self.colors if any(self.colors) else (),
            windows=self.windows if any(self.windows) else (),
            translate=tuple(translate) if any(translate) else (),
            notes=self.notes,
            came_from={axis: field for axis, field in self.came_from.items() if axis in axes or axis == "unit"},
            **more,
        )


def converted(size: float, unit: str, other: str) -> float:
    """A size in another unit, which is one of the same kind."""
    found = in_unit(size, unit, other)
    assert found is not None, f"{unit} does not convert to {other}."
    return found


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def in_order(axes: str) -> tuple[str, list[int]]:
    """The axes in the order T, C, Z, Y, X, S, and where each of them was."""
    order = sorted(range(len(axes)), key=lambda axis: "TCZYXS".find(axes[axis]))
    return "".join(axes[axis] for axis in order), order


def check_axes(name: str, axes: str) -> None:
    """Raise where axes are no axes of a volume."""
    if set(axes) - set("TCZYXS") or len(set(axes)) != len(axes) or "Y" not in axes or "X" not in axes:
        raise ValueError(
            f"{name} has the axes {axes or 'unknown'}; only T, C, Z, Y, X and S (color), each once, can be read. If "
            "they mean these, say which: axes=, on the command line --axes."
        )


def given_axes(name: str, shape: Sequence[int], axes: str) -> str:
    """The axes that a user gives a file of this shape, as letters of files."""
    letters = str(axes).upper()
    if len(letters) != len(shape) or set(letters) - set("TCZYXS") or len(set(letters)) != len(letters):
        raise ValueError(
            f"axes must be a letter of tczyxs for each of the {len(shape)} axes of {name}, whose shape is "
            f"{tuple(shape)}, got {given(axes)}."
        )
    check_axes(name, letters)
    return letters


def chosen(name: str, images: Sequence[str], series: int | None) -> int:
    """The number of the image that a user asks for; the first if none is asked for."""
    if series is None:
        return 0
    if isinstance(series, bool) or not isinstance(series, int) or not 0 <= series < len(images):
        listed = "; ".join(f"{at} is {each}" for at, each in enumerate(images))
        raise Refused(f"series must be the number of an image in {name}, got {given(series)}: {listed}.")
    return series


def guessed_axes(name: str, shape: Sequence[int]) -> tuple[str, str]:
    """The axes of an array that says nothing of them, and which of them are guesses."""
    if not 2 <= len(shape) <= 5:
        raise Refused(f"{name} has {len(shape)} axes and does not say which: axes=, on the command line --axes, does.")
    letters = "TZYX" if len(shape) == 4 else "TCZYX"[-len(shape) :]
    return letters, letters.removesuffix("YX")


def stem(path: Path) -> str:
    """The name of a file without the ending of its kind."""
    ending = "|".join(map(re.escape, (*VOLUME_SUFFIXES, *PICTURE_SUFFIXES, ".zarr", ".companion.ome")))
    return re.sub(rf"(\.ome)?({ending})$", "", path.name, flags=re.IGNORECASE) or path.name


def reader_of(path: Path) -> str | None:
    """The package that reads files with such a name, if it is one of another format."""
    return next((package for ending, package in _READERS.items() if path.name.lower().endswith(ending)), None)


def needs(path: Path) -> str:
    """What to do about a file of another format."""
    package = reader_of(path) or "a reader of bioio"
    return (
        f"{path.name} needs bioio and its reader: pip install bioio {package}. TIFF, OME-Zarr, HDF5 and PNG are read "
        "without; in napari, layers of any reader can be adjusted."
    )


def check_readable(path: Path) -> None:
    """Raise where the name of a file is that of another format than TIFF."""
    name = path.name.lower()
    if not name.endswith(TIFF_SUFFIXES) and (reader_of(path) or name.endswith((*HDF5_SUFFIXES, ".png"))):
        raise ValueError(f"{path.name} is no TIFF. nx.read reads it, and says which package that needs.")


def check_memory(name: str, shape: Sequence[int], dtype: npt.DTypeLike) -> None:
    """Raise where an array would not fit into the memory that is free, before any of it is read."""
    needed, free = math.prod(shape) * np.dtype(dtype).itemsize, psutil.virtual_memory().available
    if needed > MOST_MEMORY * free:
        raise Refused(
            f"{name} holds {needed / 2**30:.1f} GB, of which {free / 2**30:.1f} GB fit into memory now. Read it as it "
            "is looked at (lazy=True), or on a machine with more."
        )


def check_chunk(name: str, chunk: Sequence[int], dtype: npt.DTypeLike) -> None:
    """Raise where a part that can only be read whole would not fit into memory twice: as it is, and its result."""
    needed, free = math.prod(chunk) * np.dtype(dtype).itemsize, psutil.virtual_memory().available
    if 2 * needed > free:
        raise Refused(
            f"{name} is stored in parts of {' x '.join(map(str, chunk))} voxels, {needed / 2**30:.1f} GB each, which "
            f"do not fit twice into the memory that is free ({free / 2**30:.1f} GB). Store it in smaller ones."
        )

"""What all formats of files have in common: a volume with what its file says of it, names of files, and checks."""

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

# An axis whose size is not known has this unit.
UNKNOWN = "pixel"
# A window is the lowest and the highest value that are shown.
Window = tuple[float, float]
# TIFF files with these endings have offsets of 64 bits, are written here, or are read here.
BIG_SUFFIXES = (".btf", ".tf2", ".tf8")
WRITTEN_SUFFIXES = (".tif", ".tiff", *BIG_SUFFIXES)
TIFF_SUFFIXES = (*WRITTEN_SUFFIXES, ".lsm", ".stk", ".svs")
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
# These packages are the readers of bioio for other formats.
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
# An array may take this fraction of the free memory, because its results and blocks in work need memory too.
MOST_MEMORY = 0.8


class DamagedFile(ValueError):
    """A file is cut off or damaged, or is not what its name says."""


class Refused(ValueError):
    """A file is whole, but does not have what was asked for, or its content has no exposure."""


@dataclass(frozen=True, eq=False)
class FileVolume:
    """The data of a file and what the file says of them.

    Attributes
    ----------
    data : numpy.ndarray, numpy.memmap or dask.array.Array
        The axes are those of `axes`, always in the order T, C, Z, Y, X and last S, the samples of a color image.
    axes : str
        One letter for each axis, such as "ZYX" or "TCZYX".
    scale : tuple of float
        The size of a voxel along each axis but S, which is 1 where the file does not say it.
    units : tuple of str
        The unit of each axis of `scale`.  All axes of space whose size has a unit share one, time has that of the
        file, and "pixel" stands where the file does not say it.
    name : str
        The name of the image, or of the file.
    channels, colors : tuple of str
        Names and colors ("#rrggbb") of the channels, where the file has them; "" for a channel that has none.
    windows : tuple
        The lowest and the highest value that each channel is shown with, or None where the file does not say it.
    translate : tuple of float
        Where the first voxel lies along each axis of `scale`; empty where the file does not say it.
    notes : dict
        What `save` has noted of a result: how it was made.
    came_from : dict
        The field of the file that says the size, for each letter of `axes` with a size, and that says the "unit".
    guessed : str
        The letters of `axes` that the file does not say.
    images : tuple of str
        Descriptions of all images in the file, if it holds several.
    series : int
        The number of this image among them.
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
        """How many chunks of a zarr store are missing, and are read as its fill value."""
        return missing_chunks(self.data)

    @property
    def sizes(self) -> dict[str, tuple[float, str]]:
        """The size and the unit along each axis but S."""
        return dict(zip(self.axes, zip(self.scale, self.units, strict=True), strict=False))

    @property
    def unit(self) -> str | None:
        """The unit of the spatial axes, or None where the file does not say it."""
        units = [self.sizes[axis][1] for axis in "XYZ" if axis in self.sizes]
        return next((unit for unit in units if unit != UNKNOWN), None)

    @property
    def timed(self) -> bool:
        """Whether the length of a time point is known."""
        return "T" in self.axes and self.sizes["T"][1] != UNKNOWN

    @property
    def unsized(self) -> str:
        """The spatial axes along which the size of a voxel is not known, if it is known along others."""
        if self.unit is None:
            return ""
        return "".join(axis for axis in "ZYX" if axis in self.axes and self.sizes[axis][1] == UNKNOWN)

    def channel(self, number: int) -> str:
        """Return the name of a channel, or its number, counted from 0, where it has no name."""
        return (self.channels[number] if number < len(self.channels) else "") or f"channel {number}"

    @property
    def others(self) -> list[str]:
        """The descriptions of the other images in the file."""
        return [each for number, each in enumerate(self.images) if number != self.series]

    def layers(self) -> list[tuple[Any, dict[str, Any], str]]:
        """Return an image for each channel as napari adds it: (data, options, "image")."""
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
        """Return the options of a layer that say how the file shows a channel."""
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
    """What a file says of its voxels, as it is found; the first size of an axis counts, and units may differ."""

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
        """Note the size along an axis if it is valid; the unit is spelled as in the file.

        A size of 1 without a unit is ignored, because programs write it where they know no size.
        """
        number = abs(as_number(size))
        known = unit and unit_name(unit, TIME if axis == "T" else LENGTH)
        if axis not in self.sizes and 0 < number < float("inf") and (known or number != 1):
            self.sizes[axis], self.units[axis], self.came_from[axis] = number, known, field

    def place(self, axis: str, place: Any, unit: str | None = None) -> None:
        """Note where the first voxel lies along an axis, in the unit of its size if no other is given."""
        number = as_number(place)
        if abs(number) < float("inf"):
            self.places[axis] = (number, unit)

    def volume(self, data: Array, axes: str, name: str, **more: Any) -> FileVolume:
        """Return a volume with these facts, whose spatial axes are in one unit."""
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
                # A place in a unit of length says nothing along an axis without one.
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

    def of_file(self, path: Path, data: Any, axes: str, images: Sequence[str] = (), **more: Any) -> FileVolume:
        """Return the volume of a file with these facts, whose axes are checked and put in order."""
        check_axes(path.name, axes)
        letters, order = in_order(axes)
        images = tuple(images) if len(images) > 1 else ()
        return self.volume(data.transpose(order), letters, stem(path), images=images, **more)


def converted(size: float, unit: str, other: str) -> float:
    """Return a size in another unit of the same kind."""
    found = in_unit(size, unit, other)
    assert found is not None, f"{unit} does not convert to {other}."
    return found


def as_number(value: Any) -> float:
    """Return what a file says as a number, which is NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def in_order(axes: str) -> tuple[str, list[int]]:
    """Return the axes in the order T, C, Z, Y, X, S, and where each of them was."""
    order = sorted(range(len(axes)), key=lambda axis: "TCZYXS".find(axes[axis]))
    return "".join(axes[axis] for axis in order), order


def check_axes(name: str, axes: str) -> None:
    """Raise if axes are not those of a volume."""
    if set(axes) - set("TCZYXS") or len(set(axes)) != len(axes) or "Y" not in axes or "X" not in axes:
        raise ValueError(
            f"{name} has the axes {axes or 'unknown'}; only T, C, Z, Y, X and S (color), each once, can be read. If "
            "they are these under other names, give axes=."
        )


def given_axes(name: str, shape: Sequence[int], axes: str) -> str:
    """Return the axes that a user gives for a file of this shape, as capital letters."""
    letters = str(axes).upper()
    if len(letters) != len(shape) or set(letters) - set("TCZYXS") or len(set(letters)) != len(letters):
        raise ValueError(
            f"axes must be a letter of tczyxs for each of the {len(shape)} axes of {name}, whose shape is "
            f"{tuple(shape)}, got {given(axes)}."
        )
    check_axes(name, letters)
    return letters


def chosen(name: str, images: Sequence[str], series: int | None) -> int:
    """Return the number of the image that a user asks for, or that of the first one by default."""
    if series is None:
        return 0
    if isinstance(series, bool) or not isinstance(series, int) or not 0 <= series < len(images):
        listed = "; ".join(f"{at} is {each}" for at, each in enumerate(images))
        raise Refused(f"series must be the number of an image in {name}, got {given(series)}: {listed}.")
    return series


def guessed_axes(name: str, shape: Sequence[int]) -> tuple[str, str]:
    """Return guessed axes of an array without names of axes, and which of them are guesses."""
    if not 2 <= len(shape) <= 5:
        raise Refused(f"{name} has {len(shape)} axes without names. Name them with axes=.")
    letters = "TZYX" if len(shape) == 4 else "TCZYX"[-len(shape) :]
    return letters, letters.removesuffix("YX")


def stem(path: Path) -> str:
    """Return the name of a file without the ending of its format."""
    ending = "|".join(map(re.escape, (*VOLUME_SUFFIXES, *PICTURE_SUFFIXES, ".zarr", ".companion.ome")))
    return re.sub(rf"(\.ome)?({ending})$", "", path.name, flags=re.IGNORECASE) or path.name


def reader_of(path: Path) -> str | None:
    """Return the package of bioio that reads a file with such a name, or None."""
    return next((package for ending, package in _READERS.items() if path.name.lower().endswith(ending)), None)


def needs(path: Path) -> str:
    """Return what to do about a file of another format, as an error says it."""
    package = reader_of(path) or "a reader of bioio"
    return (
        f"{path.name} needs bioio and its reader: pip install bioio {package}. TIFF, OME-Zarr, HDF5 and PNG are read "
        "without it; in napari, layers of any reader can be adjusted."
    )


def check_readable(path: Path) -> None:
    """Raise if the name of a file is that of another format than TIFF."""
    name = path.name.lower()
    if not name.endswith(TIFF_SUFFIXES) and (reader_of(path) or name.endswith((*HDF5_SUFFIXES, ".png"))):
        raise ValueError(f"{path.name} is no TIFF. nx.read reads it, and says which package that needs.")


def check_memory(name: str, shape: Sequence[int], dtype: npt.DTypeLike) -> None:
    """Raise if an array would not fit into the free memory, before any of it is read."""
    needed, free = math.prod(shape) * np.dtype(dtype).itemsize, psutil.virtual_memory().available
    if needed > MOST_MEMORY * free:
        raise Refused(
            f"{name} holds {needed / 2**30:.1f} GB, of which {free / 2**30:.1f} GB fit into memory now. Read it as it "
            "is looked at (lazy=True), or use a machine with more memory."
        )


def check_chunk(name: str, chunk: Sequence[int], dtype: npt.DTypeLike) -> None:
    """Raise if a part that can only be read whole would not fit into memory twice: itself and its result."""
    needed, free = math.prod(chunk) * np.dtype(dtype).itemsize, psutil.virtual_memory().available
    if 2 * needed > free:
        raise Refused(
            f"{name} is stored in parts of {' x '.join(map(str, chunk))} voxels, {needed / 2**30:.1f} GB each, which "
            f"do not fit twice into the memory that is free ({free / 2**30:.1f} GB). Store it in smaller ones."
        )

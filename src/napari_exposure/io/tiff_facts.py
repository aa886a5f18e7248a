"""Finds what TIFF files say of their voxels, which each kind of software writes in its own way."""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from napari_exposure.io.files import UNKNOWN, Facts, as_number
from napari_exposure.io.units import in_unit, unit_name

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

# `save` writes annotations with these names into OME-TIFF, which say how a result was made and how it was shown.
ANNOTATION, DISPLAY = "napari-exposure", "napari-exposure/display"
# Resolution tags without metadata of a microscope count as voxel sizes only between so many micrometers.
PLAUSIBLE = (1e-4, 20.0)
# Printers count dots in these units.
PRINTED = ("inch", "cm")
# Scanners have at most so many dots per inch.
MOST_DPI = 9600


def find_facts(file: Any, number: int, axes: str, facts: Facts) -> None:
    """Note what a file says of its image of this number; more specific metadata count first."""
    for kind, read in _READERS.items():
        if getattr(file, f"is_{kind}"):
            # Metadata that cannot be understood are ignored.
            with contextlib.suppress(AttributeError, IndexError, KeyError, TypeError, ValueError):
                read(file, number, axes, facts)
    if not {"Y", "X"} & set(facts.sizes) and not file.is_imagej:
        _tags(file.series[number].keyframe, facts)
    if "unit" not in facts.came_from and (said := [axis for axis in "XYZ" if facts.units.get(axis)]):
        facts.came_from["unit"] = facts.came_from[said[0]]


# --- OME ---


def children(element: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    """Return the children of an OME-XML element that have a name, in any namespace."""
    return [each for each in element if each.tag.rpartition("}")[2] == tag]


def _ome(file: Any, number: int, axes: str, facts: Facts) -> None:
    root = ElementTree.fromstring(file.ome_metadata)
    image = children(root, "Image")[number]
    pixels = children(image, "Pixels")[0]
    name = image.get("Name", "")
    # Software that knows no name writes a number like this, which is ignored.
    facts.name = "" if re.fullmatch(r"Image ?:?\d*", name) else name
    for axis in "ZYX":
        _ome_size(pixels, facts, axis, f"PhysicalSize{axis}", "µm")
    _ome_size(pixels, facts, "T", "TimeIncrement", "s")
    if any(facts.units.get(axis) for axis in "ZYX"):
        facts.came_from["unit"] = "OME PhysicalSizeUnit"
    channels = children(pixels, "Channel")
    facts.channels = tuple(each.get("Name", "") for each in channels)
    facts.colors = tuple(_rgb(each.get("Color")) for each in channels)
    for plane in children(pixels, "Plane")[:1]:
        # A position without a unit lies in the reference frame of an unknown stage, and is ignored.
        for axis in "ZYX":
            unit = plane.get(f"Position{axis}Unit", "")
            if unit_name(unit) is not None:
                facts.place(axis, plane.get(f"Position{axis}"), unit_name(unit))
            elif unit == UNKNOWN and not facts.units.get(axis):
                facts.place(axis, plane.get(f"Position{axis}"))
    for structured in children(root, "StructuredAnnotations"):
        for annotation in children(structured, "CommentAnnotation"):
            _comment(annotation, facts)


def _ome_size(pixels: ElementTree.Element, facts: Facts, axis: str, key: str, default: str) -> None:
    size: str | float | None
    unit, size = pixels.get(f"{key}Unit", default), pixels.get(key)
    if unit == "li" and size is not None:
        # A line is a twelfth of an inch, which pint does not know.
        unit, size = "inch", float(size) / 12
    facts.size(axis, size, unit, f"OME {key}")


def _rgb(color: str | None) -> str:
    # OME has red, green, blue and alpha as the bytes of a signed integer.
    return "" if color is None else f"#{(int(color) >> 8) & 0xFFFFFF:06x}"


def _comment(annotation: ElementTree.Element, facts: Facts) -> None:
    if annotation.get("Namespace") not in (ANNOTATION, DISPLAY):
        return
    value = json.loads(children(annotation, "Value")[0].text or "")
    if annotation.get("Namespace") == ANNOTATION:
        facts.notes = value if isinstance(value, dict) else {}
    else:
        facts.windows = tuple(None if each is None else _window(each) for each in value["windows"])


def _window(ends: Any) -> tuple[float, float]:
    low, high = map(float, ends)
    return low, high


# --- ImageJ, and the metadata that Python programs give tifffile ---


def _imagej(file: Any, number: int, axes: str, facts: Facts) -> None:
    metadata = file.imagej_metadata
    _spacing(file.pages.first, metadata, facts, "ImageJ ")
    count = metadata.get("channels", 1)
    ranges = metadata.get("Ranges")
    if ranges is None and "min" in metadata and "max" in metadata and count == 1:
        ranges = (metadata["min"], metadata["max"])
    if ranges is not None:
        pairs = [_window(ranges[at : at + 2]) for at in range(0, len(ranges) - 1, 2)]
        facts.windows = tuple(pair if pair[0] < pair[1] else None for pair in pairs)
    if not any(facts.colors):
        facts.colors = tuple(_of_table(each) for each in metadata.get("LUTs", ()))
    labels = metadata.get("Labels", ())
    labels = [labels] if isinstance(labels, str) else list(labels)
    if count > 1 and len(labels) >= count and "S" not in axes and not any(facts.channels):
        each = [labels[at::count] for at in range(count)]
        # Labels are those of planes, and name the channels only if all planes of a channel have the same.
        if all(len(set(one)) == 1 for one in each):
            facts.channels = tuple(one[0] for one in each)


def _shaped(file: Any, number: int, axes: str, facts: Facts) -> None:
    _spacing(file.pages.first, file.shaped_metadata[number], facts, "")


def _spacing(page: Any, metadata: Mapping[str, Any], facts: Facts, writer: str) -> None:
    unit, sizes = str(metadata.get("unit", "")), _resolution(page)
    known = unit_name(unit)
    # ImageJ copies the dots per inch of the files that it opens, which are no sizes of voxels.
    if known in PRINTED and any(_is_printers(in_unit(size, known, "um")) for size in sizes.values()):
        sizes, unit = {}, ""
    if writer or unit_name(unit):
        for axis, size in sizes.items():
            facts.size(axis, size, str(metadata.get(f"{axis.lower()}unit", unit)), f"{axis}Resolution")
    facts.size("Z", metadata.get("spacing"), str(metadata.get("zunit", unit)), f"{writer}spacing")
    facts.size("T", metadata.get("finterval"), str(metadata.get("tunit", "s")), f"{writer}finterval")
    if "T" not in facts.sizes and (rate := as_number(metadata.get("fps"))):
        facts.size("T", 1 / rate, "s", f"{writer}fps")
    if unit_name(unit):
        facts.came_from["unit"] = f"{writer}unit"
    for axis in "ZYX":
        origin = metadata.get(f"{axis.lower()}origin")
        if origin is not None:
            # ImageJ has the place of the origin in voxels.
            facts.place(axis, -as_number(origin) * facts.sizes.get(axis, 1.0))


def _of_table(table: npt.ArrayLike) -> str:
    """Return the color of a lookup table that goes from black to it in a line, or "" for another table."""
    table = np.asarray(table)
    steps = np.linspace(0, 1, table.shape[1])
    if table.shape[0] != 3 or np.abs(table - steps * table[:, -1:]).max() > 2:
        return ""
    return "#" + "".join(f"{int(each):02x}" for each in table[:, -1])


# --- resolution tags ---


def _tags(page: Any, facts: Facts) -> None:
    unit = {2: "inch", 3: "cm"}.get(int(page.tags.valueof("ResolutionUnit", 0)))
    if unit is None:
        return
    # TIFF counts in inches or centimeters, which become micrometers here.
    sizes = {axis: in_unit(size, unit, "um") for axis, size in _resolution(page).items()}
    if all(size and PLAUSIBLE[0] <= size <= PLAUSIBLE[1] and not _is_printers(size) for size in sizes.values()):
        for axis, size in sizes.items():
            facts.size(axis, size, "um", f"{axis}Resolution")
            facts.came_from["unit"] = "ResolutionUnit"


def _is_printers(size: float | None) -> bool:
    """Whether a size in micrometers is that of a dot of a printer, screen or scanner, such as 300 per inch."""
    if not size:
        return False
    dots = 25400 / size
    whole = round(dots)
    return dots < MOST_DPI + 1 and abs(dots - whole) < 0.02 and (whole <= 1 or whole % 12 == 0 or whole % 50 == 0)


def _resolution(page: Any) -> dict[str, float]:
    """Return the sizes in the resolution tags, in the unit of the file."""
    found = {}
    for axis in "YX":
        value = page.tags.valueof(f"{axis}Resolution")
        if value is not None and value[0] and value[1]:
            found[axis] = value[1] / value[0]
    return found


# --- microscopes ---


def _lsm(file: Any, number: int, axes: str, facts: Facts) -> None:
    metadata = file.lsm_metadata
    for axis in "ZYX":
        _in(facts, axis, metadata.get(f"VoxelSize{axis}"), "m", "um", f"LSM VoxelSize{axis}")
    facts.size("T", metadata.get("TimeIntervall"), "s", "LSM TimeIntervall")
    colors = metadata.get("ChannelColors") or {}
    facts.channels = tuple(map(str, colors.get("ColorNames", ())))
    facts.colors = tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b, *_ in colors.get("Colors", ()))


def _stk(file: Any, number: int, axes: str, facts: Facts) -> None:
    metadata = file.stk_metadata
    unit = str(metadata.get("CalibrationUnits", ""))
    if unit_name(unit):
        for axis in "YX":
            facts.size(axis, metadata.get(f"{axis}Calibration"), unit, f"STK {axis}Calibration")
        steps = np.abs(np.asarray(metadata.get("ZDistance", ()), float))
        steps = steps[steps > 0]
        if steps.size:
            facts.size("Z", np.median(steps), unit, "STK ZDistance")
    times = metadata.get("DatetimeCreated")
    if times is not None and len(times) > 1:
        between = np.median(np.diff(times) / np.timedelta64(1, "s"))
        facts.size("T", between, "s", "STK DatetimeCreated")


def _metaseries(file: Any, number: int, axes: str, facts: Facts) -> None:
    plane = file.metaseries_metadata["PlaneInfo"]
    unit = str(plane.get("spatial-calibration-units", ""))
    if unit_name(unit):
        for axis in "YX":
            key = f"spatial-calibration-{axis.lower()}"
            facts.size(axis, plane.get(key), unit, f"MetaSeries {key}")


def _fei(file: Any, number: int, axes: str, facts: Facts) -> None:
    metadata = file.fei_metadata
    for section in ("Scan", "EScan", "IScan"):
        for axis, key in (("X", "PixelWidth"), ("Y", "PixelHeight")):
            _in(facts, axis, metadata.get(section, {}).get(key), "m", "nm", f"FEI {key}")


def _sem(file: Any, number: int, axes: str, facts: Facts) -> None:
    for key in ("ap_image_pixel_size", "ap_pixel_size"):
        name, size, *unit = file.sem_metadata.get(key, ("", None))
        for axis in "YX":
            facts.size(axis, size, str(unit[0]) if unit else None, f"Zeiss {name}")


def _fluoview(file: Any, number: int, axes: str, facts: Facts) -> None:
    letters = {"X": "X", "Y": "Y", "Z": "Z", "T": "T", "TIME": "T"}
    for name, _, _, step, unit in file.fluoview_metadata["Dimensions"]:
        axis = letters.get(str(name).upper())
        if axis is not None:
            facts.size(axis, step, str(unit), f"FluoView {name}")


def _svs(file: Any, number: int, axes: str, facts: Facts) -> None:
    import tifffile

    # The label and the picture of the whole slide have other sizes, which the file does not say.
    if number == 0:
        metadata = tifffile.tifffile.svs_description_metadata(file.pages.first.description)
        for axis in "YX":
            facts.size(axis, metadata.get("MPP"), "um", "SVS MPP")


def _micromanager(file: Any, number: int, axes: str, facts: Facts) -> None:
    summary = (file.micromanager_metadata or {}).get("Summary", {})
    plane = file.pages.first.tags.valueof(51123) or {}
    for axis in "YX":
        for name, source in (("PixelSize_um", summary), ("PixelSizeUm", plane), ("PixelSizeUm", summary)):
            facts.size(axis, source.get(name), "um", f"Micro-Manager {name}")
    for name in ("z-step_um", "z-stepUm"):
        facts.size("Z", summary.get(name), "um", f"Micro-Manager {name}")
    for name in ("Interval_ms", "WaitInterval"):
        facts.size("T", summary.get(name), "ms", f"Micro-Manager {name}")
    names, colors = summary.get("ChNames", ()), summary.get("ChColors", ())
    if not any(facts.channels):
        facts.channels = tuple(map(str, names)) if isinstance(names, list) else ()
    if not any(facts.colors) and isinstance(colors, list):
        facts.colors = tuple(f"#{int(each) & 0xFFFFFF:06x}" for each in colors)


def _scanimage(file: Any, number: int, axes: str, facts: Facts) -> None:
    frames = _scanimage_settings(file)
    corners = np.asarray(frames.get("SI.hRoiManager.imagingFovUm", ()), float)
    page = file.series[number].keyframe
    if corners.ndim == 2 and corners.shape[1] == 2:
        for axis, span, count in zip("XY", np.ptp(corners, axis=0), (page.imagewidth, page.imagelength), strict=True):
            facts.size(axis, span / count, "um", "ScanImage imagingFovUm")
    for name in ("actualStackZStepSize", "stackZStepSize"):
        facts.size("Z", frames.get(f"SI.hStackManager.{name}"), "um", f"ScanImage {name}")
    if "Z" in axes:
        rate = as_number(frames.get("SI.hRoiManager.scanVolumeRate"))
        facts.size("T", 1 / rate if rate else None, "s", "ScanImage scanVolumeRate")
    else:
        facts.size("T", frames.get("SI.hRoiManager.scanFramePeriod"), "s", "ScanImage scanFramePeriod")


def _scanimage_settings(file: TiffFile) -> dict[str, Any]:
    import tifffile

    found = (file.scanimage_metadata or {}).get("FrameData")
    if found is None:
        # Files that are no BigTIFF have the settings in this tag.
        text = str(file.pages.first.tags.valueof("Software", ""))
        found = tifffile.matlabstr2py(text) if text.startswith("SI.") else {}
    return found if isinstance(found, dict) else {}


def scanimage_axes(file: TiffFile, series: TiffPageSeries) -> tuple[tuple[int, ...], str] | None:
    """Return shape and axes of a ScanImage file, which has channels, frames, slices and volumes as a flat sequence.

    Planes are those of a movie unless the settings ask for a stack.
    """
    if series.kind != "scanimage" or len(series.shape) < 3:
        return None
    frames = _scanimage_settings(file)
    plane = series.shape[-2:]
    count = math.prod(series.shape[:-2])
    saved = frames.get("SI.hChannels.channelSave", 1)
    channels = len(np.ravel(saved))
    stacked = frames.get("SI.hStackManager.enable") or frames.get("SI.hFastZ.enable")
    slices = _whole(frames.get("SI.hStackManager.actualNumSlices", frames.get("SI.hStackManager.numSlices")))
    slices = slices if stacked else 1
    each = _whole(frames.get("SI.hStackManager.framesPerSlice"))
    back = (
        _whole(frames.get("SI.hFastZ.numDiscardFlybackFrames")) if frames.get("SI.hFastZ.discardFlybackFrames") else 0
    )
    if slices > 1 and each > 1 and count == slices * each * channels:
        shape, axes = (slices, each, channels, *plane), "ZTCYX"
    elif slices > 1 and each == 1 and count % (slices * channels) == 0:
        shape, axes = (count // (slices * channels), slices, channels, *plane), "TZCYX"
    elif slices > 1 and each == 1 and back and count % ((slices + back) * channels) == 0:
        # Frames that were taken while the focus moved back are kept behind the slices.
        shape, axes = (count // ((slices + back) * channels), slices + back, channels, *plane), "TZCYX"
    elif slices == 1 and count % channels == 0:
        shape, axes = (count // channels, channels, *plane), "TCYX"
    else:
        return None
    kept = [at for at, n in enumerate(shape) if n > 1 or axes[at] in "YX"]
    return tuple(shape[at] for at in kept), "".join(axes[at] for at in kept)


def _whole(value: Any) -> int:
    number = as_number(value)
    return int(number) if 1 <= number < 1e9 else 1


def _in(facts: Facts, axis: str, size: Any, unit: str, other: str, field: str) -> None:
    """Note a size in another unit, which is the usual one for such voxels."""
    if size is not None:
        facts.size(axis, in_unit(float(size), unit, other), other, field)


# The first of these that says a size counts.
_READERS: dict[str, Callable[[Any, int, str, Facts], None]] = {
    "ome": _ome,
    "lsm": _lsm,
    "stk": _stk,
    "fluoview": _fluoview,
    "metaseries": _metaseries,
    "fei": _fei,
    "sem": _sem,
    "scanimage": _scanimage,
    "svs": _svs,
    "micromanager": _micromanager,
    "imagej": _imagej,
    "shaped": _shaped,
}

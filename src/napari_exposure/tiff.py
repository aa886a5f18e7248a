"""TIFF volumes with their voxel size: read, and written block by block."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import re
import shutil
import threading
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from napari_exposure.core.blocks import store
from napari_exposure.files import DamagedFile, FileVolume
from napari_exposure.voxels import SECONDS, converted, unit_name

__all__ = ["read_tiff"]

# dots an inch that printers and screens have, and no microscope
_DPI = (72, 96, 150, 200, 300, 600)
# a file with more bytes is read as it is looked at
LAZY_BYTES = 1 << 30
# a strip or tile of more bytes is one only if it was not packed tighter than any method packs
SEGMENT_BYTES, MOST_PACKED = 1 << 28, 20_000
ANNOTATION = "napari-exposure"
IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
TIFF_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_MISSING = re.compile("invalid (page|value) offset")


def read_tiff(path, *, lazy=None) -> FileVolume:
    """Read the first series of a TIFF file with the voxel size that ImageJ, OME or resolution tags give.

    Parameters
    ----------
    path : str or pathlib.Path
    lazy : bool, optional
        Whether data are read as they are looked at: as a memory map, or, where the file is compressed, a dask
        array.  Default: of more than 1 GB.

    Returns
    -------
    FileVolume

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a TIFF file, or one that is damaged or does not fit into memory.

    Examples
    --------
    >>> import tempfile, numpy as np, tifffile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "stack.tif")
    >>> tifffile.imwrite(path, np.zeros((3, 4, 5), np.uint8), imagej=True, resolution=(4, 4),
    ...                  metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"})
    >>> volume = read_tiff(path)
    >>> volume.scale, volume.unit
    ((2.0, 0.25, 0.25), 'um')
    >>> volume.came_from["Z"]
    'ImageJ spacing'
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with _whole(), _opened(path) as file:
            series = file.series[0]
            _check_planes(path, file, series)
            axes, facts = series.axes, _facts(file, series)
            data = _data(path, file, series, lazy)
    except ImportError:
        raise
    except MemoryError as error:
        raise ValueError(f"{path.name} does not fit into memory: {error}") from None
    except Exception as error:
        # damaged files raise whatever the place that is damaged leads to
        kind = ValueError if isinstance(error, OSError) else DamagedFile
        raise kind(f"{path.name} cannot be read as TIFF: {type(error).__name__}: {error}") from error
    if "Z" not in axes:
        # planes that the file gives no name, or only a number
        for unnamed in "QI":
            axes = axes.replace(unnamed, "Z", 1)
    strange = sorted(set(axes) - set("TCZYXS"))
    if strange or len(set(axes)) != len(axes) or "Y" not in axes or "X" not in axes:
        raise ValueError(f"{path.name} has the axes {axes}; only T, C, Z, Y, X and S (colour), each once, can be read.")
    # ImageJ keeps the channels inside the planes; what is not space comes first here
    order = sorted(range(len(axes)), key=lambda axis: "TCZYXS".find(axes[axis]))
    axes = "".join(axes[axis] for axis in order)
    return facts.volume(data.transpose(order), axes, path.name.split(".")[0])


@contextlib.contextmanager
def _whole():
    """Raise where tifffile goes on with what is left of a file, and only logs what it has not found."""
    missing, reader = [], threading.get_ident()

    class Missing(logging.Handler):
        def emit(self, record):
            # Each handler hears what tifffile says in all threads, but other threads are at other files.
            if record.thread == reader and _MISSING.search(record.getMessage()):
                missing.append(record)

    handler = Missing()
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
    if missing:
        raise ValueError("it is cut off or damaged: pages or fields lie beyond its end")


@contextlib.contextmanager
def _opened(path: Path):
    """A TIFF file that reads no files but those in its own folder.

    OME-TIFF and the files of Micro-Manager may go on in others, which the file names, and which tifffile opens
    wherever they are and whatever they are, also pipes.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        if file.is_micromanager:
            _check_micromanager(path)
        local = _local_names(path, file.ome_metadata) if file.is_ome else None
        if local is None:
            yield file
            return
    with tifffile.TiffFile(path, omexml=local) as file:
        yield file


def _local_names(path: Path, metadata: str) -> str | None:
    """OME-XML whose names of files are looked up in the folder of `path`; None where they are so already.

    Names with folders come of files that were moved together. What is not beside `path` has no name in the end, and
    is missing as a file is that was not copied.
    """
    try:
        root = ElementTree.fromstring(metadata)
    except ElementTree.ParseError:
        # tifffile says so too, and reads the file without it.
        return None
    changed = False
    for element in root.iter():
        if (given := element.get("FileName")) is not None:
            name = _beside(path, given)
            changed |= name != given
            element.set("FileName", name)
    return ElementTree.tostring(root, encoding="unicode") if changed else None


def _beside(path: Path, given: str) -> str:
    """The name in the folder of `path` of a file that is given with any folder, or "" where there is none."""
    name = re.split(r"[/\\]", given)[-1]
    return name if name == path.name or _is_beside(path, name) else ""


def _is_beside(path: Path, name: str) -> bool:
    """Whether a name is that of a file in the folder of `path`, or of where that leads to if it is a link."""
    other = path.parent / name
    return other.is_file() and other.resolve().parent in (path.parent.resolve(), path.resolve().parent)


def _check_micromanager(path: Path) -> None:
    """Raise where a file of Micro-Manager goes on in what is not beside it."""
    import tifffile

    names = {other.name for other in path.parent.glob("*_MMStack*.tif")}
    index = path.with_name("NDTiff.index")
    if index.exists():
        names.add(index.name)
        if _is_beside(path, index.name):
            names |= {str(entry[1]) for entry in tifffile.read_ndtiff_index(index)}
    strange = sorted(name for name in names if not _is_beside(path, name))
    if strange:
        raise ValueError(f"it goes on in {', '.join(strange)}, which is no file in its folder")


def _check_planes(path: Path, file, series) -> None:
    """Raise where planes lie in files that are not there: tifffile gives zeros for them."""
    if series.kind != "ome" or all(page is not None for page in series):
        return
    root = ElementTree.fromstring(file.pages.first.description)
    names = {element.get("FileName") for element in root.iter()} - {None}
    missing = sorted(name for name in names if not _beside(path, name))
    if missing:
        raise ValueError(f"planes of it lie in other files, which are not in its folder: {', '.join(missing)}")


def _data(path: Path, file, series, lazy):
    bytes_ = math.prod(series.shape) * series.dtype.itemsize
    lazy = bytes_ > LAZY_BYTES if lazy is None else lazy
    contiguous = series.dataoffset
    if contiguous is not None and contiguous + bytes_ > path.stat().st_size:
        raise ValueError(f"it ends before its data do: {path.stat().st_size} bytes instead of {contiguous + bytes_}")
    if contiguous is None:
        _check_segments(series)
    if not lazy:
        data = series.asarray()
        if data.shape != tuple(series.shape):
            raise ValueError(f"it holds data of shape {data.shape} instead of {tuple(series.shape)}")
        return data
    if contiguous is not None:
        byteorder = series.dtype.newbyteorder(file.byteorder)
        return np.memmap(path, byteorder, "r", contiguous, tuple(series.shape))
    try:
        import dask.array as da
        import zarr
    except ImportError:
        raise ImportError('compressed data of this size need zarr: pip install "napari-exposure[zarr]"') from None
    import tifffile

    xml = file.ome_metadata if file.is_ome else None
    store = tifffile.imread(path, aszarr=True, series=0, level=0, omexml=xml)
    found = zarr.open(store, mode="r")
    # the file is open as long as anybody may look
    weakref.finalize(found, store.close)
    return da.from_zarr(found)


def _check_segments(series) -> None:
    """Raise where strips or tiles are missing, or so large that only a damaged file says so."""
    page = series.keyframe
    if len(page.dataoffsets) < math.prod(page.chunked):
        raise ValueError(f"it holds {len(page.dataoffsets)} of {math.prod(page.chunked)} strips or tiles")
    size = math.prod(page.chunks) * series.dtype.itemsize
    packed = max(page.databytecounts, default=0)
    if size > SEGMENT_BYTES and size > MOST_PACKED * packed:
        raise ValueError(f"it says that {packed} bytes hold {size / 2**30:.1f} GB")


@dataclass
class _Facts:
    """What a file says of its voxels; units are of this module, and may differ between the axes."""

    sizes: dict = field(default_factory=dict)
    units: dict = field(default_factory=dict)
    came_from: dict = field(default_factory=dict)
    name: str = ""
    channels: tuple = ()
    colors: tuple = ()
    notes: dict = field(default_factory=dict)

    def size(self, axis: str, size, unit: str | None, field: str) -> None:
        """Note the size along an axis, if it is one."""
        try:
            size = abs(float(size))
        except (TypeError, ValueError):
            return
        if 0 < size < math.inf:
            self.sizes[axis], self.units[axis], self.came_from[axis] = size, unit, field

    def volume(self, data, axes: str, name: str) -> FileVolume:
        unit = next((self.units[axis] for axis in "XYZ" if self.units.get(axis)), None)
        if unit is not None:
            for axis in "ZYX":
                if self.units.get(axis) not in (None, unit):
                    self.sizes[axis] = converted(self.sizes[axis], self.units[axis], unit)
        return FileVolume.of(
            data,
            axes,
            (self.sizes.get(axis, 1.0) for axis in axes if axis != "S"),
            unit,
            timed="T" in self.sizes,
            name=self.name or name,
            channels=self.channels,
            colors=self.colors,
            notes=self.notes,
            came_from={axis: field for axis, field in self.came_from.items() if axis in axes or axis == "unit"},
        )


def _facts(file, series) -> _Facts:
    facts = _Facts()
    if file.is_ome:
        _ome(file, facts)
    elif file.is_imagej:
        _imagej(file, facts)
    else:
        _tags(file, facts)
    return facts


def _ome(file, facts: _Facts) -> None:
    import tifffile

    root = tifffile.xml2dict(file.ome_metadata)["OME"]
    image = _listed(root["Image"])[0]
    pixels = image["Pixels"]
    name = str(image.get("Name", ""))
    # which is what software writes that knows no name
    facts.name = "" if re.fullmatch(r"Image ?:?\d*", name) else name
    for axis in "ZYX":
        key = f"PhysicalSize{axis}"
        if key in pixels:
            text = pixels.get(f"{key}Unit", "µm")
            facts.size(axis, pixels[key], unit_name(text), f"OME {key}")
    if "TimeIncrement" in pixels:
        seconds = SECONDS.get(str(pixels.get("TimeIncrementUnit", "s")).lower())
        if seconds is not None:
            facts.size("T", float(pixels["TimeIncrement"]) * seconds, "s", "OME TimeIncrement")
    if any(facts.units.get(axis) for axis in "ZYX"):
        facts.came_from["unit"] = "OME PhysicalSizeUnit"
    channels = _listed(pixels.get("Channel", []))
    if channels and all("Name" in channel for channel in channels):
        facts.channels = tuple(str(channel["Name"]) for channel in channels)
    if channels and all("Color" in channel for channel in channels):
        # red, green, blue and alpha in a signed integer
        facts.colors = tuple(f"#{(int(channel['Color']) >> 8) & 0xFFFFFF:06x}" for channel in channels)
    for annotation in _listed(root.get("StructuredAnnotations", {}).get("CommentAnnotation", [])):
        if annotation.get("Namespace") == ANNOTATION:
            notes = json.loads(annotation["Value"])
            facts.notes = notes if isinstance(notes, dict) else {}


def _imagej(file, facts: _Facts) -> None:
    metadata = file.imagej_metadata or {}
    unit = unit_name(metadata.get("unit", ""))
    _resolution(file, facts, unit)
    facts.size("Z", metadata.get("spacing"), unit_name(metadata.get("zunit", "")) or unit, "ImageJ spacing")
    facts.size("T", metadata.get("finterval"), "s", "ImageJ finterval")
    if unit is not None:
        facts.came_from["unit"] = "ImageJ unit"


def _tags(file, facts: _Facts) -> None:
    tags = file.pages[0].tags
    unit = {2: "inch", 3: "cm"}.get(int(tags["ResolutionUnit"].value)) if "ResolutionUnit" in tags else None
    if unit is None:
        return
    _resolution(file, facts, unit)
    if unit == "inch" and any(abs(1 / size - dpi) < 0.01 for size in facts.sizes.values() for dpi in _DPI):
        facts.sizes, facts.units, facts.came_from = {}, {}, {}
    for axis, size in facts.sizes.items():
        # inches and centimetres are how TIFF counts, not how microscopists do
        facts.sizes[axis], facts.units[axis] = converted(size, unit, "um"), "um"
    if facts.sizes:
        facts.came_from["unit"] = "ResolutionUnit"


def _resolution(file, facts: _Facts, unit: str | None) -> None:
    tags = file.pages[0].tags
    for axis in "YX":
        if f"{axis}Resolution" in tags:
            numerator, denominator = tags[f"{axis}Resolution"].value
            if numerator and denominator:
                facts.size(axis, denominator / numerator, unit, f"{axis}Resolution")


def _listed(value) -> list:
    return value if isinstance(value, list) else [value]


# --- written ---


def check_tiff(volume: FileVolume, imagej: bool) -> None:
    """Raise what such a TIFF cannot hold."""
    dtype = volume.data.dtype
    if dtype.name not in TIFF_DTYPES:
        raise TypeError(
            f"OME-TIFF has no {dtype}; save as .zarr, or convert it, such as with result.astype('float32')."
        )
    if imagej and dtype.name not in IMAGEJ_DTYPES:
        raise TypeError(
            f"ImageJ's TIFF has no {dtype}, only {', '.join(IMAGEJ_DTYPES)}. Write OME-TIFF (imagej=False), or convert "
            "it, such as with result.astype('float32')."
        )
    if imagej and math.prod(volume.data.shape) * dtype.itemsize >= 4 << 30:
        raise ValueError("ImageJ's TIFF holds less than 4 GB. Write OME-TIFF (imagej=False), which Fiji opens as well.")


def write_pages(volume: FileVolume, path: Path, imagej: bool) -> None:
    """Write a volume as OME-TIFF, or as ImageJ's."""
    import tifffile

    array, axes = volume.data, volume.axes
    needed, free = math.prod(array.shape) * array.dtype.itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, "too large", str(path))
    colours = axes.endswith("S")
    sizes = dict(zip(axes.removesuffix("S"), volume.scale, strict=True))
    order = list(range(len(axes)))
    if imagej:
        # channels inside the planes
        order.sort(key=lambda axis: "TZCYXS".find(axes[axis]))
    options = _imagej_options(volume, sizes) if imagej else {"ome": True, "metadata": _ome_metadata(volume, sizes)}
    options["metadata"]["axes"] = "".join(axes[axis] for axis in order)
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
    store(array, written.transpose(np.argsort(order)), "writing")
    written.flush()


def _ome_metadata(volume: FileVolume, sizes: dict) -> dict:
    metadata = {"Name": volume.name}
    if volume.unit is not None or set(volume.scale) != {1.0}:
        symbol = {"um": "µm", "inch": "in", None: "pixel"}.get(volume.unit, volume.unit)
        for axis in "ZYX":
            if axis in sizes:
                metadata |= {f"PhysicalSize{axis}": sizes[axis], f"PhysicalSize{axis}Unit": symbol}
    if volume.timed:
        metadata |= {"TimeIncrement": sizes["T"], "TimeIncrementUnit": "s"}
    channels = {}
    if volume.channels:
        channels["Name"] = list(volume.channels)
    if volume.colors:
        # red, green, blue and alpha in a signed integer
        numbers = [(int(color[1:], 16) << 8) | 0xFF for color in volume.colors]
        channels["Color"] = [number - (1 << 32) if number >= 1 << 31 else number for number in numbers]
    if channels:
        metadata["Channel"] = channels
    if volume.notes:
        metadata["CommentAnnotation"] = {"Namespace": ANNOTATION, "Value": json.dumps(volume.notes)}
    return metadata


def _imagej_options(volume: FileVolume, sizes: dict) -> dict:
    metadata = {}
    if volume.unit is not None:
        metadata["unit"] = volume.unit
    if "Z" in sizes:
        metadata["spacing"] = sizes["Z"]
    if volume.timed:
        metadata["finterval"] = sizes["T"]
    if volume.notes:
        metadata["Info"] = json.dumps(volume.notes)
    return {"imagej": True, "resolution": (1 / sizes["X"], 1 / sizes["Y"]), "metadata": metadata}

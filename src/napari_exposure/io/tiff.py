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
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_exposure.core.blocks import store
from napari_exposure.core.flatfile import FlatFile
from napari_exposure.core.intensity import as_path
from napari_exposure.core.lazy import as_dask
from napari_exposure.core.words import warn_user
from napari_exposure.io.files import (
    BIG_SUFFIXES,
    UNKNOWN,
    DamagedFile,
    Facts,
    FileVolume,
    Refused,
    check_axes,
    check_chunk,
    check_memory,
    check_readable,
    chosen,
    converted,
    given_axes,
    in_order,
    stem,
)
from napari_exposure.io.tiff_facts import ANNOTATION, DISPLAY, children, find_facts, scanimage_axes
from napari_exposure.io.units import unit_name

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

__all__ = ["read_tiff"]

# a file with more bytes is read as it is looked at
LAZY_BYTES = 1 << 30
# a strip or tile of more bytes is one only if it was not packed tighter than any method packs
SEGMENT_BYTES, MOST_PACKED = 1 << 28, 20_000
IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
TIFF_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_MISSING = re.compile("invalid (page|value) offset")


def read_tiff(
    path: str | PathLike[str], *, lazy: bool | None = None, axes: str | None = None, series: int | None = None
) -> FileVolume:
    """Read an image of a TIFF file with what the file says of it: voxel size, axes, channels, place.

    Sizes come from what OME, ImageJ, LSM, MetaMorph, Micro-Manager, ScanImage, SVS and electron microscopes write,
    else from resolution tags, unless these hold the dots an inch of a printer, screen or scanner.

    Parameters
    ----------
    path : str or pathlib.Path
    lazy : bool, optional
        Whether data are read as they are looked at, as a dask array.  Default: of more than 1 GB.
    axes : str, optional
        A letter of "tczyxs" for each axis of the data, in the order of the file, where the file does not say or says
        something else; s is color.
    series : int, optional
        Which image, in a file of several.  Default: the first; `FileVolume.images` lists them.

    Returns
    -------
    FileVolume

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a TIFF file, one that is damaged or does not fit into memory, or an image of another kind than
        gray values or RGB.

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
    path = _with_planes(as_path(path))
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    check_readable(path)
    try:
        with _whole(), _opened(path) as (file, xml):
            # thumbnails are no images of their own
            within = [at for at, each in enumerate(file.series) if at == 0 or not each.keyframe.is_reduced]
            images = [f"{file.series[at].name or 'image'} ({_shape(file.series[at])})" for at in within]
            number = chosen(path.name, images, series)
            found = file.series[within[number]]
            _check_planes(path, file, found, xml)
            facts, shape, letters = Facts(), tuple(found.shape), found.axes
            split = scanimage_axes(file, found)
            if split is not None:
                shape, letters = split
            find_facts(file, within[number], letters, facts)
            samples = _samples(path, found.keyframe)
            data = _upright(path, _data(path, file, within[number], lazy), found.keyframe)
    except (ImportError, Refused):
        raise
    except MemoryError as error:
        raise ValueError(f"{path.name} does not fit into memory: {error}") from None
    except Exception as error:
        # damaged files raise whatever the place that is damaged leads to
        kind = ValueError if isinstance(error, OSError) else DamagedFile
        raise kind(f"{path.name} cannot be read as TIFF: {type(error).__name__}: {error}") from error
    letters = letters.replace("S", samples)
    guessed = ""
    if axes is not None:
        letters = given_axes(path.name, shape, axes)
    else:
        letters, guessed = _named(letters)
    check_axes(path.name, letters)
    # ImageJ keeps the channels inside the planes; what is not space comes first here
    letters, order = in_order(letters)
    return facts.volume(
        data.reshape(shape).transpose(order),
        letters,
        stem(path),
        guessed=guessed,
        images=tuple(images) if len(images) > 1 else (),
        series=number,
    )


def _shape(series: TiffPageSeries) -> str:
    return f"{' x '.join(map(str, series.shape))} {series.axes}"


def _named(axes: str) -> tuple[str, str]:
    """Axes with letters for those that the file gives no name, or only a number, and which of them are guesses."""
    unnamed = [at for at, axis in enumerate(axes) if axis in "QI"]
    free = [axis for axis in "ZTC" if axis not in axes][: len(unnamed)]
    if not unnamed or len(free) < len(unnamed):
        return axes, ""
    guesses = "".join(axis for axis in "TCZ" if axis in free)
    letters = list(axes)
    for at, guess in zip(unnamed, guesses, strict=True):
        letters[at] = guess
    return "".join(letters), guesses


# --- what the pixels are ---

# of photometric interpretations: what cannot be shown as red, green and blue without a color profile
_OTHER_COLORS = {5: "CMYK", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32845: "CIE Log2(Luv)"}
_JPEG = (6, 7, 33003, 33004, 33005, 34712, 34892)


def _samples(path: Path, page: Any) -> str:
    """What the samples of a pixel are: S, color, or C, channels."""
    photometric = int(page.photometric)
    kind = _OTHER_COLORS.get(photometric)
    if photometric == 6 and int(page.compression) not in _JPEG:
        kind = "YCbCr"
    if kind is not None:
        raise Refused(
            f"{path.name} holds {kind} colors, which are no gray values and no RGB. Convert it to RGB first, such as "
            f"with Pillow: Image.open({path.name!r}).convert('RGB').save('rgb.tif')."
        )
    return "S" if photometric in (2, 6) and page.samplesperpixel in (3, 4) else "C"


def _upright(path: Path, data: Any, page: Any) -> Any:
    """Values that grow with brightness: in some files 0 is white, and viewers show it so."""
    if int(page.photometric) != 0:
        return data
    if data.dtype.kind not in "bu":
        warn_user(
            f"{path.name} says that 0 is white, but {data.dtype} has no value that is black then. It is read as it is: "
            "higher values are darker."
        )
        return data
    if data.dtype.kind == "b":
        return ~data
    return data.dtype.type(2**page.bitspersample - 1) - data


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """Raise where tifffile goes on with what is left of a file, and only logs what it has not found."""
    missing: list[logging.LogRecord] = []
    reader = threading.get_ident()

    class Missing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
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
def _opened(path: Path) -> Iterator[tuple[TiffFile, str | None]]:
    """A TIFF file that reads no files but those in its own folder, and its OME-XML as it is written, or None.

    OME-TIFF and the files of Micro-Manager may go on in others, which the file names, and which tifffile opens
    wherever they are and whatever they are, also pipes.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        if file.is_micromanager:
            _check_micromanager(path)
        xml = _ome_xml(path, file) if file.is_ome else None
        local = None if xml is None else _local_names(path, xml)
        if local is None and (xml is None or xml == file.ome_metadata):
            yield file, xml
            return
    with tifffile.TiffFile(path, omexml=local or xml) as file:
        yield file, xml


def _ome_xml(path: Path, file: TiffFile) -> str:
    """The OME-XML of a file, or what it says that stands in another one, which has that of all files."""
    own = in_xml(_REFERENCE.sub(_checked_reference, file.ome_metadata or ""))
    try:
        root = ElementTree.fromstring(own)
    except ElementTree.ParseError:
        # tifffile says so too, and reads the file without it.
        return own
    elsewhere = [each.get("MetadataFile", "") for each in children(root, "BinaryOnly")]
    if not elsewhere:
        return own
    name = _beside(path, elsewhere[0])
    if not name or name == path.name:
        raise ValueError(f"what it holds is said in {elsewhere[0] or 'another file'}, which is not in its folder")
    import tifffile

    other = path.parent / name
    if name.lower().endswith(".ome"):
        text = other.read_text(encoding="utf-8")
    else:
        with tifffile.TiffFile(other) as master:
            text = master.ome_metadata or ""
    found = ElementTree.fromstring(text)
    # tifffile takes the file with the identity of the XML for the one that it has open.
    found.set("UUID", root.get("UUID", ""))
    return ElementTree.tostring(found, encoding="unicode")


# What XML cannot hold, and other ways to write it.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile("&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")


def in_xml(text: str) -> str:
    """A text with a replacement for each character that XML cannot hold, such as control characters in a name."""
    return _NO_XML.sub("\ufffd", text)


def _checked_reference(found: re.Match[str]) -> str:
    number = int(found[1], 16) if found[1] else int(found[2])
    return "\ufffd" if number > 0x10FFFF or _NO_XML.fullmatch(chr(number)) else found[0]


def _with_planes(path: Path) -> Path:
    """The first file of planes that a companion file of OME-XML names, or the file itself."""
    if not path.name.lower().endswith(".companion.ome") or not path.is_file():
        return path
    try:
        root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise DamagedFile(f"{path.name} cannot be read as OME-XML: {error}") from None
    names = _file_names(root)
    found = next((_beside(path, name) for name in names if _beside(path, name)), None)
    if found is None:
        raise ValueError(f"{path.name} names planes in {', '.join(names) or 'no file'}, which are not in its folder.")
    return path.parent / found


def goes_on_in(path: Path) -> set[Path]:
    """The files of which a file says that they are parts of the same volume."""
    import tifffile

    try:
        path = _with_planes(path)
        with tifffile.TiffFile(path) as file:
            root = ElementTree.fromstring(_ome_xml(path, file)) if file.is_ome else None
            indexed = _indexed(path) if file.is_ndtiff else set()
    except Exception:
        # Whatever is wrong is said when it is read.
        return set()
    given = set(_file_names(root)) if root is not None and len(root) else indexed
    return {path.parent / name for name in (_beside(path, each) for each in given) if name}


def _file_names(root: ElementTree.Element) -> list[str]:
    """The names of files in OME-XML, in its order."""
    return [name for each in root.iter() if (name := each.get("FileName")) is not None]


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


def _indexed(path: Path) -> set[str]:
    """The files that the index of Micro-Manager beside a file names."""
    import tifffile

    return {str(entry[1]) for entry in tifffile.read_ndtiff_index(path.with_name("NDTiff.index"))}


def _check_micromanager(path: Path) -> None:
    """Raise where a file of Micro-Manager goes on in what is not beside it."""
    names = {other.name for other in path.parent.glob("*_MMStack*.tif")}
    index = path.with_name("NDTiff.index")
    if index.exists():
        names.add(index.name)
        if _is_beside(path, index.name):
            names |= _indexed(path)
    strange = sorted(name for name in names if not _is_beside(path, name))
    if strange:
        raise ValueError(f"it goes on in {', '.join(strange)}, which is no file in its folder")


def _check_planes(path: Path, file: TiffFile, series: TiffPageSeries, xml: str | None) -> None:
    """Raise where planes are not there: tifffile gives zeros for them, or what is left."""
    if file.is_imagej and series.kind in ("generic", "uniform", "shaped"):
        count = (file.imagej_metadata or {}).get("images", "more")
        raise ValueError(f"ImageJ says that it holds {count} images, but not all of them are there: it is cut off")
    if series.kind != "ome" or all(page is not None for page in series):
        return
    names = _file_names(ElementTree.fromstring(xml or ""))
    missing = sorted({name for name in names if not _beside(path, name)})
    if missing:
        raise ValueError(f"planes of it lie in other files, which are not in its folder: {', '.join(missing)}")
    raise ValueError("planes that it names are not there")


def _data(path: Path, file: TiffFile, number: int, lazy: bool | None) -> Any:
    series = file.series[number]
    bytes_ = math.prod(series.shape) * series.dtype.itemsize
    lazy = bytes_ > LAZY_BYTES if lazy is None else lazy
    contiguous = series.dataoffset
    if contiguous is not None and contiguous + bytes_ > path.stat().st_size:
        raise ValueError(f"it ends before its data do: {path.stat().st_size} bytes instead of {contiguous + bytes_}")
    if contiguous is None:
        _check_segments(series)
        check_chunk(path.name, series.keyframe.chunks, series.dtype)
    if not lazy:
        check_memory(path.name, series.shape, series.dtype)
        data = series.asarray()
        if data.shape != tuple(series.shape):
            raise ValueError(f"it holds data of shape {data.shape} instead of {tuple(series.shape)}")
        return data
    if contiguous is not None:
        return as_dask(FlatFile(path, series.dtype.newbyteorder(file.byteorder), contiguous, tuple(series.shape)))
    try:
        import dask.array as da
        import zarr
    except ImportError:
        raise ImportError('compressed data of this size need zarr: pip install "napari-exposure[zarr]"') from None
    import tifffile

    xml = file.ome_metadata if file.is_ome else None
    store = tifffile.imread(path, aszarr=True, series=number, level=0, omexml=xml)
    found = zarr.open(store, mode="r")
    # the file is open as long as anybody may look
    weakref.finalize(found, store.close)
    return da.from_zarr(found)


def _check_segments(series: TiffPageSeries) -> None:
    """Raise where strips or tiles are missing, or so large that only a damaged file says so."""
    page: Any = series.keyframe
    if len(page.dataoffsets) < math.prod(page.chunked):
        raise ValueError(f"it holds {len(page.dataoffsets)} of {math.prod(page.chunked)} strips or tiles")
    size = math.prod(page.chunks) * series.dtype.itemsize
    packed = max(page.databytecounts, default=0)
    if size > SEGMENT_BYTES and size > MOST_PACKED * packed:
        raise ValueError(f"it says that {packed} bytes hold {size / 2**30:.1f} GB")


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
    sizes = volume.sizes
    order = list(range(len(axes)))
    if imagej:
        # channels inside the planes
        order.sort(key=lambda axis: "TZCYXS".find(axes[axis]))
    options: dict[str, Any] = (
        _imagej_options(volume, sizes) if imagej else {"ome": True, "metadata": _ome_metadata(volume, sizes)}
    )
    options["metadata"]["axes"] = "".join(axes[axis] for axis in order)
    written = tifffile.memmap(
        path,
        shape=tuple(array.shape[axis] for axis in order),
        dtype=np.dtype(array.dtype).newbyteorder(">" if imagej else "="),
        photometric="rgb" if colours else "minisblack",
        planarconfig="contig" if colours else None,
        extrasamples=("unassalpha",) if colours and array.shape[-1] == 4 else None,
        bigtiff=True if path.suffix.lower() in BIG_SUFFIXES else None,
        **options,
    )
    if hasattr(os, "posix_fallocate"):
        # a disk that fills up later would be a bus error
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    store(array, written.transpose(np.argsort(order)), "writing")
    written.flush()


# The units of lengths that OME has, where it spells them otherwise.
_SYMBOLS = {"um": "µm", "angstrom": "Å", "inch": "in", "au": "ua", "point": "pt", "us": "µs"}
_OTHERS = frozenset(
    (
        *("Ym", "Zm", "Em", "Pm", "Tm", "Gm", "Mm", "km", "hm", "dam", "m", "dm", "cm", "mm", "nm", "pm", "fm", "am"),
        *("zm", "ym", "thou", "ft", "yd", "mi", "ly", "pc", "s", "ms", "ns", "ps", "min", "h", "d"),
    )
)


def _in_ome(size: float, unit: str) -> tuple[float, str]:
    """A size in a unit that OME has."""
    if unit in _SYMBOLS or unit in _OTHERS:
        return size, _SYMBOLS.get(unit, unit)
    base = "m" if unit_name(unit) else "s"
    return converted(size, unit, base), base


def _ome_metadata(volume: FileVolume, sizes: Mapping[str, tuple[float, str]]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"Name": in_xml(volume.name)}
    # Sizes without a unit are said too, but not that a size is 1 where it is only not known.
    for axis, key in (("Z", "PhysicalSizeZ"), ("Y", "PhysicalSizeY"), ("X", "PhysicalSizeX"), ("T", "TimeIncrement")):
        size, unit = sizes.get(axis, (1.0, UNKNOWN))
        if unit != UNKNOWN:
            size, unit = _in_ome(size, unit)
        if unit != UNKNOWN or (axis != "T" and size != 1):
            metadata |= {key: size, f"{key}Unit": unit}
    channels: dict[str, list[Any]] = {}
    count = volume.data.shape[volume.axes.index("C")] if "C" in volume.axes else 1
    if volume.channels:
        channels["Name"] = _padded([in_xml(name) for name in volume.channels], count)
    if volume.colors:
        # red, green, blue and alpha in a signed integer
        numbers = [(int(color[1:], 16) << 8) | 0xFF if color else None for color in _padded(volume.colors, count)]
        channels["Color"] = [n if n is None or n < 1 << 31 else n - (1 << 32) for n in numbers]
    if channels:
        metadata["Channel"] = channels
    if any(volume.translate):
        planes = math.prod(n for axis, n in zip(volume.axes, volume.data.shape, strict=True) if axis in "TCZ")
        metadata["Plane"] = {}
        for axis, place, unit in zip(volume.axes, volume.translate, volume.units, strict=False):
            if axis in "ZYX":
                place, unit = (place, unit) if unit == UNKNOWN else _in_ome(place, unit)
                metadata["Plane"] |= {f"Position{axis}": [place] * planes, f"Position{axis}Unit": [unit] * planes}
    comments = []
    if volume.notes:
        comments.append({"Namespace": ANNOTATION, "Value": json.dumps(volume.notes)})
    if any(volume.windows):
        comments.append({"Namespace": DISPLAY, "Value": json.dumps({"windows": volume.windows})})
    if comments:
        metadata["CommentAnnotation"] = comments
    return metadata


def _padded(values: Sequence[str], count: int) -> list[str]:
    return [*values, *[""] * count][:count]


def _imagej_options(volume: FileVolume, sizes: Mapping[str, tuple[float, str]]) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    units = {axis: unit for axis, (_, unit) in sizes.items()}
    if units["X"] != UNKNOWN:
        metadata["unit"] = units["X"]
    if "Z" in sizes and (units["Z"] != UNKNOWN or sizes["Z"][0] != 1):
        metadata["spacing"] = sizes["Z"][0]
        if units["Z"] != units["X"]:
            metadata["zunit"] = units["Z"]
    if volume.timed:
        metadata["finterval"] = sizes["T"][0]
        if units["T"] != "s":
            metadata["tunit"] = units["T"]
    for axis, place in zip(volume.axes, volume.translate, strict=False):
        if axis in "ZYX" and place:
            # in voxels
            metadata[f"{axis.lower()}origin"] = -place / sizes[axis][0]
    metadata |= _imagej_display(volume)
    if volume.notes:
        metadata["Info"] = json.dumps(volume.notes)
    return {"imagej": True, "resolution": (1 / sizes["X"][0], 1 / sizes["Y"][0]), "metadata": metadata}


def _imagej_display(volume: FileVolume) -> dict[str, Any]:
    """Names, colors and display windows of channels, as ImageJ has them: only for all channels together."""
    shape = dict(zip(volume.axes, volume.data.shape, strict=True))
    count = shape.get("C", 1)
    shown: dict[str, Any] = {}
    if any(volume.channels):
        names = _padded(volume.channels, count)
        shown["Labels"] = names * (shape.get("T", 1) * shape.get("Z", 1))
    if "S" in volume.axes:
        return shown
    if len(volume.windows) >= count and all(volume.windows):
        # of numbers in a list tifffile makes a tag each, before its version of August 2025
        shown["Ranges"] = tuple(limit for window in volume.windows[:count] for limit in window or ())
    if len(volume.colors) >= count and all(volume.colors):
        ends = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in volume.colors[:count]]
        shown["LUTs"] = [np.rint(np.outer(end, np.linspace(0, 1, 256))).astype(np.uint8) for end in ends]
        shown["mode"] = "composite" if count > 1 else "grayscale"
    return shown

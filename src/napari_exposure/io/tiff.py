"""Reads TIFF volumes with their voxel size, and writes them block by block."""

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
    check_chunk,
    check_memory,
    check_readable,
    chosen,
    converted,
    given_axes,
)
from napari_exposure.io.tiff_facts import ANNOTATION, DISPLAY, PRINTED, children, find_facts, scanimage_axes
from napari_exposure.io.units import unit_name

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

# A larger image is read only as it is looked at, unless the caller says otherwise.
LAZY_BYTES = 1 << 30
# No method packs a strip or tile of more than SEGMENT_BYTES more tightly than MOST_PACKED to one.
SEGMENT_BYTES, MOST_PACKED = 1 << 28, 20_000
IMAGEJ_DTYPES = ("uint8", "uint16", "float32")
TIFF_DTYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_MISSING = re.compile("invalid (page |value )?offset")


def read_tiff(
    path: str | PathLike[str], *, lazy: bool | None = None, axes: str | None = None, series: int | None = None
) -> FileVolume:
    """Read an image of a TIFF file with what the file says of it: voxel size, axes, channels, place.

    Sizes come from the metadata of OME, ImageJ, LSM, MetaMorph, Micro-Manager, ScanImage, SVS and electron microscopes,
    or else from resolution tags, unless these hold the dots per inch of a printer, screen or scanner.

    Parameters
    ----------
    path, lazy, axes, series
        As `read` has them.

    Returns
    -------
    FileVolume

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no TIFF file, is damaged, does not fit into memory, or holds neither gray values nor RGB.

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
            # Thumbnails do not count as images.
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
        # A damaged file may raise any kind of error.
        kind = ValueError if isinstance(error, OSError) else DamagedFile
        words = str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
        raise kind(f"{path.name} cannot be read as TIFF: {words}") from error
    letters = letters.replace("S", samples)
    guessed = ""
    if axes is not None:
        letters = given_axes(path.name, shape, axes)
    else:
        letters, guessed = _named(letters)
    return facts.of_file(path, data.reshape(shape), letters, images, guessed=guessed, series=number)


def _shape(series: TiffPageSeries) -> str:
    return f"{' x '.join(map(str, series.shape))} {series.axes}"


def _named(axes: str) -> tuple[str, str]:
    """Return axes with guessed letters where the file does not name them, and which of them are guesses."""
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

# These photometric interpretations cannot be shown as red, green and blue without a color profile.
_OTHER_COLORS = {5: "CMYK", 8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32845: "CIE Log2(Luv)"}
_JPEG = (6, 7, 33003, 33004, 33005, 34712, 34892)


def _samples(path: Path, page: Any) -> str:
    """Return the axis of the samples of a pixel: S for color, or C for channels."""
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
    """Return values that grow with brightness, inverted if the file says that 0 is white."""
    if int(page.photometric) != 0:
        return data
    if data.dtype.kind not in "bu":
        warn_user(
            f"{path.name} says that 0 is white, but for {data.dtype} that does not say which value is black. It is not "
            "inverted, so higher values are darker."
        )
        return data
    if data.dtype.kind == "b":
        return ~data
    return data.dtype.type(2**page.bitspersample - 1) - data


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """Raise if tifffile logs that a part of a file is missing, because it then reads only the rest, or nothing."""
    missing: list[logging.LogRecord] = []
    reader = threading.get_ident()

    class Missing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # A handler gets the records of all threads, but other threads read other files.
            if record.thread == reader and _MISSING.search(record.getMessage()):
                missing.append(record)

    handler = Missing()
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield
    except Exception:
        # What fails because of the missing part, such as the first of no pages, says less than that it is missing.
        if not missing:
            raise
    finally:
        logger.removeHandler(handler)
    if missing:
        raise ValueError("it is cut off or damaged: pages or fields lie beyond its end")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[TiffFile, str | None]]:
    """Open a TIFF file so that no file outside of its folder is read; give it and its OME-XML as written, or None.

    OME-TIFF and the files of Micro-Manager name files in which they go on, and tifffile would open these in any place
    and of any kind, even pipes.
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
    """Return the OME-XML of a file, or that of the file to which it refers, which describes all files."""
    own = in_xml(_REFERENCE.sub(_checked_reference, file.ome_metadata or ""))
    try:
        root = ElementTree.fromstring(own)
    except ElementTree.ParseError:
        # tifffile logs that too, and reads the file without its OME-XML.
        return own
    elsewhere = [each.get("MetadataFile", "") for each in children(root, "BinaryOnly")]
    if not elsewhere:
        return own
    name = _beside(path, elsewhere[0])
    if not name or name == path.name:
        raise ValueError(f"it is described in {elsewhere[0] or 'another file'}, which is not in its folder")
    import tifffile

    other = path.parent / name
    if name.lower().endswith(".ome"):
        text = other.read_text(encoding="utf-8")
    else:
        with tifffile.TiffFile(other) as master:
            text = master.ome_metadata or ""
    found = ElementTree.fromstring(text)
    # tifffile takes the file with this identity for the one that it has open.
    found.set("UUID", root.get("UUID", ""))
    return ElementTree.tostring(found, encoding="unicode")


# XML can hold these characters neither as they are nor by reference.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_REFERENCE = re.compile("&#(?:x([0-9a-fA-F]{1,6})|([0-9]{1,7}));")


def in_xml(text: str) -> str:
    """Return a text in which each character that XML cannot hold, such as a control character, is replaced."""
    return _NO_XML.sub("\ufffd", text)


def _checked_reference(found: re.Match[str]) -> str:
    number = int(found[1], 16) if found[1] else int(found[2])
    return "\ufffd" if number > 0x10FFFF or _NO_XML.fullmatch(chr(number)) else found[0]


def _with_planes(path: Path) -> Path:
    """Return the first file of planes that a companion file of OME-XML names, or the path itself."""
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
    """Return the files that belong to the same volume, as a file says."""
    import tifffile

    try:
        path = _with_planes(path)
        with tifffile.TiffFile(path) as file:
            root = ElementTree.fromstring(_ome_xml(path, file)) if file.is_ome else None
            indexed = _indexed(path) if file.is_ndtiff else set()
    except Exception:
        # Reading the file will say what is wrong with it.
        return set()
    given = set(_file_names(root)) if root is not None and len(root) else indexed
    return {path.parent / name for name in (_beside(path, each) for each in given) if name}


def _file_names(root: ElementTree.Element) -> list[str]:
    """Return the names of files in OME-XML, in its order."""
    return [name for each in root.iter() if (name := each.get("FileName")) is not None]


def _local_names(path: Path, metadata: str) -> str | None:
    """Return OME-XML in which all files are named as in the folder of `path`, or None if they already are.

    Names have folders where files were written elsewhere and moved together.  A file that is not beside `path` gets an
    empty name, so that it counts as missing.
    """
    try:
        root = ElementTree.fromstring(metadata)
    except ElementTree.ParseError:
        # tifffile logs that too, and reads the file without its OME-XML.
        return None
    changed = False
    for element in root.iter():
        if (given := element.get("FileName")) is not None:
            name = _beside(path, given)
            changed |= name != given
            element.set("FileName", name)
    return ElementTree.tostring(root, encoding="unicode") if changed else None


def _beside(path: Path, given: str) -> str:
    """Return the name of a file without its folder if it lies in the folder of `path`, else ""."""
    name = re.split(r"[/\\]", given)[-1]
    return name if name == path.name or _is_beside(path, name) else ""


def _is_beside(path: Path, name: str) -> bool:
    """Whether a name is that of a file in the folder of `path`, or of its target if `path` is a link."""
    other = path.parent / name
    return other.is_file() and other.resolve().parent in (path.parent.resolve(), path.resolve().parent)


def _indexed(path: Path) -> set[str]:
    """Return the names of files in the index of Micro-Manager beside a file."""
    import tifffile

    return {str(entry[1]) for entry in tifffile.read_ndtiff_index(path.with_name("NDTiff.index"))}


def _check_micromanager(path: Path) -> None:
    """Raise if a file of Micro-Manager goes on in something that is no file beside it."""
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
    """Raise if planes are missing, for which tifffile would give zeros, or only the other planes."""
    if file.is_imagej and series.kind in ("generic", "uniform", "shaped"):
        count = (file.imagej_metadata or {}).get("images", "more")
        raise ValueError(f"ImageJ says that it holds {count} images, but not all of them are there: it is cut off")
    if series.kind != "ome" or all(page is not None for page in series):
        return
    names = _file_names(ElementTree.fromstring(xml or ""))
    missing = sorted({name for name in names if not _beside(path, name)})
    if missing:
        raise ValueError(f"some of its planes lie in files that are not in its folder: {', '.join(missing)}")
    raise ValueError("planes that it names are missing")


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
    # The file stays open as long as the data are in use.
    weakref.finalize(found, store.close)
    return da.from_zarr(found)


def _check_segments(series: TiffPageSeries) -> None:
    """Raise if strips or tiles are missing, or are so large that only a damaged file can say so."""
    page: Any = series.keyframe
    if len(page.dataoffsets) < math.prod(page.chunked):
        raise ValueError(f"it holds {len(page.dataoffsets)} of {math.prod(page.chunked)} strips or tiles")
    size = math.prod(page.chunks) * series.dtype.itemsize
    packed = max(page.databytecounts, default=0)
    if size > SEGMENT_BYTES and size > MOST_PACKED * packed:
        raise ValueError(f"it says that {packed} bytes hold {size / 2**30:.1f} GB")


# --- written ---


def check_tiff(volume: FileVolume, imagej: bool) -> None:
    """Raise if a TIFF of this kind cannot hold a volume."""
    dtype = volume.data.dtype
    if dtype.name not in TIFF_DTYPES:
        raise TypeError(
            f"OME-TIFF has no {dtype}; convert it, such as with result.astype('float32'), or save numbers as .zarr."
        )
    if imagej and dtype.name not in IMAGEJ_DTYPES:
        raise TypeError(
            f"ImageJ's TIFF has no {dtype}, only {', '.join(IMAGEJ_DTYPES)}. Write OME-TIFF (imagej=False), or convert "
            "it, such as with result.astype('float32')."
        )
    if imagej and math.prod(volume.data.shape) * dtype.itemsize >= 4 << 30:
        raise ValueError("ImageJ's TIFF holds less than 4 GB. Write OME-TIFF (imagej=False), which Fiji opens as well.")
    step, unit = volume.sizes.get("T", (1.0, UNKNOWN))
    if unit == UNKNOWN and step != 1:
        warn_user(
            f"TIFF has no time without a unit, so the step of {step:g} along the time axis of {volume.name!r} is not "
            "written. Save as .zarr, or save a layer whose time axis has a unit such as s."
        )


def write_pages(volume: FileVolume, path: Path, imagej: bool) -> None:
    """Write a volume as OME-TIFF or as ImageJ's TIFF."""
    import tifffile

    array, axes = volume.data, volume.axes
    needed, free = math.prod(array.shape) * array.dtype.itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(errno.ENOSPC, "too large", str(path))
    colors = axes.endswith("S")
    sizes = volume.sizes
    order = list(range(len(axes)))
    if imagej:
        # ImageJ has channels after z.
        order.sort(key=lambda axis: "TZCYXS".find(axes[axis]))
    options: dict[str, Any] = (
        _imagej_options(volume, sizes) if imagej else {"ome": True, "metadata": _ome_metadata(volume, sizes)}
    )
    options["metadata"]["axes"] = "".join(axes[axis] for axis in order)
    written = tifffile.memmap(
        path,
        shape=tuple(array.shape[axis] for axis in order),
        dtype=np.dtype(array.dtype).newbyteorder(">" if imagej else "="),
        photometric="rgb" if colors else "minisblack",
        planarconfig="contig" if colors else None,
        extrasamples=("unassalpha",) if colors and array.shape[-1] == 4 else None,
        bigtiff=True if path.suffix.lower() in BIG_SUFFIXES else None,
        **options,
    )
    if hasattr(os, "posix_fallocate"):
        # The space is taken now, because a disk that fills up later would crash the process with a bus error.
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    store(array, written.transpose(np.argsort(order)), "writing")
    written.flush()


# OME spells these units otherwise, and the others below as they are spelled here.
_SYMBOLS = {"um": "µm", "angstrom": "Å", "inch": "in", "au": "ua", "point": "pt", "us": "µs"}
_OTHERS = frozenset(
    (
        *("Ym", "Zm", "Em", "Pm", "Tm", "Gm", "Mm", "km", "hm", "dam", "m", "dm", "cm", "mm", "nm", "pm", "fm", "am"),
        *("zm", "ym", "thou", "ft", "yd", "mi", "ly", "pc", "s", "ms", "ns", "ps", "min", "h", "d"),
    )
)


def _in_ome(size: float, unit: str) -> tuple[float, str]:
    """Return a size and its unit as OME has it, converted if OME does not know the unit."""
    if unit in _SYMBOLS or unit in _OTHERS:
        return size, _SYMBOLS.get(unit, unit)
    base = "m" if unit_name(unit) else "s"
    return converted(size, unit, base), base


def _ome_metadata(volume: FileVolume, sizes: Mapping[str, tuple[float, str]]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"Name": in_xml(volume.name)}
    # A size without a unit is written too, unless it is 1, which stands for an unknown size.
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
        # OME has red, green, blue and alpha as the bytes of a signed integer.
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
    # Sizes in these units could be taken for the dots of a printer, so they are written in micrometers.
    sizes = {
        axis: (converted(size, unit, "um"), "um") if unit in PRINTED else (size, unit)
        for axis, (size, unit) in sizes.items()
    }
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
            # ImageJ has the place of the origin in voxels.
            metadata[f"{axis.lower()}origin"] = -place / volume.sizes[axis][0]
    metadata |= _imagej_display(volume)
    if volume.notes:
        metadata["Info"] = json.dumps(volume.notes)
    return {"imagej": True, "resolution": (1 / sizes["X"][0], 1 / sizes["Y"][0]), "metadata": metadata}


def _imagej_display(volume: FileVolume) -> dict[str, Any]:
    """Return names, colors and windows of channels as ImageJ has them, which knows them only of all channels."""
    shape = dict(zip(volume.axes, volume.data.shape, strict=True))
    count = shape.get("C", 1)
    shown: dict[str, Any] = {}
    if any(volume.channels):
        names = _padded(volume.channels, count)
        shown["Labels"] = names * (shape.get("T", 1) * shape.get("Z", 1))
    if "S" in volume.axes:
        return shown
    if len(volume.windows) >= count and all(volume.windows):
        # This is a tuple, because tifffile before August 2025 makes a tag of each number in a list.
        shown["Ranges"] = tuple(limit for window in volume.windows[:count] for limit in window or ())
    if len(volume.colors) >= count and all(volume.colors):
        ends = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in volume.colors[:count]]
        shown["LUTs"] = [np.rint(np.outer(end, np.linspace(0, 1, 256))).astype(np.uint8) for end in ends]
        shown["mode"] = "composite" if count > 1 else "grayscale"
    return shown

"""TIFF volumes with their voxel size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["TiffVolume", "read_tiff"]

# metres in a unit, with the spellings of microscope software; ImageJ writes the micro sign as an escape
_UNITS = {
    "nm": (1e-9, {"nanometer", "nanometre"}),
    "um": (1e-6, {"µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre"}),
    "mm": (1e-3, {"millimeter", "millimetre"}),
    "cm": (1e-2, {"centimeter", "centimetre"}),
    "m": (1.0, {"meter", "metre"}),
    "inch": (0.0254, {"in"}),
}


@dataclass(frozen=True, eq=False)
class TiffVolume:
    """The data of a TIFF file and where they lie.

    Attributes
    ----------
    data : numpy.ndarray
        Axes as in `axes`, always in the order T, C, Z, Y, X and last S, the samples of a colour image.
    axes : str
        One letter an axis, such as "ZYX" or "TZCYX".
    scale : tuple of float
        Size of a voxel along each axis but S, 1 where the file does not say.
    unit : str or None
        Unit of the spatial axes; None where the file does not say.
    """

    data: np.ndarray
    axes: str
    scale: tuple[float, ...]
    unit: str | None


def read_tiff(path) -> TiffVolume:
    """Read the first series of a TIFF file with the voxel size that ImageJ or OME metadata give.

    Parameters
    ----------
    path : str or pathlib.Path

    Returns
    -------
    TiffVolume

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a TIFF file.

    Examples
    --------
    >>> import tempfile, numpy as np, tifffile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp(), "stack.tif")
    >>> tifffile.imwrite(path, np.zeros((3, 4, 5), np.uint8), imagej=True, resolution=(4, 4),
    ...                  metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"})
    >>> read_tiff(path).scale
    (2.0, 0.25, 0.25)
    """
    import tifffile

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            sizes, unit = _voxel_size(file, tifffile)
            axes, data = series.axes, series.asarray()
    except tifffile.TiffFileError as error:
        raise ValueError(f"{path} is not a TIFF file that can be read: {error}.") from error
    if "Z" not in axes:
        # planes that the file gives no name, or only a number
        for unnamed in "QI":
            axes = axes.replace(unnamed, "Z", 1)
    # ImageJ keeps the channels inside the planes; what is not space comes first here
    order = sorted(range(len(axes)), key=lambda axis: ("TCZYXS".find(axes[axis]), axis))
    axes = "".join(axes[axis] for axis in order)
    return TiffVolume(data.transpose(order), axes, tuple(sizes.get(axis, 1.0) for axis in axes if axis != "S"), unit)


def _voxel_size(file, tifffile) -> tuple[dict[str, float], str | None]:
    """Size along Z, Y, X and its unit, from what the file says."""
    if file.is_ome:
        image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
        units = {axis: unit_name(pixels.get(f"PhysicalSize{axis}Unit", "um")) for axis in "ZYX"}
        unit = units["X"] or "um"
        sizes = {
            axis: float(pixels[f"PhysicalSize{axis}"]) * _UNITS[units[axis] or unit][0] / _UNITS[unit][0]
            for axis in "ZYX"
            if f"PhysicalSize{axis}" in pixels
        }
        return sizes, unit if sizes else None
    sizes = {}
    tags = file.pages[0].tags
    for axis in "YX":
        numerator, denominator = tags[f"{axis}Resolution"].value if f"{axis}Resolution" in tags else (0, 0)
        if numerator and denominator and file.is_imagej:
            sizes[axis] = denominator / numerator
    if not file.is_imagej:
        return {}, None
    if spacing := file.imagej_metadata.get("spacing"):
        sizes["Z"] = abs(float(spacing))
    return sizes, unit_name(file.imagej_metadata.get("unit", ""))


def unit_name(text: str) -> str | None:
    """The usual name of a unit of length, None for what is not one, such as "pixel"."""
    text = str(text).strip().lower()
    for name, (_, spellings) in _UNITS.items():
        if text == name or text in spellings:
            return name
    return None

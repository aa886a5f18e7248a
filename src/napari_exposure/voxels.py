"""Sizes of voxels, and the names of their units."""

from __future__ import annotations

import numpy as np

# the unit of layers whose voxel size nobody has set
PIXEL = "px"
# metres in a unit, with the spellings of microscope software; ImageJ writes the micro sign as an escape
UNITS = {
    "nm": (1e-9, {"nanometer", "nanometers", "nanometre"}),
    "um": (
        1e-6,
        {"µm", "μm", "âµm", "\\u00b5m", "\\u03bcm", "micron", "microns", "micrometer", "micrometers", "micrometre"},
    ),
    "mm": (1e-3, {"millimeter", "millimeters", "millimetre"}),
    "cm": (1e-2, {"centimeter", "centimeters", "centimetre"}),
    "m": (1.0, {"meter", "meters", "metre"}),
    "inch": (0.0254, {"in", "inches", "\\u0022"}),
}
# as OME writes them out
LONG = {"nm": "nanometer", "um": "micrometer", "mm": "millimeter", "cm": "centimeter", "m": "meter", "inch": "inch"}
SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0, "ms": 1e-3, "msec": 1e-3, "min": 60.0, "h": 3600.0}


def unit_name(text: str) -> str | None:
    """The usual name of a unit of length, None for what is not one, such as "pixel"."""
    text = str(text).strip().lower()
    for name, (_, spellings) in UNITS.items():
        if text == name or text in spellings:
            return name
    return None


def check_unit(unit: str) -> None:
    """Raise where a unit is no name out of pint's registry; what pint would have to compute is none.

    Raises
    ------
    ValueError
        If it is none.
    """
    from pint import get_application_registry

    if not get_application_registry().parse_unit_name(unit):
        shown = unit if len(unit) <= 40 else f"{unit[:40]}..."
        raise ValueError(f"unit must be the name of a unit such as 'µm' or 'nanometer', got {shown!r}.")


def converted(size: float, unit: str, other: str) -> float:
    """A length in another unit; round numbers stay round, so that tiles are as many whatever the unit."""
    return float(f"{size * UNITS[unit][0] / UNITS[other][0]:.12g}")


def in_unit(size: float, unit: str, other: str) -> float | None:
    """A length in another unit, both as `voxel_size` names them; None where they do not convert, such as pixels."""
    import pint

    if unit == other:
        return size
    if PIXEL in (unit, other):
        # Not left to pint, which knows the px of style sheets, a 96th of an inch.
        return None
    try:
        units = pint.get_application_registry()
        return float(f"{units.Quantity(size, units.parse_units(unit)).to(units.parse_units(other)).magnitude:.12g}")
    except (pint.UndefinedUnitError, pint.DimensionalityError):
        return None


def voxel_size(layer) -> tuple[tuple[float, ...], str]:
    """The layer's scale in the unit of its last axis; NaN along axes whose unit does not convert to it."""
    scale = np.abs(np.asarray(layer.scale, float))
    unit = layer.units[-1]
    for axis, other in enumerate(layer.units):
        if other != unit:
            compatible = other.is_compatible_with(unit)
            scale[axis] = (scale[axis] * other).to(unit).magnitude if compatible else np.nan
    return tuple(scale.tolist()), PIXEL if unit == "pixel" else f"{unit:~P}"

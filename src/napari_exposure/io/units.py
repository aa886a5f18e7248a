"""Sizes of voxels, and the names of their units."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from napari_exposure.core.axes import named_axes

if TYPE_CHECKING:
    from napari.layers import Layer

# the unit of layers whose voxel size nobody has set
PIXEL = "px"
# How files write units that pint does not know so, or takes for others: OME's pt is a point and its ua the astronomical
# unit, ImageJ writes the micro sign as an escape, and programs write it twice encoded.
_SPELLINGS = {
    **dict.fromkeys(("\\u00b5m", "\\u03bcm", "âµm", "Âµm", "micron", "microns"), "um"),
    **dict.fromkeys(('"', "\\u0022", "in"), "inch"),
    "pt": "point",
    "ua": "astronomical_unit",
    **dict.fromkeys(("sec", "secs"), "s"),
    **dict.fromkeys(("msec", "msecs"), "ms"),
    **dict.fromkeys(("usec", "usecs", "\\u00b5s", "\\u03bcs"), "us"),
    "mins": "min",
    "hrs": "h",
}
# Pint knows them as lengths of style sheets and print.
_NO_UNITS = {"px", "pixel", "pixels", "dot", "dots", "css_pixel", "voxel", "voxels"}
# the names in use here, where they are not pint's symbols
_USUAL = {"in": "inch", "Å": "angstrom", "pp": "point", "th": "thou"}
LENGTH, TIME = "[length]", "[time]"


def unit_name(text: str, kind: str = LENGTH) -> str | None:
    """The usual name of a unit, whichever way a file spells it; None for what is none of this kind, such as "pixel".

    Case counts where it makes another unit (Mm, mm), else it does not.
    """
    from pint import get_application_registry

    registry = get_application_registry()
    text = str(text).strip()
    for each in (text, text.lower()):
        name = _SPELLINGS.get(each, each)
        if name.lower() in _NO_UNITS or not name or not registry.parse_unit_name(name):
            continue
        unit = registry.parse_units(name)
        if unit.dimensionality == {kind: 1}:
            symbol = f"{unit:~}".replace("µ", "u")
            return _USUAL.get(symbol, symbol)
    return None


@lru_cache
def kind_of(unit: str) -> str | None:
    """Whether a unit is one of "time" or of "space", that is a length; None for others."""
    kinds = {"time": TIME, "space": LENGTH}
    return next((kind for kind, dimension in kinds.items() if unit_name(unit, dimension) is not None), None)


def axis_names(layer: Layer) -> tuple[str, ...]:
    """What the axes of a layer are called, as `core.axes.named_axes` has it."""
    return named_axes(layer.axis_labels, (kind_of(str(unit)) for unit in layer.units))


def time_step(layer: Layer, axis: int) -> tuple[float, str]:
    """How far time points lie apart along an axis of a layer, and in which unit; 1 and "" where it has no unit."""
    unit = layer.units[axis]
    return (abs(float(layer.scale[axis])), f"{unit:~P}") if kind_of(str(unit)) == "time" else (1.0, "")


def long_name(unit: str) -> str:
    """A unit written out, such as "micrometer"."""
    from pint import get_application_registry

    return str(get_application_registry().parse_units(unit))


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


def in_unit(size: float, unit: str, other: str) -> float | None:
    """A length or time in another unit; None where they do not convert, such as pixels.

    Round numbers stay round, so that tiles are as many whatever the unit.
    """
    import pint

    if unit == other:
        return size
    if {PIXEL, "pixel"} & {unit, other}:
        # This is not left to pint, whose px is that of style sheets, a 96th of an inch.
        return None
    try:
        units = pint.get_application_registry()
        return float(f"{units.Quantity(size, units.parse_units(unit)).to(units.parse_units(other)).magnitude:.12g}")
    except (pint.UndefinedUnitError, pint.DimensionalityError):
        return None


def voxel_size(layer: Layer) -> tuple[tuple[float, ...], str]:
    """The layer's scale in the unit of its last axis; NaN along axes whose unit does not convert to it."""
    scale = np.abs(np.asarray(layer.scale, float))
    unit = layer.units[-1]
    for axis, other in enumerate(layer.units):
        if other != unit:
            compatible = other.is_compatible_with(unit)
            scale[axis] = (scale[axis] * other).to(unit).magnitude if compatible else np.nan
    return tuple(scale.tolist()), PIXEL if unit == "pixel" else f"{unit:~P}"

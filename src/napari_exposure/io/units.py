"""Units of the sizes of voxels: their names and how they convert; and how layers lie."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_exposure.core.axes import named_axes

if TYPE_CHECKING:
    from napari.layers import Layer

# Layers whose voxel size nobody has set have this unit.
PIXEL = "px"
# Pint does not know these spellings of files, or takes them for other units: OME's pt is a point and its ua the
# astronomical unit, ImageJ writes the micro sign as an escape, and some programs encode it twice.
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
# These are no units here, but pint takes some of them for lengths of style sheets and print.
_NO_UNITS = {"px", "pixel", "pixels", "dot", "dots", "css_pixel", "voxel", "voxels"}
# These units have names here that are not pint's symbols.
_USUAL = {"in": "inch", "Å": "angstrom", "pp": "point", "th": "thou"}
LENGTH, TIME = "[length]", "[time]"


def unit_name(text: str, kind: str = LENGTH) -> str | None:
    """Return the usual name of a unit in any spelling of files, or None if it is no unit of this kind, such as "pixel".

    Case matters only where it makes another unit (Mm, mm).
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
    """Return "time" for a unit of time, "space" for a unit of length, and None for others."""
    kinds = {"time": TIME, "space": LENGTH}
    return next((kind for kind, dimension in kinds.items() if unit_name(unit, dimension) is not None), None)


def axis_names(layer: Layer) -> tuple[str, ...]:
    """Return the names of a layer's axes, as `core.axes.named_axes` finds them."""
    return named_axes(layer.axis_labels, (kind_of(str(unit)) for unit in layer.units))


def time_step(layer: Layer, axis: int) -> tuple[float, str]:
    """Return the time between points along an axis of a layer, and its unit; 1 and "" if the axis has no such unit."""
    unit = layer.units[axis]
    return (abs(float(layer.scale[axis])), f"{unit:~P}") if kind_of(str(unit)) == "time" else (1.0, "")


def long_name(unit: str) -> str:
    """Return the long name of a unit, such as "micrometer"."""
    from pint import get_application_registry

    return str(get_application_registry().parse_units(unit))


def check_unit(unit: Any) -> str:
    """Return the name of a unit, which may also be one of pint, as layers have them; raise if pint knows no such name.

    A formula is no name, because pint would have to compute it.
    """
    from pint import get_application_registry

    name = str(unit)
    if not get_application_registry().parse_unit_name(name):
        shown = name if len(name) <= 40 else f"{name[:40]}..."
        raise ValueError(f"unit must be the name of a unit such as 'µm' or 'nanometer', got {shown!r}.")
    return name


def in_unit(size: float, unit: str, other: str) -> float | None:
    """Return a length or time in another unit, or None if they do not convert, such as pixels.

    Round numbers stay round, so that a volume has the same number of tiles in any unit.
    """
    import pint

    if unit == other:
        return size
    if {PIXEL, "pixel"} & {unit, other}:
        # Pint would convert px, which it takes for that of style sheets, a 96th of an inch.
        return None
    try:
        units = pint.get_application_registry()
        return float(f"{units.Quantity(size, units.parse_units(unit)).to(units.parse_units(other)).magnitude:.12g}")
    except (pint.UndefinedUnitError, pint.DimensionalityError):
        return None


def voxel_size(layer: Layer) -> tuple[tuple[float, ...], str]:
    """Return a layer's scale in the unit of its last axis, NaN where an axis does not convert to it, and the unit."""
    scale = np.abs(np.asarray(layer.scale, float))
    unit = layer.units[-1]
    for axis, other in enumerate(layer.units):
        if other != unit:
            compatible = other.is_compatible_with(unit)
            scale[axis] = (scale[axis] * other).to(unit).magnitude if compatible else np.nan
    return tuple(scale.tolist()), PIXEL if unit == "pixel" else f"{unit:~P}"


def turned(place: Mapping[str, Any]) -> list[str]:
    """Return how a layer with this placement lies, in words, other than scaled and translated."""
    ndim = len(place["scale"])
    lies = {
        "rotated": not np.allclose(place["rotate"], np.eye(ndim)),
        "sheared": np.any(place["shear"]),
        "moved by an affine transform": not np.allclose(np.asarray(place["affine"]), np.eye(ndim + 1)),
        "mirrored": min(place["scale"]) < 0,
    }
    return [word for word, is_so in lies.items() if is_so]

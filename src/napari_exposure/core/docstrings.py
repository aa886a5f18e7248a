"""What the docstrings of verbs have in common, written once and shown in each of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

PARAMETERS = """
image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
    Integers of 8 to 64 bits (to 2**53), float16, float32 or float64, in either byte order.  Never written.
kernel_size : float, sequence of float or None
    Edge of a tile in units of `spacing`: a number is the same physical edge on every axis, a sequence has one for
    each spatial axis, None is an eighth of the largest extent.  Tiles are rounded so that they divide the volume
    evenly.  The last three axes are tiled (two if `per` is "plane"); time and channel are not.
in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
    Intensities are clamped to this range before they are counted; with "data" none is.
output : "dtype" or "float32"
    "dtype" stretches over the full range of the input's dtype (floats: [0, 1]); "float32" gives [0, 1].
mask : array-like or napari.layers.Labels, optional
    It has the image's shape; only voxels where it is a number other than zero are counted, but all are mapped.
ignore_zeros : bool
    Leave voxels of exactly 0 out of what is counted, such as an empty background or the padding of a rotated stack.
per : "dataset", "volume" or "plane"
    Which voxels share a fit: all, those of each time point and channel, or those of each plane.
window : int
    With "volume" and "plane": so many time points around each are fitted together, as if they were one volume, so
    that the result follows a slow change and does not pulse.  Time is the axis that is named so, or else the first
    one.  Channels are not mixed.
spacing : float or sequence of float, optional
    For arrays: physical size of a voxel along the spatial axes, such as (2.0, 0.5, 0.5) in micrometers.  Default 1.
rgb : bool, optional
    For arrays: the last axis holds RGB or RGBA.  The value channel is adjusted; hue, saturation and alpha stay.
level : int
    For multiscale layers: the level that is fitted.  A coarse one is fitted sooner.
"""

# `complete` adds these sections to the docstring of each verb that has no Returns section.  A verb that raises
# ValueError for further reasons has a Raises section with these alone, and they are put behind the reasons here.
RESULTS = """

Returns
-------
numpy.ndarray, dask.array.Array or napari.layers.Image
    What the image is: a new array of its shape, lazy for dask, or a new layer with the same place and levels, not
    yet in a viewer, whose ``metadata["napari_exposure"]`` says how it was made.

Raises
------
TypeError
    For a dtype that has no exposure, or a parameter of another type.
ValueError
    For an empty volume, a parameter out of bounds, or a mask of another shape."""
MORE = "\n\nRaises\n------\nValueError"


def _entries(section: str) -> dict[str, str]:
    """Return the texts of a section by the names of parameters; one text may describe several parameters."""
    found = re.findall(r"^\S.*(?:\n(?: .*)?)*", section.strip(), re.MULTILINE)
    return {name: each.rstrip() for each in found for name in each.split("\n")[0].split(" :")[0].split(", ")}


def complete(function: Callable[..., object]) -> None:
    """Put what all adjustments share into the docstring of a verb, with parameters in the order of its signature."""
    if not function.__doc__:
        return
    summary, head, own = inspect.cleandoc(function.__doc__).partition("Parameters\n----------\n")
    parameters, *sections = re.split(r"(?=\n\n[A-Z][A-Za-z ]+\n---)", own, maxsplit=1)
    texts = {**_entries(PARAMETERS), **_entries(parameters)}
    # A text that describes several parameters is listed once.
    listed = dict.fromkeys(texts[name] for name in inspect.signature(function).parameters)
    rest = "".join(sections)
    if "\n\nReturns\n---" not in rest:
        rest = RESULTS + rest.removeprefix(MORE)
    function.__doc__ = summary + head + "\n".join(listed) + rest

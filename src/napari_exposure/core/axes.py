"""Which axes of an image are space and which is time: labels say it where there are any, else the places of axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from napari_exposure.core.intensity import check_number
from napari_exposure.core.typing import Spacing
from napari_exposure.core.words import given

# A tile of a mosaic has the size of a voxel, and the place of its first voxel, along all axes.
Tile = tuple[tuple[float, ...], tuple[float, ...]]

# Kernels work along at most so many axes, so no more are space.
MOST_AXES = 3

AXES: tuple[Literal["z", "y", "x"], ...] = ("z", "y", "x")
# These names of axes mean one of the letters that files use.
_LETTERS = {
    **dict.fromkeys(("t", "time", "times", "timepoint", "timepoints", "time point", "frame", "frames"), "T"),
    **dict.fromkeys(("c", "ch", "channel", "channels", "wavelength", "lambda", "band", "spectrum"), "C"),
    **{"z": "Z", "depth": "Z", "y": "Y", "height": "Y", "x": "X", "width": "X"},
}
# Axes with these names are not space, and files have no letter for them.
_OTHERS = {"s", "p", "m", "position", "scene", "well", "field", "mosaic", "tile", "view", "angle", "batch", "sample"}


def axis_letter(label: object) -> str:
    """Return the letter that files use for an axis with this label: one of "TCZYX", or "" if it means none of them."""
    return _LETTERS.get(str(label).strip().lower(), "")


def is_space(label: object) -> bool:
    """Return whether an axis may be space, because its label does not say otherwise."""
    return axis_letter(label) not in ("T", "C") and str(label).strip().lower() not in _OTHERS


def is_unnamed(label: str) -> bool:
    """Whether a layer's axis has the label that napari gives: its number, such as "-3", or "axis -3" on napari 0.6.

    The prefix can go when 0.6 does.
    """
    return label.removeprefix("axis ").lstrip("-").isdigit()


def named_axes(labels: Iterable[object], kinds: Iterable[str | None]) -> tuple[str, ...]:
    """Return what axes are called by their labels, or by the kinds of their units where a label says nothing.

    A kind is "time", "space" or None.  A length means space only on the last three axes, because a layer may have the
    same unit on all of its axes.

    Examples
    --------
    >>> from napari_exposure.core.axes import named_axes
    >>> named_axes(["-3", "-2", "-1"], ["space"] * 3), named_axes(["", "y", "x"], ["time", "space", "space"])
    (('z', 'y', 'x'), ('t', 'y', 'x'))
    """
    names = list(map(str, labels))
    places = (*[""] * (len(names) - len(AXES)), *AXES)[-len(names) :]
    said = ({"time": "t", "space": place}.get(kind or "", "") for kind, place in zip(kinds, places, strict=True))
    return tuple(
        name if axis_letter(name) or not is_space(name) else unit or name
        for name, unit in zip(names, said, strict=True)
    )


def time_axis(labels: Sequence[object], axes: int) -> int | None:
    """Return which of the first axes is time: the one that is called so, else the first whose name says nothing.

    The labels are those of all axes, or empty where the image does not say, as arrays do not; so many of the first
    `axes` may be time.  It is None if all of these are called something else.

    Examples
    --------
    >>> from napari_exposure.core.axes import time_axis
    >>> time_axis("ctzyx", 2), time_axis((), 1), time_axis("czyx", 1)
    (1, 0, None)
    """
    first = list(labels[:axes]) or [""] * axes
    called = [axis for axis, label in enumerate(first) if axis_letter(label) == "T"]
    silent = [axis for axis, label in enumerate(first) if not axis_letter(label) and is_space(label)]
    return next(iter(called + silent), None)


def in_words(labels: Sequence[object], axes: int) -> str:
    """Return what the axes of an image are called, for a message."""
    return f"the axes {', '.join(str(label) or '?' for label in labels)}" if labels else f"{axes} axes"


def name_time(axes: int) -> str:
    """Return what to do where the first axis of an image is time and nothing says so, for a message.

    Examples
    --------
    >>> from napari_exposure.core.axes import name_time
    >>> name_time(2)
    'It is one plane; a series has one for each time point, and time as its first axis.'
    """
    if axes < 3:
        return "It is one plane; a series has one for each time point, and time as its first axis."
    names = ("t", *[""] * (axes - 5), *"czyx"[1 - axes :])
    return (
        f"Where time is the first axis, call it t: layer.axis_labels = {names}, the dims of a DataArray, or "
        f"axes='{''.join(names)}' of a file; of an array give the spacing of the axes of space only."
    )


def gliding_axis(labels: Sequence[object], axes: int) -> int | None:
    """Return which of the first axes, which have their own fits, a window glides along: time, or else the planes."""
    found = time_axis(labels, axes)
    planes = (axis for axis, label in enumerate(labels[:axes]) if is_space(label))
    return next(planes, None) if found is None else found


def count_space(axes: Iterable[bool]) -> int:
    """Return how many of the last axes are space; the input says of each axis whether it may be space.

    Examples
    --------
    >>> from napari_exposure.core.axes import count_space, is_space
    >>> count_space(map(is_space, "tyx")), count_space(map(is_space, "tzyx"))
    (2, 3)
    """
    space = 0
    for each in reversed(list(axes)):
        if not each or space == MOST_AXES:
            break
        space += 1
    return space


def check_shape(shape: tuple[int, ...], rgb: bool) -> tuple[int, ...]:
    """Return the shape of a volume without its color axis, or raise an error if volumes have no such shape."""
    if rgb and (len(shape) < 3 or shape[-1] not in (3, 4)):
        raise ValueError(f"rgb=True needs a last axis of 3 or 4 channels, got shape {shape}.")
    shape = shape[:-1] if rgb else shape
    if not 2 <= len(shape) <= 5:
        raise ValueError(f"The volume must have 2 to 5 axes ([T, C,] [Z,] Y, X), got {len(shape)} with shape {shape}.")
    if 0 in shape:
        raise ValueError(f"The volume is empty: its shape is {shape}.")
    return shape


def check_space(space: int, labels: Sequence[object]) -> None:
    """Raise an error that says what to do, if the last two axes are not space, or z is not among the last ones."""
    if space < 2 or "Z" in map(axis_letter, labels[:-space]):
        raise ValueError(
            f"The last axes must be those of space, but the axes are {', '.join(map(str, labels))}. Move time and "
            "channels to the front, e.g. with numpy.moveaxis."
        )


def spatial_axes(space: int, per: str) -> int:
    """Return how many of the last axes share a fit, if `space` of them are space."""
    return 2 if per == "plane" else space


def check_spacing(spacing: Spacing, ndim: int, per: str = "dataset") -> tuple[float, ...]:
    """Return the size of a voxel along the axes of space that share a fit, or raise if there are not so many numbers.

    The length of a sequence says how many of the last axes are space, two or three; of more numbers the last three are
    used.  A single number, or none, means that the last three axes are space.
    """
    most = min(ndim, MOST_AXES)
    if spacing is None or not isinstance(spacing, Iterable):
        values: tuple[float, ...] = (1.0 if spacing is None else spacing,) * most
    else:
        values = tuple(spacing)
        if not 2 <= len(values) <= ndim:
            raise ValueError(
                f"spacing has {len(values)} numbers, but the volume has {ndim} axes; give one for each axis of space, "
                "in the order of the axes: two where these are y and x, else three."
            )
    sizes = tuple(check_number(value, "spacing", above=0) for value in values[-most:])
    return sizes[-spatial_axes(len(sizes), per) :]


def check_place(translate: Any, spacing: Spacing, ndim: int) -> Tile:
    """Return the size of a voxel of an array, and the place of its first voxel, along all axes."""
    if translate is None:
        raise ValueError("An array does not say where it lies: give translate, a place for each array.")
    if isinstance(translate, str) or not isinstance(translate, Iterable):
        raise TypeError(f"translate must have places, each with a number for each axis, got {given(translate)}.")
    place = tuple(check_number(each, "translate") for each in translate)
    each_size: Any = spacing if isinstance(spacing, Iterable) else (1.0 if spacing is None else spacing,) * ndim
    sizes = tuple(check_number(size, "spacing", above=0) for size in each_size)
    for name, values in (("translate", place), ("spacing", sizes)):
        if len(values) != ndim:
            raise ValueError(f"{name} has {len(values)} numbers, but the image has {ndim} axes; give one for each.")
    return sizes, place

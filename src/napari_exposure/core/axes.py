"""What axes are: which of them are space, by their labels where these say so, else by their place."""

from __future__ import annotations

from collections.abc import Iterable

from napari_exposure.core.intensity import check_number
from napari_exposure.core.typing import Spacing

# Kernels work in so many axes.
MOST = 3

_NOT_SPACE = {
    *("t", "time", "times", "timepoint", "timepoints", "time point", "frame", "frames"),
    *("c", "ch", "channel", "channels", "wavelength", "lambda", "band", "spectrum"),
    *("s", "p", "m", "position", "scene", "well", "field", "mosaic", "tile", "view", "angle", "batch", "sample"),
}


def is_space(label: object) -> bool:
    """Whether an axis may be space: its label does not say otherwise."""
    return str(label).strip().lower() not in _NOT_SPACE


def count_space(axes: Iterable[bool]) -> int:
    """How many of the last axes are space, from whether each of all may be.

    Examples
    --------
    >>> from napari_exposure.core.axes import count_space, is_space
    >>> count_space(map(is_space, "tyx")), count_space(map(is_space, "tzyx"))
    (2, 3)
    """
    space = 0
    for each in reversed(list(axes)):
        if not each or space == MOST:
            break
        space += 1
    return space


def check_space(space: int, labels: Iterable[object]) -> None:
    """Raise what to do where the last two axes are not space."""
    if space < 2:
        names = ", ".join(map(str, labels))
        raise ValueError(
            f"The last two axes must be space, but the axes are {names}. Move time and channels to the front, "
            "e.g. with numpy.moveaxis."
        )


def spatial_axes(space: int, per: str) -> int:
    """How many of the last axes, of which `space` are space, share a fit."""
    return 2 if per == "plane" else space


def check_spacing(spacing: Spacing, ndim: int, per: str = "dataset") -> tuple[float, ...]:
    """The size of a voxel along the axes of space that share a fit.

    Parameters
    ----------
    spacing : float or sequence of float, optional
        Its length says how many of the last axes are space, two or three; of more numbers the last three count.
        A single number, or none, is for the last three.
    ndim : int
        Axes of the volume.
    per : "dataset", "volume" or "plane"

    Raises
    ------
    TypeError, ValueError
        If there are too few or too many numbers, or one is no size.
    """
    most = min(ndim, MOST)
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

"""A volume in a file: its data and where they lie."""

from __future__ import annotations

from dataclasses import dataclass, field


class DamagedFile(ValueError):
    """A file is cut off or damaged, or something else than its name says."""


@dataclass(frozen=True, eq=False)
class FileVolume:
    """The data of a file and where they lie.

    Attributes
    ----------
    data : numpy.ndarray, numpy.memmap or dask.array.Array
        Axes as in `axes`, always in the order T, C, Z, Y, X and last S, the samples of a colour image.
    axes : str
        One letter an axis, such as "ZYX" or "TCZYX".
    scale : tuple of float
        Size of a voxel along each axis but S, 1 where the file does not say.
    unit : str or None
        Unit of the spatial axes; None where the file does not say.
    units : tuple of str
        Of each axis of `scale`: `unit`, "s" for time where the file says how long a time point is, else "pixel".
    name : str
        Of the image, or of the file.
    channels : tuple of str
        Names, where the file has them.
    colors : tuple of str
        Of the channels, as "#rrggbb", where the file has them.
    notes : dict
        What `save` has written down of a result: how it was made.
    came_from : dict
        For each letter of `axes` with a size, and "unit": the field of the file that says so.
    """

    data: object
    axes: str
    scale: tuple[float, ...]
    unit: str | None
    units: tuple[str, ...]
    name: str = ""
    channels: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    notes: dict = field(default_factory=dict, repr=False)
    came_from: dict = field(default_factory=dict)

    @classmethod
    def of(cls, data, axes: str, scale, unit: str | None, *, timed: bool = False, **more) -> FileVolume:
        """A volume whose spatial axes are in `unit`, and whose time is in seconds where it is `timed`."""
        known = {"T": "s" if timed else "pixel", "C": "pixel"}
        units = tuple(known.get(axis, unit or "pixel") for axis in axes if axis != "S")
        return cls(data, axes, tuple(scale), unit, units, **more)

    @property
    def timed(self) -> bool:
        """Whether it is known how long a time point is."""
        return "s" in self.units

    def layers(self) -> list[tuple]:
        """What napari adds: an image for each channel, as (data, options, "image")."""
        axes = self.axes.rstrip("S")
        options = {
            "name": self.name,
            "scale": self.scale,
            "units": self.units,
            "axis_labels": tuple(axes.lower()),
            "metadata": {"napari_exposure": self.notes} if self.notes else {},
            "rgb": self.axes.endswith("S"),
        }
        if "C" not in axes or (self.data.shape[axes.index("C")] == 1 and len(axes) <= 3):
            return [(self.data, options, "image")]
        at = axes.index("C")
        for name in ("scale", "units", "axis_labels"):
            options[name] = options[name][:at] + options[name][at + 1 :]
        found = []
        for number in range(self.data.shape[at]):
            channel = self.channels[number] if number < len(self.channels) else f"channel {number + 1}"
            more = {"name": f"{self.name} - {channel}"}
            if not options["rgb"] and number < len(self.colors):
                more |= {"colormap": self.colors[number], "blending": "additive"}
            found.append((self.data[(slice(None),) * at + (number,)], {**options, **more}, "image"))
        return found

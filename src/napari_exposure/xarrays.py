"""Opens xarray's DataArray, whose dimensions name the axes and whose coordinates give the size of a voxel."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np

from napari_exposure.core.arrays import is_data_array
from napari_exposure.core.axes import check_space, count_space, is_space, named_axes
from napari_exposure.core.chain import Chain
from napari_exposure.core.images import OpenedArray
from napari_exposure.core.typing import Spacing
from napari_exposure.io.files import Facts
from napari_exposure.io.units import kind_of, unit_name

# Steps of coordinates may differ by this fraction, because coordinates are often kept in single precision.
EVEN = 1e-3


class OpenedDataArray(OpenedArray):
    """An opened DataArray, whose results are one too; the parameters are those of `core.images.opened`."""

    def __init__(
        self, image: Any, *, mask: Any = None, spacing: Spacing = None, rgb: bool | None = None, level: int = 0
    ) -> None:
        self.dims: tuple[Hashable, ...] = image.dims[: -1 if rgb else None]
        self.names = named_axes(self.dims, (_kind(image.coords.get(dim)) for dim in self.dims))
        self.space = count_space(map(is_space, self.names))
        self.unit: str | None = None
        # If the coordinates do not give the size of a voxel, this says why.
        self.unsized = ""
        if spacing is None:
            spacing = self._sizes(image, self.dims[-max(self.space, 2) :])
        else:
            self.space = max(self.space, 2)
        if is_data_array(mask):
            mask = self._in_order(mask)
        super().__init__(image, mask=mask, spacing=spacing, rgb=rgb, level=level)
        self.name = str(image.name or "")

    def _in_order(self, mask: Any) -> Any:
        """Return a mask with its dimensions in the order of those of the image."""
        if set(mask.dims) != set(self.dims):
            raise ValueError(f"The mask has dims {mask.dims}, but the image has {self.dims}; they must be the same.")
        return mask.transpose(*self.dims)

    def _sizes(self, image: Any, dims: tuple[Hashable, ...]) -> tuple[float, ...]:
        """Return the step of each coordinate, or 1 for all where none is known."""
        steps = ((dim, step_of(image.coords[dim].values)) for dim in dims if dim in image.coords)
        known = {dim: step for dim, step in steps if step is not None}
        units = {dim: image.coords[dim].attrs.get("units") for dim in known}
        if len(set(units.values())) > 1:
            said = ", ".join(f"{dim} in {unit}" for dim, unit in units.items())
            self.unsized = f"The coordinates are in different units ({said})"
        elif uneven := [str(dim) for dim, step in known.items() if math.isnan(step)]:
            self.unsized = f"The coordinates of {', '.join(uneven)} are no even steps"
        elif known and (missing := [str(dim) for dim in dims if dim not in known and image.sizes[dim] > 1]):
            self.unsized = f"There are no coordinates of {', '.join(missing)}, but of other axes"
        if self.unsized or not known:
            return (1.0,) * len(dims)
        unit = next(iter(units.values()))
        self.unit = None if unit is None else unit_name(unit)
        return tuple(known.get(dim, max(known.values())) for dim in dims)

    @property
    def labels(self) -> tuple[str, ...]:
        return self.names

    def time_step(self, axis: int) -> float:
        """Return the time between points in the unit of their coordinates, or 1 if these have no even steps."""
        coordinates = self.array.coords.get(self.dims[axis])
        step = None if coordinates is None else step_of(coordinates.values)
        return 1.0 if step is None or math.isnan(step) else step

    def facts(self, axes: str) -> Facts:
        """Return what a file keeps of the coordinates of these axes: sizes, units, places, and names of channels."""
        facts = Facts(name=self.name)
        for dim, axis in zip(self.dims, axes, strict=True):
            coordinates = self.array.coords.get(dim)
            if coordinates is None:
                continue
            values, unit = coordinates.values, coordinates.attrs.get("units")
            if axis == "C":
                facts.channels = tuple(map(str, values)) if values.dtype.kind in "OSU" else ()
            elif (step := step_of(values)) is not None and not math.isnan(step):
                facts.size(axis, step, unit, "coordinates")
                # A file has no axis that runs backwards.
                facts.place(axis, values.min())
        return facts

    def check(self, adjustment: Chain) -> None:
        if any(step.in_space for step in adjustment.steps):
            check_space(self.space, self.names)
        if self.unsized and any(step.needs_spacing for step in adjustment.steps):
            raise ValueError(
                f"{self.unsized}, so tiles have no size; give spacing=, one number for each axis of space."
            )
        super().check(adjustment)


def _kind(coordinates: Any) -> str | None:
    """Return "time" for dates and coordinates in a unit of time, "space" for a unit of length, and None for others."""
    if coordinates is None:
        return None
    # Coordinates in time may have a unit such as "seconds since 2026-01-01".  Pint knows only its first word, so the
    # rest is left out.
    unit = str(coordinates.attrs.get("units", "")).partition(" since ")[0]
    return "time" if coordinates.dtype.kind in "mM" else kind_of(unit)


def step_of(coordinates: np.ndarray) -> float | None:
    """Return the step of coordinates: NaN if steps differ, None if there is only one or they are no numbers."""
    if coordinates.dtype.kind not in "iuf" or coordinates.size < 2:
        return None
    steps = np.abs(np.diff(coordinates.astype(np.float64)))
    step = float(abs(float(coordinates[-1]) - float(coordinates[0])) / (coordinates.size - 1))
    even = step > 0 and bool((np.abs(steps - step) <= EVEN * step).all())
    return step if even else math.nan

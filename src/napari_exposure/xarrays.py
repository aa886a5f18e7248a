"""xarray's DataArray, whose dimensions say which axes are space and whose coordinates say how large a voxel is."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np

from napari_exposure.core.axes import check_space, count_space, is_space, named_axes
from napari_exposure.core.chain import Chain
from napari_exposure.core.images import OpenedArray
from napari_exposure.core.typing import Spacing
from napari_exposure.io.units import kind_of

# by which part of a step coordinates may be uneven: they are often kept in single precision
EVEN = 1e-3


class OpenedDataArray(OpenedArray):
    """A DataArray; parameters as `core.images.opened` has them, and the result is a DataArray."""

    def __init__(
        self, image: Any, *, mask: Any = None, spacing: Spacing = None, rgb: bool | None = None, level: int = 0
    ) -> None:
        self.dims: tuple[Hashable, ...] = image.dims[: -1 if rgb else None]
        self.names = named_axes(self.dims, (_kind(image.coords.get(dim)) for dim in self.dims))
        self.space = count_space(map(is_space, self.names))
        # why the coordinates do not say how large a voxel is
        self.unsized = ""
        if spacing is None:
            spacing = self._sizes(image, self.dims[-max(self.space, 2) :])
        else:
            self.space = max(self.space, 2)
        super().__init__(image, mask=mask, spacing=spacing, rgb=rgb, level=level)
        self.name = str(image.name or "")

    def _sizes(self, image: Any, dims: tuple[Hashable, ...]) -> tuple[float, ...]:
        """The step of each coordinate; 1 for all where none is known."""
        steps = ((dim, step_of(image.coords[dim].values)) for dim in dims if dim in image.coords)
        known = {dim: step for dim, step in steps if step is not None}
        units = {dim: image.coords[dim].attrs.get("units") for dim in known}
        if len(set(units.values())) > 1:
            said = ", ".join(f"{dim} in {unit}" for dim, unit in units.items())
            self.unsized = f"The coordinates are in different units ({said})"
        elif uneven := [str(dim) for dim, step in known.items() if math.isnan(step)]:
            self.unsized = f"The coordinates of {', '.join(uneven)} are no even steps"
        elif known and (missing := [str(dim) for dim in dims if dim not in known and image.sizes[dim] > 1]):
            self.unsized = f"There are no coordinates of {', '.join(missing)}, but of others"
        if self.unsized or not known:
            return (1.0,) * len(dims)
        return tuple(known.get(dim, max(known.values())) for dim in dims)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the axes are called, without the color axis."""
        return self.names

    def time_step(self, axis: int) -> float:
        """How far time points lie apart in the unit of their coordinates; 1 where these are no even steps."""
        coordinates = self.array.coords.get(self.dims[axis])
        step = None if coordinates is None else step_of(coordinates.values)
        return 1.0 if step is None or math.isnan(step) else step

    def check(self, adjustment: Chain) -> None:
        """Raise what does not fit before any voxel is read."""
        if any(step.in_space for step in adjustment.steps):
            check_space(self.space, self.names)
        if self.unsized and any(step.needs_spacing for step in adjustment.steps):
            raise ValueError(
                f"{self.unsized}, so tiles have no size; give spacing=, one number for each axis of space."
            )
        super().check(adjustment)


def _kind(coordinates: Any) -> str | None:
    """Whether coordinates are of "time" or of "space", as their unit says, or as they are dates; None for others."""
    if coordinates is None:
        return None
    # A time is often one "since" a day.
    unit = str(coordinates.attrs.get("units", "")).partition(" since ")[0]
    return "time" if coordinates.dtype.kind in "mM" else kind_of(unit)


def step_of(coordinates: np.ndarray) -> float | None:
    """How far coordinates lie apart; NaN where that differs, None where there is one alone, or none is a number."""
    if coordinates.dtype.kind not in "iuf" or coordinates.size < 2:
        return None
    steps = np.abs(np.diff(coordinates.astype(np.float64)))
    step = float(abs(float(coordinates[-1]) - float(coordinates[0])) / (coordinates.size - 1))
    even = step > 0 and bool((np.abs(steps - step) <= EVEN * step).all())
    return step if even else math.nan

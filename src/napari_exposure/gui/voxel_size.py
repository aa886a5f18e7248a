"""The voxel size of a layer: to see, to type, or to take from its file."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from magicgui import widgets
from napari.utils.notifications import show_error
from qtpy.QtWidgets import QSizePolicy

from napari_exposure.batch import is_volume
from napari_exposure.gui.parts import Parts
from napari_exposure.io.reading import read
from napari_exposure.io.units import PIXEL, voxel_size

UNITS = (PIXEL, "nm", "µm", "mm")
# This stands for a size that is not known where those along other axes are.
UNSAID = "?"


class VoxelSizeEdit(Parts):
    """Size along z, y, x and unit; what is typed changes the layer."""

    def __init__(self, viewer, **options):
        self._layer: Any = None
        self._viewer = viewer
        self._boxes = [
            widgets.LineEdit(name=axis, value="1", tooltip=f"Size of a voxel along {axis}.") for axis in "zyx"
        ]
        for box in self._boxes:
            # The box is as wide as there is room, because a line edit would ask for 17 letters.
            box.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            box.native.setMinimumWidth(36)
        # napari asks for the choices whenever its list of layers changes.  The layer's own unit must be among them,
        # or the box, and with it the layer, would turn to another unit.
        self._unit = widgets.ComboBox(
            name="unit", choices=lambda _: self._units(), value=PIXEL, tooltip="Of the voxel size."
        )
        super().__init__(*self._boxes, self._unit, layout="horizontal", **options)
        for box in self._boxes:
            box.native.editingFinished.connect(partial(self._set_size, box))
        self._unit.changed.connect(self._set_unit)

    def show(self, layer) -> None:  # type: ignore[override]  # nobody shows it as a window
        """Show the voxel size of a layer, or nothing."""
        self._layer = layer
        self.enabled = layer is not None
        if layer is None:
            return
        sizes, unit = voxel_size(layer)
        spatial = min(3, layer.ndim)
        self._boxes[0].visible = spatial == 3
        with self._unit.changed.blocked():
            self._unit.reset_choices()
            self._unit.value = unit
        known = zip(self._boxes[-spatial:], sizes[-spatial:], layer.units[-spatial:], strict=True)
        for box, size, own in known:
            # An axis of another kind, such as time, has no size; a "?" asks for a size that nobody has given.
            unsaid = size != size and own == "pixel"
            box.enabled = size == size or unsaid
            box.value = UNSAID if unsaid else "1" if size != size else f"{size:.6g}"

    def _units(self) -> tuple[str, ...]:
        """The usual units, and that of the layer where it has another one."""
        unit = PIXEL if self._layer is None else voxel_size(self._layer)[1]
        return UNITS if unit in UNITS else (*UNITS, unit)

    def _sizes(self) -> list[float]:
        return list(voxel_size(self._layer)[0][-min(3, self._layer.ndim) :])

    def _set_size(self, box) -> None:
        """Take what was typed for one axis; the others stay as exact as they are."""
        sizes = self._sizes()
        at = self._boxes.index(box) - len(self._boxes)
        if box.value in (f"{sizes[at]:.6g}", UNSAID):
            return
        try:
            size = float(box.value.replace(",", "."))
            if not 0 < size < math.inf:
                raise ValueError
        except ValueError:
            show_error(f"The size of a voxel along {box.name} must be a number above 0, not {box.value!r}.")
            self.show(self._layer)
            return
        sizes[at] = size
        set_voxel_size(self._viewer, self._layer, sizes)

    def _set_unit(self) -> None:
        if self._layer is not None and self._unit.value != voxel_size(self._layer)[1]:
            set_voxel_size(self._viewer, self._layer, self._sizes(), self._unit.value)


def set_voxel_size(viewer, layer, sizes, unit: str | None = None) -> None:
    """Give a layer a voxel size along its last axes, NaN for an axis that keeps what it has.

    Without `unit` the sizes are in the unit of the last axis, and each axis keeps its own.  Mirrored axes stay
    mirrored, and the plane in view stays.
    """
    step = viewer.dims.current_step
    scale, units = list(layer.scale), list(layer.units)
    for axis, size in enumerate(sizes, layer.ndim - len(sizes)):
        if math.isnan(size):
            continue
        if unit is None and units[axis] == "pixel":
            units[axis] = units[-1]
        elif unit is None:
            size = float(f"{(size * units[-1]).to(units[axis]).magnitude:.12g}")
        else:
            units[axis] = "pixel" if unit == PIXEL else unit
        scale[axis] = math.copysign(size, scale[axis])
    layer.units, layer.scale = units, scale
    viewer.dims.current_step = step
    # The camera must find the layer again, which has another size in the world.
    viewer.reset_view()


def file_of(layer) -> Path | None:
    """The file that a layer without a voxel size came from, if it is one that may hold it."""
    path = layer.source.path and Path(layer.source.path)
    sizes, unit = voxel_size(layer)
    bare = unit == PIXEL and set(sizes[-3:]) == {1.0}
    return path if bare and path and path.exists() and is_volume(path) else None


def from_file(viewer, layer) -> str:
    """Give a layer the voxel size of its file, and return a sentence on where the file says it.

    Raises
    ------
    ValueError
        If the file does not say, or holds something else.
    """
    path = file_of(layer)
    if path is None:
        raise ValueError(f"{layer.name!r} did not come from a TIFF or OME-Zarr file that is still there.")
    # None of the data are read, only what describes them.
    volume = read(path, lazy=True)
    sizes = [math.nan if axis in volume.unsized else volume.sizes[axis][0] for axis in volume.axes if axis in "ZYX"]
    wanted = min(3, layer.ndim)
    if not any(axis in volume.came_from for axis in "ZYX"):
        raise ValueError(f"{path.name} does not say how large a voxel is. Type it in the row Voxel size.")
    if len(sizes) < wanted:
        raise ValueError(
            f"{path.name} has the axes {volume.axes}, the layer {layer.ndim}: type the voxel size instead."
        )
    set_voxel_size(viewer, layer, sizes[-wanted:], volume.unit or PIXEL)
    fields = ", ".join(dict.fromkeys(field for axis, field in volume.came_from.items() if axis in "ZYX"))
    return f"Voxel size from {path.name}: {fields}."

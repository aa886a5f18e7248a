"""Where in a layer the sliders stand and the mouse points.  No Qt."""

from __future__ import annotations

import numpy as np

from napari_exposure.gui.napari_versions import camera_of, units_of
from napari_exposure.source import in_memory, level_0


def place_in(layer, position, dims) -> np.ndarray:
    """A position in the viewer as coordinates of a layer's data: the viewer may count in another unit."""
    position = np.asarray(position, float)
    # While layers are removed, the viewer may have fewer axes than one of them.
    position = np.concatenate([np.zeros(max(0, layer.ndim - len(position))), position])
    units = units_of(dims)
    if units is not None:
        position = position[-layer.ndim :] * _factors(layer, units)
    return np.asarray(layer.world_to_data(position))


def point_of(layer, place, dims) -> np.ndarray:
    """Coordinates of a layer's data as a position in the viewer, along the layer's axes; it reverses `place_in`."""
    position, units = np.array(layer.data_to_world(place)), units_of(dims)
    return position if units is None else position / _factors(layer, units)


def _factors(layer, units) -> np.ndarray:
    """The units of the viewer in those of a layer, along the layer's axes."""
    factors = np.ones(layer.ndim)
    # The last axes are common; while a layer comes or goes, the viewer has other axes before it has their units.
    for back, (ours, its) in enumerate(zip(units[::-1], layer.units[::-1], strict=False), 1):
        if ours.is_compatible_with(its):
            factors[-back] = (1 * ours).to(its).magnitude
    return factors


def voxel_under(layer, viewer, source) -> tuple[int, ...] | None:
    """The voxel under the cursor: in 3D the brightest along the line of sight; None beside the layer."""
    shape = layer.data.shape[:-1] if layer.rgb else layer.data.shape
    position = viewer.cursor.position
    if viewer.dims.ndisplay == 2:
        voxel = np.round(place_in(layer, position, viewer.dims)).astype(int)
    else:
        displayed = list(viewer.dims.displayed)
        direction = camera_of(viewer).calculate_nd_view_direction(viewer.dims.ndim, displayed)
        # The axes of the layer are the last ones of the viewer, which may have more.
        more = viewer.dims.ndim - layer.ndim
        if min(displayed) < more or more < 0:
            # There is no line of sight through a plane, nor where the viewer has not yet the axes of the layer.
            return None
        start, end = layer.get_ray_intersections(position[more:], direction[more:], [axis - more for axis in displayed])
        if start is None or end is None:
            return None
        line = np.linspace(start, end, 2 * max(shape))
        places = np.clip(np.round(line).astype(int), 0, np.array(shape) - 1)
        known = [array for array in (level_0(layer), level_0(source)) if in_memory(array)]
        # A move of the mouse does not read from disk; it takes the middle of the line instead.
        voxel = places[np.argmax(known[0][tuple(places.T)]) if known else len(places) // 2]
    inside = all(0 <= at < size for at, size in zip(voxel, shape, strict=True))
    return tuple(voxel.tolist()) if inside else None

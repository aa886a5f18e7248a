"""The voxel that the mouse points at.  No Qt."""

from __future__ import annotations

import numpy as np

from napari_exposure.source import in_memory, level_0


def voxel_under(layer, viewer, source) -> tuple[int, ...] | None:
    """The voxel under the cursor: in 3D the brightest along the line of sight; None beside the layer."""
    shape = layer.data.shape[:-1] if layer.rgb else layer.data.shape
    position = viewer.cursor.position
    if viewer.dims.ndisplay == 2:
        voxel = np.round(layer.world_to_data(position)).astype(int)
    else:
        displayed = list(viewer.dims.displayed)
        start, end = layer.get_ray_intersections(
            position, viewer.scene.camera.calculate_nd_view_direction(viewer.dims.ndim, displayed), displayed
        )
        if start is None or end is None:
            return None
        line = np.linspace(start, end, 2 * max(shape))
        places = np.clip(np.round(line).astype(int), 0, np.array(shape) - 1)
        known = [array for array in (level_0(layer), level_0(source)) if in_memory(array)]
        # what must be read from disk is not read for a move of the mouse: the middle of the line
        voxel = places[np.argmax(known[0][tuple(places.T)]) if known else len(places) // 2]
    inside = all(0 <= at < size for at, size in zip(voxel, shape, strict=True))
    return tuple(voxel.tolist()) if inside else None

"""Every n-th plane of a layer in rows and columns: an Image in, a new Image out, not yet in a viewer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils import progress as napari_bar

from napari_exposure import core
from napari_exposure.core import progress
from napari_exposure.core.blocks import is_dask, stored_chunks
from napari_exposure.core.lazy import as_dask
from napari_exposure.core.montage import THIN, Arrangement, Gap
from napari_exposure.core.typing import Array
from napari_exposure.source import check_image

__all__ = ["montage"]

# beside these the placement of the axes; rotated or sheared, rows and columns would not be such
LOOKS = ("colormap", "contrast_limits", "gamma", "blending", "rendering", "interpolation2d")
METADATA_KEY = "napari_exposure.montage"


def montage(layer: Image, step: int = 2, columns: int = 6, *, axis: int = -3, gap: Gap = None, level: int = 0) -> Image:
    """Show every n-th plane of a layer in rows and columns; `core.montage` on a layer.

    Parameters
    ----------
    layer : napari.layers.Image
        2D to 5D, RGB, or multiscale.  Not changed.
    step : int
        Every `step`-th plane is shown, beginning with the first.
    columns : int
        Planes beside each other; never more than there are.
    axis : int
        Along which planes are taken, z by default; -2 and -1 give the planes across y and across x.
    gap : int or (int, int), optional
        Voxels between planes, or between rows and between columns.  Default: a thin one, equally wide in the unit of
        the layer.  It is black: the lower contrast limit, for RGB zero.
    level : int
        Of a multiscale layer the level whose planes are shown.

    Returns
    -------
    napari.layers.Image
        A new layer, not yet in a viewer, with the voxel size, colormap and contrast limits of the old one; lazy
        where that is a dask, zarr or h5py array.  Time and channel stay sliders.

    Raises
    ------
    TypeError
        If it is not an Image layer, or a parameter is not a number.
    ValueError
        If a parameter is out of bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nuclei = Image(np.zeros((60, 64, 64), np.uint16), name="nuclei", scale=(0.3, 0.2, 0.2))
    >>> nx.montage(nuclei).data.shape
    (324, 389)
    """
    fill_it, make = montage_job(layer, step, columns, axis=axis, gap=gap, level=level)
    with progress.bar(napari_bar):
        return make(fill_it())


def arrangement(
    layer: Image, step: int = 2, columns: int = 6, *, axis: int = -3, gap: Gap = None, level: int = 0
) -> Arrangement:
    """Which planes of a layer are shown, and where; see `montage`."""
    shape, scale, _ = _placed(layer, level)
    arranged = Arrangement.of(shape, step, columns, axis, gap)
    if gap is not None:
        return arranged
    sizes = [size for number, size in enumerate((1.0,) * (len(shape) == 2) + scale) if number != arranged.axis][-2:]
    width = THIN * max(n * size for n, size in zip(arranged.plane, sizes, strict=True))
    return Arrangement.of(shape, step, columns, axis, [max(1, round(width / size)) for size in sizes])


def _placed(layer: Image, level: int) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Shape of a level without its colour axis, scale and translation of its voxels."""
    levels = layer.data if layer.multiscale else [layer.data]
    if level not in range(len(levels)):
        raise ValueError(
            f"Layer {layer.name!r} has {len(levels)} level(s): level must be 0 to {len(levels) - 1}, got {level!r}."
        )
    whole, shape = (array.shape[:-1] if layer.rgb else array.shape for array in (levels[0], levels[level]))
    wider = np.divide(whole, shape)
    scale = np.asarray(layer.scale, float)
    # the first voxel of a coarse level begins where that of level 0 does
    translate = np.asarray(layer.translate, float) + scale * (wider - 1) / 2
    return tuple(shape), tuple((scale * wider).tolist()), tuple(translate.tolist())


def montage_job(
    layer: Image, step: int = 2, columns: int = 6, *, axis: int = -3, gap: Gap = None, level: int = 0
) -> tuple[Callable[[], Array], Callable[[Array], Image]]:
    """What makes the array of a montage, and what makes the layer from it; bad parameters raise here."""
    check_image(layer)
    arranged = arrangement(layer, step, columns, axis=axis, gap=gap, level=level)
    array = layer.data[level] if layer.multiscale else layer.data
    # what is read as it is looked at gives such a montage
    array = as_dask(array) if is_dask(array) or stored_chunks(array) else array
    fill = _black(layer)
    fill_it = partial(core.montage, array, step, columns, axis, gap=arranged.gap, fill=fill, rgb=layer.rgb)
    shape, scale, translate = _placed(layer, level)
    units, labels = layer.units, layer.axis_labels
    slab = None
    kept = list(range(len(shape)))
    if len(shape) > 2:
        at = arranged.axis
        kept.remove(at)
        if at and arranged.lead:
            # the axis stays, as one voxel over its whole extent: the others belong to the same sliders as in the source
            slab = min(at, len(arranged.lead))
            kept.insert(slab, at)
            translate = _replaced(translate, at, translate[at] + scale[at] * (shape[at] - 1) / 2)
            scale = _replaced(scale, at, scale[at] * shape[at])
    looks = {name: getattr(layer, name) for name in LOOKS[2 * layer.rgb :]}
    make = partial(
        _layer,
        slab=slab,
        limits=tuple(layer.contrast_limits_range),
        name=f"{layer.name} - montage",
        rgb=layer.rgb,
        scale=[scale[axis] for axis in kept],
        translate=[translate[axis] for axis in kept],
        units=[units[axis] for axis in kept],
        axis_labels=[labels[axis] for axis in kept],
        metadata={**layer.metadata, METADATA_KEY: _record(layer, arranged, labels)},
        **looks,
    )
    return fill_it, make


def _layer(data: Any, *, slab: int | None, limits: tuple[float, ...], **options: Any) -> Image:
    data = data if slab is None else data[(slice(None),) * slab + (None,)]
    made = Image(data, multiscale=False, **options)
    if not made.rgb:
        made.contrast_limits_range = limits
    return made


def _replaced(values: tuple[float, ...], at: int, value: float) -> tuple[float, ...]:
    return (*values[:at], value, *values[at + 1 :])


def _black(layer: Image) -> float:
    """The value of gaps: the lower contrast limit as the layer's dtype has it."""
    dtype = np.dtype(layer.dtype)
    if layer.rgb or dtype.kind == "b":
        return 0
    low = float(layer.contrast_limits[0])
    return round(np.clip(low, np.iinfo(dtype).min, np.iinfo(dtype).max)) if dtype.kind in "iu" else low


def _record(layer: Image, arranged: Arrangement, labels: tuple[str, ...]) -> dict[str, Any]:
    axis = labels[arranged.axis] if layer.ndim > 2 else None
    return {
        "source": layer.name,
        "axis": axis,
        "planes": list(arranged.planes),
        "columns": arranged.columns,
        "gap": list(arranged.gap),
    }

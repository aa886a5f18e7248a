"""Montages of layers, and layers that label their planes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Points

from napari_exposure.core import progress
from napari_exposure.core.axes import is_unnamed
from napari_exposure.core.blocks import is_dask, stored_chunks
from napari_exposure.core.intensity import check_level
from napari_exposure.core.lazy import as_dask
from napari_exposure.core.montage import THIN, Arrangement, Gap, array_montage
from napari_exposure.core.typing import Array
from napari_exposure.source import check_image, window_bar

# A montage takes over these attributes and the placement of its axes, but not a rotation or a shear of the source.
LOOKS = ("colormap", "contrast_limits", "gamma", "blending", "rendering", "interpolation2d")
METADATA_KEY = "napari_exposure.montage"
# The height of a label is this fraction of the longer edge of a plane.
LABEL = 1 / 16


def layer_montage(image: Image, *planes: int, **how: Any) -> Image:
    """Return the montage of a layer; see `core.montage`."""
    fill_it, make = montage_job(image, *planes, **how)
    with progress.bar(window_bar):
        return make(fill_it())


def label_montage(montage: Image) -> Points:
    """Write on each plane of a montage where it lies along its axis, in the unit of the layer.

    Parameters
    ----------
    montage : napari.layers.Image
        A result of `montage`.  It is not changed.

    Returns
    -------
    napari.layers.Points
        A new layer, not yet in a viewer, which shows only text; it lies over the montage at every time and channel.

    Raises
    ------
    ValueError
        If the layer is no montage.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nuclei = Image(np.zeros((60, 64, 64), np.uint16), name="nuclei", scale=(0.3, 0.2, 0.2), units="um")
    >>> labels = nx.label_montage(nx.montage(nuclei, step=20))
    >>> labels.text.values.tolist()
    ['z 0 µm', 'z 6 µm', 'z 12 µm']

    See Also
    --------
    montage : Show every n-th plane of a layer in rows and columns.
    """
    check_image(montage)
    record = montage.metadata.get(METADATA_KEY)
    if record is None:
        raise ValueError(f"Layer {montage.name!r} is no montage. Give what nx.montage made.")
    height, width = record["plane"]
    # A voxel is centered on its index, so it begins half a voxel before.
    corners = [
        [row * (height + record["gap"][0]) - 0.5, column * (width + record["gap"][1]) - 0.5]
        for row, column in (divmod(number, record["columns"]) for number in range(len(record["planes"])))
    ]
    scale = np.asarray(montage.scale, float)[-2:]
    black = montage.rgb or montage.colormap.map(np.zeros(1))[0, :3].mean() < 0.5
    made: Points = Points(
        corners,
        name=f"{montage.name} labels",
        scale=scale,
        translate=montage.translate[-2:],
        units=montage.units[-2:],
        axis_labels=montage.axis_labels[-2:],
        size=1,
        face_color="transparent",
        border_color="transparent",
        features={"label": record["labels"]},
        text={
            "string": "{label}",
            # With this anchor, text stands below and to the right of the corner.
            "anchor": "lower_left",
            "color": "white" if black else "black",
        },
    )
    if hasattr(made.text, "scaling"):
        # Labels are scaled with the planes at every zoom; an older napari can only write them in one size.
        made.text.scaling = True
        made.text.size = float(LABEL * max(np.abs(scale) * (height, width)))
    return made


def arrangement(
    layer: Image, step: int = 2, columns: int = 6, *, axis: int = -3, gap: Gap = None, level: int = 0
) -> Arrangement:
    """Return which planes of a layer are shown, and where; see `montage`."""
    shape, scale, _ = _placed(layer, level)
    arranged = Arrangement.of(shape, step, columns, axis, gap)
    if gap is not None:
        return arranged
    sizes = [size for number, size in enumerate((1.0,) * (len(shape) == 2) + scale) if number != arranged.axis][-2:]
    width = THIN * max(n * size for n, size in zip(arranged.plane, sizes, strict=True))
    return Arrangement.of(shape, step, columns, axis, [max(1, round(width / size)) for size in sizes])


def _placed(layer: Image, level: int) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]:
    """Return the shape of a level without its color axis, and the scale and translation of its voxels."""
    levels = layer.data if layer.multiscale else [layer.data]
    check_level(level, len(levels), f"Layer {layer.name!r}")
    whole, shape = (array.shape[:-1] if layer.rgb else array.shape for array in (levels[0], levels[level]))
    wider = np.divide(whole, shape)
    scale = np.asarray(layer.scale, float)
    # The first voxel of a coarse level begins where that of level 0 begins.
    translate = np.asarray(layer.translate, float) + scale * (wider - 1) / 2
    return tuple(shape), tuple((scale * wider).tolist()), tuple(translate.tolist())


def montage_job(
    layer: Image,
    step: int = 2,
    columns: int = 6,
    axis: int = -3,
    *,
    gap: Gap = None,
    fill: float | None = None,
    rgb: bool | None = None,
    level: int = 0,
) -> tuple[Callable[[], Array], Callable[[Array], Image]]:
    """Return two functions, which make the array of a montage and the layer of it; bad parameters raise here."""
    check_image(layer)
    if rgb is not None and bool(rgb) != layer.rgb:
        raise TypeError(f"rgb is for arrays; layer {layer.name!r} says rgb={layer.rgb} of itself.")
    arranged = arrangement(layer, step, columns, axis=axis, gap=gap, level=level)
    array = layer.data[level] if layer.multiscale else layer.data
    # The montage of an array that is not in memory is lazy.
    array = as_dask(array) if is_dask(array) or stored_chunks(array) else array
    fill = _black(layer) if fill is None else fill
    fill_it = partial(array_montage, array, step, columns, axis, gap=arranged.gap, fill=fill, rgb=layer.rgb)
    shape, scale, translate = _placed(layer, level)
    units, labels = layer.units, layer.axis_labels
    slab = None
    kept = list(range(len(shape)))
    if len(shape) > 2:
        at = arranged.axis
        kept.remove(at)
        if at and arranged.lead:
            # The axis stays as one voxel over its whole extent, so that the other axes keep their sliders.
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
        metadata={**layer.metadata, METADATA_KEY: _record(layer, arranged, level)},
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
    """Return the value of gaps: the lower contrast limit in the layer's dtype."""
    dtype = np.dtype(layer.dtype)
    if layer.rgb or dtype.kind == "b":
        return 0
    low = float(layer.contrast_limits[0])
    return round(np.clip(low, np.iinfo(dtype).min, np.iinfo(dtype).max)) if dtype.kind in "iu" else low


def _record(layer: Image, arranged: Arrangement, level: int) -> dict[str, Any]:
    axis, words = None, [""]
    if layer.ndim > 2:
        at = arranged.axis
        _, steps, starts = _placed(layer, level)
        axis = layer.axis_labels[at]
        usual = [*(f"axis {number}" for number in range(layer.ndim - 3)), *"zyx"][-layer.ndim :]
        label = usual[at] if is_unnamed(axis) else axis
        unit = "" if str(layer.units[at]) == "pixel" else f" {layer.units[at]:~P}"
        words = [f"{label} {starts[at] + steps[at] * plane:.4g}{unit}" for plane in arranged.planes]
    return {
        "source": layer.name,
        "axis": axis,
        "planes": list(arranged.planes),
        "columns": arranged.columns,
        "gap": list(arranged.gap),
        "plane": list(arranged.plane),
        "labels": words,
    }

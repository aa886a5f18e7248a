"""Opens napari layers for verbs, which take an Image and return a new Image that is not yet in a viewer."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any

import napari.layers
import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.axes import Tile
from napari_exposure.core.blocks import Block, contiguous_blocks, walk
from napari_exposure.core.chain import Chain
from napari_exposure.core.colormap import color_table, read_colors, warn_wrong
from napari_exposure.core.images import Opened, fit_on_other
from napari_exposure.core.parameters import GivenRange
from napari_exposure.core.slopes import CRUSHED, SATURATED, GainMap
from napari_exposure.core.transform import BlockMap
from napari_exposure.core.typing import Array, Spacing
from napari_exposure.core.volume import Volume
from napari_exposure.core.words import warn_user
from napari_exposure.io.units import time_step
from napari_exposure.layer_montage import layer_montage
from napari_exposure.source import PLACEMENT, Origin, Source, in_memory, level_0, mask_array, window_bar


class OpenedLayer(Opened):
    """An opened Image layer, which knows its voxel size and its colors; see `core.images.opened` for parameters."""

    make_bar = staticmethod(window_bar)
    montage = staticmethod(layer_montage)

    def __init__(
        self, layer: Any, *, mask: Any = None, spacing: Spacing = None, rgb: bool | None = None, level: int = 0
    ) -> None:
        self.source, self.mask, self.level = Source.of(layer), mask, level
        if spacing is not None:
            raise TypeError(
                f"spacing is for arrays; layer {layer.name!r} has its own. Set layer.scale and layer.units."
            )
        if rgb is not None and bool(rgb) != self.source.rgb:
            raise TypeError(f"rgb is for arrays; layer {layer.name!r} says rgb={self.source.rgb} of itself.")

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def unit(self) -> str:
        return self.source.unit

    @property
    def spacing(self) -> tuple[float, ...]:
        return self.source.sizes

    def time_step(self, axis: int) -> float:
        layer = self.source.layer()
        return 1.0 if layer is None else time_step(layer, axis)[0]

    def in_range(self, value: GivenRange) -> Any:
        return self.source.contrast_limits if isinstance(value, str) and value == "contrast_limits" else value

    def volume(self, ignore_zeros: bool = False) -> Volume:
        counted = None if self.mask is None else mask_array(self.mask, self.source)
        return Volume(self.source.array, counted, ignore_zeros, self.source.rgb, labels=self.source.labels)

    def joined(self, others: Sequence[OpenedLayer], how: str) -> OpenedLayer:
        found = copy(self)
        found.source = self.source.joined([each.source for each in others], how)
        return found

    def check(self, adjustment: Chain) -> None:
        self.source.in_unit_of(adjustment).check(adjustment, self.mask)

    def fit(self, adjustment: Chain) -> BlockMap:
        with self.bar():
            return self.source.in_unit_of(adjustment).fit(adjustment, self.mask, level=self.level)

    def adjusted(self, adjustment: Chain, fit_on: Any = None) -> napari.layers.Image:
        source, mask, start = self.source.in_unit_of(adjustment), self.mask, time.perf_counter()
        with self.bar():
            if fit_on is None:
                data, transform = source.adjusted(adjustment, mask, level=self.level)
            else:
                # The mask belongs to the layer that is fitted, so the result does not name it.
                with progress.part(0, 0.5):
                    fitted = fit_on_other(adjustment, fit_on, partial(OpenedLayer, mask=mask))
                    transform = fitted.fitting(source.array)
                with progress.part(0.5, 1):
                    data, mask = source.mapped(transform), None
        return source.result(data, transform, seconds=time.perf_counter() - start, mask=mask)

    def tile(self, translate: Any, spacing: Spacing) -> tuple[Array, Tile]:
        if translate is not None or spacing is not None:
            raise TypeError(f"translate and spacing are for arrays; layer {self.name!r} has its own.")
        return self.source.array, self.source.tile()

    def show_alike(self, results: Sequence[Any]) -> None:
        for each in results:
            each.contrast_limits = self.source.contrast_limits

    def gain_map(self, fitted: BlockMap | None) -> napari.layers.Image:
        source, name = self.source, self.source.name
        if fitted is None:
            origin = Origin.of(source.layer())
            made_from = None if origin is None else origin.source()
            if origin is None or made_from is None:
                raise ValueError(
                    f"Layer {name!r} was not made by this plugin in this session, or its source is gone. Give the "
                    "source and what was fitted on it: gain_map(source, fitted)."
                )
            result, source, fitted = level_0(source.layer()), Source.of(made_from), origin.transform
            if not _follows(result, source.array, fitted):
                warn_user(
                    f"Layer {name!r} does not follow from {source.name!r} any more: one of them was edited since. The "
                    "gains are those of the old fit at the values that the source has now; adjust it again."
                )
        with self.bar():
            data: Any = source.mapped(GainMap(fitted).fitting(source.array))
        first = data[0] if source.levels else data
        gains = first[first > 0] if isinstance(first, np.ndarray) else np.empty(0)
        # The contrast limits end above 99 % of the gains, so that a few steep voxels do not darken the others.
        top = max(2.0, math.ceil(np.percentile(gains, 99))) if gains.size else 10.0
        return gain_layer(source, data, name, top)

    def from_colormap(self, colormap: Any, limits: tuple[float, float]) -> napari.layers.Image:
        source = self.source
        if not source.rgb:
            raise ValueError(f"Layer {source.name!r} has no colors: it must be an RGB image.")
        shown, colors = _palette(colormap)
        levels = []
        with self.bar():
            for array in (source.array, *source.levels):
                levels.append(read_colors(Volume(array, rgb=True), colors, limits))
        warn_wrong(levels[0])
        placed = {name: source.carried[name] for name in (*PLACEMENT, "blending", "rendering", "metadata")}
        placed["metadata"]["napari_exposure_colormap"] = {
            "source": source.name,
            "colormap": shown.name,
            "limits": [float(limit) for limit in limits],
            "mean_distance": levels[0].mean,
            "greatest_distance": levels[0].maximum,
        }
        data = [level.values for level in levels]
        return napari.layers.Image(
            data if source.levels else data[0],
            name=f"{source.name} - values",
            colormap=shown,
            contrast_limits=(float(min(limits)), float(max(limits))),
            multiscale=bool(source.levels),
            **placed,
        )


def gain_layer(source: Source, data: Any, name: str, top: float) -> napari.layers.Image:
    """Return a layer with gains of a result of `source`, in colors that go up to the gain `top`."""
    placed = {each: source.carried[each] for each in (*PLACEMENT, "metadata")}
    return napari.layers.Image(
        data,
        name=f"{name} - gain",
        colormap=_gain_colors(top),
        contrast_limits=(SATURATED - 0.5, top),
        multiscale=bool(source.levels),
        **placed,
    )


def _gain_colors(top: float) -> Any:
    """Return a colormap in which saturated voxels are red, crushed ones blue, and gains go from black to white."""
    from napari.utils import Colormap

    ends = np.array([SATURATED - 0.5, (SATURATED + CRUSHED) / 2, CRUSHED / 2, 1.0, top])
    places = (ends - ends[0]) / (top - ends[0])
    red, blue, black, gray, yellow, white = "#dc143c", "#0072b2", "#000000", "#707070", "#f0e442", "#ffffff"
    before = np.nextafter(places, 0, dtype=np.float32)
    controls = [places[0], before[1], places[1], before[2], places[2], places[3], (places[3] + 1) / 2, places[4]]
    colors = [red, red, blue, blue, black, gray, yellow, white]
    return Colormap(colors, controls=controls, name="gain")


def _follows(result: Any, array: Any, fitted: BlockMap) -> bool:
    """Whether a result is what was fitted makes of an array; of lazy arrays this is not looked at.

    Arrays in memory may have been edited in place, which leaves no trace in a layer.
    """
    if not (isinstance(result, np.ndarray) and in_memory(array)):
        return True
    alike: list[bool] = []

    def look(block: Block) -> bool:
        found = fitted(np.asarray(array[block]), tuple(part.start for part in block))
        return np.array_equal(result[block], found, equal_nan=True)

    walk(contiguous_blocks(fitted.shape), look, alike.append, "comparing")
    return all(alike)


def _palette(colormap: Any) -> tuple[Any, np.ndarray]:
    """Return a napari colormap and its colors in even steps."""
    from napari.utils import Colormap
    from napari.utils.colormaps import ensure_colormap

    if not isinstance(colormap, str | Colormap):
        color_table(colormap)
        return Colormap(np.asarray(colormap) / (255 if np.asarray(colormap).dtype.kind in "ui" else 1)), colormap
    try:
        shown = ensure_colormap(colormap)
    except KeyError:
        raise ValueError(f"napari knows no colormap {colormap!r}.") from None
    return shown, shown.map(np.linspace(0, 1, 256))

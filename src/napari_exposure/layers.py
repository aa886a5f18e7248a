"""napari layers as verbs take them: an Image in, a new Image out, not yet in a viewer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import napari.layers
import numpy as np
from napari.utils import progress as napari_bar

from napari_exposure.core import progress
from napari_exposure.core.adjustment import GivenRange
from napari_exposure.core.blocks import Volume
from napari_exposure.core.chain import Chain
from napari_exposure.core.colormap import colour_table, read_colors, warn_wrong
from napari_exposure.core.transform import BlockMap
from napari_exposure.core.typing import Spacing
from napari_exposure.source import PLACEMENT, Source, mask_array


class OpenedLayer:
    """An Image layer, which knows its voxel size and its colors; parameters as `core.images.opened` has them."""

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
    def spacing(self) -> tuple[float, ...]:
        """Size of a voxel along the axes of space."""
        return self.source.sizes

    def in_range(self, value: GivenRange) -> Any:
        """An input range as adjustments take it."""
        return self.source.contrast_limits if isinstance(value, str) and value == "contrast_limits" else value

    def volume(self, ignore_zeros: bool = False) -> Volume:
        """What is counted."""
        counted = None if self.mask is None else mask_array(self.mask, self.source)
        return Volume(self.source.array, counted, ignore_zeros, self.source.rgb)

    @contextmanager
    def bar(self) -> Iterator[None]:
        """Show the progress of the work inside in napari's window."""
        with progress.bar(napari_bar):
            yield

    def fit(self, adjustment: Chain) -> BlockMap:
        """Fit an adjustment or a recipe."""
        with self.bar():
            return self.source.in_unit_of(adjustment).fit(adjustment, self.mask, level=self.level)

    def adjusted(self, adjustment: Chain, fit_on: Any = None) -> napari.layers.Image:
        """A new layer; parameters as `Recipe.apply` has them."""
        source, mask, start = self.source.in_unit_of(adjustment), self.mask, time.perf_counter()
        with self.bar():
            if fit_on is None:
                data, transform = source.adjusted(adjustment, mask, level=self.level)
            else:
                # The mask is of the layer that is fitted.
                with progress.part(0, 0.5):
                    transform = _fitted(adjustment, fit_on, mask).fitting(source.array)
                with progress.part(0.5, 1):
                    data, mask = source.mapped(transform), None
        return source.result(data, transform, seconds=time.perf_counter() - start, mask=mask)

    def from_colormap(self, colormap: Any, limits: tuple[float, float]) -> napari.layers.Image:
        """A new layer with the numbers that the colors stand for."""
        source = self.source
        if not source.rgb:
            raise ValueError(f"Layer {source.name!r} has no colours: it must be an RGB image.")
        shown, colours = _colours(colormap)
        levels = []
        with self.bar():
            for array in (source.array, *source.levels):
                levels.append(read_colors(Volume(array, rgb=True), colours, limits))
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


def _fitted(adjustment: Chain, fit_on: Any, mask: Any) -> BlockMap:
    """What was fitted, or is fitted now on another layer."""
    if isinstance(fit_on, BlockMap):
        return fit_on
    if not isinstance(fit_on, napari.layers.Layer):
        raise TypeError(f"fit_on must be an Image layer or a FittedRecipe, got {type(fit_on).__name__}.")
    return OpenedLayer(fit_on, mask=mask).fit(adjustment)


def _colours(colormap: Any) -> tuple[Any, np.ndarray]:
    """A napari colormap and its colours in even steps."""
    from napari.utils import Colormap
    from napari.utils.colormaps import ensure_colormap

    if not isinstance(colormap, str | Colormap):
        colour_table(colormap)
        return Colormap(np.asarray(colormap) / (255 if np.asarray(colormap).dtype.kind in "ui" else 1)), colormap
    try:
        shown = ensure_colormap(colormap)
    except KeyError:
        raise ValueError(f"napari knows no colormap {colormap!r}.") from None
    return shown, shown.map(np.linspace(0, 1, 256))

"""Sources: what adjustments read of an Image layer, and what a new layer takes over from it and records."""

from __future__ import annotations

import math
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import napari.layers
import napari.utils
import numpy as np
import psutil

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment, warn_constant
from napari_exposure.core.arrays import held
from napari_exposure.core.axes import Tile, check_space, count_space, is_space, spatial_axes
from napari_exposure.core.chain import Chain, FittedRecipe, check_chain, fit_chain
from napari_exposure.core.counting import count_colors
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.intensity import check_dtype, check_exposure, check_level
from napari_exposure.core.lazy import as_dask
from napari_exposure.core.memory import Memory
from napari_exposure.core.several import join
from napari_exposure.core.transform import BlockMap
from napari_exposure.core.typing import Array
from napari_exposure.core.volume import Volume
from napari_exposure.core.words import given, naming
from napari_exposure.io.units import axis_names, in_unit, turned, voxel_size
from napari_exposure.provenance import MASK_ARRAY, METADATA_KEY, noted, record, step_record

PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
CARRIED = (*PLACEMENT, "colormap", "blending", "rendering")


@dataclass(frozen=True, eq=False)
class Source:
    """What an adjustment needs of an Image layer, read once, so that a job can outlive the layer.

    Attributes
    ----------
    name : str
    array : array-like
        The layer's data, or level 0 of a multiscale layer.
    levels : tuple of array-like
        The coarser levels of a multiscale layer.
    rgb : bool
    spacing : tuple of float
        The size of a voxel along all axes in `unit`; NaN along axes of another kind, such as time.
    space : int
        How many of the last axes are space, 2 or 3, by labels and units, or else by their place.
    labels : tuple of str
        The names of the axes, as labels and units say them.
    unit : str
        The short name of the unit, such as "µm"; `units.PIXEL` where no voxel size is known.
    contrast_limits : (float, float)
    carried : dict
        Arguments of the new layer.
    history : dict
        The record of how this layer was made, if the plugin made it.
    layer : weakref.ref
        The layer itself, as long as it lives.
    """

    name: str
    array: Array
    levels: tuple[Array, ...]
    rgb: bool
    spacing: tuple[float, ...]
    space: int
    labels: tuple[str, ...]
    unit: str
    contrast_limits: tuple[float, float]
    carried: dict[str, Any] = field(repr=False)
    history: dict[str, Any] = field(repr=False)
    layer: weakref.ref[napari.layers.Image] = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape without the color axis."""
        return tuple(self.array.shape[:-1] if self.rgb else self.array.shape)

    def spatial(self, adjustment: Chain) -> int:
        """Return how many of the last axes are space in every step of an adjustment or a recipe."""
        return min(each.spatial(len(self.sizes), len(self.shape), self.labels) for each in adjustment.steps)

    @property
    def sizes(self) -> tuple[float, ...]:
        """The size of a voxel along the axes of space, as `core` takes it; 1 where it is not known."""
        return tuple(1.0 if math.isnan(size) else size for size in self.spacing[-max(self.space, 2) :])

    @classmethod
    def of(cls, layer: Any) -> Source:
        """Read a layer, or raise why it cannot be adjusted."""
        check_layer(layer)
        (spacing, unit), labels = voxel_size(layer), axis_names(layer)
        carried = {name: getattr(layer, name) for name in CARRIED}
        if layer.rgb:
            del carried["colormap"]
        return cls(
            name=layer.name,
            array=_read(level_0(layer)),
            levels=tuple(map(_read, layer.data[1:])) if layer.multiscale else (),
            rgb=layer.rgb,
            spacing=spacing,
            space=count_space(map(is_space, labels)),
            labels=labels,
            unit=unit,
            contrast_limits=(float(layer.contrast_limits[0]), float(layer.contrast_limits[1])),
            carried={**carried, "metadata": dict(layer.metadata)},
            history=noted(layer.metadata.get(METADATA_KEY)),
            layer=weakref.ref(unwrapped(layer)),
        )

    def joined(self, others: Sequence[Source], how: str) -> Source:
        """Return this source and others as one image to fit on, without levels; `how` is that of `several.join`.

        Errors name the layers that cannot share a fit.
        """
        sources = self, *others
        for each in others:
            if (each.rgb, each.space) != (self.rgb, self.space):
                raise ValueError(
                    f"Layers {self.name!r} and {each.name!r} cannot share one fit: "
                    + ("one of them is RGB." if each.rgb != self.rgb else "their labels say that other axes are space.")
                )
        array, counted = join([each.array for each in sources], [f"Layer {each.name!r}" for each in sources], how)
        if counted is not None:
            raise ValueError(f"Masked arrays have no {how}; use fit_on='all'.")
        return replace(self, array=array, levels=(), name=" + ".join(each.name for each in sources))

    def tile(self) -> Tile:
        """Return the size of a voxel and the place of the first one along all axes, in napari's world.

        A layer that is RGB, or does not lie along the axes of the world, raises an error.
        """
        if self.rgb:
            raise TypeError(f"Layer {self.name!r} is RGB; take its colors apart first (Split RGB).")
        place = self.carried
        if wrong := turned(place):
            raise ValueError(
                f"Layer {self.name!r} is {' and '.join(wrong)}. Tiles of a mosaic may be scaled and translated, and "
                "nothing else, because their voxels are compared one by one. Resample it first."
            )
        # Lengths are converted to one unit, because one layer may be in nm and its neighbor in µm.
        factors = [in_unit(1.0, str(unit), "um") or 1.0 for unit in place["units"]]
        sizes, where = (
            tuple(float(each) * factor for each, factor in zip(place[name], factors, strict=True))
            for name in ("scale", "translate")
        )
        return sizes, where

    def check_exposure(self) -> None:
        """Raise what to do if the layer can be counted, but not adjusted."""
        check_exposure(self.array.dtype, f"layer {self.name!r}", "layer.data")

    def check(self, adjustment: Chain, mask: Any = None) -> None:
        """Check an adjustment and a mask, as `adjusted` does too, before any voxel is read.

        Errors also say if the result would not fit into memory.
        """
        self._checked(adjustment, mask, None)
        needed, free = result_bytes(self, adjustment), psutil.virtual_memory().available
        if in_memory(self.array) and needed > free:
            raise ValueError(
                f"Layer {self.name!r}: the result needs {needed / 2**30:.1f} GB, {free / 2**30:.1f} GB of memory are "
                "free. Make it lazy: layer.data = napari_exposure.core.as_dask(layer.data), and save the result."
            )

    def adjusted(
        self, adjustment: Chain, mask: Any = None, memory: Memory | None = None, level: int = 0
    ) -> tuple[Array | list[Array], BlockMap]:
        """Return the new data, an array or a list of one for each level, and the transform fitted on `level`."""
        self.check(adjustment, mask)
        with progress.part(0, 0.4):
            transform = self.fit(adjustment, mask, memory, level=level)
        for each in transform.transforms:
            warn_constant(each)
        with progress.part(0.4, 1), naming(f"Layer {self.name!r}"):
            return self.mapped(transform), transform

    def mapped(self, transform: BlockMap) -> Array | list[Array]:
        """Return what a transform makes of the layer: an array, or a list of one for each level."""
        results: list[Array] = []
        levels = self.array, *self.levels
        for number, (array, level) in enumerate(zip(levels, self.at_levels(transform), strict=True)):
            # The result of an array that is not in memory is lazy.
            array = array if in_memory(array) else as_dask(array)
            with progress.item(number, len(levels)):
                results.append(level.apply(array))
        return results if self.levels else results[0]

    def at_levels(self, transform: BlockMap) -> list[BlockMap]:
        """Return a transform of this layer for each of its levels."""
        shapes = (level.shape[:-1] if self.rgb else level.shape for level in self.levels)
        return [transform, *(transform.at_level(tuple(shape)) for shape in shapes)]

    def fit(
        self, adjustment: Chain, mask: Any = None, memory: Memory | None = None, *, step: int = 1, level: int = 0
    ) -> BlockMap:
        """Fit an adjustment or a recipe, and return the transform.

        It is fitted sooner, and is nearly the same, with `step` on every step-th voxel along the spatial axes, or with
        `level` on a coarser level.
        """
        volume = self._checked(adjustment, mask, memory)
        spatial = self.spatial(adjustment)
        if step > 1:
            taken = (Ellipsis, *[slice(None, None, step)] * spatial)
            array = volume.array[(*taken, slice(None)) if self.rgb else taken]
            coarse = replace(volume, array=array, mask=None if volume.mask is None else volume.mask[taken])
        else:
            coarse = volume if level == 0 else replace(volume, array=self._level(level, mask, adjustment, spatial))
        places = zip(reversed(self.sizes), reversed(volume.shape), reversed(coarse.shape), strict=False)
        sizes = tuple(size * whole / n for size, whole, n in places)[::-1]
        with naming(f"Layer {self.name!r}"):
            transforms = fit_chain(adjustment.steps, coarse, sizes)
        transform: BlockMap = transforms[0] if len(transforms) == 1 else FittedRecipe(transforms)
        if coarse is volume:
            return transform
        return transform.at_level(volume.shape) if level else transform.onto(volume.shape)

    def _level(self, level: int, mask: Any, adjustment: Chain, spatial: int) -> Array:
        """Return the array of a coarser level to fit on, or raise why it cannot be used."""
        check_level(level, len(self.levels) + 1, f"Layer {self.name!r}")
        if mask is not None:
            raise ValueError("A mask has the shape of level 0; use level=0 with it.")
        array = self.levels[level - 1]
        lead = len(self.shape) - spatial
        for each in adjustment.steps:
            if (each.per != "dataset" or each.in_series) and tuple(array.shape[:lead]) != self.shape[:lead]:
                raise ValueError(f"Level {level} has fewer {each.per}s than level 0; fit them on level 0.")
        return array

    def _checked(self, adjustment: Chain, mask: Any, memory: Memory | None) -> Volume:
        """Return the volume to fit on, or raise why the adjustment or the mask does not suit it."""
        self.check_exposure()
        counted = None if mask is None else mask_array(mask, self)
        with naming(f"Layer {self.name!r}"):
            volume = Volume(self.array, counted, rgb=self.rgb, memory=memory, labels=self.labels)
            for each in adjustment.steps:
                if each.in_space:
                    check_space(self.space, self.labels)
                if each.needs_spacing:
                    self.spacing_along(spatial_axes(self.space, each.per))
            check_chain(adjustment.steps, volume, self.sizes)
        return volume

    def histogram(self, nbins: int, ignore_zeros: bool = False) -> Histogram:
        """Count the layer, under its name."""
        with naming(f"Layer {self.name!r}"):
            volume = Volume(self.array, ignore_zeros=ignore_zeros, rgb=self.rgb)
            return replace(count_colors(volume, nbins), name=self.name)

    def in_unit_of(self, recipe: Any) -> Source:
        """Return the source with its voxel size in a recipe's unit, or raise if it does not convert to it."""
        unit = getattr(recipe, "unit", None)
        if unit is None or unit == self.unit or not recipe.has_sizes:
            return self
        factor = in_unit(1.0, self.unit, unit)
        if factor is None:
            raise ValueError(
                f"The recipe has tiles in {unit}, but the voxel size of layer {self.name!r} is in {self.unit}. Set the "
                "layer's voxel size (layer.scale and layer.units), or give the recipe another unit."
            )
        return replace(self, spacing=tuple(size * factor for size in self.spacing), unit=unit)

    def spacing_along(self, spatial: int) -> tuple[float, ...]:
        """Return the size of a voxel along the spatial axes, or raise if one of them is no length."""
        spacing = self.spacing[-spatial:]
        if any(map(math.isnan, spacing)):
            raise ValueError(
                f"one of the last {spatial} axes has a unit that does not convert to {self.unit}, so tiles have no "
                "size along it. Set layer.units; if it is no axis of space, name it in layer.axis_labels, such as t."
            )
        return spacing

    def name_of(self, steps: Sequence[Adjustment]) -> str:
        """Return the name of a result of these adjustments."""
        return " - ".join([self.name, *(step.short_name for step in steps)])

    def record(self, steps: Sequence[Adjustment], mask: Any = None, seconds: float | None = None) -> dict[str, Any]:
        """Return the record of a result of these adjustments for its metadata; `seconds` is how long they took."""
        took = {} if seconds is None else {"seconds": round(seconds, 3)}
        name = None if mask is None else getattr(mask, "name", None) or MASK_ARRAY
        made = [
            step_record(step, self.spacing[-spatial_axes(len(self.sizes), step.per) :], self.unit, name)
            for step in steps
        ]
        return record(self.name, self.history, made, **took)

    def result(
        self, data: Any, transform: BlockMap, *, seconds: float | None = None, mask: Any = None
    ) -> napari.layers.Image:
        """Return the new layer, placed and shown like the source, with contrast limits and a record of its own.

        `data` is an array, or a list with one for each level.
        """
        carried = dict(self.carried)
        carried["metadata"][METADATA_KEY] = self.record(transform.steps, mask, seconds)
        if not self.rgb:
            carried["contrast_limits"] = self.shown_range(transform)
        name = self.name_of(transform.steps)
        layer = napari.layers.Image(data, name=name, rgb=self.rgb, multiscale=isinstance(data, list), **carried)
        self.mark(layer, transform, mask)
        return layer

    def shown_range(self, transform: BlockMap) -> tuple[float, float]:
        """Return the contrast limits that a result begins with."""
        low, high = self.contrast_limits
        for each in transform.transforms:
            # A step that keeps the scale of intensities is shown over the range of the step before.
            low, high = (low, high) if each.adjustment.keeps_scale else each.out_range
        return low, high if high > low else low + 1

    def put_into(
        self,
        layer: napari.layers.Image,
        data: Any,
        transform: BlockMap,
        *,
        seconds: float | None = None,
        mask: Any = None,
    ) -> None:
        """Give an existing result new data, while it is shown at the same place and in the same way.

        If the range changes, the contrast limits keep their relative place in it.
        """
        before, dtype = Origin.of(layer), layer.dtype
        layer.data = data
        range_, was = self.shown_range(transform), None if before is None else self.shown_range(before.transform)
        if (was, dtype) != (range_, transform.out_dtype) and not self.rgb:
            (low, high), (least, most) = range_, was or range_
            limits = range_ if was is None else layer.contrast_limits
            factor = (high - low) / (most - least)
            layer.contrast_limits_range = low, high
            layer.contrast_limits = [low + (limit - least) * factor for limit in limits]
        if before is not None and layer.name == self.name_of(before.transform.steps):
            layer.name = self.name_of(transform.steps)
        layer.metadata[METADATA_KEY] = self.record(transform.steps, mask, seconds)
        self.mark(layer, transform, mask)

    def mark(self, layer: napari.layers.Image, transform: BlockMap, mask: Any) -> None:
        """Note how a layer was made, for as long as it lives and has these data."""
        # A mask that is an array is kept here, because nothing else may keep it; a layer is not.
        found = weakref.ref(unwrapped(mask)) if isinstance(mask, napari.layers.Layer) else lambda: mask
        _origins[layer] = Origin(self.layer, transform, None if mask is None else found, weakref.ref(layer.data))


@dataclass(frozen=True, eq=False)
class Origin:
    """How a layer was made in this process, as far as its metadata cannot hold it.

    `source` and `mask` are the layer that was adjusted and what it was counted inside, as long as these live.  A layer
    with other data than `data` is not this result any more.
    """

    source: weakref.ref[napari.layers.Image]
    transform: BlockMap
    mask: Callable[[], Any] | None
    data: weakref.ref[Any]

    @classmethod
    def of(cls, layer: Any) -> Origin | None:
        """Return how the plugin made a layer, if it did so in this process and the layer still has the same data."""
        origin = _origins.get(unwrapped(layer))
        return origin if origin is not None and origin.data() is layer.data else None


_origins: weakref.WeakKeyDictionary[napari.layers.Image, Origin] = weakref.WeakKeyDictionary()


def _read(data: Any, name: str = "volume") -> Array:
    """Return the array to read, which is the data as they are if not all of their voxels count."""
    array, counted = held(data, name)
    return array if counted is None else data


class _Nowhere:
    """A stand-in for a terminal, which drops what is written."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def window_bar(**options: Any) -> Any:
    """Return a progress bar for napari's window, which also shows on a terminal, but not in a file or a pipe."""
    there = sys.stderr is not None and sys.stderr.isatty()
    return napari.utils.progress(file=None if there else _Nowhere(), **options)


def made_from(layer: napari.layers.Image, layers: Iterable[Any]) -> tuple[napari.layers.Image, int] | None:
    """Return the one of `layers` that a result was made from, and how many steps that one has, or None.

    Results of this process know their source.  For others, such as one that was read from a file, a layer with the
    name and the shape of the source is taken for it.
    """
    record = noted(layer.metadata.get(METADATA_KEY))
    origin, steps = Origin.of(layer), record.get("steps", [])
    known = None if origin is None else origin.source()
    names = record.get("source"), record.get("origin")
    images = [each for each in layers if isinstance(each, napari.layers.Image) and each != layer]
    alike = [each for name in names for each in images if each.name == name]
    for source in [each for each in images if each == known] if known is not None else alike:
        before = noted(source.metadata.get(METADATA_KEY)).get("steps", [])
        shapes = [tuple(level_0(each).shape) for each in (source, layer)]
        if len(before) < len(steps) and steps[: len(before)] == before and shapes[0] == shapes[1]:
            return source, len(before)
    return None


def check_image(layer: Any) -> None:
    """Raise if something is not an Image layer."""
    if not isinstance(layer, napari.layers.Image):
        if isinstance(layer, napari.layers.Layer):
            what = f"{layer.name!r} is a {type(layer).__name__} layer"
        else:
            what = f"Got {type(layer).__name__}, for arrays use napari_exposure.core"
        raise TypeError(f"An Image layer is needed. {what}.")


def check_layer(layer: Any) -> None:
    """Raise if something is not an Image layer, or has values that nothing can be done with."""
    check_image(layer)
    check_dtype(layer.dtype, f"layer {layer.name!r}", "layer.data")


def unwrapped(layer: Any) -> Any:
    """Return the layer itself of a proxy that napari gives to plugins."""
    return getattr(layer, "__wrapped__", layer)


def in_memory(array: object) -> bool:
    """Whether an array lies in memory, so that reading it costs nothing but memory bandwidth."""
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


def result_bytes(source: Source, adjustment: Chain) -> int:
    """Return how many bytes the results of an adjustment take for all levels of a source."""
    voxels: int = sum(math.prod(array.shape) for array in (source.array, *source.levels))
    return voxels * adjustment.result_dtype(np.dtype(source.array.dtype)).itemsize


def level_0(layer: Any) -> Any:
    """Return the layer's data, or those of the highest resolution of a multiscale layer."""
    return layer.data[0] if layer.multiscale else layer.data


def mask_array(mask: Any, source: Source) -> Array:
    """Return the array of a mask, which is a Labels layer or an array, or raise if its shape is not the source's."""
    if isinstance(mask, napari.layers.Layer) and not isinstance(mask, napari.layers.Labels):
        raise TypeError(f"mask must be a Labels layer or an array, got {given(mask)}.")
    named = isinstance(mask, napari.layers.Labels)
    array: Array = level_0(mask) if named else _read(mask, "mask")
    if tuple(array.shape) != source.shape:
        name = f"mask {mask.name!r}" if named else "mask"
        raise ValueError(
            f"The {name} has shape {tuple(array.shape)}, but layer {source.name!r} has {source.shape}; "
            "they must be the same. Make a Labels layer from the image (New labels layer) and draw there."
        )
    return array

"""Recipes on napari layers."""

from __future__ import annotations

import time
from dataclasses import replace

import napari.layers

from napari_exposure.core import progress
from napari_exposure.core.chain import FittedRecipe
from napari_exposure.recipe import Recipe
from napari_exposure.source import Source
from napari_exposure.voxels import PIXEL


def check_layer(recipe: Recipe, layer, mask=None) -> None:
    """Raise what does not fit, as far as it is known before the first step has run."""
    in_unit_of(recipe, Source.of(layer)).check(recipe.steps[0], mask)


def on_layer(recipe: Recipe, layer, mask=None, fit_on=None) -> napari.layers.Image:
    """Apply a recipe to a layer; the new layer is not yet in a viewer."""
    source = in_unit_of(recipe, Source.of(layer))
    start = time.perf_counter()
    if fit_on is None:
        data, transform = source.adjusted(recipe, mask)
        return source.result(data, transform, seconds=time.perf_counter() - start, mask=mask)
    if isinstance(fit_on, napari.layers.Layer):
        with progress.part(0, 0.5):
            fit_on = in_unit_of(recipe, Source.of(fit_on)).fit(recipe, mask)
    elif not isinstance(fit_on, FittedRecipe):
        raise TypeError(f"fit_on must be an Image layer or a FittedRecipe, got {type(fit_on).__name__}.")
    transform = fit_on.fitting(source.array)
    with progress.part(0.5, 1):
        data = source.mapped(transform)
    return source.result(data, transform, seconds=time.perf_counter() - start)


def in_unit_of(recipe: Recipe, source: Source) -> Source:
    """The source with its voxel size in the recipe's unit, or an error where there is no such size."""
    unit = recipe.unit
    if unit is None or unit == source.unit or not recipe.has_sizes:
        return source
    from pint import get_application_registry

    ureg = get_application_registry()
    known = unit if unit != PIXEL else "pixel"
    if source.unit == PIXEL or unit == PIXEL or not ureg.is_compatible_with(known, source.unit):
        raise ValueError(
            f"The recipe has tiles in {unit}, but the voxel size of layer {source.name!r} is in {source.unit}. Set the "
            "layer's voxel size (layer.scale and layer.units), or give the recipe another unit."
        )
    factor = ureg.Quantity(1, source.unit).to(unit).magnitude
    return replace(source, spacing=tuple(size * factor for size in source.spacing), unit=unit)

"""Recipes on napari layers."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import napari.layers

from napari_exposure.core.blocks import Steps, share
from napari_exposure.recipe import FittedRecipe, Recipe, fitting
from napari_exposure.source import Source, mask_array
from napari_exposure.voxels import PIXEL


def on_layer(recipe: Recipe, layer, mask=None, fit_on=None) -> Steps:
    """Apply a recipe to a layer; the generator yields progress and returns the new layer, not yet in a viewer.

    What does not fit raises here, not when it runs.
    """
    source = in_unit_of(recipe, Source.of(layer))
    if isinstance(fit_on, napari.layers.Layer):
        reference = in_unit_of(recipe, Source.of(fit_on))
        if mask is not None:
            mask_array(mask, reference)
        return _mapped(source, _fitted(recipe, reference, mask))
    if fit_on is not None:
        if not isinstance(fit_on, FittedRecipe):
            raise TypeError(f"fit_on must be an Image layer or a FittedRecipe, got {type(fit_on).__name__}.")
        return _mapped(source, fit_on)
    if mask is not None:
        mask_array(mask, source)
    # raises what does not fit; the fit itself begins when it runs
    first = source.steps(recipe.steps[0], mask)
    return _applied(recipe, source, mask, first)


def _applied(recipe: Recipe, source: Source, mask, steps) -> Steps:
    start, number, total = time.perf_counter(), 0, len(recipe.steps)
    while True:
        data, transform = yield from share(steps, number / total, (number + 1) / total)
        number += 1
        if number == total:
            return source.result(data, transform, seconds=time.perf_counter() - start, mask=mask)
        source = source.then(data, transform, mask)
        steps = source.steps(recipe.steps[number], mask)


def _fitted(recipe: Recipe, source: Source, mask) -> Steps:
    counted = None if mask is None else mask_array(mask, source)
    spacing = [size for size in source.spacing if not math.isnan(size)]
    return (yield from recipe.fit_steps(source.array, spacing=spacing, mask=counted, rgb=source.rgb))


def _mapped(source: Source, fitted) -> Steps:
    start = time.perf_counter()
    if not isinstance(fitted, FittedRecipe):
        fitted = yield from share(fitted, 0, 0.5)
    total = len(fitted.transforms)
    for number, transform in enumerate(fitted.transforms, 1):
        transform = fitting(transform, source.array)
        steps = source.mapped_steps(transform)
        data = yield from share(steps, 0.5 + 0.5 * (number - 1) / total, 0.5 + 0.5 * number / total)
        if number == total:
            return source.result(data, transform, seconds=time.perf_counter() - start)
        source = source.then(data, transform)


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

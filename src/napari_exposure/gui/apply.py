"""Runs an adjustment or a recipe on layers in a worker, and puts each result above its source."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from napari_exposure.core import Adjustment, progress
from napari_exposure.core.adjustment import warn_constant
from napari_exposure.core.memory import Memory
from napari_exposure.core.progress import Step
from napari_exposure.core.transform import BlockMap
from napari_exposure.gui.jobs import ActivityJob
from napari_exposure.gui.preview import Joined
from napari_exposure.gui.viewer.compare import show_source_on_key
from napari_exposure.gui.viewer.layer_order import place
from napari_exposure.gui.words import tell
from napari_exposure.recipe import Recipe
from napari_exposure.source import Source

# As `fit_on`, this gives all layers the fit of the first.
FIRST = "first"


def apply_job(
    viewer,
    chosen: Sequence[tuple[object, Adjustment | Recipe]],
    mask=None,
    memory: Callable[[Any], Memory | None] = lambda layer: None,
    *,
    fit_on: str | None = None,
    reference: Joined | None = None,
    put: Callable | None = None,
    done: Callable,
    ended: Callable,
    step: Callable[[Step], None] = lambda step: None,
) -> ActivityJob | None:
    """Begin to make new layers; where no layer fits, say why and return None.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    chosen : sequence of (napari.layers.Image, Adjustment or Recipe)
        The sources; nothing is added for one that has gone when the job is over.
    mask : napari.layers.Labels, optional
        The first layer is measured inside of it, and so are others of its shape.
    memory : callable, optional
        Called with a layer, returns what earlier fits of it have found.
    fit_on : str, optional
        What all layers are fitted on: `FIRST`, or a word that `Recipe.apply` takes.  Default: each has its own fit.
    reference : Joined, optional
        What the only layer is fitted on, in place of itself.
    put : callable, optional
        Called with source, data, transform, seconds and mask of a result; returns its layer, or None to have a new one.
    done : callable
        Called with the layers that were made and the seconds they took.
    ended, step : callable
        They are passed to `ActivityJob`.

    Raises
    ------
    TypeError, ValueError
        If the only layer, the mask or a parameter does not fit, with a sentence for the user.
    """
    jobs: list[tuple[Source, Adjustment | Recipe, Any, Memory | None]] = []
    for layer, adjustment in chosen:
        try:
            source = Source.of(layer)
            # A mask of another shape belongs to another channel or stack.
            inside = mask if not jobs or mask is None or mask.data.shape == source.shape else None
            source.check(adjustment, inside)
            jobs.append((source, adjustment, inside, memory(layer)))
        except (TypeError, ValueError) as error:
            if len(chosen) == 1:
                raise
            tell(error)
    if not jobs:
        return None

    first, recipe, within, shared_memory = jobs[0]
    shared, parts = first, len(jobs) + (fit_on is not None and len(jobs) > 1)
    if parts > len(jobs) and fit_on != FIRST:
        # This raises an error for layers that cannot share a fit before work starts.
        shared, shared_memory = first.joined([source for source, *_ in jobs[1:]], str(fit_on)), None
        shared.check(recipe, within)
    elif reference is not None:
        shared, shared_memory, parts = reference.source(first), None, parts + 1
        shared.check(recipe, within)

    def work():
        made: list[tuple] = []
        fitted: BlockMap | None = None
        if parts > len(jobs):
            with progress.part(0, 1 / parts):
                fitted = shared.fit(recipe, within, shared_memory)
            for each in fitted.transforms:
                warn_constant(each)
        for number, (source, adjustment, inside, known) in enumerate(jobs, parts - len(jobs)):
            start = time.perf_counter()
            try:
                with progress.item(number, parts):
                    if fitted is None:
                        found = source.adjusted(adjustment, inside, known)
                    else:
                        # Only the first layer, or all layers as one, were measured inside of the mask.
                        inside = inside if source is first else None
                        transform = fitted.fitting(source.array)
                        found = source.mapped(transform), transform
                made.append((source, *found, time.perf_counter() - start, inside))
            except (TypeError, ValueError) as error:
                if len(jobs) == 1:
                    raise
                made.append((source, error))
        return made

    def add(made, seconds):
        layers = []
        for source, *found in made:
            layer = source.layer()
            if isinstance(found[0], Exception):
                tell(found[0])
            elif layer is not None and layer in viewer.layers:
                data, transform, took, inside = found
                new = put(source, data, transform, took, inside) if put is not None else None
                if new is None:
                    new = source.result(data, transform, seconds=took, mask=inside)
                    place(viewer, new, layer)
                    show_source_on_key(viewer, new, layer)
                layers.append(new)
        if layers:
            done(layers, seconds)

    what = jobs[0][0].name if len(jobs) == 1 else f"{len(jobs)} layers"
    return ActivityJob(f"{jobs[0][1].title}: {what}", work, done=add, ended=ended, step=step)

"""Runs an adjustment of a layer in a worker and puts the result above the source."""

from __future__ import annotations

from collections.abc import Callable

from napari_exposure.core import Adjustment
from napari_exposure.core.memory import Memory
from napari_exposure.core.progress import Step
from napari_exposure.gui.compare import show_source_on_key
from napari_exposure.gui.jobs import ActivityJob
from napari_exposure.gui.stack import place
from napari_exposure.source import Source


def apply_job(
    viewer,
    layer,
    adjustment: Adjustment,
    mask=None,
    memory: Memory | None = None,
    *,
    done: Callable,
    ended: Callable,
    step: Callable[[Step], None] = lambda step: None,
) -> ActivityJob:
    """Begin to make a new layer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer : napari.layers.Image
        The source; nothing is added if it has gone when the job is over.
    adjustment : Adjustment
    mask : napari.layers.Labels, optional
    memory : Memory, optional
        What earlier fits of these data found.
    done : callable
        Called with the new layer and the seconds it took.
    ended, step : callable
        As `ActivityJob` has them.

    Raises
    ------
    TypeError, ValueError
        If the layer, the mask or a parameter does not fit, with a sentence for the user.
    """
    source = Source.of(layer)
    source.check(adjustment, mask)

    def work():
        return source.adjusted(adjustment, mask, memory)

    def add(result, seconds):
        if layer not in viewer.layers:
            return
        new = source.result(*result, seconds=seconds, mask=mask)
        place(viewer, new, layer)
        show_source_on_key(viewer, new, layer)
        done(new, seconds)

    return ActivityJob(f"{adjustment.title}: {source.name}", work, done=add, ended=ended, step=step)

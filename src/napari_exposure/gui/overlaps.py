"""Layers > Filter > Exposure > Match overlaps of selected layers: the tiles of a mosaic get one scale."""

from __future__ import annotations

import time

import napari
import napari.layers
from napari.utils.notifications import show_error, show_info

from napari_exposure.core import progress
from napari_exposure.core.overlaps import Mosaic
from napari_exposure.gui.jobs import ActivityJob
from napari_exposure.gui.preview import is_preview
from napari_exposure.gui.viewer.compare import show_source_on_key
from napari_exposure.gui.viewer.layer_order import place
from napari_exposure.gui.words import tell
from napari_exposure.layers import OpenedLayer


def match_selected() -> ActivityJob | None:
    """Match the selected image layers to the active one in a worker; where they do not fit, say so and return None."""
    viewer = napari.current_viewer()
    selection = viewer.layers.selection
    chosen = [layer for layer in viewer.layers if layer in selection and isinstance(layer, napari.layers.Image)]
    chosen = [layer for layer in chosen if not is_preview(layer)]
    if len(chosen) < 2:
        show_error("Select two or more image layers first, tiles of a mosaic that overlap; the active one stays.")
        return None
    fixed = next((number for number, layer in enumerate(chosen) if layer == selection.active), 0)
    try:
        found = [OpenedLayer(layer) for layer in chosen]
        mosaic = Mosaic.of(found, fixed=fixed)
    except (TypeError, ValueError) as error:
        tell(error)
        return None
    sources = [each.source for each in found]

    def work():
        with progress.part(0, 0.4):
            lines = mosaic.fit()

        def adjusted(tile):
            start = time.perf_counter()
            return (*sources[tile].adjusted(lines[tile]), time.perf_counter() - start)

        with progress.part(0.4, 1):
            return progress.each(range(len(sources)), adjusted)

    def done(made, seconds):
        results = []
        for source, (data, transform, took) in zip(sources, made, strict=True):
            layer = source.layer()
            if layer is not None and layer in viewer.layers:
                results.append(source.result(data, transform, seconds=took))
                place(viewer, results[-1], layer)
                show_source_on_key(viewer, results[-1], layer)
        found[fixed].show_alike(results)
        show_info(f"{len(results)} layers matched in {seconds:.2g} s; {sources[fixed].name!r} stayed as it is.")

    title = f"Match overlaps: {len(chosen)} layers"
    return ActivityJob(title, work, done=done, failed=tell)

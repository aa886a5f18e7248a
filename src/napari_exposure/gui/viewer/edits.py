"""Tells when the data of layers were edited, as far as napari lets one know."""

from __future__ import annotations

import time
from collections.abc import Callable

from napari_exposure.gui.connections import Connections
from napari_exposure.source import in_memory


class Edits:
    """Calls back when data are replaced, painted on, or edited in place and refreshed.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    replaced : callable
        Called when a layer has other data.
    edited : callable
        Called when they changed in place; with a brush many times a second.
    """

    def __init__(self, viewer, replaced: Callable, edited: Callable):
        self._viewer = viewer
        self._replaced, self._edited = replaced, edited
        self._connections = Connections()
        self._sliced: dict = {}

    def watch(self, *layers) -> None:
        """Follow these layers and no others; None is left out."""
        self._connections.drop()
        there = [layer for layer in layers if layer is not None]
        self._sliced = dict.fromkeys(there, (self._place(), 0.0))
        for layer in there:
            self._connections.add(self._replaced, layer.events.data)
            self._connections.add(self._on_set_data, layer.events.set_data)
            if "labels_update" in layer.events.emitters:
                self._connections.add(self._edited, layer.events.labels_update)

    def _place(self) -> tuple:
        """What napari slices layers by."""
        dims = self._viewer.dims
        return dims.point, dims.order, dims.ndisplay

    def _on_set_data(self, event) -> None:
        """Tell of an edit where napari slices a layer anew though no slider was moved."""
        layer, place, now = event.source, self._place(), time.monotonic()
        if layer.multiscale:
            # napari slices multiscale layers anew when the camera moves.
            return
        before, since = self._sliced[layer]
        if before != place:
            self._sliced[layer] = place, now
        elif in_memory(layer.data) or now - since > 0.1:
            # Turning to 3D slices twice, which is no reason to read a large volume again.
            self._edited()

"""Looking at source and result: one for the other, or side by side."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

from napari.layers import Image

from napari_exposure.gui.connections import Connections
from napari_exposure.gui.napari_versions import camera_of, grid_of, name_overlay_of
from napari_exposure.gui.viewer.layer_order import family
from napari_exposure.source import unwrapped

# While this key is held on a selected result or its source, the source shows instead of its results.
KEY = "b"


class Comparison(ABC):
    """A way to see a source and its result, which can begin and end many times.

    It notes what it changes in the viewer, and takes that back in reverse order.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer):
        self._viewer = viewer
        self._pair: tuple[Image, Image, bool] | None = None
        self._undo: list[Callable[[], object]] = []

    @property
    def on(self) -> bool:
        """Whether two layers are being compared."""
        return self._pair is not None

    def start(self, source: Image, result: Image, *, linked: bool = False) -> None:
        """Show two layers, or others than before; called again for the same, hide what was added in between.

        With `linked` both have the contrast limits of the source, and follow each other's.
        """
        camera = camera_of(self._viewer)
        seen = camera.center, camera.zoom
        wanted = source, result, linked
        turned = self.on and self._pair != wanted
        if turned:
            self.stop()
        began, self._pair = not self.on, wanted
        self._show(source, result)
        if turned:
            # The view stays where the user has moved it.
            camera.center, camera.zoom = seen
        if began and linked:
            self._link(source, result)

    def stop(self) -> None:
        """Leave everything as it was before."""
        pair, self._pair = self._pair, None
        while self._undo:
            self._undo.pop()()
        layers = self._viewer.layers
        if pair is not None and pair[1] not in layers and pair[0] in layers:
            # Without its result, only the source is left to see.
            pair[0].visible = True

    @abstractmethod
    def _show(self, source: Image, result: Image) -> None:
        """Show both layers in this way; they may be shown already."""

    def _set(self, owner, **values) -> None:
        """Set attributes, and note what they were."""
        for name, value in values.items():
            before = getattr(owner, name)
            if before != value:
                self._undo.append(partial(setattr, owner, name, before))
                setattr(owner, name, value)

    def _name(self, layer: Image, **looks) -> None:
        """Let napari write the name of a layer on the canvas."""
        overlay = name_overlay_of(layer)
        if overlay is not None:
            self._set(overlay, **looks)

    def _link(self, source: Image, result: Image) -> None:
        layers, pair, limits = self._viewer.layers, [unwrapped(source), unwrapped(result)], ("contrast_limits",)
        before, of_result = result.contrast_limits, Connections()

        def unlink():
            if of_result:
                of_result.drop()
                layers.unlink_layers(pair, limits)
                result.contrast_limits = before

        def look(event):
            # Contrast limits of integers say nothing about floats.
            if result.dtype != source.dtype.newbyteorder("="):
                unlink()

        result.contrast_limits = source.contrast_limits
        layers.link_layers(pair, limits)
        of_result.add(look, result.events.data)
        self._undo.append(unlink)


class SourceAlone(Comparison):
    """Shows the source in the place of all that was made from it."""

    def _show(self, source: Image, result: Image) -> None:
        # This begins at the top, because hiding a result may show what it covers.
        for layer in reversed(family(self._viewer, source)):
            if layer != source:
                self._set(layer, visible=False)
        self._set(source, visible=True)


class SideBySide(Comparison):
    """Shows source and result beside each other in napari's grid, with their names, and nothing else."""

    def _show(self, source: Image, result: Image) -> None:
        grid = grid_of(self._viewer)
        for layer in self._viewer.layers:
            if layer not in (source, result):
                self._set(layer, visible=False)
        # The result comes first, because a result that appears hides its source.
        for layer in (result, source):
            self._set(layer, visible=True)
            self._name(layer, visible=True)
        if not grid.enabled:
            self._undo.append(self._viewer.reset_view)
        # With a stride of 1 the lower layer, which is the source, comes first.
        self._set(grid, stride=1, shape=(1, 2))
        if not grid.enabled:
            self._set(grid, enabled=True)
            self._viewer.reset_view()


def show_source_on_key(viewer, layer: Image, source: Image) -> None:
    """Let `KEY`, while it is held, hide what was made from `source`, so that the source shows.

    It works on the result and on the source, because after Apply either of them may be the selected layer.
    """

    # The source keeps this function, which must not keep a result that was deleted.
    result = weakref.ref(unwrapped(layer))

    def before(_):
        alone = SourceAlone(viewer)
        alone.start(source, result() or source)
        yield
        alone.stop()

    for each in (layer, source):
        each.bind_key(KEY, before, overwrite=True)

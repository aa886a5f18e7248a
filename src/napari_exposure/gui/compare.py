"""Looking at source and result: side by side, or one for the other while a key is held."""

from __future__ import annotations

from napari_exposure.gui.napari_versions import grid_of
from napari_exposure.gui.stack import family
from napari_exposure.source import unwrapped

# while it is held on a selected result or its source, the source shows instead of its results
KEY = "b"


def show_source_on_key(viewer, layer, source) -> None:
    """Let `KEY`, held, hide what was made from `source`, so that the source shows.

    It works on the result and on the source, because after Apply either of them may be the selected layer.
    """

    def before(_):
        # from the top, because hiding a result may show what it covers
        hidden = [each for each in reversed(family(viewer, source)) if each != source and each.visible]
        for each in hidden:
            each.visible = False
        yield
        for each in reversed(hidden):
            if each in viewer.layers:
                each.visible = True

    for each in (layer, source):
        each.bind_key(KEY, before, overwrite=True)


class SideBySide:
    """Shows two layers beside each other in napari's grid, and later what was shown before.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer):
        self._viewer = viewer
        # how it was before, None while nothing is compared
        self._grid: dict | None = None
        # which layers were visible before
        self._visible: dict = {}
        self._result = None
        # two layers of which one contrast holds for both, and what that of the result was
        self._linked: tuple | None = None
        self._limits: tuple[float, float] | None = None

    @property
    def on(self) -> bool:
        """Whether two layers are being compared."""
        return self._grid is not None

    def show(self, source, result, linked: bool = False) -> None:
        """Source on the left, result on the right, nothing else; asked again, the others stay hidden.

        With `linked` both have the contrast limits of the source, and keep those of each other.
        """
        grid = grid_of(self._viewer)
        if not self.on:
            self._grid = {name: getattr(grid, name) for name in ("enabled", "shape", "stride")}
        self._result = result
        for layer in self._viewer.layers:
            self._visible.setdefault(layer, layer.visible)
            if layer not in (source, result):
                layer.visible = False
        # in this order: a result that appears hides its source
        result.visible = True
        source.visible = True
        # the lower one is placed first
        grid.stride, grid.shape = 1, (1, 2)
        if not grid.enabled:
            grid.enabled = True
            self._viewer.reset_view()
        self._link((source, result) if linked else None)

    def _link(self, pair: tuple | None) -> None:
        """Link the contrast limits of two layers, or of none."""
        if pair == self._linked:
            return
        layers, limits = self._viewer.layers, ("contrast_limits",)
        if self._linked is not None:
            layers.unlink_layers(map(unwrapped, self._linked), limits)
            self._linked[1].contrast_limits = self._limits
        self._linked = pair
        if pair is not None:
            source, result = pair
            self._limits = result.contrast_limits
            result.contrast_limits = source.contrast_limits
            layers.link_layers([unwrapped(layer) for layer in pair], limits)

    def end(self) -> None:
        """As it was before."""
        if not self.on:
            return
        self._link(None)
        grid, looks, self._grid = grid_of(self._viewer), self._grid or {}, None
        grid.stride, grid.shape = looks["stride"], looks["shape"]
        if not looks["enabled"]:
            # here a result may hide its source by itself, and then knows of it
            grid.enabled = False
            self._viewer.reset_view()
        there = self._result in self._viewer.layers
        visible, self._visible, self._result = self._visible, {}, None
        for layer, before in visible.items():
            # without its result the source stays
            if before or there:
                layer.visible = before

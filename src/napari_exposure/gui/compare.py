"""Looking at source and result: side by side, or one for the other while a key is held."""

from __future__ import annotations

# while it is held on a selected result, the source shows instead
KEY = "b"


def show_source_on_key(layer) -> None:
    """Let `KEY`, held, hide a result, so that what lies below it shows."""

    def before(layer):
        layer.visible = False
        yield
        layer.visible = True

    layer.bind_key(KEY, before, overwrite=True)


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

    @property
    def on(self) -> bool:
        """Whether two layers are being compared."""
        return self._grid is not None

    def show(self, source, result) -> None:
        """Source on the left, result on the right, nothing else; asked again, the others stay hidden."""
        grid = self._viewer.canvas.grid
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

    def end(self) -> None:
        """As it was before."""
        if not self.on:
            return
        grid, looks, self._grid = self._viewer.canvas.grid, self._grid, None
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

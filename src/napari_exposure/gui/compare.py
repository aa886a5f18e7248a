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
        self._hidden: list = []

    @property
    def on(self) -> bool:
        """Whether two layers are being compared."""
        return self._grid is not None

    def show(self, source, result) -> None:
        """Source on the left, result on the right, nothing else; asked again, the others stay hidden."""
        grid = self._viewer.canvas.grid
        if not self.on:
            self._grid = {name: getattr(grid, name) for name in ("enabled", "shape", "stride")}
        for layer in self._viewer.layers:
            if layer.visible and layer not in (source, result):
                layer.visible = False
                self._hidden.append(layer)
        source.visible = result.visible = True
        # the lower one is placed first
        grid.stride, grid.shape = 1, (1, 2)
        if not grid.enabled:
            grid.enabled = True
            self._viewer.reset_view()

    def end(self) -> None:
        """As it was before."""
        if not self.on:
            return
        grid, before, self._grid = self._viewer.canvas.grid, self._grid, None
        for layer in self._hidden:
            layer.visible = True
        self._hidden = []
        grid.stride, grid.shape = before["stride"], before["shape"]
        if not before["enabled"]:
            grid.enabled = False
            self._viewer.reset_view()

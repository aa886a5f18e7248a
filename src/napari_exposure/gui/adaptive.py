"""The widget of the adaptive equalization: the others' and tiles."""

from __future__ import annotations

from magicgui import widgets

from napari_exposure import core
from napari_exposure.core.axes import spatial_axes
from napari_exposure.core.tiles import TileGrid, tile_grid
from napari_exposure.gui.adjust import AdjustmentWidget
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.stack import lies_above
from napari_exposure.gui.tile_overlay import TileOverlay


class AdaptiveEqualizationWidget(AdjustmentWidget):
    """Layers > Filter > Exposure > Adaptive equalization; shows the tiles in the layer's unit and in voxels."""

    adjustment = core.AdaptiveEqualization

    def __init__(self, napari_viewer):
        self._grid: TileGrid | None = None
        self._tiles = widgets.CheckBox(
            name="tiles",
            text="Show tiles",
            tooltip="Draw the borders of the tiles, in 3D the tile that is pointed at, as lines over the image.",
        )
        super().__init__(napari_viewer)
        self.looks.append(self._tiles)
        self._overlay = TileOverlay(
            napari_viewer, gone=lambda: setattr(self._tiles, "value", False), parent=self.native
        )
        self._draw = Paced(self._draw_tiles, self.native)
        self._tiles.changed.connect(self._draw_tiles)

    def _describe(self):
        self._grid = None
        super()._describe()
        if self._tiles.value:
            self._draw()

    def _describe_parameters(self, source):
        edge = self._editors["kernel_size"]
        spatial = spatial_axes(len(source.sizes), self._editors["per"].value)
        edge.set_axes(spatial)
        edge.turn_to(source.unit)
        self._grid = tile_grid(source.shape[-spatial:], edge.value, source.spacing_along(spatial))
        edge.show_grid(self._grid, source.unit, self._editors["nbins"].value)

    def _seen(self, seen):
        super()._seen(seen)
        self._draw()

    def _connect(self):
        super()._connect()
        self._of_viewer.add(self._before_removal, self._viewer.layers.events.removing)

    def _before_removal(self, event):
        layer = self._viewer.layers[event.index]
        if self._overlay.is_of(layer) and lies_above(self._viewer, self._overlay.layer, layer):
            self._overlay.remove()

    def _disconnect(self):
        self._draw.cancel()
        self._overlay.remove()
        super()._disconnect()

    def _draw_tiles(self):
        if self._tiles.value and self._grid is not None and self.native.isVisible():
            self._overlay.show(self._layer.value, self._grid)
        else:
            self._overlay.remove()

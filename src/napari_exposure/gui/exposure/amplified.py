"""The switch *Gain map* of the Exposure dock: a layer that shows how much each voxel was amplified."""

from __future__ import annotations

from typing import Any

from qtpy.QtGui import QAction

from napari_exposure.core.slopes import GainMap
from napari_exposure.gui.preview_data import PreviewData
from napari_exposure.gui.viewer.layer_order import place, take_away
from napari_exposure.layers import gain_layer
from napari_exposure.source import Origin, Source

# The colors tell slopes apart up to this many times, because the steepest of the whole volume is not known.
MOST = 10.0


class Amplified:
    """Keeps a layer of the gains of a result while the switch is on; planes are computed when they are looked at.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    switch : QAction
        It is on while the layer is wanted, and disabled where there are no gains, as for RGB.
    """

    def __init__(self, viewer, switch: QAction):
        self._viewer, self._switch = viewer, switch
        self._result: Any = None
        self.layer: Any = None
        switch.toggled.connect(lambda _: self.show(self._result))

    def show(self, result) -> None:
        """Show the gains of a result, which may have become another one since."""
        self._result = result
        origin = None if result is None or result.rgb else Origin.of(result)
        original = None if origin is None else origin.source()
        there = origin is not None and original in self._viewer.layers
        self._switch.setEnabled(there)
        if not there or not self._switch.isChecked():
            self.remove()
            return
        source, gains = Source.of(original), GainMap(origin.transform)
        arrays, levels = (source.array, *source.levels), source.at_levels(gains)
        if self.layer is not None and Origin.of(self.layer).source() == original:
            shown = self.layer.data if source.levels else [self.layer.data]
            if all(data.fits(*each) for data, *each in zip(shown, arrays, levels, strict=True)):
                for data, level in zip(shown, levels, strict=True):
                    data.transform, data.volume = level, None
                self.layer.refresh(extent=False, highlight=False)
                return
        self.remove()
        several = bool(source.levels)
        made = [PreviewData(*each, level=several) for each in zip(arrays, levels, strict=True)]
        self.layer = gain_layer(source, made if several else made[0], source.name, MOST)
        source.mark(self.layer, gains, None)
        place(self._viewer, self.layer, original)

    def removed(self, layer) -> None:
        """Turn the switch off if it was the layer of gains that has gone from the viewer."""
        if layer == self.layer:
            self.layer = None
            self._switch.setChecked(False)

    def remove(self) -> None:
        """Take the layer away."""
        layer, self.layer = self.layer, None
        if layer is not None:
            take_away(self._viewer, layer)

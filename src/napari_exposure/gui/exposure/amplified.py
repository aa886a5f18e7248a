"""The switch *Gain map* of the Exposure dock: how much what is seen was amplified, as a layer above it."""

from __future__ import annotations

from typing import Any

from qtpy.QtGui import QAction

from napari_exposure.core.slopes import GainMap
from napari_exposure.gui.preview import PreviewData
from napari_exposure.gui.viewer.layer_order import place, take_away
from napari_exposure.layers import gain_layer
from napari_exposure.source import Origin, Source

# Up to how many times as steep the colors tell slopes apart, as those of the whole volume are not known.
MOST = 10.0


class Amplified:
    """Has a layer of the gains of a result, as long as it is wanted; planes are computed as they are looked at.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    switch : QAction
        Whether it is wanted; disabled where there can be none, as of colors.
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
        """A layer has gone from the viewer: if it is this one, it is not wanted any more."""
        if layer == self.layer:
            self.layer = None
            self._switch.setChecked(False)

    def remove(self) -> None:
        """Take the layer away."""
        layer, self.layer = self.layer, None
        if layer is not None:
            take_away(self._viewer, layer)

"""The widget of the histogram matching: the others' and a reference."""

from __future__ import annotations

from napari_exposure import core
from napari_exposure.gui.adjust import AdjustmentWidget


class HistogramMatchingWidget(AdjustmentWidget):
    """Layers > Filter > Exposure > Histogram matching; the reference is counted once, beside the window."""

    adjustment = core.HistogramMatching

    def __init__(self, napari_viewer):
        super().__init__(napari_viewer)
        self._reference = self._editors["reference"]
        self._reference.follow(self._viewer, self._others, self._how)
        for name in self._how():
            self._editors[name].changed.connect(self._reference.refresh)
        self._layer.changed.connect(self._reference.reset_choices)

    def _others(self) -> list:
        return [layer for layer in self._image_layers() if layer != self._layer.value]

    def _how(self) -> dict:
        return {name: self._editors[name].value for name in ("nbins", "ignore_zeros")}

    def _make(self, source):
        if self._reference.value is None:
            if self._reference.counting:
                raise ValueError("The reference is being counted.")
            raise ValueError("Choose a reference: a layer or a file.")
        return super()._make(source)

    def _connect(self):
        super()._connect()
        self._reference.refresh()

    def _disconnect(self):
        self._reference.stop()
        super()._disconnect()

"""The widget of the depth correction: the others' and the profile along the axis."""

from __future__ import annotations

from magicgui import widgets

from napari_exposure import core
from napari_exposure.core.adjustment import spatial_axes
from napari_exposure.core.gains import axis_from_end
from napari_exposure.gui.adjust import AdjustmentWidget, give_room
from napari_exposure.gui.depth_profile import DepthProfile
from napari_exposure.gui.editors import warn


class DecayCorrectionWidget(AdjustmentWidget):
    """Layers > Filter > Exposure > Depth correction; shows the intensity of each plane and what is divided out."""

    adjustment = core.DecayCorrection

    def __init__(self, napari_viewer):
        self.plot = DepthProfile(napari_viewer)
        super().__init__(napari_viewer)
        row: widgets.Container = widgets.Container(name="profile", labels=False)
        row.label = ""
        row.margins = (0, 0, 0, 0)
        row.native.layout().addWidget(self.plot)
        self.insert(self.index(self.said), row)
        give_room(row)

    def _connect(self):
        super()._connect()
        self.plot.start()

    def _disconnect(self):
        super()._disconnect()
        self.plot.stop()

    def _describe(self):
        shown = self.plot.layer
        if shown is None or shown != self._layer.value or not self._live.value:
            # of other data, or made with other parameters
            self.plot.show_fit(None, None)
        super()._describe()

    def _describe_parameters(self, source):
        self._editors["smoothness"].enabled = self._editors["model"].value == "smooth"
        axes = len(source.shape)
        axis_from_end(self._editors["axis"].value, spatial_axes(axes, self._editors["per"].value), axes)

    def _show_fit(self, layer, transform):
        self._status.value = "<br>".join(map(warn, transform.adjustment.notes(transform)))
        self.plot.show_fit(layer, transform)

"""The widget of the depth correction: the others' and the profile along the axis."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from magicgui import widgets
from napari.utils.theme import get_theme

from napari_exposure import core
from napari_exposure.core.axes import spatial_axes
from napari_exposure.core.gains import axis_from_end
from napari_exposure.gui.adjust import AdjustmentWidget, give_room
from napari_exposure.gui.profile_plot import ProfilePlot
from napari_exposure.source import Source


class DecayCorrectionWidget(AdjustmentWidget):
    """Layers > Filter > Exposure > Depth correction; shows the intensity of each plane and what is divided out."""

    adjustment = core.DecayCorrection

    def __init__(self, napari_viewer):
        self.plot = ProfilePlot()
        # the layer and the transform that are drawn
        self._drawn: tuple[weakref.ref, core.DecayTransform] | None = None
        super().__init__(napari_viewer)
        row: widgets.Container = widgets.Container(name="profile", labels=False)
        row.label = ""
        row.margins = (0, 0, 0, 0)
        row.native.layout().addWidget(self.plot)
        self.insert(self.index(self.said), row)
        give_room(row)
        self._paint()

    def _connect(self):
        super()._connect()
        self._of_viewer.add(self._paint, self._viewer.events.theme)
        # volumes and planes may have profiles of their own
        self._of_viewer.add(self._draw, self._viewer.dims.events.current_step)

    def _paint(self, event=None) -> None:
        theme = get_theme(self._viewer.theme)
        self.plot.set_colors(theme.background.as_hex(), theme.text.as_hex())

    def _describe(self):
        shown = self._drawn and self._drawn[0]()
        if self._drawn is not None and (shown is None or shown != self._layer.value or not self._live.value):
            # of other data, or made with other parameters
            self._drawn = None
            self.plot.empty()
        super()._describe()

    def _describe_parameters(self, source):
        self._editors["smoothness"].enabled = self._editors["model"].value == "smooth"
        axes = len(source.shape)
        axis_from_end(self._editors["axis"].value, spatial_axes(len(source.sizes), self._editors["per"].value), axes)

    def _show_fit(self, layer, transform):
        self._drawn = weakref.ref(layer), transform
        self._draw()

    def _draw(self, event=None) -> None:
        layer = self._drawn and self._drawn[0]()
        if layer is None or self._drawn is None:
            return
        transform = self._drawn[1]
        if event is not None and transform.profile.ndim == 1:
            return
        correction: Any = transform.adjustment
        axis = correction.axis
        source = Source.of(layer)
        step = source.spacing[axis_from_end(axis, transform.spatial)]
        label = axis if math.isnan(step) else f"{axis} ({source.unit})"
        group = self._group_in_view(layer, transform)
        profile, fitted = transform.profile[group], transform.fitted[group]
        self.plot.draw((1.0 if math.isnan(step) else step) * np.arange(len(profile)), profile, fitted, label)

    def _group_in_view(self, layer, transform) -> tuple[int, ...]:
        """Which of the fits is that of the plane in view."""
        lead = transform.profile.ndim - 1
        place = np.round(layer.world_to_data(self._viewer.dims.point)[:lead]).astype(int)
        return tuple(np.clip(place, 0, np.array(transform.shape[:lead]) - 1).tolist()) if lead else ()

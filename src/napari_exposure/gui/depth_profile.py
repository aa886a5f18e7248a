"""The profile of a layer along the axis that its depth correction goes along."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
from napari.layers import Image

from napari_exposure.core.depth import SURFACE
from napari_exposure.core.transform import Transform
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.profile_plot import ProfilePlot
from napari_exposure.gui.viewer.cursor import place_in, point_of
from napari_exposure.io.units import time_step
from napari_exposure.source import Source


class DepthProfile(ProfilePlot):
    """Draws what a depth correction found in a layer, marks the plane in view, and goes to the one that is clicked on.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer):
        super().__init__()
        self._viewer = viewer
        self._of_viewer = Connections()
        # This layer and this transform are drawn.
        self._drawn: tuple[weakref.ref[Image], Transform] | None = None
        self._reference = False
        self.pointed.connect(self._go)
        self.follow_theme(viewer)

    def start(self) -> None:
        """Follow the theme and the sliders of the viewer."""
        dims = self._viewer.dims.events
        self._of_viewer.add(lambda event: self.follow_theme(self._viewer), self._viewer.events.theme)
        self._of_viewer.add(self._draw, dims.point, dims.order, dims.ndisplay)

    def stop(self) -> None:
        """Stop following the viewer, and draw nothing."""
        self._of_viewer.drop()
        self.show_fit(None, None)

    @property
    def layer(self) -> Image | None:
        """The layer whose profile is drawn."""
        return self._drawn[0]() if self._drawn is not None else None

    def show_fit(self, layer: Image | None, transform: Transform | None, reference: bool = False) -> None:
        """Show what a fit has found in a layer, or in a reference, whose gains have no exponent; None shows nothing."""
        self._reference = reference
        self._drawn = None if layer is None or transform is None else (weakref.ref(layer), transform)
        self._draw()

    def _draw(self, event=None) -> None:
        layer, dims = self.layer, self._viewer.dims
        if layer is None or self._drawn is None:
            self.empty()
            return
        transform = self._drawn[1]
        correction: Any = transform.adjustment
        source = Source.of(layer)
        shape = np.array(source.shape)
        place = np.clip(np.round(place_in(layer, dims.point, dims)).astype(int), 0, shape - 1)
        # Volumes and planes may have profiles of their own.
        group = () if () in transform.fits else tuple(place[: len(shape) - transform.spatial].tolist())
        fit: Any = transform.fits[group]
        gains = fit.gains ** (1 / correction.exponent) if self._reference else fit.gains
        after = fit.background + (fit.profile - fit.background) * gains
        across = self._across
        if across is None:
            self.draw(fit.middles, fit.profile, fit.fitted, after, f"depth ({source.unit})")
            self.place(None)
            return
        step, unit = time_step(layer, across) if correction.in_series else (source.spacing[across], source.unit)
        if math.isnan(step):
            # Its unit does not convert to that of the other axes, so planes are numbered.
            step, unit = 1.0, ""
        label = f"{correction.axis} ({unit})" if unit else correction.axis
        self.draw(step * np.arange(len(fit.profile)), fit.profile, fit.fitted, after, label)
        seen = dims.ndim + across in dims.displayed
        self.place(None if seen else int(place[across]))

    @property
    def _across(self) -> int | None:
        """The axis whose planes are drawn, counted from the end; None for the depth below a surface."""
        if self._drawn is None:
            return None
        transform = self._drawn[1]
        correction: Any = transform.adjustment
        fit: Any = next(iter(transform.fits.values()))
        return None if correction.axis == SURFACE else int(fit.axis)

    def _go(self, plane: int) -> None:
        """Move the slider of the axis to a plane."""
        layer, dims, across = self.layer, self._viewer.dims, self._across
        if layer is not None and across is not None:
            voxel = place_in(layer, dims.point, dims)
            voxel[across] = plane
            dims.set_point(dims.ndim + across, point_of(layer, voxel, dims)[across])

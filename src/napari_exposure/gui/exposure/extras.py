"""What cards have besides the editors of their parameters: tiles, the profile along an axis, and what to beware of."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_exposure.core import Adjustment
from napari_exposure.core.axes import spatial_axes
from napari_exposure.core.blocks import Volume
from napari_exposure.core.counting import count_histogram
from napari_exposure.core.depth import SURFACE
from napari_exposure.core.gains import axis_from_end
from napari_exposure.core.tiles import TileGrid, tile_grid
from napari_exposure.core.transform import Transform
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.depth_profile import DepthProfile
from napari_exposure.gui.editors import text, times, warn
from napari_exposure.gui.exposure.model import SIZE, Card
from napari_exposure.gui.jobs import Job
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.preview import is_quick
from napari_exposure.gui.viewer.layer_order import lies_above
from napari_exposure.gui.viewer.tile_overlay import TileOverlay
from napari_exposure.io.units import PIXEL
from napari_exposure.source import Source

# The parameter that is drawn as a curve, and the bars of the histogram behind it.
CURVE, BARS = "points", 128


def extras_of(kind: type[Adjustment]) -> list[type]:
    """What belongs to a card of this kind, by the parameters and the transform that it has."""
    found: list[type] = [Tiles] if SIZE in kind.defaults() else []
    found += [Behind] if CURVE in kind.defaults() else []
    return [*found, Notes, *[Profile] * hasattr(kind.transform_type, "profile")]


class Tiles:
    """The line below the tile edge, and the tiles drawn over the image."""

    def __init__(self, viewer, editors: dict, parent: QWidget):
        self._viewer, self._edge, self._card = viewer, editors[SIZE], parent
        self._image: Any = None
        self.grid: TileGrid | None = None
        self.facts = text()
        self.switch = QCheckBox("Show tiles")
        self.switch.setToolTip(
            "Draw the borders of the tiles, in 3D the tile that is pointed at, as lines over the image."
        )
        self.widget = QWidget()
        column = QVBoxLayout(self.widget)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.facts.native)
        column.addWidget(self.switch)
        self.overlay = TileOverlay(viewer, gone=lambda: self.switch.setChecked(False), parent=parent)
        self._look = Paced(self._draw, parent)
        self._of_viewer = Connections()
        self.switch.toggled.connect(self._look.soon)

    def start(self) -> None:
        """Follow the viewer."""
        self._of_viewer.add(self._before_removal, self._viewer.layers.events.removing)

    def stop(self) -> None:
        """Hear of nothing, and draw nothing."""
        self._of_viewer.drop()
        self._look.cancel()
        self._image = self.grid = None
        self.overlay.remove()

    def describe(self, card: Card, source: Source | None) -> None:
        """Say what the tiles are on a layer."""
        self._image, self.grid = None if source is None else source.layer(), None
        if source is not None:
            spatial = spatial_axes(len(source.sizes), card.values["per"])
            self._edge.set_axes(spatial)
            edge = card.value(SIZE, source.unit)
            self.grid = tile_grid(source.shape[-spatial:], edge, source.spacing_along(spatial))
            self._edge.show_grid(self.grid, source.unit)
            self.facts.value = _facts(self.grid, source.unit, card.values.get("nbins", 1))
        if self.switch.isChecked():
            self._look()

    def fitted(self, layer, transform: Transform | None) -> None:
        """Show what a fit has found: nothing here."""

    def _draw(self, on=None) -> None:
        if self.switch.isChecked() and self.grid is not None and self._card.isVisible():
            self.overlay.show(self._image, self.grid)
        else:
            self.overlay.remove()

    def _before_removal(self, event) -> None:
        layer = self._viewer.layers[event.index]
        if self.overlay.is_of(layer) and lies_above(self._viewer, self.overlay.layer, layer):
            self.overlay.remove()


def _facts(grid: TileGrid, unit: str, nbins: int) -> str:
    """What the tiles are: edges are rounded to whole tiles, so that several lengths give the same grid."""
    real = [voxels * size for voxels, size in zip(grid.voxels, grid.spacing, strict=True)]
    unknown = ["No voxel size is known: the edge is in pixels. Type it in the row Voxel size."]
    warnings = (unknown if unit == PIXEL else []) + grid.warnings(nbins)
    count = f"{times(grid.shape)} = {math.prod(grid.shape):,} tiles"
    return "<br>".join([f"{count} of {times(real)} {unit}, {times(grid.voxels)} voxels", *map(warn, warnings)])


class Profile:
    """The intensity of each plane or time point and what is divided out, drawn along the axis."""

    def __init__(self, viewer, editors: dict, parent: QWidget):
        self._smoothness = editors["smoothness"]
        self.widget = DepthProfile(viewer)
        self.start, self.stop, self.fitted = self.widget.start, self.widget.stop, self.widget.show_fit

    def describe(self, card: Card, source: Source | None) -> None:
        """Enable what means something."""
        self._smoothness.enabled = card.values["model"] == "smooth"
        if source is not None and card.values["axis"] not in (SURFACE, "t"):
            axes = len(source.shape)
            axis_from_end(card.values["axis"], spatial_axes(len(source.sizes), card.values["per"]), axes)


class Behind:
    """The histogram behind a tone curve, of what the cards before this one give."""

    def __init__(self, viewer, editors: dict, parent: QWidget):
        self._canvas, self._card = editors[CURVE].canvas, parent
        self.widget = QWidget()
        self.widget.hide()
        self._counted: Any = None
        self._job: Job | None = None

    def start(self) -> None:
        """Follow nothing."""

    def stop(self) -> None:
        """Count nothing any more."""
        if self._job is not None:
            self._job.cancel()
        self._job = self._counted = None

    def describe(self, card: Card, source: Source | None) -> None:
        """Say nothing."""

    def fitted(self, layer, transform: Transform | None) -> None:
        """Count the input range that a fit has found, where that is done in a moment."""
        if transform is None or not is_quick(layer):
            self.stop()
            self._canvas.show_counts(np.empty(0))
            return
        fit, before = next(iter(transform.fits.values())), self._card.before
        # The curve is dragged, and as long as nothing else changes the histogram is the same.
        wanted = layer.data, fit.lo, fit.upper, tuple(each.adjustment for each in before)
        if self._counted is not None and self._counted[0] is wanted[0] and self._counted[1:] == wanted[1:]:
            return
        self.stop()
        self._counted = wanted
        source = Source.of(layer)
        volume = Volume(source.array, rgb=source.rgb, through=before)

        def done(counts, seconds):
            if self._job is job:
                self._canvas.show_counts(counts)

        job = self._job = Job(lambda: counts_between(volume, fit.lo, fit.upper), done=done, ended=lambda: None)


def counts_between(volume: Volume, lo: float, hi: float) -> np.ndarray:
    """How many voxels lie in each of some equal parts of a range, those beyond it in the outermost ones."""
    found = count_histogram(volume, 4096)
    # Bars are cut out of the bins, which else would make a comb of integers.
    below = np.interp(np.linspace(lo, hi, BARS + 1), found.edges, np.append(0, np.cumsum(found.counts)))
    below[0], below[-1] = 0, found.counts.sum()
    return np.diff(below)


class Notes:
    """What a fit warns of, such as a decay that is none; no line where there is nothing."""

    def __init__(self, viewer, editors: dict, parent: QWidget):
        self.text = text()
        self.widget = self.text.native
        self.widget.hide()

    def start(self) -> None:
        """Follow nothing."""

    def stop(self) -> None:
        """Hear of nothing anyway."""

    def describe(self, card: Card, source: Source | None) -> None:
        """Say nothing before there is a fit."""

    def fitted(self, layer, transform: Transform | None) -> None:
        """Show what the fit warns of."""
        notes = [] if transform is None else transform.adjustment.notes(transform)
        self.text.value = "<br>".join(map(warn, notes))
        self.widget.setVisible(bool(notes))

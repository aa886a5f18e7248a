"""What cards have besides the editors of their parameters: tiles, the profile along an axis, and what to beware of."""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
from magicgui import widgets
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_exposure.core import Adjustment, NoiseLimit
from napari_exposure.core.axes import spatial_axes
from napari_exposure.core.counting import count_histogram
from napari_exposure.core.decay_profile import decay_exponent
from napari_exposure.core.depth import SURFACE
from napari_exposure.core.gains import axis_from_end
from napari_exposure.core.noise import find_noise
from napari_exposure.core.tiles import TileGrid, tile_grid
from napari_exposure.core.transform import Transform
from napari_exposure.core.volume import Volume
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.depth_profile import DepthProfile
from napari_exposure.gui.editors import text, times
from napari_exposure.gui.exposure.model import SIZE, Card
from napari_exposure.gui.exposure.rows import Form
from napari_exposure.gui.jobs import Latest
from napari_exposure.gui.numbers import NoiseLimitEdit
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.preview import is_quick
from napari_exposure.gui.viewer.layer_order import lies_above
from napari_exposure.gui.viewer.tile_overlay import TileOverlay
from napari_exposure.gui.words import tell
from napari_exposure.io.units import PIXEL
from napari_exposure.source import Source, mask_array

# This parameter is drawn as a curve, over a histogram of this many bars.
CURVE, BARS = "points", 128
# Gains that differ by less from one another and from 1 change nothing that one sees.
IDLE = 0.005


def extras_of(kind: type[Adjustment]) -> list[type]:
    """The extras of a card of this kind, found from its parameters and its transform."""
    found: list[type] = [Tiles] if SIZE in kind.defaults() else []
    found += [Behind] if CURVE in kind.defaults() else []
    found += [Grain] if any(each.metadata.get("noise") for each in dataclasses.fields(kind)) else []
    found += [Reference] if "exponent" in kind.defaults() else []
    return [*found, Notes, *[Profile] * hasattr(kind.transform_type, "profile")]


class Extra:
    """What a card has besides its editors.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    editors : dict
        The editors of the card, by parameter.
    card : CardView
    """

    # The card shows this, if there is anything.
    widget: QWidget | None = None

    def __init__(self, viewer, editors: dict, card: Any):
        self._viewer, self._editors, self._card = viewer, editors, card

    def start(self) -> None:
        """Follow the viewer, because the dock is in a window."""

    def stop(self) -> None:
        """Stop following the viewer, and cancel what is under way."""

    def describe(self, card: Card, source: Source | None) -> None:
        """Say what the card means on a layer, or raise what does not fit; None where it is off or there is none."""

    def fitted(self, layer, transform: Transform | None) -> None:
        """Show what a fit has found in a layer; None where there is no fit."""


class Tiles(Extra):
    """The line below the tile edge, and the tiles drawn over the image."""

    def __init__(self, viewer, editors: dict, card: Any):
        super().__init__(viewer, editors, card)
        self._edge = editors[SIZE]
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
        self.overlay = TileOverlay(viewer, gone=lambda: self.switch.setChecked(False), parent=card)
        self._look = Paced(self._draw, card)
        self._of_viewer = Connections()
        self.switch.toggled.connect(self._look.soon)

    def start(self) -> None:
        """Follow the list of layers."""
        self._of_viewer.add(self._before_removal, self._viewer.layers.events.removing)

    def stop(self) -> None:
        """Stop following the viewer, and draw nothing."""
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
            self.facts.value = _facts(self.grid, source.unit)
            unknown = ["No voxel size is known: the edge is in pixels. Type it in the row Voxel size."]
            warnings = unknown if source.unit == PIXEL else []
            self._card.warn(self, warnings + self.grid.warnings(card.values.get("nbins", 1)))
        else:
            self._card.warn(self, [])
        if self.switch.isChecked():
            self._look()

    def _draw(self, on=None) -> None:
        if self.switch.isChecked() and self.grid is not None and self._card.isVisible():
            self.overlay.show(self._image, self.grid)
        else:
            self.overlay.remove()

    def _before_removal(self, event) -> None:
        layer = self._viewer.layers[event.index]
        if self.overlay.is_of(layer) and lies_above(self._viewer, self.overlay.layer, layer):
            self.overlay.remove()


def _facts(grid: TileGrid, unit: str) -> str:
    """Describe a grid as it is: edges are rounded to whole tiles, so several lengths give the same grid."""
    real = [voxels * size for voxels, size in zip(grid.voxels, grid.spacing, strict=True)]
    # Whatever the numbers are, there are as many lines, so that what is below does not move.
    count = f"{times(grid.shape)} = {math.prod(grid.shape):,} tiles"
    return "<br>".join((f"{count},", f"each {times(real)} {unit}", f"or {times(grid.voxels)} voxels"))


class Profile(Extra):
    """The intensity of each plane or time point and what is divided out, drawn along the axis."""

    def __init__(self, viewer, editors: dict, card: Any):
        super().__init__(viewer, editors, card)
        self.widget: DepthProfile = DepthProfile(viewer)

    def start(self) -> None:
        """Follow the viewer."""
        self.widget.start()

    def stop(self) -> None:
        """Draw nothing."""
        self.widget.stop()

    def fitted(self, layer, transform: Transform | None) -> None:
        """Draw what a fit has found, and say where that changes nothing."""
        self.widget.show_fit(layer, transform, self._card.reference is not None)
        fits: Any = [] if transform is None else list(transform.fits.values())
        # What is not corrected for another reason is among the notes of the fit.
        idle = all(fit.corrected and np.ptp([*fit.gains, 1.0]) < IDLE for fit in fits)
        axis = self._card.card.values["axis"]
        self._card.warn(self, [f"nothing changes, as there is no decay along {axis}."] * (bool(fits) and idle))

    def describe(self, card: Card, source: Source | None) -> None:
        """Enable the smoothness where the model has one, and raise an error where the layer has no such axis."""
        if "smoothness" in self._editors:
            self._editors["smoothness"].enabled = card.values["model"] == "smooth"
        if source is not None and card.values["axis"] not in (SURFACE, "t"):
            axes = len(source.shape)
            axis_from_end(card.values["axis"], spatial_axes(len(source.sizes), card.values["per"]), axes, source.labels)


class Reference(Extra):
    """Chooses another channel on which the gains are fitted, and fits the exponent that its light needs.

    Attributes
    ----------
    others : callable
        Returns the layers that may be chosen.
    chosen : callable
        Returns the layer that is chosen.
    choose : callable
        Called with the layer that the user chooses.
    """

    def __init__(self, viewer, editors: dict, card: Any):
        super().__init__(viewer, editors, card)
        self.others: Callable[[], list] = list
        self.chosen: Callable[[], Any] = lambda: None
        self.choose: Callable[[Any], object] = lambda layer: None
        self._adjustment: Any = None
        self._source: Source | None = None
        self._job = Latest()
        self.box = widgets.ComboBox(
            choices=lambda _: [(layer.name, layer) for layer in self.others()],
            nullable=True,
            tooltip="A channel that is everywhere alike, such as a nuclear stain: all cards are fitted on it, and its "
            "gains correct this layer. Of the layer's shape and data type.",
        )
        self.box.null_string = "itself"
        self.find = QPushButton("Fit exponent")
        self.find.setToolTip(
            "Light of another wavelength is lost to another power: compare the planes of both channels, and put it "
            "under Advanced."
        )
        self.said = text()
        self.widget = QWidget()
        form, row = Form(self.widget), QHBoxLayout()
        form.add("Fit on", self.box.native, str(self.box.tooltip))
        row.addWidget(self.find)
        row.addWidget(self.said.native, 1)
        form.addRow(row)
        self.box.changed.connect(lambda layer: self._on_choice(layer))
        self.find.clicked.connect(lambda: self._find())

    def start(self) -> None:
        """List the layers."""
        self.list_layers()

    def stop(self) -> None:
        """Cancel a comparison that is under way."""
        self._job.stop()

    def _on_choice(self, layer) -> None:
        self.choose(layer)
        self._describe()

    def describe(self, card: Card, source: Source | None) -> None:
        """Show what is chosen for a layer."""
        self._source, self._adjustment = source, None
        with suppress(TypeError, ValueError):
            self._adjustment = card.adjustment((0.0, 1.0), None)
        self.list_layers()
        self._describe()

    def list_layers(self) -> None:
        """Offer the layers that there are."""
        with self.box.changed.blocked():
            self.box.reset_choices()
            self.box.value = self.chosen()

    def _describe(self) -> None:
        reference = self.chosen()
        self.find.setVisible(reference is not None)
        words = "" if reference is None else f"exponent {self._card.card.values['exponent']:.4g}"
        self.said.value = "comparing …" if self._job else words
        self.said.visible = bool(self.said.value)

    def _find(self) -> None:
        layer, reference, adjustment = self._source and self._source.layer(), self.chosen(), self._adjustment
        if layer is None or reference is None or adjustment is None:
            return
        given = adjustment.changed()
        how = {name: value for name, value in given.items() if name not in ("axis", "exponent", "force", "output")}

        def done(found):
            # Another layer or another reference may have been chosen meanwhile.
            asked = self._source is not None and self._source.layer() is layer and self.chosen() is reference
            if asked:
                # The planes tell no more digits than these.
                self._card.set("exponent", float(f"{found:.4g}"))

        compare = partial(decay_exponent, layer, reference, adjustment.axis, mask=self._card.mask, **how)
        self._job.start(compare, done, ended=self._describe, failed=tell)
        self._describe()


class Looked(Extra):
    """Finds something out about a layer in a worker, and shows it in an editor."""

    def __init__(self, viewer, editors: dict, card: Any):
        super().__init__(viewer, editors, card)
        self._known: tuple = ()
        self._job = Latest()

    def stop(self) -> None:
        """Cancel the job, and forget what was looked at."""
        self._job.stop()
        self._known = ()

    def _look(self, layer, wanted: tuple, find: Callable[[Volume], Any], show: Callable[[Any], object]) -> bool:
        """Look at the input of the card, unless that was begun for the same data and `wanted`; return if it was."""
        before, mask = self._card.before, self._card.mask
        ignored = self._card.card.values["ignore_zeros"]
        data = layer.data, None if mask is None else mask.data
        wanted = (*wanted, ignored, *(each.adjustment for each in before))
        # Arrays are compared by identity, because comparing their values would take long.
        if self._known and wanted == self._known[1] and all(map(operator.is_, data, self._known[0])):
            return True
        self._known = data, wanted
        source = Source.of(layer)
        inside = None if mask is None else mask_array(mask, source)
        volume = Volume(source.array, inside, ignored, source.rgb, through=before)
        # What is wrong with a layer is told by the fit of the card, and not once more.
        self._job.start(partial(find, volume), show)
        return False


class Behind(Looked):
    """Draws the histogram of the card's input behind a tone curve."""

    def fitted(self, layer, transform: Transform | None) -> None:
        """Count the voxels in the input range that a fit has found, where that is done in a moment."""
        canvas = self._editors[CURVE].canvas
        if transform is None or not is_quick(layer):
            self.stop()
            canvas.show_counts(np.empty(0))
            return
        fit = next(iter(transform.fits.values()))
        ends = fit.lo, fit.upper
        # Dragging the curve leaves the histogram as it is, so only the ends of the range are wanted.
        self._look(layer, ends, lambda volume: counts_between(volume, *ends), canvas.show_counts)


class Grain(Looked):
    """Shows the number that a limit of noise comes to in a layer, or the noise that a number allows."""

    def __init__(self, viewer, editors: dict, card: Any):
        super().__init__(viewer, editors, card)
        self._name, self._edit = next(
            (name, edit) for name, edit in editors.items() if isinstance(edit, NoiseLimitEdit)
        )
        # The noise of the layer is measured once, however often its gain changes; NaN until it is known.
        self._noise = self._gain = math.nan

    def fitted(self, layer, transform: Transform | None) -> None:
        """Show the number that a fit has found, or the noise that its number allows, where that is soon known."""
        if transform is None:
            self.stop()
            self._edit.follow(None)
            return
        fit: Any = next(iter(transform.fits.values()))
        adjustment: Any = transform.adjustment
        if isinstance(self._edit.value, NoiseLimit):
            self._edit.follow(getattr(fit, self._name))
        elif is_quick(layer):
            self._gain = adjustment.gain(getattr(fit, self._name)) / ((fit.upper - fit.lo) or math.inf)
            if not self._look(layer, (), lambda volume: find_noise(volume).most, self._measured):
                self._noise = math.nan
            self._show()

    def _measured(self, noise: float) -> None:
        self._noise = noise
        self._show()

    def _show(self) -> None:
        if not isinstance(self._edit.value, NoiseLimit):
            percent = 100 * self._gain * self._noise
            self._edit.follow(None if math.isnan(percent) else min(percent, 100.0))


def counts_between(volume: Volume, lo: float, hi: float) -> np.ndarray:
    """How many voxels lie in each of `BARS` equal parts of a range; the outermost parts have those beyond it too."""
    found = count_histogram(volume, 4096)
    # Bars take shares of the bins, because counts of integers would else look like a comb.
    below = np.interp(np.linspace(lo, hi, BARS + 1), found.edges, np.append(0, np.cumsum(found.counts)))
    below[0], below[-1] = 0, found.counts.sum()
    return np.diff(below)


class Notes(Extra):
    """Warns of what a fit warns of, such as a decay that is none."""

    def fitted(self, layer, transform: Transform | None) -> None:
        """Show what the fit warns of."""
        self._card.warn(self, [] if transform is None else transform.adjustment.notes(transform))

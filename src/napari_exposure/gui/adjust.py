"""One widget for each Adjustment, built from its fields."""

from __future__ import annotations

import dataclasses
import html
import weakref
from typing import Any

import napari.layers
import numpy as np
from magicgui import widgets
from napari.utils.notifications import show_error, show_warning
from qtpy.QtWidgets import QFileDialog
from superqt.utils import qdebounced

from napari_exposure import core
from napari_exposure.core.transform import BlockMap
from napari_exposure.gui.apply import apply_job
from napari_exposure.gui.compare import KEY, SideBySide
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.docked import Docked
from napari_exposure.gui.editors import editor, text, warn
from napari_exposure.gui.jobs import ActivityJob, Job
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.preview import Preview, is_preview, is_quick
from napari_exposure.gui.recipes import RecipeButton
from napari_exposure.gui.remembered import remember, remembered
from napari_exposure.gui.scrolled import make_scrollable
from napari_exposure.gui.stack import family
from napari_exposure.gui.voxel_size import VoxelSizeEdit, file_of, from_file
from napari_exposure.provenance import METADATA_KEY, PREVIEW_SUFFIX
from napari_exposure.saving import save
from napari_exposure.source import Origin, Source, in_memory, result_bytes
from napari_exposure.voxels import PIXEL


class MaskBox(widgets.ComboBox):
    """Chooses a labels layer, or none."""

    null_string = "all voxels"


def _lazy_note(source: Source, adjustment: core.Adjustment) -> str:
    """What to know of a result that is computed as it is looked at."""
    if in_memory(source.array):
        return ""
    size = result_bytes(source, adjustment) / 2**30
    return f"<br>It would be {size:.2g} GB in memory: planes are computed as you look at them. Save it to keep them."


def give_room(widget: widgets.Widget) -> None:
    """Let a row have the place of a label that it does not have; a label that it has is never cut off."""
    row = widget.native.parentWidget().layout()
    if not widget.label:
        row.itemAt(0).widget().hide()
    elif row.count() == 2:
        row.setStretch(1, 1)


def _row(*parts) -> widgets.Container:
    row = widgets.Container(widgets=parts, layout="horizontal", labels=False)
    row.margins = (0, 0, 0, 0)
    return row


class AdjustmentWidget(widgets.Container):
    """Parameters of one adjustment, Apply, Cancel, and what is going on.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Or its public proxy, as napari passes it.
    """

    adjustment: type[core.Adjustment]

    def __init__(self, napari_viewer):
        super().__init__(labels=True)
        self._viewer = napari_viewer
        self._job: Job | None = None
        self._closed = False
        self._input: napari.layers.Image | None = None
        # the selected layer that was followed last
        self._followed: napari.layers.Image | None = None
        # the layer for which it was decided whether the preview is on
        self._lively: napari.layers.Image | None = None
        # whether the user wants previews to begin by themselves: not after one was switched off
        self._previews = True
        self._of_viewer, self._of_layer = Connections(), Connections()
        self._layer = widgets.ComboBox(
            name="layer", label="Layer", choices=lambda _: self._image_layers(), tooltip="The image layer to adjust."
        )
        shared = {field.name for field in dataclasses.fields(core.Adjustment)}
        fields = sorted(dataclasses.fields(self.adjustment), key=lambda field: field.name in shared)
        self._editors = {field.name: editor(field, self.adjustment) for field in fields}
        self._editors["in_range"].limits = self._contrast_limits
        try:
            parameters, unit = remembered(self.adjustment)
            for name, value in parameters.items():
                self._editors[name].value = value
            if unit is not None:
                self._editors["kernel_size"].unit = unit
        except ValueError as error:
            show_warning(str(error))
        self._mask = MaskBox(
            name="mask",
            label="Count",
            choices=lambda _: self._label_layers(),
            nullable=True,
            tooltip="A labels layer: only voxels with a label are counted. All are mapped.",
        )
        self._voxel = VoxelSizeEdit(napari_viewer, name="voxel", label="Voxel size")
        self._facts = text(self._take_voxel_size)
        self._apply = widgets.PushButton(text="Apply", tooltip="Make a new layer; the source stays as it is.")
        self._cancel = widgets.PushButton(text="Cancel", enabled=False)
        self._defaults = widgets.PushButton(text="Defaults", tooltip="Set all parameters to what they are at first.")
        self._bar = widgets.ProgressBar(min=0, max=100, value=0)
        self._status = text()
        self._live = widgets.CheckBox(
            name="live",
            text="Live preview",
            tooltip="Show what Apply would give while you turn the knobs, on a layer that goes away again.",
        )
        self._beside = widgets.CheckBox(
            name="beside",
            text="Side by side",
            enabled=False,
            tooltip=f"Source on the left, preview or result on the right. Or hold {KEY.upper()} to see the source.",
        )
        self._linked = widgets.CheckBox(
            name="linked",
            text="Same contrast",
            enabled=False,
            tooltip="Side by side with the contrast limits of the source; those of both change together.",
        )
        self._compared = SideBySide(napari_viewer)
        # the latest result, to compare when there is no preview
        self._result: weakref.ref | None = None
        looks = _row(self._live)
        comparison = _row(self._beside, self._linked)
        # of one line and a fixed height: text that changes while a slider moves must not lay out the window again
        self._said = widgets.LineEdit()
        self._said.native.setReadOnly(True)
        self._said.native.setStyleSheet("background: transparent")
        self._preview = Preview(
            napari_viewer,
            said=lambda sentence: self._say(sentence),
            edited=lambda: self._show(),
            gone=lambda: setattr(self._live, "value", False),
            shown=lambda: self._compare(),
            fitted=lambda layer, transform: self._show_fit(layer, transform),
            parent=self.native,
        )
        self._show = Paced(self._show_preview, self.native)
        # when the slider rests
        self._say = qdebounced(self._write, timeout=150)
        self._save = widgets.PushButton(
            text="Save result …",
            enabled=False,
            tooltip="Write what you see to disk as OME-Zarr (.zarr) or OME-TIFF (.ome.tif), with voxel size.",
        )
        self._recipe = RecipeButton(napari_viewer, self._on_screen, self._begin, self.native)
        buttons = _row(self._apply, self._cancel, self._defaults)
        results = _row(self._save)
        results.native.layout().addWidget(self._recipe)
        parts = {
            "facts": self._facts,
            "looks": looks,
            "comparison": comparison,
            "said": self._said,
            "buttons": buttons,
            "results": results,
            "bar": self._bar,
            "status": self._status,
        }
        for name, widget in parts.items():
            widget.name, widget.label = name, ""
        settings = [self._layer, self._voxel, self._facts, *self._editors.values(), self._mask]
        self.extend([*settings, looks, comparison, self._said, buttons, results, self._bar, self._status])
        for widget in self:
            give_room(widget)
        make_scrollable(self.native)
        keep = self._bar.native.sizePolicy()
        keep.setRetainSizeWhenHidden(True)
        self._bar.native.setSizePolicy(keep)
        self._bar.native.setVisible(False)
        self._apply.changed.connect(self.apply)
        self._cancel.changed.connect(self.cancel)
        self._defaults.changed.connect(self._set_defaults)
        self._save.changed.connect(self._choose_file)
        self._layer.changed.connect(self._watch)
        for widget in self._editors.values():
            widget.changed.connect(self._describe)
        for widget in (*self._editors.values(), self._mask):
            widget.changed.connect(lambda: self._show())
        self._live.changed.connect(self._on_live)
        for switch in (self._beside, self._linked):
            switch.changed.connect(self._compare)
        # adding a layer makes others active for a moment
        self._follow = qdebounced(self._follow_active, timeout=50)
        self._docked = Docked(self.native, self._connect, self._disconnect, self._seen)
        self.reset_choices()
        self._follow_active()
        self._watch()

    def _connect(self) -> None:
        layers = self._viewer.layers
        self._of_viewer.add(self._follow, layers.selection.events.active)
        self._of_viewer.add(self._on_removed, layers.events.removed)
        self._closed = False
        self._watch()

    def _seen(self, seen: bool) -> None:
        self._show()

    def _disconnect(self) -> None:
        self._closed = True
        self._of_viewer.drop()
        self._follow.cancel()
        self._watch()
        self.cancel()
        self._show.cancel()
        self._preview.remove()
        self._compare()
        self._say.cancel()

    # --- layers ---

    def _image_layers(self) -> list:
        images = (layer for layer in self._viewer.layers if isinstance(layer, napari.layers.Image))
        return [layer for layer in images if not is_preview(layer)]

    def _contrast_limits(self) -> tuple[float, float]:
        if self._layer.value is None:
            return 0.0, 1.0
        low, high = map(float, self._layer.value.contrast_limits)
        return low, high

    def _label_layers(self) -> list:
        return [layer for layer in self._viewer.layers if isinstance(layer, napari.layers.Labels)]

    def _follow_active(self) -> None:
        active = self._viewer.layers.selection.active
        if self._layer.value is None and self._lively is not None:
            # the last image is gone, which the combo box does not tell
            self._watch()
        if active == self._followed or not isinstance(active, napari.layers.Image) or active not in self._layer.choices:
            # What the user has chosen in the box stays until another layer is selected.
            return
        self._followed = active
        # A result is looked at and compared when it is selected, and not adjusted once more unless the user
        # chooses it in the box.
        if active not in family(self._viewer, self._layer.value):
            self._layer.value = active

    def _watch(self) -> None:
        """Describe the chosen layer again when its voxel size or data change."""
        layer = None if self._closed else self._layer.value
        self._of_layer.drop()
        if layer is not None:
            self._of_layer.add(self._describe, layer.events.scale, layer.events.units, layer.events.data)
        if not self._closed:
            if layer is not self._lively:
                self._lively = layer
                with self._live.changed.blocked():
                    self._live.value = layer is not None and self._previews and is_quick(layer)
            self._describe()
            self._compare()
            # Where napari deletes several layers, it must find each of them itself, the preview as well.
            self._show.soon()

    def _on_removed(self, event) -> None:
        if event.value == self._followed:
            self._followed = None
        if self._job is not None and event.value == self._input:
            self._job.cancel()
        self._compare()

    def _describe(self) -> None:
        """Say what the layer is and what the parameters mean on it."""
        layer = self._layer.value
        self._apply.enabled = layer is not None and self._job is None
        self._voxel.show(layer)
        if layer is None:
            self._facts.value = "Open an image, or choose File > Open Sample > napari-exposure."
            return
        try:
            source = Source.of(layer)
            source.check_exposure()
            # The order of bytes is nothing to a user: uint16, not >u2.
            dtype = np.dtype(source.array.dtype).newbyteorder("=")
            self._facts.value = f"{' × '.join(map(str, source.shape))} {'RGB ' if source.rgb else ''}{dtype}"
            if path := file_of(layer):
                link = f"<a href='file' style='color:#4a90d9'>from {html.escape(path.name)}</a>"
                self._facts.value += f"<br>No voxel size: type it, or take it {link}."
            elif len(source.shape) > 2 and source.unit == PIXEL and set(source.spacing[-3:]) == {1.0}:
                self._facts.value += "<br>No voxel size: type it above, so that tiles have one."
            self._describe_parameters(source)
        except (TypeError, ValueError) as error:
            self._facts.value = warn(str(error))

    def _describe_parameters(self, source: Source) -> None:
        """Show what follows from the parameters on this layer."""

    def _show_fit(self, layer, transform: BlockMap) -> None:
        """Show what was found in a layer, by the preview or by Apply."""

    def _take_voxel_size(self) -> None:
        try:
            self._status.value = html.escape(from_file(self._viewer, self._layer.value))
        except (OSError, ValueError, ImportError) as error:
            show_error(str(error))

    def _on_live(self, on: bool) -> None:
        self._previews = on
        self._show()

    def _show_preview(self) -> None:
        """Bring the preview up to date, or take it away."""
        if self._job is not None:
            # Apply takes its place in a moment
            return
        layer = self._layer.value
        seen = self.native.isVisible()
        if layer is None or not self._live.value or not seen:
            self._preview.remove(instead=layer)
            if seen:
                # A widget that is being destroyed is hidden first, and its timer may be gone by then.
                self._say("")
            return
        try:
            self._preview.show(layer, self._make(Source.of(layer)), self._mask.value)
        except (TypeError, ValueError) as error:
            self._preview.remove()
            self._say(str(error))

    def _compare(self) -> None:
        """Show source and preview or result side by side, if that is wanted and there are two."""
        layers = self._viewer.layers
        result: Any = self._preview.layer or (self._result and self._result())
        source = self._layer.value
        origin = None if result is None or result not in layers else Origin.of(result)
        there = not self._closed and origin is not None and origin.source() == source
        self._beside.enabled = there
        self._save.enabled = self._job is None and self._on_screen() is not None
        # a contrast of integers says nothing about floats
        alike = there and not source.rgb and np.dtype(source.dtype).newbyteorder("=") == result.dtype
        self._linked.enabled = alike
        if there and self._beside.value:
            self._compared.start(source, result, linked=alike and self._linked.value)
        else:
            self._compared.stop()

    def _write(self, sentence: str) -> None:
        self._said.value = self._said.tooltip = sentence
        # of a long one the beginning
        self._said.native.setCursorPosition(0)

    # --- the job ---

    def parameters(self) -> dict:
        """What the editors hold."""
        return {name: widget.value for name, widget in self._editors.items()}

    def _set_defaults(self) -> None:
        for name, default in self.adjustment.defaults().items():
            self._editors[name].value = default

    def _make(self, source: Source) -> core.Adjustment:
        values = self.parameters()
        if values["in_range"] == "contrast_limits":
            values["in_range"] = source.contrast_limits
        return self.adjustment(**values)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def apply(self) -> None:
        """What the Apply button does: begin a job that adds a new layer."""
        layer, mask = self._layer.value, self._mask.value
        self._status.value = ""
        if layer is None or self._job is not None:
            return

        def done(new, seconds):
            remember(adjustment, source.unit, **chosen)
            self._result = weakref.ref(new)
            # The preview comes again with the next turn of a knob; where it was selected, its result is now.
            self._show.cancel()
            self._preview.remove(instead=new)
            self._compare()
            if (origin := Origin.of(new)) is not None:
                self._show_fit(layer, origin.transform)
            self._status.value = f"“{html.escape(new.name)}” made in {seconds:.2g} s." + lazy

        # of another volume they are others
        chosen = {"in_range": "contrast_limits"} if self.parameters()["in_range"] == "contrast_limits" else {}
        try:
            source = Source.of(layer)
            adjustment = self._make(source)
            memory = self._preview.memory_of(layer, mask)
            lazy = _lazy_note(source, adjustment)
            self._job = apply_job(
                self._viewer, layer, adjustment, mask, memory, done=done, ended=self._ended, step=self._step
            )
        except (TypeError, ValueError) as error:
            # raised by what the user chose: the sentence is enough, no traceback
            show_error(str(error))
            return
        self._input = layer
        self._show_running(True)

    def _choose_file(self) -> None:
        result = self._on_screen()
        if result is None or self._job is not None:
            return
        name = f"{result.name.removesuffix(PREVIEW_SUFFIX).replace('/', '-')}.zarr"
        path, _ = QFileDialog.getSaveFileName(
            self.native, "Save result", name, "OME-Zarr (*.zarr);;OME-TIFF (*.ome.tif)"
        )
        if path:
            self.save(path)

    def save(self, path) -> None:
        """Write what is seen to `path`, which may be replaced; Cancel leaves nothing behind."""
        result = self._on_screen()
        if result is None or self._job is not None:
            return
        self._status.value = ""
        name = result.name.removesuffix(PREVIEW_SUFFIX)

        def done(path, seconds):
            self._status.value = f"“{html.escape(name)}” saved as {html.escape(path.name)} in {seconds:.2g} s."

        def work():
            # All in the worker, because a preview that was fitted on a sample is fitted whole first.
            return save(result, path, overwrite=True)

        self._job = ActivityJob(
            f"Saving {name}",
            work,
            done=done,
            ended=self._ended,
            step=self._step,
            failed=lambda error: show_error(str(error)),
        )
        self._input = None
        self._show_running(True)

    def _on_screen(self):
        """The result that is looked at: the preview, else the latest result, or the chosen layer if it is one."""
        chosen, latest = self._layer.value, self._result and self._result()
        if self._preview.layer is not None:
            return self._preview.layer
        kept = chosen is not None and METADATA_KEY in chosen.metadata
        if latest in self._viewer.layers and (not kept or latest in family(self._viewer, chosen)):
            return latest
        return chosen if kept else None

    def _begin(self, work, title: str, done) -> None:
        """Show a job that somebody else began."""
        if self._job is None:
            self._status.value = ""
            self._job = ActivityJob(title, work, done=done, ended=self._ended, step=self._step)
            self._input = None
            self._show_running(True)

    def cancel(self) -> None:
        """What the Cancel button does: stop the job; no layer is made."""
        if self._job is not None:
            self._job.cancel()

    def _step(self, step) -> None:
        # in the bar: a label's new text would lay out the whole window again, canvas and all
        self._bar.native.setFormat(f"{step.what} … %p%")
        self._bar.value = int(100 * step.fraction)

    def _ended(self) -> None:
        cancelled = self._job.cancelled
        self._job = self._input = None
        if self._closed:
            return
        if cancelled:
            self._status.value = "Cancelled; nothing was made."
        self._show_running(False)

    def _show_running(self, running: bool) -> None:
        self._cancel.enabled = running
        self._apply.enabled = not running and self._layer.value is not None
        self._save.enabled = not running and self._on_screen() is not None
        self._bar.native.reset()
        self._bar.native.setVisible(running)


class GammaWidget(AdjustmentWidget):
    """Layers > Filter > Exposure > Gamma."""

    adjustment = core.Gamma


class PercentileClipWidget(AdjustmentWidget):
    """Layers > Filter > Exposure > Percentile clipping."""

    adjustment = core.PercentileClip


class HistogramEqualizationWidget(AdjustmentWidget):
    """Layers > Filter > Exposure > Histogram equalization."""

    adjustment = core.HistogramEqualization


class DecayWidget(AdjustmentWidget):
    """Layers > Filter > Exposure > Simulated decay."""

    adjustment = core.Decay

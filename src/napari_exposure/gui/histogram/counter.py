"""Follows the viewer and counts what a HistogramModel asks for, in workers."""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import napari.layers
import numpy as np
from qtpy.QtCore import QObject
from superqt.utils import qdebounced

from napari_exposure.core import progress
from napari_exposure.core.progress import Step
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.histogram import survey
from napari_exposure.gui.histogram.model import Content, Display, HistogramModel
from napari_exposure.gui.histogram.tile import count_tile_at, group_of, tiles_fit
from napari_exposure.gui.jobs import Latest
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.viewer.cursor import voxel_under
from napari_exposure.gui.viewer.edits import Edits
from napari_exposure.source import Origin, level_0, unwrapped

NOTHING = "Select an image layer, or choose File > Open Sample > napari-exposure."


class Counter(QObject):
    """Keeps the content, display and tile of a model up to date between `start` and `stop`.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    model : HistogramModel
        The counter reads what the user chooses in it, and writes what it shows.
    parent : QObject
        Owns this object.
    """

    def __init__(self, viewer, model: HistogramModel, parent: QObject):
        super().__init__(parent)
        self._viewer = viewer
        self._model = model
        self._of_viewer, self._of_layers, self._of_tile = Connections(), Connections(), Connections()
        self.layers: list[napari.layers.Image] = []
        # The layers that `follow` was asked to show whichever layer is active.
        self._asked: list[weakref.ref[napari.layers.Image]] | None = None
        # The layer that is drawn, which lags behind the one that is followed until it is counted.
        self.shown: napari.layers.Image | None = None
        self._targets: list[survey.Target] = []
        # The layer of each target, or None for the color channels of an RGB layer.
        self._owners: list[napari.layers.Image | None] = []
        # Returns the exact percentiles that others need, by layer.
        self.also: Callable[[], dict[Any, tuple[float, ...]]] = dict
        self._jobs: dict[str, Latest] = defaultdict(Latest)
        self._tile_at: tuple | None = None
        # Adding a layer activates others for a moment, and sliders and brushes send events faster than counting is.
        self._follow = qdebounced(lambda: self._follow_layers(), timeout=1)
        self._recount = qdebounced(self.count, timeout=10)
        self._recount_edited = qdebounced(self.count, timeout=150)
        self._refine = qdebounced(self._find_percentiles, timeout=150)
        self._edits = Edits(viewer, self._recount, self._on_edited)
        self._look_for_tile = Paced(self._find_tile, self)
        events = model.events
        for signal in (events.scope, events.ignore_zeros, events.mask, events.compare):
            signal.connect(self._recount)
        events.locked.connect(self._follow)
        events.tile_mode.connect(self._on_tile_mode)
        for signal in (events.low, events.high):
            signal.connect(self._refine)

    @property
    def started(self) -> bool:
        """Whether it follows the viewer."""
        return bool(self._of_viewer)

    def start(self) -> None:
        """Catch up with the viewer, and follow it."""
        if self.started:
            return
        layers, dims, add = self._viewer.layers, self._viewer.dims, self._of_viewer.add
        add(self._follow, layers.selection.events.changed, layers.selection.events.active)
        add(self._on_removed, layers.events.removed)
        add(self._on_dims, dims.events.point, dims.events.order, dims.events.ndisplay)
        self._follow_layers(again=True)
        self._on_tile_mode()

    def stop(self) -> None:
        """Stop counting and listening, and release all layers that are not locked, until `start` is called again."""
        for connections in (self._of_viewer, self._of_layers, self._of_tile):
            connections.drop()
        self._edits.watch()
        for waiting in (self._follow, self._recount, self._recount_edited, self._refine, self._look_for_tile):
            waiting.cancel()
        self.cancel()
        # A locked panel stays on its layers while it is hidden.
        self.layers = self.layers if self._model.locked else []
        self._targets, self._owners, self.shown = [], [], None

    # --- which layers ---

    def follow(self, layers: Sequence[napari.layers.Image] | None) -> None:
        """Show these layers whichever is active, or with None those that are selected."""
        self._asked = None if layers is None else list(map(weakref.ref, layers))
        self._follow_layers()

    def _follow_layers(self, again: bool = False) -> None:
        """Show the active layer together with the other images that are selected."""
        if not self.started:
            return
        images = [layer for layer in self._viewer.layers if isinstance(layer, napari.layers.Image)]
        kept = [layer for layer in self.layers if layer in images]
        selection = self._viewer.layers.selection
        chosen = [layer for layer in images if layer in selection]
        chosen.sort(key=lambda layer: layer != selection.active)
        if self._asked is not None:
            chosen = [layer for asked in self._asked if (layer := asked()) in images]
        elif (self._model.locked and kept) or not chosen:
            # The panel stays on its image while the user paints on a labels layer.
            chosen = kept or images[-1:]
        if chosen != self.layers or not chosen or again:
            self.layers = chosen
            self.count()

    def _watch(self, layers: list, mask=None) -> None:
        """Listen to changes of these layers and of no others."""
        self._edits.watch(*layers, mask)
        self._of_layers.drop()
        if mask is not None:
            self._of_layers.add(self._recount, mask.events.name)
        for layer in layers:
            events = layer.events
            self._of_layers.add(self._on_look, events.name, events.colormap)
            self._of_layers.add(self._on_display, events.contrast_limits, events.gamma, events.colormap)

    def _on_removed(self, event) -> None:
        if event.value in self.layers:
            self.cancel()
            self._targets, self._owners = [], []
            self._follow()
        elif self._model.content.before is not None:
            self._recount()

    # --- what changes ---

    def _on_edited(self) -> None:
        # What is being counted is of older data, and would keep the processors from showing the newer ones.
        self.cancel()
        self._recount_edited()

    def _on_dims(self, event) -> None:
        scope = self._model.scope
        if scope == "plane" or (scope == "volume" and any(layer.ndim > 3 for layer in self.layers)):
            self._recount()

    def _on_display(self, event) -> None:
        if self.shown is not None and event.source == self.shown:
            self._model.display = Display.of(self.shown)

    def _on_look(self, event) -> None:
        content = self._model.content
        if event.source not in self.layers:
            self._recount()
        elif len(content.curves) == len(self.layers):
            pairs = zip(content.curves, self.layers, strict=True)
            curves = tuple(replace(c, name=layer.name, color=survey.layer_color(layer)) for c, layer in pairs)
            self._model.content = replace(content, curves=curves)

    # --- counting ---

    @property
    def running(self) -> bool:
        """Whether anything is being counted."""
        return any(self._jobs.values())

    @property
    def counting(self) -> bool:
        """Whether histograms are being counted."""
        return bool(self._jobs["count"])

    def cancel(self) -> None:
        """Stop counting; what is known so far stays."""
        for job in self._jobs.values():
            job.stop()
        self._model.progress = None

    def _progress(self, step: Step) -> None:
        self._model.progress = step.fraction

    def _start(self, what: str, work: Callable, done: Callable, step: Callable[[Step], None]) -> None:
        """Begin a job, and stop an older one of this kind, whose reports are then ignored.

        An error is shown where the histogram would be.
        """
        self._stop(what)

        def ended():
            self._model.progress = None

        self._jobs[what].start(work, done, ended=ended, step=step, failed=lambda error: self._explain(str(error)))

    def _stop(self, what: str) -> None:
        """Stop a job and ignore what it still reports."""
        if self._jobs[what]:
            self._jobs[what].stop()
            self._model.progress = None

    def count(self) -> None:
        """Begin to count what is to be shown."""
        if not self.started:
            return
        self.cancel()
        self._targets, self._owners = [], []
        layers, model = self.layers, self._model
        self._tile_at = None
        if not layers:
            self._watch([])
            self._explain(NOTHING)
            return
        main = layers[0]
        origin = Origin.of(main) if len(layers) == 1 and not main.rgb else None
        source = self._source_of(origin)
        compared = source is not None and model.compare
        shown = Content(
            unit=f"{'gray level' if main.dtype.kind in 'iu' else 'intensity'}, {main.dtype}",
            transform=origin.transform if compared and origin else None,
            has_source=source is not None,
            has_tiles=source is not None and tiles_fit(origin) is not None,
        )
        self._watch([*layers, source] if source is not None else layers, model.mask)
        if not shown.has_tiles:
            self._show_no_tile()
        elif model.tile_mode:
            self._look_for_tile()
        try:
            pairs = [
                (target, None if layer.rgb else layer)
                for layer in (*layers, *([source] if compared else []))
                for target in survey.targets(layer, self._viewer.dims, model.scope, model.mask, model.ignore_zeros)
            ]
            self._targets, self._owners = [target for target, _ in pairs], [layer for _, layer in pairs]
        except (TypeError, ValueError) as error:
            self._explain(str(error))
            return
        number = len(self._targets)

        def show(curves, complete):
            before = curves[-1] if compared and len(curves) == number else None
            curves = tuple(curves[:-1] if before is not None else curves)
            empty = not any(curve.drawable for curve in curves)
            message = f"There is no finite voxel to count ({curves[0].coverage})." if complete and empty else ""
            self.shown = main
            model.display = Display.of(main)
            model.content = replace(shown, curves=curves, before=before, message=message, complete=complete)

        def step(step):
            if step.partial:
                show(step.partial, False)
            self._progress(step)

        def done(curves):
            show(curves, True)
            # The user may have chosen other percentiles meanwhile.
            self._refine()

        work = partial(survey.survey, self._targets, (model.low, 50.0, model.high))
        self._start("count", work, done, step)

    def _explain(self, message: str) -> None:
        """Show a sentence instead of a histogram."""
        self.shown = None
        self._show_no_tile()
        self._model.display = None
        self._model.content = Content(message=message)

    def _source_of(self, origin: Origin | None):
        """The layer that a result was made from, if it is still in the viewer and has such data."""
        source = None if origin is None else origin.source()
        if source is None or source not in self._viewer.layers:
            return None
        data, transform = level_0(source), origin.transform
        shape = tuple(data.shape[:-1] if source.rgb else data.shape)
        same = shape == transform.shape and np.dtype(data.dtype).newbyteorder("=") == transform.dtype
        return source if same else None

    @property
    def counted(self) -> dict[Any, tuple[survey.Curve, bool]]:
        """For each layer with contrast limits, its curve and whether counting it has ended."""
        content = self._model.content
        pairs = list(zip(self._owners, content.curves, strict=False)) if self._targets else []
        # Curves are counted in turn, so that all except the last are complete.
        last = len(pairs) - (not content.complete)
        return {unwrapped(layer): (curve, at < last) for at, (layer, curve) in enumerate(pairs) if layer is not None}

    def refine(self) -> None:
        """Check soon whether exact percentiles must be found."""
        self._refine()

    def _find_percentiles(self) -> None:
        """Find exact percentiles of floats and of 32-bit integers, which needs another pass over the voxels."""
        model = self._model
        if self.counting or not (self._targets and model.content.complete):
            return
        asked, wanted = self.also(), []
        for number, (curve, layer) in enumerate(zip(model.content.curves, self._owners, strict=False)):
            percents = (*asked.get(unwrapped(layer), ()), *((model.low, 50.0, model.high) if number == 0 else ()))
            if not all(map(curve.knows, percents)):
                wanted.append((number, curve, percents))
        if not wanted:
            return
        targets = self._targets

        def find() -> dict[int, dict[float, float]]:
            found = {}
            for done, (number, curve, percents) in enumerate(wanted):
                with progress.item(done, len(wanted)):
                    found[number] = survey.find_quantiles(targets[number].volume, curve, percents)
            return found

        def done(found):
            model.content = model.known(found)

        self._start("percentiles", find, done, self._progress)

    # --- the tile under the cursor ---

    def _on_tile_mode(self) -> None:
        self._of_tile.drop()
        if self._model.tile_mode and self.started:
            self._of_tile.add(self._look_for_tile, self._viewer.cursor.events.position)
        elif not self._model.tile_mode:
            self._show_no_tile()

    def _show_no_tile(self) -> None:
        # A tile that is still being counted would appear after the cursor has left it.
        self._stop("tile")
        self._tile_at = self._model.tile = None

    def _find_tile(self, event=None) -> None:
        if not (len(self.layers) == 1 and self._model.tile_mode and self.started):
            return
        layer = self.layers[0]
        origin = Origin.of(layer)
        source = self._source_of(origin)
        voxel = None
        if origin is not None and source is not None and not layer.rgb and tiles_fit(origin) is not None:
            voxel = voxel_under(layer, self._viewer, source)
        if origin is None or voxel is None:
            self._show_no_tile()
            return
        at = layer, group_of(origin, voxel), tiles_fit(origin, voxel).grid.at(voxel[-origin.transform.spatial :])
        if at != self._tile_at:
            self._tile_at = at
            work = partial(count_tile_at, source, origin, voxel)

            def done(tile):
                self._model.tile = tile

            self._start("tile", work, done, self._progress)

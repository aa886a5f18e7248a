"""What the buttons of the dock begin: Apply, Save, Suggest, and recipes of files, one job at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_exposure.gui.apply import apply_job
from napari_exposure.gui.exposure.adjusted import Adjusted
from napari_exposure.gui.exposure.bar import Bar
from napari_exposure.gui.exposure.live import Live
from napari_exposure.gui.exposure.model import Card, Stack
from napari_exposure.gui.exposure.offers import lasting
from napari_exposure.gui.exposure.recipes import telling
from napari_exposure.gui.exposure.remembered import remember
from napari_exposure.gui.jobs import ActivityJob, Job
from napari_exposure.gui.preview_data import PreviewData
from napari_exposure.gui.words import tell
from napari_exposure.provenance import LIVE_SUFFIX, METADATA_KEY
from napari_exposure.recipe import Recipe
from napari_exposure.saving import save
from napari_exposure.source import Origin, Source, in_memory, result_bytes, unwrapped
from napari_exposure.suggesting import suggest


@dataclass(frozen=True)
class Note:
    """The name and the metadata that a result would have, in place of a result that is not computed."""

    name: str
    _record: Callable[[], dict]

    @property
    def metadata(self) -> dict:
        """Computed when it is asked for, because most who look for a result only want to know whether there is one."""
        return {METADATA_KEY: self._record()}


class Work:
    """Runs the job of a dock, of which there is one at a time.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    adjusted : Adjusted
    live : Live
        Apply keeps its layers.
    bar : Bar
        It shows the job.
    dock : QWidget
        Dialogs open above it.
    """

    # A job has begun or ended.
    changed = Signal()
    # The result of a layer was made, by a transform.
    applied = Signal(object, object)
    # Cards were proposed, each for a reason.
    suggested = Signal(object)

    def __init__(self, viewer, adjusted: Adjusted, live: Live, bar: Bar, dock: QWidget):
        self._viewer, self._adjusted, self._live, self._bar, self._dock = viewer, adjusted, live, bar, dock
        self._job: Job | None = None
        # A job goes on with the layers that it began with.
        self._input: list = []

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def cancel(self) -> None:
        """What the button Cancel does: stop the job; no layer is made."""
        if self._job is not None:
            self._job.cancel()

    def removed(self, layer) -> None:
        """Stop a job that needs a layer that has gone from the viewer."""
        if layer in self._input:
            self.cancel()

    def _begun(self, job: Job | None, layers: list, title: str) -> None:
        self._job, self._input = job, layers
        if job is not None:
            self._live.paused = True
            self._bar.show_running(True)
            # The first report of the job may take a while.
            self._bar.state.say(f"{title}: beginning")
            self.changed.emit()

    def _ended(self) -> None:
        canceled = self._job is not None and self._job.cancelled
        self._job, self._input = None, []
        self._live.paused = False
        if not self._live.started:
            return
        self._bar.show_running(False)
        if canceled:
            self._live.say("Cancelled; nothing was made.")
        self.changed.emit()
        if any(map(self._live.wants, self._adjusted.layers)):
            self._live.show.soon()

    def _run(self, title: str, work: Callable, done: Callable) -> None:
        """Begin a job that makes no layer."""
        step, failed = partial(self._bar.step, title), tell
        self._begun(ActivityJob(title, work, done=done, ended=self._ended, step=step, failed=failed), [], title)

    # --- Apply ---

    def apply(self, anew: bool = False) -> None:
        """What the button Apply does: compute the result of each layer, and keep it as a layer.

        Parameters
        ----------
        anew : bool
            Make other layers, and leave those that were made before as they are.
        """
        adjusted, live = self._adjusted, self._live
        if not adjusted.layers or self.running:
            return
        cards = adjusted.stack.cards

        def put(source, data, transform, seconds, inside):
            target, shown = known[source.layer()][1], live.of(source.layer())
            if target is not None and target in self._viewer.layers:
                source.put_into(target, data, transform, seconds=seconds, mask=inside)
                return target
            return None if shown is None else shown.keep(source, data, transform, seconds, inside)

        def done(made, seconds):
            for result in made:
                origin = Origin.of(result)
                layer = origin.source()
                edited, _, state = known[layer]
                adjusted.applied(edited, layer, result, state)
                if (shown := live.of(layer)) is not None:
                    shown.remove()
                self.applied.emit(layer, origin.transform)
            with telling():
                remember([lasting(card, Source.of(layer)) for card in cards if card.on])
            names = ", ".join(f"“{each.name}”" for each in made)
            live.say(f"{names} made in {seconds:.2g} s.{lazy}")

        try:
            chosen: list[tuple[Any, Any]] = [(each, adjusted.recipe(each)) for each in adjusted.layers]
            if chosen[0][1] is None:
                return
            known = {
                unwrapped(each): (adjusted.edited(each), None if anew else adjusted.target(each), adjusted.state(each))
                for each in adjusted.layers
            }
            lazy = _lazy_note(chosen)
        except (TypeError, ValueError) as error:
            # The user's choice raised this, so its sentence is enough without a traceback.
            tell(error)
            return
        self._make("Apply", chosen, done, memory=live.memory_of, put=put)

    def _make(self, title: str, chosen: list[tuple[Any, Any]], done: Callable, **how) -> None:
        """Begin a job that makes a layer of each of these, measured and fitted as the header says."""
        adjusted, step = self._adjusted, partial(self._bar.step, title)
        fit_on, alone = adjusted.fit_on, adjusted.fit_on is None
        how |= {"mask": adjusted.mask, "fit_on": fit_on, "reference": adjusted.joined if alone else None}
        with telling():
            job = apply_job(self._viewer, chosen, done=done, ended=self._ended, step=step, **how)
            self._begun(job, [layer for layer, _ in chosen], title)

    def apply_recipe(self, recipe: Recipe, name: str) -> None:
        """Apply a recipe that is not in the cards to the layers."""
        if self.running:
            return
        chosen: list[tuple[Any, Any]] = []
        for layer in self._adjusted.layers:
            with telling():
                Source.of(layer).in_unit_of(recipe).check(recipe)
                cards = Stack([Card.of(step, recipe.unit) for step in recipe.steps])
                chosen.append((layer, cards.recipe((0.0, 1.0), Source.of(layer).unit)))

        def done(made, seconds):
            self._live.say(f"{name}: {len(made)} made in {seconds:.2g} s.")

        if chosen:
            self._make(name, chosen, done)

    # --- Suggest ---

    def suggest(self) -> None:
        """What the button Suggest does: put the cards that are proposed for the layer, each with its reason."""
        layer, stack = self._adjusted.layer, self._adjusted.stack
        if layer is None or self.running:
            return

        def done(found, seconds):
            if self._adjusted.layer != layer:
                return
            if found.recipe is None:
                self._live.say("Nothing is suggested: the layer needs no adjustment.", str(found))
                return
            stack.put([Card.of(step, found.recipe.unit) for step in found.recipe.steps])
            self.suggested.emit(found.reasons)

        self._run(f"Looking at {layer.name}", partial(suggest, layer, mask=self._adjusted.mask), done)

    # --- what is seen, as a file and in words ---

    def seen(self) -> Any:
        """The result that is looked at: a layer, or a `Note` where the live layer stands for it; None without one."""
        layer = self._adjusted.layer
        if layer is None:
            return None
        if self._live.wants(layer):
            shown, adjusted = self._live.layer, self._adjusted
            name = layer.name + LIVE_SUFFIX if shown is None else shown.name
            return Note(name, lambda: Source.of(layer).record(adjusted.recipe(layer).steps, adjusted.mask))
        return self._adjusted.target(layer) or (layer if METADATA_KEY in layer.metadata else None)

    def choose_file(self) -> None:
        """What the button Save does: ask for a file, and write what is seen."""
        result = self.seen()
        if result is None or self.running:
            return
        name = f"{result.name.replace('/', '-')}.zarr"
        path, _ = QFileDialog.getSaveFileName(
            self._dock, "Save result", name, "OME-Zarr (*.zarr);;OME-TIFF (*.ome.tif)"
        )
        if path:
            self.save(path)

    def save(self, path) -> None:
        """Write what is seen to `path`, which may be replaced; Cancel leaves nothing behind."""
        result = self.seen()
        if result is None or self.running:
            return
        adjusted = self._adjusted
        source, recipe, mask = Source.of(adjusted.layer), adjusted.recipe(adjusted.layer), adjusted.mask
        memory = self._live.memory_of(adjusted.layer)
        fitted = source if adjusted.joined is None else adjusted.joined.source(source)

        def work():
            if not isinstance(result, Note):
                return save(result, path, overwrite=True)
            # The live layer may be behind the cards or show a sample, so the worker fits the whole source.
            transform = fitted.fit(recipe, mask, memory)
            arrays = zip([source.array, *source.levels], source.at_levels(transform), strict=True)
            data = [PreviewData(*each) for each in arrays]
            layer = source.result(data if source.levels else data[0], transform, mask=mask)
            layer.name = result.name
            return save(layer, path, overwrite=True)

        def done(path, seconds):
            self._live.say(f"“{result.name}” saved as {path.name} in {seconds:.2g} s.", str(path))

        self._run(f"Saving {result.name}", work, done)


def _lazy_note(chosen: list[tuple[Any, Recipe]]) -> str:
    """A sentence on results that are computed only when they are looked at, or none."""
    sources = [(Source.of(layer), recipe) for layer, recipe in chosen]
    size = sum(result_bytes(*each) for each in sources if not in_memory(each[0].array)) / 2**30
    if not size:
        return ""
    return f" It would be {size:.2g} GB in memory: planes are computed as you look at them. Save it to keep them."

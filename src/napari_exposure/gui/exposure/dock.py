"""The Exposure dock, and the docks that have one adjustment of it."""

from __future__ import annotations

from magicgui import widgets
from qtpy.QtCore import QSignalBlocker
from superqt.utils import qdebounced

from napari_exposure import core
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.docked import Docked
from napari_exposure.gui.exposure.adjusted import Adjusted
from napari_exposure.gui.exposure.amplified import Amplified
from napari_exposure.gui.exposure.bar import Bar
from napari_exposure.gui.exposure.cards import CardList, CardView
from napari_exposure.gui.exposure.extras import Reference
from napari_exposure.gui.exposure.header import Header
from napari_exposure.gui.exposure.live import UP_TO_DATE, Live
from napari_exposure.gui.exposure.model import Card, Stack
from napari_exposure.gui.exposure.offers import suited
from napari_exposure.gui.exposure.plot import Plot
from napari_exposure.gui.exposure.ready import get_ready
from napari_exposure.gui.exposure.recipes import RecipeButton
from napari_exposure.gui.exposure.rows import FitLabels
from napari_exposure.gui.exposure.tools import Tools, UndoKeys, new_card
from napari_exposure.gui.exposure.work import Work
from napari_exposure.gui.napari_versions import on_renamed
from napari_exposure.gui.preview import is_quick
from napari_exposure.gui.reference import ReferenceEdit
from napari_exposure.gui.scrolled import make_scrollable
from napari_exposure.gui.tab_order import order_tabs
from napari_exposure.io.units import PIXEL, voxel_size
from napari_exposure.recipe import Recipe
from napari_exposure.source import Source

# A reference is counted with these parameters of its card.
HOW = ("nbins", "ignore_zeros")
OPEN_ONE = "Open an image, or choose File > Open Sample > napari-exposure."


class ExposureDock(widgets.Container):
    """Layers > Filter > Exposure > Exposure: a stack of adjustments of a layer, and one live layer.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer, or its public proxy as napari passes it.

    Attributes
    ----------
    header, plot, cards, tools, bar : QWidget
        The parts of the dock, from top to bottom.
    adjusted : Adjusted
        The layers, and their cards.
    live : Live
        The live layers.
    work : Work
        Runs the job of the dock.
    """

    # A dock of one adjustment has a fixed card of this kind.
    adjustment: type[core.Adjustment] | None = None

    def __init__(self, napari_viewer):
        super().__init__(labels=False)
        self._viewer = napari_viewer
        # This was said last of what does not fit; it is taken back when all fits.
        self._wrong = ""
        # The live layer comes by itself as long as the user has not switched it off.
        self._wanted = True
        self._of_viewer, self._of_layer = Connections(), Connections()
        alone = self.adjustment is not None
        self.header = Header(napari_viewer, picked=lambda layer: self.adjusted.pick(layer))
        fixed = Stack([new_card(self.adjustment)]) if self.adjustment is not None else None
        self.adjusted = Adjusted(napari_viewer, self.header, fixed)
        self.plot = Plot(napari_viewer)
        self.cards = CardList(self._make_view)
        self.tools = Tools(lambda: self.adjusted.stack, self._suited, self.suggest, alone)
        self.recipe = RecipeButton(lambda: self.work.seen(), None if alone else self._open_recipe, self._apply_recipe)
        self.bar = Bar(napari_viewer, self.recipe, compared=self._compare)
        layout = self.native.layout()
        layout.setSpacing(4)
        for widget in (self.header, self.plot, self.cards):
            layout.addWidget(widget)
        if alone:
            # What would be the first row of the bar is two small buttons here.
            layout.addWidget(self.tools)
        self._area = make_scrollable(self.native, below=(self.bar,) if alone else (self.tools, self.bar))
        title = "Exposure" if self.adjustment is None else self.adjustment.title
        self.live = Live(
            napari_viewer, self.adjusted, self.bar, self.native, title, shown=self._on_shown, fitted=self._show_fit
        )
        self.work = Work(napari_viewer, self.adjusted, self.live, self.bar, self.native)
        self.amplified = Amplified(napari_viewer, self.bar.gains)
        self._fit_labels = FitLabels(self.native)
        self._keys = UndoKeys(self.native, self.tools.undo, self.tools.redo)
        # Adding a layer makes other layers active for a moment, so following waits.
        self._follow = qdebounced(self.adjusted.follow, timeout=50)
        self._seal = qdebounced(lambda: self.adjusted.stack.seal(), timeout=700)
        self._docked = Docked(self.native, self._connect, self._disconnect, self._seen)
        self._wire()
        self._show_cards()
        self.adjusted.follow()

    def _wire(self) -> None:
        header, bar, work = self.header, self.bar, self.work
        header.layer.changed.connect(lambda: self.adjusted.choose(header.layer.value))
        for box in (header.mask, header.fit):
            box.changed.connect(self.live.touch)
        self.adjusted.turned.connect(self._on_turned)
        self.adjusted.changed.connect(self._on_stack)
        work.changed.connect(self._compare)
        work.applied.connect(self._on_applied)
        work.suggested.connect(self._explain)
        bar.live.toggled.connect(self._on_live)
        bar.save.clicked.connect(work.choose_file)
        bar.apply.clicked.connect(lambda: self.apply())
        bar.anew.clicked.connect(lambda: self.apply(anew=True))
        bar.cancel.clicked.connect(self.cancel)

    def __getitem__(self, key):
        # A name gives the editor of that parameter in the first card.
        return self.cards.views[0].editors[key] if isinstance(key, str) else super().__getitem__(key)

    def reset_choices(self, *_) -> None:
        """napari's hook: layers have come or gone."""
        self.header.reset_choices()
        for edit in self._references(self.cards.views):
            edit.reset_choices()
        for view in self.cards.views:
            for extra in view.extras:
                if isinstance(extra, Reference):
                    extra.list_layers()
        # The names of layers have the room that they need.
        self._fit_labels.again()

    # --- in the window ---

    def _connect(self) -> None:
        layers = self._viewer.layers
        self.live.start()
        self._of_viewer.add(self._follow, layers.selection.events.active, layers.selection.events.changed)
        self._of_viewer.add(self._on_removed, layers.events.removed)
        self._of_viewer.add(*on_renamed(layers, self.reset_choices))
        for view in self.cards.views:
            self._start(view)
        self.reset_choices()
        self._watch()

    def _seen(self, seen: bool) -> None:
        self._describe()
        self.live.show()
        self.live.tell_others(self.adjusted.layers)

    def _disconnect(self) -> None:
        self.live.stop()
        self.adjusted.let_go()
        self._of_viewer.drop()
        self._of_layer.drop()
        for waiting in (self._follow, self._seal):
            waiting.cancel()
        self.cancel()
        for view in self.cards.views:
            self._stop(view)
        # The buttons are not touched, because Qt may have deleted them where a window closes.
        self.bar.stop_comparing()
        self.amplified.remove()

    def _start(self, view: CardView) -> None:
        for extra in view.extras:
            extra.start()
        for edit in self._references([view]):
            edit.refresh()

    def _stop(self, view: CardView) -> None:
        for extra in view.extras:
            extra.stop()
        for edit in self._references([view]):
            edit.stop()

    # --- which layers ---

    @property
    def layer(self):
        """The layer whose cards are shown."""
        return self.adjusted.layer

    @property
    def mask(self):
        """The labels inside which intensities are measured."""
        return self.adjusted.mask

    @property
    def target(self):
        """The result that Update computes anew, if it is still there."""
        return self.adjusted.target(self.layer)

    def _on_turned(self, before) -> None:
        """Other layers are adjusted, or the cards of another one are shown."""
        layers = self.adjusted.layers
        if self.layer != before:
            self._forget_fit()
            with QSignalBlocker(self.bar.live):
                self.bar.live.setChecked(self._wanted and bool(layers) and all(map(is_quick, layers)))
        for edit in self._references(self.cards.views):
            edit.reset_choices()
        self._show_cards()
        self._watch()
        self._follow_plot()
        self.live.tell_others([before, *layers])

    def _watch(self) -> None:
        """Follow the voxel sizes and data of the layers, and show what they are now."""
        self._of_layer.drop()
        if not self.live.started:
            return
        for layer in self.adjusted.layers:
            get_ready(layer)
            self._of_layer.add(self._on_place, layer.events.scale, layer.events.units, layer.events.axis_labels)
            self._of_layer.add(self._on_data, layer.events.data)
        self._describe()
        self._compare()
        # napari may be deleting several layers and must find each of them, so the live layer goes a moment later.
        self.live.show.soon()

    def _on_place(self, event=None) -> None:
        """Sizes may be in another unit now, and axes have other names."""
        self._show_cards()
        self._describe()

    def _on_data(self, event=None) -> None:
        self.adjusted.forget_applied()
        self._describe()
        self.live.show()

    def _on_removed(self, event) -> None:
        self.work.removed(event.value)
        self.amplified.removed(event.value)
        if event.value in self.adjusted.layers:
            self._follow()
        self.adjusted.removed(event.value)
        self._follow_plot()
        self._compare()

    # --- the cards ---

    def _suited(self, card: Card) -> Card:
        """A card with what the layer has, where it has not what the card says."""
        try:
            return card if self.layer is None else suited(card, Source.of(self.layer))
        except (TypeError, ValueError):
            return card

    def _make_view(self, card: Card) -> CardView:
        stack, unit = (lambda: self.adjusted.stack), (lambda: self._unit())
        view = CardView(self._viewer, card, stack, unit, self._limits, alone=self.adjustment is not None)
        view.grown.connect(self._arrange)
        view.advanced.toggled.connect(lambda on: self._area.reveal(view, view.body) if on else None)
        view.head.dragged.connect(lambda y: self.adjusted.stack.move(view.key, self.cards.place_at(view, y)))
        view.head.dropped.connect(lambda: self.adjusted.stack.seal())
        others = lambda: [each for each in self.header.images() if each != self.layer]  # noqa: E731
        for extra in view.extras:
            if isinstance(extra, Reference):
                extra.others, extra.chosen, extra.choose = others, lambda: self.adjusted.reference, self._refer
        for edit in self._references([view]):
            edit.follow(self._viewer, others, lambda: {each: view.card.values[each] for each in HOW})
        return view

    def _refer(self, layer) -> None:
        """Fit on another layer, or on the layer itself."""
        self.adjusted.reference = layer
        self._forget_fit()
        self.live.touch()

    def _references(self, views: list[CardView]) -> list[ReferenceEdit]:
        return [edit for view in views for edit in view.editors.values() if isinstance(edit, ReferenceEdit)]

    def _unit(self) -> str:
        return PIXEL if self.layer is None else voxel_size(self.layer)[1]

    def _limits(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.layer is None else Source.of(self.layer).contrast_limits

    def _show_cards(self) -> list[CardView]:
        """Show the cards of the layer, and return the views that are new."""
        before = self.cards.views
        new, gone = self.cards.show_cards(self.adjusted.stack.cards, self._unit())
        for view in gone:
            self._stop(view)
            view.deleteLater()
        for view in new:
            if self.live.started:
                self._start(view)
        if self.cards.views != before:
            self._arrange()
        self.tools.show_history()
        return new

    def _arrange(self) -> None:
        """Take in the widgets of cards that have come."""
        order_tabs(self.native)
        self._keys.watch(self.cards)
        self._fit_labels.again()
        self._area.keep_values()

    def _on_stack(self) -> None:
        """The cards have changed."""
        for view in self._show_cards()[:1]:
            self._area.reveal(view, view.advanced)
        for edit in self._references(self.cards.views):
            # It may be counted otherwise now.
            edit.refresh()
        if not self.bar.live.isChecked():
            # The fit that is drawn was found with other parameters.
            self._forget_fit()
        self._describe()
        self._seal()
        self.live.touch()

    def _describe(self, event=None) -> None:
        """Say what the layer is, and what the cards mean on it."""
        source, wrong = None, "" if self.layer is not None else OPEN_ONE
        try:
            source = None if self.layer is None else Source.of(self.layer)
            self.header.describe(source)
        except (TypeError, ValueError) as error:
            wrong = str(error)
        problems: dict[CardView, str] = {}
        made: dict[CardView, core.Adjustment] = {}
        for view, card in zip(self.cards.views, self.adjusted.stack.cards, strict=True):
            try:
                adjustment = view.describe(card, source)
            except (TypeError, ValueError) as error:
                problems |= {view: str(error)} if card.on else {}
            else:
                made |= {view: adjustment} if card.on else {}
        if source is not None and made and not problems:
            problems = _misfit(source, made)
        for view in self.cards.views:
            view.warn(view, [problems[view]] if view in problems else [])
        wrong = wrong or next(iter(problems.values()), "")
        if wrong or self._wrong:
            self.live.say(wrong)
        self._wrong = wrong
        self._tell_target()

    def _tell_target(self) -> None:
        target, there = self.target, not self.running and self.layer is not None
        self.bar.show_target(None if target is None else target.name)
        cards = any(card.on for card in self.adjusted.stack.cards)
        self.bar.apply.setEnabled(there and cards)
        self.bar.anew.setEnabled(there and cards and target is not None)
        self.bar.save.setEnabled(not self.running and self.work.seen() is not None)

    def _open_recipe(self, recipe: Recipe) -> None:
        self.adjusted.stack.put([Card.of(step, recipe.unit) for step in recipe.steps])

    def _explain(self, reasons) -> None:
        for view, reason in zip(self.cards.views, reasons, strict=True):
            view.explain(f"Suggested, because {reason}.")

    # --- what is shown ---

    def _on_live(self, on: bool) -> None:
        self._wanted = on
        if on and self.target is None:
            self.adjusted.forget_applied()
        self.live.touch()

    def _on_shown(self) -> None:
        # A dock that leaves its window may have no widgets any more.
        if self.live.started:
            self._compare()
            self._follow_plot()

    def _follow_plot(self) -> None:
        """Show the histogram of the live layer, or of the result, else of the source."""
        self.plot.follow(self.live.layer or self.target or self.layer, self.layer is not None and is_quick(self.layer))

    def _show_fit(self, layer, transform) -> str:
        """Show on the cards what was found in a layer, and return what they warn of."""
        on = [view for view, card in zip(self.cards.views, self.adjusted.stack.cards, strict=True) if card.on]
        for at, (view, each) in enumerate(zip(on, transform.transforms, strict=False)):
            view.before, view.mask = transform.transforms[:at], self.adjusted.mask_of(layer)
            view.reference = self.adjusted.reference
            for extra in view.extras:
                if each.adjustment.__class__ is view.kind:
                    extra.fitted(layer, each)
        self.amplified.show(self.live.layer or self.target)
        # The first sentence of each is enough here, because the cards have the whole of it.
        warned = [(view.kind.title, each.split(". ")[0].rstrip(".")) for view in on for each in view.warnings]
        return " ".join(f"{title}: {each}." for title, each in warned)

    def _forget_fit(self) -> None:
        for view in self.cards.views:
            for extra in view.extras:
                extra.fitted(None, None)

    def _on_applied(self, layer, transform) -> None:
        if layer == self.layer:
            self._follow_plot()
            self._show_fit(layer, transform)

    def _compare(self) -> None:
        """Show source and result as the menu says, if there are two."""
        result = (self.live.layer or self.target) if self.live.started else None
        result = result if result in self._viewer.layers else None
        self.bar.show_compared(self.layer, result)
        self.amplified.show(result)
        self._tell_target()

    # --- what the buttons do ---

    @property
    def up_to_date(self) -> bool:
        """Whether what is seen, also in the histogram, is what the cards say."""
        under_way = self.running or self.live.running or self.plot.histogram.counter.running
        return not under_way and self.bar.state.said().startswith(UP_TO_DATE)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self.work.running

    def add_card(self, kind: type[core.Adjustment]) -> None:
        """Add a card of an adjustment, as it was applied last."""
        self.tools.add_card(kind)

    def apply(self, anew: bool = False) -> None:
        """What the button Apply does; `anew` is what *Apply as new* does."""
        self.adjusted.follow()
        self.work.apply(anew)

    def _apply_recipe(self, recipe: Recipe, name: str) -> None:
        self.adjusted.follow()
        self.work.apply_recipe(recipe, name)

    def suggest(self) -> None:
        """What the button Suggest does."""
        self.adjusted.follow()
        self.work.suggest()

    def save(self, path) -> None:
        """Write what is seen to `path`, which may be replaced; Cancel leaves nothing behind."""
        self.work.save(path)

    def cancel(self) -> None:
        """What the button Cancel does."""
        self.work.cancel()


def _misfit(source: Source, made: dict[CardView, core.Adjustment]) -> dict[CardView, str]:
    """The first card that does not fit a layer, with the reason; none if all fit."""
    steps = tuple(made.values())

    def wrong(stop: int) -> str:
        try:
            source.check(Recipe(steps[:stop]))
        except (TypeError, ValueError) as error:
            return str(error)
        return ""

    # All are checked at once first, because this is done for each position of a slider, and they nearly always fit.
    if not wrong(len(steps)):
        return {}
    return next({view: said} for stop, view in enumerate(made, 1) if (said := wrong(stop)))


def _only(adjustment: type[core.Adjustment]) -> type[ExposureDock]:
    """The dock of Layers > Filter > Exposure that has one card of this adjustment."""
    return type(f"{adjustment.__name__}Dock", (ExposureDock,), {"adjustment": adjustment, "__module__": __name__})


GammaDock = _only(core.Gamma)
PercentileClipDock = _only(core.PercentileClip)
HistogramEqualizationDock = _only(core.HistogramEqualization)
HistogramMatchingDock = _only(core.HistogramMatching)
AdaptiveEqualizationDock = _only(core.AdaptiveEqualization)
DecayCorrectionDock = _only(core.DecayCorrection)
DecayDock = _only(core.Decay)

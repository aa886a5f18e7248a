"""The Exposure dock, and the docks that have one adjustment of it."""

from __future__ import annotations

import itertools
import json
import weakref
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import napari.layers
from magicgui import widgets
from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QObject, QSignalBlocker
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QApplication, QFileDialog, QInputDialog, QMenu, QPushButton, QWidget
from superqt import QFlowLayout
from superqt.utils import qdebounced

from napari_exposure import core
from napari_exposure.core.adjustment import adjustments
from napari_exposure.gui.apply import apply_job
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.docked import Docked
from napari_exposure.gui.exposure.bar import WAYS, Bar
from napari_exposure.gui.exposure.cards import CardList, CardView, FitLabels
from napari_exposure.gui.exposure.header import TOGETHER, Header
from napari_exposure.gui.exposure.model import Card, Stack
from napari_exposure.gui.exposure.plot import Plot
from napari_exposure.gui.exposure.recipes import RecipeButton, telling
from napari_exposure.gui.exposure.remembered import own_presets, presets, remember, remembered, save_preset
from napari_exposure.gui.jobs import ActivityJob, Job
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.preview import Preview, PreviewData, is_preview, is_quick
from napari_exposure.gui.reference import ReferenceEdit
from napari_exposure.gui.scrolled import make_scrollable
from napari_exposure.gui.stack import family
from napari_exposure.provenance import LIVE_SUFFIX, METADATA_KEY, parts_of
from napari_exposure.recipe import Recipe
from napari_exposure.saving import save
from napari_exposure.source import Origin, Source, in_memory, made_from, result_bytes, unwrapped
from napari_exposure.suggesting import suggest
from napari_exposure.voxels import PIXEL

# the order of the menu Add
GROUPS = ("Correct", "Range and curve", "Local contrast", "Like another image", "Teaching")
OPEN_ONE = "Open an image, or choose File > Open Sample > napari-exposure."

_touches = itertools.count(1)
_docks: weakref.WeakSet[ExposureDock] = weakref.WeakSet()


@dataclass(eq=False)
class Edited:
    """What a dock knows of a layer: the cards, and what was kept of them.

    Attributes
    ----------
    stack : Stack
    target : weakref.ref or None
        The result that Update computes anew.
    applied : tuple or None
        The recipe and the mask of what was applied last: nothing else is to be seen as long as the cards say the same.
    """

    stack: Stack
    target: weakref.ref | None = None
    applied: tuple | None = None


@dataclass(frozen=True)
class Note:
    """What a result would be called, and what would be noted of it."""

    name: str
    metadata: dict


class ExposureDock(widgets.Container):
    """Layers > Filter > Exposure > Exposure: a stack of adjustments of a layer, and one live layer.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Or its public proxy, as napari passes it.
    """

    # the only card, where that is fixed
    adjustment: type[core.Adjustment] | None = None

    def __init__(self, napari_viewer):
        super().__init__(labels=False)
        self._viewer = napari_viewer
        self._job: Job | None = None
        self._closed = True
        # what was said last of what does not fit
        self._wrong = ""
        self._touched = next(_touches)
        # whether the user wants the live layer to come by itself: not after it was switched off
        self._wanted = True
        # the layers that are selected, as they were followed last, and those that are adjusted, the first of them shown
        self._followed: list = []
        self._layers: list = []
        # a job and saving go on with the layer that they began with
        self._input: list = []
        self._fixed = None if self.adjustment is None else Stack([self._new(self.adjustment)])
        # under the layer that is adjusted, and under the result that can be computed anew
        self._known: weakref.WeakKeyDictionary[napari.layers.Image, Edited] = weakref.WeakKeyDictionary()
        self._made: weakref.WeakKeyDictionary[napari.layers.Image, Edited] = weakref.WeakKeyDictionary()
        self._edited = Edited(self._fixed or Stack())
        self._of_viewer, self._of_layer = Connections(), Connections()
        self._compared: dict = {}
        self._build()
        self._preview = Preview(
            napari_viewer,
            said=self._say,
            edited=lambda: self._show(),
            gone=lambda: self.bar.live.setChecked(False),
            shown=self._on_shown,
            fitted=self._show_fit,
            parent=self.native,
        )
        self._show = Paced(self._show_live, self.native)
        # adding a layer makes others active for a moment
        self._follow = qdebounced(self._follow_active, timeout=50)
        self._seal = qdebounced(lambda: self._edited.stack.seal(), timeout=700)
        self._docked = Docked(self.native, self._connect, self._disconnect, self._seen)
        self._edited.stack.changed.connect(self._on_stack)
        self._show_cards()
        self._follow_active()

    def _build(self) -> None:
        self.header = Header(self._viewer, picked=self._pick)
        self.plot = Plot(self._viewer)
        self.cards = CardList(self._make_view)
        alone = self.adjustment is not None
        self.recipe = RecipeButton(self._noted, None if alone else self._open_recipe, self._apply_recipe)
        self.bar = Bar(self.recipe, compared=self._compare)
        self.tools = QWidget()
        flow = QFlowLayout(self.tools)
        flow.setContentsMargins(0, 0, 0, 0)
        flow.setHorizontalSpacing(4)
        self.add_menu, self.preset_menu = QMenu(self.native), QMenu(self.native)
        self.add_menu.aboutToShow.connect(self._list_adjustments)
        self.preset_menu.aboutToShow.connect(self._list_presets)
        self.undo = self._tool("↶", "Undo the last change of the cards (Ctrl+Z).", lambda: self._edited.stack.undo())
        self.redo = self._tool("↷", "Redo it (Ctrl+Shift+Z).", lambda: self._edited.stack.redo())
        self.add = self._tool("+ Add", "Add an adjustment below the others.", menu=self.add_menu)
        self.presets = self._tool("Presets", "Cards for a purpose; copy cards to another layer.", menu=self.preset_menu)
        self.propose = self._tool(
            "Suggest", "Look at a sample of the layer, and propose cards; each says why.", self.suggest
        )
        for button in (self.add, self.presets, self.propose, self.undo, self.redo):
            flow.addWidget(button)
            button.setVisible(button in (self.undo, self.redo) or not alone)
        layout = self.native.layout()
        layout.setSpacing(4)
        for widget in (self.header, self.plot, self.cards, self.tools):
            layout.addWidget(widget)
        make_scrollable(self.native, below=self.bar)
        self._fit_labels = FitLabels(self.native, self.cards)
        self._keys = _UndoKeys(self.native, self.undo, self.redo)
        self.header.layer.changed.connect(lambda: self._choose(self.header.layer.value))
        self.header.mask.changed.connect(self._touch)
        self.bar.live.toggled.connect(self._on_live)
        self.bar.save.clicked.connect(self._choose_file)
        self.bar.apply.clicked.connect(lambda: self.apply())
        self.bar.anew.clicked.connect(lambda: self.apply(anew=True))
        self.bar.cancel.clicked.connect(self.cancel)

    def _tool(self, text: str, tooltip: str, do=None, menu: QMenu | None = None) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tooltip)
        if menu is not None:
            button.setMenu(menu)
        else:
            button.clicked.connect(do)
        return button

    def __getitem__(self, key):
        # the editor of a parameter of the first card, by its name
        return self.cards.views[0].editors[key] if isinstance(key, str) else super().__getitem__(key)

    def reset_choices(self, *_) -> None:
        """napari's hook: layers have come or gone."""
        self.header.reset_choices()
        for edit in self._references():
            edit.reset_choices()

    # --- in the window ---

    def _connect(self) -> None:
        layers = self._viewer.layers
        self._closed = False
        _docks.add(self)
        self._touched = next(_touches)
        self._of_viewer.add(self._follow, layers.selection.events.active, layers.selection.events.changed)
        self._of_viewer.add(self._on_removed, layers.events.removed)
        for view in self.cards.views:
            self._start(view)
        self.reset_choices()
        self._watch()

    def _seen(self, seen: bool) -> None:
        self._describe()
        self._show()
        self._show_rivals(self.layer)

    def _disconnect(self) -> None:
        self._closed = True
        _docks.discard(self)
        self._show_rivals(self.layer)
        self._layers = []
        self._of_viewer.drop()
        self._of_layer.drop()
        for waiting in (self._follow, self._seal, self._show):
            waiting.cancel()
        self.cancel()
        for view in self.cards.views:
            self._stop(view)
        self._preview.remove()
        self._compare()

    def _start(self, view: CardView) -> None:
        for extra in view.extras:
            extra.start()
        for edit in self._references(view):
            edit.refresh()

    def _stop(self, view: CardView) -> None:
        for extra in view.extras:
            extra.stop()
        for edit in self._references(view):
            edit.stop()

    # --- which layer ---

    @property
    def layer(self) -> napari.layers.Image | None:
        """The layer that is adjusted and shown."""
        return self._layers[0] if self._layers else None

    @property
    def mask(self) -> napari.layers.Labels | None:
        """The labels inside which intensities are measured."""
        return self.header.mask.value

    @property
    def target(self) -> napari.layers.Image | None:
        """The result that Update computes anew, if it is still there."""
        target: Any = self._edited.target and self._edited.target()
        return target if target in self._viewer.layers else None

    def _follow_active(self) -> None:
        """Turn to what is selected."""
        selection = self._viewer.layers.selection
        chosen = [layer for layer in self._viewer.layers if layer in selection]
        if self.layer is None or self.layer not in self._viewer.layers:
            self._choose(self.header.layer.value)
        if chosen == self._followed:
            # What the user has chosen in the box stays until another layer is selected.
            return
        self._followed = chosen
        images = [layer for layer in chosen if isinstance(layer, napari.layers.Image)]
        # The one whose cards are shown stays the first of several.
        first = self.layer if self.layer in images else selection.active
        images.sort(key=lambda layer: layer != first)
        # The live layer stands for its source.
        sources = [Origin.of(layer).source() if is_preview(layer) else layer for layer in images]
        sources = list(dict.fromkeys(unwrapped(layer) for layer in sources if layer in self._viewer.layers))
        if len(sources) > 1:
            self._turn(sources)
        elif sources and sources[0] != self.layer and not self._edit_again(sources[0]):
            if self._fixed is None or sources[0] not in family(self._viewer, self.layer):
                # A result is looked at and compared when it is selected, and not adjusted once more unless the user
                # chooses it in the box.
                self._turn(sources)
        elif sources and len(self._layers) > 1:
            self._turn(sources)

    def _edit_again(self, result) -> bool:
        """Show the cards that made a result, and its source; False where that is not known."""
        if is_preview(result) or (found := made_from(result, self._viewer.layers)) is None:
            return False
        source, before = found
        if self._made.get(unwrapped(result)) is None:
            try:
                parts = list(parts_of(result))[before:]
            except (TypeError, ValueError) as error:
                show_error(f"“{result.name}”: {error}")
                return False
            cards = [Card.of(adjustment, unit) for adjustment, unit, *_ in parts]
            if self._fixed is not None and [card.kind for card in cards] != [self.adjustment]:
                return False
            stack = Stack(cards)
            if self._fixed is not None:
                stack = self._fixed
                stack.put([replace(cards[0], key=stack.cards[0].key)])
            self._made[unwrapped(result)] = Edited(stack, weakref.ref(unwrapped(result)))
            labels = [layer for layer in self.header.mask.choices if layer is not None]
            mask = next((layer for layer in labels if layer.name == parts[0][2]), None)
            with self.header.mask.changed.blocked():
                self.header.mask.value = mask
        self._turn([source], self._made[unwrapped(result)])
        if self._edited.applied is None:
            with telling():
                self._edited.applied = self._recipe(Source.of(source)), self.mask
        return True

    def _pick(self, layer) -> None:
        """Show the live layer of another one of the selected layers."""
        stack = self._edited.stack
        rest = [each for each in self._layers if each != layer]
        self._known.setdefault(unwrapped(layer), Edited(self._fixed or Stack())).stack = stack
        self._turn([layer, *rest])

    def _choose(self, layer) -> None:
        """Turn to a layer that was chosen in the box."""
        if layer != self.layer:
            self._turn([] if layer is None else [layer])

    def _turn(self, layers: list, edited: Edited | None = None) -> None:
        """Show the cards of a layer, and adjust it."""
        before, self._layers = self.layer, list(layers)
        layer = self.layer
        if edited is None:
            new = Edited(self._fixed or Stack())
            edited = new if layer is None else self._known.setdefault(unwrapped(layer), new)
        with self.header.layer.changed.blocked():
            if layer is not None and layer not in self.header.layer.choices:
                self.header.layer.reset_choices()
            if layer in self.header.layer.choices:
                self.header.layer.value = layer
        self.header.show_layers(self._layers)
        if edited is not self._edited:
            self._edited.stack.seal()
            self._edited.stack.changed.disconnect(self._on_stack)
            self._edited = edited
            edited.stack.changed.connect(self._on_stack)
        if layer != before:
            for view in self.cards.views:
                for extra in view.extras:
                    extra.fitted(None, None)
            quick = layer is not None and is_quick(layer)
            with QSignalBlocker(self.bar.live):
                self.bar.live.setChecked(self._wanted and quick)
        for edit in self._references():
            edit.reset_choices()
        self._show_cards()
        self._watch()
        self._follow_plot()
        self._show_rivals(before, layer)

    def _watch(self) -> None:
        """Hear when voxel size or data of the layer change, and show what is true now."""
        self._of_layer.drop()
        if self._closed:
            return
        if self.layer is not None:
            events = self.layer.events
            self._of_layer.add(self._describe, events.scale, events.units)
            self._of_layer.add(self._on_data, events.data)
        self._describe()
        self._compare()
        # Where napari deletes several layers, it must find each of them itself, the live one as well.
        self._show.soon()

    def _on_data(self) -> None:
        # what was kept is not what the cards make of the layer now
        self._edited.applied = None
        self._describe()
        self._show()

    def _on_removed(self, event) -> None:
        if event.value in self._followed:
            self._followed = []
        if self._job is not None and event.value in self._input:
            self._job.cancel()
        if event.value in self._layers:
            if len(self._layers) > 1:
                self._turn([layer for layer in self._layers if layer != event.value])
            self._follow()
        self._follow_plot()
        self._compare()
        self._tell_target()

    # --- the cards ---

    def _new(self, kind: type[core.Adjustment]) -> Card:
        """A card as it was applied last."""
        try:
            return remembered(kind)
        except ValueError as error:
            show_error(str(error))
            return Card.new(kind)

    def _make_view(self, card: Card) -> CardView:
        stack, unit = (lambda: self._edited.stack), (lambda: self._unit())
        view = CardView(self._viewer, card.kind, card.key, stack, unit, alone=self.adjustment is not None)
        view.editors["in_range"].limits = self._limits
        view.head.dragged.connect(lambda y: self._edited.stack.move(view.key, self.cards.place_at(view, y)))
        view.head.dropped.connect(lambda: self._edited.stack.seal())
        how = {name: view.editors[name] for name in ("nbins", "ignore_zeros") if name in view.editors}
        for edit in self._references(view):
            others = lambda: [each for each in self.header.images() if each != self.layer]  # noqa: E731
            edit.follow(self._viewer, others, lambda: {name: widget.value for name, widget in how.items()})
            for widget in how.values():
                widget.changed.connect(edit.refresh)
        return view

    def _references(self, view: CardView | None = None) -> list[ReferenceEdit]:
        views = self.cards.views if view is None else [view]
        return [edit for view in views for edit in view.editors.values() if isinstance(edit, ReferenceEdit)]

    def _unit(self) -> str:
        return PIXEL if self._source() is None else self._source().unit

    def _limits(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.layer is None else Source.of(self.layer).contrast_limits

    def _source(self) -> Source | None:
        """What is read of the layer; None without one, or where it cannot be adjusted."""
        try:
            return None if self.layer is None else Source.of(self.layer)
        except (TypeError, ValueError):
            return None

    def _show_cards(self) -> None:
        new, gone = self.cards.show_cards(self._edited.stack.cards, self._unit())
        for view in gone:
            self._stop(view)
            view.deleteLater()
        for view in new:
            if not self._closed:
                self._start(view)
        self._keys.watch(self.cards)
        self.undo.setEnabled(self._edited.stack.can_undo)
        self.redo.setEnabled(self._edited.stack.can_redo)
        if new:
            self._fit_labels.again()

    def _on_stack(self) -> None:
        """The cards have changed."""
        self._show_cards()
        if not self.bar.live.isChecked():
            # What is drawn was found with other parameters.
            for view in self.cards.views:
                for extra in view.extras:
                    extra.fitted(None, None)
        self._describe()
        self._seal()
        self._touch()

    def _describe(self) -> None:
        """Say what the layer is, and what the cards mean on it."""
        source, wrong = None, "" if self.layer is not None else OPEN_ONE
        try:
            source = None if self.layer is None else Source.of(self.layer)
            self.header.describe(source)
        except (TypeError, ValueError) as error:
            wrong = str(error)
        for view, card in zip(self.cards.views, self._edited.stack.cards, strict=True):
            try:
                view.describe(card, source)
            except (TypeError, ValueError) as error:
                wrong = wrong or str(error)
        if wrong or self._wrong:
            self._say(wrong, "")
        self._wrong = wrong
        self._tell_target()

    def _tell_target(self) -> None:
        target, there = self.target, self._job is None and self.layer is not None
        self.bar.show_target(None if target is None else target.name)
        cards = any(card.on for card in self._edited.stack.cards)
        self.bar.apply.setEnabled(there and cards)
        self.bar.anew.setEnabled(there and cards and target is not None)
        self.bar.save.setEnabled(self._job is None and self._noted() is not None)

    def _recipe(self, source: Source) -> Recipe | None:
        """What the cards are on a layer."""
        return self._edited.stack.recipe(source.contrast_limits, source.unit)

    # --- menus ---

    def _list_adjustments(self) -> None:
        self.add_menu.clear()
        kinds = adjustments()
        for group in dict.fromkeys((*GROUPS, *(kind.group for kind in kinds))):
            if group == GROUPS[-1]:
                continue
            self._list_group(self.add_menu, group, kinds)
        # tools for teaching, apart
        self.add_menu.addSeparator()
        self._list_group(self.add_menu.addMenu(GROUPS[-1]), GROUPS[-1], kinds)

    def _list_group(self, menu: QMenu, group: str, kinds: list) -> None:
        found = [kind for kind in kinds if kind.group == group]
        if found and menu is self.add_menu:
            menu.addSection(group)
        for kind in found:
            use = kind.use or (kind.__doc__ or "").splitlines()[0].split(";")[0]
            menu.addAction(f"{kind.title}: {use}", partial(self.add_card, kind))

    def add_card(self, kind: type[core.Adjustment]) -> None:
        """Add a card of an adjustment, as it was applied last."""
        self._edited.stack.add(self._new(kind))

    def _list_presets(self) -> None:
        menu = self.preset_menu
        menu.clear()
        with telling():
            for name, cards in presets().items():
                menu.addAction(name, partial(self._edited.stack.put, cards))
            menu.addSeparator()
            there = bool(self._edited.stack.cards)
            menu.addAction("Save as preset …", self._ask_preset).setEnabled(there)
            forget = menu.addMenu("Forget preset")
            for name in own_presets():
                forget.addAction(name, partial(save_preset, name, []))
            forget.setEnabled(not forget.isEmpty())
            menu.addSeparator()
            menu.addAction("Copy cards", self.copy_cards).setEnabled(there)
            menu.addAction("Paste cards", self.paste_cards)

    def _ask_preset(self) -> None:
        name, sure = QInputDialog.getText(self.native, "Save as preset", "Name of the preset:")
        if sure and name.strip():
            with telling():
                save_preset(name.strip(), self._edited.stack.cards)

    def copy_cards(self) -> None:
        """Put the cards on the clipboard, for another layer."""
        with telling():
            QApplication.clipboard().setText(json.dumps([card.to_dict() for card in self._edited.stack.cards]))

    def paste_cards(self) -> None:
        """Have the cards on the clipboard instead of those that are there."""
        with telling():
            try:
                plain = json.loads(QApplication.clipboard().text())
                cards = [Card.from_dict(each) for each in plain] if isinstance(plain, list) else []
            except ValueError as error:
                raise ValueError(f"There are no cards on the clipboard: {error} Copy those of a layer first.") from None
            self._edited.stack.put(cards)

    def _open_recipe(self, recipe: Recipe) -> None:
        self._edited.stack.put([Card.of(step, recipe.unit) for step in recipe.steps])

    # --- the live layer ---

    def _touch(self) -> None:
        """The user turned something here: of several docks this one shows the layer."""
        self._touched = next(_touches)
        self._show()
        self._show_rivals(self.layer)

    def _show_rivals(self, *layers) -> None:
        """Let other docks of these layers look whether the live layer is theirs."""
        for dock in list(_docks):
            if dock is not self and dock.layer is not None and dock.layer in layers:
                dock._show.soon()

    def _shown_elsewhere(self) -> str | None:
        """The title of another dock that was touched later and shows this layer."""
        for dock in list(_docks):
            later = dock is not self and dock._touched > self._touched and dock.layer == self.layer
            if later and dock._wants_live():
                return "Exposure" if dock.adjustment is None else dock.adjustment.title
        return None

    def _wants_live(self) -> bool:
        """Whether there is anything that a live layer would show."""
        on = any(card.on for card in self._edited.stack.cards)
        return self.layer is not None and on and self.bar.live.isChecked() and self.native.isVisible()

    def _differs(self, recipe: Recipe | None) -> bool:
        """Whether the cards are not those that were applied last."""
        return self._edited.applied != (recipe, self.mask)

    def _on_live(self, on: bool) -> None:
        self._wanted = on
        if on:
            self._edited.applied = None if self.target is None else self._edited.applied
        self._touch()

    def _show_live(self) -> None:
        """Bring the live layer up to date, or take it away."""
        if self._job is not None:
            # Apply takes its place in a moment.
            return
        try:
            recipe = self._recipe(Source.of(self.layer)) if self._wants_live() else None
            other = None if recipe is None else self._shown_elsewhere()
            if recipe is not None and other is None and self._differs(recipe):
                self._preview.show(self.layer, recipe, self.mask)
            else:
                self._preview.remove()
                self._say_rest(other)
        except (TypeError, ValueError) as error:
            self._preview.remove()
            self._say(str(error), "")
        self._tell_target()

    def _say_rest(self, other: str | None) -> None:
        """Say why there is no live layer."""
        target, cards = self.target, self._edited.stack.cards
        if not self.native.isVisible() or self.layer is None:
            return
        if not cards:
            self._say("Add an adjustment, or choose a preset.", "")
        elif not any(card.on for card in cards):
            self._say("All cards are switched off.", "")
        elif other is not None:
            self._say(f"The dock {other} shows this layer now; turn something here to see these cards.", "")
        elif target is not None and self.bar.live.isChecked():
            self._say(f"Up to date: “{target.name}”", "Nothing has changed since it was made.")
        elif not self.bar.live.isChecked():
            self._say("The live preview is off.", "")

    def _say(self, words: str, detail: str) -> None:
        if not self._closed:
            self.bar.state.say(words, detail)

    def _on_shown(self) -> None:
        self._compare()
        self._follow_plot()

    def _follow_plot(self) -> None:
        """Show the histogram of the live layer, or of the result, else of the source."""
        self.plot.follow(
            self._preview.layer or self.target or self.layer, self.layer is not None and is_quick(self.layer)
        )

    def _show_fit(self, layer, transform) -> None:
        """Show on the cards what was found in a layer."""
        on = [view for view, card in zip(self.cards.views, self._edited.stack.cards, strict=True) if card.on]
        for view, each in zip(on, transform.transforms, strict=False):
            for extra in view.extras:
                if each.adjustment.__class__ is view.kind:
                    extra.fitted(layer, each)

    def _compare(self) -> None:
        """Show source and result as the menu says, if there are two."""
        result, source = self._preview.layer or self.target, self.layer
        there = not self._closed and result is not None and result in self._viewer.layers and source is not None
        self.bar.compare.setEnabled(there)
        # a contrast of integers says nothing about floats
        alike = there and not source.rgb and Source.of(source).array.dtype.newbyteorder("=") == result.dtype
        self.bar.linked.setEnabled(alike)
        for name, way in WAYS.items():
            if there and self.bar.way == name:
                self._compared.setdefault(name, way(self._viewer))
                self._compared[name].start(source, result, linked=alike and self.bar.linked.isChecked())
            elif name in self._compared:
                self._compared[name].stop()
        self._tell_target()

    # --- what is seen, as a file and in words ---

    def _noted(self):
        """What is looked at: a layer, or what the live layer is when it is up to date; None without a result."""
        source = self._source()
        if self._wants_live() and source is not None and self._shown_elsewhere() is None:
            try:
                recipe = self._recipe(source)
                if self._differs(recipe):
                    record = source.record(recipe.steps, self.mask)
                    name = source.name + LIVE_SUFFIX if self._preview.layer is None else self._preview.layer.name
                    return Note(name, {METADATA_KEY: record})
            except (TypeError, ValueError):
                return None
        if self.target is not None:
            return self.target
        return self.layer if self.layer is not None and METADATA_KEY in self.layer.metadata else None

    def _choose_file(self) -> None:
        result = self._noted()
        if result is None or self._job is not None:
            return
        name = f"{result.name.replace('/', '-')}.zarr"
        path, _ = QFileDialog.getSaveFileName(
            self.native, "Save result", name, "OME-Zarr (*.zarr);;OME-TIFF (*.ome.tif)"
        )
        if path:
            self.save(path)

    def save(self, path) -> None:
        """Write what is seen to `path`, which may be replaced; Cancel leaves nothing behind."""
        result = self._noted()
        if result is None or self._job is not None:
            return
        source: Any = self._source()
        recipe: Any = self._recipe(source)
        mask, memory = self.mask, self._preview.memory_of(self.layer, self.mask)

        def work():
            if not isinstance(result, Note):
                return save(result, path, overwrite=True)
            # The layer may be behind the cards, or show a sample so far: all in the worker.
            transform = source.fit(recipe, mask, memory)
            arrays = zip([source.array, *source.levels], source.at_levels(transform), strict=True)
            data = [PreviewData(*each) for each in arrays]
            layer = source.result(data if source.levels else data[0], transform, mask=mask)
            layer.name = result.name
            return save(layer, path, overwrite=True)

        def done(path, seconds):
            self._say(f"“{result.name}” saved as {path.name} in {seconds:.2g} s.", str(path))

        self._run(f"Saving {result.name}", work, done, failed=lambda error: show_error(str(error)))

    # --- the job ---

    @property
    def up_to_date(self) -> bool:
        """Whether what is seen is what the cards say."""
        return not (self.running or self._preview.running) and self.bar.state.said().startswith("Up to date")

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._job is not None

    def _run(self, title: str, work, done, **more) -> None:
        """Begin a job that is shown here."""
        step = partial(self.bar.step, title)
        self._begun(ActivityJob(title, work, done=done, ended=self._ended, step=step, **more), [])

    def _begun(self, job: Job | None, layers: list) -> None:
        self._job, self._input = job, layers
        if job is not None:
            self.bar.show_running(True)
            self._tell_target()

    def apply(self, anew: bool = False) -> None:
        """What the button Apply does: compute the result, and keep it as a layer.

        Parameters
        ----------
        anew : bool
            Make another layer, and leave the one that was made before as it is.
        """
        self._follow_active()
        if self.layer is None or self._job is not None:
            return
        edited, mask, layer = self._edited, self.mask, self.layer
        target = None if anew else self.target
        cards = edited.stack.cards
        kept = []

        def put(source, data, transform, seconds, inside):
            if source.layer() != layer:
                return None
            if target is not None and target in self._viewer.layers:
                source.put_into(target, data, transform, seconds, inside)
                kept.append(target)
                return target
            kept.append(self._preview.keep(source, data, transform, seconds, inside))
            return kept[0]

        def done(made, seconds):
            result = next((each for each in made if (origin := Origin.of(each)) and origin.source() == layer), None)
            if result is not None:
                before: Any = edited.target and edited.target()
                if before is not None and target is None:
                    # It has cards of its own from now on.
                    self._made.pop(before, None)
                edited.target, edited.applied = weakref.ref(unwrapped(result)), (recipe, mask)
                self._made[unwrapped(result)] = edited
                if self._edited is edited:
                    self._preview.remove()
                    self._show_fit(layer, Origin.of(result).transform)
            with telling():
                remember([card for card in cards if card.on])
            names = ", ".join(f"“{each.name}”" for each in made)
            self._say(f"{names} made in {seconds:.2g} s.{lazy}", "")

        try:
            source = Source.of(layer)
            recipe = self._recipe(source)
            if recipe is None:
                return
            lazy = "" if in_memory(source.array) else _lazy_note(source, recipe)
            chosen: list[tuple[Any, Any]] = [(each, self._recipe(Source.of(each))) for each in self._layers]
            job = apply_job(
                self._viewer,
                chosen,
                mask,
                self._preview.memory_of(layer, mask),
                together=self.header.fit.value == TOGETHER,
                put=put,
                done=done,
                ended=self._ended,
                step=partial(self.bar.step, "Apply"),
            )
        except (TypeError, ValueError) as error:
            # raised by what the user chose: the sentence is enough, no traceback
            show_error(str(error))
            return
        self._begun(job, list(self._layers))

    def _apply_recipe(self, recipe: Recipe, name: str) -> None:
        """Apply a recipe that is not in the cards to the selected layers."""
        self._follow_active()
        if self._job is not None:
            return
        chosen: list[tuple[Any, Any]] = []
        for layer in self._layers:
            with telling():
                source = Source.of(layer).in_unit_of(recipe)
                source.check(recipe)
                cards = Stack([Card.of(step, recipe.unit) for step in recipe.steps])
                chosen.append((layer, cards.recipe((0.0, 1.0), Source.of(layer).unit)))

        def done(made, seconds):
            self._say(f"{name}: {len(made)} made in {seconds:.2g} s.", "")

        if chosen:
            step = partial(self.bar.step, name)
            self._begun(apply_job(self._viewer, chosen, done=done, ended=self._ended, step=step), [])

    def suggest(self) -> None:
        """What the button Suggest does: put the cards that are proposed for the layer, each with its reason."""
        self._follow_active()
        layer = self.layer
        if layer is None or self._job is not None:
            return

        def done(found, seconds):
            if self.layer != layer:
                return
            if found.recipe is None:
                self._say("Nothing is suggested: the layer needs no adjustment.", str(found))
                return
            self._edited.stack.put([Card.of(step, found.recipe.unit) for step in found.recipe.steps])
            for view, reason in zip(self.cards.views, found.reasons, strict=True):
                view.explain(f"Suggested, because {reason}.")

        look = partial(suggest, layer, mask=self.mask)
        self._run(f"Looking at {layer.name}", look, done, failed=lambda error: show_error(str(error)))

    def cancel(self) -> None:
        """What the button Cancel does: stop the job; no layer is made."""
        if self._job is not None:
            self._job.cancel()

    def _ended(self) -> None:
        cancelled = self._job is not None and self._job.cancelled
        self._job, self._input = None, []
        if self._closed:
            return
        self.bar.show_running(False)
        if cancelled:
            self._say("Cancelled; nothing was made.", "")
        self._compare()
        if self._differs_now():
            self._show.soon()

    def _differs_now(self) -> bool:
        source = self._source()
        with telling():
            return source is not None and self._wants_live() and self._differs(self._recipe(source))
        return False


def _lazy_note(source: Source, recipe: Recipe) -> str:
    """What to know of a result that is computed as it is looked at."""
    size = result_bytes(source, recipe) / 2**30
    return f" It would be {size:.2g} GB in memory: planes are computed as you look at them. Save it to keep them."


class _UndoKeys(QObject):
    """Lets Ctrl+Z undo a change of the cards also where a box has the focus, which would undo what was typed."""

    def __init__(self, parent: QWidget, undo: QPushButton, redo: QPushButton):
        super().__init__(parent)
        self._buttons = {QKeySequence.StandardKey.Undo: undo, QKeySequence.StandardKey.Redo: redo}
        self.watch(parent)

    def watch(self, parent: QWidget) -> None:
        """Watch all that can have the focus."""
        for widget in (parent, *parent.findChildren(QWidget)):
            widget.installEventFilter(self)

    def eventFilter(self, watched, event) -> bool:
        """Qt's hook."""
        kind = event.type()
        if kind not in (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress):
            return False
        button = next((each for keys, each in self._buttons.items() if event.matches(keys)), None)
        if button is None:
            return False
        # accepted, it is no shortcut of the window
        event.accept()
        if kind == QEvent.Type.KeyPress:
            button.click()
        return True


class GammaDock(ExposureDock):
    """Layers > Filter > Exposure > Gamma."""

    adjustment = core.Gamma


class PercentileClipDock(ExposureDock):
    """Layers > Filter > Exposure > Percentile clipping."""

    adjustment = core.PercentileClip


class HistogramEqualizationDock(ExposureDock):
    """Layers > Filter > Exposure > Histogram equalization."""

    adjustment = core.HistogramEqualization


class HistogramMatchingDock(ExposureDock):
    """Layers > Filter > Exposure > Histogram matching."""

    adjustment = core.HistogramMatching


class AdaptiveEqualizationDock(ExposureDock):
    """Layers > Filter > Exposure > Adaptive equalization."""

    adjustment = core.AdaptiveEqualization


class DecayCorrectionDock(ExposureDock):
    """Layers > Filter > Exposure > Depth correction."""

    adjustment = core.DecayCorrection


class DecayDock(ExposureDock):
    """Layers > Filter > Exposure > Simulated decay."""

    adjustment = core.Decay

"""Which layers a dock adjusts, and the cards of each."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import napari.layers
from napari.utils.notifications import show_error
from psygnal import Signal

from napari_exposure.core.several import TOGETHER
from napari_exposure.gui.exposure.header import Header
from napari_exposure.gui.exposure.model import Card, Stack
from napari_exposure.gui.exposure.recipes import telling
from napari_exposure.gui.preview import Joined, is_preview
from napari_exposure.gui.viewer.layer_order import family
from napari_exposure.gui.words import of_docks
from napari_exposure.io.units import voxel_size
from napari_exposure.provenance import parts_of
from napari_exposure.source import Origin, Source, check_layer, made_from, unwrapped


@dataclass(eq=False)
class Edited:
    """What a dock knows of a layer: the cards, and what was kept of them.

    Attributes
    ----------
    stack : Stack
    target : weakref.ref or None
        The result that Update computes anew.
    applied : tuple or None
        The `Adjusted.state` that was applied last; as long as the state is the same, no live layer is needed.
    reference : weakref.ref or None
        The layer that is fitted in place of this one.
    """

    stack: Stack
    target: weakref.ref | None = None
    applied: tuple | None = None
    reference: weakref.ref | None = None


class Adjusted:
    """Holds the layers that are adjusted, which follow the selection, and the cards of the first.

    `turned` is emitted with the layer that was shown before, when other layers or other cards are to be shown;
    `changed` is emitted when the cards have changed.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    header : Header
        The layer, the mask and the way to fit several layers are chosen there.
    fixed : Stack, optional
        If given, every layer has these cards.
    """

    turned = Signal(object)
    changed = Signal()

    def __init__(self, viewer, header: Header, fixed: Stack | None = None):
        self._viewer, self._header, self._fixed = viewer, header, fixed
        # `follow` saw this selection last.
        self._followed: list = []
        self.layers: list = []
        # `_known` is keyed by the layer that is adjusted, `_made` by the result that Update computes anew, and `_rest`
        # by the further layers of a selection, which have the cards of the first.
        self._known: weakref.WeakKeyDictionary[napari.layers.Image, Edited] = weakref.WeakKeyDictionary()
        self._made: weakref.WeakKeyDictionary[napari.layers.Image, Edited] = weakref.WeakKeyDictionary()
        self._rest: weakref.WeakKeyDictionary[napari.layers.Image, Edited] = weakref.WeakKeyDictionary()
        self._edited = Edited(self._new_stack())
        self.stack.changed.connect(self._tell)

    def _tell(self) -> None:
        self.changed.emit()

    def _new_stack(self, cards: Iterable[Card] = ()) -> Stack:
        return self._fixed or Stack(cards)

    # --- what is adjusted ---

    @property
    def layer(self) -> napari.layers.Image | None:
        """The layer whose cards are shown."""
        return self.layers[0] if self.layers else None

    @property
    def mask(self) -> napari.layers.Labels | None:
        """The labels inside which intensities are measured."""
        return self._header.mask.value

    def mask_of(self, layer) -> napari.layers.Labels | None:
        """The mask for one of the layers; None where its shape says that it belongs to another channel or stack."""
        mask = self.mask
        return mask if mask is None or layer == self.layer or mask.data.shape == Source.of(layer).shape else None

    @property
    def fit_on(self) -> str | None:
        """The value of `fit_on` that `apply_job` takes; None where each layer has its own fit."""
        return self._header.fit_on if len(self.layers) > 1 else None

    @property
    def together(self) -> bool:
        """Whether all layers have one fit."""
        return self.fit_on is not None

    @property
    def joined(self) -> Joined | None:
        """The layers whose voxels are counted with those of the first, and how; None where it is fitted alone."""
        how = self.fit_on
        if how is not None and how in TOGETHER:
            return Joined(tuple(self.layers[1:]), how)
        return None if self.reference is None or len(self.layers) > 1 else Joined((self.reference,), None)

    @property
    def reference(self) -> napari.layers.Image | None:
        """The layer that is fitted in place of the one whose cards are shown, if there is one."""
        found: Any = self._edited.reference and self._edited.reference()
        return found if found in self._viewer.layers and found != self.layer else None

    @reference.setter
    def reference(self, layer) -> None:
        self._edited.reference = None if layer is None else weakref.ref(unwrapped(layer))

    @property
    def stack(self) -> Stack:
        """The cards."""
        return self._edited.stack

    def recipe(self, layer) -> Any:
        """The cards as a `Recipe` for a layer; None where no card is on, and an error where they do not fit it."""
        check_layer(layer)
        low, high = map(float, layer.contrast_limits)
        return self.stack.recipe((low, high), voxel_size(layer)[1])

    def state(self, layer) -> tuple:
        """Everything but the data that decides what the result of a layer is."""
        first = self.layer if self.together else layer
        joined = self.joined
        fitted = (first,) if joined is None else (first, *joined.others)
        how = joined and self.fit_on
        return self.recipe(first), self.mask, how, tuple(id(unwrapped(each)) for each in fitted)

    def edited(self, layer) -> Edited:
        """What is known of one of the layers."""
        layer = unwrapped(layer)
        if layer is unwrapped(self.layer):
            return self._edited
        found = [each for table in (self._rest, self._known) if (each := table.get(layer)) and each.stack is self.stack]
        return found[0] if found else self._rest.setdefault(layer, Edited(self.stack))

    def differs(self, layer) -> bool:
        """Whether the cards of one of the layers are not those that were applied last."""
        return self.edited(layer).applied != self.state(layer)

    def target(self, layer) -> napari.layers.Image | None:
        """The result that Update computes anew for a layer, if it is still there."""
        target: Any = layer is not None and self.edited(layer).target
        target = target and target()
        return target if target in self._viewer.layers else None

    # --- what was done ---

    def applied(self, edited: Edited, layer, result, state: tuple) -> None:
        """Note that `result` was made of `layer`, for which `edited` and `state` held when the work began."""
        before: Any = edited.target and edited.target()
        if before is not None and before is not unwrapped(result):
            # The earlier result gets cards of its own when it is selected.
            self._made.pop(before, None)
        edited.target, edited.applied = weakref.ref(unwrapped(result)), state
        if edited is self._rest.get(unwrapped(layer)):
            # Selected alone, the layer has a copy of the cards, so that no other layer changes them.
            edited = replace(edited, stack=self._new_stack(edited.stack.cards))
            self._known[unwrapped(layer)] = edited
        self._made[unwrapped(result)] = edited

    def forget_applied(self, event=None) -> None:
        """Forget what was applied, so that the live layers are shown again."""
        for layer in self.layers:
            self.edited(layer).applied = None

    # --- which layers ---

    def follow(self) -> None:
        """Turn to what is selected."""
        selection = self._viewer.layers.selection
        chosen = [layer for layer in self._viewer.layers if layer in selection]
        if self.layer is None or self.layer not in self._viewer.layers:
            self.choose(self._header.layer.value)
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
                # In a dock of one adjustment, selecting a result only compares it; choosing it in the box adjusts it.
                self._turn(sources)
        elif sources and len(self.layers) > 1:
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
                show_error(of_docks(f"“{result.name}”: {error}"))
                return False
            cards = [Card.of(adjustment, unit) for adjustment, unit, *_ in parts]
            if self._fixed is not None:
                if [card.kind for card in cards] != [card.kind for card in self._fixed.cards]:
                    return False
                self._fixed.put([replace(cards[0], key=self._fixed.cards[0].key)])
            self._made[unwrapped(result)] = Edited(self._new_stack(cards), weakref.ref(unwrapped(result)))
            self._header.choose_mask(parts[0][2])
        self._turn([source], self._made[unwrapped(result)])
        if self._edited.applied is None:
            with telling():
                self._edited.applied = self.state(source)
        return True

    def pick(self, layer) -> None:
        """Show the cards on another one of several layers."""
        self._known[unwrapped(layer)] = self.edited(layer)
        self._turn([layer, *(each for each in self.layers if each != layer)])

    def choose(self, layer) -> None:
        """Turn to a layer that was chosen in the box."""
        if layer != self.layer:
            self._turn([] if layer is None else [layer])

    def removed(self, layer) -> None:
        """A layer has gone from the viewer."""
        if layer in self._followed:
            self._followed = []
        if layer in self.layers and len(self.layers) > 1:
            self._turn([each for each in self.layers if each != layer])

    def let_go(self) -> None:
        """Adjust nothing, until something is selected."""
        self.layers, self._followed = [], []

    def _turn(self, layers: list, edited: Edited | None = None) -> None:
        """Adjust layers, with the cards of the first."""
        before, self.layers = self.layer, list(layers)
        if edited is None:
            new = Edited(self._new_stack())
            edited = new if self.layer is None else self._known.setdefault(unwrapped(self.layer), new)
        if edited.stack is not self.stack:
            self.stack.seal()
            self.stack.changed.disconnect(self._tell)
            edited.stack.changed.connect(self._tell)
        self._edited = edited
        self._header.show_layers(self.layers)
        self.turned.emit(before)

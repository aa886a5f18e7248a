"""The live layers of a dock: one for each layer that it adjusts."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable

from qtpy.QtWidgets import QWidget

from napari_exposure.gui.exposure.adjusted import Adjusted
from napari_exposure.gui.exposure.bar import Bar
from napari_exposure.gui.paced import Paced
from napari_exposure.gui.preview import Preview
from napari_exposure.gui.words import of_docks
from napari_exposure.provenance import METADATA_KEY, noted
from napari_exposure.source import made_from

UP_TO_DATE = "Up to date"

_touches = itertools.count(1)
_all: weakref.WeakSet[Live] = weakref.WeakSet()


class Live:
    """Shows what Apply would give of each layer, as long as the dock can be seen and the box *Live preview* is on.

    Of several docks that adjust a layer, the one that was touched last shows it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    adjusted : Adjusted
    bar : Bar
        It shows the state.
    dock : QWidget
    title : str
        The title of the dock, which other docks tell the user.
    shown : callable
        Called when there are other live layers.
    fitted : callable
        Called with a layer and the transform that is shown of it; returns what the cards warn of.
    """

    def __init__(
        self, viewer, adjusted: Adjusted, bar: Bar, dock: QWidget, title: str, shown: Callable, fitted: Callable
    ):
        self._viewer, self._adjusted, self._bar, self._dock = viewer, adjusted, bar, dock
        self.title, self._shown, self._fitted = title, shown, fitted
        self._touched = next(_touches)
        # The first preview is that of the layer whose cards are shown.
        self._previews: list[Preview] = [self._make()]
        self._said: weakref.WeakKeyDictionary[Preview, tuple[str, str]] = weakref.WeakKeyDictionary()
        # These layers share the fit of the first, so their previews follow its preview.
        self._followers: list = []
        # The cards warn of this.
        self._notes = ""
        # Nothing is shown while a job runs, because its result will take the place of a live layer.
        self.paused = False
        self.show = Paced(self._show, dock)

    def _make(self) -> Preview:
        preview = Preview(
            self._viewer,
            said=lambda words, detail: self._say(preview, words, detail),
            edited=lambda: self.show(),
            gone=lambda: self._bar.live.setChecked(False),
            shown=self._shown,
            fitted=self._on_fitted,
        )
        return preview

    # --- whether ---

    @property
    def started(self) -> bool:
        """Whether the dock is in a window."""
        return self in _all

    def start(self) -> None:
        """Begin to show layers, as the dock that was touched last."""
        self._touched = next(_touches)
        _all.add(self)

    def stop(self) -> None:
        """Take all live layers away."""
        _all.discard(self)
        self.tell_others(self._adjusted.layers)
        self.show.cancel()
        for preview in self._previews:
            preview.remove()

    def touch(self) -> None:
        """Let this dock show the layers, because the user has turned something in it."""
        self._touched = next(_touches)
        self.show()
        self.tell_others(self._adjusted.layers)

    def tell_others(self, layers: list) -> None:
        """Let other docks of these layers check whether they show the live layer now."""
        for other in list(_all):
            if other is not self and any(layer in layers for layer in other._adjusted.layers):
                other.show.soon()

    def _elsewhere(self, layer) -> str | None:
        """The title of another dock that was touched later and shows this layer."""
        rivals = [each for each in _all if each is not self and each._touched > self._touched]
        return next((each.title for each in rivals if layer in each._adjusted.layers and each.wanted), None)

    @property
    def wanted(self) -> bool:
        """Whether there is anything that a live layer would show."""
        on = any(card.on for card in self._adjusted.stack.cards)
        return bool(self._adjusted.layers) and on and self._bar.live.isChecked() and self._dock.isVisible()

    def _to_show(self) -> list:
        """The layers whose live layer is to be seen.

        Raises
        ------
        TypeError, ValueError
            If a layer or a parameter does not fit, with a sentence for the user.
        """
        layers = [each for each in self._adjusted.layers if self._elsewhere(each) is None] if self.wanted else []
        differ = [each for each in layers if self._adjusted.differs(each)]
        # With one fit for all, a change of one layer changes the results of all.
        return layers if differ and self._adjusted.together else differ

    def wants(self, layer) -> bool:
        """Whether a live layer of a layer is to be seen; not where the cards do not fit."""
        try:
            return layer in self._to_show()
        except (TypeError, ValueError):
            return False

    # --- what is shown ---

    def of(self, layer) -> Preview | None:
        """The preview of a layer, if there is one."""
        return next((each for each in self._previews if each.is_of(layer)), None)

    @property
    def first(self) -> Preview:
        """The preview that has the layer whose cards are shown, now or in a moment."""
        return self.of(self._adjusted.layer) or self._previews[0]

    @property
    def layer(self):
        """The live layer of the layer whose cards are shown, or None."""
        found = self.of(self._adjusted.layer)
        return None if found is None else found.layer

    @property
    def running(self) -> bool:
        """Whether anything is being computed."""
        return any(preview.running for preview in self._previews)

    def memory_of(self, layer):
        """The memory of the fits of a layer, so that Apply does not count again; None where there is none."""
        mask = self._adjusted.mask_of(layer)
        return next((found for each in self._previews if (found := each.memory_of(layer, mask)) is not None), None)

    def _show(self) -> None:
        """Bring the live layers up to date, or take them away."""
        if self.paused:
            return
        wrong = None
        try:
            layers = self._to_show()
        except (TypeError, ValueError) as error:
            layers, wrong = [], str(error)
        used = [each for each in self._previews if any(map(each.is_of, layers))]
        spare = [each for each in self._previews if each not in used]
        previews = {}
        for layer in layers:
            previews[layer] = self.of(layer) or (spare.pop(0) if spare else self._make())
        for preview in spare:
            preview.remove()
        self._previews = [*previews.values(), *spare][: max(len(layers), 1)]
        self._followers = layers[1:] if self._adjusted.together else []
        for layer in layers[: len(layers) - len(self._followers)]:
            try:
                mask = self._adjusted.mask_of(layer)
                previews[layer].show(layer, self._adjusted.recipe(layer), mask, self._adjusted.joined)
            except (TypeError, ValueError) as error:
                previews[layer].remove()
                wrong = wrong or str(error)
        if wrong is not None:
            self.say(wrong)
        elif not layers:
            self._say_rest()

    def _on_fitted(self, layer, transform) -> None:
        """Tell of a new fit, and show the layers that share it with the same transform."""
        if layer != self._adjusted.layer:
            return
        self._notes = self._fitted(layer, transform)
        for other, preview in zip(self._followers, self._previews[1:], strict=False):
            try:
                preview.follow(other, self.first)
            except (TypeError, ValueError) as error:
                preview.remove()
                self._say(preview, str(error), "")

    # --- in words ---

    def say(self, words: str, detail: str = "") -> None:
        """Tell the state, in the words of the dock."""
        if self.started:
            self._bar.state.say(of_docks(words), detail)

    def _say(self, preview: Preview, words: str, detail: str) -> None:
        """Tell how far the live layers are: what is not up to date first."""
        if words.startswith(UP_TO_DATE) and self._notes:
            words = f"{words}. {self._notes}"
        self._said[preview] = words, detail
        told = [self._said[each] for each in self._previews if each in self._said]
        self.say(*next((each for each in told if not each[0].startswith(UP_TO_DATE)), told[0]))

    def _say_rest(self) -> None:
        """Say why there is no live layer."""
        layer, cards = self._adjusted.layer, self._adjusted.stack.cards
        if not self._dock.isVisible() or layer is None:
            return
        other, target = self._elsewhere(layer), self._adjusted.target(layer)
        record = noted(layer.metadata.get(METADATA_KEY))
        if not cards and record and made_from(layer, self._viewer.layers) is None:
            self.say(
                f"This is a result, and “{record.get('source')}” is not open: open that to change its cards. Cards "
                "that you add adjust the result once more."
            )
        elif not cards:
            self.say("Add an adjustment, or choose a preset.")
        elif not any(card.on for card in cards):
            self.say("All cards are switched off.")
        elif not self._bar.live.isChecked():
            self.say("The live preview is off.")
        elif other is not None:
            self.say(f"The dock {other} shows this layer now; turn something here to see these cards.")
        elif target is not None:
            self.say(f"{UP_TO_DATE}: “{target.name}”", "Nothing has changed since it was made.")

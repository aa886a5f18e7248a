"""The row of buttons below the cards: adjustments and presets to choose from, suggestions, undo and redo."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import QApplication, QInputDialog, QLabel, QMenu, QPushButton, QWidget, QWidgetAction

from napari_exposure.core import Adjustment
from napari_exposure.core.adjustment import adjustments
from napari_exposure.gui.exposure.model import Card, Stack
from napari_exposure.gui.exposure.recipes import telling
from napari_exposure.gui.exposure.remembered import own_presets, presets, remembered, save_preset
from napari_exposure.gui.flow import Flow, make_button
from napari_exposure.gui.scrolled import EDITORS
from napari_exposure.gui.words import tell

# The menu Add lists the groups in this order.
GROUPS = ("Correct", "Range and curve", "Local contrast", "Like another image", "Teaching")


class Tools(QWidget):
    """Buttons that change the stack.

    Parameters
    ----------
    stack : callable
        Returns the stack that is shown.
    suit : callable
        Returns a card with values that the layer has, where those of a new card are not among them.
    suggest : callable
        Called when the user asks for cards.
    alone : bool
        Whether there is only one card, which stays.
    """

    def __init__(self, stack: Callable[[], Stack], suit: Callable[[Card], Card], suggest: Callable, alone: bool):
        super().__init__()
        self._stack, self._suit = stack, suit
        self.add_menu, self.preset_menu = QMenu(self), QMenu(self)
        self.add_menu.aboutToShow.connect(self._list_adjustments)
        self.preset_menu.aboutToShow.connect(self._list_presets)
        flow = Flow(parent=self)

        def button(text: str, tooltip: str, does: Callable | QMenu, there: bool = not alone) -> QPushButton:
            made = make_button(text, tooltip, does)
            flow.addWidget(made)
            made.setVisible(there)
            return made

        self.add = button("+ Add", "Add an adjustment below the others.", self.add_menu)
        self.presets = button("Presets", "Cards for a purpose; copy cards to another layer.", self.preset_menu)
        propose = "Look at a sample of the layer, and propose cards; each says why."
        self.propose = button("Suggest", propose, suggest)
        self.undo = button("↶", "Undo the last change of the cards (Ctrl+Z).", lambda: stack().undo(), there=True)
        self.redo = button("↷", "Redo it (Ctrl+Shift+Z).", lambda: stack().redo(), there=True)

    def show_history(self) -> None:
        """Enable undo and redo where there is a step for them."""
        self.undo.setEnabled(self._stack().can_undo)
        self.redo.setEnabled(self._stack().can_redo)

    # --- adjustments ---

    def _list_adjustments(self) -> None:
        self.add_menu.clear()
        kinds = adjustments()
        for group in dict.fromkeys((*GROUPS[:-1], *(kind.group for kind in kinds if kind.group != GROUPS[-1]))):
            # napari's style does not draw the text of sections, so a label is the title.
            title, label = QWidgetAction(self.add_menu), QLabel(f"<b>{group}</b>")
            label.setContentsMargins(6, 4, 6, 0)
            title.setDefaultWidget(label)
            title.setEnabled(False)
            self.add_menu.addSeparator()
            self.add_menu.addAction(title)
            self._list_group(self.add_menu, group, kinds)
        # Adjustments for teaching have a menu of their own, apart from those for work.
        self.add_menu.addSeparator()
        self._list_group(self.add_menu.addMenu(GROUPS[-1]), GROUPS[-1], kinds)

    def _list_group(self, menu: QMenu, group: str, kinds: list) -> None:
        for kind in (each for each in kinds if each.group == group):
            use = kind.use or (kind.__doc__ or "").splitlines()[0].split(";")[0]
            menu.addAction(f"{kind.title}: {use}", partial(self.add_card, kind))

    def add_card(self, kind: type[Adjustment]) -> None:
        """Add a card of an adjustment, as it was applied last."""
        self._stack().add(self._suit(new_card(kind)))

    # --- presets, and the clipboard ---

    def _list_presets(self) -> None:
        menu = self.preset_menu
        menu.clear()
        with telling():
            for name, cards in presets().items():
                menu.addAction(name, lambda cards=cards: self._stack().put(map(self._suit, cards)))
            menu.addSeparator()
            there = bool(self._stack().cards)
            menu.addAction("Save as preset …", self._ask_preset).setEnabled(there)
            forget = menu.addMenu("Forget preset")
            for name in own_presets():
                forget.addAction(name, partial(save_preset, name, []))
            forget.setEnabled(not forget.isEmpty())
            menu.addSeparator()
            menu.addAction("Copy cards", self.copy_cards).setEnabled(there)
            menu.addAction("Paste cards", self.paste_cards)

    def _ask_preset(self) -> None:
        name, sure = QInputDialog.getText(self, "Save as preset", "Name of the preset:")
        if sure and name.strip():
            with telling():
                save_preset(name.strip(), self._stack().cards)

    def copy_cards(self) -> None:
        """Put the cards on the clipboard, for another layer."""
        with telling():
            QApplication.clipboard().setText(json.dumps([card.to_dict() for card in self._stack().cards]))

    def paste_cards(self) -> None:
        """Replace the cards by those on the clipboard."""
        with telling():
            try:
                plain = json.loads(QApplication.clipboard().text())
                cards = [Card.from_dict(each) for each in plain] if isinstance(plain, list) else []
            except ValueError as error:
                raise ValueError(f"There are no cards on the clipboard: {error} Copy those of a layer first.") from None
            self._stack().put(cards)


def new_card(kind: type[Adjustment]) -> Card:
    """A card of an adjustment, as it was applied last; an error is shown where that cannot be read."""
    try:
        return remembered(kind)
    except ValueError as error:
        tell(error)
        return Card.new(kind)


class UndoKeys(QObject):
    """Lets Ctrl+Z undo a change of the cards even where the box with the focus would undo what was typed."""

    def __init__(self, parent: QWidget, undo: QPushButton, redo: QPushButton):
        super().__init__(parent)
        self._buttons = {QKeySequence.StandardKey.Undo: undo, QKeySequence.StandardKey.Redo: redo}
        self.watch(parent)

    def watch(self, parent: QWidget) -> None:
        """Watch a widget, which gets the keys that those in it leave, and the editors in it, which leave none."""
        parent.installEventFilter(self)
        for kind in EDITORS:
            for editor in parent.findChildren(kind):
                editor.installEventFilter(self)

    def eventFilter(self, watched, event) -> bool:
        kind = event.type()
        # PyQt may take an event for an older one at the same address that others still hold, such as a mouse event.
        if kind not in (QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress) or not isinstance(event, QKeyEvent):
            return False
        button = next((each for keys, each in self._buttons.items() if event.matches(keys)), None)
        if button is None:
            return False
        # An event that is accepted does not reach the shortcuts of the window.
        event.accept()
        if kind == QEvent.Type.KeyPress:
            button.click()
        return True

"""The cards of the Exposure dock: each shows one card of a `Stack`, and tells the stack what the user does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from contextlib import suppress

from magicgui.widgets import CheckBox
from napari.layers import Image, Labels
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_exposure.core import Adjustment
from napari_exposure.core.transform import Transform
from napari_exposure.core.words import as_tooltip
from napari_exposure.gui.editors import WARNING, Choice, InRangeEdit, editor, text, warn
from napari_exposure.gui.exposure.extras import extras_of
from napari_exposure.gui.exposure.model import Card, Stack
from napari_exposure.gui.exposure.offers import offers, suited
from napari_exposure.gui.exposure.rows import Elided, Form, Label, Sign
from napari_exposure.gui.flow import Fold, keep_place
from napari_exposure.gui.numbers import NoiseLimitEdit
from napari_exposure.gui.words import of_docks
from napari_exposure.source import Source

# A press becomes a drag when the mouse has moved this many pixels.
DRAGGED = 8

NARROW = "padding: 0px; margin: 0px; border: none; min-width: 0px"


class _Head(QWidget):
    """The line of a card that is clicked to fold it, dragged to move it, and has the keys for both."""

    clicked = Signal()
    dragged = Signal(int)
    dropped = Signal()

    def __init__(self, tooltip: str, press: Callable):
        super().__init__()
        self._press = press
        self._pressed: int | None = None
        self._moving = False
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setToolTip(tooltip)

    def mousePressEvent(self, event) -> None:
        self._pressed, self._moving = event.position().toPoint().y(), False

    def mouseMoveEvent(self, event) -> None:
        y = event.position().toPoint().y()
        if self._pressed is not None and (self._moving or abs(y - self._pressed) > DRAGGED):
            self._moving = True
            self.setCursor(Qt.CursorShape.ClosedHandCursor)
            self.dragged.emit(y)

    def mouseReleaseEvent(self, event) -> None:
        moved, self._pressed = self._moving, None
        self.unsetCursor()
        (self.dropped if moved else self.clicked).emit()

    def keyPressEvent(self, event) -> None:
        if not self._press(event):
            super().keyPressEvent(event)


class CardView(QFrame):
    """One card.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    card : Card
    stack : callable
        Returns the stack that is shown.
    unit, limits : callable
        Return the unit and the contrast limits of the layer that is shown.
    alone : bool
        Whether it is the only card, which cannot be moved or removed.

    Attributes
    ----------
    editors : Editors
        The editors by parameter.
    grown : Signal
        Emitted when the editors under *Advanced* have been made.
    """

    grown = Signal()

    def __init__(
        self,
        viewer,
        card: Card,
        stack: Callable[[], Stack],
        unit: Callable[[], str],
        limits: Callable[[], tuple[float, float]],
        alone: bool,
    ):
        super().__init__()
        self.card, self.kind, self.key = card, card.kind, card.key
        self._stack, self._unit, self._limits = stack, unit, limits
        self._source: Source | None = None
        self.folded = False
        self._warned: dict[object, list[str]] = {}
        # The last fit had these transforms of the cards before this one, this mask, and this reference layer.
        self.before: tuple[Transform, ...] = ()
        self.mask: Labels | None = None
        self.reference: Image | None = None
        self.setFrameShape(QFrame.Shape.StyledPanel)
        # A number has room at every font size.
        self.setStyleSheet("QAbstractSpinBox { min-width: 5.8em }")
        self._main = {field.name for field in self.kind.main_fields()}
        self._rows: dict[str, tuple[Form, Label]] = {}
        self.editors = Editors(self._make_rest)
        self.rest: QWidget | None = None
        self._build(viewer, alone)

    def explain(self, reason: str) -> None:
        """Say in the tooltip of the title why the card is there."""
        self.title.setToolTip(as_tooltip(reason))

    def _build(self, viewer, alone: bool) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(2)
        keys = "" if alone else " Drag it, or press Ctrl+Up and Ctrl+Down, to move the card; Delete removes it."
        self.head = _Head(f"Click, or press Space, to fold the card.{keys}", self._press)
        row = QHBoxLayout(self.head)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.switch = QCheckBox(toolTip="Whether this adjustment takes part.", styleSheet="spacing: 0px")
        self.switch.setAccessibleName(f"{self.kind.title} on")
        self.arrow = QLabel("▾")
        self.title = QLabel(f"<b>{self.kind.title}</b>", wordWrap=True)
        self.alert = Sign("⚠")
        self.alert.setCheckable(True)
        self.alert.setAccessibleName(f"Warnings of {self.kind.title}")
        self.alert.setStyleSheet(f"color: {WARNING}; {NARROW}")
        keep_place(self.alert)
        self.notes = text().native
        self.alert.toggled.connect(self._show_notes)
        self.menu = Sign("⋮")
        self.menu.setToolTip("What can be done with this card.")
        self.menu.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu.setMenu(QMenu(self.menu))
        self.menu.setStyleSheet(f"QToolButton {{ {NARROW} }} QToolButton::menu-indicator {{ image: none }}")
        for words, do, keep in (
            ("Defaults", self.reset, True),
            ("Duplicate", lambda: self._stack().duplicate(self.key), False),
            ("Move up", lambda: self.move_by(-1), False),
            ("Move down", lambda: self.move_by(1), False),
            ("Remove", lambda: self._stack().remove(self.key), False),
        ):
            if keep or not alone:
                self.menu.menu().addAction(words, do)
        for widget in (self.arrow, self.switch, self.title):
            row.addWidget(widget, widget is self.title)
        # Outside of a row it would be shown as a window.
        self.switch.setVisible(not alone)
        row.addWidget(self.alert)
        row.addWidget(self.menu)
        layout.addWidget(self.head)
        layout.addWidget(self.notes)
        self.summary = Elided()
        self.summary.hide()
        layout.addWidget(self.summary)
        self.body = QWidget()
        body = QVBoxLayout(self.body)
        body.setContentsMargins(0, 0, 0, 2)
        form = Form()
        self._add_rows(form, self._main)
        self.extras = [extra(viewer, self.editors, self) for extra in extras_of(self.kind)]
        body.addLayout(form)
        for extra in self.extras:
            if extra.widget is not None:
                body.addWidget(extra.widget)
        self.advanced = Fold("Advanced", "Show or hide the other parameters.", self._show_advanced)
        body.addWidget(self.advanced)
        layout.addWidget(self.body)
        self._show_notes()
        self.switch.clicked.connect(lambda on: self._stack().switch(self.key, on))
        self.head.clicked.connect(lambda: self.fold(not self.folded))

    def _add_rows(self, form: Form, names: Iterable[str]) -> None:
        """Make the editors of parameters, each in a row; those that all adjustments have come last."""
        fields = {field.name: field for field in dataclasses.fields(self.kind) if field.name in names}
        for name in sorted(fields, key=lambda name: name in SHARED):
            widget, words = editor(fields[name], self.kind), fields[name].metadata
            self.editors[name] = widget
            tooltip = f"{words['tooltip']}\nDouble click on the label: the default."
            if isinstance(widget, NoiseLimitEdit):
                # Noise is what one sees; the number that limits it is for those who know it.
                self._add_row(form, name, widget.LABEL, widget, str(widget.tooltip))
            else:
                self._add_row(form, name, words["label"], widget, tooltip)
            if isinstance(widget, InRangeEdit):
                widget.limits = self._limits
            if isinstance(widget, CheckBox):
                # The label of the row already names the parameter.
                widget.native.setText("")
            widget.changed.connect(lambda _=None, name=name: self.set(name, self.editors[name].value))

    def _add_row(self, form: Form, name: str, title: str, widget, tooltip: str) -> None:
        label = form.add(title, widget.native, tooltip)
        label.doubled.connect(lambda: self.reset(name))
        self._rows.setdefault(name, (form, label))

    def _make_rest(self) -> None:
        """Make what is under *Advanced*: few look at it, and it is most of the work of making and styling a card."""
        if self.rest is not None:
            return
        # It is shown when its labels have their width, and not without a parent: it would be a window.
        self.rest = QWidget(self.body, visible=False)
        rest = Form(self.rest)
        fields = {field.name: field.metadata for field in dataclasses.fields(self.kind)}
        for name, widget in self.editors.items():
            if isinstance(widget, NoiseLimitEdit):
                tooltip = f"{fields[name]['tooltip']}\nDouble click on the label: the default."
                self._add_row(rest, name, fields[name]["label"], widget.number, tooltip)
                widget.number.native.show()
        self._add_rows(rest, fields.keys() - self._main)
        self.body.layout().addWidget(self.rest)
        self.show_card(self.card, self._unit())
        with suppress(TypeError, ValueError):
            self.describe(self.card, self._source)
        self.grown.emit()

    def _show_advanced(self, on: bool) -> None:
        if on:
            self._make_rest()
        if self.rest is not None:
            self.rest.setVisible(on)

    # --- warnings ---

    def warn(self, by: object, sentences: list[str]) -> None:
        """Show what to beware of, in place of what `by` has shown before."""
        words = [of_docks(each) for each in sentences]
        if words != self._warned.get(by, []):
            self._warned[by] = words
            self._show_notes()

    @property
    def warnings(self) -> list[str]:
        """What the card warns of."""
        return [each for sentences in self._warned.values() for each in sentences]

    def _show_notes(self) -> None:
        warned = self.warnings
        self.alert.setVisible(bool(warned))
        self.alert.setToolTip(as_tooltip("\n".join((*warned, "Click to have this in the card."))))
        self.notes.setText("<br>".join(map(warn, warned)))
        self.notes.setVisible(self.alert.isChecked() and bool(warned))

    def fold(self, folded: bool) -> None:
        """Show a line of summary, or the whole card."""
        self.folded = folded
        self.arrow.setText("▸" if folded else "▾")
        self.summary.setVisible(folded)
        self.body.setVisible(not folded)

    def move_by(self, places: int) -> None:
        """Move the card up or down."""
        self._stack().move(self.key, self._stack().at(self.key) + places)

    def _press(self, event) -> bool:
        """Do what a key stands for, if it stands for anything."""
        control = event.modifiers() & Qt.KeyboardModifier.ControlModifier
        key, stays = event.key(), self.switch.isHidden()
        if key in (Qt.Key.Key_Space, Qt.Key.Key_Return):
            self.fold(not self.folded)
        elif control and key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and not stays:
            self.move_by(-1 if key == Qt.Key.Key_Up else 1)
        elif key == Qt.Key.Key_Delete and not stays:
            self._stack().remove(self.key)
        else:
            return False
        return True

    # --- from and to the stack ---

    def reset(self, name: str | None = None) -> None:
        """Set a parameter of the card to its default, or all of them, as far as the layer has that."""
        source = self._source
        self._stack().reset(self.key, name, lambda card: card if source is None else suited(card, source))

    def set(self, name: str, value: object) -> None:
        """Set a parameter of the card."""
        self._stack().set(self.key, name, value, self._unit())

    def show_card(self, card: Card, unit: str) -> None:
        """Show a card in the editors; one that has the value already is left alone, as a number may be half typed."""
        self.card = card
        for name, widget in self.editors.items():
            value = card.value(name, unit)
            if widget.value != value:
                with widget.changed.blocked():
                    widget.value = value
        if self.switch.isChecked() != card.on:
            self.switch.setChecked(card.on)
        self.body.setEnabled(card.on)
        if not card.on:
            self._warned.clear()
            self._show_notes()

    def describe(self, card: Card, source: Source | None) -> Adjustment:
        """Say what the card means on a layer, and return that, or raise what does not fit."""
        limits, unit = ((0.0, 1.0), "") if source is None else (source.contrast_limits, source.unit)
        self._source = source
        self._offer(source)
        try:
            for extra in self.extras:
                extra.describe(card, source if card.on else None)
            adjustment = card.adjustment(limits, unit)
        except (TypeError, ValueError) as error:
            self.summary.say(str(error))
            raise
        self.summary.say(adjustment.in_words(unit, all_own=True))
        # Parameters that were applied last come back, and hidden ones must not act unnoticed.
        hidden = len(adjustment.changed().keys() - self._main)
        self.advanced.setText(f"Advanced ({hidden} changed)" if hidden else "Advanced")
        return adjustment

    def _offer(self, source: Source | None) -> None:
        """Let the user choose what differs on a layer; hide rows where nothing does, unless something was chosen."""
        for name, (title, values) in ({} if source is None else offers(source, self.card)).items():
            # Those under Advanced are not made for this.
            if name in self.editors:
                widget, (form, label) = self.editors[name], self._rows[name]
                label.setText(title or label.text())
                if isinstance(widget, Choice):
                    widget.offer(values)
                changed = self.card.values[name] != self.kind.defaults()[name]
                form.setRowVisible(widget.native, len(values) > 1 or changed)


class Editors(dict):
    """The editors of a card by parameter; those under *Advanced* are made when one of them is asked for."""

    def __init__(self, make_rest: Callable[[], None]):
        super().__init__()
        self._make_rest = make_rest

    def __missing__(self, name: str):
        self._make_rest()
        return dict(self)[name]


# All adjustments have these parameters.
SHARED = [field.name for field in dataclasses.fields(Adjustment)]


class CardList(QWidget):
    """All cards of a stack, one above the other."""

    def __init__(self, make: Callable[[Card], CardView]):
        super().__init__()
        self._make = make
        self.views: list[CardView] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)

    def show_cards(self, cards: tuple[Card, ...], unit: str) -> tuple[list[CardView], list[CardView]]:
        """Show a view for each card, in order; return the views that are new and those that are gone."""
        known = {view.key: view for view in self.views}
        new = []
        for card in cards:
            if card.key not in known:
                known[card.key] = self._make(card)
                new.append(known[card.key])
        wanted = [known[card.key] for card in cards]
        gone = [view for view in self.views if view not in wanted]
        for view in gone:
            self._layout.removeWidget(view)
        if wanted != self.views or new:
            for at, view in enumerate(wanted):
                self._layout.insertWidget(at, view)
        self.views = wanted
        for view, card in zip(wanted, cards, strict=True):
            view.show_card(card, unit)
        return new, gone

    def place_at(self, view: CardView, y: int) -> int:
        """The place that a card is dragged to: below each other card whose middle is above the mouse."""
        middle = view.mapTo(self, view.rect().topLeft()).y() + y
        others = [each for each in self.views if each is not view]
        return sum(each.geometry().center().y() < middle for each in others)

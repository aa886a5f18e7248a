"""What the Exposure dock edits: a stack of cards, each with the parameters of one adjustment.  No Qt."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from psygnal import Signal

from napari_exposure.core import Adjustment
from napari_exposure.core.adjustment import adjustments
from napari_exposure.io.units import in_unit
from napari_exposure.recipe import Recipe

# Cards may have this word as input range; adjustments get the two numbers of the layer instead.
LIMITS = "contrast_limits"
# The numbers of this parameter are lengths.
SIZE = "kernel_size"

_keys = itertools.count()


@dataclass(frozen=True, eq=False)
class Card:
    """One adjustment as the user has set it, which need not be valid, nor complete.

    Attributes
    ----------
    kind : type of Adjustment
    values : mapping
        Its parameters as editors have them: the input range may be "contrast_limits", and what has no default is None
        as long as nobody has chosen it.
    unit : str or None
        The unit in which its sizes were chosen, whichever layer they are shown for.
    on : bool
        Whether it takes part.
    key : int
        Stays the same through all changes, and tells two cards of a kind apart.
    """

    kind: type[Adjustment]
    values: Mapping[str, Any]
    unit: str | None = None
    on: bool = True
    key: int = field(default_factory=lambda: next(_keys))

    @classmethod
    def new(cls, kind: type[Adjustment]) -> Card:
        """A card with the defaults of an adjustment."""
        return cls(kind, {**dict.fromkeys(kind.examples()), **kind.defaults()})

    @classmethod
    def of(cls, adjustment: Adjustment, unit: str | None = None) -> Card:
        """A card with the parameters of an adjustment, sizes in `unit`."""
        values = {name: getattr(adjustment, name) for name in (*adjustment.examples(), *adjustment.defaults())}
        return cls(type(adjustment), values, unit if adjustment.needs_spacing else None)

    def value(self, name: str, unit: str | None) -> Any:
        """A parameter, with a size converted to `unit`; None for a size that does not convert, as to pixels."""
        value = self.values[name]
        if name != SIZE or value is None or self.unit is None or unit in (None, self.unit):
            return value
        factor = in_unit(1.0, self.unit, str(unit))
        if factor is None:
            return None
        # The boxes cannot show more than six digits.
        edges = [float(f"{edge * factor:.6g}") for edge in (value if isinstance(value, tuple) else (value,))]
        return tuple(edges) if isinstance(value, tuple) else edges[0]

    def adjustment(self, limits: tuple[float, float], unit: str | None) -> Adjustment:
        """The adjustment that it stands for on a layer with these contrast limits and this unit.

        Raises
        ------
        TypeError, ValueError
            If a parameter is missing or does not fit, with a sentence for the user.
        """
        values = {name: self.value(name, unit) for name in self.values}
        if missing := [name for name in self.kind.examples() if values[name] is None]:
            raise ValueError(f"{self.kind.title}: choose a {missing[0]}.")
        if values["in_range"] == LIMITS:
            values["in_range"] = limits
        return self.kind(**values)

    def to_dict(self) -> dict:
        """Plain data that `from_dict` takes back."""
        plain = self.adjustment((0.0, 1.0), self.unit).to_dict()
        if self.values["in_range"] == LIMITS:
            plain["in_range"] = LIMITS
        return {**plain, "unit": self.unit, "on": self.on}

    @classmethod
    def from_dict(cls, plain: dict) -> Card:
        """Make the card that `to_dict` described; parameters that are missing are as in a new one.

        Raises
        ------
        ValueError
            If a name or a value is not known or not valid.
        """
        if not isinstance(plain, dict):
            raise ValueError(f"A card is a table of names and values, got {plain!r}.")
        plain = dict(plain)
        unit, on, in_range = plain.pop("unit", None), plain.pop("on", True), plain.get("in_range")
        if not isinstance(unit, str | None):
            raise ValueError(f"The unit must be a name such as 'µm', got {unit!r}.")
        kind = next((each for each in adjustments() if each.__name__ == plain.get("adjustment")), None)
        open_ones = {} if kind is None else {key: each for key, each in kind.examples().items() if key not in plain}
        found = Adjustment.from_dict({**open_ones, **plain, **({"in_range": "data"} if in_range == LIMITS else {})})
        card = cls.of(found, unit)
        values = {**card.values, **dict.fromkeys(open_ones)}
        if in_range == LIMITS:
            values["in_range"] = LIMITS
        if unit is None and SIZE in values:
            # A size without a unit may be wrong by a factor of a thousand.
            values[SIZE] = None
        return replace(card, values=values, on=bool(on))


class Stack:
    """Cards in their order, and their history.

    `changed` is emitted after each change.  Changes of the same parameter of the same card are one step of the
    history until `seal` is called, so that one undo takes back the whole drag of a slider.
    """

    changed = Signal()

    def __init__(self, cards: Iterable[Card] = ()):
        self.cards: tuple[Card, ...] = tuple(cards)
        self._before: list[tuple[Card, ...]] = []
        self._after: list[tuple[Card, ...]] = []
        self._last: object = None

    def recipe(self, limits: tuple[float, float], unit: str) -> Recipe | None:
        """The cards that are on as a recipe for a layer with these contrast limits and this unit; None without any.

        Raises
        ------
        TypeError, ValueError
            If a parameter is missing or does not fit, with a sentence for the user.
        """
        steps = tuple(card.adjustment(limits, unit) for card in self.cards if card.on)
        return Recipe(steps, unit if any(step.needs_spacing for step in steps) else None) if steps else None

    def at(self, key: int) -> int:
        """The place of a card."""
        return [card.key for card in self.cards].index(key)

    # --- changes ---

    def _change(self, cards: Iterable[Card], what: object = None) -> None:
        if what is None or what != self._last:
            self._before.append(self.cards)
        self._after = []
        self._last = what
        self._show(cards)

    def _show(self, cards: Iterable[Card]) -> None:
        self.cards = tuple(cards)
        self.changed.emit()

    def seal(self) -> None:
        """End a step of the history: the next change is another one."""
        self._last = None

    def put(self, cards: Iterable[Card]) -> None:
        """Replace all cards by these."""
        self._change(cards)

    def add(self, card: Card, at: int | None = None) -> None:
        """Insert a card, at the end where nothing else is said."""
        at = len(self.cards) if at is None else at
        self._change((*self.cards[:at], card, *self.cards[at:]))

    def duplicate(self, key: int) -> None:
        """Put a copy of a card behind it."""
        at = self.at(key)
        self.add(replace(self.cards[at], key=next(_keys)), at + 1)

    def remove(self, key: int) -> None:
        """Take a card away."""
        self._change(card for card in self.cards if card.key != key)

    def move(self, key: int, at: int) -> None:
        """Move a card to another place."""
        card, rest = self.cards[self.at(key)], [each for each in self.cards if each.key != key]
        at = min(max(at, 0), len(rest))
        if self.cards[at] is not card:
            self._change([*rest[:at], card, *rest[at:]], ("move", key))

    def switch(self, key: int, on: bool) -> None:
        """Let a card take part or not."""
        self._replace(key, ("switch", key, on), on=on)

    def set(self, key: int, name: str, value: object, unit: str | None = None) -> None:
        """Set a parameter of a card; a size is in `unit`."""
        card = self.cards[self.at(key)]
        unit = unit if name == SIZE and value is not None else card.unit
        if (card.values[name], card.unit) == (value, unit):
            return
        self._replace(key, (key, name), values={**card.values, name: value}, unit=unit)

    def reset(self, key: int, name: str | None = None, suit: Callable[[Card], Card] = lambda card: card) -> None:
        """Set a parameter to its default, or all that have one; `suit` makes a card suit the layer."""
        card = self.cards[self.at(key)]
        defaults = {each: value for each, value in card.kind.defaults().items() if name in (None, each)}
        values = suit(replace(card, values={**card.values, **defaults})).values
        if values != card.values:
            self._replace(key, None, values=values)

    def _replace(self, key: int, what: object, **changes) -> None:
        self._change((replace(card, **changes) if card.key == key else card for card in self.cards), what)

    # --- history ---

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to do again."""
        return bool(self._after)

    def undo(self) -> None:
        """Take back the last step."""
        self._step(self._before, self._after)

    def redo(self) -> None:
        """Do again what was taken back."""
        self._step(self._after, self._before)

    def _step(self, source: list, target: list) -> None:
        if source:
            target.append(self.cards)
            self._last = None
            self._show(source.pop())

"""What was applied last, and presets, kept in napari's settings of this plugin for the next volume and the next day."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from napari_exposure.core import AdaptiveEqualization, Adjustment, DecayCorrection, Gamma, PercentileClip
from napari_exposure.core.jsonfile import parsed
from napari_exposure.core.words import shortened
from napari_exposure.gui.exposure.model import Card
from napari_exposure.gui.napari_versions import plugin_settings

# The menu Presets begins with these.
PRESETS: dict[str, tuple[Adjustment, ...]] = {
    "Stretch the range": (PercentileClip(0.5, 99.5),),
    "Brighten dim structures": (PercentileClip(0.1, 99.9), Gamma(0.6)),
    "Deep stack": (DecayCorrection(), PercentileClip(0.5, 99.9)),
    "Local contrast": (PercentileClip(0.1, 99.9), AdaptiveEqualization()),
    "Deep stack, local contrast": (DecayCorrection(), PercentileClip(0.1, 99.9), AdaptiveEqualization()),
}


def _settings():
    """The settings that napari.yaml declares under `configurations`."""
    plugin: Any = plugin_settings("napari-exposure")
    return plugin.widgets


def _table(name: str) -> dict:
    """A setting that holds a table as JSON.

    Raises
    ------
    ValueError
        If somebody wrote something else there.
    """
    text = getattr(_settings(), name)

    def table(plain: object) -> dict:
        if not isinstance(plain, dict):
            raise ValueError(f"{type(plain).__name__} instead of names and values")
        return plain

    try:
        return parsed(text, "its text", table) if text else {}
    except ValueError as error:
        raise ValueError(
            f"The setting {name} cannot be read ({error}). Clear its line under Preferences > napari-exposure."
        ) from None


def remember(cards: Sequence[Card]) -> None:
    """Keep the parameters of cards that were applied, except those that depend on the volume."""
    if _settings().remember:
        new = {}
        for card in cards:
            left_out = (*card.kind.examples(), "on")
            new[card.kind.__name__] = {name: value for name, value in card.to_dict().items() if name not in left_out}
        _settings().applied = json.dumps({**_table("applied"), **new})


def remembered(kind: type[Adjustment]) -> Card:
    """A new card with the parameters that were applied last.

    Raises
    ------
    ValueError
        If somebody wrote something else into the settings; the sentence says what.
    """
    plain = _table("applied").get(kind.__name__) if _settings().remember else None
    if plain is None:
        return Card.new(kind)
    try:
        card = Card.from_dict(plain)
        if card.kind is not kind:
            raise ValueError(f"they are of {card.kind.__name__}")
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"The remembered parameters of {kind.title} cannot be read ({shortened(error)}); it begins with its "
            "defaults. Apply once, or clear the line Applied last under Preferences > napari-exposure."
        ) from None
    return card


def presets() -> dict[str, list[Card]]:
    """The presets of the plugin and those of the user, by name.

    Raises
    ------
    ValueError
        If those in the settings cannot be read.
    """
    found = {name: list(map(Card.of, steps)) for name, steps in PRESETS.items()}
    return {**found, **{name: list(map(Card.from_dict, cards)) for name, cards in _table("presets").items()}}


def save_preset(name: str, cards: Sequence[Card]) -> None:
    """Keep cards under a name, or forget the name where there are no cards."""
    table = {**_table("presets"), name: [card.to_dict() for card in cards]}
    _settings().presets = json.dumps({each: kept for each, kept in table.items() if kept})


def own_presets() -> list[str]:
    """The names of the user's presets."""
    return list(_table("presets"))

"""The parameters applied last, kept in napari's settings of this plugin for the next volume."""

from __future__ import annotations

import json
from typing import Any

from napari_exposure.core import Adjustment
from napari_exposure.core.jsonfile import parsed
from napari_exposure.gui.napari_versions import plugin_settings


def _settings(adjustment: type[Adjustment]):
    """What napari.yaml declares under `configurations`; None where there is no line for the adjustment."""
    try:
        plugin: Any = plugin_settings("napari-exposure")
        settings = plugin.widgets
    except KeyError:
        return None
    return settings if hasattr(settings, adjustment.short_name) else None


def remember(adjustment: Adjustment, unit: str, **chosen) -> None:
    """Keep the parameters of an adjustment that have a default, and the unit of its sizes.

    `chosen` replaces some parameters by what the user chose.
    """
    settings = _settings(type(adjustment))
    if settings is not None and settings.remember:
        plain = {**adjustment.to_dict(), **chosen}
        kept = {name: plain[name] for name in ("adjustment", *adjustment.defaults())}
        if adjustment.needs_spacing:
            kept["unit"] = unit
        setattr(settings, adjustment.short_name, json.dumps(kept))


def remembered(adjustment: type[Adjustment]) -> tuple[dict, str | None]:
    """The parameters that were applied last, or none, and the unit of their sizes.

    Raises
    ------
    ValueError
        If somebody wrote something else into the settings; the sentence says what.
    """
    settings = _settings(adjustment)
    text = "" if settings is None or not settings.remember else getattr(settings, adjustment.short_name)
    if not text:
        return {}, None

    def make(plain) -> tuple[dict, str | None]:
        if not isinstance(plain, dict):
            raise ValueError(f"{type(plain).__name__} instead of names and values")
        unit = plain.pop("unit", None)
        if not isinstance(unit, str | None):
            raise ValueError(f"the unit is {unit!r}")
        limits = plain.get("in_range") == "contrast_limits"
        found = Adjustment.from_dict({**adjustment.examples(), **plain, **({"in_range": "data"} if limits else {})})
        if type(found) is not adjustment:
            raise ValueError(f"they are of {type(found).__name__}")
        parameters = {name: getattr(found, name) for name in plain if name != "adjustment"}
        return {**parameters, "in_range": "contrast_limits"} if limits else parameters, unit

    try:
        parameters, unit = parsed(text, "the text in the settings", make)
    except ValueError as error:
        raise ValueError(
            f"The remembered parameters of {adjustment.title} cannot be read ({error}); it begins with its defaults. "
            "Apply once, or clear its line under Preferences > napari-exposure."
        ) from None
    if unit is None and adjustment.needs_spacing:
        # Earlier versions kept sizes without their unit, and a guessed one may be wrong by a factor of a thousand.
        parameters["kernel_size"] = None
    return parameters, unit

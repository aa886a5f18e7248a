"""What of an adjustment differs on a layer: the axes that it has, and which of its voxels can share a fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from napari_exposure.core.axes import AXES, gliding_axis, spatial_axes, time_axis
from napari_exposure.core.depth import SURFACE
from napari_exposure.gui.exposure.model import Card
from napari_exposure.source import Source


def suited(card: Card, source: Source) -> Card:
    """A card with the first value that a layer has, where the layer has not what was chosen on another one."""
    return _with(card, source, lambda value, default, values: value if value in values else values[0])


def lasting(card: Card, source: Source) -> Card:
    """A card as other layers want it: where this one has not the default, what was chosen in its place is no wish."""
    return _with(card, source, lambda value, default, values: value if default in values else default)


def _with(card: Card, source: Source, choose: Callable[[Any, Any, Sequence[Any]], Any]) -> Card:
    defaults = card.kind.defaults()
    found = {
        name: choose(card.values[name], defaults[name], values) for name, (_, values) in offers(source, card).items()
    }
    return replace(card, values={**card.values, **found})


def offers(source: Source, card: Card) -> dict[str, tuple[str, Sequence[Any]]]:
    """The parameters of a card that depend on the axes of a layer: what each is called there, and its values.

    Time points and channels are fitted apart where there are several, and planes in a stack.  A name is empty where
    it is always the same.
    """
    per, shape, space = card.values["per"], source.shape, len(source.sizes)
    lead = len(shape) - space
    parts = ["dataset", *["volume"] * (math.prod(shape[:lead]) > 1), *["plane"] * (math.prod(shape[lead:-2]) > 1)]
    # Along time a window may be chosen before time points are treated separately.
    glides = gliding_axis(source.labels, len(shape) - 2 if per == "plane" else lead)
    there = [*["t"] * (time_axis(source.labels, len(shape) - 2) is not None), *AXES[-spatial_axes(space, per) :]]
    found: dict[str, tuple[str, Sequence[Any]]] = {
        "per": ("Time points" if lead else "Planes", parts),
        "window": ("Time window" if lead else "Plane window", range(1, 2 if glides is None else shape[glides] + 1)),
        "axis": ("", [*there, SURFACE]),
    }
    return {name: offer for name, offer in found.items() if name in card.values}

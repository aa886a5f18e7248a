"""Contrast limits by percentiles, of one layer or of many: set at once, and again when more is known."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from napari_exposure.gui.histogram.survey import Curve
from napari_exposure.source import unwrapped


@dataclass(frozen=True)
class Asked:
    """Percentiles that were asked for, and the limits that were set by them so far; None before the first."""

    low: float
    high: float
    limits: tuple[float, float] | None = None


class AutoLimits:
    """Sets contrast limits by percentiles as soon as something was counted, and until they are exact.

    Limits that somebody else changes meanwhile are theirs.
    """

    def __init__(self) -> None:
        self._asked: weakref.WeakKeyDictionary[Any, Asked] = weakref.WeakKeyDictionary()

    def ask(self, layers: Iterable[Any], low: float, high: float) -> None:
        """From now on these layers shall have these two percentiles as limits."""
        for layer in layers:
            self._asked[unwrapped(layer)] = Asked(low, high)

    def forget(self, layers: Iterable[Any]) -> None:
        """Leave these layers as they are."""
        for layer in layers:
            self._asked.pop(unwrapped(layer), None)

    @property
    def wanted(self) -> dict[Any, tuple[float, ...]]:
        """Which percentiles of which layers are to be found."""
        return {layer: (asked.low, asked.high) for layer, asked in self._asked.items()}

    @property
    def estimated(self) -> list[Any]:
        """The layers whose limits are set, but not by all of their voxels, or not exactly."""
        return [layer for layer, asked in self._asked.items() if asked.limits is not None]

    def update(self, counted: Mapping[Any, tuple[Curve, bool]]) -> list[Any]:
        """Set what is known now.

        Parameters
        ----------
        counted : dict
            Of layers what was counted, and whether that is the last word.

        Returns
        -------
        list
            The layers whose two percentiles have the same intensity, which are left as they are.
        """
        alike = []
        for layer, asked in list(self._asked.items()):
            if asked.limits is not None and tuple(layer.contrast_limits) != asked.limits:
                del self._asked[layer]
                continue
            if layer not in counted:
                continue
            curve, last = counted[layer]
            exact = last and curve.knows(asked.low) and curve.knows(asked.high)
            low, high = curve.percentile(asked.low), curve.percentile(asked.high)
            if low < high:
                layer.contrast_limits = low, high
                self._asked[layer] = Asked(asked.low, asked.high, tuple(layer.contrast_limits))
            if exact:
                del self._asked[layer]
                alike += [] if low < high else [layer]
        return alike

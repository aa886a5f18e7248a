"""Contrast limits by percentiles of one or many layers, set at once and again when the percentiles are better known."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from napari_exposure.gui.histogram.survey import Curve
from napari_exposure.source import unwrapped


@dataclass(frozen=True)
class Asked:
    """Two percentiles that the user asked for, and the limits last set by them, or None before the first."""

    low: float
    high: float
    limits: tuple[float, float] | None = None


class AutoLimits:
    """Sets contrast limits by percentiles as soon as something is counted, and again until they are exact.

    Limits that somebody else changes meanwhile are left as they are.
    """

    def __init__(self) -> None:
        self._asked: weakref.WeakKeyDictionary[Any, Asked] = weakref.WeakKeyDictionary()

    def ask(self, layers: Iterable[Any], low: float, high: float) -> None:
        """Use these two percentiles as limits of these layers from now on."""
        for layer in layers:
            self._asked[unwrapped(layer)] = Asked(low, high)

    def forget(self, layers: Iterable[Any]) -> None:
        """Leave these layers as they are."""
        for layer in layers:
            self._asked.pop(unwrapped(layer), None)

    @property
    def wanted(self) -> dict[Any, tuple[float, ...]]:
        """The percentiles to find, by layer."""
        return {layer: (asked.low, asked.high) for layer, asked in self._asked.items()}

    @property
    def estimated(self) -> list[Any]:
        """The layers whose limits are set from an estimate: from some of their voxels, or not exactly."""
        return [layer for layer, asked in self._asked.items() if asked.limits is not None]

    def update(self, counted: Mapping[Any, tuple[Curve, bool]]) -> list[Any]:
        """Set the limits to the percentiles that are known now.

        Parameters
        ----------
        counted : dict
            For each layer its curve, and whether counting it has ended.

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

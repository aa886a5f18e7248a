"""Saturated voxels in napari's HiLo colors: blue at the lower contrast limit and below, red at the upper and above."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from napari_exposure.source import unwrapped

NAME = "HiLo"


class HiLo:
    """Gives layers the colormap HiLo, and later the one that they had before."""

    def __init__(self):
        self._before: WeakKeyDictionary = WeakKeyDictionary()

    @staticmethod
    def on(layer) -> bool:
        """Whether a layer has these colors."""
        return not layer.rgb and layer.colormap.name == NAME

    def set(self, layer, on: bool) -> None:
        """Show a layer in these colors, or as before; in gray where someone else had chosen HiLo."""
        if on and not self.on(layer):
            self._before[unwrapped(layer)] = layer.colormap
            layer.colormap = NAME
        elif not on and self.on(layer):
            layer.colormap = self._before.pop(unwrapped(layer), "gray")

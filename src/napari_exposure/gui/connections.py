"""Connections to events that can all be dropped together, so that nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable


class Connections:
    """What one owner has connected to napari's emitters.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> layer = Image(np.zeros((2, 2)))
    >>> class Owner:
    ...     def hear(self, event):
    ...         print("heard", event.type)
    >>> owner, connections = Owner(), Connections()
    >>> connections.add(owner.hear, layer.events.name, layer.events.scale)
    >>> layer.name = "nuclei"
    heard name
    >>> connections.drop()
    >>> layer.name = "cells"
    """

    def __init__(self):
        self._made: list[tuple] = []

    def add(self, callback: Callable, *emitters) -> None:
        """Connect `callback` to each emitter."""
        for emitter in emitters:
            emitter.connect(callback)
            self._made.append((emitter, callback))

    def __bool__(self) -> bool:
        return bool(self._made)

    def drop(self) -> None:
        """Disconnect everything."""
        for emitter, callback in self._made:
            emitter.disconnect(callback)
        self._made = []

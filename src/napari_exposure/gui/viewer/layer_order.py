"""Where results go in the list of layers: above their source, and never mixed with it."""

from __future__ import annotations

from weakref import WeakSet

from qtpy.QtCore import QTimer

from napari_exposure.gui.connections import Connections
from napari_exposure.gui.napari_versions import grid_of
from napari_exposure.source import Origin, unwrapped

# A layer that is blended like this hides what lies below it.
OPAQUE = ("opaque", "translucent", "translucent_no_depth")
# These results are seen beside their sources, so they hide nothing.
uncovered: WeakSet = WeakSet()


def family(viewer, source) -> list:
    """A layer and what was made from it, in the order of the list."""

    def made_of_it(layer):
        origin = Origin.of(layer)
        return origin is not None and origin.source() == source

    return [layer for layer in viewer.layers if layer == source or made_of_it(layer)]


def lies_above(viewer, layer, other) -> bool:
    """Whether a layer lies above another, so that it can be removed and the other keeps its index."""
    layers = viewer.layers
    return layer in layers and other in layers and layers.index(layer) > layers.index(other)


def take_away(viewer, layer) -> None:
    """Remove a layer of ours; a selected one goes in the next turn of the event loop.

    napari may be deleting all that is selected, one layer after the other, and must find each of them itself.
    """

    def remove():
        if layer in viewer.layers:
            viewer.layers.remove(layer)

    if layer in viewer.layers.selection:
        QTimer.singleShot(0, remove)
    else:
        remove()


def insert(viewer, layer, at: int) -> None:
    """Insert a layer of ours at a place of the list; what is selected stays so."""
    layers = viewer.layers
    selected, active = set(layers.selection), layers.selection.active
    layers.insert(at, layer)
    layers.selection = selected
    layers.selection.active = active


def place(viewer, layer, source) -> None:
    """Insert a result above its source and earlier results; what is selected stays so.

    Where both would be seen at once (3D, additive blending, low opacity), the lower ones are hidden as long as
    the result is shown.
    """
    layers = viewer.layers
    insert(viewer, layer, layers.index(family(viewer, source)[-1]) + 1)
    hidden, connections = [], Connections()

    def cover():
        # This begins at the top, because hiding a result shows what that one has hidden.
        for other in reversed(family(viewer, source)):
            if other.visible and other != layer:
                other.visible = False
                hidden.append(other)

    def uncover():
        while hidden:
            other = hidden.pop()
            if other in layers:
                other.visible = True

    def look(event=None):
        mixed = viewer.dims.ndisplay == 3 or layer.blending not in OPAQUE or layer.opacity < 1
        apart = grid.enabled or unwrapped(layer) in uncovered
        (cover if mixed and layer.visible and not apart else uncover)()

    def on_removed(event):
        if event.value == layer:
            connections.drop()
            uncover()

    grid, events = grid_of(viewer), layer.events
    connections.add(look, events.visible, events.blending, events.opacity, viewer.dims.events.ndisplay)
    connections.add(look, grid.events.enabled)
    connections.add(on_removed, layers.events.removed)
    look()

"""How tests drive the docks: with real clicks and keys."""

import threading
from contextlib import nullcontext

import napari
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QAction
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QMenu

from napari_exposure.gui.exposure.extras import Profile, Tiles

# Before 0.9 napari makes no layer of floats in another byte order, and asks for some more height.
_VERSION = tuple(map(int, napari.__version__.split(".")[:2]))
OLD = _VERSION < (0, 9)
SWAPPED_FLOATS = "<f4" if OLD else ">f4"


def give(layer, data):
    """Give a layer other data; return whether napari draws them, which 0.7 does not where they have more axes."""
    drawn = _VERSION != (0, 7) or data.ndim <= layer.ndim
    with nullcontext() if drawn else pytest.raises(IndexError):
        layer.data = data
    return drawn


def press(menu, action):
    """Go to an entry of a menu with keys, and press Return; the menu drops down if it has not."""
    if not menu.isVisible():
        menu.popup(QPoint(0, 0))
    assert action.isEnabled()
    # Keys, because a menu ignores a click of a mouse that has not moved since it appeared.
    for _ in range(2 * len(menu.actions())):
        if menu.activeAction() == action:
            break
        QTest.keyClick(menu, Qt.Key.Key_Down)
    assert menu.activeAction() == action
    QTest.keyClick(menu, Qt.Key.Key_Return)


def named(menu, text):
    """The entry of a menu, or of the bar of menus, that begins with a text."""
    return next(action for action in menu.actions() if action.text().replace("&", "").startswith(text))


def from_menu_bar(bar, first, *others):
    """Click a menu of the bar, and go to an entry, and on from there."""
    action = named(bar, first)
    QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.actionGeometry(action).center())
    for text in others:
        menu = action.menu()
        action = named(menu, text)
        press(menu, action)


def select(viewer, *layers):
    """Click layers in the list, the first one alone, the others with Ctrl."""
    shown = viewer.window._qt_viewer.layers
    for number, layer in enumerate(layers):
        rows = (shown.model().index(row, 0) for row in range(len(viewer.layers)))
        row = next(each for each in rows if each.data() == layer.name)
        held = Qt.KeyboardModifier.ControlModifier if number else Qt.KeyboardModifier.NoModifier
        QTest.mouseClick(shown.viewport(), Qt.MouseButton.LeftButton, held, shown.visualRect(row).center())


def choose_in(box, text):
    """Choose an entry of a combo box with keys."""
    box = getattr(box, "native", box)
    QTest.keyClick(box, Qt.Key.Key_Home)
    while not box.currentText().startswith(text):
        before = box.currentIndex()
        QTest.keyClick(box, Qt.Key.Key_Down)
        assert box.currentIndex() > before


def click(button):
    """Click a button, a check box, or an entry of a menu."""
    if isinstance(button, QAction):
        press(next(each for each in button.associatedObjects() if isinstance(each, QMenu)), button)
        return
    widget = getattr(button, "native", button)
    assert widget.isEnabled()
    # on the mark of a check box, which is wider than what can be clicked
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, pos=QPoint(8, widget.height() // 2))


def type_into(box, text):
    """Replace the text of a spin box with real keys."""
    box = getattr(box, "box", box)
    edit = box.native.lineEdit() if hasattr(box.native, "lineEdit") else box.native
    edit.selectAll()
    QTest.keyClicks(edit, text)
    QTest.keyClick(edit, Qt.Key.Key_Return)


def finish(qtbot, dock):
    """Wait until no job is under way."""
    qtbot.waitUntil(lambda: not dock.running, timeout=30_000)


def no_workers():
    """Whether no thread of the package is left; wait for it, because cancelled work ends at its next report."""
    return not any(thread.name.startswith("napari-exposure") for thread in threading.enumerate())


def parameters(dock, card=0):
    """What the editors of a card hold."""
    view = dock.cards.views[card]
    return {name: view.editors[name].value for name in view.card.values}


def tiles_of(dock, card=0):
    """What a card shows of its tiles."""
    return next(extra for extra in dock.cards.views[card].extras if isinstance(extra, Tiles))


def profile_of(dock, card=0):
    """The plot of a card."""
    return next(extra for extra in dock.cards.views[card].extras if isinstance(extra, Profile)).widget


def choose(menu, text):
    """Choose the entry of a menu that begins with a text."""
    menu.popup(QPoint(0, 0))
    press(menu, named(menu, text))

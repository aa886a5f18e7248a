"""How tests drive the docks: with real clicks and keys."""

import threading

from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QAction
from qtpy.QtTest import QTest

from napari_exposure.gui.exposure.extras import Profile, Tiles


def click(button):
    """Click a button, a check box, or an entry of a menu."""
    if isinstance(button, QAction):
        assert button.isEnabled()
        button.trigger()
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
    """Whether no thread of the package is left."""
    return not any(thread.name.startswith("napari-exposure") for thread in threading.enumerate())


def parameters(dock, card=0):
    """What the editors of a card hold."""
    return {name: widget.value for name, widget in dock.cards.views[card].editors.items()}


def tiles_of(dock, card=0):
    """What a card shows of its tiles."""
    return next(extra for extra in dock.cards.views[card].extras if isinstance(extra, Tiles))


def profile_of(dock, card=0):
    """The plot of a card."""
    return next(extra for extra in dock.cards.views[card].extras if isinstance(extra, Profile)).widget


def choose(menu, text):
    """Choose the entry of a menu that begins with a text."""
    menu.aboutToShow.emit()
    action = next(action for action in menu.actions() if action.text().startswith(text))
    assert action.isEnabled()
    action.trigger()

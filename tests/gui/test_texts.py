"""No text of the docks is cut at their least width, at any font."""

import napari
import pytest
from napari.settings import get_settings
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QLabel,
    QScrollArea,
    QStyle,
    QStyleOptionButton,
    QStyleOptionComboBox,
    QToolButton,
    QWidget,
)

from gui.driving import choose
from napari_exposure.core.adjustment import adjustments
from napari_exposure.gui.exposure.rows import Elided

LEAST = 300


def lines(text):
    return text.replace("&&", "\0").replace("&", "").replace("\0", "&").splitlines() or [""]


def cut(widget):
    """The texts of a widget that have less room than they need, with what they need and what they have."""
    metrics, style = widget.fontMetrics(), widget.style()

    def wider(texts, room):
        return [
            (text, metrics.horizontalAdvance(text), room) for text in texts if metrics.horizontalAdvance(text) > room
        ]

    if isinstance(widget, QComboBox):
        option = QStyleOptionComboBox()
        widget.initStyleOption(option)
        field = style.subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, widget
        )
        return wider([widget.itemText(at) for at in range(widget.count())], field.width())
    if isinstance(widget, QAbstractSpinBox):
        return wider([widget.text()], widget.lineEdit().contentsRect().width())
    if isinstance(widget, QLabel):
        if widget.wordWrap():
            height = widget.heightForWidth(widget.width())
            return [(widget.text(), height, widget.height())] if height > widget.height() else []
        return wider(lines(widget.text()), widget.contentsRect().width()) if "<" not in widget.text() else []
    if isinstance(widget, QCheckBox):
        option = QStyleOptionButton()
        widget.initStyleOption(option)
        room = style.subElementRect(QStyle.SubElement.SE_CheckBoxContents, option, widget).width()
        return wider(lines(widget.text()), room)
    if isinstance(widget, QAbstractButton):
        needed = widget.minimumSizeHint() if isinstance(widget, QToolButton) else widget.sizeHint()
        return [(widget.text(), needed.width(), widget.width())] if needed.width() > widget.width() else []
    return []


@pytest.fixture
def dock(qtbot, make_napari_viewer, volume):
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1366, 768)
    viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    area, widget = viewer.window.add_plugin_dock_widget("napari-exposure", "Exposure")
    area.setFloating(True)
    widget.bar.live.setChecked(False)
    widget.area, widget.viewer = area, viewer
    return widget


@pytest.mark.parametrize("size", [9, 12, 16])
def test_every_text_has_its_room(qtbot, dock, size):
    get_settings().appearance.font_size = size
    dock.area.resize(LEAST, 900)
    qtbot.wait(500)
    wrong = []
    for kind in adjustments():
        dock.adjusted.stack.put([])
        choose(dock.tools.add_menu, kind.title) if kind.group != "Teaching" else dock.add_card(kind)
        (view,) = dock.cards.views
        view.advanced.setChecked(True)
        qtbot.wait(250)
        # napari 0.6 has margins of 9 pixels around what floats, later ones of 1
        assert dock.area.width() <= LEAST + (18 if napari.__version__ < "0.7" else 2)
        scrolled = dock.native.findChild(QScrollArea)
        if scrolled.horizontalScrollBar().maximum():
            wrong.append((kind.title, "too wide", scrolled.widget().minimumSizeHint().width(), LEAST))
        for widget in dock.native.findChildren(QWidget):
            if widget.isVisible() and not isinstance(widget, Elided):
                wrong += [(kind.title, type(widget).__name__, *each) for each in cut(widget)]
    assert not list(dict.fromkeys(wrong))

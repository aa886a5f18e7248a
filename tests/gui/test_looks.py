"""What a dock says and where its parts are: words of its rows, lines of buttons, titles, tooltips."""

import pytest
from qtpy.QtCore import QRect
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QDockWidget, QLabel, QPushButton, QSlider, QToolButton, QWidget

from napari_exposure.core import Gamma, PercentileClip
from napari_exposure.core.adjustment import adjustments
from napari_exposure.gui.flow import Flow
from napari_exposure.gui.words import of_docks


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "Set per='volume', or per='plane'.",
            "Set “Time points: treated separately”, or “Time points: each plane alone”.",
        ),
        ("kernel_size=6.0 makes too many", "“Tile: 6.0” makes too many"),
        ("or correct anyway (force=True).", "or correct anyway (“Correct anyway”)."),
        ("a lower background or ignore_zeros", "a lower background or “Ignore zeros”"),
        ("The layer 'a_b' has x=3 planes, lazy=True.", "The layer 'a_b' has x=3 planes, lazy=True."),
    ],
)
def test_sentences_of_the_core_are_said_with_the_labels_of_rows(said, shown):
    assert of_docks(said) == shown


@pytest.fixture
def row(qtbot):
    """Makes a flow of buttons that are so wide."""
    widget = QWidget()
    qtbot.addWidget(widget)

    def make(*widths):
        flow = Flow(parent=widget)
        for width in widths:
            button = QPushButton()
            button.setFixedSize(width, 20)
            flow.addWidget(button)
        return flow

    return make


@pytest.mark.parametrize(
    ("widths", "room", "lines"),
    [
        ((50, 50, 50, 50), 400, [[50, 50, 50, 50]]),
        # The last one does not stand alone.
        ((50, 50, 50, 50), 180, [[50, 50], [50, 50]]),
        ((90, 10, 10, 80, 60), 200, [[90, 10, 10], [80, 60]]),
        # What is wider than the room has a line of its own.
        ((300, 50, 50), 200, [[300], [50, 50]]),
    ],
)
def test_buttons_flow_in_lines_of_about_equal_length(row, widths, room, lines):
    flow = row(*widths)
    flow.setGeometry(QRect(0, 0, room, 200))
    found = {}
    for at in range(flow.count()):
        place = flow.itemAt(at).geometry()
        found.setdefault(place.y(), []).append(place.width())
    assert list(found.values()) == lines
    assert flow.heightForWidth(room) == 23 * len(lines) - 3


def test_each_control_has_a_tooltip(viewer, volume, open_widget):
    viewer.add_image(volume, name="nuclei")
    dock = open_widget("Exposure")
    for kind in adjustments():
        dock.add_card(kind)
    kinds = QPushButton, QToolButton, QComboBox, QAbstractSpinBox, QSlider
    controls = [each for kind in kinds for each in dock.native.findChildren(kind) if not each.isHidden()]
    # The pyramids of arrows in plots and areas that scroll are no controls of ours.
    assert [each for each in controls if not each.toolTip() and not each.objectName().startswith("qt_")] == []


def test_a_title_without_room_leaves_out_the_name_of_the_plugin(qtbot, make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    window = viewer.window._qt_window
    _, dock = viewer.window.add_plugin_dock_widget("napari-exposure", "Exposure")
    frame = next(each for each in window.findChildren(QDockWidget) if each.isAncestorOf(dock.native))
    label = next(each for each in frame.titleBarWidget().findChildren(QLabel) if each.text())
    frame.setFixedWidth(500)
    qtbot.waitUntil(lambda: label.text() == frame.windowTitle())
    font = frame.titleBarWidget().font()
    font.setPointSize(20)
    frame.titleBarWidget().setFont(font)
    frame.setFixedWidth(301)
    qtbot.waitUntil(lambda: label.text() == "Exposure")
    assert label.fontMetrics().horizontalAdvance(label.text()) <= label.width()


def test_tab_goes_from_top_to_bottom(qtbot, viewer, volume, open_widget):
    viewer.add_image(volume, name="nuclei")
    dock = open_widget("Exposure")
    for kind in (Gamma, PercentileClip):
        dock.add_card(kind)
    first, second = dock.cards.views
    # The second card goes above the first.
    second.move_by(-1)
    low, gamma = second.editors["low"].box.native, first.editors["gamma"].box.native
    wanted = [dock.header.mask.native, second.head, low, second.advanced, second.editors["output"].native]
    wanted += [first.head, gamma, first.advanced, dock.tools.add, dock.bar.compare, dock.bar.apply]
    found, widget = [], dock.header.layer.native
    while (widget := widget.nextInFocusChain()) is not dock.header.layer.native:
        if widget in wanted:
            found.append(widget)
    assert found == wanted

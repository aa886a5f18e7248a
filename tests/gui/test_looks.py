"""What a dock says and where its parts are: words of its rows, lines of buttons, titles, tooltips."""

import numpy as np
import pytest
from napari.settings import get_settings
from qtpy.QtCore import QEvent, QObject, QPoint, QRect
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QLabel,
    QPushButton,
    QSlider,
    QToolButton,
    QWidget,
)

from gui.driving import choose_in, click, finish
from napari_exposure.core import AdaptiveEqualization, DecayCorrection, Gamma, HistogramEqualization, PercentileClip
from napari_exposure.core.adjustment import adjustments
from napari_exposure.gui.exposure.rows import Label
from napari_exposure.gui.flow import Flow
from napari_exposure.gui.histogram.caption import Caption
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


def rows_of(view):
    """The labels of the rows that can be seen, under Advanced."""
    return [label.text() for label in view.rest.findChildren(QLabel) if not label.isHidden() and label.buddy()]


# What is offered on a layer with these axes: the axes of a depth correction, the last rows, and who shares a fit.
OFFERED = {
    "yx": ("yx", ["Ignore zeros"], []),
    "zyx": ("zyx", ["Planes"], ["treated together", "each plane alone"]),
    "tyx": ("tyx", ["Time points", "Time window"], ["treated together", "treated separately"]),
    "czyx": ("zyx", ["Time points"], ["treated together", "treated separately", "each plane alone"]),
    "tzyx": ("tzyx", ["Time points", "Time window"], ["treated together", "treated separately", "each plane alone"]),
}


@pytest.mark.parametrize("axes", OFFERED)
def test_cards_offer_what_a_layer_has(viewer, open_widget, axes):
    along, rows, parts = OFFERED[axes]
    data = np.arange(2 * 3 * 20 * 21, dtype=np.uint16).reshape(2, 3, 20, 21)
    for axis in reversed(range(4 - len(axes))):
        data = data[axis]
    viewer.add_image(data, name="image", axis_labels=tuple(axes))
    dock = open_widget("Exposure")
    dock.add_card(DecayCorrection)
    (view,) = dock.cards.views
    box = view.editors["axis"]
    listed = [box.choices[at] for at in range(box.native.count()) if not box.native.view().isRowHidden(at)]
    assert listed == [*along, "surface"]
    # It begins with an axis that is there.
    assert box.value == ("z" if "z" in axes else along[0])
    click(view.advanced)
    assert rows_of(view)[-len(rows) :] == rows
    per = view.editors["per"].native
    if parts:
        assert [per.itemText(at) for at in range(per.count()) if not per.view().isRowHidden(at)] == parts
        # Keys reach what is listed, and nothing else.
        choose_in(per, parts[-1])
        assert dock.adjusted.stack.cards[0].values["per"] == ("plane" if "plane" in parts[-1] else "volume")
    else:
        assert per.isHidden()


def test_a_row_that_means_nothing_here_is_seen_where_something_was_chosen(viewer, volume, open_widget):
    movie = viewer.add_image(np.stack([volume, volume]), name="movie", axis_labels=tuple("tzyx"))
    plane = viewer.add_image(volume[0], name="plane")
    viewer.layers.selection = {movie}
    dock = open_widget("Gamma")
    (view,) = dock.cards.views
    click(view.advanced)
    view.editors["per"].value = "volume"
    viewer.layers.selection = {plane}
    dock.adjusted.follow()
    assert rows_of(view)[-1] == "Planes"
    assert view.editors["per"].value == "volume"
    view.editors["per"].value = "dataset"
    assert rows_of(view)[-1] == "Ignore zeros"


def test_what_is_under_advanced_is_made_when_it_is_opened(viewer, volume, open_widget):
    viewer.add_image(volume, name="nuclei")
    dock = open_widget("Exposure")
    dock.add_card(Gamma)
    (view,) = dock.cards.views
    assert "output" not in view.editors
    assert view.rest is None
    dock.adjusted.stack.set(view.key, "output", "float32")
    assert view.advanced.text() == "Advanced (1 changed)"
    click(view.advanced)
    # It shows what was chosen before it was there, and what is chosen now goes to the card.
    assert view.editors["output"].value == "float32"
    choose_in(view.editors["output"], "same")
    assert dock.adjusted.stack.cards[0].values["output"] == "dtype"
    # Tab goes through it, and the wheel leaves it alone.
    assert view.advanced.nextInFocusChain() in view.rest.findChildren(QWidget)


def test_add_is_always_in_sight(qtbot, make_napari_viewer, volume):
    viewer = make_napari_viewer(show=True)
    viewer.window._qt_window.resize(1280, 720)
    viewer.add_image(volume, name="nuclei")
    _, dock = viewer.window.add_plugin_dock_widget("napari-exposure", "Exposure")
    before = None
    for kind in (DecayCorrection, PercentileClip, Gamma):
        dock.add_card(kind)
        qtbot.wait(100)
        place = dock.tools.add.mapTo(dock.native, dock.tools.add.rect().topLeft())
        assert dock.tools.add.visibleRegion().boundingRect() == dock.tools.add.rect()
        assert before in (None, place)
        before = place


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["red of a kidney", "green of a kidney"], ["red", "green"]),
        (["red of a kidney"], ["red of a kidney"]),
        (["red of a", "red of a - exposure"], ["red of a", "red of a - exposure"]),
        (["nuclei", "nuclei - exposure"], ["nuclei", "nuclei - exposure"]),
    ],
)
def test_a_legend_in_one_line_says_what_differs(qtbot, names, shown):
    caption = Caption(single=True)
    caption.resize(600, 20)
    caption.say([("#ff0000", "■", name) for name in names], "", "#000000")
    text = caption._item.toPlainText().replace("\N{NO-BREAK SPACE}", " ")
    assert [each.strip() for each in text.split("■")[1:]] == shown


def test_short_names_in_a_legend_leave_their_room_to_long_ones():
    caption = Caption(single=True)
    caption.resize(200, 20)
    caption.say(
        [("#ff0000", "■", name) for name in ("a", "b", "a name that is much too long for its line")], "", "#000"
    )
    assert caption._item.document().idealWidth() <= 200
    assert len(caption._item.toPlainText()) > 20


def test_an_axis_that_a_plane_has_in_place_of_z_is_not_remembered(qtbot, viewer, volume, open_widget):
    viewer.add_image(volume[0], name="plane")
    dock = open_widget("Exposure")
    dock.add_card(DecayCorrection)
    assert dock.adjusted.stack.cards[0].values["axis"] == "y"
    dock.adjusted.stack.set(dock.cards.views[0].key, "force", True)
    qtbot.waitUntil(lambda: dock.bar.apply.isEnabled())
    click(dock.bar.apply)
    finish(qtbot, dock)
    viewer.add_image(volume, name="nuclei")
    dock.adjusted.follow()
    dock.add_card(DecayCorrection)
    values = dock.adjusted.stack.cards[0].values
    assert (values["axis"], values["force"]) == ("z", True)


@pytest.fixture
def seen(make_napari_viewer, volume):
    """The Exposure dock in a window that can be seen."""
    viewer = make_napari_viewer(show=True)
    viewer.add_image(volume, name="nuclei", scale=(0.5, 0.26, 0.26), units=("um",) * 3)
    return viewer.window.add_plugin_dock_widget("napari-exposure", "Exposure")[1]


def columns_of(view):
    """Where the labels of a card end."""
    return {label.mapTo(view, QPoint(label.width(), 0)).x() for label in view.findChildren(Label) if label.isVisible()}


def test_labels_stand_in_one_column_at_each_font_size(qtbot, seen):
    appearance = get_settings().appearance
    for kind in (DecayCorrection, HistogramEqualization):
        seen.add_card(kind)
    for view in seen.cards.views:
        click(view.advanced)
        # That is so before anything is painted, so nothing moves.
        assert len({label.sizeHint().width() for label in seen.native.findChildren(Label)}) == 1

    def hint():
        return seen.native.findChildren(Label)[0].sizeHint().width()

    qtbot.waitUntil(lambda: all(len(columns_of(view)) == 1 for view in seen.cards.views))
    before, size = hint(), appearance.font_size
    appearance.font_size = size + 4
    qtbot.waitUntil(lambda: hint() > before)
    appearance.font_size = size
    qtbot.waitUntil(lambda: hint() == before)
    qtbot.waitUntil(lambda: all(len(columns_of(view)) == 1 for view in seen.cards.views))


class Windows(QObject):
    """Takes down which widgets are shown as windows."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Show and isinstance(watched, QWidget) and watched.isWindow():
            self.shown.append(type(watched).__name__)
        return False


@pytest.mark.parametrize("kind", adjustments(), ids=lambda kind: kind.__name__)
def test_no_part_of_a_card_is_shown_as_a_window(qtbot, seen, kind):
    windows = Windows()
    QApplication.instance().installEventFilter(windows)
    seen.add_card(kind)
    qtbot.wait(10)
    click(seen.cards.views[0].advanced)
    qtbot.wait(10)
    QApplication.instance().removeEventFilter(windows)
    assert seen.cards.views[0].rest.isVisible()
    assert windows.shown == []


@pytest.mark.parametrize("points", [9, 14])
def test_numbers_are_whole_and_sliders_are_longer_than_their_handle(qtbot, monkeypatch, seen, points):
    monkeypatch.setattr(get_settings().appearance, "font_size", points)
    seen.add_card(AdaptiveEqualization)
    (view,) = seen.cards.views
    click(view.advanced)
    qtbot.waitUntil(view.rest.isVisible)
    edge, numbers = view.editors["kernel_size"], view.editors["in_range"]
    choose_in(numbers._mode, "fixed numbers")

    def cut():
        boxes = [each.lineEdit() for each in view.findChildren(QAbstractSpinBox) if each.isVisible()]
        return [each.text() for each in boxes if each.fontMetrics().horizontalAdvance(each.text()) + 5 > each.width()]

    for value, low in ((16.0, 100.0), (120.0, 0.00072118465)):
        edge.value = value
        numbers.value = (low, 2000.0)
        qtbot.waitUntil(lambda: cut() == [])
        sliders = [each.width() for each in view.findChildren(QSlider) if each.isVisible()]
        assert len(sliders) == 3
        # The handle is 16 pixels wide in napari's style.
        assert min(sliders) >= 2 * 16

"""What a biologist does in the Exposure dock, with the mouse and with keys: large volumes, and what is to be seen."""

import time

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QScrollArea

from gui.driving import choose, click, finish, no_workers
from napari_exposure import core
from napari_exposure.gui.preview import is_preview


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1280, 720)
    return shown


@pytest.fixture
def nuclei(viewer, volume):
    return viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")


def settled(qtbot, dock, condition=lambda: True):
    qtbot.wait(60)
    qtbot.waitUntil(lambda: not dock.live.running and not dock.running and condition(), timeout=30_000)


def test_a_volume_of_600_megabytes_is_busy_answers_and_can_be_cancelled(qtbot, viewer, open_widget):
    # No memory is taken by zeros that nobody writes.
    data = np.zeros((600, 1000, 1000), np.uint8)
    data[:, 100:200, 100:200] = np.arange(10_000, dtype=np.uint8).reshape(100, 100)
    stack = viewer.add_image(data, name="stack", scale=(1, 0.3, 0.3), units="um", contrast_limits=(0, 255))
    dock = open_widget("Exposure")
    choose(dock.tools.add_menu, "Adaptive equalization")
    # It is too large for a live layer that comes by itself.
    assert not dock.bar.live.isChecked()
    qtbot.waitUntil(lambda: dock.bar.apply.isEnabled())
    click(dock.bar.apply)
    # In the same turn of the event loop it says that it is busy, and what can be done about it.
    assert dock.bar.state.said().startswith("Apply")
    assert dock.bar.cancel.isEnabled()
    assert not dock.bar.apply.isEnabled()
    assert not dock.bar.progress.isHidden()
    turns = []
    timer = QTimer()
    timer.timeout.connect(lambda: turns.append(time.monotonic()))
    timer.start(10)
    qtbot.waitUntil(lambda: "%" in dock.bar.state.said(), timeout=30_000)
    # The window answers meanwhile: the slider goes where it is asked to, and is drawn.
    for plane in (10, 300, 599):
        viewer.dims.set_current_step(0, plane)
        qtbot.wait(20)
        assert stack._slice.slice_input.world_slice.point[0] == plane
    assert len(turns) > 3
    timer.stop()
    assert dock.running
    click(dock.bar.cancel)
    finish(qtbot, dock)
    assert dock.bar.state.said() == "Cancelled; nothing was made."
    assert list(viewer.layers) == [stack]
    assert dock.bar.progress.isHidden()
    qtbot.waitUntil(no_workers, timeout=30_000)
    # The live layer is there on demand, of a sample first, and goes when it is switched off.
    click(dock.bar.live)
    qtbot.waitUntil(lambda: any(map(is_preview, viewer.layers)), timeout=30_000)
    assert dock.bar.state.said().startswith(("Approximate, updating", "Updating", "Up to date"))
    click(dock.bar.live)
    qtbot.waitUntil(lambda: list(viewer.layers) == [stack])
    qtbot.waitUntil(no_workers, timeout=30_000)


def in_sight(dock, widget):
    area = dock.native.findChild(QScrollArea)
    top = widget.mapTo(area.viewport(), QPoint(0, 0)).y()
    return top >= 0 and top + widget.height() <= area.viewport().height()


def test_a_new_card_is_scrolled_to_and_nothing_jumps_where_it_is_in_sight(qtbot, viewer, nuclei, open_widget):
    dock = open_widget("Exposure")
    bar = dock.native.findChild(QScrollArea).verticalScrollBar()
    for name in ("Depth correction", "Percentile clipping", "Adaptive equalization"):
        choose(dock.tools.add_menu, name)
        view = dock.cards.views[-1]
        qtbot.waitUntil(lambda: in_sight(dock, view.head) and in_sight(dock, view.advanced))  # noqa: B023
        settled(qtbot, dock)
        qtbot.wait(600)
        assert in_sight(dock, view.head)
        assert in_sight(dock, view.advanced)
    # Without the histogram and with folded cards the next one is in sight without scrolling.
    click(dock.plot.fold)
    for view in dock.cards.views:
        QTest.mouseClick(view.head, Qt.MouseButton.LeftButton)
    qtbot.wait(200)
    bar.setValue(0)
    choose(dock.tools.add_menu, "Gamma")
    qtbot.wait(700)
    assert bar.value() == 0
    assert in_sight(dock, dock.cards.views[-1].advanced)


def test_a_warning_stands_in_the_state_and_above_the_plot(qtbot, viewer, open_widget):
    bright = np.random.default_rng(0).gamma(4, 200, (20, 40, 48)).astype(np.uint16)
    viewer.add_image(core.degrade(bright, 2.0), name="deep", scale=(2, 0.5, 0.5), units="um")
    dock = open_widget("Exposure")
    choose(dock.tools.add_menu, "Depth correction")
    settled(qtbot, dock, lambda: dock.bar.state.said() == "Up to date")
    view, editors = dock.cards.views[0], dock.cards.views[0].editors
    choose(dock.tools.add_menu, "Gamma")
    settled(qtbot, dock, lambda: dock.bar.state.said() == "Up to date")
    controls = view.advanced, dock.cards.views[1].head, dock.tools.add, dock.bar.apply
    qtbot.wait(600)
    before = [each.mapTo(dock.native, QPoint(0, 0)).y() for each in controls]
    # The axis goes to x and the model to planes, with keys, as their boxes have them.
    for name, word in (("axis", "x"), ("model", "plane")):
        editors[name].native.setFocus()
        while editors[name].value != word:
            QTest.keyClick(editors[name].native, Qt.Key.Key_Down)
    warned = "Up to date. Depth correction: nothing is corrected along x"
    settled(qtbot, dock, lambda: dock.bar.state.said().startswith(warned))
    qtbot.waitUntil(lambda: dock.up_to_date)
    # A sign stands in the card, and no control has moved; a click on the sign opens the whole of the warning.
    assert view.alert.isVisible()
    assert [each.mapTo(dock.native, QPoint(0, 0)).y() for each in controls] == before
    assert not view.notes.isVisible()
    click(view.alert)
    assert view.notes.isVisible()
    assert "Is the background wrong? Try auto." in view.notes.text()
    assert "force" not in view.notes.text()
    assert view.notes.mapTo(view, QPoint(0, 0)).y() < view.body.y()


def test_a_result_whose_source_is_gone_says_so(qtbot, viewer, nuclei, open_widget):
    dock = open_widget("Exposure")
    choose(dock.tools.add_menu, "Gamma")
    settled(qtbot, dock)
    click(dock.bar.apply)
    finish(qtbot, dock)
    result = viewer.layers["nuclei - gamma"]
    viewer.layers.remove(nuclei)
    viewer.layers.selection = {result}
    qtbot.waitUntil(lambda: dock.layer == result)
    qtbot.waitUntil(lambda: "“nuclei” is not open" in dock.bar.state.said())


def test_the_menu_add_has_titles(dock_of, qtbot):
    menu = dock_of.tools.add_menu
    menu.aboutToShow.emit()
    titles = [action.defaultWidget().text() for action in menu.actions() if hasattr(action, "defaultWidget")]
    assert [title.strip("</b>") for title in titles][:2] == ["Correct", "Range and curve"]
    assert len(titles) == 4


@pytest.fixture
def dock_of(nuclei, open_widget):
    return open_widget("Exposure")

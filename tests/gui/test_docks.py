"""The docks of the plugin fit a small screen, alone and beside each other."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QLabel,
    QScrollArea,
    QSlider,
)

from gui.driving import OLD
from napari_exposure.gui.profile_plot import ProfilePlot

DOCKS = [
    "Exposure",
    "Gamma",
    "Percentile clipping",
    "Histogram equalization",
    "Histogram matching",
    "Adaptive equalization",
    "Depth correction",
    "Simulated decay",
    "Histogram & CDF",
    "Orthogonal planes",
]
# as narrow as docks are that float; 16 pixels of it are the buttons of Qt's own title bar on old versions of napari
NARROW = 336
TOGETHER = [
    ["Adaptive equalization", "Histogram & CDF"],
    ["Depth correction", "Orthogonal planes"],
    ["Histogram & CDF", "Depth correction", "Gamma"],
]


@pytest.fixture
def viewer(make_napari_viewer, volume):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1366, 768)
    shown.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units=("um",) * 3)
    return shown


@pytest.fixture
def open_dock(qtbot, viewer):
    def open_it(name):
        dock, _ = viewer.window.add_plugin_dock_widget("napari-exposure", name)
        qtbot.wait(100)
        return dock

    return open_it


def area_of(dock):
    (area,) = (each for each in dock.findChildren(QScrollArea) if each.widget().layout() is not None)
    return area


def float_at(qtbot, dock, width, height):
    """Let a dock be a window of its own, of which the size can be chosen."""
    dock.setFloating(True)
    dock.resize(width, height)
    qtbot.waitUntil(lambda: (dock.width(), dock.height()) == (width, height))
    qtbot.wait(50)


def turn_wheel(widget, notches):
    """Turn the wheel over a widget; as Qt does with what a mouse sends, ask its parents where it does not take it."""
    while widget is not None:
        where = QPointF(widget.rect().center())
        event = QWheelEvent(
            where,
            widget.mapToGlobal(where),
            QPoint(0, 0),
            QPoint(0, 120 * notches),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        event.ignore()
        QApplication.sendEvent(widget, event)
        widget = None if event.isAccepted() else widget.parentWidget()


@pytest.mark.parametrize("name", DOCKS)
def test_a_dock_may_be_small(qtbot, open_dock, name):
    dock = open_dock(name)
    dock.setFloating(True)
    least = dock.minimumSizeHint()
    assert least.height() <= 300
    # without the bar that Qt gives a window on old versions of napari
    assert dock.widget().minimumSizeHint().width() <= 320
    float_at(qtbot, dock, least.width(), 300)
    area = area_of(dock)
    assert area.horizontalScrollBar().maximum() == 0
    assert area.verticalScrollBar().maximum() > 0
    # all of it can be reached, and nothing lies beyond its edge
    body = area.widget()
    assert area.verticalScrollBar().maximum() == body.height() - area.viewport().height()
    inside = [body.layout().itemAt(at).geometry() for at in range(body.layout().count())]
    assert all(body.rect().contains(each) for each in inside if not each.isEmpty())


@pytest.mark.parametrize("name", DOCKS)
def test_a_dock_with_room_does_not_scroll(qtbot, open_dock, name):
    dock = open_dock(name)
    float_at(qtbot, dock, 400, 950)
    area = area_of(dock)
    assert area.verticalScrollBar().maximum() == area.horizontalScrollBar().maximum() == 0
    assert area.widget().size() == area.viewport().size()


@pytest.mark.parametrize("names", TOGETHER)
def test_the_window_does_not_grow(qtbot, viewer, open_dock, names):
    window = viewer.window._qt_window
    before, least = window.size(), window.minimumSizeHint().height()
    docks = [open_dock(name) for name in names]
    assert window.size() == before
    # two docks one above the other are a little higher than all else of an old napari is at least
    assert window.minimumSizeHint().height() <= max(least, 540 + 12 * OLD)
    # each gets its share
    qtbot.waitUntil(
        lambda: len(docks) * min(dock.height() for dock in docks) > 0.5 * sum(map(QDockWidget.height, docks))
    )


def test_a_warning_makes_room_for_itself(qtbot, viewer, open_dock):
    dock = open_dock("Adaptive equalization")
    window, area = viewer.window._qt_window, area_of(dock)
    float_at(qtbot, dock, NARROW, 400)
    least = dock.minimumSizeHint().height()
    # without a voxel size
    viewer.add_image(np.zeros((8, 30, 30), np.uint16), name="bare")
    qtbot.waitUntil(lambda: any("No voxel size is known" in label.text() for label in dock.findChildren(QLabel)))
    body = area.widget()
    needed = body.layout().heightForWidth
    qtbot.waitUntil(lambda: body.height() == needed(body.width()))
    assert area.verticalScrollBar().maximum() == body.height() - area.viewport().height() > 0
    assert dock.minimumSizeHint().height() == least
    assert (dock.width(), dock.height()) == (NARROW, 400)
    assert window.height() == 768


@pytest.mark.parametrize("name", [name for name in DOCKS if name != "Orthogonal planes"])
def test_the_wheel_scrolls_and_changes_no_value(qtbot, open_dock, name):
    dock = open_dock(name)
    float_at(qtbot, dock, NARROW, 240)
    bar = area_of(dock).verticalScrollBar()

    def values(editor):
        return editor.currentIndex() if isinstance(editor, QComboBox) else editor.value()

    kinds = (QAbstractSpinBox, QComboBox, QSlider)
    editors = [each for kind in kinds for each in dock.findChildren(kind) if each.isVisible()]
    assert len(editors) >= 2
    for editor in editors:
        bar.setValue(0)
        before = values(editor)
        editor.setFocus()
        bar.setValue(0)
        turn_wheel(editor, -1)
        assert values(editor) == before
        assert bar.value() > 0
        turn_wheel(editor, 1)
        assert values(editor) == before
        assert bar.value() == 0


def test_the_wheel_over_a_plot_without_zoom_scrolls(qtbot, open_dock):
    dock = open_dock("Depth correction")
    float_at(qtbot, dock, NARROW, 300)
    plot = dock.findChild(ProfilePlot)
    turn_wheel(plot.viewport(), -1)
    assert area_of(dock).verticalScrollBar().value() > 0


def test_what_scrolls_by_itself_still_does(qtbot, open_dock):
    dock = open_dock("Histogram & CDF")
    panel = dock.inner_widget()
    float_at(qtbot, dock, NARROW, 450)
    bar = panel.numbers.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    turn_wheel(panel.numbers.viewport(), -1)
    assert bar.value() > 0
    assert area_of(dock).verticalScrollBar().value() == 0


SCALED = """
import json, sys, time
import napari, numpy as np
from qtpy.QtWidgets import QApplication

def turn(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)

viewer = napari.Viewer()
window = viewer.window._qt_window
viewer.add_image(np.arange(8 * 30 * 30, dtype=np.uint16).reshape(8, 30, 30))
# of 1366 x 768 pixels of the screen
window.resize(911, 512)
turn(0.5)
alone = window.width(), window.height()
found = []
for names in json.loads(sys.argv[1]):
    docks = [viewer.window.add_plugin_dock_widget("napari-exposure", name)[0] for name in names]
    turn(1)
    found.append([names, [window.width(), window.height()]])
    for dock in docks:
        dock.destroyOnClose()
    turn(0.1)
print(json.dumps([window.devicePixelRatioF(), alone, found]))
viewer.close()
"""


def test_the_window_does_not_grow_at_150_percent(tmp_path):
    asked = json.dumps([*([name] for name in DOCKS), *TOGETHER])
    environment = {**os.environ, "QT_SCALE_FACTOR": "1.5", "NAPARI_CONFIG": str(tmp_path / "settings.yaml")}
    run = [sys.executable, "-c", SCALED, asked]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    ratio, alone, found = json.loads(done.stdout.splitlines()[-1])
    assert ratio == 1.5
    assert [names for names, _ in found] == json.loads(asked)
    assert {width for _, (width, _) in found} == {alone[0]}
    # some more on an old napari, whose own controls of the lines that Orthogonal planes draws are higher
    assert max(height for _, (_, height) in found) <= alone[1] + 32 * OLD

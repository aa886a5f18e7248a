"""The histogram panel in a shown window, driven with real mouse and key events."""

import csv
import gc
import os
import re
import subprocess
import sys
import threading
import time
from xml.etree import ElementTree

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Image
from napari.settings import get_settings
from qtpy.QtCore import QEvent, QPoint, QPointF, QRectF, Qt
from qtpy.QtGui import QFont, QFontMetricsF, QGuiApplication, QImage, QMouseEvent, QPainter, QWheelEvent
from qtpy.QtSvg import QSvgRenderer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QDockWidget,
    QDoubleSpinBox,
    QFileDialog,
    QMessageBox,
)

import napari_exposure as nx
from napari_exposure.core.counting import count_histogram
from napari_exposure.core.volume import Volume
from napari_exposure.gui.histogram import counter, survey
from napari_exposure.gui.histogram.counter import NOTHING
from napari_exposure.gui.histogram.items import Line
from napari_exposure.gui.histogram.panel import PLOT, TABLE
from napari_exposure.gui.histogram.tile import count_tile_at
from napari_exposure.gui.napari_versions import camera_of

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1200, 800)
    return shown


@pytest.fixture
def panel(open_widget):
    return open_widget("Histogram & CDF")


def settled(panel):
    """Whether nothing is being counted and nothing waits to be."""
    return not panel.counter.running and panel.model.content.complete


def wait(qtbot, panel, condition=lambda: True):
    qtbot.wait(60)
    qtbot.waitUntil(lambda: settled(panel) and condition(), timeout=20_000)


def exact(panel):
    return panel.model.main is not None and panel.model.main.coverage.startswith("exact")


def mouse(view, kind, position, button=NONE, buttons=NONE):
    port = view.viewport()
    where = QPointF(position)
    event = QMouseEvent(kind, where, port.mapToGlobal(where), button, buttons, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(port, event)


def drag(qtbot, view, start, stop):
    """Press at a point of the plot, move in steps, release at another."""
    a, b = QPointF(view.point_of(*start)), QPointF(view.point_of(*stop))
    mouse(view, QEvent.Type.MouseMove, a)
    mouse(view, QEvent.Type.MouseButtonPress, a, LEFT, LEFT)
    for k in range(1, 6):
        qtbot.wait(15)
        mouse(view, QEvent.Type.MouseMove, a + (b - a) * (k / 5), NONE, LEFT)
    mouse(view, QEvent.Type.MouseButtonRelease, b, LEFT, NONE)
    qtbot.wait(350)


def wheel(view, point, notches):
    where = QPointF(view.point_of(*point))
    port = view.viewport()
    event = QWheelEvent(
        where,
        port.mapToGlobal(where),
        QPoint(0, 0),
        QPoint(0, 120 * notches),
        NONE,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(port, event)


def click(button):
    assert button.isEnabled()
    QTest.mouseClick(button, LEFT)


def choose(box, text):
    """Choose an entry of a combobox by its keys."""
    box.setFocus()
    index = box.findText(text)
    assert index >= 0, [box.itemText(i) for i in range(box.count())]
    while box.currentIndex() != index:
        QTest.keyClick(box, Qt.Key.Key_Down if box.currentIndex() < index else Qt.Key.Key_Up)


def same(a, b):
    np.testing.assert_array_equal(a.counts, b.counts)
    np.testing.assert_array_equal(a.edges, b.edges)


# --- what is counted --------------------------------------------------------------------


def test_it_shows_the_object_that_the_console_gives(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei")
    wait(qtbot, panel, lambda: exact(panel))
    same(panel.histogram, nx.histogram(layer))
    assert panel.model.main.coverage == f"exact, {volume.size:,} voxels"
    assert panel.model.content.unit == "gray level, uint16"


def test_floats_have_exact_percentiles(qtbot, viewer, panel, volume):
    data = np.sqrt(volume.astype(np.float32))
    layer = viewer.add_image(data, name="root")
    wait(qtbot, panel, lambda: exact(panel))
    same(panel.histogram, nx.histogram(layer, survey.BINS))
    assert panel.model.percentile_lines() == tuple(np.percentile(data.astype(float), (0.5, 99.5)))
    panel.low.setValue(10)
    wait(qtbot, panel, lambda: panel.model.main.knows(10.0))
    assert panel.model.percentile_lines()[0] == np.percentile(data.astype(float), 10)


def test_scopes_follow_the_sliders(qtbot, viewer, panel):
    data = np.random.default_rng(0).integers(0, 4000, (3, 5, 20, 24), dtype=np.uint16)
    viewer.add_image(data, name="movie", scale=(1, 2, 1, 1), axis_labels="tzyx")
    viewer.dims.set_current_step((0, 1), (2, 3))
    wait(qtbot, panel, lambda: exact(panel))
    choose(panel.scope, "This volume")
    wait(qtbot, panel, lambda: panel.model.main.coverage.startswith("volume t = 2"))
    assert panel.histogram.total == data[2].size
    np.testing.assert_array_equal(panel.histogram.counts, np.trim_zeros(np.bincount(data[2].ravel())))
    choose(panel.scope, "Plane in view")
    wait(qtbot, panel, lambda: "plane t = 2, z = 3" in panel.model.main.coverage)
    assert panel.histogram.mean == pytest.approx(data[2, 3].mean())
    viewer.dims.set_current_step(1, 0)
    wait(qtbot, panel, lambda: "plane t = 2, z = 0" in panel.model.main.coverage)
    assert panel.histogram.mean == pytest.approx(data[2, 0].mean())
    # the other planes of the stack too
    viewer.dims.order = (0, 2, 1, 3)
    viewer.dims.set_current_step(2, 7)
    wait(qtbot, panel, lambda: "plane t = 2, y = 7" in panel.model.main.coverage)
    assert panel.histogram.mean == pytest.approx(data[2, :, 7].mean())
    viewer.dims.ndisplay = 3
    wait(qtbot, panel, lambda: "volume t = 2" in panel.model.main.coverage)
    assert panel.histogram.mean == pytest.approx(data[2].mean())


@pytest.mark.parametrize("lazy", [False, True])
def test_a_slider_does_not_count_the_whole_dataset_again(qtbot, viewer, panel, volume, monkeypatch, lazy):
    data = da.from_array(volume, chunks=(1, -1, -1)) if lazy else volume
    for _ in range(2):
        viewer.add_image(data, contrast_limits=(0, 2000))
    wait(qtbot, panel, lambda: exact(panel))
    counted = []
    original = survey.targets
    monkeypatch.setattr(survey, "targets", lambda *args: counted.append(1) or original(*args))
    for z in range(5):
        viewer.dims.set_current_step(0, z)
        qtbot.wait(20)
    viewer.layers[1].contrast_limits = 0, 100
    viewer.layers[1].gamma = 0.5
    qtbot.wait(200)
    assert counted == []
    if lazy:
        viewer.dims.ndisplay = 3
        qtbot.wait(300)
        assert counted == []


@pytest.mark.parametrize("rgb", [False, True])
def test_a_plane_of_a_store_is_read_once_for_all_that_is_counted_of_it(qtbot, viewer, panel, rgb):
    read = []

    def noted(block, block_info=None):
        read.extend([block_info[0]["chunk-location"]] * bool(block_info))
        return block

    stack = np.random.default_rng(1).integers(0, 255, (6, 30, 40, 3) if rgb else (6, 30, 40), np.uint8)
    lazy = da.from_array(stack, chunks=(1, 15, 40, 3)[: stack.ndim]).map_blocks(noted, dtype=stack.dtype)
    layer = viewer.add_image(lazy, rgb=rgb)
    mask = viewer.add_labels(stack[..., 0] % 2 if rgb else stack % 2)
    viewer.layers.selection.active = layer
    panel.scope.setCurrentIndex(panel.scope.findData("plane"))
    panel.mask.setCurrentIndex(1)
    wait(qtbot, panel)
    read.clear()
    panel.counter.count()
    wait(qtbot, panel)
    assert sorted(read) == [(2, 0, 0, 0)[: stack.ndim], (2, 1, 0, 0)[: stack.ndim]]
    plane, inside = stack[2], mask.data[2] > 0
    for n, curve in enumerate(panel.model.content.curves[:3]):
        values = (plane[..., n] if rgb else plane)[inside]
        assert curve.histogram.total == values.size
        assert curve.percentile(50) == np.median(values)
        assert curve.coverage.startswith("plane z = 2, inside")


def test_inside_labels_and_without_zeros(qtbot, viewer, panel, volume):
    volume[:3] = 0
    viewer.add_image(volume, name="nuclei")
    cells = np.zeros(volume.shape, int)
    cells[:, 5:20] = 3
    labels = viewer.add_labels(cells, name="cells")
    wait(qtbot, panel, lambda: exact(panel))
    # a labels layer that becomes active leaves the image where it is
    assert viewer.layers.selection.active == labels
    assert panel.model.main.name == "nuclei"
    choose(panel.mask, "Inside cells")
    wait(qtbot, panel, lambda: "inside cells" in panel.model.main.coverage)
    assert panel.histogram.total == (cells > 0).sum()
    click(panel.zeros)
    wait(qtbot, panel, lambda: "without zeros" in panel.model.main.coverage)
    assert panel.histogram.total == ((cells > 0) & (volume > 0)).sum()
    # painting counts again
    labels.brush_size = 8
    labels.paint((6, 30, 30), 4)
    wait(qtbot, panel, lambda: panel.histogram.total == ((labels.data > 0) & (volume > 0)).sum())
    viewer.layers.remove(labels)
    wait(qtbot, panel, lambda: panel.histogram.total == (volume > 0).sum())
    assert panel.mask.currentText() == "All voxels"


def test_several_layers_and_colors(qtbot, viewer, panel, volume):
    a = viewer.add_image(volume, name="a", colormap="green")
    b = viewer.add_image(volume // 2, name="b", colormap="magenta")
    c = viewer.add_image(volume // 3, name="c")
    viewer.layers.selection = {a, b, c}
    wait(qtbot, panel, lambda: len(panel.model.content.curves) == 3)
    names = {curve.name: curve.color for curve in panel.model.content.curves}
    assert names["a"][1] > 150 > 10 > names["a"][0]
    assert names["b"][0] > 150 > 10 > names["b"][1]
    assert names["c"] is None
    a.name, a.colormap = "nuclei", "red"
    qtbot.wait(50)
    assert {curve.name: curve.color for curve in panel.model.content.curves}["nuclei"][0] > 150


def test_rgb_has_three_colors_and_luminance(qtbot, viewer, panel):
    data = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    viewer.add_image(data, rgb=True, name="photo")
    wait(qtbot, panel, lambda: len(panel.model.content.curves) == 4)
    curves = {curve.name.removesuffix(" of photo"): curve.histogram for curve in panel.model.content.curves}
    for k, name in enumerate(("red", "green", "blue")):
        assert curves[name].mean == pytest.approx(data[..., k].mean())
    assert curves["luminance"].mean == pytest.approx((data @ [0.2126, 0.7152, 0.0722]).mean(), abs=0.1)
    # napari shows them as they are: there is nothing to drag
    assert panel.model.display is None
    assert not panel.view.handles.limits[0].isVisible()
    assert not panel.set_limits.isEnabled()


# --- awkward data -----------------------------------------------------------------------

AWKWARD = {
    "all NaN": (np.full((4, 5, 6), np.nan, np.float32), "no finite voxel"),
    "some NaN and infinities": (np.array([[np.nan, np.inf, -np.inf, 1, 2]] * 5, np.float32), ""),
    "constant": (np.full((4, 5, 6), 7, np.uint8), ""),
    "constant float": (np.full((4, 5, 6), 0.1, np.float32), ""),
    "one voxel": (np.array([[3]], np.uint16), ""),
    "65,536 values": (np.arange(65536, dtype=np.uint16).reshape(256, 256), ""),
    "tiny": (np.linspace(1e-30, 2e-30, 400, dtype=np.float64).reshape(20, 20), ""),
    "huge": (np.linspace(-1e30, 1e30, 400, dtype=np.float32).reshape(20, 20), ""),
    "negative": (np.arange(-50, 50, dtype=np.int16).reshape(10, 10), ""),
    "bool": (np.eye(8, dtype=bool), ""),
    "64-bit integers": (np.arange(64).reshape(8, 8), ""),
    "integers beyond float64": (np.arange(64).reshape(8, 8) << 50, "2**53"),
    "big-endian": (np.arange(100, dtype=">u2").reshape(10, 10), ""),
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # napari's own thumbnails of such data
def test_awkward_data_are_drawn_or_explained(qtbot, viewer, panel, messages, name):
    data, sentence = AWKWARD[name]
    viewer.add_layer(Image(data, contrast_limits=(0, 1), name=name))
    wait(qtbot, panel, lambda: panel.model.main is not None or panel.model.content.message not in ("", NOTHING))
    assert sentence in panel.model.content.message
    assert bool(panel.model.content.message) == bool(sentence)
    panel.view.grab()
    if not sentence:
        finite = data[np.isfinite(data)].astype(float)
        assert panel.histogram.minimum == finite.min()
        assert panel.histogram.maximum == finite.max()
        assert panel.histogram.counts.sum() == finite.size
    panel.copy_statistics()
    assert messages() == []


def test_limits_of_binned_data_are_marked_as_approximate(qtbot, viewer, panel, volume):
    viewer.add_image(volume.astype(np.float32), name="floats", contrast_limits=(200, 1500))
    wait(qtbot, panel, lambda: exact(panel))
    assert dict(panel.model.rows())["below limits"].startswith("≈ ")


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")  # napari says so of such a layer
def test_a_tilted_layer_is_counted_where_napari_slices_it(qtbot, viewer, panel):
    data = np.repeat(np.arange(60, dtype=np.uint16)[:, None, None] * 100, 64, 1).repeat(64, 2)
    layer = viewer.add_image(data, name="tilted", rotate=(0, 10, 0))
    choose(panel.scope, "Plane in view")
    for z in (20, 30, 40):
        viewer.dims.set_point(0, z)
        wait(qtbot, panel, lambda: panel.model.main is not None and "plane" in panel.model.main.coverage)
        qtbot.waitUntil(lambda: panel.histogram.mean == layer._slice.image.raw.mean(), timeout=5000)


def test_a_narrow_range_far_from_zero(qtbot, viewer, panel):
    data = np.random.default_rng(0).random((8, 20, 20)) * 1e-3 + 1e6
    layer = viewer.add_image(data, name="offset", contrast_limits=(1e6, 1e6 + 1e-3))
    wait(qtbot, panel, lambda: exact(panel))
    drag(qtbot, panel.view, (1e6 + 1e-3, 0.3), (1e6 + 5e-4, 0.3))
    assert layer.contrast_limits == pytest.approx([1e6, 1e6 + 5e-4], abs=5e-5, rel=0)
    rows = dict(panel.model.rows())
    assert float(rows["minimum"]) == pytest.approx(data.min(), abs=1e-6, rel=0)


def test_a_scope_beside_the_layer_says_so(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="nuclei")
    viewer.add_image(volume, name="far away", translate=(100, 0, 0))
    viewer.layers.selection.active = viewer.layers["nuclei"]
    choose(panel.scope, "Plane in view")
    viewer.dims.set_point(0, 105)
    wait(qtbot, panel, lambda: "nothing at this z" in panel.model.content.message)
    viewer.dims.set_point(0, 4)
    wait(qtbot, panel, lambda: panel.model.main is not None and "z = 4" in panel.model.main.coverage)


def test_without_an_image_it_says_what_to_do(qtbot, viewer, panel):
    wait(qtbot, panel)
    assert "Open Sample" in panel.model.content.message
    assert not panel.set_limits.isEnabled()
    assert not panel.clip.isEnabled()


# --- lines and handles ------------------------------------------------------------------


def test_contrast_limits_are_dragged_both_ways(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei")
    layer.contrast_limits = 500, 2000
    wait(qtbot, panel, lambda: exact(panel))
    drag(qtbot, panel.view, (2000, 0.3), (1500, 0.3))
    assert layer.contrast_limits == pytest.approx([500, 1500], rel=0.02)
    drag(qtbot, panel.view, (500, 0.3), (800, 0.3))
    assert layer.contrast_limits == pytest.approx([800, 1500], rel=0.02)
    # they never cross
    drag(qtbot, panel.view, (layer.contrast_limits[0], 0.3), (1900, 0.3))
    low, high = layer.contrast_limits
    assert low < high == pytest.approx(1500, rel=0.02)
    layer.contrast_limits = 300, 900
    assert [line.value() for line in panel.view.handles.limits] == [300, 900]


def test_gamma_is_dragged_both_ways(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei", contrast_limits=(0, 2000))
    wait(qtbot, panel, lambda: exact(panel))
    drag(qtbot, panel.view, (1000, 0.5), (1000, 0.25))
    assert layer.gamma == pytest.approx(2, abs=0.05)
    layer.gamma = 1.5
    assert panel.view.handles.gamma.pos().y() == pytest.approx(0.5**1.5)
    drag(qtbot, panel.view, (1000, 0.5**1.5), (1600, 0.7))
    assert layer.gamma == pytest.approx(np.log(0.7) / np.log(0.5), abs=0.05)
    # it moves up and down only
    assert panel.view.handles.gamma.pos().x() == pytest.approx(1000)


def test_the_display_is_drawn_as_napari_shows_it(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei", contrast_limits=(0, 1000), gamma=0.5, colormap="viridis")
    wait(qtbot, panel, lambda: exact(panel))
    display = panel.model.display
    np.testing.assert_allclose(display.level([-5, 0, 250, 1000, 5000]), [0, 0, 0.5, 1, 1])
    expected = np.round(255 * layer.colormap.map(np.array([0.5]))[0])
    np.testing.assert_allclose(display.colors[round(255 * 0.5)], expected, atol=2)


def test_percentile_lines_are_dragged_and_typed(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="nuclei", contrast_limits=(0, 5000))
    wait(qtbot, panel, lambda: exact(panel))
    assert panel.model.percentile_lines() == tuple(np.percentile(volume, (0.5, 99.5)))
    start = np.percentile(volume, 99.5)
    drag(qtbot, panel.view, (start, 0.4), (np.percentile(volume, 80), 0.4))
    assert panel.high.value() == pytest.approx(80, abs=1)
    panel.low.selectAll()
    QTest.keyClicks(panel.low.lineEdit(), "25")
    QTest.keyClick(panel.low, Qt.Key.Key_Return)
    assert panel.model.percentile_lines()[0] == np.percentile(volume, 25)
    assert panel.view.handles.percentiles[0].value() == np.percentile(volume, 25)
    # low stays below high
    panel.low.setValue(99)
    assert panel.low.value() < panel.high.value()


def test_the_buttons_set_limits_and_clip(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    before = volume.copy()
    wait(qtbot, panel, lambda: exact(panel))
    panel.low.setValue(2)
    panel.high.setValue(90)
    click(panel.set_limits)
    assert layer.contrast_limits == pytest.approx(np.percentile(volume, (2, 90)))
    np.testing.assert_array_equal(layer.data, before)
    click(panel.clip)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    expected = nx.clip_percentiles(layer, 2, 90)
    np.testing.assert_array_equal(viewer.layers[1].data, expected.data)
    assert viewer.layers[1].metadata["napari_exposure"]["steps"] == expected.metadata["napari_exposure"]["steps"]
    # the new layer is shown, with what it was made from
    wait(qtbot, panel, lambda: panel.model.content.before is not None)
    assert panel.model.main.name == "nuclei - clip"
    assert panel.model.content.before.name == "nuclei"


def test_wheel_pan_and_double_click(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="nuclei", contrast_limits=(0, int(volume.max())))
    wait(qtbot, panel, lambda: exact(panel))
    view = panel.view
    whole = view.box.viewRange()[0]
    wheel(view, (1000, 0.5), 8)
    qtbot.wait(50)
    zoomed = view.box.viewRange()[0]
    assert zoomed[1] - zoomed[0] < 0.5 * (whole[1] - whole[0])
    assert zoomed[0] < 1000 < zoomed[1]
    bottom, top = view.box.viewRange()[1]
    assert bottom == 0 < 1 < top < 1.3
    # what is outside is said at the edges
    above = int((volume > zoomed[1]).sum())
    said = int("".join(filter(str.isdigit, view._edges[1].toPlainText())))
    assert said == pytest.approx(above, rel=0.1)
    # counting something else leaves the zoom as it is
    choose(panel.scope, "Plane in view")
    wait(qtbot, panel, lambda: panel.histogram.total == volume[0].size)
    assert view.box.viewRange()[0] == pytest.approx(zoomed)
    choose(panel.scope, "Whole dataset")
    wait(qtbot, panel, lambda: panel.histogram.total == volume.size)
    middle = sum(zoomed) / 2
    quarter = (zoomed[1] - zoomed[0]) / 4
    drag(qtbot, view, (middle + 0.1 * quarter, 0.9), (middle + 1.1 * quarter, 0.9))
    assert view.box.viewRange()[0][0] == pytest.approx(zoomed[0] - quarter, abs=0.3 * quarter)
    position = QPointF(view.point_of(middle, 0.8))
    for kind in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease):
        mouse(view, kind, position, LEFT, LEFT)
    mouse(view, QEvent.Type.MouseButtonDblClick, position, LEFT, LEFT)
    mouse(view, QEvent.Type.MouseButtonRelease, position, LEFT)
    assert view.box.viewRange()[0] == pytest.approx(whole)


def test_clipping_uses_the_lines_of_the_scope(qtbot, viewer, panel):
    data = np.stack([np.random.default_rng(k).integers(1000 * k, 1000 * k + 900, (40, 40)) for k in range(5)])
    viewer.add_image(data.astype(np.uint16), name="steps")
    viewer.dims.set_current_step(0, 2)
    choose(panel.scope, "Plane in view")
    wait(qtbot, panel, lambda: exact(panel) or "plane" in getattr(panel.model.main, "coverage", ""))
    low, high = panel.model.percentile_lines()
    assert (low, high) == pytest.approx(np.percentile(data[2], (0.5, 99.5)))
    click(panel.clip)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    expected = np.rint(65535 * np.clip((data - low) / (high - low), 0, 1))
    np.testing.assert_allclose(viewer.layers[1].data, expected, atol=1)


# --- before and after, tiles ------------------------------------------------------------


@pytest.mark.parametrize("verb", [nx.adjust_gamma, nx.clip_percentiles, nx.equalize_hist])
def test_before_and_after_with_the_mapping(qtbot, viewer, panel, volume, verb):
    layer = viewer.add_image(volume, name="nuclei")
    result = viewer.add_layer(verb(layer, 0.6) if verb is nx.adjust_gamma else verb(layer))
    wait(qtbot, panel, lambda: panel.model.content.before is not None)
    same(panel.model.content.before.histogram, nx.histogram(layer))
    same(panel.histogram, nx.histogram(result))
    values, level = panel.model.mapping()
    place = np.array([np.flatnonzero(volume.ravel() >= v)[0] for v in values[1:-1:50]])
    intensities = volume.ravel()[place].astype(float)
    low, high = (float(volume.min()), float(volume.max())) if verb is nx.adjust_gamma else (0, 65535)
    expected = (result.data.ravel()[place] - low) / (high - low)
    np.testing.assert_allclose(np.interp(intensities, values, level), expected, atol=0.02)
    click(panel.compare)
    wait(qtbot, panel, lambda: panel.model.content.before is None)
    assert len(panel.model.content.curves) == 1


def test_there_is_no_before_when_it_has_gone_or_changed(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei")
    result = viewer.add_layer(nx.equalize_hist(layer))
    wait(qtbot, panel, lambda: panel.model.content.before is not None)
    result.data = volume.copy()
    wait(qtbot, panel, lambda: panel.model.content.before is None)
    other = viewer.add_layer(nx.equalize_hist(layer))
    wait(qtbot, panel, lambda: panel.model.content.before is not None)
    viewer.layers.remove(layer)
    wait(qtbot, panel, lambda: panel.model.content.before is None)
    assert panel.model.main.name == other.name


def test_an_edit_in_place_takes_the_mapping_away(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei")
    result = viewer.add_layer(nx.equalize_hist(layer))
    wait(qtbot, panel, lambda: panel.model.content.before is not None)
    assert panel.model.mapping() is not None
    result.data[2:5] = 7
    result.refresh()
    wait(qtbot, panel, lambda: panel.model.mapping() is None)


@pytest.fixture
def tiled(qtbot, viewer, panel, volume):
    """A layer whose adaptive result is active, with the cursor on a tile that is shown."""
    layer = viewer.add_image(volume, name="nuclei")
    viewer.add_layer(nx.equalize_adapthist(layer, 10.0))
    wait(qtbot, panel, lambda: panel.tile.isEnabled())
    panel.tile.setChecked(True)
    viewer.cursor.position = (5, 20, 20)
    qtbot.waitUntil(lambda: panel.model.tile is not None, timeout=5000)
    return layer


def test_a_source_of_another_shape_is_no_source(qtbot, viewer, panel, volume, tiled):
    before = panel.model.tile
    # an edit is counted again, at the same place
    tiled.data[:] = 500
    tiled.refresh()
    qtbot.waitUntil(lambda: panel.model.tile is not before, timeout=5000)
    assert np.count_nonzero(panel.model.tile.counts) == 1
    tiled.data = volume[:, :20].copy()
    wait(qtbot, panel, lambda: panel.model.tile is None and panel.model.content.before is None)
    assert not panel.tile.isEnabled()


def test_the_tile_goes_when_another_layer_is_followed(qtbot, viewer, panel, tiled):
    viewer.layers.selection.active = tiled
    wait(qtbot, panel, lambda: panel.model.main.name == "nuclei")
    assert panel.model.tile is None


def test_the_tile_of_a_stretch_shows_its_two_percentiles(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    result = viewer.add_layer(nx.stretch_local(layer, (12, 5, 6), 5, 90))
    wait(qtbot, panel, lambda: exact(panel) and panel.tile.isEnabled())
    viewer.dims.set_current_step(0, 7)
    click(panel.tile)
    viewer.cursor.position = result.data_to_world((7, 3, 4))
    qtbot.waitUntil(lambda: panel.model.tile is not None, timeout=20_000)
    tile = panel.model.tile
    inside = volume[6:, :10, :12]
    assert tile.counts.sum() == inside.size
    lo, hi = tile.edges[[0, -1]]
    np.testing.assert_allclose((lo, hi), np.percentile(volume, (0.05, 99.95)))
    np.testing.assert_allclose(tile.ends, np.percentile(inside, (5, 90)), atol=0.02 * (hi - lo))
    expected = np.interp(tile.edges, tile.ends, (0, 1))
    np.testing.assert_allclose(tile.function, expected, atol=1e-9)
    assert tile.clipped is None
    lines = [item.value() for item in panel.view._curves._items if isinstance(item, Line) and item.angle == 90]
    np.testing.assert_allclose(lines, tile.ends)


def test_the_tile_under_the_cursor(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    result = viewer.add_layer(nx.equalize_adapthist(layer, (12, 5, 6), clip_limit=0.02, nbins=64))
    wait(qtbot, panel, lambda: exact(panel) and panel.tile.isEnabled())
    viewer.dims.set_current_step(0, 7)
    click(panel.tile)
    # a real move of the mouse over the canvas
    canvas = viewer.window._qt_viewer.canvas.native
    middle = QPointF(canvas.width() / 2, canvas.height() / 2)
    for offset in (QPointF(-3, 0), QPointF(0, 0)):
        where = middle + offset
        event = QMouseEvent(
            QEvent.Type.MouseMove, where, canvas.mapToGlobal(where), NONE, NONE, Qt.KeyboardModifier.NoModifier
        )
        QApplication.sendEvent(canvas, event)
    z, y, x = np.round(result.world_to_data(viewer.cursor.position)).astype(int)
    assert z == 7
    grid = [np.array_split(np.arange(n), tiles) for n, tiles in zip(volume.shape, (2, 4, 4), strict=True)]
    box = np.ix_(*(next(part for part in parts if at in part) for parts, at in zip(grid, (z, y, x), strict=True)))
    # the first of the two moves may be in the tile beside, and may have been counted before the second one
    first = [unit * part.min() for unit, part in zip((2, 0.5, 0.5), box, strict=True)]
    place = " at z {:g}, y {:g}, x {:g};".format(*first)
    qtbot.waitUntil(lambda: panel.model.tile is not None and place in panel.model.tile.title, timeout=20_000)
    inside = volume[box]
    tile = panel.model.tile
    assert tile.counts.sum() == inside.size == 6 * 10 * 12
    lo, hi = np.percentile(volume, (0.05, 99.95))
    bins = np.clip((64 * (inside - lo) / (hi - lo)).astype(int), 0, 63)
    np.testing.assert_array_equal(tile.counts, np.bincount(bins.ravel(), minlength=64))
    assert tile.limit == pytest.approx(max(0.02 * inside.size, inside.size / 64))
    assert tile.clipped.max() <= tile.limit + 1e-9
    assert tile.clipped.sum() == pytest.approx(inside.size)
    np.testing.assert_allclose(np.diff(tile.function) * inside.size, tile.clipped, atol=1e-3)
    assert "of 2 × 4 × 4" in tile.title
    assert "12 × 5 × 6 µm" in tile.title
    panel.view.grab()
    click(panel.tile)
    assert panel.model.tile is None
    viewer.cursor.position = (14, 3, 3)
    qtbot.wait(50)
    assert panel.model.tile is None


@pytest.fixture
def held_tiles(monkeypatch):
    """Tiles are counted once this is set."""
    opened = threading.Event()

    def held(*arguments):
        assert opened.wait(60)
        return count_tile_at(*arguments)

    monkeypatch.setattr(counter, "count_tile_at", held)
    yield opened
    opened.set()


def leave_the_layer(viewer, panel):
    viewer.cursor.position = (5, 20, 400)


def end_tile_mode(viewer, panel):
    panel.tile.setChecked(False)


@pytest.mark.parametrize("leave", [leave_the_layer, end_tile_mode])
def test_a_tile_that_is_counted_too_late_is_not_shown(qtbot, viewer, panel, volume, held_tiles, leave):
    viewer.add_layer(nx.equalize_adapthist(viewer.add_image(volume, name="nuclei"), 10.0))
    wait(qtbot, panel, lambda: panel.tile.isEnabled())
    panel.tile.setChecked(True)
    viewer.cursor.position = (5, 20, 20)
    qtbot.waitUntil(lambda: panel.counter.running, timeout=20_000)
    leave(viewer, panel)
    qtbot.waitUntil(lambda: not panel.counter.running, timeout=20_000)
    held_tiles.set()
    qtbot.wait(100)
    assert panel.model.tile is None
    # what the cursor comes to later is
    panel.tile.setChecked(True)
    viewer.cursor.position = (5, 21, 21)
    qtbot.waitUntil(lambda: panel.model.tile is not None, timeout=20_000)


def test_the_tile_in_3d_is_that_of_the_brightest_voxel_in_sight(qtbot, viewer, panel):
    data = np.random.default_rng(0).integers(0, 100, (16, 16, 16), dtype=np.uint8)
    data[13, 4, 11] = 255
    layer = viewer.add_image(data, name="nuclei")
    viewer.add_layer(nx.equalize_adapthist(layer, 8.0))
    viewer.dims.ndisplay = 3
    camera_of(viewer).set_view_direction((1, 0, 0))
    wait(qtbot, panel, lambda: panel.tile.isEnabled())
    panel.tile.setChecked(True)
    viewer.cursor.position = (0, 4, 11)
    qtbot.waitUntil(lambda: panel.model.tile is not None, timeout=5000)
    assert panel.model.tile.title.startswith("tile (2, 1, 2) of 2 × 2 × 2")
    viewer.cursor.position = (0, 4, 40)
    qtbot.waitUntil(lambda: panel.model.tile is None, timeout=5000)


# --- numbers and export -----------------------------------------------------------------


def test_the_numbers_are_those_of_numpy(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="nuclei", contrast_limits=(200, 1500))
    wait(qtbot, panel, lambda: exact(panel))
    rows = dict(panel.model.rows())
    assert rows["voxels"] == f"{volume.size:,}"
    assert rows["minimum"] == f"{volume.min():,}"
    assert rows["maximum"] == f"{volume.max():,}"
    assert float(rows["mean"].replace(",", "")) == pytest.approx(volume.mean(), rel=1e-5)
    assert float(rows["std"]) == pytest.approx(volume.std(), rel=1e-5)
    assert float(rows["median"].replace(",", "")) == np.median(volume)
    assert float(rows["mode"].replace(",", "")) == np.bincount(volume.ravel()).argmax()
    assert rows["below limits"] == f"{100 * (volume < 200).mean():.3g} %"
    assert rows["above limits"] == f"{100 * (volume > 1500).mean():.3g} %"
    assert rows["gray levels"] == f"{len(np.unique(volume)):,}"
    noise = nx.noise_level(volume)
    assert rows["dark noise"] == f"{noise.dark:.4g}"
    assert rows["bright noise"] == f"{noise.bright:.4g}"
    assert rows["signal/noise"] == f"{noise.snr:.3g}"
    qtbot.waitUntil(lambda: rows["voxels"] in panel.numbers.toPlainText())
    assert panel.numbers.textInteractionFlags() & Qt.TextInteractionFlag.TextSelectableByMouse
    panel.copy_statistics()
    lines = dict(line.split("\t") for line in QGuiApplication.clipboard().text().splitlines())
    assert lines == {**panel.model.about(), **rows}


def test_export(qtbot, viewer, panel, volume, tmp_path):
    viewer.add_image(volume, name="nuclei, left")
    wait(qtbot, panel, lambda: exact(panel))
    panel.export(tmp_path / "plot.png")
    picture = QImage(str(tmp_path / "plot.png"))
    assert picture.width() > 400
    assert len({picture.pixel(x, picture.height() // 2) for x in range(picture.width())}) > 3
    panel.export(tmp_path / "plot.svg")
    assert "<svg" in (tmp_path / "plot.svg").read_text()
    panel.export(tmp_path / "table.csv")
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0] == "# layer: nuclei, left"
    assert lines[1] == f"# coverage: exact, {volume.size:,} voxels"
    table = list(csv.DictReader(lines[2:]))
    values = np.array([float(row["low"]) for row in table])
    counts = np.array([int(row["count"]) for row in table])
    np.testing.assert_array_equal(np.bincount(volume.ravel())[values.astype(int)], counts)
    assert counts.sum() == volume.size
    assert float(table[-1]["cdf"]) == 1
    with pytest.raises(ValueError, match=r"not as \.txt"):
        panel.export(tmp_path / "plot.txt")
    for name in ("plot.png", "plot.svg", "table.csv"):
        with pytest.raises(OSError, match="nowhere"):
            panel.export(tmp_path / "nowhere" / name)
    viewer.layers.clear()
    wait(qtbot, panel, lambda: panel.model.main is None)
    assert not panel.export_menu.isEnabled()
    with pytest.raises(ValueError, match="Select an image layer"):
        panel.export(tmp_path / "empty.csv")


# values that are seen as bars
KNOWN = (0, 20_000, 40_000, 60_000, 65_535)


def drawn(path, size):
    """What Qt's renderer makes of an SVG, or what a PNG holds, as gray levels."""
    image = QImage(size, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    if path.suffix == ".svg":
        QSvgRenderer(str(path)).render(painter)
    else:
        painter.drawImage(image.rect(), QImage(str(path)))
    painter.end()
    image = image.convertToFormat(QImage.Format.Format_Grayscale8)
    bits = image.constBits()
    if hasattr(bits, "setsize"):
        bits.setsize(image.sizeInBytes())
    rows = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width()].astype(int)


def places_of(path, texts):
    """The x in the middle of texts in an SVG."""
    root = ElementTree.parse(path).getroot()
    found = {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        for text in group.findall("{http://www.w3.org/2000/svg}text"):
            if text.text in texts:
                a, b, c, d, right, _ = map(float, re.findall(r"[-\d.e]+", group.get("transform")))
                assert (a, b, c, d) == (1, 0, 0, 1)
                font = QFont(text.get("font-family"))
                font.setPixelSize(round(float(text.get("font-size"))))
                found[text.text] = right + float(text.get("x")) + QFontMetricsF(font).horizontalAdvance(text.text) / 2
    return [found[text] for text in texts]


def columns_of_bars(picture, rows):
    """Where the columns are that differ from the background nearly all the way up: the middle of each run of them."""
    part = picture[rows]
    background = np.bincount(part.ravel()).argmax()
    high = np.concatenate([[False], (np.abs(part - background) > 8).mean(0) > 0.9, [False]])
    starts, stops = np.flatnonzero(np.diff(high.astype(int))).reshape(-1, 2).T
    return (starts + stops - 1) / 2


@pytest.mark.parametrize(("size", "theme"), [((900, 560), "dark"), ((1300, 900), "light")])
def test_bars_in_an_svg_stand_where_its_axis_says(qtbot, viewer, panel, tmp_path, theme, size):
    viewer.theme = theme
    viewer.window._qt_window.resize(*size)
    viewer.add_image(np.resize(np.array(KNOWN, np.uint16), (8, 16, 20)), contrast_limits=(0, 60_000))
    panel.log.setChecked(False)
    panel.low.setValue(0)
    panel.high.setValue(100)
    wait(qtbot, panel, lambda: exact(panel))
    path = tmp_path / "plot.svg"
    panel.export(path)
    view = panel.view
    picture = drawn(path, view.viewport().size())
    top, bottom = (round(view.point_of(0, y).y()) for y in (0.9, 0.1))
    # between the axes
    low, high = view.box.viewRange()[0]
    left, right = (round(view.point_of(x, 0).x()) for x in (low + 600, high - 600))
    bars = left + columns_of_bars(picture[:, left:right], slice(top, bottom))
    assert len(bars) == len(KNOWN)
    # a 0 stands at other axes too
    np.testing.assert_allclose(bars[1:-1], places_of(path, list(map(str, KNOWN[1:-1]))), atol=2)


def exported_twice(panel, folder):
    """The plot as SVG and as PNG."""
    pictures = []
    for name in ("plot.svg", "plot.png"):
        panel.export(folder / name)
        pictures.append(drawn(folder / name, 2 * panel.view.viewport().size()))
    return pictures


def assert_same_drawing(one, other):
    """No more pixels differ than at the edges of lines and letters."""
    assert one.shape == other.shape
    assert (np.abs(one - other) > 60).mean() < 0.01


@pytest.mark.parametrize(
    ("low", "high", "zoom"),
    [
        (0, 60_000, None),
        # lines, handle and curves end at the edges of the plot
        (5_000, 60_000, (22_000, 45_000)),
        # six digits of an intensity are too few
        (59_999.5, 60_000.25, (59_999.75, 60_000.5)),
    ],
)
def test_an_svg_looks_as_the_png(qtbot, viewer, panel, tmp_path, low, high, zoom):
    data = np.random.default_rng(0).gamma(2, 0.1 * (high - low), (12, 40, 48)) + low
    viewer.add_image(data, name="nuclei", contrast_limits=(low, high), gamma=0.6)
    wait(qtbot, panel, lambda: exact(panel))
    if zoom:
        panel.view.box.setXRange(*zoom, padding=0)
        wait(qtbot, panel)
    shown = [item.isVisible() for item in panel.view.handles.limits]
    assert_same_drawing(*exported_twice(panel, tmp_path))
    assert [item.isVisible() for item in panel.view.handles.limits] == shown


def test_nothing_in_an_svg_lies_beyond_its_axes(qtbot, viewer, panel, volume, tmp_path):
    # programs that know SVG Tiny only, Qt's among them, cut nothing off
    viewer.add_image(volume, name="nuclei", contrast_limits=(200, 1500))
    wait(qtbot, panel, lambda: exact(panel))
    panel.view.box.setXRange(500, 700, padding=0)
    wait(qtbot, panel)
    panel.export(tmp_path / "plot.svg")
    left, right = (panel.view.point_of(x, 0).x() for x in (500, 700))
    namespace = "{http://www.w3.org/2000/svg}"
    found = []
    for group in ElementTree.parse(tmp_path / "plot.svg").getroot().iter(f"{namespace}g"):
        assert not any("%" in (text.text or "") for text in group.findall(f"{namespace}text"))
        if group.get("transform") == "matrix(1,0,0,1,0,0)":
            shapes = [*group.findall(f"{namespace}path"), *group.findall(f"{namespace}polyline")]
            for shape in shapes:
                found += re.findall(r"([-\d.e]+),[-\d.e]+", shape.get("d") or shape.get("points"))
    assert len(found) > 200
    assert left - 1 <= min(map(float, found))
    assert max(map(float, found)) <= right + 1
    # on the screen they are still there
    assert all(line.isVisible() for line in panel.view.handles.limits)


def assert_nothing_is_stretched(path):
    """Axes and curves of an SVG are of one scale, and its lines are as wide in all programs."""
    namespace = "{http://www.w3.org/2000/svg}"
    shapes = 0
    for group in ElementTree.parse(path).getroot().iter(f"{namespace}g"):
        if group.get("transform") and any(child.tag != f"{namespace}image" for child in group):
            a, b, c, d, *_ = map(float, re.findall(r"[-\d.e]+", group.get("transform")))
            np.testing.assert_allclose(np.array([[a, b], [c, d]]) @ np.array([[a, c], [b, d]]), np.eye(2), atol=1e-6)
            shapes += 1
    assert shapes > 20


def test_nothing_in_an_svg_is_stretched(qtbot, viewer, panel, volume, tmp_path):
    viewer.add_image(volume, name="nuclei")
    wait(qtbot, panel, lambda: exact(panel))
    panel.export(tmp_path / "plot.svg")
    assert_nothing_is_stretched(tmp_path / "plot.svg")


EXPORT = """
import sys
from qtpy.QtWidgets import QApplication
from napari_exposure.gui.histogram.model import HistogramModel
from napari_exposure.gui.histogram.view import HistogramView

app = QApplication([])
view = HistogramView(HistogramModel())
view.resize(500, 400)
view.export(sys.argv[1])
"""


@pytest.mark.parametrize("setting", [{"QT_SCALE_FACTOR": "1.5"}, {"QT_FONT_DPI": "144"}])
def test_nothing_in_an_svg_is_stretched_on_other_screens(tmp_path, setting):
    path = tmp_path / "plot.svg"
    subprocess.run([sys.executable, "-c", EXPORT, path], env=os.environ | setting, check=True, timeout=60)
    assert_nothing_is_stretched(path)


# --- how it behaves ---------------------------------------------------------------------


def test_edits_renames_and_removal_are_noticed(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei")
    wait(qtbot, panel, lambda: exact(panel))
    layer.data[2] = 60_000
    layer.refresh()
    wait(qtbot, panel, lambda: panel.histogram.maximum == 60_000)
    layer.data = volume // 2
    wait(qtbot, panel, lambda: panel.histogram.maximum == 30_000)
    layer.name = "renamed"
    assert panel.model.main.name == "renamed"
    layer.data[0] = 65_000
    click(panel.again)
    wait(qtbot, panel, lambda: panel.histogram.maximum == 65_000)
    viewer.layers.remove(layer)
    wait(qtbot, panel, lambda: "Open Sample" in panel.model.content.message)
    assert panel.histogram is None


def test_the_lock_stays_until_its_layer_goes(qtbot, viewer, panel, volume):
    a = viewer.add_image(volume, name="a")
    wait(qtbot, panel, lambda: exact(panel))
    click(panel.lock)
    b = viewer.add_image(volume, name="b")
    wait(qtbot, panel)
    assert viewer.layers.selection.active == b
    assert panel.model.main.name == "a"
    viewer.layers.remove(a)
    wait(qtbot, panel, lambda: panel.model.main is not None and panel.model.main.name == "b")


def test_the_lock_lasts_while_it_is_hidden(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="a")
    wait(qtbot, panel, lambda: exact(panel))
    click(panel.lock)
    viewer.add_image(volume, name="b")
    wait(qtbot, panel)
    panel.parent().hide()
    qtbot.wait(50)
    panel.parent().show()
    wait(qtbot, panel)
    assert panel.model.main.name == "a"


def test_a_percentile_chosen_while_counting_becomes_exact(qtbot, viewer, panel, stack, small_blocks, monkeypatch):
    chosen = threading.Event()

    def held(*arguments):
        assert chosen.wait(60)
        return count_histogram(*arguments)

    monkeypatch.setattr(survey, "count_histogram", held)
    viewer.add_image(slow_dask(stack.astype(np.float32), 0), name="lazy", contrast_limits=(0, 4000))
    qtbot.waitUntil(lambda: panel.counter.counting, timeout=20_000)
    panel.low.setValue(10)
    # longer than the panel waits for further choices
    qtbot.wait(200)
    assert panel.counter.counting
    chosen.set()
    wait(qtbot, panel, lambda: panel.model.main is not None and panel.model.main.knows(10.0))
    assert panel.model.percentile_lines()[0] == np.percentile(stack.astype(float), 10)


def test_two_panels_are_independent(qtbot, viewer, panel, volume):
    from napari_exposure.gui.histogram.panel import HistogramPanel

    a = viewer.add_image(volume, name="a")
    wait(qtbot, panel, lambda: exact(panel))
    click(panel.lock)
    other = HistogramPanel(viewer)
    viewer.window.add_dock_widget(other, name="second", area="bottom")
    viewer.add_image(volume[:3], name="b")
    wait(qtbot, other, lambda: exact(other) and other.model.main.name == "b")
    viewer.dims.set_current_step(0, 1)
    choose(other.scope, "Plane in view")
    wait(qtbot, other, lambda: "plane" in other.model.main.coverage)
    assert panel.model.main.name == "a"
    assert panel.model.scope == "dataset"
    other.low.setValue(5)
    assert panel.low.value() == 0.5
    viewer.layers.remove(a)
    wait(qtbot, panel, lambda: panel.model.main.name == "b")


def test_hidden_it_does_nothing_and_catches_up(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="a")
    wait(qtbot, panel, lambda: exact(panel))
    dock = panel.parent()
    dock.hide()
    viewer.add_image(volume, name="b")
    viewer.layers["b"].data = volume[:2]
    qtbot.wait(100)
    assert panel.model.main.name == "a"
    assert not panel.counter.running
    dock.show()
    wait(qtbot, panel, lambda: panel.model.main.name == "b")
    assert panel.histogram.total == volume[:2].size


def emitters_of(viewer):
    groups = [viewer.events, viewer.dims.events, viewer.layers.events, viewer.cursor.events]
    groups += [viewer.layers.selection.events, *(layer.events for layer in viewer.layers)]
    for group in groups:
        emitters = group.emitters.values() if hasattr(group, "emitters") else group.values()
        yield from emitters


def is_of_napari(callback):
    """Whether it is napari's own, or of what is gone: napari 0.6 leaves callbacks of overlays when a layer goes."""
    owner = callback[0]() if isinstance(callback, tuple) else callback
    return owner is None or getattr(owner, "__module__", "").startswith("napari.")


def connected(viewer):
    emitters = (emitter for emitter in emitters_of(viewer) if hasattr(emitter, "callbacks"))
    return sum(not is_of_napari(callback) for emitter in emitters for callback in emitter.callbacks)


def test_nothing_stays_connected(qtbot, viewer, open_widget, volume):
    layer = viewer.add_image(volume, name="a")
    before, before_layer = connected(viewer), sum(len(e.callbacks) for e in layer.events.emitters.values())
    panel = open_widget("Histogram & CDF")
    wait(qtbot, panel, lambda: exact(panel))
    panel.tile.setChecked(True)
    assert connected(viewer) > before
    assert sum(len(e.callbacks) for e in layer.events.emitters.values()) > before_layer
    viewer.add_image(volume, name="b")
    wait(qtbot, panel, lambda: panel.model.main.name == "b")
    assert sum(len(e.callbacks) for e in layer.events.emitters.values()) == before_layer
    viewer.layers.remove("b")
    wait(qtbot, panel, lambda: panel.model.main.name == "a")
    removed = connected(viewer)
    viewer.window.remove_dock_widget(panel.parent())
    qtbot.wait(50)
    assert sum(len(e.callbacks) for e in layer.events.emitters.values()) == before_layer
    assert connected(viewer) == before < removed


def test_floating_and_docking_again_keeps_drawing(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="a")
    wait(qtbot, panel, lambda: exact(panel))
    dock = panel.parent()
    assert isinstance(dock, QDockWidget)
    for floating in (True, False):
        dock.setFloating(floating)
        viewer.add_image(volume[: 5 + floating], name=f"floating {floating}")
        wait(qtbot, panel, lambda floating=floating: panel.model.main.name == f"floating {floating}")
        picture = panel.view.grab().toImage()
        middle = picture.height() // 2
        assert len({picture.pixel(x, middle) for x in range(picture.width())}) > 3


def test_colors_follow_the_theme(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="a")
    wait(qtbot, panel, lambda: exact(panel))
    corner = {}
    for theme in ("dark", "light"):
        viewer.theme = theme
        qtbot.wait(50)
        corner[theme] = panel.view.grab().toImage().pixelColor(1, panel.view.height() - 2).lightness()
    assert corner["dark"] < 80 < 180 < corner["light"]


# --- slow and lazy data -----------------------------------------------------------------


def slow_dask(volume, seconds, planes=1):
    def read(block):
        time.sleep(seconds)
        return block

    return da.from_array(volume, chunks=(planes, -1, -1)).map_blocks(read, dtype=volume.dtype)


@pytest.fixture
def small_blocks(monkeypatch):
    """One plane of 200 x 220 a block, so that scanning takes many."""
    from napari_exposure.core import blocks

    original = blocks.contiguous_blocks
    one_plane = lambda shape, voxels=200 * 220: original(shape, min(voxels, 200 * 220))  # noqa: E731
    monkeypatch.setattr(blocks, "contiguous_blocks", one_plane)
    monkeypatch.setattr(survey, "contiguous_blocks", one_plane)


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 4000, (60, 200, 220), dtype=np.uint16)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_lazy_data_are_sampled_first_then_exact(qtbot, viewer, panel, stack, small_blocks, dtype):
    stack = stack.astype(dtype)
    seen = []
    panel.model.events.content.connect(seen.append)
    layer = viewer.add_image(slow_dask(stack, 0.03), name="lazy", contrast_limits=(0, 4000))
    wait(qtbot, panel, lambda: exact(panel))
    first, *others = [content for content in seen if content.curves]
    assert not first.complete
    # the first look is short: as many planes at 0.03 s each as begin within the seconds that it may take
    percent = float(re.fullmatch(r"a sample, (.+)% of all voxels", first.curves[0].coverage)[1])
    assert 0 < percent <= 100 * (survey.SAMPLE_SECONDS / 0.03 + 1) / len(stack)
    assert any("% scanned" in content.curves[0].coverage for content in others)
    np.testing.assert_array_equal(panel.histogram.counts, nx.histogram(Image(stack), survey.BINS).counts)
    assert panel.model.progress is None
    assert isinstance(layer.data, da.Array)


def test_cancel_keeps_what_is_known(qtbot, viewer, panel, stack, small_blocks):
    viewer.add_image(slow_dask(stack, 0.05), name="lazy", contrast_limits=(0, 4000))
    qtbot.waitUntil(lambda: "scanned" in getattr(panel.model.main, "coverage", ""), timeout=10_000)
    assert panel.again.text() == "Cancel"
    click(panel.again)
    assert not panel.counter.running
    assert panel.again.text() == "Refresh"
    qtbot.wait(300)
    assert "scanned" in panel.model.main.coverage
    assert 0 < panel.histogram.total < stack.size
    click(panel.again)
    wait(qtbot, panel, lambda: exact(panel))


def test_a_newer_layer_stops_the_older_count(qtbot, viewer, panel, stack, small_blocks):
    reads = []

    class Watched:
        shape, dtype, ndim = stack.shape, stack.dtype, 3

        def __getitem__(self, index):
            reads.append(time.perf_counter())
            time.sleep(0.03)
            return stack[index]

        def __array__(self, dtype=None, copy=None):
            raise AssertionError("read whole")

    viewer.add_image(Watched(), name="slow", contrast_limits=(0, 4000))
    qtbot.waitUntil(lambda: panel.model.progress is not None, timeout=10_000)
    viewer.add_image(stack[:2], name="quick")
    wait(qtbot, panel, lambda: exact(panel) and panel.model.main.name == "quick")
    qtbot.wait(200)
    stopped = len(reads)
    qtbot.wait(300)
    assert len(reads) == stopped


def test_ten_layers_in_a_row_leave_the_last_one(qtbot, viewer, panel, stack):
    layers = [viewer.add_image(stack[: n + 1], name=str(n)) for n in range(10)]
    for layer in layers:
        viewer.layers.selection.active = layer
        qtbot.wait(3)
    wait(qtbot, panel, lambda: exact(panel) and panel.model.main.name == "9")
    assert panel.histogram.total == stack[:10].size
    assert not panel.counter.running


def test_multiscale_shows_the_coarsest_level_first(qtbot, viewer, panel, stack):
    levels = [slow_dask(stack, 0.02), stack[::2, ::2, ::2], stack[::4, ::4, ::4]]
    seen = []
    panel.model.events.content.connect(lambda content: seen.extend(curve.coverage for curve in content.curves))
    viewer.add_image(levels, multiscale=True, name="pyramid", contrast_limits=(0, 4000))
    wait(qtbot, panel, lambda: exact(panel))
    assert seen[0] == "level 3 of 3"
    assert panel.histogram.total == stack.size
    choose(panel.scope, "Plane in view")
    wait(qtbot, panel, lambda: "plane z" in panel.model.main.coverage and "exact" in panel.model.main.coverage)
    assert panel.histogram.total == stack[0].size


def test_a_panel_that_is_closed_while_it_counts_is_collected(qtbot, viewer, open_widget, stack, small_blocks):
    panel = open_widget("Histogram & CDF")
    viewer.add_image(slow_dask(stack, 0.02), name="lazy", contrast_limits=(0, 4000))
    qtbot.waitUntil(lambda: panel.counter.running, timeout=5000)
    viewer.window.remove_dock_widget(panel.parent())
    assert not panel.counter.running
    qtbot.wait(200)
    gc.collect()


def test_a_compact_plot_can_be_embedded(qtbot, viewer, volume):
    from qtpy.QtWidgets import QVBoxLayout, QWidget

    from napari_exposure.gui.histogram.plot import HistogramPlot

    a, b = (viewer.add_image(volume // n, name=name) for n, name in ((1, "a"), (2, "b")))
    around = QWidget()
    layout = QVBoxLayout(around)
    plot = HistogramPlot(viewer, compact=True)
    layout.addWidget(plot)
    layout.addStretch()
    viewer.window.add_dock_widget(around, name="around", area="right")
    wait(qtbot, plot, lambda: exact(plot) and plot.model.main.name == "b")
    assert 120 < plot.height() < 160
    assert plot.view.box.height() > 50
    plot.follow([a, b])
    wait(qtbot, plot, lambda: exact(plot) and [curve.name for curve in plot.model.content.curves] == ["a", "b"])
    # whichever is active
    viewer.layers.selection = {b}
    wait(qtbot, plot)
    assert plot.model.main.name == "a"
    a.contrast_limits = 0, 3000
    drag(qtbot, plot.view, (3000, 0.3), (2000, 0.3))
    assert a.contrast_limits == pytest.approx([0, 2000], rel=0.05)
    start = np.percentile(volume, 99.5)
    drag(qtbot, plot.view, (start, 0.4), (np.percentile(volume, 80), 0.4))
    assert plot.model.high == pytest.approx(80, abs=2)
    plot.follow(None)
    wait(qtbot, plot, lambda: plot.model.main.name == "b")
    # the bars stay as high where the text is larger
    before = plot.view.box.height()
    plot.view.set_font(QFont(plot.view.font().family(), 20))
    qtbot.waitUntil(lambda: plot.height() > 170)
    qtbot.wait(50)
    assert plot.view.box.height() > before - 15


# --- looks ------------------------------------------------------------------------------


def laid_out(panel):
    """Whether plot and numbers have their shares of the height."""
    return exact(panel) and panel._looks is not None and panel._looks[2] == len(panel.model.rows())


def hover(view, x, y=0.5):
    # pyqtgraph passes on so many moves a second only
    QTest.qWait(30)
    mouse(view, QEvent.Type.MouseMove, QPointF(view.point_of(x, y)))


def test_value_and_count_are_said_under_the_mouse(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="nuclei", contrast_limits=(0, 3000))
    wait(qtbot, panel, lambda: laid_out(panel))
    # so far that every value has a bar
    panel.view.box.setXRange(495, 520, padding=0)
    hover(panel.view, 507.1)
    count, upto = int((volume == 507).sum()), (volume <= 507).mean()
    said = panel.view._readout.toPlainText()
    assert said == f"■ 507: {count:,} voxel{'s' * (count != 1)}, CDF {upto:.3f}"
    QApplication.sendEvent(panel.view, QEvent(QEvent.Type.Leave))
    assert not panel.view._readout.isVisible()
    # bars of several values
    panel.view.show_all()
    hover(panel.view, 507.1)
    said = panel.view._readout.toPlainText()
    first, last, count = re.match(r"■ ([\d,]+) to ([\d,]+): ([\d,]+) voxels", said).groups()
    inside = (int(first) <= volume) & (volume <= int(last))
    assert int(first) <= 507 <= int(last)
    assert inside.sum() == int(count.replace(",", ""))


def test_before_and_after_are_each_said_with_their_own_value(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei")
    result = viewer.add_layer(nx.equalize_hist(layer))
    wait(qtbot, panel, lambda: panel.model.content.before is not None)
    low, high = float(volume.min()), float(volume.max())
    hover(panel.view, 65535 * (1000 - low) / (high - low))
    after, before = panel.view._readout.toPlainText().splitlines()
    for line, data, wanted in ((after, result.data, 65535 * (1000 - low) / (high - low)), (before, volume, 1000)):
        found = re.match(r"■ ([\d,]+)(?: to ([\d,]+))?: ([\d,]+) voxel", line).groups()
        first, last, count = (int((text or found[0]).replace(",", "")) for text in found)
        assert first - 300 <= wanted <= last + 300
        assert ((first <= data) & (data <= last)).sum() == count


def test_the_tile_has_its_own_numbers(qtbot, viewer, panel, volume, tiled):
    tile = panel.model.tile
    rows = dict(panel.model.rows())
    assert rows["voxels"] == f"{tile.counts.sum():,}"
    centers = (tile.edges[1:] + tile.edges[:-1]) / 2
    values = np.repeat(centers, tile.counts)
    assert float(rows["mean"].strip("≈ ").replace(",", "")) == pytest.approx(values.mean(), rel=1e-4)
    assert float(rows["std"].strip("≈ ").replace(",", "")) == pytest.approx(values.std(), rel=1e-4)
    assert rows["fullest bin"] == f"{tile.counts.max():,} voxels"
    assert float(rows["steepest"].strip(" ×")) == pytest.approx(
        np.diff(tile.function).max() * len(tile.counts), rel=0.01
    )
    qtbot.waitUntil(lambda: "steepest" in panel.numbers.toPlainText())
    panel.copy_statistics()
    assert f"tile\t{tile.title}" in QGuiApplication.clipboard().text()
    hover(panel.view, float(centers[3]))
    assert f": {tile.counts[3]:,} voxel" in panel.view._readout.toPlainText()
    click(panel.tile)
    qtbot.waitUntil(lambda: "steepest" not in panel.numbers.toPlainText())


def test_hilo_colors_come_and_go(qtbot, viewer, panel, volume):
    layer = viewer.add_image(volume, name="nuclei", colormap="magenta", contrast_limits=(200, 1500))
    wait(qtbot, panel, lambda: laid_out(panel))
    click(panel.hilo)
    assert layer.colormap.name == "HiLo"
    # blue and red are what napari makes of the limits
    np.testing.assert_allclose(layer.colormap.map(np.array([0.0, 1.0]))[:, :3], [[0, 0, 1], [1, 0, 0]])
    other = viewer.add_image(volume[:2], name="other")
    wait(qtbot, panel, lambda: panel.model.main.name == "other")
    assert not panel.hilo.isChecked()
    viewer.layers.selection.active = layer
    wait(qtbot, panel, lambda: panel.model.main.name == "nuclei")
    assert panel.hilo.isChecked()
    click(panel.hilo)
    assert layer.colormap.name == "magenta"
    # chosen in napari's own box it goes too
    other.colormap = "HiLo"
    viewer.layers.selection.active = other
    wait(qtbot, panel, lambda: panel.model.main.name == "other")
    assert panel.hilo.isChecked()
    click(panel.hilo)
    assert other.colormap.name == "gray"


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_pictures_are_on_white_without_handles(qtbot, viewer, panel, volume, tmp_path, theme):
    viewer.theme = theme
    viewer.add_image(volume, name="nuclei")
    wait(qtbot, panel, lambda: laid_out(panel))
    before = panel.view.grab().toImage()
    hover(panel.view, 500)
    panel.export(tmp_path / "plot.png")
    picture = QImage(str(tmp_path / "plot.png"))
    assert picture.pixelColor(1, picture.height() - 2).name() == "#ffffff"
    # no grips beside the lines of the contrast limits
    for line in panel.view.handles.limits:
        place = panel.view.point_of(line.value(), 0.3 * panel.view.box.viewRange()[1][1])
        assert not any(dark(picture, place, dx) for dx in (-3, 3))
    QApplication.sendEvent(panel.view, QEvent(QEvent.Type.Leave))
    assert panel.view.grab().toImage() == before


def dark(picture, place, dx):
    """Whether a PNG of twice the size is black beside a place."""
    return picture.pixelColor(2 * place.x() + 2 * dx, 2 * place.y()).lightness() < 60


def test_an_ending_is_added_where_none_was_typed(qtbot, viewer, panel, volume, tmp_path, monkeypatch, messages):
    viewer.add_image(volume, name="cells/nuclei")
    wait(qtbot, panel, lambda: laid_out(panel))
    answers, questions = [], []
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: answers.append(args[2]) or typed)
    monkeypatch.setattr(QMessageBox, "question", lambda *args: questions.append(args[2]) or replace)
    replace = QMessageBox.StandardButton.No
    for name, kind, made in (("a", PLOT, "a.png"), ("b", TABLE, "b.csv"), ("c.svg", PLOT, "c.svg")):
        typed = str(tmp_path / name), kind
        panel._ask_export()
        assert (tmp_path / made).exists()
    assert set(answers) == {"cells-nuclei histogram"}
    assert not questions
    # what is there already is replaced only if that is wanted
    typed = str(tmp_path / "a"), PLOT
    (tmp_path / "a.png").write_bytes(b"mine")
    panel._ask_export()
    assert questions == ["a.png is there already. Replace it?"]
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    replace = QMessageBox.StandardButton.Yes
    panel._ask_export()
    assert (tmp_path / "a.png").read_bytes() != b"mine"
    typed = str(tmp_path / "d.pdf"), PLOT
    panel._ask_export()
    assert "not as .pdf" in messages()[-1]
    typed = "", ""
    panel._ask_export()


def test_new_panels_have_choices_of_their_own(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="nuclei")
    wait(qtbot, panel, lambda: laid_out(panel))
    click(panel.another)
    click(panel.another)
    docks = viewer.window._qt_window.findChildren(QDockWidget)
    titles = [dock.windowTitle() for dock in docks if dock.windowTitle().startswith("Histogram & CDF")]
    assert len(set(titles)) == len(titles) == 3
    second, third = (dock.widget() for dock in docks if dock.windowTitle()[-2:] in (" 2", " 3"))
    click(second.log)
    assert not second.model.log
    assert third.model.log
    wait(qtbot, third, lambda: exact(third))


def test_names_of_percentiles_stand_apart_above_the_bars(qtbot, viewer, panel):
    data = np.zeros((4, 50, 50), np.uint16)
    data[0] = np.random.default_rng(0).normal(500, 10, (50, 50))
    data[1:] = 500
    data[3, 0, 0] = 4000
    viewer.add_image(data, name="narrow")
    wait(qtbot, panel, lambda: laid_out(panel))
    handles, box = panel.view.handles, panel.view.box
    for limits in (box.viewRange()[0], (460, 540), (495, 4000)):
        box.setXRange(*limits, padding=0)
        names = [name for name in handles._names if name.isVisible()]
        areas = [QRectF(box.mapViewToScene(name.pos()), name.boundingRect().size()) for name in names]
        assert len(areas) == 2 - (limits == (495, 4000))
        whole = box.sceneBoundingRect().adjusted(-1, -1, 1, 1)
        assert all(whole.contains(area) for area in areas)
        # but for the margin below the letters
        assert all(area.bottom() <= panel.view.point_of(500, 1).y() + 5 for area in areas)
        assert len(areas) == 1 or not areas[0].intersects(areas[1])


def test_keys_pan_and_zoom(qtbot, viewer, panel, volume):
    viewer.add_image(volume, name="nuclei")
    wait(qtbot, panel, lambda: laid_out(panel))
    view = panel.view
    whole = view.box.viewRange()[0]
    QTest.keyClick(view, Qt.Key.Key_Plus)
    zoomed = view.box.viewRange()[0]
    assert np.ptp(zoomed) == pytest.approx(0.8 * np.ptp(whole))
    QTest.keyClick(view, Qt.Key.Key_Right)
    assert view.box.viewRange()[0][0] > zoomed[0]
    QTest.keyClick(view, Qt.Key.Key_Home)
    assert view.box.viewRange()[0] == pytest.approx(whole)


def test_names_are_plain_text(qtbot, viewer, panel, volume):
    name = "<b>nuclei</b> &amp; <i>more</i>"
    layer = viewer.add_image(volume, name=name)
    viewer.add_layer(nx.equalize_hist(layer))
    wait(qtbot, panel, lambda: panel.model.content.before is not None)
    assert name[:19] in panel.view._title._item.toPlainText().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize("size", [9, 16])
def test_text_is_as_large_as_that_of_the_window(qtbot, viewer, panel, volume, size):
    get_settings().appearance.font_size = size
    viewer.add_image(volume, name="nuclei")
    wait(qtbot, panel, lambda: laid_out(panel))
    assert panel.view._title._item.font().pointSize() == size
    for side in ("left", "bottom"):
        axis = panel.view.axes[side]
        assert axis.style["tickFont"].pointSize() == axis.label.font().pointSize() == size
    # there is still a plot
    assert panel.view.box.height() > 80
    # and nothing of the controls is cut off
    for button in panel.findChildren(QAbstractButton):
        if button.isVisible() and button.text():
            assert button.width() >= button.sizeHint().width()


def test_every_control_says_what_it_does(panel):
    for kind in (QAbstractButton, QComboBox, QDoubleSpinBox):
        for control in panel.findChildren(kind):
            if control.isVisible() and not control.objectName().startswith("qt_"):
                assert control.toolTip(), control
                assert control.focusPolicy() & Qt.FocusPolicy.TabFocus


def test_missing_chunks_are_said(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(4, 8, 8), chunks=(1, 8, 8), dtype="u1")
    array[:3] = 1
    for data in (array, da.from_zarr(array)):
        (curve,) = survey.survey([survey.Target("a", None, Volume(data))], ())
        assert curve.coverage == "exact, 256 voxels, 1 chunks missing in the store"
    array[3] = 1
    (curve,) = survey.survey([survey.Target("a", None, Volume(array))], ())
    assert curve.coverage == "exact, 256 voxels"


# --- the limits of many layers ----------------------------------------------------------


def press(panel, key, modifiers):
    """Press a shortcut while the panel has the focus; without a window manager no window becomes active by itself."""
    panel.window().activateWindow()
    panel.low.setFocus()
    QTest.qWait(30)
    QTest.keyClick(panel.low, key, modifiers)
    QTest.qWait(30)


def test_all_selected_layers_get_their_percentiles(qtbot, viewer, panel, volume):
    rng = np.random.default_rng(2)
    datas = [volume, (volume // 3).astype(np.uint8), rng.normal(5, 2, (6, 20, 24)).astype(np.float32)]
    layers = [viewer.add_image(data, name=f"channel {n}") for n, data in enumerate(datas)]
    colors = viewer.add_image(rng.integers(0, 255, (20, 24, 3), dtype=np.uint8), name="colors", rgb=True)
    other = viewer.add_image(volume, name="not selected", contrast_limits=(0, 77))
    viewer.layers.selection = {layers[1]}
    wait(qtbot, panel, lambda: exact(panel))
    assert not panel.selected.isEnabled()
    viewer.layers.selection = {*layers, colors}
    wait(qtbot, panel, lambda: len(panel.model.content.curves) == 7)
    panel.low.setValue(2)
    panel.high.setValue(97)
    before = colors.contrast_limits
    assert panel.selected.isEnabled()
    press(panel, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    # those of floats are exact too, in a moment
    wait(qtbot, panel, lambda: panel.estimated.isHidden())
    for layer, data in zip(layers, datas, strict=True):
        assert tuple(layer.contrast_limits) == tuple(np.percentile(data.astype(float), (2, 97), method="linear"))
    assert tuple(other.contrast_limits) == (0, 77)
    assert colors.contrast_limits == before


def test_limits_are_copied_to_the_others(qtbot, viewer, panel, volume):
    first = viewer.add_image(volume, name="R&D", contrast_limits=(100, 900))
    others = [viewer.add_image(volume // 2, name="b"), viewer.add_image(volume / 4, name="c")]
    viewer.layers.selection = {first, *others}
    viewer.layers.selection.active = first
    viewer.layers.selection.update(others)
    wait(qtbot, panel, lambda: len(panel.model.content.curves) == 3)
    shown = panel.counter.layers[0]
    shown.contrast_limits = (100, 900)
    assert panel.copy_limits.text() == f"Copy the limits of “{shown.name.replace('&', '&&')}” to the others"
    press(panel, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert all(tuple(layer.contrast_limits) == (100, 900) for layer in (first, *others))
    # also by the menu
    shown.contrast_limits = (5, 50)
    panel.copy_limits.trigger()
    assert all(tuple(layer.contrast_limits) == (5, 50) for layer in (first, *others))


def test_limits_of_a_first_look_are_said_to_be_estimated(qtbot, viewer, panel, stack, small_blocks, monkeypatch):
    monkeypatch.setattr(survey, "SAMPLE_SECONDS", 0.05)
    layers = [
        viewer.add_image(slow_dask(stack // (n + 1), 0.03), name=f"lazy {n}", contrast_limits=(0, 4000)) for n in (0, 1)
    ]
    viewer.layers.selection = set(layers)
    qtbot.waitUntil(lambda: panel.counter.counting and panel.selected.isEnabled(), timeout=10_000)
    panel.limit_all.trigger()
    assert not panel.estimated.isHidden()
    first = panel.counter.layers[0]
    assert panel.estimated.text().startswith(f"Limits estimated: {first.name}")
    estimated = tuple(first.contrast_limits)
    assert estimated != (0, 4000)
    wait(qtbot, panel, lambda: panel.estimated.isHidden())
    for layer, data in zip(layers, (stack, stack // 2), strict=True):
        assert tuple(layer.contrast_limits) == tuple(np.percentile(data, (0.5, 99.5)))


def test_limits_that_the_user_changes_meanwhile_are_kept(qtbot, viewer, panel, stack, small_blocks):
    layer = viewer.add_image(slow_dask(stack, 0.03), name="lazy", contrast_limits=(0, 4000))
    qtbot.waitUntil(lambda: panel.counter.counting and panel.set_limits.isEnabled(), timeout=10_000)
    click(panel.set_limits)
    assert panel.estimated.text() == "Limits estimated: lazy"
    layer.contrast_limits = (12, 34)
    wait(qtbot, panel, lambda: exact(panel))
    assert tuple(layer.contrast_limits) == (12, 34)
    assert panel.estimated.isHidden()

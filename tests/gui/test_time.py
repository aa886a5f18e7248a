"""Time in the docks: the strip of the histogram panel, the depth card along t, and matching to a time point."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

import napari_exposure as nx
from gui.driving import click, profile_of
from napari_exposure import core
from napari_exposure.core.strip import count_strip
from napari_exposure.core.volume import Volume


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1366, 768)
    return shown


@pytest.fixture
def series():
    """Six time points of a sample that bleaches."""
    sample = np.random.default_rng(0).gamma(2, 300, (5, 40, 48))
    return np.stack([sample * light for light in (1, 0.9, 0.7, 0.6, 0.5, 0.4)]).astype(np.uint16)


@pytest.fixture
def layer(viewer, series):
    return viewer.add_image(series, name="embryo", axis_labels=("t", "z", "y", "x"), scale=(30, 2, 0.5, 0.5))


@pytest.fixture
def panel(open_widget, layer):
    return open_widget("Histogram & CDF")


def show_strip(qtbot, panel, axis):
    qtbot.waitUntil(lambda: panel.along.findText(f"Strip along {axis}") > 0, timeout=10_000)
    for _ in range(panel.along.findText(f"Strip along {axis}") - panel.along.currentIndex()):
        QTest.keyClick(panel.along, Qt.Key.Key_Down)
    assert panel.strip.axis == axis
    qtbot.waitUntil(lambda: not panel.strip.counting and panel.strip.counts.any(), timeout=30_000)
    return panel.strip


def test_the_strip_is_the_histogram_of_each_time_point(qtbot, viewer, panel, series):
    assert not panel.strip.isVisible()
    strip = show_strip(qtbot, panel, "t")
    assert strip.isVisible()
    assert strip.counts.shape[0] == len(series)
    for counts, point in zip(strip.counts, series, strict=True):
        clamped = np.clip(point, strip.edges[0], strip.edges[-1])
        np.testing.assert_array_equal(counts, np.histogram(clamped, strip.edges)[0])
    # brighter where more voxels are, and one column for each time point
    assert strip._image.image.shape == strip.counts.T.shape
    assert (strip._image.image.argmax(axis=0) == strip.counts.argmax(axis=1)).all()


def test_the_strip_marks_the_time_point_and_goes_to_it(qtbot, viewer, panel):
    strip = show_strip(qtbot, panel, "t")
    viewer.dims.set_current_step(0, 4)
    assert strip._here.value() == 4
    qtbot.waitUntil(lambda: strip._box.height() > 20)
    # the strip has its place when all of it is laid out
    qtbot.wait(50)
    middle = strip.edges.mean()
    QTest.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=strip.point_of(2.2, middle))
    assert viewer.dims.current_step[0] == 2
    strip.setFocus()
    QTest.keyClick(strip, Qt.Key.Key_Right)
    assert viewer.dims.current_step[0] == 3
    assert strip._here.value() == 3


def test_the_strip_follows_layer_scope_and_edits(qtbot, viewer, panel, layer, series):
    strip = show_strip(qtbot, panel, "z")
    assert strip.counts.shape[0] == 5
    assert strip.counts.sum() == series.size
    viewer.dims.set_current_step(0, 1)
    panel.scope.setCurrentIndex(panel.scope.findData("volume"))
    qtbot.waitUntil(lambda: strip.counts.sum() == series[1].size, timeout=10_000)
    before = strip.counts.copy()
    viewer.dims.set_current_step(0, 5)
    qtbot.waitUntil(lambda: not np.array_equal(strip.edges, before), timeout=10_000)
    qtbot.waitUntil(lambda: not strip.counting and strip.edges[-1] < series[5].max() + 30, timeout=10_000)
    panel.scope.setCurrentIndex(panel.scope.findData("dataset"))
    qtbot.waitUntil(lambda: strip.counts.sum() == series.size, timeout=10_000)
    layer.data = series[:, :3]
    qtbot.waitUntil(lambda: strip.counts.shape[0] == 3 and strip.counts.sum() == 3 * series.size / 5, timeout=10_000)
    viewer.add_image(series[0, 0], name="plane")
    qtbot.waitUntil(lambda: not strip.counts.any(), timeout=10_000)
    viewer.layers.selection.active = layer
    qtbot.waitUntil(lambda: strip.counts.shape[0] == 3, timeout=10_000)
    panel.along.setCurrentIndex(0)
    assert not strip.isVisible()


def test_the_strip_is_counted_beside_the_window_and_cancelled(qtbot, viewer, panel, slow):
    qtbot.waitUntil(lambda: panel.model.content.complete and not panel.counter.running, timeout=60_000)
    panel.along.setCurrentIndex(1)
    qtbot.waitUntil(lambda: panel.strip.counting, timeout=10_000)
    qtbot.waitUntil(lambda: "Counting" in panel.strip._words and "%" in panel.strip._words, timeout=10_000)
    assert panel.again.text() == "Cancel"
    click(panel.again)
    assert not panel.strip.counting
    assert not panel.strip.counts.any()
    assert panel.again.text() == "Refresh"
    click(panel.again)
    qtbot.waitUntil(lambda: not panel.strip.counting and panel.strip.counts.any(), timeout=60_000)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32"])
def test_what_a_strip_counts(dtype):
    values = np.random.default_rng(1).gamma(2, 20, (4, 6, 7, 8)).astype(dtype)
    mask = np.random.default_rng(2).random(values.shape) < 0.5
    for axis in range(4):
        counts, edges = count_strip(Volume(values, mask), axis, 32)
        assert counts.shape[0] == values.shape[axis]
        assert counts.shape[1] <= 32
        for at in range(values.shape[axis]):
            part, used = values.take(at, axis), mask.take(at, axis)
            expected = np.histogram(np.clip(part[used], edges[0], edges[-1]), edges)[0]
            np.testing.assert_array_equal(counts[at], expected)
    assert not count_strip(Volume(np.ones((3, 4), dtype)), 0, 32)[0].any()


def test_the_depth_card_goes_along_time(qtbot, viewer, open_widget, layer, series):
    widget = open_widget("Depth correction")
    widget["axis"].value, widget["model"].value = "t", "ratio"
    plot = profile_of(widget)
    qtbot.waitUntil(lambda: len(plot._before.getData()[0]) == 6, timeout=10_000)
    positions, profile, fitted = nx.decay_profile(layer, "t", model="ratio")
    np.testing.assert_allclose(plot._before.getData(), (positions, profile))
    np.testing.assert_allclose(plot._after.getData()[1], profile[0])
    assert plot.axes["bottom"].labelText == "t"
    layer.units = ("s", "um", "um", "um")
    qtbot.waitUntil(lambda: plot.axes["bottom"].labelText == "t (s)", timeout=10_000)
    positions = nx.decay_profile(layer, "t", model="ratio")[0]
    assert positions[-1] == 150
    np.testing.assert_allclose(plot._before.getData(), (positions, profile))
    viewer.dims.set_current_step(0, 4)
    assert plot._here.value() == 120
    # the plot has its place when all of it is laid out
    qtbot.waitUntil(lambda: widget.up_to_date and plot._box.height() > 20, timeout=10_000)
    qtbot.wait(50)
    QTest.mouseClick(plot.viewport(), Qt.MouseButton.LeftButton, pos=plot.point_of(30, fitted.mean()))
    qtbot.waitUntil(lambda: viewer.dims.current_step[0] == 1, timeout=5_000)
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=30_000)
    expected = nx.correct_decay(layer, "t", "ratio")
    np.testing.assert_array_equal(viewer.layers[expected.name].data, expected.data)
    np.testing.assert_array_equal(expected.data, core.correct_decay(series, "t", "ratio"))


def test_a_layer_without_time_is_told_so(qtbot, viewer, open_widget, series):
    viewer.add_image(series[0], name="still", axis_labels=("z", "y", "x"))
    widget = open_widget("Depth correction")
    widget["axis"].value = "t"
    qtbot.waitUntil(lambda: "There is no axis of time" in widget.bar.state.said(), timeout=10_000)


def test_an_axis_without_a_name_is_time_where_someone_says_so(viewer, series):
    movie = viewer.add_image(series[:, 0], name="movie")
    found = nx.correct_decay(movie, "t", "ratio")
    np.testing.assert_array_equal(found.data, core.correct_decay(series[:, 0], "t", "ratio"))


def test_matching_to_a_time_point(qtbot, viewer, open_widget, layer, series):
    widget = open_widget("Histogram matching")
    edit = widget["reference"]
    edit.value = "median"
    assert edit.value == "median"
    qtbot.waitUntil(lambda: "embryo - exposure" in viewer.layers, timeout=10_000)
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=30_000)
    result = viewer.layers["embryo - matched"]
    np.testing.assert_array_equal(result.data, core.match_histograms(series, "median"))
    step = result.metadata["napari_exposure"]["steps"][-1]
    assert step["reference"] == "median"


def test_windows_of_layers_go_by_the_names_of_axes(qtbot, viewer, open_widget, series):
    channels = np.stack([series, series[::-1]])
    layer = viewer.add_image(channels, name="two", axis_labels=("c", "t", "z", "y", "x"))
    widget = open_widget("Histogram equalization")
    widget["per"].value, widget["window"].value = "volume", 3
    qtbot.waitUntil(lambda: "two - exposure" in viewer.layers, timeout=10_000)
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=30_000)
    result = viewer.layers["two - equalized"]
    for channel in range(2):
        expected = core.equalize_hist(channels[channel], per="volume", window=3)
        np.testing.assert_array_equal(result.data[channel], expected)
    np.testing.assert_array_equal(nx.equalize_hist(layer, per="volume", window=3).data, result.data)

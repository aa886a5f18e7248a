"""The card of the tone curve: points that are dragged over the histogram of what they change."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

import napari_exposure as nx
from gui.driving import choose
from napari_exposure.core.volume import Volume
from napari_exposure.gui.exposure.extras import BARS, counts_between


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1366, 768)
    return shown


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_bars_hold_the_voxels_of_their_part_of_the_range(dtype):
    volume = np.random.default_rng(0).gamma(3, 500, (9, 40, 50)).astype(dtype)
    lo, hi = 100.5, 100.5 + 20 * BARS
    counts = counts_between(Volume(volume), lo, hi)
    expected, _ = np.histogram(volume.clip(lo, hi), BARS, (lo, hi))
    # A bin at the border of two bars is divided, where floats have wider ones.
    np.testing.assert_allclose(counts, expected, atol=0 if dtype == "uint16" else 0.1 * expected.max())
    assert counts.sum() == pytest.approx(volume.size)


def test_bars_of_integers_are_no_comb():
    levels = np.repeat(np.arange(200, dtype=np.uint8), 10).reshape(2, 20, 50)
    counts = counts_between(Volume(levels), 0, 199)
    assert np.ptp(counts[1:-1]) < 1e-6


def test_the_histogram_lies_behind_the_curve(qtbot, viewer, volume, open_widget):
    layer = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    dock = open_widget("Exposure")
    choose(dock.tools.add_menu, "Tone curve")
    canvas = dock.cards.views[0].editors["points"].canvas
    qtbot.waitUntil(lambda: canvas._counts.any(), timeout=20_000)
    least, most = float(volume.min()), float(volume.max())
    np.testing.assert_array_equal(canvas._counts, counts_between(Volume(volume), least, most))
    # A click makes a point, which is dragged; the histogram stays what it is.
    before, counted = canvas.grab().toImage(), canvas._counts
    start, end = canvas.place((0.4, 0.4)).toPoint(), canvas.place((0.4, 0.8)).toPoint()
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
    QTest.mouseMove(canvas, end)
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=end)
    points = dock.cards.views[0].editors["points"].value
    assert len(points) == 3
    assert points[1] == pytest.approx((0.4, 0.8), abs=0.03)
    expected = nx.adjust_curve(layer, points).data[3]
    qtbot.waitUntil(lambda: np.array_equal(dock.live.first.layer.data[3], expected), timeout=20_000)
    assert canvas._counts is counted
    assert canvas.grab().toImage() != before
    # What is drawn is what the card gets from those above it, and not what the layer is.
    choose(dock.tools.add_menu, "Percentile clipping")
    clip = dock.cards.views[1]
    clip.move_by(-1)
    qtbot.waitUntil(lambda: dock.up_to_date and canvas._counts is not counted, timeout=20_000)
    clipped = nx.clip_percentiles(volume)
    np.testing.assert_array_equal(canvas._counts, counts_between(Volume(clipped), clipped.min(), clipped.max()))
    # Nothing is drawn where nothing is fitted.
    dock.bar.live.setChecked(False)
    canvas.points = ((0.0, 0.0), (1.0, 1.0))
    canvas.moved.emit()
    assert not canvas._counts.any()
    # A bar of the shade, beside the curve.
    dock.bar.live.setChecked(True)
    qtbot.waitUntil(lambda: canvas._counts.any(), timeout=20_000)
    image = canvas.grab().toImage()
    highest = int(canvas._counts.argmax())
    place = canvas.place(((highest + 0.5) / BARS, 0.6)).toPoint()
    beside = canvas.place((0.9, 0.6)).toPoint()
    ratio = image.devicePixelRatio()
    colors = [image.pixelColor(QPoint(int(each.x() * ratio), int(each.y() * ratio))) for each in (place, beside)]
    assert colors[0] != colors[1]

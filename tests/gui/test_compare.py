"""Source and result compared: one for the other, side by side, and on the two sides of a line that is dragged."""

import gc
import weakref
from itertools import product

import numpy as np
import pytest
from napari._vispy.layers.image import ImageLayerNode
from napari.layers import Labels
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

import napari_exposure as nx
from napari_exposure.gui.napari_versions import camera_of, grid_of, name_overlay_of
from napari_exposure.gui.viewer.compare import SideBySide, SourceAlone
from napari_exposure.gui.viewer.layer_order import place
from napari_exposure.gui.viewer.split_line import SplitLine

WAYS = [SourceAlone, SideBySide, SplitLine]


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(900, 700)
    return shown


@pytest.fixture
def pair(qtbot, viewer, volume):
    """A source, and its result as Apply adds it."""
    source = viewer.add_image(volume, name="nuclei <b>1</b>", contrast_limits=(0, 3000), colormap="red")
    result = nx.equalize_hist(source)
    result.colormap = "green"
    place(viewer, result, source)
    qtbot.wait(100)
    return source, result


def name_on_canvas(layer):
    """Whether napari writes the name of a layer on the canvas, and where; napari 0.6 writes none."""
    overlay = name_overlay_of(layer)
    return (False, None) if overlay is None else (overlay.visible, str(overlay.position))


def state(viewer):
    """All that a comparison may change."""
    grid = grid_of(viewer)
    layers = [
        (layer.name, layer.visible, *name_on_canvas(layer), layer.contrast_limits)
        for layer in viewer.layers
        if not isinstance(layer, Labels)
    ]
    canvas = viewer.window._qt_viewer.canvas
    hooks = [
        len(getattr(node, "_hooks", ())) and sum(len(hook.items) for hook in node._hooks.values())
        for node in (canvas.layer_to_visual[layer].node for layer in viewer.layers)
    ]
    drawn = len(canvas._scene_canvas.events.draw.callbacks)
    children = len(canvas.native.children())
    return layers, grid.enabled, grid.shape, grid.stride, list(viewer.layers), hooks, drawn, children


def shot(qtbot, viewer):
    qtbot.wait(100)
    return viewer.screenshot(canvas_only=True, flash=False)[..., :2].astype(int)


def line_of(viewer):
    native = viewer.window._qt_viewer.canvas.native
    return next(child for child in native.children() if getattr(child, "accessibleName", str)())


def assert_split(qtbot, viewer, at):
    """Red on the left of the line, green on the right, and no mixture."""
    picture = shot(qtbot, viewer)
    middle = round(at * picture.shape[1])
    left, right = picture[60:, : middle - 9], picture[60:, middle + 9 :]
    assert left[..., 0].max() > 100
    assert left[..., 1].max() < 60
    assert right[..., 1].max() > 100
    assert right[..., 0].max() < 60


def test_it_leaves_nothing_behind(qtbot, viewer, pair):
    viewer.add_labels(np.zeros((12, 40, 48), int))
    data = [layer.data.copy() for layer in pair]
    for ndisplay, way in product((2, 3), WAYS):
        viewer.dims.ndisplay = ndisplay
        shot(qtbot, viewer)
        before = state(viewer)
        comparison = way(viewer)
        comparison.start(*pair, linked=way is not SourceAlone)
        assert comparison.on
        shot(qtbot, viewer)
        comparison.start(*pair, linked=way is not SourceAlone)
        assert state(viewer) != before
        comparison.stop()
        comparison.stop()
        assert not comparison.on
        shot(qtbot, viewer)
        qtbot.waitUntil(lambda before=before: state(viewer) == before)
    for layer, values in zip(pair, data, strict=True):
        np.testing.assert_array_equal(layer.data, values)


def test_turned_to_3d_meanwhile_only_the_result_shows_afterwards(viewer, pair):
    for way in WAYS:
        comparison = way(viewer)
        comparison.start(*pair)
        viewer.dims.ndisplay = 3
        comparison.stop()
        assert [layer.visible for layer in pair] == [False, True]
        viewer.dims.ndisplay = 2
        assert [layer.visible for layer in pair] == [True, True]


def test_names_are_on_the_canvas(viewer, pair):
    for way in (SideBySide, SplitLine):
        comparison = way(viewer)
        comparison.start(*pair)
        assert [name_on_canvas(layer)[0] for layer in pair] == [name_overlay_of(layer) is not None for layer in pair]
        comparison.stop()
        assert not any(name_on_canvas(layer)[0] for layer in pair)


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_the_line_is_dragged(qtbot, viewer, pair, ndisplay):
    viewer.dims.ndisplay = ndisplay
    if ndisplay == 3:
        camera_of(viewer).angles = (10, 30, 60)
        camera_of(viewer).perspective = 40
    split = SplitLine(viewer)
    split.start(*pair)
    for blending in ("additive", "translucent_no_depth"):
        pair[1].blending = blending
        assert_split(qtbot, viewer, 0.5)
    line = line_of(viewer)
    width = line.parentWidget().width()
    QTest.mousePress(line, Qt.MouseButton.LeftButton, pos=QPoint(7, 100))
    for x in (0.55, 0.6):
        where = QPoint(round(x * width) - line.x(), 100)
        QTest.mouseMove(line, where)
        qtbot.wait(20)
    QTest.mouseRelease(line, Qt.MouseButton.LeftButton, pos=QPoint(7, 100))
    assert line.x() + line.width() / 2 == pytest.approx(0.6 * width, abs=2)
    assert_split(qtbot, viewer, 0.6)
    for _ in range(10):
        QTest.keyClick(line, Qt.Key.Key_Left)
    assert_split(qtbot, viewer, 0.4)
    QTest.mouseDClick(line, Qt.MouseButton.LeftButton)
    assert_split(qtbot, viewer, 0.5)


def test_it_stays_where_dimensions_and_planes_change(qtbot, viewer, pair):
    split = SplitLine(viewer)
    split.start(*pair)
    for ndisplay in (3, 2, 3):
        viewer.dims.ndisplay = ndisplay
        assert_split(qtbot, viewer, 0.5)
    viewer.dims.ndisplay = 2
    viewer.dims.set_current_step(0, 2)
    viewer.window._qt_window.resize(1100, 800)
    assert_split(qtbot, viewer, 0.5)


def test_a_plane_that_napari_draws_in_tiles(qtbot, viewer, pair, monkeypatch):
    # as wider planes than the graphics card takes
    tiled_image = pytest.importorskip("napari._vispy.layers.tiled_image", reason="napari 0.6 draws no tiles")
    original = ImageLayerNode.get_node

    def tiled(self, ndisplay, dtype=None, shape=None):
        return original(self, ndisplay, dtype, (10**6, 10**6) if shape and len(shape) == 2 else shape)

    monkeypatch.setattr(ImageLayerNode, "get_node", tiled)
    viewer.dims.set_current_step(0, 3)
    for layer in pair:
        layer.refresh()
    split = SplitLine(viewer)
    split.start(*pair)
    assert_split(qtbot, viewer, 0.5)
    visuals = viewer.window._qt_viewer.canvas.layer_to_visual
    assert all(isinstance(visuals[layer].node, tiled_image.TiledImageNode) for layer in pair)


@pytest.mark.parametrize(("way", "gone"), [(SideBySide, 1), (SplitLine, 0), (SplitLine, 1)])
def test_a_layer_that_is_deleted_ends_it(qtbot, viewer, pair, way, gone):
    before = state(viewer)
    comparison = way(viewer)
    comparison.start(*pair)
    shot(qtbot, viewer)
    viewer.layers.remove(pair[gone])
    comparison.stop()
    qtbot.wait(100)
    left = pair[1 - gone]
    assert left.visible
    assert not name_on_canvas(left)[0]
    after = state(viewer)
    assert after[1:4] == before[1:4]
    assert after[-2:] == before[-2:]


def test_another_result_takes_the_place_of_the_first(qtbot, viewer, pair):
    source, result = pair
    other = nx.adjust_gamma(source, 0.5)
    place(viewer, other, source)
    for way in (SideBySide, SplitLine):
        comparison = way(viewer)
        comparison.start(source, result)
        camera_of(viewer).zoom = 7
        comparison.start(source, other)
        assert [layer.visible for layer in (source, result, other)] == [True, False, True]
        assert camera_of(viewer).zoom == 7
        comparison.stop()
        assert [layer.visible for layer in (source, result, other)] == [True, True, True]


def test_nothing_holds_the_viewer(qtbot, viewer, pair):
    split = SplitLine(viewer)
    split.start(*pair)
    shot(qtbot, viewer)
    split.stop()
    found = weakref.ref(split)
    del split
    gc.collect()
    assert found() is None

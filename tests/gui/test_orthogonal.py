"""The orthogonal planes in a shown window: voxels of the layer, moved by sliders and mouse."""

import gc
import threading
import time
import weakref

import napari
import numpy as np
import pytest
from napari.layers import Vectors
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from gui.driving import give
from napari_exposure.gui.napari_versions import units_of
from napari_exposure.gui.orthogonal import cuts

NAME = "Orthogonal planes"
SCALE = (2.0, 0.5, 0.25)


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1200, 850)
    return shown


def add(viewer, data, **options):
    options = {"scale": SCALE, "units": ("um",) * 3, "axis_labels": tuple("zyx"), "name": "nuclei", **options}
    return viewer.add_image(data, **options)


def in_a_millimeter(viewer):
    """How many micrometers a viewer draws as long as a millimeter: napari 0.6 takes all units for the same."""
    return 1 if units_of(viewer.dims) is None else 1000


def drawn(viewer):
    """The layer of the cross-hair, if there is one."""
    found = [layer for layer in viewer.layers if isinstance(layer, Vectors)]
    assert len(found) <= 1
    return found[0] if found else None


def pictures(panel):
    return [pane.image.image for pane in (panel.row, panel.column)]


def settled(qtbot, panel, condition=lambda: True):
    qtbot.wait(30)
    qtbot.waitUntil(lambda: not panel.running and condition(), timeout=10_000)


def check(panel, volume, voxel):
    """The panes hold the planes through a voxel, and the lines lie there."""
    z, y, x = voxel
    assert panel.voxel == voxel
    row, column = pictures(panel)
    np.testing.assert_array_equal(row, volume[:, y, :])
    np.testing.assert_array_equal(column, volume[:, :, x].T)
    lines = [line.value() for pane in (panel.row, panel.column) for line in pane.lines]
    np.testing.assert_allclose(lines, [z * SCALE[0], x * SCALE[2], y * SCALE[1], z * SCALE[0]])


def press(pane, start, stop=None):
    """Click at a point of the picture, or drag from there to another."""
    view = pane.viewport()
    QTest.mousePress(view, Qt.MouseButton.LeftButton, pos=pane.point_of(*start))
    if stop is not None:
        for part in (0.3, 0.6, 1.0):
            at = [a + part * (b - a) for a, b in zip(start, stop, strict=True)]
            QTest.mouseMove(view, pane.point_of(*at))
            # pyqtgraph leaves out moves that follow too fast
            QTest.qWait(30)
    QTest.mouseRelease(view, Qt.MouseButton.LeftButton, pos=pane.point_of(*(stop or start)))


def test_panes_and_cross_hair_show_where_the_planes_lie(qtbot, viewer, open_widget, volume):
    layer = add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    check(panel, volume, (5, 19, 23))
    assert "z = 5 · 10.00 µm" in panel.facts.text()
    assert f"intensity {volume[5, 19, 23]}" in panel.facts.text()
    # physical aspect: as long on the screen as in the world
    box = panel.row.image.getViewBox()
    np.testing.assert_allclose(*box.viewPixelSize(), rtol=0.02)
    rect = panel.row.image.mapRectToParent(panel.row.image.boundingRect())
    np.testing.assert_allclose([rect.left(), rect.top(), rect.width(), rect.height()], [-0.125, -1, 12, 24])
    lines = drawn(viewer)
    assert lines.name == "nuclei - cross-hair"
    ends = lines.data[:, 0] * lines.scale, lines.data.sum(axis=1) * lines.scale
    np.testing.assert_allclose(ends[0][:, 0], 10)
    np.testing.assert_allclose([ends[0][0, 2], ends[1][0, 2]], 23 * 0.25)
    np.testing.assert_allclose([ends[0][1, 1], ends[1][1, 1]], 19 * 0.5)
    assert viewer.layers.selection.active == layer
    panel.cross.setChecked(False)
    assert drawn(viewer) is None


def test_sliders_move_the_planes_and_the_panes_move_the_sliders(qtbot, viewer, open_widget, volume):
    add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    viewer.dims.set_current_step(0, 3)
    settled(qtbot, panel, lambda: panel.voxel[0] == 3)
    check(panel, volume, (3, 19, 23))
    # a click in the row pane: z down, x to the right
    press(panel.row, (9 * SCALE[0], 40 * SCALE[2]))
    settled(qtbot, panel, lambda: viewer.dims.current_step[0] == 9)
    check(panel, volume, (9, 19, 40))
    assert drawn(viewer).data[0, 0, 0] * drawn(viewer).scale[0] == 18
    # a drag in the column pane: y down, z to the right
    press(panel.column, (5 * SCALE[1], 5 * SCALE[0]), (30 * SCALE[1], 2 * SCALE[0]))
    settled(qtbot, panel, lambda: panel.voxel[1] == 30)
    check(panel, volume, (2, 30, 40))
    assert viewer.dims.current_step[0] == 2


def test_a_line_moves_along_its_axis_only(qtbot, viewer, open_widget, volume):
    add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    z, _, x = panel.voxel
    # beside the crossing, on the line of z
    press(panel.row, (z * SCALE[0], 8 * SCALE[2]), (9 * SCALE[0], 12 * SCALE[2]))
    settled(qtbot, panel, lambda: panel.voxel[0] == 9)
    check(panel, volume, (9, 19, x))


def test_a_click_in_the_main_view_moves_the_cross_hair_and_a_drag_does_not(qtbot, viewer, open_widget, volume):
    add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    canvas = viewer.window._qt_viewer.canvas.native
    before = panel.voxel
    middle = canvas.rect().center()
    QTest.mousePress(canvas, Qt.MouseButton.LeftButton, pos=middle)
    for step in (5, 15, 25):
        QTest.mouseMove(canvas, middle + QPoint(step, step))
        QApplication.processEvents()
    QTest.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(25, 25))
    settled(qtbot, panel)
    assert panel.voxel == before
    QTest.mouseMove(canvas, middle + QPoint(60, -40))
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=middle + QPoint(60, -40))
    settled(qtbot, panel, lambda: panel.voxel != before)
    assert panel.voxel[0] == before[0]
    assert panel.voxel[1] < before[1]
    assert panel.voxel[2] > before[2]


def test_look_follows_the_layer(qtbot, viewer, open_widget, volume):
    layer = add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    layer.contrast_limits, layer.colormap, layer.gamma = (100, 900), "magenta", 0.5
    settled(qtbot, panel)
    for pane in (panel.row, panel.column):
        assert tuple(pane.image.levels) == (100, 900)
        # a quarter of the way with gamma 0.5 is half
        np.testing.assert_allclose(pane.image.lut[256], [128, 0, 128, 255], atol=1)
    before = panel.row.backgroundBrush().color()
    viewer.theme = "light"
    assert panel.row.backgroundBrush().color() != before
    layer.scale = (1, 1, 1)
    settled(qtbot, panel, lambda: panel.row.image.mapRectToParent(panel.row.image.boundingRect()).height() == 12)


def test_rolled_axes_and_3d(qtbot, viewer, open_widget, volume):
    add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    panel.go_to({0: 4, 1: 10, 2: 30})
    settled(qtbot, panel)
    # 3D: three frames and the box
    viewer.dims.ndisplay = 3
    settled(qtbot, panel, lambda: len(drawn(viewer).data) == 24)
    check(panel, volume, (4, 10, 30))
    panel.go_to({0: 7})
    viewer.dims.ndisplay = 2
    settled(qtbot, panel)
    # the plane of the cross-hair is seen
    assert viewer.dims.current_step[0] == 7
    # a plane that is chosen at once is not taken back
    viewer.dims.ndisplay = 3
    settled(qtbot, panel, lambda: len(drawn(viewer).data) == 24)
    viewer.dims.ndisplay = 2
    viewer.dims.set_current_step(0, 3)
    settled(qtbot, panel, lambda: panel.voxel[0] == 3)
    assert viewer.dims.current_step[0] == 3
    panel.go_to({0: 7})
    viewer.dims.order = (1, 0, 2)
    settled(qtbot, panel, lambda: pictures(panel)[0].shape == volume.shape[1:])
    assert viewer.dims.current_step[1] == 10
    row, column = pictures(panel)
    np.testing.assert_array_equal(row, volume[7])
    np.testing.assert_array_equal(column, volume[:, :, 30])


def test_it_follows_the_active_image(qtbot, viewer, open_widget, volume):
    panel = open_widget(NAME)
    settled(qtbot, panel)
    assert "Select an image layer" in panel.facts.text()
    viewer.add_image(volume[0], name="flat")
    settled(qtbot, panel)
    assert "Select an image layer" in panel.facts.text()
    layer = add(viewer, volume)
    settled(qtbot, panel, lambda: panel.layer == layer)
    other = add(viewer, volume[::-1].copy(), name="other")
    settled(qtbot, panel, lambda: panel.layer == other)
    np.testing.assert_array_equal(pictures(panel)[0], volume[::-1, panel.voxel[1]])
    # something else that is active does not turn it away
    viewer.add_points(np.zeros((1, 3)))
    settled(qtbot, panel)
    assert panel.layer == other
    other.data = volume
    settled(qtbot, panel)
    np.testing.assert_array_equal(pictures(panel)[0], volume[:, panel.voxel[1]])


def test_time_and_units(qtbot, viewer, open_widget, volume):
    movie = np.stack([volume, volume[::-1]])
    add(
        viewer,
        movie,
        scale=(1, *SCALE),
        units=("s", "um", "um", "um"),
        axis_labels=tuple("tzyx"),
        translate=(0, 5, 6, 7),
    )
    panel = open_widget(NAME)
    settled(qtbot, panel)
    viewer.dims.set_current_step(0, 1)
    settled(qtbot, panel, lambda: panel.voxel[0] == 1)
    _, z, y, x = panel.voxel
    np.testing.assert_array_equal(pictures(panel)[0], movie[1, :, y])
    # another unit than the viewer's
    many = in_a_millimeter(viewer)
    other = add(viewer, volume, scale=np.array(SCALE) / many, units=("mm",) * 3, translate=np.array((5, 6, 7)) / many)
    settled(qtbot, panel, lambda: panel.layer == other)
    assert panel.voxel == (z, y, x)
    panel.go_to({0: 2, 1: 3, 2: 4})
    assert panel.voxel == (2, 3, 4)
    assert viewer.dims.current_step[1] == 2


@pytest.mark.parametrize("dtype", ["bool", "int8", ">u2", "int64", "float16", "float64"])
def test_dtypes(qtbot, viewer, open_widget, volume, dtype):
    values = volume.astype(dtype)
    if values.dtype.kind == "f":
        values[:, :, :5] = np.nan
    layer = add(viewer, values, contrast_limits=(0, 1))
    panel = open_widget(NAME)
    settled(qtbot, panel)
    np.testing.assert_array_equal(pictures(panel)[0], values[:, panel.voxel[1]].astype(pictures(panel)[0].dtype))
    # is painted without a complaint
    panel.grab()
    assert layer.data.dtype == dtype


def test_rgb_and_pyramids(qtbot, viewer, open_widget, volume, monkeypatch):
    colours = np.stack([volume, volume // 2, volume // 4], axis=-1).astype(np.uint8)
    add(viewer, colours, rgb=True)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    np.testing.assert_array_equal(pictures(panel)[0], colours[:, panel.voxel[1]])
    monkeypatch.setattr(cuts, "MOST", 24 * 12)
    layer = add(viewer, [volume, volume[:, ::2, ::2]], multiscale=True, name="pyramid")
    settled(qtbot, panel, lambda: panel.layer == layer)
    np.testing.assert_array_equal(pictures(panel)[0], volume[:, ::2, ::2][:, panel.voxel[1] // 2])
    rect = panel.row.image.mapRectToParent(panel.row.image.boundingRect())
    np.testing.assert_allclose([rect.width(), rect.height()], [12, 24])


def test_slow_data_never_block_the_window(qtbot, viewer, open_widget, volume):
    at_once, most = [0], [0]
    begun, main = [], threading.main_thread()

    class Slow:
        """What napari reads, the plane in view, comes at once; the rest takes its time."""

        shape, dtype, ndim = volume.shape, volume.dtype, 3

        def __getitem__(self, index):
            if threading.current_thread() is not main:
                at_once[0] += 1
                most.append(at_once[0])
                begun.append(index)
                time.sleep(0.1)
                at_once[0] -= 1
            else:
                # napari's own reading
                assert isinstance(index[1], slice)
                assert isinstance(index[2], slice)
            return volume[index]

    add(viewer, Slow(), contrast_limits=(0, 2000))
    panel = open_widget(NAME)
    settled(qtbot, panel)
    for y in range(40):
        panel.go_to({1: y})
    assert panel.running
    settled(qtbot, panel)
    np.testing.assert_array_equal(pictures(panel)[0], volume[:, 39])
    # each pane reads one plane at a time, and not all of those that were passed
    assert max(most) <= 2
    assert len(begun) < 8


def test_live_previews_are_cut_too(qtbot, viewer, open_widget, volume):
    import napari_exposure as nx

    source = add(viewer, volume)
    gamma = open_widget("Gamma")
    panel = open_widget(NAME)
    qtbot.waitUntil(lambda: gamma.live.first.layer is not None, timeout=10_000)
    viewer.layers.selection.active = gamma.live.first.layer
    qtbot.waitUntil(lambda: panel.layer == gamma.live.first.layer, timeout=10_000)
    settled(qtbot, panel)
    for value in (0.5, 2.0):
        gamma["gamma"].value = value
        expected = nx.adjust_gamma(source, value).data[:, panel.voxel[1]]
        qtbot.waitUntil(lambda expected=expected: np.array_equal(pictures(panel)[0], expected), timeout=10_000)


def test_nothing_stays_behind(qtbot, viewer, open_widget, volume):
    def connected():
        dims, layers = viewer.dims.events, viewer.layers
        emitters = (dims.point, layers.events.removed, layers.selection.events.active)
        # napari 0.6 leaves callbacks of its own at these two with each layer that is removed
        emitters += () if napari.__version__ < "0.7" else (dims.order, dims.ndisplay)
        events = layer.events
        emitters += (events.scale, events.set_data, events.contrast_limits, viewer.events.theme)
        return [len(emitter.callbacks) for emitter in emitters], len(viewer.mouse_drag_callbacks)

    layer = add(viewer, volume)
    before = connected()
    panel = open_widget(NAME)
    settled(qtbot, panel)
    panel.go_to({0: 2, 1: 3, 2: 4})
    dock = panel.parent()
    assert connected() != before
    dock.hide()
    assert list(viewer.layers) == [layer]
    assert connected() == before
    dock.show()
    settled(qtbot, panel)
    # where it was
    check(panel, volume, (2, 3, 4))
    dock.setFloating(True)
    settled(qtbot, panel)
    check(panel, volume, (2, 3, 4))
    assert drawn(viewer) is not None
    viewer.window.remove_dock_widget(dock)
    assert list(viewer.layers) == [layer]
    assert connected() == before


def test_layers_that_go(qtbot, viewer, open_widget, volume):
    layer = add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    # the user takes the cross-hair away
    viewer.layers.remove(drawn(viewer))
    qtbot.waitUntil(lambda: not panel.cross.isChecked())
    settled(qtbot, panel)
    assert drawn(viewer) is None
    panel.cross.setChecked(True)
    assert drawn(viewer) is not None
    gone = weakref.ref(layer)
    viewer.layers.remove(layer)
    settled(qtbot, panel)
    assert list(viewer.layers) == []
    assert "Select an image layer" in panel.facts.text()
    del layer
    gc.collect()
    assert gone() is None
    add(viewer, volume)
    settled(qtbot, panel, lambda: panel.layer is not None)
    check(panel, volume, panel.voxel)


@pytest.mark.parametrize(
    "more",
    [
        {"scale": (1, *SCALE), "units": ("um",) * 4},
        {"scale": (1, *SCALE), "units": ("s", "um", "um", "um")},
        {"scale": (1, *SCALE), "units": ("s", "mm", "mm", "mm")},
    ],
)
def test_layers_with_more_axes_come_and_go(qtbot, viewer, open_widget, volume, more):
    layer = add(viewer, volume)
    if "mm" in more["units"]:
        more = {**more, "scale": (1, *np.array(SCALE) / in_a_millimeter(viewer))}
    panel = open_widget(NAME)
    settled(qtbot, panel)
    panel.go_to({0: 2, 1: 3, 2: 4})
    movie = np.stack([volume[::-1], volume])
    four = add(viewer, movie, name="movie", axis_labels=tuple("tzyx"), **more)
    settled(qtbot, panel, lambda: panel.layer == four)
    time = panel.voxel[0]
    assert panel.voxel[1:] == (2, 3, 4)
    np.testing.assert_array_equal(pictures(panel)[0], movie[time, :, 3])
    assert drawn(viewer).ndim == 4
    viewer.layers.selection.active = layer
    settled(qtbot, panel, lambda: panel.layer == layer)
    check(panel, volume, (2, 3, 4))
    viewer.layers.selection.active = four
    settled(qtbot, panel, lambda: panel.layer == four)
    viewer.layers.remove(four)
    settled(qtbot, panel, lambda: panel.layer == layer)
    check(panel, volume, (2, 3, 4))
    assert drawn(viewer).ndim == 3
    ends = drawn(viewer).data[:, 0] * drawn(viewer).scale
    np.testing.assert_allclose([ends[0, 0], ends[1, 1], ends[0, 2]], [2 * SCALE[0], 3 * SCALE[1], 4 * SCALE[2]])


def test_data_with_other_axes(qtbot, viewer, open_widget, volume):
    layer = add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    panel.go_to({0: 2, 1: 3, 2: 4})
    movie = np.stack([volume[::-1], volume])
    if not give(layer, movie):
        return
    settled(qtbot, panel)
    assert panel.voxel[1:] == (2, 3, 4)
    np.testing.assert_array_equal(pictures(panel)[1], movie[panel.voxel[0], :, :, 4].T)
    assert drawn(viewer).ndim == 4
    layer.data = volume[0]
    settled(qtbot, panel)
    assert "Select an image layer" in panel.facts.text()
    assert drawn(viewer) is None
    layer.data = volume
    settled(qtbot, panel)
    check(panel, volume, (panel.voxel[0], 3, 4))
    assert drawn(viewer).ndim == 3


@pytest.mark.parametrize("lines_first", [False, True])
def test_a_cross_hair_that_is_selected_goes_with_its_image(
    qtbot, viewer, open_widget, volume, delete_selected, lines_first
):
    panel = open_widget(NAME)
    image = add(viewer, volume)
    settled(qtbot, panel, lambda: drawn(viewer) is not None)
    viewer.layers.select_all()
    delete_selected(first=drawn(viewer) if lines_first else image)
    settled(qtbot, panel)
    assert list(viewer.layers) == []


def test_the_wish_for_a_cross_hair_outlives_the_layers(qtbot, viewer, open_widget, volume):
    panel = open_widget(NAME)
    for part in (volume, volume[:6], volume[:, :20]):
        layer = add(viewer, part)
        settled(qtbot, panel, lambda layer=layer: panel.layer == layer)
        # as napari does: in the middle
        check(panel, part, tuple((n - 1) // 2 for n in part.shape))
        assert drawn(viewer).name == "nuclei - cross-hair"
        panel.go_to({0: 2, 1: 3, 2: 4})
        viewer.layers.clear()
        settled(qtbot, panel)
        assert list(viewer.layers) == []
        assert panel.cross.isChecked()


def test_arrow_keys_move_the_planes_by_a_voxel(qtbot, viewer, open_widget, volume):
    add(viewer, volume)
    panel = open_widget(NAME)
    settled(qtbot, panel)
    for pane, key, voxel in (
        (panel.row, Qt.Key.Key_Down, (6, 19, 23)),
        (panel.row, Qt.Key.Key_Right, (6, 19, 24)),
        (panel.column, Qt.Key.Key_Up, (6, 18, 24)),
        (panel.column, Qt.Key.Key_Left, (5, 18, 24)),
    ):
        QTest.keyClick(pane, key)
        settled(qtbot, panel, lambda voxel=voxel: panel.voxel == voxel)
        check(panel, volume, voxel)

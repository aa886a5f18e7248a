"""The live preview in a shown window: what is shown is what Apply gives."""

import copy
import re
import time
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from napari.layers import Image
from napari.layers._layer_actions import _duplicate_layer
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

import napari_exposure as nx
from gui.driving import SWAPPED_FLOATS, click, no_workers, tiles_of
from napari_exposure.core import progress
from napari_exposure.gui import preview, preview_data
from napari_exposure.gui.napari_versions import grid_of
from napari_exposure.gui.preview_data import PreviewData
from napari_exposure.source import Origin, Source

# the volumes here do not fade
pytestmark = pytest.mark.filterwarnings("ignore:Depth correction. nothing is corrected")


NAMES = {
    "Gamma": ("gamma", 0.4, nx.adjust_gamma),
    "Percentile clipping": ("high", 80.0, nx.clip_percentiles),
    "Histogram equalization": ("ignore_zeros", True, nx.equalize_hist),
    "Adaptive equalization": ("clip_limit", 0.1, nx.equalize_adapthist),
    "Depth correction": ("model", "plane", nx.correct_decay),
    "Simulated decay": ("axis", "x", nx.degrade),
}


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1100, 800)
    return shown


def shown(widget):
    return widget.live.first.layer


def wait(qtbot, widget, condition=lambda: True):
    qtbot.wait(60)
    qtbot.waitUntil(lambda: not widget.live.first.running and condition(), timeout=20_000)


@pytest.mark.parametrize("name", NAMES)
def test_every_plane_is_that_of_the_result(qtbot, viewer, open_widget, volume, name):
    source = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    before = volume.copy()
    widget = open_widget(name)
    wait(qtbot, widget, lambda: shown(widget) is not None)
    parameter, value, verb = NAMES[name]
    old = shown(widget).data.transform
    widget[parameter].value = value
    wait(qtbot, widget, lambda: shown(widget).data.transform is not old)
    expected = verb(source, **{parameter: value})
    layer = shown(widget)
    assert [each.name for each in viewer.layers] == ["nuclei", "nuclei - exposure"]
    np.testing.assert_array_equal(layer.scale, source.scale)
    assert layer.data.dtype == expected.data.dtype
    assert tuple(layer.contrast_limits) == tuple(expected.contrast_limits)
    for index in [(3,), (slice(None), 7), (..., 11), (slice(2, 9, 3), slice(None, None, -2), 5), (-1, -1)]:
        np.testing.assert_array_equal(layer.data[index], expected.data[index])
    # what napari shows
    viewer.dims.set_current_step(0, 5)
    np.testing.assert_array_equal(layer._slice.image.raw, expected.data[5])
    np.testing.assert_array_equal(source.data, before)
    qtbot.waitUntil(lambda: widget.bar.state.said().startswith("Up to date"))


def test_apply_takes_the_place_of_the_preview(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    viewer.add_image(volume[0], name="other")
    viewer.layers.selection.active = source
    widget = open_widget("Adaptive equalization")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    # just above its source, not selected, and no source of others
    live = shown(widget)
    assert [layer.name for layer in viewer.layers] == ["nuclei", "nuclei - exposure", "other"]
    assert viewer.layers.selection == {source}
    assert widget.layer == source
    assert shown(widget) not in widget.header.layer.choices
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    expected = nx.equalize_adapthist(source)
    assert [layer.name for layer in viewer.layers] == ["nuclei", expected.name, "other"]
    np.testing.assert_array_equal(viewer.layers[1].data, expected.data)
    assert viewer.layers[1].metadata["napari_exposure"]["steps"] == expected.metadata["napari_exposure"]["steps"]
    # it is the live layer, which was computed in place; the next turn of a knob is about the source
    assert viewer.layers[1] is live
    assert viewer.layers.selection == {source}
    qtbot.wait(150)
    assert widget.layer == source
    assert shown(widget) is None
    # the next turn of a knob shows it again
    widget["clip_limit"].value = 0.2
    wait(qtbot, widget, lambda: shown(widget) is not None)
    qtbot.waitUntil(no_workers, timeout=30_000)


def test_apply_pressed_before_the_preview_is_there_leaves_none_behind(qtbot, viewer, open_widget, volume):
    viewer.add_image(volume, name="nuclei")
    widget = open_widget("Adaptive equalization")
    widget.apply()
    widget.live.show()
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    wait(qtbot, widget)
    qtbot.wait(400)
    assert [layer.name for layer in viewer.layers] == ["nuclei", "nuclei - adaptive"]


def test_off_hidden_closed_or_without_source_there_is_none(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    click(widget.bar.live)
    wait(qtbot, widget, lambda: shown(widget) is None)
    assert list(viewer.layers) == [source]
    assert viewer.layers.selection.active == source
    click(widget.bar.live)
    wait(qtbot, widget, lambda: shown(widget) is not None)
    dock = widget.native.parent()
    dock.hide()
    wait(qtbot, widget, lambda: list(viewer.layers) == [source])
    dock.show()
    wait(qtbot, widget, lambda: shown(widget) is not None)
    # deleted by the user: switched off
    viewer.layers.remove(shown(widget))
    wait(qtbot, widget, lambda: not widget.bar.live.isChecked())
    assert list(viewer.layers) == [source]
    click(widget.bar.live)
    wait(qtbot, widget, lambda: shown(widget) is not None)
    viewer.layers.remove(source)
    wait(qtbot, widget, lambda: len(viewer.layers) == 0)
    assert widget.layer is None


def test_switched_off_it_stays_off_for_the_next_layer(qtbot, viewer, open_widget, volume):
    viewer.add_image(volume, name="a")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    click(widget.bar.live)
    wait(qtbot, widget, lambda: shown(widget) is None)
    b = viewer.add_image(volume, name="b")
    wait(qtbot, widget, lambda: widget.layer == b)
    qtbot.wait(200)
    assert shown(widget) is None
    assert not widget.bar.live.isChecked()


def test_closing_the_dock_takes_the_preview_away(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    viewer.window.remove_dock_widget(widget.native.parent())
    wait(qtbot, widget, lambda: list(viewer.layers) == [source])
    qtbot.waitUntil(no_workers, timeout=30_000)


def test_two_previews_on_two_layers(qtbot, viewer, open_widget, volume, monkeypatch):
    a = viewer.add_image(volume, name="a")
    gamma = open_widget("Gamma")
    wait(qtbot, gamma, lambda: shown(gamma) is not None)
    b = viewer.add_image(volume[::-1].copy(), name="b")
    clip = open_widget("Percentile clipping")
    # both have followed the active layer
    qtbot.wait(200)
    fit = preview.fit_for_preview

    def slowly(*arguments):
        for _ in range(10):
            time.sleep(0.03)
            progress.report("fitting", 0.0, slow=True)
        return fit(*arguments)

    monkeypatch.setattr(preview, "fit_for_preview", slowly)
    clip.header.layer.value, gamma.header.layer.value = b, a
    wait(qtbot, clip, lambda: shown(clip) is not None and Origin.of(shown(clip)).source() is b)
    wait(qtbot, gamma, lambda: shown(gamma) is not None and Origin.of(shown(gamma)).source() is a)
    np.testing.assert_array_equal(shown(clip).data[3], nx.clip_percentiles(b).data[3])
    np.testing.assert_array_equal(shown(gamma).data[3], nx.adjust_gamma(a).data[3])


def test_a_layer_chosen_by_hand_stays_chosen(qtbot, viewer, open_widget, volume, monkeypatch):
    large = viewer.add_image(volume, name="large")
    small = viewer.add_image(volume[:3], name="small")
    monkeypatch.setattr(preview, "QUICK", volume.size - 1)
    widget = open_widget("Gamma")
    widget.header.layer.value = small
    wait(qtbot, widget, lambda: shown(widget) is not None)
    # its preview does not begin by itself
    widget.header.layer.value = large
    wait(qtbot, widget, lambda: shown(widget) is None)
    qtbot.wait(200)
    assert widget.layer == large
    assert viewer.layers.selection == {small}


def test_dragging_while_playing_through_z_and_turning_to_3d(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    for k in range(30):
        widget["gamma"].value = 0.3 + 0.05 * k
        viewer.dims.set_current_step(0, k % 12)
        if k in (10, 20):
            viewer.dims.ndisplay = 5 - viewer.dims.ndisplay
        qtbot.wait(5)
    viewer.dims.ndisplay = 3
    wait(qtbot, widget, lambda: shown(widget).data.transform.adjustment.gamma == widget["gamma"].value)
    expected = nx.adjust_gamma(source, widget["gamma"].value).data
    wait(qtbot, widget, lambda: np.array_equal(shown(widget)._slice.image.raw, expected))
    viewer.dims.ndisplay = 2
    wait(qtbot, widget)
    np.testing.assert_array_equal(shown(widget)._slice.image.raw, expected[viewer.dims.current_step[0]])
    assert len(viewer.layers) == 2
    qtbot.waitUntil(no_workers, timeout=30_000)


def test_a_large_volume_is_shown_approximately_first(qtbot, viewer, open_widget, volume, monkeypatch):
    for name in ("QUICK", "MOMENT"):
        monkeypatch.setattr(preview, name, 1000)
    monkeypatch.setattr(preview_data, "SAMPLE", 4000)
    source = viewer.add_image(volume, name="large")
    widget = open_widget("Adaptive equalization")
    qtbot.wait(100)
    # too large to begin by itself
    assert not widget.bar.live.isChecked()
    said = []
    monkeypatch.setattr(widget.live.first, "_said", lambda words, detail: said.append(f"{words} {detail}"))
    click(widget.bar.live)
    wait(qtbot, widget, lambda: "exact" in " ".join(said))
    assert next(each for each in said if not each.startswith("Updating")).startswith("Approximate")
    np.testing.assert_array_equal(shown(widget).data[4], nx.equalize_adapthist(source).data[4])
    # what is remembered needs no approximation
    said.clear()
    widget["clip_limit"].value = 0.1
    wait(qtbot, widget, lambda: "exact" in " ".join(said))
    assert not any(each.startswith("Approximate") for each in said)
    np.testing.assert_array_equal(shown(widget).data[4], nx.equalize_adapthist(source, clip_limit=0.1).data[4])
    # a mask of which the sample holds nothing
    cells = np.zeros(volume.shape, np.uint8)
    cells[5, 7, 20:40] = 1
    mask = viewer.add_labels(cells, name="cells")
    widget.header.mask.value = mask
    expected = nx.equalize_adapthist(source, clip_limit=0.1, mask=mask)
    wait(qtbot, widget, lambda: np.array_equal(shown(widget).data[4], expected.data[4]))
    widget.header.mask.value = None
    widget["clip_limit"].value = 0.01
    expected = nx.equalize_adapthist(source)
    wait(qtbot, widget, lambda: np.array_equal(shown(widget).data[4], expected.data[4]))
    said.clear()
    # in 3D a coarse picture first
    viewer.dims.ndisplay = 3
    coarse = shown(widget)._slice.image.raw
    assert coarse.shape == volume.shape
    wait(qtbot, widget, lambda: "volume" in " ".join(said))
    np.testing.assert_array_equal(shown(widget)._slice.image.raw, expected.data)


def test_a_source_that_goes_takes_no_other_layer_with_it(qtbot, viewer, open_widget, volume):
    bottom = viewer.add_image(volume, name="bottom")
    source = viewer.add_image(volume, name="source")
    top = viewer.add_image(volume, name="top")
    viewer.layers.selection.active = source
    widget = open_widget("Adaptive equalization")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    click(tiles_of(widget).switch)
    _, planes = viewer.window.add_plugin_dock_widget("napari-exposure", "Orthogonal planes")
    qtbot.waitUntil(lambda: len(viewer.layers) == 6)
    # all that belongs to the source drawn below it, as a user may drag it
    for layer in [each for each in viewer.layers if each not in (bottom, source, top)]:
        viewer.layers.move(viewer.layers.index(layer), 0)
    assert list(viewer.layers)[3:] == [bottom, source, top]
    viewer.layers.remove(source)
    wait(qtbot, widget, lambda: widget.layer in (bottom, top))
    assert bottom in viewer.layers
    assert top in viewer.layers
    assert source not in viewer.layers
    qtbot.waitUntil(lambda: not any(layer.name.startswith("source") for layer in viewer.layers))
    viewer.window.remove_dock_widget(planes.parent())


def test_an_edited_source_is_fitted_again(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Percentile clipping")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    source.data[:, :, :10] = 60_000
    source.refresh()
    expected = nx.clip_percentiles(source).data
    wait(qtbot, widget, lambda: np.array_equal(shown(widget).data[3], expected[3]))
    source.data = volume[:, ::2].copy()
    expected = nx.clip_percentiles(source).data
    wait(qtbot, widget, lambda: shown(widget).data.shape == expected.shape)
    np.testing.assert_array_equal(shown(widget).data[3], expected[3])


def test_a_mask_counts_in_the_preview(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    cells = np.zeros(volume.shape, int)
    cells[:, :10] = 1
    labels = viewer.add_labels(cells, name="cells")
    viewer.layers.selection.active = source
    widget = open_widget("Histogram equalization")
    widget.header.mask.value = labels
    wait(qtbot, widget, lambda: shown(widget) is not None)
    np.testing.assert_array_equal(shown(widget).data[3], nx.equalize_hist(source, mask=labels).data[3])


def test_float_output_changes_the_dtype_of_the_preview(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    widget["output"].value = "float32"
    wait(qtbot, widget, lambda: shown(widget).data.dtype == np.float32)
    expected = nx.adjust_gamma(source, output="float32")
    np.testing.assert_array_equal(shown(widget).data[3], expected.data[3])
    assert tuple(shown(widget).contrast_limits) == (0, 1)
    assert len(viewer.layers) == 2


def test_the_live_layer_stays_as_the_user_has_it_shown_when_its_dtype_changes(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Histogram equalization")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    layer = shown(widget)
    layer.colormap, layer.opacity, layer.blending, layer.gamma, layer.name = "magma", 0.7, "additive", 0.5, "mine"
    # a fifth and three fifths of the range
    layer.contrast_limits = 13107, 39321

    def stays(dtype, limits):
        wait(qtbot, widget, lambda: shown(widget).data.dtype == dtype)
        assert shown(widget) is layer
        found = layer.colormap.name, layer.opacity, layer.blending, layer.gamma, layer.name
        assert found == ("magma", 0.7, "additive", 0.5, "mine")
        np.testing.assert_allclose(layer.contrast_limits, limits)
        expected = nx.equalize_hist(source, output="float32" if dtype is np.float32 else "dtype")
        np.testing.assert_array_equal(layer.data[3], expected.data[3])
        np.testing.assert_array_equal(layer._slice.image.raw, expected.data[viewer.dims.current_step[0]])

    widget["output"].value = "float32"
    stays(np.float32, (0.2, 0.6))
    widget["output"].value = "dtype"
    stays(np.uint16, (13107, 39321))
    # The result that is kept is the same layer, also after it was computed anew with another dtype.
    for output, dtype, limits in (("float32", np.float32, (0.2, 0.6)), ("dtype", np.uint16, (13107, 39321))):
        widget["output"].value = output
        wait(qtbot, widget)
        click(widget.bar.apply)
        qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
        kept = widget.target
        assert (kept.dtype, kept.colormap.name) == (dtype, "magma")
        np.testing.assert_allclose(kept.contrast_limits, limits)
    # other data of the source, of another dtype
    kept.visible = False
    source.data = (volume / 7).astype(np.float32)
    wait(qtbot, widget, lambda: shown(widget) is not None and shown(widget).dtype == np.float32)
    source.data = volume[:6]
    wait(qtbot, widget, lambda: shown(widget) is not None and shown(widget).data.shape == (6, 40, 48))


def test_rgb_time_series_and_planes(qtbot, viewer, open_widget):
    rng = np.random.default_rng(0)
    for data, rgb in [
        (rng.integers(0, 255, (30, 40, 3), dtype=np.uint8), True),
        (rng.integers(0, 255, (3, 4, 20, 24), dtype=np.uint8), False),
        (rng.random((20, 24)).astype(SWAPPED_FLOATS), False),
    ]:
        viewer.layers.clear()
        source = viewer.add_image(data, rgb=rgb, name="data")
        widget = open_widget("Percentile clipping")
        wait(qtbot, widget, lambda widget=widget: shown(widget) is not None)
        expected = nx.clip_percentiles(source).data
        np.testing.assert_array_equal(shown(widget).data[-1], expected[-1])
        np.testing.assert_array_equal(shown(widget).data[..., 1], expected[..., 1])
        viewer.window.remove_dock_widget(widget.native.parent())


def test_source_and_result_side_by_side_and_back(qtbot, viewer, open_widget, volume):
    other = viewer.add_image(volume[::-1].copy(), name="other")
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    beside = widget.bar.ways["Side by side"]
    grid = grid_of(viewer)
    before = grid.enabled, grid.shape, grid.stride

    def visible():
        return [layer.name for layer in viewer.layers if layer.visible]

    click(beside)
    assert (grid.enabled, grid.shape) == (True, (1, 2))
    assert visible() == ["nuclei", "nuclei - exposure"]
    # the result takes the place of the preview
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    assert visible() == ["nuclei", "nuclei - gamma"]
    click(beside)
    assert (grid.enabled, grid.shape, grid.stride) == before
    assert other.visible
    click(beside)
    assert grid.enabled
    # without a source there is nothing to compare
    viewer.layers.remove("nuclei - gamma")
    widget.header.layer.value = other
    assert (grid.enabled, grid.shape, grid.stride) == before
    assert source.visible


def test_a_key_held_shows_the_source(qtbot, viewer, open_widget, volume):
    viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    canvas = viewer.window._qt_viewer.canvas.native
    for layer in (lambda: shown(widget), lambda: viewer.layers["nuclei - gamma"]):
        viewer.layers.selection.active = layer()
        QTest.keyPress(canvas, Qt.Key.Key_B)
        assert not layer().visible
        QTest.keyRelease(canvas, Qt.Key.Key_B)
        qtbot.waitUntil(lambda layer=layer: layer().visible)
        if len(viewer.layers) == 2 and shown(widget) is not None:
            click(widget.bar.apply)
            qtbot.waitUntil(lambda: not widget.running, timeout=20_000)


def test_the_histogram_panel_treats_it_like_a_result(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    panel = open_widget("Histogram & CDF")
    widget = open_widget("Adaptive equalization")

    def follows(limit):
        expected = nx.histogram(nx.equalize_adapthist(source, clip_limit=limit))
        qtbot.waitUntil(
            lambda: (
                panel.model.content.complete
                and panel.histogram is not None
                and np.array_equal(panel.histogram.counts, expected.counts)
            ),
            timeout=20_000,
        )

    qtbot.waitUntil(lambda: shown(widget) is not None)
    viewer.layers.selection = {shown(widget)}
    follows(0.01)
    assert panel.model.content.before.name == "nuclei"
    widget["clip_limit"].value = 0.2
    follows(0.2)
    panel.tile.setChecked(True)
    viewer.cursor.position = (5, 20, 20)
    qtbot.waitUntil(lambda: panel.model.tile is not None, timeout=5000)
    counted = panel.model.tile.counts.sum()
    assert panel.model.tile.limit == pytest.approx(0.2 * counted)
    widget["clip_limit"].value = 0.1
    qtbot.waitUntil(lambda: panel.model.tile.limit == pytest.approx(0.1 * counted), timeout=5000)


def test_what_cannot_be_fitted_is_said_once_and_quietly(qtbot, viewer, open_widget, volume, messages):
    viewer.add_image(np.zeros_like(volume), name="empty")
    widget = open_widget("Histogram equalization")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    click(widget["ignore_zeros"])
    qtbot.waitUntil(lambda: "no finite voxel" in widget.bar.state.said(), timeout=5000)
    assert shown(widget) is None
    assert messages() == []


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_saving_by_napari_gives_the_computed_result(qtbot, viewer, open_widget, volume, tmp_path, ndisplay):
    source = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    viewer.dims.ndisplay = ndisplay
    widget = open_widget("Gamma")
    widget["gamma"].value = 0.4
    wait(qtbot, widget, lambda: shown(widget) is not None and shown(widget).data.transform.adjustment.gamma == 0.4)
    expected = nx.adjust_gamma(source, 0.4)
    # File > Save Selected Layers, and the file is there already
    viewer.layers.selection = {shown(widget)}
    path = tmp_path / "there.tif"
    tifffile.imwrite(path, volume[:2])
    viewer.layers.save(str(path), selected=True)
    np.testing.assert_array_equal(tifffile.imread(path), expected.data)
    # File > Save All Layers
    viewer.layers.save(str(tmp_path / "all"), selected=False)
    saved = sorted((tmp_path / "all").glob("*.tif"))
    # napari's writer or ours, whichever is found first
    assert [each.name.removesuffix(".tif").removesuffix(".ome") for each in saved] == ["nuclei - exposure", "nuclei"]
    np.testing.assert_array_equal(tifffile.imread(saved[0]), expected.data)
    # our own writer, which keeps size and steps as well
    viewer.layers.save(str(tmp_path / "ours.ome.tif"), selected=True)
    found = nx.read_tiff(tmp_path / "ours.ome.tif")
    np.testing.assert_array_equal(found.data, expected.data)
    assert (found.name, found.scale, found.unit) == ("nuclei - exposure", (2, 0.5, 0.5), "um")
    assert found.notes["steps"] == expected.metadata["napari_exposure"]["steps"]
    # Layer > Duplicate
    viewer.layers.selection = {shown(widget)}
    _duplicate_layer(viewer.layers)
    copy = viewer.layers["nuclei - exposure copy"]
    assert type(copy.data) is np.ndarray
    np.testing.assert_array_equal(copy.data, expected.data)


@pytest.mark.parametrize("kind", ["numpy", "dask", "pyramid", "rgb"])
def test_a_preview_is_an_array_of_the_result_also_while_a_sample_is_shown(volume, kind):
    stack = np.stack([volume, volume // 2, volume // 3], -1) if kind == "rgb" else volume
    data = {"dask": lambda: da.from_array(stack), "pyramid": lambda: [stack, stack[:, ::2, ::2]]}.get(
        kind, lambda: stack
    )()
    layer = Image(data, name="nuclei", rgb=kind == "rgb")
    source = Source.of(layer)
    adjustment = nx.PercentileClip(5, 80)
    sampled = source.fit(adjustment, step=3)
    exact = source.fit(adjustment)
    expected = exact.apply(stack)
    shown = PreviewData(source.array, sampled, exact=lambda: exact)
    # the sample differs, or this test would show nothing
    assert not np.array_equal(shown[2], expected[2])
    np.testing.assert_array_equal(np.asarray(shown), expected)
    np.testing.assert_array_equal(np.array(shown, np.float32), expected.astype(np.float32))
    np.testing.assert_array_equal(copy.deepcopy(shown), expected)
    np.testing.assert_array_equal(shown.settled()[1:4], expected[1:4])
    with pytest.raises(ValueError, match="no array without a copy"):
        np.asarray(shown, copy=False)


@pytest.mark.parametrize("ndisplay", [2, 3])
@pytest.mark.parametrize("kind", ["numpy", "dask", "pyramid"])
def test_a_recipe_of_several_steps_is_one_live_layer(qtbot, viewer, volume, kind, ndisplay):
    data = {"dask": lambda: da.from_array(volume, chunks=(3, 40, 48)), "pyramid": lambda: [volume, volume[:, ::2, ::2]]}
    source = viewer.add_image(data.get(kind, lambda: volume)(), name="nuclei", scale=(2, 0.5, 0.5), units="um")
    viewer.dims.ndisplay = ndisplay
    said = []
    live = preview.Preview(viewer, lambda *words: said.append(words), *[lambda *_: None] * 4)

    def shows(recipe):
        live.show(source, recipe)
        qtbot.waitUntil(lambda: not live.running and live.layer is not None, timeout=20_000)
        expected = recipe.apply(source)
        found, wanted = (
            (live.layer.data, expected.data) if kind != "pyramid" else (live.layer.data[1], expected.data[1])
        )
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
        np.testing.assert_array_equal(np.asarray(found[5]), np.asarray(wanted[5]))
        assert live.layer.metadata["napari_exposure"]["steps"] == expected.metadata["napari_exposure"]["steps"]
        assert tuple(live.layer.contrast_limits) == tuple(expected.contrast_limits)
        assert live.layer.name == "nuclei - exposure"
        return live.layer

    first = shows(nx.Recipe((nx.DecayCorrection(), nx.PercentileClip(1, 99), nx.AdaptiveEqualization(5.0)), "µm"))
    # a knob of the last step, and a step less
    assert (
        shows(nx.Recipe((nx.DecayCorrection(), nx.PercentileClip(1, 99), nx.AdaptiveEqualization(7.0)), "µm")) is first
    )
    shows(nx.Recipe((nx.PercentileClip(1, 99), nx.Gamma(0.5))))
    assert [layer.name for layer in viewer.layers] == ["nuclei", "nuclei - exposure"]
    live.remove()
    assert [layer.name for layer in viewer.layers] == ["nuclei"]


def test_only_the_eye_gets_a_coarse_volume(volume, monkeypatch):
    monkeypatch.setattr(preview_data, "SAMPLE", 500)
    transform = Source.of(Image(volume)).fit(nx.Gamma(0.5))
    shown, expected = PreviewData(volume, transform), transform.apply(volume)
    everything = tuple(slice(0, size) for size in volume.shape)
    for index in (everything, ..., slice(None), (slice(0, None), ...)):
        np.testing.assert_array_equal(shown[index], expected)
    # as napari slices in 3D
    assert not np.array_equal(shown[:, :, :], expected)


def test_wrong_parameters_are_said_and_show_nothing(qtbot, viewer, open_widget, volume):
    viewer.add_image(volume, name="nuclei")
    widget = open_widget("Percentile clipping")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    widget["low"].value = 99.9
    wait(qtbot, widget, lambda: shown(widget) is None)
    qtbot.waitUntil(lambda: "low" in widget.bar.state.said())
    widget["low"].value = 1
    wait(qtbot, widget, lambda: shown(widget) is not None)


def eyes(viewer):
    return {layer.name: layer.visible for layer in viewer.layers}


def test_nothing_is_mixed_with_its_source(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei", blending="additive")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    name = "nuclei - exposure"
    assert eyes(viewer) == {"nuclei": False, name: True}
    # its eye switches between the two
    shown(widget).visible = False
    assert eyes(viewer) == {"nuclei": True, name: False}
    shown(widget).visible = True
    click(widget.bar.ways["Side by side"])
    assert eyes(viewer) == {"nuclei": True, name: True}
    click(widget.bar.ways["Side by side"])
    assert eyes(viewer) == {"nuclei": False, name: True}
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    assert eyes(viewer) == {"nuclei": False, "nuclei - gamma": True}
    # the next preview lies above the earlier result, and hides it
    widget["gamma"].value = 0.5
    wait(qtbot, widget, lambda: shown(widget) is not None)
    assert eyes(viewer) == {"nuclei": False, "nuclei - gamma": False, name: True}
    click(widget.bar.live)
    wait(qtbot, widget, lambda: shown(widget) is None)
    assert eyes(viewer) == {"nuclei": False, "nuclei - gamma": True}
    viewer.layers.remove("nuclei - gamma")
    assert source.visible


def test_in_3d_the_source_is_hidden_meanwhile(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    assert source.visible
    viewer.dims.ndisplay = 3
    assert not source.visible
    wait(qtbot, widget)
    viewer.dims.ndisplay = 2
    assert source.visible
    shown(widget).opacity = 0.5
    assert not source.visible
    viewer.layers.remove(shown(widget))
    assert source.visible


@pytest.mark.parametrize("name", NAMES)
def test_of_a_pyramid_each_level_is_previewed(qtbot, viewer, open_widget, volume, name):
    levels = [volume, volume[:, ::2, ::2].copy()]
    source = viewer.add_image(levels, multiscale=True, name="pyramid", contrast_limits=(0, 3000))
    widget = open_widget(name)
    wait(qtbot, widget, lambda: shown(widget) is not None)
    parameter, value, verb = NAMES[name]
    old = shown(widget).data[0].transform
    widget[parameter].value = value
    wait(qtbot, widget, lambda: shown(widget).data[0].transform is not old)
    expected = verb(source, **{parameter: value})
    layer = shown(widget)
    assert layer.multiscale
    assert layer not in widget.header.layer.choices
    for level, result in zip(layer.data, expected.data, strict=True):
        np.testing.assert_array_equal(level[5], result[5])
    viewer.dims.ndisplay = 3
    wait(qtbot, widget, lambda: np.array_equal(shown(widget)._slice.image.raw, expected.data[1]))
    viewer.dims.ndisplay = 2
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    result = viewer.layers[1]
    assert [layer.name for layer in viewer.layers] == ["pyramid", expected.name]
    for level, wanted in zip(result.data, expected.data, strict=True):
        np.testing.assert_array_equal(level, wanted)


def test_apply_on_a_lazy_layer_gives_a_lazy_layer_that_can_be_saved(qtbot, viewer, open_widget, volume, tmp_path):
    read = []

    def noted(block, block_info=None):
        if block_info:
            read.append(block_info[0]["chunk-location"])
        return block

    lazy = da.from_array(volume, chunks=(4, 20, 48)).map_blocks(noted, dtype=volume.dtype)
    source = viewer.add_image(lazy, name="lazy", scale=(2, 0.5, 0.5), contrast_limits=(0, 4000))
    widget = open_widget("Histogram equalization")
    wait(qtbot, widget)

    def counted(z, curves):
        # the histogram of the dock shows the plane in view
        content = lambda: widget.plot.histogram.model.content  # noqa: E731
        said = [f"plane z = {z}, exact, 1,920 voxels"] * curves
        qtbot.waitUntil(lambda: [curve.coverage for curve in content().all_curves] == said, timeout=20_000)

    counted(5, curves=1)
    # it may be large: no preview by itself
    assert shown(widget) is None
    assert not widget.bar.save.isEnabled()
    read.clear()
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    result = viewer.layers[1]
    assert isinstance(result.data, da.Array)
    assert result.data.chunks == lazy.chunks
    counted(5, curves=2)
    # One pass, two planes of two chunks that napari asks for, and those of the histogram before and after.
    assert len(read) <= 6 + 4 + 4
    assert "planes are computed as you look at them" in widget.bar.state.said()
    expected = nx.core.equalize_hist(volume)
    np.testing.assert_array_equal(result._slice.image.raw, expected[viewer.dims.current_step[0]])
    viewer.dims.set_current_step(0, 11)
    np.testing.assert_array_equal(result._slice.image.raw, expected[11])
    counted(11, curves=2)
    read.clear()
    viewer.dims.set_current_step(0, 10)
    viewer.dims.set_current_step(0, 11)
    # Of either layer two planes of two chunks, where napari has not kept them; the histogram comes after the last move.
    assert len(read) <= 2 * 2 * 2
    viewer.dims.set_current_step(0, 10)
    counted(10, curves=2)
    assert len(read) <= 3 * 2 * 2 + 4
    widget.save(tmp_path / "result.zarr")
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    assert "saved as result.zarr" in widget.bar.state.said()
    np.testing.assert_array_equal(zarr.open(tmp_path / "result.zarr")["0"][:], expected)
    np.testing.assert_array_equal(source.data.compute(), volume)
    qtbot.waitUntil(no_workers, timeout=30_000)


def test_a_result_is_saved_from_the_file_dialog(qtbot, viewer, open_widget, volume, tmp_path, monkeypatch, messages):
    viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    widget = open_widget("Gamma")
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    path = tmp_path / "bright.ome.tif"
    chosen = [(str(path), ""), (str(tmp_path / "bright.png"), ""), ("", "")]
    monkeypatch.setattr("napari_exposure.gui.exposure.work.QFileDialog.getSaveFileName", lambda *args: chosen.pop(0))
    click(widget.bar.save)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    found = nx.read_tiff(path)
    np.testing.assert_array_equal(found.data, viewer.layers[1].data)
    assert (found.scale, found.unit) == ((2, 0.5, 0.5), "um")
    click(widget.bar.save)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    assert "must end in .zarr" in messages()[-1]
    click(widget.bar.save)
    assert sorted(each.name for each in tmp_path.iterdir() if each.suffix != ".yaml") == ["bright.ome.tif"]


def test_what_is_seen_is_saved_copied_and_kept(qtbot, viewer, open_widget, volume, tmp_path):
    source = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    widget = open_widget("Adaptive equalization")
    widget["clip_limit"].value = 0.021
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)

    def kept():
        """The clip limit in the file, in the Python lines and in the recipe."""
        widget.save(tmp_path / "seen.ome.tif")
        qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
        widget.recipe.copy()
        widget.recipe.save(tmp_path / "seen.json")
        file = nx.read_tiff(tmp_path / "seen.ome.tif")
        lines = re.search(r"clip_limit=([0-9.]+)", QApplication.clipboard().text())
        values = [
            file.notes["steps"][-1]["clip_limit"],
            float(lines[1]),
            nx.Recipe.load(tmp_path / "seen.json").steps[-1].clip_limit,
        ]
        return file.data, values

    data, values = kept()
    assert values == [0.021] * 3
    np.testing.assert_array_equal(data, nx.equalize_adapthist(source, clip_limit=0.021).data)
    # the knob is turned, and the preview shows it
    widget["clip_limit"].value = 0.004
    wait(qtbot, widget, lambda: shown(widget) is not None)
    widget["clip_limit"].value = 0.005
    wait(qtbot, widget, lambda: shown(widget).data.transform.adjustment.clip_limit == 0.005)
    data, values = kept()
    assert values == [0.005] * 3
    np.testing.assert_array_equal(data, nx.equalize_adapthist(source, clip_limit=0.005).data)
    # without the preview the result is on the screen again
    click(widget.bar.live)
    wait(qtbot, widget, lambda: shown(widget) is None)
    assert kept()[1] == [0.021] * 3


def test_after_apply_the_key_shows_the_source_from_both_layers(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    result = viewer.layers[1]
    canvas = viewer.window._qt_viewer.canvas.native
    for layer in (result, source):
        viewer.layers.selection = {layer}
        qtbot.wait(150)
        # a click on the result is a look at it, and no wish to adjust it once more
        assert widget.layer == source
        assert [each.name for each in viewer.layers] == ["nuclei", "nuclei - gamma"]
        QTest.keyPress(canvas, Qt.Key.Key_B)
        assert eyes(viewer) == {"nuclei": True, "nuclei - gamma": False}
        QTest.keyRelease(canvas, Qt.Key.Key_B)
        assert eyes(viewer) == {"nuclei": True, "nuclei - gamma": True}
    # the user's choice in the box counts
    widget.header.layer.value = result
    wait(qtbot, widget, lambda: shown(widget) is not None)
    assert shown(widget).name == "nuclei - gamma - exposure"


@pytest.mark.parametrize("first", ["source", "preview"])
def test_a_preview_that_goes_with_all_layers_was_not_switched_off(
    qtbot, viewer, open_widget, volume, first, delete_selected
):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    # when the widget has rested, it answers at once
    qtbot.wait(300)
    viewer.layers.select_all()
    delete_selected(first=source if first == "source" else shown(widget))
    qtbot.waitUntil(lambda: widget.layer is None)
    viewer.add_image(volume[::-1].copy(), name="next")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    assert widget.bar.live.isChecked()
    # one that the user deletes alone is not wanted
    viewer.layers.remove(shown(widget))
    qtbot.waitUntil(lambda: not widget.bar.live.isChecked())


def test_a_recipe_is_applied_to_the_source_of_a_selected_preview(qtbot, viewer, open_widget, volume, tmp_path):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    viewer.layers.selection = {shown(widget)}
    path = nx.Recipe((nx.PercentileClip(1, 99),)).save(tmp_path / "clip.json")
    widget.recipe.apply(path)
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    np.testing.assert_array_equal(viewer.layers["nuclei - clip"].data, nx.clip_percentiles(source, 1, 99).data)


def test_a_result_that_does_not_fit_is_refused_before_it_begins(
    qtbot, viewer, open_widget, volume, monkeypatch, messages
):
    viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    wait(qtbot, widget, lambda: shown(widget) is not None)
    monkeypatch.setattr("napari_exposure.source.psutil.virtual_memory", lambda: SimpleNamespace(available=10_000))
    click(widget.bar.apply)
    assert not widget.running
    assert "Make it lazy" in messages()[-1]

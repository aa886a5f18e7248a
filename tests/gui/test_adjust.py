"""The widgets of the adjustments, driven with real clicks and keys."""

import dataclasses
import gc
import weakref

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QDockWidget

import napari_exposure as nx
from gui.driving import choose, click, finish, no_workers, parameters, tiles_of, type_into
from napari_exposure import core
from napari_exposure.gui.exposure.rows import Label
from napari_exposure.gui.napari_versions import plugin_settings

WIDGETS = {
    "Gamma": (core.Gamma, nx.adjust_gamma),
    "Percentile clipping": (core.PercentileClip, nx.clip_percentiles),
    "Histogram equalization": (core.HistogramEqualization, nx.equalize_hist),
    "Adaptive equalization": (core.AdaptiveEqualization, nx.equalize_adapthist),
    "Depth correction": (core.DecayCorrection, nx.correct_decay),
    "Simulated decay": (core.Decay, nx.degrade),
}


@pytest.mark.parametrize("name", WIDGETS)
def test_apply_makes_the_layer_that_the_console_makes(qtbot, viewer, open_widget, volume, name):
    source = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units=("um",) * 3)
    viewer.add_image(volume[0], name="other")
    viewer.layers.selection.active = source
    widget = open_widget(name)
    before = volume.copy()
    click(widget.bar.apply)
    assert widget.running
    finish(qtbot, widget)
    _, verb = WIDGETS[name]
    expected = verb(source)
    assert [layer.name for layer in viewer.layers] == ["nuclei", expected.name, "other"]
    result = viewer.layers[1]
    np.testing.assert_array_equal(result.data, expected.data)
    np.testing.assert_array_equal(source.data, before)
    np.testing.assert_array_equal(result.scale, source.scale)
    assert result.units == source.units
    assert result.contrast_limits == expected.contrast_limits
    assert result.metadata["napari_exposure"]["steps"] == expected.metadata["napari_exposure"]["steps"]
    # the source stays the input: Apply can be pressed again
    assert widget.layer == source
    assert expected.name in widget.bar.state.said()
    qtbot.waitUntil(no_workers, timeout=30_000)


@pytest.mark.parametrize("name", WIDGETS)
def test_every_parameter_has_an_editor_with_its_default(open_widget, name):
    widget = open_widget(name)
    fields = {field.name: field for field in dataclasses.fields(WIDGETS[name][0])}
    assert parameters(widget) == {key: field.default for key, field in fields.items()}
    for key, field in fields.items():
        editor = getattr(widget[key], "number", widget[key])
        (label,) = (each for each in widget.native.findChildren(Label) if each.buddy() is editor.native)
        assert " ".join(label.text().split()) == field.metadata["label"]
        assert editor.tooltip == field.metadata["tooltip"]
        for limit in ("min", "max", "step"):
            if limit in field.metadata and hasattr(editor, limit):
                assert getattr(editor, limit) == field.metadata[limit]


def test_typed_parameters_are_used(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Percentile clipping")
    type_into(widget["low"], "5")
    type_into(widget["high"], "90")
    click(widget.bar.apply)
    finish(qtbot, widget)
    np.testing.assert_array_equal(viewer.layers[1].data, nx.clip_percentiles(source, 5, 90).data)


def test_parameters_out_of_order_are_said_in_a_sentence(viewer, open_widget, volume, messages):
    viewer.add_image(volume, name="nuclei")
    widget = open_widget("Percentile clipping")
    type_into(widget["low"], "95")
    type_into(widget["high"], "5")
    click(widget.bar.apply)
    assert not widget.running
    assert len(viewer.layers) == 1
    assert any("low < high" in text or "low <" in text for text in messages())


def test_menu_entries_open_the_widgets(viewer, qtbot):
    window = viewer.window._qt_window
    filters = next(
        action.menu() for action in viewer.window.layers_menu.actions() if action.text().strip("&") == "Filter"
    )
    exposure = next(action.menu() for action in filters.actions() if action.text() == "Exposure")
    # Qt shows && as &
    texts = {action: action.text().split(" (")[0].replace("&&", "&") for action in exposure.actions()}
    entries = {text: action for action, text in texts.items() if text}
    # it acts on layers at once, and opens nothing
    del entries["Match overlaps of selected layers"]
    assert set(entries) == {"Exposure", *WIDGETS, "Histogram matching", "Histogram & CDF"}
    for name, action in entries.items():
        action.trigger()
        docks = window.findChildren(QDockWidget)
        assert any(name in dock.windowTitle() for dock in docks)


def test_input_follows_the_active_layer(qtbot, viewer, open_widget, volume):
    first = viewer.add_image(volume, name="first")
    widget = open_widget("Gamma")
    assert widget.layer == first
    second = viewer.add_image(volume, name="second")
    qtbot.waitUntil(lambda: widget.layer == second)
    viewer.layers.selection.active = first
    qtbot.waitUntil(lambda: widget.layer == first)
    # what is not an image does not take the input away
    viewer.add_labels(np.zeros(volume.shape, int), name="cells")
    QTest.qWait(120)
    assert widget.layer == first
    first.name = "renamed"
    assert "renamed" in [widget.header.layer.native.itemText(i) for i in range(2)]
    viewer.layers.remove(first)
    qtbot.waitUntil(lambda: widget.layer == second)


def test_without_an_image_it_says_what_to_do(viewer, open_widget):
    widget = open_widget("Adaptive equalization")
    assert not widget.bar.apply.isEnabled()
    assert "Open Sample" in widget.bar.state.said()


def test_tiles_are_shown_in_the_unit_in_voxels_and_as_a_grid(viewer, open_widget, volume):
    viewer.add_image(volume, scale=(2, 0.5, 0.5), units=("um",) * 3)
    widget = open_widget("Adaptive equalization")
    edge = widget["kernel_size"]
    assert edge.edge.box.native.suffix() == " µm"
    # automatic: an eighth of the largest extent, of 12 x 2, 40 / 2 and 48 / 2 um
    assert edge.value is None
    assert edge.edge.box.value == pytest.approx(3)
    assert "1.5 × 5.714 × 6 voxels" in tiles_of(widget).facts.value
    assert "8 × 7 × 8 = 448 tiles,<br>each 3 × 2.857 × 3 µm" in tiles_of(widget).facts.value
    deep, few = widget.cards.views[0].warnings
    assert "1.5 planes deep" in deep
    assert "Too few voxels in a tile" in few
    assert [box.value for box in widget.header.voxel] == ["2", "0.5", "0.5", "µm"]
    type_into(edge.edge.box, "12")
    assert edge.value == pytest.approx(12)
    assert "2 × 2 × 2 = 8 tiles" in tiles_of(widget).facts.value
    assert not any("planes deep" in each for each in widget.cards.views[0].warnings)


def test_voxel_size_set_later_is_seen(viewer, open_widget, volume):
    layer = viewer.add_image(volume)
    widget = open_widget("Adaptive equalization")
    assert widget["kernel_size"].edge.box.native.suffix() == " px"
    layer.scale = (2, 0.5, 0.5)
    layer.units = "um"
    assert widget["kernel_size"].edge.box.native.suffix() == " µm"
    assert [box.value for box in widget.header.voxel] == ["2", "0.5", "0.5", "µm"]
    layer.data = volume[:6]
    assert "6 × 40 × 48" in widget.header.layer.tooltip


def test_one_tile_edge_for_each_axis(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, scale=(2, 0.5, 0.5), units=("um",) * 3)
    widget = open_widget("Adaptive equalization")
    widget["kernel_size"][0].value = "one for each axis"
    for box, text in zip(widget["kernel_size"][2], ("24", "10", "6"), strict=True):
        type_into(box, text)
    assert widget["kernel_size"].value == pytest.approx((24, 10, 6))
    click(widget.bar.apply)
    finish(qtbot, widget)
    np.testing.assert_array_equal(viewer.layers[1].data, nx.equalize_adapthist(source, (24, 10, 6)).data)


def test_unknown_voxel_size_is_a_warning(viewer, open_widget, volume):
    viewer.add_image(volume)
    widget = open_widget("Adaptive equalization")
    assert "No voxel size is known" in widget.cards.views[0].warnings[0]
    assert widget["kernel_size"].edge.box.native.suffix() == " px"


@pytest.mark.parametrize(
    "shape", [(40, 48), (2, 12, 40, 48), (2, 2, 6, 40, 48), (40, 48, 3), (1, 1, 1)], ids=lambda s: "x".join(map(str, s))
)
def test_other_shapes(qtbot, viewer, open_widget, shape):
    data = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    rgb = shape[-1] == 3
    source = viewer.add_image(data, rgb=rgb)
    widget = open_widget("Adaptive equalization")
    if data.size == 1:
        with pytest.warns(UserWarning, match="only one intensity"):
            expected = nx.equalize_adapthist(source)
    else:
        expected = nx.equalize_adapthist(source)
        click(widget.bar.apply)
        finish(qtbot, widget)
        np.testing.assert_array_equal(viewer.layers[1].data, expected.data)
        assert viewer.layers[1].rgb == rgb


def test_input_range_choices(viewer, open_widget, volume):
    viewer.add_image(volume, contrast_limits=(100, 900))
    widget = open_widget("Gamma")
    edit = widget["in_range"]
    mode, (low, high) = edit[0], edit[1]
    assert edit.value == "data"
    mode.value = "percentiles"
    type_into(low, "1")
    type_into(high, "99")
    assert edit.value == core.Percentiles(1, 99)
    mode.value = "fixed numbers"
    assert edit.value == (100, 900)
    mode.value = "contrast limits"
    assert edit.value == "contrast_limits"
    mode.value = "range of the dtype"
    assert edit.value == "dtype"


def test_contrast_limits_as_input_range(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, contrast_limits=(100, 900))
    widget = open_widget("Histogram equalization")
    widget["in_range"][0].value = "contrast limits"
    click(widget.bar.apply)
    finish(qtbot, widget)
    expected = nx.equalize_hist(source, in_range=(100, 900))
    np.testing.assert_array_equal(viewer.layers[1].data, expected.data)


def test_mask(qtbot, viewer, open_widget, volume, messages):
    source = viewer.add_image(volume, name="nuclei")
    mask = viewer.add_labels((volume > 500).astype(np.uint8), name="cells")
    small = viewer.add_labels(np.zeros((3, 4), int), name="small")
    widget = open_widget("Histogram equalization")
    widget.header.layer.value = source
    widget.header.mask.value = small
    click(widget.bar.apply)
    assert not widget.running
    assert any("'small' has shape (3, 4)" in text for text in messages())
    widget.header.mask.value = mask
    click(widget.bar.apply)
    finish(qtbot, widget)
    np.testing.assert_array_equal(viewer.layers[1].data, nx.equalize_hist(source, mask=mask).data)


def test_progress_stands_in_the_widget_and_in_the_activity_dock(qtbot, viewer, open_widget, volume, slow):
    viewer.add_image(np.tile(volume, (5, 1, 1)), name="nuclei")
    widget = open_widget("Adaptive equalization")
    click(widget.bar.apply)
    bars = []
    percents = []
    dialog = viewer.window._qt_window._activity_dialog

    def look():
        bars.extend(bar.progress.desc for bar in dialog.findChildren(type_of_bar))
        percents.append(widget.bar.progress.value())
        return not widget.running

    from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar as type_of_bar

    qtbot.waitUntil(look, timeout=30_000)
    assert any("counting" in text.lower() for text in bars)
    # shown some times a second only
    assert len(set(percents)) > 2
    assert not dialog.findChildren(type_of_bar) or not widget.running


@pytest.mark.parametrize("where", ["widget", "activity dock"])
def test_cancel_leaves_no_layer_and_no_thread(qtbot, viewer, open_widget, volume, slow, where):
    viewer.add_image(volume, name="nuclei")
    widget = open_widget("Adaptive equalization")
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: widget.bar.progress.value() > 5, timeout=30_000)
    if where == "widget":
        click(widget.bar.cancel)
    else:
        from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar

        (bar,) = viewer.window._qt_window._activity_dialog.findChildren(QtLabeledProgressBar)
        QTest.mouseClick(bar.cancel_button, Qt.MouseButton.LeftButton)
    finish(qtbot, widget)
    assert len(viewer.layers) == 1
    assert "nothing was made" in widget.bar.state.said()
    assert widget.bar.apply.isEnabled()
    qtbot.waitUntil(no_workers, timeout=30_000)


def test_removing_the_source_while_it_runs_leaves_no_layer(qtbot, viewer, open_widget, volume, slow):
    source = viewer.add_image(volume, name="nuclei")
    other = viewer.add_image(volume, name="other")
    viewer.layers.selection.active = source
    widget = open_widget("Adaptive equalization")
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: widget.bar.progress.value() > 5, timeout=30_000)
    viewer.layers.remove(source)
    finish(qtbot, widget)
    assert list(viewer.layers) == [other]
    qtbot.waitUntil(no_workers, timeout=30_000)


def test_closing_the_viewer_while_it_runs(qtbot, make_napari_viewer, volume, slow):
    viewer = make_napari_viewer(show=False)
    viewer.add_image(volume, name="nuclei")
    widget = viewer.window.add_plugin_dock_widget("napari-exposure", "Adaptive equalization")[1]
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: widget.bar.progress.value() > 5, timeout=30_000)
    viewer.close()
    qtbot.waitUntil(no_workers, timeout=10_000)


def test_error_in_the_worker_is_a_notification(qtbot, viewer, open_widget, messages):
    viewer.add_image(np.full((3, 4, 5), np.nan, np.float32), name="empty", contrast_limits=(0, 1))
    widget = open_widget("Histogram equalization")
    click(widget.bar.apply)
    finish(qtbot, widget)
    assert any("no finite voxel" in text for text in messages())
    assert len(viewer.layers) == 1
    assert widget.bar.apply.isEnabled()


@pytest.mark.filterwarnings("default:Histogram equalization")
def test_warning_in_the_worker_is_a_notification(qtbot, viewer, open_widget, messages):
    viewer.add_image(np.full((3, 4, 5), 7, np.uint8), name="flat", contrast_limits=(0, 255))
    widget = open_widget("Histogram equalization")
    click(widget.bar.apply)
    finish(qtbot, widget)
    assert [text for text in messages() if "only one intensity" in text]
    assert len(viewer.layers) == 2


def test_closed_widget_listens_no_more(viewer, open_widget, volume):
    def listeners():
        # napari itself connects reset_choices of every magicgui widget, and lets go when it is collected
        emitters = viewer.layers.selection.events.active, viewer.layers.events.removed
        return [[str(c) for c in emitter.callbacks if "reset_choices" not in str(c)] for emitter in emitters]

    layer = viewer.add_image(volume)
    watched = len(layer.events.scale.callbacks)
    before = listeners()
    widget = open_widget("Gamma")
    assert listeners() != before
    viewer.window.remove_dock_widget(widget.native)
    assert listeners() == before
    assert len(layer.events.scale.callbacks) == watched
    viewer.add_image(volume)
    QTest.qWait(120)


@pytest.mark.parametrize("text", ["12.5", "7.25", "9.75"])
def test_decimals_can_be_typed(viewer, open_widget, volume, text):
    viewer.add_image(volume, scale=(2, 0.5, 0.5), units=("um",) * 3)
    widget = open_widget("Adaptive equalization")
    type_into(widget["kernel_size"].edge.box, text)
    assert widget["kernel_size"].value == pytest.approx(float(text))


def test_one_edge_for_each_axis_follows_their_number(viewer, open_widget, volume):
    viewer.add_image(volume, scale=(2, 0.5, 0.5), units=("um",) * 3)
    widget = open_widget("Adaptive equalization")
    widget["kernel_size"][0].value = "one for each axis"
    widget["per"].value = "plane"
    assert len(widget["kernel_size"].value) == 2
    widget["per"].value = "dataset"
    assert len(widget["kernel_size"].value) == 3
    assert "tiles" in tiles_of(widget).facts.value


def test_ranges_keep_what_was_typed(viewer, open_widget, volume):
    layer = viewer.add_image(volume / 1e6, contrast_limits=(0.0001, 0.0009))
    widget = open_widget("Gamma")
    edit = widget["in_range"]
    mode, (low, high) = edit[0], edit[1]
    layer.contrast_limits = (0.0002, 0.0008)
    mode.value = "fixed numbers"
    assert edit.value == pytest.approx((0.0002, 0.0008), rel=0.01)
    type_into(low, "0.0003")
    mode.value = "percentiles"
    type_into(high, "90")
    mode.value = "fixed numbers"
    assert edit.value == pytest.approx((0.0003, 0.0008), rel=0.01)
    mode.value = "percentiles"
    assert edit.value == core.Percentiles(0.05, 90)


def test_what_the_user_selected_stays_selected(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    labels = viewer.add_labels(np.zeros(volume.shape, int), name="cells")
    widget = open_widget("Gamma")
    widget.header.layer.value = source
    viewer.layers.selection.active = labels
    click(widget.bar.apply)
    finish(qtbot, widget)
    assert viewer.layers.selection.active == labels
    assert list(viewer.layers.selection) == [labels]


def test_a_deleted_result_is_freed(qtbot, viewer, open_widget, volume):
    viewer.add_image(volume, name="nuclei")
    widget = open_widget("Gamma")
    click(widget.bar.apply)
    finish(qtbot, widget)
    result = weakref.ref(viewer.layers[1].data)
    viewer.layers.remove(viewer.layers[1])
    qtbot.waitUntil(lambda: gc.collect() >= 0 and result() is None, timeout=5000)


def test_undo_is_removing_the_result(qtbot, viewer, open_widget, volume):
    source = viewer.add_image(volume, name="nuclei")
    limits = list(source.contrast_limits)
    widget = open_widget("Gamma")
    click(widget.bar.apply)
    finish(qtbot, widget)
    viewer.layers.remove(viewer.layers[1])
    assert list(viewer.layers) == [source]
    assert source.contrast_limits == limits
    assert source.visible


def test_what_was_applied_last_is_remembered_for_the_next_volume(qtbot, viewer, open_widget, volume):
    viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5))
    widget = open_widget("Adaptive equalization")
    first = parameters(widget)
    chosen = {
        "kernel_size": (4.0, 6.5, 8.0),
        "clip_limit": 0.07,
        "nbins": 64,
        "in_range": "contrast_limits",
        "per": "volume",
        "ignore_zeros": True,
    }
    for name, value in chosen.items():
        widget[name].value = value

    def opened_again():
        viewer.window.remove_dock_widget("all")
        return open_widget("Adaptive equalization")

    # only what was applied
    widget = opened_again()
    assert parameters(widget) == first
    for name, value in chosen.items():
        widget[name].value = value
    click(widget.bar.apply)
    finish(qtbot, widget)
    widget = opened_again()
    assert parameters(widget) == {**first, **chosen}
    # each widget for itself
    assert open_widget("Gamma")["gamma"].value == 1
    kept = plugin_settings("napari-exposure")
    assert '"nbins": 64' in kept.config_path.read_text().replace("\n    ", " ")
    choose(widget.cards.views[0].menu.menu(), "Defaults")
    assert parameters(widget) == first
    kept.widgets.remember = False
    assert parameters(opened_again()) == first


@pytest.mark.parametrize(
    ("unit", "edge"), [("um", 4.19), ("nm", 4190.0), ("mm", 0.00419), ("angstrom", 41900.0), ("inch", 4.19e-6 / 0.0254)]
)
def test_a_remembered_tile_is_as_long_in_another_unit(qtbot, viewer, open_widget, volume, unit, edge):
    first = viewer.add_image(volume, name="first", scale=(2, 0.5, 0.5), units="um")
    widget = open_widget("Adaptive equalization")
    widget["kernel_size"].value = 4.19
    click(widget.bar.apply)
    finish(qtbot, widget)
    tiles = tiles_of(widget).grid.shape
    viewer.layers.clear()
    scale = np.array([2, 0.5, 0.5]) * edge / 4.19
    viewer.add_image(volume, name="second", scale=scale, units=(unit,) * 3)
    # in the widget that is open, and in one that is opened later
    qtbot.waitUntil(lambda: widget.layer is not None and widget.layer.name == "second")
    assert widget["kernel_size"].value == pytest.approx(edge, rel=1e-5)
    assert tiles_of(widget).grid.shape == tiles
    viewer.window.remove_dock_widget("all")
    widget = open_widget("Adaptive equalization")
    assert widget["kernel_size"].value == pytest.approx(edge, rel=1e-5)
    assert tiles_of(widget).grid.shape == tiles
    viewer.layers.clear()
    viewer.layers.append(first)
    qtbot.waitUntil(lambda: widget.layer == first)
    assert widget["kernel_size"].value == pytest.approx(4.19, rel=1e-5)


def test_a_tile_with_a_size_is_not_taken_for_pixels(qtbot, viewer, open_widget, volume):
    viewer.add_image(volume, name="sized", scale=(2, 0.5, 0.5), units="um")
    widget = open_widget("Adaptive equalization")
    widget["kernel_size"].value = (4.0, 6.0, 8.0)
    bare = viewer.add_image(volume, name="bare")
    qtbot.waitUntil(lambda: widget.layer == bare)
    assert widget["kernel_size"].value is None


def test_a_tile_that_was_kept_without_its_unit_is_forgotten(open_widget):
    text = '{"AdaptiveEqualization": {"adjustment": "AdaptiveEqualization", "kernel_size": 4.19, "clip_limit": 0.07}}'
    plugin_settings("napari-exposure").widgets.applied = text
    widget = open_widget("Adaptive equalization")
    assert (widget["kernel_size"].value, widget["clip_limit"].value) == (None, 0.07)


@pytest.mark.parametrize(
    "text", ['"no JSON"', "[]", '{"adjustment": "Gamma"}', '{"adjustment": "PercentileClip", "low": 400}', "5"]
)
def test_remembered_nonsense_is_said_and_not_used(open_widget, messages, text):
    plugin_settings("napari-exposure").widgets.applied = f'{{"PercentileClip": {text}}}'
    widget = open_widget("Percentile clipping")
    assert widget["low"].value == 0.5
    assert "remembered parameters of Percentile clipping cannot be read" in messages()[-1]


@pytest.mark.parametrize("text", ["no JSON", "[]"])
def test_a_setting_that_holds_something_else_is_said(open_widget, messages, text):
    plugin_settings("napari-exposure").widgets.applied = text
    widget = open_widget("Percentile clipping")
    assert widget["low"].value == 0.5
    assert "The setting applied cannot be read" in messages()[-1]

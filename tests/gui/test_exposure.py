"""The Exposure dock in a shown window, as a user drives it: with the mouse, menus and keys."""

import dataclasses
import gc
import json
import os
import weakref

import numpy as np
import pytest
from napari.layers import Image
from napari.utils.notifications import ErrorNotification, notification_manager
from qtpy import API_NAME
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDockWidget, QFileDialog, QInputDialog

import napari_exposure as nx
from gui.driving import choose, choose_in, click, finish, from_menu_bar, no_workers, select, tiles_of, type_into
from gui.user import SIZED, User
from napari_exposure import core
from napari_exposure.core.adjustment import adjustments
from napari_exposure.gui import editors
from napari_exposure.gui.exposure.rows import Label
from napari_exposure.gui.preview import is_preview
from napari_exposure.recipe import Recipe
from napari_exposure.samples import make_synthetic
from napari_exposure.source import Origin


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1366, 768)
    return shown


@pytest.fixture
def nuclei(viewer, volume):
    return viewer.add_image(volume, name="nuclei", **SIZED)


@pytest.fixture
def dock(nuclei, open_widget):
    return open_widget("Exposure")


def live(dock):
    return dock.live.first.layer


def settled(qtbot, dock, condition=lambda: True):
    qtbot.wait(60)
    qtbot.waitUntil(lambda: not dock.live.running and not dock.running and condition(), timeout=20_000)


def shows(qtbot, dock, expected):
    """Wait until the live layer shows a result."""
    there = lambda: live(dock) is not None and np.array_equal(live(dock).data[3], expected.data[3])  # noqa: E731
    settled(qtbot, dock, there)


def names(viewer):
    return [layer.name for layer in viewer.layers]


def titles(dock):
    return [view.kind.title for view in dock.cards.views]


def editor(dock, card, name):
    return dock.cards.views[card].editors[name]


def test_a_newcomer_has_a_result_in_four_actions(qtbot, viewer, nuclei):
    window = viewer.window._qt_window
    size = window.size()
    # 1: the menu
    from_menu_bar(window.menuBar(), "Layers", "Filter", "Exposure", "Exposure")
    assert any(each.windowTitle().startswith("Exposure") for each in window.findChildren(QDockWidget))
    (dock,) = viewer.window.dock_widgets.values()
    qtbot.waitUntil(lambda: dock.layer == nuclei)
    assert names(viewer) == ["nuclei"]
    qtbot.waitUntil(lambda: "Add an adjustment" in dock.bar.state.said())
    # 2 and 3: Add, and an adjustment; 4: Apply
    choose(dock.tools.add_menu, "Adaptive equalization")
    settled(qtbot, dock, lambda: live(dock) is not None)
    assert names(viewer) == ["nuclei", "nuclei - exposure"]
    assert viewer.layers.selection == {nuclei}
    click(dock.bar.apply)
    finish(qtbot, dock)
    assert names(viewer) == ["nuclei", "nuclei - adaptive"]
    assert viewer.layers.selection == {nuclei}
    np.testing.assert_array_equal(viewer.layers[1].data, nx.equalize_adapthist(nuclei).data)
    # napari's window does not grow because a dock has opened
    assert window.size() == size


def test_the_menu_offers_every_adjustment_with_a_line_on_when_to_use_it(dock):
    dock.tools.add_menu.aboutToShow.emit()
    entries = [action for action in dock.tools.add_menu.actions() if action.text() and not action.isSeparator()]
    teaching = entries[-1].menu()
    words = [action.text() for action in (*entries[:-1], *teaching.actions())]
    kinds = adjustments()
    assert sorted(each.split(":")[0] for each in words) == sorted(kind.title for kind in kinds)
    assert all(len(each.split(": ")[1]) > 10 for each in words)
    assert words[0].startswith("Depth correction")
    assert [action.text().split(":")[0] for action in teaching.actions()] == ["Simulated decay"]


def test_a_chain_of_three_is_one_live_layer_in_2d_and_3d(qtbot, viewer, nuclei, dock):
    for name in ("Depth correction", "Percentile clipping", "Adaptive equalization"):
        choose(dock.tools.add_menu, name)
    recipe = nx.Recipe((nx.DecayCorrection(), nx.PercentileClip(), nx.AdaptiveEqualization()), "µm")
    expected = recipe.apply(nuclei)
    shows(qtbot, dock, expected)
    assert names(viewer) == ["nuclei", "nuclei - exposure"]
    viewer.dims.ndisplay = 3
    settled(qtbot, dock, lambda: np.array_equal(live(dock)._slice.image.raw, expected.data))
    viewer.dims.ndisplay = 2
    # what is switched off, folded or moved
    click(dock.cards.views[0].switch)
    shows(qtbot, dock, Recipe(recipe.steps[1:], "µm").apply(nuclei))
    head = dock.cards.views[2].head
    QTest.mouseClick(head, Qt.MouseButton.LeftButton)
    assert dock.cards.views[2].folded
    assert dock.cards.views[2].summary.said() == "Tile automatic, Clip limit 0.01"
    head.setFocus()
    QTest.keyClick(head, Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)
    assert titles(dock) == ["Depth correction", "Adaptive equalization", "Percentile clipping"]
    shows(qtbot, dock, Recipe((recipe.steps[2], recipe.steps[1]), "µm").apply(nuclei))
    layer = live(dock)
    click(dock.bar.apply)
    finish(qtbot, dock)
    # computed in place
    assert list(viewer.layers) == [nuclei, layer]
    assert layer.name == "nuclei - adaptive - clip"
    assert isinstance(layer.data, np.ndarray)
    dock.native.parent().hide()
    qtbot.wait(100)
    assert list(viewer.layers) == [nuclei, layer]
    qtbot.waitUntil(no_workers, timeout=30_000)


def test_where_a_chain_stops_keeping_the_scale_it_is_shown_over_the_range_of_its_result(qtbot, viewer, nuclei, dock):
    nuclei.contrast_limits = (200, 900)
    dock.add_card(core.Linear)
    settled(qtbot, dock, lambda: live(dock) is not None)
    assert tuple(live(dock).contrast_limits) == (200, 900)
    dock.add_card(core.PercentileClip)
    settled(qtbot, dock, lambda: tuple(live(dock).contrast_limits) == (0, 65535))
    # what the user chose keeps its place in the range
    live(dock).contrast_limits = (0, 65535 / 2)
    dock.adjusted.stack.switch(dock.cards.views[1].key, False)
    settled(qtbot, dock, lambda: tuple(live(dock).contrast_limits) == (200, 550))
    click(dock.bar.apply)
    finish(qtbot, dock)
    result = viewer.layers[1]
    assert tuple(result.contrast_limits) == (200, 550)
    # Update does the same as the live layer
    select(viewer, result)
    dock.adjusted.stack.switch(dock.cards.views[1].key, True)
    settled(qtbot, dock, lambda: live(dock) is not None)
    seen = tuple(live(dock).contrast_limits)
    click(dock.bar.apply)
    finish(qtbot, dock)
    assert viewer.layers[1] == result
    assert seen[0] == 0
    assert 30000 < result.contrast_limits[1] <= 65535


@pytest.mark.parametrize("wrong", ["a plane without depth", "low above high"])
def test_the_card_that_does_not_fit_has_the_warning(qtbot, viewer, dock, volume, wrong):
    if wrong == "low above high":
        dock.add_card(core.PercentileClip)
        type_into(editor(dock, 0, "low"), "99.9")
        type_into(editor(dock, 0, "high"), "10")
    else:
        select(viewer, viewer.add_image(volume[0], name="plane"))
        qtbot.waitUntil(lambda: dock.layer.name == "plane")
        dock.add_card(core.DecayCorrection)
        # It begins with an axis that the plane has.
        assert dock.cards.views[0].warnings == []
        dock.adjusted.stack.set(dock.cards.views[0].key, "axis", "z")
    dock.add_card(core.Gamma)
    settled(qtbot, dock)
    faulty, fine = dock.cards.views
    (said,) = faulty.warnings
    assert not faulty.alert.isHidden()
    assert fine.warnings == []
    assert live(dock) is None
    assert said.split(". ")[0] in dock.bar.state.said()
    assert "low=" not in said
    # without it, the rest is shown
    click(faulty.switch)
    settled(qtbot, dock, lambda: live(dock) is not None)
    assert faulty.warnings == []


def test_a_card_is_dragged_to_another_place(qtbot, viewer, dock):
    for name in ("Gamma", "Percentile clipping", "Histogram equalization"):
        choose(dock.tools.add_menu, name)
    settled(qtbot, dock, lambda: live(dock) is not None)
    view = dock.cards.views[2]
    QTest.mousePress(view.head, Qt.MouseButton.LeftButton, pos=QPoint(60, 8))
    way = view.y() - dock.cards.views[0].y() + 10
    for part in (0.3, 0.6, 1.0):
        QTest.mouseMove(view.head, QPoint(60, 8 - int(part * way)))
        qtbot.wait(20)
        if titles(dock)[0] == "Histogram equalization":
            break
    QTest.mouseRelease(view.head, Qt.MouseButton.LeftButton, pos=QPoint(60, 8))
    assert titles(dock)[0] == "Histogram equalization"
    assert not view.folded
    # one step of the history, however many places it went
    click(dock.tools.undo)
    assert titles(dock) == ["Gamma", "Percentile clipping", "Histogram equalization"]


def test_edit_again_update_and_undo(qtbot, viewer, nuclei, dock):
    choose(dock.tools.add_menu, "Gamma")
    type_into(editor(dock, 0, "gamma"), "0.5")
    click(dock.bar.apply)
    finish(qtbot, dock)
    kept = viewer.layers["nuclei - gamma"]
    settled(qtbot, dock, lambda: "Up to date" in dock.bar.state.said() or "made in" in dock.bar.state.said())
    assert dock.bar.apply.text() == "Update"
    # another stack on the source, kept as a layer of its own
    choose(dock.tools.add_menu, "Percentile clipping")
    shows(qtbot, dock, nx.clip_percentiles(nx.adjust_gamma(nuclei, 0.5)))
    assert names(viewer) == ["nuclei", "nuclei - gamma", "nuclei - exposure"]
    click(dock.bar.anew)
    finish(qtbot, dock)
    assert names(viewer) == ["nuclei", "nuclei - gamma", "nuclei - gamma - clip"]
    # the first is selected: its cards come back
    select(viewer, kept)
    qtbot.waitUntil(lambda: titles(dock) == ["Gamma"])
    assert dock.layer == nuclei
    assert dock.target is kept
    assert editor(dock, 0, "gamma").value == 0.5
    settled(qtbot, dock, lambda: live(dock) is None)
    kept.colormap = "magma"
    type_into(editor(dock, 0, "gamma"), "0.8")
    shows(qtbot, dock, nx.adjust_gamma(nuclei, 0.8))
    # undone, it is what was kept
    line = editor(dock, 0, "gamma").box.native.lineEdit()
    QTest.keyClick(line, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: editor(dock, 0, "gamma").value == 0.5)
    settled(qtbot, dock, lambda: live(dock) is None)
    click(dock.tools.redo)
    shows(qtbot, dock, nx.adjust_gamma(nuclei, 0.8))
    before = np.asarray(kept.data)
    click(dock.bar.apply)
    finish(qtbot, dock)
    assert names(viewer) == ["nuclei", "nuclei - gamma", "nuclei - gamma - clip"]
    assert viewer.layers[1] is kept
    np.testing.assert_array_equal(kept.data, nx.adjust_gamma(nuclei, 0.8).data)
    assert not np.array_equal(kept.data, before)
    assert kept.colormap.name == "magma"
    assert kept.metadata["napari_exposure"]["steps"][0]["gamma"] == 0.8


def test_a_result_from_a_file_shows_its_cards_again(qtbot, viewer, nuclei, dock, tmp_path):
    cells = viewer.add_labels((nuclei.data > 500).astype(int), name="cells")
    recipe = nx.Recipe((nx.PercentileClip(1, 90), nx.AdaptiveEqualization(6.0)), "µm")
    path = nx.save(recipe.apply(nuclei, mask=cells), tmp_path / "result.ome.tif")
    (data,) = nx.read_tiff(path).layers()
    result = viewer._add_layer_from_data(*data)[0]
    viewer.layers.selection = {result}
    qtbot.waitUntil(lambda: titles(dock) == ["Percentile clipping", "Adaptive equalization"])
    assert dock.layer == nuclei
    assert dock.mask == cells
    assert editor(dock, 1, "kernel_size").value == 6
    type_into(editor(dock, 0, "high"), "95")
    click(dock.bar.apply)
    finish(qtbot, dock)
    expected = nx.Recipe((nx.PercentileClip(1, 95), nx.AdaptiveEqualization(6.0)), "µm").apply(nuclei, mask=cells)
    np.testing.assert_array_equal(result.data, expected.data)
    # without its source it is an image like others
    viewer.layers.remove(nuclei)
    qtbot.waitUntil(lambda: dock.layer == result)


@pytest.mark.filterwarnings("ignore:Percentiles are in percent")
@pytest.mark.parametrize("kind", adjustments())
def test_an_editor_shows_every_value_that_its_adjustment_takes(qtbot, kind):
    for field in dataclasses.fields(kind):
        widget = editors.editor(field, kind)
        for value in (1e300, -1, 1e-300, 0.0123456789, 20, 70000, 0, 1):
            try:
                kind(**{**kind.examples(), field.name: value})
            except (TypeError, ValueError):
                continue
            widget.value = value
            assert widget.value == value, field.name


def live_of(dock, layer):
    found = dock.live.of(layer)
    return None if found is None else found.layer


def test_several_layers_each_have_a_live_layer_and_one_apply(qtbot, viewer, nuclei, dock, volume):
    other = viewer.add_image(volume[::-1] // 2, name="membrane", scale=(1, 0.25, 0.25), units="um")
    qtbot.waitUntil(lambda: dock.layer == other)
    select(viewer, nuclei)
    qtbot.waitUntil(lambda: dock.layer == nuclei)
    choose(dock.tools.add_menu, "Percentile clipping")
    select(viewer, nuclei, other)
    qtbot.waitUntil(lambda: len(dock.header.chips) == 2)
    # the cards stay
    assert titles(dock) == ["Percentile clipping"]
    assert dock.layer == nuclei

    def shown(fits):
        # each live layer shows what the fit of one of the layers makes of its own
        def there():
            lives = [live_of(dock, each) for each in (nuclei, other)]
            return all(
                each is not None and np.array_equal(each.data[3], fit.apply(source.data)[3])
                for each, fit, source in zip(lives, fits, (nuclei, other), strict=True)
            )

        settled(qtbot, dock, there)
        assert dock.bar.state.said().startswith("Up to date")
        assert viewer.layers.selection == {nuclei, other}

    def fit(layer, low=0.5):
        return nx.Recipe(nx.PercentileClip(low)).fit(layer)

    low = nx.PercentileClip().low
    shown([fit(nuclei, low), fit(other, low)])
    assert names(viewer) == ["nuclei", "nuclei - exposure", "membrane", "membrane - exposure"]
    click(dock.bar.apply)
    finish(qtbot, dock)
    results = "nuclei - clip", "membrane - clip"
    assert names(viewer) == ["nuclei", results[0], "membrane", results[1]]
    for source, result in zip((nuclei, other), results, strict=True):
        np.testing.assert_array_equal(viewer.layers[result].data, nx.clip_percentiles(source).data)
    # All have the fit of the first, which is that of the chip that is pressed.
    choose_in(dock.header.fit, "all like nuclei")
    assert dock.header.fit_on == "first"
    shown([fit(nuclei, low)] * 2)
    click(dock.header.chips[other])
    assert dock.header.fit.current_choice == "all like membrane"
    shown([fit(other, low)] * 2)
    type_into(editor(dock, 0, "low"), "10")
    shown([fit(other, 10)] * 2)
    # Update computes both anew, in their places.
    click(dock.bar.apply)
    finish(qtbot, dock)
    assert names(viewer) == ["nuclei", results[0], "membrane", results[1]]
    for source, result in zip((nuclei, other), results, strict=True):
        np.testing.assert_array_equal(viewer.layers[result].data, fit(other, 10).apply(source.data))
    # Alone, each has the cards that were applied to it.
    for layer in (nuclei, other):
        select(viewer, layer)
        qtbot.waitUntil(lambda: dock.layer == layer and not dock.header.chips)  # noqa: B023
        assert editor(dock, 0, "low").value == 10
        assert dock.target.name.startswith(layer.name)


@pytest.mark.parametrize("how", ["all", "sum", "max"])
def test_channels_share_one_fit(qtbot, viewer, nuclei, dock, volume, how):
    other = viewer.add_image(volume[::-1] // 2, name="membrane", scale=(1, 0.25, 0.25), units="um", colormap="magenta")
    viewer.layers.selection = {nuclei}
    qtbot.waitUntil(lambda: dock.layer == nuclei)
    choose(dock.tools.add_menu, "Percentile clipping")
    viewer.layers.selection = {nuclei, other}
    qtbot.waitUntil(lambda: len(dock.header.chips) == 2)
    dock.header.fit.value = how
    for low in (0.5, 10):
        editor(dock, 0, "low").value = low
        fitted = nx.Recipe(nx.PercentileClip(low)).fit([nuclei, other], fit_on=how)

        def there(fitted=fitted):
            lives = [live_of(dock, each) for each in (nuclei, other)]
            return all(
                each is not None and np.array_equal(each.data[3], fitted.apply(source.data)[3])
                for each, source in zip(lives, (nuclei, other), strict=True)
            )

        settled(qtbot, dock, there)
    click(dock.bar.apply)
    finish(qtbot, dock)
    assert names(viewer) == ["nuclei", "nuclei - clip", "membrane", "membrane - clip"]
    for source in (nuclei, other):
        result = viewer.layers[f"{source.name} - clip"]
        np.testing.assert_array_equal(result.data, fitted.apply(source.data))
        assert result.colormap.name == source.colormap.name
    # nothing is left to do until the choice is another one
    assert live_of(dock, nuclei) is None
    dock.header.fit.value = ""
    settled(qtbot, dock, lambda: live_of(dock, nuclei) is not None and live_of(dock, other) is not None)


def test_channels_that_cannot_share_a_fit_are_told(qtbot, viewer, nuclei, dock, volume, messages):
    other = viewer.add_image((volume // 16).astype(np.uint8), name="bytes", scale=(1, 0.25, 0.25), units="um")
    viewer.layers.selection = {nuclei}
    qtbot.waitUntil(lambda: dock.layer == nuclei)
    choose(dock.tools.add_menu, "Percentile clipping")
    viewer.layers.selection = {nuclei, other}
    qtbot.waitUntil(lambda: len(dock.header.chips) == 2)
    dock.header.fit.value = "sum"
    qtbot.waitUntil(lambda: "has dtype uint" in dock.bar.state.said(), timeout=10_000)
    click(dock.bar.apply)
    assert "has dtype uint" in messages()[-1]
    assert not dock.running


def test_cancel_stops_all_layers_and_a_layer_that_does_not_fit_is_told(qtbot, viewer, nuclei, dock, volume, slow):
    other = viewer.add_image(volume[:6] // 2, name="short", scale=(1, 0.25, 0.25), units="um")
    viewer.layers.selection = {nuclei}
    qtbot.waitUntil(lambda: dock.layer == nuclei)
    choose(dock.tools.add_menu, "Adaptive equalization")
    viewer.layers.selection = {nuclei, other}
    settled(qtbot, dock, lambda: live_of(dock, nuclei) is not None and live_of(dock, other) is not None)
    # Tiles have places, so that their fit is that of one shape.
    dock.header.fit.value = "first"
    qtbot.waitUntil(lambda: live_of(dock, other) is None)
    settled(qtbot, dock)
    assert live_of(dock, nuclei) is not None
    assert "shape" in dock.bar.state.said()
    dock.header.fit.value = ""
    settled(qtbot, dock, lambda: live_of(dock, other) is not None)
    dock.adjusted.stack.set(dock.cards.views[0].key, "nbins", 100)
    click(dock.bar.apply)
    assert dock.running
    click(dock.bar.cancel)
    finish(qtbot, dock)
    settled(qtbot, dock, lambda: live_of(dock, nuclei) is not None and live_of(dock, other) is not None)
    assert names(viewer) == ["nuclei", "nuclei - exposure", "short", "short - exposure"]


def test_what_is_seen_is_saved_though_the_slider_has_just_moved(qtbot, nuclei, dock, tmp_path, monkeypatch):
    choose(dock.tools.add_menu, "Gamma")
    settled(qtbot, dock, lambda: live(dock) is not None)
    for value in ("0.5", "0.6", "0.7"):
        type_into(editor(dock, 0, "gamma"), value)
    asked = lambda name: lambda *_: (str(tmp_path / name), "")  # noqa: E731
    monkeypatch.setattr(QFileDialog, "getSaveFileName", asked("seen.ome.tif"))
    click(dock.bar.save)
    choose(dock.recipe.menu(), "Copy as Python")
    assert "gamma=0.7" in QApplication.clipboard().text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", asked("seen.json"))
    choose(dock.recipe.menu(), "Save recipe")
    assert nx.Recipe.load(tmp_path / "seen.json").steps == (core.Gamma(0.7),)
    finish(qtbot, dock)
    found = nx.read_tiff(tmp_path / "seen.ome.tif")
    np.testing.assert_array_equal(found.data, nx.adjust_gamma(nuclei, 0.7).data)
    assert found.notes["steps"][0]["gamma"] == 0.7


def test_each_layer_has_cards_of_its_own_which_can_be_copied(qtbot, viewer, nuclei, dock, volume):
    other = viewer.add_image(volume // 2, name="other", scale=(2000, 500, 500), units="nm")
    viewer.layers.selection = {nuclei}
    qtbot.waitUntil(lambda: dock.layer == nuclei)
    choose(dock.tools.preset_menu, "Local contrast")
    editor(dock, 1, "kernel_size").value = 6.0
    choose(dock.tools.preset_menu, "Copy cards")
    viewer.layers.selection = {other}
    qtbot.waitUntil(lambda: dock.layer == other)
    assert titles(dock) == []
    settled(qtbot, dock, lambda: live(dock) is None)
    choose(dock.tools.preset_menu, "Paste cards")
    assert titles(dock) == ["Percentile clipping", "Adaptive equalization"]
    assert editor(dock, 1, "kernel_size").value == 6000
    viewer.layers.selection = {nuclei}
    qtbot.waitUntil(lambda: dock.layer == nuclei)
    assert editor(dock, 1, "kernel_size").value == 6
    QApplication.clipboard().setText("something else")
    before = dock.cards.views
    choose(dock.tools.preset_menu, "Paste cards")
    assert dock.cards.views == before


def test_a_preset_is_saved_and_there_the_next_day(qtbot, viewer, nuclei, monkeypatch, open_widget):
    dock = open_widget("Exposure")
    choose(dock.tools.add_menu, "Gamma")
    editor(dock, 0, "gamma").value = 0.4
    monkeypatch.setattr(QInputDialog, "getText", lambda *args: ("my gamma", True))
    choose(dock.tools.preset_menu, "Save as preset")
    viewer.window.remove_dock_widget("all")
    dock = open_widget("Exposure")
    choose(dock.tools.preset_menu, "my gamma")
    assert editor(dock, 0, "gamma").value == 0.4
    # PySide6 forgets the menu of an action that nobody holds
    actions = dock.tools.preset_menu.actions()
    forget = next(action.menu() for action in actions if action.text() == "Forget preset")
    forget.actions()[0].trigger()
    dock.tools.preset_menu.aboutToShow.emit()
    assert "my gamma" not in [action.text() for action in dock.tools.preset_menu.actions()]


def test_suggest_puts_cards_that_say_why(qtbot, viewer, dock):
    bright = make_synthetic((32, 96, 96), spacing=(1.0, 0.5, 0.5), cells=60)
    dim = core.degrade(bright, 3.0)
    layer = viewer.add_image(dim, name="dim", scale=(1.0, 0.5, 0.5), units=("um",) * 3)
    qtbot.waitUntil(lambda: dock.layer == layer)
    click(dock.tools.propose)
    finish(qtbot, dock)
    expected = nx.suggest(layer)
    assert expected.recipe is not None
    assert [view.kind for view in dock.cards.views] == [type(step) for step in expected.recipe.steps]
    assert all(reason in view.title.toolTip() for view, reason in zip(dock.cards.views, expected.reasons, strict=True))
    # one step of the history
    click(dock.tools.undo)
    assert not dock.cards.views


def test_a_recipe_file_is_opened_as_cards(qtbot, viewer, nuclei, dock, tmp_path, messages):
    recipe = nx.Recipe((nx.PercentileClip(2, 98), nx.AdaptiveEqualization(6.0)), "µm")
    dock.recipe.open(recipe.save(tmp_path / "recipe.json"))
    assert titles(dock) == ["Percentile clipping", "Adaptive equalization"]
    shows(qtbot, dock, recipe.apply(nuclei))
    click(dock.tools.undo)
    assert titles(dock) == []
    (tmp_path / "bad.json").write_text(json.dumps({"steps": []}))
    dock.recipe.open(tmp_path / "bad.json")
    assert "bad.json" in messages()[-1]


def test_a_result_can_be_duplicated_and_deleting_it_is_the_end(qtbot, viewer, nuclei, dock):
    choose(dock.tools.add_menu, "Gamma")
    editor(dock, 0, "gamma").value = 0.5
    click(dock.bar.apply)
    finish(qtbot, dock)
    viewer.layers.remove("nuclei - gamma")
    settled(qtbot, dock)
    qtbot.wait(200)
    assert names(viewer) == ["nuclei"]
    assert dock.bar.apply.text() == "Apply"
    # the next turn of a knob shows it again
    editor(dock, 0, "gamma").value = 0.6
    shows(qtbot, dock, nx.adjust_gamma(nuclei, 0.6))


def test_a_double_click_on_a_label_resets_it(qtbot, viewer, dock):
    choose(dock.tools.add_menu, "Gamma")
    editor(dock, 0, "gamma").value = 0.4
    editor(dock, 0, "gain").value = 2.0
    label = next(each for each in dock.native.findChildren(Label) if each.text() == "Gamma")
    QTest.mouseDClick(label, Qt.MouseButton.LeftButton)
    assert (editor(dock, 0, "gamma").value, editor(dock, 0, "gain").value) == (1, 2)


def test_the_histogram_shows_before_and_after(qtbot, viewer, nuclei, dock):
    choose(dock.tools.add_menu, "Gamma")
    editor(dock, 0, "gamma").value = 0.5
    expected = nx.histogram(nx.adjust_gamma(nuclei, 0.5))

    def there():
        content = dock.plot.histogram.model.content
        main = dock.plot.histogram.model.main
        return content.complete and main is not None and np.array_equal(main.histogram.counts, expected.counts)

    qtbot.waitUntil(there, timeout=20_000)
    assert dock.plot.histogram.model.content.before.name == "nuclei"
    # its contrast limits are those of the live layer
    dock.plot.histogram.view.handles.limit_dragged.emit(1, 1234.0)
    qtbot.waitUntil(lambda: live(dock).contrast_limits[1] == 1234)
    assert nuclei.contrast_limits[1] != 1234


# NAPARI_EXPOSURE_FUZZ=1000 tries five seeds
@pytest.mark.parametrize("seed", range(max(1, int(os.environ.get("NAPARI_EXPOSURE_FUZZ", "0")) // 200)))
def test_random_actions_leave_nothing_behind(qtbot, viewer, open_widget, volume, messages, seed):
    user = User(viewer, open_widget, volume, seed)
    done = []
    for _ in range(200 if "NAPARI_EXPOSURE_FUZZ" in os.environ else 80):
        if not any(isinstance(layer, Image) for layer in viewer.layers):
            viewer.add_image(volume, name="nuclei", **SIZED)
        done.append(user.act())
        qtbot.wait(int(user.rng.choice([1, 20, 80])))
        errors = [each for each in notification_manager.records if isinstance(each, ErrorNotification)]
        assert not errors, (done[-5:], errors[0].as_text())
    user.dock.native.parent().show()
    settled(qtbot, user.dock)
    lives = [layer for layer in viewer.layers if is_preview(layer)]
    assert len({Origin.of(layer).source() for layer in lives}) == len(lives), done
    for widget in (user.dock, *user.others.values()):
        viewer.window.remove_dock_widget(getattr(widget, "native", widget))
    qtbot.waitUntil(no_workers, timeout=10_000)
    qtbot.wait(100)
    assert not any(map(is_preview, viewer.layers)), done
    assert not any(layer.name.endswith("tiles") for layer in viewer.layers), done
    if API_NAME == "PySide6":
        # it keeps what its signals call as long as the process lives, which no collector sees
        return
    # The docks are freed where nobody holds them.
    docks = [weakref.ref(widget) for widget in (user.dock, *user.others.values())]
    del widget, user
    gc.collect()
    assert [each() for each in docks if each() is not None] == []


def test_tiles_of_a_card_go_with_it(qtbot, viewer, nuclei, dock):
    choose(dock.tools.add_menu, "Adaptive equalization")
    click(tiles_of(dock).switch)
    qtbot.waitUntil(lambda: "nuclei - tiles" in names(viewer))
    view = dock.cards.views[0]
    # folded they stay
    view.fold(True)
    qtbot.wait(300)
    assert "nuclei - tiles" in names(viewer)
    choose(view.menu.menu(), "Remove")
    qtbot.waitUntil(lambda: names(viewer) == ["nuclei"])


# --- numbers that are typed -------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "typed", "expected"),
    [
        (core.AdaptiveEqualization, "nbins", "128", 128),
        (core.AdaptiveEqualization, "nbins", "16", 16),
        (core.Gamma, "window", "03", 3),
        (core.HistogramEqualization, "nbins", "1000", 1000),
        (core.DecayCorrection, "exponent", "0,7", 0.7),
        (core.DecayCorrection, "background", "100,5", 100.5),
        (core.DecayCorrection, "max_gain", "2.5", 2.5),
    ],
)
def test_a_typed_number_is_the_one_that_counts(qtbot, dock, kind, name, typed, expected):
    dock.add_card(kind)
    edit = editor(dock, 0, name)
    if hasattr(edit, "box"):
        edit.value = 7
    type_into(edit, typed)
    assert dock.adjusted.stack.cards[0].values[name] == expected
    assert edit.value == expected


def test_percentiles_in_no_order_are_not_taken(qtbot, dock):
    dock.add_card(core.Gamma)
    edit = editor(dock, 0, "in_range")
    edit.value = core.Percentiles(2, 98)
    low, high = edit._low, edit._high
    # on the way to 100 there are 1 and 10
    type_into(high, "100")
    assert dock.adjusted.stack.cards[0].values["in_range"] == core.Percentiles(2, 100)
    type_into(low, "20")
    type_into(high, "15")
    assert dock.adjusted.stack.cards[0].values["in_range"] == core.Percentiles(20, 100)
    assert (edit._low.value, edit._high.value) == (20, 100)
    click(dock.tools.undo)
    assert dock.adjusted.stack.cards[0].values["in_range"] == edit.value
    settled(qtbot, dock)


# --- layers that change -----------------------------------------------------------------


def test_a_tile_in_pixels_is_not_shown_as_one_in_micrometers(qtbot, viewer, volume, open_widget):
    layer = viewer.add_image(volume, name="bare")
    dock = open_widget("Exposure")
    dock.add_card(core.AdaptiveEqualization)
    editor(dock, 0, "kernel_size").value = 16.0
    assert dock.adjusted.recipe(layer).steps[0].kernel_size == 16
    layer.units = ("um",) * 3
    assert dock.adjusted.recipe(layer).steps[0].kernel_size is None
    assert editor(dock, 0, "kernel_size").value is None
    editor(dock, 0, "per")
    layer.axis_labels = ("t", "y", "x")
    assert any(label.text() == "Time points" for label in dock.cards.views[0].findChildren(Label))
    settled(qtbot, dock)


def test_a_plane_gets_cards_that_suit_it(qtbot, viewer, volume, open_widget, plugin_settings):
    viewer.add_image(volume[3], name="plane")
    dock = open_widget("Exposure")
    choose(dock.tools.preset_menu, "Deep stack")
    axes = [card.values["axis"] for card in dock.adjusted.stack.cards if card.kind is core.DecayCorrection]
    assert axes == ["y"]
    view = next(view for view in dock.cards.views if view.kind is core.DecayCorrection)
    view.set("axis", "x")
    view.reset("axis")
    assert view.card.values["axis"] == "y"
    # what is the default already is no step
    steps = len(dock.adjusted.stack._before)
    view.reset("axis")
    assert len(dock.adjusted.stack._before) == steps
    settled(qtbot, dock)

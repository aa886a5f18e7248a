"""The widget of the depth correction: its plot follows the preview, the result is that of the console."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

import napari_exposure as nx
from gui.driving import click, parameters, profile_of
from napari_exposure import core
from napari_exposure.gui.exposure.extras import Reference

# what is said in the window is not raised by the console's call beside it
pytestmark = pytest.mark.filterwarnings("ignore:Depth correction. nothing is corrected")


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1100, 900)
    return shown


@pytest.fixture
def deep():
    bright = np.random.default_rng(0).gamma(4, 200, (20, 40, 48)).astype(np.uint16)
    return core.degrade(bright, 2.0)


@pytest.fixture
def widget(viewer, open_widget, deep, qtbot):
    viewer.add_image(deep, name="nuclei", scale=(2, 0.5, 0.5), units=("um",) * 3)
    found = open_widget("Depth correction")
    qtbot.waitUntil(lambda: len(points(found)[0]) > 0)
    return found


def points(widget):
    return profile_of(widget)._before.getData()


def line(widget):
    return profile_of(widget)._model.getData()


def test_the_plot_shows_what_the_console_gives(viewer, widget):
    layer = viewer.layers["nuclei"]
    positions, profile, fitted = nx.decay_profile(layer)
    np.testing.assert_allclose(points(widget), (positions, profile))
    np.testing.assert_allclose(line(widget), (positions, fitted))
    assert "µm" in profile_of(widget).axes["bottom"].labelText


def test_what_the_data_do_not_support_is_said(viewer, widget, qtbot):
    view = widget.cards.views[0]
    assert view.warnings == []
    assert view.alert.isHidden()
    widget["axis"].value, widget["model"].value = "x", "plane"
    qtbot.waitUntil(lambda: any("nothing is corrected along x" in each for each in view.warnings))
    # It says what to do in the words of the card, not in those of Python.
    assert view.warnings[0].endswith("or correct anyway (“Correct anyway”).")
    assert not view.alert.isHidden()
    widget["axis"].value = "z"
    qtbot.waitUntil(lambda: view.alert.isHidden())


def test_a_correction_that_changes_nothing_says_so(qtbot, viewer, open_widget):
    even = np.repeat(np.random.default_rng(0).gamma(4, 200, (1, 40, 48)), 20, axis=0)
    even[8:11] *= 1.5
    even = even.astype(np.uint16)
    viewer.add_image(even, name="even", scale=(2, 0.5, 0.5), units="um")
    widget = open_widget("Depth correction")
    said = "Up to date. Depth correction: nothing changes, as there is no decay along z."
    qtbot.waitUntil(lambda: widget.bar.state.said() == said, timeout=30_000)


def test_the_plot_follows_the_parameters(viewer, widget, qtbot):
    layer = viewer.layers["nuclei"]
    widget["model"].value = "smooth"
    expected = nx.decay_profile(layer, model="smooth")[2]
    qtbot.waitUntil(lambda: np.allclose(line(widget)[1], expected))
    assert widget["smoothness"].enabled
    widget["axis"].value = "x"
    qtbot.waitUntil(lambda: len(points(widget)[0]) == 48)
    assert not widget["smoothness"].enabled or widget["model"].value == "smooth"
    widget["background"].value = "auto"
    expected = nx.decay_profile(layer, "x", model="smooth", background="auto")[2]
    qtbot.waitUntil(lambda: np.allclose(line(widget)[1], expected))
    # without a preview nothing is fitted, and what is drawn would be of other parameters
    widget.bar.live.setChecked(False)
    widget["percentile"].value = 60
    assert len(points(widget)[0]) == 0


def test_apply_draws_what_it_found(viewer, widget, qtbot):
    layer = viewer.layers["nuclei"]
    widget.bar.live.setChecked(False)
    widget["percentile"].value = 60
    widget.apply()
    qtbot.waitUntil(lambda: not widget.running, timeout=30_000)
    expected = nx.correct_decay(layer, percentile=60)
    np.testing.assert_array_equal(viewer.layers[expected.name].data, expected.data)
    np.testing.assert_allclose(points(widget)[1], nx.decay_profile(layer, percentile=60)[1])


def test_the_plot_is_that_of_the_volume_in_view(viewer, open_widget, deep, qtbot):
    viewer.add_image(np.stack([deep, deep[::-1]]), name="series")
    widget = open_widget("Depth correction")
    widget["per"].value = "volume"
    viewer.dims.set_current_step(0, 0)
    first = nx.decay_profile(deep)[1]
    qtbot.waitUntil(lambda: len(points(widget)[1]) == 20 and np.allclose(points(widget)[1], first))
    viewer.dims.set_current_step(0, 1)
    qtbot.waitUntil(lambda: np.allclose(points(widget)[1], first[::-1]))


def test_another_layer_empties_the_plot_and_a_missing_axis_is_said(viewer, widget, deep, qtbot):
    viewer.add_image(deep[0], name="plane")
    qtbot.waitUntil(lambda: widget.layer.name == "plane")
    assert len(points(widget)[0]) == 0
    assert "There is no axis" in widget.bar.state.said()
    widget["axis"].value = "y"
    qtbot.waitUntil(lambda: len(points(widget)[0]) == 40)
    assert "There is no axis" not in widget.bar.state.said()


def test_background_is_a_number_or_automatic(widget):
    edit = widget["background"]
    assert edit.value == 0
    edit.value = "auto"
    assert edit.value == "auto"
    assert not edit.box.enabled
    edit.value = 12.5
    assert edit.value == 12.5
    assert edit.box.enabled
    QTest.qWait(10)
    assert parameters(widget)["background"] == 12.5


def plane_in_view(widget):
    here = profile_of(widget)._here
    return here.value() if here.isVisible() else None


def test_after_is_what_the_result_has(viewer, widget, qtbot):
    layer = viewer.layers["nuclei"]
    positions, after = profile_of(widget)._after.getData()
    result = nx.decay_profile(nx.correct_decay(layer, output="float32"))
    np.testing.assert_allclose(positions, result[0])
    np.testing.assert_allclose(after, result[1], rtol=0.01)
    assert np.ptp(after) < 0.3 * np.ptp(points(widget)[1])
    assert [entry[2] for entry in profile_of(widget)._caption._said[0]] == ["before", "model", "after", "plane in view"]


def test_the_plane_in_view_is_marked_and_a_click_goes_to_another(viewer, widget, qtbot):
    viewer.dims.set_current_step(0, 4)
    assert plane_in_view(widget) == 8
    qtbot.wait(50)
    for plane in (15, 0, 19):
        position = profile_of(widget).point_of(2 * plane, np.mean(points(widget)[1]))
        QTest.mouseClick(profile_of(widget).viewport(), Qt.MouseButton.LeftButton, pos=position)
        assert viewer.dims.current_step[0] == plane
        assert plane_in_view(widget) == 2 * plane
    QTest.keyClick(profile_of(widget), Qt.Key.Key_Right)
    assert viewer.dims.current_step[0] == 19
    QTest.keyClick(profile_of(widget), Qt.Key.Key_Left)
    assert viewer.dims.current_step[0] == 18
    # in 3D there is no plane in view
    viewer.dims.ndisplay = 3
    assert plane_in_view(widget) is None


def test_along_x_the_plane_in_view_is_that_of_the_slider_of_x(viewer, widget, qtbot):
    widget["axis"].value = "x"
    qtbot.waitUntil(lambda: len(points(widget)[0]) == 48)
    assert plane_in_view(widget) is None
    viewer.dims.order = (2, 0, 1)
    viewer.dims.set_current_step(2, 10)
    assert plane_in_view(widget) == 5
    profile_of(widget).pointed.emit(30)
    assert viewer.dims.current_step[2] == 30


def test_below_the_surface_of_the_mask(viewer, open_widget, qtbot):
    axes = np.meshgrid(*[np.arange(n) - n // 2 for n in (21, 41, 43)], indexing="ij")
    depth = 18 - np.sqrt(4 * axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2)
    light = np.exp(-np.clip(depth, 0, None) / 8)
    volume = (np.random.default_rng(0).gamma(4, 100, depth.shape) * light * (depth > 0)).astype(np.uint16)
    layer = viewer.add_image(volume, name="spheroid", scale=(2, 1, 1), units="um")
    labels = viewer.add_labels((depth > 0).astype(np.uint8), name="sample", scale=(2, 1, 1))
    viewer.layers.selection.active = layer
    widget = open_widget("Depth correction")
    # without a mask a sentence says what is needed
    widget["axis"].value = "surface"
    qtbot.waitUntil(lambda: "surface of the mask" in widget.bar.state.said(), timeout=20_000)
    widget.header.mask.value = labels
    qtbot.waitUntil(lambda: len(points(widget)[0]) > 0, timeout=20_000)
    widget.apply()
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    expected = nx.correct_decay(layer, "surface", mask=labels)
    np.testing.assert_array_equal(viewer.layers[expected.name].data, expected.data)
    positions, profile, _ = nx.decay_profile(layer, "surface", mask=labels)
    found = np.isfinite(profile)
    np.testing.assert_allclose(points(widget), (positions[found], profile[found]))


def has_gains(widget, gains):
    live = widget.live.layer
    return live is not None and np.array_equal(live.data.transform.gains, gains)


def test_a_reference_channel_is_chosen_in_the_card(viewer, open_widget, qtbot):
    rng = np.random.default_rng(5)
    dapi = core.degrade(rng.gamma(4, 300, (30, 60, 70)).astype(np.uint16), 1.2)
    even = rng.gamma(3, 500, (30, 60, 70)).astype(np.uint16)
    layers = [
        viewer.add_image(data, name=name, scale=(2, 0.5, 0.5), units="um")
        for name, data in (("dapi", dapi), ("short", dapi[:20]), ("gfp", core.degrade(even, 1.2 * 1.6)))
    ]
    widget = open_widget("Depth correction")
    reference = next(extra for extra in widget.cards.views[0].extras if isinstance(extra, Reference))
    qtbot.waitUntil(lambda: widget.up_to_date, timeout=60_000)
    assert widget.layer == layers[2]
    assert list(reference.box.choices) == [None, *layers[:2]]
    assert not reference.find.isVisibleTo(widget.native)
    QTest.keyClick(reference.box.native, Qt.Key.Key_Down)
    assert reference.box.value == layers[0]
    gains = nx.DecayCorrection().fit(dapi).gains
    qtbot.waitUntil(lambda: has_gains(widget, gains), timeout=60_000)
    click(reference.find)
    qtbot.waitUntil(lambda: widget["exponent"].value != 1, timeout=60_000)
    assert widget["exponent"].value == pytest.approx(1.6, rel=0.01)
    assert widget["exponent"].value == pytest.approx(nx.decay_exponent(layers[2], layers[0]), rel=1e-3)
    # What is drawn is the reference, which its own gains make even.
    qtbot.waitUntil(lambda: widget.up_to_date, timeout=60_000)
    assert np.ptp(profile_of(widget)._after.getData()[1]) < 0.1 * np.ptp(points(widget)[1])
    widget.apply()
    qtbot.waitUntil(lambda: not widget.running, timeout=60_000)
    recipe = nx.Recipe(nx.DecayCorrection(exponent=widget["exponent"].value))
    result = viewer.layers["gfp - corrected"]
    np.testing.assert_array_equal(result.data, recipe.apply(layers[2], fit_on=layers[0]).data)
    assert np.corrcoef(result.data.ravel(), even.ravel())[0, 1] > 0.999
    # A layer that does not suit is told, the layer itself can be chosen again, and one that is gone is none.
    reference.box.value = layers[1]
    qtbot.waitUntil(lambda: "A reference has the shape" in widget.bar.state.said())
    reference.box.value = None
    gains = nx.DecayCorrection(exponent=widget["exponent"].value).fit(layers[2].data).gains
    qtbot.waitUntil(lambda: has_gains(widget, gains), timeout=60_000)
    reference.box.value = layers[0]
    viewer.layers.remove(layers[0])
    assert reference.box.value is None
    assert widget.adjusted.reference is None


def test_what_is_changed_out_of_sight_is_told(widget, qtbot):
    card = widget.cards.views[0]
    assert card.advanced.text() == "Advanced"
    widget["exponent"].value = 1.7
    widget["percentile"].value = 60
    qtbot.waitUntil(lambda: card.advanced.text() == "Advanced (1 changed)")
    widget["exponent"].value = 1.0
    qtbot.waitUntil(lambda: card.advanced.text() == "Advanced")

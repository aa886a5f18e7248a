"""The editor of a parameter that may be a limit of noise, in the widget that falls out of the fields."""

import numpy as np
import pytest

import napari_exposure as nx
from gui.driving import click, parameters, type_into
from napari_exposure.core.noise import find_noise
from napari_exposure.gui.exposure import extras
from napari_exposure.gui.exposure.dock import ExposureDock
from napari_exposure.gui.numbers import NumberEdit, SliderEdit


class StretchDock(ExposureDock):
    adjustment = nx.LocalStretch


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    return rng.normal(100 + np.arange(60), 3.0, (8, 50, 60)).astype(np.float32)


def shown(edit):
    """What stands in a box."""
    return edit.box.native.text().removesuffix(" %")


@pytest.mark.parametrize(
    ("dock", "name", "verb", "default", "typed"),
    [
        ("Adaptive equalization", "clip_limit", nx.equalize_adapthist, 0.01, 0.07),
        (StretchDock, "max_gain", nx.stretch_local, 20.0, 3.0),
    ],
)
def test_noise_is_the_main_control_and_the_number_is_beside_it(
    make_napari_viewer, qtbot, volume, dock, name, verb, default, typed
):
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    if isinstance(dock, str):
        _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", dock)
    else:
        widget = dock(viewer)
        viewer.window.add_dock_widget(widget, name="stretch")
    edit, card = widget[name], widget.cards.views[0]
    assert edit.value == default
    # The number is out of sight, and what noise it allows is seen: what stretching leaves, times the largest gain.
    assert edit.noise.native.isVisibleTo(card)
    assert not edit.number.native.isVisibleTo(card)
    click(card.advanced)
    assert edit.number.native.isVisibleTo(card)
    lo, hi = np.percentile(volume, (0.05, 99.95))
    steep = {"clip_limit": 256, "max_gain": 1}[name] * nx.noise_level(volume).most / (hi - lo)
    qtbot.waitUntil(lambda: shown(edit.noise) != edit.UNKNOWN, timeout=60_000)
    assert float(shown(edit.noise)) == pytest.approx(min(100 * default * steep, 100), rel=0.02)
    type_into(edit.noise, "6")
    assert edit.value == nx.NoiseLimit(0.06)
    qtbot.waitUntil(lambda: shown(edit.number) != edit.UNKNOWN, timeout=60_000)
    assert float(shown(edit.number)) == pytest.approx(0.06 / steep, rel=0.02)
    widget.bar.live.setChecked(False)
    widget.bar.apply.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2 and not widget.running, timeout=20_000)
    expected = verb(layer, **{name: nx.NoiseLimit(0.06)})
    np.testing.assert_array_equal(viewer.layers[1].data, expected.data)
    assert getattr(nx.Recipe.of(viewer.layers[1]).steps[0], name) == nx.NoiseLimit(0.06)
    # A number that is typed is kept; without a fit the noise is not known.
    type_into(edit.number, str(typed))
    assert edit.value == typed
    assert shown(edit.noise) == edit.UNKNOWN
    widget.bar.live.setChecked(True)
    qtbot.waitUntil(lambda: shown(edit.noise) != edit.UNKNOWN, timeout=60_000)
    assert float(shown(edit.noise)) == pytest.approx(min(100 * typed * steep, 100), rel=0.02)
    assert edit.value == typed


def test_the_noise_of_a_layer_is_measured_once(make_napari_viewer, qtbot, volume, monkeypatch):
    measured = []

    def find(layer):
        measured.append(layer.shape)
        return find_noise(layer)

    monkeypatch.setattr(extras, "find_noise", find)
    viewer = make_napari_viewer(show=True)
    viewer.add_image(volume, name="nuclei")
    _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", "Adaptive equalization")
    edit = widget["clip_limit"]
    qtbot.waitUntil(lambda: shown(edit.noise) != edit.UNKNOWN, timeout=60_000)
    before = shown(edit.noise)
    # Twice the limit lets noise grow twice as far.
    for limit in (0.02, 0.04):
        edit.value = limit
        qtbot.waitUntil(lambda: shown(edit.noise) not in (edit.UNKNOWN, before), timeout=60_000)
        assert float(shown(edit.noise)) == pytest.approx(float(before) * limit / 0.01, rel=0.02)
    assert measured == [volume.shape]


def test_cards_of_recipes_show_what_they_hold(make_napari_viewer, volume):
    viewer = make_napari_viewer()
    viewer.add_image(volume, name="nuclei")
    widget = StretchDock(viewer)
    viewer.window.add_dock_widget(widget, name="stretch")
    edit = widget["max_gain"]
    for value, number, noise in ((7.0, "7.00", None), (nx.NoiseLimit(0.07), None, "7.00")):
        edit.value = value
        assert edit.value == value
        assert number in (None, shown(edit.number))
        assert noise in (None, shown(edit.noise))


def test_the_widget_of_a_stretch_falls_out_of_its_fields(make_napari_viewer, qtbot, volume):
    viewer = make_napari_viewer()
    viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    widget = StretchDock(viewer)
    viewer.window.add_dock_widget(widget, name="stretch")
    values = parameters(widget)
    assert nx.LocalStretch(**values) == nx.LocalStretch()


def test_copied_python_has_the_limit(make_napari_viewer, volume):
    from napari_exposure.provenance import as_python

    viewer = make_napari_viewer()
    layer = viewer.add_image(volume, name="nuclei")
    result = nx.stretch_local(layer, 20.0, max_gain=nx.NoiseLimit(0.05))
    scope = {"viewer": viewer}
    exec(as_python(result), scope)
    np.testing.assert_array_equal(viewer.layers[-1].data, result.data)


def test_a_number_that_must_be_above_0_never_becomes_0(qtbot):
    for edit in (
        SliderEdit(2.0, (0.1, 100.0), min=0.001, max=100.0, step=0.1),
        NumberEdit(value=1.0, min=1e-6, max=9.0),
    ):
        qtbot.addWidget(edit.native)
        type_into(edit, "0")
        assert edit.value > 0
        # A card may have less.
        edit.value = 0.0005
        assert edit.value == 0.0005

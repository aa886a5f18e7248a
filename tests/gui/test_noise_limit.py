"""The editor of a parameter that may be a limit of noise, in the widget that falls out of the fields."""

import numpy as np
import pytest

import napari_exposure as nx
from napari_exposure.gui.exposure.dock import ExposureDock


class StretchDock(ExposureDock):
    adjustment = nx.LocalStretch


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    return rng.normal(100 + np.arange(60), 3.0, (8, 50, 60)).astype(np.float32)


def test_a_limit_of_noise_is_chosen_and_applied(make_napari_viewer, qtbot, volume):
    viewer = make_napari_viewer()
    layer = viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", "Adaptive equalization")
    edit = widget["clip_limit"]
    assert edit.value == 0.01
    edit.number.value = 0.03
    assert widget["clip_limit"].value == 0.03
    edit._limited.value = True
    assert widget["clip_limit"].value == nx.NoiseLimit(0.02)
    assert [each.native.isHidden() for each in (edit.number, edit.noise)] == [True, False]
    edit.noise.value = 3.5
    widget.bar.live.setChecked(False)
    widget.bar.apply.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    expected = nx.equalize_adapthist(layer, clip_limit=nx.NoiseLimit(0.035))
    np.testing.assert_array_equal(viewer.layers[1].data, expected.data)
    assert nx.Recipe.of(viewer.layers[1]).steps[0].clip_limit == nx.NoiseLimit(0.035)
    edit.value = 0.07
    assert edit.value == 0.07
    assert [each.native.isHidden() for each in (edit.number, edit.noise)] == [False, True]
    edit.value = nx.NoiseLimit(0.07)
    assert (edit.value, edit.noise.value) == (nx.NoiseLimit(0.07), 7.0)


def test_the_widget_of_a_stretch_falls_out_of_its_fields(make_napari_viewer, qtbot, volume):
    viewer = make_napari_viewer()
    viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")
    widget = StretchDock(viewer)
    viewer.window.add_dock_widget(widget, name="stretch")
    values = {name: edit.value for name, edit in widget.cards.views[0].editors.items()}
    assert nx.LocalStretch(**values) == nx.LocalStretch()


def test_copied_python_has_the_limit(make_napari_viewer, volume):
    from napari_exposure.provenance import as_python

    viewer = make_napari_viewer()
    layer = viewer.add_image(volume, name="nuclei")
    result = nx.stretch_local(layer, 20.0, max_gain=nx.NoiseLimit(0.05))
    scope = {"viewer": viewer}
    exec(as_python(result), scope)
    np.testing.assert_array_equal(viewer.layers[-1].data, result.data)

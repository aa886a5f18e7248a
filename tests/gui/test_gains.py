"""The gain map of the Exposure dock: a layer of what was amplified, which follows the cards."""

import numpy as np
import pytest

import napari_exposure as nx
from gui.driving import choose, click, finish


@pytest.fixture
def viewer(make_napari_viewer):
    shown = make_napari_viewer(show=True)
    shown.window._qt_window.resize(1366, 768)
    return shown


@pytest.fixture
def nuclei(viewer, volume):
    return viewer.add_image(volume, name="nuclei", scale=(2, 0.5, 0.5), units="um")


@pytest.fixture
def dock(qtbot, nuclei, open_widget):
    dock = open_widget("Exposure")
    choose(dock.tools.add_menu, "Gamma")
    qtbot.waitUntil(lambda: dock.up_to_date, timeout=20_000)
    return dock


def gains(dock, adjustment):
    """What the layer must show."""
    volume = dock.layer.data
    return nx.gain_map(volume, adjustment.fit(volume))


def names(viewer):
    return [layer.name for layer in viewer.layers]


def test_the_gain_map_follows_the_cards(qtbot, viewer, nuclei, dock):
    click(dock.bar.gains)
    assert names(viewer) == ["nuclei", "nuclei - exposure", "nuclei - gain"]
    layer = viewer.layers["nuclei - gain"]
    assert viewer.layers.selection == {nuclei}
    np.testing.assert_array_equal(layer.data[3], gains(dock, nx.Gamma())[3])
    np.testing.assert_array_equal(layer.scale, nuclei.scale)
    dock.cards.views[0].editors["gamma"].value = 0.5
    expected = gains(dock, nx.Gamma(0.5))
    qtbot.waitUntil(lambda: np.array_equal(layer.data[3], expected[3]), timeout=20_000)
    # The same layer, so that whoever has chosen other colors keeps them.
    assert viewer.layers["nuclei - gain"] is layer
    # Of Apply's result, and without the live layer.
    click(dock.bar.apply)
    finish(qtbot, dock)
    np.testing.assert_array_equal(viewer.layers["nuclei - gain"].data[3], expected[3])
    # To select it is to look at it, and not to adjust it.
    viewer.layers.selection = {viewer.layers["nuclei - gain"]}
    qtbot.wait(100)
    assert dock.layer == nuclei
    click(dock.bar.gains)
    qtbot.waitUntil(lambda: "nuclei - gain" not in names(viewer))


def test_whoever_deletes_the_gain_map_does_not_want_it(qtbot, viewer, dock):
    click(dock.bar.gains)
    viewer.layers.remove("nuclei - gain")
    assert not dock.bar.gains.isChecked()
    click(dock.bar.gains)
    assert "nuclei - gain" in names(viewer)
    # It goes with the live layer, and with the dock.
    click(dock.bar.live)
    qtbot.waitUntil(lambda: names(viewer) == ["nuclei"])
    click(dock.bar.live)
    qtbot.waitUntil(lambda: "nuclei - gain" in names(viewer), timeout=20_000)
    dock.native.parent().hide()
    qtbot.waitUntil(lambda: names(viewer) == ["nuclei"])


def test_colors_have_no_gain_map(qtbot, viewer, dock):
    click(dock.bar.gains)
    photo = np.random.default_rng(0).integers(0, 255, (12, 40, 48, 3), dtype=np.uint8)
    layer = viewer.add_image(photo, name="photo", rgb=True, scale=(2, 0.5, 0.5), units="um")
    qtbot.waitUntil(lambda: dock.layer == layer)
    choose(dock.tools.add_menu, "Gamma")
    qtbot.waitUntil(lambda: "photo - exposure" in names(viewer) and dock.up_to_date, timeout=20_000)
    assert not dock.bar.gains.isEnabled()
    assert not [name for name in names(viewer) if name.endswith("gain")]
    # It comes back with the layer that it is of.
    viewer.layers.selection = {viewer.layers["nuclei"]}
    qtbot.waitUntil(lambda: "nuclei - gain" in names(viewer), timeout=20_000)

"""Tiles of a mosaic, matched through the menu."""

import numpy as np
import pytest

import napari_exposure as nx


@pytest.fixture
def trigger(viewer):
    """Trigger the entry of the menu, as a click on it does; whether it can be."""

    def trigger_it():
        menus = [
            action.menu() for action in viewer.window.layers_menu.actions() if action.text().strip("&") == "Filter"
        ]
        menus[0].aboutToShow.emit()
        menu = next(action.menu() for action in menus[0].actions() if action.text().strip("&") == "Exposure")
        menu.aboutToShow.emit()
        action = next(action for action in menu.actions() if action.text().startswith("Match overlaps"))
        action.trigger()
        return action.isEnabled()

    return trigger_it


@pytest.fixture
def tiles(viewer, volume):
    parts = volume[:, :, :32], (1.4 * volume[:, :, 24:] + 70).astype(np.uint16)
    left, right = (
        viewer.add_image(part, name=name, scale=(2, 1, 1), units="um", translate=(0, 0, x), contrast_limits=(0, top))
        for part, name, x, top in zip(parts, ("left", "right"), (0, 24), (1500, 900), strict=True)
    )
    return left, right


def test_the_menu_matches_what_is_selected(qtbot, viewer, tiles, trigger):
    left, right = tiles
    viewer.layers.selection = {left, right}
    viewer.layers.selection.active = left
    viewer.layers.selection.add(right)
    assert trigger()
    qtbot.waitUntil(lambda: len(viewer.layers) == 4, timeout=20_000)
    assert [layer.name for layer in viewer.layers] == ["left", "left - linear", "right", "right - linear"]
    fixed = 0 if viewer.layers.selection.active in (left, None) else 1
    expected = nx.match_overlaps([left, right], fixed=fixed)
    for result, layer in zip((viewer.layers[1], viewer.layers[3]), expected, strict=True):
        np.testing.assert_array_equal(result.data, layer.data)
        assert tuple(result.contrast_limits) == ((0, 1500), (0, 900))[fixed]
    assert tuple(right.contrast_limits) == (0, 900)
    assert nx.Recipe.of(viewer.layers[3]).steps[0].factor == pytest.approx(1 / 1.4 if fixed == 0 else 1, rel=0.01)


def test_what_does_not_fit_is_told(qtbot, viewer, tiles, trigger, messages):
    left, right = tiles
    right.translate = (0, 0, 500)
    viewer.layers.selection = {left, right}
    trigger()
    qtbot.waitUntil(lambda: any("does not overlap with" in text for text in messages()), timeout=20_000)
    right.rotate = 10
    trigger()
    assert "'right' is rotated" in messages()[-1]
    assert len(viewer.layers) == 2


def test_cancel_leaves_nothing(qtbot, viewer, tiles, slow):
    from napari_exposure.gui.overlaps import match_selected

    viewer.layers.selection = set(tiles)
    job = match_selected()
    job.cancel()
    qtbot.waitUntil(lambda: job._over, timeout=20_000)
    qtbot.wait(100)
    assert len(viewer.layers) == 2

"""The montage through the menu: asked for, made in a worker, placed above its source."""

import numpy as np
import pytest

import napari_exposure as nx
from napari_exposure.gui import montage
from napari_exposure.gui.montage import MontageDialog, add_montage


@pytest.fixture
def choose(monkeypatch, viewer):
    """Trigger the menu entry, and press OK or Cancel when the dialog has been filled by `fill`."""

    def choose_it(fill=lambda dialog: None, ok=True):
        def answer(dialog):
            fill(dialog)
            return ok

        monkeypatch.setattr(MontageDialog, "exec", answer)
        menu = next(
            action.menu() for action in viewer.window.layers_menu.actions() if action.text().strip("&") == "Visualize"
        )
        menu.aboutToShow.emit()
        next(action for action in menu.actions() if action.text().startswith("Montage of planes")).trigger()

    return choose_it


def test_the_menu_adds_a_montage(qtbot, viewer, choose, volume):
    layer = viewer.add_image(volume, name="nuclei", scale=(2, 1, 1), colormap="magenta")
    choose(ok=False)
    assert len(viewer.layers) == 1

    def fill(dialog):
        # about thirty planes: all of twelve
        assert dialog.parameters() == {"step": 1, "columns": 4, "axis": 0, "level": 0}
        assert "12 planes in 3 × 4" in dialog.facts.value
        dialog["step"].value = 3
        assert dialog.parameters()["columns"] == 2
        dialog["columns"].value = 4
        assert "4 planes in 1 × 4" in dialog.facts.value

    choose(fill)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=10_000)
    _, montage, labels = viewer.layers
    np.testing.assert_array_equal(montage.data, nx.montage(layer, 3, 4).data)
    assert viewer.layers.selection.active == layer
    assert labels.text.values.tolist() == ["z 0", "z 6", "z 12", "z 18"]
    montage.visible = False
    assert not labels.visible
    montage.visible = True
    # deleted together by hand, or the montage alone
    viewer.layers.remove(montage)
    assert list(viewer.layers) == [layer]

    def without(dialog):
        dialog["labels"].value = False

    choose(without)
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=10_000)
    assert viewer.layers[1].name == "nuclei - montage"


def test_montage_and_labels_are_deleted_together(qtbot, viewer, volume):
    layer = viewer.add_image(volume, name="nuclei")
    for deleted in ([1, 2], [1], [0, 1, 2]):
        add_montage(viewer, layer, step=4)
        qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=10_000)
        viewer.layers.selection = {viewer.layers[number] for number in deleted}
        viewer.layers.remove_selected()
        qtbot.wait(50)
        assert list(viewer.layers) == [layer][deleted[0] == 0 :]


def test_what_has_no_planes_is_told(viewer, choose, volume, messages):
    montage_of = "Select an image layer with several planes"
    viewer.add_image(volume[0])
    choose()
    assert montage_of in messages()[-1]
    assert len(viewer.layers) == 1


def test_defaults_follow_axis_and_voxel_size(viewer, volume):
    layer = viewer.add_image(np.zeros((90, 64, 64), np.uint8), scale=(1, 1, 4), axis_labels=tuple("zyx"))
    dialog = MontageDialog(layer, viewer.window._qt_window)
    assert dialog.parameters() == {"step": 3, "columns": 3, "axis": 0, "level": 0}
    dialog["axis"].value = 1
    assert dialog.parameters()["step"] == 3
    assert "22 planes" in dialog.facts.value


def test_of_a_pyramid_a_level_that_can_be_shown(viewer, volume, monkeypatch):
    monkeypatch.setattr(montage, "LONGEST", 150)
    layer = viewer.add_image([volume, volume[:, ::2, ::2]], multiscale=True)
    dialog = MontageDialog(layer, viewer.window._qt_window)
    assert dialog.parameters()["level"] == 1
    assert "of level 1" in dialog.facts.value
    monkeypatch.setattr(montage, "LONGEST", 200)
    large = MontageDialog(viewer.add_image(volume), viewer.window._qt_window)
    assert "Too long" not in large.facts.value
    large["columns"].value = 12
    assert "Too long" in large.facts.value


def test_a_source_that_goes_gets_no_montage(qtbot, viewer, volume):
    layer = viewer.add_image(volume)
    ended = []
    job = add_montage(viewer, layer, step=1)
    job._ended = lambda: ended.append(True)
    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: bool(ended), timeout=10_000)
    assert len(viewer.layers) == 0

"""Files, voxel sizes and recipes in the window, through menu, widget and napari's own saving."""

import json

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication, QMessageBox

import napari_exposure as nx
from gui.driving import choose, finish, type_into
from napari_exposure.gui import open_tiff
from napari_exposure.source import Source

SPACING = (2.0, 0.5, 0.5)


@pytest.fixture
def stack(tmp_path, volume):
    """An ImageJ stack with a voxel size."""
    path = tmp_path / "stack.tif"
    nx.write_tiff(volume, path, spacing=SPACING, unit="um", imagej=True)
    return path


@pytest.fixture
def files(monkeypatch):
    """What the next file dialogs give; the list is to be filled."""
    chosen = []
    for name in ("getOpenFileName", "getSaveFileName"):
        monkeypatch.setattr(f"qtpy.QtWidgets.QFileDialog.{name}", lambda *args: (str(chosen.pop(0)), ""))
    monkeypatch.setattr("qtpy.QtWidgets.QFileDialog.getOpenFileNames", lambda *args: (list(map(str, chosen)), ""))
    return chosen


def test_the_menu_opens_a_stack_with_its_voxel_size(qtbot, viewer, stack, volume, files, tmp_path, messages):
    colours = tmp_path / "two.ome.tif"
    nx.write_tiff(
        np.stack([volume, volume // 2]), colours, axes="czyx", channels=("DAPI", "GFP"), spacing=SPACING, unit="um"
    )
    broken = tmp_path / "broken.tif"
    broken.write_bytes(stack.read_bytes()[:5000])
    bare = tmp_path / "bare.tif"
    tifffile.imwrite(bare, volume)
    files += [stack, colours, broken, bare]
    entries = next(
        action.menu() for action in viewer.window.file_menu.actions() if action.text().strip("&") == "IO Utilities"
    )
    next(action for action in entries.actions() if action.text().startswith("Open TIFF volume")).trigger()
    said = ("broken.tif cannot be read", "bare.tif does not say how large a voxel is")
    qtbot.waitUntil(lambda: all(any(each in text for text in messages()) for each in said), timeout=20_000)
    layers = {layer.name: layer for layer in viewer.layers}
    assert set(layers) == {"stack", "two - DAPI", "two - GFP", "bare"}
    for name in ("stack", "two - DAPI"):
        source = Source.of(layers[name])
        assert (source.spacing, source.unit) == (SPACING, "µm")
        np.testing.assert_array_equal(layers[name].data, volume)
        assert layers[name].axis_labels == tuple("zyx")


def test_what_is_typed_as_voxel_size_changes_the_layer_and_the_tiles(qtbot, viewer, open_widget, volume, messages):
    layer = viewer.add_image(volume, name="nuclei")
    widget = open_widget("Adaptive equalization")
    assert "not known: type it" in widget.header.facts.text()
    viewer.dims.set_current_step(0, 4)
    z, y, x, unit = widget.header.voxel
    assert [box.value for box in (z, y, x)] == ["1", "1", "1"]
    unit.value = "µm"
    for box, text in ((z, "2.5"), (y, "0.25"), (x, "0.2")):
        type_into(box, text)
    assert tuple(layer.scale) == (2.5, 0.25, 0.2)
    assert {str(each) for each in layer.units} == {"micrometer"}
    assert viewer.dims.current_step[0] == 4
    assert "not known" not in widget.header.facts.text()
    # and the other way round
    layer.scale = (3, 1, 1)
    assert [box.value for box in (z, y, x)] == ["3", "1", "1"]
    layer.units = "nm"
    assert unit.value == "nm"
    # what is shown shorter stays as exact as it is, however small
    layer.units = "mm"
    layer.scale = (0.0005, 0.00016123456789, 0.00016123456789)
    assert [box.value for box in (z, y, x)] == ["0.0005", "0.000161235", "0.000161235"]
    type_into(z, "0,0007")
    assert tuple(layer.scale) == (0.0007, 0.00016123456789, 0.00016123456789)
    for text in ("0", "-1", "many", "inf"):
        type_into(y, text)
        assert "along y must be a number above 0" in messages()[-1]
        assert y.value == "0.000161235"
    assert tuple(layer.scale) == (0.0007, 0.00016123456789, 0.00016123456789)


@pytest.mark.parametrize("unit", ["angstrom", "pm", "cm", "dm", "m", "inch", "foot", "parsec", "s", "pixel", "um"])
def test_the_unit_of_a_layer_survives_widgets_and_what_is_typed(viewer, open_widget, volume, unit):
    source = viewer.add_image(volume, scale=(2, 0.5, 0.25), units=(unit,) * 3)
    before = source.units
    widget = open_widget("Gamma")
    # napari asks for the choices whenever a layer comes or goes
    viewer.add_image(volume, name="other")
    viewer.layers.selection.active = source
    viewer.layers.remove("other")
    assert source.units == before
    box = widget.header.voxel[0]
    box.value = "4"
    box.native.editingFinished.emit()
    assert source.units == before
    assert source.scale.tolist() == [4, 0.5, 0.25]


def test_what_is_typed_for_an_axis_in_another_unit_is_in_the_unit_that_is_shown(viewer, open_widget, volume):
    source = viewer.add_image(volume, scale=(2, 500, 0.5), units=("um", "nm", "um"))
    before = source.units
    widget = open_widget("Gamma")
    assert [box.value for box in widget.header.voxel] == ["2", "0.5", "0.5", "µm"]
    widget.header.voxel[1].value = "0.25"
    widget.header.voxel[1].native.editingFinished.emit()
    assert source.units == before
    assert source.scale.tolist() == [2, 250, 0.5]
    # a unit that is chosen holds for all axes
    widget.header.voxel.unit.value = "mm"
    assert [str(each) for each in source.units] == ["millimeter"] * 3


def test_a_size_that_the_file_does_not_say_is_a_question(qtbot, viewer, open_widget, volume, files, tmp_path, messages):
    path = tmp_path / "stack.ome.tif"
    sizes = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(volume, photometric="minisblack", metadata=sizes)
        file.write(volume[:2, :9], photometric="minisblack", metadata={"axes": "ZYX", "Name": "second"})
    open_tiff.add_tiff(viewer, path)
    qtbot.waitUntil(lambda: len(viewer.layers) == 1, timeout=20_000)
    (layer,) = viewer.layers
    assert [str(unit) for unit in layer.units] == ["pixel", "micrometer", "micrometer"]
    said = " ".join(messages())
    assert "does not say how large a voxel is along z" in said
    assert "holds 2 images; this is the first. The others: second" in said
    widget = open_widget("Gamma")
    z, y, x = widget.header.voxel._boxes
    assert [box.value for box in (z, y, x)] == ["?", "0.5", "0.5"]
    assert z.enabled
    # leaving the box as it is says nothing
    z.native.editingFinished.emit()
    assert str(layer.units[0]) == "pixel"
    type_into(z, "2")
    assert tuple(layer.scale) == (2, 0.5, 0.5)
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    assert z.value == "2"


@pytest.mark.parametrize(("answer", "shapes"), [(1, [(2, 9, 8)]), (2, [(2, 9, 8), (3, 7, 6)]), (None, [])])
def test_the_menu_asks_which_image_of_a_file(answer, shapes, qtbot, viewer, files, tmp_path, monkeypatch, messages):
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        for shape in ((3, 7, 6), (2, 9, 8)):
            file.write(np.zeros(shape, np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    asked = []

    def ask(parent, title, words, items, current, editable):
        asked.append(words)
        assert len(items) == 3
        return items[answer or 0], answer is not None

    monkeypatch.setattr(open_tiff.QInputDialog, "getItem", ask)
    files.append(path)
    open_tiff.open_tiff()
    qtbot.waitUntil(lambda: len(asked) == 1 and len(viewer.layers) == len(shapes), timeout=20_000)
    assert "two.ome.tif holds 2 images" in asked[0]
    assert sorted(layer.data.shape for layer in viewer.layers) == shapes
    assert not any("The others" in words for words in messages())


def test_voxel_size_of_planes_time_and_mirrored_axes(viewer, open_widget, volume):
    plane = viewer.add_image(volume[0], name="plane", scale=(-0.5, 0.5), units="um")
    widget = open_widget("Gamma")
    z, y, x, _ = widget.header.voxel
    assert not z.visible
    type_into(y, "0.4")
    assert tuple(plane.scale) == (-0.4, 0.5)
    movie = viewer.add_image(volume[None], name="movie", scale=(5, 2, 1, 1), units=("s", "um", "um", "um"))
    widget.header.layer.value = movie
    assert [box.value for box in (z, y, x)] == ["2", "1", "1"]
    type_into(x, "0.5")
    assert tuple(movie.scale) == (5, 2, 1, 0.5)
    assert [str(each) for each in movie.units] == ["second", *["micrometer"] * 3]
    planes = viewer.add_image(volume, name="planes", scale=(5, 1, 1), units=("s", "um", "um"))
    widget.header.layer.value = planes
    assert not z.enabled
    type_into(x, "0.5")
    assert tuple(planes.scale) == (5, 1, 0.5)
    assert [str(each) for each in planes.units] == ["second", *["micrometer"] * 2]


def test_a_layer_that_napari_opened_gets_the_voxel_size_of_its_file(qtbot, viewer, open_widget, stack, messages):
    (layer,) = viewer.open(stack, plugin="napari")
    assert tuple(layer.scale) == (1, 1, 1)
    widget = open_widget("Adaptive equalization")
    assert "from stack.tif" in widget.header.facts.text()
    middle = viewer.dims.current_step[0]
    widget.header.facts.linkActivated.emit("file")
    assert (tuple(layer.scale), str(layer.units[0])) == (SPACING, "micrometer")
    assert viewer.dims.current_step[0] == middle
    assert "ImageJ spacing" in messages()[-1]
    assert "from stack.tif" not in widget.header.facts.text()
    # a file that does not say
    bare = stack.with_name("bare.tif")
    tifffile.imwrite(bare, layer.data)
    (layer,) = viewer.open(bare, plugin="napari")
    qtbot.waitUntil(lambda: widget.layer == layer)
    widget.header.facts.linkActivated.emit("file")
    assert "does not say how large a voxel is" in messages()[-1]
    bare.unlink()
    widget.header.facts.linkActivated.emit("file")
    assert "still there" in messages()[-1]


def test_napari_saves_with_voxel_size_and_history(viewer, volume, tmp_path, messages):
    nuclei = viewer.add_image(volume, name="nuclei", scale=SPACING, units="um")
    result = viewer.add_layer(nx.adjust_gamma(nuclei, 0.5))
    viewer.layers.selection.active = result
    path = tmp_path / "result.ome.tif"
    assert viewer.layers.save(str(path), selected=True) == [str(path)]
    found = nx.read_tiff(path)
    np.testing.assert_array_equal(found.data, result.data)
    assert (found.scale, found.unit, found.name) == (SPACING, "um", result.name)
    (layer,) = (viewer._add_layer_from_data(*each)[0] for each in found.layers())
    assert nx.Recipe.of(layer) == nx.Recipe.of(result)
    # other names are left to napari
    assert viewer.layers.save(str(tmp_path / "plain.tif"), selected=True)
    with tifffile.TiffFile(tmp_path / "plain.tif") as file:
        assert not file.is_ome


def test_the_recipe_of_a_result_is_copied_saved_shown_and_applied(
    qtbot, viewer, open_widget, volume, files, tmp_path, messages
):
    nuclei = viewer.add_image(volume, name="nuclei", scale=SPACING, units="um")
    widget = open_widget("Adaptive equalization")
    menu = widget.recipe.menu()
    menu.aboutToShow.emit()
    assert [action.isEnabled() for action in menu.actions() if action.text()] == [False, False, False, False, True]
    widget.bar.live.setChecked(False)
    widget["kernel_size"].value = 8.0
    widget.apply()
    finish(qtbot, widget)
    result = viewer.layers[1]

    choose(widget.recipe.menu(), "Copy as Python")
    lines = QApplication.clipboard().text()
    before = list(viewer.layers)
    exec(lines, {"viewer": viewer})
    (again,) = (layer for layer in viewer.layers if layer not in before)
    np.testing.assert_array_equal(again.data, result.data)
    viewer.layers.remove(again)

    files.append(tmp_path / "recipe.json")
    choose(widget.recipe.menu(), "Save recipe …")
    assert json.loads((tmp_path / "recipe.json").read_text())["steps"][0]["kernel_size"] == 8.0

    choose(widget.recipe.menu(), "History")
    (box,) = widget.recipe.findChildren(QMessageBox)
    assert "Adaptive equalization: Tile 8 µm" in box.text()
    box.close()

    other = viewer.add_image(volume[::-1].copy(), name="other", scale=(1, 0.25, 0.25), units="um")
    viewer.layers.selection = {nuclei, other}
    files.append(tmp_path / "recipe.json")
    choose(widget.recipe.menu(), "Apply recipe …")
    finish(qtbot, widget)
    qtbot.waitUntil(lambda: len(viewer.layers) == 5)
    assert [layer.name for layer in viewer.layers][-2:] == ["other", "other - adaptive"]
    np.testing.assert_array_equal(viewer.layers[-1].data, nx.equalize_adapthist(other, 8.0).data)

    # what does not fit in a later step is said before anything is computed, and the other layers get their results
    large = (np.arange(40 * 200 * 200) % 999).reshape(40, 200, 200).astype(np.uint16)
    wide = viewer.add_image(large, name="wide", scale=(99,) * 3, units="um")
    nx.Recipe((nx.PercentileClip(), nx.AdaptiveEqualization(8.0)), "um").save(tmp_path / "two.json")
    viewer.layers.selection = {other, wide}
    files.append(tmp_path / "two.json")
    choose(widget.recipe.menu(), "Apply recipe …")
    finish(qtbot, widget)
    qtbot.waitUntil(lambda: len(viewer.layers) == 7)
    assert "other - clip - adaptive" in viewer.layers
    assert any(text.startswith("Layer 'wide': “Tile: 8.0” makes") for text in messages())

    (tmp_path / "bad.json").write_text('{"napari_exposure_recipe": 1, "unit": null, "steps": [{"kind": "exec"}]}')
    files.append(tmp_path / "bad.json")
    choose(widget.recipe.menu(), "Apply recipe …")
    assert "bad.json" in messages()[-1]
    assert len(viewer.layers) == 7


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (["", ""], ["magenta", "green"]),
        (["", "", ""], ["cyan", "yellow", "magenta"]),
        (["#ff0000", ""], ["#ff0000", "cyan"]),
        (["#00ffff", "", "#ffff00"], ["#00ffff", "magenta", "#ffff00"]),
        ([""] * 8, ["cyan", "yellow", "magenta", "red", "green", "blue", "cyan", "yellow"]),
    ],
)
def test_channels_are_told_apart(said, shown):
    channels = [(np.zeros((2, 2)), {"name": "a", **({"colormap": color} if color else {})}, "image") for color in said]
    found = open_tiff.in_colors(channels)
    assert [options["colormap"] for _, options, _ in found] == shown
    assert {options["blending"] for _, options, _ in found} == {"additive"}
    # one alone is gray, as napari has it
    assert open_tiff.in_colors(channels[-1:]) == channels[-1:]


def test_channels_of_a_file_without_colors_are_seen_at_once(qtbot, viewer, volume, files, tmp_path):
    path = tmp_path / "two.tif"
    tifffile.imwrite(path, np.stack([volume, volume // 2], axis=1), imagej=True, metadata={"axes": "ZCYX"})
    files.append(path)
    open_tiff.open_tiff()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    looks = [(layer.colormap.name, layer.blending) for layer in viewer.layers]
    assert looks == [("magenta", "additive"), ("green", "additive")]

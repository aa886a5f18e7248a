"""The widget of the histogram matching: where the reference comes from, and that it is counted once."""

import numpy as np
import pytest

import napari_exposure as nx
from gui.driving import click
from napari_exposure.gui import reference


@pytest.fixture
def viewer(make_napari_viewer):
    # previews are made in a window that is seen
    return make_napari_viewer(show=True)


@pytest.fixture
def two(viewer, volume):
    """Two images, the first one active."""
    dim = viewer.add_image(volume, name="dim")
    bright = viewer.add_image(3 * volume[:8] + 50, name="bright")
    viewer.layers.selection.active = dim
    return dim, bright


@pytest.fixture
def widget(two, open_widget):
    return open_widget("Histogram matching")


def choose(qtbot, widget, chosen):
    edit = widget["reference"]
    edit.value = chosen
    qtbot.waitUntil(lambda: not edit.counting, timeout=30_000)
    return edit


def apply(qtbot, widget):
    click(widget.bar.apply)
    qtbot.waitUntil(lambda: not widget.running, timeout=30_000)


def names(viewer):
    return [layer.name for layer in viewer.layers]


def test_apply_makes_the_layer_that_the_console_makes(qtbot, viewer, widget, two):
    dim, bright = two
    edit = choose(qtbot, widget, bright)
    assert edit.value == nx.histogram(bright)
    assert "voxels" in edit[1][0].value
    apply(qtbot, widget)
    expected = nx.match_histograms(dim, bright)
    result = viewer.layers["dim - matched"]
    np.testing.assert_array_equal(result.data, expected.data)
    assert result.contrast_limits == expected.contrast_limits
    record, other = (layer.metadata["napari_exposure"]["steps"] for layer in (result, expected))
    assert record == other


def test_without_a_reference_nothing_is_made(qtbot, viewer, widget, messages):
    widget.apply()
    assert not widget.running
    assert any("choose a reference" in message for message in messages())
    assert names(viewer) == ["dim", "bright"]


def test_the_preview_shows_the_match(qtbot, viewer, widget, two):
    dim, bright = two
    qtbot.waitUntil(lambda: "choose a reference" in widget.bar.state.said(), timeout=10_000)
    choose(qtbot, widget, bright)
    qtbot.waitUntil(lambda: "dim - exposure" in names(viewer), timeout=10_000)
    preview = viewer.layers["dim - exposure"]
    np.testing.assert_array_equal(preview.data[3], nx.match_histograms(dim, bright).data[3])


def test_a_reference_is_counted_once(qtbot, viewer, widget, two, monkeypatch):
    counts = []
    count = reference.Source.histogram

    def counted(self, *args, **options):
        counts.append(self.name)
        return count(self, *args, **options)

    monkeypatch.setattr(reference.Source, "histogram", counted)
    dim, bright = two
    other = viewer.add_image(bright.data // 2, name="other")
    viewer.layers.selection.active = dim
    widget.reset_choices()
    for chosen in (bright, other, bright):
        choose(qtbot, widget, chosen)
    widget["output"].value = "float32"
    assert counts == ["bright", "other"]
    # counted otherwise, or other data
    widget["ignore_zeros"].value = True
    qtbot.waitUntil(lambda: not widget["reference"].counting, timeout=10_000)
    bright.data = bright.data + 7
    qtbot.waitUntil(lambda: not widget["reference"].counting, timeout=10_000)
    assert counts == ["bright", "other", "bright", "bright"]
    assert widget["reference"].value.minimum == bright.data.min()


def test_a_file_is_a_reference(qtbot, viewer, widget, two, tmp_path, messages):
    dim, bright = two
    path = nx.histogram(bright).save(tmp_path / "plate.json")
    widget["reference"].load(path)
    assert widget["reference"].value == nx.histogram(bright)
    apply(qtbot, widget)
    np.testing.assert_array_equal(viewer.layers["dim - matched"].data, nx.match_histograms(dim, bright).data)
    path.write_text("{}")
    widget["reference"].load(path)
    assert any("no histogram" in message for message in messages())


def test_what_is_remembered_has_no_reference(qtbot, viewer, two, open_widget):
    widget = open_widget("Histogram matching")
    choose(qtbot, widget, two[1])
    widget["output"].value = "float32"
    apply(qtbot, widget)
    viewer.window.remove_dock_widget("all")
    widget = open_widget("Histogram matching")
    assert widget["output"].value == "float32"
    assert widget["reference"].value is None


def test_the_layer_itself_is_not_offered(qtbot, viewer, widget, two):
    dim, bright = two
    offered = widget["reference"][0]
    # besides the time points of the layer itself
    assert [each for each in offered.choices if not isinstance(each, str)] == [None, bright]
    widget.header.layer.value = bright
    assert [each for each in offered.choices if not isinstance(each, str)] == [None, dim]
    choose(qtbot, widget, dim)
    viewer.layers.remove(dim)
    qtbot.waitUntil(lambda: widget["reference"].value is None, timeout=5_000)

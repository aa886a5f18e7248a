"""What stands in where an old napari lacks something, on every napari."""

from types import SimpleNamespace

import pytest

from napari_exposure.gui import napari_versions
from napari_exposure.gui.napari_versions import _KeptSettings, plugin_settings


def test_napari_finds_what_was_kept_without_its_settings(tmp_path):
    text = '{"adjustment": "Gamma", "gamma": 0.5}'
    kept = _KeptSettings(tmp_path / "napari-exposure.yaml")
    assert kept.widgets.remember
    assert kept.widgets.applied == ""
    kept.widgets.applied = text
    kept.widgets.remember = False
    # the file is where napari 0.9 looks
    assert plugin_settings("napari-exposure").config_path == kept.config_path
    for settings in (_KeptSettings(kept.config_path), plugin_settings("napari-exposure")):
        assert settings.widgets.applied == text
        assert settings.widgets.presets == ""
        assert not settings.widgets.remember


@pytest.mark.parametrize("text", ["", "widgets: 3", "- a list", "{not yaml"])
def test_a_file_of_settings_that_cannot_be_read_is_replaced(tmp_path, text):
    path = tmp_path / "napari-exposure.yaml"
    path.write_text(text)
    assert _KeptSettings(path).widgets.remember
    _KeptSettings(path).widgets.presets = "{}"
    assert _KeptSettings(path).widgets.presets == "{}"


def test_where_napari_keeps_nothing_nothing_is_written():
    settings = _KeptSettings(None)
    settings.widgets.presets = "{}"
    assert settings.widgets.presets == ""


def test_the_parts_of_an_old_viewer_are_found():
    old = SimpleNamespace(grid="grid", camera="camera")
    dims = SimpleNamespace(events=SimpleNamespace())
    assert (napari_versions.grid_of(old), napari_versions.camera_of(old)) == ("grid", "camera")
    assert napari_versions.units_of(dims) is None
    assert napari_versions.units_events(dims) == ()


def test_the_parts_of_the_viewer_that_runs_are_found(viewer):
    assert not napari_versions.grid_of(viewer).enabled
    assert napari_versions.camera_of(viewer).zoom > 0
    assert len(napari_versions.units_events(viewer.dims)) == hasattr(viewer.dims, "units")


def test_layers_that_are_renamed_are_heard_of_where_napari_says_nothing(viewer):
    heard = []
    hear, *emitters = napari_versions.on_renamed(SimpleNamespace(events="all"), lambda: heard.append("renamed"))
    assert emitters == ["all"]
    for kind in ("scale", "name", "visible"):
        hear(SimpleNamespace(type=kind))
    assert heard == ["renamed"]
    # where it does, it is not heard of twice
    assert len(napari_versions.on_renamed(viewer.layers, print)) == 2 - hasattr(viewer.layers.events, "renamed")

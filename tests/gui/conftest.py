"""What the tests with a window share.  They need a display: ./scripts/test gives them one."""

import gc
import time
from types import SimpleNamespace

import numpy as np
import pytest
from napari import settings
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest
from vispy.gloo.glir import GlirProgram

from napari_exposure.core import blocks
from napari_exposure.core import volume as volumes
from napari_exposure.gui import napari_versions
from napari_exposure.gui.exposure import dock


@pytest.fixture(autouse=True, scope="session")
def manifests_are_read_once():
    """Plugins are looked for once: each viewer and each widget does that, and no test changes what is installed."""
    found = list(PluginManifest.discover())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda paths=(): found)
        yield


@pytest.fixture(autouse=True)
def plugin_settings(tmp_path, monkeypatch):
    """Settings of plugins in a folder of their own, for each test: widgets begin with their defaults."""
    own = tmp_path / "settings.yaml"
    if not hasattr(settings, "get_plugin_settings"):
        monkeypatch.setattr(napari_versions, "get_settings", lambda: SimpleNamespace(config_path=own))
        yield
        return
    # as napari's fixture of this name does, but with the installed plugins
    monkeypatch.setattr(settings, "_CFG_PATH", str(own))
    settings._clear_plugin_settings_cache()
    yield
    settings._clear_plugin_settings_cache()


@pytest.fixture(autouse=True)
def collections_are_quick():
    """What was there before a test is not searched for garbage: napari does that with each layer that is removed."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def programs_stay(monkeypatch):
    """OpenGL programs are left to their window: Mesa's software driver crashes where those of two layers go at once."""
    monkeypatch.setattr(GlirProgram, "delete", lambda self: None)


@pytest.fixture(autouse=True)
def nothing_is_rehearsed(monkeypatch):
    """Docks load no kernels ahead: tests that wait until no worker is left would wait for the compiler."""
    monkeypatch.setattr(dock, "get_ready", lambda layer: None)


@pytest.fixture
def volume():
    return np.random.default_rng(0).gamma(2, 300, (12, 40, 48)).astype(np.uint16)


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=False)


@pytest.fixture
def open_widget(viewer):
    """Open a widget of the plugin as `viewer.window.add_plugin_dock_widget` does."""

    def open_it(name):
        return viewer.window.add_plugin_dock_widget("napari-exposure", name)[1]

    return open_it


@pytest.fixture
def slow(monkeypatch):
    """Make every block take 30 ms, and blocks small, so that a job can be caught while it runs."""
    monkeypatch.setattr(blocks, "BLOCK_VOXELS", 40 * 48)
    original = blocks.contiguous_blocks
    small = lambda shape, voxels=40 * 48: original(shape, voxels)  # noqa: E731
    monkeypatch.setattr(blocks, "contiguous_blocks", small)
    read = volumes.Volume.read

    def slowly(self, block):
        time.sleep(0.03)
        return read(self, block)

    monkeypatch.setattr(volumes.Volume, "read", slowly)


@pytest.fixture
def messages():
    """The texts that napari shows as notifications from now on."""
    notification_manager.records.clear()
    return lambda: [record.message for record in notification_manager.records]


@pytest.fixture
def delete_selected(viewer, monkeypatch):
    """Deletes the selected layers as the Delete key does, one of them first.

    napari goes through a set, whose order is another one in each run.
    """

    def delete(first):
        order = sorted(viewer.layers.selection, key=lambda layer: layer != first)
        with monkeypatch.context() as patch:
            selection = type(viewer.layers.selection)
            patch.setattr(selection, "__iter__", lambda self: iter([each for each in order if each in self._set]))
            viewer.layers.remove_selected()

    return delete

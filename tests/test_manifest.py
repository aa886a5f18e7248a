"""The manifest: what it names exists, and stands in the menus where users look."""

from pathlib import Path

import pytest
from npe2 import PluginManifest
from npe2.manifest.utils import import_python_name

TITLES = [
    "Exposure",
    "Gamma",
    "Percentile clipping",
    "Histogram equalization",
    "Histogram matching",
    "Adaptive equalization",
    "Depth correction",
    "Simulated decay",
    "Histogram & CDF",
]


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_distribution("napari-exposure")


def test_every_command_can_be_imported(manifest):
    for command in manifest.contributions.commands:
        assert callable(import_python_name(command.python_name))


def test_each_widget_has_its_menu_entries(manifest):
    menus = manifest.contributions.menus
    titles = {command.id: command.title for command in manifest.contributions.commands}
    assert [widget.display_name for widget in manifest.contributions.widgets] == [*TITLES, "Orthogonal planes"]
    listed = [*TITLES, "Match overlaps of selected layers"]
    assert [titles[item.command] for item in menus["napari_exposure_filter"]] == listed
    (submenu,) = manifest.contributions.submenus
    assert submenu.label == "Exposure"
    assert [item.submenu for item in menus["napari/layers/filter"]] == [submenu.id]
    looks = ["Histogram & CDF", "Orthogonal planes", "Montage of planes..."]
    assert [titles[item.command] for item in menus["napari/layers/visualize"]] == looks


def test_the_manifest_at_the_top_is_the_one_in_the_package():
    root = Path(__file__).parents[1]
    top, inside = root / "napari.yaml", root / "src" / "napari_exposure" / "napari.yaml"
    # a checkout without symlinks holds the link's target as text
    assert top.read_text() in (inside.read_text(), "src/napari_exposure/napari.yaml")

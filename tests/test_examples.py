"""The examples run, and save the pictures that the docs show."""

import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from napari import settings
from PIL import Image

ROOT = Path(__file__).parents[1]

GALLERY = ["cells", "movie", "retina", "slide", "tissue", "tomogram"]
# pictures of files that neither the package nor its extras bring
FETCHED = ["beads", "brain"]


@pytest.fixture
def run(monkeypatch, qapp, tmp_path_factory):
    # as python does for a script
    monkeypatch.syspath_prepend(ROOT / "examples")
    # Widgets begin with their defaults, whatever the user of this machine has applied last.
    monkeypatch.setattr(settings, "_CFG_PATH", str(tmp_path_factory.mktemp("settings") / "settings.yaml"))
    settings._clear_plugin_settings_cache()

    def run_it(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")

    yield run_it
    settings._clear_plugin_settings_cache()


def stale(folder):
    """The pictures in a folder that the docs show otherwise; then run the example with --pictures docs/images."""

    def coarse(path):
        return np.asarray(Image.open(path).convert("L").resize((64, 40)), float)

    pairs = {path.name: (coarse(path), coarse(ROOT / "docs" / "images" / path.name)) for path in folder.iterdir()}
    return [name for name, (made, shown) in pairs.items() if np.abs(made - shown).mean() > 12]


@pytest.mark.parametrize(
    ("example", "pictures"),
    [
        ("adjustments.py", ["gamma.png", "clip.png", "equalize.png", "match.png", "adaptive.png", "depth.png"]),
        ("histogram.py", ["histogram.png", "tile.png"]),
        ("live.py", ["live.png", "live3d.png"]),
        ("stacks.py", ["stacks.png"]),
        ("channels.py", ["channels.png", "mosaic_before.png", "mosaic_after.png"]),
        ("time_series.py", ["time_series.png", "time_strip.png"]),
        ("gallery.py", [f"gallery_{each}.png" for each in GALLERY]),
        ("how_it_works.py", ["how_limit.png", "how_weights.png"]),
    ],
)
def test_an_example_saves_its_pictures(run, tmp_path, example, pictures):
    run(example, "--pictures", tmp_path)
    assert pictures_of(tmp_path) == sorted(pictures)
    assert not stale(tmp_path)


def test_the_gallery_shows_the_lines_that_make_it():
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    lines = re.findall(r"```python\n(.*)\n```", page)
    code = (ROOT / "examples" / "gallery.py").read_text(encoding="utf-8")
    assert len(lines) == len(GALLERY + FETCHED)
    assert not [line for line in lines if line not in code]
    assert set(re.findall(r"images/gallery_(\w+)\.png", page)) == set(GALLERY + FETCHED)


def pictures_of(folder):
    for path in folder.iterdir():
        picture = np.asarray(Image.open(path).convert("RGB"))
        height, width, _ = picture.shape
        # something is drawn in the canvas
        canvas = picture[height // 4 : height * 3 // 4 : 5, width // 3 : width * 2 // 3 : 5].reshape(-1, 3)
        assert width > 800, path.name
        assert len(np.unique(canvas, axis=0)) > 20, path.name
    return sorted(path.name for path in folder.iterdir())


def test_exploring_cells(run, tmp_path, capsys):
    run("explore_cells.py", "--pictures", tmp_path)
    steps = ["clipped", "equalized", "equalized_montage", "gamma_05", "gamma_15", "montage", "original"]
    assert pictures_of(tmp_path) == sorted(f"cells_{name}.png" for name in [*steps, "planes", "planes_3d"])
    assert not stale(tmp_path)
    said = capsys.readouterr().out
    assert "normalized [1.11538462 1.         1.        ]" in said
    # means of the original, and of what was brightened and darkened
    means = {name: float(mean) for name, mean in re.findall(r"^(original|gamma 0.5|gamma 1.5) +(\d+)", said, re.M)}
    assert means["gamma 1.5"] < means["original"] < means["gamma 0.5"]


def test_adaptive_equalization_undoes_a_decay(run, tmp_path, capsys):
    run("adaptive_3d.py", "--quick", "--pictures", tmp_path)
    names = ["comparison", "decay", "tiles", "tiles_3d"]
    assert pictures_of(tmp_path) == sorted(f"adaptive_{name}.png" for name in names)
    found = re.findall(r"^  (.+?) +(0\.\d+)$", capsys.readouterr().out, re.M)
    likeness = {name: float(value) for name, value in found}
    assert likeness["adaptive"] > 0.98
    assert likeness["adaptive"] > likeness["adaptive, scikit-image"] > likeness["global"] > likeness["as they are"]


def test_what_the_console_is_told(make_napari_viewer, tmp_path, monkeypatch, capsys):
    text = (ROOT / "examples" / "console.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```python\n(.*?)^ *```$", text, re.M | re.S)
    assert len(blocks) == len(re.findall(r"^\d+\. ", text, re.M)) > 8
    monkeypatch.chdir(tmp_path)
    viewer = make_napari_viewer()
    names = {"viewer": viewer}
    for block in blocks:
        exec(compile(textwrap.dedent(block), "console.md", "exec"), names)
    assert "Adaptive equalization: Tile 10 µm, Clip limit 0.02" in capsys.readouterr().out
    assert (tmp_path / "nuclei - adaptive.ome.tif").exists()
    assert {"nuclei - gamma", "nuclei - clip", "nuclei - adaptive", "other - adaptive"} <= {
        layer.name for layer in viewer.layers
    }


def test_the_cluster_of_this_machine():
    command = [sys.executable, ROOT / "examples" / "cluster.py", "--size", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "the same values, bit by bit: True" in done.stdout

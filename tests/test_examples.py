"""The examples run, and save the pictures that the docs show."""

import re
import runpy
import subprocess
import sys
import textwrap
from itertools import product
from pathlib import Path

import pytest
from qtpy.QtGui import QImage

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(monkeypatch, qapp):
    # as python does for a script
    monkeypatch.syspath_prepend(ROOT / "examples")

    def run_it(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")

    return run_it


def shades(picture):
    """Of a picture with something in it there are many."""
    return len({picture.pixel(x, y) for x in range(0, picture.width(), 3) for y in range(0, picture.height(), 3)})


@pytest.mark.parametrize(
    ("example", "pictures"),
    [
        ("adjustments.py", ["gamma.png", "clip.png", "equalize.png", "match.png", "adaptive.png", "depth.png"]),
        ("histogram.py", ["histogram.png", "tile.png"]),
        ("live.py", ["live.png", "live3d.png"]),
        ("stacks.py", ["stacks.png"]),
    ],
)
def test_an_example_saves_its_pictures(run, tmp_path, example, pictures):
    run(example, "--pictures", tmp_path)
    for name in pictures:
        picture, shown = QImage(str(tmp_path / name)), QImage(str(ROOT / "docs" / "images" / name))
        assert picture.width() == shown.width() > 1000
        assert shades(picture) > 50


def test_the_figures_of_how_it_works(run, tmp_path):
    run("how_it_works.py", "--pictures", tmp_path)
    for name in ("how_limit.png", "how_weights.png"):
        picture, shown = QImage(str(tmp_path / name)), QImage(str(ROOT / "docs" / "images" / name))
        assert picture.size() == shown.size()
        assert shades(picture) > 50


def pictures_of(folder):
    found = {path.name: QImage(str(path)) for path in folder.iterdir()}
    for name, picture in found.items():
        # something is drawn in the canvas
        width, height = picture.width(), picture.height()
        places = product(range(width // 3, width * 2 // 3, 5), range(height // 4, height * 3 // 4, 5))
        shades = {picture.pixel(x, y) for x, y in places}
        assert width > 800, name
        assert len(shades) > 20, name
    return sorted(found)


def test_exploring_cells(run, tmp_path, capsys):
    run("explore_cells.py", "--pictures", tmp_path)
    steps = ["clipped", "equalized", "equalized_montage", "gamma_05", "gamma_15", "montage", "original"]
    assert pictures_of(tmp_path) == sorted(f"cells_{name}.png" for name in [*steps, "planes", "planes_3d"])
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
    assert "Adaptive equalization: kernel_size=10.0, clip_limit=0.02" in capsys.readouterr().out
    assert (tmp_path / "nuclei - adaptive.ome.tif").exists()
    assert {"nuclei - gamma", "nuclei - clip", "nuclei - adaptive", "other - adaptive"} <= {
        layer.name for layer in viewer.layers
    }


def test_the_cluster_of_this_machine():
    command = [sys.executable, ROOT / "examples" / "cluster.py", "--size", "8"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "the same values, bit by bit: True" in done.stdout

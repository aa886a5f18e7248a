"""The examples run, and save the pictures that the docs show."""

import runpy
import sys
from pathlib import Path

import pytest
from qtpy.QtGui import QImage

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(monkeypatch, qapp):
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
        ("adjustments.py", ["gamma.png", "clip.png", "equalize.png", "adaptive.png", "depth.png"]),
        ("histogram.py", ["histogram.png", "tile.png"]),
        ("live.py", ["live.png", "live3d.png"]),
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

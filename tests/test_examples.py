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


@pytest.mark.parametrize(
    ("example", "pictures"),
    [("histogram.py", ["histogram.png", "tile.png"]), ("live.py", ["live.png", "live3d.png"])],
)
def test_an_example_saves_its_pictures(run, tmp_path, example, pictures):
    run(example, "--pictures", tmp_path)
    for name in pictures:
        picture, shown = QImage(str(tmp_path / name)), QImage(str(ROOT / "docs" / "images" / name))
        assert picture.width() == shown.width() > 1000
        # the plot is in it
        column = int(0.85 * picture.width())
        assert len({picture.pixel(column, y) for y in range(picture.height())}) > 8

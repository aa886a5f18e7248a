"""What the examples share: an option to save pictures, and waiting until napari has drawn."""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

import napari
from PIL import Image
from qtpy.QtWidgets import QApplication


def ask(description: str, folders: Mapping[str, str] = {}, **flags: str) -> argparse.Namespace:
    """What the command line says: `pictures`, a folder that is there then, or None to look at it oneself; and more."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for folder, words in {"pictures": "save the pictures there, and end", **folders}.items():
        parser.add_argument(f"--{folder}", metavar="FOLDER", type=Path, help=words)
    for flag, words in flags.items():
        parser.add_argument(f"--{flag}", action="store_true", help=words)
    options = parser.parse_args()
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
    return options


def wait_for(condition, seconds: float = 60) -> None:
    """Let napari work until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("The example did not come to its end in time.")
        QApplication.processEvents()
        time.sleep(0.005)


class Show:
    """A window, of which pictures are saved if there is a folder for them."""

    def __init__(self, title: str, folder: Path | None, size: tuple[int, int] = (1400, 900)):
        self.viewer = napari.Viewer(title=title)
        self.viewer.window.resize(*size)
        self._folder = folder

    def all(self, angles: tuple[float, float, float] | None = None) -> None:
        """Fit everything into the canvas, in 3D seen from `angles`."""
        # docks that came take their room first
        QApplication.processEvents()
        self.viewer.reset_view()
        if angles is not None:
            camera = self.viewer.scene.camera
            camera.angles = angles
            # corners that turn outwards
            camera.zoom *= 0.87

    def picture(self, name: str, settled=lambda: True) -> None:
        """Save the window as it is when all is drawn."""
        drawn = time.monotonic() + 0.3
        wait_for(lambda: time.monotonic() > drawn and settled())
        if self._folder is not None:
            shot = Image.fromarray(self.viewer.window.screenshot(canvas_only=False, flash=False))
            # a third of the bytes; the palette covers the range of colors, so that thin lines keep theirs
            few = shot.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
            few.save(self._folder / name, optimize=True)
            print(f"picture  {name}")

    def end(self) -> None:
        """Close it if pictures were all that was wanted; else it is the user's."""
        if self._folder is not None:
            # Without layers, no dock begins to count anew while the window closes.
            self.viewer.layers.clear()
            self.viewer.close()
        else:
            napari.run()

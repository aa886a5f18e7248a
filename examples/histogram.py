"""Opens the histogram panel on the nuclei: before and after an equalization, and the tile under the cursor.

python examples/histogram.py                     opens napari
python examples/histogram.py --pictures FOLDER   saves the pictures of docs/histogram.md there, and ends
"""

import argparse
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

import napari_exposure as nx


def wait_for(condition, seconds: float = 60) -> None:
    """Let napari work until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("The example did not come to its end in time.")
        QApplication.processEvents()
        time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", metavar="FOLDER", type=Path)
    options = parser.parse_args()

    viewer = napari.Viewer(title="napari-exposure: histogram")
    viewer.window.resize(1400, 900)
    (nuclei,) = viewer.open_sample("napari-exposure", "nuclei")
    _, panel = viewer.window.add_plugin_dock_widget("napari-exposure", "Histogram & CDF")

    def save(name):
        settled = time.monotonic() + 0.5
        wait_for(lambda: time.monotonic() > settled and not panel.counter.running)
        if options.pictures:
            viewer.window.screenshot(str(options.pictures / name), canvas_only=False, flash=False)

    # before and after, and what the equalization makes of each intensity
    viewer.add_layer(nx.equalize_hist(nuclei))
    wait_for(lambda: panel.model.content.before is not None)
    save("histogram.png")

    # the histogram of one tile, where it is clipped, and the function that follows from it
    viewer.add_layer(nx.equalize_adapthist(nuclei, kernel_size=10.0))
    wait_for(lambda: panel.tile.isEnabled())
    panel.tile.setChecked(True)
    viewer.cursor.position = (8.4, 30.0, 39.0)
    wait_for(lambda: panel.model.tile is not None)
    save("tile.png")
    if options.pictures:
        viewer.close()
    else:
        napari.run()


if __name__ == "__main__":
    main()

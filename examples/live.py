"""Opens the adaptive equalization with its live preview: turn the sliders and watch.

python examples/live.py                     opens napari
python examples/live.py --pictures FOLDER   saves the pictures of docs/live.md there, and ends
"""

import argparse
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication


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

    viewer = napari.Viewer(title="napari-exposure: live preview")
    viewer.window.resize(1400, 900)
    viewer.open_sample("napari-exposure", "nuclei")
    _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", "Adaptive equalization")

    def save(name):
        settled = time.monotonic() + 0.7
        wait_for(lambda: time.monotonic() > settled and "exact" in widget.said.value)
        if options.pictures:
            viewer.window.screenshot(str(options.pictures / name), canvas_only=False, flash=False)

    wait_for(lambda: len(viewer.layers) == 2)
    # the tile under the cursor, and the borders of all
    widget.looks.tiles.value = True
    viewer.cursor.position = (8.4, 22.0, 30.0)
    widget.kernel_size.value = 10.0
    save("live.png")
    # the same in 3D
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (15, 30, 60)
    save("live3d.png")
    if options.pictures:
        viewer.close()
    else:
        napari.run()


if __name__ == "__main__":
    main()

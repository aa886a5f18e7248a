"""Opens each adjustment with its result beside the source, one after the other.

python examples/adjustments.py                     opens napari on the first
python examples/adjustments.py --only Gamma        on one of them
python examples/adjustments.py --pictures FOLDER   saves the pictures of docs/adjustments there, and ends
"""

import argparse
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

# picture: (widget, sample, what is turned)
ADJUSTMENTS = {
    "gamma.png": ("Gamma", "nuclei", {"gamma": 0.5}),
    "clip.png": ("Percentile clipping", "nuclei", {}),
    "equalize.png": ("Histogram equalization", "nuclei", {}),
    "adaptive.png": ("Adaptive equalization", "degraded", {"kernel_size": 10.0, "clip_limit": 0.03}),
    "depth.png": ("Depth correction", "degraded", {"axis": "x"}),
}


def wait_for(condition, seconds: float = 60) -> None:
    """Let napari work until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("The example did not come to its end in time.")
        QApplication.processEvents()
        time.sleep(0.005)


def show(viewer, title: str, sample: str, parameters: dict) -> None:
    """The source on the left, its live preview on the right, the widget docked."""
    viewer.open_sample("napari-exposure", sample)
    _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", title)
    for name, value in parameters.items():
        widget[name].value = value
    wait_for(lambda: "exact" in widget.said.value)
    widget.comparison.beside.value = True
    viewer.reset_view()
    settled = time.monotonic() + 0.7
    wait_for(lambda: time.monotonic() > settled)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    titles = [title for title, *_ in ADJUSTMENTS.values()]
    parser.add_argument("--only", choices=titles)
    parser.add_argument("--pictures", metavar="FOLDER", type=Path)
    options = parser.parse_args()
    for name, what in ADJUSTMENTS.items():
        if (options.only or not options.pictures) and what[0] != (options.only or titles[0]):
            continue
        viewer = napari.Viewer(title=f"napari-exposure: {what[0]}")
        viewer.window.resize(1400, 760)
        show(viewer, *what)
        if options.pictures:
            viewer.window.screenshot(str(options.pictures / name), canvas_only=False, flash=False)
            viewer.close()
    if not options.pictures:
        napari.run()


if __name__ == "__main__":
    main()

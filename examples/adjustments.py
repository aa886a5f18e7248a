"""Opens each adjustment with its live preview beside the source, one after the other.

python examples/adjustments.py                     opens a window for each
python examples/adjustments.py --pictures FOLDER   saves the pictures of docs/adjustments there, and ends
"""

import napari
from showing import Show, ask, wait_for

# picture: (widget, sample, what is turned)
ADJUSTMENTS = {
    "gamma.png": ("Gamma", "nuclei", {"gamma": 0.5}),
    "clip.png": ("Percentile clipping", "nuclei", {}),
    "equalize.png": ("Histogram equalization", "nuclei", {}),
    "match.png": ("Histogram matching", "degraded", {"reference": "nuclei"}),
    "adaptive.png": ("Adaptive equalization", "degraded", {"kernel_size": 10.0, "clip_limit": 0.03}),
    "depth.png": ("Depth correction", "degraded", {"axis": "x"}),
}


def main() -> None:
    pictures = ask(__doc__).pictures
    for name, (title, sample, parameters) in ADJUSTMENTS.items():
        show = Show(f"napari-exposure: {title}", pictures, (1400, 760))
        viewer = show.viewer
        viewer.open_sample("napari-exposure", sample)
        _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", title)
        for parameter, value in parameters.items():
            widget[parameter].value = viewer.layers[value] if parameter == "reference" else value
        wait_for(lambda widget=widget: widget.up_to_date)
        # source on the left, preview on the right
        widget.bar.ways["Side by side"].setChecked(True)
        show.all()
        show.picture(name, lambda widget=widget: widget.up_to_date)
        if pictures:
            viewer.close()
    if not pictures:
        napari.run()


if __name__ == "__main__":
    main()

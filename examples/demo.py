"""Opens a 3D stack in napari with the Exposure dock, and its adaptive equalization beside it.

python examples/demo.py                      the real nuclei of scikit-image's cells3d
python examples/demo.py FILE.tif             a stack of yours
python examples/demo.py --picture demo.png   no display: saves a picture of the window, and ends
"""

import argparse
import time
from pathlib import Path

import napari
from napari.layers import Layer
from qtpy.QtCore import QTimer
from showing import wait_for

from napari_exposure import AdaptiveEqualization
from napari_exposure.core.tiles import tile_grid
from napari_exposure.gui.editors import times
from napari_exposure.io.tiff import read_tiff
from napari_exposure.provenance import METADATA_KEY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", help="a TIFF stack; default: the real nuclei")
    parser.add_argument("--picture", metavar="PNG", help="save a picture of the window there, and end")
    options = parser.parse_args()

    viewer = napari.Viewer(title="napari-exposure demo", show=True)
    viewer.window.resize(1500, 950)
    if options.file:
        try:
            layers = [viewer.add_layer(Layer.create(*each)) for each in read_tiff(options.file).layers()]
        except (OSError, ValueError) as error:
            raise SystemExit(f"demo: {error}") from None
    else:
        layers = viewer.open_sample("napari-exposure", "nuclei")
    source = viewer.layers.selection.active = layers[0]
    _, dock = viewer.window.add_plugin_dock_widget("napari-exposure", "Exposure")
    dock.add_card(AdaptiveEqualization)
    dock.apply()
    wait_for(lambda: not dock.running)
    if len(viewer.layers) == len(layers):
        raise SystemExit("demo: no result was made; see the message above.")
    result = viewer.layers[viewer.layers.index(source) + 1]
    dock.bar.ways["Side by side"].setChecked(True)

    record = result.metadata[METADATA_KEY]
    print(f"volume      {source.name}: {' x '.join(map(str, source.data.shape))} {source.data.dtype}")
    step = record["steps"][-1]
    spacing, unit = step["spacing"], step["unit"]
    grid = tile_grid(source.data.shape[-len(spacing) :], step["kernel_size"], spacing)
    edges = [voxels * size for voxels, size in zip(grid.voxels, spacing, strict=True)]
    print(f"voxel size  {times(spacing)} {unit}")
    print(f"tile        {times(edges)} {unit} = {times(grid.voxels)} voxels, {times(grid.shape)} tiles")
    print(f"time        {record['seconds']} s, kernels loaded or compiled in it")
    if options.picture:
        settle = time.monotonic() + 1
        wait_for(lambda: time.monotonic() > settle and not dock.plot.histogram.counter.running)
        viewer.window.screenshot(options.picture, canvas_only=False)
        print(f"picture     {Path(options.picture).resolve()}")
        QTimer.singleShot(0, viewer.close)
    napari.run()


if __name__ == "__main__":
    main()

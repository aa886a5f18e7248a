"""Explores a 3D image of nuclei: voxel size, orthogonal planes, thirty planes at once, and its exposure adjusted.

python examples/explore_cells.py                 opens napari
python examples/explore_cells.py --pictures FOLDER   saves a picture of each step there, prints the figures, and ends

The nuclei are those of scikit-image's cells3d (Allen Institute for Cell Science), 60 planes; they come with the
extra `samples`.
"""

import numpy as np
from showing import Show, ask, wait_for

import napari_exposure as nx
from napari_exposure.samples import nuclei

# z, y, x in micrometers, as the microscope had it; the file has every fourth row and column
MICROSCOPE = np.array((0.29, 0.065, 0.065))


def main() -> None:
    show = Show("napari-exposure: explore cells", ask(__doc__).pictures)
    viewer, window = show.viewer, show.viewer.window

    # voxel size
    ((volume, options, _),) = nuclei()
    cells = viewer.add_image(volume, **options)
    print(f"volume   {volume.shape} {volume.dtype}, {volume.min()} to {volume.max()}")
    print(f"spacing  microscope {MICROSCOPE} um, here {cells.scale} um, normalized {cells.scale / cells.scale[-1]}")
    np.testing.assert_allclose(cells.scale, MICROSCOPE * (1, 4, 4))
    viewer.dims.set_current_step(0, 32)
    viewer.canvas.overlays["scale_bar"].visible = True

    # three planes through a cell that divides
    dock, planes = window.add_plugin_dock_widget("napari-exposure", "Orthogonal planes")
    wait_for(lambda: planes.voxel)
    planes.go_to({0: 32, 1: 84, 2: 52})
    show.all()
    show.picture("cells_planes.png", lambda: not planes.running)
    # and where they lie in the volume
    viewer.dims.ndisplay = 3
    show.all((12, 30, 55))
    show.picture("cells_planes_3d.png", lambda: not planes.running)
    viewer.dims.ndisplay = 2
    dock.hide()

    def show_montage(layer, name):
        """Every other plane; taken away again, as it lies over the cells."""
        montage = viewer.add_layer(nx.montage(layer, step=2, columns=6))
        labels = viewer.add_layer(nx.label_montage(montage))
        show.all()
        show.picture(name)
        viewer.layers.remove(labels)
        viewer.layers.remove(montage)
        show.all()

    show_montage(cells, "cells_montage.png")

    # each adjustment beside the histogram and the CDF of before and after
    _, panel = window.add_plugin_dock_widget("napari-exposure", "Histogram & CDF")

    def counted():
        # the numbers are written a moment after they are known
        known = [value for _, value in panel.model.rows()]
        return known and not panel.counter.running and all(value in panel.numbers.toPlainText() for value in known)

    viewer.layers.selection.active = cells
    wait_for(counted)
    show.all()
    results = {
        "original": cells,
        "gamma 0.5": nx.adjust_gamma(cells, 0.5),
        "gamma 1.5": nx.adjust_gamma(cells, 1.5),
        "equalized": nx.equalize_hist(cells),
        "clipped": nx.clip_percentiles(cells, 0.5, 99.5),
    }
    print("step        mean    5 %   50 %   95 %")
    for name, layer in results.items():
        found = nx.histogram(layer)
        low, middle, high = (found.percentile(q) for q in (5, 50, 95))
        print(f"{name:9} {found.mean:7.0f} {low:6.0f} {middle:6.0f} {high:6.0f}")
        if layer is not cells:
            layer.name = f"nuclei, {name}"
            viewer.add_layer(layer)
            wait_for(lambda: panel.model.content.before is not None)
        show.picture(f"cells_{name.replace(' ', '_').replace('.', '')}.png", counted)
        layer.visible = layer is cells

    # the price of an equalization: planes that hold nothing show their noise
    show_montage(results["equalized"], "cells_equalized_montage.png")
    viewer.layers.selection.active = results["clipped"]
    results["clipped"].visible = True
    show.end()


if __name__ == "__main__":
    main()

"""Adaptive equalization in 3D evens out what global equalization cannot: nuclei, and the same ones dimmed along x.

python examples/adaptive_3d.py                 opens napari
python examples/adaptive_3d.py --save FOLDER   saves the pictures there, prints the figure of merit, and ends

The comparison is that of scikit-image's example of 3D adaptive equalization, with tiles of a physical size.  The
nuclei come with the extra `samples`; the last figure needs scikit-image, and is left out without it.
"""

import importlib.util

import numpy as np
import pyqtgraph as pg
from napari.layers import Image
from showing import Show, folder_to_save, wait_for

import napari_exposure as nx
from napari_exposure.samples import nuclei

# of the intensity along x
DECAY = 3
# tiles of a fifth of the extent along y and x, and half of that along z
TILES = (2, 5, 5)
CLIP_LIMIT = 0.9


def decay_along_x(columns: int) -> np.ndarray:
    """What is left of the intensity in each column."""
    return np.exp(-DECAY * np.linspace(0, 1, columns))


def degraded(layer: Image) -> Image:
    """A layer whose intensity decays exponentially along x."""
    data = (layer.data * decay_along_x(layer.data.shape[-1])).astype(layer.data.dtype)
    return Image(data, name="degraded", **placement(layer), contrast_limits=layer.contrast_limits)


def placement(layer: Image) -> dict:
    """Where a layer lies, for another one."""
    return {name: getattr(layer, name) for name in ("scale", "units", "axis_labels", "colormap")}


def likeness(one: Image, other: Image) -> float:
    """Correlation of the intensities of two layers."""
    return float(np.corrcoef(one.data.ravel(), other.data.ravel())[0, 1])


def merit(pair: list[Image], globally: list[Image], ours: list[Image], kernel) -> dict[str, float]:
    """How alike original and degraded volume are, before and after."""
    found = {"as they are": likeness(*pair), "global": likeness(*globally), "adaptive": likeness(*ours)}
    if importlib.util.find_spec("skimage") is not None:
        from skimage.exposure import equalize_adapthist

        theirs = [Image(equalize_adapthist(each.data, kernel_size=kernel, clip_limit=CLIP_LIMIT)) for each in pair]
        found["adaptive, scikit-image"] = likeness(*theirs)
    return found


def main() -> None:
    show = Show("napari-exposure: 3D adaptive equalization", folder_to_save(__doc__), (1500, 950))
    viewer, window = show.viewer, show.viewer.window

    # clipped at percentiles 5 and 95, from 0 to 1
    ((volume, options, _),) = nuclei()
    original = nx.clip_percentiles(Image(volume, **options, colormap="gray"), 5, 95, output="float32")
    original.name = "original"
    pair = [original, degraded(original)]
    kernel = [n // tiles for n, tiles in zip(volume.shape, TILES, strict=True)]
    # in micrometres
    kernel_size = [float(n * size) for n, size in zip(kernel, original.scale, strict=True)]
    globally = [nx.equalize_hist(each, output="float32") for each in pair]
    adaptive = [nx.equalize_adapthist(each, kernel_size, CLIP_LIMIT, output="float32") for each in pair]
    print(f"kernel   {kernel} voxels, {' x '.join(f'{edge:.3g}' for edge in kernel_size)} um; clip limit {CLIP_LIMIT}")
    print("likeness of original and degraded volume (correlation)")
    for name, value in merit(pair, globally, adaptive, kernel).items():
        print(f"  {name:24} {value:.3f}")

    # the tiles, drawn by the widget; in 3D the one that is pointed at
    viewer.add_layer(original)
    dock, widget = window.add_plugin_dock_widget("napari-exposure", "Adaptive equalization")
    widget.looks.live.value = False
    widget.kernel_size.value = tuple(kernel_size)
    widget.clip_limit.value = CLIP_LIMIT
    widget.looks.tiles.value = True
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (10, 30, 50)
    viewer.reset_view()
    wait_for(lambda: len(viewer.layers) == 2)
    show.picture("adaptive_tiles.png")
    viewer.dims.ndisplay = 2
    show.picture("adaptive_tiles_2d.png")
    widget.looks.tiles.value = False
    dock.hide()

    # two rows of three: the volumes, equalized globally, equalized adaptively
    wait_for(lambda: len(viewer.layers) == 1)
    viewer.layers.clear()
    rows = zip(("original", "degraded"), pair, globally, adaptive, strict=True)
    for name, before, by_all, by_tile in rows:
        for layer, what in ((before, ""), (by_all, ", global"), (by_tile, ", adaptive")):
            layer.name, layer.rendering = name + what, "mip"
            viewer.add_layer(layer)
            layer.name_overlay.visible = True
    viewer.dims.ndisplay = 3
    viewer.canvas.grid.shape, viewer.canvas.grid.stride = (2, 3), 1
    viewer.canvas.grid.enabled = True
    viewer.reset_view()
    viewer.scene.camera.angles = (0, 30, 60)
    show.picture("adaptive_comparison.png")

    # how the intensity decays, and what of it is left
    plot = pg.PlotWidget(enableMenu=False)
    plot.addLegend(offset=(-10, 10))
    plot.setLabels(bottom="x (µm)", left="mean intensity, degraded : original")
    x = np.arange(volume.shape[-1]) * original.scale[-1]
    curves = {"decay": decay_along_x(len(x))}
    for name, (before, after) in {"global": globally, "adaptive": adaptive}.items():
        curves[name] = after.data.mean((0, 1)) / before.data.mean((0, 1))
    for (name, curve), colour in zip(curves.items(), ("#56b4e9", "#e69f00", "#dc143c"), strict=True):
        plot.plot(x, curve, name=name, pen=pg.mkPen(colour, width=2))
    plot.setYRange(0, 1.1)
    window.add_dock_widget(plot, name="Decay along x", area="bottom")
    plot.setMinimumHeight(240)
    show.picture("adaptive_decay.png")
    show.end()


if __name__ == "__main__":
    main()

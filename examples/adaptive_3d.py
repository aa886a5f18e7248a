"""Adaptive equalization in 3D evens out what global equalization cannot: nuclei, and the same ones dimmed along x.

python examples/adaptive_3d.py                 opens napari
python examples/adaptive_3d.py --pictures FOLDER   saves the pictures there, prints the figure of merit, and ends
python examples/adaptive_3d.py --quick         of every other row and column, where 3D is slow

The comparison is that of scikit-image's example of 3D adaptive equalization, with tiles of a physical size.  The
nuclei come with the extra `samples`; the last figure needs scikit-image, and is left out without it.
"""

import importlib.util

import numpy as np
import pyqtgraph as pg
from napari.layers import Image
from napari.utils import Colormap
from napari.utils.theme import get_theme
from showing import Show, ask, wait_for

import napari_exposure as nx
from napari_exposure.samples import nuclei

# of the intensity along x
DECAY = 3
# tiles of a fifth of the extent along y and x, and half of that along z
TILES = (2, 5, 5)
CLIP_LIMIT = 0.9
# of the window
LARGE, SMALL = (1300, 850), (900, 600)
ANGLES = (10, 35, 40)
# how fast what is bright becomes opaque
POWER, OPACITY = 6, 0.25


def decay_along_x(columns: int) -> np.ndarray:
    """What is left of the intensity in each column."""
    return np.exp(-DECAY * np.linspace(0, 1, columns))


def glass() -> Colormap:
    """Blue as glass, and clear where it is dark: one looks through to the nuclei, whatever lies between."""
    level = np.linspace(0, 1, 256)[:, None]
    colors = (1 - level**POWER) * (0.2, 0.45, 1, 0) + level**POWER * (1, 1, 1, OPACITY)
    return Colormap(colors, name="glass")


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
    options = ask(__doc__, quick="of every other row and column, in a small window")
    show = Show("napari-exposure: 3D adaptive equalization", options.pictures, SMALL if options.quick else LARGE)
    viewer, window = show.viewer, show.viewer.window

    # clipped at percentiles 5 and 95, from 0 to 1
    ((volume, placed, _),) = nuclei()
    if options.quick:
        volume = volume[:, ::2, ::2]
        placed["scale"] = np.multiply(placed["scale"], (1, 2, 2))
    original = nx.clip_percentiles(Image(volume, **placed), 5, 95, output="float32")
    original.name = "original"
    pair = [original, nx.degrade(original, DECAY, "x")]
    kernel = [n // tiles for n, tiles in zip(volume.shape, TILES, strict=True)]
    # in micrometers
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
    widget.bar.live.setChecked(False)
    widget["kernel_size"].value = tuple(kernel_size)
    widget["clip_limit"].value = CLIP_LIMIT
    tiles = widget.cards.views[0].extras[0].switch
    tiles.setChecked(True)
    wait_for(lambda: len(viewer.layers) == 2)
    show.all()
    show.picture("adaptive_tiles.png")
    viewer.dims.ndisplay = 3
    show.all(ANGLES)
    show.picture("adaptive_tiles_3d.png")
    viewer.dims.ndisplay = 2
    tiles.setChecked(False)
    dock.hide()

    # two rows of three: the volumes, equalized globally, equalized adaptively
    wait_for(lambda: len(viewer.layers) == 1)
    viewer.layers.clear()
    rows = zip(("original", "degraded"), pair, globally, adaptive, strict=True)
    for name, before, by_all, by_tile in rows:
        for layer, what in ((before, ""), (by_all, ", global"), (by_tile, ", adaptive")):
            layer.name, layer.rendering, layer.colormap = name + what, "translucent", glass()
            viewer.add_layer(layer)
            layer.name_overlay.visible = True
    viewer.dims.ndisplay = 3
    viewer.canvas.grid.shape, viewer.canvas.grid.stride = (2, 3), 1
    viewer.canvas.grid.enabled = True
    show.all(ANGLES)
    show.picture("adaptive_comparison.png")

    # how the intensity decays, and what of it is left
    plot = pg.PlotWidget(enableMenu=False)
    plot.addLegend(offset=(-10, 10))
    plot.setLabels(bottom="x (µm)", left="mean, degraded : original")
    x = np.arange(volume.shape[-1]) * original.scale[-1]
    curves = {"decay": decay_along_x(len(x))}
    for name, (before, after) in {"global": globally, "adaptive": adaptive}.items():
        curves[name] = after.data.mean((0, 1)) / before.data.mean((0, 1))
    for (name, curve), color in zip(curves.items(), ("#56b4e9", "#e69f00", "#dc143c"), strict=True):
        plot.plot(x, curve, name=name, pen=pg.mkPen(color, width=2))
    plot.setYRange(0, 2.2)
    plot.setMinimumHeight(220)
    plot.setBackground(get_theme(viewer.theme).background.as_hex())
    window.add_dock_widget(plot, name="Decay along x", area="bottom")
    show.all(ANGLES)
    show.picture("adaptive_decay.png")
    show.end()


if __name__ == "__main__":
    main()

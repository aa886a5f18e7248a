"""Decay and its correction on layers: levels, recipes, profiles."""

import json

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.source import Origin


@pytest.fixture
def volume():
    bright = np.random.default_rng(1).gamma(4, 200, (24, 40, 44)).astype(np.uint16)
    return core.degrade(bright, 2.0)


def test_there_and_back(volume):
    layer = Image(volume, name="nuclei", scale=(2, 0.5, 0.5), units=("um",) * 3)
    result = nx.correct_decay(nx.degrade(layer, 1.0, "x"), "x")
    assert result.name == "nuclei - degraded - corrected"
    assert np.corrcoef(result.data.ravel(), volume.ravel())[0, 1] > 0.999
    # the data's own scale, not that of the largest gain
    # the scale of the intensities stays
    assert result.contrast_limits == layer.contrast_limits
    first, second = result.metadata["napari_exposure"]["steps"]
    assert (first["adjustment"], first["axis"]) == ("Decay", "x")
    assert second["background"] == 0


def test_every_level_is_corrected_and_any_can_be_fitted(volume):
    levels = [volume, volume.reshape(12, 2, 20, 2, 22, 2).mean(axis=(1, 3, 5)).astype(np.uint16)]
    layer = Image(levels, multiscale=True, name="nuclei")
    result = nx.correct_decay(layer)
    np.testing.assert_array_equal(result.data[0], core.correct_decay(volume))
    for level in result.data:
        ends = np.median(level[0]), np.median(level[-1])
        assert ends[0] == pytest.approx(ends[1], rel=0.1)
    coarse = nx.correct_decay(layer, level=1)
    assert np.corrcoef(coarse.data[0].ravel(), result.data[0].ravel())[0, 1] > 0.99


def test_lazy_layers_stay_lazy(volume):
    result = nx.correct_decay(Image(da.from_array(volume, chunks=(5, 20, 44)), name="nuclei"), background="auto")
    assert isinstance(result.data, da.Array)
    np.testing.assert_array_equal(np.asarray(result.data), core.correct_decay(volume, background="auto"))


def test_profiles_of_layers_and_arrays(volume):
    layer = Image(volume[None], scale=(30, 2.5, 1, 1), units=("s", "um", "um", "um"))
    positions, profile, fitted = nx.decay_profile(layer, percentile=60)
    np.testing.assert_array_equal(positions, 2.5 * np.arange(24))
    np.testing.assert_array_equal(profile, nx.decay_profile(volume, percentile=60)[1])
    mask = Labels((np.arange(volume.size) % 3).reshape(volume.shape) == 0)
    inside = nx.decay_profile(Image(volume), mask=mask)[1]
    np.testing.assert_array_equal(inside, nx.decay_profile(volume, mask=mask.data)[1])
    result = nx.correct_decay(layer, percentile=60)
    np.testing.assert_array_equal(Origin.of(result).transform.fitted, fitted)
    movie = Image(volume, units=("s", "um", "um"), scale=(30, 0.5, 0.5))
    with pytest.raises(ValueError, match="There is no axis 'z'"):
        nx.decay_profile(movie)
    np.testing.assert_array_equal(nx.decay_profile(movie, "x")[0], 0.5 * np.arange(volume.shape[-1]))


def test_what_profiles_do_not_take(volume):
    for layer in (volume, Image(volume)):
        with pytest.raises(TypeError, match="decay_profile has no parameter foo; it has axis, background"):
            nx.decay_profile(layer, "z", foo=1)
    with pytest.raises(TypeError, match="spacing is for arrays"):
        nx.decay_profile(Image(volume), spacing=2)


def test_recipes_hold_them(volume, tmp_path):
    recipe = nx.Recipe((nx.DecayCorrection("z", "smooth", background="auto"), nx.PercentileClip(1, 99)))
    assert nx.Recipe.load(recipe.save(tmp_path / "r.json")) == recipe
    expected = core.clip_percentiles(core.correct_decay(volume, "z", "smooth", background="auto"), 1, 99)
    np.testing.assert_array_equal(recipe.apply(volume), expected)
    np.testing.assert_array_equal(recipe.apply(Image(volume)).data, expected)
    json.dumps(recipe.apply(Image(volume)).metadata["napari_exposure"])
    # the same gains for another volume of this shape, but not for one of other planes
    fitted = recipe.fit(volume)
    np.testing.assert_array_equal(fitted.apply(volume), expected)
    with pytest.raises(ValueError, match="gains are those of the planes that were fitted"):
        fitted.apply(volume[:12])


def test_an_axis_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="Layer 'plane': There is no axis 'z'"):
        nx.correct_decay(Image(np.ones((4, 5), np.uint8), name="plane"))


def test_provenance_says_how(volume, capsys):
    nx.provenance(nx.correct_decay(Image(volume, name="nuclei"), model="plane"))
    assert "Depth correction: Model plane" in capsys.readouterr().out


def test_a_reference_layer_below_a_surface_has_the_voxel_size_of_its_own():
    middle = np.array([5, 34.5, 35.5])[:, None, None, None]
    spacing = (6.0, 1.0, 1.0)
    away = (np.indices((11, 70, 72)) - middle) * np.array(spacing)[:, None, None, None]
    depth = 29 - np.sqrt((away**2).sum(axis=0))
    rng = np.random.default_rng(0)
    dapi, gfp = (
        rng.gamma(8, 20, depth.shape) * np.exp(-power * depth.clip(0) / 20) * (depth > 0) for power in (1.0, 1.5)
    )
    placed = {"scale": spacing, "units": ("um",) * 3}
    found = nx.decay_exponent(
        Image(gfp, **placed), Image(dapi, **placed), "surface", mask=Labels((depth > 0).astype(np.uint8), **placed)
    )
    assert found == nx.decay_exponent(gfp, dapi, "surface", mask=depth > 0, spacing=spacing)
    assert found != nx.decay_exponent(gfp, dapi, "surface", mask=depth > 0)

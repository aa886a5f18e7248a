"""Where an adjustment amplifies, on arrays and on layers."""

import gc

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels

import napari_exposure as nx


@pytest.fixture
def volume():
    rng = np.random.default_rng(0)
    return (rng.gamma(3, 200, (12, 40, 44)) * np.linspace(1, 0.2, 44)).astype(np.float32)


def slope(fitted, volume, step):
    """By small differences in double precision of a float result."""
    rise = fitted.apply(volume + np.float32(step)).astype(float) - fitted.apply(volume - np.float32(step))
    return rise / (2 * step)


def test_gamma_has_the_slope_of_its_formula(volume):
    low, high = float(volume.min()), float(volume.max())
    gains = nx.gain_map(volume, nx.Gamma(0.5).fit(volume))
    place = (volume - low) / (high - low)
    inner = (place > 0.1) & (place < 0.9)
    np.testing.assert_allclose(gains[inner], 0.5 * place[inner] ** -0.5, rtol=0.02)
    assert gains.dtype == np.float32


def test_clipped_voxels_are_marked(volume):
    fitted = nx.PercentileClip(5, 90, in_range="data").fit(volume)
    gains = nx.gain_map(volume, fitted)
    result = fitted.apply(volume)
    np.testing.assert_array_equal(gains == -1, result == 0)
    np.testing.assert_array_equal(gains == -2, result == 1)
    assert (gains == -1).mean() == pytest.approx(0.05, abs=0.01)
    low, high = np.percentile(volume, (5, 90))
    width = high - low
    inner = (volume > low + 0.05 * width) & (volume < high - 0.05 * width)
    np.testing.assert_allclose(gains[inner], 1, rtol=1e-4)


def test_a_chain_has_the_product_of_its_slopes(volume):
    recipe = nx.Recipe((nx.PercentileClip(0, 100, in_range=(0, 4000)), nx.Gamma(2.0), nx.Gamma(0.25)))
    gains = nx.gain_map(volume, recipe.fit(volume))
    place = volume / volume.max()
    middle = (place > 0.2) & (place < 0.9)
    # (x ** 2) ** 0.25
    np.testing.assert_allclose(gains[middle], 0.5 * place[middle] ** -0.5, rtol=0.02)


@pytest.mark.parametrize("adjustment", [nx.AdaptiveEqualization(20.0, 0.05), nx.LocalStretch(20.0)])
def test_tiles_amplify_more_where_it_is_dark(adjustment, volume):
    fitted = adjustment.fit(volume)
    gains = nx.gain_map(volume, fitted)
    fit = fitted.fits[()]
    expected = slope(fitted, volume, (fit.hi - fit.lo) / 64) * (fit.hi - fit.lo)
    inner = (gains >= 0) & (volume > fit.lo + (fit.hi - fit.lo) / 64)
    # The difference quotient of a voxel that lies right at an end of its tile's range spans the kink there.
    assert np.isclose(gains[inner], expected[inner], rtol=1e-3, atol=1e-3).mean() > 0.9995
    dark, bright = (gains[:, :, part][inner[:, :, part]].mean() for part in (slice(34, None), slice(10)))
    assert dark > 1.5 * bright


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
def test_integers(dtype, volume):
    scaled = (volume / volume.max() * 250).astype(dtype)
    gains = nx.gain_map(scaled, nx.Gamma(1.0).fit(scaled))
    assert np.abs(gains[gains >= 0] - 1).max() < 0.2
    assert (gains[scaled == scaled.min()] == -1).all()


@pytest.mark.parametrize(
    "inverting",
    [
        nx.ToneCurve([(0, 1), (1, 0)]),
        nx.Recipe((nx.Gamma(1.0), nx.Rescale(out_range=(1, 0)))),
        nx.Recipe((nx.ToneCurve([(0, 1), (1, 0)]), nx.ToneCurve([(0, 1), (1, 0)]), nx.ToneCurve([(0, 1), (1, 0)]))),
    ],
)
def test_what_inverts_is_not_taken_for_crushed(inverting, volume):
    gains = nx.gain_map(volume, inverting.fit(volume))
    inner = (volume > volume.min()) & (volume < volume.max())
    np.testing.assert_allclose(gains[inner], 1, rtol=1e-3)
    assert gains[volume == volume.max()].item() == -1
    assert gains[volume == volume.min()].item() == -2


@pytest.mark.parametrize("first", [nx.Linear(1.0, 3.0), nx.Fill("median"), nx.Fill("nearest")])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_steps_that_keep_the_scale_have_the_range_of_the_data(first, dtype, volume):
    scaled = (volume / volume.max() * 90).astype(dtype) + np.asarray(10, dtype)
    gains = nx.gain_map(scaled, first.fit(scaled))
    np.testing.assert_allclose(gains[gains >= 0], 1, rtol=1e-3)
    gamma = nx.gain_map(scaled, nx.Gamma(0.5).fit(scaled))
    both = nx.gain_map(scaled, nx.Recipe((first, nx.Gamma(0.5))).fit(scaled))
    np.testing.assert_allclose(both, gamma, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize("value", [7, 100])
def test_a_single_intensity_has_no_slope(dtype, value):
    volume = np.full((3, 8, 9), value, dtype)
    for adjustment in (nx.Gamma(0.5), nx.Linear(), nx.Recipe((nx.Gamma(2.0), nx.ToneCurve()))):
        assert np.isnan(nx.gain_map(volume, adjustment.fit(volume))).all()


def test_blocks_chunks_and_nan_do_not_matter(volume):
    volume[0, 0, :3] = np.nan
    fitted = nx.LocalStretch(15.0).fit(volume)
    whole = nx.gain_map(volume, fitted)
    np.testing.assert_array_equal(np.isnan(whole), np.isnan(volume))
    lazy = nx.gain_map(da.from_array(volume, chunks=(5, 17, 20)), fitted)
    assert isinstance(lazy, da.Array)
    np.testing.assert_array_equal(lazy.compute(), whole)


def test_a_result_has_a_layer_of_gains(volume):
    layer = Image(volume, name="nuclei", scale=(2, 0.5, 0.5), units=("um",) * 3, translate=(1, 2, 3))
    result = nx.stretch_local(layer, 10.0)
    gains = nx.gain_map(result)
    assert gains.name == "nuclei - stretched - gain"
    np.testing.assert_array_equal(gains.scale, layer.scale)
    np.testing.assert_array_equal(gains.translate, layer.translate)
    expected = nx.gain_map(volume, nx.LocalStretch(10.0).fit(volume, spacing=(2, 0.5, 0.5)))
    np.testing.assert_array_equal(gains.data, expected)
    # crushed voxels are blue, saturated ones red, both in places of their own of the colormap
    low, high = gains.contrast_limits
    crushed, saturated, plain = gains.colormap.map((np.array([-1, -2, 0.0]) - low) / (high - low))[:, :3]
    assert crushed[2] > 0.6 > crushed[0]
    assert saturated[0] > 0.6 > saturated[2]
    assert plain.max() < 0.4


def test_every_level_of_a_pyramid(volume):
    levels = [volume, volume[:, ::2, ::2]]
    nuclei = Image(levels, multiscale=True, name="nuclei")
    gains = nx.gain_map(nx.equalize_adapthist(nuclei, 10.0))
    assert [level.shape for level in gains.data] == [level.shape for level in levels]


def test_what_has_no_gains_says_so(volume):
    layer = Image(volume, name="nuclei")
    with pytest.raises(ValueError, match="nuclei"):
        nx.gain_map(layer)
    with pytest.raises(ValueError, match="fitted"):
        nx.gain_map(volume)
    with pytest.raises(TypeError, match="Labels"):
        nx.gain_map(Labels(np.zeros((3, 4), int)))
    result = nx.adjust_gamma(Image(volume, name="gone"), 0.5)
    gc.collect()
    with pytest.raises(ValueError, match="source is gone"):
        nx.gain_map(result)
    colors = np.zeros((4, 5, 3), np.uint8)
    colors[0] = 9
    with pytest.raises(ValueError, match="channels"):
        nx.gain_map(colors, nx.Gamma(0.5).fit(colors, rgb=True))


@pytest.mark.parametrize("which", ["source", "result"])
@pytest.mark.parametrize("adjustment", [nx.Gamma(0.5), nx.AdaptiveEqualization(6)], ids=lambda each: each.short_name)
def test_data_that_were_edited_in_place_are_told(adjustment, which, volume):
    source = Image(volume, name="cells")
    result = nx.Recipe((adjustment,)).apply(source)
    unedited = nx.gain_map(result).data
    (source if which == "source" else result).data[3, 4, 5] += 1
    with pytest.warns(UserWarning, match=f"{result.name!r} does not follow from 'cells' any more"):
        found = nx.gain_map(result).data
    assert (found != unedited).sum() <= 1

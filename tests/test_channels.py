"""Several images at once, such as channels: each with its own fit, or all with one."""

import dataclasses

import dask.array as da
import h5py
import numpy as np
import pytest
from napari.layers import Image

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.core import progress
from napari_exposure.recipe import Recipe

RECIPES = {
    "pointwise": Recipe((nx.PercentileClip(1, 99), nx.Gamma(0.7))),
    "ranks": Recipe(nx.HistogramEqualization(method="rank")),
    "tiles": Recipe((nx.AdaptiveEqualization(8.0, clip_limit=0.02), nx.Gamma(0.7))),
    "noise": Recipe(nx.LocalStretch(8.0, max_gain=nx.NoiseLimit(0.1))),
    "depth": Recipe(nx.DecayCorrection(model="plane", force=True)),
}


@pytest.fixture
def channels():
    rng = np.random.default_rng(0)
    fading = np.linspace(1, 0.5, 12)[:, None, None]
    return [(rng.gamma(2, mean, (12, 30, 32)) * fading).astype(np.uint16) for mean in (300, 100, 900)]


def stacked(channels, recipe):
    """The slow way: channels as an axis in front, which adjustments treat as time points that share a fit."""
    return list(recipe.apply(np.stack(channels)))


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name != "noise"])
def test_one_fit_of_all_is_that_of_the_channels_as_one_array(channels, recipe):
    recipe = RECIPES[recipe]
    expected = stacked(channels, recipe)
    assert not np.array_equal(expected[1], recipe.apply(channels[1]))
    for kind in (list, lambda each: [da.from_array(one, chunks=(5, 30, 10)) for one in each]):
        results = recipe.apply(kind(channels), fit_on="all")
        assert isinstance(results, list)
        for result, one in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result, one)
    fitted = recipe.fit(channels)
    np.testing.assert_array_equal(fitted.apply(channels[2]), expected[2])


def test_the_noise_of_all_is_that_of_each(channels):
    rng = np.random.default_rng(1)
    ramp = np.linspace(100, 2000, 128)
    quiet, loud = (rng.normal(ramp, sigma, (8, 64, 128)).astype(np.float32) for sigma in (5, 20))
    recipe = Recipe(nx.LocalStretch(32.0, max_gain=nx.NoiseLimit(0.05), in_range=(0, 2100)))
    gains = [recipe.fit(each).transforms[0].of_fits("max_gain") for each in (quiet, loud, [quiet, loud])]
    assert gains[1] < gains[2] < gains[0]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("how", ["sum", "max"])
def test_one_fit_of_the_sum_or_the_largest(channels, how, dtype):
    channels = [(each // 8).astype(dtype) for each in channels]
    combine = np.sum if how == "sum" else np.max
    limit = np.iinfo(dtype).max if np.dtype(dtype).kind in "iu" else np.inf
    joint = np.minimum(combine(np.stack(channels).astype(np.float64), axis=0), limit).astype(dtype)
    fitted = RECIPES["pointwise"].fit(joint)
    results = RECIPES["pointwise"].apply(channels, fit_on=how)
    lazy = RECIPES["pointwise"].apply([da.from_array(each, chunks=(5, 30, 10)) for each in channels], fit_on=how)
    for result, late, channel in zip(results, lazy, channels, strict=True):
        np.testing.assert_array_equal(result, fitted.apply(channel))
        assert isinstance(late, da.Array)
        np.testing.assert_array_equal(late.compute(), result)


def test_the_ratio_of_channels_is_kept_where_the_curve_is_a_line_through_zero(channels):
    # at the lowest percentile there is 0, at the highest a third of the sum is still below the top
    channels = [np.minimum(each, 4000) for each in channels]
    for each in channels:
        each[0] = 0
    for how in ("sum", "max"):
        results = Recipe(nx.PercentileClip(0, 100, output="float32")).apply(channels, fit_on=how)
        there = channels[0] > 0
        for other in (1, 2):
            before = channels[other][there] / channels[0][there]
            after = results[other][there].astype(float) / results[0][there]
            np.testing.assert_allclose(after, before, rtol=1e-6)
        alone = Recipe(nx.PercentileClip(0, 100, output="float32")).apply(channels)
        assert not np.allclose(alone[1][there] / alone[0][there], channels[1][there] / channels[0][there], rtol=0.01)


def test_the_fit_of_a_chosen_one(channels):
    fitted = RECIPES["tiles"].fit(channels[1])
    for result, channel in zip(RECIPES["tiles"].apply(channels, fit_on=channels[1]), channels, strict=True):
        np.testing.assert_array_equal(result, fitted.apply(channel))
    for result, channel in zip(RECIPES["tiles"].apply(tuple(channels)), channels, strict=True):
        np.testing.assert_array_equal(result, RECIPES["tiles"].apply(channel))


@pytest.mark.parametrize("fit_on", [None, "all", "sum", "max", "second"])
def test_layers_keep_their_colors(channels, fit_on):
    colors = ("cyan", "magenta", "yellow")
    sizes = {"scale": (2.0, 0.5, 0.5), "units": ("um",) * 3}
    layers = [Image(each, name=color, colormap=color, **sizes) for each, color in zip(channels, colors, strict=True)]
    words = {"second": layers[1]}.get(fit_on, fit_on)
    arrays = {"second": channels[1]}.get(fit_on, fit_on)
    recipe = Recipe((nx.AdaptiveEqualization(8.0), nx.Gamma(0.7)), "um")
    results = recipe.apply(layers, fit_on=words)
    expected = recipe.apply(channels, fit_on=arrays, spacing=(2.0, 0.5, 0.5))
    for layer, color, array in zip(results, colors, expected, strict=True):
        np.testing.assert_array_equal(layer.data, array)
        assert layer.colormap.name == color
        assert layer.name == f"{color} - adaptive - gamma"
        assert Recipe.of(layer) == recipe
    if fit_on in ("all", "sum", "max"):
        assert len({tuple(layer.contrast_limits) for layer in results}) == 1


def test_multiscale_layers_share_a_fit(channels):
    pyramids = [[each, each[:, ::2, ::2]] for each in channels]
    layers = [Image(each, multiscale=True) for each in pyramids]
    for layer, array in zip(RECIPES["tiles"].apply(layers, fit_on="max"), channels, strict=True):
        assert layer.multiscale
        assert layer.data[1].shape == (12, 15, 16)
        fitted = RECIPES["tiles"].fit(np.max(channels, axis=0))
        np.testing.assert_array_equal(layer.data[0], fitted.apply(array))


@pytest.mark.parametrize(
    "step",
    [nx.HistogramEqualization(per="volume", window=3), nx.AdaptiveEqualization(8.0, per="volume", window=3)],
    ids=["global", "tiles"],
)
def test_windows_of_time_points_are_counted_in_all_channels(channels, step):
    movies = [np.stack([each, each // 2, each // 3]) for each in channels]
    spacing = (1.0, 1.0, 1.0)
    fitted = Recipe(step).fit(movies, spacing=spacing)
    # the slow way: the channels side by side along time, each window by itself
    for time, near in enumerate(([0, 1], [0, 1, 2], [1, 2])):
        joint = np.concatenate([each[near] for each in movies])
        alone = Recipe(dataclasses.replace(step, per="dataset", window=1)).fit(joint, spacing=spacing)
        for movie in movies:
            np.testing.assert_array_equal(
                fitted.apply(movie)[time], alone.apply(np.stack([movie[time]] * len(joint)))[0]
            )


def test_movies_of_channels_have_a_fit_for_each_time_point(channels):
    recipe = Recipe(nx.HistogramEqualization(per="volume"))
    movies = [np.stack([each, each // 2, each // 3]) for each in channels]
    results = recipe.apply(movies, fit_on="all")
    for time in range(3):
        expected = stacked([each[time] for each in movies], Recipe(nx.HistogramEqualization()))
        for result, one in zip(results, expected, strict=True):
            np.testing.assert_array_equal(result[time], one)


def test_masks_colors_and_files(channels, tmp_path):
    mask = channels[0] > 200
    expected = list(core.clip_percentiles(np.stack(channels), 1, 99, mask=np.stack([mask] * 3)))
    with h5py.File(tmp_path / "channels.h5", "w") as file:
        stored = [file.create_dataset(f"c{n}", data=each, chunks=(4, 8, 32)) for n, each in enumerate(channels)]
        for how in ("sum", "max"):
            in_file = Recipe(nx.PercentileClip(1, 99)).apply(stored, fit_on=how)
            np.testing.assert_array_equal(in_file, Recipe(nx.PercentileClip(1, 99)).apply(channels, fit_on=how))
    np.testing.assert_array_equal(Recipe(nx.PercentileClip(1, 99)).apply(channels, fit_on="all", mask=mask), expected)
    # of masked arrays each has its own mask
    masked = [np.ma.array(each, mask=each < cut) for each, cut in zip(channels, (100, 200, 300), strict=True)]
    counted = np.stack([~each.mask for each in masked])
    expected = core.clip_percentiles(np.stack(channels), 1, 99, mask=counted)
    results = Recipe(nx.PercentileClip(1, 99)).apply(masked, fit_on="all")
    np.testing.assert_array_equal(np.stack([np.asarray(each) for each in results]), expected)
    colors = [np.stack([each, each // 2, each // 3], axis=-1) for each in channels]
    results = Recipe(nx.Gamma(0.5)).apply(colors, fit_on="all", rgb=True)
    np.testing.assert_array_equal(results, core.adjust_gamma(np.stack(colors), 0.5, rgb=True))


def test_places_that_differ(channels):
    crops = [channels[0], channels[1][:6], channels[2][:, 5:]]
    joint = np.concatenate([each.ravel() for each in crops])[None]
    fitted = RECIPES["pointwise"].fit(joint)
    for result, crop in zip(RECIPES["pointwise"].apply(crops, fit_on="all"), crops, strict=True):
        np.testing.assert_array_equal(result.ravel(), fitted.apply(crop.reshape(1, -1)).ravel())
    with pytest.raises(ValueError, match="Adaptive equalization depends on the place of a voxel"):
        RECIPES["tiles"].apply(crops, fit_on="all")
    with pytest.raises(ValueError, match=r"image 2 has shape \(6, 30, 32\), but image 1 has \(12, 30, 32\)"):
        RECIPES["pointwise"].apply(crops, fit_on="sum")


def test_what_does_not_fit_is_told_before_work(channels):
    layers = [Image(each, name=f"channel {n}") for n, each in enumerate(channels)]
    other = Image(channels[0].astype(np.uint8), name="small")
    heard = []
    with progress.listening(heard.append):
        with pytest.raises(TypeError, match="Layer 'small' has dtype uint8, but Layer 'channel 0' has uint16"):
            RECIPES["pointwise"].apply([*layers, other], fit_on="all")
        with pytest.raises(ValueError, match=r"fit_on must be 'all' .* got 'mean'"):
            RECIPES["pointwise"].apply(layers, fit_on="mean")
        with pytest.raises(ValueError, match="fit_on='sum' is for several images"):
            RECIPES["pointwise"].apply(layers[0], fit_on="sum")
        with pytest.raises(ValueError, match="fit_on='sum' is for several images"):
            RECIPES["pointwise"].apply(channels[0], fit_on="sum")
        with pytest.raises(TypeError, match="one kind"):
            RECIPES["pointwise"].apply([layers[0], channels[1]], fit_on="all")
        with pytest.raises(ValueError, match="fit on each"):
            Recipe(nx.Fill("nearest")).apply(channels, fit_on="all")
    assert not heard


def test_one_progress_that_can_be_stopped(channels):
    seen = []
    with progress.listening(lambda step: seen.append(step.fraction)):
        RECIPES["tiles"].apply(channels, fit_on="all")
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)

    def stop(step):
        if step.fraction > 0.7:
            raise progress.Cancelled

    with pytest.raises(progress.Cancelled), progress.listening(stop):
        RECIPES["tiles"].apply(channels, fit_on="all")


def test_lists_of_numbers_are_arrays():
    numbers = [[0, 5, 10], [2, 4, 8]]
    np.testing.assert_array_equal(Recipe(nx.Gamma(2.0)).apply(numbers), core.adjust_gamma(np.array(numbers), 2.0))

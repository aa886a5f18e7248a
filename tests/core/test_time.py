"""Time: windows that glide, bleaching and flicker, and time points that are matched."""

import dataclasses
import math
import pickle
import warnings

import dask.array as da
import numpy as np
import pytest
import xarray
import zarr
from skimage import exposure

from napari_exposure import Recipe, core
from napari_exposure.core import (
    AdaptiveEqualization,
    Adjustment,
    DecayCorrection,
    Fill,
    Gamma,
    HistogramEqualization,
    HistogramMatching,
    LocalStretch,
    NoiseLimit,
    PercentileClip,
    Percentiles,
    adjust,
    correct_decay,
    decay_profile,
    equalize_adapthist,
    equalize_hist,
    fill,
    histogram,
    match_histograms,
)
from napari_exposure.core.adjustment import adjustments
from napari_exposure.core.axes import gliding_axis, time_axis
from napari_exposure.core.volume import Volume

POINTS, SPACE = 7, (5, 24, 26)
FITTED = [
    HistogramEqualization(),
    HistogramEqualization(64, anchor=True),
    HistogramEqualization(method="rank"),
    AdaptiveEqualization(9.0),
    AdaptiveEqualization(9.0, NoiseLimit(0.05), in_range="data"),
    AdaptiveEqualization(9.0, nbins=1000, in_range="dtype"),
    LocalStretch(9.0),
    PercentileClip(),
    Gamma(0.5, in_range=Percentiles(1, 99)),
]
DTYPES = ("uint8", "int16", "uint16", "uint32", "float32", "float64")


def movie(dtype="uint16", shape=(POINTS, *SPACE), seed=0):
    """A sample that bleaches, with other voxels at each time point."""
    values = np.random.default_rng(seed).gamma(2, 20, shape)
    bleached = values * np.linspace(1, 0.4, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    if np.dtype(dtype).kind == "f":
        return bleached.astype(dtype)
    return np.minimum(bleached * (1 if np.dtype(dtype).itemsize == 1 else 40), np.iinfo(dtype).max).astype(dtype)


def near(at, window, points=POINTS):
    """Where the time points around one lie."""
    return slice(max(0, at - (window - 1) // 2), min(points, at + window // 2 + 1))


def slow(adjustment, volume, window, **options):
    """Each time point by a fit of the concatenation of those around it."""
    alone = dataclasses.replace(adjustment, per="dataset", window=1)
    mask = options.pop("mask", None)
    found = []
    for at in range(len(volume)):
        part = near(at, window, len(volume))
        seen = None if mask is None else mask[part]
        found.append(alone.fit(volume[part], mask=seen, **options).apply(volume[part])[at - part.start])
    return np.stack(found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("adjustment", FITTED, ids=str)
def test_a_window_is_the_fit_of_what_lies_in_it(adjustment, dtype):
    volume = movie(dtype)
    for window in (3, 4):
        glides = dataclasses.replace(adjustment, per="volume", window=window)
        np.testing.assert_array_equal(glides.fit(volume).apply(volume), slow(adjustment, volume, window))


@pytest.mark.parametrize("adjustment", FITTED, ids=str)
def test_channels_do_not_mix(adjustment):
    volume = np.stack([movie(), movie(seed=1) // 3], axis=1)
    glides = dataclasses.replace(adjustment, per="volume", window=3)
    found = glides.fit(volume).apply(volume)
    for channel in range(2):
        np.testing.assert_array_equal(found[:, channel], slow(adjustment, volume[:, channel], 3))


@pytest.mark.parametrize("adjustment", FITTED, ids=str)
def test_masks_zeros_and_colors_glide_too(adjustment):
    volume = movie("uint8")
    mask = np.random.default_rng(3).random(volume.shape) < 0.4
    counted = dataclasses.replace(adjustment, ignore_zeros=True)
    glides = dataclasses.replace(counted, per="volume", window=3)
    np.testing.assert_array_equal(glides.fit(volume, mask=mask).apply(volume), slow(counted, volume, 3, mask=mask))
    colors = np.stack([volume, volume[::-1], volume // 2], axis=-1)
    glides = dataclasses.replace(adjustment, per="volume", window=3)
    np.testing.assert_array_equal(glides.fit(colors, rgb=True).apply(colors), slow(adjustment, colors, 3, rgb=True))


def test_planes_of_a_movie_glide():
    volume = movie(shape=(POINTS, 24, 26))
    found = equalize_hist(volume, per="plane", window=3)
    np.testing.assert_array_equal(found, slow(HistogramEqualization(), volume, 3))
    # an array with the sizes of y and x says that what is left is time
    sized = adjust(AdaptiveEqualization(9.0, per="volume", window=3), volume, spacing=(1, 1))
    np.testing.assert_array_equal(sized, slow(AdaptiveEqualization(9.0), volume, 3, spacing=(1, 1)))


@pytest.mark.parametrize("adjustment", [HistogramEqualization(), AdaptiveEqualization(9.0), PercentileClip()], ids=str)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_windows_do_not_depend_on_chunks(adjustment, dtype):
    volume = movie(dtype)
    glides = dataclasses.replace(adjustment, per="volume", window=3)
    expected = glides.fit(volume).apply(volume)
    for chunks in ((1, 5, 24, 26), (3, 2, 10, 26), (7, 5, 24, 9)):
        lazy = adjust(glides, da.from_array(volume, chunks=chunks))
        assert isinstance(lazy, da.Array)
        np.testing.assert_array_equal(lazy.compute(), expected)
        stored = zarr.array(volume, chunks=chunks)
        np.testing.assert_array_equal(glides.fit(stored).apply(stored), expected)
    blocks = pickle.loads(pickle.dumps(glides.fit(volume)))
    np.testing.assert_array_equal(blocks(volume[4:6, 1:3, 5:9], (4, 1, 5, 0)), expected[4:6, 1:3, 5:9])


def test_a_chain_glides_through_its_steps():
    volume = movie()
    steps = (Gamma(0.7), AdaptiveEqualization(9.0, per="volume", window=5))
    one_by_one = adjust(steps[1], adjust(steps[0], volume))
    np.testing.assert_array_equal(Recipe(steps).apply(volume), one_by_one)
    np.testing.assert_array_equal(Recipe.from_dict(Recipe(steps).to_dict()).apply(volume), one_by_one)


def test_each_time_point_is_counted_once(monkeypatch):
    volume, seen = movie(), []
    read = Volume.read
    monkeypatch.setattr(Volume, "read", lambda self, block: seen.append(self.lead) or read(self, block))
    AdaptiveEqualization(9.0, per="volume", window=5).fit(volume)
    # for the range, and for the tiles
    assert sorted(seen) == sorted(2 * [(at,) for at in range(POINTS)])


def test_empty_time_points_in_a_window():
    volume = movie()
    volume[2:5] = 0
    with pytest.warns(UserWarning, match="1 of 7 volumes have only one intensity"):
        found = equalize_hist(volume, per="volume", window=3, ignore_zeros=True)
    np.testing.assert_array_equal(found[3], 0)
    assert found[1].max() == 65535


@pytest.mark.parametrize(
    ("labels", "axes", "time", "gliding"),
    [
        ((), 2, 0, 0),
        (("t", "z", "y", "x"), 1, 0, 0),
        (("c", "t", "z", "y", "x"), 2, 1, 1),
        (("-5", "-4", "-3", "-2", "-1"), 2, 0, 0),
        (("channel", "Time", "z", "y", "x"), 2, 1, 1),
        (("c", "z", "y", "x"), 1, None, None),
        (("z", "y", "x"), 1, None, 0),
        (("c", "z", "y", "x"), 2, None, 1),
    ],
)
def test_which_axis_is_time(labels, axes, time, gliding):
    assert time_axis(labels, axes) == time
    assert gliding_axis(labels, axes) == gliding


def test_names_say_which_axis_glides():
    volume = np.stack([movie(), movie(seed=1)])
    named = xarray.DataArray(volume, dims=("c", "t", "z", "y", "x"))
    found = equalize_hist(named, per="volume", window=3)
    for channel in range(2):
        np.testing.assert_array_equal(found[channel], slow(HistogramEqualization(), volume[channel], 3))
    with pytest.raises(ValueError, match=r"needs an axis of time .* the image has the axes c, z, y, x"):
        equalize_hist(named[:, 0], per="volume", window=3)


OURS = [cls for cls in adjustments() if cls.__module__.startswith("napari_exposure.")]


@pytest.mark.parametrize("cls", OURS, ids=lambda cls: cls.__name__)
@pytest.mark.filterwarnings("ignore:Depth correction. nothing is corrected")
def test_every_adjustment_has_windows(cls):
    parameters = {**cls.examples(), **({"method": "median"} if cls is Fill else {})}
    adjustment = Adjustment.from_dict({"adjustment": cls.__name__, **parameters})
    volume = movie(shape=(POINTS, 5, 12, 13))
    glides = dataclasses.replace(adjustment, per="volume", window=3)
    np.testing.assert_array_equal(glides.fit(volume).apply(volume), slow(adjustment, volume, 3))


@pytest.mark.parametrize("window", [1, 2, 7, 8, 40, 99])
def test_a_long_window_adds_few_counts(window, monkeypatch):
    movie = np.random.default_rng(0).integers(0, 50, (40, 1, 5, 6)).astype(np.uint8)
    added = []
    add = core.Histogram.__add__
    monkeypatch.setattr(core.Histogram, "__add__", lambda one, other: added.append(1) or add(one, other))
    result = equalize_hist(movie, per="volume", window=window)
    np.testing.assert_array_equal(result, slow(HistogramEqualization(), movie, window))
    # one after the other, a window of 40 alone would take 800 to 1,560 additions
    assert len(added) <= 40 * (2 + 2 * math.log2(window + 1))


def test_what_a_volume_has_alone_is_no_window():
    with pytest.raises(ValueError, match="leave window at 1, or use method='median'"):
        fill(movie(), per="volume", window=3)
    with pytest.raises(ValueError, match="has a surface for each time point"):
        correct_decay(movie(), "surface", per="volume", window=3, mask=np.ones((POINTS, *SPACE), bool))


def test_windows_without_time():
    with pytest.raises(ValueError, match="with it give per='volume', or per='plane'"):
        equalize_hist(movie(), window=3)
    with pytest.raises(ValueError, match="before the 3 axes of space, but the image has 3 axes"):
        equalize_adapthist(movie()[0], per="volume", window=3)
    for wrong in (0, 2.5, "3"):
        with pytest.raises((TypeError, ValueError), match="window must be"):
            HistogramEqualization(per="volume", window=wrong)


# --- bleaching and flicker ------------------------------------------------------------------


def bleached(dtype="uint16", shape=(20, 4, 48, 50), flicker=0.08, background=0, noise=True):
    """A series, the light of each of its time points, and the sample."""
    rng = np.random.default_rng(1)
    points = shape[0]
    light = 0.4 ** (np.arange(points) / (points - 1)) * (1 + flicker * rng.uniform(-1, 1, points))
    sample = rng.gamma(2, 10 if np.dtype(dtype).itemsize == 1 else 400, shape[1:])
    values = sample * light.reshape(-1, *[1] * (len(shape) - 1))
    values = (rng.poisson(values) if noise else values) + background
    if np.dtype(dtype).kind in "iu":
        values = np.minimum(values, np.iinfo(dtype).max)
    return values.astype(dtype), light, sample


SHAPES = [(20, 90, 96), (20, 4, 48, 50), (20, 2, 4, 40, 42)]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", SHAPES, ids=len)
@pytest.mark.parametrize("model", ["exponential", "ratio", "plane", "histogram"])
def test_what_bleached_comes_back(model, shape, dtype):
    volume, light, _ = bleached(dtype, shape, flicker=0.08 * (model != "exponential"))
    transform = DecayCorrection("t", model).fit(volume)
    assert np.corrcoef(1 / transform.gains, light)[0, 1] > 0.999
    found = transform.apply(volume)
    assert found.dtype == volume.dtype
    means = found.reshape(len(found), -1).mean(axis=1, dtype=float)
    # of 8 bits, a level is a twentieth of the mean
    assert np.ptp(means) < (0.06 if dtype == "uint8" else 0.03) * means.mean()
    if model in ("ratio", "histogram"):
        assert transform.gains[0] == 1
        # of floats to the width of a bin
        np.testing.assert_allclose(found[0], volume[0], atol=float(np.ptp(volume)) / 32768 * (dtype == "float32"))
    if model == "plane":
        assert transform.gains.min() == 1


def test_the_ratio_is_that_of_percentiles_above_the_background():
    volume, light, sample = bleached("float64", noise=False, background=100)
    transform = DecayCorrection("t", "ratio", background=100.0).fit(volume)
    medians = np.median(volume.reshape(len(volume), -1), axis=1) - 100
    np.testing.assert_allclose(transform.gains, medians[0] / medians, rtol=1e-12)
    np.testing.assert_allclose(transform.apply(volume), 100 + np.broadcast_to(sample * light[0], volume.shape))


def test_the_histogram_is_that_of_the_first():
    volume, _, _ = bleached("uint16")
    found = correct_decay(volume, "t", "histogram")
    for at in range(len(volume)):
        expected = exposure.match_histograms(volume[at], volume[0])
        np.testing.assert_array_equal(found[at], np.rint(expected))


def test_channels_bleach_apart_or_together():
    one, light, _ = bleached("float32", (20, 4, 48, 50), flicker=0.0, noise=False)
    volume = np.stack([one, np.ones_like(one) * one[:1]], axis=1)
    apart = DecayCorrection("t", "ratio", per="volume").fit(volume)
    assert apart.gains.shape == apart.profile.shape == apart.fitted.shape == (2, 20)
    assert apart.support.shape == (2,)
    np.testing.assert_allclose(apart.gains, [light[0] / light, np.ones(20)], rtol=1e-5)
    np.testing.assert_allclose(apart.apply(volume)[:, 0], volume[:1, 0].repeat(20, axis=0), rtol=1e-5)
    together = DecayCorrection("t", "ratio", force=True).fit(volume)
    assert together.gains.shape == (20,)
    # the order of the axes is that of their names
    turned = xarray.DataArray(np.moveaxis(volume, 1, 0), dims=("c", "t", "z", "y", "x"))
    same = adjust(DecayCorrection("t", "ratio", per="volume"), turned)
    np.testing.assert_array_equal(np.moveaxis(same.values, 0, 1), apart.apply(volume))


@pytest.mark.parametrize("model", ["exponential", "smooth", "plane", "ratio", "histogram"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_series_that_does_not_bleach_stays(model, dtype):
    rng = np.random.default_rng(2)
    sample = rng.gamma(2, 10 if dtype == "uint8" else 400, (8, 60, 60))
    still = np.stack([np.minimum(sample, 255 if dtype == "uint8" else 65535).astype(dtype)] * 12)
    width = float(np.ptp(still)) / 32768
    np.testing.assert_allclose(correct_decay(still, "t", model), still, atol=width * (dtype == "float32"))
    noisy = np.minimum(rng.poisson(still), 255 if dtype == "uint8" else 65535).astype(dtype)
    found = correct_decay(noisy, "t", model)
    assert np.abs(found.astype(float) - noisy).mean() < 0.005 * noisy.mean()
    # brighter objects come, what is dark stays
    share = np.linspace(0.05, 0.6, 12)[:, None, None, None]
    dim, bright = rng.normal(100, 5, noisy.shape), rng.normal(240, 5, noisy.shape)
    coming = np.where(rng.random(noisy.shape) < share, bright, dim).clip(0, 255).astype(dtype)
    with pytest.warns(UserWarning, match="nothing is corrected along t"):
        found = correct_decay(coming, "t", model, percentile=80)
    np.testing.assert_array_equal(found, coming)


@pytest.mark.parametrize("model", ["exponential", "ratio", "histogram"])
def test_corrections_in_time_do_not_depend_on_chunks(model):
    volume, _, _ = bleached("uint16", (12, 2, 3, 30, 32))
    adjustment = DecayCorrection("t", model, per="volume")
    expected = adjustment.fit(volume).apply(volume)
    for chunks in ((1, 1, 3, 30, 32), (5, 2, 2, 11, 32)):
        np.testing.assert_array_equal(adjust(adjustment, da.from_array(volume, chunks=chunks)).compute(), expected)
        np.testing.assert_array_equal(adjust(adjustment, zarr.array(volume, chunks=chunks)), expected)
    transform = pickle.loads(pickle.dumps(adjustment.fit(volume)))
    np.testing.assert_array_equal(transform(volume[3:5, 1:, :2], (3, 1, 0, 0, 0)), expected[3:5, 1:, :2])
    recipe = Recipe((adjustment, HistogramEqualization(per="volume", window=3)))
    stepwise = equalize_hist(expected, per="volume", window=3)
    np.testing.assert_array_equal(Recipe.from_dict(recipe.to_dict()).apply(volume), stepwise)


def test_masks_and_colors_bleach_too():
    volume, light, _ = bleached("uint8", (10, 4, 48, 50))
    colors = np.stack([volume, volume // 2, volume // 3], axis=-1)
    transform = DecayCorrection("t", "ratio").fit(colors, rgb=True)
    assert np.corrcoef(1 / transform.gains, light)[0, 1] > 0.999
    assert transform.apply(colors).shape == colors.shape
    mask = np.zeros(volume.shape, bool)
    mask[:, 1:3, 10:40] = True
    spoiled = np.where(mask, volume, 255)
    assert np.corrcoef(1 / DecayCorrection("t", "ratio").fit(spoiled, mask=mask).gains, light)[0, 1] > 0.998


def test_the_profile_over_time():
    volume, light, _ = bleached("float32", noise=False)
    positions, profile, fitted = decay_profile(volume, "t", model="ratio")
    np.testing.assert_array_equal(positions, np.arange(20))
    np.testing.assert_allclose(profile / profile[0], light / light[0], rtol=1e-5)
    np.testing.assert_allclose(fitted, profile)


def test_no_time():
    with pytest.raises(ValueError, match="There is no axis of time before y and x: the image has 2 axes"):
        correct_decay(np.ones((4, 5), np.uint8), "t")
    with pytest.raises(ValueError, match="the image has the axes z, y, x"):
        adjust(DecayCorrection("t"), movie()[0], spacing=(2, 1, 1))
    with pytest.raises(ValueError, match="'histogram' is for axis='t'"):
        correct_decay(movie()[0], "z", "histogram")
    with pytest.raises(ValueError, match="leave window at 1"):
        correct_decay(movie(), "t", window=3)
    with pytest.raises(ValueError, match="start is plane 6, but there are 7 planes along t"):
        correct_decay(movie(), "t", start=6)


def test_time_points_without_anything_to_count():
    volume = movie().astype(np.float32)
    volume[2] = np.nan
    with pytest.warns(UserWarning, match="1 of 7 time points have only one intensity"):
        match_histograms(volume, "median")
    volume[0] = np.nan
    for way in (match_histograms, lambda each, first: correct_decay(each, "t", "histogram")):
        with pytest.raises(ValueError, match="First time point: There is no finite voxel to count: all are NaN"):
            way(volume, "first")
    with pytest.warns(UserWarning, match="The volume has fewer than two planes"):
        correct_decay(movie(), "t", background=1e6)


# --- time points that are matched -----------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reference", ["first", "median"])
def test_time_points_are_matched(reference, dtype):
    volume = movie(dtype, seed=4)
    medians = [np.median(each) for each in volume]
    at = 0 if reference == "first" else medians.index(np.sort(medians)[POINTS // 2])
    found = match_histograms(volume, reference)
    for each, result in zip(volume, found, strict=True):
        np.testing.assert_array_equal(result, match_histograms(each, histogram(volume[at], 65536)))


def test_channels_are_matched_apart_or_together():
    volume = np.stack([movie(seed=5), movie(seed=6) // 2], axis=1)
    apart = match_histograms(volume, "first", per="volume")
    for channel in range(2):
        np.testing.assert_array_equal(apart[:, channel], match_histograms(volume[:, channel], "first"))
    together = match_histograms(volume, "first")
    for point in range(POINTS):
        np.testing.assert_array_equal(together[point], match_histograms(volume[point], volume[0]))


def test_matched_series_are_lazy_and_recipes():
    volume = movie()
    expected = match_histograms(volume, "median")
    recipe = Recipe((HistogramMatching("median"),))
    np.testing.assert_array_equal(Recipe.from_dict(recipe.to_dict()).apply(volume), expected)
    lazy = match_histograms(da.from_array(volume, chunks=(2, 5, 12, 26)), "median")
    np.testing.assert_array_equal(lazy.compute(), expected)
    assert recipe.steps[0].in_words() == "Reference Median in time"
    with pytest.raises(ValueError, match="Choose a volume of the same axes"):
        recipe.fit(volume).apply(volume[:3])
    with pytest.raises(ValueError, match="reference must be one of 'first', 'median', got 'last'"):
        HistogramMatching("last")


def test_a_lamp_that_flickers_and_a_sample_that_bleaches():
    """What the page on time series says: correct the light, then let the fit glide."""
    volume, _, _ = bleached("uint16", (50, 6, 64, 64), background=100)

    def jump(found):
        means = found.reshape(len(found), -1).mean(axis=1, dtype=float)
        return np.abs(np.diff(means)).mean() / means.mean(), means[-1] / means[0]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        even = correct_decay(volume, "t", "histogram", background=100.0)
    alone = jump(equalize_adapthist(volume, 16.0, per="volume"))[0]
    glides = jump(equalize_adapthist(even, 16.0, per="volume", window=9))
    assert glides[0] < alone / 5
    assert abs(glides[1] - 1) < 0.05

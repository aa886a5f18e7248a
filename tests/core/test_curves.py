"""Logarithm, sigmoid, tone curve and rescaling: against scikit-image and SciPy, and on what these do not take."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator
from skimage import data, exposure, img_as_float

from core import reference
from napari_exposure import Recipe
from napari_exposure.core import (
    Adjustment,
    Gamma,
    Log,
    Percentiles,
    Rescale,
    Sigmoid,
    ToneCurve,
    adjust,
    adjust_curve,
    adjust_log,
    adjust_sigmoid,
    equalize_hist,
    histogram,
    is_low_contrast,
    rescale_intensity,
)
from napari_exposure.core.functions import monotone_cubic
from napari_exposure.core.intensity import luminance
from napari_exposure.core.pointwise import TableFit, sampled

BUMPS = ((0, 0.1), (0.2, 0.1), (0.35, 0.9), (0.7, 0.3), (1, 1))
CURVES = [Log(), Log(0.8, inv=True), Sigmoid(0.4, 7), Sigmoid(0.6, 40, inv=True), ToneCurve(BUMPS)]
every_curve = pytest.mark.parametrize("adjustment", CURVES, ids=str)


def position(volume, in_range="data"):
    """Where intensities lie in an input range."""
    values = volume.astype(np.float64)
    lo, hi = reference.input_range(values[~np.isnan(values)], in_range, volume.dtype)
    return np.clip((values - lo) / (float(hi) - lo), 0, 1), lo, float(hi) - lo


def plain(adjustment, u):
    """The curve of an adjustment in NumPy and SciPy."""
    if isinstance(adjustment, Log):
        return np.minimum(adjustment.gain * (2**u - 1 if adjustment.inv else np.log2(1 + u)), 1)
    if isinstance(adjustment, Sigmoid):
        y = 1 / (1 + np.exp(adjustment.gain * (adjustment.cutoff - u)))
        return 1 - y if adjustment.inv else y
    places, values = np.transpose(adjustment.points)
    return PchipInterpolator(places, values)(np.clip(u, places[0], places[-1]))


# --- the curves ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def camera():
    return img_as_float(data.camera())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("adjust_log", {}),
        ("adjust_log", {"gain": 0.7}),
        ("adjust_log", {"inv": True}),
        ("adjust_log", {"gain": 0.4, "inv": True}),
        ("adjust_sigmoid", {}),
        ("adjust_sigmoid", {"cutoff": 1.0, "gain": 5}),
        ("adjust_sigmoid", {"cutoff": 0, "gain": 10}),
        ("adjust_sigmoid", {"cutoff": 0.3, "gain": 250, "inv": True}),
        ("adjust_sigmoid", {"gain": 0}),
    ],
)
def test_floats_are_those_of_scikit_image(camera, verb, options, dtype):
    image = camera.astype(dtype)
    found = {"adjust_log": adjust_log, "adjust_sigmoid": adjust_sigmoid}[verb](image, in_range="dtype", **options)
    expected = getattr(exposure, verb)(image, **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("verb", ["adjust_log", "adjust_sigmoid"])
@pytest.mark.parametrize("inv", [False, True])
def test_integers_are_those_of_scikit_image_but_rounded(verb, inv, dtype):
    volume = reference.make_volume(dtype)
    found = {"adjust_log": adjust_log, "adjust_sigmoid": adjust_sigmoid}[verb](volume, inv=inv, in_range="dtype")
    assert found.dtype == volume.dtype
    exact = plain(Log(inv=inv) if verb == "adjust_log" else Sigmoid(inv=inv), volume / np.iinfo(dtype).max)
    np.testing.assert_allclose(found, np.iinfo(dtype).max * exact, atol=0.51)
    expected = getattr(exposure, verb)(volume, inv=inv).astype(int)
    assert np.isin(found.astype(int) - expected, (0, 1)).all()


@every_curve
@pytest.mark.parametrize("dtype", reference.DTYPES)
@pytest.mark.parametrize("in_range", ["data", (-1.5, 20.25), Percentiles(10, 80)])
def test_any_dtype_keeps_its_range(adjustment, dtype, in_range):
    volume = reference.make_volume(dtype)
    made = type(adjustment)(**{**_parameters(adjustment), "in_range": in_range})
    u, lo, span = position(volume, in_range)
    expected = plain(adjustment, u)
    found = adjust(made, volume)
    assert found.dtype == dtype
    if found.dtype.kind == "f":
        # Half precision has 11 significant bits.
        rounding = 2.0**-11 if found.dtype == np.float16 else 0
        np.testing.assert_allclose(found, lo + span * expected, rtol=rounding, atol=2e-6 * span)
    else:
        info = np.iinfo(dtype)
        results = np.clip(lo + span * expected, info.min, info.max)
        assert np.abs(found - results).max() <= 0.5 + 1e-6 * span
    as_floats = adjust(type(adjustment)(**{**_parameters(made), "output": "float32"}), volume)
    np.testing.assert_allclose(as_floats, expected, atol=1e-6)


def _parameters(adjustment):
    return {name: value for name, value in vars(adjustment).items() if not name.startswith("_")}


def test_a_gain_is_clamped_to_the_range():
    volume = np.array([[0, 50, 100]], np.uint8)
    assert adjust_log(volume, 3.0).tolist() == [[0, 100, 100]]
    # scikit-image lets it overflow
    assert adjust_log(volume.astype(np.float32), 3.0).max() == 100


@every_curve
def test_nan_stays_and_infinities_are_clamped(adjustment):
    volume = np.array([[np.nan, -np.inf, 2, 3, np.inf]], np.float32)
    found = adjust(type(adjustment)(**{**_parameters(adjustment), "output": "float32"}), volume)
    assert np.isnan(found[0, 0])
    ends = plain(adjustment, np.array([0.0, 1.0]))
    np.testing.assert_allclose(found[0, 1:], [ends[0], ends[0], ends[1], ends[1]], atol=1e-6)


@every_curve
def test_blocks_masks_planes_and_colors(adjustment):
    volume = reference.make_volume("float32", (4, 20, 21))
    lazy = adjust(adjustment, da.from_array(volume, chunks=(2, 7, 21)))
    np.testing.assert_array_equal(lazy.compute(), adjust(adjustment, volume))
    mask = volume > 0
    u, lo, span = position(np.where(mask, volume, np.nan))
    inside = adjust(adjustment, volume, mask=mask)
    u = np.clip((volume.astype(np.float64) - lo) / span, 0, 1)
    np.testing.assert_allclose(inside, lo + span * plain(adjustment, u), atol=2e-6 * span)
    planes = adjust(type(adjustment)(**{**_parameters(adjustment), "per": "plane"}), volume)
    np.testing.assert_array_equal(planes[2], adjust(adjustment, volume[2]))
    colors = np.random.default_rng(0).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    value = colors.max(axis=-1)
    np.testing.assert_array_equal(
        adjust(adjustment, colors, rgb=True).max(axis=-1), adjust(type(adjustment)(**_parameters(adjustment)), value)
    )


@every_curve
def test_tables_of_a_chain_are_one_table(adjustment):
    volume = reference.make_volume("uint16")
    recipe = Recipe((Gamma(0.7), adjustment, Rescale((0, 60000), "uint8"), Log()))
    fitted = recipe.fit(volume)
    (joined,) = fitted._joined
    assert isinstance(joined.fits[()], TableFit)
    one_by_one = volume
    for step in recipe.steps:
        one_by_one = adjust(step, one_by_one)
    np.testing.assert_array_equal(fitted.apply(volume), one_by_one)
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_sharp_curves_have_more_knots():
    assert len(sampled(Log()._curve)) < len(sampled(Sigmoid(gain=100)._curve)) < len(sampled(Sigmoid(gain=1e3)._curve))
    places = np.random.default_rng(0).random(10_000)
    for adjustment in CURVES:
        curve = adjustment.curve if isinstance(adjustment, ToneCurve) else adjustment._curve
        knots = sampled(curve)
        found = np.interp(places, np.linspace(0, 1, len(knots)), knots)
        np.testing.assert_allclose(found, plain(adjustment, places), atol=2.5e-7)


# --- the tone curve -----------------------------------------------------------------------


@given(st.data())
def test_cubics_are_those_of_scipy(data):
    n = data.draw(st.integers(2, 9), "points")
    places = np.cumsum(data.draw(st.lists(st.floats(0.01, 5), min_size=n, max_size=n), "steps"))
    values = np.array(data.draw(st.lists(st.floats(-3, 3), min_size=n, max_size=n), "values"))
    at = np.linspace(places[0], places[-1], 50)
    found = monotone_cubic(at, places, values)
    np.testing.assert_allclose(found, PchipInterpolator(places, values)(at), rtol=1e-9, atol=1e-9)
    assert found.min() >= values.min() - 1e-12
    assert found.max() <= values.max() + 1e-12
    assert monotone_cubic(places[0] - 1, places, values) == pytest.approx(values[0], abs=1e-12)
    assert monotone_cubic(places[-1] + 1, places, values) == pytest.approx(values[-1], abs=1e-12)


def test_a_curve_through_two_points():
    volume = reference.make_volume("uint16")
    np.testing.assert_array_equal(adjust_curve(volume), volume)
    inverted = adjust_curve(volume, [(0, 1), (1, 0)])
    np.testing.assert_array_equal(inverted, volume.max() - (volume - volume.min()))
    # level before the first point and behind the last
    levels = adjust_curve(np.arange(101, dtype=np.uint8).reshape(1, 101), [(0.4, 0.2), (0.6, 0.9)])[0]
    assert set(levels[:41]) == {20}
    assert set(levels[60:]) == {90}


def test_ascending_points_change_no_order():
    volume = np.arange(4096, dtype=np.uint16).reshape(1, -1)
    found = adjust_curve(volume, [(0, 0), (0.1, 0.7), (0.11, 0.71), (0.9, 0.72), (1, 1)])
    assert (np.diff(found[0].astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(0, 0)], "two or more pairs"),
        ([(0, 0), (0, 1)], "ascending inputs"),
        ([(0.5, 0), (0.2, 1)], "ascending inputs"),
        ([(0, 0), (5e-324, 1), (1, 1)], "ascending inputs, not closer together"),
        ([(0, 0), (1, 1.5)], r"each number of points must be a finite number in \[0, 1\], got 1.5"),
        ([(0, 0), (1, np.nan)], "each of points must be a finite number, got nan"),
        ([(0, 0), (1, 1, 1)], "each of points must be two numbers"),
        ([0, 1], "each of points must be two numbers"),
        ("line", "points must be pairs"),
        (3, "points must be pairs"),
    ],
)
def test_points_that_are_no_curve(points, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ToneCurve(points)


def test_points_are_kept_as_pairs():
    curve = ToneCurve([[0, 0], [0.5, 0.25], [1, 1]])
    assert curve == ToneCurve(((0.0, 0.0), (0.5, 0.25), (1.0, 1.0)))
    assert hash(curve) == hash(ToneCurve(curve.points))
    assert curve.to_dict()["points"] == [[0.0, 0.0], [0.5, 0.25], [1.0, 1.0]]
    assert Adjustment.from_dict(curve.to_dict()) == curve


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Log(0), "gain must be a finite number greater than 0"),
        (lambda: Log(inv="no"), "inv must be True or False"),
        (lambda: Sigmoid(gain=-1), r"gain must be a finite number in \[0, 1000\]"),
        (lambda: Sigmoid("middle"), "cutoff must be a number"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


# --- rescaling ----------------------------------------------------------------------------

IN_RANGES = ["image", "dtype", (10, 90), (-20.5, 300), "uint8", "uint12", "int16", np.uint8, "float", float]
OUT_RANGES = [
    "dtype", "image", (0, 1), (5, 250), (1, 0), "uint8", "uint10", "uint12", "uint14", "uint16", "int8", "int16",
    "float", "float32", np.uint16, np.float64, np.int32,
]  # fmt: skip


@pytest.mark.parametrize("out_range", OUT_RANGES, ids=str)
@pytest.mark.parametrize("in_range", IN_RANGES, ids=str)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_rescaling_is_that_of_scikit_image(dtype, in_range, out_range):
    volume = reference.make_volume(dtype)
    floats = volume.astype(np.float64)
    # of floats there, so that nothing is truncated
    lo, hi = map(float, exposure.exposure.intensity_range(volume, in_range))
    ends = exposure.exposure.intensity_range(volume, out_range, clip_negative=lo >= 0)
    first, last = map(float, ends)
    expected = (np.clip(floats, lo, hi) - lo) / (hi - lo) * (last - first) + first
    found = rescale_intensity(volume, in_range, out_range)
    with np.errstate(all="ignore"):
        theirs = exposure.rescale_intensity(volume, in_range, out_range)
    assert found.dtype == theirs.dtype
    if theirs.dtype.kind == "f":
        np.testing.assert_allclose(found, theirs, rtol=0, atol=1e-6 * max(1, abs(last - first)))
    else:
        tolerance = 0.5 + 1e-9 * abs(last - first)
        np.testing.assert_allclose(found.astype(float), expected, rtol=0, atol=tolerance)
    unrounded = rescale_intensity(volume, in_range, out_range, output="float32")
    assert unrounded.dtype == np.float32
    np.testing.assert_allclose(unrounded, expected, rtol=0, atol=1e-6 * max(1, abs(last - first)))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
@pytest.mark.parametrize(("value", "expected"), [(130, 127), (50, 50), (5, 10)])
def test_one_intensity_is_clamped(dtype, value, expected):
    volume = np.full((2, 3), value, dtype)
    found = rescale_intensity(volume, out_range=(10, 127))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, exposure.rescale_intensity(volume, out_range=(10, 127)))


def test_rescaling_leaves_nan_out_of_the_range():
    volume = np.array([[np.nan, 1, 2, 3]], np.float32)
    np.testing.assert_array_equal(rescale_intensity(volume), [[np.nan, 0, 0.5, 1]])
    # an integer has no NaN: the lowest value
    assert rescale_intensity(volume, out_range="uint8").tolist() == [[0, 0, 128, 255]]


def test_rescaling_shows_its_own_range():
    volume = reference.make_volume("uint16")
    assert Rescale(out_range=(300, 100)).fit(volume).out_range == (100, 300)
    assert Rescale(out_range="uint12").fit(volume).out_range == (0, 4095)
    assert Rescale(out_range="uint12").result_dtype(np.dtype("uint8")) == np.uint16
    lazy = rescale_intensity(da.from_array(volume, chunks=3), out_range="uint8")
    assert lazy.dtype == np.uint8
    np.testing.assert_array_equal(lazy.compute(), rescale_intensity(volume, out_range="uint8"))


def test_colors_of_another_dtype_keep_hue_and_alpha():
    colors = np.array([[[10, 20, 40, 255], [25, 50, 100, 51]]], np.uint8)
    found = rescale_intensity(colors, (0, 100), "uint16", rgb=True)
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found[0, 1], np.array([0.25, 0.5, 1, 0.2]) * 65535, atol=1)
    np.testing.assert_allclose(found[0, 0], np.array([0.1, 0.2, 0.4, 1]) * 65535, atol=1)


@pytest.mark.parametrize("out_range", ["uint7", "bool", bool, "float16", 5, (1,), ("a", 2), (0, np.inf), None])
def test_ranges_that_are_none(out_range):
    with pytest.raises((TypeError, ValueError), match="out_range"):
        Rescale(out_range=out_range)


def test_names_of_dtypes_are_input_ranges_everywhere():
    assert Gamma(in_range="uint12") == Gamma(in_range=(0, 4095))
    assert Log(in_range=np.int8).in_range == (-128, 127)
    assert Log(in_range="image") == Log()
    with pytest.raises(ValueError, match="in_range must be"):
        Gamma(in_range="uint7")


# --- the histogram's range, and contrast --------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("source_range", ["image", "dtype"])
def test_source_range_of_integers_is_that_of_scikit_image(dtype, source_range):
    volume = reference.make_volume(dtype)
    counts, centers = exposure.histogram(volume, source_range=source_range)
    found = histogram(volume, source_range=source_range)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(found.centers, centers)
    assert found.percentile(37) == histogram(volume).percentile(37)
    assert found.by_value


@pytest.mark.parametrize("source_range", ["image", "dtype"])
def test_source_range_of_floats_is_that_of_scikit_image(camera, source_range):
    counts, centers = exposure.histogram(camera, 77, source_range)
    found = histogram(camera, 77, source_range)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_allclose(found.centers, centers, atol=1e-12)


def test_ranges_of_histograms_that_are_none(camera):
    with pytest.raises(ValueError, match="source_range must be one of 'image', 'dtype', got 'full'"):
        histogram(camera, source_range="full")
    with pytest.raises(ValueError, match="not both"):
        histogram(camera, source_range="dtype", range=(0, 1))
    assert histogram(np.zeros((2, 3), np.uint8), source_range="dtype", ignore_zeros=True).counts.tolist() == [0] * 256


@given(
    st.sampled_from(["uint8", "uint16", "int16", "int32", "float32"]),
    st.floats(0.01, 1),
    st.floats(0, 0.2),
    st.floats(0, 40),
)
def test_low_contrast_is_that_of_scikit_image(dtype, width, threshold, lower):
    values = np.random.default_rng(0).random((5, 9, 10)) * width
    volume = values.astype(dtype) if dtype == "float32" else (values * np.iinfo(dtype).max).astype(dtype)
    options = threshold, lower, 100 - lower
    # scikit-image takes a last axis of 3 or 4 for colors, and only then
    assert is_low_contrast(volume, *options) == exposure.is_low_contrast(volume, *options)


@pytest.mark.parametrize("mask", [np.eye(9, dtype=bool), np.zeros((9, 9), bool), np.ones((9, 9), bool)])
def test_low_contrast_of_masks_is_that_of_scikit_image(mask):
    assert is_low_contrast(mask) == exposure.is_low_contrast(mask)


def test_low_contrast_of_colors():
    colors = (np.random.default_rng(0).integers(80, 120, (30, 40, 3))).astype(np.uint8)
    grey = luminance(colors)
    low, high = np.percentile(grey, (1, 99))
    ratio = (high - low) / 510
    assert is_low_contrast(colors, ratio + 0.002, rgb=True)
    assert not is_low_contrast(colors, ratio - 0.002, rgb=True)
    assert exposure.is_low_contrast(colors, ratio + 0.004)
    assert not exposure.is_low_contrast(colors, ratio - 0.004)
    with pytest.raises(ValueError, match="fraction_threshold"):
        is_low_contrast(colors, 2.0)


# --- an anchored equalization -------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_an_anchor_is_what_opencv_does(dtype):
    volume = reference.make_volume(dtype)
    volume[volume < np.median(volume)] = volume.min()
    values, counts = np.unique(volume, return_counts=True)
    below = np.cumsum(counts) - counts[0]
    heights = below / (volume.size - counts[0])
    info = np.iinfo(dtype)
    low = info.min if volume.min() < 0 else 0
    expected = low + np.rint((info.max - low) * heights[np.searchsorted(values, volume)])
    found = equalize_hist(volume, anchor=True)
    np.testing.assert_allclose(found.astype(float), expected, atol=1)
    assert found.min() == low
    assert found.max() == info.max


def test_an_anchor_keeps_an_empty_background_dark():
    volume = np.zeros((8, 30, 30), np.float32)
    volume[:, :5, :5] = np.random.default_rng(0).random((8, 5, 5)) + 1
    assert equalize_hist(volume).min() > 0.9
    found = equalize_hist(volume, anchor=True)
    assert found.min() == 0
    assert found.max() == 1
    inside = volume > 0
    ranks = np.argsort(np.argsort(volume[inside])) / inside.sum()
    np.testing.assert_allclose(found[inside], ranks, atol=0.03)
    planes = equalize_hist(volume, anchor=True, per="plane")
    for plane, of_plane in zip(planes, volume, strict=True):
        np.testing.assert_array_equal(plane, equalize_hist(of_plane, anchor=True))

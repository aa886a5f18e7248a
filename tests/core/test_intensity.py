import numpy as np
import pytest
from skimage.color import hsv2rgb, rgb2hsv

from core import reference
from napari_exposure.core import (
    AdaptiveEqualization,
    Gamma,
    HistogramEqualization,
    LocalStretch,
    PercentileClip,
    Percentiles,
    adjust,
    adjust_gamma,
    equalize_adapthist,
    histogram,
    percentile,
)
from napari_exposure.core.intensity import luminance

ADJUSTMENTS = [
    Gamma(0.6),
    PercentileClip(2, 95),
    HistogramEqualization(),
    HistogramEqualization(method="rank", per="plane"),
    AdaptiveEqualization(5, per="volume"),
    AdaptiveEqualization((4, 5), per="plane"),
    LocalStretch(5),
    Gamma(0.6, output="float32"),
    AdaptiveEqualization(5, output="float32"),
]


def colour_volume(dtype, channels, shape=(3, 11, 12)):
    rng = np.random.default_rng(2)
    volume = rng.beta(2, 3, (*shape, channels)) * np.linspace(0.1, 1, shape[-1])[:, None]
    # greys, black, one pure colour
    volume[0, 0, :5] = 0.25
    volume[0, 1, :5, :3] = 0
    volume[0, 2, :5, :3] = 0.4, 0, 0
    if np.dtype(dtype).kind == "f":
        return volume.astype(dtype)
    return np.rint(volume * np.iinfo(dtype).max).astype(dtype)


def colour_top(dtype):
    """The greatest intensity of a colour of this dtype."""
    return 1.0 if np.dtype(dtype).kind == "f" else float(np.iinfo(dtype).max)


# --- colour -----------------------------------------------------------------------------


@pytest.mark.parametrize("adjustment", ADJUSTMENTS, ids=lambda adjustment: adjustment.short_name)
@pytest.mark.parametrize(
    ("dtype", "channels"), [("uint8", 3), ("uint8", 4), ("uint16", 4), ("float32", 3), ("float32", 4)]
)
def test_only_the_value_channel_changes(adjustment, dtype, channels):
    volume = colour_volume(dtype, channels)
    result = adjust(adjustment, volume, rgb=True)
    value = adjust(adjustment, volume[..., :3].max(axis=-1))
    assert result.shape == volume.shape
    assert result.dtype == value.dtype
    top_in, top_out = colour_top(dtype), colour_top(result.dtype)
    hsv = rgb2hsv(volume[..., :3].astype(np.float64) / top_in)
    hsv[..., 2] = value / top_out
    rounding = 0.5 / top_out if result.dtype.kind == "u" else 0
    np.testing.assert_allclose(result[..., :3] / top_out, hsv2rgb(hsv), rtol=0, atol=rounding + 1e-6)
    # the value channel itself is exact
    np.testing.assert_allclose(result[..., :3].max(axis=-1), value, rtol=1e-6)
    if channels == 4:
        np.testing.assert_allclose(result[..., 3] / top_out, volume[..., 3] / top_in, rtol=0, atol=1e-7)


def test_one_colour_plane():
    volume = colour_volume("uint8", 3)[1]
    result = equalize_adapthist(volume, 5, rgb=True)
    np.testing.assert_array_equal(result.max(axis=-1), equalize_adapthist(volume.max(axis=-1), 5))


@pytest.mark.parametrize("adjustment", ADJUSTMENTS[:5], ids=lambda adjustment: adjustment.short_name)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_colour_of_the_other_byte_order(adjustment, dtype):
    volume = colour_volume(dtype, 4)
    swapped = volume.astype(volume.dtype.newbyteorder())
    np.testing.assert_array_equal(adjust(adjustment, swapped, rgb=True), adjust(adjustment, volume, rgb=True))


def test_colour_in_many_blocks(request):
    volume = colour_volume("uint8", 4)
    whole = [adjust(adjustment, volume, rgb=True) for adjustment in ADJUSTMENTS]
    request.getfixturevalue("small_blocks")
    for adjustment, expected in zip(ADJUSTMENTS, whole, strict=True):
        np.testing.assert_array_equal(adjust(adjustment, volume, rgb=True), expected)


def test_mask_of_a_colour_volume_has_no_colour_axis():
    volume = colour_volume("uint8", 3)
    mask = np.random.default_rng(0).random(volume.shape[:-1]) < 0.4
    value = volume.max(axis=-1)
    result = equalize_adapthist(volume, 5, mask=mask, rgb=True)
    np.testing.assert_array_equal(result.max(axis=-1), equalize_adapthist(value, 5, mask=mask))
    with pytest.raises(ValueError, match="mask"):
        equalize_adapthist(volume, 5, mask=np.ones(volume.shape), rgb=True)


def test_statistics_of_colour_are_those_of_the_value():
    volume = colour_volume("uint8", 4)
    value = volume[..., :3].max(axis=-1)
    np.testing.assert_array_equal(histogram(volume, rgb=True).counts, histogram(value).counts)
    assert percentile(volume, 40, rgb=True) == percentile(value, 40)


def test_three_channels_are_not_taken_for_colour_by_themselves():
    volume = colour_volume("uint8", 3)
    lo, hi = int(volume.min()), int(volume.max())
    expected = lo + (hi - lo) * ((volume - float(lo)) / (hi - lo)) ** 0.5
    assert np.abs(adjust_gamma(volume, 0.5) - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("shape", [(5, 6, 2), (5, 6, 5), (4, 3), (2, 2, 2, 2, 2, 2, 3)])
def test_wrong_colour_axis(shape):
    with pytest.raises(ValueError, match="rgb=True" if len(shape) < 6 else "axes"):
        adjust_gamma(np.ones(shape, np.uint8), rgb=True)


def test_colour_below_zero_is_refused():
    with pytest.raises(TypeError, match="int16"):
        adjust_gamma(np.ones((5, 6, 3), np.int16), rgb=True)


# --- luminance --------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float16", "float32", "float64"])
def test_luminance_weighs_the_colours(dtype, channels):
    volume = colour_volume(dtype, channels)
    red, green, blue = np.moveaxis(volume[..., :3].astype(np.float64), -1, 0)
    expected = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    found = luminance(volume)
    assert found.shape == volume.shape[:-1]
    assert found.dtype == volume.dtype
    # single precision, and half a level from rounding
    rounding = 0.5 if volume.dtype.kind == "u" else np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=0, atol=rounding + 2e-7 * colour_top(dtype))


def test_luminance_of_pure_colours():
    assert luminance(np.uint8([[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]])).tolist() == [54, 182, 18, 0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_luminance_of_grey_is_the_grey(dtype):
    grey = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    np.testing.assert_array_equal(luminance(np.stack([grey] * 3, axis=-1)), grey)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float16", "float32", "float64"])
def test_luminance_of_white_does_not_overflow(dtype):
    top = (np.finfo if dtype.startswith("f") else np.iinfo)(dtype).max
    found = luminance(np.full((3, 5, 4), top, dtype))
    np.testing.assert_allclose(found.astype(np.float64), float(top), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "float32"])
def test_luminance_of_the_other_byte_order(dtype):
    volume = colour_volume(dtype, 4)
    found = luminance(volume.astype(volume.dtype.newbyteorder()))
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, luminance(volume))


def test_luminance_without_a_number_is_none():
    pixels = np.array([[np.nan, 0, 1, 1], [0, np.inf, 1, 1], [0.5, 0.5, 0.5, np.nan]], np.float32)
    np.testing.assert_allclose(luminance(pixels), [np.nan, np.inf, 0.5])


# --- percentiles as a range -------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(5, 5), (9, 1), (-1, 50), (50, 101), (np.nan, 50), (0, np.nan)])
def test_percentiles_out_of_order(low, high):
    with pytest.raises(ValueError, match="low"):
        Percentiles(low, high)


def test_percentiles_are_equal_by_value():
    assert Percentiles(1, 99) == Percentiles(1.0, 99.0)
    assert hash(Percentiles(1, 99)) == hash(Percentiles(1.0, 99.0))


# --- the range of results ---------------------------------------------------------------


@pytest.mark.parametrize("adjustment", ADJUSTMENTS, ids=lambda adjustment: adjustment.short_name)
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_out_range_holds_all_results(adjustment, dtype):
    volume = reference.make_volume(dtype)
    transform = adjustment.fit(volume)
    low, high = transform.out_range
    result = transform.apply(volume)
    assert low <= result.min() + 1e-6
    assert result.max() <= high + 1e-6
    assert transform.out_dtype == result.dtype
    if adjustment.output == "float32":
        assert (low, high) == (0, 1)
    elif isinstance(adjustment, Gamma):
        assert (low, high) == (volume.min(), volume.max())
    elif dtype == "uint8":
        assert (low, high) == (0, 255)

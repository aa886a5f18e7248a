import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import exposure

from core import reference
from napari_exposure.core import Gamma, Percentiles, adjust_gamma, clip_percentiles, equalize_hist

INTEGERS = tuple(name for name in reference.DTYPES if "int" in name)
FLOATS = tuple(name for name in reference.DTYPES if "float" in name)
OPTIONS = [
    {},
    {"ignore_zeros": True},
    {"in_range": "dtype"},
    {"in_range": Percentiles(10, 80)},
    {"in_range": (-1.5, 20.25)},
    {"mask": np.random.default_rng(7).random((6, 11, 13)) < 0.4},
]


def full_range(dtype, lo):
    """What 0 and 1 become with output="dtype"."""
    if np.dtype(dtype).kind == "f":
        return 0.0, 1.0
    least, most = map(float, reference.ends(dtype))
    return (least if lo < 0 else 0.0), most


def counted_values(volume, mask=None, ignore_zeros=False, **_):
    volume = volume.astype(np.float64)
    return volume[reference.counted_voxels(volume, mask, ignore_zeros)]


def assert_near(result, expected, levels=0.0):
    """Integers: rounded from `expected` or at most `levels` more; floats: to 1e-6 of what they span, or to a digit."""
    span = max(1.0, np.ptp(expected[np.isfinite(expected)]))
    if result.dtype.kind in "iu":
        assert np.abs(result - expected).max() <= 0.5 + levels + 1e-12 * span
    else:
        digit = float(np.finfo(result.dtype).eps)
        np.testing.assert_allclose(result, expected, rtol=0, atol=max(1e-6, digit) * span)


# --- gamma ------------------------------------------------------------------------------


def expected_gamma(volume, gamma, gain=1.0, in_range="data", **counting):
    lo, hi = reference.input_range(counted_values(volume, **counting), in_range, volume.dtype)
    position = np.clip((volume.astype(np.float64) - lo) / (float(hi) - lo), 0, 1)
    return lo + (float(hi) - lo) * np.minimum(gain * position**gamma, 1)


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_gamma_of_every_dtype(dtype):
    volume = reference.make_volume(dtype)
    result = adjust_gamma(volume, 0.6)
    expected = expected_gamma(volume, 0.6)
    assert result.dtype == volume.dtype
    assert_near(result, expected)
    # the ends stay where they are
    assert result[volume == volume.min()].max() == volume.min().astype(result.dtype)
    assert result[volume == volume.max()].min() == volume.max().astype(result.dtype)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", ["int16", "uint32", "float32"])
def test_gamma_options(dtype, options):
    volume = reference.make_volume(dtype)
    assert_near(
        adjust_gamma(volume, 2.2, 1.3, **options),
        np.clip(
            expected_gamma(volume, 2.2, 1.3, **options),
            *((np.iinfo(dtype).min, np.iinfo(dtype).max) if volume.dtype.kind in "iu" else (-np.inf, np.inf)),
        ),
    )


@pytest.mark.parametrize(("gamma", "gain"), [(0.4, 1.0), (1.0, 0.7), (2.5, 0.9)])
def test_gamma_as_scikit_image_has_it(gamma, gain):
    for dtype in ("float64", "float32"):
        volume = np.random.default_rng(0).random((5, 6, 7)).astype(dtype)
        expected = exposure.adjust_gamma(volume.astype(np.float64), gamma, gain)
        np.testing.assert_allclose(adjust_gamma(volume, gamma, gain, in_range="dtype"), expected, rtol=0, atol=1e-6)
    for dtype in ("uint8", "uint16"):
        volume = reference.make_volume(dtype)
        expected = exposure.adjust_gamma(volume, gamma, gain).astype(int)
        # scikit-image truncates 16 bits, and may round a tie of 8 bits the other way
        assert np.abs(adjust_gamma(volume, gamma, gain, in_range="dtype") - expected).max() <= 1


@pytest.mark.parametrize("gamma", [0.01, 0.1, 0.5, 3.0])
@pytest.mark.parametrize("most", [1.0, 3e38, 1e-38])
def test_gamma_of_floats_that_are_tiny_beside_the_range(gamma, most):
    """Their positions lie below the normal numbers of single precision, and a small gamma makes them visible."""
    volume = np.array([[0.0, 1e-45, 1e-42, 1.1e-38, 1.2e-38, 1e-30, 1e-3, 1.0, 3e38]], np.float32)
    volume = np.minimum(volume, np.float32(most))
    expected = (volume.astype(np.float64) / float(volume.max())) ** gamma
    np.testing.assert_allclose(adjust_gamma(volume, gamma, output="float32"), expected, rtol=1e-6, atol=1e-6)


def test_gamma_with_float32_output_is_in_0_to_1():
    volume = reference.make_volume("int16")
    lo, hi = float(volume.min()), float(volume.max())
    result = adjust_gamma(volume, 0.5, output="float32")
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.sqrt((volume - lo) / (hi - lo)), rtol=0, atol=1e-6)


def test_12_bits_stay_12_bits():
    volume = np.random.default_rng(0).integers(100, 4096, (4, 30, 40)).astype(np.uint16)
    volume[0, 0, :2] = 100, 4095
    result = adjust_gamma(volume, 0.5)
    assert (result.min(), result.max()) == (100, 4095)
    assert adjust_gamma(volume, 0.5, gain=50).max() == 4095


@given(st.floats(0.05, 10), st.floats(0.01, 100), st.sampled_from(["uint8", "int16", "float32"]))
def test_gamma_is_monotone_and_keeps_the_range(gamma, gain, dtype):
    volume = np.linspace(-100 if dtype != "uint8" else 0, 100, 402).reshape(2, 201).astype(dtype)
    result = adjust_gamma(volume, gamma, gain).ravel()
    assert (np.diff(result.astype(np.float64)) >= 0).all()
    assert result.min() >= volume.min()
    assert result.max() <= volume.max()


@pytest.mark.parametrize("gamma", [0.05, 0.45, 1.0, 2.2, 10.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_powers_are_right_over_the_whole_range(gamma, dtype):
    # neighbouring floats about 1/2 and its root, where an approximation has its seams, and all magnitudes
    seams = [
        np.arange(bits - 20000, bits + 20000, dtype=np.uint32).view(np.float32) for bits in (0x3F000000, 0x3F3504F3)
    ]
    for values in (*seams, np.linspace(0, 1, 100_001), np.geomspace(2e-38, 1, 100_001)):
        volume = values.astype(dtype)[None]
        result = adjust_gamma(volume, gamma, in_range=(0, 1))
        np.testing.assert_allclose(result, volume.astype(np.float64) ** gamma, rtol=0, atol=1e-6)
        # single precision has steps of 6e-8 below 1; no step back may be seen
        assert np.diff(result.astype(np.float64)).min() > -1.3e-7
    ends = np.array([[0, -0.0, 1, 2, -1, np.inf, -np.inf, np.nan]], dtype)
    np.testing.assert_array_equal(adjust_gamma(ends, gamma, in_range=(0, 1)), [[0, 0, 1, 1, 0, 1, 0, np.nan]])


def test_gamma_1_changes_nothing():
    for dtype in INTEGERS:
        # of 64 bits those that have digits left for what is between them
        volume = reference.make_volume(dtype) // (1 if "64" not in dtype else 1024)
        np.testing.assert_array_equal(adjust_gamma(volume), volume)


def test_gamma_undoes_itself():
    volume = np.random.default_rng(1).random((4, 5, 6), np.float32)
    np.testing.assert_allclose(adjust_gamma(adjust_gamma(volume, 2.0), 0.5), volume, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_gamma_keeps_a_constant(dtype):
    volume = np.full((3, 4, 5), 7, dtype)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = adjust_gamma(volume, 0.5)
    np.testing.assert_array_equal(result, volume)
    # nothing became the lowest value
    assert not [w for w in caught if "lowest" in str(w.message)]


# --- clip -------------------------------------------------------------------------------


def expected_clip(volume, low, high, in_range="data", **counting):
    values = counted_values(volume, **counting)
    lo, hi = np.percentile(values, (low, high))
    if in_range != "data":
        lo, hi = np.clip((lo, hi), *reference.input_range(values, in_range, volume.dtype))
    return exposure.rescale_intensity(
        volume.astype(np.float64), in_range=(lo, hi), out_range=full_range(volume.dtype, lo)
    )


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_clip_of_every_dtype(dtype):
    volume = reference.make_volume(dtype)
    result = clip_percentiles(volume, 2, 97)
    assert result.dtype == volume.dtype
    assert_near(result, expected_clip(volume, 2, 97))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("dtype", ["int16", "uint8", "float32", "int32"])
def test_clip_options(dtype, options):
    volume = reference.make_volume(dtype)
    if options.get("in_range") == (-1.5, 20.25):
        # a range that cuts both percentiles
        volume = (volume // volume.max() * 40).astype(dtype) if dtype != "float32" else volume * 40
        volume.reshape(-1)[:300] = np.arange(300) % 30
    assert_near(clip_percentiles(volume, 2, 97, **options), expected_clip(volume, 2, 97, **options))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float64"])
def test_clip_as_scikit_image_has_it(dtype):
    volume = reference.make_volume(dtype)
    if dtype == "float64":
        volume = np.abs(volume)
    lo, hi = np.percentile(volume, (0.5, 99.5))
    expected = exposure.rescale_intensity(volume, in_range=(lo, hi), out_range="dtype").astype(np.float64)
    # scikit-image truncates integers
    assert np.abs(clip_percentiles(volume) - expected).max() <= (1e-6 if dtype == "float64" else 1)


@pytest.mark.parametrize(("dtype", "low", "high"), [("float32", -0.25, 0.75), ("int16", -100, 4000)])
def test_clip_of_negatives_with_float32_output(dtype, low, high):
    volume = np.linspace(low, high, 1001).reshape(7, 11, 13).astype(dtype)
    result = clip_percentiles(volume, 10, 90, output="float32")
    lo, hi = np.percentile(volume.astype(np.float64), (10, 90))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, np.clip((volume - lo) / (hi - lo), 0, 1), rtol=0, atol=1e-6)


def test_signed_data_from_zero_on_do_not_become_negative():
    volume = np.arange(0, 1000, dtype=np.int16).reshape(10, 100)
    for result in (clip_percentiles(volume, 0, 100), equalize_hist(volume, method="rank")):
        assert (result.min(), result.max()) == (0, 32767)
    shifted = clip_percentiles(volume - np.int16(1), 0, 100)
    assert (shifted.min(), shifted.max()) == (-32768, 32767)


def test_clip_of_the_real_volume(nuclei):
    assert_near(clip_percentiles(nuclei), expected_clip(nuclei, 0.5, 99.5))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_percentiles_that_coincide_give_way_to_the_extremes(dtype):
    volume = np.zeros((10, 20, 20), dtype)
    volume[5, 5, 5:8] = 100, 200, 50
    result = clip_percentiles(volume, output="float32")
    np.testing.assert_allclose(result, volume / 200, rtol=0, atol=1e-6)


# --- equalize ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int16", "float16", "float32", "float64"])
def test_equalize_as_scikit_image_has_it(dtype):
    volume = reference.make_volume(dtype)
    mask = np.random.default_rng(5).random(volume.shape) < 0.5
    values = volume.astype(np.float64) if volume.dtype.kind == "f" else volume
    for chosen in (None, mask):
        expected = exposure.equalize_hist(values, mask=chosen)
        # more bins than values lie apart would be another curve there
        result = equalize_hist(volume, 256, mask=chosen, output="float32")
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "uint32"])
def test_equalize_wide_integers(dtype):
    # bins one value wide, so that scikit-image, which counts every value, must agree
    volume = (np.random.default_rng(0).poisson(60, (6, 11, 13)) + 10**6).astype(dtype)
    expected = exposure.equalize_hist(volume)
    np.testing.assert_allclose(equalize_hist(volume, 256, output="float32"), expected, rtol=0, atol=1e-6)
    # wide bins: the cumulative fraction is right to what one bin holds
    volume = reference.make_volume(dtype)
    ordered = np.sort(volume, axis=None)
    fraction = np.searchsorted(ordered, volume, side="right") / volume.size
    counts = np.histogram(volume.astype(np.float64), 256)[0]
    assert np.abs(equalize_hist(volume, 256, output="float32") - fraction).max() <= 2 * counts.max() / volume.size


@pytest.mark.parametrize("nbins", [2, 17, 5000])
def test_equalize_with_other_bins(nbins):
    volume = reference.make_volume("float64")
    expected = exposure.equalize_hist(volume, nbins)
    np.testing.assert_allclose(equalize_hist(volume, nbins), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("in_range", [(-300, 9000), Percentiles(10, 80), (-300.5, 9000.25)])
def test_equalize_counts_clamped_intensities(in_range):
    volume = reference.make_volume("int16")
    lo, hi = reference.input_range(volume.astype(np.float64).ravel(), in_range, "int16")
    # integers inside the range are what counts
    clamped = np.clip(volume, np.ceil(lo), np.floor(hi)).astype(np.int16)
    expected = exposure.equalize_hist(clamped)
    result = equalize_hist(volume, in_range=in_range, output="float32")
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-3 if isinstance(in_range, Percentiles) else 1e-6)


def test_equalize_floats_counts_clamped_intensities():
    volume = reference.make_volume("float64")
    assert volume.min() < -1
    assert volume.max() > 1.5
    expected = exposure.equalize_hist(np.clip(volume, -1, 1.5))
    np.testing.assert_allclose(equalize_hist(volume, 256, in_range=(-1, 1.5)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_equalize_spans_the_dtype(dtype):
    volume = reference.make_volume(dtype)
    result = equalize_hist(volume)
    assert result.dtype == volume.dtype
    bottom, top = full_range(dtype, volume.min())
    y = equalize_hist(volume, output="float32").astype(np.float64)
    assert_near(result, bottom + (top - bottom) * y, levels=1e-7 * (top - bottom))
    assert result.max() == top


def test_equalize_the_real_volume(nuclei):
    expected = exposure.equalize_hist(nuclei)
    np.testing.assert_allclose(equalize_hist(nuclei, output="float32"), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_rank_of_every_dtype(dtype):
    volume = reference.make_volume(dtype)
    expected = reference.rank(volume, np.ones(volume.shape, bool))
    result = equalize_hist(volume, method="rank", output="float32")
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)
    assert (result.min(), result.max()) == (0, 1)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_rank_among_the_masked_voxels(dtype):
    volume = reference.make_volume(dtype)
    mask = np.random.default_rng(6).random(volume.shape) < 0.3
    # brightest and darkest are not counted either
    mask[volume == volume.max()] = False
    mask[volume == volume.min()] = False
    result = equalize_hist(volume, method="rank", mask=mask, output="float32")
    np.testing.assert_allclose(result, reference.rank(volume, mask), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "in_range"), [("uint8", (50, 150)), ("float32", (-1.25, 2)), ("uint32", (-5, 2**31))]
)
def test_rank_of_clamped_intensities(dtype, in_range):
    volume = reference.make_volume(dtype)
    expected = reference.rank(np.clip(volume.astype(np.float64), *in_range), np.ones(volume.shape, bool))
    result = equalize_hist(volume, method="rank", in_range=in_range, output="float32")
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", ["cdf", "rank"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_equalize_is_monotone_for_uncounted_values_too(dtype, method):
    volume = reference.make_volume(dtype)
    mask = np.random.default_rng(8).random(volume.shape) < 0.2
    result = equalize_hist(volume, method=method, mask=mask, output="float32")
    assert (np.diff(result.ravel()[np.argsort(volume, axis=None, kind="stable")]) >= 0).all()


# --- all of them ------------------------------------------------------------------------

VERBS = {
    "gamma": lambda volume, **options: adjust_gamma(volume, 0.5, **options),
    "clip": lambda volume, **options: clip_percentiles(volume, 5, 95, **options),
    "cdf": equalize_hist,
    "rank": lambda volume, **options: equalize_hist(volume, method="rank", **options),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_nan_stays_and_infinities_clamp(verb, dtype):
    volume = reference.make_volume(dtype)
    volume.reshape(-1)[::7] = np.nan
    # the same volume with finite values beyond all others in place of infinities
    finite = volume.copy()
    volume.reshape(-1)[1::31] = np.inf
    finite.reshape(-1)[1::31] = 100
    volume.reshape(-1)[2::41] = -np.inf
    finite.reshape(-1)[2::41] = -100
    nan = np.isnan(volume)
    in_range = (-3, 3)
    result = verb(volume, in_range=in_range)
    np.testing.assert_array_equal(np.isnan(result), nan)
    np.testing.assert_array_equal(result, verb(finite, in_range=in_range))
    default = verb(volume)
    np.testing.assert_array_equal(np.isnan(default), nan)
    assert default[volume == np.inf].tolist() == [np.nanmax(default)] * (volume == np.inf).sum()
    assert default[volume == -np.inf].tolist() == [np.nanmin(default)] * (volume == -np.inf).sum()


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_many_blocks_give_the_same(verb, dtype, request):
    volume = reference.make_volume(dtype)
    mask = np.random.default_rng(3).random(volume.shape) < 0.5
    whole, masked = verb(volume), verb(volume, mask=mask)
    request.getfixturevalue("small_blocks")
    np.testing.assert_array_equal(verb(volume), whole)
    np.testing.assert_array_equal(verb(volume, mask=mask), masked)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_magnitude_does_not_matter(scale):
    volume = reference.make_volume("float64")
    for name in ("clip", "rank"):
        np.testing.assert_allclose(VERBS[name](volume * scale), VERBS[name](volume), rtol=0, atol=1e-6)
    # a float that lies on a border of bins may fall to either side of it
    np.testing.assert_allclose(equalize_hist(volume * scale), equalize_hist(volume), rtol=0, atol=0.02)
    np.testing.assert_allclose(adjust_gamma(volume * scale, 0.5) / scale, adjust_gamma(volume, 0.5), rtol=0, atol=1e-5)


def test_a_range_beside_all_data_saturates():
    volume = reference.make_volume("uint8")
    assert (Gamma(0.5, in_range=(300, 400), output="float32").fit(volume)(volume) == 0).all()
    assert (Gamma(0.5, in_range=(-400, -300), output="float32").fit(volume)(volume) == 1).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32"])
def test_gamma_of_a_range_beyond_the_dtype_stays_in_the_dtype(dtype):
    info = np.iinfo(dtype)
    lo, hi = info.min - 100.0, 16.0 * info.max
    volume = np.linspace(info.min, info.max, 60).astype(dtype).reshape(3, 4, 5)
    expected = np.clip(np.rint(lo + (hi - lo) * ((volume - lo) / (hi - lo)) ** 0.5), info.min, info.max)
    result = adjust_gamma(volume, 0.5, in_range=(lo, hi))
    np.testing.assert_allclose(result.astype(float), expected, rtol=0, atol=1e-6 * info.max + 1)
    assert (np.diff(result.ravel().astype(float)) >= 0).all()

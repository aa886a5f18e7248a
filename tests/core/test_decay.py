"""Decay along an axis: against NumPy's percentiles and plain formulas, on every dtype, axis and way of reading."""

import dataclasses
import math
import pickle
import warnings

import dask.array as da
import diplib
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from core import reference
from napari_exposure import Recipe
from napari_exposure.core import (
    Adjustment,
    Decay,
    DecayCorrection,
    Percentiles,
    adjust,
    correct_decay,
    decay_exponent,
    decay_profile,
    degrade,
)
from napari_exposure.core.intensity import working_dtype
from napari_exposure.core.memory import Memory
from napari_exposure.core.planes import plane_percentiles
from napari_exposure.core.robust import robust_curve, robust_line
from napari_exposure.core.volume import Volume

SHAPE = (8, 11, 13)
AXES = ("z", "y", "x")
MODELS = ("exponential", "smooth", "plane")


def along(values, axis, ndim=3):
    """Values of planes, to be multiplied with a volume."""
    shape = [1] * ndim
    shape[ndim - 3 + AXES.index(axis)] = -1
    return np.reshape(values, shape)


def planes_of(volume, axis):
    """The voxels of each plane across an axis, as a list of flat arrays."""
    return list(np.moveaxis(volume, volume.ndim - 3 + AXES.index(axis), 0).reshape(volume.shape[AXES.index(axis)], -1))


def tissue(shape=(24, 40, 44), dtype=np.float32, top=1000.0, seed=0):
    """A volume whose planes hold alike intensities, along each axis."""
    return (np.random.default_rng(seed).gamma(4, top / 16, shape)).clip(1, top).astype(dtype)


def same_bits(found, expected):
    assert found.dtype == expected.dtype
    assert np.asarray(found).tobytes() == expected.tobytes()


# --- degrade ------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_degrade_multiplies_by_the_exponential(dtype, axis):
    volume = reference.make_volume(dtype, SHAPE)
    before = volume.copy()
    result = degrade(volume, 2.5, axis)
    expected = volume.astype(np.float64) * along(np.exp(-2.5 * np.linspace(0, 1, SHAPE[AXES.index(axis)])), axis)
    assert result.dtype == volume.dtype
    if volume.dtype.kind == "f":
        np.testing.assert_array_equal(
            result, expected.astype(np.float32).astype(dtype) if dtype == "float16" else expected.astype(dtype)
        )
    else:
        np.testing.assert_array_equal(result, np.rint(expected))
    np.testing.assert_array_equal(volume, before)


def test_growth_is_clamped_to_the_dtype():
    volume = np.full((2, 3, 4), 200, np.uint8)
    assert degrade(volume, -3.0)[1].min() == 255
    assert degrade(volume, -3.0, output="float32")[1].max() == pytest.approx(200 * math.exp(3))


def test_one_plane_does_not_decay():
    volume = reference.make_volume("uint16", (1, 9, 10))
    np.testing.assert_array_equal(degrade(volume), volume)


def test_degraded_range():
    volume = np.array([[-100, 100], [50, 300]], np.int16)
    transform = Decay(1.0, "y").fit(volume)
    assert transform.out_range == (-100, 300)


# --- percentiles of planes ----------------------------------------------------------------


def percentile_of_each_plane(volume, axis, q, **options):
    found = plane_percentiles(Volume(volume, **options), axis, (q,))
    return found.values[0], found.levels[0], found.counted


@settings(max_examples=60)
@given(st.data())
def test_plane_percentiles_are_those_of_numpy(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4), "shape"))
    dtype = data.draw(st.sampled_from(reference.DTYPES), "dtype")
    q = data.draw(st.one_of(st.floats(0, 100), st.sampled_from([0.0, 50.0, 100.0])), "q")
    axis = data.draw(st.integers(-len(shape), -1), "axis")
    volume = reference.make_volume(dtype, shape, seed=sum(shape))
    if volume.dtype.kind == "f" and data.draw(st.booleans(), "NaN"):
        volume.reshape(-1)[::3] = np.nan
        volume.reshape(-1)[::5] = -np.inf
    mask = np.random.default_rng(0).random(shape) < 0.6 if data.draw(st.booleans(), "mask") else None
    values, levels, counted = percentile_of_each_plane(volume, axis, q, mask=mask)
    for number, plane in enumerate(np.moveaxis(volume, axis, 0)):
        inside = plane if mask is None else plane[np.moveaxis(mask, axis, 0)[number]]
        inside = np.sort(inside[~np.isnan(inside)], axis=None)
        assert counted[number] == inside.size
        if not inside.size:
            assert np.isnan(values[number])
            continue
        rank = math.floor(q / 100 * (inside.size - 1))
        assert values[number] == inside[rank]
        if volume.dtype.kind == "f":
            assert levels[number] == values[number]
        else:
            # beyond 2**52 float64 has no halves
            assert abs(levels[number] - values[number]) <= (0.5 if "64" not in dtype else 1)


def test_levels_of_integers_have_no_steps():
    # a plane of 0, 1 and 2 has a level between them, which follows the share of each
    rng = np.random.default_rng(0)
    light = np.linspace(0.8, 2.2, 30)
    volume = rng.poisson(light[:, None, None], (30, 200, 200)).astype(np.uint8)
    _, levels, _ = percentile_of_each_plane(volume, -3, 50.0)
    assert (np.diff(levels) > 0).all()
    constant = np.full((3, 4, 5), 7, np.uint8)
    np.testing.assert_array_equal(percentile_of_each_plane(constant, -3, 50.0)[1], 7)


def test_plane_percentiles_are_remembered():
    volume = Volume(reference.make_volume("float32"), memory=Memory())
    steps, found = reference.heard(lambda: plane_percentiles(volume, -3, (50.0,)))
    assert len(steps) >= 4
    again, same = reference.heard(lambda: plane_percentiles(volume, -3, (50.0,)))
    assert not again
    assert same is found
    assert plane_percentiles(volume, -2, (50.0,)) is not found


# --- models -------------------------------------------------------------------------------


@given(st.floats(-3, 3), st.floats(-5, 5), st.integers(2, 40), st.integers(0, 9))
def test_a_robust_line_ignores_a_quarter_of_outliers(slope, start, n, seed):
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.uniform(0.5, 2, n))
    values = start + slope * at
    wrong = rng.choice(n, n // 5, replace=False)
    values[wrong] += rng.uniform(50, 100, len(wrong)) * rng.choice([-1, 1])
    found = robust_line(at, values)
    if n // 5 == 0:
        np.testing.assert_allclose(found, (slope, start), atol=1e-9)
    else:
        # by hand
        slopes = [(values[j] - values[i]) / (at[j] - at[i]) for i in range(n) for j in range(i + 1, n)]
        np.testing.assert_allclose(found[0], np.median(slopes), atol=1e-9)


def test_a_line_of_very_many_planes_leaves_slopes_out():
    at = np.arange(5000.0)
    slope, start = robust_line(at, 7 - 0.001 * at)
    assert slope == pytest.approx(-0.001)
    assert start == pytest.approx(7)


@pytest.mark.parametrize("n", [2, 3, 30, 1500])
def test_a_smooth_curve_keeps_lines(n):
    at = np.arange(float(n))
    np.testing.assert_allclose(robust_curve(at, 3 - 0.2 * at, 0.1 * n), 3 - 0.2 * at, atol=1e-6)


def test_a_smooth_curve_follows_slow_changes_and_no_outlier():
    at = np.arange(100.0)
    slow = np.sin(at / 30)
    values = slow.copy()
    values[40] += 5
    np.testing.assert_allclose(robust_curve(at, values, 5.0), slow, atol=0.05)


# --- correction ---------------------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("model", MODELS)
def test_what_was_degraded_comes_back(model, dtype, axis):
    volume = tissue(dtype=dtype, top=30000)
    found = correct_decay(degrade(volume, 3.0, axis), axis, model)
    assert np.corrcoef(found.ravel(), volume.ravel())[0, 1] > (0.998 if model == "plane" else 0.999)
    assert found.max() < 1.2 * volume.max()


@pytest.mark.parametrize("dtype", reference.DTYPES)
@pytest.mark.parametrize("axis", AXES)
def test_single_planes_get_equal_percentiles(axis, dtype):
    """The whole of model="plane", in NumPy."""
    volume = tissue((6, 9, 10), top=100).astype(dtype) * along([1, 0.3, 0.9, 0.7, 0.5, 0.8], "z").astype(dtype)
    volume = np.maximum(volume, np.asarray(1, dtype))
    result = correct_decay(volume, axis, "plane", percentile=70, force=True, output="float32")
    floats = volume.dtype.kind == "f"
    levels = []
    for plane in planes_of(volume.astype(np.float64), axis):
        plane = np.sort(plane)
        place = 0.7 * (plane.size - 1)
        level = plane[math.floor(place)]
        if not floats:
            equal = np.flatnonzero(plane == level)
            level += (place + 0.5 - equal[0]) / equal.size - 0.5
        levels.append(level)
    expected = volume.astype(working_dtype(volume.dtype)) * along(max(levels) / np.array(levels), axis)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    if not floats:
        rounded = np.clip(np.rint(expected), *dataclasses.astuple(_Limits(dtype)))
        np.testing.assert_allclose(correct_decay(volume, axis, "plane", percentile=70, force=True), rounded, atol=1)


@dataclasses.dataclass
class _Limits:
    low: float
    high: float

    def __init__(self, dtype):
        info = np.iinfo(dtype)
        self.low, self.high = info.min, info.max


def test_saw_teeth_go():
    teeth = np.tile(np.linspace(0.6, 1, 10), 3)
    volume = (tissue((30, 50, 60)) * teeth[:, None, None]).astype(np.uint16)
    medians = np.median(correct_decay(volume, model="plane"), axis=(1, 2))
    assert np.ptp(medians) < np.ptp(np.median(volume, axis=(1, 2))) / 50


def test_the_brightest_end_stays():
    volume = tissue()
    degraded = degrade(volume, 2.0)
    transform = DecayCorrection().fit(degraded)
    assert transform.gains[0] == 1
    assert (np.diff(transform.gains) > 0).all()
    np.testing.assert_array_equal(transform.apply(degraded)[0], degraded[0])
    # from the other side too
    np.testing.assert_array_equal(correct_decay(degraded[::-1])[-1], degraded[0])
    assert transform.out_range == (degraded.min(), degraded.max())


def test_the_background_stays():
    volume = tissue(dtype=np.float64)
    degraded = 100 + degrade(volume, 3.0)
    transform = DecayCorrection(background=100).fit(degraded)
    np.testing.assert_allclose(transform.gains, np.exp(3 * np.linspace(0, 1, 24)), rtol=0.05)
    np.testing.assert_allclose(transform(np.full((24, 1, 1), 100.0)), 100)
    assert DecayCorrection().fit(degraded).gains.max() < 5


def test_an_automatic_background_is_the_first_percentile():
    degraded = 100 + degrade(tissue(), 3.0)
    transform = DecayCorrection(background="auto").fit(degraded)
    assert transform.fits[()].background == pytest.approx(np.percentile(degraded, 1), abs=1e-4)
    np.testing.assert_array_equal(
        transform.apply(degraded), correct_decay(degraded, background=transform.fits[()].background)
    )


def test_a_higher_percentile_finds_few_bright_objects():
    rng = np.random.default_rng(0)
    objects = np.where(rng.random((30, 60, 60)) < 0.03, rng.uniform(3000, 6000, (30, 60, 60)), 0)
    noise = rng.normal(100, 5, objects.shape)
    volume = (degrade(objects, 2.0) + noise).astype(np.float32)
    found = DecayCorrection(background=100, percentile=99).fit(volume).gains[-1]
    assert found == pytest.approx(math.exp(2), rel=0.1)
    # most voxels are noise about the background, which does not decay
    with pytest.warns(UserWarning, match="nothing is corrected along z"):
        assert DecayCorrection(background=100).fit(volume).gains[-1] == 1


def test_planes_without_light_take_no_part():
    volume = degrade(tissue(), 1.0)
    volume[5:8] = 0
    volume[11] = np.nan
    transform = DecayCorrection().fit(volume)
    np.testing.assert_allclose(transform.gains, np.exp(np.linspace(0, 1, 24)), rtol=0.1)
    assert np.isnan(transform.profile[[5, 6, 7, 11]]).all()
    assert np.isfinite(transform.fitted).all()
    result = transform.apply(volume)
    assert (result[5:8] == 0).all()
    assert np.isnan(result[11]).all()
    for model in ("smooth", "plane"):
        gains = DecayCorrection(model=model).fit(volume).gains
        assert (gains >= 1).all()
        assert gains[4] <= gains[6] <= gains[8] or gains[8] <= gains[6] <= gains[4]


def test_no_plane_is_brightened_beyond_the_largest_gain():
    volume = degrade(tissue(), 8.0)
    assert DecayCorrection(max_gain=5).fit(volume).gains.max() == 5
    assert DecayCorrection().fit(volume).gains.max() == 100


def test_only_counted_voxels_decide():
    volume = degrade(tissue(), 2.0)
    mask = np.zeros(volume.shape, bool)
    mask[:, :20] = True
    spoiled = volume.copy()
    spoiled[:, 20:] = np.random.default_rng(1).uniform(0, 1e4, spoiled[:, 20:].shape)
    expected = correct_decay(volume, mask=mask)
    np.testing.assert_array_equal(correct_decay(spoiled, mask=mask)[:, :20], expected[:, :20])
    padded = volume.copy()
    padded[:, :30] = 0
    assert DecayCorrection(ignore_zeros=True).fit(padded).gains[-1] == pytest.approx(math.exp(2), rel=0.1)


# --- whether light was lost ---------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("model", MODELS)
def test_an_undegraded_volume_stays(nuclei, model, axis):
    for percentile in (50, 75, 90, 99):
        for volume in (nuclei, nuclei[:, :240:5, :240:5]):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Depth correction: nothing is corrected")
                found = correct_decay(volume, axis, model, percentile=percentile)
            assert np.corrcoef(found.ravel(), volume.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("axis", AXES)
def test_a_decay_of_real_nuclei_is_supported(nuclei, axis):
    degraded = degrade(nuclei, 3.0, axis)
    transform = DecayCorrection(axis).fit(degraded)
    assert transform.support > 0.98
    assert np.corrcoef(transform.apply(degraded).ravel(), nuclei.ravel())[0, 1] > 0.9998


def test_fewer_objects_are_no_decay():
    # dark and bright voxels are the same in all planes, but the bright ones become fewer
    rng = np.random.default_rng(0)
    share = np.linspace(0.6, 0.05, 40)[:, None, None]
    volume = np.where(rng.random((40, 60, 60)) < share, rng.normal(1000, 50, (40, 60, 60)), 100)
    volume = (volume + rng.normal(0, 5, volume.shape)).astype(np.float32)
    for model in MODELS:
        with pytest.warns(UserWarning, match=rf"nothing is corrected along z: .* {model} needs \d+%\."):
            transform = DecayCorrection(model=model, percentile=80).fit(volume)
        assert transform.support < 0.8
        np.testing.assert_array_equal(transform.gains, 1)
        # what was found is still shown, and can be had
        assert np.ptp(transform.fitted) > 100
        forced = DecayCorrection(model=model, percentile=80, force=True).fit(volume)
        assert forced.gains.max() > 1.2
        assert forced.support == transform.support


def test_how_many_volumes_have_no_decay():
    faded, even = degrade(tissue(), 2.0), np.array(tissue(seed=1))
    # more and more voxels of even planes are dark
    rng = np.random.default_rng(0)
    even[rng.random(even.shape) < np.linspace(0, 0.7, 24)[:, None, None]] = 1
    with pytest.warns(UserWarning, match="in 1 of 2 volumes"):
        transform = DecayCorrection(per="volume").fit(np.stack([faded, even]))
    assert transform.support.shape == (2,)
    np.testing.assert_array_equal(transform.gains[1], 1)
    np.testing.assert_array_equal(transform.gains[0], DecayCorrection().fit(faded).gains)


def attenuated(truth, strength):
    """A volume as DIPlib's simulation of light that is absorbed on its way has it."""
    image = diplib.Image(np.ascontiguousarray(truth, np.float32))
    found = np.asarray(diplib.SimulatedAttenuation(image, strength, strength, 0.3))
    # the last plane has some voxels that no ray has met
    return np.where(np.isfinite(found), found, np.nanmedian(found, axis=(1, 2), keepdims=True))


def test_the_simulated_attenuation_of_diplib(nuclei):
    truth = nuclei[:, :240, :240].reshape(60, 16, 15, 16, 15).mean(axis=(2, 4))
    truth /= np.percentile(truth, 99.9)
    degraded = attenuated(truth, 4.0)
    alike = [np.corrcoef(each.ravel(), truth.ravel())[0, 1] for each in (degraded, correct_decay(degraded))]
    # the best that one gain a plane can do, for each plane by least squares
    gains = (degraded * truth).sum(axis=(1, 2)) / (degraded**2).sum(axis=(1, 2))
    best = np.corrcoef((degraded * gains[:, None, None]).ravel(), truth.ravel())[0, 1]
    theirs = np.asarray(diplib.ExponentialFitCorrection(diplib.Image(degraded.astype(np.float32)), percentile=90.0))
    of_theirs = np.corrcoef(theirs.ravel(), truth.ravel())[0, 1]
    assert alike[0] < 0.9
    assert alike[1] > best - 0.01
    assert alike[1] > of_theirs


# --- a start, a reference channel, saturation ---------------------------------------------


def test_planes_before_the_start_take_no_part():
    light = np.concatenate([[0.05, 0.1, 0.3, 0.6], np.exp(-2 * np.linspace(0, 1, 20))])
    volume = (tissue() * light[:, None, None]).astype(np.float32)
    transform = DecayCorrection(start=4).fit(volume)
    np.testing.assert_array_equal(transform.gains[:4], 1)
    np.testing.assert_allclose(transform.gains[4:], np.exp(2 * np.linspace(0, 1, 20)), rtol=0.05)
    automatic = DecayCorrection(start="auto").fit(volume)
    assert (automatic.gains == 1).sum() <= 7
    np.testing.assert_allclose(automatic.gains[8:], transform.gains[8:], rtol=0.2)
    assert np.isfinite(transform.profile).all()
    with pytest.raises(ValueError, match="start is plane 23, but there are 24 planes along z"):
        correct_decay(volume, start=23)


def test_a_reference_channel_and_its_exponent():
    dapi, gfp = tissue((24, 90, 90), seed=1), tissue((24, 90, 90), seed=2) ** 1.2
    ratio = 1.7
    faded, other = degrade(dapi, 1.5), degrade(gfp, 1.5 * ratio)
    exponent = decay_exponent(other, faded)
    assert exponent == pytest.approx(ratio, rel=0.01)
    assert decay_exponent(other, faded, model="smooth") == pytest.approx(ratio, rel=0.01)
    corrected = Recipe(DecayCorrection(exponent=exponent)).apply(other, fit_on=faded)
    assert np.corrcoef(corrected.ravel(), gfp.ravel())[0, 1] > 0.9999
    assert DecayCorrection(exponent=exponent, max_gain=3).fit(faded).gains.max() == 3
    with pytest.raises(ValueError, match="Choose another reference"):
        decay_exponent(other, np.full(other.shape, 7.0))
    with pytest.raises(TypeError, match="decay_exponent has no parameter modell"):
        decay_exponent(other, faded, modell="smooth")


def test_saturation_is_announced(nuclei):
    volume = (degrade(tissue(top=1000), 2.0) / 4).clip(0, 255).astype(np.uint8)
    volume[:, :4] = np.minimum(volume[:, :4].astype(int) * 4, 255)
    transform = DecayCorrection().fit_volume(Volume(volume))
    floats = correct_decay(volume, output="float32")
    before, beyond = (volume == 255).mean(), ((floats > 255.5) & (volume < 255)).mean()
    assert beyond > 0.001
    message = rf"{before + beyond:.2%} of the voxels exceed uint8 and are clamped, {before:.2%} are at its end before"
    with pytest.warns(UserWarning, match=message):
        found = correct_decay(volume)
    np.testing.assert_array_equal(found, np.clip(np.rint(floats), 0, 255))
    assert transform.fits[()].clamped == ((volume == 255).sum(), round(beyond * volume.size), volume.size)
    with pytest.warns(UserWarning, match="exceed uint8"):
        np.testing.assert_array_equal(correct_decay(da.from_array(volume, chunks=9)).compute(), found)


# --- nothing to correct -------------------------------------------------------------------


@pytest.mark.parametrize("volume", [np.zeros((4, 5, 6), np.uint16), np.ones((1, 5, 6), np.float32)])
def test_where_no_two_planes_can_be_compared_nothing_changes(volume):
    with pytest.warns(UserWarning, match="Depth correction: The volume has fewer than two planes"):
        result = correct_decay(volume)
    np.testing.assert_array_equal(result, volume)


def test_a_constant_volume_stays():
    volume = np.full((4, 5, 6), 7, np.uint16)
    for model in MODELS:
        np.testing.assert_array_equal(correct_decay(volume, model=model), volume)


def test_nothing_counted_is_an_error():
    for volume, options in (
        (np.full((3, 4, 5), np.nan), {}),
        (np.ones((3, 4, 5)), {"mask": np.zeros((3, 4, 5))}),
        (np.ones((3, 4, 5)), {"mask": np.zeros((3, 4, 5)), "in_range": (0, 1)}),
        (np.zeros((3, 4, 5)), {"ignore_zeros": True}),
    ):
        with pytest.raises(ValueError, match="There is no finite voxel to count"):
            correct_decay(volume, **options)


def test_one_empty_volume_of_many_warns():
    volume = np.stack([degrade(tissue(), 1.0), np.zeros((24, 40, 44), np.float32)])
    with pytest.warns(UserWarning, match="1 of 2 volumes have fewer than two planes"):
        result = correct_decay(volume, per="volume")
    np.testing.assert_array_equal(result[0], correct_decay(volume[0]))
    assert (result[1] == 0).all()


# --- shared parameters --------------------------------------------------------------------


def test_who_shares_a_fit():
    volume = np.stack([degrade(tissue(seed=t), rate) for t, rate in enumerate((1.0, 2.0))])
    apart = DecayCorrection(per="volume").fit(volume)
    assert apart.profile.shape == apart.fitted.shape == apart.gains.shape == (2, 24)
    for t in range(2):
        np.testing.assert_array_equal(apart.apply(volume)[t], correct_decay(volume[t]))
        np.testing.assert_array_equal(apart.profile[t], DecayCorrection().fit(volume[t]).profile)
    together = DecayCorrection().fit(volume)
    assert together.profile.shape == (24,)
    _, expected, _ = percentile_of_each_plane(volume, -3, 50.0)
    np.testing.assert_array_equal(together.profile, expected)
    planes = correct_decay(volume, "y", "plane", force=True, per="plane")
    np.testing.assert_array_equal(planes[1, 3], correct_decay(volume[1, 3], "y", "plane", force=True))


def test_in_range_clamps_first():
    volume = degrade(tissue(), 2.0)
    limited = np.clip(volume, 20, 500)
    np.testing.assert_array_equal(correct_decay(volume, in_range=(20, 500)), correct_decay(limited, in_range=(20, 500)))
    np.testing.assert_allclose(correct_decay(volume, in_range=(20, 500)), correct_decay(limited), rtol=1e-6)
    lo, hi = np.percentile(volume, (1, 99))
    np.testing.assert_allclose(
        correct_decay(volume, in_range=Percentiles(1, 99)), correct_decay(volume, in_range=(lo, hi)), rtol=1e-5
    )


def test_a_fit_applies_to_brighter_volumes():
    volume = degrade(tissue(), 2.0)
    transform = DecayCorrection().fit(volume)
    np.testing.assert_allclose(transform.apply(3 * volume), 3 * transform.apply(volume), rtol=1e-6)


def test_float_output_is_of_the_same_scale():
    volume = np.full((4, 5, 6), 200, np.uint8) // np.array([1, 2, 4, 8], np.uint8)[:, None, None]
    volume[3, 0, 0] = 250
    result = correct_decay(volume, output="float32")
    assert result.dtype == np.float32
    np.testing.assert_allclose(np.median(result, axis=(1, 2)), 200, rtol=1e-3)
    assert result[3, 0, 0] == pytest.approx(2000, rel=1e-3)
    with pytest.warns(UserWarning, match="exceed uint8"):
        assert correct_decay(volume)[3, 0, 0] == 255


@pytest.mark.parametrize("output", ["dtype", "float32"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_colours_keep_their_hue(dtype, output):
    colours = np.array([[240, 120, 60, 255]] * 4, np.float64) * [[1], [0.5], [0.25], [0.125]]
    colours[:, 3] = 255
    volume = np.broadcast_to(colours[:, None, None], (4, 5, 6, 4)) / (255 if dtype == "float32" else 1)
    result = correct_decay(volume.astype(dtype), rgb=True, output=output)
    scale = 1 if result.dtype == np.uint8 else 1 / 255
    expected = np.broadcast_to(np.array([240, 120, 60, 255]) * scale, result.shape)
    np.testing.assert_allclose(result, expected, atol=scale * 5)
    bright = volume.astype(dtype).copy()
    bright[3, 0, 0] = volume[0, 0, 0]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Depth correction: .* exceed uint8")
        assert correct_decay(bright, rgb=True, output=output).max() == 255 * scale


# --- parameters ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DecayCorrection("w"), r"axis must be one of 't', 'z', 'y', 'x', 'surface', got 'w'"),
        (lambda: DecayCorrection(0), "axis must be"),
        (lambda: DecayCorrection(model="linear"), "model must be one of 'exponential', 'smooth', 'plane'"),
        (lambda: DecayCorrection(background=math.nan), "background"),
        (lambda: DecayCorrection(background="low"), "background"),
        (lambda: DecayCorrection(percentile=101), "percentile"),
        (lambda: DecayCorrection(smoothness=0), "smoothness"),
        (lambda: DecayCorrection(max_gain=0.5), "max_gain"),
        (lambda: DecayCorrection(exponent=0), "exponent must be a finite number greater than 0"),
        (lambda: DecayCorrection(start=-1), r"start must be a finite number in \[0, 1e\+06\] or 'auto'"),
        (lambda: DecayCorrection(start="first"), "start"),
        (lambda: DecayCorrection(force=1), "force must be True or False"),
        (lambda: Decay(rate=30), "rate"),
        (lambda: Decay(axis="w"), "axis"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize("verb", [degrade, correct_decay])
def test_an_axis_that_is_not_there(verb):
    for per in ("dataset", "plane"):
        with pytest.raises(ValueError, match="There is no axis 'z': the image has only the axes y and x"):
            verb(np.ones((4, 5)), per=per)
    with pytest.raises(ValueError, match="the image has only the axes y and x"):
        verb(np.ones((4, 5, 3)), rgb=True)
    with pytest.raises(ValueError, match=r"There is no axis 'z'.*per='volume'"):
        verb(np.ones((3, 4, 5)), per="plane")
    assert verb(np.ones((4, 5)), axis="y").shape == (4, 5)


@given(
    st.builds(
        DecayCorrection,
        st.sampled_from(AXES),
        st.sampled_from(MODELS),
        st.one_of(st.just("auto"), st.floats(-1e6, 1e6)),
        st.floats(0, 100),
        st.floats(0.01, 1),
        st.floats(1, 1e6),
        st.floats(0.1, 5),
        st.one_of(st.just("auto"), st.integers(0, 99)),
        st.booleans(),
        ignore_zeros=st.booleans(),
    )
    | st.builds(Decay, st.floats(-20, 20), st.sampled_from(AXES), output=st.sampled_from(["dtype", "float32"]))
)
def test_to_plain_data_and_back(adjustment):
    assert Adjustment.from_dict(adjustment.to_dict()) == adjustment


# --- the same from any array --------------------------------------------------------------


@pytest.mark.parametrize(
    "adjustment",
    [
        DecayCorrection(background="auto", force=True),
        DecayCorrection("y", "smooth", per="volume", force=True),
        DecayCorrection("x", "plane", exponent=0.7, start=3, force=True),
        Decay(2.0, "x"),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_lazy_and_stored_arrays_give_the_same_bits(adjustment, dtype, tmp_path):
    volume = np.stack([degrade(tissue((9, 14, 17)), rate) for rate in (1.0, 2.0)]).astype(dtype)
    if dtype == "float32":
        volume.reshape(-1)[::41] = np.nan
    expected = adjust(adjustment, volume)
    lazy = adjust(adjustment, da.from_array(volume, chunks=(1, (4, 5), 6, (7, 1, 9))))
    assert isinstance(lazy, da.Array)
    same_bits(lazy.compute(scheduler="synchronous"), expected)
    stored = zarr.create_array(str(tmp_path / "v.zarr"), data=volume, chunks=(1, 4, 6, 8))
    same_bits(np.asarray(adjustment.fit(stored).apply(stored)), expected)
    mapped = np.memmap(tmp_path / "v.raw", dtype, "w+", shape=volume.shape)
    mapped[...] = volume
    same_bits(adjust(adjustment, mapped), expected)
    mapped._mmap.close()
    swapped = volume.astype(volume.dtype.newbyteorder())
    swapped.flags.writeable = False
    same_bits(adjust(adjustment, swapped), expected)


@settings(max_examples=40)
@given(st.data())
def test_a_block_gives_the_values_of_the_whole(data):
    # nothing exceeds the dtype
    volume = reference.make_volume("uint16", SHAPE) // 4
    adjustment = data.draw(
        st.builds(DecayCorrection, st.sampled_from(AXES), st.sampled_from(MODELS), force=st.just(True))
        | st.builds(Decay, st.floats(0, 5), st.sampled_from(AXES))
    )
    transform = pickle.loads(pickle.dumps(adjustment.fit(volume)))
    whole = transform.apply(volume)
    cut = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in SHAPE]
    part = tuple(slice(a, b + 1) for a, b in cut)
    same_bits(transform(volume[part], [a for a, _ in cut]), np.ascontiguousarray(whole[part]))


# --- levels, samples ----------------------------------------------------------------------


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(
    "adjustment", [Decay(2.0), DecayCorrection(force=True), DecayCorrection(model="plane", force=True)], ids=str
)
def test_every_step_th_voxel(adjustment, axis):
    adjustment = dataclasses.replace(adjustment, axis=axis)
    volume = degrade(tissue((13, 20, 21)), 2.0)
    transform = adjustment.fit(volume)
    taken = volume[::2, ::3, ::2]
    coarse = transform.onto(volume.shape, (2, 3, 2))
    np.testing.assert_array_equal(coarse.apply(taken), transform.apply(volume)[::2, ::3, ::2])
    # and back: a fit of a coarse volume for the full one
    back = adjustment.fit(np.ascontiguousarray(taken)).onto(volume.shape)
    assert np.corrcoef(back.apply(volume).ravel(), transform.apply(volume).ravel())[0, 1] > 0.98


def test_another_level_of_a_pyramid():
    volume = degrade(tissue((24, 40, 44)), 2.0)
    transform = DecayCorrection().fit(volume)
    level = transform.at_level((12, 20, 22))
    assert level.profile.shape == level.fitted.shape == level.gains.shape == (12,)
    # the centre of a coarse plane lies between two fine ones
    np.testing.assert_allclose(level.gains, (transform.gains[::2] + transform.gains[1::2]) / 2)
    assert transform.at_level((24, 20, 22)).gains is transform.gains


def test_decay_profile():
    volume = degrade(tissue(), 2.0)
    positions, profile, fitted = decay_profile(volume, "z", spacing=(2.5, 1, 1))
    np.testing.assert_array_equal(positions, 2.5 * np.arange(24))
    transform = DecayCorrection().fit(volume)
    np.testing.assert_array_equal(profile, transform.profile)
    np.testing.assert_array_equal(fitted, transform.fitted)
    assert np.log(fitted[0] / fitted[-1]) == pytest.approx(2, abs=0.1)
    _, smooth, _ = decay_profile(volume, "x", model="smooth", percentile=90, force=True)
    assert smooth.shape == (44,)


@pytest.mark.parametrize("percentile", [1, 50, 99, 99.9])
def test_the_profile_of_floats_is_that_of_numpy(percentile):
    volume = np.random.default_rng(0).gamma(4, 100, (10, 31, 33))
    found = decay_profile(volume, "z", percentile=percentile, force=True)[1]
    np.testing.assert_array_equal(found, [np.percentile(plane, percentile, method="lower") for plane in volume])


def test_no_exponent_suits_channels_that_change_against_each_other():
    up, down = (np.float32([100, 50, 25])[::way, None, None] * np.ones((3, 4, 5), np.float32) for way in (1, -1))
    with pytest.raises(ValueError, match="gets darker along z where the other gets brighter"):
        decay_exponent(up, down)

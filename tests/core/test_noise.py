import json
import math

import dask.array as da
import numpy as np
import pytest
import zarr

from core import reference
from napari_exposure import Recipe
from napari_exposure.core import (
    AdaptiveEqualization,
    Adjustment,
    LocalStretch,
    NoiseLevel,
    NoiseLimit,
    adjust,
    noise_level,
)
from napari_exposure.core.noise import SAMPLE, find_noise, windows
from napari_exposure.core.volume import Volume


def blobs(shape, seed=0, size=6.0, number=60):
    """Smooth bumps of a few voxels, from 0 to 1."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    found = np.zeros(shape)
    for _ in range(number):
        centre = rng.random(len(shape)) * shape
        distance = sum((axis - at) ** 2 for axis, at in zip(axes, centre, strict=True))
        found = np.maximum(found, rng.uniform(0.3, 1) * np.exp(-distance / (2 * size**2)))
    return found


# --- the level --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("sigma", [1.0, 2.5, 9.0])
def test_white_noise_of_known_strength_over_structure(dtype, sigma):
    light = 60 + 120 * blobs((12, 90, 100))
    for seed in range(3):
        noisy = np.random.default_rng(seed).normal(light, sigma)
        # rounding is noise too, of a twelfth of a grey level squared
        expected = math.hypot(sigma, 12**-0.5) if np.dtype(dtype).kind in "iu" else sigma
        found = noise_level((np.rint(noisy) if np.dtype(dtype).kind in "iu" else noisy).astype(dtype))
        assert found.dark == pytest.approx(expected, rel=0.1)
        assert found.bright == pytest.approx(expected, rel=0.1)


def test_noise_of_photons_differs_from_dark_to_bright():
    light = np.full((10, 120, 130), 25.0)
    light[:, :, 70:] = 900
    found = noise_level(np.random.default_rng(0).poisson(light).astype(np.uint16))
    assert found.dark == pytest.approx(5, rel=0.1)
    assert found.bright == pytest.approx(30, rel=0.1)
    assert found.most == found.bright
    assert found.signal == pytest.approx(900 - 25, rel=0.05)
    assert found.snr == found.signal / found.bright


def test_levels_that_are_far_apart():
    # 8 bits stretched over 16: a median of such differences is a multiple of 256
    light = 60 + 100 * blobs((10, 80, 90))
    noisy = np.clip(np.rint(np.random.default_rng(0).normal(light, 2.0)), 0, 255).astype(np.uint16)
    assert noise_level(noisy * 257).dark == pytest.approx(257 * math.hypot(2, 12**-0.5), rel=0.1)


@pytest.mark.parametrize("size", [5.0, 12.0])
def test_smooth_structure_is_no_noise(size):
    volume = (1000 * blobs((20, 96, 96), size=size)).astype(np.float32)
    found = noise_level(volume)
    assert found.dark < 0.5
    assert found.bright < 2
    assert found.snr > 400


def test_noise_that_is_added_to_a_real_volume_is_found(nuclei):
    # what is there already is known from the volume itself, and adds up in squares
    before = noise_level(nuclei)
    sigma = 4000.0
    noisy = nuclei + np.random.default_rng(0).normal(0, sigma, nuclei.shape)
    after = noise_level(noisy)
    assert after.dark == pytest.approx(math.hypot(before.dark, sigma), rel=0.1)
    assert after.bright == pytest.approx(math.hypot(before.bright, sigma), rel=0.1)


def test_a_volume_without_noise():
    found = noise_level(np.arange(600, dtype=np.uint16).reshape(4, 10, 15))
    assert (found.dark, found.bright, found.snr) == (0, 0, math.inf)
    assert str(found).endswith("without end")


def test_dead_and_saturated_places_do_not_count():
    volume = np.random.default_rng(0).normal(100, 5, (8, 80, 80)).astype(np.float32)
    volume[:, :50] = 0
    volume[:, 70:] = 4095
    found = noise_level(volume)
    # the border of the dead part is steep, but there are few such places
    assert found.dark == pytest.approx(5, rel=0.15)


@pytest.mark.parametrize(("low", "high"), [(0, 150), (40, 255), (40, 150)])
def test_the_edges_of_saturated_structures_are_no_noise(low, high):
    light = np.where(blobs((12, 96, 96)) > 0.2, 400, 20) + 20 * blobs((12, 96, 96), seed=1)
    light[:, 40:60] = 90
    noisy = np.clip(np.rint(np.random.default_rng(0).normal(light, 4)), low, high).astype(np.uint8)
    found = noise_level(noisy)
    assert found.dark == pytest.approx(4, rel=0.1)
    assert found.bright == pytest.approx(4, rel=0.1)
    # Structures are signal although they are saturated.
    assert found.signal > 0.7 * (high - max(low, 20))


def test_a_background_of_two_gray_levels_is_not_cut_off():
    volume = np.random.default_rng(0).choice(np.array([1, 2, 3], np.uint8), (12, 96, 96), p=[0.66, 0.32, 0.02])
    volume[:, :, :40] = 1
    volume[:, 10:14, 60:64] = 200
    found = noise_level(volume)
    assert found.dark == pytest.approx(0.53, rel=0.3)


def test_few_photons_are_not_cut_off():
    light = np.full((10, 120, 130), 1.0)
    light[:, :, 70:] = 50
    found = noise_level(np.random.default_rng(0).poisson(light).astype(np.uint16))
    assert found.dark == pytest.approx(1, rel=0.2)
    assert found.bright == pytest.approx(50**0.5, rel=0.2)


def test_only_counted_places_are_looked_at():
    rng = np.random.default_rng(0)
    volume = rng.normal(100, 3, (6, 60, 80))
    volume[:, :, 40:] += rng.normal(0, 30, (6, 60, 40))
    mask = np.zeros(volume.shape, bool)
    mask[:, :, :40] = True
    assert noise_level(volume, mask=mask).bright == pytest.approx(3, rel=0.1)
    volume[:, :, 40:] = 0
    assert noise_level(volume, ignore_zeros=True).bright == pytest.approx(3, rel=0.1)
    volume[:, :, 40:] = np.nan
    assert noise_level(volume).bright == pytest.approx(3, rel=0.1)
    volume[:, 5, :40] = np.inf
    assert noise_level(volume).bright == pytest.approx(3, rel=0.1)


def test_colours_have_the_noise_of_their_value():
    colours = np.random.default_rng(0).normal(100, 4, (5, 60, 60, 3)) * (1, 0.2, 0.1)
    assert noise_level(colours, rgb=True).dark == pytest.approx(4, rel=0.1)


def test_a_row_of_voxels_has_noise_too():
    row = np.random.default_rng(0).normal(50, 2, (30, 1, 500))
    assert noise_level(row).dark == pytest.approx(2, rel=0.1)
    with pytest.raises(ValueError, match="neighbors"):
        noise_level(np.ones((9, 2, 2)))


def test_chunks_and_kinds_of_arrays_do_not_matter(tmp_path):
    volume = reference.make_volume("uint16", (40, 200, 300))
    assert volume.size > SAMPLE
    stored = zarr.create_array(str(tmp_path / "v.zarr"), shape=volume.shape, chunks=(7, 64, 33), dtype=volume.dtype)
    stored[:] = volume
    expected = noise_level(volume)
    for other in (stored, da.from_array(volume, chunks=(9, 50, 300)), np.asfortranarray(volume), volume.astype(">u2")):
        assert noise_level(other) == expected
    assert expected.voxels < volume.size


@pytest.mark.parametrize(
    "shape", [(5, 7), (3, 4, 5), (70, 150, 170), (2000, 40, 40), (3, 4, 5000, 400), (1, 9000, 800), (2, 3, 8, 9, 10)]
)
def test_windows_lie_all_over_a_volume(shape):
    found = list(windows(shape))
    assert sum(math.prod(part.stop - part.start for part in window) for window in found) <= 1.3 * SAMPLE
    for window in found:
        assert all(0 <= part.start < part.stop <= n for part, n in zip(window, shape, strict=True))
    places = {tuple(part.start for part in window) for window in found}
    assert len(places) == len(found)
    if math.prod(shape) <= SAMPLE:
        assert sum(math.prod(part.stop - part.start for part in window) for window in found) == math.prod(shape)
    else:
        starts = np.array(sorted(places))
        for axis, n in enumerate(shape):
            ends = [window[axis].stop for window in found]
            assert starts[:, axis].min() <= 0.2 * n
            assert max(ends) >= 0.8 * n


# --- the limit --------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("kind", ["clip_limit", "max_gain"])
def test_noise_stays_under_its_limit(limit, kind):
    """Two draws of noise under one fit: what differs in their results is noise, and nothing else."""
    light = 100 + 900 * blobs((16, 64, 72)) * np.linspace(1, 0, 72) ** 2
    sigma = 4.0
    first, second = (np.random.default_rng(seed).normal(light, sigma).astype(np.float32) for seed in (0, 1))
    make = AdaptiveEqualization if kind == "clip_limit" else LocalStretch
    transform = make(24.0, **{kind: NoiseLimit(limit)}, output="float32").fit(first)
    apart = (transform.apply(first) - transform.apply(second)) / 2**0.5
    # in every part of the volume, but for the uncertainty of a standard deviation of some thousand voxels
    parts = apart.reshape(2, 8, 4, 16, 4, 18).std(axis=(1, 3, 5))
    assert parts.max() <= 1.05 * limit
    # and the limit is used: in some part the result is that steep
    assert parts.max() >= 0.5 * limit


def test_the_limit_becomes_a_number_at_the_fit():
    volume = np.random.default_rng(0).normal(100, 5, (10, 60, 60)).astype(np.float32)
    sigma = find_noise(Volume(volume)).most
    common = {"in_range": (0, 400), "nbins": 128}
    transform = AdaptiveEqualization(30.0, NoiseLimit(0.1), **common).fit(volume)
    clip_limit = 0.1 * 400 / (128 * sigma)
    assert transform.of_fits("clip_limit") == pytest.approx(clip_limit, rel=1e-12)
    typed = AdaptiveEqualization(30.0, transform.of_fits("clip_limit"), **common).fit(volume)
    np.testing.assert_array_equal(transform.apply(volume), typed.apply(volume))
    transform = LocalStretch(30.0, max_gain=NoiseLimit(0.1), in_range=(0, 400)).fit(volume)
    assert transform.of_fits("max_gain") == pytest.approx(0.1 * 400 / sigma, rel=1e-12)
    typed = LocalStretch(30.0, max_gain=transform.of_fits("max_gain"), in_range=(0, 400)).fit(volume)
    np.testing.assert_array_equal(transform.apply(volume), typed.apply(volume))


def test_each_volume_has_a_number_of_its_own():
    rng = np.random.default_rng(0)
    series = np.stack([rng.normal(100, sigma, (6, 50, 50)) for sigma in (1, 4)])
    transform = AdaptiveEqualization(20.0, NoiseLimit(0.05), in_range=(0, 400), per="volume").fit(series)
    found = transform.of_fits("clip_limit")
    assert found.shape == (2,)
    assert found[0] / found[1] == pytest.approx(4, rel=0.1)


def test_without_noise_there_is_no_limit_and_where_it_is_not_known_nothing_is_amplified():
    smooth = np.arange(6 * 20 * 20, dtype=np.float32).reshape(6, 20, 20)
    assert AdaptiveEqualization(10.0, NoiseLimit(0.02)).fit(smooth).of_fits("clip_limit") == 1
    thin = np.random.default_rng(0).random((50, 2, 2))
    assert LocalStretch(10.0, max_gain=NoiseLimit(0.02)).fit(thin).of_fits("max_gain") == 1
    # a limit below the noise of the volume itself has no effect
    noisy = np.random.default_rng(0).random((6, 20, 20))
    assert LocalStretch(10.0, max_gain=NoiseLimit(0.001)).fit(noisy).of_fits("max_gain") == 1


def test_a_recipe_of_two_steps_knows_the_noise_of_what_the_first_one_gives():
    volume = np.random.default_rng(0).normal(100, 5, (10, 60, 60)).astype(np.float32)
    first = LocalStretch(30.0, output="float32").fit(volume)
    between = adjust(first.adjustment, volume)
    second = AdaptiveEqualization(30.0, NoiseLimit(0.2))
    fitted = Recipe((first.adjustment, second)).fit(volume)
    assert fitted.transforms[1].of_fits("clip_limit") == second.fit(between).of_fits("clip_limit")


def test_lazy_and_eager_have_the_same_values():
    volume = reference.make_volume("uint16", (8, 40, 50))
    for adjustment in (AdaptiveEqualization(15.0, NoiseLimit(0.3)), LocalStretch(15.0, max_gain=NoiseLimit(0.3))):
        lazy = adjust(adjustment, da.from_array(volume, chunks=(3, 17, 20)))
        np.testing.assert_array_equal(lazy.compute(), adjust(adjustment, volume))


@pytest.mark.parametrize(
    "adjustment", [AdaptiveEqualization(5, NoiseLimit(0.02)), LocalStretch(5, max_gain=NoiseLimit(0.5))]
)
def test_plain_data(adjustment):
    plain = json.loads(json.dumps(adjustment.to_dict()))
    assert {"noise_limit": 0.02} in plain.values() or {"noise_limit": 0.5} in plain.values()
    assert Adjustment.from_dict(plain) == adjustment
    assert hash(Adjustment.from_dict(plain)) == hash(adjustment)


@pytest.mark.parametrize("limit", [0, -1, 1.5, math.nan, "2 %", None])
def test_limits_that_are_none(limit):
    with pytest.raises((TypeError, ValueError), match="NoiseLimit"):
        NoiseLimit(limit)
    with pytest.raises(ValueError, match="NoiseLimit"):
        Adjustment.from_dict({"adjustment": "LocalStretch", "max_gain": {"noise_limit": limit}})


def test_other_parameters_take_no_limit_of_noise():
    with pytest.raises(TypeError, match="low"):
        LocalStretch(low=NoiseLimit(0.02))
    with pytest.raises(TypeError, match="NoiseLimit"):
        AdaptiveEqualization(clip_limit="2 %")


def test_words():
    assert str(NoiseLevel(41.0, 95.0, 1140.0, 9)) == "noise 41 where dark, 95 where bright; signal to noise 12"


def test_differences_that_are_infinite_are_refused():
    volume = np.random.default_rng(0).uniform(-1.7, 1.7, (5, 12, 14))
    with pytest.raises(ValueError, match="so large that float64 cannot hold their differences"):
        noise_level(volume * 1e308)
    assert noise_level(volume * 2.0**100).dark == noise_level(volume).dark * 2.0**100

"""What is found in samples of synthetic volumes, against what was put into them."""

import math
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import zarr

from core import scenes
from napari_exposure.core import findings, robust, structures, trends
from napari_exposure.core.sample import take_sample
from napari_exposure.core.volume import Volume

SMALL = (8.0, 8.0, 8.0)


def looked(volume, mask=None):
    return take_sample(Volume(volume, mask))


# --- the sample -------------------------------------------------------------------------


def test_a_small_volume_is_looked_at_whole():
    volume = scenes.scene(0)
    sample = looked(volume)
    assert sample.looked == volume.size
    assert sample.cell == (1, 4, 4)
    expected = volume.reshape(48, 40, 4, 40, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(sample.cells, expected)
    for box, corner in zip(sample.boxes, sample.corners, strict=True):
        there = tuple(slice(at, at + n) for at, n in zip(corner, box.shape, strict=True))
        np.testing.assert_array_equal(box, volume[there])


@pytest.mark.parametrize(
    "shape", [(300, 260, 240), (1, 5000, 4000), (5000, 4100), (5, 3, 90, 150, 160), (3, 4), (1, 1, 9)]
)
def test_a_large_volume_is_looked_at_in_part(shape):
    volume = np.broadcast_to(np.arange(shape[-1], dtype=np.uint16), shape)
    sample = looked(volume)
    assert sample.looked <= volume.size
    assert sample.cells.size <= 1.2 * (1 << 18)
    assert sample.cells.ndim == len(shape)
    step = sample.cell[-1]
    middles = np.arange(shape[-1] // step) * step + (step - 1) / 2
    np.testing.assert_allclose(sample.cells.reshape(-1, sample.cells.shape[-1])[0], middles)


def test_kinds_of_arrays_and_chunks_do_not_matter(tmp_path):
    volume = scenes.scene(1)
    stored = zarr.create_array(str(tmp_path / "v.zarr"), shape=volume.shape, chunks=(9, 50, 33), dtype=volume.dtype)
    stored[:] = volume
    expected = looked(volume)
    for other in (stored, da.from_array(volume, chunks=(7, 160, 90)), np.asfortranarray(volume)):
        sample = looked(other)
        np.testing.assert_array_equal(sample.cells, expected.cells)
        assert sample.noise == expected.noise
        for box, same in zip(sample.boxes, expected.boxes, strict=True):
            np.testing.assert_array_equal(box, same)


def test_what_does_not_count_is_nan():
    volume = scenes.scene(0).astype(np.float32)
    mask = np.ones(volume.shape, bool)
    mask[:, :80] = False
    sample = looked(volume, mask)
    assert np.isnan(sample.cells[:, :20]).all()
    assert not np.isnan(sample.cells[:, 20:]).any()
    volume[:, 80:, 0] = np.inf
    assert np.isnan(looked(volume, mask).cells[:, :, 0]).all()


# --- grey levels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("volume", "found"),
    [
        (np.arange(4096, dtype=np.uint16).reshape(16, 16, 16), (12, 16, 1)),
        (16 * np.arange(4096, dtype=np.uint16).reshape(16, 16, 16), (12, 16, 16)),
        (np.arange(216, dtype=np.uint8).reshape(6, 6, 6), (8, 8, 1)),
        (np.arange(-300, 700, dtype=np.int16).reshape(10, 10, 10), (10, 16, 1)),
    ],
)
def test_bits(volume, found):
    assert findings.find_bits(looked(volume)) == findings.Bits(*found)


def test_what_has_no_bits():
    assert findings.find_bits(looked(np.ones((4, 8, 8), np.float32))) is None
    assert findings.find_bits(looked(np.zeros((4, 8, 8), np.uint8))) is None


def test_hot_voxels_are_told_from_structure_and_from_saturation():
    volume = scenes.scene(2)
    assert findings.find_ends(looked(volume)) is None
    hot = volume.copy()
    places = np.random.default_rng(0).integers(5, 40, (60, 3))
    hot[tuple(places.T)] = 60_000
    found = findings.find_ends(looked(hot))
    assert found.saturated == 0
    assert found.hot == pytest.approx(60 / volume.size, rel=0.8)
    assert found.limit < 2000
    saturated = findings.find_ends(looked(np.minimum(volume, 400)))
    assert saturated.hot == 0
    assert saturated.saturated == pytest.approx((volume >= 400).mean(), rel=0.3)
    # beads of a few voxels are no hot voxels
    rng = np.random.default_rng(0)
    beads = scenes.balls((40, 120, 120), (4.0, 5.0, 5.0), 0.005, rng)
    assert findings.find_ends(looked(scenes.photograph(beads, rng))) is None


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_offset_and_share_of_the_background(share):
    rng = np.random.default_rng(0)
    light = scenes.balls(scenes.SHAPE, SMALL, share, rng)
    light[light == 0.1] = 0
    found = findings.find_background(looked(scenes.photograph(light, rng)))
    assert found.offset == pytest.approx(scenes.OFFSET, abs=1.5)
    assert found.share == pytest.approx((light == 0).mean(), abs=0.12)


def test_low_contrast():
    rng = np.random.default_rng(0)
    narrow = rng.integers(100, 108, (20, 60, 60))
    assert findings.find_low_contrast(looked(narrow.astype(np.uint8))) < 0.05
    assert findings.find_low_contrast(looked((narrow * 300).astype(np.uint16))) is not None
    assert findings.find_low_contrast(looked((narrow / 5000).astype(np.float32))) is not None
    # 12 bits in 16 are no low contrast, and all of 8 bits are none
    assert findings.find_low_contrast(looked(scenes.scene(0))) is None
    assert findings.find_low_contrast(looked(rng.integers(0, 255, (20, 60, 60), dtype=np.uint8))) is None


# --- light along an axis ----------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("decay", [1.5, 3.0])
def test_a_decay_is_found_along_its_axis_alone(axis, decay):
    volume = scenes.scene(3, SMALL, decay=decay, axis=axis)
    sample = looked(volume)
    each_axis = [trends.find_trend(sample, each) for each in (-3, -2, -1)]
    assert [trend is not None for trend in each_axis] == [each == axis for each in range(3)]
    trend = each_axis[axis]
    assert -trend.rate == pytest.approx(decay, rel=0.1)
    assert trend.left == pytest.approx(math.exp(-decay), rel=0.3)
    assert trend.steady
    assert trend.offset == pytest.approx(scenes.OFFSET, abs=8)
    # without it, there is none
    even = trends.flattened(sample, [trend])
    assert trends.find_trend(even, axis - 3, findings.Background(trend.offset, 0.5)) is None


def test_light_that_grows():
    volume = scenes.scene(3, SMALL, decay=2.0, axis=0)[::-1]
    assert trends.find_trend(looked(volume), -3).rate == pytest.approx(2.0, rel=0.12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("diameter", [8.0, 14.0])
def test_no_decay_is_invented(seed, diameter):
    sample = looked(scenes.scene(seed, (diameter,) * 3))
    assert all(trends.find_trend(sample, axis) is None for axis in (-3, -2, -1))


def test_light_that_changes_but_not_steadily():
    volume = scenes.scene(4, SMALL, decay=0)
    wave = np.exp(-2.5 * np.linspace(0, 1, 160) ** 4)
    trend = trends.find_trend(looked(np.rint((volume - 100.0) * wave + 100)), -1)
    assert not trend.steady


@pytest.mark.parametrize("teeth", [0.05, 0.1, 0.4])
def test_a_saw_tooth_is_found(teeth):
    found = trends.find_jumps(looked(scenes.scene(5, teeth=teeth)))
    assert found.size == pytest.approx(math.log((1 + teeth / 2) / (1 - teeth / 2)), rel=0.5)


def test_no_saw_tooth_is_invented():
    assert all(trends.find_jumps(looked(scenes.scene(seed))) is None for seed in range(4))
    assert trends.find_jumps(looked(scenes.scene(0, decay=2.0))) is None
    assert trends.find_jumps(looked(scenes.scene(0)[0])) is None


@pytest.mark.parametrize("radius", [9.0, 14.0, 16.5])
@pytest.mark.parametrize("look", ["even", "dome", "dark in its middle"])
def test_the_ends_of_a_body_are_no_saw_tooth(radius, look):
    z, y, x = np.ogrid[-15.5:16, -47.5:48, -47.5:48]
    away = (z / radius) ** 2 + (y / 38) ** 2 + (x / 42) ** 2
    bright = {"even": 1.0, "dome": 1 - away, "dark in its middle": np.exp(-1.5 * np.clip(1 - np.sqrt(away), 0, 1))}
    light = np.where(away < 1, bright[look], 0.0)
    noise = np.random.default_rng(0).normal(100, 10, light.shape)
    assert trends.find_jumps(looked(1000 * light + noise)) is None
    # Its planes jump where they do so inside of it.
    light[10::7] *= 0.7
    assert trends.find_jumps(looked(1000 * light + noise)).size == pytest.approx(-math.log(0.7), rel=0.6)


def test_flicker_and_bleaching_over_time():
    still, flickers = looked(scenes.series(0)), looked(scenes.series(0, 0.05))
    assert trends.find_flicker(still) is None
    assert trends.find_bleaching(still) is None
    assert trends.find_flicker(flickers).size == pytest.approx(0.07, rel=0.4)
    series = scenes.series(0)
    lamp = np.exp(-np.linspace(0, 1, 12))[:, None, None, None]
    bleached = looked(np.rint((series - 100.0) * lamp + 100).astype(np.uint16))
    assert trends.find_bleaching(bleached).rate == pytest.approx(-12 / 11, rel=0.25)
    assert trends.find_flicker(bleached) is None


# --- regions and structures -------------------------------------------------------------


@pytest.mark.parametrize("diameter", [(10.0, 10.0, 10.0), (6.0, 20.0, 20.0), (14.0, 14.0, 14.0)])
def test_the_size_of_structures(diameter):
    sizes = structures.find_structures(looked(scenes.scene(6, diameter)))
    np.testing.assert_allclose(sizes, diameter, rtol=0.25)


def test_noise_has_no_structures():
    rng = np.random.default_rng(0)
    assert structures.find_structures(looked(rng.normal(100, 5, (40, 100, 100)))) is None
    assert structures.find_structures(looked(rng.integers(0, 4000, (40, 100, 100), dtype=np.uint16))) is None


def test_regions_that_differ():
    volume = scenes.scene(7).astype(np.float64) - 100
    even = structures.find_regions(looked(volume))
    assert even.ratio < 2.5
    volume[:, :80] /= 8
    uneven = structures.find_regions(looked(volume))
    assert uneven.ratio > 4
    assert uneven.use < even.use


def test_percentiles_are_those_of_numpy():
    values = np.random.default_rng(0).normal(size=1001)
    values[::7] = np.nan
    found = robust.percentiles(values, 0.0, 12.5, 50.0, 99.9, 100.0)
    np.testing.assert_allclose(found, np.nanpercentile(values, (0, 12.5, 50, 99.9, 100)))
    assert math.isnan(robust.middle(np.full(3, np.nan)))


@pytest.mark.parametrize(
    "volume",
    [
        np.zeros((3, 4, 5), np.uint8),
        np.full((40, 64, 64), 7.0),
        np.full((4, 20, 20), np.nan, np.float32),
        np.arange(64.0).reshape(1, 8, 8),
        np.random.default_rng(0).normal(size=(9, 2, 2)),
        np.random.default_rng(0).random((12, 3, 8, 30, 30)),
    ],
)
def test_volumes_of_which_nothing_can_be_told(volume):
    sample = looked(volume)
    background = findings.find_background(sample)
    for axis in range(-sample.spatial, 0):
        assert trends.find_trend(sample, axis, background) is None
    for find in (trends.find_jumps, trends.find_flicker, trends.find_bleaching, findings.find_ends):
        assert find(sample) is None
    structures.find_structures(sample)
    structures.find_regions(sample)
    findings.find_bits(sample)
    assert replace(sample, looked=0).looked == 0

"""Ranges and curves that a few voxels far off do not move."""

import math

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core import reference
from napari_exposure.core import Percentiles, adjust_gamma, correct_decay, equalize_adapthist, equalize_hist, quantiles
from napari_exposure.core.quantiles import PARTS, find_knots, knots_of_sorted
from napari_exposure.core.volume import Volume

BINNED = [name for name in reference.DTYPES if not name.endswith(("int8", "int16"))]


def fraction_below(volume, lo=-math.inf, hi=math.inf):
    """Of each voxel the fraction of all that are no brighter."""
    values = np.clip(volume.astype(np.float64), lo, hi)
    counted = np.sort(values[~np.isnan(values)], axis=None)
    return np.searchsorted(counted, values, side="right") / counted.size


@pytest.fixture(params=["sorted", "by keys"])
def either_way(request, monkeypatch):
    """Small volumes are sorted, large ones are not; here a volume is small or large."""
    monkeypatch.setattr("napari_exposure.core.equalize.SMALL", 1 << 18 if request.param == "sorted" else 0)


@pytest.mark.parametrize("dtype", BINNED)
@pytest.mark.parametrize("kind", ["spread", "hot", "dead", "zeros", "distant", "few"])
def test_equalized_is_the_fraction_below(dtype, kind, either_way):
    rng = np.random.default_rng(0)
    volume = rng.gamma(2, 200, (12, 40, 40))
    most = 6e4 if dtype == "float16" else 2e9
    if kind in ("hot", "dead"):
        volume[3, 4, 5:9] = most if kind == "hot" or dtype.startswith("u") else -most
    if kind == "zeros":
        volume = np.maximum(volume - 400, 0)
    if kind == "distant":
        volume += most / 2
    if kind == "few":
        volume = rng.integers(0, 3, volume.shape)
    volume = volume.astype(dtype)
    result = equalize_hist(volume, output="float32")
    assert np.abs(result - fraction_below(volume)).max() <= 1 / PARTS
    assert (np.diff(result.ravel()[np.argsort(volume, axis=None)]) >= 0).all()
    assert result.max() == 1
    # where many are alike, they are right to the last digit
    values, counts = np.unique(volume, return_counts=True)
    often = np.isin(volume, values[counts > volume.size / 100])
    np.testing.assert_allclose(result[often], fraction_below(volume)[often], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint64"])
def test_one_hot_voxel_changes_nothing_else(dtype, either_way):
    volume = np.random.default_rng(0).integers(0, 4096, (8, 40, 40)).astype(dtype)
    hot = volume.copy()
    hot[0, 0, 0] = 1 << 31 if dtype == "uint64" else (1 << 31) - 1
    found, expected = (equalize_hist(each, output="float32").ravel()[1:] for each in (hot, volume))
    assert np.abs(found - expected).max() <= 2 / PARTS


@pytest.mark.parametrize("in_range", [(50.5, 900.25), (-3.0, 1e6), (350.2, 350.9), Percentiles(5, 95)])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_what_lies_outside_a_range_counts_at_its_ends(dtype, in_range, either_way):
    volume = np.random.default_rng(0).gamma(2, 200, (8, 40, 40)).astype(dtype)
    lo, hi = reference.input_range(volume.astype(np.float64).ravel(), in_range, dtype)
    result = equalize_hist(volume, in_range=in_range, output="float32")
    assert np.abs(result - fraction_below(volume, lo, hi)).max() <= 1 / PARTS


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_infinities_are_clamped_and_nan_stays(dtype, either_way):
    volume = np.random.default_rng(0).normal(0, 50, (8, 40, 40)).astype(dtype)
    volume[1], volume[2], volume[3] = np.inf, -np.inf, np.nan
    finite = volume[np.isfinite(volume)]
    result = equalize_hist(volume, output="float32")
    expected = fraction_below(volume, finite.min(), finite.max())
    assert np.isnan(result[3]).all()
    kept = ~np.isnan(volume)
    assert np.abs(result - expected)[kept].max() <= 1 / PARTS
    assert (result[1] == 1).all()


@pytest.mark.parametrize("value", [0.0, -0.0, 3.5, -1e30])
def test_a_constant_is_the_lowest_value(value, either_way):
    with pytest.warns(UserWarning, match="only one intensity"):
        assert (equalize_hist(np.full((3, 30, 30), value, np.float32)) == 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_knots_are_the_same_in_any_chunking(dtype):
    array = reference.make_volume(dtype, (16, 40, 40))
    lo, hi = float(array.min()), float(array.max())
    whole = find_knots(Volume(array), lo, hi)
    for chunks in ((16, 40, 40), (1, 40, 40), (5, 13, 7)):
        for found, expected in zip(find_knots(Volume(da.from_array(array, chunks=chunks)), lo, hi), whole, strict=True):
            np.testing.assert_array_equal(found, expected)


@given(hnp.arrays("float32", st.integers(1, 60), elements=st.floats(-100, 100, width=32) | st.just(0.0)))
def test_few_voxels_have_their_exact_ranks(values):
    ordered = np.sort(values)
    places, heights = knots_of_sorted(ordered)
    if not places.size:
        assert ordered[0] == ordered[-1]
        return
    assert (np.diff(places) > 0).all()
    assert (np.diff(heights) >= 0).all()
    expected = np.searchsorted(ordered, ordered, side="right") / len(ordered)
    np.testing.assert_array_equal(np.interp(ordered.astype(float), places, heights), expected)


def test_two_passes_are_enough_for_usual_data(monkeypatch):
    passes = []
    count = quantiles.count
    monkeypatch.setattr(quantiles, "count", lambda *arguments: passes.append(1) or count(*arguments))
    for dtype in ("float32", "float64"):
        array = np.random.default_rng(0).gamma(2, 200, (16, 40, 40)).astype(dtype)
        find_knots(Volume(array), float(array.min()), float(array.max()))
    assert len(passes) <= 4


# --- percentiles as a range -------------------------------------------------------------


@pytest.mark.parametrize(("shape", "per"), [((64, 64), "dataset"), ((8, 32, 32), "dataset"), ((6, 96, 96), "plane")])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("value", [65000, 0])
def test_one_voxel_far_off_is_not_the_range(shape, per, dtype, value):
    volume = np.random.default_rng(0).integers(20_000, 21_000, shape).astype(dtype)
    spoilt = volume.copy()
    spoilt[..., 5, 5] = value
    if per == "dataset" and len(shape) == 3:
        spoilt[1:] = volume[1:]
    for verb, options in (
        (equalize_adapthist, {}),
        (adjust_gamma, {"gamma": 0.5, "in_range": Percentiles(0.05, 99.95)}),
    ):
        found, expected = (verb(each, per=per, output="float32", **options) for each in (spoilt, volume))
        same = spoilt == volume
        spread, before = (np.ptp(np.percentile(each[same], (5, 95))) for each in (found, expected))
        assert spread > 0.8 * before


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int32"])
@pytest.mark.parametrize("ends", [(0.01, 99.99), (0, 99.99), (0.01, 100), (0, 100)])
def test_as_many_voxels_as_asked_for_are_left_out_but_at_least_one(dtype, ends):
    values = np.array([[1, 2, 3, 4, 5, 100]], dtype)
    low, high = ends
    expected = values[0, int(low > 0)], values[0, -1 - int(high < 100)]
    stretched = adjust_gamma(values, in_range=Percentiles(*ends), output="float32")
    position = np.clip((values - float(expected[0])) / (float(expected[1]) - float(expected[0])), 0, 1)
    np.testing.assert_allclose(stretched, position, atol=1e-6)


def test_infinities_are_no_range():
    volume = np.random.default_rng(0).normal(100, 9, (8, 40, 40)).astype(np.float32)
    volume[0], volume[1] = -np.inf, np.inf
    finite = volume[2:]
    lo, hi = np.percentile(finite, (1, 99))
    result = adjust_gamma(volume, in_range=Percentiles(1, 99), output="float32")
    np.testing.assert_allclose(result[2:], np.clip((finite - lo) / (hi - lo), 0, 1), atol=1e-5)


@pytest.mark.parametrize("model", ["exponential", "smooth", "plane"])
def test_an_automatic_background_is_finite(model):
    rng = np.random.default_rng(0)
    with np.errstate(divide="ignore"):
        volume = np.log(rng.poisson(3, (8, 20, 20)).astype(np.float32))
    assert np.isneginf(volume).mean() > 0.03
    result = correct_decay(volume, model=model, background="auto", percentile=90, force=True)
    assert np.isfinite(result[np.isfinite(volume)]).all()

"""Filling of gaps: against SciPy's distance transform, NumPy's median, and on every way of reading."""

import dataclasses
import pickle

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from core import reference
from napari_exposure import Recipe
from napari_exposure.core import Adjustment, Fill, Gamma, adjust, fill
from napari_exposure.core.pointwise import TableFit

SHAPE = (7, 16, 18)


def with_gaps(dtype="uint16", shape=SHAPE, value=0, seed=0):
    """A volume with a slab and some single voxels that hold nothing; and where they are."""
    volume = reference.make_volume(dtype, shape, seed)
    volume[volume == value] = np.asarray(value + 1).astype(dtype)
    rng = np.random.default_rng(seed)
    gap = rng.random(shape) < 0.02
    gap[..., 5:8] = True
    volume[gap] = value
    return volume, gap


def assert_nearest(found, volume, gap, spacing):
    """Each filled voxel has the intensity of one of those that are nearest."""
    least = distance_transform_edt(gap, spacing)
    places, values = np.argwhere(~gap) * spacing, found.dtype.type(0) + volume[~gap]
    for at in np.argwhere(gap):
        distances = np.sqrt(((places - at * spacing) ** 2).sum(axis=1))
        assert found[tuple(at)] in values[np.isclose(distances, least[tuple(at)])]


@pytest.mark.parametrize("spacing", [(1, 1, 1), (5, 0.5, 1)])
@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_gaps_become_what_is_nearest(dtype, spacing):
    volume, gap = with_gaps(dtype)
    before = volume.copy()
    found = fill(volume, spacing=spacing)
    np.testing.assert_array_equal(volume, before)
    np.testing.assert_array_equal(found[~gap], volume[~gap].astype(found.dtype))
    assert_nearest(found, volume.astype(found.dtype), gap, np.array(spacing))


def test_a_volume_without_ties_is_that_of_scipy():
    volume, gap = with_gaps("float32", (9, 40, 44))
    # irrational sizes: hardly two voxels are equally near
    spacing = (np.sqrt(2), 1.0, np.sqrt(3))
    index = distance_transform_edt(gap, spacing, return_distances=False, return_indices=True)
    expected = volume[tuple(index)]
    assert (fill(volume, spacing=spacing) == expected).mean() > 0.95


@pytest.mark.parametrize("value", [0, 7])
@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_gaps_become_the_median_of_the_others(dtype, value):
    volume, gap = with_gaps(dtype, value=value)
    found = fill(volume, "median", value)
    expected = np.median(volume[~gap].astype(np.float64))
    np.testing.assert_array_equal(found[~gap], volume[~gap].astype(found.dtype))
    if found.dtype.kind == "f":
        np.testing.assert_allclose(found[gap], expected, rtol=1e-6)
    else:
        np.testing.assert_array_equal(found[gap], np.rint(expected))


@given(st.data())
def test_the_median_wherever_the_gap_lies(data):
    values = data.draw(st.lists(st.integers(-5, 5), min_size=2, max_size=30).filter(lambda v: set(v) != {0}))
    for dtype in ("int16", "int32", "float32"):
        volume = np.array([values], dtype)
        found = fill(volume, "median", output="float32")
        expected = np.median([value for value in values if value])
        np.testing.assert_allclose(found[volume == 0], expected, atol=1e-6)


@pytest.mark.parametrize("method", ["nearest", "median"])
def test_nan_is_always_a_gap(method):
    volume = np.array([[np.nan, 2, 3, 9, np.nan, 0]], np.float32)
    found = fill(volume, method, 9)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0, [1, 2, 5]], [2, 3, 0])
    if method == "median":
        np.testing.assert_array_equal(found[0, [0, 3, 4]], 2)
    else:
        assert (found[0, 0], found[0, 3], found[0, 4]) == (2, 3, 0)


def test_only_counted_voxels_fill():
    volume, gap = with_gaps()
    mask = np.zeros(SHAPE, bool)
    mask[:, :6] = True
    found = fill(volume, mask=mask)
    usable = mask & ~gap
    np.testing.assert_array_equal(found[~gap], volume[~gap].astype(found.dtype))
    assert np.isin(found[gap], volume[usable]).all()
    np.testing.assert_array_equal(fill(volume, "median", mask=mask)[gap], np.rint(np.median(volume[usable])))


METHODS = [Fill(), Fill("median"), Fill(per="plane"), Fill("median", per="plane")]


@pytest.mark.parametrize("adjustment", METHODS, ids=str)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_lazy_and_stored_arrays_give_the_same_bits(adjustment, dtype, tmp_path):
    volume, _ = with_gaps(dtype)
    expected = adjust(adjustment, volume, spacing=(3, 1, 2))
    lazy = adjust(adjustment, da.from_array(volume, chunks=((3, 4), 6, (7, 1, 10))), spacing=(3, 1, 2))
    np.testing.assert_array_equal(lazy.compute(), expected)
    stored = zarr.create_array(str(tmp_path / "v.zarr"), data=volume, chunks=(2, 6, 8))
    transform = adjustment.fit(stored, spacing=(3, 1, 2))
    np.testing.assert_array_equal(np.asarray(transform.apply(stored)), expected)
    if adjustment.per == "plane":
        np.testing.assert_array_equal(
            expected[3], adjust(dataclasses.replace(adjustment, per="dataset"), volume[3], spacing=(1, 2))
        )


@settings(max_examples=30)
@given(st.data())
def test_a_block_gives_the_values_of_the_whole(data):
    volume, _ = with_gaps()
    transform = pickle.loads(pickle.dumps(data.draw(st.sampled_from(METHODS)).fit(volume)))
    whole = transform.apply(volume)
    cut = [sorted(data.draw(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))) for n in SHAPE]
    part = tuple(slice(a, b + 1) for a, b in cut)
    np.testing.assert_array_equal(transform(volume[part], [a for a, _ in cut]), whole[part])
    coarse = transform.onto(volume.shape, (1, 2, 3))
    np.testing.assert_array_equal(coarse.apply(volume[:, ::2, ::3]), whole[:, ::2, ::3])


def test_another_level_of_a_pyramid():
    volume = np.repeat(np.arange(1, 17, dtype=np.uint8), 2)[None] * np.ones((4, 1), np.uint8)
    volume[:, 10:22] = 0
    found = Fill().fit(volume).at_level((2, 16)).apply(volume[::2, ::2])
    assert found[0].tolist() == [1, 2, 3, 4, 5, 5, 5, 5, 12, 12, 12, 12, 13, 14, 15, 16]


def test_a_median_joins_other_tables():
    volume, gap = with_gaps()
    recipe = Recipe((Fill("median"), Gamma(0.6)))
    fitted = recipe.fit(volume)
    (joined,) = fitted._joined
    assert isinstance(joined.fits[()], TableFit)
    np.testing.assert_array_equal(fitted.apply(volume), adjust(Gamma(0.6), fill(volume, "median")))
    after = Recipe((Fill(), Gamma(0.6)))
    np.testing.assert_array_equal(after.apply(volume), adjust(Gamma(0.6), fill(volume)))
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    assert Adjustment.from_dict(Fill().to_dict()) == Fill()
    # intensities that the fitted volume has not stay what they are
    other = np.where(gap, 0, volume.max() + 5).astype(np.uint16)
    np.testing.assert_array_equal(Fill("median").fit(volume).apply(other)[~gap], other[~gap])


def test_colors_and_float_output():
    colors = np.random.default_rng(0).integers(1, 256, (6, 8, 3)).astype(np.uint8)
    colors[2:4, 3:5] = 0
    for method in ("nearest", "median"):
        found = fill(colors, method, rgb=True)
        assert (found.max(axis=-1) > 0).all()
        whole = colors.max(axis=-1) > 0
        np.testing.assert_array_equal(found[whole], colors[whole])
        floats = fill(colors, method, rgb=True, output="float32")
        np.testing.assert_allclose(floats, found / 255, atol=0.5 / 255)
    volume, gap = with_gaps("uint8")
    assert fill(volume, output="float32").dtype == np.float32
    limited = fill(volume, in_range=(100, 150))
    np.testing.assert_array_equal(limited[~gap], volume[~gap].clip(100, 150))
    assert limited.min() >= 100


def test_where_nothing_or_everything_is_missing():
    volume = reference.make_volume("uint16") + np.uint16(1)
    for method in ("nearest", "median"):
        np.testing.assert_array_equal(fill(volume, method), volume)
        with pytest.raises(ValueError, match=r"There is no finite voxel to count \(all have the gap value, 0\)"):
            fill(np.zeros((3, 4, 5), np.uint16), method)
        planes = np.stack([np.zeros((4, 5), np.uint8), np.full((4, 5), 3, np.uint8)])
        np.testing.assert_array_equal(fill(planes, method, per="plane"), planes)


def test_volumes_of_a_series_have_gaps_of_their_own():
    series = np.stack([with_gaps(seed=seed)[0] for seed in range(2)])
    with pytest.raises(ValueError, match="the image has several: use per='volume'"):
        fill(series)
    found = fill(series, per="volume")
    for volume, single in zip(series, found, strict=True):
        np.testing.assert_array_equal(single, fill(volume))
    with pytest.raises(ValueError, match="its gaps are those that were fitted"):
        Recipe(Fill()).apply(series[0, :5], fit_on=series[0])
    with pytest.raises(ValueError, match="method must be one of 'nearest', 'median'"):
        Fill("mean")


def test_a_value_that_is_no_gap(monkeypatch):
    monkeypatch.setattr("napari_exposure.core.filling.MOST_BESIDE", 10)
    volume, _ = with_gaps()
    with pytest.raises(ValueError, match=r"voxels lie beside one of intensity 0, which is no gap"):
        fill(volume)


@pytest.mark.parametrize("size", [2.0**1000, 2.0**-1000, 2.0**-1070])
def test_only_the_ratios_of_sizes_matter(size):
    volume, _ = with_gaps()
    np.testing.assert_array_equal(fill(volume, spacing=size), fill(volume))
    ratios = np.array((5, 0.5, 1))
    np.testing.assert_array_equal(fill(volume, spacing=ratios * size), fill(volume, spacing=ratios))


@pytest.mark.parametrize("size", [1e300, 1e-300])
def test_sizes_whose_squares_float64_cannot_hold(size):
    volume, gap = with_gaps()
    assert_nearest(fill(volume, spacing=(5 * size, 0.5 * size, size)), volume, gap, (5, 0.5, 1))

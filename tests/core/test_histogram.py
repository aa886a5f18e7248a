import math
from functools import reduce
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import exposure

from core import reference
from napari_exposure.core import Histogram, counting, cumulative_distribution, histogram, percentile

BY_VALUE = ("uint8", "uint16", "int8", "int16")
BINNED = ("uint32", "int32", "float16", "float32", "float64")

# --- counts -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", BY_VALUE)
def test_small_integers_have_a_bin_for_every_value(dtype):
    volume = reference.make_volume(dtype)
    h = histogram(volume)
    first = int(volume.min())
    assert h.by_value
    np.testing.assert_array_equal(h.counts, np.bincount(volume.ravel().astype(int) - first))
    np.testing.assert_array_equal(h.centers, np.arange(first, int(volume.max()) + 1))
    assert (h.minimum, h.maximum) == (volume.min(), volume.max())
    assert (h.below, h.above, h.nan, h.total) == (0, 0, 0, volume.size)


@pytest.mark.parametrize("dtype", BINNED)
def test_other_dtypes_have_uniform_bins(dtype):
    volume = reference.make_volume(dtype)
    h = histogram(volume, 37)
    assert not h.by_value
    assert len(h.counts) == 37
    np.testing.assert_allclose(np.diff(h.edges), np.diff(h.edges)[0], rtol=1e-9)
    assert h.edges[0] <= volume.min()
    assert h.edges[-1] >= volume.max()
    np.testing.assert_array_equal(h.counts, np.histogram(volume.astype(np.float64), bins=h.edges)[0])
    assert (h.minimum, h.maximum) == (volume.min(), volume.max())
    assert (h.below, h.above, h.nan, h.total) == (0, 0, 0, volume.size)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bins_of_floats_are_those_of_numpy(dtype):
    volume = reference.make_volume(dtype)
    counts, edges = np.histogram(volume.astype(np.float64), 256)
    h = histogram(volume)
    np.testing.assert_array_equal(h.counts, counts)
    np.testing.assert_allclose(h.edges, edges, rtol=1e-12)


def test_bins_of_wide_integers_are_whole_numbers_wide():
    volume = np.arange(1000, 2000, dtype=np.int32).reshape(10, 100)
    h = histogram(volume, 256)
    # a thousand values in bins of four: no comb
    assert np.diff(h.edges)[0] == 4
    np.testing.assert_array_equal(h.counts, [4] * 250 + [0] * 6)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int32"])
def test_real_size_with_a_mask_and_without_zeros(dtype):
    volume = reference.make_volume(dtype, (9, 20, 21))
    volume[:4] = 0
    mask = np.random.default_rng(1).integers(0, 3, volume.shape)
    for options, counted in (
        ({"mask": mask}, mask != 0),
        ({"ignore_zeros": True}, volume != 0),
        ({"mask": mask, "ignore_zeros": True}, (mask != 0) & (volume != 0)),
    ):
        h = histogram(volume, **options)
        values = volume[counted].astype(np.float64)
        np.testing.assert_array_equal(h.counts, np.histogram(values, bins=h.edges)[0])
        assert (h.minimum, h.maximum) == (values.min(), values.max())
        assert h.total == values.size


def test_infinities_and_nan_are_counted_beside_the_bins():
    volume = np.array([[np.nan, -np.inf, np.inf, np.inf, 1, 2], [np.nan, np.nan, 4, 3, 1, 2]], np.float32)
    h = histogram(volume, 3)
    np.testing.assert_array_equal(h.counts, [2, 2, 2])
    assert (h.below, h.above, h.nan, h.total) == (1, 2, 3, 9)
    assert (h.minimum, h.maximum) == (1, 4)
    np.testing.assert_allclose(h.cdf, [3 / 9, 5 / 9, 7 / 9])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32"])
def test_a_given_range_counts_what_lies_outside(dtype):
    volume = (np.arange(100) % 50).reshape(5, 20).astype(dtype)
    h = histogram(volume, 10, range=(10, 29))
    assert h.below == 20
    assert h.above == 2 * np.count_nonzero(np.arange(50) > h.edges[-1])
    assert h.above > 0
    np.testing.assert_array_equal(h.counts, np.histogram(volume, bins=h.edges)[0])
    assert (h.minimum, h.maximum) == (0, 49)
    assert h.total == 100
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(h.edges, np.linspace(10, 29, 11))


def test_nothing_finite_gives_an_empty_histogram():
    h = histogram(np.full((3, 4), np.nan, np.float32))
    assert (h.total, h.nan) == (0, 12)
    assert math.isnan(h.minimum)
    assert math.isnan(h.maximum)
    np.testing.assert_array_equal(h.cdf, 0)
    empty = histogram(np.ones((3, 4), np.uint8), mask=np.zeros((3, 4), bool))
    assert empty.total == 0
    assert math.isnan(empty.minimum)
    for nothing in (h, empty):
        with pytest.raises(ValueError, match="No voxel was counted"):
            nothing.percentile(50)


def test_a_constant_volume_has_all_voxels_in_one_bin():
    for dtype in reference.DTYPES:
        h = histogram(np.full((3, 4), 5, dtype), 8)
        assert h.counts.max() == 12
        assert h.counts.sum() == 12
        assert h.percentile(50) == 5


_any_float64 = st.floats(-1e30, 1e30) | st.sampled_from([0.0, 1e-30, -1e-30, 1e30, math.nan, math.inf, -math.inf])


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=3), elements=_any_float64), st.integers(1, 300))
def test_every_voxel_is_somewhere(volume, nbins):
    h = histogram(volume, nbins)
    assert h.counts.min() >= 0
    assert h.counts.sum() == np.isfinite(volume).sum()
    assert (h.below, h.above, h.nan) == ((volume == -np.inf).sum(), (volume == np.inf).sum(), np.isnan(volume).sum())


@given(
    hnp.arrays(np.float32, (6, 7), elements=st.floats(-100, 100, width=32)),
    st.tuples(st.floats(-99, 99), st.floats(-99, 99)).map(sorted).filter(lambda r: r[1] - r[0] > 1e-3),
    st.integers(1, 40),
)
def test_edges_decide(volume, bounds, nbins):
    h = histogram(volume, nbins, range=bounds)
    # NumPy would compare float32 with the bounds rounded to float32
    values = volume.astype(np.float64)
    np.testing.assert_array_equal(h.counts, np.histogram(values, bins=h.edges)[0])
    assert h.below == (values < bounds[0]).sum()
    assert h.above == (values > bounds[1]).sum()


@pytest.mark.parametrize("bounds", [(0.1, 0.9), (-1 / 3, 1 / 7), (1e-30, 3e-30)])
def test_values_on_the_edges_are_in_the_bin_above(bounds):
    for nbins in range(2, 200):
        # the division that finds a bin rounds some of these to the bin below, some to the bin above
        volume = np.linspace(*bounds, nbins + 1).reshape(1, -1)
        counts = histogram(volume, nbins, range=bounds).counts
        np.testing.assert_array_equal(counts, [1] * (nbins - 1) + [2])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
def test_many_blocks_give_the_same(dtype, small_blocks):
    volume = reference.make_volume(dtype)
    h = histogram(volume)
    np.testing.assert_array_equal(h.counts, np.histogram(volume.astype(np.float64), bins=h.edges)[0])
    assert (h.minimum, h.maximum, h.total) == (volume.min(), volume.max(), volume.size)
    assert percentile(volume, 12.5) == pytest.approx(np.percentile(volume.astype(np.float64), 12.5), rel=1e-12)


def test_real_volume(nuclei):
    h = histogram(nuclei)
    np.testing.assert_array_equal(h.counts, np.bincount(nuclei.ravel(), minlength=int(nuclei.max()) + 1))
    assert [h.percentile(q) for q in (0.5, 50, 99.5)] == np.percentile(nuclei, (0.5, 50, 99.5)).tolist()


# --- sums -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "bounds"), [("uint8", None), ("int16", None), ("float32", (-2, 2)), ("int32", (0, 9))]
)
def test_histograms_of_parts_add_up_to_that_of_the_whole(dtype, bounds):
    volume = reference.make_volume(dtype)
    whole = histogram(volume, range=bounds)
    parts = [histogram(plane, range=bounds) for plane in volume]
    total = reduce(Histogram.__add__, parts)
    np.testing.assert_array_equal(total.counts, whole.counts)
    np.testing.assert_array_equal(total.edges, whole.edges)
    for name in ("minimum", "maximum", "below", "above", "nan", "total", "by_value"):
        assert getattr(total, name) == getattr(whole, name), name


@given(st.lists(hnp.arrays(np.int16, (2, 3)), min_size=1, max_size=4), st.integers(0, 2**12))
def test_sums_of_integer_histograms(parts, seed):
    masks = np.random.default_rng(seed).random((len(parts), 2, 3)) < 0.6
    whole = histogram(np.stack(parts), mask=masks)
    # an empty histogram is neutral from either side
    total = reduce(Histogram.__add__, [histogram(part, mask=mask) for part, mask in zip(parts, masks, strict=True)])
    np.testing.assert_array_equal(total.counts, whole.counts)
    np.testing.assert_array_equal(total.edges, whole.edges)
    np.testing.assert_array_equal([total.minimum, total.maximum], [whole.minimum, whole.maximum])


def test_nan_of_parts_add_up():
    part = np.array([[np.nan, 1, 2, np.inf]])
    total = histogram(part, 4, range=(0, 4)) + histogram(part, 4, range=(0, 4))
    assert (total.nan, total.above, total.total) == (2, 2, 6)


def test_different_bins_do_not_add():
    a = histogram(np.array([[0.0, 1.0]]), 4)
    with pytest.raises(ValueError, match="different bins"):
        a + histogram(np.array([[0.0, 2.0]]), 4)
    with pytest.raises(ValueError, match="different bins"):
        a + histogram(np.array([[0, 1]], np.uint8))
    with pytest.raises(TypeError):
        a + 1


def test_repr_is_short():
    assert repr(histogram(np.array([[1, 3]], np.uint8))) == "Histogram(2 voxels, 3 bins, 1 to 3)"


# --- cumulative distribution ------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float64"])
def test_cumulative_distribution_as_scikit_image_has_it(dtype):
    volume = reference.make_volume(dtype)
    cdf, centers = cumulative_distribution(volume, 100)
    expected_cdf, expected_centers = exposure.cumulative_distribution(volume, 100)
    np.testing.assert_allclose(centers, expected_centers, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(cdf, expected_cdf, rtol=0, atol=1e-12)


def test_cumulative_distribution_of_a_mask():
    volume = reference.make_volume("uint8")
    mask = volume % 2 == 0
    cdf, centers = cumulative_distribution(volume, mask=mask)
    values = volume[mask]
    for fraction, center in zip(cdf, centers, strict=True):
        assert fraction == pytest.approx((values <= center).mean(), abs=1e-12)


# --- percentiles ------------------------------------------------------------------------

_floats = {
    "float16": st.floats(-1e3, 1e3, width=16),
    "float32": st.one_of(st.floats(-10, 10, width=32), st.floats(-(2.0**100), 2.0**100, width=32)),
    "float64": st.one_of(st.floats(-10, 10), st.floats(-1e30, 1e30)),
}
_extremes = [0.0, -0.0, 1.0, 1e-30, -1e-30, 1e30, -1e30, math.nan]


def _volumes(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        few = st.sampled_from(
            [float(dtype.type(v)) for v in _extremes if dtype != np.float16 or abs(v) < 1e4 or v != v]
        )
        elements = _floats[dtype.name] | few
    else:
        elements = st.integers(*reference.ends(dtype)) | st.sampled_from([*reference.ends(dtype), 0, 1, 2])
    return hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=3, max_side=7), elements=elements)


quantiles = st.floats(0, 100) | st.sampled_from([0, 0.01, 50, 99.99, 100])


# whether voxels are sorted, because they are few, or selected digit by digit
how_selected = pytest.mark.parametrize("few", [0, counting.FEW], ids=["digits", "sorted"])


@how_selected
@pytest.mark.parametrize("dtype", reference.DTYPES)
@given(data=st.data())
def test_percentile_as_numpy_has_it(dtype, few, data):
    volume = data.draw(_volumes(dtype))
    q = data.draw(quantiles)
    values = volume.astype(np.float64)
    with mock.patch.object(counting, "FEW", few):
        if np.isnan(values).all():
            with pytest.raises(ValueError, match="No voxel was counted"):
                percentile(volume, q)
            return
        found = percentile(volume, q)
    expected = np.nanpercentile(values, q, method="linear")
    # one rounding of the greater neighbour is all that may differ
    scale = np.nanmax(np.abs(values))
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15 * scale)


@pytest.mark.parametrize("dtype", BY_VALUE)
@given(data=st.data())
def test_percentiles_of_a_histogram_of_integers_are_exact(dtype, data):
    volume = data.draw(_volumes(dtype))
    q = data.draw(quantiles)
    assert histogram(volume).percentile(q) == pytest.approx(np.percentile(volume.astype(np.float64), q), rel=1e-12)


@given(_volumes("float64").filter(lambda v: not np.isnan(v).all()), quantiles)
def test_percentiles_of_a_histogram_of_floats_are_right_to_a_bin(volume, q):
    h = histogram(volume, 64)
    ordered = np.sort(volume[~np.isnan(volume)])
    position = q / 100 * (ordered.size - 1)
    width = h.edges[1] - h.edges[0]
    slack = width + 1e-9 * np.abs(ordered).max()
    assert ordered[math.floor(position)] - slack <= h.percentile(q) <= ordered[math.ceil(position)] + slack
    assert h.minimum <= h.percentile(q) <= h.maximum


def test_many_percentiles_at_once():
    volume = reference.make_volume("float32")
    wanted = [0, 0.5, 0.51, 33, 50, 99.5, 100]
    found = percentile(volume, wanted)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, np.percentile(volume.astype(np.float64), wanted), rtol=1e-12)
    assert isinstance(percentile(volume, 50), float)


@how_selected
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_percentile_of_counted_voxels(dtype, few, monkeypatch):
    monkeypatch.setattr(counting, "FEW", few)
    volume = reference.make_volume(dtype)
    volume[:, ::2] = 0
    mask = np.random.default_rng(4).random(volume.shape) < 0.5
    values = volume[mask & (volume != 0)].astype(np.float64)
    assert percentile(volume, 30, mask=mask, ignore_zeros=True) == pytest.approx(np.percentile(values, 30), rel=1e-12)


@how_selected
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_percentiles_between_infinities(dtype, few, monkeypatch):
    monkeypatch.setattr(counting, "FEW", few)
    volume = np.array([[-np.inf, -np.inf, 1, 2, np.inf, np.inf]], dtype)
    # ranks 0 to 5 are at every 20 percent
    expected = {0: -np.inf, 10: -np.inf, 20: -np.inf, 40: 1, 50: 1.5, 60: 2, 65: np.inf, 75: np.inf, 90: np.inf}
    assert {q: percentile(volume, q) for q in expected} == expected


@pytest.mark.parametrize("q", [-1, 100.1, math.nan, "a", None])
def test_percentile_out_of_bounds(q):
    with pytest.raises((TypeError, ValueError), match="q must be"):
        percentile(np.zeros((2, 2), np.uint8), q)
    with pytest.raises((TypeError, ValueError), match="q must be"):
        histogram(np.zeros((2, 2), np.uint8)).percentile(q)


def test_percentile_of_nothing():
    for dtype in ("uint8", "float32"):
        with pytest.raises(ValueError, match="No voxel was counted"):
            percentile(np.ones((2, 2), dtype), 50, mask=np.zeros((2, 2)))


# --- parameters -------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(2, 1), (1, 1), (0, math.nan), (0, "a"), (-math.inf, 0)])
def test_range_out_of_order(bounds):
    with pytest.raises((TypeError, ValueError), match="range"):
        histogram(np.zeros((2, 2)), range=bounds)


@pytest.mark.parametrize("nbins", [0, -3, math.nan, "many", 1 << 25])
def test_nbins_out_of_bounds(nbins):
    with pytest.raises((TypeError, ValueError), match="nbins"):
        histogram(np.zeros((2, 2)), nbins)


def test_a_range_wider_than_float64_is_refused():
    with pytest.raises(ValueError, match="too wide"):
        histogram(np.array([[-1.7e308, 1.7e308]]))

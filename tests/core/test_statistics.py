import csv
import io
import json
import math
import statistics
import sys
from fractions import Fraction
from functools import reduce

import dask.array as da
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core import reference
from napari_exposure.core import Histogram, histogram
from napari_exposure.core.blocks import contiguous_blocks
from napari_exposure.core.counting import count_histogram
from napari_exposure.core.histogram import write_csv
from napari_exposure.core.jit import kernel
from napari_exposure.core.moments import Grid, Moments
from napari_exposure.core.volume import Volume

BY_VALUE = ("uint8", "uint16", "int8", "int16")
BINNED = ("uint32", "int32", "float16", "float32", "float64")


def assert_statistics(h, values):
    """Those of `values`, the finite counted ones; the mean and the deviation in exact arithmetic."""
    exact = values[np.isfinite(values)].astype(np.float64).ravel().tolist()
    if not exact:
        assert all(map(math.isnan, (h.mean, h.std, h.minimum, h.maximum)))
        assert (h.at_minimum, h.at_maximum) == (0, 0)
        return
    low, high = min(exact), max(exact)
    # the numbers nearest to the greatest value are so far apart
    ulp = float(np.spacing(max(abs(low), abs(high))))
    assert h.mean == pytest.approx(statistics.mean(exact), rel=1e-13, abs=4 * ulp)
    assert h.std == pytest.approx(statistics.pstdev(exact), rel=1e-9, abs=4 * ulp)
    assert (h.minimum, h.maximum) == (low, high)
    assert (h.at_minimum, h.at_maximum) == (exact.count(low), exact.count(high))


# --- mean, deviation, voxels at the extremes --------------------------------------------


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_statistics_are_those_of_the_voxels_and_not_of_the_bins(dtype):
    volume = reference.make_volume(dtype)
    values = volume.astype(np.float64)
    for h in (histogram(volume), histogram(volume, 3)):
        assert h.mean == pytest.approx(np.mean(values), rel=1e-12)
        assert h.std == pytest.approx(np.std(values), rel=1e-12)
        assert h.at_minimum == (volume == volume.min()).sum()
        assert h.at_maximum == (volume == volume.max()).sum()


_special = [0.0, -0.0, 1.0, 1e30, -1e30, 1e-30, -1e-30, 1e9, 1e9 + 1, math.nan, math.inf, -math.inf]


def _elements(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind != "f":
        return st.integers(*reference.ends(dtype)) | st.sampled_from([*reference.ends(dtype), 0, 1, 2])
    bound = 1e4 if dtype.itemsize == 2 else 1e30
    few = [float(dtype.type(v)) for v in _special if not math.isfinite(v) or abs(v) <= bound]
    edge = float(dtype.type(bound))
    return st.floats(-edge, edge, width=8 * dtype.itemsize) | st.sampled_from(few)


@pytest.mark.parametrize("dtype", reference.DTYPES)
@settings(max_examples=40)
@given(data=st.data())
def test_statistics_of_any_voxels(dtype, data):
    shape = data.draw(hnp.array_shapes(min_dims=2, max_dims=3, max_side=6))
    volume = data.draw(hnp.arrays(dtype, shape, elements=_elements(dtype)))
    mask = data.draw(st.none() | hnp.arrays(bool, shape))
    ignore_zeros = data.draw(st.booleans())
    bounds = data.draw(st.sampled_from([None, None, (-1, 2)]))
    values = volume[reference.counted_voxels(volume, mask, ignore_zeros)]
    assert_statistics(histogram(volume, 5, range=bounds, mask=mask, ignore_zeros=ignore_zeros), values)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint16"])
@pytest.mark.parametrize("size", [2, 1023, 1024, 1025, 3000])
def test_the_length_of_a_run_does_not_matter(dtype, size):
    # sums run over pieces of 1024 voxels: extremes at their borders, and new ones in each of them
    rng = np.random.default_rng(size)
    values = rng.integers(10, 90, size)
    values[[0, -1]] = 5, 95
    values[1023:1025] = (95, 5)[: max(0, size - 1023)]
    for ordered in (values, np.sort(values), np.sort(values)[::-1]):
        volume = ordered.reshape(1, -1).astype(dtype)
        assert_statistics(histogram(volume), volume)
        mask = rng.random(volume.shape) < 0.5
        assert_statistics(histogram(volume, mask=mask), volume[mask])


def test_pieces_without_counted_voxels_change_nothing():
    volume = np.full((5, 1024), np.nan)
    volume[2] = np.arange(1024) + 1e6
    volume[3] = np.inf
    assert_statistics(histogram(volume), volume)
    mask = np.zeros(volume.shape)
    mask[2, 500:510] = mask[3] = 1
    assert_statistics(histogram(volume, mask=mask), volume[2, 500:510])


@pytest.mark.parametrize(
    ("dtype", "offset"),
    [("float64", 1e9), ("float64", -1e9), ("float64", 1e12), ("int32", -2e9), ("uint32", 4e9), ("int16", 32000)],
)
def test_no_digits_are_lost_to_a_distant_mean(dtype, offset, small_blocks):
    noise = np.random.default_rng(0).normal(0, 1 if dtype == "float64" else 50, (20, 30, 20))
    volume = (offset + noise).astype(dtype)
    h = histogram(volume)
    near = volume.astype(np.float64) - offset
    # to the rounding of the values themselves
    assert h.std == pytest.approx(np.std(near), rel=np.spacing(abs(offset)))
    assert h.mean - offset == pytest.approx(np.mean(near), abs=1e-15 * abs(offset))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_distant_first_voxel_does_not_spoil_the_rest(dtype):
    volume = np.random.default_rng(0).normal(0, 1, (40, 100)).astype(dtype)
    volume[0, 0] = 1e9
    volume[25, 0] = -1e9
    mask = np.abs(volume) < 1e8
    assert_statistics(histogram(volume), volume)
    assert_statistics(histogram(volume, mask=mask), volume[mask])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e30, 1e-30])
def test_magnitude_does_not_matter(dtype, scale, small_blocks):
    volume = (np.random.default_rng(0).normal(2, 1, (3, 20, 20)) * scale).astype(dtype)
    values = volume.astype(np.float64)
    h = histogram(volume)
    assert h.mean == pytest.approx(np.mean(values), rel=1e-12, abs=0)
    assert h.std == pytest.approx(np.std(values), rel=1e-12, abs=0)


def test_float32_is_not_summed_in_float32():
    volume = np.full((300, 1000), 0.1, np.float32)
    volume[::2] = 1000.1
    values = volume.astype(np.float64)
    h = histogram(volume)
    assert h.mean == pytest.approx(np.mean(values), rel=1e-13)
    assert h.std == pytest.approx(np.std(values), rel=1e-13)


@pytest.mark.parametrize("dtype", reference.DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 900)])
def test_a_constant_deviates_by_nothing(dtype, shape, small_blocks):
    constant = np.array(0.1 if np.dtype(dtype).kind == "f" else 101, dtype)
    h = histogram(np.full(shape, constant))
    assert (h.mean, h.std) == (float(constant), 0)
    assert h.at_minimum == h.at_maximum == math.prod(shape)
    assert h.levels == 1
    assert h.mode == pytest.approx(float(constant), abs=1)


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_statistics_of_nothing(dtype):
    h = histogram(np.ones((3, 4), dtype), mask=np.zeros((3, 4)))
    assert all(map(math.isnan, (h.mean, h.std, h.mode)))
    assert (h.levels, h.at_minimum, h.at_maximum, h.fraction(1)) == (0, 0, 0, 0)


@pytest.mark.parametrize("filled", [math.nan, math.inf, -math.inf])
def test_statistics_of_nothing_finite(filled):
    h = histogram(np.full((3, 4), filled, np.float32))
    assert all(map(math.isnan, (h.mean, h.std, h.mode, h.minimum)))
    assert (h.levels, h.at_minimum, h.at_maximum) == (0, 0, 0)


def test_empty_bins_at_the_ends_do_not_count():
    h = Histogram(np.array([0, 0, 2, 0, 1, 0]), np.arange(7) + 99.5, 102.0, 104.0, by_value=True)
    assert_statistics(h, np.array([102, 102, 104]))
    assert (h.mode, h.levels, h.fraction(101), h.fraction(102)) == (102, 2, 0, 2 / 3)


@pytest.mark.parametrize("dtype", BINNED)
def test_a_range_does_not_cut_the_statistics(dtype):
    volume = reference.make_volume(dtype)
    middle = float(np.median(volume))
    assert_statistics(histogram(volume, 10, range=(middle, middle + 1)), volume)
    assert_statistics(histogram(volume, 10, range=(float(volume.max()) + 1, float(volume.max()) + 9)), volume)


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_statistics_of_many_blocks(dtype, small_blocks):
    volume = reference.make_volume(dtype)
    mask = np.random.default_rng(3).random(volume.shape) < 0.3
    # nothing to count in whole blocks
    mask[2:4] = False
    assert_statistics(histogram(volume), volume)
    assert_statistics(histogram(volume, mask=mask), volume[mask])


@example([2.0**-713], (-1e300, 1e300))
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30),
    st.sampled_from([(-1.0, 2.0), (0.0, 1e-300), (1e15, 1e15 + 2), (-1e300, 1e300)]),
)
def test_sums_are_exact_but_for_the_grid(values, ends):
    values, grid = np.array(values), Grid.between(*ends)
    finite = values[np.isfinite(values)]
    extent = (finite.min(), finite.max()) if finite.size else (math.nan, math.nan)
    found = Moments.of_values(kernel("moments", np.float64), values, np.empty(0, bool), grid, extent)
    assert found.n == finite.size
    exact = [Fraction(value) for value in finite.tolist()]
    error = sum(min(Fraction(grid.unit), abs(value) / 2**40) for value in exact)
    assert abs(found.first - sum(exact)) <= error
    # what lies beyond the edges is not rounded
    if not any(2 * ends[0] - ends[1] <= value <= 2 * ends[1] - ends[0] for value in exact):
        assert (found.first, found.second) == (sum(exact), sum(value**2 for value in exact))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint64", "float16"])
@pytest.mark.parametrize("options", [{}, {"range": (-0.5, 0.75)}, {"mask": True}])
def test_a_histogram_is_the_same_bits_in_any_chunking(dtype, options):
    volume = reference.make_volume(dtype, (16, 40, 40))
    if dtype.startswith("float"):
        volume[3, 5], volume[7] = np.inf, np.nan
    if "mask" in options:
        options = {"mask": volume > 0.1}
    whole = histogram(volume, **options)
    assert whole.std > 0
    for chunks in ((16, 40, 40), (1, 40, 40), (5, 13, 40), (3, 7, 11)):
        assert histogram(da.from_array(volume, chunks=chunks), **options) == whole
    ends = {"range": (float(whole.edges[0]), float(whole.edges[-1]))} if volume.dtype.kind == "f" else {}
    if ends:
        # the parts of several machines
        masks = options.get("mask", np.ones(volume.shape, bool))
        parts = [histogram(volume[at], mask=masks[at], **ends) for at in np.s_[9:, :2, 2:9]]
        assert reduce(Histogram.__add__, parts) == histogram(volume, mask=masks, **ends)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e150, 1e307])
def test_the_deviation_of_extreme_floats(scale):
    volume = np.array([[1, 2, 3, 4]]) * scale
    found = histogram(volume, 8)
    assert found.mean == pytest.approx(2.5 * scale, rel=1e-3 if scale < 1e-300 else 1e-14)
    assert found.std == pytest.approx(np.std([1, 2, 3, 4]) * scale, rel=1e-3 if scale < 1e-300 else 1e-14)


# --- edges ------------------------------------------------------------------------------

_narrow = st.tuples(
    st.floats(-1.7e308, 1.7e308) | st.sampled_from([0.1, 1.0, -1.0, 2.0**53, 5e-324, 1.7976931348623157e308, 0.0]),
    st.integers(0, 40),
)


@given(_narrow, st.integers(1, 300))
def test_edges_increase_however_near_floats_lie(place, nbins):
    value, steps = place
    values = [value]
    for _ in range(steps):
        values.append(math.nextafter(values[-1], -math.inf))
    volume = np.array([values])
    found = histogram(volume, nbins)
    assert (np.diff(found.edges) > 0).all()
    assert found.counts.sum() == found.total == len(values)
    assert found.edges[0] <= min(values)
    assert found.edges[-1] >= max(values)
    again = Histogram.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again == found
    if steps > 1 and 2 * steps + 4 < nbins and abs(value) > 1e-290:
        # each value has a bar, but next to a power of two, where they lie twice as near below it
        assert found.levels >= steps // 2


# --- sums -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float64"])
@settings(max_examples=40)
@given(data=st.data())
def test_statistics_of_parts_add_up_to_those_of_the_whole(dtype, data):
    shape = (data.draw(st.integers(1, 5)), 2, 3)
    offset = data.draw(st.sampled_from([0, 10**9])) if np.dtype(dtype).itemsize > 2 else 0
    few = st.sampled_from([0, 1, 100]) if dtype != "float64" else st.sampled_from([0, 100, math.nan, math.inf])
    volume = data.draw(hnp.arrays(dtype, shape, elements=few | st.integers(0, 100))) + np.array(offset, dtype)
    # whole parts may be empty
    mask = data.draw(hnp.arrays(bool, shape))
    parts = [histogram(v, 4, range=(offset, offset + 99), mask=m) for v, m in zip(volume, mask, strict=True)]
    counted = mask & ~np.isnan(volume.astype(np.float64))
    assert_statistics(reduce(Histogram.__add__, parts), volume[counted])
    assert_statistics(reduce(Histogram.__add__, parts[::-1]), volume[counted])


def test_adding_changes_neither_part():
    for dtype in ("uint8", "float32"):
        a, b = (histogram(np.array([values], dtype), 4, range=(0, 9)) for values in ([1, 1, 2], [1, 9, 9]))
        total = a + b
        assert (a.mean, a.at_minimum, a.at_maximum) == (pytest.approx(4 / 3), 2, 1)
        assert (b.at_minimum, b.at_maximum) == (1, 2)
        assert (total.at_minimum, total.at_maximum, total.mean) == (3, 2, pytest.approx(23 / 6))


# --- mode and levels --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", BY_VALUE)
@settings(max_examples=40)
@given(data=st.data())
def test_mode_and_levels_of_small_integers(dtype, data):
    volume = data.draw(hnp.arrays(dtype, (3, 5), elements=_elements(dtype)))
    values, counts = np.unique(volume, return_counts=True)
    h = histogram(volume)
    assert h.levels == len(values)
    # np.unique sorts, so that this is the lowest of several
    assert h.mode == values[np.argmax(counts)]


@pytest.mark.parametrize("dtype", BINNED)
def test_mode_and_levels_of_bins(dtype):
    volume = reference.make_volume(dtype)
    h = histogram(volume, 50)
    counts = np.histogram(volume.astype(np.float64), h.edges)[0]
    fullest = int(np.argmax(counts))
    assert h.mode == (h.edges[fullest] + h.edges[fullest + 1]) / 2
    assert h.levels == np.count_nonzero(counts) <= len(np.unique(volume))


# --- fraction ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", BY_VALUE)
@settings(max_examples=40)
@given(data=st.data())
def test_fraction_of_small_integers_is_exact(dtype, data):
    volume = data.draw(hnp.arrays(dtype, (3, 5), elements=_elements(dtype)))
    value = data.draw(st.sampled_from(volume.ravel().tolist()) | st.floats(-70000, 70000))
    h = histogram(volume)
    for at in (value, value + 0.5, value - 0.5, np.nextafter(value, -np.inf), np.inf, -np.inf):
        assert h.fraction(at) == (volume <= at).mean()


@settings(max_examples=60)
@given(
    hnp.arrays(np.float64, (4, 5), elements=st.floats(-9, 9) | st.sampled_from([-math.inf, math.inf, math.nan, 1, 2])),
    st.integers(1, 20),
    st.sampled_from([None, (-3, 4)]),
    st.floats(0, 1),
)
def test_fraction_is_right_at_edges_and_between_them(volume, nbins, bounds, inside):
    h = histogram(volume, nbins, range=bounds)
    values = volume[~np.isnan(volume)]
    # a voxel on an edge is in the bin above, but for the last edge
    below = [(values < edge).mean() if len(values) else 0 for edge in h.edges[:-1]]
    below.append((values <= h.edges[-1]).mean() if len(values) else 0)
    np.testing.assert_allclose([h.fraction(edge) for edge in h.edges], below, rtol=0, atol=1e-12)
    for j in range(nbins):
        at = h.edges[j] + inside * (h.edges[j + 1] - h.edges[j])
        assert below[j] - 1e-12 <= h.fraction(at) <= below[j + 1] + 1e-12
    assert isinstance(h.fraction(0.0), float)


def test_fraction_is_interpolated_inside_a_bin():
    h = histogram(np.array([[0.0, 1, 5, 5, 6, 7, 10, 10]]), 2)
    # two in the bin to 5, six in the one from there
    assert [h.fraction(value) for value in (0, 2.5, 5, 6.25, 10)] == [0, 1 / 8, 2 / 8, 3.5 / 8, 1]


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int32"])
def test_fraction_is_the_inverse_of_percentile(dtype):
    volume = np.random.default_rng(0).permutation(10_000).reshape(100, 100).astype(dtype)
    h = histogram(volume, 50)
    for q in (0, 0.5, 12.3, 50, 99.5, 100):
        assert h.fraction(h.percentile(q)) == pytest.approx(q / 100, abs=1.01 / volume.size)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_fraction_at_centres_and_edges_is_the_cdf(dtype):
    h = histogram(reference.make_volume(dtype), 20)
    at = h.centers if h.by_value else h.edges[1:]
    np.testing.assert_allclose([h.fraction(value) for value in at], h.cdf, rtol=0, atol=1e-12)


def test_fraction_counts_what_lies_below_the_bins():
    h = histogram(np.array([[-np.inf, 0, 1, 2, 3, np.inf, np.nan]]), 2, range=(1, 3))
    assert h.fraction(-np.inf) <= 1 / 6
    assert h.fraction(1) == 2 / 6
    assert h.fraction(3) == 5 / 6


def test_all_voxels_are_at_or_below_the_maximum():
    h = histogram(np.array([[0.0, 1, 2, 3, 9]]), 2, range=(1, 3))
    assert h.percentile(100) == 9
    assert h.fraction(9) == 1


# --- bars -------------------------------------------------------------------------------


def assert_bars(bars, h, low, high, nbins):
    """`bars` joins bins of `h` and draws them between low and high."""
    assert set(bars.edges) <= set(h.edges)
    for begin, end, count in zip(bars.edges[:-1], bars.edges[1:], bars.counts, strict=True):
        assert count == h.counts[(h.edges[:-1] >= begin) & (h.edges[:-1] < end)].sum()
    assert bars.below == h.below + h.counts[h.edges[:-1] < bars.edges[0]].sum()
    assert bars.above == h.above + h.counts[h.edges[:-1] >= bars.edges[-1]].sum()
    assert (bars.total, bars.nan, bars.minimum, bars.maximum) == (h.total, h.nan, h.minimum, h.maximum)
    # all of the range that there is
    assert bars.edges[0] <= max(low, h.edges[0]) or low >= h.edges[-1]
    assert bars.edges[-1] >= min(high, h.edges[-1]) or high <= h.edges[0]
    # a bar more where the range begins inside of one
    assert 1 <= len(bars.counts) <= nbins + 1


def assert_equally_wide(bars, h):
    widths = np.diff(np.searchsorted(h.edges, bars.edges)).tolist()
    # of stretched integers to a value; the ends of the data may cut the bars there
    if bars.edges[0] == h.edges[0] and len(widths) > 2:
        assert widths.pop(0) <= max(widths) + 1
    if bars.edges[-1] == h.edges[-1] and len(widths) > 1:
        assert widths.pop() <= max(widths) + 1
    distances = np.diff(np.flatnonzero(h.counts))
    assert max(widths) - min(widths) <= (h.by_value and distances.size > 0 and distances.max() > 1)


bounds = st.tuples(st.floats(-50, 300), st.floats(-50, 300)).map(sorted)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
@settings(max_examples=60)
@given(data=st.data())
def test_bars_join_bins(dtype, data):
    elements = st.integers(0, 250) if np.dtype(dtype).kind != "f" else st.floats(0, 250, width=32)
    h = histogram(data.draw(hnp.arrays(dtype, (4, 6), elements=elements)), 40)
    low, high = data.draw(bounds | st.lists(st.sampled_from(h.edges.tolist()), min_size=2, max_size=2).map(sorted))
    nbins = data.draw(st.integers(1, 60))
    bars = h.rebin(low, high, nbins)
    assert_bars(bars, h, low, high, nbins)
    assert_equally_wide(bars, h)
    for edge in bars.edges:
        assert bars.fraction(edge) == pytest.approx(h.fraction(edge), abs=1e-12)


@settings(max_examples=60)
@given(
    st.integers(0, 90), st.integers(0, 90), st.integers(10, 160), st.integers(1, 40), st.sampled_from([1, 2, 3, 2.6])
)
def test_bars_stay_where_they_are_when_the_range_moves(low, other, length, nbins, step):
    h = histogram(np.round(step * np.arange(256)).astype(np.uint16).reshape(16, 16))
    a, b = (h.rebin(start, start + length, nbins).edges for start in (low, other))
    first, last = max(a[0], b[0]), min(a[-1], b[-1])
    np.testing.assert_array_equal(a[(a >= first) & (a <= last)], b[(b >= first) & (b <= last)])


@pytest.mark.parametrize("nbins", [1, 3, 7, 37, 64, 100, 255, 256, 1000])
def test_bars_are_no_wider_than_needed(nbins):
    volume = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for low, high in ((0, 255), (10, 19), (3.2, 200.7)):
        bars = histogram(volume).rebin(low, high, nbins)
        touched = math.floor(high + 0.5) - math.floor(low + 0.5) + 1
        assert bars.edges[1] - bars.edges[0] == max(1, math.ceil(touched / nbins))


@pytest.mark.parametrize("step", [1, 2, 2.6, 3, 16, 65535 / 4095])
@pytest.mark.parametrize("nbins", [1, 5, 37, 60, 100, 300])
def test_bars_of_even_data_are_no_comb(nbins, step):
    # each level once, also where they were stretched, as 12 bits over the range of 16
    values = 7 + np.round(step * np.arange(300))
    for low, high in ((0, 65535), (values[0], values[-1]), (values[40], values[200] + 0.3)):
        bars = histogram(values.astype(np.uint16).reshape(15, 20)).rebin(low, high, nbins)
        assert len(bars.counts) <= nbins + 1
        # the data may end inside the last bar
        assert len(set(bars.counts[:-1].tolist())) <= 1
        assert 1 <= bars.counts[-1] <= bars.counts[0]


@pytest.mark.parametrize("step", [16, 65535 / 4095])
def test_missing_levels_leave_their_place(step):
    present = np.random.default_rng(0).random(300) < 0.8
    present[[0, -1]] = True
    values = np.round(step * np.flatnonzero(present)).astype(np.uint16)
    bars = histogram(values.reshape(1, -1)).rebin(0, 65535, 75)
    np.testing.assert_array_equal(bars.counts, present.reshape(75, 4).sum(axis=1))


def test_one_odd_value_does_not_make_a_comb():
    volume = (16 * np.arange(100, dtype=np.uint16)).reshape(10, 10)
    volume[5, 5] += 3
    bars = histogram(volume).rebin(0, 1600, 70)
    assert set(bars.counts[:-1].tolist()) == {2}


def test_enough_bars_are_the_bins():
    for dtype in ("uint8", "int32", "float32"):
        h = histogram(reference.make_volume(dtype), 30)
        bars = h.rebin(h.edges[0], h.edges[-1], len(h.counts))
        np.testing.assert_array_equal(bars.counts, h.counts)
        np.testing.assert_array_equal(bars.edges, h.edges)
        assert bars.by_value == h.by_value
        assert bars.percentile(33) == h.percentile(33)


def test_bars_wider_than_a_value_are_not_values():
    bars = histogram(np.array([[0, 1, 2, 3]], np.uint8)).rebin(0, 3, 2)
    assert not bars.by_value
    np.testing.assert_array_equal(bars.centers, [0.5, 2.5])


def test_bars_beside_the_data_hold_what_is_nearest():
    h = histogram(np.arange(10, 20, dtype=np.uint8).reshape(2, 5))
    for low, high, edges, rest in ((100, 200, [18.5, 19.5], (9, 0)), (0, 5, [9.5, 10.5], (0, 9))):
        bars = h.rebin(low, high, 4)
        np.testing.assert_array_equal(bars.edges, edges)
        assert (bars.below, bars.above) == rest


def test_bars_keep_the_statistics_of_the_whole():
    for dtype in ("uint8", "uint16", "int32", "float32"):
        volume = reference.make_volume(dtype)
        h = histogram(volume)
        low, high = np.percentile(volume, (30, 60))
        bars = h.rebin(low, high, 4)
        assert bars.above > 0
        assert bars.below > 0
        assert_statistics(bars, volume)
        # those of all bins, and bars of bars
        assert_statistics(h.rebin(h.edges[0], h.edges[-1], len(h.counts)), volume)
        assert_statistics(bars.rebin(low, high, 2), volume)


def test_bars_of_single_values_keep_the_statistics_of_the_whole():
    volume = np.arange(10, dtype=np.uint8).reshape(2, 5)
    assert_statistics(histogram(volume).rebin(2, 5, 100), volume)


def test_bars_of_nothing():
    empty = histogram(np.ones((3, 4), np.uint8), mask=np.zeros((3, 4))).rebin(0, 9, 4)
    assert (len(empty.counts), empty.total) == (0, 0)
    nothing = histogram(np.full((3, 4), np.nan), 8).rebin(0, 1, 4)
    np.testing.assert_array_equal(nothing.counts, [0, 0, 0, 0])
    assert nothing.nan == 12


@pytest.mark.parametrize("nbins", [0, -1, 2.5, math.nan, "many"])
def test_a_number_of_bars_that_is_none(nbins):
    with pytest.raises((TypeError, ValueError), match="nbins"):
        histogram(np.array([[0, 1]], np.uint8)).rebin(0, 1, nbins)


# --- while counting ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize("masked", [False, True])
def test_steps_carry_the_histogram_of_what_was_counted_so_far(dtype, masked, small_blocks):
    volume = reference.make_volume(dtype)
    mask = np.random.default_rng(0).random(volume.shape) < 0.5 if masked else None
    steps, result = reference.heard(lambda: count_histogram(Volume(volume, mask), 20))
    shown = [step.partial for step in steps if step.partial is not None]
    blocks = list(contiguous_blocks(volume.shape))
    assert len(blocks) > 5
    assert len(shown) == len(blocks)
    assert shown[-1] is result
    counted = np.zeros(volume.shape, bool)
    for block, partial in zip(blocks, shown, strict=True):
        counted[block] = True if mask is None else mask[block]
        values = volume[counted].astype(np.float64)
        # earlier ones do not change when the count goes on
        np.testing.assert_array_equal(partial.counts, np.histogram(values, bins=partial.edges)[0])
        assert_statistics(partial, values)


def test_the_search_for_the_range_has_nothing_to_show_yet(small_blocks):
    volume = Volume(reference.make_volume("float32"))
    reference.heard(lambda: count_histogram(volume))
    steps, _ = reference.heard(lambda: count_histogram(volume))
    half = len(steps) // 2
    assert all(step.partial is None for step in steps[:half])
    assert all(isinstance(step.partial, Histogram) for step in steps[half:])
    np.testing.assert_allclose([step.fraction for step in steps], np.arange(1, len(steps) + 1) / len(steps))
    known, _ = reference.heard(lambda: count_histogram(volume, bounds=(0, 1)))
    assert len(known) == half
    assert all(step.partial.edges[-1] == 1 for step in known)


# --- plots ------------------------------------------------------------------------------


@pytest.fixture
def plt():
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    yield plt
    plt.close("all")


def cdf_of(ax):
    (twin,) = (other for other in ax.figure.axes if other is not ax)
    return twin, twin.lines[0]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "int32"])
def test_a_plot_has_bars_and_the_cdf(plt, dtype):
    volume = reference.make_volume(dtype)
    ax = plt.figure().add_subplot()
    h = histogram(volume, 1000)
    assert h.plot(ax, nbins=50) is ax
    bars = ax.patches[0].get_data()
    assert len(bars.values) <= 50
    np.testing.assert_array_equal(bars.values, np.histogram(volume.astype(np.float64), bars.edges)[0])
    assert bars.values.sum() == volume.size
    twin, line = cdf_of(ax)
    np.testing.assert_array_equal(line.get_xdata(), bars.edges[1:])
    np.testing.assert_allclose(line.get_ydata(), np.cumsum(bars.values) / volume.size, rtol=1e-12)
    assert twin.get_ylim()[0] == 0
    assert twin.get_ylim()[1] >= 1
    ax.figure.canvas.draw()


@pytest.mark.parametrize("log", [True, False])
def test_axes_of_a_plot(plt, log):
    ax = histogram(np.array([[0, 1, 1, 3]], np.uint8)).plot(log=log)
    assert ax.get_yscale() == ("log" if log else "linear")
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert cdf_of(ax)[0].get_ylabel()
    ax.figure.canvas.draw()


def test_a_plot_goes_where_it_is_told(plt):
    left, right = plt.figure().subplots(1, 2)
    plt.sca(right)
    h = histogram(np.array([[0, 1, 1, 3]], np.uint8))
    assert h.plot(left) is left
    assert not right.patches
    plt.sca(right)
    assert h.plot() is right
    assert len(right.patches) == 1


def test_options_of_bars(plt):
    h = histogram(np.array([[0, 1, 1, 3]], np.uint8))
    patch = h.plot(color="red", label="cells", fill=False).patches[0]
    assert patch.get_label() == "cells"
    assert patch.get_edgecolor()[:3] == (1, 0, 0)
    assert not patch.get_fill()


def test_the_cdf_of_a_plot_counts_what_lies_outside(plt):
    h = histogram(np.array([[-np.inf, 1, 2, 3, np.inf]]), 2)
    _, line = cdf_of(h.plot())
    np.testing.assert_allclose(line.get_ydata(), [2 / 5, 4 / 5])


def test_a_second_plot_goes_to_the_same_axes(plt):
    a, b = (histogram(np.array([values], np.uint8)) for values in ([0, 1, 1], [2, 2, 5]))
    assert a.plot() is b.plot()


def test_nothing_to_plot(plt):
    for nothing in (np.full((2, 3), np.nan), np.array([[np.inf, -np.inf]])):
        with pytest.raises(ValueError, match="nothing to plot"):
            histogram(nothing).plot()
    assert not plt.get_fignums()


def test_a_plot_without_matplotlib_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    with pytest.raises(ModuleNotFoundError, match="matplotlib"):
        histogram(np.array([[0, 1]], np.uint8)).plot()


# --- tables -----------------------------------------------------------------------------


def written(histograms, about=()):
    """What is above the table, and its rows as text."""
    file = io.StringIO(newline="")
    write_csv(file, histograms, dict(about))
    lines = file.getvalue().splitlines(keepends=True)
    above = lines[: len(dict(about))]
    return above, list(csv.DictReader(lines[len(above) :]))


def test_a_small_table():
    file = io.StringIO(newline="")
    cells = histogram(np.array([[1, 2], [2, 4]], np.uint8))
    noise = histogram(np.array([[0.0, 0.5, 0.25, 1.0]]), 2)
    write_csv(file, {"cells": cells, "noise": noise}, {"layer": "nuclei", "voxels": 4})
    assert file.getvalue() == (
        "# layer: nuclei\n"
        "# voxels: 4\n"
        "name,low,high,count,cdf\n"
        '"cells",1.0,1.0,1,0.25\n'
        '"cells",2.0,2.0,2,0.75\n'
        '"cells",3.0,3.0,0,0.75\n'
        '"cells",4.0,4.0,1,1.0\n'
        '"noise",0.0,0.5,2,0.5\n'
        '"noise",0.5,1.0,2,1.0\n'
    )


@pytest.mark.parametrize("name", ["=1+1", "+1", "-2+3", "@SUM(1)", "\t=1", " =1", "\r@a", "a=1", "#1", "é-1"])
def test_no_name_is_a_formula(name):
    cells = histogram(np.array([[1, 2]], np.int8))
    above, rows = written({name: cells}, {"layer": name, "a\nname,low\n=evil": "b\n=c"})
    assert [line[0] for line in above] == ["#", "#"]
    shown = {row["name"] for row in rows}
    assert shown == {name if name.lstrip()[0] not in "=+-@" else f"'{name}"}


@pytest.mark.parametrize("dtype", ["uint16", "int8", "uint32", "float32"])
def test_a_table_holds_every_digit(dtype):
    volume = reference.make_volume(dtype)
    h = histogram(volume, 11)
    _, rows = written({"a": h})
    low, high, cdf = (np.array([float(row[name]) for row in rows]) for name in ("low", "high", "cdf"))
    counts = [int(row["count"]) for row in rows]
    if h.by_value:
        np.testing.assert_array_equal(low, np.arange(int(volume.min()), int(volume.max()) + 1))
        np.testing.assert_array_equal(high, low)
        np.testing.assert_array_equal(counts, [(volume == value).sum() for value in low])
    else:
        edges = np.append(low, high[-1])
        np.testing.assert_array_equal(high[:-1], low[1:])
        np.testing.assert_array_equal(counts, np.histogram(volume.astype(np.float64), edges)[0])
    np.testing.assert_array_equal(cdf, np.cumsum(counts) / volume.size)


@pytest.mark.parametrize("name", ["a, b", 'the "best"', "Zellen – µm", "two\nlines", "#1", ""])
def test_any_name_comes_back(name):
    _, rows = written({name: histogram(np.array([[3, 3]], np.uint8))}, {"k": "v"})
    assert [row["name"] for row in rows] == [name]


def test_a_table_of_a_file(tmp_path):
    path = tmp_path / "table.csv"
    h = histogram(reference.make_volume("float32"), 6)
    with path.open("w", newline="") as file:
        write_csv(file, {"a": h}, {"range": (0, 1)})
    # row ends as they were written, on any system
    assert b"\r" not in path.read_bytes()
    table = np.genfromtxt(path, delimiter=",", names=True, skip_header=1, dtype=None, encoding="utf-8")
    np.testing.assert_array_equal(table["count"], h.counts)
    np.testing.assert_array_equal(table["cdf"], h.cdf)


def test_a_table_of_nothing():
    empty = histogram(np.ones((3, 4), np.uint8), mask=np.zeros((3, 4)))
    nothing = histogram(np.full((3, 4), np.nan), 3)
    above, rows = written({"empty": empty, "nan": nothing}, {"n": 0})
    assert above == ["# n: 0\n"]
    assert [(row["name"], row["count"], row["cdf"]) for row in rows] == [("nan", "0", "0.0")] * 3

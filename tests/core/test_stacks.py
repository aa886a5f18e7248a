"""Many small planes: the very numbers of each alone, whichever way they are counted and mapped."""

import pickle
import warnings

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core import reference
from napari_exposure.core import Adjustment, HistogramEqualization, HistogramMatching, adjust, histogram, stacks
from napari_exposure.core.memory import Memory
from napari_exposure.core.quantiles import knots_of_sorted
from napari_exposure.core.volume import Volume

SHAPE = (5, 3, 9, 11)
OPTIONS = [
    {},
    {"mask": True},
    {"ignore_zeros": True},
    {"in_range": "dtype"},
    {"output": "float32"},
    {"in_range": (0.5, 99.5)},
]


def make(dtype):
    """Planes with few and many values, constant and without any."""
    volume = reference.make_volume(dtype, SHAPE)
    volume[2, 1] = 7
    volume[3] = volume[3] // 2
    if volume.dtype.kind == "f":
        volume[0, 0, 0, :3] = np.nan, np.inf, -np.inf
        volume[1, 1] = np.nan
    return volume


def adjustments(dtype, **options):
    yield HistogramEqualization(**options)
    yield HistogramEqualization(7, "rank", **options)
    other = histogram(reference.make_volume(dtype, (4, 5), seed=3), 300)
    yield HistogramMatching(other, 300, **options)


def quietly(adjustment, volume, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Histogram .*only one intensity")
        warnings.filterwarnings("ignore", ".*planes have only one")
        return adjust(adjustment, volume, **options)


@pytest.mark.parametrize("dtype", reference.DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "defaults")
def test_each_plane_is_that_of_a_fit_of_its_own(dtype, options, monkeypatch):
    volume = make(dtype)
    options = dict(options)
    mask = np.random.default_rng(0).random(SHAPE) > 0.5 if options.pop("mask", False) else None
    if mask is not None:
        mask[4, 2] = False
    for adjustment in adjustments(dtype, per="plane", **options):
        together = quietly(adjustment, volume, mask=mask)
        with monkeypatch.context() as patch:
            for cls in (Adjustment, HistogramEqualization, HistogramMatching):
                patch.setattr(cls, "_fit_stack", lambda self, volume, lead: None)
            alone = quietly(adjustment, volume, mask=mask)
        np.testing.assert_array_equal(together, alone, err_msg=str(adjustment))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_every_array_gives_the_same_bits(dtype, tmp_path):
    volume = make(dtype)
    stored = zarr.create_array(str(tmp_path / "z"), data=volume, chunks=(2, 2, 4, 11))
    lazy = da.from_array(volume, chunks=((1, 3, 1), (2, 1), (4, 5), (6, 5)))
    for adjustment in adjustments(dtype, per="plane"):
        expected = quietly(adjustment, volume)
        np.testing.assert_array_equal(quietly(adjustment, stored), expected)
        np.testing.assert_array_equal(quietly(adjustment, lazy), expected)
        np.testing.assert_array_equal(quietly(adjustment, volume.astype(volume.dtype.newbyteorder())), expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_blocks_that_cut_planes(dtype, small_blocks):
    volume = make(dtype)
    for adjustment in adjustments(dtype, per="plane"):
        expected = [quietly(adjustment, plane) if np.isfinite(plane).any() else plane for plane in volume[:, 1]]
        np.testing.assert_array_equal(quietly(adjustment, volume)[:, 1], expected)


def test_large_planes_and_many_bins_are_fitted_one_by_one(monkeypatch):
    volume = make("float32")
    expected = quietly(HistogramEqualization(per="plane"), volume)
    for name in ("SMALL", "MOST"):
        with monkeypatch.context() as patch:
            patch.setattr(stacks, name, 1)
            np.testing.assert_array_equal(quietly(HistogramEqualization(per="plane"), volume), expected)


def test_colours():
    volume = reference.make_volume("uint8", (6, 7, 8, 3))
    result = adjust(HistogramEqualization(per="plane"), volume, rgb=True)
    for plane, expected in zip(volume, result, strict=True):
        np.testing.assert_array_equal(adjust(HistogramEqualization(), plane, rgb=True), expected)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_transform_of_many_fits_is_picklable_and_maps_any_block(dtype):
    volume = make(dtype)
    for adjustment in adjustments(dtype, per="plane"):
        expected = quietly(adjustment, volume)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            transform = pickle.loads(pickle.dumps(adjustment.fit(volume)))
        np.testing.assert_array_equal(transform(volume[1:4, :2, 2:5], (1, 0, 2, 0)), expected[1:4, :2, 2:5])
        np.testing.assert_array_equal(transform(volume[2:3, 1:2], (2, 1, 0, 0)), expected[2:3, 1:2])


def test_what_is_remembered_is_not_counted_again():
    reads = []

    class Noted:
        shape, dtype = SHAPE, np.dtype("uint8")

        def __getitem__(self, index):
            reads.append(index)
            return make("uint8")[index]

    volume = Volume(Noted(), memory=Memory())
    for method in ("cdf", "rank"):
        HistogramEqualization(method=method, per="plane").fit_volume(volume)
    assert len(reads) == 2


def test_values_too_far_apart():
    volume = np.array([[[-1.7e308, 1.7e308]], [[0, 1]]])
    with pytest.raises(ValueError, match="in_range"):
        adjust(HistogramEqualization(per="plane"), volume)


# --- order statistics without sorting all -----------------------------------------------


def plane_of(dtype):
    """Planes of floats or integers with ties, and of floats with what has no order or no size."""
    if dtype.startswith(("int", "uint")):
        ends = np.iinfo(dtype)
        whole = st.integers(max(ends.min, -(1 << 53)), min(ends.max, 1 << 53)) | st.integers(0, 5)
        return hnp.arrays(dtype, st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 90)), elements=whole)
    tiny = float(np.finfo(dtype).smallest_subnormal)
    width = 8 * np.dtype(dtype).itemsize
    elements = (
        st.floats(-(2.0**100), 2.0**100, width=width)
        | st.floats(0, 1, width=width)
        | st.sampled_from([0.0, -0.0, tiny, -tiny, 3 * tiny, np.inf, -np.inf, np.nan, 1.0])
    )
    return hnp.arrays(dtype, st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 90)), elements=elements)


@pytest.mark.parametrize("in_range", ["data", "dtype"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint32", "int64"])
@given(data=st.data())
def test_the_order_of_small_volumes_is_that_of_numpy(dtype, in_range, data):
    volume = data.draw(plane_of(dtype))
    check_order(volume, in_range)


def check_order(volume, in_range="data", mask=None):
    """Compare `order_volumes` with sorting: the range, the ranks and the knots of each plane."""
    read = Volume(volume, mask=mask)
    used = np.ones(volume.shape, bool) if mask is None else mask
    lows, highs = stacks.ranges(read.dtype, *stacks.find_extents(read, 1), in_range)
    for ranks in (True, False):
        found = stacks.order_volumes(read, 1, in_range, ranks=ranks)
        for plane, own, curve, low, high in zip(volume, used, found, lows, highs, strict=True):
            lo, hi, places, heights = curve
            assert (lo, hi) == (low, high)
            values = plane[own & ~np.isnan(plane)]
            ordered = np.sort(np.clip(values, low, high).astype(read.dtype) + read.dtype.type(0))
            levels, starts = np.unique(ordered, return_index=True)
            if len(levels) < 2:
                assert places.size < 2
                continue
            expected = (levels, starts / starts[-1]) if ranks else knots_of_sorted(ordered)
            np.testing.assert_array_equal(places, expected[0])
            np.testing.assert_array_equal(heights, expected[1])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("kind", ["even", "skewed", "very skewed", "hot", "few", "mostly alike", "two", "close"])
def test_the_order_of_planes_however_their_values_are_distributed(dtype, kind):
    rng = np.random.default_rng(0)
    shape = (3, 50, 60)
    even = rng.random(shape)
    volume = {
        "even": even,
        "skewed": rng.gamma(1, 0.01, shape),
        # These fill few buckets, in all of which there are many different values.
        "very skewed": np.exp2(-300 * even) if dtype == "float64" else np.exp2(-28 * even),
        "hot": np.where(even > 0.9995, 1e6, even),
        "few": np.floor(5 * even),
        "mostly alike": np.where(even > 0.9, even, 0),
        "two": np.where(even > 0.5, 1, -1),
        "close": 1 + np.floor(5 * even) * np.finfo(np.float32).eps,
    }[kind]
    volume = (volume * 1000).astype(dtype)
    check_order(volume)
    check_order(volume, mask=rng.random(shape) > 0.4)
    readonly = volume.astype(volume.dtype.newbyteorder())
    readonly.flags.writeable = False
    check_order(readonly)


def test_constant_planes_between_others_stay_as_they_are_alone():
    volume = np.random.default_rng(0).random((9, 12, 12)).astype("float32")
    volume[[0, 3, 4, 8]] = 0.25
    for method in ("cdf", "rank"):
        adjustment = HistogramEqualization(method=method, per="plane")
        alone = [quietly(HistogramEqualization(method=method), plane) for plane in volume]
        np.testing.assert_array_equal(quietly(adjustment, volume), alone)

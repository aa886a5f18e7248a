import hashlib
import math
import warnings

import dask.array as da
import numpy as np
import pytest

from core import reference
from napari_exposure.core import (
    Gamma,
    Percentiles,
    adjust_gamma,
    clip_percentiles,
    correct_decay,
    degrade,
    equalize_adapthist,
    equalize_hist,
    histogram,
    histogram_along,
    match_histograms,
    percentile,
    rescale_intensity,
)

VERBS = (adjust_gamma, clip_percentiles, equalize_hist, equalize_adapthist)
STATISTICS = (histogram, lambda volume, **options: percentile(volume, 50, **options))
# one parameter each that lets the verb do something, with tiles that fit small volumes
ACTIVE = {
    adjust_gamma: {"gamma": 0.5},
    clip_percentiles: {"low": 2, "high": 95},
    equalize_hist: {},
    equalize_adapthist: {"kernel_size": 5},
}

every_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)


def run(verb, volume, **options):
    return verb(volume, **ACTIVE[verb], **options)


def fingerprint(array):
    return hashlib.sha256(array.tobytes()).hexdigest()


class OnlySlices:
    """An array that is nothing but shape, dtype and basic slicing, as a file on disk may be."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.largest = 0

    def __getitem__(self, index):
        assert all(isinstance(part, int | slice) for part in index)
        block = self.array[index]
        self.largest = max(self.largest, block.size)
        return block


class Unreadable:
    """An array whose values must not be asked for."""

    def __init__(self, shape=(8, 9, 10), dtype="uint16"):
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.ndim = len(shape)

    def __getitem__(self, index):
        pytest.fail("the volume was read before the parameters were checked")

    def __array__(self, *args, **kwargs):
        pytest.fail("the volume was read before the parameters were checked")


# --- kinds of arrays --------------------------------------------------------------------


@every_verb
@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_every_dtype_in_both_byte_orders(verb, dtype):
    native = reference.make_volume(dtype, (4, 9, 10))
    result = run(verb, native)
    assert result.shape == native.shape
    assert result.dtype == native.dtype
    assert result.dtype.isnative
    assert len(np.unique(result)) > 5
    for order in "<>":
        volume = native.astype(native.dtype.newbyteorder(order))
        before = fingerprint(volume)
        np.testing.assert_array_equal(run(verb, volume), result)
        assert fingerprint(volume) == before
        assert run(verb, volume, output="float32").dtype == np.float32


@every_verb
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
def test_strided_reversed_transposed_and_read_only(verb, dtype):
    base = reference.make_volume(dtype, (8, 18, 20))
    base.flags.writeable = False
    before = fingerprint(base)
    for view in (base[::2, 1::3, ::-1], base.transpose(2, 0, 1), base[:, :, 3], np.asfortranarray(base)):
        assert not view.flags.c_contiguous
        np.testing.assert_array_equal(run(verb, view), run(verb, np.ascontiguousarray(view)))
    repeated = np.broadcast_to(base[0], base.shape)
    np.testing.assert_array_equal(run(verb, repeated), run(verb, repeated.copy()))
    assert fingerprint(base) == before


@every_verb
def test_unaligned_fields_of_records(verb):
    volume = reference.make_volume("float32", (4, 9, 10))
    records = np.zeros(volume.shape, np.dtype([("flag", "u1"), ("value", "f4")]))
    records["value"] = volume
    assert not records["value"].flags.aligned
    np.testing.assert_array_equal(run(verb, records["value"]), run(verb, volume))


@every_verb
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4"])
def test_memory_maps(verb, dtype, tmp_path, small_blocks):
    volume = reference.make_volume("uint16", (4, 9, 10)).astype(dtype)
    path = tmp_path / "volume.raw"
    path.write_bytes(volume.tobytes())
    for mode in ("r", "r+"):
        mapped = np.memmap(path, dtype, mode, shape=volume.shape)
        result = run(verb, mapped)
        assert type(result) is np.ndarray
        assert not np.may_share_memory(result, mapped)
        np.testing.assert_array_equal(result, run(verb, volume))
        del mapped
        assert path.read_bytes() == volume.tobytes()


@every_verb
@pytest.mark.parametrize("shape", [(9, 10), (4, 9, 10), (2, 4, 9, 10), (2, 3, 4, 9, 10), (1, 1, 1, 1, 2)])
@pytest.mark.parametrize("per", ["dataset", "volume", "plane"])
def test_2_to_5_axes(verb, shape, per):
    volume = reference.make_volume("uint16", shape)
    before = fingerprint(volume)
    result = run(verb, volume, per=per)
    assert result.shape == shape
    assert result.max() > result.min()
    assert fingerprint(volume) == before


@every_verb
def test_anything_that_slices_is_read_block_by_block(verb, small_blocks):
    volume = reference.make_volume("int16", (4, 9, 10))
    mask = np.random.default_rng(0).random(volume.shape) < 0.7
    source = OnlySlices(volume)
    result = run(verb, source, mask=OnlySlices(mask))
    np.testing.assert_array_equal(result, run(verb, volume, mask=mask))
    assert 0 < source.largest <= 100


@every_verb
def test_lists_become_arrays(verb):
    volume = [[0.0, 1.0, 2.0], [3.0, 4.0, 9.0]]
    mask = [[1, 1, 1], [1, 1, 0]]
    np.testing.assert_array_equal(run(verb, volume, mask=mask), run(verb, np.array(volume), mask=np.array(mask)))


@pytest.mark.parametrize("statistic", STATISTICS, ids=["histogram", "percentile"])
def test_statistics_leave_the_source_alone(statistic):
    for dtype in ("uint16", "float32"):
        volume = reference.make_volume(dtype)
        before = fingerprint(volume)
        statistic(volume, ignore_zeros=True)
        assert fingerprint(volume) == before


# --- what is no volume ------------------------------------------------------------------


@pytest.mark.parametrize("verb", [*VERBS, *STATISTICS])
@pytest.mark.parametrize(
    ("dtype", "hint"),
    [
        ("complex64", "np.abs"),
        ("object", "astype"),
        ("U3", "astype"),
        ("longdouble", "astype"),
    ],
)
def test_dtypes_without_exposure(verb, dtype, hint):
    with pytest.raises(TypeError, match=hint) as caught:
        verb(Unreadable(dtype=dtype))
    assert str(np.dtype(dtype)) in str(caught.value)


@every_verb
def test_bool_has_no_exposure(verb):
    with pytest.raises(TypeError, match=r"The volume has dtype bool.*array\.astype\('uint8'\)"):
        verb(Unreadable(dtype="bool"))


@pytest.mark.parametrize("kept", [(0, 1), (0,), (1,)])
def test_bool_has_a_histogram_of_two_bars(kept):
    volume = np.random.default_rng(0).choice(np.array(kept, bool), (3, 4, 5))
    found = histogram(volume)
    assert found.counts.tolist() == [(~volume).sum(), volume.sum()]
    assert found.centers.tolist() == [0, 1]
    assert (found.minimum, found.maximum) == (min(kept), max(kept))
    assert percentile(volume, 50) == np.median(volume)


@every_verb
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_64_bits_are_what_32_bits_are(verb, dtype):
    small = reference.make_volume(f"{dtype[:-2]}32", (6, 11, 13))
    options = {"output": "float32", "in_range": Percentiles(1, 99)}
    np.testing.assert_array_equal(run(verb, small.astype(dtype), **options), run(verb, small, **options))
    found, expected = histogram(small.astype(dtype), 50), histogram(small, 50)
    assert found == expected


@pytest.mark.parametrize("value", [2**53 + 2, -(2**53) - 2, 2**63 - 1, 2**64 - 1])
@pytest.mark.parametrize("verb", [*VERBS, *STATISTICS])
def test_integers_that_float64_does_not_hold_are_refused(verb, value):
    volume = np.array([[0, 1, value]], dtype="uint64" if value > 2**63 else "int64")
    with pytest.raises(ValueError, match=rf"{value}.* 2\*\*53"):
        verb(volume)
    # also where nothing had to be read for the fit
    fitted = Gamma(2.0, in_range=(0, 9)).fit(np.zeros((1, 3), volume.dtype))
    with pytest.raises(ValueError, match=r"2\*\*53"):
        fitted(volume)


def test_lists_are_arrays():
    np.testing.assert_array_equal(adjust_gamma([[0, 5, 10]], 2.0), [[0, 2, 10]])


def test_float64_keeps_what_float32_would_merge_or_make_infinite():
    near = 1e9 + np.arange(8).reshape(2, 4) / 8
    for verb in VERBS:
        result = run(verb, near, in_range="data")
        assert result.dtype == np.float64
        assert len(np.unique(result)) >= (8 if verb is not clip_percentiles else 6)
    assert adjust_gamma(np.array([[0, 5e39]])).max() == 5e39


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_results_that_would_be_infinite_are_refused(dtype):
    most = float(np.finfo(dtype).max)
    volume = np.array([[most / 2, most / 4, 1]], dtype)
    with pytest.raises(ValueError, match=rf"Results may reach .* but {dtype} ends at"):
        correct_decay(volume, axis="x", model="plane")
    assert np.isfinite(degrade(volume, 1.0, "x")).all()
    if dtype != "float64":
        with pytest.raises(ValueError, match="Results may reach"):
            match_histograms(volume, np.array([[0, 2 * most]]))


@pytest.mark.parametrize("verb", [*VERBS, *STATISTICS])
@pytest.mark.parametrize(
    ("shape", "message"),
    [((0, 5, 6), "empty"), ((5, 0), "empty"), ((7,), "axes"), ((), "axes"), ((2, 2, 2, 2, 2, 2), "axes")],
)
def test_shapes_that_are_no_volume(verb, shape, message):
    with pytest.raises(ValueError, match=message):
        verb(np.zeros(shape, np.uint8))


class Layer:
    """No array, but it has one."""

    data = np.ones((8, 9, 10), np.uint8)


@pytest.mark.parametrize("verb", [*VERBS, *STATISTICS, histogram_along])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Layer(), r"got Layer\. Pass its data, with spacing= and rgb="),
        ("x.tif", r"got 'x\.tif'\. Read a file first"),
        (None, "got None"),
    ],
)
def test_what_is_no_array(verb, value, words):
    with pytest.raises(TypeError, match=f"The volume must be an array, {words}"):
        verb(value)


@pytest.mark.parametrize("verb", [*VERBS, *STATISTICS])
def test_a_mask_that_is_no_array(verb):
    with pytest.raises(
        TypeError, match=r"The mask must be an array, got Layer\. Pass its data, with spacing= and rgb="
    ):
        verb(Unreadable(), mask=Layer())


@pytest.mark.parametrize("range", [(1, 2, 3), 7, (2, 2), "ab"])
def test_a_range_of_the_histogram(range):
    with pytest.raises(ValueError, match="range must be"):
        histogram(Unreadable(), range=range)


@pytest.mark.parametrize("verb", [*VERBS, *STATISTICS])
@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 11), (1, 9, 10), (1, 8, 9, 10)])
def test_mask_of_another_shape(verb, shape):
    with pytest.raises(ValueError, match="mask"):
        verb(Unreadable(), mask=np.ones(shape, bool))


@pytest.mark.parametrize(
    ("volume", "options"),
    [
        (np.arange(60).reshape(3, 4, 5), {"out_range": (-1e308, 1e308)}),
        (np.arange(60).reshape(3, 4, 5), {"out_range": (1e308, -1e308)}),
        (np.linspace(-17, 10, 60).reshape(3, 4, 5) * 1e307, {"in_range": (0, 1), "out_range": "image"}),
    ],
)
def test_results_whose_width_would_be_infinite_are_refused(volume, options):
    with pytest.raises(ValueError, match=r"Results may reach .* but float64 cannot hold that width"):
        rescale_intensity(volume, **options)


@pytest.mark.parametrize("verb", [*VERBS, *STATISTICS])
@pytest.mark.parametrize("dtype", ["U3", "S3", "M8[D]", "m8[s]", "object", "u1,u1"])
def test_a_mask_of_no_numbers(verb, dtype):
    with pytest.raises(TypeError, match=r"The mask has dtype .*; it must hold numbers or booleans"):
        verb(Unreadable(), mask=np.zeros((8, 9, 10), dtype))


@every_verb
@pytest.mark.parametrize("chunked", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("dtype", ["float16", "float64", "complex64"])
def test_nan_of_a_mask_is_outside(verb, chunked, dtype):
    volume = reference.make_volume("uint16")
    inside = np.random.default_rng(0).random(volume.shape) < 0.7
    mask = np.where(inside, 2, np.where(np.arange(volume.shape[-1]) % 2, 0, np.nan)).astype(dtype)
    given = da.from_array(volume, chunks=(3, 11, 13)) if chunked else volume
    np.testing.assert_array_equal(run(verb, given, mask=mask), run(verb, volume, mask=inside))
    assert histogram(volume, mask=mask).counts.sum() == inside.sum()


@every_verb
@pytest.mark.parametrize("dtype", ["uint8", "uint32", "float32"])
def test_mask_that_selects_nothing(verb, dtype):
    with pytest.raises(ValueError, match="mask"):
        verb(reference.make_volume(dtype), mask=np.zeros((6, 11, 13), bool))


@pytest.mark.parametrize("verb", [clip_percentiles, equalize_hist, equalize_adapthist])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("in_range", ["dtype", (0, 2)])
def test_mask_that_selects_nothing_in_a_given_range(verb, dtype, in_range):
    # these need counted voxels also where the range is known without them
    with pytest.raises(ValueError, match="mask"):
        verb(reference.make_volume(dtype), mask=np.zeros((6, 11, 13), bool), in_range=in_range)


@every_verb
def test_only_zeros_to_ignore(verb):
    with pytest.raises(ValueError, match="zeros"):
        verb(np.zeros((4, 5, 6), np.uint8), ignore_zeros=True)


@every_verb
@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nothing_finite(verb, dtype, value):
    with pytest.raises(ValueError, match="finite"):
        verb(np.full((4, 5, 6), value, dtype))


@every_verb
def test_one_finite_voxel_among_nan_is_a_constant(verb):
    volume = np.full((4, 5, 6), np.nan, np.float32)
    volume[1, 2, 3] = 5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = verb(volume)
    assert result[1, 2, 3] == (5 if verb is adjust_gamma else 0)
    assert np.isnan(result).sum() == volume.size - 1


# --- constants --------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [clip_percentiles, equalize_hist, equalize_adapthist])
@pytest.mark.parametrize(
    ("dtype", "value", "lowest"),
    [("uint8", 7, 0), ("int16", -5, -32768), ("int16", 5, 0), ("uint32", 2**32 - 1, 0), ("float32", 1e30, 0)],
)
def test_a_constant_volume_becomes_the_lowest_value(verb, dtype, value, lowest):
    volume = np.full((4, 5, 6), value, dtype)
    with pytest.warns(UserWarning, match="one intensity"):
        result = verb(volume)
    np.testing.assert_array_equal(result, lowest)


def test_a_constant_volume_has_no_ranks():
    for dtype in ("uint8", "float32"):
        with pytest.warns(UserWarning, match="one intensity"):
            result = equalize_hist(np.full((4, 5, 6), 3, dtype), method="rank")
        np.testing.assert_array_equal(result, 0)


@pytest.mark.parametrize("verb", [clip_percentiles, equalize_hist, equalize_adapthist])
def test_constant_planes_are_told(verb):
    volume = reference.make_volume("uint16", (4, 9, 10))
    volume[1:3] = 30
    with pytest.warns(UserWarning, match="2 of 4 planes"):
        result = verb(volume, per="plane")
    assert (result[1:3] == 0).all()
    np.testing.assert_array_equal(result[3], verb(volume[3]))


@every_verb
@pytest.mark.parametrize("in_range", ["data", (0, 40000)])
def test_planes_without_counted_voxels_are_told(verb, in_range):
    volume = reference.make_volume("uint16", (4, 9, 10))
    mask = np.ones(volume.shape, bool)
    mask[2] = False
    if verb is adjust_gamma and in_range != "data":
        # a given range needs no voxel
        np.testing.assert_array_equal(run(verb, volume, mask=mask, per="plane", in_range=in_range)[2] > 0, True)
        return
    with pytest.warns(UserWarning, match="1 of 4 planes"):
        result = run(verb, volume, mask=mask, per="plane", in_range=in_range)
    for z in (0, 1, 3):
        np.testing.assert_array_equal(result[z], run(verb, volume[z], in_range=in_range))


@every_verb
def test_infinities_beside_a_constant_clamp(verb):
    volume = np.array([[2, 2, 2], [2, np.inf, -np.inf]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = verb(volume, in_range="data")
    assert np.isfinite(result).all()


# --- parameters -------------------------------------------------------------------------

BAD_RANGES = ((5, 1), (3, 3), (0, math.nan), (0, math.inf), (0, "a"), (1, 2, 3), "minmax", 7, None, (-1e308, 1e308))
BAD = [
    *[(adjust_gamma, "gamma", {"gamma": value}) for value in (0, -1, math.nan, math.inf, "a", None)],
    *[(adjust_gamma, "gain", {"gain": value}) for value in (0, -0.5, math.nan, "a")],
    *[(clip_percentiles, "low", {"low": value}) for value in (-1, 101, math.nan, "a", None)],
    *[(clip_percentiles, "high", {"high": value}) for value in (-1, 101, math.nan, "a")],
    (clip_percentiles, "low", {"low": 60, "high": 40}),
    (clip_percentiles, "low", {"low": 50, "high": 50}),
    *[(verb, "nbins", {"nbins": value}) for verb in VERBS[2:] for value in (1, 0, -5, 65537, math.nan, "a", 2.5)],
    *[(equalize_hist, "method", {"method": value}) for value in ("exact", None, 3)],
    *[(equalize_adapthist, "clip_limit", {"clip_limit": value}) for value in (math.nan, "a", None, -1 / 5, 1.01, 40)],
    *[
        (equalize_adapthist, "kernel_size", {"kernel_size": value})
        for value in (0, -3, math.nan, math.inf, "a", (), (5, 5), (5, 5, 5, 5), (5, 0, 5), (5, None, 5))
    ],
    (equalize_adapthist, "kernel_size", {"kernel_size": (5, 5, 5), "per": "plane"}),
    *[
        (equalize_adapthist, "spacing", {"spacing": value})
        for value in (-1, 0, (1,), (1, 1, 1, 1), (), (1, -1, 1), (1, 0, 1), (1, math.nan, 1), "abc", (1, "a", 1))
    ],
    *[(verb, "in_range", {"in_range": value}) for verb in VERBS for value in BAD_RANGES],
    *[(verb, "output", {"output": value}) for verb in VERBS for value in ("uint8", None, np.float32)],
    *[(verb, "per", {"per": value}) for verb in VERBS for value in ("channel", None, 2)],
]


@pytest.mark.parametrize(("verb", "name", "options"), BAD, ids=lambda part: getattr(part, "__name__", str(part)))
def test_a_bad_parameter_is_named_before_the_volume_is_read(verb, name, options):
    with pytest.raises((TypeError, ValueError), match=rf"\b{name}\b"):
        verb(Unreadable(), **options)


@pytest.mark.parametrize("shape", [(1000, 1000, 1000), (300, 20000, 20000)])
def test_tiles_too_small_for_the_memory(shape):
    with pytest.raises(ValueError, match="larger kernel_size"):
        equalize_adapthist(Unreadable(shape), 1)


def test_spacing_of_2_axes_for_planes():
    volume = reference.make_volume("uint8", (3, 12, 16))
    # of a longer spacing the last numbers count
    np.testing.assert_array_equal(
        equalize_adapthist(volume, 4, spacing=(9, 2, 1), per="plane"),
        equalize_adapthist(volume, (2, 4), spacing=1, per="plane"),
    )


def test_numbers_of_numpy_are_numbers():
    volume = reference.make_volume("uint8")
    expected = equalize_adapthist(volume, 5.0, 0.02, 64, in_range=(3, 200))
    found = equalize_adapthist(
        volume, np.float32(5), np.float64(0.02), np.int16(64), in_range=np.array([3, 200]), spacing=np.ones(3)
    )
    np.testing.assert_array_equal(found, expected)


@every_verb
def test_percentiles_for_any_verb(verb):
    volume = reference.make_volume("float32")
    lo, hi = np.percentile(volume.astype(np.float64), (20, 70))
    np.testing.assert_allclose(
        run(verb, volume, in_range=Percentiles(20, 70)), run(verb, volume, in_range=(lo, hi)), rtol=0, atol=1e-6
    )

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core import reference
from napari_exposure.core import LocalStretch, Percentiles, stretch_local
from napari_exposure.core.stretch import tile_percentiles
from napari_exposure.core.volume import Volume

# --- against the slow reference ---------------------------------------------------------


def assert_like_reference(volume, kernel_size=None, *parameters, **options):
    result = stretch_local(volume, kernel_size, *parameters, output="float32", **options)
    assert result.dtype == np.float32
    expected = reference.stretch(volume, kernel_size, *parameters, **options)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_every_dtype(dtype):
    assert_like_reference(reference.make_volume(dtype), 5)


@pytest.mark.parametrize(
    ("shape", "kernel_size"),
    [
        ((1, 17, 19), 6),
        ((9, 1, 19), 4),
        ((9, 17, 1), 4),
        ((1, 1, 29), 7),
        ((23, 31), 8),
        ((1, 40), 9),
        ((7, 11, 13), 100),
        ((7, 11, 13), 1.0),
        ((7, 11, 13), (3, 4, 30)),
        ((7, 11, 13), None),
        ((2, 3, 8, 9, 10), 4),
    ],
)
def test_awkward_shapes(shape, kernel_size):
    assert_like_reference(reference.make_volume("uint16", shape), kernel_size)


@pytest.mark.parametrize(
    ("kernel_size", "spacing"), [(4.0, (2.0, 0.5, 0.5)), (None, (0.29, 0.26, 0.26)), ((6, 2, 3), 0.7)]
)
def test_tiles_are_in_units_of_spacing(kernel_size, spacing):
    assert_like_reference(reference.make_volume("uint16", (9, 20, 23)), kernel_size, spacing=spacing)


@settings(max_examples=40)
@given(st.data())
def test_any_grid(data):
    shape = data.draw(st.lists(st.integers(1, 12), min_size=2, max_size=3).map(tuple))
    volume = data.draw(hnp.arrays(np.uint8, shape))
    assume(volume.min() < volume.max())
    kernel_size = tuple(n / data.draw(st.integers(1, n)) for n in shape)
    low, high = data.draw(st.floats(0, 49)), data.draw(st.floats(50, 100))
    assert_like_reference(volume, kernel_size, low, high, data.draw(st.floats(1, 100)))


@pytest.mark.parametrize("percentiles", [(0, 100), (0.5, 99.5), (30, 31), (0, 1.5), (99, 100)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_percentiles(dtype, percentiles):
    assert_like_reference(reference.make_volume(dtype), 5, *percentiles)


@pytest.mark.parametrize("max_gain", [1, 2.5, 1000])
def test_largest_gains(max_gain):
    assert_like_reference(reference.make_volume("uint16"), 5, 1, 99, max_gain)


@pytest.mark.parametrize(
    ("dtype", "in_range"),
    [
        ("int16", "data"),
        ("int16", "dtype"),
        ("uint8", "dtype"),
        ("float32", "dtype"),
        ("int16", (-900.5, 12000)),
        ("uint8", (-10, 300)),
        ("uint8", Percentiles(20, 60)),
        ("uint32", (1, 2**32)),
    ],
)
def test_input_ranges(dtype, in_range):
    assert_like_reference(reference.make_volume(dtype), 5, in_range=in_range)


@pytest.mark.parametrize("per", ["dataset", "volume", "plane"])
def test_who_shares_a_fit(per):
    volume = reference.make_volume("uint16", (3, 4, 10, 11))
    # another brightness at each time point, so that a shared fit differs from separate ones
    volume = (volume // np.array([1, 2, 5]).reshape(3, 1, 1, 1)).astype(np.uint16)
    assert_like_reference(volume, 4, per=per)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("per", ["dataset", "plane"])
def test_only_masked_voxels_count(dtype, per):
    volume = reference.make_volume(dtype)
    mask = np.random.default_rng(1).random(volume.shape) < 0.3
    assert_like_reference(volume, 5, mask=mask, per=per)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_zeros_are_left_out(dtype):
    volume = reference.make_volume(dtype)
    volume[:, :4] = 0
    assert_like_reference(volume, 5, ignore_zeros=True)


@pytest.mark.parametrize("in_range", ["data", Percentiles(0.01, 99.99), (-1, 2)])
def test_nan_stays_and_infinities_clamp(in_range):
    volume = reference.make_volume("float32")
    volume.reshape(-1)[::7] = np.nan
    volume.reshape(-1)[1::31] = np.inf
    volume.reshape(-1)[2::41] = -np.inf
    assert_like_reference(volume, 5, in_range=in_range)
    np.testing.assert_array_equal(np.isnan(stretch_local(volume, 5, in_range=in_range)), np.isnan(volume))


def test_a_tile_without_counted_voxels_takes_the_percentiles_of_the_volume():
    volume = reference.make_volume("uint16", (6, 12, 12))
    mask = np.ones(volume.shape, bool)
    mask[:3, :6, 6:] = False
    assert_like_reference(volume, (3, 6, 6), mask=mask)
    fit = LocalStretch((3, 6, 6)).fit(volume, mask=mask).fits[()]
    alone = LocalStretch((99, 99, 99)).fit(volume, mask=mask).fits[()]
    assert fit.ends((0, 0, 1)) == alone.ends((0, 0, 0))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_magnitude_does_not_matter(scale):
    volume = reference.make_volume("float64")
    np.testing.assert_allclose(stretch_local(volume * scale, 5), stretch_local(volume, 5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
@pytest.mark.parametrize("per", ["dataset", "volume"])
def test_many_blocks_give_the_same(dtype, per, small_blocks):
    volume = reference.make_volume(dtype, (2, 6, 11, 13))
    mask = np.random.default_rng(3).random(volume.shape) < 0.5
    assert_like_reference(volume, 5, per=per)
    assert_like_reference(volume, 5, per=per, mask=mask)


def test_a_block_is_what_the_whole_has_there():
    volume = reference.make_volume("float32", (7, 12, 13))
    transform = LocalStretch(4).fit(volume)
    whole = transform.apply(volume)
    for block in (np.s_[2:5, 3:, :7], np.s_[6:, 5:6, 1:], np.s_[:, 11:, 12:]):
        offset = tuple(part.start or 0 for part in block)
        np.testing.assert_array_equal(transform(volume[block], offset), whole[block])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32"])
def test_integers_span_their_dtype(dtype):
    volume = reference.make_volume(dtype)
    info = np.iinfo(dtype)
    low, high = (info.min if volume.min() < 0 else 0), info.max
    result = stretch_local(volume, 5)
    assert result.dtype == volume.dtype
    assert (result.min(), result.max()) == (low, high)
    expected = low + (float(high) - low) * reference.stretch(volume, 5)
    assert np.abs(result - expected).max() <= 0.5 + 1e-9 * (float(high) - low)


def test_colours_keep_their_hue():
    colours = np.random.default_rng(0).integers(1, 200, (4, 12, 14, 3), np.uint8)
    result = stretch_local(colours, 6, output="float32", rgb=True)
    value = colours.max(axis=-1)
    np.testing.assert_allclose(result.max(axis=-1), reference.stretch(value, 6), atol=1e-6)
    expected = colours / value[..., None].astype(float)
    np.testing.assert_allclose(result, expected * result.max(axis=-1, keepdims=True), atol=1e-6)


# --- properties -------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_flipped_volume_gives_the_flipped_result(dtype, axis):
    volume = reference.make_volume(dtype, (8, 15, 16))
    result = stretch_local(volume, (4, 5, 4), output="float32")
    flipped = stretch_local(np.flip(volume, axis), (4, 5, 4), output="float32")
    np.testing.assert_allclose(flipped, np.flip(result, axis), rtol=0, atol=1e-6)


def test_swapped_axes_give_the_swapped_result():
    volume = reference.make_volume("uint16", (8, 15, 16))
    result = stretch_local(volume, (4, 5, 3), output="float32")
    swapped = stretch_local(volume.transpose(2, 0, 1), (3, 4, 5), output="float32")
    np.testing.assert_allclose(swapped, result.transpose(2, 0, 1), rtol=0, atol=1e-6)


@given(
    low=st.floats(0, 49.9),
    high=st.floats(50, 100),
    max_gain=st.floats(1, 1e4),
    kernel_size=st.floats(1, 20),
    seed=st.integers(0, 100),
)
@settings(max_examples=30)
def test_brighter_voxels_of_one_place_stay_brighter(low, high, max_gain, kernel_size, seed):
    shape = (4, 9, 10)
    volume = reference.make_volume("uint16", shape, seed)
    transform = LocalStretch(kernel_size, low, high, max_gain, output="float32").fit(volume)
    results = np.stack([transform(np.full(shape, value, np.uint16)) for value in range(0, 65536, 3000)])
    assert (np.diff(results, axis=0) >= 0).all()
    assert results.min() >= 0
    assert results.max() <= 1


@given(
    counts=hnp.arrays(np.int64, hnp.array_shapes(min_dims=4, max_dims=4, max_side=5), elements=st.integers(0, 10**6)),
    percentiles=st.lists(st.floats(0, 100), min_size=1, max_size=4),
)
def test_percentiles_of_histograms(counts, percentiles):
    counts[0, 0, 0, 0] += 1
    found = tile_percentiles(counts, tuple(percentiles))
    everything = counts.reshape(-1, counts.shape[-1]).sum(axis=0)
    for tile in np.ndindex(*counts.shape[:-1]):
        heights = counts[tile] if counts[tile].any() else everything
        expected = [reference.histogram_percentile(heights, q) / counts.shape[-1] for q in percentiles]
        np.testing.assert_allclose(found[(slice(None), *tile)], expected, rtol=1e-12, atol=1e-12)


def test_one_tile_has_the_percentiles_of_numpy():
    volume = np.random.default_rng(0).gamma(2, 300, (10, 40, 50)).astype(np.float32)
    fit = LocalStretch(100, 2, 98, in_range="data").fit(volume).fits[()]
    bin_width = (volume.max() - volume.min()) / fit.nbins
    np.testing.assert_allclose(fit.ends((0, 0, 0)), np.percentile(volume, (2, 98)), rtol=0, atol=bin_width)


def test_regions_of_noise_stay_dark():
    rng = np.random.default_rng(0)
    volume = rng.normal(100, 2, (8, 32, 64)).astype(np.float32)
    volume[..., 32:] += rng.random((8, 32, 32), np.float32) * 1000
    result = stretch_local(volume, 16.0, max_gain=20)
    # noise of four sigma is a sixth of a twentieth of the range
    assert result[..., :16].max() < 0.5
    assert stretch_local(volume, 16.0, max_gain=1e6)[..., :16].max() == 1


def test_differences_inside_a_tile_stay_proportional():
    volume = reference.make_volume("float32", (4, 12, 12))
    result = stretch_local(volume, 100.0, 0, 100, in_range="data").astype(float)
    np.testing.assert_allclose(result, (volume - volume.min()) / np.ptp(volume), atol=1e-6)


def test_a_constant_volume_becomes_the_lowest_value():
    with pytest.warns(UserWarning, match="only one intensity"):
        assert (stretch_local(np.full((3, 8, 8), 7, np.uint8), 4) == 0).all()
    volume = np.full((3, 8, 8), 7, np.float32)
    volume[0, 0] = np.nan
    volume[1, 0] = np.inf
    with pytest.warns(UserWarning, match="only one intensity"):
        result = stretch_local(volume, 4, in_range="data")
    np.testing.assert_array_equal(result[~np.isnan(volume)], 0)
    assert np.isnan(result[0, 0]).all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"low": 60, "high": 40}, "low"),
        ({"low": -1}, "low"),
        ({"high": 101}, "high"),
        ({"max_gain": 0.5}, "max_gain"),
        ({"kernel_size": 0}, "kernel_size"),
    ],
)
def test_parameters_that_are_not_valid(parameters, message):
    with pytest.raises(ValueError, match=message):
        LocalStretch(**parameters)


def test_tiles_that_are_too_small_are_refused_before_reading():
    volume = np.broadcast_to(np.uint8(1), (1000, 1000, 1000))
    with pytest.raises(ValueError, match="larger kernel_size"):
        LocalStretch(3.0).fit(volume)


# --- one tile, other grids --------------------------------------------------------------


def test_a_tile_is_counted_as_the_fit_did_and_has_its_function():
    volume = reference.make_volume("float32")
    fit = LocalStretch(5, 5, 90).fit(volume).fits[()]
    for tile in np.ndindex(fit.grid.shape):
        values = volume[fit.grid.box(tile)].astype(float)
        counts = fit.count_tile(Volume(volume, box=fit.grid.box(tile)))
        np.testing.assert_array_equal(counts, reference.bin_counts(values, fit.lo, fit.hi, fit.nbins))
        low = fit.lo + (fit.hi - fit.lo) * reference.histogram_percentile(counts, 5) / fit.nbins
        assert fit.ends(tile)[0] == pytest.approx(low)
        low, high = fit.ends(tile)
        np.testing.assert_allclose(fit.function(tile), np.clip((fit.edges - low) / (high - low), 0, 1), atol=1e-12)


def test_a_coarser_level_is_mapped_by_the_tiles_of_the_fitted_one():
    level = np.random.default_rng(5).gamma(2, 300, (8, 16, 16)).astype(np.uint16)
    volume = level.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    transform = LocalStretch(8.0, output="float32").fit(volume)
    fine = transform.onto((16, 32, 32), (2, 2, 2)).apply(volume[::2, ::2, ::2])
    np.testing.assert_array_equal(fine, transform.apply(volume)[::2, ::2, ::2])
    coarse = transform.at_level(level.shape)
    # each voxel of the level is eight equal ones of the whole: it gets the two intensities in their middle, and the
    # mean of the eight quotients is nearly the quotient there
    whole = transform.apply(volume).astype(np.float64)
    mean = whole.reshape(8, 2, 16, 2, 16, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(coarse.apply(level), mean, atol=0.01)
    assert np.abs(coarse.apply(level) - mean).mean() < 1e-4
    for shape in [(3, 5, 7), (1, 1, 1), (16, 32, 31)]:
        assert np.isfinite(transform.at_level(shape).apply(np.ones(shape, np.uint16))).all()


# --- what it is for ---------------------------------------------------------------------


def test_a_decay_of_a_real_volume_is_undone_and_structure_kept(scaled_nuclei):
    degraded = scaled_nuclei * np.exp(-3 * np.linspace(0, 1, scaled_nuclei.shape[-1], dtype=np.float32))
    results = [stretch_local(each, 16.0, spacing=(0.29, 0.26, 0.26)) for each in (scaled_nuclei, degraded)]
    assert np.corrcoef(results[0].ravel(), results[1].ravel())[0, 1] > 0.95
    assert np.corrcoef(results[1].ravel(), scaled_nuclei.ravel())[0, 1] > 0.92

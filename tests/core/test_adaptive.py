import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import exposure

from core import reference
from napari_exposure.core import AdaptiveEqualization, Percentiles, equalize_adapthist
from napari_exposure.core.adaptive import clip_histograms, tile_functions
from napari_exposure.core.volume import Volume

# --- against the slow reference ---------------------------------------------------------


def assert_like_reference(volume, kernel_size=None, clip_limit=0.01, nbins=256, **options):
    result = equalize_adapthist(volume, kernel_size, clip_limit, nbins, output="float32", **options)
    assert result.dtype == np.float32
    expected = reference.adaptive(volume, kernel_size, clip_limit, nbins, **options)
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
        ((5, 64, 3), None),
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
    clip_limit = data.draw(st.floats(0, 1))
    assert_like_reference(volume, kernel_size, clip_limit, data.draw(st.integers(2, 300)))


def test_spacing_of_leading_axes_is_not_used():
    volume = reference.make_volume("uint16", (3, 6, 9, 10))
    np.testing.assert_array_equal(
        equalize_adapthist(volume, 4, spacing=(50, 2, 1, 1)), equalize_adapthist(volume, 4, spacing=(2, 1, 1))
    )


@pytest.mark.parametrize("clip_limit", [0, 0.005, 0.01, 0.3, 0.9, 1])
def test_clip_limits(clip_limit):
    assert_like_reference(reference.make_volume("uint16"), 5, clip_limit)


@pytest.mark.parametrize("nbins", [2, 17, 256, 5000])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_nbins(dtype, nbins):
    assert_like_reference(reference.make_volume(dtype), 5, 0.05, nbins)


@pytest.mark.parametrize(
    ("dtype", "in_range"),
    [
        ("int16", "data"),
        ("int16", "dtype"),
        ("uint8", "dtype"),
        ("float32", "dtype"),
        ("float64", "data"),
        ("int16", (-900.5, 12000)),
        ("uint8", (-10, 300)),
        ("uint8", Percentiles(20, 60)),
        ("float32", Percentiles(1, 99)),
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


def test_mask_of_labels():
    volume = reference.make_volume("uint8")
    labels = np.arange(volume.size).reshape(volume.shape) % 5 - 1
    assert_like_reference(volume, 5, mask=labels)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_zeros_are_left_out(dtype):
    volume = reference.make_volume(dtype)
    volume[:, :4] = 0
    mask = np.random.default_rng(2).random(volume.shape) < 0.8
    assert_like_reference(volume, 5, ignore_zeros=True)
    assert_like_reference(volume, 5, ignore_zeros=True, mask=mask)


@pytest.mark.parametrize("in_range", ["data", Percentiles(0.01, 99.99), (-1, 2)])
def test_nan_stays_and_infinities_clamp(in_range):
    volume = reference.make_volume("float32")
    volume.reshape(-1)[::7] = np.nan
    volume.reshape(-1)[1::31] = np.inf
    volume.reshape(-1)[2::41] = -np.inf
    assert_like_reference(volume, 5, in_range=in_range)
    result = equalize_adapthist(volume, 5, in_range=in_range)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(volume))


def test_a_tile_without_counted_voxels_takes_the_function_of_the_volume():
    volume = reference.make_volume("uint16", (6, 12, 12))
    mask = np.ones(volume.shape, bool)
    mask[:3, :6, 6:] = False
    assert_like_reference(volume, (3, 6, 6), mask=mask)
    transform = AdaptiveEqualization((3, 6, 6)).fit(volume, mask=mask)
    alone = AdaptiveEqualization((99, 99, 99)).fit(volume, mask=mask)
    np.testing.assert_array_equal(transform.fits[()].tables[0, 0, 1], alone.fits[()].tables[0, 0, 0])


@pytest.mark.parametrize("scale", [1e-300, 1e-40, 1e-30, 1e30, 5e39, 1e300])
def test_magnitude_does_not_matter(scale):
    volume = reference.make_volume("float64")
    np.testing.assert_allclose(equalize_adapthist(volume * scale, 5), equalize_adapthist(volume, 5), rtol=0, atol=1e-5)


def test_a_range_that_single_precision_does_not_hold():
    volume = reference.make_volume("float32")
    volume = (volume - volume.min()) / np.ptp(volume)
    wide = (2 * volume - 1) * np.float32(3.3e38)
    np.testing.assert_allclose(equalize_adapthist(wide, 5), equalize_adapthist(volume, 5), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
@pytest.mark.parametrize("per", ["dataset", "volume"])
def test_many_blocks_give_the_same(dtype, per, small_blocks):
    volume = reference.make_volume(dtype, (2, 6, 11, 13))
    if dtype == "float64":
        # Floats that lie on the very borders of bins may be rounded into either.
        volume += np.random.default_rng(1).random(volume.shape) / 100
    mask = np.random.default_rng(3).random(volume.shape) < 0.5
    assert_like_reference(volume, 5, per=per)
    assert_like_reference(volume, 5, per=per, mask=mask)


@pytest.mark.parametrize("dtype", reference.INTEGERS)
def test_integers_span_their_dtype(dtype):
    volume = reference.make_volume(dtype)
    least, high = reference.ends(dtype)
    low = least if volume.min() < 0 else 0
    result = equalize_adapthist(volume, 5)
    assert result.dtype == volume.dtype
    expected = low + (float(high) - low) * reference.adaptive(volume, 5)
    # 1e-5 of the range from single precision, and half a level from rounding
    assert np.abs(result - expected).max() <= 0.5 + 1e-5 * (float(high) - low)


def test_non_negative_data_of_a_signed_dtype_stay_so():
    volume = np.abs(reference.make_volume("int16"))
    result = equalize_adapthist(volume, 5, in_range="data")
    assert result.min() >= 0
    assert result.max() > 30000


def test_a_hot_voxel_does_not_ruin_the_bins():
    volume = reference.make_volume("uint16", (8, 40, 40)) // 64
    hot = volume.copy()
    hot[3, 20, 20] = 65535
    kept = np.ones(volume.shape, bool)
    kept[3, 20, 20] = False
    correlations = [
        np.corrcoef(equalize_adapthist(volume, 20)[kept], equalize_adapthist(hot, 20, in_range=chosen)[kept])[0, 1]
        for chosen in (Percentiles(0.01, 99.99), "data")
    ]
    assert correlations[0] > 0.9999
    # with the exact extremes all other voxels fall into four bins
    assert correlations[1] < correlations[0]


# --- properties -------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_a_flipped_volume_gives_the_flipped_result(dtype, axis):
    volume = reference.make_volume(dtype, (8, 15, 16))
    result = equalize_adapthist(volume, (4, 5, 4), output="float32")
    flipped = equalize_adapthist(np.flip(volume, axis), (4, 5, 4), output="float32")
    np.testing.assert_allclose(flipped, np.flip(result, axis), rtol=0, atol=1e-6)


def test_swapped_axes_give_the_swapped_result():
    volume = reference.make_volume("uint16", (8, 15, 16))
    result = equalize_adapthist(volume, (4, 5, 3), output="float32")
    swapped = equalize_adapthist(volume.transpose(2, 0, 1), (3, 4, 5), output="float32")
    np.testing.assert_allclose(swapped, result.transpose(2, 0, 1), rtol=0, atol=1e-6)


@given(
    counts=hnp.arrays(np.int64, hnp.array_shapes(min_dims=4, max_dims=4, max_side=5), elements=st.integers(0, 10**6)),
    clip_limit=st.floats(-0.5, 1.5),
)
def test_tile_functions_rise_from_0_to_1(counts, clip_limit):
    counts[0, 0, 0, 0] += 1
    tables = tile_functions(counts, clip_limit)
    assert tables.shape == (*counts.shape[:-1], counts.shape[-1] + 1)
    assert (tables[..., 0] == 0).all()
    assert (tables[..., -1] == 1).all()
    assert (np.diff(tables) >= 0).all()


# also steep histograms: one full bin, and counts that differ by orders of magnitude
_heights = st.one_of(st.integers(0, 20), st.sampled_from([0, 0, 1, 10**4, 10**8]))


@given(
    counts=hnp.arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(2, 40)), elements=_heights),
    clip_limit=st.one_of(st.floats(-0.5, 1.5), st.sampled_from([0, 0.01, 0.5, 1])),
)
def test_clipping_keeps_the_mass_and_the_limit(counts, clip_limit):
    clipped = clip_histograms(counts, clip_limit)
    total = counts.sum(axis=-1)
    np.testing.assert_allclose(clipped.sum(axis=-1), total, rtol=1e-9)
    for before, after, mass in zip(counts, clipped, total, strict=True):
        if 0 < clip_limit < 1:
            assert after.max() <= max(clip_limit * mass, mass / counts.shape[-1]) * (1 + 1e-9)
        np.testing.assert_allclose(after, reference.clip_histogram(before, clip_limit), rtol=1e-9, atol=1e-9 * mass)


def test_the_lowest_clip_limit_is_linear():
    volume = reference.make_volume("float32")
    lo, hi = volume.min(), volume.max()
    result = equalize_adapthist(volume, 5, clip_limit=1e-9, in_range="data")
    np.testing.assert_allclose(result, (volume - lo) / (hi - lo), rtol=0, atol=1e-5)


def test_brighter_voxels_of_one_place_stay_brighter():
    shape = (6, 12, 12)
    transform = AdaptiveEqualization(4, 0.02).fit(reference.make_volume("uint16", shape))
    results = [transform(np.full(shape, value, np.uint16)) for value in range(0, 65536, 800)]
    assert (np.diff(np.stack(results).astype(np.int64), axis=0) >= 0).all()


# --- one tile ---------------------------------------------------------------------------


def assert_tiles(volume, kernel_size, clip_limit=0.02, nbins=64, *, mask=None, ignore_zeros=False, **options):
    """The box, count and function of each tile of each fit, as slow NumPy has them; the number of tiles."""
    adjustment = AdaptiveEqualization(kernel_size, clip_limit, nbins, ignore_zeros=ignore_zeros, **options)
    transform = adjustment.fit(volume, mask=mask)
    counted = reference.counted_voxels(volume, mask, ignore_zeros)
    lead = volume.ndim - transform.spatial
    times_counted = np.zeros(volume.shape, int)
    tiles = 0
    for group, fit in transform.fits.items():
        # a fit of its own has one index of the leading axes, a shared one has all of them
        chosen = [slice(at, at + 1) for at in group] or [slice(0, size) for size in volume.shape[:lead]]
        for tile in np.ndindex(fit.grid.shape):
            box = (*chosen, *fit.grid.box(tile))
            times_counted[box] += 1
            values = volume[box][counted[box]].astype(np.float64)
            expected = reference.bin_counts(values, fit.lo, fit.hi, nbins)
            counts = fit.count_tile(Volume(volume, mask, ignore_zeros, box=box))
            np.testing.assert_array_equal(counts, expected)
            function = fit.function(tile)
            assert function.shape == (nbins + 1,)
            if counts.any():
                np.testing.assert_allclose(function, reference.knots(counts, clip_limit), rtol=0, atol=1e-6)
            tiles += 1
    assert (times_counted == 1).all()
    return tiles


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_a_tile_is_counted_as_the_fit_did(dtype):
    assert assert_tiles(reference.make_volume(dtype), 5, in_range="data") > 4


@pytest.mark.parametrize(
    ("shape", "kernel_size", "number"),
    [((23, 31), 8, 12), ((1, 40), 9, 4), ((7, 11, 13), (3, 4, 30), 6), ((7, 11, 13), 100, 1), ((1, 17, 19), 6, 9)],
)
def test_tiles_of_awkward_shapes(shape, kernel_size, number):
    assert assert_tiles(reference.make_volume("uint16", shape), kernel_size) == number


@pytest.mark.parametrize(
    "options", [{"nbins": 7}, {"clip_limit": 0}, {"in_range": (20000.5, 30000)}, {"in_range": Percentiles(20, 60)}]
)
def test_tiles_of_other_parameters(options):
    assert_tiles(reference.make_volume("uint16"), 5, **options)


@pytest.mark.parametrize(("per", "number"), [("dataset", 8), ("volume", 3 * 8), ("plane", 3 * 4 * 4)])
@pytest.mark.parametrize("masked", [False, True])
def test_tiles_of_a_time_series(per, number, masked):
    volume = reference.make_volume("uint16", (3, 4, 10, 11))
    # another brightness at each time point, so that a shared fit differs from separate ones
    volume = (volume // np.array([1, 2, 5]).reshape(3, 1, 1, 1)).astype(np.uint16)
    mask = np.random.default_rng(1).random(volume.shape) < 0.3 if masked else None
    kernel_size = (5, 5) if per == "plane" else (2, 5, 5)
    assert assert_tiles(volume, kernel_size, per=per, mask=mask) == number


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("per", ["dataset", "volume"])
def test_tiles_of_many_blocks(dtype, per, small_blocks):
    volume = reference.make_volume(dtype, (2, 6, 11, 13))
    mask = np.random.default_rng(3).random(volume.shape) < 0.5
    assert_tiles(volume, 6, per=per, mask=mask)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_tiles_without_zeros_and_outside_of_the_mask(dtype):
    volume = reference.make_volume(dtype)
    volume[:, :4] = 0
    labels = np.arange(volume.size).reshape(volume.shape) % 5 - 1
    assert_tiles(volume, 5, ignore_zeros=True)
    assert_tiles(volume, 5, ignore_zeros=True, mask=labels)


def test_tiles_of_nan_and_infinities():
    volume = reference.make_volume("float32")
    volume.reshape(-1)[::7] = np.nan
    volume.reshape(-1)[1::31] = np.inf
    volume.reshape(-1)[2::41] = -np.inf
    assert_tiles(volume, 5)
    assert_tiles(volume, 5, in_range="data")


def test_a_tile_of_nothing_counts_nothing():
    volume = reference.make_volume("uint16", (6, 12, 12))
    mask = np.ones(volume.shape, bool)
    mask[:3, :6, 6:] = False
    assert_tiles(volume, (3, 6, 6), mask=mask)
    fit = AdaptiveEqualization((3, 6, 6)).fit(volume, mask=mask).fits[()]
    tile = (0, 0, 1)
    assert fit.grid.box(tile) == (slice(0, 3), slice(0, 6), slice(6, 12))
    assert not fit.count_tile(Volume(volume, mask, box=fit.grid.box(tile))).any()


def test_tiles_of_colours_count_the_value():
    colours = np.random.default_rng(0).integers(0, 256, (4, 12, 14, 3), np.uint8)
    fit = AdaptiveEqualization((4, 6, 7), nbins=32, in_range="data").fit(colours, rgb=True).fits[()]
    value = colours.max(axis=-1)
    for tile in np.ndindex(fit.grid.shape):
        counts = fit.count_tile(Volume(colours, rgb=True, box=fit.grid.box(tile)))
        expected = reference.bin_counts(value[fit.grid.box(tile)].astype(np.float64), fit.lo, fit.hi, 32)
        np.testing.assert_array_equal(counts, expected)


def test_boxes_lie_where_tiles_do():
    transform = AdaptiveEqualization((3, 4, 5)).fit(reference.make_volume("uint8", (7, 11, 13)))
    fit = transform.fits[()]
    edges = [reference.tile_edges(*axis) for axis in ((7, 2), (11, 3), (13, 3))]
    assert fit.grid.shape == (2, 3, 3)
    for tile in np.ndindex(fit.grid.shape):
        assert fit.grid.box(tile) == tuple(slice(e[at], e[at + 1]) for e, at in zip(edges, tile, strict=True))


def test_the_function_of_a_tile_maps_its_centre():
    shape = (9, 15, 15)
    volume = reference.make_volume("uint16", shape)
    transform = AdaptiveEqualization((3, 5, 5), nbins=16, output="float32", in_range=(0, 65536)).fit(volume)
    fit = transform.fits[()]
    for tile in ((0, 0, 0), (1, 2, 0), (2, 1, 1)):
        centre = tuple((part.start + part.stop) // 2 for part in fit.grid.box(tile))
        for number, height in enumerate(fit.function(tile)[:-1]):
            # at the border of a bin, and at the centre of a tile, nothing is interpolated
            result = transform(np.full(shape, number * 4096, np.uint16))
            assert result[centre] == pytest.approx(height, abs=1e-6)


# --- against scikit-image on a real volume ----------------------------------------------


@pytest.fixture(scope="module")
def skimage_nuclei(scaled_nuclei):
    return exposure.equalize_adapthist(scaled_nuclei, kernel_size=(30, 51, 51), clip_limit=0.01)


def test_real_volume_as_scikit_image_has_it(scaled_nuclei, skimage_nuclei):
    result = equalize_adapthist(scaled_nuclei, (30, 51, 51), 0.01, in_range="data")
    assert np.corrcoef(result.ravel(), skimage_nuclei.ravel())[0, 1] >= 0.9998


@pytest.mark.parametrize("in_range", ["data", Percentiles(0.01, 99.99)])
def test_degradation_along_an_axis_is_undone(scaled_nuclei, in_range):
    # the experiment of scikit-image's gallery, "3D adaptive histogram equalization"
    original = scaled_nuclei.transpose(2, 1, 0)
    nx, ny, nz = original.shape
    degraded = original * np.exp(-3 * np.linspace(0, 1, nx))[:, None, None]
    kernel_size = (nx // 5, ny // 5, nz // 2)
    results = [
        equalize_adapthist(volume, kernel_size, 0.9, in_range=in_range).ravel() for volume in (original, degraded)
    ]
    assert np.corrcoef(original.ravel(), degraded.ravel())[0, 1] < 0.9
    assert np.corrcoef(*results)[0, 1] >= 0.992


def test_real_volume_equals_the_reference(nuclei):
    # a part that the slow reference can do, at the true voxel size
    volume = nuclei[20:40, 100:148, 60:132]
    assert_like_reference(volume, 5.2, spacing=(0.29, 0.26, 0.26))


def test_a_coarser_level_is_mapped_by_the_tiles_of_the_fitted_one():
    # each voxel of the level is eight equal ones of the whole: it gets the function in their middle, their mean
    level = np.random.default_rng(5).gamma(2, 300, (8, 16, 16)).astype(np.uint16)
    volume = level.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    transform = AdaptiveEqualization(8.0, output="float32").fit(volume)
    assert transform.fits[()].grid.shape == (2, 4, 4)
    whole = transform.apply(volume).astype(np.float64)
    expected = whole.reshape(8, 2, 16, 2, 16, 2).mean(axis=(1, 3, 5))
    coarse = transform.at_level(level.shape)
    np.testing.assert_allclose(coarse.apply(level), expected, atol=1e-6)
    block = coarse(level[2:5, 3:], (2, 3, 0))
    np.testing.assert_array_equal(block, coarse.apply(level)[2:5, 3:])
    # sizes that do not divide, down to one voxel
    for shape in [(3, 5, 7), (1, 1, 1), (16, 32, 31)]:
        assert np.isfinite(transform.at_level(shape).apply(np.ones(shape, np.uint16))).all()


def test_planes_of_a_coarser_level_have_the_fit_of_their_middle():
    volume = np.random.default_rng(6).integers(0, 255, (7, 12, 12), dtype=np.uint8)
    transform = AdaptiveEqualization(4.0, per="plane").fit(volume)
    level = transform.at_level((3, 12, 12)).apply(volume[[1, 3, 5]])
    np.testing.assert_array_equal(level, transform.apply(volume)[[1, 3, 5]])

"""Histogram matching: scikit-image's numbers, what may be a reference, and histograms as files."""

import json
import pickle
import warnings
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage import exposure

from core import reference
from napari_exposure import Recipe
from napari_exposure.core import Adjustment, Histogram, HistogramMatching, adjust, histogram, match_histograms

INTEGERS = ("uint8", "uint16", "uint32", "int8", "int16", "int32")


def slow(volume, other, counted=None):
    """The definition, voxel by voxel: the fraction up to each, and the reference's value at this fraction."""
    values = volume[np.isfinite(volume) if counted is None else counted].astype(float)
    values.sort()
    known, counts = np.unique(other[np.isfinite(other)], return_counts=True)
    fractions = np.searchsorted(values, np.clip(volume, values[0], values[-1]), side="right") / values.size
    return np.interp(fractions, np.cumsum(counts) / counts.sum(), known)


def pair(dtype):
    volume = reference.make_volume(dtype)
    other = reference.make_volume(dtype, (5, 7, 9), seed=3) // 2 + 3
    return volume, other.astype(dtype)


# --- the numbers ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int8", "int16"])
def test_integers_equal_scikit_image(dtype):
    volume, other = pair(dtype)
    expected = exposure.match_histograms(volume, other)
    np.testing.assert_array_equal(match_histograms(volume, other, output="float32"), expected.astype(np.float32))
    result = match_histograms(volume, other)
    assert result.dtype == volume.dtype
    np.testing.assert_array_equal(result, np.rint(expected))


@given(
    hnp.arrays(np.uint8, (2, 3, 5), elements=st.integers(0, 12)),
    hnp.arrays(np.uint8, (4, 6), elements=st.integers(0, 255)),
)
def test_few_voxels_equal_scikit_image(volume, other):
    if volume.min() == volume.max():
        volume[0, 0, 0] += 1
    # its own check of dimensions
    expected = exposure.match_histograms(volume, other[None])
    np.testing.assert_array_equal(match_histograms(volume, other), np.rint(expected))


@pytest.mark.parametrize("dtype", ["uint32", "int32"])
def test_wide_integers_of_a_small_range_equal_scikit_image(dtype):
    rng = np.random.default_rng(0)
    # of unsigned integers scikit-image counts every number from 0 on
    offset = 100_000 if dtype == "uint32" else -2_000_000_000
    volume = (rng.poisson(400, (6, 20, 21)) + offset).astype(dtype)
    other = (rng.poisson(90, (5, 20, 21)) * 7 + offset).astype(dtype)
    expected = exposure.match_histograms(volume, other)
    assert np.abs(match_histograms(volume, other).astype(float) - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_are_right_to_a_bin(dtype):
    rng = np.random.default_rng(0)
    volume = rng.gamma(2, 1, (8, 40, 41)).astype(dtype)
    other = rng.normal(50, 9, (8, 40, 41)).astype(dtype)
    expected = exposure.match_histograms(volume.astype(float), other.astype(float))
    result = match_histograms(volume, other)
    assert result.dtype == volume.dtype
    # a bin of the volume holds a few voxels: where the reference is steep, they are a few intensities apart
    inner = (expected > np.percentile(other, 1)) & (expected < np.percentile(other, 99))
    assert np.abs(result - expected)[inner].max() < 0.05 * (other.max() - other.min()) / (
        20 if dtype != "float16" else 1
    )
    for q in (1, 10, 50, 90, 99):
        np.testing.assert_allclose(np.percentile(result, q), np.percentile(other.astype(float), q), rtol=2e-3)
    assert result.min() >= other.min()
    assert result.max() == other.max()


def test_a_float_volume_with_an_integer_reference():
    rng = np.random.default_rng(0)
    volume = rng.random((6, 20, 21)).astype(np.float32)
    other = rng.poisson(40, (6, 20, 21)).astype(np.uint16)
    expected = exposure.match_histograms(volume, other)
    assert np.abs(match_histograms(volume, other, 1 << 20) - expected).max() < 0.1


def test_a_volume_matched_with_itself_stays():
    for dtype in INTEGERS:
        volume = reference.make_volume(dtype)
        if volume.dtype.itemsize == 4:
            volume = (volume % 1000).astype(dtype)
        np.testing.assert_array_equal(match_histograms(volume, volume), volume)
    volume = reference.make_volume("float32")
    width = float(volume.max() - volume.min()) / 65536
    np.testing.assert_allclose(match_histograms(volume, volume), volume, atol=2 * width)


def test_the_range_is_that_of_the_reference():
    volume, other = pair("uint16")
    transform = HistogramMatching(histogram(other)).fit(volume)
    assert transform.out_range == (other.min(), other.max())
    result = transform.apply(volume)
    assert result.max() == other.max()


def test_constant_volumes_become_the_lowest_intensity():
    other = np.array([[7, 8, 9]], np.uint8)
    with pytest.warns(UserWarning, match="only one intensity"):
        result = match_histograms(np.full((3, 4), 5, np.uint8), other)
    np.testing.assert_array_equal(result, 7)
    np.testing.assert_array_equal(match_histograms(np.array([[1, 2]], np.uint8), np.full((1, 3), 9, np.uint8)), 9)


def test_nan_stays_and_infinities_are_clamped():
    volume = reference.make_volume("float32")
    other = reference.make_volume("uint8")
    volume[0, 0, :3] = np.nan, np.inf, -np.inf
    result = match_histograms(volume, other)
    assert np.isnan(result[0, 0, 0])
    assert result[0, 0, 1] == other.max()
    assert result[0, 0, 2] == np.nanmin(result)
    low, high = volume[np.isfinite(volume)].min(), volume[np.isfinite(volume)].max()
    clamped = np.clip(np.nan_to_num(volume, nan=low, posinf=high, neginf=low), low, high)
    expected = match_histograms(clamped, other, mask=~np.isnan(volume))
    np.testing.assert_array_equal(result.reshape(-1)[1:], expected.reshape(-1)[1:])
    other = other.astype(np.float32)
    other[0, 0, 0] = np.nan
    assert np.isfinite(match_histograms(volume, other)[1:]).all()


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_only_counted_voxels_count(dtype):
    volume, other = pair(dtype)
    mask = np.random.default_rng(0).random(volume.shape) > 0.6
    result = match_histograms(volume, other, mask=mask, output="float32")
    np.testing.assert_allclose(result, slow(volume, other, mask), rtol=1e-6)
    volume[::2] = 0
    result = match_histograms(volume, other, ignore_zeros=True, output="float32")
    np.testing.assert_allclose(result, slow(volume, other[other != 0], volume != 0), rtol=1e-6)


@pytest.mark.parametrize(("per", "axes"), [("plane", 2), ("volume", 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_each_part_has_the_histogram_of_the_reference(dtype, per, axes):
    volume = reference.make_volume(dtype, (2, 3, 9, 10))
    other = reference.make_volume(dtype, (8, 9), seed=2)
    result = match_histograms(volume, other, per=per)
    for index in np.ndindex(*volume.shape[:-axes]):
        np.testing.assert_array_equal(result[index], match_histograms(volume[index], other))


def test_colours_keep_their_hue():
    volume = reference.make_volume("uint8", (4, 5, 3))
    volume = np.maximum(volume, 1)
    other = reference.make_volume("uint8", (6, 7, 3), seed=4)
    result = match_histograms(volume, other, rgb=True)
    expected = match_histograms(volume.max(-1), other.max(-1))
    np.testing.assert_array_equal(result.max(-1), expected)
    with pytest.raises(ValueError, match="Convert"):
        match_histograms(volume, other, rgb=True, output="float32")


# --- kinds of arrays --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_every_array_gives_the_same_bits(dtype, tmp_path, small_blocks):
    volume, other = pair(dtype)
    expected = match_histograms(volume, other)
    other = histogram(other, 65536)
    path = tmp_path / "volume.npy"
    np.save(path, volume)
    stored = zarr.create_array(str(tmp_path / "z"), data=volume, chunks=(2, 5, 6))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        for array in (np.load(path, mmap_mode="r"), stored, file.create_dataset("v", data=volume, chunks=(2, 5, 6))):
            np.testing.assert_array_equal(match_histograms(array, other), expected)
    lazy = match_histograms(da.from_array(volume, chunks=(2, 5, 6)), other)
    assert isinstance(lazy, da.Array)
    np.testing.assert_array_equal(lazy.compute(), expected)
    for array in (volume.astype(volume.dtype.newbyteorder()), volume[::-1][::-1]):
        np.testing.assert_array_equal(match_histograms(array, other), expected)


@pytest.mark.parametrize("kind", [da.from_array, lambda array: array.astype(">u2"), lambda array: array[::-1]])
def test_any_array_may_be_the_reference(kind):
    volume, other = pair("uint16")
    np.testing.assert_array_equal(match_histograms(volume, kind(other)), match_histograms(volume, other))


def test_lists_may_be_the_reference():
    volume = reference.make_volume("float32")
    np.testing.assert_array_equal(np.unique(match_histograms(volume, [[5.0, 5.0], [5.0, 5.0]])), 5)


# --- what does not fit ------------------------------------------------------------------


def refused(match, volume, other, error=ValueError, **options):
    before = volume.copy()
    with pytest.raises(error, match=match):
        match_histograms(volume, other, **options)
    np.testing.assert_array_equal(volume, before)


def test_what_cannot_be_kept_is_refused():
    volume = reference.make_volume("uint8")
    refused("uint8 cannot hold", volume, volume.astype(np.uint16) * 10)
    refused("cannot hold", volume, reference.make_volume("int16"))
    refused("floating-point", volume, volume / np.float32(255))
    other = volume / np.float32(255)
    result = match_histograms(volume, other, output="float32")
    np.testing.assert_allclose(result, exposure.match_histograms(volume.astype(float), other), atol=1e-4)


def test_references_that_are_none():
    volume = reference.make_volume("uint8")
    refused("no finite voxel", volume, np.full((2, 2), np.nan))
    refused("no finite voxel", volume, np.zeros((2, 2), np.uint8), ignore_zeros=True)
    refused("nbins", volume, volume, nbins=1)
    refused("must be an array", volume, 5.0, TypeError)
    for path in ("x.json", Path("x.json")):
        refused(r"reference must be .*x\.json.*Histogram\.load", volume, path, TypeError)
    with pytest.raises(TypeError, match="reference must be a Histogram"):
        HistogramMatching(volume)
    with pytest.raises(TypeError, match="reference"):
        HistogramMatching()


# --- plain data -------------------------------------------------------------------------

volumes = st.sampled_from(reference.DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, (3, 4), elements=None if dtype[0] in "iu" else st.floats(width=16))
)


def counted(volume):
    try:
        return histogram(volume, 16)
    except ValueError:
        return histogram(np.zeros((2, 2), np.float32))


@given(volumes)
def test_histograms_survive_plain_data(volume):
    found = counted(volume)
    again = Histogram.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert again == found
    assert hash(again) == hash(found)
    assert again.counts.dtype == np.int64
    assert repr(again) == repr(found)
    for name in ("counts", "edges"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    np.testing.assert_array_equal([again.mean, again.std, again.mode], [found.mean, found.std, found.mode])


def test_histograms_that_were_cut_survive_too():
    found = histogram(reference.make_volume("uint16")).rebin(2**15, 2**15 + 5000, 7)
    assert Histogram.from_dict(found.to_dict()) == found
    wide = histogram(np.array([[0.0, 1.0, 7.0, 5.0]]), 11).rebin(0.3, 4.9, 3)
    assert Histogram.from_dict(wide.to_dict()) == wide


@pytest.mark.parametrize("nbins", [4, 100, 65536])
@pytest.mark.parametrize("finite", [1.0, 0.1, -3e9])
def test_a_constant_reference_with_infinities_gives_the_constant(nbins, finite):
    other = np.array([[np.inf, finite, finite, -np.inf, -np.inf]])
    volume = np.linspace(0, 1, 20).reshape(4, 5)
    assert set(match_histograms(volume, other, nbins).ravel()) == {finite}


def test_infinities_of_a_reference_count_at_its_ends():
    volume = np.linspace(0, 1, 1000).reshape(25, 40)
    other = np.concatenate([np.linspace(5, 9, 900), np.full(50, np.inf), np.full(50, -np.inf)])[None]
    result = match_histograms(volume, other)
    assert (result.min(), result.max()) == (5, 9)
    assert (np.diff(result.ravel()) >= 0).all()
    assert np.median(result) == pytest.approx(7, abs=0.01)


def test_equality_is_of_what_was_counted():
    volume = reference.make_volume("float32")
    assert histogram(volume) == histogram(volume)
    assert histogram(volume) != histogram(volume, 99)
    assert histogram(volume) != histogram(volume[:3])
    assert histogram(volume) != 5
    nothing = np.full((2, 2), np.nan)
    assert histogram(nothing) == histogram(nothing)


def test_a_histogram_survives_a_file(tmp_path):
    found = histogram(reference.make_volume("uint16"))
    path = found.save(tmp_path / "reference.json")
    assert Histogram.load(path) == found
    assert [each.name for each in tmp_path.iterdir()] == ["reference.json"]
    assert path.stat().st_size < 20_000
    with pytest.raises(FileNotFoundError, match="no histogram"):
        Histogram.load(tmp_path / "other.json")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"reference\.json is no JSON"):
        Histogram.load(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="no histogram"):
        Histogram.load(path)


_MOMENTS = {
    "n": 3,
    "first": "11/2",
    "second": "41/4",
    "minimum": 1.0,
    "maximum": 2.5,
    "at_minimum": 1,
    "at_maximum": 1,
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"napari_exposure_histogram": 99}, "update"),
        ({"colour": 1}, "colour"),
        ({"counts": None}, "counts"),
        ({"counts": "0:1 2,3"}, "counts"),
        ({"counts": "0:1 2 3 4 5 6 7 8 9 9 9"}, "fit into"),
        ({"counts": "3:1;1:1"}, "in order"),
        ({"counts": f"0:{2**60}"}, "fit into"),
        ({"bins": 1 << 40}, "bins"),
        ({"bins": 2.5}, "bins"),
        ({"edges": [5]}, "edges"),
        ({"edges": [5.5, 0.5]}, "increase"),
        ({"edges": [0, 8]}, "whole numbers"),
        ({"edges": ["a", 8]}, "edges"),
        ({"minimum": None}, "minimum"),
        ({"minimum": 9}, "in order"),
        ({"below": -1}, "below"),
        ({"nan": "many"}, "nan"),
        ({"by_value": 1}, "by_value"),
        ({"name": 1}, "name"),
        ({"moments": {}}, "moments"),
        ({"moments": 3}, "moments"),
        ({"moments": {**_MOMENTS, "first": "many"}}, "first"),
        ({"moments": {**_MOMENTS, "first": 3}}, "first"),
        ({"moments": {**_MOMENTS, "first": "1/0"}}, "first"),
        ({"moments": {**_MOMENTS, "first": "9" * 1000}}, "first"),
        ({"moments": {**_MOMENTS, "second": "1"}}, "squares"),
    ],
)
def test_plain_data_that_are_no_histogram(change, message):
    plain = histogram(np.array([[1, 2], [2, 8]], np.uint8)).to_dict()
    with pytest.raises(ValueError, match=message):
        Histogram.from_dict({**plain, **change})


def test_names_that_are_missing():
    plain = histogram(np.array([[1, 2]], np.uint8)).to_dict()
    for name in plain:
        with pytest.raises(ValueError, match=name):
            Histogram.from_dict({key: value for key, value in plain.items() if key != name})


def test_the_adjustment_survives_plain_data_and_pickling(tmp_path):
    volume, other = pair("float32")
    adjustment = HistogramMatching(histogram(other, 4096), 512, in_range=(-1, 1.5), per="plane")
    for again in (
        Adjustment.from_dict(json.loads(json.dumps(adjustment.to_dict()))),
        pickle.loads(pickle.dumps(adjustment)),
        Recipe.load(Recipe(adjustment).save(tmp_path / "r.json")).steps[0],
    ):
        assert again == adjustment
        assert hash(again) == hash(adjustment)
        np.testing.assert_array_equal(adjust(again, volume), adjust(adjustment, volume))
    # a line for each parameter, none for each bin
    assert len((tmp_path / "r.json").read_text().splitlines()) < 50
    with pytest.raises(ValueError, match="HistogramMatching needs reference, which is missing"):
        Adjustment.from_dict({"adjustment": "HistogramMatching"})
    with pytest.raises(ValueError, match="reference must be a Histogram"):
        Adjustment.from_dict({"adjustment": "HistogramMatching", "reference": {"a": 1}})


def test_a_transform_survives_pickling():
    volume, other = pair("uint16")
    transform = HistogramMatching(histogram(other)).fit(volume)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(transform)).apply(volume), transform.apply(volume))


def test_a_saved_reference_serves_many_volumes(tmp_path):
    plate = [reference.make_volume("uint16", seed=seed) for seed in range(3)]
    path = histogram(plate[0]).save(tmp_path / "plate.json")
    recipe = Recipe(HistogramMatching(Histogram.load(path)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = [recipe.apply(volume) for volume in plate]
    np.testing.assert_array_equal(results[0], plate[0])
    medians = [np.median(result) for result in results]
    np.testing.assert_allclose(medians, medians[0], rtol=1e-3)


# --- colors, each by itself ---------------------------------------------------------------


def tinted(dtype, shape, seed, tint):
    """An image whose colors have histograms of their own."""
    rng = np.random.default_rng(seed)
    colors = np.stack([rng.gamma(2 + color, 12 * share, shape) for color, share in enumerate(tint)], axis=-1)
    return np.clip(colors, 0, 250).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("planes", [(), (4,)])
def test_each_color_equals_scikit_image(dtype, planes):
    image = tinted(dtype, (*planes, 20, 24), 0, (1, 2, 0.5))
    other = tinted(dtype, (*planes, 11, 30), 1, (2, 0.7, 1.5))
    # of integers scikit-image truncates what it makes of each color; of the same as floats it does not
    expected = exposure.match_histograms(image.astype(float), other.astype(float), channel_axis=-1)
    result = match_histograms(image, other, colors="each", rgb=True)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, np.rint(expected))
    assert not np.array_equal(result, match_histograms(image, other, rgb=True))
    lazy = match_histograms(da.from_array(image, chunks=(*planes, 7, 9, 3)), other, colors="each", rgb=True)
    np.testing.assert_array_equal(lazy.compute(), result)


def test_each_color_of_floats_equals_scikit_image():
    image, other = (tinted("uint8", (20, 24), *how) / 255 for how in ((0, (1, 2, 0.5)), (1, (2, 0.7, 1.5))))
    expected = exposure.match_histograms(image, other, channel_axis=-1)
    found = match_histograms(image, other, colors="each", rgb=True)
    np.testing.assert_allclose(found, expected, atol=1 / 65536)


def test_alpha_stays_and_masks_count():
    image = tinted("uint8", (20, 24), 0, (1, 2, 0.5, 1))
    other = tinted("uint8", (11, 30), 1, (2, 0.7, 1.5))
    mask = np.zeros((20, 24), bool)
    mask[3:15] = True
    found = match_histograms(image, other, colors="each", rgb=True, mask=mask)
    np.testing.assert_array_equal(found[..., 3], image[..., 3])
    for color in range(3):
        alone = match_histograms(image[..., color], other[..., color], mask=mask)
        np.testing.assert_array_equal(found[..., color], alone)


def test_each_plane_and_the_first_time_point_have_colors_of_their_own():
    series = np.stack([tinted("uint8", (20, 24), seed, (1, 2, 1 / (1 + seed))) for seed in range(3)])
    planes = match_histograms(series, series[0], colors="each", rgb=True, per="plane")
    first = match_histograms(series, "first", colors="each", rgb=True, per="plane")
    for time in range(3):
        pair = series[time].astype(float), series[0].astype(float)
        expected = np.rint(exposure.match_histograms(*pair, channel_axis=-1))
        np.testing.assert_array_equal(planes[time], expected)
        np.testing.assert_array_equal(first[time], expected)


def test_colors_that_are_not_there_are_told():
    image = tinted("uint8", (20, 24), 0, (1, 2, 0.5))
    with pytest.raises(ValueError, match="colors='each' needs a reference with colors"):
        match_histograms(image, histogram(image, rgb=True), colors="each", rgb=True)
    with pytest.raises(ValueError, match="colors='each' is for RGB images"):
        adjust(HistogramMatching(matching_reference(image), colors="each"), image[..., 0])
    with pytest.raises(ValueError, match="colors must be one of 'value', 'each'"):
        match_histograms(image, image, colors="red", rgb=True)
    plain = matching_reference(image).to_dict()
    for wrong in ({"colors": plain["colors"][:2]}, {"colors": [plain] * 3}, {"colors": 3}):
        with pytest.raises(ValueError, match="color"):
            Histogram.from_dict({**plain, **wrong})


def matching_reference(image):
    from napari_exposure.core.counting import count_colors
    from napari_exposure.core.volume import Volume

    return count_colors(Volume(image, rgb=True), 256)


@pytest.mark.parametrize("most", [2**51, 2**53 - 1, 2**53])
def test_integers_up_to_the_last_exact_one_are_whole(most):
    volume = np.random.default_rng(0).integers(-most, most, (5, 12, 14), endpoint=True)
    volume.flat[:2] = -most, most
    found = match_histograms(volume, volume)
    assert found.dtype == np.int64
    # Nothing is known of a value but its bin, of which there are 65536.
    assert np.abs(found - volume).max() <= 2 * most / 65536

"""Arrays of other packages are opened by what they are."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pint
import pytest
import tensorstore
import xarray

from napari_exposure import core
from napari_exposure.core.blocks import is_dask

VOLUME = np.random.default_rng(0).integers(1, 4096, (8, 24, 26)).astype(np.uint16)
UNITS = pint.UnitRegistry()
LAZY = da.from_array(VOLUME, chunks=(2, 24, 26))


def stored(values):
    """What lies in a store, and does not begin at 0."""
    return tensorstore.array(values)[tensorstore.d[:].translate_to[5, 6, 7]]


KINDS = {
    "list": (VOLUME.astype(int).tolist(), np.ndarray),
    "Fortran": (np.asfortranarray(VOLUME), np.ndarray),
    "pint": (VOLUME * UNITS.volt, np.ndarray),
    "pint of dask": (UNITS.Quantity(LAZY, "volt"), da.Array),
    "xarray": (xarray.DataArray(VOLUME, dims=("z", "y", "x")), xarray.DataArray),
    "xarray of dask": (xarray.DataArray(LAZY, dims=("z", "y", "x")), xarray.DataArray),
    "tensorstore": (stored(VOLUME), np.ndarray),
    "masked by nothing": (np.ma.masked_array(VOLUME, mask=False), np.ma.MaskedArray),
}
VERBS = {
    "gamma": lambda volume: core.adjust_gamma(volume, 0.5),
    "equalize": core.equalize_hist,
    "adaptive": lambda volume: core.equalize_adapthist(volume, 6.0),
    "decay": lambda volume: core.correct_decay(volume, force=True),
    "match": lambda volume: core.match_histograms(volume, VOLUME // 2),
    "recipe": core.PercentileClip(1, 99).fit(VOLUME).apply,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_kind_gives_the_same(kind, verb):
    image, result = KINDS[kind]
    if kind == "list" and verb == "recipe":
        image = np.array(image, np.uint16)
    found = VERBS[verb](image)
    assert type(found) is result
    volume = VOLUME.astype(np.int64) if kind == "list" and verb != "recipe" else VOLUME
    np.testing.assert_array_equal(np.asarray(found), VERBS[verb](volume))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_counted_and_masks(kind):
    image = KINDS[kind][0]
    assert core.percentile(image, 37) == core.percentile(VOLUME, 37)
    # of a mask that is nowhere zero all voxels count
    assert core.histogram(VOLUME, mask=image) == core.histogram(VOLUME)
    np.testing.assert_array_equal(core.histogram_along(image, bins=5)[0], core.histogram_along(VOLUME, bins=5)[0])
    np.testing.assert_array_equal(np.asarray(core.montage(image)), core.montage(VOLUME))
    if kind != "list":
        np.testing.assert_array_equal(core.as_dask(image).compute(), VOLUME)


def test_only_dask_is_dask():
    assert not any(is_dask(image) for image, _ in KINDS.values())
    assert is_dask(LAZY)


# --- masked arrays ----------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda array: array, lambda array: da.ma.masked_array(LAZY, mask=array.mask)])
def test_the_mask_of_a_masked_array_counts(wrap):
    masked = np.ma.masked_less(VOLUME, 2000)
    inside = VOLUME >= 2000
    image = wrap(masked)
    assert core.histogram(image) == core.histogram(VOLUME, mask=inside)
    assert core.percentile(image, 50) == np.median(masked.compressed())
    half = np.zeros(VOLUME.shape, bool)
    half[:, :12] = True
    assert core.histogram(image, mask=half) == core.histogram(VOLUME, mask=inside & half)
    result = core.clip_percentiles(image)
    np.testing.assert_array_equal(np.ma.getdata(np.ma.asarray(result)), core.clip_percentiles(VOLUME, mask=inside))


def test_results_of_masked_arrays_are_masked():
    masked = np.ma.masked_less(VOLUME, 2000)
    for image in (masked, da.from_array(masked, chunks=(2, 24, 26))):
        for result in (core.equalize_hist(image), core.Gamma(0.5).fit(image).apply(image)):
            found = result.compute() if is_dask(result) else result
            np.testing.assert_array_equal(found.mask, masked.mask)
        tiles = core.montage(image, step=3, columns=2, gap=1)
        tiles = tiles.compute() if is_dask(tiles) else tiles
        hidden = core.montage(masked.mask.astype(np.uint8), step=3, columns=2, gap=1)
        np.testing.assert_array_equal(tiles.mask, hidden == 1)
    colors = np.ma.masked_array(np.stack([VOLUME] * 3, axis=-1), mask=False)
    colors[0, 0, 0, 1] = np.ma.masked
    inside = np.ones(VOLUME.shape, bool)
    inside[0, 0, 0] = False
    assert core.histogram(colors, rgb=True) == core.histogram(VOLUME, mask=inside)


def test_a_mask_that_is_masked():
    inside = np.ma.masked_array(VOLUME > 1000, mask=VOLUME > 3000)
    assert core.histogram(VOLUME, mask=inside) == core.histogram(VOLUME, mask=(VOLUME > 1000) & (VOLUME <= 3000))
    # NaN is not inside, of whichever mask
    floats = np.where(VOLUME > 1000, 1.0, np.nan)
    masked = np.ma.masked_greater(VOLUME, 3000)
    assert core.histogram(masked, mask=floats) == core.histogram(VOLUME, mask=(VOLUME > 1000) & (VOLUME <= 3000))


def test_nothing_masked_is_left_out_in_silence():
    with pytest.raises(TypeError, match="masked array"):
        core.histogram_along(np.ma.masked_less(VOLUME, 2000))


# --- xarray -----------------------------------------------------------------------------


def placed(**coords):
    steps = {"z": 2.0, "y": 0.5, "x": 0.5} | coords
    coords = {dim: step * np.arange(VOLUME.shape["zyx".index(dim)]) for dim, step in steps.items() if step is not None}
    return xarray.DataArray(VOLUME, coords, ("z", "y", "x"), "nuclei", {"microscope": "2P"})


def test_coordinates_say_how_large_a_voxel_is():
    image = placed()
    expected = core.equalize_adapthist(VOLUME, 5.0, spacing=(2, 0.5, 0.5))
    result = core.equalize_adapthist(image, 5.0)
    np.testing.assert_array_equal(result.values, expected)
    assert result.name == "nuclei"
    assert result.attrs == image.attrs
    xarray.testing.assert_equal(result.coords.to_dataset(), image.coords.to_dataset())
    np.testing.assert_array_equal(core.AdaptiveEqualization(5.0).fit(image).apply(VOLUME), expected)
    assert core.decay_profile(image, force=True)[0][-1] == 14
    assert core.histogram(image).name == "nuclei"
    # what the caller says counts more; single precision is even enough, and so is counting down
    other = core.equalize_adapthist(image, 5.0, spacing=(1, 1, 1))
    np.testing.assert_array_equal(other.values, core.equalize_adapthist(VOLUME, 5.0))
    shifted = image.assign_coords(x=(0.5 * np.arange(26)[::-1] + 1000).astype(np.float32))
    np.testing.assert_array_equal(core.equalize_adapthist(shifted, 5.0).values, expected)


@pytest.mark.parametrize("dims", [("time", "y", "x"), ("t", "row", "column"), ("channel", "y", "x")])
def test_dimensions_say_what_is_space(dims):
    image = xarray.DataArray(VOLUME, dims=dims)
    np.testing.assert_array_equal(
        core.equalize_adapthist(image, 5.0).values, core.equalize_adapthist(VOLUME, 5.0, spacing=(1, 1))
    )


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (placed(z=None), "no coordinates of z"),
        (placed().assign_coords(x=np.arange(26) ** 2), "x are no even steps"),
        (placed().rename(z="x", x="time"), "last axes must be those of space"),
    ],
)
def test_what_is_not_said_is_asked_for(image, words):
    with pytest.raises(ValueError, match=words):
        core.equalize_adapthist(image, 5.0)
    np.testing.assert_array_equal(core.adjust_gamma(image, 0.5).values, core.adjust_gamma(VOLUME, 0.5))


def test_coordinates_in_different_units_are_asked_about():
    image = placed()
    image.coords["z"].attrs["units"] = "mm"
    image.coords["x"].attrs["units"] = "um"
    with pytest.raises(ValueError, match="different units"):
        core.equalize_adapthist(image, 5.0)


def test_a_mask_lies_by_its_dimensions():
    image, inside = placed(), xarray.DataArray(VOLUME > 2000, dims=("z", "y", "x"))
    expected = core.histogram(VOLUME, mask=VOLUME > 2000)
    assert replace(core.histogram(image, mask=inside.transpose("x", "z", "y")), name="") == expected
    with pytest.raises(ValueError, match="mask has dims"):
        core.histogram(image, mask=inside.rename(z="t"))


def test_what_lies_in_a_file_is_read_part_by_part(tmp_path, monkeypatch, small_blocks):
    placed().astype(np.int32).to_netcdf(tmp_path / "volume.nc", engine="scipy")
    with xarray.open_dataarray(tmp_path / "volume.nc", engine="scipy") as image:
        read = []
        inside = type(image.variable).__getitem__
        monkeypatch.setattr(
            type(image.variable), "__getitem__", lambda self, index: read.append(index) or inside(self, index)
        )
        assert core.histogram(image) == core.histogram(VOLUME.astype(np.int32))
        assert len(read) > 3
        result = core.equalize_adapthist(image, 5.0)
    np.testing.assert_array_equal(result.values, core.equalize_adapthist(placed().astype(np.int32), 5.0).values)

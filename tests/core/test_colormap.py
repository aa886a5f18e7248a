"""Colours back to numbers: the nearest colour of the map, exactly."""

import dask.array as da
import matplotlib
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import cKDTree

from napari_exposure.core import from_colormap

# of jet three colours are alike
MAP = matplotlib.colormaps["turbo"](np.arange(256))[:, :3]


def slow(pixels, colours):
    """The distance to the nearest colour, by a tree."""
    return cKDTree(colours).query(pixels.reshape(-1, 3))[0].reshape(pixels.shape[:-1])


def stack(shape=(3, 20, 21), seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape)


@pytest.mark.parametrize("name", ["jet", "viridis", "inferno", "gray"])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_went_through_a_colormap_comes_back(name, channels):
    index = stack()
    colours = matplotlib.colormaps[name](np.arange(256))
    for volume in (colours[index], (colours[index] * 255).round().astype(np.uint8)):
        found = from_colormap(volume[..., :channels], colours)
        # neighbours of a map may be one colour in 8 bits
        np.testing.assert_allclose(found.values, index / 255, atol=2.01 / 255)
        assert np.mean(found.values == (index / 255).astype(np.float32)) > 0.95
        assert found.values.dtype == np.float32
        assert found.mean <= found.maximum < 0.5 * 3**0.5 / 255


def test_limits_are_the_numbers_of_the_ends():
    index = stack()
    found = from_colormap(MAP[index], MAP, limits=(1500, 4500))
    np.testing.assert_allclose(found.values, 1500 + 3000 * index / 255, rtol=1e-6)
    np.testing.assert_allclose(from_colormap(MAP[index], MAP, limits=(1, -1)).values, 1 - 2 * index / 255, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The colors lie")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_any_colour_has_the_nearest(dtype):
    rng = np.random.default_rng(0)
    volume = rng.random((2, 30, 31, 3))
    if dtype[0] == "u":
        top = np.iinfo(dtype).max
        volume = (volume * top).astype(dtype)
        pixels = volume / top
    else:
        pixels = volume = volume.astype(dtype)
    distance = slow(pixels, MAP)
    found = from_colormap(volume, MAP)
    chosen = MAP[np.rint(found.values * 255).astype(int)]
    np.testing.assert_allclose(np.linalg.norm(pixels - chosen, axis=-1), distance, rtol=1e-9)
    np.testing.assert_allclose([found.mean, found.maximum], [distance.mean(), distance.max()], rtol=1e-9)


@pytest.mark.filterwarnings("ignore:The colors lie")
@given(hnp.arrays(np.uint8, (2, 3, 3)), hnp.arrays(np.uint8, st.tuples(st.integers(2, 9), st.just(3))))
def test_nothing_is_nearer(volume, colours):
    found = from_colormap(volume, colours)
    distance = slow(volume / 255, colours / 255)
    np.testing.assert_allclose(found.mean, distance.mean(), atol=1e-12)
    assert ((found.values >= 0) & (found.values <= 1)).all()


def test_colours_that_occur_several_times_give_the_middle():
    colours = np.array([[0, 0, 0], [9, 9, 9], [9, 9, 9], [20, 20, 20], [30, 0, 0]], np.uint8)
    np.testing.assert_array_equal(from_colormap(colours[None], colours).values, [[0, 0.375, 0.375, 0.75, 1]])


def test_another_colormap_is_noticed():
    volume = matplotlib.colormaps["gray"](stack() / 255)
    with pytest.warns(UserWarning, match="another colormap"):
        from_colormap(volume, MAP)


def test_nan_stays():
    volume = MAP[stack()]
    expected = from_colormap(volume, MAP).values
    volume[0, 0, 0, 1] = np.nan
    found = from_colormap(volume, MAP)
    assert np.isnan(found.values[0, 0, 0])
    np.testing.assert_array_equal(found.values[1:], expected[1:])
    assert np.isfinite([found.mean, found.maximum]).all()
    assert np.isnan(from_colormap(np.full((2, 2, 3), np.nan), MAP).mean)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_array_gives_the_same_bits(dtype, tmp_path, small_blocks):
    volume = MAP[stack((4, 12, 13))]
    volume = (volume * 255).astype(dtype) if dtype == "uint8" else volume.astype(dtype)
    volume.flags.writeable = False
    expected = from_colormap(volume, MAP)
    np.save(tmp_path / "v.npy", volume)
    for array in (
        np.load(tmp_path / "v.npy", mmap_mode="r"),
        zarr.create_array(str(tmp_path / "z"), data=volume, chunks=(2, 5, 6, 2)),
        da.from_array(volume, chunks=(3, 5, 6, 1)),
        volume.astype(volume.dtype.newbyteorder()),
        volume[..., ::-1][..., ::-1],
    ):
        found = from_colormap(array, MAP)
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_allclose(found[1:], expected[1:])


@pytest.mark.parametrize("shape", [(7, 8), (2, 7, 8), (2, 3, 7, 8), (2, 1, 3, 7, 8)])
def test_2_to_5_axes(shape):
    index = stack(shape)
    np.testing.assert_allclose(from_colormap(MAP[index], MAP).values, index / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("colormap", "message"),
    [
        (MAP[:1], "shape"),
        (MAP[:, :2], "shape"),
        (MAP[0], "shape"),
        (5, "colormap must be colors"),
        (MAP * 255, "from 0 to 255"),
        (MAP - 0.1, "from 0 to 255"),
        (MAP * np.nan, "from 0 to 255"),
    ],
)
def test_arrays_that_are_no_colormap(colormap, message):
    with pytest.raises(ValueError, match=message):
        from_colormap(MAP[stack()], colormap)


def test_what_does_not_fit():
    with pytest.raises(TypeError, match="colormap"):
        from_colormap(MAP[stack()], np.array([["a"] * 3] * 3))
    with pytest.raises(ValueError, match="rgb"):
        from_colormap(np.zeros((3, 4, 5)), MAP)
    for limits, words in (
        ((0, np.inf), "finite"),
        ((3, 3), "different"),
        ((3,), "two numbers"),
        (3, "two numbers"),
        ("ab", "two numbers"),
    ):
        with pytest.raises(ValueError, match=f"limits must be .*{words}"):
            from_colormap(MAP[stack()], MAP, limits=limits)

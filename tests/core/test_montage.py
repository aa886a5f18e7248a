"""The montage: every n-th plane where it belongs, whatever holds the volume."""

import math

import dask
import dask.array as da
import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from core import reference
from napari_exposure.core import montage
from napari_exposure.core.montage import Arrangement


def slow_montage(volume, step, columns, axis, gap, fill, rgb=False):
    """Each voxel by itself, after the definition."""
    volume = np.asarray(volume)
    if not rgb:
        volume = volume[..., None]
    if volume.ndim == 3:
        volume = volume[None]
    axis %= volume.ndim - 1
    # lead, planes, height, width, colour
    planes = np.moveaxis(volume, axis, -4)[..., ::step, :, :, :]
    *lead, count, height, width, colours = planes.shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    shape = (rows * (height + gap[0]) - gap[0], columns * (width + gap[1]) - gap[1])
    out = np.full((*lead, *shape, colours), fill, volume.dtype)
    for y, x in np.ndindex(*shape):
        (row, inner_y), (column, inner_x) = divmod(y, height + gap[0]), divmod(x, width + gap[1])
        number = row * columns + column
        if inner_y < height and inner_x < width and number < count:
            out[..., y, x, :] = planes[..., number, inner_y, inner_x, :]
    return out if rgb else out[..., 0]


def some(shape, dtype=np.uint16):
    return np.random.default_rng(len(shape)).integers(0, 200, shape).astype(dtype)


@given(st.data())
@settings(max_examples=60)
def test_every_voxel_is_where_the_definition_has_it(data):
    ndim = data.draw(st.integers(2, 5))
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=ndim, max_size=ndim)))
    axis = data.draw(st.integers(-ndim, ndim - 1)) if ndim > 2 else -3
    rgb = data.draw(st.booleans())
    step, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 7))
    gap = data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    volume = some((*shape, 3) if rgb else shape)
    before = volume.copy()
    expected = slow_montage(volume, step, columns, axis, gap, 7, rgb)
    chunks = data.draw(st.sampled_from([1, 2, -1]))
    for each in (volume, da.from_array(volume, chunks=chunks)):
        found = montage(each, step, columns, axis, gap=gap, fill=7, rgb=rgb)
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(volume, before)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_what_is_on_disk_gives_the_same_bits(tmp_path, axis):
    volume = some((2, 9, 7, 8))
    expected = slow_montage(volume, 2, 3, axis, (1, 1), 0)
    stored = zarr.create_array(tmp_path / "a.zarr", shape=volume.shape, chunks=(1, 4, 3, 8), dtype=volume.dtype)
    stored[...] = volume
    mapped = np.memmap(tmp_path / "a.raw", volume.dtype, "w+", shape=volume.shape)
    mapped[...] = volume
    with h5py.File(tmp_path / "a.h5", "w") as file:
        kept = file.create_dataset("a", data=volume, chunks=(1, 4, 7, 8))
        for each in (stored, mapped, kept):
            np.testing.assert_array_equal(montage(each, 2, 3, axis, gap=1), expected)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", ">u2", "uint32", "int64", "float16", "float32", ">f8"])
def test_the_dtype_stays(dtype):
    volume = some((5, 4, 6)).astype(dtype)
    volume.flags.writeable = False
    for each in (volume, da.from_array(volume)):
        found = montage(each, 1, 2)
        assert found.dtype == np.dtype(dtype).newbyteorder("=")
        np.testing.assert_array_equal(found[:4, :6], volume[0])


def test_nan_and_infinities_stay():
    volume = np.array([[[np.nan, np.inf]], [[-np.inf, 1]]])
    np.testing.assert_array_equal(montage(volume, 1, 2, gap=0), [[np.nan, np.inf, -np.inf, 1]])


def test_the_gap_is_thin_and_can_be_chosen():
    volume = some((4, 128, 64))
    assert montage(volume, 1, 4).shape == (128, 4 * 64 + 3 * 2)
    assert montage(volume, 1, 2, gap=(3, 5)).shape == (2 * 128 + 3, 2 * 64 + 5)
    found = montage(volume + 1, 1, 3, gap=1, fill=0)
    # the last row has one plane
    assert not found[129:, 65:].any()


def test_thirty_planes_of_the_nuclei(nuclei):
    found = montage(nuclei, gap=0)
    assert found.shape == (5 * 256, 6 * 256)
    np.testing.assert_array_equal(found[:256, 256:512], nuclei[2])
    np.testing.assert_array_equal(found[-256:, -256:], nuclei[58])


def test_a_chunk_on_disk_is_read_once():
    class Counted:
        chunks, dtype = (4, 5, 5), np.dtype(np.uint8)

        def __init__(self):
            self.values, self.read = some((10, 5, 5), np.uint8), []

        shape = (10, 5, 5)

        def __getitem__(self, index):
            self.read.append(index[0])
            return self.values[index]

    array = Counted()
    montage(array, 3)
    assert sorted((part.start, part.stop, part.step) for part in array.read) == [(0, 4, 3), (6, 7, 3), (9, 10, 3)]


def test_of_a_dask_array_only_the_planes_shown_are_computed():
    def fail():
        raise AssertionError("computed")

    good = [da.from_array(np.full((1, 4, 4), z, np.uint8)) for z in range(0, 6, 2)]
    bad = da.from_delayed(dask.delayed(fail)(), (1, 4, 4), np.uint8)
    volume = da.concatenate([good[0], bad, good[1], bad, good[2]])
    found = montage(volume, 2, 3, gap=1)
    assert isinstance(found, da.Array)
    # a plane is a chunk, with the gap beside it
    assert found.chunks == ((4,), (5, 5, 4))
    np.testing.assert_array_equal(found[0], [0] * 5 + [2] * 4 + [0] + [4] * 4)


def test_it_tells_of_progress_and_can_be_stopped():
    steps, _ = reference.heard(lambda: montage(some((9, 4, 4)), 1))
    assert 0 < steps[0].fraction < steps[-1].fraction == 1
    assert reference.stopped(lambda: montage(some((9, 4, 4)), 1), 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 0}, r"step must be a finite number in \[1"),
        ({"step": 1.5}, "step must be a whole number"),
        ({"step": "two"}, "step must be a number"),
        ({"columns": 0}, r"columns must be a finite number in \[1"),
        ({"axis": 3}, r"axis must be a finite number in \[-3, 2\]"),
        ({"gap": -1}, r"gap must be a finite number in \[0"),
        ({"gap": (1, 2, 3)}, "gap must be a number of voxels, or one for rows and one for columns"),
        ({"fill": -1}, "fill must be a value of uint16"),
        ({"fill": 0.5}, "fill must be a value of uint16"),
        ({"fill": math.nan}, "fill must be a finite number"),
        ({"rgb": True}, "rgb=True needs a last axis of 3 or 4"),
    ],
)
def test_bad_parameters_say_what_to_do(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        # before any work
        montage(some((4, 5, 6)), **options)


@pytest.mark.parametrize("shape", [(4,), (0, 4, 4), (1, 1, 1, 1, 2, 2)])
def test_volumes_that_have_no_planes(shape):
    with pytest.raises(ValueError, match="The volume"):
        montage(np.zeros(shape))


def test_unknown_chunks_say_what_to_do():
    volume = da.from_array(np.arange(8)).reshape(8)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        montage(volume[volume > 2][:, None, None] + np.zeros((1, 2, 2)))


def test_a_2d_image_is_one_plane():
    np.testing.assert_array_equal(montage(some((3, 4))), some((3, 4)))
    with pytest.raises(ValueError, match="A 2D image is a single plane"):
        montage(some((3, 4)), axis=-1)


def test_a_list_is_a_volume():
    assert montage([[[1, 2]], [[3, 4]]], 1, gap=0).tolist() == [[1, 2, 3, 4]]


def test_planes_are_listed_for_what_says_which_they_are():
    arranged = Arrangement.of((60, 256, 256), 2, 6)
    assert (arranged.rows, arranged.columns, len(arranged.planes)) == (5, 6, 30)
    assert arranged.shape == (5 * 256 + 4 * 4, 6 * 256 + 5 * 4)

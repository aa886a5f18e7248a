"""The histogram of every pixel: NumPy's counts, from any array, each part of which is read once."""

from collections import Counter

import dask.array as da
import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from core import reference
from napari_exposure.core import along, blocks, histogram_along


def slow(volume, axis, bins, range=None):
    moved = np.moveaxis(volume, axis, -1).astype(float)
    if range is None and np.ndim(bins) == 0:
        finite = moved[np.isfinite(moved)]
        range = finite.min(), finite.max()
    edges = np.histogram_bin_edges(np.empty(0), bins, range)
    # without the infinities of NumPy's division
    counts = [np.histogram(pixel[np.isfinite(pixel)], edges)[0] for pixel in moved.reshape(-1, moved.shape[-1])]
    return np.reshape(counts, (*moved.shape[:-1], -1)), edges


def equal(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@pytest.mark.parametrize("dtype", reference.DTYPES)
def test_every_dtype_and_axis(dtype):
    volume = reference.make_volume(dtype)
    for axis in (0, 1, 2, -1):
        equal(histogram_along(volume, axis, 10), slow(volume, axis, 10))
    low, high = np.percentile(volume.astype(float), (20, 80)).tolist()
    equal(histogram_along(volume, bins=7, range=(low, high)), slow(volume, 0, 7, (low, high)))
    edges = np.quantile(volume.astype(float), (0, 0.1, 0.5, 0.55, 0.9))
    equal(histogram_along(volume, bins=edges), slow(volume, 0, edges))


@given(
    hnp.arrays(np.float32, (4, 2, 3), elements=st.floats(0, 1, width=32)),
    st.integers(1, 50),
    st.sampled_from([0, 1, 2]),
)
def test_edges_decide(volume, bins, axis):
    # where values lie at edges
    volume = np.rint(volume * bins).astype(np.float32) / np.float32(bins)
    equal(histogram_along(volume, axis, bins, (0, 1)), slow(volume, axis, bins, (0, 1)))


@pytest.mark.parametrize("shape", [(7, 9), (7, 1, 1), (3, 4, 5, 6), (2, 3, 4, 5, 6), (1, 4, 5)])
def test_2_to_5_axes(shape, small_blocks):
    volume = reference.make_volume("uint16", shape)
    for axis in range(len(shape)):
        equal(histogram_along(volume, axis, 5), slow(volume, axis, 5))


def test_every_grey_level():
    volume = reference.make_volume("uint8", (200, 6, 5))
    counts, _ = histogram_along(volume, bins=256, range=(0, 256))
    for pixel in np.ndindex(6, 5):
        np.testing.assert_array_equal(counts[pixel], np.bincount(volume[(slice(None), *pixel)], minlength=256))


def test_the_last_bin_is_closed_and_what_lies_outside_is_not_counted():
    stack = np.array([0.0, 1.0, 2.0, 3.0, -1.0, 3.1, np.nan, np.inf, -np.inf])[:, None, None]
    counts, edges = histogram_along(stack, bins=3, range=(0, 3))
    np.testing.assert_array_equal(counts, [[[1, 1, 2]]])
    np.testing.assert_array_equal(edges, [0, 1, 2, 3])
    counts, _ = histogram_along(stack, bins=2)
    assert counts.sum() == 6
    assert histogram_along(np.full((3, 2, 2), np.nan))[0].sum() == 0
    counts, edges = histogram_along(np.full((3, 2, 2), 5, np.uint8), bins=4)
    equal((counts, edges), slow(np.full((3, 2, 2), 5, np.uint8), 0, 4))


def test_counts_are_as_small_as_is_safe():
    assert histogram_along(np.zeros((65535, 2), np.uint8), bins=1, range=(0, 1))[0].tolist() == [[65535]] * 2
    counts, _ = histogram_along(np.zeros((65536, 2), np.uint8), bins=1, range=(0, 1))
    assert counts.tolist() == [[65536]] * 2
    assert counts.dtype == np.uint32


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("voxels", [20, 1 << 21])
def test_every_array_gives_the_same(dtype, voxels, tmp_path, monkeypatch):
    monkeypatch.setattr(along, "BLOCK_VOXELS", voxels)
    monkeypatch.setattr(blocks.chunked_blocks, "__defaults__", (voxels,))
    volume = reference.make_volume(dtype, (12, 9, 10))
    volume.flags.writeable = False
    expected = slow(volume, 0, 9)
    np.save(tmp_path / "v.npy", volume)
    stored = zarr.create_array(str(tmp_path / "z"), data=volume, chunks=(5, 4, 10))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        arrays = [
            volume,
            np.load(tmp_path / "v.npy", mmap_mode="r"),
            stored,
            file.create_dataset("v", data=volume, chunks=(1, 9, 10)),
            da.from_array(volume, chunks=((1, 7, 4), (9,), (3, 3, 4))),
            volume.astype(volume.dtype.newbyteorder()),
            volume[:, ::-1][:, ::-1],
        ]
        for array in arrays:
            equal(histogram_along(array, bins=9), expected)


def test_each_voxel_is_read_once(monkeypatch):
    monkeypatch.setattr(along, "BLOCK_VOXELS", 200)
    volume = reference.make_volume("uint16", (30, 9, 10))
    read = Counter()

    class Noted:
        shape, dtype = volume.shape, volume.dtype

        def __getitem__(self, index):
            read.update(map(int, np.arange(volume.size).reshape(volume.shape)[index].ravel()))
            return volume[index]

    equal(histogram_along(Noted(), bins=9, range=(0, 65535)), slow(volume, 0, 9, (0, 65535)))
    assert set(read.values()) == {1}
    assert len(read) == volume.size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axis": 3}, "axis"),
        ({"bins": 0}, "bins"),
        ({"bins": 2.5}, "bins"),
        ({"bins": [1]}, "ascending"),
        ({"bins": [1, 1]}, "ascending"),
        ({"bins": [1, 2], "range": (0, 1)}, "not edges and a range"),
        ({"axis": 1.5}, r"axis must be a whole number in \[-3, 2\], got 1.5"),
        ({"range": (1, 1)}, "range"),
        ({"range": (1, 2, 3)}, r"range must be two numbers, \(low, high\), got \(1, 2, 3\)"),
        ({"range": 7}, "range must be two numbers"),
    ],
)
def test_what_does_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        histogram_along(np.zeros((3, 4, 5), np.uint8), **options)


def test_inputs_that_do_not_fit():
    with pytest.raises(TypeError, match="complex"):
        histogram_along(np.zeros((3, 4), complex))
    with pytest.raises(TypeError, match="axis must be a number"):
        histogram_along(np.zeros((3, 4)), axis="z")
    with pytest.raises(ValueError, match="empty"):
        histogram_along(np.zeros((0, 4)))

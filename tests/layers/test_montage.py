"""The montage of layers: the array that core makes, with the voxel size and looks of its source."""

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.layer_montage import METADATA_KEY


@pytest.fixture
def layer():
    return Image(
        np.random.default_rng(0).integers(0, 4000, (12, 20, 30), dtype=np.uint16),
        name="nuclei",
        scale=(2, 0.5, 0.25),
        translate=(1, 2, 3),
        rotate=20,
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
        colormap="magenta",
        contrast_limits=(100, 900),
        gamma=0.7,
        metadata={"stain": "DAPI"},
    )


def test_it_looks_like_its_source(layer):
    found = nx.montage(layer, 2, 3, gap=1)
    np.testing.assert_array_equal(found.data, core.montage(layer.data, 2, 3, gap=1, fill=100))
    assert found.name == "nuclei - montage"
    assert found.colormap.name == "magenta"
    assert found.contrast_limits == [100, 900]
    assert found.contrast_limits_range == layer.contrast_limits_range
    assert found.gamma == 0.7
    assert [str(unit) for unit in found.units] == ["micrometer"] * 2
    assert found.axis_labels == ("y", "x")
    np.testing.assert_allclose(found.scale, (0.5, 0.25))
    np.testing.assert_allclose(found.translate, (2, 3))
    # rows stay level
    np.testing.assert_allclose(found.rotate, np.eye(2))
    assert found.metadata["stain"] == "DAPI"
    record = {"source": "nuclei", "axis": "z", "planes": [0, 2, 4, 6, 8, 10], "columns": 3, "gap": [1, 1]}
    assert found.metadata[METADATA_KEY].items() >= record.items()
    assert METADATA_KEY not in layer.metadata


def test_gaps_are_equally_wide_in_the_unit_of_the_layer():
    layer = Image(np.ones((4, 128, 256), np.uint8), scale=(1, 0.5, 0.25), contrast_limits=(0, 1))
    found = nx.montage(layer, 1, 2)
    assert found.data.shape == (2 * 128 + 2, 2 * 256 + 4)


@pytest.mark.parametrize(("axis", "labels", "scale"), [(-2, ("z", "x"), (2, 0.25)), (-1, ("z", "y"), (2, 0.5))])
def test_planes_along_other_axes(layer, axis, labels, scale):
    found = nx.montage(layer, 5, 2, axis=axis)
    assert found.axis_labels == labels
    np.testing.assert_allclose(found.scale, scale)
    first = layer.data.take(0, axis)
    np.testing.assert_array_equal(found.data[: first.shape[0], : first.shape[1]], first)


def test_time_stays_a_slider():
    volume = np.random.default_rng(0).integers(0, 9, (3, 8, 10, 11), dtype=np.uint8)
    source = Image(volume, scale=(5, 2, 1, 1), translate=(0, 7, 0, 0), axis_labels=tuple("tzyx"))
    found = nx.montage(source, 2, 2, gap=1)
    assert found.axis_labels == tuple("tzyx")
    viewer = ViewerModel()
    viewer.add_layer(source)
    viewer.add_layer(found)
    assert viewer.dims.range[:2] == ((0, 10, 5), (7, 21, 2))
    for step in [(0, 0, 0, 0), (2, 7, 0, 0), (1, 3, 0, 0)]:
        viewer.dims.current_step = step
        # whatever z is
        expected = core.montage(volume[step[0]], 2, 2, gap=1)
        np.testing.assert_array_equal(found._slice.image.raw, expected)


def test_rgb_is_kept():
    volume = np.random.default_rng(0).integers(1, 255, (4, 8, 9, 3), dtype=np.uint8)
    found = nx.montage(Image(volume, rgb=True), 1, 2, gap=1)
    assert found.rgb
    np.testing.assert_array_equal(found.data, core.montage(volume, 1, 2, gap=1, rgb=True))


def test_what_is_lazy_stays_lazy(layer, tmp_path):
    stored = zarr.create_array(tmp_path / "a.zarr", shape=layer.data.shape, chunks=(5, 20, 30), dtype="uint16")
    stored[...] = layer.data
    for array in (da.from_array(layer.data, chunks=5), stored):
        found = nx.montage(Image(array, contrast_limits=(0, 9)), 2, 3, gap=1)
        assert isinstance(found.data, da.Array)
        np.testing.assert_array_equal(found.data, core.montage(layer.data, 2, 3, gap=1))


def test_a_level_of_a_pyramid_has_the_size_of_the_whole(layer):
    pyramid = Image([layer.data, layer.data[:, ::2, ::2]], multiscale=True, scale=(2, 1, 1), contrast_limits=(0, 9))
    fine, coarse = (nx.montage(pyramid, 2, 3, gap=2 - level, level=level) for level in (0, 1))
    assert not fine.multiscale
    np.testing.assert_array_equal(coarse.data, core.montage(layer.data[:, ::2, ::2], 2, 3, gap=1))
    np.testing.assert_allclose(coarse.scale, (2, 2))
    np.testing.assert_allclose(coarse.extent.world, fine.extent.world, atol=1)
    with pytest.raises(ValueError, match=r"has 2 level\(s\): level must be 0 to 1, got 2"):
        nx.montage(pyramid, level=2)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32, np.int64])
def test_gaps_are_black_in_every_dtype(dtype):
    volume = (np.arange(4 * 8 * 8).reshape(4, 8, 8) % 90 - 40).astype(dtype)
    layer = Image(volume, contrast_limits=(-300.4, 30))
    found = nx.montage(layer, 1, 2, gap=1)
    assert found.data.dtype == dtype
    assert found.data[8, 0] <= volume.min()


def test_a_2d_layer_is_its_own_montage():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    found = nx.montage(Image(image, scale=(2, 3)))
    np.testing.assert_array_equal(found.data, image)
    np.testing.assert_allclose(found.scale, (2, 3))


def test_bad_input_is_named(layer):
    with pytest.raises(TypeError, match=r"An Image layer is needed\. 'cells' is a Labels layer"):
        nx.montage(Labels(np.zeros((4, 4), int), name="cells"))
    with pytest.raises(TypeError, match="rgb is for arrays; layer 'nuclei' says rgb=False of itself"):
        nx.montage(layer, rgb=True)
    with pytest.raises(ValueError, match="level is for multiscale layers; an array has only level 0"):
        nx.montage(layer.data, level=1)
    with pytest.raises(ValueError, match="step must be"):
        nx.montage(layer, 0)


@pytest.mark.parametrize(
    ("placed", "step", "words"),
    [
        ({}, 4, ["z 0", "z 4", "z 8"]),
        ({"units": "um", "scale": (0.3, 1, 1), "translate": (-1, 0, 0)}, 5, ["z -1 µm", "z 0.5 µm", "z 2 µm"]),
        ({"units": ("nm", "um", "um"), "scale": (150, 1, 1), "axis_labels": "tyx"}, 6, ["t 0 nm", "t 900 nm"]),
    ],
)
def test_labels_say_where_planes_lie(placed, step, words):
    layer = Image(np.zeros((12, 6, 8), np.uint8), **placed)
    found = nx.montage(layer, step, 2, gap=1)
    labels = nx.label_montage(found)
    assert labels.text.values.tolist() == words
    np.testing.assert_array_equal(labels.data[:, 1], [-0.5, 8.5, -0.5][: len(words)])
    np.testing.assert_array_equal(labels.data[:, 0], [-0.5, -0.5, 6.5][: len(words)])
    np.testing.assert_array_equal(labels.scale, found.scale)
    assert labels.units == found.units


def test_labels_of_a_movie_and_of_coarse_levels(layer):
    movie = Image(np.zeros((3, 12, 6, 8), np.uint8), scale=(1, 2, 1, 1), units=("s", "um", "um", "um"))
    labels = nx.label_montage(nx.montage(movie, 6, 2))
    assert labels.ndim == 2
    assert labels.text.values.tolist() == ["z 0 µm", "z 12 µm"]
    # other axes too
    assert nx.label_montage(nx.montage(movie, 4, 2, axis=-1)).text.values.tolist() == ["x 0 µm", "x 4 µm"]
    pyramid = Image([np.zeros((12, 6, 8), np.uint8), np.zeros((6, 3, 4), np.uint8)], scale=(2, 1, 1), units="um")
    # the middle of the first plane of a coarse level is not that of the first of level 0
    assert nx.label_montage(nx.montage(pyramid, 3, 2, level=1)).text.values.tolist() == ["z 1 µm", "z 13 µm"]


def test_what_is_no_montage_has_no_labels(layer):
    with pytest.raises(ValueError, match="'nuclei' is no montage"):
        nx.label_montage(layer)


def test_one_verb_for_layers_and_arrays(layer):
    assert nx.montage is core.montage
    options = {"gap": 1, "fill": 7}
    np.testing.assert_array_equal(nx.montage(layer, 3, 2, **options).data, nx.montage(layer.data, 3, 2, **options))
    mask = np.arange(60).reshape(3, 4, 5) % 2 == 0
    np.testing.assert_array_equal(nx.montage(Image(mask), 1, 2, gap=1).data, nx.montage(mask, 1, 2, gap=1))

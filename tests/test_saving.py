"""Results on disk: what readers find there, and nothing where writing did not come to its end."""

import asyncio
import errno
import math
import os
import shutil
import time
from types import SimpleNamespace

import dask.array as da
import napari.layers
import numpy as np
import pytest
import tifffile
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import napari_exposure as nx
from core import reference
from napari_exposure.core import blocks, lazy, progress
from napari_exposure.io import omezarr
from napari_exposure.io.files import FileVolume
from napari_exposure.io.reading import read
from napari_exposure.io.tiff import read_tiff
from napari_exposure.saving import save

settings.register_profile("saving", derandomize=True, deadline=None)
settings.load_profile("saving")

ENDINGS = (".zarr", ".ome.tif")
every_ending = pytest.mark.parametrize("ending", ENDINGS)


def volume_of(shape, dtype="uint16"):
    rng = np.random.default_rng(math.prod(shape))
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


def listing(folder):
    """All there is, also what is hidden."""
    return sorted(path.name for path in folder.iterdir())


def values(path):
    """Level 0 of what was written."""
    return zarr.open_group(path, mode="r")["0"][...] if path.suffix == ".zarr" else tifffile.imread(path)


def multiscales(path, version="0.5"):
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    (found,) = (attributes["ome"] if version == "0.5" else attributes)["multiscales"]
    return found


def transformations(path, version="0.5"):
    """Scale and translation of each level."""
    found = []
    for dataset in multiscales(path, version)["datasets"]:
        placed = {each["type"]: each[each["type"]] for each in dataset["coordinateTransformations"]}
        found.append((placed["scale"], placed.get("translation", [0] * len(placed["scale"]))))
    return found


def exhaust(steps):
    found = []
    while True:
        try:
            found.append(next(steps))
        except StopIteration as end:
            return found, end.value


# --- values -----------------------------------------------------------------------------


@every_ending
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64", ">u2"])
@pytest.mark.parametrize("shape", [(9, 8), (3, 9, 8), (2, 3, 9, 8), (2, 2, 3, 9, 8)])
def test_values_come_back(ending, dtype, shape, tmp_path):
    volume = volume_of(shape, np.dtype(dtype).newbyteorder("=")).astype(dtype)
    path = save(volume, tmp_path / f"a{ending}")
    assert path == tmp_path / f"a{ending}"
    assert listing(tmp_path) == [path.name]
    found = values(path)
    assert found.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(found, volume)


def test_float16_in_zarr(tmp_path):
    volume = volume_of((3, 9, 8), "float16")
    np.testing.assert_array_equal(values(save(volume, tmp_path / "a.zarr")), volume)


@st.composite
def chunkings(draw, shape):
    found = []
    for size in shape:
        sizes = []
        while sum(sizes) < size:
            sizes.append(draw(st.integers(1, size - sum(sizes))))
        found.append(tuple(sizes))
    return tuple(found)


@every_ending
@settings(max_examples=15)
@given(data=st.data())
def test_any_chunks(ending, data, tmp_path_factory):
    shape = tuple(data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=4)))
    volume = volume_of(shape)
    array = da.from_array(volume, chunks=data.draw(chunkings(shape)))
    folder = tmp_path_factory.mktemp("any")
    with pytest.MonkeyPatch.context() as patch:
        # chunks are divided, and small arrays have levels
        patch.setattr(omezarr, "CHUNK_VOXELS", data.draw(st.sampled_from([4, 1 << 21])))
        patch.setattr(omezarr, "COARSEST", 3)
        path = save(array, folder / f"a{ending}")
    # readers of TIFF leave out axes of length 1
    np.testing.assert_array_equal(values(path).reshape(shape), volume)
    assert listing(folder) == [path.name]


@every_ending
def test_other_arrays(ending, tmp_path):
    volume = volume_of((5, 9, 8))
    stored = zarr.create_array(tmp_path / "source", shape=volume.shape, chunks=(2, 9, 3), shards=(4, 9, 6), dtype="u2")
    stored[...] = volume
    np.save(tmp_path / "source.npy", volume)
    planes = da.from_array(volume, chunks=(1, 9, 8))
    sources = (stored, np.load(tmp_path / "source.npy", mmap_mode="r"), planes, da.from_zarr(stored), volume.T.copy().T)
    for number, source in enumerate(sources):
        np.testing.assert_array_equal(values(save(source, tmp_path / f"{number}{ending}")), volume)
    path = save(volume.astype(np.uint8).tolist(), tmp_path / "list.zarr")
    np.testing.assert_array_equal(values(path), volume.astype(np.uint8))


@every_ending
def test_lazy_results_are_computed_once(ending, tmp_path):
    # each chunk is read as it is written, and not for the coarser levels
    reads = []

    def note(chunk, block_info=None):
        if block_info:
            reads.append(block_info[0]["chunk-location"])
        return chunk

    volume = volume_of((4, 300, 20))
    array = da.from_array(volume, chunks=(1, 100, 20)).map_blocks(note, dtype="u2", meta=np.empty((0, 0, 0), "u2"))
    np.testing.assert_array_equal(values(save(array, tmp_path / f"a{ending}")), volume)
    assert len(reads) == len(set(reads)) == 12


# --- the pyramid ------------------------------------------------------------------------


def mean_of_two(fine, axes):
    """Means of 2 voxels along some axes; the last voxel of an odd length alone."""
    pads = [(0, fine.shape[axis] % 2 if axis in axes else 0) for axis in range(fine.ndim)]
    padded = np.pad(fine, pads, mode="edge").astype(np.float64)
    split = []
    for axis, n in enumerate(padded.shape):
        split += [n // 2, 2] if axis in axes else [n, 1]
    found = padded.reshape(split).mean(axis=tuple(range(1, 2 * fine.ndim, 2)))
    return np.rint(found) if fine.dtype.kind in "iu" else found


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@settings(max_examples=15)
@given(data=st.data())
def test_levels_are_means_of_two(version, data, tmp_path_factory):
    axes = data.draw(st.sampled_from(["yx", "zyx", "cyx", "tzyx", "tczyx"]))
    shape = tuple(data.draw(st.integers(1, 12 if axis in "zyx" else 2)) for axis in axes)
    spacing = tuple(data.draw(st.sampled_from([1.0, 2.0, 3.0, 0.5])) for _ in axes)
    volume = volume_of(shape, data.draw(st.sampled_from(["uint8", "uint16", "int16", "uint32", "float32", "float16"])))
    chunks = data.draw(chunkings(shape))
    path = tmp_path_factory.mktemp("levels") / "a.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(omezarr, "COARSEST", 3)
        patch.setattr(omezarr, "CHUNK_VOXELS", data.draw(st.sampled_from([20, 1 << 21])))
        source = da.from_array(volume, chunks=chunks) if data.draw(st.booleans()) else volume
        save(source, path, axes=axes, spacing=spacing, ome_version=version)
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == (3 if version == "0.5" else 2)
    space = [axis for axis, letter in enumerate(axes) if letter in "zyx"]
    fine, sizes, shift, halved = volume, np.array(spacing), np.zeros(len(axes)), []
    for number, (scale, translation) in enumerate(transformations(path, version)):
        level = group[str(number)][...]
        np.testing.assert_allclose(scale, sizes)
        np.testing.assert_allclose(translation, shift)
        assert level.dtype == volume.dtype
        if number:
            expected = mean_of_two(fine, halved)
            if volume.dtype.kind == "f":
                tolerance = 1e-3 if volume.dtype == np.float16 else 1e-6
                np.testing.assert_allclose(level, expected, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(level, expected)
        else:
            np.testing.assert_array_equal(level, volume)
        # coarser voxels wait for the others
        long = [axis for axis in space if level.shape[axis] > 1]
        finest = min((sizes[axis] for axis in long), default=0)
        halved = [axis for axis in long if sizes[axis] < 2 * finest]
        shift = shift + [sizes[axis] / 2 if axis in halved else 0 for axis in range(len(axes))]
        sizes = sizes * [2 if axis in halved else 1 for axis in range(len(axes))]
        fine = level
        assert (max(level.shape[axis] for axis in space) > 3) == (
            number < len(multiscales(path, version)["datasets"]) - 1
        )


@pytest.mark.parametrize(
    ("shape", "axes", "spacing", "shapes"),
    [
        ((60, 256, 256), "zyx", (1, 1, 1), [(60, 256, 256)]),
        ((60, 257, 256), "zyx", (1, 1, 1), [(60, 257, 256), (30, 129, 128)]),
        ((40, 1025, 900), "zyx", (4, 1, 1), [(40, 1025, 900), (40, 513, 450), (40, 257, 225), (20, 129, 113)]),
        ((2, 600, 30), "cyx", (1, 1, 1), [(2, 600, 30), (2, 300, 15), (2, 150, 8)]),
        # only what is long is halved
        ((1, 600, 1), "zyx", (0.1, 1, 0.1), [(1, 600, 1), (1, 300, 1), (1, 150, 1)]),
        ((600, 2, 2), "zyx", (10, 1, 1), [(600, 2, 2), (600, 1, 1), (300, 1, 1), (150, 1, 1)]),
    ],
)
def test_shapes_of_levels(shape, axes, spacing, shapes):
    found, factors = omezarr._pyramid(shape, axes, spacing)
    assert found == shapes
    for level, factor in zip(found, factors, strict=True):
        assert level == tuple(-(-n // f) for n, f in zip(shape, factor, strict=True))


def test_extremes_have_means():
    # no sum overflows, and ties go to even
    for dtype in ("uint8", "uint16", "uint32", "int32"):
        info = np.iinfo(dtype)
        for value in (info.min, info.max):
            full = np.full((3, 4, 5), value, dtype)
            np.testing.assert_array_equal(omezarr.halved(full, (2, 2, 2)), full[:2, :2, :3])
    for dtype in ("float32", "float64", "float16"):
        full = np.full((3, 4), np.finfo(dtype).max, dtype)
        np.testing.assert_array_equal(omezarr.halved(full, (2, 2)), full[:2, :2])
    pairs = np.array([[0, 1, 1, 2, 2, 3]], np.uint8)
    assert omezarr.halved(pairs, (1, 2)).tolist() == [[0, 2, 2]]
    assert np.isnan(omezarr.halved(np.array([[np.nan, 1, 1, 1]], np.float32), (1, 2))).tolist() == [[True, False]]


# --- metadata ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_readers_find_all(version, tmp_path):
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader

    volume = volume_of((2, 3, 40, 300))
    path = tmp_path / "cells.zarr"
    save(volume, path, axes="czyx", spacing=(2, 0.5, 0.25), unit="µm", ome_version=version)
    (node,) = Reader(parse_url(path))()
    assert [level.shape for level in node.data] == [(2, 3, 40, 300), (2, 3, 40, 150)]
    np.testing.assert_array_equal(node.data[0].compute(), volume)
    axes = node.metadata["axes"]
    assert [axis["name"] for axis in axes] == list("czyx")
    assert [axis["type"] for axis in axes] == ["channel", "space", "space", "space"]
    assert [axis.get("unit") for axis in axes] == [None, *["micrometer"] * 3]
    first, second = node.metadata["coordinateTransformations"]
    assert first == [{"type": "scale", "scale": [1, 2, 0.5, 0.25]}]
    assert second == [
        {"type": "scale", "scale": [1, 2, 0.5, 0.5]},
        {"type": "translation", "translation": [0, 0, 0, 0.125]},
    ]
    found = multiscales(path, version)
    assert found["name"] == "cells"
    group = zarr.open_group(path, mode="r")
    keys = {path.name for path in (path / "0").iterdir()}
    if version == "0.5":
        assert group.attrs["ome"]["version"] == "0.5"
        assert group["0"].metadata.dimension_names == tuple("czyx")
        assert keys == {"zarr.json", "c"}
    else:
        assert found["version"] == "0.4"
        # nested folders, as 0.4 wants them
        assert keys == {".zarray", ".zattrs", "0", "1"} or keys == {".zarray", "0", "1"}
        assert group["0"].metadata.dimension_separator == "/"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    ("shape", "axes", "dtype", "colors"),
    [
        ((3, 4, 200), "zyx", "u2", ["FFFFFF"]),
        ((2, 3, 4, 5), "czyx", "u1", ["FF00FF", "00FF00"]),
        ((3, 2, 3, 4, 5), "tczyx", "f4", ["FF00FF", "00FF00"]),
        ((3, 4, 5), "cyx", "i2", ["00FFFF", "FFFF00", "FF00FF"]),
        ((6, 5, 3), "yxs", "u1", ["FF0000", "00FF00", "0000FF"]),
        ((6, 5, 4), "yxs", "f4", ["FF0000", "00FF00", "0000FF", "000000"]),
    ],
)
def test_viewers_on_the_web_know_how_to_show_it(shape, axes, dtype, colors, version, tmp_path):
    """The specification wants a color of six digits and a window of four numbers for each channel."""
    volume = volume_of(shape).astype(dtype)
    path = save(volume, tmp_path / "a.zarr", axes=axes, ome_version=version)
    if version == "0.5":
        # its models of 0.4 do not work with this pydantic
        pytest.importorskip("ome_zarr_models").open_ome_zarr(zarr.open_group(path, mode="r"), version="0.5")
    attributes = dict(zarr.open_group(path, mode="r").attrs)
    omero = (attributes["ome"] if version == "0.5" else attributes)["omero"]
    channels = omero["channels"]
    assert [channel["color"] for channel in channels] == colors
    # the plane in the middle is seen first
    assert omero.get("rdefs", {}).get("defaultZ") == (1 if "z" in axes else None)
    at = max(axes.find("c"), axes.find("s"))
    parts = [volume] if at < 0 else np.moveaxis(volume, at, 0)
    for channel, part in zip(channels, parts, strict=True):
        # of colors the range of the dtype, so that they stay what they are
        window = (0, {"u1": 255, "f4": 1}[dtype]) if axes == "yxs" else (part.min(), part.max())
        assert (channel["window"]["start"], channel["window"]["end"]) == window
        assert channel["window"]["min"] <= window[0] < window[1] <= channel["window"]["max"]


@pytest.mark.parametrize(
    ("values", "window"),
    [
        ([np.nan, 2, np.inf, 5], (2, 5)),
        ([np.nan] * 4, (0, 1)),
        ([7.0] * 4, (7, np.nextafter(8, 9))),
        ([1e300] * 4, (1e300, np.nextafter(1e300, np.inf))),
        ([False, True] * 2, (0, 1)),
    ],
)
def test_the_window_of_any_values(values, window, tmp_path):
    path = save(np.array(values).reshape(2, 2), tmp_path / "a.zarr")
    (channel,) = zarr.open_group(path, mode="r").attrs["ome"]["omero"]["channels"]
    assert (channel["window"]["start"], channel["window"]["end"]) == window


def test_time_has_no_unit_of_length(tmp_path):
    path = save(volume_of((2, 3, 4, 5)), tmp_path / "a.zarr", spacing=(3, 2, 1, 1), unit="um")
    axes = multiscales(path)["axes"]
    assert axes[0] == {"name": "t", "type": "time"}
    assert axes[1] == {"name": "z", "type": "space", "unit": "micrometer"}
    assert transformations(path)[0][0] == [3, 2, 1, 1]


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.tiff", ".OME.TIF"])
@pytest.mark.parametrize(("unit", "symbol"), [("um", "µm"), ("µm", "µm"), ("nanometer", "nm"), ("mm", "mm")])
def test_tiff_readers_find_all(ending, unit, symbol, tmp_path):
    volume = volume_of((2, 3, 4, 9, 8))
    path = save(volume, tmp_path / f"cells{ending}", spacing=(2, 0.5, 0.25), unit=unit)
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.series[0].axes == "TCZYX"
        assert file.series[0].shape == volume.shape
        np.testing.assert_array_equal(file.series[0].asarray(), volume)
        image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    assert image["Name"] == "cells"
    pixels = image["Pixels"]
    assert [pixels[f"PhysicalSize{axis}"] for axis in "ZYX"] == [2, 0.5, 0.25]
    assert {pixels[f"PhysicalSize{axis}Unit"] for axis in "ZYX"} == {symbol}
    found = read_tiff(path)
    assert found.scale == (1, 1, 2, 0.5, 0.25)
    assert found.unit == ("um" if symbol == "µm" else symbol)
    np.testing.assert_array_equal(found.data, volume)


@pytest.mark.parametrize("axes", ["yx", "cyx", "tyx", "zyx", "czyx", "tzyx", "tcyx"])
@every_ending
def test_axes(axes, ending, tmp_path):
    volume = volume_of((2, 3, 4, 5)[-len(axes) :])
    path = save(volume, tmp_path / f"a{ending}", axes=axes.upper())
    if ending == ".zarr":
        assert [axis["name"] for axis in multiscales(path)["axes"]] == list(axes)
    else:
        with tifffile.TiffFile(path) as file:
            assert file.series[0].axes.lower() == axes
    np.testing.assert_array_equal(values(path), volume)


def test_default_axes(tmp_path):
    for axes, shape in (("yx", (4, 5)), ("zyx", (3, 4, 5)), ("tzyx", (2, 3, 4, 5)), ("tczyx", (1, 2, 3, 4, 5))):
        path = save(volume_of(shape), tmp_path / f"{axes}.zarr")
        assert [axis["name"] for axis in multiscales(path)["axes"]] == list(axes)


# --- chunks on disk ---------------------------------------------------------------------


def test_chunks_lie_within_those_of_dask():
    for sizes, expected in (
        ((1, 512, 512), (1, 512, 512)),
        ((16, 512, 512), (16, 256, 512)),
        ((8, 64, 64), (8, 64, 64)),
    ):
        array = da.zeros((64, 1024, 1024), chunks=sizes, dtype="u2")
        same, chunks = omezarr._regular(array, "zyx")
        assert same is array
        assert chunks == expected
    irregular = da.zeros((9, 20), chunks=((2, 5, 2), (20,)))
    array, chunks = omezarr._regular(irregular, "yx")
    assert array.chunks == ((5, 4), (20,))
    assert chunks == (5, 20)
    # a shorter last one is regular
    array = da.zeros((9, 20), chunks=((4, 4, 1), (20,)))
    assert omezarr._regular(array, "yx")[0] is array


def test_chunks_of_other_arrays():
    assert omezarr._regular(np.zeros((300, 300, 300), "u1"), "zyx")[1] == (128, 128, 128)
    assert omezarr._regular(np.zeros((3, 300, 2000), "u1"), "cyx")[1] == (1, 300, 1024)
    assert omezarr._regular(np.zeros((2, 2, 3, 4, 5), "u1"), "tczyx")[1] == (1, 1, 3, 4, 5)
    stored = zarr.create_array({}, shape=(30, 40), chunks=(4, 50), dtype="u1")
    assert omezarr._regular(stored, "yx")[1] == (4, 40)


def test_chunks_of_prime_lengths_are_no_needles():
    array = da.zeros((10, 2053, 2053), chunks=(1, 2053, 2053), dtype="u2")
    assert math.prod(omezarr._regular(array, "zyx")[1]) > omezarr.CHUNK_VOXELS / 64


# --- layers -----------------------------------------------------------------------------


@every_ending
def test_a_layer_knows_its_voxels(ending, tmp_path):
    volume = volume_of((3, 9, 8))
    layer = napari.layers.Image(volume, name="a <b> & µ", scale=(2, 0.5, 0.25), units=("um",) * 3)
    path = save(layer, tmp_path / f"x{ending}")
    np.testing.assert_array_equal(values(path), volume)
    if ending == ".zarr":
        assert multiscales(path)["name"] == "a <b> & µ"
        assert transformations(path)[0][0] == [2, 0.5, 0.25]
        assert {axis["unit"] for axis in multiscales(path)["axes"]} == {"micrometer"}
    else:
        found = read_tiff(path)
        assert (found.scale, found.unit) == ((2, 0.5, 0.25), "um")
        with tifffile.TiffFile(path) as file:
            assert tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]["Name"] == "a <b> & µ"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_layer_without_a_voxel_size(ending, tmp_path):
    path = save(napari.layers.Image(volume_of((3, 9, 8))), tmp_path / f"x{ending}")
    if ending == ".zarr":
        assert not any("unit" in axis for axis in multiscales(path)["axes"])
    else:
        assert read_tiff(path).unit is None


def placed(path):
    """Where napari puts the last voxel of a volume that was read."""
    data, options, _ = read(path).layers()[0]
    taken = {name: options[name] for name in ("scale", "translate", "units") if name in options}
    return napari.layers.Image(data, **taken).data_to_world(np.subtract(data.shape, 1))


@every_ending
def test_a_transform_that_only_scales_and_moves_is_written(ending, tmp_path):
    affine = np.array([[3.0, 0, 0, 10], [0, 0.5, 0, 0], [0, 0, 2, -4], [0, 0, 0, 1]])
    layer = napari.layers.Image(
        volume_of((3, 9, 8)), scale=(2, 1, 0.25), translate=(1, 2, 3), affine=affine, units=("um",) * 3
    )
    path = save(layer, tmp_path / f"x{ending}")
    # By hand: z 3 (2 x 2 + 1) + 10, y 0.5 (1 x 8 + 2), x 2 (0.25 x 7 + 3) - 4.
    np.testing.assert_allclose(placed(path), (25, 5, 5.5))
    np.testing.assert_allclose(layer.data_to_world((2, 8, 7)), (25, 5, 5.5))


@pytest.mark.parametrize("name", ["x.ome.tif", "x.tif"])
def test_a_step_of_time_without_a_unit_is_not_in_a_tiff(name, tmp_path):
    with pytest.warns(UserWarning, match="no time without a unit, so the step of 3 along the time axis of 'x'"):
        path = nx.write_tiff(
            volume_of((3, 9, 8)), tmp_path / name, axes="tyx", spacing=(3, 2, 2), unit="um", imagej=name == "x.tif"
        )
    assert read(path).scale == (1, 2, 2)
    assert read(save(volume_of((3, 9, 8)), tmp_path / "x.zarr", axes="tyx", spacing=(3, 2, 2))).scale == (3, 2, 2)


TURNED = {
    "mirrored": {"scale": (-2, 1, 1)},
    "rotated": {"rotate": 30},
    "sheared": {"shear": (0.2, 0, 0)},
    "moved by an affine transform": {"affine": [[1, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 1, 0], [0, 0, 0, 1]]},
    "rotated and mirrored": {"rotate": 30, "affine": np.diag([-1.0, 1, 1, 1])},
}


@every_ending
@pytest.mark.parametrize("words", TURNED)
def test_what_a_file_cannot_hold_of_a_layer_is_said(ending, words, tmp_path):
    layer = napari.layers.Image(volume_of((3, 9, 8)), name="cells", **TURNED[words])
    with pytest.warns(UserWarning, match=f"Layer 'cells' is {words}, which a file cannot hold"):
        path = save(layer, tmp_path / f"x{ending}")
    np.testing.assert_array_equal(values(path), layer.data)


@every_ending
@pytest.mark.parametrize(
    ("axes", "sizes"), [("zyx", (2, 2, 2)), ("tyx", (1, 2, 2)), ("cyx", (1, 2, 2)), ("tzyx", (1, 2, 2, 2))]
)
def test_one_number_is_the_size_along_all_axes_of_space(axes, sizes, ending, tmp_path):
    volume = volume_of((2, 3, 9, 8)[-len(axes) :])
    found = read(save(volume, tmp_path / f"x{ending}", axes=axes, spacing=2.0, unit="um"))
    assert (found.axes.lower(), found.scale) == (axes, sizes)
    assert [axis.lower() for axis, unit in zip(found.axes, found.units, strict=True) if unit == "um"] == [
        axis for axis in axes if axis in "zyx"
    ]


@every_ending
def test_units_of_a_layer_are_made_one(ending, tmp_path):
    layer = napari.layers.Image(volume_of((3, 9, 8)), scale=(1, 100, 100), units=("um", "nm", "nm"))
    path = save(layer, tmp_path / f"x{ending}")
    scale = transformations(path)[0][0] if ending == ".zarr" else read_tiff(path).scale
    np.testing.assert_allclose(scale, (1000, 100, 100))


def test_a_time_series(tmp_path):
    layer = napari.layers.Image(
        volume_of((2, 3, 9, 8)), scale=(5, 2, 1, 1), units=("s", "um", "um", "um"), axis_labels=("time", "z", "y", "x")
    )
    path = save(layer, tmp_path / "x.zarr")
    assert [axis["name"] for axis in multiscales(path)["axes"]] == list("tzyx")
    assert transformations(path)[0][0] == [5, 2, 1, 1]


def test_labels_name_axes(tmp_path):
    volume = volume_of((2, 9, 8))
    for number, (labels, axes) in enumerate(
        ((("c", "y", "x"), "cyx"), (("Frame", "Y", "X"), "tyx"), (("a", "b", "c"), "zyx"))
    ):
        path = save(napari.layers.Image(volume, axis_labels=labels), tmp_path / f"{number}.zarr")
        assert [axis["name"] for axis in multiscales(path)["axes"]] == list(axes)


@every_ending
@pytest.mark.parametrize("chunked", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("labels", ["xyz", "yxz", "ztyx", "xczy"])
def test_axes_of_layers_come_into_place(ending, labels, chunked, tmp_path):
    volume = volume_of((2, 3, 9, 8)[-len(labels) :])
    sizes, units = {"z": 3, "y": 0.5, "x": 0.25, "t": 7}, {"t": "s", "c": "pixel"}
    layer = napari.layers.Image(
        da.from_array(volume, chunks=2) if chunked else volume,
        axis_labels=tuple(labels),
        scale=[sizes.get(axis, 1) for axis in labels],
        units=[units.get(axis, "um") for axis in labels],
        translate=[10 * (axis == "x") for axis in labels],
    )
    found = read(save(layer, tmp_path / f"a{ending}"))
    axes = "".join(sorted(labels, key="tczyx".index))
    assert found.axes == axes.upper()
    np.testing.assert_array_equal(found.data, np.einsum(f"{labels}->{axes}", volume))
    assert found.scale == tuple(sizes.get(axis, 1) for axis in axes)
    assert found.translate == tuple(10 * (axis == "x") for axis in axes)
    assert found.unit == "um"


@every_ending
@pytest.mark.parametrize(("shape", "at", "axes"), [((3, 9, 8), 0, "TYX"), ((2, 3, 9, 8), 1, "TZYX")])
def test_an_axis_in_seconds_is_time(ending, shape, at, axes, tmp_path):
    volume = volume_of(shape)
    units = ["ms" if axis == at else "um" for axis in range(len(shape))]
    layer = napari.layers.Image(volume, units=units, scale=range(2, len(shape) + 2))
    found = read(save(layer, tmp_path / f"a{ending}"))
    assert found.axes == axes
    assert found.sizes["T"] == (at + 2, "ms")
    np.testing.assert_array_equal(found.data, np.moveaxis(volume, at, 0))


@every_ending
@pytest.mark.parametrize("shape", [(9, 8), (3, 9, 8), (2, 3, 9, 8)])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours(ending, shape, channels, tmp_path):
    volume = volume_of((*shape, channels), "uint8")
    scale = (5, 2, 0.5, 0.5)[-len(shape) :]
    layer = napari.layers.Image(volume, rgb=True, scale=scale, units=("s", "um", "um", "um")[-len(shape) :])
    path = save(layer, tmp_path / f"x{ending}")
    if ending == ".zarr":
        at, axes = {2: (0, "cyx"), 3: (0, "czyx"), 4: (1, "tczyx")}[len(shape)]
        np.testing.assert_array_equal(values(path), np.moveaxis(volume, -1, at))
        assert [axis["name"] for axis in multiscales(path)["axes"]] == list(axes)
        assert transformations(path)[0][0] == [*scale[:at], 1, *scale[at:]]
    else:
        np.testing.assert_array_equal(values(path), volume)
        assert read_tiff(path).axes == {2: "YXS", 3: "ZYXS", 4: "TZYXS"}[len(shape)]
        assert read_tiff(path).scale[-2:] == scale[-2:]


@pytest.mark.parametrize("chunked", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("shape", [(9, 8, 3), (9, 8, 4), (3, 9, 8, 3), (2, 3, 9, 8, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_colour_layer_comes_back_from_tiff_as_one(dtype, shape, chunked, tmp_path):
    volume = volume_of(shape, dtype)
    ndim = len(shape) - 1
    layer = napari.layers.Image(
        da.from_array(volume, chunks=(1, *shape[1:])) if chunked else volume,
        rgb=True,
        name="tissue",
        scale=(5, 2, 0.5, 0.25)[-ndim:],
        units=("s", "um", "um", "um")[-ndim:],
        axis_labels=tuple("tzyx"[-ndim:]),
    )
    (found,) = read_tiff(save(layer, tmp_path / "x.ome.tif")).layers()
    back = napari.layers.Layer.create(*found)
    assert back.rgb
    assert back.data.dtype == dtype
    np.testing.assert_array_equal(back.data, volume)
    assert back.name == "tissue"
    assert (tuple(back.scale), back.units) == (tuple(layer.scale), layer.units)
    assert back.axis_labels == layer.axis_labels


def test_colours_and_channels(tmp_path):
    volume = volume_of((2, 9, 8, 3), "uint8")
    layer = napari.layers.Image(volume, rgb=True, axis_labels=("c", "y", "x"), name="both")
    with pytest.raises(ValueError, match="'both' has colors and channels; save it as OME-TIFF, or its"):
        save(layer, tmp_path / "x.zarr")
    found = read_tiff(save(layer, tmp_path / "x.ome.tif"))
    assert found.axes == "CYXS"
    np.testing.assert_array_equal(found.data, volume)
    assert [options["rgb"] for _, options, _ in found.layers()] == [True, True]


@every_ending
def test_multiscale_layers(ending, tmp_path):
    volume = volume_of((3, 40, 40))
    layer = napari.layers.Image([volume, volume[:, ::2, ::2]], multiscale=True, scale=(2, 1, 1))
    np.testing.assert_array_equal(values(save(layer, tmp_path / f"x{ending}")), volume)


@every_ending
@pytest.mark.parametrize("chunked", [False, True], ids=["numpy", "dask"])
def test_results_carry_how_they_were_made(ending, chunked, tmp_path):
    volume = volume_of((4, 20, 24))
    array = da.from_array(volume, chunks=(1, 20, 24)) if chunked else volume
    layer = napari.layers.Image(array, name="nuclei", scale=(2, 0.5, 0.5), units=("um",) * 3)
    result = nx.equalize_adapthist(layer, 4.0)
    path = nx.save(result, tmp_path / f"x{ending}")
    np.testing.assert_array_equal(values(path), np.asarray(result.data))
    if ending == ".zarr":
        record = zarr.open_group(path, mode="r").attrs["napari_exposure"]
        assert record == result.metadata["napari_exposure"]
        assert record["source"] == "nuclei"
        assert [step["adjustment"] for step in record["steps"]] == ["AdaptiveEqualization"]


def test_arrays_and_other_layers_have_no_record(tmp_path):
    for number, source in enumerate((np.zeros((4, 5), "u1"), napari.layers.Image(np.zeros((4, 5), "u1")))):
        path = save(source, tmp_path / f"{number}.zarr")
        assert "napari_exposure" not in dict(zarr.open_group(path, mode="r").attrs)


def test_layers_of_many_axes(tmp_path):
    layer = napari.layers.Image(np.zeros((1, 1, 2, 2, 4, 5), "u1"))
    with pytest.raises(ValueError, match="axes"):
        save(layer, tmp_path / "x.zarr")


# --- progress ---------------------------------------------------------------------------


@every_ending
def test_progress(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    array = da.from_array(volume_of((4, 300, 20)), chunks=(1, 300, 20))
    steps = []

    def listen(step):
        # only the whole of it is there, at the end
        assert path.name not in listing(tmp_path)
        if step.fraction > max((each.fraction for each in steps), default=0):
            steps.append(step)

    with progress.listening(listen):
        save(array, path)
    fractions = [step.fraction for step in steps]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)
    assert [step.what for step in steps[:4]] == ["writing"] * 4
    if ending == ".zarr":
        assert {step.what for step in steps[4:]} == {"writing coarser levels"}
        # by voxels: of the coarser level there is an eighth
        assert fractions[3] == pytest.approx(8 / 9)
    assert listing(tmp_path) == [path.name]


# --- whole or not at all ----------------------------------------------------------------


class Failing:
    """An array that fails as it is read, in the middle."""

    def __init__(self, error, shape=(9, 300, 200), dtype="u2"):
        self.error, self.shape, self.dtype = error, shape, np.dtype(dtype)
        self.ndim, self.reads = len(shape), 0

    def __getitem__(self, index):
        self.reads += 1
        if self.reads > 3:
            raise self.error
        return np.zeros([len(range(*part.indices(n))) for part, n in zip(index, self.shape, strict=True)], self.dtype)


def failing(kind, error):
    if kind == "array":
        return Failing(error, (200, 300, 200))

    def fail(chunk, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] == 6:
            raise error
        return chunk

    array = da.zeros((9, 30, 20), chunks=(1, 30, 20), dtype="u2")
    return array.map_blocks(fail, dtype="u2", meta=np.empty((0, 0, 0), "u2"))


@every_ending
@pytest.mark.parametrize("kind", ["array", "dask"])
@pytest.mark.parametrize(
    "error", [RuntimeError("torn tape"), KeyboardInterrupt(), MemoryError()], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "overwrite"])
def test_a_source_that_fails_leaves_nothing(ending, kind, error, there, tmp_path, monkeypatch):
    # many blocks also in a memory map
    for cut in (blocks.contiguous_blocks, blocks.chunked_blocks):
        monkeypatch.setattr(cut, "__defaults__", (60000,))
    path = tmp_path / f"a{ending}"
    if there:
        save(np.ones((3, 4, 5), "u1"), path)
    with pytest.raises((type(error), OSError)) as caught:
        save(failing(kind, error), path, overwrite=there)
    if isinstance(error, RuntimeError):
        assert str(caught.value).endswith("cannot be read: RuntimeError: torn tape")
    assert listing(tmp_path) == ([path.name] if there else [])
    if there:
        np.testing.assert_array_equal(values(path), np.ones((3, 4, 5)))


@every_ending
@pytest.mark.parametrize("chunked", [False, True], ids=["numpy", "dask"])
@pytest.mark.parametrize("there", [False, True], ids=["new", "overwrite"])
def test_cancel_at_any_step_leaves_nothing(ending, chunked, there, tmp_path, monkeypatch):
    for cut in (blocks.contiguous_blocks, blocks.chunked_blocks):
        monkeypatch.setattr(cut, "__defaults__", (3000,))
    volume = volume_of((3, 300, 20))
    array = da.from_array(volume, chunks=(1, 300, 20)) if chunked else volume
    path = tmp_path / f"a{ending}"
    old = np.ones((3, 4, 5), "u1")
    if there:
        save(old, path)
    number = len(reference.heard(lambda: save(array, tmp_path / f"b{ending}"))[0])
    shutil.rmtree(tmp_path / "b.zarr", ignore_errors=True)
    (tmp_path / "b.ome.tif").unlink(missing_ok=True)
    assert number >= 3

    def then():
        assert len(listing(tmp_path)) > there

    for stop in range(1, number + 1):
        assert reference.stopped(lambda: save(array, path, overwrite=there), stop, then)
        assert listing(tmp_path) == ([path.name] if there else [])
        if there:
            np.testing.assert_array_equal(values(path), old)


def slow_store(monkeypatch):
    """Chunks take their time to be written, some longer than others."""

    def slow(values, target, place):
        import time

        time.sleep(0.1 * (place[0][0] % 6))
        target[tuple(slice(start, stop) for start, stop in place)] = values

    monkeypatch.setattr(lazy, "_store", slow)


def test_cancel_while_chunks_are_written(tmp_path, monkeypatch):
    slow_store(monkeypatch)
    array = da.ones((60, 5, 5), chunks=(1, 5, 5), dtype="u2")
    assert reference.stopped(lambda: save(array, tmp_path / "a.zarr"))
    time.sleep(0.8)
    assert not listing(tmp_path)


def test_an_error_while_chunks_are_written(tmp_path, monkeypatch):
    slow_store(monkeypatch)

    def fail(chunk, block_info=None):
        if block_info and block_info[0]["chunk-location"][0] == 0:
            raise RuntimeError("torn tape")
        return chunk

    array = da.ones((60, 5, 5), chunks=(1, 5, 5), dtype="u2")
    array = array.map_blocks(fail, dtype="u2", meta=np.empty((0, 0, 0), "u2"))
    with pytest.raises(OSError, match="torn tape"):
        save(array, tmp_path / "a.zarr")
    time.sleep(0.8)
    assert not listing(tmp_path)


def test_cancel_while_a_cluster_writes(tmp_path, monkeypatch, local_cluster):
    from distributed import Client

    slow_store(monkeypatch)
    with Client(local_cluster):
        array = da.ones((60, 5, 5), chunks=(1, 5, 5), dtype="u2")
        assert reference.stopped(lambda: save(array, tmp_path / "a.zarr"))
        time.sleep(1)
        assert not listing(tmp_path)


def test_chunks_that_are_written_when_another_fails(tmp_path, monkeypatch):
    # As on a full disk: zarr writes the chunks of a block side by side, and goes on with them after the error.
    from zarr.storage import LocalStore

    put, begun = LocalStore.set, []
    monkeypatch.setattr(omezarr, "CHUNK_VOXELS", 512)

    async def failing(self, key, value):
        if key.startswith("0/c/"):
            begun.append(key)
            number = int(key.rsplit("/", 1)[1])
            if number == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            await asyncio.sleep(0.1 * number)
        await put(self, key, value)

    monkeypatch.setattr(LocalStore, "set", failing)
    with pytest.raises(OSError, match="disk is full"):
        save(np.ones((8, 8, 32), "u1"), tmp_path / "a.zarr")
    assert len(begun) == 4
    time.sleep(0.5)
    assert not listing(tmp_path)


@every_ending
def test_what_exists_is_kept(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=rf"a{ending} exists.*overwrite=True"):
        save(np.zeros((4, 5), "u1"), path)
    assert path.read_text() == "mine"
    path.unlink()
    path.mkdir()
    (path / "file").write_text("mine")
    with pytest.raises(FileExistsError):
        save(np.zeros((4, 5), "u1"), path)
    assert (path / "file").read_text() == "mine"
    assert listing(tmp_path) == [path.name]


@every_ending
def test_what_exists_is_replaced_at_the_end(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    save(np.ones((3, 4, 5), "u1"), path)
    with progress.listening(lambda step: np.testing.assert_array_equal(values(path), np.ones((3, 4, 5)))):
        save(np.full((2, 3, 4), 7, "u2"), path, overwrite=True)
    np.testing.assert_array_equal(values(path), np.full((2, 3, 4), 7))
    assert listing(tmp_path) == [path.name]


def test_a_result_may_replace_its_source(tmp_path):
    volume = volume_of((3, 20, 20))
    path = save(volume, tmp_path / "a.zarr")
    array = da.from_zarr(path, component="0")
    save(array + 1, path, overwrite=True)
    np.testing.assert_array_equal(values(path), volume + 1)


@every_ending
def test_a_folder_that_is_no_store_is_kept(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    path.mkdir()
    (path / "thesis.odt").write_text("mine")
    # before anything is written
    with pytest.raises(FileExistsError, match=rf"a{ending} is a folder.*not replaced"):
        save(np.ones((3, 4), "u1"), path, overwrite=True)
    assert (path / "thesis.odt").read_text() == "mine"
    assert listing(tmp_path) == [path.name]


def test_a_store_replaces_a_file(tmp_path):
    (tmp_path / "a.zarr").write_text("old")
    save(np.ones((3, 4), "u1"), tmp_path / "a.zarr", overwrite=True)
    np.testing.assert_array_equal(values(tmp_path / "a.zarr"), np.ones((3, 4)))


@every_ending
def test_all_of_it_is_on_the_disk_before_it_takes_its_place(ending, tmp_path, monkeypatch):
    path, synced, at = tmp_path / f"a{ending}", [], []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_ino), fsync(file)))
    monkeypatch.setattr(
        os, "replace", lambda old, new: (at.append(len(synced)) if new == path else None, replace(old, new))
    )
    for overwrite in (False, True):
        del synced[:], at[:]
        save(volume_of((4, 300, 300)), path, overwrite=overwrite)
        parts = {part.stat().st_ino for part in (path, *path.rglob("*"))}
        assert parts <= set(synced[: at[0]])
        assert synced[at[0] :] == [tmp_path.stat().st_ino]


@every_ending
def test_what_came_meanwhile_is_kept(ending, tmp_path):
    path = tmp_path / f"a{ending}"
    with pytest.raises(FileExistsError), progress.listening(lambda step: path.write_text("mine")):
        save(np.zeros((4, 5), "u1"), path)
    assert path.read_text() == "mine"
    assert listing(tmp_path) == [path.name]


def test_a_link_to_a_folder_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("mine")
    (tmp_path / "a.zarr").symlink_to(tmp_path / "real")
    save(np.ones((3, 4), "u1"), tmp_path / "a.zarr", overwrite=True)
    np.testing.assert_array_equal(values(tmp_path / "a.zarr"), np.ones((3, 4)))
    # what it pointed to is not ours
    assert (tmp_path / "real" / "file").read_text() == "mine"


# --- errors before anything is written --------------------------------------------------

WRONG = {
    "suffix": ("a.tif", {}, ValueError, r"a\.tif must end in \.zarr .* or \.ome\.tif"),
    "no suffix": ("a", {}, ValueError, "must end in"),
    "folder": ("none/a.zarr", {}, FileNotFoundError, "There is no folder .*none"),
    "folder of tiff": ("none/a.ome.tif", {}, FileNotFoundError, "There is no folder .*none"),
    "few axes": (
        "a.zarr",
        {"axes": "yx"},
        ValueError,
        r"axes must be 3 of the letters tczyx .*'yx'; shape \(3, 4, 5\)",
    ),
    "order of axes": ("a.zarr", {"axes": "xyz"}, ValueError, "in this order, .* got 'xyz'"),
    "strange axes": ("a.ome.tif", {"axes": "qyx"}, ValueError, "axes must be 3"),
    "double axes": ("a.ome.tif", {"axes": "yyx"}, ValueError, "axes must be 3"),
    "unit": ("a.zarr", {"unit": "fortnight"}, ValueError, r"unit must be one of .* such as um, got 'fortnight'"),
    "pixels": ("a.ome.tif", {"unit": "pixel"}, ValueError, "unit must be one of"),
    "long spacing": ("a.zarr", {"spacing": (1, 1, 1, 1)}, ValueError, "spacing must be up to 3 positive numbers"),
    "spacing 0": ("a.ome.tif", {"spacing": (1, 0, 1)}, ValueError, "greater than 0"),
    "negative spacing": ("a.ome.tif", {"spacing": (-1, 1, 1)}, ValueError, "greater than 0"),
    "infinite spacing": ("a.zarr", {"spacing": (math.inf, 1, 1)}, ValueError, "greater than 0"),
    "spacing NaN": ("a.zarr", {"spacing": (math.nan, 1, 1)}, ValueError, "greater than 0"),
    "version": ("a.zarr", {"ome_version": "0.3"}, ValueError, r"ome_version must be '0\.4' or '0\.5', got '0\.3'"),
    "version as a number": ("a.zarr", {"ome_version": 0.5}, ValueError, "ome_version must be"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_first(case, tmp_path):
    name, options, error, words = WRONG[case]
    with pytest.raises(error, match=words):
        save(np.zeros((3, 4, 5), "u1"), tmp_path / name, **options)
    assert not listing(tmp_path)


def test_tiff_has_no_float16(tmp_path):
    with pytest.raises(TypeError, match=r"no float16.*astype.*\.zarr"):
        save(np.zeros((4, 5), np.float16), tmp_path / "a.ome.tif")


@pytest.mark.parametrize("shape", [(), (4,), (1, 1, 1, 1, 4, 5)])
@every_ending
def test_wrong_numbers_of_axes(ending, shape, tmp_path):
    with pytest.raises(ValueError, match="axes must be"):
        save(np.zeros(shape, "u1"), tmp_path / f"a{ending}")


@pytest.mark.parametrize("axes", ["tc", "cx", "zx", "ty"])
@every_ending
def test_axes_without_a_plane(ending, axes, tmp_path):
    with pytest.raises(ValueError, match="axes must"):
        save(np.zeros((4, 5), "u1"), tmp_path / f"a{ending}", axes=axes)


@pytest.mark.parametrize("dtype", ["int64", "uint64", "bool", "object"])
def test_dtypes_that_tiff_does_not_have(dtype, tmp_path):
    with pytest.raises(TypeError, match=f"{dtype}.*zarr"):
        save(np.zeros((4, 5), dtype), tmp_path / "a.ome.tif")


@every_ending
@pytest.mark.parametrize("dtype", ["U3", "S3", "M8[D]", "object", "complex64", "i4,f4"])
def test_what_is_no_number_is_said_first(dtype, ending, tmp_path):
    with pytest.raises(TypeError, match=r"(OME-Zarr holds whole numbers .*, not|OME-TIFF has no) "):
        save(np.zeros((3, 4, 5), dtype), tmp_path / f"x{ending}")
    assert not listing(tmp_path)


@pytest.mark.parametrize("code", ["q", "Q", "l", "L"])
def test_integers_of_c_are_the_numbers_that_they_are(code, tmp_path):
    volume = np.arange(60).reshape(3, 4, 5).astype(code)
    np.testing.assert_array_equal(values(save(volume, tmp_path / "x.zarr")), volume)


@every_ending
def test_empty_arrays(ending, tmp_path):
    with pytest.raises(ValueError, match="empty"):
        save(np.zeros((0, 4, 5), "u1"), tmp_path / f"a{ending}")


@every_ending
def test_chunks_of_unknown_size(ending, tmp_path):
    array = da.from_array(volume_of((3, 4, 5)), chunks=(1, 4, 5))
    with pytest.raises(ValueError, match=r"chunks of unknown size.*compute_chunk_sizes"):
        save(array[array[:, 0, 0] >= 0], tmp_path / f"a{ending}")
    assert not listing(tmp_path)


def test_ome_zarr_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ome_zarr.writer", None)
    with pytest.raises(ImportError, match=r'ome-zarr: pip install "napari-exposure\[zarr\]"'):
        save(np.zeros((4, 5), "u1"), tmp_path / "a.zarr")
    save(np.zeros((4, 5), "u1"), tmp_path / "a.ome.tif")


# --- a full disk ------------------------------------------------------------------------


def test_a_tiff_that_does_not_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 << 30))
    array = da.zeros((2, 1 << 15, 1 << 15), chunks=(1, 1 << 10, 1 << 10), dtype="u2")
    with pytest.raises(OSError, match=r"disk is full: a\.ome\.tif holds 4\.0 GB .*3\.0 GB are free") as caught:
        save(array, tmp_path / "a.ome.tif")
    assert caught.value.errno == errno.ENOSPC
    assert not listing(tmp_path)


def test_a_tiff_that_just_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=60))
    save(np.zeros((3, 4, 5), "u1"), tmp_path / "a.ome.tif")
    with pytest.raises(OSError, match="disk is full"):
        save(np.zeros((3, 4, 5), "u2"), tmp_path / "b.ome.tif")


def test_a_disk_that_fills_up_meanwhile(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match="disk is full"):
        save(np.zeros((3, 4, 5), "u1"), tmp_path / "a.ome.tif")
    assert not listing(tmp_path)


def disk_blocks(path):
    return path.stat().st_blocks * 512


def test_the_place_of_a_tiff_is_taken_first(tmp_path, monkeypatch):
    # macOS has no such function, and gives no place beforehand.
    real, taken = getattr(os, "posix_fallocate", None), []

    def take(file, start, size):
        taken.append((start, size))
        if real is not None:
            real(file, start, size)

    monkeypatch.setattr(os, "posix_fallocate", take, raising=False)

    def then():
        (partial,) = tmp_path.rglob("*.tif")
        assert partial.stat().st_size >= 8 * 512 * 512
        assert taken == [(0, partial.stat().st_size)]
        assert real is None or disk_blocks(partial) >= 8 * 512 * 512

    assert reference.stopped(lambda: save(np.zeros((8, 512, 512), "u1"), tmp_path / "a.ome.tif"), then=then)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("there", [False, True], ids=["new", "overwrite"])
def test_a_zarr_that_does_not_fit(number, there, tmp_path, monkeypatch):
    path = tmp_path / "a.zarr"
    if there:
        save(np.ones((3, 4), "u1"), path)

    def full(array, target, what):
        raise OSError(number, "full")

    monkeypatch.setattr(omezarr, "store", full)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=3 << 30))
    array = da.zeros((2, 1 << 15, 1 << 15), chunks=(1, 1 << 10, 1 << 10), dtype="u2")
    words = r"disk is full: a\.zarr holds 4\.0 GB before compression, 3\.0 GB are free"
    with pytest.raises(OSError, match=words) as caught:
        save(array, path, overwrite=there)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert listing(tmp_path) == ([path.name] if there else [])
    if there:
        np.testing.assert_array_equal(values(path), np.ones((3, 4)))


def test_a_disk_that_is_full_for_dask(tmp_path, monkeypatch):
    def full(values, target, place):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(lazy, "_store", full)
    with pytest.raises(OSError, match="disk is full"):
        save(da.zeros((4, 5, 6), chunks=(1, 5, 6), dtype="u1"), tmp_path / "a.zarr")
    assert not listing(tmp_path)


def test_other_errors_of_the_disk_are_themselves(tmp_path, monkeypatch):
    def broken(array, target, what):
        raise OSError(errno.EIO, "torn tape")

    monkeypatch.setattr(omezarr, "store", broken)
    with pytest.raises(OSError, match="torn tape") as caught:
        save(np.zeros((4, 5), "u1"), tmp_path / "a.zarr")
    assert caught.value.errno == errno.EIO
    assert not listing(tmp_path)


# --- volumes of files -------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".ome.tif", ".zarr"])
def test_a_volume_is_read_as_it_was_written(ending, tmp_path):
    volume = FileVolume(
        volume_of((2, 3, 4, 5, 6)),
        "TCZYX",
        (30.0, 1.0, 2.0, 0.5, 0.5),
        ("s", "pixel", "um", "um", "um"),
        name="embryo",
        channels=("DAPI", "GFP", "RFP"),
        colors=("#0000ff", "#00ff00", "#ff0000"),
        notes={"source": "day 1"},
    )
    path = save(volume, tmp_path / f"a{ending}")
    found = read_tiff(path) if ending == ".ome.tif" else omezarr.read_zarr(path)
    np.testing.assert_array_equal(found.data, volume.data)
    for name in ("axes", "scale", "unit", "units", "timed", "name", "notes"):
        assert getattr(found, name) == getattr(volume, name), name
    assert (found.channels, found.colors) == (volume.channels, volume.colors)


@every_ending
@pytest.mark.parametrize(("unit", "kept"), [("angstrom", "angstrom"), ("pm", "pm"), ("dm", "dm"), ("inch", "inch")])
def test_units_names_and_places_of_a_layer_are_kept(ending, unit, kept, tmp_path):
    layer = napari.layers.Image(
        volume_of((3, 9, 8)),
        scale=(2, 0.5, 0.25),
        translate=(10, -5, 3),
        units=(unit,) * 3,
        colormap="magenta",
        contrast_limits=(3, 77),
    )
    path = save(layer, tmp_path / f"x{ending}")
    found = read_tiff(path) if ending == ".ome.tif" else omezarr.read_zarr(path)
    assert (found.unit, found.scale, found.translate) == (kept, (2, 0.5, 0.25), (10, -5, 3))
    ((data, options, _),) = found.layers()
    back = napari.layers.Layer.create(data, options, "image")
    assert back.units == layer.units
    assert tuple(back.translate) == (10, -5, 3)
    assert back.contrast_limits == [3, 77]
    np.testing.assert_allclose(back.colormap.map([0.0, 1.0]), [(0, 0, 0, 1), (1, 0, 1, 1)])


@every_ending
def test_the_place_of_a_layer_without_a_voxel_size_is_kept(ending, tmp_path):
    path = save(napari.layers.Image(volume_of((3, 9, 8)), translate=(10, -5, 3)), tmp_path / f"x{ending}")
    found = read_tiff(path) if ending == ".ome.tif" else omezarr.read_zarr(path)
    assert (found.unit, found.translate) == (None, (10, -5, 3))


@every_ending
def test_a_time_unit_is_kept(ending, tmp_path):
    layer = napari.layers.Image(
        volume_of((3, 9, 8)), scale=(5, 1, 1), units=("minute", "um", "um"), axis_labels=tuple("tyx")
    )
    path = save(layer, tmp_path / f"x{ending}")
    found = read_tiff(path) if ending == ".ome.tif" else omezarr.read_zarr(path)
    assert (found.scale[0], found.units[0]) == (5, "min")


@every_ending
def test_what_has_no_size_given_has_no_unit(ending, tmp_path):
    path = save(volume_of((3, 9, 8)), tmp_path / f"x{ending}", spacing=(0.5, 0.5), unit="um")
    found = read_tiff(path) if ending == ".ome.tif" else omezarr.read_zarr(path)
    assert found.units == ("pixel", "um", "um")
    assert "Z" not in found.came_from
    layer = napari.layers.Image(volume_of((3, 9, 8)), scale=(1, 0.5, 0.5), units=("pixel", "um", "um"))
    path = save(layer, tmp_path / f"y{ending}")
    found = read_tiff(path) if ending == ".ome.tif" else omezarr.read_zarr(path)
    assert (found.units, found.scale) == (("pixel", "um", "um"), (1, 0.5, 0.5))


def test_coarser_levels_lie_where_the_finest_does(tmp_path):
    layer = napari.layers.Image(volume_of((600, 9)), scale=(2, 3), translate=(10, 20), units=("um",) * 2)
    levels = transformations(save(layer, tmp_path / "x.zarr"))
    assert levels[0] == ([2, 3], [10, 20])
    assert levels[1][1] == [10 + 1, 20 + (levels[1][0][1] - 3) / 2]


# --- DataArrays -------------------------------------------------------------------------


def data_array(values, **steps):
    """A DataArray with coordinates from 10 on, in steps with units."""
    coords = {
        dim: (dim, 10 + step * np.arange(size), {"units": unit})
        for (dim, (step, unit)), size in zip(steps.items(), values.shape, strict=True)
    }
    return xr.DataArray(values, coords, tuple(steps), "nuclei")


@every_ending
def test_a_data_array_is_saved_as_it_is(tmp_path, ending):
    series = volume_of((3, 8, 9))
    image = data_array(series, time=(2.0, "min"), y=(0.5, "um"), x=(0.25, "um"))
    found = read(save(image, tmp_path / f"series{ending}"))
    assert (found.axes, found.scale, found.units) == ("TYX", (2.0, 0.5, 0.25), ("min", "um", "um"))
    assert found.translate[1:] == (10, 10)
    np.testing.assert_array_equal(found.data, series)
    turned = image.rename(time="z").transpose("x", "y", "z").assign_coords(z=("z", 7.0 * np.arange(3), {"units": "um"}))
    for data in (turned, turned.chunk(2)):
        found = read(save(data, tmp_path / f"turned{ending}", overwrite=True))
        assert (found.axes, found.scale) == ("ZYX", (7.0, 0.5, 0.25))
        np.testing.assert_array_equal(found.data, series)


@every_ending
def test_what_is_said_counts_more_than_a_data_array(tmp_path, ending):
    image = data_array(volume_of((3, 8, 9)), a=(2.0, "um"), b=(0.5, "um"), c=(0.5, "um"))
    found = read(save(image, tmp_path / f"nm{ending}", unit="nm"))
    assert (found.axes, found.scale, found.units) == ("ZYX", (2.0, 0.5, 0.5), ("nm",) * 3)
    found = read(save(image, tmp_path / f"given{ending}", spacing=(3, 4), axes="tyx", unit="um"))
    assert (found.axes, found.scale) == ("TYX", (1.0, 3.0, 4.0))


def test_channels_of_a_data_array_have_names(tmp_path):
    image = xr.DataArray(volume_of((2, 8, 9)), {"c": ["DAPI", "GFP"]}, ("c", "y", "x"))
    assert read(save(image, tmp_path / "named.ome.tif")).channels == ("DAPI", "GFP")
    with pytest.raises(ValueError, match="a name for each"):
        nx.write_tiff(image, tmp_path / "one.tif", channels=["DAPI"])

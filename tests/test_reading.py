"""Volumes in files of any kind, also in such that lie, that change, or that are of another kind than their name."""

import json
import lzma
import math
import os
import shutil
import sys
import time
import types
import zlib

import dask.array as da
import google_crc32c
import h5py
import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.cli import main
from napari_exposure.core import blocks
from napari_exposure.core.flatfile import FlatFile
from napari_exposure.io import unpacked
from napari_exposure.io.files import stem

STACK = np.random.default_rng(0).integers(0, 4000, (6, 20, 24), dtype=np.uint16)


# --- other formats ----------------------------------------------------------------------


def hdf5(path, **datasets):
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name.replace("__", "/")] = data
    return path


def test_hdf5_by_path_and_name(tmp_path, capsys):
    path = hdf5(tmp_path / "a.h5", raw__volume=STACK, raw__mask=STACK > 9, table=np.arange(5), words=np.array(b"x"))
    with h5py.File(path, "a") as file:
        file["raw/volume"].attrs["element_size_um"] = (2.0, 0.5, 0.25)
    volume = nx.read(path, dataset="raw/volume")
    assert (volume.axes, volume.scale, volume.unit, volume.name) == ("ZYX", (2.0, 0.5, 0.25), "um", "a")
    np.testing.assert_array_equal(volume.data.compute(), STACK)
    assert volume.images == ("raw/mask (6 x 20 x 24)", "raw/volume (6 x 20 x 24)")
    np.testing.assert_array_equal(nx.read(path, series=1).data.compute(), STACK)
    with pytest.raises(ValueError, match=r"no dataset 'rav' of numbers; its datasets are: raw/mask, raw/volume"):
        nx.read(path, dataset="rav")
    with pytest.raises(ValueError, match=r"a\.tif is no HDF5 file"):
        nx.read(tmp_path / "a.tif", dataset="raw")
    # through the command line
    assert main(["info", str(path), "--dataset", "/raw/volume"]) == 0
    words = capsys.readouterr().out
    assert "6 x 20 x 24 (ZYX)" in words
    assert "2 um (HDF5 element_size_um)" in words
    nx.Recipe((nx.AdaptiveEqualization(4.0),), "um").save(tmp_path / "r.json")
    out = str(tmp_path / "out")
    assert main(["apply", str(tmp_path / "r.json"), str(path), "-o", out, "--dataset", "raw/volume"]) == 0
    found = nx.read(tmp_path / "out" / "a.ome.tif")
    np.testing.assert_array_equal(found.data, core.equalize_adapthist(STACK, 4.0, spacing=(2.0, 0.5, 0.25)))
    assert found.scale == (2.0, 0.5, 0.25)


@pytest.mark.parametrize("how", ["ilastik", "labels", "given"])
def test_axes_of_hdf5(how, tmp_path):
    data = np.random.default_rng(0).integers(0, 99, (7, 3, 8, 9), dtype=np.uint8)
    path = hdf5(tmp_path / "a.h5", data=data)
    with h5py.File(path, "a") as file:
        if how == "ilastik":
            file["data"].attrs["axistags"] = json.dumps({"axes": [{"key": key} for key in "zcyx"]})
        elif how == "labels":
            for dimension, label in zip(file["data"].dims, ("z", "channel", "y", "x"), strict=True):
                dimension.label = label
    volume = nx.read(path, axes="zcyx" if how == "given" else None)
    assert (volume.axes, volume.guessed) == ("CZYX", "")
    np.testing.assert_array_equal(volume.data.compute(), np.moveaxis(data, 1, 0))


def test_hdf5_that_says_nothing_is_a_guess(tmp_path):
    volume = nx.read(hdf5(tmp_path / "a.hdf5", data=STACK))
    assert (volume.axes, volume.guessed, volume.unit) == ("ZYX", "Z", None)
    for content in (b"nothing", b"\x89HDF\r\n\x1a\n" + bytes(100)):
        (tmp_path / "b.h5").write_bytes(content)
        with pytest.raises(ValueError, match=r"b\.h5 cannot be read as HDF5.*TIFF, OME-Zarr"):
            nx.read(tmp_path / "b.h5")
    with pytest.raises(ValueError, match="no dataset of numbers"):
        nx.read(hdf5(tmp_path / "c.h5", words=np.array([b"x"])))


def test_hdf5_that_is_replaced_while_it_is_read(tmp_path):
    volume = nx.read(hdf5(tmp_path / "a.h5", data=STACK))
    hdf5(tmp_path / "a.h5", data=STACK[:3])
    with pytest.raises(OSError, match=r"a\.h5 was replaced while it was read"):
        nx.adjust_gamma(volume.data, 0.5, in_range=(0, 9)).compute()


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [
        ((20, 30), "uint8", "YX"),
        ((20, 30), "uint16", "YX"),
        ((20, 30, 3), "uint16", "YXS"),
        ((9, 8, 4), "uint8", "YXS"),
        ((9, 8, 2), "uint8", "CYX"),
    ],
)
def test_png(shape, dtype, axes, tmp_path, capsys):
    data = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(data))
    volume = nx.read(path)
    assert (volume.axes, volume.unit, volume.data.dtype) == (axes, None, dtype)
    np.testing.assert_array_equal(volume.data, np.moveaxis(data, 2, 0) if axes == "CYX" else data)
    assert main(["info", str(path)]) == 0
    assert "?" in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"a\.png cannot be read as PNG.*TIFF, OME-Zarr"):
        nx.read(path)


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.czi", "bioio-czi"), ("b.nd2", "bioio-nd2"), ("c.LIF", "bioio-lif"), ("d.nii.gz", "bioio-bioformats")],
)
def test_what_is_missing_is_named(name, package, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(ImportError, match=rf"{name} needs bioio and its reader: pip install bioio {package}\."):
        nx.read(tmp_path / name)
    assert main(["info", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "TIFF, OME-Zarr, HDF5 and PNG are read without" in said
    with pytest.raises(ValueError, match=rf"{name} is no TIFF\. nx\.read reads it"):
        nx.read_tiff(tmp_path / name)


class Size:
    Z, Y, X = 2.0, 0.5, 0.25


class BioImage:
    """What bioio gives of a file: all axes, and scenes."""

    def __init__(self, path):
        if path.suffix != ".nd2":
            raise Unsupported
        self.scenes, self.scene = ("first", "second"), 0
        self.physical_pixel_sizes, self.channel_names, self.time_interval = Size, ["DAPI", "GFP"], None
        self.dims = types.SimpleNamespace(order="TCZYX")

    def set_scene(self, number):
        self.scene = number

    @property
    def dask_data(self):
        return da.from_array(np.stack([STACK, STACK + 1])[None] + np.uint16(10 * self.scene))


class Unsupported(Exception):
    pass


def test_bioio_reads_where_it_is(tmp_path, monkeypatch):
    exceptions = types.SimpleNamespace(UnsupportedFileFormatError=Unsupported)
    monkeypatch.setitem(sys.modules, "bioio", types.SimpleNamespace(BioImage=BioImage))
    monkeypatch.setitem(sys.modules, "bioio_base", types.SimpleNamespace(exceptions=exceptions))
    monkeypatch.setitem(sys.modules, "bioio_base.exceptions", exceptions)
    for name in ("a.nd2", "b.czi"):
        (tmp_path / name).write_bytes(b"")
    volume = nx.read(tmp_path / "a.nd2", series=1)
    assert (volume.axes, volume.scale, volume.unit) == ("CZYX", (1.0, 2.0, 0.5, 0.25), "um")
    assert (volume.channels, volume.images, volume.others) == (("DAPI", "GFP"), ("first", "second"), ["first"])
    np.testing.assert_array_equal(volume.data[1].compute(), STACK + 11)
    with pytest.raises(ImportError, match="pip install bioio bioio-czi"):
        nx.read(tmp_path / "b.czi")


def test_a_folder_that_is_no_store(tmp_path, capsys):
    nx.write_tiff(STACK, tmp_path / "a.tif")
    assert main(["info", str(tmp_path)]) == 2
    assert "is a folder, but no zarr store. Give a file in it, such as a.tif." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "stripped"),
    [
        ("a.ome.tif", "a"),
        ("2024.01.15 x.TIFF", "2024.01.15 x"),
        ("v.zarr", "v"),
        ("b.ome.zarr", "b"),
        ("c.h5", "c"),
        ("d.nii.gz", "d"),
        ("e.companion.ome", "e"),
        ("plain", "plain"),
        (".tif", ".tif"),
    ],
)
def test_names_keep_all_but_their_ending(name, stripped, tmp_path):
    assert stem(tmp_path / name) == stripped


# --- files that lie ---------------------------------------------------------------------


def store(path, shape=(4, 32, 40), chunks=(2, 16, 40), **options):
    options = {"compressors": None, **options}
    array = zarr.create_array(path, shape=shape, chunks=chunks, dtype="uint16", **options)
    array[...] = np.arange(np.prod(shape)).reshape(shape)
    return path


def edited(path, **changes):
    """A store whose metadata say something else."""
    plain = json.loads((path / "zarr.json").read_text())
    for name, value in changes.items():
        at = plain
        *way, last = name.split("__")
        for each in way:
            at = at[each]
        at[last] = value
    (path / "zarr.json").write_text(json.dumps(plain))
    return path


LIES = {
    "many chunks": {"shape": [10**6, 10**6, 10**6], "chunk_grid__configuration__chunk_shape": [1, 1, 1]},
    "large": {"shape": [10**9, 10**9, 10**9]},
    "no chunks": {"chunk_grid__configuration__chunk_shape": [0, 0, 0]},
    "fewer chunks": {"chunk_grid__configuration__chunk_shape": [2, 16]},
    "one large chunk": {"shape": [10**4] * 3, "chunk_grid__configuration__chunk_shape": [10**4] * 3},
    "a text for a shape": {"shape": "large"},
    "a text for a table": {"chunk_grid": "regular"},
    "numbers for codecs": {"codecs": [1, 2]},
    "no such dtype": {"data_type": "uint17"},
    "negative": {"shape": [-4, 32, 40]},
    "deep": {"attributes": json.loads("[" * 400 + "]" * 400)},
    "names of numbers": {"dimension_names": [1, 2, 3]},
}


@pytest.mark.parametrize("case", LIES)
def test_metadata_that_lie_are_a_sentence(case, tmp_path, capsys):
    path = edited(store(tmp_path / "a.zarr"), **LIES[case])
    start = time.process_time()
    assert main(["info", str(path)]) in (0, 2)
    # nothing is looped over or allocated; the rest is what reading a store takes
    assert time.process_time() - start < 5
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if case not in ("deep", "names of numbers"):
        assert said.err.startswith("napari-exposure: a.zarr")
        assert len(said.err) < 600


def test_multiscales_that_lie_are_a_sentence(tmp_path, capsys):
    for number, image in enumerate(
        ("text", [], ["text"], [{"datasets": "0"}], [{"datasets": [{"path": "../../secret"}]}], [{"datasets": [{}]}])
    ):
        path = tmp_path / f"{number}.zarr"
        group = zarr.open_group(path, mode="w")
        group.create_array("0", shape=(4, 5, 6), dtype="u1")
        group.attrs["ome"] = {"version": "0.5", "multiscales": image}
        assert main(["info", str(path)]) == 2
        assert capsys.readouterr().err.startswith(f"napari-exposure: {number}.zarr cannot be read as OME-Zarr")


def inflated(kind, size):
    """Zeros packed as a chunk has them."""
    if kind in ("gzip", "zlib"):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31 if kind == "gzip" else 15)
        return packer.compress(bytes(size)) + packer.flush()
    codecs = {"zstd": numcodecs.Zstd, "blosc": numcodecs.Blosc, "bz2": numcodecs.BZ2, "lz4": numcodecs.LZ4}
    return lzma.compress(bytes(size)) if kind == "lzma" else codecs[kind]().encode(bytes(size))


def bomb(kind, tmp_path):
    path = tmp_path / "a.zarr"
    three = {"gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec, "blosc": zarr.codecs.BloscCodec}
    two = {"zlib": numcodecs.Zlib, "lzma": numcodecs.LZMA, "bz2": numcodecs.BZ2, "lz4": numcodecs.LZ4}
    if kind == "sharded":
        store(path, shards=(4, 32, 40), compressors=three["zstd"]())
        packed = inflated("zstd", 1 << 24)
        index = np.array([(0, len(packed))] * 4, "<u8").tobytes()
        (path / "c" / "0" / "0" / "0").write_bytes(packed + index + google_crc32c.value(index).to_bytes(4, "little"))
        return path
    if kind in three:
        store(path, compressors=three[kind]())
    else:
        store(path, zarr_format=2, compressors=two[kind]())
    for folder, _, names in os.walk(path):
        for name in names:
            if not name.startswith(".") and not name.endswith(".json"):
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(inflated(kind, 1 << 24))
    return path


@pytest.mark.parametrize("kind", ["gzip", "zstd", "blosc", "zlib", "lzma", "bz2", "lz4", "sharded"])
def test_a_chunk_that_unpacks_to_more_than_a_chunk_is_refused(kind, tmp_path, monkeypatch):
    path = bomb(kind, tmp_path)
    with pytest.raises(OSError, match="unpacks to more than 2560 bytes, a chunk's"):
        nx.histogram(nx.read(path).data)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "blosc", None])
@pytest.mark.parametrize("sharded", [False, True])
def test_honest_chunks_are_read(kind, sharded, tmp_path):
    codecs = {"gzip": zarr.codecs.GzipCodec, "zstd": zarr.codecs.ZstdCodec, "blosc": zarr.codecs.BloscCodec}
    shards = {"shards": (4, 32, 40)} if sharded else {}
    path = store(tmp_path / "a.zarr", compressors=None if kind is None else codecs[kind](), **shards)
    expected = np.arange(4 * 32 * 40).reshape(4, 32, 40)
    found = nx.read(path).data
    np.testing.assert_array_equal(found.compute(), expected)
    np.testing.assert_array_equal(found[1:2, 3:9].compute(), expected[1:2, 3:9])


@pytest.mark.parametrize(
    "options", [{}, {"shuffle": True}, {"fletcher32": True}, {"shuffle": True, "fletcher32": True}]
)
def test_a_chunk_of_hdf5_that_unpacks_to_more_than_a_chunk_is_refused(options, tmp_path):
    shape, chunks = (5, 32, 41), (2, 16, 16)
    expected = np.arange(math.prod(shape), dtype="u2").reshape(shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        found = file.create_dataset("a", shape, "u2", chunks=chunks, compression="gzip", **options)
        found[:, :, :32] = expected[:, :, :32]
    expected[:, :, 32:] = 0
    data = nx.read(tmp_path / "a.h5").data
    np.testing.assert_array_equal(data.compute(), expected)
    np.testing.assert_array_equal(data[1, 3::5, 7:20].compute(), expected[1, 3::5, 7:20])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        packed = inflated("zlib", 1 << 24)
        file["a"].id.write_direct_chunk((2, 16, 0), packed + (bytes(4) if "fletcher32" in options else b""))
    assert data[:2].compute().sum() == expected[:2].sum()
    with pytest.raises(OSError, match=r"chunk at \(2, 16, 0\) of a in a\.h5 unpacks to more than 1024 bytes"):
        nx.histogram(data)


@pytest.mark.parametrize("size", [100, 300, 70_000, 1 << 20, (1 << 24) + 3])
def test_what_zstd_says_of_its_size(size):
    data = np.random.default_rng(0).integers(0, 3, size, dtype=np.uint8).tobytes()
    packed = imagecodecs.zstd_encode(data)
    assert unpacked._of_zstd(memoryview(packed)) == size
    # A stream does not say how much it holds: the same blocks under another header.
    flags = packed[4]
    said = 4 + 1 + (not flags >> 5 & 1) + ((flags >> 5 & 1), 2, 4, 8)[flags >> 6]
    stream = packed[:4] + bytes([flags & 0x1F & ~3 | flags & 4, 0x58]) + packed[said:]
    assert size <= unpacked._of_zstd(memoryview(stream)) + (1 << 17) * (size > 128)


def test_chunks_outside_of_the_store_are_not_read(tmp_path):
    other = store(tmp_path / "other.zarr")
    path = store(tmp_path / "a.zarr")
    shutil.rmtree(path / "c")
    (path / "c").symlink_to(other / "c")
    with pytest.raises(OSError, match=r"leads out of the store, to .*other\.zarr"):
        nx.histogram(nx.read(path).data)
    # a link to a store is one
    (tmp_path / "link.zarr").symlink_to(other)
    assert nx.histogram(nx.read(tmp_path / "link.zarr").data).total == 4 * 32 * 40


def test_missing_chunks_are_fill_values_and_counted(tmp_path, capsys):
    path = store(tmp_path / "a.zarr", fill_value=7)
    shutil.rmtree(path / "c" / "1")
    volume = nx.read(path)
    assert volume.missing == 2
    assert (volume.data[2:].compute() == 7).all()
    assert main(["info", str(path)]) == 0
    assert "missing      2 chunks of the store, which read as its fill value" in capsys.readouterr().out
    for array in (zarr.open(path), da.from_zarr(path) + 1, nx.adjust_gamma(volume.data, 0.5)):
        assert blocks.missing_chunks(array) == 2
    assert blocks.missing_chunks(STACK) == blocks.missing_chunks(da.from_array(STACK)) == 0
    assert nx.read(store(tmp_path / "b.zarr")).missing == 0


@pytest.mark.parametrize("what", ["removed", "replaced"])
def test_a_store_that_vanishes_is_no_fill_values(what, tmp_path):
    path = store(tmp_path / "a.zarr")
    lazy = nx.adjust_gamma(nx.read(path).data, 0.5, in_range=(0, 9))
    shutil.rmtree(path)
    if what == "replaced":
        store(path)
    with pytest.raises(OSError, match=r"a\.zarr was removed or replaced while it was read"):
        lazy.compute()


# --- files that are cut off or changed while they are read ------------------------------


@pytest.mark.parametrize("what", ["cut off", "overwritten", "replaced", "removed"])
def test_a_tiff_that_changes_is_an_error(what, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK)
    volume = nx.read(path, lazy=True)
    lazy = nx.adjust_gamma(volume.data, 0.5, in_range=(0, 9))
    if what == "cut off":
        os.truncate(path, path.stat().st_size // 2)
    elif what == "overwritten":
        with path.open("r+b") as file:
            file.seek(-9, os.SEEK_END)
            file.write(b"otherdata")
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
        if what == "replaced":
            tifffile.imwrite(path, STACK[::-1])
            os.utime(path, ns=(1, 1))
    words = "cut off" if what == "cut off" else "No such file" if what == "removed" else "changed or replaced"
    for ask in (lazy.compute, lambda: nx.histogram(volume.data)):
        with pytest.raises(OSError, match=words):
            ask()


def test_a_map_of_a_file_that_is_cut_off_is_an_error(tmp_path):
    path = tmp_path / "a.raw"
    np.repeat(STACK, 40, 0).tofile(path)
    mapped = np.memmap(path, np.uint16, "r", shape=(240, 20, 24))
    views = mapped, mapped[::2, ::-1], np.asarray(mapped)[100:], core.as_dask(mapped)
    expected = [core.histogram(np.array(view)).total for view in views]
    assert [core.histogram(view).total for view in views] == expected
    os.truncate(path, 4096)
    for view in views:
        with pytest.raises(OSError, match=r"a\.raw is cut off: it has 4096 bytes"):
            core.histogram(view)
        with pytest.raises(OSError, match="cut off"):
            np.asarray(core.adjust_gamma(view, 0.5, in_range=(0, 9)))
    # what is left can be read
    assert core.histogram(mapped[:4]).total == 4 * 20 * 24


INDICES = [
    np.s_[...],
    np.s_[2],
    np.s_[1:4, 3:17:2, ::5],
    np.s_[:, 4],
    np.s_[..., 7],
    np.s_[-1, ::-3, -2:],
    np.s_[3:3],
    np.s_[2, 3, 4],
]


@pytest.mark.parametrize("dtype", [">u2", "<f8", "u1"])
@pytest.mark.parametrize("index", INDICES, ids=str)
def test_parts_of_a_file(index, dtype, tmp_path):
    data = STACK.astype(dtype)
    (tmp_path / "a.raw").write_bytes(b"header!" + data.tobytes())
    found = FlatFile(tmp_path / "a.raw", np.dtype(dtype), 7, STACK.shape)[index]
    np.testing.assert_array_equal(found, data[index])
    assert found.dtype == dtype


# --- files that are too large -----------------------------------------------------------


def test_what_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 64, 64), np.uint16), compression="zlib")
    free = types.SimpleNamespace(available=100_000)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    with pytest.raises(ValueError, match=r"a\.tif holds .* fit into memory now\. Read it as it is looked at"):
        nx.read(tmp_path / "a.tif")
    assert nx.histogram(nx.read(tmp_path / "a.tif", lazy=True).data).total == 40 * 64 * 64
    free.available = 10_000
    with pytest.raises(ValueError, match="stored in parts of"):
        nx.read(tmp_path / "a.tif", lazy=True)
    with pytest.raises(ValueError, match="stored in parts of"):
        nx.read(store(tmp_path / "a.zarr", chunks=(4, 32, 40)))
    # a chunk is unpacked whole, also where it goes on beyond the array
    store(tmp_path / "b.zarr", chunks=(1, 8, 9))
    free.available = 100_000
    nx.read(tmp_path / "b.zarr")
    metadata = json.loads((tmp_path / "b.zarr" / "zarr.json").read_text())
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = [4, 800, 900]
    (tmp_path / "b.zarr" / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="stored in parts of 4 x 800 x 900"):
        nx.read(tmp_path / "b.zarr")


@pytest.mark.parametrize(("dtype", "real"), [("complex64", "float32"), ("complex128", "float64")])
def test_complex_numbers_of_hdf5_become_magnitudes(dtype, real, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = np.arange(60).reshape(3, 4, 5).astype(dtype) * (3 + 4j)
    found = nx.read(tmp_path / "a.h5", dtype=real).data
    assert found.dtype == real
    np.testing.assert_array_equal(found, 5 * np.arange(60).reshape(3, 4, 5))
    if real == "float64":
        with pytest.raises(TypeError, match=r"holds complex128 values.* Give dtype='float64'"):
            nx.read(tmp_path / "a.h5", dtype="float32")

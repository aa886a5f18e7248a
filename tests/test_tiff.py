"""Voxel size out of TIFF files, as ImageJ and OME write it."""

import io
import json
import os
import struct
import threading
import time

import numpy as np
import pytest
import tifffile

from napari_exposure import tiff
from napari_exposure.saving import write_tiff
from napari_exposure.tiff import read_tiff

STACK = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)


@pytest.mark.parametrize("unit", ["um", "micron", "µm", "\\u00B5m"])
def test_imagej_stack(tmp_path, unit):
    path = tmp_path / "stack.tif"
    # ImageJ writes the micro sign as an escape; tifffile takes ASCII only
    written = unit.replace("µ", "\\u00B5")
    tifffile.imwrite(
        path, STACK, imagej=True, resolution=(4, 2), metadata={"axes": "ZYX", "spacing": 1.5, "unit": written}
    )
    volume = read_tiff(path)
    np.testing.assert_array_equal(volume.data, STACK)
    assert volume.axes == "ZYX"
    assert volume.scale == pytest.approx((1.5, 0.5, 0.25))
    assert volume.unit == "um"


def test_ome_stack(tmp_path):
    path = tmp_path / "stack.ome.tif"
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 0.3, "PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX", **sizes})
    volume = read_tiff(path)
    assert volume.scale == (2.0, 0.3, 0.3)
    assert volume.unit == "um"


def test_plain_stack_has_no_unit(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack")
    volume = read_tiff(path)
    assert volume.scale == (1, 1, 1)
    assert volume.unit is None
    assert volume.axes == "ZYX"


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.tif"):
        read_tiff(tmp_path / "missing.tif")
    path = tmp_path / "text.tif"
    path.write_text("no image")
    with pytest.raises(ValueError, match="not a TIFF file"):
        read_tiff(path)


def test_channels_come_before_space(tmp_path):
    # ImageJ keeps them inside the planes
    path = tmp_path / "stack.tif"
    data = np.arange(120, dtype=np.uint16).reshape(3, 2, 4, 5)
    tifffile.imwrite(path, data, imagej=True, resolution=(4, 4), metadata={"axes": "ZCYX", "spacing": 2, "unit": "um"})
    volume = read_tiff(path)
    assert volume.axes == "CZYX"
    np.testing.assert_array_equal(volume.data, data.transpose(1, 0, 2, 3))
    assert volume.scale == (1, 2, 0.25, 0.25)


def test_colour_has_no_scale_along_its_samples(tmp_path):
    path = tmp_path / "colour.tif"
    data = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    tifffile.imwrite(path, data, photometric="rgb")
    volume = read_tiff(path)
    assert volume.axes == "YXS"
    assert volume.scale == (1, 1)


def test_units_are_made_one(tmp_path):
    path = tmp_path / "stack.ome.tif"
    sizes = {"PhysicalSizeZ": 2.0, "PhysicalSizeZUnit": "µm"}
    sizes |= {f"PhysicalSize{axis}": 260.0 for axis in "YX"} | {f"PhysicalSize{axis}Unit": "nm" for axis in "YX"}
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX", **sizes})
    volume = read_tiff(path)
    assert volume.unit == "nm"
    assert volume.scale == pytest.approx((2000, 260, 260))


@pytest.mark.parametrize("unit", ["pixel", "foo", ""])
def test_what_is_no_length_is_no_unit(tmp_path, unit):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX", "unit": unit})
    assert read_tiff(path).unit is None


def test_files_say_where_sizes_come_from(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", resolution=(2e4, 1e4), resolutionunit="CENTIMETER")
    volume = read_tiff(path)
    assert volume.scale == pytest.approx((1, 1, 0.5))
    assert volume.unit == "um"
    assert volume.came_from == {"Y": "YResolution", "X": "XResolution", "unit": "ResolutionUnit"}
    # what printers have says nothing
    tifffile.imwrite(path, STACK, photometric="minisblack", resolution=(72, 72), resolutionunit="INCH")
    assert read_tiff(path).unit is None
    assert read_tiff(path).scale == (1, 1, 1)


def test_resolution_without_a_unit(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, imagej=True, resolution=(4, 4), metadata={"axes": "ZYX", "spacing": 2.0})
    volume = read_tiff(path)
    assert volume.scale == (2, 0.25, 0.25)
    assert volume.unit is None


def test_channels_become_layers_with_names_and_colours(tmp_path):
    path = tmp_path / "stack.ome.tif"
    data = np.arange(120, dtype=np.uint16).reshape(2, 3, 4, 5)
    channels = {"Name": ["DAPI", "GFP"], "Color": [0x0000FFFF, 0x00FF00FF]}
    metadata = {"axes": "CZYX", "PhysicalSizeZ": 2, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "Channel": channels}
    tifffile.imwrite(path, data, photometric="minisblack", metadata=metadata)
    volume = read_tiff(path)
    assert volume.channels == ("DAPI", "GFP")
    assert volume.colors == ("#0000ff", "#00ff00")
    from napari.layers import Layer

    layers = [Layer.create(*each) for each in volume.layers()]
    assert [layer.name for layer in layers] == ["stack - DAPI", "stack - GFP"]
    for layer, channel in zip(layers, data, strict=True):
        np.testing.assert_array_equal(layer.data, channel)
        assert tuple(layer.scale) == (2, 0.5, 0.5)
        assert str(layer.units[0]) == "micrometer"
    np.testing.assert_allclose(layers[1].colormap.map([1.0])[0], (0, 1, 0, 1))


def test_time_has_seconds(tmp_path):
    path = tmp_path / "stack.tif"
    metadata = {"axes": "TYX", "finterval": 2.5, "unit": "um"}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(4, 4), metadata=metadata)
    volume = read_tiff(path)
    assert volume.scale == (2.5, 0.25, 0.25)
    assert volume.units == ("s", "um", "um")


DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"]
SHAPES = {
    "yx": (4, 5),
    "zyx": (3, 4, 5),
    "tyx": (3, 4, 5),
    "cyx": (2, 4, 5),
    "tzyx": (2, 3, 4, 5),
    "tczyx": (2, 2, 3, 4, 5),
}


@pytest.mark.parametrize("imagej", [False, True], ids=["OME", "ImageJ"])
@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_written_comes_back(dtype, axes, imagej, tmp_path):
    if imagej and dtype not in ("uint8", "uint16", "float32"):
        with pytest.raises(TypeError, match=rf"ImageJ's TIFF has no {dtype}, only uint8, uint16, float32"):
            write_tiff(np.zeros((4, 5), dtype), tmp_path / "a.tif", imagej=True)
        return
    data = (np.random.default_rng(0).normal(size=SHAPES[axes]) * 50).astype(dtype)
    sizes = {"z": 2.0, "y": 0.5, "x": 0.25}
    spacing = [sizes.get(axis, 1.0) for axis in axes]
    for unit in ("um", "nm", None):
        path = write_tiff(
            data, tmp_path / "a.tif", spacing=spacing, unit=unit, axes=axes, imagej=imagej, overwrite=True
        )
        found = read_tiff(path)
        kept = [axis for axis in axes if axis in found.axes.lower()]
        assert "".join(kept).upper() == found.axes == axes.upper()
        assert found.data.dtype.newbyteorder("=") == data.dtype
        np.testing.assert_array_equal(found.data, data)
        assert found.scale == pytest.approx(spacing)
        assert found.unit == unit
        with tifffile.TiffFile(path) as file:
            assert file.is_imagej == imagej
            assert file.is_ome != imagej


@pytest.mark.parametrize("samples", [3, 4])
@pytest.mark.parametrize("axes", SHAPES)
@pytest.mark.parametrize(("dtype", "imagej"), [*((dtype, False) for dtype in DTYPES), ("uint8", True)])
def test_colour_that_is_written_comes_back(dtype, axes, samples, imagej, tmp_path):
    data = (np.random.default_rng(0).normal(size=(*SHAPES[axes], samples)) * 50).astype(dtype)
    spacing = [{"z": 2.0, "y": 0.5, "x": 0.25}.get(axis, 1.0) for axis in axes]
    path = write_tiff(data, tmp_path / "a.tif", spacing=spacing, unit="um", axes=f"{axes}s", imagej=imagej)
    found = read_tiff(path)
    assert found.axes == f"{axes.upper()}S"
    assert found.data.dtype.newbyteorder("=") == data.dtype
    np.testing.assert_array_equal(found.data, data)
    assert found.scale == pytest.approx(spacing)
    assert found.unit == "um"
    assert all(options["rgb"] for _, options, _ in found.layers())
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        assert (file.is_imagej, file.is_ome) == (imagej, not imagej)
        assert page.photometric == tifffile.PHOTOMETRIC.RGB
        assert page.planarconfig == tifffile.PLANARCONFIG.CONTIG
        assert page.extrasamples == (tifffile.EXTRASAMPLE.UNASSALPHA,) * (samples - 3)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_colours_that_imagej_does_not_have_are_channels(dtype, tmp_path):
    data = np.arange(360, dtype=dtype).reshape(2, 3, 4, 5, 3)
    options = {"spacing": (2, 0.5, 0.25), "unit": "um", "imagej": True}
    found = read_tiff(write_tiff(data, tmp_path / "a.tif", axes="tzyxs", **options))
    assert found.axes == "TCZYX"
    np.testing.assert_array_equal(found.data, np.moveaxis(data, -1, 1))
    assert found.scale == (1, 1, 2, 0.5, 0.25)


def test_colour_has_three_or_four_samples(tmp_path):
    with pytest.raises(ValueError, match=r"The axis s \(colour\) must have 3 or 4 samples, got 'yxs'"):
        write_tiff(np.zeros((4, 5, 2), np.uint8), tmp_path / "a.tif", axes="yxs")
    with pytest.raises(ValueError, match="spacing must be up to 2 positive numbers"):
        write_tiff(np.zeros((4, 5, 3), np.uint8), tmp_path / "a.tif", axes="yxs", spacing=(1, 1, 1))


def test_fiji_finds_its_fields(tmp_path):
    path = write_tiff(STACK, tmp_path / "a.tif", spacing=(2, 0.5, 0.25), unit="um", imagej=True)
    with tifffile.TiffFile(path) as file:
        assert file.imagej_metadata["unit"] == "um"
        assert file.imagej_metadata["spacing"] == 2
        assert file.imagej_metadata["slices"] == 3
        x, y = (file.pages[0].tags[f"{axis}Resolution"].value for axis in "XY")
        assert (x[0] / x[1], y[0] / y[1]) == (4, 2)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"ome": True, "metadata": {"axes": "ZYX"}, "compression": "zlib"},
        {},
        {"metadata": None},
        {"compression": "zlib"},
    ],
)
def test_a_file_that_was_cut_off_is_no_smaller_volume(options, share, tmp_path):
    path = tmp_path / "whole.tif"
    volume = np.random.default_rng(0).integers(0, 60_000, (8, 40, 50)).astype(np.uint16)
    tifffile.imwrite(path, volume, photometric="minisblack", **options)
    np.testing.assert_array_equal(read_tiff(path).data, volume)
    cut = tmp_path / "cut.tif"
    cut.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"cut\.tif cannot be read as TIFF"):
        read_tiff(cut)


def test_lazy_data_are_the_same(tmp_path):
    for options in ({}, {"compression": "zlib"}, {"byteorder": ">"}):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, STACK, photometric="minisblack", **options)
        found = read_tiff(path, lazy=True)
        assert not isinstance(found.data, np.ndarray) or isinstance(found.data, np.memmap)
        np.testing.assert_array_equal(np.asarray(found.data), STACK)


def damaged(number):
    """A file with some of its bytes changed, or its end missing; the same for the same number."""
    rng = np.random.default_rng(number)
    file = io.BytesIO()
    kind = number % 4
    if kind == 0:
        tifffile.imwrite(
            file, STACK, imagej=True, resolution=(4, 4), metadata={"axes": "ZYX", "spacing": 2, "unit": "um"}
        )
    elif kind == 1:
        tifffile.imwrite(file, STACK, ome=True, metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    else:
        tifffile.imwrite(
            file, STACK, photometric="minisblack", compression="zlib" if kind == 2 else None, bigtiff=kind == 3
        )
    data = bytearray(file.getvalue())
    if rng.random() < 0.3:
        return bytes(data[: rng.integers(0, len(data))])
    # headers, tags and XML lie in front, more tags at the end
    ends = np.r_[0 : min(300, len(data)), max(0, len(data) - 300) : len(data)]
    for at in rng.choice(ends, rng.integers(1, 12)):
        data[at] = rng.integers(0, 256)
    return bytes(data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(4))
def test_damaged_files_end_in_a_sentence(part, tmp_path, caplog):
    # NAPARI_EXPOSURE_FUZZ=1000 looks at more
    count = int(os.environ.get("NAPARI_EXPOSURE_FUZZ", "200")) // 4
    right = 0
    for number in range(part * count, (part + 1) * count):
        path = tmp_path / f"{number}.tif"
        path.write_bytes(damaged(number))
        start = time.monotonic()
        try:
            found = read_tiff(path)
        except ValueError as error:
            if not str(error).startswith(path.name):
                raise
        else:
            assert found.data.ndim == len(found.axes), number
            assert len(found.scale) == len(found.axes.rstrip("S")), number
            assert all(0 < size < np.inf for size in found.scale), number
            right += 1
        assert time.monotonic() - start < 10, number
    assert 0 < right < count


# --- other files ------------------------------------------------------------------------

OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{uuid}><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZTC" Type="uint8" SizeX="9" SizeY="8" SizeZ="{size}" SizeC="1" '
    'SizeT="1" PhysicalSizeZ="2"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
)
PLANE = '<TiffData FirstZ="{number}" IFD="0" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{number}</UUID></TiffData>'


def write_set(folder, *names, own="a0.ome.tif", value=1, uuid=True):
    """An OME-TIFF of one plane that names itself and others as its planes."""
    folder.mkdir(exist_ok=True)
    planes = "".join(PLANE.format(number=number, name=name) for number, name in enumerate(names))
    xml = OME.format(size=len(names), planes=planes, uuid=' UUID="urn:uuid:0"' if uuid else "")
    data = np.full((8, 9), value, np.uint8)
    tifffile.imwrite(folder / own, data, photometric="minisblack", description=xml, metadata=None)
    return folder / own


def plane(path, value=77):
    path.parent.mkdir(exist_ok=True)
    tifffile.imwrite(path, np.full((8, 9), value, np.uint8), photometric="minisblack")
    return path


@pytest.mark.parametrize("before", ["", "/data/microscope/", "C:\\Users\\lab\\", "../", "moved/"])
@pytest.mark.parametrize("lazy", [False, True])
def test_files_beside_are_read_whatever_folder_they_were_in(before, lazy, tmp_path):
    names = [f"{before}a{number}.ome.tif" for number in range(3)]
    path = write_set(tmp_path / "in", *names, value=10)
    for number in (1, 2):
        plane(tmp_path / "in" / f"a{number}.ome.tif", 10 * (number + 1))
    found = read_tiff(path, lazy=lazy)
    assert found.axes == "ZYX"
    assert np.asarray(found.data)[:, 0, 0].tolist() == [10, 20, 30]
    assert found.scale[0] == 2
    # through links to all of them
    (tmp_path / "links").mkdir()
    for each in (tmp_path / "in").iterdir():
        (tmp_path / "links" / each.name).symlink_to(each)
    np.testing.assert_array_equal(read_tiff(tmp_path / "links" / path.name).data, found.data)


def strangers(folder):
    """Names of what is no file in the folder, though it is there."""
    private = plane(folder / "private" / "p.tif")
    (folder / "in").mkdir()
    plane(folder / "in" / "deeper" / "d.tif")
    os.mkfifo(folder / "private" / "pipe")
    os.mkfifo(folder / "in" / "pipe.tif")
    (folder / "in" / "link.tif").symlink_to(private)
    (folder / "in" / "zero.tif").symlink_to("/dev/zero")
    inside = ("deeper/d.tif", "./deeper/d.tif", "pipe.tif", "link.tif", "zero.tif", ".", "..", "")
    return [str(private), "../private/p.tif", "../private/pipe", str(folder / "private" / "pipe"), "/dev/zero", *inside]


@pytest.mark.parametrize("own", [True, False], ids=["with planes of its own", "without"])
def test_no_files_of_other_folders_are_read(own, tmp_path):
    for name in strangers(tmp_path):
        path = write_set(tmp_path / "in", *(["a0.ome.tif"] if own else []), name, uuid=own)
        if own:
            with pytest.raises(ValueError, match=r"a0\.ome\.tif cannot be read.*planes of it lie in other files"):
                read_tiff(path)
        else:
            # What lies elsewhere is not asked for; this file holds a plane.
            assert np.asarray(read_tiff(path).data).max() == 1


def test_a_file_that_was_renamed_is_read(tmp_path):
    for name in ("old.ome.tif", "/data/old.ome.tif", "D:\\old.ome.tif"):
        path = write_set(tmp_path / "in", name, own="new.ome.tif", uuid=False)
        assert np.asarray(read_tiff(path).data).max() == 1


def test_planes_in_a_file_that_was_not_copied_are_no_zeros(tmp_path):
    path = write_set(tmp_path / "in", "a0.ome.tif", "a1.ome.tif")
    with pytest.raises(ValueError, match=r"planes of it lie in other files, which are not in its folder: a1\.ome\.tif"):
        read_tiff(path)


def micromanager(path, *names):
    """A plane as Micro-Manager writes it, and the index that names the files of all planes."""
    tags = ((256, 4, 1, 9), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200))
    tags = (*tags, (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 72), (51123, 2, 8, 190))
    page = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    head = struct.pack("<2sHI", b"II", 42, 32) + struct.pack("<IIII", 483729, 2, 2355492, 2) + b"{}"
    path.write_bytes((head.ljust(32, b"\0") + page).ljust(190, b"\0") + b"{}".ljust(10, b"\0") + bytes([1] * 72))
    entries = b""
    for number, name in enumerate(names):
        for text in (json.dumps({"z": number}).encode(), name.encode()):
            entries += struct.pack("<I", len(text)) + text
        entries += struct.pack("<8I", 200, 9, 8, 0, 0, 0, 0, 0)
    path.with_name("NDTiff.index").write_bytes(entries)


def test_an_index_names_only_files_beside_it(tmp_path):
    names = strangers(tmp_path)
    path = tmp_path / "in" / "a.tif"
    micromanager(path, "a.tif", "b.tif")
    plane(path.with_name("b.tif"), 2)
    assert np.asarray(read_tiff(path).data)[:, 0, 0].tolist() == [1, 2]
    for name in filter(None, names):
        micromanager(path, "a.tif", name)
        with pytest.raises(ValueError, match=r"a\.tif cannot be read.*it goes on in .*no file in its folder"):
            read_tiff(path)
    path.with_name("NDTiff.index").unlink()
    os.mkfifo(path.with_name("NDTiff.index"))
    with pytest.raises(ValueError, match=r"it goes on in NDTiff\.index"):
        read_tiff(path)


# --- threads ----------------------------------------------------------------------------


def test_a_damaged_file_fails_alone(tmp_path, monkeypatch):
    volume = np.zeros((4, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "good.tif", volume, photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "bad.tif", volume, photometric="minisblack", metadata=None)
    (tmp_path / "bad.tif").write_bytes((tmp_path / "bad.tif").read_bytes()[:-300])
    said = []

    def failing():
        with pytest.raises(ValueError, match=r"bad\.tif cannot be read") as caught:
            read_tiff(tmp_path / "bad.tif")
        said.append(str(caught.value))

    def data(*arguments):
        # The damaged file is read from beginning to end while the good one is.
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=failing)
            thread.start()
            thread.join()
        return read(*arguments)

    read = tiff._data
    monkeypatch.setattr(tiff, "_data", data)
    np.testing.assert_array_equal(read_tiff(tmp_path / "good.tif").data, volume)
    assert len(said) == 1

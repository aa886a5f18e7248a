"""Voxel size out of TIFF files, as ImageJ and OME write it."""

import io
import json
import os
import struct
import sys
import threading
import time

import numpy as np
import pytest
import tifffile

from napari_exposure.io import tiff
from napari_exposure.io.tiff import read_tiff
from napari_exposure.saving import write_tiff

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


@pytest.mark.parametrize("unit", ["inch", "cm"])
@pytest.mark.parametrize("dots", [72, 300, 1000])
def test_sizes_like_the_dots_of_a_printer_come_back_from_imagej(dots, unit, tmp_path):
    spacing = (2 / dots, 1 / dots, 1 / dots)
    path = write_tiff(np.zeros((3, 4, 5), "u1"), tmp_path / "a.tif", spacing=spacing, unit=unit, imagej=True)
    found = read_tiff(path)
    assert found.unit == "um"
    assert found.scale == pytest.approx([size * {"inch": 25400, "cm": 10000}[unit] for size in spacing])


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
    with pytest.raises(ValueError, match=r"The axis s \(color\) must have 3 or 4 samples, got 'yxs'"):
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


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("left", [16, 300])
def test_a_file_whose_first_page_is_missing(bigtiff, left, tmp_path):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", bigtiff=bigtiff)
    whole = bytearray(path.read_bytes())
    at, size = (8, 8) if bigtiff else (4, 4)
    whole[at : at + size] = len(whole).to_bytes(size, sys.byteorder)
    path.write_bytes(whole[:left])
    with pytest.raises(ValueError, match=r"cut\.tif cannot be read as TIFF: it is cut off or damaged: pages"):
        read_tiff(path)


def test_lazy_data_are_the_same(tmp_path):
    for options in ({}, {"compression": "zlib"}, {"byteorder": ">"}):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, STACK, photometric="minisblack", **options)
        found = read_tiff(path, lazy=True)
        assert not isinstance(found.data, np.ndarray)
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


# --- what microscopes write ---------------------------------------------------------------


def text_tag(code, text):
    return (code, 2, 0, text, True)


def described(tmp_path, data=STACK, **options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, photometric="minisblack", metadata=None, **options)
    return read_tiff(path)


PRINTERS = [(72, 2), (72 / 2.54, 3), (96 / 2.54, 3), (118.11, 3), (120, 2), (144, 2), (150, 2), (300, 2), (400, 2)]


@pytest.mark.parametrize(("dots", "unit"), [*PRINTERS, (1200, 2), (2400, 2), (4800 / 2.54, 3), (1, 2), (1, 3), (10, 3)])
def test_dots_of_printers_and_scanners_are_no_voxels(dots, unit, tmp_path):
    found = described(tmp_path, resolution=(dots, dots), resolutionunit=unit)
    assert (found.unit, found.scale, found.came_from) == (None, (1, 1, 1), {})
    # ImageJ takes over the resolution of what it opens, with its unit
    if unit == 2:
        path = tmp_path / "ij.tif"
        tifffile.imwrite(path, STACK, imagej=True, resolution=(dots, dots), metadata={"axes": "ZYX", "unit": "inch"})
        assert read_tiff(path).unit is None


@pytest.mark.parametrize(("size", "unit", "per"), [(0.65, 3, 1e4), (0.1625, 3, 1e4), (5.3, 2, 25_400), (0.002, 3, 1e4)])
def test_plausible_resolutions_are_voxels(size, unit, per, tmp_path):
    found = described(tmp_path, resolution=(per / size, per / size), resolutionunit=unit)
    assert found.unit == "um"
    assert found.scale == pytest.approx((1, size, size), rel=1e-4)
    assert found.units == ("pixel", "um", "um")
    assert found.unsized == "Z"


def test_sem(tmp_path):
    text = "\r\n".join(["", "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 1.079 nm", "AP_WIDTH", "Width = 1.1 µm", ""])
    tag = (34118, 2, 0, text.encode("cp1252"), True)
    found = described(tmp_path, STACK[0], extratags=[tag], resolution=(120, 120), resolutionunit=2)
    assert (found.scale, found.unit) == ((1.079, 1.079), "nm")
    assert found.came_from["X"] == "Zeiss Image Pixel Size"


def test_fei(tmp_path):
    text = "[User]\r\nDate=1\r\n[Scan]\r\nPixelWidth=1.25e-009\r\nPixelHeight=1.5e-009\r\n"
    found = described(tmp_path, STACK[0], extratags=[text_tag(34682, text)], resolution=(72, 72), resolutionunit=2)
    assert (found.scale, found.unit) == ((1.5, 1.25), "nm")


def test_svs(tmp_path):
    path = tmp_path / "a.svs"
    said = "Aperio Image Library v1\r\n|AppMag = 20|MPP = 0.4990"
    with tifffile.TiffWriter(path) as file:
        tile = np.zeros((64, 64, 3), np.uint8)
        file.write(tile, photometric="rgb", tile=(16, 16), description=said, metadata=None)
        file.write(tile[:8, :8], photometric="rgb", description="Aperio", metadata=None)
        file.write(tile[:20, :30], photometric="rgb", description="Aperio\rlabel 9x9", metadata=None, subfiletype=1)
    found = read_tiff(path)
    assert (found.axes, found.scale, found.unit) == ("YXS", (0.499, 0.499), "um")
    assert found.came_from["X"] == "SVS MPP"


def test_metaseries(tmp_path):
    ids = {"spatial-calibration-units": "um", "spatial-calibration-x": 0.32, "spatial-calibration-y": 0.33}
    rows = "".join(
        f'<prop id="{key}" type="{"string" if key.endswith("units") else "float"}" value="{value}"/>'
        for key, value in ids.items()
    )
    xml = f"<MetaData><PlaneInfo>{rows}</PlaneInfo></MetaData>"
    found = described(tmp_path, STACK[0], description=xml, software="MetaSeries")
    assert (found.scale, found.unit) == ((0.33, 0.32), "um")


def test_micromanager_plane(tmp_path):
    found = described(tmp_path, STACK[0], extratags=[text_tag(51123, json.dumps({"PixelSizeUm": 0.1083}))])
    assert (found.scale, found.unit) == ((0.1083, 0.1083), "um")


def test_micromanager_summary(tmp_path):
    path = tmp_path / "a.tif"
    summary = {"PixelSize_um": 0.65, "z-step_um": 1.5, "Interval_ms": 250, "ChNames": ["DAPI"]}
    micromanager(path, "a.tif", "b.tif", summary=summary)
    plane(path.with_name("b.tif"), 2)
    found = read_tiff(path)
    assert (found.axes, found.scale, found.unit) == ("ZYX", (1.5, 0.65, 0.65), "um")
    assert found.came_from["Z"] == "Micro-Manager z-step_um"
    assert found.channels == ("DAPI",)
    # what a folder holds is one volume
    assert tiff.goes_on_in(path) == {path, path.with_name("b.tif")}


def stk(path, planes, *, z=(3, 10), size=(645, 1000), unit=b"um\0", milliseconds=0):
    """A stack as MetaMorph writes it: one page, and tags that point to what it says of all planes."""
    blob, at = b"", 8

    def put(data):
        nonlocal blob
        blob += data
        return at + len(blob) - len(data)

    fraction = put(struct.pack("<2I", *size))
    name = put(struct.pack("<I", len(unit)) + unit)
    uic1 = put(struct.pack("<6I", 4, fraction, 5, fraction, 6, name))
    rows = [struct.pack("<6I", *z, 2459000, 1 + number * milliseconds, 2459000, 1) for number in range(planes)]
    uic2 = put(b"".join(rows))
    pixels = put(bytes(range(72)) * planes)
    tags = ((256, 4, 1, 9), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, pixels))
    tags = (*tags, (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 72), (33628, 4, 3, uic1), (33629, 5, planes, uic2))
    page = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, at + len(blob)) + blob + page)
    return path


def test_stk(tmp_path):
    found = read_tiff(stk(tmp_path / "a.stk", 4))
    assert (found.axes, found.data.shape) == ("ZYX", (4, 8, 9))
    assert (found.scale, found.unit) == ((0.3, 0.645, 0.645), "um")
    assert found.came_from["Z"] == "STK ZDistance"
    # a movie has no distances in z, but times
    found = read_tiff(stk(tmp_path / "b.stk", 4, z=(0, 1), milliseconds=250))
    assert (found.axes, found.scale, found.units) == ("TYX", (0.25, 0.645, 0.645), ("s", "um", "um"))
    # a calibration in pixels is none
    assert read_tiff(stk(tmp_path / "c.stk", 4, size=(1, 1), unit=b"pixel\0")).unit is None


def test_lsm(tmp_path):
    fields = np.zeros((), tifffile.TIFF.CZ_LSMINFO)
    sizes = {"VoxelSizeX": 1e-7, "VoxelSizeY": 1e-7, "VoxelSizeZ": 4.5e-7, "TimeIntervall": 1.5}
    dimensions = {"DimensionX": 16, "DimensionY": 16, "DimensionZ": 3, "DimensionChannels": 1, "DimensionTime": 1}
    for name, value in {**sizes, **dimensions, "MagicNumber": 67127628, "StructureSize": fields.nbytes}.items():
        fields[name] = value
    path = tmp_path / "a.lsm"
    with tifffile.TiffWriter(path, byteorder="<") as file:
        for number in range(3):
            tags = [] if number else [(34412, 1, fields.nbytes, fields.tobytes(), True)]
            plane = np.full((16, 16), number, np.uint8)
            file.write(plane, extratags=tags, photometric="minisblack", contiguous=False, metadata=None)
            file.write(plane[:4, :4], photometric="minisblack", subfiletype=1, contiguous=False, metadata=None)
    found = read_tiff(path)
    assert (found.axes, found.scale, found.unit) == ("ZYX", (0.45, 0.1, 0.1), "um")
    assert found.images == ()


SCANIMAGE = """SI.LINE_FORMAT_VERSION = 1
SI.hChannels.channelSave = {channels}
SI.hFastZ.enable = false
SI.hRoiManager.imagingFovUm = [-10 -8;10 -8;10 8;-10 8]
SI.hRoiManager.scanFramePeriod = 0.033
SI.hRoiManager.scanVolumeRate = 4
SI.hStackManager.enable = {stack}
SI.hStackManager.framesPerSlice = {frames}
SI.hStackManager.numSlices = {slices}
SI.hStackManager.stackZStepSize = 2.5
"""


@pytest.mark.parametrize(
    ("pages", "said", "axes", "shape", "scale"),
    [
        (6, {"channels": 1, "stack": "false", "frames": 1, "slices": 1}, "TYX", (6,), (0.033,)),
        (6, {"channels": 1, "stack": "false", "frames": "Inf", "slices": 30}, "TYX", (6,), (0.033,)),
        (6, {"channels": "[1;2]", "stack": "false", "frames": 3, "slices": 1}, "TCYX", (3, 2), (0.033, 1)),
        (6, {"channels": 1, "stack": "true", "frames": 1, "slices": 6}, "ZYX", (6,), (2.5,)),
        (6, {"channels": 1, "stack": "true", "frames": 1, "slices": 3}, "TZYX", (2, 3), (0.25, 2.5)),
        (6, {"channels": 1, "stack": "true", "frames": 2, "slices": 3}, "TZYX", (2, 3), (0.25, 2.5)),
        (12, {"channels": "[1;2]", "stack": "true", "frames": 1, "slices": 3}, "TCZYX", (2, 2, 3), (0.25, 1, 2.5)),
    ],
)
def test_scanimage(pages, said, axes, shape, scale, tmp_path):
    data = np.zeros((pages, 8, 10), np.int16) + np.arange(pages)[:, None, None]
    data = data.astype(np.int16)
    found = described(tmp_path, data, software=SCANIMAGE.format(**said))
    assert found.axes == axes
    assert found.data.shape == (*shape, 8, 10)
    assert found.scale == (*scale, 2, 2)
    assert found.unit == "um"
    if said["frames"] == 1 and axes == "TZYX":
        assert found.data[:, :, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    if said["frames"] == 2:
        # frames of a slice come one after the other
        assert found.data[:, :, 0, 0].tolist() == [[0, 2, 4], [1, 3, 5]]


def test_scanimage_with_frames_of_the_way_back(tmp_path):
    said = SCANIMAGE.format(channels=1, stack="true", frames=1, slices=3)
    said += "SI.hFastZ.discardFlybackFrames = true\nSI.hFastZ.numDiscardFlybackFrames = 1\n"
    data = np.repeat(np.arange(8, dtype=np.int16), 80).reshape(8, 8, 10)
    found = described(tmp_path, data, software=said)
    assert (found.axes, found.scale, found.guessed) == ("TZYX", (0.25, 2.5, 2, 2), "")
    assert found.data[:, :, 0, 0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    # without these frames the file is as it was
    assert described(tmp_path, data[:6], software=said).data.shape == (2, 3, 8, 10)


# --- units, places, channels ----------------------------------------------------------------

# OME's units of length, in meters
METERS = {"Ym": 1e24, "km": 1e3, "dam": 10, "dm": 0.1, "mm": 1e-3, "µm": 1e-6, "nm": 1e-9, "pm": 1e-12, "ym": 1e-24}
METERS |= {"Mm": 1e6, "Å": 1e-10, "thou": 2.54e-5, "li": 0.0254 / 12, "in": 0.0254, "ft": 0.3048, "mi": 1609.344}
METERS |= {"ua": 149_597_870_700, "ly": 9_460_730_472_580_800, "pt": 0.0254 / 72, "yd": 0.9144}


@pytest.mark.parametrize("unit", METERS)
def test_units_of_ome(unit, tmp_path):
    path = tmp_path / "a.ome.tif"
    sizes = {f"PhysicalSize{axis}": 2.0 for axis in "YX"} | {f"PhysicalSize{axis}Unit": unit for axis in "YX"}
    sizes |= {"PhysicalSizeZ": 2 * METERS[unit], "PhysicalSizeZUnit": "m"}
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX", **sizes})
    found = read_tiff(path)
    # the same size, written in another unit
    assert found.scale[0] == pytest.approx(found.scale[2], rel=1e-9)
    assert found.units[0] == found.units[2] == found.unit
    import pint

    size = pint.get_application_registry().Quantity(found.scale[2], found.unit)
    assert size.to("m").magnitude == pytest.approx(2 * METERS[unit], rel=1e-9)
    again = read_tiff(write_tiff(found, tmp_path / "b.ome.tif"))
    assert (again.scale, again.units) == (found.scale, found.units)


@pytest.mark.parametrize(("unit", "kept"), [("ms", "ms"), ("µs", "us"), ("min", "min"), ("h", "h"), ("d", "d")])
def test_units_of_time(unit, kept, tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": "TYX", "TimeIncrement": 5.0, "TimeIncrementUnit": unit})
    found = read_tiff(path)
    assert (found.scale[0], found.units[0]) == (5, kept)
    for name, imagej in (("b.ome.tif", False), ("b.tif", True)):
        again = read_tiff(write_tiff(found, tmp_path / name, imagej=imagej))
        assert (again.scale, again.units) == (found.scale, found.units)


def test_imagej_time_is_in_its_own_unit(tmp_path):
    for unit, kept in (("min", "min"), ("msec", "ms"), ("sec", "s"), ("hr", "h")):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "TYX", "finterval": 5, "tunit": unit})
        assert (read_tiff(path).scale[0], read_tiff(path).units[0]) == (5, kept)


def test_a_size_that_is_not_said_is_not_written(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, STACK, metadata={"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2})
    found = read_tiff(path)
    assert (found.scale, found.units, found.unsized) == ((1, 0.2, 0.2), ("pixel", "um", "um"), "Z")
    with tifffile.TiffFile(write_tiff(found, tmp_path / "b.ome.tif")) as file:
        assert "PhysicalSizeZ" not in file.ome_metadata
    with tifffile.TiffFile(write_tiff(found, tmp_path / "b.tif", imagej=True)) as file:
        assert "spacing" not in file.imagej_metadata
        assert file.imagej_metadata["unit"] == "um"


def test_names_stay_as_they_are_written(tmp_path):
    path = tmp_path / "a.ome.tif"
    names = ["2024_01_15", "1e3", " ", "<b>&µ"]
    data = np.zeros((4, 4, 5), np.uint8)
    tifffile.imwrite(path, data, photometric="minisblack", metadata={"axes": "CYX", "Channel": {"Name": names}})
    found = read_tiff(path)
    assert found.channels == tuple(names)
    assert read_tiff(write_tiff(found, tmp_path / "b.ome.tif")).channels == tuple(names)


def test_imagej_names_colors_windows_and_origin(tmp_path):
    path = tmp_path / "a.tif"
    data = np.zeros((3, 2, 4, 5), np.uint16)
    ramp = np.arange(256, dtype=np.uint8)
    luts = [np.stack([ramp, 0 * ramp, ramp]), np.stack([0 * ramp, ramp // 2, 0 * ramp])]
    more = {"Labels": ["DAPI", "GFP"] * 3, "Ranges": (10.0, 500.0, 0.0, 99.0), "LUTs": luts, "mode": "composite"}
    place = {"xorigin": 4, "yorigin": -2, "zorigin": 1}
    metadata = {"axes": "ZCYX", "unit": "nm", "spacing": 50, **place, **more}
    tifffile.imwrite(path, data, imagej=True, resolution=(0.1, 0.1), metadata=metadata)
    found = read_tiff(path)
    for each in (found, read_tiff(write_tiff(found, tmp_path / "b.tif", imagej=True))):
        assert each.channels == ("DAPI", "GFP")
        assert each.colors == ("#ff00ff", "#007f00")
        assert each.windows == ((10, 500), (0, 99))
        assert each.translate == pytest.approx((0, -50, 20, -40))
        assert each.units == ("pixel", "nm", "nm", "nm")


def test_positions_of_planes_are_places_where_they_are_lengths(tmp_path):
    path = tmp_path / "a.ome.tif"
    for unit, place in (("mm", (0, 1000, 2000)), ("reference frame", ())):
        planes = {f"Position{axis}": [at] * 3 for axis, at in (("X", 2.0), ("Y", 1.0))}
        planes |= {f"Position{axis}Unit": [unit] * 3 for axis in "XY"}
        sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        tifffile.imwrite(path, STACK, metadata={"axes": "ZYX", **sizes, "Plane": planes})
        assert read_tiff(path).translate == place


# --- axes, images, photometric ----------------------------------------------------------------


@pytest.mark.parametrize(("shape", "axes"), [((3, 4, 6, 7), "TZ"), ((2, 3, 4, 6, 7), "TCZ"), ((3, 6, 7), "Z")])
def test_axes_without_names_are_guesses(shape, axes, tmp_path):
    data = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    found = read_tiff(tmp_path / "a.tif")
    assert (found.axes, found.guessed) == (f"{axes}YX", axes)
    np.testing.assert_array_equal(found.data, data)


def test_axes_that_are_given(tmp_path):
    data = np.arange(504, dtype=np.uint16).reshape(3, 4, 6, 7)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack")
    found = read_tiff(tmp_path / "a.tif", axes="zcyx")
    assert (found.axes, found.guessed) == ("CZYX", "")
    np.testing.assert_array_equal(found.data, data.transpose(1, 0, 2, 3))
    for wrong in ("zyx", "zzyx", "pcyx", "tczy"):
        with pytest.raises(ValueError, match=r"a\.tif"):
            read_tiff(tmp_path / "a.tif", axes=wrong)


def test_images_of_a_file(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as file:
        file.write(STACK, metadata={"axes": "ZYX", "Name": "left", "PhysicalSizeX": 0.5})
        file.write(STACK[:2, :3] + 7, metadata={"axes": "ZYX", "Name": "right", "PhysicalSizeX": 7})
    first = read_tiff(path)
    assert first.images == ("left (3 x 4 x 5 ZYX)", "right (2 x 3 x 5 ZYX)")
    assert first.others == [first.images[1]]
    for lazy in (False, True):
        second = read_tiff(path, series=1, lazy=lazy)
        np.testing.assert_array_equal(second.data, STACK[:2, :3] + 7)
        assert (second.name, second.scale[2]) == ("right", 7)
    for wrong in (2, -1, True, "right"):
        with pytest.raises(ValueError, match=r"series must be the number of an image in a\.ome\.tif.*1 is right"):
            read_tiff(path, series=wrong)


@pytest.mark.parametrize("photometric", ["separated", "cielab", "ycbcr"])
def test_other_colors_are_refused(photometric, tmp_path):
    data = np.zeros((8, 9, 4 if photometric == "separated" else 3), np.uint8)
    options = {"photometric": "rgb" if photometric == "cielab" else photometric, "planarconfig": "contig"}
    if photometric == "ycbcr":
        options["extratags"] = [(530, 3, 2, (1, 1), True)]
    tifffile.imwrite(tmp_path / "a.tif", data, metadata=None, **options)
    if photometric == "cielab":
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
            file.pages[0].tags["PhotometricInterpretation"].overwrite(8)
    with pytest.raises(ValueError, match=r"a\.tif holds .* colors, which are no gray values and no RGB\. Convert"):
        read_tiff(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("samples", "photometric", "axes"), [(2, "minisblack", "CYX"), (3, "minisblack", "CYX"), (5, "minisblack", "CYX")]
)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_samples_that_are_no_colors_are_channels(samples, photometric, axes, planar, tmp_path):
    data = np.random.default_rng(0).integers(0, 9, (8, 9, samples)).astype(np.uint8)
    written = data if planar == "contig" else np.moveaxis(data, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", written, photometric=photometric, planarconfig=planar)
    found = read_tiff(tmp_path / "a.tif")
    assert found.axes == axes
    np.testing.assert_array_equal(found.data, np.moveaxis(data, -1, 0))
    assert len(found.layers()) == samples


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_zero_that_is_white_is_told_where_nothing_is_black(dtype, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK.astype(dtype), photometric="miniswhite")
    with pytest.warns(UserWarning, match=r"a\.tif says that 0 is white, but"):
        found = read_tiff(tmp_path / "a.tif")
    np.testing.assert_array_equal(found.data, STACK)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
def test_zero_that_is_white_is_turned_over(dtype, lazy, tmp_path):
    data = (np.arange(72).reshape(8, 9) % 2 * 3).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="miniswhite")
    most = True if dtype == "bool" else np.iinfo(dtype).max
    found = np.asarray(read_tiff(tmp_path / "a.tif", lazy=lazy).data)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, ~data if dtype == "bool" else most - data)


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
            with pytest.raises(ValueError, match=r"a0\.ome\.tif cannot be read.*some of its planes lie in files"):
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
    with pytest.raises(ValueError, match=r"some of its planes lie in files that are not in its folder: a1\.ome\.tif"):
        read_tiff(path)


def micromanager(path, *names, summary=None):
    """A plane as Micro-Manager writes it, and the index that names the files of all planes."""
    said = json.dumps(summary or {}).encode()
    page, other, pixels = (at + len(said) for at in (30, 188, 198))
    tags = ((256, 4, 1, 9), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, pixels))
    tags = (*tags, (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 72), (51123, 2, 8, other))
    written = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    head = struct.pack("<2sHI", b"II", 42, page) + struct.pack("<IIII", 483729, 2, 2355492, len(said)) + said
    head = head.ljust(page, b"\0") + written
    path.write_bytes(head.ljust(other, b"\0") + b"{}".ljust(10, b"\0") + bytes([1] * 72))
    entries = b""
    for number, name in enumerate(names):
        for text in (json.dumps({"z": number}).encode(), name.encode()):
            entries += struct.pack("<I", len(text)) + text
        entries += struct.pack("<8I", pixels, 9, 8, 0, 0, 0, 0, 0)
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


# --- sets of files, and files that are cut off -----------------------------------------------


def test_what_stands_in_another_file(tmp_path):
    names = [f"a{number}.ome.tif" for number in range(3)]
    planes = "".join(PLANE.format(number=number, name=name) for number, name in enumerate(names))
    xml = OME.format(size=3, planes=planes, uuid=' UUID="urn:uuid:all"')
    (tmp_path / "set.companion.ome").write_text(xml)
    only = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{}">'
    only += '<BinaryOnly MetadataFile="set.companion.ome" UUID="urn:uuid:all"/></OME>'
    for number, name in enumerate(names):
        data = np.full((8, 9), 10 + number, np.uint8)
        tifffile.imwrite(
            tmp_path / name, data, photometric="minisblack", description=only.format(number), metadata=None
        )
    for name in (*names, "set.companion.ome"):
        found = read_tiff(tmp_path / name)
        assert (found.axes, found.scale[0]) == ("ZYX", 2)
        assert found.data[:, 0, 0].tolist() == [10, 11, 12]
    (tmp_path / names[1]).unlink()
    with pytest.raises(ValueError, match=r"some of its planes lie in files.*a1\.ome\.tif"):
        read_tiff(tmp_path / names[0])
    (tmp_path / "set.companion.ome").unlink()
    with pytest.raises(ValueError, match=r"it is described in set\.companion\.ome, which is not in its folder"):
        read_tiff(tmp_path / names[0])


def test_a_stack_of_one_page_that_was_cut_off(tmp_path):
    # as ImageJ writes above 4 GB: all planes after one page
    path, plane_ = tmp_path / "a.tif", np.zeros((16, 16), ">u2")
    said = "ImageJ=1.54f\nimages=10\nslices=10\nunit=micron\nspacing=2.0\n"
    tifffile.imwrite(path, plane_, byteorder=">", metadata=None, photometric="minisblack", description=said)
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[0]
    os.truncate(path, start + 10 * plane_.nbytes)
    assert read_tiff(path).data.shape == (10, 16, 16)
    for held in (9.5, 8, 1):
        os.truncate(path, start + int(held * plane_.nbytes))
        with pytest.raises(ValueError, match=r"a\.tif cannot be read as TIFF: .*ImageJ says that it holds 10 images"):
            read_tiff(path)


@pytest.mark.parametrize("ending", ["", "<StructuredAnnotations/>", "<StructuredAnnotations></StructuredAnnotations>"])
def test_annotations_may_be_empty(ending, tmp_path):
    xml = OME.format(size=3, planes='<TiffData IFD="0" PlaneCount="3"/>', uuid="").replace("</OME>", f"{ending}</OME>")
    data = np.zeros((3, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "a.ome.tif", data, photometric="minisblack", description=xml, metadata=None)
    assert read_tiff(tmp_path / "a.ome.tif").scale == (2, 1, 1)


@pytest.mark.parametrize("suffix", [".btf", ".tf2", ".tf8"])
def test_big_files_by_their_names(suffix, tmp_path):
    for name in (f"a.ome{suffix}", f"a{suffix}"):
        path = write_tiff(STACK, tmp_path / name, spacing=(2, 1, 1), unit="um")
        with tifffile.TiffFile(path) as file:
            assert file.is_bigtiff
        np.testing.assert_array_equal(read_tiff(path).data, STACK)


@pytest.mark.parametrize("name", ["a\x1b[2Jb", "a&#x1b;b", "a&#0;b", "a&#xFFFF;b", "a\x00"[:1] + "\x07"])
def test_names_that_xml_cannot_hold_are_no_damage(name, tmp_path):
    xml = OME.format(size=3, planes="<TiffData/>", uuid="").replace('<Image ID="Image:0">', f'<Image Name="{name}">')
    data = np.arange(3 * 72, dtype=np.uint8).reshape(3, 8, 9)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, data, photometric="minisblack", description=xml.encode(), metadata=None)
    for lazy in (False, True):
        volume = read_tiff(path, lazy=lazy)
        assert (volume.axes, volume.scale[0], volume.name[0]) == ("ZYX", 2.0, "a")
        np.testing.assert_array_equal(np.asarray(volume.data), data)

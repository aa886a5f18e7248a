"""Voxel size out of TIFF files, as ImageJ and OME write it."""

import numpy as np
import pytest
import tifffile

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

"""What OME-Zarr stores say, which others wrote: axes, units, places, channels, and images in groups."""

import numpy as np
import pytest
import zarr

import napari_exposure as nx
from napari_exposure.io.omezarr import read_zarr

RNG = np.random.default_rng(0)


def image(group, array, axes, steps=(), *, version="0.4", name=None, **attributes):
    """An image as other programs write it."""
    group.create_array("0", shape=array.shape, dtype=array.dtype, chunks=array.shape)[...] = array
    level = {"path": "0", "coordinateTransformations": list(steps)}
    multiscales = [{"axes": axes, "datasets": [level], **({"name": name} if name else {})}]
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": multiscales, **attributes}
    else:
        group.attrs.update({"multiscales": [{"version": version, **multiscales[0]}], **attributes})
    return group


def store(path, **options):
    return zarr.open_group(path, mode="w", zarr_format=2, **options)


def axes(names, **units):
    kinds = {"t": "time", "c": "channel"}
    return [
        {"name": name, "type": kinds.get(name, "space"), **({"unit": units[name]} if name in units else {})}
        for name in names
    ]


def scale(*sizes):
    return {"type": "scale", "scale": list(sizes)}


def shift(*places):
    return {"type": "translation", "translation": list(places)}


@pytest.mark.parametrize("names", ["xyzc", "czyx", "zcyx", "yxtz", "tczyx", "xy"])
def test_axes_of_any_order_come_into_place(names, tmp_path):
    shape = [{"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}[name] for name in names]
    array = RNG.integers(0, 99, shape).astype("u1")
    image(store(tmp_path / "a.zarr"), array, axes(names), [scale(*range(2, 2 + len(names)))])
    found = read_zarr(tmp_path / "a.zarr")
    order = [names.index(name) for name in "tczyx" if name in names]
    assert found.axes.lower() == "".join(name for name in "tczyx" if name in names)
    np.testing.assert_array_equal(found.data, array.transpose(order))
    assert found.scale == tuple(2 + at for at in order)
    assert found.guessed == ""


def test_names_of_dimensions_are_axes(tmp_path):
    for names, letters in ((["c", "z", "y", "x"], "CZYX"), (["time", "y", "x"], "TYX"), (["X", "Y", "Z"], "ZYX")):
        zarr.create_array(
            tmp_path / "a.zarr", shape=(2, 3, 4, 5)[: len(names)], dtype="u1", dimension_names=names, overwrite=True
        )
        found = read_zarr(tmp_path / "a.zarr")
        assert found.axes == letters
        assert found.guessed == ""
    zarr.create_array(tmp_path / "b.zarr", shape=(2, 3, 4, 5), dtype="u1")
    assert read_zarr(tmp_path / "b.zarr").axes == "TZYX"
    assert read_zarr(tmp_path / "b.zarr").guessed == "TZ"
    assert read_zarr(tmp_path / "b.zarr", axes="zcyx").data.shape == (3, 2, 4, 5)


def test_axes_that_are_none_of_these_are_refused(tmp_path):
    image(store(tmp_path / "a.zarr"), np.zeros((2, 3, 4), "u1"), [{"name": "angle"}, {"name": "y"}, {"name": "x"}])
    with pytest.raises(ValueError, match=r"a\.zarr has the axes \?YX.*axes="):
        read_zarr(tmp_path / "a.zarr")
    assert read_zarr(tmp_path / "a.zarr", axes="tyx").axes == "TYX"
    with pytest.raises(ValueError, match="axes must be a letter of tczyxs for each of the 3 axes"):
        read_zarr(tmp_path / "a.zarr", axes="yx")


def test_units_and_places(tmp_path):
    units = {"t": "minute", "z": "micrometer", "y": "angstrom", "x": "angstrom"}
    steps = [scale(2, 3, 5000, 4000), shift(1, 10, 20, 30)]
    image(store(tmp_path / "a.zarr"), np.zeros((2, 3, 4, 5), "u1"), axes("tzyx", **units), steps)
    found = read_zarr(tmp_path / "a.zarr")
    assert found.units == ("min", "angstrom", "angstrom", "angstrom")
    assert found.scale == (2, 30_000, 5000, 4000)
    assert found.translate == (1, 100_000, 20, 30)
    ((_, options, _),) = found.layers()
    assert options["translate"] == found.translate


def test_transformations_of_an_image_come_after_those_of_a_level(tmp_path):
    group = image(store(tmp_path / "a.zarr"), np.zeros((4, 5), "u1"), axes("yx"), [scale(2, 3), shift(1, 1)])
    both = [{**group.attrs["multiscales"][0], "coordinateTransformations": [scale(10, 10), shift(0, 5)]}]
    group.attrs["multiscales"] = both
    found = read_zarr(tmp_path / "a.zarr")
    assert found.scale == (20, 30)
    assert found.translate == (10, 15)


def test_coordinate_systems(tmp_path):
    # as OME-Zarr 0.6 has them
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("s0", shape=(3, 4, 5), dtype="u1")
    steps = {"type": "sequence", "output": "stage", "transformations": [scale(2, 0.5, 0.5), shift(7, 8, 9)]}
    systems = [
        {"name": "other", "axes": axes("abc")},
        {"name": "stage", "axes": axes("zyx", **dict.fromkeys("zyx", "nanometer"))},
    ]
    multiscale = {"coordinateSystems": systems, "datasets": [{"path": "s0", "coordinateTransformations": [steps]}]}
    group.attrs["ome"] = {"version": "0.6", "multiscales": [multiscale]}
    found = read_zarr(tmp_path / "a.zarr")
    assert (found.axes, found.scale, found.translate) == ("ZYX", (2, 0.5, 0.5), (7, 8, 9))
    assert found.unit == "nm"


def in_systems(path, steps, more=()):
    """A stack of 3 x 4 x 5 voxels in a system in micrometers, and what leads on to a world in millimeters."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("s0", shape=(3, 4, 5), dtype="u1")
    units = {"stage": "micrometer", "world": "millimeter"}
    systems = [{"name": name, "axes": axes("zyx", **dict.fromkeys("zyx", unit))} for name, unit in units.items()]
    level = {"path": "s0", "coordinateTransformations": [{"input": "s0", "output": "stage", **step} for step in steps]}
    onward = [{"input": "stage", "output": "world", **step} for step in more]
    image = {"coordinateSystems": systems, "datasets": [level], "coordinateTransformations": onward}
    group.attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    return read_zarr(path)


def test_what_leads_to_other_systems_is_no_size(tmp_path):
    found = in_systems(tmp_path / "a.zarr", [scale(2, 0.5, 0.25)], [scale(1e-3, 1e-3, 1e-3), shift(7, 8, 9)])
    assert (found.scale, found.unit, found.translate) == ((2, 0.5, 0.25), "um", ())


def test_a_matrix_says_sizes_where_no_axis_is_turned(tmp_path):
    rows = [[2, 0, 0, 7], [0, 0.5, 0, 0], [0, 0, 0.25, 9]]
    found = in_systems(tmp_path / "a.zarr", [{"type": "affine", "affine": rows}])
    assert (found.scale, found.unit, found.translate) == ((2, 0.5, 0.25), "um", (7, 0, 9))
    found = in_systems(tmp_path / "b.zarr", [{"type": "affine", "affine": [*rows, [0, 0, 0, 1]]}])
    assert found.scale == (2, 0.5, 0.25)
    # turned about z
    rows = [[2, 0, 0, 7], [0, 0, 0.5, 0], [0, -0.25, 0, 9]]
    found = in_systems(tmp_path / "c.zarr", [{"type": "affine", "affine": rows}])
    assert (found.scale, found.unit) == ((1, 1, 1), None)
    # a field of displacements is not read, so what voxels are after it is not known
    found = in_systems(tmp_path / "d.zarr", [scale(2, 0.5, 0.25), {"type": "displacements", "path": "field"}])
    assert (found.scale, found.unit) == ((1, 1, 1), None)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_channels(version, tmp_path):
    omero = {
        "channels": [
            {"label": "2024_01_15", "color": "FF8000", "window": {"start": 3, "end": 200, "min": 0, "max": 255}},
            {"color": "00ff00"},
        ]
    }
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3 if version == "0.5" else 2)
    image(group, np.zeros((2, 4, 5), "u1"), axes("cyx"), [scale(1, 1, 1)], version=version, name="cells", omero=omero)
    found = read_zarr(tmp_path / "a.zarr")
    assert found.channels == ("2024_01_15", "")
    assert found.colors == ("#ff8000", "#00ff00")
    assert found.windows == ((3, 200), None)
    first, second = (options for _, options, _ in found.layers())
    assert (first["name"], second["name"]) == ("cells - 2024_01_15", "cells - channel 1")
    assert first["contrast_limits"] == (3, 200)
    assert "contrast_limits" not in second


def test_a_scale_of_one_without_a_unit_says_nothing(tmp_path):
    steps = [scale(1, 0.5, 0.5)]
    image(store(tmp_path / "a.zarr"), np.zeros((3, 4, 5), "u1"), axes("zyx", y="nanometer", x="nanometer"), steps)
    found = read_zarr(tmp_path / "a.zarr")
    assert found.units == ("pixel", "nm", "nm")
    assert found.unsized == "Z"
    assert sorted(found.came_from) == ["X", "Y"]
    again = read_zarr(nx.save(found, tmp_path / "b.zarr"))
    assert (again.units, again.scale, again.unsized) == (found.units, found.scale, "Z")


def test_images_of_bioformats2raw(tmp_path):
    for listed in (None, ["b", "a"]):
        path = tmp_path / f"{listed is None}.zarr"
        root = store(path)
        root.attrs["bioformats2raw.layout"] = 3
        for number, name in enumerate(["10", "2"] if listed is None else ["a", "b"]):
            image(root.create_group(name), np.full((3, 4, 5), number, "u1"), axes("zyx"), [scale(2, 1, 1)])
        root.create_group("OME").attrs.update({} if listed is None else {"series": listed})
        first, second = read_zarr(path), read_zarr(path, series=1)
        # the second that was written comes first, by its number or by the list
        assert (int(first.data.max()), int(second.data.max())) == (1, 0)
        assert first.images == second.images == tuple(f"image {each}" for each in listed or ("2", "10"))
        assert second.others == [first.images[0]]
        with pytest.raises(ValueError, match=r"series must be the number of an image .* got 2: 0 is image"):
            read_zarr(path, series=2)


def test_images_of_a_plate(tmp_path):
    root = store(tmp_path / "plate.zarr")
    root.attrs["plate"] = {"wells": [{"path": "B/2"}, {"path": "A/1"}]}
    for number, name in enumerate(("B/2", "A/1")):
        well = root.create_group(name)
        well.attrs["well"] = {"images": [{"path": "0"}, {"path": "1"}]}
        for field in (0, 1):
            image(well.create_group(str(field)), np.full((4, 5), 2 * number + field, "u1"), axes("yx"))
    images = ("image B/2/0", "image B/2/1", "image A/1/0", "image A/1/1")
    for series in range(4):
        found = read_zarr(tmp_path / "plate.zarr", series=series)
        assert found.images == images
        assert int(found.data.max()) == series
    assert read_zarr(tmp_path / "plate.zarr" / "A" / "1").images == ("image 0", "image 1")


def test_a_group_without_images_is_refused(tmp_path):
    store(tmp_path / "a.zarr").create_group("data")
    with pytest.raises(ValueError, match=r"a\.zarr cannot be read as OME-Zarr.*no groups of images"):
        read_zarr(tmp_path / "a.zarr")


def test_what_cannot_be_understood_has_not_been_said(tmp_path):
    for number, omero in enumerate(
        (
            {"channels": [{"color": 255, "label": None}, {"color": "red", "window": {"start": "a", "end": None}}]},
            {"channels": 7},
            ["nothing"],
        )
    ):
        group = store(tmp_path / f"{number}.zarr")
        image(group, np.zeros((2, 4, 5), "u1"), axes("cyx"), [scale(1, 2, 2)], omero=omero)
        found = read_zarr(tmp_path / f"{number}.zarr")
        assert (found.axes, found.scale) == ("CYX", (1, 2, 2))
        assert (found.channels, found.colors, found.windows) == ((), (), ())
    zarr.create_array(tmp_path / "c.zarr", shape=(1,) * 6, dtype="u1")
    with pytest.raises(ValueError, match=r"c\.zarr has 6 axes"):
        read_zarr(tmp_path / "c.zarr")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "scale", "scale": [2.0, 0.5]},
        {"type": "scale", "path": "0/scale"},
        {"type": "scale", "scale": "large"},
        {"type": "translation", "translation": [1.0]},
    ],
    ids=str,
)
def test_a_size_that_cannot_be_understood_is_not_known(wrong, version, tmp_path):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3 if version == "0.5" else 2)
    units = dict.fromkeys("zyx", "micrometer")
    image(group, np.arange(60, dtype="u1").reshape(3, 4, 5), axes("zyx", **units), [wrong], version=version)
    found = read_zarr(tmp_path / "a.zarr")
    assert (found.scale, found.units) == ((1, 1, 1), ("pixel",) * 3)
    np.testing.assert_array_equal(found.data, np.arange(60).reshape(3, 4, 5))

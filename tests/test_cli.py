"""The command napari-exposure, as a shell runs it and in this process."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import tifffile

import napari_exposure as nx
from core import scenes
from napari_exposure import core
from napari_exposure.cli import main
from napari_exposure.recipe import Recipe

SPACING = (2.0, 0.5, 0.5)
FOUR = ("--spacing", "1", "2", "0.5", "0.5")


def stack(seed=0, shape=(6, 30, 32)):
    return np.random.default_rng(seed).gamma(2, 300, shape).astype(np.uint16)


@pytest.fixture
def folder(tmp_path):
    """Three ImageJ stacks, one OME-TIFF of two channels, one OME-Zarr, and a recipe."""
    (tmp_path / "in").mkdir()
    for number in range(3):
        path = tmp_path / "in" / f"s{number}.tif"
        nx.write_tiff(stack(number), path, spacing=SPACING, unit="um", imagej=True)
    both = np.stack([stack(8), stack(9)])
    options = {"spacing": SPACING, "unit": "um", "axes": "czyx", "channels": ("DAPI", "GFP")}
    nx.write_tiff(both, tmp_path / "in" / "both.ome.tif", **options)
    nx.save(stack(5), tmp_path / "in" / "z.zarr", spacing=SPACING, unit="um")
    Recipe((nx.PercentileClip(1, 99), nx.AdaptiveEqualization(8.0)), "µm").save(tmp_path / "r.json")
    return tmp_path


def run(folder, *arguments):
    local = ("in", "out", "r.json")
    return main([str(folder / each) if each.split("/")[0] in local else each for each in arguments])


def expected(volume):
    return core.equalize_adapthist(core.clip_percentiles(volume, 1, 99), 8.0, spacing=SPACING)


def test_a_folder(folder, capsys):
    assert run(folder, "apply", "r.json", "in", "-o", "out") == 0
    assert "5 done, 0 skipped, 0 failed" in capsys.readouterr().out
    for number in range(3):
        found = nx.read_tiff(folder / "out" / f"s{number}.ome.tif")
        np.testing.assert_array_equal(found.data, expected(stack(number)))
        assert (found.scale, found.unit) == (SPACING, "um")
        assert found.notes["source"] == f"s{number}.tif"
    both = nx.read_tiff(folder / "out" / "both.ome.tif")
    assert both.channels == ("DAPI", "GFP")
    for channel, seed in zip(both.data, (8, 9), strict=True):
        np.testing.assert_array_equal(channel, expected(stack(seed)))
    zarr = nx.read(folder / "out" / "z.zarr")
    np.testing.assert_array_equal(zarr.data.compute(), expected(stack(5)))
    assert (zarr.scale, zarr.unit, zarr.axes) == (SPACING, "um", "ZYX")
    # a layer made of it knows its recipe
    data, options, _ = nx.read_tiff(folder / "out" / "s0.ome.tif").layers()[0]
    from napari.layers import Image

    assert Recipe.of(Image(data, **options)) == Recipe.load(folder / "r.json")


@pytest.mark.parametrize("how", ["each", "all", "sum", "max", "1"])
def test_channels_that_share_a_fit(folder, how, capsys):
    channels = [stack(8), stack(9) // 2]
    options = {"spacing": SPACING, "unit": "um", "axes": "czyx", "channels": ("DAPI", "GFP")}
    nx.write_tiff(np.stack(channels), folder / "in" / "both.ome.tif", overwrite=True, **options)
    command = "apply", "r.json", "in/both.ome.tif", "-o", "out", "--channels", how
    assert run(folder, *command) == 0
    recipe = Recipe.load(folder / "r.json")
    fit_on = {"each": None, "1": channels[1]}.get(how, how)
    found = nx.read_tiff(folder / "out" / "both.ome.tif")
    np.testing.assert_array_equal(found.data, recipe.apply(channels, spacing=SPACING, fit_on=fit_on))
    assert found.channels == ("DAPI", "GFP")
    # a later run with another choice keeps it, and the same one is skipped
    capsys.readouterr()
    assert run(folder, *command) == 0
    assert "0 done, 1 skipped" in capsys.readouterr().out
    other = "all" if how == "each" else "each"
    assert run(folder, *command[:-1], other) == 1
    assert "another options" in capsys.readouterr().out
    # the channels of one file give the fit of others
    if how != "each":
        more = "--fit-on", "in/both.ome.tif", "--channels", how
        assert run(folder, "apply", "r.json", "in/s0.tif", "-o", "out", *more) == 0
        if how == "1":
            fitted = recipe.fit(channels[1], spacing=SPACING)
        else:
            fitted = recipe.fit(channels, spacing=SPACING, fit_on=how)
        np.testing.assert_array_equal(nx.read_tiff(folder / "out" / "s0.ome.tif").data, fitted.apply(stack(0)))


def test_all_commands_count_channels_from_0(folder, capsys):
    volume = np.stack([np.full((3, 9, 8), value, np.uint16) + np.arange(8, dtype=np.uint16) for value in (100, 2000)])
    path = str(nx.write_tiff(volume, folder / "two.ome.tif", axes="czyx"))
    assert main(["info", path]) == 0
    assert "range        channel 1: 2000 to 2007" in capsys.readouterr().out
    assert main(["suggest", path, "--channel", "1"]) == 0
    assert "channel 1, one of 2 channels" in capsys.readouterr().out
    assert main(["histogram", path, "--csv", str(folder / "h.csv")]) == 0
    with open(folder / "h.csv", newline="") as file:
        lows = {row["channel"]: float(row["low"]) for row in reversed(list(csv.DictReader(file)))}
    assert lows == {"channel 0": pytest.approx(100, abs=1), "channel 1": pytest.approx(2000, abs=1)}
    for command in ("apply", "suggest"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "counted from 0" in capsys.readouterr().out


def test_info_goes_on_after_a_channel_without_numbers(folder, capsys):
    volume = np.stack([np.full((3, 9, 8), np.nan), np.full((3, 9, 8), np.inf), np.full((3, 9, 8), 5.0)])
    path = nx.write_tiff(volume.astype(np.float32), folder / "n.ome.tif", axes="czyx", channels=("a", "b", "c"))
    assert main(["info", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("range")] == [
        "range        a: no finite voxel",
        "range        b: no finite voxel",
        "range        c: 5 to 5",
    ]
    assert next(line for line in lines if line.startswith("percentiles")).startswith("percentiles  c: 0.1 %: 5, ")


@pytest.mark.parametrize("dtype", ["float16", "int64", "uint64"])
def test_what_to_do_with_a_dtype_that_results_cannot_have(dtype, tmp_path, capsys):
    tifffile.imwrite(tmp_path / "h.tif", stack().astype(dtype), photometric="minisblack")
    Recipe((nx.Gamma(0.5),)).save(tmp_path / "r.json")
    call = ["apply", str(tmp_path / "r.json"), str(tmp_path / "h.tif"), "-o", str(tmp_path / "out")]
    assert main(call) == 1
    wider = "float32" if dtype == "float16" else "float64"
    assert (
        f"OME-TIFF has no {dtype}. --dtype {wider} converts what is read, and --format zarr" in capsys.readouterr().out
    )
    assert not list((tmp_path / "out").iterdir())
    assert main([*call, "--format", "zarr"]) == 0
    assert nx.read(tmp_path / "out" / "h.zarr").data.dtype == dtype
    if dtype != "uint64":
        assert main([*call, "--dtype", wider]) == 0
        assert nx.read(tmp_path / "out" / "h.ome.tif").data.dtype == wider


@pytest.mark.parametrize("jobs", ["x", "0", "-1", "1.5"])
def test_jobs_must_be_a_number(jobs, folder, capsys):
    with pytest.raises(SystemExit):
        run(folder, "apply", "r.json", "in", "-o", "out", f"--jobs={jobs}")
    assert f"--jobs: must be a whole number from 1 on, got '{jobs}'" in capsys.readouterr().err


def test_each_door_speaks_of_its_own_options(folder, tmp_path, capsys):
    path = tmp_path / "six.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros((1, 2, 2, 2, 8, 9), np.uint8)
    (folder / "s.tif").write_bytes((folder / "in" / "s0.tif").read_bytes())
    mistakes = {
        "axes": {"path": path},
        "series": {"path": folder / "s.tif", "dataset": "raw"},
        "dtype": {"path": folder / "s.tif", "dtype": "uint8"},
    }
    for name, options in mistakes.items():
        with pytest.raises((TypeError, ValueError)) as error:
            nx.read(**options)
        assert f"{name}=" in str(error.value)
        assert "--" not in str(error.value)
        file, *more = options.items()
        assert main(["info", str(file[1]), *[word for key, value in more for word in (f"--{key}", value)]]) == 2
        said = capsys.readouterr().err
        assert f"--{name}" in said
        assert f"{name}=" not in said


def test_files_that_are_there_are_kept(folder, tmp_path, capsys):
    place = tmp_path / "mine.png"
    deep = nx.save(
        scenes.scene(3, (8.0, 8.0, 8.0), decay=2.5, axis=1), folder / "deep.ome.tif", spacing=SPACING, unit="um"
    )
    calls = [
        ("suggest", str(deep), "-o"),
        ("histogram", "in/s0.tif", "--csv"),
        ("histogram", "in/s0.tif", "--png"),
        ("apply", "r.json", "in/s0.tif", "-o", "out", "--report"),
    ]
    for call in calls:
        place.write_text("mine")
        assert run(folder, *call, str(place)) == 2
        assert f"{place} exists. Choose another name, or --overwrite." in capsys.readouterr().err
        assert place.read_text() == "mine"
        assert run(folder, *call, str(place), "--overwrite") == 0
        assert place.read_bytes() != b"mine"
    # The report of an interrupted run is replaced when the same command goes on.
    assert run(folder, *calls[-1], str(place)) == 0


def test_a_picture_is_what_its_name_says(folder, tmp_path, capsys):
    assert run(folder, "histogram", "in/s0.tif", "--png", str(tmp_path / "h.svg")) == 2
    assert "h.svg must end in .png" in capsys.readouterr().err
    assert run(folder, "histogram", "in/s0.tif", "--png", str(tmp_path / "h.PNG")) == 0
    assert (tmp_path / "h.PNG").read_bytes().startswith(b"\x89PNG")


def test_channels_that_are_not_there(folder, capsys):
    command = "apply", "r.json", "in/both.ome.tif", "-o", "out", "--channels"
    assert run(folder, *command, "2") == 1
    assert "There is no channel 2: the file has 2, counted from 0." in capsys.readouterr().out
    assert run(folder, "apply", "r.json", "in/s0.tif", "-o", "out", "--channels", "7") == 1
    assert "There is no channel 7: the file has 1, counted from 0." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run(folder, *command, "mean")
    assert "must be each, all, sum, max or a number from 0, got 'mean'" in capsys.readouterr().err
    assert run(folder, "apply", "r.json", "in/s0.tif", "-o", "out", "--fit-on", "in/both.ome.tif") == 2
    assert "has channels; say on which to fit: --channels all, sum, max" in capsys.readouterr().err


def flickering(dtype="uint16"):
    """Eight time points, each darker than the one before it."""
    light = np.array([1, 0.9, 0.95, 0.8, 0.7, 0.75, 0.6, 0.5])
    return (stack(3, (30, 32)) * light[:, None, None]).astype(dtype)


def test_warnings_are_said_of_each_file(tmp_path, capsys):
    for name in ("a", "b"):
        both = np.stack([flickering()] * 2, 1)
        nx.write_tiff(both, tmp_path / f"{name}.ome.tif", axes="tcyx")
    nx.Recipe((nx.DecayCorrection("t", "ratio", background=9000.0),)).save(tmp_path / "r.json")
    assert main(["apply", str(tmp_path / "r.json"), str(tmp_path), "-o", str(tmp_path / "out"), "--jobs", "2"]) == 0
    said = capsys.readouterr()
    assert said.err.count("Warning") == 0
    summary = said.out.partition("2 done, 0 skipped, 0 failed")[2]
    # once for each file, although two channels have it, and of the series as one
    assert summary.count("Depth correction: The volume has fewer than two planes") == 2
    assert all(f"{name}.ome.tif: Depth correction" in summary for name in ("a", "b"))
    more = "--fit-on", str(tmp_path / "a.ome.tif"), "--channels", "0"
    assert main(["apply", str(tmp_path / "r.json"), str(tmp_path), "-o", str(tmp_path / "on"), *more]) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"napari-exposure: {tmp_path / 'a.ome.tif'}: Depth correction: The volume has fewer")
    assert said.err.count("Depth correction") == 1


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_tiles_without_a_unit_in_files_of_different_units_are_told_once(jobs, tmp_path, capsys):
    files = {"um": (SPACING, "um"), "nm": ([1000 * size for size in SPACING], "nm"), "none": (None, None)}
    paths = []
    for name, (sizes, unit) in files.items():
        paths.append(str(nx.save(stack(), tmp_path / f"{name}.ome.tif", spacing=sizes, unit=unit)))
    recipe, out = str(tmp_path / "r.json"), str(tmp_path / "out")
    step = nx.AdaptiveEqualization(8.0)
    nx.Recipe((step,)).save(recipe)
    assert main(["apply", recipe, paths[0], "-o", out]) == 0
    assert not capsys.readouterr().err
    assert main(["apply", recipe, *paths[:2], "-o", out, "--overwrite", "--jobs", jobs]) == 0
    said = capsys.readouterr().err
    assert said.count("does not say in which unit its tiles are") == 1
    for unit, path in zip(files, paths[:2], strict=False):
        assert f"in {unit} ({path})" in said
    assert main(["apply", recipe, *paths[1:], "-o", out, "--overwrite"]) == 0
    assert f"in no unit ({paths[2]})" in capsys.readouterr().err
    # Neither one file that all are fitted on, nor a recipe with a unit, nor one without sizes asks for anything.
    assert main(["apply", recipe, *paths, "-o", out, "--overwrite", "--fit-on", paths[0]]) == 0
    nx.Recipe((step,), "um").save(recipe)
    assert main(["apply", recipe, *paths[:2], "-o", out, "--overwrite"]) == 0
    results = [nx.read(tmp_path / "out" / f"{name}.ome.tif").data for name in ("um", "nm")]
    np.testing.assert_array_equal(*results)
    nx.Recipe((nx.Gamma(0.5),)).save(recipe)
    assert main(["apply", recipe, *paths, "-o", out, "--overwrite"]) == 0
    assert not capsys.readouterr().err


def test_time_is_asked_for_as_a_file_says_it(tmp_path, capsys):
    movie, recipe, out = (str(tmp_path / name) for name in ("plain.tif", "r.json", "out"))
    tifffile.imwrite(movie, flickering(), photometric="minisblack", metadata=None)
    nx.Recipe((nx.DecayCorrection("t", "ratio"),)).save(recipe)
    assert main(["apply", recipe, movie, "-o", out]) == 1
    assert "no axis of time before y and x: the image has the axes z, y, x" in (said := capsys.readouterr().out)
    assert "--axes tyx" in said
    assert main(["apply", recipe, movie, "-o", out, "--axes", "tyx"]) == 0
    found = nx.read(tmp_path / "out" / "plain.ome.tif")
    np.testing.assert_array_equal(found.data, core.correct_decay(flickering(), "t", "ratio"))
    assert found.axes == "TYX"
    plane = str(tmp_path / "plane.tif")
    tifffile.imwrite(plane, flickering()[0])
    assert main(["apply", recipe, plane, "-o", out]) == 1
    assert "the image has the axes y, x. It is one plane" in capsys.readouterr().out


def test_a_damaged_file_has_one_message(folder):
    cut = folder / "in" / "cut.tif"
    for size in (8, 200):
        cut.write_bytes((folder / "in" / "s0.tif").read_bytes()[:size])
        for call in (["info", cut], ["apply", folder / "r.json", cut, "-o", folder / "out"]):
            done = subprocess.run(command(*call), capture_output=True, text=True)
            assert done.returncode != 0
            said = (done.stdout + done.stderr).splitlines()
            assert all("cut.tif cannot be read as TIFF: " in line or "1 failed" in line for line in said), said


def test_a_fit_over_time_is_not_for_a_stack(tmp_path, capsys):
    movie, other, recipe, out = (str(tmp_path / name) for name in ("t.ome.tif", "z.ome.tif", "r.json", "out"))
    nx.write_tiff(flickering(), movie, axes="tyx")
    nx.write_tiff(flickering(), other, axes="zyx")
    nx.Recipe((nx.DecayCorrection("t", "ratio"),)).save(recipe)
    assert main(["apply", recipe, other, "-o", out, "--fit-on", movie]) == 1
    assert "z.ome.tif: There is no axis of time" in capsys.readouterr().out
    assert main(["apply", recipe, movie, "-o", out, "--fit-on", other]) == 2
    assert "z.ome.tif: There is no axis of time" in capsys.readouterr().err


def test_what_is_done_is_skipped_and_what_fails_does_not_stop_the_rest(folder, capsys):
    (folder / "in" / "bad.tif").write_text("no image")
    assert run(folder, "apply", "r.json", "in/s1.tif", "-o", "out") == 0
    before = (folder / "out" / "s1.ome.tif").stat().st_mtime_ns
    assert run(folder, "apply", "r.json", "in", "-o", "out") == 1
    words = capsys.readouterr().out
    assert "4 done, 1 skipped, 1 failed" in words
    assert "bad.tif: bad.tif cannot be read as TIFF" in words
    assert (folder / "out" / "s1.ome.tif").stat().st_mtime_ns == before
    assert run(folder, "apply", "r.json", "in/s*.tif", "-o", "out", "--overwrite") == 0
    assert (folder / "out" / "s1.ome.tif").stat().st_mtime_ns > before


def test_dry_run_writes_nothing(folder, capsys):
    assert run(folder, "apply", "r.json", "in", "-o", "out", "--dry-run") == 0
    assert "s0.tif -> " in capsys.readouterr().out
    assert not (folder / "out").exists()


def test_one_mapping_for_all(folder):
    assert run(folder, "apply", "r.json", "in/s1.tif", "-o", "out", "--fit-on", str(folder / "in" / "s0.tif")) == 0
    clip = core.PercentileClip(1, 99).fit(stack(0))
    adaptive = core.AdaptiveEqualization(8.0).fit(clip.apply(stack(0)), spacing=SPACING)
    found = nx.read_tiff(folder / "out" / "s1.ome.tif").data
    np.testing.assert_array_equal(found, adaptive.apply(clip.apply(stack(1))))


def test_a_voxel_size_of_the_command_line(folder, capsys):
    tifffile.imwrite(folder / "in" / "plain.tif", stack(7), photometric="minisblack")
    assert run(folder, "apply", "r.json", "in/plain.tif", "-o", "out") == 1
    assert "the file has no voxel size. Give it: --spacing" in capsys.readouterr().out
    sizes = ("--spacing", "2000", "500", "500", "--unit", "nm")
    assert run(folder, "apply", "r.json", "in/plain.tif", "-o", "out", *sizes) == 0
    found = nx.read_tiff(folder / "out" / "plain.ome.tif")
    np.testing.assert_array_equal(found.data, expected(stack(7)))
    assert (found.scale, found.unit) == ((2000, 500, 500), "nm")
    # instead of a wrong one
    assert run(folder, "apply", "r.json", "in/s1.tif", "-o", "out", "--format", "zarr", "--spacing", "4", "1", "1") == 0
    found = nx.read(folder / "out" / "s1.zarr")
    assert (found.scale, found.unit) == ((4, 1, 1), "um")


def test_the_unit_of_the_file_does_not_matter(folder):
    # 6 planes of 1 um are 1.5 tiles of 4 um: a half, which rounding of units must not move
    Recipe((nx.AdaptiveEqualization(4.0),), "um").save(folder / "r.json")
    for unit, sizes in {
        "um": ("1", "0.3", "0.3"),
        "nm": ("1000", "300", "300"),
        "mm": ("0.001", "0.0003", "0.0003"),
    }.items():
        options = ("--spacing", *sizes, "--unit", unit, "--overwrite")
        assert run(folder, "apply", "r.json", "in/s1.tif", "-o", f"out/{unit}", *options) == 0
    first, *others = (nx.read_tiff(folder / "out" / unit / "s1.ome.tif").data for unit in ("um", "nm", "mm"))
    for each in others:
        np.testing.assert_array_equal(each, first)


def test_tiles_in_pixels_are_no_micrometres(folder, capsys):
    Recipe((nx.AdaptiveEqualization(8.0),), "px").save(folder / "r.json")
    assert run(folder, "apply", "r.json", "in/s1.tif", "-o", "out") == 1
    assert "tiles in px, but the voxel size of the file is in um" in capsys.readouterr().out
    tifffile.imwrite(folder / "in" / "plain.tif", stack(7), photometric="minisblack")
    assert run(folder, "apply", "r.json", "in/plain.tif", "-o", "out") == 0
    np.testing.assert_array_equal(
        nx.read_tiff(folder / "out" / "plain.ome.tif").data, core.equalize_adapthist(stack(7), 8.0)
    )


def test_large_files_are_read_in_blocks(folder, monkeypatch):
    monkeypatch.setattr("napari_exposure.batch.WHOLE", 0)
    monkeypatch.setattr("napari_exposure.io.tiff.LAZY_BYTES", 0)
    tifffile.imwrite(folder / "in" / "packed.tif", stack(3), compression="zlib", photometric="minisblack")
    sizes = ("--spacing", "2", "0.5", "0.5")
    assert run(folder, "apply", "r.json", "in/packed.tif", "in/s0.tif", "-o", "out", "--format", "zarr", *sizes) == 0
    for name, seed in (("packed", 3), ("s0", 0)):
        np.testing.assert_array_equal(nx.read(folder / "out" / f"{name}.zarr").data.compute(), expected(stack(seed)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("apply", "missing.json", "in", "-o", "out"), "There is no recipe"),
        (("apply", "r.json", "nowhere", "-o", "out"), "no TIFF file and no zarr store at nowhere"),
        (("apply", "r.json", "in/s0.tif", "in/s0.tif", "-o", "out", "--spacing", "-1"), "--spacing"),
        (("apply", "r.json", "in", "-o", "out", "--unit", "fortnight"), "--unit must be a unit of length"),
        (("apply", "r.json", "in/both.ome.tif", "-o", "in"), "would replace it"),
        (("apply", "r.json", "in", "-o", "r.json"), "r.json is a file. Give another one with --output."),
        (("apply", "r.json", "in", "-o", "r.json/out"), "r.json is a file. Give another one with --output."),
        (("apply", "r.json", "in/s0.tif", "-o", "out", "--fit-on", "in/s1.tif", *FOUR), "--spacing has 4 numbers"),
        (("histogram", "in/s0.tif", "--csv", "out/no/h.csv"), "There is no folder"),
        (("info", "nowhere.tif"), "There is no file"),
        (("histogram", "in/s0.tif"), "--csv FILE or --png FILE"),
    ],
)
def test_what_is_wrong_is_said(folder, capsys, arguments, words):
    assert run(folder, *arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Errno" not in said


def test_more_sizes_than_axes(folder, capsys):
    assert run(folder, "apply", "r.json", "in/s0.tif", "-o", "out", *FOUR) == 1
    assert "--spacing has 4 numbers, but the file has the axes Z, Y, X" in capsys.readouterr().out


def test_nobody_reads_on(folder):
    job = subprocess.Popen(
        command("info", folder / "in" / "s0.tif"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    job.stdout.close()
    assert job.stderr.read() == ""
    job.stderr.close()
    assert job.wait() == 141


def test_two_files_of_one_name(folder, capsys):
    (folder / "in" / "more").mkdir()
    nx.write_tiff(stack(), folder / "in" / "more" / "s0.tif", imagej=True)
    assert run(folder, "apply", "r.json", "in", "in/more", "-o", "out") == 2
    assert "would both become" in capsys.readouterr().err


def test_info(folder, capsys):
    assert run(folder, "info", "in/both.ome.tif") == 0
    words = capsys.readouterr().out
    volume = stack(9)
    median = np.percentile(volume, 50)
    for part in (
        "2 x 6 x 30 x 32 (CZYX)",
        "uint16",
        "2 um (OME PhysicalSizeZ)",
        f"GFP: {volume.min()} to {volume.max()}",
    ):
        assert part in words
    assert f"50 %: {median:g}" in words


def test_histogram(folder, tmp_path):
    out = [str(tmp_path / name) for name in ("h.csv", "h.png")]
    assert run(folder, "histogram", "in/s0.tif", "--csv", out[0], "--png", out[1]) == 0
    with open(out[0], newline="") as file:
        rows = list(csv.DictReader(file))
    volume = stack(0)
    found = {round(float(row["low"]) + 0.5): int(row["count"]) for row in rows if int(row["count"])}
    levels, counts = np.unique(volume, return_counts=True)
    assert found == dict(zip(levels.tolist(), counts.tolist(), strict=True))
    assert float(rows[-1]["cdf"]) == 1
    with open(out[1], "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_a_report(folder):
    (folder / "in" / "<bad>.tif").write_text("no image")
    tifffile.imwrite(
        folder / "in" / "rgb.tif",
        np.zeros((20, 30, 3), np.uint8) + 7,
        photometric="rgb",
        resolution=(2e4, 2e4),
        resolutionunit="CENTIMETER",
    )
    Recipe((nx.Gamma(0.5),)).save(folder / "r.json")
    assert run(folder, "apply", "r.json", "in", "-o", "out", "--report", str(folder / "out.html")) == 1
    page = (folder / "out.html").read_text()
    assert page.count("data:image/png;base64") == 7 * 4
    assert "&lt;bad&gt;.tif" in page
    assert "<bad>" not in page
    assert "&quot;gamma&quot;: 0.5" in page
    assert f"<td>{stack(0).max()}</td>" in page


@pytest.mark.parametrize("axes", ["YXS", "ZYXS", "CYXS"])
def test_rgb_stays_rgb(axes, tmp_path):
    (tmp_path / "in").mkdir()
    shape = {"YXS": (20, 30, 3), "ZYXS": (4, 20, 30, 4), "CYXS": (2, 20, 30, 3)}[axes]
    data = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    tifffile.imwrite(
        tmp_path / "in" / "rgb.ome.tif",
        data,
        photometric="rgb",
        extrasamples=["unassalpha"] if shape[-1] == 4 else None,
        metadata={"axes": axes, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5},
    )
    recipe = Recipe((nx.PercentileClip(5, 80),))
    recipe.save(tmp_path / "r.json")
    once, twice = (str(tmp_path / "out" / name) for name in ("once", "twice"))
    assert run(tmp_path, "apply", "r.json", "in", "-o", once, "--report", str(tmp_path / "once.html")) == 0
    assert run(tmp_path, "apply", "r.json", once, "-o", twice) == 0
    volumes = data if "C" in axes else data[None]
    for folder in (once, twice):
        volumes = np.stack([recipe.apply(each, rgb=True) for each in volumes])
        found = nx.read_tiff(os.path.join(folder, "rgb.ome.tif"))
        assert (found.axes, found.scale[-2:], found.unit) == (axes, (0.5, 0.5), "um")
        np.testing.assert_array_equal(found.data, volumes if "C" in axes else volumes[0])
        assert all(options["rgb"] for _, options, _ in found.layers())


def test_a_report_on_colours_in_zarr(tmp_path):
    (tmp_path / "in").mkdir()
    data = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), np.uint8)
    tifffile.imwrite(tmp_path / "in" / "rgb.tif", data, photometric="rgb", metadata={"axes": "ZYXS"})
    Recipe((nx.Gamma(0.5),)).save(tmp_path / "r.json")
    options = ("--format", "zarr", "--report", str(tmp_path / "out.html"))
    assert run(tmp_path, "apply", "r.json", "in", "-o", "out", *options) == 0
    found = nx.read(tmp_path / "out" / "rgb.zarr")
    assert found.axes == "CZYX"
    expected = Recipe((nx.Gamma(0.5),)).apply(data, rgb=True)
    np.testing.assert_array_equal(found.data.compute(), np.moveaxis(expected, -1, 0))
    assert (tmp_path / "out.html").read_text().count("data:image/png;base64") == 4


def command(*arguments):
    return [sys.executable, "-m", "napari_exposure.cli", *map(str, arguments)]


def test_on_a_cluster(folder, local_cluster):
    address = local_cluster.scheduler_address
    assert run(folder, "apply", "r.json", "in/s1.tif", "in/z.zarr", "-o", "out", "--scheduler", address) == 0
    np.testing.assert_array_equal(nx.read_tiff(folder / "out" / "s1.ome.tif").data, expected(stack(1)))
    np.testing.assert_array_equal(nx.read(folder / "out" / "z.zarr").data.compute(), expected(stack(5)))


def test_it_knows_no_qt(folder):
    code = (
        "import sys; from napari_exposure.cli import main; "
        f"main(['apply', r'{folder / 'r.json'}', r'{folder / 'in'}', '-o', r'{folder / 'out'}']); "
        "print([name for name in sys.modules if 'PyQt' in name or name == 'qtpy' or name.split('.')[0] == 'napari'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_killed_and_begun_again_nothing_is_missing(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(12):
        nx.write_tiff(stack(number, (40, 200, 200)), tmp_path / "in" / f"s{number:02}.tif", spacing=SPACING, unit="um")
    Recipe((nx.PercentileClip(1, 99), nx.AdaptiveEqualization(8.0)), "µm").save(tmp_path / "r.json")
    out = tmp_path / "out"
    call = command("apply", tmp_path / "r.json", tmp_path / "in", "-o", out)
    for wanted in (1, 4):
        job = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while len(list(out.glob("s*.tif"))) < wanted and time.monotonic() < end:
            time.sleep(0.002)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        # whatever is there is whole
        for path in out.glob("s*.tif"):
            assert nx.read_tiff(path).data.shape == (40, 200, 200)
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout
    assert sorted(os.listdir(out)) == [f"s{number:02}.ome.tif" for number in range(12)]
    for number in range(12):
        found = nx.read_tiff(out / f"s{number:02}.ome.tif")
        np.testing.assert_array_equal(found.data, expected(stack(number, (40, 200, 200))))
    assert json.loads((tmp_path / "r.json").read_text())["unit"] == "µm"


# --- what is there stays ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["same", "soft", "hard", "within"])
def test_outputs_replace_no_inputs(folder, capsys, kind):
    inputs = ("in/s0.tif", "in/z.zarr", "r.json")

    def tables():
        return {each: {p: p.read_bytes() for p in files(folder / each)} for each in inputs}

    def files(path):
        return [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]

    before = tables()
    for number, name in enumerate(inputs):
        place = folder / name
        if kind in ("soft", "hard"):
            place = folder / f"link{number}"
            if kind == "hard" and (folder / name).is_dir():
                continue
            (os.link if kind == "hard" else os.symlink)(folder / name, place)
        elif kind == "within":
            if not (folder / name).is_dir():
                continue
            place = folder / name / "table.csv"
        calls = [("apply", "r.json", "in", "-o", "out", "--report", str(place))]
        if name != "r.json":
            calls += [("histogram", name, option, str(place)) for option in ("--csv", "--png")]
        for call in calls:
            assert run(folder, *call) == 2
            assert "would replace it" in capsys.readouterr().err
    assert tables() == before
    assert not (folder / "out").exists()


def test_refused_before_anything_is_opened(folder, capsys):
    (folder / "in" / "s0.tif").write_text("no image")
    (folder / "r.json").write_text("no recipe")
    assert run(folder, "histogram", "in/s0.tif", "--csv", str(folder / "in" / "s0.tif")) == 2
    assert "would replace it" in capsys.readouterr().err
    assert run(folder, "apply", "r.json", "in", "-o", "out", "--report", str(folder / "r.json")) == 2
    assert "would replace it" in capsys.readouterr().err
    (folder / "out").mkdir()
    nx.write_tiff(stack(), folder / "out" / "s1.ome.tif")
    other = ("--fit-on", str(folder / "out" / "s1.ome.tif"), "--overwrite")
    assert run(folder, "apply", "r.json", "in/s1.tif", "-o", "out", *other) == 2
    assert "would replace it" in capsys.readouterr().err


def test_outputs_are_places_of_their_own(folder, tmp_path, capsys):
    (folder / "other").mkdir()
    place = str(tmp_path / "h.png")
    assert run(folder, "histogram", "in/s0.tif", "--csv", place, "--png", place) == 2
    assert "are one place" in capsys.readouterr().err
    report = str(folder / "out" / "s0.ome.tif")
    assert run(folder, "apply", "r.json", "in", "-o", "out", "--report", report) == 2
    assert "are one place" in capsys.readouterr().err
    assert run(folder, "histogram", "in/s0.tif", "--csv", str(folder / "other")) == 2
    assert "other is a folder, and is not replaced" in capsys.readouterr().err


def damages(path):
    """Ways in which a result is none."""
    if path.is_dir():
        for name, content in (("zarr.json", b""), ("zarr.json", b"{"), ("0/zarr.json", b""), ("zarr.json", bytes(90))):
            yield lambda name=name, content=content: (path / name).write_bytes(content)
        yield lambda: shutil.rmtree(path / "0")
    else:
        data = path.read_bytes()
        for content in (b"", data[:5], data[: len(data) // 2], bytes(len(data)), b"no image"):
            yield lambda content=content: path.write_bytes(content)


def test_what_is_damaged_is_not_done(folder, capsys):
    call = ("apply", "r.json", "in/s0.tif", "in/z.zarr", "-o", "out")
    assert run(folder, *call) == 0
    for name, seed in (("s0.ome.tif", 0), ("z.zarr", 5)):
        path = folder / "out" / name
        for damage in list(damages(path)):
            damage()
            capsys.readouterr()
            assert run(folder, *call, "--dry-run") == 0
            assert capsys.readouterr().out.count("is there, skipped") == 1
            assert run(folder, *call) == 0
            assert "1 done, 1 skipped, 0 failed" in capsys.readouterr().out
            np.testing.assert_array_equal(np.asarray(nx.read(path).data), expected(stack(seed)))
    assert sorted(os.listdir(folder / "out")) == ["s0.ome.tif", "z.zarr"]


def test_what_is_no_result_is_kept(folder, capsys):
    (folder / "out" / "z.zarr").mkdir(parents=True)
    (folder / "out" / "z.zarr" / "thesis.odt").write_text("mine")
    # a whole TIFF, though with axes that are not read here
    options = {"photometric": "minisblack", "metadata": {"axes": "HCYX"}}
    tifffile.imwrite(folder / "out" / "s0.ome.tif", np.zeros((2, 2, 8, 9), np.uint8), **options)
    before = (folder / "out" / "s0.ome.tif").read_bytes()
    assert run(folder, "apply", "r.json", "in/s0.tif", "in/z.zarr", "-o", "out") == 1
    said = capsys.readouterr().out
    assert "0 done, 0 skipped, 2 failed" in said
    for name in ("s0.ome.tif", "z.zarr"):
        assert f"{name} is there, but is not known to be a result of this recipe and this file" in said
    assert (folder / "out" / "s0.ome.tif").read_bytes() == before
    assert run(folder, "apply", "r.json", "in/z.zarr", "-o", "out", "--overwrite") == 1
    assert (folder / "out" / "z.zarr" / "thesis.odt").read_text() == "mine"


def test_a_run_without_work_removes_what_a_dead_one_left(folder):
    assert run(folder, "apply", "r.json", "in/s0.tif", "-o", "out") == 0
    code = (
        "import os, sys; from napari_exposure.core.replacing import replacing\n"
        "with replacing(sys.argv[1]) as unfinished: unfinished.write_text('half'); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder / "out" / "gone.ome.tif")], check=False)
    assert done.returncode == 9
    assert len(os.listdir(folder / "out")) == 2
    assert run(folder, "apply", "r.json", "in/s0.tif", "-o", "out") == 0
    assert os.listdir(folder / "out") == ["s0.ome.tif"]


def test_two_runs_on_one_folder(folder):
    call = command("apply", folder / "r.json", folder / "in", "-o", folder / "out", "--overwrite")
    jobs = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for job in jobs:
        assert "5 done, 0 skipped, 0 failed" in job.communicate()[0]
    for number in range(3):
        np.testing.assert_array_equal(nx.read_tiff(folder / "out" / f"s{number}.ome.tif").data, expected(stack(number)))
    np.testing.assert_array_equal(nx.read(folder / "out" / "z.zarr").data.compute(), expected(stack(5)))
    assert len(os.listdir(folder / "out")) == 5


def test_a_table_to_a_pipe(folder):
    call = command("histogram", folder / "in" / "s0.tif", "--csv", "/dev/stdout")
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("channel,low,high,count,cdf")


# --- what a file says ---------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def movie(path, axes="TYX", shape=(3, 40, 50), **more):
    data = np.random.default_rng(0).integers(0, 999, shape).astype(np.uint16)
    metadata = {"axes": axes, "unit": "um", "finterval": 5, **more}
    tifffile.imwrite(path, data, imagej=True, resolution=(4, 4), metadata=metadata)
    return data


def adaptive(path, unit="um"):
    nx.Recipe((core.AdaptiveEqualization(4.0),), unit=unit).save(path)


def test_time_is_no_depth(here):
    plain = movie(here / "t.tif")
    colors = movie(here / "tc.tif", "TCYX", (3, 2, 40, 50), tunit="min")
    adaptive(here / "r.json")
    assert run(here, "apply", "r.json", "t.tif", "tc.tif", "-o", "out") == 0
    found = nx.read_tiff(here / "out" / "t.ome.tif")
    assert (found.axes, found.scale, found.units) == ("TYX", (5, 0.25, 0.25), ("s", "um", "um"))
    size = (0.25, 0.25, 0.25)
    expected = core.equalize_adapthist(plain[:, None], 4.0, spacing=size)[:, 0]
    np.testing.assert_array_equal(found.data, expected)
    found = nx.read_tiff(here / "out" / "tc.ome.tif")
    assert (found.axes, found.scale, found.units) == ("TCYX", (5, 1, 0.25, 0.25), ("min", "pixel", "um", "um"))
    for channel in range(2):
        expected = core.equalize_adapthist(colors[:, channel, None], 4.0, spacing=size)[:, 0]
        np.testing.assert_array_equal(found.data[:, channel], expected)


def test_a_size_that_the_file_does_not_say_is_asked_for(here, capsys):
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(here / "a.ome.tif", stack(0), photometric="minisblack", metadata={"axes": "ZYX", **sizes})
    adaptive(here / "r.json")
    assert run(here, "apply", "r.json", "a.ome.tif", "-o", "out") == 1
    assert "the file has no voxel size along z. Give it: --spacing" in capsys.readouterr().out
    assert run(here, "apply", "r.json", "a.ome.tif", "-o", "out", "--spacing", "2", "0.5", "0.5") == 0
    assert nx.read_tiff(here / "out" / "a.ome.tif").scale == (2, 0.5, 0.5)
    assert run(here, "info", "a.ome.tif") == 0
    assert "Z            ? (not in the file)" in capsys.readouterr().out


def test_images_that_are_left_out_are_said(here, capsys):
    with tifffile.TiffWriter(here / "two.ome.tif", ome=True) as file:
        for number in range(2):
            file.write(stack(number)[: 4 + number], metadata={"axes": "ZYX", "Name": f"position {number}"})
    nx.Recipe((core.Gamma(0.5),)).save(here / "r.json")
    assert run(here, "info", "two.ome.tif") == 0
    out = capsys.readouterr().out
    assert "series       0: position 0" in out
    assert "series       1: position 1" in out
    assert run(here, "apply", "r.json", "two.ome.tif", "-o", "out") == 0
    assert "image 0 of 2; left out: position 1" in capsys.readouterr().out
    assert run(here, "apply", "r.json", "two.ome.tif", "-o", "out", "--overwrite", "--series", "1") == 0
    assert nx.read_tiff(here / "out" / "two.ome.tif").data.shape == stack(1)[:5].shape
    assert run(here, "apply", "r.json", "two.ome.tif", "-o", "again", "--series", "1", "--report", "report.html") == 0
    page = (here / "report.html").read_text()
    assert "5 × 30 × 32" in page
    assert "left out: position 0" in page
    assert run(here, "info", "two.ome.tif", "--series", "2") == 2
    assert "series must be the number of an image" in capsys.readouterr().err


def test_axes_are_guessed_or_given(here, capsys):
    tifffile.imwrite(here / "a.tif", np.zeros((2, 3, 8, 9), np.uint8), photometric="minisblack")
    assert run(here, "info", "a.tif") == 0
    assert "T, Z: a guess" in capsys.readouterr().out
    assert run(here, "info", "a.tif", "--axes", "czyx") == 0
    out = capsys.readouterr().out
    assert "(CZYX)" in out
    assert "guess" not in out


def test_masks_and_complex_numbers_need_a_conversion(here, capsys):
    tifffile.imwrite(here / "mask.tif", stack(0) > 500)
    tifffile.imwrite(here / "complex.tif", np.full((8, 9), 3 + 4j, np.complex64))
    nx.Recipe((core.Gamma(0.5),)).save(here / "r.json")
    assert run(here, "apply", "r.json", "mask.tif", "complex.tif", "-o", "out") == 1
    out = capsys.readouterr().out
    assert "mask.tif holds a mask of 1 bit a pixel, which has no exposure to adjust. Convert it: --dtype uint8." in out
    assert "complex.tif holds complex numbers, which have no exposure" in out
    assert run(here, "apply", "r.json", "mask.tif", "-o", "out", "--dtype", "uint8") == 0
    assert nx.read_tiff(here / "out" / "mask.ome.tif").data.dtype == np.uint8
    assert run(here, "info", "mask.tif") == 0
    assert "range        0 to 1" in capsys.readouterr().out
    assert run(here, "info", "complex.tif", "--dtype", "float32") == 0
    assert "range        5 to 5" in capsys.readouterr().out
    # No value is lost on the way.
    tifffile.imwrite("deep.tif", stack(0), photometric="minisblack")
    assert run(here, "info", "deep.tif", "--dtype", "uint8") == 2
    assert "deep.tif holds uint16 values, of which uint8 would lose some" in capsys.readouterr().err


def test_a_set_of_files_is_one_volume(here):
    names = [f"z{number}.ome.tif" for number in range(3)]
    plane = '<TiffData FirstZ="{0}" IFD="0" PlaneCount="1"><UUID FileName="{1}">urn:uuid:{0}</UUID></TiffData>'
    planes = "".join(plane.format(*each) for each in enumerate(names))
    (here / "in").mkdir()
    for number, name in enumerate(names):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{number}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
            f'SizeX="9" SizeY="8" SizeZ="3" SizeC="1" SizeT="1"><Channel ID="Channel:0:0"/>{planes}</Pixels></Image>'
            "</OME>"
        )
        data = np.full((8, 9), number, np.uint8)
        tifffile.imwrite(here / "in" / name, data, photometric="minisblack", description=xml, metadata=None)
    tifffile.imwrite(here / "in" / "other.tif", stack(0), photometric="minisblack")
    nx.Recipe((core.Gamma(0.5),)).save(here / "r.json")
    for inputs in (["in"], [f"in/{name}" for name in (*names, "other.tif")]):
        assert run(here, "apply", "r.json", *inputs, "-o", "out", "--overwrite") == 0
        assert sorted(each.name for each in (here / "out").iterdir()) == ["other.ome.tif", "z0.ome.tif"]
    assert nx.read_tiff(here / "out" / "z0.ome.tif").data.shape == (3, 8, 9)


def test_channels_and_places_are_kept(here):
    channels = {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935]}
    sizes = {f"PhysicalSize{axis}": 0.5 for axis in "XY"}
    places = {f"Position{axis}": [number] * 2 for number, axis in enumerate("YX", 7)}
    places |= {f"Position{axis}Unit": ["µm"] * 2 for axis in "YX"}
    data = np.arange(80, dtype=np.uint8).reshape(2, 5, 8)
    metadata = {"axes": "CYX", "Channel": channels, "Plane": places, **sizes}
    tifffile.imwrite(here / "a.ome.tif", data, photometric="minisblack", metadata=metadata)
    nx.Recipe((core.Gamma(0.5),)).save(here / "r.json")
    source = nx.read_tiff(here / "a.ome.tif")
    assert source.translate == (0, 7, 8)
    for form, end in (("tiff", ".ome.tif"), ("zarr", ".zarr")):
        assert run(here, "apply", "r.json", "a.ome.tif", "-o", "out", "--format", form) == 0
        found = nx.read(here / "out" / f"a{end}")
        for name in ("axes", "scale", "units", "channels", "colors", "translate"):
            assert getattr(found, name) == getattr(source, name), name
        # A result has its own range, which OME-Zarr says.
        values = np.asarray(found.data)
        own = tuple((channel.min(), channel.max()) for channel in values)
        assert found.windows == (own if form == "zarr" else ())


# --- what a result is of ----------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """Two small stacks and two recipes."""
    for number in range(2):
        (tmp_path / "in").mkdir(exist_ok=True)
        nx.write_tiff(stack(number), tmp_path / "in" / f"s{number}.tif", spacing=SPACING, unit="um")
    Recipe((nx.Gamma(0.5),)).save(tmp_path / "r.json")
    Recipe((nx.Gamma(0.7),)).save(tmp_path / "r2.json")
    assert run(tmp_path, "apply", "r.json", "in", "-o", "out") == 0
    return tmp_path


OTHERS = {
    "recipe": lambda here: ("apply", str(here / "r2.json"), "in", "-o", "out"),
    "options": lambda here: ("apply", "r.json", "in", "-o", "out", "--spacing", "1", "1", "1"),
    "fit-on": lambda here: ("apply", "r.json", "in", "-o", "out", "--fit-on", str(here / "in" / "s0.tif")),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_result_of_something_else_is_no_result(what, pair, capsys):
    call = OTHERS[what](pair)
    before = {path.name: path.read_bytes() for path in (pair / "out").iterdir()}
    capsys.readouterr()
    assert run(pair, *call) == 1
    said = capsys.readouterr().out
    assert "0 done, 0 skipped, 2 failed" in said
    assert f"s0.ome.tif is there, but was made with another {what}. It is kept: give another folder, or" in said
    assert {path.name: path.read_bytes() for path in (pair / "out").iterdir()} == before
    assert run(pair, *call, "--dry-run") == 0
    assert f"but was made with another {what}; kept without --overwrite" in capsys.readouterr().out
    assert run(pair, *call, "--overwrite") == 0
    assert "2 done" in capsys.readouterr().out
    assert run(pair, *call) == 0
    assert "2 skipped" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["tiff", "zarr"])
def test_a_result_of_an_input_that_has_changed_is_no_result(form, pair, capsys):
    call = ("apply", "r.json", "in", "-o", "other", "--format", form)
    call = tuple(str(pair / "other") if each == "other" else each for each in call)
    assert run(pair, *call) == 0
    nx.write_tiff(stack(7), pair / "in" / "s1.tif", spacing=SPACING, unit="um", overwrite=True)
    capsys.readouterr()
    assert run(pair, *call) == 1
    said = capsys.readouterr().out
    assert "0 done, 1 skipped, 1 failed" in said
    assert "was made with another input" in said
    assert run(pair, *call, "--overwrite") == 0


def test_a_store_is_another_input_when_a_chunk_is(tmp_path, capsys):
    nx.save(stack(5), tmp_path / "in.zarr", spacing=SPACING, unit="um")
    Recipe((nx.Gamma(0.5),)).save(tmp_path / "r.json")
    call = ["apply", str(tmp_path / "r.json"), str(tmp_path / "in.zarr"), "-o", str(tmp_path / "out")]
    assert main(call) == 0
    assert main(call) == 0
    assert "1 skipped" in capsys.readouterr().out
    chunk = next(path for path in (tmp_path / "in.zarr" / "0").rglob("*") if path.is_file() and "json" not in path.name)
    os.utime(chunk, ns=(time.time_ns() + 10**9,) * 2)
    assert main(call) == 1


def test_what_was_done_before_stays_in_the_record(pair):
    out = [str(pair / name) for name in ("out", "twice")]
    assert main(["apply", str(pair / "r2.json"), out[0], "-o", out[1]]) == 0
    notes = nx.read(pair / "twice" / "s0.ome.tif").notes
    assert [step["gamma"] for step in notes["steps"]] == [0.5, 0.7]
    assert (notes["origin"], notes["source"]) == ("s0.tif", "s0.ome.tif")


@pytest.mark.parametrize("what", ["changed", "removed"])
def test_a_source_that_changes_while_it_is_read_is_an_error(what, pair, monkeypatch, capsys):
    import napari_exposure.batch as batch

    def change(*arguments):
        path = pair / "in" / "s0.tif"
        path.unlink() if what == "removed" else nx.write_tiff(stack(3), path, overwrite=True)
        return split(*arguments)

    split = batch.split
    monkeypatch.setattr(batch, "split", change)
    assert run(pair, "apply", "r.json", "in/s0.tif", "-o", "out", "--overwrite") == 1
    assert "s0.tif was changed, replaced or removed while it was read" in capsys.readouterr().out
    # the old result stays
    np.testing.assert_array_equal(nx.read(pair / "out" / "s0.ome.tif").data, core.adjust_gamma(stack(0), 0.5))


# --- names and reports ------------------------------------------------------------------


STRANGE = [
    os.fsdecode(b"not utf-8 \xff\xe9"),
    "escape \x1b[2J\x07",
    "two\nlines",
    r"math $\frac{$",
    "n" * 251,
    "核" * 80 + "nnn",
    "<script>alert(1)</script>".replace("/", ""),
    "=1+1",
    "\u202egnp",
]


def test_names_of_any_kind(tmp_path, capfd):
    for number, name in enumerate(STRANGE):
        (tmp_path / "in").mkdir(exist_ok=True)
        nx.write_tiff(stack(number, (2, 8, 9)), tmp_path / "plain.tif", overwrite=True)
        os.replace(tmp_path / "plain.tif", tmp_path / "in" / f"{name}.tif")
    Recipe((nx.Gamma(0.5),)).save(tmp_path / "r.json")
    for form in ("tiff", "zarr"):
        out, page = tmp_path / f"out {form}", tmp_path / f"{form}.html"
        call = ["apply", str(tmp_path / "r.json"), str(tmp_path / "in"), "-o", str(out), "--format", form]
        assert main([*call, "--report", str(page)]) == 0
        said = capfd.readouterr().out
        assert f"{len(STRANGE)} done" in said
        assert all(line.isprintable() for line in said.split("\n"))
        text = page.read_text(encoding="utf-8")
        assert text.count("<img") == 4 * len(STRANGE)
        # the page's own
        assert text.count("<script") == 1
        assert "\x1b" not in text
        assert main(call) == 0
        assert f"{len(STRANGE)} skipped" in capfd.readouterr().out
    for name in STRANGE:
        path = tmp_path / "in" / f"{name}.tif"
        assert main(["info", str(path)]) == 0
        outputs = "--png", str(tmp_path / "h.png"), "--csv", str(tmp_path / "h.csv")
        assert main(["histogram", str(path), *outputs, "--overwrite"]) == 0
        said = capfd.readouterr()
        assert all(line.isprintable() for line in said.out.split("\n"))


def test_channels_of_any_name(tmp_path, capfd):
    names = ("a\x00\x1b[2J", "=cmd|'/c calc'!A0")
    for ending, imagej in ((".ome.tif", False), (".tif", True), (".zarr", None)):
        path, data = tmp_path / f"a{ending}", np.stack([stack(0), stack(1)])
        if imagej is None:
            nx.save(nx.read(tmp_path / "a.ome.tif"), path)
        else:
            nx.write_tiff(data, path, axes="czyx", channels=names, imagej=imagej)
        found = nx.read(path)
        np.testing.assert_array_equal(np.asarray(found.data), data)
        assert found.channels[1] == names[1]
        assert main(["histogram", str(path), "--csv", str(tmp_path / "h.csv"), "--overwrite"]) == 0
        with open(tmp_path / "h.csv", newline="") as file:
            cells = {row["channel"] for row in csv.DictReader(file)}
        assert not [cell for cell in cells if cell.lstrip()[:1] in "=+-@"]
    capfd.readouterr()


def test_a_file_never_costs_the_report(pair, capsys):
    """Of one the result is damaged meanwhile, of another the values are near the end of float64."""
    tifffile.imwrite(pair / "in" / "huge.tif", np.linspace(-8e307, 8e307, 600).reshape(6, 10, 10))
    page = pair / "r.html"

    import napari_exposure.report as report

    def moved(path, **options):
        if path.name == "s1.tif":
            raise FileNotFoundError("moved")
        return read(path, **options)

    read = report.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "read", moved)
        assert run(pair, "apply", "r.json", "in", "-o", "out", "--report", str(page)) == 0
    text = page.read_text()
    assert "It cannot be shown: FileNotFoundError: moved" in text
    assert "huge.tif</h2>" in text
    assert "<img" in text
    assert "1 done, 2 skipped" in capsys.readouterr().out


def test_an_interrupted_run_tells_what_was_done(pair, monkeypatch, capsys):
    import napari_exposure.batch as batch

    def interrupted(*arguments, **options):
        for outcome in carried_out(*arguments, **options):
            yield outcome
            raise KeyboardInterrupt

    carried_out = batch.run
    monkeypatch.setattr(batch, "run", interrupted)
    assert run(pair, "apply", "r.json", "in", "-o", "out", "--report", str(pair / "r.html")) == 130
    assert (pair / "r.html").read_text().count("<h2>") == 2


def test_a_report_is_small(tmp_path):
    noise = np.random.default_rng(0).integers(0, 1 << 16, (3, 700, 900), dtype=np.uint16)
    nx.write_tiff(noise, tmp_path / "a.tif")
    Recipe((nx.Gamma(0.5),)).save(tmp_path / "r.json")
    out, page = str(tmp_path / "out"), tmp_path / "r.html"
    assert main(["apply", str(tmp_path / "r.json"), str(tmp_path / "a.tif"), "-o", out, "--report", str(page)]) == 0
    assert page.stat().st_size < 160_000


@pytest.mark.parametrize(("shape", "axes", "words"), [((20, 30), "yx", "0.3 0.3"), ((3, 20, 30), "zyx", "1 0.3 0.3")])
def test_the_hint_has_a_number_for_each_axis(shape, axes, words, tmp_path, capsys):
    nx.write_tiff(stack(0, shape), tmp_path / "a.tif", axes=axes)
    Recipe((nx.AdaptiveEqualization(4.0),), "um").save(tmp_path / "r.json")
    out = str(tmp_path / "out")
    assert main(["apply", str(tmp_path / "r.json"), str(tmp_path / "a.tif"), "-o", out]) == 1
    assert f"Give it: --spacing {words} --unit um." in capsys.readouterr().out
    call = ["apply", str(tmp_path / "r.json"), str(tmp_path / "a.tif"), "-o", out, "--spacing", *words.split()]
    assert main(call) == 0

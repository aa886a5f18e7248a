"""Recipes: to and from JSON, on arrays and layers, and what layers say of how they were made."""

import ast
import dataclasses
import importlib
import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr
import yaml
from napari.layers import Image, Labels

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.provenance import as_python
from napari_exposure.recipe import KEY, Recipe

SIZES = {"scale": (2.0, 0.5, 0.5), "units": ("um",) * 3}
STEPS = (nx.PercentileClip(1, 99), nx.AdaptiveEqualization(8.0, clip_limit=0.02), nx.Gamma(0.7))


@pytest.fixture
def volume():
    return np.random.default_rng(0).gamma(2, 300, (12, 30, 32)).astype(np.uint16)


@pytest.fixture
def recipe():
    return Recipe(STEPS, "µm")


def by_hand(volume, spacing=(2.0, 0.5, 0.5)):
    volume = core.clip_percentiles(volume, 1, 99)
    volume = core.equalize_adapthist(volume, 8.0, spacing=spacing, clip_limit=0.02)
    return core.adjust_gamma(volume, 0.7)


def test_steps_follow_each_other(volume, recipe):
    result = recipe.apply(volume, spacing=(2.0, 0.5, 0.5))
    np.testing.assert_array_equal(result, by_hand(volume))
    lazy = recipe.apply(da.from_array(volume, chunks=(5, 30, 10)), spacing=(2.0, 0.5, 0.5))
    assert isinstance(lazy, da.Array)
    np.testing.assert_array_equal(lazy.compute(), by_hand(volume))
    layer = recipe.apply(Image(volume, name="nuclei", **SIZES))
    np.testing.assert_array_equal(layer.data, by_hand(volume))
    assert layer.name == "nuclei - clip - adaptive - gamma"
    assert tuple(layer.scale) == SIZES["scale"]


def test_a_layer_knows_its_recipe(volume, recipe, tmp_path):
    source = Image(volume, name="nuclei", **SIZES)
    made = nx.adjust_gamma(nx.equalize_adapthist(nx.clip_percentiles(source, 1, 99), 8.0, clip_limit=0.02), 0.7)
    found = Recipe.of(made)
    assert found == recipe
    again = Recipe.load(found.save(tmp_path / "r.json"))
    assert again == recipe
    # of a chain, however it came about
    replayed = again.apply(source)
    np.testing.assert_array_equal(replayed.data, made.data)
    records = [layer.metadata["napari_exposure"] for layer in (made, replayed)]
    assert records[0]["steps"] == records[1]["steps"]
    assert records[0]["origin"] == records[1]["origin"] == "nuclei"
    assert Recipe.of(replayed) == recipe


def test_the_python_of_a_layer_makes_it_again(volume):
    source = Image(volume, name="it's", **SIZES)
    cells = Labels((volume > 500).astype(int), name="cells", **SIZES)
    made = nx.equalize_adapthist(nx.clip_percentiles(source, 1, 98, mask=cells), (6.0, 8.0, 8.0))
    made = nx.equalize_hist(made, in_range=nx.Percentiles(1, 99), output="float32")
    viewer = type("Viewer", (), {"layers": {"it's": source, "cells": cells}, "add_layer": staticmethod(list.append)})
    added = []
    viewer.add_layer = added.append
    exec(as_python(made), {"viewer": viewer})
    np.testing.assert_array_equal(added[0].data, made.data)
    assert added[0].name == made.name


def test_provenance_tells_all(volume, capsys):
    cells = Labels((volume > 500).astype(int), name="cells", **SIZES)
    made = nx.equalize_adapthist(nx.clip_percentiles(Image(volume, name="nuclei", **SIZES), 1, 98, mask=cells), 6.0)
    nx.provenance(made)
    words = capsys.readouterr().out
    for part in (
        "from: nuclei",
        "Low % 1, High % 98",
        "'cells'",
        "Tile 6 µm",
        "2 × 0.5 × 0.5 µm",
        "not for meas",
    ):
        assert part in words
    with pytest.warns(UserWarning, match="'cells'; a recipe holds no mask"):
        Recipe.of(made)


@pytest.mark.parametrize("ask", [nx.provenance, Recipe.of, as_python])
def test_other_layers_have_no_history(ask, volume):
    with pytest.raises(ValueError, match="'mine' was not made by napari-exposure"):
        ask(Image(volume, name="mine"))


def test_fit_on_gives_one_mapping(volume, recipe):
    other = (volume // 3).astype(np.uint16)
    first = Image(volume, name="a", **SIZES)
    second = Image(other, name="b", **SIZES)
    mapped = recipe.apply(second, fit_on=first)
    transforms, value, expected = [], volume, other
    for step in STEPS:
        transforms.append(step.fit(value, spacing=(2.0, 0.5, 0.5)))
        value, expected = transforms[-1].apply(value), transforms[-1].apply(expected)
    np.testing.assert_array_equal(mapped.data, expected)
    fitted = recipe.fit(volume, spacing=(2.0, 0.5, 0.5))
    np.testing.assert_array_equal(fitted.apply(other), expected)
    np.testing.assert_array_equal(recipe.apply(other, fit_on=volume, spacing=(2.0, 0.5, 0.5)), expected)
    np.testing.assert_array_equal(fitted.apply(da.from_array(other)).compute(), expected)
    assert not np.array_equal(recipe.apply(second).data, expected)


def test_fit_on_another_shape(volume):
    pointwise = Recipe((nx.PercentileClip(1, 99), nx.HistogramEqualization())).fit(volume)
    part = volume[2:7, :20]
    np.testing.assert_array_equal(pointwise.apply(part), pointwise.apply(volume)[2:7, :20])
    with pytest.raises(ValueError, match="its tiles lie where they were fitted"):
        Recipe((nx.AdaptiveEqualization(),)).fit(volume).apply(part)
    with pytest.raises(TypeError, match="fitted on uint16, this volume is uint8"):
        pointwise.apply(volume.astype(np.uint8))
    with pytest.raises(ValueError, match="per plane"):
        Recipe((nx.Gamma(0.5, per="plane"),)).fit(volume).apply(part)


@pytest.mark.parametrize("unit", ["nm", Image(np.zeros((2, 2)), units=("nm", "nm")).units[0]])
def test_units_of_arrays_are_converted(volume, unit):
    recipe = Recipe((nx.AdaptiveEqualization(5.0),), unit="um")
    expected = recipe.apply(volume, spacing=(2.0, 0.5, 0.5))
    np.testing.assert_array_equal(recipe.apply(volume, spacing=(2000, 500, 500), unit=unit), expected)
    coords = {
        dim: (dim, step * np.arange(size), {"units": str(unit)})
        for dim, step, size in zip("zyx", (2000.0, 500.0, 500.0), volume.shape, strict=True)
    }
    np.testing.assert_array_equal(recipe.apply(xr.DataArray(volume, coords, tuple("zyx"))).values, expected)


def test_units_are_converted(volume, recipe):
    in_nm = Image(volume, scale=(2000, 500, 500), units=("nm",) * 3)
    np.testing.assert_array_equal(recipe.apply(in_nm).data, by_hand(volume))
    with pytest.raises(ValueError, match="tiles in µm, but the voxel size of layer 'bare' is in px"):
        recipe.apply(Image(volume, name="bare"))
    # tiles of no size need none
    assert Recipe((nx.AdaptiveEqualization(),), "µm").apply(Image(volume)).data.shape == volume.shape


def test_multiscale_and_rgb():
    levels = [np.random.default_rng(0).integers(0, 999, (8, 16 // n, 16 // n), dtype=np.uint16) for n in (1, 2)]
    result = Recipe((nx.PercentileClip(1, 99), nx.Gamma(0.5))).apply(Image(levels, multiscale=True))
    assert result.multiscale
    expected = nx.adjust_gamma(nx.clip_percentiles(Image(levels, multiscale=True), 1, 99), 0.5)
    for ours, theirs in zip(result.data, expected.data, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    colours = np.random.default_rng(0).integers(0, 255, (9, 10, 3), dtype=np.uint8)
    result = Recipe((nx.Gamma(0.5), nx.PercentileClip(1, 99))).apply(Image(colours, rgb=True))
    expected = core.clip_percentiles(core.adjust_gamma(colours, 0.5, rgb=True), 1, 99, rgb=True)
    np.testing.assert_array_equal(result.data, expected)


GOOD = Recipe(STEPS, "µm").to_dict()
BAD = {
    "no recipe": ({}, "This is no recipe"),
    "list": ([], "This is no recipe"),
    "schema": ({**GOOD, KEY: 2}, "schema 2, this version reads 1; update"),
    "extra": ({**GOOD, "run": "import os"}, "A recipe has no run"),
    "no steps": ({KEY: 1, "unit": None}, "steps must be a list"),
    "empty": ({**GOOD, "steps": []}, "at least one adjustment"),
    "unit": ({**GOOD, "unit": 3}, "unit must be a name"),
    "step": ({**GOOD, "steps": ["gamma"]}, "Step 1: an adjustment is a table"),
    "name": ({**GOOD, "steps": [{"adjustment": "os.system"}]}, "Step 1: Unknown adjustment 'os.system'"),
    "parameter": (
        {**GOOD, "steps": [GOOD["steps"][0], {"adjustment": "Gamma", "gama": 2}]},
        "Step 2: .*no parameter gama",
    ),
    "value": ({**GOOD, "steps": [{"adjustment": "Gamma", "gamma": -1}]}, "Step 1: Gamma: gamma"),
    "text": ({**GOOD, "steps": [{"adjustment": "Gamma", "gamma": "2"}]}, "Step 1: Gamma: gamma"),
    "percentiles": (
        {**GOOD, "steps": [{"adjustment": "Gamma", "in_range": {"percentiles": [1]}}]},
        "Step 1: Gamma: percentiles must be two numbers",
    ),
    "missing": ({**GOOD, "steps": [{"adjustment": "HistogramMatching"}]}, "Step 1: HistogramMatching needs reference"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_are_checked(case, tmp_path):
    plain, words = BAD[case]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=rf"bad\.json: .*{words}"):
        Recipe.load(path)


def test_files_that_are_no_json(tmp_path):
    for text in ("", "{", "[" * 100_000):
        path = tmp_path / "bad.json"
        path.write_text(text)
        with pytest.raises(ValueError, match=r"bad\.json is no JSON"):
            Recipe.load(path)
    with pytest.raises(FileNotFoundError, match="There is no recipe"):
        Recipe.load(tmp_path / "missing.json")


def test_recipes_are_checked_when_made():
    with pytest.raises(TypeError, match="Each step of a recipe must be an adjustment"):
        Recipe(("gamma",))
    assert Recipe(nx.Gamma(0.5)).steps == (nx.Gamma(0.5),)


def test_nothing_is_fitted_where_a_later_step_does_not_fit(volume):
    with pytest.raises(TypeError, match="fit_on must be"):
        Recipe(nx.Gamma()).apply(Image(volume), fit_on=3)
    with pytest.raises(TypeError, match="mask must be a Labels layer or an array, got the Image layer"):
        Recipe(nx.Gamma()).apply(Image(volume), mask=Image(volume))


@pytest.mark.parametrize("unit", ["µm", "um", "micrometer", "Å", "angstrom", "pm", "dm", "in", "parsec", "px", "pixel"])
def test_a_unit_is_a_name_that_pint_knows(unit):
    recipe = Recipe(STEPS, unit)
    assert Recipe.from_dict(recipe.to_dict()).unit == unit


@pytest.mark.parametrize(
    "unit",
    [
        "9**9**9**9 * um",
        "um**99999999",
        "1e308*1e308*um",
        "(um)",
        "um*um",
        "um um",
        "m/m*um",
        "2 um",
        "-um",
        " um",
        "um\n",
        "",
        "nan",
        "1",
        "furlongs per fortnight",
        "um" + "*1" * 20000,
        "(" * 3000 + "um" + ")" * 3000,
        "__import__('os').getcwd()",
    ],
    ids=lambda unit: unit[:16],
)
def test_a_unit_is_nothing_that_is_computed(unit, tmp_path, volume):
    with pytest.raises(ValueError, match="unit must be the name of a unit") as caught:
        Recipe(STEPS, unit)
    assert len(str(caught.value)) < 200
    path = tmp_path / "r.json"
    path.write_text(json.dumps({KEY: 1, "unit": unit, "steps": [step.to_dict() for step in STEPS]}))
    with pytest.raises(ValueError, match=r"r\.json: unit must be"):
        Recipe.load(path)
    # what a file notes of a result
    layer = nx.equalize_adapthist(Image(volume, name="nuclei", **SIZES), 8.0)
    layer.metadata["napari_exposure"]["steps"][0]["unit"] = unit
    with pytest.raises(ValueError, match="unit must be"):
        Recipe.of(layer)


@pytest.mark.parametrize("unit", ["dB", "degC", "s", "kg"])
def test_a_unit_of_something_else(unit, volume):
    with pytest.raises(ValueError, match=f"tiles in {unit}, but the voxel size of layer 'nuclei' is in µm"):
        Recipe(STEPS, unit).apply(Image(volume, name="nuclei", **SIZES))


HUGE = "1" + "0" * 400
HOSTILE = {
    "whole numbers of any length": ('{"adjustment": "Gamma", "gamma": HUGE}', "gamma must be a finite number"),
    "and in a range": ('{"adjustment": "Gamma", "in_range": [0, HUGE]}', "in_range must be a finite number"),
    "and in percentiles": ('{"adjustment": "Gamma", "in_range": {"percentiles": [0, HUGE]}}', "finite number"),
    "and as a count": ('{"adjustment": "AdaptiveEqualization", "nbins": -HUGE}', "nbins must be a finite number"),
    "more digits than Python reads": ('{"adjustment": "Gamma", "gamma": 1' + "0" * 5000 + "}", "is no JSON"),
    "deep": (
        '{"adjustment": "Gamma", "gamma": ' + "[" * 900 + "]" * 900 + "}",
        "gamma must be a number|lists in lists",
    ),
    "long": ('{"adjustment": "' + "x" * 1_000_000 + '"}', "Unknown adjustment"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_whatever_a_file_holds_is_a_short_sentence(case, tmp_path):
    step, words = HOSTILE[case]
    path = tmp_path / "bad.json"
    path.write_text(f'{{"{KEY}": 1, "unit": null, "steps": [{step.replace("HUGE", HUGE)}]}}')
    with pytest.raises(ValueError, match=words) as caught:
        Recipe.load(path)
    assert str(caught.value).startswith("bad.json")
    assert len(str(caught.value)) < 600


def test_a_file_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "bad.json"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda self: pytest.fail("read"))
    with pytest.raises(ValueError, match=r"bad\.json is no recipe: it has 100 MB"):
        Recipe.load(path)


def test_a_unit_matters_where_there_is_a_size():
    assert Recipe((nx.Gamma(0.5),), "furlongs").unit == "furlongs"
    with pytest.raises(ValueError, match="unit must be the name of a unit"):
        Recipe((nx.AdaptiveEqualization(8.0),), "furlongs<b>")


STEP = {"adjustment": "Gamma", "gamma": 0.5}
RECORDS = {
    "no table": "x",
    "steps are a text": {"steps": "x"},
    "steps are texts": {"steps": ["x"]},
    "steps are numbers": {"steps": [1, None]},
    "no steps": {},
    "the mask is a table": {"steps": [{**STEP, "mask": {"a": 1}}]},
    "the unit is a list": {"steps": [{**STEP, "unit": [1]}]},
    "the spacing is a text": {"steps": [{"adjustment": "AdaptiveEqualization", "spacing": "abc", "unit": "um"}]},
    "the spacing is nothing": {"steps": [{"adjustment": "AdaptiveEqualization", "spacing": None, "unit": "um"}]},
    "a number without end": {"steps": [{"adjustment": "Gamma", "gamma": 10**400}]},
    "a size without end": {"steps": [{"adjustment": "AdaptiveEqualization", "spacing": [10**400], "unit": "um"}]},
    "of a later version": {"steps": [{"adjustment": "Dream"}]},
}


@pytest.mark.parametrize("case", RECORDS)
def test_records_of_layers_may_be_anything(case, volume, tmp_path):
    layer = Image(volume, name="nuclei", metadata={"napari_exposure": RECORDS[case]})
    for ask in (nx.provenance, as_python, Recipe.of):
        with pytest.raises(ValueError, match="'nuclei'"):
            ask(layer)
    result = nx.adjust_gamma(layer, 0.5)
    assert result.metadata["napari_exposure"]["steps"][-1]["gamma"] == 0.5
    assert nx.read_tiff(nx.save(result, tmp_path / "r.ome.tif")).notes["steps"][-1]["gamma"] == 0.5


@pytest.mark.parametrize("seconds", ["long", 10**400, [1]])
def test_what_a_record_says_besides_is_not_needed(seconds, volume, capsys):
    record = {"steps": [STEP], "origin": {"a": 1}, "seconds": seconds, "version": None}
    layer = Image(volume, name="nuclei\x1b[2J", metadata={"napari_exposure": record})
    nx.provenance(layer)
    assert "1. Gamma: Gamma 0.5" in capsys.readouterr().out
    assert Recipe.of(layer).steps == (nx.Gamma(0.5),)


NAMES = [
    "a'];__import__('os').abort()#",
    'a"""\n__import__("os").abort()\n',
    "\\'",
    "Percentiles(1, 2)",
    "\u202e",
    "x\r\nimport os",
    "\x00",
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_is_copied_as_python_keeps_names_and_runs_only_our_calls(name, volume, capsys):
    image, mask = Image(volume, name=name), Labels((volume > 20).astype(np.uint8), name=f"mask Percentiles({name}")
    result = nx.adjust_gamma(nx.clip_percentiles(image, 1, 99, mask=mask), 0.5, in_range=nx.Percentiles(0, 99))
    tree = ast.parse(as_python(result))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert {image.name, mask.name} <= texts
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert calls == {"nx.clip_percentiles", "nx.adjust_gamma", "nx.Percentiles", "viewer.add_layer"}
    nx.provenance(result)
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


def test_tiles_in_a_unit_need_the_size_of_a_voxel(volume, recipe):
    for ask in (recipe.apply, recipe.fit):
        with pytest.raises(ValueError, match=r"tiles in µm, but an array does not say how large a voxel is.*spacing="):
            ask(volume)
        with pytest.raises(TypeError, match="unit is that of spacing"):
            ask(volume, unit="nm")
        with pytest.raises(ValueError, match="tiles in µm, to which spacing in s does not convert"):
            ask(volume, spacing=(2, 1, 1), unit="s")
    np.testing.assert_array_equal(recipe.apply(volume, spacing=(2000, 500, 500), unit="nm"), by_hand(volume))
    np.testing.assert_array_equal(recipe.fit(volume, spacing=(2, 0.5, 0.5)).apply(volume), by_hand(volume))
    # tiles in voxels, or in whatever spacing is in
    for unit in (None, "px"):
        found = Recipe(STEPS, unit).apply(volume)
        np.testing.assert_array_equal(found, by_hand(volume, (1.0, 1.0, 1.0)))
    assert Recipe((nx.Gamma(0.5),), "µm").apply(volume).shape == volume.shape


@pytest.mark.parametrize("per", ["dataset", "volume", "plane"])
def test_spacing_of_two_numbers_says_that_two_axes_are_space(per):
    movie = np.random.default_rng(0).gamma(2, 200, (5, 40, 44)).astype(np.uint16)
    steps = (core.PercentileClip(1, 99, per=per), core.AdaptiveEqualization(12.0, per=per))
    # the same with a depth of one plane
    deep = Recipe(steps).apply(movie[:, None], spacing=(7.0, 0.5, 0.25))[:, 0]
    np.testing.assert_array_equal(Recipe(steps).apply(movie, spacing=[0.5, 0.25]), deep)
    adaptive = core.equalize_adapthist(movie, 12.0, spacing=(0.5, 0.25), per=per)
    np.testing.assert_array_equal(
        adaptive, core.equalize_adapthist(movie[:, None], 12.0, spacing=(7, 0.5, 0.25), per=per)[:, 0]
    )
    with pytest.raises(ValueError, match="spacing has 1 numbers"):
        core.equalize_adapthist(movie, 12.0, spacing=[0.5])


def test_references_with_colors_are_kept_in_recipes(tmp_path):
    rng = np.random.default_rng(0)
    image, other = rng.integers(0, 99, (20, 24, 3), dtype=np.uint8), rng.integers(50, 250, (40, 30, 3), dtype=np.uint8)
    layers = [Image(each, rgb=True, name=name) for each, name in ((image, "image"), (other, "other"))]
    made = nx.match_histograms(*layers, colors="each")
    np.testing.assert_array_equal(made.data, core.match_histograms(image, other, colors="each", rgb=True))
    recipe = Recipe.of(made)
    again = Recipe.load(recipe.save(tmp_path / "colors.json"))
    assert again == recipe
    assert again.steps[0].reference.colors == recipe.steps[0].reference.colors
    np.testing.assert_array_equal(again.apply(layers[0]).data, made.data)
    swapped = dataclasses.replace(recipe.steps[0].reference, colors=recipe.steps[0].reference.colors[::-1])
    assert dataclasses.replace(recipe.steps[0], reference=swapped) != recipe.steps[0]


# --- workflows of other plugins ---------------------------------------------------------


def run_workflow(plan, image):
    """What ndev-workflows does with its YAML: a task is a path of a function, arg0 of another task, and the rest."""
    results = {"image": image}
    assert plan["inputs"] == ["image"]
    for name, task in plan["tasks"].items():
        module, _, function = task["function"].rpartition(".")
        given = dict(task["params"])
        results[name] = getattr(importlib.import_module(module), function)(results[given.pop("arg0")], **given)
    (last,) = plan["outputs"]
    return results[last]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe((nx.PercentileClip(1, 99), nx.Gamma(0.5))),
        Recipe((nx.Gamma(0.5), nx.Gamma(0.5))),
        Recipe((nx.AdaptiveEqualization(4000.0, nx.NoiseLimit(0.02), per="volume"), nx.Gamma(0.7)), "nm"),
    ],
)
def test_a_workflow_of_plain_data_does_the_same(recipe):
    volume = np.random.default_rng(0).gamma(4, 100, (8, 24, 32)).astype(np.uint16)
    plan = recipe.workflow(spacing=(2, 1, 1), unit="um")
    assert yaml.safe_load(yaml.safe_dump(plan)) == plan
    expected = recipe.apply(volume, spacing=(2, 1, 1), unit="um")
    np.testing.assert_array_equal(run_workflow(yaml.safe_load(yaml.safe_dump(plan)), volume), expected)
    assert len(plan["tasks"]) == len(recipe.steps)


def test_a_workflow_knows_how_large_its_tiles_are():
    with pytest.raises(ValueError, match=r"Give it: spacing=\(z, y, x\) in um"):
        Recipe(nx.AdaptiveEqualization(4.0), "um").workflow()
    with pytest.raises(ValueError, match="does not convert"):
        Recipe(nx.AdaptiveEqualization(4.0), "um").workflow(spacing=(1, 1, 1), unit="s")
    for spacing in ((0.5, -1, 0.5), (1, float("nan"), 1), (1,), "abc"):
        with pytest.raises((TypeError, ValueError), match="spacing"):
            Recipe(nx.AdaptiveEqualization(4.0), "um").workflow(spacing=spacing)
    tasks = Recipe(nx.AdaptiveEqualization(4.0), "um").workflow(spacing=2, unit="um")["tasks"]
    assert tasks["1 Adaptive equalization"]["params"]["spacing"] == [2.0, 2.0, 2.0]

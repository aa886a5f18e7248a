"""What is suggested for volumes of known truth, for real ones, for layers and for files."""

import warnings

import numpy as np
import pytest
import xarray as xr
from napari.layers import Image, Labels

import napari_exposure as nx
from core import scenes
from napari_exposure import samples
from napari_exposure.cli import main

SMALL = (8.0, 8.0, 8.0)


def steps(suggestion):
    return () if suggestion.recipe is None else suggestion.recipe.steps


def alike(one, other):
    return np.corrcoef(np.ravel(one).astype(float), np.ravel(other).astype(float))[0, 1]


def test_nothing_is_suggested_for_a_volume_that_needs_nothing():
    found = nx.suggest(scenes.scene(0), spacing=1.0, unit="um")
    assert found.recipe is None
    assert found.reasons == ()
    assert "needs no adjustment" in str(found)
    assert found.finding("noise") is not None
    assert found.finding("decay along z") is None
    assert (found.looked, found.of) == (scenes.scene(0).size,) * 2


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_decay_is_corrected_along_its_axis(axis):
    even = scenes.scene(3, SMALL)
    volume = scenes.scene(3, SMALL, decay=2.5, axis="zyx".index(axis))
    found = nx.suggest(volume, spacing=(2.0, 0.5, 0.5), unit="um")
    (step,) = steps(found)
    assert isinstance(step, nx.DecayCorrection)
    assert (step.axis, step.model) == (axis, "exponential")
    assert step.background == pytest.approx(scenes.OFFSET, abs=8)
    assert axis in found.reasons[0]
    decay = found.finding(f"decay along {axis}")
    extent = scenes.SHAPE["zyx".index(axis)] * {"z": 2.0, "y": 0.5, "x": 0.5}[axis]
    # the length over which the light falls to 1 / e
    assert decay.figure == pytest.approx(extent / 2.5, rel=0.12)
    assert decay.sure == "sure"
    corrected = found.recipe.apply(volume, spacing=(2.0, 0.5, 0.5))
    assert alike(corrected, even) > alike(volume, even) + 0.05


def test_a_saw_tooth_is_corrected_plane_by_plane():
    found = nx.suggest(scenes.scene(1, teeth=0.4), spacing=1.0, unit="um")
    (step,) = steps(found)
    assert (step.model, step.axis) == ("plane", "z")
    saw = 1 + 0.4 * ((np.arange(48) % 10) / 9 - 0.5)
    assert np.std(np.log(step.fit(scenes.scene(1, teeth=0.4)).gains * saw)) < 0.2 * np.std(np.log(saw))
    assert found.finding("saw-tooth").figure > 0.2


def test_regions_that_differ_are_stretched_in_tiles_of_some_structures():
    volume = scenes.scene(2, (10.0,) * 3).astype(np.float64)
    # two quarters of the field are dim, which is no decay along any axis
    far = np.arange(160) >= 80
    light = np.where(far[:, None] ^ far, 0.08, 1.0)
    dim = np.rint(100 + (volume - 100) * light).astype(np.uint16)
    found = nx.suggest(dim, spacing=0.5, unit="um")
    (step,) = [each for each in steps(found) if isinstance(each, nx.LocalStretch)]
    # the dim quarters make structures look a little larger
    assert step.kernel_size == pytest.approx(2.5 * 10 * 0.5, rel=0.4)
    assert isinstance(step.max_gain, nx.NoiseLimit)
    assert found.recipe.unit == "um"
    assert found.finding("regions").figure > 4
    assert not any(isinstance(each, nx.Gamma) for each in steps(found))


def test_hot_voxels_are_clipped():
    volume = scenes.scene(4)
    places = np.random.default_rng(0).integers(4, 44, (80, 3))
    volume[tuple(places.T)] = 65535
    found = nx.suggest(volume, spacing=1.0, unit="um")
    clip = next(step for step in steps(found) if isinstance(step, nx.PercentileClip))
    assert clip.low == 0
    assert 99 < clip.high < 100 * (1 - 80 / volume.size / 2)
    result = found.recipe.apply(volume, spacing=1.0)
    assert np.percentile(result, 99.9) > 20_000


def test_time_points_that_flicker_are_made_alike():
    series = scenes.series(0, 0.1)
    found = nx.suggest(series, spacing=1.0, unit="um")
    assert found.finding("flicker").figure > 0.05
    (step,) = steps(found)
    assert (step.axis, step.model, step.per) == ("t", "ratio", "dataset")
    # It holds, so that nothing warns, and intensities keep their scale.
    even = found.recipe.apply(series, spacing=1.0)
    means = [each.reshape(12, -1).mean(axis=1) - scenes.OFFSET for each in (series, even)]
    assert np.ptp(means[0]) > 0.15 * means[0].mean()
    assert np.ptp(means[1]) < 0.05 * means[0].mean()
    still = nx.suggest(scenes.series(0), spacing=1.0, unit="um")
    assert still.finding("flicker") is None
    assert still.recipe is None


def test_a_series_that_bleaches_is_corrected_above_the_level_that_does_not():
    series = scenes.series(4).astype(float)
    lamp = np.exp(-np.linspace(0, 0.6, 12))
    bleached = np.rint((series - 100) * lamp[:, None, None, None] + 100).astype(np.uint16)
    found = nx.suggest(bleached, spacing=1.0, unit="um")
    assert found.finding("bleaching").figure == pytest.approx(np.exp(-0.6 * 12 / 11), rel=0.1)
    (step,) = steps(found)
    assert (step.axis, step.model) == ("t", "ratio")
    assert step.background == pytest.approx(scenes.OFFSET, abs=20)
    gains = step.fit(bleached).gains
    np.testing.assert_allclose(gains * lamp, 1, atol=0.06)
    # Channels are no time points, however much they differ, and those of a series have gains of their own.
    channels = Image(bleached[:9], axis_labels=("c", "z", "y", "x"))
    assert nx.suggest(channels).finding("bleaching") is None
    both = Image(np.stack([bleached, bleached // 2 + 50], axis=1), axis_labels=("t", "c", "z", "y", "x"))
    assert [step.per for step in steps(nx.suggest(both)) if isinstance(step, nx.DecayCorrection)] == ["volume"]


def test_a_saw_tooth_that_no_gain_of_planes_takes_back_is_only_told():
    """What few balls a plane has differs by more than the saw-tooth, so that the correction would refuse."""
    found = nx.suggest(scenes.scene(1, teeth=0.05), spacing=1.0, unit="um")
    assert 0.02 < found.finding("saw-tooth").figure < 0.1
    assert found.recipe is None


def test_where_half_of_what_is_lit_is_dim_the_background_stays_dark():
    """One bright thing as large as the volume, with a dim surrounding, in a stack that is mostly empty."""
    shape = 40, 120, 120
    axes = np.indices(shape, sparse=True)
    away = np.sqrt(sum(((axis - n / 2) / (0.45 * n)) ** 2 for axis, n in zip(axes, shape, strict=True)))
    light = np.where(away < 1, 0.2 + 25 * np.exp(-((away / 0.12) ** 2)) + 0.2 * (1 - away), 0)
    volume = scenes.photograph(light, np.random.default_rng(3))
    found = nx.suggest(volume, spacing=1.0, unit="um")
    (step,) = steps(found)
    assert isinstance(step, nx.HistogramEqualization)
    assert step.anchor
    assert found.finding("crowded").figure < 0.05
    result = found.recipe.apply(volume, spacing=1.0)
    assert np.median(result[away > 1]) == 0
    assert np.median(result[away < 1]) > 0.3 * 65535


def test_no_size_is_told_along_an_axis_that_is_too_short_for_it():
    whole = scenes.scene(6, (10.0,) * 3)
    for planes in (1, 2, 6):
        found = nx.suggest(whole[20 : 20 + planes], spacing=(2.0, 0.5, 0.5), unit="um").finding("structures")
        assert found.sentence.endswith("um large along y and x; along z it is too short to tell")
        assert found.figure == pytest.approx(5, rel=0.25)
    found = nx.suggest(whole, spacing=(2.0, 0.5, 0.5), unit="um").finding("structures")
    assert found.sentence.endswith("um large")
    assert found.figure == pytest.approx((20 + 5 + 5) / 3, rel=0.25)


def test_saturation_is_said_and_not_mended():
    found = nx.suggest(np.minimum(scenes.scene(0), 400), spacing=1.0, unit="um")
    assert found.finding("saturation").figure == pytest.approx(0.1, abs=0.1)


@pytest.mark.parametrize(
    ("spacing", "unit", "words"),
    [
        (None, None, "not known"),
        (1.0, "m", "improbable"),
        ((1.0, 0.001, 0.001), "um", "1000 times"),
        ((1.0, 0.3, 0.3), "um", None),
        ((300.0, 100.0, 100.0), "nm", None),
    ],
)
def test_sizes_of_voxels_that_are_missing_or_improbable(spacing, unit, words):
    finding = nx.suggest(scenes.scene(0), spacing=spacing, unit=unit).finding("voxel size")
    assert (finding is None) if words is None else (words in finding.sentence)


def test_structures_are_measured_in_units():
    found = nx.suggest(scenes.scene(5, (10.0,) * 3), spacing=(0.5, 0.5, 0.5), unit="um")
    assert found.finding("structures").figure == pytest.approx(5, rel=0.2)
    assert "um" in found.finding("structures").sentence
    # the unit of a layer is one of pint
    unit = Image(np.zeros((2, 2)), units=("um", "um")).units[0]
    other = nx.suggest(scenes.scene(5, (10.0,) * 3), spacing=(0.5, 0.5, 0.5), unit=unit)
    assert other.finding("structures").figure == found.finding("structures").figure
    with pytest.raises(ValueError, match="unit must be the name of a unit"):
        nx.suggest(scenes.scene(5), spacing=0.5, unit="xyz")


def test_sizes_without_a_unit_are_not_in_voxels():
    volume = scenes.scene(5, (10.0,) * 3)
    coords = {dim: (dim, 0.5 * np.arange(size), {"units": "um"}) for dim, size in zip("zyx", volume.shape, strict=True)}
    for image, spacing, size, unit in (
        (volume, 0.5, 5, "units"),
        (Image(volume, scale=(0.5,) * 3), None, 5, "units"),
        (volume, 1.0, 10, "voxels"),
        (xr.DataArray(volume, coords, tuple("zyx")), None, 5, "um"),
    ):
        sentence = nx.suggest(image, spacing=spacing).finding("structures").sentence
        *_, number, word, large = sentence.split()
        assert (word, large) == (unit, "large")
        assert float(number) == pytest.approx(size, rel=0.25)


@pytest.fixture(scope="module")
def nuclei():
    """The two, and what is suggested for each by itself."""
    both = [layer[0] for layer in samples.degraded_nuclei()]
    return both, [nx.suggest(each, spacing=samples.NUCLEI_SPACING, unit="um") for each in both]


def test_real_nuclei_and_their_degraded_twin_become_alike(nuclei):
    both, found = nuclei
    results = [
        volume if each.recipe is None else each.recipe.apply(volume, spacing=samples.NUCLEI_SPACING)
        for volume, each in zip(both, found, strict=True)
    ]
    assert alike(*both) < 0.57
    assert alike(*results) > 0.98
    assert alike(results[1], both[0]) > 0.95
    assert [step.axis for step in steps(found[1]) if isinstance(step, nx.DecayCorrection)] == ["x"]
    # 67 um of which exp(-3) is left
    assert found[1].finding("decay along x").figure == pytest.approx(256 * 0.26 / 3, rel=0.1)


def test_a_layer_knows_its_size_and_its_mask_counts(nuclei):
    (_, degraded), (_, expected) = nuclei
    layer = Image(degraded, name="nuclei", scale=samples.NUCLEI_SPACING, units=("um",) * 3)
    found = nx.suggest(layer)
    assert steps(found) == steps(expected)
    assert [each.sentence for each in found.findings] == [
        each.sentence.replace(" um", " µm") for each in expected.findings
    ]
    result = found.recipe.apply(layer)
    assert result.name.startswith("nuclei - corrected")
    assert nx.suggest(Image(degraded)).finding("voxel size").sentence.endswith("in voxels")
    mask = np.zeros(degraded.shape, int)
    mask[:, :, :30] = 1
    inside = nx.suggest(layer, mask=Labels(mask))
    assert inside.finding("noise").figure > 2 * found.finding("noise").figure
    with pytest.raises(TypeError, match="spacing"):
        nx.suggest(layer, spacing=1.0)


def test_a_suggestion_is_a_recipe_in_a_file(nuclei, tmp_path):
    _, (_, found) = nuclei
    found.recipe.save(tmp_path / "recipe.json")
    assert nx.Recipe.load(tmp_path / "recipe.json") == found.recipe
    text = str(found)
    assert text.startswith("looked at 3,932,160 of 3,932,160 voxels")
    for reason in found.reasons:
        assert f"because {reason}" in text
    assert len(found.reasons) == len(found.recipe.steps)


@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "rgb", "plane", "series of planes", "constant", "nan"])
def test_every_kind_of_image_has_an_answer(kind):
    volume = scenes.scene(0)[:12, :60, :60]
    rgb = kind == "rgb"
    images = {
        "rgb": np.stack([volume // 4] * 3, axis=-1).astype(np.uint8),
        "plane": volume[0],
        "series of planes": volume[:, None],
        "constant": np.full((6, 20, 20), 9, np.uint8),
        "nan": np.where(volume > 400, np.nan, volume).astype(np.float32),
    }
    image = images[kind] if kind in images else (volume // 4).astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = nx.suggest(image, rgb=rgb or None)
        if found.recipe is not None:
            found.recipe.apply(image, rgb=rgb or None)
    assert found.findings
    with pytest.raises(ValueError, match="empty"):
        nx.suggest(np.zeros((0, 3, 4)))


def test_images_without_an_answer_say_why():
    """What nothing can be known of is not told to need no adjustment."""
    with pytest.raises(TypeError, match="A mask of two values has no exposure"):
        nx.suggest(np.ones((4, 9, 9), bool))
    with pytest.raises(TypeError, match="A mask of two values has no exposure"):
        nx.noise_level(np.ones((4, 9, 9), bool))
    with pytest.raises(ValueError, match="no finite voxels that count, so nothing can be suggested"):
        nx.suggest(np.full((4, 9, 9), np.nan))


# --- the command ------------------------------------------------------------------------


@pytest.fixture
def stack(tmp_path):
    """A file with a voxel size, whose volume fades along y."""
    path = tmp_path / "stack.ome.tif"
    nx.write_tiff(scenes.scene(3, SMALL, decay=2.5, axis=1), path, spacing=(1.0, 0.5, 0.5), unit="um")
    return path


def test_the_command_prints_and_writes_a_recipe(stack, tmp_path, capsys):
    assert main(["suggest", str(stack), "-o", str(tmp_path / "recipe.json")]) == 0
    said = capsys.readouterr().out
    assert "fades along y steadily" in said
    assert "because" in said
    recipe = nx.Recipe.load(tmp_path / "recipe.json")
    assert recipe == nx.suggest(nx.read_tiff(stack).data, spacing=(1.0, 0.5, 0.5), unit="um").recipe
    # and the file that it was made for takes it
    assert main(["apply", str(tmp_path / "recipe.json"), str(stack), "-o", str(tmp_path / "out")]) == 0


def test_the_command_takes_a_voxel_size(stack, capsys):
    assert main(["suggest", str(stack), "--spacing", "1000", "500", "500", "--unit", "nm"]) == 0
    assert " nm" in capsys.readouterr().out


def test_where_nothing_is_suggested_nothing_is_written(tmp_path, capsys):
    path = tmp_path / "even.ome.tif"
    nx.write_tiff(scenes.scene(0), path, spacing=(1.0, 1.0, 1.0), unit="um")
    assert main(["suggest", str(path), "-o", str(tmp_path / "recipe.json")]) == 0
    assert "not written" in capsys.readouterr().out
    assert not (tmp_path / "recipe.json").exists()


@pytest.mark.parametrize("arguments", [["--channel", "2"], ["--unit", "parsnip"], ["--spacing", "1", "-1", "1"]])
def test_options_that_do_not_fit(stack, arguments, capsys):
    assert main(["suggest", str(stack), *arguments]) == 2
    assert "napari-exposure:" in capsys.readouterr().err


def test_a_recipe_never_replaces_the_volume(stack, capsys):
    before = stack.read_bytes()
    assert main(["suggest", str(stack), "-o", str(stack)]) == 2
    assert stack.read_bytes() == before


def test_a_movie_of_planes_and_channels(tmp_path, capsys):
    path = tmp_path / "movie.ome.tif"
    data = np.stack([scenes.series(0)[:, 0], scenes.series(1, 0.3)[:, 0]], axis=1)
    import tifffile

    tifffile.imwrite(path, data, metadata={"axes": "TCYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, ome=True)
    for channel in ("0", "1"):
        assert main(["suggest", str(path), "--channel", channel]) == 0
        assert "one of 2 channels" in capsys.readouterr().out


@pytest.mark.parametrize(
    "said", [{"units": ("s", "um", "um")}, {"axis_labels": ("t", "y", "x")}, {"axis_labels": ("time", "y", "x")}]
)
def test_a_movie_of_planes_has_no_depth(said):
    rng = np.random.default_rng(0)
    light = np.exp(-1.5 * np.arange(12) / 12)[:, None, None]
    movie = (light * rng.gamma(4, 100, (96, 96)) + 100 + rng.normal(0, 3, (12, 96, 96))).astype(np.uint16)
    found = nx.suggest(Image(movie, scale=(1, 0.5, 0.5), **said))
    assert found.finding("bleaching").figure == pytest.approx(np.exp(-1.5), abs=0.08)
    assert not [each for each in found.findings if "along z" in str(each)]
    # what is suggested can be applied
    assert found.recipe.apply(Image(movie, **said)).data.shape == movie.shape
    # on arrays the length of spacing says it
    assert nx.suggest(movie, spacing=(0.5, 0.5)).finding("bleaching") is not None

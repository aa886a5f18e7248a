"""The verbs on layers: data as core makes them, placed and recorded as DESIGN 7 says.  No display is needed."""

from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from napari.layers import Image, Labels, Points
from napari.utils.colormaps import ensure_colormap

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.core import progress
from napari_exposure.provenance import as_python
from napari_exposure.source import Origin, window_bar

# the volumes here do not fade
pytestmark = pytest.mark.filterwarnings("ignore:Depth correction. nothing is corrected")
VERBS = {
    "gamma": (nx.adjust_gamma, core.adjust_gamma),
    "clip": (nx.clip_percentiles, core.clip_percentiles),
    "equalized": (nx.equalize_hist, core.equalize_hist),
    "adaptive": (nx.equalize_adapthist, core.equalize_adapthist),
    "corrected": (nx.correct_decay, core.correct_decay),
    "degraded": (nx.degrade, core.degrade),
}


@pytest.fixture
def volume():
    rng = np.random.default_rng(1)
    return rng.gamma(2, 300, (6, 20, 24)).astype(np.uint16)


@pytest.fixture
def layer(volume):
    return Image(
        volume,
        name="nuclei",
        scale=(2, 0.5, 0.5),
        translate=(10, -3, 4),
        rotate=30,
        shear=(0.1, 0, 0),
        affine=np.diag([1, 2, 1, 1]),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
        colormap="magenta",
        blending="additive",
        rendering="attenuated_mip",
        gamma=0.7,
        contrast_limits=(100, 900),
        metadata={"stain": "DAPI"},
    )


@pytest.mark.parametrize("name", VERBS)
def test_result_lies_on_the_source_and_looks_like_it(layer, volume, name):
    before = volume.copy()
    on_layer, on_array = VERBS[name]
    result = on_layer(layer)
    assert isinstance(result, Image)
    assert result.name == f"nuclei - {name}"
    np.testing.assert_array_equal(layer.data, before)
    extra = {"spacing": (2, 0.5, 0.5)} if name == "adaptive" else {}
    np.testing.assert_array_equal(result.data, on_array(volume, **extra))
    corners = np.array(list(np.ndindex(2, 2, 2))) * (np.array(volume.shape) - 1)
    for corner in corners:
        np.testing.assert_allclose(result.data_to_world(corner), layer.data_to_world(corner))
    for attribute in ("units", "axis_labels", "blending", "rendering"):
        assert getattr(result, attribute) == getattr(layer, attribute)
    assert result.colormap.name == "magenta"
    # baked in or wrong on the new values, but where these mean what they did
    assert result.gamma == 1
    keeps = Origin.of(result).transform.adjustment.keeps_scale
    assert (tuple(result.contrast_limits) == (100, 900)) == keeps
    assert result.metadata["stain"] == "DAPI"
    assert "napari_exposure" not in layer.metadata


def test_contrast_limits_are_what_the_result_can_hold(layer, volume):
    assert nx.adjust_gamma(layer).contrast_limits == [volume.min(), volume.max()]
    assert nx.clip_percentiles(layer).contrast_limits == [0, 65535]
    assert nx.equalize_hist(layer, output="float32").contrast_limits == [0, 1]


def test_provenance_records_a_chain(layer):
    clipped = nx.clip_percentiles(layer, 1, 99)
    result = nx.equalize_adapthist(clipped, 4.0, clip_limit=0.02)
    record = result.metadata["napari_exposure"]
    assert record["source"] == "nuclei - clip"
    assert [step["adjustment"] for step in record["steps"]] == ["PercentileClip", "AdaptiveEqualization"]
    first, second = record["steps"]
    assert (first["low"], first["high"]) == (1.0, 99.0)
    assert second["kernel_size"] == 4.0
    assert second["clip_limit"] == 0.02
    assert second["spacing"] == [2.0, 0.5, 0.5]
    assert second["unit"] == "µm"
    assert record["seconds"] >= 0
    assert "not for measuring" in record["note"]
    assert len(clipped.metadata["napari_exposure"]["steps"]) == 1


def test_kernel_size_is_in_the_unit_of_the_layer(volume):
    fine = Image(volume, scale=(2, 0.5, 0.5), units=("um",) * 3)
    same = Image(volume, scale=(2000, 500, 500), units=("nm",) * 3)
    np.testing.assert_array_equal(
        nx.equalize_adapthist(fine, 4.0).data,
        nx.equalize_adapthist(same, 4000.0).data,
    )
    mixed = Image(volume, scale=(0.002, 0.5, 0.5), units=("mm", "um", "um"))
    np.testing.assert_array_equal(nx.equalize_adapthist(mixed, 4.0).data, nx.equalize_adapthist(fine, 4.0).data)


def test_time_series_of_planes(volume):
    layer = Image(volume, name="movie", units=("s", "um", "um"), scale=(30, 0.5, 0.5))
    np.testing.assert_array_equal(nx.adjust_gamma(layer, 0.5).data, core.adjust_gamma(volume, 0.5))
    result = nx.equalize_adapthist(layer, 4.0)
    np.testing.assert_array_equal(result.data, core.equalize_adapthist(volume, 4.0, spacing=(0.5, 0.5)))
    mixed = Image(volume, name="mixed", units=("um", "um", "pixel"))
    with pytest.raises(ValueError, match=r"'mixed'.*does not convert to px.*layer\.axis_labels"):
        nx.equalize_adapthist(mixed)
    result = nx.equalize_adapthist(layer, 4.0, per="plane")
    np.testing.assert_array_equal(result.data, core.equalize_adapthist(volume, 4.0, spacing=0.5, per="plane"))


def test_errors_while_it_runs_name_the_layer():
    layer = Image(np.full((3, 4, 5), np.nan, np.float32), name="empty", contrast_limits=(0, 1))
    with pytest.raises(ValueError, match="Layer 'empty': There is no finite voxel"):
        nx.equalize_hist(layer)


def test_time_may_have_any_unit(volume):
    layer = Image(volume[None], units=("s", "um", "um", "um"), scale=(30, 2, 0.5, 0.5))
    result = nx.equalize_adapthist(layer, 4.0)
    assert result.metadata["napari_exposure"]["steps"][0]["spacing"] == [2.0, 0.5, 0.5]


def test_contrast_limits_as_input_range(layer, volume):
    result = nx.clip_percentiles(layer, 0, 100, in_range="contrast_limits")
    np.testing.assert_array_equal(result.data, core.clip_percentiles(volume, 0, 100, in_range=(100, 900)))


def test_mask_is_a_labels_layer(layer, volume):
    mask = Labels((volume > 500).astype(np.uint8), name="cells")
    result = nx.equalize_hist(layer, mask=mask)
    np.testing.assert_array_equal(result.data, core.equalize_hist(volume, mask=volume > 500))
    assert result.metadata["napari_exposure"]["steps"][0]["mask"] == "cells"
    with pytest.raises(ValueError, match=r"'small' has shape.*'nuclei' has"):
        nx.equalize_hist(layer, mask=Labels(np.zeros((2, 2, 2), int), name="small"))
    with pytest.raises(TypeError, match="a Labels layer or an array, got the Image layer"):
        nx.equalize_hist(layer, mask=layer)


def test_rgb_layer_stays_rgb():
    rng = np.random.default_rng(2)
    data = rng.integers(0, 255, (4, 12, 12, 3), dtype=np.uint8)
    result = nx.adjust_gamma(Image(data, rgb=True, name="colour"), 0.5)
    assert result.rgb
    assert result.data.shape == data.shape
    np.testing.assert_array_equal(result.data, core.adjust_gamma(data, 0.5, rgb=True))


def test_multiscale_layer_gives_its_levels(volume):
    layer = Image([volume, volume[:, ::2, ::2]], multiscale=True, scale=(2, 0.5, 0.5))
    result = nx.adjust_gamma(layer, 0.5)
    assert result.multiscale
    np.testing.assert_array_equal(result.data[0], core.adjust_gamma(volume, 0.5))
    np.testing.assert_array_equal(result.data[1], core.adjust_gamma(volume, 0.5)[:, ::2, ::2])
    np.testing.assert_allclose(result.scale, (2, 0.5, 0.5))
    # fitted on the coarse level
    for verb in (nx.equalize_hist, nx.equalize_adapthist):
        coarse = Image(volume[:, ::2, ::2], scale=(2, 1, 1))
        on_coarse, alone = verb(layer, level=1), verb(coarse)
        np.testing.assert_array_equal(on_coarse.data[1], alone.data)
        assert on_coarse.data[0].shape == volume.shape
    with pytest.raises(ValueError, match=r"has 2 level\(s\): level must be 0 to 1, got 2"):
        nx.adjust_gamma(layer, level=2)
    with pytest.raises(ValueError, match="use level=0 with it"):
        nx.adjust_gamma(layer, level=1, mask=Labels(np.ones(volume.shape, int)))
    # planes that have fits of their own, on a level that has fewer of them
    pyramid = Image([volume, volume[1::3, ::2, ::2]], multiscale=True)
    planes = nx.equalize_hist(pyramid, per="plane")
    np.testing.assert_array_equal(planes.data[1], planes.data[0][1::3, ::2, ::2])
    with pytest.raises(ValueError, match="fewer planes than level 0"):
        nx.equalize_hist(pyramid, per="plane", level=1)


@pytest.mark.filterwarnings("ignore:Gamma. The volume has only one intensity")
def test_constant_layer_has_valid_contrast_limits():
    low, high = nx.adjust_gamma(Image(np.full((3, 4, 5), 7, np.uint8))).contrast_limits
    assert low < high


@pytest.mark.parametrize("verb", [on_layer for on_layer, _ in VERBS.values()])
def test_what_is_not_an_image_layer_is_named(verb, volume):
    with pytest.raises(TypeError, match="'cells' is a Labels layer"):
        verb(Labels(np.zeros((3, 3), int), name="cells"))
    with pytest.raises(TypeError, match="'spots' is a Points layer"):
        verb(Points(np.zeros((3, 3)), name="spots"))
    with pytest.raises(TypeError, match=r"layer 'flags' has dtype bool"):
        verb(Image(np.ones((3, 4, 5), bool), name="flags"))


def test_bad_parameters_are_named(layer):
    with pytest.raises(ValueError, match="gamma"):
        nx.adjust_gamma(layer, -1)
    with pytest.raises(ValueError, match="Layer 'nuclei': kernel_size"):
        nx.equalize_adapthist(layer, (1.0, 2.0))


def test_counting_functions_take_layers_and_arrays(layer, volume):
    np.testing.assert_array_equal(nx.histogram(layer).counts, np.bincount(volume.ravel())[volume.min() :])
    assert nx.percentile(layer, 50) == np.percentile(volume, 50) == nx.percentile(volume, 50)
    mask = Labels((volume > 500).astype(int))
    assert nx.histogram(layer, mask=mask).total == (volume > 500).sum()
    cdf, centers = nx.cumulative_distribution(layer, ignore_zeros=True)
    assert cdf[-1] == 1
    assert centers[-1] == volume.max()


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_declared_once_and_gives_back_what_it_was_given(name, layer, volume):
    on_layer, on_array = VERBS[name]
    assert on_layer is on_array
    found = on_layer(volume, spacing=(2, 0.5, 0.5)) if name == "adaptive" else on_layer(volume)
    assert type(found) is np.ndarray
    chunked = da.from_array(volume, chunks=(3, 20, 20))
    lazy = on_layer(chunked, spacing=(2, 0.5, 0.5)) if name == "adaptive" else on_layer(chunked)
    assert isinstance(lazy, da.Array)
    result = on_layer(layer)
    assert isinstance(result, Image)
    for each in (lazy, result.data):
        np.testing.assert_array_equal(each, found)


@pytest.mark.parametrize("name", VERBS)
def test_what_a_layer_knows_is_not_told_to_it(name, layer):
    verb = VERBS[name][0]
    with pytest.raises(TypeError, match="rgb is for arrays; layer 'nuclei' says rgb=False of itself"):
        verb(layer, rgb=True)
    # the same is no contradiction
    assert verb(layer, rgb=False).name.startswith("nuclei - ")
    if name == "adaptive":
        with pytest.raises(TypeError, match="spacing is for arrays; layer 'nuclei' has its own"):
            verb(layer, spacing=(1, 1, 1))


def test_an_array_has_neither_levels_nor_contrast_limits(volume):
    with pytest.raises(ValueError, match="an array has only level 0, got 1"):
        nx.adjust_gamma(volume, level=1)
    with pytest.raises(ValueError, match=r"in_range must be .* got 'contrast_limits'"):
        nx.adjust_gamma(volume, in_range="contrast_limits")


def test_warnings_point_at_the_line_of_the_user():
    flat = np.full((3, 4, 5), 7, np.uint8)
    for image in (flat, Image(flat)):
        for warn in (
            lambda image=image: nx.equalize_hist(image),
            lambda image=image: nx.Recipe((nx.HistogramEqualization(),)).apply(image),
        ):
            with pytest.warns(UserWarning, match="only one intensity") as caught:
                warn()
            assert {each.filename for each in caught} == {__file__}


# --- histogram matching -----------------------------------------------------------------


def test_matching_keeps_the_place_and_takes_the_histogram(layer, volume):
    other = Image(volume[:3] * 2 + 7, name="other", scale=(1, 1, 1))
    result = nx.match_histograms(layer, other)
    assert result.name == "nuclei - matched"
    np.testing.assert_array_equal(result.data, core.match_histograms(volume, other.data))
    np.testing.assert_array_equal(result.scale, layer.scale)
    assert result.contrast_limits == [other.data.min(), other.data.max()]
    for reference in (nx.histogram(other), other.data):
        np.testing.assert_array_equal(nx.match_histograms(layer, reference).data, result.data)


def test_matching_is_told_in_few_words(layer, volume, capsys):
    other = Image(volume * 2, name="other")
    result = nx.clip_percentiles(nx.match_histograms(layer, other, ignore_zeros=True), 1, 99)
    nx.provenance(result)
    words = capsys.readouterr().out
    assert "Histogram matching: Reference other, Ignore zeros" in words
    assert len(words) < 1000
    lines = as_python(result)
    assert "layer = nx.match_histograms(layer, ignore_zeros=True, reference=viewer.layers['other'])" in lines
    layers = {"nuclei": layer, "other": other, result.name: result}
    made = _run_lines(lines, layers)
    np.testing.assert_array_equal(made.data, result.data)


def test_a_reference_without_a_name_is_found_in_the_result(layer, volume):
    result = nx.match_histograms(layer, volume * 2)
    made = _run_lines(as_python(result), {"nuclei": layer, result.name: result})
    np.testing.assert_array_equal(made.data, result.data)
    again = nx.Recipe.of(result).apply(layer)
    np.testing.assert_array_equal(again.data, result.data)


def _run_lines(lines, layers):
    made = []
    exec(lines, {"viewer": SimpleNamespace(layers=layers, add_layer=made.append)})
    return made[0]


def test_a_file_is_no_reference():
    with pytest.raises(TypeError, match=r"reference must be .*x\.json.*Histogram\.load"):
        nx.match_histograms(Image(np.arange(12, dtype=np.uint8).reshape(3, 4)), "x.json")


# --- colours ----------------------------------------------------------------------------


def test_colours_become_numbers_where_they_are():
    index = np.random.default_rng(0).integers(0, 256, (4, 9, 10))
    colours = ensure_colormap("jet").map(np.arange(256) / 255)
    volume = (colours[index] * 255).round().astype(np.uint8)
    layer = Image(volume, name="scan", rgb=True, scale=(2, 0.5, 0.5), units=("um",) * 3, metadata={"stain": "DAPI"})
    result = nx.from_colormap(layer, "jet", limits=(1500, 4500))
    assert result.name == "scan - values"
    assert not result.rgb
    # five of its colours are one in 8 bits
    np.testing.assert_allclose(result.data, 1500 + 3000 * index / 255, atol=30)
    np.testing.assert_array_equal(result.scale, layer.scale)
    assert result.units == layer.units
    assert result.colormap.name == "jet"
    assert result.contrast_limits == [1500, 4500]
    assert result.metadata["stain"] == "DAPI"
    assert result.metadata["napari_exposure_colormap"]["mean_distance"] < 0.004
    assert "napari_exposure_colormap" not in layer.metadata
    np.testing.assert_allclose(nx.from_colormap(layer, colours).data * 3000 + 1500, result.data, rtol=1e-6)
    with pytest.raises(ValueError, match="no colormap 'sepia99'"):
        nx.from_colormap(layer, "sepia99")
    with pytest.raises(ValueError, match="colormap must be colors"):
        nx.from_colormap(layer, 5)
    with pytest.raises(ValueError, match="limits must be two different numbers"):
        nx.from_colormap(layer, "jet", limits=(3, 3))
    with pytest.raises(ValueError, match="'scan - values' has no colors"):
        nx.from_colormap(result, "jet")
    several = nx.from_colormap(Image([volume, volume[:, ::2, ::2]], rgb=True, multiscale=True), "jet")
    assert several.multiscale
    assert several.data[1].shape == (4, 5, 5)


def test_bars_go_to_a_terminal_only(capfd):
    """Of work on a layer, which napari's window shows too."""
    with progress.bar(window_bar, delay=0):
        for number in range(5):
            progress.report("counting", number / 4, slow=True)
    assert capfd.readouterr().err == ""

"""What layers say of their axes, masks that are no layers, and what errors say."""

import warnings
from functools import partial

import numpy as np
import pytest
import xarray as xr
from napari.layers import Image, Labels, Points

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.provenance import as_python
from napari_exposure.source import Origin, Source

VOLUME = np.random.default_rng(0).integers(1, 255, (8, 24, 26)).astype(np.uint8)


def movie():
    still = np.random.default_rng(0).integers(100, 2000, (40, 44))
    return np.stack([still] * 6 + [still // 3] * 6).astype(np.uint16)


@pytest.mark.parametrize(
    "said",
    [
        {"axis_labels": ("t", "y", "x")},
        {"axis_labels": ("Time", "-2", "-1")},
        {"units": ("s", "um", "um")},
        {"units": ("ms", "pixel", "pixel")},
        {"axis_labels": ("c", "y", "x")},
    ],
)
def test_what_is_not_space_is_not_tiled(said):
    layer = Image(movie(), scale=(2, 0.5, 0.5), **said)
    assert Source.of(layer).space == 2
    result = nx.equalize_adapthist(layer, 4.0)
    assert (result.data[:6] == result.data[0]).all()
    np.testing.assert_array_equal(result.data, core.equalize_adapthist(movie(), 4.0, spacing=(0.5, 0.5)))
    assert result.metadata["napari_exposure"]["steps"][0]["spacing"] == [0.5, 0.5]
    assert len(Origin.of(nx.adjust_gamma(layer, 0.5, per="volume")).transform.fits) == 12
    with pytest.raises(ValueError, match="no axis 'z'"):
        nx.correct_decay(layer)


@pytest.mark.parametrize(
    "said", [{}, {"axis_labels": ("z", "y", "x")}, {"units": ("um", "um", "um")}, {"axis_labels": ("AP", "DV", "LR")}]
)
def test_where_nothing_else_is_said_the_last_three_axes_are_space(said):
    layer = Image(movie(), scale=(2, 0.5, 0.5), **said)
    expected = core.equalize_adapthist(movie(), 4.0, spacing=(2, 0.5, 0.5))
    np.testing.assert_array_equal(nx.equalize_adapthist(layer, 4.0).data, expected)


# --- what is time -----------------------------------------------------------------------

SERIES = (VOLUME // 2 * np.linspace(0.5, 1, len(VOLUME))[:, None, None]).astype(VOLUME.dtype)


@pytest.mark.parametrize(
    "said",
    [
        {"units": ("um",) * 3},
        {"units": ("inch", "nm", "nm")},
        {"units": ("um",) * 3, "axis_labels": ("plane", "row", "column")},
        {"axis_labels": ("z", "y", "x"), "units": ("s", "um", "um")},
    ],
)
def test_a_stack_whose_axes_are_lengths_is_no_series(said):
    layer = Image(SERIES, name="stack", **said)
    for way in (
        lambda: nx.correct_decay(layer, "t", "ratio"),
        lambda: nx.match_histograms(layer, "first"),
        lambda: nx.match_histograms(layer, "median"),
    ):
        with pytest.raises(ValueError, match=r"stack.*no axis of time.* z, y, x.*axis_labels = \('t', 'y', 'x'\)"):
            way()


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"units": ("ms", "um", "um")},
        {"units": ("um",) * 3, "axis_labels": ("t", "y", "x")},
        {"units": ("um",) * 4, "shape": (8, 1, 24, 26)},
        {"units": ("min", "um", "um", "um"), "shape": (8, 1, 24, 26)},
        {"units": ("um", "s", "um", "um"), "axis_labels": ("c", "-3", "-2", "-1"), "shape": (1, 8, 24, 26)},
    ],
)
def test_a_series_is_known_by_labels_units_or_its_place(said):
    data = SERIES.reshape(said.pop("shape", SERIES.shape))
    result = nx.correct_decay(Image(data, name="movie", **said), "t", "ratio", force=True)
    expected = core.correct_decay(SERIES, "t", "ratio", force=True)
    np.testing.assert_array_equal(result.data, expected.reshape(data.shape))


def dated(units, first=None):
    """A series whose dimensions have no known names; coordinates are 3 units apart."""
    ways = zip(("a", "b", "d"), SERIES.shape, units, strict=True)
    coords = {dim: (dim, 3.0 * np.arange(size), {"units": unit} if unit else {}) for dim, size, unit in ways}
    if first is not None:
        coords["a"] = first + np.arange(len(SERIES))
    return xr.DataArray(SERIES, dims=("a", "b", "d"), coords=coords)


@pytest.mark.parametrize("image", [dated(("seconds since 2026-01-01", "um", "um")), dated(("ms", "", ""))])
def test_units_of_coordinates_say_what_is_time(image):
    expected = core.correct_decay(SERIES, "t", "ratio", force=True)
    np.testing.assert_array_equal(nx.correct_decay(image, "t", "ratio", force=True).values, expected)
    np.testing.assert_array_equal(nx.decay_profile(image, "t")[0], 3 * np.arange(len(SERIES)))
    # frames of two axes have fits of their own, which a stack of three has not
    glided = nx.equalize_hist(image, per="volume", window=3)
    np.testing.assert_array_equal(glided.values, core.equalize_hist(SERIES, per="plane", window=3))


def test_dates_are_time_and_lengths_are_not():
    image = dated(("", "um", "um"), np.datetime64("2026-01-01"))
    result = nx.match_histograms(image, "first")
    np.testing.assert_array_equal(result.values, core.match_histograms(SERIES, "first"))
    np.testing.assert_array_equal(nx.decay_profile(image, "t")[0], np.arange(len(SERIES)))
    with pytest.raises(ValueError, match=r"no axis of time.* z, y, x"):
        nx.match_histograms(dated(("um",) * 3), "first")


def test_profiles_over_time_have_the_unit_of_time():
    movie = Image(SERIES, units=("min", "um", "um"), scale=(0.5, 1, 1))
    np.testing.assert_array_equal(nx.decay_profile(movie, "t")[0], 0.5 * np.arange(len(SERIES)))
    np.testing.assert_array_equal(nx.decay_profile(Image(SERIES, scale=(7, 1, 1)), "t")[0], np.arange(len(SERIES)))


def test_space_at_another_place_is_asked_for():
    layer = Image(movie(), axis_labels=("y", "x", "t"), name="odd")
    with pytest.raises(
        ValueError, match=r"Layer 'odd': The last axes must be those of space, but the axes are y, x, t"
    ):
        nx.equalize_adapthist(layer)
    # where it does not matter, it is not asked for
    np.testing.assert_array_equal(nx.adjust_gamma(layer, 0.5).data, core.adjust_gamma(movie(), 0.5))


@pytest.mark.parametrize(
    "made", [lambda data, axes: Image(data, axis_labels=axes), lambda data, axes: xr.DataArray(data, dims=axes)]
)
def test_z_before_channels_is_asked_for_where_it_matters(made):
    """The order of ImageJ's hyperstacks, in which each plane would be fitted alone."""
    stack = np.stack([movie()[:6], movie()[6:]], axis=1)
    image = made(stack, ("z", "c", "y", "x"))
    for verb in (partial(nx.equalize_hist, per="volume"), nx.equalize_adapthist, nx.correct_decay):
        with pytest.raises(ValueError, match=r"the axes are z, c, y, x. Move time and channels to the front"):
            verb(image)
    np.testing.assert_array_equal(np.asarray(nx.equalize_hist(image).data), core.equalize_hist(stack))


@pytest.mark.parametrize(
    "made", [lambda data, axes: Image(data, axis_labels=axes), lambda data, axes: xr.DataArray(data, dims=axes)]
)
@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_an_axis_is_the_one_that_is_called_so(made, axis):
    dark = np.exp(-np.arange(20) / 10)
    fading = np.float32(1000 * np.moveaxis(np.broadcast_to(dark, (16, 18, 20)), -1, "xyz".index(axis)))
    image = made(fading, ("x", "y", "z"))
    even = np.asarray(nx.correct_decay(image, axis).data)
    np.testing.assert_allclose(even, 1000, rtol=1e-5)
    np.testing.assert_allclose(nx.decay_profile(image, axis)[1], 1000 * dark, rtol=1e-6)
    np.testing.assert_allclose(
        np.asarray(nx.degrade(made(0 * fading + 1000, ("x", "y", "z")), 1.9, axis).data), fading, rtol=1e-5
    )
    with pytest.raises(ValueError, match="no axis 'z': the image has the axes t, y, x"):
        nx.correct_decay(made(fading, ("t", "y", "x")), "z")


def test_a_sample_of_a_movie_takes_frames_as_they_are():
    layer = Image(movie(), axis_labels=("t", "y", "x"))
    source = Source.of(layer)
    fitted = source.fit(core.AdaptiveEqualization(8.0), step=2)
    assert fitted.shape == (12, 40, 44)
    assert fitted.spatial == 2


# --- masks ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, np.asfortranarray, lambda mask: mask.tolist(), lambda m: m.astype("u1")])
def test_an_array_is_a_mask_of_a_layer(form):
    mask = VOLUME > 100
    layer = Image(VOLUME, name="raw")
    result = nx.equalize_hist(layer, mask=form(mask))
    np.testing.assert_array_equal(result.data, core.equalize_hist(VOLUME, mask=mask))
    assert result.metadata["napari_exposure"]["steps"][0]["mask"] == "(an array)"
    assert nx.histogram(layer, mask=form(mask)) == core.histogram(VOLUME, mask=mask)
    line = as_python(result).splitlines()[-2]
    assert line == "layer = nx.equalize_hist(layer, mask=mask)"
    assert np.asarray(Origin.of(result).mask()).shape == VOLUME.shape


def test_masks_that_do_not_fit_are_named():
    layer = Image(VOLUME, name="raw")
    with pytest.raises(ValueError, match=r"The mask has shape \(24, 26\), but layer 'raw' has \(8, 24, 26\)"):
        nx.equalize_hist(layer, mask=VOLUME[0])
    with pytest.raises(ValueError, match="The mask 'cells' has shape"):
        nx.equalize_hist(layer, mask=Labels(VOLUME[0], name="cells"))
    with pytest.raises(TypeError, match="a Labels layer or an array, got the Points layer"):
        nx.equalize_hist(layer, mask=Points(np.zeros((1, 3))))


def test_a_masked_array_in_a_layer_keeps_its_mask():
    masked = np.ma.masked_less(VOLUME, 100)
    source = Source.of(Image(VOLUME))
    assert source.fit(core.HistogramEqualization()).apply(masked).mask.sum() == masked.mask.sum()


# --- words ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb",
    [
        lambda layer: nx.equalize_hist(layer, mask=Labels(np.zeros(VOLUME.shape, np.uint8))),
        lambda layer: nx.clip_percentiles(layer, mask=np.zeros(VOLUME.shape)),
        lambda layer: nx.equalize_adapthist(layer, (1, 2)),
        lambda layer: nx.adjust_gamma(Image(VOLUME > 3, name="raw")),
    ],
)
def test_a_layer_is_named_once(verb):
    with pytest.raises((TypeError, ValueError)) as caught:
        verb(Image(VOLUME, name="raw"))
    assert str(caught.value).count("'raw'") == 1


def test_bool_layers_have_a_histogram_and_a_line_that_converts():
    layer = Image(VOLUME > 100, name="cells")
    assert nx.histogram(layer).counts.tolist() == [(VOLUME <= 100).sum(), (VOLUME > 100).sum()]
    with pytest.raises(TypeError, match=r"The layer 'cells' has dtype bool.*layer\.data\.astype\('uint8'\)"):
        nx.adjust_gamma(layer)


@pytest.mark.parametrize("reference", [3, VOLUME[0, 0], VOLUME * 1j])
def test_a_reference_is_called_so(reference):
    with pytest.raises((TypeError, ValueError), match="reference must be an image, its Histogram, 'first' or 'median'"):
        nx.match_histograms(Image(VOLUME, name="raw"), reference)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: nx.clip_percentiles(Image(VOLUME), 0.01, 0.99),
        lambda: core.PercentileClip(0.01, 0.99),
        lambda: core.Percentiles(0, 1),
    ],
)
def test_fractions_for_percents_are_told(ask):
    with pytest.warns(UserWarning, match=r"in percent.*give \d+ and \d+") as caught:
        ask()
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        core.Percentiles(0.01, 99.99)

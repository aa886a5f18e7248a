"""Which axes are space: the length of `spacing` says it of arrays."""

import numpy as np
import pytest

from napari_exposure.core import AdaptiveEqualization, DecayCorrection, Gamma, adjust_gamma, decay_profile
from napari_exposure.core import equalize_adapthist as equalize
from napari_exposure.core.axes import check_spacing, count_space, is_space, is_unnamed


def movie(shape=(12, 40, 44)):
    """Frames that are alike, but for the brightness of the second half."""
    still = np.random.default_rng(0).integers(100, 2000, shape[-2:])
    return np.stack([still] * (shape[0] // 2) + [still // 3] * (shape[0] // 2)).astype(np.uint16)


@pytest.mark.parametrize(
    ("labels", "space"),
    [
        ("zyx", 3),
        ("tyx", 2),
        ("TCYX", 2),
        ("tzyx", 3),
        ("ztyx", 2),
        ("yxt", 0),
        ("yxc", 0),
        (("Time", "row", "column"), 2),
        (("frame", "depth", "y", "x"), 3),
        (("axis 0", "axis 1", "axis 2", "axis 3"), 3),
        (("position", "-2", "-1"), 2),
        (("a", "b"), 2),
    ],
)
def test_labels_decide_and_else_the_place(labels, space):
    assert count_space(map(is_space, labels)) == space


@pytest.mark.parametrize(
    ("spacing", "ndim", "sizes"),
    [
        (None, 2, (1, 1)),
        (None, 5, (1, 1, 1)),
        (0.5, 4, (0.5,) * 3),
        ((2, 0.5), 3, (2, 0.5)),
        ((2, 0.5), 2, (2, 0.5)),
        (np.array([3, 2, 0.5]), 4, (3, 2, 0.5)),
        # as a layer's scale, with time
        ((9, 3, 2, 0.5), 4, (3, 2, 0.5)),
    ],
)
def test_the_length_of_spacing_says_how_many_axes_are_space(spacing, ndim, sizes):
    assert check_spacing(spacing, ndim) == sizes
    assert check_spacing(spacing, ndim, "plane") == sizes[-2:]


@pytest.mark.parametrize(("spacing", "ndim"), [((1,), 3), ((1, 1, 1), 2), ((), 3), ((1, 0), 3), ((1, -1), 2)])
def test_spacings_that_fit_no_volume(spacing, ndim):
    with pytest.raises(ValueError, match="spacing"):
        check_spacing(spacing, ndim)


def test_time_is_not_tiled():
    frames = movie()
    result = equalize(frames, 8.0, spacing=(1, 1))
    for same in (result[:6], result[6:]):
        assert (same == same[0]).all()
    # one fit for all: what became dimmer stays so
    assert result[-1].mean() < 0.8 * result[0].mean()
    channels = np.stack([frames, frames // 2], axis=1)
    result = equalize(channels, 8.0, spacing=(1, 1))
    assert (result[:6] == result[0]).all()
    # as one tile in a volume of one plane at each time
    np.testing.assert_array_equal(equalize(frames, 8.0, spacing=(1, 1)), equalize(frames[:, None], 8.0)[:, 0])


def test_each_volume_of_a_movie_of_planes_is_a_frame():
    frames = movie()
    fitted = AdaptiveEqualization(8.0, per="volume").fit(frames, spacing=(1, 1))
    assert len(fitted.fits) == 12
    assert len(Gamma(0.5, per="volume").fit(frames, spacing=(1, 1)).fits) == 12
    assert len(Gamma(0.5, per="volume").fit(frames).fits) == 1
    assert adjust_gamma(frames, 0.5, per="plane").shape == frames.shape


def test_a_movie_of_planes_has_no_depth():
    frames = movie()
    with pytest.raises(ValueError, match=r"There is no axis 'z'.*time"):
        DecayCorrection().fit(frames, spacing=(1, 1))
    assert DecayCorrection("y", force=True).fit(frames, spacing=(1, 1)).spatial == 2
    positions, profile, _ = decay_profile(frames, "x", spacing=(2, 0.5), force=True)
    assert positions[-1] == 43 * 0.5
    assert profile.shape == (44,)


@pytest.mark.parametrize(
    ("label", "unnamed"), [("-3", True), ("0", True), ("axis -12", True), ("z", False), ("axis z", False), ("", False)]
)
def test_labels_that_napari_gives_are_no_names(label, unnamed):
    assert is_unnamed(label) is unnamed

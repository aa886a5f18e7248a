"""What public names say of arguments of the wrong type, and of numbers out of bounds."""

import dataclasses
import inspect
import math
import traceback
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from napari.layers import Image, Labels

import napari_exposure as nx
from napari_exposure import core
from napari_exposure.core.adjustment import Adjustment, adjustments

VOLUME = np.random.default_rng(0).integers(0, 200, (3, 8, 9)).astype(np.uint8)
LAYER = Image(VOLUME, name="nuclei")
RECIPE = nx.Recipe((nx.Gamma(2.0),))
WRONG = [
    None, "dark", b"dark", math.nan, 1j, object(), int, {"a": 1}, [1, [2, 3]], ["a", VOLUME], [LAYER, LAYER], (),
    VOLUME, LAYER, Labels(VOLUME), RECIPE,
]  # fmt: skip
# what is given where it is right, so that only one argument is wrong; else the volume
RIGHT = {
    "path": "there.tif",
    "data": VOLUME,
    "montage": nx.montage(LAYER),
    "layer": nx.adjust_gamma(LAYER, 2.0),
    "adjustment": nx.Gamma(2.0),
    "steps": (nx.Gamma(2.0),),
    "limit": 0.02,
    "low": 1,
    "high": 99,
    "q": 50,
    "n": 2,
    "points": [(0, 0), (1, 1)],
    "images": [VOLUME, VOLUME],
    "translate": [(0, 0, 0), (0, 0, 4)],
    "reference": VOLUME,
    "colormap": np.eye(3),
    "limits": (0, 1),
}
# Others are made by this package, not by its users.
MADE = (nx.Percentiles, nx.NoiseLimit, nx.Recipe, *adjustments())
CALLED = {
    name: each
    for module in (core, nx)
    for name in module.__all__
    if name != "core" and (inspect.isfunction(each := getattr(module, name)) or each in MADE)
}


def check_said(error, where):
    """An error is one of this package, on one line that is short, and is no other function's."""
    raised = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    assert isinstance(error, TypeError | ValueError | FileNotFoundError), (where, repr(error))
    assert "napari_exposure" in raised.parts, (where, raised, str(error))
    text = str(error)
    assert len(text) < 420, (where, text)
    assert "\n" not in text, (where, text)
    assert text.rstrip().endswith("."), (where, text)


@pytest.mark.parametrize("name", CALLED)
def test_arguments_of_the_wrong_type_are_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    called = CALLED[name]
    parameters = inspect.signature(called).parameters.values()
    parameters = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    needed = {each.name: RIGHT.get(each.name, VOLUME) for each in parameters if each.default is each.empty}
    if "translate" in {each.name for each in parameters}:
        needed["translate"] = RIGHT["translate"]
    for each in parameters:
        for wrong in WRONG:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    called(**{**needed, each.name: wrong})
                    (tmp_path / "there.tif").unlink(missing_ok=True)
                except Exception as error:
                    check_said(error, (name, each.name, repr(wrong)[:60]))


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (lambda: RECIPE.apply(["a", VOLUME]), r"^Image 1 of 2: The volume must be an array, got 'a'\."),
        (lambda: RECIPE.apply([LAYER, 7]), r"^Image 2 of 2: .* got 7\."),
        (lambda: RECIPE.apply([LAYER, LAYER], fit_on=RECIPE), r"^fit_on must be .*recipe\.fit\(image\) gives"),
        (lambda: RECIPE.apply(VOLUME, fit_on="sun"), "fit_on='sun'"),
        (lambda: nx.suggest([VOLUME, VOLUME[:2]]), r"One image .* list of 2\. .*Recipe\.apply takes a list"),
        (lambda: nx.suggest([LAYER, LAYER]), "One image is taken at a time here, got a list of 2"),
        (lambda: nx.match_overlaps(LAYER), "Give several images in a list, got the Image layer 'nuclei'"),
        (lambda: nx.match_overlaps([LAYER, LAYER], fixed="nuclei"), "fixed must be one of the images or its number, 0"),
        (lambda: nx.match_histograms(VOLUME, 3), "reference must be an image, its Histogram, 'first' or 'median'"),
        (lambda: nx.match_histograms(VOLUME, "a.tif"), "'a.tif'; read a file with Histogram.load"),
        (lambda: nx.Recipe("gamma"), r"Each step .* an adjustment such as Gamma\(0\.5\), got 'gamma'"),
        (lambda: nx.Recipe(nx.Gamma), "got the class Gamma"),
        (lambda: nx.Recipe(nx.Gamma(), nx.Log()), r"unit must be .* \(several steps are one tuple\), got Log"),
        (lambda: nx.correct_decay(VOLUME, background="dark"), "background must be a number or 'auto', got 'dark'"),
        (lambda: nx.equalize_adapthist(VOLUME, clip_limit="2 %"), r"clip_limit must .* or NoiseLimit\(limit\), got"),
        (lambda: nx.write_tiff("x", VOLUME), r"path must be the name of a file.* an array of shape \(3, 8, 9\)"),
        (lambda: nx.gain_map(VOLUME, RECIPE), r"fitted must be what recipe\.fit\(image\) gives, got Recipe"),
        (lambda: nx.adjust_gamma(VOLUME, rgb="no"), "rgb must be True or False, got 'no'"),
        (lambda: nx.histogram(VOLUME, ignore_zeros=1), "ignore_zeros must be True or False, got 1"),
        (lambda: nx.adjust_gamma("nuclei.tif"), r"got 'nuclei\.tif'\. Read a file first: volume = napari_exp"),
        (lambda: nx.Recipe.of(VOLUME), "A layer that napari-exposure has made is needed, got an array"),
        (lambda: Adjustment.from_dict(3), "An adjustment must be a dict"),
    ],
)  # fmt: skip
def test_what_such_errors_say(way, words):
    with pytest.raises((TypeError, ValueError), match=words):
        way()


# --- numbers ----------------------------------------------------------------------------

BOUNDED = [
    (kind, field)
    for kind in adjustments()
    for field in dataclasses.fields(kind)
    if {"low", "high", "above"} & set(field.metadata)
]


@pytest.mark.parametrize(("kind", "field"), BOUNDED, ids=lambda part: getattr(part, "__name__", None) or part.name)
@given(number=st.one_of(st.floats(), st.integers(-(10**12), 10**12)))
def test_numbers_are_taken_within_their_bounds_only(kind, field, number):
    low, high, above = (field.metadata.get(name) for name in ("low", "high", "above"))
    inside = math.isfinite(number) and (low is None or number >= low) and (high is None or number <= high)
    inside = inside and (above is None or number > above)
    if isinstance(field.metadata.get("low"), int):
        inside = inside and number == int(number)
    # The lower percentile must be the lower one, and percentiles of less than 1 are warned of.
    others = {"low": {"high": 100.0}, "high": {"low": 0.0}}.get(field.name, {})
    assume(not inside or not others or 1 < number < 100)
    plain = {"adjustment": kind.__name__, **kind.examples(), **others, field.name: number}
    if inside:
        assert getattr(Adjustment.from_dict(plain), field.name) == number
        return
    with pytest.raises(ValueError, match=rf"\b{field.name}\b"):
        Adjustment.from_dict(plain)


def test_clip_limits_are_from_0_to_1():
    for limit in (-1 / 5, 2.0, 40):
        with pytest.raises(ValueError, match=r"clip_limit must be a finite number in \[0, 1\] or NoiseLimit"):
            nx.equalize_adapthist(VOLUME, clip_limit=limit)
    np.testing.assert_array_equal(
        nx.equalize_adapthist(VOLUME, clip_limit=0), nx.equalize_adapthist(VOLUME, clip_limit=1)
    )

import inspect
import re

import pytest

from napari_exposure import core
from napari_exposure.core.adjustment import adjustments
from napari_exposure.core.docstrings import complete

VERBS = [getattr(core, cls.verb) for cls in adjustments() if cls.__module__.startswith("napari_exposure.")]


def documented(function):
    section = inspect.getdoc(function).split("Parameters\n----------\n")[1].split("\n\n")[0]
    heads = re.findall(r"^(\S[^:]*?)(?: :.*)?$", section, re.MULTILINE)
    return [name for head in heads for name in head.split(", ")]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
def test_help_shows_each_parameter_once_in_the_order_of_the_signature(verb):
    assert documented(verb) == list(inspect.signature(verb).parameters)
    assert "As all adjustments have" not in verb.__doc__
    assert 'metadata["napari_exposure"]' in verb.__doc__


def test_what_a_verb_says_of_its_own_stays():
    def brighten(image, low, high, *, mask=None, per="dataset"):
        r"""Make a volume brighter.

        Parameters
        ----------
        low, high : float
            Ends of \alpha.
        per : "dataset"
            Only this one.
        image, mask
            As all adjustments have them.

        Returns
        -------
        As all adjustments have it.

        Notes
        -----
        None.
        """

    complete(brighten)
    assert documented(brighten) == ["image", "low", "high", "mask", "per"]
    shared = "lazy for dask", "Never written."
    for text in (r"    Ends of \alpha.", "    Only this one.", *shared, "\n\nNotes\n-----\nNone."):
        assert brighten.__doc__.count(text) == 1


def test_a_parameter_without_a_text_is_found():
    def brighten(image, strength):
        """Make a volume brighter.

        Parameters
        ----------
        image
            As all adjustments have it.

        Returns
        -------
        As all adjustments have it.
        """

    with pytest.raises(KeyError, match="strength"):
        complete(brighten)

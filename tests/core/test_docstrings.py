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
    sections = re.findall(r"^(\w[\w ]+)\n---", inspect.getdoc(verb), re.MULTILINE)
    assert sections[:3] == ["Parameters", "Returns", "Raises"]
    assert len(set(sections)) == len(sections)
    assert verb.__doc__.count('metadata["napari_exposure"]') == 1
    assert "TypeError\n    For a dtype that has no exposure" in verb.__doc__
    assert verb.__doc__.count("ValueError") == 1


def test_what_a_verb_says_of_its_own_stays():
    def brighten(image, low, high, *, mask=None, per="dataset"):
        r"""Make a volume brighter.

        Parameters
        ----------
        low, high : float
            Ends of \alpha.
        per : "dataset"
            Only this one.

        Raises
        ------
        ValueError
            Also for a ghost.

        Notes
        -----
        None.
        """

    complete(brighten)
    assert documented(brighten) == ["image", "low", "high", "mask", "per"]
    shared = "lazy for dask", "Never written.", "or a mask of another shape.\n    Also for a ghost."
    for text in (r"    Ends of \alpha.", "    Only this one.", *shared, "\n\nNotes\n-----\nNone."):
        assert brighten.__doc__.count(text) == 1


def test_a_verb_that_gives_something_else_says_so_alone():
    def brighten(image, strength):
        """Make a volume brighter.

        Parameters
        ----------
        strength : float

        Returns
        -------
        float

        Raises
        ------
        ValueError
            Never.
        """

    complete(brighten)
    assert brighten.__doc__.endswith("Returns\n-------\nfloat\n\nRaises\n------\nValueError\n    Never.")
    assert "lazy for dask" not in brighten.__doc__


def test_a_parameter_without_a_text_is_found():
    def brighten(image, strength):
        """Make a volume brighter.

        Parameters
        ----------
        image : array-like
        """

    with pytest.raises(KeyError, match="strength"):
        complete(brighten)

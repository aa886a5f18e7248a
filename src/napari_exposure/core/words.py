"""Words to the user: texts from elsewhere, such as names in files, are made fit to be shown; warnings are raised."""

from __future__ import annotations

import dataclasses
import html
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# A foreign value takes at most about so many characters of an error.
MOST_CHARACTERS = 400


def printable(text: object) -> str:
    """Return a text on one line, in which characters that would act or cannot be written are spelled out.

    Control characters would move the cursor of a terminal, marks of direction would turn other words around, and
    halves of characters, as in names of files that are not UTF-8, cannot be written at all.

    Examples
    --------
    >>> from napari_exposure.core.words import printable
    >>> print(printable("dapi\\n\\x1b[2J µm 核"))
    dapi\\n\\x1b[2J µm 核
    """
    return "".join(
        each if each.isprintable() or unicodedata.category(each) == "Zs" else repr(each)[1:-1] for each in str(text)
    )


def as_tooltip(text: str) -> str:
    """Return a tooltip that shows a text as it is, because Qt takes a text that looks like HTML for HTML.

    Examples
    --------
    >>> from napari_exposure.core.words import as_tooltip
    >>> as_tooltip("<b>dapi")
    '<qt>&lt;b&gt;dapi</qt>'
    """
    return f"<qt>{html.escape(text)}</qt>".replace("\n", "<br>")


def shortened(text: object, most: int = MOST_CHARACTERS) -> str:
    """Return a text of about `most` characters at most, from which the middle is cut out if it is longer."""
    text = str(text)
    return text if len(text) <= most else f"{text[: most * 3 // 4]} ... {text[-most // 4 :]}"


def given(value: object) -> str:
    """Return a short description of a given value for an error, such as the shape of an array without its numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core.words import given
    >>> given("dark"), given(np.ones((3, 4))), given(int)
    ("'dark'", 'an array of shape (3, 4)', 'the class int')
    """
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if shape := getattr(value, "shape", None):
        return f"an array of shape {printable(shape)}"
    kind = type(value)
    if kind.__module__.startswith("napari.layers."):
        return f"the {kind.__name__} layer {printable(repr(getattr(value, 'name', '')))}"
    if kind.__repr__ is object.__repr__:
        return kind.__name__
    if dataclasses.is_dataclass(value):
        return f"{kind.__name__}(...)"
    return shortened(printable(repr(value)), 100)


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Begin errors of the work inside with what they are about, such as a layer or one of several images."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: {error}") from None


def warn_user(message: str) -> None:
    """Warn at the line that called this package, so that Python shows the warning again for another line."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("napari_exposure."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)

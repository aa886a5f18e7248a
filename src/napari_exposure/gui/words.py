"""Sentences of the core as the docks say them: with the label of a parameter, and its value as its box shows it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from napari.utils.notifications import show_error

from napari_exposure.core.adjustment import adjustments

# A parameter and its value as Python writes them, such as per='volume'.
ARGUMENT = re.compile(r"\b(\w+)=('[^']*'|\([^()]*\)|-?[\w.]*\w)")
# The names of parameters that no sentence has by chance.
NAME = re.compile(r"\b(?:nbins|[a-z]+_[a-z_]+)\b")


@functools.cache
def _rows() -> dict[str, Mapping[str, Any]]:
    """What the rows of the cards say of each parameter."""
    return {each.name: each.metadata for kind in adjustments() for each in fields(kind) if "label" in each.metadata}


def of_docks(sentence: str) -> str:
    """A sentence in the words of the docks.

    Examples
    --------
    >>> from napari_exposure.gui.words import of_docks
    >>> of_docks("use per='volume', or correct anyway (force=True)")
    'use “Time points: treated separately”, or correct anyway (“Correct anyway”)'
    """

    def row(match: re.Match) -> str:
        words = _rows().get(match[1])
        if words is None or match[2] == "True":
            return match[0] if words is None else f"“{words['label']}”"
        value = match[2].strip("'")
        return f"“{words['label']}: {(words.get('choices') or {}).get(value, value).split(':')[0]}”"

    def name(match: re.Match) -> str:
        return f"“{_rows()[match[0]]['label']}”" if match[0] in _rows() else match[0]

    return NAME.sub(name, ARGUMENT.sub(row, sentence))


def tell(error: Exception) -> None:
    """Show an error that the user can mend, by its sentence alone."""
    show_error(of_docks(str(error)))

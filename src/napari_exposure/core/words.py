"""What is said: texts that come from elsewhere, such as names in files, made fit to be shown, and warnings."""

from __future__ import annotations

import sys
import unicodedata
import warnings

# characters of an error that somebody else's values may fill
MOST = 400


def printable(text: object) -> str:
    """A text on one line in which nothing acts.

    Control characters would move the cursor of a terminal, marks of direction turn other words around, and halves of
    characters, as in names of files that are not UTF-8, cannot be written at all: they are spelled out.

    Examples
    --------
    >>> from napari_exposure.core.words import printable
    >>> print(printable("dapi\\n\\x1b[2J µm 核"))
    dapi\\n\\x1b[2J µm 核
    """
    return "".join(each if _is_shown(each) else repr(each)[1:-1] for each in str(text))


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def shortened(text: object, most: int = MOST) -> str:
    """A text of no more than some `most` characters, without its middle where it has more."""
    text = str(text)
    return text if len(text) <= most else f"{text[: most * 3 // 4]} ... {text[-most // 4 :]}"


def warn_user(message: str) -> None:
    """Warn at the line that called this package, so that another line of the user's warns again."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("napari_exposure."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)

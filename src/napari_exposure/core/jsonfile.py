"""JSON files that are whole or not there, and whose errors name the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from napari_exposure.core.replacing import replacing

Made = TypeVar("Made")


def write_json(path: str | os.PathLike[str], plain: object) -> Path:
    """Write plain data to a file; all of it or nothing."""
    path = Path(path)
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_json(path: str | os.PathLike[str], what: str, make: Callable[[Any], Made]) -> Made:
    """What `make` makes of the plain data in a file.

    Parameters
    ----------
    path : str or Path
    what : str
        What the file should hold, for errors.
    make : callable
        Raises ValueError where the data are not valid.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no JSON, or `make` says so; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {what} {path}.")
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is no JSON file: {error}.") from None
    try:
        return make(plain)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None

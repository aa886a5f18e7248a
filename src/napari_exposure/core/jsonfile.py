"""JSON files that are whole or not there, and whose errors name the file."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self, TypeVar

from napari_exposure.core.intensity import as_path
from napari_exposure.core.replacing import replacing
from napari_exposure.core.words import shortened

# No file of this project comes near this size: a recipe with the histogram of a 16-bit volume has less than 1 MB.
MOST_BYTES = 1 << 26

Made = TypeVar("Made")


def write_json(path: str | os.PathLike[str], plain: object) -> Path:
    """Write plain data to a file, wholly or not at all."""
    path = as_path(path)
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_json(path: str | os.PathLike[str], what: str, make: Callable[[Any], Made]) -> Made:
    """Return what `make` makes of the plain data in a file, which errors call `what` it should hold.

    A FileNotFoundError says that there is no such file; a ValueError, which names it, that it is no JSON or too large,
    or what `make` raises.
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no {what} {path}.")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{path.name} is no {what}: it has {size / 2**20:.0f} MB.")
    return parsed(path.read_bytes(), path.name, make)


def parsed(text: str | bytes, name: str, make: Callable[[Any], Made]) -> Made:
    """Return what `make` makes of the plain data in a text that somebody may have edited.

    If it is no JSON, or `make` raises, a ValueError begins with `name`, and is short for any text.
    """
    try:
        plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is no JSON: {shortened(error)}.") from None
    try:
        return make(plain)
    except RecursionError:
        raise ValueError(f"{name} has lists in lists, too deep to be read.") from None
    except ValueError as error:
        raise ValueError(f"{name}: {shortened(error)}") from None


def check_schema(plain: Any, what: str, key: str, schema: int) -> None:
    """Raise if plain data are not what they should be, or have another schema, which stands under a key."""
    if not isinstance(plain, dict) or key not in plain:
        raise ValueError(f"This is no {what}: it has no {key!r}.")
    if plain[key] != schema:
        raise ValueError(f"The {what} has schema {plain[key]!r}, this version reads {schema}; update napari-exposure.")


class KeptAsJson(ABC):
    """The base of what files keep as JSON, such as a recipe or a histogram."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return plain data that `from_dict` takes back."""

    @staticmethod
    @abstractmethod
    def from_dict(plain: dict[str, Any]) -> Any:
        """Make what ``to_dict`` described."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it to a JSON file, all of it or nothing."""
        return write_json(path, self.to_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read it from a JSON file; every name and value is checked, nothing in it is executed.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If there is something else in it, or something that is not valid; the message says where and why.
        """
        made: Self = read_json(path, cls.__name__.lower(), cls.from_dict)
        return made

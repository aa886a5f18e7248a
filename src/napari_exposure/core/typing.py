"""Types for annotations that several modules use, as ``numpy.typing`` has those of NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt


class Array(Protocol):
    """An array of any library, such as NumPy, zarr, h5py or dask, of which parts can be read."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """The number of voxels along each axis, which dask may not know."""

    @property
    def dtype(self) -> np.dtype:
        """The type of all voxels."""

    def __getitem__(self, index: Any, /) -> Any:
        """Read a part of it."""


class WritableArray(Array, Protocol):
    """An array to which parts can be written too."""

    def __setitem__(self, index: Any, values: Any, /) -> None:
        """Write a part of it."""


# Functions take these for a volume: an array, or anything of which NumPy makes one, such as lists.
ArrayLike: TypeAlias = Array | npt.ArrayLike
# Users give the size of a voxel as one number for all axes, or as one for each.
Spacing: TypeAlias = float | Sequence[float] | None
# An index is a number along axes that are fixed, and a slice along the others.
Index: TypeAlias = tuple[int | slice, ...]


class Layer(Protocol):
    """A layer of napari, described here because core does not import napari."""

    @property
    def axis_labels(self) -> Any:
        """The names of its axes."""

    @property
    def data(self) -> Any:
        """Its array, or an array for each level."""

    @property
    def metadata(self) -> Any:
        """Notes that plugins keep with it."""

    @property
    def name(self) -> str:
        """Its name."""

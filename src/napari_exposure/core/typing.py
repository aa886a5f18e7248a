"""Types that several modules speak of, as ``numpy.typing`` has those of NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt


class Array(Protocol):
    """An array of any library, of which parts can be read, such as those of numpy, zarr, h5py and dask."""

    @property
    def shape(self) -> tuple[Any, ...]:
        """Voxels along each axis; those of dask need not be known."""

    @property
    def dtype(self) -> np.dtype:
        """The type of all voxels."""

    def __getitem__(self, index: Any, /) -> Any:
        """A part of it."""


class WritableArray(Array, Protocol):
    """An array to which parts can be written too."""

    def __setitem__(self, index: Any, values: Any, /) -> None:
        """Write a part of it."""


# What functions take for a volume: an array, or what NumPy makes one of, such as lists.
ArrayLike: TypeAlias = Array | npt.ArrayLike
# The size of a voxel as users give it: the same along all axes, or one for each.
Spacing: TypeAlias = float | Sequence[float] | None
# Where in an array something is: a number along axes that are fixed.
Index: TypeAlias = tuple[int | slice, ...]


class Layer(Protocol):
    """A layer of napari, which nothing here imports."""

    @property
    def axis_labels(self) -> Any:
        """What its axes are called."""

    @property
    def data(self) -> Any:
        """Its array, or one for each level."""

    @property
    def metadata(self) -> Any:
        """What is noted of it."""

    @property
    def name(self) -> str:
        """What it is called."""

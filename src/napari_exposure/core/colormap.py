"""Finds the numbers behind colors: the values of a volume that was saved through a colormap."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from napari_exposure.core.blocks import Block, is_dask, read_part, walk
from napari_exposure.core.images import LayerKind, opened
from napari_exposure.core.intensity import check_pair
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.typing import ArrayLike
from napari_exposure.core.volume import Volume
from napari_exposure.core.words import given, warn_user

# From this mean distance on, a colormap is probably the wrong one. Channels go from 0 to 1, and rounding to 8 bits
# moves a color by less than 0.007.
WRONG = 0.05


class Uncoloured(NamedTuple):
    """What `from_colormap` found.

    Attributes
    ----------
    values : numpy.ndarray of float32
        The numbers, in the volume's shape without its color axis.
    mean, maximum : float
        How far voxels lie from the nearest color of the map, as a distance in RGB with channels from 0 to 1.
        NaN if no voxel has a color.
    """

    values: np.ndarray
    mean: float
    maximum: float


@overload
def from_colormap(image: LayerKind, colormap: Any, limits: tuple[float, float] = ...) -> LayerKind: ...


@overload
def from_colormap(image: ArrayLike, colormap: npt.ArrayLike, limits: tuple[float, float] = ...) -> Uncoloured: ...


def from_colormap(image: Any, colormap: Any, limits: tuple[float, float] = (0.0, 1.0)) -> Any:
    """Find the numbers of a volume that was turned into colors.

    Each voxel becomes the place in the colormap of the color that is nearest to its own in RGB, exactly.
    The numbers are as fine as the map: 256 colors give 256 values.

    Parameters
    ----------
    image : array-like, 2 to 5 axes and a last one of RGB or RGBA, or napari.layers.Image
        Unsigned integers over their full range, or floats from 0 to 1; alpha is ignored.  Read block by block,
        never written.
    colormap : array-like, shape (N, 3) or (N, 4)
        Its colors in order, as uint8 or as floats from 0 to 1, N from 2 to 32767.
    limits : (float, float)
        The numbers of the first and the last color.

    Returns
    -------
    Uncoloured
        ``values``, float32; and ``mean`` and ``maximum`` of the distances.  A color that occurs several times
        in the map gives the mean of its places; NaN gives NaN.

    Raises
    ------
    TypeError, ValueError
        If the volume has no colors, or the colormap or the limits are not valid.

    Warns
    -----
    UserWarning
        If the colors are far from those of the map, so that the volume was probably saved through another one.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import from_colormap
    >>> heat = np.array([[0, 0, 0], [255, 0, 0], [255, 255, 0]], dtype=np.uint8)
    >>> from_colormap(heat[[[2, 0, 1]]], heat, limits=(1500, 4500)).values
    array([[4500., 1500., 3000.]], dtype=float32)
    """
    return opened(image, mask=None).from_colormap(colormap, limits)


def warn_wrong(found: Uncoloured) -> None:
    """Warn the user if the colors are far from those of the map."""
    if found.mean > WRONG:
        warn_user(
            f"The colors lie {found.mean:.3f} from those of the colormap on average (at most {found.maximum:.3f}, "
            "where channels go from 0 to 1): it is probably another colormap."
        )


def read_colors(volume: Volume, colormap: npt.ArrayLike, limits: tuple[float, float] = (0.0, 1.0)) -> Uncoloured:
    """Do what `from_colormap` does, without its bar and its warning, as a part of other work."""
    colors, places = color_table(colormap)
    low, high = check_pair(limits, "limits")
    if low == high:
        raise ValueError(f"limits must be two different numbers, got {given(limits)}.")
    values = (low + (high - low) * places).astype(np.float32)
    array = volume.array
    blocks: Iterable[Block] = volume.blocks()
    if is_dask(array):
        from napari_exposure.core import lazy

        array, chunks = lazy.blocks_of(array.rechunk({-1: -1}))
        blocks = [block[:-1] for block in chunks]
    if volume.dtype == np.uint8:
        kernel = load_kernel("nearest_bytes")
        # For every color that occurs, the kernel notes which of the map is the nearest, so that it is sought once.
        known: tuple[np.ndarray, ...] = (np.full(1 << 24, -1, np.int16),)
    else:
        kernel, known = load_kernel("nearest"), ()
    unit = np.iinfo(volume.dtype).max if volume.dtype.kind == "u" else 1
    out = np.empty(volume.shape, np.float32)
    total = np.zeros(3)

    def work(block: Block) -> np.ndarray:
        part = read_part(array, block)[..., :3]
        if not known:
            part = part / np.float64(unit)
        result, tally = np.empty(part.shape[:-1], np.float32), np.zeros(3)
        part = np.require(part.reshape(-1, 3), np.float64 if not known else np.uint8, ["C", "A"])
        kernel(part, colors, values, *known, result.reshape(-1), tally)
        out[block] = result
        return tally

    def merge(tally: np.ndarray) -> None:
        total[:2] += tally[:2]
        total[2] = max(total[2], tally[2])

    walk(blocks, work, merge, "looking colors up")
    count, distances, maximum = total.tolist()
    return Uncoloured(out, distances / count if count else math.nan, maximum if count else math.nan)


def color_table(colormap: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct colors of a colormap, float64 from 0 to 1, and the place from 0 to 1 of each of them."""
    colors = np.asarray(colormap)
    if colors.ndim != 2 or colors.shape[1] not in (3, 4) or not 2 <= len(colors) < 1 << 15:
        raise ValueError(
            f"colormap must be colors in an array of shape (N, 3) or (N, 4), N from 2 to 32767; got {colors.shape}."
        )
    if colors.dtype.kind not in "uif":
        raise TypeError(f"colormap must be uint8, or floats from 0 to 1, got {colors.dtype}.")
    colors = colors[:, :3] / (255 if colors.dtype.kind in "ui" else 1.0)
    if not ((colors >= 0) & (colors <= 1)).all():
        raise ValueError("The colors of a colormap must be integers from 0 to 255, or floats from 0 to 1.")
    places = np.linspace(0, 1, len(colors))
    different, which = np.unique(colors, axis=0, return_inverse=True)
    which = which.reshape(-1)
    return different, np.bincount(which, places) / np.bincount(which)

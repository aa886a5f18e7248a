"""Gain maps, which show how much an adjustment amplifies: the local slope of all of its steps together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_exposure.core.chain import Chained
from napari_exposure.core.images import opened
from napari_exposure.core.intensity import check_kind
from napari_exposure.core.transform import BlockMap

if TYPE_CHECKING:
    from napari_exposure.core.transform import Transform

# Voxels that became the lowest or the highest value have no slope, and are marked with these values.
CRUSHED, SATURATED = -1.0, -2.0
# The slope is taken over this fraction of the input range on either side of a value, which spans the steps of 8 bits.
REACH = 1 / 64


@dataclass(frozen=True, eq=False)
class GainMap(Chained):
    """A mapping of a volume to the slope of a fitted adjustment or recipe at each voxel."""

    fitted: BlockMap

    def __post_init__(self) -> None:
        check_kind(self.fitted, "fitted", BlockMap, "what recipe.fit(image) gives")
        if self.fitted.rgb:
            raise ValueError("A gain map needs gray values; this was fitted on colors. Split them into channels first.")

    @property
    def transforms(self) -> tuple[Transform, ...]:
        return self.fitted.transforms

    @property
    def out_dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    @property
    def out_range(self) -> tuple[float, float]:
        return SATURATED, 10.0

    @property
    def in_range(self) -> tuple[float, float]:
        """The input range of the first step, or of several fits the range that holds all of theirs."""
        lows, highs = zip(*(fit.stretched for fit in self.fitted.transforms[0].fits.values()), strict=True)
        return min(lows), max(highs)

    def __call__(
        self, block: npt.ArrayLike, offset: Sequence[int] | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        block = np.asarray(block)
        lo, hi = self.in_range
        low, high = self.fitted.out_range
        away = max(REACH * (hi - lo), 1.0 if self.dtype.kind in "iu" else 0.0)
        # The curve is level outside of the input range, so values inside are not moved beyond it.
        below = self._moved(block, -away, np.maximum, np.where(block >= lo, lo, -np.inf))
        above = self._moved(block, away, np.minimum, np.where(block <= hi, hi, np.inf))
        rise = self.fitted(above, offset).astype(np.float64)
        rise -= self.fitted(below, offset)
        # The true distance may be shorter, because integers are rounded and clamped.
        apart = np.subtract(above, below, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            # A curve that inverts amplifies too.  Where there is only one intensity, there is no slope.
            gain = np.abs(rise) / apart * np.divide(hi - lo, high - low)
        result = self.fitted(block, offset)
        # Voxels that became the least or the greatest value cannot be told apart any more.
        if high > low:
            gain[result <= low] = CRUSHED
            gain[result >= high] = SATURATED
        gain[~np.isfinite(gain)] = np.nan
        if out is None:
            single: np.ndarray = gain.astype(np.float32)
            return single
        out[...] = gain
        return out

    def _moved(self, block: np.ndarray, step: float, least: Callable[..., np.ndarray], end: np.ndarray) -> np.ndarray:
        """Return the block with `step` added to all values, but no farther than `end`."""
        moved = least(block.astype(np.float64) + step, end)
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            moved = np.clip(np.rint(moved), limits.min, limits.max)
        return moved.astype(self.dtype)

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...] | None = None) -> GainMap:
        """Do the same as ``Transform.onto``."""
        return GainMap(self.fitted.onto(shape, steps))

    def at_level(self, shape: tuple[int, ...]) -> GainMap:
        """Do the same as ``Transform.at_level``."""
        return GainMap(self.fitted.at_level(shape))

    def fitting(self, volume: Any) -> GainMap:
        """Do the same as ``Transform.fitting``."""
        return GainMap(self.fitted.fitting(volume))


def gain_map(image: Any, fitted: BlockMap | None = None) -> Any:
    """Map how much each voxel was amplified: differences of 1 % of the input range become this many percent.

    Parameters
    ----------
    image : napari.layers.Image or array-like
        A layer that this plugin has made, as long as its source is there; or, with `fitted`, the image that an
        adjustment or a recipe is applied to.
    fitted : Transform or FittedRecipe, optional
        The result of ``fit``.

    Returns
    -------
    napari.layers.Image, numpy.ndarray or dask.array.Array of float32
        The slope of all steps together at the value of each voxel, over a 32nd of the input range; also where they
        invert, it is positive.  It is 1 where it equals that of stretching the input range to the range of results.
        Voxels that became the lowest value, and so cannot be told apart any more, are -1, those that became the
        highest -2; NaN stays NaN, and a volume of a single intensity has only NaN.

    Raises
    ------
    TypeError, ValueError
        If the layer was not made by this plugin in this session or its source is gone, if an array comes without
        `fitted`, or for RGB images.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import PercentileClip, gain_map
    >>> volume = np.arange(400, dtype=np.uint16).reshape(1, 20, 20)
    >>> gains = gain_map(volume, PercentileClip(10, 60, in_range=(0, 399)).fit(volume))
    >>> float(gains[0, 5, 5]), float(gains[0, 0, 0]), float(gains[0, 19, 0])
    (1.0, -1.0, -2.0)
    """
    return opened(image).gain_map(fitted)

"""Histogram equalization: one curve for all voxels makes intensities equally frequent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment, check_counted
from napari_exposure.core.counting import count_histogram, find_extent
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import (
    is_lookup,
    result_dtype,
    result_range,
)
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.pointwise import CurveFit, KnotsFit, StepsFit
from napari_exposure.core.quantiles import find_knots, knots_of_sorted
from napari_exposure.core.ranking import rank_voxels, sort_voxels
from napari_exposure.core.stacks import SMALL, count_stack, order_volumes
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume

__all__ = ["HistogramEqualization", "equalize_hist"]

# So many bins of equal width are counted where no number of them is given.
BINS = 256
# These parts of a fit do not depend on its curve: what 0 and 1 become, and the dtypes of the volume and the result.
Fixed = tuple[float, float, np.dtype, np.dtype]

METHODS = {"cdf": "cumulative: by the cumulative distribution", "rank": "exact rank"}


@dataclass(frozen=True)
class HistogramEqualization(Adjustment):
    """Make all intensities equally frequent; see `equalize_hist`."""

    short_name, verb, title = "equalized", "equalize_hist", "Histogram equalization"
    use: ClassVar[str] = "all intensities shall be told apart, everywhere by the same curve"

    nbins: int | None = parameter(
        None,
        "Bins",
        "Bins of equal width, for floats and integers of more than 16 bits; automatic: exact quantiles, which a few "
        "voxels far off do not move. Other integers use every gray level.",
        low=2,
        high=65536,
        step=1,
        automatic=None,
        start=256,
        advanced=True,
    )
    method: Literal["cdf", "rank"] = parameter(
        "cdf",
        "Method",
        "The cumulative distribution, as scikit-image has it, or the exact rank of every voxel.",
        choices=METHODS,
    )
    anchor: bool = parameter(
        False,
        "Keep the background dark",
        "The darkest counted intensity stays the lowest value, however many voxels have it. Without it, a stack that "
        "is mostly empty gets a bright background.",
    )

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        out_dtype = result_dtype(volume.dtype, self.output)
        with progress.part(0, 0.4):
            lo, hi = self._find_range(volume)
        bottom, top = result_range(volume.dtype, out_dtype, lo)
        fixed = bottom, top, volume.dtype, out_dtype
        constant = KnotsFit(lo, lo, *fixed, np.zeros(2))
        if lo == hi:
            return constant
        if self._sorted(volume):
            with progress.part(0.4, 0.95):
                if self.method == "rank":
                    places, heights, number = rank_voxels(volume, lo, hi)
                else:
                    ordered = sort_voxels(volume, lo, hi)
                    number = len(ordered)
                    places, heights = knots_of_sorted(ordered)
            check_counted(number, volume)
            fit = self._fit_ordered(lo, hi, fixed, places, heights)
            if isinstance(fit, StepsFit):
                # It is made here, where it can be canceled, and not by the first block that needs it.
                with progress.part(0.95, 1):
                    _ = fit.index
            return fit
        if self.nbins is None and not is_lookup(volume.dtype):
            with progress.part(0.4, 1):
                knots = find_knots(volume, lo, hi)
            if not knots[0].size:
                check_counted(not math.isnan(find_extent(volume)[0]), volume)
            return self._fit_ordered(lo, hi, fixed, *knots)
        with progress.part(0.4, 1):
            found = count_clamped(volume, self.nbins or BINS, lo, hi)
        if found is None:
            return constant
        counts, centers = found
        if self.method == "rank":
            below = np.cumsum(counts) - counts
            heights = below / below[-1]
        else:
            heights = self._anchored(np.cumsum(counts) / counts.sum())
        return KnotsFit(float(centers[0]), float(centers[-1]), *fixed, heights)

    def _sorted(self, volume: Volume, lead: int = 0) -> bool:
        """Return whether voxels are sorted: always for their ranks, and for quantiles if they are few."""
        if is_lookup(volume.dtype):
            return False
        return self.method == "rank" or (self.nbins is None and math.prod(volume.shape[lead:]) <= SMALL)

    def _fit_ordered(self, lo: float, hi: float, fixed: Fixed, places: np.ndarray, heights: np.ndarray) -> Fit:
        """Return the fit of distinct values and their ranks, or of knots; fewer than two stand for one value."""
        if len(places) < 2:
            return KnotsFit(lo, lo, *fixed, np.zeros(2))
        if self.method == "rank":
            return StepsFit(lo, hi, *fixed, places, heights)
        return CurveFit(lo, hi, *fixed, places, self._anchored(heights))

    def _anchored(self, heights: np.ndarray) -> np.ndarray:
        """Return the heights, which are stretched so that the first one is 0 if the background is to stay dark."""
        first, last = heights[..., :1], heights[..., -1:]
        return (heights - first) / (last - first) if self.anchor else heights

    def _fit_stack(self, volume: Volume, lead: int) -> Sequence[Fit] | None:
        if not isinstance(self.in_range, str):
            return None
        dtype, out_dtype = volume.dtype, result_dtype(volume.dtype, self.output)
        # The first is for ranges that begin at 0 or above, the second for those that begin below 0.
        ends = [result_range(dtype, out_dtype, lo) for lo in (0, -1)]
        flat = np.zeros(2)
        fits: list[Fit] = []
        if self._sorted(volume, lead):
            found = order_volumes(volume, lead, self.in_range, ranks=self.method == "rank")
            return [self._fit_ordered(lo, hi, (*ends[lo < 0], dtype, out_dtype), *curve) for lo, hi, *curve in found]
        stack = count_stack(volume, lead, self.in_range, self.nbins or BINS)
        if stack is None:
            return None
        cumulative = np.cumsum(stack.counts, axis=1)
        # Constant volumes divide by 0 here; they get a flat curve below.
        with np.errstate(invalid="ignore", divide="ignore"):
            if self.method == "rank":
                below = cumulative - stack.counts
                heights = below / np.take_along_axis(below, stack.sizes[:, None] - 1, axis=1)
            else:
                heights = self._anchored(cumulative / cumulative[:, -1:])
        columns = stack.lo, stack.constant, stack.begin, stack.end, stack.sizes
        for knots, lo, constant, begin, end, size in zip(heights, *(each.tolist() for each in columns), strict=True):
            bottom, top = ends[lo < 0]
            begin, end, knots = (lo, lo, flat) if constant else (begin, end, knots[:size])
            fits.append(KnotsFit(begin, end, bottom, top, dtype, out_dtype, knots))
        return fits


def count_clamped(volume: Volume, nbins: int, lo: float, hi: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return counts and centers of bins from `lo` to `hi`, with voxels outside in the end bins; None if constant."""
    found = count_histogram(volume, nbins, (lo, hi))
    check_counted(found.total, volume)
    low, high = np.clip((found.minimum, found.maximum), lo, hi)
    return _clamped(found, low, high) if low < high else None


def _clamped(found: Histogram, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and centers of the bins from `low` to `high`, with voxels outside in the end bins."""
    if not found.by_value:
        counts = found.counts.copy()
        counts[0] += found.below
        counts[-1] += found.above
        return counts, found.centers
    centers = found.centers
    start, stop = int(np.searchsorted(centers, low)), int(np.searchsorted(centers, high, side="right"))
    if stop - start < 2:
        # A range that lies between two gray levels is widened to hold both.
        start, stop = max(0, start - 1), min(len(centers), stop + 1)
    counts = found.counts[start:stop].copy()
    counts[0] += found.counts[:start].sum()
    counts[-1] += found.counts[stop:].sum()
    return counts, centers[start:stop]


@verb
def equalize_hist(
    image: Any,
    nbins: int | None = None,
    *,
    method: Literal["cdf", "rank"] = "cdf",
    anchor: bool = False,
    in_range: GivenRange = "data",
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    window: int = 1,
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Equalize the histogram of a volume: each intensity becomes the fraction of voxels up to it.

    Parameters
    ----------
    nbins : int
        Bins of equal width for floats and larger integers, 2 to 65536.  Default: exact quantiles, so that a few
        voxels far off do not take all bins for themselves.  Integers of up to 16 bits use every gray level.
    method : "cdf" or "rank"
        "cdf": the cumulative distribution, exact for integers of up to 16 bits and at the quantiles of others,
        between which no more than 1/512 of the voxels lie; with `nbins` interpolated between bin centers, as
        ``skimage.exposure.equalize_hist`` has it.  "rank": the number of voxels below, divided by that of the
        brightest voxel; exact on every dtype, from 0 to 1, ties share a rank.  On floats and 32-bit
        integers it sorts a copy of the counted voxels, and the transform holds every distinct value.
    anchor : bool
        The darkest counted intensity (of floats and 32-bit integers the lowest bin) becomes the lowest value, as
        OpenCV's ``equalizeHist`` has it, and the rest is stretched.  Otherwise a background that is most of the
        volume becomes bright, because it has most of the voxels.  "rank" always keeps it dark.

    Notes
    -----
    The method is that of [1]_, section 3.3.  A constant volume becomes the lowest value, with a
    warning.  NaN stays NaN and is not counted.  An infinite voxel counts as the end of the range on its
    side, and becomes what that becomes.  The result is for looking and segmenting, not for measuring
    intensity.

    References
    ----------
    .. [1] R. C. Gonzalez and R. E. Woods, Digital Image Processing, 4th edition, Pearson, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import equalize_hist
    >>> equalize_hist(np.array([[1, 2], [2, 9]], dtype=np.uint8), output="float32")
    array([[0.25, 0.75],
           [0.75, 1.  ]], dtype=float32)
    """
    return adjust_image(HistogramEqualization, **locals())

"""Global histogram equalization."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment, check_counted, parameter
from napari_exposure.core.blocks import Volume, count
from napari_exposure.core.counting import count_histogram
from napari_exposure.core.images import adjust_image
from napari_exposure.core.intensity import (
    is_lookup,
    result_dtype,
    result_range,
    working_dtype,
)
from napari_exposure.core.pointwise import KnotsFit, StepsFit
from napari_exposure.core.stacks import count_stack, sort_volumes

__all__ = ["HistogramEqualization", "equalize_hist"]

METHODS = {"cdf": "cumulative distribution", "rank": "exact rank"}


@dataclass(frozen=True)
class HistogramEqualization(Adjustment):
    """Make all intensities equally frequent; see `equalize_hist`."""

    short_name: ClassVar[str] = "equalized"
    verb: ClassVar[str] = "equalize_hist"
    title: ClassVar[str] = "Histogram equalization"

    nbins: int = parameter(
        256,
        "Bins",
        "Bins for floats and 32-bit integers; other integers use every grey level.",
        low=2,
        high=65536,
        step=1,
    )
    method: Literal["cdf", "rank"] = parameter(
        "cdf",
        "Method",
        "The cumulative distribution, as scikit-image has it, or the exact rank of every voxel.",
        choices=METHODS,
    )

    def _fit_group(self, volume, spacing):
        out_dtype = result_dtype(volume.dtype, self.output)
        with progress.part(0, 0.4):
            lo, hi = self._find_range(volume)
        bottom, top = result_range(volume.dtype, out_dtype, lo)
        fixed = bottom, top, volume.dtype, out_dtype
        constant = KnotsFit(lo, lo, *fixed, np.zeros(2))
        if lo == hi:
            return constant
        if self.method == "rank" and not is_lookup(volume.dtype):
            with progress.part(0.4, 1):
                ordered = _sort_voxels(volume, lo, hi)
            check_counted(len(ordered), volume)
            levels, heights = _ranked(ordered)
            progress.report("ranking", 1.0)
            return StepsFit(lo, hi, *fixed, levels, heights) if len(levels) > 1 else constant
        with progress.part(0.4, 1):
            found = count_clamped(volume, self.nbins, lo, hi)
        if found is None:
            return constant
        counts, centers = found
        if self.method == "rank":
            below = np.cumsum(counts) - counts
            heights = below / below[-1]
        else:
            heights = np.cumsum(counts) / counts.sum()
        return KnotsFit(float(centers[0]), float(centers[-1]), *fixed, heights)

    def _fit_stack(self, volume, lead):
        if not isinstance(self.in_range, str):
            return None
        dtype, out_dtype = volume.dtype, result_dtype(volume.dtype, self.output)
        # for ranges above 0 and below it
        ends = [result_range(dtype, out_dtype, lo) for lo in (0, -1)]
        flat = np.zeros(2)
        fits = []
        if self.method == "rank" and not is_lookup(dtype):
            found = sort_volumes(volume, lead, self.in_range)
            for lo, hi, ordered in found:
                fixed = *ends[lo < 0], dtype, out_dtype
                levels, heights = _ranked(ordered)
                several = len(levels) > 1
                fits.append(StepsFit(lo, hi, *fixed, levels, heights) if several else KnotsFit(lo, lo, *fixed, flat))
            return fits
        stack = count_stack(volume, lead, self.in_range, self.nbins)
        if stack is None:
            return None
        cumulative = np.cumsum(stack.counts, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            # by 0 where planes are constant
            if self.method == "rank":
                below = cumulative - stack.counts
                heights = below / np.take_along_axis(below, stack.sizes[:, None] - 1, axis=1)
            else:
                heights = cumulative / cumulative[:, -1:]
        columns = stack.lo, stack.constant, stack.begin, stack.end, stack.sizes
        for knots, lo, constant, *places, size in zip(heights, *(each.tolist() for each in columns), strict=True):
            places, knots = ((lo, lo), flat) if constant else (places, knots[:size])
            fits.append(KnotsFit(*places, *ends[lo < 0], dtype, out_dtype, knots))
        return fits


def _ranked(ordered):
    """Distinct values of an ordered array, and of each the number of values below, divided by that of the last."""
    starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])[: len(ordered)]
    return ordered[starts], starts / max(starts[-1:].sum(), 1)


def count_clamped(volume: Volume, nbins: int, lo: float, hi: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Counts and centres of the bins from `lo` to `hi`, what lies outside counted at the ends; None if constant."""
    found = count_histogram(volume, nbins, (lo, hi))
    check_counted(found.total, volume)
    low, high = np.clip((found.minimum, found.maximum), lo, hi)
    return _clamped(found, low, high) if low < high else None


def _clamped(found, low, high):
    """Counts and centres with what lies outside the range counted at its ends."""
    if not found.by_value:
        counts = found.counts.copy()
        counts[0] += found.below
        counts[-1] += found.above
        return counts, found.centers
    centers = found.centers
    start, stop = np.searchsorted(centers, low), np.searchsorted(centers, high, side="right")
    if stop - start < 2:
        # a range between two neighbouring grey levels
        start, stop = max(0, start - 1), min(len(centers), stop + 1)
    counts = found.counts[start:stop].copy()
    counts[0] += found.counts[:start].sum()
    counts[-1] += found.counts[stop:].sum()
    return counts, centers[start:stop]


def _sort_voxels(volume, lo, hi):
    """All counted voxels, clamped and sorted: the one place that needs a copy of the volume."""
    dtype = working_dtype(volume.dtype)
    if dtype.kind in "iu":
        lo, hi = math.ceil(lo), math.floor(hi)
    parts = []

    def visit(block, values, counted):
        values = values[counted] if counted.size else values.reshape(-1)
        return np.sort(np.clip(values[values == values], lo, hi))

    with progress.part(0, 0.5):
        count(volume, visit, parts.append, "ranking")
    merges = len(parts) - 1
    for merge in range(merges):
        # the two shortest; a stable sort merges ordered runs
        parts.sort(key=len, reverse=True)
        merged = np.concatenate([parts.pop(), parts.pop()])
        merged.sort(kind="stable")
        parts.append(merged)
        progress.report("ranking", 0.5 + 0.5 * (merge + 1) / merges)
    return parts[0]


def equalize_hist(
    image,
    nbins=256,
    *,
    method="cdf",
    in_range="data",
    output="dtype",
    mask=None,
    ignore_zeros=False,
    per="dataset",
    rgb=None,
    level=0,
):
    """Equalize the histogram of a volume: each intensity becomes the fraction of voxels up to it.

    Parameters
    ----------
    image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
        Integers of 8 to 64 bits (to 2**53), float16, float32 or float64, in either byte order.
        Never written.
    nbins : int
        Bins for floats and 32-bit integers, 2 to 65536.  Integers of up to 16 bits use every grey level.
    method : "cdf" or "rank"
        "cdf": the cumulative distribution, interpolated between bin centres; equals
        ``skimage.exposure.equalize_hist``.  "rank": the number of voxels below, divided by that of the
        brightest voxel; exact on every dtype, from 0 to 1, ties share a rank.  On floats and 32-bit
        integers it sorts a copy of the counted voxels, and the transform holds every distinct value.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        Intensities are clamped to this range before they are counted.
    output : "dtype" or "float32"
        "dtype" stretches over the full range of the input's dtype (floats: [0, 1]);
        "float32" gives [0, 1].
    mask : array-like or napari.layers.Labels, optional
        Of the image's shape; only voxels where it is not zero are counted.  All are mapped.
    ignore_zeros : bool
        Leave voxels of exactly 0 out of the histogram.
    per : "dataset", "volume" or "plane"
        Which voxels share a histogram.
    rgb : bool, optional
        Of arrays: the last axis holds RGB or RGBA.  The value channel is adjusted, hue, saturation and alpha stay.
    level : int
        Of a multiscale layer the level that is fitted: a coarse one is fitted sooner.

    Returns
    -------
    numpy.ndarray, dask.array.Array or napari.layers.Image
        As the image is: a new array of its shape, lazy for dask, or a new layer with the same place and levels, not
        yet in a viewer, whose ``metadata["napari_exposure"]`` says how it was made.

    Raises
    ------
    TypeError
        For a dtype that has no exposure, or a parameter that is not a number.
    ValueError
        For an empty volume, a parameter out of bounds, or a mask of another shape.

    Notes
    -----
    The method is that of [1]_, section 3.3.  A constant volume becomes the lowest value, with a
    warning.  NaN stays NaN and is not counted.  The result is for looking and segmenting, not for
    measuring intensity.

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
    return adjust_image(
        image,
        HistogramEqualization,
        nbins=nbins,
        method=method,
        in_range=in_range,
        output=output,
        mask=mask,
        ignore_zeros=ignore_zeros,
        per=per,
        rgb=rgb,
        level=level,
    )

"""Histogram matching."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adjustment import Adjustment, check_counted
from napari_exposure.core.counting import count_colors, count_histogram, find_percentiles
from napari_exposure.core.equalize import count_clamped
from napari_exposure.core.functions import interpolate
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.images import adjust_image, opened, verb
from napari_exposure.core.intensity import (
    COLORS,
    check_choice,
    check_count,
    dtype_range,
    is_lookup,
    prepared,
    result_dtype,
    working_dtype,
    write_alpha,
)
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.pointwise import ResultsFit
from napari_exposure.core.stacks import count_stack
from napari_exposure.core.statistics import histogram
from napari_exposure.core.transform import Fit, Transform
from napari_exposure.core.typing import ArrayLike, Layer, Spacing
from napari_exposure.core.volume import Volume
from napari_exposure.core.words import given, naming

# Widgets word the time point to match to, what is matched of RGB images, and the dtype of the result like this.
POINTS = {"first": "First time point", "median": "Median in time"}
REFERENCES = "an image, its Histogram, 'first' or 'median'"
CHANNELS = {"value": "brightness: colors keep their hue", "each": "each color: red, green and blue each by itself"}
MATCHED = {"dtype": "same bit depth", "float32": "float32: not rounded"}


@dataclass(frozen=True, eq=False)
class ColorsFit(Fit):
    """Three fits, one each for red, green and blue."""

    colors: tuple[Fit, ...]

    @property
    def constant(self) -> bool:
        """Whether all colors are constant."""
        return all(fit.constant for fit in self.colors)

    @property
    def kernel_key(self) -> tuple[Any, ...]:
        return self.colors[0].kernel_key


class MatchingTransform(Transform):
    """A fitted matching, which maps red, green and blue one by one where each has a fit of its own."""

    def _write(self, block: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        fits = {group: fit for group, fit in self.fits.items() if isinstance(fit, ColorsFit)}
        if not fits:
            super()._write(block, offset, out)
            return
        mapped = np.empty(block.shape[:-1], working_dtype(self.out_dtype))
        for number, color in enumerate(COLORS):
            alone = replace(self, rgb=False, fits={group: fit.colors[number] for group, fit in fits.items()})
            alone._map(prepared(color(block), self.dtype), offset, mapped)
            out[..., number] = mapped
        write_alpha(block, out, top=dtype_range(self.dtype, negative=False)[1])


@dataclass(frozen=True)
class HistogramMatching(Adjustment):
    """Give a volume the histogram of another one; see `match_histograms`."""

    short_name, verb, title = "matched", "match_histograms", "Histogram matching"
    transform_type: ClassVar[type[Transform]] = MatchingTransform
    group: ClassVar[str] = "Like another image"
    use: ClassVar[str] = "several stacks shall look alike"

    reference: Histogram | Literal["first", "median"] = parameter(
        dataclasses.MISSING,
        "Reference",
        "The image whose histogram the result has, or a file with one; or of a series its first or its median time "
        "point.",
        words=POINTS,
        example=Histogram(np.ones(1, np.int64), np.array([-0.5, 0.5]), 0.0, 0.0, by_value=True).to_dict(),
    )
    nbins: int = parameter(
        65536,
        "Bins",
        "Bins for floats and 32-bit integers; other integers use every gray level.",
        low=2,
        high=1 << 20,
        step=1,
        advanced=True,
    )
    _: KW_ONLY
    colors: Literal["value", "each"] = parameter(
        "value",
        "Colors",
        "Of RGB images: match the brightness, and colors keep their hue; or red, green and blue each to that of the "
        "reference, which takes its tint too.",
        choices=CHANNELS,
        advanced=True,
    )
    output: Output = parameter(
        "dtype",
        "Output",
        "Same bit depth: keep the data type. Or make float32, which needs no rounding. Both have the intensities of "
        "the reference.",
        choices=MATCHED,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.reference, str):
            check_choice(self.reference, "reference", POINTS)
            return
        if not isinstance(self.reference, Histogram):
            raise TypeError(
                "reference must be a Histogram such as histogram(volume) gives, or 'first' or 'median', got "
                f"{given(self.reference)}."
            )
        if not self.reference.counts.any():
            raise ValueError("The reference has no finite voxel in its bins. Choose another one.")
        # Matching does not need the moments, so recipes do not carry them.
        colors = tuple(replace(each, moments=None) for each in self.reference.colors)
        self._set("reference", replace(self.reference, moments=None, colors=colors))
        if self.colors == "each" and not self.reference.colors:
            raise ValueError(
                "colors='each' needs a reference with colors: an RGB image, or a histogram that match_histograms has "
                "counted of one."
            )

    @property
    def in_series(self) -> bool:
        return isinstance(self.reference, str)

    @cached_property
    def _quantiles(self) -> tuple[np.ndarray, np.ndarray]:
        """The values of the reference, and the fraction of its voxels up to each value."""
        assert isinstance(self.reference, Histogram), "The time point was found."
        counts = self.reference.counts.copy()
        counts[0] += self.reference.below
        counts[-1] += self.reference.above
        least, most = self.reference.minimum, self.reference.maximum
        # A bin stands for its middle, but the first and the last value are the exact extremes of the reference.
        values = np.clip(self.reference.centers[counts > 0], least, most)
        values[0] = least
        if len(values) > 1:
            values[-1] = most
        return values, np.cumsum(counts[counts > 0]) / counts.sum()

    def check(self, volume: Volume, spacing: Spacing = None) -> tuple[float, ...]:
        """Check as every adjustment does, and that the result can hold the intensities of the reference."""
        if self.colors == "each":
            if not volume.rgb:
                raise ValueError("colors='each' is for RGB images; use colors='value'.")
            if isinstance(self.reference, Histogram):
                for each in self._of_colors():
                    each.check(volume, spacing)
        sizes = super().check(volume, spacing)
        dtype = result_dtype(volume.dtype, self.output)
        if isinstance(self.reference, str):
            # The intensities of the series fit its own dtype; only colors of integers do not fit floats.
            low, high = dtype_range(volume.dtype, negative=False)
            whole = volume.dtype.kind in "iu"
        else:
            low, high = self._quantiles[0][[0, -1]]
            whole = self.reference.whole
        if dtype.kind == "f" and not volume.rgb:
            return sizes
        least, most = dtype_range(dtype, negative=dtype.kind == "i")
        hint = "Convert the volume or the reference first" if volume.rgb else 'Use output="float32"'
        if low < least or high > most:
            raise ValueError(
                f"The reference has intensities from {low:g} to {high:g}, which {dtype} cannot hold "
                f"({least:g} to {most:g}). {hint}."
            )
        if dtype.kind in "iu" and not whole:
            raise ValueError(
                f"The reference has floating-point intensities, {low:g} to {high:g}, which {dtype} would round. {hint}."
            )
        return sizes

    def _fit_series(
        self, series: Volume, members: Sequence[Volume], time: int, spacing: tuple[float, ...]
    ) -> Sequence[Fit]:
        with progress.part(0, 0.3):
            at = 0 if self.reference == "first" else self._median(members)
            reference = (count_histogram if self.colors == "value" else count_colors)(members[at], self.nbins)
        with naming(POINTS[str(self.reference)]):
            check_counted(int(reference.counts.sum()), replace(members[at], joins=(), lead=()))
        with progress.part(0.3, 1):
            return replace(self, reference=reference)._fit_groups(members, spacing)

    @staticmethod
    def _median(members: Sequence[Volume]) -> int:
        """Return the time point whose median intensity is in the middle of those of all."""
        found = progress.each(members, lambda member: find_percentiles(member, (50.0,)))
        medians = [median[0] if median else math.nan for median in found]
        order = np.argsort(medians, kind="stable")[: np.isfinite(medians).sum()]
        return int(order[(len(order) - 1) // 2]) if len(order) else 0

    def _of_colors(self) -> list[HistogramMatching]:
        """Return one matching each for red, green and blue."""
        assert isinstance(self.reference, Histogram), "The time point was found."
        return [replace(self, reference=each, colors="value") for each in self.reference.colors]

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        if self.colors == "each":
            colors = list(zip(COLORS, self._of_colors(), strict=True))
            fits = progress.each(colors, lambda color: color[1]._fit_group(volume.seen_as(color[0]), spacing))
            lo, hi = min(fit.lo for fit in fits), max(fit.hi for fit in fits)
            bottom, top = min(fit.bottom for fit in fits), max(fit.top for fit in fits)
            out_dtype = result_dtype(volume.dtype, self.output)
            return ColorsFit(lo, hi, bottom, top, volume.dtype, out_dtype, tuple(fits))
        low, high = self._quantiles[0][[0, -1]].tolist()
        ends = low, high, volume.dtype, result_dtype(volume.dtype, self.output)
        with progress.part(0, 0.4):
            lo, hi = self._find_range(volume)
        found = None
        if lo < hi:
            with progress.part(0.4, 1):
                found = count_clamped(volume, self.nbins, lo, hi)
        if found is None:
            return ResultsFit(lo, lo, *ends, np.full(2, low))
        counts, centers = found
        results = self._results(counts, volume.dtype)
        return ResultsFit(float(centers[0]), float(centers[-1]), *ends, results)

    def _results(self, counts: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return what the intensities in the middles of bins become."""
        values, quantiles = self._quantiles
        results = interpolate(np.cumsum(counts) / counts.sum(), quantiles, values)
        if is_lookup(dtype):
            return results
        # An empty bin takes the result of the nearest one with voxels, because values that lie apart, such as integers
        # made floats, must not be blended.
        used = np.flatnonzero(counts)
        nearest: np.ndarray = results[used[np.searchsorted((used[1:] + used[:-1]) / 2, np.arange(len(counts)))]]
        return nearest

    def _fit_stack(self, volume: Volume, lead: int) -> Sequence[Fit] | None:
        if not isinstance(self.in_range, str) or self.colors == "each":
            return None
        stack = count_stack(volume, lead, self.in_range, self.nbins)
        if stack is None:
            return None
        low, high = self._quantiles[0][[0, -1]].tolist()
        dtype = volume.dtype
        fixed = low, high, dtype, result_dtype(dtype, self.output)
        flat = np.full(2, low)
        fits: list[Fit] = []
        columns = stack.lo, stack.constant, stack.begin, stack.end, stack.sizes
        for counts, lo, constant, begin, end, size in zip(stack.counts, *(c.tolist() for c in columns), strict=True):
            if constant:
                fits.append(ResultsFit(lo, lo, *fixed, flat))
            else:
                fits.append(ResultsFit(begin, end, *fixed, self._results(counts[:size], dtype)))
        return fits


def _as_reference(reference: Any, nbins: int, ignore_zeros: bool, rgb: bool | None, colors: str) -> Histogram | str:
    """Return the reference as a histogram, or as it is where it names a time point."""
    if isinstance(reference, Histogram) or (isinstance(reference, str) and reference in POINTS):
        return reference
    nbins = check_count(nbins, "nbins", low=2, high=1 << 20)
    check_choice(colors, "colors", CHANNELS)
    with naming(f"reference must be {REFERENCES}"):
        if isinstance(reference, str | os.PathLike):
            raise TypeError(f"Got {given(reference)}; read a file with Histogram.load first.")
        if colors != "each":
            return histogram(reference, nbins, ignore_zeros=ignore_zeros, rgb=rgb)
        found = opened(reference, rgb=rgb)
        with found.bar():
            return replace(count_colors(found.volume(ignore_zeros), nbins), name=found.name)


@verb
def match_histograms(
    image: Any,
    reference: Histogram | ArrayLike | Layer | Literal["first", "median"],
    nbins: int = 65536,
    *,
    in_range: GivenRange = "data",
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    window: int = 1,
    colors: Literal["value", "each"] = "value",
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Give a volume the histogram of another one, so that both can be compared by eye or by threshold.

    Each intensity becomes the intensity of the reference below which the same fraction of voxels lies.

    Parameters
    ----------
    reference : Histogram, array-like, napari.layers.Image, "first" or "median"
        An image of any shape, or a histogram, which ``Histogram.save`` and ``Histogram.load`` keep for other volumes.
        An image is counted as this one is, with `nbins`, `ignore_zeros` and `rgb`, but without the mask.
        "first" and "median" match each time point of a series to its first one, or to the one whose median intensity
        is in the middle of those of all; the mask holds for that one too.  Time is the axis with that name, or the
        first axis where axes have no names.
    nbins : int
        Bins for floats and 32-bit integers, 2 to 2**20.  Integers of up to 16 bits use every gray level.
    output : "dtype" or "float32"
        "dtype": the volume's dtype, integers rounded.  "float32": not rounded.
        In both the result has the intensities of the reference; nothing is stretched.
    per : "dataset", "volume" or "plane"
        Which voxels of the volume share a histogram.  There is one reference for all; "first" and "median" are the
        time point of the same channel with "volume", and of all channels with "dataset".
    colors : "value" or "each"
        For RGB images.  "value" matches the value channel; hue, saturation and alpha stay.  "each" matches red, green
        and blue each to that of the reference, which must be RGB too, as ``channel_axis=-1`` does in scikit-image;
        alpha stays.
    rgb : bool, optional
        Whether the last axis of an array holds RGB or RGBA.

    Raises
    ------
    ValueError
        Also for an empty reference, or where an integer dtype cannot hold the intensities of the reference: negative,
        too great, or floats.

    Notes
    -----
    The definition is that of ``skimage.exposure.match_histograms`` [1]_: quantiles of both, linear between
    those of the reference.  For integers of up to 16 bits (volume and reference) the result is the same
    number, rounded; for larger ones whose range is below `nbins` too, but for ties of the rounding.  Of floats a
    quantile is right to the fraction of voxels in a bin (exact for values three bins apart, such as
    integers made floats), and a result to the width of a bin of the reference.  NaN stays NaN and is not
    counted.  A constant volume or plane becomes the lowest intensity of the reference, with a warning,
    where scikit-image gives the greatest.

    References
    ----------
    .. [1] R. C. Gonzalez and R. E. Woods, Digital Image Processing, 4th edition, Pearson, 2018, section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import histogram, match_histograms
    >>> dim, bright = np.array([[1, 2, 2, 3]], np.uint8), np.array([[10, 20, 90, 100]], np.uint8)
    >>> match_histograms(dim, bright)
    array([[ 10,  90,  90, 100]], dtype=uint8)
    >>> match_histograms(dim, histogram(bright)).max()
    np.uint8(100)
    """
    reference = _as_reference(reference, nbins, ignore_zeros, rgb, colors)
    return adjust_image(HistogramMatching, **locals())

"""Correction of an intensity that decays along an axis, such as with depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, cast

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adjustment import check_counted
from napari_exposure.core.blocks import Block
from napari_exposure.core.counting import find_cuts
from napari_exposure.core.decay_fit import DecayFit, DecayTransform, MatchedFit, TimeFit
from napari_exposure.core.functions import exp, power
from napari_exposure.core.gains import AXIS_WORDS, axis_from_end
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.keeping import ScaleKeeping
from napari_exposure.core.match import HistogramMatching
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.planes import plane_percentiles
from napari_exposure.core.profiles import common_profile, compared
from napari_exposure.core.surface import find_depths, shell_percentiles
from napari_exposure.core.transform import Fit, Transform
from napari_exposure.core.typing import ArrayLike, Layer, Spacing
from napari_exposure.core.volume import Volume, count

# What a correction may go along: time, an axis of space, or the depth below the surface of the mask.
SURFACE = "surface"
Along = Literal["t", "z", "y", "x", "surface"]
ALONG = {"t": "t (time)", **AXIS_WORDS, SURFACE: "surface: the depth below that of the mask"}
Model = Literal["exponential", "smooth", "plane", "ratio", "histogram"]
MODELS = {
    "exponential": "exponential: a steady decay",
    "smooth": "smooth: any slow change",
    "plane": "plane: a gain of its own for each plane or time point",
    "ratio": "ratio: as plane, but to the first one",
    "histogram": "histogram: that of the first time point",
}
# The gains of these models are relative to the first plane and not to the brightest.
TO_FIRST = ("ratio", "histogram")
AUTO = "auto"
# An automatic background is this percentile, the darkest intensity apart from a few defects.
DARKEST = 1.0
# How much of a profile all intensities must have in common, so that light was lost and nothing else changed.  What
# planes hold bends a line less than it moves a curve.  Real nuclei that lost nothing have at most 0.62, 0.94 and 0.83.
SUPPORT = {"exponential": 0.8, "smooth": 0.96, "plane": 0.9, "ratio": 0.9, "histogram": 0.9}
# No warning is given while at most this fraction of the voxels is driven beyond the dtype.
CLAMPED = 0.001
# An automatic start is the brightest plane after a median over this many.
SOME_PLANES = 5
# With more planes than this the model takes longer than about ten milliseconds, so that progress is reported.
MANY_PLANES = 512


@dataclass(frozen=True)
class DecayCorrection(ScaleKeeping):
    """Divide out an intensity that decays along an axis; see `correct_decay`."""

    short_name, verb, title = "corrected", "correct_decay", "Depth correction"
    group: ClassVar[str] = "Correct"
    use: ClassVar[str] = "the stack gets darker with depth, or the series with time"
    place_note: ClassVar[str] = "its gains are those of the planes that were fitted"
    constant_note: ClassVar[str] = (
        "fewer than two planes whose percentile is above the background, so nothing is corrected there. A higher "
        "percentile, a lower background or ignore_zeros may find more."
    )
    transform_type: ClassVar[type[Transform]] = DecayTransform

    axis: Along = parameter(
        "z",
        "Axis",
        "What the intensity decays along: z for depth in a stack, t for bleaching and flicker. Below the surface of "
        "the mask, for what is lit from all sides, such as a spheroid, which is dark in its middle: then Measure "
        "inside is what fills the sample.",
        choices=ALONG,
    )
    model: Model = parameter(
        "exponential",
        "Model",
        "What is divided out: a steady exponential decay, any slow change, or whatever each plane or time point has, "
        "where the brightness jumps: then all are as bright as the brightest, or with ratio as the first. Along time "
        "each may also get the histogram of the first.",
        choices=MODELS,
    )
    background: float | Literal["auto"] = parameter(
        0.0,
        "Background",
        "Black level of the camera, which does not decay: the intensity where there is no light. Automatic: the "
        "darkest intensity of the volume (its percentile 1).",
        min=-1e9,
        max=1e9,
        step=1.0,
        automatic=AUTO,
        advanced=True,
    )
    percentile: float = parameter(
        50.0,
        "Plane percentile",
        "The intensity that stands for a plane. 50, the median, where most voxels are tissue or haze; higher, such "
        "as 99, for a few bright objects on black.",
        low=0.0,
        high=100.0,
        step=1.0,
    )
    smoothness: float = parameter(
        0.15,
        "Smoothness",
        "For the smooth model: over which fraction of the axis it averages.",
        low=0.01,
        high=1.0,
        step=0.01,
        advanced=True,
    )
    max_gain: float = parameter(
        100.0,
        "Largest gain",
        "No plane is brightened more than this, so that planes of nothing but noise stay dark.",
        low=1.0,
        high=1e6,
        step=1.0,
        advanced=True,
    )
    exponent: float = parameter(
        1.0,
        "Exponent",
        "The gains are raised to this power: for a channel that loses more (above 1) or less light than the one that "
        "the correction was fitted on, such as another wavelength.",
        above=0,
        min=0.05,
        max=20.0,
        step=0.05,
        advanced=True,
    )
    start: float | Literal["auto"] = parameter(
        0.0,
        "Start plane",
        "Planes before this one are not corrected and not used, such as medium above the sample. Automatic: the "
        "brightest plane.",
        low=0.0,
        high=1e6,
        step=1.0,
        automatic=AUTO,
        advanced=True,
    )
    force: bool = parameter(
        False,
        "Correct anyway",
        "Also where the data do not support it: where dark and bright voxels of a plane do not change alike, so that "
        "planes hold other things rather than get less light.",
        advanced=True,
    )

    @property
    def in_series(self) -> bool:
        return self.axis == "t"

    @property
    def needs_spacing(self) -> bool:  # type: ignore[override]  # a parameter decides it here
        """Whether the size of a voxel matters, as it does for the distance to the surface."""
        return self.axis == SURFACE

    def check(self, volume: Volume, spacing: Spacing = None) -> tuple[float, ...]:
        """Check as every adjustment does, and raise if the volume lacks this axis or has too few planes along it."""
        sizes = super().check(volume, spacing)
        if self.model == "histogram":
            if self.axis != "t":
                raise ValueError(
                    f"The model 'histogram' is for axis='t'; along {self.axis} choose another one, such as 'plane'."
                )
            self._matching("first").check(volume, spacing)
        if self.axis == SURFACE:
            self._check_surface(volume, len(sizes))
            return sizes
        along = self._time(volume) if self.in_series else self.place(volume, len(sizes), len(volume.shape))
        planes = volume.shape[along]
        if isinstance(self.start, float) and self.start and self.start > planes - 2:
            raise ValueError(
                f"start is plane {self.start:g}, but there are {planes} planes along {self.axis}, and two are needed "
                "from there on."
            )
        return sizes

    def place(self, volume: Volume, spatial: int, axes: int = 3) -> int:
        """Return the index of the axis in space, counted from the end."""
        return axis_from_end(self.axis, spatial, axes, volume.labels)

    def _check_surface(self, volume: Volume, spatial: int) -> None:
        if self.per == "dataset" and math.prod(volume.shape[:-spatial]) > 1:
            raise ValueError(
                "axis='surface' needs a surface for each time point and channel. Set per='volume', or per='plane'."
            )
        if isinstance(self.start, float) and self.start:
            raise ValueError("start counts planes, and axis='surface' has none. Set start=0 or start='auto'.")
        if self.window > 1:
            raise ValueError("axis='surface' has a surface for each time point, which none shares. Leave window at 1.")

    def notes(self, transform: Transform) -> list[str]:
        """Return the warnings, also of a decay that the data do not support and of voxels that exceed the dtype."""
        # The time points of a series share one profile.
        fits = list({id(fit.profile): fit for fit in cast(dict[Any, DecayFit], transform.fits).values()}.values())
        notes = super().notes(transform)
        weak = [fit.support for fit in fits if not (fit.constant or fit.corrected)]
        if weak:
            kind = "series" if self.in_series else f"{self.per}s"
            where = f"in {len(weak)} of {len(fits)} {kind} " * (len(fits) > 1)
            notes.append(
                f"nothing is corrected {where}along {self.axis}: the data do not support a loss of light along it. "
                f"{max(0.0, *weak):.0%} of the profile's variation are common to dark and bright voxels, and the model "
                f"{self.model} needs {SUPPORT[self.model]:.0%}. Is the background wrong? Try auto. Or check axis and "
                "percentile, or correct anyway (force=True)."
            )
        before, beyond, total = (sum(each) for each in zip(*(fit.clamped for fit in fits), strict=True))
        if beyond > CLAMPED * total:
            notes.append(
                f"{(before + beyond) / total:.2%} of the voxels exceed {transform.out_dtype} and are clamped, "
                f"{before / total:.2%} are at its end before. output='float32' keeps them."
            )
        return notes

    def _matching(self, reference: Histogram | Literal["first"]) -> HistogramMatching:
        """Return the adjustment that gives a time point the histogram of the first one."""
        shared = {"in_range": self.in_range, "output": self.output, "ignore_zeros": self.ignore_zeros}
        return HistogramMatching(reference, per=self.per, **shared)  # type: ignore[arg-type]

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        return self._fit_along(volume, spacing, None if self.axis == SURFACE else self.place(volume, len(spacing)))

    def _fit_series(
        self, series: Volume, members: Sequence[Volume], time: int, spacing: tuple[float, ...]
    ) -> Sequence[Fit]:
        share = 0.5 if self.model == "histogram" else 1.0
        with progress.part(0, share):
            found = vars(self._fit_along(series, spacing, time - len(series.shape)))
        fits: list[Fit] = [TimeFit(**found, at=at) for at in range(len(members))]
        if self.model == "histogram" and found["corrected"]:
            with progress.part(share, 1):
                curves = self._matching("first")._fit_series(series, members, time, spacing)
            first = found["profile"][0] - found["background"]
            with np.errstate(invalid="ignore"):
                found["gains"] = np.nan_to_num(first / (found["profile"] - found["background"]), nan=1.0)
            fits = [MatchedFit(**found, at=at, match=curve) for at, curve in enumerate(curves)]
        return fits

    def _fit_along(self, volume: Volume, spacing: tuple[float, ...], axis: int | None) -> DecayFit:
        """Fit along an axis that is counted from the end, or below the surface of the mask if it is None."""
        if axis is None and volume.mask is None:
            raise ValueError(
                "axis='surface' is the depth below the surface of the mask, and there is none. Give mask, such as a "
                "Labels layer that fills the sample."
            )
        with progress.part(0, 0.3):
            (lo, hi), clamp = self._find_clamp(volume)
        if isinstance(self.background, float):
            background = self.background
        else:
            with progress.part(0.3, 0.4):
                found = find_cuts(volume, DARKEST, 100.0)
            background = float(np.clip(found[0] if found else 0.0, *clamp))
        parts, depths = self._dtypes(volume), None
        with progress.part(0.4, 0.9):
            if axis is None:
                axis = -len(spacing)
                single = volume.at((*volume.lead, *[0] * (len(volume.shape) - len(spacing))))
                depths = find_depths(single, spacing)
                counted, levels = shell_percentiles(single, depths, lo, hi, compared(self.percentile))
                values = levels[0]
            else:
                planes = plane_percentiles(volume, axis, compared(self.percentile))
                counted, values, levels = planes.counted, planes.values[0], planes.levels
        check_counted(counted.sum(), volume)
        # The percentiles of clamped data are the clamped percentiles.
        values, levels = np.clip(values, *clamp), np.clip(levels, *clamp)
        own = levels[0]
        known = np.isfinite(own) & (values > background) & (own > background)
        first = self._first(own, known)
        known[:first] = False
        fitted = np.full(len(own), math.nan)
        gains = np.ones(len(own))
        support, corrected = 1.0, False
        if len(known) > MANY_PLANES:
            progress.report("fitting the profile", 1.0)
        if known.sum() > 1:
            each = "plane" if self.model in TO_FIRST else self.model
            logs, support = common_profile(each, levels - background, known, self.smoothness)
            light = exp(logs)
            whole = float(light[first] if self.model in TO_FIRST else light[first:].max())
            # No light is lost before the start.
            light[:first] = whole
            fitted = background + light
            corrected = self.force or support >= SUPPORT[self.model]
            if corrected:
                gains = np.minimum(power(whole / light, self.exponent), self.max_gain)
        fit = DecayFit(
            lo,
            hi,
            parts["unit"] * lo,
            parts["unit"] * hi,
            axis=axis,
            gains=gains,
            background=background,
            clamp=clamp,
            **parts,
            profile=np.where(np.isfinite(own) & (values > background) & (own > background), own, math.nan),
            fitted=fitted,
            support=support,
            corrected=corrected,
            clamped=(0, 0, volume.size),
            depths=depths,
        )
        if fit.out_dtype.kind not in "iu":
            return fit
        with progress.part(0.9, 1):
            return replace(fit, clamped=_count_clamped(volume, fit))

    def _first(self, levels: np.ndarray, known: np.ndarray) -> int:
        """Return the plane from which on light is lost."""
        if isinstance(self.start, float):
            return int(self.start)
        if not known.any():
            return 0
        at = np.flatnonzero(known)
        half = SOME_PLANES // 2
        smooth = [np.median(levels[at[max(0, i - half) : i + half + 1]]) for i in range(len(at))]
        return int(at[np.argmax(smooth)])


def _count_clamped(volume: Volume, fit: DecayFit) -> tuple[int, int, int]:
    """Count voxels at the end of their dtype, those that gains drive beyond it, and all."""
    most, highest = float(np.iinfo(fit.out_dtype).max), fit.clamp[1]
    if fit.background + fit.gains.max() * (min(fit.hi, highest) - fit.background) < most:
        return 0, 0, volume.size
    totals = np.zeros(3, np.int64)

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[int, int, int]:
        # Intensities above these limits round to more than the dtype holds.
        limits = fit.background + (most + 0.5 - fit.background) / fit.gains_in(block)
        beyond = np.minimum(values, highest) > limits
        at = values >= most
        beyond &= ~at
        used = counted if counted.size else np.ones((), bool)
        return int((at & used).sum()), int((beyond & used).sum()), int(counted.sum() if counted.size else values.size)

    count(volume, visit, lambda found: np.add(totals, found, out=totals), "counting saturated voxels")
    before, driven, total = totals.tolist()
    return before, driven, total


@verb
def correct_decay(
    image: Any,
    axis: Along = "z",
    model: Model = "exponential",
    background: float | Literal["auto"] = 0.0,
    percentile: float = 50.0,
    smoothness: float = 0.15,
    max_gain: float = 100.0,
    exponent: float = 1.0,
    start: float | Literal["auto"] = 0.0,
    force: bool = False,
    *,
    spacing: Spacing = None,
    in_range: GivenRange = "data",
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    window: int = 1,
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Divide out an intensity that decays along an axis, as with depth in tissue, or that jumps between planes.

    A percentile stands for each plane across the axis; a model of these is divided out, so that all planes
    are as bright as the brightest.  Intensities keep their scale: they are not stretched.

    Parameters
    ----------
    axis : "t", "z", "y", "x" or "surface"
        One of the last three axes, or "t", the axis of time: the one that is called so, and of an array, or where no
        name says it, the first one, also of three axes.  "surface": the depth below the surface of `mask`, for a
        sample that is lit from all sides, such as a spheroid, which is dark in its middle.
    model : "exponential", "smooth", "plane", "ratio" or "histogram"
        "exponential": a straight line in the logarithm of the percentiles, robust against planes that hold
        other things.  "smooth": a smooth curve through them, robust too.  "plane": each plane has a gain of
        its own, for stacks whose brightness jumps, as between sections.  "ratio": so too, but all become as bright
        as the first plane (from `start` on), not as the brightest.  "histogram", along time only: each time point
        gets the histogram of the first one, by `match_histograms`.  Along "t", these are the three of Fiji's Bleach
        Correction: its Exponential Fit, Simple Ratio and Histogram Matching are "exponential", "ratio" and
        "histogram"; where Fiji takes the mean of an image, here it is `percentile`.
    background : float or "auto"
        Black level, in intensities of the volume: light that is added to it decays, the level does not.
        Best taken from a picture without light.  "auto": the first percentile of all finite counted voxels.
    percentile : float
        Of each plane, in [0, 100].  The median suits tissue, and nuclei in haze; a few bright objects on
        black need more, such as 99.
    smoothness : float
        Standard deviation of the weights of "smooth", as a fraction of the axis, in [0.01, 1].
    max_gain : float
        In [1, 1e6]; no plane is multiplied by more.
    exponent : float
        Greater than 0; the gains are raised to this power.  For a channel that loses more or less light than the
        one that was fitted (``fit_on`` of `Recipe.apply`): `decay_exponent` finds it.
    start : float or "auto"
        Number of the plane where the decay begins; those before are neither used nor corrected.  "auto": the
        brightest, smoothed by a median of five planes.
    force : bool
        Correct also where the data do not support it.
    output : "dtype" or "float32"
        "dtype": the dtype stays, integers are rounded to nearest and clamped to it.
        "float32": neither rounded nor clamped, of the same scale (of RGB data from 0 to 1).
    mask : array-like or napari.layers.Labels, optional
        Of the image's shape; only voxels where it is not zero are counted.  All are mapped.  For axis "surface" it
        fills the sample.
    per : "dataset", "volume" or "plane"
        Which voxels share a fit: a series that bleaches stays comparable with "dataset".  Along "t" channels share
        the gains of a time point with "dataset", and with "volume" each channel has its own.  A series has more than
        one surface, so "surface" needs "volume" there.

    Raises
    ------
    ValueError
        Also for a volume without this axis or surface.

    Notes
    -----
    The slope of "exponential" is the median of those between any two planes (Theil and Sen, [1]_), "smooth"
    is a local line with bisquare weights (Cleveland, [2]_).  Planes of which nothing is counted, or whose
    percentile is not above the background, are not used: "exponential" goes on through them, the others
    give them the gain of what lies beside them.  Where fewer than two planes remain, nothing is changed,
    with a warning.  NaN stays NaN.

    Lost light dims dark and bright voxels of a plane alike; fewer objects in a plane leave its dark voxels what they
    are.  So the model is also fitted to other percentiles of the planes (from a tenth of the chosen level on), and
    where less than 0.8 of their variation is common to all of them (0.96 for "smooth", 0.9 for "plane", "ratio" and
    "histogram"), nothing is corrected, with a warning that has the figure.  A warning also says how many voxels exceed
    an integer dtype.

    Below a surface the depth is the Euclidean distance to the nearest voxel outside, measured on at most 160 voxels
    an axis and interpolated, and 64 shells of one thickness take the place of planes; their percentiles are those of a
    histogram of 4096 bins.  Where the mask ends at the border of the volume there is no surface.

    The percentiles of planes are exact: of floats they are those of ``numpy.percentile`` with ``method="lower"``, and
    those of integers are interpolated within a gray level, so that 8-bit volumes show a smooth decay.  Noise is
    amplified like the signal.

    References
    ----------
    .. [1] P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, Journal of the American
       Statistical Association 63, 1968.
    .. [2] W. S. Cleveland, Robust locally weighted regression and smoothing scatterplots, Journal of the
       American Statistical Association 74, 1979.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import correct_decay
    >>> correct_decay(np.array([[800, 400, 200, 100]], dtype=np.uint16), axis="x")
    array([[800, 800, 800, 800]], dtype=uint16)
    """
    return adjust_image(DecayCorrection, **locals())

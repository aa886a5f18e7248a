"""What a volume needs: findings, each with its figure, and the recipe that follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from napari_exposure.core import progress
from napari_exposure.core.adaptive import AdaptiveEqualization
from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.axes import AXES, check_spacing
from napari_exposure.core.clip import PercentileClip
from napari_exposure.core.depth import SUPPORT, TO_FIRST, DecayCorrection
from napari_exposure.core.equalize import HistogramEqualization
from napari_exposure.core.findings import (
    Background,
    Bits,
    find_background,
    find_bits,
    find_crowded,
    find_ends,
    find_low_contrast,
)
from napari_exposure.core.images import opened
from napari_exposure.core.intensity import NoiseLimit, Percentiles, check_exposure
from napari_exposure.core.parameters import Per
from napari_exposure.core.profiles import common_profile, compared
from napari_exposure.core.robust import middle, percentiles
from napari_exposure.core.sample import Sample, take_sample
from napari_exposure.core.stretch import LocalStretch
from napari_exposure.core.structures import find_regions, find_structures
from napari_exposure.core.trends import (
    SURE,
    Jumps,
    Trend,
    find_bleaching,
    find_flicker,
    find_jumps,
    find_trend,
    flattened,
)
from napari_exposure.core.typing import Spacing
from napari_exposure.io.units import PIXEL, in_unit
from napari_exposure.recipe import Recipe

Sure = Literal["measured", "sure", "likely"]

# After any of these steps intensities use the range of the dtype.
STRETCHES = PercentileClip | LocalStretch | AdaptiveEqualization | HistogramEqualization
# Regions are stretched if their contrasts differ this much, and equalized if the usual one uses less of the range.
DIFFERENT, USED = 4.0, 0.3
# A jump this large does more harm than gains would, even if planes differ by what they hold.
LARGE_JUMP = 0.1
# The edge of a tile is this many structures, but the longest side of a volume has at least two tiles.
STRUCTURES = 2.5
# Structures must be smaller than this fraction of the volume along at least one axis.
LARGEST = 0.4
# Noise may grow to this fraction of the range of results.
NOISE = 0.03
# A microscope's voxel has a size between these in micrometers, and is at most this many times as long as wide.
SIZES, LONGEST = (1e-4, 1e3), 50.0


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    name : str
        What was looked for, such as "decay along x".
    sentence : str
        What was found, with its figure.
    figure : float
        The number in it, for programs.
    sure : "measured", "sure" or "likely"
        A plain measurement, or how far chance and structures explain it otherwise.
    """

    name: str
    sentence: str
    figure: float
    sure: Sure = "measured"

    def __str__(self) -> str:
        return self.sentence if self.sure == "measured" else f"{self.sentence} ({self.sure})"


@dataclass(frozen=True)
class Suggestion:
    """What was found in a volume, and what is proposed.

    Attributes
    ----------
    findings : tuple of Finding
    recipe : Recipe or None
        None for a volume that needs nothing.
    reasons : tuple of str
        Of each step of the recipe, a sentence.
    looked, of : int
        Voxels that were looked at, and that there are.
    """

    findings: tuple[Finding, ...]
    recipe: Recipe | None
    reasons: tuple[str, ...]
    looked: int
    of: int

    def __str__(self) -> str:
        lines = [f"looked at {self.looked:,} of {self.of:,} voxels", *(f"- {each}" for each in self.findings)]
        if self.recipe is None:
            return "\n".join([*lines, "suggested: nothing, the volume needs no adjustment"])
        lines.append("suggested:")
        for number, (step, reason) in enumerate(zip(self.recipe.steps, self.reasons, strict=True), 1):
            words = ", ".join(f"{name}={value!r}" for name, value in step.changed().items())
            lines.append(f"{number}. {step.title}: {words or 'defaults'}")
            lines.append(f"   because {reason}")
        return "\n".join(lines)

    def finding(self, name: str) -> Finding | None:
        """The finding of this name, if there is one."""
        return next((each for each in self.findings if each.name == name), None)


def suggest(
    image: Any, *, spacing: Spacing = None, unit: str | None = None, mask: Any = None, rgb: bool | None = None
) -> Suggestion:
    """Look at a sample of a volume and propose adjustments, each with its reason; nothing is changed.

    Parameters
    ----------
    image : napari.layers.Image or array-like, 2 to 5 axes ([T, C,] [Z,] Y, X)
        Never written.  Large volumes are looked at in part, the same part whatever the chunks.
    spacing : float or sequence of float, optional
        Of arrays: physical size of a voxel along the spatial axes; a layer knows its own.
    unit : str, optional
        Of `spacing`, such as "um".
    mask : napari.layers.Labels or array-like, optional
        Of the image's shape; only voxels where it is not zero are looked at.
    rgb : bool, optional
        Of arrays: the last axis holds RGB or RGBA, of which the value is looked at.

    Returns
    -------
    Suggestion
        With ``findings`` and ``recipe``, which ``recipe.apply(image)`` applies; print it for all of it in words.

    Raises
    ------
    TypeError, ValueError
        If the image, the mask or the spacing does not fit, or where no finite voxel is found; the message says what to
        do.

    Notes
    -----
    The rules are those of the page "Suggest" of the documentation.  Light that fades or jumps must do so alike in all
    parts of the field, by many times of what they differ, before its correction is proposed.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_exposure as nx
    >>> volume = np.random.default_rng(0).gamma(4, 100, (48, 96, 96)).astype(np.uint16)
    >>> print(nx.suggest(volume, spacing=1.0, unit="um"))  # doctest: +ELLIPSIS
    looked at ... of 442,368 voxels
    - ...
    """
    found = opened(image, mask=mask, spacing=spacing, rgb=rgb)
    volume = found.volume()
    check_exposure(volume.array.dtype)
    known = found.spacing is not None and found.unit != PIXEL
    unit = (found.unit or unit) if known else None
    sizes = check_spacing(found.spacing, len(volume.shape))
    with found.bar():
        with progress.part(0, 0.9):
            sample = take_sample(volume, len(sizes))
        progress.report("looking for what is needed", 0.9)
        return suggested(sample, sizes, unit)


def suggested(sample: Sample, spacing: tuple[float, ...], unit: str | None) -> Suggestion:
    """Return what follows from a sample; `unit` is None if the size of voxels is not known."""
    names = AXES[-sample.spatial :]
    length = unit or "voxels"
    bits = find_bits(sample)
    findings = [*_about_voxels(spacing, unit, names), *_about_levels(bits)]
    steps: list[tuple[Adjustment, str]] = []
    background = find_background(sample)
    if background is None:
        raise ValueError(
            "What was looked at holds no finite voxels that count, so nothing can be suggested. Choose a larger mask "
            "or another volume."
        )
    words = f"the darkest level is {background.offset:.4g}; {background.share:.0%} of the volume are dark"
    findings.append(Finding("background", words, background.offset, "likely"))
    if not math.isnan(sample.noise.dark):
        findings.append(Finding("noise", str(sample.noise), sample.noise.dark))

    steps += _about_time(sample, background, findings)
    # The median stands for a plane, or a brighter percentile if most voxels are dark.
    percentile = 50.0 if background.share < 0.5 else 90.0
    jumps = find_jumps(sample, background)
    if jumps is not None:
        findings.append(_of_jumps("saw-tooth", "planes along z jump", jumps))
        correction = DecayCorrection("z", "plane", _rounded(jumps.offset), percentile=_above(sample, jumps.offset))
        # Large jumps are left to the correction itself, which sees all voxels and decides.
        if (jumps.sure >= SURE and jumps.size >= LARGE_JUMP) or _holds(sample, -3, correction):
            steps.append((correction, findings[-1].sentence))
    trends = []
    for axis in range(-sample.spatial, 0):
        name = names[axis]
        trend = find_trend(sample, axis, background)
        # Where planes have gains of their own, no trend along z is left.
        if trend is None or (jumps is not None and name == "z"):
            continue
        findings.append(_of_trend(trend, name, sample, spacing[axis], length))
        correction = DecayCorrection(
            name, "exponential" if trend.steady else "smooth", _rounded(trend.offset), percentile=percentile
        )
        if (trend.steady or trend.sure >= SURE) and _holds(sample, axis, correction):
            trends.append(trend)
            change, end = ("fades", "end") if trend.rate < 0 else ("grows", "beginning")
            steps.append((correction, f"the light {change} along {name}, down to {trend.left:.0%} at its {end}"))
    even = flattened(sample, trends)

    ends = find_ends(sample)
    if ends is not None and ends.saturated:
        findings.append(
            Finding(
                "saturation",
                f"{ends.saturated:.2%} of the voxels are at the greatest value, {ends.limit:g}: the "
                "detector was saturated, and no adjustment brings back what is lost",
                ends.saturated,
            )
        )
    if ends is not None and ends.hot:
        findings.append(
            Finding(
                "hot voxels", f"{ends.hot:.1e} of the voxels are bright alone among dark ones: hot", ends.hot, "likely"
            )
        )
        high = 100 * (1 - min(max(3 * ends.hot, 1e-5), 0.01))
        steps.append((PercentileClip(0.0, round(high, 4)), "single hot voxels are brighter than all structures"))

    edge = None
    structures = find_structures(even)
    if structures is not None:
        found, physical = _of_structures(sample, structures, spacing, names, length)
        findings += found
        edge = _edge(sample, physical, spacing) if found else None
    steps += _about_regions(even, findings, edge, spacing)
    crowded = find_crowded(even, background) if edge is None else None
    if crowded is not None:
        sentence = f"half of what is lit lies in the lowest {crowded.share:.1%} of the range"
        findings.append(Finding("crowded", sentence, crowded.share))
        # All that is dark becomes the one level that stays the lowest.
        lit = Percentiles(round(crowded.dark, 1), 100.0)
        steps.append((HistogramEqualization(anchor=True, in_range=lit), f"{sentence}, and no structures tell a tile"))
    low = find_low_contrast(sample, bits)
    if low is not None:
        words = f"nearly all intensities lie within {low:.1%} of the range of {sample.volume.dtype}"
        findings.append(Finding("low contrast", words, low))
        if not any(isinstance(step, STRETCHES) for step, _ in steps):
            steps.append((PercentileClip(0.1, 99.9), f"intensities use only {low:.1%} of the range of the dtype"))
    sized = any(step.needs_spacing for step, _ in steps)
    recipe = Recipe(tuple(step for step, _ in steps), unit if sized else None) if steps else None
    return Suggestion(tuple(findings), recipe, tuple(reason for _, reason in steps), sample.looked, sample.volume.size)


# --- findings in words ------------------------------------------------------------------


def _about_voxels(spacing: tuple[float, ...], unit: str | None, names: Sequence[str]) -> list[Finding]:
    if unit is None:
        return [Finding("voxel size", "the size of a voxel is not known: sizes are in voxels", math.nan)]
    found = []
    sizes = [in_unit(step, unit, "um") for step in spacing]
    for name, step, size in zip(names, spacing, sizes, strict=True):
        if size is None or not SIZES[0] <= size <= SIZES[1]:
            found.append(
                Finding(
                    "voxel size",
                    f"a voxel of {step:g} {unit} along {name} is improbable: check its unit",
                    step,
                    "likely",
                )
            )
    if len(spacing) == 3 and max(spacing) > LONGEST * min(spacing):
        ratio = max(spacing) / min(spacing)
        found.append(
            Finding(
                "voxel size",
                f"a voxel is {ratio:.0f} times as long as wide, which is improbable: check it",
                ratio,
                "likely",
            )
        )
    return found


def _about_levels(bits: Bits | None) -> list[Finding]:
    if bits is None or (bits.bits == bits.of and bits.step == 1):
        return []
    apart = f", in steps of {bits.step}" if bits.step > 1 else ""
    return [Finding("bits", f"{bits.bits} of {bits.of} bits are used{apart}", bits.bits)]


def _about_time(sample: Sample, background: Background, findings: list[Finding]) -> list[tuple[Adjustment, str]]:
    found, offsets = [], []
    flicker, bleaching = find_flicker(sample, background), find_bleaching(sample, background)
    if flicker is not None:
        found.append(_of_jumps("flicker", "time points jump", flicker))
        offsets.append((flicker.offset, flicker.axis))
    if bleaching is not None:
        change = "bleaches" if bleaching.rate < 0 else "grows"
        sentence = f"the light {change} over time, down to {bleaching.left:.0%}"
        found.append(Finding("bleaching", sentence, bleaching.left, _surely(bleaching.sure)))
        offsets.append((bleaching.offset, bleaching.axis))
    findings += found
    if not found:
        return []
    # Channels of a series need not fade alike.
    per: Per = "volume" if len(sample.volume.shape) > sample.spatial + 1 else "dataset"
    offset, axis = min(offsets)
    correction = DecayCorrection("t", "ratio", _rounded(offset), percentile=_above(sample, offset), per=per)
    reason = " and ".join(each.sentence for each in found)
    return [(correction, reason)] if _holds(sample, axis, correction) else []


def _holds(sample: Sample, axis: int, correction: DecayCorrection) -> bool:
    """Whether the correction will find support in the data, because dark and bright voxels change alike."""
    planes = np.moveaxis(sample.cells, axis, 0)
    levels = np.array([percentiles(plane, *compared(correction.percentile)) for plane in planes]).T
    background: Any = correction.background
    known = levels[0] > background
    if known.sum() < 2:
        return False
    model = "plane" if correction.model in TO_FIRST else correction.model
    _, support = common_profile(model, levels - background, known, correction.smoothness)
    return support >= SUPPORT[correction.model]


def _surely(sure: float) -> Sure:
    return "sure" if sure >= SURE else "likely"


def _of_jumps(name: str, what: str, jumps: Jumps) -> Finding:
    return Finding(
        name, f"{what} in brightness by {jumps.size:.1%} from one to the next", jumps.size, _surely(jumps.sure)
    )


def _of_trend(trend: Trend, name: str, sample: Sample, step: float, words: str) -> Finding:
    """Describe a decay by the length over which the light falls to 1 / e."""
    length = sample.volume.shape[trend.axis] * step / abs(trend.rate)
    how = f"steadily, to 1/e in {length:.3g} {words}" if trend.steady else "but not steadily"
    change = "fades" if trend.rate < 0 else "grows"
    return Finding(
        f"decay along {name}",
        f"the light {change} along {name} {how}: {trend.left:.0%} is left",
        length,
        _surely(trend.sure),
    )


def _of_structures(
    sample: Sample, sizes: Sequence[float], spacing: tuple[float, ...], names: Sequence[str], words: str
) -> tuple[list[Finding], list[float]]:
    """Describe the size of structures along the axes long enough to tell, unless they fill the volume."""
    extents = sample.volume.shape[-sample.spatial :]
    rows = zip(sizes, extents, spacing, names, strict=True)
    known = [(size / extent, size * step, name) for size, extent, step, name in rows if not math.isnan(size)]
    physical = [size for _, size, _ in known]
    # What is as large as the volume is no structure in it.
    if not known or min(share for share, _, _ in known) >= LARGEST:
        return [], physical
    short = [name for name in names if name not in {name for *_, name in known}]
    along = f" along {' and '.join(name for *_, name in known)}; along {' and '.join(short)} it is too short to tell"
    sentence = f"structures are about {' x '.join(f'{size:.3g}' for size in physical)} {words} large"
    figure = sum(physical) / len(physical)
    return [Finding("structures", sentence + along * bool(short), figure, "likely")], physical


def _about_regions(
    even: Sample, findings: list[Finding], edge: float | None, spacing: tuple[float, ...]
) -> list[tuple[Adjustment, str]]:
    regions = find_regions(even, None if edge is None else tuple(edge / step for step in spacing))
    if regions is None or edge is None:
        return []
    findings.append(
        Finding(
            "regions",
            f"contrasts of regions differ {regions.ratio:.2g} times; the usual one uses {regions.use:.0%} of the range",
            regions.ratio,
        )
    )
    limit = NoiseLimit(NOISE)
    if regions.ratio >= DIFFERENT:
        return [(LocalStretch(edge, max_gain=limit), f"the contrasts of regions differ {regions.ratio:.2g} times")]
    if regions.use < USED:
        return [
            (AdaptiveEqualization(edge, limit), f"most regions use only {regions.use:.0%} of the range of the volume")
        ]
    return []


def _edge(sample: Sample, sizes: list[float], spacing: tuple[float, ...]) -> float:
    """Return the edge of a tile in two digits, such that at least two fit along the longest side."""
    extent = max(n * step for n, step in zip(sample.volume.shape[-sample.spatial :], spacing, strict=True))
    return float(f"{min(STRUCTURES * sum(sizes) / len(sizes), extent / 2):.2g}")


def _above(sample: Sample, offset: float) -> float:
    """Return the percentile that stands for a plane: the median if it is above the level that does not change."""
    return 50.0 if middle(sample.cells) > offset + 6 * sample.cell_noise else 90.0


def _rounded(level: float) -> float:
    """Round a level to three digits, as one would type it."""
    return float(f"{level:.3g}")

"""Counts histograms of layers and of the part in view.  It does without Qt, because it runs in a worker."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import numpy as np

from napari_exposure.core import Histogram, progress
from napari_exposure.core.axes import is_unnamed
from napari_exposure.core.blocks import Block, contiguous_blocks, missing_chunks, read_part
from napari_exposure.core.counting import count_histogram, find_percentiles
from napari_exposure.core.intensity import luminance
from napari_exposure.core.noise import NoiseLevel, find_noise
from napari_exposure.core.volume import Volume
from napari_exposure.gui.histogram.words import digits_between, number, voxels
from napari_exposure.gui.viewer.cursor import place_in
from napari_exposure.io import units
from napari_exposure.source import Source, in_memory, mask_array

SCOPES = {"dataset": "Whole dataset", "volume": "This volume", "plane": "Plane in view"}
# Floats and 32-bit integers get this many bins, enough to zoom in a hundredfold.
BINS = 1 << 16
# The first look at a volume that is not in memory reads this many voxels at once, for up to this many seconds.
SAMPLE_VOXELS = 1 << 18
SAMPLE_SECONDS = 0.2
# Planes of up to this many voxels are read whole.
PLANE_VOXELS = 1 << 24

RGB: dict[str, tuple[tuple[int, int, int] | None, Any]] = {
    "red": ((230, 70, 70), itemgetter((..., 0))),
    "green": ((70, 190, 70), itemgetter((..., 1))),
    "blue": ((80, 120, 255), itemgetter((..., 2))),
    "luminance": (None, luminance),
}


@dataclass(frozen=True, eq=False)
class Curve:
    """One histogram of the plot.

    Attributes
    ----------
    name : str
    color : (int, int, int) or None
        With None the curve has the color of the theme's text.
    histogram : Histogram
    coverage : str
        Words that say what was counted.
    quantiles : dict
        Exact percentiles by percent, where those of the histogram are not exact.
    whole : bool
        Whether every voxel of the layer was counted.
    noise : NoiseLevel or None
        The noise of the counted voxels, once it is known.
    """

    name: str
    color: tuple[int, int, int] | None
    histogram: Histogram
    coverage: str
    quantiles: dict[float, float] = field(default_factory=dict)
    whole: bool = False
    noise: NoiseLevel | None = None

    @property
    def drawable(self) -> bool:
        """Whether the curve has bars, which takes one finite voxel at least."""
        return bool(self.histogram.counts.any())

    def percentile(self, q: float) -> float:
        """Return the value below which q percent of the voxels lie, NaN if none was counted."""
        if q in self.quantiles:
            return self.quantiles[q]
        return self.histogram.percentile(q) if self.histogram.total else math.nan

    def knows(self, q: float) -> bool:
        """Whether this percentile is exact."""
        return self.histogram.by_value or q in self.quantiles or not self.histogram.total

    def between(self, low: float, high: float, count: int) -> str:
        """Describe a bar with these ends and this many voxels in words."""
        found = self.histogram
        digits = digits_between(found.minimum, found.maximum)
        # A bar of whole numbers ends half way to the next number.
        first, last = (math.ceil(low), math.ceil(high) - 1) if found.by_value else (low, high)
        values = " to ".join(dict.fromkeys(number(value, digits) for value in (first, last)))
        return f"{values}: {voxels(count)}, CDF {found.fraction(last):.3f}"


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be counted for one curve.

    Attributes
    ----------
    name, color
        As in `Curve`.
    volume : Volume
    where : str
        Words for the part of the layer, such as "plane z = 30"; empty for the whole layer.
    coarse : Volume or None
        The coarsest level of a multiscale layer, for a first look.
    coarse_name : str
        Such as "level 4 of 4".
    """

    name: str
    color: tuple[int, int, int] | None
    volume: Volume
    where: str = ""
    coarse: Volume | None = None
    coarse_name: str = ""

    def curve(self, histogram: Histogram, coverage: str) -> Curve:
        """Make a curve of this target, whose coverage names the part first."""
        return Curve(self.name, self.color, histogram, ", ".join(filter(None, (self.where, coverage))))


def short(name: str, most: int = 28) -> str:
    """Shorten a name to one line that fits in the plot."""
    name = " ".join(name.split())
    return name if len(name) <= most else f"{name[: most - 9]}…{name[-8:]}"


def layer_color(layer) -> tuple[int, int, int] | None:
    """Return the color of a layer's colormap near its bright end, or None if that is gray."""
    color = np.round(255 * layer.colormap.map(np.array([0.85]))[0, :3]).astype(int)
    return None if np.ptp(color) < 20 else tuple(color.tolist())


def axis_names(layer, ndim: int) -> list[str]:
    """Return the names of a layer's axes: from its labels or units, otherwise z, y, x with numbers before them."""
    usual = [*(f"axis {n}" for n in range(ndim - 3)), *"zyx"][-ndim:]
    named = units.axis_names(layer)[-ndim:]
    return [mine if is_unnamed(name) else name for name, mine in zip(named, usual, strict=True)]


def part_in_view(layer, dims, scope: str, shape: tuple[int, ...]) -> tuple[Block, str]:
    """Find the part of a layer that a scope covers now.

    Parameters
    ----------
    layer : napari.layers.Image
    dims : napari.components.Dims
        The dims of the viewer.
    scope : str
        A key of `SCOPES`.
    shape : tuple of int
        Shape of the layer's data without the color axis.

    Returns
    -------
    box : tuple of slice
    where : str
        The part in words.

    Raises
    ------
    ValueError
        If nothing of the layer is in view.
    """
    ndim = len(shape)
    if scope == "dataset":
        fixed = []
    elif scope == "volume":
        fixed = list(range(max(0, ndim - 3)))
    else:
        displayed = {axis - (dims.ndim - ndim) for axis in dims.displayed}
        fixed = [axis for axis in range(ndim) if axis not in displayed]
    if not fixed:
        return tuple(slice(0, size) for size in shape), ""
    # Like napari, this slices a rotated layer by the axes that are not displayed only.
    point = np.zeros(dims.ndim)
    for axis in fixed:
        point[axis - ndim] = dims.point[axis - ndim]
    point = np.round(place_in(layer, point, dims)).astype(int)
    names = axis_names(layer, ndim)
    box = [slice(0, size) for size in shape]
    for axis in fixed:
        if not 0 <= point[axis] < shape[axis]:
            raise ValueError(f"Layer {layer.name!r} has nothing at this {names[axis]}. Move the slider, or count all.")
        box[axis] = slice(int(point[axis]), int(point[axis]) + 1)
    kind = "plane" if ndim - len(fixed) == 2 else "volume"
    return tuple(box), f"{kind} {', '.join(f'{names[axis]} = {point[axis]}' for axis in fixed)}"


def targets(layer, dims, scope: str, mask=None, ignore_zeros: bool = False) -> list[Target]:
    """List what to count of a layer: one target, or four of an RGB layer.

    Raises
    ------
    TypeError, ValueError
        If the layer, the mask or the scope does not fit; the message is for the user.
    """
    source = Source.of(layer)
    counted = None if mask is None else mask_array(mask, source)
    box, where = part_in_view(layer, dims, scope, source.shape)
    if mask is not None:
        where = ", ".join(filter(None, (where, f"inside {short(mask.name)}")))
    if ignore_zeros:
        where = ", ".join(filter(None, (where, "without zeros")))
    volume = Volume(source.array, counted, ignore_zeros, source.rgb, box=box)
    coarse, coarse_name = None, ""
    if layer.multiscale and len(layer.data) > 1 and mask is None and volume.size > BINS:
        levels = list(layer.data)
        factors = [small / full for small, full in zip(levels[-1].shape, levels[0].shape, strict=True)]
        small_box = tuple(
            slice(0, size) if part == slice(0, full) else slice(at := int(part.start * factor), at + 1)
            for part, factor, size, full in zip(box, factors, levels[-1].shape, source.shape, strict=False)
        )
        coarse = Volume(levels[-1], None, ignore_zeros, source.rgb, box=small_box)
        coarse_name = f"level {len(levels)} of {len(levels)}"
    whole = Target(layer.name, None, volume, where, coarse, coarse_name)
    if not source.rgb:
        return [replace(whole, color=layer_color(layer))]
    return [
        replace(
            whole,
            name=f"{name} of {layer.name}",
            color=color,
            volume=replace(volume, color=channel),
            coarse=coarse and replace(coarse, color=channel),
        )
        for name, (color, channel) in RGB.items()
    ]


def survey(wanted: list[Target], percentiles: tuple[float, ...]) -> list[Curve]:
    """Count targets, and report the curves so far with each step."""
    curves: list[Curve] = []
    known: dict = {}

    def with_rest(step):
        return replace(step, partial=None if step.partial is None else [*curves, step.partial])

    for done, target in enumerate(wanted):
        with progress.changed(with_rest), progress.item(done, len(wanted)):
            # Only the percentiles of the first curve are shown.
            curves.append(_survey_target(target, percentiles if done == 0 else (), known))
    return curves


def _at_hand(volume: Volume, known: dict) -> Volume:
    """Read a plane of a store into memory once for all passes and colors; return other volumes as they are.

    `known` holds what was read for other targets.
    """
    if in_memory(volume.array) or volume.size > PLANE_VOXELS or sum(size > 1 for size in volume.shape) > 2:
        return volume

    def part(array):
        key = id(array), *((at.start, at.stop) for at in volume.box)
        if key not in known:
            known[key] = read_part(array, volume.box)
        return known[key]

    return replace(
        volume, array=part(volume.array), mask=volume.mask if volume.mask is None else part(volume.mask), box=()
    )


def _survey_target(target: Target, percentiles: tuple[float, ...], known: dict) -> Curve:
    first_look = None
    if target.coarse is not None:
        first_look = target.curve(_quietly_counted(target.coarse), target.coarse_name)
        progress.report("counting", 0.0, slow=True, found=first_look)
    volume = _at_hand(target.volume, known)
    if target.coarse is None and not in_memory(volume.array):
        sample, voxels = _sample(volume)
        if sample is not None:
            look = target.curve(_quietly_counted(sample), f"a sample, {voxels / volume.size:.1%} of all voxels")
            progress.report("counting", 0.0, slow=True, found=look)

    def so_far(step):
        if step.partial is None:
            return step
        said = f"{step.fraction:.0%} scanned"
        if first_look is None:
            return replace(step, partial=target.curve(step.partial, said))
        # A coarse level represents the whole better than the first planes do.
        return replace(step, partial=replace(first_look, coverage=f"{first_look.coverage}; level 1: {said}"))

    with progress.changed(so_far), progress.part(0, 0.9 if volume.dtype.itemsize <= 2 else 0.6):
        found = count_histogram(volume, BINS)
    missing = missing_chunks(target.volume.array)
    gaps = f", {missing:,} chunks missing in the store" if missing else ""
    curve = target.curve(found, f"exact, {found.total + found.nan:,} voxels{gaps}")
    with progress.part(0.6, 0.9):
        quantiles = find_quantiles(volume, curve, percentiles)
    with progress.part(0.9, 1):
        return replace(curve, quantiles=quantiles, noise=find_noise(volume), whole=not target.where)


def _quietly_counted(volume: Volume) -> Histogram:
    """Count a stand-in for a larger volume without partial results, which are not worth showing."""
    with progress.changed(lambda step: replace(step, fraction=0.0, partial=None)):
        return count_histogram(volume, BINS)


def find_quantiles(volume: Volume, curve: Curve, percentiles: tuple[float, ...]) -> dict[float, float]:
    """Return exact percentiles by percent: those that a curve knows, and those of `percentiles` that it lacks."""
    missing = tuple(q for q in percentiles if not curve.knows(q))
    values = find_percentiles(volume, missing) if missing else None
    return {**curve.quantiles, **dict(zip(missing, values or (), strict=False))}


def _sample(volume: Volume) -> tuple[Volume | None, int]:
    """Read voxels from all over a volume, as many as SAMPLE_SECONDS allow, and return how many were read."""
    end = time.perf_counter() + SAMPLE_SECONDS
    parts = []
    read = 0
    for block in _spread(list(contiguous_blocks(volume.shape, SAMPLE_VOXELS))):
        values = volume.read(block)
        counted = volume.counted(block, values)
        read += values.size
        parts.append(values[counted] if counted.size else values.reshape(-1))
        if time.perf_counter() > end or read >= 16 * SAMPLE_VOXELS:
            break
    values = np.concatenate(parts)
    # If everything was read, the exact count follows in a moment.
    useful = values.size and read < volume.size
    return (Volume(values.reshape(1, -1)) if useful else None), read


def _spread(items: list) -> Iterator:
    """Yield the middle item first, then the middles of the halves, and so on."""
    runs = [(0, len(items))]
    for start, stop in runs:
        if start < stop:
            middle = (start + stop) // 2
            yield items[middle]
            runs += [(start, middle), (middle + 1, stop)]

"""What the histogram panel shows, without Qt: its settings, the counted curves, and what follows from them."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from psygnal import SignalGroupDescriptor

from napari_exposure.core.pointwise import PointwiseFit
from napari_exposure.core.transform import BlockMap
from napari_exposure.gui.histogram.survey import Curve
from napari_exposure.gui.histogram.tile import Tile
from napari_exposure.gui.histogram.words import digits_between, number, percent

# These are the limits of napari's own slider.
GAMMA_RANGE = (0.2, 2.0)
# The two percentiles lie at least this far apart.
LEAST_PERCENT = 0.001


@dataclass(frozen=True, eq=False)
class Display:
    """How napari shows the layer, as the lines, the curve and the color bar of the plot show it."""

    contrast_limits: tuple[float, float]
    gamma: float
    colors: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, layer) -> Display | None:
        """Read the display of a layer; RGB layers have none."""
        if layer.rgb:
            return None
        limits = float(layer.contrast_limits[0]), float(layer.contrast_limits[1])
        table = np.round(255 * layer.colormap.map(np.linspace(0, 1, 256))).astype(np.uint8)
        return cls(limits, float(layer.gamma), table)

    def level(self, values) -> np.ndarray:
        """Map intensities to brightness from 0 to 1, as the display does."""
        low, high = self.contrast_limits
        return np.clip((np.asarray(values, float) - low) / (high - low), 0, 1) ** self.gamma

    def moved(self, which: int, value: float) -> tuple[float, float]:
        """Return the contrast limits after one of them (0 or 1) was dragged to `value`; they never cross."""
        limits = list(self.contrast_limits)
        limits[which] = value
        low, high = limits
        wide = self.contrast_limits[1] - self.contrast_limits[0]
        least = max(1e-6 * wide, 4 * float(np.spacing(max(abs(low), abs(high)))))
        if high - low < least:
            limits[which] = limits[1 - which] + (least if which else -least)
        return limits[0], limits[1]

    @property
    def handle(self) -> tuple[float, float]:
        """Where the handle of gamma lies: the middle of the limits, and its brightness."""
        return sum(self.contrast_limits) / 2, 0.5**self.gamma


def gamma_at(level: float) -> float:
    """Return the gamma that shows the middle of the contrast limits at brightness `level`."""
    low, high = GAMMA_RANGE
    gamma = math.log(min(max(level, 0.5**high), 0.5**low)) / math.log(0.5)
    return round(min(max(gamma, low), high), 3)


@dataclass(frozen=True, eq=False)
class Content:
    """What is known of the counts at one moment.

    Attributes
    ----------
    curves : tuple of Curve
        The first belongs to the layer that the numbers, the lines and the buttons refer to.
    before : Curve or None
        The curve of the layer that the first layer was made from.
    transform : Transform, FittedRecipe or None
        The transform that made the first layer.
    unit : str
        Name and unit of the intensity axis.
    message : str
        A sentence where there is nothing to draw.
    complete : bool
        Whether everything is counted.
    has_source, has_tiles : bool
        Whether there is a source to compare with, and tiles to point at.
    """

    curves: tuple[Curve, ...] = ()
    before: Curve | None = None
    transform: BlockMap | None = field(default=None, repr=False)
    unit: str = "intensity"
    message: str = ""
    complete: bool = True
    has_source: bool = False
    has_tiles: bool = False

    @property
    def all_curves(self) -> tuple[Curve, ...]:
        return self.curves if self.before is None else (*self.curves, self.before)


@dataclass(eq=False)
class HistogramModel:
    """The state of one panel; every attribute has a signal in ``events``."""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    # The user chooses these.
    scope: str = "dataset"
    ignore_zeros: bool = False
    mask: object = None
    locked: bool = False
    low: float = 0.5
    high: float = 99.5
    log: bool = True
    compare: bool = True
    tile_mode: bool = False
    # The panel shows these.
    content: Content = field(default_factory=Content)
    display: Display | None = None
    tile: Tile | None = None
    # The fraction that is counted, or None while nothing is being counted.
    progress: float | None = None

    @property
    def main(self) -> Curve | None:
        """The curve that numbers and lines belong to."""
        return self.content.curves[0] if self.content.curves else None

    def drawable(self) -> list[Curve]:
        """The curves that have bars."""
        return [curve for curve in self.content.all_curves if curve.drawable]

    @property
    def compared(self) -> bool:
        """Whether before and after are both drawn."""
        before, main = self.content.before, self.main
        return before is not None and main is not None and before.drawable and main.drawable

    def extent(self) -> tuple[float, float]:
        """The range of the intensities, widened to the contrast limits unless these lie far away."""
        found = [curve.histogram for curve in self.drawable() if curve is not self.content.before or self._flat]
        low = min((h.edges[np.flatnonzero(h.counts)[0]] for h in found), default=0.0)
        high = max((h.edges[np.flatnonzero(h.counts)[-1] + 1] for h in found), default=1.0)
        if self.display is not None and found:
            wide = min(low, self.display.contrast_limits[0]), max(high, self.display.contrast_limits[1])
            if wide[1] - wide[0] <= 3 * (high - low):
                low, high = wide
        return float(low), float(high)

    @property
    def _flat(self) -> bool:
        """Whether a result has only one intensity, so that it has no range to align the source with."""
        after = self.main.histogram if self.main is not None else None
        return after is not None and not after.maximum > after.minimum

    def before_axis(self) -> tuple[float, float]:
        """Return the offset and factor that align the range of the source with that of the result."""
        after, before = self.content.curves[0].histogram, self.content.before.histogram
        wide = before.maximum - before.minimum
        if self._flat or not wide > 0:
            return 0.0, 1.0
        factor = (after.maximum - after.minimum) / wide
        return after.minimum - before.minimum * factor, factor

    def mapping(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Source intensities and their results from 0 to 1, if the adjustment is one curve for all voxels."""
        content = self.content
        if not self.compared or content.transform is None:
            return None
        fits = [fit for transform in content.transform.transforms for fit in transform.fits.values()]
        if len(fits) > 1:
            return None
        (fit,) = fits
        if not isinstance(fit, PointwiseFit) or fit.lo == fit.hi:
            return None
        found = content.before.histogram
        if not self._still_maps(fit):
            return None
        values = np.linspace(found.minimum, found.maximum, 512)
        return values, fit.curve(values)

    def _still_maps(self, fit: PointwiseFit) -> bool:
        """Whether the result still follows from the source by the fit, so that neither was edited since."""
        before, after = self.content.before.histogram, self.main.histogram
        if before.by_value and after.by_value and fit.table is not None:
            index = np.clip(before.centers.astype(np.int64) - fit.first, 0, len(fit.table) - 1)
            results = fit.table[index].astype(np.int64)
            used = before.counts > 0
            expected = np.bincount(results[used] - results[used].min(), before.counts[used])
            return after.minimum == results[used].min() and np.array_equal(expected, after.counts)
        between = (5, 25, 50, 75, 95)
        values = np.array([self.content.before.percentile(q) for q in between])
        results = fit.bottom + fit.span * fit.curve(values)
        return np.allclose(results, [self.main.percentile(q) for q in between], atol=0.01 * abs(fit.span))

    def percentile_lines(self) -> tuple[float, float]:
        """Return the intensities of the two percentiles, NaN if nothing was counted."""
        if self.main is None:
            return math.nan, math.nan
        return self.main.percentile(self.low), self.main.percentile(self.high)

    def set_percent(self, which: int, percent: float) -> None:
        """Choose the lower (0) or the upper (1) percentile, which never meet."""
        if which == 0:
            self.low = min(max(percent, 0.0), self.high - LEAST_PERCENT)
        else:
            self.high = max(min(percent, 100.0), self.low + LEAST_PERCENT)

    def percent_at(self, value: float) -> float:
        """Return the percentile that a line dragged to `value` stands for."""
        return round(100 * self.main.histogram.fraction(value), 3)

    # --- in words and numbers ---

    def rows(self) -> list[tuple[str, str]]:
        """Return names and numbers of the statistics of the shown tile, or else of the main curve."""
        if self.tile is not None:
            return self.tile.rows()
        if self.main is None:
            return []
        curve, found = self.main, self.main.histogram
        total, whole = found.total, found.by_value
        digits = digits_between(found.minimum, found.maximum)

        def shown(value, exact=True):
            text = number(value, digits)
            return text if exact or math.isnan(value) else f"≈ {text}"

        def share(count, exact=True):
            return percent(count, total) if exact else f"≈ {percent(count, total)}"

        rows = [
            ("voxels", f"{total + found.nan:,}"),
            ("minimum", shown(found.minimum)),
            ("maximum", shown(found.maximum)),
            ("mean", shown(found.mean)),
            ("std", shown(found.std)),
            ("median", shown(curve.percentile(50), curve.knows(50))),
            ("mode", shown(found.mode, whole)),
            *((f"{q:g} %", shown(curve.percentile(q), curve.knows(q))) for q in (self.low, self.high)),
            ("at minimum", share(found.at_minimum)),
            ("at maximum", share(found.at_maximum)),
        ]
        if self.display is not None:
            low, high = self.display.contrast_limits
            below = total * found.fraction(np.nextafter(low, -np.inf))
            above = total - total * found.fraction(high)
            rows += [("below limits", share(below, whole)), ("above limits", share(above, whole))]
        rows += [
            ("NaN", f"{found.nan:,}"),
            ("infinite", f"{found.below + found.above:,}"),
            ("gray levels", f"{found.levels:,}" if whole else f"≥ {found.levels:,}"),
        ]
        if (noise := curve.noise) is not None:
            rows += [
                ("dark noise", f"{noise.dark:.4g}"),
                ("bright noise", f"{noise.bright:.4g}"),
                ("signal/noise", f"{noise.snr:.3g}"),
            ]
        return rows

    def statistics_text(self) -> str:
        """Return the statistics as tab-separated lines for a spreadsheet."""
        rows = [(key, str(value)) for key, value in self.about().items()] + self.rows()
        return "\n".join("\t".join(row) for row in rows)

    def statistics_html(self, columns: int) -> str:
        """Return the statistics as an HTML table with this many columns of names and numbers."""
        rows = self.rows()
        height = -(-len(rows) // columns)
        cell = "<td>{} </td><td align='right'><b>{}</b></td><td>&nbsp;&nbsp;</td>"
        lines = ("".join(cell.format(*map(html.escape, row)) for row in rows[n::height]) for n in range(height))
        return f"<table cellspacing='1'>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"

    def about(self) -> dict[str, str]:
        """Return what was counted, which is written above tables and statistics."""
        curves = self.content.all_curves
        words = {
            "layer": "; ".join(curve.name for curve in curves),
            "coverage": "; ".join(dict.fromkeys(curve.coverage for curve in curves)),
        }
        if self.tile is not None:
            words["tile"] = self.tile.title
        return {key: " ".join(text.split()) for key, text in words.items()}

    def known(self, quantiles: dict[int, dict[float, float]]) -> Content:
        """Return the content with exact percentiles added to the curves at these indices."""
        curves = enumerate(self.content.curves)
        found = (replace(curve, quantiles=quantiles.get(at, curve.quantiles)) for at, curve in curves)
        return replace(self.content, curves=tuple(found))

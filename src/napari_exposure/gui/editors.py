"""Editors of parameters that magicgui has no widget for, and the one place that makes a field's editor."""

from __future__ import annotations

import math
import typing
from dataclasses import Field

from magicgui import widgets
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy

from napari_exposure.core import Adjustment, Percentiles
from napari_exposure.core.tiles import TileGrid
from napari_exposure.source import PIXEL


def text() -> widgets.Label:
    """A label for a few lines that wrap and can be copied."""
    label = widgets.Label(value="")
    label.native.setWordWrap(True)
    label.native.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    label.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
    label.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


def warn(sentence: str) -> str:
    """A sentence that stands out, readable on napari's dark and light themes."""
    return f"<span style='color:#c87000'>⚠ {sentence}</span>"


def times(numbers) -> str:
    """The numbers of several axes in one text."""
    return " × ".join(f"{number:.4g}" for number in numbers)


# how an input range is chosen: the texts that the combobox shows
DATA, DTYPE, LIMITS = "minimum to maximum", "range of the dtype", "contrast limits"
PERCENTILES, FIXED = "percentiles", "fixed numbers"


class InRangeEdit(widgets.Container):
    """Chooses an input range; the two numbers show where they mean something."""

    def __init__(self, value, **options):
        self._mode = widgets.ComboBox(choices=[DATA, PERCENTILES, FIXED, LIMITS, DTYPE])
        self._low, self._high = widgets.FloatSpinBox(name="low"), widgets.FloatSpinBox(name="high")
        numbers = widgets.Container(widgets=[self._low, self._high], layout="horizontal", labels=False)
        numbers.margins = (0, 0, 0, 0)
        super().__init__(widgets=[self._mode, numbers], labels=False, **options)
        self.margins = (0, 0, 0, 0)
        self._numbers = numbers
        # what each mode with numbers was last set to
        self._kept = {PERCENTILES: (0.01, 99.99), FIXED: (0.0, 1.0)}
        if isinstance(value, Percentiles):
            self._kept[PERCENTILES] = value.low, value.high
        self._mode.changed.connect(self._on_mode)
        self._mode.value = PERCENTILES if isinstance(value, Percentiles) else DATA
        self._on_mode()

    def offer(self, low: float, high: float) -> None:
        """Begin "fixed numbers" with these, the contrast limits of a layer."""
        if self._mode.value != FIXED:
            self._kept[FIXED] = low, high

    def _on_mode(self):
        mode = self._mode.value
        self._numbers.visible = mode in self._kept
        if mode not in self._kept:
            return
        largest = 100 if mode == PERCENTILES else 1e12
        for box, number in zip((self._low, self._high), self._kept[mode], strict=True):
            box.min, box.max = (0 if mode == PERCENTILES else -largest), largest
            box.step = 0.01 if mode == PERCENTILES or abs(number) <= 1 else 1
            box.value = number

    @property
    def value(self):
        """As an Adjustment takes it, or "contrast_limits"."""
        mode = self._mode.value
        if mode in self._kept:
            self._kept[mode] = self._low.value, self._high.value
            return Percentiles(*self._kept[mode]) if mode == PERCENTILES else self._kept[mode]
        return {DATA: "data", DTYPE: "dtype", LIMITS: "contrast_limits"}[mode]


AUTOMATIC, SAME, EACH = "automatic", "same on every axis", "one for each axis"


class TileEdgeEdit(widgets.Container):
    """The edge of a tile in the layer's unit: automatic, one number, or one for each axis."""

    def __init__(self, value=None, **options):
        self._mode = widgets.ComboBox(
            choices=[AUTOMATIC, SAME, EACH],
            tooltip="automatic: an eighth of the largest extent of the volume",
        )
        self._boxes = [widgets.FloatSpinBox(name=axis) for axis in "zyx"]
        # before any container hears of it: what it asks for then is right
        for box in self._boxes:
            box.changed.connect(self._on_edit)
        row = widgets.Container(widgets=self._boxes, layout="horizontal", labels=False)
        row.margins = (0, 0, 0, 0)
        self._text = text()
        super().__init__(widgets=[self._mode, row, self._text], labels=False, **options)
        self.margins = (0, 0, 0, 0)
        self._axes = 3
        self._mode.changed.connect(self._arrange)
        self._arrange()

    def show_grid(self, grid: TileGrid, unit: str, nbins: int) -> None:
        """Show the edges that "automatic" gives, as many axes as the grid has, and what the tiles are."""
        self.label = f"Tile edge ({unit})"
        self._axes = len(grid.axes)
        boxes = self._boxes[3 - self._axes :]
        largest = max(axis.size * step for axis, step in zip(grid.axes, grid.spacing, strict=True))
        for box, edge in zip(boxes, grid.kernel_size, strict=True):
            with box.changed.blocked():
                box.tooltip = f"Edge along {box.name} in {unit}"
                box.max = 1000 * largest
                box.step = _nice(min(grid.spacing))
                if self._mode.value == AUTOMATIC:
                    box.value = edge
        warnings = grid.warnings(nbins)
        if unit == PIXEL:
            warnings.insert(0, "No voxel size is known: the edge is in pixels. Set layer.scale and layer.units.")
        lines = [
            f"{times(grid.voxels)} voxels a tile",
            f"{times(grid.shape)} = {math.prod(grid.shape):,} tiles",
            *map(warn, warnings),
        ]
        self._text.value = "<br>".join(lines)
        self._arrange()

    def _on_edit(self):
        # typing a number means it
        if self._mode.value == AUTOMATIC:
            self._mode.value = SAME

    def _arrange(self):
        each = self._mode.value == EACH
        for number, box in enumerate(self._boxes):
            box.visible = number == 2 or (each and number >= 3 - self._axes)

    @property
    def value(self):
        """As AdaptiveEqualization takes it."""
        if self._mode.value == AUTOMATIC:
            return None
        if self._mode.value == SAME:
            return self._boxes[2].value
        return tuple(box.value for box in self._boxes[3 - self._axes :])


def _nice(number: float) -> float:
    """The power of ten at or below `number`: a step that keeps few decimals."""
    return float(f"1e{f'{number:e}'.split('e')[1]}")


def editor(field: Field, owner: type[Adjustment]):
    """A widget for one parameter of an adjustment, from what the field says of itself."""
    limits = dict(field.metadata)
    options = {"name": field.name, "label": limits.pop("label"), "tooltip": limits.pop("tooltip")}
    if field.name == "in_range":
        return InRangeEdit(field.default, **options)
    if field.name == "kernel_size":
        return TileEdgeEdit(field.default, **options)
    if "choices" in limits:
        return widgets.ComboBox(value=field.default, choices=[(t, v) for v, t in limits["choices"].items()], **options)
    if isinstance(field.default, bool):
        return widgets.CheckBox(value=field.default, text="", **options)
    annotation = typing.get_type_hints(owner)[field.name]
    tooltip = options.pop("tooltip")
    return widgets.create_widget(
        value=field.default, annotation=annotation, options={**limits, "tooltip": tooltip}, **options
    )

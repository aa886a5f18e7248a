"""Editors of parameters that magicgui has no widget for, and the one place that makes a field's editor."""

from __future__ import annotations

import ast
import html
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import Field
from typing import Any

from magicgui import widgets
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QSizePolicy, QStyledItemDelegate

from napari_exposure.core import Adjustment, Percentiles
from napari_exposure.core.tiles import TileGrid
from napari_exposure.gui.curve_edit import CurveEdit
from napari_exposure.gui.numbers import AutomaticEdit, NoiseLimitEdit, NumberEdit, SliderEdit, WholeNumberEdit, Wide
from napari_exposure.gui.parts import Parts
from napari_exposure.gui.reference import ReferenceEdit


def text(clicked: Callable | None = None) -> widgets.Label:
    """A label for a few lines that wrap and can be copied; `clicked` is called for links."""
    label = widgets.Label(value="")
    label.native.setWordWrap(True)
    label.native.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    label.native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
    flags = Qt.TextInteractionFlag.TextSelectableByMouse
    if clicked is not None:
        flags |= Qt.TextInteractionFlag.LinksAccessibleByMouse
        label.native.linkActivated.connect(lambda link: clicked())
    label.native.setTextInteractionFlags(flags)
    return label


# It can be read on napari's dark and on its light theme.
WARNING = "#c87000"


def warn(sentence: str) -> str:
    """A sentence that stands out."""
    return f"<span style='color:{WARNING}'>⚠ {html.escape(sentence)}</span>"


def times(numbers) -> str:
    """The numbers of several axes in one text."""
    return " × ".join(f"{number:.4g}" for number in numbers)


# The arrow of a combo box takes this many pixels in napari's style.
ARROW = 30


class _Whole(QStyledItemDelegate):
    """Draws the whole texts of a `Choice` in the list that drops down."""

    def initStyleOption(self, option, index) -> None:
        super().initStyleOption(option, index)
        option.text = index.data(Qt.ItemDataRole.ToolTipRole)


class Choice(widgets.ComboBox):
    """Chooses one of a few texts; the box shows what stands before the colon, so that nothing is cut off.

    Parameters
    ----------
    texts : mapping
        The text of each value that can be chosen.
    """

    def __init__(self, texts: Mapping[Any, str], **options):
        super().__init__(choices=[(text.split(":")[0], each) for each, text in texts.items()], **options)
        for at, text in enumerate(texts.values()):
            self.native.setItemData(at, text, Qt.ItemDataRole.ToolTipRole)
        self.native.setItemDelegate(_Whole(self.native))

    def offer(self, values: Iterable[Any]) -> None:
        """List only these values, and the one that is chosen."""
        offered = {*values, self.value}
        for at, value in enumerate(self.choices):
            # Keys go past entries that are not enabled, so none of them reaches what is hidden.
            self.native.model().item(at).setEnabled(value in offered)
            self.native.view().setRowHidden(at, value not in offered)


def show_whole(box: QComboBox) -> None:
    """Make a `Choice` as wide as its texts at least, and the list that drops down of any box as wide as it needs."""
    box.ensurePolished()
    if isinstance(box.itemDelegate(), _Whole):
        texts = max(box.fontMetrics().horizontalAdvance(box.itemText(at)) for at in range(box.count()))
        # A style is set, because those of napari and of the dock override `setMinimumWidth`.
        style = f"min-width: {texts + ARROW}px"
        if box.styleSheet() != style:
            box.setStyleSheet(style)
    box.view().setMinimumWidth(box.view().sizeHintForColumn(0) + 2 * box.fontMetrics().averageCharWidth())


# The combo box shows these texts for the ways to choose an input range.
DATA, DTYPE, LIMITS = "min to max: from the darkest to the brightest voxel", "range of the dtype", "contrast limits"
PERCENTILES, FIXED = "percentiles", "fixed numbers"


class InRangeEdit(Parts):
    """Chooses an input range; the two numbers show where they mean something.

    ``limits`` is called for the numbers that "fixed numbers" begins with.
    """

    def __init__(self, value, **options):
        self._mode = Choice({each: each for each in (DATA, PERCENTILES, FIXED, LIMITS, DTYPE)})
        self._low, self._high = (NumberEdit(name=name, prefix=f"{name} ") for name in ("low", "high"))
        # Each way keeps the numbers that the user set, or that it was given to begin with.
        self._kept: dict[str, Any] = {PERCENTILES: (0.05, 99.95), FIXED: None}
        if isinstance(value, Percentiles):
            self._kept[PERCENTILES] = value.low, value.high
        self.limits = lambda: (0.0, 1.0)
        # This connects before the container does, so that `value` is right when the container emits `changed`.
        self._mode.changed.connect(self._on_mode)
        for box in (self._low, self._high):
            Wide(box.native)
            box.changed.connect(self._on_number)
            box.native.editingFinished.connect(self._on_mode)
        self._numbers = Parts(self._low, self._high)
        super().__init__(self._mode, self._numbers, **options)
        self._mode.value = PERCENTILES if isinstance(value, Percentiles) else DATA
        self._on_mode()

    def _on_mode(self):
        mode = self._mode.value
        self._numbers.visible = mode in self._kept
        if mode not in self._kept:
            return
        low, high = self._kept[mode] or self.limits()
        most = 100 if mode == PERCENTILES else max(1e12, abs(low), abs(high))
        least = 0 if mode == PERCENTILES else -most
        step = 0.01 if mode == PERCENTILES else _nice(max(high - low, 1e-9) / 100)
        for box, number in ((self._low, low), (self._high, high)):
            with box.changed.blocked():
                box.min, box.max, box.step, box.value = least, most, step, number

    def _on_number(self):
        low, high = self._low.value, self._high.value
        # A number that is half typed may be no pair with the other one; at the end of typing the last pair is shown.
        if low < high:
            self._kept[self._mode.value] = low, high

    @property
    def value(self):
        """The input range as an Adjustment takes it, or "contrast_limits"."""
        mode = self._mode.value
        if mode == PERCENTILES:
            return Percentiles(*self._kept[mode])
        if mode == FIXED:
            return self._kept[mode] or (self._low.value, self._high.value)
        return {DATA: "data", DTYPE: "dtype", LIMITS: "contrast_limits"}[mode]

    @value.setter
    def value(self, value) -> None:
        if isinstance(value, str):
            self._mode.value = {"data": DATA, "dtype": DTYPE, "contrast_limits": LIMITS}[value]
            return
        percentiles = isinstance(value, Percentiles)
        mode = PERCENTILES if percentiles else FIXED
        self._kept[mode] = (value.low, value.high) if percentiles else tuple(value)
        if self._mode.value == mode:
            self._on_mode()
        else:
            self._mode.value = mode


AUTOMATIC, SAME, EACH = "automatic", "one for all axes", "one for each axis"


class TileEdgeEdit(Parts):
    """The edge of a tile in the layer's unit: automatic, one number, or one for each axis."""

    def __init__(self, value=None, **options):
        self._mode = Choice(
            {each: each for each in (AUTOMATIC, SAME, EACH)},
            tooltip="automatic: an eighth of the largest extent of the volume",
        )
        self._edge = SliderEdit(1.0, slider=(0.1, 100.0), min=0.0001, max=1e9, step=0.1, name="edge")
        self._boxes = [NumberEdit(name=axis, prefix=f"{axis} ") for axis in "zyx"]
        # This connects before the container does, so that `value` is right when the container emits `changed`.
        self._edge.changed.connect(self._on_edit)
        self._row = Parts(*self._boxes)
        super().__init__(self._mode, self._edge, self._row, **options)
        self._axes = 3
        self._mode.changed.connect(self._arrange)
        self._arrange()

    def set_axes(self, axes: int) -> None:
        """Offer as many edges as there are spatial axes."""
        if axes != self._axes:
            self._axes = axes
            self._arrange()

    def show_grid(self, grid: TileGrid, unit: str) -> None:
        """Take the limits of edges from a grid; the edges that are not chosen now follow those that are."""
        mode, boxes = self._mode.value, self._boxes[3 - self._axes :]
        largest = max(axis.size * step for axis, step in zip(grid.axes, grid.spacing, strict=True))
        least = 2 * min(grid.spacing)
        follow: list[tuple[Any, float]] = [] if mode == EACH else list(zip(boxes, grid.kernel_size, strict=True))
        if mode == AUTOMATIC:
            follow.append((self._edge, grid.kernel_size[-1]))
        for box in (self._edge.box, *boxes):
            if (suffix := f" {unit}") != box.native.suffix():
                box.native.setSuffix(suffix)
            with box.changed.blocked():
                # Only limits that differ are set, because setting them rewrites a number that is being typed.
                step = _nice(min(grid.spacing))
                for option, wanted in (("max", 1000 * largest), ("step", step), ("min", min(step, box.value))):
                    if not math.isclose(getattr(box, option) or 0, wanted, rel_tol=1e-6):
                        setattr(box, option, wanted)
        for box, edge in follow:
            with box.changed.blocked():
                box.value = edge
        self._edge.ends = least, max(largest, 2 * least)
        for box in boxes:
            box.tooltip = f"Edge along {box.name} in {unit}"

    def _on_edit(self):
        # A user who chooses a number does not want the automatic one.
        if self._mode.value == AUTOMATIC:
            self._mode.value = SAME

    def _arrange(self):
        each = self._mode.value == EACH
        self._edge.visible, self._row.visible = not each, each
        for number, box in enumerate(self._boxes):
            box.visible = each and number >= 3 - self._axes

    @property
    def value(self):
        """The edge as AdaptiveEqualization takes it."""
        if self._mode.value == AUTOMATIC:
            return None
        if self._mode.value == SAME:
            return self._edge.value
        return tuple(box.value for box in self._boxes[3 - self._axes :])

    @value.setter
    def value(self, value) -> None:
        if value is None:
            self._mode.value = AUTOMATIC
            return
        each = isinstance(value, tuple)
        # The mode is set first, because edges that are not chosen follow others.
        self._mode.value = EACH if each else SAME
        boxes = self._boxes[3 - len(value) :] if each else [self._edge.box]
        for box, edge in zip(boxes, value if each else (value,), strict=True):
            box.value = edge


class TextEdit(widgets.LineEdit):
    """A word, a number or several, as Python writes them: for parameters that no other editor knows."""

    @property
    def value(self) -> Any:
        """What is typed."""
        text = super().value
        with suppress(ValueError, SyntaxError):
            return ast.literal_eval(text)
        return text

    @value.setter
    def value(self, value: Any) -> None:
        text = value if isinstance(value, str) else repr(value)
        widgets.LineEdit.value.fset(self, text)  # type: ignore[attr-defined]


def _nice(number: float) -> float:
    """The power of ten at or below `number`: a step that keeps few decimals."""
    return float(f"1e{f'{number:e}'.split('e')[1]}")


def editor(field: Field, owner: type[Adjustment]):
    """Make the widget for one parameter of an adjustment, from what its field says."""
    limits: dict[str, Any] = {"min": field.metadata.get("low"), "max": field.metadata.get("high")} | dict(
        field.metadata
    )
    for name in ("example", "low", "high", "above", "advanced"):
        limits.pop(name, None)
    limits = {name: value for name, value in limits.items() if value is not None or name == "automatic"}
    options: dict[str, Any] = {"name": field.name, "label": limits.pop("label"), "tooltip": limits.pop("tooltip")}
    if field.name == "in_range":
        return InRangeEdit(field.default, **options)
    if field.name == "reference":
        return ReferenceEdit(**options)
    if field.name == "kernel_size":
        return TileEdgeEdit(field.default, **options)
    if "automatic" in limits:
        return AutomaticEdit(field.default, **limits, **options)
    if limits.pop("noise", False):
        return NoiseLimitEdit(field.default, **limits, **options)
    if "slider" in limits:
        return SliderEdit(field.default, **limits, **options)
    if "choices" in limits:
        return Choice(limits["choices"], value=field.default, **options)
    if isinstance(field.default, bool):
        return widgets.CheckBox(value=field.default, text="", **options)
    annotation = typing.get_type_hints(owner)[field.name]
    default: Any = field.default
    if field.name == "points":
        return CurveEdit(default, **options)
    if annotation not in (int, float, str):
        return TextEdit(value=default, **options)
    if annotation is float:
        return NumberEdit(value=default, **limits, **options)
    if annotation is int:
        return WholeNumberEdit(value=default, **limits, **options)
    return widgets.LineEdit(value=default, **options)

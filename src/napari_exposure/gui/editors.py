"""Editors of parameters that magicgui has no widget for, and the one place that makes a field's editor."""

from __future__ import annotations

import ast
import html
import math
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import Field
from decimal import Decimal
from typing import Any

import numpy as np
from magicgui import widgets
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QComboBox, QDoubleSpinBox, QSizePolicy, QStyledItemDelegate

from napari_exposure.core import Adjustment, NoiseLimit, Percentiles
from napari_exposure.core.tiles import TileGrid
from napari_exposure.gui.curve_edit import CurveEdit
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


class _CommaIsPoint(QObject):
    """Takes a comma for the decimal point; a spin box would leave it out, so that 0,7 were 7."""

    def eventFilter(self, line, event) -> bool:
        if event.type() == QEvent.Type.KeyPress and event.text() == ",":
            line.insert(".")
            return True
        return False


class NumberEdit(widgets.FloatSpinBox):
    """A number after its name; the arrows keep to its limits, which widen where a card has a number beyond them."""

    def __init__(self, prefix="", **options):
        super().__init__(**options)
        self.native.setPrefix(prefix)
        self._keys = _CommaIsPoint()
        self.native.lineEdit().installEventFilter(self._keys)
        # Qt rounds the least number to the digits that the box shows, but what must be above 0 never becomes 0.
        if self.native.minimum() == 0 < options.get("min", 0):
            self.min = 10.0 ** -self.native.decimals()

    @property
    def value(self) -> float:
        """The number."""
        return super().value

    @value.setter
    def value(self, value: float) -> None:
        if isinstance(value, float | int):
            # The box shows every digit of the number.
            digits = -int(Decimal(f"{value:.12g}").as_tuple().exponent)
            self.native.setDecimals(max(digits, self.native.decimals()))
            self.min, self.max = min(self.min, value), max(self.max, value)
        widgets.FloatSpinBox.value.fset(self, value)  # type: ignore[attr-defined]


class WholeNumberEdit(widgets.SpinBox):
    """A whole number, which counts when all of it is typed: a part of it may be less than the least number."""

    def __init__(self, **options):
        super().__init__(**options)
        self.native.setKeyboardTracking(False)


# The buttons of a number, and the arrow of a combo box, take this many pixels in napari's style.
BUTTONS, ARROW = 46, 30


class Wide(QObject):
    """Keeps the box of a number as wide as what it shows, and as `usual` numbers that it may show next."""

    def __init__(self, box: QDoubleSpinBox, usual: Callable[[], Iterable[float]] = tuple):
        super().__init__(box)
        self._box, self._usual = box, usual
        box.textChanged.connect(self.fit)

    def fit(self) -> None:
        """Measure the texts again, because they or the font have changed."""
        box = self._box
        box.ensurePolished()
        texts = {box.prefix() + box.textFromValue(number) + box.suffix() for number in (10, *self._usual())}
        # Qt does not give longer texts more room either.
        wide = max(box.fontMetrics().horizontalAdvance(text[:18]) for text in texts | {box.text()})
        style = f"min-width: {wide + BUTTONS}px"
        if box.styleSheet() != style:
            box.setStyleSheet(style)


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


class SliderEdit(Parts):
    """A number with a slider for the values that are usual; any other in the limits can be typed.

    Parameters
    ----------
    value : float
    slider : (float, float)
        The ends of the slider, which is logarithmic between them.
    top : float, optional
        If given, the ends are distances below this number.
    min, max, step : float
        The limits and the step of the number.
    """

    # The slider has this many positions.
    FINE = 500

    def __init__(self, value, slider, min, max, step, top=None, tooltip="", **options):
        self._ends, self._top = tuple(slider), top
        self._slider = widgets.Slider(min=0, max=self.FINE, readout=False, tooltip=tooltip)
        self.box = NumberEdit(value=value, min=min, max=max, step=step, tooltip=tooltip)
        # A slider hardly longer than its handle is of no use: both stand below the label where there is no room.
        self._slider.native.setStyleSheet("min-width: 3em")
        self._wide = Wide(self.box.native, lambda: self._ends if top is None else [top - end for end in self._ends])
        self._place()
        # This connects before the container does, so that `value` is right when the container emits `changed`.
        self._slider.changed.connect(self._on_slide)
        self.box.changed.connect(self._place)
        super().__init__(self._slider, self.box, layout="horizontal", tooltip=tooltip, **options)
        # The number gets a bit more of the room than the slider, at every font size.
        for part, share in enumerate((2, 3)):
            self.native.layout().setStretch(part, share)
        self.min, self.max, self.step = min, max, step

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the most that the slider gives."""
        return self._ends

    @ends.setter
    def ends(self, ends: tuple[float, float]) -> None:
        self._ends = ends
        self._place()
        self._wide.fit()

    def _on_slide(self) -> None:
        first, last = self._ends
        value = first * (last / first) ** (self._slider.value / self.FINE)
        value = value if self._top is None else self._top - value
        # A slider sets no more digits than one can see.
        with self.box.changed.blocked():
            self.box.value = round(value, 2 - math.floor(math.log10(abs(value))) if self._top is None else 3)

    def _place(self) -> None:
        first, last = self._ends
        value = self.box.value if self._top is None else self._top - self.box.value
        place = math.log(max(value, 1e-12) / first) / math.log(last / first)
        with self._slider.changed.blocked():
            self._slider.value = round(self.FINE * float(np.clip(place, 0, 1)))

    @property
    def value(self) -> float:
        """The number."""
        return self.box.value

    @value.setter
    def value(self, value: float) -> None:
        self.box.value = value


class AutomaticEdit(Parts):
    """A number, or a check box for a word with which the number is found automatically.

    Parameters
    ----------
    value : float, str or None
    automatic : str or None
        The word that the check box stands for.
    min, max, step : float
        The limits and the step of the number, which is whole where `min` is an int.
    start : float, optional
        The number at first.
    """

    def __init__(self, value, automatic, min, max, step, start=None, tooltip="", **options):
        self._word = automatic
        self._automatic = widgets.CheckBox(text="auto", tooltip=tooltip)
        number = WholeNumberEdit if isinstance(min, int) else NumberEdit
        self.box = number(value=min if start is None else start, min=min, max=max, step=step, tooltip=tooltip)
        # This connects before the container does, so that `value` is right when the container emits `changed`.
        self._automatic.changed.connect(self._arrange)
        super().__init__(self.box, self._automatic, layout="horizontal", tooltip=tooltip, **options)
        self.min, self.max, self.step = min, max, step
        self.value = value

    def _arrange(self) -> None:
        self.box.enabled = not self._automatic.value

    @property
    def value(self) -> float | str | None:
        """The number or the word."""
        return self._word if self._automatic.value else self.box.value

    @value.setter
    def value(self, value: float | str | None) -> None:
        if value != self._word:
            number: Any = value
            self.box.value = number
        self._automatic.value = value == self._word


class NoiseLimitEdit(Parts):
    """How far noise may grow, in percent of the range of the result; or the number that limits it, typed.

    Both are seen.  The one that was set last is kept, and `follow` shows what the other one comes to in a volume.

    Parameters
    ----------
    value : float or NoiseLimit
    slider, min, max, step
        The options of the number, as `SliderEdit` has them.

    Attributes
    ----------
    number : SliderEdit
        The number has a row of its own, as few know what it does to noise.
    """

    # The first names the row of the noise; the second stands where the noise of a volume is not known.
    LABEL, UNKNOWN = "Noise may grow to", "–"

    def __init__(self, value, slider, min, max, step, label="", tooltip="", **options):
        self.number = SliderEdit(slider[0], slider, min=min, max=max, step=step, tooltip=tooltip)
        how = (
            "How strong noise may become in the result, in percent of its range: more brings out weaker structures. "
            f"{label} becomes what allows just that in the volume; it is under Advanced, where it can be typed instead."
        )
        self.noise = SliderEdit(2.0, (0.1, 100.0), min=0.001, max=100.0, step=0.1, tooltip=how)
        self.noise.box.native.setSuffix(" %")
        self._value = value
        # This connects before the container does, so that `value` is right when the container emits `changed`.
        self.noise.changed.connect(self._on_noise)
        self.number.changed.connect(self._on_number)
        super().__init__(self.noise, label=label, tooltip=how, **options)
        # It is there, but not to be seen, until it has its row.
        self.number.native.setParent(self.native)
        self.number.native.hide()
        self.min, self.max, self.step = min, max, step
        self._take(value)

    def _on_noise(self) -> None:
        # The container emits `changed` itself.
        self._take(NoiseLimit(self.noise.value / 100))

    def _on_number(self) -> None:
        self.value = self.number.value

    @property
    def value(self) -> float | NoiseLimit:
        """The number, or the limit of noise."""
        return self._value

    @value.setter
    def value(self, value: float | NoiseLimit) -> None:
        before = self._value
        self._take(value)
        if value != before:
            self.changed.emit(self)

    def _take(self, value: float | NoiseLimit) -> None:
        self._value = value
        if isinstance(value, NoiseLimit):
            # Rounding takes away the digits that the factor of 100 adds.
            self._show(self.noise, float(f"{100 * value.limit:.12g}"))
        else:
            self._show(self.number, value)
        self.follow(None)

    def follow(self, other: float | None) -> None:
        """Show the number that the noise comes to, or the noise that the number comes to; None says it is not known."""
        edit = self.number if isinstance(self._value, NoiseLimit) else self.noise
        self._show(edit, None if other is None else float(f"{other:.3g}"))

    def _show(self, edit: SliderEdit, value: float | None) -> None:
        if value is not None and value == edit.value and not edit.box.native.specialValueText():
            # A number that is being typed is left alone.
            return
        edit.box.native.setSpecialValueText(self.UNKNOWN if value is None else "")
        with edit.changed.blocked():
            edit.value = edit.box.native.minimum() if value is None else value


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

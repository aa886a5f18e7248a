"""Editors of numbers: typed, with a slider, with a word in place of the number, or by the noise that it allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import numpy as np
from magicgui import widgets
from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QDoubleSpinBox

from napari_exposure.core import NoiseLimit
from napari_exposure.gui.parts import Parts


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


# The buttons of a number take this many pixels in napari's style.
BUTTONS = 46


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

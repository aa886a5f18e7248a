"""What the rows of the Exposure dock are made of: labels in one column, texts that are cut, and signs."""

from __future__ import annotations

import dataclasses
import math
import textwrap

from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QSizePolicy, QToolButton, QWidget

from napari_exposure.core.adjustment import adjustments
from napari_exposure.core.words import as_tooltip
from napari_exposure.gui.editors import show_whole
from napari_exposure.gui.numbers import Wide

# A label of more letters has two lines.
SHORT = 16


class Label(QLabel):
    """The label of a row, in two lines where it is long; a double click on it resets what it stands for."""

    doubled = Signal()
    # The column of labels is so wide.  A minimum width would stay in the size hint that Qt keeps.
    column = 0

    def __init__(self, text: str, tooltip: str):
        super().__init__(_lines(text))
        self.setToolTip(tooltip)
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)

    def sizeHint(self) -> QSize:
        return super().sizeHint().expandedTo(QSize(self.column, 0))

    def minimumSizeHint(self) -> QSize:
        return super().minimumSizeHint().expandedTo(QSize(self.column, 0))

    def mouseDoubleClickEvent(self, event) -> None:
        self.doubled.emit()


def _lines(label: str) -> str:
    return label if len(label) <= SHORT else "\n".join(textwrap.wrap(label, len(label) // 2 + 3))


class Sign(QToolButton):
    """A button of one sign, which takes no more room than that."""

    def __init__(self, sign: str):
        super().__init__()
        self.setText(sign)
        self.setAutoRaise(True)

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        return QSize(metrics.horizontalAdvance(self.text()), metrics.height() + 2)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()


class Elided(QLabel):
    """Text of as many lines as `letters` take; its end is left out where that is no room, and the tooltip has all."""

    def __init__(self, letters: int = 0):
        super().__init__()
        self._letters, self._all = letters, ""
        self.setWordWrap(letters > 0)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.say("")

    def say(self, text: str, detail: str = "") -> None:
        """Show a text; `detail` is in the tooltip only."""
        self._all = text
        self.setToolTip(as_tooltip("\n".join(filter(None, (text, detail)))))
        self._fit()

    def said(self) -> str:
        """All of the text."""
        return self._all

    def resizeEvent(self, event) -> None:
        super().resizeEvent(event)
        self._fit()

    def changeEvent(self, event) -> None:
        super().changeEvent(event)
        if event.type() in (QEvent.Type.FontChange, QEvent.Type.StyleChange):
            self._fit()

    def _fit(self) -> None:
        metrics, width = self.fontMetrics(), max(self.width(), 40)
        # Lines that wrap do not use all of their width.
        lines = math.ceil(self._letters * metrics.averageCharWidth() / (0.85 * width)) or 1
        self.setFixedHeight(lines * metrics.lineSpacing() + 2)
        room = width if lines == 1 else int(0.85 * lines * width)
        self.setText(metrics.elidedText(self._all, Qt.TextElideMode.ElideRight, room))


class Form(QFormLayout):
    """Rows of a label and what belongs to it."""

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.setContentsMargins(0, 0, 0, 0)
        self.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        # An editor that has no room beside its label stands below it.
        self.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self.setHorizontalSpacing(6)
        self.setVerticalSpacing(3)

    def add(self, text: str, widget: QWidget, tooltip: str) -> Label:
        """Add a row."""
        label = Label(text, tooltip)
        label.setBuddy(widget)
        self.addRow(label, widget)
        return label


class FitLabels(QObject):
    """Keeps all labels of rows in one column, as wide as the font needs.

    Parameters
    ----------
    dock : QWidget
        Owns this object.
    """

    def __init__(self, dock: QWidget):
        super().__init__(dock)
        self._dock = dock
        # It says how wide a text is as a label.
        self._probe = QLabel(dock, visible=False)
        # A new font is there for all labels in the next turn of the event loop.
        self._soon = QTimer(self, singleShot=True)
        self._soon.timeout.connect(self._fit)
        dock.installEventFilter(self)

    def again(self) -> None:
        """Measure the labels again, because rows or the entries of boxes have come or gone."""
        # This is done at once, so that new rows are first seen where they stay.
        self._fit()

    def eventFilter(self, watched, event) -> bool:
        kinds = QEvent.Type.FontChange, QEvent.Type.StyleChange, QEvent.Type.Show
        if event.type() in kinds:
            self._soon.start(0)
        return False

    def _fit(self) -> None:
        labels = self._dock.findChildren(Label)
        if not labels:
            return
        # Also as wide as labels that are not there yet, so that nothing moves when these come.
        words = {_lines(field.metadata["label"]) for kind in adjustments() for field in dataclasses.fields(kind)}
        wide = max(map(self._width, words | {label.text() for label in labels}))
        for label in labels:
            label.column = wide
            label.updateGeometry()
        for button in self._dock.findChildren(QToolButton):
            # Qt gives tool buttons a font of their own.
            button.setFont(labels[0].font())
            button.updateGeometry()
        for box in self._dock.findChildren(QComboBox):
            show_whole(box)
        for number in self._dock.findChildren(Wide):
            number.fit()

    def _width(self, text: str) -> int:
        self._probe.setText(text)
        return self._probe.sizeHint().width()

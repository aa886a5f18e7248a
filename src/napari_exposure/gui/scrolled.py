"""Lets the docks of the plugin scroll, so that napari's window does not grow with what they hold."""

from __future__ import annotations

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QPoint, QSize, Qt, QTimer
from qtpy.QtGui import QFont
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDockWidget,
    QFrame,
    QLabel,
    QLineEdit,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

# With this least size in pixels, one dock of each kind above each other fits a screen of 1366 by 768.
LEAST = QSize(300, 50)
# A dock wants to be no wider than this, however long the entries of its combo boxes are.
WIDE = 400
# The wheel, or keys, would change the values of these.
EDITORS = (QAbstractSpinBox, QComboBox, QLineEdit, QSlider)


def make_scrollable(widget: QWidget, below: tuple[QWidget, ...] = ()) -> _ScrollArea:
    """Let what is in a widget scroll where its dock is smaller.

    The widget stays what napari docks.  Its layout, with all that is in it or will be, moves into a scroll area inside.

    Parameters
    ----------
    widget : QWidget
        It has a vertical box layout.
    below : tuple of QWidget
        They stay in sight below what scrolls; where there are any, each row there is as high as it would like to be.
    """
    body = QWidget()
    # This lets rows be narrow: napari's style asks for more, and a combo box for the width of its longest entry.
    body.setStyleSheet("QComboBox, QAbstractSpinBox { min-width: 3em }")
    body.setLayout(widget.layout())
    body.layout().setContentsMargins(4, 4, 4, 4)
    body.layout().addStretch()
    around = QVBoxLayout(widget)
    around.setContentsMargins(0, 0, 0, 0)
    around.setSpacing(0)
    area = _ScrollArea(body, below)
    around.addWidget(area, 1)
    for each in below:
        around.addWidget(each)
    return area


class _ScrollArea(QScrollArea):
    """Takes any size above the least; its body fills the room, and is no smaller than it needs."""

    # The area is new until it is shown.
    _new = True

    def __init__(self, body: QWidget, below: tuple[QWidget, ...]):
        super().__init__()
        self.below = below
        self._revealed: tuple[QWidget, QWidget] | None = None
        self._settled = QTimer(self, singleShot=True)
        self._settled.timeout.connect(self._forget_revealed)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidget(body)

    def sizeHint(self):
        """Qt's hook: with room for all of the body."""
        hint = self.widget().sizeHint()
        return QSize(min(hint.width() + self.verticalScrollBar().sizeHint().width(), WIDE), hint.height())

    def minimumSizeHint(self):
        return LEAST

    def resizeEvent(self, event):
        super().resizeEvent(event)
        self._fit()
        _fit_title(self)

    def showEvent(self, event):
        super().showEvent(event)
        _fit_title(self)
        self.keep_values()
        if self._new:
            self._new = False
            # This waits until napari has placed the dock, because it gives nearly all of the height to one of several.
            QTimer.singleShot(0, self._share_room)

    def eventFilter(self, watched, event):
        body, kind = self.widget(), event.type()
        if kind == QEvent.Type.Wheel and isinstance(watched, EDITORS):
            # A user who scrolls with the mouse over a number does not mean to change it.
            event.ignore()
            return True
        if kind == QEvent.Type.LayoutRequest and watched is body:
            self._fit()
        return super().eventFilter(watched, event)

    def keep_values(self) -> None:
        """Let the wheel over an editor scroll; call this again when editors have come."""
        for kind in EDITORS:
            for editor in self.widget().findChildren(kind):
                editor.installEventFilter(self)

    def reveal(self, widget: QWidget, last: QWidget) -> None:
        """Scroll as little as lets a new widget be seen from its top to the end of `last`, which is in it."""
        self._revealed = widget, last
        # New rows find their places until then.
        self._settled.start(500)

    def _scroll_to(self, widget: QWidget, last: QWidget) -> None:
        if isalive(widget) and self.widget().isAncestorOf(widget):
            bar, room = self.verticalScrollBar(), self.viewport().height()
            top, end = (each.mapTo(self.widget(), QPoint(0, y)).y() for each, y in ((widget, 0), (last, last.height())))
            bar.setValue(min(top, max(bar.value(), min(end, top + room) - room)))

    def _forget_revealed(self) -> None:
        if self._revealed is not None:
            self._scroll_to(*self._revealed)
        self._revealed = None

    def _fit(self) -> None:
        # Qt's way (widgetResizable) lets no body whose lines wrap be smaller than it would like to be.
        body, room = self.widget(), self.viewport().size()
        width = max(room.width(), body.minimumSizeHint().width())
        layout = body.layout()
        if layout.hasHeightForWidth():
            height = layout.heightForWidth(width) if self.below else layout.minimumHeightForWidth(width)
        else:
            height = (layout.sizeHint() if self.below else layout.minimumSize()).height()
        bar = self.verticalScrollBar()
        at_end = 0 < bar.maximum() == bar.value()
        body.resize(width, max(room.height(), height))
        if at_end:
            # A user who looks at the end sees what is added there.
            bar.setValue(bar.maximum())
        if self._revealed is not None:
            self._scroll_to(*self._revealed)

    def _share_room(self) -> None:
        """Give each dock of a column its share of the height, and this one the width that it wants."""
        window = self.window()
        if not isinstance(window, QMainWindow):
            return
        docks = [dock for dock in window.findChildren(QDockWidget) if dock.isVisible() and not dock.isFloating()]
        areas = [window.dockWidgetArea(dock) for dock in docks]
        here = next((area for dock, area in zip(docks, areas, strict=True) if dock.isAncestorOf(self)), None)
        if here in (Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea):
            column = [dock for dock, area in zip(docks, areas, strict=True) if area == here]
            hints = [dock.sizeHint() for dock in column]
            if sum(map(_needed, column)) > window.centralWidget().height():
                # They would lie one over the other, so this one becomes a tab beside its neighbor.
                mine = next(dock for dock in column if dock.isAncestorOf(self))
                other = next(dock for dock in reversed(column) if dock is not mine)
                window.tabifyDockWidget(other, mine)
                mine.raise_()
                return
            width = max(column[0].width(), *(hint.width() for hint in hints))
            window.resizeDocks(column, [hint.height() for hint in hints], Qt.Orientation.Vertical)
            window.resizeDocks(column[:1], [width], Qt.Orientation.Horizontal)


def _needed(dock: QDockWidget) -> int:
    """The height without which the rows of a dock would lie one over the other; lines of buttons may wrap."""
    least, area = dock.minimumSizeHint().height(), dock.findChild(_ScrollArea)
    below = [] if area is None else area.below
    return least + sum(max(each.heightForWidth(dock.width()) - each.minimumSizeHint().height(), 0) for each in below)


def _fit_title(inside: QWidget) -> None:
    """Let the title of a dock be read: without the name of the plugin, and smaller, where it has no room."""
    above = inside
    while above is not None and not isinstance(above, QDockWidget):
        above = above.parentWidget()
    bar = None if above is None else above.titleBarWidget()
    label = next((each for each in bar.findChildren(QLabel) if each.text()), None) if bar is not None else None
    if label is None or label.isHidden():
        return
    # The bar has buttons, a line that may vanish, and gaps between them.
    room = bar.width() - sum(each.width() + 6 for each in bar.findChildren(QPushButton)) - 28
    name = above.windowTitle()
    font = QFont(bar.font())
    label.setFont(font)
    short = name if label.fontMetrics().horizontalAdvance(name) <= room else name.partition(" (")[0]
    label.setText(short)
    while label.fontMetrics().horizontalAdvance(short) > room and font.pointSize() > 8:
        font.setPointSize(font.pointSize() - 1)
        label.setFont(font)
    bar.setMinimumHeight(label.fontMetrics().height() + 4)

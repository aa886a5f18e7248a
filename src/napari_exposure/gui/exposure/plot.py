"""The histogram in the Exposure dock: the plot of the panel, lower, of what the dock shows."""

from __future__ import annotations

from collections.abc import Callable

from napari.utils.theme import get_theme
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from napari_exposure.gui.connections import Connections
from napari_exposure.gui.histogram.counter import Counter
from napari_exposure.gui.histogram.model import HistogramModel
from napari_exposure.gui.histogram.view import HistogramView
from napari_exposure.gui.paced import Paced

# pixels
HEIGHT = 140


class Plot(QWidget):
    """Histogram and CDF before and after, with contrast limits that can be dragged.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    layer : callable
        Returns the layer whose histogram is shown, or None.
    """

    def __init__(self, viewer, layer: Callable):
        super().__init__()
        self._viewer = viewer
        self.model = HistogramModel()
        self.view = HistogramView(self.model, compact=True)
        self.view.setFixedHeight(HEIGHT)
        self.view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        chosen = lambda: [found] if (found := layer()) is not None else []  # noqa: E731
        self.counter = Counter(viewer, self.model, self, chosen)
        self._of_viewer = Connections()
        self.fold = QToolButton()
        self.fold.setText("Histogram")
        self.fold.setCheckable(True)
        self.fold.setChecked(True)
        self.fold.setAutoRaise(True)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setToolTip("Show or hide the histogram of what is seen, over that of the source.")
        self.fold.toggled.connect(self._on_fold)
        self.panel = QToolButton()
        self.panel.setText("Panel …")
        self.panel.setAutoRaise(True)
        self.panel.setToolTip("Open the full panel Histogram & CDF, with numbers, scopes and export.")
        self.panel.clicked.connect(lambda: viewer.window.add_plugin_dock_widget("napari-exposure", "Histogram & CDF"))
        row = QHBoxLayout()
        row.addWidget(self.fold)
        row.addStretch()
        row.addWidget(self.panel)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(row)
        column.addWidget(self.view)
        self.view.limit_dragged.connect(Paced(self._drag_limit, self))
        self.view.gamma_dragged.connect(Paced(self._drag_gamma, self))
        self.view.percentile_dragged.connect(Paced(self._drag_percentile, self))
        self._shown = False
        self._on_fold()

    def turn(self, quick: bool) -> None:
        """Count all of a layer, or where that takes its time the plane in view."""
        self.model.scope = "dataset" if quick else "plane"
        self.turn_again()

    def turn_again(self) -> None:
        """Look again which layer is shown."""
        self.counter.follow()

    def follow(self, shown: bool) -> None:
        """Count as long as the dock is seen."""
        self._shown = shown
        self._on_fold()

    def _on_fold(self) -> None:
        there = self.fold.isChecked()
        self.view.setVisible(there)
        self.fold.setArrowType(Qt.ArrowType.DownArrow if there else Qt.ArrowType.RightArrow)
        self._of_viewer.drop()
        if there and self._shown:
            self._of_viewer.add(self._paint, self._viewer.events.theme)
            self._paint()
            self.counter.start()
        else:
            self.counter.stop()

    def _paint(self, event=None) -> None:
        theme = get_theme(self._viewer.theme)
        self.view.set_colours(theme.background.as_hex(), theme.text.as_hex())

    def _drag_limit(self, which: int, value: float) -> None:
        if self.counter.shown is not None and self.model.display is not None:
            self.counter.shown.contrast_limits = self.model.display.moved(which, value)

    def _drag_gamma(self, gamma: float) -> None:
        if self.counter.shown is not None:
            self.counter.shown.gamma = gamma

    def _drag_percentile(self, which: int, value: float) -> None:
        if self.model.main is not None:
            setattr(self.model, ("low", "high")[which], self.model.percent_at(value))

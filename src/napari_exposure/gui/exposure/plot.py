"""The histogram in the Exposure dock, which is that of the layer that the dock shows."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_exposure.gui.histogram.plot import HistogramPlot


class Plot(QWidget):
    """Histogram and CDF before and after, which can be folded, with a button that opens the panel.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    """

    def __init__(self, viewer):
        super().__init__()
        self.histogram = HistogramPlot(viewer, compact=True)
        self.fold = _button("Histogram", "Show or hide the histogram of what is seen, over that of the source.")
        self.fold.setCheckable(True)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.toggled.connect(self._on_fold)
        self.panel = _button("Panel …", "Open the full panel Histogram & CDF, with numbers, scopes and export.")
        self.panel.clicked.connect(lambda: viewer.window.add_plugin_dock_widget("napari-exposure", "Histogram & CDF"))
        row = QHBoxLayout()
        row.addWidget(self.fold)
        row.addStretch()
        row.addWidget(self.panel)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(row)
        column.addWidget(self.histogram)
        self.fold.setChecked(True)

    def follow(self, layer, quick: bool) -> None:
        """Count all of a layer, or the plane in view where all of it takes long; None counts nothing."""
        if layer is not None:
            self.histogram.model.scope = "dataset" if quick else "plane"
        self.histogram.follow([] if layer is None else [layer])

    def _on_fold(self, there: bool) -> None:
        self.histogram.setVisible(there)
        self.fold.setArrowType(Qt.ArrowType.DownArrow if there else Qt.ArrowType.RightArrow)


def _button(text: str, tooltip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setAutoRaise(True)
    button.setToolTip(tooltip)
    return button

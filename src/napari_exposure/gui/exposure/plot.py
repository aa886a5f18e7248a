"""The histogram in the Exposure dock, which is that of the layer that the dock shows."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_exposure.gui.flow import Fold
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
        shown = "Show or hide the histogram of what is seen, over that of the source."
        self.fold = Fold("Histogram", shown, self.histogram.setVisible)
        opens = "Open the full panel Histogram & CDF, with numbers, scopes and export."
        self.panel = QToolButton(text="Panel …", toolTip=opens, autoRaise=True)
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

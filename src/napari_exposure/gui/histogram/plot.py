"""The plot of what a viewer shows: counted beside the window, and dragged with the mouse."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_exposure.gui.connections import Connections
from napari_exposure.gui.histogram.counter import Counter
from napari_exposure.gui.histogram.model import HistogramModel
from napari_exposure.gui.histogram.view import HistogramView
from napari_exposure.gui.paced import Paced


class HistogramPlot(QWidget):
    """A histogram that follows a viewer while it can be seen; the panel has one, and other widgets may embed one.

    Its `model` says by its events what is shown and what the user has dragged, such as the percentiles `low` and
    `high`, and takes settings such as `scope`, `mask` and `compare`.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer, or its public proxy as napari passes it.
    compact : bool
        Whether the plot is 140 pixels high, without the axes of counts and fractions.

    Attributes
    ----------
    model : HistogramModel
    view : HistogramView
    counter : Counter
    """

    def __init__(self, napari_viewer, *, compact: bool = False):
        super().__init__()
        self._viewer = napari_viewer
        self.model = HistogramModel()
        self.view = HistogramView(self.model, compact=compact)
        self.counter = Counter(napari_viewer, self.model, self)
        self._of_viewer = Connections()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        if compact:
            self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        # A line follows the mouse at once; napari's canvas and the numbers follow as fast as they can be drawn.
        self.view.handles.limit_dragged.connect(Paced(self._drag_limit, self))
        self.view.handles.gamma_dragged.connect(Paced(self._drag_gamma, self))
        self.view.handles.percentile_dragged.connect(Paced(self._drag_percentile, self))

    def follow(self, layers: Sequence[Image] | None) -> None:
        """Show these layers, the first with the lines, whichever is active; with None, those that are selected."""
        self.counter.follow(layers)

    def showEvent(self, event):
        """Catch up with the viewer."""
        super().showEvent(event)
        if not self._of_viewer:
            self._of_viewer.add(self._paint, self._viewer.events.theme)
            self._paint()
            self.counter.start()

    def hideEvent(self, event):
        """Stop following the viewer until shown again."""
        super().hideEvent(event)
        self._of_viewer.drop()
        self.counter.stop()

    def _paint(self, event=None) -> None:
        self.view.follow_theme(self._viewer)

    def _drag_limit(self, which: int, value: float) -> None:
        if self.counter.shown is not None and self.model.display is not None:
            self.counter.shown.contrast_limits = self.model.display.moved(which, value)

    def _drag_gamma(self, gamma: float) -> None:
        if self.counter.shown is not None:
            self.counter.shown.gamma = gamma

    def _drag_percentile(self, which: int, value: float) -> None:
        if self.model.main is not None:
            self.model.set_percent(which, self.model.percent_at(value))

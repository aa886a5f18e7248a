"""The dock widget "Histogram & CDF": wires viewer, model and view."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path

import napari.layers
from napari.utils.notifications import show_info
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QMenu,
    QMessageBox,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qdebounced

from napari_exposure import core
from napari_exposure.core.histogram import write_csv
from napari_exposure.core.replacing import replacing
from napari_exposure.gui.apply import apply_job
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.flow import Flow, keep_place, make_button
from napari_exposure.gui.histogram import survey
from napari_exposure.gui.histogram.hilo import HiLo
from napari_exposure.gui.histogram.limits import AutoLimits
from napari_exposure.gui.histogram.plot import HistogramPlot
from napari_exposure.gui.histogram.strip import Strip
from napari_exposure.gui.histogram.survey import short
from napari_exposure.gui.jobs import Job
from napari_exposure.gui.scrolled import make_scrollable
from napari_exposure.gui.words import tell

PLOT, TABLE = "Plot (*.png *.svg)", "Counts and CDF (*.csv)"
# Pixels lie between widgets, and between lines of them.
GAPS = (6, 4)
YES = QMessageBox.StandardButton.Yes
SAME = "The two percentiles have the same intensity. Choose others, or count less (ignore zeros)."


class HistogramPanel(QWidget):
    """Layers > Visualize > Histogram & CDF.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        The viewer, or its public proxy as napari passes it.
    """

    def __init__(self, napari_viewer):
        super().__init__()
        self._viewer = napari_viewer
        self.plot = HistogramPlot(napari_viewer)
        self.model, self.view, self.counter = self.plot.model, self.plot.view, self.plot.counter
        self._of_viewer, self._of_masks = Connections(), Connections()
        self._clipping: Job | None = None
        self._hilo = HiLo()
        self._limits = AutoLimits()
        self.counter.also = lambda: self._limits.wanted
        # Columns of the numbers, the side of the plot that they are on, and their rows when last arranged.
        self._looks: tuple | None = None
        self._write_numbers = qdebounced(self._show_numbers, timeout=60)
        self._build()
        events = self.model.events
        events.content.connect(self._enable)
        events.progress.connect(self._enable)
        events.display.connect(self._enable)
        for signal in (events.content, events.display, events.tile, events.low, events.high):
            signal.connect(self._write_numbers)
        for signal in (events.low, events.high):
            signal.connect(self._show_percents)
        events.content.connect(self._limit)
        events.display.connect(self._show_estimated)
        self._list_axes()
        self._enable()

    @property
    def histogram(self) -> core.Histogram | None:
        """What the plot shows of the first layer."""
        return None if self.model.main is None else self.model.main.histogram

    # --- parts ---

    def _build(self) -> None:
        self.scope = QComboBox()
        for key, words in survey.SCOPES.items():
            self.scope.addItem(words, key)
        self.scope.setToolTip("What is measured: the plane in view and the volume follow napari's sliders.")
        self.scope.currentIndexChanged.connect(lambda _: setattr(self.model, "scope", self.scope.currentData()))
        self.mask = QComboBox()
        # Long names of layers must not widen the panel.
        self.mask.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.mask.setMinimumContentsLength(14)
        self.mask.setToolTip("Measure all voxels, or only those that have a label in a labels layer.")
        self.mask.currentIndexChanged.connect(lambda _: setattr(self.model, "mask", self.mask.currentData()))
        self.strip = Strip(self._viewer, self.model)
        self.strip.hide()
        self.strip.changed.connect(self._list_axes)
        self.strip.changed.connect(self._enable)
        self.along = QComboBox()
        self.along.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.along.setMinimumContentsLength(12)
        self.along.setToolTip(
            "Show the histogram of each time point or plane below, as a strip: flicker and fading are seen at a glance."
        )
        self.along.currentIndexChanged.connect(lambda _: setattr(self.strip, "axis", self.along.currentData()))
        self.zeros = self._check("Ignore zeros", "ignore_zeros", "Leave out voxels that are exactly 0.")
        self.log = self._check("Log counts", "log", "Count in powers of ten: rare voxels show too.")
        self.compare = self._check(
            "Before and after", "compare", "Show a result of this plugin together with the layer it was made from."
        )
        self.tile = self._check(
            "Tile under cursor",
            "tile_mode",
            "For a result of adaptive equalization or local stretch: point at the image to see the histogram of the "
            "tile there, the clip limit or the two percentiles, and the function that the tile has.",
        )
        self.lock = self._check("Lock", "locked", "Stay on this layer when another one becomes active.")
        self.hilo = QCheckBox("HiLo colors")
        self.hilo.setToolTip(
            "Show voxels at the lower contrast limit or below in blue, those at the upper or above in red. "
            "A second click brings the colormap back."
        )
        self.hilo.toggled.connect(self._set_hilo)
        again = "Count again, for data that were changed without telling napari; or stop counting."
        self.again = make_button("Refresh", again, self._count_or_cancel)
        self.low, self.high = self._percent(0), self._percent(1)
        limits = "Show these two percentiles as black and white; the data stay as they are."
        self.set_limits = make_button("Set contrast limits", limits, self._set_limits)
        clip = "Make a new layer, clipped at these two percentiles and stretched over its data type."
        self.clip = make_button("Clip to new layer", clip, self._clip)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        several = "Set the contrast limits of all image layers that are selected."
        self.selected = make_button("Selected layers", several, menu)
        self.limit_all = menu.addAction("Auto-contrast all by these percentiles", self._limit_all)
        self.limit_all.setShortcut("Ctrl+L")
        self.limit_all.setToolTip("Show the two percentiles of each layer as its black and white.")
        self.copy_limits = menu.addAction("Copy the limits of the first to the others", self._copy_limits)
        self.copy_limits.setShortcut("Ctrl+Shift+L")
        for action in (self.limit_all, self.copy_limits):
            # Outside of this panel the keys keep napari's own shortcuts.
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            self.addAction(action)
        self.estimated = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        keep_place(self.estimated)
        self.estimated.setToolTip(
            "These limits are from what was counted so far. They are set once more when all voxels are counted, unless "
            "you change them."
        )
        another = "Open one more panel, with choices of its own: lock one, and compare."
        self.another = make_button("New panel", another, self._open_another)
        menu = QMenu(self)
        menu.addAction("Plot and tables…", self._ask_export)
        menu.addAction("Copy statistics", self.copy_statistics)
        export = "Save the plot or the counts to a file, or copy the numbers below."
        self.export_menu = make_button("Export", export, menu)
        self.numbers = QTextBrowser()
        self.numbers.setToolTip("The numbers can be selected and copied.")
        self.numbers.setFrameShape(QTextBrowser.Shape.NoFrame)
        self.numbers.setMinimumSize(120, 40)
        self.numbers.setLineWrapMode(QTextBrowser.LineWrapMode.NoWrap)
        plots = QWidget()
        above = QVBoxLayout(plots)
        above.setContentsMargins(0, 0, 0, 0)
        above.addWidget(self.plot, 3)
        above.addWidget(self.strip, 2)
        self._split = QSplitter(Qt.Orientation.Vertical)
        self._split.addWidget(plots)
        self._split.addWidget(self.numbers)
        self._split.setStretchFactor(0, 1)
        self._split.setStretchFactor(1, 0)
        self._split.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        checks = self.zeros, self.log, self.compare, self.lock, self.tile, self.hilo
        layout.addLayout(Flow(self.scope, self.mask, self.along, gaps=GAPS))
        layout.addLayout(Flow(*checks, self.again, self.another, self.export_menu, gaps=GAPS))
        layout.addWidget(self._split, 1)
        percentiles = QLabel("Percentiles"), self.low, self.high
        layout.addLayout(Flow(*percentiles, self.set_limits, self.selected, self.clip, gaps=GAPS))
        layout.addWidget(self.estimated)
        make_scrollable(self)

    def _check(self, text: str, name: str, tooltip: str) -> QCheckBox:
        box = QCheckBox(text, checked=getattr(self.model, name), toolTip=tooltip)
        box.toggled.connect(lambda on: setattr(self.model, name, on))
        return box

    def _percent(self, which: int) -> QDoubleSpinBox:
        box = QDoubleSpinBox(minimum=0, maximum=100, decimals=3, singleStep=0.1, suffix=" %", keyboardTracking=False)
        box.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        name = ("low", "high")[which]
        box.setValue(getattr(self.model, name))
        box.setToolTip(f"The {name} percentile; its line in the plot can be dragged.")
        box.valueChanged.connect(lambda value: self._set_percent(which, value))
        return box

    def _set_percent(self, which: int, value: float) -> None:
        self.model.set_percent(which, value)
        # The model may have limited what was typed.
        self._show_percents()

    def resizeEvent(self, event):
        """Put the numbers beside the plot where there is room, otherwise below it."""
        super().resizeEvent(event)
        wide = self.width() > max(1.3 * self.height(), 400)
        self._split.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)
        self._write_numbers()

    # --- shown and hidden ---

    def showEvent(self, event):
        """Catch up with the viewer."""
        super().showEvent(event)
        if self._of_viewer:
            return
        layers = self._viewer.layers
        self._of_viewer.add(self._list_masks, layers.events.inserted, layers.events.removed)
        self._list_masks()

    def hideEvent(self, event):
        """Stop following the viewer until shown again."""
        super().hideEvent(event)
        self._of_viewer.drop()
        self._of_masks.drop()
        self._write_numbers.cancel()
        self.strip.follow(None)

    def _list_masks(self) -> None:
        self._of_masks.drop()
        with QSignalBlocker(self.mask):
            self.mask.clear()
            self.mask.addItem("All voxels", None)
            for layer in self._viewer.layers:
                if isinstance(layer, napari.layers.Labels):
                    self.mask.addItem(f"Inside {short(layer.name)}", layer)
                    self._of_masks.add(self._list_masks, layer.events.name)
                    if layer == self.model.mask:
                        self.mask.setCurrentIndex(self.mask.count() - 1)
        self.model.mask = self.mask.currentData()

    def _list_axes(self) -> None:
        axes = self.strip.axes_of_layer
        # The strip keeps its axis while layers without it are selected.
        kept = [self.strip.axis] if self.strip.axis is not None and self.strip.axis not in axes else []
        wanted = [("No strip", None), *((f"Strip along {axis}", axis) for axis in (*axes, *kept))]
        shown = [(self.along.itemText(at), self.along.itemData(at)) for at in range(self.along.count())]
        if wanted != shown:
            with QSignalBlocker(self.along):
                self.along.clear()
                for words, axis in wanted:
                    self.along.addItem(words, axis)
                self.along.setCurrentIndex([axis for _, axis in wanted].index(self.strip.axis))

    def _enable(self) -> None:
        content = self.model.content
        self.strip.follow(self.counter.shown)
        self.set_limits.setEnabled(bool(content.curves) and self.model.display is not None)
        shown = len(self._limited) > 1 and bool(content.curves) and self.model.display is not None
        for each in (self.selected, self.limit_all, self.copy_limits):
            each.setEnabled(shown)
        if shown:
            name = short(self._limited[0].name).replace("&", "&&")
            self.copy_limits.setText(f"Copy the limits of “{name}” to the others")
        self.clip.setEnabled(bool(content.curves) and self._clipping is None)
        self.export_menu.setEnabled(bool(content.curves))
        self.compare.setEnabled(content.has_source)
        self.tile.setEnabled(content.has_tiles)
        self.again.setText("Cancel" if self._counting else "Refresh")
        # The button never shrinks, so that its neighbors do not move when its word changes.
        self.again.setMinimumWidth(max(self.again.minimumWidth(), self.again.sizeHint().width()))
        layer = self.counter.shown
        self.hilo.setEnabled(layer is not None and self.model.display is not None)
        with QSignalBlocker(self.hilo):
            self.hilo.setChecked(layer is not None and HiLo.on(layer))

    def _show_percents(self) -> None:
        for box, percent in zip((self.low, self.high), (self.model.low, self.model.high), strict=True):
            with QSignalBlocker(box):
                box.setValue(percent)

    # --- buttons ---

    @property
    def _counting(self) -> bool:
        return self.model.progress is not None or self.strip.counting

    def _count_or_cancel(self) -> None:
        if self._counting:
            self.counter.cancel()
            self.strip.cancel()
        else:
            self.counter.count()
            self.strip.count_again()

    @property
    def _limited(self) -> list[napari.layers.Image]:
        """The layers of the plot that have contrast limits; the first has the lines."""
        return [layer for layer in self.counter.layers if not layer.rgb]

    def _set_limits(self) -> None:
        if self.counter.shown is not None:
            self._ask_limits([self.counter.shown])

    def _limit_all(self) -> None:
        self._ask_limits(self._limited)

    def _ask_limits(self, layers: list[napari.layers.Image]) -> None:
        self._limits.ask(layers, self.model.low, self.model.high)
        self._limit()
        # Exact percentiles of floats need another pass over the voxels.
        self.counter.refine()

    def _limit(self) -> None:
        """Set the limits that were asked for, as far as the percentiles are known."""
        if alike := self._limits.update(self.counter.counted):
            names = ", ".join(f"“{short(layer.name)}”" for layer in alike)
            show_info(SAME if len(self._limited) == 1 else f"{names}: {SAME}")
        self._show_estimated()

    def _copy_limits(self) -> None:
        first, *others = self._limited
        self._limits.forget(others)
        for layer in others:
            layer.contrast_limits = first.contrast_limits
        self._show_estimated()

    def _show_estimated(self) -> None:
        names = [short(layer.name) for layer in self._limited if layer in self._limits.estimated]
        self.estimated.setVisible(bool(names))
        self.estimated.setText(f"Limits estimated: {', '.join(names)}")

    def _clip(self) -> None:
        model = self.model
        mask = None
        if model.scope == "dataset":
            mask = model.mask
            adjustment = core.PercentileClip(model.low, model.high, ignore_zeros=model.ignore_zeros)
        else:
            low, high = model.percentile_lines()
            if not low < high:
                show_info(SAME)
                return
            # The percentiles of the part in view are the range for the whole layer.
            adjustment = core.PercentileClip(0, 100, in_range=(low, high))

        def done(made, seconds):
            self._viewer.layers.selection.active = made[0]

        def ended():
            self._clipping = None
            self._enable()

        try:
            chosen = [(self.counter.shown, adjustment)]
            self._clipping = apply_job(self._viewer, chosen, mask, done=done, ended=ended)
        except (TypeError, ValueError) as error:
            tell(error)
        self._enable()

    def _set_hilo(self, on: bool) -> None:
        if self.counter.shown is not None:
            self._hilo.set(self.counter.shown, on)

    def _open_another(self) -> None:
        window = self._viewer.window
        names = set(window.dock_widgets)
        name = next(name for number in count(2) if (name := f"Histogram & CDF {number}") not in names)
        window.add_dock_widget(HistogramPanel(self._viewer), name=name, area="right")

    def _show_numbers(self) -> None:
        if not self.isVisible():
            return
        # The table has as many columns as fit.
        for columns in (4, 3, 2, 1):
            self.numbers.setHtml(self.model.statistics_html(columns))
            if self.numbers.document().idealWidth() <= self.numbers.viewport().width():
                break
        looks = columns, self._split.orientation(), len(self.model.rows())
        if looks != self._looks:
            # All rows show without scrolling, up to half of the height; afterwards the user may move the divider.
            self._looks = looks
            frame = self.numbers.height() - self.numbers.viewport().height()
            tall, whole = math.ceil(self.numbers.document().size().height()) + frame, sum(self._split.sizes())
            if self._split.orientation() == Qt.Orientation.Vertical:
                tall = min(tall, whole // 2)
                self._split.setSizes([whole - tall, tall])

    # --- export ---

    def _ask_export(self) -> None:
        name = self.model.main.name if self.model.main else "histogram"
        path, chosen = QFileDialog.getSaveFileName(
            self, "Export histogram", f"{name.replace('/', '-')} histogram", f"{PLOT};;{TABLE}"
        )
        if path and not Path(path).suffix:
            path += ".csv" if chosen == TABLE else ".png"
            # The dialog has only asked about the name without its ending.
            asked = f"{Path(path).name} is there already. Replace it?"
            if Path(path).exists() and QMessageBox.question(self, "Export histogram", asked) != YES:
                return
        if path:
            try:
                self.export(path)
            except (OSError, ValueError) as error:
                tell(error)

    def export(self, path) -> None:
        """Save the plot (.png, .svg), or counts and CDF of every curve (.csv).

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        ValueError
            If the name ends otherwise, or there is nothing to export.
        OSError
            If the file cannot be written.
        """
        if self.model.main is None:
            raise ValueError("There is no histogram to export. Select an image layer first.")
        ending = Path(path).suffix.lower()
        if ending in (".png", ".svg"):
            with replacing(path) as unfinished:
                self.view.export(str(unfinished))
        elif ending == ".csv":
            curves = {curve.name: curve.histogram for curve in self.model.content.all_curves}
            with replacing(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
                write_csv(file, curves, self.model.about())
        else:
            raise ValueError(
                f"A histogram is exported as .png, .svg or .csv, not as {ending or 'a file without ending'}."
            )

    def copy_statistics(self) -> None:
        """Put the numbers on the clipboard, tab-separated."""
        QGuiApplication.clipboard().setText(self.model.statistics_text())

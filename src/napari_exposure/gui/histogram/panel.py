"""The dock widget "Histogram & CDF": wires viewer, model and view."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import napari.layers
from napari.utils.notifications import show_error, show_info
from napari.utils.theme import get_theme
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QSplitter,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import qdebounced

from napari_exposure import core
from napari_exposure.core.histogram import write_csv
from napari_exposure.gui.apply import apply_job
from napari_exposure.gui.connections import Connections
from napari_exposure.gui.histogram import survey
from napari_exposure.gui.histogram.model import Content, Display, HistogramModel
from napari_exposure.gui.histogram.view import HistogramView
from napari_exposure.gui.jobs import Job
from napari_exposure.gui.paced import Paced
from napari_exposure.source import Origin

NOTHING = "Select an image layer, or choose File > Open Sample > napari-exposure."


class HistogramPanel(QWidget):
    """Layers > Visualize > Histogram & CDF.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Or its public proxy, as napari passes it.
    """

    def __init__(self, napari_viewer):
        super().__init__()
        self._viewer = napari_viewer
        self.model = HistogramModel()
        self.view = HistogramView(self.model)
        self._of_viewer, self._of_layers, self._of_tile = Connections(), Connections(), Connections()
        self._layers: list[napari.layers.Image] = []
        # the layer that is drawn: for a moment not yet the one that is followed
        self._shown: napari.layers.Image | None = None
        self._targets: list[survey.Target] = []
        self._counting: Job | None = None
        self._refining: Job | None = None
        self._tiling: Job | None = None
        self._clipping: Job | None = None
        self._tile_at: tuple | None = None
        self._sliced: dict = {}
        # adding a layer makes others active for a moment; sliders and brushes send events faster than one can count
        self._follow = qdebounced(self._follow_layers, timeout=1)
        self._recount = qdebounced(self._count, timeout=10)
        self._recount_edited = qdebounced(self._count, timeout=150)
        self._refine = qdebounced(self._find_percentiles, timeout=150)
        self._write_numbers = qdebounced(self._show_numbers, timeout=60)
        self._look_for_tile = Paced(self._find_tile, self)
        self._build()
        events = self.model.events
        events.scope.connect(self._recount)
        events.ignore_zeros.connect(self._recount)
        events.compare.connect(self._recount)
        events.tile_mode.connect(self._on_tile_mode)
        for signal in (events.low, events.high):
            signal.connect(self._refine)
        for signal in (events.content, events.display, events.low, events.high):
            signal.connect(self._write_numbers)
        # the line follows the mouse at once, napari's canvas and the numbers as fast as they can be drawn
        self.view.limit_dragged.connect(Paced(self._drag_limit, self))
        self.view.gamma_dragged.connect(Paced(self._drag_gamma, self))
        self.view.percentile_dragged.connect(Paced(self._drag_percentile, self))

    # --- what it is made of ---

    def _build(self) -> None:
        self.scope = QComboBox()
        for key, words in survey.SCOPES.items():
            self.scope.addItem(words, key)
        self.scope.setToolTip("Which voxels are counted; “plane in view” follows napari's sliders.")
        self.scope.currentIndexChanged.connect(lambda _: setattr(self.model, "scope", self.scope.currentData()))
        self.mask = QComboBox()
        self.mask.setToolTip("Count all voxels, or only those that have a label in a labels layer.")
        self.mask.currentIndexChanged.connect(lambda _: self._recount())
        self.zeros = self._check("ignore zeros", "ignore_zeros", "Leave out voxels that are exactly 0.")
        self.log = self._check("log y", "log", "Logarithmic counts: rare voxels show too.")
        self.compare = self._check(
            "before && after", "compare", "Show a result of this plugin together with the layer it was made from."
        )
        self.tile = self._check(
            "tile under cursor",
            "tile_mode",
            "For a result of adaptive equalization: point at the image to see the histogram of the tile there, the "
            "clip limit, and the function that the tile has.",
        )
        self.lock = QCheckBox("lock", toolTip="Stay on this layer when another one becomes active.")
        self.lock.toggled.connect(self._follow)
        self.again = QPushButton("Recount")
        self.again.setToolTip("Count again, for data that were changed without telling napari; or stop counting.")
        self.again.setFixedWidth(self.again.sizeHint().width() + 12)
        self.again.clicked.connect(lambda: self._count() if self._counting is None else self.cancel())
        self.low, self.high = self._percent(0), self._percent(1)
        self.set_limits = QPushButton("Set contrast limits")
        self.set_limits.setToolTip("Show these two percentiles as black and white; the data stay as they are.")
        self.set_limits.clicked.connect(self._set_limits)
        self.clip = QPushButton("Clip to new layer")
        self.clip.setToolTip("Make a new layer, clipped at these two percentiles and stretched over its data type.")
        self.clip.clicked.connect(self._clip)
        self.export_menu = QPushButton("Export")
        menu = QMenu(self.export_menu)
        menu.addAction("Plot and tables…", self._ask_export)
        menu.addAction("Copy statistics", self.copy_statistics)
        self.export_menu.setMenu(menu)
        self.numbers = QTextBrowser()
        self.numbers.setFrameShape(QTextBrowser.Shape.NoFrame)
        self.numbers.setMinimumSize(120, 40)
        self.numbers.setLineWrapMode(QTextBrowser.LineWrapMode.NoWrap)
        self._split = QSplitter(Qt.Orientation.Vertical)
        self._split.addWidget(self.view)
        self._split.addWidget(self.numbers)
        self._split.setStretchFactor(0, 2)
        self._split.setStretchFactor(1, 1)
        self._split.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(_row(self.scope, self.mask, stretch=(1, 1)))
        layout.addLayout(_row(self.zeros, self.log, self.compare, None, self.lock))
        layout.addLayout(_row(self.tile, None, self.again, self.export_menu))
        layout.addWidget(self._split, 1)
        layout.addLayout(_row(QLabel("percentiles"), self.low, self.high, stretch=(0, 1, 1)))
        layout.addLayout(_row(self.set_limits, self.clip, stretch=(1, 1)))

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

    def resizeEvent(self, event):
        """Numbers beside the plot where there is room, else below."""
        super().resizeEvent(event)
        wide = self.width() > 1.3 * self.height()
        self._split.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)
        self._write_numbers()

    # --- shown and hidden ---

    def showEvent(self, event):
        """Catch up with the viewer."""
        super().showEvent(event)
        if self._of_viewer:
            return
        viewer, add = self._viewer, self._of_viewer.add
        add(self._follow, viewer.layers.selection.events.changed, viewer.layers.selection.events.active)
        add(self._on_removed, viewer.layers.events.removed)
        add(self._list_masks, viewer.layers.events.inserted, viewer.layers.events.removed)
        add(self._on_dims, viewer.dims.events.point, viewer.dims.events.order, viewer.dims.events.ndisplay)
        add(self._paint, viewer.events.theme)
        self._paint()
        self._list_masks()
        self._follow_layers()
        self._on_tile_mode()

    def hideEvent(self, event):
        """Do nothing until shown again."""
        super().hideEvent(event)
        self._of_viewer.drop()
        self._of_layers.drop()
        self._of_tile.drop()
        for waiting in (self._follow, self._recount, self._recount_edited, self._refine, self._write_numbers):
            waiting.cancel()
        self._look_for_tile.cancel()
        self.cancel()
        self._layers, self._targets, self._sliced, self._shown = [], [], {}, None

    def _paint(self) -> None:
        theme = get_theme(self._viewer.theme)
        self.view.set_colours(theme.background.as_hex(), theme.text.as_hex())

    # --- which layers ---

    def _list_masks(self) -> None:
        chosen = self.mask.currentData()
        with QSignalBlocker(self.mask):
            self.mask.clear()
            self.mask.addItem("all voxels", None)
            for layer in self._viewer.layers:
                if isinstance(layer, napari.layers.Labels):
                    self.mask.addItem(f"inside {layer.name}", layer)
            places = [self.mask.itemData(i) for i in range(self.mask.count())]
            self.mask.setCurrentIndex(next((i for i, layer in enumerate(places) if layer == chosen), 0))
        if self.mask.currentData() != chosen:
            self._recount()

    def _follow_layers(self) -> None:
        """Turn to the active layer, with the other images that are selected."""
        images = [layer for layer in self._viewer.layers if isinstance(layer, napari.layers.Image)]
        kept = [layer for layer in self._layers if layer in images]
        selection = self._viewer.layers.selection
        chosen = [layer for layer in images if layer in selection]
        chosen.sort(key=lambda layer: layer != selection.active)
        if (self.lock.isChecked() and kept) or not chosen:
            # a labels layer that is painted on does not turn the panel away from the image
            chosen = kept or images[-1:]
        if chosen != self._layers or not chosen:
            self._layers = chosen
            self._count()

    def _watch(self, layers: list, mask=None) -> None:
        """Hear of what changes in these layers, and in no others."""
        self._of_layers.drop()
        self._sliced = {}
        for layer in layers:
            events = layer.events
            self._of_layers.add(self._on_data, events.data)
            self._of_layers.add(self._on_set_data, events.set_data)
            self._of_layers.add(self._on_look, events.name, events.colormap, events.contrast_limits, events.gamma)
        if mask is not None:
            self._of_layers.add(self._recount_edited, mask.events.data, mask.events.labels_update)
            self._of_layers.add(self._on_set_data, mask.events.set_data)

    def _on_removed(self, event) -> None:
        if event.value in self._layers:
            self.cancel()
            self._targets = []
            self._follow()
        elif self.model.content.before is not None:
            self._recount()

    # --- what changes ---

    def _on_data(self, event) -> None:
        self._recount()

    def _on_set_data(self, event) -> None:
        """Sliced anew though no slider was moved: the data were edited."""
        layer, dims, now = event.source, self._viewer.dims, time.monotonic()
        if layer.multiscale:
            # napari slices these anew when the camera moves
            return
        place = dims.point, dims.order, dims.ndisplay
        before, since = self._sliced.get(layer, (place, 0.0))
        if before != place:
            self._sliced[layer] = place, now
        elif survey.in_memory(layer.data) or now - since > 0.1:
            # turning to 3D slices twice: no reason to read a large volume again
            self._recount_edited()

    def _on_dims(self, event) -> None:
        scope = self.model.scope
        if scope == "plane" or (scope == "volume" and any(layer.ndim > 3 for layer in self._layers)):
            self._recount()

    def _on_look(self, event) -> None:
        if not self._layers:
            return
        if event.type in ("contrast_limits", "gamma"):
            if event.source == self._shown:
                self.model.display = Display.of(self._shown)
            return
        if self._shown in self._layers:
            self.model.display = Display.of(self._shown)
        content = self.model.content
        if len(content.curves) == len(self._layers):
            pairs = zip(content.curves, self._layers, strict=True)
            curves = tuple(replace(c, name=layer.name, colour=survey.layer_colour(layer)) for c, layer in pairs)
            self.model.content = replace(content, curves=curves)

    # --- counting ---

    @property
    def running(self) -> bool:
        """Whether anything is being counted."""
        return any(job is not None for job in (self._counting, self._refining, self._tiling))

    @property
    def histogram(self) -> core.Histogram | None:
        """What the plot shows of the first layer."""
        return None if self.model.main is None else self.model.main.histogram

    def cancel(self) -> None:
        """Stop counting; what is known so far stays."""
        for job in (self._counting, self._refining, self._tiling):
            if job is not None:
                job.cancel()
        self._counting = self._refining = self._tiling = None
        self._show_progress(None)

    def _show_progress(self, fraction: float | None) -> None:
        self.model.progress = fraction
        self.again.setText("Recount" if fraction is None else "Cancel")

    def _count(self) -> None:
        """Begin to count what is to be shown; an older run is stopped."""
        self.cancel()
        if not self.isVisible():
            return
        layers = self._layers
        self.set_limits.setEnabled(bool(layers))
        self.clip.setEnabled(bool(layers))
        if not layers:
            self._watch([])
            self._targets = []
            self.model.display = None
            self.model.content = Content(message=NOTHING)
            return
        main = layers[0]
        origin = Origin.of(main) if len(layers) == 1 and not main.rgb else None
        source = self._source_of(origin)
        compared = source is not None and self.model.compare
        self.tile.setEnabled(source is not None and survey.tiles_fit(origin) is not None)
        self.compare.setEnabled(source is not None)
        mask = self.mask.currentData()
        self._watch([*layers, source] if compared else layers, mask)
        try:
            self._targets = [
                target
                for layer in (*layers, *([source] if compared else []))
                for target in survey.targets(layer, self._viewer.dims, self.model.scope, mask, self.model.ignore_zeros)
            ]
        except (TypeError, ValueError) as error:
            self._targets = []
            self.model.display = None
            self.model.content = Content(message=str(error))
            return
        kind = "grey level" if main.dtype.kind in "iu" else "intensity"
        unit = f"{kind}, {main.dtype}"

        def show(curves, complete):
            before = curves[-1] if compared and len(curves) == len(self._targets) else None
            shown = curves[:-1] if before is not None else curves
            empty = all(not curve.histogram.counts.any() for curve in shown)
            message = f"There is no finite voxel to count ({shown[0].coverage})." if complete and empty else ""
            transform = None if before is None else origin.transform
            self._shown = main
            self.model.display = Display.of(main)
            self.model.content = Content(tuple(shown), before, transform, unit, message, complete)

        def done(curves, seconds):
            show(curves, True)

        def step(step):
            if step.partial:
                show(step.partial, False)
            self._show_progress(step.fraction)

        wanted = (self.model.low, 50.0, self.model.high)
        self._counting = self._start("_counting", survey.survey_steps(self._targets, wanted), done, step)

    def _start(self, name: str, steps, done, step=lambda step: None) -> Job:
        """A job that is in the attribute `name` as long as it runs and is the last one there."""

        def current():
            return getattr(self, name) is job

        def ended():
            if current():
                setattr(self, name, None)
                if name == "_counting":
                    self._show_progress(None)

        job = Job(
            steps,
            done=lambda result, seconds: done(result, seconds) if current() else None,
            ended=ended,
            step=lambda found: step(found) if current() else None,
        )
        return job

    def _source_of(self, origin: Origin | None):
        """The layer that a result was made from, if it is still in the viewer."""
        source = None if origin is None else origin.source()
        return source if source is not None and source in self._viewer.layers else None

    def _find_percentiles(self) -> None:
        """Exact percentiles of floats need the voxels again."""
        main, wanted = self.model.main, (self.model.low, 50.0, self.model.high)
        if main is None or not self._targets or self._counting is not None or all(map(main.knows, wanted)):
            return
        if self._refining is not None:
            self._refining.cancel()

        def done(quantiles, seconds):
            self.model.content = self.model.known(quantiles)

        self._refining = self._start("_refining", survey.quantile_steps(self._targets[0].volume, main, wanted), done)

    # --- the tile under the cursor ---

    def _on_tile_mode(self) -> None:
        self._of_tile.drop()
        if self.model.tile_mode and self.isVisible():
            self._of_tile.add(self._look_for_tile, self._viewer.cursor.events.position)
        elif not self.model.tile_mode:
            self._tile_at = None
            self.model.tile = None

    def _find_tile(self, event=None) -> None:
        if not (self._layers and self.model.tile_mode and self.isVisible()):
            return
        layer = self._layers[0]
        origin = Origin.of(layer)
        source = self._source_of(origin)
        fit = survey.tiles_fit(origin)
        voxel = None if source is None or fit is None else survey.voxel_under(layer, self._viewer)
        if voxel is None:
            self._tile_at = None
            self.model.tile = None
            return
        lead = voxel[: len(voxel) - origin.transform.spatial] if () not in origin.transform.fits else ()
        at = (layer, lead, survey.tile_of(fit, voxel))
        if at == self._tile_at:
            return
        self._tile_at = at
        if self._tiling is not None:
            self._tiling.cancel()

        def done(tile, seconds):
            self.model.tile = tile

        self._tiling = self._start("_tiling", survey.tile_steps(source, origin, voxel), done)

    # --- what the mouse does in the plot ---

    def _drag_limit(self, which: int, value: float) -> None:
        if self._shown in self._layers and self.model.display is not None:
            self._shown.contrast_limits = self.model.display.moved(which, value)

    def _drag_gamma(self, gamma: float) -> None:
        if self._shown in self._layers:
            self._shown.gamma = gamma

    def _drag_percentile(self, which: int, value: float) -> None:
        if self.model.main is not None:
            (self.low, self.high)[which].setValue(self.model.percent_at(value))

    def _set_percent(self, which: int, value: float) -> None:
        least = 10 ** -self.low.decimals()
        if which == 0:
            self.model.low = value
            self.high.setMinimum(value + least)
        else:
            self.model.high = value
            self.low.setMaximum(value - least)

    # --- buttons ---

    def _set_limits(self) -> None:
        low, high = self.model.percentile_lines()
        if low < high and self._shown in self._layers:
            self._shown.contrast_limits = low, high
        else:
            show_info("The two percentiles have the same intensity. Choose others, or count less (ignore zeros).")

    def _clip(self) -> None:
        if self._clipping is not None or not self._layers:
            return
        layer = self._layers[0]
        adjustment = core.PercentileClip(self.model.low, self.model.high, ignore_zeros=self.model.ignore_zeros)

        def done(new, seconds):
            self._viewer.layers.selection.active = new

        def ended():
            self._clipping = None
            self.clip.setEnabled(bool(self._layers))

        try:
            self._clipping = apply_job(self._viewer, layer, adjustment, self.mask.currentData(), done=done, ended=ended)
            self.clip.setEnabled(False)
        except (TypeError, ValueError) as error:
            show_error(str(error))

    def _show_numbers(self) -> None:
        if self.isVisible():
            self.numbers.setHtml(self.model.statistics_html(max(1, self.numbers.width() // 180)))

    # --- export ---

    def _ask_export(self) -> None:
        name = self.model.main.name if self.model.main else "histogram"
        path, _ = QFileDialog.getSaveFileName(
            self, "Export histogram", f"{name} histogram.png", "Plot (*.png *.svg);;Counts and CDF (*.csv)"
        )
        if path:
            self.export(path)

    def export(self, path) -> None:
        """Save the plot (.png, .svg), or counts and CDF of every curve (.csv).

        Parameters
        ----------
        path : str or Path

        Raises
        ------
        ValueError
            If the name ends otherwise.
        """
        ending = Path(path).suffix.lower()
        if ending in (".png", ".svg"):
            self.view.export(str(path))
        elif ending == ".csv":
            curves = {curve.name: curve.histogram for curve in self.model.content.all_curves}
            with open(path, "w", newline="", encoding="utf-8") as file:
                write_csv(file, curves, self.model.about())
        else:
            raise ValueError(
                f"A histogram is exported as .png, .svg or .csv, not as {ending or 'a file without ending'}."
            )

    def copy_statistics(self) -> None:
        """Put the numbers on the clipboard, tab-separated."""
        QGuiApplication.clipboard().setText(self.model.statistics_text())


def _row(*items, stretch=()) -> QHBoxLayout:
    """Widgets beside each other; None is a gap."""
    row = QHBoxLayout()
    for number, item in enumerate(items):
        if item is None:
            row.addStretch(1)
        else:
            row.addWidget(item, stretch[number] if stretch else 0)
    return row

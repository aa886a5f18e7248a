"""The top of the Exposure dock: which layers, how large a voxel is, and where intensities are measured."""

from __future__ import annotations

import html
from collections.abc import Callable

import napari.layers
import numpy as np
from magicgui import widgets
from napari.utils.notifications import show_info
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QTextDocumentFragment
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_exposure.core.words import as_tooltip
from napari_exposure.gui.apply import FIRST
from napari_exposure.gui.editors import Choice, warn
from napari_exposure.gui.exposure.rows import Form
from napari_exposure.gui.histogram.survey import short
from napari_exposure.gui.preview import is_preview
from napari_exposure.gui.scrolled import LEAST
from napari_exposure.gui.voxel_size import VoxelSizeEdit, file_of, from_file
from napari_exposure.gui.words import tell
from napari_exposure.io.units import PIXEL
from napari_exposure.source import Source

# The keys are values of `fit_on` in `apply_job`, which fits several selected layers; "" stands for None.
FITS = {
    "": "each alone: every channel at its best, and its brightness says nothing beside another one",
    FIRST: "all like {first}: what is brighter stays brighter",
    "all": "curve of all voxels: one for all, from the voxels of each",
    "sum": "curve of their sum: one for all, from the sum of the channels, voxel by voxel",
    "max": "curve of the brightest: one for all, from the brightest channel of each voxel",
}


# Narrow, so that three sizes have room on one line; where they have not, it breaks behind the sign only.
TIMES = "\N{NARROW NO-BREAK SPACE}×\N{THIN SPACE}"


class MaskBox(widgets.ComboBox):
    """Chooses a labels layer, or none."""

    null_string = "all voxels"


class VoxelLine(QLabel):
    """A line that goes below its label where it has no room beside it, and breaks where that is not enough either."""

    def __init__(self, clicked: Callable[[], None]):
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        self.linkActivated.connect(lambda link: clicked())

    def minimumSizeHint(self) -> QSize:
        """Qt's hook: as wide as one line, but not too wide for a dock."""
        words = QTextDocumentFragment.fromHtml(self.text()).toPlainText()
        wide = self.fontMetrics().horizontalAdvance(words) + 4
        return QSize(min(wide, LEAST.width() - 60), super().minimumSizeHint().height())


class Header(QWidget):
    """Chooses the layer that is adjusted, and shows what is known of it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    picked : callable
        Called with the layer whose chip was clicked.
    """

    def __init__(self, viewer, picked: Callable):
        super().__init__()
        self._viewer, self._picked = viewer, picked
        self.layer = widgets.ComboBox(name="layer", choices=lambda _: self.images(), tooltip="The image to adjust.")
        self.fit = Choice(
            FITS,
            tooltip="How several selected layers are adjusted. Where all have one curve, channels keep their ratios "
            "where it is a line through zero.",
        )
        self.voxel = VoxelSizeEdit(viewer, name="voxel")
        self.facts = VoxelLine(self._take_voxel_size)
        self.mask = MaskBox(
            name="mask",
            choices=lambda _: self._labels(),
            nullable=True,
            tooltip="Only voxels that have a label in this layer are measured. All are adjusted.",
        )
        for box in (self.layer, self.mask):
            # Names of layers may be long, so the box has room for part of them, and for all of "all voxels".
            box.native.setStyleSheet("min-width: 9em")
        # Each layer has a chip where several are selected.
        self.chips: dict[object, QPushButton] = {}
        self._group = QButtonGroup(self)
        self._several = QWidget()
        self._column = QVBoxLayout(self._several)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addWidget(self.fit.native)
        self.pencil = QToolButton()
        self.pencil.setText("✎")
        self.pencil.setCheckable(True)
        self.pencil.setAutoRaise(True)
        self.pencil.setToolTip("Type the size of a voxel.")
        self.pencil.toggled.connect(lambda on: setattr(self.voxel, "visible", on))
        line = QWidget()
        row = QHBoxLayout(line)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.facts, 1)
        row.addWidget(self.pencil, 0, Qt.AlignmentFlag.AlignTop)
        form = Form(self)
        form.add("Layer", self.layer.native, "The image to adjust.")
        form.add(
            "Layers",
            self._several,
            "The selected layers, each with a live layer. The histogram is that of the one that is pressed.",
        )
        form.add("Voxel size", line, "The size of a voxel along z, y and x.")
        form.addRow(self.voxel.native)
        form.add("Measure inside", self.mask.native, str(self.mask.tooltip))
        self._form = form
        self.voxel.visible = False
        self.show_layers([])

    # --- layers ---

    @property
    def fit_on(self) -> str | None:
        """The value of `fit_on` that `apply_job` takes for several layers."""
        return self.fit.value or None

    def choose_mask(self, name: str | None) -> None:
        """Measure inside the labels layer of this name, if there is one."""
        with self.mask.changed.blocked():
            self.mask.value = next((layer for layer in self._labels() if layer.name == name), None)

    def images(self) -> list:
        """The image layers that can be adjusted."""
        images = (layer for layer in self._viewer.layers if isinstance(layer, napari.layers.Image))
        return [layer for layer in images if not is_preview(layer)]

    def _labels(self) -> list:
        return [layer for layer in self._viewer.layers if isinstance(layer, napari.layers.Labels)]

    def reset_choices(self) -> None:
        """List the layers anew."""
        self.layer.reset_choices()
        self.mask.reset_choices()

    def show_layers(self, layers: list) -> None:
        """Show several layers as chips, of which the first is pressed, and a single layer in the box."""
        several = len(layers) > 1
        if layers:
            with self.layer.changed.blocked():
                if layers[0] not in self.layer.choices:
                    self.layer.reset_choices()
                if layers[0] in self.layer.choices:
                    self.layer.value = layers[0]
        self._form.setRowVisible(0, not several)
        self._form.setRowVisible(1, several)
        for chip in self.chips.values():
            self._group.removeButton(chip)
            self._column.removeWidget(chip)
            chip.deleteLater()
        self.chips = {}
        for layer in layers if several else []:
            chip = self.chips[layer] = QPushButton(short(layer.name, 20).replace("&", "&&"))
            chip.setCheckable(True)
            chip.setChecked(layer == layers[0])
            chip.setToolTip(as_tooltip(f"Show histogram and comparison of {layer.name}; it is the first then."))
            chip.clicked.connect(lambda _, layer=layer: self._picked(layer))
            self._group.addButton(chip)
            self._column.insertWidget(len(self.chips) - 1, chip)
        if several:
            at, like = list(FITS).index(FIRST), FITS[FIRST].format(first=short(layers[0].name, 16))
            self.fit.native.setItemText(at, like.rpartition(":")[0])
            self.fit.native.setItemData(at, like, Qt.ItemDataRole.ToolTipRole)

    # --- what is known of the layer ---

    def describe(self, source: Source | None) -> None:
        """Show shape, dtype and voxel size of a layer."""
        layer = None if source is None else source.layer()
        self.voxel.show(layer)
        self.pencil.setEnabled(layer is not None)
        if layer is None:
            self.facts.setText("")
            return
        # Users need not know the byte order, so they read uint16 and not >u2.
        dtype = np.dtype(source.array.dtype).newbyteorder("=")
        self.layer.tooltip = f"{' × '.join(map(str, source.shape))} {'RGB ' if source.rgb else ''}{dtype}"
        sizes = source.spacing[-min(3, len(source.shape)) :]
        # An axis of another kind, such as time, has no size; a "?" asks for a size that nobody has given.
        unsaid = ["?" if unit == "pixel" else "–" for unit in layer.units[-len(sizes) :]]
        said = [f"{size:.4g}" if size == size else other for size, other in zip(sizes, unsaid, strict=True)]
        unknown = source.unit == PIXEL and set(sizes) == {1.0}
        if path := file_of(layer):
            link = f"<a href='file' style='color:#4a90d9'>take it from {html.escape(short(path.name, 24))}</a>"
            self.facts.setText(f"not known: {link}")
        elif unknown and len(source.shape) > 2:
            self.facts.setText(warn("not known: type it"))
        else:
            # Lines may break between axes only.
            self.facts.setText(html.escape(f"{TIMES.join(said)}\N{NO-BREAK SPACE}{source.unit}"))

    def _take_voxel_size(self) -> None:
        try:
            show_info(from_file(self._viewer, self.layer.value))
        except (OSError, ValueError, ImportError) as error:
            tell(error)

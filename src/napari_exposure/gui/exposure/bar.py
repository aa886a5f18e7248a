"""The bottom of the Exposure dock, always in sight: the state, the comparison, and what can be done with a result."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtGui import QAction, QActionGroup
from qtpy.QtWidgets import QCheckBox, QMenu, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_exposure.core.progress import Step
from napari_exposure.core.words import as_tooltip
from napari_exposure.gui.exposure.rows import Elided
from napari_exposure.gui.flow import Flow, keep_place, make_button
from napari_exposure.gui.viewer.compare import KEY, Comparison, SideBySide
from napari_exposure.gui.viewer.split_line import SplitLine

# The menu lists these ways to see source and result together.
WAYS: dict[str, type[Comparison]] = {"Side by side": SideBySide, "Split line": SplitLine}


# The state has room for this many letters: two lines with the usual font, and more with a larger one.
STATE = 70


class Bar(QWidget):
    """State, comparison, and the buttons.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    recipe : QPushButton
        The button that lists what can be done with a recipe.
    compared : callable
        Called when another way to compare is chosen.
    """

    def __init__(self, viewer, recipe: QPushButton, compared: Callable):
        super().__init__()
        self._compared = {name: way(viewer) for name, way in WAYS.items()}
        self.state = Elided(letters=STATE)
        self.progress = QProgressBar(textVisible=False)
        self.progress.setFixedHeight(5)
        keep_place(self.progress)
        self.live = QCheckBox("Live preview")
        self.live.setToolTip("Show what Apply would give while you turn the knobs, on a layer above the source.")
        menu = QMenu(self)
        how = f"See source and result together. Or hold {KEY.upper()} to see the source alone."
        self.compare = make_button("Compare", how, menu)
        group = QActionGroup(menu)
        # At most one way is checked.
        group.setExclusionPolicy(QActionGroup.ExclusionPolicy.ExclusiveOptional)
        self.ways: dict[str, QAction] = {}
        for way in WAYS:
            action = self.ways[way] = menu.addAction(way)
            action.setCheckable(True)
            group.addAction(action)
        menu.addSeparator()
        self.linked = menu.addAction("Same contrast")
        self.linked.setCheckable(True)
        self.linked.setToolTip("Show both with the contrast limits of the source; those of both change together.")
        self.gains = menu.addAction("Gain map")
        self.gains.setCheckable(True)
        self.gains.setToolTip(
            "What was amplified: a layer of how many times as steep as a plain stretch all cards together are. Voxels "
            "that became black are blue, those that became white red."
        )
        menu.setToolTipsVisible(True)
        for action in (*self.ways.values(), self.linked):
            action.toggled.connect(lambda _: compared())
        self.save = make_button("Save …", "Write what you see to disk as OME-Zarr (.zarr) or OME-TIFF (.ome.tif).")
        self.recipe = recipe
        self.apply = make_button("Apply", "")
        self.anew = make_button("Apply as new", "Make another layer, and leave the one that was made before as it is.")
        self.cancel = make_button("Cancel", "Stop what is being computed or saved; nothing is left of it.")
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 2, 4, 4)
        column.setSpacing(3)
        column.addWidget(self.state)
        column.addWidget(self.progress)
        column.addLayout(Flow(self.live, self.compare, self.cancel))
        column.addLayout(Flow(self.apply, self.anew, self.save, self.recipe))
        self.show_running(False)
        self.show_target(None)

    def show_compared(self, source, result) -> None:
        """Compare two layers as the menu says; where one is None there is nothing to compare."""
        there = source is not None and result is not None
        self.compare.setEnabled(there)
        # Contrast limits of integers say nothing about floats.
        alike = there and not source.rgb and source.dtype.newbyteorder("=") == result.dtype
        self.linked.setEnabled(alike)
        for way, action in self.ways.items():
            if there and action.isChecked():
                self._compared[way].start(source, result, linked=alike and self.linked.isChecked())
            else:
                self._compared[way].stop()

    def stop_comparing(self) -> None:
        """Show the layers as they were."""
        for comparison in self._compared.values():
            comparison.stop()

    def show_target(self, name: str | None) -> None:
        """Say what Apply does: make a layer, or compute one anew."""
        self.apply.setText("Apply" if name is None else "Update")
        self.apply.setToolTip(
            "Compute the result and keep it as a layer; the source stays as it is."
            if name is None
            else as_tooltip(f"Compute “{name}” anew, in its place.")
        )

    def show_running(self, running: bool) -> None:
        """Show whether there is something to cancel."""
        self.cancel.setEnabled(running)
        self.progress.setValue(0)
        self.progress.setVisible(running)

    def step(self, what: str, step: Step) -> None:
        """Show how far a job is."""
        self.progress.setValue(int(100 * step.fraction))
        self.state.say(f"{what}: {step.what} {step.fraction:.0%}")

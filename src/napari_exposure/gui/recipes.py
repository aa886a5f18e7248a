"""A button with what can be done with the recipe of a result: copy as Python, save, apply to other layers, history."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import napari.layers
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QMenu, QMessageBox, QPushButton, QWidget

from napari_exposure.core import progress
from napari_exposure.gui.compare import show_source_on_key
from napari_exposure.gui.preview import is_preview
from napari_exposure.gui.stack import place
from napari_exposure.provenance import as_python, provenance
from napari_exposure.recipe import Recipe
from napari_exposure.source import Origin, Source

FILES = "Recipe (*.json)"


class RecipeButton(QPushButton):
    """What to do with the recipe of a layer.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    result : callable
        The layer in question, or None.
    begun : callable
        Called with work that makes layers, what it is called, and what is done with them.
    parent : QWidget, optional
    """

    def __init__(
        self, viewer, result: Callable, begun: Callable[[Callable, str, Callable], None], parent: QWidget | None = None
    ):
        super().__init__(parent)
        self._viewer, self._result, self._begun = viewer, result, begun
        self.setText("Recipe")
        self.setToolTip("The steps that made a result: as Python, as a file, on other layers.")
        menu = QMenu(self)
        self._of_result = [
            menu.addAction("Copy as Python", self.copy),
            menu.addAction("Save recipe …", self._choose_target),
            menu.addAction("History", self._show_history),
        ]
        menu.addSeparator()
        self._apply = menu.addAction("Apply recipe …", self._choose_recipe)
        menu.aboutToShow.connect(self._update)
        self.setMenu(menu)

    def _update(self) -> None:
        for action in self._of_result:
            action.setEnabled(self._result() is not None)
        self._apply.setEnabled(bool(self._selected()))

    def _selected(self) -> list:
        """The image layers that are selected, in the order of the list; a live preview stands for its source."""
        chosen = [layer for layer in self._viewer.layers if layer in self._viewer.layers.selection]
        images = [layer for layer in chosen if isinstance(layer, napari.layers.Image)]
        return list(dict.fromkeys(Origin.of(layer).source() if is_preview(layer) else layer for layer in images))

    def copy(self) -> None:
        """Put the lines that make the result again on the clipboard."""
        with self._telling():
            QApplication.clipboard().setText(as_python(self._result()))
            show_info(f"The lines that make “{self._result().name}” are on the clipboard: paste them into the console.")

    def _show_history(self) -> None:
        words = io.StringIO()
        with self._telling():
            with contextlib.redirect_stdout(words):
                provenance(self._result())
            box = QMessageBox(QMessageBox.Icon.NoIcon, "History", words.getvalue(), parent=self)
            # Names are text, whatever they look like.
            box.setTextFormat(Qt.TextFormat.PlainText)
            box.open()

    def _choose_target(self) -> None:
        name = f"{self._result().name.replace('/', '-')}.json"
        path, _ = QFileDialog.getSaveFileName(self, "Save recipe", name, FILES)
        if path:
            self.save(path)

    def save(self, path) -> None:
        """Write the recipe of the result to a file."""
        with self._telling():
            show_info(f"Saved as {Recipe.of(self._result()).save(path).name}.")

    def _choose_recipe(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Apply recipe to the selected layers", "", FILES)
        if path:
            self.apply(path)

    def apply(self, path) -> None:
        """Apply the recipe in a file to the selected layers, each of which gets a result above it."""
        layers = self._selected()
        with self._telling():
            recipe = Recipe.load(path)
            layers = [layer for layer in layers if self._fits(recipe, layer)]
            if not layers:
                return

            def work():
                made = []
                for number, layer in enumerate(layers):
                    try:
                        with progress.part(number / len(layers), (number + 1) / len(layers)):
                            made.append(recipe.apply(layer))
                    except (TypeError, ValueError) as error:
                        # of a later step; the other layers get their results
                        made.append(f"{layer.name}: {error}")
                return made

            def done(made, seconds):
                for layer, new in zip(layers, made, strict=True):
                    if isinstance(new, str):
                        show_error(new)
                    elif layer in self._viewer.layers:
                        place(self._viewer, new, layer)
                        show_source_on_key(self._viewer, new, layer)

            self._begun(work, f"Recipe {Path(path).name}", done)

    def _fits(self, recipe: Recipe, layer) -> bool:
        """Whether a recipe can be applied to a layer; why not is told, and the other layers get their results."""
        try:
            Source.of(layer).in_unit_of(recipe).check(recipe)
        except (TypeError, ValueError) as error:
            show_error(str(error))
            return False
        return True

    @contextlib.contextmanager
    def _telling(self):
        """What the user can mend is a sentence, not a traceback."""
        try:
            yield
        except (OSError, TypeError, ValueError) as error:
            show_error(str(error))

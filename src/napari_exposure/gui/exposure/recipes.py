"""The button *Recipe*: what made the result, as Python, as words, as a file, and for other layers."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog, QMenu, QMessageBox, QPushButton, QWidget

from napari_exposure.gui.words import tell
from napari_exposure.provenance import as_python, methods, provenance
from napari_exposure.recipe import Recipe

FILES = "Recipe (*.json)"


class RecipeButton(QPushButton):
    """Lists what can be done with a recipe.

    Parameters
    ----------
    result : callable
        Returns what is looked at, with the name and metadata of a result, or None.
    opened : callable or None
        Called with a recipe whose cards are to be shown; None where there is no room for them.
    apply : callable
        Called with a recipe for the selected layers, and its name.
    parent : QWidget, optional
    """

    def __init__(
        self,
        result: Callable,
        opened: Callable | None,
        apply: Callable[[Recipe, str], None],
        parent: QWidget | None = None,
    ):
        super().__init__("Recipe", parent)
        self._result, self._opened, self._apply = result, opened, apply
        self.setToolTip("The steps that make the result: as Python, in words, as a file, on other layers.")
        menu = QMenu(self)
        self._of_result = [
            menu.addAction("Copy as Python", self.copy),
            menu.addAction("Copy methods sentence", self.copy_methods),
            menu.addAction("Save recipe …", self._choose_target),
            menu.addAction("History", self._show_history),
        ]
        menu.addSeparator()
        if opened is not None:
            menu.addAction("Open recipe …", lambda: self._choose("Open recipe", self.open))
        menu.addAction("Apply recipe …", lambda: self._choose("Apply recipe to the selected layers", self.apply))
        menu.aboutToShow.connect(self._update)
        self.setMenu(menu)

    def _update(self) -> None:
        there = self._result() is not None
        for action in self._of_result:
            action.setEnabled(there)

    def copy(self) -> None:
        """Put the lines that make the result again on the clipboard."""
        self._copy(as_python, "The lines that make “{}” are on the clipboard: paste them into the console.")

    def copy_methods(self) -> None:
        """Put a sentence for the methods of a paper on the clipboard."""
        self._copy(methods, "A sentence on how “{}” was made is on the clipboard.")

    def _copy(self, words: Callable, said: str) -> None:
        with telling():
            result = self._result()
            QApplication.clipboard().setText(words(result))
            show_info(said.format(result.name))

    def _show_history(self) -> None:
        words = io.StringIO()
        with telling():
            with contextlib.redirect_stdout(words):
                provenance(self._result())
            box = QMessageBox(QMessageBox.Icon.NoIcon, "History", words.getvalue(), parent=self)
            # Names of layers must not be read as HTML.
            box.setTextFormat(Qt.TextFormat.PlainText)
            box.open()

    def _choose_target(self) -> None:
        name = f"{self._result().name.replace('/', '-')}.json"
        path, _ = QFileDialog.getSaveFileName(self, "Save recipe", name, FILES)
        if path:
            self.save(path)

    def save(self, path) -> None:
        """Write the recipe of the result to a file."""
        with telling():
            show_info(f"Saved as {Recipe.of(self._result()).save(path).name}.")

    def _choose(self, title: str, do: Callable) -> None:
        path, _ = QFileDialog.getOpenFileName(self, title, "", FILES)
        if path:
            do(path)

    def open(self, path) -> None:
        """Show the cards of the recipe in a file."""
        with telling():
            recipe = Recipe.load(path)
            if self._opened is not None:
                self._opened(recipe)

    def apply(self, path) -> None:
        """Apply the recipe in a file to the selected layers, each of which gets a result above it."""
        with telling():
            self._apply(Recipe.load(path), Path(path).name)


@contextlib.contextmanager
def telling():
    """Show an error that the user can mend as its sentence, without a traceback."""
    try:
        yield
    except (OSError, TypeError, ValueError) as error:
        tell(error)

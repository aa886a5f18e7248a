"""Chooses the histogram that a layer is to have: that of another layer, counted in a worker, or one of a file."""

from __future__ import annotations

import html
import math
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path

import napari.layers
from magicgui import widgets
from qtpy.QtWidgets import QFileDialog

from napari_exposure.core import Histogram
from napari_exposure.core.match import POINTS
from napari_exposure.gui.jobs import Latest
from napari_exposure.gui.parts import Parts
from napari_exposure.gui.viewer.edits import Edits
from napari_exposure.gui.words import tell
from napari_exposure.source import Source


class ReferenceEdit(Parts):
    """A layer or a file, and what was counted in it; or a time point of the image itself.

    ``value`` is a Histogram or the word of a time point, or None as long as there is none; ``changed`` tells of
    another one.  `follow` says where layers come from.
    """

    def __init__(self, tooltip="", **options):
        self._layers: Callable = list
        self._how: Callable = dict
        self._files: dict[str, Histogram] = {}
        # Each layer has how it was counted, and the histogram that was found.
        self._counted: weakref.WeakKeyDictionary[napari.layers.Image, tuple] = weakref.WeakKeyDictionary()
        self._job = Latest()
        self._asked: tuple = ()
        self._edits: Edits | None = None
        self._choice = widgets.ComboBox(
            name="choice", choices=lambda _: self._choices(), nullable=True, tooltip=tooltip
        )
        self._choice.native.setStyleSheet("min-width: 9em")
        self._file = widgets.PushButton(text="File …", tooltip="Load a histogram that Histogram.save has written.")
        self._facts = widgets.Label(value="")
        self._facts.native.setWordWrap(True)
        # This connects before the container does, so that `value` is right when the container emits `changed`.
        self._choice.changed.connect(self.refresh)
        self._file.changed.connect(self._choose_file)
        row = Parts(self._facts, self._file, layout="horizontal")
        super().__init__(self._choice, row, tooltip=tooltip, **options)

    def follow(self, viewer, layers: Callable[[], list], how: Callable[[], dict]) -> None:
        """Offer layers.

        Parameters
        ----------
        viewer : napari.viewer.Viewer
        layers : callable
            Returns the image layers that may be chosen.
        how : callable
            Returns how they are counted: `nbins` and `ignore_zeros`.
        """
        self._layers, self._how = layers, how
        self._edits = Edits(viewer, self._forget, self._forget)
        self.reset_choices()

    def stop(self) -> None:
        """Cancel the counting and follow no layer, until `refresh`."""
        self._job.stop()
        if self._edits is not None:
            self._edits.watch()

    @property
    def counting(self) -> bool:
        """Whether a layer is being counted."""
        return bool(self._job)

    @property
    def value(self) -> Histogram | str | None:
        """The histogram or the word that is chosen; None as long as a layer is not counted."""
        chosen = self._choice.value
        if chosen is None or isinstance(chosen, Histogram | str):
            return chosen
        how, found = self._counted.get(chosen, (None, None))
        return found if how == self._how() else None

    @value.setter
    def value(self, value) -> None:
        if isinstance(value, Histogram) and value is not self.value:
            # It came back with a card; if none of the layers was counted so, it is listed as files are.
            counted = [layer for layer, (_, found) in self._counted.items() if found == value]
            if not counted and value not in self._files.values():
                self._files[value.name or "histogram"] = value
                self._choice.reset_choices()
            value = counted[0] if counted else next(each for each in self._files.values() if each == value)
        self._choice.value = value

    def _choices(self) -> list:
        points = [(words, point) for point, words in POINTS.items()]
        return [(layer.name, layer) for layer in self._layers()] + list(self._files.items()) + points

    def refresh(self, event=None) -> None:
        """Count what is chosen, unless that is done already, or under way."""
        chosen = self._choice.value
        if self.counting and self._asked == (chosen, self._how()):
            return
        self._job.stop()
        layer = chosen if isinstance(chosen, napari.layers.Image) else None
        if self._edits is not None:
            self._edits.watch(layer)
        if layer is not None and self.value is None:
            self._count(layer)
        self._describe()

    def _count(self, layer) -> None:
        how = self._how()
        self._asked = layer, how

        def done(found):
            self._counted[layer] = how, found
            self._describe()
            self.changed.emit(self)

        def failed(error):
            self._facts.value = html.escape(str(error))

        self._job.start(partial(Source.of(layer).histogram, **how), done, failed=failed)

    def _forget(self, event=None) -> None:
        """Count again, because the data have changed."""
        if self._choice.value in self._counted:
            del self._counted[self._choice.value]
            self.refresh()
            self.changed.emit(self)

    def _describe(self) -> None:
        found = self.value
        if found is None:
            self._facts.value = "counting …" if self.counting else ""
        elif isinstance(found, str):
            self._facts.value = "of this image itself, whose other time points become like it"
        else:
            ends = " to ".join(f"{end:.5g}" for end in (found.minimum, found.maximum) if math.isfinite(end))
            self._facts.value = f"{found.total:,} voxels, {ends}"

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self.native, "Reference histogram", "", "Histogram (*.json)")
        if path:
            self.load(path)

    def load(self, path) -> None:
        """Take the histogram of a file, or show what is wrong with it."""
        try:
            found = Histogram.load(path)
        except (OSError, ValueError) as error:
            tell(error)
            return
        self._files[Path(path).name] = found
        self._choice.reset_choices()
        self._choice.value = found

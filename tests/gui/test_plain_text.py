"""Names from files and settings that somebody edited: text everywhere, whatever they hold."""

import json

import napari.layers
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import QMessageBox

import napari_exposure as nx
from napari_exposure.gui.editors import InRangeEdit
from napari_exposure.gui.exposure.recipes import RecipeButton
from napari_exposure.gui.exposure.remembered import remembered
from napari_exposure.gui.napari_versions import plugin_settings
from napari_exposure.gui.orthogonal.pane import Pane

EVIL = "<img src='file:///nowhere.png'><b>n</b>"


def shown(html):
    document = QTextDocument()
    document.setHtml(html)
    return document.toPlainText()


def test_the_history_shows_names_as_they_are(qtbot):
    layer = napari.layers.Image(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), name=EVIL)
    result = nx.adjust_gamma(layer, 0.5)
    button = RecipeButton(lambda: result, None, lambda *recipe: None)
    qtbot.addWidget(button)
    next(action for action in button.menu().actions() if action.text() == "History").trigger()
    (box,) = button.findChildren(QMessageBox)
    assert EVIL in box.text()
    assert box.textFormat() == Qt.TextFormat.PlainText
    box.close()


def test_panes_show_labels_of_axes_as_they_are(qtbot):
    pane = Pane()
    qtbot.addWidget(pane)
    pane.set_title(EVIL)
    pane.set_labels(EVIL, "x")
    assert pane._caption._item.toPlainText() == EVIL
    assert pane.axes["left"].label.toPlainText().strip() == EVIL


def test_what_orthogonal_planes_say_is_text(open_widget):
    assert open_widget("Orthogonal planes").facts.textFormat() == Qt.TextFormat.PlainText


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000 + "]" * 100_000, '{"a":' * 50_000 + "1" + "}" * 50_000, "[1]", "5", '"x"']
    + ['{"adjustment": "Gamma", "gamma": 1%s}' % ("0" * digits) for digits in (400, 5000)]
    + [json.dumps({"adjustment": "x" * 10_000})],
    ids=lambda text: text[:20],
)
def test_settings_of_any_depth_are_a_sentence(text, make_napari_viewer):
    make_napari_viewer()
    plugin_settings("napari-exposure").widgets.applied = f'{{"Gamma": {text}}}'
    with pytest.raises(ValueError, match=r"(remembered parameters of Gamma|setting applied) cannot be read") as caught:
        remembered(nx.Gamma)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("limits", [(-1e300, 1e300), (0.0, 3e12), (-5e15, -4e15), (0.0, 5e-324)])
def test_input_ranges_of_any_size_are_shown(limits, qtbot):
    edit = InRangeEdit("data")
    qtbot.addWidget(edit.native)
    edit.value = limits
    assert edit.value == limits
    assert edit.native.sizeHint().width() < 600

"""Somebody who tries everything in any order: a test asks that nothing is left, a benchmark how long it takes."""

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from gui.driving import choose
from napari_exposure.core.adjustment import adjustments
from napari_exposure.gui.preview import is_preview

SIZED = {"scale": (2, 0.5, 0.5), "units": "um"}


class Looker:
    """Works with the layers and the viewer alone."""

    def __init__(self, viewer, volume, seed):
        self.viewer, self.volume = viewer, volume
        self.rng = np.random.default_rng(seed)

    def one(self, items):
        items = list(items)
        return items[int(self.rng.integers(len(items)))]

    def act(self):
        """Do something; its name is given back."""
        action = self.one(name for name in dir(self) if name.startswith("do_"))
        getattr(self, action)()
        return action

    # layers
    def do_image(self):
        if len(self.viewer.layers) < 8:
            data = self.volume[: int(self.rng.integers(2, 13))].astype(self.one([np.uint8, np.uint16, np.float32]))
            self.viewer.add_image(data, name=self.one(["other", "nuclei", "c"]), **SIZED)

    def do_labels(self):
        if len(self.viewer.layers) < 8:
            self.viewer.add_labels(self.volume // 300 % 3, **SIZED)

    def do_delete(self):
        if len(self.viewer.layers) > 1:
            self.viewer.layers.remove(self.one(self.viewer.layers))

    def do_delete_all(self):
        if self.rng.random() < 0.2:
            self.viewer.layers.select_all()
            self.viewer.layers.remove_selected()

    def do_select(self):
        self.viewer.layers.selection = {self.one(self.viewer.layers)}

    def do_select_all(self):
        self.viewer.layers.select_all()

    def do_rename(self):
        self.one(self.viewer.layers).name = f"name {self.rng.integers(9)}"

    def do_reorder(self):
        self.viewer.layers.move(int(self.rng.integers(len(self.viewer.layers))), 0)

    def do_replace(self):
        layer = self.one(self.viewer.layers)
        if not is_preview(layer) and layer.ndim == 3:
            layer.data = layer.data[:, ::-1]

    def do_look(self):
        layer = self.one(self.viewer.layers)
        layer.visible = not layer.visible
        layer.blending = self.one(["additive", "translucent"])

    # the viewer
    def do_dims(self):
        self.viewer.dims.set_current_step(0, int(self.rng.integers(12)))

    def do_3d(self):
        self.viewer.dims.ndisplay = self.one([2, 3])

    def do_roll(self):
        self.viewer.dims.roll()

    def do_theme(self):
        self.viewer.theme = self.one(["dark", "light"])


class User(Looker):
    """Has the docks too."""

    def __init__(self, viewer, open_widget, volume, seed):
        super().__init__(viewer, volume, seed)
        self.open_widget = open_widget
        self.kinds = [kind for kind in adjustments() if not kind.examples()]
        self.dock, self.others = None, {}
        self.open_again()

    # the docks
    def open_again(self):
        if self.dock is not None:
            self.viewer.window.remove_dock_widget(self.dock.native)
        self.dock = self.open_widget("Exposure")

    def do_close_and_open(self):
        if self.rng.random() < 0.3:
            self.open_again()

    def do_another_dock(self):
        name = self.one(["Gamma", "Adaptive equalization", "Depth correction", "Histogram & CDF"])
        if name in self.others:
            closed = self.others.pop(name)
            self.viewer.window.remove_dock_widget(getattr(closed, "native", closed))
        else:
            self.others[name] = self.open_widget(name)

    def do_hide(self):
        parent = self.dock.native.parent()
        parent.setVisible(not parent.isVisible())

    # cards
    def do_add(self):
        if len(self.dock.cards.views) < 4:
            self.dock.add_card(self.one(self.kinds))

    def do_preset(self):
        choose(self.dock.tools.preset_menu, self.one(["Deep stack", "Local contrast", "Stretch the range"]))

    def do_knob(self):
        for view in self.dock.cards.views[:1]:
            sliders = [each for each in view.editors.values() if hasattr(each, "ends") and each.ends]
            if sliders:
                self.one(sliders)._slider.value = int(self.rng.integers(500))

    do_turn = do_knob

    def do_output(self):
        for view in self.dock.cards.views[-1:]:
            view.editors["output"].value = self.one(["dtype", "float32"])

    def do_switch(self):
        for view in self.dock.cards.views[:1]:
            view.switch.click()

    def do_move(self):
        for view in self.dock.cards.views[-1:]:
            view.move_by(-1)

    def do_remove(self):
        for view in self.dock.cards.views[2:]:
            QTest.keyClick(view.head, Qt.Key.Key_Delete)

    def do_undo(self):
        self.dock.tools.undo.click()

    def do_redo(self):
        self.dock.tools.redo.click()

    def do_suggest(self):
        if self.rng.random() < 0.3:
            self.dock.tools.propose.click()

    # the bar
    def do_apply(self):
        self.dock.bar.apply.click()

    def do_anew(self):
        if len(self.viewer.layers) < 8:
            self.dock.bar.anew.click()

    def do_cancel(self):
        self.dock.bar.cancel.click()

    def do_live(self):
        self.dock.bar.live.click()

    def do_compare(self):
        if self.dock.bar.compare.isEnabled():
            self.one(self.dock.bar.ways.values()).trigger()

    def do_together(self):
        self.dock.header.fit.value = self.one(self.dock.header.fit.choices)

    def do_mask(self):
        self.dock.header.mask.value = self.one(self.dock.header.mask.choices)

    def do_chip(self):
        for chip in list(self.dock.header.chips.values())[-1:]:
            chip.click()

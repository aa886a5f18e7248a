"""The longest pause of the window for each kind of thing that a user does, beyond that of napari alone.

    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python benchmarks/pauses.py [--actions 200] [--seeds 5]

A random user, that of the tests, does everything in any order; a pause is the processor time of the main thread in one
turn of the event loop, which other programs hardly disturb. The same user works with the layers and the viewer before
any dock is open: the columns of napari have what that takes for the same kind of action, or for adding a layer where
napari has no such action.
"""

from __future__ import annotations

import clean_settings  # noqa: F401

# isort: split
import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

import napari
import numpy as np
from napari.layers import Image
from qtpy.QtCore import QTimer
from vispy.gloo.glir import GlirProgram

from pace import let_work, settle

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from gui.user import SIZED, Looker, User

parser = argparse.ArgumentParser()
parser.add_argument("--actions", type=int, default=200)
parser.add_argument("--seeds", type=int, default=5)
options = parser.parse_args()

# Mesa's software driver crashes where the programs of two layers go at once.
GlirProgram.delete = lambda self: None
viewer = napari.Viewer()
viewer.window._qt_window.resize(1366, 768)
volume = np.random.default_rng(0).gamma(2, 300, (12, 40, 48)).astype(np.uint16)
turns: list[float] = []
timer = QTimer()
timer.timeout.connect(lambda: turns.append(time.thread_time()))
timer.start(0)


def pauses(user):
    """The pauses after each action, by its kind."""
    found = defaultdict(list)
    for _ in range(options.actions):
        if not any(isinstance(layer, Image) for layer in viewer.layers):
            viewer.add_image(volume, name="nuclei", **SIZED)
        settle(0.05)
        turns[:] = [time.thread_time()]
        kind = user.act()
        turns.append(time.thread_time())
        settle(float(user.rng.choice([0.02, 0.15])))
        found[kind].append(max(np.diff(turns)))
    return found


def empty():
    viewer.layers.clear()
    viewer.dims.ndisplay = 2
    settle(1)


def run(make):
    """The pauses of all seeds, by the kind of action."""
    found = defaultdict(list)
    for seed in range(options.seeds):
        empty()
        user = make(seed)
        for kind, some in pauses(user).items():
            found[kind] += some
        for widget in [user.dock, *user.others.values()] if isinstance(user, User) else []:
            viewer.window.remove_dock_widget(getattr(widget, "native", widget))
    return found


def open_widget(name):
    return viewer.window.add_plugin_dock_widget("napari-exposure", name)[1]


run(lambda seed: Looker(viewer, volume, seed))  # the first time of everything takes longer
alone = run(lambda seed: Looker(viewer, volume, seed))
first = User(viewer, open_widget, volume, 0)
first.dock.add_card(first.kinds[0])
let_work(lambda: first.dock.up_to_date)
viewer.window.remove_dock_widget(first.dock.native)
both = run(lambda seed: User(viewer, open_widget, volume, seed))
rows = []
for kind, found in both.items():
    own = alone.get(kind, alone["do_image"])
    rows.append((max(found) - max(own), kind, len(found), np.median(found), max(found), np.median(own), max(own)))
print(f"{options.seeds} x {options.actions} actions; milliseconds of the main thread in one turn of the event loop")
print(f"{'action':18}{'times':>6}{'median':>9}{'longest':>9}{'napari':>9}{'longest':>9}{'beyond':>9}")
for beyond, kind, times, *numbers in sorted(rows, reverse=True):
    print(f"{kind[3:]:18}{times:6}" + "".join(f"{1e3 * number:9.0f}" for number in (*numbers, beyond)))

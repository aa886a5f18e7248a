"""How fast the histogram panel is, and how long the window pauses for it.

    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python benchmarks/panel.py

On 128 x 512 x 512 uint16 in napari's window: time from the activation of a layer to its drawn
histogram, cost of a move of the mouse that drags a line, longest pause of the event loop while a layer
is counted, and what is left when ten layers were made active one after the other.  Beside them napari's
own histogram in mode "full", and what it and ours see of 8,000 bright voxels off the sampled planes.
"""

from __future__ import annotations

import clean_settings  # noqa: F401

# isort: split
import statistics
import sys
import time

import dask.array as da
import napari
import numpy as np
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_exposure.samples import make_synthetic
from pace import Heartbeat, let_work, settle

viewer = napari.Viewer()
viewer.window._qt_window.resize(1500, 950)
volume = make_synthetic((128, 512, 512), cells=300)
layers = [viewer.add_image(np.roll(volume, n, axis=0) + n, name=f"volume {n}") for n in range(10)]
_, panel = viewer.window.add_plugin_dock_widget("napari-exposure", "Histogram & CDF")
if "--floating" in sys.argv:
    panel.parent().setFloating(True)
settle(3)
view = panel.view
heartbeat = Heartbeat()


def shows(layer):
    return panel.model.main is not None and panel.model.main.name == layer.name and panel.model.content.complete


def report(name, times, goal):
    print(f"{name:58}{statistics.median(times) * 1e3:7.1f} ms, worst {max(times) * 1e3:6.1f} ms (at most {goal} ms)")


# --- first draw after activation
took, pauses = [], []
for n in (*range(9, -1, -1), *range(1, 10)):
    settle(0.4)
    start = time.perf_counter()
    viewer.layers.selection.active = layers[n]
    activated = time.perf_counter()
    let_work(lambda n=n: shows(layers[n]))
    QApplication.processEvents()
    took.append(time.perf_counter() - start)
    settle(0.3)
    pauses.append(heartbeat.pause(activated, time.perf_counter()))
report("from activation to the drawn histogram", took, 150)
report("longest pause of the event loop meanwhile", pauses, 50)

control = []
panel.lock.setChecked(True)
settle(0.3)
for n in (*range(9, -1, -1), *range(1, 10)):
    settle(0.4)
    viewer.layers.selection.active = layers[n]
    activated = time.perf_counter()
    settle(0.3)
    control.append(heartbeat.pause(activated, time.perf_counter()))
panel.lock.setChecked(False)
settle(0.5)
report("  the same with the panel locked (napari alone)", control, "-")


# --- dragging
def mouse(kind, position, button, buttons):
    port = view.viewport()
    event = QMouseEvent(kind, position, port.mapToGlobal(position), button, buttons, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(port, event)


def drag(name, start, stop, goal=16, moves=90):
    """Cost of each of 60 moves a second: handled, and everything drawn that it caused at once."""
    a, b = (QPointF(view.point_of(*point)) for point in (start, stop))
    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    mouse(QEvent.Type.MouseMove, a, none, none)
    mouse(QEvent.Type.MouseButtonPress, a, left, left)
    times = []
    for k in range(1, moves + 1):
        begun = time.perf_counter()
        mouse(QEvent.Type.MouseMove, a + (b - a) * (k / moves), none, left)
        QApplication.processEvents()
        times.append(time.perf_counter() - begun)
        settle(max(0.002, 1 / 60 - times[-1]))
    mouse(QEvent.Type.MouseButtonRelease, b, left, none)
    settle(0.4)
    report(name, times, goal)


active = viewer.layers.selection.active
for layer in layers:
    layer.visible = layer is active
settle(0.5)
low, high = active.contrast_limits
before = active.contrast_limits
drag("a move that drags a contrast limit, napari's canvas too", (high, 0.3), ((low + high) / 2, 0.3))
assert active.contrast_limits != before, "the limit did not move"
active.visible = False
settle(0.5)
drag("  the same with nothing in the canvas", (active.contrast_limits[1], 0.3), (low + 0.9 * (high - low), 0.3))
low99 = panel.model.percentile_lines()[1]
drag("a move that drags a percentile line", (low99, 0.4), (low99 * 0.7, 0.4))
middle, level = panel.model.display.handle
gamma = active.gamma
drag("a move that drags the handle of gamma", (middle, level), (middle, level * 0.6))
assert active.gamma != gamma, "gamma did not move"

panel.parent().hide()
times = []
active.visible = True
settle(0.5)
for k in range(60):
    begun = time.perf_counter()
    active.contrast_limits = low, high - k
    QApplication.processEvents()
    times.append(time.perf_counter() - begun)
    settle(0.01)
report("  napari alone: contrast limits set, canvas drawn", times, "-")
panel.parent().show()
settle(0.5)

# --- ten layers, one after the other
for layer in layers:
    viewer.layers.selection.active = layer
    settle(0.005)
let_work(lambda: not panel.counter.running)
settle(0.3)
print(f"ten layers made active: shown {panel.model.main.name!r}, running {panel.counter.running}")
viewer.layers.clear()

# --- what others miss
hot = np.random.default_rng(0).integers(0, 200, (224, 224, 224), dtype=np.uint16)
hot[60:80, 100:120, 100:120] = 4000
layer = viewer.add_image(hot, name="hot")
let_work(lambda: shows(layer) and not panel.counter.running)
found = panel.histogram
print(f"8,000 voxels at 4000 in 224^3: ours counts {found.counts[-1]:,} at {found.maximum:g}", end="; ")
start = time.perf_counter()
theirs = layer.histogram
theirs.mode = "full"
for _ in theirs.compute():
    pass
edges = np.asarray(theirs._bin_edges)
print(
    f"napari's own, full: {time.perf_counter() - start:.2f} s, bins from {edges[0]:g} to {edges[-1]:g}, "
    f"{int(np.asarray(theirs.counts).sum()):,} voxels counted"
)
try:
    from napari_matplotlib import HistogramWidget
except ImportError:
    print("napari-matplotlib is not installed; its widget is left out")
else:
    start = time.perf_counter()
    widget = HistogramWidget(viewer)
    viewer.window.add_dock_widget(widget, name="napari-matplotlib")
    QApplication.processEvents()
    first = time.perf_counter() - start
    start = time.perf_counter()
    widget.draw()
    widget.canvas.draw()
    bars = widget.figure.axes[0].patches
    print(
        f"napari-matplotlib: first {first:.2f} s, then {time.perf_counter() - start:.2f} s a drawing, on the GUI "
        f"thread, of plane {viewer.dims.current_step[0]} alone; {len(bars)} bars"
    )
    viewer.window.remove_dock_widget(widget)
    settle(0.5)
viewer.layers.clear()


# --- data that are not in memory
def read(block):
    time.sleep(0.03)
    return block


lazy = da.from_array(volume, chunks=(2, -1, -1)).map_blocks(read, dtype=volume.dtype)
seen = []
panel.model.events.content.connect(lambda content: seen.append((time.perf_counter(), content)))
start = time.perf_counter()
viewer.add_image(lazy, name="lazy", contrast_limits=(0, 4095))
added = time.perf_counter()
let_work(lambda: panel.model.main is not None and panel.model.main.name == "lazy" and panel.model.content.complete)
first_at, first = next((at, content) for at, content in seen if content.curves)
print(
    f"dask, 64 chunks of 30 ms: first histogram {first_at - added:.2f} s after the layer was added "
    f"({first.curves[0].coverage}; at most 0.5 s), exact after {time.perf_counter() - added:.1f} s"
)
viewer.close()

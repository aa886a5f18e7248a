"""How long the window pauses while a volume is adjusted, and how soon Cancel takes effect.

    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python benchmarks/window.py

A timer of 10 ms beats on the event loop; a pause is the time between two beats.  Three are told apart:
while the volume is adjusted; while napari takes the new layer in (controls, slicing, first drawing);
and, as a control, while napari takes in the same array as a plain layer without this plugin.
"""

from __future__ import annotations

import clean_settings  # noqa: F401

# isort: split
import statistics
import time

import napari
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

from napari_exposure.samples import make_synthetic
from pace import Heartbeat, let_work, settle

NAMES = ("Gamma", "Percentile clipping", "Histogram equalization", "Adaptive equalization")


def click(button):
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


viewer = napari.Viewer()
source = viewer.add_image(
    make_synthetic((128, 512, 512), cells=300), name="volume", scale=(1, 0.3, 0.3), units=("um",) * 3
)
heartbeat = Heartbeat()
inserting = []
viewer.layers.events.inserting.connect(lambda: inserting.append(time.perf_counter()))


def one_run(begin, running):
    """Seconds until the layer arrives, and the longest pauses before and after."""
    inserting.clear()
    start = time.perf_counter()
    begin()
    let_work(lambda: not running())
    settle(0.4)
    stop = time.perf_counter()
    arrived = inserting[0]
    viewer.layers.remove(viewer.layers[1])
    settle(0.3)
    return arrived - start, heartbeat.pause(start, arrived), heartbeat.pause(arrived, stop)


def show(name, begin, running):
    one_run(begin, running)  # loads kernels
    runs = [one_run(begin, running) for _ in range(7)]
    took, adjusting, adding = (statistics.median(column) * 1e3 for column in zip(*runs, strict=True))
    worst = max(pause for _, pause, _ in runs) * 1e3
    print(f"{name:26}{took:7.0f} ms{adjusting:10.0f} ms{worst:9.0f} ms{adding:10.0f} ms", flush=True)


print("128 x 512 x 512 uint16; medians of 7; a pause while adjusting: at most 100 ms")
print(f"{'':26}{'job':>10}{'adjusting':>13}{'worst':>12}{'adding':>13}")
for name in NAMES:
    _, widget = viewer.window.add_plugin_dock_widget("napari-exposure", name)
    # what Apply costs by itself
    widget.bar.live.setChecked(False)
    settle()
    show(name, lambda w=widget: click(w.bar.apply), lambda w=widget: w.running)
show(
    "napari, the same array",
    lambda: viewer.layers.insert(1, napari.layers.Image(source.data, contrast_limits=(0, 4095))),
    lambda: False,
)

# pressed by a timer while the job runs, as by a user: the event loop is not waited for
cancelled = []
for _ in range(9):
    pressed = []
    begun = time.perf_counter()

    def press(pressed=pressed, begun=begun):
        if not pressed and widget.running and time.perf_counter() - begun > 0.08:
            pressed.append(time.perf_counter())
            click(widget.bar.cancel)

    timer = QTimer()
    timer.timeout.connect(press)
    timer.start(1)
    click(widget.bar.apply)
    let_work(lambda: not widget.running)
    timer.stop()
    if pressed:  # else it was quicker than 80 ms
        cancelled.append(time.perf_counter() - pressed[0])
print(
    f"Cancel, pressed in the middle: over after {statistics.median(cancelled) * 1e3:.0f} ms (median of "
    f"{len(cancelled)}, worst {max(cancelled) * 1e3:.0f} ms; at most 200 ms); layers afterwards: "
    f"{[layer.name for layer in viewer.layers]}"
)
viewer.close()

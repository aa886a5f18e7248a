"""How soon a turned knob shows, and what a minute of turning costs.

    xvfb-run -a -s "-screen 0 1600x1000x24" .venv/bin/python benchmarks/live.py [--seconds 60] [--cards]

The real widgets in a real window, 512 x 512 x 512 uint16 in 2D and the nuclei in 3D: the time from a
change of the value to the drawn plane, the time of a full recomputation, the longest pause of the event
loop and the memory after a stretch of continuous dragging; beside them the same change with scikit-image.
"""

from __future__ import annotations

import clean_settings  # noqa: F401

# isort: split
import argparse
import time
from functools import partial

import napari
import numpy as np
import psutil
from qtpy.QtWidgets import QApplication
from skimage import exposure

from napari_exposure import core
from napari_exposure.gui.jobs import Job
from napari_exposure.gui.preview_data import map_volume
from napari_exposure.samples import load_nuclei, make_synthetic
from pace import Heartbeat, let_work, settle

parser = argparse.ArgumentParser()
parser.add_argument("--seconds", type=float, default=60)
parser.add_argument("--cards", action="store_true", help="the stack of three cards alone")
options = parser.parse_args()

viewer = napari.Viewer()
viewer.window._qt_window.resize(1500, 950)
block = make_synthetic((128, 512, 512), cells=300)
volume = np.concatenate([block, block[::-1], block, block[::-1]])
# A plane of this layer is refreshed by napari alone; a refresh of the source would be an edit, which is fitted anew.
beside = viewer.add_image(volume, name="beside", scale=(1, 0.3, 0.3), units="um")
source = viewer.add_image(volume, name="volume", scale=(1, 0.3, 0.3), units="um")
heartbeat = Heartbeat()
process = psutil.Process()


def opened(name):
    widget = viewer.window.add_plugin_dock_widget("napari-exposure", name)[1]
    let_work(lambda: widget.live.first.layer is not None and not widget.live.first.running)
    settle(1)
    return widget


def shown(widget, parameter, value):
    """Seconds from the change of a value to the drawn plane."""
    layer = widget.live.first.layer
    before = layer.data.transform
    start = time.perf_counter()
    widget[parameter].value = value
    let_work(lambda: layer.data.transform is not before)
    # the paint that the refresh has asked for
    QApplication.processEvents()
    first = time.perf_counter() - start
    let_work(lambda: not widget.live.first.running)
    QApplication.processEvents()
    return first, time.perf_counter() - start


def report(name, times, goal):
    times = np.array(times) * 1e3
    print(
        f"{name:46}{np.median(times):7.1f} ms, 95 %: {np.percentile(times, 95):6.1f} ms   (at most {goal})", flush=True
    )


print("512 x 512 x 512 uint16, 2D, from the change to the drawn plane")
# --- three cards, in turn with napari's own refresh of the same plane
dock = viewer.window.add_plugin_dock_widget("napari-exposure", "Exposure")[1]
for kind in (core.PercentileClip, core.Gamma, core.AdaptiveEqualization):
    dock.add_card(kind)
let_work(lambda: dock.live.layer is not None and not dock.live.running)
settle(2)
ours, own = [], []
for value in np.linspace(0.005, 0.2, 40):
    settle(0.15)
    before = dock.live.layer.data.transform
    start = time.perf_counter()
    dock.cards.views[2].editors["clip_limit"].value = float(value)
    let_work(lambda before=before: dock.live.layer.data.transform is not before)
    QApplication.processEvents()
    ours.append(time.perf_counter() - start)
    settle(0.15)
    start = time.perf_counter()
    beside.refresh(extent=False, thumbnail=False, highlight=False)
    QApplication.processEvents()
    own.append(time.perf_counter() - start)
report("three cards, the last one turned", ours, "19 more than napari")
report("  napari alone, in turn", own, "-")
print(f"  beyond napari: {1e3 * np.median(np.subtract(ours, own)):.1f} ms (at most 19)", flush=True)
viewer.window.remove_dock_widget(dock.native.parent())
settle(0.5)
if options.cards:
    viewer.close()
    raise SystemExit

for name, parameter, values, goal in [
    ("Gamma", "gamma", np.linspace(0.4, 1.6, 40), "40, 80"),
    ("Percentile clipping", "high", np.linspace(90, 99.9, 40), "40, 80"),
    ("Adaptive equalization", "clip_limit", np.linspace(0.005, 0.2, 40), "40, 80"),
]:
    widget = opened(name)
    times = []
    for value in values:
        settle(0.15)
        times.append(shown(widget, parameter, float(value))[0])
    report(f"{name}, {parameter}", times, goal)
    if name == "Adaptive equalization":
        times = []
        for edge in np.linspace(8, 40, 20):
            settle(0.15)
            times.append(shown(widget, "kernel_size", float(edge)))
        report("  a new tile edge, approximate", [first for first, _ in times], "100")
        report("  a new tile edge, exact", [last for _, last in times], "400")
    if name != "Adaptive equalization":
        viewer.window.remove_dock_widget(widget.native.parent())
        settle(0.3)

times = []
for _ in range(30):
    settle(0.15)
    start = time.perf_counter()
    beside.refresh()
    QApplication.processEvents()
    times.append(time.perf_counter() - start)
report("  napari alone: a plane shown anew", times, "-")

# --- a run in 3D that a newer change stops
times = []
for _ in range(15):
    over = []
    job = Job(
        partial(map_volume, widget.live.first._data[0]),
        done=lambda *result: None,
        ended=lambda over=over: over.append(time.perf_counter()),
        step=lambda step: None,
    )
    settle(0.12)
    start = time.perf_counter()
    job.cancel()
    let_work(lambda over=over: over)
    times.append(over[0] - start)
report("  from a newer change to the end of a 3D run", times, "50")

# --- dragging without a rest
settle(1)
memory = process.memory_info().rss
start = time.perf_counter()
turns = 0
while time.perf_counter() - start < options.seconds:
    turns += 1
    widget["clip_limit"].value = 0.005 + 0.2 * abs((turns % 80) / 40 - 1)
    settle(1 / 60)
pause = 1e3 * heartbeat.pause(start, time.perf_counter())
print(f"{turns} turns in {options.seconds:.0f} s: longest pause {pause:.0f} ms (at most 80)", end="; ")
settle(2)
print(f"memory {(process.memory_info().rss - memory) / 2**20:+.0f} MB (at most +50)", flush=True)
start = time.perf_counter()
exposure.equalize_adapthist(block, kernel_size=(64, 64, 64))
print(f"scikit-image's equalize_adapthist on a quarter of it: {time.perf_counter() - start:.1f} s")
viewer.window.remove_dock_widget(widget.native.parent())
viewer.layers.clear()
settle(1)

# --- 3D
nuclei = load_nuclei()
viewer.add_image(nuclei, name="nuclei", scale=(0.29, 0.26, 0.26), units="um")
viewer.dims.ndisplay = 3
widget = opened("Adaptive equalization")
preview = widget.live.first
times = []
for limit in np.linspace(0.005, 0.1, 40):
    adjustment = core.AdaptiveEqualization(clip_limit=float(limit))
    start = time.perf_counter()
    preview._source.fit(adjustment, None, preview.memory).apply(nuclei)
    times.append(time.perf_counter() - start)
report("60 x 256 x 256, all of it, without rendering", times, "25")
viewer.close()

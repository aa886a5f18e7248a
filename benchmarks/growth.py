"""How time and memory of adaptive equalization grow: with voxels, tiles, bins, time points, layers and threads.

    .venv/bin/python benchmarks/growth.py [--most 1024] [--repeat 3] [--picture docs/images/growth.png]

Each line prints the median processor time of several runs, of all threads, because other programs disturb it less than
seconds, and below them the straight line through the times, fitted to ratios: what a voxel, tile, bin or time point
costs, and what there is to pay before. Memory is the peak above the state before the call and the result, in a process
of its own. A copy of the same voxels stands beside, because no way of doing it can be faster than reading and writing
memory once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np

from napari_exposure import core
from napari_exposure.recipe import Recipe
from napari_exposure.samples import make_synthetic

# Tiles of the runs that vary something else.
KERNEL = (16.0, 64.0, 64.0)
MEGA = 1 << 20


def volume(mega):
    """A volume of so many times 2**20 voxels: planes of 512 x 512, or of less where it is small."""
    edge = 512 if mega >= 8 else 256
    block = make_synthetic((min(16, mega * MEGA // edge**2), edge, edge), spacing=(1.0, 0.3, 0.3), cells=200)
    return np.concatenate([block] * (mega * MEGA // block.size))


def movie(points):
    return np.stack([volume(1)] * points)


def edge_for(shape, tiles):
    """The edge of a cubic tile of which about `tiles` fill the shape."""
    return max(2.0, (np.prod(shape) / tiles) ** (1 / 3))


def adaptive(data, **options):
    return core.equalize_adapthist(data, **{"kernel_size": KERNEL, **options})


def layers(data):
    """The layers of a viewer, adjusted together; each is fitted by itself."""
    return np.stack(Recipe(core.AdaptiveEqualization(KERNEL)).apply(list(data)))


# name: (what is varied, its values, what is measured of each)
ROWS = {
    "voxels": ("million voxels", (1, 4, 16, 64, 128, 256, 512, 1024), lambda n: (volume(n), {})),
    "tiles": (
        "tiles of 4 million voxels",
        (8, 64, 512, 4096, 32_768, 200_000),
        lambda n: ((v := volume(4)), {"kernel_size": edge_for(v.shape, n)}),
    ),
    "bins": (
        "bins of 4 million voxels",
        (16, 64, 256, 1024, 4096),
        lambda n: (volume(4), {"nbins": n}),
    ),
    "time points": (
        "time points of a million voxels, each with its own fit",
        (1, 4, 16, 64),
        lambda n: (movie(n), {"per": "volume"}),
    ),
    "layers": ("layers of a million voxels", (1, 4, 16, 64), lambda n: (movie(n), {})),
}


def peak(before=False):
    """Bytes: resident now, or at most so far."""
    key = "VmRSS" if before else "VmHWM"
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def measure(row, value, repeat):
    """Seconds and processor seconds of each run, those of a copy, and bytes beyond the volume and the result."""
    data, options = ROWS[row][2](value)
    work_of = layers if row == "layers" else adaptive
    # Kernels are loaded first, those that the options need too.
    work_of(data[..., :4, :64, :64], **{**options, **({"kernel_size": 16.0} if "kernel_size" in options else {})})
    start = peak(before=True)
    with open("/proc/self/clear_refs", "w") as reset:
        reset.write("5")
    times, work, copies = [], [], []
    for _ in range(repeat):
        begin, used = time.perf_counter(), time.process_time()
        result = work_of(data, **options)
        times.append(time.perf_counter() - begin)
        work.append(time.process_time() - used)
        size = result.nbytes
        del result
        used = time.process_time()
        data.copy()
        copies.append(time.process_time() - used)
    return {"seconds": times, "work": work, "copy": copies, "bytes": peak() - start - size, "voxels": data.size}


def in_process(row, value, repeat, threads=None):
    """`measure` in a process of its own, whose peak of memory is its own too."""
    environment = dict(os.environ) if threads is None else {**os.environ, "NUMBA_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, "--measure", row, str(value), "--repeat", str(repeat)]
    if threads == 1:
        command = ["taskset", "-c", "0", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def straight_line(at, seconds):
    """Seconds of one more, and seconds before the first; relative errors count, so that small volumes do too."""
    weights = 1 / np.square(seconds)
    mean, height = np.average(at, weights=weights), np.average(seconds, weights=weights)
    slope = np.sum(weights * (at - mean) * (seconds - height)) / np.sum(weights * (at - mean) ** 2)
    return slope, height - slope * mean


def report(row, most, repeat):
    what, values, _ = ROWS[row]
    values = [value for value in values if row != "voxels" or value <= most]
    print(f"{row}: {what}", flush=True)
    found = [in_process(row, value, repeat) for value in values]
    seconds = np.array([statistics.median(each["work"]) for each in found])
    for value, each, middle in zip(values, found, seconds, strict=True):
        copy = statistics.median(each["copy"])
        print(
            f"  {value:>8,}  {middle:8.3f} s  {1e9 * middle / each['voxels']:6.2f} ns a voxel, "
            f"{middle / copy:5.1f} copies, {each['bytes'] / 2**20:6.0f} MB beyond the result"
        )
    slope, start = straight_line(np.array(values, float), seconds)
    off = np.max(np.abs(start + slope * np.array(values) - seconds) / seconds)
    print(f"  {1e3 * slope:.3g} ms each and {1e3 * start:.3g} ms before; at most {off:.0%} off this line")
    return values, seconds, (slope, start), [each["bytes"] / 2**20 for each in found]


def threads(repeat):
    """One thread against two, and what of their time goes into memory, on 32 million voxels."""
    one, two = (in_process("voxels", 32, repeat, threads) for threads in (1, None))
    wall, work = ([statistics.median(each[key]) for each in (one, two)] for key in ("seconds", "work"))
    copy = statistics.median(two["copy"])
    print(f"threads: one {wall[0]:.3f} s, {os.cpu_count()} {wall[1]:.3f} s = {wall[0] / wall[1]:.2f} times")
    print(f"  processor time: one {work[0]:.3f} s, {os.cpu_count()} {work[1]:.3f} s = {work[1] / work[0]:.2f} times")
    # Of uint16 the fit reads a voxel twice and the map once, which writes it once; a copy reads and writes it.
    print(f"  memory: {4 * 2} bytes a voxel, a copy {2 * 2}, which takes {copy / work[1]:.0%} of the processor time")
    return work[0], work[1], copy


def draw(rows, times, path):
    """Draw processor seconds with their straight lines, megabytes beside them, and threads beside a copy."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.5), layout="constrained")
    *panels, last = figure.subplots(2, 3).flat
    for axes, (row, (values, seconds, (slope, start), megabytes)) in zip(panels, rows.items(), strict=True):
        axes.loglog(values, seconds, "o", label="median")
        at = np.geomspace(values[0], values[-1], 100)
        axes.loglog(at, start + slope * at, color="C0", label=f"{1e3 * start:.3g} ms + {1e3 * slope:.3g} ms each")
        axes.set(xlabel=ROWS[row][0], ylabel="processor seconds")
        axes.legend(loc="upper left")
        memory = axes.twinx()
        memory.semilogx(values, megabytes, "s", color="C1", markersize=4)
        memory.set_ylabel("MB beyond the result", color="C1")
        memory.set_ylim(0, 1.1 * max(10, *megabytes))
    last.bar(("one thread", f"{os.cpu_count()} threads", "a copy"), times)
    last.set(ylabel="processor seconds for 32 million voxels")
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=256, help="million voxels of the largest volume (up to 1024)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--picture", help="where to save a picture of it, for the docs")
    parser.add_argument("--measure", nargs=2, metavar=("ROW", "VALUE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        row, value = options.measure
        print(json.dumps(measure(row, int(value), options.repeat)))
        return
    rows = {row: report(row, options.most, options.repeat) for row in ROWS}
    times = threads(options.repeat)
    if options.picture:
        draw(rows, times, options.picture)


if __name__ == "__main__":
    main()

"""The command line on many files: 200 small stacks and one of 2 GB, against a plain tifffile copy of the same files.

    .venv/bin/python benchmarks/batch.py [--stacks 200] [--gigabytes 2] [--repeats 3] [--folder DIR]

Prints seconds, MB of input a second, and the peak of the memory that is the process's own (Linux only: pages of files
that are mapped, which the system may take back, do not count). Each run is a process of its own, the first run of each
a warm-up; files are in the page cache.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from napari_exposure import AdaptiveEqualization, PercentileClip, Recipe
from napari_exposure.samples import make_synthetic

CLI = "napari_exposure.cli"
COPY = """
import sys, tifffile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

def copy(path):
    tifffile.imwrite(Path(sys.argv[2], path.name), tifffile.imread(path), imagej=True)

with ThreadPoolExecutor(int(sys.argv[3])) as pool:
    list(pool.map(copy, sorted(Path(sys.argv[1]).iterdir())))
"""


def make(folder, count, shape):
    """Write ImageJ stacks of nuclei-like blobs in noise."""
    folder.mkdir()
    block = make_synthetic((32, 256, 256), cells=60)
    for number in range(count):
        stack = np.tile(np.roll(block, number, axis=1), [n // m for n, m in zip(shape, block.shape, strict=True)])
        tifffile.imwrite(
            folder / f"stack{number:03}.tif",
            stack,
            imagej=True,
            resolution=(1 / 0.3, 1 / 0.3),
            metadata={"axes": "ZYX", "spacing": 1.0, "unit": "um"},
        )


def run(command):
    """Seconds, and MB of the process's own memory at its peak."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            words = Path(f"/proc/{process.pid}/status").read_text()
            peak = max(peak, int(re.search(r"RssAnon:\s+(\d+)", words)[1]))
        except (OSError, TypeError):
            pass
        time.sleep(0.01)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}.")
    return time.perf_counter() - start, peak / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stacks", type=int, default=200)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        folder = Path(folder)
        recipe = Recipe((PercentileClip(0.5, 99.5), AdaptiveEqualization(20.0)), unit="um").save(folder / "r.json")
        planes = max(32, round(options.gigabytes * 2**30 / (2 * 1024 * 1024)) // 32 * 32)
        sets = {"small": (options.stacks, (32, 256, 256)), "large": (1, (planes, 1024, 1024))}
        print("files                                 copy s  peak MB   apply s  peak MB   ratio   apply MB/s")
        for name, (count, shape) in sets.items():
            source, target = folder / name, folder / "out"
            make(source, count, shape)
            size = 2 * count * np.prod(shape) / 2**20
            jobs = str(options.jobs)
            commands = {
                "copy": [sys.executable, "-c", COPY, source, target, jobs],
                "apply": [sys.executable, "-m", CLI, "apply", recipe, source, "-o", target, "--jobs", jobs],
            }
            found = {each: [] for each in commands}
            for number in range(options.repeats + 1):
                for each, command in commands.items():
                    shutil.rmtree(target, ignore_errors=True)
                    target.mkdir()
                    result = run(list(map(str, command)))
                    if number:
                        found[each].append(result)
            shutil.rmtree(source)
            (copy, copy_peak), (apply, peak) = (
                [statistics.median(column) for column in zip(*rows, strict=True)] for rows in found.values()
            )
            words = f"{count} x {' x '.join(map(str, shape))} ({size:.0f} MB)"
            figures = f"{copy:8.1f} {copy_peak:8.0f} {apply:9.1f} {peak:8.0f} {apply / copy:6.1f}x {size / apply:12.0f}"
            print(f"{words:35} {figures}")


if __name__ == "__main__":
    main()

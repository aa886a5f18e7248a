"""Adaptive equalization of volumes that do not fit into memory: from zarr to zarr.

    .venv/bin/python benchmarks/large.py [--gigabytes 8] [--folder DIR] [--cluster]

Makes a compressible synthetic zarr volume (uint16), and prints time and peak memory of equalizing it from
zarr to zarr against copying it with dask, for sizes up to the one asked for: the time must be a straight line and
the memory flat. With --cluster also one worker process against two on dask.distributed. Each run is a process of
its own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHUNK = (64, 256, 256)
SPACING = (1.0, 0.3, 0.3)


def make(path, shape):
    """Write nuclei-like blobs in noise, block by block."""
    import zarr

    from napari_exposure.samples import make_synthetic

    block = make_synthetic((CHUNK[0], 1024, 1024), cells=400)
    target = zarr.create_array(path, shape=shape, chunks=CHUNK, dtype="uint16", overwrite=True)
    for number, z in enumerate(range(0, shape[0], CHUNK[0])):
        planes = block[:: 1 if number % 2 else -1] // (1 + number % 3)
        for y in range(0, shape[1], 1024):
            for x in range(0, shape[2], 1024):
                size = (min(CHUNK[0], shape[0] - z), min(1024, shape[1] - y), min(1024, shape[2] - x))
                target[z : z + size[0], y : y + size[1], x : x + size[2]] = planes[: size[0], : size[1], : size[2]]


def work(job, source, target, workers):
    """One run in this process; prints seconds and peak memory in MB."""
    import contextlib
    import resource

    import dask.array as da

    from napari_exposure import core, save

    with contextlib.ExitStack() as stack:
        if workers:
            from dask.distributed import Client, LocalCluster

            cluster = stack.enter_context(
                LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None)
            )
            client = stack.enter_context(Client(cluster))
            client.run(core.equalize_adapthist, np.arange(4096, dtype=np.uint16).reshape(16, 16, 16))
        # kernels compiled, and dask loaded, before the clock runs
        core.equalize_adapthist(da.arange(4096, chunks=-1, dtype=np.uint16).reshape(16, 16, 16)).compute()
        volume = da.from_zarr(source)
        start = time.perf_counter()
        if job == "copy":
            da.to_zarr(volume, target)
        elif job == "fit":
            core.AdaptiveEqualization(20.0).fit(volume, spacing=SPACING)
        else:
            result = core.equalize_adapthist(volume, 20.0, spacing=SPACING)
            if job == "map":
                da.to_zarr(result, target)
            else:
                save(result, target, spacing=SPACING, unit="um")
        seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def process(job, source, target, workers=0):
    # also the volume is made in one: Linux counts the peak of the parent as the child's
    command = [sys.executable, __file__, "--job", job, "--source", str(source), "--target", str(target)]
    return subprocess.run([*command, "--workers", str(workers)], capture_output=True, text=True, check=True).stdout


def run(job, source, folder, workers=0):
    target = folder / "result.zarr"
    found = json.loads(process(job, source, target, workers).strip().splitlines()[-1])
    shutil.rmtree(target, ignore_errors=True)
    return found["seconds"], found["peak"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=8)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cluster", action="store_true")
    for name in ("--job", "--source", "--target"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job == "make":
        make(options.target, tuple(map(int, options.source.split(","))))
        return
    if options.job:
        work(options.job, options.source, options.target, options.workers)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        sizes, seconds = [], []
        size = min(0.25, options.gigabytes)
        while size <= options.gigabytes:
            voxels = size * 2**30 / 2
            shape = (round(voxels / 2048 / 2048), 2048, 2048)
            source = folder / "volume.zarr"
            process("make", ",".join(map(str, shape)), source)
            stored = sum(file.stat().st_size for file in source.rglob("*") if file.is_file()) / 2**30
            line = f"{size:5.2f} GB {shape} ({stored:.2f} GB on disk)"
            copied, copy_peak = run("copy", source, folder)
            mapped, map_peak = run("map", source, folder)
            saved, save_peak = run("save", source, folder)
            print(
                f"{line}: copy {copied:6.1f} s, {copy_peak:5.0f} MB; equalized {mapped:6.1f} s, {map_peak:5.0f} MB, "
                f"{mapped / copied:.2f}x the copy; with nx.save (pyramid) {saved:6.1f} s, {save_peak:5.0f} MB, "
                f"{saved / copied:.2f}x",
                flush=True,
            )
            sizes.append(size)
            seconds.append(saved)
            size *= 2
        if len(sizes) > 1:
            slope, start = np.polyfit(sizes, seconds, 1)
            off = np.max(np.abs(np.polyval((slope, start), sizes) / seconds - 1))
            print(f"time = {slope:.2f} s a GB + {start:.2f} s, at most {100 * off:.0f} % off")
        print(f"scikit-image's 3D CLAHE would need {33 * sizes[-1]:.0f} GB for the last: 33 times the input (measured)")
        if options.cluster:
            shape = (128, 2048, 2048)
            process("make", ",".join(map(str, shape)), source)
            for job in ("map", "copy"):
                times = [[run(job, source, folder, workers)[0] for workers in (1, 2)] for _ in range(3)]
                one, two = np.median(times, axis=0)
                what = "equalized (at least 1.7x)" if job == "map" else "copied by dask"
                print(f"distributed, 1 GB {what}: 1 worker {one:.1f} s, 2 workers {two:.1f} s, {one / two:.2f}x")


if __name__ == "__main__":
    main()

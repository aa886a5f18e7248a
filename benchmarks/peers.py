"""All peers in one table: the same work by napari-exposure and by whatever else is installed.

    .venv/bin/python benchmarks/peers.py [--shape 64 256 256] [--repeat 3]

Peers are scikit-image, OpenCV (slice by slice), SimpleITK, MCLAHE (with TensorFlow) and DIPlib; one that is not
installed is left out with a word. Each side runs in a process of its own, in turn, and its memory is the peak above the
volume. Nanoseconds a voxel are those of the fastest run; processor time, of all threads, stands beside it, because
other programs disturb it less. The peers do not all do the same: OpenCV knows no depth and its power no range,
SimpleITK's has no bins.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
import math
import subprocess
import sys
import time

import numpy as np

from table import _peak, _reset_peak, _resident, make_volume

KERNEL = (16, 64, 64)
LOW, HIGH = 0.5, 99.5


def ours(name, *args, **options):
    from napari_exposure import core

    function = getattr(core, name)
    return lambda volume: function(volume, *args, **options)


def skimage_adaptive(volume):
    from skimage import exposure

    return exposure.equalize_adapthist(volume, KERNEL, nbins=256)


def opencv_adaptive(volume):
    import cv2

    rows, columns = (math.ceil(size / edge) for size, edge in zip(volume.shape[1:], KERNEL[1:], strict=True))
    clahe = cv2.createCLAHE(clipLimit=2.56, tileGridSize=(columns, rows))
    return np.stack([clahe.apply(plane) for plane in volume])


def sitk_adaptive(volume):
    import SimpleITK

    image = SimpleITK.GetImageFromArray(volume.astype(np.float32))
    radius = [edge // 2 for edge in reversed(KERNEL)]
    return SimpleITK.GetArrayFromImage(SimpleITK.AdaptiveHistogramEqualization(image, radius, alpha=0.3, beta=0.3))


def mclahe_adaptive(volume):
    import tensorflow.compat.v1

    # The package was written for TensorFlow 1, which later versions still hold under this name.
    tensorflow.compat.v1.disable_v2_behavior()
    sys.modules["tensorflow"] = tensorflow.compat.v1
    mclahe = importlib.import_module("mclahe")
    return mclahe.mclahe(volume.astype(np.float32), kernel_size=KERNEL, n_bins=256, clip_limit=0.01)


def skimage_equalize(volume):
    from skimage import exposure

    return exposure.equalize_hist(volume)


def diplib_equalize(volume):
    import diplib

    return np.asarray(diplib.HistogramEqualization(volume))


def skimage_clip(volume):
    from skimage import exposure

    return exposure.rescale_intensity(volume, tuple(np.percentile(volume, (LOW, HIGH))), str(volume.dtype))


def diplib_clip(volume):
    import diplib

    return np.asarray(diplib.ContrastStretch(volume, LOW, HIGH, 0, 65535))


def skimage_gamma(volume):
    from skimage import exposure

    return exposure.adjust_gamma(volume, 0.7)


def opencv_gamma(volume):
    import cv2

    return np.stack([cv2.pow(plane, 0.7) for plane in volume])


def sitk_gamma(volume):
    import SimpleITK

    return SimpleITK.GetArrayFromImage(SimpleITK.Pow(SimpleITK.GetImageFromArray(volume), 0.7))


# name: (dtype, ours, {peer: (module, how it does it, the part of the volume where all of it would take too long)})
ROWS = {
    "adaptive": (
        "uint16",
        ours("equalize_adapthist", KERNEL),
        {
            "scikit-image": ("skimage", skimage_adaptive, None),
            "OpenCV, slice by slice": ("cv2", opencv_adaptive, None),
            "SimpleITK": ("SimpleITK", sitk_adaptive, (16, 32, 32)),
            "MCLAHE": ("mclahe", mclahe_adaptive, (32, 128, 128)),
        },
    ),
    "equalize_hist": (
        "uint16",
        ours("equalize_hist"),
        {"scikit-image": ("skimage", skimage_equalize, None), "DIPlib": ("diplib", diplib_equalize, None)},
    ),
    "clip_percentiles": (
        "uint16",
        ours("clip_percentiles", LOW, HIGH),
        {"NumPy + scikit-image": ("skimage", skimage_clip, None), "DIPlib": ("diplib", diplib_clip, None)},
    ),
    "gamma": (
        "float32",
        ours("adjust_gamma", 0.7),
        {
            "scikit-image": ("skimage", skimage_gamma, None),
            "OpenCV, slice by slice": ("cv2", opencv_gamma, None),
            "SimpleITK": ("SimpleITK", sitk_gamma, None),
        },
    ),
}


def measure(row, side, shape, repeat):
    """What one process prints: seconds and processor seconds of the fastest run, and bytes above the volume."""
    dtype, function, peers = ROWS[row]
    volume = make_volume(shape, dtype)
    if side in peers:
        _, function, part = peers[side]
        volume = np.ascontiguousarray(volume[tuple(slice(0, size) for size in part or shape)])
    function(volume[:16, :32, :32].copy())
    # What making the volume took is given back, or results would hide in it.
    ctypes.CDLL(None).malloc_trim(0)
    before = _resident()
    _reset_peak()
    runs = []
    for _ in range(repeat):
        wall, processor = time.perf_counter(), time.process_time()
        function(volume)
        runs.append((time.perf_counter() - wall, time.process_time() - processor))
    wall, processor = (1e9 * min(times) / volume.size for times in zip(*runs, strict=True))
    print(json.dumps({"wall": wall, "processor": processor, "bytes": _peak() - before, "voxels": volume.size}))


def in_process(row, side, options):
    command = [sys.executable, __file__, "--measure", row, side, "--repeat", str(options.repeat)]
    command += ["--shape", *map(str, options.shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def missing(module):
    """Why a peer cannot be imported, or an empty text; another process tries it, because some disturb each other."""
    done = subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(64, 256, 256))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("ROW", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure, tuple(options.shape), options.repeat)
        return
    print(f"{' x '.join(map(str, options.shape))} voxels\n")
    print("| work | side | ns a voxel | processor ns a voxel | memory, bytes a voxel | times slower |")
    print("|---|---|---|---|---|---|")
    for row, (_, _, peers) in ROWS.items():
        base = None
        for side, (module, *_) in {"napari-exposure": ("napari_exposure",), **peers}.items():
            if why := missing(module):
                print(f"| {row} | {side} | not measured: {why} | | | |", flush=True)
                continue
            found = in_process(row, side, options)
            base = base or found["wall"]
            print(
                f"| {row} | {side} | {found['wall']:.1f} | {found['processor']:.1f} "
                f"| {found['bytes'] / found['voxels']:.1f} | {found['wall'] / base:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

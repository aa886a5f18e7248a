"""Correction of intensity decay: how much of a known decay comes back, and how fast.

    .venv/bin/python benchmarks/depth.py [STACK.tif ...]

On the real nuclei, clipped to their percentiles 5 and 95 and scaled to [0, 1] as scikit-image's gallery does, then
degraded by exp(-3 x) along an axis: Pearson's correlation with the original before and after the correction.  On
each stack that is given: the jumps of its plane medians from plane to plane before and after model="plane".
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from napari_exposure import core, read_tiff, samples
from napari_exposure.core.depth import SUPPORT

RATE = 3.0
DTYPES = ("float32", "uint16", "uint8")


def scaled_nuclei() -> np.ndarray:
    """The nuclei between their percentiles 5 and 95, from 0 to 1."""
    volume = samples.load_nuclei()
    low, high = np.percentile(volume, (5, 95))
    return (np.clip(volume, low, high) - low) / (high - low)


def alike(one, other) -> float:
    """Pearson's correlation of all voxels."""
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def as_dtype(volume: np.ndarray, dtype: str) -> np.ndarray:
    """From 0 to 1 to the range of a dtype."""
    if np.dtype(dtype).kind == "f":
        return volume.astype(dtype)
    return np.rint(volume * np.iinfo(dtype).max).astype(dtype)


def jumps(medians: np.ndarray) -> float:
    """Spread of plane medians about their smooth course, a cubic, as a fraction of it."""
    at = np.arange(len(medians))
    return float(np.std(medians / np.polynomial.Polynomial.fit(at, medians, 3)(at)))


def best(run, repeats: int = 3) -> float:
    """Seconds of the fastest of some runs."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def decay_comes_back() -> None:
    nuclei = scaled_nuclei()
    print(f"nuclei degraded by exp(-{RATE:g} x): correlation with the original, and the rate that was found")
    print(f"{'axis':>4} {'dtype':>8} {'degraded':>9} {'exponential':>12} {'rate':>6} {'smooth':>8} {'plane':>8}")
    for axis in "zyx":
        for dtype in DTYPES:
            original = as_dtype(nuclei, dtype)
            degraded = core.degrade(original, RATE, axis)
            found = {model: core.correct_decay(degraded, axis, model) for model in ("exponential", "smooth", "plane")}
            shown = [alike(result, original) for result in found.values()]
            rate = np.log(core.DecayCorrection(axis).fit(degraded).gains.max())
            print(
                f"{axis:>4} {dtype:>8} {alike(degraded, original):9.5f} {shown[0]:12.6f} {rate:6.3f} {shown[1]:8.5f} "
                f"{shown[2]:8.5f}"
            )


def dithered() -> None:
    """The nuclei have few grey levels, so that many plane medians tie; the same without such ties."""
    nuclei = scaled_nuclei()
    step = np.diff(np.unique(nuclei)).max()
    rough = nuclei + np.random.default_rng(0).uniform(0, step, nuclei.shape)
    print(f"the same with noise of one grey level ({step:.4f}), so that no two medians are the same")
    for axis in "zyx":
        degraded = core.degrade(rough.astype(np.float32), RATE, axis)
        rate = np.log(core.DecayCorrection(axis).fit(degraded).gains.max())
        print(f"{axis:>4} {alike(core.correct_decay(degraded, axis), nuclei):.6f} rate {rate:.3f}")


def saw_teeth_go(path: Path) -> None:
    volume = read_tiff(path).data
    corrected = core.correct_decay(volume, model="plane")
    before, after = (np.median(planes, axis=(1, 2)) for planes in (volume, corrected))
    print(f"{path.name}: {volume.shape} {volume.dtype}")
    print(f"  plane medians {before.min():g} to {before.max():g} -> {after.min():g} to {after.max():g}")
    print(f"  spread about their smooth course {100 * jumps(before):.3f} % -> {100 * jumps(after):.4f} %")
    print(f"  {jumps(before) / jumps(after):.0f} times less, peak to peak {np.ptp(before) / np.ptp(after):.0f} times")


def against_diplib(strengths=(3.0, 4.05, 4.5)) -> None:
    """The attenuation that DIPlib simulates, and both corrections of it: correlation with the truth."""
    import diplib

    truth = samples.load_nuclei()[:, :240, :240].reshape(60, 48, 5, 48, 5).mean(axis=(2, 4))
    truth /= np.percentile(truth, 99.9)
    print("DIPlib's simulated attenuation, 60 x 48 x 48: correlation with the truth")
    print(f"{'strength':>8} {'before':>8} {'defaults':>9} {'DIPlib mean':>12} {'DIPlib p90':>11} {'best gains':>11}")
    for strength in strengths:
        simulated = diplib.SimulatedAttenuation(diplib.Image(truth.astype(np.float32)), strength, strength, 0.3)
        degraded = np.asarray(simulated)
        # some voxels of the last plane are met by no ray
        degraded = np.where(np.isfinite(degraded), degraded, np.nanmedian(degraded, axis=(1, 2), keepdims=True))
        image = diplib.Image(degraded.astype(np.float32))
        best = (degraded * truth).sum(axis=(1, 2)) / (degraded**2).sum(axis=(1, 2))
        shown = [
            alike(each, truth)
            for each in (
                degraded,
                core.correct_decay(degraded),
                np.asarray(diplib.ExponentialFitCorrection(image)),
                np.asarray(diplib.ExponentialFitCorrection(image, percentile=90.0)),
                degraded * best[:, None, None],
            )
        ]
        print(f"{strength:8} {shown[0]:8.4f} {shown[1]:9.4f} {shown[2]:12.4f} {shown[3]:11.4f} {shown[4]:11.4f}")


def undegraded() -> None:
    """What each model finds in nuclei that lost no light, and what it would do to them."""
    nuclei = samples.load_nuclei()
    print("undegraded nuclei: support of the model (needed), and correlation with themselves if corrected anyway")
    for axis in "zyx":
        for model, needed in SUPPORT.items():
            if model == "histogram":
                # of time series only
                continue
            shown = []
            for percentile in (50, 75, 90, 99):
                adjustment = core.DecayCorrection(axis, model, percentile=percentile, force=True)
                transform = adjustment.fit(nuclei)
                shown.append(f"{transform.support:6.2f} {alike(transform.apply(nuclei), nuclei):.3f}")
            print(f"{axis:>4} {model:>12} ({needed}) " + "  ".join(shown))


def speed() -> None:
    rng = np.random.default_rng(0)
    print("seconds for 64 x 512 x 512")
    for dtype in ("uint16", "float32"):
        volume = rng.gamma(2, 300, (64, 512, 512)).astype(dtype)
        for axis in "zyx":
            adjustment = core.DecayCorrection(axis)
            transform = adjustment.fit(volume)
            fit, apply = best(lambda a=adjustment, v=volume: a.fit(v)), best(lambda t=transform, v=volume: t.apply(v))
            print(f"{dtype:>8} {axis}: fit {fit:.3f}, map {apply:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stacks", nargs="*", type=Path, help="3D TIFF stacks whose planes differ in brightness")
    options = parser.parse_args()
    decay_comes_back()
    dithered()
    undegraded()
    against_diplib()
    for path in options.stacks:
        saw_teeth_go(path)
    speed()


if __name__ == "__main__":
    main()

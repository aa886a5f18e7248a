"""Time series: flicker and bleaching before and after, and what a window costs.

    .venv/bin/python benchmarks/timelapse.py [--repeat 5] [--points 200]

A sample of drifting nuclei under a lamp that flickers by up to 8 % bleaches to 40 % over 50 time points; photons are
counted, and the camera adds 100.  The jump is the mean change of the mean of the result from one time point to the
next, as a part of the mean.  Times are medians of runs in turn in one process, after a warm-up; the ratio is the
median of the ratios pair by pair, and beside it that of the quickest runs, which others on the machine disturb least.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from napari_exposure import core

POINTS, SHAPE, BLACK = 50, (16, 128, 128), 100


def simulated() -> tuple[np.ndarray, np.ndarray]:
    """A movie, and the light at each time point."""
    rng = np.random.default_rng(1)
    light = 0.4 ** (np.arange(POINTS) / (POINTS - 1)) * (1 + 0.08 * rng.uniform(-1, 1, POINTS))
    places, drifts = rng.uniform(0, 1, (60, 3)) * SHAPE, rng.normal(0, 0.1, (60, 3))
    heights = rng.uniform(300, 1200, 60)
    axes = [np.arange(n, dtype=np.float64) for n in SHAPE]
    movie = np.empty((POINTS, *SHAPE), np.uint16)
    for at in range(POINTS):
        sample = np.full(SHAPE, 60.0)
        for place, drift, height in zip(places, drifts, heights, strict=True):
            waves = [
                np.exp(-(((axis - center) / size) ** 2))
                for axis, center, size in zip(axes, place + at * drift, (2, 5, 5), strict=True)
            ]
            sample += height * waves[0][:, None, None] * waves[1][:, None] * waves[2]
        movie[at] = rng.poisson(sample * light[at]) + BLACK
    return movie, light


def figures(found: np.ndarray) -> tuple[float, float]:
    """The mean jump from one time point to the next, and the last mean divided by the first."""
    means = found.reshape(len(found), -1).mean(axis=1, dtype=np.float64)
    return float(np.abs(np.diff(means)).mean() / means.mean()), float(means[-1] / means[0])


def flicker() -> None:
    movie, light = simulated()
    print(f"{'':58}    jump  of alone  last / first")
    print(f"{'the movie, above the black level':58}  {figures(movie - BLACK)[0]:.4f}            {light[-1]:.3f}")
    corrected = {"": movie}
    for model in ("ratio", "histogram"):
        transform = core.DecayCorrection("t", model, background=float(BLACK)).fit(movie)
        likeness = np.corrcoef(1 / transform.gains, light)[0, 1]
        corrected[f"correct_decay('t', '{model}'), "] = transform.apply(movie)
        jump, last = figures(corrected[f"correct_decay('t', '{model}'), "].astype(float) - BLACK)
        said = f"correct_decay('t', '{model}'), correlation {likeness:.5f}"
        print(f"{said:58}  {jump:.4f}            {last:.3f}")
    for adjustment in (core.AdaptiveEqualization(32.0), core.HistogramEqualization(), core.PercentileClip()):
        alone = None
        for before, series in corrected.items():
            for window in (1, 9):
                glides = core.Adjustment.from_dict({**adjustment.to_dict(), "per": "volume", "window": window})
                jump, last = figures(glides.fit(series).apply(series))
                alone = alone or jump
                said = f"{before}{adjustment.verb}, window {window}"
                print(f"{said:58}  {jump:.4f}  {jump / alone:8.2f}  {last:12.3f}")


def speed(points: int, repeat: int) -> None:
    sample = np.random.default_rng(0).gamma(2, 300, (32, 256, 256))
    movie = np.empty((points, *sample.shape), np.uint16)
    for at in range(points):
        movie[at] = np.roll(sample, at, 2) * (1 - 0.6 * at / points) + BLACK
    print(f"\n{points} time points of 32 x 256 x 256, uint16, fit and map; seconds, and ratio to per='volume'")
    for kind in (core.AdaptiveEqualization, core.HistogramEqualization):
        times: dict[int, list[float]] = {1: [], 5: [], 11: []}
        for _ in range(repeat + 1):
            for window, taken in times.items():
                start = time.perf_counter()
                kind(per="volume", window=window).fit(movie).apply(movie)
                taken.append(time.perf_counter() - start)
        for window, taken in times.items():
            ratio = statistics.median(ours / alone for ours, alone in zip(taken[1:], times[1][1:], strict=True))
            least = min(taken[1:]) / min(times[1][1:])
            median = statistics.median(taken[1:])
            print(f"{kind.verb:24} window {window:3}  {median:7.2f} s  {ratio:.2f}  of the quickest runs {least:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--points", type=int, default=200)
    options = parser.parse_args()
    flicker()
    speed(options.points, options.repeat)


if __name__ == "__main__":
    main()

"""Suggest against known truth: 20 synthetic volumes for each figure, the real nuclei, and how long it takes.

    .venv/bin/python benchmarks/suggest.py [--seeds 20] [STACK.tif ...]

Balls of a known diameter in haze are dimmed by a known decay, by a saw-tooth along z or by flicker over time, and
photographed with photon noise, read-out noise and an offset.  A figure that is right in each seed is written with its
largest error; what may be invented is counted in volumes that have none of it.  Each stack that is given is looked at
by itself.  The last table is that of the README's example, at the defaults of each adjustment.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import napari_exposure as nx
from napari_exposure import core, samples
from napari_exposure.core import findings
from napari_exposure.core.sample import take_sample
from napari_exposure.core.volume import Volume

# the scenes are those of the tests
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from core.scenes import LARGE, SHAPE, SMALL, balls, scene, series


def looked(volume):
    return take_sample(Volume(volume))


def errors(seeds: int) -> None:
    print(f"{'found, in so many volumes: ' + str(seeds):40}   worst")
    for diameter in ((10.0, 10.0, 10.0), (16.0, 16.0, 16.0), (6.0, 20.0, 20.0), (24.0, 24.0, 24.0)):
        found = np.array([findings.find_structures(looked(scene(seed, diameter))) for seed in range(seeds)])
        worst = np.abs(found / diameter - 1).max(axis=0)
        what = f"structures of {diameter[0]:g} x {diameter[1]:g} x {diameter[2]:g} voxels"
        print(f"{what:40}{worst.max():8.1%}")
    for sigma in (2.0, 5.0, 20.0):
        noise = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            noise.append(
                core.noise_level(100 + 400 * balls(SHAPE, (14.0,) * 3, 0.25, rng) + rng.normal(0, sigma, SHAPE))
            )
        for name in ("dark", "bright"):
            worst = max(abs(getattr(each, name) / sigma - 1) for each in noise)
            print(f"{f'noise of {sigma:g} where {name}':40}{worst:8.1%}")
    for axis in range(3):
        for decay in (0.7, 1.5, 3.0):
            volumes = (scene(seed, SMALL, decay=decay, axis=axis) for seed in range(seeds))
            trends = [findings.find_trend(looked(volume), axis - 3) for volume in volumes]
            errors = np.array([abs(-trend.rate / decay - 1) for trend in trends if trend is not None])
            worst = f"{errors.max():8.1%}" if errors.size else "        "
            print(
                f"{f'decay by exp(-{decay:g}) along ' + 'zyx'[axis]:40}{worst}   {errors.size} found, "
                f"{(errors < 0.1).sum()} within 10 %"
            )


def alarms(seeds: int) -> None:
    print("found in so many of so many volumes")
    for teeth in (0.0, 0.05, 0.1):
        number = sum(findings.find_jumps(looked(scene(seed, teeth=teeth))) is not None for seed in range(seeds))
        print(f"saw-tooth of {teeth:4.0%}                  {number:3} of {seeds}")
    for flicker in (0.0, 0.05):
        number = sum(findings.find_flicker(looked(series(seed, flicker))) is not None for seed in range(seeds))
        print(f"flicker of {flicker:4.0%}                    {number:3} of {seeds}")
    for axis in range(3):
        for diameter in (SMALL, LARGE):
            volumes = (scene(seed, diameter) for seed in range(seeds))
            number = sum(findings.find_trend(looked(volume), axis - 3) is not None for volume in volumes)
            print(f"decay along {'zyx'[axis]} where there is none, balls of {diameter[0]:2g}    {number:3} of {seeds}")
    steps = [nx.suggest(scene(seed), spacing=1.0, unit="um").recipe for seed in range(seeds)]
    wrong = sum(step is not None for step in steps)
    print(f"volumes of nothing but balls that need something: {wrong} of {seeds}")


def alike(one, other) -> float:
    """Pearson's correlation of all voxels."""
    return float(np.corrcoef(np.ravel(one).astype(float), np.ravel(other).astype(float))[0, 1])


def samples_table() -> None:
    """Likeness of the results of the nuclei and their degraded twin, and of the latter with the nuclei themselves."""
    original, degraded = (layer[0] for layer in samples.degraded_nuclei())
    rows = {
        "as they are": (),
        "adaptive, defaults": (core.AdaptiveEqualization(),),
        "adaptive, clip limit 0.9, tile 10 um": (core.AdaptiveEqualization(10.0, 0.9),),
        "local stretch, tile 16 um": (core.LocalStretch(16.0),),
        "local stretch, tile 12 um, then adaptive": (core.LocalStretch(12.0), core.AdaptiveEqualization()),
        "depth correction along x, then adaptive": (core.DecayCorrection("x"), core.AdaptiveEqualization()),
    }
    print(f"\n{'nuclei and degraded nuclei':46}{'likeness':>10}{'structure kept':>16}")
    for name, steps in rows.items():
        both = [original, degraded]
        if steps:
            both = [nx.Recipe(steps, "um").apply(each, spacing=samples.NUCLEI_SPACING) for each in both]
        print(f"{name:46}{alike(*both):10.4f}{alike(both[1], original):16.4f}")
    both = []
    for each in (original, degraded):
        recipe = nx.suggest(each, spacing=samples.NUCLEI_SPACING, unit="um").recipe
        both.append(each if recipe is None else recipe.apply(each, spacing=samples.NUCLEI_SPACING))
    print(f"{'suggested for each by itself':46}{alike(*both):10.4f}{alike(both[1], original):16.4f}")


def pace() -> None:
    volume = np.random.default_rng(0).gamma(2, 300, (512, 512, 512)).astype(np.uint16)
    nx.suggest(volume[:64, :64, :64], spacing=1.0, unit="um")
    start = time.perf_counter()
    nx.suggest(volume, spacing=1.0, unit="um")
    print(f"\n512 x 512 x 512 uint16: {time.perf_counter() - start:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("stacks", nargs="*", type=Path)
    options = parser.parse_args()
    errors(options.seeds)
    alarms(options.seeds)
    samples_table()
    pace()
    for path in options.stacks:
        file = nx.read_tiff(path)
        print(f"\n{path.name}\n{nx.suggest(file.data, spacing=file.scale[-3:], unit=file.units[-1])}")


if __name__ == "__main__":
    main()

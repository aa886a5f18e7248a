"""Draws how adaptive equalization works, from the real nuclei and with the functions that do it.

python examples/how_it_works.py --pictures FOLDER   saves the pictures of docs/how.md there
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from napari_exposure import core
from napari_exposure.samples import nuclei


def draw_limit(volume: np.ndarray, spacing) -> Figure:
    """The histogram of a tile, the limit, what remains of it, and its function with and without the limit."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for clip_limit, color in ((0, "tab:blue"), (0.02, "crimson")):
        fit = core.AdaptiveEqualization(10.0, clip_limit=clip_limit).fit(volume, spacing=spacing).fits[()]
        knots = fit.function(tuple(n // 2 for n in fit.grid.shape))
        share = np.diff(knots)
        intensities = np.linspace(fit.lo, fit.hi, len(knots))
        label = "not limited" if clip_limit == 0 else f"clip limit {clip_limit:g}"
        left.stairs(100 * share, intensities, color=color, label=label, fill=clip_limit == 0, alpha=0.8)
        right.plot(intensities, knots, color=color, label=label)
    left.axhline(2, color="crimson", linestyle="--", linewidth=1)
    left.set(xlabel="intensity", ylabel="voxels of the tile, %", ylim=(0, 6), title="histogram of a tile")
    right.set(xlabel="intensity", ylabel="result", title="its function")
    for ax in (left, right):
        ax.legend()
        ax.set_xlim(fit.lo, fit.hi)
    return figure


def draw_weights(volume: np.ndarray, spacing) -> Figure:
    """How the tiles count along an axis, and what one intensity becomes along it."""
    transform = core.AdaptiveEqualization(10.0, output="float32").fit(volume, spacing=spacing)
    axis = transform.fits[()].grid.axes[2]
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    size = volume.shape[2]
    places = np.arange(size) + 0.5
    right = np.minimum(axis.left + 1, axis.tiles - 1)
    for tile in range(axis.tiles):
        weights = np.where(axis.left == tile, 1 - axis.weight, 0) + np.where(right == tile, axis.weight, 0)
        above.plot(places, weights, linewidth=1.2)
    above.set(ylabel="weight", title="weights of the tiles along x, and their borders")
    # a volume of one intensity, mapped by what was fitted on the nuclei
    level = int(np.percentile(volume, 70))
    plane = np.full((1, 1, size), level, volume.dtype)
    middle = transform(plane, (volume.shape[0] // 2, volume.shape[1] // 2, 0))
    below.plot(places, middle[0, 0], color="crimson")
    below.set(xlabel="x, voxels", ylabel="result", xlim=(0, size), title=f"what the intensity {level} becomes along x")
    for ax in (above, below):
        for edge in axis.edges:
            ax.axvline(edge, color="gray", linewidth=0.5)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", metavar="FOLDER", type=Path, required=True)
    options = parser.parse_args()
    data, placement, _ = nuclei()[0]
    volume = np.asarray(data)
    draw_limit(volume, placement["scale"]).savefig(options.pictures / "how_limit.png", dpi=110)
    draw_weights(volume, placement["scale"]).savefig(options.pictures / "how_weights.png", dpi=110)


if __name__ == "__main__":
    main()

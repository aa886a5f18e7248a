"""Small cases of everything that computes, and the digests of their results; run as a script, it prints them.

``same_bits.json`` holds what it printed once.  A change that is meant to change results writes it anew:

    python tests/core/same_bits.py > tests/core/same_bits.json

The inputs come from integers of a seeded generator: its floats would take functions of the C library.
"""

import hashlib
import json
import sys
import warnings

import numpy as np

from napari_exposure import core
from napari_exposure.core.intensity import luminance
from napari_exposure.recipe import Recipe

SHAPE = (6, 40, 44)


def noise(dtype, shape=SHAPE, seed=0):
    """A volume of skewed intensities; floats of it have all their digits."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    dark, bright = (rng.integers(1, 1 << 16, shape) / (1 << 16) for _ in range(2))
    values = dark * bright
    if dtype.kind == "f":
        return values.astype(dtype)
    least = 0 if dtype.kind == "u" else np.iinfo(dtype).min // 2
    return (least + values * (np.iinfo(dtype).max - least)).astype(dtype)


def faded(dtype, shape=(24, 20, 22)):
    """A volume that decays with depth, one plane excepted."""
    light = np.cumprod(np.full(shape[0], 0.9))
    light[7] *= 3
    values = noise("float64", shape) * light[:, None, None]
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else (values * 60_000).astype(dtype)


def joined(*arrays):
    """The bytes of several results."""
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def of_histogram(found):
    return joined(found.counts, found.edges, [found.mean, found.std, found.percentile(37.0), found.fraction(0.25)])


def of_decay(volume, **options):
    return joined(*core.decay_profile(volume, **options), core.correct_decay(volume, output="float32", **options))


def of_overlaps(volume):
    """Factors and offsets of two tiles; the second one has noise of its own."""
    tiles = volume[:, :, :30], 0.7 * volume[:, :, 14:] + 0.2 + noise("f4", volume[:, :, 14:].shape, 3) / 50
    found = core.fit_overlaps(tiles, translate=[(0, 0, 0), (0, 0, 14)])
    return joined([(each.factor, each.offset) for each in found])


COLOURS = (4, 30, 33, 3)
# name: (volume, what is computed of it, as bytes or an array)
CASES = {
    "gamma uint8": (noise("u1"), lambda v: core.adjust_gamma(v, 0.45, output="float32")),
    "gamma uint16": (noise("u2"), lambda v: core.adjust_gamma(v, 2.2)),
    "gamma int32": (noise("i4"), lambda v: core.adjust_gamma(v, 0.7, 1.1)),
    "gamma uint32": (noise("u4"), lambda v: core.adjust_gamma(v, 3.3, output="float32")),
    "gamma float16": (noise("f2"), lambda v: core.adjust_gamma(v, 0.3)),
    "gamma float32": (noise("f4"), lambda v: core.adjust_gamma(v, 0.7)),
    "gamma float64": (noise("f8"), lambda v: core.adjust_gamma(v, 1.7, in_range=(-0.1, 0.8))),
    "gamma rgb": (noise("u1", COLOURS), lambda v: core.adjust_gamma(v, 0.6, output="float32", rgb=True)),
    "clip uint16": (noise("u2"), lambda v: core.clip_percentiles(v, 1, 98.5, output="float32")),
    "clip float32": (noise("f4"), lambda v: core.clip_percentiles(v, 0.3, 99.1)),
    "equalize uint8": (noise("u1"), lambda v: core.equalize_hist(v, output="float32")),
    "equalize float32": (noise("f4"), lambda v: core.equalize_hist(v, per="plane")),
    "equalize planes": (noise("f8"), lambda v: core.equalize_hist(v, method="rank", per="plane")),
    "equalize rank": (noise("i4"), lambda v: core.equalize_hist(v, method="rank", output="float32")),
    "adaptive uint16": (noise("u2"), lambda v: core.equalize_adapthist(v, 11.0, 0.02, output="float32")),
    "adaptive float32": (noise("f4"), lambda v: core.equalize_adapthist(v, (3, 9, 10), mask=np.asarray(v) > 0.1)),
    "adaptive rgba": (noise("f4", (*COLOURS[:3], 4)), lambda v: core.equalize_adapthist(v, 12.0, rgb=True)),
    "stretch uint16": (noise("u2"), lambda v: core.stretch_local(v, 11.0, 2, 97, output="float32")),
    "stretch float32": (noise("f4"), lambda v: core.stretch_local(v, (3, 9, 10), mask=np.asarray(v) > 0.1)),
    "match uint16": (noise("u2"), lambda v: core.match_histograms(v, noise("u1", seed=1), output="float32")),
    "match float32": (noise("f4"), lambda v: core.match_histograms(v, noise("f4", seed=1), 512)),
    "match colors": (
        noise("u1", COLOURS),
        lambda v: core.match_histograms(v, noise("u1", COLOURS, seed=1), colors="each", rgb=True),
    ),
    "linear float32": (noise("f4"), lambda v: core.adjust_linear(v, 1.7, -0.1)),
    "overlaps float32": (noise("f4"), of_overlaps),
    "sum uint16": (noise("u2"), lambda v: joined(*Recipe(core.Gamma(0.7)).apply([v, v // 3], fit_on="sum"))),
    "all float32": (noise("f4"), lambda v: joined(*Recipe(core.PercentileClip(1, 98)).apply([v, v / 3], fit_on="all"))),
    "decay": (noise("u2"), lambda v: core.degrade(v, 2.3, "x", output="float32")),
    "profile exponential": (faded("u2"), lambda v: of_decay(v)),
    "profile smooth": (faded("f4"), lambda v: of_decay(v, model="smooth", percentile=70.0)),
    "profile plane": (faded("f8"), lambda v: of_decay(v, model="plane", background="auto")),
    "histogram uint16": (noise("u2"), lambda v: of_histogram(core.histogram(v))),
    "histogram float32": (noise("f4"), lambda v: of_histogram(core.histogram(v, 100))),
    "percentiles int32": (noise("i4"), lambda v: core.percentile(v, (0.1, 33.3, 99.9))),
    "percentiles float64": (noise("f8"), lambda v: core.percentile(v, (0.1, 33.3, 99.9))),
    "luminance uint8": (noise("u1", COLOURS), luminance),
    "luminance float32": (noise("f4", COLOURS), luminance),
    "luminance float64": (noise("f8", (*COLOURS[:3], 4)), luminance),
    "colormap": (noise("f4", COLOURS), lambda v: joined(*core.from_colormap(v, noise("f8", (50, 3), 2)))),
}


def padded(volume):
    """The same values at addresses that are not aligned, with gaps between them."""
    gaps = np.empty((*volume.shape[:-1], volume.shape[-1] + 3), volume.dtype)
    part = np.zeros(gaps.nbytes + 1, np.uint8)[1:].view(volume.dtype).reshape(gaps.shape)[..., : volume.shape[-1]]
    part[...] = volume
    return part


LAYOUTS = {
    "as it is": lambda volume: volume,
    "Fortran": np.asfortranarray,
    "other byte order": lambda volume: volume.astype(volume.dtype.newbyteorder()),
    "not aligned": padded,
    "backwards": lambda volume: np.ascontiguousarray(volume[::-1, :, ::-1])[::-1, :, ::-1],
}


def digest(case, layout="as it is"):
    """The SHA-256 of a case's result, in little-endian order."""
    volume, compute = CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compute(LAYOUTS[layout](volume))
    if not isinstance(found, bytes):
        found = np.asarray(found)
        found = found.astype(found.dtype.newbyteorder("<")).tobytes()
    return hashlib.sha256(found).hexdigest()


if __name__ == "__main__":
    print(json.dumps({case: digest(case) for case in sys.argv[1:] or CASES}, indent=2))

"""Volumes of known truth: balls in haze, dimmed and photographed.  Benchmarks look at more of them."""

import numpy as np

SHAPE = (48, 160, 160)
SMALL, LARGE = (8.0,) * 3, (14.0,) * 3
OFFSET, READ_NOISE, PHOTONS, GAIN = 100.0, 3.0, 120.0, 4.0


def balls(shape: tuple[int, ...], diameter: tuple[float, ...], share: float, rng: np.random.Generator) -> np.ndarray:
    """Balls of brightness 0.5 to 1 in haze of 0.1, whose diameters are in voxels along each axis."""
    light = np.full(shape, 0.1)
    radii = np.array(diameter) / 2
    number = round(share * np.prod(shape) / (4.19 * np.prod(radii)))
    for _ in range(number):
        centre = rng.uniform(-radii, np.array(shape) + radii)
        box = tuple(
            slice(max(0, int(c - r)), max(0, min(n, int(c + r) + 2)))
            for c, r, n in zip(centre, radii, shape, strict=True)
        )
        axes = [np.arange(part.start, part.stop) + 0.5 for part in box]
        grid = np.meshgrid(*axes, indexing="ij", sparse=True)
        inside = sum(((each - c) / r) ** 2 for each, c, r in zip(grid, centre, radii, strict=True)) < 1
        light[box] = np.maximum(light[box], inside * rng.uniform(0.5, 1))
    return light


def photograph(light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera makes of it."""
    signal = GAIN * rng.poisson(PHOTONS * light) + rng.normal(OFFSET, READ_NOISE, light.shape)
    return np.clip(np.rint(signal), 0, 65535).astype(np.uint16)


def scene(seed: int, diameter=LARGE, share=0.25, decay=0.0, axis=0, teeth=0.0) -> np.ndarray:
    """A volume of known truth; `teeth` is the height of a saw-tooth of ten planes along z."""
    rng = np.random.default_rng(seed)
    light = balls(SHAPE, diameter, share, rng)
    at = np.arange(SHAPE[axis]).reshape([-1 if n == axis else 1 for n in range(3)]) / SHAPE[axis]
    saw = 1 + teeth * ((np.arange(SHAPE[0]) % 10) / 9 - 0.5)
    return photograph(light * np.exp(-decay * at) * saw[:, None, None], rng)


def series(seed: int, flicker=0.0) -> np.ndarray:
    """The same balls at 12 times, each time as bright as its lamp."""
    rng = np.random.default_rng(seed)
    light = balls((16, 96, 96), (12.0,) * 3, 0.25, rng)
    lamp = 1 + flicker * rng.choice([-1, 1], 12)
    return np.stack([photograph(light * each, rng) for each in lamp])

"""Measures how strong the noise of a volume is where it is dark and where it is bright."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_exposure.core.blocks import Block, walk
from napari_exposure.core.images import opened
from napari_exposure.core.intensity import NoiseLimit, check_exposure
from napari_exposure.core.memory import remembered
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume

# The median of the absolute values of so many voxels is right to a thousandth, so no more are looked at.
SAMPLE = 1 << 20
# These voxels come from square windows in planes, whose edges have this length.
WINDOW = 256
# This is the median of the absolute values of a normal distribution of standard deviation 1.
MEDIAN = 0.6744897501960817
# The range is cut off at a level if this fraction of the places that have it have nothing else, and most others that
# have it go this far across the range.
CUT, STEEP = 0.25, 0.5
# A place is called bright if so many percent of the sample are darker.
BRIGHT = 90.0
# Steps by the inverse powers of the plastic number spread any number of windows evenly over a plane (Roberts 2018).
SPREAD = 0.7548776662466927, 0.5698402909980532


@dataclass(frozen=True)
class NoiseLevel:
    """The noise of a volume, in its intensities.

    Attributes
    ----------
    dark, bright : float
        Standard deviations of the noise where the mean of a voxel and its neighbors is below the median of all such
        means, and where it is in their brightest tenth; NaN where no plane has 3 voxels along any axis.
    signal : float
        The difference between the 1st and the 99th percentile of these means.
    voxels : int
        The number of voxels that were looked at.

    Examples
    --------
    >>> from napari_exposure.core import NoiseLevel
    >>> print(NoiseLevel(dark=41.2, bright=95.4, signal=1140.0, voxels=1000))
    noise 41.2 where dark, 95.4 where bright; signal to noise 11.9
    """

    dark: float
    bright: float
    signal: float
    voxels: int

    @property
    def most(self) -> float:
        """The greater of `dark` and `bright`."""
        return max(self.dark, self.bright)

    @property
    def snr(self) -> float:
        """The ratio of signal to noise: `signal` divided by the noise of bright parts."""
        return self.signal / self.bright if self.bright else math.inf

    def __str__(self) -> str:
        return (
            f"noise {self.dark:.3g} where dark, {self.bright:.3g} where bright; signal to noise "
            f"{'without end' if math.isinf(self.snr) else f'{self.snr:.3g}'}"
        )


def noise_gain(limit: NoiseLimit, volume: Volume, width: float) -> float:
    """Return how many times as steep as stretching an input range of this width an adjustment may be.

    It is at least 1, and just 1 where the noise cannot be measured.
    """
    sigma = find_noise(volume).most
    if sigma == 0:
        return math.inf
    return 1.0 if math.isnan(sigma) else max(limit.limit * width / sigma, 1.0)


def noise_level(
    image: ArrayLike | Layer,
    *,
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    rgb: bool | None = None,
) -> NoiseLevel:
    """Measure the standard deviation of the noise of a volume, where it is dark and where it is bright.

    Parameters
    ----------
    image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
        uint8, uint16, uint32, int8, int16, int32, float16, float32 or float64.  Never written.  In a volume of more
        than a million voxels, windows all over it are looked at, which are the same for any chunks.
    mask : array-like or napari.layers.Labels, optional
        Of the image's shape; a voxel is used if it and all of its neighbors are not zero there.
    ignore_zeros : bool
        Leave out voxels of exactly 0 and their neighbors.
    rgb : bool, optional
        Whether the last axis of an array holds RGB or RGBA.  The value channel is looked at.

    Returns
    -------
    NoiseLevel

    Raises
    ------
    TypeError
        For a dtype that has no exposure.
    ValueError
        For an empty volume, a mask of another shape, or where no voxel has counted neighbors on both sides.

    See Also
    --------
    NoiseLimit : lets noise grow to a fraction of the range, where others ask for a clip limit.

    Notes
    -----
    The planes along the last two axes are filtered with the difference of two Laplacians, 1 -2 1, -2 4 -2, 1 -2 1,
    which removes structure that changes slowly [1]_.  The median of the absolute values, divided by 0.6745 and by the
    norm of the filter, is the standard deviation of white noise; few edges do not change it.  The mean of the same
    nine voxels, on which the filter does not depend, says whether a place is dark or bright.  Only the flatter half of
    either kind is used, so that edges do not count.  Noise that neighbors share, as after smoothing or resampling, is
    underestimated; so is the noise of dark voxels that a camera has cut off at 0.  Places where all nine voxels have
    the least or all nine the greatest value are left out; if there are many of them with
    steep edges, as of saturated structures, these edges are left out for the noise too.

    References
    ----------
    .. [1] J. Immerkaer, Fast noise variance estimation, Computer Vision and Image Understanding 64 (1996) 300-302.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import noise_level
    >>> rng = np.random.default_rng(0)
    >>> light = np.linspace(100, 2000, 256)
    >>> noise = noise_level(rng.normal(light, np.where(light < 1050, 20, 40), (16, 256, 256)))
    >>> round(noise.dark), round(noise.bright)
    (20, 40)
    """
    found = opened(image, mask=mask, rgb=rgb)
    volume = found.volume(ignore_zeros)
    check_exposure(volume.array.dtype)
    with found.bar():
        noise = find_noise(volume)
    if math.isnan(noise.dark):
        raise ValueError(
            "No voxel has counted neighbors on both sides along the last two axes, so noise cannot be told. Choose "
            "another mask or volume."
        )
    return noise


@remembered(lambda found: 64)
def find_noise(volume: Volume) -> NoiseLevel:
    """Return the noise of a volume, which is NaN where it cannot be measured."""
    parts, looked = [], 0
    norm = 6.0 ** (sum(size > 2 for size in volume.shape[-2:]) / 2)

    def work(place: tuple[Volume, Block]) -> tuple[np.ndarray, int]:
        part, block = place
        values = part.read(block)
        return _filtered(values, part.counted(block, values)), values.size

    def merge(found: tuple[np.ndarray, int]) -> None:
        nonlocal looked
        parts.append(found[0])
        looked += found[1]

    places = ((part, block) for part in volume.parts for block in windows(part.shape))
    walk(places, work, merge, "measuring noise")
    response, mean, slope, least, most = np.concatenate(parts, axis=1)
    if norm == 1 or not mean.size:
        return NoiseLevel(math.nan, math.nan, math.nan, looked)
    if not (np.isfinite(response).all() and np.isfinite(mean).all()):
        raise ValueError("The intensities are so large that float64 cannot hold their differences. Divide them first.")
    # Dead and saturated places have no noise, and the steep edges of such areas have none that can be told.
    dead, cut = _cut_off(least, most)
    low, high = (float(_at(mean if dead.all() else mean[~dead], q)) for q in (1.0, 99.0))
    alive = ~(dead | cut)
    if alive.any():
        response, mean, slope = response[alive], mean[alive], slope[alive]
    middle, bright = (float(_at(mean, q)) for q in (50.0, BRIGHT))
    sigmas = []
    for there in (mean <= middle, mean >= bright):
        # The flatter half leaves out edges, and the choice does not depend on the noise of a place.
        flat = slope[there] <= _at(slope[there], 50.0)
        sigmas.append(_middle(response[there][flat]) / (MEDIAN * norm))
    return NoiseLevel(sigmas[0], sigmas[1], high - low, looked)


def windows(shape: tuple[int, ...]) -> Iterator[Block]:
    """Return windows in planes all over a volume, with about `SAMPLE` voxels, or all planes where these are fewer."""
    planes, size = math.prod(shape[:-2]), shape[-2:]
    window = size if math.prod(shape) <= SAMPLE else tuple(min(n, WINDOW) for n in size)
    number = -(-SAMPLE // math.prod(window))
    number = min(number, planes) if window == size else number
    return spread_blocks(shape, window, range(1, number + 1), SPREAD)


def spread_blocks(
    shape: tuple[int, ...], edges: tuple[int, ...], numbers: range, steps: Sequence[float]
) -> Iterator[Block]:
    """Yield a block with these edges for each number, spread evenly over the last axes by the steps, and over others.

    Along the axes before those of `edges` a block has one index.
    """
    lead, size = shape[: -len(edges)], shape[-len(edges) :]
    for count, number in enumerate(numbers):
        index = np.unravel_index(int((count + 0.5) / len(numbers) * math.prod(lead)), lead) if lead else ()
        corner = [int((0.5 + number * step) % 1 * (n - m + 1)) for step, n, m in zip(steps, size, edges, strict=False)]
        place = tuple(slice(int(at), int(at) + 1) for at in index)
        yield place + tuple(slice(at, at + m) for at, m in zip(corner, edges, strict=True))


def _filtered(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Return absolute response, mean, squared slope, least and greatest voxel, in five rows, where all neighbors count.

    The mean is that of the neighbors, and the slope that between their sums on either side.  White noise gives the
    three independently of each other, because the filters of the slope are odd and the other two are even.
    """
    response = total = least = most = values.astype(np.float64)
    slopes: list[np.ndarray] = []
    use = np.isfinite(response)
    if counted.size:
        use &= counted
    number = 1
    # Infinite voxels make NaN here, which is not used.
    with np.errstate(invalid="ignore", over="ignore"):
        for axis in (-1, -2):
            if values.shape[axis] < 3:
                continue
            before, here, after = (
                tuple(part if n == values.ndim + axis else slice(None) for n in range(values.ndim))
                for part in (slice(None, -2), slice(1, -1), slice(2, None))
            )
            rises = total[after] - total[before]
            slopes = [each[before] + each[here] + each[after] for each in slopes] + [rises]
            response = response[before] - 2 * response[here] + response[after]
            total = total[before] + total[here] + total[after]
            least = np.minimum(np.minimum(least[before], least[here]), least[after])
            most = np.maximum(np.maximum(most[before], most[here]), most[after])
            use = use[before] & use[here] & use[after]
            number *= 3
        squares = sum((each * each for each in slopes), np.zeros(use.shape))
    return np.stack([np.abs(response[use]), total[use] / number, squares[use], least[use], most[use]])


def _cut_off(least: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which places are wholly at an end of the range, and which have a voxel at an end that is cut off.

    The range is cut off at an end if many of the places that have a voxel there have nothing else, because their true
    intensities lie beyond, and the others are steep edges.  Otherwise voxels are there by chance, as of few photons.
    """
    lowest, highest = least.min(), most.max()
    dead, cut = np.zeros((2, least.size), bool)
    for touching, within in ((least == lowest, most == lowest), (most == highest, least == highest)):
        dead |= within
        border = touching & ~within
        if (
            np.count_nonzero(within) >= CUT * np.count_nonzero(touching)
            and border.any()
            and _at((most - least)[border], 50.0) >= STEEP * (highest - lowest)
        ):
            cut |= touching
    return dead, cut


def _at(values: np.ndarray, percent: float) -> Any:
    """Return the value at the rank that is nearest to a percentile."""
    rank = round(percent / 100 * (values.size - 1))
    return np.partition(values, rank)[rank]


def _middle(values: np.ndarray) -> float:
    """Return the median, for which equal values, as integers have, are spread half way to the next ones."""
    found = float(_at(values, 50.0))
    below, ties = np.count_nonzero(values < found), np.count_nonzero(values == found)
    lower = float(values[values < found].max()) if below else found
    upper = float(values[values > found].min()) if below + ties < values.size else found
    share = (0.5 * values.size - below) / ties
    start, stop = (lower + found) / 2, (found + upper) / 2
    return float(max(start + share * (stop - start), 0.0))

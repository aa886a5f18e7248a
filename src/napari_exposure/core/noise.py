"""Noise: how strong it is where a volume is dark and where it is bright."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_exposure.core.blocks import Block, Volume, walk
from napari_exposure.core.images import opened
from napari_exposure.core.intensity import check_exposure
from napari_exposure.core.memory import remembered
from napari_exposure.core.noise_limit import NoiseLimit
from napari_exposure.core.typing import ArrayLike, Layer

__all__ = ["NoiseLevel", "noise_level"]

# voxels that are looked at: of so many the median of absolute values is right to a thousandth
SAMPLE = 1 << 20
# edge of the windows in planes that these voxels come from
WINDOW = 256
# of a normal distribution, the median of absolute values
MEDIAN = 0.6744897501960817
# percent of a sample that are darker than what is called bright
BRIGHT = 90.0
# where the plastic number's powers put windows, which so lie evenly spread however many there are (Roberts 2018)
SPREAD = 0.7548776662466927, 0.5698402909980532


@dataclass(frozen=True)
class NoiseLevel:
    """The noise of a volume, in its intensities.

    Attributes
    ----------
    dark, bright : float
        Its standard deviation where the mean of a voxel and its neighbors is below the median of all, and in the
        brightest tenth; NaN where no plane has 3 voxels along any axis.
    signal : float
        From the 1st to the 99th percentile of these means.
    voxels : int
        That were looked at.

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
        """The greater of the two."""
        return max(self.dark, self.bright)

    @property
    def snr(self) -> float:
        """Signal to noise: how many times the noise of bright parts the range of intensities without noise is."""
        return self.signal / self.bright if self.bright else math.inf

    def __str__(self) -> str:
        return (
            f"noise {self.dark:.3g} where dark, {self.bright:.3g} where bright; signal to noise "
            f"{'without end' if math.isinf(self.snr) else f'{self.snr:.3g}'}"
        )


def noise_gain(limit: NoiseLimit, volume: Volume, width: float) -> float:
    """How many times as steep as stretching an input range of this width an adjustment may be; at least 1.

    Just 1 where the noise cannot be told.
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
    """The standard deviation of the noise of a volume, where it is dark and where it is bright.

    Parameters
    ----------
    image : array-like, 2 to 5 axes ([T, C,] [Z,] Y, X), or napari.layers.Image
        uint8, uint16, uint32, int8, int16, int32, float16, float32 or float64.  Never written.  Of more than
        a million voxels windows all over the volume are looked at, the same whatever the chunks.
    mask : array-like or napari.layers.Labels, optional
        Of the image's shape; only voxels are used that are, with all of their neighbors, not zero there.
    ignore_zeros : bool
        Leave out voxels of exactly 0 and their neighbors.
    rgb : bool, optional
        Of arrays: the last axis holds RGB or RGBA.  The value channel is looked at.

    Returns
    -------
    NoiseLevel

    Raises
    ------
    TypeError
        For a dtype that has no exposure.
    ValueError
        For an empty volume, a mask of another shape, or where there are no 3 x 3 counted neighbors.

    See Also
    --------
    NoiseLimit : lets noise grow to a fraction of the range, where others ask for a clip limit.

    Notes
    -----
    The planes along the last two axes are filtered with the difference of two Laplacians, 1 -2 1, -2 4 -2, 1 -2 1,
    which leaves nothing of structure that changes slowly [1]_; the median of absolute values, over 0.6745 and the norm
    of the mask, is the standard deviation of white noise, whatever the few edges are. The mean of the same nine voxels,
    on which the filter does not depend, says whether a place is dark or bright, and of either kind the flatter half is
    taken, so that edges do not count. Noise that neighbors share, as after smoothing or resampling, is underestimated;
    so is the noise of dark voxels that a camera has cut off at 0. Places where all nine are the least or all nine are
    the greatest value are left out.

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
    """The noise of a volume; NaN where it cannot be told."""
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
    response, mean, slope = np.concatenate(parts, axis=1)
    if mean.size:
        # Dead and saturated places have no noise, which says nothing of the others.
        alive = (mean > mean.min()) & (mean < mean.max()) | (response > 0)
        if alive.any():
            response, mean, slope = response[alive], mean[alive], slope[alive]
    if norm == 1 or not mean.size:
        return NoiseLevel(math.nan, math.nan, math.nan, looked)
    low, middle, bright, high = (float(_at(mean, q)) for q in (1.0, 50.0, BRIGHT, 99.0))
    sigmas = []
    for there in (mean <= middle, mean >= bright):
        # the flatter half, which leaves out edges and does not prefer any noise
        flat = slope[there] <= _at(slope[there], 50.0)
        sigmas.append(_middle(response[there][flat]) / (MEDIAN * norm))
    return NoiseLevel(sigmas[0], sigmas[1], high - low, looked)


def windows(shape: tuple[int, ...], voxels: int = SAMPLE, edge: int = WINDOW) -> Iterator[Block]:
    """Windows in planes that hold about so many voxels and lie all over a volume; all planes where these are fewer."""
    planes, size = math.prod(shape[:-2]), shape[-2:]
    window = size if math.prod(shape) <= voxels else tuple(min(n, edge) for n in size)
    number = min(-(-voxels // math.prod(window)), planes if window == size else -(-voxels // math.prod(window)))
    for count in range(number):
        plane = np.unravel_index(int((count + 0.5) / number * planes), shape[:-2]) if len(shape) > 2 else ()
        corner = [
            int((0.5 + (count + 1) * step) % 1 * (n - m + 1)) for step, n, m in zip(SPREAD, size, window, strict=True)
        ]
        lead = tuple(slice(int(at), int(at) + 1) for at in plane)
        yield lead + tuple(slice(at, at + m) for at, m in zip(corner, window, strict=True))


def _filtered(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Of the places whose neighbors all count, three rows: absolute response, mean of the neighbors, squared slope.

    The slope is that between the sums of neighbors on either side.  Its filters are odd and the other ones even, so
    that white noise gives the three independently of each other.
    """
    response = total = values.astype(np.float64)
    slopes: list[np.ndarray] = []
    use = np.isfinite(response)
    if counted.size:
        use &= counted
    number = 1
    # of infinities NaN, which is not used
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
            use = use[before] & use[here] & use[after]
            number *= 3
        squares = sum((each * each for each in slopes), np.zeros(use.shape))
    return np.stack([np.abs(response[use]), total[use] / number, squares[use]])


def _at(values: np.ndarray, percent: float) -> Any:
    """The value at a rank."""
    rank = round(percent / 100 * (values.size - 1))
    return np.partition(values, rank)[rank]


def _middle(values: np.ndarray) -> float:
    """The median; where many values tie, as of integers, each stands for all up to half way to the next ones."""
    found = float(_at(values, 50.0))
    below, ties = np.count_nonzero(values < found), np.count_nonzero(values == found)
    lower = float(values[values < found].max()) if below else found
    upper = float(values[values > found].min()) if below + ties < values.size else found
    share = (0.5 * values.size - below) / ties
    start, stop = (lower + found) / 2, (found + upper) / 2
    return float(max(start + share * (stop - start), 0.0))

"""Mixtures of Gaussians that are fitted to a histogram of intensities, or of colors in three dimensions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from napari_exposure.core.blocks import Block
from napari_exposure.core.counting import count_histogram
from napari_exposure.core.functions import exp, log
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.images import opened
from napari_exposure.core.intensity import check_count, check_number, dtype_range
from napari_exposure.core.jit import load_kernel
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume, count

# A mixture has at most so many components, and is fitted to at most so many bins of intensities.
MOST_COMPONENTS, BINS = 32, 4096
# Each color is divided into so many levels, and so many neighboring levels are one bin.
LEVELS, STEP = 1 << 16, 1 << 10
SIDE = LEVELS // STEP
LOG_2PI = 1.8378770664093453
# A component of a single intensity has no width, so each variance is raised by this fraction of that of all voxels.
NARROW = 1e-9
# The squares of greater intensities, times the number of voxels, do not fit into float64.
LARGEST = 1e145
ROUNDS = 300

# The parameters of a fit are the weights, means and covariances of the components.
Parameters: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Mixture:
    """A sum of Gaussians that describes how intensities or colors are distributed.

    Attributes
    ----------
    weights : numpy.ndarray of float64, shape (n,)
        Which part of the voxels each component has.
    means : numpy.ndarray of float64, shape (n,) or (n, 3)
        Intensities in ascending order; or colors (red, green, blue) in the order of their sums.
    covariances : numpy.ndarray of float64, shape (n, 1, 1) or (n, 3, 3)
    log_likelihood : float
        Mean logarithm of the density at the voxels.
    iterations : int
    converged : bool
        Whether that was enough.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import histogram
    >>> cells = np.concatenate([np.arange(90, 111), np.arange(480, 521)]).astype(np.uint16)[None]
    >>> found = histogram(cells).mixture(2)
    >>> found.means, found.weights
    (array([100., 500.]), array([0.3387, 0.6613]))
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    log_likelihood: float
    iterations: int
    converged: bool

    @property
    def stds(self) -> np.ndarray:
        """Standard deviations, of the shape of the means."""
        found: np.ndarray = np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2)).reshape(self.means.shape)
        return found

    def density(self, values: npt.ArrayLike) -> np.ndarray:
        """Return the density of each component at some values; their sum is that of the mixture.

        Parameters
        ----------
        values : array-like
            Intensities, or colors along the last axis.

        Returns
        -------
        numpy.ndarray of float64, shape (n, ...)
            Without the axis of colors.

        Examples
        --------
        >>> import numpy as np
        >>> from napari_exposure.core import Mixture
        >>> one = Mixture(np.ones(1), np.zeros(1), np.ones((1, 1, 1)), 0.0, 1, True)
        >>> one.density([0.0, 1.0])
        array([[0.39894228, 0.24197072]])
        """
        values = np.asarray(values, np.float64)
        dims = self.covariances.shape[1]
        if dims > 1 and values.shape[-1:] != (dims,):
            raise ValueError(f"The mixture is one of colors: values need a last axis of {dims}, got {values.shape}.")
        points = values.reshape(-1, dims)
        found = []
        for weight, mean, covariance in zip(self.weights, self.means, self.covariances, strict=True):
            inverse, height = _inverted(covariance)
            # The small triangle is multiplied row by row, because a matrix product may sum in any order.
            away = points - mean
            distance = sum(sum(inverse[i][j] * away[:, j] for j in range(i + 1)) ** 2 for i in range(dims))
            found.append(weight * exp(height - 0.5 * distance))
        return np.reshape(found, (len(found), *(values.shape[:-1] if dims > 1 else values.shape)))


def mixture(
    image: ArrayLike | Layer,
    n: int = 2,
    *,
    tol: float = 1e-3,
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    rgb: bool | None = None,
) -> Mixture:
    """Describe the intensities or colors of an image by a mixture of Gaussians.

    The voxels are counted once; the mixture is fitted to their histogram, which takes milliseconds.

    Parameters
    ----------
    image : array-like, 2 to 5 axes, or napari.layers.Image
        As in `histogram`.
    n : int
        Components, 1 to 32.
    tol : float
        The mixture is found when an iteration adds less to the mean logarithm of the density; greater than 0.
    mask, ignore_zeros
        As in `histogram`; black voxels of RGB data count as zeros.
    rgb : bool, optional
        Whether the last axis of an array holds RGB or RGBA.  The three colors are fitted together.

    Returns
    -------
    Mixture

    Raises
    ------
    TypeError, ValueError
        As `histogram` does; also where nothing is counted.

    See Also
    --------
    Histogram.mixture : of a histogram that is there already.

    Notes
    -----
    Expectation maximization [1]_ with full covariances, beginning with the clusters of k-means and ending by the
    same rule as ``sklearn.mixture.GaussianMixture``, so that its parameters are those of that class on the voxels.
    Colors are counted in 64 x 64 x 64 bins, of which the number of voxels, their exact mean and their exact
    covariance are kept: the voxels of a bin share their probabilities, but not their place.  Floating-point colors
    are taken from 0 to 1.

    References
    ----------
    .. [1] A. P. Dempster, N. M. Laird and D. B. Rubin, Maximum likelihood from incomplete data via the EM algorithm,
       Journal of the Royal Statistical Society B 39, 1977.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import mixture
    >>> rng = np.random.default_rng(0)
    >>> sea, sand = rng.normal((40, 90, 160), 8, (30, 60, 3)), rng.normal((200, 180, 120), 12, (10, 60, 3))
    >>> found = mixture(np.concatenate([sea, sand]).round().astype(np.uint8), rgb=True)
    >>> found.weights
    array([0.75, 0.25])
    """
    n, tol = check_parameters(n, tol)
    found = opened(image, mask=mask, rgb=rgb)
    volume = found.volume(ignore_zeros)
    with found.bar():
        if not volume.rgb:
            return fit_histogram(count_histogram(volume, BINS), n, tol)
        return _fit(*_count_colors(volume), n, tol)


def check_parameters(n: object, tol: object) -> tuple[int, float]:
    """Return the number of components and the tolerance, or raise what is wrong with them."""
    return check_count(n, "n", low=1, high=MOST_COMPONENTS), check_number(tol, "tol", above=0)


def fit_histogram(found: Histogram, n: int, tol: float) -> Mixture:
    """Fit a mixture to the finite intensities in a histogram's bins."""
    if max(abs(found.minimum), abs(found.maximum)) > LARGEST:
        raise ValueError(
            f"The intensities {found.minimum:g} to {found.maximum:g} are so large that float64 cannot hold their "
            "variance. Divide them first."
        )
    used = found.counts > 0
    counts, centers = found.counts[used].astype(np.float64), found.centers[used]
    # Voxels are taken to be spread evenly over their bin, unless the bin is a single value.
    inside = np.zeros(len(counts)) if found.by_value else np.diff(found.edges)[used] ** 2 / 12
    if len(counts) > BINS:
        counts, centers, inside = _joined(counts, centers, inside)
    return _fit(counts, centers[:, None], inside[:, None, None], n, tol)


def _joined(counts: np.ndarray, centers: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Join neighboring bins to `BINS` groups; return the number, mean and variance of the voxels in each."""
    starts = np.arange(BINS) * len(counts) // BINS
    total = np.add.reduceat(counts, starts)
    group = np.repeat(np.arange(BINS), np.diff(np.append(starts, len(counts))))
    mean = np.add.reduceat(counts * centers, starts) / total
    spread = np.add.reduceat(counts * ((centers - mean[group]) ** 2 + inside), starts) / total
    return total, mean, spread


def colors_of(block: np.ndarray) -> np.ndarray:
    """Return the colors of RGB or RGBA data without alpha."""
    return block[..., :3]


def _count_colors(volume: Volume) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the number, mean and covariance of the voxels in each used bin of colors, in units of intensity."""
    top = dtype_range(volume.dtype, negative=False)[1]
    zeros = volume.ignore_zeros
    volume = replace(volume, ignore_zeros=False, color=colors_of)
    counts, sums = np.zeros(SIDE**3, np.int64), np.zeros((SIDE**3, 9), np.int64)

    def visit(block: Block, values: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values = values.reshape(-1, 3)
        kernel = load_kernel("count_colors", values.dtype)
        found, moments = np.zeros(SIDE**3, np.int64), np.zeros((SIDE**3, 9), np.int64)
        kernel(values, counted.reshape(-1), top, zeros, found, moments)
        # Only bins with voxels are returned, so that the merge of small blocks costs little.
        used = np.flatnonzero(found)
        return used, found[used], moments[used]

    def merge(part: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        # The sums are of integers, which are the same in any order of the blocks.
        used, found, moments = part
        counts[used] += found
        sums[used] += moments

    count(volume, visit, merge, "counting colors")
    used = np.flatnonzero(counts)
    number, unit = counts[used].astype(np.float64), top / (LEVELS - 1)
    first, second = sums[used, :3] / number[:, None], sums[used, 3:] / number[:, None]
    corner = np.stack(np.unravel_index(used, (SIDE,) * 3), axis=1) * STEP
    spread = np.empty((len(used), 3, 3))
    for k, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))):
        spread[:, i, j] = spread[:, j, i] = unit**2 * (second[:, k] - first[:, i] * first[:, j])
    return number, unit * (corner + first), spread


# --- the fit ------------------------------------------------------------------------------


def _fit(counts: np.ndarray, points: np.ndarray, inside: np.ndarray, n: int, tol: float) -> Mixture:
    """Fit a mixture by expectation maximization to groups of voxels with their numbers, means and covariances."""
    if not len(counts):
        raise ValueError("No finite voxel was counted, so there is no mixture.")
    total, dims = counts.sum(), points.shape[1]
    center = (counts[:, None] * points).sum(axis=0) / total
    spread = (counts[:, None] * (points - center) ** 2).sum(axis=0) + (
        counts[:, None] * np.diagonal(inside, axis1=1, axis2=2)
    ).sum(axis=0)
    # Points are counted from the middle, in units of the whole width, so that a distant mean costs no digits.
    unit = math.sqrt(spread.max() / total) or 1.0
    points, inside = (points - center) / unit, inside / unit**2
    n = min(n, len(counts))
    kernel = load_kernel("mixture_step")

    def step(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> tuple[Parameters, float]:
        """Return the next parameters, and the mean log-likelihood of those that were given."""
        inverted = [_inverted(covariance) for covariance in covariances]
        heights = log(weights) + [height for _, height in inverted]
        inverse = np.array([each for each, _ in inverted])
        likelihood, sums = np.zeros(1), np.zeros((n, 1 + dims + dims * dims))
        kernel(points, inside, counts, heights, means, inverse, sums, likelihood)
        return _parameters(sums, means, dims), likelihood[0] / total

    nearest = _clusters(counts, points, n)
    sums = np.zeros((n, 1 + dims + dims * dims))
    moments = np.concatenate(
        [
            np.ones((len(points), 1)),
            points,
            (points[:, :, None] * points[:, None, :] + inside).reshape(len(points), -1),
        ],
        axis=1,
    )
    for column in range(sums.shape[1]):
        sums[:, column] = np.bincount(nearest, counts * moments[:, column], n)
    found = _parameters(sums, np.zeros((n, dims)), dims)
    before, converged = -math.inf, False
    for iterations in range(1, ROUNDS + 1):  # noqa: B007
        following, likelihood = step(*found)
        found, change, before = following, likelihood - before, likelihood
        if abs(change) < tol:
            converged = True
            break
    weights, means, covariances = found
    means = center + unit * means
    order = np.argsort(means.sum(axis=1), kind="stable")
    return Mixture(
        weights[order],
        means[order] if dims > 1 else means[order, 0],
        covariances[order] * unit**2,
        float(before - dims * math.log(unit)),
        iterations,
        converged,
    )


def _parameters(sums: np.ndarray, about: np.ndarray, dims: int) -> Parameters:
    """Return parameters from the numbers of voxels and their first and second moments about the points `about`."""
    number = np.maximum(sums[:, 0], np.finfo(float).tiny)
    away = sums[:, 1 : 1 + dims] / number[:, None]
    second = sums[:, 1 + dims :].reshape(-1, dims, dims) / number[:, None, None]
    covariances = second - away[:, :, None] * away[:, None, :] + NARROW * np.eye(dims)
    return number / number.sum(), about + away, covariances


def _inverted(covariance: np.ndarray) -> tuple[list[list[float]], float]:
    """Return the inverse of a covariance's Cholesky triangle, and the logarithm of the height of its density."""
    dims = len(covariance)
    lower = [[0.0] * dims for _ in range(dims)]
    inverse = [[0.0] * dims for _ in range(dims)]
    height = -0.5 * dims * LOG_2PI
    for i in range(dims):
        for j in range(i + 1):
            rest = float(covariance[i, j]) - sum(lower[i][k] * lower[j][k] for k in range(j))
            lower[i][j] = (
                math.sqrt(max(rest, NARROW * 1e-3 * float(covariance[i, i]))) if i == j else rest / lower[j][j]
            )
        for j in range(i):
            inverse[i][j] = -sum(lower[i][k] * inverse[k][j] for k in range(j, i)) / lower[i][i]
        inverse[i][i] = 1 / lower[i][i]
        height -= float(log(np.array([lower[i][i]]))[0])
    return inverse, height


def _clusters(counts: np.ndarray, points: np.ndarray, n: int) -> np.ndarray:
    """Return the cluster of each point by k-means, from the better of two starts, neither of which is random."""
    found = [_lloyd(counts, points, centers) for centers in (_apart(counts, points, n), _along(counts, points, n))]
    return min(found, key=lambda each: each[1])[0]


def _distances(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return np.stack([((points - center) ** 2).sum(axis=1) for center in centers])


def _lloyd(counts: np.ndarray, points: np.ndarray, centers: np.ndarray) -> tuple[np.ndarray, float]:
    for _ in range(ROUNDS):
        distances = _distances(points, centers)
        nearest = distances.argmin(axis=0)
        number = np.bincount(nearest, counts, len(centers))
        sums = [np.bincount(nearest, counts * column, len(centers)) for column in points.T]
        moved = np.where(number > 0, np.array(sums) / np.maximum(number, 1), centers.T).T
        if np.array_equal(moved, centers):
            break
        centers = moved
    return nearest, float((counts * distances.min(axis=0)).sum())


def _apart(counts: np.ndarray, points: np.ndarray, n: int) -> np.ndarray:
    """Return starting centers that lie far from each other: each is the one that adds most to the sum of distances."""
    centers = points[[np.argmax(counts)]]
    while len(centers) < n:
        away = counts * _distances(points, centers).min(axis=0)
        centers = np.concatenate([centers, points[[np.argmax(away)]]])
    return centers


def _along(counts: np.ndarray, points: np.ndarray, n: int) -> np.ndarray:
    """Return starting centers that divide the voxels equally along the color that varies most."""
    axis = np.argmax((counts[:, None] * points**2).sum(axis=0))
    order = np.argsort(points[:, axis], kind="stable")
    below = np.cumsum(counts[order])
    places = np.searchsorted(below, (np.arange(n) + 0.5) / n * below[-1])
    if n > 1:
        places = np.unique(np.minimum(places, len(order) - 1))
    centers: np.ndarray = points[order[places]]
    return centers

"""Mixtures of Gaussians: against scikit-learn's on the voxels themselves."""

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from core import reference
from napari_exposure.core import Mixture, histogram, mixture

KINDS = {
    "well apart": ((200, 15, 0.6), (900, 80, 0.4)),
    "overlapping": ((300, 60, 0.5), (520, 90, 0.5)),
    "three": ((100, 10, 0.7), (400, 50, 0.2), (1500, 200, 0.1)),
}


def drawn(components, size=24_000, seed=0):
    """Numbers of a known mixture."""
    rng = np.random.default_rng(seed)
    parts = [rng.normal(mean, std, round(size * weight)) for mean, std, weight in components]
    return np.concatenate(parts)


def theirs(values, n, tol=1e-3):
    """scikit-learn's mixture: weights, means and covariances in the order of the means."""
    points = np.asarray(values, np.float64).reshape(len(values), -1)
    found = GaussianMixture(n, tol=tol, random_state=0, max_iter=500).fit(points)
    order = np.argsort(found.means_.sum(axis=1))
    return found.weights_[order], found.means_[order], found.covariances_[order], found.lower_bound_


def assert_alike(found, weights, means, covariances, likelihood, rtol=0.02):
    np.testing.assert_allclose(found.weights, weights, rtol=rtol)
    np.testing.assert_allclose(found.means.reshape(means.shape), means, rtol=rtol)
    stds = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    np.testing.assert_allclose(found.stds.reshape(stds.shape), stds, rtol=rtol)
    assert found.log_likelihood == pytest.approx(likelihood, abs=0.01)


@pytest.mark.parametrize("tol", [1e-3, 1e-7])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "int32"])
@pytest.mark.parametrize("kind", KINDS)
def test_intensities_are_those_of_scikit_learn(kind, dtype, tol):
    n = len(KINDS[kind])
    values = drawn(KINDS[kind]).astype(dtype)
    expected = theirs(values, n, tol)
    assert_alike(mixture(values.reshape(30, -1), n, tol=tol), *expected)
    assert_alike(histogram(values.reshape(30, -1), 1000).mixture(n, tol=tol), *expected)


def colors(size=(60, 200), seed=0):
    """An image of two materials, whose colors vary together."""
    rng = np.random.default_rng(seed)
    number = np.prod(size)
    sea = rng.multivariate_normal((50, 90, 150), [[90, 60, 20], [60, 120, 50], [20, 50, 160]], number)
    sand = rng.multivariate_normal((180, 150, 110), [[300, 200, 90], [200, 260, 120], [90, 120, 200]], number)
    image = np.where(rng.random((number, 1)) < 0.7, sea, sand)
    return image.clip(0, 255).round().astype(np.uint8).reshape(*size, 3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_colors_are_those_of_scikit_learn(dtype):
    image = colors()
    unit = {"uint8": 1, "uint16": 257, "float32": np.float32(1 / 255)}[dtype]
    image = image.astype(dtype) * np.dtype(dtype).type(unit)
    expected = theirs(image.reshape(-1, 3), 2)
    found = mixture(image, 2, rgb=True)
    np.testing.assert_allclose(found.weights, expected[0], rtol=0.02)
    np.testing.assert_allclose(found.means, expected[1], rtol=0.02)
    np.testing.assert_allclose(found.covariances, expected[2], rtol=0.04, atol=0.02 * expected[2].max())
    assert found.means.shape == found.stds.shape == (2, 3)


def test_one_component_is_mean_and_covariance():
    image = colors()
    found = mixture(image, 1, rgb=True)
    np.testing.assert_allclose(found.means[0], image.reshape(-1, 3).mean(axis=0))
    np.testing.assert_allclose(found.covariances[0], np.cov(image.reshape(-1, 3).T, bias=True), rtol=1e-6)
    values = image[..., 0]
    assert mixture(values, 1).means[0] == pytest.approx(values.mean())
    assert mixture(values, 1).stds[0] == pytest.approx(values.std(), rel=1e-6)


def test_many_grey_levels_are_joined():
    values = drawn(((9000, 2500, 0.5), (40000, 4000, 0.5)), 60_000).clip(0, 65535).astype(np.uint16)
    found = histogram(values.reshape(10, -1))
    assert (found.counts > 0).sum() > 4096
    assert_alike(found.mixture(2), *theirs(values, 2), rtol=0.005)


def test_what_is_counted():
    values = drawn(KINDS["well apart"]).astype(np.uint16).reshape(40, -1)
    padded = np.concatenate([values, np.zeros((200, values.shape[1]), np.uint16)])
    expected = mixture(values)
    for found in (mixture(padded, ignore_zeros=True), mixture(padded, mask=padded > 0)):
        np.testing.assert_array_equal(found.means, expected.means)
    image = colors()
    black = np.concatenate([image, np.zeros_like(image)])
    for found in (
        mixture(black, rgb=True, ignore_zeros=True),
        mixture(black, rgb=True, mask=black.max(axis=-1) > 0),
        mixture(da.from_array(image, chunks=(17, 50, 3)), rgb=True),
        mixture(np.concatenate([image, image[..., :1]], axis=-1), rgb=True),
    ):
        np.testing.assert_array_equal(found.means, mixture(image, rgb=True).means)
    with_nan = np.where(np.arange(image.size).reshape(image.shape) % 5 == 0, np.nan, image / 255)
    known = ~np.isnan(with_nan).any(axis=-1)
    expected = mixture(image / 255, rgb=True, mask=known)
    np.testing.assert_array_equal(mixture(with_nan, rgb=True).means, expected.means)


def test_fewer_intensities_than_components():
    found = mixture(np.array([[3, 3, 3, 9]], np.uint8), 5)
    np.testing.assert_allclose(found.means, [3, 9])
    np.testing.assert_allclose(found.weights, [0.75, 0.25])
    assert (found.stds < 0.01).all()
    assert mixture(np.full((4, 5), 7, np.int16), 2).means.tolist() == [7]


def test_densities():
    values = drawn(KINDS["three"])
    found = mixture(values.astype(np.float32).reshape(20, -1), 3)
    at = np.linspace(-200, 3000, 40_001)
    np.testing.assert_allclose(np.trapezoid(found.density(at), at, axis=1), found.weights, rtol=1e-3)
    image = colors()
    three = mixture(image, rgb=True)
    points = image[:2].reshape(-1, 3).astype(float)
    assert three.density(image[:2]).shape == (2, 2, 200)
    for component, mean, covariance, weight in zip(
        three.density(points), three.means, three.covariances, three.weights, strict=True
    ):
        away = points - mean
        distance = np.einsum("ni,ij,nj->n", away, np.linalg.inv(covariance), away)
        height = weight / np.sqrt((2 * np.pi) ** 3 * np.linalg.det(covariance))
        np.testing.assert_allclose(component, height * np.exp(-distance / 2), rtol=1e-9)
    with pytest.raises(ValueError, match="last axis of 3"):
        three.density([1.0, 2.0])


def test_a_plot_has_the_components():
    found = histogram(drawn(KINDS["well apart"]).astype(np.uint16).reshape(10, -1))
    figure, ax = plt.subplots()
    try:
        found.plot(ax, mixture=found.mixture(2))
        tops = [np.nanmax(line.get_ydata()) for line in ax.get_lines()]
        assert len(tops) == 2
        np.testing.assert_allclose(tops[0], found.counts.max() * np.diff(found.rebin(0, 1e9, 512).edges)[0], rtol=0.2)
    finally:
        plt.close(figure)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, r"n must be .* in \[1, 32\]"),
        ({"n": 2.5}, "n must be a whole number"),
        ({"tol": 0}, "tol must be a finite number greater than 0"),
        ({"ignore_zeros": True}, "No finite voxel was counted"),
    ],
)
def test_what_has_no_mixture(options, message):
    with pytest.raises(ValueError, match=message):
        mixture(np.zeros((2, 3), np.uint8), **options)


def test_the_same_whatever_the_layout():
    image = colors()
    expected = mixture(image, rgb=True)
    assert isinstance(expected, Mixture)
    for other in (np.asfortranarray(image), image.astype(image.dtype.newbyteorder())):
        found = mixture(other, rgb=True)
        assert found.covariances.tobytes() == expected.covariances.tobytes()
    volume = reference.make_volume("float32")
    assert mixture(volume).means.tobytes() == mixture(da.from_array(volume, chunks=4)).means.tobytes()


@pytest.mark.parametrize("size", [1e150, 1e300])
def test_intensities_whose_variance_is_infinite_are_refused(size):
    volume = np.random.default_rng(0).normal(0, size, (5, 12, 14))
    with pytest.raises(ValueError, match="so large that float64 cannot hold their variance"):
        mixture(volume)
    small = mixture(volume / size * 1e120)
    assert np.isfinite(small.means).all()
    assert np.isfinite(small.covariances).all()

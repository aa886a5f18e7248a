"""Powers, logarithms and interpolation against exact arithmetic with 50 digits, and against NumPy."""

from decimal import Decimal, localcontext

import numpy as np
import pytest

from napari_exposure.core import functions
from napari_exposure.core.moments import Moments


def exactly(function, values):
    """A function of Decimal for each value."""
    with localcontext(prec=50):
        return [function(Decimal(value)) for value in values.tolist()]


def last_digits(found, exact):
    """How far results lie from exact ones, in units of their last digit."""
    with localcontext(prec=50):
        pairs = zip(found.tolist(), exact, strict=True)
        return max(
            abs(Decimal(value) - right) / Decimal(float(np.spacing(abs(float(right))))) for value, right in pairs
        )


@pytest.mark.parametrize("exponent", [0.05, 1 / 3, 0.5, 0.7, 1.0, 2.0, 2.2, 3.0, 7.5, 10.0])
def test_powers(exponent):
    values = np.concatenate([np.arange(1, 256) / 255, np.random.default_rng(0).random(300) * 3])
    exact = exactly(lambda value: value ** Decimal(exponent), values)
    assert last_digits(functions.power(values, exponent), exact) < 0.6


def test_powers_of_the_ends():
    for exponent in (1e-5, 0.3, 1.0, 4.0, 1e4):
        assert functions.power(np.array([0.0, 1.0]), exponent).tolist() == [0, 1]
    # below the smallest normal number, and below the smallest of all
    assert functions.power(np.array([5e-324]), 0.5) == 2.0**-537
    assert functions.power(np.array([1e-200]), 3.0) == 0
    assert np.isnan(functions.power(np.array([np.nan]), 0.5))


def test_powers_that_a_float_holds_are_exact():
    # a result that is rounded to integers would fall to the other side of a half
    roots = np.arange(1, 1025) / 1024
    for exponent in (2.0, 3.0, 4.0):
        powers = np.prod([roots] * int(exponent), axis=0)
        np.testing.assert_array_equal(functions.power(roots, exponent), powers)
    np.testing.assert_array_equal(functions.power(roots**2, 0.5), roots)
    np.testing.assert_array_equal(functions.power(roots, 1.0), roots)


def test_logarithms():
    values = np.concatenate([np.linspace(0.5, 2, 301), [5e-324, 1e-310, 1e-200, 1e300], np.arange(1, 300) * 7.3])
    values = values[values != 1]
    assert last_digits(functions.log(values), exactly(Decimal.ln, values)) < 0.6
    assert functions.log(np.ones(3)).tolist() == [0, 0, 0]


def test_exponentials():
    values = np.concatenate([np.linspace(-1, 1, 301), np.linspace(-700, 700, 301)])
    assert last_digits(functions.exp(values), exactly(Decimal.exp, values)) < 0.6
    assert functions.exp(np.array([0.0, -1e9, 1e9])).tolist() == [1, 0, np.inf]


def test_functions_take_any_layout():
    values = np.random.default_rng(0).random((4, 5, 6))
    for function in (functions.log, functions.exp):
        expected = function(values)
        assert expected.shape == values.shape
        np.testing.assert_array_equal(function(np.asfortranarray(values)), expected)
        np.testing.assert_array_equal(function(values.astype(">f8")[::2]), expected[::2])


@pytest.mark.parametrize("knots", [1, 2, 3, 50, 1000])
def test_interpolation_is_that_of_numpy(knots):
    rng = np.random.default_rng(knots)
    places, values = np.cumsum(rng.random(knots)), rng.normal(size=knots)
    at = np.concatenate([rng.uniform(places[0] - 1, places[-1] + 1, 200), [-np.inf, np.inf]])
    # NumPy may fuse a multiplication and an addition
    np.testing.assert_allclose(functions.interpolate(at, places, values), np.interp(at, places, values), rtol=1e-12)
    np.testing.assert_array_equal(functions.interpolate(places, places, values), values)
    np.testing.assert_array_equal(functions.interpolate([-9, 1e9], places, values), values[[0, -1]])
    assert np.isnan(functions.interpolate([np.nan], places, values))


def test_moments_of_counts_are_those_of_the_values():
    values, counts = np.array([3.0, 4, 60, 900]), np.array([5, 0, 2, 1])
    every = np.repeat(values, counts)
    found = Moments.of_counts(values, counts)
    assert found.mean == pytest.approx(every.mean(), rel=1e-14)
    assert found.std == pytest.approx(every.std(), rel=1e-14)


def test_moments_of_very_many_counts_are_exact():
    values, counts = np.array([-32768.0, 65535]), np.array([2**40, 2**40 + 1])
    found = Moments.of_counts(values, counts)
    assert found.first == -32768 * 2**40 + 65535 * (2**40 + 1)
    assert found.second == 32768**2 * 2**40 + 65535**2 * (2**40 + 1)

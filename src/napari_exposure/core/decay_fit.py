"""The gains that a correction of decay found, for each plane, shell or time point, and what a plot shows of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self, cast

import numpy as np

from napari_exposure.core.blocks import Block
from napari_exposure.core.gains import GainsFit
from napari_exposure.core.surface import Depths
from napari_exposure.core.transform import Fit, Transform


@dataclass(frozen=True, eq=False)
class DecayFit(GainsFit):
    """The gains of planes, and the profile that they were made from.

    `profile` is the percentile of each plane in intensities of the volume, NaN where a plane has none above the
    background, and `fitted` its model.  `support` is the part of the profile's variation that all intensities of a
    plane have in common, at most 1; if it was not enough, the profile is not `corrected`, and all gains are 1.
    `clamped` has the numbers of voxels at the end of the dtype before, of those that gains drive beyond it, and of all.
    Where there are depths below the surface of a mask, its shells have gains, profile and model.
    """

    profile: np.ndarray
    fitted: np.ndarray
    support: float
    corrected: bool
    clamped: tuple[int, int, int]
    depths: Depths | None

    @property
    def middles(self) -> np.ndarray:
        """The depth of the middle of each shell, in the unit of the spacing."""
        return np.empty(0) if self.depths is None else self.depths.middles

    @property
    def constant(self) -> bool:
        """Whether there are no two planes to compare, so that nothing is corrected."""
        return bool(np.isfinite(self.profile).sum() < 2)

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...]) -> Self:
        if self.depths is not None:
            return replace(self, depths=self.depths.onto(shape, steps))
        return super().onto(shape, steps)

    def at_level(self, shape: tuple[int, ...]) -> Self:
        if self.depths is not None:
            return replace(self, depths=self.depths.onto(shape))
        profile, fitted = (self._along(values, shape) for values in (self.profile, self.fitted))
        return replace(super().at_level(shape), profile=profile, fitted=fitted)

    def gains_in(self, block: Block) -> np.ndarray:
        return super().gains_in(block) if self.depths is None else self.depths.gains(self.gains, block)

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        if self.depths is None:
            super().map(values, offset, out)
            return
        spatial = values.shape[-len(offset) :]
        gains = self.gains_in(tuple(slice(at, at + size) for at, size in zip(offset, spatial, strict=True)))
        self._multiply(values, (values.size // gains.size, 1, gains.size), gains.reshape(1, -1), out)


@dataclass(frozen=True, eq=False)
class TimeFit(DecayFit):
    """The gain of one time point, which has the index `at`, together with those of all."""

    at: int

    @property
    def used(self) -> np.ndarray:
        return self.gains[self.at : self.at + 1]

    def onto(self, shape: tuple[int, ...], steps: tuple[int, ...]) -> Self:
        return self

    def at_level(self, shape: tuple[int, ...]) -> Self:
        return self

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        self._multiply(values, (1, 1, values.size), self.used.reshape(1, 1), out)


@dataclass(frozen=True, eq=False)
class MatchedFit(TimeFit):
    """A time point that gets the histogram of the first one, by the curve `match` in place of a gain."""

    match: Fit

    @property
    def reach(self) -> tuple[float, float]:
        return self.match.reach

    @property
    def kernel_key(self) -> tuple[Any, ...]:
        return self.match.kernel_key

    def map(self, values: np.ndarray, offset: tuple[int, ...], out: np.ndarray) -> None:
        self.match.map(values, offset, out)


@dataclass(frozen=True, eq=False)
class DecayTransform(Transform):
    """A `Transform` that also shows the intensities along the axis, for a plot.

    Each is of shape (planes,), and where volumes or planes have fits of their own of shape (..., planes).  Along time
    the planes are the time points.

    Attributes
    ----------
    profile : numpy.ndarray of float64
        The percentile of each plane, in intensities of the volume; NaN where there is none above the background.
    fitted : numpy.ndarray of float64
        The same after the model, which is divided out.
    gains : numpy.ndarray of float64
        What the intensity above the background of each plane is multiplied by, at least 1; with the model "ratio" it
        may be less.
    support : float or numpy.ndarray of float64
        The part of the profile's variation that all intensities of a plane have in common, at most 1: where it is
        less than 0.8 (of "smooth" 0.96, of "plane", "ratio" and "histogram" 0.9) the data do not support a loss of
        light, and the gains are 1.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import DecayCorrection
    >>> volume = np.float32([80, 40, 20, 10])[:, None, None] * np.ones((4, 5, 6), np.float32)
    >>> transform = DecayCorrection().fit(volume)
    >>> transform.profile
    array([80., 40., 20., 10.])
    >>> transform.gains
    array([1., 2., 4., 8.])
    """

    def of_fits(self, name: str) -> Any:
        """As `Transform.of_fits`, but once for a series, because the fit of each time point holds the values of all."""
        if () in self.fits:
            return super().of_fits(name)
        first = next(iter(self.fits.values()))
        if not isinstance(first, TimeFit):
            return super().of_fits(name)
        if self.adjustment.per == "dataset":
            return getattr(first, name)
        return np.take(super().of_fits(name), 0, axis=len(self.shape) + first.axis)

    @property
    def profile(self) -> np.ndarray:
        return cast("np.ndarray", self.of_fits("profile"))

    @property
    def fitted(self) -> np.ndarray:
        return cast("np.ndarray", self.of_fits("fitted"))

    @property
    def gains(self) -> np.ndarray:
        return cast("np.ndarray", self.of_fits("gains"))

    @property
    def support(self) -> float | np.ndarray:
        return cast("float | np.ndarray", self.of_fits("support"))

"""A limit of noise as a parameter of adjustments."""

from __future__ import annotations

from dataclasses import dataclass

from napari_exposure.core.intensity import check_number

__all__ = ["NoiseLimit"]


@dataclass(frozen=True)
class NoiseLimit:
    """How strong noise may become in a result, in place of a number of which nobody knows what it does to noise.

    It takes the place of `AdaptiveEqualization.clip_limit` and `LocalStretch.max_gain`, which both limit how steep an
    adjustment is, and so how much it amplifies.  At the fit it becomes a number: ``transform.of_fits("clip_limit")``,
    or of "max_gain".

    Parameters
    ----------
    limit : float
        Standard deviation of the noise of the result as a fraction of its range, in (0, 1].

    Raises
    ------
    TypeError, ValueError
        If it is no such number.

    Notes
    -----
    With the greater of the two sigma of `noise_level`, and the input range from lo to hi, the adjustment is at most
    ``limit * (hi - lo) / sigma`` times as steep as stretching the input range.  A result that is no steeper than that
    has the noise of the volume itself: a smaller limit has no effect.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import AdaptiveEqualization, NoiseLimit
    >>> rng = np.random.default_rng(0)
    >>> volume = np.linspace(0, 1000, 64) + rng.normal(0, 5, (16, 64, 64))
    >>> transform = AdaptiveEqualization(32.0, NoiseLimit(0.02), in_range=(0, 1000)).fit(volume)
    >>> transform.of_fits("clip_limit")
    0.0153
    """

    limit: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", check_number(self.limit, "NoiseLimit(limit)", above=0, high=1.0))

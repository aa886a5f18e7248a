"""A limit of noise as a parameter of adjustments."""

from __future__ import annotations

from dataclasses import dataclass

from napari_exposure.core.intensity import check_number

__all__ = ["NoiseLimit"]


@dataclass(frozen=True)
class NoiseLimit:
    """A limit of how strong noise may become in a result.

    It may be given as `AdaptiveEqualization.clip_limit` and `LocalStretch.max_gain`, which both limit how steep an
    adjustment is, and so how much it amplifies noise.  The fit turns it into a number, which
    ``transform.of_fits("clip_limit")`` or ``transform.of_fits("max_gain")`` gives.

    Parameters
    ----------
    limit : float
        The standard deviation of noise in the result, as a fraction of the range of the result; in (0, 1].

    Raises
    ------
    TypeError, ValueError
        If it is no such number.

    Notes
    -----
    Where sigma is the greater of the two of `noise_level`, and the input range goes from lo to hi, the adjustment is
    at most ``limit * (hi - lo) / sigma`` times as steep as stretching the input range.  An adjustment is never limited
    to less than that stretch, so a limit below the noise that the stretch gives has no effect.

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

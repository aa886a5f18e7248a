"""Tone curve: a smooth curve through points says what each intensity becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.functions import monotone_cubic
from napari_exposure.core.images import adjust_image, verb
from napari_exposure.core.intensity import check_number, check_pair
from napari_exposure.core.parameters import GivenRange, Output, Per, parameter
from napari_exposure.core.pointwise import fit_curve
from napari_exposure.core.transform import Fit
from napari_exposure.core.typing import ArrayLike, Layer
from napari_exposure.core.volume import Volume
from napari_exposure.core.words import given

Points = tuple[tuple[float, float], ...]

# The straight line changes nothing.
STRAIGHT: Points = ((0.0, 0.0), (1.0, 1.0))
# Points that lie closer together are refused: the line between them would be so steep that the square of its slope does
# not fit into double precision, and the smooth curve is computed from such squares.
CLOSEST = 1e-100


@dataclass(frozen=True)
class ToneCurve(Adjustment):
    """Change intensities by a smooth curve through points; see `adjust_curve`."""

    short_name, verb, title = "curve", "adjust_curve", "Tone curve"
    use: ClassVar[str] = "you know best: drag the curve"

    points: Points = parameter(
        STRAIGHT,
        "Curve",
        "What intensities become: drag points, click for a new one, double click to remove one. Between points the "
        "curve is smooth and never overshoots.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("points", check_points(self.points))

    def _fit_group(self, volume: Volume, spacing: tuple[float, ...]) -> Fit:
        lo, hi = self._find_range(volume)
        return fit_curve(self.curve, lo, hi, volume.dtype, self.output)

    def curve(self, position: npt.ArrayLike) -> np.ndarray:
        """Return what positions in the input range become, both in [0, 1].

        Examples
        --------
        >>> from napari_exposure.core import ToneCurve
        >>> ToneCurve([(0, 0), (0.5, 0.8), (1, 1)]).curve([0.25, 0.5, 0.75])
        array([0.4975, 0.8   , 0.94  ])
        """
        places, values = np.array(self.points).T
        return monotone_cubic(position, places, values)


def check_points(points: Any) -> Points:
    """Return the points of a curve as pairs of floats, or say what is wrong with them."""
    if isinstance(points, str) or not np.iterable(points):
        raise TypeError(f"points must be pairs (input, output), each in [0, 1], got {given(points)}.")
    found: Points = tuple(check_pair(point, "each of points") for point in points)
    for number in (number for point in found for number in point):
        check_number(number, "each number of points", low=0, high=1)
    if len(found) < 2 or any(after[0] - before[0] < CLOSEST for before, after in pairwise(found)):
        raise ValueError(
            "points must be two or more pairs (input, output) with ascending inputs, not closer together than "
            f"{CLOSEST:g}, got {list(found)!r}."
        )
    return found


@verb
def adjust_curve(
    image: Any,
    points: Sequence[tuple[float, float]] = STRAIGHT,
    *,
    in_range: GivenRange = "data",
    output: Output = "dtype",
    mask: ArrayLike | Layer | None = None,
    ignore_zeros: bool = False,
    per: Per = "dataset",
    window: int = 1,
    rgb: bool | None = None,
    level: int = 0,
) -> Any:
    """Change the intensities of a volume by a smooth curve through points, and keep its intensity range.

    Each intensity is scaled to [0, 1] by `in_range`, becomes what the curve says, and is scaled back.

    Parameters
    ----------
    points : sequence of (float, float)
        Two or more pairs (input, output) of fractions of the range, in [0, 1], with ascending inputs.  The curve is
        level before the first point and behind the last.  ``[(0, 1), (1, 0)]`` inverts.
    in_range : "data", "dtype", (low, high), Percentiles, or of a layer "contrast_limits"
        The intensities that count as 0 and 1; values outside are clamped.
    output : "dtype" or "float32"
        "dtype" keeps dtype and range; "float32" gives [0, 1].

    Raises
    ------
    ValueError
        Also for points that are not pairs, lie outside of [0, 1] or are out of order.

    See Also
    --------
    adjust_gamma, adjust_sigmoid : curves of one or two numbers.

    Notes
    -----
    Between points the curve is a cubic with the slopes of Fritsch and Butland [1]_, as
    ``scipy.interpolate.PchipInterpolator`` has it: smooth, and without overshoot, so that ascending points
    give an ascending curve and no two intensities change places.

    References
    ----------
    .. [1] F. N. Fritsch and J. Butland, A method for constructing local monotone piecewise cubic interpolants, SIAM
       Journal on Scientific and Statistical Computing 5, 1984.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import adjust_curve
    >>> adjust_curve(np.array([[0, 25, 50, 100]], dtype=np.uint8), [(0, 0), (0.5, 0.8), (1, 1)])
    array([[  0,  50,  80, 100]], dtype=uint8)
    """
    return adjust_image(ToneCurve, **locals())

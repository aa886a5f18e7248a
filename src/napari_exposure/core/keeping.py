"""The base of adjustments after which intensities mean what they did before, because nothing is stretched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.intensity import dtype_range
from napari_exposure.core.parameters import InRange, Output, parameter
from napari_exposure.core.volume import Volume


@dataclass(frozen=True, kw_only=True)
class ScaleKeeping(Adjustment):
    """The base of `Linear`, `Fill`, `Decay` and `DecayCorrection`, whose range and output are no ends of a stretch."""

    keeps_scale: ClassVar[bool] = True

    in_range: InRange = parameter(
        "data",
        "Input range",
        "Intensities outside are clamped to this range first; with the minimum and maximum nothing is. The result "
        "keeps the scale of the data.",
    )
    output: Output = parameter(
        "dtype",
        "Output",
        "Same bit depth: keep the data type and clamp what exceeds it. Or make float32 that is neither rounded nor "
        "clamped. The scale of the intensities stays.",
        choices={"dtype": "same bit depth", "float32": "float32: not rounded"},
    )

    def _find_clamp(self, volume: Volume) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the range that was found, and one to clamp to: for "data" none, because other data may be brighter."""
        found = self._find_range(volume)
        return found, (-math.inf, math.inf) if self.in_range == "data" else found

    def _dtypes(self, volume: Volume) -> dict[str, Any]:
        """Return the dtypes of a volume and of its result, the unit of results, and the greatest of them.

        Colors as floats end at 1, so they are multiplied by the unit; of others it is 1.
        """
        out_dtype = self.result_dtype(volume.dtype)
        colors = volume.rgb and out_dtype.kind == "f"
        return {
            "dtype": volume.dtype,
            "out_dtype": out_dtype,
            "unit": 1 / dtype_range(volume.dtype, negative=False)[1] if colors else 1.0,
            "most": 1.0 if colors else math.inf,
        }

"""Exposure adjustments on arrays: numpy, memory maps, and whatever slices like them.

Needs neither napari nor Qt.
"""

from napari_exposure.core.adaptive import AdaptiveEqualization, equalize_adapthist
from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.along import histogram_along
from napari_exposure.core.clip import PercentileClip, clip_percentiles
from napari_exposure.core.colormap import Uncoloured, from_colormap
from napari_exposure.core.curve import ToneCurve, adjust_curve
from napari_exposure.core.decay import Decay, degrade
from napari_exposure.core.decay_fit import DecayTransform
from napari_exposure.core.decay_profile import decay_exponent, decay_profile
from napari_exposure.core.depth import DecayCorrection, correct_decay
from napari_exposure.core.equalize import HistogramEqualization, equalize_hist
from napari_exposure.core.filling import Fill, fill
from napari_exposure.core.gamma import Gamma, adjust_gamma
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.images import adjust
from napari_exposure.core.intensity import NoiseLimit, Percentiles
from napari_exposure.core.lazy import as_dask
from napari_exposure.core.linear import Linear, adjust_linear
from napari_exposure.core.log import Log, adjust_log
from napari_exposure.core.match import HistogramMatching, match_histograms
from napari_exposure.core.mixtures import Mixture, mixture
from napari_exposure.core.montage import montage
from napari_exposure.core.noise import NoiseLevel, noise_level
from napari_exposure.core.overlaps import fit_overlaps, match_overlaps
from napari_exposure.core.rescale import Rescale, rescale_intensity
from napari_exposure.core.sigmoid import Sigmoid, adjust_sigmoid
from napari_exposure.core.slopes import gain_map
from napari_exposure.core.statistics import cumulative_distribution, histogram, is_low_contrast, percentile
from napari_exposure.core.stretch import LocalStretch, stretch_local
from napari_exposure.core.transform import Transform

__all__ = [
    "Adjustment",
    "AdaptiveEqualization",
    "Decay",
    "DecayCorrection",
    "DecayTransform",
    "Fill",
    "Gamma",
    "Histogram",
    "HistogramEqualization",
    "HistogramMatching",
    "LocalStretch",
    "NoiseLevel",
    "Linear",
    "NoiseLimit",
    "Log",
    "Mixture",
    "PercentileClip",
    "Percentiles",
    "Rescale",
    "Sigmoid",
    "ToneCurve",
    "Transform",
    "Uncoloured",
    "adjust",
    "adjust_curve",
    "adjust_gamma",
    "adjust_linear",
    "adjust_log",
    "adjust_sigmoid",
    "as_dask",
    "clip_percentiles",
    "correct_decay",
    "cumulative_distribution",
    "decay_exponent",
    "decay_profile",
    "degrade",
    "equalize_adapthist",
    "equalize_hist",
    "fill",
    "from_colormap",
    "gain_map",
    "histogram",
    "mixture",
    "montage",
    "histogram_along",
    "is_low_contrast",
    "match_histograms",
    "fit_overlaps",
    "match_overlaps",
    "noise_level",
    "percentile",
    "stretch_local",
    "rescale_intensity",
]

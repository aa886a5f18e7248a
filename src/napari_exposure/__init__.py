"""Exposure adjustments of 3D volumes in napari: gamma, percentile clipping, histogram and adaptive equalization.

The verbs here take napari Image layers and return new ones; the same verbs on arrays are in
``napari_exposure.core``, which needs neither napari nor Qt.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=["core"],
    submod_attrs={
        "core": [
            "AdaptiveEqualization",
            "Adjustment",
            "Decay",
            "DecayCorrection",
            "Gamma",
            "Histogram",
            "HistogramEqualization",
            "HistogramMatching",
            "PercentileClip",
            "Percentiles",
        ],
        "layers": [
            "adjust_gamma",
            "clip_percentiles",
            "correct_decay",
            "cumulative_distribution",
            "decay_profile",
            "degrade",
            "equalize_adapthist",
            "equalize_hist",
            "from_colormap",
            "histogram",
            "match_histograms",
            "percentile",
        ],
        "montage": ["montage"],
        "provenance": ["provenance"],
        "recipe": ["FittedRecipe", "Recipe"],
        "saving": ["save", "write_tiff"],
        "tiff": ["read_tiff"],
    },
)

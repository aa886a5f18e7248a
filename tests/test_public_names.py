"""What `import napari_exposure as nx` shows, and what it costs."""

import subprocess
import sys

import lazy_loader
import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import napari_exposure as nx

PUBLIC = {
    "AdaptiveEqualization",
    "Adjustment",
    "Decay",
    "DecayCorrection",
    "Fill",
    "Gamma",
    "Histogram",
    "HistogramEqualization",
    "HistogramMatching",
    "LocalStretch",
    "NoiseLevel",
    "NoiseLimit",
    "Linear",
    "Log",
    "Mixture",
    "PercentileClip",
    "Finding",
    "FittedRecipe",
    "Percentiles",
    "Recipe",
    "Rescale",
    "Sigmoid",
    "ToneCurve",
    "adjust_curve",
    "adjust_gamma",
    "adjust_linear",
    "adjust_log",
    "adjust_sigmoid",
    "clip_percentiles",
    "core",
    "correct_decay",
    "cumulative_distribution",
    "decay_exponent",
    "decay_profile",
    "degrade",
    "equalize_adapthist",
    "equalize_hist",
    "fill",
    "fit_overlaps",
    "from_colormap",
    "gain_map",
    "histogram",
    "is_low_contrast",
    "mixture",
    "label_montage",
    "montage",
    "match_histograms",
    "match_overlaps",
    "noise_level",
    "percentile",
    "provenance",
    "read",
    "read_tiff",
    "rescale_intensity",
    "save",
    "stretch_local",
    "suggest",
    "Suggestion",
    "write_tiff",
}


def test_dir_shows_the_public_names_only():
    assert {name for name in dir(nx) if not name.startswith("_")} == PUBLIC
    assert all(getattr(nx, name) is not None for name in PUBLIC)


def test_the_stub_is_read_as_python_reads_it():
    _, _, names = lazy_loader.attach_stub(nx.__name__, nx.__file__)
    assert nx.__all__ == names


def test_tab_in_the_console_shows_the_public_names_only():
    shell = InteractiveShell(user_ns={"nx": nx})
    with provisionalcompleter():
        assert {found.text for found in shell.Completer.completions("nx.", 3)} == PUBLIC


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import napari_exposure", ("numpy", "numba", "napari", "qtpy")),
        ("import napari_exposure as nx; nx.equalize_hist", ("qtpy", "napari_exposure.gui")),
    ],
)
def test_import_is_lazy(statement, absent):
    code = f"import sys; {statement}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

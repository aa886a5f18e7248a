"""What type checkers see of the public names."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]

# an expression, and the type that mypy is to find for it
EXPRESSIONS = {
    "nx.adjust_gamma(array, 0.5)": "ndarray",
    "nx.adjust_gamma([[1, 2], [3, 4]], gamma=0.5)": "ndarray",
    "nx.adjust_gamma(stored, mask=mask)": "ndarray",
    "nx.adjust_gamma(lazy)": "dask.array.core.Array",
    "nx.adjust_gamma(image=layer, in_range='contrast_limits')": "napari.layers.image.image.Image",
    "nx.equalize_adapthist(layer, 8.0, spacing=(2.0, 0.5, 0.5))": "napari.layers.image.image.Image",
    "nx.match_histograms(array, nx.histogram(layer), per='plane')": "ndarray",
    "nx.AdaptiveEqualization(8.0).fit(array).apply(lazy)": "dask.array.core.Array",
    "nx.DecayCorrection('x').fit(array).apply(array)": "ndarray",
    "nx.Recipe((nx.Gamma(0.5),)).apply(layer)": "napari.layers.image.image.Image",
    "nx.Recipe((nx.Gamma(0.5),)).fit(array).out_range": "tuple[float, float]",
    "nx.percentile(array, 50)": "float",
    "nx.percentile(array, (1, 99))": "ndarray",
    "nx.from_colormap(array, array).mean": "float",
    "nx.histogram(array).counts": "ndarray",
    "nx.read_tiff('stack.tif').scale": "tuple[float, ...]",
}
# what is no call of theirs, and what mypy is to say of it
MISTAKES = {
    "nx.adjust_gamma(array, gama=2.0)": "call-overload",
    "nx.adjust_gamma(array, 'dark')": "call-overload",
    "nx.adjust_gamma(array, output='uint8')": "call-overload",
    "nx.DecayCorrection('w')": "arg-type",
    "nx.histogram(array, bins=5)": "call-arg",
}
PREAMBLE = '''
import dask.array as da
import numpy as np
from napari.layers import Image

import napari_exposure as nx

class Stored:
    """What a file has for an array."""
    shape = (3, 4)
    dtype = np.dtype("uint8")
    def __getitem__(self, index: object) -> np.ndarray: ...

array: np.ndarray
mask: np.ndarray
lazy: da.Array
layer: Image
stored: Stored
'''


def test_types_of_public_names(tmp_path):
    lines = [f"reveal_type({each})" for each in EXPRESSIONS] + list(MISTAKES)
    wanted = [f'note: Revealed type is "{kind}' for kind in EXPRESSIONS.values()]
    wanted += [f"[{code}]" for code in MISTAKES.values()]
    snippet = tmp_path / "snippet.py"
    snippet.write_text(PREAMBLE + "\n".join(lines) + "\n", encoding="utf-8")
    # With the settings of the project mypy knows from its own run all that is imported.
    ran = subprocess.run([sys.executable, "-m", "mypy", snippet], capture_output=True, text=True, cwd=ROOT)
    said = defaultdict(str)
    for each in ran.stdout.splitlines():
        said[each.partition("snippet.py:")[2].partition(":")[0]] += each.replace("numpy.", "").replace("builtins.", "")
    for at, (line, words) in enumerate(zip(lines, wanted, strict=True), PREAMBLE.count("\n") + 1):
        assert words in said[str(at)], f"{line}: {said[str(at)] or ran}"

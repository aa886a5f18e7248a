"""What docs/contributing.md shows: an adjustment in 20 lines that works through each door."""

import re
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import skimage.exposure

import napari_exposure as nx
from napari_exposure import core

PAGE = Path(__file__).parents[2] / "docs" / "contributing.md"


@pytest.fixture
def defined():
    """What the page's Python defines."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    namespace = {"__name__": "contributed"}
    exec(compile(text, PAGE.name, "exec"), namespace)
    code = text.split("@dataclass")[1].split("class SigmoidDock")[0]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 20
    return namespace


def test_an_adjustment_in_20_lines(defined, qtbot, viewer, volume):
    sigmoid = defined["Sigmoid"]
    expected = skimage.exposure.adjust_sigmoid(volume, cutoff=0.02, gain=10)
    adjustment = sigmoid(cutoff=0.02, in_range="dtype")
    found = core.adjust(adjustment, volume)
    assert found.dtype == volume.dtype
    np.testing.assert_allclose(found.astype(float), expected.astype(float), atol=8)
    lazy = core.adjust(adjustment, da.from_array(volume, chunks=(5, 20, 20)))
    np.testing.assert_array_equal(lazy.compute(), found)
    assert core.Adjustment.from_dict(adjustment.to_dict()) == adjustment
    np.testing.assert_array_equal(nx.Recipe(adjustment).apply(volume), found)
    with pytest.raises(ValueError, match="gain"):
        sigmoid(gain=-1)

    layer = viewer.add_image(volume, name="nuclei")
    widget = defined["SigmoidDock"](viewer)
    viewer.window.add_dock_widget(widget)
    widget.bar.live.setChecked(False)
    widget["cutoff"].value = 0.1
    widget.apply()
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    assert [each.name for each in viewer.layers] == ["nuclei", "nuclei - sigmoid"]
    np.testing.assert_array_equal(viewer.layers[1].data, core.adjust(sigmoid(cutoff=0.1), layer.data))

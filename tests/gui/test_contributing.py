"""What docs/contributing.md shows: an adjustment in 20 lines that works through each door."""

import re
from pathlib import Path

import dask.array as da
import numpy as np
import pytest

import napari_exposure as nx
from napari_exposure import core

PAGE = Path(__file__).parents[2] / "docs" / "contributing.md"


@pytest.fixture
def defined():
    """What the page's Python defines."""
    (text,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    namespace = {"__name__": "contributed"}
    exec(compile(text, PAGE.name, "exec"), namespace)
    code = text.split("@dataclass")[1].split("class CompressDock")[0]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 20
    return namespace


def test_an_adjustment_in_20_lines(defined, qtbot, viewer, volume):
    compress = defined["Compress"]
    adjustment = compress(9.0)
    found = core.adjust(adjustment, volume)
    assert found.dtype == volume.dtype
    lo, hi = float(volume.min()), float(volume.max())
    u = (volume - lo) / (hi - lo)
    np.testing.assert_allclose(found, lo + (hi - lo) * 10 * u / (1 + 9 * u), atol=0.51)
    lazy = core.adjust(adjustment, da.from_array(volume, chunks=(5, 20, 20)))
    np.testing.assert_array_equal(lazy.compute(), found)
    assert core.Adjustment.from_dict(adjustment.to_dict()) == adjustment
    np.testing.assert_array_equal(nx.Recipe(adjustment).apply(volume), found)
    with pytest.raises(ValueError, match="strength"):
        compress(strength=-1)

    layer = viewer.add_image(volume, name="nuclei")
    widget = defined["CompressDock"](viewer)
    viewer.window.add_dock_widget(widget)
    widget.bar.live.setChecked(False)
    widget["strength"].value = 2.0
    widget.apply()
    qtbot.waitUntil(lambda: not widget.running, timeout=20_000)
    assert [each.name for each in viewer.layers] == ["nuclei", "nuclei - compressed"]
    np.testing.assert_array_equal(viewer.layers[1].data, core.adjust(compress(2.0), layer.data))

"""One HTML page on a batch: middle planes, histograms and CDFs, before and after, the figures and the recipe."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_exposure import core
from napari_exposure.batch import Outcome, open_volume, split
from napari_exposure.core.replacing import check_place, replacing
from napari_exposure.core.typing import Array
from napari_exposure.files import FileVolume
from napari_exposure.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# pixels of a plane along its longer side, about
PLANE = 360
STYLE = """
body { font-family: sans-serif; margin: 2em auto; max-width: 75em; color: #222; }
h2 { border-top: 1px solid #ccc; padding-top: 1em; font-size: 1.1em; }
table { border-collapse: collapse; margin: 0.5em 0; } td, th { padding: 0.2em 0.8em; text-align: right; }
td:first-child, th:first-child { text-align: left; } img { max-width: 100%; } .failed { color: #b00; }
pre { background: #f4f4f4; padding: 1em; overflow: auto; }
"""


class Report:
    """Collects what came of files, and writes it as a page that needs nothing else.

    Parameters
    ----------
    recipe : Recipe
    path : Path
        Of the page.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """

    def __init__(self, recipe: Recipe, path: Path, opening: dict[str, Any] | None = None) -> None:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise ImportError('A report needs matplotlib: pip install "napari-exposure[plot]".') from None
        check_place(path)
        self._recipe, self._path, self._opening = recipe, path, opening or {}
        self._parts: dict[Path, str] = {}

    def add(self, outcome: Outcome) -> None:
        """Describe a file; one that failed with why."""
        title = f"<h2>{html.escape(str(outcome.path))}</h2>"
        if outcome.status == "failed":
            self._parts[outcome.path] = f'{title}<p class="failed">{html.escape(outcome.words)}</p>'
            return
        before, after = open_volume(outcome.path, **self._opening), open_volume(outcome.target)
        parts = [title, f"<p>{' × '.join(map(str, before.data.shape))} ({before.axes}), {before.data.dtype}</p>"]
        if outcome.words:
            parts.append(f"<p>{html.escape(outcome.words)}</p>")
        colours = before.axes.endswith("S")
        for number, (one, other) in enumerate(zip(split(before), _channels(after, colours), strict=True)):
            name = before.channel(number)
            found = [core.histogram(one, rgb=colours), core.histogram(other, rgb=colours)]
            parts.append(f"<h3>{html.escape(name)}</h3>" if "C" in before.axes else "")
            parts.append(_image(_pictures(one, other, found, colours)))
            parts.append(_figures(found))
        self._parts[outcome.path] = "\n".join(parts)

    def write(self) -> None:
        """Write the page."""
        recipe = html.escape(json.dumps(self._recipe.to_dict(), indent=2, ensure_ascii=False))
        files = "\n".join(part for _, part in sorted(self._parts.items()))
        page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>napari-exposure</title><style>{STYLE}</style></head>
<body><h1>Exposure adjustments of {len(self._parts)} files</h1>
<p>Middle planes: before over its own range, then before and after over the same range.
Adjusted intensities are for looking and segmenting, not for measuring intensity.</p>
{files}
<h2>Recipe</h2><pre>{recipe}</pre></body></html>
"""
        with replacing(self._path) as unfinished:
            unfinished.write_text(page, encoding="utf-8")


def _channels(after: FileVolume, colours: bool) -> list[Array]:
    """The channels of a result; where the file has no colours but channels of them, as colours."""
    apart = colours and not after.axes.endswith("S")
    data: Any = after.data
    return [np.moveaxis(data, after.axes.index("C"), -1)] if apart else list(split(after))


def _middle(array: Array, colours: bool) -> np.ndarray:
    """The middle plane, of large ones every n-th pixel."""
    planes = array.shape[: -3 if colours else -2]
    plane = np.asarray(array[tuple(n // 2 for n in planes)])
    step = max(1, max(plane.shape[:2]) // PLANE)
    return plane[::step, ::step]


def _pictures(before: Array, after: Array, histograms: Sequence[core.Histogram], colours: bool) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.4), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.3, 1))
    upper, lower = parts
    limits = [(each.minimum, each.percentile(99.9)) for each in histograms]
    same = min(low for low, _ in limits), max(high for _, high in limits)
    # over the range of the result a dim volume is black: that of its own shows what there was to see
    shown = [("before", before, limits[0]), ("before", before, same), ("after", after, same)]
    for ax, (title, array, (low, high)) in zip(upper.subplots(1, 3), shown, strict=True):
        plane, high = _middle(array, colours), high if high > low else low + 1
        if colours:
            ax.imshow(np.clip((plane[..., :3] - low) / (high - low), 0, 1))
        else:
            ax.imshow(plane.astype(float), cmap="gray", vmin=low, vmax=high)
        ax.set(title=f"{title}, shown from {low:g} to {high:g}", xticks=[], yticks=[])
    for ax, histogram, title in zip(lower.subplots(1, 2), histograms, ("before", "after"), strict=True):
        histogram.plot(ax)
        ax.set_title(title)
    return _png(figure)


def histogram_picture(histograms: dict[str, core.Histogram], title: str) -> bytes:
    """A PNG of histograms, one below the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2 * len(histograms)), layout="constrained")
    for ax, (name, histogram) in zip(
        np.atleast_1d(figure.subplots(len(histograms), 1)), histograms.items(), strict=True
    ):
        histogram.plot(ax)
        ax.set_title(title if len(histograms) == 1 else f"{title}: {name}")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100)
    return file.getvalue()


def _image(png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f'<img alt="planes and histograms, before and after" src="data:image/png;base64,{data}">'


def _figures(histograms: Sequence[core.Histogram]) -> str:
    rows = [
        ("", "before", "after"),
        ("minimum", *(f"{each.minimum:g}" for each in histograms)),
        *((f"{q:g} %", *(f"{each.percentile(q):g}" for each in histograms)) for q in (1, 50, 99)),
        ("maximum", *(f"{each.maximum:g}" for each in histograms)),
        ("mean", *(f"{each.mean:.4g}" for each in histograms)),
        ("standard deviation", *(f"{each.std:.4g}" for each in histograms)),
    ]
    return "<table>" + "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows) + "</table>"

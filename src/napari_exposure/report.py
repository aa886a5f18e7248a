"""One HTML page on a batch: middle planes, histograms and CDFs, before and after, the figures and the recipe."""

from __future__ import annotations

import base64
import html
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_exposure import core
from napari_exposure.batch import Outcome, split
from napari_exposure.core.blocks import read_part
from napari_exposure.core.replacing import check_place, replacing
from napari_exposure.core.typing import Array
from napari_exposure.core.words import printable
from napari_exposure.io.files import FileVolume
from napari_exposure.io.reading import read
from napari_exposure.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pixels of a plane along its longer side, about, and colors of a picture: a page on hundreds of files stays small.
PLANE, COLORS = 200, 32
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
        parts = [f"<h2>{_text(outcome.path)}</h2>"]
        if outcome.words:
            parts.append(f'<p class="{outcome.status}">{_text(outcome.words)}</p>')
        if outcome.status in ("done", "skipped"):
            try:
                parts += self._shown(outcome)
            except Exception as error:
                # A file may have been moved meanwhile, or hold what no plot can show: the page tells of the others.
                parts.append(f'<p class="failed">It cannot be shown: {_text(f"{type(error).__name__}: {error}")}</p>')
        self._parts[outcome.path] = "\n".join(parts)

    def _shown(self, outcome: Outcome) -> list[str]:
        """Pictures and figures of a file and its result."""
        before, after = read(outcome.path, **self._opening), read(outcome.target)
        parts = [f"<p>{' × '.join(map(str, before.data.shape))} ({before.axes}), {before.data.dtype}</p>"]
        colours = before.axes.endswith("S")
        for number, (one, other) in enumerate(zip(split(before), _channels(after, colours), strict=True)):
            found = [core.histogram(one, rgb=colours), core.histogram(other, rgb=colours)]
            parts.append(f"<h3>{_text(before.channel(number))}</h3>" if "C" in before.axes else "")
            parts.append(_image(_pictures(one, other, found, colours)))
            parts.append(_figures(found))
        return parts

    def write(self) -> None:
        """Write the page."""
        lines = json.dumps(self._recipe.to_dict(), indent=2, ensure_ascii=False).splitlines()
        recipe = "\n".join(map(_text, lines))
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


def _text(value: object) -> str:
    """Words of others as a page can hold them."""
    return html.escape(printable(value))


def _channels(after: FileVolume, colours: bool) -> list[Array]:
    """The channels of a result; where the file has no colours but channels of them, as colours."""
    apart = colours and not after.axes.endswith("S")
    data: Any = after.data
    return [np.moveaxis(data, after.axes.index("C"), -1)] if apart else list(split(after))


def _middle(array: Array, colours: bool) -> np.ndarray:
    """The middle plane, of large ones every n-th pixel."""
    lead, plane = array.shape[: -3 if colours else -2], array.shape[-3 if colours else -2 :]
    step = max(1, max(plane[:2]) // PLANE)
    pixels = [slice(0, n, step) for n in plane[:2]]
    return read_part(array, (*(n // 2 for n in lead), *pixels, *[slice(0, plane[-1])] * colours))


def _shade(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    """A plane as bytes, black at `low` and white at `high`, whatever numbers these are."""
    unit = max(abs(low), abs(high), np.finfo(float).tiny)
    width = high / unit - low / unit
    # Infinite voxels have no shade of their own between infinite ends.
    with np.errstate(invalid="ignore"):
        shade = (plane.astype(float) / unit - low / unit) / (width if width > 0 else 1)
    return np.rint(255 * np.clip(np.nan_to_num(shade), 0, 1)).astype(np.uint8)


def _pictures(before: Array, after: Array, histograms: Sequence[core.Histogram], colours: bool) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5.4), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.3, 1))
    upper, lower = parts
    limits = [(each.minimum, each.percentile(99.9)) for each in histograms]
    same = min(low for low, _ in limits), max(high for _, high in limits)
    # over the range of the result a dim volume is black: that of its own shows what there was to see
    shown = [("before", before, limits[0]), ("before", before, same), ("after", after, same)]
    for ax, (title, array, (low, high)) in zip(upper.subplots(1, 3), shown, strict=True):
        shade = _shade(_middle(array, colours), low, high)
        ax.imshow(shade[..., :3] if colours else shade, cmap="gray", vmin=0, vmax=255)
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
        # Names are no formulas, though they may hold dollars.
        ax.set_title(printable(title if len(histograms) == 1 else f"{title}: {name}"), parse_math=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that the font does not have are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(drawn, format="png", dpi=90)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


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

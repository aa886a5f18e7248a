"""One HTML page on a batch: pictures before and after, histograms, figures, what Suggest finds, and the recipe."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_exposure import core
from napari_exposure.batch import Outcome, Plan, resized, split, suggestion
from napari_exposure.core.blocks import read_part
from napari_exposure.core.replacing import check_place, replacing
from napari_exposure.core.typing import Array
from napari_exposure.core.words import printable
from napari_exposure.io.files import FileVolume
from napari_exposure.io.reading import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Pictures have about PLANE pixels along the longer side and COLORS colors or shades of gray, so that pages on hundreds
# of files stay small.
PLANE, COLORS = 200, 32
STYLE = """
body { font-family: sans-serif; margin: 2em auto; padding: 0 1em; max-width: 75em; color: #222; background: #fff; }
h2 { border-top: 1px solid #ccc; padding-top: 1em; font-size: 1.1em; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: 0.5em 0; } td, th { padding: 0.2em 0.8em; text-align: right; }
td:first-child, th:first-child { text-align: left; } .failed { color: #b00; }
.wide { overflow-x: auto; } .wide td { overflow-wrap: anywhere; } .wide td:first-child { min-width: 14em; }
.wide td:nth-child(2) { min-width: 8em; text-align: left; } caption { text-align: left; }
th button { font: inherit; border: 0; background: none; color: #06c; cursor: pointer; }
[aria-sort=ascending] button::after { content: " \\25b2"; } [aria-sort=descending] button::after { content: " \\25bc"; }
.planes { display: flex; flex-wrap: wrap; gap: 1em; } figure { margin: 0; flex: 1 1 18em; max-width: 30em; }
img { width: 100%; display: block; } .pair { position: relative; --at: 50%; }
.pair img + img { position: absolute; inset: 0; clip-path: inset(0 0 0 var(--at)); }
.pair span { position: absolute; top: 0; bottom: 0; left: var(--at); border-left: 2px solid #fa0; }
.pair input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize; }
.pair input { appearance: none; } .pair input::-webkit-slider-thumb { appearance: none; width: 2px; height: 100%; }
.pair input::-moz-range-thumb { width: 2px; border: 0; }
.pair:focus-within { outline: 3px solid #06c; } figcaption { display: flex; justify-content: space-between; gap: 1em; }
pre { background: #f4f4f4; padding: 1em; overflow: auto; }
"""
SCRIPT = """
for (const slider of document.querySelectorAll(".pair input"))
  slider.addEventListener("input", () => slider.parentElement.style.setProperty("--at", slider.value + "%"));
for (const button of document.querySelectorAll("th button"))
  button.addEventListener("click", () => {
    const head = button.parentElement, body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending", column = head.cellIndex;
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const text = row => row.cells[column].textContent;
    // numbers as numbers; what has none comes last, whichever way
    const order = (a, b) => isNaN(parseFloat(a)) || isNaN(parseFloat(b)) || !head.dataset.number
      ? (a === "") - (b === "") || (up ? 1 : -1) * a.localeCompare(b, undefined, {numeric: true})
      : (up ? 1 : -1) * (parseFloat(a) - parseFloat(b));
    body.append(...[...body.rows].sort((a, b) => order(text(a), text(b))));
  });
"""
TEXTS = ("File", "Channel", "State")
NUMBERS = (
    "Seconds",
    "Median before",
    "Median after",
    "Standard deviation before",
    "Standard deviation after",
    "Suggested",
)
# A page with this title is a report.
TITLE = "<title>napari-exposure</title>"


class Report:
    """Collects the outcomes of files, and writes them as a page that needs nothing else.

    The page executes and fetches nothing of a file: names are text, and a browser may run only this module's script,
    which it knows by its digest.  An ImportError says that matplotlib is not installed.
    """

    def __init__(self, plan: Plan, path: Path, overwrite: bool = False) -> None:
        try:
            import matplotlib  # noqa: F401
        except ImportError:
            raise ImportError('A report needs matplotlib: pip install "napari-exposure[plot]".') from None
        # A report may be replaced, so that the command that was interrupted goes on when it is given again.
        check_place(path, overwrite=overwrite or _is_report(path))
        self._plan, self._path = plan, path
        # Each file has its rows of the table and its part of the page.
        self._parts: dict[Path, tuple[list[list[str]], str]] = {}

    def add(self, outcome: Outcome) -> None:
        """Describe a file, with the reason if it failed."""
        parts, rows = [f"<h2>{_text(outcome.path)}</h2>"], []
        if outcome.words:
            parts.append(f'<p class="{outcome.status}">{_text(outcome.words)}</p>')
        seconds = f"{outcome.seconds:.2f}" if outcome.status == "done" else ""
        if outcome.status in ("done", "skipped"):
            try:
                for row, part in self._shown(outcome):
                    rows.append([row[0], outcome.status, seconds, *row[1:]])
                    parts.append(part)
            except Exception as error:
                # A file may have been moved, or hold what no plot can show; the page still describes the others.
                parts.append(f'<p class="failed">It cannot be shown: {_text(f"{type(error).__name__}: {error}")}</p>')
        missing = ["", outcome.status, seconds, *[""] * (len(NUMBERS) - 1)]
        self._parts[outcome.path] = rows or [missing], "\n".join(parts)

    def _shown(self, outcome: Outcome) -> Iterator[tuple[list[str], str]]:
        """Yield for each channel of a file its row of the table, and the pictures and figures of it and its result."""
        plan = self._plan
        before = resized(read(outcome.path, **plan.opening), plan.spacing, plan.unit)
        after = read(outcome.target)
        colors = before.axes.endswith("S")
        size = f"<p>{' × '.join(map(str, before.data.shape))} ({before.axes}), {before.data.dtype}</p>"
        for number, (one, other) in enumerate(zip(split(before), _channels(after, colors), strict=True)):
            found = [core.histogram(one, rgb=colors), core.histogram(other, rgb=colors)]
            name = before.channel(number) if "C" in before.axes else ""
            steps, findings = _findings(before, number)
            figures = [f"{each.percentile(50):g}" for each in found] + [f"{each.std:.4g}" for each in found]
            parts = [size if number == 0 else "", f"<h3>{_text(name)}</h3>" if name else ""]
            parts += [
                _planes(one, other, found, colors),
                _image(_plots(found, ("before", "after"), (10, 2.4), (1, 2)), "histograms and CDFs, before and after"),
            ]
            yield [name, *figures, steps], "\n".join([*parts, _figures(found), findings])

    def write(self) -> None:
        """Write the page."""
        recipe = "\n".join(
            map(_text, json.dumps(self._plan.recipe.to_dict(), indent=2, ensure_ascii=False).splitlines())
        )
        rows, files = [], []
        for number, (path, (figures, part)) in enumerate(sorted(self._parts.items()), 1):
            link = f'<a href="#file-{number}">{_text(path)}</a>'
            rows += [f"<td>{'</td><td>'.join([link, *map(_text, each)])}</td>" for each in figures]
            files.append(f'<section id="file-{number}">{part}</section>')
        heads = [f'<th scope="col"><button>{each}</button></th>' for each in TEXTS]
        heads += [f'<th scope="col" data-number="1"><button>{each}</button></th>' for each in NUMBERS]
        policy = f"default-src 'none'; img-src data:; style-src {_digest(STYLE)}; script-src {_digest(SCRIPT)}"
        page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">{TITLE}<style>{STYLE}</style></head>
<body><h1>Exposure adjustments of {len(self._parts)} files</h1>
<p>Middle planes: before and after at a line that can be dragged or moved with the arrow keys, each over its own range;
beside them before over the range of both. Adjusted intensities are for looking and segmenting, not for measuring
intensity.</p>
<div class="wide" tabindex="0"><table><caption>Press a heading to sort. Suggested: how many steps Suggest proposes for
the source.</caption><thead><tr>{"".join(heads)}</tr></thead><tbody>
<tr>{f"</tr>{chr(10)}<tr>".join(rows)}</tr>
</tbody></table></div>
{chr(10).join(files)}
<h2>Recipe</h2><pre tabindex="0">{recipe}</pre><script>{SCRIPT}</script></body></html>
"""
        with replacing(self._path) as unfinished:
            unfinished.write_text(page, encoding="utf-8")


def _is_report(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return TITLE.encode() in file.read(4096)


def _digest(text: str) -> str:
    """Return the name by which a policy allows a script or a style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _findings(volume: FileVolume, number: int) -> tuple[str, str]:
    """Return how many steps Suggest proposes for a channel, and what it found in words."""
    try:
        found = suggestion(volume, number)
    except ValueError as error:
        return "", f"<p>{_text(error)}</p>"
    lines = "\n".join(map(_text, str(found).splitlines()))
    steps = len(found.recipe.steps) if found.recipe else 0
    return str(steps), f'<details><summary>What Suggest finds before</summary><pre tabindex="0">{lines}</pre></details>'


def _text(value: object) -> str:
    """Escape text from elsewhere, so that a page can hold it."""
    return html.escape(printable(value))


def _channels(after: FileVolume, colors: bool) -> list[Array]:
    """Return the channels of a result, joined as colors if the file keeps colors as channels."""
    apart = colors and not after.axes.endswith("S")
    data: Any = after.data
    return [np.moveaxis(data, after.axes.index("C"), -1)] if apart else list(split(after))


def _middle(array: Array, colors: bool) -> np.ndarray:
    """Read the middle plane, or every n-th pixel of a large one."""
    lead, plane = array.shape[: -3 if colors else -2], array.shape[-3 if colors else -2 :]
    step = max(1, max(plane[:2]) // PLANE)
    pixels = [slice(0, n, step) for n in plane[:2]]
    return read_part(array, (*(n // 2 for n in lead), *pixels, *[slice(0, plane[-1])] * colors))


def _shade(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return a plane as bytes, black at `low` and white at `high`, whatever numbers these are."""
    unit = max(abs(low), abs(high), np.finfo(float).tiny)
    width = high / unit - low / unit
    # Infinite voxels have no shade of their own between infinite ends.
    with np.errstate(invalid="ignore"):
        shade = (plane.astype(float) / unit - low / unit) / (width if width > 0 else 1)
    return np.rint(255 * np.clip(np.nan_to_num(shade), 0, 1)).astype(np.uint8)


def _planes(before: Array, after: Array, histograms: Sequence[core.Histogram], colors: bool) -> str:
    """Return the middle planes: after over before, and beside them before in the range of both."""
    limits = [(each.minimum, each.percentile(99.9)) for each in histograms]
    # A dim volume is black in the range of both, so that it is shown in its own range too.
    same = min(low for low, _ in limits), max(high for _, high in limits)
    planes, words = [], []
    for name, array, (low, high) in (
        ("before", before, limits[0]),
        ("after", after, limits[1]),
        ("before", before, same),
    ):
        shade = _shade(_middle(array, colors), low, high)
        words.append(f"{name}, shown from {low:g} to {high:g}")
        picture = _small(shade[..., :3], 256) if colors else _small(shade, COLORS)
        planes.append(_image(picture, f"middle plane {words[-1]}"))
    slider = '<span></span><input type="range" min="0" max="100" step="any" aria-label="line between before and after">'
    return f"""<div class="planes"><figure><div class="pair">{planes[0]}{planes[1]}{slider}</div>
<figcaption><span>{words[0]}</span><span>{words[1]}</span></figcaption></figure>
<figure>{planes[2]}<figcaption>{words[2]}</figcaption></figure></div>"""


def histogram_picture(histograms: dict[str, core.Histogram], title: str) -> bytes:
    """Return a PNG of histograms, one below the other."""
    titles = [title if len(histograms) == 1 else f"{title}: {name}" for name in histograms]
    return _plots(list(histograms.values()), titles, (8, 3.2 * len(histograms)), (len(histograms), 1))


def _plots(
    histograms: Sequence[core.Histogram], titles: Sequence[str], size: tuple[float, float], grid: tuple[int, int]
) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    for ax, histogram, title in zip(np.ravel(figure.subplots(*grid)), histograms, titles, strict=True):
        histogram.plot(ax)
        # Names may hold dollar signs, which are not to be read as formulas.
        ax.set_title(printable(title), parse_math=False)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    from PIL import Image

    drawn = io.BytesIO()
    with warnings.catch_warnings():
        # Names in scripts that the font does not have are drawn as boxes.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(drawn, format="png", dpi=90)
    with Image.open(drawn) as picture:
        return _small(np.asarray(picture.convert("RGB")), COLORS)


def _small(pixels: np.ndarray, most: int) -> bytes:
    """Return a PNG of at most so many colors; shades of gray are even, because the nearest of few would be patches."""
    from PIL import Image

    small = io.BytesIO()
    if pixels.ndim == 2:
        step = 255 / (most - 1)
        picture = Image.fromarray(np.rint(step * np.rint(pixels / step)).astype(np.uint8))
    else:
        picture = Image.fromarray(pixels).convert("RGB").quantize(most, dither=Image.Dither.NONE)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def _image(png: bytes, words: str) -> str:
    return f'<img alt="{words}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


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

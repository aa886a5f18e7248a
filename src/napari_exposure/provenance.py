"""The record of how a layer was made: written to its metadata, and told in words and as Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.intensity import NoiseLimit, Percentiles, check_number
from napari_exposure.core.typing import Layer
from napari_exposure.core.words import given, printable, shortened
from napari_exposure.io.units import PIXEL

METADATA_KEY = "napari_exposure"
# A mask that was an array, and no layer, is recorded under this name.
MASK_ARRAY = "(an array)"
# The name of a live layer is that of its source with this ending.
LIVE_SUFFIX = " - exposure"
NOTE = "Adjusted intensities are for looking and segmenting, not for measuring intensity."


@cache
def version() -> str:
    """Return the installed version of napari-exposure."""
    from importlib.metadata import version

    return version("napari-exposure")


def step_record(
    adjustment: Adjustment, spacing: Iterable[float], unit: str | None, mask: str | None = None
) -> dict[str, Any]:
    """Return the record of a step: its parameters, and the size of a voxel in `unit`, which may be NaN."""
    sizes = [None if size != size else size for size in spacing]
    return {**adjustment.to_dict(), "spacing": sizes, "unit": unit, "mask": mask}


def record(source: str, before: Mapping[str, Any], steps: Iterable[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the record of a result that was made from the layer or file `source`, and has `more` entries.

    The record of the source is `before`, which is empty if the plugin did not make it; for the steps see `step_record`.
    """
    made = {"version": version(), "source": source, "origin": origin_of(before, source)}
    return {**made, "steps": [*before.get("steps", ()), *steps], **more, "note": NOTE}


def noted(found: object) -> dict[str, Any]:
    """Return a record from a layer's metadata or a file, or {} if it is none, because these may hold anything."""
    record: dict[str, Any] = found if isinstance(found, dict) else {}
    steps = record.get("steps")
    return record if isinstance(steps, list) and all(isinstance(step, dict) for step in steps) else {}


def origin_of(record: Mapping[str, Any], otherwise: str) -> str:
    """Return the name of the layer that the first step was applied to."""
    found = record.get("origin", record.get("source"))
    return found if isinstance(found, str) else otherwise


def record_of(layer: Layer) -> dict[str, Any]:
    """Return the record of a layer, or raise that the plugin did not make it."""
    if not hasattr(layer, "metadata"):
        raise TypeError(f"A layer that napari-exposure has made is needed, got {given(layer)}.")
    record = noted(layer.metadata.get(METADATA_KEY))
    if not record:
        raise ValueError(
            f"{layer.name!r} was not made by napari-exposure: it has no record of adjustments. "
            "Choose a result of Apply."
        )
    return record


def parts_of(layer: Layer) -> Iterator[tuple[Adjustment, str | None, str | None, list[float | None]]]:
    """Yield the adjustment of each step, the unit of its tiles, the name of its mask, and the size of a voxel."""
    for number, step in enumerate(record_of(layer)["steps"], 1):
        plain = {name: value for name, value in step.items() if name not in ("spacing", "unit", "mask")}
        unit, mask, spacing = step.get("unit"), step.get("mask"), step.get("spacing", [])
        try:
            adjustment = Adjustment.from_dict(plain)
            for name, value in (("unit", unit), ("mask", mask)):
                if not isinstance(value, str | None):
                    raise ValueError(f"its {name} must be a name, got {value!r}.")
            if not isinstance(spacing, list):
                raise ValueError(f"its spacing must be a list of numbers, got {spacing!r}.")
            sizes = [None if size is None else check_number(size, "its spacing") for size in spacing]
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"Step {number} in the record of {layer.name!r}: {shortened(error)}") from None
        yield adjustment, unit, mask, sizes


def provenance(layer: Layer) -> None:
    """Print how a layer was made.

    Parameters
    ----------
    layer : napari.layers.Image
        A result of the plugin.

    Raises
    ------
    ValueError
        If the plugin did not make the layer.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nuclei = Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), name="nuclei")
    >>> nx.provenance(nx.clip_percentiles(nx.adjust_gamma(nuclei, 0.5), 1, 99))  # doctest: +ELLIPSIS
    nuclei - gamma - clip
    from: nuclei
    1. Gamma: Gamma 0.5
    2. Percentile clipping: Low % 1, High % 99
    by: napari-exposure ...
    Adjusted intensities are for looking and segmenting, not for measuring intensity.
    """
    record, lines = record_of(layer), []
    for number, (adjustment, unit, mask, spacing) in enumerate(parts_of(layer), 1):
        words = [adjustment.in_words(unit or PIXEL)]
        if adjustment.needs_spacing:
            sizes = " × ".join("?" if size is None else f"{size:g}" for size in spacing)
            words.append(f"voxel size {sizes} {unit or PIXEL}")
        if mask is not None:
            words.append(f"measured inside {mask!r}")
        lines.append(f"{number}. {adjustment.title}: {', '.join(words)}")
    seconds = record.get("seconds")
    took = f", {seconds:g} s" if isinstance(seconds, float) else ""
    lines.append(f"by: napari-exposure {record.get('version', '?')}{took}")
    for line in (layer.name, f"from: {origin_of(record, '?')}", *lines, record.get("note", "")):
        print(printable(line))


def methods(layer: Layer) -> str:
    """Return a sentence on how a layer was made, for the methods of a paper."""
    words = [
        f"{adjustment.title.lower()} ({adjustment.in_words(unit or '', all_own=True)})"
        for adjustment, unit, _, _ in parts_of(layer)
    ]
    made_by = f"napari-exposure {record_of(layer).get('version', '?')}"
    return printable(f"Intensities were adjusted with {made_by}: {', then '.join(words)}.")


def _call_word(value: object, layer: Layer, step: int) -> str:
    """Return a parameter as Python; a histogram is written as the place where it is to be had, without its numbers."""
    if isinstance(value, Percentiles | NoiseLimit):
        return f"nx.{value!r}"
    if not isinstance(value, Histogram):
        return repr(value)
    if value.name:
        return f"viewer.layers[{value.name!r}]"
    return f"nx.Recipe.of(viewer.layers[{layer.name!r}]).steps[{step}].reference"


def as_python(layer: Layer) -> str:
    """Return the lines that make the layer again in napari's console."""
    lines = ["import napari_exposure as nx", ""]
    lines.append(f"layer = viewer.layers[{origin_of(record_of(layer), '?')!r}]")
    for number, (adjustment, _, mask, _) in enumerate(parts_of(layer)):
        words = [f"{name}={_call_word(value, layer, number)}" for name, value in adjustment.changed().items()]
        if mask == MASK_ARRAY:
            lines.insert(1, "# mask: the array of the layer's shape inside which voxels were counted")
        if mask is not None:
            words.append("mask=mask" if mask == MASK_ARRAY else f"mask=viewer.layers[{mask!r}]")
        lines.append(f"layer = nx.{adjustment.verb}({', '.join(['layer', *words])})")
    lines.append("viewer.add_layer(layer)")
    return "\n".join(lines) + "\n"

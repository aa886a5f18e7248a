"""How a layer was made: read from its metadata, in words and as Python."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.histogram import Histogram
from napari_exposure.core.intensity import Percentiles
from napari_exposure.core.typing import Layer
from napari_exposure.core.words import printable, shortened
from napari_exposure.voxels import PIXEL

__all__ = ["provenance"]

METADATA_KEY = "napari_exposure"
# what a live preview has behind the name that the result will have
PREVIEW_SUFFIX = " (preview)"
# the name of a mask that was an array, and no layer
MASK_ARRAY = "(an array)"
NOTE = "Adjusted intensities are for looking and segmenting, not for measuring intensity."


def version() -> str:
    """The installed version of napari-exposure."""
    from importlib.metadata import version

    return version("napari-exposure")


def noted(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The record in a layer's metadata; empty where there is none, or something else, as files may hold anything."""
    found = metadata.get(METADATA_KEY)
    record: dict[str, Any] = found if isinstance(found, dict) else {}
    steps = record.get("steps")
    return record if isinstance(steps, list) and all(isinstance(step, dict) for step in steps) else {}


def origin_of(record: Mapping[str, Any], otherwise: str) -> str:
    """The name of the layer that the first step was made from."""
    found = record.get("origin", record.get("source"))
    return found if isinstance(found, str) else otherwise


def record_of(layer: Layer) -> dict[str, Any]:
    """What the plugin has noted of a layer, or an error that says that it did not make it."""
    record = noted(layer.metadata)
    if not record:
        raise ValueError(
            f"{layer.name!r} was not made by napari-exposure: it has no record of adjustments. "
            "Choose a result of Apply."
        )
    return record


def steps_of(layer: Layer) -> list[tuple[Adjustment, str | None]]:
    """The adjustments that made a layer, and the unit of their tiles; masks are told of in a warning."""
    found: list[tuple[Adjustment, str | None]] = []
    masks: set[str] = set()
    for adjustment, unit, mask, _ in _parts(layer):
        found.append((adjustment, unit))
        masks |= set() if mask is None else {mask}
    if masks:
        warnings.warn(
            f"{layer.name!r} was fitted inside {', '.join(map(repr, sorted(masks)))}; a recipe holds no mask: "
            "give it again when you apply the recipe.",
            stacklevel=3,
        )
    return found


def _parts(layer: Layer) -> Iterator[tuple[Adjustment, str | None, str | None, list[float | None]]]:
    """Of each step the adjustment, the unit of its tiles, the name of its mask, and the size of a voxel."""
    for number, step in enumerate(record_of(layer)["steps"], 1):
        plain = {name: value for name, value in step.items() if name not in ("spacing", "unit", "mask")}
        unit, mask, spacing = step.get("unit"), step.get("mask"), step.get("spacing", [])
        try:
            adjustment = Adjustment.from_dict(plain)
            for name, value in (("unit", unit), ("mask", mask)):
                if not isinstance(value, str | None):
                    raise ValueError(f"its {name} must be a name, got {value!r}.")
            if not isinstance(spacing, list) or not all(isinstance(size, int | float | None) for size in spacing):
                raise ValueError(f"its spacing must be a list of numbers, got {spacing!r}.")
        except (ValueError, RecursionError) as error:
            raise ValueError(f"Step {number} in the record of {layer.name!r}: {shortened(error)}") from None
        yield adjustment, unit, mask, spacing


def provenance(layer: Layer) -> None:
    """Print how a layer was made.

    Parameters
    ----------
    layer : napari.layers.Image
        A result of the plugin.

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> import numpy as np
    >>> from napari.layers import Image
    >>> import napari_exposure as nx
    >>> nuclei = Image(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), name="nuclei")
    >>> nx.provenance(nx.clip_percentiles(nx.adjust_gamma(nuclei, 0.5), 1, 99))  # doctest: +ELLIPSIS
    nuclei - gamma - clip
    from: nuclei
    1. Gamma: gamma=0.5
    2. Percentile clipping: low=1.0, high=99.0
    by: napari-exposure ...
    Adjusted intensities are for looking and segmenting, not for measuring intensity.
    """
    record, lines = record_of(layer), []
    for number, (adjustment, unit, mask, spacing) in enumerate(_parts(layer), 1):
        words = [f"{name}={value!r}" for name, value in adjustment.changed().items()]
        if adjustment.needs_spacing:
            sizes = ", ".join("?" if size is None else f"{size:g}" for size in spacing)
            words.append(f"voxel size ({sizes}) {unit or PIXEL}")
        if mask is not None:
            words.append(f"counted inside {mask!r}")
        lines.append(f"{number}. {adjustment.title}: {', '.join(words) or 'defaults'}")
    seconds = record.get("seconds")
    took = f", {seconds:g} s" if isinstance(seconds, int | float) else ""
    lines.append(f"by: napari-exposure {record.get('version', '?')}{took}")
    for line in (layer.name, f"from: {origin_of(record, '?')}", *lines, record.get("note", "")):
        print(printable(line))


def _call_word(value: object, layer: Layer, step: int) -> str:
    """A parameter as Python; of a histogram where it is to be had, not its numbers."""
    if isinstance(value, Percentiles):
        return f"nx.{value!r}"
    if not isinstance(value, Histogram):
        return repr(value)
    if value.name:
        return f"viewer.layers[{value.name!r}]"
    return f"nx.Recipe.of(viewer.layers[{layer.name!r}]).steps[{step}].reference"


def as_python(layer: Layer) -> str:
    """The lines that make the layer again in napari's console."""
    lines = ["import napari_exposure as nx", ""]
    lines.append(f"layer = viewer.layers[{origin_of(record_of(layer), '?')!r}]")
    for number, (adjustment, _, mask, _) in enumerate(_parts(layer)):
        words = [f"{name}={_call_word(value, layer, number)}" for name, value in adjustment.changed().items()]
        if mask == MASK_ARRAY:
            lines.insert(1, "# mask: the array of the layer's shape inside which voxels were counted")
        if mask is not None:
            words.append("mask=mask" if mask == MASK_ARRAY else f"mask=viewer.layers[{mask!r}]")
        lines.append(f"layer = nx.{adjustment.verb}({', '.join(['layer', *words])})")
    lines.append("viewer.add_layer(layer)")
    return "\n".join(lines) + "\n"

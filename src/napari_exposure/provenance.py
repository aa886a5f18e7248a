"""How a layer was made: read from its metadata, in words and as Python."""

from __future__ import annotations

import warnings

from napari_exposure.core.adjustment import Adjustment
from napari_exposure.core.histogram import Histogram
from napari_exposure.voxels import PIXEL

__all__ = ["provenance"]

METADATA_KEY = "napari_exposure"
# what a live preview has behind the name that the result will have
PREVIEW_SUFFIX = " (preview)"
NOTE = "Adjusted intensities are for looking and segmenting, not for measuring intensity."


def version() -> str:
    """The installed version of napari-exposure."""
    from importlib.metadata import version

    return version("napari-exposure")


def record_of(layer) -> dict:
    """What the plugin has noted of a layer, or an error that says that it did not make it."""
    record = layer.metadata.get(METADATA_KEY)
    if not isinstance(record, dict) or not isinstance(record.get("steps"), list):
        raise ValueError(
            f"{layer.name!r} was not made by napari-exposure: it has no record of adjustments. "
            "Choose a result of Apply."
        )
    return record


def steps_of(layer) -> list[tuple[Adjustment, str | None]]:
    """The adjustments that made a layer, and the unit of their tiles; masks are told of in a warning."""
    found, masks = [], set()
    for step in record_of(layer)["steps"]:
        adjustment, unit, mask = _parts(step)
        found.append((adjustment, unit))
        masks |= {mask} - {None}
    if masks:
        warnings.warn(
            f"{layer.name!r} was fitted inside {', '.join(map(repr, sorted(masks)))}; a recipe holds no mask: "
            "give it again when you apply the recipe.",
            stacklevel=3,
        )
    return found


def _parts(step: dict) -> tuple[Adjustment, str | None, str | None]:
    plain = {name: value for name, value in step.items() if name not in ("spacing", "unit", "mask")}
    return Adjustment.from_dict(plain), step.get("unit"), step.get("mask")


def provenance(layer) -> None:
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
    record = record_of(layer)
    print(layer.name)
    print(f"from: {record.get('origin', record.get('source'))}")
    for number, step in enumerate(record["steps"], 1):
        adjustment, unit, mask = _parts(step)
        words = [f"{name}={value!r}" for name, value in adjustment.changed().items()]
        if adjustment.needs_spacing:
            sizes = ", ".join("?" if size is None else f"{size:g}" for size in step.get("spacing", ()))
            words.append(f"voxel size ({sizes}) {unit or PIXEL}")
        if mask is not None:
            words.append(f"counted inside {mask!r}")
        print(f"{number}. {adjustment.title}: {', '.join(words) or 'defaults'}")
    took = f", {record['seconds']:g} s" if "seconds" in record else ""
    print(f"by: napari-exposure {record.get('version', '?')}{took}")
    print(record.get("note", ""))


def _call_word(value, layer, step: int) -> str:
    """A parameter as Python; of a histogram where it is to be had, not its numbers."""
    if not isinstance(value, Histogram):
        return repr(value)
    if value.name:
        return f"viewer.layers[{value.name!r}]"
    return f"nx.Recipe.of(viewer.layers[{layer.name!r}]).steps[{step}].reference"


def as_python(layer) -> str:
    """The lines that make the layer again in napari's console."""
    record = record_of(layer)
    lines = ["import napari_exposure as nx", ""]
    lines.append(f"layer = viewer.layers[{record.get('origin', record.get('source'))!r}]")
    for number, step in enumerate(record["steps"]):
        adjustment, _, mask = _parts(step)
        words = [f"{name}={_call_word(value, layer, number)}" for name, value in adjustment.changed().items()]
        if mask is not None:
            words.append(f"mask=viewer.layers[{mask!r}]")
        call = ", ".join(["layer", *words])
        for name in ("Percentiles", "NoiseLimit"):
            call = call.replace(f"{name}(", f"nx.{name}(")
        lines.append(f"layer = nx.{adjustment.verb}({call})")
    lines.append("viewer.add_layer(layer)")
    return "\n".join(lines) + "\n"

"""What a parameter is: one declaration, which its check, its editor and its wording in sentences read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np

from napari_exposure.core.histogram import Histogram
from napari_exposure.core.intensity import (
    NoiseLimit,
    Percentiles,
    check_choice,
    check_count,
    check_flag,
    check_number,
    check_pair,
    named_range,
    range_name,
)
from napari_exposure.core.plain import KEY
from napari_exposure.core.words import given

# These are the choices of shared parameters, and how a widget words each of them.
PER = {"dataset": "treated together", "volume": "treated separately", "plane": "each plane alone"}
OUTPUT = {"dtype": "same bit depth", "float32": "float32, 0 to 1"}
IN_RANGE = ("data", "dtype")

Per = Literal["dataset", "volume", "plane"]
Output = Literal["dtype", "float32"]
InRange = Literal["data", "dtype"] | tuple[float, float] | Percentiles
# Verbs also take the contrast limits of a layer, which become two numbers.
GivenRange = Literal["data", "dtype", "contrast_limits"] | Sequence[float] | Percentiles


def parameter(default: Any, label: str, tooltip: str, **options: object) -> Any:
    """Declare a parameter, in the one place that says what it may be and what an editor shows of it.

    Every adjustment checks its values by this: a value is one of `choices`, or a number in [`low`, `high`] or greater
    than `above`.  In place of a number it may be `automatic`, which is a word or None, or with `noise` a `NoiseLimit`.
    Editors show `label`, `tooltip`, `step` and `slider`, and offer numbers from `min` to `max`, which are `low` and
    `high` unless they are given; they hide what is `advanced` at first.  Where only some values have names, `words`
    holds them.  A parameter without a default has an `example` in plain data.
    """
    return dataclasses.field(default=default, metadata={"label": label, "tooltip": tooltip, **options})


IN_RANGE_WORDS = (
    "Input range",
    "Which intensities are stretched: the exact minimum and maximum of the data, the range of the dtype, two "
    "percentiles, or fixed numbers. Values outside are clamped.",
)


def checked(value: Any, field: dataclasses.Field[Any]) -> Any:
    """Return a parameter's value in its one form, or raise an error that says what it may be."""
    name, allowed, default = field.name, field.metadata, field.default
    bounds = {each: allowed[each] for each in ("low", "high", "above") if each in allowed}
    if "choices" in allowed:
        return check_choice(value, name, allowed["choices"])
    if isinstance(default, bool):
        return check_flag(value, name)
    others = []
    if allowed.get("noise"):
        if isinstance(value, NoiseLimit):
            return value
        others.append("NoiseLimit(limit)")
    if "automatic" in allowed:
        word = allowed["automatic"]
        if type(value) is type(word) and value == word:
            return value
        others.append(repr(word))
    also = " or ".join(others)
    if isinstance(default, int) or (default is None and isinstance(allowed.get("low"), int)):
        return check_count(value, name, also=also, **bounds)
    return check_number(value, name, also=also, **bounds) if isinstance(default, float) else value


def check_in_range(value: Any) -> InRange:
    """Return an input range in its one form, or raise an error that says what it may be."""
    if isinstance(value, Percentiles) or (isinstance(value, str) and value in IN_RANGE):
        return cast(InRange, value)
    # scikit-image has this word for the same range.
    if isinstance(value, str) and value == "image":
        return "data"
    if name := range_name(value):
        return named_range(name)[1]
    ends: Any = value if not isinstance(value, str) and np.iterable(value) else ()
    if len(ends) == 2:
        lo, hi = (check_number(number, "in_range") for number in ends)
        if lo < hi:
            return check_width(lo, hi)
    raise ValueError(
        "in_range must be 'data', 'dtype', the name of a dtype such as 'uint8', (low, high) with low < high, or "
        f"Percentiles(low, high), got {given(value)}."
    )


def check_width(lo: float, hi: float) -> tuple[float, float]:
    if not math.isfinite(hi - lo):
        raise ValueError(
            f"The intensities {lo:g} to {hi:g} spread wider than float64 can hold; give in_range=(low, high)."
        )
    return lo, hi


def value_in_words(value: Any, field: dataclasses.Field[Any], unit: str) -> str:
    """Return a parameter's label and value, as a user reads them."""
    label, choices = field.metadata["label"], field.metadata.get("choices") or field.metadata.get("words", {})
    if isinstance(value, bool):
        return label if value else f"not {label}"
    if isinstance(value, Percentiles):
        return f"{label} {value.low:g} to {value.high:g} %"
    if isinstance(value, NoiseLimit):
        return f"{label} by noise of {100 * value.limit:g} %"
    if isinstance(value, Histogram):
        return f"{label} {value.name or 'a histogram'}"
    if isinstance(value, str):
        return f"{label} {choices.get(value, value).split(':')[0]}"
    if value is None:
        return f"{label} automatic"
    size = field.name == "kernel_size"
    numbers = value if isinstance(value, tuple) else (value,)
    words = [f"({each[0]:g}, {each[1]:g})" if isinstance(each, tuple) else f"{each:.6g}" for each in numbers]
    return f"{label} {(' × ' if size else ' to ').join(words)}" + f" {unit}" * (size and bool(unit))


def as_plain(value: Any) -> Any:
    """Return a parameter's value as JSON has it: tuples, and those inside of them, become lists."""
    if isinstance(value, Percentiles):
        return {"percentiles": [value.low, value.high]}
    if isinstance(value, NoiseLimit):
        return {"noise_limit": value.limit}
    if isinstance(value, Histogram):
        return value.to_dict()
    return [as_plain(each) for each in value] if isinstance(value, tuple) else value


def from_plain(value: Any) -> Any:
    """Return the value that `as_plain` turned into plain data."""
    if isinstance(value, dict) and set(value) == {"percentiles"}:
        return Percentiles(*check_pair(value["percentiles"], "percentiles"))
    if isinstance(value, dict) and set(value) == {"noise_limit"}:
        return NoiseLimit(value["noise_limit"])
    # Other data stay as they are, so that the check of the parameter says what it may be.
    if isinstance(value, dict) and KEY in value:
        return Histogram.from_dict(value)
    return tuple(from_plain(each) for each in value) if isinstance(value, list) else value

"""Histograms as plain data, which are exact, and short because only bins that hold voxels are written."""

from __future__ import annotations

import dataclasses
import math
import re
from fractions import Fraction
from typing import Any

import numpy as np

from napari_exposure.core.histogram import Histogram
from napari_exposure.core.intensity import check_count, check_number
from napari_exposure.core.jsonfile import check_schema
from napari_exposure.core.moments import Moments

# The schema of the data is raised when an older version could not read them.
SCHEMA = 2
KEY = "napari_exposure_histogram"
# Runs of bins are written as the number of the first bin, then the counts, as in "0:5 3 1;12:1".
_RUNS = re.compile(r"(\d+:\d+( \d+)*(;\d+:\d+( \d+)*)*)?")
# Sums are exact: the squares of float64 numbers have up to 2100 bits before and behind the point, or 700 digits.
_FRACTION = re.compile(r"-?\d{1,700}(/[1-9]\d{0,700})?")
_MOST_BINS, _MOST_VOXELS = 1 << 24, 1 << 53


def plain_of(histogram: Histogram) -> dict[str, Any]:
    """Return plain data (str, float, int, bool, list, dict) of which `histogram_of` makes the same bits again."""
    edges = histogram.edges
    low, high, bins = float(edges[0]), float(edges[-1]), len(histogram.counts)
    plain: dict[str, Any] = {
        KEY: SCHEMA,
        "name": histogram.name,
        "by_value": histogram.by_value,
        "bins": bins,
        "edges": [_written(low), _written(high)],
        "counts": _runs(histogram.counts),
        "minimum": _written(histogram.minimum),
        "maximum": _written(histogram.maximum),
        **{name: getattr(histogram, name) for name in ("below", "above", "nan")},
        "moments": None,
    }
    if bins and not np.array_equal(np.linspace(low, high, bins + 1), edges):
        plain["edges"] = edges.tolist()
    if histogram.moments is not None:
        moments = dataclasses.asdict(histogram.moments)
        plain["moments"] = {
            key: str(value) if isinstance(value, Fraction) else _written(value) for key, value in moments.items()
        }
    if histogram.colors:
        plain["colors"] = [plain_of(each) for each in histogram.colors]
    return plain


def histogram_of(plain: dict[str, Any]) -> Histogram:
    """Make the histogram that `plain_of` described, or raise a ValueError that says what is not valid."""
    check_schema(plain, "histogram", KEY, SCHEMA)
    known = {KEY, "bins", *(field.name for field in dataclasses.fields(Histogram))} - {"colors"}
    if wrong := sorted(known ^ (set(map(str, plain)) - {"colors"})):
        raise ValueError(f"A histogram has exactly {', '.join(sorted(known))}; check {', '.join(wrong)}.")
    if not isinstance(plain["by_value"], bool) or not isinstance(plain["name"], str):
        raise ValueError("by_value must be true or false, and name a text.")
    try:
        bins = check_count(plain["bins"], "bins", low=0, high=_MOST_BINS)
        counts = _counts(plain["counts"], bins)
        edges = _edges(plain["edges"], bins)
        minimum, maximum = (_read(plain[name], name) for name in ("minimum", "maximum"))
        outside = (check_count(plain[name], name, low=0, high=_MOST_VOXELS) for name in ("below", "above", "nan"))
        below, above, nan = outside
        moments = None if plain["moments"] is None else _moments(plain["moments"])
    except TypeError as error:
        raise ValueError(str(error)) from None
    if counts.any() and not (math.isfinite(minimum) and minimum <= maximum < math.inf):
        raise ValueError(f"minimum and maximum must be finite and in order, got {minimum} and {maximum}.")
    if plain["by_value"] and bins and not np.array_equal(edges, np.rint(edges[0] + 0.5) - 0.5 + np.arange(bins + 1)):
        raise ValueError("With by_value the edges must lie around whole numbers.")
    found = minimum, maximum, below, above, nan, plain["by_value"], moments, plain["name"]
    return Histogram(counts, edges, *found, _colors(plain.get("colors", [])))


def _colors(plain: Any) -> tuple[Histogram, ...]:
    """Return the histograms of red, green and blue, or none."""
    if not isinstance(plain, list) or len(plain) not in (0, 3):
        raise ValueError("colors must be a list of three histograms.")
    if any(isinstance(each, dict) and "colors" in each for each in plain):
        raise ValueError("The histogram of a color has no colors.")
    return tuple(map(histogram_of, plain))


def _runs(counts: np.ndarray) -> str:
    used = np.flatnonzero(counts)
    starts = np.flatnonzero(np.diff(used, prepend=-2) > 1)
    pieces = np.split(counts[used], starts[1:]) if used.size else []
    return ";".join(
        f"{start}:{' '.join(map(str, piece.tolist()))}" for start, piece in zip(used[starts], pieces, strict=True)
    )


def _counts(text: Any, bins: int) -> np.ndarray:
    # A bin takes at most 40 characters: the number where its run begins, and a count of up to 16 digits.
    if not isinstance(text, str) or len(text) > 40 * (bins + 1) or not _RUNS.fullmatch(text):
        raise ValueError('counts must be a text of runs of bins such as "0:5 3 1;12:1".')
    counts = np.zeros(bins, np.int64)
    stop = 0
    for run in filter(None, text.split(";")):
        first, _, rest = run.partition(":")
        numbers = [int(number) for number in rest.split()]
        start, after = int(first), int(first) + len(numbers)
        if not stop <= start < after <= bins or max(numbers) > _MOST_VOXELS:
            raise ValueError(f"The run of counts from bin {start} on does not fit into {bins} bins in order.")
        counts[start:after] = numbers
        stop = after
    return counts


def _edges(plain: Any, bins: int) -> np.ndarray:
    if not isinstance(plain, list) or len(plain) not in (2, bins + 1):
        raise ValueError(f"edges must be a list of the first and the last one, or of all {bins + 1}.")
    if not bins:
        return np.full(1, np.nan)
    numbers = [check_number(edge, "edges") for edge in plain]
    edges = np.array(numbers) if len(plain) == bins + 1 else np.linspace(numbers[0], numbers[1], bins + 1)
    if not (np.diff(edges) > 0).all():
        raise ValueError("edges must increase.")
    return edges


def _moments(plain: Any) -> Moments:
    names = [field.name for field in dataclasses.fields(Moments)]
    if not isinstance(plain, dict) or set(plain) != set(names):
        raise ValueError(f"moments must have exactly {', '.join(names)}.")
    whole = [name for name in names if name == "n" or name.startswith("at_")]
    counts = {name: check_count(plain[name], name, low=0, high=_MOST_VOXELS) for name in whole}
    values: dict[str, Any] = dict(counts)
    values |= {name: _read(plain[name], name) for name in ("minimum", "maximum")}
    values |= {name: _fraction(plain[name], name) for name in ("first", "second")}
    found = Moments(**values)
    if found.n and found.n * found.second < found.first**2:
        raise ValueError("The sum of the voxels' squares, second, is too small for their sum.")
    return found


def _fraction(text: Any, name: str) -> Fraction:
    if not isinstance(text, str) or not _FRACTION.fullmatch(text):
        raise ValueError(f'{name} must be a fraction such as "17/4".')
    return Fraction(text)


def _written(number: float) -> float | str | None:
    """Return a number as JSON can hold it, which knows neither NaN nor infinity."""
    return number if math.isfinite(number) else None if math.isnan(number) else str(number)


def _read(plain: Any, name: str) -> float:
    if plain is None:
        return math.nan
    return float(plain) if plain in ("inf", "-inf") else check_number(plain, name)

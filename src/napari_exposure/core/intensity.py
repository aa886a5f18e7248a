"""Which dtypes and parameters are valid, and which dtypes and ranges results have."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_exposure.core.words import given, warn_user

DTYPES = tuple(np.dtype(f"{kind}{8 * size}") for kind in ("uint", "int") for size in (1, 2, 4, 8)) + tuple(
    map(np.dtype, ("float16", "float32", "float64"))
)
# Integers of 64 bits are worked on as float64, which holds every integer up to this one.
EXACT = 1 << 53


@dataclass(frozen=True)
class Percentiles:
    """An input range given by two percentiles of the volume, in percent.

    Parameters
    ----------
    low, high : float
        0 <= low < high <= 100.

    Raises
    ------
    TypeError, ValueError
        If they are not numbers, or not in that order.

    Examples
    --------
    >>> from napari_exposure.core import Percentiles
    >>> Percentiles(0.5, 99.5)
    Percentiles(low=0.5, high=99.5)
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        low, high = (check_number(value, "Percentiles(low, high)") for value in (self.low, self.high))
        if not 0 <= low < high <= 100:
            raise ValueError(f"Percentiles need 0 <= low < high <= 100, got low={self.low!r}, high={self.high!r}.")
        if high <= 1:
            warn_user(
                f"Percentiles are in percent: {low:g} to {high:g} leaves out 99 % of the voxels or more. If fractions "
                f"are meant, give {100 * low:g} and {100 * high:g}."
            )
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)


@dataclass(frozen=True)
class NoiseLimit:
    """A limit of how strong noise may become in a result.

    It may be given as `AdaptiveEqualization.clip_limit` and `LocalStretch.max_gain`, which both limit how steep an
    adjustment is, and so how much it amplifies noise.  The fit turns it into a number, which
    ``transform.of_fits("clip_limit")`` or ``transform.of_fits("max_gain")`` gives.

    Parameters
    ----------
    limit : float
        The standard deviation of noise in the result, as a fraction of the range of the result; in (0, 1].

    Raises
    ------
    TypeError, ValueError
        If it is no such number.

    Notes
    -----
    Where sigma is the greater of the two of `noise_level`, and the input range goes from lo to hi, the adjustment is
    at most ``limit * (hi - lo) / sigma`` times as steep as stretching the input range.  An adjustment is never limited
    to less than that stretch, so a limit below the noise that the stretch gives has no effect.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_exposure.core import AdaptiveEqualization, NoiseLimit
    >>> rng = np.random.default_rng(0)
    >>> volume = np.linspace(0, 1000, 64) + rng.normal(0, 5, (16, 64, 64))
    >>> transform = AdaptiveEqualization(32.0, NoiseLimit(0.02), in_range=(0, 1000)).fit(volume)
    >>> transform.of_fits("clip_limit")
    0.0153
    """

    limit: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "limit", check_number(self.limit, "NoiseLimit(limit)", above=0, high=1.0))


def check_dtype(dtype: npt.DTypeLike, name: str = "volume", data: str = "array") -> np.dtype:
    """Return `dtype` in native byte order, or say why it cannot be counted.

    An error calls the volume by its `name`, and its array `data` in the line that converts it.
    """
    native = np.dtype(dtype).newbyteorder("=")
    if native in DTYPES or native.kind == "b":
        return native
    if native.kind == "c":
        hint = f"Complex data have no order; take np.abs({data}) or np.angle({data}) first."
    else:
        hint = f"Convert it first, e.g. {data}.astype('float32')."
    supported = ", ".join(d.name for d in DTYPES)
    raise TypeError(f"The {name} has dtype {np.dtype(dtype)}; supported are {supported}. {hint}")


def check_exposure(dtype: npt.DTypeLike, name: str = "volume", data: str = "array") -> None:
    """Raise an error if data can be counted but not adjusted; parameters as `check_dtype` has them."""
    if np.dtype(dtype).kind == "b":
        raise TypeError(
            f"The {name} has dtype bool. A mask of two values has no exposure to adjust; convert it first, e.g. "
            f"{data}.astype('uint8')."
        )


def as_array(value: Any, name: str) -> np.ndarray:
    """Turn what is not an array yet, such as nested lists, into one, or raise an error."""
    try:
        array = np.asarray(value)
    except ValueError:
        # NumPy makes no array of lists of different lengths, so the error below is raised.
        array = np.asarray(None)
    if array.dtype.kind in "OSU" or (array.ndim == 0 and not hasattr(value, "shape")):
        hint = ""
        if isinstance(value, list | tuple):
            hint = " One image is taken at a time here; Recipe.apply takes a list of them." * (name == "volume")
        elif isinstance(value, str | PathLike):
            hint = " Read a file first: volume = napari_exposure.read(path), then volume.data, with spacing=."
        elif hasattr(value, "data"):
            hint = " Pass its data, with spacing= and rgb=, which an array does not say."
        raise TypeError(f"The {name} must be an array, got {given(value)}.{hint}")
    return array


def is_lookup(dtype: np.dtype) -> bool:
    """Return whether every value of this dtype can have an entry in a table: integers of up to 16 bits."""
    return dtype.kind in "iu" and dtype.itemsize <= 2


def working_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype that kernels see: the native one, but float32 for float16 and uint8 for bool."""
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def prepared(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Make values of `dtype` native, aligned and C-contiguous, as kernels take them; copy them only if they are not.

    Integers that float64 does not hold raise a ValueError.
    """
    values = np.require(values, working_dtype(dtype), ["C", "A"])
    if dtype.kind in "iu" and dtype.itemsize == 8 and values.size:
        least, most = int(values.min()), int(values.max())
        if least < -EXACT or most > EXACT:
            raise ValueError(
                f"The values {least} to {most} lie beyond 2**53, where float64 no longer holds every integer. "
                "Subtract an offset or divide them first, e.g. array // 1024."
            )
    return values


def result_dtype(dtype: np.dtype, output: str) -> np.dtype:
    """Return the dtype of results for volumes of `dtype`."""
    return dtype if output == "dtype" else np.dtype(np.float32)


def dtype_range(dtype: np.dtype, negative: bool) -> tuple[float, float]:
    """Return the full range of a dtype as scikit-image has it: floats end at 1, and only negative data begin below 0.

    The range of integers of 64 bits ends where float64 no longer holds every integer.
    """
    if dtype.kind == "f":
        return (-1.0 if negative else 0.0), 1.0
    info = np.iinfo(dtype)
    return (float(max(info.min, -EXACT)) if negative else 0.0), float(min(info.max, EXACT))


# These are names that scikit-image has for ranges, but NumPy not for dtypes.
NAMED: dict[str, str | int] = {"float": "float64", "uint10": 10, "uint12": 12, "uint14": 14}


def range_name(value: Any) -> str | None:
    """Return the name of a dtype's range, of what scikit-image takes: np.uint8, "uint8", "uint12", float; else None."""
    if isinstance(value, type | np.dtype):
        value = np.dtype(value).name
    known = isinstance(value, str) and (value in NAMED or value in {dtype.name for dtype in DTYPES})
    return value if known else None


def named_range(name: str) -> tuple[np.dtype, tuple[float, float]]:
    """Return the dtype that holds a range that scikit-image has a name for, and the range."""
    bits: str | int = NAMED.get(name, name)
    if isinstance(bits, int):
        return np.dtype(np.uint16), (0.0, 2.0**bits - 1)
    dtype = np.dtype(bits)
    return dtype, dtype_range(dtype, negative=True)


def result_range(dtype: np.dtype, out_dtype: np.dtype, lo: float) -> tuple[float, float]:
    """Return the intensities of the result that 0 and 1 of an adjustment become."""
    if out_dtype.kind == "f":
        return 0.0, 1.0
    return dtype_range(dtype, negative=lo < 0)


def check_number(
    value: Any, name: str, *, low: float = -math.inf, high: float = math.inf, above: float | None = None, also: str = ""
) -> float:
    """Return `value` as a float, or raise an error that names the parameter, its bounds, and `also` what it may be."""
    bounds = f" greater than {above:g}" if above is not None else f" in [{low:g}, {high:g}]" * math.isfinite(high)
    bounds += f" or {also}" if also else ""
    try:
        if isinstance(value, str):
            raise TypeError
        number = float(value)
    except OverflowError:
        # An integer may have more digits than anybody reads, or than Python writes, so the message leaves them out.
        raise ValueError(f"{name} must be a finite number{bounds}, got one beyond 1e308.") from None
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number{bounds}, got {given(value)}.") from None
    inside = number > above and number <= high if above is not None else low <= number <= high
    if not inside or math.isinf(number):
        raise ValueError(f"{name} must be a finite number{bounds}, got {given(value)}.")
    return number


def check_percents(value: Any) -> tuple[float, ...]:
    """Return one percentile or several as floats, or raise an error if one is not valid."""
    several = np.iterable(value) and not isinstance(value, str)
    return tuple(check_number(each, "q", low=0, high=100) for each in (value if several else [value]))


def check_pair(value: Any, name: str) -> tuple[float, float]:
    """Return two numbers as floats, or raise an error that names the parameter."""
    values = tuple(value) if np.iterable(value) and not isinstance(value, str) else ()
    if len(values) != 2:
        raise ValueError(f"{name} must be two numbers, (low, high), got {given(value)}.")
    first, second = (check_number(each, name) for each in values)
    return first, second


def check_range(value: Any, name: str) -> tuple[float, float]:
    """Return two numbers in ascending order as floats, or raise an error that names the parameter."""
    low, high = check_pair(value, name)
    if not low < high:
        raise ValueError(f"{name} must be (low, high) with low < high, got {given(value)}.")
    return low, high


def check_count(value: Any, name: str, *, low: int, high: int, also: str = "") -> int:
    """Return `value` as an int, or raise an error that names the parameter and its bounds."""
    number = check_number(value, name, low=low, high=high, also=also)
    if not number.is_integer():
        raise ValueError(f"{name} must be a whole number in [{low}, {high}], got {given(value)}.")
    return int(number)


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """Return `value` if it is one of `choices`, or raise an error that says what may be chosen."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {given(value)}.")
    return value


def check_flag(value: Any, name: str) -> bool:
    """Return `value` if it is True or False, or raise an error that names the parameter."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {given(value)}.")
    return bool(value)


def check_level(level: Any, levels: int = 1, name: str = "") -> None:
    """Raise an error if an image has no such level; `name` is that of a layer, and empty for an array."""
    if isinstance(level, int | np.integer) and 0 <= level < levels:
        return
    if name:
        raise ValueError(f"{name} has {levels} level(s): level must be 0 to {levels - 1}, got {given(level)}.")
    raise ValueError(f"level is for multiscale layers; an array has only level 0, got {given(level)}.")


def check_kind(value: Any, name: str, kind: type | tuple[type, ...], what: str) -> Any:
    """Return `value` if it is of a kind, or raise an error that names the parameter and says `what` it must be."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be {what}, got {given(value)}.")
    return value


def as_path(value: Any) -> Path:
    """Return the path of a file or a folder from its name, or raise an error if it is not a name."""
    return Path(check_kind(value, "path", (str, PathLike), "the name of a file, such as 'nuclei.tif'"))


def value_channel(block: np.ndarray) -> np.ndarray:
    """Return the value (HSV) of RGB or RGBA data: the greatest of the three colors."""
    value: np.ndarray = block[..., :3].max(axis=-1)
    return value


# These read only red, only green or only blue of RGB data.
COLORS: tuple[Callable[[np.ndarray], np.ndarray], ...] = tuple(itemgetter((..., color)) for color in range(3))

# ITU-R BT.709 gives these weights to red, green and blue.
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)


def luminance(block: np.ndarray) -> np.ndarray:
    """Return the luminance of RGB or RGBA data (ITU-R BT.709), in their dtype."""
    # Colors are added one by one, because the order in which a matrix product adds them depends on the layout and the
    # processor. Opposite infinities give NaN, without a warning.
    with np.errstate(invalid="ignore"):
        found: np.ndarray = block[..., 0] * LUMINANCE[0]
        for channel in (1, 2):
            found += block[..., channel] * LUMINANCE[channel]
    if block.dtype.kind in "iu":
        np.rint(found, out=found)
    return found.astype(block.dtype.newbyteorder("="), copy=False)


def recolor(block: np.ndarray, value: np.ndarray, adjusted: np.ndarray, out: np.ndarray, top: float) -> None:
    """Write RGB or RGBA data with their value replaced: colors scale together, so hue, saturation and alpha stay.

    The value channel before and after is given, `adjusted` in units of `out`.  A color in `block` is at most `top`,
    from which alpha is brought into units of `out`.  Floats below 0 are no light, and are taken for 0.
    """
    dark = value <= 0
    ratio = np.divide(adjusted, value, dtype=np.float64, where=~dark, out=np.zeros(value.shape))
    for channel in range(3):
        color = block[..., channel] * ratio if block.dtype.kind == "u" else np.maximum(block[..., channel], 0) * ratio
        # Black has no hue, so it becomes gray.
        color[dark] = adjusted[dark]
        out[..., channel] = np.rint(color) if out.dtype.kind in "iu" else color
    write_alpha(block, out, top)


def write_alpha(block: np.ndarray, out: np.ndarray, top: float) -> None:
    """Write the alpha of RGBA data, in units of `out`; parameters as `recolor` has them."""
    if block.shape[-1] == 4:
        alpha = block[..., 3]
        if out.dtype != block.dtype.newbyteorder("="):
            alpha = alpha * (dtype_range(out.dtype, negative=False)[1] / top)
        out[..., 3] = np.rint(alpha) if out.dtype.kind in "iu" else alpha

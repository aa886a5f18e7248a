"""Numba kernels, and nothing else.

Every kernel works on one block, releases the lock of the interpreter and runs on one thread; ``blocks.walk`` runs
blocks in parallel.  ``jit.kernel`` compiles one variant for the dtypes at hand.  Inputs are read-only in its signature,
so that memory maps and broadcast views do not compile a second time.  Indices are unsigned, because numba checks
whether signed ones count from the end, which costs a third of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import numpy as np
from numba import config as numba_config
from numba import from_dtype, njit, types
from numba.extending import overload, register_jitable

from napari_exposure.core import order_kernels
from napari_exposure.core.elsewhere import compile_elsewhere
from napari_exposure.core.kernel_cache import KernelCache

Function = TypeVar("Function", bound=Callable[..., None])
_KERNELS: dict[str, tuple[Callable[..., None], str]] = {}


def _kernel(arguments: str) -> Callable[[Function], Function]:
    """Declare a kernel under the name of its function without the underscore, with the types of its arguments.

    A type is a letter as in ``numpy.dtype``, or one of t, o, p and r, which are the dtypes that a caller names, in this
    order.  An array has its number of axes behind it; those behind the arrow are written.
    """

    def declare(function: Function) -> Function:
        _KERNELS[function.__name__.removeprefix("_")] = function, arguments
        return function

    return declare


def _signature(arguments: str, dtypes: tuple[np.dtype, ...]) -> Iterator[types.Type]:
    """Yield the types that the words of `_kernel` stand for."""
    named = dict(zip("topr", dtypes, strict=False))
    for number, side in enumerate(arguments.split("->")):
        for word in side.split():
            kind = from_dtype(named[word[0]] if word[0] in named else np.dtype(word[0]))
            yield types.Array(kind, int(word[1:]), "C", readonly=number == 0) if word[1:] else kind


def build(name: str, *dtypes: np.dtype) -> Callable[..., None]:
    """Compile a kernel for one signature, or load it from numba's cache."""
    function, arguments = _KERNELS[name]
    with _compiling():
        # The type is Any because numba's stubs know neither a dispatcher's cache nor its signatures.
        compiled: Any = njit(nogil=True, error_model="numpy")(function)
        signature = tuple(_signature(arguments, dtypes))
        # There is no cache if numba may not write to any folder.
        with suppress(OSError, RuntimeError):
            compiled._cache = KernelCache(function)
            if not compiled._cache.holds(signature, compiled.targetctx):
                compile_elsewhere(name, *dtypes)
        compiled.compile(signature)
        compiled.disable_compile()
    found: Callable[..., None] = compiled
    return found


@contextmanager
def _compiling() -> Iterator[None]:
    """Let numba compile even if NUMBA_DISABLE_JIT is set, because uncompiled kernels give other results.

    Python's integers do not wrap around and its floats are double, so that neither bits nor speed would be the same.
    """
    # The type is Any because numba's stubs do not know the settings.
    settings: Any = numba_config
    asked, settings.DISABLE_JIT = settings.DISABLE_JIT, 0
    try:
        yield
    finally:
        settings.DISABLE_JIT = asked


def _cast(value: float, like: np.ndarray) -> float:
    """Round and clamp `value` if `like` holds integers, which is decided when a kernel is compiled."""
    raise NotImplementedError("only inside a kernel")


@overload(_cast, inline="always")
# There are no annotations, because numba compares those of an overload with those of the function that it returns.
def _cast_overload(value, like):  # type: ignore[no-untyped-def]
    if isinstance(like.dtype, types.Float):
        return lambda value, like: value
    bits = like.dtype.bitwidth
    kind = types.unliteral(value)
    # For 64 bits the limits are those of float64's exact integers, as in `intensity.dtype_range`.
    high = min(2.0 ** (bits - like.dtype.signed) - 1, 2.0**53)
    low = max(-high - 1, -(2.0**53)) if like.dtype.signed else 0.0
    return lambda value, like: min(max(np.rint(value), kind(low)), kind(high))


def _is_nan(value: float) -> bool:
    """Whether `value` is NaN, which is a constant False for integers, so that loops vectorize."""
    raise NotImplementedError("only inside a kernel")


@overload(_is_nan, inline="always")
def _is_nan_overload(value):  # type: ignore[no-untyped-def]  # The reason is that of _cast_overload.
    if isinstance(value, types.Float):
        return lambda value: value != value
    return lambda value: False


def _as(value: float, like: float) -> float:
    """Convert `value` to the type of `like`, which is decided when a kernel is compiled."""
    raise NotImplementedError("only inside a kernel")


@overload(_as, inline="always")
def _as_overload(value, like):  # type: ignore[no-untyped-def]  # The reason is that of _cast_overload.
    kind = types.unliteral(like)
    return lambda value, like: kind(value)


@register_jitable
def _position(value: float, lo: float, hi: float, scale: float) -> float:
    """Return where `value` lies between `lo` and `hi`, as a number in [0, scale]; NaN gives 0."""
    u = scale * ((np.float64(value) - lo) / (hi - lo))
    u = u if u > 0.0 else 0.0
    return u if u < scale else scale


# Kernels work on this many values together, which stay in the cache.
_CHUNK = 1024
# Among so few values there is often none that is looked for.
_FEW = 64
# So few counts are kept several times, which stay in the cache.
_SHORT_TABLE = 4096


# --- functions --------------------------------------------------------------------------
#
# NumPy's and the C library's logarithms and powers differ between processors in the last digit.  These consist of
# additions, multiplications and divisions in one order, whose results IEEE 754 prescribes; numba does not fuse them.


@register_jitable
def _horner(coefficients: tuple[float, ...], x: float) -> float:
    y = coefficients[len(coefficients) - 1]
    for power in range(len(coefficients) - 1):
        y = y * x + coefficients[len(coefficients) - 2 - power]
    return y


@register_jitable
def _product(a: float, b: float) -> tuple[float, float]:
    """Return the exact product as the sum of two numbers (Dekker 1971)."""
    product = a * b
    t = 134217729.0 * a
    a_high = t - (t - a)
    a_low = a - a_high
    t = 134217729.0 * b
    b_high = t - (t - b)
    b_low = b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


# ln 2 and 2 / ln 2 are each the sum of two numbers.  The series in s squared is that of atanh(s) / s after its term 1;
# the other is that of exp(y) after 1 + y, divided by y squared.
_LN2 = 0.6931471805599453, 2.3190468138462996e-17
_PER_LN2 = 2.8853900817779268, 4.0710547481862066e-17
_ATANH = tuple(1 / n for n in range(3, 26, 2))
_EXP = tuple(1 / math.factorial(n) for n in range(2, 16))


@register_jitable
def _log2_parts(x: float) -> tuple[float, float]:
    """Return the binary logarithm of a finite number above 0 as the sum of two numbers, right to 2**-58."""
    tiny = x < 2.2250738585072014e-308
    bits = np.float64(x * 2.0**54 if tiny else x).view(np.int64)
    # Here x is m * 2 ** exponent, with m from sqrt(1/2) to sqrt(2).
    exponent = (bits - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52)
    m = np.int64(bits - (exponent << np.int64(52))).view(np.float64)
    # The logarithm follows from ln m = 2 atanh(s) with s = (m - 1) / (m + 1).
    below = m + 1.0
    below_low = m - (below - 1.0)
    s = (m - 1.0) / below
    back, back_low = _product(s, below)
    s_low = ((m - 1.0 - back) - back_low - s * below_low) / below
    high, low = _product(s, _PER_LN2[0])
    z = s * s
    low += s * _PER_LN2[1] + _PER_LN2[0] * (s_low + s * z * _horner(_ATANH, z))
    whole = np.float64(exponent - (54 if tiny else 0))
    total = whole + high
    return total, (high - (total - whole)) + low


@register_jitable
def _exp2_sum(high: float, low: float) -> float:
    """Return 2 ** (high + low), where `low` is small."""
    # These limits lie far beyond what a float64 holds.
    high = min(max(high, -1200.0), 1200.0)
    whole = np.rint(high)
    y, y_low = _product(high - whole, _LN2[0])
    y_low += (high - whole) * _LN2[1] + low * _LN2[0]
    more = y * y * _horner(_EXP, y)
    power = 1.0 + y
    power += (y - (power - 1.0)) + (more + y_low * (power + more))
    # The power is applied in two steps, so that neither factor leaves the range.
    k = np.int64(whole)
    half = k >> np.int64(1)
    bias = np.int64(1023)
    power *= np.int64((half + bias) << np.int64(52)).view(np.float64)
    return power * np.int64((k - half + bias) << np.int64(52)).view(np.float64)


@_kernel("d1 d -> d1")
@register_jitable
def _power(values: np.ndarray, exponent: float, out: np.ndarray) -> None:
    """Write values ** exponent for values of at least 0, right to 0.6 of the last digit."""
    high = np.empty(_CHUNK, np.float64)
    low = np.empty(_CHUNK, np.float64)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        result = out[start : start + _CHUNK]
        # There are two loops, because each vectorizes by itself.
        for i in range(part.size):
            high[i], low[i] = _log2_parts(part[i])
        for i in range(part.size):
            y, y_low = _product(exponent, high[i])
            y_low += exponent * low[i]
            total = y + y_low
            power = _exp2_sum(total, (y - total) + y_low)
            result[i] = power if part[i] > 0.0 else part[i]


@_kernel("d1 -> d1")
def _log(values: np.ndarray, out: np.ndarray) -> None:
    for i in range(values.size):
        high, low = _log2_parts(values[i])
        product, product_low = _product(high, _LN2[0])
        out[i] = product + (product_low + high * _LN2[1] + low * _LN2[0])


@register_jitable
def _exp_one(value: float) -> float:
    high, low = _product(value, 0.5 * _PER_LN2[0])
    return _exp2_sum(high, low + value * (0.5 * _PER_LN2[1]))


@_kernel("d1 -> d1")
def _exp(values: np.ndarray, out: np.ndarray) -> None:
    for i in range(values.size):
        out[i] = _exp_one(values[i])


# --- counting ---------------------------------------------------------------------------


@_kernel("t1 ?1 q -> q1")
def _count_values(values: np.ndarray, counted: np.ndarray, first: int, counts: np.ndarray) -> None:
    if counted.size:
        for i in range(values.size):
            if counted[i]:
                counts[np.uint64(np.int64(values[i]) - first)] += 1
        return
    start = 0
    if counts.size <= _SHORT_TABLE:
        # Neighbors are often alike, and an addition waits for the one before where both are in the same table.
        several = np.zeros((4, counts.size), np.uint32)
        one = np.uint32(1)
        start = values.size // 4 * 4
        for i in range(0, start, 4):
            for k in range(4):
                several[k, np.uint64(np.int64(values[i + k]) - first)] += one
        for k in range(4):
            for j in range(counts.size):
                counts[j] += several[k, j]
    for i in range(start, values.size):
        counts[np.uint64(np.int64(values[i]) - first)] += 1


@register_jitable
def _add_split(sums: np.ndarray, slots: np.ndarray) -> None:
    """Add sums of halves to slots, and those of their products as the bits above 32 and those below."""
    low = np.int64(0xFFFFFFFF)
    slots[0] += sums[0]
    slots[1] += sums[1]
    for k in range(3):
        slots[2 + 2 * k] += sums[2 + k] >> np.int64(32)
        slots[3 + 2 * k] += sums[2 + k] & low


@register_jitable
def _halves(k: int) -> tuple[int, int]:
    """Split an integer of up to 53 bits into high * 2 ** 26 + low."""
    return k >> np.int64(26), k & np.int64(0x3FFFFFF)


@register_jitable
def _is_near(v: float, center: float, scale: float) -> bool:
    """Whether the grid of multiples of 1 / scale about `center` holds a number exactly, or to 40 bits."""
    away = v - center
    x = scale * away
    # A number that is tiny beside the grid is not 0, although its multiple underflows to 0.
    exact = ((x + _ANCHOR) - _ANCHOR == x) & (away + center == v) & ((x != 0) | (away == 0))
    return (abs(x) <= 2.0**51) & (exact | (abs(scale * v) >= 2.0**40))


# The bits of the sum of this number and an integer of up to 51 bits hold that integer.
_ANCHOR = 1.5 * 2.0**52


@_kernel("t1 ?1 d d d d -> q1 q2 q1")
def _moments(
    values: np.ndarray,
    counted: np.ndarray,
    center: float,
    scale: float,
    lowest: float,
    highest: float,
    near: np.ndarray,
    far: np.ndarray,
    tally: np.ndarray,
) -> None:
    """Add up the finite values as integers, for `moments.Moments`.

    near: sums of the halves of multiples of 1 / scale about `center`, and of their products.  far[exponent]: the same
    of the digits of values that such multiples do not hold.  tally: how many are near, far, lowest and highest.
    """
    masked = counted.size > 0
    multiple = np.empty(_CHUNK, np.float64)
    sums = np.empty(5, np.int64)
    anchor_bits = np.float64(_ANCHOR).view(np.int64)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        n = np.int64(0)
        finite = np.int64(0)
        low = np.int64(0)
        high = np.int64(0)
        if masked:
            for i in range(part.size):
                v = np.float64(part[i])
                used = _is_near(v, center, scale) & counted[start + i]
                multiple[i] = scale * (v - center) if used else 0.0
                n += used
                finite += np.isfinite(v) & counted[start + i]
                low += (v == lowest) & counted[start + i]
                high += (v == highest) & counted[start + i]
        else:
            for i in range(part.size):
                v = np.float64(part[i])
                used = _is_near(v, center, scale)
                multiple[i] = scale * (v - center) if used else 0.0
                n += used
                finite += np.isfinite(v)
                low += v == lowest
                high += v == highest
        tally[0] += n
        tally[1] += finite - n
        tally[2] += low
        tally[3] += high
        a = np.int64(0)
        b = np.int64(0)
        aa = np.int64(0)
        ab = np.int64(0)
        bb = np.int64(0)
        for i in range(part.size):
            x = np.float64(multiple[i] + _ANCHOR)
            top, rest = _halves(x.view(np.int64) - anchor_bits)
            a += top
            b += rest
            aa += top * top
            ab += top * rest
            bb += rest * rest
        sums[0] = a
        sums[1] = b
        sums[2] = aa
        sums[3] = ab
        sums[4] = bb
        _add_split(sums, near)
        if n == finite:
            continue
        for i in range(part.size):
            v = np.float64(part[i])
            skipped = not np.isfinite(v) or (masked and not counted[start + i])
            if skipped or _is_near(v, center, scale):
                continue
            bits = v.view(np.int64)
            exponent = (bits >> np.int64(52)) & np.int64(0x7FF)
            digits = bits & np.int64(0xFFFFFFFFFFFFF)
            digits |= np.int64(exponent > 0) << np.int64(52)
            top, rest = _halves(-digits if v < 0 else digits)
            sums[0] = top
            sums[1] = rest
            sums[2] = top * top
            sums[3] = top * rest
            sums[4] = rest * rest
            _add_split(sums, far[exponent])


@register_jitable
def _sort_key(bits: int, size: int, kind: int) -> np.uint64:
    """Change the pattern of a value of `size` bits into a key that orders as an unsigned integer as values do.

    kind: 0 unsigned, 1 signed, 2 IEEE float, 3 IEEE float of which only finite values count.
    """
    # All is uint64, because numba combines uint64 and int64 into a float.
    sign = np.uint64(1) << (np.uint64(size) - np.uint64(1))
    key = np.uint64(bits)
    if kind >= 2:
        return key ^ (sign | (sign - np.uint64(1))) if key & sign else key | sign
    return key ^ sign if kind == 1 else key


@register_jitable
def _is_left_out(bits: int, size: int, kind: int) -> bool:
    """Whether the pattern of a value of `size` bits is NaN, or infinite where only finite values count."""
    sign = np.uint64(1) << (np.uint64(size) - np.uint64(1))
    infinity = np.uint64(0x7F800000) if size == 32 else np.uint64(0x7FF0000000000000)
    return kind >= 2 and (np.uint64(bits) & ~sign) > infinity - np.uint64(kind == 3)


@_kernel("t1 ?1 q Q q -> q1")
def _count_digits(
    bits: np.ndarray, counted: np.ndarray, kind: int, prefix: int, shift: int, counts: np.ndarray
) -> None:
    """Count 16 bits of each value's sort key, for the keys that begin with `prefix`.

    `prefix` is compared with the bits above the counted ones, and is ignored for the top digit, which has none.
    """
    masked = counted.size > 0
    size = bits.itemsize * 8
    down = np.uint64(shift)
    low = np.uint64(0xFFFF)
    top = shift + 16 >= size
    above = np.uint64(shift + 16)
    if top:
        for i in range(bits.size):
            if not (masked and not counted[i]) and not _is_left_out(bits[i], size, kind):
                counts[_sort_key(bits[i], size, kind) >> down] += 1
        return
    for start in range(0, bits.size, _FEW):
        part = bits[start : start + _FEW]
        # Most values have another prefix, which vectorized code sees sooner.
        hits = 0
        for i in range(part.size):
            hits += _sort_key(part[i], size, kind) >> above == prefix
        if hits == 0:
            continue
        for i in range(part.size):
            key = _sort_key(part[i], size, kind)
            left_out = (masked and not counted[start + i]) or _is_left_out(part[i], size, kind)
            if key >> above == prefix and not left_out:
                counts[(key >> down) & low] += 1


@_kernel("t1 ?1 q Q Q i1 Q1 q q -> q2")
def _count_keys(
    bits: np.ndarray,
    counted: np.ndarray,
    kind: int,
    least: int,
    most: int,
    starts: np.ndarray,
    prefixes: np.ndarray,
    above: int,
    shift: int,
    counts: np.ndarray,
) -> None:
    """Count a digit of each value's sort key, from the bit `shift` on, for keys that begin with one of `prefixes`.

    Keys are clamped to least..most, and counted in counts[prefix, digit].  The prefixes whose lower 16 bits are t stand
    from starts[t] up to starts[t + 1]; other keys are not counted.  Without prefixes, a key whose 16 bits from `above`
    on are t is counted in row starts[t].
    """
    masked = counted.size > 0
    size = bits.itemsize * 8
    up = np.uint64(above)
    down = np.uint64(shift)
    low = np.uint64(counts.shape[1] - 1)
    for i in range(bits.size):
        if (masked and not counted[i]) or _is_left_out(bits[i], size, kind):
            continue
        key = min(max(_sort_key(bits[i], size, kind), least), most)
        prefix = key >> up
        place = prefix & np.uint64(0xFFFF)
        k = np.int64(starts[place])
        if prefixes.size:
            stop = np.int64(starts[place + np.uint64(1)])
            while k < stop and prefixes[np.uint64(k)] != prefix:
                k += 1
            if k == stop:
                continue
        row = counts[np.uint64(k)]
        row[(key >> down) & low] += 1


@_kernel("t3 ?3 q Q2 q -> q3")
def _count_plane_digits(
    bits: np.ndarray, counted: np.ndarray, kind: int, prefixes: np.ndarray, shift: int, counts: np.ndarray
) -> None:
    """Count 8 bits as `_count_digits` does, for each plane along the middle axis and for several prefixes.

    `prefixes` has a row for each plane; counts[plane, prefix, digit].  The top digit is counted once, for the first
    prefix.
    """
    masked = counted.size > 0
    size = bits.itemsize * 8
    down = np.uint64(shift)
    low = np.uint64(0xFF)
    top = shift + 8 >= size
    above = np.uint64(0) if top else np.uint64(shift + 8)
    wanted = 1 if top else prefixes.shape[1]
    for i in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            own = prefixes[j]
            plane = counts[j]
            for k in range(bits.shape[2]):
                if (masked and not counted[i, j, k]) or _is_left_out(bits[i, j, k], size, kind):
                    continue
                key = _sort_key(bits[i, j, k], size, kind)
                digit = (key >> down) & low
                if top:
                    plane[0, digit] += 1
                    continue
                prefix = key >> above
                for q in range(wanted):
                    if own[q] == prefix:
                        plane[np.uint64(q), digit] += 1


# --- many small volumes, a row each -----------------------------------------------------


@_kernel("t2 ?2 -> d2")
def _extents_rows(values: np.ndarray, counted: np.ndarray, out: np.ndarray) -> None:
    """Write the finite minimum and maximum of a row to out[0, r] and out[1, r], unless it has no finite value."""
    masked = counted.size > 0
    for r in range(values.shape[0]):
        row = values[r]
        lo = np.inf
        hi = -np.inf
        if masked:
            for i in range(row.size):
                v = np.float64(row[i])
                if counted[r, i] and np.isfinite(v):
                    lo = min(lo, v)
                    hi = max(hi, v)
        else:
            for i in range(row.size):
                v = np.float64(row[i])
                if np.isfinite(v):
                    lo = min(lo, v)
                    hi = max(hi, v)
        if lo <= hi:
            out[0, r] = lo
            out[1, r] = hi


@_kernel("t2 ?2 q1 -> q2")
def _values_rows(values: np.ndarray, counted: np.ndarray, first: np.ndarray, counts: np.ndarray) -> None:
    masked = counted.size > 0
    for r in range(values.shape[0]):
        row = values[r]
        own = counts[r]
        start = first[r]
        for i in range(row.size):
            if not masked or counted[r, i]:
                own[np.uint64(np.int64(row[i]) - start)] += 1


@_kernel("t2 ?2 d1 d1 d1 -> q2 q2")
def _bins_rows(
    values: np.ndarray,
    counted: np.ndarray,
    first: np.ndarray,
    width: np.ndarray,
    last: np.ndarray,
    counts: np.ndarray,
    rest: np.ndarray,
) -> None:
    """Count the values of each row in bins from first + j * width up to the next edge, which only the last includes.

    counts[r, j] has the bins, rest[r] the values below the first edge, those above the last, and NaN.
    """
    masked = counted.size > 0
    nbins = counts.shape[1]
    scale = np.float64(nbins)
    top = np.int32(nbins - 1)
    bins = np.empty(_CHUNK, np.uint32)
    # Slots behind the last bin take values in no bin and those not counted; two halves hide the store latency.
    even = np.empty(nbins + 4, np.uint32)
    odd = np.empty(nbins + 4, np.uint32)
    one = np.uint32(1)
    for r in range(values.shape[0]):
        lo = first[r]
        hi = last[r]
        step = width[r]
        factor = scale / (hi - lo)
        even[:] = 0
        odd[:] = 0
        for start in range(0, values.shape[1], _CHUNK):
            part = values[r, start : start + _CHUNK]
            for i in range(part.size):
                v = np.float64(part[i])
                u = factor * (v - lo)
                u = u if u > 0.0 else 0.0
                j = min(np.int32(u if u < scale else scale), top)
                # The edges decide and not the rounding of the product.
                j -= np.int32((v < j * step + lo) & (j > 0))
                j += np.int32((v >= (j + 1) * step + lo) & (j < top))
                j = nbins if v < lo else nbins + 1 if v > hi else j
                bins[i] = nbins + 2 if _is_nan(part[i]) else j
            if masked:
                for i in range(part.size):
                    if not counted[r, start + i]:
                        bins[i] = nbins + 3
            for i in range(part.size // 2):
                even[bins[2 * i]] += one
                odd[bins[2 * i + 1]] += one
            if part.size % 2:
                even[bins[part.size - 1]] += one
        for j in range(nbins):
            counts[r, j] += np.int64(even[j]) + np.int64(odd[j])
        for k in range(3):
            rest[r, k] += np.int64(even[nbins + k]) + np.int64(odd[nbins + k])


# --- counting along an axis -------------------------------------------------------------


@register_jitable
def _tile(counts: np.ndarray) -> int:
    """Return how many pixels' counts stay in the cache together."""
    return max(1, (1 << 18) // (counts.shape[1] * counts.itemsize))


@_kernel("t3 q2 q i1 -> o2")
def _along_table(values: np.ndarray, rows: np.ndarray, first: int, table: np.ndarray, counts: np.ndarray) -> None:
    """Count the values v of values[o, :, p] in counts[rows[o, p], table[v - first]]; -1 in the table is no bin."""
    tile = _tile(counts)
    for o in range(values.shape[0]):
        for start in range(0, values.shape[2], tile):
            row = rows[o, start : start + tile]
            for k in range(values.shape[1]):
                part = values[o, k, start : start + tile]
                for p in range(part.size):
                    j = table[np.uint64(np.int64(part[p]) - first)]
                    if j >= 0:
                        counts[np.uint64(row[p]), np.uint64(j)] += 1


@_kernel("t3 q2 d1 ? -> o2")
def _along_bins(values: np.ndarray, rows: np.ndarray, edges: np.ndarray, uniform: bool, counts: np.ndarray) -> None:
    """Count as `_along_table` does, in bins edges[j] <= v < edges[j + 1], the last with its upper edge."""
    tile = _tile(counts)
    nbins = counts.shape[1]
    lo = edges[0]
    hi = edges[nbins]
    scale = nbins / (hi - lo)
    for o in range(values.shape[0]):
        for start in range(0, values.shape[2], tile):
            row = rows[o, start : start + tile]
            for k in range(values.shape[1]):
                part = values[o, k, start : start + tile]
                for p in range(part.size):
                    v = np.float64(part[p])
                    # This skips NaN too, which compares as false.
                    if not (v >= lo and v <= hi):
                        continue
                    if uniform:
                        j = min(np.int64(scale * (v - lo)), nbins - 1)
                        # The edges decide and not the rounding of the product.
                        if v < edges[np.uint64(j)]:
                            j -= 1
                        elif j < nbins - 1 and v >= edges[np.uint64(j + 1)]:
                            j += 1
                    else:
                        j = min(np.int64(np.searchsorted(edges, v, side="right")), nbins) - 1
                    counts[np.uint64(row[p]), np.uint64(j)] += 1


# --- pointwise maps ---------------------------------------------------------------------


@_kernel("t1 q o1 -> o1")
@register_jitable
def _map_table(values: np.ndarray, first: int, table: np.ndarray, out: np.ndarray) -> None:
    last = table.size - 1
    for i in range(values.size):
        out[i] = table[np.uint64(min(max(np.int64(values[i]) - first, 0), last))]


@_kernel("t1 d d d d d d -> o1")
def _map_power(
    values: np.ndarray, lo: float, hi: float, gamma: float, gain: float, bottom: float, span: float, out: np.ndarray
) -> None:
    """Map in double precision, for values that single precision would round."""
    position = np.empty(_CHUNK, np.float64)
    power = np.empty(_CHUNK, np.float64)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        result = out[start : start + _CHUNK]
        for i in range(part.size):
            position[i] = _position(part[i], lo, hi, 1.0)
        _power(position[: part.size], gamma, power)
        for i in range(part.size):
            y = np.nan if _is_nan(part[i]) else min(gain * power[i], 1.0)
            result[i] = _cast(bottom + span * y, result)


# These are coefficients, constant term first, of log2(1 + t) / t and (2 ** f - 1) / f in single precision: Chebyshev
# interpolants from sqrt(1/2) - 1 to sqrt(2) - 1 and from -1/2 to 1/2, right to 1e-7, and exact where results are 0 and
# 1; an odd degree has no node at f = 0.  They are written out, because NumPy's fits may differ between processors.
_LOG2_SINGLE = (
    1.442695, -0.7213475, 0.4808979, -0.36067465, 0.2885756, -0.24044757, 0.20504002, -0.17919457, 0.1723426,
    -0.1676505, 0.09481863,
)  # fmt: skip
_LOG2_SINGLE = tuple(map(np.float32, _LOG2_SINGLE))
_EXP2_SINGLE = (0.6931472, 0.2402265, 0.05550411, 0.00961813, 0.0013333479, 0.00015403476, 1.53037e-05, 1.3250801e-06)
_EXP2_SINGLE = tuple(map(np.float32, _EXP2_SINGLE))


# The smallest position of a value of float32, in a range that float32 holds, times 2 to this power has all its digits.
_LARGER = 152


@_kernel("t1 d d d d d d -> o1")
def _map_power_single(
    values: np.ndarray, lo: float, hi: float, gamma: float, gain: float, bottom: float, span: float, out: np.ndarray
) -> None:
    """Map floats in single precision, in loops that vectorize and are several times as fast as the C library.

    The loops are short, because a waiting processor works on the next vectors only if their instructions fit into its
    queue: logarithm and power in one loop take a quarter longer.
    """
    position = np.empty(_CHUNK, np.float32)
    power = np.empty(_CHUNK, np.float32)
    one = np.float32(1)
    half = np.float32(0.5)
    least = np.float32(-126)
    smallest = 2.0**-126
    larger = 2.0**_LARGER
    g = np.float32(gamma)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        result = out[start : start + _CHUNK]
        n = part.size
        for i in range(n):
            u = _position(part[i], lo, hi, 1.0)
            # Positions that are too small for all digits in single precision are stored larger, and as negative.
            position[i] = u if u >= smallest else -larger * u
        for i in range(n):
            # Here position is m * 2 ** k, with m from sqrt(1/2), whose bits are subtracted, to sqrt(2).
            bits = np.float32(abs(position[i])).view(np.int32)
            k = np.int32(bits - np.int32(0x3F3504F4)) >> np.int32(23)
            t = np.int32(bits - (k << np.int32(23))).view(np.float32) - one
            k = np.int32(k - np.int32(_LARGER if position[i] < 0 else 0))
            p = g * (np.float32(k) + t * _horner(_LOG2_SINGLE, t))
            power[i] = p if p > least else least
        for i in range(n):
            p = power[i]
            whole = np.floor(p + half)
            f = p - whole
            y = one + f * _horner(_EXP2_SINGLE, f)
            y *= np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)
            power[i] = y if position[i] != 0 else np.float32(0)
        for i in range(n):
            y = np.nan if _is_nan(part[i]) else min(gain * np.float64(power[i]), 1.0)
            result[i] = _cast(bottom + span * y, result)


@_kernel("t1 d d d1 d d -> o1")
@register_jitable
def _map_knots(
    values: np.ndarray, lo: float, hi: float, knots: np.ndarray, bottom: float, span: float, out: np.ndarray
) -> None:
    """Map along straight lines through `knots`, which are evenly spaced from `lo` to `hi`."""
    last = knots.size - 1
    left = np.empty(_CHUNK, np.uint32)
    fraction = np.empty(_CHUNK, np.float64)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        result = out[start : start + _CHUNK]
        # This loop is apart from the search in the table, so that it vectorizes.
        for i in range(part.size):
            u = _position(part[i], lo, hi, float(last))
            j = min(np.int32(u), np.int32(last - 1))
            left[i] = j
            # The fraction carries NaN on to the result.
            fraction[i] = np.nan if _is_nan(part[i]) else u - j
        for i in range(part.size):
            j = left[i]
            result[i] = _cast(bottom + span * (knots[j] + fraction[i] * (knots[j + 1] - knots[j])), result)


@_kernel("t1 d d d d d d -> o1")
def _map_replace(
    values: np.ndarray,
    value: float,
    filling: float,
    lo: float,
    hi: float,
    bottom: float,
    span: float,
    out: np.ndarray,
) -> None:
    """Put `filling` in the place of one value and of NaN, and clamp other values to lo..hi."""
    for i in range(values.size):
        v = np.float64(values[i])
        v = filling if v == value or _is_nan(values[i]) else min(max(v, lo), hi)
        out[i] = _cast(bottom + span * v, out)


@register_jitable
def _bucket(value: float, lo: float, scale: float, last: int) -> int:
    u = scale * (np.float64(value) - lo)
    u = u if u > 0.0 else 0.0
    return np.int64(u if u < last else last)


@register_jitable
def _even(places: np.ndarray) -> tuple[float, float]:
    """Return where as many even buckets as there are places begin, and how many of them there are in a unit."""
    lo = np.float64(places[0])
    scale = places.size / (np.float64(places[places.size - 1]) - lo)
    return lo, scale if scale < np.inf else 0.0


@_kernel("t1 q q -> I1")
@register_jitable
def _index_steps(levels: np.ndarray, first: int, stop: int, starts: np.ndarray) -> None:
    """Write the index of some of the equal parts of the levels, of which there are as many as `starts` is longer.

    A part has as many even buckets as levels.  starts[j] is the first level that no bucket before j holds, or the last
    level of the part.
    """
    parts = starts.size - levels.size
    for part in range(first, stop):
        begin = part * levels.size // parts
        own = levels[begin : (part + 1) * levels.size // parts]
        index = starts[begin + part : begin + part + own.size + 1]
        lo, scale = _even(own)
        j = 0
        for k in range(own.size):
            bucket = _bucket(own[k], lo, scale, own.size - 1)
            while j <= bucket:
                index[j] = begin + k
                j += 1
        index[j:] = begin + own.size - 1


@_kernel("t1 t1 d1 I1 d d -> o1")
@register_jitable
def _map_steps(
    values: np.ndarray,
    levels: np.ndarray,
    heights: np.ndarray,
    starts: np.ndarray,
    bottom: float,
    span: float,
    out: np.ndarray,
) -> None:
    """Map the values above levels[k - 1], up to and including levels[k], to heights[k]; `_index_steps` has `starts`."""
    last = np.uint32(levels.size - 1)
    parts = starts.size - levels.size
    room = 1
    while room < parts:
        room *= 2
    ends = np.full(room, np.inf)
    lo = np.empty(parts, np.float64)
    scale = np.empty(parts, np.float64)
    begins = np.empty(parts + 1, np.int64)
    for p in range(parts):
        begin = p * levels.size // parts
        stop = (p + 1) * levels.size // parts
        lo[p], scale[p] = _even(levels[begin:stop])
        # What lies beyond the last part is searched in it.
        ends[p] = levels[stop - 1] if p + 1 < parts else np.inf
        begins[p] = begin + p
    begins[parts] = starts.size
    one = np.uint32(1)
    own = np.zeros(_CHUNK, np.uint32)
    bucket = np.empty(_CHUNK, np.uint32)
    step = np.empty(_CHUNK, np.uint32)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        result = out[start : start + _CHUNK]
        if parts > 1:
            order_kernels.search(part, ends, own)
        for i in range(part.size):
            j = own[i]
            most = begins[np.uint32(j + one)] - begins[j] - 2
            bucket[i] = np.uint32(begins[j] + _bucket(part[i], lo[j], scale[j], most))
        # Levels are seldom in the cache, and a processor waits for many at a time only in such short loops.
        for i in range(part.size):
            step[i] = starts[bucket[i]]
        for i in range(part.size):
            v = part[i]
            k = step[i]
            # Most buckets have few levels, and no processor can foresee a branch at each. NaN stays where it is.
            k = np.uint32(k + np.uint32((k < last) & (levels[k] < v)))
            k = np.uint32(k + np.uint32((k < last) & (levels[k] < v)))
            if levels[k] < v:
                stop = starts[np.uint32(bucket[i] + one)]
                while k < stop:
                    middle = np.uint32((k + stop) >> one)
                    if levels[middle] < v:
                        k = np.uint32(middle + one)
                    else:
                        stop = middle
            step[i] = k
        for i in range(part.size):
            y = np.nan if _is_nan(part[i]) else heights[step[i]]
            result[i] = _cast(bottom + span * y, result)


@register_jitable
def _index_knots(places: np.ndarray, heights: np.ndarray, starts: np.ndarray) -> tuple[float, float]:
    """Write to starts[j] the last knot in the buckets before j, or the first; return where buckets begin, and scale.

    Buckets are even, and lie where nearly all values do.
    """
    last = places.size - 1
    buckets = starts.size - 1
    near = 0
    while near < last and heights[near] < 0.01:
        near += 1
    far = near
    while far < last and heights[far] < 0.99:
        far += 1
    lo = places[near]
    scale = buckets / (places[far] - lo) if far > near else 0.0
    scale = scale if scale < np.inf else 0.0
    j = 0
    # No value is beyond the last knot but one, from which the last line begins.
    for k in range(last):
        own = _bucket(places[k], lo, scale, buckets - 1)
        while j <= own:
            starts[j] = max(k - 1, 0)
            j += 1
    starts[j:] = last - 1
    return lo, scale


@_kernel("t1 d1 d1 d d -> o1")
@register_jitable
def _map_curve(
    values: np.ndarray, places: np.ndarray, heights: np.ndarray, bottom: float, span: float, out: np.ndarray
) -> None:
    """Map along straight lines through (places, heights); places ascend."""
    last = places.size - 1
    starts = np.empty(4 * places.size + 1, np.uint32)
    lo, scale = _index_knots(places, heights, starts)
    buckets = starts.size - 1
    ends = np.empty(last, np.float64)
    for k in range(last - 1):
        ends[k] = places[k + 1]
    # No value is beyond this one, not even infinity.
    ends[last - 1] = np.nan
    one = np.uint32(1)
    knot = np.empty(_CHUNK, np.uint32)
    for start in range(0, values.size, _CHUNK):
        part = values[start : start + _CHUNK]
        result = out[start : start + _CHUNK]
        # The search has a loop of its own, so that those around it vectorize.
        for i in range(part.size):
            knot[i] = np.uint32(_bucket(part[i], lo, scale, buckets - 1))
        for i in range(part.size):
            v = np.float64(part[i])
            k = starts[knot[i]]
            # Few buckets have more than two knots, and no processor can foresee a branch where there is one. NaN stays
            # where it is.
            k = np.uint32(k + np.uint32(ends[k] <= v))
            k = np.uint32(k + np.uint32(ends[k] <= v))
            if ends[k] <= v:
                stop = starts[np.uint32(knot[i] + one)]
                while k < stop:
                    middle = np.uint32((k + stop + one) >> one)
                    if places[middle] <= v:
                        k = middle
                    else:
                        stop = np.uint32(middle - one)
            knot[i] = k
        for i in range(part.size):
            k = knot[i]
            left = places[k]
            share = (np.float64(part[i]) - left) / (places[k + one] - left)
            share = min(max(share, 0.0), 1.0)
            y = heights[k] + share * (heights[k + one] - heights[k])
            result[i] = _cast(bottom + span * (np.nan if _is_nan(part[i]) else y), result)


@_kernel("t2 q1 q1 o1 -> o2")
def _table_rows(values: np.ndarray, first: np.ndarray, starts: np.ndarray, tables: np.ndarray, out: np.ndarray) -> None:
    for r in range(values.shape[0]):
        _map_table(values[r], first[r], tables[starts[r] : starts[r + 1]], out[r])


@_kernel("t2 d1 d1 q1 d1 d1 d1 -> o2")
def _knots_rows(
    values: np.ndarray,
    lo: np.ndarray,
    hi: np.ndarray,
    starts: np.ndarray,
    knots: np.ndarray,
    bottom: np.ndarray,
    span: np.ndarray,
    out: np.ndarray,
) -> None:
    for r in range(values.shape[0]):
        _map_knots(values[r], lo[r], hi[r], knots[starts[r] : starts[r + 1]], bottom[r], span[r], out[r])


@_kernel("t2 q1 d1 d1 d1 d1 -> o2")
def _curve_rows(
    values: np.ndarray,
    starts: np.ndarray,
    places: np.ndarray,
    heights: np.ndarray,
    bottom: np.ndarray,
    span: np.ndarray,
    out: np.ndarray,
) -> None:
    for r in range(values.shape[0]):
        own = slice(starts[r], starts[r + 1])
        _map_curve(values[r], places[own], heights[own], bottom[r], span[r], out[r])


@_kernel("t2 q1 t1 d1 d1 d1 -> o2")
def _steps_rows(
    values: np.ndarray,
    starts: np.ndarray,
    levels: np.ndarray,
    heights: np.ndarray,
    bottom: np.ndarray,
    span: np.ndarray,
    out: np.ndarray,
) -> None:
    for r in range(values.shape[0]):
        own = slice(starts[r], starts[r + 1])
        index = np.empty(starts[r + 1] - starts[r] + 1, np.uint32)
        _index_steps(levels[own], 0, 1, index)
        _map_steps(values[r], levels[own], heights[own], index, bottom[r], span[r], out[r])


# --- colors -----------------------------------------------------------------------------


@register_jitable
def _distance(red: float, green: float, blue: float, color: np.ndarray) -> float:
    """Return the squared distance of two colors."""
    return (red - color[0]) ** 2 + (green - color[1]) ** 2 + (blue - color[2]) ** 2


@register_jitable
def _closest(red: float, green: float, blue: float, colors: np.ndarray) -> int:
    found = 0
    least = np.inf
    for k in range(colors.shape[0]):
        distance = _distance(red, green, blue, colors[k])
        if distance < least:
            least = distance
            found = k
    return found


@_kernel("d2 d2 f1 -> f1 d1")
def _nearest(pixels: np.ndarray, colors: np.ndarray, values: np.ndarray, out: np.ndarray, tally: np.ndarray) -> None:
    """Write values[k] of the nearest color k; tally: voxels that are not NaN, sum and maximum of distances."""
    k = 0
    for i in range(pixels.shape[0]):
        red = pixels[i, 0]
        green = pixels[i, 1]
        blue = pixels[i, 2]
        if np.isnan(red + green + blue):
            out[i] = np.nan
            continue
        # Neighbors often have the same color, which then is not searched again.
        if i == 0 or red != pixels[i - 1, 0] or green != pixels[i - 1, 1] or blue != pixels[i - 1, 2]:
            k = _closest(red, green, blue, colors)
        out[i] = values[k]
        distance = np.sqrt(_distance(red, green, blue, colors[k]))
        tally[0] += 1
        tally[1] += distance
        tally[2] = max(tally[2], distance)


@_kernel("B2 d2 f1 -> h1 f1 d1")
def _nearest_bytes(
    pixels: np.ndarray, colors: np.ndarray, values: np.ndarray, known: np.ndarray, out: np.ndarray, tally: np.ndarray
) -> None:
    """Work as `_nearest` does, and keep the nearest color of each of 2**24 in `known`, -1 where none was searched.

    Threads need no lock, because all write the same into it.
    """
    for i in range(pixels.shape[0]):
        red = pixels[i, 0] / 255.0
        green = pixels[i, 1] / 255.0
        blue = pixels[i, 2] / 255.0
        key = np.int64(pixels[i, 0]) << 16 | np.int64(pixels[i, 1]) << 8 | np.int64(pixels[i, 2])
        k = known[key]
        if k < 0:
            k = np.int16(_closest(red, green, blue, colors))
            known[key] = k
        out[i] = values[k]
        distance = np.sqrt(_distance(red, green, blue, colors[k]))
        tally[0] += 1
        tally[1] += distance
        tally[2] = max(tally[2], distance)


@_kernel("t2 ?1 d ? -> q1 q2")
def _count_colors(
    pixels: np.ndarray, counted: np.ndarray, top: float, zeros: bool, counts: np.ndarray, sums: np.ndarray
) -> None:
    """Count the voxels of each bin of colors, and add up their levels from the bin's corner on.

    There are 64 bins of 1024 levels along each color.  sums: red, green, blue, their squares, and the products
    red green, red blue, green blue.  `zeros` says that black voxels are left out.
    """
    masked = counted.size > 0
    scale = 65535.0 / top
    level = np.empty(3, np.int64)
    for i in range(pixels.shape[0]):
        if masked and not counted[i]:
            continue
        black = True
        known = True
        for c in range(3):
            v = np.float64(pixels[i, c])
            known = known and not np.isnan(v)
            black = black and v == 0
            level[c] = np.int64(min(max(np.rint(scale * v), 0.0), 65535.0)) if known else 0
        if not known or (zeros and black):
            continue
        place = np.uint64(((level[0] >> 10) << 12) | ((level[1] >> 10) << 6) | (level[2] >> 10))
        red = level[0] & 1023
        green = level[1] & 1023
        blue = level[2] & 1023
        own = sums[place]
        counts[place] += 1
        own[0] += red
        own[1] += green
        own[2] += blue
        own[3] += red * red
        own[4] += green * green
        own[5] += blue * blue
        own[6] += red * green
        own[7] += red * blue
        own[8] += green * blue


# --- mixtures ---------------------------------------------------------------------------


@_kernel("d2 d3 d1 d1 d2 d3 -> d2 d1")
def _mixture_step(
    points: np.ndarray,
    inside: np.ndarray,
    counts: np.ndarray,
    heights: np.ndarray,
    means: np.ndarray,
    inverses: np.ndarray,
    sums: np.ndarray,
    likelihood: np.ndarray,
) -> None:
    """Compute the probabilities of Gaussian components at points, and add up their moments.

    points[i] stands for counts[i] voxels about it, whose covariance is inside[i].  heights: logarithms of weight times
    density at the mean; inverses: inverse Cholesky factors of the covariances.  sums[k]: number of voxels, and their
    first and second moments about means[k].
    """
    dims = points.shape[1]
    n = means.shape[0]
    away = np.empty((n, dims), np.float64)
    logs = np.empty(n, np.float64)
    for i in range(points.shape[0]):
        most = -np.inf
        for k in range(n):
            distance = 0.0
            for a in range(dims):
                away[k, a] = points[i, a] - means[k, a]
            for row in range(dims):
                part = 0.0
                for a in range(row + 1):
                    part += inverses[k, row, a] * away[k, a]
                    for b in range(row + 1):
                        distance += inverses[k, row, a] * inverses[k, row, b] * inside[i, a, b]
                distance += part * part
            logs[k] = heights[k] - 0.5 * distance
            most = max(most, logs[k])
        total = 0.0
        for k in range(n):
            logs[k] = _exp_one(logs[k] - most)
            total += logs[k]
        high, low = _log2_parts(total)
        likelihood[0] += counts[i] * (most + high * _LN2[0] + low * _LN2[0])
        for k in range(n):
            share = counts[i] * (logs[k] / total)
            own = sums[k]
            own[0] += share
            for a in range(dims):
                own[1 + a] += share * away[k, a]
                for b in range(dims):
                    own[1 + dims + a * dims + b] += share * (away[k, a] * away[k, b] + inside[i, a, b])


# --- gains along an axis ----------------------------------------------------------------


@register_jitable
def _gained(value: float, gain: float, lo: float, hi: float, background: float, unit: float, most: float) -> float:
    v = min(max(np.float64(value), lo), hi)
    return np.nan if _is_nan(value) else min(unit * (background + gain * (v - background)), most)


@_kernel("t3 d2 d d d d d -> o3")
def _map_gains(
    values: np.ndarray,
    gains: np.ndarray,
    lo: float,
    hi: float,
    background: float,
    unit: float,
    most: float,
    out: np.ndarray,
) -> None:
    """Map values, clamped to lo..hi, to unit * (background + gain * (value - background)), at most `most`.

    Of values[before, row, behind], gains[row] has one gain for the row, or one for each of its values.
    """
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            row = values[i, j]
            along = gains[j]
            result = out[i, j]
            if along.size == row.size:
                for k in range(row.size):
                    result[k] = _cast(_gained(row[k], along[k], lo, hi, background, unit, most), result)
            else:
                gain = along[0]
                for k in range(row.size):
                    result[k] = _cast(_gained(row[k], gain, lo, hi, background, unit, most), result)


# --- adaptive equalization --------------------------------------------------------------


@register_jitable
def _runs(index: np.ndarray) -> np.ndarray:
    """Return where runs of the same tile begin along an axis, and its end as the last entry."""
    starts = np.empty(index.size + 1, np.int64)
    found = 0
    for x in range(index.size):
        if x == 0 or index[x] != index[x - 1]:
            starts[found] = x
            found += 1
    starts[found] = index.size
    return starts[: found + 1]


@_kernel("t3 ?3 d d i1 i1 i1 -> I5")
def _count_tiles(
    block: np.ndarray,
    counted: np.ndarray,
    lo: float,
    hi: float,
    z_tile: np.ndarray,
    y_tile: np.ndarray,
    x_tile: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Count in counts[z, y, x, k, bin], where the histogram of a tile is the sum over k.

    An addition waits for the one before where both are in the same table, so that four tables are faster than one,
    unless memory for them takes longer.  An extra bin behind the last takes voxels that are not counted.
    """
    masked = counted.size > 0
    nx = block.shape[2]
    nbins = counts.shape[4] - 1
    tables = counts.shape[3]
    scale = nbins / (hi - lo)
    last = np.float64(nbins)
    top = np.int32(nbins - 1)
    bins = np.empty(nx, np.uint32)
    one = np.uint32(1)
    runs = _runs(x_tile)
    for z in range(block.shape[0]):
        for y in range(block.shape[1]):
            row = block[z, y]
            for x in range(nx):
                # A value on the border of two bins belongs to the upper one, however its product is rounded.
                u = (np.float64(row[x]) - lo) * scale + 1e-9
                u = u if u > 0.0 else 0.0
                u = u if u < last else last
                bins[x] = nbins if _is_nan(row[x]) else min(np.int32(u), top)
            if masked:
                for x in range(nx):
                    if not counted[z, y, x]:
                        bins[x] = nbins
            for run in range(runs.size - 1):
                # The views begin at 0, so that their indices need no check for counting from the end.
                part = bins[runs[run] : runs[run + 1]]
                own = counts[z_tile[z], y_tile[y], x_tile[runs[run]]]
                first, second, third, fourth = own[0], own[1 % tables], own[2 % tables], own[3 % tables]
                fours = part.size // 4
                for i in range(fours):
                    first[part[4 * i]] += one
                    second[part[4 * i + 1]] += one
                    third[part[4 * i + 2]] += one
                    fourth[part[4 * i + 3]] += one
                for i in range(4 * fours, part.size):
                    first[part[i]] += one


@_kernel("t3 ?3 q H1 i1 i1 i1 -> I4")
def _count_cells(
    block: np.ndarray,
    counted: np.ndarray,
    first: int,
    table: np.ndarray,
    z_tile: np.ndarray,
    y_tile: np.ndarray,
    x_tile: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Count in counts[z, y, x, cell], where a table has the cell of every integer from `first` on."""
    masked = counted.size > 0
    one = np.uint32(1)
    runs = _runs(x_tile)
    for z in range(block.shape[0]):
        for y in range(block.shape[1]):
            row = block[z, y]
            for run in range(runs.size - 1):
                # There are so many cells that stores seldom wait for each other, and half as many stay in the cache.
                own = counts[z_tile[z], y_tile[y], x_tile[runs[run]]]
                for x in range(runs[run], runs[run + 1]):
                    if not masked or counted[z, y, x]:
                        own[table[np.uint64(np.int64(row[x]) - first)]] += one


@register_jitable
def _clip(heights: np.ndarray, limit: float, out: np.ndarray) -> None:
    """Clip a histogram at `limit`, and raise all lower bins alike until its sum is what it was."""
    total = heights.sum()
    rise = 0.0
    while True:
        rest = np.float64(total)
        free = 0
        for j in range(heights.size):
            below = heights[j] + rise < limit
            rest -= heights[j] if below else limit
            free += below
        # Each turn fills at least one more bin, or is the last.
        if free == 0 or rest / free <= rise:
            break
        rise = rest / free
    for j in range(heights.size):
        out[j] = min(heights[j] + rise, limit)


@_kernel("q2 d -> d2")
def _clip_rows(counts: np.ndarray, share: float, out: np.ndarray) -> None:
    """Clip each histogram at a share of its sum, but not below the mean of its bins."""
    for row in range(counts.shape[0]):
        total = np.float64(counts[row].sum())
        _clip(counts[row], max(share * total, total / counts.shape[1]), out[row])


@_kernel("q2 d -> f2")
def _cumulate_rows(counts: np.ndarray, share: float, out: np.ndarray) -> None:
    """Write the cumulative sums of histograms, from 0 to 1; a share of 0 clips nothing, an empty one stays 0."""
    nbins = counts.shape[1]
    sums = np.empty(nbins, np.float64)
    for row in range(counts.shape[0]):
        total = np.float64(counts[row].sum())
        if share > 0.0:
            _clip(counts[row], max(share * total, total / nbins), sums)
        else:
            # This is a loop, because numba needs two seconds to compile a copy to another type.
            for j in range(nbins):
                sums[j] = counts[row, j]
        for j in range(1, nbins):
            sums[j] += sums[j - 1]
        for j in range(nbins):
            out[row, j + 1] = min(sums[j] / max(sums[nbins - 1], 1.0), 1.0)


@_kernel("t3 p p f4 i1 f1 i1 f1 i1 f1 r r -> o3")
def _map_tiles(
    block: np.ndarray,
    lo: float,
    hi: float,
    tables: np.ndarray,
    z_left: np.ndarray,
    z_weight: np.ndarray,
    y_left: np.ndarray,
    y_weight: np.ndarray,
    x_left: np.ndarray,
    x_weight: np.ndarray,
    bottom: float,
    span: float,
    out: np.ndarray,
) -> None:
    """Blend tile functions along z once per plane, along y once per run of voxels between two tiles, along x per voxel.

    The functions of two neighbors along x are interleaved, so that a voxel reads both with one access at either
    border of its bin. Along y only the bins of the run are blended. Positions are computed in the type of `lo`, and
    results in that of `bottom`.
    """
    nz, ny, nx, knots = tables.shape
    scale = _as((knots - 1) / (hi - lo), lo)
    last = _as(knots - 1, lo)
    top = np.int32(knots - 2)
    width = block.shape[2]
    # Only the tiles that this block touches are blended.
    y_first = y_left[0]
    y_stop = min(y_left[-1] + 2, ny)
    x_first = x_left[0]
    pairs = x_left[-1] + 1 - x_first
    plane = np.empty((y_stop - y_first, pairs, 2 * knots), np.float32)
    line = np.empty(2 * knots, np.float32)
    near_pair = np.empty(width, np.float64)
    far_pair = np.empty(width, np.float64)
    line_pairs, near, far = line.view(np.float64), near_pair.view(np.float32), far_pair.view(np.float32)
    bins = np.empty(width, np.uint32)
    fractions = np.empty(width, np.float32)
    runs = _runs(x_left)
    for z in range(block.shape[0]):
        front = tables[z_left[z]]
        back = tables[min(z_left[z] + 1, nz - 1)]
        w = z_weight[z]
        for p in range(y_first, y_stop):
            for q in range(pairs):
                for side in range(2):
                    one = front[p, min(q + x_first + side, nx - 1)]
                    other = back[p, min(q + x_first + side, nx - 1)]
                    for j in range(knots):
                        plane[p - y_first, q, 2 * j + side] = one[j] + w * (other[j] - one[j])
        for y in range(block.shape[1]):
            upper = plane[y_left[y] - y_first]
            lower = plane[min(y_left[y] + 1, ny - 1) - y_first]
            w = y_weight[y]
            row = block[z, y]
            for x in range(width):
                u = (_as(row[x], lo) - lo) * scale
                u = u if u > 0 else _as(0, lo)
                u = u if u < last else last
                j = min(np.int32(u), top)
                bins[x] = j
                # The fraction carries NaN on to the result.
                fractions[x] = np.float32(np.nan) if _is_nan(row[x]) else np.float32(u - _as(j, lo))
            for run in range(runs.size - 1):
                start = runs[run]
                stop = runs[run + 1]
                # The views begin at 0, so that their indices need no check for counting from the end.
                part = bins[start:stop]
                least = part[0]
                most = part[0]
                for i in range(part.size):
                    least = min(least, part[i])
                    most = max(most, part[i])
                one = upper[x_left[start] - x_first]
                other = lower[x_left[start] - x_first]
                for j in range(2 * least, 2 * most + 4):
                    line[j] = one[j] + w * (other[j] - one[j])
                part_near = near_pair[start:stop]
                part_far = far_pair[start:stop]
                for i in range(part.size):
                    j = part[i]
                    part_near[i] = line_pairs[j]
                    part_far[i] = line_pairs[j + 1]
            result = out[z, y]
            for x in range(width):
                f = fractions[x]
                left = near[2 * x] + f * (far[2 * x] - near[2 * x])
                right = near[2 * x + 1] + f * (far[2 * x + 1] - near[2 * x + 1])
                result[x] = _cast(bottom + span * (left + x_weight[x] * (right - left)), result)


@_kernel("t3 d3 d3 i1 d1 i1 d1 i1 d1 d d -> o3")
def _map_stretch(
    block: np.ndarray,
    low: np.ndarray,
    width: np.ndarray,
    z_left: np.ndarray,
    z_weight: np.ndarray,
    y_left: np.ndarray,
    y_weight: np.ndarray,
    x_left: np.ndarray,
    x_weight: np.ndarray,
    bottom: float,
    span: float,
    out: np.ndarray,
) -> None:
    """Map to (value - low) / width in [0, 1], and blend both between tiles along z and y per row, along x per voxel.

    All is in double precision, and vectorizes because nothing is looked up.
    """
    nz, ny, nx = low.shape
    x_first = x_left[0]
    x_stop = min(x_left[-1] + 2, nx)
    line = np.empty((2, x_stop - x_first), np.float64)
    runs = _runs(x_left)
    for z in range(block.shape[0]):
        near = z_left[z]
        far = min(near + 1, nz - 1)
        for y in range(block.shape[1]):
            upper = y_left[y]
            lower = min(upper + 1, ny - 1)
            for k in range(2):
                field = width if k else low
                for q in range(line.shape[1]):
                    x = x_first + q
                    a = field[near, upper, x] + z_weight[z] * (field[far, upper, x] - field[near, upper, x])
                    b = field[near, lower, x] + z_weight[z] * (field[far, lower, x] - field[near, lower, x])
                    line[k, q] = a + y_weight[y] * (b - a)
            for run in range(runs.size - 1):
                start = runs[run]
                stop = runs[run + 1]
                left = x_left[start] - x_first
                right = min(left + 1, line.shape[1] - 1)
                lo = line[0, left]
                lo_step = line[0, right] - lo
                wide = line[1, left]
                wide_step = line[1, right] - wide
                # The views begin at 0, so that their indices need no check for counting from the end.
                values = block[z, y, start:stop]
                weight = x_weight[start:stop]
                result = out[z, y, start:stop]
                for i in range(values.size):
                    w = weight[i]
                    u = (np.float64(values[i]) - (lo + w * lo_step)) / (wide + w * wide_step)
                    u = u if u > 0.0 else 0.0
                    u = u if u < 1.0 else 1.0
                    result[i] = _cast(bottom + span * (np.nan if _is_nan(values[i]) else u), result)


_kernel("t2 ?2 d d ? -> d2 d2 d2 q1")(order_kernels.quantiles_rows)
_kernel("t2 ?2 d d -> d2 t2 d2 q1")(order_kernels.ranks_rows)
_kernel("t1 ?1 d d d1 -> t1 q1")(order_kernels.divide)

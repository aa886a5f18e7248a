"""Numba kernels that find order statistics of many small volumes, a row each; `kernels` has their signatures.

A row is distributed to about as many buckets as it has values, and only buckets that are asked for are sorted.
"""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

# A bucket of more values is sorted by their digits, which takes as long however they are distributed.
_SHORT = 48
# Kernels work on this many values together, which stay in the cache.
_CHUNK = 1024


@register_jitable
def _insert(part: np.ndarray) -> None:
    """Sort few values, or many of which each has few places to go."""
    for i in range(1, part.size):
        v = part[i]
        if not part[i - 1] > v:
            continue
        j = i
        while j > 0 and part[j - 1] > v:
            part[j] = part[j - 1]
            j -= 1
        part[j] = v


@register_jitable
def _sort(part: np.ndarray, spare: np.ndarray) -> None:
    """Sort values, none of which is NaN or -0; `spare` has room for as many."""
    n = part.size
    if n <= _SHORT:
        _insert(part)
        return
    # This is a radix sort of 8 bits a pass, by keys that order as unsigned integers as the values do.
    sign = np.uint64(1) << np.uint64(63)
    low = np.uint64(0xFF)
    counts = np.zeros((8, 256), np.uint32)
    keys = part.view(np.uint64)
    others = spare.view(np.uint64)
    for i in range(n):
        key = keys[i]
        key = ~key if key & sign else key | sign
        keys[i] = key
        for digit in range(8):
            counts[digit, (key >> np.uint64(8 * digit)) & low] += np.uint32(1)
    for digit in range(8):
        down = np.uint64(8 * digit)
        places = counts[digit]
        if places[(keys[0] >> down) & low] == n:
            continue
        total = np.uint32(0)
        for k in range(256):
            here = places[k]
            places[k] = total
            total += here
        for i in range(n):
            k = (keys[i] >> down) & low
            others[places[k]] = keys[i]
            places[k] += np.uint32(1)
        for i in range(n):
            keys[i] = others[i]
    for i in range(n):
        key = keys[i]
        keys[i] = key ^ sign if key & sign else ~key


@register_jitable
def _collect(row: np.ndarray, counted: np.ndarray, least: float, top: float, ends: np.ndarray, kept: np.ndarray) -> int:
    """Write the input range of a row to `ends`, and its counted values, clamped to that range, to `kept`.

    The range is that of the finite values if `top` is 0, and otherwise from 0, or from `least` if one is negative, to
    `top`.  The result is how many values are counted; NaN is not.
    """
    lo = np.inf
    hi = -np.inf
    n = 0
    # Nothing is left out of most rows, whose loops vectorize.
    whole = counted.size == 0
    left_out = 0
    if whole:
        for i in range(row.size):
            v = np.float64(row[i])
            finite = abs(v) < np.inf
            lo = min(lo, v if finite else np.inf)
            hi = max(hi, v if finite else -np.inf)
            left_out += v != v
        n = row.size
    if left_out > 0 or not whole:
        lo = np.inf
        hi = -np.inf
        n = 0
        for i in range(row.size):
            v = np.float64(row[i])
            if v != v or not (whole or counted[i]):
                continue
            if abs(v) < np.inf:
                lo = min(lo, v)
                hi = max(hi, v)
            kept[n] = v
            n += 1
    else:
        for i in range(n):
            kept[i] = np.float64(row[i])
    if top > 0.0:
        lo = least if lo < 0.0 else 0.0
        hi = top
    elif lo > hi:
        lo = 0.0
        hi = 0.0
    # Adding 0 turns -0 into 0, so that the result does not depend on which of them came first.
    lo += 0.0
    hi += 0.0
    ends[0] = lo
    ends[1] = hi
    for i in range(n):
        kept[i] = min(max(kept[i], lo), hi) + 0.0
    return n


@register_jitable
def _distribute(kept: np.ndarray, bucket: np.ndarray, stops: np.ndarray, out: np.ndarray) -> bool:
    """Write values to `out`, bucket by bucket; stops[k] is where bucket k ends.  Without two values return False.

    A bucket holds what lies in an even part of the range, so all that are alike are in the same one.
    """
    n = kept.size
    if n == 0:
        return False
    first = kept[0]
    last = kept[0]
    for i in range(n):
        first = min(first, kept[i])
        last = max(last, kept[i])
    if not last - first < np.inf or first == last:
        return False
    top = np.float64(n - 1)
    scale = n / (last - first)
    # Of numbers that are closer than float64 divides them there is only one bucket.
    scale = scale if scale < np.inf else 0.0
    for i in range(n):
        u = scale * (kept[i] - first)
        bucket[i] = np.int32(u if u < top else top)
    stops[: n + 1] = 0
    one = np.int32(1)
    for i in range(n):
        stops[np.uint32(bucket[i]) + np.uint32(1)] += one
    for k in range(n):
        stops[k + 1] += stops[k]
    for i in range(n):
        b = np.uint32(bucket[i])
        out[np.uint32(stops[b])] = kept[i]
        stops[b] += one
    return True


@register_jitable
def _wanted_ranks(n: int, ranks: np.ndarray) -> None:
    """Write the ranks at which even parts of n values begin, and the second at either end, in ascending order."""
    parts = ranks.size - 3
    for q in range(parts):
        ranks[q] = q * n // parts
    for extra in range(3):
        rank = 1 if extra == 0 else n - 3 + extra
        j = parts + extra
        while j > 0 and ranks[j - 1] > rank:
            ranks[j] = ranks[j - 1]
            j -= 1
        ranks[j] = rank


def quantiles_rows(
    values: np.ndarray,
    counted: np.ndarray,
    least: float,
    top: float,
    whole: bool,
    ends: np.ndarray,
    places: np.ndarray,
    heights: np.ndarray,
    sizes: np.ndarray,
) -> None:
    """Write knots of the cumulative distribution of each row, as `quantiles.knots_of_sorted` returns them.

    sizes[r] is how many knots there are, 0 if all values are alike.  `whole` says that they are integers.
    """
    masked = counted.size > 0
    most = values.shape[1]
    kept = np.empty(most, np.float64)
    sorted_by = np.empty(most, np.float64)
    bucket = np.empty(most, np.int32)
    stops = np.empty(most + 1, np.int32)
    ranks = np.empty(places.shape[1] // 2, np.int64)
    for r in range(values.shape[0]):
        used = counted[r] if masked else np.empty(0, np.bool_)
        n = _collect(values[r], used, least, top, ends[r], kept)
        sizes[r] = 0
        if not _distribute(kept[:n], bucket, stops, sorted_by):
            continue
        _wanted_ranks(n, ranks)
        place = places[r]
        height = heights[r]
        found = 0
        upto = 0
        b = 0
        ordered = -1
        for q in range(ranks.size):
            rank = ranks[q]
            if rank < upto:
                continue
            while stops[b] <= rank:
                b += 1
            start = np.int64(stops[b - 1]) if b > 0 else 0
            stop = np.int64(stops[b])
            if b != ordered:
                _sort(sorted_by[start:stop], kept)
                ordered = b
            v = sorted_by[rank]
            below = rank
            while below > start and sorted_by[below - 1] == v:
                below -= 1
            upto = rank + 1
            while upto < stop and sorted_by[upto] == v:
                upto += 1
            # The knot right below has the fraction of the voxels below. A knot at the place of the one before
            # replaces it.
            if found > 0:
                before = v - 1.0 if whole else np.nextafter(v, -np.inf)
                found -= not before > place[found - 1]
                place[found] = before
                height[found] = below / n
                found += 1
                found -= not v > place[found - 1]
            place[found] = v
            height[found] = upto / n
            found += 1
        sizes[r] = found


def ranks_rows(
    values: np.ndarray,
    counted: np.ndarray,
    least: float,
    top: float,
    ends: np.ndarray,
    levels: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
) -> None:
    """Write the distinct values of each row, in order, and how many values lie below each; sizes[r] is their number."""
    masked = counted.size > 0
    most = values.shape[1]
    kept = np.empty(most, np.float64)
    sorted_by = np.empty(most, np.float64)
    bucket = np.empty(most, np.int32)
    stops = np.empty(most + 1, np.int32)
    for r in range(values.shape[0]):
        used = counted[r] if masked else np.empty(0, np.bool_)
        n = _collect(values[r], used, least, top, ends[r], kept)
        level = levels[r]
        if not _distribute(kept[:n], bucket, stops, sorted_by):
            if n > 0:
                level[0] = kept[0]
                starts[r, 0] = 0
            sizes[r] = min(n, 1)
            continue
        start = np.int64(0)
        for b in range(n):
            stop = np.int64(stops[b])
            if stop - start > _SHORT:
                _sort(sorted_by[start:stop], kept)
            start = stop
        # In all short buckets together there are fewer branches that no processor can foresee than in each by itself.
        _insert(sorted_by[:n])
        found = 0
        for i in range(n):
            if i == 0 or sorted_by[i] != sorted_by[i - 1]:
                level[found] = sorted_by[i]
                starts[r, found] = i
                found += 1
        sizes[r] = found


@register_jitable
def search(values: np.ndarray, table: np.ndarray, found: np.ndarray) -> None:
    """Write to found[i] how many numbers of a table are below values[i]; NaN gives 0.

    The table ascends, and its size is a power of 2.  The search has as many steps for all values, and none of them is a
    branch.  Its last number counts as infinite.
    """
    one = np.uint32(1)
    for i in range(values.size):
        found[i] = 0
    step = np.uint32(table.size >> 1)
    while step > 0:
        for i in range(values.size):
            k = found[i]
            found[i] = k + step if table[np.uint32(k + step - one)] < np.float64(values[i]) else k
        step = np.uint32(step >> one)


def divide(
    values: np.ndarray,
    counted: np.ndarray,
    lo: float,
    hi: float,
    edges: np.ndarray,
    out: np.ndarray,
    stops: np.ndarray,
) -> None:
    """Write the counted values, clamped to lo..hi, part by part; stops[k] is where those up to edges[k] end.

    NaN is not counted.
    """
    masked = counted.size > 0
    none = np.uint32(stops.size)
    part = np.empty(values.size, np.uint32)
    room = 1
    while room <= edges.size:
        room *= 2
    table = np.full(room, np.inf)
    table[: edges.size] = edges
    one = np.uint32(1)
    clamped = np.empty(_CHUNK, np.float64)
    for start in range(0, values.size, _CHUNK):
        row = values[start : start + _CHUNK]
        own = part[start : start + _CHUNK]
        for i in range(row.size):
            clamped[i] = min(max(np.float64(row[i]), lo), hi)
        search(clamped[: row.size], table, own)
        for i in range(row.size):
            own[i] = none if np.float64(row[i]) != np.float64(row[i]) else own[i]
    if masked:
        for i in range(values.size):
            if not counted[i]:
                part[i] = none
    places = np.zeros(stops.size + 1, np.uint32)
    for i in range(values.size):
        places[part[i]] += one
    total = np.uint32(0)
    for j in range(stops.size):
        here = places[j]
        places[j] = total
        total += here
        stops[j] = total
    places[none] = total
    # Those that are not counted come last.
    for i in range(values.size):
        out[places[part[i]]] = min(max(np.float64(values[i]), lo), hi) + 0.0
        places[part[i]] += one

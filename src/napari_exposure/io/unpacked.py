"""Finds how many bytes packed chunks unpack to before they are unpacked, because a file may claim any size."""

from __future__ import annotations

import bz2
import contextlib
import lzma
import zlib
from collections.abc import Callable
from typing import Any

# An unpacked chunk may have so many more bytes than its values: checksums, and headers of codecs.
SPARE = 1 << 20

_STREAMS = {
    "gzip": lambda: zlib.decompressobj(47),
    "zlib": lambda: zlib.decompressobj(47),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lzma.LZMADecompressor,
}


def unpacked_size(codecs: tuple[str, ...], data: memoryview, most: int) -> int:
    """Return how many bytes a chunk unpacks to, or some number beyond `most`.

    The codecs are in the order in which they are undone.  A chunk of unknown codecs counts with the bytes that it has.
    """
    for codec in codecs:
        if codec in _STREAMS:
            return _streamed(_STREAMS[codec], data, most)
        if codec == "zstd":
            return _of_zstd(data)
        if codec in ("blosc", "lz4"):
            # The header of either format says the size of the unpacked chunk.
            at = 4 if codec == "blosc" else 0
            return int.from_bytes(data[at : at + 4], "little")
        data = data[:-4] if codec == "crc32c" else data
    return len(data)


def _streamed(make: Callable[[], Any], data: memoryview, most: int) -> int:
    """Count the bytes of streams that do not say their size, piece by piece; reading them raises if damaged."""
    size, rest = 0, bytes(data)
    with contextlib.suppress(zlib.error, OSError, EOFError, lzma.LZMAError):
        while rest and size <= most:
            stream = make()
            while not stream.eof and size <= most:
                piece = stream.decompress(rest, SPARE)
                rest = getattr(stream, "unconsumed_tail", b"")
                size += len(piece)
                if not piece and not rest:
                    break
            rest = stream.unused_data
    return size


def _of_zstd(data: memoryview) -> int:
    """Return how many bytes a frame says that it holds, or how many its blocks may hold (RFC 8878)."""
    if bytes(data[:4]) != b"\x28\xb5\x2f\xfd":
        return 0
    flags = data[4]
    single = flags >> 5 & 1
    at = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    if flags >> 6 or single:
        width = (1, 2, 4, 8)[flags >> 6]
        return int.from_bytes(data[at : at + width], "little") + 256 * (width == 2)
    size = 0
    while at + 3 <= len(data):
        block = int.from_bytes(data[at : at + 3], "little")
        kind, length = block >> 1 & 3, block >> 3
        size += 1 << 17 if kind == 2 else length
        at += 3 + (1 if kind == 1 else length)
        if block & 1:
            break
    return size

"""Reads zarr stores of unknown origin with care: unchanged, only in their folder, and no larger than they say."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from zarr.storage import LocalStore

from napari_exposure.io.files import DamagedFile, check_chunk
from napari_exposure.io.unpacked import SPARE, unpacked_size

if TYPE_CHECKING:
    import zarr
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer

# Metadata of larger stores are taken for wrong, because a loop over their chunks would not end.
MOST_CHUNKS, MOST_BYTES = 1 << 25, 1 << 53
_METADATA = ("zarr.json", ".zarray", ".zgroup", ".zattrs", ".zmetadata")


class CarefulStore(LocalStore):
    """A folder whose chunks are read only as long as it is the store that was opened.

    A missing chunk reads as fill values, as zarr defines it.  A store that is gone or was replaced is an error, and so
    are links out of the store, and chunks that unpack to more bytes than a chunk has.
    """

    def __init__(self, root: Path, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=read_only)
        self._real = os.path.realpath(root)
        self._opened = _stamp(self._real)
        # The array that is read has this place in the store, and its chunks are packed like this.
        self._array: tuple[str, Packing] | None = None

    def with_read_only(self, read_only: bool = False) -> CarefulStore:
        """Return this store, which is for reading only, where zarr asks for such a copy."""
        return self

    def expect(self, array: zarr.Array[Any]) -> None:
        """Check the chunks of an array against its metadata from now on."""
        self._array = f"{array.path}/".lstrip("/"), Packing.of(array)

    async def get(self, key: str, prototype: Any = None, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return what is stored under a name, or None."""
        place = os.path.realpath(os.path.join(self._real, key))
        if not place.startswith(self._real + os.sep):
            raise DamagedFile(f"{key} of {self.root.name} leads out of the store, to {place}. It is not read.")
        found = await super().get(key, prototype, byte_range)
        if key.rsplit("/", 1)[-1] in _METADATA:
            return found
        if _stamp(self._real) != self._opened:
            raise OSError(f"{self.root.name} was removed or replaced while it was read. Open it again.")
        if found is not None and self._array is not None and key.startswith(self._array[0]):
            packing = self._array[1]
            most = packing.size + SPARE
            if packing.unpacked(found.as_numpy_array().view(np.uint8).data, byte_range, most) > most:
                raise DamagedFile(f"{key} of {self.root.name} unpacks to more than {packing.size} bytes, a chunk's.")
        return found


def _stamp(root: str) -> tuple[object, ...]:
    """Return what tells a store from one in its place: facts of the file that is written first, and only once."""
    for name in _METADATA[:3]:
        try:
            found = os.stat(os.path.join(root, name))
        except OSError:
            continue
        return name, found.st_ino, found.st_size, found.st_mtime_ns
    return ()


def check_array(name: str, array: zarr.Array[Any]) -> None:
    """Raise if an array has too many chunks to loop over, or chunks that do not fit into memory."""
    sizes = getattr(array, "shards", None) or array.chunks
    if not all(size > 0 for size in sizes):
        raise DamagedFile(f"{name} has chunks of {' x '.join(map(str, sizes))} voxels.")
    count = math.prod(-(-n // size) for n, size in zip(array.shape, sizes, strict=True))
    bytes_ = math.prod(array.shape) * array.dtype.itemsize
    if count > MOST_CHUNKS or bytes_ > MOST_BYTES:
        raise DamagedFile(
            f"{name} says that it has {count:.3g} chunks and {bytes_:.3g} bytes, which is more than a store can hold."
        )
    check_chunk(name, [min(size, n) for size, n in zip(sizes, array.shape, strict=True)], array.dtype)
    # A chunk is unpacked as a whole even if the array ends within it.
    check_chunk(name, array.chunks, array.dtype)


# --- what chunks unpack to ---


@dataclass(frozen=True)
class Packing:
    """How the chunks of an array are packed: the bytes of one unpacked, also of one in a shard, and its codecs.

    The codecs are in the order in which they are undone.  A shard has so many `parts`, which are 0 where there are no
    shards, and an index of so many bytes, with which it begins or ends.
    """

    size: int
    codecs: tuple[str, ...]
    parts: int = 0
    index_first: bool = False
    index_size: int = 0

    @classmethod
    def of(cls, array: zarr.Array[Any]) -> Packing:
        """Read how chunks are packed from the metadata of a zarr array."""
        size = math.prod(array.chunks) * array.dtype.itemsize
        plain: dict[str, Any] = dict(array.metadata.to_dict())
        if "codecs" not in plain:
            compressor = plain.get("compressor")
            found = compressor if isinstance(compressor, dict | None) else compressor.get_config()
            return cls(size, (found["id"],) if found else ())
        shard = next((each["configuration"] for each in plain["codecs"] if each["name"] == "sharding_indexed"), None)
        if shard is None:
            return cls(size, _names(plain["codecs"]))
        parts = math.prod(array.shards or array.chunks) // math.prod(array.chunks)
        spare = 4 * ("crc32c" in _names(shard["index_codecs"]))
        first = shard.get("index_location") == "start"
        return cls(size, _names(shard["codecs"]), parts, first, 16 * parts + spare)

    def unpacked(self, data: memoryview, byte_range: ByteRequest | None, most: int) -> int:
        """Return how many bytes the largest chunk in `data` unpacks to, or some number beyond `most`."""
        if not self.parts:
            return unpacked_size(self.codecs, data, most)
        if byte_range is not None:
            # zarr reads parts of a shard only for one of its chunks, or for its index.
            start = getattr(byte_range, "start", None)
            is_index = start is None or (start == 0 and self.index_first)
            return 0 if is_index else unpacked_size(self.codecs, data, most)
        index = data[: self.index_size] if self.index_first else data[-self.index_size :]
        places = np.frombuffer(index[: 16 * self.parts], "<u8").reshape(-1, 2).tolist()
        inside = [(start, length) for start, length in places if start + length <= len(data)]
        return max((unpacked_size(self.codecs, data[at : at + n], most) for at, n in inside), default=0)


def _names(codecs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(each["name"].removeprefix("numcodecs.") for each in reversed(codecs))

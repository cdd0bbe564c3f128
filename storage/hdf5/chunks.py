"""Whole chunks of an archive's columns, packed as they lie there.

HDF5 has a pipeline of filters under one lock. Here only the compressed bytes are read under it; checksum, zstd and unshuffling
are done outside, and what can be computed from packed integers never unpacks them. A column that is stored in
another way (small, old, a chunk that kept a filter out) is read by h5py.
"""

import sys
from typing import Any, NamedTuple

import numpy as np

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from tickmesh.storage.hdf5.packing import CHUNK_ROWS, U8

SHUFFLE, FLETCHER32, ZSTD = 2, 3, 32015  # HDF5's numbers of the filters
SUM_WORDS = 1 << 13  # of a checksum at once: they stay in the cache, and far from overflowing 64 bits
WEIGHTS = np.arange(SUM_WORDS, 0, -1, dtype=U8)


class Packed(NamedTuple):
    """Values as a file stores them: value = stored × scale + offset, scale > 0. `stored`: shape (n,), any integer dtype."""

    stored: np.ndarray
    scale: int = 1
    offset: int = 0

    def values(self) -> np.ndarray:
        """The values, int64; exact, since packing counts modulo 2^64."""
        if (self.scale, self.offset) == (1, 0):
            return self.stored.astype("<i8", copy=False)
        wide = self.stored.astype(U8)
        if self.scale != 1:
            wide *= U8.type(self.scale)
        wide += U8.type(self.offset % (1 << 64))
        return wide.view("<i8")

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The values of some rows, int64."""
        return Packed(self.stored[rows], self.scale, self.offset).values()

    def take(self, rows: np.ndarray | slice) -> "Packed":
        """Some rows, packed as they are."""
        return Packed(self.stored[rows], self.scale, self.offset)

    def narrowed(self) -> "Packed":
        """A copy of equal values with `stored` unsigned, and no wider than it must be."""
        stored = self.stored
        if stored.dtype.kind == "u" and stored.dtype.itemsize <= 4 or not len(stored):
            return self
        low = int(stored.min())
        distance = stored.astype(U8) - U8.type(low % (1 << 64))
        most = int(distance.max())
        code = next((code for code in ("<u2", "<u4") if most <= np.iinfo(code).max), "<u8")
        return Packed(distance.astype(code, copy=False), self.scale, self.offset + self.scale * low)


class Chunked:
    """One column of a group in pieces of CHUNK_ROWS rows; zeros where it is absent. `rows`: how many it has."""

    def __init__(self, group: Any, name: str, rows: int, kernels: Any = None):
        self.rows, self.kernels = rows, kernels
        self.dataset: Any = group.get(name)
        self.scale, self.offset, self._direct = 1, 0, False
        if self.dataset is None:
            return
        if len(self.dataset) != rows:
            raise ValueError(f"column {self.dataset.name} has {len(self.dataset)} rows; {rows} belong there")
        self.dtype = self.dataset.dtype
        if "scale_factor" in self.dataset.attrs:
            self.scale, self.offset = int(self.dataset.attrs["scale_factor"]), int(self.dataset.attrs["add_offset"])
        self._direct = self._is_ours()

    @property
    def least(self) -> int | None:
        """The smallest value, known without reading, since packing counts from it; None where packing does not."""
        if self.dataset is None:
            return 0
        return self.offset if self.dtype.kind == "u" and "add_offset" in self.dataset.attrs else None

    def _is_ours(self) -> bool:
        if self.dataset.file.mode != "r":
            return False  # a chunk that HDF5 has not written out yet is larger than it says: h5py would read past its buffer
        chunks = self.dataset.chunks
        if chunks is None or chunks[0] != min(self.rows, CHUNK_ROWS) or self.dtype.kind not in "iu":
            return False
        properties = self.dataset.id.get_create_plist()
        filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
        self._shuffled = filters[:1] == [SHUFFLE]
        return filters == [SHUFFLE] * self._shuffled + [ZSTD, FLETCHER32]

    def piece(self, number: int) -> Packed:
        """Reads the rows of one chunk, from number × CHUNK_ROWS on. Raises OSError for damage, as h5py does."""
        start = number * CHUNK_ROWS
        stop = min(self.rows, start + CHUNK_ROWS)
        if self.dataset is None:
            return Packed(np.zeros(stop - start, "<u2"))
        stored = self._decoded(start) if self._direct else None
        if stored is None:
            stored = self.dataset[start:stop]
        return Packed(stored[: stop - start], self.scale, self.offset)

    def has_any(self, bit: int) -> bool:
        """Whether this bit is set in any value. Of a column that is absent, 0 in every row, nothing is made up."""
        if self.dataset is None:
            return False
        return any((self.piece(number).values() & bit).any() for number in range(-(-self.rows // CHUNK_ROWS)))

    def values(self) -> np.ndarray:
        """Reads all values, int64."""
        pieces = range(-(-self.rows // CHUNK_ROWS))
        return np.concatenate([self.piece(number).values() for number in pieces]) if self.rows else np.zeros(0, "<i8")

    def _decoded(self, start: int) -> np.ndarray | None:
        """One chunk; None where h5py has to decide: its filters were left out, or its checksum is wrong."""
        try:
            left_out, data = self.dataset.id.read_direct_chunk((start,))
        except (OSError, ValueError, RuntimeError):
            return None  # never written, which reads as zeros
        if left_out or not fletcher32_agrees(data, self.kernels):
            return None
        rows, size = self.dataset.chunks[0], self.dtype.itemsize
        try:
            plain = zstd.ZstdDecompressor().decompress(memoryview(data)[:-4], rows * size)
        except zstd.ZstdError:
            return None
        if len(plain) != rows * size:
            return None
        return unshuffled(plain, self.dtype, self.kernels) if self._shuffled else np.frombuffer(plain, self.dtype)


class OrderedColumn:
    """A column that is read in order, into arrays of its reader: the chunk that was read last stays decoded.

    `kernels`: tickmesh.storage.hdf5.kernels. Of one column one thread at a time reads.
    """

    def __init__(self, group: Any, name: str, rows: int, kernels: Any):
        self._column, self._kernels = Chunked(group, name, rows, kernels), kernels
        self.rows, self.absent = rows, self._column.dataset is None
        self._number, self._piece = -1, Packed(np.zeros(0, "<u2"))

    def piece(self, number: int) -> Packed:
        """The rows of one chunk, from number × CHUNK_ROWS on. Raises OSError for damage."""
        if number != self._number:
            self._piece, self._number = self._column.piece(number), number
        return self._piece

    def read_into(self, out: np.ndarray, start: int, stop: int) -> None:
        """Writes rows start…stop into `out`, (stop − start,) of the column's own dtype: it may be a field of records.

        Where the column is absent nothing is written. Raises ValueError when there are not so many rows, OSError for damage.
        """
        if stop > self.rows:
            raise ValueError(f"rows {start} to {stop} are asked for; there are {self.rows}")
        if self.absent:
            return
        at = start
        while at < stop:
            number = at // CHUNK_ROWS
            end = min(stop, (number + 1) * CHUNK_ROWS)
            self._write(
                self.piece(number).take(slice(at - number * CHUNK_ROWS, end - number * CHUNK_ROWS)),
                out[at - start : end - start],
            )
            at = end

    def _write(self, values: Packed, out: np.ndarray) -> None:
        stored, scale, offset = values
        if (scale, offset) == (1, 0):
            out[...] = stored
            return
        unsigned, wide = (array.view(f"<u{array.dtype.itemsize}") for array in (stored, out))
        self._kernels.unpack(unsigned, U8.type(scale % (1 << 64)), U8.type(offset % (1 << 64)), wide)


class Held(Chunked):
    """A column that is in memory already, with the methods of one in a file."""

    def __init__(self, values: np.ndarray):
        self.rows, self._values = len(values), values

    @property
    def least(self) -> int | None:
        """None: the smallest value is not known without a look at all of them."""
        return None

    def piece(self, number: int) -> Packed:
        """The rows of one chunk, from number × CHUNK_ROWS on."""
        return Packed(self._values[number * CHUNK_ROWS : (number + 1) * CHUNK_ROWS])


def unshuffled(plain: bytes, dtype: np.dtype, kernels: Any = None) -> np.ndarray:
    """Undoes HDF5's shuffle: all first bytes, all second ones, … become values again."""
    join = {2: kernels.join2, 4: kernels.join4, 8: kernels.join8}.get(dtype.itemsize) if kernels else None
    if join is not None:
        joined = np.empty(len(plain) // dtype.itemsize, f"<u{dtype.itemsize}")
        join(np.frombuffer(plain, "u1"), joined)
        return joined.view(dtype)
    planes: np.ndarray = np.frombuffer(plain, "u1").reshape(dtype.itemsize, -1)
    if dtype.itemsize == 1:
        only: np.ndarray = planes[0].view(dtype)
        return only
    out: np.ndarray = planes[-1].astype(f"<u{dtype.itemsize}")
    for plane in planes[-2::-1]:
        out <<= 8
        out |= plane
    return out.view(dtype)


def fletcher32_agrees(data: bytes, kernels: Any = None) -> bool:
    """Whether the last four bytes are HDF5's Fletcher-32 of those before: sums modulo 65,535 of big-endian words.

    An odd last byte counts as the upper half of a word (H5checksum.c, H5_checksum_fletcher32).
    """
    if len(data) < 5:
        return False
    size = len(data) - 4
    words = np.frombuffer(data, "<u2", size // 2)
    if size % 2:
        words = np.append(words, np.uint16(data[size - 1]))
    first, second = map(int, (kernels.fletcher32 if kernels else fletcher32)(words))
    stored = int.from_bytes(data[size:], "little")
    # The sums are linear, so those of swapped words are 256 times those of the words as they lie, modulo 65,535.
    return (first * 256 - (stored & 0xFFFF)) % 0xFFFF == 0 and (second * 256 - (stored >> 16)) % 0xFFFF == 0


def fletcher32(words: np.ndarray) -> tuple[int, int]:
    """Computes the two sums of Fletcher-32 over (n,) u2 words as they lie, not reduced."""
    first = second = 0
    for start in range(0, len(words), SUM_WORDS):
        part = words[start : start + SUM_WORDS].astype(U8)
        second += len(part) * first + int(np.dot(part, WEIGHTS[-len(part) :]))
        first += int(part.sum())
    return first, second

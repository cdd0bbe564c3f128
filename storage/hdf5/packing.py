"""One column of an HDF5 group: packed integers, written in one piece or window by window, read whole or in part.

Integers are packed as in the CF conventions: value = stored × scale_factor + add_offset, which halves what shuffle + zstd
leave of a price mantissa. How a column is packed depends on all of its values, so a long one is looked at twice: a `Span`
gathers what its windows have in common, a `Sink` then writes them. Both give the same whatever the windows are.
"""

from typing import Any

import numpy as np

from tickmesh.storage.hdf5 import datasets

CHUNK_ROWS = 1 << 16  # whole chunks are what h5py reads fastest; 64 Ki rows bound what a point query unpacks
CHUNK_BYTES = 1 << 20  # of a column of single bytes (packed maps): text needs a longer memory to shrink
FILTER_BYTES = 256  # a smaller column costs more in filter descriptions than it saves
U8 = np.dtype("<u8")


class Span:
    """The range of one column's values, learnt window after window: `rows`, `low`, `high`, greatest common step."""

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype
        self.rows = 0
        self.low = self.high = self.step = 0
        self.wide = dtype.kind in "iu" and dtype.itemsize >= 4  # narrower ones are stored as they are
        self.zero = True  # every byte of it

    def add(self, values: np.ndarray) -> None:
        """Widens the span by more values."""
        if not len(values):
            return
        first, self.rows = self.rows == 0, self.rows + len(values)
        if values.dtype.kind not in "iu":
            self.zero = self.zero and not np.ascontiguousarray(values).view("u1").any()
            return
        low, high = int(values.min()), int(values.max())
        self.zero = self.zero and low == high == 0
        if self.wide and self.step != 1:
            self._narrow(values, low, 0 if first else abs(low - self.low))
        self.low, self.high = (low, high) if first else (min(low, self.low), max(high, self.high))

    def _narrow(self, values: np.ndarray, low: int, away: int) -> None:
        """The step of all values so far: what divides every difference, whichever value they are counted from."""
        distance = values.astype(U8) - U8.type(low % (1 << 64))
        if self.step and not (distance % U8.type(self.step)).any():
            step = self.step  # nearly always: a division is cheaper than another gcd
        else:
            step = int(np.gcd(np.gcd.reduce(distance), U8.type(self.step)))
        self.step = int(np.gcd(np.uint64(step), np.uint64(away))) if away else step

    def packing(self) -> tuple[np.dtype, int, int]:
        """(type as stored, scale_factor, add_offset) with the least bytes a value; (own type, 1, 0) where nothing is won.

        Exact for every int: it counts modulo 2^64, and the parts fit the column's own type.
        """
        dtype = self.dtype
        if not self.wide or not self.rows or self.high - self.low > np.iinfo(dtype).max:
            return dtype, 1, 0
        scale = self.step or 1
        if scale > np.iinfo(dtype).max:
            return dtype, 1, 0
        most = (self.high - self.low) // scale
        for code in ("u1", "<u2", "<u4"):
            small = np.dtype(code)
            if small.itemsize < dtype.itemsize and most <= np.iinfo(small).max:
                return small, scale, self.low
        return (dtype, scale, self.low) if scale > 1 and dtype.itemsize == 8 else (dtype, 1, 0)

    def pack(self, values: np.ndarray) -> np.ndarray:
        """Packs values into the type, factor and offset that `packing` gives."""
        stored, scale, offset = self.packing()
        if stored == values.dtype and (scale, offset) == (1, 0):
            return values
        distance = values.astype(U8) - U8.type(offset % (1 << 64))
        return (distance // U8.type(scale) if scale > 1 else distance).astype(stored)

    @property
    def stored_zero(self) -> bool:
        """Whether all values are 0 once packed: then the dataset is never written, reads as zeros and takes no space."""
        if self.dtype.kind not in "iu":
            return False
        return self.zero or (self.packing()[2] == self.low and self.low == self.high and self.packing()[0] != self.dtype)


class Sink:
    """Writes a column whose span is known. Rows are kept back until a chunk is whole, so that each is compressed once."""

    def __init__(self, group: Any, name: str, span: Span):
        dtype, scale, offset = span.packing()
        self.span, self.row = span, 0
        self.kept: list[np.ndarray] = []
        self.kept_rows = 0
        self.chunk = min(max(span.rows, 1), CHUNK_BYTES if dtype.itemsize == 1 and name == "msgpack" else CHUNK_ROWS)
        self.empty = span.stored_zero
        filtered = not self.empty and span.rows * dtype.itemsize > FILTER_BYTES
        self.dataset = datasets.create(group, name, span.rows, dtype, self.chunk if filtered else 0)
        if (scale, offset) != (1, 0):
            datasets.set_number(self.dataset, "scale_factor", span.dtype.type(scale))
            datasets.set_number(self.dataset, "add_offset", span.dtype.type(offset))

    def add(self, values: np.ndarray) -> None:
        """Takes more values; writes the chunks that are whole."""
        if self.empty or not len(values):
            return
        self.kept.append(self.span.pack(values))
        self.kept_rows += len(values)
        if self.kept_rows >= self.chunk:
            self._write(self.kept_rows // self.chunk * self.chunk)

    def _write(self, rows: int) -> None:
        values = self.kept[0] if len(self.kept) == 1 else np.concatenate(self.kept)
        datasets.write(self.dataset, self.row, values[:rows])
        self.row += rows
        self.kept, self.kept_rows = [values[rows:].copy()], self.kept_rows - rows

    def close(self) -> None:
        """Writes the rows that are still kept back."""
        if self.kept_rows:
            self._write(self.kept_rows)


def pack(values: np.ndarray) -> tuple[np.ndarray, int, int]:
    """Packs a whole column: (stored, scale_factor, add_offset)."""
    span = Span(values.dtype)
    span.add(values)
    return span.pack(values), *span.packing()[1:]


def put(group: Any, name: str, values: np.ndarray) -> None:
    """Writes a whole column into the group."""
    span = Span(values.dtype)
    span.add(values)
    sink = Sink(group, name, span)
    sink.add(values)
    sink.close()


class StoredColumn:
    """A stored column, opened once and read in parts.

    Raises KeyError where there is none of that name, ValueError when it has not `count` rows.
    """

    def __init__(self, group: Any, name: str, count: int):
        self.dataset = datasets.open_dataset(group, name)
        if self.dataset.shape != (count,):
            raise ValueError(f"column {group.name}/{name} has shape {self.dataset.shape}; {count} rows belong there")
        self.dtype: np.dtype = self.dataset.dtype
        self.scale = datasets.number(self.dataset, "scale_factor", 1) % (1 << 64)
        self.offset = datasets.number(self.dataset, "add_offset", 0) % (1 << 64)

    def read(self, start: int, stop: int, dtype: np.dtype) -> np.ndarray:
        """Reads rows start…stop as `dtype`."""
        stored = datasets.read(self.dataset, start, stop, self.dtype)
        if (self.scale, self.offset) == (1, 0):
            return stored if stored.dtype == dtype else stored.astype(dtype)
        wide = stored.astype(U8)
        if self.scale != 1:
            wide *= U8.type(self.scale)
        wide += U8.type(self.offset)
        return wide.astype(dtype, copy=False)


def get(group: Any, name: str, count: int, dtype: np.dtype) -> np.ndarray:
    """Reads a whole column of `count` rows, as `dtype`; zeros where it is absent."""
    return StoredColumn(group, name, count).read(0, count, dtype) if name in group else np.zeros(count, dtype)

"""Where the fields of an event lie, derived from schema.py. Byte offsets stand here and in wire.py alone: others name fields.

Readers are bound once, at module level, and called per event: `_read = header_reader("flags", "last_id")`, then
`flags, last_id = _read(event)`. Whoever writes into an event calls a function of wire.py.
"""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tickmesh.bus.schema import DTYPES, HEADER, Kind

HEADER_SIZE = HEADER.itemsize
RECORDS = slice(HEADER_SIZE, None)  # event[RECORDS]: its records, as bytes

Reader = Callable[
    ..., tuple[Any, ...]
]  # of (event) or (buffer, where the event begins): the values of the fields it was made for

_CODES = {
    "|i1": "b", "|u1": "B", "<i2": "h", "<u2": "H", "<i4": "i", "<u4": "I", "<i8": "q", "<u8": "Q", "<f4": "f", "<f8": "d",
}  # fmt: skip


def struct_of(dtype: np.dtype, *names: str) -> struct.Struct:
    """A Struct as long as one record of `dtype`, of the fields named, in the record's order; if none is, of all plain fields.

    What lies between is padding: it costs nothing to read, and is written as zeros. Raises ValueError for names that the
    record has not, or has in another order.
    """
    letters, end = _letters(dtype, names or plain_names(dtype))
    padding = dtype.itemsize - end
    return struct.Struct("<" + letters + (f"{padding}x" if padding else ""))


def plain_names(dtype: np.dtype) -> tuple[str, ...]:
    """The names of a record's plain fields in order: all but the reserved ones."""
    return tuple(name for name in dtype.names or () if not name.startswith("reserved"))


def record_struct(kind: Kind, *names: str) -> struct.Struct:
    """`struct_of` one record of the kind: `.iter_unpack(event[RECORDS])` goes through an event's records."""
    return struct_of(DTYPES[kind], *names)


def header_reader(*names: str) -> Reader:
    """A function of an event that gives these fields of its header as a tuple; they are named in the header's order."""
    return struct.Struct("<" + _letters(HEADER, names)[0]).unpack_from


def record_reader(kind: Kind, *names: str) -> Reader:
    """A function of an event of the kind that gives these fields of its first record as a tuple, in the record's order."""
    return struct.Struct(f"<{HEADER_SIZE}x" + _letters(DTYPES[kind], names)[0]).unpack_from


def header_writer(first: str, last: str = "") -> tuple[Callable[..., None], int]:
    """(write, offset) for wire.py: `write(event, offset, …)` sets the header's fields `first` to `last`, or `first` alone."""
    names = HEADER.names or ()
    chosen = names[names.index(first) : names.index(last or first) + 1]
    return struct.Struct("<" + "".join(_code(HEADER[name]) for name in chosen)).pack_into, _offset(HEADER, first)


def header_places(*names: str) -> np.ndarray:
    """Where these fields of a header begin, and behind them how long a header is: int64, for compiled code."""
    return np.array([*(_offset(HEADER, name) for name in names), HEADER_SIZE], "i8")


def header_slice(name: str) -> slice:
    """The slice of an event's bytes that holds one field of its header."""
    at = _offset(HEADER, name)
    return slice(at, at + HEADER[name].itemsize)


def event_writer(kind: Kind) -> tuple[struct.Struct, int]:
    """(Struct, offset) for wire.py: sets first_id, last_id, venue_ns, recv_ns and every plain field of one record of the kind.

    Of a fresh event only: what a producer and the sequencer stamp lies between, and becomes zeros.
    """
    at = _offset(HEADER, "first_id")
    letters, end = _letters(HEADER, ("first_id", "last_id", "venue_ns", "recv_ns"), at)
    return struct.Struct(f"<{letters}{HEADER_SIZE - end}x" + record_struct(kind).format[1:]), at


def field_slices(dtype: np.dtype) -> dict[str, slice]:
    """The slice of a record's bytes that holds each field, by name; for a record of any schema."""
    return {name: slice(at := _offset(dtype, name), at + dtype[name].itemsize) for name in dtype.names or ()}


def records_slice(stop: int) -> slice:
    """The slice of an event's bytes that holds the first `stop` bytes of its records, or as many as there are."""
    return slice(HEADER_SIZE, HEADER_SIZE + stop)


def event_size(kind: Kind, count: Any) -> Any:
    """The bytes of an event of `count` records of the kind; an array of sizes for an array of counts."""
    return HEADER_SIZE + count * DTYPES[kind].itemsize


def event_dtype(size: int, header_size: int = HEADER_SIZE) -> np.dtype:
    """The dtype of an event of `size` bytes: two fields, `header` and `records`, each as plain bytes."""
    return np.dtype([("header", f"V{header_size}"), ("records", f"V{size - header_size}")])


def headers_at(buffer: memoryview, starts: np.ndarray) -> np.ndarray:
    """Copies the headers of the events that begin at these bytes of a buffer: shape (n,), dtype HEADER."""
    return _pieces(buffer, starts, HEADER_SIZE).view(HEADER)


def records_at(buffer: memoryview, starts: np.ndarray, sizes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Copies the records of the events that begin at these bytes and have these sizes, one event after the other."""
    if len(sizes) and (sizes == sizes[0]).all():
        return _pieces(buffer, starts + HEADER_SIZE, int(sizes[0]) - HEADER_SIZE).view(dtype)
    bounds = zip((starts + HEADER_SIZE).tolist(), (starts + sizes).tolist())
    return np.frombuffer(bytearray().join([buffer[start:stop] for start, stop in bounds]), dtype)


def _pieces(buffer: memoryview, starts: np.ndarray, size: int) -> np.ndarray:
    """Copies `size` bytes from each place: as one array of all places, which overlap, of which some are taken."""
    places = max(len(buffer) - size + 1, 0)
    pieces: np.ndarray = np.ndarray((places,), f"V{size}", buffer, strides=(1,))[starts]
    return pieces


def _letters(dtype: np.dtype, names: tuple[str, ...], at: int = 0) -> tuple[str, int]:
    """(the letters of `names` and of the padding before and between them, from byte `at` on; where the last of them ends)."""
    letters = ""
    for name in names:
        if name not in (dtype.names or ()) or _offset(dtype, name) < at:
            raise ValueError(f"{name} is no field of {dtype.names}, or is named after one that stands behind it")
        padding = _offset(dtype, name) - at
        letters += (f"{padding}x" if padding else "") + _code(dtype[name])
        at = _offset(dtype, name) + dtype[name].itemsize
    return letters, at


def _offset(dtype: np.dtype, name: str) -> int:
    fields = dtype.fields
    assert fields is not None, f"{dtype} has no fields"
    return int(fields[name][1])


def _code(dtype: np.dtype) -> str:
    return f"{dtype.itemsize}s" if dtype.kind == "S" else _CODES[dtype.str]

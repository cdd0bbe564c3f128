"""Old files stay readable: events of an older schema, rewritten with today's fields (docs/messages.md, "Evolution")."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tickmesh.bus.layout import header_writer, struct_of
from tickmesh.bus.schema import DTYPES, HEADER, Kind

Translate = Callable[[memoryview], bytes]
_write_size, _SIZE_AT = header_writer("size", "count")


def converter(description: dict[str, Any]) -> Callable[[memoryview], memoryview]:
    """Makes a function from a body of whole events of the described schema to the same events of today's schema.

    Fields are matched by name; one that the old schema had not is 0. The function raises ValueError for what is no event.
    """
    old = header_of(description)
    read, begins = struct_of(old, "size", "count", "kind").unpack_from, old.itemsize
    header = translator(old, HEADER)
    records = {int(kind): translator(dtype_of(description, kind), DTYPES[kind]) for kind in DTYPES}

    def convert(body: memoryview) -> memoryview:
        out: list[bytes | bytearray] = []
        offset, end = 0, len(body)
        while offset < end:
            size, count, kind = read(body, offset)
            if kind not in records or not begins < size <= end - offset:
                raise ValueError(f"an event of kind {kind} at byte {offset} states {size} bytes; {end - offset} are there")
            start = offset + begins
            head = bytearray(header(body[offset:start]))
            own = records[kind](body[start : offset + size])
            _write_size(head, _SIZE_AT, len(head) + len(own), count)
            out += (head, own)
            offset += size
        return memoryview(b"".join(out))

    return convert


def header_of(description: dict[str, Any]) -> np.dtype:
    """The dtype of a header by a file's description of its schema."""
    return np.dtype([(name, code) for name, code in description["header"]])


def dtype_of(description: dict[str, Any], kind: Kind) -> np.dtype:
    """The dtype of one record of a kind by a file's description of its schema; today's for a kind that it does not have."""
    fields = description.get(kind.name)
    if fields is None or DTYPES[kind].names is None:
        return DTYPES[kind]
    return np.dtype([(name, code) for name, code in fields])


def translator(old: np.dtype, new: np.dtype) -> Translate:
    """Makes a function from whole records of `old`, as bytes, to the same records of `new`: fields by name, new ones 0."""
    if old == new:
        return bytes
    pieces = _pieces(old, new)
    if pieces is None:
        return lambda records: recast(np.frombuffer(records, old), new).tobytes()
    step = old.itemsize

    def translate(records: memoryview) -> bytes:
        return b"".join(
            piece if isinstance(piece, bytes) else records[at + piece.start : at + piece.stop]
            for at in range(0, len(records), step)
            for piece in pieces
        )

    return translate


def _pieces(old: np.dtype, new: np.dtype) -> Sequence[bytes | slice] | None:
    """What a record of `new` consists of, in order: bytes of one of `old`, or zeros. None where a number has another type."""
    pieces: list[bytes | slice] = []
    fields = dict(old.fields or {})
    for name in new.names or ():
        if name not in fields:
            pieces.append(bytes(new[name].itemsize))
            continue
        own, at = fields[name][:2]
        more = new[name].itemsize - own.itemsize
        if own != new[name] and not (own.kind == new[name].kind == "S" and more > 0):
            return None
        if pieces and isinstance(pieces[-1], slice) and pieces[-1].stop == at:
            pieces[-1] = slice(pieces[-1].start, at + own.itemsize)
        else:
            pieces.append(slice(at, at + own.itemsize))
        if more:
            pieces.append(bytes(more))
    return pieces


def recast(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Copies rows into the fields of `dtype`, by name; a field that they do not have is 0."""
    if array.dtype == dtype:
        return array.copy()
    fresh = np.zeros(len(array), dtype)
    for name in set(array.dtype.names or ()) & set(dtype.names or ()):
        fresh[name] = array[name]
    return fresh

"""Blocks of the recent store: events of one topic that follow one another, as one value, plain or packed.

A block begins with 32 bytes, little-endian: form (u1; 0 plain, 1 packed), 3 bytes of 0, count of events (u4), seq of the last
event (u8), seq_ns of the first and of the last event (i8 each). A plain one goes on with the events, back to back. Of a packed
one the rest is a zstd frame: the headers of all events as a table, then all their records as another, a row for each header and
for each record. Tables are stored column by column: of rows of whole 8 bytes a column is a `u8` word, of others a byte, as the
difference to the row before it (modulo 2^64, or 256), and all the first bytes of a column's words stand before all the second.
Maps (their records are bytes) stand as they are.
"""

import struct
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tickmesh.bus.layout import header_reader
from tickmesh.bus.schema import HEADER
from tickmesh.bus.wire import Bytes, Event

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN, PACKED = 0, 1
HEADER_ROW = HEADER.itemsize  # bytes of a row of the table of headers
LEVEL = 3
_HEAD = struct.Struct("<B3xIQqq")
_read_size, _read_count = header_reader("size"), header_reader("count")
_read_seq, _read_seq_ns = header_reader("seq"), header_reader("seq_ns")


class BlockHead(NamedTuple):
    """What a block says of itself: its form, how many events it has, the last one's seq, and seq_ns of its first and last."""

    form: int
    events: int
    last_seq: int
    first_ns: int
    last_ns: int


def read_head(block: Bytes) -> BlockHead:
    """Reads what a block says of itself. Raises struct.error for bytes that are too few."""
    return BlockHead(*_HEAD.unpack_from(block))


def plain_block(raws: Sequence[Bytes]) -> bytes:
    """Encodes events of one topic, in order of seq, as they are. `raws`: one or more whole events."""
    return _head(PLAIN, raws) + b"".join(raws)


def packed_block(raws: Sequence[Bytes]) -> bytes:
    """Encodes events of one topic, in order of seq, compressed. `raws`: one or more whole events."""
    joined = b"".join([raw[:HEADER_ROW] for raw in raws])
    bodies = b"".join([raw[HEADER_ROW:] for raw in raws])
    return _head(PACKED, raws) + zstd.compress(_columns(joined, HEADER_ROW) + _columns(bodies, _itemsize(raws[0])), LEVEL)


def seq_of(raw: Bytes) -> int:
    """The seq of a whole event."""
    return int(_read_seq(raw)[0])


def _head(form: int, raws: Sequence[Bytes]) -> bytes:
    first, last = raws[0], raws[-1]
    return _HEAD.pack(form, len(raws), _read_seq(last)[0], _read_seq_ns(first)[0], _read_seq_ns(last)[0])


def _itemsize(header: Bytes) -> int:
    """The bytes of one record, by an event's header."""
    return int((_read_size(header)[0] - HEADER_ROW) // _read_count(header)[0])


def _word(itemsize: int) -> np.dtype:
    return np.dtype("<u8" if itemsize % 8 == 0 else "u1")


def _columns(rows: bytes, itemsize: int) -> bytes:
    if itemsize == 1:
        return rows
    table = np.frombuffer(rows, _word(itemsize)).reshape(len(rows) // itemsize, -1)
    table = table.copy()
    table[1:] -= table[:-1].copy()
    return table.view("u1").T.tobytes()


def _rows(columns: memoryview, itemsize: int) -> bytes:
    if itemsize == 1:
        return bytes(columns)
    table = np.ascontiguousarray(np.frombuffer(columns, "u1").reshape(itemsize, -1).T).view(_word(itemsize))
    return np.cumsum(table, axis=0, dtype=table.dtype).tobytes()


def read_raws(block: Bytes) -> Iterator[bytes]:
    """Reads the events of a block, each as bytes of its own."""
    head = read_head(block)
    if head.form == PLAIN:
        at = _HEAD.size
        for _ in range(head.events):
            size = _read_size(block, at)[0]
            yield bytes(block[at : at + size])
            at += size
        return
    content = memoryview(zstd.decompress(block[_HEAD.size :]))
    split = head.events * HEADER_ROW
    headers = _rows(content[:split], HEADER_ROW)
    bodies = _rows(content[split:], _itemsize(headers))
    at = 0
    for start in range(0, split, HEADER_ROW):
        size = _read_size(headers, start)[0] - HEADER_ROW
        yield headers[start : start + HEADER_ROW] + bodies[at : at + size]
        at += size


def read_events(block: Bytes) -> list[Event]:
    """Reads the events of a block, as copies."""
    return [Event(raw) for raw in read_raws(block)]

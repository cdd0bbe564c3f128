"""A naive reader of the recent store's blocks, from docs/archive.md ("Blocks of the recent store")."""

import struct
import sys
from typing import NamedTuple

import numpy as np

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PLAIN, PACKED = 0, 1
HEAD_BYTES = 32
UNREADABLE = (struct.error, ValueError, IndexError, ZeroDivisionError, MemoryError, zstd.ZstdError)


class StoredBlock(NamedTuple):
    """A block as it lies in the store: what its head says, and the rest."""

    form: int
    events: int
    last_seq: int
    first_ns: int
    last_ns: int
    rest: bytes


def read_block(value: bytes) -> StoredBlock:
    """Splits a value of the table `blocks`. Raises struct.error for one that is too short."""
    form, events, last_seq, first_ns, last_ns = struct.unpack_from("<B3xIQqq", value)
    return StoredBlock(form, events, last_seq, first_ns, last_ns, value[HEAD_BYTES:])


def events_of(block: StoredBlock, header_bytes: int) -> list[bytes]:
    """The events of a block, each as bytes. Raises one of UNREADABLE for a damaged one."""
    if block.form == PLAIN:
        events, rest = [], block.rest
        for _ in range(block.events):
            (size,) = struct.unpack_from("<I", rest)
            events.append(rest[:size])
            rest = rest[size:]
        _nothing_is_left(rest)
        return events
    if block.form != PACKED:
        raise ValueError(f"a block of the form {block.form}")
    content = zstd.decompress(block.rest)
    heads = undo_table(content[: block.events * header_bytes], header_bytes)
    size, count = struct.unpack_from("<II", heads)
    bodies = undo_table(content[block.events * header_bytes :], (size - header_bytes) // count)
    events = []
    for number in range(block.events):
        head = heads[number * header_bytes : (number + 1) * header_bytes]
        body_bytes = struct.unpack_from("<I", head)[0] - header_bytes
        events.append(head + bodies[:body_bytes])
        bodies = bodies[body_bytes:]
    _nothing_is_left(bodies)
    return events


def _nothing_is_left(rest: bytes) -> None:
    if rest:
        raise ValueError(f"{len(rest)} bytes behind a block's last event")


def undo_table(stored: bytes, row_bytes: int) -> bytes:
    """The rows of a table, one after the other, that a packed block stores column by column, as differences."""
    if row_bytes == 1:
        return stored
    word = 8 if row_bytes % 8 == 0 else 1
    rows = len(stored) // row_bytes
    if rows * row_bytes != len(stored):
        raise ValueError(f"{len(stored)} bytes are no whole rows of {row_bytes}")
    table = np.zeros((rows, row_bytes // word), f"<u{word}")
    for byte in range(row_bytes):
        column = np.frombuffer(stored[byte * rows : (byte + 1) * rows], "u1").astype(table.dtype)
        table[:, byte // word] += column << table.dtype.type(8 * (byte % word))
    for row in range(1, rows):
        table[row] += table[row - 1]
    return table.tobytes()

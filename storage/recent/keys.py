"""Keys of the recent store's tables: a topic's number, and a seq or a time. They sort as numbers do."""

import struct

import lmdb

KEY = struct.Struct(">IQ")
U4 = struct.Struct(">I")
U8 = struct.Struct(">Q")
U8_MAX = (1 << 64) - 1


def to_last(cursor: lmdb.Cursor, number: int) -> bool:
    """Sets a cursor on the last key of topic `number`, or on one of a topic before it; False in an empty table."""
    return bool(cursor.prev() if cursor.set_range(KEY.pack(number + 1, 0)) else cursor.last())


def topic_of(key: bytes | memoryview) -> int:
    """The topic's number; -1 of no key, which a cursor has behind the last."""
    topic: int = U4.unpack_from(key)[0] if key else -1
    return topic

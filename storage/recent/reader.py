"""Reads the recent store, by topic, `seq` and time; storage/recent/store.py has its tables."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb

from tickmesh.bus.wire import Event, decode
from tickmesh.storage.recent.blocks import read_events, read_head
from tickmesh.storage.recent.environment import RecentError, close_environment, open_environment, present_environment, reading
from tickmesh.storage.recent.keys import KEY, U4, U8, U8_MAX, to_last, topic_of
from tickmesh.storage.recent.owner import FORMAT, OTHER_FORM, SCHEMA


class RecentReader:
    """Reads the recent store while the recorder writes. Never makes one: raises RecentError when there is none.

    Every call sees one moment of the store; events are copies and stay valid.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._opened = open_environment(self.folder, False)
        self._closed = False

    @contextlib.contextmanager
    def _view(self) -> Iterator[tuple[lmdb.Transaction, dict[bytes, Any]]]:
        try:
            with reading():
                environment = self._opened = present_environment(self.folder)
                with environment.env.begin() as txn:
                    meta = environment.tables[b"meta"]
                    if (txn.get(b"schema", db=meta), txn.get(b"format", db=meta)) != (SCHEMA, FORMAT):
                        raise RecentError(f"{self.folder} {OTHER_FORM}; the recorder fills it anew when it starts")
                    yield txn, environment.tables
        except lmdb.Error as error:
            raise RecentError(f"{self.folder} cannot be read: {error}; the recorder rebuilds it at its next start") from None

    @property
    def recent_seq(self) -> int:
        """The seq up to which every event has been put into the store (older ones may be pruned)."""
        with self._view() as (txn, tables):
            seq: int = U8.unpack(txn.get(b"recent_seq", b"\0" * 8, db=tables[b"meta"]))[0]
            return seq

    @property
    def log_id(self) -> int:
        """The identity of the log that the store's events are of."""
        with self._view() as (txn, tables):
            log_id: int = U8.unpack(txn.get(b"log_id", b"\0" * 8, db=tables[b"meta"]))[0]
            return log_id

    def topics(self) -> list[str]:
        """Lists the topics of which the store has events."""
        with self._view() as (txn, tables):
            return [bytes(key).decode() for key in txn.cursor(tables[b"latest"]).iternext(values=False)]

    def latest(self, topic: str) -> Event | None:
        """Reads the newest event of a topic, however old; None if there never was one."""
        with self._view() as (txn, tables):
            raw = txn.get(topic.encode(), db=tables[b"latest"])
            return decode(raw) if raw is not None else None

    def last(self, topic: str, count: int) -> list[Event]:
        """Reads the newest `count` events of a topic that are still kept, oldest first."""
        with self._view() as (txn, tables):
            number = self._number(txn, tables, topic)
            cursor = txn.cursor(tables[b"blocks"])
            found = to_last(cursor, number)
            blocks: list[list[Event]] = []
            while found and number and count > 0 and topic_of(cursor.key()) == number:
                blocks.append(read_events(cursor.value())[-count:])
                count -= len(blocks[-1])
                found = cursor.prev()
            return [event for block in reversed(blocks) for event in block]

    def read(
        self,
        topic: str,
        *,
        after_seq: int = 0,
        since_ns: int | None = None,
        until_ns: int | None = None,
        limit: int = 10_000,
    ) -> list[Event]:
        """Reads at most `limit` events of a topic with seq > after_seq and since_ns ≤ seq_ns < until_ns, oldest first."""
        with self._view() as (txn, tables):
            number = self._number(txn, tables, topic)
            if not number:
                return []
            first = after_seq + 1
            if since_ns is not None:
                first = max(first, self._begin_since(txn, tables, number, since_ns))
            cursor = txn.cursor(tables[b"blocks"])
            found = _to_block(cursor, number, min(first, U8_MAX))
            out: list[Event] = []
            while found and len(out) < limit and topic_of(cursor.key()) == number:
                if until_ns is not None and read_head(cursor.value()).first_ns >= until_ns:
                    break
                out += [
                    event
                    for event in read_events(cursor.value())
                    if event.seq > after_seq
                    and (since_ns is None or event.seq_ns >= since_ns)
                    and (until_ns is None or event.seq_ns < until_ns)
                ]
                found = cursor.next()
            return out[:limit]

    def first_seq(self, topic: str) -> int:
        """The oldest seq of the topic that is still kept; 0 if none."""
        kept = self.read(topic, limit=1)
        return kept[0].seq if kept else 0

    def _number(self, txn: lmdb.Transaction, tables: dict[bytes, Any], topic: str) -> int:
        raw = txn.get(topic.encode(), db=tables[b"topics"])
        return U4.unpack(raw)[0] if raw is not None else 0

    def _begin_since(self, txn: lmdb.Transaction, tables: dict[bytes, Any], number: int, since_ns: int) -> int:
        """The seq of a block of the topic before which nothing is as new as `since_ns`; 0 where that is its first."""
        cursor = txn.cursor(tables[b"times"])
        since = KEY.pack(number, min(max(since_ns, 0), U8_MAX))
        if (cursor.prev() if cursor.set_range(since) else cursor.last()) and topic_of(cursor.key()) == number:
            seq: int = U8.unpack(cursor.value())[0]
            return seq
        return 0

    def close(self) -> None:
        """Closes the store for this reader."""
        if not self._closed:
            self._closed = True
            close_environment(self.folder)

    def __enter__(self) -> "RecentReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _to_block(cursor: lmdb.Cursor, number: int, seq: int) -> bool:
    """Sets a cursor on the block that has `seq`, or on the topic's first one after it; False where there is none."""
    found = bool(cursor.set_range(KEY.pack(number, seq)))
    if found and KEY.unpack(cursor.key()) == (number, seq):
        return True
    if (cursor.prev() if found else cursor.last()) and topic_of(cursor.key()) == number:
        return True
    return bool(cursor.set_range(KEY.pack(number, 0)))

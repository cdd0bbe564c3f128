"""The recent store: the last hours of every topic in LMDB, for queries by topic, `seq` and time, and the latest of each.

It is a cache of the log, so it never syncs: after a power cut it may be damaged, and a store of another boot is thrown away
unread (LMDB maps its file, and a torn one would end the process) and filled again. The file `owner` beside it tells whose it
is. Tables:

    events  topic id (u4), seq (u8)     → the whole event; keys big-endian, so they sort
    times   topic id (u4), seq_ns (u8)  → seq of the first event of that topic in a stretch of 10 ms
    latest  topic                       → the newest event, kept however old it is
    topics  topic                       → topic id (u4)
    meta    recent_seq, log_id, whole_after (every later event was put), schema (the description of its events, JSON)
"""

import contextlib
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lmdb

from tickmesh.bus.files import boot_id
from tickmesh.bus.layout import header_reader
from tickmesh.bus.space import free_of, refusal
from tickmesh.bus.wire import Event, decode
from tickmesh.storage.recent.environment import (
    Environment,
    RecentError,
    close_environment,
    open_environment,
    present_environment,
    reading,
)
from tickmesh.storage.recent.owner import OTHER_SCHEMA, SCHEMA, find_other_owner, write_owner

STRETCH_NS = 10_000_000  # a time is found by its stretch and a short walk: a hundredth of the index
PRUNE_EVENTS = 20_000  # per step: a commit stays within some ms
_KEY = struct.Struct(">IQ")
_U4 = struct.Struct(">I")
_U8 = struct.Struct(">Q")
_read_seq_ns = header_reader("seq_ns")
_U8_MAX = (1 << 64) - 1


class RecentFull(RecentError):
    """The map or the disk took no more; what was put since the last commit is forgotten and can be read from the log."""


class RecentWriter:
    """Writes the recent store. Only one process does: the recorder, which holds the archive's lock.

    A store of another boot, another log or another schema is removed and begun anew: `recent_seq` is 0 then. `last`: where the
    log ends; a store that goes on beyond it is of another one. `unused`: a sentence, why one of this boot was removed. Raises
    RecentError.
    """

    def __init__(
        self, folder: Path, log_id: int = 0, bytes_max: int = 8 << 30, boot: str | None = None, last: int | None = None
    ):
        self.folder = Path(folder)
        self.bytes_max = max(bytes_max // 4096 * 4096, 1 << 20)  # LMDB wants whole pages
        self.boot = boot_id() if boot is None else boot
        self.log_id = log_id
        self.pending: list[Event] = []
        self.wiped = False
        self.unused = ""
        self._last = last
        self.began = True  # the next commit is the first of what follows without a hole
        self._opened: Environment | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._begin()
            self._env.reader_check()
            self._topics = self._load_topics()
        except (OSError, lmdb.Error) as error:
            self._let_go()
            raise RecentError(f"{self.folder} cannot be made: {error}; make room or permit it, the log keeps all") from None

    @property
    def _env(self) -> lmdb.Environment:
        assert self._opened is not None, "closed"
        return self._opened.env

    @property
    def _tables(self) -> dict[bytes, Any]:
        assert self._opened is not None, "closed"
        return self._opened.tables

    def _begin(self) -> None:
        self.recent_seq = 0
        there = (self.folder / "data.mdb").exists()
        other = find_other_owner(self.folder, self.boot, self.log_id) if there else ""
        if other is None:
            try:
                self._opened = open_environment(self.folder, True, self.bytes_max)
                with self._env.begin(db=self._tables[b"meta"]) as txn:
                    if seq := txn.get(b"recent_seq"):
                        self.recent_seq = _U8.unpack(seq)[0]
                        if self._last is None or self.recent_seq <= self._last:
                            self.began = self.recent_seq == 0
                            return
                        self.unused = (
                            f"{self.folder} holds events up to seq {self.recent_seq}, and its log ends at {self._last}"
                        )
                        self.recent_seq = 0
            except (RecentError, lmdb.Error):
                pass  # damaged: it is a cache
        self.wiped, self.unused = there, other or self.unused
        self._wipe()

    def _wipe(self) -> None:
        """Removes the files: nothing in a damaged store is to be trusted. Readers notice by the inode."""
        self._let_go()
        self.began = True
        for name in ("owner", "data.mdb", "lock.mdb"):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / name).unlink()
        self._opened = open_environment(self.folder, True, self.bytes_max)
        with self._env.begin(write=True, db=self._tables[b"meta"]) as txn:
            txn.put(b"log_id", _U8.pack(self.log_id))
            txn.put(b"recent_seq", _U8.pack(0))
            txn.put(b"schema", SCHEMA)
        write_owner(self.folder, self.boot, self.log_id)

    def _let_go(self) -> None:
        if self._opened is not None:
            self._opened = None
            close_environment(self.folder)

    def _load_topics(self) -> dict[str, int]:
        with self._env.begin(db=self._tables[b"topics"]) as txn:
            return {name.decode(): _U4.unpack(value)[0] for name, value in txn.cursor()}

    def start_after(self, seq: int) -> None:
        """Makes the store begin behind `seq`: older events stay in archive and log. The next commit notes it."""
        if seq > self.recent_seq:
            self.recent_seq, self.began = seq, True

    def put(self, events: Iterable[Event]) -> None:
        """Takes events with seq > `recent_seq`; older ones are there already. The caller commits before they are many."""
        last = self.pending[-1].seq if self.pending else self.recent_seq
        for event in events:
            if event.seq > last:
                last = event.seq
                self.pending.append(event)

    def commit(self) -> int:
        """Writes all that was put in one transaction; `recent_seq` is the last of it then. Returns how many events.

        Raises RecentFull, and forgets what was put: read it again from the log after `recent_seq`.
        """
        events, self.pending = self.pending, []
        if not events:
            return 0
        seq = events[-1].seq
        try:
            if self.used_bytes() + 2 * sum(event.size for event in events) > self.bytes_max * 3 // 4:
                self._make_room()
            self._commit(events, seq)
        except (lmdb.Error, OSError) as error:
            raise self._full(error) from None
        self.recent_seq = seq
        return len(events)

    def _full(self, error: Exception) -> RecentFull:
        self._topics = self._load_topics()  # those of the failed transaction are not there
        return RecentFull(
            f"{self.folder} takes no more: {_why(error, self.folder)}. Nothing is lost: the log has it, and it is tried again"
        )

    def _commit(self, events: list[Event], seq: int) -> None:
        tables = self._tables
        rows: list[tuple[bytes, bytes]] = []
        times: dict[bytes, bytes] = {}
        latest: dict[str, bytes] = {}
        with self._env.begin(write=True) as txn:
            for event in events:
                name = event.topic
                number = self._topics.get(name)
                if number is None:
                    number = self._topics[name] = len(self._topics) + 1
                    txn.put(name.encode(), _U4.pack(number), db=tables[b"topics"])
                raw = bytes(event.raw)
                rows.append((_KEY.pack(number, event.seq), raw))
                latest[name] = raw
                stretch = max(event.seq_ns, 0) // STRETCH_NS * STRETCH_NS
                times.setdefault(_KEY.pack(number, stretch), _U8.pack(event.seq))
            rows.sort()  # neighbours share pages
            txn.cursor(tables[b"events"]).putmulti(rows)
            txn.cursor(tables[b"times"]).putmulti(sorted(times.items()), overwrite=False)
            for name, raw in latest.items():
                txn.put(name.encode(), raw, db=tables[b"latest"])
            if self.began:
                txn.put(b"whole_after", _U8.pack(self.recent_seq), db=tables[b"meta"])
            txn.put(b"recent_seq", _U8.pack(seq), db=tables[b"meta"])
        self.began = False

    def prune(self, before_ns: int, most: int = PRUNE_EVENTS) -> int:
        """Deletes events with seq_ns < `before_ns`, at most `most` at once; the latest of each topic stays known.

        Raises RecentFull; then nothing was deleted.
        """
        try:
            return self._prune(before_ns, most)
        except (lmdb.Error, OSError) as error:
            raise self._full(error) from None

    def _prune(self, before_ns: int, most: int) -> int:
        gone = 0
        tables = self._tables
        with self._env.begin(write=True) as txn:
            for number in self._topics.values():
                cursor = txn.cursor(tables[b"events"])
                found = cursor.set_range(_KEY.pack(number, 0))
                while found and gone < most and _topic_of(cursor.key()) == number:
                    if _read_seq_ns(cursor.value())[0] >= before_ns:
                        break
                    found = cursor.delete()
                    gone += 1
                cursor = txn.cursor(tables[b"times"])
                found = cursor.set_range(_KEY.pack(number, 0))
                while found and _topic_of(cursor.key()) == number:
                    if _KEY.unpack(cursor.key())[1] + STRETCH_NS > before_ns or gone >= most:
                        break
                    found = cursor.delete()
        self._env.reader_check()  # a reader that was killed would pin every page it saw
        return gone

    def used_bytes(self) -> int:
        """The bytes of the pages in use. Deleting takes pages first: a map may never be really full."""
        with self._env.begin() as txn:
            stats = [txn.stat(table) for table in self._tables.values()]
        return sum(s["psize"] * (s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"]) for s in stats)

    def _make_room(self) -> None:
        """The oldest go, by time, at most 20,000 of them: the next commit goes on with it."""
        oldest, newest = _U8_MAX, 0
        with self._env.begin(db=self._tables[b"times"]) as txn:
            cursor = txn.cursor()
            for number in self._topics.values():
                if cursor.set_range(_KEY.pack(number, 0)) and _topic_of(cursor.key()) == number:
                    oldest = min(oldest, _KEY.unpack(cursor.key())[1])
                    found = cursor.prev() if cursor.set_range(_KEY.pack(number + 1, 0)) else cursor.last()
                    newest = max(newest, _KEY.unpack(cursor.key())[1] if found else 0)
        for _ in range(10):
            if not self._prune(oldest + max((newest - oldest) // 8, STRETCH_NS), 2000):
                break

    def close(self) -> None:
        """Commits what can be committed, and closes the store."""
        with contextlib.suppress(RecentFull):
            self.commit()
        with contextlib.suppress(lmdb.Error):
            self._env.sync(True)
        self._let_go()


def _topic_of(key: bytes | memoryview) -> int:
    """The topic's number; -1 of no key, which a cursor has behind the last."""
    topic: int = _U4.unpack_from(key)[0] if key else -1
    return topic


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
                    if txn.get(b"schema", db=environment.tables[b"meta"]) != SCHEMA:
                        raise RecentError(f"{self.folder} {OTHER_SCHEMA}; the recorder fills it anew when it starts")
                    yield txn, environment.tables
        except lmdb.Error as error:
            raise RecentError(f"{self.folder} cannot be read: {error}; the recorder rebuilds it at its next start") from None

    @property
    def recent_seq(self) -> int:
        """The seq up to which every event has been put into the store (older ones may be pruned)."""
        with self._view() as (txn, tables):
            seq: int = _U8.unpack(txn.get(b"recent_seq", b"\0" * 8, db=tables[b"meta"]))[0]
            return seq

    @property
    def log_id(self) -> int:
        """The identity of the log that the store's events are of."""
        with self._view() as (txn, tables):
            log_id: int = _U8.unpack(txn.get(b"log_id", b"\0" * 8, db=tables[b"meta"]))[0]
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
            cursor = txn.cursor(tables[b"events"])
            found = cursor.last() if not cursor.set_range(_KEY.pack(number + 1, 0)) else cursor.prev()
            out: list[Event] = []
            while found and number and len(out) < count and _topic_of(cursor.key()) == number:
                out.append(decode(cursor.value()))
                found = cursor.prev()
            return out[::-1]

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
                first = max(first, self._first_since(txn, tables, number, since_ns))
            cursor = txn.cursor(tables[b"events"])
            found = cursor.set_range(_KEY.pack(number, min(first, _U8_MAX)))
            out: list[Event] = []
            while found and len(out) < limit and _topic_of(cursor.key()) == number:
                event = decode(cursor.value())
                if until_ns is not None and event.seq_ns >= until_ns:
                    break
                if since_ns is None or event.seq_ns >= since_ns:
                    out.append(event)
                found = cursor.next()
            return out

    def first_seq(self, topic: str) -> int:
        """The oldest seq of the topic that is still kept; 0 if none."""
        kept = self.read(topic, limit=1)
        return kept[0].seq if kept else 0

    def _number(self, txn: lmdb.Transaction, tables: dict[bytes, Any], topic: str) -> int:
        raw = txn.get(topic.encode(), db=tables[b"topics"])
        return _U4.unpack(raw)[0] if raw is not None else 0

    def _first_since(self, txn: lmdb.Transaction, tables: dict[bytes, Any], number: int, since_ns: int) -> int:
        """A seq at or before the first event of the topic that is not older than `since_ns`."""
        cursor = txn.cursor(tables[b"times"])
        stretch = max(since_ns, 0) // STRETCH_NS * STRETCH_NS
        if cursor.set_range(_KEY.pack(number, stretch)) and _topic_of(cursor.key()) == number:
            seq: int = _U8.unpack(cursor.value())[0]
            return seq
        return _U8_MAX  # nothing so new

    def close(self) -> None:
        """Closes the store for this reader."""
        if not self._closed:
            self._closed = True
            close_environment(self.folder)

    def __enter__(self) -> "RecentReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _why(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError):
        return refusal(error, folder)
    if isinstance(error, lmdb.MapFullError):
        return f"{error}; raise recorder.recent_bytes_max"
    return f"{error}; {free_of(folder)} are free there"

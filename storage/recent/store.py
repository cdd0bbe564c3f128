"""The recent store: the last hours of every topic in LMDB, for queries by topic, `seq` and time, and the latest of each.

It is a cache of the log, so it never syncs: after a power cut it may be damaged, and a store of another boot is thrown away
unread (LMDB maps its file, and a torn one would end the process) and filled again. The file `owner` beside it tells whose it
is. Tables:

    blocks  topic id (u4), seq of its first event (u8) → events of the topic that follow one another (blocks.py); keys
            big-endian, so they sort
    times   topic id (u4), seq_ns of a block's first event (u8) → seq of that event
    latest  topic                                      → the newest event, kept however old it is
    topics  topic                                      → topic id (u4)
    meta    recent_seq, log_id, whole_after (every later event was put), schema (the description of its events, JSON),
            format (of these tables)

A commit puts what is new of a topic behind the rest as a plain block. Where a topic's plain blocks are PACK_BYTES, the same
transaction makes them one packed block. Blocks of a topic do not overlap, and plain ones come after all packed ones.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from tickmesh.bus.files import boot_id
from tickmesh.bus.space import free_of, refusal
from tickmesh.bus.wire import Event
from tickmesh.storage.recent.blocks import PLAIN, packed_block, plain_block, read_head, read_raws, seq_of
from tickmesh.storage.recent.environment import (
    Environment,
    RecentError,
    close_environment,
    open_environment,
)
from tickmesh.storage.recent.keys import KEY, U4, U8, U8_MAX, to_last, topic_of
from tickmesh.storage.recent.owner import FORMAT, SCHEMA, find_other_owner, write_owner

PACK_BYTES = 128 << 10  # of plain events: a packed block is some pages then, and a reader of one event unpacks it in 1 ms
PRUNE_EVENTS = 20_000  # per step: a commit stays within some ms


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
        self._pack_bytes = min(PACK_BYTES, self.bytes_max >> 7)  # what is plain may not fill a small map
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
            self._load()
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
                        self.recent_seq = U8.unpack(seq)[0]
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
            txn.put(b"log_id", U8.pack(self.log_id))
            txn.put(b"recent_seq", U8.pack(0))
            txn.put(b"schema", SCHEMA)
            txn.put(b"format", FORMAT)
        write_owner(self.folder, self.boot, self.log_id)

    def _let_go(self) -> None:
        if self._opened is not None:
            self._opened = None
            close_environment(self.folder)

    def _load(self) -> None:
        """Reads the topics' numbers, and where each one's plain blocks begin and how many bytes they are."""
        with self._env.begin() as txn:
            topics = txn.cursor(self._tables[b"topics"])
            self._topics = {bytes(name).decode(): U4.unpack(value)[0] for name, value in topics}
            self._plain = {number: self._plain_of(txn, number) for number in self._topics.values()}

    def _plain_of(self, txn: lmdb.Transaction, number: int) -> "Plain":
        cursor = txn.cursor(self._tables[b"blocks"])
        found, plain = to_last(cursor, number), Plain(U8_MAX, 0)
        while found and topic_of(cursor.key()) == number and read_head(cursor.value()).form == PLAIN:
            plain = Plain(KEY.unpack(cursor.key())[1], plain.size + len(cursor.value()))
            found = cursor.prev()
        return plain

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
        self._load()  # what the failed transaction did is not there
        return RecentFull(
            f"{self.folder} takes no more: {_why(error, self.folder)}. Nothing is lost: the log has it, and it is tried again"
        )

    def _commit(self, events: list[Event], seq: int) -> None:
        tables = self._tables
        fresh: dict[str, list[bytes]] = {}
        for event in events:
            fresh.setdefault(event.topic, []).append(bytes(event.raw))
        with self._env.begin(write=True) as txn:
            for name, raws in fresh.items():
                number = self._topics.get(name)
                if number is None:
                    number = self._topics[name] = len(self._topics) + 1
                    txn.put(name.encode(), U4.pack(number), db=tables[b"topics"])
                self._append(txn, number, raws)
                txn.put(name.encode(), raws[-1], db=tables[b"latest"])
            if self.began:
                txn.put(b"whole_after", U8.pack(self.recent_seq), db=tables[b"meta"])
            txn.put(b"recent_seq", U8.pack(seq), db=tables[b"meta"])
        self.began = False

    def _append(self, txn: lmdb.Transaction, number: int, raws: list[bytes]) -> None:
        """Puts a topic's newest events as a plain block, or packs them with its plain ones where those are enough."""
        first, size = self._plain.get(number, _NO_PLAIN)
        size += sum(map(len, raws))
        if size < self._pack_bytes:
            self._put_block(txn, number, raws, packed=False)
            self._plain[number] = Plain(min(first, seq_of(raws[0])), size)
            return
        raws = [*self._take_plain(txn, number, first), *raws]
        begin = 0
        size = 0
        for end, raw in enumerate(raws, 1):
            size += len(raw)
            if size >= self._pack_bytes:
                self._put_block(txn, number, raws[begin:end], packed=True)
                begin, size = end, 0
        if rest := raws[begin:]:
            self._put_block(txn, number, rest, packed=False)
        self._plain[number] = Plain(seq_of(rest[0]), size) if rest else _NO_PLAIN

    def _put_block(self, txn: lmdb.Transaction, number: int, raws: list[bytes], packed: bool) -> None:
        block = packed_block(raws) if packed else plain_block(raws)
        first = seq_of(raws[0])
        txn.put(KEY.pack(number, first), block, db=self._tables[b"blocks"])
        txn.put(_time_key(number, block), U8.pack(first), overwrite=False, db=self._tables[b"times"])

    def _take_plain(self, txn: lmdb.Transaction, number: int, first: int) -> list[bytes]:
        """Takes a topic's plain blocks out of the store; gives their events."""
        raws: list[bytes] = []
        cursor = txn.cursor(self._tables[b"blocks"])
        found = cursor.set_range(KEY.pack(number, first))
        while found and topic_of(cursor.key()) == number:
            raws += read_raws(cursor.value())
            found = self._delete(txn, cursor)
        return raws

    def _delete(self, txn: lmdb.Transaction, cursor: lmdb.Cursor) -> bool:
        """Deletes the block at the cursor, and its time; True where another block follows."""
        number, first = KEY.unpack(cursor.key())
        key = _time_key(number, cursor.value())
        if txn.get(key, db=self._tables[b"times"]) == U8.pack(first):  # two of the same time: it leads to the first
            txn.delete(key, db=self._tables[b"times"])
        return bool(cursor.delete())

    def prune(self, before_ns: int, most: int = PRUNE_EVENTS) -> int:
        """Deletes blocks whose events all have seq_ns < `before_ns`, until `most` events are gone; gives how many.

        The latest of each topic stays known. Raises RecentFull; then nothing was deleted.
        """
        try:
            return self._prune(before_ns, most)
        except (lmdb.Error, OSError) as error:
            raise self._full(error) from None

    def _prune(self, before_ns: int, most: int) -> int:
        gone = 0
        with self._env.begin(write=True) as txn:
            for number in self._topics.values():
                cursor = txn.cursor(self._tables[b"blocks"])
                found = cursor.set_range(KEY.pack(number, 0))
                while found and gone < most and topic_of(cursor.key()) == number:
                    head = read_head(cursor.value())
                    if head.last_ns >= before_ns:
                        break
                    found = self._delete(txn, cursor)
                    gone += head.events
        self._env.reader_check()  # a reader that was killed would pin every page it saw
        return gone

    def used_bytes(self) -> int:
        """The bytes of the pages in use. Deleting takes pages first: a map may never be really full."""
        with self._env.begin() as txn:
            stats = [txn.stat(table) for table in self._tables.values()]
        return sum(s["psize"] * (s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"]) for s in stats)

    def _make_room(self) -> None:
        """The oldest go, by time, some 20,000 of them: the next commit goes on with it."""
        oldest, newest = U8_MAX, 0
        with self._env.begin(db=self._tables[b"times"]) as txn:
            cursor = txn.cursor()
            for number in self._topics.values():
                if cursor.set_range(KEY.pack(number, 0)) and topic_of(cursor.key()) == number:
                    oldest = min(oldest, KEY.unpack(cursor.key())[1])
                    to_last(cursor, number)
                    newest = max(newest, KEY.unpack(cursor.key())[1])
        for _ in range(10):
            if not self._prune(oldest + max((newest - oldest) // 8, 1), 2000):
                break

    def close(self) -> None:
        """Commits what can be committed, and closes the store."""
        with contextlib.suppress(RecentFull):
            self.commit()
        with contextlib.suppress(lmdb.Error):
            self._env.sync(True)
        self._let_go()


class Plain(NamedTuple):
    """A topic's plain blocks: the seq of their first event (or an earlier one, which is pruned), and their bytes."""

    first: int
    size: int


_NO_PLAIN = Plain(U8_MAX, 0)


def _time_key(number: int, block: bytes | memoryview) -> bytes:
    return KEY.pack(number, max(read_head(block).first_ns, 0))


def _why(error: Exception, folder: Path) -> str:
    if isinstance(error, OSError):
        return refusal(error, folder)
    if isinstance(error, lmdb.MapFullError):
        return f"{error}; raise recorder.recent_bytes_max"
    return f"{error}; {free_of(folder)} are free there"

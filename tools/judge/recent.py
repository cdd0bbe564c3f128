"""A naive look into the recent store, from storage/recent/store.py's tables: is all there that has to be, and nothing else?

Everything from the retention edge (`recorder.recent_hours` before the log's end, and never before `whole_after`, where the
store began) to `recent_seq` has to be there, equal to log and archive; so has the newest event of every topic, and the index by
time.
"""

import json
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from tickmesh.tools.judge import log
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log import Event, LogHead

TABLES = (b"events", b"times", b"latest", b"topics", b"meta")
STRETCH_NS = 10_000_000
BOOT = Path("/proc/sys/kernel/random/boot_id")
UNREADABLE = (struct.error, KeyError, ValueError, IndexError, StopIteration)
# A store so full may have made room: then every topic has to be whole from its own oldest event on, and no earlier.
FULL_SHARE = 4


class RetentionRules(NamedTuple):
    """How much the recent store keeps: `recorder.recent_hours` in ns, and `recorder.recent_bytes_max`."""

    kept_ns: int
    bytes_max: int


def compare(folder: Path, log_dir: Path, rules: RetentionRules, stream: Iterable[Event], findings: Findings) -> Iterator[Event]:
    """Passes events on, and compares each with what the recent store had when this began; differences become findings."""
    if not (folder / "data.mdb").is_file():  # opening would make an empty one
        yield from stream
        return
    if _of_another_boot(folder):  # LMDB maps its file: a torn one would end the process. The recorder throws it away
        findings.count("recent_not_judged")
        yield from stream
        return
    events = iter(stream)
    try:
        with lmdb.open(str(folder), map_size=0, max_dbs=8, readonly=True, create=False, lock=True, readahead=False) as env:
            tables = {name: env.open_db(name, create=False) for name in TABLES}
            with env.begin() as txn:
                head = _head(txn.get(b"schema", db=tables[b"meta"]), log_dir)
                if head is None:  # nothing tells any longer how to read it. The recorder throws it away
                    findings.count("recent_not_judged")
                    yield from events
                    return
                store = StoreCheck(txn, tables, head, findings)
                store.set_bounds(rules, _end_ns(log_dir))
                for event in events:
                    store.look(event)
                    yield event
                store.finish()
    except lmdb.Error as error:
        findings.fault("recent", f"the recent store cannot be read: {error}")
        yield from events


def _head(schema: bytes | None, log_dir: Path) -> LogHead | None:
    """How the store's events are read, and the identity of its log. One that does not say so is of schema version 1."""
    newest = log.read_head(log_dir)
    if schema is None:
        first = log.read_head(log_dir, version=1)
        return None if first is None or newest is None else first._replace(log_id=newest.log_id)
    return LogHead(log.layouts_of(json.loads(schema)), newest.log_id if newest is not None else 0)


def _of_another_boot(folder: Path) -> bool:
    try:
        return str(json.loads((folder / "owner").read_bytes())["boot"]) != BOOT.read_text().strip()
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _end_ns(log_dir: Path) -> int:
    """The last event's seq_ns of the log; nothing is pruned by a later time."""
    newest = log.segment_files(log_dir)[-2:]
    return max((event.seq_ns for path in newest for event in log.read_segment(path, Findings())), default=0)


class StoreCheck:
    """Compares the recent store, as it is at one moment, with the events that it has to hold."""

    def __init__(self, txn: lmdb.Transaction, tables: dict[bytes, Any], head: LogHead, findings: Findings):
        self.txn, self.tables, self.findings = txn, tables, findings
        self.fields = head.fields
        self.upto = self._number(b"recent_seq")
        self.numbers = {bytes(key).decode(): bytes(value) for key, value in txn.cursor(tables[b"topics"])}
        self.oldest: dict[str, int] = {}  # the first seq of each topic
        with txn.cursor(tables[b"events"]) as cursor:
            for topic, number in self.numbers.items():
                if cursor.set_range(number) and cursor.key()[:4] == number:
                    self.oldest[topic] = struct.unpack(">Q", cursor.key()[4:])[0]
        self.found: Counter[str] = Counter()
        self.newest: dict[str, Event] = {}  # of each topic, up to `upto`
        self.stretches: dict[str, tuple[int, int]] = {}  # of each topic: the present stretch of time, and its first seq
        self.looked: set[str] = set()  # topics whose present stretch was looked at
        own, known = self._number(b"log_id"), head.log_id
        if own and known and own != known:
            findings.fault("recent", f"the recent store is of log {own:016x}, the log is {known:016x}")

    def _number(self, name: bytes) -> int:
        return int(struct.unpack(">Q", self.txn.get(name, bytes(8), db=self.tables[b"meta"]))[0])

    def set_bounds(self, rules: RetentionRules, end_ns: int) -> None:
        """Computes from which seq and time on the store has to hold everything."""
        stats = [self.txn.stat(table) for table in self.tables.values()]
        used = sum(s["psize"] * (s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"]) for s in stats)
        self.roomy = used * FULL_SHARE < rules.bytes_max
        self.edge_ns = min(time.time_ns(), end_ns) - rules.kept_ns
        raw = self.txn.get(b"whole_after", db=self.tables[b"meta"])  # a store of an older program does not say
        self.begins = struct.unpack(">Q", raw)[0] + 1 if raw is not None else min(self.oldest.values(), default=0)

    def _needed(self, event: Event, topic: str) -> bool:
        if self.roomy:
            return event.seq >= self.begins and event.seq_ns >= self.edge_ns
        return event.seq >= self.oldest.get(topic, self.upto + 1)

    def look(self, event: Event) -> None:
        """Looks one event up, in the table of events and by time."""
        if event.seq > self.upto:
            return
        topic = f"{event.kind}.{event.subject}"
        self.newest[topic] = event
        number = self.numbers.get(topic)
        raw = self.txn.get(number + struct.pack(">Q", event.seq), db=self.tables[b"events"]) if number is not None else None
        needed = self._needed(event, topic)
        if raw is not None:
            self.found[topic] += 1
            self._equal(bytes(raw), event, topic, "")
        elif needed:
            self.findings.fault("recent", f"seq {event.seq} of {topic} is not in the recent store")
        self._time(event, topic, number, needed)

    def _equal(self, raw: bytes, event: Event, topic: str, where: str) -> None:
        try:
            same = next(log.decode_batch(raw, self.fields)) == event
        except UNREADABLE:
            same = False
        if not same:
            self.findings.fault("recent", f"seq {event.seq} of {topic} differs in the recent store{where}")

    def _time(self, event: Event, topic: str, number: bytes | None, needed: bool) -> None:
        """The index leads from a stretch of time to the topic's first event of it."""
        stretch = max(event.seq_ns, 0) // STRETCH_NS * STRETCH_NS
        if self.stretches.get(topic, (-1, 0))[0] != stretch:
            self.stretches[topic] = (stretch, event.seq)
            self.looked.discard(topic)
        if not needed or number is None or topic in self.looked:
            return
        self.looked.add(topic)
        raw = self.txn.get(number + struct.pack(">Q", stretch), db=self.tables[b"times"])
        first = struct.unpack(">Q", raw)[0] if raw is not None and len(raw) == 8 else 0
        if not self.stretches[topic][1] <= first <= event.seq:
            self.findings.fault("recent", f"seq {event.seq} of {topic} is not found by its time in the recent store")

    def finish(self) -> None:
        """Compares the newest event of each topic; then whatever is in the store and in neither log nor archive is a fault."""
        latest = {bytes(key).decode(errors="replace"): bytes(raw) for key, raw in self.txn.cursor(self.tables[b"latest"])}
        for topic, event in self.newest.items():
            if event.seq < self.begins:
                continue
            if topic in latest:
                self._equal(latest[topic], event, topic, ", as the latest of its topic")
            else:
                self.findings.fault("recent", f"{topic} has no latest event in the recent store; it is seq {event.seq}")
        for topic in sorted((latest.keys() | self.numbers.keys()) - self.newest.keys()):
            self.findings.fault("recent", f"{topic} is in the recent store; neither log nor archive has it")
        keys = self.txn.cursor(self.tables[b"events"]).iternext(values=False)
        there: Counter[bytes] = Counter(bytes(key[:4]) for key in keys)
        self.findings.count("recent_events", sum(there.values()))
        names = {number: topic for topic, number in self.numbers.items()}
        for number, count in there.items():
            topic = names.get(number, f"topic number {number.hex()}")
            if count != self.found[topic]:
                self.findings.fault(
                    "recent",
                    f"the recent store has {count} events of {topic}; {self.found[topic]} of them are in log or archive",
                )

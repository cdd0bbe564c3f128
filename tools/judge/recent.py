"""A naive look into the recent store, from the tables in docs/archive.md: is all there that has to be, and nothing else?

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

from tickmesh.tools.judge import log, recent_blocks
from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log import Event, LogHead

TABLES = (b"blocks", b"times", b"latest", b"topics", b"meta")
FORMAT = b"2"  # of the tables; before, there was a key for each event
BOOT = Path("/proc/sys/kernel/random/boot_id")
UNREADABLE = (*recent_blocks.UNREADABLE, KeyError, StopIteration)
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
            if _of_another_format(env):  # the recorder throws it away
                findings.count("recent_not_judged")
                yield from events
                return
            tables = {name: env.open_db(name, create=False) for name in TABLES}
            with env.begin() as txn:
                head = _head(txn.get(b"schema", db=tables[b"meta"]), log_dir)
                store = StoreCheck(txn, tables, head, findings)
                store.set_bounds(rules, _end_ns(log_dir))
                for event in events:
                    store.look(event)
                    yield event
                store.finish()
    except lmdb.Error as error:
        findings.fault("recent", f"the recent store cannot be read: {error}")
        yield from events


def _of_another_format(env: lmdb.Environment) -> bool:
    meta = env.open_db(b"meta", create=False)
    with env.begin(db=meta) as txn:
        return bytes(txn.get(b"format", b"1")) != FORMAT


def _head(schema: bytes | None, log_dir: Path) -> LogHead:
    """How the store's events are read, and the identity of its log."""
    newest = log.read_head(log_dir)
    return LogHead(log.layouts_of(json.loads(schema or b"{}")), newest.log_id if newest is not None else 0)


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
        self.header_bytes = log.record_layout(self.fields["header"])[0].size if self.fields else 0
        self.upto = self._number(b"recent_seq")
        self.numbers = {bytes(key).decode(): bytes(value) for key, value in txn.cursor(tables[b"topics"])}
        self.firsts: dict[bytes, list[int]] = {}  # of each topic number, the seqs that its blocks are kept under, in order
        for key in txn.cursor(tables[b"blocks"]).iternext(values=False):
            self.firsts.setdefault(bytes(key[:4]), []).append(struct.unpack(">Q", key[4:])[0])
        self.oldest = {topic: self.firsts[number][0] for topic, number in self.numbers.items() if number in self.firsts}
        self.opened: dict[bytes, dict[int, bytes]] = {}  # of each topic number, the events of the block that was opened last
        self.next: Counter[bytes] = Counter()  # how many of its blocks were opened
        self.kept: Counter[bytes] = Counter()  # how many events its blocks have
        self.found: Counter[str] = Counter()
        self.newest: dict[str, Event] = {}  # of each topic, up to `upto`
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
        raw = self._stored(number, event.seq) if number is not None else None
        if raw is not None:
            self.found[topic] += 1
            self._equal(raw, event, topic, "")
        elif self._needed(event, topic):
            self.findings.fault("recent", f"seq {event.seq} of {topic} is not in the recent store")

    def _stored(self, number: bytes, seq: int) -> bytes | None:
        """The event that the store has under this seq; topics are looked through in order."""
        firsts = self.firsts.get(number, [])
        while self.next[number] < len(firsts) and firsts[self.next[number]] <= seq:
            self._open_next(number)
        return self.opened.get(number, {}).get(seq)

    def _open_next(self, number: bytes) -> None:
        """Opens a topic's next block: it has what its head says, it begins where its key says, and its time leads to it."""
        first = self.firsts[number][self.next[number]]
        self.next[number] += 1
        last = max(self.opened.get(number, {}), default=0)
        self.opened[number] = {}
        where = f"the block of the recent store that begins with seq {first} of topic number {number.hex()}"
        try:
            block = recent_blocks.read_block(
                bytes(self.txn.get(number + struct.pack(">Q", first), b"", db=self.tables[b"blocks"]))
            )
            raws = recent_blocks.events_of(block, self.header_bytes)
            events = [next(log.decode_batch(raw, self.fields)) for raw in raws]
        except UNREADABLE as error:
            self.findings.fault("recent", f"{where} cannot be read: {error!r}")
            return
        seqs = [event.seq for event in events]
        self.kept[number] += len(seqs)
        self.opened[number] = dict(zip(seqs, raws, strict=True))
        ends = (seqs[0], seqs[-1], events[0].seq_ns, events[-1].seq_ns) if seqs else ()
        if ends != (first, block.last_seq, block.first_ns, block.last_ns) or seqs != sorted(set(seqs)) or first <= last:
            self.findings.fault("recent", f"{where} has other events than it says, or not in order")
        self._time(number, first, block.first_ns, where)

    def _time(self, number: bytes, first: int, first_ns: int, where: str) -> None:
        """The index by time leads to the block, or to one before it of the same time."""
        raw = self.txn.get(number + struct.pack(">Q", max(first_ns, 0)), db=self.tables[b"times"])
        leads = struct.unpack(">Q", raw)[0] if raw is not None and len(raw) == 8 else 0
        if leads != first and (leads > first or leads not in self.firsts[number]):
            self.findings.fault("recent", f"{where} is not found by its time")

    def _equal(self, raw: bytes, event: Event, topic: str, where: str) -> None:
        try:
            same = next(log.decode_batch(raw, self.fields)) == event
        except UNREADABLE:
            same = False
        if not same:
            self.findings.fault("recent", f"seq {event.seq} of {topic} differs in the recent store{where}")

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
        names = {number: topic for topic, number in self.numbers.items()}
        for number, firsts in self.firsts.items():
            while self.next[number] < len(firsts):
                self._open_next(number)
            topic = names.get(number, f"topic number {number.hex()}")
            if self.kept[number] != self.found[topic]:
                kept, found = self.kept[number], self.found[topic]
                sentence = f"the recent store has {kept} events of {topic}; {found} of them are in log or archive"
                self.findings.fault("recent", sentence)
        self._times_lead_to_blocks()
        self.findings.count("recent_events", sum(self.kept.values()))

    def _times_lead_to_blocks(self) -> None:
        for key, value in self.txn.cursor(self.tables[b"times"]):
            number, first = bytes(key[:4]), struct.unpack(">Q", value)[0] if len(value) == 8 else 0
            if first not in self.firsts.get(number, []):
                self.findings.fault("recent", f"a time of topic number {number.hex()} in the recent store leads to no block")

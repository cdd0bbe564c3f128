"""Rows of files into events of a log: through the sequencer's own arbitration, numbered and stamped as if heard. No I/O.

The time of the log is that of the rows, so what follows from it is a pure function of the files and their order.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import GapState, Kind, Reason
from tickmesh.bus.settings import LogSettings
from tickmesh.bus.wire import Event, decode, encode, kind_of, stamp_sent, stamp_sequenced
from tickmesh.nodes.feed.streams import Key, key_in, key_of, subject_of, topic_of
from tickmesh.nodes.sequencer.arbiter import ARBITRATED, Arbiter
from tickmesh.nodes.sequencer.recovery import observe
from tickmesh.nodes.venues.parsing.rising import RisingIds
from tickmesh.tools.importing.rows import RAW_SHOWN, OddRow, Row
from tickmesh.tools.importing.state import ImportState

NAME = "import"
KEPT = frozenset((Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.gap, Kind.refusal, Kind.alert, Kind.run))
TOLD = frozenset((int(Kind.gap), int(Kind.refusal), int(Kind.alert)))  # kinds of which a person is told more than a number
EPOCH = 1
_PRODUCER = producer_bytes(NAME)
ODD_SHOWN = 20


class OddPlace(NamedTuple):
    """A row that was not taken, as a person is told of it."""

    file: str
    line: int
    why: str


class Tally:
    """What an import was, for the person who imports.

    `missing`: ids by topic; `odd`: the first ODD_SHOWN rows not taken, `odd_of`: how many, by
    file; `refused`: events that arbitration refused, with their bytes in the log; `duplicates`: copies of what was there;
    `waiting`: events left out, whose ids nothing that came later confirmed or refuted; `alerts`: about ids that cannot be.
    """

    def __init__(self) -> None:
        self.counted: Counter[Key] = Counter()
        self.missing: Counter[str] = Counter()
        self.odd: list[OddPlace] = []
        self.odd_of: Counter[str] = Counter()
        self.refused = self.duplicates = self.waiting = 0
        self.alerts: list[str] = []

    @property
    def events(self) -> dict[str, int]:
        """How many events there are, by topic."""
        return {topic_of(key): count for key, count in sorted(self.counted.items())}

    def take(self, key: Key, event: bytearray) -> None:
        """Counts an event of the log. `key`: of its topic."""
        self.counted[key] += 1
        if key[0] in TOLD:
            self._take_statement(decode(event))

    def _take_statement(self, head: Event) -> None:
        if head.kind == Kind.refusal and head.subject != NAME:
            self.refused += 1
        elif head.kind == Kind.alert:
            self.alerts.append(f"{head.map()['why']}; {head.map()['action']}")
        elif head.kind == Kind.gap:
            for record in head.records:
                if record["state"] == GapState.unrecoverable:
                    topic = f"{Kind(int(record['stream'])).name}.{head.subject}"
                    self.missing[topic] += int(record["last_id"]) - int(record["first_id"]) + 1

    def take_odd(self, file: str, odd: OddRow) -> None:
        """Counts a row that cannot be read."""
        self.odd_of[file] += 1
        if len(self.odd) < ODD_SHOWN:
            self.odd.append(OddPlace(file, odd.line, odd.why))


class Assembly:
    """The log of an import, continued where `state` has it. Every call gives events with seq, time and link."""

    def __init__(self, state: ImportState, tally: Tally):
        self.state, self.tally = state, tally
        self.hold_ns = LogSettings().hold_ms * 1_000_000
        self.arbiter = Arbiter(self.hold_ns)
        self.arbiter.restore(state.arbitration())
        self.seq, self.seq_ns, self.number = state.seq, state.seq_ns, state.number
        self.links = {_key(topic): seq for topic, seq in state.links.items()}
        self._subjects: dict[Key, str] = {}  # of keys seen
        self.counters = {key: _counter(last) for key, last in state.counted.items()}
        self.offered = 0  # to arbitration, of this group

    def ids(self, kind: Kind, subject: str) -> RisingIds:
        """The counter of a stream whose files have no ids; it goes on from file to file."""
        return self.counters.setdefault(f"{kind.name}.{subject}", RisingIds())

    def begin(self, content: dict[str, object], definitions: Iterable[bytearray], at_ns: int) -> list[bytearray]:
        """The `run` event with which a group of files begins, and the definitions that are said by hand."""
        run = encode(Kind.run, NAME, {"node": NAME, "log_id": self.state.log_id, **content})
        return [self._sequenced(one, at_ns) for one in (run, *definitions)]

    def take(self, row: Row) -> Iterator[bytearray]:
        """Takes a row's event; gives what goes into the log now."""
        if row.settled:
            yield self._settled(row)
            return
        key = key_in(row.event)
        out = self.arbiter.due(row.at_ns)
        if key[0] in ARBITRATED:
            self.offered += 1
            subject = self._subjects.get(key) or self._subjects.setdefault(key, subject_of(key))
            out += self.arbiter.offer(key[0], subject, NAME, self.offered, row.event, row.at_ns)
        else:
            out.append(row.event)
        yield from self._kept(out, row.at_ns)

    def take_odd(self, file: str, odd: OddRow) -> bytearray:
        """Takes a row that cannot be read: it is in the log as a refusal, with its bytes."""
        self.tally.take_odd(file, odd)
        content = {"node": NAME, "why": odd.why, "file": file, "line": odd.line, "raw": odd.raw[:RAW_SHOWN]}
        return self._sequenced(encode(Kind.refusal, NAME, content), odd.at_ns)

    def end(self) -> Iterator[bytearray]:
        """What waited for more rows, when all files of a group are read: holes are given up, and stay so."""
        if not self.offered:
            return  # all of it had been arbitrated before
        out = self.arbiter.due(self.seq_ns + 2 * self.hold_ns + 1) + self.arbiter.end()
        for stream in self.arbiter.in_order():
            if stream.gaps:
                self.arbiter.trade_gaps.lose_all(stream, Reason.skipped, out)
        yield from self._kept(out, self.seq_ns)
        self.tally.waiting += len(self.arbiter.held_numbers(NAME))
        self.tally.duplicates += self.arbiter.copies.duplicates.get(NAME, 0)

    def keep(self) -> None:
        """Puts into `state` where the log is now."""
        self.state.seq, self.state.seq_ns, self.state.number = self.seq, self.seq_ns, self.number
        self.state.links = {topic_of(key): seq for key, seq in self.links.items()}
        self.state.counted = {key: counter.last for key, counter in self.counters.items()}
        self.state.keep_arbitration(self.arbiter.state())

    # -- inner works

    def _kept(self, out: Iterable[bytearray], at_ns: int) -> Iterator[bytearray]:
        return (self._sequenced(event, at_ns) for event in out if kind_of(event) in KEPT)

    def _settled(self, row: Row) -> bytearray:
        """An event that has been arbitrated stands at the very time of its log, as it is."""
        self.seq_ns = max(self.seq_ns, row.at_ns) - 1
        event = self._sequenced(row.event, row.at_ns)
        observe(self.arbiter, decode(event))
        return event

    def _sequenced(self, event: bytearray, at_ns: int) -> bytearray:
        key = key_in(event)
        self.tally.take(key, event)
        self.seq_ns = max(self.seq_ns + 1, at_ns)
        self.seq += 1
        self.number += 1
        stamp_sent(event, _PRODUCER, EPOCH, self.number, 0)
        stamp_sequenced(event, self.seq, self.links.get(key, 0), self.seq_ns)
        self.links[key] = self.seq
        return event


def _key(topic: str) -> Key:
    kind, _, subject = topic.partition(".")
    return key_of(Kind[kind], subject)


def _counter(last: int) -> RisingIds:
    found = RisingIds()
    found.last = last
    return found

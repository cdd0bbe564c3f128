"""What must hold for a log by itself: order, numbers, links, and that nothing was published twice."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgpack

from tickmesh.tools.judge.findings import Findings
from tickmesh.tools.judge.log import Event
from tickmesh.tools.judge.pace import PaceCheck
from tickmesh.tools.judge.streams import StreamCheck

# Of what several lines bring, the log has one copy: numbers of the others are not in it.
SEVERAL = ("feed", "backfill")


class LogChecks:
    """Checks every event once, in order: seq, times, links, producers' numbers, and that nothing was published twice."""

    def __init__(self, findings: Findings, first_seq: int):
        self.findings = findings
        self.first_seq = first_seq  # older events have been released; links may point there
        self.seq = first_seq - 1
        self.seq_ns = 0
        self.links: dict[tuple[str, str], int] = {}
        self.numbers: dict[tuple[str, int], bytearray] = defaultdict(bytearray)
        self.derived: set[tuple[str, int, int]] = set()  # producer, cause_seq, k
        self.intents: set[bytes] = set()
        self.fills: set[tuple[str, int, int, bytes]] = set()  # subject, trade id, order id, client order id
        self.streams = StreamCheck(findings)
        self.pace = PaceCheck(findings)
        self.archived_seq = 0
        self.recent_seq = 0
        self.newest: dict[tuple[str, int], int] = {}  # number of each producer's epoch

    def watch(self, events: Iterable[Event]) -> Iterator[Event]:
        """Checks events and passes them on."""
        for event in events:
            self.look(event)
            yield event

    def look(self, event: Event) -> None:
        """Checks one event."""
        self.findings.count("events")
        self._order(event)
        self._number(event)
        self.pace.look(event)
        if event.kind in ("trade", "quote", "depth", "gap"):
            self.streams.look(event)
        elif event.kind in ("signal", "intent"):
            self._derived(event)
        elif event.kind == "fill":
            self._fill(event)
        elif event.kind == "watermark":
            self.archived_seq, self.recent_seq = event.records[-1]
        elif event.kind == "refusal":
            self.findings.count("refusals")
        if isinstance(event.records, bytes):
            self._packed(event)

    def _order(self, event: Event) -> None:
        if event.seq != self.seq + 1:
            self.findings.fault("seq", f"seq {event.seq} follows {self.seq}")
        self.seq = event.seq
        if event.seq_ns < self.seq_ns:
            self.findings.fault("seq_ns", f"seq {event.seq}: seq_ns goes back by {self.seq_ns - event.seq_ns} ns")
        self.seq_ns = event.seq_ns
        topic = (event.kind, event.subject)
        known = self.links.get(topic)
        if event.link != known and not (known is None and event.link < self.first_seq):
            self.findings.fault("link", f"seq {event.seq}: link {event.link}, but its topic's last event is {known or 0}")
        self.links[topic] = event.seq

    def _number(self, event: Event) -> None:
        seen = self.numbers[event.producer, event.epoch]
        if event.number >= len(seen):
            seen.extend(bytes(max(event.number + 1 - len(seen), 4096)))
        if seen[event.number]:
            self.findings.fault("number", f"seq {event.seq}: {event.producer} number {event.number} is there twice")
        if event.number == 0:
            self.findings.fault("number", f"seq {event.seq}: {event.producer} has no number")
        before = self.newest.get((event.producer, event.epoch), 0 if self.first_seq == 1 else event.number - 1)
        if event.number > before + 1 and not event.producer.startswith(SEVERAL):
            self.findings.fault(
                "number_hole",
                f"seq {event.seq}: {event.producer} number {event.number} follows {before}; what is between is lost",
            )
        self.newest[event.producer, event.epoch] = max(before, event.number)
        seen[event.number] = 1

    def _derived(self, event: Event) -> None:
        self.findings.count(f"{event.kind}s")
        key = (event.producer, event.cause_seq, event.k)
        if key in self.derived:
            self.findings.fault("said_twice", f"seq {event.seq}: {event.producer} answers seq {event.cause_seq} again")
        self.derived.add(key)
        if not 0 < event.cause_seq < event.seq:
            self.findings.fault("cause", f"seq {event.seq}: its cause is seq {event.cause_seq}")
        if event.kind == "intent":
            for record in event.records:
                if record[0] in self.intents:
                    self.findings.fault("order_twice", f"seq {event.seq}: client order id {record[0].decode()} again")
                self.intents.add(record[0])

    def _fill(self, event: Event) -> None:
        for client_order_id, _side, _maker, order_id, trade_id, *_ in event.records:
            self.findings.count("fills")
            key = (event.subject, trade_id, order_id, client_order_id)  # two own orders may trade with each other
            if key in self.fills:
                self.findings.fault("fill_twice", f"seq {event.seq}: fill of trade {trade_id} is there twice")
            self.fills.add(key)

    def _packed(self, event: Event) -> None:
        try:
            msgpack.unpackb(event.records)
        except ValueError as error:
            self.findings.fault("msgpack", f"seq {event.seq}: {event.kind}.{event.subject} cannot be unpacked: {error}")

"""An arbiter fed from several lines."""

import numpy as np

from tickmesh.bus.layout import header_slice
from tickmesh.bus.schema import DEPTH, GAP, QUOTE, TRADE, Flag, GapState, Kind, Reason
from tickmesh.bus.wire import decode, encode
from tickmesh.nodes.sequencer.arbiter import Arbiter

SUBJECT = "binance.BTCUSDT"


HOLD = 100


def event(kind, first, last, snapshot=False, reset=False, subject=SUBJECT, recv_ns=0):
    """Builds a trade, quote or depth event with these ids, without a producer."""
    records = np.zeros(1, {Kind.trade: TRADE, Kind.quote: QUOTE, Kind.depth: DEPTH}[kind])
    if kind == Kind.trade:
        records["trade_id"] = last
    flags = snapshot * Flag.SNAPSHOT | reset * Flag.RESET
    return encode(kind, subject, records, first_id=first, last_id=last, flags=flags, recv_ns=recv_ns)


def trades(*ids, flags=0, venue_ns=0):
    """One event of several trades; an id that is a pair is a trade that stands for all ids from the one to the other."""
    spans = [one if isinstance(one, tuple) else (one, one) for one in ids]
    records = np.zeros(len(spans), TRADE)
    records["trade_id"] = [last for _, last in spans]
    return encode(Kind.trade, SUBJECT, records, first_id=spans[0][0], last_id=spans[-1][1], flags=flags, venue_ns=venue_ns)


def unrecoverable(first, last, reason=Reason.retention, stream=Kind.trade):
    """Builds the record of a gap that is given up."""
    record = np.zeros(1, GAP)
    record[0] = (first, last, stream, GapState.unrecoverable, reason, 0, 0, 0, 0)
    return record


class Lines:
    """Feeds an arbiter from several lines and keeps what comes out."""

    def __init__(self):
        self.arbiter = Arbiter(HOLD)
        self.out = []
        self.now = 0
        self.number = {}

    def next_number(self, line):
        """The next number of a line's events."""
        self.number[line] = self.number.get(line, 0) + 1
        return self.number[line]

    def offer(self, line, kind, first, last=None, snapshot=False, reset=False, subject=SUBJECT):
        """Offers an event with these ids to the arbiter, as from a line; gives what comes out."""
        raw = event(kind, first, first if last is None else last, snapshot, reset, subject, recv_ns=self.now)
        return self.offer_raw(line, kind, raw, subject)

    def offer_raw(self, line, kind, raw, subject=SUBJECT):
        """Offers an event that was built before; gives what comes out."""
        number = self.next_number(line)
        raw[header_slice("number")] = number.to_bytes(8, "little")
        published = list(map(decode, self.arbiter.offer(kind, subject, line, number, raw, self.now)))
        self.out += published
        return published

    def declare(self, records):
        """Offers a gap that backfill gives up."""
        self.next_number("backfill")
        self.out += map(decode, self.arbiter.declare(SUBJECT, "backfill", records))

    def connect(self, line):
        """Tells the arbiter that a line has connected anew."""
        self.arbiter.connected(line, self.next_number(line), SUBJECT)

    def wait(self, ns):
        """Lets time pass, and the arbiter give out what it has held long enough."""
        self.now += ns
        self.out += map(decode, self.arbiter.due(self.now))

    def ids(self, kind=Kind.trade):
        """Last ids of all events of a kind that came out."""
        return [e.last_id for e in self.out if e.kind == kind]

    def gaps(self):
        """(first id, last id, state) of every gap that came out."""
        return [tuple(r.tolist()[i] for i in (0, 1, 3)) for e in self.out if e.kind == Kind.gap for r in e.records]

    def reasons(self):
        """The reason of every gap that came out."""
        return [Reason(int(r["reason"])) for e in self.out if e.kind == Kind.gap for r in e.records]

"""Feed arbitration: the same stream over N lines, first arrival of each venue id wins.

Trades and depth changes have contiguous ids: an event that skips some is held until another line fills them, or until
`hold_ns` has passed; then a `gap` is said. Quotes have rising ids with holes: there a line that has just connected is
held until it overlaps with what is known, so that it cannot overtake another line that is still behind.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from bus.schema import GAP, HEADER, Flag, GapState, Kind
from bus.wire import encode, set_flags

CONTIGUOUS = (Kind.trade, Kind.depth)
ARBITRATED = frozenset((int(Kind.trade), int(Kind.quote), int(Kind.depth)))
MISSING_MAX = 1000  # open gaps remembered per stream, so that a late event is known as one
HELD_MAX = 50_000  # events held per stream; beyond it the oldest hole is given up at once


class Offer(NamedTuple):
    """One event of one line, with what arbitration needs of its header."""

    line: str
    number: int
    first_id: int
    last_id: int
    snapshot: bool
    venue_ns: int
    event: bytearray
    fresh: bool = False  # the first one of its line's connection


class Stream:
    """One topic's state. `last`: highest id taken (None: nothing yet)."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.venue_ns = 0
        self.synced = False  # depth: a snapshot has been taken and the chain is whole since
        self.joined: set[str] = set()  # quotes: lines that are known to overlap
        self.connecting: set[str] = set()  # lines whose next event is the first of a connection
        self.missing: list[list[int]] = []  # inclusive ranges that were declared a gap
        self.held: dict[str, deque[tuple[int, Offer]]] = {}  # line → (deadline, offer), in the line's order

    def state(self) -> list:
        return [self.last, self.venue_ns, self.synced, sorted(self.joined), self.missing]

    def restore(self, state: list) -> None:
        self.last, self.venue_ns, self.synced, joined, self.missing = state
        self.joined = set(joined)


_FIELDS = {name: HEADER.fields[name][1] for name in HEADER.names or ()}  # type: ignore[index]


def offer_of(line: str, number: int, event: bytearray) -> Offer:
    def i8(name: str) -> int:
        at = _FIELDS[name]
        return int.from_bytes(event[at : at + 8], "little", signed=True)

    snapshot = bool(event[_FIELDS["flags"]] & Flag.SNAPSHOT)
    return Offer(line, number, i8("first_id"), i8("last_id"), snapshot, i8("venue_ns"), event)


class Arbiter:
    """Decides for every market event whether it goes into the log now, later or not.

    `hold_ns`: how long a skipped id may be filled by another line. All times are a monotonic clock's.
    """

    def __init__(self, hold_ns: int):
        self.hold_ns = hold_ns
        self.streams: dict[tuple[int, str], Stream] = {}
        self.duplicates: dict[str, int] = {}
        self.stale_snapshots = 0
        self.gaps = 0
        self.late = 0
        self._holding: set[tuple[int, str]] = set()

    def connected(self, line: str, subject: str = "") -> None:
        """The line has a new connection (for one subject, or for all): what comes next need not follow on what came."""
        for (kind, name), stream in self.streams.items():
            if kind == Kind.quote and subject in ("", name):
                stream.connecting.add(line)

    def offer(self, kind: int, subject: str, line: str, number: int, event: bytearray, now: int) -> list[bytearray]:
        """What goes into the log because of this event, in order."""
        key = (kind, subject)
        stream = self.streams.get(key)
        if stream is None:
            stream = self.streams[key] = Stream()
        one = offer_of(line, number, event)
        if line in stream.connecting:
            stream.connecting.discard(line)
            one = one._replace(fresh=True)
        out: list[bytearray] = []
        queue = stream.held.get(line)
        if queue or not self._settle(key, stream, one, out):
            if queue is None:
                queue = stream.held.setdefault(line, deque())
            queue.append((now + self.hold_ns, one))
            self._holding.add(key)
            if len(queue) > HELD_MAX:
                self._give_up(key, stream, out)
        elif out and stream.held:
            self._drain(key, stream, out)
        return out

    def due(self, now: int) -> list[bytearray]:
        """What goes into the log because nothing filled a hole in time."""
        out: list[bytearray] = []
        for key in sorted(self._holding):
            stream = self.streams[key]
            while stream.held and min(queue[0][0] for queue in stream.held.values()) <= now:
                self._give_up(key, stream, out)
            if not stream.held:
                self._holding.discard(key)
        return out

    def _settle(self, key: tuple[int, str], stream: Stream, one: Offer, out: list[bytearray]) -> bool:
        """Takes or drops the event if that is decided; False if it has to wait."""
        last = stream.last
        if one.fresh:
            stream.joined.discard(one.line)
        if last is None:
            stream.joined.add(one.line)
            self._take(stream, one, out)
            return True
        if one.snapshot:
            return self._settle_snapshot(stream, one, last, out)
        if one.last_id <= last:
            stream.joined.add(one.line)
            if stream.missing and key[0] == Kind.trade and self._fill(key, stream, one, out):
                return True
            self._drop(one)
            return True
        if key[0] == Kind.quote:
            if one.line not in stream.joined:
                return False
        elif one.first_id > last + 1:
            return False
        self._take(stream, one, out)
        return True

    def _settle_snapshot(self, stream: Stream, one: Offer, last: int, out: list[bytearray]) -> bool:
        """A snapshot's first_id is the first change that follows it on its line: a hole before that is a hole."""
        if one.first_id > last + 1:
            return False
        if stream.synced or one.last_id < last:
            self.stale_snapshots += not stream.synced
            self._drop(one)
        else:
            self._take(stream, one, out)
        return True

    def _take(self, stream: Stream, one: Offer, out: list[bytearray]) -> None:
        stream.last = one.last_id
        stream.venue_ns = one.venue_ns
        stream.synced = stream.synced or one.snapshot
        out.append(one.event)

    def _drop(self, one: Offer) -> None:
        self.duplicates[one.line] = self.duplicates.get(one.line, 0) + 1

    def _fill(self, key: tuple[int, str], stream: Stream, one: Offer, out: list[bytearray]) -> bool:
        """A late event of a declared gap: taken after all, flagged as repaired."""
        for index, (low, high) in enumerate(stream.missing):
            if low <= one.last_id <= high:
                rest = [[low, one.last_id - 1], [one.last_id + 1, high]]
                stream.missing[index : index + 1] = [r for r in rest if r[0] <= r[1]]
                set_flags(one.event, one.event[_FIELDS["flags"]] | Flag.REPAIRED)
                out.append(one.event)
                self.late += 1
                out.append(self._gap(key, one.last_id, one.last_id, GapState.repaired, 0, one.venue_ns))
                return True
        return False

    def _drain(self, key: tuple[int, str], stream: Stream, out: list[bytearray]) -> None:
        """Held events that are decided now that `last` has moved; each line in its own order."""
        moved = True
        while moved:
            moved = False
            for line in sorted(stream.held):
                queue = stream.held[line]
                while queue and self._settle(key, stream, queue[0][1], out):
                    queue.popleft()
                    moved = True
                if not queue:
                    del stream.held[line]

    def _give_up(self, key: tuple[int, str], stream: Stream, out: list[bytearray]) -> None:
        """The held event with the smallest id goes on; what is before it is a gap."""
        _, one = min((queue[0] for queue in stream.held.values()), key=lambda pair: (pair[1].first_id, pair[1].line))
        queue = stream.held[one.line]
        queue.popleft()
        if not queue:
            del stream.held[one.line]
        if key[0] == Kind.quote:
            stream.joined.add(one.line)  # whether quotes are missing cannot be known from ids with holes
        else:
            low, high = (stream.last or 0) + 1, one.first_id - 1
            self.gaps += 1
            stream.synced = False
            stream.missing.append([low, high])
            del stream.missing[:-MISSING_MAX]
            out.append(self._gap(key, low, high, GapState.open, stream.venue_ns, one.venue_ns))
        self._take(stream, one, out)
        self._drain(key, stream, out)

    @staticmethod
    def _gap(key: tuple[int, str], low: int, high: int, state: GapState, before_ns: int, after_ns: int) -> bytearray:
        record = np.zeros(1, GAP)
        record[0] = (low, high, key[0], state, 0, 0, before_ns, after_ns, 0)
        return encode(Kind.gap, key[1], record, first_id=low, last_id=high)

    def held_numbers(self, line: str) -> list[int]:
        """Numbers of a line's events that wait: its cursor stays before the smallest."""
        return [one.number for key in self._holding for _, one in self.streams[key].held.get(line, ())]

    def observe(self, kind: int, subject: str, line: str, event: bytearray) -> None:
        """An event that is in the log already (recovery)."""
        stream = self.streams.setdefault((kind, subject), Stream())
        one = offer_of(line, 0, event)
        if one.snapshot:
            stream.synced = True
        stream.joined.add(line)
        if stream.last is None or one.last_id > stream.last:
            stream.last, stream.venue_ns = one.last_id, one.venue_ns
        else:
            self._fill((kind, subject), stream, one, [])

    def observe_gap(self, subject: str, stream_kind: int, low: int, high: int, state: int) -> None:
        stream = self.streams.setdefault((stream_kind, subject), Stream())
        if state == GapState.open:
            stream.synced = False
            stream.missing.append([low, high])

    def state(self) -> dict:
        return {f"{kind} {subject}": stream.state() for (kind, subject), stream in self.streams.items()}

    def restore(self, state: dict) -> None:
        for key, value in state.items():
            kind, _, subject = key.partition(" ")
            self.streams.setdefault((int(kind), subject), Stream()).restore(value)

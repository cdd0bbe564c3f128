"""The executor's own step along a tape: it is given what may wake it, and of the rest only the newest of each instrument."""

from collections import deque
from collections.abc import Sequence

import numpy as np

from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.wire import Event, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.executor.node import Step
from tickmesh.nodes.executor.ordering import MARKS
from tickmesh.nodes.executor.styles.interface import Trigger
from tickmesh.nodes.executor.trigger_kernel import TRADE, TRIGGER, first_fired, mark_rows
from tickmesh.nodes.executor.waiting import Awaited
from tickmesh.research.backtest.tape import MarketTape
from tickmesh.research.backtest.venue_kernel import BOOK, QUOTE
from tickmesh.storage.query.times import ReadError

SEQ_BITS = 16  # events that are caused here lie between two of the log: seq × 2^16 + 1, + 2 …
LOG_ID = "00ba0000000000e5"  # in client order ids
SILENCE_NS = 100_000_000  # without an event for so long the sequencer says what time it is


class ExecutorFollower:
    """Stamps events as a sequencer does, hands them to the step, and reads back what it says.

    `every_event`: it is given every row (what skipping is compared with). `wakes`: how often it was called.
    """

    def __init__(self, step: Step, subjects: Sequence[str], every_event: bool = False):
        self.step = step
        self._subjects = subjects
        self._every_event = every_event
        self._seq = 0
        self._numbers: dict[str, int] = {}
        self._producers: dict[str, bytes] = {}
        self.now_ns = 0  # of the last event that it was given
        self.wakes = 0
        self._seen = 0  # rows of the tape that it knows of
        self._quotes: list[np.ndarray] = []  # by slot: its quotes among the tape's rows
        self._trades: list[np.ndarray] = []
        self._odd = np.zeros(0, "i8")  # rows with quotes that are not tradable
        self._marks = np.zeros(2 * MARKS, "i8")
        self._timed: list[np.ndarray] = []  # where it counts how late data came: quotes that say it

    # Along the tape

    def begin_tape(self, tape: MarketTape, seen: int) -> None:
        """Goes on with another tape, of which the first `seen` rows are none of its business."""
        self._tape, self._seen = tape, seen
        rows, triggers = tape.market.rows, tape.triggers
        quotes, trades = np.flatnonzero(rows["what"] == QUOTE), np.flatnonzero(triggers["what"] == TRADE)
        slots = range(len(self._subjects))
        self._quotes = [quotes[rows["slot"][quotes] == slot] for slot in slots]
        self._trades = [trades[rows["slot"][trades] == slot] for slot in slots]
        last = tape.market.quotes[rows["first"][quotes] + rows["count"][quotes] - 1]
        crossed = (last["bid_ticks"] <= 0) | (last["ask_ticks"] <= last["bid_ticks"])
        self._odd = quotes[crossed | (last["bid_lots"] <= 0) | (last["ask_lots"] <= 0)]
        sound = quotes[rows["flags"][quotes] & int(Flag.REPAIRED) == 0] if len(tape.times) else quotes[:0]
        self._timed = [sound[rows["slot"][sound] == slot] for slot in slots]

    def next_wake(self, begin: int, end: int) -> tuple[int, int]:
        """(the first of the tape's rows [begin, end) at which it has to be asked, or `end`; when something is due anyhow)."""
        wait = self.step.waiting()
        if self._every_event:
            rows = self._tape.market.rows["what"][begin:end] != BOOK
            wake = begin + int(np.argmax(rows)) if rows.any() else end
            return wake, _until(wait)
        triggers = np.zeros(len(wait.triggers) + 1, TRIGGER)
        triggers[0] = (-1, *Trigger(time_ns=wait.time_ns if wait.marks_only else min(wait.time_ns, wait.mark_ns)))
        volumes = np.zeros(len(self._subjects), "i8")
        for place, (subject, trigger) in enumerate(wait.triggers.items(), 1):
            slot = self._subjects.index(subject) if subject in self._subjects else -1
            triggers[place] = (slot, *trigger)
            if slot >= 0:
                volumes[slot] = self.step.state.instruments[subject].market.traded_lots + self._unseen_lots(slot, begin)
        fired = np.zeros(len(triggers), "u1")
        odd = min(self._next_odd(begin), end) if wait.marks_only else end
        wake = int(first_fired(self._tape.triggers, begin, odd, triggers, volumes, fired))
        return wake, _until(wait)

    def _next_odd(self, row: int) -> int:
        """The first row at or after this one with a quote by which nothing can be valued; one beyond all rows for none."""
        place = int(np.searchsorted(self._odd, row))
        return int(self._odd[place]) if place < len(self._odd) else len(self._tape.market.rows)

    def _unseen_lots(self, slot: int, row: int) -> int:
        places = self._trades[slot]
        own = places[np.searchsorted(places, self._seen) : np.searchsorted(places, row)]
        return int(self._tape.triggers["lots"][own].sum())

    def see(self, row: int) -> list[Event]:
        """Brings it up to this row of the tape, that one included; gives what it says."""
        if row < self._seen:
            return []
        before = self.see(row - 1) if self._next_odd(row) == row else []  # what was valued at a mark is so from now on
        mark = self._pass_marks(row)
        sequenced = self._sequenced_to(mark) if self._seen <= mark < row else []
        sequenced += self._sequenced_to(row)
        answers = self._given(sequenced) if sequenced else []
        last = int(self._tape.market.rows["seq"][row]) << SEQ_BITS
        self._seq = max(self._seq, last)  # whatever it was given: what follows is named by this row
        return before + answers

    def _pass_marks(self, row: int) -> int:
        """Notes the marks up to this row but for the last one, and gives the row of that, which it is to be given; −1: none."""
        rows = self._tape.market.rows
        count = int(mark_rows(self._tape.triggers, self._seen, row + 1, *self.step.mark_pace, self._marks))
        if not count:
            return -1
        places = [int(self._marks[number % len(self._marks)]) for number in range(max(count - len(self._marks), 0), count)]
        self.step.note_marks(((int(rows["seq"][at]) << SEQ_BITS) + 1, int(rows["seq_ns"][at])) for at in places[:-1])
        return places[-1]

    def _sequenced_to(self, row: int) -> list[Event]:
        """What it is given up to this row of the tape, stamped: the newest of what it has not seen."""
        rows = self._tape.market.rows
        events: list[tuple[int, bytearray]] = []
        for slot in range(len(self._subjects)):
            trades = self._trades[slot]
            newest = {_newest(places, row) for places in (self._quotes[slot], self._timed[slot])}
            events += [(place, self._event_of(place)) for place in newest if place >= self._seen]
            own = trades[np.searchsorted(trades, self._seen) : np.searchsorted(trades, row, "right")]
            if len(own) and own[-1] == row:  # by itself: the prices of the others have woken nobody
                events.append((row, self._event_of(row)))
                own = own[:-1]
            if len(own):
                events.append((int(own[-1]), self._volume_of(own)))
        if rows[row]["what"] != BOOK and all(place != row for place, _ in events):
            events.append((row, self._event_of(row)))
        self._seen = row + 1
        events.sort(key=lambda one: one[0])
        sequenced = []
        for place, event in events:
            self._seq = max(self._seq, int(rows["seq"][place]) << SEQ_BITS)
            sequenced.append(self._stamped(event, "feed", int(rows["seq_ns"][place])))
        return sequenced

    def _event_of(self, row: int) -> bytearray:
        one, market = self._tape.market.rows[row], self._tape.market
        kind = Kind(int(one["kind"]))
        records = {Kind.quote: market.quotes, Kind.trade: market.trades}.get(kind, self._tape.others.get(kind))
        assert records is not None, "rows are of the kinds that the tape has"
        own = records[int(one["first"]) : int(one["first"] + one["count"])]
        subject, flags = self._subjects[int(one["slot"])], int(one["flags"])
        return encode(kind, subject, np.ascontiguousarray(own), flags=flags, **self._times_of(row))

    def _volume_of(self, rows: np.ndarray) -> bytearray:
        """One trade of what these traded: of trades that wake nobody only the volume counts."""
        market = self._tape.market
        last = market.rows[rows[-1]]
        record = market.trades[int(last["first"] + last["count"] - 1) :][:1].copy()
        record["quantity_lots"] = self._tape.triggers["lots"][rows].sum()
        return encode(Kind.trade, self._subjects[int(last["slot"])], record, **self._times_of(int(rows[-1])))

    def _times_of(self, row: int) -> dict[str, int]:
        """When an event came, and was, where somebody asks for it."""
        if not len(self._tape.times):
            return {}
        one = self._tape.times[row]
        return {"recv_ns": int(one["recv_ns"]), "venue_ns": int(one["venue_ns"])}

    # Beside the tape

    def append(self, event: bytearray, producer: str, now_ns: int) -> list[Event]:
        """Appends an event that is in no recording, and hands it over; gives what the executor says."""
        return self._given([self._stamped(event, producer, max(now_ns, self.now_ns))])

    def append_time(self, now_ns: int) -> list[Event]:
        """Says what time it is, as the sequencer does in a silence."""
        return self.append(encode(Kind.clock, "sequencer", np.array([(now_ns, 0, 0)], DTYPES[Kind.clock])), "sequencer", now_ns)

    def logged_seq(self, seq: int) -> int:
        """The number here of an event of the log."""
        return (seq << SEQ_BITS) + 1

    def _given(self, events: list[Event]) -> list[Event]:
        """Hands events over, then what the executor says to them, as it reads it in the log."""
        answers: list[Event] = []
        self.wakes += 1
        waiting = deque(self.step.step(events))
        while waiting:
            own = self._stamped(waiting.popleft(), self.step.name, self.now_ns)
            answers.append(own)
            if own.kind in self.step.reads:
                waiting.extend(self.step.step([own]))
        return answers

    def _stamped(self, event: bytearray, producer: str, now_ns: int) -> Event:
        self._seq += 1
        if self._seq & (1 << SEQ_BITS) - 1 == 0:
            raise ReadError(
                f"more than {(1 << SEQ_BITS) - 1} events follow from one of the log at {now_ns}; that is no strategy"
            )
        self.now_ns = now_ns
        number = self._numbers[producer] = self._numbers.get(producer, 0) + 1
        raw = self._producers.get(producer)
        if raw is None:
            raw = self._producers[producer] = producer_bytes(producer)
        stamp_sent(event, raw, 1, number, now_ns)
        stamp_sequenced(event, self._seq, 0, now_ns)
        return Event(event)


def _newest(places: np.ndarray, row: int) -> int:
    """The last of some rows up to this one; −1 for none."""
    found = int(np.searchsorted(places, row, "right")) - 1
    return int(places[found]) if found >= 0 else -1


def _until(wait: Awaited) -> int:
    """When something is due, though nothing comes."""
    return min([wait.time_ns, *(trigger.time_ns for trigger in wait.triggers.values())])

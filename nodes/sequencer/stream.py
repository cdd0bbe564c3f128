"""One stream as arbitration knows it: how far it is, which lines count, what waits. No I/O."""

from collections import deque
from collections.abc import Iterable

from tickmesh.bus.id_rules import rule, shared_ids
from tickmesh.bus.layout import header_reader
from tickmesh.bus.schema import Kind
from tickmesh.bus.topics import topic
from tickmesh.nodes.gaps.gaps import Gaps
from tickmesh.nodes.sequencer.doubts import Doubts, DoubtVerdict
from tickmesh.nodes.sequencer.leap import Leap
from tickmesh.nodes.sequencer.line_quality import Lines
from tickmesh.nodes.sequencer.offer import SNAPSHOT, UNSYNCED, Key, Offer, key_of
from tickmesh.nodes.sequencer.packed_stream import FirstPackedStream, PackedStream
from tickmesh.nodes.sequencer.taken import TakenRing
from tickmesh.nodes.sequencer.unsynced import Unsynced

MARKS_MAX = 16  # connections of a line that brought nothing yet, remembered per stream
JUMP = 100_000  # ids: a smaller step is in proportion for any stream
DISORDER = 1000  # trades, whose ids are counted one by one: so much is in proportion, and what lies so near below is late
WIDER = 16  # a step of more than so many times the widest of late is out of proportion, until a neighbour confirms it
IN_TURN = 64  # quotes: likewise, and eight times the usual step
HOLES_MAX = 16
RECENT_MAX = 8192  # ids of a rising stream that are known to be taken
FADE = 8  # the widest fades by 2^-FADE with every event
_read_count_and_number = header_reader("count", "number")


class ArbitratedStream:
    """The state of one topic in arbitration. What `state` packs follows from the log alone; times and held events do not."""

    def __init__(self, kind: int, subject: str):
        self.kind, self.subject, self.topic = kind, subject, topic(kind, subject)
        self.is_book, self.is_trades = kind == Kind.depth, kind == Kind.trade  # a name of Kind costs as much as a call
        self.rule = rule(kind, subject)
        self.numbered = self.rule == "contiguous"
        self.shared_ids = shared_ids(subject)
        self.last: int | None = None  # the highest id taken, or given up; None: nothing yet
        self.venue_ns = 0  # the latest that was taken
        # What is known of `last`: the highest id that a neighbour confirms, and the line that brought a higher one ("": none).
        self.sure: int | None = None
        self.last_line = ""
        self.last_number = 0  # … and the number of that line's event
        self.leap = Leap()  # quotes that are out of step
        self.jumped = False  # `last` was given up to, not taken
        self.widest = self.usual = 0  # ids from one event to the next, of late; before `last`
        self.doubts = Doubts()
        self.trusted: dict[str, int] = {}  # line → number of its held event that is believed though out of proportion
        self.refuted: int | None = None  # `last` when an absurd event behind it was refused, and no gap published yet
        self.refused: deque[Key] = deque(maxlen=16)  # such events: other lines bring copies
        self.named: deque[Key] = deque(maxlen=64)  # what else was refused, with its bytes once for all lines
        self.comparable = self.numbered or self.shared_ids  # the same ids mean the same on every line
        self.taken = TakenRing()
        self.recent: dict[int, None] = {}  # rising: the ids taken, in order, the newest of them
        self.known_from = -1  # … all above this one
        self.base: int | None = None  # the first id of the era
        self.head: Key = (0, 0, b"")  # the event that `last` is of, where nobody has confirmed it
        self.synced = False  # depth: a snapshot has been taken and the chain is whole since
        self.unsynced = Unsynced()  # depth, while it is not: the changes that a snapshot has to be brought up with
        self.gaps = Gaps()  # trades: those that are open
        self.holes: deque[tuple[int, int]] = deque(maxlen=HOLES_MAX)  # depth: ids that were given up of late
        self.held: dict[str, deque[tuple[int, Offer]]] = {}  # line → (deadline, offer), in the line's order
        # rising: lines that overlap with what is known, and the numbers of the marks of connections not yet begun
        self.joined: set[str] = set()
        self.marks: dict[str, list[int]] = {}
        self.connections: dict[str, list[int]] = {}  # line → the numbers after which it had a new one, the last few
        # of lines that have connected anew, as seen live: the number after which nothing has come yet; that of the first event
        self.fresh: dict[str, int] = {}
        self.first_numbers: dict[str, int] = {}
        # lines that are behind the venue's last beginning of new ids, and from which of their numbers on; None: there was none
        self.crossed: dict[str, int] | None = None
        self.before = 0  # the last id before that
        self.anew = False  # its ids began anew with its book's, and it has said nothing since
        # exclusive: the line that is taken, whether it is gone, when it was heard, since when it owes what another brings
        self.owner = ""
        self.away = False
        self.owner_seen_at: int | None = None
        self.behind_since: int | None = None
        self.lines = Lines(kind)
        # drops since something was last taken: how many, since when and until when; whether an alert was raised about it
        self.drops = 0
        self.dropping_since = self.dropped_at = 0
        self.deaf_reported = False

    def took(self, line: str, first_id: int, last_id: int, flags: int, venue_ns: int, event: bytearray | memoryview) -> int:
        """Takes note of an event that is in the log, or is about to be; gives the flags that it has there."""
        self.drops, last = 0, self.last
        if self.comparable:
            self.taken.add(first_id, last_id, event)
        if self.base is None:
            self.base = first_id
        if self.is_book and flags & SNAPSHOT:
            self.advance_whole(last_id, venue_ns)
            self.synced = True
            self.unsynced.clear()
            return flags
        if self.numbered and first_id == last_id and first_id - 1 == last and not self.jumped:  # the usual case, in few words
            self.last = self.sure = last_id
            self.last_line = ""
            if venue_ns > self.venue_ns:
                self.venue_ns = venue_ns
            if self.widest > 1:
                self.widest -= self.widest >> FADE
        else:
            count, self.last_number = _read_count_and_number(event)
            records = count if self.is_trades else 1  # those that have an id of their own
            self.advance(line, first_id, last_id, venue_ns, records)
            self.head = key_of(first_id, last_id, event)
        if not self.is_book or self.synced:
            return flags
        if self.numbered:
            self.unsynced.add(first_id, last_id, event)
        return flags | UNSYNCED

    def advance(self, line: str, first_id: int, last_id: int, venue_ns: int, records: int = 1) -> None:
        """Moves `last` to the end of an event that is taken; what it goes on from is confirmed. `records`: with own ids."""
        last, leaping = self.last, False
        if not self.numbered:
            self.remember(last_id)
            step = 0 if last is None else last_id - last
            begun = bool(self.leap)
            leaping = self._leaps(line, step)
            if begun and not leaping and self.sure is not None:
                step = last_id - self.sure  # it was a true one
            if not (self.jumped or (begun and leaping)):
                self.sure = last  # what was only given up to confirms nothing, nor what is out of step itself
        else:
            chained = last is not None and first_id <= last + 1 and not self.jumped
            step = last_id - first_id + 1
            if chained:
                sure = max(first_id, self.sure or 0)  # of what it overlaps only the part before its own beginning
                self.sure = min(sure + records - 1, last_id)
            elif not self.jumped:
                self.sure = last
        if not leaping:  # an absurd step is no measure of the next
            self.usual = self.widest
            self.widest = max(step, self.widest - (self.widest >> FADE))
        self.last_line = "" if self.sure == last_id else line
        self.last, self.jumped = last_id, False
        self.venue_ns = max(self.venue_ns, venue_ns)

    def _leaps(self, line: str, step: int) -> bool:
        """Takes note of a line's quote; whether it is out of step with those before, and nothing has confirmed that yet."""
        if not (self.rule == "rising" and self.shared_ids) or self.last is None:
            return False
        if not (self.leap or step > self.in_proportion):
            return False
        return self.leap.add(line)

    def leapt(self, line: str) -> bool:
        """Whether the line has said the last id, or one of those that are out of step with what is confirmed."""
        return line == self.last_line or line in self.leap

    def verdict(self, line: str, now: int, hold_ns: int) -> DoubtVerdict:
        """Judges a line's run of lower ids, by what is known of the stream (doubts.py)."""
        offers = self.doubts.runs[line].offers
        above = self.above_sure(offers[0]) and not self.took_all(offers)
        alone = not above and self.doubts.begun_anew(self.lines_of(line), self.began_with)
        return self.doubts.verdict(line, above, self.leapt(line), alone, now, hold_ns)

    def took_all(self, offers: Iterable[Offer]) -> bool:
        """Whether the ids of all these quotes are taken: who repeats them contradicts nothing, where two lines take turns."""
        return self.rule == "rising" and all(one.last_id in self.recent for one in offers)

    def remember(self, last_id: int) -> None:
        """Keeps an id of a rising stream as taken; the oldest of RECENT_MAX are forgotten."""
        self.recent[last_id] = None
        if len(self.recent) > RECENT_MAX:
            self.known_from = next(iter(self.recent))
            del self.recent[self.known_from]

    def same(self, one: Offer) -> bool | None:
        """True where just this event was taken, False where its ids were, with other records; None where that is not known."""
        if one.flags or not self.comparable:
            return None
        return self.taken.same(one.first_id, one.last_id, one.venue_ns, one.recv_ns, one.event, self.is_book)

    def missing(self, one: Offer) -> bool:
        """Whether the event's ids lie in a hole: an open gap of trades, or a book's changes that were given up of late."""
        if self.gaps and self.gaps.missing(one.first_id, one.last_id):
            return True
        return not one.snapshot and any(low <= one.first_id and one.last_id <= high for low, high in self.holes)

    def overtaken(self, one: Offer) -> bool:
        """Whether the event is no copy of anything: an id below all of the era, or a rising one that comes too late.
        Where lines merely number the same events differently, none has brought more before.
        """
        if not (one.behind or self.shared_ids):
            return False
        if self.base is not None and one.last_id < self.base:
            return True
        return self.rule == "rising" and one.last_id > self.known_from and one.last_id not in self.recent

    def advance_whole(self, last_id: int, venue_ns: int) -> None:
        """Takes note of a snapshot: its id needs no neighbour, unless it was brought up to a change that has none."""
        if last_id != self.last or not self.last_line:
            self.sure, self.last_line = last_id, ""
        self.last, self.jumped = last_id, False
        self.venue_ns = max(self.venue_ns, venue_ns)

    def give_up_to(self, high: int) -> None:
        """Moves `last` up to `high`: ids up to it will not come in their place; what comes behind confirms the id before."""
        if not self.jumped:
            self.sure = self.last
        if self.is_book:
            self.holes.append(((self.last or 0) + 1, high))
        self.last, self.jumped, self.last_line = high, True, ""
        self.synced = False
        self.unsynced.clear()

    def go_back(self, sure: int, high: int) -> None:
        """Takes back the ids above `sure`, which are contradicted; the stream goes on above `high`."""
        if sure != self.last:
            self.widest = self.usual  # an absurd step is no measure of the next
        self.leap.clear()
        self.sure, self.last, self.jumped, self.last_line = sure, high, high > sure, ""
        self.synced = False
        self.unsynced.clear()
        self.gaps.take_back(sure)

    def above_sure(self, one: Offer) -> bool:
        """Whether an id below the last one is above all that a neighbour confirms, and that is more than disorder: a late
        trade fills its gap (one that is later by the venue's time is not late), and two connections bring quotes in turn."""
        if not self.last_line or self.last is None:
            return False
        if self.sure is None:
            return self.is_book
        later = self.is_trades and one.venue_ns > self.venue_ns > 0
        return one.first_id > self.sure and (later or self.last - self.sure > self.disorder)

    @property
    def disorder(self) -> int:
        """By how many ids the last one may be ahead of the confirmed one while lower ids are merely late."""
        return 0 if self.is_book else self.in_proportion

    @property
    def in_proportion(self) -> int:
        """The step, in ids, from the confirmed id to the last one that needs no doubt."""
        return DISORDER if self.is_trades else max(IN_TURN, 8 * self.usual)

    def disowned(self) -> bool:
        """Whether the last id is out of proportion to what is confirmed, and the line that brought it has gone on with
        lower ones on the same connection. Where ids began anew, it is not one of those before."""
        run = self.doubts.runs.get(self.last_line) if self.last_line else None
        if run is None or self.last is None or self.sure is None or self.last - self.sure <= self.in_proportion:
            return False
        if any(gap.repaired() for gap in self.gaps.touched(self.sure + 1, self.last)):
            return False  # the venue itself has what lies between
        number = run.offers[0].number
        renewed = any(self.last_number <= mark < number for mark in self.connections.get(self.last_line, ()))
        return number > self.last_number and not renewed

    def doubtful(self, one: Offer) -> bool:
        """Whether the event's ids are out of proportion to those that the stream had of late."""
        if self.last is None:
            return False
        if self.rule == "rising":
            return one.last_id - self.last > self.proportion
        return max(one.last_id - one.first_id, one.first_id - self.last) > self.proportion

    @property
    def proportion(self) -> int:
        """The widest step, in ids, that needs no neighbour's word."""
        return max(DISORDER if self.is_trades else JUMP, WIDER * self.widest)

    def mark(self, line: str, number: int, live: bool) -> None:
        """Notes a new connection of a line: its events beyond `number` need not follow on those before. `live`: it is heard
        of now, and not found in the log."""
        if live:
            self.fresh[line] = number
        if self.crossed is not None:
            self.crossed.setdefault(line, number)  # what it said before and still waits counts as before
        self.connections[line] = [*self.connections.get(line, [])[1 - MARKS_MAX :], number]
        if self.rule == "exclusive":
            self.away = self.away or line == self.owner
        elif self.rule == "rising":
            marks = self.marks.setdefault(line, [])
            marks[:] = [known for known in marks if known < number][1 - MARKS_MAX :] + [number]

    def note_first(self, one: Offer) -> None:
        """Takes note of an event that is the first of its line's newest connection, if it is; a book from REST is of none."""
        if one.number > self.fresh[one.line] and not one.snapshot:
            del self.fresh[one.line]
            self.first_numbers[one.line] = one.number

    def began_with(self, one: Offer) -> bool:
        """Whether the event is the first of its line's newest connection, or of an older one: what was before it the line
        cannot bring any more."""
        return one.number <= max(self.first_numbers.get(one.line, -1), self.fresh.get(one.line, -1))

    def lines_of(self, line: str) -> set[str]:
        """The names of all lines that may bring this stream: those of the same venue as `line`."""
        venue = line.rpartition("-")[0]
        return {name for name in (*self.connections, *self.lines.lines) if name.rpartition("-")[0] == venue}

    def begin(self, one: Offer) -> None:
        """Makes the line overlap again before it counts, if this is the first event of a connection."""
        marks = self.marks.get(one.line)
        if marks and marks[0] < one.number:
            self.marks[one.line] = [number for number in marks if number > one.number]
            self.joined.discard(one.line)

    def counts(self, one: Offer) -> bool:
        """Whether the event is of the present era; False for one from before the venue's ids began anew."""
        return self.crossed is None or one.number >= self.crossed.get(one.line, one.number + 1)

    def crosses(self, one: Offer) -> bool:
        """Whether the event shows that its line, not crossed yet, is in the new era: its id is nearer to the new ones."""
        if self.last is None or self.crossed is None or one.line in self.crossed:
            return False
        return abs(one.last_id - self.last) < abs(one.last_id - self.before)

    def cross(self, line: str, number: int) -> None:
        """Takes the line into the new era, from this number of its events on."""
        assert self.crossed is not None
        self.crossed[line] = min(number, self.crossed.get(line, number))

    def forget_numbers(self, line: str) -> None:
        """Notes that the line's numbers begin anew: whatever it says from now on is after what is remembered by a number."""
        self.marks.pop(line, None)
        self.connections.pop(line, None)
        self.fresh.pop(line, None)
        self.first_numbers.pop(line, None)
        if self.crossed is not None and line in self.crossed:
            self.crossed[line] = 0
        if line == self.last_line:
            self.last_number = 0

    def reset(self, line: str, number: int) -> None:
        """Begins a new era: the venue began its ids anew, as this line was the first to show."""
        self.before = self.last or 0
        self.refuted = None
        self.crossed = {line: number}
        self.joined, self.marks = set(), {}
        self.sure, self.last_line, self.jumped, self.widest, self.usual = None, "", False, 0, 0
        self.leap.clear()
        self.taken.clear()
        self.holes.clear()
        self.recent.clear()
        self.known_from, self.base = -1, None
        self.synced = False
        self.unsynced.clear()
        if not self.is_book:  # the snapshot that says so sets it there
            self.last = None
        self.lines.begin_anew()

    def state(self) -> PackedStream:
        """Packs what follows from the log, as plain values for the head of a log segment; `restore` takes them."""
        return {
            "last": self.last,
            "venue_ns": self.venue_ns,
            "sure": self.sure,
            "teller": self.last_line,
            "told_number": self.last_number,
            "connections": {line: list(numbers) for line, numbers in sorted(self.connections.items())},
            "leap": self.leap.state(),
            "leapt": [one for one in self.recent if self.leap and one > (self.sure or 0)],
            "jumped": self.jumped,
            "widest": self.widest,
            "usual": self.usual,
            "base": self.base,
            "synced": self.synced,
            "unsynced": self.unsynced.state(),
            "gaps": self.gaps.state(),
            "joined": sorted(line for line in self.joined if not self.marks.get(line)),
            "marks": {line: marks for line, marks in sorted(self.marks.items()) if marks},
            "crossed": None if self.crossed is None else dict(sorted(self.crossed.items())),
            "before": self.before,
            "anew": self.anew,
            "owner": self.owner,
            "away": self.away,
        }

    def restore(self, state: PackedStream | FirstPackedStream) -> None:
        """Puts the stream where `state` was taken, also by an older version."""
        if not isinstance(state, dict):  # as the first version wrote it
            self.last, self.venue_ns, self.synced, joined, missing = state
            self.joined = set(joined)
            for low, high in missing if self.is_trades else ():
                self.gaps.open(low, high)
            return
        self.last, self.venue_ns, self.synced = state["last"], state["venue_ns"], state["synced"]
        self.gaps.restore(state["gaps"])
        self.joined, self.marks = set(state["joined"]), state["marks"]
        self.crossed = state["crossed"]
        self.owner, self.away = state["owner"], state["away"]
        self.base = state.get("base")
        self.known_from = -1 if self.last is None else self.last
        self.sure = state.get("sure", self.last)  # an older version confirmed nothing
        self.last_line, self.jumped = state.get("teller", ""), state.get("jumped", False)
        self.last_number = state.get("told_number", 0)
        self.leap.restore(state.get("leap", {}))
        self.recent.update(dict.fromkeys(state.get("leapt", [])))
        self.connections = state.get("connections", {self.last_line: [self.last_number]})  # an older version kept none
        self.widest, self.before, self.anew = state.get("widest", 0), state.get("before", 0), state.get("anew", False)
        self.usual = state.get("usual", self.widest)
        if "unsynced" in state:
            self.unsynced.restore(state["unsynced"])

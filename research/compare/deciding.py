"""A live run decided anew: the executor's own step over the recording, in which the venue's word is the simulated venue's.

The step is given every recorded event that is not of its own orders, as it came. What it orders reaches the simulated venue
after the time that the live order took. What both venues say of an order the executor is given when the log had it; what only
the live one says it is not given, and what only the simulated one says after the time that such a word took. So as long as both
venues agree, the step sees the very log of then; from the first difference on it decides by what it has itself.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Action, Kind, Status
from tickmesh.bus.wire import Event
from tickmesh.nodes.executor.node import READS
from tickmesh.research.backtest.live_orders import (
    OF_SESSION,
    SESSION,
    LiveOrder,
    LiveOrders,
    LiveRequest,
    down_of,
    venue_of,
)
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.compare.agreement import OrderAgreement, VenueState
from tickmesh.research.compare.live_executor import LiveExecutor
from tickmesh.research.compare.numbering import SEQ_BITS, added, recorded_body, recorded_id, roomy
from tickmesh.research.compare.venue_course import NEVER_NS, VenueCourse, VenueWord
from tickmesh.research.compare.wording import MANTISSAS, OrderWording
from tickmesh.storage.query import reader

OWN = (int(Kind.intent), int(Kind.command))
OF_VENUE = 1 << 62  # added to the ids of orders and trades that only the simulated venue has
ONE_NS = 1_000_000  # an order of others that meets several of a price is printed as so many trades, one right after the other
ROOM = (1 << SEQ_BITS) - 1
Name = tuple[str, bytes]  # subject, client order id of the recording
Key = tuple[int, int]  # cause_seq, k


class Parting(NamedTuple):
    """Where the two runs first differ: at what event of the log, when, about what, and what each side has there."""

    seq: int
    at_ns: int
    about: str
    live: str
    backtest: str


@dataclass
class DecidedRun:
    """What came of it.

    courses    the simulated venues by instrument, with the orders that were sent there
    intents    of the live run; `equal`: of them those that the executor makes again, to the bit
    parting    the first difference of the venues' words, or of decisions; None: there is none
    given      orders that were as they were live, since they were open as it began
    notes      sentences about what could not be as it was
    """

    courses: Mapping[str, VenueCourse]
    intents: int = 0
    equal: int = 0
    parting: Parting | None = None
    given: frozenset[Name] = frozenset()
    notes: tuple[str, ...] = ()


class RunDecided:
    """Runs a recording anew. `live`: its orders; orders of before `start_ns` are as they were."""

    def __init__(self, config: Config, live: LiveOrders, subjects: tuple[str, ...], terms: VenueTerms, start_ns: int,
        every_ns: int = 0,
    ):  # fmt: skip
        self._config, self._start_ns, self._every_ns = config, start_ns, every_ns
        self._anchor_seq = 0
        self._orders = {(one.subject, bytes(one.intent["client_order_id"])): one for one in live.orders}
        self._requests: dict[Name, LiveRequest] = {}
        for one in live.requests:
            self._requests[one.order.subject, bytes(one.intent["client_order_id"])] = one
        self._asked = {id(one.order) for one in live.requests if one.intent["action"] == Action.CANCEL}
        self._executor = LiveExecutor(config)
        by_subject: dict[str, list[LiveOrder]] = {subject: [] for subject in subjects}
        for order in live.orders:
            by_subject[order.subject].append(order)
        self._lives = by_subject
        self._courses = {of: VenueCourse(config, of, terms, own) for of, own in by_subject.items()}
        self.run = DecidedRun(self._courses)
        self._agreements: dict[Name, OrderAgreement] = {}
        self._expected: dict[Key, Event] = {}
        self._made_ns: dict[Key, int] = {}
        self._sent: set[Name] = set()
        self._to_come: list[tuple[int, int, Event]] = []
        self._count = self._seq = self._now_ns = 0
        self._lag_ns = 0  # from what causes an intent until the log has it, as it was last
        self._down = {of: down_of(live.down, (venue_of(of),)) for of in subjects}
        self._arrives_ns: dict[Name, int] = {}  # when the newest word about an order reaches the simulated venue
        self._given = {of for of, one in self._orders.items() if one.sent_ns < start_ns}  # they go on as they did live
        self._next_ns = 0
        self._wordings: dict[str, OrderWording] = {}

    def decide(self, shown: Callable[[int], object] = lambda ns: None) -> DecidedRun:
        """Runs to the end of the recording. `shown`: called with the log's time, now and then.

        Raises ReadError, ArchiveError and LogError as reading does."""
        self._note_words()
        for event in reader.events(self._config, kinds=READS):
            if not event.seq & 0x3FF:
                shown(event.seq_ns)
            if self._every_ns and event.seq_ns >= self._next_ns:
                self._begin_anew(event)
            self._go_on(event.seq_ns)
            self._seq = event.seq << SEQ_BITS
            self._now_ns = event.seq_ns
            if self._every_ns:
                self._executor.follow_live(roomy(event))
            if event.producer == self._executor.name and event.kind in OWN:
                self._take_own(event)
            elif event.kind in (Kind.update, Kind.fill):
                for row in range(event.count):
                    if self._holds(event, row):
                        self._give(roomy(event, row))
            else:
                if event.kind == Kind.instrument:
                    self._wordings[event.subject] = OrderWording.defined(event.records[-1])
                self._give(roomy(event))
        for course in self._courses.values():
            course.advance(NEVER_NS - 1)
        self.run.given, self.run.notes = frozenset(self._given), tuple(dict.fromkeys(self._executor.notes))
        return self.run

    def _note_words(self) -> None:
        """Notes what the executor ordered live, and what the venue said."""
        states: dict[Name, list[VenueState]] = {name: [] for name in self._orders}
        for event in reader.events(self._config, kinds=(Kind.run, Kind.intent, Kind.command, Kind.update)):
            self._executor.note(event)
            if event.kind == Kind.update:
                for record in event.records:
                    name = event.subject, bytes(record["client_order_id"])
                    if name in self._orders and not _is_of_session(event, record, self._orders[name]):
                        states[name].append(_state_of(record))
        self._agreements = {name: OrderAgreement(one.fills, states[name]) for name, one in self._orders.items()}
        self.run.intents = self._executor.intents

    # The executor

    def _begin_anew(self, event: Event) -> None:
        """Goes on from what the recording has by now."""
        if self._next_ns:
            self._anchor_seq = event.seq
            self._executor.go_on_as_live()
            self._to_come.clear()
            self._expected.clear()
            kept = {of for of in self._sent if of in self._agreements and not self._agreements[of].is_apart}
            for subject, course in self._courses.items():
                course.keep({one for of, one in kept if of == subject})
            self._given |= self._orders.keys() - kept
            self._given -= {name for name in self._given if self._orders[name].sent_ns >= event.seq_ns}
        self._next_ns = event.seq_ns + self._every_ns

    def _give(self, event: Event) -> None:
        for answer in self._executor.step(event):
            self._take_answer(answer)

    def _take_answer(self, answer: Event) -> None:
        """Of what the executor says here: what it said live as well waits for its place in the log, else it comes soon."""
        key = answer.cause_seq >> SEQ_BITS, answer.k
        if not answer.cause_seq & ROOM and self._executor.has_published(key, answer, recorded_body(answer)):
            self._expected[key], self._made_ns[key] = answer, self._now_ns
            return
        here = self._published_text((answer.kind, answer.subject, bytes(answer.body)))
        self._part(f"in answer to event {key[0]}", self._published_text(self._executor.published(key)), here)
        self._later(self._now_ns + self._lag_ns, answer)

    def _take_own(self, event: Event) -> None:
        """An event of the live executor comes in the log: it is one here, if the executor made it here."""
        key = event.cause_seq, event.k
        made = self._expected.pop(key, None)
        if made is None and event.cause_seq >= self._anchor_seq:
            live = self._published_text(self._executor.published(key))
            self._part(f"in answer to event {event.cause_seq}", live, "nothing")
            return
        self._lag_ns = self._now_ns - self._made_ns.pop(key, self._now_ns - self._lag_ns)
        self.run.equal += made is not None and event.kind == Kind.intent  # None: decided live, just before it began anew
        given = roomy(event)
        if event.kind == Kind.intent:
            for then, now in zip(event.records, given.records):
                self._send_again(event.subject, then, now)
        self._give(given)

    def _send_again(self, subject: str, then: np.void, now: np.void) -> None:
        """An order, or what is asked about one, which was sent live: it takes as long as it took."""
        name = subject, bytes(then["client_order_id"])
        self._sent.add(name)
        course = self._courses.get(subject)
        order = self._orders.get(name)
        if course is None or name in self._given:
            return
        if order is not None:
            if order.arrived_ns:
                self._arrives_ns[name] = course.send(now, self._now_ns, order.arrived_ns)
                if order.canceled_ns and id(order) not in self._asked:  # the venue did
                    self._cancel(course, now, order.canceled_ns)
            return
        request = self._requests.get(name)
        if request is None:
            return
        of = subject, bytes(request.order.intent["client_order_id"])
        if of in self._sent and of not in self._given:
            self._arrives_ns[of] = course.send(now, self._now_ns, self._arrival_of(request))

    def _cancel(self, course: VenueCourse, of: np.void, at_ns: int) -> None:
        cancel = np.zeros(1, of.dtype)[0]
        cancel["action"], cancel["target_id"], cancel["side"] = Action.CANCEL, of["client_order_id"], 1
        course.send(cancel, self._now_ns, at_ns)

    def _arrival_of(self, request: LiveRequest) -> int:
        """When the venue had a cancel or an amendment."""
        order = request.order
        if request.intent["action"] == Action.CANCEL and order.canceled_ns:
            return max(order.canceled_ns, self._now_ns)
        if order.status == Status.Filled and order.fills:
            return max(order.fills[-1].at_ns + 1, self._now_ns)
        return self._now_ns + self._entry_ns(order.subject)

    def _entry_ns(self, subject: str) -> int:
        """How long the order before took to its venue."""
        order = self._before(subject)
        return order.arrived_ns - order.sent_ns if order else 0

    def _response_ns(self, subject: str) -> int:
        order = self._before(subject)
        return max(order.answered_ns - order.arrived_ns, 0) if order else 0

    def _before(self, subject: str) -> LiveOrder | None:
        orders = self._lives[subject]
        place = bisect_left(orders, self._now_ns, key=lambda one: one.sent_ns) - 1
        while place >= 0 and not orders[place].arrived_ns:
            place -= 1
        return orders[place] if place >= 0 else next((one for one in orders if one.arrived_ns), None)

    # What is not in the recording

    def _later(self, at_ns: int, event: Event) -> None:
        heappush(self._to_come, (at_ns, self._count, event))
        self._count += 1

    def _go_on(self, until_ns: int) -> None:
        """Brings the venues to a time, and gives the executor what is in no recording and comes by then."""
        while True:
            at_ns = min(until_ns, self._to_come[0][0]) if self._to_come else until_ns
            for subject, course in self._courses.items():
                if course.is_busy:
                    self._heed(subject, course.advance(at_ns))
            if not self._to_come or self._to_come[0][0] > until_ns:
                return
            at_ns, _, event = heappop(self._to_come)
            self._now_ns, self._seq = max(at_ns, self._now_ns), self._seq + 1
            given = added(
                Kind(event.kind), event.subject, bytes(event.body), event.producer, self._seq, self._now_ns, event.k,
                event.venue_ns, event.cause_seq,
            )  # fmt: skip
            if event.kind == Kind.intent:
                for intent in event.records:
                    self._send_new(event.subject, intent)
            self._give(given)

    def _send_new(self, subject: str, intent: np.void) -> None:
        """What was not sent live, or otherwise: it takes as long as the order before."""
        course = self._courses.get(subject)
        if course is None or self._now_ns < self._start_ns:
            return
        if any(one <= self._now_ns <= to for one, to, _ in self._down[subject]):
            return
        course.send(intent, self._now_ns, self._now_ns + self._entry_ns(subject))

    def _heed(self, subject: str, words: list[VenueWord]) -> None:
        """Takes what the simulated venue says: what the live one says as well is given when that says it."""
        for at_ns, event in words:
            for record in event.records:
                name = subject, recorded_id(bytes(record["client_order_id"]))
                if name in self._sent and (both := self._agreements.get(name)) is not None:
                    if event.kind == Kind.fill:
                        told = both.fill_here(*_fill_of(record), at_ns)
                    else:
                        told = both.state_here(_state_of(record))
                    if not told:
                        continue
                    self._part(f"order {name[1].decode()}", "nothing", self._wording(subject).text(event.kind, record))
                self._give_alone(subject, event.kind, record, max(at_ns + self._response_ns(subject), self._now_ns))

    def _give_alone(self, subject: str, kind: int, record: np.void, at_ns: int) -> None:
        """What only the simulated venue says comes to the executor at a time."""
        row = np.array([record], record.dtype)
        for field_name in ("order_id", "trade_id"):
            if field_name in (row.dtype.names or ()):
                row[field_name] |= OF_VENUE
        self._later(at_ns, added(Kind(kind), subject, row, "session", 0, at_ns, venue_ns=int(record["venue_ns"])))

    # The live venue's word

    def _holds(self, event: Event, row: int) -> bool:
        """Whether what the session said of an order holds here."""
        record = event.records[row]
        name = event.subject, bytes(record["client_order_id"])
        order = self._orders.get(name)
        if order is None:
            return name not in self._requests or name in self._sent
        if name in self._given:
            return True
        if name not in self._sent:
            return False
        if _is_of_session(event, record, order):
            return True
        both = self._agreements[name]
        course = self._courses[event.subject]
        self._heed(event.subject, course.advance(max(self._venue_ns(name, order, event, record), self._now_ns)))
        if event.kind == Kind.update:
            holds = both.state_live(_state_of(record))
        else:
            price, lots, maker = _fill_of(record)
            holds = both.fill_live(int(record["trade_id"]), price, lots, maker)
            if left := both.left_over(price, maker):
                rest = roomy(event, row).records[0].copy()
                rest["quantity_lots"] = left
                self._give_alone(event.subject, event.kind, rest, self._now_ns)
        if not holds:
            wording = self._wording(event.subject)
            self._part(f"order {name[1].decode()}", wording.text(event.kind, record), wording.states(both.states))
        return holds

    def _venue_ns(self, name: Name, order: LiveOrder, event: Event, record: np.void) -> int:
        """Up to when the venue has to be asked for what the session said of an order, in the log's time."""
        at_ns = _at_venue(order, event, record)
        if event.kind == Kind.fill or record["status"] in (Status.PartiallyFilled, Status.Filled):
            return at_ns + ONE_NS
        return max(at_ns, self._arrives_ns.get(name, 0))

    def _wording(self, subject: str) -> OrderWording:
        return self._wordings.get(subject, MANTISSAS)

    def _published_text(self, published: tuple[int, str, bytes] | None) -> str:
        return "nothing" if published is None else self._wording(published[1]).published(published[0], published[2])

    def _part(self, about: str, live: str, backtest: str) -> None:
        if self.run.parting is None and self._now_ns >= self._start_ns:
            self.run.parting = Parting(self._seq >> SEQ_BITS, self._now_ns, about, live, backtest)


def _is_of_session(event: Event, record: np.void, order: LiveOrder) -> bool:
    """Whether the session says it by itself, or the venue never had the order."""
    if event.kind == Kind.fill:
        return False
    return not order.arrived_ns or int(record["status"]) in OF_SESSION or bytes(record["origin"]) == SESSION


def _state_of(update: np.void) -> VenueState:
    return VenueState(int(update["status"]), int(update["filled_lots"]))


def _fill_of(fill: np.void) -> tuple[int, int, bool]:
    """Price, lots, whether as maker."""
    return int(fill["price_ticks"]), int(fill["quantity_lots"]), bool(fill["maker"])


def _at_venue(order: LiveOrder, event: Event, record: np.void) -> int:
    """Up to when the venue has to be asked for what the session said of an order, in the log's time."""
    if event.kind == Kind.fill:
        trade = int(record["trade_id"])
        return next((one.at_ns for one in order.fills if one.trade_id == trade), 0)
    if record["status"] == Status.Canceled:
        return order.canceled_ns
    at_ns, filled = order.arrived_ns, 0
    for one in order.fills:
        if filled >= record["filled_lots"]:
            break
        filled, at_ns = filled + one.lots, max(at_ns, one.at_ns)
    return at_ns

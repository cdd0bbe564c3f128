"""The orders of a recording at the simulated venue: what was sent then is sent again, and the venue fills it or not."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import INTENT, Action, Kind, Status
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.exchange.market.latency import InterpolatedLatency, LatencyModel
from tickmesh.research.backtest.live_orders import LiveOrder, LiveOrders
from tickmesh.research.backtest.tape import MarketTape, tapes
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue
from tickmesh.research.backtest.venue_kernel import QUOTE
from tickmesh.research.compare.exact_session import ExactSession
from tickmesh.research.compare.own_orders import without_own

MS = 1e6
NEVER_NS = (1 << 63) - 1
Shown = Callable[[int], object]


class Sent(NamedTuple):
    """What is sent at a time of the log: one intent."""

    at_ns: int
    intent: np.void


class SimulatedOrders(NamedTuple):
    """What the simulated venue made of orders of one instrument: result.FILL and result.ORDER rows; order n is orders[n].

    mids: (n,) f8, the mid in ticks as each was sent, NaN where there was none; price, lots: what a tick and a lot are worth.
    """

    subject: str
    orders: list[LiveOrder]
    fills: np.ndarray
    rows: np.ndarray
    mids: np.ndarray
    price: float
    lots: float


def simulate(
    config: Config, live: LiveOrders, subjects: Iterable[str], terms: VenueTerms, exact: bool = True,
    shown: Shown = lambda ns: None,
) -> list[SimulatedOrders]:  # fmt: skip
    """Sends the orders that reached their venue, their cancels and amendments to a simulated one, instrument by instrument.

    `exact`: each arrives when it did; else after the latency of `terms`. `shown`: called with how far it is, in log time. What
    orders meet is the recording without what they had resting in it (own_orders.py).
    """
    return [_simulate(config, live, subject, terms, exact, shown) for subject in subjects]


def _simulate(config: Config, live: LiveOrders, subject: str, terms: VenueTerms, exact: bool, shown: Shown) -> SimulatedOrders:
    orders = [one for one in live.orders if one.subject == subject and one.arrived_ns]
    others = [one for one in live.others if one.subject == subject and one.arrived_ns]
    sent = sent_of(orders, live)
    way: LatencyModel = InterpolatedLatency(latencies_of(orders, live)) if exact and orders else terms.latency
    course = _Course(subject, terms._replace(latency=way), sent)
    mids = np.full(len(orders), np.nan)
    if orders:
        for tape in tapes(config, (subject,), (), frozenset(), orders[0].sent_ns, None):
            note_mids(tape, orders, mids)
            course.run(without_own(tape, [*orders, *others], 0))
            if len(tape.market.rows):
                shown(int(tape.market.rows["seq_ns"][-1]))
        course.finish()
    return SimulatedOrders(subject, orders, course.session.fills(), course.session.orders(), mids, *course.worth)


def define(session: ExactSession, tape: MarketTape, row: int) -> tuple[float, float] | None:
    """Gives a session the definition in this row of a tape; gives what a tick and a lot are worth then. None: it is none."""
    one = tape.market.rows[row]
    if one["kind"] != Kind.instrument:
        return None
    record = tape.others[Kind.instrument][int(one["first"] + one["count"]) - 1]
    session.define(0, record)
    return 10.0 ** int(record["price_exponent"]), 10.0 ** int(record["quantity_exponent"])


def note_mids(tape: MarketTape, orders: list[LiveOrder], mids: np.ndarray) -> None:
    """Writes the mid of the newest quote of a tape at each order's sending, where there is one; in ticks."""
    rows = tape.market.rows[tape.market.rows["what"] == QUOTE]
    quotes = tape.market.quotes[rows["first"] + rows["count"] - 1]
    good = (quotes["bid_ticks"] > 0) & (quotes["ask_ticks"] > 0)
    times, quotes = rows["seq_ns"][good], quotes[good]
    places = np.searchsorted(times, [one.sent_ns for one in orders], "right") - 1
    there = places >= 0
    mids[there] = (quotes["bid_ticks"][places[there]] + quotes["ask_ticks"][places[there]]) / 2


def latencies_of(orders: Iterable[LiveOrder], live: LiveOrders) -> list[tuple[int, float, float]]:
    """(when it was sent, ms to the venue, ms back to the log) of orders, and of cancels: of those that came too late, too."""
    rows, there = [], {id(one) for one in orders}
    for one in orders:
        back_ms = max(one.answered_ns - one.arrived_ns, 0) / MS
        rows.append((one.sent_ns, (one.arrived_ns - one.sent_ns) / MS, back_ms))
        if one.canceled_ns:
            rows.append((one.canceled_ns - 1, 1 / MS, back_ms))
    for request in live.requests:
        order = request.order
        if id(order) in there and order.status == Status.Filled:
            rows.append((request.sent_ns, max(order.fills[-1].at_ns - request.sent_ns + 1, 0) / MS, 0.0))
    return rows


def sent_of(orders: Iterable[LiveOrder], live: LiveOrders) -> list[Sent]:
    """What is sent, in order: orders, what was asked about them, and a cancel where the venue ended one."""
    there = {id(one) for one in orders}
    sent = [Sent(one.sent_ns, one.intent) for one in orders]
    for request in live.requests:
        canceled_ns = request.order.canceled_ns
        if id(request.order) in there and (request.intent["action"] == Action.AMEND or not canceled_ns):
            sent.append(Sent(request.sent_ns, request.intent))
    for one in orders:
        if one.canceled_ns:
            cancel = np.zeros(1, INTENT)[0]
            cancel["action"], cancel["target_id"], cancel["side"] = Action.CANCEL, one.intent["client_order_id"], 1
            sent.append(Sent(one.canceled_ns - 1, cancel))
    return sorted(sent, key=lambda one: one.at_ns)


class _Course:
    """Market, what is sent, and what arrives, in one order of time: the market's events first, as in backtest/course.py."""

    def __init__(self, subject: str, terms: VenueTerms, sent: list[Sent]):
        self._subject, self._sent, self._next = subject, sent, 0
        self._venue = ColumnVenue(1, terms)
        self.session = ExactSession(self._venue, terms, (subject,), ())
        self.worth = np.nan, np.nan

    @property
    def _due_ns(self) -> int:
        sent_ns = self._sent[self._next].at_ns if self._next < len(self._sent) else NEVER_NS
        arrival_ns = self.session.next_ns
        return sent_ns if arrival_ns is None else min(arrival_ns, sent_ns)

    def run(self, tape: MarketTape) -> None:
        """Goes on to the end of a tape."""
        times, at = np.ascontiguousarray(tape.market.rows["seq_ns"]), 0
        stops = tape.stops.tolist()
        end = len(times)
        while at < end:
            while stops and stops[0] < at:
                self._define(tape, stops.pop(0))
            due_ns = self._due_ns
            stop = min(int(np.searchsorted(times, due_ns, "right")), stops[0] + 1 if stops else end)
            if stop <= at:
                self._act(due_ns)
                continue
            at, reports = self._venue.pass_rows(tape.market, at, stop)
            if reports:
                self.session.take_reports(reports, int(times[at - 1]))
        for stop in stops:
            self._define(tape, stop)

    def finish(self) -> None:
        """What is under way when the market ends arrives."""
        while (due_ns := self._due_ns) != NEVER_NS:
            self._act(due_ns)

    def _act(self, now_ns: int) -> None:
        if self.session.next_ns == now_ns:
            self.session.arrive()
            return
        event = Event(encode(Kind.intent, self._subject, np.array([self._sent[self._next].intent], INTENT)))
        event.seq_ns = now_ns
        self.session.take_answers([event])
        self._next += 1

    def _define(self, tape: MarketTape, row: int) -> None:
        self.worth = define(self.session, tape, row) or self.worth

"""`tickmesh.compare(whole=True)`: a backtest of a live run, which decides anew, beside what the run did."""

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.research.backtest.live_orders import LiveOrder, LiveOrders, down_of, venue_of
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.compare.deciding import Parting, RunDecided
from tickmesh.research.compare.matching import (
    NOTHING,
    ComparedOrder,
    VenueResult,
    compared_order,
    live_result,
    not_sent,
    reason_of,
    simulated_result,
)
from tickmesh.research.compare.numbering import recorded_id
from tickmesh.research.compare.venue_course import VenueCourse

SAME_NS = 1_000_000_000  # fills of one strategy, side and price are one and the same up to this far apart


class WholeComparison(NamedTuple):
    """A backtest that decides anew, in figures.

    every_ns      so often it begins anew at the live state, what was held and open then; 0: never, a backtest of the whole
    orders, filled  sent in it, and of them filled
    intents, equal  of the live run, and of them those that the executor makes again, to the bit
    parting       the first difference; None: there is none
    notes         sentences about what could not be as it was
    """

    every_ns: int
    orders: int
    filled: int
    intents: int
    equal: int
    parting: Parting | None
    notes: tuple[str, ...]


class _Fill(NamedTuple):
    """A fill of the backtest: of which order, when, and lots that are not found in the live run (a list: they change)."""

    number: int
    at_ns: int
    left: list[int]


def compare_whole(
    config: Config, live: LiveOrders, subjects: tuple[str, ...], terms: VenueTerms, span_ns: tuple[int, int], every_ns: int,
    lost: Callable[[str], list[tuple[int, int]]], shown: Callable[[int], object] = lambda ns: None,
    compared: frozenset[str] | None = None,
) -> tuple[list[ComparedOrder], WholeComparison]:  # fmt: skip
    """Trades a recording once more and compares the orders of start ≤ time < end, live ones and those of the backtest alone.

    `live`: all orders of the recording; `lost`: [from, to] of what an instrument's recording lacks;
    `shown`: called with the log's time, now and then; `compared`: the instruments whose orders are compared and counted, None:
    all; intents are those of all. Raises ReadError, ArchiveError and LogError as reading does.
    """
    run = RunDecided(config, live, subjects, terms, span_ns[0], every_ns).decide(shown)
    rows: list[ComparedOrder] = []
    orders = filled = 0
    for subject, course in run.courses.items():
        if compared is not None and subject not in compared:
            continue
        side = _Side(subject, course, span_ns, {name for of, name in run.given if of == subject})
        own = [one for one in live.orders if one.subject == subject and span_ns[0] <= one.sent_ns < span_ns[1]]
        rows += side.compare([one for one in own if one.arrived_ns], lost(subject))
        rows += not_sent((one for one in own if not one.arrived_ns), down_of(live.down, (venue_of(subject),)), *course.worth)
        orders, filled = orders + len(side.inside), filled + sum(bool(side.fills[number]) for number in side.inside)
    rows.sort(key=lambda one: one.sent_ns)
    return rows, WholeComparison(every_ns, orders, filled, run.intents, run.equal, run.parting, run.notes)


class _Side:
    """The orders of a backtest on one instrument. `inside`: the numbers of those of the time that is compared; `fills`: by
    number, result.FILL rows as places; `given`: client ids of orders that were as they were live."""

    def __init__(self, subject: str, course: VenueCourse, span_ns: tuple[int, int], given: set[bytes]):
        self._subject, self._course, self._given = subject, course, given
        self._rows, self._all = course.session.orders(), course.session.fills()
        self._numbers = {recorded_id(bytes(one["client_order_id"])): number for number, one in enumerate(course.sent)}
        self.inside = np.flatnonzero((self._rows["sent_ns"] >= span_ns[0]) & (self._rows["sent_ns"] < span_ns[1])).tolist()
        self.fills: dict[int, list[int]] = defaultdict(list)
        self._pool: dict[tuple[bytes, int, int], list[_Fill]] = defaultdict(list)  # by strategy, side, price
        self._left: dict[int, list[list[int]]] = defaultdict(list)  # by number
        for place, one in enumerate(self._all):
            number, intent = int(one["order"]), course.sent[int(one["order"])]
            price, lots = (round(float(one[name]) / worth) for name, worth in zip(("price", "quantity"), course.worth))
            fill = _Fill(number, int(one["time_ns"]), [lots])
            self.fills[number].append(place)
            self._left[number].append(fill.left)
            self._pool[bytes(intent["strategy"]), int(intent["side"]), price].append(fill)

    def compare(self, live: list[LiveOrder], lost: list[tuple[int, int]]) -> list[ComparedOrder]:
        """Rows for live orders that reached their venue, then for those that only the backtest has."""
        same = [self._same(one) for one in live]
        found = [self._compare(one, lots, lost) for one, lots in zip(live, same)]
        known = {self._numbers.get(bytes(one.intent["client_order_id"])) for one in live}
        return found + [self._alone(number) for number in self.inside if number not in known]

    def _same(self, order: LiveOrder) -> int:
        """Lots of an order that the backtest fills too; takes them out of what is left of its fills."""
        same, strategy, side = 0, bytes(order.intent["strategy"]), int(order.intent["side"])
        for fill in order.fills:
            wanted = fill.lots
            for one in sorted(self._pool[strategy, side, fill.price_ticks], key=lambda one: abs(one.at_ns - fill.at_ns)):
                if abs(one.at_ns - fill.at_ns) > SAME_NS or not wanted:
                    break
                taken = min(wanted, one.left[0])
                one.left[0] -= taken
                wanted, same = wanted - taken, same + taken
        return same

    def _compare(self, order: LiveOrder, same: int, lost: list[tuple[int, int]]) -> ComparedOrder:
        name = bytes(order.intent["client_order_id"])
        number, mid, worth = self._numbers.get(name), self._course.mid_of(order), self._course.worth
        live, here = live_result(order, mid, *worth), NOTHING if number is None else self._result(number, mid)
        left = sum(one[0] for one in self._left[number]) if number is not None else 0
        outcome, reason = "same" if same else "unfilled", ""
        if same < order.filled_lots or left:
            outcome = "other" if same or (order.fills and here.filled) else "only_live" if order.fills else "only_backtest"
            if number is None:
                reason = "open_before" if name in self._given else "decided"
            else:
                reason = reason_of(order, self._rows[number], self._all[self.fills[number]], lost)
        return compared_order(order, *worth, live, here, same * worth[1], outcome, reason)

    def _alone(self, number: int) -> ComparedOrder:
        """An order that only the backtest has; what it filled may be a live fill of another one."""
        order = LiveOrder(self._subject, self._course.sent[number], 0, int(self._rows["sent_ns"][number]), 0)
        left = sum(one[0] for one in self._left[number])
        outcome, reason = ("only_backtest", "decided") if left else ("unfilled", "")
        return compared_order(
            order, *self._course.worth, NOTHING, self._result(number, np.nan), 0.0, outcome, reason
        )  # fmt: skip

    def _result(self, number: int, mid: float) -> VenueResult:
        side, fills = int(self._course.sent[number]["side"]), self._all[self.fills[number]]
        return simulated_result(side, self._rows[number], fills, mid, *self._course.worth)

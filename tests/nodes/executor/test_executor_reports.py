"""The executor's limit and state hold against a venue that reports late, twice and out of order."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.executor_tape import ALONE, LOT, Tape, make
from tickmesh.bus.layout import RECORDS
from tickmesh.bus.schema import Action, Kind, Status
from tickmesh.bus.settings_trading import StrategySettings
from tickmesh.bus.wire import decode
from tickmesh.nodes.executor import node as executor
from tickmesh.nodes.orders.commands import KillSwitch, SwitchStrategy


class Venue:
    """Acts on intents when it likes, matches what it likes, and queues its reports to be delivered in any order."""

    def __init__(self) -> None:
        self.position = 0
        self.waiting: list[np.void] = []
        self.orders: dict[bytes, list] = {}  # id → [side, quantity, filled, open]
        self.reports: list[tuple] = []
        self.trade_id = 0

    def act(self, index: int) -> None:
        if not self.waiting:
            return
        intent = self.waiting.pop(index % len(self.waiting))
        if intent["action"] == Action.CANCEL:
            order = self.orders.get(intent["target_id"])
            if order is None or not order[3]:
                self.reports.append(("update", intent["client_order_id"], Status.Rejected, 0, 1, 0))
                return
            order[3] = False
            self._report(intent["target_id"], Status.Canceled)
        else:
            side, lots = int(intent["side"]), int(intent["quantity_lots"])
            if index % 5 == 0:
                self.orders[intent["client_order_id"]] = [side, lots, 0, False]
                self._report(intent["client_order_id"], Status.Rejected)
                return
            self.orders[intent["client_order_id"]] = [side, lots, 0, True]
            self._report(intent["client_order_id"], Status.New)

    def match(self, index: int) -> None:
        alive = [name for name, order in self.orders.items() if order[3]]
        if not alive:
            return
        name = alive[index % len(alive)]
        order = self.orders[name]
        lots = min(order[1] - order[2], LOT // 2)
        order[2] += lots
        self.position += order[0] * lots
        self.trade_id += 1
        order[3] = order[2] < order[1]
        self.reports.append(("fill", name, self.trade_id, lots, order[0]))
        self._report(name, Status.PartiallyFilled if order[3] else Status.Filled)

    def doubt(self, index: int) -> None:
        if self.orders:
            name = list(self.orders)[index % len(self.orders)]
            if self.orders[name][3]:
                self._report(name, Status.Unknown)

    def _report(self, name: bytes, status: Status) -> None:
        side, lots, filled, _ = self.orders[name]
        self.reports.append(("update", name, status, filled, side, lots))

    def most(self) -> tuple[int, int]:
        """How short and how long we could be if it matched everything it has now."""
        open_lots = [(o[0], o[1] - o[2]) for o in self.orders.values() if o[3]]
        return (
            self.position - sum(lots for side, lots in open_lots if side < 0),
            self.position + sum(lots for side, lots in open_lots if side > 0),
        )


ACTIONS = st.lists(
    st.tuples(st.sampled_from("SSSAAAMMMTTTTDUQC"), st.integers(0, 1000)), min_size=20, max_size=150
)  # fmt: skip


SYMBOLS = ("BTCUSDT", "ETHUSDT", "XRPUSDT")
SUBJECTS = tuple(f"binance.{symbol}" for symbol in SYMBOLS)


STRATEGIES = (
    StrategySettings(name="a", models=("m", "a"), order_quantity="0.001", position_max="0.003"),
    StrategySettings(name="b", models=("b",), order_quantity="0.002", position_max="0.004", styles=("limit", "market")),
    StrategySettings(name="c", models=("m", "c"), target_quantity="0.002", styles=("limit_ioc", "limit")),
    StrategySettings(name="d", state="shadow", styles=("limit", "limit_ioc")),
)


def stepped(strategies=ALONE, limits=None, **changes) -> executor.Step:
    """An executor of three instruments."""
    return make(SYMBOLS, strategies, limits, instruments=("binance.*",), **changes)


def drive(step: executor.Step, actions: list[tuple[str, int]], tape: Tape, check) -> dict[str, Venue]:
    """Signal, venue Acts, Matches, Tells one report, tells a Duplicate, Unknown, Quote, Clock: each of some instrument."""
    venues = {subject: Venue() for subject in SUBJECTS}
    tape.opened(step, SUBJECTS)
    for what, n in actions:
        subject = SUBJECTS[n // 7 % len(SUBJECTS)]
        venue = venues[subject]
        event = None
        if what == "S":
            event = tape.signal(1.0 if n % 3 else -1.0, subject=subject, model="mabc"[n % 4])
        elif what == "W":
            event = tape.command(SwitchStrategy("abcd"[n % 4], ("live", "off", "shadow")[n % 3], "operator"))
        elif what == "K":
            event = tape.command(KillSwitch(n % 2 == 1, "operator"))
        elif what == "A":
            venue.act(n)
        elif what == "M":
            venue.match(n)
        elif what == "U":
            venue.doubt(n)
        elif what in "TD" and venue.reports:
            index = n % len(venue.reports)
            report = venue.reports[index] if what == "D" else venue.reports.pop(index)
            event = reported(tape, subject, report)
        elif what == "Q":
            event = tape.quote(subject=subject)
        elif what == "C":
            event = tape.clock(n)
        if event is not None:
            published = [(raw, "executor") for raw in step.step([event])]
            while published:  # an order that comes when its strategy is off is cancelled at once
                own = tape.log(*published.pop(0))
                if own.kind == Kind.intent:
                    venues[own.subject].waiting.append(own.records[0])
                published += [(raw, "executor") for raw in step.step([own])]
        for each in venues.values():
            check(step, each)
    return venues


def reported(tape: Tape, subject: str, report: tuple):
    if report[0] == "fill":
        return tape.fill(report[1], report[2], report[3], side=report[4], subject=subject)
    return tape.update(report[1], report[2], report[3], side=report[4], lots=report[5], subject=subject)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_the_position_limit_of_each_instrument_holds_whatever_the_order_of_reports(actions):
    limit = 3 * LOT

    def check(step, venue):
        least, most = venue.most()
        assert -limit <= least and most <= limit

    step, tape = stepped(position_max="0.003", orders_per_s=1000.0), Tape()
    venues = drive(step, actions, tape, check)
    for subject, venue in venues.items():
        for report in venue.reports:  # in the end all is reported
            step.step([reported(tape, subject, report)])
        instrument = step.state.instruments[subject]
        assert instrument.position.lots == venue.position
        for name, (_, _, filled, alive) in venue.orders.items():
            order = step.state.find_order(instrument, name.decode())
            assert order is not None and order.final == (not alive) and order.filled_lots == filled
    names = [name for venue in venues.values() for name in venue.orders]
    assert len(set(names)) == len(names), "an id is one order, whatever its instrument"


SWITCHED = st.lists(
    st.tuples(st.sampled_from("SSSSSAAAMMMTTTTDUQQCWK"), st.integers(0, 1000)), min_size=20, max_size=150
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SWITCHED)
def test_positions_of_strategies_add_up_and_each_stays_in_its_limits_however_they_are_switched(actions):
    account = {"position_max": "0.005"}

    def check(step, venue):
        least, most = venue.most()
        assert least >= -5 * LOT and most <= 5 * LOT

    step, tape = stepped(STRATEGIES, account, orders_per_s=1000.0), Tape()
    venues = drive(step, actions, tape, check)
    for subject, venue in venues.items():
        for report in venue.reports:
            step.step([reported(tape, subject, report)])
        instrument = step.state.instruments[subject]
        lots = {name: book.position.lots for name, book in instrument.books.items()}
        assert sum(lots.values()) == instrument.position.lots == venue.position
        assert abs(lots.get("a", 0)) <= 3 * LOT and abs(lots.get("b", 0)) <= 4 * LOT and abs(lots.get("c", 0)) <= 2 * LOT
        assert not lots.get("", 0), "each fill is of an order that the log has"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SWITCHED, st.data())
def test_a_checkpoint_anywhere_and_any_cut_into_lists_gives_the_same(actions, data):
    tape = Tape()

    def stepped() -> executor.Step:
        return make(SYMBOLS, STRATEGIES, {"on_kill": "flatten", "daily_loss_max": "0.01"}, instruments=("binance.*",))

    drive(stepped(), actions, tape, lambda step, venue: None)
    whole = stepped()
    published = [event for one in tape.events for event in whole.step([one])]
    assert whole.state.intents == sum(decode(event).kind == Kind.intent for event in published)
    cut = data.draw(st.integers(0, len(tape.events)))
    first, second = stepped(), stepped()
    again = first.step(tape.events[:cut])
    second.load(first.save())
    again = again + second.step(tape.events[cut:])
    assert [bytes(e) for e in again] == [bytes(e) for e in published]
    assert second.save() == whole.save()
    logged = [e.raw[RECORDS] for e in tape.events if e.producer == "executor"]
    assert [bytes(e[RECORDS]) for e in published] == [bytes(raw) for raw in logged]

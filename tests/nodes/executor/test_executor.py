"""The executor as a function of the log: scenarios, and a venue that reports late, twice and out of order."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, FILL, INSTRUMENT, INTENT, QUOTE, SIGNAL, UPDATE, Action, Kind, OrderType, Status
from tickmesh.bus.settings import ExecutorSettings, Mesh
from tickmesh.bus.wire import HEADER_SIZE, Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.executor import node as executor

SUBJECT = "binance.BTCUSDT"
LOG_ID = "00c0ffee00c0ffee"
BID, ASK = 6_000_000_000_000, 6_000_001_000_000
LOT = 100_000  # 60 USDT at the bid: 0.001 at 10^-8
MS = 1_000_000
START_NS = 1_700_000_000 * 1_000_000_000


def make(**changes) -> executor.Step:
    return executor.Step(Config(Mesh(executor=ExecutorSettings(**changes)), Path("/nonexistent")), "")


@dataclass
class Tape:
    """A log made by hand: whatever is said gets the next seq and the time."""

    now_ns: int = START_NS
    events: list[Event] = field(default_factory=list)

    def log(self, event: bytearray, producer: str = "test") -> Event:
        stamp_sent(event, producer.encode().ljust(16, b"\0"), 1, 1, self.now_ns)
        stamp_sequenced(event, len(self.events) + 1, 0, self.now_ns)
        self.events.append(decode(bytes(event)))
        return self.events[-1]

    def run(self, log_id: str = LOG_ID) -> Event:
        return self.log(encode(Kind.run, "sequencer", {"node": "sequencer", "log_id": log_id}), "sequencer")

    def instrument(self, tick_size=1_000_000, lot_size=1000, min_quantity=1000, min_notional=0) -> Event:
        row = (-8, -8, tick_size, lot_size, min_quantity, min_notional, 0)
        return self.log(encode(Kind.instrument, SUBJECT, np.array([row], INSTRUMENT)))

    def quote(self, bid=BID, bid_lots=5 * LOT, ask=ASK, ask_lots=5 * LOT) -> Event:
        return self.log(encode(Kind.quote, SUBJECT, np.array([(1, bid, bid_lots, ask, ask_lots, 0)], QUOTE)))

    def signal(self, value: float, cause: int | None = None, subject: str = SUBJECT) -> Event:
        row = np.array([(b"m", value, np.nan, 0, BID)], SIGNAL)
        return self.log(encode(Kind.signal, subject, row, cause_seq=cause or len(self.events)), "model-m")

    def update(self, order_id: bytes, status: Status, filled=0, side=1, lots=LOT, price=ASK) -> Event:
        row = np.zeros(1, UPDATE)
        row["client_order_id"], row["status"], row["filled_lots"] = order_id, status, filled
        row["side"], row["quantity_lots"], row["price_ticks"] = side, lots, price
        row["order_type"], row["time_in_force"] = OrderType.LIMIT, 1
        return self.log(encode(Kind.update, SUBJECT, row), "session")

    def fill(self, order_id: bytes, trade_id: int, lots: int, side=1, price=ASK) -> Event:
        row = np.zeros(1, FILL)
        row["client_order_id"], row["trade_id"], row["quantity_lots"] = order_id, trade_id, lots
        row["side"], row["price_ticks"], row["fee"], row["fee_asset"] = side, price, 7, b"USDT"
        return self.log(encode(Kind.fill, SUBJECT, row), "session")

    def clock(self, pass_ms: float) -> Event:
        self.now_ns += int(pass_ms * MS)
        row = np.array([(self.now_ns, 0, 0)], DTYPES[Kind.clock])
        return self.log(encode(Kind.clock, "sequencer", row), "sequencer")

    def opened(self, step: executor.Step, **instrument) -> "Tape":
        step.step([self.run(), self.instrument(**instrument), self.quote()])
        return self


def intents(said: list[bytearray]) -> list[np.void]:
    return [np.frombuffer(event, INTENT, 1, HEADER_SIZE)[0] for event in said]


def test_layouts_are_the_schemas():
    for kind, layout in executor.STRUCTS.items():
        dtype = DTYPES[kind]
        raw = bytes(range(1, 256))[: dtype.itemsize]
        from_numpy = list(np.frombuffer(raw, dtype)[0].item())
        from_struct = list(layout.unpack(raw))
        for a, b in zip(from_numpy, from_struct, strict=True):
            assert a == b or (a != a and b != b)


def test_a_strong_signal_becomes_an_intent_with_a_name_that_follows_from_the_log():
    step, tape = make(styles=("limit_ioc",)), Tape()
    tape.opened(step)
    said = step.step([tape.signal(0.9)])
    (intent,) = intents(said)
    assert intent["client_order_id"] == b"t00c0ffee00c0ffee-4-0"
    assert (intent["action"], intent["side"], intent["order_type"], intent["time_in_force"]) == (1, 1, 1, 2)
    assert (intent["price_ticks"], intent["quantity_lots"]) == (ASK, LOT)
    assert intent["expires_ns"] == tape.now_ns + 5000 * MS
    assert decode(said[0]).cause_seq == 4


def test_weak_signals_and_other_instruments_change_nothing():
    step, tape = make(), Tape()
    tape.opened(step)
    assert step.step([tape.signal(0.59), tape.signal(float("nan")), tape.signal(0.9, subject="binance.ETHUSDT")]) == []
    assert step.counters()["signals"] == 0


def test_styles_take_turns():
    step, tape = make(styles=("limit_ioc", "limit", "market", "limit_maker")), Tape()
    tape.opened(step)
    got = [intents(step.step([tape.signal(1.0)]))[0] for _ in range(4)]
    assert [int(i["order_type"]) for i in got] == [1, 1, 2, 3]
    assert [int(i["price_ticks"]) for i in got] == [ASK, BID, 0, BID]


def test_nothing_is_said_before_log_identity_and_instrument_are_known():
    step, tape = make(), Tape()
    assert step.step([tape.quote(), tape.signal(1.0), tape.instrument(), tape.signal(1.0)]) == []
    assert step.step([tape.run(), tape.signal(1.0)]) != []
    assert step.counters()["refused"] == {"not_ready": 2}


def test_only_the_sequencers_run_event_names_the_log():
    step, tape = make(), Tape()
    step.step([tape.instrument(), tape.quote()])
    step.step([tape.log(encode(Kind.run, "model-x", {"log_id": "f" * 16}), "model-x")])
    assert step.step([tape.signal(1.0)]) == []


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda tape: [tape.clock(2001)], "stale_quote"),
        (lambda tape: [tape.quote(ask=0, ask_lots=0)], "quote"),
        (lambda tape: [tape.quote(bid=ASK + 1_000_000)], "quote"),
        (lambda tape: [tape.quote(ask=ASK + 1)], "price"),
        (lambda tape: [tape.instrument(min_quantity=LOT + 1)], "quantity"),
        (lambda tape: [tape.instrument(lot_size=3000)], "quantity"),
        (lambda tape: [tape.instrument(min_notional=100 * 10**8)], "notional"),
    ],
)
def test_refusals_are_counted_by_reason(prepare, reason):
    step, tape = make(styles=("limit_ioc",), order_quantity="0.001"), Tape()
    tape.opened(step)
    assert step.step([*prepare(tape), tape.signal(1.0)]) == []
    assert step.counters()["refused"] == {reason: 1}


def test_a_signal_about_the_past_is_ignored():
    """A model that catches up after a restart speaks of quotes that are long gone."""
    step, tape = make(), Tape()
    tape.opened(step)
    for _ in range(30):
        step.step([tape.clock(100), tape.quote()])
    assert step.step([tape.signal(1.0, cause=3)]) == []
    assert step.counters()["refused"] == {"stale_signal": 1}
    assert step.step([tape.signal(1.0, cause=len(tape.events) - 5)]) != []


def test_order_rate_is_bounded_by_the_time_of_the_log():
    step, tape = make(orders_per_s=2.0, position_max="1"), Tape()
    tape.opened(step)
    assert len(step.step([tape.signal(1.0) for _ in range(5)])) == 2
    assert step.counters()["refused"] == {"rate": 3}
    step.step([tape.clock(499)])
    assert step.step([tape.signal(1.0)]) == []
    step.step([tape.clock(1)])
    assert len(step.step([tape.signal(1.0), tape.signal(1.0)])) == 1


def test_pending_intents_count_in_the_exposure_until_a_final_report():
    step, tape = make(position_max="0.002", styles=("limit_ioc",)), Tape()
    tape.opened(step)
    said = step.step([tape.signal(1.0), tape.signal(1.0), tape.signal(1.0)])
    assert len(said) == 2 and step.counters()["refused"] == {"position": 1}
    step.step([tape.clock(60_000), tape.quote()])  # long expired, but nobody has said what became of them
    assert step.step([tape.signal(1.0)]) == []
    first = intents(said)[0]["client_order_id"]
    step.step([tape.update(first, Status.Rejected)])
    assert len(step.step([tape.signal(1.0)])) == 1


def test_at_the_limit_only_the_other_side_is_traded():
    step, tape = make(position_max="0.001", styles=("limit_ioc",)), Tape()
    tape.opened(step)
    (intent,) = intents(step.step([tape.signal(1.0)]))
    order_id = intent["client_order_id"]
    step.step([tape.fill(order_id, 1, LOT), tape.update(order_id, Status.Filled, LOT)])
    assert step.counters()["position"] == pytest.approx(0.001)
    assert step.step([tape.signal(1.0)]) == []
    (back,) = intents(step.step([tape.signal(-1.0)]))
    assert back["side"] == -1
    assert step.step([tape.signal(-1.0)]) != [], "from long 0.001 to short 0.001 are two orders"
    assert step.step([tape.signal(-1.0)]) == []


def test_filled_before_its_fills_still_counts():
    step, tape = make(position_max="0.001", styles=("limit_ioc",)), Tape()
    tape.opened(step)
    order_id = intents(step.step([tape.signal(1.0)]))[0]["client_order_id"]
    step.step([tape.update(order_id, Status.Filled, LOT)])
    assert step.counters()["position"] == 0 and step.step([tape.signal(1.0)]) == []
    step.step([tape.fill(order_id, 9, LOT), tape.fill(order_id, 9, LOT)])
    assert step.counters()["position"] == pytest.approx(0.001) and step.counters()["fills"] == 1


def test_unknown_counts_and_can_be_resolved():
    step, tape = make(position_max="0.001", styles=("limit",)), Tape()
    tape.opened(step)
    order_id = intents(step.step([tape.signal(1.0)]))[0]["client_order_id"]
    step.step([tape.update(order_id, Status.Unknown)])
    assert step.step([tape.signal(1.0)]) == [] and step.counters()["open_orders"] == 1
    step.step([tape.update(order_id, Status.Canceled)])
    assert len(step.step([tape.signal(1.0)])) == 1


def test_a_resting_order_is_cancelled_after_its_time_and_again_ever_more_rarely():
    step, tape = make(styles=("limit",)), Tape()
    tape.opened(step)
    order_id = intents(step.step([tape.signal(1.0)]))[0]["client_order_id"]
    step.step([tape.update(order_id, Status.New)])
    assert step.step([tape.clock(1999)]) == []
    (cancel,) = intents(step.step([tape.clock(1)]))
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, order_id)
    assert cancel["client_order_id"] == f"t{LOG_ID}-{len(tape.events):x}-0".encode()
    step.step([tape.update(cancel["client_order_id"], Status.Rejected)])
    assert step.counters()["open_orders"] == 1, "a refused cancel is no refused order"
    said = [intent for _ in range(200) for intent in intents(step.step([tape.clock(100)]))]
    assert [i["target_id"] for i in said] == [order_id, order_id], "after 5 s and after 10 s more"
    step.step([tape.update(order_id, Status.Canceled)])
    assert step.step([tape.clock(600_000)]) == []


def test_a_turned_signal_cancels_what_rests_on_the_other_side_first():
    step, tape = make(styles=("limit", "market")), Tape()
    tape.opened(step)
    order_id = intents(step.step([tape.signal(1.0)]))[0]["client_order_id"]
    step.step([tape.update(order_id, Status.New)])
    (cancel,) = intents(step.step([tape.signal(-1.0)]))
    assert (cancel["action"], cancel["target_id"]) == (Action.CANCEL, order_id)
    assert step.step([tape.signal(-1.0)]) == []
    step.step([tape.update(order_id, Status.Canceled)])
    assert intents(step.step([tape.signal(-1.0)]))[0]["order_type"] == OrderType.MARKET


def test_orders_of_another_life_count_and_ours_are_cancelled():
    step, tape = make(position_max="0.001"), Tape()
    tape.opened(step)
    lost = b"tdeadbeefdeadbeef-77-0"  # of a tail that a power cut took
    step.step([tape.update(lost, Status.New), tape.update(b"by-hand", Status.New, price=BID)])
    assert step.step([tape.signal(1.0)]) == []
    assert [i["target_id"] for i in intents(step.step([tape.clock(2000)]))] == [lost]


def test_an_intent_that_the_log_passed_by_was_never_said():
    """Other settings: the replay makes intents that the one who ran before did not make."""
    step, tape = make(position_max="0.002", styles=("limit_ioc",)), Tape()
    tape.opened(step)
    step.step([tape.signal(1.0), tape.signal(1.0)])
    row = np.zeros(1, INTENT)
    row["client_order_id"], row["action"], row["side"], row["quantity_lots"] = b"t0-old", Action.NEW, -1, LOT
    step.step([tape.log(encode(Kind.intent, SUBJECT, row, cause_seq=5), "executor")])
    assert set(step.state.orders) == {f"t{LOG_ID}-5-0", "t0-old"}


def test_a_state_of_other_settings_is_refused():
    with pytest.raises(ValueError, match="other code or parameters"):
        make(order_ttl_ms=1).load(make().save())
    with pytest.raises(ValueError, match="cannot be read"):
        make().load(b"{")


class Venue:
    """Acts on intents when it likes, matches what it likes, and queues its reports to be told in any order."""

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


def drive(step: executor.Step, actions: list[tuple[str, int]], tape: Tape, check) -> Venue:
    """Signal, venue Acts, Matches, Tells one report, tells a Duplicate, Unknown, Quote, Clock."""
    venue = Venue()
    tape.opened(step)
    for what, n in actions:
        event = None
        if what == "S":
            event = tape.signal(1.0 if n % 3 else -1.0)
        elif what == "A":
            venue.act(n)
        elif what == "M":
            venue.match(n)
        elif what == "U":
            venue.doubt(n)
        elif what in "TD" and venue.reports:
            index = n % len(venue.reports)
            report = venue.reports[index] if what == "D" else venue.reports.pop(index)
            if report[0] == "fill":
                event = tape.fill(report[1], report[2], report[3], side=report[4])
            else:
                event = tape.update(report[1], report[2], report[3], side=report[4], lots=report[5])
        elif what == "Q":
            event = tape.quote()
        elif what == "C":
            event = tape.clock(n)
        if event is not None:
            for raw in step.step([event]):
                own = tape.log(raw, "executor")
                venue.waiting.append(own.records[0])
                assert step.step([own]) == []
        check(step, venue)
    return venue


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS)
def test_the_position_limit_holds_whatever_the_order_of_reports(actions):
    limit = 3 * LOT

    def check(step, venue):
        least, most = venue.most()
        assert -limit <= least and most <= limit

    step, tape = make(position_max="0.003", orders_per_s=1000.0), Tape()
    venue = drive(step, actions, tape, check)
    for report in venue.reports:  # in the end all is told
        if report[0] == "fill":
            step.step([tape.fill(report[1], report[2], report[3], side=report[4])])
        else:
            step.step([tape.update(report[1], report[2], report[3], side=report[4], lots=report[5])])
    assert step.state.position.lots == venue.position
    for name, (_, _, filled, alive) in venue.orders.items():
        order = step.state.find(name.decode())
        assert order is not None and order.final == (not alive) and order.filled_lots == filled


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS, st.data())
def test_a_checkpoint_anywhere_and_any_cut_into_lists_gives_the_same(actions, data):
    tape = Tape()
    drive(make(), actions, tape, lambda step, venue: None)
    whole = make()
    said = [event for one in tape.events for event in whole.step([one])]
    assert whole.state.intents == len(said)
    cut = data.draw(st.integers(0, len(tape.events)))
    first, second = make(), make()
    again = first.step(tape.events[:cut])
    second.load(first.save())
    again = again + second.step(tape.events[cut:])
    assert [bytes(e) for e in again] == [bytes(e) for e in said]
    assert second.save() == whole.save()
    logged = [e.raw[HEADER_SIZE:] for e in tape.events if e.kind == Kind.intent]
    assert [bytes(e[HEADER_SIZE:]) for e in said] == [bytes(raw) for raw in logged]


def test_ids_fit_the_venue_for_ever():
    step, tape = make(), Tape()
    tape.opened(step)
    event = tape.signal(1.0)
    event.seq = 2**63
    (intent,) = intents(step.step([event]))
    assert intent["client_order_id"].decode().startswith(f"t{LOG_ID}-8000000000000000-0"[:36])
    assert len(intent["client_order_id"]) <= 36

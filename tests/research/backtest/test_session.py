"""Between executor and venue: what is refused, reduced and cancelled, and that a connection keeps its order."""

import numpy as np
import pytest

from tests.support.backtest_scene import DEFINITION, MS, SUBJECTS, scene
from tests.support.stored import START, Market
from tickmesh.bus.schema import DEPTH, DTYPES, INSTRUMENT, INTENT, QUOTE, TRADE, Action, Flag, Kind, OrderType, Status
from tickmesh.bus.wire import Event, decode, encode
from tickmesh.nodes.exchange.market.latency import ConstantLatency, Latency, SampledLatency
from tickmesh.research.backtest import venue_arrays, venue_kernel
from tickmesh.research.backtest.recorded_latency import recorded_latency
from tickmesh.research.backtest.session import BacktestSession
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue, MarketRows
from tickmesh.storage.query.times import ReadError

BID, LOTS = 600_000, 50


class Script:
    """A session at a venue with 10 lots at BID and at BID + 1, and what is done with it."""

    def __init__(self, latency, tick_size: int = 1, subject: str = SUBJECTS[0], **assumed):
        terms, self.subject = VenueTerms(latency=latency, **assumed), subject
        self.venue = ColumnVenue(1, terms)
        self.session = BacktestSession(self.venue, terms, (subject,), ("a",))
        record = np.array([DEFINITION], INSTRUMENT)
        record["tick_size"], record["lot_size"] = tick_size, 10
        self.session.define(0, record[0])
        rows = np.zeros(2, venue_arrays.MARKET_ROW)
        rows["what"], rows["kind"] = (venue_kernel.BOOK, venue_kernel.TRADE), (Kind.depth, Kind.trade)
        rows["flags"], rows["last_id"], rows["count"] = (Flag.SNAPSHOT, 0), (1, 0), (2, 1)
        levels = np.array([(BID, 10, 1, b""), (BID + 1, 10, -1, b"")], DEPTH)
        self.market = MarketRows(rows, np.zeros(0, QUOTE), np.array([(1, BID, 45, 0, 0, -1, b"")], TRADE), levels)
        self.venue.pass_rows(self.market, 0, 1)
        self.now_ns = START

    def say(
        self, name: str, action: Action = Action.NEW, target: str = "", lots: int = LOTS, price: int = BID, side: int = 1,
        reduce_only: bool = False,
    ) -> None:  # fmt: skip
        """The executor says an intent; `price` 0: a market order."""
        row = np.zeros(1, INTENT)
        row["client_order_id"], row["target_id"], row["action"], row["strategy"] = name.encode(), target.encode(), action, b"a"
        row["side"], row["order_type"], row["time_in_force"] = side, OrderType.LIMIT if price else OrderType.MARKET, 1
        row["price_ticks"], row["quantity_lots"], row["reduce_only"] = price, lots, reduce_only
        event = Event(encode(Kind.intent, self.subject, row))
        event.seq_ns = self.now_ns
        self.session.take_answers([event])

    def trade(self, ns: int) -> None:
        """45 lots are sold at BID."""
        _, reports = self.venue.pass_rows(self.market, 1, 2)
        self.session.take_reports(reports, ns)

    def arrived(self) -> list[tuple[float, str, str, int, int]]:
        """All that arrives: ms since the start, name of the order, status or "fill", lots and filled lots."""
        out = []
        while self.session.next_ns is not None:
            at_ns, raw = self.session.arrive()
            if raw is None:
                continue
            event = decode(bytes(raw))
            (one,) = event.records
            what = "fill" if event.kind == Kind.fill else Status(int(one["status"])).name
            filled = int(one["filled_lots"]) if event.kind == Kind.update else 0
            out.append(((at_ns - START) / MS, one["client_order_id"].decode(), what, int(one["quantity_lots"]), filled))
        return out


@pytest.mark.parametrize("terms", [{"lots": 55}, {"price": BID + 1}, {"lots": 0}])
def test_what_the_filters_refuse_is_rejected_after_there_and_back(terms):
    script = Script(ConstantLatency(5.0, 3.0), tick_size=10)
    script.say("x", **terms)
    assert [one[:3] for one in script.arrived()] == [(8.0, "x", "Rejected")]
    assert script.session.orders()["status"].tolist() == [Status.Rejected] and not len(script.venue.resting)


def test_an_order_is_reduced_in_its_place_and_fills_by_what_is_left():
    script = Script(ConstantLatency(0.0, 0.0))
    script.say("x")
    script.say("y", Action.AMEND, "x", lots=20)
    assert script.arrived() == [(0.0, "x", "New", 50, 0), (0.0, "x", "New", 20, 0)]
    script.trade(START + MS)
    script.say("z", Action.AMEND, "x", lots=10)
    said = script.arrived()
    assert said == [(1.0, "x", "fill", 20, 0), (1.0, "x", "Filled", 20, 20), (1.0, "z", "Rejected", 20, 20)], (
        "10 stood before it"
    )
    (order,) = script.session.orders()
    assert (order["quantity"], order["filled"], order["ended_ns"]) == (0.02, 0.02, START + MS)
    assert script.session.fills()["fee"] == pytest.approx(60_000 * 0.02 / 1000)


def test_a_cancel_says_what_was_filled_before_it_and_one_that_comes_too_late_says_nothing():
    script = Script(ConstantLatency(0.0, 0.0))
    script.say("x")
    script.arrived()
    script.trade(START + MS)
    script.now_ns += 2 * MS
    script.say("c", Action.CANCEL, "x")
    script.say("d", Action.CANCEL, "x")
    script.say("e", Action.CANCEL, "never")
    assert script.arrived()[1:] == [(1.0, "x", "PartiallyFilled", 50, 30), (2.0, "x", "Canceled", 50, 30)]
    assert not len(script.venue.resting)


def test_what_an_account_cannot_pay_is_rejected_and_counted():
    script = Script(ConstantLatency(0.0, 0.0), balances={"binance": {"USDT": 3000 * 10**8}})
    script.say("x")
    script.say("y")
    script.say("s", side=-1, price=BID + 1)
    assert [one[1:3] for one in script.arrived()] == [("x", "New"), ("y", "Rejected"), ("s", "Rejected")]
    assert script.session.rejected == {"Account has insufficient balance for requested action.": 2}
    script.say("c", Action.CANCEL, "x")
    script.say("z")
    assert [one[1:3] for one in script.arrived()] == [("x", "Canceled"), ("z", "New")], "what it had locked is free"


def test_an_order_that_only_reduces_is_filled_as_far_as_the_position_goes_and_does_not_outlive_it():
    script = Script(ConstantLatency(0.0, 0.0), subject="binance_usdm.BTCUSDT", balances={"binance_usdm": {"USDT": 10**15}})
    script.say("none", side=-1, price=0, reduce_only=True)
    script.say("long", lots=10, price=0)
    assert [one[1:] for one in script.arrived()] == [
        ("none", "Rejected", 50, 0), ("long", "fill", 10, 0), ("long", "Filled", 10, 10),
    ]  # fmt: skip
    script.say("rests", lots=10, price=BID + 1, side=-1, reduce_only=True)
    script.say("takes", lots=30, price=0, side=-1, reduce_only=True)
    said = [one[1:] for one in script.arrived()]
    assert said == [
        ("rests", "New", 10, 0), ("takes", "fill", 10, 0), ("takes", "PartiallyFilled", 30, 10), ("takes", "Expired", 30, 10),
        ("rests", "Expired", 10, 0),
    ], said  # fmt: skip
    assert not len(script.venue.resting)


class FasterEachTime:
    """A latency that falls: whoever is sent later would overtake."""

    def __init__(self):
        self._ms = [40, 30, 20, 10, 5, 1]

    def at(self, now_ns: int) -> Latency:
        """The next one, both ways."""
        ms = self._ms.pop(0)
        return Latency(ms / 1000, ms / 1000)


def test_what_is_sent_later_arrives_no_earlier():
    script = Script(FasterEachTime())
    script.say("x")
    script.say("c", Action.CANCEL, "x")
    assert script.arrived() == [(80.0, "x", "New", 50, 0), (80.0, "x", "Canceled", 50, 0)]


def test_a_measured_way_there_goes_with_its_way_back():
    script = Script(SampledLatency([(1.0, 100.0), (100.0, 1.0)], 1))
    for number in range(20):
        script.say(f"x{number}", price=BID - 1000)
        ((at_ms, *_),) = script.arrived()
        assert at_ms - (script.now_ns - START) / MS == 101.0
        script.now_ns += 1000 * MS


def test_every_venue_has_a_connection_of_its_own():
    terms = VenueTerms(latency=FasterEachTime())
    subjects = ("binance.BTCUSDT", "kraken.BTC/USD")
    session = BacktestSession(ColumnVenue(2, terms), terms, subjects, ("a",))
    for subject in subjects:
        event = Event(encode(Kind.intent, subject, np.zeros(1, INTENT)))
        event.seq_ns = START
        session.take_answers([event])
    assert (session.next_ns or 0) - START == 30 * MS, "the second does not wait for the first"


def test_the_latency_of_a_recording_is_that_of_its_orders(tmp_path):
    market = Market()
    raws = []
    for name, there, back in ((b"t1", 4, 2), (b"t2", 9, 3)):
        intent, update = np.zeros(1, INTENT), np.zeros(1, DTYPES[Kind.update])
        intent["client_order_id"] = update["client_order_id"] = name
        intent["action"], update["status"] = Action.NEW, Status.New
        raws.append(market.event(Kind.intent, SUBJECTS[0], intent, producer=b"executor", step_ns=MS))
        update["venue_ns"] = market.seq_ns + there * MS
        raws.append(market.event(Kind.update, SUBJECTS[0], update, producer=b"session", step_ns=(there + back) * MS))
    own = (Status.Unknown, b"session"), (Status.Rejected, b"session"), (Status.Rejected, b"reconcile")
    for status, origin in own:  # the session's own words, of an order that never was at the venue
        intent, update = np.zeros(1, INTENT), np.zeros(1, DTYPES[Kind.update])
        intent["client_order_id"], update["client_order_id"] = b"t3", b"t3"
        intent["action"], update["status"] = Action.NEW, status
        update["origin"] = origin
        raws.append(market.event(Kind.intent, SUBJECTS[0], intent, producer=b"executor", step_ns=MS))
        raws.append(market.event(Kind.update, SUBJECTS[0], update, producer=b"session", step_ns=MS))
    config = scene(tmp_path, raws, ())
    model = recorded_latency(config, SUBJECTS)
    assert [model.at(ns) for ns in (0, START + (1 << 40))] == [pytest.approx((0.004, 0.002)), pytest.approx((0.009, 0.003))]
    with pytest.raises(ReadError, match="no order on kraken.X was recorded"):
        recorded_latency(config, ("kraken.X",))

"""Live orders beside the simulated venue's: what is reproduced, what was planted, and why the rest is not."""

import math

import numpy as np
import pytest

import tickmesh
from tests.support.backtest_scene import MS
from tests.support.compare_scene import ASK, BID, BTC, LiveRun
from tickmesh.bus.schema import Status
from tickmesh.research.backtest.live_orders import read_live_orders
from tickmesh.research.backtest.log_times import LogTimes
from tickmesh.research.compare.own_orders import left_at
from tickmesh.research.compare.running import compare
from tickmesh.storage.query.times import ReadError


def taken(run: LiveRun, name: str = "t", price: int = ASK, lots: int = 30) -> None:
    """An order that takes 30 at the ask; `price`, `lots`: what the session reports of it."""
    run.take(name, 1, ASK, 30)
    at_ns = run.venue_ns
    trade = run.trade(ASK, 30, 1)
    run.quote(100, 70)
    run.fill(name, trade, 1, price, lots, False, at_ns)
    run.update(name, Status.Filled, at_ns)
    run.book(100, 70)


def rested(run: LiveRun, name: str = "m", reported: bool = True) -> None:
    """An order of 50 behind 100, of which 20 and 30 are filled; `reported`: whether the session reports the fills."""
    run.rest(name, 1, BID, 50)
    accepted_ns = run.venue_ns
    run.quote(150, 100)
    run.update(name, Status.New, accepted_ns)
    run.book(150, 100)
    run.trade(BID, 100, -1)
    run.quote(50, 100)
    for lots, left in ((20, 30), (30, 0)):
        at_ns = run.venue_ns
        trade = run.trade(BID, lots, -1)
        if reported:
            run.fill(name, trade, 1, BID, lots, True, at_ns)
        run.quote(left or 500, 100, bid=BID if left else BID - 1)
    run.update(name, Status.Filled if reported else Status.New, run.venue_ns)
    run.book(0, 100)
    run.book(100, 100)


def outcomes(found) -> dict:
    return {one.client_order_id: (one.outcome, one.reason) for one in found.orders}


def test_what_a_venue_filled_is_filled_again_at_the_same_price(tmp_path):
    run = LiveRun()
    taken(run)
    rested(run)
    found = compare(run.laid(tmp_path), queue="risk_averse", fitted=False)
    assert found.share == 1.0 and outcomes(found) == {"t": ("same", ""), "m": ("same", "")}
    taker, maker = found.orders
    assert (taker.live.filled, taker.live.price) == pytest.approx((0.03, 60000.1))
    assert (taker.backtest.filled, taker.backtest.price) == (taker.live.filled, taker.live.price)
    assert taker.live.slippage_bp == taker.backtest.slippage_bp == pytest.approx(0.05 / 60000.05 * 1e4)
    assert (maker.backtest.filled, maker.same) == pytest.approx((0.05, 0.05)) and maker.live.slippage_bp < 0
    assert taker.later_ns == -1 and maker.later_ns == 0, "a taker arrives 1 ns before its own trade"


@pytest.mark.parametrize(
    ("change", "expected", "share"),
    [
        (dict(price=ASK + 1), ("other", "price_moved"), 0.5),
        (dict(lots=20), ("other", "price_moved"), 1.0),
    ],
)
def test_a_planted_price_or_quantity_is_shown(tmp_path, change, expected, share):
    run = LiveRun()
    taken(run, **change)
    rested(run)
    found = compare(run.laid(tmp_path), fitted=False)
    assert outcomes(found) == {"t": expected, "m": ("same", "")} and found.share == share
    assert found.outcomes == {"same": 1, "other": 1} and found.reasons == {"price_moved": 1}


def test_a_fill_that_is_missing_live_is_shown(tmp_path):
    run = LiveRun()
    rested(run, reported=False)
    found = compare(run.laid(tmp_path), fitted=False)
    assert outcomes(found) == {"m": ("only_backtest", "queue")} and math.isnan(found.share)


def test_a_fill_that_the_simulated_venue_has_not_is_shown(tmp_path):
    """The venue says that it filled us, though nobody traded there."""
    run = LiveRun()
    run.rest("m", 1, BID, 50)
    accepted_ns = run.venue_ns
    run.quote(150, 100)
    run.update("m", Status.New, accepted_ns)
    run.fill("m", 999, 1, BID, 50, True, run.venue_ns)
    run.update("m", Status.Filled, run.venue_ns)
    run.trade(BID, 10, -1)
    found = compare(run.laid(tmp_path), fitted=False)
    assert outcomes(found) == {"m": ("only_live", "queue")} and found.share == 0.0


def test_an_order_does_not_queue_behind_itself(tmp_path):
    """All others leave, so what is left of the level is ours, and the next sale is, too."""
    run = LiveRun()
    run.rest("m", 1, BID, 50)
    accepted_ns = run.venue_ns
    run.quote(150, 100)
    run.update("m", Status.New, accepted_ns)
    run.book(150, 100)
    run.book(50, 100)
    at_ns = run.venue_ns
    trade = run.trade(BID, 50, -1)
    run.fill("m", trade, 1, BID, 50, True, at_ns)
    run.update("m", Status.Filled, at_ns)
    found = compare(run.laid(tmp_path), fitted=False)
    assert outcomes(found) == {"m": ("same", "")}


def test_a_cancel_comes_when_it_came(tmp_path):
    """One is cancelled before it is reached; of the other the cancel is sent before the fill, and comes too late."""
    run = LiveRun()
    run.rest("a", 1, BID, 50)
    accepted_ns = run.venue_ns
    run.quote(150, 100)
    run.update("a", Status.New, accepted_ns)
    run.trade(BID, 90, -1)
    run.cancel("a")
    at_ns = run.venue_ns
    run.quote(10, 100)
    run.update("a", Status.Canceled, at_ns)
    run.trade(BID, 10, -1)
    run.book(100, 100)
    run.quote(100, 100)
    run.rest("b", 1, BID, 50)
    accepted_ns = run.venue_ns
    run.quote(150, 100)
    run.update("b", Status.New, accepted_ns)
    run.trade(BID, 100, -1)
    run.cancel("b")
    for lots in range(90, 70, -1):  # for longer than orders took to the venue
        run.quote(50, lots)
    at_ns = run.venue_ns
    trade = run.trade(BID, 50, -1)
    run.fill("b", trade, 1, BID, 50, True, at_ns)
    run.update("b", Status.Filled, at_ns)
    found = compare(run.laid(tmp_path), fitted=False)
    assert outcomes(found) == {"a": ("unfilled", ""), "b": ("same", "")}
    assert [one.backtest.status for one in found.orders] == ["Canceled", "Filled"]


def test_what_never_reached_the_venue_says_so(tmp_path):
    run = LiveRun()
    run.health("session")
    run.take("away", 1, ASK, 30)
    run.update("away", Status.Expired)
    run.begin("session")
    run.take("late", 1, ASK, 30)
    run.update("late", Status.Expired)
    taken(run)
    found = compare(run.laid(tmp_path), fitted=False)
    assert outcomes(found) == {"away": ("unfilled", "mesh_down"), "late": ("unfilled", "not_sent"), "t": ("same", "")}
    assert [name for *_, name in found.down] == ["session"] and found.share == 1.0


def test_an_order_that_the_venue_refused_has_reached_it(tmp_path):
    """A refusal has no time of the venue: the order was there by the answer, and the simulated venue refuses it too."""
    run = LiveRun()
    run.rest("m", 1, ASK, 50)
    run.update("m", Status.Rejected, reason="Order would immediately match and take.")
    run.take("late", 1, ASK, 30)
    run.update("late", Status.Rejected, origin=b"session")
    taken(run)
    found = compare(run.laid(tmp_path), fitted=False)
    assert outcomes(found) == {"m": ("unfilled", ""), "late": ("unfilled", "not_sent"), "t": ("same", "")}
    assert [one.backtest.status for one in found.orders] == ["Rejected", "", "Filled"]


def test_an_order_of_before_the_time_that_is_compared_is_not_in_the_market_either(tmp_path):
    """It stood in the level when the second one came; without it nobody is before that, and the next sale is its."""
    run = LiveRun()
    run.rest("before", 1, BID, 100)
    accepted_ns = run.venue_ns
    run.quote(200, 100)
    run.update("before", Status.New, accepted_ns)
    run.quote(100, 100)  # of it alone: the others leave
    run.book(100, 100)
    begin_ns = run.market.seq_ns
    run.rest("m", 1, BID, 50)
    accepted_ns = run.venue_ns
    run.quote(150, 100)
    run.update("m", Status.New, accepted_ns)
    run.book(150, 100)
    at_ns = run.venue_ns
    trade = run.trade(BID, 50, -1)
    run.fill("m", trade, 1, BID, 50, True, at_ns)
    run.update("m", Status.Filled, at_ns)
    found = compare(run.laid(tmp_path), start=begin_ns, queue="risk_averse", fitted=False)
    assert outcomes(found) == {"m": ("same", "")}


def test_what_an_amendment_left_of_an_order_is_all_that_is_taken_out(tmp_path):
    run = LiveRun()
    run.rest("m", 1, BID, 50)
    accepted_ns = run.venue_ns
    run.quote(150, 100)
    run.update("m", Status.New, accepted_ns)
    run.update("m", Status.New, run.venue_ns, lots=20)
    (order,) = read_live_orders(run.laid(tmp_path), (BTC,)).orders
    before_ns, after_ns = order.reduced[0][0] - 1, order.reduced[0][0]
    assert left_at(order, np.array([before_ns, after_ns])).tolist() == [50, 20] and order.lots == 20


def test_when_the_venue_had_an_order_is_read_from_the_market_around_it(tmp_path):
    run = LiveRun()
    taken(run)
    trade_ns = run.market.seq_ns - 5 * MS
    run.rest("m", 1, BID, 50)
    accepted_ns = run.venue_ns
    run.trade(ASK, 1, 1)  # of the same time of the venue, and before it
    run.quote(100, 69)
    run.quote(150, 69)
    quote_ns = run.market.seq_ns
    run.update("m", Status.New, accepted_ns)
    taker, maker = read_live_orders(run.laid(tmp_path), (BTC,)).orders
    assert taker.arrived_ns < taker.fills[0].at_ns == taker.arrived_ns + 1 == trade_ns + MS
    assert maker.arrived_ns == quote_ns - 1 and maker.answered_ns == quote_ns + MS
    assert maker.cause_ns < maker.sent_ns and maker.sent_ns - maker.cause_ns == 2 * MS, "signal, then intent"


def test_one_that_joins_behind_the_best_price_is_seen_in_the_book(tmp_path):
    """Quotes with a better price say nothing of its level."""
    run = LiveRun()
    run.rest("m", 1, BID - 1, 50)
    accepted_ns = run.venue_ns
    run.quote(90, 100)
    run.raws.append(run.market.depth([(BID - 1, 550, 1)], run.market.seq, subject=BTC))
    joined_ns = run.market.seq_ns
    run.quote(80, 100)
    run.trade(ASK, 1, 1)
    run.update("m", Status.New, accepted_ns)
    (order,) = read_live_orders(run.laid(tmp_path), (BTC,)).orders
    assert order.arrived_ns == joined_ns - 1


def test_a_cancel_is_not_held_back_by_an_order_that_was_sent_before_it_and_arrives_later(tmp_path):
    run = LiveRun()
    run.rest("b", 1, BID, 50)
    accepted_ns = run.venue_ns
    run.quote(150, 100)
    run.update("b", Status.New, accepted_ns)
    run.book(150, 100)
    run.rest("slow", 1, BID - 1, 50)
    run.cancel("b")
    at_ns = run.venue_ns
    run.quote(100, 100)
    run.update("b", Status.Canceled, at_ns)
    run.trade(BID, 100, -1)
    run.trade(BID, 60, -1)
    accepted_ns = run.venue_ns
    run.trade(ASK, 1, 1)
    run.update("slow", Status.New, accepted_ns)
    found = compare(run.laid(tmp_path), fitted=False)
    assert outcomes(found) == {"b": ("unfilled", ""), "slow": ("unfilled", "")}


def test_the_fit_finds_the_latency_and_the_queue_that_the_recording_has(tmp_path):
    """Everybody before us leaves, which only quotes show: the fit has to choose them."""
    run = LiveRun()
    for name in ("a", "b"):
        run.rest(name, 1, BID, 50)
        accepted_ns = run.venue_ns
        run.quote(150, 100)
        run.update(name, Status.New, accepted_ns)
        run.quote(50, 100)
        run.quote(150, 100)
        at_ns = run.venue_ns
        trade = run.trade(BID, 50, -1)
        run.fill(name, trade, 1, BID, 50, True, at_ns)
        run.update(name, Status.Filled, at_ns)
        run.quote(100, 100)
        run.book(100, 100)
    calls = []
    found = compare(run.laid(tmp_path), shown=lambda done, of: calls.append((done, of)))
    assert found.share == 1.0 and found.settings["quotes"] is True and found.fit.best.missed == 0.0
    assert {one.missed for one in found.fit.queues if not one.quotes} == {1.0}
    asked = compare(run.laid(tmp_path), queue="risk_averse")
    assert asked.settings["queue"] == "risk_averse" and asked.settings["quotes"] is True, "what is not asked for is fitted"
    latency = found.fit.latency
    assert latency.orders == 2 and (latency.entry.p50, latency.sending.p50) == pytest.approx((4.0, 2.0), abs=1e-3)
    assert calls[0] == (0, 7) and calls[-1] == (7, 7)


def test_a_fill_is_of_the_trade_with_its_id_in_its_own_era(tmp_path):
    run = LiveRun()
    taken(run)
    rested(run)
    run.begin_ids_anew()
    taken(run, "again")
    config = run.laid(tmp_path)
    first, _, again = read_live_orders(config, (BTC,)).orders
    assert first.fills[0].trade_id == again.fills[0].trade_id and first.fills[0].at_ns < again.sent_ns <= again.fills[0].at_ns
    found = compare(config, queue="risk_averse", fitted=False)
    assert found.share == 1.0 and set(outcomes(found).values()) == {("same", "")}
    times = LogTimes({}, {}, {(BTC, 7): [(100, 5), (3_000_000_000, 9)]}, {})
    assert [times.trade_ns(BTC, 7, at_ns) for at_ns in (99, 3_000_000_001)] == [5, 9]
    assert times.trade_ns(BTC, 7, 1_500_000_000) is times.trade_ns(BTC, 8, 100) is None, "of an era that is not recorded"


def test_times_without_orders_and_impossible_ones_are_sentences(tmp_path):
    run = LiveRun()
    taken(run)
    config = run.laid(tmp_path)
    with pytest.raises(ReadError, match="no order on .* was recorded from 2030-01-01"):
        tickmesh.compare(config, start="2030-01-01")
    with pytest.raises(ReadError, match="the end has to be after the start"):
        tickmesh.compare(config, start="2030-01-01", end="2020-01-01")
    with pytest.raises(ReadError, match="queue = 'first' is unknown"):
        tickmesh.compare(config, queue="first")

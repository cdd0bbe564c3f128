"""Profit and round trips beside exact fractions, one fill after the other."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import naive_report as naive
from tests.support.report_scene import START, quotes, random_result, result
from tickmesh.research.backtest.measures.profit import matched_books, profit_rows
from tickmesh.research.backtest.measures.round_trips import Deal, first_in_first_out, flat_to_flat
from tickmesh.research.backtest.measures.trips import trip_figures
from tickmesh.research.backtest.report import all_mids

BTC = "binance.BTCUSDT"
TENTHS = st.integers(1, 30).map(lambda tenths: tenths / 10)
DEALS = st.lists(st.tuples(st.sampled_from((-1, 1)), st.integers(90, 110).map(float), TENTHS, TENTHS), max_size=25)


def exact(deals):
    """In tenths, so that decimal quantities close to zero exactly."""
    return [
        (side, Fraction(round(p)), Fraction(round(q * 10), 10), Fraction(round(f * 10), 10), ns)
        for ns, (side, p, q, f) in enumerate(deals)
    ]


@settings(max_examples=60)
@given(DEALS)
def test_both_ways_of_matching_are_those_of_fractions(deals):
    ours = [Deal(ns, side, price, quantity, fee) for ns, (side, price, quantity, fee) in enumerate(deals)]
    trips, realised, held, cost = naive.fifo(exact(deals))
    found = first_in_first_out(ours, 3, 4)
    assert (found.realised, found.held, found.cost) == pytest.approx((float(realised), float(held), float(cost)), abs=1e-8)
    assert [tuple(row) for row in found.trips[["side", "opened_ns", "closed_ns"]].tolist()] == [trip[:3] for trip in trips]
    for column, place in (("quantity", 3), ("gross", 4), ("fees", 5)):
        assert found.trips[column] == pytest.approx([float(trip[place]) for trip in trips], abs=1e-8)
    flat, realised, held, cost = naive.average(exact(deals))
    found = flat_to_flat(ours, 3, 4)
    assert (found.realised, found.held, found.cost) == pytest.approx((float(realised), float(held), float(cost)), abs=1e-8)
    assert found.trips["gross"] == pytest.approx([float(cash) for cash, _ in flat], abs=1e-8)
    assert found.trips["fees"] == pytest.approx([float(fees) for _, fees in flat], abs=1e-8)
    assert (found.trips["side"] * (found.trips["closed"] - found.trips["opened"]) * found.trips["quantity"]) == pytest.approx(
        found.trips["gross"], abs=1e-8
    )


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_profit_by_book_and_in_all_is_the_equity_at_the_end(seed):
    made = random_result(seed)
    mids = all_mids(made)
    rows = profit_rows(made, mids, matched_books(made, mids))
    total, _, _ = naive.equity(made, made.end_ns)
    assert rows[-1].net.value == pytest.approx(float(total), abs=1e-7)
    assert rows[-1].fills == len(made.fills)
    for row in rows:
        one, other = row.realised.value + row.unrealised.value, row.realised_fifo.value + row.unrealised_fifo.value
        assert one == pytest.approx(other, abs=1e-7)
        assert row.net.value == pytest.approx(one - row.fees.value, abs=1e-7)
    for subject in made.instruments:
        own = [row for row in rows if row.instrument == subject and row.strategy]
        (sums,) = [row for row in rows if row.instrument == subject and not row.strategy] or [rows[-1]]
        assert sums.net.value == pytest.approx(sum(row.net.value for row in own), abs=1e-9)
    for row in rows[:-1]:
        if row.instrument and row.strategy.startswith("s"):
            place = made.instruments.index(row.instrument)
            fills = naive.fills_of(made, place, made.strategies.index(row.strategy))
            assert row.fees.value == pytest.approx(sum(float(fill["fee"]) for fill in fills), abs=1e-12)


def rows_of(made):
    return profit_rows(made, all_mids(made), matched_books(made, all_mids(made)))


def test_what_was_held_at_the_start_counts_from_the_first_mid():
    made = result([(10, -1, 110.0, 2.0, 0.5)], marks={BTC: quotes([(5, 99, 101)])}, initial={BTC: 2.0})
    (row, total) = rows_of(made)
    assert row.strategy == "main" and row.position == 0 and row == total.__class__(BTC, "main", *tuple(vars(row).values())[2:])
    assert (row.realised.value, row.unrealised.value, row.net.value) == (20.0, 0.0, 19.5)
    several = result(
        [(10, -1, 110.0, 2.0, 0.5)], marks={BTC: quotes([(5, 99, 101)])}, initial={BTC: 2.0}, strategies=("a", "b")
    )
    assert {(row.strategy, row.position) for row in rows_of(several) if row.instrument and row.strategy} == {
        ("(none)", 2.0), ("a", -2.0),
    }  # fmt: skip


def test_an_instrument_without_quotes_has_a_profit_only_where_nothing_is_held():
    closed = rows_of(result([(1, 1, 100.0, 1.0, 0.1), (2, -1, 103.0, 1.0, 0.1)]))
    assert closed[-1].net.value == pytest.approx(2.8) and closed[-1].unrealised.value == 0.0
    held = rows_of(result([(1, 1, 100.0, 1.0, 0.1), (2, -1, 103.0, 0.5, 0.1)]))
    assert held[-1].realised.value == 1.5 and held[-1].fees.value == 0.2
    assert held[-1].net.value is None and held[-1].net.why == f"{BTC} has no quotes, and is held at the end"
    before = rows_of(result([(2, -1, 103.0, 1.0, 0.1)], initial={BTC: 1.0}))
    assert before[-1].realised.value is None and "was held at the start" in before[-1].realised.why


def test_money_of_two_currencies_is_not_added_up():
    pair = ("binance.BTCUSDT", "binance.ETHBTC")
    marks = {name: quotes([(0, 99, 101)]) for name in pair}
    fills = [(1, 1, 100.0, 1.0, 0.1, 0), (2, 1, 100.0, 1.0, 0.1, 1)]
    made = result(fills, marks=marks, instruments=pair, settings={"quote_currency": {pair[0]: "USDT", pair[1]: "BTC"}})
    rows = rows_of(made)
    assert rows[-1].net.value is None and "BTC and USDT, which do not add up" in rows[-1].net.why
    assert all(row.net.value is not None for row in rows if row.instrument)


def test_figures_of_trips():
    deals = [(0, 1, 100.0, 1.0, 0.5), (4, -1, 103.0, 1.0, 0.5), (4, 1, 100.0, 1.0, 0.0), (10, -1, 99.0, 1.0, 0.0)]
    trips = flat_to_flat([Deal(START + ns, *more) for ns, *more in deals], 0, 0).trips
    found = trip_figures("average", trips, "", None)
    assert (found.trips, found.hit_rate.value, found.profit_factor.value, found.mean.value) == (2, 0.5, 2.0, 0.5)
    assert (found.mean_win.value, found.mean_loss.value, found.held_s.value) == (2.0, -1.0, 5e-9)
    won = trip_figures("average", trips[:1], "", None)
    assert won.profit_factor.value is None and won.profit_factor.why == "no round trip lost" and won.mean_loss.value is None
    none = trip_figures("fifo", trips[:0], "", 1)
    assert {one.why for one in vars(none).values() if hasattr(one, "why")} == {"no round trip is over"}
    unsummed = trip_figures("fifo", trips, "two currencies", 1)
    assert unsummed.mean.why == unsummed.profit_factor.why == "two currencies" and unsummed.hit_rate.value == 0.5


def test_crumbs_of_floats_are_no_trips():
    """0.1 + 0.2 − 0.3 is not 0 in floats: the position is flat all the same, and the next trip begins anew."""
    deals = [
        Deal(0, 1, 100.0, 0.1, 0.0),
        Deal(1, 1, 100.0, 0.2, 0.0),
        Deal(2, -1, 101.0, 0.3, 0.0),
        Deal(3, -1, 101.0, 0.3, 0.0),
    ]
    for match, count in ((first_in_first_out, 2), (flat_to_flat, 1)):
        found = match(deals, 0, 0)
        assert len(found.trips) == count and found.held == pytest.approx(-0.3) and found.trips["side"].tolist() == [1] * count

"""Fill rates, times to fill, markouts, shortfall and capacity beside loops over exact fractions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import naive_report as naive
from tests.support.report_scene import SECOND, order, quotes, random_result, result
from tickmesh.bus.schema import Status
from tickmesh.research.backtest.measures import orders
from tickmesh.research.backtest.measures.bootstrap import ratio_of_sums, with_interval
from tickmesh.research.backtest.measures.capacity import capacity, volatility
from tickmesh.research.backtest.measures.markouts import HORIZONS_NS, markout_curves
from tickmesh.research.backtest.measures.measure import Measure
from tickmesh.research.backtest.measures.mids import mids_of
from tickmesh.research.backtest.measures.shortfall import PARTS, shortfall
from tickmesh.research.backtest.report import all_mids

BTC = "binance.BTCUSDT"
SEEDS = st.integers(0, 10_000)


@settings(max_examples=25)
@given(SEEDS)
def test_what_became_of_orders_is_what_counting_gives(seed):
    made = random_result(seed)
    done = {int(row["order"]): [fill for fill in made.fills if fill["order"] == row["order"]] for row in made.orders}
    assert orders.filled_quantities(made) == pytest.approx(
        [sum(float(f["quantity"]) for f in done[int(o["order"])]) for o in made.orders]
    )
    rows = {(row.strategy, row.instrument): row for row in orders.fill_rates(made)}
    assert set(rows) == {("", ""), *((name, "") for name in made.strategies), *(("", name) for name in made.instruments)}
    for (strategy, instrument), row in rows.items():
        own = [
            one for one in made.orders
            if strategy in ("", made.strategies[one["strategy"]]) and instrument in ("", made.instruments[one["instrument"]])
        ]  # fmt: skip
        taken = [one for one in own if one["status"] != Status.Rejected]
        assert (row.orders, row.rejected) == (len(own), len(own) - len(taken))
        if not taken:
            assert row.any_fill.why == "there are no orders that the venue took"
            continue
        filled = [sum(float(fill["quantity"]) for fill in done[int(one["order"])]) for one in taken]
        assert row.any_fill.value == pytest.approx(sum(amount > 0 for amount in filled) / len(taken))
        whole = sum(math.isclose(amount, one["quantity"]) for amount, one in zip(filled, taken))
        assert row.complete.value == pytest.approx(whole / len(taken))
        prices = [float(one["arrival_mid"]) if one["arrival_mid"] > 0 else float(one["price"]) for one in taken]
        asked = sum(float(one["quantity"]) * price for one, price in zip(taken, prices))
        assert row.quantity.value == pytest.approx(sum(amount * price for amount, price in zip(filled, prices)) / asked)
    worth = [(bool(fill["maker"]), float(fill["price"]) * float(fill["quantity"])) for fill in made.fills]
    if worth:
        assert rows["", ""].maker.value == pytest.approx(sum(w for maker, w in worth if maker) / sum(w for _, w in worth))
    hours = [[0, 0] for _ in range(24)]
    for one in made.orders:
        if one["status"] != Status.Rejected:
            hour = int(one["sent_ns"]) // 10**9 % 86400 // 3600
            hours[hour][0] += 1
            hours[hour][1] += bool(done[int(one["order"])])
    assert orders.by_hour(made) == tuple(map(tuple, hours))
    waits = [
        (int(done[int(one["order"])][0]["time_ns"]) - int(one["arrived_ns"])) / 1e9
        for one in made.orders if one["arrived_ns"] and done[int(one["order"])]
    ]  # fmt: skip
    found = orders.time_to_fill(made)
    assert found.filled == len(waits)
    if waits:
        assert (found.filled_median.value, found.filled_95.value) == pytest.approx((np.median(waits), np.percentile(waits, 95)))


def naive_survival(times):
    """Kaplan–Meier by its definition: at each time the share of those at risk that ended is taken off."""
    alive = 1.0
    for now in sorted({time for time, ended in times if ended}):
        at_risk = sum(time >= now for time, _ in times)
        alive *= 1 - sum(time == now and ended for time, ended in times) / at_risk
        if alive <= 0.5 + 1e-12:
            return now
    return None


@settings(max_examples=80)
@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=25))
def test_the_median_of_all_is_that_of_kaplan_and_meier(times):
    found = orders.survival_median(np.array([float(time) for time, _ in times]), np.array([ended for _, ended in times]))
    assert found.value == naive_survival(times) and bool(found.why) == (found.value is None)


def test_orders_that_end_unfilled_make_the_wait_longer():
    """Two filled at once and three cancelled after 10 s: the median of the filled says 1 s, and most were not filled at all."""
    rows = [order(n, 0, 1, 1.0, 1.0 if n < 3 else 0.0, 100.0, ended=1 if n < 3 else 10) for n in range(1, 6)]
    made = result([(1, 1, 100.0, 1.0, 0.0), (1, 1, 100.0, 1.0, 0.0)], rows)
    found = orders.time_to_fill(made)
    assert (found.orders, found.filled, found.filled_median.value, found.median.value) == (5, 2, 1.0, None)
    assert "fewer than half" in found.median.why
    none = orders.time_to_fill(result([], rows[2:]))
    assert none.filled_median.why == none.median.why == "no order was filled"


@settings(max_examples=10)
@given(SEEDS)
def test_markouts_are_what_each_fill_says(seed):
    made = random_result(seed, seconds=200)
    for curve, maker in zip(markout_curves(made, all_mids(made), None), (None, True, False)):
        for point, horizon in zip(curve.points, HORIZONS_NS):
            *bps, count, late, unquoted = naive.markout(made, horizon, maker)
            assert (point.horizon_ns, point.fills, point.after_end, point.unquoted) == (horizon, count, late, unquoted)
            for measure, value in zip((point.mean, point.spread, point.adverse), bps):
                assert measure.value == (None if value is None else pytest.approx(value, abs=1e-6)) and bool(measure.why) == (
                    value is None
                )
            if count:
                assert point.mean.value == pytest.approx(point.spread.value - point.adverse.value, abs=1e-9)


def test_a_markout_is_above_zero_where_the_price_went_the_fill_s_way():
    marks = {BTC: quotes([(0, 99, 101), (10.0, 98, 100), (11.0, 99, 101)])}
    sold = result([(10, -1, 100.5, 1.0, 0.01)], marks=marks)
    every, maker, taker = markout_curves(sold, all_mids(sold), 1)
    assert every.points == maker.points and maker.fees.value == pytest.approx(0.01 / 100.5 * 1e4)
    assert [round(point.mean.value, 3) if point.mean.value is not None else None for point in maker.points] == [
        round(1.5 / 100.5 * 1e4, 3), *[round(0.5 / 100.5 * 1e4, 3)] * 4,
    ]  # fmt: skip
    assert maker.points[0].adverse.value == pytest.approx(-1.0 / 100.5 * 1e4), (
        "the mid before the fill, not that of its own time"
    )
    bought = result([(10, 1, 100.5, 1.0, 0.01)], marks=marks)
    assert markout_curves(bought, all_mids(bought), 1)[0].points[0].mean.value == pytest.approx(-1.5 / 100.5 * 1e4)
    assert {point.mean.why for point in taker.points} == {"there are no fills as taker"}


def test_markouts_that_no_data_reaches_are_counted_and_said():
    made = result([(99.5, 1, 100.0, 1.0, 0.0), (0, 1, 100.0, 1.0, 0.0)][::-1], marks={BTC: quotes([(0, 99, 101)])})
    points = markout_curves(made, all_mids(made), 1)[0].points
    assert [(point.fills, point.after_end, point.unquoted) for point in points] == [(1, 0, 1), *[(0, 1, 1)] * 4]
    assert points[1].mean.why == "the data ends within 1 s of every fill that had a quote before it"
    bare = result([(1, 1, 100.0, 1.0, 0.0)])
    assert {point.mean.why for point in markout_curves(bare, all_mids(bare), 1)[0].points} == {"no quote stood before any fill"}
    empty = markout_curves(result(), {BTC: mids_of(None)}, 1)
    assert {point.mean.why for curve in empty for point in curve.points} == {
        "there are no fills", "there are no fills as maker", "there are no fills as taker",
    }  # fmt: skip


def test_overlapping_markouts_are_no_independent_ones():
    """400 fills, 20 at a time just before each of 20 moves: their markouts are 20 facts, their interval as wide as of 20."""
    rng = np.random.default_rng(4)
    mids = 100 + np.cumsum(rng.choice((-1.0, 1.0), 20))
    marks = [(0, 99.5, 100.5), *((10 * k + 9, mid - 0.5, mid + 0.5) for k, mid in enumerate(mids))]
    fills = [(10 * k + 8.5 + n / 1000, 1, float(mids[k - 1] if k else 100.0), 1.0, 0.0) for k in range(20) for n in range(20)]
    made = result(fills, marks={BTC: quotes(marks)}, seconds=300)
    point = markout_curves(made, all_mids(made), 1)[0].points[1]
    moves = np.diff([100, *mids]) / 100 * 1e4
    assert (point.mean.high - point.mean.low) / 2 / 1.96 == pytest.approx(moves.std() / math.sqrt(20), rel=0.5)


def test_a_block_has_at_least_the_fills_of_one_horizon():
    """Prices so noisy that nothing of the overlap shows in them: the blocks are as long as the horizon all the same."""
    rng = np.random.default_rng(6)
    fills = [(float(second), 1, 100.0 + float(rng.normal()), 1.0, 0.0) for second in range(1, 150)]
    made = result(fills, marks={BTC: quotes([(0, 99, 101)])}, seconds=180)
    point = markout_curves(made, all_mids(made), 1)[0].points[4]
    known = [(second, price) for second, _, price, _, _ in fills if second + 60 <= 180]
    overlap = sum(sum(a <= b <= a + 60 for b, _ in known) for a, _ in known) / len(known)
    columns = np.array([((100.0 - price) * 1e4, price) for _, price in known])
    wanted, short = (with_interval(Measure(0.0), columns, ratio_of_sums, 1, length) for length in (overlap, 1.0))
    assert (point.mean.low, point.mean.high) == pytest.approx((wanted.low, wanted.high), rel=1e-6)
    assert (point.mean.low, point.mean.high) != pytest.approx((short.low, short.high), rel=1e-3)


@settings(max_examples=25)
@given(SEEDS)
def test_the_shortfall_is_the_sum_of_its_parts_and_each_is_that_of_fractions(seed):
    made = random_result(seed)
    found = shortfall(made, all_mids(made), orders.filled_quantities(made), None)
    *sums, parents, unpriced = naive.shortfall(made)
    assert (found.parents, found.unpriced) == (parents, unpriced)
    values = [found.wanted.value, *(getattr(found, name).value for name in PARTS)]
    assert values == pytest.approx(sums, abs=1e-6)
    assert found.total.value == pytest.approx(sum(sums[1:]), abs=1e-6)
    assert found.total_bps.value == pytest.approx(found.total.value / found.wanted.value * 1e4)


def test_the_parts_of_a_shortfall_by_hand():
    """Asked for 2 at 100; at the venue the mid is 101, before the fill 102; one is bought at 103, one never, and it is 105."""
    marks = {BTC: quotes([(0, 99, 101), (1, 100, 102), (2, 101, 103), (5, 104, 106)])}
    made = result([(3, 1, 103.0, 1.0, 0.25)], [order(1, 0.5, 1, 2.0, 1.0, 100.0, ended=6, arrived=1.5)], marks)
    found = shortfall(made, all_mids(made), np.array([1.0]), 1)
    assert [getattr(found, name).value for name in ("wanted", *PARTS, "total")] == [200, 1, 1, 1, 0.25, 5, 8.25]
    assert found.total_bps.value == pytest.approx(8.25 / 200 * 1e4)


def test_a_reprice_is_the_same_wish_and_its_quantity_counts_once():
    marks = {BTC: quotes([(0, 99, 101), (4, 109, 111)])}
    rows = [
        order(1, 0.5, 1, 2.0, 0.5, 100.0, ended=1),
        order(2, 1, 1, 1.5, 0.0, 100.0, ended=5),  # what was left of the first
        order(3, 2, -1, 1.0, 0.0, 100.0, ended=5),  # another side
        order(4, 5, 1, 1.6, 0.0, 100.0, ended=6),  # more than was left: asked for anew
        order(5, 5.5, 1, 1.6, 0.0, 100.0, ended=7),  # while the fourth still stands
        order(6, 8, 1, 1.0, 0.0, 101.0),  # of another mid
    ]
    made = result([(0.75, 1, 100.0, 0.5, 0.0)], rows, marks)
    found = shortfall(made, all_mids(made), orders.filled_quantities(made), 1)
    assert found.parents == 5 and found.wanted.value == pytest.approx(2 * 100 + 100 + 160 + 160 + 101)
    assert found.opportunity.value == pytest.approx(1.5 * 10 - 1.0 * 10 + 1.6 * 10 * 2 + 9)


def test_the_children_of_a_parent_are_one_wish_for_what_it_wanted():
    """Three slices of 1 of a wish for 4, while another strategy's order stands between them: 4 at 100 are wanted once."""
    marks = {BTC: quotes([(0, 99, 101), (4, 109, 111)])}
    wish, other = (7, 4.0, 1, 1), (2, 1.0, 1, 1)
    rows = [
        order(1, 0.5, 1, 1.0, 1.0, 100.0, ended=1, parent=wish),
        order(2, 0.6, 1, 1.0, 0.0, 100.0, ended=5, parent=other),
        order(3, 1, 1, 1.0, 0.0, 100.0, ended=5, parent=wish),
        order(4, 2, 1, 1.0, 0.0, 100.0, ended=6, parent=wish),  # while the third still stands
    ]
    made = result([(0.75, 1, 100.0, 1.0, 0.0)], rows, marks)
    found = shortfall(made, all_mids(made), orders.filled_quantities(made), 1)
    assert found.parents == 2 and found.wanted.value == pytest.approx(4 * 100 + 100)
    assert found.opportunity.value == pytest.approx(3 * 10 + 1 * 10)


def test_a_shortfall_that_is_not_defined_says_why():
    none = shortfall(result(), {BTC: mids_of(None)}, np.zeros(0), 1)
    assert none.total.value is None and none.total.why == "there are no orders"
    made = result([(1, 1, 100.0, 1.0, 0.0)], [order(1, 0, 1, 1.0, 1.0, float("nan"), ended=1)], {BTC: quotes([(0, 99, 101)])})
    found = shortfall(made, all_mids(made), np.ones(1), 1)
    assert (found.parents, found.unpriced) == (1, 1) and "no order has an arrival mid" in found.total_bps.why


def test_capacity_is_the_share_and_the_square_root_of_it():
    """0.2 % of the market dealt for an edge of 10 bp at 2 % a day: impact √0.002 · 2 % = 8.9 bp; the edge is gone at 1.25 ×."""
    found = capacity(BTC, 2000.0, Measure(2.0), 1e6, Measure(0.02), 2.0)
    assert (found.dealt_a_day.value, found.participation.value, found.at_share.value) == pytest.approx((1000.0, 0.002, 5.0))
    multiple = found.break_even.value
    assert 0.02 * math.sqrt(0.002 * multiple) == pytest.approx(2.0 / 2000.0) and multiple == pytest.approx(1.25)
    profits = {k: k * (0.001 - 0.02 * math.sqrt(0.002 * k)) for k in np.linspace(0.01, 1.25, 1000)}
    assert found.best.value == pytest.approx(max(profits, key=profits.__getitem__), abs=2e-3)


@pytest.mark.parametrize(
    ("dealt", "net", "traded", "a_day", "share", "break_even"),
    [
        (10.0, Measure(1.0), None, Measure(0.1), "the market's volume is not known", "the market's volume is not known"),
        (10.0, Measure(1.0), 0.0, Measure(0.1), "the market traded nothing", "the market traded nothing"),
        (10.0, Measure(-1.0), 100.0, Measure(0.1), "", "it gains nothing before any impact"),
        (0.0, Measure(0.0), 100.0, Measure(0.1), "", "nothing was dealt"),
        (10.0, Measure(1.0), 100.0, Measure(0.0), "", "the price did not move"),
        (10.0, Measure(1.0), 100.0, Measure(None, "there are no quotes"), "", "there are no quotes"),
        (10.0, Measure(None, "no profit"), 100.0, Measure(0.1), "", "no profit"),
    ],
)  # fmt: skip
def test_a_capacity_that_is_not_defined_says_why(dealt, net, traded, a_day, share, break_even):
    found = capacity(BTC, dealt, net, traded, a_day, 1.0)
    assert (found.participation.why, found.break_even.why, found.best.why) == (share, break_even, break_even)


def test_volatility_is_that_of_whole_intervals_as_of_a_day():
    mids = mids_of(quotes([(0, 99, 101), (10, 109, 111), (25, 99, 101)]))
    start = int(mids.time_ns[0])
    found = volatility(mids, start, start + 35 * SECOND, 10 * SECOND)
    moved = math.log(110 / 100)
    assert found.value == pytest.approx(math.sqrt(2 * moved**2 * 86400 / 30))
    assert volatility(mids_of(None), start, start + SECOND, SECOND).why == "there are no quotes"
    assert volatility(mids, start, start, SECOND).why == "there is no whole interval"

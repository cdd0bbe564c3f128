"""The equity curve, drawdown, exposure and turnover beside exact fractions at every moment."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import naive_report as naive
from tests.support.report_scene import SECOND, START, quotes, random_result, result
from tickmesh.research.backtest.measures import activity, equity
from tickmesh.research.backtest.report import all_mids

BTC = "binance.BTCUSDT"


@settings(max_examples=12)
@given(st.integers(0, 10_000))
def test_the_curve_is_that_of_fractions_at_every_change(seed):
    made = random_result(seed, fills=15)
    mids = all_mids(made)
    curve = equity.equity_at_changes(made, mids)
    times = naive.changes(made)
    assert curve.time_ns.tolist() == times
    rows = [naive.equity(made, ns) for ns in times]
    for column, values in zip((curve.equity, curve.gross, curve.net), zip(*rows)):
        assert column == pytest.approx([float(value) for value in values], abs=1e-7)
    fall = equity.drawdown(curve)
    assert fall.depth.value == pytest.approx(float(naive.deepest_fall(curve.equity.tolist())), abs=1e-9)
    assert fall.longest_ns == naive.longest_below(times, curve.equity.tolist())
    held = activity.exposure(made, mids, curve)
    lasted = [later - before for before, later in zip(times, times[1:])]
    for measure, place in ((held.mean_gross, 1), (held.mean_net, 2)):
        mean = sum(float(row[place]) * ns for row, ns in zip(rows, lasted)) / sum(lasted)
        assert measure.value == pytest.approx(mean, rel=1e-9, abs=1e-7)
    inside = sum(ns for row, ns in zip(rows, lasted) if row[1] > 1e-6) / sum(lasted)
    assert held.in_market.value == pytest.approx(inside) and held.highest_gross.value == pytest.approx(
        max(float(r[1]) for r in rows)
    )
    even = equity.equity_at_intervals(made, mids, 7 * SECOND)
    assert even.time_ns.tolist() == list(range(made.start_ns, made.end_ns + 1, 7 * SECOND))
    for ns, value in list(zip(even.time_ns.tolist(), even.equity))[::10]:
        assert value == pytest.approx(float(naive.equity(made, ns)[0]), abs=1e-7)
    dealt = activity.turnover(made, held.mean_gross)
    assert dealt.dealt.value == pytest.approx(sum(float(row["price"]) * float(row["quantity"]) for row in made.fills))
    assert dealt.dealt_a_day.value == pytest.approx(dealt.dealt.value * 86400 / 600)


def curve_of(values):
    values = np.array(values, float)
    return equity.EquityCurve(np.arange(len(values)) * SECOND, values, values, values)


@settings(max_examples=80)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_a_drawdown_is_the_largest_fall_and_the_longest_wait(moves):
    values = np.cumsum([0, *moves]).tolist()
    found = equity.drawdown(curve_of(values))
    assert found.depth.value == naive.deepest_fall(values)
    assert found.longest_ns == naive.longest_below([place * SECOND for place in range(len(values))], values)
    if found.peak_ns is not None:
        peak, trough = found.peak_ns // SECOND, found.trough_ns // SECOND
        assert values[peak] - values[trough] == found.depth.value and values[peak] == max(values[: peak + 1])
        back = [place for place in range(trough, len(values)) if values[place] >= values[peak]]
        assert found.recovered_ns == (back[0] * SECOND if back else None)


def test_a_fall_that_is_not_over_is_open():
    assert equity.drawdown(curve_of([0, 3, 1, 2])).longest_open
    over = equity.drawdown(curve_of([0, 3, 1, 3]))
    assert not over.longest_open and over.recovered_ns == 3 * SECOND and over.longest_ns == 2 * SECOND
    assert equity.drawdown(curve_of([0, 0, 1])) == equity.Drawdown(over.depth.__class__(0.0))


def test_without_quotes_there_is_no_curve_and_why_is_said():
    pair = (BTC, "binance.ETHUSDT")
    made = result([(1, 1, 100.0, 1.0, 0.0, 1)], marks={BTC: quotes([(0, 99, 101)])}, instruments=pair)
    mids = all_mids(made)
    assert equity.no_curve_why(made, mids) == "binance.ETHUSDT has no quotes, so what is held has no worth"
    found = activity.performance(made, mids, None, SECOND, 1)
    assert {one.why for one in vars(found).values() if hasattr(one, "why")} == {equity.no_curve_why(made, mids)}
    assert found.drawdown.depth.value is None and activity.exposure(made, mids, None).mean_gross.value is None
    other = result([(1, 1, 100.0, 1.0, 0.0, 0)], marks={BTC: quotes([(0, 99, 101)])}, instruments=pair)
    assert equity.no_curve_why(other, all_mids(other)) == "", "what was never dealt needs no price"


def test_empty_and_crossed_quotes_leave_the_mid_standing():
    marks = quotes([(0, 99, 101), (10, 0, 101), (20, 99, np.nan), (30, 105, 104), (40, np.inf, np.inf), (50, 109, 111)])
    made = result([(5, 1, 100.0, 1.0, 0.0)], marks={BTC: marks})
    mids = all_mids(made)
    assert mids[BTC].dropped == 4 and mids[BTC].mid.tolist() == [100, 110] and mids[BTC].spread.tolist() == [2, 2]
    found = equity.equity_at(made, mids, START + np.array([0, 45, 50]) * SECOND)
    assert found.equity.tolist() == [0, 0, 10]


@pytest.mark.parametrize(("seconds", "interval_s"), [(86400 * 100, 86400), (86400 * 99, 14400), (3600, 10), (100, 1), (3, 1)])
def test_the_interval_suits_the_span(seconds, interval_s):
    assert activity.chosen_interval(seconds * SECOND) == interval_s * SECOND


def test_gains_are_of_equal_intervals_whenever_fills_come():
    """A Sharpe ratio of equity taken at fills would hang on how many fills a move was cut into."""
    marks = {BTC: quotes([(0, 99, 101), (30, 101, 103), (60, 100, 102)])}
    one = result([(10, 1, 100.0, 1.0, 0.0)], marks=marks)
    many = result([(10 + k / 100, 1, 100.0, 0.01, 0.0) for k in range(100)], marks=marks)
    for made in (one, many):
        gained = activity.gains(made, all_mids(made), 20 * SECOND)
        assert gained == pytest.approx([0, 2, -1, 0, 0])

"""Trials of a sweep: what all their parts together gained, and what of the best one is luck."""

import numpy as np
import pytest

from tickmesh.research.backtest.measures import ratios
from tickmesh.research.sweep.periods import periods
from tickmesh.research.sweep.store import StoredPart
from tickmesh.research.sweep.trials import best_and_worst, summaries
from tickmesh.storage.query.times import ReadError

DAY = 86_400 * 10**9
INTERVAL = 600 * 10**9


def row(trial: int, day: int, instrument: str, gains=(), error: str = "", currency: str = "USDT") -> StoredPart:
    measures = {"net": float(np.sum(gains)), "orders": 5, "fills": 3, "trips": 1}
    return StoredPart(
        {"n": trial}, instrument, day * DAY, (day + 1) * DAY, error, {} if error else measures, {}, (), currency,
        np.array(gains, float), 0.0,
    )  # fmt: skip


def test_instruments_are_added_up_in_each_interval_and_days_follow_one_another():
    rng = np.random.default_rng(3)
    gains = {(t, d, i): rng.normal(0.1 * t, 1, 20) for t in range(5) for d in range(2) for i in "ab"}
    rows = [row(t, d, i, gains[t, d, i]) for t in range(5) for i in "ab" for d in range(2)]
    found, luck, counted = summaries(rows, INTERVAL, 12, set())
    whole = {t: np.concatenate([gains[t, d, "a"] + gains[t, d, "b"] for d in range(2)]) for t in range(5)}
    sharpes = [ratios.sharpe(one).value for one in whole.values()]
    assert counted == 12 and luck == ratios.annualised(ratios.highest_by_luck(sharpes, 12), INTERVAL)
    assert [one.sharpe.value for one in found] == sorted((one.sharpe.value for one in found), reverse=True)
    best = found[0]
    own = whole[best.parameters["n"]]
    assert best.sharpe == ratios.annualised(ratios.sharpe(own), INTERVAL)
    assert best.deflated.value == pytest.approx(ratios.deflated_sharpe(own, sharpes, 12).value)
    assert best.net.value == pytest.approx(own.sum()) and (best.parts, best.orders, best.fills) == (4, 20, 12)
    curve = np.concatenate([[0], own.cumsum()])
    assert best.drawdown.value == pytest.approx(max(high - low for n, low in enumerate(curve) for high in curve[: n + 1]))


def test_a_part_that_others_have_and_that_failed_leaves_a_trial_without_figures_one_that_all_lack_does_not():
    good = [1.0, -0.5, 2.0]
    rows = [
        row(0, 0, "a", good),
        row(0, 1, "a", error="no data"),
        row(1, 0, "a", error="broken"),
        row(1, 1, "a", error="no data"),
    ]
    found, *_ = summaries(rows, INTERVAL, 0, {("a", DAY)})
    first, second = (next(one for one in found if one.parameters["n"] == n) for n in (0, 1))
    assert first.sharpe.value is not None and first.net.value == 2.5 and first.failed == 1
    assert second.sharpe.value is None and second.net.value is None and "1 of 2 parts failed" in second.sharpe.why


def test_money_of_two_currencies_is_not_added_up():
    rows = [row(0, 0, "a", [1.0, 2.0]), row(0, 0, "b", [1.0, 3.0], currency="BTC")]
    ((only,), *_) = summaries(rows, INTERVAL, 0, set())
    assert only.net.value is None and "quoted in BTC and USDT" in only.net.why and only.sharpe.why == only.net.why


def test_the_best_and_the_worst_are_shown_and_what_is_between_is_left_out():
    assert list(best_and_worst([1, 2, 3], 2)) == [1, 2, 3]
    assert list(best_and_worst([1, 2, 3, 4, 5], 2)) == [1, 2, None, 4, 5]


def test_periods_are_days_of_the_calendar_cut_by_the_span():
    half = DAY // 2
    assert periods(half, 2 * DAY + 5, "1d") == [(half, DAY), (DAY, 2 * DAY), (2 * DAY, 2 * DAY + 5)]
    assert periods(half, 2 * DAY, None) == [(half, 2 * DAY)]
    with pytest.raises(ReadError, match="periods of 1s; 10000 are allowed"):
        periods(0, DAY, "1s")

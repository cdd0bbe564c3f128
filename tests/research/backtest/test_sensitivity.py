"""Backtests side by side: what varies, against which, and what of the best one is luck."""

import dataclasses
import math
import statistics

import pytest

from tests.support.places import PROJECT
from tests.support.report_scene import SECOND, random_result, result
from tickmesh.research.backtest.measures import ratios
from tickmesh.research.backtest.report import plain, summarize
from tickmesh.research.backtest.sections import compared
from tickmesh.research.backtest.sensitivity import side_by_side
from tickmesh.research.backtest.stored import ResultError

MADE = {
    f"{delay} ms": dataclasses.replace(
        random_result(delay),
        settings={"latency": {"order_ms": delay, "from": "log"}, "fee": 0.1, "wakes": delay, "refused": {"rate": delay}},
    )
    for delay in (1, 2, 3)
}


def test_what_varies_is_named_and_compared_with_the_first():
    found = side_by_side(MADE)
    assert found.varied == ("latency.order_ms",) and [row.settings for row in found.rows] == [
        {"latency.order_ms": str(n)} for n in (1, 2, 3)
    ]
    nets = [summarize(one, seed=None).in_all.net.value for one in MADE.values()]
    assert [row.net.value for row in found.rows] == nets
    assert [row.change.value for row in found.rows] == pytest.approx([net - nets[0] for net in nets])
    page = (PROJECT / "docs/backtest-report.md").read_text()
    assert not [key for key in {**plain(found), **plain(found.rows[0])} if f"`{key}`" not in page]
    section = compared(found)
    assert "latency.order_ms" in section.headers and all(len(row) == len(section.headers) for row in section.rows)
    assert section.title == "3 of 3 trials, by gains of 1 s"


def test_the_deflated_sharpe_ratio_counts_every_trial():
    found = side_by_side(MADE, 10 * SECOND, trials=50)
    reports = [summarize(one, 10 * SECOND, seed=None) for one in MADE.values()]
    sharpes = [one.performance.sharpe_interval.value for one in reports]
    highest = ratios.expected_highest(statistics.stdev(sharpes), 50)
    assert found.by_luck.value == pytest.approx(highest * math.sqrt(365 * 86400 / 10))
    for row, report in zip(found.rows, reports):
        assert (
            row.deflated == ratios.probabilistic_sharpe(report.gains, highest)
            and row.sharpe.value == report.performance.sharpe.value
        )
    fewer = side_by_side(MADE, 10 * SECOND)
    assert all(few.deflated.value > many.deflated.value for few, many in zip(fewer.rows, found.rows))


def test_one_interval_is_taken_for_all_and_differences_of_time_are_said():
    longer = dataclasses.replace(random_result(4, seconds=6000), coverage=("trades are missing",))
    found = side_by_side({**MADE, "longer": longer, "flat": result(seconds=600)})
    assert found.interval_ns == SECOND and [row.coverage for row in found.rows][3] == ("trades are missing",)
    assert [note.partition(",")[0].partition(":")[0] for note in found.notes] == [
        "They are of different times", "They are of different instruments", "1 have no Sharpe ratio",
        "How much the Sharpe ratios vary is known from 4 alone",
    ]  # fmt: skip
    assert found.rows[4].deflated.why == "the equity gained the same in all intervals" and found.rows[4].net.value == 0.0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ResultError, match="there is no backtest to compare"):
        side_by_side({})
    with pytest.raises(ResultError, match="2 trials: at least the 3 that are given were made"):
        side_by_side(MADE, trials=2)
    (alone,) = side_by_side({"a": MADE["1 ms"]}).rows
    assert alone.change.value == 0.0 and "two trials" in alone.deflated.why and alone.probabilistic.value is not None

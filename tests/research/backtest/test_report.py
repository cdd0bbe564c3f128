"""The report as a whole: no figure is silently missing, edges have their reasons, and what is missing comes first."""

import io
import json
import math
import re
import statistics

import pytest
from rich.console import Console

from tests.support import naive_report as naive
from tests.support.places import PROJECT
from tests.support.report_scene import SECOND, START, order, quotes, random_result, result
from tickmesh.bus.schema import Status
from tickmesh.research.backtest.report import as_dict, summarize
from tickmesh.research.backtest.sections import number, sections, span_text, time_text
from tickmesh.research.backtest.stored import ResultError
from tickmesh.research.backtest.terminal_report import print_to

BTC = "binance.BTCUSDT"
FLAT = {BTC: quotes([(0, 99, 101)])}
BUY = (1, 1, 100.0, 1.0, 0.0)
EDGES = {
    "nothing at all": result(),
    "no time": result(seconds=0),
    "no fills": result(orders=[order(1, 1, 1, 1.0, 0.0, 100.0, ended=2)], marks=FLAT),
    "one fill": result([BUY], marks=FLAT),
    "no quotes": result([BUY]),
    "empty quotes": result([BUY], marks={BTC: quotes([(0, 0, 0), (1, float("nan"), 5)])}),
    "closed without quotes": result([BUY, (2, -1, 101.0, 1.0, 0.0)]),
    "one instrument without quotes": result([BUY, (2, 1, 9.0, 1.0, 0.0, 1)], marks=FLAT, instruments=(BTC, "okx.ETH-USDT")),
    "held and never dealt": result(marks=FLAT, initial={BTC: -2.0}),
    "all rejected": result(orders=[order(1, 1, 1, 1.0, 0.0, 100.0, ended=2, status=Status.Rejected)], marks=FLAT),
    "rejected without a quantity": result(
        orders=[order(1, 1, 1, float("nan"), 0.0, 100.0, ended=2, status=Status.Rejected, strategy=-1)], marks=FLAT
    ),
    "of no strategy": result([(1, 1, 100.0, 1.0, 0.0, 0, -1)], marks=FLAT),
    "no arrival mid": result([BUY], [order(1, 1, 1, 1.0, 1.0, float("nan"), ended=1, price=0.0)], FLAT),
    "settings that are no numbers": result(
        settings={"fee": float("nan"), "models": {"m": ("a", 1)}, "market_volume": {BTC: 1e6}}
    ),
}


def measures(value):
    """Every measure in a report's map."""
    if isinstance(value, dict):
        if "value" in value:
            yield value
        for one in value.values():
            yield from measures(one)
    elif isinstance(value, list):
        for one in value:
            yield from measures(one)


@pytest.mark.parametrize("made", EDGES.values(), ids=EDGES)
def test_a_figure_is_a_number_or_says_why_it_is_none(made):
    report = summarize(made)
    text = json.dumps(as_dict(report), allow_nan=False)
    found = list(measures(json.loads(text)))
    assert len(found) > 60
    for measure in found:
        assert (measure["value"] is None) == bool(measure.get("why")), measure
        assert measure["value"] is None or math.isfinite(measure["value"])
    shown = io.StringIO()
    print_to(report, Console(file=shown, width=250))
    assert not re.search(r"\bnan\b|None", shown.getvalue())
    for section in sections(report):
        for place, reason in enumerate(section.reasons, 1):
            assert (
                any(f"({place})" in cell for row in section.rows for cell in row) and f"({place}) {reason}" in shown.getvalue()
            )


def test_what_edges_say():
    figures = {name: summarize(made) for name, made in EDGES.items()}
    assert figures["no fills"].in_all.net.value == 0.0 and figures["no fills"].fill_rates[0].any_fill.value == 0.0
    assert figures["no fills"].performance.sharpe.why == "the equity gained the same in all intervals"
    assert figures["no time"].performance.sharpe.why == "there are fewer than two whole intervals"
    assert figures["one fill"].trips[0].hit_rate.why == "no round trip is over"
    assert figures["empty quotes"].performance.sharpe.why == f"{BTC} has no quotes, so what is held has no worth"
    assert figures["closed without quotes"].in_all.net.value == 1.0
    mixed = figures["one instrument without quotes"]
    assert [row.net.value for row in mixed.profit if row.instrument == BTC] == [0.0, 0.0] and mixed.in_all.net.value is None
    assert figures["held and never dealt"].exposure.mean_net.value == -200.0
    assert figures["all rejected"].fill_rates[0].complete.why == "there are no orders that the venue took"
    assert figures["settings that are no numbers"].capacity == ()


def test_ratios_of_the_report_are_those_of_its_equity():
    made = random_result(11)
    report = summarize(made, interval_ns=20 * SECOND)
    values = [float(naive.equity(made, START + k * 20 * SECOND)[0]) for k in range(31)]
    gained = [after - before for before, after in zip(values, values[1:])]
    one = report.performance
    yearly = math.sqrt(365 * 86400 / 20)
    assert report.equity == pytest.approx(values, abs=1e-7) and one.intervals == 30
    assert one.sharpe.value == pytest.approx(statistics.fmean(gained) / statistics.stdev(gained) * yearly, rel=1e-6)
    assert one.sharpe.low < one.sharpe.value < one.sharpe.high
    assert one.gained_a_day.value == pytest.approx(statistics.fmean(gained) * 86400 / 20, rel=1e-6)
    changes = [float(naive.equity(made, ns)[0]) for ns in naive.changes(made)]
    assert one.drawdown.depth.value == pytest.approx(naive.deepest_fall(changes), abs=1e-7)
    total = float(naive.equity(made, made.end_ns)[0])
    assert one.calmar.value == pytest.approx(total * 365 * 86400 / 600 / one.drawdown.depth.value, rel=1e-6)
    volume = {made.instruments[0]: 1e6}
    (first, second) = summarize(made, market_volume=volume, seed=None).capacity
    dealt = sum(float(row["price"]) * float(row["quantity"]) for row in naive.fills_of(made, 0))
    assert first.participation.value == pytest.approx(dealt / 1e6) and second.participation.value is None


def test_a_seed_repeats_a_report():
    made = random_result(5)
    first, again, other = (as_dict(summarize(made, seed=seed)) for seed in (1, 1, 2))
    assert first == again and first["performance"]["sharpe"] != other["performance"]["sharpe"]
    without = summarize(made, seed=None)
    assert not any("low" in measure for measure in measures(as_dict(without)))
    assert without.performance.sharpe.value == first["performance"]["sharpe"]["value"]


def test_missing_coverage_comes_first_in_the_colour_of_a_warning():
    report = summarize(result([BUY], marks=FLAT, coverage=("trades of BTCUSDT are missing for 3 s", "and [b]more[/b]")))
    plain, coloured = io.StringIO(), io.StringIO()
    print_to(report, Console(file=plain, width=200))
    print_to(report, Console(file=coloured, width=200, force_terminal=True, color_system="standard"))
    assert plain.getvalue().splitlines()[:2] == [
        "Missing data: trades of BTCUSDT are missing for 3 s", "Missing data: and [b]more[/b]",
    ]  # fmt: skip
    assert coloured.getvalue().startswith("\x1b[1;31mMissing data")
    whole = io.StringIO()
    print_to(summarize(result([BUY], marks=FLAT)), Console(file=whole, width=200))
    assert "Missing data" not in whole.getvalue()


def test_notes_say_what_a_reader_has_to_know():
    rows = [order(1, 1, 1, 2.0, 1.5, 100.0), order(2, 3, 1, 1.0, 0.0, 100.0, ended=4, status=Status.Unknown)]
    made = result([(1, 1, 100.0, 1.0, 0.0)], rows, {BTC: quotes([(0, 99, 101), (1, 0, 0)])}, seconds=100.5)
    assert summarize(made).notes == (
        "Ratios are annualised from 0.00116 days: their intervals say how little that proves.",
        "The last 0.5 s are no whole interval, and in no ratio.",
        f"{BTC}: 1 quotes with an empty or crossed side are passed over; the mid before them stands.",
        "Of 1 orders the fills do not add up to `filled`; the fills are counted.",
        "1 orders were open at the end.",
        "Of 1 orders it is not known what became of them.",
    )
    pair = (BTC, "okx.ETH-USDT")
    fills = [BUY, (2, 1, 9.0, 1.0, 0.0, 1)]
    marks = {name: FLAT[BTC] for name in pair}
    notes = summarize(result(fills, marks=marks, instruments=pair, strategies=("a", "b"), initial={BTC: 1.0})).notes
    assert any("quote_currency" in note for note in notes) and any("is nobody's, (none)" in note for note in notes)
    known = {"quote_currency": dict.fromkeys(pair, "USDT")}
    assert not any(
        "quote_currency" in note for note in summarize(result(fills, marks=marks, instruments=pair, settings=known)).notes
    )


@pytest.mark.parametrize("interval_ns", [0, -5, 1])
def test_an_interval_that_does_not_suit_is_refused(interval_ns):
    with pytest.raises(ResultError, match=r"has to be above 0, and 100 s may have 100000 at most; take a longer one"):
        summarize(result(), interval_ns=interval_ns)


def test_every_key_of_the_map_is_in_the_page_of_docs():
    page = (PROJECT / "docs/backtest-report.md").read_text()
    found = as_dict(summarize(random_result(1), seed=None))
    keys = set(found)
    for name in ("profit", "trips", "fill_rates", "markouts", "capacity"):
        keys |= set(found[name][0])
    for name in ("performance", "exposure", "turnover", "time_to_fill", "shortfall"):
        keys |= set(found[name])
    keys |= set(found["markouts"][0]["points"][0]) | set(found["performance"]["drawdown"])
    assert {key for key in keys if f"`{key}`" not in page} == set()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1234567.8, "1,234,568"),
        (-0.00012345, "-0.00012345"),
        (3.14159265, "3.1416"),
        (1e-9, "1e-09"),
        (2e20, "2e+20"),
    ],
)
def test_numbers_are_for_a_person(value, text):
    assert number(value) == text


def test_times_are_for_a_person():
    assert time_text(START) == "2024-08-09T10:40:00.000Z"
    assert [span_text(s * 1e9) for s in (0.1, 90, 7200, 172800)] == ["0.1 s", "1.5 min", "2 h", "2 d"]

"""The figures of a market's quality, against made-up markets whose figures are known; and the windows that are drawn."""

import json

import numpy as np
import pytest

import tickmesh as tm
from tests.support.command_run import mesh_here
from tests.support.research_scene import record
from tests.support.stored import Market, write_log
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.research.market_quality import StreamCounts, market_quality
from tickmesh.research.plot.market import PlottedMarket
from tickmesh.research.plot.shading import CoverageSpan
from tickmesh.research.plot.two_markets import MarketWindow, chosen, windows
from tickmesh.research.weighted_counts import WeightedCounts
from tickmesh.storage.query.times import ReadError
from tickmesh.tools.market_report import as_json, show

SUBJECT = "binance.BTCUSDT"
SECOND = 1_000_000_000


def test_counts_give_means_exactly_and_quantiles_within_a_bin():
    rng = np.random.default_rng(1)
    values, weights = rng.lognormal(0, 2, 20_000), rng.integers(1, 9, 20_000).astype(float)
    counts = WeightedCounts()
    for part in np.array_split(np.arange(20_000), 7):
        counts.add(values[part], weights[part])
    assert counts.mean == pytest.approx(np.average(values, weights=weights)) and counts.count == 20_000
    ordered = np.argsort(values)
    reached = np.cumsum(weights[ordered]) / weights.sum()
    for share, found in zip((0.01, 0.5, 0.99), counts.quantiles((0.01, 0.5, 0.99))):
        assert found == pytest.approx(values[ordered][np.searchsorted(reached, share)], rel=0.025)
    delays = WeightedCounts(0.1)
    delays.add(np.array([-1272.0, -1271.0, -1270.0, np.nan]))
    assert delays.quantiles([0.5])[0] == pytest.approx(-1271.0, abs=0.1) and (delays.least, delays.count) == (-1272.0, 3)
    assert np.isnan(WeightedCounts().quantiles([0.5])[0]) and np.isnan(WeightedCounts().mean)


def events() -> list[bytes]:
    """A quote a second, two at 70 s: a spread of 2 on 1000, but for 10 s of 200, of which 5 have no ask; a trade every 10 s."""
    market = Market()
    raws = [market.instrument((-2, -3))]
    for second in range(100):
        wide, empty = 40 <= second < 50, 45 <= second < 50
        half = 10_000 if wide else 100
        ask = 0 if empty else 100_000 + half
        quote = record(
            Kind.quote,
            update_id=second + 1,
            bid_ticks=100_000 - half,
            bid_lots=2000,
            ask_ticks=ask,
            ask_lots=1000 * (not empty),
        )
        raws.append(
            market.event(
                Kind.quote, SUBJECT, quote, first_id=second + 1, last_id=second + 1, step_ns=1000 if second == 70 else SECOND
            )
        )
        if second % 10 == 5:
            trade = np.zeros(1, DTYPES[Kind.trade])
            trade["trade_id"], trade["side"], trade["price_ticks"], trade["quantity_lots"] = second, 1, 100_000, 5
            trade["venue_ns"] = market.seq_ns - 8_000_000
            ids = {"first_id": second, "last_id": second}
            raws.append(
                market.event(
                    Kind.trade,
                    SUBJECT,
                    trade,
                    step_ns=1000,
                    recv_ns=market.seq_ns - 3_000_000,
                    venue_ns=trade["venue_ns"][0],
                    **ids,
                )
            )
    line = record(Kind.line, line=b"feed-1", stream=Kind.trade, events=10, firsts=9, lead_p50_ns=2_000_000, lag_p50_ns=0)
    other = record(Kind.line, line=b"feed-2", stream=Kind.trade, events=10, firsts=3, disordered=2, lag_p99_ns=7_000_000)
    joined = record(Kind.line, line=b"feed-2", stream=Kind.trade, joined=1, events=10**6, firsts=10**6)
    return [*raws, *(market.event(Kind.line, SUBJECT, one, producer=b"sequencer") for one in (line, other, joined))]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text('[[instruments]]\nsymbol = "BTCUSDT"\n')
    write_log(root / "data/sim/log", events())
    return root


def test_the_figures_are_those_of_the_market(root):
    found = market_quality(tm.open(root), "BTCUSDT")
    assert found.two_sided == pytest.approx(93 / 98, abs=0.001)
    wide, usual = 200_000, 2000
    assert found.spread.mean_ppm == pytest.approx((5 * wide + 88 * usual) / 93, rel=0.01)
    assert found.spread.shares_ppm == pytest.approx((usual, wide, wide), rel=0.025)
    assert found.depth_worth == pytest.approx((1100.0, 1001.0, 1001.0), rel=0.025), "asks are the lesser half"
    rates = {one.kind: (one.rows, one.busiest_s) for one in found.rates}
    assert rates == {"quote": (100, 2), "trade": (10, 1)}
    latency = {(one.kind, one.of[:5]): one for one in found.latency}
    assert latency["trade", "venue"].least_ms == pytest.approx(5.0) and latency["trade", "venue"].rows == 10
    assert latency["trade", "here "].shares_ms[0] == pytest.approx(3.0, abs=0.1)
    longest = found.silences[0]
    assert longest.kind == "quote" and (longest.end_ns - longest.begin_ns) / 1e9 == pytest.approx(1.0, abs=0.01)
    lines = {one.line: (one.events, one.firsts, one.disordered) for one in found.lines}
    assert lines == {"feed-1": (10, 0.75, 0), "feed-2": (10, 0.25, 2)}, "what a line's joining has is no statistic"
    with pytest.raises(ReadError, match="neither a quote nor a trade"):
        market_quality(tm.open(root), "BTCUSDT", "2020-01-01", "2020-01-02")


def test_how_rows_are_cut_into_parts_changes_nothing():
    rng = np.random.default_rng(5)
    rows = np.zeros(500, [("seq_ns", "i8"), ("recv_ns", "i8"), ("venue_ns", "i8"), ("flags", "u2")])
    rows["seq_ns"] = np.cumsum(rng.integers(1, SECOND // 20, 500)) + SECOND
    rows["recv_ns"] = rows["seq_ns"] - rng.integers(0, SECOND, 500)
    whole = StreamCounts(Kind.trade)
    whole.add(rows)
    for cuts in (2, 7, 500):
        parts = StreamCounts(Kind.trade)
        for part in np.array_split(rows, cuts):
            parts.add(part)
        assert (parts.rows, parts.busiest, parts.silences) == (whole.rows, whole.busiest, whole.silences), cuts
        assert list(parts.latency()) == list(whole.latency())
    seconds = np.bincount(rows["seq_ns"] // SECOND)
    assert whole.busiest == seconds.max() and whole.silences[0][0] == np.diff(rows["seq_ns"]).max()


def test_the_command_reports_and_draws_the_best_and_the_worst(root):
    done = mesh_here(root, "market-report", "BTCUSDT")
    assert done.returncode == 0 and "bid and ask for 94." in done.stdout and "feed-2" in done.stdout, done.stderr
    assert mesh_here(root, "market-report", "BTCUSDT", "--plot", "a.html").returncode == 2
    pytest.importorskip("matplotlib")
    done = mesh_here(root, "market-report", "BTCUSDT", "--plot", "two.png", "--window", "10", "--json")
    result = json.loads(done.stdout)
    assert result["windows"]["efficient"]["spread"] == pytest.approx(2.0)
    assert (
        result["windows"]["worst"]["start"].startswith("2024-08-09T00:00:4") and result["windows"]["worst"]["unavailable"] > 0.3
    )
    assert (root / "two.png").read_bytes()[:4] == b"\x89PNG"


def test_windows_measure_silence_and_holes_too():
    view = PlottedMarket(SUBJECT, 0, 400 * SECOND)
    times = np.array([*range(0, 100), *range(160, 400)]) * SECOND  # a silence of a minute
    values = np.full(len(times), 100)
    view.quotes.add(times, {"bid": values, "ask": values + 2, "spread": values * 0 + 2}, {"bid": 0, "ask": 0, "spread": 0})
    view.coverage = [CoverageSpan("trade", "missing", 350 * SECOND, 375 * SECOND, "")]
    measured = windows(view, 100 * SECOND)
    assert [round(one.unavailable, 2) for one in measured] == [0.0, 0.51, 0.0, 0.25]
    assert [one.spread for one in measured] == pytest.approx([2.0] * 4)


def test_an_efficient_window_is_lively_and_the_worst_is_without_a_market():
    quiet, lively = MarketWindow(0, 1, 1.0, 0, 0.0), MarketWindow(1, 2, 2.0, 50, 0.0)
    wide, gone = MarketWindow(2, 3, 90.0, 60, 0.0), MarketWindow(3, 4, float("nan"), 0, 1.0)
    assert chosen([quiet, lively, wide, gone]) == (lively, gone)
    assert chosen([quiet, lively, wide]) == (lively, wide)
    assert chosen([gone]) is None and chosen([lively]) is None


def test_a_delay_below_zero_is_explained(root, monkeypatch, capsys):
    result = as_json(market_quality(tm.open(root), "BTCUSDT"))
    for least, explained in ((-17.9, 1), (0.0, 0), (None, 0)):
        for one in result["latency_ms"]:
            one["least"] = least if one["of"] == "here → log" else 1.0
        show(result)
        shown = " ".join(capsys.readouterr().out.split())
        assert shown.count("here → log below 0: the log's time was behind this machine's clock") == explained
        assert "venue → here below 0" not in shown
    result["latency_ms"][0] |= {"of": "venue → here, by both clocks", "least": -3.0}
    show(result)
    assert "venue → here below 0: the venue's clock was ahead" in " ".join(capsys.readouterr().out.split())

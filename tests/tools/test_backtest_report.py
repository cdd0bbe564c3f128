"""`mesh backtest-report` as a person calls it: tables, JSON, the page, several files, sentences."""

import dataclasses
import json

import pytest

from tests.support.command_run import mesh_here
from tests.support.report_scene import quotes, random_result, result
from tests.support.stored import Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.schema import Flag
from tickmesh.research.backtest.report import as_dict, summarize
from tickmesh.research.backtest.stored import save
from tickmesh.tools.backtest_report import backtest_report
from tickmesh.tools.terminal import Failure, UsageFailure


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backtests")
    for name, seed in (("a", 1), ("b", 2)):
        save(dataclasses.replace(random_result(seed), coverage=(f"trades of {name} are missing",)), folder / f"{name}.npz")
    return folder


def test_a_file_is_a_report_and_a_page(folder):
    shown = mesh_here(folder, "backtest-report", "a.npz", "--html", "a.html", "--interval", "5")
    assert shown.returncode == 0 and shown.stdout.startswith("Missing data: trades of a are missing\n"), shown.stderr
    assert "Sharpe ratio" in shown.stdout and (folder / "a.html").read_text().startswith("<!doctype html>")
    found = mesh_here(folder, "backtest-report", "a.npz", "--json", "--interval", "5")
    report = summarize(dataclasses.replace(random_result(1), coverage=("trades of a are missing",)), 5_000_000_000)
    assert json.loads(found.stdout) == json.loads(json.dumps(as_dict(report)))


def test_several_files_stand_side_by_side(folder):
    shown = mesh_here(folder, "backtest-report", "a.npz", "b.npz", "--trials", "9")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[:2] == [f"Missing data: {n}.npz: trades of {n} are missing" for n in "ab"]
    assert "2 of 9 trials" in shown.stdout and "deflated" in shown.stdout


def test_what_cannot_be_reported_is_one_sentence(folder):
    (folder / "bad.npz").write_text("nothing")
    done = mesh_here(folder, "backtest-report", "bad.npz")
    assert done.returncode == 1 and done.stderr.startswith("mesh: bad.npz is no result of a backtest"), done.stderr
    a, b = folder / "a.npz", folder / "b.npz"
    with pytest.raises(UsageFailure, match="--html and --market are of one backtest"):
        backtest_report([a, b], page=folder / "x.html")
    with pytest.raises(UsageFailure, match="--trials is of a comparison"):
        backtest_report([a], trials=5)
    with pytest.raises(UsageFailure, match="the same backtest twice is no trial more"):
        backtest_report([a, b, a])
    with pytest.raises(Failure, match="take a longer one"):
        backtest_report([a], 0.001)
    with pytest.raises(Failure, match=r"page.html cannot be written: No such file or directory"):
        backtest_report([a], page=folder / "gone" / "page.html")


def test_the_market_s_trades_on_the_book_give_the_capacity(root):
    market = Market()
    raws = [market.instrument((-2, -5))]
    times = []
    for number in range(30):
        raws.append(market.trade(price=6_000_000 + number, flags=Flag.OFF_BOOK if number % 3 == 0 else 0))
        times.append(market.seq_ns)
    write_log(load(root).log_dir, raws)
    first, last = 5, 25  # those of the backtest: the start is in it, the end not
    made = result([(0, 1, 60_000.0, 0.5, 0.0)], marks={"binance.BTCUSDT": quotes([(0, 59_999, 60_001)])})
    fills, orders, marks = made.fills.copy(), made.orders.copy(), made.marks["binance.BTCUSDT"].copy()
    fills["time_ns"] = orders["sent_ns"] = orders["arrived_ns"] = orders["ended_ns"] = marks["time_ns"] = times[first]
    made = dataclasses.replace(
        made, fills=fills, orders=orders, marks={"binance.BTCUSDT": marks}, start_ns=times[first], end_ns=times[last]
    )
    save(made, root / "one.npz")
    (found,) = backtest_report([root / "one.npz"], market=root).capacity
    notional = sum((60_000 + number / 100) * 20 for number in range(first, last) if number % 3)
    assert found.participation.value == pytest.approx(30_000 / notional)
    save(dataclasses.replace(made, instruments=("binance.NOUSDT",), marks={}), root / "other.npz")
    with pytest.raises(Failure, match="NOUSDT"):
        backtest_report([root / "other.npz"], market=root)
    with pytest.raises(Failure):
        backtest_report([root / "one.npz"], market=root / "nowhere")

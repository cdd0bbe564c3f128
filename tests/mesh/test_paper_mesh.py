"""Mode paper as a person runs it: a venue over TLS, its live market in the log, orders filled here and nowhere else."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import tests.support.mesh_run as run
from tests.support.stand_in import StandIn
from tickmesh.bus.schema import Kind, Status

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(600)]

MESH = Path(sys.prefix) / "bin/mesh"
PATIENCE_S = 120
EXCHANGE = '[exchange]\nstale_s = 3.0\nbalances = { USDT = "10000", BTC = "1" }\nusdm_wallet = "5000"\nfees = "spot"\n'
EXECUTOR = '[executor]\ninstruments = ["*"]\norder_notional = "150"\n'
SUBJECTS = ("binance.BTCUSDT", "binance_usdm.BTCUSDT")
MARKETS = ["BTCUSDT", "binance_usdm.BTCUSDT"]  # as the exchange names them


def fills(root, after: int = 0) -> list:
    return run.events(root, Kind.fill, after=after)


def filled_at_both(root, after: int = 0, times: int = 2) -> bool:
    subjects = Counter(event.subject for event in fills(root, after))
    return all(subjects[one] >= times for one in SUBJECTS)


def ledger_orders(venue) -> int:
    """How many orders the venue has got: rows about orders in its ledger."""
    reports = (b"executionReport", b"ORDER_TRADE_UPDATE")
    return sum(path.read_bytes().count(one) for path in venue.ledger.glob("ledger*") for one in reports)


def exchange_pid(root) -> int:
    return json.loads((root / "run/exchange.json").read_text())["pid"]


def test_orders_are_filled_on_a_real_venues_market_and_never_reach_it(deep, tmp_path):
    root = deep / "paper"
    root.mkdir()
    with StandIn(tmp_path / "venue", SUBJECTS) as venue:
        both = [word for one in ("binance", "binance_usdm") for word in ("--venue", one, "--instruments", "BTCUSDT")]
        words = ("init", *both, "--mode", "paper", "--source", "paper", "--json")
        made = subprocess.run([MESH, *words], cwd=root, capture_output=True, text=True)
        assert made.returncode == 0 and json.loads(made.stdout)["source"] == "paper", made.stderr
        with open(root / "mesh.toml", "a") as file:
            file.write(f"\n{venue.toml()}{venue.toml('binance_usdm')}{EXCHANGE}{EXECUTOR}")
        try:
            up = run.ok_json(root, "mesh", "up")
            assert (up["mode"], up["source"]) == ("paper", "paper")
            run.until(lambda: filled_at_both(root), "orders are filled at both venues", PATIENCE_S)
            on_the_market(root)
            through_a_kill(root)
            without_data(root, venue)
            assert ledger_orders(venue) == 0, "the venue has never got an order"
        finally:
            run.command(root, "mesh", "down")
        other_money_is_refused(root)
    for path in root.glob("run/logs/*.log"):
        assert "Traceback" not in path.read_text(), path


def on_the_market(root) -> None:
    """Every price that was paid was there: within the range of the venue's quotes around it. The log says what it is."""
    said = [event.map() for event in run.events(root, Kind.run)]
    assert {one["mode"] for one in said} == {"paper"}
    paid = fills(root)  # a fill may be in the log before the quote that it was on
    for subject in SUBJECTS:
        prices = [int(event.records["price_ticks"][0]) for event in paid if event.subject == subject]

        def were_there(subject=subject, prices=prices) -> bool:
            quotes = [event for event in run.events(root, Kind.quote) if event.subject == subject]
            bids = [int(event.records["bid_ticks"].min()) for event in quotes]
            asks = [int(event.records["ask_ticks"].max()) for event in quotes]
            return min(bids) <= min(prices) <= max(prices) <= max(asks)

        run.until(were_there, f"{subject}: what was paid, {min(prices)} to {max(prices)}, is within what was quoted", 20)
    assert run.events(root, Kind.funding) == []
    assert "Mode paper" in run.command(root, "mesh", "status").stdout


def through_a_kill(root) -> None:
    """The exchange dies: accounts and ids go on."""
    at, pid = run.events(root)[-1].seq, exchange_pid(root)
    os.kill(pid, signal.SIGKILL)
    run.until(lambda: exchange_pid(root) != pid and filled_at_both(root, at), "it fills again", PATIENCE_S)
    filled = fills(root)
    for subject in SUBJECTS:
        ids = [int(event.records["trade_id"][0]) for event in filled if event.subject == subject]
        later = [int(event.records["trade_id"][0]) for event in filled if event.subject == subject and event.seq > at]
        assert len(set(ids)) == len(ids) and max(later) == max(ids) > ids[0]


def without_data(root, venue) -> None:
    """The venue falls silent: the markets are closed, nothing fills, until it speaks again."""

    def closed() -> bool:
        beats = [event.map() for event in run.events(root, Kind.health) if event.subject == "exchange"]
        return beats[-1].get("closed") == MARKETS

    venue.process.send_signal(signal.SIGSTOP)
    try:
        run.until(closed, "the market is closed", PATIENCE_S)
        at = run.events(root)[-1].seq
        refused = run.until(lambda: run.events(root, Kind.health, after=at)[5:], "some more seconds", PATIENCE_S)
        assert refused and fills(root, at) == []
    finally:
        venue.process.send_signal(signal.SIGCONT)
    run.until(lambda: not closed(), "it is open again", PATIENCE_S)
    at = run.events(root)[-1].seq
    run.until(lambda: filled_at_both(root, at, 1), "it trades again", PATIENCE_S)
    statuses = {int(event.records["status"][0]) for event in run.events(root, Kind.update)}
    assert int(Status.Filled) in statuses


def other_money_is_refused(root) -> None:
    """What has paper fills never goes on with real ones in the same folder."""
    settings = (root / "mesh.toml").read_text().replace('mode = "paper"', 'mode = "sim"')
    (root / "mesh.toml").write_text(settings)
    done = run.command(root, "mesh", "up")
    assert done.returncode == 1 and "real venues with orders filled on paper" in done.stderr, done.stderr

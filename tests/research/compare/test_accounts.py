"""Several accounts, a venue and a session each: which one's orders, absences and latency a comparison is about."""

import json

import pytest

from tests.support.compare_scene import ASK, BID, BTC, LiveRun
from tests.support.stored import write_log
from tickmesh.bus.config import Config
from tickmesh.bus.schema import Status
from tickmesh.bus.settings import Instrument, Mesh
from tickmesh.bus.settings_trading import ExecutorSettings
from tickmesh.research.compare.running import compare
from tickmesh.storage.query.times import ReadError
from tickmesh.tools import compare as command

USDM = "binance_usdm.BTCUSDT"


def take(run: LiveRun, name: str, price: int = ASK, wait: int = 0) -> None:
    """An order that takes 30 at the ask, `wait` quotes after it was sent; `price`: what the session reports."""
    run.take(name, 1, ASK, 30)
    for _ in range(wait):
        run.quote(100, 100)
    at_ns = run.venue_ns
    trade = run.trade(ASK, 30, 1)
    run.quote(100, 70)
    run.fill(name, trade, 1, price, 30, False, at_ns)
    run.update(name, Status.Filled, at_ns)
    run.book(100, 70)


@pytest.fixture
def config(tmp_path) -> Config:
    """Spot: one order that is reproduced, one that was not sent. USD-M: away for a while, one order at another price."""
    run = LiveRun()
    run.health("session-binance_usdm")
    take(run, "spot")
    run.take("late", 1, ASK, 30)
    run.update("late", Status.Expired)
    run.move(USDM, b"session-binance_usdm")
    run.take("away", 1, ASK, 30)
    run.update("away", Status.Expired)
    run.begin("session-binance_usdm")
    take(run, "usdm", BID, wait=20)
    mesh = Mesh(
        instruments=(Instrument("BTCUSDT"), Instrument("BTCUSDT", "binance_usdm")),
        executor=ExecutorSettings(instruments=("*",)),
    )
    config = Config(mesh, tmp_path)
    write_log(config.log_dir, run.raws)
    return config


def reasons(found) -> dict[str, str]:
    return {one.client_order_id: one.reason for one in found.orders}


def test_an_account_is_compared_by_itself(config):
    spot, usdm = (compare(config, account=venue) for venue in ("binance", "binance_usdm"))
    assert {one.instrument for one in spot.orders} == {BTC} and {one.instrument for one in usdm.orders} == {USDM}
    assert reasons(spot) == {"spot": "", "late": "not_sent"} and reasons(usdm) == {"away": "mesh_down", "usdm": "price_moved"}
    assert (spot.share, usdm.share) == (1.0, 0.0) and (spot.accounts, usdm.accounts) == (("binance",), ("binance_usdm",))
    assert not spot.down and [name for *_, name in usdm.down] == ["session-binance_usdm"]
    assert spot.fit.latency.entry.p50 < 5 and usdm.fit.latency.entry.p50 > 20, "each has a latency of its own"


def test_without_one_all_are_and_nobody_is_away_for_another_accounts_session(config):
    found = compare(config, fitted=False)
    assert reasons(found) == {"spot": "", "late": "not_sent", "away": "mesh_down", "usdm": "price_moved"}
    assert found.share == 0.5 and found.accounts == ("binance", "binance_usdm") and len(found.down) == 1


def test_a_whole_backtest_shows_the_accounts_orders_and_decides_over_all(config):
    usdm = compare(config, fitted=False, whole=True, account="binance_usdm")
    assert {one.instrument for one in usdm.orders} == {USDM} and usdm.whole.intents == 4
    assert reasons(usdm)["away"] == "mesh_down"
    both = compare(config, fitted=False, whole=True)
    assert reasons(both)["late"] == "not_sent" and len(both.orders) == 4


def test_an_account_that_is_none_is_named_with_those_that_are(config):
    with pytest.raises(ReadError, match="no account 'kraken': this mesh trades on binance, binance_usdm, one account a venue"):
        compare(config, account="kraken")


def test_json_names_the_accounts(config):
    found = compare(config, fitted=False, account="binance")
    assert json.loads(json.dumps(command.summary(found), allow_nan=False))["accounts"] == ["binance"]

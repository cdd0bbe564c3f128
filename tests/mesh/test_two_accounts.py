"""Spot and USD-M futures traded at once, a session for each account, killed in between: what the log has is the venue's."""

import json
import time
import urllib.request

import pytest

from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tests.support.session_scene import LOCAL
from tests.support.trading_mesh import Signals, statuses, trading_mesh
from tickmesh.bus.schema import Kind
from tickmesh.nodes.net import exchange_address
from tickmesh.nodes.orders.states import FINAL
from tickmesh.nodes.venues.binance_signing import signed_query

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(400)]

SPOT, USDM = SUBJECTS = ("binance.BTCUSDT", "binance_usdm.BTCUSDT")
SETTINGS = """
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "BTCUSDT"
venue = "binance_usdm"
[executor]
instruments = ["*"]
order_notional = "150"
position_notional = "1500"
styles = ["limit", "limit_maker", "limit_ioc", "market"]
orders_per_s = 30.0
order_ttl_ms = 600
intent_ttl_ms = 1500
[session]
reconcile_s = 0.5
reconcile_all_s = 4.0
weight_share = 0.6
request_timeout_s = 2.0
backoff_s = [0.05, 0.2]
[feed]
lines = 1
[exchange]
lines = 2
quotes_per_s = 30.0
funding_interval_s = 5.0
"""
SESSIONS = ("session", "session-binance_usdm")
KILLS = (("executor",), (SESSIONS[1],), SESSIONS, ("executor", *SESSIONS))
FILLS = 3  # of each account, before each of these and after the last


def asked(mesh: NodeProcesses, venue: str, path: str, **query):
    """What the exchange answers to a signed question."""
    where = exchange_address.read(mesh.config, venue)
    text = signed_query(query, LOCAL.sign, time.time_ns() // 10**6, 5000)
    request = urllib.request.Request(f"{where.rest}{path}?{text}", headers={"X-MBX-APIKEY": LOCAL.api_key})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def records(mesh: NodeProcesses, kind: Kind, subject: str) -> list:
    """The records of a kind and a subject, in the order of the log."""
    return [record for event in mesh.events(kind) if event.subject == subject for record in event.records]


def filled(mesh: NodeProcesses, subject: str, after: int) -> int:
    """How many fills of a subject there are after a seq."""
    return sum(event.subject == subject for event in mesh.events(Kind.fill, after=after))


def wallet(mesh: NodeProcesses) -> int:
    """What the log has of the futures account's USDT."""
    rows = [record for record in records(mesh, Kind.balance, "binance_usdm.account") if record["asset"] == b"USDT"]
    return int(rows[-1]["free"]) if rows else 0


def units(text: str) -> int:
    return round(float(text) * 10**8)


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    """A mesh that has traded on both accounts through all kills and then rests; the exchange and both sessions are there."""
    nodes = ("sequencer", "exchange", "feed-binance-1", "feed-binance_usdm-1", *SESSIONS, "executor")
    with trading_mesh(tmp_path_factory.mktemp("accounts"), SETTINGS, nodes, base="") as mesh:
        signals = Signals(mesh, SUBJECTS, 20)
        for names in (*KILLS, ()):
            at = mesh.last()
            until(lambda at=at: min(filled(mesh, one, at) for one in SUBJECTS) >= FILLS, "fills on both")
            for name in names:
                mesh.kill(name)
            mesh.start(*reversed(names))
        until(lambda: len(records(mesh, Kind.funding, USDM)) >= 2, "fundings")
        signals.end()
        until(lambda: set(statuses(mesh).values()) <= FINAL, "no order is open")
        until(lambda: mesh.newest("executor")["fills"] == len(mesh.events(Kind.fill)), "the executor has counted all fills")
        yield mesh


def test_fills_and_position_of_the_futures_account_are_the_venue_s(traded):
    trades = asked(traded, "binance_usdm", "/fapi/v1/userTrades", symbol="BTCUSDT", fromId=0, limit=1000)
    fills = records(traded, Kind.fill, USDM)
    assert len(fills) >= FILLS * (len(KILLS) + 1) and len(trades) < 1000
    known = sorted((int(f["trade_id"]), int(f["order_id"]), int(f["fee"]), bool(f["maker"]), f["fee_asset"]) for f in fills)
    assert known == sorted((t["id"], t["orderId"], units(t["commission"]), t["maker"], b"USDT") for t in trades)
    orders = asked(traded, "binance_usdm", "/fapi/v1/allOrders", symbol="BTCUSDT", orderId=1, limit=1000)
    sent = {order["clientOrderId"] for order in orders}
    assert len(sent) == len(orders), "none is sent twice"
    assert sent <= {cid for subject, cid in statuses(traded) if subject == USDM}
    position = sum(float(row["positionAmt"]) for row in asked(traded, "binance_usdm", "/fapi/v3/positionRisk"))
    assert traded.newest("executor")["positions"][USDM]["position"] == pytest.approx(position, abs=1e-12)
    assert not traded.alerts("position_differs") and not traded.alerts("impossible_transition")


def test_each_funding_is_in_the_log_once_and_counts_in_the_executor_s_profit(traded):
    def both() -> bool:
        rows = asked(traded, "binance_usdm", "/fapi/v1/income", incomeType="FUNDING_FEE", startTime=1, limit=1000)
        logged = records(traded, Kind.funding, USDM)
        theirs = [(row["tranId"], units(row["income"])) for row in rows]
        if not rows or [(int(row["transaction_id"]), int(row["amount"])) for row in logged] != theirs:
            return False
        money = traded.newest("executor")["positions"][USDM]["funding"]
        return money == pytest.approx(sum(units(r["income"]) for r in rows) / 1e8, abs=2e-5 * len(rows))

    until(both, "the fundings of the log are those of the venue, and the executor's")


def test_the_balances_of_both_accounts_are_the_venue_s(traded):
    def equal() -> bool:
        (usdt,) = (row for row in asked(traded, "binance_usdm", "/fapi/v3/balance") if row["asset"] == "USDT")
        return wallet(traded) == units(usdt["balance"])

    def both_equal() -> bool:
        """Of BTC and USDT, free at the spot account."""
        spot = {row["asset"]: units(row["free"]) for row in asked(traded, "binance", "/api/v3/account")["balances"]}
        held = {row["asset"].decode(): int(row["free"]) for row in records(traded, Kind.balance, "binance.account")}
        return all(held[asset] == spot[asset] for asset in ("BTC", "USDT"))

    until(equal, "the futures wallet")
    until(both_equal, "the spot balances")
    fills = {subject: {int(record["trade_id"]) for record in records(traded, Kind.fill, subject)} for subject in SUBJECTS}
    assert all(fills.values())
    theirs = {event.subject: event.producer for event in traded.events(Kind.fill)}
    assert theirs == dict(zip(SUBJECTS, SESSIONS)), "each account's session tells of its own"

"""Three instruments traded at once on the local exchange, executor and session killed in between, judged by its ledger."""

import contextlib
import json

import numpy as np
import pytest

import tests.support.mesh_run as run
from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tests.support.trading_mesh import Signals, statuses, trading_mesh
from tickmesh.bus.schema import INTENT, Action, Kind, OrderType, Status, TimeInForce
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode
from tickmesh.nodes.orders.states import FINAL

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

SYMBOLS = ("XRPUSDT", "BTCUSDT", "ETHUSDT")
XRP, BTC, ETH = SUBJECTS = tuple(f"binance.{symbol}" for symbol in SYMBOLS)
SETTINGS = """
{instruments}
[executor]
instruments = {traded}
styles = ["limit", "limit_ioc", "market"]
orders_per_s = 30.0
order_ttl_ms = 600
intent_ttl_ms = 1500
[session]
reconcile_s = 0.5
request_timeout_s = 2.0
backoff_s = [0.05, 0.2]
[feed]
lines = 1
[exchange]
lines = 1
quotes_per_s = 30.0
"""


def settings(symbols, traded) -> str:
    listed = "\n".join(f'[[instruments]]\nsymbol = "{symbol}"' for symbol in symbols)
    return SETTINGS.format(instruments=listed, traded=json.dumps(traded))


def settled(mesh: NodeProcesses) -> dict:
    """The executor's newest health, once it knows all fills of the log and no order that is open; {} before."""
    beat = mesh.newest("executor")
    return beat if (beat["fills"], beat["open_orders"]) == (len(mesh.events(Kind.fill)), 0) else {}


def traded_on_all(mesh: NodeProcesses, after: int) -> bool:
    return {event.subject for event in mesh.events(Kind.fill, after=after)} == set(SUBJECTS)


def place_far_away(mesh: NodeProcesses, log_id: str, subject: str, price_ticks: int, lots: int) -> str:
    """An order as the executor's, which is dead: far from the market, it rests until somebody cancels it."""
    cause = mesh.last()
    name = f"t{log_id}-{cause:x}-0"
    row = np.zeros(1, INTENT)
    row["client_order_id"], row["action"], row["side"], row["order_type"] = name.encode(), Action.NEW, 1, OrderType.LIMIT
    row["time_in_force"], row["price_ticks"], row["quantity_lots"] = TimeInForce.GTC, price_ticks, lots
    row["expires_ns"] = mesh.events(Kind.clock, Kind.quote)[-1].seq_ns + 60 * 10**9
    with contextlib.closing(Producer(mesh.config, "executor")) as executor:
        executor.publish([encode(Kind.intent, subject, row, cause_seq=cause)])
    until(lambda: statuses(mesh).get((subject, name)) == Status.New, f"{name} works at the venue")
    return name


@pytest.fixture(scope="module")
def traded(tmp_path_factory):
    """The folder, the orders that were left behind, and the judge's verdict, of a mesh that is over."""
    root = tmp_path_factory.mktemp("three")
    nodes = ("sequencer", "exchange", "feed-1", "session", "executor")
    with trading_mesh(root, settings(SYMBOLS, ["binance.*"]), nodes, base="") as mesh:
        signals = Signals(mesh, SUBJECTS, 30)
        until(lambda: traded_on_all(mesh, 0), "fills on all three")
        for name in ("executor", "session"):  # the sweep of orders has the rest: tests/tools/chaos/test_chaos_orders.py
            mesh.kill(name)
        mesh.start("session", "executor")
        at = mesh.last()
        until(lambda: traded_on_all(mesh, at), "fills on all three")
        mesh.kill("executor")
        log_id = next(event.map()["log_id"] for event in mesh.events(Kind.run) if event.producer == "sequencer")
        terms = {ETH: (1000 * 10**8, 10**7), XRP: (3 * 10**7, 10**10)}
        left = {(subject, place_far_away(mesh, log_id, subject, *of)) for subject, of in terms.items()}
        mesh.kill("session")
        mesh.configure(settings(("BTCUSDT", "XRPUSDT"), [BTC]))  # ETHUSDT is not even captured any more
        at = mesh.last()
        mesh.start("executor", "session")
        until(lambda: all(statuses(mesh)[order] == Status.Canceled for order in left), "what was left behind is cancelled")
        until(lambda: any(e.subject == BTC for e in mesh.events(Kind.fill, after=at)), "what is listed is traded")
        signals.end()
        until(lambda: set(statuses(mesh).values()) <= FINAL, "no order is open")
        beat = until(lambda: settled(mesh), lambda: f"all fills, no open order, by its health: {mesh.newest('executor')}")
        after = [e.subject for e in mesh.events(Kind.intent, after=at) if e.records["action"][0] == Action.NEW]
        for name in ("exchange", "executor", "session", "feed-1", "sequencer"):
            mesh.kill(name)
        verdict = json.loads(run.command(root, "mesh", "verify", "--against", "data/sim/exchange", "--json").stdout)
        yield mesh, left, verdict, beat, after


def test_no_order_is_doubled_or_lost_and_every_position_is_the_ledger_s(traded):
    mesh, left, verdict, beat, _ = traded
    assert verdict["ok"], verdict["sentences"]
    assert {name: verdict[name] for name in verdict if name.startswith(("order_", "fill_"))} == dict.fromkeys(
        (
            "order_doubled",
            "order_lost",
            "order_orphaned",
            "fill_doubled",
            "fill_lost",
            "fill_invented",
            "fill_different",
            "order_unknown",
            "order_worked_on",
        ),
        0,
    )
    assert verdict["fills_on_their_way"] == 0 and verdict["fills_checked"] == len(mesh.events(Kind.fill))
    assert verdict["fills_checked"] >= 2 * len(SUBJECTS) + 1 and verdict["orders_checked"] >= len(SUBJECTS) + len(left)
    assert set(verdict["account"]) == set(SUBJECTS)
    for subject, one in verdict["account"].items():
        assert one["fills"] and one["position"] == one["position_by_ledger"]
        assert beat["positions"][subject]["position"] == pytest.approx(one["position"], abs=1e-12), "the executor's too"
        assert beat["positions"][subject]["fills"] == one["fills"]


def test_what_was_left_behind_on_instruments_that_are_not_listed_is_cancelled_and_nothing_new_is_sent_there(traded):
    mesh, left, _, beat, after = traded
    cancelled = {
        (event.subject, record["target_id"].decode())
        for event in mesh.events(Kind.intent) for record in event.records if record["action"] == Action.CANCEL
    }  # fmt: skip
    assert left <= cancelled
    assert set(after) == {BTC}, "and what is listed goes on"
    assert beat["unlisted_orders"] == {} and beat["instruments"] == 1

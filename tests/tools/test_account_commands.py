"""`mesh orders`, `fills`, `pnl`, `cancel`, `flatten` with real processes, and on what they have left behind."""

import contextlib
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from tests.support.mesh_run import until
from tests.support.naive_money import NaivePosition
from tests.support.trading_mesh import trading_mesh
from tickmesh.bus.schema import Kind, Status
from tickmesh.nodes.executor.session_word import SessionWord
from tickmesh.nodes.executor.state import InstrumentState
from tickmesh.tools.cli import commands
from tickmesh.tools.closing import is_gone
from tickmesh.tools.terminal import Failure

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(400)]
BTC = "binance.BTCUSDT"
SETTINGS = """
[executor]
order_ttl_ms = 600000
[[strategies]]
name = "rests"
styles = ["limit"]
[[strategies]]
name = "takes"
styles = ["limit_ioc"]
"""


@pytest.mark.parametrize(
    ("lots", "of_account", "at_venue", "gone"),
    [
        (4, 4, 0, True),
        (4, 4, -1, True),
        (-4, -6, 0, True),
        (4, 4, 1, False),
        (4, 4, None, False),
        (4, 1, 0, False),
        (0, 0, 0, False),
    ],
)
def test_a_position_is_gone_where_the_venue_says_so_of_all_of_it(lots, of_account, at_venue, gone):
    """What two strategies hold against each other is closed by orders that the venue takes, whatever it has."""
    instrument = InstrumentState()
    instrument.book("s").position.lots, instrument.position.lots = lots, of_account
    word = SessionWord(venue_lots={} if at_venue is None else {BTC: at_venue})
    assert is_gone(BTC, instrument, "s", word) == gone


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with trading_mesh(tmp_path_factory.mktemp("account"), SETTINGS) as mesh:
        yield mesh


def call(mesh, *words):
    """Calls `mesh` in this process: a program of its own takes seconds on a busy machine, and the market goes on."""
    return CliRunner().invoke(commands, list(words), env={"TICKMESH_ROOT": str(mesh.root)})


def ok(mesh, *words) -> dict:
    done = call(mesh, *words, "--json")
    assert done.exit_code == 0, (words, done.output, done.exception)
    return json.loads(done.stdout)


def failed(mesh, code: int, *words) -> str:
    """The sentence of a command that fails with this exit code."""
    done = call(mesh, *words)
    fault = done.exception
    if isinstance(fault, SystemExit):  # typer's own, of a wrong option
        assert done.exit_code == code, done.output
        return done.output
    assert isinstance(fault, Failure) and fault.code == code, (done.output, fault)
    return str(fault)


def final(mesh, order: str) -> str | None:
    """The newest status of an order in the log."""
    said = [e.records["status"][0] for e in mesh.events(Kind.update) if e.records["client_order_id"][0] == order.encode()]
    return Status(said[-1]).name if said else None


def open_orders(mesh, strategy: str = "rests") -> list[str]:
    rows = ok(mesh, "orders", "--open", "--strategy", strategy)["orders"]
    return [one["client_order_id"] for one in rows if one["status"] == "New"]


@contextlib.contextmanager
def standing_market(mesh):
    """The exchange stands still while an order of `rests` is open there, so that it stays open; gives its id."""
    exchange = mesh.processes["exchange"]

    def stand_still():
        exchange.send_signal(signal.SIGSTOP)
        at = mesh.last()  # two beats later the session has read what was on its way, and the executor what it said of it
        until(lambda: all(mesh.beats(name, at)[1:] for name in ("session", "executor")), "what was on its way is in the log")
        if found := open_orders(mesh):
            return found
        exchange.send_signal(signal.SIGCONT)
        return None

    try:
        yield until(stand_still, "an order of rests is open", 120)
    finally:
        exchange.send_signal(signal.SIGCONT)


def test_one_order_is_cancelled_and_the_command_returns_when_the_venue_has_said_so(mesh):
    before = len(mesh.events(Kind.command))
    with ThreadPoolExecutor(1) as person, standing_market(mesh) as orders:
        answer = person.submit(ok, mesh, "cancel", orders[-1], "--why", "a test")
        until(lambda: len(mesh.events(Kind.command)) > before, "it is commanded")
        time.sleep(0.2)
        assert not answer.done(), "the venue has not answered yet"
        mesh.processes["exchange"].send_signal(signal.SIGCONT)
        done = answer.result()
    (one,) = done["orders"]
    assert done["ok"] and one["status"] == final(mesh, one["client_order_id"]) in ("Canceled", "Filled")
    assert "is over" in failed(mesh, 2, "cancel", one["client_order_id"])


def test_a_strategy_that_is_off_is_flattened_and_the_other_one_goes_on(mesh):
    until(lambda: ok(mesh, "fills", "--strategy", "takes")["count"] > 2, "takes has fills", 120)
    ok(mesh, "strategy", "takes", "off")
    done = ok(mesh, "flatten", "--strategy", "takes")
    assert done["ok"] and [row["strategy"] for row in done["positions"]] in (["takes"], [])
    rows = [row for row in ok(mesh, "pnl", "--strategy", "takes")["rows"]]
    assert [row["strategy"] for row in rows] == ["takes"] and abs(Decimal(rows[0]["position"])) < Decimal("0.0002")
    assert ok(mesh, "orders", "--open", "--strategy", "takes")["orders"] == []
    before = mesh.last()
    until(lambda: any(e.records["strategy"][0] == b"rests" for e in mesh.events(Kind.intent, after=before)), "rests orders", 90)


def test_what_the_executor_does_not_do_in_time_is_said_and_done_when_it_is_back(mesh):
    with standing_market(mesh) as orders:
        mesh.kill("executor")
        done = call(mesh, "cancel", "--all", "--timeout", "0.5", "--json")
        answer = json.loads(done.stdout)
        assert done.exit_code == 1 and not answer["ok"] and "executor" in answer["why_not"], done.output
    mesh.start("executor")
    until(lambda: all(final(mesh, order) in ("Canceled", "Filled") for order in orders), "it is cancelled later", 90)


@pytest.mark.parametrize("code, words, why", [
    (2, ("cancel",), "say what"),
    (2, ("cancel", "--all", "--instrument", BTC), "say what"),
    (2, ("cancel", "t-1"), "no open order 't-1'"),
    (2, ("cancel", "--strategy", "nobody"), "there: rests, takes"),
    (2, ("flatten",), "say what"),
    (2, ("flatten", "--instrument", "ETHUSDT"), "not in mesh.toml; there: binance.BTCUSDT"),
    (2, ("orders", "--since", "lately"), "nor so long ago"),
    (2, ("pnl", "--instrument", "X"), "not in mesh.toml"),
    (2, ("fills", "--last", "0"), "not in the range"),
])  # fmt: skip
def test_what_means_nothing_is_a_sentence(mesh, code, words, why):
    before = len(mesh.events(Kind.command))
    assert why in failed(mesh, code, *words) and len(mesh.events(Kind.command)) == before


def test_all_that_is_shown_follows_from_the_log_with_no_process_running(mesh):
    """The last test: nothing runs any more. Fills, orders and profit equal what the log says, computed naively."""
    for strategy in ("rests", "takes"):  # alone in a worker it is the first one
        until(lambda name=strategy: len(ok(mesh, "fills", "--strategy", name)["fills"]) > 1, f"fills of {strategy}", 120)
    for name in ("executor", "model-imbalance", "session", "feed-1", "exchange", "sequencer"):
        mesh.kill(name)
    records = [(e.seq, e.records[0]) for e in mesh.events(Kind.fill)]
    shown = ok(mesh, "fills", "--last", "100000")
    assert [one["seq"] for one in shown["fills"]] == [seq for seq, _ in records] and shown["not_shown"] == 0
    last = ok(mesh, "fills", "--last", "2")
    assert last["fills"] == shown["fills"][-2:] and last["not_shown"] == len(records) - 2
    middle = records[len(records) // 2][0]
    since = ok(mesh, "fills", "--since", str(middle))
    assert [one["seq"] for one in since["fills"]] == [seq for seq, _ in records if seq >= middle]
    assert {one["seq"] for one in ok(mesh, "fills", "--strategy", "takes")["fills"]} < {seq for seq, _ in records}
    check_orders(mesh, shown["fills"])
    check_profit(mesh, shown["fills"])
    check_span(mesh, middle)


def check_orders(mesh, filled: list[dict]) -> None:
    rows = {one["client_order_id"]: one for one in ok(mesh, "orders", "--last", "100000")["orders"]}
    asked = [e.records[0] for e in mesh.events(Kind.intent) if e.records["action"][0] == 1]
    assert {name: row["parent_seq"] for name, row in rows.items()} == {
        one["client_order_id"].decode(): int(one["parent_seq"]) or None for one in asked
    }
    for name, row in rows.items():
        mine = [one for one in filled if one["client_order_id"] == name]
        assert Decimal(row["filled"]) == sum((Decimal(one["quantity"]) for one in mine), Decimal(0)), row
        assert row["status"] != "Filled" or row["filled"] == row["quantity"]


def naive(filled: list[dict], mark: Decimal) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """(position, realised, unrealised, fees) of fills, the slow way."""
    position = NaivePosition(Decimal("1e-16"))
    for one in filled:
        price = Decimal(one["price"])
        position.fill(1 if one["side"] == "buy" else -1, price, Decimal(one["quantity"]))
        position.fee(one["fee_asset"], Decimal(one["fee"]), Decimal(1) if one["fee_asset"] == "USDT" else price)
    return position.quantity, position.realised, position.unrealised(mark), position.fee_cost


def check_profit(mesh, filled: list[dict]) -> None:
    result = ok(mesh, "pnl")
    total = Decimal(0)
    for row in result["rows"]:
        mine = [one for one in filled if one["strategy"] == row["strategy"]]
        quantity, realised, unrealised, fees = naive(mine, Decimal(row["mark"]))
        assert [Decimal(row[name]) for name in ("position", "realised", "unrealised", "fees")] == [
            quantity, realised, unrealised, fees,
        ]  # fmt: skip
        assert Decimal(row["net"]) == realised + unrealised - fees and row["fills"] == len(mine)
        total += realised + unrealised - fees
    assert {row["strategy"] for row in result["rows"]} == {"rests", "takes"}
    assert Decimal(result["in_all"]["net"]) == total == Decimal(result["instruments"][BTC]["net"])


def check_span(mesh, middle: int) -> None:
    """What two spans gained is what the whole gained: fees and fills add up, as does what each realised."""
    whole, later = ok(mesh, "pnl"), ok(mesh, "pnl", "--since", str(middle))
    fills = [one for one in ok(mesh, "fills", "--since", str(middle), "--last", "100000")["fills"]]
    assert sum(row["fills"] for row in later["rows"]) == len(fills) < sum(row["fills"] for row in whole["rows"])
    fees = sum(Decimal(f["fee"]) * (1 if f["fee_asset"] == "USDT" else Decimal(f["price"])) for f in fills)
    assert Decimal(later["in_all"]["fees"]) == fees

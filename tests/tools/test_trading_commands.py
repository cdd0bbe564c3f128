"""Commands with real processes: each is in the log when it returns, and holds there and after every restart."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

import tests.support.mesh_run as run
from tests.support.mesh_run import until
from tests.support.trading_mesh import trading_mesh
from tickmesh.bus.names import KILL_SWITCH_FILE, OPERATOR
from tickmesh.bus.schema import Action, Kind, Status
from tickmesh.nodes.orders import commanding
from tickmesh.nodes.orders.commands import KillSwitch, SwitchStrategy
from tickmesh.tools.commanding import publish_command

pytestmark = [pytest.mark.mesh, pytest.mark.timeout(300)]

SETTINGS = """
[executor]
order_ttl_ms = 600000
[[strategies]]
name = "rests"
styles = ["limit"]
[[strategies]]
name = "takes"
state = "off"
styles = ["limit_ioc"]
[risk]
on_kill = "flatten"
notional_max = "1000000"
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with trading_mesh(tmp_path_factory.mktemp("commands"), SETTINGS) as mesh:
        yield mesh


def ok(mesh, *words) -> dict:
    return run.ok_json(mesh.root, "mesh", *words)


def commands(mesh) -> list[dict]:
    return [event.map() for event in mesh.events(Kind.command) if event.producer == OPERATOR]


def test_commands_at_the_same_time_are_each_in_the_log_once(mesh):
    before = len(commands(mesh))
    whys = [f"number {i}" for i in range(4)]

    def switch(why: str) -> int:
        return publish_command(mesh.config, SwitchStrategy("takes", "off", OPERATOR, why))

    with ThreadPoolExecutor(4) as people:
        seqs = list(people.map(switch, whys))
    assert len(set(seqs)) == 4
    said = {event.seq: event.map()["why"] for event in mesh.events(Kind.command) if event.seq in seqs}
    assert said == dict(zip(seqs, whys)) and len(commands(mesh)) == before + 4


def test_a_strategy_is_switched_where_the_log_has_it_and_a_fresh_executor_knows(mesh):
    at = ok(mesh, "strategy", "takes", "on")["seq"]
    until(lambda: any(e.records["strategy"][0] == b"takes" for e in mesh.events(Kind.intent, after=at)), "it orders")
    assert not any(e.records["strategy"][0] == b"takes" for e in mesh.events(Kind.intent) if e.seq < at)
    off = ok(mesh, "strategy", "takes", "off", "--why", "a test")["seq"]
    mesh.kill("executor")
    mesh.start("executor")
    until(lambda: mesh.newest("executor")["strategies"]["takes"]["state"] == "off", "a fresh executor has it off")
    assert not any(e.records["strategy"][0] == b"takes" and e.cause_seq > off for e in mesh.events(Kind.intent, after=off)
                   if e.records["action"][0] == Action.NEW)  # fmt: skip
    shown = ok(mesh, "positions")
    assert shown["strategies"]["takes"]["fills"] and shown["strategies"]["takes"]["why"] == "a test"
    whole = sum(one["positions"].get("binance.BTCUSDT", {"position": 0})["position"] for one in shown["strategies"].values())
    assert shown["positions"]["binance.BTCUSDT"]["position"] == pytest.approx(whole)


def test_limits_are_listed_as_stated_and_as_they_hold(mesh):
    def listed() -> dict:
        return ok(mesh, "limit")["limits"]

    assert listed() == {"account": {"notional_max": {"stated": "1000000", "now": "1000000"}}, "rests": {}, "takes": {}}
    ok(mesh, "limit", "account", "notional_max", "900000")
    ok(mesh, "limit", "takes", "open_orders_max", "7")
    until(lambda: listed()["takes"] == {"open_orders_max": {"stated": "", "now": "7"}}, "the executor says what holds")
    assert ok(mesh, "limit", "account")["limits"] == {"account": {"notional_max": {"stated": "1000000", "now": "900000"}}}
    shown = run.command(mesh.root, "mesh", "limit").stdout.splitlines()
    assert [line.split() for line in shown if "_max" in line] == [
        ["account", "notional_max", "1000000", "900000"], ["takes", "open_orders_max", "none", "7"]
    ]  # fmt: skip
    ok(mesh, "limit", "account", "notional_max")
    ok(mesh, "limit", "takes", "open_orders_max")
    until(lambda: listed()["account"]["notional_max"]["now"] == "1000000" and not listed()["takes"], "as mesh.toml says")


def test_a_kill_switch_cancels_closes_and_stays_until_a_person_lifts_it(mesh):
    def resting() -> bool:
        return any(e.records["status"][0] == Status.New for e in mesh.events(Kind.update, after=at))

    at = mesh.last()
    ok(mesh, "strategy", "takes", "on")
    until(resting, "an order rests")
    on = ok(mesh, "kill-switch", "on", "--why", "a test")["seq"]
    assert (mesh.config.run_dir / KILL_SWITCH_FILE).exists()

    def quiet() -> bool:
        beat = mesh.newest("executor")
        held = [one for one in beat["positions"].values() if abs(one["position"]) * 60_000 > 6]  # what the venue's least is
        return bool(beat["kill_switch"]["on"] and not beat["open_orders"] and not held)

    until(quiet, lambda: f"nothing is open, nothing is held: {mesh.newest('executor')}")
    closing = [e for e in mesh.events(Kind.intent, after=on) if e.records["action"][0] == Action.NEW and e.cause_seq > on]
    assert {int(e.records["order_type"][0]) for e in closing} <= {2}, "market orders that close, and nothing else"
    mesh.kill("executor")
    mesh.start("executor")
    until(
        lambda: mesh.newest("executor")["strategies"]["rests"]["refused"].get("kill_switch", 0) > 2,
        "it refuses after a restart",
    )
    said = ok(mesh, "kill-switch", "status")
    assert said["on"] and said["why"] == "a test" and said["by"] == "operator" and said["file"]
    off = ok(mesh, "kill-switch", "off")["seq"]
    assert not (mesh.config.run_dir / KILL_SWITCH_FILE).exists()
    until(lambda: [e for e in mesh.events(Kind.intent, after=off) if e.records["strategy"][0] == b"rests"], "it orders again")


def test_what_no_sequencer_takes_is_said_and_holds_later(mesh):
    mesh.kill("sequencer")
    with pytest.raises(commanding.CommandFailure, match="in the outbox, and .*sequencer"):
        commanding.publish_command(mesh.config, KillSwitch(False, OPERATOR, "late"), logged_s=0.5)
    mesh.start("sequencer")
    until(lambda: any(said.get("why") == "late" for said in commands(mesh)), "it is taken")


@pytest.mark.parametrize("words, why", [
    (("strategy", "nobody", "on"), "mesh.toml has no strategy 'nobody'; there: rests, takes"),
    (("limit", "account", "speed", "1"), "there is no limit 'speed'"),
    (("limit", "nobody", "notional_max", "1"), "there: account, rests, takes"),
    (("limit", "nobody"), "there: account, rests, takes"),
    (("limit", "rests", "notional_max", "much"), "notional_max is 'much'; allowed: a plain decimal above 0"),
    (("limit", "account", "notional_max", "2000000"), "2000000 is wider than the 1000000 of mesh.toml, which holds"),
])  # fmt: skip
def test_what_means_nothing_is_refused_before_it_is_published(mesh, words, why):
    before = len(commands(mesh))
    done = run.command(mesh.root, "mesh", *words)
    assert done.returncode == 2 and why in done.stderr and len(commands(mesh)) == before


def test_a_replay_of_it_all_publishes_the_same(mesh):
    ok(mesh, "strategy", "takes", "on")
    until(lambda: len(mesh.events(Kind.intent)) > 20, "it orders")
    for name in ("executor", "model-imbalance", "session", "feed-1", "exchange", "sequencer"):
        mesh.kill(name)
    answer = json.loads(run.command(mesh.root, "mesh", "replay", "--source", "log", "--batch", "5", "--json").stdout)
    executor = answer["executor"]
    assert executor["first_difference"] is None and executor["twice"] == 0 and executor["equal"] == executor["live"] > 20, (
        executor
    )

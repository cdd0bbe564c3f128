"""The processes of a mesh follow from its settings, and each is changed by the settings that it reads, and by no others."""

import ast
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from tests.support.places import PROJECT
from tests.support.source_trees import modules
from tickmesh.bus.config import Config, ConfigError, load
from tickmesh.bus.settings import Mesh
from tickmesh.nodes.process_table import FIXED, NODES, guests_of, hosted, hot_path, idle_because, processes

LINES = [f"feed-binance-{line}" for line in (1, 2)]
SENTINELS = ["sentinel-1", "sentinel-2"]
MODELS = ["model-imbalance", "model-flow"]


@pytest.fixture
def mesh(tmp_path):
    """Gives the settings of a mesh.toml; words of `host` need not be ones that this version can host."""
    (tmp_path / "mesh.toml").write_text("")

    def settings(host: tuple[str, ...] = (), **parts: Any) -> Config:
        config = load(tmp_path, parts)
        return Config(msgspec.structs.replace(config.mesh, host=host), tmp_path)

    return settings


def names(config: Config) -> list[str]:
    return [entry.name for entry in processes(config)]


def changed(before: Config, after: Config) -> dict[str, set[str]]:
    """Name → the parts of mesh.toml because of which it begins anew."""
    old = {entry.name: entry for entry in processes(before)}
    return {
        entry.name: {part for part in {**entry.settings, **old[entry.name].settings}
                     if entry.settings.get(part) != old[entry.name].settings.get(part)}
        for entry in processes(after) if entry.name in old and entry.fingerprint != old[entry.name].fingerprint
    }  # fmt: skip


def test_the_default_mesh_has_every_process_in_the_order_of_its_data(mesh):
    entries = processes(mesh())
    assert names(mesh()) == [
        "exchange",
        "sequencer",
        "recorder",
        *LINES,
        "backfill",
        *MODELS,
        "executor",
        "session",
        "gateway",
        *SENTINELS,
    ]
    shown = {entry.name: (entry.node, entry.instance, entry.group) for entry in entries}
    assert shown["feed-binance-1"] == ("feed", "binance-1", "feeds") and shown["model-flow"] == ("model", "flow", "models")
    assert shown["executor"] == ("executor", "", "executor") and shown["sentinel-2"] == ("sentinel", "2", "sentinels")
    stopped = sorted(entries, key=lambda entry: -entry.priority)
    assert list(dict.fromkeys(entry.node for entry in stopped)) == [
        "sentinel", "gateway", "executor", "session", "exchange", "feed", "backfill", "model", "sequencer", "recorder",
    ]  # fmt: skip


def test_lines_models_and_what_is_switched_off_follow_the_settings(mesh):
    config = mesh(
        instruments=[{"symbol": "BTCUSDT"}, {"symbol": "XBT/USD", "venue": "kraken"}, {"symbol": "ETHUSDT"}],
        feed={"lines": 3}, models=[], executor={"enabled": False}, backfill={"enabled": False},
    )  # fmt: skip
    lines = [f"feed-{venue}-{line}" for venue in ("binance", "kraken") for line in (1, 2, 3)]
    assert names(config) == ["exchange", "sequencer", "recorder", *lines, "session", "gateway", *SENTINELS]
    assert "gateway" not in names(mesh(gateway={"enabled": False}))
    assert "gateway.enabled is false" in idle_because(mesh(gateway={"enabled": False}), "gateway", "")
    with pytest.raises(ConfigError, match="instruments.venue = 'krakn' is impossible; allowed: binance, .*kraken"):
        processes(mesh(instruments=[{"symbol": "XBT/USD", "venue": "krakn"}]))


def test_models_are_those_of_the_file_and_the_default_ones_unless_it_says_otherwise(mesh):
    def models(**settings):
        return [model.name for model in mesh(**settings).models]

    own = [{"name": "mine", "kernel": "trade_flow"}]
    assert models() == ["imbalance", "flow"] and models(models=own) == ["mine", "imbalance", "flow"]
    assert models(default_models=False) == [] == models(models=[])
    assert models(models=own, default_models=False) == ["mine"]


def test_in_mode_capture_nothing_trades_and_there_is_no_local_venue(mesh):
    config = mesh(mode="capture", source="binance")
    assert names(config) == ["sequencer", "recorder", *LINES, "backfill", *MODELS, "gateway", *SENTINELS]
    assert all("capture" in idle_because(config, node, "") for node in ("exchange", "executor", "session"))


@pytest.mark.parametrize(
    ("words", "inside"),
    [
        (("model",), [("model", "imbalance"), ("model", "flow")]),
        (("executor", "model-flow"), [("model", "flow"), ("executor", "")]),
        (("session", "executor"), [("executor", ""), ("session", "")]),
        (("feed-2",), [("feed", "binance-2"), ("feed", "kraken-2")]),
        (("feed-kraken-1", "sequencer"), [("feed", "kraken-1")]),
    ],
)
def test_what_is_hosted_is_no_process(mesh, words, inside):
    parts = {"instruments": [{"symbol": "BTCUSDT"}, {"symbol": "XBT/USD", "venue": "kraken"}]}
    config = mesh(words, **parts)
    assert hosted(config) == inside
    table = [(entry.node, entry.instance) for entry in processes(config)]
    assert not set(inside) & set(table) and len(inside) + len(table) == len(processes(mesh(**parts)))
    assert all("hosted" in idle_because(config, *one) for one in inside)


def test_a_line_without_a_venue_is_that_of_the_table(mesh):
    assert "hosted" in idle_because(mesh(("feed-binance-1",)), "feed", "1")
    assert idle_because(mesh(("feed-binance-1",)), "feed", "2") == ""


def test_a_sequencer_hosts_whom_its_command_line_names_before_mesh_toml(mesh):
    config = mesh(("session",), executor={"enabled": False})
    assert guests_of(config, []) == [("session", "")]
    assert guests_of(config, [("model", ""), ("executor", "")]) == [("model", "imbalance"), ("model", "flow")]


BOTH = {"instruments": [{"symbol": "BTCUSDT"}, {"symbol": "BTCUSDT", "venue": "binance_usdm"}]}


def test_there_is_a_session_for_each_account_that_is_traded_and_no_other(mesh):
    def sessions(config: Config) -> list[str]:
        return [entry.name for entry in processes(config) if entry.node == "session"]

    assert sessions(mesh(**BOTH)) == ["session"], "what is recorded alone needs no account"
    both, futures = (mesh(**BOTH, executor={"instruments": [pattern]}) for pattern in ("*", "binance_usdm.*"))
    assert sessions(both) == ["session", "session-binance_usdm"]
    assert sessions(futures) == ["session-binance_usdm"]
    assert "no strategy in mesh.toml trades an instrument of binance" in idle_because(futures, "session", "")
    assert idle_because(futures, "session", "binance_usdm") == ""
    hosting = mesh(("session",), **BOTH, executor={"instruments": ["*"]})
    assert hosted(hosting) == [("session", ""), ("session", "binance_usdm")]
    assert guests_of(both, [("session", "")]) == [("session", ""), ("session", "binance_usdm")]
    limited = mesh(**BOTH, executor={"instruments": ["*"]}, venues={"binance_usdm": {"weight_per_minute": 30}})
    assert "session-binance_usdm" in changed(both, limited) and "session" not in changed(both, limited)


def test_a_setting_of_one_node_changes_that_node_alone(mesh):
    assert changed(mesh(), mesh(executor={"signal_threshold": 0.7})) == {"executor": {"executor"}}
    assert changed(mesh(), mesh(venues={"kraken": {"weight_per_minute": 30}})) == {"backfill": {"venues"}}
    ours = mesh(venues={"binance": {"weight_per_minute": 30}})
    assert set(changed(mesh(), ours)) == {*LINES, "backfill", "session"}
    imbalance = {"name": "imbalance", "kernel": "book_imbalance"}
    other = mesh(models=[imbalance, {"name": "flow", "kernel": "trade_flow", "parameters": {"tau_s": 2.0}}])
    assert changed(mesh(), other) == {"model-flow": {"models.flow"}}
    assert changed(mesh(), mesh(models=[imbalance])) == {}, "a model that goes concerns no other process"
    assert set(changed(mesh(), mesh(log={"sync_ms": 20}))) == set(names(mesh()))
    assert changed(mesh(), mesh(log={"levels": {"executor": "debug"}})) == {"executor": {"log"}}
    assert changed(mesh(), mesh(exchange={"seed": 2})) == {"exchange": {"exchange"}}
    assert set(changed(mesh(), mesh(exchange={"api_key": "other"}))) == {"exchange", "session"}


def test_latency_changes_who_waits_or_moves_and_nobody_else(mesh):
    hot = {"sequencer", *LINES, "executor", "session", *MODELS}
    assert set(changed(mesh(), mesh(latency={"spin_us": 50}))) == hot == set(hot_path(mesh()))
    assert set(changed(mesh(), mesh(latency={"realtime": True}))) == hot
    assert set(changed(mesh(), mesh(latency={"pin": [1]}))) == set(names(mesh()))
    own = [*range(8)]
    more = mesh(latency={"pin": own}, models=[{"name": "mine", "kernel": "trade_flow"}])
    assert set(changed(mesh(latency={"pin": own}), more)) & hot <= set(MODELS), "the others keep the cores that they have"
    assert changed(mesh(latency={"pin": [1, 2]}), mesh(latency={"pin": [1, 2]}, executor={"orders_per_s": 3})).keys() == {
        "executor"
    }


def test_another_instrument_changes_who_reads_it(mesh):
    """The lines of its venue, and not those of another; recorder and sentinels know how many files a cut makes.

    Models by their patterns; the executor trades the first instrument alone.
    """
    both = [{"symbol": "BTCUSDT"}, {"symbol": "XBT/USD", "venue": "kraken"}]
    concerned = set(changed(mesh(instruments=both), mesh(instruments=[*both, {"symbol": "ETHUSDT"}])))
    assert concerned == {"exchange", "recorder", *LINES, "backfill", *MODELS, "session", "gateway", *SENTINELS}
    assert not set(changed(mesh(), mesh(instruments=both))) & set(LINES)


def test_the_sequencer_is_changed_by_whom_it_hosts(mesh):
    alone, guest = {"signal_threshold": 0.7}, ("executor",)
    read = {"executor", "strategies", "risk", "instruments", "checkpoint_s"}
    assert changed(mesh(), mesh(guest)) == {"sequencer": {"host", *read}}
    assert changed(mesh(guest), mesh(guest, executor=alone)) == {"sequencer": {"executor"}}
    both = mesh(("model", "executor"))
    assert changed(both, mesh(("model", "executor"), executor=alone)) == {"sequencer": {"executor"}}


# What the table says that nodes read, against their code: every file that a node imports, and those it imports in turn.

OF_ALL = ("bus.process", "bus.sockets", "bus.operator_log")  # what every process runs with
BY_THE_RUNNER = {"log", "host", "hosting", "latency"}  # nodes/__main__.py reads them for every process, and for the sequencer
# Called by others only, with the rest of whose file they are imported, or no reason to restart: node or "" → {(file, part)}.
NOT_CALLED = {
    "": {
        ("storage.query.coverage", "instruments"),
        ("storage.query.reader", "instruments"),  # subjects, exponents: tools
        ("bus.order_addresses", "venues"),  # by the loading of mesh.toml: who uses an address reads [venues] itself
    },
    # for how many lines its market waits before it begins; a step's runner, beside the history that is read
    "exchange": {("nodes.exchange.server.pace", "feed"), ("nodes.runner.step", "checkpoint_s")},
    # which processes there are it reads again whenever mesh.toml changes (nodes/gateway/named_processes.py)
    "gateway": {
        *(("nodes.process_table", part) for part in ("exchange", "notify", "backfill", "feed", "venues", "models", "host")),
        ("nodes.feed.line_names", "feed"),
    },
    # of models alone
    "executor": {("nodes.model.refused", "models"), ("nodes.models.loading", "paths"), ("nodes.runner.stalls", "models")},
}
METHODS = {"models_dir": "paths", "model": "models", "strategies_resolved": "strategies"}  # of Config


def imported(tree: ast.AST) -> set[str]:
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out |= {alias.name.removeprefix("tickmesh.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = str(node.module).removeprefix("tickmesh.")
            out |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return out & set(modules())


def closure(*roots: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += imported(modules()[name])
    return seen - {"bus.config", "bus.trading_rules"}  # read when the file is read


def parts_read(tree: ast.AST) -> set[str]:
    """The parts of mesh.toml that a file takes from something called config, in whatever object it lies."""
    out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = getattr(node.value, "id", "") or getattr(node.value, "attr", "")
            part = METHODS.get(node.attr, node.attr)
            if owner.lstrip("_") in ("config", "mesh") and part in Mesh.__struct_fields__:
                out.add(part)
    return out


@pytest.mark.parametrize("node", NODES)
def test_a_node_reads_the_settings_that_the_table_names(node):
    found = defaultdict(set)
    steps = ("nodes.runner.alone",) if node in ("model", "executor") else ()
    for name in closure(f"nodes.{node}.node", *OF_ALL, *steps):
        for part in parts_read(modules()[name]):
            if (name, part) not in NOT_CALLED[""] | NOT_CALLED.get(node, set()):
                found[part].add(name)
    named = {*NODES[node].reads, *FIXED}
    assert set(found) <= named, f"NODES in nodes/process_table.py lacks what {node} reads: {dict(found)}"
    assert set(NODES[node].reads) <= set(found) | BY_THE_RUNNER, f"{node} does not read all that NODES says it does"


def test_every_setting_is_read_by_a_node():
    read = set(FIXED).union(*(row.reads for row in NODES.values()))
    assert read | {"default_models"} == set(Mesh.__struct_fields__), "that one is acted on when the file is read"
    assert set(NODES) == {path.parent.name for path in (PROJECT / "nodes").glob("*/node.py")}

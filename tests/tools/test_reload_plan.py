"""What a changed mesh.toml asks for, and in which order: a pure function of what runs and what is wanted."""

import pytest

from tickmesh.bus.config import Config, load
from tickmesh.nodes.process_table import hosted, name_of, processes
from tickmesh.tools.reload_plan import ReloadPlan, fixed_changes, plan
from tickmesh.tools.table import command_of, text_of

BTC, ETH = {"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}
KRAKEN = {"symbol": "XBT/USD", "venue": "kraken"}


@pytest.fixture
def mesh(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    return lambda **parts: load(tmp_path, parts)


def rows_of(config: Config) -> list[dict]:
    """What supervisord holds of these settings, and a program of the operator's own."""
    entries = processes(config)
    same = [vars(entry) | {"command": command_of(entry), "settings": entry.fingerprint} for entry in entries]
    return [
        *same,
        {"name": "dashboard", "group": "dashboard", "command": "x", "priority": 999, "stopwaitsecs": 10, "settings": ""},
    ]


def planned(before: Config, after: Config, **more) -> ReloadPlan:
    more = {"stopped": (), **more}
    return plan(rows_of(before), processes(after), {name_of(*one) for one in hosted(after)}, **more)


def stages(before: Config, after: Config) -> list[list[str]]:
    return [[f"{one.action} {one.name}" for one in stage] for stage in planned(before, after).stages]


def test_what_others_need_comes_first_and_lines_one_after_another(mesh):
    before = mesh(instruments=[BTC, KRAKEN])
    after = mesh(instruments=[BTC, KRAKEN, ETH], feed={"lines": 3, "raw": True}, models=[])
    assert stages(before, after) == [
        ["restart exchange"],
        ["restart recorder"],
        ["start feed-binance-3", "start feed-kraken-3"],
        ["restart feed-binance-1", "restart feed-kraken-1"],
        ["restart feed-binance-2", "restart feed-kraken-2"],
        ["restart backfill", "restart session", "restart gateway"],
        ["restart sentinel-1"],
        ["restart sentinel-2"],
        ["stop model-imbalance", "stop model-flow"],
    ]
    lines = {one.name: one.venue for one in planned(before, after).changes if one.venue}
    assert lines["feed-kraken-1"] == "kraken" and len(lines) == 6
    assert stages(before, before) == []


def test_a_venue_that_goes_is_let_go_last_and_its_instruments_with_it(mesh):
    out = stages(mesh(instruments=[BTC, KRAKEN]), mesh(instruments=[BTC]))
    assert out[-1] == ["stop feed-kraken-1", "stop feed-kraken-2"] and not any("feed-binance" in one for one in sum(out, []))


def test_who_is_hosted_stops_before_the_sequencer_and_starts_after_it(mesh):
    apart, together = mesh(), mesh(host=["model", "executor"])
    assert stages(apart, together) == [["stop executor", "stop model-imbalance", "stop model-flow"], ["restart sequencer"]]
    assert stages(together, apart) == [["restart sequencer"], ["start model-imbalance", "start model-flow", "start executor"]]


def test_the_reason_names_what_changed(mesh):
    def why(**more) -> dict[str, str]:
        return {one.name: one.why for one in planned(mesh(), mesh(**more)).changes}

    assert why(executor={"signal_threshold": 0.7}, checkpoint_s=3.0)["executor"] == "[checkpoint_s], [executor] changed"
    flow = {"name": "flow", "kernel": "trade_flow", "parameters": {"tau_s": 2.0}}
    assert why(models=[flow]) == {"model-flow": "[models.flow] changed"}, "the other default one stays"
    assert why(models=[flow], default_models=False)["model-imbalance"] == "gone from mesh.toml"
    more = {"name": "spread", "kernel": "spread"}
    assert why(models=[more]) == {"model-spread": "mesh.toml wants it"}, "adding is adding"
    by_conf = planned(mesh(), mesh(), otherwise={"recorder": "for another reason", "dashboard": "x"}).changes
    assert [(one.name, one.why) for one in by_conf] == [("recorder", "for another reason")]
    entry, *others = rows_of(mesh())
    out = plan([entry | {"stopwaitsecs": 1}, *others], processes(mesh()), (), ()).changes
    assert [(one.name, one.why) for one in out] == [("exchange", "its entry in the table changed")]


def test_what_an_operator_stopped_is_no_change(mesh):
    out = planned(mesh(), mesh(executor={"signal_threshold": 0.7}, session={"stale_s": 9.0}), stopped=("executor", "recorder"))
    assert ([one.name for one in out.changes], [one.name for one in out.asleep]) == (["session"], ["executor"])


def test_what_all_must_agree_on_is_fixed(mesh):
    assert fixed_changes(rows_of(mesh()), processes(mesh(mode="capture", source="x"))) == ["mode", "source"]
    assert fixed_changes(rows_of(mesh()), processes(mesh(models=[]))) == []


def test_the_written_table_begins_with_who_wrote_it_and_has_every_process(mesh):
    """Paths are relative to the mesh's folder, so that nothing of the folder's name can be in their way."""
    text = text_of(processes(mesh()))
    assert text.startswith("; Written from mesh.toml by `mesh up` and `mesh reload`: edit mesh.toml instead")
    programs = text.split("\n[program:")[1:]
    for entry, program in zip(processes(mesh()), programs, strict=True):
        words = [entry.node, *([entry.instance] if entry.instance else [])]
        assert program.startswith(f"{entry.name}]\ncommand=.venv/bin/python -m tickmesh.nodes {' '.join(words)}\n")
        assert f'TICKMESH_GROUP="{entry.group}",TICKMESH_SETTINGS="{entry.fingerprint}"\n' in program
        assert f"\nstdout_logfile=/proc/self/cwd/run/logs/{entry.name}.log\n" in program
        # A quick death is no failed start, and only failed starts count: no series of deaths ends FATAL.
        assert "\nautorestart=unexpected\nexitcodes=0,70\nstartsecs=0\nstartretries=1000000\n" in program

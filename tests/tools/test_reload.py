"""A changed mesh.toml, applied to one supervisord with stand-ins for the nodes: what is started, stopped, restarted, left."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime

import pytest

import tests.support.mesh_run as run
from tests.support.odd_models import line_of, source
from tests.support.places import PROJECT
from tests.support.stand_ins import UP, StandIns
from tests.support.stored import write_log
from tickmesh.bus.config import ConfigError, load
from tickmesh.bus.exits import STOPPED_EXIT
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.process_table import processes
from tickmesh.nodes.sentinel.supervisord import ProcessStates
from tickmesh.tools import check_model
from tickmesh.tools import reload as command
from tickmesh.tools.check_model import sources_of
from tickmesh.tools.terminal import Failure

pytestmark = pytest.mark.mesh
MODELS = '[[models]]\nname = "imbalance"\nkernel = "book_imbalance"\n[[models]]\nname = "flow"\nkernel = "trade_flow"\n'
QUIET = "[sentinel]\nrestarts_per_hour = 0\n"  # stand-ins write no log, and nobody is to be restarted for it


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    root = tmp_path_factory.mktemp("reload with spaces, 100 % of them")
    (root / "mesh.toml").write_text(QUIET)
    shutil.copy(PROJECT / "supervisor.conf", root)
    (root / ".venv").symlink_to(sys.prefix)
    out = StandIns(root)
    out.announced, out.sections = [], {"only": "", "sentinel": QUIET}  # `only` first: a key above all tables
    out.start()
    yield out
    run.command(root, "mesh", "down")


@pytest.fixture
def mesh(shared, monkeypatch):
    """The same mesh for all of these tests, each of which changes something else and leaves the rest as it finds it."""
    for path in (*shared.root.glob("slow/*"), *shared.root.glob("bad/*"), *shared.root.glob("held/*")):
        path.unlink()
    monkeypatch.chdir(shared.root)
    monkeypatch.delenv("TICKMESH_ROOT", raising=False)
    return shared


def set_up(mesh, **sections: str) -> None:
    """Writes mesh.toml: the settings of the tests before, with these sections in place of theirs."""
    mesh.sections = {**mesh.sections, **sections}
    (mesh.root / "mesh.toml").write_text("\n".join(mesh.sections.values()))


def reload(mesh, **sections: str) -> dict:
    """Applies settings with these sections; gives what `--json` prints."""
    set_up(mesh, **sections)
    return command.reload(20.0, False, mesh.announced.append)


def done(result: dict) -> list[tuple[str, str]]:
    return [(one["action"], one["name"]) for one in result["plan"]]


def pids(mesh) -> dict[str, int]:
    return {info["name"]: info["pid"] for info in mesh.client.processes()}


def alert_of(name: str, why: str) -> bytearray:
    """What a model says of itself when it stops, as the first event of a log."""
    content = {"level": "critical", "what": "model stopped", "target": name, "why": why, "action": "mend it"}
    raw = encode(Kind.alert, name, content)
    stamp_sent(raw, name.encode().ljust(32, b"\0"), 1, 1, time.time_ns())
    stamp_sequenced(raw, 1, 0, time.time_ns())
    return raw


def is_settled(mesh) -> bool:
    """Whether every process runs with the settings that mesh.toml has now."""
    table = {row["name"]: row["settings"] for row in mesh.client.table()}
    wanted = {entry.name: entry.fingerprint for entry in processes(load(mesh.root))}
    return table == wanted and all(info["state"] in UP for info in mesh.client.processes())


def test_processes_are_named_alone_and_by_word(mesh):
    before = pids(mesh)
    assert [line.split()[0] for line in mesh.ctl("status", "feeds:*").splitlines()] == ["feed-binance-1", "feed-binance-2"]
    wrong = mesh.ctl("status", "nodes:*", "feed-binance-9")
    assert "nodes: ERROR (no such group)" in wrong and "feed-binance-9: ERROR (no such process)" in wrong
    assert mesh.ctl("status", "sentinels:sentinel-2", "executor").count("RUNNING") == 2
    assert mesh.ctl("restart", "models:*").count(": started") == 2
    assert "executor: started" in mesh.ctl("restart", "executor")
    assert "feeds:feed-binance-2: started" in mesh.ctl("restart", "feeds:feed-binance-2")
    after = pids(mesh)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"model-imbalance", "model-flow", "executor", "feed-binance-2"}
    assert mesh.ctl("signal", "KILL", "feeds:*").count("signalled") == 2
    mesh.until(
        lambda: set(pids(mesh).values()).isdisjoint([after["feed-binance-1"], after["feed-binance-2"], 0]), "they are back"
    )
    assert mesh.ctl("stop", "feeds:*").count(": stopped") == 2
    mesh.until(lambda: mesh.ctl("status", "feeds:*").count("STOPPED") == 2, "and nobody brings back what was stopped so")
    assert mesh.ctl("start", "feeds:*").count(": started") == 2


def test_only_what_changed_is_touched_and_it_is_announced_first(mesh):
    before = pids(mesh)
    set_up(mesh, executor="[executor]\nsignal_threshold = 0.7")
    dry = run.ok(mesh.root, "mesh", "reload", "--dry-run").stdout.splitlines()
    assert dry == ["restart executor: [executor] changed", "Nothing was done (--dry-run)."] and pids(mesh) == before
    shown = run.ok(mesh.root, "mesh", "reload").stdout.splitlines()
    assert shown[0] == dry[0] and shown[1].startswith("Done after")
    after = pids(mesh)
    assert {name for name in after if after[name] != before[name]} == {"executor"}
    again = run.ok(mesh.root, "mesh", "up").stdout.splitlines()
    assert again[0] == "nothing has changed" and pids(mesh) == after, "`up` again does the same"


def test_a_wrong_line_stops_nothing(mesh):
    before = pids(mesh)
    for wrong, sentence in (
        (
            "[executor]\nsignal_treshold = 1",
            "`signal_treshold` (did you mean `signal_threshold`?); allowed there: enabled, ",
        ),
        ("executor = [", "not TOML"),
        ('[[instruments]]\nsymbol = "X"\nvenue = "krakn"', "instruments.venue = 'krakn' is impossible; allowed: binance, "),
        ('source = "other"', "source cannot change while the mesh is up: `mesh down`, then `mesh up`"),
        ('mode = "capture"', "mode cannot change while the mesh is up"),
    ):
        (mesh.root / "mesh.toml").write_text(wrong)
        with pytest.raises((ConfigError, Failure), match=re.escape(sentence)):
            command.reload(20.0, False, mesh.announced.append)
        assert pids(mesh) == before
    refused = run.command(mesh.root, "mesh", "reload")
    assert (refused.returncode, refused.stdout, "Traceback" in refused.stderr) == (1, "", False)


def test_a_model_that_works_is_not_stopped_for_one_that_cannot_run(mesh):
    before = pids(mesh)
    for wrong, why in (
        ('kernel = "trade_flo"', "model-flow could not run: kernel 'trade_flo' is no file of nodes/models"),
        ('kernel = "trade_flow"\nparameters = { fast_mss = 1.0 }', "kernel trade_flow has no parameter 'fast_mss'"),
    ):
        set_up(mesh, models=MODELS.replace('kernel = "trade_flow"', wrong))
        for words in (("--dry-run",), ()):
            refused = run.command(mesh.root, "mesh", "reload", *words)
            assert refused.returncode == 1 and why in refused.stderr, refused.stderr
            assert "It goes on as before, and nothing was changed" in refused.stderr
        assert pids(mesh) == before
    assert done(reload(mesh, models=MODELS)) == [] and is_settled(mesh) and pids(mesh) == before


def test_an_edited_file_of_a_model_is_a_change(mesh):
    config, file = load(mesh.root), mesh.root / "run/ready/model-flow.json"
    now = sources_of(config, "trade_flow")
    assert re.fullmatch("[0-9a-f]{16}", now) and sources_of(config, "trade_flo") == ""
    for loaded, expected in ((now, []), ("0123456789abcdef", [("restart", "model-flow")])):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"sources": loaded}))
        before = pids(mesh)
        assert done(reload(mesh)) == expected
        assert {name for name, pid in pids(mesh).items() if pid != before[name]} == {name for _, name in expected}
    assert mesh.announced[-1].startswith("restart model-flow: the code of trade_flow changed (")


def test_lines_of_a_venue_go_one_after_another(mesh):
    """The next is stopped when the one before is ready again; what is new need not wait."""
    (mesh.root / "slow/feed-binance-1").touch()
    begun = mesh.log.stat().st_size
    result = reload(mesh, feed="[feed]\nlines = 3\n")
    assert done(result) == [("start", "feed-binance-3"), ("restart", "feed-binance-1"), ("restart", "feed-binance-2")]
    (stopped,) = [line for line in mesh.log.read_text()[begun:].splitlines() if "stopped: feed-binance-2 " in line]
    ready_s = run.ready(mesh.root, "feed-binance-1")["wall_ns"] / 1e9
    assert datetime.strptime(stopped[:23], "%Y-%m-%d %H:%M:%S,%f").timestamp() > ready_s - 0.001, (stopped, ready_s)

    # One that does not come up leaves the others as they are.
    (mesh.root / "bad/feed-binance-1").touch()
    before = pids(mesh)
    result = reload(mesh, feed="[feed]\nstale_s = 50.0")
    assert (list(result["failed"]), result["not_done"]) == (["feed-binance-1"], ["feed-binance-2", "feed-binance-3"])
    assert pids(mesh)["feed-binance-2"] == before["feed-binance-2"]
    (mesh.root / "bad/feed-binance-1").unlink()
    assert done(reload(mesh)) == [("restart", "feed-binance-2"), ("stop", "feed-binance-3")]
    assert is_settled(mesh)


def test_what_is_gone_stays_gone_and_leaves_nothing(mesh):
    alone = MODELS.partition('[[models]]\nname = "flow"')[0]
    assert done(reload(mesh, models=alone)) == [], "a model that mesh.toml no longer names is one that a mesh has anyhow"
    result = reload(mesh, only="default_models = false", models=alone)
    assert done(result) == [("stop", "model-flow")]
    assert "model-flow" not in pids(mesh) and not run.ready(mesh.root, "model-flow")
    assert mesh.client.start("model-flow") is False, "a sentinel that has seen it die a moment ago gets no fault"
    sentinels = pids(mesh)["sentinel-1"], pids(mesh)["sentinel-2"]
    mesh.kill("executor")  # by now a sentinel has looked at everybody
    assert "model-flow" not in pids(mesh) and sentinels == (pids(mesh)["sentinel-1"], pids(mesh)["sentinel-2"])
    assert not [path for path in (mesh.root / "run/logs").glob("sentinel-?.log") if "model-flow: " in path.read_text()]


def test_what_an_operator_has_stopped_is_left_so(mesh):
    mesh.ctl("stop", "executor")
    result = reload(mesh, executor="[executor]\nsignal_threshold = 0.8")
    assert (result["plan"], result["stay_stopped"]) == ([], ["executor"])
    assert mesh.info("executor")["state"] == ProcessStates.STOPPED, "the sentinels leave it, too"
    mesh.ctl("start", "executor")
    assert mesh.info("executor")["state"] in UP


def test_what_does_not_come_up_is_named_with_its_last_line(mesh):
    (mesh.root / "bad/model-odd").touch()
    before = pids(mesh)
    set_up(mesh, models=f'{MODELS}[[models]]\nname = "odd"\nkernel = "trade_flow"\n', session="[session]\nstale_s = 50")
    shown = run.command(mesh.root, "mesh", "reload", "--json")
    result = json.loads(shown.stdout)
    assert shown.returncode == 1 and "start model-odd: mesh.toml wants it" in shown.stderr, "the plan, beside the object"
    assert list(result["failed"]) == ["model-odd"]
    assert "last said: model-odd has no such kernel" in result["failed"]["model-odd"]
    assert pids(mesh)["session"] != before["session"] and pids(mesh)["sequencer"] == before["sequencer"]
    assert done(reload(mesh, models=MODELS)) == [("stop", "model-odd")] and is_settled(mesh)


def test_a_model_that_its_trial_finds_unable_to_run_is_kept_from_running_and_all_else_is_done(mesh, monkeypatch):
    """One that never comes back, which no start would show within its time, and one that is not there."""
    monkeypatch.setattr(check_model, "CALL_S", 0.5)
    text = source(before="while s.n > 100:\n    s.x += 1.0")
    file, odd = mesh.root / "models/endless.py", f'{MODELS}[[models]]\nname = "odd"\nkernel = "{{}}"\n'
    file.parent.mkdir()
    file.write_text(text)
    mesh.announced.clear()
    result = reload(mesh, models=odd.format("endless"), session="[session]\nstale_s = 53")
    why = f"endless.py:{line_of(text, 'while s.n')}: it does not come back within 0.5 s of processor time"
    assert mesh.announced[0].startswith("model-odd cannot run: ") and why in mesh.announced[0]
    assert done(result) == [("start", "model-odd"), ("restart", "session")]
    assert (result["failed"], result["not_done"], result["not_running"]) == ({}, [], [])
    assert list(result["models_stopped"]) == ["model-odd"] and why in result["models_stopped"]["model-odd"]
    info = mesh.info("model-odd")
    assert (info["state"], info["exitstatus"]) == (ProcessStates.EXITED, STOPPED_EXIT), "its kernel was never called"
    for at, words in enumerate((("reload", "--dry-run"), ("up",))):
        set_up(mesh, models=odd.format("nope"), session=f"[session]\nstale_s = {54 + at}")
        shown = run.command(mesh.root, "mesh", *words)
        first = shown.stdout.splitlines()[0]
        assert first.startswith("model-odd cannot run: kernel 'nope' is no file of nodes/models or "), shown
        assert "there are book_imbalance, " in first and "restart session: [session] changed" in shown.stdout
        assert shown.returncode == 3 and "model-odd cannot run, and all else goes on: kernel 'nope'" in shown.stdout
    file.write_text(source())
    assert ("restart", "model-odd") in done(reload(mesh, models=odd.format("endless"))) and is_settled(mesh)
    assert done(reload(mesh, models=MODELS)) == [("stop", "model-odd")]
    shutil.rmtree(file.parent)


def test_a_guest_that_was_put_out_is_named_and_all_else_is_done(mesh):
    idle, bad = mesh.root / "idle/model-flow", mesh.root / "bad/model-flow"
    idle.touch()
    bad.touch()
    result = reload(mesh, only='host = ["model-flow"]\n', session="[session]\nstale_s = 51")
    assert {("restart", "sequencer"), ("restart", "session")} <= set(done(result))
    assert (result["failed"], result["not_done"]) == ({}, []), "it is waited for no longer, and blamed on nobody else"
    assert result["models_stopped"] == {"model-flow": "flow.py:3: ValueError: boom"}
    log = load(mesh.root).log_dir
    write_log(log, [alert_of("model-flow", "flow.py:3: ValueError: boom")])
    reasons = json.loads(run.command(mesh.root, "mesh", "status", "--json").stdout)["reasons"]
    shutil.rmtree(log)
    assert [one["why"] for one in reasons if one["about"] == "model-flow"] == ["model stopped: flow.py:3: ValueError: boom"]
    file, now = mesh.root / "run/put_out/model-flow.json", sources_of(load(mesh.root), "trade_flow")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sources": now}))  # a model that had been ready
    for words in ("reload", "up"):
        again = run.command(mesh.root, "mesh", words)
        assert (again.returncode, again.stdout.splitlines()[0]) == (3, "nothing has changed")
        assert "model-flow was put out" in again.stdout and "flow.py:3: ValueError: boom" in again.stdout
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sources": "0123456789abcdef"}))
    bad.unlink()  # it has been edited
    result = reload(mesh)
    assert (done(result), result["models_stopped"]) == ([("restart", "sequencer")], {})
    idle.unlink()
    reload(mesh, only="")
    assert is_settled(mesh)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_second_reload_completes_one_that_was_interrupted(mesh, how):
    held = mesh.root / "held/feed-binance-2"
    held.touch()
    set_up(mesh, feed=f"[feed]\nstale_s = {40 + how}.0")
    first = subprocess.Popen([mesh.root / ".venv/bin/mesh", "reload"], cwd=mesh.root, stdout=subprocess.DEVNULL)
    mesh.until(lambda: mesh.info("feed-binance-2")["state"] == ProcessStates.STOPPING, "it is being stopped")
    os.kill(first.pid, how)
    assert first.wait(20) in (130, -signal.SIGKILL)
    held.unlink()
    mesh.until(lambda: mesh.info("feed-binance-2")["state"] == ProcessStates.STOPPED, "and nobody has started it again")
    if how is signal.SIGKILL:
        mesh.sections["feed"] = "[feed]\nstale_s = 42.0"  # it is wanted as it was before, and has been stopped all the same
    result = reload(mesh)
    assert ("restart", "feed-binance-2") in done(result) and not result["stay_stopped"]
    assert len(done(result)) == 1 + (how is signal.SIGKILL), "the other line was done before"
    assert is_settled(mesh)


def test_of_two_reloads_at_once_one_waits(mesh):
    (mesh.root / "slow/session").touch()
    set_up(mesh, session="[session]\nreconcile_s = 6.0")
    words = [mesh.root / ".venv/bin/mesh", "reload"]
    both = [subprocess.Popen(words, cwd=mesh.root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].splitlines()[0] for process in both)
    assert said == ["nothing has changed", "restart session: [session] changed"]
    assert is_settled(mesh)

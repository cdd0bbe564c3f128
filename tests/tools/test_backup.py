"""A backup is a whole mesh of one moment: taken while it trades, killed and gone on with, it restores elsewhere and goes on."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command_run import mesh_here
from tests.support.mesh_run import until
from tests.support.node_processes import NodeProcesses
from tests.support.outbox_scene import trade
from tests.support.small_tmpfs import run_in_small_tmpfs
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.schema import Action, Kind
from tickmesh.bus.segments import LogReleased, durable_bytes, segments
from tickmesh.storage.query.reader import arrays
from tickmesh.tools.backing_up import unfinished
from tickmesh.tools.backing_up.backups import UNFINISHED, list_backups, read_index
from tickmesh.tools.backing_up.moment import hold

SETTINGS = """
default_models = false
checkpoint_s = 0.5
[[instruments]]
symbol = "BTCUSDT"
[[models]]
name = "imbalance"
kernel = "book_imbalance"
[executor]
signal_threshold = 0.3
[feed]
lines = 1
[exchange]
lines = 1
trades_per_s = 10
quotes_per_s = 20
[log]
segment_bytes = 65536
keep_segments = 4
[recorder]
segment_s = 4.0
"""
# What replays begins before there is much to replay, the line right behind its venue; the end is in the order of `mesh down`.
NODES = ("sequencer", "executor", "model-imbalance", "recorder", "backfill", "exchange", "feed-1", "session")
ENDS = ("executor", "session", "exchange", "feed-1", "backfill", "model-imbalance", "sequencer", "recorder")


def done(root, *words):
    """What a command that has to succeed gives with --json."""
    ended = mesh_here(root, *words, "--json")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def refused(root, *words):
    """The sentence of a command that has to fail."""
    ended = mesh_here(root, *words)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stdout + ended.stderr
    return ended.stderr


def killed_backup(root, to):
    """Kills a `mesh backup` with SIGKILL when it has begun to write."""
    process = subprocess.Popen([sys.executable, "-c", "from tickmesh.tools.cli import main; main()", "backup", to], cwd=root)
    try:
        until(lambda: any((to / UNFINISHED).rglob("*.seg")) or process.poll() is not None, "a backup that has begun")
    finally:
        process.kill()
        process.wait()


def newest(config, kind, after=0):
    """The events of a kind that the log still has; [] where it is released meanwhile."""
    log = LogReader(config.log_dir)
    try:
        return [event for event in log.events(max(after, log.first - 1)) if event.kind == kind]
    except LogReleased:
        return []


def repaired(config, after):
    """Whether backfill has reported after a seq that no gap is open."""
    beats = [event.map() for event in newest(config, Kind.health, after) if event.subject == "backfill"]
    return bool(beats) and beats[-1]["open_gaps"] == 0


def orders(config):
    """The client ids of all new orders in archive and log."""
    found = arrays(config, "intent.binance.BTCUSDT", gaps="ignore")
    return [bytes(name) for name in found["client_order_id"][found["action"] == Action.NEW]]


@pytest.mark.mesh
@pytest.mark.timeout(600)
def test_a_backup_of_a_mesh_that_trades_restores_elsewhere_and_goes_on(tmp_path):
    root, to, other = tmp_path / "mesh", tmp_path / "backups", tmp_path / "other"
    root.mkdir()
    mesh = NodeProcesses(root, SETTINGS)
    try:
        mesh.start(*NODES)
        until(lambda: newest(mesh.config, Kind.fill), "fills")
        until(lambda: LogReader(mesh.config.log_dir).first > 1, "a segment that is released")
        killed_backup(root, to)
        first = done(root, "backup", to)
        assert not (to / UNFINISHED).exists(), "the killed one was gone on with"
        before = mesh.last()
        until(lambda: mesh.last() > before + 200, "more of it")
        second = done(root, "backup", to)
        assert first["sources"]["sim"]["last_seq"] < before < second["sources"]["sim"]["last_seq"]
        assert second["linked_files"] > 5 and second["copied_bytes"] < second["bytes"]
        assert done(root, "backup", "verify", to)["ok"]
        for name in NODES:
            mesh.kill(name)
        assert done(root, "backup", to)["sources"]["sim"]["last_seq"] == mesh.last(), "of a dead mesh: all of its log"
        names = [path.name for path in list_backups(to)]
    finally:
        mesh.end()

    restored = done(root, "restore", to, "--to", other, "--backup", names[-2])
    last = restored["sources"]["sim"]
    assert last == second["sources"]["sim"]["last_seq"] == LogReader(load(other).log_dir).last
    assert done(other, "verify")["ok"]
    (other / ".venv").unlink()
    again = NodeProcesses(other, SETTINGS)
    try:
        again.start(*NODES)
        until(lambda: newest(again.config, Kind.fill, last), "fills after those of the backup")
        now = again.last()
        until(lambda: repaired(again.config, now), "what was printed before the line came is repaired")
        for name in ENDS:
            process = again.processes.pop(name)
            process.terminate()
            process.wait(60)
    finally:
        again.end()
    assert len(set(orders(again.config))) == len(orders(again.config)) > 0, "no order twice"
    assert done(other, "verify")["ok"]
    judged = done(other, "verify", "--against", again.config.exchange_dir)
    assert judged["ok"] and judged["account"]["binance.BTCUSDT"]["fills"] > 2


def test_files_that_grow_are_held_as_they_were_at_one_moment(tmp_path):
    """One byte more in `a`, then one more in `b`: at no moment has `b` more, nor `a` two more."""
    ends = threading.Event()

    def grow():
        with open(tmp_path / "b", "ab", 0) as second, open(tmp_path / "a", "ab", 0) as first:
            while not ends.is_set():
                first.write(b"x")
                second.write(b"x")

    for name in "ab":
        (tmp_path / name).touch()
    writer = threading.Thread(target=grow)
    writer.start()
    try:
        seen = set()
        for _ in range(300):
            with hold(lambda: [tmp_path / "a", tmp_path / "b"]) as moment:
                first, second = (one.stat.st_size for one in moment.held)
                seen.add(first - second)
    finally:
        ends.set()
        writer.join()
    assert seen <= {0, 1}


@pytest.fixture
def lived(root):
    """A mesh that is down: a log of some segments, a model, a key, a kill switch, a checkpoint."""
    (root / "mesh.toml").write_text('[session]\nkey_file = "key.toml"\n')
    (root / "key.toml").write_text("secret")
    (root / "models").mkdir()
    (root / "models/mine.py").write_text("# a model\n")
    (root / "run").mkdir()
    (root / "run/kill-switch").write_text("why")
    config = load(root)
    with closing(LogWriter(config.log_dir, segment_bytes=1000)) as log:
        for number in range(1, 41):
            log.append(number, [trade(number)])
    config.checkpoint_dir.mkdir()
    (config.checkpoint_dir / "x.checkpoint").write_bytes(b"state")
    return root


def test_a_backup_holds_what_makes_up_a_mesh_and_no_secret(lived, tmp_path):
    to, other = tmp_path / "backups", tmp_path / "other"
    made = done(lived, "backup", to)
    assert "key.toml" in made["left_out"] and made["sources"]["sim"]["last_seq"] == 40
    done(lived, "restore", to, "--to", other)
    assert (other / "models/mine.py").read_text() == "# a model\n" and (other / "run/kill-switch").exists()
    assert not (other / "key.toml").exists() and (other / ".venv").exists()
    for name in ("owner", "lock", "clock"):
        assert not (load(other).log_dir / name).exists(), "of a process and a boot"
    assert [event.last_id for event in LogReader(load(other).log_dir).events()] == list(range(1, 41))
    before = LogReader(load(lived).log_dir).log_id
    with closing(LogWriter(load(other).log_dir)) as log:
        assert log.last == 40 and log.log_id != before, "what the first mesh may write from here on is another log's"
    done(lived, "backup", to, "--secrets")
    done(lived, "restore", to, "--to", tmp_path / "third")
    assert (tmp_path / "third/key.toml").read_text() == "secret"
    assert [one["secrets"] for one in done(lived, "backup", "list", to)["backups"]] == [False, True]


def test_a_torn_end_is_left_out(lived, tmp_path):
    config = load(lived)
    newest = segments(config.log_dir)[-1][1]
    with open(newest, "ab") as file:
        file.write(newest.read_bytes()[-30:])  # half of a batch
    assert done(lived, "backup", tmp_path / "to")["sources"]["sim"]["last_seq"] == 40
    backup = list_backups(tmp_path / "to")[0]
    assert (backup / newest.relative_to(lived)).stat().st_size == newest.stat().st_size - 30
    reader = LogReader(backup / "data/sim/log")
    assert reader.last == 40
    assert (backup / "data/sim/log/durable").read_bytes() == durable_bytes(40, reader.log_id)


def test_a_changed_byte_is_found_and_not_restored(lived, tmp_path):
    to = tmp_path / "to"
    done(lived, "backup", to)
    path = segments(list_backups(to)[0] / "data/sim/log")[0][1]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    judged = mesh_here(lived, "backup", "verify", to)
    assert judged.returncode == 1 and "SHA-256 differs" in judged.stdout
    assert "SHA-256" in refused(lived, "restore", to, "--to", tmp_path / "other")
    assert not (tmp_path / "other/mesh.toml").exists(), "what is not whole is no mesh"


class Killed(BaseException):
    """Nothing goes on after it, as after a SIGKILL."""


def test_killed_after_any_file_it_goes_on_and_nothing_is_half_there(lived, tmp_path, monkeypatch):
    """Each try dies where it would give its sixth file a name; what earlier tries have written is not written again."""
    to = tmp_path / "to"
    monkeypatch.setattr(unfinished, "SURE_NS", -1)  # the files of this mesh are younger than a person's are
    whole = done(lived, "backup", tmp_path / "whole")
    for _ in range(whole["files"] // 6 - 1):
        names = itertools.count()

        def dying(source, target, names=names, replace=os.replace):
            if next(names) == 5:
                raise Killed
            replace(source, target)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(unfinished.os, "replace", dying)
            done(lived, "backup", to)
        assert done(lived, "backup", "list", to) | {"folder": ""} == {"folder": "", "backups": [], "unfinished": True}
    made = done(lived, "backup", to)
    assert made["resumed_files"] > whole["files"] // 2 and made["files"] == whole["files"]
    assert not list(to.rglob("*.new")) and done(lived, "backup", "list", to)["unfinished"] is False
    assert done(lived, "backup", to)["copied_files"] == 1, "`durable`, which is written for each"
    for path in list_backups(to):
        kept = {name.relative_to(path) for name in path.rglob("*") if name.is_file()}
        assert kept == {*map(Path, read_index(path).files), Path("backup.json")}


def test_a_full_disk_is_a_sentence_and_the_next_backup_goes_on(lived, tmp_path):
    code = f"""
import os, sys
from tickmesh.tools import backup
from tickmesh.tools.terminal import Failure
from pathlib import Path
os.chdir({str(lived)!r})
to = Path({str(tmp_path / "small")!r})
try:
    backup.backup(to / "backups")
except Failure as failure:
    print(failure)
(to / "ballast").unlink()
print(backup.backup(to / "backups")["sources"]["sim"]["last_seq"])
"""
    ballast = f"open({str(tmp_path / 'small/ballast')!r}, 'wb').write(bytes(460 << 10))"
    said, last = run_in_small_tmpfs(tmp_path / "small", "size=512k", f"{ballast}\n{code}").strip().splitlines()
    assert "takes no more" in said and "the next backup goes on" in said and last == "40"


def test_what_cannot_be_is_refused_with_a_sentence(lived, tmp_path):
    to = tmp_path / "to"
    assert "lies in" in refused(lived, "backup", lived / "data/backups")
    assert "own folder" in refused(lived, "backup", lived)
    assert "no backup in" in refused(lived, "restore", tmp_path, "--to", tmp_path / "x")
    done(lived, "backup", to)
    assert "is a backup" in refused(lived, "backup", list_backups(to)[0])
    assert "is not empty" in refused(lived, "restore", to, "--to", lived)
    index = list_backups(to)[0] / "backup.json"
    index.write_text(index.read_text().replace('"schema_version":', '"schema_version":9'))
    assert "Use the newer program" in refused(lived, "restore", to, "--to", tmp_path / "x")
    shutil.rmtree(load(lived).log_dir)
    with closing(LogWriter(load(lived).log_dir)) as log:
        log.append(1, [trade(1)])
    index.write_text(index.read_text().replace('"schema_version":9', '"schema_version":'))
    assert "another log" in refused(lived, "backup", to)


def test_an_interrupted_restore_goes_on(lived, tmp_path):
    to, other = tmp_path / "to", tmp_path / "other"
    done(lived, "backup", to)
    whole = list_backups(to)[0]
    shutil.move(whole / "models/mine.py", tmp_path / "away")
    assert "mine.py" in refused(lived, "restore", to, "--to", other)
    assert not (other / "mesh.toml").exists()
    shutil.move(tmp_path / "away", whole / "models/mine.py")
    done(lived, "restore", to, "--to", other)
    assert (other / "models/mine.py").exists() and not (other / ".restoring").exists()

"""`mesh logs`: everybody's lines by time, chosen by process, level and words; and then as they come."""

import json
import signal
import subprocess

import pytest

from tests.support.command_run import mesh_here
from tests.support.mesh_run import until
from tests.support.places import PROJECT

HOST = '[[instruments]]\nsymbol = "BTCUSDT"\n'


@pytest.fixture
def logs(root):
    """A mesh's folder with logs of three processes: the sequencer hosts a model, a feed's log is JSON and was rotated."""
    (root / "mesh.toml").write_text(f'host = ["model"]\n{HOST}')
    folder = root / "run/logs"
    folder.mkdir(parents=True)
    feed = [(1, "info", "begun"), (4, "error", "connection lost"), (9, "info", "back")]
    lines = [
        json.dumps({"time": stamp(at), "level": level, "node": "feed-binance-1", "message": text}) for at, level, text in feed
    ]
    (folder / "feed-binance-1.log.1").write_text("\n".join(lines[:2]) + "\n")
    (folder / "feed-binance-1.log").write_text(lines[2] + "\n")
    fault = f"{stamp(5)} critical model-flow: a fault\nTraceback:\n  ValueError: lost"
    (folder / "sequencer.log").write_text(f"{stamp(2)} info sequencer: log begins\n{fault}\n{stamp(6)} debug sequencer: ends\n")
    (folder / "executor.log").write_text("".join(f"{stamp(n)} info executor: order {n}\n" for n in (3, 7, 8)))
    return root


def stamp(second: int) -> str:
    return f"2026-01-31T12:00:{second:02d}.000Z"


def seconds(root, *words) -> list[int]:
    """The second of each entry that is shown."""
    done = mesh_here(root, "logs", *words, "--json")
    assert done.returncode == 0, done.stderr
    return [int(json.loads(line)["time"][17:19]) for line in done.stdout.splitlines()]


def test_entries_of_all_processes_by_time(logs):
    assert seconds(logs) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert seconds(logs, "-n", 2) == [8, 9]
    assert seconds(logs, "--since", stamp(4)) == [4, 5, 6, 7, 8, 9]
    assert seconds(logs, "--since", stamp(4), "-n", 1) == [9]
    assert seconds(logs, "--level", "warning") == [4, 5]
    assert seconds(logs, "--grep", "lost") == [4, 5], "in a traceback too"
    assert seconds(logs, "--grep", "order [78]", "-n", 1) == [8]
    shown = mesh_here(logs, "logs", "model-flow").stdout
    assert shown.splitlines() == [f"{stamp(5)}  critical  model-flow        a fault", "Traceback:", "  ValueError: lost"]


def test_a_process_is_a_name_a_kind_or_a_pattern_and_whom_it_hosts(logs):
    assert seconds(logs, "model-flow") == [5]
    assert seconds(logs, "sequencer") == [2, 5, 6], "what its process wrote"
    assert seconds(logs, "feeds", "exec*") == [1, 3, 4, 7, 8, 9]
    assert seconds(logs, "recorder") == []
    unknown = mesh_here(logs, "logs", "frob")
    assert unknown.returncode == 2 and "no process 'frob'" in unknown.stderr and "feed-binance-2, backfill" in unknown.stderr
    wrong = mesh_here(logs, "logs", "--grep", "(")
    assert wrong.returncode == 2 and "'(' is no regular expression" in wrong.stderr


def test_without_logs_it_is_said_where_they_would_come_from(root):
    (root / "mesh.toml").write_text(HOST)
    done = mesh_here(root, "logs")
    assert done.returncode == 1 and "`mesh up` starts what writes them" in done.stderr


def test_follow_shows_what_comes_of_new_processes_too_and_ends_cleanly_with_ctrl_c(logs):
    """The program itself: what is written before, a rotation, a log that is new, Ctrl-C."""
    shown = logs / "shown"
    with shown.open("wb") as out:
        words = [PROJECT / ".venv/bin/mesh", "logs", "--follow", "-n", "1", "--json"]
        with subprocess.Popen(words, cwd=logs, stdout=out, stderr=subprocess.PIPE) as process:
            try:
                until(lambda: shown.read_text().count("\n") == 1, "the last entry")
                log = logs / "run/logs/feed-binance-1.log"
                with log.open("a") as file:
                    file.write(f"{stamp(10)} info feed-binance-1: full\n")
                log.rename(f"{log}.1")
                log.write_text(f"{stamp(11)} info feed-binance-1: goes on\n")
                (logs / "run/logs/model-imbalance.log").write_text(f"{stamp(12)} info model-imbalance: new\n")
                until(lambda: shown.read_text().count("\n") == 4, "three more entries")
                process.send_signal(signal.SIGINT)
                assert process.wait(60) == 130
                assert process.stderr.read().decode().count("\n") == 1, "that the mesh is not running, and no traceback"
            finally:
                process.kill()
    assert [int(json.loads(one)["time"][17:19]) for one in shown.read_text().splitlines()] == [9, 10, 11, 12]

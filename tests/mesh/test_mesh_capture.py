"""The mesh on real captured data: what the archive holds is what the venue sent, field by field."""

import gzip
import time

import h5py
import hdf5plugin  # noqa: F401
import pytest

import tests.support.mesh_run as run
from tickmesh.bus.schema import Kind

pytestmark = [pytest.mark.mesh, pytest.mark.data, pytest.mark.timeout(600)]

BTC = "hftbacktest/spot/btcusdt_20240808.gz"
NEXO = ("hftbt_playground/raw/spot/nexousdt_20240723.dat.gz", "hftbt_playground/raw/spot/nexousdt_20240724.dat.gz")


def replay(root, data, *files, speed, seconds):
    captures = [data / name for name in files]
    run.ok(root, "mesh", "up", "--capture", *captures, "--speed", speed)
    run.until(lambda: run.replay_ended(root), lambda: f"the capture's end\n{run.logs(root)}", seconds)
    return captures


def verify(root, captures, seconds=60):
    """Right after the capture ended the last events may still be on their way: asked again for a while."""
    deadline = time.monotonic() + seconds
    while True:
        result = run.command(root, "mesh", "verify", "--against", *captures, "--json")
        if result.returncode == 0 or time.monotonic() > deadline:
            return run.json.loads(result.stdout)
        time.sleep(0.5)


def test_btcusdt(make_root, data):
    root = make_root()
    captures = replay(root, data, BTC, speed=20, seconds=120)
    result = verify(root, captures)
    assert result["ok"], result
    assert (result["trades"], result["quotes"], result["depth_events"]) == (9757, 28040, 3451)
    assert (result["lost"], result["duplicated"], result["different"], result["out_of_order"]) == (0, 0, 0, 0)
    run.ok(root, "mesh", "down")
    result = verify(root, captures, 0)
    assert result["ok"] and result["book_expected"] == 564, result
    assert result["book_checks"] == result["book_equal"] > 540  # it begins with a snapshot brought up to the stream
    assert run.ok_json(root, "mesh", "verify")["ok"]
    plain_h5py_reads_it(root)
    models_say_the_same_again(root)
    run.ok(root, "mesh", "up", "--capture", *captures, "--speed", 20)
    assert len(list((root / "data").glob("replay-*"))) == 2, "each run of the capture has its own folder"


def plain_h5py_reads_it(root):
    config = run.config_of(root)
    trades = 0
    for path in sorted(config.archive_dir.rglob("*.h5")):
        with h5py.File(path) as file:
            if "trade" in file:
                trades += len(file["trade/events/seq"])
    assert trades == 9757


def models_say_the_same_again(root):
    """A fresh process, from the log and from the archive alone, in batches of any size (cold: test_replay_signals.py)."""
    signals = len(run.events(root, Kind.signal))
    assert signals > 10
    for source, batches in (("log", (7, 4096)), ("archive", (1,))):
        for batch in batches:
            done = run.process(root, "mesh", "replay", "--source", source, "--batch", batch, "--json")
            assert done.returncode == 0, done.stdout + done.stderr
            result = run.json.loads(done.stdout)
            assert result["ok"] and sum(m["live"] for m in result["models"].values()) == signals, result


def test_nexo_as_fast_as_the_machine_can(make_root, data):
    root = make_root(run.MARKET_ALONE)
    captures = replay(root, data, *NEXO, speed=0, seconds=300)
    result = verify(root, captures)
    assert result["ok"], result
    assert (result["trades"], result["quotes"], result["depth_events"]) == (12280 + 178, 33000 + 437, 66994 + 1188)
    assert (result["lost"], result["duplicated"], result["different"]) == (0, 0, 0)
    # The stored book begins with the fetched snapshot, brought up to the stream: at full speed that is some changes later.
    assert result["book_expected"] == 12198 and result["book_checks"] == result["book_equal"] > 12000
    assert result["snapshots_compared"] >= 1 and result["lines"] == result["lines_compared"]
    run.ok(root, "mesh", "down")
    assert run.ok_json(root, "mesh", "verify")["ok"]


FEEDS = ["feed-binance-1", "feed-binance-2"]
KILLED = [*FEEDS, "sequencer", "backfill", "recorder", "model-imbalance", "executor", "session", "sentinel-1"]


HOSTED = 'host = ["feed-1", "model", "executor", "session"]\n'  # line 1 dies with the sequencer: line 2 has it all
SWITCHED_OFF = ("outbox_read", "log_read", "check_numbers")


def run_with_kills(make_root, data, tmp_path, settings, seconds, rounds_max, names):
    """Replays the capture's beginning at recorded speed × 2, and kills each process meanwhile: again and again, or at least
    once, in no more rounds than `rounds_max`; how many there are is how soon this machine has each of them back.
    """
    capture = tmp_path / "btcusdt_part.dat"
    cut(data / BTC, capture, seconds)
    root = make_root(settings)
    up = run.command(root, "mesh", "up", "--capture", capture, "--speed", "2", "--timeout", "20")
    assert up.returncode == 0 or settings not in ("", HOSTED), up.stderr
    killer = run.Killer(root, seed=11)
    for name in names:
        run.until(lambda name=name: run.ready(root, name), f"{name} is ready")
    killed_once = False
    for _ in range(rounds_max):
        if run.replay_ended(root):
            break
        killer.round(names)
        killed_once = killed_once or not run.replay_ended(root)
    run.until(lambda: run.replay_ended(root), lambda: f"the capture's end\n{run.logs(root)}", 120)
    assert killed_once, "each of them, while the capture was replayed"
    return root, capture, killer


@pytest.mark.parametrize("settings", [pytest.param("", marks=pytest.mark.long), HOSTED], ids=["separate", "hosted"])
def test_kills_under_load_at_speed_2(make_root, data, tmp_path, settings):
    names = [n for n in KILLED if not settings or n not in ("feed-binance-1", "model-imbalance", "executor", "session")]
    root, capture, killer = run_with_kills(make_root, data, tmp_path, settings, 60, 3, names)
    result = verify(root, [capture])
    assert result["ok"], result
    status = run.status(root)
    assert all(node["state"] in ("RUNNING", "HOSTED") for node in status["nodes"]), status["nodes"]
    hosted = {"feed-binance-1", "model-imbalance", "model-flow", "executor", "session"}
    assert {node["name"] for node in status["nodes"] if node["state"] == "HOSTED"} == (hosted if settings else set())
    shown = run.command(root, "supervisorctl", "-c", "supervisor.conf", "status").stdout
    assert not settings or not any(name in shown for name in hosted), "supervisord has no process for them"
    run.ok(root, "mesh", "down")
    assert verify(root, [capture], 0)["ok"]
    whole = run.ok_json(root, "mesh", "verify")
    assert whole["ok"], whole
    print(killer.report(root))
    killer.judge()


@pytest.mark.parametrize("switch", [pytest.param(s, marks=pytest.mark.long) if s != "log_read" else s for s in SWITCHED_OFF])
def test_the_same_run_fails_without_a_recovery_path(make_root, data, tmp_path, switch):
    """Each path is needed: switched off, the judge finds what was lost or said twice.

    The two of the sequencer are switched off in tests/nodes/sequencer/test_sequencer.py, too.
    """
    hosted = HOSTED if switch == "outbox_read" else ""  # while its host is dead only line 2's outbox has what the venue sends
    settings = f"{hosted}[log]\n{switch} = false\n"
    names = ["sequencer", "feed-binance-2"] if hosted else ["sequencer", "model-imbalance", "feed-binance-1", "feed-binance-2"]
    root, capture, _ = run_with_kills(make_root, data, tmp_path, settings, 40, 3, names)
    run.command(root, "mesh", "down")
    against = verify(root, [capture], 0)
    alone = run.json.loads(run.command(root, "mesh", "verify", "--json").stdout)
    assert not (against["ok"] and alone["ok"]), f"nothing was lost or doubled without {switch}"


def cut(source, target, seconds):
    """The first so many seconds of a capture."""
    with gzip.open(source, "rt") as lines, open(target, "w") as out:
        first = None
        for line in lines:
            at = int(line.split(" ", 1)[0])
            first = first or at
            if at - first > seconds * 1e9:
                break
            out.write(line)

"""`mesh replay --speed`: what was recorded is heard on a bus of its own, in its order, at its pace; nothing else is touched."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.command_run import mesh_here, run_here
from tests.support.stored import START, Market, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.sockets import Subscriber
from tickmesh.bus.topics import lanes_of
from tickmesh.bus.wire import Event, decode
from tickmesh.tools.replaying.bus_folder import MARK, ReplayBus
from tickmesh.tools.replaying.speed import Pace, Renumbering, Replaying
from tickmesh.tools.terminal import Failure

SECOND = 1_000_000_000
ALL = lanes_of(tuple(Kind))
WAIT_S = 150


@pytest.fixture
def config(tmp_path) -> Config:
    """A mesh that has recorded 300 events in 0.3 s."""
    root = tmp_path / "mesh"
    root.mkdir()
    (root / "mesh.toml").write_text("")
    config = load(root)
    market = Market()
    write_log(config.log_dir, [market.instrument(), *market.mixed(299)])
    return config


def recorded(config: Config) -> list[Event]:
    return list(LogReader(config.log_dir).events())


def heard(subscriber: Subscriber, count: int) -> list[Event]:
    """The next so many events of a bus."""
    found: list[Event] = []
    deadline = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} events came"
        found += subscriber.drain() or ()
        time.sleep(0.002)
    return found


def test_an_event_is_due_when_its_time_over_the_speed_has_passed():
    pace = Pace(4.0)
    pace.begin(START, 1000)
    assert pace.wait_ns(START + 8 * SECOND, 1000) == 2 * SECOND
    assert pace.wait_ns(START + 8 * SECOND, 1000 + 3 * SECOND) == -SECOND, "late"
    assert pace.shown_ns(1000 + SECOND) == START + 4 * SECOND
    assert Pace(0).wait_ns(START + SECOND, 0) == 0


def test_a_replay_takes_its_time_and_has_the_recorded_bytes(config, tmp_path):
    events = recorded(config)
    bus = ReplayBus(config, tmp_path / "bus")
    subscriber = Subscriber(bus.config, ALL, 0)
    replaying = Replaying(bus, 0.5, lambda ns, late_s: None)
    began = time.monotonic()
    assert replaying.round(iter(events), []) == 300
    assert time.monotonic() - began >= 2 * (events[-1].seq_ns - events[0].seq_ns) / SECOND
    assert [bytes(one.raw) for one in heard(subscriber, 300)] == [bytes(one.raw) for one in events]
    subscriber.close()
    bus.close()
    assert not any((tmp_path / "bus").iterdir())


def test_what_is_replayed_again_goes_on_in_number_and_time():
    market = Market()
    events = [decode(raw) for raw in (market.trade(), market.trade(subject="binance.ETHUSDT"), market.trade())]
    numbers = Renumbering()
    first = [decode(numbers.renumbered(event)) for event in events]
    assert [bytes(one.raw) for one in first] == [bytes(one.raw) for one in events]
    numbers.begin_again(events[0].seq_ns)
    second = [decode(numbers.renumbered(event)) for event in events]
    assert [one.seq for one in second] == [4, 5, 6] and [one.link for one in second] == [3, 2, 4]
    assert second[0].seq_ns > first[-1].seq_ns
    for before, after in zip(first, second):
        assert after.seq_ns - after.recv_ns == before.seq_ns - before.recv_ns, "the lag"
        assert bytes(after.body) == bytes(before.body) and after.venue_ns == before.venue_ns


def test_the_command_replays_topics_for_whoever_listens_until_it_is_stopped(config, tmp_path):
    """A process of its own, `tap` and a subscriber; the folder that recorded is as it was."""
    events = recorded(config)
    wanted = [event for event in events if event.topic == "trade.binance.BTCUSDT" and event.seq >= 100]
    folder = tmp_path / "bus"
    words = ["replay", "--speed", "20", "--loop", "--into", str(folder), "--start", "100", "trade.binance.BTCUSDT", "--json"]
    command = [sys.executable, "-m", "tickmesh.tools.cli", *words]
    environment = {**os.environ, "TICKMESH_ROOT": str(config.root)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process, contextlib.ExitStack() as stopping:
        stopping.callback(process.kill)
        assert f"listen with: tap --at {folder}" in process.stderr.readline()
        subscriber = Subscriber(load(folder), ALL, 0)
        found = heard(subscriber, 1 + 2 * len(wanted))
        definition, *trades = found[: 1 + 2 * len(wanted)]
        assert definition.topic == "instrument.binance.BTCUSDT" and definition.seq == 1, "it was defined before"
        assert [bytes(one.body) for one in trades] == [bytes(one.body) for one in (*wanted, *wanted)]
        assert [one.seq for one in trades] == list(range(2, 2 + len(trades)))
        tapped = run_here(config.root, "tap", "--at", folder, "-c", "3", "--json", "trade")
        assert tapped.returncode == 0 and len(tapped.stdout.splitlines()) == 3, tapped.stderr
        assert abs(json.loads(tapped.stdout.splitlines()[0])["age_ms"]) < 60_000, "its clock shows the replayed time"
        second = mesh_here(config.root, "replay", "--speed", "1", "--into", folder)
        assert second.returncode == 1 and "is the bus of another replay" in second.stderr
        subscriber.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, err
    said = json.loads(out)
    assert said["interrupted"] and said["rounds"] >= 1 and said["events"] >= len(found)
    assert not any(folder.iterdir()), "it leaves nothing"
    assert [bytes(one.raw) for one in recorded(config)] == [bytes(one.raw) for one in events]


def test_what_cannot_be_replayed_is_a_sentence(config, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("a year's work")
    for words, code, sentence in (
        (["--speed", "1", "--into", str(full)], 1, "is not empty, and no replay made it"),
        (["--speed", "1", "--model", "flow"], 2, "--speed publishes and compares nothing"),
        (["--speed", "1", "trad.X"], 2, "there is no topic 'trad.X'"),
        (["--speed", "1", "fill"], 1, "no event of these topics was recorded in that part"),
        (["--speed", "1", "--start", "301"], 1, "--start 301 is after the newest event, seq 300"),
        (["trade"], 2, "topics, --into and --loop are of --speed"),
    ):
        done = mesh_here(config.root, "replay", *words)
        assert done.returncode == code and sentence in done.stderr, done.stderr
    assert (full / "thesis.txt").read_text() == "a year's work"
    nowhere = run_here(config.root, "tap", "--at", tmp_path / "none", "trade")
    assert nowhere.returncode == 1 and f"{tmp_path / 'none'}/mesh.toml: cannot be read" in nowhere.stderr


def test_a_folder_that_a_killed_replay_has_left_is_taken(config, tmp_path):
    folder = tmp_path / "bus"
    folder.mkdir()
    (folder / MARK).touch()
    (folder / "mesh.toml").write_text("what is left of it")
    bus = ReplayBus(config, folder)
    with pytest.raises(Failure, match="is the bus of another replay"):
        ReplayBus(config, folder)
    bus.close()

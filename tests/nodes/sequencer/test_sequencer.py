"""A real sequencer process under SIGKILL, with real producers talking to it all the while."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import COVERAGE, QUOTE, SIGNAL, TRADE, WATERMARK, Kind
from tickmesh.bus.segments import read_preamble, release, segments
from tickmesh.bus.sockets import Producer
from tickmesh.bus.wire import encode
from tickmesh.nodes.runner.alone import run_step

pytestmark = pytest.mark.mesh


def make(tmp_path, **log):
    text = "[log]\nsegment_bytes = 65536\noutbox_segment_bytes = 65536\n" + "".join(f"{k} = {v}\n" for k, v in log.items())
    (tmp_path / "mesh.toml").write_text(text)
    return load(tmp_path)


class Sequencer:
    """The real process."""

    def __init__(self, root):
        self.root = root
        self.start()

    def start(self):
        ready = self.root / "run/ready/sequencer.json"
        ready.unlink(missing_ok=True)
        self.process = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", "sequencer"], cwd=self.root)
        until(lambda: ready.exists() and json.loads(ready.read_text())["pid"] == self.process.pid, "ready")

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(20) == 0


@pytest.fixture
def started():
    running = []
    yield running.append
    for sequencer in running:
        if sequencer.process.poll() is None:
            sequencer.kill()


def until(condition, what, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def trade(i):
    record = np.zeros(1, TRADE)
    record["trade_id"] = i
    return encode(Kind.trade, "binance.BTCUSDT", record, first_id=i, last_id=i)


def quote(i):
    return encode(Kind.quote, "binance.BTCUSDT", np.zeros(1, QUOTE), first_id=i, last_id=i)


def signal_event(cause, k):
    return encode(Kind.signal, "binance.BTCUSDT", np.zeros(1, SIGNAL), cause_seq=cause, k=k)


def judge(config):
    """The log as it is: no hole in seq, links right, time rising with every event, each producer's numbers rising."""
    links, numbers, last_ns, seqs = {}, {}, 0, []
    for event in LogReader(config.log_dir).events():
        seqs.append(event.seq)
        assert event.link == links.get(event.topic, 0)
        links[event.topic] = event.seq
        assert event.seq_ns > last_ns
        last_ns = event.seq_ns
        key = (event.producer, event.epoch)
        assert event.number > numbers.get(key, 0), (key, event.number)
        numbers[key] = event.number
    assert seqs == list(range(1, len(seqs) + 1))


def ids(config, kind):
    return [event.last_id for event in LogReader(config.log_dir).events() if event.kind == kind]


def talk(config, sequencer, kills, rng, steps=3000):
    """Two lines and a model talk; the sequencer is killed at random moments meanwhile."""
    one, two, model = (Producer(config, name) for name in ("feed-1", "feed-2", "model-x"))
    at = sorted(rng.sample(range(steps // 10, steps - 100), kills))
    back = 0  # it is away for some steps: what is said meanwhile waits in the outbox and in the socket
    for i in range(1, steps + 1):
        both = [trade(i), quote(10 * i)]
        one.publish(both)
        two.publish([trade(i), quote(10 * i)])
        if i % 7 == 0:
            model.publish([signal_event(i, 0), signal_event(i, 1)])
        if at and i == at[0]:
            at.pop(0)
            if back:
                sequencer.start()
            sequencer.kill()
            back = i + 30
        if i == back:
            back = 0
            sequencer.start()
        if i % 50 == 0:
            time.sleep(0.005)
    for producer in (one, two, model):
        producer.close()


def test_kills_lose_and_double_nothing(tmp_path, started):
    config = make(tmp_path)
    sequencer = Sequencer(tmp_path)
    started(sequencer)
    talk(config, sequencer, 5, random.Random(3))
    until(lambda: ids(config, Kind.trade)[-1:] == [3000], "the last trade")
    sequencer.stop()
    judge(config)
    assert ids(config, Kind.trade) == list(range(1, 3001))
    assert ids(config, Kind.quote) == list(range(10, 30001, 10))
    signals = [(e.cause_seq, e.k) for e in LogReader(config.log_dir).events() if e.kind == Kind.signal]
    assert signals == [(i, k) for i in range(7, 3001, 7) for k in (0, 1)]
    assert ids(config, Kind.gap) == []
    health = [e.map() for e in LogReader(config.log_dir).events() if e.topic == "health.sequencer"]
    assert sum(h["outbox_caught_up"] for h in health) > 0, "outbox catch-up was used"
    assert len(segments(config.log_dir)) > 3, "segments were rolled meanwhile"
    identities = {e.map()["log_id"] for e in LogReader(config.log_dir).events() if e.topic == "run.sequencer"}
    assert len(identities) == 1
    assert LogReader(config.log_dir).durable == LogReader(config.log_dir).last


@pytest.mark.parametrize("switch", ["outbox_read", "check_numbers"])
def test_without_either_recovery_path_the_same_run_fails(tmp_path, started, switch):
    config = make(tmp_path, **{switch: "false"})
    sequencer = Sequencer(tmp_path)
    started(sequencer)
    talk(config, sequencer, 5, random.Random(3))
    time.sleep(1.5)
    sequencer.stop()
    signals = [(e.cause_seq, e.k) for e in LogReader(config.log_dir).events() if e.kind == Kind.signal]
    complete = [(i, k) for i in range(7, 3001, 7) for k in (0, 1)]
    trades = ids(config, Kind.trade)
    assert signals != complete or trades != list(range(1, 3001))


def test_a_clean_stop_takes_what_was_said_last_and_a_start_goes_on(tmp_path, started):
    config = make(tmp_path)
    sequencer = Sequencer(tmp_path)
    started(sequencer)
    producer = Producer(config, "feed-1")
    for i in range(1, 101):
        producer.publish([trade(i)])
    sequencer.stop()
    assert ids(config, Kind.trade) == list(range(1, 101))
    for i in range(101, 201):
        producer.publish([trade(i)])
    sequencer.start()
    until(lambda: ids(config, Kind.trade)[-1] == 200, "the rest")
    sequencer.stop()
    judge(config)
    assert ids(config, Kind.trade) == list(range(1, 201))


def test_what_was_said_of_a_log_that_was_moved_away_is_not_said_of_its_successor(tmp_path, started):
    """The outbox of a recorder that was not taken to its end still has the old log's watermarks; feeds' events are nobody's."""
    config = make(tmp_path)
    recorder, feed = Producer(config, "recorder"), Producer(config, "feed-1")

    def of_the_log():
        coverage = encode(Kind.coverage, "binance.BTCUSDT", np.zeros(1, COVERAGE))
        return [coverage, encode(Kind.watermark, "recorder", np.zeros(1, WATERMARK))]

    recorder.publish(of_the_log())
    feed.publish([trade(1)])
    started(Sequencer(tmp_path))
    until(lambda: ids(config, Kind.trade) == [1], "what is no log's is taken")
    assert not ids(config, Kind.watermark) + ids(config, Kind.coverage)
    recorder.publish(of_the_log())
    until(lambda: len(ids(config, Kind.watermark) + ids(config, Kind.coverage)) == 2, "what is said of this log")
    judge(config)


def test_a_second_sequencer_is_refused_with_a_sentence(tmp_path, started):
    make(tmp_path)
    started(Sequencer(tmp_path))
    second = subprocess.run(
        [sys.executable, "-m", "tickmesh.nodes", "sequencer"], cwd=tmp_path, capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 1
    assert "another process" in second.stderr and "Traceback" not in second.stderr


def test_a_kill_after_a_power_cut_keeps_what_only_released_segments_said(tmp_path, started):
    """keep_segments = 1: a new identity's first segment is alone when all before it is archived; a kill must find its state."""
    config = make(tmp_path)
    sequencer = Sequencer(tmp_path)
    started(sequencer)
    producer = Producer(config, "feed-1")
    for i in range(100, 120):
        producer.publish([quote(i)])
    until(lambda: ids(config, Kind.quote)[-1:] == [119], "taken")
    sequencer.kill()
    owner = config.log_dir / "owner"
    owner.write_text(json.dumps({**json.loads(owner.read_text()), "boot": "another", "clean": False}))
    sequencer.start()
    producer.publish([trade(1)])
    until(lambda: ids(config, Kind.trade) == [1], "taken by the new identity")
    until(lambda: read_preamble(segments(config.log_dir)[-1][1]).state, "a segment whose head has the state")
    before = next(event for event in reversed(list(LogReader(config.log_dir).events())) if event.kind == Kind.quote)
    assert release(config.log_dir, LogReader(config.log_dir).last, keep=1) >= 1
    sequencer.kill()

    def quotes():
        log = LogReader(config.log_dir)
        return [event for event in log.events(log.first - 1) if event.kind == Kind.quote]

    assert not quotes(), "what knew of them is gone"
    sequencer.start()
    for i in (118, 119, 120):
        producer.publish([quote(i)])
    until(lambda: [event.last_id for event in quotes()][-1:] == [120], "a quote after it")
    sequencer.stop()
    assert [event.last_id for event in quotes()] == [120], "older ones are known"
    assert quotes()[0].link == before.seq


def test_silence_has_a_clock(tmp_path, started):
    config = make(tmp_path)
    sequencer = Sequencer(tmp_path)
    started(sequencer)
    until(lambda: len(clocks(config)) > 5, "clock events")
    gaps = np.diff([e.seq_ns for e in clocks(config)][1:])
    assert gaps.min() > 50_000_000
    assert all(e.records["durable_seq"][0] < e.seq for e in clocks(config))
    sequencer.stop()


def clocks(config):
    return [event for event in LogReader(config.log_dir).events() if event.kind == Kind.clock]


class Echo:
    """A step that answers every trade with one signal."""

    READS = (Kind.trade,)
    WRITES = (Kind.signal,)

    class Step:
        def __init__(self, config, instance):
            pass

        def step(self, events):
            return [signal_event(event.seq, 0) for event in events]

        def identity(self):
            return {}

        def counters(self):
            return {}

        def save(self):
            return b""


def test_a_step_knows_what_it_said_although_its_heartbeat_came_later(tmp_path, started):
    """Its signals are in its outbox only (the sequencer is dead), and the last word there is a heartbeat."""
    config = make(tmp_path)
    sequencer = Sequencer(tmp_path)
    started(sequencer)
    feed = Producer(config, "feed-1")
    feed.publish([trade(1), trade(2)])
    until(lambda: ids(config, Kind.trade) == [1, 2], "the trades")
    sequencer.kill()
    causes = [event.seq for event in LogReader(config.log_dir).events() if event.kind == Kind.trade]
    model = Producer(config, "echo")
    model.publish([signal_event(seq, 0) for seq in causes])
    model.publish([encode(Kind.health, "echo", {"alive": True})])
    model.close()

    async def again():
        ctx = Context(config, "echo")
        ending = asyncio.create_task(run_step(ctx, Echo))
        await asyncio.sleep(0.3)
        ctx.stop.set()
        await ending
        await ctx.close()

    asyncio.run(again())
    sequencer.start()

    def signals():
        return [event.cause_seq for event in LogReader(config.log_dir).events() if event.kind == Kind.signal]

    until(lambda: len(signals()) >= len(causes), "the signals")
    sequencer.stop()
    assert signals() == causes

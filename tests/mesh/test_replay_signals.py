"""Replaying the log, or the archive alone, in a fresh process with a cold kernel cache gives what was said live."""

import json
import os
import random
import subprocess
import sys
from collections import deque

import numpy as np
import pytest

from tests.support.event_fields import record_slice
from tests.support.odd_models import line_of, models_in, zero_at
from tests.support.odd_models import source as text_of
from tests.support.places import PROJECT
from tests.support.stored import batches, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.layout import event_size, header_slice
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import FILL, INSTRUMENT, QUOTE, TRADE, UPDATE, Action, Kind, Status
from tickmesh.bus.wire import Event, decode, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.orders.commands import KillSwitch, SetLimit, SwitchStrategy, content_of
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import replay

SUBJECT = "binance.BTCUSDT"
EVENTS = 4000
SETTINGS = """
[executor]
signal_threshold = 0.25
[[strategies]]
name = "fast"
models = ["imbalance"]
[[strategies]]
name = "target"
models = ["flow"]
target_quantity = "0.01"
styles = ["limit", "limit_ioc"]
[[strategies]]
name = "tried"
state = "shadow"
styles = ["limit_maker", "market"]
"""
SWITCHED = {  # at so many events a person says this
    EVENTS * 3 // 10: SwitchStrategy("fast", "shadow", "operator"),
    EVENTS * 4 // 10: SwitchStrategy("tried", "live", "operator"),
    EVENTS * 5 // 10: KillSwitch(True, "operator", "a test"),
    EVENTS * 6 // 10: KillSwitch(False, "operator"),
    EVENTS * 7 // 10: SwitchStrategy("fast", "live", "operator"),
    EVENTS * 8 // 10: SetLimit("account", "daily_loss_max", "0.000001", "operator"),
    EVENTS * 9 // 10: SwitchStrategy("target", "off", "operator"),
}


class LiveMesh:
    """A mesh in miniature: a sequencer, the real steps one event at a time, a session that fills; every hop is late."""

    def __init__(self, config: Config, seed: int = 1, crash_at: int = 0):
        self.config, self.crash_at, self.switched = config, crash_at, dict(SWITCHED)
        self.random = random.Random(seed)
        self.now_ns = 1_700_000_000 * 1_000_000_000
        self.events: list[Event] = []
        self.steps = replay.steps(config)
        self.waiting: deque[tuple[bytearray, str]] = deque()

    def log(self, raw: bytearray, producer: str) -> None:
        self.now_ns += self.random.randrange(20_000_000)
        stamp_sent(raw, producer_bytes(producer), 1, 1, self.now_ns)
        stamp_sequenced(raw, len(self.events) + 1, 0, self.now_ns)
        event = decode(bytes(raw))
        self.events.append(event)
        for name, step in self.steps.items():
            self.waiting.extend((said, name) for said in step.step([event]))
        if event.kind == Kind.intent:
            self.waiting.extend((said, "session") for said in self.acted(event.records[0]))

    def acted(self, intent: np.void) -> list[bytearray]:
        update = np.zeros(1, UPDATE)
        if intent["action"] == Action.CANCEL:
            update["client_order_id"], update["status"] = intent["target_id"], Status.Canceled
            return [encode(Kind.update, SUBJECT, update)]
        for field in ("client_order_id", "side", "order_type", "time_in_force", "price_ticks", "quantity_lots"):
            update[field] = intent[field]
        if intent["time_in_force"] == 1 and intent["price_ticks"]:
            update["status"] = Status.New
            return [encode(Kind.update, SUBJECT, update)]
        update["status"], update["filled_lots"] = Status.Filled, intent["quantity_lots"]
        fill = np.zeros(1, FILL)
        for field in ("client_order_id", "side", "quantity_lots"):
            fill[field] = intent[field]
        fill["price_ticks"], fill["trade_id"] = 6_000_000_000_000, len(self.events)
        return [encode(Kind.update, SUBJECT, update), encode(Kind.fill, SUBJECT, fill)]

    def market(self) -> bytearray:
        pick = self.random.randrange
        if pick(4):
            bid = 6_000_000_000_000 + pick(5) * 1_000_000
            row = np.array([(pick(1000), bid, pick(10**8), bid + 1_000_000, 1 + pick(10**8), 0)], QUOTE)
            return encode(Kind.quote, SUBJECT, row)
        row = np.array([(pick(1000), 6_000_000_000_000, 1 + pick(10**7), 0, 0, 2 * pick(2) - 1, b"")], TRADE)
        return encode(Kind.trade, SUBJECT, row)

    def run_events(self) -> None:
        for name, step in self.steps.items():
            self.waiting.append((encode(Kind.run, name, {"node": name, **step.identity()}), name))

    def live(self) -> list[bytes]:
        self.log(encode(Kind.run, "sequencer", {"node": "sequencer", "log_id": "00c0ffee00c0ffee"}), "sequencer")
        row = np.array([(-8, -8, 1_000_000, 1000, 1000, 0, 0)], INSTRUMENT)
        self.log(encode(Kind.instrument, SUBJECT, row), "feed-1")
        self.run_events()
        while len(self.events) < EVENTS:
            if self.crash_at and len(self.events) >= self.crash_at and not self.waiting:
                self.crash()
            if (said := self.switched.pop(len(self.events), None)) is not None:
                self.log(encode(Kind.command, "operator", content_of(said)), "operator")
            if self.waiting and self.random.randrange(2):
                self.log(*self.waiting.popleft())
            else:
                self.log(self.market(), "feed-1")
        while self.waiting:  # all that was in the outboxes
            self.log(*self.waiting.popleft())
        return [bytes(event.raw) for event in self.events]

    def crash(self) -> None:
        """Everything that computes dies and is rebuilt from the log, in lists of any length."""
        self.crash_at = 0
        self.steps = replay.steps(self.config)
        for step in self.steps.values():
            for i in range(0, len(self.events), 37):
                step.step(self.events[i : i + 37])
        self.run_events()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory) -> tuple[Config, list[bytes]]:
    """A folder with a log and an archive of the same events."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text(SETTINGS)
    config = load(root)
    raws = LiveMesh(config, crash_at=EVENTS // 3).live()
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive(batches(raws), len(raws), 1000, LogReader(config.log_dir).log_id)
    writer.close()
    return config, raws


SCRIPT = """
import json, sys
from pathlib import Path
from tickmesh.bus.config import load
from tickmesh.tools import replay
config = load(Path(sys.argv[1]))
answers = []
for source in replay.SOURCES:
    answers += [replay.compare(config, replay.source_events(config, source), batch) for batch in (1, 7, 4096)]
    answers.append(replay.compare_columns(config, source))
print(json.dumps(answers))
"""


def test_a_fresh_process_with_a_cold_cache_says_the_same(mesh, tmp_path):
    """From the log, the archive, and both; in lists of any length, and by columns."""
    config, raws = mesh
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cold")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(config.root)],
        cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "cold").rglob("*.nbc")), "it compiled"
    answers = json.loads(done.stdout)
    assert [answer["batch"] for answer in answers] == [1, 7, 4096, None] * len(replay.SOURCES)
    for answer in answers:
        assert answer["ok"] and answer["events"] == len(raws), answer
        for verdict in (*answer["models"].values(), answer["executor"]):
            assert verdict["live"] == verdict["equal"] == verdict["replayed"] > 20, verdict
            assert verdict["first_difference"] is None and verdict["same_code"] and verdict["unsaid"] == 0


def changed(raws: list[bytes], kind: Kind, change) -> list[Event]:
    """The events, with the twentieth of a kind changed, doubled or dropped."""
    seen, out = 0, []
    for raw in raws:
        event = decode(raw)
        if event.kind == kind:
            seen += 1
            if seen == 20:
                out += change(bytearray(raw))
                continue
        out.append(event)
    return out


def flip(raw: bytearray) -> list[Event]:
    raw[record_slice(Kind.signal, "value").start] ^= 1  # the last bit of a signal's value
    return [decode(bytes(raw))]


def later(raw: bytearray) -> list[Event]:
    raw[header_slice("cause_seq").start] += 1
    return [decode(bytes(raw))]


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (flip, {"equal": -1}),
        (later, {"equal": -1}),
        (lambda raw: [], {"equal": -1, "live": -1}),
        (lambda raw: [decode(bytes(raw)), decode(bytes(raw))], {"live": 1, "twice": 1}),
    ],
)
def test_every_difference_is_found(mesh, change, counts):
    config, raws = mesh
    whole = replay.compare(config, [decode(raw) for raw in raws])
    answer = replay.compare(config, changed(raws, Kind.signal, change))
    assert whole["ok"] and not answer["ok"]
    found = [name for name, verdict in answer["models"].items() if not verdict["ok"]]
    assert len(found) == 1
    before, after = whole["models"][found[0]], answer["models"][found[0]]
    for key in ("equal", "live", "twice"):
        assert after[key] - before[key] == counts.get(key, 0), key
    assert (after["first_difference"] is None) == ("twice" in counts)


def test_a_changed_market_changes_the_signals(mesh):
    config, raws = mesh

    def other(raw: bytearray) -> list[Event]:
        raw[record_slice(Kind.quote, "bid_lots")] = (10**12).to_bytes(8, "little")
        return [decode(bytes(raw))]

    assert not replay.compare(config, changed(raws, Kind.quote, other))["ok"]


def test_what_is_not_said_yet_is_no_difference_and_counted(mesh):
    config, raws = mesh
    last = max(i for i, raw in enumerate(raws) if decode(raw).kind == Kind.signal)
    answer = replay.compare(config, [decode(raw) for raw in raws[:last]])
    assert answer["ok"] and sum(verdict["unsaid"] for verdict in answer["models"].values()) == 1


def test_a_model_that_never_spoke_is_a_difference(mesh):
    config, raws = mesh
    events = [event for event in map(decode, raws) if event.producer != "model-flow"]
    answer = replay.compare(config, events)
    assert not answer["ok"] and not answer["models"]["flow"]["ok"] and answer["models"]["imbalance"]["ok"]


def test_other_parameters_are_compared_from_their_start_on(tmp_path):
    """mesh.toml was changed in the middle: what the old parameters said is not judged by the new ones."""
    (tmp_path / "mesh.toml").write_text('[[models]]\nname = "m"\nkernel = "trade_flow"\n[executor]\nenabled = false\n')
    config = load(tmp_path)
    old = load(tmp_path, {"models": [{"name": "m", "kernel": "trade_flow", "parameters": {"fast_ms": 100.0}}]})
    first = LiveMesh(old, crash_at=EVENTS // 2)
    first.config = config  # what the crash brings up
    events = [decode(raw) for raw in first.live()]
    answer = replay.compare(config, events)
    verdict = answer["models"]["m"]
    assert answer["ok"] and verdict["other"] > 20 and verdict["equal"] == verdict["live"] > 20 and verdict["same_code"]
    assert not replay.compare(old, events)["models"]["m"]["same_code"]


def test_signals_are_a_function_of_the_events_alone(mesh):
    config, raws = mesh
    live = sorted(
        (event.cause_seq, event.k, event.producer.removeprefix("model-"), event.subject, float(event.records["value"][0]))
        for event in map(decode, raws)
        if event.kind == Kind.signal
    )
    for source in replay.SOURCES:
        frame = replay.signals(config, source)
        rows = frame[["cause_seq", "k", "model", "instrument", "value"]].itertuples(index=False)
        assert [tuple(row) for row in rows] == live
        times = {event.seq: event.seq_ns for event in map(decode, raws)}
        assert frame.index.astype("i8").tolist() == [times[cause] for cause in frame["cause_seq"]]
    assert any(decode(raw).kind == Kind.intent and len(raw) == event_size(Kind.intent, 1) for raw in raws)


@pytest.mark.parametrize("batch", [None, 100])
def test_a_model_that_fails_is_named_and_the_others_are_compared(mesh, tmp_path, batch, capsys):
    config, raws = mesh
    with models_in(tmp_path):
        (tmp_path / "divides.py").write_text(zero_at(30))
        (tmp_path / "broken.py").write_text(text_of("p.missing"))
        more = [{"name": "zero", "kernel": "divides"}, {"name": "gone", "kernel": "broken"}]
        with_odd = load(config.root, {"models": more})
        answer = replay.compare_columns(with_odd, "log") if batch is None else replay.compare_lists(with_odd, "log", batch)
    assert not answer["ok"] and answer["models"]["flow"]["ok"] and answer["executor"]["ok"]
    seq = [event.seq for event in map(decode, raws) if event.kind == Kind.quote][29]
    assert f"ZeroDivisionError: integer division by zero, at event {seq} (quote of" in answer["models"]["zero"]["fault"]
    assert "no field 'missing'" in answer["models"]["gone"]["fault"]
    replay.show(answer)
    assert f"it cannot run to the end: {tmp_path}/divides.py:{line_of(zero_at(30), 's.x = 1 //')}: " in capsys.readouterr().out


def test_a_history_without_its_beginning_is_refused(mesh):
    config, raws = mesh
    with pytest.raises(replay.terminal.Failure, match="seq 2; a replay needs the whole history"):
        replay.compare(config, map(decode, raws[1:]))


def test_the_command_speaks_in_sentences(mesh, tmp_path, monkeypatch, capsys):
    config, raws = mesh
    monkeypatch.setenv("TICKMESH_ROOT", str(config.root))
    for batch in (None, 500):
        result = replay.replay(source="log", batch=batch)
        assert result["ok"] and result["source"] == "log" and result["batch"] == batch and json.dumps(result)
    replay.show(result)
    for source, batch in (("tape", 1), ("log", 0)):
        with pytest.raises(replay.terminal.UsageFailure):
            replay.replay(source, batch)
    (tmp_path / "mesh.toml").write_text("")
    monkeypatch.setenv("TICKMESH_ROOT", str(tmp_path))
    for source in replay.SOURCES:
        with pytest.raises(replay.terminal.Failure, match="there is no event in .*; (start|it is cut)"):
            replay.replay(source)

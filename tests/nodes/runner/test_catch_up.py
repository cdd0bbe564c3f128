"""A step that was away for long catches up by columns, and is where events would have brought it."""

import shutil
from collections import deque
from pathlib import Path

import pytest

from tests.support.random_tapes import tape
from tests.support.stored import write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import release
from tickmesh.bus.wire import Event, cause_of, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.model import node as model
from tickmesh.nodes.runner import history as runner_history
from tickmesh.nodes.runner.history import catch_up
from tickmesh.nodes.runner.step import StepRunner
from tickmesh.storage.archive.writer import ArchiveWriter

MESH = """
[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "ETHUSDT"
[[models]]
name = "m"
kernel = "trade_flow"
instruments = ["binance.*"]
"""
COUNT = 2000


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A mesh's folder with a log with a market, and with what model-m published of its first half, a few events later each."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text(MESH)
    config, raws = load(root), []
    step = model.Step(config, "m")
    begun = encode(Kind.run, "model-m", {"node": "model-m", **step.identity(), "publishes_after": 0})
    stamp_sent(begun, producer_bytes("model-m"), 1, 1, 0)
    stamp_sequenced(begun, 1, 0, 1)
    raws.append(bytes(begun))
    for raw in tape(7, COUNT):
        fresh = bytearray(raw)
        waiting = []
        stamp_sequenced(fresh, len(raws) + 1, 0, Event(raw).seq_ns)
        raws.append(bytes(fresh))
        waiting += step.step([Event(raws[-1])])
        for own in waiting if len(raws) < COUNT // 2 else ():
            stamp_sent(own, producer_bytes("model-m"), 1, 1, 0)
            stamp_sequenced(own, len(raws) + 1, 0, Event(raw).seq_ns)
            raws.append(bytes(own))
    write_log(config.log_dir, raws, segment_bytes=1 << 15)
    return root


@pytest.fixture
def config(made, tmp_path) -> Config:
    """A copy of it: who catches up leaves checkpoints, and one test releases the log's beginning."""
    return load(shutil.copytree(made, tmp_path / "mesh"))


def caught_up(config: Config) -> StepRunner:
    runner = StepRunner(model, config, "model-m", "m")
    catch_up(config, runner)
    return runner


def outcome(runner: StepRunner) -> tuple:
    """Where a runner is, what it has still to publish, and what it knows to be published."""
    place = runner.seq, runner.step.save(), runner.published, runner._given, runner.checkpoints._logged
    return place, [bytes(event) for event in runner.unpublished()]


@pytest.mark.parametrize("released", [False, True])
def test_columns_and_events_bring_a_step_to_the_same_place(config, monkeypatch, released):
    by_events = outcome(caught_up(config))
    seen = []
    with monkeypatch.context() as m:
        m.setattr(runner_history, "COLUMNS_FROM", 1)
        m.setattr(StepRunner, "replay", lambda self, events: seen.append(events))
        if released:  # the log's beginning is in the archive alone
            writer = ArchiveWriter(config.archive_dir)
            writer.archive_log(LogReader(config.log_dir), COUNT // 2, 400)
            writer.close()
            assert release(config.log_dir, COUNT // 2)
        by_columns = outcome(caught_up(config))
    assert not seen, "nothing was left for events"
    assert by_columns == by_events and len(by_events[1]) > 10 and by_events[0][2] > (0, -1)


@pytest.mark.parametrize("columns", [False, True])
def test_a_new_model_replays_the_past_and_publishes_none_of_it_unless_asked(config, monkeypatch, columns):
    """Of other parameters than the one that ran: it says from where on it publishes, and a later life goes on from there."""
    if columns:
        monkeypatch.setattr(runner_history, "COLUMNS_FROM", 1)
    model_m = {"name": "m", "kernel": "trade_flow", "instruments": ["binance.*"], "parameters": {"fast_ms": 200.0}}
    new = caught_up(load(config.root, {"models": [model_m]}))
    assert new.unpublished() == [] and new.begun()["publishes_after"] == new.seq == LogReader(config.log_dir).last
    asked = caught_up(load(config.root, {"models": [model_m | {"publish_past": True}]}))
    past = asked.unpublished()
    assert len(past) > 50 and "publishes_after" not in asked.begun() and asked.step.save() == new.step.save()
    again = StepRunner(model, load(config.root, {"models": [model_m]}), "model-m", "m")
    begun = encode(Kind.run, "model-m", {**again.step.identity(), "publishes_after": 1500})
    again.note_published(Event(begun))  # its own outbox has it, the log not yet
    assert again._publishes_after is None
    again._read_run(Event(begun))
    catch_up(config, again)
    assert "publishes_after" in again.begun(), "in the log another one ran after it"
    again._outbox_runs.clear()
    (alone,) = [StepRunner(model, load(config.root, {"models": [model_m]}), "model-m", "m")]
    alone._read_run(Event(begun))
    alone._read_run = lambda event: None
    catch_up(config, alone)
    assert [bytes(event) for event in alone.unpublished()] == [bytes(e) for e in past if cause_of(e)[0] > 1500] != []


def test_a_long_past_costs_linear_time(config):
    """What is regenerated and was published is let go of from the front, each event once."""
    runner = StepRunner(model, config, "model-m", "m")
    looked = []
    runner._unpublished = Counting(looked)
    for events in runner_history.history(config, 0, runner.history_lanes):
        for one in events:
            runner.replay([one])
    assert len(runner._unpublished) > 10
    assert len(looked) < 3 * LogReader(config.log_dir).last


class Counting(deque):
    """A deque that notes each look at its front."""

    def __init__(self, looked: list[int]):
        super().__init__()
        self.looked = looked

    def __getitem__(self, place):
        self.looked.append(place)
        return super().__getitem__(place)


def test_a_checkpoint_without_a_served_instrument_is_refused_with_the_reason(config):
    runner = caught_up(config)
    runner.checkpoints.checkpoint.save(runner.seq, runner.step.save(), LogReader(config.log_dir).log_id)
    again = StepRunner(model, config, "model-m", "m")
    assert again.seq == runner.seq and not again.unused
    instruments = [{"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}, {"symbol": "BTC/USD", "venue": "kraken"}]
    more = load(config.root, {"instruments": instruments, "models": [{"name": "m", "kernel": "trade_flow"}]})
    refused = StepRunner(model, more, "model-m", "m")
    assert refused.seq == 0 and "kraken.BTC/USD was not served" in refused.unused

"""A step that was away for long catches up by columns, and is where events would have brought it."""

import pytest

from tests.support.random_tapes import tape
from tests.support.stored import write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.segments import release
from tickmesh.bus.wire import Event, stamp_sent, stamp_sequenced
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
def config(tmp_path_factory) -> Config:
    """A log with a market, and with what model-m published of its first half, a few events later each."""
    root = tmp_path_factory.mktemp("mesh")
    (root / "mesh.toml").write_text(MESH)
    config, raws = load(root), []
    step = model.Step(config, "m")
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
    return config


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


def test_a_checkpoint_without_a_served_instrument_is_refused_with_the_reason(config):
    runner = caught_up(config)
    runner.checkpoints.checkpoint.save(runner.seq, runner.step.save(), LogReader(config.log_dir).log_id)
    again = StepRunner(model, config, "model-m", "m")
    assert again.seq == runner.seq and not again.unused
    instruments = [{"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}, {"symbol": "BTC/USD", "venue": "kraken"}]
    more = load(config.root, {"instruments": instruments, "models": [{"name": "m", "kernel": "trade_flow"}]})
    refused = StepRunner(model, more, "model-m", "m")
    assert refused.seq == 0 and "kraken.BTC/USD was not served" in refused.unused

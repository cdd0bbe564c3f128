"""A step's checkpoint is never ahead of what the log is sure to keep: not of its events, not of what the step said of them."""

import numpy as np
import pytest

from tests.support.echo_step import Echo
from tickmesh.bus.config import load
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import SIGNAL, TRADE, Kind
from tickmesh.bus.wire import Event, encode, stamp_sent, stamp_sequenced
from tickmesh.nodes.runner.step import StepRunner


def trade(seq: int) -> Event:
    event = encode(Kind.trade, "binance.BTCUSDT", np.zeros(1, TRADE))
    stamp_sequenced(event, seq, 0, seq)
    return Event(event)


def logged(signal: bytearray, seq: int) -> Event:
    stamp_sent(signal, producer_bytes("model-x"), 1, seq, seq)
    stamp_sequenced(signal, seq, 0, seq)
    return Event(signal)


def due(runner: StepRunner, durable_seq: int) -> tuple[int, bytes] | None:
    """(seq, state) of the checkpoint that may be written when the log is durable up to `durable_seq`."""
    runner.offer_checkpoint()
    snapshot = runner.checkpoints.take(durable_seq)
    return snapshot and (snapshot.seq, snapshot.state)


@pytest.fixture
def runner(tmp_path) -> StepRunner:
    (tmp_path / "mesh.toml").touch()
    runner = StepRunner(Echo, load(tmp_path), "model-x", "x")
    runner.checkpoints.interval_s = 0.0  # at every turn, not every few seconds
    return runner


def test_what_it_said_must_be_on_disk_too(runner):
    (signal,) = runner.live([trade(1)])
    assert due(runner, 1) is None, "the trade is durable, the signal may be lost yet"
    runner.live([trade(2)])
    runner.live([logged(signal, 3)])
    assert due(runner, 2) is None, "the signal is in the log, but not on disk"
    assert due(runner, 3) == (1, b"\x01"), "the state after the trade that the signal came of"


def test_what_was_said_later_proves_what_was_said_before(runner):
    runner.live([trade(1)])
    assert due(runner, 9) is None
    (later,) = runner.live([trade(2)])
    runner.live([logged(later, 4)])
    assert due(runner, 3) is None
    assert due(runner, 4) == (1, b"\x01")


def test_one_that_is_silent_waits_for_its_events_alone(runner):
    runner.step.step = lambda events: []
    runner.live([trade(5)])
    assert due(runner, 4) is None
    assert due(runner, 5) == (5, b"\x00")


def test_history_counts_as_read_back(runner):
    """A restart that finds its signals in the log may write at once; one that finds the trade alone may not."""
    signal = encode(Kind.signal, "binance.BTCUSDT", np.zeros(1, SIGNAL), cause_seq=1)
    runner.replay([trade(1), logged(signal, 2), trade(3)])
    assert [event.cause_seq for event in map(Event, runner.unpublished())] == [3]
    assert due(runner, 3) is None, "what the second trade gave rise to is not said yet"


def test_a_restart_that_finds_all_it_said_may_write_at_once(runner):
    signal = encode(Kind.signal, "binance.BTCUSDT", np.zeros(1, SIGNAL), cause_seq=1)
    runner.replay([trade(1), logged(signal, 2)])
    assert runner.unpublished() == []
    assert due(runner, 1) is None
    assert due(runner, 2) == (2, b"\x01")

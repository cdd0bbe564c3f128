"""A snapshot of a node's state is written now and then, in a thread, and never before all it rests on is durable."""

import asyncio
import logging
import threading

import pytest

from tests.support.waiting import until
from tickmesh.bus.checkpoint import Checkpoint, CheckpointWriter
from tickmesh.bus.config import load
from tickmesh.bus.process import Context


@pytest.fixture
def ctx(tmp_path) -> Context:
    (tmp_path / "mesh.toml").touch()
    return Context(load(tmp_path), "backfill")


class Saved(Checkpoint):
    """Remembers what was saved; waits while `gate` is closed, and refuses while `full`."""

    def __init__(self, ctx: Context):
        super().__init__(ctx.config.checkpoint_dir, ctx.name)
        self.saved: list[tuple[int, bytes, int]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.full = False

    def save(self, seq: int, state: bytes, log_id: int) -> None:
        self.gate.wait(10)
        if self.full:
            raise OSError(28, "No space left on device")
        self.saved.append((seq, state, log_id))


def test_a_snapshot_waits_for_the_log_and_the_interval(ctx):
    writer = CheckpointWriter(Saved(ctx), 1000.0)
    writer.offer(7, lambda: b"early")
    assert writer.take(100) is None, "the interval is not over"
    writer.interval_s = 0.0
    writer.offer(8, lambda: b"eight")
    writer.offer(9, lambda: b"another waits")
    assert writer.take(7) is None
    snapshot = writer.take(8)
    assert snapshot is not None and (snapshot.seq, snapshot.state) == (8, b"eight")
    assert writer.take(100) is None, "it is taken once"


def test_what_was_published_has_to_be_read_in_the_log_and_durable_there(ctx):
    writer = CheckpointWriter(Saved(ctx), 0.0)
    writer.offer(8, lambda: b"eight", published=(8, 1))
    assert writer.take(100) is None, "it may be in an outbox only"
    writer.read_back((8, 0), 10)
    assert writer.take(100) is None, "the last of the two is missing yet"
    writer.read_back((8, 1), 11)
    writer.read_back((9, 0), 30)
    assert writer.take(10) is None
    assert writer.take(11) is not None


def test_it_writes_beside_the_node_one_at_a_time_and_goes_on_after_a_full_disk(ctx, caplog):
    caplog.set_level(logging.INFO, ctx.name)

    async def scene():
        file = Saved(ctx)
        writer = CheckpointWriter(file, 0.0)

        def keep(seq: int, durable_seq: int) -> None:
            writer.offer(seq, lambda: bytes([seq]))
            writer.write_if_durable(durable_seq, 5, ctx.own)

        file.gate.clear()
        keep(1, 0)
        assert not ctx._tasks, "nothing of it is durable"
        keep(2, 1)
        assert len(ctx._tasks) == 1
        keep(3, 3)
        keep(4, 4)
        assert len(ctx._tasks) == 1, "the second one waits for the first, and the node for neither"
        file.gate.set()
        await until(lambda: not ctx._tasks)
        file.full = True
        keep(5, 5)  # writes the one of 3, which waited
        await until(lambda: not ctx._tasks)
        keep(6, 6)
        await until(lambda: not ctx._tasks)
        file.full = False
        keep(7, 7)
        await until(lambda: not ctx._tasks)
        assert file.saved == [(1, b"\x01", 5), (7, b"\x07", 5)]
        assert writer.failures == 2
        first, last = caplog.records
        assert [(one.name, one.levelname) for one in caplog.records] == [("backfill", "WARNING"), ("backfill", "INFO")]
        assert f"{file.path} cannot be written: No space left on device" in first.message
        assert f"{file.path} is written again; 2 tries have failed" in last.message
        assert ctx.failure is None
        await ctx.close()

    asyncio.run(scene())

"""Whatever is kept beside the log says of which log it is, and is used only with that one: docs/power-cuts.md."""

import asyncio
import contextlib
import os
import shutil
import struct
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.echo_step import Echo
from tests.support.session_scene import LOCAL
from tests.support.stored import write_log
from tickmesh.bus import segments as segments_module
from tickmesh.bus.checkpoint import Checkpoint
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.process import Context
from tickmesh.bus.schema import INTENT, TRADE, Action, Kind, Status
from tickmesh.bus.segments import identities, read_preamble, release, segments
from tickmesh.bus.wire import Event, decode, encode, stamp_sequenced
from tickmesh.nodes.backfill import node as backfill
from tickmesh.nodes.recorder import node as recorder
from tickmesh.nodes.runner.alone import run_step
from tickmesh.nodes.session import node as session
from tickmesh.nodes.session.account import Account
from tickmesh.storage.recent.store import RecentWriter

SUBJECT = "binance.BTCUSDT"


def trade(seq: int, ident: int) -> bytes:
    record = np.zeros(1, TRADE)
    record["trade_id"] = ident
    event = encode(Kind.trade, SUBJECT, record)
    stamp_sequenced(event, seq, 0, time.time_ns())
    return bytes(event)


def raws(count: int, ident: int = 0) -> list[bytes]:
    return [trade(seq, ident + seq) for seq in range(1, count + 1)]


# -- what the log knows of itself


class Boots:
    """A log through power cuts. `kept`: (log_id, all events up to a seq, as they were when that was kept)."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.boot = 0
        self.ident = 0
        self.events: list[int] = []
        self.kept: list[tuple[int, tuple[int, ...]]] = []
        self.open()

    def open(self) -> None:
        self.boot += 1
        self.writer = LogWriter(
            self.folder, segment_bytes=9000, sync_ms=3_600_000, state=lambda: b"s", boot=f"boot {self.boot}"
        )
        self.synced = segments(self.folder)[-1][0]  # of the segments that are on disk with their names
        self.keep()

    def keep(self) -> None:
        self.kept.append((self.writer.log_id, tuple(self.events)))

    def append(self, count: int) -> None:
        for _ in range(count):
            self.ident += 1
            self.events.append(self.ident)
            self.writer.append(len(self.events), [trade(len(self.events), self.ident)])
            self.writer.roll_if_full()
            self.keep()

    def power_cut(self, lost: int) -> None:
        """What came since the last sync may be gone: here `lost` events of it, whole segments among them."""
        stays = max(len(self.events) - lost, self.writer.durable)
        self.writer._let_go()
        for first, path in reversed(segments(self.folder)):
            if first > max(stays, self.synced):
                path.unlink()
                continue
            data = path.read_bytes()
            end = read_preamble(path).size
            for stop, batch in segments_module.scan(data, end):
                end = stop if batch.last <= stays else end
            os.truncate(path, end)
            break
        del self.events[stays:]
        self.open()

    def restart(self) -> None:
        """A process that is killed, or stopped: the same boot, the same identity."""
        self.writer._let_go()
        self.boot -= 1
        self.open()


deeds = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 9)), st.tuples(st.just("power_cut"), st.integers(0, 12)),
        st.just(("restart",)), st.just(("release",)),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=60)
@given(deeds)
def test_what_was_kept_is_of_this_log_exactly_where_its_events_are(what):
    with tempfile.TemporaryDirectory() as folder:
        log = Boots(Path(folder))
        for deed, *numbers in what:
            if deed == "release":
                release(log.folder, log.writer.durable)
            else:
                getattr(log, deed)(*numbers)
        reader = LogReader(log.folder)
        for log_id, events in log.kept:
            same = tuple(log.events[: len(events)]) == events
            assert (reader.foreign(len(events), log_id) == "") == same, (events, log.events, identities(log.folder))
        assert "has never been that" in reader.foreign(1, 4711)
        log.writer._let_go()


def test_identities_outlive_the_segments_and_are_found_in_logs_of_older_versions(tmp_path, monkeypatch):
    """A head of an older version has only its own log_id."""
    whole = segments_module.head_bytes
    monkeypatch.setattr("tickmesh.bus.log_writer.head_bytes", lambda *words: whole(*words[:4], ()))
    log = Boots(tmp_path)
    first = log.writer.log_id
    log.append(3)
    log.power_cut(0)
    log.append(30)
    second = log.writer.log_id
    assert [one.log_id for one in identities(tmp_path)] == [first, second]
    monkeypatch.undo()
    log.power_cut(0)  # the new version opens it
    log.append(30)
    assert release(tmp_path, 60) > 1 and LogReader(tmp_path).first >= 34
    third = log.writer.log_id
    assert [tuple(one) for one in identities(tmp_path)] == [(first, 1), (second, 4), (third, 34)]
    reader = LogReader(tmp_path)
    assert reader.foreign(3, first) == reader.foreign(33, second) == reader.foreign(63, third) == ""
    assert "has only what came up to 3" in reader.foreign(4, first)
    log.writer._let_go()


# -- checkpoints


@pytest.fixture
def config(tmp_path):
    (tmp_path / "mesh.toml").write_text("")
    loaded = load(tmp_path, {"checkpoint_s": 0.05})
    yield loaded
    shutil.rmtree(loaded.outbox_dir, ignore_errors=True)


def other_log(config, seq: int) -> int:
    """A checkpoint is made of a log, which is then moved away; what is there now has 24 events. Returns the old log's id."""
    write_log(config.log_dir, raws(max(seq, 1)))
    log_id = LogReader(config.log_dir).log_id
    shutil.move(config.log_dir, config.log_dir.with_name("moved away"))
    write_log(config.log_dir, raws(24, ident=1000))
    return log_id


def alerts(folder: Path) -> list[dict]:
    found = [event.map() for event in LogReader(folder).events() if event.kind == Kind.alert]
    return [one for one in found if one["what"] == "checkpoint not used"]


async def session_resumes(ctx: Context) -> int:
    node = session.Session(ctx, LOCAL)
    (await node.rebuild()).close()
    return len(node.account.state.orders)


async def backfill_resumes(ctx: Context) -> int:
    node = backfill.Backfill(ctx)
    node.restore()
    return node.seq


async def step_resumes(ctx: Context) -> int:
    """Gives at which seq it went on: its `run` event says so."""
    running = asyncio.create_task(run_step(ctx, Echo))
    while not (ready := ctx.config.run_dir / f"ready/{ctx.name}.json").exists() and not running.done():
        await asyncio.sleep(0.005)
    ctx.stop.set()
    await running
    ready.unlink()
    (run,) = [event.map() for event in LogReader(ctx.producer.folders[0]).events() if event.kind == Kind.run]
    return run["resumed_seq"] - run["replayed"]


def state_of(name: str) -> bytes:
    if name == "model-x":
        return bytes([7])
    if name == "backfill":
        from tickmesh.nodes.backfill.plan import Plan

        return Plan(1.0, lambda: 1.0).state()
    account = Account()
    record = np.zeros(1, INTENT)
    record["client_order_id"], record["action"], record["quantity_lots"] = b"old", Action.NEW, 5
    intent = decode(encode(Kind.intent, SUBJECT, record))
    account.read(decode(account.build_pending_new(intent, 7)))
    assert account.order("old").status == Status.PendingNew
    return account.pack()


RESUMES = {"session": session_resumes, "backfill": backfill_resumes, "model-x": step_resumes}


@pytest.mark.parametrize("seq", [9, 5000], ids=["a number that both logs have", "beyond the end"])
@pytest.mark.parametrize("name", RESUMES)
def test_a_checkpoint_of_a_log_that_was_moved_away_is_not_used_and_that_is_said(config, caplog, name, seq):
    log_id = other_log(config, 9)
    Checkpoint(config.checkpoint_dir, name).save(seq, state_of(name), log_id)

    async def go():
        ctx = Context(config, name)
        resumed = await RESUMES[name](ctx)
        said = alerts(ctx.producer.folders[0])
        await ctx.close()
        return resumed, said

    resumed, said = asyncio.run(go())
    assert resumed == 0, "nothing of the other log is known"
    (alert,) = said
    assert f"it is of log {log_id:016x}" in alert["why"] and alert["target"] == name
    assert alert["why"] in caplog.text


@pytest.mark.parametrize("name", RESUMES)
def test_a_checkpoint_of_this_log_is_used_without_a_word_also_after_a_power_cut(config, caplog, name):
    """The cut takes what came after seq 20 and gives the log a new identity; the checkpoint is older than that."""
    writer = LogWriter(config.log_dir, boot="before", sync_ms=3_600_000)
    for event in raws(24):
        writer.append(writer.last + 1, [event])
    writer._sync_now()
    Checkpoint(config.checkpoint_dir, name).save(9, state_of(name), writer.log_id)
    writer._let_go()
    later = LogWriter(config.log_dir, boot="after")
    assert later.log_id != writer.log_id
    later.close()

    async def go():
        ctx = Context(config, name)
        resumed = await RESUMES[name](ctx)
        with contextlib.suppress(AttributeError):
            assert alerts(ctx._producer.folders[0]) == []
        await ctx.close()
        return resumed

    assert asyncio.run(go()) == {"session": 1, "backfill": 9, "model-x": 9}[name]
    assert "checkpoint" not in caplog.text


def test_a_checkpoint_without_an_identity_is_believed_where_the_log_is_older(config):
    """Versions before this one wrote 0."""
    checkpoint = Checkpoint(config.checkpoint_dir, "backfill")
    write_log(config.log_dir, raws(24))
    checkpoint.save(9, b"state", 0)
    log = LogReader(config.log_dir)
    assert checkpoint.load(log) == (9, b"state", "")
    os.utime(checkpoint.path, ns=(0, 10**9))
    loaded = checkpoint.load(log)
    assert loaded.seq == 0 and "was written before" in loaded.unused
    checkpoint.save(25, b"state", 0)
    assert "goes up to seq 25" in checkpoint.load(log).unused


def test_a_torn_checkpoint_is_said_and_a_missing_one_is_not(config):
    write_log(config.log_dir, raws(24))
    checkpoint, log = Checkpoint(config.checkpoint_dir, "backfill"), LogReader(config.log_dir)
    assert checkpoint.load(log) == (0, b"", "")
    checkpoint.save(9, b"state", log.log_id)
    whole = checkpoint.path.read_bytes()
    for torn in (whole[:-1], whole[:10], b"", whole[:-1] + b"!"):
        checkpoint.path.write_bytes(torn)
        assert checkpoint.load(log).seq == 0 and "is torn" in checkpoint.load(log).unused
    checkpoint.path.write_bytes(struct.pack("<8sQQII", b"tickmesh", log.log_id, 9, 5, zlib.crc32(b"state")) + b"state")
    assert checkpoint.load(log).seq == 9


def test_a_recent_store_that_is_ahead_of_its_log_begins_anew(config):
    """An older copy of the log was put back: its identity is the same, its end is not."""
    write_log(config.log_dir, raws(24))
    log = LogReader(config.log_dir)
    store = RecentWriter(config.recent_dir, log.log_id, last=24)
    store.put([Event(bytearray(raw)) for raw in raws(24)])
    store.commit()
    store.close()
    log_id = log.log_id
    shutil.rmtree(config.log_dir)
    writer = LogWriter(config.log_dir, new_id=lambda: log_id)
    for event in raws(10):
        writer.append(writer.last + 1, [event])
    writer.close()

    async def go():
        ctx = Context(config, "recorder")
        node = recorder.Recorder(ctx)
        assert node.recent.recent_seq < 24
        said = alerts_of_recent(ctx)
        node.recent.close()
        node.archive.close()
        await ctx.close()
        return said

    (alert,) = asyncio.run(go())
    assert "holds events up to seq 24" in alert["why"]


def alerts_of_recent(ctx: Context) -> list[dict]:
    return [event.map() for event in LogReader(ctx.producer.folders[0]).events() if event.kind == Kind.alert]

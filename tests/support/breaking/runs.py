"""The writers that are stopped: each runs from nothing to its end, and goes on where it was when it is run again.

To have another one stopped at every step: write its `work` and `check`, and add a `Run` to RUNS.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

import tickmesh.storage.archive.writer
from tests.support.breaking.stops import Acknowledged, Run
from tests.support.breaking.watch import Watch
from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.checkpoint import Checkpoint
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.process import Context
from tickmesh.bus.schema import TRADE, Kind
from tickmesh.bus.segments import LogFull, read_preamble, release, segments
from tickmesh.bus.sockets import LANES, OutboxFull, Producer, Publisher
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.recorder import node as recorder
from tickmesh.nodes.sequencer import node as sequencer
from tickmesh.storage.archive.reader import ArchiveReader, read_watermark
from tickmesh.storage.recent.environment import Environment
from tickmesh.storage.recent.reader import RecentReader
from tickmesh.storage.recent.store import RecentWriter

ENOUGH_S = 15.0  # for a run that goes on at all, however slow the machine is; stops.PATIENCE_S is above it
TRIES = 50  # of a call that a full disk refuses, before the run ends with the refusal
LOG = dict(segment_bytes=9000, outbox_segment_bytes=4000, sync_ms=2, keep_segments=2)
RECORDER = dict(commit_ms=5, segment_s=0.05, segment_events=30, recent_hours=2e6)


def config_of(root: Path) -> Config:
    """A mesh under `root`; its outboxes too, so that their calls are seen."""
    shm = root / "shm"
    shm.mkdir(exist_ok=True)
    os.environ["TICKMESH_TMPFS"] = str(shm)
    (root / "mesh.toml").touch()
    mesh = load(root).mesh
    small = msgspec.structs.replace(  # smaller than a user may ask for: everything happens in some milliseconds
        mesh, log=msgspec.structs.replace(mesh.log, **LOG), recorder=msgspec.structs.replace(mesh.recorder, **RECORDER)
    )
    return Config(small, root)


def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits until a condition holds; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not go on"
        time.sleep(0.0005)


def patiently(call: Callable[[], object], *refusals: type[Exception]) -> None:
    """Calls again a little later, as a process does that is refused by a full disk."""
    for left in reversed(range(TRIES)):
        try:
            call()
            return
        except refusals:
            if not left:
                raise
            time.sleep(0.0005)


# -- the log alone

EVENTS = Market(0).mixed(150)  # made once, the same bytes in every trial


def write_the_log(root: Path, acknowledged: Acknowledged) -> None:
    """Appends, rolls, syncs, releases, closes, and opens again in the middle."""
    folder = root / "data" / "log"
    for end in (80, len(EVENTS)):
        writer = LogWriter(folder, segment_bytes=10_000, sync_ms=1, state=lambda: b"what the writer knows")
        assert writer.last >= acknowledged["appended"], f"{acknowledged['appended']} was appended, {writer.last} is there"
        while writer.last < end:
            first = writer.last + 1
            batch = EVENTS[first - 1 : min(first + first % 4, end)]
            patiently(lambda: writer.append(first, batch), LogFull)  # noqa: B023 - called at once
            acknowledged["appended"] = writer.last
            with contextlib.suppress(LogFull):  # the sequencer's tick does so
                writer.roll_if_full()
            if first % 9 == 0:
                until(lambda: writer.durable >= first or writer._sync_error)  # noqa: B023
            acknowledged.more("durable", writer.durable)
            if first % 11 == 0:
                release(folder, max(writer.durable - 40, 0), keep=2)
        writer.close()


def check_the_log(root: Path, acknowledged: Acknowledged) -> None:
    """Asserts that the log has everything, and nothing else."""
    folder = root / "data" / "log"
    log = LogReader(folder)
    got = {event.seq: bytes(event.raw) for event in log.events(log.first - 1)}
    assert list(got) == list(range(log.first, len(EVENTS) + 1))
    assert log.first <= max(acknowledged["durable"] - 39, 1)
    assert all(EVENTS[seq - 1] == raw for seq, raw in got.items())
    assert log.durable == len(EVENTS) >= acknowledged["durable"]
    assert {read_preamble(path).log_id for _, path in segments(folder)} == {log.log_id}
    assert not list(folder.glob("*.new"))


# -- sequencer and producers

TRADES = 60


def trade(number: int) -> bytearray:
    """Builds an event of one trade."""
    record = np.zeros(1, TRADE)
    record["trade_id"] = number
    return encode(Kind.trade, "binance.BTCUSDT", record, first_id=number, last_id=number)


def sequence(root: Path, acknowledged: Acknowledged) -> None:
    """Two lines publish the same trades; the sequencer takes, appends, rolls and frees the outboxes."""
    config = config_of(root)
    sequencer.CURSOR_NS = sequencer.SWEEP_NS = 0  # at every tick
    core = sequencer.Sequencer(config)
    assert core.log.last >= acknowledged["rung"], f"{acknowledged['rung']} was rung, {core.log.last} is in the log"
    core.logged.append(lambda _batch: acknowledged.more("rung", core.log.last))
    feeds = [Producer(config, name) for name in ("feed-1", "feed-2")]
    for feed in feeds:
        assert feed.number >= acknowledged[feed.name]
    while any(feed.number < TRADES for feed in feeds):
        for feed in feeds:
            if feed.number < TRADES:
                patiently(lambda: feed.publish([trade(feed.number + 1)]), OutboxFull)  # noqa: B023 - called at once
                acknowledged[feed.name] = feed.number
        core.turn()
        if feeds[0].number % 5 == 0:
            core.tick()
    until(lambda: (core.turn(), core.tick(), core.arbiter.copies.duplicates.get("feed-1", 0) + trades(config) >= TRADES)[2])
    until(lambda: (core.tick(), not core.waiting)[1])
    sequencer.drain(core, 0.01)
    core.close()
    for feed in feeds:
        feed.close()


def trades(config: Config) -> int:
    """How many trades are in the log."""
    return sum(event.kind == Kind.trade for event in LogReader(config.log_dir).events())


def check_the_sequence(root: Path, acknowledged: Acknowledged) -> None:
    """Asserts that every trade is in the log once and in order."""
    config = config_of(root)
    events = list(LogReader(config.log_dir).events())
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(events) >= acknowledged["rung"]
    assert [event.last_id for event in events if event.kind == Kind.trade] == list(range(1, TRADES + 1))
    assert not [event for event in events if event.kind == Kind.gap]


# -- the recorder


def events_around_midnight(count: int) -> list[bytes]:
    """So many events, the first ones before midnight."""
    market = Market(0, START + DAY - 25_000_000)
    return [market.clock() if i == 3 else market.trade() for i in range(count)]


RECORDED = 60
RECORDED_EVENTS = events_around_midnight(RECORDED)


def prepare_a_log(root: Path) -> None:
    """Writes a day's end and the next day's beginning, in segments small enough that they are released."""
    write_log(config_of(root).log_dir, RECORDED_EVENTS[:50], segment_bytes=6000, size=7)


class WatermarkContext(Context):
    """A recorder's context that publishes nothing, and acknowledges watermarks."""

    def __init__(self, config: Config, acknowledged: Acknowledged):
        super().__init__(config, "recorder")
        self.acknowledged = acknowledged

    def publish(self, events: list[bytearray]) -> None:
        """Acknowledges what a watermark says, and drops the events."""
        for event in map(Event, events):
            if event.kind == Kind.watermark:
                self.acknowledged.more("archived", int(event.records["archived_seq"][0]))


def record(root: Path, acknowledged: Acknowledged) -> None:
    """Fills both stores, cuts at midnight and at 40 events, releases the log; the last events are logged meanwhile."""
    recorder.RETRY_S = recorder.LOOK_S = 0.01
    tickmesh.storage.archive.writer.HELD_BYTES_MAX = 3000  # a cut has more: it is laid aside in pieces
    config = config_of(root)
    if config.archive_dir.exists():
        assert read_watermark(config.archive_dir).archived_seq >= acknowledged["archived"]
    log = LogWriter(config.log_dir, segment_bytes=config.log.segment_bytes, sync_ms=config.log.sync_ms)
    publisher = Publisher(config, log, [log.last] * LANES)

    async def main() -> None:
        ctx = WatermarkContext(config, acknowledged)
        ended = asyncio.create_task(recorder.run(ctx))
        deadline = time.monotonic() + ENOUGH_S
        while not ended.done() and acknowledged["archived"] < RECORDED and time.monotonic() < deadline:
            if log.last < RECORDED and config.archive_dir.exists() and read_watermark(config.archive_dir).archived_seq >= 25:
                with contextlib.suppress(LogFull):
                    publisher.publish(log.last + 1, [bytearray(raw) for raw in RECORDED_EVENTS[log.last : log.last + 10]])
            publisher.ring_silent(0)
            await asyncio.sleep(0.002)
        ctx.stop.set()
        try:
            await ended
        finally:
            await ctx.close()

    asyncio.run(main())
    publisher.close()
    log.close()


def count_lmdb(watch: Watch) -> None:
    """Has LMDB's commits counted as one call each: it writes through C."""
    watch.wrap(RecentWriter, "_commit", "commit")
    watch.wrap(RecentWriter, "_prune", "commit")
    watch.wrap(Environment, "__init__", "open")


def check_both_stores(root: Path, acknowledged: Acknowledged) -> None:
    """Asserts that archive and recent store have everything."""
    config = config_of(root)
    archive = ArchiveReader(config.archive_dir)
    assert archive.archived_seq == RECORDED >= acknowledged["archived"]
    assert archive.check() == []
    assert [bytes(event.raw) for event in archive.events()] == RECORDED_EVENTS
    assert not list(config.archive_dir.rglob("*.tmp"))
    with RecentReader(config.recent_dir) as stored:
        assert stored.recent_seq == RECORDED
        got = [bytes(event.raw) for topic in stored.topics() for event in stored.read(topic)]
    log = LogReader(config.log_dir)
    # A store that had to begin anew holds what the log still has.
    assert sorted(got) == sorted(RECORDED_EVENTS) or len(got) >= RECORDED - log.first + 1
    assert log.first > 1 and log.last == RECORDED


# -- small files


def prepare_a_short_log(root: Path) -> None:
    """Writes a log of 20 events."""
    write_log(config_of(root).log_dir, EVENTS[:20])


def save_checkpoints(root: Path, acknowledged: Acknowledged) -> None:
    """Saves a checkpoint after each event of a short log."""
    checkpoint = Checkpoint(root / "data" / "checkpoints", "model-x")
    log = LogReader(config_of(root).log_dir)
    log_id = log.log_id
    loaded = checkpoint.load(log)
    seq = loaded.seq
    assert seq >= acknowledged["saved"] and not loaded.unused
    while seq < 20:
        seq += 1
        patiently(lambda: checkpoint.save(seq, state_at(seq), log_id), OSError)  # noqa: B023 - its callers suppress it and try again
        acknowledged["saved"] = seq


def state_at(seq: int) -> bytes:
    """The state of the checkpoint at a seq."""
    return bytes([seq]) * (1000 * (seq % 4) + 5)


def check_checkpoints(root: Path, acknowledged: Acknowledged) -> None:
    """Asserts that the last checkpoint is there."""
    log = LogReader(config_of(root).log_dir)
    assert Checkpoint(root / "data" / "checkpoints", "model-x").load(log) == (20, state_at(20), "")


# -- an outbox on a disk, through a power cut


def publish_through_a_power_cut(root: Path, acknowledged: Acknowledged) -> None:
    """Publishes 40 events in one boot; in the next one the outbox begins anew, with 30 others."""
    config = config_of(root)
    import tickmesh.bus.log_writer

    if acknowledged["first"] < 40:
        tickmesh.bus.log_writer.boot_id = lambda: "before the power cut"
        publish_trades(config, acknowledged, "first", 40)
    tickmesh.bus.log_writer.boot_id = lambda: "after it"
    publish_trades(config, acknowledged, "second", 30)


def publish_trades(config: Config, acknowledged: Acknowledged, name: str, upto: int) -> None:
    """Publishes trades until the producer's number is `upto`, and acknowledges them under `name`."""
    producer = Producer(config, "session")
    assert producer.number >= acknowledged[name]
    while producer.number < upto:
        patiently(lambda: producer.publish([trade(producer.number + 1)]), OutboxFull)
        acknowledged[name] = producer.number
    producer.close()


FAILED_WRITES = ("RAM has no room for its outbox: ", "published nothing for ")


def check_the_outbox(root: Path, acknowledged: Acknowledged) -> None:
    """Asserts that the outbox has the second boot's trades, each as its own number, and alerts where writes failed."""
    outbox = LogReader(config_of(root).outbox("session"))
    events = list(outbox.events())
    numbers = [event.number for event in events]
    assert numbers == list(range(1, len(numbers) + 1)), "the outbox of the second boot, from its first number"
    trades = [event for event in events if event.kind == Kind.trade]
    alerts = [event.map() for event in events if event.kind == Kind.alert]
    assert len(trades) + len(alerts) == len(numbers) >= 30 and all(trade.last_id == trade.number for trade in trades)
    assert all(trade.number <= 30 for trade in trades), "behind the last one there is its alert at most"
    assert all((alert["what"], alert["target"]) == ("outbox", "session") for alert in alerts), alerts
    failed = [alert for alert in alerts if alert["why"].startswith(FAILED_WRITES)]
    assert len(failed) <= acknowledged["met"], "a write that failed is told of once; of a kill there is nothing to tell"
    back = [alert for alert in alerts if alert["why"].endswith(" has room again")]
    assert len(back) <= len(failed) == len(alerts) - len(back), alerts
    assert {event.epoch for event in events} == {outbox.log_id}, "nothing of the first boot is published again"


RUNS = {
    run.name: run
    for run in (
        Run("log", write_the_log, check_the_log, ("appended", "durable")),
        Run("sequencer", sequence, check_the_sequence, ("rung", "feed-1", "feed-2")),
        Run("recorder", record, check_both_stores, ("archived",), prepare_a_log, count_lmdb, ("LogWriter",)),
        Run("checkpoint", save_checkpoints, check_checkpoints, ("saved",), prepare_a_short_log, elsewhere=("LogWriter",)),
        Run("outbox", publish_through_a_power_cut, check_the_outbox, ("first", "second")),
    )
}

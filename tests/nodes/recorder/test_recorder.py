"""The recorder puts every event of the log into both stores, once, whatever kills it."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tickmesh.storage.archive.file
from tests.support.places import PROJECT
from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.process import Context
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.sockets import Publisher
from tickmesh.bus.wire import Event
from tickmesh.nodes.recorder import node as recorder
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.archive.reader import ArchiveReader, list_files, read_watermark
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.coverage.intervals import merge
from tickmesh.storage.query import coverage
from tickmesh.storage.recent.reader import RecentReader

SETTINGS = """
[recorder]
commit_ms = 10
segment_s = 0.2
segment_events = 2000
[log]
sync_ms = 5
segment_bytes = 65536
outbox_segment_bytes = 65536
keep_segments = 2
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    (tmp_path / "mesh.toml").write_text(SETTINGS)
    config = load(tmp_path)
    yield config
    subprocess.run(["rm", "-rf", str(config.outbox_dir)], check=False)


class Sequencer:
    """Only its writing half: appends made-up events to the log and rings."""

    def __init__(self, config: Config):
        self.log = LogWriter(config.log_dir, segment_bytes=config.log.segment_bytes, sync_ms=config.log.sync_ms)
        self.publisher = Publisher(config, self.log, [self.log.last] * 3)

    def publish(self, raws: list[bytes]) -> None:
        self.publisher.publish(self.log.last + 1, [bytearray(raw) for raw in raws])

    def close(self) -> None:
        self.publisher.close()
        self.log.close()


class Ear(Context):
    """A context whose words stay here."""

    def __init__(self, config: Config):
        super().__init__(config, "recorder")
        self.said: list[Event] = []

    def publish(self, events: list[bytearray]) -> None:
        self.said += [Event(event) for event in events]

    def watermarks(self) -> list[tuple[int, int]]:
        return [tuple(e.records[0].tolist()) for e in self.said if e.kind == Kind.watermark]


def now_market(seq: int = 0) -> Market:
    """Events of today: older than `recent_hours` would not go into a new recent store."""
    return Market(seq, time.time_ns() - 10**9)


def run_until(config: Config, done: Callable[[Ear], bool], sequencer: Sequencer | None = None, most_s=10.0) -> Ear:
    """Runs the recorder here until `done` (or for `most_s`), then stops it as SIGTERM would."""

    async def main() -> Ear:
        ctx = Ear(config)
        task = asyncio.create_task(recorder.run(ctx))
        deadline = time.monotonic() + most_s
        while not done(ctx) and not task.done() and time.monotonic() < deadline:
            if sequencer is not None:
                sequencer.publisher.ring_silent(20_000_000)
            await asyncio.sleep(0.01)
        ctx.stop.set()
        try:
            await task
        finally:
            await ctx.close()
        return ctx

    return asyncio.run(main())


def whole(config: Config, raws: list[bytes]) -> None:
    """Both stores hold exactly these events."""
    archive = ArchiveReader(config.archive_dir)
    assert archive.archived_seq == len(raws)
    assert [bytes(event.raw) for event in archive.events()] == raws
    assert archive.check() == []
    with RecentReader(config.recent_dir) as recent:
        assert recent.recent_seq == len(raws)
        stored = [bytes(e.raw) for topic in recent.topics() for e in recent.read(topic, limit=1 << 30)]
    assert sorted(stored) == sorted(raws)


def test_at_a_stop_both_stores_hold_the_whole_log(config):
    raws = now_market().mixed(1234)
    write_log(config.log_dir, raws)
    run_until(config, lambda ctx: True)
    whole(config, raws)


def test_it_follows_cuts_says_its_watermark_and_releases_the_log(config):
    raws = now_market().mixed(9000)
    sequencer = Sequencer(config)
    sequencer.publish(raws[:100])
    sent = [100]

    def done(ctx: Ear) -> bool:
        if sent[0] < len(raws):
            sequencer.publish(raws[sent[0] : sent[0] + 100])
            sent[0] += 100
            return False
        if sent[0] == len(raws):
            sequencer.close()
            sent[0] += 1
        return any(archived == len(raws) for archived, _ in ctx.watermarks())

    ctx = run_until(config, done)
    whole(config, raws)
    archived = [a for a, _ in ctx.watermarks()]
    assert archived == sorted(set(archived)) and archived[-1] == len(raws)
    assert all(recent <= len(raws) for _, recent in ctx.watermarks())
    log = LogReader(config.log_dir)
    assert 1 < log.first <= len(raws)
    assert len(list(config.log_dir.glob("*.seg"))) >= config.log.keep_segments
    assert max(f.last - f.first for f in list_files(config.archive_dir)) < 2000
    assert ctx.counters["archived_seq"] == len(raws)


def test_it_never_archives_what_is_not_durable(config, monkeypatch):
    raws = now_market().mixed(500)
    write_log(config.log_dir, raws)
    monkeypatch.setattr(LogReader, "durable", property(lambda self: 123))
    monkeypatch.setattr(recorder, "DURABLE_WAIT_S", 0.1)
    run_until(config, lambda ctx: bool(ctx.watermarks()))
    assert read_watermark(config.archive_dir).archived_seq == 123
    monkeypatch.undo()
    run_until(config, lambda ctx: True)
    whole(config, raws)


def test_midnight_cuts_at_once(tmp_path, config):
    (tmp_path / "mesh.toml").write_text(SETTINGS.replace("segment_s = 0.2", "segment_s = 1000"))
    config = load(tmp_path)
    midnight = (time.time_ns() // DAY + 1) * DAY
    raws = Market(0, midnight - 50_000_000).mixed(100)
    sequencer = Sequencer(config)
    sequencer.publish(raws)
    ctx = run_until(config, lambda ctx: bool(ctx.watermarks()), sequencer)
    sequencer.close()
    assert len(ctx.watermarks()) == 1
    assert {(f.first, f.last) for f in list_files(config.archive_dir)} == {(1, 49), (50, 100)}
    whole(config, raws)


@pytest.mark.parametrize("store", ["archive", "recent"])
def test_a_full_disk_is_told_counted_and_made_good(config, monkeypatch, caplog, store):
    raws = now_market().mixed(3000)
    write_log(config.log_dir, raws[:1500])
    monkeypatch.setattr(recorder, "RETRY_S", 0.1)
    full = [True]

    if store == "archive":
        real_fsync = os.fsync

        def fsync(fd: int) -> None:
            if full[0] and ".h5" in os.readlink(f"/proc/self/fd/{fd}"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real_fsync(fd)

        monkeypatch.setattr(tickmesh.storage.archive.file.os, "fsync", fsync)
    else:
        real_commit = recorder.RecentWriter._commit

        def commit(self, events, seq):
            if full[0]:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real_commit(self, events, seq)

        monkeypatch.setattr(recorder.RecentWriter, "_commit", commit)
    sequencer = Sequencer(config)

    def done(ctx: Ear) -> bool:
        if full[0] and ctx.counters.get(f"{store}_failures", 0) >= 2:
            full[0] = False
            sequencer.publish(raws[1500:])
        if full[0]:
            return False
        return ctx.counters["archived_seq"] == 3000 and ctx.counters["recent_seq"] == 3000

    ctx = run_until(config, done, sequencer)
    sequencer.close()
    assert ctx.counters[f"{store}_failures"] >= 2
    told = caplog.text
    assert told.count("No space left") == 1 and "Nothing is lost" in told
    whole(config, raws)


def test_a_folder_that_cannot_be_written_is_waited_for(config, monkeypatch, caplog):
    raws = now_market().mixed(100)
    write_log(config.log_dir, raws)
    monkeypatch.setattr(recorder, "RETRY_S", 0.05)
    config.archive_dir.parent.mkdir(parents=True, exist_ok=True)
    config.archive_dir.write_text("a file where a folder should be")
    said = []

    def done(ctx: Ear) -> bool:
        said.append(caplog.text)
        if "cannot be written" in "".join(said) and config.archive_dir.is_file():
            config.archive_dir.unlink()
        return "archived_seq" in ctx.counters

    run_until(config, done)
    whole(config, raws)


def test_an_archive_and_a_log_that_do_not_meet_are_refused(config):
    raws = now_market().mixed(3000)
    write_log(config.log_dir, raws)
    run_until(config, lambda ctx: True)
    subprocess.run(["rm", "-rf", str(config.log_dir)], check=True)
    for other in (raws[:1000], now_market().mixed(4000)):  # shorter than the archive, and longer
        write_log(config.log_dir, other)
        with pytest.raises(ArchiveError, match="not of one mesh: the archive ends at seq 3000; .* has never been that"):
            run_until(config, lambda ctx: False)
        subprocess.run(["rm", "-rf", str(config.log_dir)], check=True)
    write_log(config.log_dir, raws[:1000])
    subprocess.run(["rm", "-rf", str(config.archive_dir)], check=True)
    for path in sorted(config.log_dir.glob("*.seg"))[:1]:
        path.unlink()
    with pytest.raises(ArchiveError, match="ends at seq 0 and .* begins at"):
        run_until(config, lambda ctx: False)


def test_the_recent_store_is_filled_again_after_a_reboot(config):
    raws = now_market().mixed(500)
    write_log(config.log_dir, raws)
    run_until(config, lambda ctx: True)
    from tickmesh.storage.recent.store import RecentWriter

    RecentWriter(config.recent_dir, LogReader(config.log_dir).log_id, boot="another boot").close()
    run_until(config, lambda ctx: True)
    whole(config, raws)


def test_a_new_recent_store_begins_with_the_last_hours(config):
    now_ns, hour_ns = time.time_ns(), 3600 * 10**9
    market = Market(0, now_ns - 5 * hour_ns)
    raws = market.mixed(150)
    market.seq_ns = now_ns - 3 * hour_ns
    raws += market.mixed(150)
    write_log(config.log_dir, raws)
    run_until(config, lambda ctx: True)
    with RecentReader(config.recent_dir) as recent:
        kept = [e.seq for topic in recent.topics() for e in recent.read(topic)]
        assert recent.recent_seq == 300
    assert (min(kept), max(kept)) == (151, 300)
    assert ArchiveReader(config.archive_dir).archived_seq == 300


def test_days_that_are_over_are_sealed_while_it_runs(config):
    raws = Market(seq_ns=START + DAY - 150_000_000).mixed(400)
    write_log(config.log_dir, raws)
    ctx = run_until(config, lambda ctx: ctx.counters.get("sealed_days") == 1, most_s=60)
    assert ctx.counters["sealed_days"] == 1 and ctx.counters["free_bytes"] > 0
    archive = ArchiveReader(config.archive_dir)
    assert {(f.day, f.part) for f in archive.files} == {("2024-08-09", "day"), ("2024-08-10", "cut")}
    assert [bytes(event.raw) for event in archive.events()] == raws


def test_a_damaged_cut_is_an_alert_and_no_end(config):
    raws = Market(seq_ns=START + DAY - 150_000_000).mixed(400)
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), 400, 1000)
    writer.close()
    path = next(f.path for f in list_files(config.archive_dir) if f.day == "2024-08-09" and f.folder == "binance/BTCUSDT")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-500])
    ctx = run_until(config, lambda ctx: ctx.counters.get("seal_failures") == 1, most_s=60)
    alerts = [event.map() for event in ctx.said if event.kind == Kind.alert]
    assert [alert["what"] for alert in alerts] == ["seal"] and path.name in alerts[0]["why"]
    assert read_watermark(config.archive_dir).archived_seq == 400


@pytest.mark.mesh
def test_killed_again_and_again_it_loses_and_doubles_nothing(config, tmp_path):
    raws = now_market().mixed(12_000)
    sequencer = Sequencer(config)
    environment = {**os.environ, "TICKMESH_ROOT": str(tmp_path), "PYTHONPATH": str(PROJECT)}
    rng = np.random.default_rng(3)

    def start() -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", "recorder"], env=environment, cwd=PROJECT)

    ready = config.run_dir / "ready" / "recorder.json"
    process, kills, sent = start(), 0, 0
    kill_at: float | None = None
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and (sent < len(raws) or kills < 4):
        if sent < len(raws):
            sequencer.publish(raws[sent : sent + 20])
            sent += 20
        else:
            sequencer.publisher.ring_silent(0)
        time.sleep(0.005)
        if kill_at is None:
            with contextlib.suppress(OSError, ValueError):
                if json.loads(ready.read_text())["pid"] == process.pid:
                    kill_at = time.monotonic() + float(rng.uniform(0, 0.5))
        elif time.monotonic() >= kill_at and kills < 4:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills, kill_at, process = kills + 1, None, start()
    assert kills == 4 and sent == len(raws)
    while not ready.exists() or json.loads(ready.read_text())["pid"] != process.pid:
        time.sleep(0.02)
        assert time.monotonic() < deadline
    sequencer.close()  # the sequencer stops before the recorder
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    whole(config, raws)
    assert not list(config.archive_dir.rglob("*.tmp"))


def test_what_is_cut_here_is_not_read_back_and_what_was_cut_before_is(config, monkeypatch):
    raws, added, read_back = now_market().mixed(6000), coverage.added, []
    monkeypatch.setattr(coverage, "added", lambda config, *span: (read_back.append(span), added(config, *span))[1])
    sequencer = Sequencer(config)

    def recorded(ctx: Ear) -> bool:
        archived = max((seq for seq, _ in ctx.watermarks()), default=0)
        if archived >= sequencer.log.last < len(raws):
            sequencer.publish(raws[sequencer.log.last : sequencer.log.last + 2000])
        return archived == len(raws)

    contexts = [run_until(config, recorded, sequencer)]
    sequencer.close()
    assert len(contexts[0].watermarks()) > 2 and read_back == []
    # None of it has reached the log, as after a kill: the next recorder reads the files.
    contexts.append(run_until(config, lambda ctx: bool(ctx.watermarks())))
    assert read_back == [(0, len(raws))]
    for ctx in contexts:
        said = [e.records for e in ctx.said if e.kind == Kind.coverage and e.subject == "binance.BTCUSDT"]
        assert merge(said).tolist() == added(config, 0, len(raws))[0]["binance.BTCUSDT"].tolist()


def test_what_each_cut_proves_is_said_before_its_watermark_and_again_only_after_a_crash(config):
    raws = now_market().mixed(3000)
    write_log(config.log_dir, raws)
    ctx = run_until(config, lambda ctx: bool(ctx.watermarks()))
    kinds = [e.kind for e in ctx.said if e.kind in (Kind.coverage, Kind.watermark)]
    assert kinds[-1] == Kind.watermark and Kind.coverage in kinds

    def said(ctx: Ear, subject: str) -> list:
        return [e.records for e in ctx.said if e.kind == Kind.coverage and e.subject == subject]

    (archived, _), subject = ctx.watermarks()[0], "binance.BTCUSDT"
    assert merge(said(ctx, subject)).tolist() == coverage.added(config, 0, archived)[0][subject].tolist()
    # The watermark has not reached the log: as if it had crashed before. It says it all again.
    ctx = run_until(config, lambda ctx: bool(ctx.watermarks()))
    assert merge(said(ctx, subject)).tolist() == coverage.read(config, subject).tolist()
    # What the log knows is not said again.
    market = Market(len(raws), time.time_ns())
    record = np.zeros(1, DTYPES[Kind.watermark])
    record["archived_seq"] = len(raws)
    write_log(config.log_dir, [market.event(Kind.watermark, "recorder", record, producer=b"recorder")])
    assert coverage.published_until(config) == len(raws)
    ctx = run_until(config, lambda ctx: bool(ctx.watermarks()))
    assert said(ctx, subject) == []

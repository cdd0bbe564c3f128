"""When the archive is cut, and how: few files of many instruments, little memory, nothing lost whatever dies meanwhile."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tickmesh.storage.archive.file
import tickmesh.storage.archive.writer
from tests.support.places import PROJECT
from tests.support.stored import DAY, START, Market, batches, write_log
from tickmesh.bus.config import load
from tickmesh.bus.layout import header_slice
from tickmesh.bus.segments import segments, used_bytes
from tickmesh.bus.settings import Instrument, LogSettings, Mesh, RecorderSettings
from tickmesh.nodes.recorder import cutting
from tickmesh.nodes.recorder.cutting import DAY_S, Waiting, due, interval_s
from tickmesh.storage.archive.file import ArchiveFile, ArchiveFull
from tickmesh.storage.archive.merge import Interrupted
from tickmesh.storage.archive.reader import ArchiveReader, list_files, read_watermark
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import coverage, reader

STEP_S = 10


def day_of(settings: RecorderSettings, files: int, bytes_per_s: float) -> tuple[list[str], float]:
    """Why it was cut, one day long; and the most bytes that have waited."""
    reasons, cut_s, most = [], 0, 0.0
    for now_s in range(STEP_S, DAY_S + STEP_S, STEP_S):
        waiting = Waiting(
            int((now_s - cut_s) * 50),
            int((now_s - cut_s) * bytes_per_s),
            now_s - cut_s,
            midnight=now_s >= DAY_S and cut_s < DAY_S,
        )
        most = max(most, waiting.bytes)
        if reason := due(settings, files, waiting):
            reasons.append(reason)
            cut_s = now_s
    return reasons, most


def test_a_hundred_instruments_make_less_than_two_thousand_files_a_day():
    settings = RecorderSettings()
    instruments = tuple(Instrument(symbol=f"S{i}") for i in range(100))
    files = cutting.files_expected(Mesh(instruments=instruments))
    assert files == 102
    for gigabytes in (1, 10, 50, 75):  # of log a day
        reasons, most = day_of(settings, files, gigabytes * 1e9 / DAY_S)
        assert len(reasons) * files < 2000, (gigabytes, len(reasons), len(reasons) * files)
        assert most < settings.segment_bytes + STEP_S * gigabytes * 1e9 / DAY_S, "the log never waits with more"
        assert reasons[-1] == "midnight"
    reasons, _ = day_of(settings, files, 1000)
    assert 1200 < len(reasons) * files < 1800


def test_a_few_instruments_are_cut_every_few_minutes():
    settings = RecorderSettings()
    reasons, _ = day_of(settings, 2, 1000)
    assert 500 < len(reasons) < 900 and len(reasons) * 2 < 2000
    assert interval_s(settings, 1) == 60.0 and interval_s(settings, 60) == pytest.approx(3240)


def test_why_it_is_cut():
    settings = RecorderSettings(segment_s=100.0, segment_bytes=1 << 30, segment_events=5000)
    calm = Waiting(10, 1 << 20, 5.0)
    assert due(settings, 10, calm) == ""
    assert due(settings, 10, calm._replace(age_s=100.0)) == "age"
    assert due(settings, 10, calm._replace(bytes=1 << 30)) == "bytes"
    assert due(settings, 10, calm._replace(events=5000)) == "events"
    assert due(settings, 10, calm._replace(midnight=True)) == "midnight"
    assert due(settings, 10, calm._replace(low=True)) == "", "a cut gives too little back"
    assert due(settings, 10, calm._replace(low=True, bytes=cutting.SPACE_BYTES)) == "space"
    assert due(settings, 10, Waiting(0, 1 << 40, 1e9, midnight=True)) == "", "there is nothing to cut"


def test_what_the_log_keeps_is_bounded_by_what_is_said():
    assert RecorderSettings().segment_bytes == 4 << 30 and LogSettings().keep_segments * LogSettings().segment_bytes == 32 << 20


def many(count: int, market: Market | None = None) -> list[bytes]:
    """Events of five instruments, a few of them much busier than the others, and of nodes."""
    market = market or Market()
    rng = np.random.default_rng(7)
    out = []
    while len(out) < count:
        which = min(int(rng.pareto(0.7)), 4)
        subject = f"binance.S{which:02d}USDT"
        step = len(out) % 9
        if step == 0:
            out.append(market.health())
        elif step == 1:
            levels = [(100 + int(rng.integers(9)), int(rng.integers(3)), 1), (200 + int(rng.integers(9)), 1 + step, -1)]
            out.append(market.depth(levels, market.seq, snapshot=rng.random() < 0.2, subject=subject))
        elif step == 2 and rng.random() < 0.1:
            out.append(market.gap(4, subject))
        else:
            out.append(market.trade(subject=subject))
    return out


def contents(folder: Path) -> dict[str, tuple]:
    """By folder and name: checksum, kinds, book before the first event, ledger with its state."""
    out = {}
    for file in list_files(folder):
        with ArchiveFile(file.path) as segment:
            segment.check()
            book, ledger = segment.book(), segment.ledger()
            out[f"{file.folder}/{file.path.name}"] = (
                segment.attributes["content_sha256"], segment.attributes["files"], segment.part,
                book and (book.valid, book.levels().tobytes()), ledger and (ledger.rows.tobytes(), ledger.after),
            )  # fmt: skip
    return out


def test_a_cut_that_does_not_fit_into_memory_is_the_same(tmp_path, monkeypatch):
    raws = many(1500)
    whole = ArchiveWriter(tmp_path / "whole")
    whole.archive(batches(raws), 1500, 1000, 5)
    monkeypatch.setattr(tickmesh.storage.archive.writer, "HELD_BYTES_MAX", 20_000)
    aside, laid = [], ArchiveWriter._lay_aside
    monkeypatch.setattr(ArchiveWriter, "_lay_aside", lambda *args: (aside.extend(args[2]), laid(*args)))
    pieces = ArchiveWriter(tmp_path / "pieces")
    pieces.archive(batches(raws), 1500, 1000, 5)
    assert len(aside) > 5
    assert contents(tmp_path / "pieces") == contents(tmp_path / "whole")
    archive = ArchiveReader(tmp_path / "pieces")
    assert [bytes(event.raw) for event in archive.events()] == raws and archive.check() == []
    assert not list((tmp_path / "pieces").rglob(".*.tmp"))
    for writer in (whole, pieces):  # and both go on in the same way, and seal the same day
        more = many(200, Market(1500, START + DAY))
        writer.archive(batches(more), 1700, 1000, 5)
        Sealer(writer).seal("2024-08-09")
        writer.close()
    assert contents(tmp_path / "pieces") == contents(tmp_path / "whole")


def test_memory_is_bounded_however_long_a_cut_is(tmp_path, monkeypatch):
    monkeypatch.setattr(tickmesh.storage.archive.writer, "HELD_BYTES_MAX", 60_000)
    most, add = [0], tickmesh.storage.archive.writer.Cut.add

    def measured(cut, *events):
        add(cut, *events)
        most[0] = max(most[0], sum(a.nbytes for tables in cut.parts.values() for table in tables for a in table))

    monkeypatch.setattr(tickmesh.storage.archive.writer.Cut, "add", measured)
    writer = ArchiveWriter(tmp_path)
    writer.archive(batches(many(2000)), 2000, 10**9, 5)
    writer.close()
    assert 50_000 < most[0] <= 60_000


def test_a_large_cut_that_fails_anywhere_is_made_again(tmp_path, monkeypatch):
    raws = many(500)
    monkeypatch.setattr(tickmesh.storage.archive.writer, "HELD_BYTES_MAX", 20_000)
    writer = ArchiveWriter(tmp_path / "whole")
    writer.archive(batches(raws), 500, 300, 5)
    wanted = contents(tmp_path / "whole")
    place, calls = tickmesh.storage.archive.file.place, [0]
    for failing in range(1, 400, 13):
        calls[0] = 0

        def failing_place(*args, failing=failing):
            calls[0] += 1
            if calls[0] == failing:
                raise ArchiveFull("no room")
            place(*args)

        folder = tmp_path / f"{failing}"
        writer = ArchiveWriter(folder)
        monkeypatch.setattr(tickmesh.storage.archive.writer, "place", failing_place)
        try:
            writer.archive(batches(raws), 500, 300, 5)
        except ArchiveFull:
            hidden = [path for path in folder.rglob(".*") if path.is_file()]
            assert not hidden and {file.last for file in list_files(folder)} <= {writer.archived_seq}
            monkeypatch.setattr(tickmesh.storage.archive.writer, "place", place)
            writer.archive(batches(raws), 500, 300, 5)
        else:
            assert calls[0] < failing
            break
        finally:
            writer.close()
        assert contents(folder) == wanted
    else:
        pytest.fail("it never ran through")
    assert failing > 15


def test_a_cut_that_is_asked_to_stop_leaves_everything_to_the_log(tmp_path, monkeypatch):
    monkeypatch.setattr(tickmesh.storage.archive.writer, "HELD_BYTES_MAX", 40_000)
    raws, asked = many(1500), [0]

    def stop():
        asked[0] += 1
        return asked[0] > 12

    writer = ArchiveWriter(tmp_path)
    with pytest.raises(Interrupted):
        writer.archive(batches(raws), 1500, 10**9, 5, stop=stop)
    assert writer.archived_seq == 0 and not [p for p in tmp_path.rglob("*.tmp")] and not list_files(tmp_path)
    writer.archive(batches(raws), 1500, 10**9, 5)
    writer.close()
    assert [bytes(event.raw) for event in ArchiveReader(tmp_path).events()] == raws


SETTINGS = """
[recorder]
segment_bytes = 1048576
[log]
sync_ms = 5
segment_bytes = 65536
keep_segments = 2
"""
KILLED = """
import tickmesh.storage.archive.writer
tickmesh.storage.archive.writer.HELD_BYTES_MAX = 100_000
from tickmesh.nodes.__main__ import main
main(["recorder"])
"""


@pytest.mark.mesh
def test_a_recorder_killed_again_and_again_between_few_cuts_loses_nothing(tmp_path):
    """A real process: it cuts when the log has grown, not before; what it has not cut yet readers see all the same."""
    (tmp_path / "mesh.toml").write_text(SETTINGS)
    config = load(tmp_path)
    raws = many(12_000, Market(0, time.time_ns() - 3 * 10**9))
    write_log(config.log_dir, raws)
    rng, seen, kills = np.random.default_rng(3), 0, 0
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    try:
        while used_bytes(config.log_dir, seen) >= 1 << 20:
            process = subprocess.Popen([sys.executable, "-c", KILLED], cwd=tmp_path, env=environment, stderr=subprocess.PIPE)
            ready = tmp_path / "run/ready/recorder.json"
            deadline = time.monotonic() + 30
            while not (ready.exists() and json.loads(ready.read_text())["pid"] == process.pid):
                assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
                time.sleep(0.01)
            wait = time.monotonic() + (float(rng.uniform(0, 0.6)) if kills < 6 else 20.0)
            while time.monotonic() < wait and read_watermark(config.archive_dir).archived_seq == seen:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
            process.stderr.close()
            kills += 1
            assert kills < 60
            now = read_watermark(config.archive_dir).archived_seq
            assert now >= seen and segments(config.log_dir)[0][0] <= now + 1, "a segment went before it was archived"
            seen = now
            assert [bytes(event.raw) for event in reader.events(config)] == raws, "archive and log tail are one stream"
    finally:
        subprocess.run(["rm", "-rf", str(config.outbox_dir)], check=False)
    assert kills >= 3
    spans = {file.span for file in ArchiveReader(config.archive_dir).files}
    assert len(spans) <= 4, "it cuts when a megabyte waits: three of them are in the log"
    subject = "binance.S00USDT"
    rows = reader.arrays(config, f"trade.{subject}", gaps="ignore")
    assert len(rows) == sum(b"S00USDT" in raw[header_slice("subject")] and raw[8] == 2 for raw in raws)
    assert len(coverage.read(config, subject))

"""A sealed day depends on the log alone, whatever cut it, killed it or filled the disk; readers see it or its cuts."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tickmesh.storage.archive.merge
from tests.support.places import PROJECT
from tests.support.sealed_days import DAYS, SUBJECT, archive, three_days
from tests.support.stored import DAY, START, batches
from tickmesh.bus.layout import HEADER_SIZE, header_slice
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.catalog import day_of, list_files, read_watermark
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, ArchiveFull
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.seal import Interrupted, Sealer, day_sha256
from tickmesh.storage.archive.writer import ArchiveWriter


def seal(folder: Path, most: int = 99) -> list[str]:
    writer = ArchiveWriter(folder)
    sealer, sealed = Sealer(writer), []
    try:
        while len(sealed) < most and (day := sealer.due()) is not None:
            sealer.seal(day)
            sealed.append(day)
    finally:
        writer.close()
    return sealed


def read(folder: Path, *args, **kwargs) -> list[bytes]:
    return [bytes(event.raw) for event in ArchiveReader(folder).events(*args, **kwargs)]


def sums(folder: Path) -> dict[str, str]:
    """content_sha256 of every sealed file and overlay, by path."""
    out = {}
    for file in list_files(folder):
        if file.part in ("day", "overlay"):
            with ArchiveFile(file.path) as segment:
                out[str(file.path.relative_to(folder))] = segment.attributes["content_sha256"]
    return out


def test_a_sealed_day_is_one_file_a_folder_and_gives_the_same_events(tmp_path):
    raws = three_days()
    archive(tmp_path, raws, 70)
    before = {k: ArchiveReader(tmp_path).columns(k, SUBJECT) for k in (Kind.trade, Kind.depth, Kind.line, Kind.gap)}
    exponents = ArchiveReader(tmp_path).exponents(SUBJECT)
    assert seal(tmp_path) == DAYS
    reader = ArchiveReader(tmp_path)
    assert read(tmp_path) == raws
    assert read(tmp_path, 77, 255) == raws[77:255]
    trades = [raw for raw in raws[100:300] if raw[8] == Kind.trade and b"ETHUSDT" in raw[header_slice("subject")]]
    assert read(tmp_path, 100, 300, [Kind.trade], "binance.ETHUSDT") == trades
    assert reader.check() == []
    assert reader.exponents(SUBJECT) == exponents
    for kind, rows in before.items():
        assert len(rows) and (reader.columns(kind, SUBJECT) == rows).all()
        start, end = START + DAY // 3, START + 2 * DAY + 7
        part = rows[(rows["seq_ns"] >= start) & (rows["seq_ns"] < end)]
        assert (reader.columns(kind, SUBJECT, start, end) == part).all()
    days = {}
    for file in reader.files:
        days.setdefault((file.folder, file.day), []).append(file.part)
        assert file.path.stat().st_mode & 0o222 == 0
    folders = {"binance/BTCUSDT", "binance/ETHUSDT", "mesh/system", "raw/feed-1"}
    assert {key: parts for key, parts in days.items() if key[1] in DAYS} == {(f, d): ["day"] for f in folders for d in DAYS}
    assert {parts[0] for key, parts in days.items() if key[1] not in DAYS} == {"cut"}
    with ArchiveFile(next(f.path for f in reader.files if f.folder == "binance/BTCUSDT")) as segment:
        assert {Kind.line, Kind.coverage, Kind.instrument} <= set(segment.kinds), "what is said of an instrument lies with it"


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 3),
    cuts=st.lists(st.integers(20, 200), min_size=1, max_size=3),
    stops=st.lists(st.integers(0, 60), max_size=1),
    window=st.integers(25, 400),
)
def test_it_does_not_depend_on_cuts_interruptions_and_windows(seed, cuts, stops, window):
    """However the log was cut, whenever sealing was stopped, and however few rows are looked at once: the same content."""
    import tickmesh.storage.hdf5.columns

    raws = three_days(seed, 150)
    with tempfile.TemporaryDirectory() as scratch:
        plain, other = Path(scratch, "plain"), Path(scratch, "other")
        archive(plain, raws, 1 << 30)
        assert seal(plain) == DAYS
        position = 0
        for index, size in enumerate(cuts):  # new writers in between: books and exponents are found again from the files
            upto = len(raws) if index == len(cuts) - 1 else position + len(raws) // len(cuts)
            archive(other, raws, size, upto)
            position = upto
            if index % 2:
                seal(other, 1)
        before, tickmesh.storage.hdf5.columns.WINDOW = tickmesh.storage.hdf5.columns.WINDOW, window
        try:
            for budget in stops:
                left = [budget]

                def stop(left=left) -> bool:
                    left[0] -= 1
                    return left[0] < 0

                writer = ArchiveWriter(other)
                sealer = Sealer(writer)
                try:
                    if (day := sealer.due()) is not None:
                        sealer.seal(day, stop)
                except Interrupted:
                    assert not list(other.rglob("*.merge"))
                    assert read(other) == raws
                finally:
                    writer.close()
            seal(other)
            assert read(other) == raws
        finally:
            tickmesh.storage.hdf5.columns.WINDOW = before
        assert sums(other) == sums(plain)


def test_the_book_is_at_the_days_start_and_at_every_hours_first_change(tmp_path):
    raws = three_days(2)
    archive(tmp_path, raws, 60)
    books = {}
    for file in ArchiveReader(tmp_path).files:  # cuts: their own images, followed event by event
        if file.folder == "binance/BTCUSDT":
            with ArchiveFile(file.path) as segment:
                for kind in (Kind.depth, Kind.gap):
                    if kind in segment.kinds:
                        for header in segment.table(kind).headers:
                            book = segment.book_at(int(header["seq"]))
                            books[int(header["seq"])] = (int(header["seq_ns"]), book.valid, book.levels().tolist())
    seal(tmp_path)
    seen = 0
    for file in ArchiveReader(tmp_path).files:
        if file.folder == "binance/BTCUSDT" and file.part == "day":
            mine = {seq: row for seq, row in sorted(books.items()) if day_of(row[0]) == file.day}
            firsts = {}
            for seq, row in mine.items():
                firsts.setdefault(f"{row[0] // 3_600_000_000_000 % 24:02d}", seq)
            with ArchiveFile(file.path) as segment:
                images = segment.images()
                assert images[0] == (0, "book")
                assert [(seq, name) for seq, name in images[1:]] == [(seq, f"books/{hour}") for hour, seq in firsts.items()]
                for seq, name in images[1:]:
                    book = segment.book(name)
                    assert (book.valid, book.levels().tolist()) == mine[seq][1:]
                    seen += 1
                for seq, row in mine.items():
                    assert segment.book_at(seq).levels().tolist() == row[2]
    assert seen > 10


KILLED = """
import sys; sys.path[:0] = [{root!r}]
from pathlib import Path
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.archive.seal import Sealer
from tests.support.stored import batches
from tests.support.sealed_days import three_days
raws = three_days(3, 90)
writer = ArchiveWriter(Path({folder!r}))
sealer = Sealer(writer)
print("up", flush=True)
while writer.archived_seq < len(raws) or sealer.due():
    if writer.archived_seq < len(raws):
        writer.archive(batches(raws), min(len(raws), writer.archived_seq + 40), 40, 5)
    if (day := sealer.due()) is not None:
        sealer.seal(day)
print("done", flush=True)
"""


def test_killed_at_any_moment_it_is_whole_and_comes_out_the_same(tmp_path):
    raws = three_days(3, 90)
    archive(tmp_path / "plain", raws, 1 << 30)
    seal(tmp_path / "plain")
    folder = tmp_path / "killed"
    rng = np.random.default_rng(5)
    code = KILLED.format(root=str(PROJECT), folder=str(folder))
    for kill in range(6):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        if kill < 5:  # the last one may finish
            time.sleep(float(rng.uniform(0, 0.5 + kill / 2)))
            process.send_signal(signal.SIGKILL)
        process.stdout.read()
        process.wait()
        process.stdout.close()
        archived = read_watermark(folder).archived_seq
        assert read(folder) == raws[:archived]
    assert process.returncode == 0 and archived == len(raws)
    ArchiveWriter(folder).close()
    assert sums(folder) == sums(tmp_path / "plain")
    assert not list(folder.rglob("*.merge")) and not list(folder.rglob("*.tmp"))


def test_a_reader_that_listed_the_cuts_goes_on_in_the_day(tmp_path):
    raws = three_days()
    archive(tmp_path, raws, 70)
    reader = ArchiveReader(tmp_path)
    events = reader.events()
    seen = [bytes(next(events).raw) for _ in range(100)]
    rows = reader.columns(Kind.trade, SUBJECT)
    assert seal(tmp_path) == DAYS
    assert seen + [bytes(event.raw) for event in events] == raws
    stale = ArchiveReader(tmp_path)
    stale.files, stale.mark = reader.files, reader.mark
    assert (stale.columns(Kind.trade, SUBJECT) == rows).all()


def test_a_full_disk_leaves_the_cuts_and_is_tried_again(tmp_path, monkeypatch):
    raws = three_days()
    archive(tmp_path, raws, 60)
    left = [0]
    real = tickmesh.storage.archive.merge.Spool.write

    def write(self, data) -> int:
        left[0] -= len(memoryview(data).cast("B"))
        if left[0] < 0 and self.error is None:
            self.error = OSError(28, os.strerror(28))
        return len(memoryview(data).cast("B")) if self.error else real(self, data)

    monkeypatch.setattr(tickmesh.storage.archive.merge.Spool, "write", write)
    writer = ArchiveWriter(tmp_path)
    sealer = Sealer(writer)
    failures = 0
    for budget in (0, 100, 3_000, 20_000, 60_000, 100_000, 1 << 30):
        left[0] = budget
        try:
            while (day := sealer.due()) is not None:
                sealer.seal(day)
        except ArchiveFull as error:
            assert "No space left" in str(error) and "Nothing is lost" in str(error)
            failures += 1
        assert not list(tmp_path.rglob("*.merge"))
        assert read(tmp_path) == raws
    writer.close()
    assert failures >= 4
    assert read_watermark(tmp_path).sealed_seq == sum(day_of(Event(r).seq_ns) in DAYS for r in raws)
    assert ArchiveReader(tmp_path).check() == []


@pytest.mark.mesh
def test_on_a_disk_that_is_really_full(tmp_path):
    data = tmp_path / "small"
    data.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", data], capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    try:
        raws = three_days()
        archive(data, raws, 120)
        free = os.statvfs(data).f_bavail * os.statvfs(data).f_frsize
        failures = 0
        writer = ArchiveWriter(data)
        sealer = Sealer(writer)
        for keep in (0, 4096, 40_000, 90_000, 140_000):
            (data / "ballast").write_bytes(bytes(free - keep))
            try:
                while (day := sealer.due()) is not None:
                    sealer.seal(day)
            except ArchiveFull as error:
                assert "No space left" in str(error)
                failures += 1
            assert read(data) == raws
            (data / "ballast").unlink()
        assert failures >= 3
        while (day := sealer.due()) is not None:
            sealer.seal(day)
        writer.close()
        assert read(data) == raws and ArchiveReader(data).check() == []
    finally:
        subprocess.run(["umount", "-l", data], check=True)


def test_a_missing_or_damaged_cut_is_told_and_stops_the_seal(tmp_path):
    raws = three_days()
    archive(tmp_path, raws, 60)
    path = next(f.path for f in list_files(tmp_path) if f.folder == "binance/BTCUSDT" and f.day == DAYS[1])
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(ArchiveError, match="2024-08-10 .* A file is missing"):
        seal(tmp_path)
    assert read_watermark(tmp_path).sealed_seq > 0
    assert not [f for f in list_files(tmp_path) if (f.part, f.day) == ("day", DAYS[1])]
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ArchiveError, match=path.name):
        seal(tmp_path)
    path.write_bytes(data)
    assert seal(tmp_path) == DAYS[1:]
    assert read(tmp_path) == raws


def test_a_day_is_due_when_a_later_one_has_begun_and_its_time_has_come(tmp_path):
    raws = three_days()
    archive(tmp_path, raws, 60, upto=60)
    writer = ArchiveWriter(tmp_path)
    assert Sealer(writer).due() is None, "its last event may be to come"
    writer.archive(batches(raws), len(raws), 60, 5)
    assert Sealer(writer, 60).due(START + DAY + 59 * 10**9) is None
    assert Sealer(writer, 60).due(START + DAY + 60 * 10**9) == DAYS[0]
    writer.close()


def test_every_part_of_a_day_has_its_checksum(tmp_path):
    raws = three_days()
    archive(tmp_path, raws)
    seal(tmp_path)
    path = next(f.path for f in list_files(tmp_path) if f.folder == "binance/BTCUSDT" and f.part == "day")
    day = day_sha256(tmp_path, DAYS[0])
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["gap/records/state"][0] += 1
    with pytest.raises(ArchiveError, match=r"\(gap\) does not match"):
        ArchiveFile(path).check()
    assert len(day) == 64 and day != day_sha256(tmp_path, DAYS[1])


# -- trades by venue time


@pytest.mark.parametrize("sealed", [0, 2])
def test_by_venue_time_each_trade_is_there_once_in_order_of_its_id(tmp_path, sealed):
    raws = three_days(4)
    archive(tmp_path, raws, 60)
    seal(tmp_path, sealed)
    table = [
        (int(r["trade_id"]), int(r["venue_ns"]))
        for raw in raws
        if raw[8] == Kind.trade and b"BTCUSDT" in raw[header_slice("subject")]
        for r in np.frombuffer(raw, DTYPES[Kind.trade], offset=HEADER_SIZE)
    ]
    strays = sum(raw[10] & Flag.REPAIRED for raw in raws)
    assert strays > 5
    rng = np.random.default_rng(6)
    for _ in range(20):
        start, end = sorted(int(x) for x in rng.integers(START - 3 * DAY, START + 4 * DAY, 2))
        rows = ArchiveReader(tmp_path).columns(Kind.trade, SUBJECT, start, end, by="venue")
        assert rows["trade_id"].tolist() == sorted(i for i, ns in table if start <= ns < end)
    rows = ArchiveReader(tmp_path).columns(Kind.trade, SUBJECT, by="venue")
    assert rows["trade_id"].tolist() == sorted(i for i, _ in table)


def test_only_trades_are_read_by_venue_time(tmp_path):
    archive(tmp_path, three_days())
    with pytest.raises(ArchiveError, match="depth cannot be read in order of the venue's ids"):
        ArchiveReader(tmp_path).columns(Kind.depth, SUBJECT, by="venue")


def test_the_manifest_tells_what_is_sealed(tmp_path):
    raws = three_days()
    archive(tmp_path, raws)
    seal(tmp_path, 1)
    tree = json.loads((tmp_path / "watermark.json").read_bytes())
    assert tree["archived_seq"] == len(raws)
    assert tree["sealed_seq"] == sum(day_of(Event(raw).seq_ns) == DAYS[0] for raw in raws)

"""Archive files of schema version 1 beside those of today: one stream, one day, one checksum."""

import h5py
import numpy as np
import pytest

from tests.support.archived import archive, read
from tests.support.schema_v1 import archive_as_version_1
from tests.support.stored import DAY, START, Market
from tickmesh.bus.schema import DTYPES, SCHEMA_VERSION, Kind
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.rebuild import rebuild_day
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter

DAYS = ["2024-08-09", "2024-08-10"]
SUBJECT = "binance.BTCUSDT"
NAMES = {Kind.signal: "model", Kind.fill: "fee_asset", Kind.cursor: "producer", Kind.line: "line"}  # wider than they were


def days(count: int = 60) -> list[bytes]:
    """Two UTC days and the beginning of a third, with every kind whose layout has changed."""
    market = Market(seq_ns=START)
    out = [market.instrument((-2, -5)), market.depth([(90, 1, 1), (110, 2, -1)], 5, snapshot=True)]
    while market.seq_ns < START + 2 * DAY:
        kind = list(NAMES)[market.seq % 4]
        records = np.zeros(1 + market.seq % 3, DTYPES[kind])
        records[NAMES[kind]] = [b"imbalance", b"BNB", b"feed-1"][market.seq % 3]
        subject = "sequencer" if kind == Kind.cursor else SUBJECT
        out += [
            market.event(kind, subject, records, producer=b"model-imbalance"),
            market.trade(step_ns=2 * DAY // count),
            market.depth([(90 + market.seq % 9, market.seq % 4, 1)], 6 + market.seq, step_ns=2 * DAY // count),
        ]
    return [*out, market.trade(), market.clock()]


def seal(folder) -> None:
    writer = ArchiveWriter(folder)
    sealer = Sealer(writer)
    while (day := sealer.due()) is not None:
        sealer.seal(day)
    writer.close()


def sums(folder) -> list[tuple[str, str, int]]:
    """Folder, checksum and schema version of every file, in order."""
    found = []
    for file in ArchiveReader(folder).files:
        with ArchiveFile(file.path) as segment:
            own = segment.attributes
            found.append((file.folder, str(own["content_sha256"]), int(own["schema_version"])))
    return found


@pytest.fixture(scope="module")
def raws():
    return days()


@pytest.fixture(scope="module")
def today(tmp_path_factory, raws):
    """The same events in an archive that was never older, its two days sealed."""
    folder = tmp_path_factory.mktemp("today")
    archive(folder, raws, 40)
    seal(folder)
    return folder


def test_cuts_of_both_versions_are_one_stream_and_are_sealed_into_days_of_today(tmp_path, raws, today):
    archive(tmp_path, raws, 40, upto=60)
    archive_as_version_1(tmp_path)
    archive(tmp_path, raws, 40)
    assert {version for *_, version in sums(tmp_path)} == {1, SCHEMA_VERSION}
    assert read(tmp_path) == raws and ArchiveReader(tmp_path).check() == []
    for kind in NAMES:
        subject = "sequencer" if kind == Kind.cursor else SUBJECT
        rows, expected = (ArchiveReader(folder).columns(kind, subject) for folder in (tmp_path, today))
        assert rows.dtype == expected.dtype and rows.tolist() == expected.tolist() and len(rows) > 10
    seal(tmp_path)
    assert read(tmp_path) == raws and ArchiveReader(tmp_path).check() == []
    assert sums(tmp_path) == sums(today), "the same files, however old their cuts were"


def test_a_sealed_day_of_version_1_is_read_checked_and_made_again(tmp_path, raws, today):
    archive(tmp_path, raws, 40)
    seal(tmp_path)
    archive_as_version_1(tmp_path)
    assert {version for *_, version in sums(tmp_path)} == {1} and sums(tmp_path) != sums(today)
    assert read(tmp_path) == raws and ArchiveReader(tmp_path).check() == []
    assert read(tmp_path, 37, 59) == raws[37:59], "from the middle of a day"
    used, rows = rebuild_day(tmp_path, tmp_path / "no log", DAYS[1], tmp_path / "again")
    assert used == "archive" and len(rows) == 2 and all(row.same for row in rows)


def test_damage_in_a_file_of_version_1_is_found(tmp_path, raws):
    archive(tmp_path, raws[:40])
    archive_as_version_1(tmp_path)
    path = next(file.path for file in ArchiveReader(tmp_path).files if file.folder == "binance/BTCUSDT")
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["signal/records/model"][0] = b"else"
    with pytest.raises(ArchiveError, match="does not match content_sha256"), ArchiveFile(path) as segment:
        segment.check()

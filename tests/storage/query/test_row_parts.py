"""Rows in parts are the rows in one piece, whatever is archived or sealed between two parts; and no more is in memory."""

import tracemalloc

import numpy as np
import pytest

from tests.support.research_scene import SUBJECT, market_events, recorded
from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Mesh
from tickmesh.storage.archive import rows as archive_rows
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import reader, row_parts

KINDS = (Kind.trade, Kind.quote, Kind.depth, Kind.gap, Kind.update, Kind.instrument)
SPANS = ((None, None), (START + DAY, START + 2 * DAY), (START + 5_000_000, None), (None, START + DAY + 20_000_000))


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(archive_rows, "PART_ROWS", 7)
    monkeypatch.setattr(row_parts, "EVENTS_EACH", 5)


@pytest.mark.parametrize("archived", [0.0, 0.5, 1.0])
def test_parts_are_the_rows_of_arrays(tmp_path, small_parts, archived, monkeypatch):
    """The parts by compiled code, as long stretches are; the whole as few rows are read."""
    config = recorded(tmp_path, archived=archived)
    for kind in KINDS:
        for start_ns, end_ns in SPANS:
            monkeypatch.setattr(archive_rows, "COMPILED_ROWS", 1 << 40)
            whole = reader.arrays(config, f"{kind.name}.{SUBJECT}", start_ns, end_ns, gaps="ignore")
            monkeypatch.setattr(archive_rows, "COMPILED_ROWS", 0)
            parts = list(row_parts.row_parts(config, kind, SUBJECT, start_ns, end_ns))
            assert b"".join(part.tobytes() for part in parts) == whole.tobytes(), (kind, start_ns, end_ns)
            assert all(len(part) <= 15 for part in parts), "of depth an event has three rows"
            assert row_parts.count_rows(config, kind, SUBJECT, start_ns, end_ns) == len(whole)
            until = int(whole["seq"][len(whole) // 2]) if len(whole) else 0
            some = list(row_parts.row_parts(config, kind, SUBJECT, start_ns, end_ns, until))
            assert sum(len(part) for part in some) == int((whole["seq"] <= until).sum())


def test_what_is_archived_and_sealed_between_two_parts_is_read_once(tmp_path, small_parts):
    """The files that were listed at the first part are gone at the third."""
    raws = market_events(30)
    config = Config(Mesh(), tmp_path)
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), len(raws) // 2, 40)
    whole = reader.arrays(config, f"trade.{SUBJECT}", gaps="ignore")
    parts = row_parts.row_parts(config, Kind.trade, SUBJECT)
    found = [next(parts), next(parts)]
    writer.archive_log(LogReader(config.log_dir), len(raws), 40)
    listed = [file.path for file in ArchiveReader(config.archive_dir).files]
    sealer = Sealer(writer)
    while (day := sealer.due()) is not None:
        sealer.seal(day)
    writer.close()
    assert not all(path.exists() for path in listed)
    found += parts
    assert np.concatenate(found).tobytes() == whole.tobytes()


def test_memory_is_bounded_by_a_part_and_not_by_the_period(tmp_path):
    config = Config(Mesh(), tmp_path)
    market = Market()
    raws = [market.trade() for _ in range(60_000)]
    write_log(config.log_dir, raws, segment_bytes=1 << 22, size=2_000)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), len(raws), 60_000)
    writer.close()

    def peak(rows: int) -> int:
        archive_rows.PART_ROWS, before = rows, archive_rows.PART_ROWS
        try:
            tracemalloc.start()
            assert sum(len(part) for part in row_parts.row_parts(config, Kind.trade, SUBJECT)) == 60_000
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            archive_rows.PART_ROWS = before

    assert peak(2_000) < peak(60_000) / 2

"""A file that is not there is never read over: whoever asks for its time is refused with its range, others read on."""

import warnings

import pytest

from tests.support.sealed_days import DAYS, SUBJECT, three_days
from tests.support.stored import DAY, START, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Mesh
from tickmesh.storage.archive.absent import Absent, absent_spans
from tickmesh.storage.archive.catalog import File, Pruned, Watermark, list_files, read_watermark
from tickmesh.storage.archive.file import ArchiveError
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import bars, coverage, reader
from tickmesh.tools.export import Export

TRADE = f"trade.{SUBJECT}"
FOLDER = SUBJECT.replace(".", "/")


@pytest.fixture
def mesh(tmp_path):
    """One sealed day, then cuts; the log has all of it but is not asked for what is archived."""
    raws = three_days(7, 60)
    config = Config(Mesh(), tmp_path)
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), len(raws), 12)
    Sealer(writer).seal(DAYS[0])
    writer.close()
    return config


def whole(config):
    """Each way of reading all of one topic."""
    return {
        "frame": lambda: reader.frame(config, TRADE, gaps="ignore"),
        "by id": lambda: reader.arrays(config, TRADE, order="id", gaps="ignore"),
        "events": lambda: list(reader.events(config, kinds=(Kind.trade,), subject=SUBJECT)),
        "kinds": lambda: list(reader.events(config, kinds=(Kind.trade,))),
        "bars": lambda: bars.bars(config, SUBJECT, 3600, gaps="ignore"),
        "coverage": lambda: coverage.read(config, SUBJECT),
        "export": lambda: Export(config, config.root / "out", "parquet", "mantissa").plan([], None, None, True),
    }


def own_files(config):
    return [file for file in ArchiveReader(config.archive_dir).files if file.folder == FOLDER]


def test_one_file_that_is_away_is_named_by_whoever_reads_its_time(mesh):
    for read in whole(mesh).values():
        read()
    files = own_files(mesh)
    for file in (files[0], files[len(files) // 2], files[-1]):
        away = mesh.archive_dir / "away"
        file.path.rename(away)
        for name, read in whole(mesh).items():
            with pytest.raises(ArchiveError, match=f"{file.path.name} is not there, with events of seq {file.first} to"):
                read()
                pytest.fail(f"{name} read over {file}")
        away.rename(file.path)
    for read in whole(mesh).values():
        read()


def test_a_whole_cut_or_day_that_is_away_is_named_by_its_seq(mesh):
    files = own_files(mesh)
    for file in (files[0], files[len(files) // 2], files[-1]):
        gone = [one.path for one in ArchiveReader(mesh.archive_dir).files if one.span == file.span]
        for path in gone:
            path.rename(f"{path}.away")
        for name, read in whole(mesh).items():
            with pytest.raises(ArchiveError, match=f"has no file with seq {file.first} to {file.last}[ ,]"):
                read()
                pytest.fail(f"{name} read over {file}")
        for path in gone:
            path.with_name(f"{path.name}.away").rename(path)


def test_a_time_without_it_is_read_on(mesh):
    archived = ArchiveReader(mesh.archive_dir)
    before = len(archived.columns(Kind.trade, SUBJECT, START + DAY))
    own_files(mesh)[0].path.unlink()  # of the first day
    assert len(ArchiveReader(mesh.archive_dir).columns(Kind.trade, SUBJECT, START + DAY)) == before > 0
    with pytest.raises(ArchiveError, match="is not there"):
        reader.arrays(mesh, TRADE, START, START + DAY - 1, gaps="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(ArchiveReader(mesh.archive_dir).columns(Kind.trade, "binance.ETHUSDT"))


def test_a_range_of_sealed_days_is_of_the_days_in_between_and_one_of_cuts_may_be_of_those_beside_it(tmp_path):
    def file(first, last, day, part):
        return File(first, last, tmp_path, FOLDER, day, part)

    sealed = [file(1, 10, "2024-08-09", "day"), file(21, 30, "2024-08-11", "day")]
    cuts = [file(41, 50, "2024-08-12", "cut")]
    mark = Watermark(60, 5, 30)
    assert absent_spans([*sealed, *cuts], mark) == [
        Absent(11, 20, "2024-08-10", "2024-08-10", "day"), Absent(31, 40, "2024-08-12", "2024-08-12", "cut"),
        Absent(51, 60, "2024-08-12", "9999", "cut"),
    ]  # fmt: skip
    assert absent_spans(sealed[1:], Watermark(30, 5, 30)) == [Absent(1, 20, "", "2024-08-10", "day")]
    assert absent_spans(sealed[1:], Watermark(30, 5, 30, first_seq=21)) == [], "it begins there"
    pruned = (Pruned("2024-08-10", 11, 20, (FOLDER,)),)
    assert absent_spans(sealed, Watermark(30, 5, 30, pruned)) == []


def test_a_day_that_was_made_again_alone_misses_nothing(tmp_path):
    writer = ArchiveWriter(tmp_path)
    writer.begin_at(101, {})
    writer.close()
    assert read_watermark(tmp_path).first_seq == 101
    assert not list_files(tmp_path)
    assert len(ArchiveReader(tmp_path).columns(Kind.trade, SUBJECT)) == 0

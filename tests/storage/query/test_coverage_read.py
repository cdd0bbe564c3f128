"""The ledger of a stored market, and what a request for data is told about it."""

import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.coverage_scene import SUBJECT, Scene, ledger_of, shown, tables
from tests.support.coverage_stored import MILLISECOND, scene, seq_ns
from tests.support.stored import DAY, START, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import COVERAGE, Coverage, GapState, Kind, Reason
from tickmesh.bus.segments import release
from tickmesh.bus.settings import Mesh
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile
from tickmesh.storage.archive.prune import prune
from tickmesh.storage.archive.reader import ArchiveReader, PrunedWarning
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.coverage.stretch import of_tables
from tickmesh.storage.query import coverage, gaps, reader
from tickmesh.storage.query.gaps import CoverageError, CoverageWarning, coverage_of
from tickmesh.storage.query.times import ReadError

TRADE, DEPTH, QUOTE = (f"{name}.{SUBJECT}" for name in ("trade", "depth", "quote"))


def mesh(folder: Path, made: Scene, archived: int, cut_events: int = 4, keep: int = 1 << 30) -> Config:
    config = Config(Mesh(), folder)
    write_log(config.log_dir, made.raws, segment_bytes=1 << 12, size=3)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), archived, cut_events)
    writer.close()
    release(config.log_dir, archived, keep)
    return config


@pytest.mark.parametrize("archived, keep", [(0, 999), (7, 999), (17, 1), (1000, 1)])
def test_archive_and_log_are_one_ledger(tmp_path, archived, keep):
    made = scene()
    config = mesh(tmp_path, made, min(archived, len(made.raws)), keep=keep)
    assert coverage.read(config, SUBJECT).tolist() == ledger_of(made).tolist()
    assert shown(coverage.read(config, SUBJECT, [Kind.trade])) == [
        ("trade", 1, 7, "complete", "ids"), ("trade", 8, 9, "repaired", "ids"), ("trade", 10, 11, "missing", "retention"),
        ("trade", 12, 20, "complete", "ids"),
    ]  # fmt: skip
    assert coverage.subjects(config) == sorted({SUBJECT, *(i.subject for i in config.instruments)})


def test_only_intervals_of_a_time_are_read(tmp_path):
    config = mesh(tmp_path, scene(), 10)
    rows = coverage.read(config, SUBJECT, [Kind.trade], 8 * 10**9, 10 * 10**9)
    assert [(row[1], row[2]) for row in shown(rows)] == [(8, 9), (10, 11)]


def test_files_of_an_older_program_are_computed(tmp_path):
    made = scene()
    config = mesh(tmp_path, made, len(made.raws))
    for path in config.archive_dir.glob("binance/*/*/*.h5"):
        path.chmod(0o644)
        with h5py.File(path, "r+") as file:
            del file["ledger"]
    assert coverage.read(config, SUBJECT).tolist() == ledger_of(made).tolist()


def test_the_writer_goes_on_with_the_ledger_after_a_restart(tmp_path):
    made = scene()
    config = mesh(tmp_path, made, 5)
    for upto in (6, 13, 14, 20, len(made.raws)):
        writer = ArchiveWriter(config.archive_dir)
        writer.archive_log(LogReader(config.log_dir), upto, 1000)
        writer.close()
        assert coverage.read(config, SUBJECT).tolist() == ledger_of(made).tolist()
    shutil.rmtree(config.log_dir)
    assert coverage.read(config, SUBJECT).tolist() == ledger_of(made).tolist()
    assert ArchiveReader(config.archive_dir).check() == []


@pytest.mark.parametrize("into_the_day", [5, 12, 20, 30])
def test_a_sealed_day_has_the_union_of_its_cuts(tmp_path, into_the_day):
    made = scene(START + DAY - into_the_day * MILLISECOND)
    config = mesh(tmp_path, made, len(made.raws), cut_events=3)
    writer = ArchiveWriter(config.archive_dir)
    Sealer(writer).seal("2024-08-09")
    writer.close()
    (sealed,) = config.archive_dir.glob("binance/BTCUSDT/2024-08-09/*.h5")
    with ArchiveFile(sealed) as segment:
        assert segment.ledger().rows.tolist() == of_tables(tables(made.raws[: into_the_day - 1]), SUBJECT)[0].tolist()
    assert coverage.read(config, SUBJECT).tolist() == ledger_of(made).tolist()
    assert ArchiveReader(config.archive_dir).check() == []
    lost = reader.arrays(config, TRADE, gaps="mask").coverage
    assert shown(coverage.missing(lost)) == [("trade", 10, 11, "missing", "retention")]


def test_what_files_add_is_the_ledger(tmp_path):
    made = scene()
    config = mesh(tmp_path, made, len(made.raws))
    last = [file.last for file in ArchiveReader(config.archive_dir).files]
    parts = [coverage.added(config, low, high)[0][SUBJECT] for low, high in zip([0, *last], last)]
    assert coverage.merge(parts).tolist() == ledger_of(made).tolist()


def test_a_share_is_of_ids_and_of_time(tmp_path):
    rows = coverage.read(mesh(tmp_path, scene(), 0), SUBJECT, [Kind.trade])
    ids, time = coverage.share(rows)
    assert ids == 18 / 20
    assert time == 1 - 3 / 19  # from trade 9 to trade 12, a second each
    assert coverage.share(rows[:0]) == (0.0, 0.0)


# -- requests


def test_a_request_that_touches_what_is_missing_says_so_loudly(tmp_path):
    config = mesh(tmp_path, scene(), 12)
    with pytest.warns(CoverageWarning, match=r"trade.binance.BTCUSDT is missing 1 interval.*ids 10 to 11.*retention") as caught:
        rows = reader.arrays(config, TRADE)
    assert caught[0].filename == __file__, "the warning points at who asked"
    assert rows["trade_id"].tolist() == [*range(1, 8), *range(12, 16), 8, 9, *range(16, 21)]
    assert len(rows.coverage) == 4
    with pytest.warns(CoverageWarning):
        frame = reader.frame(config, DEPTH)
    assert [row["state"] for row in frame.attrs["coverage"]] == ["complete", "missing", "unproven", "complete"]
    with pytest.raises(CoverageError, match="ids 106 to 109") as error:
        reader.frame(config, DEPTH, gaps="raise")
    assert error.value.intervals["first_id"].tolist() == [106, 110]


def test_a_request_beside_what_is_missing_is_quiet(tmp_path):
    made = scene()
    config = mesh(tmp_path, made, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(reader.arrays(config, QUOTE)) == 1
        assert len(reader.arrays(config, f"fill.{SUBJECT}")) == 0
        early = reader.arrays(config, TRADE, seq_ns(made, 1), seq_ns(made, 9))
        assert early["trade_id"].tolist() == [1, 2, 3, 4, 5, 6] and len(early.coverage) == 1
        late = reader.arrays(config, TRADE, seq_ns(made, 13))
        assert late["trade_id"].tolist()[-5:] == [16, 17, 18, 19, 20]
        assert coverage_of(reader.arrays(config, TRADE, gaps="ignore")).tolist() == []


@pytest.mark.parametrize("archived", [0, 9, 12, 30])
@pytest.mark.parametrize("first, last", [(9, 12), (11, 13), (10, 11), (12, 13)])
def test_what_is_missing_at_the_edge_of_a_request_or_in_all_of_it_is_found(tmp_path, archived, first, last):
    """Trade 7 is seq 9, the gap seq 11, trade 12 seq 12: whoever asks for a time in between asks for what is missing."""
    made = Scene().trades(1, 2, 3, 4, 5, 6, 7, 8, 9).quotes(1).lost(Kind.trade, 10, 11).trades(12, 13)
    config = mesh(tmp_path, made, min(archived, len(made.raws)))
    with pytest.raises(CoverageError) as error:
        reader.arrays(config, TRADE, seq_ns(made, first), seq_ns(made, last), gaps="raise")
    assert error.value.intervals[["first_id", "last_id"]].tolist() == [(10, 11)]
    for start, end in ((1, 9), (13, 14)):
        assert len(reader.arrays(config, TRADE, seq_ns(made, start), seq_ns(made, end), gaps="raise")) > 0


def test_a_mask_numbers_the_stretches_between_which_something_is_missing(tmp_path):
    config = mesh(tmp_path, scene(), 12)
    trades = reader.arrays(config, TRADE, gaps="mask")
    stretch = dict(zip(trades["trade_id"].tolist(), trades["stretch"].tolist()))
    assert {stretch[n] for n in range(1, 10)} == {0} and {stretch[n] for n in range(12, 21)} == {1}
    depth = reader.frame(config, DEPTH, gaps="mask")
    assert depth.loc[depth["last_id"] == 112, "stretch"].tolist() == [-1], "changes that belong to no book"
    assert depth.groupby("stretch")["last_id"].max().to_dict() == {-1: 112, 0: 105, 1: 120}


def test_books_before_their_first_snapshot_are_in_no_stretch(tmp_path):
    config = mesh(tmp_path, Scene().change(90, 98).book(100).change(99, 104), 1)
    assert reader.arrays(config, DEPTH, gaps="mask")["stretch"].tolist() == [-1, 0, 0]


def test_changes_without_a_book_and_ids_taken_back_are_told_like_missing_ones(tmp_path):
    made = Scene().change(90, 98).change(99, 99).book(100).change(101, 104).change(105, 108)
    config = mesh(tmp_path, made, 2)
    with pytest.raises(CoverageError, match="cannot be proven in 1 interval of .*no_snapshot: changes are there, but no book"):
        reader.arrays(config, DEPTH, gaps="raise")
    with pytest.warns(CoverageWarning, match="ids 90 to 99, .*no_snapshot"):
        reader.arrays(config, DEPTH)
    assert reader.arrays(config, DEPTH, gaps="mask")["stretch"].tolist() == [-1, -1, 0, 0, 0]
    assert len(reader.arrays(config, DEPTH, seq_ns(made, 4), gaps="raise")) == 2, "behind the book nothing is in doubt"
    quotes = Scene().quotes(5, 900).lost(Kind.quote, 6, 899, GapState.unrecoverable, Reason.contradiction).quotes(7, 8)
    config = mesh(tmp_path / "quotes", quotes, 2)
    with pytest.raises(CoverageError, match="contradiction: ids were said that their own line took back"):
        reader.arrays(config, QUOTE, gaps="raise")
    both = Scene().trades(1, 2, 5).book(100).lost(Kind.depth, 101, 101).change(102, 105)
    config = mesh(tmp_path / "both", both, 0)
    with pytest.raises(CoverageError, match="depth.* is missing 1 interval and cannot be proven in 1 interval of"):
        reader.arrays(config, DEPTH, gaps="raise")


def pruned_days(folder: Path) -> tuple[Config, list[int]]:
    """Three days, each with a hole in its trades; the middle one is pruned. And where each begins, seq_ns."""
    made, begins, number = Scene(), [], 1
    for day in range(3):
        made.seq_ns = START + day * DAY + MILLISECOND
        begins.append(made.seq_ns)
        made.trades(number, number + 1).lost(Kind.trade, number + 2, number + 3).trades(number + 4, number + 5)
        number += 6
    config = mesh(folder, made, len(made.raws), cut_events=100)
    writer = ArchiveWriter(config.archive_dir)
    for day in ("2024-08-09", "2024-08-10"):
        Sealer(writer).seal(day)
    prune(writer, "2024-08-10")
    writer.close()
    return config, begins


def test_beside_a_pruned_day_its_holes_are_not_named(tmp_path):
    config, begins = pruned_days(tmp_path)
    with pytest.raises(CoverageError) as error:
        reader.arrays(config, TRADE, begins[2] - MILLISECOND, gaps="raise")
    assert error.value.intervals[["first_id", "last_id"]].tolist() == [(15, 16)], "the day's own"
    with pytest.raises(CoverageError) as error:
        reader.arrays(config, TRADE, None, START + DAY, gaps="raise")
    assert error.value.intervals[["first_id", "last_id"]].tolist() == [(3, 4)]
    with pytest.warns(PrunedWarning), pytest.raises(CoverageError) as error:
        reader.arrays(config, TRADE, START + DAY // 2, gaps="raise")
    assert error.value.intervals[["first_id", "last_id"]].tolist() == [(9, 10), (15, 16)], (
        "of a request that touches it they are"
    )


@pytest.mark.parametrize("name", ["_edge_of_file", "look"])
def test_a_day_that_is_sealed_while_edges_are_looked_up_is_looked_at_again(tmp_path, monkeypatch, name):
    made = scene(START + DAY - 12 * MILLISECOND)
    config = mesh(tmp_path, made, len(made.raws), cut_events=3)
    original, sealed = getattr(gaps, name), []

    def sealing(*args):
        found = original(*args) if name == "look" else None
        if not sealed:  # between the ledger and its edges, or when the first file is to be opened
            sealed.append(True)
            writer = ArchiveWriter(config.archive_dir)
            Sealer(writer).seal("2024-08-09")
            writer.close()
        return found if name == "look" else original(*args)

    monkeypatch.setattr(gaps, name, sealing)
    rows = gaps.touched(config, Kind.trade, SUBJECT, START + DAY - 8 * MILLISECOND, START + DAY + 5 * MILLISECOND)
    assert sealed and len(rows)


def test_ids_that_began_anew_are_told_apart(tmp_path):
    made = Scene("okx.BTC-USDT").book(1000).change(1001, 1010).lost(Kind.depth, 1011, 1020).change(1021, 1030)
    made.book(5, reset=True).change(6, 1015)
    config = mesh(tmp_path, made, 3)
    rows = reader.arrays(config, "depth.okx.BTC-USDT", gaps="mask")
    assert rows["stretch"].tolist() == [0, 0, -1, 1, 1]
    assert len(reader.arrays(config, "depth.okx.BTC-USDT", seq_ns(made, 6), gaps="raise")) == 1


def test_another_word_is_a_sentence(tmp_path):
    with pytest.raises(ReadError, match="gaps='drop' is unknown; it should be one of 'warn', 'raise', 'mask', 'ignore'"):
        reader.arrays(mesh(tmp_path, scene(), 0), TRADE, gaps="drop")


def test_a_frame_with_its_coverage_goes_through_pandas_and_parquet(tmp_path):
    import pandas as pd

    config = mesh(tmp_path, scene(), 0)
    frame = reader.frame(config, TRADE, gaps="mask")
    both = pd.concat([frame, frame])
    assert len(both) == 2 * len(frame) and both.attrs == frame.attrs
    frame.to_parquet(tmp_path / "trades.parquet")
    assert pd.read_parquet(tmp_path / "trades.parquet").attrs["coverage"] == frame.attrs["coverage"]


def test_a_damaged_file_is_told_and_the_others_are_added_all_the_same(tmp_path):
    made = scene()
    config = mesh(tmp_path, made, len(made.raws), cut_events=9)
    first = min(config.archive_dir.glob("binance/*/*/*.h5"))
    first.chmod(0o644)
    first.write_bytes(first.read_bytes()[:-300])
    rows, damaged = coverage.added(config, 0, len(made.raws))
    assert len(damaged) == 1 and first.name in damaged[0]
    assert shown(rows[SUBJECT])[0][:4] == ("trade", 8, 9, "repaired")
    with pytest.raises(ArchiveError, match="cannot be read"):
        coverage.read(config, SUBJECT)


@pytest.mark.parametrize(
    ("reason", "end_ns", "text"),
    [
        (Reason.reset, 0, "1970-01-01T00:00:01Z to where ids began anew"),
        (Reason.skipped, 0, "1970-01-01T00:00:01Z to now"),
        (Reason.reset, 2_000_000_000, "1970-01-01T00:00:01Z to 1970-01-01T00:00:02Z"),
    ],
)
def test_a_lack_whose_end_nobody_knows_lasts_to_now_or_to_where_ids_began_anew(reason, end_ns, text):
    row = np.zeros(1, COVERAGE)
    row["state"], row["stream"], row["reason"] = Coverage.missing, Kind.trade, reason
    row["begin_ns"], row["end_ns"] = 1_000_000_000, end_ns
    assert coverage.span_text(coverage.described(row)[0]) == text

"""Where an archive must not be taken for what it is not: days that move under a reader, a manifest that is not its own, files
of another log, overlays of two days, a prune in the middle of an export."""

import warnings

import numpy as np
import pytest

from tests.support.stored import DAY, START, Market, batches, write_log
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import TRADE, Flag, Kind
from tickmesh.storage.archive import file as segment_module
from tickmesh.storage.archive import writer as cut
from tickmesh.storage.archive.catalog import MANIFEST
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, ArchiveFull
from tickmesh.storage.archive.prune import mark_exported, prune, read_exported
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.bars.bar import SECOND_NS
from tickmesh.storage.query import bars as resample
from tickmesh.storage.query import reader
from tickmesh.tools import export
from tickmesh.tools.terminal import Failure

SUBJECT = "binance.BTCUSDT"
TOPIC = f"trade.{SUBJECT}"


def mesh(root, raws):
    """(config, archive writer) of a mesh with these events in its log, nothing archived yet."""
    root.mkdir(exist_ok=True)
    (root / "mesh.toml").write_text("")
    config = load(root)
    write_log(config.log_dir, raws)
    return config, ArchiveWriter(config.archive_dir)


def seal_all(writer):
    sealer = Sealer(writer)
    while (day := sealer.due()) is not None:
        sealer.seal(day)


def over_midnight():
    market = Market(seq_ns=START + DAY - 200 * SECOND_NS)
    return [market.trade(step_ns=SECOND_NS) for _ in range(300)]


def test_a_day_that_was_half_archived_when_a_reader_opened_is_whole_after_its_seal(tmp_path, monkeypatch):
    raws = over_midnight()
    config, writer = mesh(tmp_path, raws)
    log = LogReader(config.log_dir)
    writer.archive_log(log, 120, 20)
    archive = ArchiveReader(config.archive_dir)
    events = archive.events()
    begun = [next(events).seq for _ in range(10)]

    def recorder_goes_on():
        if not writer.sealed_seq:
            writer.archive_log(log, 260, 20)
            seal_all(writer)

    real = ArchiveReader.columns
    monkeypatch.setattr(ArchiveReader, "columns", lambda self, *a, **k: (recorder_goes_on(), real(self, *a, **k))[1])
    assert reader.arrays(config, TOPIC, gaps="ignore")["seq"].tolist() == list(range(1, 301))
    assert begun + [event.seq for event in events] == list(range(1, archive.archived_seq + 1))


def test_without_its_manifest_nothing_of_an_archive_is_removed(tmp_path):
    market = Market()
    raws = [market.trade() for _ in range(50)]
    for day in (1, 2):
        market.seq_ns = START + day * DAY + 1000
        raws += [market.trade() for _ in range(20)]
    writer = ArchiveWriter(tmp_path)
    writer.archive(batches(raws), 90, 20, 5)
    seal_all(writer)
    writer.close()
    files = sorted(tmp_path.rglob("*.h5"))
    manifest = (tmp_path / MANIFEST).read_bytes()
    for damage in (None, b'{"archived_seq": 10, "log_id": "05", "sealed_seq": 0}'):
        (tmp_path / MANIFEST).unlink() if damage is None else (tmp_path / MANIFEST).write_bytes(damage)
        with pytest.raises(ArchiveError, match="nothing was removed"):
            ArchiveWriter(tmp_path)
        assert sorted(tmp_path.rglob("*.h5")) == files
    (tmp_path / MANIFEST).write_bytes(manifest)
    ArchiveWriter(tmp_path).close()  # the lock is free
    assert sorted(tmp_path.rglob("*.h5")) == files and ArchiveReader(tmp_path).check() == []


def test_a_seal_that_failed_leaves_no_overlay_that_is_too_short(tmp_path):
    market = Market(seq_ns=START + DAY - 10_000_000)

    def late():
        record, number, venue = np.zeros(1, TRADE), market.seq + 1000, START + DAY - 5
        record[0] = (number, 777, 1, venue, 0, 1, b"")
        return market.event(Kind.trade, SUBJECT, record, first_id=number, last_id=number, venue_ns=venue)

    raws = [market.trade() for _ in range(5)]
    market.seq_ns = START + DAY + 10
    for _ in range(4):
        raws += [market.clock(), late(), market.trade(), market.trade()]
    market.seq_ns = START + 2 * DAY + 10
    raws += [market.trade(), market.clock()]
    writer = ArchiveWriter(tmp_path)
    writer.archive(batches(raws), len(raws), 6, 5)
    sealer = Sealer(writer)
    sealer.seal(sealer.due())
    gone = next(f for f in writer.visible() if f.day == "2024-08-10" and f.folder == "binance/BTCUSDT").path
    data = gone.read_bytes()
    gone.unlink()
    with pytest.raises(ArchiveError, match="A file is missing"):
        sealer.seal(sealer.due())
    gone.write_bytes(data)

    def first_day():
        return len(ArchiveReader(tmp_path).columns(Kind.trade, SUBJECT, START, START + DAY - 1, by="venue"))

    before = first_day()
    sealer.seal(sealer.due())
    assert before == first_day() == 9


def test_a_repaired_event_over_a_midnight_is_in_each_bar_once(tmp_path):
    market = Market(seq_ns=START + DAY // 2)
    raws = [market.trade()]
    for day in (1, 4):
        market.seq_ns = START + day * DAY + DAY // 2
        raws.append(market.trade())
    records = np.zeros(4, TRADE)
    for i in range(4):
        records[i] = (5000 + i, 100, 1, START + DAY + (i - 2) * 600 * SECOND_NS, 0, 1, b"")
    raws.append(
        market.event(
            Kind.trade, SUBJECT, records, first_id=5000, last_id=5003, venue_ns=int(records["venue_ns"][-1]),
            flags=int(Flag.REPAIRED), producer=b"backfill",
        )
    )  # fmt: skip
    market.seq_ns = START + 5 * DAY + 1000
    raws.append(market.trade())
    config, writer = mesh(tmp_path, raws)
    writer.archive_log(LogReader(config.log_dir), len(raws), 100)
    seal_all(writer)
    assert [file.day for file in ArchiveReader(config.archive_dir).overlays] == ["2024-08-09", "2024-08-10"]
    for source in ("auto", "ticks"):
        bars = resample.bars(
            config, SUBJECT, "10m", START + DAY - 3600 * SECOND_NS, START + DAY + 3600 * SECOND_NS, source=source, gaps="ignore"
        )
        assert bars["count"].tolist() == [1, 1, 1, 1], source


def two_days(count, price):
    market = Market()
    raws = [market.instrument((-2, -3)), *(market.trade(price) for _ in range(count))]
    market.seq_ns = START + DAY + 1000
    return [*raws, market.trade(price)]


def exported(config, monkeypatch, to, format="parquet", decimals="mantissa"):
    monkeypatch.setenv("TICKMESH_ROOT", str(config.root))
    return export.export([], None, None, format, decimals, to, False)


def test_an_export_never_takes_another_archives_files_for_its_own(tmp_path, monkeypatch):
    to, configs = tmp_path / "export", []
    for number, count in enumerate((10, 50)):
        raws = two_days(count, 111 + number)
        config, writer = mesh(tmp_path / str(number), raws)
        writer.archive_log(LogReader(config.log_dir), len(raws), 100)
        seal_all(writer)
        configs.append(config)
    assert exported(configs[0], monkeypatch, to)["marked"] == ["2024-08-09"]
    before = {path: path.read_bytes() for path in to.rglob("*.parquet")}
    with pytest.raises(Failure, match="another source's files"):
        exported(configs[1], monkeypatch, to)
    assert read_exported(configs[1].archive_dir) == {}, "it is not marked, and so never pruned"
    assert {path: path.read_bytes() for path in to.rglob("*.parquet")} == before
    assert exported(configs[1], monkeypatch, tmp_path / "own")["marked"] == ["2024-08-09"]


def test_a_prune_in_the_middle_of_an_export_leaves_no_empty_file(tmp_path, monkeypatch):
    raws = two_days(20, 111)
    config, writer = mesh(tmp_path / "mesh", raws)
    writer.archive_log(LogReader(config.log_dir), len(raws), 100)
    seal_all(writer)
    assert exported(config, monkeypatch, tmp_path / "first")["gone"] == []
    mark_exported(config.archive_dir, "2024-08-09", tmp_path / "first")
    real = export.Export.plan

    def plan(self, *words):
        planned = real(self, *words)
        prune(writer, "2024-08-09")
        return planned

    monkeypatch.setattr(export.Export, "plan", plan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = exported(config, monkeypatch, tmp_path / "second", "arrow")
        monkeypatch.setattr(export.Export, "plan", real)
        later = exported(config, monkeypatch, tmp_path / "third")
    name = "trade/binance/BTCUSDT/2024-08-09"
    assert result["gone"] == [f"{name}.arrow"] and not (tmp_path / "second" / f"{name}.arrow").exists()
    assert f"{name}.parquet" in later["gone"], "what a prune took is told in every new folder"


def redefined(second_day):
    """Exponents (-2, -3), and (-4, -5) from the second day's begin on, or from the middle of the first."""
    market = Market()
    raws = [market.instrument((-2, -3)), *(market.trade(12345) for _ in range(5))]
    if second_day:
        market.seq_ns = START + DAY + 1000
    raws += [market.instrument((-4, -5)), *(market.trade(1234500) for _ in range(5))]
    market.seq_ns = START + 2 * DAY + 1000
    return [*raws, market.trade(1234500)]


@pytest.mark.parametrize("stage", ["log", "cuts", "sealed"])
@pytest.mark.parametrize("second_day", [True, False])
def test_prices_are_scaled_by_the_definition_that_was_in_force(tmp_path, monkeypatch, stage, second_day):
    raws = redefined(second_day)
    config, writer = mesh(tmp_path / "mesh", raws)
    if stage != "log":
        writer.archive_log(LogReader(config.log_dir), len(raws), 4)
    if stage == "sealed":
        seal_all(writer)
    first = (START, START + DAY)
    everything = reader.frame(config, TOPIC, gaps="ignore")
    assert everything["price"].tolist() == [123.45] * 11, "whatever the mantissas are"
    assert reader.frame(config, TOPIC, *first, gaps="ignore")["price"].tolist() == [123.45] * (5 if second_day else 10)
    assert reader.frame(config, TOPIC, START + 2 * DAY, gaps="ignore")["price"].tolist() == [123.45]
    with pytest.raises(reader.ReadError, match="no common scale"):
        resample.frame(config, SUBJECT, "1h", gaps="ignore")
    assert set(resample.frame(config, SUBJECT, "1h", START + 2 * DAY, gaps="ignore")["close"]) == {123.45}
    if stage == "log":
        return
    result = exported(config, monkeypatch, tmp_path / "export")
    assert [row.split()[0] for row in result["failed"]] == ([] if second_day else [f"instrument.{SUBJECT}", TOPIC])
    assert ("2024-08-09" in result["marked"]) == (second_day and stage == "sealed"), "a day without its file is never pruned"


def test_an_export_in_floats_is_no_copy(tmp_path, monkeypatch):
    raws = two_days(20, 111)
    config, writer = mesh(tmp_path / "mesh", raws)
    writer.archive_log(LogReader(config.log_dir), len(raws), 100)
    seal_all(writer)
    assert exported(config, monkeypatch, tmp_path / "floats", decimals="float")["marked"] == []
    assert read_exported(config.archive_dir) == {}
    assert exported(config, monkeypatch, tmp_path / "exact", decimals="exact")["marked"] == ["2024-08-09"]


def test_a_late_repair_is_in_the_bars_of_a_pyramid_whatever_is_asked_for(tmp_path):
    market = Market(seq_ns=START + DAY // 2)
    raws = [market.trade()]
    market.seq_ns = START + 5 * DAY + DAY // 2
    record = np.zeros(1, TRADE)
    record[0] = (5000, 100, 1, START + DAY // 2 + SECOND_NS, 0, 1, b"")
    raws.append(market.event(Kind.trade, SUBJECT, record, first_id=5000, last_id=5000, flags=int(Flag.REPAIRED)))
    market.seq_ns = START + 6 * DAY + 1000
    raws.append(market.trade())
    config, writer = mesh(tmp_path, raws)
    writer.archive_log(LogReader(config.log_dir), len(raws), 100)
    seal_all(writer)
    for span in ((START, START + DAY), (None, None)):
        for source in ("pyramid", "auto", "ticks"):
            bars = resample.bars(config, SUBJECT, "1d", *span, source=source, gaps="ignore")
            assert bars["count"][0] == 2, (span, source)


def test_a_seal_whose_manifest_is_refused_leaves_a_cut_under_way_whole(tmp_path, monkeypatch):
    raws = Market().mixed(200)
    ArchiveWriter(tmp_path / "plain").archive(batches(raws), 200, 100, 5)
    writer = ArchiveWriter(tmp_path / "other")
    real_know, real_place, struck = ArchiveWriter._know, cut.place, []

    def refused(path, data, mode=0o444):
        raise ArchiveFull("full")

    def know(self, folder, tables):
        real_know(self, folder, tables)
        if self.archived_seq == 100 and not struck:  # the sealer's thread, in the middle of the second cut
            struck.append(folder)
            monkeypatch.setattr(cut, "place", refused)
            with pytest.raises(ArchiveFull):
                self.publish(sealed_seq=0)
            monkeypatch.setattr(cut, "place", real_place)

    monkeypatch.setattr(ArchiveWriter, "_know", know)
    writer.archive(batches(raws), 200, 100, 5)
    assert struck and writer.settled

    def sums(folder):
        out = {}
        for file in ArchiveReader(folder).files:
            with ArchiveFile(file.path) as segment:
                out[file.folder, file.span] = segment.attributes["content_sha256"]
        return out

    assert sums(tmp_path / "plain") == sums(tmp_path / "other")


def test_a_manifest_that_may_not_be_on_disk_releases_nothing(tmp_path, monkeypatch):
    raws = Market().mixed(200)
    writer = ArchiveWriter(tmp_path)
    writer.archive(batches(raws), 100, 100, 5)
    real = segment_module.sync_folder

    def failing(folder):
        if folder == tmp_path:
            raise OSError(5, "Input/output error")
        real(folder)

    monkeypatch.setattr(segment_module, "sync_folder", failing)
    with pytest.raises(ArchiveFull):
        writer.archive(batches(raws), 200, 100, 5)
    assert writer.archived_seq == 200 and not writer.settled, "it is seen, and may be gone after a power cut"
    monkeypatch.setattr(segment_module, "sync_folder", real)
    writer.publish(archived_seq=200)
    assert writer.settled

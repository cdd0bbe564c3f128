"""Sealed days go only when they are exported and the user said so; that is no damage; days can be made again."""

import json
import subprocess
import warnings

import pytest

from tests.support.sealed_days import DAYS, SUBJECT, archive, three_days
from tests.support.stored import batches, write_log
from tickmesh.bus.config import load
from tickmesh.bus.layout import header_slice
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import DiskSettings
from tickmesh.bus.space import Free, Space
from tickmesh.nodes.runner.disk_space import recorder_watch
from tickmesh.storage.archive.catalog import list_files
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile
from tickmesh.storage.archive.merge import Interrupted
from tickmesh.storage.archive.prune import mark_exported, prunable, prune
from tickmesh.storage.archive.reader import ArchiveReader, PrunedWarning
from tickmesh.storage.archive.rebuild import rebuild_day
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import rebuild as command
from tickmesh.tools import terminal
from tickmesh.tools.judge import archive as judge
from tickmesh.tools.judge.findings import Findings

LOST = (Kind.trade, Kind.quote, Kind.depth, Kind.raw)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """An archive of three sealed days and the first events of a fourth; copied by each test."""
    folder = tmp_path_factory.mktemp("sealed") / "archive"
    raws = three_days(7, 90)
    archive(folder, raws, 90)
    writer = ArchiveWriter(folder)
    sealer = Sealer(writer)
    while (day := sealer.due()) is not None:
        sealer.seal(day)
    writer.close()
    return folder, raws


@pytest.fixture
def copied(sealed, tmp_path):
    folder, raws = sealed
    subprocess.run(["cp", "-r", folder, tmp_path / "archive"], check=True)
    return tmp_path / "archive", raws


def quiet(folder, *args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrunedWarning)
        return [bytes(event.raw) for event in ArchiveReader(folder).events(*args, **kwargs)]


def judged(folder) -> tuple[list[int], Findings]:
    findings = Findings()
    return [event.seq for event in judge.read(folder, judge.watermark(folder), findings)], findings


def test_the_judge_reads_sealed_days(copied):
    folder, raws = copied
    seqs, findings = judged(folder)
    assert findings.ok, findings.as_dict()
    assert seqs == list(range(1, len(raws) + 1))


def test_nothing_that_is_not_exported_goes(copied):
    folder, _ = copied
    writer = ArchiveWriter(folder)
    assert prunable(writer) is None
    mark_exported(folder, DAYS[1], folder.parent / "parquet")
    assert prunable(writer) == DAYS[1], "the oldest that is exported"
    tree = json.loads((folder / "exported.json").read_bytes())
    assert set(tree[DAYS[1]]) == {"folder", "content_sha256"}
    tree[DAYS[1]]["content_sha256"] = "0" * 64
    (folder / "exported.json").write_text(json.dumps(tree))
    assert prunable(writer) is None, "another day was exported than the one that is there"
    (folder / "exported.json").write_text("{")
    with pytest.raises(ArchiveError, match="nothing is pruned"):
        prunable(writer)
    writer.close()


def test_a_pruned_day_is_gone_on_purpose_and_keeps_its_rest(copied):
    folder, raws = copied

    first = ArchiveReader(folder).files
    span = next(f.span for f in first if f.day == DAYS[1])
    with ArchiveFile(next(f.path for f in first if f.day == DAYS[1] and f.folder == "binance/BTCUSDT")) as segment:
        book = segment.book_after()
    writer = ArchiveWriter(folder)
    with pytest.raises(Interrupted):
        prune(writer, DAYS[1], lambda: True)
    assert quiet(folder) == raws
    assert prune(writer, DAYS[1]) > 0
    writer.close()
    kept = [
        raw for seq, raw in enumerate(raws, 1) if not span[0] <= seq <= span[1] or raw[8] not in [int(kind) for kind in LOST]
    ]
    assert len(kept) < len(raws)
    assert quiet(folder) == kept
    reader = ArchiveReader(folder)
    with pytest.warns(PrunedWarning, match=f"{DAYS[1]} were removed"):
        rows = reader.columns(Kind.trade, SUBJECT)
    assert len(rows) and not ((rows["seq"] >= span[0]) & (rows["seq"] <= span[1])).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reader.columns(Kind.gap, SUBJECT)
        assert reader.check() == []
    seqs, findings = judged(folder)
    assert findings.ok and len(seqs) == len(kept)
    with ArchiveFile(next(f.path for f in reader.files if f.part == "rest" and f.folder == "binance/BTCUSDT")) as segment:
        assert segment.book_after().levels().tolist() == book.levels().tolist(), "the next file's book follows from it"
        assert not set(segment.kinds) & set(LOST)
    writer = ArchiveWriter(folder)  # goes on as if nothing had been
    assert writer.removed == 0

    writer.archive(batches(raws), len(raws), 100, 5)
    writer.close()


@pytest.mark.parametrize("step", ["before the manifest", "after the manifest"])
def test_a_prune_that_was_killed_leaves_the_one_or_the_other(copied, step, monkeypatch):
    folder, raws = copied
    writer = ArchiveWriter(folder)

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    if step == "before the manifest":
        monkeypatch.setattr(writer, "publish", die)
    else:
        monkeypatch.setattr("tickmesh.storage.archive.prune.remove", die)
    with pytest.raises(KeyboardInterrupt):
        prune(writer, DAYS[0])
    writer.close()
    seen = quiet(folder)
    assert (seen == raws) == (step == "before the manifest")
    ArchiveWriter(folder).close()
    assert quiet(folder) == seen
    parts = {f.part for f in list_files(folder) if f.day == DAYS[0] and f.folder == "binance/BTCUSDT"} - {"overlay"}
    assert parts == ({"day"} if step == "before the manifest" else {"rest"})


@pytest.mark.parametrize("source", ["log", "archive"])
def test_a_day_made_again_has_the_same_content(copied, tmp_path, source):
    folder, raws = copied
    if source == "log":
        write_log(tmp_path / "log", raws)
    used, rows = rebuild_day(folder, tmp_path / "log", DAYS[1], tmp_path / "again")
    assert used == source
    assert len(rows) == 4 and all(row.same for row in rows)


def test_mesh_rebuild_tells_a_difference(copied, tmp_path, monkeypatch):
    folder, raws = copied
    (tmp_path / "mesh.toml").write_text("")
    config = load(tmp_path)
    config.source_dir.mkdir(parents=True)
    folder.rename(config.archive_dir)
    place = len(raws) // 2
    changed = bytearray(raws[place])
    changed[header_slice("reserved").start] = 1
    write_log(config.log_dir, [*raws[:place], bytes(changed), *raws[place + 1 :]])
    monkeypatch.chdir(tmp_path)
    day = next(f.day for f in ArchiveReader(config.archive_dir).files if f.first <= place + 1 <= f.last)
    result = command.rebuild(day, tmp_path / "kept", "events", True)
    assert not result["ok"] and [row["same"] for row in result["files"]].count(False) == 1
    assert list_files(tmp_path / "kept")
    with pytest.raises(terminal.Failure, match="not empty"):
        command.rebuild(day, tmp_path / "kept", "events", True)
    with pytest.raises(terminal.Failure, match=f"those are: {DAYS[0]} to {DAYS[2]}"):
        command.rebuild("2020-01-01", None, "events", True)
    with pytest.raises(terminal.UsageFailure, match="like 2024-08-09"):
        command.rebuild("yesterday", None, "events", True)


def test_the_disk_is_told_of_when_its_state_changes_and_does_not_flap():
    disk = DiskSettings(low_bytes=1000, critical_bytes=100)
    watch = recorder_watch("data", disk)
    assert watch.look(Free(1001), disk) is None
    low = watch.look(Free(999), disk)
    assert low.level == "warning" and "raw" in low.action and "never" in low.action
    assert watch.look(Free(998), disk) is None and watch.look(Free(1010), disk) is None, "no more than a little above the mark"
    assert watch.look(Free(50), disk).level == "critical"
    assert watch.look(Free(104), disk) is None and watch.room.worst is Space.critical
    assert watch.look(Free(106), disk).level == "warning"
    assert watch.look(Free(2000), disk).level == "info" and watch.room.worst is Space.enough

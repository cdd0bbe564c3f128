"""A full disk, a kill, a second writer, damage: the archive is whole up to its watermark, or a sentence says what is not."""

import errno
import os
import re
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import tickmesh.storage.archive.file
from tests.support.archived import archive, read
from tests.support.places import PROJECT
from tests.support.stored import Market, batches
from tickmesh.storage.archive.catalog import list_files, read_watermark
from tickmesh.storage.archive.file import ArchiveError, ArchiveFull
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.writer import ArchiveWriter


def test_files_beyond_the_watermark_are_not_seen_and_are_replaced(tmp_path):
    raws = Market().mixed(300)
    archive(tmp_path, raws, upto=100)
    before = (tmp_path / "watermark.json").read_bytes()
    archive(tmp_path, raws, upto=200)
    (tmp_path / "watermark.json").write_bytes(before)  # as if killed before the manifest was renamed
    (tmp_path / "binance/BTCUSDT/2024-08-09/.half.h5.1.tmp").write_bytes(b"half")
    assert read(tmp_path) == raws[:100]
    writer = ArchiveWriter(tmp_path)
    assert writer.archived_seq == 100
    assert writer.removed == 4
    writer.archive(batches(raws), 300, 1000, 5)
    writer.close()
    assert read(tmp_path) == raws
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    raws = Market().mixed(300)
    archive(tmp_path, raws, upto=100)
    real, left = os.fsync, [0]

    def failing(fd: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd)

    writer = ArchiveWriter(tmp_path)
    monkeypatch.setattr(tickmesh.storage.archive.file.os, "fsync", failing)
    for budget in range(12):
        left[0] = budget
        before = writer.archived_seq
        try:
            writer.archive(batches(raws), 300, 1000, 5)
            break
        except ArchiveFull as error:
            assert "No space left" in str(error) and "Nothing is lost" in str(error)
        assert writer.archived_seq == read_watermark(tmp_path).archived_seq >= before
        assert not list(tmp_path.rglob("*.tmp"))
        assert read(tmp_path) == raws[: writer.archived_seq]
    writer.close()
    assert budget > 3
    assert read(tmp_path) == raws
    assert ArchiveReader(tmp_path).check() == []


def test_two_writers_are_refused(tmp_path):
    writer = ArchiveWriter(tmp_path)
    with pytest.raises(ArchiveError, match="another process"):
        ArchiveWriter(tmp_path)
    writer.close()


@pytest.mark.parametrize("damage", ["truncate", "flip", "garbage", "foreign", "newer"])
def test_a_bad_file_is_a_sentence_with_its_name(tmp_path, damage):
    archive(tmp_path, Market().mixed(3000), cut_events=5000)
    path = next(f.path for f in list_files(tmp_path) if f.folder == "binance/BTCUSDT")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    if damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "garbage":
        path.write_bytes(b"not HDF5")
    elif damage == "flip":
        with h5py.File(path) as file:
            place = file["trade/records/price_ticks"].id.get_chunk_info(0).byte_offset + 20
        data[place] ^= 0xFF
        path.write_bytes(data)
    else:
        with h5py.File(path, "a") as file:
            file.attrs.modify("format", "other") if damage == "foreign" else file.attrs.modify("schema_version", 99)
    with pytest.raises(ArchiveError, match=re.escape(str(path))):
        read(tmp_path)
    assert str(path) in ArchiveReader(tmp_path).check()[0]


def test_a_missing_file_is_noticed(tmp_path):
    archive(tmp_path, Market().mixed(300), cut_events=100)
    gone = [f for f in list_files(tmp_path) if f.first == 101]
    gone[0].path.unlink()
    with pytest.raises(ArchiveError, match="binance/BTCUSDT/2024-08-09/0+101-0+200.h5"):
        read(tmp_path)
    for file in gone[1:]:
        file.path.unlink()
    with pytest.raises(ArchiveError, match="no file with seq 101 to 200"):
        read(tmp_path)


def test_a_damaged_manifest_is_a_sentence(tmp_path):
    (tmp_path / "watermark.json").write_text("{")
    with pytest.raises(ArchiveError, match="watermark.json cannot be read"):
        ArchiveReader(tmp_path)


def test_a_hole_in_what_is_given_is_refused(tmp_path):
    raws = Market().mixed(100)
    with pytest.raises(ArchiveError, match="seq 51 was to be archived next"):
        archive(tmp_path, raws[:50] + raws[51:])
    assert read_watermark(tmp_path).archived_seq == 0


WRITER = """
import sys; sys.path[:0] = [{root!r}]
from pathlib import Path
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.hdf5.encoding import write_table
from tickmesh.storage.hdf5.packing import pack, put
from tests.support.stored import Market, batches
raws = Market().mixed(4000)
writer = ArchiveWriter(Path({folder!r}))
print("up", flush=True)
writer.archive(batches(raws), 4000, 40, 5)
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_archive(tmp_path):
    raws = Market().mixed(4000)
    rng = np.random.default_rng(1)
    code = WRITER.format(root=str(PROJECT), folder=str(tmp_path))
    seen, kills, deadline = 0, 0, time.monotonic() + 8
    while seen < 4000 and (kills < 3 or time.monotonic() < deadline):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(float(rng.uniform(0, 0.08)))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        kills += 1
        archived = read_watermark(tmp_path).archived_seq
        assert archived >= seen
        seen = archived
        assert read(tmp_path, max(0, seen - 200)) == raws[max(0, seen - 200) : seen]
    assert kills >= 3
    archive(tmp_path, raws)
    assert read(tmp_path) == raws
    assert not list(tmp_path.rglob("*.tmp"))

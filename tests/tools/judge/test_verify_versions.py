"""The judge reads what version 1 wrote by itself, by the description in each file, beside what is written today."""

from pathlib import Path

import h5py
import pytest

from tests.support.schema_v1 import archive_as_version_1, log_as_version_1
from tests.support.stored import write_log
from tests.support.verify_scene import renumbered, scene
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import verify as command

FIRST = 40  # events that version 1 has logged; it archived the first 20


@pytest.fixture
def written(root: Path) -> tuple[Config, Path]:
    """Log and archive that version 1 began, and that go on with today's. And a capture of all of it."""
    made, config = scene(), load()
    raws = renumbered(made.events)
    write_log(config.log_dir, raws[:FIRST], segment_bytes=4000)
    reader = LogReader(config.log_dir)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(reader, 20, 10)
    log_as_version_1(config.log_dir)
    archive_as_version_1(config.archive_dir)
    log = LogWriter(config.log_dir, segment_bytes=4000)
    log.append(FIRST + 1, raws[FIRST:])
    log.close()
    writer.archive_log(reader, 60, 10)
    writer.close()
    capture = root / "capture.dat"
    capture.write_text("\n".join(made.lines) + "\n")
    return config, capture


def test_both_versions_are_judged_as_one(written):
    _, capture = written
    alone, against = command.verify([]), command.verify([capture])
    assert alone["ok"] and against["ok"], (alone, against)
    assert alone["compared_with_log"] == 60
    assert (against["lost"], against["trades"], against["quotes"]) == (0, 29, 30)


def test_a_fault_in_what_version_1_wrote_is_found(written):
    config, _ = written
    path = next(config.archive_dir.glob("binance/BTCUSDT/*/*-00000000000000000010.h5"))
    path.chmod(0o644)
    with h5py.File(path, "r+") as file:
        file["trade/events/sources"][0] = (b"feed-7", 77, 1)
    assert {"archive_checksum", "archive_differs"} & set(command.verify([])["faults"])

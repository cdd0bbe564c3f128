"""Names that no folder can have as they are: the judge reads the archive of each as what it is."""

import pytest

from tests.support.coverage_scene import Scene
from tests.support.stored import write_log
from tests.support.verify_marked import marked
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.file import folder_of, subject_of
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import verify as command

NAMES = [
    "kraken.BTC/USD", "kraken_v1.XBT/USD", "binance.BRK.B", "binance..X", "other...", "other.a%2Fb", "other.%", "other.é ü",
    "other.", "other.a\\b", "other.*", "coinbase.mesh/system", "other.[x]",
]  # fmt: skip


@pytest.mark.parametrize("subject", NAMES)
def test_a_name_survives_its_folder(subject):
    folder = folder_of(Kind.trade, subject)
    assert subject_of(folder) == subject
    assert folder.count("/") == 1 and not [part for part in folder.split("/") if part.startswith(".") or not part]


@pytest.mark.parametrize("subject", NAMES)
def test_the_archive_of_any_name_is_judged(root, subject):
    """Healthy: nothing is found. One trade less in its ledger: that is found, under the name as it is."""
    config = load(root)
    made = Scene(subject).trades(1, 2).book(100).change(101, 105).trades(3, 4).change(106, 106).quotes(104, 105)
    write_log(config.log_dir, marked(made.raws))
    reader, writer = LogReader(config.log_dir), ArchiveWriter(config.archive_dir)
    writer.archive_log(reader, reader.last, 4)
    writer.close()
    verdict = command.verify([])
    assert verdict["ok"] and verdict["coverage_checked"] >= 3 and verdict["coverage_rows"] >= 3, verdict


def test_what_is_false_is_said_of_the_name_as_it_is(root, monkeypatch):
    from tickmesh.storage.coverage.stretch import of_tables

    monkeypatch.setattr(
        "tickmesh.storage.archive.writer.of_tables", lambda *arguments: (of_tables(*arguments)[0][1:], of_tables(*arguments)[1])
    )
    test = "kraken.BTC/USD"
    with pytest.raises(AssertionError):
        test_the_archive_of_any_name_is_judged(root, test)
    verdict = command.verify([])
    assert "coverage_unaccounted" in verdict["faults"] and all(f"archive, {test}: " in s for s in verdict["sentences"])

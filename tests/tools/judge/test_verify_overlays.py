"""Overlays are copies of late trades beside the day they belong to: the judge finds one that is missing, false or too many."""

import shutil

import numpy as np

from tests.support.stored import DAY, START, write_log
from tests.support.verify_log import SUBJECT, Log
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Flag, GapState, Kind, Reason
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.tools import verify as command

PLACE = "binance/BTCUSDT/2024-08-09/overlay"


def late(log: Log, *ids: int) -> None:
    """Trades of the first day, repaired today."""
    for number in ids:
        record = np.zeros(1, DTYPES[Kind.trade])
        record["trade_id"], record["venue_ns"] = number, START + number
        log.publish(Kind.trade, record, SUBJECT, first_id=number, last_id=number, flags=Flag.REPAIRED)


def store(*repaired: int) -> None:
    """Three days; the second, which brought these trades of the first, is sealed as well."""
    log = Log().trades(1, 2).gap(Kind.trade, 3, 5, Reason.skipped, GapState.open).trades(6)
    log.market.seq_ns += DAY
    log.trades(7)
    late(log, *repaired)
    log.market.seq_ns += DAY
    log.trades(8)
    config = load()
    write_log(config.log_dir, log.events)
    reader, writer = LogReader(config.log_dir), ArchiveWriter(config.archive_dir)
    writer.archive_log(reader, reader.last, 100)
    sealer = Sealer(writer)
    for _ in range(2):
        sealer.seal(sealer.due())
    writer.close()


def test_overlays_that_are_right_are_no_finding(root):
    store(4, 3, 5)
    verdict = command.verify([])
    assert verdict["ok"] and verdict["overlay_trades"] == 3, verdict


def test_an_overlay_that_is_missing_is_found(root):
    store(4, 3)
    shutil.rmtree(load().archive_dir / PLACE)
    verdict = command.verify([])
    assert verdict["faults"] == {"overlay": 1} and "2 trades of 2024-08-09" in verdict["sentences"][0]


def test_an_overlay_of_other_trades_is_found(root):
    """Whole in itself, with a right checksum: it is another log's."""
    store(4, 3)
    path = next((load().archive_dir / PLACE).glob("*.h5"))
    kept = root / "kept.h5"
    shutil.copy(path, kept)
    for name in ("log", "archive"):
        shutil.rmtree(load().source_dir / name)
    store(5, 3)
    path.chmod(0o644)
    shutil.copy(kept, path)
    assert command.verify([])["faults"] == {"overlay": 1}


def test_an_overlay_too_many_is_found(root):
    store(4, 3)
    path = next((load().archive_dir / PLACE).glob("*.h5"))
    other = load().archive_dir / PLACE.replace("08-09", "08-08")
    other.mkdir(parents=True)
    shutil.copy(path, other)
    assert command.verify([])["faults"] == {"overlay": 2}


def test_a_trade_that_is_repaired_twice_is_found_in_sealed_days(root):
    """Its copies in overlays are no doubles; being sequenced twice is."""
    store(4, 3, 4)
    assert command.verify([])["faults"] == {"trade_twice": 1}

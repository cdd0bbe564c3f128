"""Whoever reads signals and intents is told which event made whom say each: from the archive and from the log alike."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.stored import Market, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.settings import Mesh
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.rows import row_dtype
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import export, reader
from tickmesh.storage.query.gaps import COVERAGE_NONE

SUBJECT = "binance.BTCUSDT"
ORIGIN = ["cause_seq", "k", "producer"]


@pytest.mark.parametrize("kind", [Kind.signal, Kind.intent, Kind.shadow, Kind.parent])
def test_rows_and_exports_say_which_event_made_whom_say_it(tmp_path, kind):
    market, raws, said = Market(), [], []
    for number in range(6):
        raws.append(market.trade())
        cause = market.seq
        for k, producer in enumerate(["model-flow", "model-spread"][: 1 + number % 2]):
            raws.append(
                market.event(kind, SUBJECT, np.zeros(1, DTYPES[kind]), producer=producer.encode(), cause_seq=cause, k=k)
            )
            said.append((cause, k, producer))
    config = Config(Mesh(), tmp_path)
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), 9, 4)
    writer.close()
    assert 0 < len(ArchiveReader(config.archive_dir).columns(kind, SUBJECT)) < len(said), "some are archived, some are not"
    frame = reader.frame(config, f"{kind.name}.{SUBJECT}", gaps="ignore")
    assert list(zip(*(frame[name] for name in ORIGIN))) == said
    day = export.Day(kind, SUBJECT, "2024-08-09", False)
    archive = ArchiveReader(config.archive_dir)
    export.write_day(config, archive, day, tmp_path / "out", "parquet", "mantissa", COVERAGE_NONE)
    table = pq.read_table(tmp_path / "out" / day.path("parquet"))
    assert list(zip(*(table[name].to_pylist() for name in ORIGIN))) == said


def test_market_rows_stay_as_they_were():
    for kind in (Kind.trade, Kind.quote, Kind.depth, Kind.fill):
        assert not set(ORIGIN) & set(row_dtype(kind).names or ())

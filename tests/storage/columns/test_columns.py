"""Columns of a span are its events: from the log, from the archive, and from both as one stream."""

import shutil

import numpy as np
import pytest

from tests.support.random_tapes import tape
from tests.support.stored import Market, write_log
from tickmesh.bus import segments
from tickmesh.bus.config import Config
from tickmesh.bus.evolution import dtype_of, recast
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.schema import DESCRIPTION, DTYPES, Kind
from tickmesh.bus.segments import LogError, LogReleased, release
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.columns import archive, log, reading
from tickmesh.storage.columns.span import ColumnSpan
from tickmesh.storage.query.reader import ReadError

KINDS = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.gap)
OBJECTS = (Kind.signal, Kind.health)
COUNT = 3000


@pytest.fixture(scope="module")
def mesh(tmp_path_factory) -> tuple[Config, list[bytes]]:
    """A log in small segments, two thirds of it archived in cuts, and its events."""
    raws = tape(3, COUNT)
    config = Config(Mesh(), tmp_path_factory.mktemp("mesh"))
    write_log(config.log_dir, raws, segment_bytes=1 << 15, size=7)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), COUNT * 2 // 3, 500)
    writer.close()
    return config, raws


@pytest.fixture(autouse=True)
def _short_spans(monkeypatch):
    """Several spans of either source, and a table of subjects that has to grow."""
    monkeypatch.setattr(log, "SPAN_EVENTS", 400)
    monkeypatch.setattr(log, "READ_BYTES", 20_000)
    monkeypatch.setattr(log, "SUBJECTS", 1)
    monkeypatch.setattr(archive, "SPAN_SEQS", 333)


def rebuilt(spans: list[ColumnSpan]) -> list[tuple]:
    """(seq, kind, flags, stream, seq_ns, subject, bytes of the records) of every row of spans that follow one another."""
    out = []
    for before, span in zip([None, *spans], spans):
        assert before is None or span.first == before.last + 1
        inside = []
        for subject, rows, seqs, records in span.subjects:
            assert len(rows) == len(seqs) > 0 and (seqs[1:] > seqs[:-1]).all()
            for row, seq in zip(rows, seqs.tolist()):
                kind = Kind(int(row["kind"]))
                body = records[kind][row["first"] : row["first"] + row["count"]]
                assert body.dtype == DTYPES[kind] and span.first <= seq <= span.last
                place = int(row["flags"]), int(row["stream"]), int(row["seq_ns"])
                inside.append((seq, kind, *place, subject, body.tobytes()))
        out += sorted(inside)
    return out


def expected(raws: list[bytes], kinds: tuple[Kind, ...] = KINDS) -> list[tuple]:
    out = []
    for event in map(Event, raws):
        if event.kind in kinds:
            stream = int(event.records["stream"][0]) if event.kind == Kind.gap else 0
            out.append((event.seq, Kind(event.kind), event.flags, stream, event.seq_ns, event.subject, bytes(event.body)))
    return out


def objects(spans: list[ColumnSpan]) -> list[bytes]:
    return [bytes(event.raw) for span in spans for event in span.events]


@pytest.mark.parametrize("after, until", [(0, None), (1234, 2345), (COUNT * 2 // 3, None), (7, 8)])
@pytest.mark.parametrize("kinds", [KINDS, (Kind.quote, Kind.gap)])
def test_columns_are_the_events(mesh, after, until, kinds):
    config, raws = mesh
    whole = raws[after:until]
    archived = whole[: max(COUNT * 2 // 3 - after, 0)]
    for source, have in (
        (log.LogColumns(config.log_dir, kinds, OBJECTS), whole),
        (archive.ArchiveColumns(config.archive_dir, kinds, OBJECTS), archived),
    ):
        spans = list(source.spans(after, until))
        assert rebuilt(spans) == expected(have, kinds)
        assert objects(spans) == [raw for raw in have if Event(raw).kind in OBJECTS]
        if have:
            assert (spans[0].first, spans[-1].last) == (Event(have[0]).seq, Event(have[-1]).seq)
    assert rebuilt(list(reading.spans(config, kinds, OBJECTS, after, until))) == expected(whole, kinds)


def test_archive_then_a_log_that_has_only_the_rest(mesh, tmp_path):
    config, raws = mesh
    other = Config(Mesh(), tmp_path)
    write_log(other.log_dir, raws, segment_bytes=1 << 15)
    assert release(other.log_dir, COUNT // 2)
    with pytest.raises(LogReleased):
        list(log.LogColumns(other.log_dir, KINDS).spans())
    with pytest.raises(ReadError, match="seq 1 is neither in"):
        list(reading.spans(other, KINDS))
    shutil.copytree(config.archive_dir, other.archive_dir)
    with pytest.raises(ReadError, match="are not of one mesh"):
        list(reading.spans(other, KINDS))
    shutil.rmtree(other.log_dir)
    shutil.copytree(config.log_dir, other.log_dir)
    assert release(other.log_dir, COUNT // 2)
    assert rebuilt(list(reading.spans(other, KINDS))) == expected(raws)


def test_segments_of_an_older_schema_are_read_too(tmp_path, monkeypatch):
    """Their events are made anew first; a field that they have not is 0."""
    older = dict(DESCRIPTION, trade=[field for field in DESCRIPTION["trade"] if field[0] != "event_ns"])
    market = Market()
    trades = [Event(market.trade()) for _ in range(50)]
    quotes = [market.event(Kind.quote, "okx.BTC-USDT", np.ones(2, DTYPES[Kind.quote])) for _ in range(50)]
    with monkeypatch.context() as m:
        m.setattr(segments, "DESCRIPTION", older)
        m.setattr(segments, "SCHEMA_HASH", "older")
        write_log(tmp_path, [as_of(event, older) for event in trades], segment_bytes=1 << 12)
    write_log(tmp_path, quotes, segment_bytes=1 << 12)
    (got,) = log.LogColumns(tmp_path, KINDS).spans()
    found = {one.subject: one for one in got.subjects}
    trade_ids = found["binance.BTCUSDT"].records[Kind.trade]["trade_id"].tolist()
    assert trade_ids == [int(event.records["trade_id"][0]) for event in trades]
    assert not found["binance.BTCUSDT"].records[Kind.trade]["event_ns"].any()
    assert found["okx.BTC-USDT"].records[Kind.quote].tobytes() == np.ones(100, DTYPES[Kind.quote]).tobytes()


def as_of(event: Event, description: dict) -> bytes:
    """The event as a program with that schema would have written it."""
    records = recast(event.records, dtype_of(description, Kind(event.kind))).tobytes()
    size = len(event.raw) - len(event.body) + len(records)
    return size.to_bytes(4, "little") + bytes(event.raw)[4 : size - len(records)] + records


def test_bytes_that_are_no_event_are_a_sentence(tmp_path):
    writer = LogWriter(tmp_path, sync_ms=0)
    writer.append(1, [Market().trade()[:-8]])
    writer.close()
    with pytest.raises(LogError, match="events 1 to 1: the bytes at 24 are no event: trade with 1 records says"):
        list(log.LogColumns(tmp_path, KINDS).spans())

"""A fill off the book on its whole way: the adapter's frame, two lines arbitrated, log, archive, bars, export, judge."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support.command_run import mesh_here, run_here
from tests.support.off_book import usdm
from tests.support.stored import START, Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import Event, stamp_sent, stamp_sequenced
from tickmesh.nodes.sequencer.arbiter import Arbiter
from tickmesh.nodes.venues import binance_usdm as adapter
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import bars, reader

BTC = Instrument(symbol="BTCUSDT", venue="binance_usdm", price_exponent=-1, quantity_exponent=-3)
SUBJECT, TOPIC = BTC.subject, f"trade.{BTC.subject}"
FIRST, COUNT = 100, 240  # trades, one a minute of four hours; every 40th is off the book
AWAY = range(FIRST + 20, FIRST + COUNT, 40)
MINUTE_MS = 60_000


def frame(number: int) -> bytes:
    """The frame of one trade."""
    away = number in AWAY
    made = usdm("INSURANCE_FUND" if away else "MARKET", "54000.0" if away else "60000.0", "12.0" if away else "0.5", number)
    at = START // 1_000_000 + (number - FIRST) * MINUTE_MS
    return made.replace(b"1700000000000", str(at).encode())


def arbitrated() -> list[bytearray]:
    """What a sequencer takes of two lines that both hear everything, one of them a little later; line 2 misses five trades."""
    arbiter, routes = Arbiter(100), [adapter.routes([BTC]), adapter.routes([BTC])]
    out: list[bytearray] = []
    for number in range(FIRST, FIRST + COUNT):
        for line, known in enumerate(routes, 1):
            if line == 2 and number % 48 == 0:
                continue
            for event in adapter.decode(frame(number), number, known):
                out += arbiter.offer(Kind.trade, SUBJECT, f"line-{line}", number, event, number)
    return out


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A mesh whose log has a day with fills off the book, that day archived in cuts and sealed, and a bit of the next."""
    root = tmp_path_factory.mktemp("off-book")
    text = '[[instruments]]\nsymbol = "BTCUSDT"\nvenue = "binance_usdm"\nprice_exponent = -1\nquantity_exponent = -3\n'
    (root / "mesh.toml").write_text(text)
    config, market = load(root), Market(seq_ns=START)
    raws = [market.instrument((-1, -3), SUBJECT)]
    for event in arbitrated():
        market.seq += 1
        market.seq_ns = Event(bytes(event)).venue_ns + 5_000_000
        stamp_sent(event, b"feed-1".ljust(32, b"\0"), 77, market.seq, market.seq_ns)
        stamp_sequenced(event, market.seq, 0, market.seq_ns)
        raws.append(bytes(event))
    market.seq_ns = START + 86_400 * 10**9
    raws.append(market.clock())
    write_log(config.log_dir, raws)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), 130, 60)
    writer.close()
    return config


def expected(every_ms: int, with_away: bool) -> dict[int, tuple[int, int, int]]:
    """Naively: begin ns → (trades, least price, volume in lots)."""
    out: dict[int, list[tuple[int, int]]] = {}
    for number in range(FIRST, FIRST + COUNT):
        if with_away or number not in AWAY:
            at = START // 1_000_000 + (number - FIRST) * MINUTE_MS
            row = (540_000, 12_000) if number in AWAY else (600_000, 500)
            out.setdefault(at // every_ms * every_ms * 1_000_000, []).append(row)
    return {at: (len(rows), min(p for p, _ in rows), sum(q for _, q in rows)) for at, rows in out.items()}


def summary(rows) -> dict[int, tuple[int, int, int]]:
    return {int(row["begin_ns"]): (int(row["count"]), int(row["low_ticks"]), int(row["volume_lots"])) for row in rows}


def test_the_arbiter_keeps_every_id_once_and_its_flag(config):
    """As ordinary trades they are: no gap, no duplicate, no doubt."""
    events = list(LogReader(config.log_dir).events())
    assert [event.last_id for event in events if event.kind == Kind.trade] == list(range(FIRST, FIRST + COUNT))
    assert not [event for event in events if event.kind in (Kind.gap, Kind.alert, Kind.refusal)]
    assert [event.last_id for event in events if event.flags] == list(AWAY)
    assert {event.flags for event in events} == {0, Flag.OFF_BOOK}


def test_bars_leave_them_out_unless_asked_for(config):
    """From the log alone, from cuts and log, and then from a sealed day's pyramid: the same."""
    for source in ("auto", "ticks"):
        for every, ms in (("1m", MINUTE_MS), ("1h", 60 * MINUTE_MS)):
            assert summary(bars.bars(config, SUBJECT, every, source=source, gaps="ignore")) == expected(ms, False)
            asked = bars.bars(config, SUBJECT, every, source=source, gaps="ignore", off_book=True)
            assert summary(asked) == expected(ms, True)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), LogReader(config.log_dir).last, 60)
    Sealer(writer).seal("2024-08-09")
    writer.close()
    sealed = bars.bars(config, SUBJECT, "1h", source="pyramid", gaps="ignore")
    assert summary(sealed) == expected(60 * MINUTE_MS, False)
    assert sealed["low_ticks"].min() == 600_000
    with pytest.raises(reader.ReadError, match="no pyramid has trades off the book"):
        bars.bars(config, SUBJECT, "1h", source="pyramid", off_book=True)
    shown = json.loads(mesh_here(config.root, "bars", "BTCUSDT", "--every", "1h", "--json").stdout)["bars"]
    assert {bar["low"] for bar in shown} == {60000.0} and sum(bar["count"] for bar in shown) == COUNT - len(AWAY)
    shown = json.loads(mesh_here(config.root, "bars", "BTCUSDT", "--every", "1h", "--off-book", "--json").stdout)["bars"]
    assert {bar["low"] for bar in shown} == {54000.0} and sum(bar["count"] for bar in shown) == COUNT


def test_the_archive_an_export_and_tap_have_them_with_their_flag(config, tmp_path):
    rows = reader.arrays(config, TOPIC)
    away = np.asarray(rows["flags"]) & Flag.OFF_BOOK != 0
    assert np.asarray(rows["trade_id"]).tolist() == list(range(FIRST, FIRST + COUNT))
    assert np.asarray(rows["trade_id"])[away].tolist() == list(AWAY)
    done = mesh_here(config.root, "export", "--to", tmp_path, "--topic", TOPIC, "--partial", "--json")
    assert done.returncode == 0, done.stderr
    tables = [pq.read_table(path) for path in sorted(tmp_path.rglob("trade/**/*.parquet"))]
    got = {id_: flag for table in tables for id_, flag in zip(table["trade_id"].to_pylist(), table["event_flags"].to_pylist())}
    assert got == {number: "OFF_BOOK" if number in AWAY else "" for number in range(FIRST, FIRST + COUNT)}
    told = run_here(config.root, "tap", TOPIC, "--from", "1", "--count", str(AWAY[0] - FIRST + 1)).stdout.splitlines()
    assert "off book" in told[-1] and "120" in told[-1] and sum("off book" in line for line in told) == 1


def test_the_judge_finds_a_flag_that_is_missing_or_too_many(config, tmp_path):
    """`mesh verify --against` a capture with the same frames."""
    lines = [f"{1_700_000_000_000_000_000 + n} ".encode() + frame(n) + b"\n" for n in range(FIRST, FIRST + COUNT)]
    (tmp_path / "true").write_bytes(b"".join(lines))
    (tmp_path / "false").write_bytes(b"".join(lines).replace(b"INSURANCE_FUND", b"MARKET", 2))
    good, bad = (json.loads(mesh_here(config.root, "verify", "--against", tmp_path / name, "--json").stdout)
                 for name in ("true", "false"))  # fmt: skip
    assert good["ok"] and good["trades"] == COUNT and good["lost"] == 0, good
    assert not bad["ok"] and bad["different"] == 2


def test_columns_have_the_record_fields_of_before():
    """The flag is the header's: no record and no older file is another."""
    assert DTYPES[Kind.trade].itemsize == 48

"""Bars of what is stored: from pyramids, from cuts and from the log they are the same, and what a plain loop says."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench.archive import captured, sequenced
from tests.support.naive_bars import as_dicts, naive, without_zeros
from tests.support.stored import DAY, START, Market, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.schema import TRADE, Coverage, Flag, Kind
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import decode, sizes, stamp_sequenced
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile
from tickmesh.storage.archive.prune import prune
from tickmesh.storage.archive.reader import ArchiveReader, PrunedWarning
from tickmesh.storage.archive.seal import Sealer
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.bars import kernels as bar_kernels
from tickmesh.storage.bars import pyramid
from tickmesh.storage.bars.bar import BAR, LEVELS_S, SECOND_NS, coarsen
from tickmesh.storage.query import bars as resample
from tickmesh.storage.query.gaps import CoverageError, CoverageWarning
from tickmesh.storage.query.reader import ReadError

SUBJECT = "binance.BTCUSDT"
MINUTE = 60 * SECOND_NS
KERNEL = bar_kernels.reduce_trades
NEXO = ("nexousdt_20240723.dat.gz", "nexousdt_20240724.dat.gz")


def archive(config: Config, upto: int, cut_events: int) -> list[str]:
    """Cuts, and every day sealed that has a day after it; returns the sealed days."""
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), upto, cut_events)
    sealer, days = Sealer(writer), []
    while (day := sealer.due()) is not None:
        sealer.seal(day)
        days.append(day)
    writer.close()
    return days


def repaired(market: Market, number: int, venue_ns: int, price: int) -> bytes:
    record = np.zeros(1, TRADE)
    record[0] = (number, price, 3, venue_ns, 0, 1, b"")
    return market.event(
        Kind.trade, SUBJECT, record, first_id=number, last_id=number, venue_ns=venue_ns, flags=int(Flag.REPAIRED),
        producer=b"backfill",
    )  # fmt: skip


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> tuple[Config, list[tuple]]:
    """Three days of trades every 40 s with a few that came a day or two late; two days sealed, one cut, the rest in the log."""
    root = tmp_path_factory.mktemp("bars")
    config, market, raws = Config(Mesh(), root), Market(), []
    rows: list[tuple] = []
    for _ in range(3 * 2160 + 200):
        raws.append(market.trade(6_183_763_000_000 + market.seq % 17 * 1_000_000, step_ns=40 * SECOND_NS))
        if market.seq in (3000, 6500):  # ids and time of the first day: one comes on the second, one on the fourth day
            raws.append(repaired(market, market.seq, START + 1000 * SECOND_NS + market.seq, 7 * market.seq))
    for raw in raws:
        event = decode(raw, 0)
        for r in event.records:
            rows.append(
                (int(r["trade_id"]), int(r["price_ticks"]), int(r["quantity_lots"]), int(r["venue_ns"]), int(r["side"]))
            )
    write_log(config.log_dir, raws, segment_bytes=1 << 20)
    assert archive(config, len(raws) - 100, 500) == ["2024-08-09", "2024-08-10", "2024-08-11"]
    return config, rows


@pytest.mark.parametrize("every", ["1s", "7s", "1m", "5m", "1h", "1d", "1w"])
@pytest.mark.parametrize("source", ["auto", "ticks"])
def test_all_of_it_is_what_a_loop_says(days, every, source):
    config, rows = days
    got = resample.bars(config, SUBJECT, every, source=source)
    assert as_dicts(got) == without_zeros(naive(rows, [], resample.seconds(every) * SECOND_NS))


def test_a_busy_day_is_compiled_and_the_same(days, monkeypatch):
    config, rows = days
    expected = resample.bars(config, SUBJECT, "5m", source="ticks")
    monkeypatch.setattr(resample, "COMPILED_TICKS", 1)
    loaded = []
    monkeypatch.setattr(bar_kernels, "reduce_trades", lambda *of: (loaded.append(1), KERNEL(*of))[1])
    assert resample.bars(config, SUBJECT, "5m", source="ticks").tobytes() == expected.tobytes() and loaded


def test_any_range_is_the_same_from_pyramid_and_ticks(days):
    config, rows = days
    rng = np.random.default_rng(5)
    for _ in range(25):
        start, end = sorted(START - DAY // 8 + rng.integers(0, 13 * DAY // 4, 2))
        grain = int(rng.choice([1, 10**6, SECOND_NS, MINUTE]))
        start, end = int(start) // grain * grain, int(end) // grain * grain
        every = int(rng.choice([1, 60, 300, 3600, 86_400]))
        inside = [row for row in rows if start <= row[3] < end]
        expected = without_zeros(naive(inside, [], every * SECOND_NS))
        for source in ("auto", "ticks"):
            assert as_dicts(resample.bars(config, SUBJECT, every, start, end, source=source)) == expected, (start, end, every)


def test_a_trade_repaired_days_later_is_in_the_bar_of_its_time(days):
    config, rows = days
    got = resample.bars(config, SUBJECT, "1m", "2024-08-09T00:16:00", "2024-08-09T00:17:00")
    own = [row for row in rows if MINUTE * 16 <= row[3] - START < MINUTE * 17]
    assert len(got) == 1 and got["count"][0] == len(own)
    assert (got["low_ticks"][0], got["last_id"][0]) == (7 * 3000, 6500), "one came a day later, one is only in the log"


def test_the_pyramid_alone_knows_the_sealed_days_only(days):
    config, rows = days
    got = resample.bars(config, SUBJECT, "1h", source="pyramid")
    assert got["begin_ns"][-1] < START + 3 * DAY
    with pytest.raises(ReadError, match="a pyramid holds whole seconds"):
        resample.bars(config, SUBJECT, "1h", START + 1, source="pyramid")


def test_a_fill_has_every_bucket(days):
    config, rows = days
    start, end = START - 60 * SECOND_NS, START + 200 * SECOND_NS
    got = resample.bars(config, SUBJECT, 10, start, end, fill=True)
    assert got["begin_ns"].tolist() == list(range(start, end, 10 * SECOND_NS))
    plain = resample.bars(config, SUBJECT, 10, start, end)
    assert (got[got["count"] > 0] == plain).all() and 0 < len(plain) < len(got)
    empty = got[(got["count"] == 0) & (got["begin_ns"] > START + 60 * SECOND_NS)]
    assert len(empty) and (empty["open_ticks"] == empty["close_ticks"]).all() and (empty["close_ticks"] > 0).all()
    assert not empty["volume_lots"].any()
    frame = resample.frame(config, SUBJECT, 10, start, end, fill=True)
    assert np.isnan(frame["close"].iloc[0]) and frame["close"].iloc[-1] == got["close_ticks"][-1] / 1e8
    with pytest.raises(ReadError, match="at most 20000000"):
        resample.bars(config, SUBJECT, 1, "1990-01-01", fill=True)


def test_decimals_are_those_of_the_instrument(days):
    config, rows = days
    frame = resample.frame(config, SUBJECT, "1d")
    first = [row for row in rows if START <= row[3] < START + DAY]
    assert frame["volume"].iloc[0] == pytest.approx(sum(row[2] for row in first) / 1e8, rel=1e-15)
    notional = sum(row[1] * row[2] for row in first)
    assert frame["notional"].iloc[0] == pytest.approx(notional / 10**16, rel=1e-15)
    assert frame["vwap"].iloc[0] == pytest.approx(notional / sum(row[2] for row in first) / 1e8, rel=1e-15)
    assert str(frame.index.tz) == "UTC" and frame["spread_mean"].isna().all()


@pytest.mark.parametrize("every", ["0s", "1.5s", "soon", 0, -60, "10y"])
def test_no_length_is_a_sentence(days, every):
    with pytest.raises(ReadError, match="is no length of a bar; allowed are whole seconds"):
        resample.bars(days[0], SUBJECT, every)


def test_a_sealed_day_says_its_bars_with_plain_h5py(days):
    config, rows = days
    file = next(f for f in ArchiveReader(config.archive_dir).files if f.part == "day" and f.folder == "binance/BTCUSDT")
    with h5py.File(file.path) as day:
        assert set(day["bars"]) == {str(level) for level in LEVELS_S}
        minutes = day["bars/60"]
        row = minutes.attrs["fields"].split().index("volume_lots")
        volume = minutes[row] * minutes.attrs["scale_factor"][row] + minutes.attrs["add_offset"][row]
        assert volume.tolist() == pyramid.read(day["bars"], 60)["volume_lots"].tolist()
        seconds = pyramid.read(day["bars"], 1)
        assert seconds["count"].sum() == day["trade"].attrs["records"]
        for level in LEVELS_S:
            assert pyramid.read(day["bars"], level).tobytes() == coarsen(seconds, level * SECOND_NS).tobytes()
    assert seconds.dtype == BAR


def test_a_pyramid_of_another_version_is_not_believed(days, tmp_path):
    config, _ = days
    file = next(f for f in ArchiveReader(config.archive_dir).files if f.part == "day" and f.folder == "binance/BTCUSDT")
    copy = tmp_path / "day.h5"
    copy.write_bytes(file.path.read_bytes())
    with h5py.File(copy, "r+") as day:
        day["bars"].attrs["version"] = pyramid.VERSION + 1
    with h5py.File(copy) as day:
        assert not pyramid.has_pyramid(day)


def test_a_pruned_day_keeps_its_bars(tmp_path):
    config, market = Config(Mesh(), tmp_path), Market()
    raws = [market.trade(6_183_763_000_000 + i, step_ns=40 * SECOND_NS) for i in range(2 * 2160 + 500)]
    write_log(config.log_dir, raws, segment_bytes=1 << 20)
    assert archive(config, len(raws) - 100, 2000) == ["2024-08-09", "2024-08-10"]
    before = {every: resample.bars(config, SUBJECT, every) for every in ("1s", "1m", "1d")}
    assert len(before["1m"]) > 3000
    writer = ArchiveWriter(config.archive_dir)
    assert prune(writer, "2024-08-09") > 0
    writer.close()
    for every, bars in before.items():
        assert resample.bars(config, SUBJECT, every).tobytes() == bars.tobytes()
    with pytest.warns(PrunedWarning, match="the ticks of 2024-08-09 were removed"):
        left = resample.bars(config, SUBJECT, "1d", source="ticks")
    assert left["count"][0] == 1, "a trade that was sequenced on the next day lies in an overlay, which stays"
    assert left[1:].tobytes() == before["1d"][1:].tobytes()


def test_bars_say_what_is_missing(tmp_path):
    config, market = Config(Mesh(), tmp_path), Market()
    raws = [market.trade(step_ns=SECOND_NS) for _ in range(100)]
    market.seq += 20  # as if 20 trades had been said by nobody: their ids are skipped
    market.seq_ns += 20 * SECOND_NS
    skipped = [market.trade(step_ns=SECOND_NS) for _ in range(100)]
    for number, raw in enumerate(skipped, 101):
        head = decode(raw)
        raws.append(event := bytearray(raw))
        stamp_sequenced(event, number, head.link, head.seq_ns)  # seq itself has no hole
    write_log(config.log_dir, raws)
    lost = (START + 99 * SECOND_NS, START + 120 * SECOND_NS)
    with pytest.warns(CoverageWarning, match=f"{SUBJECT} is missing 1 interval"):
        plain = resample.bars(config, SUBJECT, 10)
    assert plain.coverage["state"].tolist().count(Coverage.missing) == 1
    with pytest.raises(CoverageError):
        resample.bars(config, SUBJECT, 10, gaps="raise")
    masked = resample.bars(config, SUBJECT, 10, gaps="mask", fill=True)
    begin = masked["begin_ns"]
    assert (masked["missing"] == ((begin + 10 * SECOND_NS > lost[0]) & (begin <= lost[1]))).all()
    assert 3 <= masked["missing"].sum() < len(masked)
    early = resample.bars(config, SUBJECT, 10, end=START + 60 * SECOND_NS, gaps="raise")
    assert len(early) == 6, "what is missing later does not matter here"
    assert resample.frame(config, SUBJECT, 10, gaps="mask")["missing"].sum() == 2
    with pytest.raises(ReadError, match="gaps='hide' is unknown"):
        resample.bars(config, SUBJECT, 10, gaps="hide")


@pytest.fixture(scope="module")
def nexo(data, tmp_path_factory) -> tuple[Config, list[tuple], list[tuple]]:
    """The real day in log and archive, its first UTC day sealed, the last events only in the log; and as the venue said it."""
    root = tmp_path_factory.mktemp("nexo")
    paths = [data / "hftbt_playground/raw/spot" / name for name in NEXO]
    config = Config(Mesh(), root)
    batches = sequenced(event for path in paths for event in captured(path, "binance.NEXOUSDT"))
    writer = LogWriter(config.log_dir, segment_bytes=1 << 22, sync_ms=50)
    for batch in batches:
        writer.append(batch.first, [bytes(batch.body[at : at + size]) for at, size in sizes(batch.body)])
    writer.close()
    assert archive(config, batches[-1].last - 7000, 20_000) == ["2024-07-23"]
    (root / "mesh.toml").write_text('[[instruments]]\nsymbol = "NEXOUSDT"\n')
    return config, *said(paths)


def said(paths: list[Path]) -> tuple[list[tuple], list[tuple]]:
    """Trades, and quotes with the time of the first depth change that covers their id, by json and a loop."""
    trades, quotes, changes = [], [], []
    for path in paths:
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            message = json.loads(line.partition(" ")[2])
            stream, one = message.get("stream", ""), message.get("data")
            if stream.endswith("@trade"):
                trades.append((one["t"], mantissa(one["p"]), mantissa(one["q"]), one["T"] * 10**6, -1 if one["m"] else 1))
            elif stream.endswith("@bookTicker"):
                quotes.append((one["u"], *(mantissa(one[name]) for name in "bBaA")))
            elif "@depth" in stream:
                changes.append((one["U"], one["u"], one["E"] * 10**6))
    timed, place = [], 0
    for quote in sorted(quotes):
        while place < len(changes) and changes[place][1] < quote[0]:
            place += 1
        if place < len(changes) and changes[place][0] <= quote[0]:
            timed.append((*quote, changes[place][2]))
    return trades, timed


def mantissa(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(8, "0"))


@pytest.mark.data
@pytest.mark.parametrize("every", ["1s", "1m", "15m", "1d"])
def test_a_real_day(nexo, every):
    config, trades, quotes = nexo
    assert len(trades) == 12_280 + 178
    expected = without_zeros(naive(trades, quotes, resample.seconds(every) * SECOND_NS))
    for source in ("auto", "ticks"):
        got = resample.bars(config, "binance.NEXOUSDT", every, source=source)
        got["changes"] = 0
        assert {begin: bar for begin, bar in as_dicts(got).items() if bar} == expected
    seen = resample.seen(config, "binance.NEXOUSDT", resample.Window(MINUTE))
    assert seen.timeless + len(seen.edges.quotes) == 33_437 - len(quotes), "what has no time is counted"


@pytest.mark.data
def test_quotes_whose_change_ended_the_file_before_are_in_their_bars(nexo, tmp_path):
    """The real day has 90 quotes that come after the change that covers them: it is cut between each of them and its change."""
    config, _, quotes = nexo
    log, late, changed = LogReader(config.log_dir), [], 0
    for event in log.events():
        if event.kind == Kind.depth and not event.flags & Flag.SNAPSHOT:
            changed, covered = event.seq, event.last_id
        elif event.kind == Kind.quote and changed and event.last_id <= covered:
            late.append(changed)
    cuts = sorted(set(late))
    assert (len(late), len(cuts)) == (90, 83)
    writer = ArchiveWriter(tmp_path / "cut")
    for upto in [*cuts, log.last]:
        writer.archive_log(log, upto, 10**9)
    cut = Config(Mesh(data=str(tmp_path / "data")), tmp_path)
    cut.source_dir.mkdir(parents=True)
    (tmp_path / "cut").rename(cut.archive_dir)
    before = resample.seen(cut, "binance.NEXOUSDT", resample.Window(MINUTE))
    assert before.bars["quotes"].sum() == len(quotes) == 33_437 and before.timeless == 0
    expected = resample.seen(config, "binance.NEXOUSDT", resample.Window(MINUTE), "ticks")
    assert before.bars.tobytes() == expected.bars.tobytes()
    writer.folder = cut.archive_dir
    Sealer(writer).seal("2024-07-23")
    writer.close()
    for source in ("auto", "ticks"):
        assert resample.seen(cut, "binance.NEXOUSDT", resample.Window(MINUTE), source).bars.tobytes() == before.bars.tobytes()


@pytest.mark.data
def test_the_command_says_the_same(nexo):
    config, trades, _ = nexo
    done = subprocess.run(
        [sys.executable, "-m", "tickmesh.tools.cli", "bars", "nexousdt", "--every", "1m", "--json"],
        cwd=config.root, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    got = {row["time"]: row for row in json.loads(done.stdout)["bars"] if row["count"]}
    expected = naive(trades, [], MINUTE)
    assert len(got) == len(expected)
    for begin, bar in expected.items():
        row = got[str(np.datetime64(begin, "ns").astype("M8[s]")) + "+00:00"]
        assert [row[name] for name in ("open", "high", "low", "close")] == [
            bar[f"{name}_ticks"] / 1e8 for name in ("open", "high", "low", "close")
        ]
        assert (row["count"], row["first_id"], row["last_id"]) == (bar["count"], bar["first_id"], bar["last_id"])
        assert row["volume"] == bar["volume_lots"] / 1e8 and row["buy_volume"] == bar["buy_volume_lots"] / 1e8


@pytest.mark.data
def test_a_damaged_day_is_a_sentence(nexo, tmp_path):
    config, *_ = nexo
    file = next(f for f in ArchiveReader(config.archive_dir).files if f.part == "day" and f.day == "2024-07-23")
    with ArchiveFile(file.path) as segment:
        dataset = segment.file["trade/records/price_ticks"]
        place = dataset.id.get_chunk_info(0).byte_offset + 50
    raw = bytearray(file.path.read_bytes())
    raw[place] ^= 1
    wrong = tmp_path / file.path.name
    wrong.write_bytes(raw)
    with pytest.raises(ArchiveError, match="is damaged: .*; restore it from a copy"):
        resample._of_file(file._replace(path=wrong), resample.Window(MINUTE), "ticks", ArchiveReader(config.archive_dir), False)

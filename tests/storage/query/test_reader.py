"""Archive and log read as one stream, whatever moved from one to the other meanwhile."""

import shutil
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.stored import START, Market, write_log
from tickmesh.bus.config import Config
from tickmesh.bus.instruments import DecidedInstruments, ExponentDecision
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import release
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.query import reader
from tickmesh.storage.query.reader import ReadError, to_ns
from tickmesh.storage.query.scales import scaled
from tickmesh.storage.recent.store import RecentWriter

# The made-up trades share their numbers with other events: many ids are missing. tests/storage/query/test_coverage_read.py has
# what is said of it.
pytestmark = pytest.mark.filterwarnings("ignore::tickmesh.storage.query.gaps.CoverageWarning")

TRADE = "trade.binance.BTCUSDT"
MILLISECOND = 1_000_000


def mesh(tmp_path: Path, raws: list[bytes], archived: int, keep: int = 1 << 30) -> Config:
    """A stopped mesh: the log with `raws`, the archive up to `archived`, older log segments released beyond `keep`."""
    config = Config(Mesh(), tmp_path)
    write_log(config.log_dir, raws, segment_bytes=1 << 14)
    writer = ArchiveWriter(config.archive_dir)
    writer.archive_log(LogReader(config.log_dir), archived, 150)
    writer.close()
    release(config.log_dir, archived, keep)
    return config


def raw(events) -> list[bytes]:
    return [bytes(event.raw) for event in events]


@pytest.mark.parametrize("archived, keep", [(0, 999), (1, 999), (600, 999), (600, 1), (1000, 999), (1000, 1)])
def test_archive_and_log_are_one_stream(tmp_path, archived, keep):
    raws = Market().mixed(1000)
    config = mesh(tmp_path, raws, archived, keep)
    if keep == 1:
        assert LogReader(config.log_dir).first > 1
    assert raw(reader.events(config)) == raws
    assert raw(reader.events(config, 580, 620)) == raws[580:620]
    assert raw(reader.events(config, 1000)) == []
    ours = [r for r in raws[100:] if Event(r).topic == TRADE]
    assert raw(reader.events(config, 100, kinds=[Kind.trade], subject="binance.BTCUSDT")) == ours


def test_a_hole_between_archive_and_log_is_an_error(tmp_path):
    raws = Market().mixed(1000)
    config = mesh(tmp_path, raws, 300)
    release(config.log_dir, 700)
    first = LogReader(config.log_dir).first
    assert first > 301
    with pytest.raises(ReadError, match=f"seq 301 is neither in .*, which ends at 300, nor in .*, which begins at {first}"):
        list(reader.events(config))


def test_what_is_archived_and_released_while_reading_is_not_missed(tmp_path):
    raws = Market().mixed(3000)
    config = mesh(tmp_path, raws, 500)
    seen = []
    for event in reader.events(config):
        seen.append(bytes(event.raw))
        if event.seq in (200, 700, 2000):
            writer = ArchiveWriter(config.archive_dir)
            writer.archive_log(LogReader(config.log_dir), event.seq + 600, 150)
            writer.close()
            release(config.log_dir, event.seq + 600)
    assert seen == raws


def test_following_gives_what_is_appended_later(tmp_path):
    raws = Market().mixed(400)
    config = mesh(tmp_path, raws[:200], 100)
    stop, seen = threading.Event(), []

    def follow() -> None:
        for event in reader.events(config, 50, follow=True, stop=stop.is_set):
            seen.append(bytes(event.raw))

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 10
        while len(seen) < count and time.monotonic() < deadline:
            time.sleep(0.005)

    thread = threading.Thread(target=follow)
    thread.start()
    wait_for(150)
    write_log(config.log_dir, raws[200:])
    wait_for(350)
    stop.set()
    thread.join(10)
    assert seen == raws[50:]


@pytest.mark.parametrize("archived", [0, 555, 1000])
def test_arrays_have_a_row_for_each_record(tmp_path, archived):
    raws = Market().mixed(1000)
    config = mesh(tmp_path, raws, archived)
    rows = reader.arrays(config, TRADE)
    mine = [Event(r) for r in raws if Event(r).topic == TRADE]
    assert rows["seq"].tolist() == [e.seq for e in mine]
    assert rows["recv_ns"].tolist() == [e.recv_ns for e in mine]
    for name in ("trade_id", "price_ticks", "side", "venue_ns"):
        assert rows[name].tolist() == [int(e.records[name][0]) for e in mine]
    depth = reader.arrays(config, "depth.binance.BTCUSDT")
    assert len(depth) == sum(Event(r).count for r in raws if Event(r).topic == "depth.binance.BTCUSDT")
    start, end = START + 300 * MILLISECOND, START + 800 * MILLISECOND
    part = reader.arrays(config, TRADE, start, end)
    assert (part == rows[(rows["seq_ns"] >= start) & (rows["seq_ns"] < end)]).all()
    text = reader.arrays(config, TRADE, "2024-08-09T00:00:00.300", "2024-08-09 00:00:00.800Z")
    assert (text == part).all()
    assert len(reader.arrays(config, "fill.binance.BTCUSDT")) == 0


def test_a_frame_has_decimal_prices_and_a_utc_index(tmp_path):
    market = Market()
    raws = [market.instrument((-8, -8)), *market.mixed(100)]
    frame = reader.frame(mesh(tmp_path, raws, 60), TRADE)
    assert isinstance(frame, pd.DataFrame)
    assert str(frame.index.tz) == "UTC" and frame.index.name == "time"
    assert frame.index[0] == frame["seq_ns"].iloc[0]
    assert set(frame["price"]) <= {(6183763 + step) / 100 for step in range(4, 10)}
    assert (frame["quantity"] == 0.02).all()
    assert "price_ticks" not in frame


def test_exponents_are_those_of_the_newest_instrument_record(tmp_path):
    market = Market()
    raws = [market.instrument((-2, -3)), market.trade(12345)]
    config = mesh(tmp_path, raws, 0)
    assert reader.exponents(config, "binance.BTCUSDT") == (-8, -8)  # as of old, while nothing knows
    DecidedInstruments(config).keep({"binance.BTCUSDT": ExponentDecision(-9, -8)})
    assert reader.exponents(config, "binance.BTCUSDT") == (-9, -8)  # as decided, while nothing else knows
    recent = RecentWriter(config.recent_dir, 5)
    recent.put(map(Event, raws))
    recent.commit()
    assert reader.exponents(config, "binance.BTCUSDT") == (-2, -3)
    assert reader.frame(config, TRADE)["price"].tolist() == [123.45]
    recent.close()
    assert reader.exponents(config, "other.COIN") == (0, 0)


def test_exponents_are_in_the_archive_too(tmp_path):
    market = Market()
    config = mesh(tmp_path, [market.instrument((-2, -3)), market.trade(12345)], 2)
    assert ArchiveReader(config.archive_dir).exponents("binance.BTCUSDT") == (-2, -3)
    assert reader.exponents(config, "binance.BTCUSDT") == (-2, -3)


def test_scaling_is_correctly_rounded():
    mantissas = np.array([6183763000000, 1, 2**53 - 1, -5])
    assert scaled(mantissas, -8).tolist() == [61837.63, 1e-8, 90071992.54740991, -5e-8]
    assert scaled(np.array([7]), 2).tolist() == [700.0]


def test_latest_and_last(tmp_path):
    raws = Market().mixed(300)
    config = mesh(tmp_path, raws, 100)
    trades = [r for r in raws if Event(r).topic == TRADE]
    assert reader.latest(config, TRADE) is None
    assert raw(reader.last(config, TRADE, 40)) == trades[-40:]
    recent = RecentWriter(config.recent_dir, 5)
    recent.start_after(200)
    recent.put(map(Event, raws))
    recent.commit()
    assert bytes(reader.latest(config, TRADE).raw) == trades[-1]
    assert raw(reader.last(config, TRADE, 4)) == trades[-4:]
    assert raw(reader.last(config, TRADE, 150)) == trades[-150:]
    recent.close()


@pytest.mark.parametrize(
    "when, ns",
    [
        (None, None),
        (5, 5),
        ("2024-08-09", START),
        ("2024-08-09T00:00:00.123456789", START + 123456789),
        ("2024-08-09T02:00:00.5+02:00", START + 500_000_000),
        ("2024-08-09 00:00:01Z", START + 1_000_000_000),
        (datetime(2024, 8, 9, 0, 0, 0, 7, UTC), START + 7000),
        ("1969-12-31T23:59:59", -1_000_000_000),
    ],
)
def test_times_are_exact(when, ns):
    assert to_ns(when) == ns


@pytest.mark.parametrize("when", ["yesterday", "2024-13-01", ""])
def test_no_time_is_a_sentence(when):
    with pytest.raises(ReadError, match="is no time; allowed are"):
        to_ns(when)


@pytest.mark.parametrize("topic", ["trade", "trade.", "trades.binance.BTCUSDT", ""])
def test_no_topic_is_a_sentence(tmp_path, topic):
    with pytest.raises(ReadError, match="is no topic; it should be kind.subject"):
        reader.arrays(Config(Mesh(), tmp_path), topic)


def test_a_mesh_that_never_ran_is_empty(tmp_path):
    config = Config(Mesh(), tmp_path)
    assert list(reader.events(config)) == []
    assert len(reader.frame(config, TRADE)) == 0


def test_an_archive_and_a_log_of_two_meshes_are_never_read_as_one(tmp_path):
    raws = Market().mixed(400)
    config = mesh(tmp_path, raws, 300)
    assert raw(reader.events(config)) == raws
    shutil.rmtree(config.log_dir)
    assert raw(reader.events(config)) == raws[:300], "an archive without its log is read alone"
    write_log(config.log_dir, raws)
    with pytest.raises(ReadError, match="not of one mesh: the archive ends at seq 300; it is of log .* has never been that"):
        list(reader.events(config))


@pytest.mark.parametrize("when", ["9999-01-01", "0001-01-01", 2**63, -(2**63), datetime(2262, 4, 12, tzinfo=UTC)])
def test_a_time_beyond_64_bits_is_a_sentence(when):
    with pytest.raises(ReadError, match="beyond what nanoseconds of 64 bits can say; allowed is 1677-09-22 to 2262-04-11"):
        reader.to_ns(when)
    assert reader.to_ns("2262-04-11") == 9223286400 * 10**9

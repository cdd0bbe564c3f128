"""The recent store answers by topic, seq and time, forgets what is old, and is never brought back from the dead."""

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.support.places import PROJECT
from tests.support.stored import START, Market
from tickmesh.bus.config import Config
from tickmesh.bus.schema import SCHEMA_HASH, Kind
from tickmesh.bus.settings import Mesh
from tickmesh.bus.wire import Event, decode
from tickmesh.storage.recent import store
from tickmesh.storage.recent.environment import RecentError
from tickmesh.storage.recent.reader import RecentReader
from tickmesh.storage.recent.store import RecentFull, RecentWriter

TRADE, RAW = "trade.binance.BTCUSDT", "raw.binance.BTCUSDT"
OWNER = '{"boot": "boot-1", "log_id": "0000000000000005"}'


def events_of(raws: list[bytes]) -> list[Event]:
    return [Event(raw) for raw in raws]


@pytest.fixture(params=[1 << 30, 3000], ids=["plain", "packed"])
def writer(tmp_path, request, monkeypatch):
    monkeypatch.setattr(store, "PACK_BYTES", request.param)
    writer = RecentWriter(tmp_path / "recent", log_id=5, boot="boot-1")
    yield writer
    writer.close()


def fill(writer: RecentWriter, raws: list[bytes], batch: int = 100) -> None:
    for i in range(0, len(raws), batch):
        writer.put(events_of(raws[i : i + batch]))
        writer.commit()


def of_topic(raws: list[bytes], topic: str) -> list[bytes]:
    return [raw for raw in raws if Event(raw).topic == topic]


def raw(events: list[Event]) -> list[bytes]:
    return [bytes(event.raw) for event in events]


def test_a_topic_is_read_by_seq_time_and_count(writer):
    raws = Market().mixed(1000)
    fill(writer, raws)
    trades = of_topic(raws, TRADE)
    with RecentReader(writer.folder) as reader:
        assert reader.recent_seq == 1000
        assert sorted(reader.topics()) == sorted({Event(r).topic for r in raws})
        assert raw(reader.read(TRADE)) == trades
        assert raw(reader.read(TRADE, limit=7)) == trades[:7]
        assert raw(reader.read(TRADE, after_seq=500)) == [r for r in trades if Event(r).seq > 500]
        assert raw(reader.last(TRADE, 5)) == trades[-5:]
        assert raw(reader.last(TRADE, 10_000)) == trades
        assert bytes(reader.latest(TRADE).raw) == trades[-1]
        assert reader.latest("trade.binance.NONE") is None
        assert reader.read("trade.binance.NONE") == reader.last("trade.binance.NONE", 3) == []


@pytest.mark.parametrize("since, until", [(0, 5), (17, 230), (100, 101), (999, 5000), (2000, 3000), (-50, 3)])
def test_a_time_range_is_exact_to_the_nanosecond(writer, since, until):
    raws = Market().mixed(1000)
    fill(writer, raws)
    since_ns, until_ns = START + since * 1_000_000 + 1, START + until * 1_000_000
    expected = [r for r in of_topic(raws, TRADE) if since_ns <= Event(r).seq_ns < until_ns]
    with RecentReader(writer.folder) as reader:
        assert raw(reader.read(TRADE, since_ns=since_ns, until_ns=until_ns)) == expected


def test_what_is_not_committed_is_not_seen_and_nothing_is_put_twice(writer):
    raws = Market().mixed(50)
    with RecentReader(writer.folder) as reader:
        writer.put(events_of(raws[:30]))
        assert reader.recent_seq == 0 and reader.topics() == []
        assert writer.commit() == 30
        writer.put(events_of(raws[20:40]))
        writer.put(events_of(raws[10:]))
        assert writer.commit() == 20
        assert reader.recent_seq == 50
        assert raw(reader.read(TRADE)) == of_topic(raws, TRADE)


def test_pruning_is_bounded_takes_whole_blocks_and_leaves_the_latest(writer):
    market = Market()
    raws = [market.instrument(), *market.mixed(999)]
    fill(writer, raws, 20)
    limit = START + 800 * 1_000_000
    young = [r for r in of_topic(raws, TRADE) if Event(r).seq_ns >= limit]
    gone = 0
    while step := writer.prune(limit, 100):
        assert step < 100 + 20  # the last block of a step goes beyond
        gone += step
    assert 700 < gone <= 800
    with RecentReader(writer.folder) as reader:
        kept = raw(reader.read(TRADE))
        assert kept[-len(young) :] == young and len(kept) < len(young) + 20
        assert reader.first_seq(TRADE) == Event(kept[0]).seq
        assert raw(reader.read(TRADE, since_ns=limit)) == raw(reader.read(TRADE, after_seq=Event(young[0]).seq - 1)) == young
        assert raw(reader.read(TRADE, since_ns=START)) == kept
        assert reader.latest("instrument.binance.BTCUSDT").seq == 1
        assert reader.read("instrument.binance.BTCUSDT") == []
    fill(writer, market.mixed(200), 20)
    with RecentReader(writer.folder) as reader:
        assert raw(reader.read(TRADE))[: len(kept)] == kept


def test_all_of_it_may_be_pruned(writer):
    """As after a clock that went an hour forward: the cursor comes to the table's end behind the last topic."""
    raws = Market().mixed(300)
    fill(writer, raws)
    assert writer.prune(START * 2) == 300
    with RecentReader(writer.folder) as reader:
        assert all(reader.read(topic) == [] and reader.latest(topic) is not None for topic in reader.topics())
    fill(writer, Market().mixed(320)[300:])


def test_it_goes_on_after_a_restart_of_the_same_boot_and_log(tmp_path):
    raws = Market().mixed(200)
    first = RecentWriter(tmp_path, log_id=5, boot="boot-1")
    fill(first, raws[:100])
    first.close()
    again = RecentWriter(tmp_path, log_id=5, boot="boot-1")
    assert again.recent_seq == 100 and not again.wiped
    fill(again, raws)
    with RecentReader(tmp_path) as reader:
        assert raw(reader.read(TRADE)) == of_topic(raws, TRADE)
    again.close()


@pytest.mark.parametrize("log_id, boot", [(5, "boot-2"), (6, "boot-1"), (5, "")])
def test_another_boot_or_log_begins_anew(tmp_path, log_id, boot):
    raws = Market().mixed(100)
    first = RecentWriter(tmp_path, log_id=5, boot="boot-1")
    fill(first, raws)
    reader = RecentReader(tmp_path)
    first.close()
    again = RecentWriter(tmp_path, log_id=log_id, boot=boot)
    assert again.recent_seq == 0 and again.wiped
    assert reader.topics() == [] and reader.recent_seq == 0  # an open reader notices
    fill(again, raws[:10])
    assert reader.recent_seq == 10
    reader.close()
    again.close()


@pytest.mark.parametrize("owner", [OWNER, OWNER.replace("}", f', "schema": "{SCHEMA_HASH}"}}'), "{}", "[]", "no json"])
@pytest.mark.parametrize("gone", [b"schema", b"format"])
def test_a_store_of_another_schema_or_format_begins_anew_and_is_read_by_nobody(tmp_path, owner, gone):
    """Version 1 wrote no schema, neither into its `owner` nor into its tables; a store with a key for each event no format."""
    raws = Market().mixed(100)
    first = RecentWriter(tmp_path, log_id=5, boot="boot-1")
    fill(first, raws)
    with first._env.begin(write=True, db=first._tables[b"meta"]) as txn:
        txn.delete(gone)
    sentence = "another schema of events or another format of the store; the recorder fills it anew"
    with pytest.raises(RecentError, match=sentence), RecentReader(tmp_path) as old:
        old.latest(TRADE)
    first.close()
    (tmp_path / "owner").write_text(owner)
    again = RecentWriter(tmp_path, log_id=5, boot="boot-1")
    assert again.recent_seq == 0 and again.wiped and bool(again.unused) == ("log_id" in owner)
    fill(again, raws)
    with RecentReader(tmp_path) as reader:
        assert raw(reader.read(TRADE)) == of_topic(raws, TRADE)
    again.close()


def test_a_damaged_store_begins_anew(tmp_path):
    writer = RecentWriter(tmp_path, log_id=5, boot="boot-1")
    fill(writer, Market().mixed(100))
    writer.close()
    data = tmp_path / "data.mdb"
    data.write_bytes(b"\xff" * data.stat().st_size)
    again = RecentWriter(tmp_path, log_id=5, boot="boot-1")
    assert again.recent_seq == 0 and again.wiped
    again.close()


def test_a_reader_never_makes_a_store(tmp_path):
    with pytest.raises(RecentError, match="no recent store in"):
        RecentReader(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    writer = RecentWriter(tmp_path / "gone", log_id=5, boot="b")
    reader = RecentReader(tmp_path / "gone")
    shutil.rmtree(tmp_path / "gone")
    with pytest.raises(RecentError, match="no recent store in"):
        reader.topics()
    assert not (tmp_path / "gone").exists()
    reader.close()
    writer.close()


def test_many_readers_and_the_writer_share_one_process(tmp_path):
    writer = RecentWriter(tmp_path, log_id=5, boot="b")
    readers = [RecentReader(tmp_path) for _ in range(5)]
    fill(writer, Market().mixed(20))
    for reader in readers[:-1]:
        assert reader.recent_seq == 20
        reader.close()
        reader.close()
    writer.close()
    assert readers[-1].recent_seq == 20  # still open
    later = RecentWriter(tmp_path, log_id=5, boot="b")
    assert later.recent_seq == 20
    assert readers[-1].recent_seq == 20
    readers[-1].close()
    later.close()


def dense(count: int) -> list[bytes]:
    """Events that nothing makes smaller: some 1.2 kB each."""
    market, rng = Market(), random.Random(1)
    return [market.event(Kind.raw, "binance.BTCUSDT", rng.randbytes(1000)) for _ in range(count)]


def test_a_full_map_makes_room_by_forgetting_the_oldest(tmp_path):
    writer = RecentWriter(tmp_path, log_id=5, boot="b", bytes_max=1 << 20)
    raws = dense(3000)
    fill(writer, raws, 50)
    assert writer.recent_seq == 3000
    with RecentReader(tmp_path) as reader:
        kept = raw(reader.read(RAW))
        assert 100 < len(kept) < len(raws)
        assert kept == raws[-len(kept) :]
    assert (tmp_path / "data.mdb").stat().st_size <= 1 << 20
    writer.close()


def test_a_batch_beyond_the_bound_is_refused_with_a_sentence(tmp_path):
    writer = RecentWriter(tmp_path, log_id=5, boot="b", bytes_max=1 << 20)
    raws = dense(2000)
    writer.put(events_of(raws))
    with pytest.raises(RecentFull, match="recent_bytes_max"):
        writer.commit()
    assert writer.recent_seq == 0 and writer.pending == []
    fill(writer, raws[:500])
    assert writer.recent_seq == 500
    writer.close()


WRITER = """
import sys; sys.path[:0] = [{root!r}]
from pathlib import Path
from tickmesh.bus.wire import Event
from tickmesh.storage.recent.store import RecentWriter
from tests.support.stored import Market
raws = Market().mixed(20000)
writer = RecentWriter(Path({folder!r}), 5, boot="b")
print("up", flush=True)
for i in range(0, 20000, 50):
    writer.put(map(Event, raws[i : i + 50])); writer.commit()
"""


def test_a_killed_writer_leaves_whole_transactions(tmp_path):
    code = WRITER.format(root=str(PROJECT), folder=str(tmp_path))
    raws = Market().mixed(20000)
    seen = 0
    for delay in (0.0, 0.02, 0.05, 0.1):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        with RecentReader(tmp_path) as reader:
            assert reader.recent_seq >= seen and reader.recent_seq % 50 == 0
            seen = reader.recent_seq
            assert raw(reader.read(TRADE, limit=1 << 30)) == of_topic(raws[:seen], TRADE)
    assert seen > 0


FORKED = """
import multiprocessing as mp, sys, threading
from pathlib import Path
from tickmesh.bus.config import Config
from tickmesh.bus.settings import Mesh
from tickmesh.storage.query import reader
from tickmesh.storage.recent.reader import RecentReader

config, topic = Config(Mesh(), Path({root!r})), "trade.binance.BTCUSDT"
inherited = RecentReader(config.recent_dir)


def work(_):
    with RecentReader(config.recent_dir) as own:
        return reader.latest(config, topic).seq, own.recent_seq, inherited.recent_seq


def busy():
    while not done:
        inherited.last(topic, 50)


done = []
threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(3):
    with mp.get_context("fork").Pool(2) as pool:
        print(*pool.map(work, range(4)))
done.append(True)
for thread in threads:
    thread.join()
print(work(0))
"""


def test_a_process_forked_while_the_store_is_open_opens_its_own(tmp_path):
    config = Config(Mesh(), tmp_path)
    writer: RecentWriter | None = RecentWriter(config.recent_dir, 5, 1 << 26)
    writer.put([decode(raw) for raw in Market().mixed(500)])
    writer.commit()
    code = FORKED.format(root=str(tmp_path))
    for _ in range(2):  # while the recorder has it open in another process, and when none has
        done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60)
        answers = done.stdout.strip().replace(") (", ")\n(").splitlines()
        assert done.returncode == 0 and len(answers) == 13 and set(answers) == {"(500, 500, 500)"}, done
        if writer is not None:
            writer.close()
            writer = None

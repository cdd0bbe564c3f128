"""The judge's look into the recent store: what has to be there is there, equal and found by its time, and nothing else is."""

import struct

import lmdb
import pytest

from tests.support.event_fields import record_slice
from tests.support.stored import START, Market, write_log
from tickmesh.bus.config import load
from tickmesh.bus.layout import header_slice
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.recent.store import RecentWriter
from tickmesh.tools import verify as command

TRADE = "trade.binance.BTCUSDT"


def market(count: int = 300) -> list[bytes]:
    """Trades of two instruments, health of two nodes, a clock: 1 ms apart."""
    made, out = Market(), []
    for step in range(count):
        if step % 10 == 0:
            out.append(made.health(f"feed-{1 + step % 20 // 10}"))
        elif step % 10 == 5:
            out.append(made.clock())
        else:
            out.append(made.trade(subject=("binance.BTCUSDT", "binance.ETHUSDT")[step % 2]))
    return out


def ids_of_their_own(raws: list[bytes]) -> list[bytes]:
    """Trade ids that follow on in each instrument."""
    next_id: dict[str, int] = {}
    out = []
    for raw in raws:
        event = bytearray(raw)
        if (topic := Event(raw).topic).startswith("trade."):
            number = next_id[topic] = next_id.get(topic, 100) + 1
            for place in (header_slice("first_id"), header_slice("last_id"), record_slice(Kind.trade, "trade_id")):
                event[place] = number.to_bytes(8, "little")
        out.append(bytes(event))
    return out


def store(archived: bool = False, begin_after: int = 0, bytes_max: int = 1 << 26, count: int = 300) -> list[bytes]:
    config = load()
    raws = ids_of_their_own(market(count))
    write_log(config.log_dir, raws)
    reader = LogReader(config.log_dir)
    if archived:
        writer = ArchiveWriter(config.archive_dir)
        writer.archive_log(reader, reader.last, 40)
        writer.close()
    recent = RecentWriter(config.recent_dir, reader.log_id, bytes_max)
    recent.start_after(begin_after)
    for start in range(0, count, 5000):
        recent.put(Event(raw) for raw in raws[start : start + 5000])
        recent.commit()
    recent.close()
    return raws


class Open:
    """The store, opened for writing as no program of ours would."""

    def __enter__(self):
        self.env = lmdb.open(str(load().recent_dir), map_size=1 << 26, max_dbs=8)
        self.tables = {name: self.env.open_db(name.encode()) for name in ("events", "times", "latest", "topics", "meta")}
        self.txn = self.env.begin(write=True)
        return self

    def __exit__(self, *_):
        self.txn.commit()
        self.env.close()

    def number(self, topic: str) -> bytes:
        return self.txn.get(topic.encode(), db=self.tables["topics"])

    def keys(self, table: str, topic: str) -> list[bytes]:
        number = self.number(topic)
        keys = [bytes(key) for key in self.txn.cursor(self.tables[table]).iternext(values=False)]
        return [key for key in keys if key[:4] == number]

    def drop(self, table: str, *keys: bytes) -> None:
        for key in keys:
            assert self.txn.delete(key, db=self.tables[table])

    def get(self, table: str, key: bytes) -> bytes:
        return bytes(self.txn.get(key, db=self.tables[table]))

    def put(self, table: str, key: bytes, value: bytes) -> None:
        self.txn.put(key, value, db=self.tables[table])


def lose_a_topic(db: Open) -> None:
    db.drop("events", *db.keys("events", TRADE))


def lose_a_topic_and_its_name(db: Open) -> None:
    lose_a_topic(db)
    db.drop("times", *db.keys("times", TRADE))
    db.drop("latest", TRADE.encode())
    db.drop("topics", TRADE.encode())


def lose_all(db: Open) -> None:
    db.drop("events", *[bytes(key) for key in db.txn.cursor(db.tables["events"]).iternext(values=False)])


def alter(db: Open) -> None:
    key = db.keys("events", TRADE)[7]
    raw = bytearray(db.get("events", key))
    raw[170] ^= 1
    db.put("events", key, bytes(raw))


def exchange_two(db: Open) -> None:
    one, other = db.keys("events", TRADE)[7:9]
    first, second = db.get("events", one), db.get("events", other)
    db.put("events", one, second)
    db.put("events", other, first)


def add_one(db: Open) -> None:
    key = db.keys("events", TRADE)[7]
    db.put("events", key[:4] + struct.pack(">Q", struct.unpack(">Q", key[4:])[0] + 1), db.get("events", key))


def add_a_topic(db: Open) -> None:
    db.put("topics", b"trade.binance.NONE", struct.pack(">I", 99))
    db.put("latest", b"trade.binance.NONE", db.get("latest", TRADE.encode()))


def latest_is_older(db: Open) -> None:
    db.put("latest", TRADE.encode(), db.get("events", db.keys("events", TRADE)[-2]))


PLANTED = {
    "a topic lost": lose_a_topic,
    "a topic lost with its name": lose_a_topic_and_its_name,
    "all events lost": lose_all,
    "the first event of a topic lost": lambda db: db.drop("events", db.keys("events", TRADE)[0]),
    "an event lost": lambda db: db.drop("events", db.keys("events", TRADE)[7]),
    "the last event of a topic lost": lambda db: db.drop("events", db.keys("events", TRADE)[-1]),
    "an event altered": alter,
    "an event cut short": lambda db: db.put("events", db.keys("events", TRADE)[7], b"half"),
    "two events exchanged": exchange_two,
    "an event too many": add_one,
    "an event of no topic": lambda db: db.put("events", struct.pack(">IQ", 77, 5), b"x"),
    "a topic too many": add_a_topic,
    "the latest is an older one": latest_is_older,
    "no latest": lambda db: db.drop("latest", TRADE.encode()),
    "no way by time": lambda db: db.drop("times", db.keys("times", TRADE)[2]),
    "a wrong way by time": lambda db: db.put("times", db.keys("times", TRADE)[2], struct.pack(">Q", 1)),
    "another log": lambda db: db.put("meta", b"log_id", struct.pack(">Q", 5)),
    "a table lost": lambda db: db.txn.drop(db.tables["times"]),
}


@pytest.mark.parametrize("archived", [False, True], ids=["log", "archive"])
def test_finds_nothing_where_all_is_there(root, archived):
    raws = store(archived)
    verdict = command.verify([])
    assert verdict["ok"] and verdict["recent_events"] == len(raws), verdict


@pytest.mark.parametrize("name", PLANTED)
def test_finds_what_was_done_to_the_store(root, name):
    store()
    with Open() as db:
        PLANTED[name](db)
    verdict = command.verify([])
    assert set(verdict["faults"]) == {"recent"}, verdict
    assert not [sentence for sentence in verdict["sentences"] if "recent store" not in sentence]


def test_a_store_that_is_no_store_is_a_finding(root):
    store()
    path = load().recent_dir / "data.mdb"
    path.write_bytes(b"\x01" * path.stat().st_size)
    assert set(command.verify([])["faults"]) == {"recent"}


def pruned(upto_ms: int) -> None:
    config = load()
    recent = RecentWriter(config.recent_dir, LogReader(config.log_dir).log_id, 1 << 26)
    assert not recent.wiped
    while recent.prune(START + upto_ms * 1_000_000):
        pass
    recent.close()


@pytest.mark.parametrize("upto_ms, ok", [(100, True), (200, False)])
def test_what_is_older_than_it_has_to_be_may_be_gone(root, upto_ms, ok):
    """Kept for 150 ms of a log that spans 300."""
    (root / "mesh.toml").write_text(f"[recorder]\nrecent_hours = {0.150 / 3600:.9f}\n")
    store()
    pruned(upto_ms)
    assert command.verify([])["ok"] == ok


def test_a_topic_of_which_all_is_old_keeps_its_latest(root):
    (root / "mesh.toml").write_text(f"[recorder]\nrecent_hours = {0.150 / 3600:.9f}\n")
    store()
    pruned(100)
    with Open() as db:
        db.drop("latest", TRADE.encode())
    assert command.verify([])["faults"] == {"recent": 1}


def test_a_store_that_began_later_holds_what_came_after(root):
    """It says from where on; what is older and missing is no fault, and what is younger is one."""
    store(begin_after=100)
    assert command.verify([])["ok"]
    with Open() as db:
        key = db.keys("events", TRADE)[0]
        assert struct.unpack(">Q", key[4:])[0] > 100
        db.drop("events", key)
    assert command.verify([])["faults"] == {"recent": 1}


def test_a_store_of_another_boot_is_not_opened(root):
    """LMDB maps its file, and a power cut may have torn it; the recorder will throw it away."""
    store()
    owner = load().recent_dir / "owner"
    owner.write_bytes(owner.read_bytes().replace(b'"boot": "', b'"boot": "x'))
    with Open() as db:
        lose_all(db)
    verdict = command.verify([])
    assert verdict["ok"] and verdict["recent_not_judged"] == 1 and "recent_events" not in verdict


def test_a_store_that_made_room_is_whole_from_each_topic_s_oldest_on(root):
    (root / "mesh.toml").write_text("[recorder]\nrecent_bytes_max = 16777216\n")
    raws = store(bytes_max=16 << 20, count=50_000)
    verdict = command.verify([])
    assert verdict["ok"] and 0 < verdict["recent_events"] < len(raws), verdict
    with Open() as db:
        db.drop("events", db.keys("events", TRADE)[20])
    assert command.verify([])["faults"] == {"recent": 1}

"""The judge's look into the recent store: what has to be there is there, equal and found by its time, and nothing else is."""

import random
import struct
from collections.abc import Callable

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
from tickmesh.storage.recent import store as recent_store
from tickmesh.storage.recent.blocks import packed_block, plain_block, read_head, read_raws
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


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """A topic has several packed blocks and a plain one."""
    monkeypatch.setattr(recent_store, "PACK_BYTES", 4000)


def store(
    archived: bool = False, begin_after: int = 0, bytes_max: int = 1 << 26, raws: list[bytes] | None = None, commit: int = 7
) -> list[bytes]:
    config = load()
    raws = raws or ids_of_their_own(market())
    write_log(config.log_dir, raws)
    reader = LogReader(config.log_dir)
    if archived:
        writer = ArchiveWriter(config.archive_dir)
        writer.archive_log(reader, reader.last, 40)
        writer.close()
    recent = RecentWriter(config.recent_dir, reader.log_id, bytes_max)
    recent.start_after(begin_after)
    for start in range(0, len(raws), commit):
        recent.put(Event(raw) for raw in raws[start : start + commit])
        recent.commit()
    recent.close()
    return raws


class Open:
    """The store, opened for writing as no program of ours would."""

    def __enter__(self):
        self.env = lmdb.open(str(load().recent_dir), map_size=1 << 26, max_dbs=8)
        self.tables = {name: self.env.open_db(name.encode()) for name in ("blocks", "times", "latest", "topics", "meta")}
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


def change(place: int, edit: Callable[[list[bytes]], object]) -> Callable[[Open], None]:
    """Writes a block of TRADE anew, with other events under its key and a head that says so."""

    def plant(db: Open) -> None:
        key = db.keys("blocks", TRADE)[place]
        block = db.get("blocks", key)
        raws = list(read_raws(block))
        edit(raws)
        db.put("blocks", key, (packed_block if read_head(block).form else plain_block)(raws))

    return plant


def rewrite(place: int, edit: Callable[[bytes], bytes]) -> Callable[[Open], None]:
    """Changes the bytes of a block of TRADE."""

    def plant(db: Open) -> None:
        key = db.keys("blocks", TRADE)[place]
        db.put("blocks", key, edit(db.get("blocks", key)))

    return plant


def lose_a_topic(db: Open) -> None:
    db.drop("blocks", *db.keys("blocks", TRADE))


def lose_a_topic_and_its_name(db: Open) -> None:
    lose_a_topic(db)
    db.drop("times", *db.keys("times", TRADE))
    db.drop("latest", TRADE.encode())
    db.drop("topics", TRADE.encode())


def lose_all(db: Open) -> None:
    db.drop("blocks", *[bytes(key) for key in db.txn.cursor(db.tables["blocks"]).iternext(values=False)])


def lose_a_block(place: int) -> Callable[[Open], None]:
    def plant(db: Open) -> None:
        db.drop("blocks", db.keys("blocks", TRADE)[place])
        db.drop("times", db.keys("times", TRADE)[place])

    return plant


def alter(raws: list[bytes]) -> None:
    raw = bytearray(raws[1])
    raw[170] ^= 1
    raws[1] = bytes(raw)


def exchange(raws: list[bytes]) -> None:
    raws[1], raws[2] = raws[2], raws[1]


def exchange_two_blocks(db: Open) -> None:
    one, other = db.keys("blocks", TRADE)[1:3]
    first, second = db.get("blocks", one), db.get("blocks", other)
    db.put("blocks", one, second)
    db.put("blocks", other, first)


def repeat_a_block(db: Open) -> None:
    key = db.keys("blocks", TRADE)[1]
    db.put("blocks", key[:4] + struct.pack(">Q", struct.unpack(">Q", key[4:])[0] + 1), db.get("blocks", key))


def add_a_topic(db: Open) -> None:
    db.put("topics", b"trade.binance.NONE", struct.pack(">I", 99))
    db.put("latest", b"trade.binance.NONE", db.get("latest", TRADE.encode()))


def latest_is_older(db: Open) -> None:
    db.put("latest", TRADE.encode(), list(read_raws(db.get("blocks", db.keys("blocks", TRADE)[-1])))[-2])


PLANTED = {
    "a topic lost": lose_a_topic,
    "a topic lost with its name": lose_a_topic_and_its_name,
    "all events lost": lose_all,
    "the first block of a topic lost": lose_a_block(0),
    "a block lost": lose_a_block(2),
    "the last block lost": lose_a_block(-1),
    "an event lost": change(1, lambda raws: raws.pop(1)),
    "the first event of a block lost": change(1, lambda raws: raws.pop(0)),
    "the last event of a block lost": change(1, lambda raws: raws.pop()),
    "the last event of a topic lost": change(-1, lambda raws: raws.pop()),
    "a packed event altered": change(1, alter),
    "a plain event altered": change(-1, alter),
    "two events exchanged": change(1, exchange),
    "an event twice": change(1, lambda raws: raws.insert(1, raws[1])),
    "two blocks exchanged": exchange_two_blocks,
    "a block twice": repeat_a_block,
    "a packed block cut short": rewrite(1, lambda block: block[:-3]),
    "a plain block cut short": rewrite(-1, lambda block: block[:-3]),
    "a block of nothing": rewrite(1, lambda block: b""),
    "bytes behind a plain block": rewrite(-1, lambda block: block + b"more"),
    "bytes behind a packed block": rewrite(1, lambda block: block + b"more"),
    "a block of another form": rewrite(1, lambda block: b"\x02" + block[1:]),
    "a block that says fewer events": rewrite(1, lambda block: block[:4] + struct.pack("<I", 3) + block[8:]),
    "a block that says another last seq": rewrite(1, lambda block: block[:8] + bytes(8) + block[16:]),
    "a block that says another time": rewrite(1, lambda block: block[:24] + bytes(8) + block[32:]),
    "a block of no topic": lambda db: db.put("blocks", struct.pack(">IQ", 77, 5), b"x"),
    "a topic too many": add_a_topic,
    "the latest is an older one": latest_is_older,
    "no latest": lambda db: db.drop("latest", TRADE.encode()),
    "no way by time": lambda db: db.drop("times", db.keys("times", TRADE)[2]),
    "a wrong way by time": lambda db: db.put("times", db.keys("times", TRADE)[2], struct.pack(">Q", 1)),
    "a way by time to nowhere": lambda db: db.put("times", db.number(TRADE) + struct.pack(">Q", 7), struct.pack(">Q", 1 << 40)),
    "another log": lambda db: db.put("meta", b"log_id", struct.pack(">Q", 5)),
    "no schema": lambda db: db.drop("meta", b"schema"),
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
        key = db.keys("blocks", TRADE)[0]
        assert struct.unpack(">Q", key[4:])[0] > 100
        db.drop("blocks", key)
    assert set(command.verify([])["faults"]) == {"recent"}


def test_a_store_of_another_format_is_not_judged(root):
    """The recorder begins it anew; before there were blocks, a store did not say which format it has."""
    store()
    with Open() as db:
        db.drop("meta", b"format")
        lose_all(db)
    verdict = command.verify([])
    assert verdict["ok"] and verdict["recent_not_judged"] == 1 and "recent_events" not in verdict


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
    made, rng = Market(), random.Random(1)
    dense = [made.event(Kind.raw, "binance.BTCUSDT", {"body": rng.randbytes(1000)}) for _ in range(14_000)]
    store(bytes_max=16 << 20, raws=dense, commit=500)
    verdict = command.verify([])
    assert verdict["ok"] and 0 < verdict["recent_events"] < len(dense), verdict["sentences"][:3]
    with Open() as db:
        db.drop("blocks", db.keys("blocks", "raw.binance.BTCUSDT")[20])
    assert set(command.verify([])["faults"]) == {"recent"}

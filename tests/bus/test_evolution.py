"""What an older schema wrote: read as today's events, and gone on from without a loss."""

import msgpack
import numpy as np
import pytest
import zmq

from tests.support.schema_v1 import DESCRIPTION as FIRST
from tests.support.schema_v1 import OLD, event_of_version_1, log_as_version_1
from tests.support.stored import Market
from tickmesh.bus.config import Config
from tickmesh.bus.evolution import converter, dtype_of, recast, translator
from tickmesh.bus.intake import Cursor, Intake
from tickmesh.bus.log import LogReader, Tail
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.schema import DESCRIPTION, DTYPES, HEADER, SCHEMA_VERSION, Kind
from tickmesh.bus.segments import read_preamble, segments
from tickmesh.bus.settings import Mesh
from tickmesh.bus.sockets import LOG_RING, Places, Producer, Publisher, Subscriber
from tickmesh.bus.topics import Lane
from tickmesh.bus.wire import Event


def every_kind(seed: int = 1, count: int = 3) -> list[bytes]:
    """Events of every kind of version 1, `count` of each, with 1 to 3 records of noise; names as long as version 1 allowed."""
    rng, market, out = np.random.default_rng(seed), Market(), []
    for kind in [kind for kind in Kind if kind.name in OLD for _ in range(count)]:
        content = {"node": "feed-1", "raw": rng.bytes(20)}
        if DTYPES[kind].names:
            old = np.frombuffer(rng.bytes(OLD[kind.name].itemsize * int(rng.integers(1, 4))), OLD[kind.name])
            content = recast(old, DTYPES[kind])
        out.append(market.event(kind, "binance.BTCUSDT", content, producer=b"sixteen-bytes-16", k=int(rng.integers(9))))
    return out


def write(folder, raws, size=7, **settings):
    writer = LogWriter(folder, segment_bytes=4000, sync_ms=0, boot="this boot", **settings)
    for at in range(0, len(raws), size):
        writer.append(writer.last + 1, raws[at : at + size])
    writer.close()


def read(folder, after=0):
    return [bytes(event.raw) for event in LogReader(folder).events(after)]


def versions(folder):
    return [read_preamble(path).schema_version for _, path in segments(folder)]


def test_a_log_of_version_1_is_read_as_events_of_today(tmp_path):
    raws = every_kind()
    write(tmp_path, raws)
    assert log_as_version_1(tmp_path) == raws and set(versions(tmp_path)) == {1} and len(versions(tmp_path)) > 2
    assert read(tmp_path) == raws and read(tmp_path, 17) == raws[17:]
    tail = Tail(tmp_path, 30)
    assert Event(tail.read()[-1].body).producer == "sixteen-bytes-16"
    assert LogReader(tmp_path).last == len(raws) and LogReader(tmp_path).seq_at(Event(raws[9]).seq_ns) == 9


def test_a_writer_goes_on_in_a_new_segment_and_leaves_the_old_ones_as_they_are(tmp_path):
    raws = every_kind()
    write(tmp_path, raws[:40])
    log_as_version_1(tmp_path)
    before = {path: path.read_bytes() for _, path in segments(tmp_path)}
    write(tmp_path, raws[40:])
    assert all(path.read_bytes() == data for path, data in before.items())
    assert versions(tmp_path)[len(before) :] and set(versions(tmp_path)[len(before) :]) == {SCHEMA_VERSION}
    assert read(tmp_path) == raws
    write(tmp_path, [])
    assert len(segments(tmp_path)) == len(versions(tmp_path)) and versions(tmp_path).count(1) == len(before), "only once"


def test_the_state_of_a_segment_without_events_is_given_on(tmp_path):
    """The segments before it may be released: it may be the only one that has the state."""
    raws, state = every_kind(), msgpack.packb({"n": 7})
    writer = LogWriter(tmp_path, segment_bytes=4000, boot="this boot", state=lambda: state)
    writer.append(1, raws)
    writer.roll_if_full()
    writer.close()
    log_as_version_1(tmp_path)
    assert segments(tmp_path)[-1][0] == len(raws) + 1
    LogWriter(tmp_path, boot="this boot", state=lambda: b"").close()
    head = read_preamble(segments(tmp_path)[-1][1])
    assert (head.schema_version, head.first, head.state) == (SCHEMA_VERSION, len(raws) + 1, state)


def test_an_outbox_of_version_1_is_taken_from_where_the_log_has_it(tmp_path):
    config = Config(Mesh(), tmp_path)
    producer = Producer(config, "feed-1")
    producer.publish([bytearray(raw) for raw in every_kind()])
    producer.close()
    raws = log_as_version_1(producer.folders[0])
    intake = Intake(config, {"feed-1": Cursor(producer.epoch, 11)})
    assert [bytes(one.event) for one in intake.sweep(0)] == raws[11:]
    producer = Producer(config, "feed-1")
    assert producer.number == len(raws) and versions(producer.folders[0]) == [1, SCHEMA_VERSION]
    producer.publish([bytearray(raws[0])])
    assert [one.number for one in intake.receive()] == [len(raws) + 1], "from one segment into the next"
    producer.close()
    intake.close()


def test_a_ring_of_another_version_is_read_from_the_file(tmp_path):
    """Processes are restarted one by one: those of the old program ring as they always did."""
    config, raws = Config(Mesh(), tmp_path), every_kind()
    producer = Producer(config, "feed-1")
    producer.publish([bytearray(raw) for raw in raws])
    producer.close()
    log_as_version_1(producer.folders[0])
    intake = Intake(config, {})
    push = zmq.Context.instance().socket(zmq.PUSH)
    push.connect(Places(config).intake)
    old_ring = b"feed-1".ljust(16, b"\0") + producer.epoch.to_bytes(8, "little") + (1).to_bytes(8, "little")
    push.send(old_ring + len(raws).to_bytes(8, "little") + b"".join(map(event_of_version_1, raws)))
    intake._pull.poll(5000)
    assert intake.receive() == [] and len(intake.sweep(0)) == len(raws)
    intake.close()

    write(config.log_dir, raws)
    log_as_version_1(config.log_dir)
    log = LogWriter(config.log_dir, boot="this boot")
    publisher = Publisher(config, log, [0, 0, 0])
    subscriber = Subscriber(config, frozenset(Lane), 0)
    assert sum(map(len, subscriber.backlog())) == len(raws)
    subscriber.seq = 50
    ring = LOG_RING.pack(b"M", 0, log.log_id, 51, 60, 60, 50, 50, 50) + b"".join(map(event_of_version_1, raws[50:60]))
    out = []
    subscriber._take(ring, out)
    assert out == []
    while part := subscriber.drain():
        out += part
    assert [bytes(event.raw) for event in out] == raws[50:60]
    subscriber.close(), publisher.close(), log.close()


@pytest.mark.parametrize("changed", [{}, {"value": "<f4"}, {"horizon_ns": "<i4"}, {"model": "|S40"}, {"left_out": "<u4"}])
def test_fields_are_matched_by_name_whatever_has_become_of_them(changed):
    fields = [[name, changed.get(name, code)] for name, code in FIRST["signal"]] + [[n, c] for n, c in changed.items()][-1:]
    fields = list({name: [name, code] for name, code in reversed(fields)}.values())  # in another order, too
    old = np.zeros(3, dtype_of({"signal": fields}, Kind.signal))
    old["model"], old["value"], old["horizon_ns"] = b"flow", (1, 2.5, -3), (-1, 0, 2**30)
    got = np.frombuffer(translator(old.dtype, DTYPES[Kind.signal])(memoryview(old.tobytes())), DTYPES[Kind.signal])
    for name in ("model", "value", "horizon_ns"):
        assert got[name].tolist() == old[name].tolist()
    assert not got["price"].any() and got.dtype.itemsize == 64


def test_what_is_no_event_is_refused_and_ends():
    convert = converter(FIRST)
    whole = event_of_version_1(every_kind()[0])
    for body in (bytes(len(whole)), whole + whole[:170], (9999).to_bytes(4, "little") + whole[4:]):
        with pytest.raises(ValueError, match="states .* bytes"):
            convert(memoryview(body))
    assert len(convert(memoryview(whole))) == len(whole) + HEADER.itemsize - OLD["header"].itemsize


def test_intents_of_version_2_belong_to_no_strategy():
    """Version 3 has added `intent.strategy`, version 4 `intent.parent_seq`, and both have added kinds."""
    version_2 = {name: rows for name, rows in DESCRIPTION.items() if name not in ("command", "shadow", "parent")}
    version_2["intent"] = [row for row in DESCRIPTION["intent"] if row[0] not in ("strategy", "parent_seq")]
    row = np.zeros(1, DTYPES[Kind.intent])
    row["client_order_id"], row["quantity_lots"], row["strategy"], row["parent_seq"] = b"t1-2-0", 7, b"fast", 3
    event = Market().event(Kind.intent, "binance.BTCUSDT", row)
    old = bytearray(event[: len(event) - row["strategy"].itemsize - row["parent_seq"].itemsize])
    old[:4] = len(old).to_bytes(4, "little")
    (today,) = [Event(raw) for raw in [bytes(converter(version_2)(memoryview(old)))]]
    record = today.records[0]
    assert (record["client_order_id"], record["quantity_lots"]) == (b"t1-2-0", 7)
    assert (record["strategy"], record["parent_seq"]) == (b"", 0)

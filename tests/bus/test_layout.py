"""Every layout of an event is the schema's: what readers, writers and Structs derived from it give is what numpy gives."""

import struct

import numpy as np
import pytest

from tickmesh.bus import wire
from tickmesh.bus.layout import (
    HEADER_SIZE,
    RECORDS,
    event_dtype,
    event_size,
    header_reader,
    headers_at,
    plain_names,
    record_reader,
    record_struct,
    records_at,
    records_slice,
    struct_of,
)
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import DTYPES, HEADER, TRADE, Kind

RECORD_KINDS = [kind for kind in Kind if DTYPES[kind].names]


def noise(size: int) -> bytes:
    return bytes(np.random.default_rng(size).integers(0, 256, size, "u1"))


def same(left, right) -> bool:
    """Equal, or both NaN; numpy leaves a text's closing zeros out."""
    if isinstance(left, bytes):
        return left.rstrip(b"\0") == right.rstrip(b"\0")
    return left == right or (left != left and right != right)


@pytest.mark.parametrize(
    "dtype", [HEADER, *(DTYPES[kind] for kind in RECORD_KINDS)], ids=["header", *(k.name for k in RECORD_KINDS)]
)
def test_a_struct_reads_what_numpy_reads(dtype):
    raw = noise(dtype.itemsize)
    row = np.frombuffer(raw, dtype)[0]
    for names in (plain_names(dtype), dtype.names, dtype.names[1::2], dtype.names[-1:]):
        form = struct_of(dtype, *names)
        assert form.size == dtype.itemsize
        values = form.unpack(raw)
        assert len(values) == len(names) and all(same(row[name].item(), value) for name, value in zip(names, values))


@pytest.mark.parametrize("kind", RECORD_KINDS)
def test_what_a_struct_packs_has_zeros_where_the_record_is_reserved(kind):
    names = plain_names(DTYPES[kind])
    values = [b"x" if DTYPES[kind][name].kind == "S" else 3 for name in names]
    row = np.frombuffer(record_struct(kind).pack(*values), DTYPES[kind])[0]
    assert [row[name].item() for name in names] == values
    assert all(not row[name].item() for name in set(DTYPES[kind].names) - set(names))


def test_readers_read_an_event_and_one_in_a_buffer_of_events():
    record = np.zeros(2, TRADE)
    record["trade_id"], record["side"] = (7, 8), (1, -1)
    event = wire.encode(Kind.trade, "binance.BTCUSDT", record, k=4, cause_seq=9, first_id=7, last_id=8, venue_ns=5, recv_ns=6)
    read = header_reader("kind", "subject", "last_id")
    assert read(event) == read(b"abc" + event, 3) == (Kind.trade, b"binance.BTCUSDT".ljust(32, b"\0"), 8)
    assert record_reader(Kind.trade, "trade_id", "side")(event) == (7, 1)
    assert record_struct(Kind.trade, "side").unpack_from(event, -TRADE.itemsize) == (-1,)
    assert (wire.kind_of(event), wire.ids_of(event), wire.cause_of(event)) == (Kind.trade, (7, 8), (9, 4))
    assert (wire.flags_of(event), wire.venue_ns_of(event), wire.recv_ns_of(event)) == (0, 5, 6)
    assert event[RECORDS] == record.tobytes() == bytes(wire.decode(event).body)
    assert event[records_slice(10)] == record.tobytes()[:10]


def test_a_reader_needs_no_more_bytes_than_its_fields():
    assert header_reader("size")(b"\x07\0\0\0") == (7,)
    with pytest.raises(struct.error):
        header_reader("count")(b"\x07\0\0\0")


@pytest.mark.parametrize("names", [("last_id", "first_id"), ("price",), ("seq", "seq")])
def test_names_that_the_header_has_not_in_this_order_are_refused(names):
    with pytest.raises(ValueError, match="is no field"):
        header_reader(*names)


@pytest.mark.parametrize(
    ("stamp", "changed"),
    [
        (lambda event: wire.stamp_ids(event, 1, 2), {"first_id": 1, "last_id": 2}),
        (lambda event: wire.stamp_first_id(event, 1), {"first_id": 1}),
        (lambda event: wire.stamp_venue_ns(event, 1), {"venue_ns": 1}),
        (lambda event: wire.stamp_received(event, 1), {"recv_ns": 1}),
        (lambda event: wire.stamp_k(event, 1), {"k": 1}),
        (lambda event: wire.add_flags(event, 0xFFFF), {"flags": 0xFFFF}),
        (lambda event: wire.stamp_sequenced(event, 1, 2, 3), {"seq": 1, "link": 2, "seq_ns": 3}),
        (lambda event: wire.stamp_sent(event, producer_bytes("p"), 1, 2, 3),
         {"producer": b"p", "epoch": 1, "number": 2, "sent_ns": 3}),
        (lambda event: wire.clear_producer(event), {"producer": b""}),
        (lambda event: wire.stamp_checksum(event, 1), {"reserved": 1 | wire.HAS_CHECKSUM}),
    ],
)  # fmt: skip
def test_a_stamp_changes_its_fields_and_no_other(stamp, changed):
    event = bytearray(noise(HEADER_SIZE + 48))
    before = np.frombuffer(bytes(event), HEADER, 1)[0]
    stamp(event)
    after = np.frombuffer(event, HEADER, 1)[0]
    for name in HEADER.names:
        assert after[name].item() == changed.get(name, before[name].item()), name
    assert len(event) == HEADER_SIZE + 48


def test_an_event_keeps_its_stamps_with_other_records():
    event = wire.encode(Kind.trade, "binance.BTCUSDT", bytes(3 * TRADE.itemsize), first_id=4, last_id=6, flags=2)
    other = wire.decode(wire.with_records(event, b"\1" * TRADE.itemsize))
    assert (other.first_id, other.last_id, other.flags, other.count, bytes(other.body)) == (4, 6, 2, 1, b"\1" * TRADE.itemsize)


def test_events_back_to_back_are_parted_into_headers_and_records():
    dtype = DTYPES[Kind.trade]
    for counts in ((1, 3, 2), (2, 2), ()):  # of several sizes, and of one
        sizes = np.array([event_size(Kind.trade, n) for n in counts], "i8")
        starts = 5 + np.cumsum(sizes) - sizes  # they need not be aligned
        buffer = memoryview(bytes(5) + noise(int(sizes.sum())))
        heads, records = headers_at(buffer, starts), records_at(buffer, starts, sizes, dtype)
        assert (heads.dtype, records.dtype, len(records)) == (HEADER, dtype, sum(counts))
        own = [bytes(buffer[at : at + size]) for at, size in zip(starts.tolist(), sizes.tolist())]
        assert heads.tobytes() == b"".join(event[:HEADER_SIZE] for event in own)
        assert records.tobytes() == b"".join(event[HEADER_SIZE:] for event in own)
    whole = event_dtype(event_size(Kind.trade, 2))
    assert whole.itemsize == event_size(Kind.trade, 2) and whole["header"].itemsize == HEADER_SIZE

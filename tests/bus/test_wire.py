"""Events survive the way to bytes and back, and bytes that are no event are refused."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.places import PROJECT
from tickmesh.bus import schema, wire
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.schema import DTYPES, HEADER, Flag, Kind
from tickmesh.bus.topics import LANE_OF_KIND, TABLE

RECORD_KINDS = [kind for kind in Kind if DTYPES[kind].names]
i8 = st.integers(-(2**63), 2**63 - 1)
u8 = st.integers(0, 2**64 - 1)


def test_the_page_of_messages_has_every_field_in_order():
    page = (PROJECT / "docs/messages.md").read_text()
    for kind in RECORD_KINDS:
        section = re.search(rf"### {kind.name} \((\d+) bytes.*?\n(.*?)(?=\n###|\n## )", page, re.S)
        assert section, kind
        assert int(section[1]) == DTYPES[kind].itemsize
        names = []
        for cell in re.findall(r"^\| ([a-z0-9_, ]+?) \|", section[2], re.M):
            names += [name.strip() for name in cell.split(",")]
        assert [n for n in names if n != "field"] == list(DTYPES[kind].names), kind


def test_every_kind_has_a_dtype_a_row_and_little_endian_fields():
    assert set(DTYPES) == set(Kind) == set(TABLE)
    assert set(LANE_OF_KIND) == {int(kind) for kind in Kind}
    for dtype in (*DTYPES.values(), HEADER):
        for name in dtype.names or ():
            assert dtype[name].str[0] in "<|", name


@given(
    st.sampled_from(RECORD_KINDS), st.integers(1, 40), st.randoms(use_true_random=False), u8, i8, i8, i8,
    st.integers(0, 2**32 - 1), st.text(min_size=1, max_size=8),
)  # fmt: skip
def test_round_trip(kind, count, random, cause_seq, first_id, last_id, venue_ns, k, subject):
    records = np.frombuffer(random.randbytes(DTYPES[kind].itemsize * count), DTYPES[kind])
    subject = subject.replace("\0", "x")
    event = wire.encode(
        kind, subject, records, flags=Flag.SNAPSHOT, k=k, cause_seq=cause_seq, first_id=first_id, last_id=last_id,
        venue_ns=venue_ns, recv_ns=7,
    )  # fmt: skip
    wire.stamp_sent(event, producer_bytes("feed-1"), 11, 12, 13)
    wire.stamp_sequenced(event, 14, 15, 16)
    got = wire.decode(b"xy" + bytes(event), 2)
    assert (got.kind, got.subject, got.count, got.flags, got.k) == (kind, subject, count, 1, k)
    assert (got.cause_seq, got.first_id, got.last_id, got.venue_ns) == (cause_seq, first_id, last_id, venue_ns)
    assert (got.producer, got.epoch, got.number, got.sent_ns) == ("feed-1", 11, 12, 13)
    assert (got.seq, got.link, got.seq_ns, got.recv_ns) == (14, 15, 16, 7)
    assert got.records.tobytes() == records.tobytes()
    assert bytes(got.raw) == bytes(event)


def test_a_msgpack_event_holds_its_map():
    event = wire.encode(Kind.health, "feed-1", {"frames": 3, "raw": b"\xff"})
    assert wire.decode(event).map() == {"frames": 3, "raw": b"\xff"}


@pytest.mark.parametrize(
    ("kind", "subject", "records", "sentence"),
    [
        (Kind.trade, "binance.BTCUSDT", np.zeros(0, schema.TRADE), "has no record"),
        (Kind.trade, "binance.BTCUSDT", np.zeros(1, schema.QUOTE), "a trade record is"),
        (Kind.trade, "x" * 33, np.zeros(1, schema.TRADE), "1 to 32"),
        (Kind.trade, "", np.zeros(1, schema.TRADE), "1 to 32"),
        (Kind.trade, "a", b"123", "no whole number"),
        (Kind.depth, "a", bytes(24 * 800_000), "are allowed"),
    ],
)
def test_encode_refuses(kind, subject, records, sentence):
    with pytest.raises(wire.WireError, match=sentence):
        wire.encode(kind, subject, records)


@given(st.binary(max_size=400))
def test_noise_is_refused_or_whole(noise):
    try:
        event = wire.decode(noise)
    except wire.WireError:
        return
    assert event.size == wire.HEADER_SIZE + event.count * DTYPES[Kind(event.kind)].itemsize <= len(noise)


def test_description_names_every_field():
    assert json.loads(json.dumps(schema.DESCRIPTION)) == schema.DESCRIPTION
    assert len(schema.SCHEMA_HASH) == 16

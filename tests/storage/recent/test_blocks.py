"""Whatever is put into a block comes out of it, byte for byte; and a store of blocks answers as a list of the events would."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.stored import START, Market
from tickmesh.bus.layout import HEADER_SIZE
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.bus.wire import Event, encode
from tickmesh.storage.recent import store
from tickmesh.storage.recent.blocks import PACKED, PLAIN, packed_block, plain_block, read_head, read_raws
from tickmesh.storage.recent.reader import RecentReader

KINDS = [Kind.trade, Kind.quote, Kind.depth, Kind.instrument, Kind.raw]


def any_event(kind: Kind, count: int, rng: np.random.Generator) -> bytes:
    """An event of the kind whose fields, but those that say how long it is, are anything."""
    itemsize = DTYPES[kind].itemsize
    body = rng.bytes(count * itemsize)
    head = encode(kind, "binance.BTCUSDT", body)[:HEADER_SIZE]
    return bytes(head[:16] + rng.bytes(HEADER_SIZE - 16) + body)


@given(st.sampled_from(KINDS), st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(0, 1 << 32))
@settings(max_examples=60, deadline=None)
def test_a_block_gives_what_was_put_into_it(kind, counts, seed):
    rng = np.random.default_rng(seed)
    raws = [any_event(kind, count, rng) for count in counts]
    for form, block in ((PLAIN, plain_block(raws)), (PACKED, packed_block(raws))):
        head = read_head(block)
        assert (head.form, head.events) == (form, len(raws))
        assert list(read_raws(block)) == raws


def test_a_block_s_head_is_its_events_own():
    raws = [raw for raw in Market().mixed(100) if Event(raw).topic == "trade.binance.BTCUSDT"]
    for block in (plain_block(raws), packed_block(raws)):
        head, first, last = read_head(block), Event(raws[0]), Event(raws[-1])
        assert (head.last_seq, head.first_ns, head.last_ns) == (last.seq, first.seq_ns, last.seq_ns)


def test_packed_events_of_a_market_are_a_fifth_at_most():
    raws = [raw for raw in Market().mixed(2000) if Event(raw).topic == "trade.binance.BTCUSDT"]
    assert len(packed_block(raws)) * 5 < len(plain_block(raws))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 60)),
        st.tuples(st.just("prune"), st.integers(0, 400)),
        st.tuples(st.just("reopen"), st.just(0)),
        st.tuples(st.just("refuse"), st.integers(1, 60)),
    ),
    max_size=25,
)


@given(STEPS, st.integers(0, 500), st.integers(1, 500), st.integers(0, 60), st.integers(500, 6000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_store_answers_as_a_list_would(tmp_path_factory, steps, since, length, count, pack_bytes):
    folder = tmp_path_factory.mktemp("store") / "recent"
    raws = Market().mixed(1500)
    put, edge = 0, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "PACK_BYTES", pack_bytes)
        writer = store.RecentWriter(folder, 5, 1 << 26, boot="b")
        for what, number in steps:
            if what == "put":
                writer.put(map(Event, raws[put : put + number]))
                writer.commit()
                put = min(put + number, len(raws))
            elif what == "refuse":  # as a full disk does, in the middle of a transaction
                writer.put(map(Event, raws[put : put + number]))
                with pytest.MonkeyPatch.context() as full:
                    full.setattr(store, "U8", Refusing())
                    with pytest.raises(store.RecentFull):
                        writer.commit()
            elif what == "prune":
                edge = max(edge, number)
                writer.prune(START + number * 1_000_000, 1 << 30)
            else:
                writer.close()
                writer = store.RecentWriter(folder, 5, 1 << 26, boot="b")
                assert not writer.wiped or put == 0
            assert writer.recent_seq == put
        with RecentReader(folder) as reader:
            check(reader, raws[:put], edge, since, length, count)
        writer.close()


class Refusing:
    """Packs no number but the first few: whoever asks for more meets an error of the disk."""

    def pack(self, _: int) -> bytes:
        raise OSError(28, "No space left on device")

    unpack = struct.Struct(">Q").unpack


def check(reader: RecentReader, raws: list[bytes], edge: int, since: int, length: int, count: int) -> None:
    """Compares every answer with that of a list: what is younger than `edge` has to be there, older may be."""
    edge_ns, since_ns = START + edge * 1_000_000, START + since * 1_000_000
    until_ns = since_ns + length * 1_000_000
    for topic in {Event(raw).topic for raw in raws}:
        events = [event for event in map(Event, raws) if event.topic == topic]
        kept = reader.read(topic)
        young = [event.seq for event in events if event.seq_ns >= edge_ns]
        assert [bytes(e.raw) for e in kept] == [bytes(e.raw) for e in events][len(events) - len(kept) :]
        assert [event.seq for event in kept][len(kept) - len(young) :] == young
        seqs = [event.seq for event in kept if since_ns <= event.seq_ns < until_ns]
        assert [event.seq for event in reader.read(topic, since_ns=since_ns, until_ns=until_ns)] == seqs
        assert [event.seq for event in reader.last(topic, count)] == [event.seq for event in kept][
            len(kept) - min(count, len(kept)) :
        ]
        after = [event.seq for event in kept if event.seq > since]
        assert [event.seq for event in reader.read(topic, after_seq=since, limit=count)] == after[:count]
        latest = reader.latest(topic)
        assert latest is not None and latest.seq == events[-1].seq

"""The rules that prove a book on its stream: what goes in comes out once and in order, and what is called in step is right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.bus import wire
from tickmesh.bus.layout import RECORDS
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.wire import decode as event_of
from tickmesh.nodes.venues import kraken
from tickmesh.nodes.venues.books.chained import ChainedBook
from tickmesh.nodes.venues.books.checked import CheckedBook
from tickmesh.nodes.venues.books.levels import EMPTY_CHANGE, RECORD, Levels
from tickmesh.nodes.venues.books.rule import SnapshotOutcome
from tickmesh.nodes.venues.books.streamed import StreamedBook

PAIR = Instrument(symbol="BTC/USD", venue="kraken")
MAKE = wire.many_records(Kind.depth, PAIR.subject)


def change(first_id, last_id, *levels, venue_ns=0):
    body = b"".join(RECORD.pack(*level) for level in levels) or EMPTY_CHANGE
    return MAKE(body, first_id, last_id, venue_ns, 9)


def image(last_id, *levels, venue_ns=0):
    body = b"".join(RECORD.pack(*level) for level in levels) or EMPTY_CHANGE
    return MAKE(body, last_id, last_id, venue_ns, 9, Flag.SNAPSHOT)


def names(events):
    heads = [event_of(event) for event in events]
    return [
        f"{'S' if head.flags & Flag.SNAPSHOT else ''}{head.last_id}{'!' if head.flags & Flag.RESET else ''}" for head in heads
    ]


def levels_of(events):
    book = Levels()
    for event in events:
        book.apply(event)
    return dict(book.bids.lots), dict(book.asks.lots)


# Levels


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.sampled_from([1, -1])), max_size=60), st.integers(1, 8))
def test_levels_are_a_map_kept_in_order_and_cut_at_their_depth(changes, depth):
    book, plain = Levels(), {1: {}, -1: {}}
    for price, lots, side in changes:
        book.apply(change(1, 1, (price, lots, side)))
        plain[side].pop(price, None)
        if lots:
            plain[side][price] = lots
        removed = [(p, s) for p, q, s in RECORD.iter_unpack(book.truncate(depth)) if q == 0]
        worst = [(p, 1) for p in sorted(plain[1])[: max(0, len(plain[1]) - depth)]] + [
            (p, -1) for p in sorted(plain[-1])[depth:]
        ]
        assert removed == worst
        for p, s in worst:
            del plain[s][p]
    assert (book.bids.lots, book.asks.lots) == (plain[1], plain[-1])
    assert book.best_bids(3) == sorted(plain[1].items(), reverse=True)[:3]
    assert book.best_asks(3) == sorted(plain[-1].items())[:3]
    assert book.crossed == bool(plain[1] and plain[-1] and max(plain[1]) >= min(plain[-1]))
    again = Levels()
    again.apply(MAKE(book.records(), 1, 1, 0, 0, Flag.SNAPSHOT))
    assert (again.bids.lots, again.asks.lots) == (plain[1], plain[-1])


# Checked (Kraken)


@st.composite
def venue_changes(draw):
    """Changes as the venue makes them from its own unbounded book, of which it shows the best `depth` levels."""
    number = draw(st.integers(1, 25))
    return [
        draw(st.lists(st.tuples(st.integers(1, 14), st.integers(0, 2), st.sampled_from([1, -1])), min_size=1, max_size=4))
        for _ in range(number)
    ]


@given(venue_changes(), st.integers(0, 30), st.integers(2, 10))
def test_a_checked_book_is_the_venue_s_or_says_so(changes, lost, depth):
    """One change is lost. Until the checksum tells, it is either the venue's book or differs below the checked levels only."""
    venue, book, events, went_in = Levels(), CheckedBook(PAIR, kraken.digest, depth), [], 0
    events += book.snapshot(image(1), 1)[1]
    for place, levels in enumerate(changes):
        apart = [(price if side > 0 else price + 20, lots, side) for price, lots, side in levels]
        event = change(place + 2, place + 2, *apart)
        venue.apply(event)
        venue.truncate(depth)
        if place == lost:
            continue
        wire.stamp_checksum(event, kraken.digest(venue))
        went_in += 1
        out = book.change(event, place + 2, place + 2)
        assert len(out) == 1 and bytes(out[0][RECORDS]).startswith(bytes(event[RECORDS]))
        events += out
        assert wire.checksum(out[0])[1] == (book.synced and kraken.digest(venue) == kraken.digest(book.levels))
        if place < lost:
            assert book.synced and not book.wants_resubscription
            assert levels_of(events) == (venue.bids.lots, venue.asks.lots), "with the removals nobody else says"
        if book.synced:
            assert kraken.digest(venue) == kraken.digest(book.levels)
            assert levels_of([book.image(1)]) == (book.levels.bids.lots, book.levels.asks.lots)
        else:
            assert book.wants_resubscription and book.image(1) is None
    assert len(events) == went_in + 1
    assert book.snapshot(image(99, (5, 5, 1)), 99)[0] is SnapshotOutcome.USED and book.synced and not book.wants_resubscription


def test_a_change_before_its_snapshot_asks_for_one():
    for book in (CheckedBook(PAIR, kraken.digest, 10), StreamedBook(PAIR)):
        assert not book.wants_resubscription and not book.wants_snapshot
        assert names(book.change(change(5, 5, (1, 1, 1)), 5, 5)) == ["5"]
        assert book.wants_resubscription and not book.wants_snapshot
        assert book.disconnected() == [] and not book.wants_resubscription, "the next connection begins with one"


def test_a_wrong_checksum_of_a_snapshot_is_seen_too():
    book, event = CheckedBook(PAIR, kraken.digest, 10), image(1, (5, 5, 1))
    wire.stamp_checksum(event, 1)
    book.snapshot(event, 1)
    assert not book.synced and book.wants_resubscription and book.resyncs == 1


# Streamed (Coinbase)


def test_a_crossed_book_has_lost_a_change():
    book = StreamedBook(PAIR)
    book.snapshot(image(1, (10, 1, 1), (11, 1, -1)), 1)
    assert names(book.change(change(2, 2, (11, 0, -1), (11, 2, 1)), 2, 2)) == ["2"] and book.synced, "both in one message"
    book.change(change(3, 3, (11, 1, -1)), 3, 3)
    assert not book.synced and book.wants_resubscription and book.resyncs == 1 and book.image(1) is None
    book.snapshot(image(4, (10, 1, 1)), 4)
    assert book.synced and not book.wants_resubscription
    assert levels_of([book.image(7)]) == ({10: 1}, {}) and event_of(book.image(7)).last_id == 4


# Chained (OKX)


def chained():
    return ChainedBook(PAIR, kraken.digest)


def test_the_stream_s_snapshot_begins_the_chain():
    book = chained()
    answer, events = book.snapshot(image(10, (5, 5, 1)), 10)
    assert answer is SnapshotOutcome.USED and names(events) == ["S10"] and event_of(events[0]).first_id == 11
    assert names(book.change(change(11, 15, (6, 1, 1)), 11, 15)) == ["15"]
    assert names(book.change(change(11, 15, (6, 9, 1)), 11, 15)) == ["15"], "a repetition is said and not applied"
    assert levels_of([book.image(1)]) == ({5: 5, 6: 1}, {}) and book.resyncs == 0
    assert names(book.change(change(16, 15), 16, 15)) == ["15"] and book.synced, "the quiet minute's empty change"
    assert names(book.change(change(18, 20), 18, 20)) == ["20"]
    assert book.wants_resubscription and not book.wants_snapshot and book.resyncs == 1
    assert names(book.change(change(21, 22), 21, 22)) == ["22"], "nothing is kept back while it waits"
    assert names(book.snapshot(image(30, (7, 7, 1)), 30)[1]) == ["S30"]
    assert book.synced and not book.wants_resubscription


def test_an_empty_change_after_a_lost_one_shows_it():
    book = chained()
    book.snapshot(image(10), 10)
    book.change(change(12, 11), 12, 11)  # seqId = prevSeqId = 11, and 11 was never seen
    assert book.wants_resubscription


def test_ids_that_begin_anew_bring_the_book_with_them():
    book = chained()
    book.snapshot(image(100, (5, 5, 1)), 100)
    events = book.change(change(101, 3, (6, 1, 1)), 101, 3)
    assert names(events) == ["3", "S3!"] and levels_of(events[1:]) == ({5: 5, 6: 1}, {})
    assert names(book.change(change(4, 7), 4, 7)) == ["7"] and book.synced and book.resyncs == 0


def test_a_wrong_checksum_in_a_whole_chain_makes_the_next_snapshot_replace_the_book():
    book = chained()
    book.snapshot(image(10, (5, 5, 1)), 10)
    event = change(11, 12, (6, 1, 1))
    wire.stamp_checksum(event, 1)
    assert names(book.change(event, 11, 12)) == ["12"] and wire.checksum(event) == (1, False)
    assert book.wants_resubscription and book.resyncs == 1
    assert names(book.snapshot(image(12, (5, 5, 1)), 12)[1]) == ["S12!"]
    assert names(book.snapshot(image(13, (5, 5, 1)), 13)[1]) == ["S13"]


def test_a_stream_without_a_snapshot_is_joined_to_rest():
    book = chained()
    assert names(book.change(change(11, 20, (5, 1, 1)), 11, 20)) == ["20"], "nothing waits"
    assert book.wants_snapshot and not book.wants_resubscription
    answer, events = book.snapshot(image(15, (4, 4, 1)), 15)
    assert answer is SnapshotOutcome.USED and names(events) == ["S15"] and book.synced
    assert names(book.change(change(21, 22, (6, 6, -1)), 21, 22)) == ["22"]
    assert levels_of([book.image(1)]) == ({4: 4, 5: 1}, {6: 6})
    assert names(book.change(change(30, 31), 30, 31)) == ["31"] and book.wants_snapshot and book.resyncs == 1
    assert book.disconnected() == [] and not book.wants_snapshot and book.resyncs == 1
    assert names(book.snapshot(image(40), 40)[1]) == ["S40"] and book.synced, "the next connection may begin with one"


def test_checksums_of_changes_before_the_rest_snapshot_are_not_looked_at():
    book, venue = chained(), Levels()
    venue.apply(image(10, (4, 4, 1), (3, 3, 1)))
    changes, snapshot = [], None
    for number in range(11, 15):
        event = change(number, number, (number, 1, 1))
        venue.apply(event)
        wire.stamp_checksum(event, kraken.digest(venue))
        changes.append(event)
        if number == 12:
            snapshot = MAKE(venue.records(), number, number, 0, 0, Flag.SNAPSHOT)
    for number, event in zip(range(11, 14), changes):
        assert names(book.change(event, number, number)) == [str(number)]
    assert names(book.snapshot(snapshot, 12)[1]) == ["S12"]
    assert names(book.change(changes[3], 14, 14)) == ["14"]
    assert [wire.checksum(event)[1] for event in changes] == [False, False, False, True], "13 was said before"
    assert (book.checked, book.resyncs, book.synced) == (1, 0, True)


def test_before_there_were_ids_the_venue_s_time_is_one():
    book = chained()
    (first,) = book.snapshot(image(0, (5, 5, 1), venue_ns=1_000_000_000), 0)[1]
    (second,) = book.change(change(0, 0, (6, 1, 1), venue_ns=1_100_000_000), 0, 0)
    (third,) = book.change(change(0, 0, (6, 2, 1), venue_ns=1_100_000_000), 0, 0)
    heads = [event_of(event) for event in (first, second, third)]
    assert [(head.first_id, head.last_id) for head in heads] == [(1001, 1000), (1001, 1100), (1101, 1101)]


@pytest.mark.parametrize("by_rest", [False, True])
@given(data=st.data())
def test_what_a_chained_book_calls_in_step_is_the_venue_s_book(by_rest, data):
    """Changes are skipped, repeated, cut and snapshotted; what comes out is what went in, and an image is the venue's book."""
    book, venue, at, went_in, out, history = chained(), Levels(), 10, [], [], {}
    history[at] = levels_of([MAKE(venue.records(), at, at, 0, 0, Flag.SNAPSHOT)])
    begun = False
    for _ in range(data.draw(st.integers(1, 30))):
        action = data.draw(st.sampled_from(["next", "next", "next", "skip", "repeat", "snapshot", "cut", "quiet"]))
        if action in ("next", "skip") and (begun or by_rest):
            first, at = at + 1, at + data.draw(st.integers(1, 3))
            event = change(first, at, (data.draw(st.integers(1, 5)), data.draw(st.integers(0, 2)), 1))
            venue.apply(event)
            history[at] = (dict(venue.bids.lots), {})
            if action == "next":
                went_in.append((first, at, event))
                out += book.change(bytearray(event), first, at)
        elif action == "repeat" and went_in and begun:
            first, last, event = went_in[-1]
            went_in.append(went_in[-1])
            out += book.change(bytearray(event), first, last)
        elif action == "quiet" and begun:
            went_in.append((at + 1, at, change(at + 1, at)))
            out += book.change(change(at + 1, at), at + 1, at)
        elif action == "snapshot" and (book.wants_snapshot or not by_rest):
            out += book.snapshot(MAKE(venue.records(), at, at, 0, 0, Flag.SNAPSHOT), at)[1]
            begun = True
        elif action == "cut":
            out += book.disconnected()
            begun = False
        if (seen := book.image(1)) is not None:
            assert levels_of([seen]) == history[event_of(seen).last_id]
    out += book.disconnected()
    changes = [event_of(event) for event in out if not event_of(event).flags & Flag.SNAPSHOT]
    assert [(head.first_id, head.last_id) for head in changes] == [(first, last) for first, last, _ in went_in]

"""A book whose snapshot comes over REST: changes are said at once, the snapshot when its stream has reached it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.bus.wire import decode as event_of
from tickmesh.bus.wire import encode, stamp_received
from tickmesh.nodes.venues.books.booksync import HELD_NS, BookSync
from tickmesh.nodes.venues.books.rule import SnapshotOutcome


def change(first, last):
    return encode(Kind.depth, "binance.BTCUSDT", np.zeros(1, DTYPES[Kind.depth]), first_id=first, last_id=last), first, last


def image(last):
    return encode(Kind.depth, "binance.BTCUSDT", np.zeros(1, DTYPES[Kind.depth]), last_id=last, flags=Flag.SNAPSHOT), last


def names(said):
    """`11-20` for a change, `S20` for a snapshot."""
    decoded = [event_of(event) for event in said]
    return [f"S{e.last_id}" if e.flags & Flag.SNAPSHOT else f"{e.first_id}-{e.last_id}" for e in decoded]


def test_a_change_that_ended_exactly_at_the_snapshot_is_enough():
    book = BookSync()
    assert names(book.change(*change(11, 20))) == ["11-20"]
    answer, said = book.snapshot(*image(20))
    assert answer is SnapshotOutcome.USED and names(said) == ["S20"]
    assert event_of(said[-1]).first_id == 21
    assert names(book.change(*change(21, 25))) == ["21-25"]
    assert book.resyncs == 0


def test_a_snapshot_ahead_is_held_and_one_behind_is_asked_for_again():
    book = BookSync()
    book.change(*change(11, 20))
    assert book.snapshot(*image(9)) == (SnapshotOutcome.TOO_OLD, [])
    assert book.wants_snapshot
    assert book.snapshot(*image(30)) == (SnapshotOutcome.HELD, [])
    assert not book.wants_snapshot
    assert names(book.change(*change(21, 29))) == ["21-29"]
    assert names(book.change(*change(30, 33))) == ["30-33", "S30"], "older than the change that straddles it"
    book = BookSync()
    book.change(*change(11, 20))
    assert book.snapshot(*image(10))[0] is SnapshotOutcome.USED  # U = L + 1 is contiguous


@pytest.mark.parametrize("absurd", [False, True])
def test_two_lower_changes_that_go_on_begin_a_book_anew(absurd):
    book = BookSync()
    book.change(*change(501, 510))
    book.snapshot(*image(510))
    assert book.synced
    if absurd:  # one id out of all proportion: the true ones after it are lower, too
        book.change(*change(10**12, 10**12 + 5))
    book.change(*change(499, 500))
    assert book.synced is not absurd, "one late copy says nothing"
    book.change(*change(11, 20))
    book.change(*change(21, 25))
    assert book.wants_snapshot
    assert book.snapshot(*image(22))[0] is SnapshotOutcome.USED


def test_a_snapshot_that_the_stream_does_not_reach_is_given_up():
    book = BookSync()
    book.change(*change(11, 20))
    assert book.snapshot(*image(10**12)) == (SnapshotOutcome.HELD, [])
    late, first, last = change(21, 30)
    stamp_received(late, HELD_NS + 1)
    assert names(book.change(late, first, last)) == ["21-30"] and book.wants_snapshot


@given(st.data())
def test_every_change_comes_out_at_once_and_a_snapshot_only_within_a_whole_chain(data):
    """Whatever is skipped, repeated, snapshotted or cut: from a snapshot's id on no hole is in what was said before it."""
    book, said, at, chain = BookSync(), [], 0, []
    for _ in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["next", "next", "next", "skip", "repeat", "snapshot", "disconnect"]))
        if action in ("next", "skip") or (action == "repeat" and chain):
            first = at + 1 + (data.draw(st.integers(1, 3)) if action == "skip" else 0)
            ids = chain[-1] if action == "repeat" else (first, first + data.draw(st.integers(0, 3)))
            chain = [ids] if action == "skip" or not chain else [*chain, ids]
            at = ids[1]
            out = names(book.change(*change(*ids)))
            assert out[0] == f"{ids[0]}-{ids[1]}"
            said = out[1:]
        elif action == "snapshot" and book.wants_snapshot:
            said = names(book.snapshot(*image(max(0, at + data.draw(st.integers(-6, 6)))))[1])
        elif action == "disconnect":
            said, chain = book.disconnected(), []
        for text in said:
            assert chain[0][0] <= int(text[1:]) + 1 <= at + 1
        said = []

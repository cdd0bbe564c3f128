"""Coverage as arithmetic: what a stretch proves, and that the union of any cuts is what one look at everything gives."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.coverage_scene import SECOND, STEPS, SUBJECTS, Scene, ledger_of, play, shown, tables
from tickmesh.bus.schema import COVERAGE, DTYPES, Coverage, GapState, Kind, Reason
from tickmesh.bus.wire import Event
from tickmesh.storage.coverage.intervals import merge
from tickmesh.storage.coverage.position import LedgerPosition
from tickmesh.storage.coverage.stretch import of_tables


def in_cuts(scene: Scene, bounds: list[int]) -> list[np.ndarray]:
    """The rows of each cut, computed one after the other, each from the state that the one before has left."""
    state, out = LedgerPosition(), []
    for low, high in pairwise([0, *sorted(bounds), len(scene.raws)]):
        rows, state = of_tables(tables(scene.raws[low:high]), scene.subject, state)
        out.append(rows)
    return out


def times(rows: np.ndarray) -> list[tuple[int, int]]:
    return [(int(row["begin_ns"]) // SECOND, int(row["end_ns"]) // SECOND) for row in rows]


def test_contiguous_trades_are_complete_from_the_first_id_seen():
    rows = ledger_of(Scene().trades(7, 8, 9))
    assert shown(rows) == [("trade", 7, 9, "complete", "ids")]
    assert times(rows) == [(7, 9)]


def test_a_gap_of_trades_is_missing_until_it_is_repaired():
    scene = Scene().trades(1, 2).lost(Kind.trade, 3, 6).trades(7)
    rows = ledger_of(scene)
    assert shown(rows)[1] == ("trade", 3, 6, "missing", "skipped")
    assert times(rows)[1] == (2, 7)  # of its neighbours
    scene.trades(3, 4, repaired=True)
    scene.lost(Kind.trade, 3, 4, GapState.repaired)
    scene.lost(Kind.trade, 5, 6, GapState.unrecoverable, Reason.retention)
    assert shown(ledger_of(scene)) == [
        ("trade", 1, 2, "complete", "ids"),
        ("trade", 3, 4, "repaired", "ids"),
        ("trade", 5, 6, "missing", "retention"),
        ("trade", 7, 7, "complete", "ids"),
    ]
    assert times(ledger_of(scene)) == [(1, 2), (3, 4), (4, 7), (7, 7)]


def test_a_repair_is_believed_only_when_the_trades_are_there():
    rows = ledger_of(Scene().trades(1).lost(Kind.trade, 2, 2).trades(3).lost(Kind.trade, 2, 2, GapState.repaired))
    assert ("trade", 2, 2, "missing", "skipped") in shown(rows)


def test_a_hole_that_no_gap_tells_of_is_missing_too():
    assert ("trade", 2, 4, "missing", "none") in shown(ledger_of(Scene().trades(1, 5)))


def test_a_trade_that_stands_for_several_ids_covers_them():
    scene = Scene()
    record = np.zeros(1, DTYPES[Kind.trade])
    for first, last in ((5, 7), (8, 8), (9, 12)):
        scene.publish(Kind.trade, record, first_id=first, last_id=last)
    assert shown(ledger_of(scene)) == [("trade", 5, 12, "complete", "ids")]


def test_quotes_are_unproven_as_one_interval():
    rows = ledger_of(Scene().quotes(5, 9, 40))
    assert shown(rows) == [("quote", 5, 40, "unproven", "conflated")]
    assert times(rows) == [(5, 40)]


def test_a_quote_without_a_venue_time_has_the_time_it_was_received():
    scene = Scene()
    scene.publish(Kind.quote, np.zeros(1, DTYPES[Kind.quote]), first_id=3, last_id=3)
    (row,) = ledger_of(scene)
    assert row["begin_ns"] == row["end_ns"] == Event(scene.raws[0]).recv_ns > 0


def test_a_book_is_complete_from_its_snapshot_through_changes_that_chain():
    rows = ledger_of(Scene().change(1, 4).change(5, 9).book(9).change(10, 14).change(15, 20).change(21, 21))
    assert shown(rows) == [("depth", 1, 8, "unproven", "no_snapshot"), ("depth", 9, 21, "complete", "ids")]
    assert times(rows) == [(4, 9), (14, 21)]  # a REST snapshot has no time of its own


def test_the_newest_change_is_evidence_up_to_its_first_id_until_another_goes_on_from_it():
    scene = Scene().book(10).change(11, 15).change(16, 10**12)
    assert shown(ledger_of(scene)) == [("depth", 10, 16, "complete", "ids")]
    assert shown(ledger_of(scene.change(10**12 + 1, 10**12 + 1)))[0][:3] == ("depth", 10, 10**12 + 1)
    scene = Scene().book(10).change(11, 15).change(16, 10**12)
    scene.lost(Kind.depth, 17, 20, GapState.unrecoverable, Reason.contradiction).change(21, 25).change(26, 30)
    expected = [
        ("depth", 10, 16, "complete", "ids"),
        ("depth", 17, 20, "unproven", "contradiction"),
        ("depth", 21, 30, "unproven", "no_snapshot"),
    ]
    assert shown(ledger_of(scene)) == expected
    for cut in range(1, len(scene.raws)):
        assert shown(merge(in_cuts(scene, [cut]))) == expected, "what an earlier cut stated is not more"


def test_a_gap_of_depth_is_missing_up_to_the_next_snapshot():
    scene = Scene().book(10).change(11, 15)
    scene.lost(Kind.depth, 16, 19, GapState.unrecoverable, Reason.no_history).change(20, 24).book(24).change(25, 25)
    rows = ledger_of(scene)
    assert shown(rows) == [
        ("depth", 10, 15, "complete", "ids"),
        ("depth", 16, 19, "missing", "no_history"),
        ("depth", 20, 23, "unproven", "no_snapshot"),
        ("depth", 24, 25, "complete", "ids"),
    ]
    assert times(rows) == [(15, 15), (15, 24), (24, 24), (25, 25)]


def test_a_chain_that_breaks_without_a_gap_is_not_called_complete():
    rows = ledger_of(Scene().book(10).change(11, 15).change(18, 19).change(20, 22).book(23))
    assert [row[3:] for row in shown(rows)] == [
        ("complete", "ids"), ("missing", "none"), ("unproven", "no_snapshot"), ("complete", "ids"),
    ]  # fmt: skip


def test_changes_before_the_first_snapshot_are_there_and_unproven():
    rows = ledger_of(Scene().change(1, 4).lost(Kind.depth, 5, 6).change(7, 9))
    assert shown(rows) == [
        ("depth", 1, 4, "unproven", "no_snapshot"),
        ("depth", 5, 6, "missing", "skipped"),
        ("depth", 7, 9, "unproven", "no_snapshot"),
    ]


def test_ids_that_began_anew_are_an_era_of_their_own():
    scene = Scene("okx.BTC-USDT").book(1000).change(1001, 1010).lost(Kind.depth, 1011, 1020).change(1021, 1030)
    scene.book(5, reset=True).change(6, 1015).change(1016, 1016)
    rows = ledger_of(scene)
    assert shown(rows) == [
        ("depth", 1000, 1010, "complete", "ids"),
        ("depth", 1011, 1020, "missing", "skipped"),
        ("depth", 1021, 1030, "unproven", "no_snapshot"),
        ("depth", 5, 1016, "complete", "ids"),
    ]
    assert rows["era"].tolist() == [0, 0, 0, 5]


def test_trades_and_quotes_have_eras_of_their_own_and_a_book_may_begin_with_a_change():
    scene = Scene().trades(1000, 1001).quotes(500).change(700, 700)
    scene.lost(Kind.trade, 1002, 1002, GapState.unrecoverable, Reason.reset).trades(1, reset=True).trades(2, 3)
    scene.change(1, 4, reset=True).change(5, 5)
    rows = ledger_of(scene)
    assert shown(rows) == [
        ("trade", 1000, 1001, "complete", "ids"),
        ("trade", 1002, 1002, "missing", "reset"),
        ("trade", 1, 3, "complete", "ids"),
        ("quote", 500, 500, "unproven", "conflated"),
        ("depth", 700, 700, "unproven", "no_snapshot"),
        ("depth", 1, 5, "unproven", "no_snapshot"),
    ]
    assert rows["era"].tolist() == [0, 0, 6, 0, 0, 9]


def test_a_checksum_is_the_better_proof_and_the_only_one_without_ids():
    """Event by event: what the line's own book was compared with stands in the event."""
    for subject, unchecked in (("okx.BTC-USDT", ("complete", "ids")), ("kraken.XBTUSD", ("unproven", "no_ids"))):
        scene = Scene(subject).book(100).change(101, 108).change(109, 120, checked=True).change(121, 130, checked=True)
        scene.change(131, 131)
        assert shown(ledger_of(scene)) == [
            ("depth", 100, 108, *unchecked), ("depth", 109, 130, "complete", "checksum"), ("depth", 131, 131, *unchecked),
        ]  # fmt: skip


def test_where_a_feed_counts_itself_holes_in_the_ids_mean_nothing():
    scene = Scene("coinbase.BTC-USD").book(100).change(108, 108).change(140, 140).book(150).change(163, 163)
    assert shown(ledger_of(scene)) == [("depth", 100, 163, "unproven", "no_ids")]
    scene.lost(Kind.depth, 164, 170, GapState.unrecoverable, Reason.resync).book(180).change(190, 190)
    assert [row[1:] for row in shown(ledger_of(scene))] == [
        (100, 163, "unproven", "no_ids"), (164, 179, "missing", "resync"), (180, 190, "unproven", "no_ids"),
    ]  # fmt: skip
    scene = (
        Scene("kraken_v1.XBTUSD").trades(7, 8, 20).quotes(5, 9).lost(Kind.trade, 21, 24, GapState.unrecoverable, Reason.resync)
    )
    assert [row[:] for row in shown(ledger_of(scene.trades(30)))] == [
        ("trade", 7, 20, "unproven", "no_ids"), ("trade", 21, 24, "missing", "resync"), ("trade", 25, 30, "unproven", "no_ids"),
        ("quote", 5, 9, "unproven", "no_ids"),
    ]  # fmt: skip


def painted(rows: np.ndarray) -> dict[tuple, tuple[str, int]]:
    """Each id with what the rows say of it; an id that two rows speak of fails."""
    out: dict[tuple, tuple[str, int]] = {}
    for row in rows:
        for number in range(int(row["first_id"]), int(row["last_id"]) + 1):
            key = (Kind(row["stream"]).name, int(row["era"]), number)
            assert key not in out, f"{key} is stated twice"
            out[key] = (Coverage(row["state"]).name, int(row["reason"]))
    return out


@given(STEPS)
def test_the_rows_say_of_every_id_what_a_naive_set_says(steps):
    naive = play(steps)
    assert painted(ledger_of(naive.scene)) == naive.states


@given(STEPS, SUBJECTS, st.lists(st.integers(0, 60), max_size=6), st.randoms(use_true_random=False))
def test_the_union_over_any_cuts_in_any_order_is_one_look_at_everything(steps, subject, bounds, random):
    scene = play(steps, subject).scene
    parts = in_cuts(scene, [min(bound, len(scene.raws)) for bound in bounds])
    random.shuffle(parts)
    while len(parts) > 1:  # put together in any order, two at a time
        one, other = parts.pop(random.randrange(len(parts))), parts.pop(random.randrange(len(parts)))
        parts.append(merge([one, other]))
    assert parts[0].tolist() == ledger_of(scene).tolist()


ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 8), st.sampled_from([*Coverage]), st.integers(0, 3), st.integers(0, 9)),
    max_size=12,
)


def made(specs: list[tuple]) -> np.ndarray:
    rows = np.zeros(len(specs), COVERAGE)
    for row, (first, span, state, evidence, reason) in zip(rows, specs):
        row["first_id"], row["last_id"], row["stream"], row["state"] = first, first + span, Kind.trade, state
        row["evidence"], row["reason"] = (evidence, 0) if state in (1, 2) else (0, reason)
    return rows


@given(ROWS, ROWS, ROWS)
def test_union_is_associative_commutative_and_idempotent(a, b, c):
    a, b, c = made(a), made(b), made(c)
    one = merge([merge([a, b]), c])
    assert one.tolist() == merge([c, merge([b, a])]).tolist() == merge([a, b, c, a]).tolist() == merge([one]).tolist()
    painted(one)
    for low, high in pairwise(one):
        same = all(low[name] == high[name] for name in ("state", "evidence", "reason"))
        assert not same or high["first_id"] > low["last_id"] + 1, "neighbours of one claim are one row"


@pytest.mark.parametrize(
    "better, worse", [("repaired", "missing"), ("complete", "missing"), ("unproven", "missing"), ("complete", "repaired")]
)
def test_of_two_claims_the_better_is_true(better, worse):
    rows = made([(1, 9, Coverage[worse], 0, 0), (4, 1, Coverage[better], 1, 0)])
    assert [(row[1], row[2], row[3]) for row in shown(merge([rows]))] == [(1, 3, worse), (4, 5, better), (6, 10, worse)]

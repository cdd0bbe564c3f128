"""Quotes without a time get that of the depth change that covers them, wherever files end; ids that began anew are others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tickmesh.bus.schema import DEPTH, HEADER, QUOTE, TRADE, Flag, Kind
from tickmesh.storage.bars import timing
from tickmesh.storage.bars.bar import SECOND_NS
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.bars.ticks import BarPart, bars_of, held, join
from tickmesh.storage.hdf5.columns import Table

WINDOW = Window(SECOND_NS)
NEAR = 3


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(timing, "NEAR", NEAR)


def table(kind: Kind, rows: list[tuple]) -> Table:
    """(seq, first id, last id, venue_ns, flags) each; prices and quantities are what the seq is."""
    headers = np.zeros(len(rows), HEADER)
    records = np.zeros(len(rows), {Kind.trade: TRADE, Kind.quote: QUOTE, Kind.depth: DEPTH}[kind])
    headers["count"] = 1
    for header, record, (seq, first, last, ns, flags) in zip(headers, records, rows):
        header["seq"], header["first_id"], header["last_id"], header["venue_ns"], header["flags"] = seq, first, last, ns, flags
        if kind is Kind.trade:
            record["trade_id"], record["price_ticks"], record["quantity_lots"], record["venue_ns"] = last, seq, seq, ns
            record["side"] = 1
        elif kind is Kind.quote:
            record["update_id"], record["bid_ticks"], record["bid_lots"], record["venue_ns"] = last, seq, 1, ns
            record["ask_ticks"], record["ask_lots"] = 2 * seq, 1
    return Table(headers, records)


KINDS = {"t": Kind.trade, "q": Kind.quote, "d": Kind.depth}


def log_of(words: list[tuple]) -> list[tuple]:
    """(kind, seq, first id, last id, venue_ns, flags): ids go on as a venue's, and begin anew where it says so.

    No two quotes of an era have one id, as arbitration sees to.
    """
    ids, trade, out = 50, 50, []
    used: set[int] = set()
    for seq, (what, number) in enumerate(words, 1):
        ns = SECOND_NS + seq * SECOND_NS // 4
        if what == "change":
            out.append((Kind.depth, seq, ids + 1, ids + 1 + number % 5, ns, 0))
            ids += 1 + number % 5
        elif what == "absurd":
            out.append((Kind.depth, seq, ids + 1, ids + 10**12, ns, 0))
        elif what in ("quote", "timed") and ids + number - 6 in used:
            continue
        elif what == "quote":
            used.add(ids + number - 6)
            out.append((Kind.quote, seq, 0, ids + number - 6, 0, 0))
        elif what == "timed":
            used.add(ids + number - 6)
            out.append((Kind.quote, seq, 0, ids + number - 6, ns - number * SECOND_NS // 3, 0))
        elif what == "trade":
            trade += 1
            out.append((Kind.trade, seq, trade, trade, ns - number * SECOND_NS // 3, 0))
        elif what == "trades anew":
            trade = number
            out.append((Kind.trade, seq, trade, trade, ns, int(Flag.RESET)))
        elif what == "quotes anew":
            used = {number}
            out.append((Kind.quote, seq, 0, number, ns if number % 2 else 0, int(Flag.RESET)))
        else:
            ids = number
            out.append((Kind.depth, seq, ids + 1, ids, 0, int(Flag.RESET | Flag.SNAPSHOT)))
    return out


def stretch(events: list[tuple], before: dict[Kind, int]) -> BarPart:
    """`before`: the eras before it, and behind it afterwards."""
    tables = {}
    for kind in KINDS.values():
        if rows := [one[1:] for one in events if one[0] == kind]:
            tables[kind] = table(kind, rows)
    out = bars_of(held(tables, before), WINDOW)
    for kind, seq, *_, flags in events:
        if flags & Flag.RESET and kind != Kind.depth:
            before[kind] = seq
    return out


def naive_times(events: list[tuple]) -> dict[int, int]:
    """Venue time by seq of every quote that has one, by a loop over the changes that are near in the same book."""
    books, quotes = [[]], []
    for kind, seq, first, last, ns, flags in events:
        if kind == Kind.depth and flags & Flag.RESET:
            books.append([])
        elif kind == Kind.depth:
            books[-1].append((first, last, ns))
        elif kind == Kind.quote:
            quotes.append((seq, last, ns, len(books) - 1, len(books[-1])))
    out = {}
    for seq, number, ns, book, at in quotes:
        near = books[book][max(at - NEAR, 0) : at + NEAR]
        found = [(last, time) for first, last, time in near if first <= number <= last and last - first < 1 << 20]
        if ns or found:
            out[seq] = ns or min(found)[1]
    return out


WORDS = st.one_of(
    st.tuples(st.just("change"), st.integers(1, 4)),
    st.tuples(st.sampled_from(["change", "quote", "quote"]), st.integers(1, 8)),
    st.tuples(st.sampled_from(["timed", "trade"]), st.integers(0, 3)),
    st.tuples(st.sampled_from(["absurd", "trades anew", "quotes anew", "book anew", "change"]), st.integers(1, 60)),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(WORDS, min_size=25, max_size=70), st.sets(st.integers(1, 30), max_size=6))
def test_however_it_is_cut_the_bars_are_those_of_the_whole(words, cuts):
    events = log_of(words)
    whole = join([stretch(events, {})], WINDOW)
    parts, before, start = [], {}, 0
    for stop in sorted({*(cut for cut in cuts if cut < len(events)), len(events)}):
        parts.append(stretch(events[start:stop], before))
        start = stop
    joined = join(parts, WINDOW)
    assert joined.bars.tolist() == whole.bars.tolist()
    assert (joined.timeless, len(joined.edges.quotes)) == (whole.timeless, len(whole.edges.quotes))
    quotes = [seq for kind, seq, *_ in events if kind == Kind.quote]
    assert int(whole.bars["quotes"].sum()) + whole.timeless + len(whole.edges.quotes) == len(quotes), "each is counted once"


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS.filter(lambda word: word[0] != "absurd"), min_size=20, max_size=60))
def test_what_a_quote_is_given_is_what_a_loop_says(words):
    events = log_of(words)
    times = naive_times(events)
    got = join([stretch(events, {})], WINDOW)
    buckets = sorted(ns // SECOND_NS * SECOND_NS for ns in times.values())
    assert np.repeat(got.bars["begin_ns"], got.bars["quotes"]).tolist() == buckets


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, min_size=15, max_size=60))
def test_open_and_close_go_by_era_and_id(words):
    events = log_of(words)
    got = join([stretch(events, {})], WINDOW)
    era, trades = 0, []
    for kind, seq, _, number, ns, flags in events:
        if kind == Kind.trade:
            era = seq if flags & Flag.RESET else era
            trades.append((ns // SECOND_NS * SECOND_NS, era, number, seq))
    for bar in got.bars[got.bars["count"] > 0]:
        own = sorted(one[1:] for one in trades if one[0] == bar["begin_ns"])
        assert (bar["first_era"], bar["first_id"], bar["open_ticks"]) == own[0]
        assert (bar["last_era"], bar["last_id"], bar["close_ticks"]) == own[-1]
        assert bar["count"] == len(own)


def test_a_quote_whose_change_ended_the_stretch_before_is_in_a_bar():
    events = log_of([("change", 3), ("change", 3), ("quote", 4), ("quote", 6), ("change", 2)])
    first, second = stretch(events[:2], {}), stretch(events[2:], {})
    assert not first.edges.quotes.size and second.edges.quotes["update_id"].tolist() == [56, 58]
    joined = join([first, second], WINDOW)
    assert joined.bars["quotes"].sum() == 2 and joined.timeless == 0


def test_an_absurd_change_gives_no_quote_its_time():
    events = log_of([("change", 3), ("absurd", 1), ("quote", 7), ("change", 3), ("quote", 9)])
    got = join([stretch(events, {})], WINDOW)
    times = naive_times(events)
    assert set(times) == {3} and times[3] == events[3][4], "the change that really covers it comes after"
    assert got.bars["quotes"].tolist()[got.bars["begin_ns"].tolist().index(times[3] // SECOND_NS * SECOND_NS)] == 1
    assert got.bars["quotes"].sum() == 1

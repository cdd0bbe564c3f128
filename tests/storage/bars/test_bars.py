"""Bars of ticks are what a plain loop over the ticks says, on any path: packed or not, in order or not, whole or in parts."""

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.naive_bars import as_dicts, headers, naive, without_zeros
from tickmesh.bus.schema import QUOTE, TRADE, Flag, Kind
from tickmesh.storage.bars import kernels, pyramid
from tickmesh.storage.bars.bar import LEVELS_S, SECOND_NS, as_float, between, coarsen, merge, whole
from tickmesh.storage.bars.runs import Window
from tickmesh.storage.bars.ticks import BarPart, bars_of, held, join
from tickmesh.storage.hdf5.columns import Table

QUOTE_SIDES = ("bid_ticks", "bid_lots", "ask_ticks", "ask_lots")
HUGE = 1 << 62


def trades_of(rows: list[tuple]) -> Table:
    """(id, price, quantity, venue_ns, side) each."""
    records = np.zeros(len(rows), TRADE)
    for record, (number, price, quantity, venue_ns, side) in zip(records, rows):
        record["trade_id"], record["price_ticks"], record["quantity_lots"] = number, price, quantity
        record["venue_ns"], record["side"] = venue_ns, side
    return Table(headers(len(rows)), records)


def quotes_of(rows: list[tuple]) -> Table:
    """(update id, bid, bid quantity, ask, ask quantity, venue_ns) each."""
    return Table(headers(len(rows)), np.array(rows, "i8").reshape(-1, 6).view(QUOTE)[:, 0] if rows else np.zeros(0, QUOTE))


def changes_of(rows: list[tuple]) -> Table:
    """(first id, last id, venue_ns, flags) each."""
    out = headers(len(rows))
    for header, (first, last, venue_ns, flags) in zip(out, rows):
        header["first_id"], header["last_id"], header["venue_ns"], header["flags"] = first, last, venue_ns, flags
    return Table(out, np.zeros(0, "u1"))


def seen(window: Window, trades=(), quotes=(), changes=()) -> BarPart:
    """By numpy, and the same by the compiled kernels."""
    ticks = held({Kind.trade: trades_of(trades), Kind.quote: quotes_of(quotes), Kind.depth: changes_of(changes)})
    out = bars_of(ticks, window)
    assert bars_of(ticks._replace(kernels=kernels), window).bars.tobytes() == out.bars.tobytes()
    return out


TIMES = st.one_of(st.integers(-5 * SECOND_NS, 200 * SECOND_NS), st.integers(0, 100).map(lambda s: s * SECOND_NS)).filter(bool)
PRICES = st.one_of(st.integers(1, 500).map(lambda p: p * 1_000_000), st.integers(-50, 50), st.integers(-HUGE, HUGE))
LOTS = st.one_of(st.integers(1, 900), st.integers(1, HUGE))
TRADES = st.lists(st.tuples(PRICES, LOTS, TIMES, st.sampled_from([-1, 1])), max_size=60)
SPREADS = st.one_of(st.integers(0, 1000), st.integers(0, HUGE))
QUOTES = st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 3), SPREADS, st.integers(0, 3), TIMES), max_size=60)
EVERY = st.sampled_from([1, 2, 7, 60, 90]).map(lambda s: s * SECOND_NS)


def numbered(trades, in_order: bool) -> list[tuple]:
    """Trades with ids from 1 on; in order of time, as a venue's are but for a few, or not."""
    rows = sorted(trades, key=lambda row: row[2]) if in_order else trades
    return [(number, *row) for number, row in enumerate(rows, 1)]


def numbered_quotes(quotes, in_order: bool) -> list[tuple]:
    rows = sorted(quotes, key=lambda row: row[4]) if in_order else quotes
    return [(i, bid, bids, bid + spread, asks, at) for i, (bid, bids, spread, asks, at) in enumerate(rows, 1)]


@given(TRADES, QUOTES, EVERY, st.booleans())
@settings(max_examples=300)
def test_bars_are_what_a_plain_loop_says(trades, quotes, every_ns, in_order):
    trades, quotes = numbered(trades, in_order), numbered_quotes(quotes, in_order)
    got = seen(Window(every_ns), trades, quotes)
    assert as_dicts(got.bars) == without_zeros(naive(trades, quotes, every_ns))
    assert got.timeless == 0


@given(TRADES, QUOTES, EVERY, TIMES, TIMES, st.booleans())
def test_a_window_cuts_between_ticks(trades, quotes, every_ns, start_ns, end_ns, in_order):
    trades, quotes = numbered(trades, in_order), numbered_quotes(quotes, in_order)
    inside = [row for row in trades if start_ns <= row[3] < end_ns]
    quoted = [row for row in quotes if start_ns <= row[5] < end_ns]
    got = seen(Window(every_ns, start_ns, end_ns), trades, quotes).bars
    assert as_dicts(got) == without_zeros(naive(inside, quoted, every_ns))


@given(TRADES, QUOTES, EVERY)
def test_coarser_bars_of_finer_ones_are_those_of_the_ticks(trades, quotes, every_ns):
    trades, quotes = numbered(trades, True), numbered_quotes(quotes, False)
    seconds = seen(Window(SECOND_NS), trades, quotes).bars
    assert coarsen(seconds, every_ns).tobytes() == seen(Window(every_ns), trades, quotes).bars.tobytes()


@given(TRADES, QUOTES, st.lists(st.integers(0, 4), min_size=120, max_size=120), st.permutations(range(5)))
@settings(max_examples=200)
def test_any_partition_merges_to_the_whole_in_any_order(trades, quotes, part_of, order):
    trades, quotes = numbered(trades, False), numbered_quotes(quotes, False)
    expected = seen(Window(SECOND_NS), trades, quotes).bars
    parts = [
        seen(
            Window(SECOND_NS),
            [row for row, part in zip(trades, part_of) if part == number],
            [row for row, part in zip(quotes, part_of[60:]) if part == number],
        ).bars
        for number in order
    ]
    at_once = merge(np.concatenate(parts))
    assert at_once.tobytes() == expected.tobytes()
    left = parts[0]
    for part in parts[1:]:
        left = merge(np.concatenate([left, part]))
    right = parts[-1]
    for part in parts[-2::-1]:
        right = merge(np.concatenate([part, right]))
    assert left.tobytes() == right.tobytes() == expected.tobytes()


def test_an_empty_second_has_no_bar():
    got = seen(Window(SECOND_NS), [(1, 5, 1, SECOND_NS, 1), (2, 5, 1, 9 * SECOND_NS, 1)]).bars
    assert got["begin_ns"].tolist() == [SECOND_NS, 9 * SECOND_NS]


@pytest.mark.parametrize("rows", [1, 65_536, 65_537, 200_001])
def test_chunks_of_a_long_stretch_are_one(rows):
    """Huge quantities: their sums and notionals do not fit 64 bits, and are exact."""
    rng = np.random.default_rng(rows)
    trades = np.zeros(rows, TRADE)
    trades["trade_id"] = np.arange(rows)
    trades["venue_ns"] = 10**18 + np.cumsum(rng.integers(0, 10**7, rows))
    trades["price_ticks"] = 10**15 + rng.integers(0, 10**14, rows)
    trades["quantity_lots"] = rng.integers(1, 1 << 57, rows)
    trades["side"] = rng.choice([-1, 1], rows)
    got = bars_of(held({Kind.trade: Table(headers(rows), trades)}), Window(86_400 * SECOND_NS)).bars
    assert got["count"].sum() == rows
    prices, lots = trades["price_ticks"].astype(object), trades["quantity_lots"].astype(object)
    assert whole(got, "volume_lots").sum() == lots.sum()
    assert whole(got, "notional").sum() == (prices * lots).sum()
    assert whole(got, "buy_volume_lots").sum() == lots[trades["side"] > 0].sum()
    assert as_float(got, "notional").sum() == pytest.approx(float((prices * lots).sum()), rel=1e-15)


def test_a_quote_without_a_time_takes_that_of_the_change_that_covers_it():
    quotes = [(number, 10, 1, 12, 1, 0) for number in (3, 5, 9, 10, 14, 21)]
    changes = [(4, 6, 2 * SECOND_NS, 0), (7, 9, 5 * SECOND_NS, 0), (12, 15, 7 * SECOND_NS, 0), (20, 20, 0, Flag.SNAPSHOT)]
    got = seen(Window(SECOND_NS), (), quotes, changes)
    assert {b // SECOND_NS: bar.get("quotes") for b, bar in as_dicts(got.bars).items()} == {2: 1, 5: 1, 7: 1}
    assert got.bars["changes"].tolist() == [1, 1, 1]  # the snapshot is none
    whole = join([got], Window(SECOND_NS))
    assert whole.bars.tobytes() == got.bars.tobytes()
    assert whole.timeless == 0 and whole.edges.quotes["update_id"].tolist() == [3, 10, 21], "a later change may know them"


def test_ids_that_began_anew_are_not_mistaken_for_old_ones():
    quotes = quotes_of([(105, 10, 1, 12, 1, 0), (5, 10, 1, 12, 1, 0), (106, 10, 1, 12, 1, 0)])
    quotes.headers["seq"] = 2, 5, 6
    reset = Flag.SNAPSHOT | Flag.RESET
    changes = changes_of([(100, 110, 3 * SECOND_NS, 0), (4, 4, 0, reset), (5, 8, 9 * SECOND_NS, 0)])
    changes.headers["seq"] = 3, 4, 7
    got = bars_of(held({Kind.quote: quotes, Kind.depth: changes}), Window(SECOND_NS))
    assert got.bars[["begin_ns", "quote_id"]].tolist() == [(3 * SECOND_NS, 105), (9 * SECOND_NS, 5)]
    assert got.edges.quotes["update_id"].tolist() == [106] and got.timeless == 0


@given(st.integers(1, 30), st.lists(st.integers(1, 8), min_size=40, max_size=40))
def test_stretches_joined_know_what_the_whole_knows(cut, lengths):
    """Quotes at the end of one stretch are covered by the first change of the next."""
    ends = np.cumsum(lengths).tolist()
    changes = [(end - n + 1, end, end * SECOND_NS // 3 + 1, 0) for end, n in zip(ends, lengths)]
    quotes = [(number, 10 + number, 1, 20 + number, 1, 0) for number in range(1, ends[-1] + 1, 2)]
    cut_id = changes[cut][0] + 1  # in the middle of a change's ids: its quotes come first
    window = Window(SECOND_NS)
    first = seen(window, (), [q for q in quotes if q[0] < cut_id], changes[:cut])
    second = seen(window, (), [q for q in quotes if q[0] >= cut_id], changes[cut:])
    joined, expected = join([first, second], window), seen(window, (), quotes, changes)
    assert joined.bars.tobytes() == expected.bars.tobytes()
    assert (joined.timeless, len(joined.edges.quotes)) == (0, 0) and not len(expected.edges.quotes)


def test_a_trade_without_a_time_is_counted_and_in_no_bar():
    got = seen(Window(SECOND_NS), [(1, 5, 1, 0, 1), (2, 6, 1, 3 * SECOND_NS, 1)])
    assert got.timeless == 1 and got.bars["count"].tolist() == [1] and got.bars["open_ticks"][0] == 6


@given(TRADES, QUOTES)
@settings(max_examples=40)
def test_the_pyramid_reads_back_at_every_level(trades, quotes):
    trades, quotes = numbered(trades, True), numbered_quotes(quotes, True)
    seconds = seen(Window(SECOND_NS), trades, quotes).bars
    with h5py.File("pyramid", "w", driver="core", backing_store=False) as file:
        pyramid.write(file, seen(Window(SECOND_NS), trades, quotes))
        for level in LEVELS_S:
            expected = coarsen(seconds, level * SECOND_NS)
            assert pyramid.read(file, level).tobytes() == expected.tobytes()
            part = pyramid.read(file, level, 3 * SECOND_NS, 120 * SECOND_NS)
            assert part.tobytes() == between(expected, 3 * SECOND_NS, 120 * SECOND_NS).tobytes()

"""The compiled venue fills as a naive one does, order by order and report by report."""

import random
from itertools import product

import numpy as np
import pytest

from tests.support.naive_venue import NaiveVenue
from tickmesh.bus.schema import DEPTH, QUOTE, TRADE, Flag, Kind
from tickmesh.research.backtest import venue_kernel
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue, MarketRows
from tickmesh.research.backtest.venue_arrays import MARKET_ROW
from tickmesh.research.backtest.venue_kernel import BOOK

WORDS = {
    venue_kernel.ACCEPTED: "accepted", venue_kernel.FILLED: "filled", venue_kernel.EXPIRED: "expired",
    venue_kernel.REJECTED: "rejected",
}  # fmt: skip
KINDS = {"limit": 1, "market": 2, "limit_maker": 3}
FORCES = {"gtc": 1, "ioc": 2, "fok": 3}
MODELS = ("risk_averse", "probability_power", "probability_log")
MIDDLE, EXPONENT = 1000, -2


def market(seed: int, events: int = 120) -> list[tuple]:
    """What happens: ("depth", id, levels, snapshot), ("quote", id, …), ("trade", rows), ("gap",), ("enter", …), ("cut", …)."""
    pick = random.Random(seed)
    update, order, out = 10, 0, []
    levels = [(MIDDLE - side * n, pick.randrange(1, 40), side) for side in (1, -1) for n in range(1, 5)]
    out.append(("depth", update, levels, True))
    for _ in range(events):
        deed = pick.random()
        if deed < 0.35:
            update += pick.randrange(0, 3)  # at times one that the book has already
            some = [
                (MIDDLE - side * pick.randrange(-1, 5), pick.choice((0, 0, pick.randrange(1, 40))), side)
                for side in (pick.choice((1, -1)) for _ in range(pick.randrange(1, 4)))
            ]
            out.append(("depth", update, some, pick.random() < 0.05))
        elif deed < 0.5:
            bid = MIDDLE - pick.randrange(0, 3)
            ask = bid + pick.randrange(1, 3)
            out.append(("quote", update + pick.randrange(-2, 3), bid, pick.randrange(1, 40), ask, pick.randrange(1, 40)))
        elif deed < 0.75:
            side = pick.choice((1, -1))
            most = pick.choice((8, 8, 8, 50))  # small ones leave somebody before us, so that the queue model counts
            rows = [(MIDDLE + side * pick.randrange(0, 3), pick.randrange(1, most), side) for _ in range(pick.randrange(1, 3))]
            out.append(("trade", rows))
        elif deed < 0.76:
            out.append(("gap",))
        elif deed < 0.93:
            order += 1
            kind, force = pick.choice(("limit", "limit", "limit_maker", "market")), pick.choice(("gtc", "gtc", "ioc", "fok"))
            side = pick.choice((1, -1))
            price = MIDDLE - side * pick.randrange(-2, 4)
            out.append(("enter", order, side, kind, force if kind == "limit" else "gtc", price, pick.randrange(1, 40)))
        elif order:
            out.append(("cut", pick.randrange(1, order + 1), pick.choice((3, 1000))))
    return out


def naive(venue: NaiveVenue, deed: tuple) -> None:
    """Has one thing happen at the naive venue."""
    name, *rest = deed
    if name == "trade":
        for row in rest[0]:
            venue.trade(*row)
    else:
        {"depth": venue.depth, "quote": venue.see_quote, "gap": venue.lose, "enter": venue.enter, "cut": venue.cut}[name](*rest)


def rows_of(deeds: list[tuple], slot: int) -> MarketRows:
    """A market's own events as arrays."""
    rows = np.zeros(len(deeds), MARKET_ROW)
    quotes, trades, levels = [], [], []
    for row, (name, *rest) in zip(rows, deeds):
        row["slot"] = slot
        if name == "depth":
            row["what"], row["kind"], row["last_id"], row["flags"] = BOOK, Kind.depth, rest[0], Flag.SNAPSHOT * rest[2]
            row["first"], row["count"] = len(levels), len(rest[1])
            levels += rest[1]
        elif name == "quote":
            row["what"], row["kind"], row["first"], row["count"] = venue_kernel.QUOTE, Kind.quote, len(quotes), 1
            quotes.append((*rest, 0))
        elif name == "trade":
            row["what"], row["kind"], row["first"], row["count"] = venue_kernel.TRADE, Kind.trade, len(trades), len(rest[0])
            trades += [(0, price, lots, 0, 0, side, b"") for price, lots, side in rest[0]]
        else:
            row["what"], row["kind"] = BOOK, Kind.gap
    return MarketRows(
        rows, np.array(quotes, QUOTE), np.array(trades, TRADE), np.array([(*level, b"") for level in levels], DEPTH)
    )  # fmt: skip


def compiled(markets: list[list[tuple]], terms: VenueTerms) -> list[list[tuple]]:
    """What a compiled venue reports of several markets, each an instrument of it, one part of each after the other."""
    venue = ColumnVenue(len(markets), terms)
    queues, out = [list(deeds) for deeds in markets], [[] for _ in markets]
    for slot in range(len(markets)):
        venue.define(slot, 1, EXPONENT)
    pick = random.Random(len(markets[0]))
    while any(queues):
        slot = pick.choice([slot for slot, queue in enumerate(queues) if queue])
        queue, base = queues[slot], 1000 * slot
        if queue[0][0] == "enter":
            _, order, side, kind, force, price, lots = queue.pop(0)
            reports = venue.enter(base + order, slot, side, KINDS[kind], FORCES[force], price, lots)
            out[slot] += [(WORDS[one.what], one.order - base, *one[2:]) for one in reports]
        elif queue[0][0] == "cut":
            _, order, lots = queue.pop(0)
            venue.cut(base + order, lots)
        else:
            count = next((n for n, deed in enumerate(queue) if deed[0] in ("enter", "cut")), len(queue))
            part, queues[slot] = rows_of(queue[:count], slot), queue[count:]
            at = 0
            while at < count:
                at, reports = venue.pass_rows(part, at, count)
                out[slot] += [(WORDS[one.what], one.order - base, *one[2:]) for one in reports]
    return out


@pytest.mark.parametrize("model, whole, impact", [*product(MODELS, (False, True), (False, True))])
def test_it_fills_as_a_naive_venue_does_report_by_report(model, whole, impact):
    fills = 0
    for first in range(0, 36, 3):
        quotes = first % 2 == 0
        terms = VenueTerms(model, "whole" if whole else "shown", impact, quotes=quotes)
        seeds = [first, first + 1, first + 2]
        for seed, seen in zip(seeds, compiled([market(seed) for seed in seeds], terms)):
            venue = NaiveVenue(model, whole, impact, 10.0**EXPONENT, quotes=quotes)
            for deed in market(seed):
                naive(venue, deed)
            assert seen == venue.reports, f"seed {seed}"
            fills += sum(one[0] == "filled" and one[5] for one in seen)
    assert fills > 100


def one_level(seed: int) -> list[tuple]:
    """An order behind a level's quantity, of which some is sold now and then, and which changes beside that."""
    pick = random.Random(seed)
    level, update = pick.randint(5, 40), 10
    out = [("depth", 10, [(MIDDLE, level, 1), (MIDDLE + 1, 50, -1)], True), ("enter", 1, 1, "limit", "gtc", MIDDLE, 10)]
    for _ in range(30):
        if pick.random() < 0.4:
            sold = pick.randint(1, 6)
            out.append(("trade", [(MIDDLE, sold, -1)]))
            level -= sold
        level, update = max(level + pick.randint(-5, 5), 1), update + 1
        out.append(("depth", update, [(MIDDLE, level, 1)], False))
    return out


@pytest.mark.parametrize("model", MODELS)
def test_a_place_in_the_queue_moves_as_the_model_says(model):
    for seed in range(40):
        venue = NaiveVenue(model, False, True, 10.0**EXPONENT)
        for deed in one_level(seed):
            naive(venue, deed)
        assert compiled([one_level(seed)], VenueTerms(model)) == [venue.reports], f"seed {seed}"


@pytest.mark.parametrize("impact", [False, True])
def test_a_crossed_order_gets_a_level_once_until_that_shows_another_quantity(impact):
    """`quote` shows the same 5 again and again; then 4 and once more 5: those are others."""
    same = [("quote", update, MIDDLE - 1, 9, MIDDLE, 5) for update in (11, 12, 13)]
    anew = [
        ("quote", 14, MIDDLE - 1, 9, MIDDLE, 4),
        ("quote", 15, MIDDLE - 1, 9, MIDDLE, 5),
        ("quote", 16, MIDDLE - 1, 9, MIDDLE, 5),
    ]
    book = ("depth", 10, [(MIDDLE - 1, 9, 1), (MIDDLE, 5, -1)], True)
    order = ("enter", 1, 1, "limit", "gtc", MIDDLE, 30)
    (reports,) = compiled([[book, order, *same, *anew]], VenueTerms(impact=impact))
    assert [one[3] for one in reports if one[0] == "filled"] == [5, 4, 5]
    ioc = ("enter", 2, 1, "limit", "ioc", MIDDLE, 30)
    (reports,) = compiled([[book, ioc, ("enter", 3, *ioc[2:])]], VenueTerms(impact=impact))
    assert sum(one[3] for one in reports if one[0] == "filled") == (5 if impact else 10), "of two that arrive"


def test_a_place_follows_what_quotes_show_of_the_best_level_if_it_is_to():
    """Those before us leave, which a quote shows and the next change of the book does not: others have come by then."""
    deeds = [("depth", 1, [(MIDDLE, 30, 1), (MIDDLE + 1, 50, -1)], True), ("enter", 1, 1, "limit", "gtc", MIDDLE, 5)]
    deeds += [("quote", 2, MIDDLE, 3, MIDDLE + 1, 50), ("depth", 3, [(MIDDLE, 40, 1)], False), ("trade", [(MIDDLE, 7, -1)])]
    both = (compiled([deeds], VenueTerms(quotes=quotes))[0] for quotes in (True, False))
    assert [[one[3] for one in reports if one[0] == "filled"] for reports in both] == [[4], []]


def test_a_book_of_more_far_levels_than_there_is_room_for_grows():
    venue = ColumnVenue(2, VenueTerms())
    far = [(-(10**9) * n, 5, 1) for n in range(1, 6000)] + [(MIDDLE, 7, 1), (MIDDLE + 1, 9, -1)]
    deeds = [("depth", 1, [(50, 1, 1)], True), ("depth", 2, far, True)]
    for slot in (0, 1):
        assert venue.pass_rows(rows_of(deeds, slot), 0, 2) == (2, [])
        (report, sold) = venue.enter(slot, slot, -1, 1, 1, MIDDLE, 8)
        assert (report.what, sold.what, sold.lots, sold.left) == (venue_kernel.ACCEPTED, venue_kernel.FILLED, 7, 1)


def test_trades_that_were_fetched_later_or_never_met_the_book_fill_nobody():
    venue = ColumnVenue(1, VenueTerms())
    part = rows_of([("depth", 1, [(MIDDLE, 1, 1)], True), ("trade", [(MIDDLE, 50, -1)])], 0)
    venue.pass_rows(part, 0, 1)
    venue.enter(1, 0, 1, 1, 1, MIDDLE, 5)
    for flag in (Flag.REPAIRED, Flag.OFF_BOOK):
        part.rows["flags"][1] = flag
        assert venue.pass_rows(part, 1, 2) == (2, [])
    part.rows["flags"][1] = 0
    assert venue.pass_rows(part, 1, 2)[1][0].lots == 5

"""A book in arrays is the book in a dict, whatever comes: outside its window, off its grid, on empty sides."""

import random

import numpy as np
import pytest

from tickmesh.bus.schema import DEPTH, Flag, Kind
from tickmesh.storage.archive.book import ArchivedBook
from tickmesh.storage.books import arrays

PRICES = (  # how near to one another the prices of a stream are
    lambda pick: 1000 + pick.randrange(40),
    lambda pick: 100 * (1000 + int(pick.gauss(0, 60))),
    lambda pick: pick.choice((5, 10, 25)) * pick.randrange(1, 2000),
    lambda pick: pick.randrange(-(1 << 61) + 1, 1 << 61) if pick.random() < 0.1 else 7 * pick.randrange(-50, 50),
)


def made(rows: list[tuple[int, int, int, list]]) -> tuple[np.ndarray, np.ndarray]:
    """(kind, flags, last_id, [(price, quantity, side)]) as EVENT rows and their levels."""
    events = np.zeros(len(rows), arrays.EVENT)
    flat = [level for *_, levels in rows for level in levels]
    levels = np.zeros(len(flat), DEPTH)
    for place, level in enumerate(flat):
        levels[place] = (*level, b"")
    counts = np.array([len(own) for *_, own in rows])
    events["count"], events["first"] = counts, np.cumsum(counts) - counts
    for event, (seq, (kind, flags, last_id, _)) in zip(events, enumerate(rows, 1)):
        event["kind"], event["flags"], event["last_id"], event["seq"] = kind, flags, last_id, seq
    return events, levels


def stream(seed: int, price, count: int) -> list[tuple[int, int, int, list]]:
    """Random events of a book: snapshots, changes, old ids, gaps, empty changes, sides that are emptied."""
    pick, rows, last_id = random.Random(seed), [], 0
    while len(rows) < count:
        last_id += 1
        deed = pick.random()
        sides = (1, -1) if deed > 0.2 else (pick.choice((1, -1)),)
        levels = [(price(pick), pick.choice((0, 0, 1, 5, 1 << 60)), pick.choice(sides)) for _ in range(pick.randrange(30))]
        if deed < 0.03:
            rows.append((Kind.gap, 0, 0, []))
        elif deed < 0.1 or not rows:
            known = {(price, side): quantity for price, quantity, side in levels if quantity}
            rows.append((Kind.depth, Flag.SNAPSHOT, last_id, [(p, q, s) for (p, s), q in known.items()]))
        elif deed < 0.13:
            rows.append((Kind.depth, 0, last_id - pick.randrange(1, 9), levels))
        else:
            rows.append((Kind.depth, 0, last_id, levels or [(0, 0, 0)]))
    return rows


def naive_step(book: ArchivedBook, event: np.void, levels: np.ndarray) -> None:
    if event["kind"] == Kind.gap:
        book.valid, book.bids, book.asks = False, {}, {}
    else:
        own = levels[event["first"] : event["first"] + event["count"]]
        book.apply(int(event["flags"]), int(event["last_id"]), own)


@pytest.mark.parametrize("price", PRICES, ids=["dense", "wide", "grids", "absurd"])
@pytest.mark.parametrize("width", [4, 16, 64])
def test_it_is_the_naive_book_after_every_event(price, width):
    """Levels, the best, and the quantity at any price; in a window that the touch leaves all the time."""
    events, levels = made(stream(width, price, 600))
    book, naive, pick, moved = arrays.empty_book(width, 4), ArchivedBook(), random.Random(1), 0
    for row in range(len(events)):
        bases = book.sides["base"].copy()
        book = arrays.apply_all(book, events[row : row + 1], levels)
        naive_step(naive, events[row], levels)
        moved += (book.sides["base"] != bases).any()
        assert book.head["valid"][0] == naive.valid and book.head["last_update_id"][0] == naive.last_update_id
        assert arrays.levels_of(book).tobytes() == naive.levels().tobytes()
        for side, quantities, choose in ((0, naive.bids, max), (1, naive.asks, min)):
            best = choose(quantities) if quantities else 0
            assert arrays.best(book, side) == (best, quantities.get(best, 0))
            for asked in (price(pick), best, *list(quantities)[-3:]):
                assert arrays.lots_at(book, side, asked) == quantities.get(asked, 0)
    assert moved > 50, "the window was never left"


def test_events_one_by_one_and_all_at_once_give_the_same_book():
    events, levels = made(stream(5, PRICES[1], 2000))
    together, single = arrays.apply_all(arrays.empty_book(16, 4), events, levels), arrays.empty_book()
    for row in range(len(events)):
        single = arrays.apply_all(single, events[row : row + 1], levels)
    assert arrays.levels_of(together).tobytes() == arrays.levels_of(single).tobytes()
    assert together.head.tobytes() == single.head.tobytes() and together.head["seq"][0] > 1900


def test_the_step_is_that_of_the_prices_and_a_snapshot_finds_it_anew():
    events, levels = made(
        [
            (Kind.depth, Flag.SNAPSHOT, 1, [(61_000_50, 1, 1), (61_000_00, 1, 1), (61_001_00, 2, -1)]),
            (Kind.depth, 0, 2, [(60_999_99, 1, 1)]),
            (Kind.depth, Flag.SNAPSHOT, 3, [(61_000_50, 1, 1), (61_000_00, 1, 1), (61_001_00, 2, -1)]),
        ]
    )
    book = arrays.empty_book()
    steps = [arrays.apply_all(book, events[row : row + 1], levels).sides["step"][0] for row in range(3)]
    assert steps == [50, 1, 50]


def test_top_gives_what_there_is_and_then_zeros():
    events, levels = made([(Kind.depth, Flag.SNAPSHOT, 1, [(10, 1, 1), (9, 2, 1), (1, 3, 1), (99, 4, -1)])])
    book = arrays.apply_all(arrays.empty_book(4), events, levels)
    prices, lots = np.full(5, 7), np.full(5, 7)
    assert book.sides["far"].tolist() == [1, 0], "one of the bids lies in the spill"
    assert arrays.top(book, 0, prices, lots) == 3
    assert prices.tolist() == [10, 9, 1, 0, 0] and lots.tolist() == [1, 2, 3, 0, 0]
    assert arrays.top(book, 0, prices[:2], lots[:2]) == 2 and prices.tolist() == [10, 9, 1, 0, 0]


def test_an_absurd_price_is_a_sentence():
    events, levels = made([(Kind.depth, Flag.SNAPSHOT, 1, [(-(1 << 62), 1, 1)])])
    with pytest.raises(ValueError, match=f"price mantissa {-(1 << 62)}; books hold those below 2\\^61"):
        arrays.apply_all(arrays.empty_book(), events, levels)

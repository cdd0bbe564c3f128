"""Books and bars by activity: levels per second into a book; 20 million trades to bars of 500 beside polars and duckdb.

`python -m bench books`. Changes and trades are made here, seeded; all but the streamed book is in memory for everybody, and
every contestant gives the same result (checked). The plain book is a dict a side whose best price is looked for after each
event. The streamed one goes from the archive through a kernel that reads the touch after each change, beside merely reading its
columns.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numba import njit

from bench import stored_days
from bench.bars import TRADES, market
from bench.floor import line, one_core, rounds, take_turns, throw_away_mesh
from tickmesh.bus.schema import DEPTH, QUOTE, Flag, Kind
from tickmesh.storage.bars import activity
from tickmesh.storage.books import arrays, reading
from tickmesh.storage.books.events import book_events
from tickmesh.storage.columns.span import ROW

EVENTS, LEVELS = 200_000, 12  # changes of a book, and levels of each
PLAIN_EVENTS = 20_000  # of them, for the plain book
BAR_TRADES = 500
STREAMED = 400_000  # changes of a book in an archive (TICKMESH_BENCH_CHANGES: others)


def changes(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A snapshot of 5,000 levels a side, and changes around a touch that wanders; one in ten is far away, at a round price."""
    rng = np.random.default_rng(seed)
    shape = (EVENTS, LEVELS)
    touch = 6_000_000 + np.cumsum(rng.integers(-3, 4, EVENTS))
    side = np.where(rng.random(shape) < 0.5, 1, -1)
    near = touch[:, None] - side * rng.geometric(0.01, shape)
    prices = np.where(rng.random(shape) < 0.1, 6_000_000 - side * 500 * rng.integers(100, 3000, shape), near)
    first = np.arange(1, 5001)
    levels = np.zeros(10_000 + EVENTS * LEVELS, DEPTH)
    levels["price_ticks"] = np.concatenate([6_000_000 - first, 6_000_000 + first, prices.ravel()]) * 10
    quantities = np.where(rng.random(shape) < 0.45, 0, rng.integers(1, 1000, shape)).ravel()
    levels["quantity_lots"] = np.concatenate([np.full(10_000, 5), quantities])
    levels["side"] = np.concatenate([np.full(5000, 1), np.full(5000, -1), side.ravel()])
    events = np.zeros(EVENTS + 1, arrays.EVENT)
    events["seq"] = events["last_id"] = np.arange(1, EVENTS + 2)
    events["kind"], events["count"], events["count"][0] = Kind.depth, LEVELS, 10_000
    events["first"] = np.cumsum(events["count"]) - events["count"]
    events["flags"][0] = Flag.SNAPSHOT
    return events, levels


def best_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """(shortest seconds, what it gave)."""
    seconds, out = [], None
    for _ in range(rounds()):
        start = time.perf_counter()
        out = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), out


def plain(events: np.ndarray, levels: np.ndarray) -> list[tuple[int, int]]:
    """The best bid and its quantity after each event, by a dict."""
    sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
    out = []
    for first, count in zip(events["first"].tolist(), events["count"].tolist()):
        own = levels[first : first + count]
        for price, quantity, side in zip(own["price_ticks"].tolist(), own["quantity_lots"].tolist(), own["side"].tolist()):
            if quantity:
                sides[side][price] = quantity
            else:
                sides[side].pop(price, None)
        best = max(sides[1])
        out.append((best, sides[1][best]))
    return out


def books() -> dict[str, float]:
    events, levels = changes()
    arrays.apply_all(arrays.empty_book(), events[:100], levels)
    ours_s, book = best_of(lambda: arrays.apply_all(arrays.empty_book(), events, levels))
    some = events[: PLAIN_EVENTS + 1]
    plain_s, touches = best_of(lambda: plain(some, levels))
    assert touches[-1] == arrays.best(arrays.apply_all(arrays.empty_book(), some, levels), arrays.BID), "the books differ"
    rate, plain_rate = len(levels) / ours_s, (10_000 + PLAIN_EVENTS * LEVELS) / plain_s
    assert book.head["valid"][0]
    line("level updates into a book", f"{rate / 1e6:.1f} M/s", f"{plain_rate / 1e6:.2f} M/s, a dict", rate / plain_rate)
    return {"book_levels_per_s": rate}


@njit(nogil=True)
def touch(state, book, changes, out, n):
    """Sums the best quantities after each change."""
    state[0] += arrays.best(book, arrays.BID)[1] - arrays.best(book, arrays.ASK)[1]
    state[1] += len(changes)
    return n


def streamed() -> dict[str, float]:
    """From the archive through a kernel, beside the same columns read, and put into the order of their events, alone."""
    count = int(os.environ.get("TICKMESH_BENCH_CHANGES") or STREAMED)
    config = throw_away_mesh(instruments=[{"symbol": stored_days.SUBJECT.partition(".")[2]}])
    stored_days.write_days(config, 1, count, (Kind.depth,))
    levels = stored_days.SNAPSHOT_LEVELS + count * stored_days.LEVELS

    def stream() -> np.ndarray:
        state = np.zeros(2, "i8")
        deque(reading.stream(config, stored_days.SUBJECT, touch, state, np.dtype("i8")), maxlen=0)
        return state

    def read() -> int:
        return sum(len(changed) for _, changed in book_events(config, stored_days.SUBJECT, None, None))

    with one_core():
        turns = take_turns({"stream": stream, "read": read})
    assert turns["stream"].given[1] == turns["read"].given == levels, "not every level was in the book"
    own, floor = (levels / turns[name].cpu_s for name in ("stream", "read"))
    line("levels from the archive through a book", f"{own / 1e6:.1f} M/s", f"{floor / 1e6:.1f} M/s, columns alone", floor / own)
    return {"book_stream_levels_per_s": own, "book_stream_to_columns": floor / own}


def ours(rows: np.ndarray, seqs: np.ndarray, trades: np.ndarray, run: Callable) -> np.ndarray:
    most = len(trades) // BAR_TRADES + 3
    bounds, bars = np.zeros(most, activity.BOUNDS), np.zeros(most, activity.STANDARD)
    progress, limits = np.zeros(1, activity.PROGRESS), np.array([[0, BAR_TRADES], [-(1 << 63), 0]])
    within = np.array([0, (1 << 63) - 1])
    _, n = run(rows, seqs, np.zeros(0, QUOTE), trades, 0, within, activity.TICKS, 0, limits, progress, bounds, bars, 1)
    return bars[1 : n + int(progress["open"][0])]


def by_polars(frame: pl.DataFrame) -> pl.DataFrame:
    price, lots = pl.col("price"), pl.col("lots")
    return frame.group_by((pl.col("row") // BAR_TRADES).alias("bar"), maintain_order=True).agg(
        price.first().alias("open"), price.max().alias("high"), price.min().alias("low"), price.last().alias("close"),
        lots.sum().alias("volume"), lots.filter(pl.col("side") > 0).sum().alias("bought"),
        (price.cast(pl.Float64) * lots).sum().alias("notional"),
    )  # fmt: skip


def by_duckdb(connection: duckdb.DuckDBPyConnection) -> list[tuple]:
    return connection.sql(
        f"""select row // {BAR_TRADES} as bar, arg_min(price, row), max(price), min(price), arg_max(price, row),
        sum(lots)::bigint, sum(lots) filter (side > 0)::bigint, sum(price::double * lots)
        from frame group by bar order by bar"""
    ).fetchall()


def bars() -> dict[str, float]:
    trades = np.concatenate(list(market()))
    rows = np.zeros(len(trades), ROW)
    rows["kind"], rows["count"], rows["first"], rows["seq_ns"] = Kind.trade, 1, np.arange(len(trades)), trades["venue_ns"]
    seqs = np.arange(1, len(trades) + 1)
    frame = pl.DataFrame(
        {"row": seqs - 1, "price": trades["price_ticks"], "lots": trades["quantity_lots"], "side": trades["side"]}
    )
    connection = duckdb.connect()
    connection.execute("create table frame as select * from frame")
    run = activity.compiled(activity.standard)
    ours(rows[:1000], seqs[:1000], trades[:1000], run)
    ours_s, made = best_of(lambda: ours(rows, seqs, trades, run))
    polars_s, theirs = best_of(lambda: by_polars(frame))
    duckdb_s, others = best_of(lambda: by_duckdb(connection))
    names = ("open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots", "buy_volume_lots")
    own = list(zip(*(made[name].tolist() for name in names)))
    assert own == [row[1:7] for row in theirs.rows()] == [row[1:7] for row in others], "the bars differ"
    for name, seconds in (("polars", polars_s), ("duckdb", duckdb_s)):
        line(
            f"{TRADES:,} trades to bars of {BAR_TRADES}", f"{TRADES / ours_s / 1e6:.1f} M/s",
            f"{TRADES / seconds / 1e6:.1f} M/s, {name}", seconds / ours_s,
        )  # fmt: skip
    return {"tick_bars_trades_per_s": TRADES / ours_s}


def main() -> dict[str, float]:
    return books() | streamed() | bars()


if __name__ == "__main__":
    main()

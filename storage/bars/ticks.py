"""Ticks to bars: trades, quotes and depth changes of one archive file, or of events in memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tickmesh.bus.schema import QUOTE, Flag, Kind
from tickmesh.storage.archive.eras import eras_of_events, eras_of_file
from tickmesh.storage.bars.bar import BAR, I8, LAST_QUOTE, floor, merge, none, set_whole
from tickmesh.storage.bars.runs import Window, inside, reduce, runs_of, sorted_runs
from tickmesh.storage.bars.timing import CHANGE, OPEN, OPEN_MAX, Clock, Edges, Seam, TimedChanges, edges_of
from tickmesh.storage.hdf5.chunks import Chunked, Held, Packed
from tickmesh.storage.hdf5.columns import Table
from tickmesh.storage.hdf5.packing import CHUNK_ROWS

TRADE_COLUMNS = ("trade_id", "price_ticks", "quantity_lots", "venue_ns", "side")
QUOTE_COLUMNS = QUOTE.names or ()
NEVER = np.iinfo("i8").max


class BarPart(NamedTuple):
    """The bars of one stretch of the log, and what has to be known of it to join them with its neighbours'.

    `bars`: dtype BAR, merged. `edges`: what its neighbours need of it (storage/bars/timing.py). `timeless`: trades and quotes
    that no time can be given; they are in no bar.
    """

    bars: np.ndarray
    edges: Edges
    timeless: int


class KindColumns(NamedTuple):
    """Columns of one kind, all of the same length. `eras`: (row at which it begins, era), in order, the first at row 0.

    `left_out`: rows that are in no bar, (rows,) bool; None where there are none.
    """

    columns: Mapping[str, Chunked]
    eras: list[tuple[int, int]]
    seqs: Callable[[], np.ndarray]
    left_out: np.ndarray | None = None

    def pieces(self, name: str) -> list[tuple[int, slice, int]]:
        """Splits rows into pieces of one chunk and one era: (number of the chunk, rows in it, era). `name`: of any column."""
        rows = self.columns[name].rows
        ends = [start for start, _ in self.eras[1:]] + [rows]
        out = []
        for number in range(-(-rows // CHUNK_ROWS)):
            begin = number * CHUNK_ROWS
            for (start, era), end in zip(self.eras, ends):
                low, high = max(start, begin), min(end, begin + CHUNK_ROWS)
                if low < high:
                    out.append((number, slice(low - begin, high - begin), era))
        return out


class Ticks(NamedTuple):
    """The trades, quotes and depth changes of one stretch of the log."""

    trades: KindColumns
    quotes: KindColumns
    changes: TimedChanges
    clock: Clock
    kernels: Any = None


Eras = Mapping[Kind, np.ndarray]


def stored(file: Any, kernels: Any = None, eras: Eras | None = None, off_book: bool = False) -> Ticks:
    """Opens the ticks of an archive file of one instrument, open in h5py.

    `kernels`: tickmesh.storage.bars.kernels, or None for numpy alone. `eras`: of trades and quotes, where the file's own
    ledger does not say (an overlay has none). `off_book`: with trades that never met the book.
    """

    def column(kind: Kind, names: tuple[str, ...]) -> KindColumns:
        if kind.name not in file:
            return _nothing(names)
        group = file[kind.name]
        columns = {name: Chunked(group["records"], name, int(group.attrs["records"]), kernels) for name in names}

        events, rows = group["events"], int(group.attrs["events"])

        def by_record(own: np.ndarray) -> np.ndarray:
            return own if rows == columns[names[0]].rows else np.repeat(own, Chunked(events, "count", rows).values())

        def seqs() -> np.ndarray:
            return by_record(Chunked(events, "seq", rows).values())

        left_out = None
        if kind is Kind.trade and not off_book:
            flags = Chunked(events, "flags", rows)
            left_out = by_record(flags.values() & Flag.OFF_BOOK != 0) if flags.has_any(Flag.OFF_BOOK) else None
        return _column(columns, eras_of_file(file, kind) if eras is None else eras[kind], seqs, left_out)

    changes = TimedChanges(np.zeros(0, CHANGE), np.zeros(0, I8), np.zeros(0, I8))
    if "depth" in file:
        group, rows = file["depth/events"], int(file["depth"].attrs["events"])
        own = np.zeros(rows, CHANGE)
        own["last_id"] = Chunked(group, "last_id", rows).values()
        own["first_id"] = own["last_id"] - Chunked(group, "id_span", rows).values()
        own["venue_ns"] = Chunked(group, "venue_ns", rows).values()
        changes = _changes_of(own, Chunked(group, "flags", rows).values(), Chunked(group, "seq", rows).values())
    trades, quotes = column(Kind.trade, TRADE_COLUMNS), column(Kind.quote, QUOTE_COLUMNS)
    return Ticks(trades, quotes, changes, Clock(changes), kernels)


def held(tables: Mapping[Kind, Table], before: Mapping[Kind, int] | None = None, off_book: bool = False) -> Ticks:
    """Builds the ticks of events in memory, from one instrument's tables of trades, quotes and depth, where there are any.

    `before`: the eras of trades and quotes before them; none is 0. `off_book`: with trades that never met the book.
    """

    def column(kind: Kind, names: tuple[str, ...]) -> KindColumns:
        if kind not in tables:
            return _nothing(names)
        headers, records = tables[kind]
        columns = {name: Held(np.ascontiguousarray(records[name])) for name in names}
        eras = eras_of_events(headers, (before or {}).get(kind, 0))
        away = headers["flags"] & Flag.OFF_BOOK != 0
        left_out = np.repeat(away, headers["count"]) if kind is Kind.trade and not off_book and away.any() else None
        return _column(columns, eras, lambda: np.repeat(headers["seq"].astype(I8), headers["count"]), left_out)

    changes = TimedChanges(np.zeros(0, CHANGE), np.zeros(0, I8), np.zeros(0, I8))
    if Kind.depth in tables:
        headers = tables[Kind.depth].headers
        own = np.zeros(len(headers), CHANGE)
        for name in CHANGE.names or ():
            own[name] = headers[name]
        changes = _changes_of(own, headers["flags"].astype(I8), headers["seq"].astype(I8))
    trades, quotes = column(Kind.trade, TRADE_COLUMNS), column(Kind.quote, QUOTE_COLUMNS)
    return Ticks(trades, quotes, changes, Clock(changes))


def _nothing(names: tuple[str, ...]) -> KindColumns:
    return KindColumns({name: Held(np.zeros(0, I8)) for name in names}, [(0, 0)], lambda: np.zeros(0, I8))


def _column(
    columns: Mapping[str, Chunked], eras: np.ndarray, seqs: Callable[[], np.ndarray], left_out: np.ndarray | None
) -> KindColumns:
    starts = [0] if len(eras) == 1 else [0, *np.searchsorted(seqs(), eras[1:]).tolist()]
    return KindColumns(columns, list(zip(starts, eras.tolist())), seqs, left_out)


def _changes_of(rows: np.ndarray, flags: np.ndarray, seqs: np.ndarray) -> TimedChanges:
    """A snapshot is no change: it is what we asked for, and some venues give it no time."""
    kept = (flags & Flag.SNAPSHOT == 0) & (rows["venue_ns"] != 0)
    return TimedChanges(rows[kept], seqs[kept], seqs[flags & Flag.RESET != 0])


def bars_of(ticks: Ticks, window: Window) -> BarPart:
    """Computes the bars of the window from ticks, chunk by chunk.

    A chunk takes a millisecond in forty calls, each of which gives the interpreter's lock away: one thread is quicker than two
    that pass it on.
    """
    quotes = _Quotes(ticks)
    jobs: list[tuple[Any, ...]] = [(_trades, ticks, piece) for piece in ticks.trades.pieces("trade_id")]
    jobs += [(_quotes, quotes, piece) for piece in ticks.quotes.pieces("update_id")]
    parts, waiting, timeless = [_changes(ticks.changes.rows, window)], [], 0
    for work, *what in jobs:
        bars, wait, lost = work(*what, window)
        parts.append(bars)
        waiting.append(wait)
        timeless += lost
    rest = _one_after_the_other(waiting, OPEN)
    if len(rest) > OPEN_MAX:  # those nearest to the edges
        timeless += len(rest) - OPEN_MAX
        rest = np.concatenate([rest[: OPEN_MAX // 2], rest[-OPEN_MAX // 2 :]])
    return BarPart(merge(_one_after_the_other(parts, BAR)), edges_of(ticks.changes, rest), timeless)


def _one_after_the_other(parts: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Joins arrays of one structured dtype. np.concatenate compares it field by field, for each of them."""
    out, at = np.empty(sum(map(len, parts)), dtype), 0
    for part in parts:
        out[at : at + len(part)] = part
        at += len(part)
    return out


Piece = tuple[int, slice, int]  # number of a chunk, rows in it, era


def _none(lost: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    return none(), np.zeros(0, OPEN), lost


def _trades(ticks: Ticks, piece: Piece, window: Window) -> tuple[np.ndarray, np.ndarray, int]:
    (number, where, era), columns = piece, ticks.trades.columns
    own = _rows_of(where, number, ticks.trades.left_out)
    times, ids = columns["venue_ns"].piece(number).take(own), columns["trade_id"].piece(number).take(own)
    runs = runs_of(times, ids, window, ticks.kernels)
    if runs is None or not len(runs.starts):
        return _none(runs.timeless if runs else 0)
    prices = columns["price_ticks"].piece(number).take(own).take(runs.rows).narrowed()
    quantities = columns["quantity_lots"].piece(number).take(own).take(runs.rows).narrowed()
    sides = columns["side"].piece(number).stored[own][runs.rows].astype("i1", copy=False)  # a byte is never packed
    starts, ids = runs.starts, ids.take(runs.rows)
    ends = np.append(starts[1:], len(sides)) - 1
    out = np.zeros(len(starts), BAR)
    out["begin_ns"] = runs.begin_ns
    out["count"] = ends + 1 - starts
    out["first_id"], out["last_id"] = ids.at(starts), ids.at(ends)
    out["first_era"] = out["last_era"] = era
    out["open_ticks"], out["close_ticks"] = prices.at(starts), prices.at(ends)
    reduced = reduce(prices, quantities, sides, starts, ticks.kernels)
    out["low_ticks"] = prices._replace(stored=reduced.low).values()
    out["high_ticks"] = prices._replace(stored=reduced.high).values()
    scale, offset = quantities.scale, quantities.offset
    volume = reduced.quantity * scale + out["count"].astype(object) * offset
    set_whole(out, "volume_lots", volume)
    set_whole(out, "buy_volume_lots", reduced.bought * scale + reduced.buys * offset)
    products = reduced.product * (prices.scale * scale) + reduced.price * (prices.scale * offset)
    set_whole(out, "notional", products + volume * prices.offset)
    return out, np.zeros(0, OPEN), runs.timeless


def _rows_of(where: slice, number: int, left_out: np.ndarray | None) -> slice | np.ndarray:
    """The rows of a piece of chunk `number` that are in bars."""
    if left_out is None:
        return where
    begin = number * CHUNK_ROWS
    rows: np.ndarray = np.arange(where.start, where.stop)[~left_out[begin + where.start : begin + where.stop]]
    return rows


class _Quotes:
    """A stretch's quotes; their seqs are read when one of them has no time."""

    def __init__(self, ticks: Ticks):
        self.columns, self.clock = ticks.quotes.columns, ticks.clock
        timeless = self.columns["venue_ns"].least in (0, None)
        self.seqs = ticks.quotes.seqs() if timeless and self.columns["venue_ns"].rows else np.zeros(0, I8)


def _quotes(quotes: _Quotes, piece: Piece, window: Window) -> tuple[np.ndarray, np.ndarray, int]:
    (number, own, era), columns = piece, quotes.columns
    ids = columns["update_id"].piece(number).take(own)
    times, waiting, lost = columns["venue_ns"].piece(number).take(own), np.zeros(0, OPEN), 0
    if len(quotes.seqs) and (without := np.flatnonzero(times.values() == 0)).size:
        values = times.values().copy()
        seqs = quotes.seqs[number * CHUNK_ROWS + own.start + without]
        values[without], part, at = quotes.clock.times(ids.at(without), seqs)
        times = Packed(values)
        wait = np.flatnonzero(part >= 0)
        waiting = np.zeros(len(wait), OPEN)
        for name in QUOTE_COLUMNS if len(wait) else ():
            waiting[name] = columns[name].piece(number).take(own).at(without[wait])
        waiting["era"], waiting["part"], waiting["at"] = era, part[wait], at[wait]
        lost = int((values[without] == 0).sum()) - len(wait)
    runs = runs_of(times, ids, window)
    if runs is None or not len(runs.starts):
        return none(), waiting, lost
    values_of = {name: columns[name].piece(number).take(own).take(runs.rows).values() for name in LAST_QUOTE[2:]}
    values_of["quote_id"] = ids.take(runs.rows).values()
    return _quote_bars(values_of, era, runs.starts, runs.begin_ns), waiting, lost


def _quote_bars(values: Mapping[str, np.ndarray], era: int, starts: np.ndarray, begin_ns: np.ndarray) -> np.ndarray:
    """`values`: LAST_QUOTE's columns but the era, int64, bucket by bucket in order of update id."""
    ends = np.append(starts[1:], len(values["quote_id"])) - 1
    out = np.zeros(len(starts), BAR)
    out["begin_ns"] = begin_ns
    out["quotes"] = ends + 1 - starts
    out["quote_era"] = era
    for name in LAST_QUOTE[1:]:
        out[name] = values[name][ends]
    two_sided = (values["bid_lots"] > 0) & (values["ask_lots"] > 0)
    spread = np.where(two_sided, values["ask_ticks"] - values["bid_ticks"], 0)
    out["spreads"] = np.add.reduceat(two_sided, starts, dtype=I8)
    upper, lower = np.add.reduceat(spread >> 32, starts), np.add.reduceat(spread & 0xFFFFFFFF, starts)
    set_whole(out, "spread_sum_ticks", upper.astype(object) * (1 << 32) + lower.astype(object))
    some = out["spreads"] > 0
    out["spread_min_ticks"] = np.where(some, np.minimum.reduceat(np.where(two_sided, spread, NEVER), starts), 0)
    out["spread_max_ticks"] = np.where(some, np.maximum.reduceat(np.where(two_sided, spread, -NEVER), starts), 0)
    return out


def _changes(changes: np.ndarray, window: Window) -> np.ndarray:
    times = changes["venue_ns"]
    times = times[inside(times, window)]
    begin, counts = np.unique(floor(times, window.every_ns), return_counts=True)
    out = np.zeros(len(begin), BAR)
    out["begin_ns"], out["changes"] = begin, counts
    return out


def join(stretches: list[BarPart], window: Window) -> BarPart:
    """Joins stretches that follow one another in the log into bars; a quote at an edge gets its time from the neighbour.

    What nothing that follows can give a time is counted `timeless`; the rest waits, in `edges.quotes`.
    """
    seam = Seam()
    for seen in stretches:
        seam.add(seen.edges)
    quotes, times, waiting = seam.settled()
    parts = [none(), *(seen.bars for seen in stretches)]
    for era in np.unique(quotes["era"]).tolist():
        own, own_ns = quotes[quotes["era"] == era], times[quotes["era"] == era]
        runs = sorted_runs(own_ns, own["update_id"], window)
        if len(runs.starts):
            values = {name: own[name][runs.rows] for name in LAST_QUOTE[2:]} | {"quote_id": own["update_id"][runs.rows]}
            parts.append(_quote_bars(values, era, runs.starts, runs.begin_ns))
    still_open = sum(len(seen.edges.quotes) for seen in stretches) - len(quotes) - len(waiting)
    nothing = edges_of(TimedChanges(np.zeros(0, CHANGE), np.zeros(0, I8), np.zeros(0, I8)), waiting)
    return BarPart(merge(np.concatenate(parts)), nothing, sum(seen.timeless for seen in stretches) + still_open)

"""Ticks to bars: trades, quotes and depth changes of one archive file, or of events in memory."""

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import Any, NamedTuple

import numpy as np

from bus.schema import QUOTE, Flag, Kind
from storage.bars import BAR, I8, LAST_QUOTE, floor, merge, none, set_whole
from storage.chunks import Chunked, Held, Packed
from storage.columns import Table
from storage.packing import CHUNK_ROWS, U8
from storage.runs import Window, inside, reduce, runs_of, sorted_runs

CHANGE = np.dtype([("first_id", "<i8"), ("last_id", "<i8"), ("venue_ns", "<i8")])
WAITING_MAX = 4096  # quotes at a file's end that the next file's first changes may give a time
OPENING_MAX = 64  # and how many of those changes are looked at
TRADE_COLUMNS = ("trade_id", "price_ticks", "quantity_lots", "venue_ns", "side")
QUOTE_COLUMNS = QUOTE.names or ()
NEVER = np.iinfo("i8").max


class Seen(NamedTuple):
    """What a stretch of the log says of bars.

    `bars`: dtype BAR, merged. `waiting`: dtype QUOTE, quotes at its end that have no time before a later stretch brings the
    change that covers them. `opening`: dtype CHANGE, its first depth changes. `timeless`: trades and quotes that no time can
    be given; they are in no bar.
    """

    bars: np.ndarray
    waiting: np.ndarray
    opening: np.ndarray
    timeless: int


class Clock:
    """Gives a quote without a time that of the depth change which covers its update id; never this machine's.

    `changes`: dtype CHANGE, in order of the log. `began`: rows at which the venue's ids began anew, `began_seq` their seq.
    """

    def __init__(self, changes: np.ndarray, began: np.ndarray | None = None, began_seq: np.ndarray | None = None):
        self.changes = changes
        self.began_seq = np.zeros(0, U8) if began_seq is None else began_seq
        bounds = [0, *(() if began is None else began.tolist()), len(changes)]
        self.parts = [changes[a:b] for a, b in zip(bounds, bounds[1:])]
        self.tops = [np.maximum.accumulate(part["last_id"]) for part in self.parts]

    def times(self, ids: np.ndarray, seqs: np.ndarray | None = None) -> np.ndarray:
        """Venue time for each update id, 0 where no change covers it. `seqs` only matter where ids began anew."""
        out = np.zeros(len(ids), I8)
        which = np.searchsorted(self.began_seq, seqs, "right") if seqs is not None else np.zeros(len(ids), "i8")
        for number, (part, tops) in enumerate(zip(self.parts, self.tops)):
            if not len(part):
                continue
            rows = np.flatnonzero(which == number) if len(self.parts) > 1 else slice(None)
            own = ids[rows]
            place = np.searchsorted(tops, own)
            change = part[np.minimum(place, len(part) - 1)]
            covered = (place < len(part)) & (change["first_id"] <= own) & (own <= change["last_id"])
            out[rows] = np.where(covered, change["venue_ns"], 0)
        return out

    def is_behind(self, ids: np.ndarray, seqs: np.ndarray | None = None) -> np.ndarray:
        """Whether an id is beyond every change so far: a later one may cover it."""
        latest = seqs is None or len(self.began_seq) == 0 or seqs >= self.began_seq[-1]
        return latest & (ids > (self.tops[-1][-1] if len(self.tops[-1]) else -1))


class Ticks(NamedTuple):
    """Columns of one stretch of the log; each kind's all of the same length. `quote_seqs` only where `clock` needs them."""

    trades: Mapping[str, Chunked]
    quotes: Mapping[str, Chunked]
    changes: np.ndarray
    clock: Clock
    quote_seqs: np.ndarray | None
    kernels: Any = None


def stored(file: Any, kernels: Any = None) -> Ticks:
    """Of an archive file of one instrument, open in h5py. `kernels`: storage.bar_kernels, or None for numpy alone."""

    def columns(kind: Kind, names: tuple[str, ...]) -> dict[str, Chunked]:
        if kind.name not in file:
            return {name: Held(np.zeros(0, I8)) for name in names}
        group = file[kind.name]
        return {name: Chunked(group["records"], name, int(group.attrs["records"]), kernels) for name in names}

    changes, flags, seqs = np.zeros(0, CHANGE), np.zeros(0, I8), None
    if "depth" in file:
        group, rows = file["depth/events"], int(file["depth"].attrs["events"])
        changes = np.zeros(rows, CHANGE)
        changes["last_id"] = Chunked(group, "last_id", rows).values()
        changes["first_id"] = changes["last_id"] - Chunked(group, "id_span", rows).values()
        changes["venue_ns"] = Chunked(group, "venue_ns", rows).values()
        flags = Chunked(group, "flags", rows).values()
        seqs = Chunked(group, "seq", rows)
    quotes = columns(Kind.quote, QUOTE_COLUMNS)

    def quote_seqs() -> np.ndarray:
        group = file["quote/events"]
        rows = int(file["quote"].attrs["events"])
        return np.repeat(Chunked(group, "seq", rows).values(), Chunked(group, "count", rows).values())

    return _ticks(columns(Kind.trade, TRADE_COLUMNS), quotes, changes, flags, seqs, quote_seqs)._replace(kernels=kernels)


def held(tables: Mapping[Kind, Table]) -> Ticks:
    """Of events in memory: one instrument's tables of trades, quotes and depth, those that there are."""

    def columns(kind: Kind, names: tuple[str, ...]) -> dict[str, Chunked]:
        if kind not in tables:
            return {name: Held(np.zeros(0, I8)) for name in names}
        return {name: Held(np.ascontiguousarray(tables[kind].records[name])) for name in names}

    changes, flags, seqs = np.zeros(0, CHANGE), np.zeros(0, I8), None
    if Kind.depth in tables:
        headers = tables[Kind.depth].headers
        changes = np.zeros(len(headers), CHANGE)
        for name in CHANGE.names or ():
            changes[name] = headers[name]
        flags, seqs = headers["flags"].astype(I8), Held(headers["seq"].astype(I8))

    def quote_seqs() -> np.ndarray:
        headers = tables[Kind.quote].headers
        return np.repeat(headers["seq"], headers["count"])

    return _ticks(columns(Kind.trade, TRADE_COLUMNS), columns(Kind.quote, QUOTE_COLUMNS), changes, flags, seqs, quote_seqs)


def _ticks(trades: dict, quotes: dict, changes: np.ndarray, flags: np.ndarray, seqs: Any, quote_seqs: Any) -> Ticks:
    """A snapshot is no change: it is what we asked for, and some venues give it no time."""
    is_change = (flags & Flag.SNAPSHOT == 0) & (changes["venue_ns"] != 0)
    began = np.flatnonzero(flags & Flag.RESET)
    kept = changes[is_change]
    if not len(began):
        return Ticks(trades, quotes, kept, Clock(kept), None)
    rows = np.cumsum(is_change)[began] - is_change[began]
    clock = Clock(kept, rows, seqs.values()[began])
    return Ticks(trades, quotes, kept, clock, quote_seqs().astype(I8) if quotes["update_id"].rows else None)


def bars_of(ticks: Ticks, window: Window, pool: Executor | None = None) -> Seen:
    """All that `ticks` say of the window; on the pool's threads, a chunk of rows each."""
    jobs: list[tuple] = [(_trades, number) for number in _pieces(ticks.trades["trade_id"])]
    jobs += [(_quotes, number) for number in _pieces(ticks.quotes["update_id"])]
    done = (pool.map if pool and len(jobs) > 1 else map)(lambda job: job[0](ticks, job[1], window), jobs)
    parts, waiting, timeless = [_changes(ticks.changes, window)], [], 0
    for bars, wait, lost in done:
        parts.append(bars)
        waiting.append(wait)
        timeless += lost
    rest = np.concatenate(waiting) if waiting else np.zeros(0, QUOTE)
    timeless += max(len(rest) - WAITING_MAX, 0)
    return Seen(merge(np.concatenate(parts)), rest[-WAITING_MAX:], ticks.changes[:OPENING_MAX], timeless)


def _pieces(column: Chunked) -> range:
    return range(-(-column.rows // CHUNK_ROWS))


def _none(lost: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    return none(), np.zeros(0, QUOTE), lost


def _trades(ticks: Ticks, number: int, window: Window) -> tuple[np.ndarray, np.ndarray, int]:
    columns = ticks.trades
    times, ids = columns["venue_ns"].piece(number), columns["trade_id"].piece(number)
    runs = runs_of(times, ids, window)
    if runs is None or not len(runs.starts):
        return _none(runs.timeless if runs else 0)
    prices = columns["price_ticks"].piece(number).take(runs.rows).narrowed()
    quantities = columns["quantity_lots"].piece(number).take(runs.rows).narrowed()
    sides = columns["side"].piece(number).stored[runs.rows].astype("i1", copy=False)  # a byte is never packed
    starts, ids = runs.starts, ids.take(runs.rows)
    ends = np.append(starts[1:], len(sides)) - 1
    out = np.zeros(len(starts), BAR)
    out["begin_ns"] = runs.begin_ns
    out["count"] = ends + 1 - starts
    out["first_id"], out["last_id"] = ids.at(starts), ids.at(ends)
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
    return out, np.zeros(0, QUOTE), runs.timeless


def _quotes(ticks: Ticks, number: int, window: Window) -> tuple[np.ndarray, np.ndarray, int]:
    columns = ticks.quotes
    ids = columns["update_id"].piece(number)
    times, waiting, lost = columns["venue_ns"].piece(number), np.zeros(0, QUOTE), 0
    if columns["venue_ns"].least in (0, None) and (without := np.flatnonzero(times.values() == 0)).size:
        values, own = times.values().copy(), ids.at(without)
        start = number * CHUNK_ROWS
        seqs = None if ticks.quote_seqs is None else ticks.quote_seqs[start : start + len(values)][without]
        values[without] = ticks.clock.times(own, seqs)
        times = Packed(values)
        unknown = values[without] == 0
        wait = without[unknown & ticks.clock.is_behind(own, seqs)]
        waiting = np.zeros(len(wait), QUOTE)
        for name in QUOTE_COLUMNS if len(wait) else ():
            waiting[name] = columns[name].piece(number).at(wait)
        lost = int(unknown.sum()) - len(wait)
    runs = runs_of(times, ids, window)
    if runs is None or not len(runs.starts):
        return none(), waiting, lost
    values_of = {name: columns[name].piece(number).take(runs.rows).values() for name in LAST_QUOTE[1:]}
    values_of["quote_id"] = ids.take(runs.rows).values()
    return _quote_bars(values_of, runs.starts, runs.begin_ns), waiting, lost


def _quote_bars(values: Mapping[str, np.ndarray], starts: np.ndarray, begin_ns: np.ndarray) -> np.ndarray:
    """`values`: LAST_QUOTE's columns, int64, bucket by bucket in order of update id."""
    ends = np.append(starts[1:], len(values["quote_id"])) - 1
    out = np.zeros(len(starts), BAR)
    out["begin_ns"] = begin_ns
    out["quotes"] = ends + 1 - starts
    for name in LAST_QUOTE:
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


def join(stretches: list[Seen], window: Window) -> Seen:
    """Bars of stretches that follow one another in the log; quotes at the end of one get their time from the next."""
    parts, timeless = [none()], 0
    waiting = np.zeros(0, QUOTE)
    for seen in stretches:
        parts.append(seen.bars)
        timeless += seen.timeless
        if len(waiting) and len(seen.opening):
            times = Clock(seen.opening).times(waiting["update_id"])
            timeless += int((times == 0).sum())
            runs = sorted_runs(times, waiting["update_id"], window)
            if len(runs.starts):
                values = {name: waiting[name][runs.rows] for name in LAST_QUOTE[1:]}
                values["quote_id"] = waiting["update_id"][runs.rows]
                parts.append(_quote_bars(values, runs.starts, runs.begin_ns))
            waiting = waiting[:0]
        waiting = np.concatenate([waiting, seen.waiting])
    timeless += max(len(waiting) - WAITING_MAX, 0)
    return Seen(
        merge(np.concatenate(parts)),
        waiting[-WAITING_MAX:],
        stretches[0].opening if stretches else np.zeros(0, CHANGE),
        timeless,
    )

"""Columns of the log as one order of rows: of the market for the venue, and for the triggers of the executor."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DEPTH, DTYPES, Flag, Kind
from tickmesh.nodes.executor import trigger_kernel
from tickmesh.research.backtest.venue import MarketRows
from tickmesh.research.backtest.venue_arrays import MARKET_ROW
from tickmesh.research.backtest.venue_kernel import BOOK, NOTHING, QUOTE, TRADE, UNCOUNTED
from tickmesh.storage.books.events import BookEvents, book_events
from tickmesh.storage.columns import reading
from tickmesh.storage.columns.span import ColumnSpan, SubjectColumns
from tickmesh.storage.query import reader

MARKET_KINDS = (Kind.quote, Kind.trade, Kind.gap, Kind.instrument)
TIMED_KINDS = (Kind.quote, Kind.trade)  # whose lag counts
# When an event came, and when the venue says it was; 0: not known. `lag_ns` as triggers have it.
TIMES = np.dtype([("seq", "<i8"), ("recv_ns", "<i8"), ("venue_ns", "<i8")])
_COUNTS = {Kind.quote: QUOTE, Kind.trade: TRADE}  # of a venue; what else there is, is for the executor


class MarketTape(NamedTuple):
    """A span of the log, of the instruments that are traded.

    `triggers`: (n,) trigger_kernel.ROW for each row of `market`; `stops`: rows that wake the executor whatever it waits for;
    `others`: records of the kinds that no venue looks at, by kind, which such rows point to. `times`: (n,) TIMES for each row
    where somebody asks how late data came, else none.
    """

    span: ColumnSpan
    market: MarketRows
    triggers: np.ndarray
    stops: np.ndarray
    others: Mapping[Kind, np.ndarray]
    times: np.ndarray


class BookCursor:
    """The depth events of one instrument, taken in order of `seq`."""

    def __init__(self, chunks: Iterable[BookEvents]):
        self._chunks = iter(chunks)
        self._rest: BookEvents | None = next(self._chunks, None)

    def take(self, last: int) -> Iterator[BookEvents]:
        """Takes the events up to the seq `last`, in bounded parts."""
        while self._rest is not None:
            events, levels = self._rest
            count = int(np.searchsorted(events["seq"], last, "right"))
            if count:
                yield BookEvents(events[:count], levels)
            if count < len(events):
                self._rest = BookEvents(events[count:], levels)
                return
            self._rest = next(self._chunks, None)


class TimesCursor:
    """When quotes and trades of some instruments came, taken in order of `seq`: read event by event, since columns lack it."""

    def __init__(self, config: Config, subjects: Sequence[str], after: int):
        wanted = frozenset(subjects)
        self._events = (one for one in reader.events(config, after, kinds=TIMED_KINDS) if one.subject in wanted)
        self._next = next(self._events, None)

    def take(self, last: int) -> np.ndarray:
        """Takes those up to the seq `last`: (n,) TIMES."""
        found = []
        while (event := self._next) is not None and event.seq <= last:
            found.append((event.seq, event.recv_ns, event.venue_ns))
            self._next = next(self._events, None)
        return np.array(found, TIMES)


def tapes(
    config: Config, subjects: Sequence[str], kinds: Iterable[Kind], reads: frozenset[int], start_ns: int | None,
    end_ns: int | None, counts_lag: bool = False, opening: ColumnSpan | None = None,
) -> Iterator[MarketTape]:  # fmt: skip
    """Reads archive, then log, from the first event on, to the span that reaches `end_ns` (seq_ns).

    `opening`: a span that stands for all up to its end, instead of them.

    Rows are of `subjects`, whose place is their slot; of books only what is needed to know them from `start_ns` on. The spans
    have `kinds` as well, of all instruments. `reads`: the kinds whose time counts for the executor. `counts_lag`: how late data
    came counts, too.
    """
    slots = {subject: slot for slot, subject in enumerate(subjects)}
    cursors = [BookCursor(book_events(config, subject, start_ns, None, end_ns)) for subject in subjects]
    after = 0 if opening is None else opening.last
    clock = TimesCursor(config, subjects, after) if counts_lag else None
    spans = reading.spans(config, sorted({*MARKET_KINDS, *kinds}), after=after)
    for span in spans if opening is None else chain((opening,), spans):
        times = clock.take(span.last) if clock is not None else None
        tape = tape_of(span, slots, [list(cursor.take(span.last)) for cursor in cursors], reads, times)
        yield tape
        if end_ns is not None and any(int(columns.rows["seq_ns"][-1]) >= end_ns for columns in span.subjects):
            return


def tape_of(
    span: ColumnSpan, slots: Mapping[str, int], books: list[list[BookEvents]], reads: frozenset[int],
    times: np.ndarray | None = None,
) -> MarketTape:  # fmt: skip
    """Builds the tape of a span. `books`: the depth events of each slot up to the span's end; `times`: TIMES of its events."""
    records: dict[Kind, _Records] = {kind: _Records(kind) for kind in (*MARKET_KINDS, Kind.depth)}
    parts = [_rows_of(columns, slots[columns.subject], records) for columns in span.subjects if columns.subject in slots]
    parts += [_book_rows(chunk, slot, records[Kind.depth]) for slot, chunks in enumerate(books) for chunk in chunks]
    rows = np.concatenate([np.zeros(0, MARKET_ROW), *parts])
    rows = rows[np.argsort(rows["seq"], kind="stable")]
    rows["seq_ns"] = np.maximum.accumulate(rows["seq_ns"])  # an image of a book has no time of its own
    quotes, trades, levels = (records[kind].all() for kind in (Kind.quote, Kind.trade, Kind.depth))
    market = MarketRows(rows, quotes, trades, levels)
    wakes = rows["what"] == NOTHING
    triggers, by_row = trigger_rows(market, reads), np.zeros(0, TIMES)
    if times is not None:
        by_row = np.zeros(len(rows), TIMES)
        own = np.flatnonzero(np.isin(rows["seq"], times["seq"]))
        by_row[own] = times[np.searchsorted(times["seq"], rows["seq"][own])]
        with_lags(triggers, rows, by_row)
        wakes |= (rows["what"] == TRADE) & (
            rows["flags"] & UNCOUNTED != 0
        )  # they may be the newest, and are none of its trades
    others = {kind: records[kind].all() for kind in MARKET_KINDS}
    return MarketTape(span, market, triggers, np.flatnonzero(wakes), others, by_row)


def with_lags(triggers: np.ndarray, rows: np.ndarray, times: np.ndarray) -> None:
    """Writes into rows of `trigger_rows` how late they came; what was fetched again later says nothing of that."""
    known = (times["recv_ns"] != 0) & (times["venue_ns"] != 0) & (rows["flags"] & int(Flag.REPAIRED) == 0)
    own = known & (triggers["what"] != trigger_kernel.SKIPPED)
    triggers["slot"][own] = rows["slot"][own]
    triggers["lag_ns"][own] = times["recv_ns"][own] - times["venue_ns"][own]


class _Records:
    """Records of one kind, of several subjects one behind the other; those that subjects share are there once."""

    def __init__(self, kind: Kind):
        self._parts: list[np.ndarray] = [np.zeros(0, DTYPES[kind])]
        self._places: dict[int, int] = {}  # by the identity of an array that `_parts` keeps
        self._count = 0

    def place(self, records: np.ndarray) -> int:
        """Where the first of these records lies among all."""
        found = self._places.get(id(records))
        if found is None:
            found = self._places[id(records)] = self._count
            self._parts.append(records)
            self._count += len(records)
        return found

    def all(self) -> np.ndarray:
        return self._parts[1] if len(self._parts) == 2 else np.concatenate(self._parts)


def _rows_of(columns: SubjectColumns, slot: int, records: Mapping[Kind, _Records]) -> np.ndarray:
    """One instrument's quotes, trades, gaps and definitions."""
    source, seqs = columns.rows, columns.seqs
    wanted = np.isin(source["kind"], MARKET_KINDS)
    source, seqs = source[wanted], seqs[wanted]
    rows = np.zeros(len(source), MARKET_ROW)
    rows["seq"], rows["slot"], rows["what"] = seqs, slot, NOTHING
    for name in ("seq_ns", "first", "count", "flags", "kind"):
        rows[name] = source[name]
    for kind in MARKET_KINDS:
        own = rows["kind"] == kind
        if own.any():
            rows["first"][own] += records[kind].place(columns.records[kind])
            rows["what"][own] = _COUNTS.get(kind, NOTHING)
    return rows


def _book_rows(chunk: BookEvents, slot: int, levels: _Records) -> np.ndarray:
    rows = np.zeros(len(chunk.events), MARKET_ROW)
    for name in chunk.events.dtype.names or ():
        rows[name] = chunk.events[name]
    assert chunk.levels.dtype == DEPTH
    rows["first"] += levels.place(chunk.levels)
    rows["slot"], rows["what"] = slot, BOOK
    return rows


def trigger_rows(market: MarketRows, reads: frozenset[int]) -> np.ndarray:
    """Builds the rows that triggers are held against, (n,) trigger_kernel.ROW, as nodes/executor/triggers.py does of events.

    A change of a book is no event that an executor reads. How late data came is not in columns, so `lag_ns` is NO_LAG here.
    """
    rows, quotes, trades, _ = market
    out = np.zeros(len(rows), trigger_kernel.ROW)
    out["what"], out["slot"], out["lag_ns"], out["time_ns"] = trigger_kernel.TIME, -1, trigger_kernel.NO_LAG, rows["seq_ns"]
    own = np.flatnonzero(rows["what"] == QUOTE)
    last = quotes[rows["first"][own] + rows["count"][own] - 1]
    out["what"][own], out["slot"][own] = trigger_kernel.QUOTE, rows["slot"][own]
    out["bid_ticks"][own], out["ask_ticks"][own] = last["bid_ticks"], last["ask_ticks"]
    counted = np.flatnonzero((rows["what"] == TRADE) & (rows["flags"] & UNCOUNTED == 0))
    if len(counted):
        first, count = rows["first"][counted], rows["count"][counted]
        starts = np.cumsum(count) - count
        places = np.repeat(first - starts, count) + np.arange(int(count.sum()))
        prices, lots = trades["price_ticks"][places], trades["quantity_lots"][places]
        out["what"][counted], out["slot"][counted] = trigger_kernel.TRADE, rows["slot"][counted]
        out["low_ticks"][counted] = np.minimum.reduceat(prices, starts)
        out["high_ticks"][counted] = np.maximum.reduceat(prices, starts)
        out["lots"][counted] = np.add.reduceat(lots, starts)
    unread = (rows["what"] == BOOK) | ~np.isin(rows["kind"], sorted(reads))
    out["what"][unread] = trigger_kernel.SKIPPED
    return out

"""The book of an instrument as a person asks for it: at a moment, at an interval, or after every change, in a kernel.

Time is `seq_ns`, when the mesh had the event. Between a gap of depth and the next snapshot there is no book: `valid` is False,
levels are none. Prices and quantities are mantissas (docs/messages.md).
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from tickmesh.bus.config import Config
from tickmesh.storage.books.arrays import apply, apply_all, empty_book, grown, has_room, levels_of, sample
from tickmesh.storage.books.events import book_events
from tickmesh.storage.query.durations import Every, nanoseconds
from tickmesh.storage.query.own_functions import FAILURES, failure
from tickmesh.storage.query.times import ReadError, Time, span_ns, to_ns

LEVELS_ALLOWED = 10_000  # of a sample, on each side
SAMPLED_MAX = 2 << 30  # bytes of samples that one call gives
SAMPLED_CHUNK = 16 << 20  # and that are handed out at once
FOREVER_NS = 1 << 62
COMPILED_MAX = 32  # kernels whose compiled loops are kept
OUT_ROWS = 1 << 14  # rows that a kernel may write before they are handed out
PER_CHANGE = 8  # rows that a kernel may write for one change


class BookImage(NamedTuple):
    """A book at a moment. `seq`, `seq_ns`, `venue_ns`: of the last event in it (0: not known, before this file of the archive).

    `levels`: (n,) schema.DEPTH, bids from the best, then asks from the best; none where the book is not `valid`.
    """

    subject: str
    valid: bool
    seq: int
    seq_ns: int
    venue_ns: int
    last_update_id: int
    levels: np.ndarray

    @property
    def bids(self) -> np.ndarray:
        """The bids, best first: (n,) schema.DEPTH."""
        out: np.ndarray = self.levels[self.levels["side"] == 1]
        return out

    @property
    def asks(self) -> np.ndarray:
        """The asks, best first: (n,) schema.DEPTH."""
        out: np.ndarray = self.levels[self.levels["side"] == -1]
        return out


def book_at(config: Config, subject: str, at: Time = None, seq: int | None = None) -> BookImage:
    """Rebuilds the book of `subject` ("venue.symbol") after every event up to `at` (seq_ns ≤ at), or up to `seq`; else now.

    Raises ReadError for both at once, and for an instrument of which nothing is known.
    """
    at_ns = to_ns(at)
    if at_ns is not None and seq is not None:
        raise ReadError("a book is asked for at a time or at a seq; give one of them")
    now = at_ns is None and seq is None
    book = empty_book()
    start_ns, start_seq = (FOREVER_NS, None) if now else (at_ns, seq)
    for events, levels in book_events(config, subject, start_ns, start_seq):
        keep = len(events)
        if not now:
            keep = int(np.searchsorted(events["seq"], seq, "right")) if seq is not None else _upto(events, at_ns)
        book = apply_all(book, events[:keep], levels)
        if keep < len(events):
            break
    head = book.head[0]
    return BookImage(
        subject, bool(head["valid"]), int(head["seq"]), int(head["seq_ns"]), int(head["venue_ns"]),
        int(head["last_update_id"]), levels_of(book),
    )  # fmt: skip


def _upto(events: np.ndarray, at_ns: int | None) -> int:
    """How many of the events are not after `at_ns`; images, whose time is 0, never are."""
    later = events["seq_ns"] > at_ns
    return int(np.argmax(later)) if later.any() else len(events)


def sample_dtype(levels: int) -> np.dtype:
    """The dtype of a sample with so many levels: what `snapshots` gives."""
    return np.dtype(
        [
            ("at_ns", "<i8"),
            ("seq", "<i8"),
            ("last_update_id", "<i8"),
            ("valid", "?"),
            ("price_ticks", "<i8", (levels, 2)),
            ("quantity_lots", "<i8", (levels, 2)),
        ]
    )


def snapshots(config: Config, subject: str, every: Every, start: Time = None, end: Time = None, levels: int = 10) -> np.ndarray:
    """Samples the book at start ≤ t < end, every t a multiple of `every` since the epoch: (n,) `sample_dtype(levels)`.

    A sample has every event with seq_ns ≤ at_ns. price_ticks and quantity_lots: (levels, 2), best first, column 0 bids and 1
    asks, 0 where there is no level. Samples begin with the book's first event and end with its last. `every`: seconds, or like
    "100ms", "1m". Raises ReadError, for more than 2 GiB too.
    """
    parts = list(snapshot_chunks(config, subject, every, start, end, levels, most=SAMPLED_MAX))
    return np.concatenate([np.zeros(0, sample_dtype(levels)), *parts])


def snapshot_chunks(
    config: Config, subject: str, every: Every, start: Time = None, end: Time = None, levels: int = 10,
    most: int | None = None,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Samples the book as `snapshots` does, in parts of bounded size. `most`: bytes of all, where there is a bound."""
    if not 1 <= levels <= LEVELS_ALLOWED:
        raise ReadError(f"levels = {levels}; allowed are 1 to {LEVELS_ALLOWED} on each side")
    every_ns, (start_ns, end_ns) = nanoseconds(every), span_ns(start, end)
    dtype = sample_dtype(levels)
    rows = max(1, min(OUT_ROWS, SAMPLED_CHUNK // dtype.itemsize))
    buffers = np.zeros((rows, 4), "i8"), np.zeros((rows, levels, 2), "i8"), np.zeros((rows, levels, 2), "i8")
    book, stop_ns, given = empty_book(), FOREVER_NS if end_ns is None else end_ns, 0
    next_ns = FOREVER_NS
    for events, of_events in book_events(config, subject, start_ns, None, end_ns):
        if next_ns == FOREVER_NS and len(begun := events["seq_ns"][events["seq_ns"] > 0]):  # no image is known from before
            next_ns = -(-max(int(begun[0]), start_ns or 0) // every_ns) * every_ns
        elif next_ns == FOREVER_NS and start_ns is not None:
            next_ns = -(-start_ns // every_ns) * every_ns
        row = 0
        while row < len(events):
            row, next_ns, filled = sample(book, events, of_events, row, next_ns, every_ns, stop_ns, *buffers)
            if filled:
                given += filled * dtype.itemsize
                if most is not None and given > most:
                    raise ReadError(f"these samples take more than {most >> 20} MiB; ask for less, or take snapshot_chunks")
                yield _as_samples(buffers, filled, dtype)
            if row < len(events) and not has_room(book, events[row]["count"]):
                book = grown(book, int(events["count"][row]))


def _as_samples(buffers: tuple[np.ndarray, np.ndarray, np.ndarray], count: int, dtype: np.dtype) -> np.ndarray:
    heads, prices, lots = (buffer[:count] for buffer in buffers)
    out = np.zeros(count, dtype)
    for column, name in enumerate(("at_ns", "seq", "last_update_id", "valid")):
        out[name] = heads[:, column]
    out["price_ticks"], out["quantity_lots"] = prices, lots
    return out


Kernel = Callable[..., int]


def stream(
    config: Config, subject: str, kernel: Kernel, state: np.ndarray, out: np.dtype, start: Time = None, end: Time = None
) -> Iterator[np.ndarray]:
    """Calls `kernel` with the book after every change of start ≤ seq_ns < end, and gives what it writes, part by part.

    kernel(state, book, changes, out, n) → n is a function for numba (`@njit` or plain). state: your array, which it may change;
    book: `arrays.BookArrays`, read by `best`, `top` and `lots_at` of that file, `book.head[0]` has valid, seq, seq_ns,
    venue_ns and last_update_id; changes: (m,) schema.DEPTH, the levels of the event; out: rows of your dtype, to be written
    from `n` on, at most 8; it gives the new n. It is called after gaps too: the book is not valid then.
    Raises ReadError for a kernel that does not compile, raises, or writes more.
    """
    start_ns, end_ns = span_ns(start, end)
    run, rows, book = compiled(kernel), np.zeros(OUT_ROWS, out), empty_book()
    for events, levels in book_events(config, subject, start_ns, None, end_ns):
        events = events if end_ns is None else events[: _upto(events, end_ns - 1)]
        row = 0
        while row < len(events):
            try:
                row, written = run(book, events, levels, row, max(start_ns or 1, 1), state, rows)
            except FAILURES as error:
                raise failure(kernel, error, f"{subject} at seq {book.head['seq'][0]}") from error
            if written:
                yield rows[:written].copy()
            if row < len(events) and not has_room(book, events[row]["count"]):
                book = grown(book, int(events["count"][row]))


@lru_cache(COMPILED_MAX)
def compiled(kernel: Kernel) -> Callable[..., tuple[int, int]]:
    """Builds the loop around a kernel. It is compiled at its first call, once a kernel and process."""
    called = kernel if hasattr(kernel, "py_func") else njit(nogil=True)(kernel)

    @njit(nogil=True)
    def run(
        book: Any, events: np.ndarray, levels: np.ndarray, row: Any, start_ns: Any, state: np.ndarray, out: np.ndarray
    ) -> Any:
        n = 0
        while row < len(events) and n + PER_CHANGE <= len(out) and has_room(book, events[row].count):
            event = events[row]
            if apply(book, event, levels) and event.seq_ns >= start_ns:
                after = called(state, book, levels[event.first : event.first + event.count], out, n)
                if after < n or after > n + PER_CHANGE:
                    raise ValueError("it gave another number than that of the rows so far and at most 8 more")
                n = after
            row += 1
        return row, n

    return run

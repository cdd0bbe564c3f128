"""When the log had what a venue did: times of the venue, trades and causes, looked up in the recording.

A venue's clock is not ours, and what it did at a time reached the log later. The trades that it printed are in both: an order
that the venue had at its time t met the market before the first trade of that instrument with a time of t or later. Where it
joined a level, or left it, a quote or a book between the trades around t changes by just its quantity: then it was there.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, Flag, Kind
from tickmesh.storage.columns import reading
from tickmesh.storage.columns.span import SubjectColumns

NEVER_NS = (1 << 63) - 1
SAME_TRADE_NS = 1_000_000_000  # a trade has one time at its venue; its print and its fill may round it differently
NOT_OF_THE_MARKET = int(Flag.REPAIRED | Flag.OFF_BOOK)


# What an order of ours did to a level of its book at a time of the venue; lots: above 0 it joined, below 0 it left.
CHANGE = np.dtype([(name, "<i8") for name in ("venue_ns", "side", "price", "lots")])


class Sought(NamedTuple):
    """What is looked up of one instrument: (n,) CHANGE and trade ids, in any order."""

    changes: np.ndarray
    trade_ids: np.ndarray


class LogTimes(NamedTuple):
    """Log times (`seq_ns`) of what was looked up; what is in no recording is in no map.

    of_change  (subject, *CHANGE) → of the quote that shows it
    at_venue   (subject, venue time) → of the first trade with that venue time or a later one
    of_trade   (subject, trade id) → (venue time, log time) of each trade with that id; a venue may begin its ids anew
    of_seq     seq → of that event
    """

    of_change: dict[tuple[str, int, int, int, int], int]
    at_venue: dict[tuple[str, int], int]
    of_trade: dict[tuple[str, int], list[tuple[int, int]]]
    of_seq: dict[int, int]

    def trade_ns(self, subject: str, trade_id: int, venue_ns: int) -> int | None:
        """When the log had the trade with this id and venue time; None where it is not recorded.

        The fill of a trade and its era's first event come by different connections, in any order, and a fill that was asked for
        later may be in the log long after its era: so the era is told by the venue's clock, which goes on over all of them.
        """
        printed = self.of_trade.get((subject, trade_id), ())
        at_venue_ns, seq_ns = min(printed, key=lambda one: abs(one[0] - venue_ns), default=(0, 0))
        return seq_ns if printed and abs(at_venue_ns - venue_ns) <= SAME_TRADE_NS else None


def log_times(config: Config, sought: Mapping[str, Sought], seqs: Iterable[int] = ()) -> LogTimes:
    """Looks up log times, in one pass over the recording. `seqs`: of trades, quotes and changes of books, of any instrument.

    Raises ReadError, ArchiveError and LogError as reading does.
    """
    found = LogTimes({}, {}, {}, {})
    wanted = np.unique(np.fromiter(seqs, "u8"))
    newest: dict[str, int] = {}
    still = {subject: np.unique(one.changes) for subject, one in sought.items()}
    for span in reading.spans(config, (Kind.trade, Kind.quote, Kind.depth)):
        for columns in span.subjects:
            own = np.isin(columns.seqs, wanted)
            found.of_seq.update(zip(columns.seqs[own].tolist(), columns.rows["seq_ns"][own].tolist()))
            if columns.subject in sought:
                ids = sought[columns.subject].trade_ids
                newest[columns.subject] = _look_up(found, columns, still, ids, newest.get(columns.subject, 0))
    return found


def _look_up(found: LogTimes, columns: SubjectColumns, still: dict[str, np.ndarray], ids: np.ndarray, newest: int) -> int:
    """Looks trades of a span up; takes what was found out of `still`, and gives the newest venue time of its trades."""
    subject = columns.subject
    rows = columns.rows[columns.rows["kind"] == Kind.trade]
    rows = rows[rows["flags"] & NOT_OF_THE_MARKET == 0]
    if not len(rows):
        return newest
    counts = rows["count"]
    places = np.repeat(rows["first"] - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))
    trades, seq_ns = columns.records[Kind.trade][places], np.repeat(rows["seq_ns"], counts)
    own = np.isin(trades["trade_id"], ids)
    for one, at_venue_ns, ns in zip(*(of[own].tolist() for of in (trades["trade_id"], trades["venue_ns"], seq_ns))):
        found.of_trade.setdefault((subject, one), []).append((at_venue_ns, ns))
    venue_ns = np.maximum.accumulate(np.maximum(trades["venue_ns"], newest))
    asked = still[subject]
    known = asked[asked["venue_ns"] <= venue_ns[-1]]
    shown = _Touch(columns)
    for one in known.tolist():
        first, after = (int(np.searchsorted(venue_ns, one[0], side)) for side in ("left", "right"))
        begin_ns = int(seq_ns[first - 1]) if first else 0
        end_ns = int(seq_ns[after]) if after < len(seq_ns) else NEVER_NS
        at_ns = shown.change_ns(begin_ns, end_ns, *one[1:])
        found.at_venue[subject, one[0]] = int(seq_ns[first])
        if at_ns is not None:
            found.of_change[subject, *one] = at_ns
    still[subject] = asked[len(known) :]
    return int(venue_ns[-1])


class _Touch:
    """What a span says of prices: the best ones of quotes, and levels of books, in order."""

    def __init__(self, columns: SubjectColumns):
        rows = columns.rows[columns.rows["kind"] == Kind.quote]
        none = np.zeros(0, DTYPES[Kind.quote])
        quotes = columns.records[Kind.quote][rows["first"] + rows["count"] - 1] if len(rows) else none
        self._quotes = np.flatnonzero(columns.rows["kind"] == Kind.quote), rows["seq_ns"]
        self._sides = {1: (quotes["bid_ticks"], quotes["bid_lots"]), -1: (quotes["ask_ticks"], quotes["ask_lots"])}
        books = np.flatnonzero(columns.rows["kind"] == Kind.depth)
        self._columns, self._books, self._book_ns = columns, books, columns.rows["seq_ns"][books]

    def change_ns(self, begin_ns: int, end_ns: int, side: int, price: int, lots: int) -> int | None:
        """When a price first changed by so many lots between these times, from what a quote or a book said of it last; None
        where it did not."""
        said = self._quoted(begin_ns, end_ns, side, price) + self._levels(begin_ns, end_ns, side, price)
        before = None
        for _, seq_ns, quantity in sorted(said):
            if before is not None and quantity - before == lots and seq_ns > begin_ns:
                return seq_ns
            before = quantity
        return None

    def _quoted(self, begin_ns: int, end_ns: int, side: int, price: int) -> list[tuple[int, int, int]]:
        """(place, time, quantity at the price) of quotes, from the one before on: 0 where the best price is a worse one; where
        it is a better one nothing is known."""
        places, seq_ns = self._quotes
        first, last = (int(np.searchsorted(seq_ns, ns, "right")) for ns in (begin_ns, end_ns))
        part = slice(max(first - 1, 0), last)
        prices, quantities = (one[part] for one in self._sides[side])
        known = prices * side <= price * side
        found = places[part][known], seq_ns[part][known], np.where(prices == price, quantities, 0)[known]
        return list(zip(*(one.tolist() for one in found)))

    def _levels(self, begin_ns: int, end_ns: int, side: int, price: int) -> list[tuple[int, int, int]]:
        """(place, time, quantity) where a book's change has the price."""
        first, last = (int(np.searchsorted(self._book_ns, ns, "right")) for ns in (begin_ns, end_ns))
        found = []
        for place in self._books[first:last].tolist():
            row = self._columns.rows[place]
            levels = self._columns.records[Kind.depth][int(row["first"]) : int(row["first"] + row["count"])]
            own = levels["quantity_lots"][(levels["price_ticks"] == price) & (levels["side"] == side)]
            found += [(place, int(row["seq_ns"]), int(lots)) for lots in own[-1:]]
        return found

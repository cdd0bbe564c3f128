"""How good a recorded market was, and how well it was recorded: spread, depth, rates, latency, silences, lines."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import Coverage, Flag, Kind
from tickmesh.research.database import Database
from tickmesh.research.sources import RowPart
from tickmesh.research.weighted_counts import WeightedCounts
from tickmesh.storage.query.names import resolve
from tickmesh.storage.query.times import ReadError, Time, span_ns

SHARES = (0.5, 0.95, 0.99)
SILENCES = 5  # the longest that are kept
LATENCY_BIN_MS = 0.1
Shown = Callable[[int, int | None], object]


class SpreadFigures(NamedTuple):
    """Ask − bid while both sides were quoted, by how long it stood, in parts per million of the mid. `shares_ppm`: SHARES."""

    mean_ppm: float
    shares_ppm: tuple[float, ...]


class RateFigures(NamedTuple):
    """Rows of a kind: in all, a second on average, and in the busiest second of the log."""

    kind: str
    rows: int
    per_s: float
    busiest_s: int


class LatencyFigures(NamedTuple):
    """A delay in ms: the shortest, and quantiles SHARES. `of`: between which two moments; clocks may differ by any amount."""

    of: str
    kind: str
    rows: int
    least_ms: float
    shares_ms: tuple[float, ...]


class SilenceFigures(NamedTuple):
    """From begin to end, ns of the log, neither a quote nor a trade came (of a kind)."""

    kind: str
    begin_ns: int
    end_ns: int


class LineFigures(NamedTuple):
    """What one line was worth: the share of firsts that were its own, how far ahead those were, and how late its copies."""

    line: str
    kind: str
    events: int
    firsts: float
    disordered: int
    lead_p50_ms: float
    lag_p50_ms: float
    lag_p99_ms: float


class MarketQuality(NamedTuple):
    """The figures of one instrument over a span, ns of the log.

    two_sided     share of the time with a bid and an ask, quotes standing until the next one
    depth_worth   what stood at the best price of a side, in quote currency: at least so much for 50, 95, 99 % of the time
    missing       how many intervals of the coverage ledger are missing, by kind
    silences      the longest, of quotes and of trades
    """

    instrument: str
    start_ns: int
    end_ns: int
    two_sided: float
    spread: SpreadFigures
    depth_worth: tuple[float, ...]
    rates: list[RateFigures]
    latency: list[LatencyFigures]
    missing: dict[str, int]
    silences: list[SilenceFigures]
    lines: list[LineFigures]


def market_quality(
    db: Database, instrument: str, start: Time = None, end: Time = None, shown: Shown = lambda done, of: None
) -> MarketQuality:
    """Measures one instrument over start ≤ seq_ns < end, part by part: memory is bounded. Raises ReadError, a sentence."""
    found = resolve(db.instruments, instrument, db.place)
    if len(found) != 1:
        raise ReadError(f"{instrument} are {len(found)} instruments; a report is of one: {', '.join(found)}")
    db.select(Kind.trade, found[0], start, end).check_span()
    return _Measuring(db, found[0], span_ns(start, end), shown).measure()


class StreamCounts:
    """Counts rows of one kind, the busiest second, the longest silences and delays, as parts of them go by."""

    def __init__(self, kind: Kind):
        self.kind, self.rows, self.busiest = kind, 0, 0
        self.venue, self.own = WeightedCounts(LATENCY_BIN_MS), WeightedCounts(LATENCY_BIN_MS)
        self.silences: list[tuple[int, int, int]] = []  # length, begin, end
        self.first_ns = self.last_ns = 0
        self._second = (0, 0)  # the newest one, and its rows so far

    def add(self, rows: np.ndarray) -> None:
        """Takes rows in order of seq, with `seq_ns`, `recv_ns`, `venue_ns` and `flags`; 1 at least."""
        times = rows["seq_ns"]
        self.first_ns = self.first_ns or int(times[0])
        self.rows += len(rows)
        seconds, counts = np.unique(times // 10**9, return_counts=True)
        if seconds[0] == self._second[0]:
            counts[0] += self._second[1]
        self._second = int(seconds[-1]), int(counts[-1])
        self.busiest = max(self.busiest, int(counts.max()))
        edges = times if not self.last_ns else np.concatenate(([self.last_ns], times))
        gaps = np.diff(edges)
        for place in np.argsort(gaps)[-SILENCES:].tolist():
            self.silences.append((int(gaps[place]), int(edges[place]), int(edges[place + 1])))
        self.silences = sorted(self.silences, reverse=True)[:SILENCES]
        self.last_ns = int(times[-1])
        heard = rows[((rows["flags"] & Flag.REPAIRED) == 0) & (rows["recv_ns"] > 0)]
        timed = heard[heard["venue_ns"] > 0]
        self.venue.add((timed["recv_ns"] - timed["venue_ns"]) / 1e6)
        self.own.add((heard["seq_ns"] - heard["recv_ns"]) / 1e6)

    def latency(self) -> Iterator[LatencyFigures]:
        """The delays of which there are any: from the venue's stamp to this machine, and from there into the log."""
        for of, counts in (("venue → here, by both clocks", self.venue), ("here → log", self.own)):
            if counts.count:
                yield LatencyFigures(of, self.kind.name, counts.count, counts.least, counts.quantiles(SHARES))


class _Measuring:
    def __init__(self, db: Database, subject: str, span: tuple[int | None, int | None], shown: Shown):
        self._source, self._subject, self._span, self._shown = db.source, subject, span, shown
        self._until, _ = self._source.now()
        self._of = sum(self._source.count(kind, subject, *span) for kind in (Kind.quote, Kind.trade))
        self._done = 0
        self._spread, self._worth = WeightedCounts(), WeightedCounts()
        self._two_sided_ns = 0

    def measure(self) -> MarketQuality:
        quotes, trades = StreamCounts(Kind.quote), StreamCounts(Kind.trade)
        before: RowPart | None = None
        for part in self._parts(Kind.quote):
            quotes.add(part.rows)
            if before is not None:
                self._stand(before, int(part.rows["seq_ns"][0]))
            self._stand(part, int(part.rows["seq_ns"][-1]))
            before = part._replace(rows=part.rows[-1:])
        for part in self._parts(Kind.trade):
            trades.add(part.rows)
        streams = [one for one in (quotes, trades) if one.rows]
        if not streams:
            raise ReadError(
                f"{self._subject} has neither a quote nor a trade in that time; `mesh info quote.{self._subject}` shows what is"
            )
        begin, end = self._span
        start_ns = min(one.first_ns for one in streams) if begin is None else begin
        end_ns = max(one.last_ns for one in streams) if end is None else end
        if before is not None:
            self._stand(before, end_ns)
        length_s = max(end_ns - start_ns, 1) / 1e9
        return MarketQuality(
            self._subject, start_ns, end_ns, self._two_sided_ns / 1e9 / length_s,
            SpreadFigures(self._spread.mean, self._spread.quantiles(SHARES)),
            self._worth.quantiles([1 - share for share in SHARES]),
            [RateFigures(one.kind.name, one.rows, one.rows / length_s, one.busiest) for one in streams],
            [figures for one in streams for figures in one.latency()],
            self._missing(),
            [SilenceFigures(one.kind.name, first, last) for one in streams for _, first, last in one.silences],
            self._lines(),
        )  # fmt: skip

    def _parts(self, kind: Kind) -> Iterator[RowPart]:
        for part in self._source.parts(kind, self._subject, *self._span, self._until, True):
            yield part
            self._done += len(part.rows)
            self._shown(self._done, self._of)

    def _stand(self, part: RowPart, until_ns: int) -> None:
        """Counts what quotes showed for as long as each stood, the last one until `until_ns`."""
        rows, (price, quantity) = part.rows, part.exponents
        lasts = np.diff(rows["seq_ns"], append=until_ns).astype(float)
        bid, ask = rows["bid_ticks"].astype(float), rows["ask_ticks"].astype(float)
        two_sided = (rows["bid_lots"] > 0) & (rows["ask_lots"] > 0)
        self._two_sided_ns += int(lasts[two_sided].sum())
        bid, ask, lasts, rows = bid[two_sided], ask[two_sided], lasts[two_sided], rows[two_sided]
        self._spread.add((ask - bid) / (ask + bid) * 2e6, lasts)
        for ticks, lots in ((bid, rows["bid_lots"]), (ask, rows["ask_lots"])):
            self._worth.add(ticks * lots * 10.0 ** (price + quantity), lasts)

    def _missing(self) -> dict[str, int]:
        kinds = (Kind.trade, Kind.quote, Kind.depth)
        ledgers = {kind.name: self._source.ledger(kind, self._subject, *self._span) for kind in kinds}
        return {name: int((rows["state"] == Coverage.missing).sum()) for name, rows in ledgers.items()}

    def _lines(self) -> list[LineFigures]:
        parts = [part.rows for part in self._source.parts(Kind.line, self._subject, *self._span, self._until, False)]
        if not parts:
            return []
        rows = np.concatenate(parts)
        rows = rows[rows["joined"] == 0]
        out = []
        for stream in np.unique(rows["stream"]).tolist():
            of_kind = rows[rows["stream"] == stream]
            whole = int(of_kind["firsts"].sum()) or 1
            for name in np.unique(of_kind["line"]).tolist():
                own = of_kind[of_kind["line"] == name]
                times = (
                    float(np.median(own["lead_p50_ns"])),
                    float(np.median(own["lag_p50_ns"])),
                    float(own["lag_p99_ns"].max()),
                )
                events, disordered = int(own["events"].sum()), int(own["disordered"].sum())
                share = int(own["firsts"].sum()) / whole
                line = name.decode()
                out.append(LineFigures(line, Kind(stream).name, events, share, disordered, *(ns / 1e6 for ns in times)))
        return out

"""A capture read whole before any of it is served: what it holds, what can be served of it, and why the rest cannot. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from math import gcd

import msgspec

from tickmesh.nodes.exchange.market.captures import (
    DEPTHS,
    TITLES,
    UNITS,
    RecordedDepth,
    RecordedFrame,
    RecordedMark,
    RecordedQuote,
    RecordedTrade,
    Unserved,
    read_line,
)
from tickmesh.nodes.exchange.market.instruments import SPOT, USDM, venue_and_symbol
from tickmesh.nodes.exchange.protocol import JsonObject

FORMAT = 2
REASONS_MAX = 50  # further ones are counted together
SNAPSHOTS_MAX = 100_000
RECORDED = ("trade", "bookTicker", "depth", *DEPTHS[SPOT], *DEPTHS[USDM])  # what feeds subscribe to
HOUR_NS = 3600 * 10**9
JITTER_NS = 10**9  # a recorder of several connections writes lines a little out of order
REPLAYED = (
    "a capture of combined streams of Binance spot or USD-M futures (@trade, @bookTicker, @depth, @depth@100ms or @depth@0ms) "
    "can be replayed"
)


class SymbolShape(msgspec.Struct):
    """The steps and first price that a capture shows of a symbol, as mantissas at 10^−8; 0: not seen."""

    tick: int = 0
    lot: int = 0
    price: int = 0


class Survey(msgspec.Struct):
    """The contents of a capture. `streams`: frames served, by stream; `not_served`: lines by reason; `first`: one of each.

    Streams and markets of USD-M have `binance_usdm.` before their names, as in the whole exchange."""

    format: int = FORMAT
    identity: str = ""  # of the files, see nodes/exchange/server/files.py
    lines: int = 0
    streams: dict[str, int] = {}
    snapshots: dict[str, list[int]] = {}  # venue → their line numbers
    not_served: dict[str, int] = {}
    first: dict[str, str] = {}
    symbols: dict[str, SymbolShape] = {}  # by market
    depths: dict[str, str] = {}  # market → the depth stream that is served
    units: dict[str, int] = {}  # lines by unit of the receive time
    span_ns: int = 0  # of the receive times, without the jumps
    jumps: int = 0  # receive times that go back, or on by more than an hour
    unfit: list[str] = []  # files that have no frame which can be served: a sentence each
    error: str = ""  # why the files could not be read to their end

    @property
    def dialect(self) -> str:
        """The venues and markets that the capture's frames are of, or "unknown"."""
        if venues := self.venues:
            return f"Binance {' and '.join(TITLES[venue] for venue in venues)}"
        return next((reason[len("a frame of ") :] for reason in self.not_served if reason.endswith(" futures")), "unknown")

    @property
    def venues(self) -> list[str]:
        """The venues of trades, quotes and changes in the capture, spot first."""
        found = {venue_and_symbol(name.partition("@")[0])[0] for name in self.streams if name.partition("@")[2] in RECORDED}
        return [venue for venue in TITLES if venue in found]

    @property
    def bookless(self) -> list[str]:
        """The markets whose changes no depth snapshot of their venue leads to: their book is never known."""
        return [name for name in self.depths if not self.snapshots.get(venue_and_symbol(name)[0])]

    @property
    def unserved(self) -> int:
        """The number of lines that are not served."""
        return sum(self.not_served.values())

    def kinds(self) -> set[str]:
        """The kinds of event that the log gets from the capture: trade, quote, depth."""
        return {kind for kind, _ in self._topics()}

    def lacking(self, subjects: Iterable[str]) -> list[str]:
        """The topics of these instruments (`binance.BTCUSDT`) that the log gets nothing of from the capture, sorted."""
        there = set(self._topics())
        return sorted(f"{kind}.{one}" for one in subjects for kind in ("depth", "quote", "trade") if (kind, one) not in there)

    def _topics(self) -> Iterator[tuple[str, str]]:
        """(kind, instrument) of each recorded stream."""
        names = {"trade": "trade", "bookTicker": "quote"}
        for name in self.streams:
            market, _, kind = name.partition("@")
            if kind in RECORDED:
                venue, symbol = venue_and_symbol(market)
                yield names.get(kind, "depth"), f"{venue}.{symbol.upper()}"

    def refusal(self) -> str:
        """Why nothing of the capture can be replayed, in a sentence; "" if something can."""
        if self.unfit:
            return "; ".join(self.unfit[:3])
        singles = {name.partition("@")[0] for name in self.streams if name.endswith("@trade")}
        joined = {name.partition("@")[0]: n for name, n in self.streams.items() if name.endswith("@aggTrade")}
        if bare := sorted(joined.keys() - singles):
            count = sum(joined[name] for name in bare)
            names = ", ".join(venue_and_symbol(name)[1].upper() for name in bare[:5])
            what = f"recorded as @aggTrade only ({count} frames), and the mesh records single trades"
            return f"trades of {names} are {what}; {REPLAYED}"
        if not self.kinds():
            there = ", ".join(sorted(self.streams)[:5]) or "none"
            return f"no frame is a trade, a quote or a depth change, but {there}; {REPLAYED}"
        return ""

    def missing(self, markets: Iterable[str]) -> str:
        """Why these markets cannot all be had of the capture, in a sentence; "" if they can."""
        lacking = [venue_and_symbol(name) for name in markets if name not in self.symbols]
        if not lacking:
            return ""
        names, found = ", ".join(".".join(one) for one in lacking[:5]), ", ".join(sorted(map(_subject, self.symbols))[:10])
        other = [symbol for venue, symbol in lacking if any(venue_and_symbol(name)[1] == symbol for name in self.symbols)]
        wrong = f" ({', '.join(other[:5])} is there, of another venue)" if other else ""
        return (
            f"[[instruments]] of mesh.toml has {names}, and no frame of the captures is of it{wrong}; they have {found}: "
            "name those, or give a capture that has it too"
        )

    def summary(self) -> JsonObject:
        """The survey for `--json` and for people."""
        return {
            "dialect": self.dialect,
            "unit": "/".join(sorted(self.units)),
            "lines": self.lines,
            "symbols": sorted(symbol for symbol in self.symbols),
            "streams": dict(sorted(self.streams.items())),
            "snapshots": sum(map(len, self.snapshots.values())),
            "no_snapshot": sorted(self.bookless),
            "seconds": round(self.span_ns / 1e9, 1),
            "jumps": self.jumps,
            "not_served": dict(self.not_served),
            "first": dict(self.first),
            "not_recorded": sorted(name for name in self.streams if name.partition("@")[2] not in RECORDED),
        }


def _subject(name: str) -> str:
    return ".".join(venue_and_symbol(name))


class Surveyor:
    """Reads the lines of a capture and gives its Survey; which depth stream of a symbol is served is known at the end only."""

    def __init__(self) -> None:
        self.survey = Survey()
        self._last_ns = 0
        self._refused = self._streamed = 0  # lines
        self._reasons: Counter[str] = Counter()  # of the file that is being read
        self._usual = SPOT  # the venue of the line before
        self._depths: dict[str, dict[str, tuple[int, int]]] = {}  # market → stream's kind → frames, line of the first

    def read_file(self, name: str, lines: Iterable[str]) -> None:
        """Reads all lines of one file. A file without any frame that is served is unfit, beside whatever other files."""
        survey, refused, streamed = self.survey, self._refused, self._streamed
        begin = survey.lines
        self._reasons.clear()
        for line in lines:
            self.read_line(line)
        if self._streamed > streamed:
            return
        count = survey.lines - begin
        if not count:
            survey.unfit.append(f"{name} is empty; {REPLAYED}")
            return
        if self._refused == refused:
            survey.unfit.append(f"{name} has no frame of a stream; {REPLAYED}")
            return
        reason, times = self._reasons.most_common(1)[0]
        survey.unfit.append(f"{name} is no capture that can be replayed: {times} of its {count} lines are {reason} "
                            f"({survey.first.get(reason, '')[:160]}); {REPLAYED}")  # fmt: skip

    def read_line(self, line: str) -> None:
        """Counts one line, by its stream or by the reason why it is not served."""
        survey = self.survey
        survey.lines += 1
        try:
            frame = read_line(line, self._usual)
        except Unserved as error:
            self._refused += 1
            self._reasons[error.reason] += 1
            self._refuse(error.reason, f"line {survey.lines}: {error}", 1)
            return
        self._usual = frame.venue
        self._timed(line, frame.recv_ns)
        if frame.kind == "snapshot":
            numbers = survey.snapshots.setdefault(frame.venue, [])
            if len(numbers) < SNAPSHOTS_MAX:
                numbers.append(survey.lines)
            return
        self._streamed += 1
        if frame.kind == "depth":
            kinds = self._depths.setdefault(frame.market, {})
            count, first = kinds.get(frame.stream.partition("@")[2], (0, survey.lines))
            kinds[frame.stream.partition("@")[2]] = (count + 1, first)
        else:
            survey.streams[frame.name] = survey.streams.get(frame.name, 0) + 1
        if frame.row is not None and not isinstance(frame.row, RecordedMark):
            self._shaped(frame)

    def finish(self, error: str = "") -> Survey:
        """Gives the survey. Of several depth streams of one market the finest is served, the others are not."""
        survey = self.survey
        survey.error = error
        for market, kinds in self._depths.items():
            chosen = next(kind for kind in DEPTHS[venue_and_symbol(market)[0]] if kind in kinds)
            survey.depths[market] = chosen
            for kind, (count, first) in kinds.items():
                if kind == chosen:
                    survey.streams[f"{market.lower()}@{kind}"] = count
                else:
                    reason = coarser_stream_reason(chosen)
                    self._refuse(reason, f"line {first}: {market.lower()}@{kind}", count)
        return survey

    def _refuse(self, reason: str, sentence: str, count: int) -> None:
        known = self.survey.not_served
        if reason not in known and len(known) >= REASONS_MAX:
            reason = "other reasons"
        known[reason] = known.get(reason, 0) + count
        self.survey.first.setdefault(reason, sentence)

    def _timed(self, line: str, at_ns: int) -> None:
        survey = self.survey
        unit = UNITS[line.index(" ")][0]
        survey.units[unit] = survey.units.get(unit, 0) + 1
        step = at_ns - self._last_ns if self._last_ns else 0
        if 0 <= step < HOUR_NS:
            survey.span_ns += step
        elif abs(step) > JITTER_NS:
            survey.jumps += 1
        self._last_ns = at_ns

    def _shaped(self, frame: RecordedFrame) -> None:
        shape = self.survey.symbols.setdefault(frame.market, SymbolShape())
        row = frame.row
        if isinstance(row, RecordedDepth):
            for _, price, quantity in row.levels:
                shape.tick, shape.lot = gcd(shape.tick, price), gcd(shape.lot, quantity)
                shape.price = shape.price or price
        elif isinstance(row, RecordedTrade):
            shape.tick, shape.lot = gcd(shape.tick, row.price), gcd(shape.lot, row.quantity)
            shape.price = shape.price or row.price
        elif isinstance(row, RecordedQuote):
            shape.price = shape.price or row.bid


def coarser_stream_reason(served: str) -> str:
    """The reason why a depth stream is not served beside a finer one of its symbol."""
    return f"a second depth stream of its symbol; @{served} is served"

"""A capture read whole before any of it is served: what it holds, what can be served of it, and why the rest cannot. Pure."""

from collections import Counter
from collections.abc import Iterable
from math import gcd

import msgspec

from tickmesh.nodes.exchange.market.captures import (
    DEPTHS,
    UNITS,
    RecordedDepth,
    RecordedFrame,
    RecordedQuote,
    RecordedTrade,
    Unserved,
    read_line,
)
from tickmesh.nodes.exchange.protocol import JsonObject

FORMAT = 1
REASONS_MAX = 50  # further ones are counted together
SNAPSHOTS_MAX = 100_000
RECORDED = ("trade", "bookTicker", "depth")  # what feeds subscribe to
HOUR_NS = 3600 * 10**9
JITTER_NS = 10**9  # a recorder of several connections writes lines a little out of order
SPOT = "a capture of combined Binance spot streams (@trade, @bookTicker, @depth[@100ms]) can be replayed"


class SymbolShape(msgspec.Struct):
    """The steps and first price that a capture shows of a symbol, as mantissas at 10^−8; 0: not seen."""

    tick: int = 0
    lot: int = 0
    price: int = 0


class Survey(msgspec.Struct):
    """The contents of a capture. `streams`: frames served, by stream; `not_served`: lines by reason; `first`: one of each."""

    format: int = FORMAT
    identity: str = ""  # of the files, see nodes/exchange/server/files.py
    lines: int = 0
    streams: dict[str, int] = {}
    snapshots: list[int] = []  # their line numbers
    not_served: dict[str, int] = {}
    first: dict[str, str] = {}
    symbols: dict[str, SymbolShape] = {}
    depths: dict[str, str] = {}  # symbol → the depth stream that is served
    units: dict[str, int] = {}  # lines by unit of the receive time
    span_ns: int = 0  # of the receive times, without the jumps
    jumps: int = 0  # receive times that go back, or on by more than an hour
    unfit: list[str] = []  # files that have no frame which can be served: a sentence each
    error: str = ""  # why the files could not be read to their end

    @property
    def dialect(self) -> str:
        """The venue and market that the capture's frames are of, or "unknown"."""
        if any(name.partition("@")[2] in (*RECORDED, *DEPTHS) for name in self.streams):
            return "Binance spot"
        return next((reason[len("a frame of ") :] for reason in self.not_served if reason.endswith(" futures")), "unknown")

    @property
    def unserved(self) -> int:
        """The number of lines that are not served."""
        return sum(self.not_served.values())

    def kinds(self) -> set[str]:
        """The kinds of event that the log gets from the capture: trade, quote, depth."""
        names = {"trade": "trade", "bookTicker": "quote", **dict.fromkeys(DEPTHS, "depth")}
        return {names[kind] for name in self.streams if (kind := name.partition("@")[2]) in names}

    def refusal(self) -> str:
        """Why nothing of the capture can be replayed, in a sentence; "" if something can."""
        if self.unfit:
            return "; ".join(self.unfit[:3])
        singles = {name.partition("@")[0] for name in self.streams if name.endswith("@trade")}
        joined = {name.partition("@")[0]: n for name, n in self.streams.items() if name.endswith("@aggTrade")}
        if bare := sorted(joined.keys() - singles):
            count = sum(joined[name] for name in bare)
            return (
                f"trades of {', '.join(bare[:5]).upper()} are recorded as @aggTrade only ({count} frames), and the mesh "
                f"records single trades; {SPOT}"
            )
        if not self.kinds():
            return (
                f"no frame is a trade, a quote or a depth change, but {', '.join(sorted(self.streams)[:5]) or 'none'}; {SPOT}"
            )
        return ""

    def summary(self) -> JsonObject:
        """The survey for `--json` and for people."""
        return {
            "dialect": self.dialect,
            "unit": "/".join(sorted(self.units)),
            "lines": self.lines,
            "symbols": sorted(symbol for symbol in self.symbols),
            "streams": dict(sorted(self.streams.items())),
            "snapshots": len(self.snapshots),
            "seconds": round(self.span_ns / 1e9, 1),
            "jumps": self.jumps,
            "not_served": dict(self.not_served),
            "first": dict(self.first),
            "not_recorded": sorted(name for name in self.streams if name.partition("@")[2] not in (*RECORDED, *DEPTHS)),
        }


class Surveyor:
    """Reads the lines of a capture and gives its Survey; which depth stream of a symbol is served is known at the end only."""

    def __init__(self) -> None:
        self.survey = Survey()
        self._last_ns = 0
        self._refused = self._streamed = 0  # lines
        self._reasons: Counter[str] = Counter()  # of the file that is being read
        self._depths: dict[str, dict[str, tuple[int, int]]] = {}  # symbol → stream's kind → frames, line of the first

    def read_file(self, name: str, lines: Iterable[str]) -> None:
        """Reads all lines of one file. A file without any frame of spot is unfit, beside whatever other files."""
        survey, refused, streamed = self.survey, self._refused, self._streamed
        begin = survey.lines
        self._reasons.clear()
        for line in lines:
            self.read_line(line)
        if self._streamed > streamed:
            return
        count = survey.lines - begin
        if not count:
            survey.unfit.append(f"{name} is empty; {SPOT}")
            return
        if self._refused == refused:
            survey.unfit.append(f"{name} has no frame of a stream; {SPOT}")
            return
        reason, times = self._reasons.most_common(1)[0]
        survey.unfit.append(f"{name} is no capture that can be replayed: {times} of its {count} lines are {reason} "
                            f"({survey.first.get(reason, '')[:160]}); {SPOT}")  # fmt: skip

    def read_line(self, line: str) -> None:
        """Counts one line, by its stream or by the reason why it is not served."""
        survey = self.survey
        survey.lines += 1
        try:
            frame = read_line(line)
        except Unserved as error:
            self._refused += 1
            self._reasons[error.reason] += 1
            self._refuse(error.reason, f"line {survey.lines}: {error}", 1)
            return
        self._timed(line, frame.recv_ns)
        if frame.kind == "snapshot":
            if len(survey.snapshots) < SNAPSHOTS_MAX:
                survey.snapshots.append(survey.lines)
            return
        self._streamed += 1
        if frame.kind == "depth":
            kinds = self._depths.setdefault(frame.symbol, {})
            count, first = kinds.get(frame.stream.partition("@")[2], (0, survey.lines))
            kinds[frame.stream.partition("@")[2]] = (count + 1, first)
        else:
            survey.streams[frame.stream] = survey.streams.get(frame.stream, 0) + 1
        if frame.row is not None:
            self._shaped(frame)

    def finish(self, error: str = "") -> Survey:
        """Gives the survey. Of several depth streams of one symbol the finest is served, the others are not."""
        survey = self.survey
        survey.error = error
        for symbol, kinds in self._depths.items():
            chosen = next(kind for kind in DEPTHS if kind in kinds)
            survey.depths[symbol] = chosen
            for kind, (count, first) in kinds.items():
                if kind == chosen:
                    survey.streams[f"{symbol.lower()}@{kind}"] = count
                else:
                    reason = coarser_stream_reason(chosen)
                    self._refuse(reason, f"line {first}: {symbol.lower()}@{kind}", count)
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
        shape = self.survey.symbols.setdefault(frame.symbol, SymbolShape())
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


def decimal_step(common: int, otherwise: int) -> int:
    """The largest power of ten that divides `common`, the common divisor of prices or quantities; `otherwise` if that is 0."""
    if not common:
        return otherwise
    power = 1
    while power < 10**18 and common % (power * 10) == 0:
        power *= 10
    return power

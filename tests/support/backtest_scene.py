"""A made-up market in a log, for backtests: books that wander, quotes that follow them, trades; and signals at random."""

import contextlib
import random
from pathlib import Path

import numpy as np

from tests.support.stored import Market, write_log
from tickmesh.bus.config import Config, load
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import DTYPES, QUOTE, Flag, GapState, Kind
from tickmesh.bus.settings import Instrument, Mesh
from tickmesh.bus.settings_trading import ExecutorSettings, RiskSettings, StrategySettings
from tickmesh.bus.wire import encode
from tickmesh.nodes.executor.node import Step
from tickmesh.nodes.model.columns import CAUSED_SIGNAL
from tickmesh.research.backtest.course import BacktestCourse, NamedModel
from tickmesh.research.backtest.tape import tapes
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.storage.archive.writer import ArchiveWriter
from tickmesh.storage.columns.span import ColumnSpan

SYMBOLS = ("BTCUSDT", "ETHUSDT")
SUBJECTS = tuple(f"binance.{symbol}" for symbol in SYMBOLS)
MS = 1_000_000
MIDDLE, LEVELS, LOT = 600_000, 6, 10
DEFINITION = (-1, -3, 1, 1, 1, 0, 0)  # prices in tenths, quantities in thousandths


TWO_INSTRUMENTS = """
default_models = false

[[instruments]]
symbol = "BTCUSDT"
[[instruments]]
symbol = "ETHUSDT"
"""


def lay(root: Path, settings: str, kernel: tuple[str, str], events: int) -> Path:
    """Lays a mesh into `root`: settings of more than TWO_INSTRUMENTS, a kernel (name, text), events of a made-up market.

    Two thirds of the events are archived.
    """
    name, text = kernel
    (root / "mesh.toml").write_text(TWO_INSTRUMENTS + settings)
    (root / "models").mkdir()
    (root / "models" / f"{name}.py").write_text(text)
    config = load(root)
    write_log(config.log_dir, RandomMarket(7).run(events))
    with contextlib.closing(ArchiveWriter(config.archive_dir)) as writer:
        writer.archive_log(LogReader(config.log_dir), events * 2 // 3, 90)
    return root


class RandomMarket:
    """Events of some instruments by a seed: each has a book of which everything that changes is said."""

    def __init__(self, seed: int, subjects: tuple[str, ...] = SUBJECTS, late: bool = False):
        """`late`: quotes and trades say when they came and were, up to 30 ms apart."""
        self._pick, self._market = random.Random(seed), Market()
        self._late = random.Random(seed) if late else None
        self._subjects = subjects
        self._middles = dict.fromkeys(subjects, MIDDLE)
        self._books: dict[str, dict[int, int]] = {subject: {} for subject in subjects}
        self.raws: list[bytes] = []
        for subject in subjects:
            record = np.array([DEFINITION], DTYPES[Kind.instrument])
            self.raws.append(self._market.event(Kind.instrument, subject, record))
            self._follow(subject, snapshot=True)

    def run(self, events: int) -> list[bytes]:
        """Adds so many events; gives all."""
        for _ in range(events):
            subject, deed = self._pick.choice(self._subjects), self._pick.random()
            if deed < 0.4:
                self._middles[subject] += self._pick.choice((-1, 0, 0, 1))
                self._follow(subject)
            elif deed < 0.75:
                self._trade(subject)
            elif deed < 0.995:
                self._quote(subject)
            else:
                self._gap(subject, Kind.trade if deed < 0.998 else Kind.quote)
        return self.raws

    def lose_bids(self) -> list[bytes]:
        """Adds a quote without a bid, then a trade, of each instrument; gives all events."""
        for subject in self._subjects:
            record = np.array([(self._market.seq, 0, 0, self._middles[subject] + 1, LOT, 0)], QUOTE)
            self.raws.append(self._market.event(Kind.quote, subject, record, step_ns=400 * MS))
            self._trade(subject)
        return self.raws

    def _gap(self, subject: str, stream: Kind) -> None:
        """A gap of trades is repaired some events later, as it mostly is."""
        record = np.zeros(1, DTYPES[Kind.gap])
        record["stream"], record["state"] = stream, GapState.open if stream == Kind.trade else GapState.unrecoverable
        record["first_id"] = record["last_id"] = self._market.seq
        self.raws.append(self._market.event(Kind.gap, subject, record, producer=b"sequencer"))
        if stream == Kind.trade:
            self.run(5)
            record["state"] = GapState.repaired
            self.raws.append(self._market.event(Kind.gap, subject, record, producer=b"sequencer"))

    def _times(self) -> dict[str, int]:
        """When an event was and came."""
        if self._late is None:
            return {}
        recv_ns = self._market.seq_ns
        fetched = {"flags": Flag.REPAIRED} if self._late.random() < 0.3 else {}
        return {"recv_ns": recv_ns, "venue_ns": recv_ns - self._late.randrange(30) * MS} | fetched

    def _step(self) -> int:
        return self._pick.choice((0, 1, 3, 20, 20, 90, 400)) * MS + self._pick.randrange(1000)

    def _follow(self, subject: str, snapshot: bool = False) -> None:
        """The book around its middle, with some quantities anew."""
        middle, book = self._middles[subject], self._books[subject]
        wanted = {middle - 1 - n: 1 for n in range(LEVELS)} | {middle + 1 + n: -1 for n in range(LEVELS)}
        changed = [(price, 0, -1 if price > middle else 1) for price in book if price not in wanted]
        for price, side in wanted.items():
            old = book.get(price, 0)
            if old * side <= 0 or self._pick.random() < 0.3:
                if old * side < 0:
                    changed.append((price, 0, -side))
                book[price] = side * self._pick.randrange(1, 30) * LOT
                changed.append((price, abs(book[price]), side))
        self._books[subject] = {price: lots for price, lots in book.items() if price in wanted}
        if changed:
            update = self._market.seq + 1
            self.raws.append(self._market.depth(changed, update, snapshot, subject=subject, step_ns=self._step()))
            self._quote(subject, self._market.seq)

    def _quote(self, subject: str, update: int = 0) -> None:
        bid, ask = self._middles[subject] - 1, self._middles[subject] + 1
        book = self._books[subject]
        record = np.array([(update or self._market.seq, bid, book[bid], ask, -book[ask], 0)], QUOTE)
        self.raws.append(self._market.event(Kind.quote, subject, record, step_ns=self._step(), **self._times()))

    def _trade(self, subject: str) -> None:
        side = self._pick.choice((1, -1))
        rows = np.zeros(self._pick.randrange(1, 3), DTYPES[Kind.trade])
        rows["price_ticks"] = [self._middles[subject] + side * (1 + (self._pick.random() < 0.2)) for _ in rows]
        rows["quantity_lots"] = [self._pick.randrange(1, 60) for _ in rows]
        rows["side"] = side
        times = self._times()
        if self._late is not None and self._late.random() < 0.1:
            times["flags"] = Flag.OFF_BOOK
        self.raws.append(self._market.event(Kind.trade, subject, rows, step_ns=self._step(), **times))


class RandomSignals:
    """A model that says something at random of the events that it has seen: what a kernel's step gives, without a kernel."""

    kinds = (Kind.quote, Kind.trade)

    def __init__(self, seed: int, subjects: tuple[str, ...], share: float = 0.02):
        self._seed, self._subjects, self._share = seed, subjects, share

    def step_span(self, span: ColumnSpan) -> np.ndarray:
        """Signals of some of the span's rows; which ones is a function of their seq."""
        found = []
        for columns in span.subjects:
            for row, seq in zip(columns.rows, columns.seqs.tolist()):
                pick = random.Random(self._seed * 1_000_003 + seq)
                if columns.subject in self._subjects and pick.random() < self._share:
                    signal = np.zeros(1, CAUSED_SIGNAL)
                    signal["cause_seq"], signal["cause_ns"] = seq, row["seq_ns"]
                    signal["instrument"] = self._subjects.index(columns.subject)
                    signal["record"]["value"] = pick.choice((-1.0, 1.0, 0.8, -0.7))
                    found.append(signal)
        return np.sort(np.concatenate([np.zeros(0, CAUSED_SIGNAL), *found]), order="cause_seq")

    def encoded(self, signals: np.ndarray) -> list[bytearray]:
        """The signals as events."""
        out = []
        for one in signals:
            record = one["record"].reshape(1).copy()
            subject = self._subjects[int(one["instrument"])]
            out.append(encode(Kind.signal, subject, record, cause_seq=int(one["cause_seq"])))
        return out

    def identity(self) -> dict[str, object]:
        """What it is, for its run event."""
        return {"kernel": "random", "range": [-1.0, 1.0]}


def scene(
    root: Path, raws: list[bytes], strategies: tuple[StrategySettings, ...], limits: dict[str, str] | None = None
) -> Config:
    """Lays a log into `root`; gives settings of a mesh there that trades every instrument."""
    mesh = Mesh(
        instruments=tuple(Instrument(symbol) for symbol in SYMBOLS), strategies=strategies, risk=RiskSettings(**(limits or {})),
        executor=ExecutorSettings(instruments=("binance.*",), orders_per_s=50.0),
    )  # fmt: skip
    config = Config(mesh, root)
    if not config.log_dir.exists():
        write_log(config.log_dir, raws)
    return config


def course(
    config: Config,
    terms: VenueTerms,
    signals: RandomSignals,
    every_event: bool = False,
    span_ns: tuple[int, int] = (0, 1 << 62),
) -> BacktestCourse:
    """Runs the strategies of a scene over its log, with what is said kept."""
    step = Step(config, "")
    names = tuple(one.name for one in config.strategies_resolved)
    by_ticks = any(one.execution.improve_ticks for one in config.strategies_resolved)
    models = [NamedModel("model-m", signals)]
    out = BacktestCourse(step, models, SUBJECTS, names, terms, span_ns, every_event, prices_by_ticks=by_ticks)
    out.keeps_answers = True
    start = span_ns[0] or None
    late = any(one.execution.venue_lag_max_ms for one in config.strategies_resolved)
    out.run(tapes(config, SUBJECTS, signals.kinds, step.reads, start, span_ns[1], late))
    return out

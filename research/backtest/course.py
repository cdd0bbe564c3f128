"""The course of a backtest: market, venue, models' signals and the executor, in one order of time.

Whatever happens at one time comes in this order: the log's events, the signals that they cause, what arrives at the venue or
comes back from it. So an order that arrives at a time meets the book after every event up to then, and is filled by none of
them: only by what comes later.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import INSTRUMENT, Flag, Kind
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.executor.node import Step as ExecutorStep
from tickmesh.nodes.model.node import Step as ModelStep
from tickmesh.research.backtest.follower import LOG_ID, SILENCE_NS, ExecutorFollower
from tickmesh.research.backtest.result import QUOTE_MARK
from tickmesh.research.backtest.session import PRODUCER, BacktestSession
from tickmesh.research.backtest.tape import MarketTape
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue, MarketRows
from tickmesh.research.backtest.venue_kernel import QUOTE, TRADE
from tickmesh.storage.columns.span import ColumnSpan, SubjectColumns
from tickmesh.storage.query.times import ReadError

NEVER_NS = (1 << 63) - 1


class NamedModel(NamedTuple):
    """A model's step, and the process whose signals they are."""

    process: str
    step: ModelStep


class PlacedSignal(NamedTuple):
    """A signal of a tape: the row after which it comes, its cause, the model, itself ((1,) CAUSED_SIGNAL)."""

    row: int
    cause_seq: int
    cause_ns: int
    model: NamedModel
    signal: np.ndarray


class BacktestCourse:
    """Runs over tapes in order. `answers`: everything that the executor has answers, if it is asked to keep that."""

    def __init__(
        self, executor: ExecutorStep, models: Sequence[NamedModel], subjects: tuple[str, ...], strategies: tuple[str, ...],
        terms: VenueTerms, span_ns: tuple[int, int], every_event: bool = False, warm_ns: int | None = None,
        prices_by_ticks: bool = False,
    ):  # fmt: skip
        """`models`: in the order in which their signals of one cause come; `span_ns`: [start, end).

        `warm_ns`: how long before the start models, and the executor, begin to see the market; nothing is traded then. None:
        models see all that there is, the executor what comes from the start on. `prices_by_ticks`: a strategy does, so a tick
        size that is not known is refused."""
        self._prices_by_ticks = prices_by_ticks
        self.unknown_steps: dict[str, str] = {}  # subject → which of its steps is not known
        self._models, self._subjects = tuple(models), subjects
        self._start_ns, self._end_ns = span_ns
        self._executor_ns = self._start_ns - (warm_ns or 0)
        self._models_ns = 0 if warm_ns is None else self._executor_ns
        self._venue = ColumnVenue(len(subjects), terms)
        self.session = BacktestSession(self._venue, terms, subjects, strategies)
        self.follower = ExecutorFollower(executor, subjects, every_event)
        self.answers: list[Event] = []
        self.keeps_answers = False
        self.events = self.signals = 0
        self.first_ns = self.last_ns = 0
        self._begun = False
        self._definitions: dict[int, np.void] = {}
        self._marks: list[list[np.ndarray]] = [[] for _ in subjects]
        self.market_volume = dict.fromkeys(subjects, 0.0)  # what the market traded in the span, in quote currency
        self._last_row_ns = 0

    def run(self, tapes: Iterable[MarketTape], shown: Callable[[int], object] = lambda ns: None) -> None:
        """Runs to the end of the tapes, or of the span. `shown`: told how far it is, in log time, after each tape."""
        for tape in tapes:
            rows = tape.market.rows
            bounds = self._executor_ns, self._start_ns, self._end_ns
            warm, begin, end = (int(np.searchsorted(rows["seq_ns"], ns)) for ns in bounds)
            signals = self._signals_of(tape, end)
            self._pass_before(tape, warm)
            if warm < begin:
                self._begin(int(rows["seq_ns"][warm]))
                self._pass(tape, warm, begin, [])
            if begin < end:
                self._begin(int(rows["seq_ns"][begin]))
                self.first_ns = self.first_ns or int(rows["seq_ns"][begin])
                self._pass(tape, begin, end, signals)
                self._note(tape, begin, end)
            if len(rows):
                self._last_row_ns = int(rows["seq_ns"][max(end, 1) - 1])
                shown(self._last_row_ns)
            if end < len(rows):
                break
        self._finish()

    def marks(self) -> dict[str, np.ndarray]:
        """The best quotes of each instrument, (n,) QUOTE_MARK, where they changed."""
        out = {}
        for slot, subject in enumerate(self._subjects):
            marks = np.concatenate([np.zeros(0, QUOTE_MARK), *self._marks[slot]])
            out[subject] = marks[_changes(marks)]
        return out

    # Before it begins

    def _pass_before(self, tape: MarketTape, begin: int) -> None:
        """What lies before the start only makes the books, and says what instruments are."""
        self._venue.pass_rows(tape.market, 0, begin)
        for row in tape.stops[tape.stops < begin].tolist():
            self._note_definition(tape, row)

    def _note_definition(self, tape: MarketTape, row: int) -> None:
        one = tape.market.rows[row]
        if one["kind"] != Kind.instrument:
            return
        record = tape.others[Kind.instrument][int(one["first"] + one["count"]) - 1]
        self._definitions[int(one["slot"])] = record
        self.session.define(int(one["slot"]), record)
        if self._begun:
            self._check_steps(int(one["slot"]))

    def _check_steps(self, slot: int) -> None:
        """Notes an instrument whose steps nobody knows. Raises ReadError where orders are priced by ticks."""
        one = self._definitions[slot]
        if one["tick_size"] and one["lot_size"]:
            return
        what = "tick size" if not one["tick_size"] else "lot size"
        sentence = f"the {what} of {self._subjects[slot]} is not known: its definition has 0, and above 0 is needed"
        if self._prices_by_ticks:
            raise ReadError(
                f"{sentence} by improve_ticks of a strategy; import it again with --tick and --lot, or leave that out"
            )
        self.unknown_steps[self._subjects[slot]] = what

    def _begin(self, now_ns: int) -> None:
        if self._begun:
            return
        self._begun = True
        self._append(encode(Kind.run, "sequencer", {"node": "sequencer", "log_id": LOG_ID}), "sequencer", now_ns)
        for model in self._models:
            self._append(
                encode(Kind.run, model.process, model.step.identity() | {"node": model.process}), model.process, now_ns
            )
        for slot, record in sorted(self._definitions.items()):
            self._check_steps(slot)
            row = np.array([record], INSTRUMENT)
            self._append(encode(Kind.instrument, self._subjects[slot], row), "feed", now_ns)

    def _signals_of(self, tape: MarketTape, end: int) -> list[PlacedSignal]:
        """The signals of the span, in order of cause, then model, then k."""
        found: list[PlacedSignal] = []
        seqs = np.ascontiguousarray(tape.market.rows["seq"][:end])
        span = _from(tape.span, self._models_ns) if self._models_ns else tape.span
        for model in self._models:
            signals = model.step.step_span(span)
            signals = signals[(signals["cause_ns"] >= self._start_ns) & (signals["cause_ns"] < self._end_ns)]
            causes = signals["cause_seq"].astype("i8")
            rows = (np.searchsorted(seqs, causes, "right") - 1).tolist()
            for place, (row, cause, ns) in enumerate(zip(rows, causes.tolist(), signals["cause_ns"].tolist())):
                found.append(PlacedSignal(row, cause, ns, model, signals[place : place + 1]))
        return sorted(found, key=lambda one: one.cause_seq)

    # The course

    def _pass(self, tape: MarketTape, begin: int, end: int, signals: list[PlacedSignal]) -> None:
        times, stops = np.ascontiguousarray(tape.market.rows["seq_ns"]), tape.stops
        silences = np.flatnonzero(np.diff(times, prepend=self._last_row_ns) > SILENCE_NS)
        self.follower.begin_tape(tape, begin)
        at, next_signal, next_stop = begin, 0, int(np.searchsorted(stops, begin))
        while True:
            arrival_ns = self.session.next_ns
            stop = end if arrival_ns is None else min(end, int(np.searchsorted(times, arrival_ns, "right")))
            if next_signal < len(signals):
                stop = min(stop, signals[next_signal].row + 1)
            if next_stop < len(stops):
                stop = min(stop, int(stops[next_stop]) + 1)
            stop = max(stop, at)
            wake, until_ns = self.follower.next_wake(at, stop)
            clock_ns = self._clock_ns(times, silences, until_ns, at, end)
            if clock_ns is not None and clock_ns < (arrival_ns or NEVER_NS):
                before = int(np.searchsorted(times, clock_ns, "right"))
                if before <= min(wake, stop):
                    stop, wake, arrival_ns = before, before, clock_ns
                else:
                    clock_ns = None
            else:
                clock_ns = None
            stop = min(stop, wake + 1)
            reached, reports = self._venue.pass_rows(tape.market, at, stop)
            if reports:
                self.session.take_reports(reports, int(times[reached - 1]))
            if reached < stop:
                at = reached
                continue
            row, at = stop - 1, stop
            is_stop = next_stop < len(stops) and row == stops[next_stop]
            if is_stop:
                self._note_definition(tape, row)
                next_stop += 1
            if row >= begin and (is_stop or row == wake):
                self._heed(self.follower.see(row))
            if next_signal < len(signals):
                one = signals[next_signal]
                if one.row < at and (arrival_ns is None or one.cause_ns <= arrival_ns):
                    self._signal(at - 1, one)
                    next_signal += 1
                    continue
            if clock_ns is not None and (self.session.next_ns or NEVER_NS) <= clock_ns:
                continue  # what the last row has filled is said before that
            arrives = arrival_ns is not None and (at == end or times[at] > arrival_ns)
            if not arrives:
                if at == end:
                    break
                continue
            if at == end and (arrival_ns or 0) > times[end - 1]:
                break  # what comes first, this or an event, the next tape says
            self._heed(self.follower.see(at - 1))
            if clock_ns is not None:
                self._heed(self.follower.append_time(clock_ns))
            else:
                self._arrive()
        self._heed(self.follower.see(end - 1))

    def _clock_ns(self, times: np.ndarray, silences: np.ndarray, until_ns: int, at: int, end: int) -> int | None:
        """When the sequencer says what time it is to one who waits until then; None where it does not before the tape's end.

        `silences`: rows before which it is silent for longer than SILENCE_NS.
        """
        after = max(int(np.searchsorted(times, until_ns)), at)
        place = int(np.searchsorted(silences, after))
        while place < len(silences) and silences[place] < end:
            row = int(silences[place])
            before_ns = int(times[row - 1]) if row else self._last_row_ns
            clock_ns = max(until_ns, max(before_ns, self.follower.now_ns) + SILENCE_NS)
            if clock_ns < times[row]:
                return clock_ns
            place += 1
        return None

    def _signal(self, row: int, one: PlacedSignal) -> None:
        if row >= 0:
            self._heed(self.follower.see(row))
        self.signals += 1
        signal = one.signal.copy()
        signal["cause_seq"] = self.follower.logged_seq(one.cause_seq)
        (event,) = one.model.step.encoded(signal)
        self._append(event, one.model.process, one.cause_ns)

    def _arrive(self) -> None:
        at_ns, event = self.session.arrive()
        if event is not None:
            self._append(event, PRODUCER, at_ns)

    def _append(self, event: bytearray, producer: str, now_ns: int) -> None:
        self._heed(self.follower.append(event, producer, now_ns))

    def _heed(self, answers: list[Event]) -> None:
        self.session.take_answers(answers)
        if self.keeps_answers:
            self.answers += answers

    def _finish(self) -> None:
        """What is under way when the market ends arrives, as long as the span goes on."""
        self.last_ns = self._last_row_ns
        while self.first_ns and (at_ns := self.session.next_ns) is not None and at_ns < self._end_ns:
            self._arrive()

    def _note(self, tape: MarketTape, begin: int, end: int) -> None:
        rows = tape.market.rows[begin:end]
        self.events += end - begin
        for slot in range(len(self._subjects)):
            own = rows[(rows["what"] == QUOTE) & (rows["slot"] == slot)]
            quotes = tape.market.quotes[own["first"] + own["count"] - 1]
            there = (quotes["bid_ticks"] > 0) & (quotes["ask_ticks"] > 0)
            marks = np.zeros(int(there.sum()), QUOTE_MARK)
            scale = 10.0 ** int(self._definitions[slot]["price_exponent"]) if slot in self._definitions else np.nan
            marks["time_ns"] = own["seq_ns"][there]
            marks["bid"], marks["ask"] = quotes["bid_ticks"][there] * scale, quotes["ask_ticks"][there] * scale
            self._marks[slot].append(marks[_changes(marks)])
            if slot in self._definitions:
                unit = scale * 10.0 ** int(self._definitions[slot]["quantity_exponent"])
                self.market_volume[self._subjects[slot]] += _traded(tape.market, rows, slot) * unit


def _from(span: ColumnSpan, begin_ns: int) -> ColumnSpan:
    """The events of a span from a time on, and all definitions of instruments."""
    subjects = []
    for columns in span.subjects:
        kept = (columns.rows["seq_ns"] >= begin_ns) | (columns.rows["kind"] == Kind.instrument)
        if kept.all():
            subjects.append(columns)
        elif kept.any():
            subjects.append(SubjectColumns(columns.subject, columns.rows[kept], columns.seqs[kept], columns.records))
    return span._replace(subjects=subjects)


def _traded(market: MarketRows, rows: np.ndarray, slot: int) -> float:
    """What was traded on the book of an instrument, price × quantity in mantissas, with what was fetched later."""
    own = rows[(rows["what"] == TRADE) & (rows["slot"] == slot) & (rows["flags"] & int(Flag.OFF_BOOK) == 0)]
    ends = np.cumsum(own["count"])
    places = np.repeat(own["first"] - ends + own["count"], own["count"]) + np.arange(int(ends[-1]) if len(ends) else 0)
    trades = market.trades[places]
    return float(trades["price_ticks"].astype("f8") @ trades["quantity_lots"].astype("f8"))


def _changes(marks: np.ndarray) -> np.ndarray:
    """Which rows have other best prices than the row before."""
    keep = np.ones(len(marks), bool)
    keep[1:] = (marks["bid"][1:] != marks["bid"][:-1]) | (marks["ask"][1:] != marks["ask"][:-1])
    return keep

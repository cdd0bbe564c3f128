"""A model over columns: the rows of a span straight into its kernel, no object for an event; same answers as `Step.step`."""

from collections.abc import Callable, Mapping

import numpy as np

from tickmesh.bus.schema import DTYPES, SIGNAL, GapState, Kind
from tickmesh.nodes.model import selecting
from tickmesh.nodes.model.checks import RefusedSignals, diagnosed, event_words, outputs_per_row, refusal
from tickmesh.nodes.model.features_given import FeaturesGiven, in_order
from tickmesh.nodes.model.states import InstrumentStates
from tickmesh.nodes.models.interface import FEATURE_OUT, OUT, ROW, SIGNALS_PER_ROW, Records
from tickmesh.storage.columns.span import ColumnSpan, SubjectColumns

ROWS = 1 << 13  # of one kernel call: rows, records and signals stay in the processor's cache
# A signal beside its cause and that one's seq_ns; `instrument`: its place in InstrumentStates.subjects.
CAUSED_SIGNAL = np.dtype([("cause_seq", "<u8"), ("cause_ns", "<i8"), ("k", "<u4"), ("instrument", "<u4"), ("record", SIGNAL)])
_OPAQUE = np.dtype(f"V{CAUSED_SIGNAL.itemsize}")  # numpy copies bytes many times as fast as fields
_GAP_RULE = np.array([GapState.open, GapState.unrecoverable, Kind.trade], "i8")
_NOTHING = {kind: np.zeros(1, DTYPES[kind]) for kind in (Kind.quote, Kind.trade, Kind.depth, Kind.gap)}


class ColumnKernel:
    """One kernel, and the arrays of its calls. `kinds`: those that the model reads, gap and instrument among them; `left_out`:
    flags of the events that it is not given; `written`: as its author wrote it, to find a fault's line; `features`: of a kernel
    that gives some."""

    def __init__(
        self, kernel: Callable[..., int], parameters: Records, kinds: tuple[Kind, ...], left_out: int, name: bytes,
        horizon_ns: int, limits: tuple[float, float], where: str, written: Callable[..., int],
        features: FeaturesGiven | None = None,
    ):  # fmt: skip
        self._kernel, self._parameters, self._kinds, self._left_out = kernel, parameters, kinds, left_out
        self._written = written
        self._limits, self._where, self._refused = limits, where, RefusedSignals()
        self._least_most = np.array(limits)
        self._blank = np.zeros(1, CAUSED_SIGNAL)  # what all signals have
        self._blank["record"]["model"], self._blank["record"]["horizon_ns"] = name, horizon_ns
        self._use = np.zeros(max(Kind) + 1, "u1")
        for kind in kinds:
            self._use[kind] = {Kind.gap: selecting.GAP, Kind.instrument: selecting.DEFINITION}.get(kind, selecting.RECORDS)
        self._rows, self._seqs = np.zeros(ROWS, ROW), np.zeros(ROWS, "u8")
        self._breaks = np.zeros((ROWS, 2), "i8")
        self._features, self._values = features, list[np.ndarray]()
        self._out = np.zeros(ROWS * outputs_per_row(parameters), OUT if features is None else FEATURE_OUT)
        self._found = self._blank.repeat(ROWS * SIGNALS_PER_ROW)
        self._count = 0

    def step(self, states: InstrumentStates, span: ColumnSpan, refused: RefusedSignals) -> tuple[np.ndarray, int]:
        """Brings the states to the end of the span; gives its signals, (n,) CAUSED_SIGNAL in order of (cause_seq, k), or of a
        kernel of features (n,) CAUSED_FEATURE, and how many events the kernel was given. Counts what is no signal in
        `refused`."""
        self._refused = refused
        self._count = events = 0
        served = 0
        for columns in span.subjects:
            place = states.places.get(columns.subject)
            if place is not None:
                events += self._run(states, place, columns)
                served += 1
            elif columns.subject not in states.others and self._use[columns.rows["kind"]].any():
                states.others.add(columns.subject)
        if self._features is not None:
            values, self._values = self._values, []
            return in_order(values), events
        order = np.arange(self._count) if served < 2 else np.argsort(self._found["cause_seq"][: self._count], kind="stable")
        signals = self._found.view(_OPAQUE)[order].view(CAUSED_SIGNAL)  # those of one cause are in order of k already
        return signals, events

    def _run(self, states: InstrumentStates, place: int, columns: SubjectColumns) -> int:
        """Runs the kernel over one instrument's rows, a bounded piece after the other; gives how many it was given."""
        records = columns.records
        gaps = records.get(Kind.gap, _NOTHING[Kind.gap])
        given = 0
        for begin in range(0, len(columns.rows), ROWS):
            count, definitions = selecting.select(
                columns.rows[begin : begin + ROWS], columns.seqs[begin : begin + ROWS], self._use, self._left_out, gaps,
                _GAP_RULE, self._rows, self._seqs, self._breaks,
            )  # fmt: skip
            done = 0
            for before, definition in self._breaks[:definitions].tolist():
                self._call(states, place, records, done, before)
                row = records[Kind.instrument][definition]
                states.define(place, int(row["price_exponent"]), int(row["quantity_exponent"]))
                done = before
            self._call(states, place, records, done, count)
            given += count
        return given

    def _call(self, states: InstrumentStates, place: int, records: Mapping[Kind, np.ndarray], start: int, stop: int) -> None:
        if start == stop:
            return
        quotes, trades, levels = (records.get(kind, _NOTHING[kind]) for kind in (Kind.quote, Kind.trade, Kind.depth))
        state, units = states.of[place]
        rows, seqs = self._rows[start:stop], self._seqs[start:stop]
        arguments = state, self._parameters, units, rows, stop - start, quotes, trades, levels, self._out
        before, subject = state.copy(), states.subjects[place]
        error: BaseException | None = None
        try:
            count = self._kernel(*arguments)
        except Exception as raised:  # noqa: BLE001 - a person's kernel may raise anything: it becomes a ModelFault
            error, count = raised, -1
        if self._features is not None and error is None:
            if (found := self._features.gathered(self._out, count, rows, seqs, place)) is not None:
                self._values.append(found)
                return
            count = -1
        bad = -1 if 0 <= count <= len(self._out) else 0
        if count and bad < 0:
            while self._count + count > len(self._found):
                self._found = np.concatenate([self._found, self._blank.repeat(len(self._found))])
            kept, refused, first, bad = selecting.gather(
                self._out, count, seqs, rows, SIGNALS_PER_ROW, self._least_most, place, self._found, self._count
            )
            self._count += kept
            if refused:
                row, value, price, _ = self._out[first].item()
                on = event_words(rows[row], subject)
                self._refused.add(refused, refusal(value, price, self._limits, self._where, int(seqs[row]), on))
        if bad >= 0:
            raise diagnosed(
                self._written, self._kernel, arguments, before, seqs.tolist(), subject, self._where, error
            ) from error

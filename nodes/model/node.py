"""Runs one numba kernel over the log, a state for each instrument; publishes its signals or features with their cause's seq.

When it dies: the checkpoint is loaded and the log replayed from there; what was published already is not published again. A
checkpoint of other code or parameters is refused, and one without an instrument that the log has had events of: the replay
starts at the first event there is then.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.layout import record_reader, record_struct, struct_of
from tickmesh.bus.names import KERNEL_BYTES
from tickmesh.bus.schema import Flag, GapState, Kind
from tickmesh.bus.wire import Event, cause_of, encode
from tickmesh.nodes.model.checks import RefusedSignals, diagnosed, event_words, outputs_per_row, refusal
from tickmesh.nodes.model.features_given import FeaturesGiven, feature_events
from tickmesh.nodes.model.staging import ROWS, Staging
from tickmesh.nodes.model.states import InstrumentStates
from tickmesh.nodes.models.faults import ModelFault
from tickmesh.nodes.models.interface import FEATURE_OUT, OUT, SIGNALS_PER_ROW
from tickmesh.storage.columns.span import ColumnSpan

if TYPE_CHECKING:
    from tickmesh.nodes.model.columns import ColumnKernel

READS = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.gap)
WRITES = (Kind.signal, Kind.feature)

_OUT, _SIGNAL = struct_of(OUT), record_struct(Kind.signal)
INFINITE = (float("inf"), float("-inf"))
_COUNTS = np.dtype([("events", "<i8"), ("signals", "<i8")])
_read_exponents = record_reader(Kind.instrument, "price_exponent", "quantity_exponent")
_read_gap = record_reader(Kind.gap, "stream", "state")


class Step:
    """Pure: what it says and the state it is left in follow from the events alone, however they are cut into lists or spans."""

    def __init__(self, config: Config, instance: str, begin: Callable[[], object] | None = None):
        """`begin` is called before the kernel is for the first time, when it is compiled."""
        model = config.model(instance)
        from tickmesh.nodes.models import cache, calls, loading  # numba takes 0.4 s to import: only who computes pays for it

        loading.use_folder(config)
        file = loading.file_of(model.kernel)
        self.sources = cache.sources_hash(file)  # before they are imported: what changes from here on is another
        folder = cache.use(config, file)
        module = loading.load(model.kernel)
        self._model = model
        self._name = model.kernel.encode()
        if len(self._name) > KERNEL_BYTES:
            raise ConfigError(f"kernel name {model.kernel!r} has {len(self._name)} bytes; a signal has room for {KERNEL_BYTES}")
        self._code, self._versions = cache.code_hash(file, module.kernel), cache.versions()
        cache.forget_others(folder, self._code)
        self._any_kernel = self._column_kernel = module.kernel
        self.where = f"{loading.short(str(file))}:{calls.line_of(module.kernel)}"
        self._limits = loading.value_range(module)
        self.publishes_past = model.publish_past
        self.careful = False  # True: before each call the state is copied, so that a fault can be looked for row by row
        wanted = loading.wanted_features(module, model.features)
        self._horizon_ns = 0 if wanted is not None else module.HORIZON_NS
        self._parameters = loading.parameters(module, model.parameters, wanted)
        self.features = None if wanted is None else FeaturesGiven(module.FEATURES, wanted)  # None: it publishes signals
        self.lookback_ns = loading.lookback_ns(module, self._parameters)
        self.states = InstrumentStates(config.subjects(model.instruments), module.STATE)
        kinds = loading.kinds_of(module, wanted)
        self.kinds = (*kinds, Kind.gap, Kind.instrument)  # what it reads
        self._numbers = frozenset(int(kind) for kind in self.kinds)
        self._left_out = 0 if getattr(module, "OFF_BOOK", False) else int(Flag.OFF_BOOK)
        self._staging = Staging(kinds)
        self._out = np.zeros(ROWS * outputs_per_row(self._parameters), OUT if wanted is None else FEATURE_OUT)
        self._out_bytes = self._out.data.cast("B")
        self._columns: ColumnKernel | None = None
        self.reset()
        self._kernel = loading.compiled(module.kernel, self._arguments(0, self._staging.rows, 0), begin)

    def reset(self) -> None:
        """Puts all to the start of the log."""
        self.states.reset()
        self._staging.clear()
        self._events = 0
        self._signals = 0
        self.refused = RefusedSignals()

    def step(self, events: list[Event]) -> list[bytearray]:
        """The events that `events` cause, in order of (cause_seq, k). Events of other instruments and kinds change nothing."""
        signals: list[bytearray] = []
        places, staging = self.states.places, self._staging
        for event in events:
            kind = event.kind
            if kind not in self._numbers:
                continue
            place = places.get(event.subject)
            if place is None:
                self.states.others.add(event.subject)
            elif (stage := staging.wanted.get(kind)) is not None:
                if event.flags & self._left_out:
                    continue
                staging.put(event, place, 0, stage.put(event), event.count)
            elif kind == Kind.gap:
                stream, state = _read_gap(event.raw)
                # Trades that are gone for good were open before; a gap of anything else is unrecoverable at once.
                if state == GapState.open or (state == GapState.unrecoverable and stream != Kind.trade):
                    staging.put(event, place, stream)
            else:
                self._flush(signals)
                self.states.define(place, *_read_exponents(event.raw))
            if len(staging.causes) == ROWS:
                self._flush(signals)
        self._flush(signals)
        return signals

    def _arguments(self, place: int, rows: np.ndarray, count: int) -> tuple[Any, ...]:
        """What the kernel is given for `count` staged rows of one instrument."""
        state, units = self.states.of[place]
        quotes, trades, levels = self._staging.kinds
        return state, self._parameters, units, rows, count, quotes.array, trades.array, levels.array, self._out

    def _flush(self, signals: list[bytearray]) -> None:
        """Runs the kernel over what is staged, once for each instrument there; adds the signals in order of their causes."""
        staging = self._staging
        if not (causes := staging.causes):
            return
        if (place := staging.only_place()) is not None:
            found = self._run(place, staging.rows, causes)
        else:
            found = []
            for group in staging.groups():
                found += self._run(*group)
            found.sort(key=cause_of)
        signals += found
        self._events += len(causes)
        self._signals += len(found)
        staging.clear()

    def _run(self, place: int, rows: np.ndarray, causes: list[int]) -> list[bytearray]:
        """The signals of one instrument's rows, whose seqs are `causes`. Raises ModelFault."""
        found: list[bytearray] = []
        arguments = self._arguments(place, rows, len(causes))
        before = arguments[0].copy() if self.careful else None
        try:
            count = self._kernel(*arguments)
        except Exception as error:  # not narrower: a person's kernel may raise anything
            raise self._fault(arguments, before, causes, place, error) from error
        if self.features is not None:
            if (given := self.features.gathered(self._out, count, rows, causes, place)) is None:
                raise self._fault(arguments, before, causes, place)
            return feature_events(given, self.states.subjects)
        if not count:
            return found
        row_before, k = -1, 0
        least, most = self._limits
        if not 0 < count <= len(self._out):
            raise self._fault(arguments, before, causes, place)
        for i in range(count):
            row, value, price, reference_ticks = _OUT.unpack_from(self._out_bytes, i * _OUT.size)
            k = k + 1 if row == row_before else 0
            if k >= SIGNALS_PER_ROW or not row_before <= row < len(causes) or row < 0:
                raise self._fault(arguments, before, causes, place)
            row_before = row
            if not least <= value <= most or price in INFINITE:
                on = event_words(rows[row], self.states.subjects[place])
                self.refused.add(1, refusal(value, price, self._limits, self.where, causes[row], on))
                continue
            record = _SIGNAL.pack(self._name, value, price, self._horizon_ns, reference_ticks)
            found.append(encode(Kind.signal, self.states.subjects[place], record, k=k, cause_seq=causes[row]))
        return found

    def _fault(
        self, arguments: tuple[Any, ...], before: np.ndarray | None, causes: list[int], place: int,
        error: BaseException | None = None,
    ) -> ModelFault:  # fmt: skip
        """Why the kernel cannot go on. Without the state from before the call only the first of its events is known."""
        subject = self.states.subjects[place]
        if before is not None:
            return diagnosed(self._any_kernel, self._kernel, arguments, before, causes, subject, self.where, error)
        what = f"{type(error).__name__}: {error}" if error else "it broke a rule of nodes/models/interface.py"
        return ModelFault(what, self.where, causes[0], event_words(arguments[3][0], subject))

    def step_span(self, span: ColumnSpan) -> np.ndarray:
        """What a span of columns causes, the same as `step` gives for its events: see ColumnKernel.step."""
        if self._columns is None:
            from tickmesh.nodes.model.columns import ColumnKernel  # compiled: only who has columns pays for it

            self._columns = ColumnKernel(
                self._column_kernel, self._parameters, self.kinds, self._left_out, self._name, self._horizon_ns, self._limits,
                self.where, self._any_kernel, self.features,
            )  # fmt: skip
        signals, events = self._columns.step(self.states, span, self.refused)
        self._events += events
        self._signals += len(signals) if self.features is None else len(np.unique(signals["cause_seq"]))
        return signals

    def wrap_kernel(self, wrap: Callable[[Callable[..., int]], Callable[..., int]]) -> None:
        """Has `step_span` call `wrap(kernel)`, of the same arguments and answers, from now on."""
        self._column_kernel, self._columns = wrap(self._any_kernel), None

    def encoded(self, signals: np.ndarray) -> list[bytearray]:
        """Encodes some of what `step_span` gave as the events that `step` gives."""
        subjects = self.states.subjects
        if self.features is not None:
            return feature_events(signals, subjects)
        fields = (signals["cause_seq"].tolist(), signals["k"].tolist(), signals["instrument"].tolist(), signals["record"])
        return [
            encode(Kind.signal, subjects[place], record.tobytes(), k=k, cause_seq=cause)
            for cause, k, place, record in zip(*fields)
        ]

    def identity(self) -> dict[str, Any]:
        """What runs, for the `run` event: a replay with the same answers the same."""
        return self._maker() | {"instruments": list(self.states.subjects)}

    def _maker(self) -> dict[str, Any]:
        """What makes a state what it is, beside the instrument's events."""
        given = {name: float(self._parameters[name][0]) for name in self._parameters.dtype.names or () if name != "wanted"}
        state = sha256(repr(self.states.dtype.descr).encode()).hexdigest()[:16]
        made = {
            "code": self._code,
            "kernel": self._model.kernel,
            "parameters": given,
            "state": state,
            "range": list(self._limits),
        }
        chosen = {} if self.features is None else {"features": self.features.published}
        return made | chosen | self._versions

    def state_bytes(self) -> bytes:
        """The states of all instruments, their units and the names of the others."""
        return self.states.save()

    def complaint(self) -> str:
        """What was no signal since the last call, a sentence; "" for nothing."""
        return self.refused.complaint()

    def counters(self) -> dict[str, int]:
        counts = {"events": self._events, "signals": self._signals, "instruments": len(self.states.subjects)}
        return counts | {"refused": self.refused.count}

    def save(self) -> bytes:
        """The state after the last event: 64 bytes that name the code and parameters, counters, the states by instrument."""
        counts = np.array([(self._events, self._signals)], _COUNTS)
        return self._fingerprint() + counts.tobytes() + self.states.save()

    def load(self, state: bytes) -> None:
        """Goes on where `save` was called. Raises ValueError for other code or parameters, and as InstrumentStates does."""
        fingerprint = self._fingerprint()
        if state[: len(fingerprint)] != fingerprint:
            raise ValueError(f"the state of {self._model.name} was made by other code or parameters")
        at = len(fingerprint)
        self.states.load(state[at + _COUNTS.itemsize :])
        self._events, self._signals = np.frombuffer(state, _COUNTS, 1, at)[0].tolist()

    def _fingerprint(self) -> bytes:
        return sha256(repr(self._maker()).encode()).hexdigest().encode()

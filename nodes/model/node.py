"""Runs one numba kernel over the log and publishes its signals, each with the seq of the event that caused it.

When it dies: the checkpoint is loaded and the log replayed from there; what was published already is not published again. A
checkpoint of other code or parameters is refused, and the replay starts at the first event there is.
"""

from hashlib import sha256
from typing import Any

import numpy as np

from tickmesh.bus.config import Config, ConfigError
from tickmesh.bus.layout import RECORDS, record_reader, record_struct, struct_of
from tickmesh.bus.names import KERNEL_BYTES
from tickmesh.bus.schema import DTYPES, GapState, Kind
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.models.interface import OUT, ROW, SIGNALS_PER_ROW

READS = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.gap)
WRITES = (Kind.signal,)

ROWS = 1024  # events handed to the kernel in one call; the result does not depend on it
_ROW, _OUT, _SIGNAL = struct_of(ROW), struct_of(OUT), record_struct(Kind.signal)
_read_exponents = record_reader(Kind.instrument, "price_exponent", "quantity_exponent")
_read_gap = record_reader(Kind.gap, "stream", "state")


class Stage:
    """Records of one kind, back to back, for the kernel: always aligned and writable, so it is compiled only once."""

    def __init__(self, kind: Kind):
        self.dtype = DTYPES[kind]
        self.used = 0
        self.array = np.zeros(ROWS, self.dtype)
        self.bytes = self.array.data.cast("B")

    def grow(self, records: int) -> None:
        grown = np.zeros(records, self.dtype)
        grown[: self.used] = self.array[: self.used]
        self.array = grown
        self.bytes = grown.data.cast("B")

    def put(self, event: Event) -> int:
        """Copies the event's records; returns the index of the first."""
        first = self.used
        end = first + event.count
        if end > len(self.array):
            self.grow(2 * end)
        size = self.dtype.itemsize
        self.bytes[first * size : end * size] = event.raw[RECORDS]
        self.used = end
        return first


class Step:
    """Pure: what it says and the state it is left in follow from the events alone, however they are cut into lists."""

    def __init__(self, config: Config, instance: str):
        model = config.model(instance)
        from tickmesh.nodes.models import cache, loading  # numba takes 0.4 s to import: only who computes pays for it

        cache.use(config)
        module = loading.load(model.kernel)
        self.subject = config.instrument(model.instrument).subject
        self._model = model
        self._name = model.kernel.encode()
        if len(self._name) > KERNEL_BYTES:
            raise ConfigError(f"kernel name {model.kernel!r} has {len(self._name)} bytes; a signal has room for {KERNEL_BYTES}")
        self._code = cache.sources_hash()
        self._kernel = module.kernel
        self._horizon_ns = module.HORIZON_NS
        self._parameters = loading.parameters(module, model.parameters)
        self._empty = np.zeros(1, module.STATE)
        self._stages = {kind: Stage(kind) for kind in (Kind.quote, Kind.trade, Kind.depth)}
        self._wanted = {int(kind): self._stages[kind] for kind in module.KINDS}
        self._rows = np.zeros(ROWS, ROW)
        self._rows_bytes = self._rows.data.cast("B")
        self._out = np.zeros(ROWS * SIGNALS_PER_ROW, OUT)
        self._out_bytes = self._out.data.cast("B")
        self._causes: list[int] = []
        self._reset()
        self._call(0)  # compiles it, or loads it from the cache

    def _reset(self) -> None:
        self._state = self._empty.copy()
        self._units = np.full(2, np.nan)
        self._events = 0
        self._signals = 0

    def step(self, events: list[Event]) -> list[bytearray]:
        """The signals that `events` cause, in order. Events of other instruments and kinds change nothing."""
        signals: list[bytearray] = []
        for event in events:
            if event.subject != self.subject:
                continue
            kind = event.kind
            if (stage := self._wanted.get(kind)) is not None:
                self._put(event, 0, stage.put(event), event.count)
            elif kind == Kind.gap:
                stream, state = _read_gap(event.raw)
                # Trades that are gone for good were open before; a gap of anything else is unrecoverable at once.
                if state == GapState.open or (state == GapState.unrecoverable and stream != Kind.trade):
                    self._put(event, stream, 0, 0)
            elif kind == Kind.instrument:
                self._flush(signals)
                price_exponent, quantity_exponent = _read_exponents(event.raw)
                self._units[:] = float(f"1e{price_exponent}"), float(f"1e{quantity_exponent}")
            if len(self._causes) == ROWS:
                self._flush(signals)
        self._flush(signals)
        return signals

    def _put(self, event: Event, stream: int, first: int, count: int) -> None:
        at = len(self._causes) * _ROW.size
        _ROW.pack_into(self._rows_bytes, at, event.kind, event.flags, stream, first, count, event.seq_ns)
        self._causes.append(event.seq)

    def _call(self, count: int) -> int:
        quotes, trades, levels = (stage.array for stage in self._stages.values())
        signals: int = self._kernel(
            self._state, self._parameters, self._units, self._rows, count, quotes, trades, levels, self._out
        )
        return signals

    def _flush(self, signals: list[bytearray]) -> None:
        causes = self._causes
        if not causes:
            return
        n = self._call(len(causes))
        row_before, k = -1, 0
        for i in range(n):
            row, value, price, reference_ticks = _OUT.unpack_from(self._out_bytes, i * _OUT.size)
            k = k + 1 if row == row_before else 0
            row_before = row
            record = _SIGNAL.pack(self._name, value, price, self._horizon_ns, reference_ticks)
            signals.append(encode(Kind.signal, self.subject, record, k=k, cause_seq=causes[row]))
        self._events += len(causes)
        self._signals += n
        self._causes = []
        for stage in self._wanted.values():
            stage.used = 0

    def identity(self) -> dict[str, Any]:
        """What runs, for the `run` event: a replay with the same answers the same."""
        given = {name: float(self._parameters[name][0]) for name in self._parameters.dtype.names or ()}
        return {"code": self._code, "kernel": self._model.kernel, "instrument": self.subject, "parameters": given,
                "state": sha256(repr(self._empty.dtype.descr).encode()).hexdigest()[:16]}  # fmt: skip

    def counters(self) -> dict[str, int]:
        return {"events": self._events, "signals": self._signals}

    def save(self) -> bytes:
        """The state after the last event: 64 bytes that name the code and parameters, units, counters, the record."""
        counts = np.array([self._events, self._signals], "<i8")
        return self._fingerprint() + self._units.tobytes() + counts.tobytes() + self._state.tobytes()

    def load(self, state: bytes) -> None:
        """Goes on where `save` was called. Raises ValueError for a state of other code, parameters or size."""
        fingerprint = self._fingerprint()
        expected = len(fingerprint) + 32 + self._empty.nbytes
        if state[: len(fingerprint)] != fingerprint:
            raise ValueError(f"the state of {self._model.name} was made by other code or parameters; replay the log")
        if len(state) != expected:
            raise ValueError(f"the state of {self._model.name} has {len(state)} bytes; it needs {expected}")
        at = len(fingerprint)
        self._units[:] = np.frombuffer(state, "<f8", 2, at)
        self._events, self._signals = (int(n) for n in np.frombuffer(state, "<i8", 2, at + 16))
        self._state[:] = np.frombuffer(state, self._empty.dtype, 1, at + 32)

    def _fingerprint(self) -> bytes:
        return sha256(repr(self.identity()).encode()).hexdigest().encode()

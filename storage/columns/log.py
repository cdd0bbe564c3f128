"""Columns from the log: the bytes of its segments are walked by compiled code, a span of some 128 Ki events after the other."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tickmesh.bus.layout import header_places
from tickmesh.bus.log import Tail
from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.bus.segments import Batch, BatchRun, LogError, scan_runs
from tickmesh.bus.wire import Event, WireError, decode
from tickmesh.storage.columns import scanner
from tickmesh.storage.columns.span import ROW, ColumnSpan, SubjectColumns, with_streams

READ_BYTES = 4 << 20
SPAN_EVENTS = 1 << 17  # about: a span ends with the read that brings so many
SUBJECTS = 1 << 12  # to begin with; the table of names grows
LAST = (1 << 63) - 1
ALIGNED = 64  # bytes: where records of a kind begin
_PLACES = header_places(*scanner.PLACES)
_KINDS = max(Kind) + 1
_ITEMSIZES = np.array([DTYPES[Kind(number)].itemsize if number in DTYPES else 0 for number in range(_KINDS)], "i8")

assert HEADER["subject"].itemsize == scanner.NAME_BYTES


class Block:
    """Events of one read: their bytes, where bodies of batches begin and end in them, and how many of each kind there are."""

    def __init__(self, batch: Batch, within: np.ndarray):
        self.first, self.last = batch.first, batch.last
        self.raw = batch.body
        self.data = np.frombuffer(batch.body, "u1")
        if isinstance(batch, BatchRun):
            self.starts, self.stops = np.array(batch.starts, "i8"), np.array(batch.stops, "i8")
        else:
            self.starts, self.stops = np.zeros(1, "i8"), np.array([len(batch.body)], "i8")
        self.events, self.records = np.zeros(_KINDS, "i8"), np.zeros(_KINDS, "i8")
        wrong = scanner.survey(
            self.data, self.starts, self.stops, _PLACES, _ITEMSIZES, within, self.events, self.records
        )  # fmt: skip
        if wrong >= 0:
            try:
                decode(self.raw, wrong)
                what = "it goes beyond its batch"
            except WireError as error:
                what = str(error)
            raise LogError(f"events {self.first} to {self.last}: the bytes at {wrong} are no event: {what}; this is a bug")


class LogColumns:
    """Reads the columns of `kinds`, and the events of `objects`, from a log; it may be written meanwhile."""

    def __init__(self, folder: Path, kinds: Iterable[Kind], objects: Iterable[Kind] = ()):
        self.folder, self.kinds = folder, tuple(kinds)
        self._use = np.zeros(_KINDS, "u1")
        self._use[[*self.kinds]] |= 1
        self._use[[*objects]] |= 2
        self._subjects: list[str] = []
        self._names = np.zeros((0, scanner.NAME_BYTES // 8), "u8")
        self._grow(SUBJECTS)

    def spans(self, after: int = 0, until: int | None = None) -> Iterator[ColumnSpan]:
        """Reads the events with after < seq ≤ until, to the present end. Raises LogReleased, LogCorrupt as `Tail` does."""
        within = np.array([after, LAST if until is None else until], "i8")
        tail = Tail(self.folder, after, scan_runs)
        blocks: list[Block] = []
        try:
            while tail.next <= within[1] and (batches := tail.read(READ_BYTES)):
                blocks += (Block(batch, within) for batch in batches)
                if sum(int(block.events.sum()) for block in blocks) >= SPAN_EVENTS:
                    yield self._span(blocks, within)
                    blocks = []
            if blocks:
                yield self._span(blocks, within)
        finally:
            tail.close()

    def _grow(self, capacity: int) -> None:
        """Makes room for `capacity` subjects; those that are known keep their numbers."""
        known = self._names[: len(self._subjects)]
        self._names = np.zeros((capacity, scanner.NAME_BYTES // 8), "u8")
        self._names[: len(known)] = known
        self._slots = np.full(4 * capacity, -1, "i4")
        scanner.enter(self._names, len(known), self._slots)

    def _span(self, blocks: list[Block], within: np.ndarray) -> ColumnSpan:
        events, records = (np.sum([getattr(block, name) for block in blocks], axis=0) for name in ("events", "records"))
        rows = int(events[self._use & 1 > 0].sum())
        sizes = np.where(self._use & 1, records * _ITEMSIZES, 0)
        room = -(-sizes // ALIGNED) * ALIGNED
        bases = np.cumsum(room) - room
        bodies = np.empty(int(room.sum()), "u1")
        columns = np.empty(rows, ROW), np.empty(rows, "u8"), np.empty(rows, "i4")
        picked: list[Event] = []
        state = np.zeros(_KINDS + 2, "i8")
        for block in blocks:
            picked += self._fill(block, within, state, bases, bodies, columns)
        of_kind = {kind: bodies[bases[kind] : bases[kind] + sizes[kind]].view(DTYPES[kind]) for kind in self.kinds}
        with_streams(columns[0], of_kind.get(Kind.gap))
        first, last = max(blocks[0].first, int(within[0]) + 1), min(blocks[-1].last, int(within[1]))
        return ColumnSpan(first, last, self._by_subject(*columns, of_kind), picked)

    def _fill(
        self, block: Block, within: np.ndarray, state: np.ndarray, bases: np.ndarray, bodies: np.ndarray,
        columns: tuple[np.ndarray, np.ndarray, np.ndarray],
    ) -> list[Event]:  # fmt: skip
        """Fills a block's part of the columns, on from `state`; gives its events of the kinds that are wanted as objects."""
        places = np.empty(int(block.events[self._use & 2 > 0].sum()), "i8")
        before = state.copy()
        while True:
            known = scanner.fill(
                block.data, block.starts, block.stops, _PLACES, _ITEMSIZES, within, self._use, self._names, self._slots,
                len(self._subjects), state, bases, bodies, *columns, places,
            )  # fmt: skip
            if known >= 0:
                break
            self._grow(2 * len(self._names))
            state[:] = before
        fresh = self._names[len(self._subjects) : known].copy().view(f"S{scanner.NAME_BYTES}").reshape(-1)
        self._subjects += [name.decode() for name in fresh.tolist()]
        state[-1] = 0  # places are of this block alone
        return [Event(block.raw, place) for place in places.tolist()]

    def _by_subject(
        self, rows: np.ndarray, seqs: np.ndarray, subjects: np.ndarray, records: dict[Kind, np.ndarray]
    ) -> list[SubjectColumns]:
        counts = np.bincount(subjects, minlength=len(self._subjects))
        present = np.flatnonzero(counts).tolist()
        if len(present) == 1:
            return [SubjectColumns(self._subjects[present[0]], rows, seqs, records)]
        grouped, seqs_grouped = np.empty_like(rows), np.empty_like(seqs)
        ends = np.cumsum(counts)
        scanner.group(rows, seqs, subjects, ends - counts, grouped, seqs_grouped)
        places = [(number, slice(int(ends[number] - counts[number]), int(ends[number]))) for number in present]
        return [SubjectColumns(self._subjects[n], grouped[place], seqs_grouped[place], records) for n, place in places]

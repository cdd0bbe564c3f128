"""What a log holds besides the market: the exponents of each instrument, and what was refused, with its bytes."""

import struct
from collections import Counter

import msgpack

from tickmesh.tools.judge.log import KINDS, Event

# The header of docs/messages.md: size, count, kind, flags, k, producer, subject, epoch … cause_seq, first_id, last_id, … by
# its bytes: that of schema version 1 has a shorter producer, and what was refused then has it still.
HEADERS = {form.size: form for form in (struct.Struct(f"<IIHHI{producer}s32s5Q6qQ") for producer in (16, 32))}
HEAD = struct.Struct("<IIH")  # how each of them begins
RECORD_BYTES = {"trade": 48, "quote": 48, "depth": 24}  # of the kinds that are refused as events, in every version


class LogFacts:
    """Collects from all events the exponents of instruments, and what was refused, by its bytes."""

    def __init__(self) -> None:
        self.exponents: dict[str, tuple[int, int]] = {}  # by subject: those that the first definition states
        self.refusals = 0
        self._frames: set[tuple[bytes, int]] = set()  # beginning and length of what was refused
        self._events: Counter[tuple[str, str, int, int]] = Counter()  # kind, subject, first and last id of refused events
        self._kept = 0  # bytes that a refusal keeps at most, as seen

    def take(self, event: Event) -> None:
        """Takes one event; all but definitions of instruments and refusals are passed over."""
        if event.kind == "instrument":
            for record in event.records:
                self.exponents.setdefault(event.subject, (record[0], record[1]))
        elif event.kind == "refusal":
            self._refusal(event.records)

    def _refusal(self, packed: bytes) -> None:
        try:
            content = msgpack.unpackb(packed)
        except ValueError:
            return  # another check's finding
        raw = content.get("raw") if isinstance(content, dict) else None
        if not isinstance(raw, bytes) or not raw:
            return
        self.refusals += 1
        size = content.get("raw_bytes", len(raw))
        self._frames.add((raw, size))
        self._kept = max(self._kept, len(raw))
        if len(raw) >= max(HEADERS):
            self._refused_event(raw, size)

    def _refused_event(self, raw: bytes, size: int) -> None:
        """Counts what was refused if it is an event, of whichever schema version: its size tells how long its header is."""
        stated, count, number = HEAD.unpack_from(raw)
        kind = KINDS.get(number, "")
        header = HEADERS.get(size - count * RECORD_BYTES.get(kind, 0))
        if stated == size and header is not None and kind in RECORD_BYTES:
            fields = header.unpack_from(raw)
            self._events[kind, fields[6].rstrip(b"\0").decode(errors="replace"), fields[12], fields[13]] += 1

    def refused_frame(self, payload: bytes) -> bool:
        """Whether the mesh has refused this frame."""
        if not self._frames:
            return False
        size = len(payload)
        return any((payload[:kept], size) in self._frames for kept in {min(size, self._kept), size})

    def refused_events(self, kind: str, subject: str, first: int, last: int) -> int:
        """How many events with these ids the sequencer has refused: their line took them back, or they had other values."""
        return self._events[kind, subject, first, last]

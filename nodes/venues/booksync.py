"""Joining a stream of depth changes to a REST snapshot. Sans I/O: what arrives goes in, what is to be said comes out.

Binance spot, "How to manage a local order book correctly", with the acceptance rule that real recordings need: the
first change after a snapshot L has `U <= L+1 <= u`. (The page's wording, L inside [U, u], is false whenever a change
ended exactly at L; whoever asserts it fetches for ever on quiet symbols.)

Every change that goes in comes out exactly once and in order, in sync or not; only when, and where the snapshot stands
between them, is decided here.
"""

import struct
from enum import Enum

from bus.schema import HEADER

FIRST_ID_AT = HEADER.fields["first_id"][1]  # type: ignore[index]
_FIRST_ID = struct.Struct("<q")
BUFFER_EVENTS_MAX = 20_000  # over half an hour of changes at one per 100 ms: far beyond any sane snapshot
BUFFER_BYTES_MAX = 32 << 20  # changes of a thousand levels have 24 kB each


class Answer(Enum):
    """What became of a snapshot."""

    USED = "used"
    HELD = "the stream has not reached it yet"
    TOO_OLD = "the stream began after it: fetch another"
    NOT_WANTED = "the book is in step already"


class BookSync:
    """One instrument's book on one line.

    `wants_snapshot`: fetch one, but only after the stream is known to flow (its acknowledgement or first message).
    `resyncs`: breaks of the id chain seen; `overflows`: times the buffer was full and was said out of step.
    """

    def __init__(self, events_max: int = BUFFER_EVENTS_MAX, bytes_max: int = BUFFER_BYTES_MAX):
        self.events_max = events_max
        self.bytes_max = bytes_max
        self.resyncs = 0
        self.overflows = 0
        self.synced = False
        self._chain = 0  # `u` of the last change, 0 before the first
        self._start: int | None = None  # `U` of the first buffered change that the chain of the others begins with
        self._buffer: list[tuple[int, bytearray]] = []
        self._bytes = 0
        self._held: tuple[int, bytearray] | None = None

    @property
    def wants_snapshot(self) -> bool:
        return not self.synced and self._held is None

    def change(self, event: bytearray, first_id: int, last_id: int) -> list[bytearray]:
        """A change with ids U = `first_id` … u = `last_id` arrived; gives what to say now."""
        chain = self._chain
        if self.synced:
            if first_id <= chain + 1:
                self._chain = max(chain, last_id)
                return [event]
            self.synced = False
            self.resyncs += 1
            self._start = None
        said: list[bytearray] = []
        if self._start is not None and first_id > chain + 1:
            # A break while waiting: what came before it cannot be joined to what comes after.
            self.resyncs += 1
            said = self._release()
        if self._start is None:
            self._start = first_id
        self._chain = max(chain, last_id)
        self._buffer.append((last_id, event))
        self._bytes += len(event)
        if len(self._buffer) > self.events_max or self._bytes > self.bytes_max:
            self.overflows += 1
            said += self._release()
        return said + self._join()

    def snapshot(self, event: bytearray, last_update_id: int) -> tuple[Answer, list[bytearray]]:
        """A snapshot of id L = `last_update_id` arrived; gives what became of it and what to say now."""
        if self.synced:
            return Answer.NOT_WANTED, []
        self._held = (last_update_id, event)
        said = self._join()
        if self.synced:
            return Answer.USED, said
        return (Answer.HELD if self._held else Answer.TOO_OLD), said

    def disconnected(self) -> list[bytearray]:
        """The line broke: gives what is still buffered; the next connection starts afresh."""
        said = self._release()
        self.synced = False
        self._chain = 0
        self._held = None
        return said

    def begin_anew(self) -> list[bytearray]:
        """The book is in doubt though the stream goes on: gives what is still buffered, and wants a snapshot."""
        return self.disconnected()

    def _release(self) -> list[bytearray]:
        said = [event for _, event in self._buffer]
        self._buffer.clear()
        self._bytes = 0
        self._start = None
        return said

    def _join(self) -> list[bytearray]:
        if self._held is None:
            return []
        last_update_id, snapshot = self._held
        start = self._start if self._start is not None else (self._chain + 1 if self._chain else None)
        if start is not None and start > last_update_id + 1:
            self._held = None
            return []
        if start is None or self._chain < last_update_id:
            return []
        before = [event for last_id, event in self._buffer if last_id <= last_update_id]
        after = [event for last_id, event in self._buffer if last_id > last_update_id]
        self._release()
        self._held = None
        self.synced = True
        follows = _FIRST_ID.unpack_from(after[0], FIRST_ID_AT)[0] if after else last_update_id + 1
        _FIRST_ID.pack_into(snapshot, FIRST_ID_AT, follows)  # tells the sequencer from where on this line is whole
        return [*before, snapshot, *after]

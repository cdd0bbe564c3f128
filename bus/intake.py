"""Receives producers' events: PULLs what they ring, and reads their outboxes when a number was missed."""

import time
from typing import NamedTuple

import zmq

from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader, Tail
from tickmesh.bus.outbox_room import outboxes
from tickmesh.bus.schema import SCHEMA_VERSION
from tickmesh.bus.segments import LogError, release, segments
from tickmesh.bus.sockets import PRODUCER_RING, Places, open_socket
from tickmesh.bus.wire import sizes, text_of

_RING_SIZE = PRODUCER_RING.size
READ_BYTES = 1 << 20  # of an outbox in one turn: after a long outage the loop still breathes, and memory stays bounded


class Received(NamedTuple):
    """One producer's next event, with its number."""

    producer: str
    epoch: int
    number: int
    event: bytearray


class Cursor:
    """How far one producer's outbox has been taken."""

    __slots__ = ("epoch", "number", "last_ring_ns", "seen_size", "skip")

    def __init__(self, epoch: int = 0, number: int = 0):
        self.epoch = epoch
        self.number = number
        self.last_ring_ns = 0
        self.seen_size = (0, 0)
        self.skip: set[int] = set()  # numbers beyond `number` that are in the log already (recovery)


class Intake:
    """Receives each producer's events, once and in order of number, whatever rings were lost or repeated."""

    def __init__(self, config: Config, cursors: dict[str, Cursor]):
        self._config = config
        self._outbox_read = config.log.outbox_read
        self._check = config.log.check_numbers
        self.cursors = cursors
        self.catch_ups = 0  # how often a file was read because the ring had lost something
        self.caught_up = 0  # events taken from files
        self.unreadable = 0  # times that the outbox of a missed number was not there: a loss, shown in health
        self.unreleased = 0  # times that a segment of an outbox could not be removed
        self.repeated = 0  # events that came again and were not taken
        self._behind: dict[str, Tail] = {}  # outboxes that are not read to their end yet
        self._emptied = False  # the last `receive` has left nothing on the socket
        self._places = Places(config)
        self._pull = open_socket(zmq.PULL, config.log.ring_messages)
        self._pull.bind(self._places.intake)
        self.fd = int(self._pull.getsockopt(zmq.FD))

    @property
    def behind(self) -> bool:
        """Whether an outbox is known to hold more than was taken; `receive` goes on with it."""
        return bool(self._behind)

    @property
    def may_have_more(self) -> bool:
        """Whether `receive` stopped at its bound. If not, `fd` says when there is more: ZeroMQ signals what comes after an
        attempt that found nothing."""
        return not self._emptied or self.behind

    def receive(self, messages: int = 256) -> list[Received]:
        """Gives what has come since: of at most so many messages, and some READ_BYTES of each outbox that is behind.

        [] when there is nothing more.
        """
        out: list[Received] = []
        for name in tuple(self._behind):
            self._read(name, self.cursors[name], out)
        self._emptied = False
        now, known = time.monotonic_ns(), self.cursors.get
        for _ in range(messages):
            try:
                ring = self._pull.recv(zmq.NOBLOCK)
            except zmq.Again:
                self._emptied = True
                break
            version, raw, epoch, first, count, _ = PRODUCER_RING.unpack_from(ring)
            if version != SCHEMA_VERSION:
                continue  # a producer of another version: its outbox says how it is read, and `sweep` looks there
            name = text_of(raw)
            cursor = known(name)
            if count == 1 and cursor and first == cursor.number + 1 and epoch == cursor.epoch and not cursor.skip:
                cursor.number, cursor.last_ring_ns = first, now  # the usual case, in few words
                out.append(Received(name, epoch, first, bytearray(ring[_RING_SIZE:])))
            else:
                self._take(name, epoch, first, count, memoryview(ring)[_RING_SIZE:], out)
        return out

    def _take(self, name: str, epoch: int, first: int, count: int, body: memoryview, out: list[Received]) -> None:
        cursor = self.cursors.get(name)
        if cursor is None:
            cursor = self.cursors[name] = Cursor()
        cursor.last_ring_ns = time.monotonic_ns()
        if epoch != cursor.epoch:
            # Epochs are creation times: an older one is an old ring, unless it is the outbox there now (a clock was set).
            if epoch < cursor.epoch and LogReader(self._config.outbox(name)).log_id != epoch:
                self.repeated += count
                return
            self._begin(name, cursor, epoch)
        if first > cursor.number + 1 and self._outbox_read:
            if name not in self._behind:
                self._read(name, cursor, out)
            if name in self._behind:
                return  # it is in the file as well, behind what comes next
        self._accept(name, cursor, first, body, out)

    def _begin(self, name: str, cursor: Cursor, epoch: int) -> None:
        cursor.epoch, cursor.number = epoch, 0
        cursor.skip.clear()
        self._forget(name)

    def _forget(self, name: str) -> None:
        if (tail := self._behind.pop(name, None)) is not None:
            tail.close()

    def _accept(self, name: str, cursor: Cursor, first: int, body: memoryview, out: list[Received]) -> None:
        number = first
        for offset, size in sizes(body):
            if number <= cursor.number and self._check:
                self.repeated += 1
            else:
                cursor.number = number
                if number in cursor.skip:
                    cursor.skip.discard(number)
                else:
                    out.append(Received(name, cursor.epoch, number, bytearray(body[offset : offset + size])))
            number += 1

    def _read(self, name: str, cursor: Cursor, out: list[Received]) -> None:
        """Takes from the outbox file what is beyond the cursor, READ_BYTES of it; `behind` until nothing more is there."""
        before = len(out)
        tail = self._behind.get(name)
        fresh = tail is None
        if tail is None:
            reader = LogReader(self._config.outbox(name))
            if reader.log_id != cursor.epoch:  # the outbox of that epoch is gone: a power cut, or someone removed it
                self.unreadable += 1
                return
            if reader.first > cursor.number + 1:  # released, although not taken here: the log was moved away, say
                self.unreadable += 1
                cursor.number = reader.first - 1
            tail = self._behind[name] = Tail(self._config.outbox(name))
        tail.seek(cursor.number)
        batches = tail.read(READ_BYTES)
        for batch in batches:
            self._accept(name, cursor, batch.first, batch.body, out)
        self.catch_ups += fresh and len(out) > before
        self.caught_up += len(out) - before
        if not batches:
            self._forget(name)

    def sweep(self, silent_ns: int) -> list[Received]:
        """Begins to read outboxes that did not ring for so long, in case their last ring was lost; gives their events."""
        out: list[Received] = []
        if not self._outbox_read:
            return out
        now = time.monotonic_ns()
        for name in outboxes(self._config):
            cursor = self.cursors.setdefault(name, Cursor())
            if now - cursor.last_ring_ns < silent_ns or name in self._behind:
                continue
            found = segments(self._config.outbox(name))
            if not found:
                continue
            try:
                size = (found[-1][0], found[-1][1].stat().st_size)
            except FileNotFoundError:  # begun anew elsewhere: the next look sees it
                continue
            if size == cursor.seen_size:
                continue
            epoch = LogReader(self._config.outbox(name)).log_id
            if epoch != cursor.epoch:
                self._begin(name, cursor, epoch)
            self._read(name, cursor, out)
            cursor.seen_size = size
        return out

    def release(self, upto: dict[str, int]) -> None:
        """Frees outbox segments up to the given numbers, which are in the log."""
        for name, number in upto.items():
            try:
                release(self._config.outbox(name), number)
            except LogError:
                self.unreleased += 1  # it is tried again, and the outbox has a bound

    def close(self) -> None:
        """Closes the socket and the outboxes."""
        for name in tuple(self._behind):
            self._forget(name)
        self._pull.close()
        self._places.close()

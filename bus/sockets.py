"""Append, then ring: files are the truth, ZeroMQ carries the same bytes fast and may lose them.

`Producer` appends to its outbox, then PUSHes; the sequencer's `Intake` (bus/intake.py) hears it. `Publisher`
appends to the log, then PUBlishes. `Subscriber` hears, and reads the log when it missed an event of its lanes.
Every call is non-blocking; `fd` tells an event loop when to call again.
"""

import contextlib
import os
import struct
import time
from collections.abc import Iterator, Sequence

import zmq

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.log import Tail, events_of
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.names import PRODUCER_BYTES, producer_bytes
from tickmesh.bus.operator_log import log_alert
from tickmesh.bus.outbox import Outbox
from tickmesh.bus.schema import SCHEMA_VERSION, Kind
from tickmesh.bus.segments import LogError, LogFull
from tickmesh.bus.space import refusal
from tickmesh.bus.topics import LANE_OF_KIND, Lane
from tickmesh.bus.wire import Event, encode, events, kind_of, stamp_sent

# schema version, producer, epoch, first number, count, reserved. In version 1 the name stood first: no name begins with a 2.
PRODUCER_RING = struct.Struct(f"<B7x{PRODUCER_BYTES}sQQII")
# lane, schema version (0: version 1), log_id, first seq, last seq, durable seq, previous seq of each lane
LOG_RING = struct.Struct("<cB6xQQQQQQQ")
LANES = len(Lane)
READ_BYTES = 1 << 20


class OutboxFull(Exception):
    """An outbox takes no more: the sequencer has been away until its bound, or neither RAM nor disk has room."""


class Places:
    """Addresses of the two sockets, by a folder's descriptor: a socket path has 107 bytes at most, a folder's any number."""

    def __init__(self, config: Config):
        folder = config.run_dir / "sockets"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise LogError(f"{folder}, for the sockets, cannot be made: {refusal(error, folder)}") from None
        self.intake = f"ipc:///proc/self/fd/{self._fd}/intake"
        self.log = f"ipc:///proc/self/fd/{self._fd}/log"

    def close(self) -> None:
        """Closes the folder's descriptor; the addresses are of no use then."""
        os.close(self._fd)


def open_socket(kind: int, bound: int) -> zmq.Socket[bytes]:
    """A ZeroMQ socket that holds at most `bound` messages each way, and waits for nobody when it is closed."""
    sock: zmq.Socket[bytes] = zmq.Context.instance().socket(kind)
    sock.linger = 0
    sock.sndhwm = sock.rcvhwm = bound
    sock.reconnect_ivl = 5  # ms: a restarted peer is back on the ring at once
    sock.reconnect_ivl_max = 50
    return sock


class Producer:
    """Publishes a process's events: numbers them, appends them to its outbox, rings the sequencer.

    `number` is that of the last event ever published in this outbox; `folders` hold those that have not been released, in RAM
    and on disk. It publishes the outbox's alerts too.
    """

    def __init__(self, config: Config, name: str):
        self.name = name
        self._raw = producer_bytes(name)
        self._outbox = Outbox(config, name)
        self.folders = self._outbox.folders
        self.epoch = self._outbox.epoch
        self._places = Places(config)
        self._push = open_socket(zmq.PUSH, config.log.ring_messages)
        self._push.connect(self._places.intake)
        self.rings_lost = 0

    @property
    def number(self) -> int:
        """The number of the newest event that was published; 0 before the first."""
        return self._outbox.last

    def publish(self, events: Sequence[bytearray]) -> None:
        """Stamps events, appends them to the outbox, rings. They are on file when it returns. Raises OutboxFull."""
        if not events:
            return
        now = now_ns()
        first = self._outbox.last + 1
        number = first
        try:
            self._outbox.check_bound()
            for event in events:
                stamp_sent(event, self._raw, self.epoch, number, now)
                number += 1
            self._outbox.append(first, events)
        except LogFull as error:
            raise OutboxFull(str(error)) from None
        ring = PRODUCER_RING.pack(SCHEMA_VERSION, self._raw, self.epoch, first, len(events), 0) + b"".join(events)
        try:
            self._push.send(ring, zmq.NOBLOCK)
        except zmq.Again:
            self.rings_lost += 1  # the sequencer reads them from the file
        if (alert := self._outbox.due_alert()) is not None:
            log_alert(self.name, alert)
            with contextlib.suppress(OutboxFull):
                self.publish([encode(Kind.alert, self.name, alert)])

    @property
    def spills(self) -> int:
        """How often the outbox went on on disk, for RAM had no room."""
        return self._outbox.spills

    def close(self) -> None:
        """Closes the socket and the outbox."""
        self._push.close()
        self._outbox.close()
        self._places.close()


class Publisher:
    """Appends events to the log, and rings each lane.

    `publish` does both. Whoever appends and has something to do that is more urgent than what other processes do with the
    events calls `append`, and `ring` soon after: they are in the file, and who is asked for them reads them there.
    """

    def __init__(self, config: Config, log: LogWriter, previous: Sequence[int]):
        self._log = log
        self.previous = list(previous)  # last seq of each lane
        self._rung_ns = [0] * LANES
        self._unrung: list[bytearray] = []  # appended, up to the log's last event
        self._places = Places(config)
        self._pub = open_socket(zmq.PUB, config.log.ring_messages)
        self._pub.bind(self._places.log)

    def publish(self, first: int, batch: Sequence[bytearray]) -> None:
        """Appends the stamped events `first`, `first` + 1, … and rings; they are on file when it returns. Raises LogFull."""
        self.append(first, batch)
        self.ring()

    def append(self, first: int, batch: Sequence[bytearray]) -> None:
        """Appends the stamped events `first`, `first` + 1, …; they are on file when it returns. Raises LogFull."""
        self._log.append(first, batch)
        self._unrung += batch

    def ring(self) -> None:
        """Rings what was appended and not rung."""
        batch, self._unrung = self._unrung, []
        first = self._log.last + 1 - len(batch)
        start = 0
        while start < len(batch):  # runs of one lane; under load the market's are long
            lane = LANE_OF_KIND[kind_of(batch[start])]
            stop = start + 1
            while stop < len(batch) and LANE_OF_KIND[kind_of(batch[stop])] is lane:
                stop += 1
            self._ring(lane, first + start, batch[start:stop])
            self.previous[lane] = first + stop - 1
            start = stop

    def _ring(self, lane: Lane, first: int, run: Sequence[bytearray]) -> None:
        last, durable = first + len(run) - 1, self._log.durable
        head = LOG_RING.pack(lane.prefix, SCHEMA_VERSION, self._log.log_id, first, last, durable, *self.previous)
        self._rung_ns[lane] = time.monotonic_ns()
        self._pub.send(head + b"".join(run), zmq.NOBLOCK)

    def ring_silent(self, silent_ns: int) -> None:
        """Sends an empty ring on each lane that has been silent for so long, so that readers notice a lost last event."""
        now = time.monotonic_ns()
        for lane in Lane:
            if now - self._rung_ns[lane] >= silent_ns:
                self._ring(lane, self._log.last + 1, ())

    def close(self) -> None:
        """Closes the socket."""
        self._pub.close()
        self._places.close()


class Subscriber:
    """Gives every event of some lanes with seq > `after`, once and in order, however slow or late this process is.

    `after` None: what is published from now on; the log is not looked at before something of it is missed.
    `seq`: everything of these lanes up to here has been handed out; −1 while that is not known. `fd` is readable when
    `drain` should be called.
    """

    def __init__(self, config: Config, lanes: frozenset[Lane], after: int | None = 0):
        self._lanes = lanes
        self._kinds = frozenset(kind for kind, lane in LANE_OF_KIND.items() if lane in lanes)
        self._log_read = config.log.log_read
        self.seq = -1 if after is None else after
        self.durable_seq = 0
        self.log_id = 0
        self.head = 0  # newest seq of these lanes that this subscriber has heard of
        self.catch_ups = 0
        self.caught_up = 0
        self._target = self.seq  # while > seq: the log has to be read up to here
        self._waiting: bytes | None = None  # the ring that made us notice
        self._emptied = False  # the last `drain` has left nothing on the socket
        self._started = False  # the first read of the log is no loss,
        self._missed = False  # a later one is
        self._tail = Tail(config.log_dir, max(self.seq, 0))
        self._places = Places(config)
        self._sub = open_socket(zmq.SUB, config.log.ring_messages)
        for lane in lanes:
            self._sub.subscribe(lane.prefix)
        self._sub.connect(self._places.log)
        self.fd = int(self._sub.getsockopt(zmq.FD))

    def backlog(self) -> Iterator[list[Event]]:
        """Gives everything of these lanes that is in the log now, in order; `drain` goes on from there."""
        while batch := self._read(1 << 63):
            yield batch
        self._started = True

    @property
    def may_have_more(self) -> bool:
        """Whether the last `drain` may have left something here. If not, `fd` says when there is more: ZeroMQ signals what
        comes after an attempt that found nothing."""
        return not self._emptied or self._waiting is not None or self._target > self.seq

    def drain(self, messages: int = 64) -> list[Event]:
        """Gives the next events that have come; [] when nothing more is here now."""
        out: list[Event] = []
        self._emptied = False
        for _ in range(messages):
            if self._target > self.seq:
                if got := self._read(self._target):
                    if self._missed:
                        self.caught_up += len(got)
                    out += got
                    break
                if self._target > self.seq:
                    break  # not in the file yet: cannot be, it is appended before it is rung
            if self._waiting is not None:
                ring, self._waiting = self._waiting, None
            else:
                try:
                    ring = self._sub.recv(zmq.NOBLOCK)
                except zmq.Again:
                    self._emptied = True
                    break
            self._take(ring, out)
        return out

    def _take(self, ring: bytes, out: list[Event]) -> None:
        _lane, version, self.log_id, first, last, self.durable_seq, *previous = LOG_RING.unpack_from(ring)
        needed = max(previous[lane] for lane in self._lanes)
        if self.seq < 0:
            self.seq = first - 1 if last >= first else needed
        if version != SCHEMA_VERSION and last >= first:  # a sequencer of another version: the log itself says how to read it
            needed = last
        self.head = max(self.head, last if last >= first else 0, needed)
        first_ring, self._started = not self._started, True
        if needed > self.seq and self._log_read:
            self._missed = not first_ring
            self.catch_ups += self._missed
            self._target = needed
            self._waiting = ring
            return
        if last <= self.seq:
            return
        for event in events(ring, LOG_RING.size):
            if event.seq > self.seq:
                out.append(event)
        if last >= first:
            self.seq = last

    def _read(self, until: int) -> list[Event]:
        """The next part of the log, at most about 1 MiB, filtered by lane; `seq` moves over all of it."""
        self._tail.seek(self.seq)
        out: list[Event] = []
        while not out:
            batches = self._tail.read(READ_BYTES)
            if not batches:
                break
            for batch in batches:
                out += events_of(batch, self._kinds, self.seq)
                self.seq = max(self.seq, batch.last)
            self.head = max(self.head, self.seq)
            if self.seq >= until:
                break
        return out

    def close(self) -> None:
        """Closes the socket and the log."""
        self._tail.close()
        self._sub.close()
        self._places.close()

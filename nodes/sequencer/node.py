"""Puts everything into one durable, totally ordered log: takes each producer's next event, arbitrates, numbers, appends, rings.

When it dies, producers go on into their outboxes; it resumes from the log's last segment and reads what it missed.
It can host lines, steps and the session in its own process (`host` in mesh.toml): same code, same log, fewer hops.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from tickmesh.bus.blocked import BlockedFile
from tickmesh.bus.clock import ClockWriter, Correction
from tickmesh.bus.config import Config
from tickmesh.bus.intake import Intake, Received
from tickmesh.bus.layout import header_reader
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.names import producer_bytes
from tickmesh.bus.operator_log import log_alert, log_line
from tickmesh.bus.process import Context
from tickmesh.bus.schema import CLOCK, Kind
from tickmesh.bus.segments import LogError, LogFull, read_preamble, segments
from tickmesh.bus.sockets import Publisher
from tickmesh.bus.wire import clear_producer, decode, encode, stamp_sent, stamp_sequenced, text_of
from tickmesh.nodes.runner.guests import Guests
from tickmesh.nodes.sequencer import eras, statements
from tickmesh.nodes.sequencer.arbiter import ARBITRATED, Arbiter
from tickmesh.nodes.sequencer.corrections import alert
from tickmesh.nodes.sequencer.counting import arbitration_counters
from tickmesh.nodes.sequencer.cursors import NAME, LogPosition
from tickmesh.nodes.sequencer.open_log import SequencerLog
from tickmesh.nodes.sequencer.trade_gaps import MISSING_MAX

READS: tuple[Kind, ...] = ()
WRITES = (Kind.gap, Kind.clock, Kind.cursor, Kind.line)

OF_THE_LOG = frozenset((int(Kind.watermark), int(Kind.coverage)))  # they speak of one log, by its seq
MILLISECOND = 1_000_000
TICK_S = 0.02
SWEEP_NS = 250 * MILLISECOND
CURSOR_NS = 1000 * MILLISECOND
LINE_NS = 10 * CURSOR_NS
BATCH_EVENTS = 4096
UNPUBLISHED_NS = 10 * MILLISECOND  # of a slew; more stands in the log at once, also where nothing is ever silent
CORRECTIONS_MAX = 100  # of the clock, that wait for room on the disk: the oldest are said in sum only
_read_taken = header_reader("kind", "subject", "sent_ns")
_read_logged = header_reader("kind", "producer", "subject")
_read_link = header_reader("kind", "producer", "subject", "link")


class Sequencer:
    """The log's writer: arbitrates, numbers and appends events. An event loop calls `turn()` when the intake has something."""

    def __init__(self, config: Config):
        self.config = config
        log = config.log
        self.arbiter = Arbiter(log.hold_ms * MILLISECOND, log.contradictions, log.eras, log.unsynced)
        self.position = LogPosition(self.arbiter)
        self._recovered = False
        self.blocked = BlockedFile(config.run_dir, NAME)
        self.log = LogWriter(
            config.log_dir, segment_bytes=config.log.segment_bytes, sync_ms=config.log.sync_ms, state=self._state
        )
        self._recover()
        try:
            self.clock = ClockWriter(config.log_dir, self.position.seq_ns, log.steady_clock)
        except OSError as error:
            self.log.close()
            raise LogError(
                f"the clock beside {config.log_dir} cannot be written: {error.strerror}; make room or permit it"
            ) from None
        # Of a new log: what outboxes still hold of an older one that was moved away is said before this.
        self._begun_ns = 0 if self.log.last else self.clock.now_ns()
        self.corrections: deque[Correction] = deque(maxlen=CORRECTIONS_MAX)  # not said yet
        self.intake = Intake(config, self.position.cursors)
        self.publisher = Publisher(config, self.log, self.position.previous)
        self._recovered = True
        self._epochs = {name: cursor.epoch for name, cursor in self.position.cursors.items()}  # of what was arbitrated
        self.waiting: deque[list[bytearray]] = deque()  # appended to nothing yet: the disk is full
        self.logged: list[Callable[[list[bytearray]], None]] = []  # called with each batch that is in the log
        self.appended: list[Callable[[], None]] = []  # called when an append is over: guests answer then
        # calls what it is given in a moment; None: at once
        self.ring_later: Callable[[Callable[[], None]], object] | None = None
        self._rings = False  # … and is about to
        self._epoch = self.log.log_id
        self._producer = producer_bytes(NAME)
        self._last_append = self._last_sweep = self._last_cursor = self._last_line = time.monotonic_ns()
        self.closed = False
        self.refused = 0  # tries that a full disk has turned down in a row
        self.batches = 0
        self.batch_max = 0
        self.forgotten_reported = 0

    def _state(self) -> bytes:
        """For the head of a new segment: true when everything taken is in the log or held."""
        if not self._recovered:  # a new identity's first segment, before the old ones have been read
            return b""
        self.publisher.ring()
        self.position.previous = self.publisher.previous
        return self.position.pack()

    def _recover(self) -> None:
        """Replays the segments since the last whole state; a segment begun by a new identity has none of its own."""
        found = segments(self.config.log_dir)
        start = len(found) - 1
        while start > 0 and not read_preamble(found[start][1]).state:
            start -= 1
        first, path = found[start]
        self.position.restore(read_preamble(path).state)
        self.position.replay(LogReader(self.config.log_dir).events(first - 1))
        if self.log.identities[-1].first > self.log.last:  # an epoch in which it has published nothing yet
            self.position.number = 0

    # -- taking

    def turn(self, messages: int = 256) -> bool:
        """Takes what has come, arbitrates and logs it; whether anything came. Call again while the intake may have more."""
        if self.waiting:
            return False
        taken = self.intake.receive(messages)
        if taken:
            self.sequence(taken)
        return bool(taken)

    def sequence(self, taken: list[Received]) -> None:
        """Arbitrates events that were taken, and appends what goes into the log."""
        now = time.monotonic_ns()
        out: list[bytearray] = []
        offer, epochs = self.arbiter.offer, self._epochs
        for producer, epoch, number, event in taken:
            if epoch != epochs.get(producer):
                self._begin_numbers(producer, epoch)
            kind, raw_subject, sent_ns = _read_taken(event)
            if kind in ARBITRATED:
                out += offer(kind, text_of(raw_subject), producer, number, event, now)
            elif kind == Kind.gap:  # backfill's word: what it changes, the arbiter says
                out += self.arbiter.declare(text_of(raw_subject), producer, decode(event).records)
            elif kind not in OF_THE_LOG or sent_ns >= self._begun_ns:
                if kind == Kind.instrument:  # with an id it begins a connection; `run` begins a process
                    if (head := decode(event)).last_id:
                        self.arbiter.connected(producer, number, head.subject, head.k)
                elif kind == Kind.run:
                    self.arbiter.connected(producer, number)
                out.append(event)
        self.append(out)

    def take_outboxes(self) -> None:
        """Takes and logs what is in the outboxes now, part by part: to the end, or until the disk takes no more."""
        self.sequence(self.intake.sweep(0))
        while self.intake.behind and not self.waiting:
            self.turn()

    def append(self, out: list[bytearray]) -> None:
        """Numbers, appends and rings events, in batches of a bounded size. A full disk is retried, nothing is lost."""
        waiting = self.waiting
        for start in range(0, len(out), BATCH_EVENTS):
            waiting.append(out[start : start + BATCH_EVENTS])
        while waiting:
            try:
                self._append(waiting[0])
            except LogFull as error:
                if not self.refused:
                    self.blocked.write(str(error))
                    log_line(NAME, "critical", f"{error}; retrying, producers keep their events")
                self.refused += 1
                self.publisher.ring()
                return
            waiting.popleft()
        if self.refused:
            log_line(NAME, "info", f"the log takes data again after {self.refused} tries")
            self.refused = 0
            self.blocked.clear()
        if not self._rings:
            self._ring()
        for appended in self.appended:
            appended()

    def _ring(self) -> None:
        """Rings at once; where there are guests, after what they do because of it: an order does not wait for other readers."""
        if self.ring_later is None:
            self.publisher.ring()
        else:
            self._rings = True
            self.ring_later(self._ring_now)

    def _ring_now(self) -> None:
        self._rings = False
        if not self.closed:
            self.publisher.ring()

    def _begin_numbers(self, producer: str, epoch: int) -> None:
        """Notes that a producer's numbers begin anew, with a new outbox or without one."""
        if producer in self._epochs:
            eras.forget_numbers(self.arbiter.streams, producer)
        self._epochs[producer] = epoch

    def is_held(self, producers: Collection[str]) -> bool:
        """Whether events of these producers wait for others: they stand in an outbox alone."""
        return any(self.arbiter.held_numbers(producer) for producer in producers)

    def _append(self, batch: list[bytearray]) -> None:
        first = seq = self.log.last + 1
        seq_ns = max(self.clock.now_ns(), self.position.seq_ns + 1)  # one more for each: a join by time sees none that is later
        links = self.position.links
        number = self.position.number
        alerts: list[bytearray] = []
        for event in batch:
            kind, sender, raw_subject = _read_logged(event)
            topic = kind, text_of(raw_subject)
            if not sender[0]:  # the sequencer's own: no outbox has stamped it
                number += 1
                if kind == Kind.alert:
                    alerts.append(event)
                stamp_sent(event, self._producer, self._epoch, number, seq_ns)
            stamp_sequenced(event, seq, links.get(topic, 0), seq_ns)
            links[topic] = seq
            seq += 1
            seq_ns += 1
        try:
            self.publisher.append(first, batch)
        except LogFull:
            for event in reversed(batch):
                kind, sender, raw_subject, link = _read_link(event)
                links[kind, text_of(raw_subject)] = link
                if sender == self._producer:
                    clear_producer(event)
            raise
        for event in alerts:
            log_alert(NAME, decode(event).map())
        self.position.number = number
        self.position.seq_ns = seq_ns - 1
        self._last_append = time.monotonic_ns()
        self.batches += 1
        self.batch_max = max(self.batch_max, len(batch))
        for logged in self.logged:
            logged(batch)

    # -- time

    def tick(self) -> None:
        """Does what time alone brings: lost rings, holes given up, the clock, cursors. While the disk is full: nothing new."""
        now = time.monotonic_ns()
        self.corrections += self.clock.look()
        if self.waiting:
            self.append([])
        if self.waiting:
            return
        while self.corrections and not self.waiting:  # first of all: a step is said with the first event that it moves
            self._append_clock([encode(Kind.alert, NAME, alert(self.corrections.popleft(), self.clock.offset_ns))])
        with contextlib.suppress(LogFull):  # the next append tells
            self.log.roll_if_full()  # only here: everything taken is in the log or held, as the segment's head says
        if now - self._last_sweep >= SWEEP_NS:
            self._last_sweep = now
            self.sequence(self.intake.sweep(SWEEP_NS))
        self.append(self.arbiter.due(now))
        if self.arbiter.trade_gaps.forgotten > self.forgotten_reported:
            self._raise_forgotten()
        if now - self._last_cursor >= CURSOR_NS and self.position.cursors and not self.waiting:
            self._last_cursor = now
            records = self.position.records()
            self.append([encode(Kind.cursor, NAME, records)])
            if not self.waiting:  # outboxes are released when the log has what was in them
                self.intake.release({r["producer"].decode(): int(r["number"]) for r in records})
        if now - self._last_line >= LINE_NS and not self.waiting:
            self._last_line = now
            self.append(statements.line_reports(self.arbiter.in_order(), self.clock.now_ns()))
        silent = now - self._last_append >= self.config.log.clock_ms * MILLISECOND
        if (silent or abs(self.clock.unpublished_ns) >= UNPUBLISHED_NS) and not self.waiting:
            self._append_clock([])
        self.publisher.ring_silent(self.config.log.clock_ms * MILLISECOND)

    def _append_clock(self, alerts: list[bytearray]) -> None:
        unpublished_ns = self.clock.unpublished_ns
        record = np.array([(self.clock.now_ns(), self.log.durable, unpublished_ns)], CLOCK)
        self.append([encode(Kind.clock, NAME, record), *alerts])
        self.clock.published(unpublished_ns)

    def _raise_forgotten(self) -> None:
        self.forgotten_reported = self.arbiter.trade_gaps.forgotten
        self.append([statements.forgotten_gaps(self.forgotten_reported, MISSING_MAX)])

    def close(self) -> None:
        """Ends arbitration and closes intake, sockets and log."""
        self.publisher.ring()
        self.closed = True
        self.intake.close()
        self.publisher.close()
        self.log.close()
        self.clock.close()
        self.blocked.close()


class SequencerContext(Context):
    """The context of the sequencer's own node, whose events go straight into the log: the log is its outbox."""

    sequencer: Sequencer

    def publish(self, events: list[bytearray]) -> None:
        """Stamps the sequencer's own events and appends them to the log."""
        sequencer = self.sequencer
        if events and not sequencer.refused and not sequencer.closed:  # a full disk: what it would say of itself can wait
            sequencer.append(events)

    def health(self) -> dict[str, Any]:
        """The content of the sequencer's `health` events."""
        s = self.sequencer
        return {
            **super().health(),
            "seq": s.log.last,
            "durable_seq": s.log.durable,
            "batches": s.batches,
            "batch_max": s.batch_max,
            "outbox_catch_ups": s.intake.catch_ups,
            "outbox_caught_up": s.intake.caught_up,
            "unreadable": s.intake.unreadable,
            "unreleased": s.intake.unreleased,
            "repeated": s.intake.repeated,
            **arbitration_counters(s.arbiter),
            "clock_offset_ms": round(s.clock.offset_ns / 1e6, 3),
            "clock_corrected_ms": round(s.clock.clock.corrected_ns / 1e6, 3),
            "clock_steps": s.clock.clock.steps,
            "clock_slews": s.clock.clock.slews,
            "clock_suspends": s.clock.clock.suspends,
        }


async def run(ctx: SequencerContext, guests: Guests | None = None) -> None:
    """Writes the log until the context stops, and hosts `guests`. Raises what a bug raises, and what ends the log."""
    sequencer = ctx.sequencer = Sequencer(ctx.config)
    loop = asyncio.get_running_loop()
    sequencer.logged += [ctx.spinning.go_on] if ctx.spinning is not None else []
    failure: list[BaseException] = []
    scheduled = False

    def on_readable() -> None:
        # Drain until nothing comes (ZeroMQ's descriptor is edge-triggered), but let the loop breathe between turns.
        nonlocal scheduled
        try:
            more = not failure and sequencer.turn() and sequencer.intake.may_have_more
        except Exception as error:  # noqa: BLE001 - the loop would swallow it: the process ends with it instead
            failure.append(error)
            ctx.stop.set()
            return
        if more and not scheduled:
            scheduled = True
            loop.call_soon(again)

    def again() -> None:
        nonlocal scheduled
        scheduled = False
        on_readable()

    loop.add_reader(sequencer.intake.fd, on_readable)
    clean = False
    try:
        ctx.ready(log_id=f"{sequencer.log.log_id:016x}", first_seq=sequencer.log.last + 1)
        sequencer.take_outboxes()
        log_line(NAME, "info", f"has taken what was in the outboxes: the log ends at seq {sequencer.log.last}")
        waiting_guests = guests
        while not ctx.stop.is_set():
            unlogged = sequencer.waiting or sequencer.intake.behind
            if waiting_guests is not None and not unlogged and not sequencer.is_held(waiting_guests.outboxes):
                sequencer.ring_later = loop.call_soon
                waiting_guests.start(SequencerLog(sequencer))  # only now: it removes their outboxes, which must be in the log
                waiting_guests = None
            sequencer.tick()
            on_readable()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await ctx.stop.wait()
        if failure:
            raise failure[0]
        if guests is not None:  # while the log still takes what they say last
            await guests.end()
        clean = True
    finally:
        loop.remove_reader(sequencer.intake.fd)
        if clean:  # after a failure nothing more is taken: it is in the outboxes, and the next start finds it there
            drain(sequencer)
        sequencer.close()


def drain(sequencer: Sequencer, quiet_s: float = 0.1, at_most_s: float = 0.5) -> None:
    """Takes at a clean stop what producers have still published, and gives up holes; what comes later waits in outboxes."""
    end, quiet = time.monotonic() + at_most_s, time.monotonic() + quiet_s
    while time.monotonic() < min(quiet, end):
        if sequencer.turn():
            quiet = time.monotonic() + quiet_s
        else:
            time.sleep(0.002)
    sequencer.take_outboxes()
    sequencer.append(sequencer.arbiter.end())
    sequencer.append(statements.line_reports(sequencer.arbiter.in_order(), sequencer.clock.now_ns()))
    if sequencer.position.cursors:
        sequencer.append([encode(Kind.cursor, NAME, sequencer.position.records())])

"""One line of a venue's market data: subscribe, receive, parse exactly, say.

Every frame is said in the order of its coming and nothing is dropped; a frame that cannot be understood is a refusal with its
bytes. Depth changes are said as they come, with a book or without. Connections are replaced with overlap before the venue ends
them, and when one of their streams falls silent. When it dies the other lines carry on, and it comes back with fresh
snapshots; when the sequencer is away, its outbox fills, and at the bound it stops reading the sockets.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable
from functools import partial

from tickmesh.bus.clock import now_ns
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.settings import Instrument
from tickmesh.bus.sockets import OutboxFull
from tickmesh.bus.space import Space, free_of
from tickmesh.bus.wire import encode
from tickmesh.nodes import venues
from tickmesh.nodes.feed.arrived import Arrived
from tickmesh.nodes.feed.connection import LineConnection
from tickmesh.nodes.feed.freshness import Freshness
from tickmesh.nodes.feed.given_up import GivenUp
from tickmesh.nodes.feed.line_names import line_of
from tickmesh.nodes.feed.pacing import Conversation
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.feed.rest_requests import LineRequests
from tickmesh.nodes.feed.streams import Key, Source, subject_of, topic_of
from tickmesh.nodes.net import websocket
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.budget import Attempts, budget_of
from tickmesh.nodes.net.endpoints import Hopping
from tickmesh.nodes.net.websocket import Disconnected, Oversize
from tickmesh.nodes.runner.disk_space import feed_watch

READS: tuple[Kind, ...] = ()
WRITES = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.raw)

FULL_LOOK_S = 0.02  # between two tries to say what the full outbox did not take
SAY_EVENTS = 128  # a read under load brings over a thousand frames: the first need not wait for the last
END_S = 2.0  # for the tasks to end; then the process ends without them
WATCH_S = 0.5
OVERLAP_LOOK_S = 0.01
CALM_S = 60.0  # renewals farther apart than this are no series
RENEWAL_BACKOFF_S = (1.0, 60.0)
RESUBSCRIBE_S = (2.0, 60.0)  # a venue's answer is a whole book: it takes its time
IMAGE_S = 5.0  # between two images of books that another line cannot go on with
CONNECTION_WINDOW_S = 300.0
COUNTERS = (
    "frames", "events", "connections", "reconnects", "renewals", "shutdowns", "refused_frames", "resyncs", "resubscriptions",
    "snapshots", "outbox_full", "rest_failures", "used_weight", "stale_streams", "hops", "depth_left_out",
    "raw_left_out", "oversize",
)  # fmt: skip


class Line:
    """The connections for all instruments of a venue, kept up for ever."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.settings = settings = ctx.config.feed
        venue, number = line_of(ctx.config, ctx.instance)
        self.adapter = adapter = venues.module(venue)
        self.instruments = [i for i in ctx.config.instruments if i.venue == venue]
        self.subscribed = self.instruments[: adapter.INSTRUMENTS_MAX or None]
        self.given_up = GivenUp(adapter.VENUE, adapter.FRAME_BYTES_MAX)
        self.count = ctx.counters
        self.count.update(dict.fromkeys(COUNTERS, 0), last_frame_age=-1.0)
        self.reception = Reception(ctx.name, adapter, self.instruments, settings, raw=settings.raw)
        self.hopping = Hopping(ctx.config, adapter, number)
        self.local_addr = settings.local_addr[(number - 1) % len(settings.local_addr)] if settings.local_addr else ""
        self.requests = LineRequests(
            adapter,
            self.reception,
            self.hopping,
            settings,
            budget_of(ctx.config, adapter, settings.weight_share / settings.lines),
            self.count,
            self.heard_by_rest,
            self.alert,
            self.came_back,
            self.local_addr,
        )
        self.attempts = Attempts(settings.connections_per_5_minutes, CONNECTION_WINDOW_S)
        self.backoff = Backoff(settings.backoff_s)
        self.renewal_backoff = Backoff(RENEWAL_BACKOFF_S)
        self.renewal = asyncio.Event()
        self.renewed_s = -CALM_S
        self.stale: set[Key] = set()
        self.freshness = Freshness(settings.fresh_min_s, settings.fresh_times)
        self.disk = feed_watch(str(ctx.config.source_dir))
        self.lives: list[LineConnection] = []  # that are open
        self.unsaid: list[bytearray] = []  # at most what one read of each socket brought
        self.heard_ns = 0

    # The way of a frame: socket → reception → outbox, in one call.

    def on_frames(self, live: LineConnection, recv_ns: int, frames: list[bytes]) -> None:
        """All that one read of a socket brought, said as one batch, or as several where it brought a lot."""
        source, reception = live.source or self.begin(live), self.reception
        for start in range(0, len(frames), SAY_EVENTS):
            part = frames if len(frames) <= SAY_EVENTS else frames[start : start + SAY_EVENTS]
            said, refused, attention = reception.frames(source, recv_ns, part)
            if attention or not live.flowed:
                self.act_on_frames(
                    live, refused
                )  # before what it brought: a `run` event stands before the first of its process
            if said:
                self.publish(said)
        self.count["frames"] += len(frames)
        self.heard_ns = recv_ns

    def begin(self, live: LineConnection) -> Source:
        """The connection is open: what it brings is heard from now on."""
        for other in tuple(self.lives):
            if other.over:
                self.end(other)
        self.count["connections"] += 1
        if not self.lives:
            self.freshness.began(time.monotonic())
            self.requests.ask_about_all()
        live.source, said = self.reception.open(self.count["connections"], now_ns(), live.at_once)
        self.lives.append(live)
        self.publish(said)
        return live.source

    def begin_flow(self, live: LineConnection) -> None:
        live.flowed = True
        live.flowed_s = time.monotonic()
        self.requests.wanted.set()
        self.ctx.ready()
        for alert in self.given_up.leave_out(self.instruments[len(self.subscribed) :], len(self.subscribed)):
            self.alert(*alert)

    def act_on_frames(self, live: LineConnection, refused: Iterable[tuple[str, bytes]] = ()) -> None:
        """Takes in what frames brought beside events: that a connection flows, refusals, wishes of books, an announced end."""
        if live.source is not None and live.source.flowing and not live.flowed:
            self.begin_flow(live)
        self.publish_refusals(refused)
        self.look_after_books()
        if live.source is not None and live.source.shutdown and not live.warned:
            live.warned = True
            self.count["shutdowns"] += 1
            self.renewal.set()

    def look_after_books(self) -> None:
        """Some may want something now."""
        self.requests.wanted.set()
        self.resubscribe()

    def publish_refusals(self, refused: Iterable[tuple[str, bytes]]) -> None:
        for why, raw in refused:
            self.count["refused_frames"] += 1
            self.ctx.refuse(self.ctx.name, why, raw)

    def came_back(self, subject: str) -> None:
        """The venue has come to know an instrument: its streams were refused, or are silent."""
        for live in self.lives:
            self.subscribe(live, [self.reception.instruments[subject]])

    def heard_by_rest(self, heard: Arrived) -> None:
        self.publish(heard.said)
        self.publish_refusals(heard.refused)
        for live in self.lives:
            self.act_on_frames(live)

    def publish(self, events: list[bytearray]) -> None:
        """Never raises and never drops: what the full outbox does not take stops the sockets until it does."""
        if self.unsaid:
            self.unsaid += events
            return
        try:
            self.ctx.publish(events)
            self.count["events"] += len(events)
        except OutboxFull:
            self.count["outbox_full"] += 1
            self.unsaid += events
            for live in self.lives:
                live.pause()
            asyncio.get_running_loop().call_later(FULL_LOOK_S, self.publish_again)

    def publish_again(self) -> None:
        events, self.unsaid = self.unsaid, []
        self.publish(events)
        if not self.unsaid:
            self.freshness.excuse(time.monotonic())
            for live in self.lives:
                live.resume()

    def alert(self, level: str, what: str, target: str, why: str, action: str) -> None:
        content = {"level": level, "what": what, "target": target, "why": why, "action": action}
        self.publish([encode(Kind.alert, self.ctx.name, content)])

    # Connections.

    async def keep_connected(self) -> None:
        live: LineConnection | None = None
        while True:
            try:
                live = await (self.connect(()) if live is None else self.serve(live))
            except Disconnected as error:
                live = None
                self.stale.clear()  # both were about the connection that is gone
                self.renewal.clear()
                self.failed(error)
                self.count["reconnects"] += 1
                await asyncio.sleep(self.backoff.wait_s())

    async def connect(self, at_once: Iterable[Key]) -> LineConnection:
        """An open connection, with its subscriptions under way. Raises Disconnected."""
        await self.attempts.take()
        adapter, settings = self.adapter, self.settings
        url = await self.hopping.ws() + adapter.path(self.instruments, settings)
        quiet_s = min(settings.stale_s, adapter.QUIET_S)
        live = LineConnection(at_once)
        on_frames = partial(self.on_frames, live)
        live.connection = await websocket.connect(
            url, on_frames, quiet_s, local_addr=self.local_addr, bytes_max=adapter.FRAME_BYTES_MAX
        )
        if live.source is None:
            self.begin(live)
        if self.unsaid:
            live.pause()
        ping_s = adapter.PING_S if adapter.PING else settings.ping_s
        live.talk(Conversation(live.connection, adapter.MESSAGES_PER_S, adapter.PING, ping_s), self.ctx.own)
        self.subscribe(live, self.subscribed)
        now_s = time.monotonic()
        life_s = min(settings.renew_s, adapter.LIFE_S * 0.95 or settings.renew_s)
        live.due_s = now_s + life_s * random.uniform(0.9, 1.0)
        live.expect_books(self.instruments, RESUBSCRIBE_S, now_s + 5 * RESUBSCRIBE_S[0])
        return live

    def subscribe(self, live: LineConnection, instruments: list[Instrument]) -> None:
        """All of their streams, but books that are given up."""
        for books in (True, False):
            some = [one for one in instruments if (one.subject in self.given_up.why) is not books]
            if some:
                live.send(self.adapter.subscribe(some, self.settings, books))

    async def serve(self, live: LineConnection) -> LineConnection:
        """Until the connection is replaced: gives the one that speaks now. Raises Disconnected when it broke."""
        if not self.settings.renew:
            await asyncio.wait((live.closed,))
            raise self.broken(live)
        wanted = asyncio.create_task(self.renewal.wait())
        wait_s = max(0.0, live.due_s - time.monotonic())
        try:
            await asyncio.wait((live.closed, wanted), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
        if live.over:
            raise self.broken(live)
        return await self.renew(live)

    async def renew(self, old: LineConnection) -> LineConnection:
        """Replaces a connection by a new one that runs beside it until both are known to bring the same."""
        at_once, self.stale = self.stale, set()
        self.renewal.clear()
        if time.monotonic() >= old.due_s:
            self.given_up.take_up_again(self.subscribed)
        if time.monotonic() - self.renewed_s > CALM_S:
            self.renewal_backoff.reset()
        else:
            await asyncio.wait((old.closed,), timeout=self.renewal_backoff.wait_s())
        self.renewed_s = time.monotonic()
        self.count["renewals"] += 1
        if old.source is not None and old.source.shutdown:
            self.hopping.hop_ws()  # where there is another server, it is not this one that is about to end
        connecting = asyncio.create_task(self.connect(at_once))
        try:
            await asyncio.wait((connecting, old.closed), return_when=asyncio.FIRST_COMPLETED)
            if old.over:
                self.end(old)
            new = await connecting
        except Disconnected as error:
            if old.over:
                raise
            self.failed(error)
            return self.try_later(old, at_once)
        finally:
            connecting.cancel()
        return await self.overlap(old, new)

    async def overlap(self, old: LineConnection, new: LineConnection) -> LineConnection:
        """Both connections run. Gives the one that speaks afterwards."""
        begin_s = time.monotonic()
        end_s = begin_s + self.settings.overlap_s
        while not (old.over or new.over or self.reception.joined or time.monotonic() > end_s):
            await asyncio.sleep(OVERLAP_LOOK_S)
        self.count["overlap_s"] = round(time.monotonic() - begin_s, 3)
        if new.over or not (old.over or new.flowed):
            if old.over:
                self.end(old)
                raise self.broken(new)
            self.failed(self.broken(new) if new.over else Disconnected(self.drop(new, "nothing came on it in time")))
            return self.try_later(old, new.at_once)
        mute = self.reception.mute
        if mute and not old.over and not (old.source and old.source.shutdown):
            self.failed(Disconnected(self.drop(new, f"it does not bring {', '.join(map(topic_of, mute))}")))
            return self.try_later(old, new.at_once)
        if old.over:
            self.end(old)
        elif self.reception.successor is not None:
            self.publish(self.reception.hand_over(now_ns()))
            self.look_after_books()
            self.drop(old, "replaced")
        self.freshness.began(time.monotonic())
        self.requests.ask_about_all()
        return new

    def try_later(self, old: LineConnection, at_once: Iterable[Key]) -> LineConnection:
        """The renewal failed, and the old connection still works."""
        self.stale |= set(at_once)
        old.due_s = time.monotonic() + self.renewal_backoff.wait_s()
        return old

    def broken(self, live: LineConnection) -> Disconnected:
        """Ends it; the reason. Raises what a bug in here raised."""
        self.end(live)
        assert live.connection is not None
        if live.flowed and time.monotonic() - live.flowed_s >= self.settings.backoff_s[1]:
            self.backoff.reset()  # one that is acknowledged and closed again and again is no success
        if live.connection.failure is not None:
            raise live.connection.failure
        return Disconnected(live.closed.result())

    def end(self, live: LineConnection) -> None:
        """The connection is over, or is not heard any more."""
        if live in self.lives:
            self.lives.remove(live)
            live.stop_sending()
            if live.connection is not None and live.connection.failure is not None:
                self.ctx.fail(live.connection.failure)
            if live.source is not None:
                self.publish(self.reception.close(live.source, now_ns()))
                self.look_after_books()
            if live.connection is not None and live.connection.oversize is not None:
                self.give_up(live.connection.oversize)

    def give_up(self, message: Oversize) -> None:
        """A message beyond the bound ended a connection."""
        self.count["oversize"] += 1
        subject = self.adapter.book_of(message.head, self.reception.routes)
        if (alert := self.given_up.oversize(subject, message.size, message.head, time.monotonic())) is not None:
            self.alert(*alert)

    def drop(self, live: LineConnection, why: str) -> str:
        """Says goodbye to a connection that is not wanted any more."""
        self.end(live)
        assert live.connection is not None
        self.ctx.own(live.connection.close())
        return why

    def failed(self, error: Disconnected) -> None:
        self.count["last_error"] = str(error)[:200]
        self.hopping.hop_ws()

    # What time brings.

    def resubscribe(self) -> None:
        """Asks for fresh books on the stream, each with its own patience."""
        for live in self.lives:
            if live.source is None:
                continue
            for instrument in self.reception.wanted_resubscriptions(live.source):
                patience = live.patience.get(instrument.subject)
                if patience is not None and time.monotonic() >= patience.not_before:
                    patience.not_before = time.monotonic() + patience.backoff.wait_s()
                    self.count["resubscriptions"] += 1
                    live.send(self.adapter.resubscribe(instrument, self.settings))

    async def watch(self) -> None:
        """Freshness, the disk, counters."""
        looked_s, imaged_s = -self.ctx.config.disk.look_s, time.monotonic()
        while True:
            now_s = time.monotonic()
            if now_s - looked_s >= self.ctx.config.disk.look_s:
                looked_s = now_s
                self.look_at_disk()
            if self.unsaid:
                self.freshness.excuse(now_s)
            elif len(self.lives) == 1:
                self.look_at_streams(self.lives[0], now_s)
            if now_s - imaged_s >= IMAGE_S and not self.unsaid:  # a whole book is not to wait in memory
                imaged_s = now_s
                self.publish(self.reception.images(now_ns()))
            self.resubscribe()
            self.show()
            await asyncio.sleep(min(WATCH_S, self.settings.fresh_min_s / 4))

    def look_at_streams(self, live: LineConnection, now_s: float) -> None:
        assert live.source is not None
        stale = self.freshness.look(now_s, {key: stream.events for key, stream in live.source.streams.items()})
        for key, silent_s in stale.items():
            self.requests.ask_about(subject_of(key))
            if self.has_been_told(key):  # and a renewal would bring nothing
                continue
            self.renewal.set()
            self.count["stale_streams"] += 1
            self.stale.add(key)
            limit_s = self.freshness.limit_s(self.freshness.pulses[key])
            why = f"silent for {silent_s:.1f} s on a connection that is heard"
            self.alert("warning", "stale_stream", topic_of(key), why, f"renewed; patience is now {limit_s:.0f} s")
        for key in self.freshness.unheard(now_s):
            if not self.has_been_told(key):
                why = f"nothing of it has come for {self.settings.fresh_min_s:.0f} s, since this process began"
                self.alert("warning", "never_heard", topic_of(key), why, "none: others go on")
        self.count["never_heard"] = [topic_of(key) for key in self.freshness.never]

    def has_been_told(self, key: Key) -> bool:
        """Why the stream is silent."""
        subject = subject_of(key)
        return subject in self.requests.standings.words or subject in self.given_up.why

    def look_at_disk(self) -> None:
        try:
            free = free_of(self.ctx.config.source_dir)
        except OSError:  # looked at again in a moment
            return
        alert, space = self.disk.look(free, self.ctx.config.disk), self.disk.room.bytes
        self.count["disk"], self.count["free_bytes"] = space.name, free.bytes
        if alert is None:
            return
        self.count["disk_steps"] = self.count.get("disk_steps", 0) + 1
        self.alert(*alert)
        self.publish(self.reception.leave_out_depth(space == Space.critical))
        self.publish(self.reception.keep_raw(self.settings.raw and space == Space.enough, now_ns()))
        self.look_after_books()

    def show(self) -> None:
        self.count["last_frame_age"] = round((now_ns() - self.heard_ns) / 1e9, 3) if self.heard_ns else -1.0
        self.count["resyncs"] = self.reception.resyncs
        self.count["depth_left_out"] = self.reception.left_out
        self.count["raw_left_out"] = self.reception.raw_left_out
        self.count["hops"] = self.hopping.hops
        self.count["given_up"] = dict(self.given_up.why)
        connection = self.lives[0].connection if self.lives else None
        if connection is not None and connection.round_trip_s is not None:
            self.count["ping_ms"] = round(connection.round_trip_s * 1e3, 3)


async def run(ctx: Context) -> None:
    """Until the context stops. Raises what a bug raises; what venues and networks do is survived."""
    line = Line(ctx)
    requests = line.requests
    jobs = (line.keep_connected, line.watch, requests.keep_definitions, requests.keep_books, requests.keep_time)
    tasks = [*(ctx.own(job()) for job in jobs), ctx.own(ctx.stop.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=END_S)
        for live in tuple(line.lives):
            line.end(live)
            if live.connection is not None:
                live.connection.abort("this line ends it")
        if line.unsaid:
            with contextlib.suppress(OutboxFull):
                ctx.publish(line.unsaid)
        await requests.rest.close()

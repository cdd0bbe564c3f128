"""One line of a venue: what its connections bring becomes events, and what is asked of the venue follows from it."""

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping

from tickmesh.bus.clock import now_ns
from tickmesh.bus.instruments import DecidedInstruments, ExponentDecision
from tickmesh.bus.operator_log import log_line
from tickmesh.bus.process import Context
from tickmesh.bus.settings import Instrument
from tickmesh.nodes.feed.arrived import Arrived
from tickmesh.nodes.feed.connection import LineConnection
from tickmesh.nodes.feed.freshness import Freshness
from tickmesh.nodes.feed.given_up import GivenUp
from tickmesh.nodes.feed.line_names import line_of
from tickmesh.nodes.feed.publishing import LinePublisher
from tickmesh.nodes.feed.reachability import STREAM, Reachability
from tickmesh.nodes.feed.reception import Reception
from tickmesh.nodes.feed.rest_requests import LineRequests
from tickmesh.nodes.feed.streams import Key, Source
from tickmesh.nodes.net.budget import budget_of
from tickmesh.nodes.net.endpoints import VenueAddresses
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.net.websocket import Oversize
from tickmesh.nodes.venues.parsing.decimals import DecimalError
from tickmesh.nodes.venues.parsing.listing import Listed, exponents_of
from tickmesh.nodes.venues.table import adapter_of

PUBLISH_FRAMES_MAX = 128  # a read under load brings over a thousand frames: the first need not wait for the last
RESUBSCRIBE_S = (2.0, 60.0)  # a venue's answer is a whole book: it takes its time
COUNTERS = (
    "frames", "events", "connections", "reconnects", "renewals", "shutdowns", "refused_frames", "resyncs", "resubscriptions",
    "snapshots", "outbox_full", "rest_failures", "used_weight", "stale_streams", "hops", "depth_left_out",
    "raw_left_out", "oversize",
)  # fmt: skip


class Line:
    """All instruments of a venue on one line. `connections`: those that are open, at most two.

    `instruments`: all that mesh.toml names; `known`: of those that one connection takes, the ones whose exponents are decided,
    so that they can be subscribed; `some_known`: there are some.

    `renewal_wanted`: the connection is to be replaced; `stale`: streams for whose silence. Who keeps the connections up
    (`upkeep.py`) waits for the first and takes both back.
    """

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.settings = settings = ctx.config.feed
        venue, number = line_of(ctx.config, ctx.instance)
        self.adapter = adapter = adapter_of(venue)
        self.instruments = [i for i in ctx.config.instruments if i.venue == venue]
        self.left_out = self.instruments[adapter.INSTRUMENTS_MAX :] if adapter.INSTRUMENTS_MAX else []
        self.decided = DecidedInstruments(ctx.config, venue)
        self.some_known = asyncio.Event()
        self.given_up = GivenUp(adapter.VENUE, adapter.FRAME_BYTES_MAX)
        self.count = ctx.counters
        self.count.update(dict.fromkeys(COUNTERS, 0), last_frame_age=-1.0)
        self.connections: list[LineConnection] = []
        self.publisher = LinePublisher(ctx, self._pause, self._resume)
        self.reachability = Reachability(adapter.VENUE)
        self.reception = Reception(ctx.name, adapter, self.decided.values(), settings, raw=settings.raw)
        self.addresses = VenueAddresses(ctx.config, adapter, number, ctx.name)
        self.addresses.waits = Waits(ctx.config, ctx.name, self.publisher.raise_alert, adapter.VENUE)
        self.local_addr = settings.local_addr[(number - 1) % len(settings.local_addr)] if settings.local_addr else ""
        self.requests = LineRequests(
            adapter,
            self.reception,
            {one.subject: one for one in self.instruments},
            self.addresses,
            settings,
            budget_of(ctx.config, adapter, settings.weight_share / settings.lines),
            self.count,
            self.take_answer,
            self.publisher.raise_alert,
            self.subscribe_known,
            self.reachability,
            self.take_up,
            self.local_addr,
        )
        if self.known:
            self.some_known.set()
        self.freshness = Freshness(settings.fresh_min_s, settings.fresh_times)
        self.renewal_wanted = asyncio.Event()
        self.stale: set[Key] = set()
        self.last_frame_ns = 0

    # The way of a frame: socket → reception → outbox, in one call.

    def take_frames(self, connection: LineConnection, recv_ns: int, frames: list[bytes]) -> None:
        """Publishes what the frames of one read of a socket hold, as one batch, or as several where they are many."""
        source, reception = connection.source or self.begin(connection), self.reception
        for start in range(0, len(frames), PUBLISH_FRAMES_MAX):
            part = frames if len(frames) <= PUBLISH_FRAMES_MAX else frames[start : start + PUBLISH_FRAMES_MAX]
            events, refused, attention = reception.frames(source, recv_ns, part)
            if attention or not connection.flowed:
                # Before what they brought: a `run` event stands before the first of its process.
                self.act_on(connection, refused)
            if events:
                self.publisher.publish(events)
        self.count["frames"] += len(frames)
        self.last_frame_ns = recv_ns

    def act_on(self, connection: LineConnection, refused: Iterable[tuple[str, bytes]] = ()) -> None:
        """Acts on what frames brought beside events: that a connection flows, refusals, wishes of books, an announced end."""
        if connection.source is not None and connection.source.flowing and not connection.flowed:
            self._begin_flow(connection)
        self.publisher.refuse(refused)
        self.ask_for_books()
        if connection.source is not None and connection.source.shutdown and not connection.shutdown_noted:
            connection.shutdown_noted = True
            self.count["shutdowns"] += 1
            self.renewal_wanted.set()

    def take_answer(self, arrived: Arrived) -> None:
        """Publishes the events and refusals of an answer over REST, and acts on what else it means."""
        self.publisher.publish(arrived.events)
        self.publisher.refuse(arrived.refused)
        for connection in self.connections:
            self.act_on(connection)

    def _pause(self) -> None:
        for connection in self.connections:
            connection.pause()

    def _resume(self) -> None:
        self.freshness.count_silence_from(time.monotonic())
        for connection in self.connections:
            connection.resume()

    # The beginning and the end of a connection.

    def begin(self, connection: LineConnection) -> Source:
        """Takes up a connection that is open: what it brings is published from now on."""
        for other in tuple(self.connections):
            if other.over:
                self.end(other)
        self.count["connections"] += 1
        if not self.connections:
            self.freshness.connection_began(time.monotonic())
            self.requests.ask_about_all()
        connection.source, events = self.reception.open(self.count["connections"], now_ns(), connection.stale)
        self.connections.append(connection)
        self.publisher.publish(events)
        log_line(self.ctx.name, "info", f"connection {self.count['connections']} is open, of {len(self.known)} instruments")
        return connection.source

    def _begin_flow(self, connection: LineConnection) -> None:
        connection.flowed = True
        connection.flowed_at_s = time.monotonic()
        log_line(self.ctx.name, "info", "market data flows on it")
        self.requests.books_wanted.set()
        self.requests.stream_flows.set()
        if (news := self.reachability.reached(STREAM, time.monotonic())) is not None:
            self.publisher.raise_alert(*news)
        self.ctx.ready()
        for alert in self.given_up.leave_out(self.left_out, len(self.instruments) - len(self.left_out)):
            self.publisher.raise_alert(*alert)

    def end(self, connection: LineConnection) -> None:
        """Lets go of a connection that is over, or that is not to be read any more."""
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        connection.stop_sending()
        websocket = connection.websocket
        if websocket is not None and websocket.failure is not None:
            self.ctx.fail(websocket.failure)
        if connection.source is not None:
            self.publisher.publish(self.reception.close(connection.source, now_ns()))
            self.ask_for_books()
        if websocket is not None and websocket.oversize is not None:
            self._give_up(websocket.oversize)

    def _give_up(self, message: Oversize) -> None:
        self.count["oversize"] += 1
        subject = self.adapter.book_of(message.head, self.reception.routes)
        if (alert := self.given_up.take_oversize(subject, message.size, message.head, time.monotonic())) is not None:
            self.publisher.raise_alert(*alert)

    # What is asked of the venue.

    @property
    def known(self) -> list[Instrument]:
        """The instruments to subscribe on every connection."""
        out = {instrument.subject for instrument in self.left_out}
        return [instrument for subject, instrument in self.reception.instruments.items() if subject not in out]

    def take_up(self, listed: Mapping[str, Listed]) -> dict[str, DecimalError]:
        """Decides the exponents of instruments by what their venue lists; gives subject → why there are none that would do.

        Another line, or one of yesterday, may have decided before: then its exponents are taken.
        """
        decisions: dict[str, ExponentDecision] = {}
        errors: dict[str, DecimalError] = {}
        for subject, one in listed.items():
            try:
                decisions[subject] = ExponentDecision(*exponents_of(one), one.tick_size, one.lot_size, now_ns())
            except DecimalError as error:
                errors[subject] = error
        for instrument in self.decided.keep(decisions) if decisions else ():
            self.reception.take_up(instrument)
        if self.known:
            self.some_known.set()
        return errors

    def subscribe(self, connection: LineConnection, instruments: Iterable[Instrument]) -> None:
        """Sends the subscriptions of these instruments, without books that are given up."""
        instruments = list(instruments)
        connection.expect_books(instruments, RESUBSCRIBE_S, time.monotonic() + 5 * RESUBSCRIBE_S[0])
        for books in (True, False):
            some = [one for one in instruments if (one.subject in self.given_up.why) is not books]
            if some:
                connection.send(self.adapter.subscribe(some, self.settings, books))

    def subscribe_known(self, subjects: Collection[str]) -> None:
        """Subscribes instruments that have come to be known, by their exponents or to the venue, on what is connected."""
        some = [instrument for instrument in self.known if instrument.subject in subjects]
        for connection in self.connections if some else ():
            if connection.sender is not None:  # else it is about to subscribe all that is known
                self.subscribe(connection, some)

    def ask_for_books(self) -> None:
        """Asks for the snapshots that books want now, by REST or on the stream."""
        self.requests.books_wanted.set()
        self.resubscribe()

    def resubscribe(self) -> None:
        """Subscribes anew the depth of books that want a snapshot on the stream, unless their last try is too recent."""
        for connection in self.connections:
            if connection.source is None:
                continue
            for instrument in self.reception.wanted_resubscriptions(connection.source):
                next_try = connection.resubscriptions.get(instrument.subject)
                if next_try is not None and time.monotonic() >= next_try.not_before_s:
                    next_try.not_before_s = time.monotonic() + next_try.backoff.wait_s()
                    self.count["resubscriptions"] += 1
                    connection.send(self.adapter.resubscribe(instrument, self.settings))

    def is_silence_explained(self, subject: str) -> bool:
        """Whether something has said why nothing comes of an instrument: it is not traded, given up, or not yet known."""
        explained = subject in self.requests.standings.words or subject in self.given_up.why
        return explained or subject not in self.reception.instruments

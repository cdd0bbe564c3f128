"""Keeps a line connected for ever: connects anew after a break, and replaces a connection by a new one with an overlap."""

import asyncio
import random
import time
from collections.abc import Iterable
from functools import partial

from tickmesh.bus.clock import now_ns
from tickmesh.bus.operator_log import log_line
from tickmesh.nodes.feed.connection import LineConnection
from tickmesh.nodes.feed.line import Line
from tickmesh.nodes.feed.pacing import PacedSender
from tickmesh.nodes.feed.reachability import STREAM
from tickmesh.nodes.feed.streams import Key, topic_of
from tickmesh.nodes.net import websocket
from tickmesh.nodes.net.backoff import Backoff
from tickmesh.nodes.net.budget import connection_budget_of
from tickmesh.nodes.net.websocket import Disconnected

OVERLAP_LOOK_S = 0.01
ABSENT_LOOK_S = 1.0  # how often a local exchange that is not there is counted as not reached
BEGINS_S = 20.0  # it may take so long to begin, beside a line that begins, too
ABSENT = "the local exchange: it does not run, or has not begun; `mesh status` has it"
CALM_S = 60.0  # renewals farther apart than this are no series
RENEWAL_BACKOFF_S = (1.0, 60.0)


class ConnectionUpkeep:
    """Opens, renews and ends the connections of one line."""

    def __init__(self, line: Line):
        self.line = line
        self.settings = line.settings
        self.budget = connection_budget_of(line.settings, line.adapter)
        self.backoff = Backoff(line.settings.backoff_s)
        self.renewal_backoff = Backoff(RENEWAL_BACKOFF_S)
        self.renewed_at_s = -CALM_S  # monotonic

    async def keep_connected(self) -> None:
        """For ever: connects, once an instrument is known, waits for its end or a reason to renew it, and so on."""
        await self.line.some_known.wait()
        connection: LineConnection | None = None
        while True:
            begun_s = time.monotonic()
            was_connected = connection is not None
            try:
                connection = await (self.connect(()) if connection is None else self.serve(connection))
            except Disconnected as error:
                connection = None
                self._unconnected(error, time.monotonic() if was_connected else begun_s)
                self.line.stale.clear()  # both were about the connection that is gone
                self.line.renewal_wanted.clear()
                self._failed(error)
                self.line.count["reconnects"] += 1
                wait_s = self.backoff.wait_s()
                log_line(self.line.ctx.name, "warning", f"has no connection: {error}; it connects again in {wait_s:.1f} s")
                await asyncio.sleep(wait_s)

    async def connect(self, stale: Iterable[Key]) -> LineConnection:
        """An open connection, with its subscriptions under way. `stale`: streams that are silent on the one that it replaces.

        Raises Disconnected.
        """
        await self.budget.spend()
        line, adapter, settings = self.line, self.line.adapter, self.settings
        url = await self._address() + adapter.path(line.known, settings)
        connection = LineConnection(stale)
        connection.websocket = await websocket.connect(
            url,
            partial(line.take_frames, connection),
            min(settings.stale_s, adapter.QUIET_S),
            local_addr=line.local_addr,
            bytes_max=adapter.FRAME_BYTES_MAX,
            ca=line.addresses.ca,
            waits=line.addresses.waits,
        )
        if connection.source is None:
            line.begin(connection)
        if line.publisher.waiting:
            connection.pause()
        ping_s = adapter.PING_S if adapter.PING else settings.ping_s
        sender = PacedSender(connection.websocket, adapter.MESSAGES_PER_S, adapter.PING, ping_s)
        connection.start_sending(sender, line.ctx.own)
        line.subscribe(connection, line.known)
        life_s = min(settings.renew_s, adapter.LIFE_S * 0.95 or settings.renew_s)
        connection.renew_at_s = time.monotonic() + life_s * random.uniform(0.9, 1.0)
        return connection

    async def _address(self) -> str:
        """The address for the next connection. Waits for the local exchange to state it, and says when that takes long."""
        line, begun_s = self.line, time.monotonic()
        named_from_s = begun_s + (0.0 if line.count["connections"] else BEGINS_S)
        stated = asyncio.create_task(line.addresses.ws(line.local_addr))
        try:
            while not (await asyncio.wait((stated,), timeout=ABSENT_LOOK_S))[0]:
                if not line.connections and time.monotonic() >= named_from_s:
                    self._unconnected(Disconnected(ABSENT), begun_s)
            return stated.result()
        finally:
            stated.cancel()

    async def serve(self, connection: LineConnection) -> LineConnection:
        """Waits until the connection is replaced; gives the one that is current then. Raises Disconnected when it broke."""
        if not self.settings.renew:
            await asyncio.wait((connection.closed,))
            raise self._broken(connection)
        wanted = asyncio.create_task(self.line.renewal_wanted.wait())
        wait_s = max(0.0, connection.renew_at_s - time.monotonic())
        try:
            await asyncio.wait((connection.closed, wanted), timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
        if connection.over:
            raise self._broken(connection)
        return await self.renew(connection)

    async def renew(self, old: LineConnection) -> LineConnection:
        """Replaces a connection by a new one that runs beside it until both are known to bring the same; gives the current one.

        Raises Disconnected where neither works.
        """
        line = self.line
        stale, line.stale = line.stale, set()
        line.renewal_wanted.clear()
        if time.monotonic() >= old.renew_at_s:
            line.given_up.take_up_again(line.known)
        if time.monotonic() - self.renewed_at_s > CALM_S:
            self.renewal_backoff.reset()
        else:
            await asyncio.wait((old.closed,), timeout=self.renewal_backoff.wait_s())
        self.renewed_at_s = time.monotonic()
        line.count["renewals"] += 1
        why = f"{', '.join(map(topic_of, stale))} is silent" if stale else "it has lived as long as planned, or is to end"
        log_line(line.ctx.name, "info", f"renews its connection, beside the old one: {why}")
        if old.source is not None and old.source.shutdown:
            line.addresses.hop_ws()  # where there is another server, it is not this one that is about to end
        connecting = asyncio.create_task(self.connect(stale))
        try:
            await asyncio.wait((connecting, old.closed), return_when=asyncio.FIRST_COMPLETED)
            if old.over:
                line.end(old)
            new = await connecting
        except Disconnected as error:
            if old.over:
                raise
            self._failed(error)
            return self._renew_later(old, stale)
        finally:
            connecting.cancel()
        return await self._overlap(old, new)

    async def _overlap(self, old: LineConnection, new: LineConnection) -> LineConnection:
        """Lets both connections run until the new one may take over, or it is too late; gives the one that is current then."""
        line, reception = self.line, self.line.reception
        begin_s = time.monotonic()
        end_s = begin_s + self.settings.overlap_s
        while not (old.over or new.over or reception.joined or time.monotonic() > end_s):
            await asyncio.sleep(OVERLAP_LOOK_S)
        line.count["overlap_s"] = round(time.monotonic() - begin_s, 3)
        if new.over or not (old.over or new.flowed):
            if old.over:
                line.end(old)
                raise self._broken(new)
            self._failed(self._broken(new) if new.over else Disconnected(self._close(new, "nothing came on it in time")))
            return self._renew_later(old, new.stale)
        mute = reception.mute_streams
        if mute and not old.over and not (old.source and old.source.shutdown):
            self._failed(Disconnected(self._close(new, f"it does not bring {', '.join(map(topic_of, mute))}")))
            return self._renew_later(old, new.stale)
        if old.over:
            line.end(old)
        elif reception.successor is not None:
            line.publisher.publish(reception.hand_over(now_ns()))
            log_line(line.ctx.name, "info", f"the new connection has taken over after {line.count['overlap_s']} s of overlap")
            line.ask_for_books()
            self._close(old, "replaced")
        line.freshness.connection_began(time.monotonic())
        line.requests.ask_about_all()
        return new

    def _renew_later(self, old: LineConnection, stale: Iterable[Key]) -> LineConnection:
        """Keeps the old connection, which still works, because its renewal failed."""
        self.line.stale |= set(stale)
        log_line(self.line.ctx.name, "warning", f"keeps its old connection: {self.line.count.get('last_error', '')}")
        old.renew_at_s = time.monotonic() + self.renewal_backoff.wait_s()
        return old

    def _broken(self, connection: LineConnection) -> Disconnected:
        """Ends a connection that is over; gives the reason. Raises what a bug in this process raised while it was read."""
        self.line.end(connection)
        assert connection.websocket is not None
        if connection.flowed and time.monotonic() - connection.flowed_at_s >= self.settings.backoff_s[1]:
            self.backoff.reset()  # one that is acknowledged and closed again and again is no success
        if connection.websocket.failure is not None:
            raise connection.websocket.failure
        return Disconnected(connection.closed.result())

    def _close(self, connection: LineConnection, why: str) -> str:
        """Ends a connection that works and is not wanted; gives `why`."""
        self.line.end(connection)
        assert connection.websocket is not None
        self.line.ctx.own(connection.websocket.close())
        return why

    def _failed(self, error: Disconnected) -> None:
        self.line.count["last_error"] = str(error)[:200]
        self.line.addresses.hop_ws()

    def _unconnected(self, error: Disconnected, begun_s: float) -> None:
        """Takes notice that the line has no connection, and raises an alert once it is clear that this is no mere break."""
        alert = self.line.reachability.failed(STREAM, str(error), begun_s, time.monotonic())
        if alert is not None:
            self.line.publisher.raise_alert(*alert)

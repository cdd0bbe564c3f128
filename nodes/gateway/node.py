"""Serves recent events, books, bars, and how the mesh stands, over REST, websockets and a page; what is older from files.

It reads the whole log, keeps the newest events of each kind within a bound, and changes nothing in the mesh unless mesh.toml
allows it (actions). It reads as often as somebody looks, and before each answer. When it dies nothing else notices: its clients
reconnect, at the same address, and go on after the seq that they have.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from tickmesh.bus.clock import now_ns
from tickmesh.bus.log import LogReader
from tickmesh.bus.process import Context
from tickmesh.bus.schema import Kind
from tickmesh.bus.wire import Event
from tickmesh.nodes.gateway.access import AccessRules, names_of_server
from tickmesh.nodes.gateway.actions import MeshActions
from tickmesh.nodes.gateway.api import build_api
from tickmesh.nodes.gateway.attending import answer_while_there
from tickmesh.nodes.gateway.guard import Guard, Receive, Scope, Send
from tickmesh.nodes.gateway.hop_latency import HopLatency
from tickmesh.nodes.gateway.page.collecting import PictureCollector
from tickmesh.nodes.gateway.page.mounting import PageMount
from tickmesh.nodes.gateway.queries import MeshQueries
from tickmesh.nodes.gateway.rates import RequestRates
from tickmesh.nodes.gateway.recent_events import RecentEvents
from tickmesh.nodes.gateway.run_files import keep_token, write_address
from tickmesh.nodes.gateway.server import build_server, listening_socket, serve, url_of
from tickmesh.nodes.gateway.streaming import PACE_S, LiveStreams

READS: tuple[Kind, ...] = tuple(kind for kind in Kind if kind is not Kind.raw)
WRITES: tuple[Kind, ...] = ()

BEGINS_BACK = 20_000  # events: so far back the memory goes at its start
VIEWED_S = 0.1  # between two looks at the log while a page shows it, which has a new picture twice a second
UNSEEN_S = 1.0  # … while nobody follows it
OPENING_S = 2.0  # in which a websocket that was asked for is a stream or a page


class Gateway:
    """The memory of recent events, and the application that answers from it.

    It begins with what came after seq `after`; counted is what comes after `newest`.
    """

    def __init__(self, ctx: Context, after: int, newest: int):
        config = ctx.config
        self.ctx = ctx
        self.subscription = ctx.read_log(READS, after, UNSEEN_S)
        self._websocket_s = -OPENING_S  # when the last one was asked for, monotonic
        self.recent = RecentEvents(after, config.gateway.kind_bytes, newest)
        self.latency = HopLatency(config.gateway.latency_s, now_ns())
        self.queries = MeshQueries(config, self.recent, self.latency, self.counted)
        self.streams = LiveStreams(self.queries)
        self.actions = MeshActions(config)
        api = build_api(self.queries, self.actions, version("tickmesh"))
        self.streams.add_to(api)
        scheme = "https" if config.gateway.tls_certificate else "http"
        rules = AccessRules(
            names_of_server(config.gateway.host, config.gateway.names), scheme, keep_token(config), self.actions.enabled
        )
        self.page = PageMount(api, rules, PictureCollector(self.queries), self.actions, version("tickmesh"))
        self.guard = Guard(self._answer, rules, RequestRates(config.gateway.requests_per_s), asyncio.get_running_loop().time)
        self.server = build_server(config, self.guard)
        ctx.ask_counters = self.counted

    def counted(self) -> dict[str, Any]:
        """What the gateway counts of itself."""
        return {
            "requests": self.guard.requests, "requests_refused": dict(self.guard.refused), "streams": self.streams.count,
            "streams_cut": self.streams.cut, "viewers": self.page.sockets, "actions": self.actions.done,
            "connections": len(self.server.server_state.connections),
            "kept_bytes": self.recent.bytes, "stored_reads": self.queries.reading.stored_reads,
            "hop_p99_ms": self.latency.p99_ms(now_ns()),
        }  # fmt: skip

    def take(self, events: Sequence[Event]) -> None:
        """Takes in what was read of the log, and lets streams send it."""
        self.recent.take(events, self.subscription.seq)
        self.latency.take(events)
        self.streams.wake({event.kind for event in events})
        self.subscription.every_s = self._pace_s()

    def catch_up(self) -> None:
        """Takes in all that is in the log now."""
        for events in self.subscription.backlog():
            self.take(events)

    def _pace_s(self) -> float:
        """How often the log is to be read for those who follow it; who asks has it read anyhow."""
        if self.streams.count or time.monotonic() - self._websocket_s < OPENING_S:
            return PACE_S
        return VIEWED_S if self.page.sockets else UNSEEN_S

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers what the guard let pass, from all that the log has when it is asked."""
        self.catch_up()
        if scope["type"] == "websocket":
            self._websocket_s = time.monotonic()
            self.subscription.every_s = PACE_S
            self.subscription.wake()
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            await answer_while_there(self.page, scope, receive, send)
        else:
            await self.page(scope, receive, send)


async def run(ctx: Context) -> None:
    """Follows the log and answers requests until the node is stopped."""
    log = LogReader(ctx.config.log_dir)
    newest = log.last
    after = max(newest - BEGINS_BACK, log.first - 1, 0)
    gateway = Gateway(ctx, after, newest)
    for events in gateway.subscription.backlog():
        gateway.take(events)
        await asyncio.sleep(0)
    sock = listening_socket(ctx.config)
    port = sock.getsockname()[1]
    serving = ctx.own(serve(gateway.server, sock, ctx.stop, ctx.config.gateway.slow_s), "serving")
    while not gateway.server.started and not serving.done():
        await asyncio.sleep(0.005)
    url = url_of(ctx.config, port)
    write_address(ctx.config, url, port)
    ctx.ready(url=url)
    os.nice(ctx.config.gateway.nice)  # once it is there: who looks gives way to who trades, and nobody waits for its start
    try:
        await gateway.subscription.follow(gateway.take)
        await serving
    finally:
        await gateway.page.close()

"""A running local venue: its pure core, who listens to it, and the files that are written before anyone hears.

Shared by the doors (rest.py, sockets.py) and the pace (pace.py); nodes/exchange/node.py starts all.
"""

import asyncio
import time
from itertools import islice

from tickmesh.bus.clock import machine_elapsed_ns, machine_wall_ns
from tickmesh.bus.process import Context
from tickmesh.nodes.exchange.api.streams import Client, ClientTransport, Hub
from tickmesh.nodes.exchange.core import Core, Told, era_of
from tickmesh.nodes.exchange.faults.hooks import FaultHooks
from tickmesh.nodes.exchange.ledger import BookImage
from tickmesh.nodes.exchange.protocol import JsonObject, VenueError
from tickmesh.nodes.exchange.server.files import CaptureFiles, ExchangeFiles
from tickmesh.nodes.exchange.server.ledger import LedgerFiles

STATE_BYTES_MAX = 16 << 20  # appended, before the state file is written anew
GONE = VenueError(-1016, "This service is no longer available.", 503)


class Running:
    """Files around the pure parts. Whatever happens is committed to the files, then published."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        self.config = ctx.config
        self.exchange = self.config.exchange
        self._began_ns = machine_wall_ns() - machine_elapsed_ns()
        self.faults: FaultHooks | None = None  # set before the doors open; see nodes/exchange/faults/hooks.py
        self.capture: CaptureFiles | None = None
        if self.exchange.replay:
            self.capture = CaptureFiles([self.config.root / path for path in self.exchange.replay])
        self.state = ExchangeFiles(self.config.exchange_dir, self.exchange.trades_kept)
        if self.capture:
            self.capture.read_whole(self.config.exchange_dir)
        self.ledger: LedgerFiles | None = None
        self.hub = Hub(self.exchange.client_bytes_max)
        self.moved = asyncio.Event()  # set and replaced when an answer that waited may be known
        self.depth_waiting = 0  # requests that wait for the capture's first snapshot
        self.ended = False
        self.down = False  # restarting: the market stands still
        self.failure = ""
        try:
            market = "replay" if self.capture else "synthetic"
            self.ledger = LedgerFiles(self.config.exchange_dir, market, self.exchange.ledger_bytes_max, self.now_ms)
            self._restore()
            self.ledger.books = self.books
        except BaseException:
            self.close()
            raise

    def _restore(self, lose_orders: bool = False) -> None:
        """What was written before, the markets around it, and a fresh state file that says all of it."""
        lines = list(self.state.lines())
        self.state.era = era_of(lines)
        now_ms = self.true_ms()
        if self.capture:
            survey = self.capture.survey
            self.core = Core.recorded(self.config, survey, lines, self._snapshot_ahead)
            wanted = self.state.position(self.capture.identity())
            self.lines = self.capture.lines()
            self.replay = self.core.replay_to(islice(self.lines, wanted), survey.depths)
        else:
            self.core = Core.synthetic(self.config, lines, self.state.tape, now_ms)
        if lose_orders:
            self.core.lose_orders(int(now_ms))
        self.core.start(now_ms)
        self.state.rewrite(self.core.whole())
        if self.ledger is not None:
            self.ledger.era = self.core.era
        self.commit()

    def _snapshot_ahead(self) -> bool:
        assert self.capture is not None
        return not self.ended and any(n > self.replay.position for n in self.capture.survey.snapshots)

    def books(self) -> list[BookImage]:
        """Every book as it stands, for the head of a file of the ledger."""
        return [(symbol, m.book_id, m.image()) for symbol, m in self.core.markets.items() if m.book_id >= 0]

    def close(self) -> None:
        self.state.close()
        if self.ledger is not None:
            self.ledger.close()

    def now_ms(self) -> int:
        """The venue's clock: what it stamps and what it judges timestamps by."""
        return int(self.true_ms() + self.skew_ms)

    def true_ms(self) -> float:
        """The venue stands for another machine: what is done to this one's wall clock meanwhile is not its business."""
        return (self._began_ns + machine_elapsed_ns()) / 1e6

    @property
    def skew_ms(self) -> float:
        return self.faults.skew_ms if self.faults else 0.0

    def client(self, transport: ClientTransport, door: str, wrapped: bool, address: str) -> Client:
        client = Client(transport, wrapped, time.monotonic(), self.faults, door)
        client.address, client.opened_ms = address, self.now_ms()
        self.hub.add(client)
        return client

    def cut(self, client: Client) -> None:
        """Ends a connection without a word."""
        client.transport.abort()
        self.hub.remove(client)

    def restart(self, lose_orders: bool) -> None:
        """What a new process would do: everything anew from the files. A replay goes on where it is."""
        self.down = False
        now_ms = self.now_ms()
        if self.capture:
            if lose_orders:
                self.core.lose_orders(now_ms)
            return
        self.commit()
        self._reopen(lose_orders)

    def begin_anew(self) -> None:
        """All ids begin again from 1; orders and accounts stay."""
        self.down = False
        self.commit()
        self.state.rewrite(self.core.whole_anew())  # the one step: before it the old ids hold, after it the new ones
        self._reopen()

    def _reopen(self, lose_orders: bool = False) -> None:
        self.state.close()
        self.state = ExchangeFiles(self.config.exchange_dir, self.exchange.trades_kept)
        self._restore(lose_orders)

    # ---- what happened: files first, then wires

    def commit(self) -> Told:
        """Writes what has happened since the last call; returns what may now be told. The one place where it is taken."""
        if self.failure:
            raise GONE
        done = self.core.take()
        try:
            if self.ledger is not None:  # first: what a crash leaves only here is void by the next `start` row
                self.ledger.take(done, self.now_ms())
            for symbol, trades in done.printed:
                self.state.print(symbol, trades)
            for line in done.lines:
                self.state.append(line)
            if self.state.appended_bytes > STATE_BYTES_MAX:
                self.state.rewrite(self.core.whole())
        except OSError as error:
            # what cannot be remembered must not be told: stop here, and begin again from what is on disk
            self.failure = f"the exchange cannot write its state in {self.state.folder}: {error}"
            self.ctx.stop.set()
            raise GONE from None
        return done.told

    def publish(self, told: Told) -> None:
        for event in told.events:
            self.hub.publish_user(event)
        for stream, data in told.frames:
            self.hub.publish(stream, data)

    # ---- what waits for the market

    def wake(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()

    async def market_moved(self) -> None:
        if self.ctx.stop.is_set():
            raise GONE
        self.depth_waiting += 1
        try:
            await asyncio.wait_for(self.moved.wait(), 0.25)
        except TimeoutError:
            pass
        finally:
            self.depth_waiting -= 1

    async def sleep(self, seconds: float) -> bool:
        """False when the node was stopped meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.ctx.stop.is_set():
            await asyncio.sleep(min(left, 0.2))
        return not self.ctx.stop.is_set()

    def progress(self) -> JsonObject:
        if not self.capture:
            return {"mode": "synthetic", "position": 0, "frames": self.hub.frames, "ended": False,
                    "clients": len(self.hub.subscribed()), "error": ""}  # fmt: skip
        return {
            "mode": "replay",
            "position": self.replay.position,
            "lines": self.capture.survey.lines,
            "frames": self.replay.frames,
            "ended": self.ended,
            "clients": len(self.hub.subscribed()),
            "refused": self.replay.refused,
            "not_served": dict(self.replay.not_served),
            "error": self.replay.error or self.capture.error,
        }

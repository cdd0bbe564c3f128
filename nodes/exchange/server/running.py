"""A running local venue: its pure core, the clients that it serves, and the files that are written before anything is sent.

Shared by the handlers (rest.py, sockets.py) and the pace (pace.py); nodes/exchange/node.py starts all.
"""

import asyncio
import logging
import os
import time
from itertools import islice

from tickmesh.bus.clock import machine_elapsed_ns, machine_wall_ns
from tickmesh.bus.config import ConfigError
from tickmesh.bus.process import Context
from tickmesh.bus.settings import LOCAL_VENUES, Mesh
from tickmesh.nodes.exchange.api.keys import Ed25519Key
from tickmesh.nodes.exchange.api.routes import ALL_OF_SPOT, Route
from tickmesh.nodes.exchange.api.streams import Client, ClientTransport, Hub
from tickmesh.nodes.exchange.core import Core, Outgoing, era_of
from tickmesh.nodes.exchange.faults.hooks import FaultHooks
from tickmesh.nodes.exchange.ledger import LastBook, LedgerRow
from tickmesh.nodes.exchange.market.instruments import market_name
from tickmesh.nodes.exchange.market.logged_market import LoggedMarkets
from tickmesh.nodes.exchange.market.survey import Survey
from tickmesh.nodes.exchange.protocol import JsonObject, VenueError
from tickmesh.nodes.exchange.server.files import CaptureFiles, ExchangeFiles
from tickmesh.nodes.exchange.server.ledger import LedgerFiles

STATE_BYTES_MAX = 16 << 20  # appended, before the state file is written anew
log = logging.getLogger("exchange")
GONE = VenueError(-1016, "This service is no longer available.", 503)


class RunningExchange:
    """The core with its files and clients: every change is committed to the files, then published."""

    def __init__(self, ctx: Context, logged: LoggedMarkets | None = None):
        self.ctx = ctx
        self.logged = logged  # mode paper: the markets of a real venue
        self.config = ctx.config
        self.settings = self.config.exchange
        self._began_ns = machine_wall_ns() - machine_elapsed_ns()
        self.faults: FaultHooks | None = None  # set before anyone can connect; see nodes/exchange/faults/hooks.py
        self.capture: CaptureFiles | None = None
        if self.settings.replay:
            self.capture = CaptureFiles([self.config.root / path for path in self.settings.replay])
        self.state = ExchangeFiles(self.config.exchange_dir, self.settings.trades_kept)
        if self.capture:
            self._check_instruments(self.capture.read_whole(self.config.exchange_dir))
        self.ed25519 = self._read_key()
        self.ledger: LedgerFiles | None = None
        self.hub = Hub(self.settings.client_bytes_max)
        self.moved = asyncio.Event()  # set, and replaced by a new one, when requests that wait should be answered again
        self.depth_waiting = 0  # requests that wait for the capture's first snapshot
        self.ended = False  # the capture has been replayed to its end
        self.down = False  # restarting: the market stands still
        self.failure = ""  # why the exchange can no longer write its state
        try:
            self.ledger = LedgerFiles(self.config.exchange_dir, self.market, self.settings.ledger_bytes_max, self.now_ms)
            self._restore()
            self.ledger.books = self.books
        except BaseException:
            self.close()
            raise

    def _check_instruments(self, survey: Survey) -> None:
        """Warns of books that nothing leads to. ConfigError for instruments of mesh.toml that the captures have not.

        One that names none, outside of a mesh, wants what there is."""
        wanted = [one for one in self.config.instruments if one.venue in LOCAL_VENUES]
        named = bool(os.environ.get("SUPERVISOR_ENABLED")) or self.config.instruments != Mesh().instruments
        if named and (why := survey.missing(market_name(one.venue, one.symbol) for one in wanted)):
            raise ConfigError(f"exchange.replay: {why}")
        for name in survey.bookless:
            log.warning("the captures have changes of %s, and no depth snapshot of its venue: its book is not known", name)

    @property
    def market(self) -> str:
        """What its market is: synthetic, a replay, or a real venue's, where orders are filled on paper."""
        return "paper" if self.logged is not None else "replay" if self.capture else "synthetic"

    def _read_key(self) -> Ed25519Key | None:
        """The account's Ed25519 key, where the settings name one. ConfigError for a file that holds none."""
        if not self.settings.ed25519_public_key:
            return None
        path = self.config.root / self.settings.ed25519_public_key
        try:
            return Ed25519Key(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"exchange.ed25519_public_key: {path} cannot be read: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(
                f"exchange.ed25519_public_key: {path} is no public Ed25519 key as PEM ({error}); "
                "`openssl genpkey -algorithm ed25519 -out key.pem`, then `openssl pkey -in key.pem -pubout` makes one"
            ) from None

    def _restore(self, lose_orders: bool = False) -> None:
        """Reads what was written before, builds the markets around it, and writes all of it into a fresh state file."""
        lines = list(self.state.state_lines())
        self.state.era = era_of(lines)
        now_ms = self.true_ms()
        if self.capture:
            survey = self.capture.survey
            self.core = Core.recorded(self.config, survey, lines, self._snapshot_ahead)
            self.hub.recorded = self.core.brought
            wanted = self.state.open_position(self.capture.identity())
            self.lines = self.capture.lines()
            self.replay = self.core.replay_to(islice(self.lines, wanted), survey.depths)
        elif self.logged is not None:
            self.core = Core.logged(self.config, self.logged.known, lines)
        else:
            assert self.ledger is not None
            last = self.ledger.last_books()
            books = last.books if last.market == "synthetic" and last.era == self.state.era else {}
            self.core = Core.synthetic(self.config, lines, self.state.open_tape, now_ms, books)
        if self.ed25519 is not None:
            self.core.venue.keys[self.settings.ed25519_api_key] = self.ed25519
        if lose_orders:
            self.core.lose_orders(int(now_ms))
        self.core.start(now_ms)
        self.state.rewrite(self.core.whole_state())
        if self.ledger is not None:
            self.ledger.era = self.core.era
        self.commit()

    def _snapshot_ahead(self, venue: str) -> bool:
        assert self.capture is not None
        return not self.ended and any(n > self.replay.position for n in self.capture.survey.snapshots.get(venue, ()))

    def books(self) -> dict[str, LastBook]:
        """Every book as it stands, for the head of a file of the exchange ledger."""
        return {name: m.standing_book() for name, m in self.core.markets.items() if m.book_id >= 0}

    def close(self) -> None:
        """Closes the files of state and ledger."""
        self.state.close()
        if self.ledger is not None:
            self.ledger.close()

    def now_ms(self) -> int:
        """The venue's clock with the skew of faults: it stamps events and judges timestamps by it."""
        return int(self.true_ms() + self.skew_ms)

    def true_ms(self) -> float:
        """The venue's clock without faults; changes of this machine's wall clock do not move it, as if it were elsewhere."""
        return (self._began_ns + machine_elapsed_ns()) / 1e6

    @property
    def skew_ms(self) -> float:
        """How far off the venue's clock is by its faults."""
        return self.faults.skew_ms if self.faults else 0.0

    def add_client(
        self, transport: ClientTransport, door: str, wrapped: bool, address: str, route: Route = ALL_OF_SPOT
    ) -> Client:
        """Adds a websocket that has opened, and gives its Client."""
        client = Client(transport, wrapped, time.monotonic(), self.faults, door, route)
        client.address, client.opened_ms = address, self.now_ms()
        self.hub.add(client)
        return client

    def cut(self, client: Client) -> None:
        """Ends a connection without a close frame."""
        client.transport.abort()
        self.hub.remove(client)

    def restart(self, lose_orders: bool) -> None:
        """Restores everything from the files, as a new process would; a replay goes on where it is."""
        self.down = False
        now_ms = self.now_ms()
        if self.capture or self.logged is not None:
            if lose_orders:
                self.core.lose_orders(now_ms)
            return
        self.commit()
        self._reopen(lose_orders)

    def begin_anew(self) -> None:
        """Begins a new era: all ids begin again, from `first_id` or lower; orders and accounts stay."""
        self.down = False
        self.commit()
        self.state.rewrite(self.core.state_of_new_era())  # the one step: before it the old ids hold, after it the new ones
        self._reopen()

    def _reopen(self, lose_orders: bool = False) -> None:
        self.state.close()
        self.state = ExchangeFiles(self.config.exchange_dir, self.settings.trades_kept)
        self._restore(lose_orders)

    # ---- what happened: files first, then wires

    def commit(self) -> Outgoing:
        """Writes all changes since the last call; gives the frames that may now be sent. The one place where they are taken."""
        if self.failure:
            raise GONE
        done = self.core.take_uncommitted()
        try:
            if self.ledger is not None:  # first: what a crash leaves only here is void by the next `start` row
                self.ledger.append_committed(done, self.now_ms())
            for market, trades in done.trades:
                self.state.append_trades(market, trades)
            for line in done.state_lines:
                self.state.append(line)
            if self.state.appended_bytes > STATE_BYTES_MAX:
                self.state.rewrite(self.core.whole_state())
        except OSError as error:
            # what cannot be remembered must not be sent: stop here, and begin again from what is on disk
            self.failure = f"the exchange cannot write its state in {self.state.folder}: {error}"
            self.ctx.stop.set()
            raise GONE from None
        return done.outgoing

    def note_asked(self, row: LedgerRow | None) -> None:
        """Has the next commit write what was asked about the account, None: nothing of it."""
        if row is not None and self.ledger is not None:
            self.ledger.note(row)

    def publish(self, outgoing: Outgoing) -> None:
        """Sends events and market frames to those who have subscribed to them."""
        for event in outgoing.events:
            self.hub.publish_user(event)
        for listen_key, event in outgoing.private:
            if listen_key:
                self.hub.publish_private(listen_key, event)
        for stream, data in outgoing.frames:
            self.hub.publish(stream, data)

    def end_market(self) -> None:
        """Sends what of the books no depth frame has said yet, before connections end at a clean stop."""
        if self.capture or self.failure or self.down:
            return
        for name, market in self.core.synthetic_markets.items():
            if name not in self.core.unknown:
                market.flush_depth(self.now_ms(), final=True)
        self.publish(self.commit())

    # ---- what waits for the market

    def wake(self) -> None:
        """Wakes the requests that wait for the market to move on."""
        self.moved.set()
        self.moved = asyncio.Event()

    async def market_moved(self) -> None:
        """Waits until the market has moved on, at most 0.25 s. VenueError when the node is stopped."""
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
        """Waits so many seconds; False when the node was stopped meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.ctx.stop.is_set():
            await asyncio.sleep(min(left, 0.2))
        return not self.ctx.stop.is_set()

    def progress(self) -> JsonObject:
        """How far the market is, as `GET /tickmesh/v1/replay` gives it."""
        if not self.capture:
            return {"mode": self.market, "position": 0, "frames": self.hub.frames, "ended": False,
                    "clients": len(self.hub.stream_clients()), "error": ""}  # fmt: skip
        return {
            "mode": "replay",
            "position": self.replay.position,
            "lines": self.capture.survey.lines,
            "frames": self.replay.frames,
            "ended": self.ended,
            "clients": len(self.hub.stream_clients()),
            "refused": self.replay.refused,
            "not_served": dict(self.replay.not_served),
            "error": self.replay.error or self.capture.error,
        }

"""The local venue: the Binance spot dialect over REST and websocket, with a synthetic market or a replayed capture.

When it dies: its state is on disk (written before anything is said), so trade, update and order ids go on, balances and
resting orders stand, and a replay goes on where it was. Clients reconnect, as with any venue.
"""

import asyncio
import fcntl
import json
import logging
import math
import os
import time
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from bus.config import Config, ConfigError
from nodes.simulation import api, streams
from nodes.simulation.captures import LINE, is_snapshot, lines_of, recv_ns
from nodes.simulation.core import Core, Told
from nodes.simulation.desk import Line
from nodes.simulation.protocol import NotYet, Params, VenueError, form, rest_payload
from nodes.simulation.streams import Client, Hub
from nodes.simulation.tape import RETAINED, ROW, Tape

READS: tuple = ()
WRITES: tuple = ()

HELP = """The local venue: a real exchange server on loopback that speaks the Binance spot dialect.

Its address is in run/exchange.json ({"rest", "ws", "pid"}); [exchange] in mesh.toml sets port, seed, rates and keys.

REST     GET  /api/v3/{ping,time,exchangeInfo,depth,trades,historicalTrades,aggTrades,ticker/bookTicker}
         POST /api/v3/order[/test]  GET|DELETE /api/v3/order  GET|DELETE /api/v3/openOrders
         GET  /api/v3/{allOrders,myTrades,account}      (signed: X-MBX-APIKEY, timestamp, signature)
Streams  /ws, /ws/<stream>/…, /stream?streams=a/b       btcusdt@trade  @bookTicker  @depth@100ms  @depth
WS-API   /ws-api/v3   order.place  order.cancel  order.status  openOrders.status  myTrades  account.status
                      userDataStream.subscribe.signature
State    GET /tickmesh/v1/replay   {"position", "frames", "ended", "clients", "error", …}

Keys: `api_key` and `api_secret` of [exchange] (default local-key / local-secret), HMAC-SHA256.

ccxt:    B, W = "http://127.0.0.1:PORT", "ws://127.0.0.1:PORT"
         ex = ccxt.pro.binance({"apiKey": "local-key", "secret": "local-secret",
           "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False,
                       "fetchMargins": False},
           "urls": {"api": {"public": B + "/api/v3", "private": B + "/api/v3", "v1": B + "/api/v1",
                            "sapi": B + "/sapi/v1",
                            "ws": {"spot": W + "/ws", "margin": W + "/ws", "ws-api": {"spot": W + "/ws-api/v3"}}}}})

Market:  synthetic (seed, trades_per_s, quotes_per_s), or `replay = ["capture.gz", …]` with speed (0 = as fast as its
         clients take it) and lines (connections that must have subscribed before it starts).
"""

HEAD_LINES = 500  # of each capture: symbols and their price steps are learnt from them
SNAPSHOT_S = 2.0  # a replay waits so long at the capture's first snapshot for every line to ask for it
SUBSCRIBERS_S = 5.0  # a market waits so long for what its lines have to do first, and then goes on without them
STATE_BYTES_MAX = 16 << 20  # appended, before the state file is written anew
MESSAGE_BYTES_MAX = 1 << 16  # of a client's websocket message
BATCH_FRAMES = 256  # of a replay between two looks at the clients
BEHIND_MS_MAX = 1000.0  # a process that was away for longer goes on from now
GONE = VenueError(-1016, "This service is no longer available.", 503)
log = logging.getLogger("exchange")


class State:
    """The files behind the exchange: own orders and balances (`state.jsonl`), trades, and the replay's position."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another exchange runs on {folder}; one state can have only one exchange") from None
        self._fd = -1
        self.appended_bytes = 0  # since the last rewrite
        self._tapes: dict[str, tuple[int, int]] = {}  # symbol → file descriptor, rows in the file
        self._position = -1

    def lines(self) -> Iterator[Line]:
        """What was written, up to a torn end. ConfigError for damage further up: ids must not be given twice."""
        path = self.folder / "state.jsonl"
        torn = 0
        for number, raw in enumerate(path.read_bytes().split(b"\n")[:-1] if path.exists() else (), 1):
            try:
                line = msgspec.json.decode(raw, type=Line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                torn = torn or number
                continue
            if torn:
                break
            yield line
        else:
            if torn != 1:
                return
        raise ConfigError(f"{path}: line {torn} is damaged; move the folder away to begin with a new exchange")

    def rewrite(self, line: Line) -> None:
        """Starts the state file anew with one line that says everything."""
        path = self.folder / "state.jsonl"
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(line) + b"\n")
        fresh.replace(path)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        self.appended_bytes = 0

    def append(self, line: Line) -> None:
        data = msgspec.json.encode(line) + b"\n"
        _write(self._fd, data)
        self.appended_bytes += len(data)

    def tape(self, symbol: str) -> Tape:
        """The trades before this start; the file is two generations of `2 × RETAINED` rows at most."""
        tape = Tape()
        path = self.folder / f"trades-{symbol}.bin"
        old = path.with_suffix(".old")
        for file in (old, path):
            if file.exists():
                tape.load(file.read_bytes())
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        rows = os.fstat(fd).st_size // ROW.size
        os.ftruncate(fd, rows * ROW.size)
        self._tapes[symbol] = (fd, rows)
        return tape

    def print(self, symbol: str, trades: list) -> None:
        fd, rows = self._tapes[symbol]
        if rows >= 2 * RETAINED:
            os.close(fd)
            path = self.folder / f"trades-{symbol}.bin"
            path.replace(path.with_suffix(".old"))
            fd, rows = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 0
        _write(fd, b"".join([trade.packed() for trade in trades]))
        self._tapes[symbol] = (fd, rows + len(trades))

    def position(self, identity: str) -> int:
        """How many lines of this capture were taken by its clients before; 0 for another capture."""
        self._position = os.open(self.folder / "position", os.O_RDWR | os.O_CREAT, 0o600)
        number, _, whose = os.pread(self._position, 4096, 0).decode(errors="replace").rstrip("\n").partition(" ")
        found = int(number) if whose == identity and number.isdigit() else 0
        os.ftruncate(self._position, 0)
        os.pwrite(self._position, f"{found:020d} {identity}\n".encode(), 0)
        return found

    def save_position(self, position: int) -> None:
        os.pwrite(self._position, b"%020d" % position, 0)

    def mark_ended(self) -> None:
        """Tells `mesh up` that this replay is over: the next one of the capture begins in a folder of its own."""
        (self.folder / "ended").touch()

    def close(self) -> None:
        for fd in (self._fd, self._position, self._lock, *(fd for fd, _ in self._tapes.values())):
            if fd >= 0:
                os.close(fd)


def _write(fd: int, data: bytes) -> None:
    """All of it, or OSError: a full disk stops the exchange rather than letting it say what it cannot remember."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Capture:
    """The lines of chained files, gzip or plain, as far as they can be read; `error` says why not further."""

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self.error = ""
        self.snapshots: list[int] = []  # line numbers of depth snapshots, found by `scan`
        self.scanned = False
        self.heads = [self._head(path) for path in paths]

    def _head(self, path: Path) -> list[str]:
        """The first lines, or ConfigError: what is no capture is refused before anything is served."""
        head: list[str] = []
        reason = ""
        try:
            with path.open("rb") as file:
                head.extend(islice(lines_of(file), HEAD_LINES))
        except (OSError, zlib.error, EOFError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        if not head and reason:
            raise ConfigError(f"exchange.replay: {path} cannot be read: {reason}")
        if not LINE.match(head[0] if head else ""):
            raise ConfigError(
                f"exchange.replay: {path} is not a capture: its first line is {''.join(head[:1])[:60]!r}, "
                "expected `<receive time in µs or ns> <json>`"
            )
        return head

    def lines(self) -> Iterator[str]:
        for path in self.paths:
            try:
                with path.open("rb") as file:
                    yield from lines_of(file)
            except (OSError, zlib.error, EOFError) as error:
                if not self.error:
                    self.error = f"{path} ends early: {error}; what could be read before that is served"
                    log.error(self.error)

    def identity(self) -> str:
        return " ".join(f"{path.name}:{path.stat().st_size}" for path in self.paths)[:4000]

    def scan(self) -> None:
        """Finds the snapshots, so that a request for depth knows whether waiting helps. Runs in a thread."""
        found = [n for n, line in enumerate(self.lines(), 1) if is_snapshot(line)]
        self.snapshots, self.scanned = found, True


class Server:
    """Sockets and files around the pure parts. Whatever happens is committed to the files, then published."""

    def __init__(self, ctx: Any):
        self.ctx = ctx
        self.config: Config = ctx.config
        self.exchange = self.config.exchange
        self.capture: Capture | None = None
        if self.exchange.replay:
            self.capture = Capture([self.config.root / path for path in self.exchange.replay])
        self.state = State(self.config.exchange_dir)
        self.hub = Hub(self.exchange.client_bytes_max)
        self.counted = api.Counted()
        self.moved = asyncio.Event()  # set and replaced when an answer that waited may be known
        self.depth_waiting = 0  # requests that wait for the capture's first snapshot
        self.ended = False
        self.failure = ""
        try:
            self._restore()
        except BaseException:
            self.state.close()
            raise

    def _restore(self) -> None:
        """What was written before, the markets around it, and a fresh state file that says all of it."""
        lines = list(self.state.lines())
        now_ms = time.time() * 1000
        if self.capture:
            self.core = Core.recorded(self.config, self.capture.heads, lines, self._snapshot_ahead)
            wanted = self.state.position(self.capture.identity())
            self.lines = self.capture.lines()
            self.replay = self.core.replay_to(islice(self.lines, wanted))
        else:
            self.core = Core.synthetic(self.config, lines, self.state.tape, now_ms)
        self.core.start(now_ms)
        self.state.rewrite(self.core.whole())
        self.commit()

    def _snapshot_ahead(self) -> bool:
        assert self.capture is not None
        if not self.capture.scanned:
            return True
        return not self.ended and any(n > self.replay.position for n in self.capture.snapshots)

    # ---- what happened: files first, then wires

    def commit(self) -> Told:
        """Writes what has happened since the last call; returns what may now be told."""
        if self.failure:
            raise GONE
        done = self.core.take()
        try:
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

    # ---- markets in time

    async def run_market(self) -> None:
        try:
            await (self.run_replay() if self.capture else self.run_synthetic())
        except VenueError as error:
            if error is not GONE:
                raise

    async def run_synthetic(self) -> None:
        await self._lines_subscribed(SUBSCRIBERS_S)
        depth_ms = time.time() * 1000
        while not self.ctx.stop.is_set():
            now = time.time() * 1000
            for flow in self.core.flows:
                if now - flow.due_ms > BEHIND_MS_MAX or flow.due_ms - now > 60_000:
                    flow.skip(now)  # stopped, or the clock was set
                flow.run(now)
            if now >= depth_ms or depth_ms - now > BEHIND_MS_MAX:
                for market in self.core.markets.values():
                    market.flush_depth(int(now))
                depth_ms = max(depth_ms + 100, now) if now >= depth_ms else now + 100
            self.publish(self.commit())
            due = min(depth_ms, *(flow.due_ms for flow in self.core.flows))
            await asyncio.sleep(max(due / 1000 - time.time(), 0.001))

    async def run_replay(self) -> None:
        assert self.capture is not None
        line = next(self.lines, None)
        if line is not None:
            await self._lines_subscribed(math.inf)
        if self.ctx.stop.is_set():
            return
        await self._replay_from(line)
        self.ended = not self.ctx.stop.is_set()
        if self.ended:
            self.replay.error = self.capture.error or self.replay.error
            log.info("the capture has ended after %d frames; %s", self.replay.frames, self.replay.error or "no error")
            self._wake()
            await self._taken(0)
            self.state.mark_ended()

    async def _lines_subscribed(self, patience_s: float) -> None:
        """Waits until as many connections as there are lines have subscribed, so that none misses the beginning."""
        deadline = time.monotonic() + patience_s
        while len(self.hub.subscribed()) < self.exchange.lines and not self.ctx.stop.is_set():
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.01)

    async def _replay_from(self, line: str | None) -> None:
        """Passes lines on at their pace until the capture ends or the node is stopped."""
        speed, limit = self.exchange.speed, self.exchange.client_bytes_max
        first_ns, first_s = 0, 0.0
        last_ns = 0
        sent = 0
        opened = False
        while line is not None and not self.ctx.stop.is_set():
            at_ns = recv_ns(line) or last_ns
            if not last_ns or not 0 <= at_ns - last_ns < 3600 * 10**9:
                # the beginning, or files that do not follow one another: the pace begins anew
                first_ns, first_s = at_ns, time.monotonic()
            last_ns = at_ns
            if speed:
                wait_s = first_s + (at_ns - first_ns) / 1e9 / speed - time.monotonic()
                if wait_s > 0:
                    await self._taken(limit)
                    if not await self._sleep(wait_s):
                        return
            if not opened and is_snapshot(line):
                opened = True
                await self._open_book(line)
                last_ns = 0
            else:
                self._pass(line)
            line = next(self.lines, None)
            sent += 1
            if sent % BATCH_FRAMES == 0:
                await self._taken(limit if speed else 0)

    async def _open_book(self, line: str) -> None:
        """Passes the capture's first snapshot when every line has asked for one, as its recorder had: so each gets it as
        it was recorded, and no change after it is missing before it."""
        deadline = time.monotonic() + SNAPSHOT_S
        while self.depth_waiting < self.exchange.lines and time.monotonic() < deadline and not self.ctx.stop.is_set():
            await asyncio.sleep(0.001)
        self._pass(line)
        while self.depth_waiting and time.monotonic() < deadline:
            await asyncio.sleep(0)

    def _pass(self, line: str) -> None:
        frame = self.replay.pass_line(line, int(time.time() * 1000))
        self.publish(self.commit())
        if frame is None:
            log.warning(self.replay.error)
        elif frame.stream:
            self.hub.publish_recorded(frame.stream, frame.text, frame.data)
        else:
            self._wake()

    async def _sleep(self, seconds: float) -> bool:
        """False when the node was stopped meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self.ctx.stop.is_set():
            await asyncio.sleep(min(left, 0.2))
        return not self.ctx.stop.is_set()

    async def _taken(self, bytes_max: int) -> None:
        """Waits until no client has more than so much unsent; at speed 0, until there is a client at all.

        The position is written when nothing is unsent: after a kill the replay repeats what nobody had, which clients
        recognise by the ids."""
        await asyncio.sleep(0)
        while not self.ctx.stop.is_set():
            clients = self.hub.subscribed()
            waiting = max((c.waiting_bytes for c in clients), default=0)
            if not waiting:
                self.state.save_position(self.replay.position)
            if waiting <= bytes_max and (clients or self.exchange.speed or self.ended):
                return
            await asyncio.sleep(0.001)

    def _wake(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()

    async def run_upkeep(self) -> None:
        """Pings, cut-offs and counters."""
        pinged = time.monotonic()
        while await self._sleep(0.5):
            now = time.monotonic()
            if now - pinged >= self.exchange.ping_s:
                pinged = now
                payload = str(int(time.time() * 1000)).encode()
                for client in list(self.hub.clients):
                    if now - client.heard_s > 3 * self.exchange.ping_s + 1:
                        self.hub.cut(client)
                    client.send(b"\x89" + bytes((len(payload),)) + payload)
            desk = self.core.desk
            self.ctx.counters.update(
                clients=len(self.hub.clients), frames=self.hub.frames, cut_off=self.hub.cut_off,
                orders=desk.next_order - 1, open_orders=len(desk.open), own_trades=len(desk.trades),
            )  # fmt: skip
            if self.capture:
                self.ctx.counters.update(
                    replay_position=self.replay.position, replay_ended=int(self.ended), refused=self.replay.refused
                )

    # ---- sockets

    async def rest(self, request: web.Request) -> web.StreamResponse:
        headers = {}
        try:
            path, _, query = request.raw_path.partition("?")
            if path == "/tickmesh/v1/replay" and request.method == "GET":
                return _json(200, msgspec.json.encode(self.progress()))
            body = (await request.read()).decode() if request.method != "GET" and request.can_read_body else ""
            operation = api.find(request.method, path)
            params = Params(form(query, body))
            headers = self.counted.headers(operation, params, int(time.time()))
            now_ms = int(time.time() * 1000)
            if operation.signed:
                key = request.headers.get("X-MBX-APIKEY", "")
                self.core.venue.check_signed(params, key, rest_payload(query, body), now_ms)
            while True:
                try:
                    result = operation.call(self.core.venue, params, int(time.time() * 1000))
                    break
                except NotYet:
                    await self._moved()
            told = self.commit()
            answer = result.encode() if isinstance(result, str) else msgspec.json.encode(result)
            self.publish(told)
            return _json(200, answer, headers)
        except VenueError as error:
            return _json(error.status, msgspec.json.encode(error.body()), headers)
        except UnicodeDecodeError:
            return _json(400, b'{"code":-1100,"msg":"Illegal characters found in a parameter."}', headers)
        except web.HTTPRequestEntityTooLarge:
            return _json(413, b'{"code":-1100,"msg":"The request body is too large."}', headers)

    async def _moved(self) -> None:
        if self.ctx.stop.is_set():
            raise GONE
        self.depth_waiting += 1
        try:
            await asyncio.wait_for(self.moved.wait(), 0.25)
        except TimeoutError:
            pass
        finally:
            self.depth_waiting -= 1

    def progress(self) -> dict:
        if not self.capture:
            return {"mode": "synthetic", "position": 0, "frames": self.hub.frames, "ended": False,
                    "clients": len(self.hub.subscribed()), "error": ""}  # fmt: skip
        return {
            "mode": "replay",
            "position": self.replay.position,
            "frames": self.replay.frames,
            "ended": self.ended,
            "clients": len(self.hub.subscribed()),
            "refused": self.replay.refused,
            "error": self.replay.error or self.capture.error,
        }

    async def market_socket(self, request: web.Request) -> web.StreamResponse:
        wrapped, wanted = streams.opening(request.path, dict(request.query))
        ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MESSAGE_BYTES_MAX)
        await ws.prepare(request)
        if request.transport is None:
            return ws  # gone already
        client = Client(request.transport, wrapped, time.monotonic())
        self.hub.add(client)
        for stream in wanted[: streams.STREAMS_MAX]:
            self.hub.subscribe(client, stream)
        await self._converse(ws, client, lambda text: client.say(streams.control(self.hub, client, text)))
        return ws

    async def order_socket(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=MESSAGE_BYTES_MAX)
        await ws.prepare(request)
        if request.transport is None:
            return ws
        client = Client(request.transport, False, time.monotonic())
        self.hub.add(client)

        def answer(text: str) -> None:
            now_ms = int(time.time() * 1000)
            reply = streams.ws_api(self.core.venue, client, text, now_ms, self.counted.add(1, now_ms // 1000))
            told = self.commit()
            client.say(reply)
            self.publish(told)

        await self._converse(ws, client, answer)
        return ws

    async def _converse(self, ws: web.WebSocketResponse, client: Client, answer: Any) -> None:
        """Hands every text message to `answer`, inside the message's own turn: no task, no queue."""
        try:
            async for message in ws:
                client.heard_s = time.monotonic()
                if message.type is WSMsgType.TEXT:
                    answer(message.data)
                elif message.type is WSMsgType.PING:
                    client.send(b"\x8a" + bytes((len(message.data),)) + bytes(message.data))
                elif message.type is WSMsgType.BINARY:
                    client.say(streams.control(self.hub, client, "binary"))
        except VenueError:
            client.transport.abort()  # the exchange is going down: no answer is the honest one
        finally:
            self.hub.remove(client)

    async def listen(self) -> web.AppRunner:
        app = web.Application(client_max_size=MESSAGE_BYTES_MAX)
        for path in ("/ws", "/ws/{tail:.*}", "/stream", "/stream/{tail:.*}"):
            app.router.add_get(path, self.market_socket)
        app.router.add_get("/ws-api/v3", self.order_socket)
        app.router.add_route("*", "/{tail:.*}", self.rest)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        where = self.config.run_dir / "exchange.json"
        host, port = self.exchange.host, self.exchange.port or _port_before(where)
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            if self.exchange.port:
                reason = error.strerror or error
                raise ConfigError(f"exchange.port = {port} on {host} cannot be listened on: {reason}") from None
            await web.TCPSite(runner, host, 0).start()
        port = runner.addresses[0][1]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        where.parent.mkdir(parents=True, exist_ok=True)
        fresh = where.with_suffix(".new")
        fresh.write_text(json.dumps({"rest": f"http://{address}", "ws": f"ws://{address}", "pid": os.getpid()}))
        fresh.replace(where)
        return runner


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _port_before(where: Path) -> int:
    """The port of the last run, so that a restart is found where it was; 0 if there was none or it is taken."""
    try:
        port = int(json.loads(where.read_text())["rest"].rpartition(":")[2])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return port if 0 < port < 65536 else 0


async def run(ctx: Any) -> None:
    try:
        server = Server(ctx)
    except OSError as error:
        raise ConfigError(f"the exchange cannot keep its state in {ctx.config.exchange_dir}: {error}") from None
    scan: asyncio.Future | None = None
    try:
        if server.capture:
            scan = asyncio.get_running_loop().run_in_executor(None, server.capture.scan)
        runner = await server.listen()
        ctx.ready(market="replay" if server.capture else "synthetic")
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(server.run_market()), group.create_task(server.run_upkeep())]
                await ctx.stop.wait()
                for task in tasks:
                    task.cancel()
        finally:
            server._wake()
            for client in list(server.hub.clients):
                client.send(b"\x88\x02\x03\xe9")  # close, 1001: going away
            await runner.cleanup()
            if scan:
                await scan
        if server.failure:
            raise ConfigError(server.failure)
    finally:
        server.state.close()

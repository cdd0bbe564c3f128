"""One line of a venue's market data: subscribe, receive, parse exactly, say.

Every frame is said in the order of its coming and nothing is dropped; a frame that cannot be understood is a refusal
with its bytes. Depth changes wait for their snapshot (`BookSync`). When it dies the other lines carry on, and it comes
back with fresh snapshots; when the sequencer is away, its outbox fills, and at the bound it stops reading the socket.
"""

import asyncio
import contextlib
import struct
import time

from bus.config import Instrument
from bus.process import Context
from bus.schema import Kind
from bus.sockets import OutboxFull
from bus.wire import HEADER_SIZE
from nodes.transport import endpoints, websocket
from nodes.transport.backoff import Backoff
from nodes.transport.endpoints import Endpoints
from nodes.transport.rest import Rest, RestError, RestLimited, RestUnreachable
from nodes.venues import binance
from nodes.venues.booksync import Answer, BookSync

READS: tuple[Kind, ...] = ()
WRITES = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth, Kind.raw)

FULL_LOOK_S = 0.02  # between two tries to say what the full outbox did not take
SUBSCRIBE_PAUSE_S = 0.25  # the venue disconnects who sends more than 5 messages a second
SAY_EVENTS = 128  # a read under load brings over a thousand frames: the first need not wait for the last
END_S = 2.0  # for the tasks to end; then the process ends without them
_IDS = struct.Struct("<qq")  # first_id, last_id at 104 of an event


class Book:
    """One instrument's synchronisation, and its own patience with the snapshot request."""

    def __init__(self, instrument: Instrument, backoff: Backoff):
        self.instrument = instrument
        self.sync = BookSync()
        self.backoff = backoff
        self.not_before = 0.0  # monotonic seconds
        self.definition: bytearray | None = None  # the last `instrument` event said


class Line:
    """A connection for all instruments of the venue, kept up for ever."""

    def __init__(self, ctx: Context):
        self.ctx = ctx
        settings = ctx.config.feed
        self.settings = settings
        self.instruments = [i for i in ctx.config.instruments if i.venue == settings.venue]
        self.routes = binance.routes(self.instruments)
        self.rest = Rest()
        self.backoff = Backoff(settings.backoff_s)
        self.books = {i.subject.encode(): Book(i, Backoff(settings.backoff_s)) for i in self.instruments}
        self.connection: websocket.Connection | None = None
        self.flowing = asyncio.Event()  # acknowledged, or a first event came: snapshots may be fetched
        self.snapshot_wanted = asyncio.Event()
        self.unsaid: list[bytearray] = []  # at most what one read of the socket brought
        self.heard = 0.0
        self.count = ctx.counters
        for name in ("frames", "events", "reconnects", "refused_frames", "resyncs", "snapshots", "buffer_overflows",
                     "outbox_full", "rest_failures", "used_weight"):  # fmt: skip
            self.count[name] = 0
        self.count["last_frame_age"] = -1.0

    # The way of a frame: socket → decode → book rule → outbox, in one call.

    def on_frames(self, recv_ns: int, frames: list[bytes]) -> None:
        """All that one read of the socket brought, said as one batch, or as several where it brought a lot."""
        said: list[bytearray] = []
        decode, routes = binance.decode, self.routes
        for frame in frames:
            try:
                events = decode(frame, recv_ns, routes)
            except binance.FrameError as error:
                # A lost depth change shows as a break of its id chain with the next one, and the book starts again.
                self.count["refused_frames"] += 1
                self.ctx.refuse(self.ctx.name, str(error), frame)
                continue
            if not events:
                self.on_control(frame)
            for event in events:
                if event[8] == Kind.depth:
                    said += self.on_depth(event)
                else:
                    said.append(event)
            if len(said) >= SAY_EVENTS:
                self.begin_flow()
                self.say(said)
                said = []
        self.count["frames"] += len(frames)
        self.heard = time.monotonic()
        if said:
            self.begin_flow()
            self.say(said)

    def on_depth(self, event: bytearray) -> list[bytearray]:
        self.begin_flow()
        book = self.books[bytes(event[32:64]).rstrip(b"\0")]
        first_id, last_id = _IDS.unpack_from(event, 104)
        said = book.sync.change(event, first_id, last_id)
        if book.sync.wants_snapshot:
            self.snapshot_wanted.set()
        return said

    def on_control(self, frame: bytes) -> None:
        message = binance.control(frame)
        if message.acknowledged:
            self.begin_flow()
        elif message.shutdown:
            if self.connection is not None:
                self.connection.abort("the server announced its shutdown")
        else:
            self.count["refused_frames"] += 1
            self.ctx.refuse(self.ctx.name, f"the venue refused a request: {message.code} {message.msg}", frame)

    def begin_flow(self) -> None:
        if not self.flowing.is_set():
            self.flowing.set()
            self.snapshot_wanted.set()
            self.ctx.ready()

    def say(self, events: list[bytearray]) -> None:
        """Never raises and never drops: what the full outbox does not take stops the socket until it does."""
        if self.unsaid:
            self.unsaid += events
            return
        try:
            self.ctx.say(events)
            self.count["events"] += len(events)
        except OutboxFull:
            self.count["outbox_full"] += 1
            self.unsaid += events
            if self.connection is not None:
                self.connection.pause()
            asyncio.get_running_loop().call_later(FULL_LOOK_S, self.say_again)

    def say_again(self) -> None:
        events, self.unsaid = self.unsaid, []
        self.say(events)
        if not self.unsaid and self.connection is not None:
            self.connection.resume()

    # The connection.

    async def keep_connected(self) -> None:
        while True:
            where = await endpoints.wait(self.ctx.config)
            try:
                await self.one_connection(where)
            except websocket.Disconnected as error:
                self.count["last_error"] = str(error)[:200]
            self.count["reconnects"] += 1
            await asyncio.sleep(self.backoff.wait_s())

    async def one_connection(self, where: Endpoints) -> None:
        """Until it breaks; raises Disconnected with the reason."""
        connection = await websocket.connect(f"{where.ws}/stream", self.on_frames, self.settings.stale_s)
        self.connection = connection
        # The sequencer takes a definition as the mark of a new connection, which may have missed something.
        self.say([bytearray(book.definition) for book in self.books.values() if book.definition is not None])
        definitions = asyncio.create_task(self.define(where))
        snapshots = asyncio.create_task(self.fetch_snapshots(where))
        try:
            if self.unsaid:
                connection.pause()
            for request in binance.subscribe(self.instruments):
                connection.send(request)
                await asyncio.sleep(SUBSCRIBE_PAUSE_S if len(self.routes) > binance.STREAMS_PER_SUBSCRIBE else 0)
            await self.flowed_or_closed(connection)
            self.backoff.reset()
            await asyncio.shield(connection.closed)
        finally:
            connection.abort("this line ends it")
            for task in (definitions, snapshots):
                task.cancel()
            await asyncio.gather(definitions, snapshots, return_exceptions=True)
            self.disconnected()
        if connection.failure is not None:
            raise connection.failure
        raise websocket.Disconnected(connection.closed.result())

    async def flowed_or_closed(self, connection: websocket.Connection) -> None:
        flowing = asyncio.create_task(self.flowing.wait())
        await asyncio.wait((flowing, connection.closed), return_when=asyncio.FIRST_COMPLETED)
        flowing.cancel()

    def disconnected(self) -> None:
        self.connection = None
        self.flowing.clear()
        self.snapshot_wanted.clear()
        for book in self.books.values():
            if waiting := book.sync.disconnected():
                self.say(waiting)

    # What REST brings.

    async def define(self, where: Endpoints) -> None:
        """Says each instrument's definition, if it is not the one said at the connection's beginning."""
        backoff = Backoff(self.settings.backoff_s)
        missing = list(self.books.values())
        while missing:
            for book in tuple(missing):
                body = await self.ask(where, "/api/v3/exchangeInfo", {"symbol": book.instrument.symbol})
                if body is None:
                    continue
                try:
                    event = binance.decode_exchange_info(body, time.time_ns(), book.instrument)
                except binance.FrameError as error:
                    self.ctx.refuse(self.ctx.name, str(error), body)
                    continue
                missing.remove(book)
                if book.definition is None or event[HEADER_SIZE:] != book.definition[HEADER_SIZE:]:
                    book.definition = bytearray(event)
                    self.say([event])
            await asyncio.sleep(backoff.wait_s())

    async def fetch_snapshots(self, where: Endpoints) -> None:
        """One request at a time: a reconnect of many symbols must not spend the venue's whole budget at once."""
        await self.flowing.wait()
        while True:
            wanting = [book for book in self.books.values() if book.sync.wants_snapshot]
            if not wanting:
                self.snapshot_wanted.clear()
                await self.snapshot_wanted.wait()
                continue
            book = min(wanting, key=lambda book: book.not_before)
            await asyncio.sleep(book.not_before - time.monotonic())
            await self.fetch_snapshot(where, book)

    async def fetch_snapshot(self, where: Endpoints, book: Book) -> None:
        parameters = {"symbol": book.instrument.symbol, "limit": self.settings.depth_limit}
        body = await self.ask(where, "/api/v3/depth", parameters)
        book.not_before = time.monotonic() + book.backoff.wait_s()
        if body is None:
            return
        try:
            last_update_id, event = binance.decode_snapshot(body, time.time_ns(), book.instrument)
        except binance.FrameError as error:
            self.ctx.refuse(self.ctx.name, str(error), body)
            return
        self.count["snapshots"] += 1
        answer, said = book.sync.snapshot(event, last_update_id)
        if answer is not Answer.TOO_OLD:
            book.backoff.reset()
        if said:
            self.say(said)

    async def ask(self, where: Endpoints, path: str, parameters: dict[str, object]) -> bytes | None:
        """The body, or None when the venue did not give one: counted, to be asked again after a wait."""
        try:
            return await self.rest.get(where.rest, path, parameters)
        except (RestError, RestUnreachable) as error:
            self.count["rest_failures"] += 1
            self.count["last_error"] = str(error)[:200]
            if isinstance(error, RestLimited):
                await asyncio.sleep(error.wait_s)
            return None
        finally:
            self.count["used_weight"] = self.rest.used_weight

    async def watch(self) -> None:
        while True:
            self.count["last_frame_age"] = round(time.monotonic() - self.heard, 3) if self.heard else -1.0
            self.count["resyncs"] = sum(book.sync.resyncs for book in self.books.values())
            self.count["buffer_overflows"] = sum(book.sync.overflows for book in self.books.values())
            await asyncio.sleep(0.5)


async def run(ctx: Context) -> None:
    """Until the context stops. Raises what a bug raises; what venues and networks do is survived."""
    line = Line(ctx)
    work = [asyncio.create_task(line.keep_connected()), asyncio.create_task(line.watch())]
    stopped = asyncio.create_task(ctx.stop.wait())
    try:
        done, _ = await asyncio.wait((*work, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*work, stopped):
            task.cancel()
        await asyncio.wait((*work, stopped), timeout=END_S)
        if line.unsaid:
            with contextlib.suppress(OutboxFull):
                ctx.say(line.unsaid)
        await line.rest.close()

"""Market streams without the socket: who has subscribed to what, and the one encoding of a frame that every client gets.

Pure but for the transports it is given to write to.
"""

import struct
from collections.abc import Iterable
from typing import Protocol

from tickmesh.nodes.exchange.api import stream_names, time_units
from tickmesh.nodes.exchange.api.routes import ALL_OF_SPOT, PRIVATE, Route, wire_name

PINGS_KEPT = 8  # unanswered ones that an answer may belong to


def text_frame(payload: bytes) -> bytes:
    """Builds an unmasked, uncompressed websocket text frame (RFC 6455 §5.2): the same bytes for every client.

    Legal for one that negotiated permessage-deflate too: RSV1 is 0 (RFC 7692 §6)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + struct.pack(">H", size) + payload
    return b"\x81\x7f" + struct.pack(">Q", size) + payload


def control_frame(opcode: int, payload: bytes) -> bytes:
    """Builds a close (8), ping (9) or pong (10) frame; its payload is at most 125 bytes."""
    return bytes((0x80 | opcode, len(payload))) + payload


class ClientTransport(Protocol):
    """A client's socket, as far as it is used here; asyncio.Transport is one."""

    def write(self, data: bytes) -> None:
        """Sends bytes, or keeps them until they can be sent."""

    def close(self) -> None:
        """Ends the connection after what was written has been sent."""

    def abort(self) -> None:
        """Ends the connection at once."""

    def is_closing(self) -> bool:
        """Whether the connection has ended, or is about to."""

    def get_write_buffer_size(self) -> int:
        """Bytes that were written and not sent yet."""


class SendHook(Protocol):
    """Sees every frame before it is sent to a client, and may take it: the faults do (nodes/exchange/faults/hooks.py)."""

    def on_send(self, client: "Client", stream: str, frame: bytes) -> bool:
        """True: send `frame` as it is. False: it was taken; its replacement, now or later, goes to `client.write`.

        `stream` is the market stream's name in the whole exchange (routes.py), or "user", "reply", "ping", "pong", "close"."""


class Client:
    """One websocket connection of a client: its subscriptions, its pings, and the writing of its frames."""

    def __init__(
        self,
        transport: ClientTransport,
        wrapped: bool,
        now_s: float,
        faults: SendHook | None = None,
        door: str = "ws",
        route: Route = ALL_OF_SPOT,
    ):
        self.faults = faults
        self.transport = transport
        self.door = door  # "ws" or "ws-api"
        self.route = route
        self.wrapped = wrapped  # frames carry the name of their stream
        self.microseconds = False  # times in µs
        self.sends_rate_limits = True  # WS-API: replies have the rate limits in them
        self.address = ""
        self.streams: dict[str, str] = {}  # the venue's name → that in the whole exchange, silent ones too
        self.subscription: int | None = None  # to the account's events
        self.subscriptions_made = 0
        self.subscribed_by_session = False  # its end is that of the session, too
        self.session_key = ""  # WS-API: the API key that has logged on
        self.session_since_ms = 0
        self.ended_subscription: int | None = None  # a subscription whose end is to be sent to it
        self.number = 0  # of this connection since the exchange began, from 1
        self.opened_s = now_s
        self.opened_ms = 0
        self.shutdown_announced = False
        self.pings: dict[bytes, float] = {}  # unanswered, oldest first
        self._second, self._messages = 0, 0
        self.dead = False  # cut off, or gone

    @property
    def served(self) -> set[str]:
        """The names, in the whole exchange, of the streams that the client has subscribed to and that its route brings."""
        return {name for stream, name in self.streams.items() if self.route.serves(stream)}

    def send(self, frame: bytes, stream: str = "reply") -> None:
        """Sends one frame, unless a fault takes it. The one place where anything is sent to a websocket client."""
        if self.faults is None or self.faults.on_send(self, stream, frame):
            self.write(frame)

    def write(self, frame: bytes) -> None:
        """Writes a frame to the socket past the faults; nothing once the connection is ending."""
        if not self.dead and not self.transport.is_closing():
            self.transport.write(frame)

    def send_text(self, text: bytes | str) -> None:
        """Sends a reply as one text frame."""
        self.send(text_frame(text.encode() if isinstance(text, str) else text))

    @property
    def has_user_stream(self) -> bool:
        """Whether the client has subscribed to the account's events."""
        return self.subscription is not None or self.route.part == PRIVATE and bool(self.streams)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were written to the socket and not sent yet."""
        return 0 if self.dead or self.transport.is_closing() else self.transport.get_write_buffer_size()

    def ping(self, payload: bytes, now_s: float) -> None:
        """Sends a ping and remembers that it has to be answered."""
        if len(self.pings) < PINGS_KEPT:
            self.pings[payload] = now_s
        self.send(control_frame(9, payload), "ping")

    def take_pong(self, payload: bytes) -> None:
        """Takes a pong; only the echo of a ping keeps a connection alive, any other one is permitted and means nothing."""
        if payload in self.pings:
            self.pings.clear()

    def unanswered_s(self, now_s: float) -> float:
        """Seconds since the oldest ping that was not answered; 0 when all were."""
        return now_s - next(iter(self.pings.values()), now_s)

    def count_message(self, now_s: float) -> int:
        """Counts a message that has just arrived, and gives the count of this second."""
        if int(now_s) != self._second:
            self._second, self._messages = int(now_s), 0
        self._messages += 1
        return self._messages

    def shutdown_event(self, now_ms: int) -> str:
        """Builds the `serverShutdown` event in the shape of this connection (venues.md §1.2)."""
        event = f'{{"e":"serverShutdown","E":{now_ms * (1000 if self.microseconds else 1)}}}'
        if self.door == "ws-api":
            return f'{{"event":{event}}}'
        return f'{{"stream":"!serverShutdown","data":{event}}}' if self.wrapped else event


class Hub:
    """Subscribers by stream, and the sending of frames to them.

    A client whose unsent bytes exceed the bound is cut off; the others notice nothing."""

    def __init__(self, buffer_bytes_max: int):
        self.buffer_bytes_max = buffer_bytes_max
        self.clients: dict[Client, None] = {}
        # stream → its subscribers
        self.listeners: dict[str, dict[Client, None]] = {}
        # Streams, by name in the whole exchange, that a capture brings, whatever else the exchange has
        self.recorded: frozenset[str] = frozenset()
        self._wanted: dict[str, dict[str, None]] = {}  # up to and with the @ → what follows in streams with subscribers
        self.opened = 0  # connections so far
        self.cut_off = 0  # clients so far
        self.frames = 0  # published so far

    def add(self, client: Client) -> None:
        """Adds a connection and gives it its number, counted from 1 since the exchange began."""
        self.opened += 1
        client.number = self.opened
        self.clients[client] = None

    def remove(self, client: Client) -> None:
        """Removes a connection that has ended, and all that it had subscribed to."""
        client.dead = True
        self.clients.pop(client, None)
        for stream in list(client.streams):
            self.unsubscribe(client, stream)

    def subscribe(self, client: Client, stream: str) -> None:
        """Subscribes a client to a market stream of its venue; one that its route does not serve stays silent."""
        name = client.streams[stream] = client.route.name_of(stream)
        if client.route.serves(stream):
            self.listeners.setdefault(name, {})[client] = None
            head, at, part = name.partition("@")
            self._wanted.setdefault(head + at, {})[part] = None

    def elsewhere(self, venue: str, streams: list[str]) -> str | None:
        """The first of these streams that the real venue has and this exchange has not; None for none."""
        brought, route = self.recorded, Route(venue)
        return next((s for s in streams if stream_names.is_elsewhere(venue, s) and route.name_of(s) not in brought), None)

    def unsubscribe(self, client: Client, stream: str) -> None:
        """Ends a client's subscription to a market stream."""
        name = client.streams.pop(stream, "")
        listeners = self.listeners.get(name, {})
        listeners.pop(client, None)
        if not listeners and self.listeners.pop(name, None) is not None:
            head, at, part = name.partition("@")
            self._wanted.get(head + at, {}).pop(part, None)

    def stream_clients(self) -> list[Client]:
        """The clients that have subscribed to a market stream."""
        return [c for c in self.clients if c.streams and c.route.part != PRIVATE and not c.dead]

    def wanted_streams(self, head: str) -> list[str]:
        """What follows `head`, which ends with an @, in the names of streams that somebody has subscribed to."""
        return list(self._wanted.get(head, ()))

    def publish(self, stream: str, data: str, cut: bool = True, recorded: str = "") -> None:
        """Sends one frame of market data to its subscribers, encoded once per shape.

        `stream`: its name in the whole exchange. `recorded`: the wrapped frame as it was recorded.

        `cut` False leaves slow clients to the caller."""
        listeners = self.listeners.get(stream)
        if not listeners:
            return
        shapes: dict[tuple[bool, bool], bytes] = {}
        for client in list(listeners):
            shape = (client.wrapped, client.microseconds)
            frame = shapes.get(shape)
            if frame is None:
                frame = shapes[shape] = _shaped(stream, data, *shape, recorded)
            client.send(frame, stream)
        self.frames += 1
        if cut:
            self.cut_slow(listeners)

    def publish_user(self, event: str) -> None:
        """Sends one event of the account to all clients that have subscribed to such events."""
        shapes: dict[tuple[int, bool], bytes] = {}
        for client in list(self.clients):
            if client.subscription is None:
                continue
            shape = (client.subscription, client.microseconds)
            if shape not in shapes:
                shapes[shape] = user_frame(event, *shape)
            client.send(shapes[shape], "user")
            if client.waiting_bytes > self.buffer_bytes_max:
                self.cut(client)

    def publish_private(self, listen_key: str, event: str) -> None:
        """Sends one event of the futures account to all clients that have subscribed by its listenKey."""
        frames = [text_frame(data.encode()) for data in (event, f'{{"stream":"{listen_key}","data":{event}}}')]
        for client in list(self.clients):
            if client.route.part != PRIVATE or listen_key not in client.streams:
                continue
            client.send(frames[client.wrapped], "user")
            if client.waiting_bytes > self.buffer_bytes_max:
                self.cut(client)

    def cut_slow(self, clients: Iterable[Client]) -> None:
        """Cuts off those of `clients` whose unsent bytes exceed the bound."""
        for client in [c for c in clients if c.waiting_bytes > self.buffer_bytes_max]:
            self.cut(client)

    def cut(self, client: Client) -> None:
        """Cuts off a client that does not read what it is sent."""
        self.cut_off += 1
        client.transport.abort()
        self.remove(client)


def _shaped(stream: str, data: str, wrapped: bool, microseconds: bool, recorded: str) -> bytes:
    if wrapped and recorded and not microseconds:
        return text_frame(recorded.encode())
    data = time_units.event_in_microseconds(data) if microseconds else data
    return text_frame(f'{{"stream":"{wire_name(stream)}","data":{data}}}'.encode() if wrapped else data.encode())


def user_frame(event: str, subscription: int, microseconds: bool) -> bytes:
    """Builds the frame of an event of the account for one subscription, with times in ms or µs."""
    event = time_units.event_in_microseconds(event) if microseconds else event
    return text_frame(f'{{"subscriptionId":{subscription},"event":{event}}}'.encode())

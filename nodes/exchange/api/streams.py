"""Market streams without the socket: who hears what, and the one encoding of a frame that every client gets.

Pure but for the transports it is given to write to.
"""

import struct
from collections.abc import Iterable
from typing import Protocol

from tickmesh.nodes.exchange.api import time_units

PINGS_KEPT = 8  # unanswered ones that an answer may belong to


def text_frame(payload: bytes) -> bytes:
    """An unmasked, uncompressed websocket text frame (RFC 6455 §5.2): the same bytes for every client.

    Legal for one that negotiated permessage-deflate too: RSV1 is 0 (RFC 7692 §6)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + struct.pack(">H", size) + payload
    return b"\x81\x7f" + struct.pack(">Q", size) + payload


def control_frame(opcode: int, payload: bytes) -> bytes:
    """A close (8), ping (9) or pong (10) frame; its payload is at most 125 bytes."""
    return bytes((0x80 | opcode, len(payload))) + payload


class ClientTransport(Protocol):
    """What is used of a client's socket (asyncio.Transport has it)."""

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
    """Sees every frame before it is sent to a client: the faults (nodes/exchange/faults/hooks.py)."""

    def on_send(self, client: "Client", stream: str, frame: bytes) -> bool:
        """True: send `frame` as it is. False: it was taken; what is sent instead, now or later, goes to `client.write`.

        `stream` is the market stream's name, or "user", "reply", "ping", "pong", "close"."""


class Client:
    """One websocket connection: what it has subscribed to, its pings, and the writing of its frames."""

    def __init__(
        self, transport: ClientTransport, wrapped: bool, now_s: float, faults: SendHook | None = None, door: str = "ws"
    ):
        self.faults = faults
        self.transport = transport
        self.door = door  # "ws" or "ws-api"
        self.wrapped = wrapped
        self.micro = False  # times in µs
        self.limits = True  # WS-API: replies tell the rate limits
        self.address = ""
        self.streams: dict[str, None] = {}
        self.subscription: int | None = None  # to the account's events
        self.subscriptions_made = 0
        self.ended: int | None = None  # a subscription whose end is to be told
        self.number = 0  # of this connection since the exchange began, from 1
        self.opened_s = now_s
        self.opened_ms = 0
        self.warned = False  # serverShutdown was said
        self.pings: dict[bytes, float] = {}  # unanswered, oldest first
        self._second, self._messages = 0, 0
        self.dead = False  # cut off, or gone

    def send(self, frame: bytes, stream: str = "reply") -> None:
        """The one place where anything is sent to a websocket client; the fault layer may take it."""
        if self.faults is None or self.faults.on_send(self, stream, frame):
            self.write(frame)

    def write(self, frame: bytes) -> None:
        if not self.dead and not self.transport.is_closing():
            self.transport.write(frame)

    def send_text(self, text: bytes | str) -> None:
        """Sends one text frame."""
        self.send(text_frame(text.encode() if isinstance(text, str) else text))

    @property
    def user(self) -> bool:
        """Whether it hears the account's events."""
        return self.subscription is not None

    @property
    def waiting_bytes(self) -> int:
        return 0 if self.dead or self.transport.is_closing() else self.transport.get_write_buffer_size()

    def ping(self, payload: bytes, now_s: float) -> None:
        if len(self.pings) < PINGS_KEPT:
            self.pings[payload] = now_s
        self.send(control_frame(9, payload), "ping")

    def ponged(self, payload: bytes) -> None:
        """Only the echo of a ping keeps a connection alive; unsolicited ones are permitted and mean nothing."""
        if payload in self.pings:
            self.pings.clear()

    def silent_s(self, now_s: float) -> float:
        """Since the oldest ping that was not answered."""
        return now_s - next(iter(self.pings.values()), now_s)

    def messages_this_second(self, now_s: float) -> int:
        """With the one that has just arrived."""
        if int(now_s) != self._second:
            self._second, self._messages = int(now_s), 0
        self._messages += 1
        return self._messages

    def shutdown_event(self, now_ms: int) -> str:
        """`serverShutdown` in the shape of this connection (venues.md §1.2)."""
        event = f'{{"e":"serverShutdown","E":{now_ms * (1000 if self.micro else 1)}}}'
        if self.door == "ws-api":
            return f'{{"event":{event}}}'
        return f'{{"stream":"!serverShutdown","data":{event}}}' if self.wrapped else event


class Hub:
    """Who hears what. A client whose unsent bytes exceed the bound is cut off; the others notice nothing."""

    def __init__(self, buffer_bytes_max: int):
        self.buffer_bytes_max = buffer_bytes_max
        self.clients: dict[Client, None] = {}
        self.listeners: dict[str, dict[Client, None]] = {}
        self.opened = 0
        self.cut_off = 0
        self.frames = 0

    def add(self, client: Client) -> None:
        self.opened += 1
        client.number = self.opened
        self.clients[client] = None

    def remove(self, client: Client) -> None:
        client.dead = True
        self.clients.pop(client, None)
        for stream in list(client.streams):
            self.unsubscribe(client, stream)

    def subscribe(self, client: Client, stream: str) -> None:
        client.streams[stream] = None
        self.listeners.setdefault(stream, {})[client] = None

    def unsubscribe(self, client: Client, stream: str) -> None:
        client.streams.pop(stream, None)
        listeners = self.listeners.get(stream, {})
        listeners.pop(client, None)
        if not listeners:
            self.listeners.pop(stream, None)

    def subscribed(self) -> list[Client]:
        """Clients of market streams."""
        return [client for client in self.clients if client.streams and not client.dead]

    def wanted(self, symbol: str) -> list[str]:
        """The parts after `symbol@` of the streams that somebody listens to."""
        head = f"{symbol.lower()}@"
        return [stream[len(head) :] for stream in self.listeners if stream.startswith(head)]

    def publish(self, stream: str, data: str, cut: bool = True, whole: str = "") -> None:
        """Sends one frame of market data, encoded once per shape. `whole`: the wrapped frame as it was recorded.

        `cut` False leaves slow clients to the caller."""
        listeners = self.listeners.get(stream)
        if not listeners:
            return
        shapes: dict[tuple[bool, bool], bytes] = {}
        for client in list(listeners):
            shape = (client.wrapped, client.micro)
            frame = shapes.get(shape)
            if frame is None:
                frame = shapes[shape] = _shaped(stream, data, *shape, whole)
            client.send(frame, stream)
        self.frames += 1
        if cut:
            self.cut_slow(listeners)

    def publish_user(self, event: str) -> None:
        shapes: dict[tuple[int, bool], bytes] = {}
        for client in list(self.clients):
            if client.subscription is None:
                continue
            shape = (client.subscription, client.micro)
            if shape not in shapes:
                shapes[shape] = user_frame(event, *shape)
            client.send(shapes[shape], "user")
            if client.waiting_bytes > self.buffer_bytes_max:
                self.cut(client)

    def cut_slow(self, clients: Iterable[Client]) -> None:
        for client in [c for c in clients if c.waiting_bytes > self.buffer_bytes_max]:
            self.cut(client)

    def cut(self, client: Client) -> None:
        self.cut_off += 1
        client.transport.abort()
        self.remove(client)


def _shaped(stream: str, data: str, wrapped: bool, micro: bool, whole: str) -> bytes:
    if wrapped and whole and not micro:
        return text_frame(whole.encode())
    data = time_units.event(data) if micro else data
    return text_frame(f'{{"stream":"{stream}","data":{data}}}'.encode() if wrapped else data.encode())


def user_frame(event: str, subscription: int, micro: bool) -> bytes:
    event = time_units.event(event) if micro else event
    return text_frame(f'{{"subscriptionId":{subscription},"event":{event}}}'.encode())

"""Websocket conversations without the socket: subscriptions, control messages, WS-API requests, and the one encoding of
a frame that every client gets. Pure but for the transports it is given to write to."""

import struct
from typing import Any
from urllib.parse import unquote

import msgspec

from nodes.simulation import api
from nodes.simulation.hooks import Faults
from nodes.simulation.protocol import NotYet, Params, VenueError, ws_payload

STREAMS_MAX = 1024  # per connection, as the venue
_decode = msgspec.json.Decoder(float_hook=str).decode  # numbers keep their text: a signature covers it
_encode = msgspec.json.Encoder().encode


def text_frame(payload: bytes) -> bytes:
    """An unmasked, uncompressed websocket text frame (RFC 6455 §5.2): the same bytes for every client."""
    size = len(payload)
    if size < 126:
        return b"\x81" + bytes((size,)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + struct.pack(">H", size) + payload
    return b"\x81\x7f" + struct.pack(">Q", size) + payload


def control_frame(opcode: int, payload: bytes) -> bytes:
    """A close (8), ping (9) or pong (10) frame; its payload is at most 125 bytes."""
    return bytes((0x80 | opcode, len(payload))) + payload


class Client:
    """One websocket. `transport` has write, abort, is_closing and get_write_buffer_size."""

    def __init__(self, transport: Any, wrapped: bool, now_s: float, faults: Faults | None = None):
        self.faults = faults
        self.transport = transport
        self.wrapped = wrapped
        self.streams: dict[str, None] = {}
        self.user = False  # subscribed to the account's events
        self.heard_s = now_s
        self.dead = False  # cut off, or gone

    def send(self, frame: bytes, stream: str = "reply") -> None:
        """The one place where anything is sent to a websocket client; the fault layer may take it."""
        if self.faults is None or self.faults.on_send(self, stream, frame):
            self.write(frame)

    def write(self, frame: bytes) -> None:
        if not self.dead and not self.transport.is_closing():
            self.transport.write(frame)

    def say(self, text: bytes | str) -> None:
        self.send(text_frame(text.encode() if isinstance(text, str) else text))

    @property
    def waiting_bytes(self) -> int:
        return 0 if self.dead or self.transport.is_closing() else self.transport.get_write_buffer_size()


class Hub:
    """Who hears what. A client whose unsent bytes exceed the bound is cut off; the others notice nothing."""

    def __init__(self, buffer_bytes_max: int):
        self.buffer_bytes_max = buffer_bytes_max
        self.clients: dict[Client, None] = {}
        self.listeners: dict[str, dict[Client, None]] = {}
        self.cut_off = 0
        self.frames = 0

    def add(self, client: Client) -> None:
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

    def publish(self, stream: str, data: str, cut: bool = True) -> None:
        """Sends one frame of market data, encoded once per shape. `cut` False leaves slow clients to the caller."""
        listeners = self.listeners.get(stream)
        if not listeners:
            return
        raw = wrapped = b""
        for client in listeners:
            if client.wrapped:
                wrapped = wrapped or text_frame(f'{{"stream":"{stream}","data":{data}}}'.encode())
                client.send(wrapped, stream)
            else:
                raw = raw or text_frame(data.encode())
                client.send(raw, stream)
        self.frames += 1
        if cut:
            self.cut_slow(listeners)

    def publish_recorded(self, stream: str, whole: str, data: str) -> None:
        """Like `publish`, with the recorded text of the wrapped frame."""
        raw = wrapped = b""
        for client in self.listeners.get(stream, ()):
            if client.wrapped:
                wrapped = wrapped or text_frame(whole.encode())
                client.send(wrapped, stream)
            else:
                raw = raw or text_frame(data.encode())
                client.send(raw, stream)
        self.frames += 1

    def publish_user(self, event: str) -> None:
        frame = b""
        for client in list(self.clients):
            if client.user:
                frame = frame or text_frame(f'{{"subscriptionId":0,"event":{event}}}'.encode())
                client.send(frame, "user")
                if client.waiting_bytes > self.buffer_bytes_max:
                    self.cut(client)

    def cut_slow(self, clients: Any) -> None:
        for client in [c for c in clients if c.waiting_bytes > self.buffer_bytes_max]:
            self.cut(client)

    def cut(self, client: Client) -> None:
        self.cut_off += 1
        client.transport.abort()
        self.remove(client)


def opening(path: str, query: dict[str, str]) -> tuple[bool, list[str]]:
    """What a market connection's URL asks for: (wrapped, streams). `/ws/<anything>` is accepted, as ccxt needs it."""
    head, _, tail = path.strip("/").partition("/")
    if head == "stream":
        return True, [name for name in query.get("streams", "").split("/") if name]
    return False, [name for name in unquote(tail).split("/") if "@" in name]


def control(hub: Hub, client: Client, message: str) -> bytes:
    """Answers one SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS, or GET/SET_PROPERTY (venues.md §1.2)."""
    try:
        request = _decode(message)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return _encode({"code": 3, "msg": "Invalid JSON: expected value"})
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _encode({"code": 2, "msg": "Invalid request: missing field `method`"})
    ident, method, params = request.get("id"), request["method"], request.get("params", [])
    if isinstance(ident, bool) or not isinstance(ident, (int, str, type(None))) or len(str(ident)) > 36:
        return _encode({"code": 2, "msg": "Invalid request: request ID must be an integer, a string or null"})
    if method == "LIST_SUBSCRIPTIONS":
        return _encode({"result": list(client.streams), "id": ident})
    if not isinstance(params, list):
        return _encode({"code": 1, "msg": "Invalid value type: expected sequence", "id": ident})
    if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        if not params or not all(isinstance(name, str) for name in params):
            return _encode({"code": 1, "msg": "Invalid value type: expected non-empty array of strings", "id": ident})
        if method == "UNSUBSCRIBE":
            for name in params:
                hub.unsubscribe(client, name)
        elif len(client.streams.keys() | set(params)) > STREAMS_MAX:
            return _encode({"code": 2, "msg": f"Invalid request: more than {STREAMS_MAX} streams", "id": ident})
        else:
            for name in params:
                hub.subscribe(client, name)
        return _encode({"result": None, "id": ident})
    if method in ("SET_PROPERTY", "GET_PROPERTY"):
        if params[:1] != ["combined"]:
            return _encode({"code": 0, "msg": "Unknown property", "id": ident})
        if method == "GET_PROPERTY":
            return _encode({"result": client.wrapped, "id": ident})
        if len(params) != 2 or not isinstance(params[1], bool):
            return _encode({"code": 1, "msg": "Invalid value type: expected Boolean", "id": ident})
        client.wrapped = params[1]
        return _encode({"result": None, "id": ident})
    return _encode({"code": 2, "msg": "Invalid request: unknown variant", "id": ident})


def ws_api(venue: api.Venue, client: Client, message: str, now_ms: int, used_weight: int) -> bytes:
    """Answers one WS-API request (venues.md §4)."""
    ident: Any = None
    limits = True
    try:
        try:
            request = _decode(message)
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise VenueError(-1135, "Invalid JSON request.") from None
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            raise VenueError(-1135, "Invalid 'method' in JSON request; expected a string.")
        values = request.get("params", {})
        given = request.get("id")
        if isinstance(given, bool) or not isinstance(given, (int, str, type(None))) or len(str(given)) > 36:
            raise VenueError(-1135, "Invalid 'id' in JSON request; expected an integer, a string (max. 36) or null.")
        ident = given
        if not isinstance(values, dict):
            raise VenueError(-1135, "Invalid 'params' in JSON request; expected an object.")
        params = Params(values)
        limits = params.values.get("returnRateLimits") is not False
        result = _call(venue, client, request["method"], params, now_ms)
        body = result.encode() if isinstance(result, str) else _encode(result)
        answer = b'{"id":' + _encode(ident) + b',"status":200,"result":' + body
    except NotYet:
        answer = _refusal(ident, VenueError(-1008, "The book is not known yet; please try again.", 503))
    except VenueError as error:
        answer = _refusal(ident, error)
    if limits:
        answer += b',"rateLimits":' + _encode([dict(api.rate_limits()[0], count=used_weight)])
    return answer + b"}"


def method_of(message: str) -> str:
    """The method that a WS-API message asks for; "" when it is none."""
    try:
        request = _decode(message)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return ""
    method = request.get("method") if isinstance(request, dict) else None
    return method if isinstance(method, str) else ""


def fault_reply(message: str, status: int, error: bytes) -> bytes:
    """The WS-API shape of an error that did not come from the request; `error` is `{"code","msg"}`."""
    try:
        request = _decode(message)
    except (msgspec.DecodeError, UnicodeEncodeError):
        request = None
    ident = request.get("id") if isinstance(request, dict) else None
    return b'{"id":' + _encode(ident) + b',"status":%d,"error":' % status + error + b"}"


def _refusal(ident: Any, error: VenueError) -> bytes:
    return b'{"id":' + _encode(ident) + b',"status":%d,"error":' % error.status + _encode(error.body())


def _call(venue: api.Venue, client: Client, method: str, params: Params, now_ms: int) -> Any:
    if method == "userDataStream.subscribe.signature":
        venue.check_signed(params, api.need_api_key(params), ws_payload(params.values), now_ms)
        if client.user:
            raise VenueError(-2035, "Stream subscription is already active.")
        client.user = True
        return {"subscriptionId": 0}
    if method == "userDataStream.unsubscribe":
        if not client.user:
            raise VenueError(-2036, "Stream subscription is not active.")
        client.user = False
        return {}
    if method == "session.subscriptions":
        return [{"subscriptionId": 0}] if client.user else []
    operation = api.WS.get(method)
    if operation is None:
        raise VenueError(-1020, f"This operation is not supported: {method[:100]}")
    if operation.signed:
        venue.check_signed(params, api.need_api_key(params), ws_payload(params.values), now_ms)
    return operation.call(venue, params, now_ms)

"""WS-API requests of one connection (venues.md §4): the text of a request in, one reply out. Pure."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from tickmesh.nodes.exchange.api import api, time_units
from tickmesh.nodes.exchange.api.keys import Ed25519Key
from tickmesh.nodes.exchange.api.operation import Operation
from tickmesh.nodes.exchange.api.parameters import EVERY_WS_REQUEST, WS_KEYED, WS_SIGNED, takes
from tickmesh.nodes.exchange.api.streams import Client
from tickmesh.nodes.exchange.api.venue import Venue, VenueDoor
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.protocol import (
    JsonObject,
    NotKnownYet,
    Params,
    VenueError,
    check_receive_window,
    missing_parameter,
    ws_payload,
)

SUBSCRIPTIONS_MAX = 65_535  # over the life of a connection
CONNECT_WEIGHT = 2
RequestId: TypeAlias = int | str | None
_decode = msgspec.json.Decoder(float_hook=str).decode  # numbers keep their text: a signature covers it
_encode = msgspec.json.Encoder().encode


def parse_json(message: str) -> object:
    """Decodes a message as JSON; None for one that is not JSON."""
    try:
        return _decode(message)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def method_of(message: str) -> str:
    """The method that a message asks for; "" when it is no request."""
    request = parse_json(message)
    method = request.get("method") if isinstance(request, dict) else None
    return method if isinstance(method, str) else ""


def fault_reply(message: str, status: int, error: bytes, retry_after_s: int, now_ms: int) -> bytes:
    """Builds the reply to a message that a fault answers; `error` is `{"code","msg"}`, or what a broken venue sends.

    `retry_after_s`: seconds from now until the client may come again; 0: the reply says nothing of that."""
    request = parse_json(message)
    ident = request.get("id") if isinstance(request, dict) else None
    if retry_after_s and error.startswith(b"{"):
        error = _encode({**_decode(error), "data": _retry(now_ms, now_ms + retry_after_s * 1000)})
    return b'{"id":' + _encode(ident) + b',"status":%d,"error":' % status + error + b"}"


def answer(venue: VenueDoor, client: Client, message: str, now_ms: int) -> bytes:
    """Carries out one WS-API message and gives the reply, whatever the message is."""
    ident: RequestId = None
    limits = client.sends_rate_limits
    operation: Operation | None = None
    try:
        ident, method, params = _request(message)
        limits = limits and params.values.get("returnRateLimits") is not False
        operation = api.WS_OPERATIONS[venue.name].get(method)
        weight = operation.weight_of(params) if operation else 2
        venue.limits.admit(client.address, weight, now_ms)
        result = _call(venue, client, operation, method, params, now_ms)
        if operation and operation.free:
            venue.limits.weight.add(client.address, -weight, now_ms)
        body = result.encode() if isinstance(result, str) else _encode(result)
        body = time_units.answer_in_microseconds(body) if client.microseconds else body
        reply = b'{"id":' + _encode(ident) + b',"status":200,"result":' + body
    except NotKnownYet:
        reply = _refusal(ident, VenueError(-1008, "The book is not known yet; please try again.", 503), now_ms)
    except BadRequest as error:
        reply = _refusal(error.ident, error, now_ms)
        venue.limits.weight.add(client.address, 1, now_ms)
    except VenueError as error:
        reply = _refusal(ident, error, now_ms)
    if limits:
        rows = venue.limits.order_rows(OWNER, now_ms) if operation and operation.order else []
        reply += b',"rateLimits":' + _encode([*rows, venue.limits.weight_row(client.address, now_ms)])
    return reply + b"}"


class BadRequest(VenueError):
    """The refusal of a message that is no request at all. `ident`: its id, where that could be read."""

    def __init__(self, message: str, ident: RequestId = None):
        super().__init__(-1135, message)
        self.ident = ident


def _request(message: str) -> tuple[RequestId, str, Params]:
    request = parse_json(message)
    if request is None:
        raise BadRequest("Invalid JSON request.")
    if not isinstance(request, dict):
        raise BadRequest("Invalid JSON request; expected an object.")
    ident = request.get("id")
    if isinstance(ident, bool) or not isinstance(ident, (int, str, type(None))) or len(str(ident)) > 36:
        raise BadRequest("Invalid 'id' in JSON request; expected an integer, a string (max. 36) or null.")
    if not isinstance(request.get("method"), str):
        raise BadRequest("Invalid 'method' in JSON request; expected a string.", ident)
    values = request.get("params", {})
    if not isinstance(values, dict):
        raise BadRequest("Invalid 'params' in JSON request; expected an object.", ident)
    return ident, request["method"], Params(values)


def _refusal(ident: RequestId, error: VenueError, now_ms: int) -> bytes:
    body = error.body()
    if error.retry_at_ms:
        body["data"] = _retry(now_ms, error.retry_at_ms)
    return b'{"id":' + _encode(ident) + b',"status":%d,"error":' % error.status + _encode(body)


def _retry(now_ms: int, retry_at_ms: int) -> JsonObject:
    """The `data` of a 429 or 418: a moment in ms here, not seconds as in the HTTP header (venues.md §4)."""
    return {"serverTime": now_ms, "retryAfter": retry_at_ms}


def _call(venue: VenueDoor, client: Client, operation: Operation | None, method: str, params: Params, now_ms: int) -> object:
    if operation is None:
        session = SESSION.get(method)
        if session is None or not isinstance(venue, Venue):
            raise VenueError(-1020, f"This operation is not supported: {method[:100]}")
        SESSION_TAKES.get(method, EVERY_WS_REQUEST).check(params)
        return session(venue, client, params, now_ms)
    known = operation.takes.also(EVERY_WS_REQUEST)
    if operation.signed:
        _check_signed(venue, client, params, now_ms)
        known = known.also(WS_SIGNED)
    elif operation.keyed:
        venue.check_key(params.text("apiKey"))
        known = known.also(WS_KEYED)
    known.check(params)
    return operation.call(venue, params, now_ms)


def _check_signed(venue: VenueDoor, client: Client, params: Params, now_ms: int) -> None:
    """Checks who asks: a request without key and signature is its session's, where one has logged on."""
    if client.session_key and "apiKey" not in params and "signature" not in params:
        check_receive_window(params, params.integer("timestamp"), now_ms)
        return
    if "apiKey" not in params:
        raise missing_parameter("apiKey")
    venue.check_signed(params, params.text("apiKey"), ws_payload(params.values), now_ms)


# ---- what belongs to the connection


def _subscribe_signed(venue: Venue, client: Client, params: Params, now_ms: int) -> JsonObject:
    if "apiKey" not in params:
        raise missing_parameter("apiKey")
    _check_signed(venue, client, params, now_ms)
    return _subscribe(client, by_session=False)


def _subscribe_session(venue: Venue, client: Client, params: Params, now_ms: int) -> JsonObject:
    if not client.session_key:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action: session.logon comes first.", 401)
    return _subscribe(client, by_session=True)


def _subscribe(client: Client, by_session: bool) -> JsonObject:
    if client.subscription is not None:
        raise VenueError(-2035, "User Data Stream subscription is already active.")
    if client.subscriptions_made >= SUBSCRIPTIONS_MAX:
        raise VenueError(-2042, "Maximum subscription ID reached for this connection.")
    client.subscription = client.subscriptions_made
    client.subscriptions_made += 1
    client.subscribed_by_session = by_session
    return {"subscriptionId": client.subscription}


def _unsubscribe(venue: Venue, client: Client, params: Params, now_ms: int) -> JsonObject:
    wanted = params.integer("subscriptionId") if "subscriptionId" in params else client.subscription
    if client.subscription is None or wanted != client.subscription:
        raise VenueError(-2036, "User Data Stream subscription is not active.")
    client.ended_subscription = client.subscription
    client.subscription = None
    return {}


def _subscriptions(venue: Venue, client: Client, params: Params, now_ms: int) -> list[JsonObject]:
    return [] if client.subscription is None else [{"subscriptionId": client.subscription}]


def _status(venue: Venue, client: Client, params: Params, now_ms: int) -> JsonObject:
    return {
        "apiKey": client.session_key or None,
        "authorizedSince": client.session_since_ms if client.session_key else None,
        "connectedSince": client.opened_ms,
        "returnRateLimits": client.sends_rate_limits,
        "serverTime": now_ms,
        "userDataStream": client.subscription is not None,
    }


def _logon(venue: Venue, client: Client, params: Params, now_ms: int) -> JsonObject:
    name = params.text("apiKey")
    key = venue.check_key(name)
    if not isinstance(key, Ed25519Key):
        raise VenueError(-4056, f"{key.kind} API key is not supported.")
    venue.check_signed(params, name, ws_payload(params.values), now_ms)
    client.session_key, client.session_since_ms = name, now_ms
    return _status(venue, client, params, now_ms)


def _logout(venue: Venue, client: Client, params: Params, now_ms: int) -> JsonObject:
    client.session_key = ""
    if client.subscription is not None and client.subscribed_by_session:
        client.ended_subscription, client.subscription = client.subscription, None
    return _status(venue, client, params, now_ms)


SESSION: dict[str, Callable[[Venue, Client, Params, int], object]] = {
    "userDataStream.subscribe.signature": _subscribe_signed,
    "userDataStream.subscribe": _subscribe_session,
    "userDataStream.unsubscribe": _unsubscribe,
    "session.subscriptions": _subscriptions,
    "session.status": _status,
    "session.logout": _logout,
    "session.logon": _logon,
}
SESSION_TAKES = {
    "session.logon": EVERY_WS_REQUEST.also(WS_SIGNED),
    "userDataStream.subscribe.signature": EVERY_WS_REQUEST.also(WS_SIGNED),
    "userDataStream.unsubscribe": EVERY_WS_REQUEST.also(takes("subscriptionId")),
}

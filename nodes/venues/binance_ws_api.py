"""Messages of Binance's WS-APIs, of spot and USD-M alike: requests signed and numbered, answers read. Sans I/O.

Protocol: API documentation, "WebSocket API" (request and response format, signed requests), "Errors", "General API information"
(HTTP 5xx and unknown outcomes).
"""

from collections.abc import Mapping

import msgspec

from tickmesh.nodes.venues import binance_signing as signing
from tickmesh.nodes.venues.binance_limits import RateLimit, asked_pause_ms, orders_left, orders_pause_ms
from tickmesh.nodes.venues.order_venue import OrderRequest, SigningKey, Trouble, VenueMessage

UNKNOWN_OUTCOME = frozenset({-1000, -1001, -1006, -1007, -1008})
NO_SUCH_ORDER = -2013
CANCEL_REJECTED = -2011  # "Unknown order sent.": it is over, or was never there
NO_SUCH_SYMBOL = -1121
WRONG_TIME = -1021  # our timestamp is too old, or ahead of the venue's clock: nothing was done
KEY_CODES = frozenset({-1022, -2008, -2014})  # signature, unknown key, its form
KEY_OR_PERMISSION = frozenset({-1002, -2015})  # "Invalid API-key, IP, or permissions for action."
UNWELL_CODES = frozenset({-1001, -1008, -1016})
UNANSWERED_CODES = frozenset({-1006, -1007})  # of one order's backend: its outcome is open, and says nothing of the next
FILTER_CODES = frozenset({-1013, -1111})
TOO_MANY = (418, 429)  # statuses of refusals that ask to wait


class _Error(msgspec.Struct):
    """The error of an answer."""

    code: int = 0
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Message(msgspec.Struct):
    """Anything on a WS-API connection: the answer to a request (`id`), or a user event (`event`)."""

    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw()
    error: _Error | None = None
    event: msgspec.Raw = msgspec.Raw()
    rateLimits: list[RateLimit] = []  # noqa: N815


class _Retry(msgspec.Struct):
    """The `data` of an error that asks to wait: until when."""

    retryAfter: int = 0  # noqa: N815  (ms since the epoch here, unlike the HTTP header)


_decode_message = msgspec.json.Decoder(_Message).decode
_decode_retry = msgspec.json.Decoder(_Retry).decode


def trouble(status: int, code: int, words: str) -> Trouble | None:
    """What a refusal is about that the next order like it would meet too ("Errors"; of -2010 the text decides)."""
    if code in UNANSWERED_CODES:
        return None
    if status >= 500 or code in UNWELL_CODES:
        return Trouble.MAINTENANCE
    if code in KEY_CODES:
        return Trouble.KEY
    if code in KEY_OR_PERMISSION:
        return Trouble.PERMISSION
    if code == NO_SUCH_SYMBOL:
        return Trouble.SYMBOL
    if "Market is closed" in words or "not in trading status" in words:
        return Trouble.HALTED
    if "insufficient" in words.lower():
        return Trouble.BALANCE
    if "disabled on this account" in words:
        return Trouble.PERMISSION
    return Trouble.FILTER if code in FILTER_CODES else None


def build_request(number: str, method: str, params: Mapping[str, object]) -> bytes:
    """A request as JSON bytes; its answer carries the same id, `number`."""
    return msgspec.json.encode({"id": number, "method": method, "params": params})


def encode(request: OrderRequest, number: str, key: SigningKey, now_ms: int, recv_window_ms: int) -> bytes:
    """A request as its message, signed at the venue's time `now_ms`; one that is not to be signed has the key alone."""
    if not request.signed:
        return build_request(number, request.method, {**request.params, "apiKey": key.api_key})
    signed = signing.signed_params(request.params, key.api_key, key.sign, now_ms, recv_window_ms)
    return build_request(number, request.method, signed)


def read_message(frame: bytes, now_ms: int) -> VenueMessage:
    """Reads a message of the connection at the venue's time `now_ms`. Raises msgspec.DecodeError, UnicodeDecodeError."""
    message = _decode_message(frame)
    if bytes(message.event):
        return VenueMessage(event=bytes(message.event))
    pause_ms, left = orders_pause_ms(message.rateLimits, now_ms), orders_left(message.rateLimits)
    number = "" if message.id is None else str(message.id)
    if message.status == 200 and message.error is None:
        return VenueMessage(number, True, 200, bytes(message.result), orders_pause_ms=pause_ms, orders_left=left)
    error = message.error or _Error()
    asked_ms = 0
    if message.status in TOO_MANY:
        retry_ms = _decode_retry(error.data).retryAfter if bytes(error.data) else 0
        asked_ms = max(asked_pause_ms(error.code, retry_ms, now_ms), 1)
    return VenueMessage(number, False, message.status, b"", error.code, error.msg, pause_ms, asked_ms, orders_left=left)

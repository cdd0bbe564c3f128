"""What a client of the market streams may ask: by its URL, and by SUBSCRIBE and its kin (venues.md §1.2). Pure."""

from urllib.parse import unquote

import msgspec

from tickmesh.nodes.exchange.api import stream_names
from tickmesh.nodes.exchange.api.streams import Client, Hub
from tickmesh.nodes.exchange.orders.listen_key import LENGTH as LISTEN_KEY_LENGTH
from tickmesh.nodes.exchange.protocol import JsonObject

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
ID_MIN, ID_MAX = -(1 << 63), (1 << 63) - 1


def parse_url(path: str, query: dict[str, str]) -> tuple[bool, list[str]]:
    """Reads a market connection's URL: (wrapped frames, streams). `/ws/<anything>` is accepted, as ccxt needs it."""
    head, _, tail = path.strip("/").partition("/")
    keys = [query["listenKey"]] if query.get("listenKey") else []  # of the account's events, instead of a stream's name
    if head == "stream":
        # a + that is not percent-encoded is a space in a query string; no stream has one
        return True, [name for name in query.get("streams", "").replace(" ", "+").split("/") if name] + keys
    return False, [name for name in unquote(tail).split("/") if "@" in name or len(name) == LISTEN_KEY_LENGTH] + keys


def answer(hub: Hub, client: Client, message: str, streams_max: int) -> bytes:
    """Carries out one message of a client and gives the reply. What is no stream at all is acknowledged, too."""
    try:
        request = _decode(message)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return _error(3, "Invalid JSON: expected value", None)
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _error(2, "Invalid request: missing field `method`", None)
    ident, method, params = request.get("id"), request["method"], request.get("params", [])
    if not _legal(ident):
        return _error(2, "Invalid request: request ID must be an unsigned integer, a string of 36 or null", None)
    if method == "LIST_SUBSCRIPTIONS":
        return _encode({"result": list(client.streams), "id": ident})
    if not isinstance(params, list):
        return _error(1, "Invalid value type: expected sequence", ident)
    if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        return _subscribe(hub, client, method, params, ident, streams_max)
    if method in ("SET_PROPERTY", "GET_PROPERTY"):
        return _property(client, method, params, ident)
    return _error(2, f"Invalid request: unknown variant `{method[:40]}`", ident)


def _subscribe(hub: Hub, client: Client, method: str, params: list[object], ident: object, streams_max: int) -> bytes:
    names = [name for name in params if isinstance(name, str)]
    if not params or len(names) < len(params):
        return _error(1, "Invalid value type: expected non-empty array of strings", ident)
    if method == "UNSUBSCRIBE":
        for name in names:
            hub.unsubscribe(client, name)
    elif (elsewhere := hub.elsewhere(client.route.venue, names)) is not None:
        return _error(2, stream_names.refusal(elsewhere), ident)
    elif len(client.streams.keys() | set(names)) > streams_max:
        return _error(2, f"Invalid request: more than {streams_max} streams", ident)
    else:
        for name in names:
            hub.subscribe(client, name)
    return _encode({"result": None, "id": ident})


def _property(client: Client, method: str, params: list[object], ident: object) -> bytes:
    if params[:1] != ["combined"]:
        return _error(0, "Unknown property", ident)
    if method == "GET_PROPERTY":
        return _encode({"result": client.wrapped, "id": ident})
    if len(params) != 2 or not isinstance(params[1], bool):
        return _error(1, "Invalid value type: expected Boolean", ident)
    client.wrapped = params[1]
    return _encode({"result": None, "id": ident})


def _legal(ident: object) -> bool:
    if isinstance(ident, bool):
        return False
    if isinstance(ident, int):
        return ID_MIN <= ident <= ID_MAX
    return ident is None or isinstance(ident, str) and len(ident) <= 36


def _error(code: int, message: str, ident: object) -> bytes:
    body: JsonObject = {"code": code, "msg": message}
    return _encode(body if ident is None else {**body, "id": ident})

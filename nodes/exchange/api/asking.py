"""What a client asks about the account, and how that was answered, as rows of the exchange ledger. Pure."""

from collections.abc import Mapping

import msgspec

from tickmesh.nodes.exchange.api.routes import BASES
from tickmesh.nodes.exchange.api.streams import Client
from tickmesh.nodes.exchange.api.ws_api import parse_json
from tickmesh.nodes.exchange.ledger import LedgerRow
from tickmesh.nodes.exchange.market.instruments import SPOT
from tickmesh.nodes.exchange.protocol import parse_form

BY_REST = 0  # in place of a connection's number
NAMES = ("origClientOrderId", "newClientOrderId")  # of the order that a request is about: a cancel's own name comes second


class _Reply(msgspec.Struct):
    status: int = 0


_reply = msgspec.json.Decoder(_Reply)


def asked_over_socket(client: Client, text: str, reply: bytes, status: int = 0) -> LedgerRow | None:
    """The row of a signed WS-API request, with the status of its reply, else `status`; None for another request."""
    request = parse_json(text)
    params = request.get("params") if isinstance(request, dict) else None
    if not isinstance(request, dict) or not isinstance(params, dict):
        return None
    operation = client.route.name_of(str(request.get("method", ""))[:100])
    return _row(client.number, operation, params, client.session_key != "", _reply.decode(reply).status if reply else status)


def asked_over_rest(venue: str, method: str, path: str, query: str, body: str, status: int) -> LedgerRow | None:
    """The row of a signed REST request; None for another one. `path`: as its venue knows it."""
    operation = f"{method} {BASES[venue] if venue != SPOT else ''}{path}"
    return _row(BY_REST, operation, parse_form(query, body), False, status)


def _row(connection: int, operation: str, params: Mapping[str, object], logged_on: bool, status: int) -> LedgerRow | None:
    if "signature" not in params and not logged_on:
        return None
    order = next((str(params[name])[:36] for name in NAMES if params.get(name)), "")
    return "asked", connection, operation, order, status

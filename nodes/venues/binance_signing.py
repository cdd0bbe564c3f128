"""How requests to Binance are signed. "Request security", "WebSocket API" (signed requests) of the API pages. Sans I/O."""

import hmac
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlencode


def sign(secret: str, payload: str) -> str:
    """The HMAC-SHA256 of a payload, as hex. Of a REST request: the query string followed directly by the body, as sent."""
    keyed = _keyed(secret).copy()
    keyed.update(payload.encode())
    return keyed.hexdigest()


@lru_cache(maxsize=4)
def _keyed(secret: str) -> hmac.HMAC:
    """What all signatures with this secret begin with, computed once."""
    return hmac.new(secret.encode(), digestmod="sha256")


def signed_query(parameters: Mapping[str, object], secret: str, now_ms: int, recv_window_ms: int) -> str:
    """A REST query string with time and signature: percent-encoded, then signed, the signature last."""
    query = urlencode({**parameters, "recvWindow": recv_window_ms, "timestamp": now_ms})
    return f"{query}&signature={sign(secret, query)}"


def signed_params(
    parameters: Mapping[str, object], api_key: str, secret: str, now_ms: int, recv_window_ms: int
) -> dict[str, object]:
    """The params of a WS-API request with key, time and signature; the signature is over `ws_payload`."""
    params = {**parameters, "apiKey": api_key, "recvWindow": recv_window_ms, "timestamp": now_ms}
    params["signature"] = sign(secret, ws_payload(params))
    return params


def ws_payload(parameters: Mapping[str, object]) -> str:
    """The text that is signed of a WS-API request: its params but the signature, sorted by name, `k=v` joined by `&`."""
    return "&".join(f"{name}={_plain(value)}" for name, value in sorted(parameters.items()) if name != "signature")


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

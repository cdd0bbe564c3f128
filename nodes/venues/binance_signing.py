"""How requests to Binance are signed. "Request security", "WebSocket API" (signed requests) of the API pages. Sans I/O."""

import hmac
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from tickmesh.nodes.venues.order_venue import Signer


class KeyUnusable(ValueError):
    """Raised for a private key that cannot sign, as a sentence that does not contain it."""


def hmac_signer(secret: str) -> Signer:
    """Makes a signer by a shared secret: HMAC-SHA256, as hex."""
    begun = hmac.new(secret.encode(), digestmod="sha256")  # what all signatures begin with, computed once

    def sign(payload: str) -> str:
        keyed = begun.copy()
        keyed.update(payload.encode())
        return keyed.hexdigest()

    return sign


def ed25519_signer(pem: str) -> Signer:
    """Makes a signer by an Ed25519 private key (PKCS#8, PEM, without a password): base64. Raises KeyUnusable."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise KeyUnusable("an Ed25519 key needs the package cryptography: pip install cryptography") from None
    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError):
        raise KeyUnusable("the private key is no PKCS#8 PEM without a password (-----BEGIN PRIVATE KEY-----)") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable("the private key is no Ed25519 key; make one with: openssl genpkey -algorithm ed25519")
    return lambda payload: b64encode(key.sign(payload.encode())).decode()


def signed_query(parameters: Mapping[str, object], sign: Signer, now_ms: int, recv_window_ms: int) -> str:
    """A REST query string with time and signature: percent-encoded, then signed, the signature last."""
    query = urlencode({**parameters, "recvWindow": recv_window_ms, "timestamp": now_ms})
    return f"{query}&signature={quote(sign(query), safe='')}"


def signed_params(
    parameters: Mapping[str, object], api_key: str, sign: Signer, now_ms: int, recv_window_ms: int
) -> dict[str, object]:
    """The params of a WS-API request with key, time and signature; the signature is over `ws_payload`."""
    params = {**parameters, "apiKey": api_key, "recvWindow": recv_window_ms, "timestamp": now_ms}
    params["signature"] = sign(ws_payload(params))
    return params


def ws_payload(parameters: Mapping[str, object]) -> str:
    """The text that is signed of a WS-API request: its params but the signature, sorted by name, `k=v` joined by `&`."""
    named = sorted(parameters.items())
    return "&".join(
        [
            f"{name}={str(value).lower() if value is True or value is False else value}"
            for name, value in named if name != "signature"
        ]
    )  # fmt: skip

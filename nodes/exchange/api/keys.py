"""API keys of the local venue's account, and how each verifies a signature (venues.md §2.4). Pure."""

import base64
import binascii
import hmac
from typing import Protocol

from tickmesh.nodes.exchange.protocol import sign


class ApiKey(Protocol):
    """One key of the account."""

    kind: str  # as the venue names it

    def verifies(self, payload: str, signature: str) -> bool:
        """Whether a signature is this key's over a payload."""


class HmacKey:
    """A key with a secret that both sides know: HMAC-SHA256, hex digits of either case."""

    kind = "HMAC_SHA256"

    def __init__(self, secret: str):
        self._secret = secret

    def verifies(self, payload: str, signature: str) -> bool:
        """Whether a signature is this key's over a payload."""
        return hmac.compare_digest(sign(self._secret, payload).encode(), signature.lower().encode())


class Ed25519Key:
    """A key of which the venue has the public half only: Ed25519, base64. It alone may `session.logon`."""

    kind = "ED25519"

    def __init__(self, public_pem: bytes):
        """`public_pem`: a public key as PEM. ValueError for anything else."""
        # here, because an exchange without such a key need not load it
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            key = load_pem_public_key(public_pem)
        except UnsupportedAlgorithm as error:
            raise ValueError(str(error)) from None
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError(f"a key of type {type(key).__name__}, not Ed25519")
        self._key = key

    def verifies(self, payload: str, signature: str) -> bool:
        """Whether a signature is this key's over a payload."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(base64.b64decode(signature, validate=True), payload.encode())
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

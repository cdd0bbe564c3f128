"""Who may ask: a request's host, origin, address and token, judged before anything of it is used."""

import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tickmesh.bus.addresses import is_address, is_loopback
from tickmesh.nodes.gateway.problems import RequestProblem

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")  # what a proxy adds: whoever is behind it is not on this machine
TARGET_BYTES_MAX = 4096  # of path and query
METHODS = ("GET",)


class AskedRequest(NamedTuple):
    """What is judged of a request. `headers`: names in lower case. `address`: of the peer; `local`: of our end."""

    method: str
    target: str
    headers: Mapping[str, str]
    address: str
    local: str


class AccessRules(NamedTuple):
    """`names`: what the server is called beside the addresses of this machine; `scheme`: http or https; `token`: the secret."""

    names: frozenset[str]
    scheme: str
    token: str

    def check(self, asked: AskedRequest) -> None:
        """Raises RequestProblem for a request that is not let in."""
        self._check_host(asked)
        self._check_origin(asked)
        self._check_token(asked)
        if asked.method not in METHODS:
            raise RequestProblem(
                405, f"{asked.method} is not allowed here: the gateway changes nothing; allowed is GET", {"Allow": "GET"}
            )
        if len(asked.target) > TARGET_BYTES_MAX:
            raise RequestProblem(
                414, f"path and query have {len(asked.target)} bytes; {TARGET_BYTES_MAX} are allowed: ask for less at once"
            )
        length = asked.headers.get("content-length", "0")
        if "transfer-encoding" in asked.headers or length != "0":
            raise RequestProblem(413, "the request has a body; none is read here: put what you ask for into the query")

    def _check_host(self, asked: AskedRequest) -> None:
        """A page whose name was made to lead to this machine (DNS rebinding) has its own name there."""
        host = asked.headers.get("host", "")
        name = host_name(host)
        if name in self.names or name in LOOPBACK_NAMES or (is_address(name) and name == asked.local):
            return
        allowed = ", ".join(sorted({*self.names, *LOOPBACK_NAMES[:2]}))
        raise RequestProblem(421, f"Host {host[:100]!r} is not this server; allowed: {allowed}, or add it to gateway.names")

    def _check_origin(self, asked: AskedRequest) -> None:
        """A page of another site may not ask, whatever it would do with the answer."""
        origin, own = asked.headers.get("origin"), f"{self.scheme}://{asked.headers.get('host', '')}"
        if origin is not None and origin != own:
            raise RequestProblem(403, f"Origin {origin[:100]!r} is another site; allowed: {own}, or none at all")
        site = asked.headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin"):
            raise RequestProblem(403, f"Sec-Fetch-Site {site[:20]!r}: another site asks; allowed: same-origin or none")

    def _check_token(self, asked: AskedRequest) -> None:
        given = asked.headers.get("authorization")
        if given is None and _is_here(asked.address) and not any(name in asked.headers for name in FORWARDED):
            return
        scheme, _, secret = (given or "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(secret.strip().encode(), self.token.encode()):
            why = "the token is another one" if given else f"a request from {asked.address or 'there'} needs the token"
            raise RequestProblem(
                401,
                f"{why}: send `Authorization: Bearer TOKEN`, with what run/gateway.token holds",
                {"WWW-Authenticate": "Bearer"},
            )


def host_name(host: str) -> str:
    """The name or address in a Host header, in lower case: without its port, of IPv6 without brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def names_of_server(host: str, names: Iterable[str]) -> frozenset[str]:
    """The names that a server on `host` answers to; an address that means all addresses is none."""
    own = [] if is_address(host) and ipaddress.ip_address(host).is_unspecified else [host]
    return frozenset(name.lower() for name in (*own, *names))


def _is_here(address: str) -> bool:
    return is_address(address) and is_loopback(address)

"""Who may ask: a request's host, origin, address and token, judged before anything of it is used."""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qs

from tickmesh.bus.addresses import is_address, is_loopback
from tickmesh.nodes.gateway.problems import RequestProblem

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")  # what a proxy adds: whoever is behind it is not on this machine
TARGET_BYTES_MAX = 4096  # of path and query
METHODS = ("GET",)
ACTIONS = "/v1/actions"  # the one path that takes a POST, where mesh.toml allows actions
BODY_BYTES_MAX = 4096  # of a POST there
PAGE = "/"  # the one path that takes the token in its address, and answers with a cookie
JSON = "application/json"


class AskedRequest(NamedTuple):
    """What is judged of a request. `headers`: names in lower case. `address`: of the peer; `local`: of our end."""

    method: str
    target: str
    headers: Mapping[str, str]
    address: str
    local: str


class AccessRules(NamedTuple):
    """`names`: what the server is called beside the addresses of this machine; `scheme`: http or https; `token`: the secret.

    `actions`: whether mesh.toml lets the gateway change something.
    """

    names: frozenset[str]
    scheme: str
    token: str
    actions: bool = False

    def check(self, asked: AskedRequest) -> None:
        """Raises RequestProblem for a request that is not let in."""
        self._check_host(asked)
        self._check_origin(asked)
        self._check_token(asked)
        if len(asked.target) > TARGET_BYTES_MAX:
            raise RequestProblem(
                414, f"path and query have {len(asked.target)} bytes; {TARGET_BYTES_MAX} are allowed: ask for less at once"
            )
        length = asked.headers.get("content-length", "0")
        if asked.method == "POST" and asked.target == ACTIONS and self.actions:
            self._check_action(asked, length)
            return
        if asked.method not in METHODS:
            off = ": gateway.actions is false in mesh.toml" if asked.target == ACTIONS and not self.actions else ""
            raise RequestProblem(405, f"{asked.method} is not allowed here{off}; allowed is GET", {"Allow": "GET"})
        if "transfer-encoding" in asked.headers or length != "0":
            raise RequestProblem(413, "the request has a body; none is read here: put what you ask for into the query")

    def has_token(self, asked: AskedRequest) -> bool:
        """Whether the request shows the token: in its header, in the page's cookie, or in the page's address."""
        scheme, _, secret = asked.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(secret.strip(), self.token):
            return True
        return _equal(_cookie(asked.headers.get("cookie", ""), self.cookie_name), self.cookie_value) or _equal(
            _token_in_address(asked.target) or "", self.token
        )

    @property
    def cookie_name(self) -> str:
        """The name of the page's cookie: another one for each token, for cookies of all ports of a machine lie together."""
        return f"tickmesh-{hashlib.sha256(self.token.encode()).hexdigest()[:8]}"

    @property
    def cookie_value(self) -> str:
        """What the page's cookie holds: made of the token, which it does not show."""
        return hmac.new(self.token.encode(), b"page", hashlib.sha256).hexdigest()

    def _check_action(self, asked: AskedRequest, length: str) -> None:
        """Raises RequestProblem for an action without the token in its header, or with a body that is not read."""
        if "authorization" not in asked.headers or not self.has_token(asked):
            raise self._needs_token("what changes the mesh needs the token, on this machine too")
        kind = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON:
            raise RequestProblem(415, f"Content-Type {kind[:60]!r} is not read here; allowed: {JSON}")
        if "transfer-encoding" in asked.headers or not (length.isascii() and length.isdigit()):
            raise RequestProblem(411, "the body has no Content-Length; state it")
        if int(length[:9]) > BODY_BYTES_MAX or len(length) > 9:
            raise RequestProblem(413, f"the body has {length[:20]} bytes; {BODY_BYTES_MAX} are allowed")

    def _needs_token(self, why: str) -> RequestProblem:
        return RequestProblem(
            401, f"{why}: send `Authorization: Bearer TOKEN`, with what run/gateway.token holds", {"WWW-Authenticate": "Bearer"}
        )

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
        """A token that is sent has to be right; without one only this machine itself is let in, or the page's cookie."""
        sent = [one for one in (asked.headers.get("authorization"), _token_in_address(asked.target)) if one is not None]
        right = sum(_equal(one.partition(" ")[2].strip() if " " in one else one, self.token) for one in sent)
        if right < len(sent) or (sent and not self.has_token(asked)):
            raise self._needs_token("the token is another one")
        far = not _is_here(asked.address) or any(name in asked.headers for name in FORWARDED)
        if far and not self.has_token(asked):
            raise self._needs_token(f"a request from {asked.address or 'there'} needs the token")


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


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _cookie(header: str, name: str) -> str:
    """The value of a cookie; "" where there is none of the name."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _token_in_address(target: str) -> str | None:
    """The token in the page's address; None where it has none, or is another page."""
    path, _, query = target.partition("?")
    if path != PAGE or "token=" not in query:
        return None
    return parse_qs(query, keep_blank_values=True).get("token", [None])[0]

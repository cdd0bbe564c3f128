"""Who may speak to the local exchange: programs of this machine, not the pages that a browser on it shows.

A page of anybody's can send requests to loopback. Its name in `Host` gives it away where it has its name resolve to here
(DNS rebinding), and `Origin`, which browsers send with every change and every websocket, where it asks across sites.
"""

from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from tickmesh.bus.addresses import is_loopback


def refuse_other_sites(host: str) -> Middleware:
    """The middleware that refuses web pages of other sites. `host`: exchange.host of mesh.toml, a name that is ours too."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        ours = {host_name_of(host), _reached(request)}
        if why := host_refusal(request.headers.getall("Host", []), ours):
            return _refusal(421, why)
        if why := origin_refusal(request.headers.getall("Origin", []), request.headers["Host"], ours):
            return _refusal(403, why)
        return await handler(request)

    return guarded


def host_refusal(hosts: list[str], ours: set[str]) -> str:
    """Why a request with these `Host` headers is not for this exchange, a sentence; "" if it is.

    `ours`: names that are its own beside those of loopback.
    """
    seen = hosts[0][:100] if hosts else ""
    if len(hosts) != 1:
        return f"a request needs one Host header, and this one has {len(hosts)}"
    if not is_ours(host_name_of(seen), ours):
        return f"Host is {seen!r}; this exchange answers as localhost, 127.0.0.1 or [::1] only (and as exchange.host)"
    return ""


def origin_refusal(origins: list[str], host: str, ours: set[str]) -> str:
    """Why a request's `Origin` is a page of another site, a sentence; "" if no browser sent it, or its page is of here."""
    for origin in origins:
        try:
            parts = urlsplit(origin)
            here = parts.port == urlsplit(f"//{host}").port and is_ours(host_name_of(parts.netloc), ours)
        except ValueError:
            here = False
        if not here:
            return f"Origin is {origin[:100]!r}: web pages of elsewhere may not ask this exchange; programs send no Origin"
    return ""


def host_name_of(authority: str) -> str:
    """The host in `name:port`, `[address]:port`, or either without a port, in lower case."""
    name = authority.partition("]")[0].lstrip("[") if authority.startswith("[") else authority
    if name.count(":") == 1:
        name = name.partition(":")[0]
    return name.lower().rstrip(".")


def is_ours(name: str, ours: set[str]) -> bool:
    """Whether a host's name is one that this exchange answers to."""
    return bool(name) and (name in ours or is_loopback(name))


def _reached(request: web.Request) -> str:
    """The address at which a request has arrived, which is a name of ours where exchange.host is 0.0.0.0."""
    place = request.transport.get_extra_info("sockname") if request.transport is not None else None
    return str(place[0]) if place else ""


def _refusal(status: int, why: str) -> web.Response:
    body = msgspec.json.encode({"code": -1002, "msg": why})
    return web.Response(status=status, body=body, content_type="application/json")

"""What every request passes before the API sees it, and what every answer has: access, rates, secure headers."""

from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tickmesh.nodes.gateway.access import AccessRules, AskedRequest
from tickmesh.nodes.gateway.problems import MEDIA_TYPE, RequestProblem, problem_body
from tickmesh.nodes.gateway.rates import RequestRates

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ONCE = (
    "host",
    "origin",
    "authorization",
    "content-length",
    "content-type",
    "cookie",
    "sec-fetch-site",
)  # two of them would be read in two ways
TOKEN_SHOWN = "tickmesh.token"  # in the scope: whether the request showed the token
SECURE = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """An ASGI application around another: refuses who may not ask. `now_s`: a monotonic clock. `refused`: by status."""

    def __init__(self, app: Application, rules: AccessRules, rates: RequestRates, now_s: Callable[[], float]):
        self.app, self.rules, self.rates, self.now_s = app, rules, rates, now_s
        self.requests = 0
        self.refused: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or lets the application do so."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        self.requests += 1
        try:
            self._check(scope)
        except RequestProblem as problem:
            self.refused[str(problem.status)] += 1
            await refuse(scope, receive, send, problem)
            return
        await self.app(scope, receive, secured(send))

    def _check(self, scope: Scope) -> None:
        asked = asked_request(scope)
        if wait_s := self.rates.wait_s(asked.address, self.now_s()):
            allowed = f"{self.rates.per_s:g} a second are allowed (gateway.requests_per_s)"
            after = {"Retry-After": str(int(wait_s) + 1)}
            raise RequestProblem(429, f"too many requests from {asked.address}; {allowed}: wait, or take a stream", after)
        self.rules.check(asked)
        scope[TOKEN_SHOWN] = self.rules.has_token(asked)


def asked_request(scope: Scope) -> AskedRequest:
    """What is judged of an ASGI scope. Raises RequestProblem for a header that stands there twice."""
    headers: dict[str, str] = {}
    for raw_name, value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in ONCE and name in headers:
            raise RequestProblem(400, f"there are two headers {name}; one is allowed")
        headers[name] = value.decode("latin-1")
    query = scope.get("query_string", b"")
    target = scope.get("raw_path") or scope["path"].encode()
    client, server = scope.get("client") or ("", 0), scope.get("server") or ("", 0)
    whole = f"{target.decode('latin-1')}?{query.decode('latin-1')}" if query else target.decode("latin-1")
    return AskedRequest(scope.get("method", "GET"), whole, headers, client[0], server[0])


async def refuse(scope: Scope, receive: Receive, send: Send, problem: RequestProblem) -> None:
    """Answers with the problem, and ends the connection: whatever else has been sent on it is not read."""
    path = scope["path"][:200]
    prefix = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    if scope["type"] == "websocket":
        await receive()  # the handshake's own message
    body = problem_body(problem.status, problem.detail, path)
    headers = {
        **SECURE, "content-type": MEDIA_TYPE, "content-length": str(len(body)), "connection": "close",
        **{name.lower(): value for name, value in problem.headers.items()},
    }  # fmt: skip
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": f"{prefix}.start", "status": problem.status, "headers": raw})
    await send({"type": f"{prefix}.body", "body": body})


def secured(send: Send) -> Send:
    """A `send` that adds the secure headers which an answer has not."""

    async def with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            headers = list(message.get("headers", []))
            names = {name.decode("latin-1").lower() for name, _ in headers}
            headers += [(name.encode(), value.encode()) for name, value in SECURE.items() if name not in names]
            message = {**message, "headers": headers}
        await send(message)

    return with_headers

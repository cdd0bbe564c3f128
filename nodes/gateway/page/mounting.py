"""Puts the page beside the API: which paths are its own, when it is loaded, how many viewers there may be, its headers."""

import asyncio
import contextlib
import importlib
import os
from typing import Any

from tickmesh.bus.operator_log import log_line
from tickmesh.nodes.gateway.access import PAGE, AccessRules
from tickmesh.nodes.gateway.actions import NAME, MeshActions
from tickmesh.nodes.gateway.guard import SECURE, Application, Receive, Scope, Send, refuse
from tickmesh.nodes.gateway.page.collecting import PictureCollector
from tickmesh.nodes.gateway.problems import RequestProblem

ASSETS, SOCKET = "/_nicegui/", "/_nicegui_ws/"
VIEWERS_MAX = 16  # pages that are open at once, or were opened a moment ago
VIEW = "tickmesh.nodes.gateway.page.view"
# The page's scripts compile templates (`unsafe-eval`), and stand in the page (`unsafe-inline`); they come from here alone.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class PageMount:
    """An ASGI application: the page at `/`, all else the API. The page is loaded when it is asked for first."""

    def __init__(self, api: Application, rules: AccessRules, collector: PictureCollector, actions: MeshActions, version: str):
        self.api, self.rules, self.collector, self.actions, self.version = api, rules, collector, actions, version
        self.sockets = 0
        self._page: Application | None = None
        self._view: Any = None
        self._loading = asyncio.Lock()
        self._open = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request or websocket."""
        path = scope.get("path", "")
        if scope["type"] not in ("http", "websocket") or not (path == PAGE or path.startswith((ASSETS, SOCKET))):
            await self.api(scope, receive, send)
            return
        try:
            if path == PAGE and scope["type"] == "http" and b"token=" in scope.get("query_string", b""):
                await _redirect(send, self.rules)  # the guard has seen that it is the right one
                return
            page = await self._loaded()
            self._check(scope, path)
        except RequestProblem as problem:
            await refuse(scope, receive, send, problem)
            return
        if scope["type"] == "websocket":
            self.sockets += 1
        try:
            await page(scope, receive, _with_policy(send))
        finally:
            self.sockets -= scope["type"] == "websocket"

    async def close(self) -> None:
        """Ends the page, if it was loaded."""
        await self._open.aclose()

    def _check(self, scope: Scope, path: str) -> None:
        """Raises RequestProblem where there are too many viewers, or the socket is asked for in another way."""
        if path.startswith(SOCKET) and scope["type"] != "websocket":
            raise RequestProblem(426, "the page's socket is a websocket; nothing else is given here", {"Upgrade": "websocket"})
        many = self.sockets if scope["type"] == "websocket" else self._view.viewers() if path == PAGE else 0
        if many >= VIEWERS_MAX:
            raise RequestProblem(
                503, f"{many} viewers are here; {VIEWERS_MAX} are allowed: close a page", {"Retry-After": "60"}
            )

    async def _loaded(self) -> Application:
        async with self._loading:
            if self._page is None:
                os.environ.setdefault("NICEGUI_STORAGE_PATH", str(self.collector.config.run_dir / "page"))
                self._view = await asyncio.to_thread(importlib.import_module, VIEW)
                page, lifespan = self._view.build_page(self.collector, self.actions, self.version)
                await self._open.enter_async_context(lifespan)
                self._page = page
                log_line(NAME, "info", "the page is loaded: somebody looks")
            return self._page


async def _redirect(send: Send, rules: AccessRules) -> None:
    """Puts the token out of the address into a cookie that no script can read."""
    secure = "; Secure" if rules.scheme == "https" else ""
    cookie = f"{rules.cookie_name}={rules.cookie_value}; Path=/; HttpOnly; SameSite=Strict{secure}"
    headers = {**SECURE, "location": PAGE, "set-cookie": cookie, "content-length": "0"}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 303, "headers": raw})
    await send({"type": "http.response.body", "body": b""})


def _with_policy(send: Send) -> Send:
    async def with_policy(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", []), (b"content-security-policy", POLICY.encode())]
            message = {**message, "headers": headers}
        await send(message)

    return with_policy

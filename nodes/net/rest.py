"""A client for any venue's REST interface: limits obeyed, outcomes told apart. What is a venue's own is in its `RestRules`.

4xx means that the request did nothing; 5xx, that its outcome is unknown; a refusal for too many requests (429) carries
Retry-After in seconds, and going on after it leads to a ban of the address at every venue.
"""

import asyncio
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from tickmesh.bus.clock import now_ns
from tickmesh.nodes.net import refusals
from tickmesh.nodes.net.failures import Unanswered
from tickmesh.nodes.net.waits import Waits
from tickmesh.nodes.venues.parsing.dialect import RestRules

if TYPE_CHECKING:
    from tickmesh.nodes.net.http_client import Answer, HttpClient

BODY_BYTES_MAX = 16 << 20
UNAVAILABLE = 503  # with Retry-After it is obeyed as 429 is
SPOKEN = (400, 404)  # statuses that venues use for what a request is about: their own words say what is wrong


class RestError(Exception):
    """The venue answered and refused. `code`: its own error code (0: none was sent), `status`: of HTTP."""

    def __init__(self, status: int, code: int, message: str):
        advice = "" if code or status in SPOKEN else f"; {refusals.advice(status)}"  # the venue's own words say enough
        super().__init__(f"HTTP {status}, code {code}: {message}{advice}")
        self.status = status
        self.code = code
        self.words = message


class RestLimited(RestError):
    """Too many requests: nothing is sent for the next `wait_s` seconds."""

    def __init__(self, status: int, code: int, message: str, wait_s: float):
        super().__init__(status, code, message)
        self.wait_s = wait_s


class RestUnreachable(Exception):
    """No answer came: connection refused, broken, or too slow; the sentence begins with the server's name.

    Whether the request did something is not known.
    """


class Rest:
    """A REST client of one venue, whose conventions `rules` states; it sends from `local_addr` if that is not empty.

    `ca`: a file of certificates to trust beside the system's. `waits`: who asked to be left alone; what an answer
    asks is noted there.
    `used_weight`: what this address has used of the venue's weight a minute, by its last answer; 0 where it states none.
    `limited`: how many requests it has refused because there were too many.
    """

    def __init__(
        self, rules: RestRules, timeout_s: float = 10.0, api_key: str = "", local_addr: str = "", ca: Path | None = None,
        waits: Waits | None = None,
    ):  # fmt: skip
        self._rules = rules
        self._ca = ca
        self.limited = 0
        self._timeout_s = timeout_s
        self._headers = {rules.api_key_header: api_key} if api_key and rules.api_key_header else {}
        self._client: HttpClient | None = None
        self.waits = waits or Waits()
        self._address = local_addr
        self.used_weight = 0

    async def get(self, base: str, path: str, query: str | Mapping[str, object] = "") -> bytes:
        """The body of a 200 answer to a GET, as `send` gives it."""
        return await self.send("GET", base, path, query)

    async def send(self, verb: str, base: str, path: str, query: str | Mapping[str, object] = "") -> bytes:
        """The body of a 200 answer to a request. `query`: parameters, or a signed query string, which is sent as it is.

        Raises RestError, RestLimited (also without asking, while the venue wants us to wait) or RestUnreachable.
        """
        if (wait := self.waits.current(base, self._address)) is not None:
            raise RestLimited(429, 0, f"not asked, as the server wishes: {wait.why}", wait.left_s)
        text = query if isinstance(query, str) else urlencode(query)
        url = f"{base}{path}?{text}" if text else f"{base}{path}"
        client = self._client or await self._load_client()
        try:
            answer = await client.request(verb, url, self._ca, BODY_BYTES_MAX + 1)
        except Unanswered as error:
            raise RestUnreachable(f"{urlsplit(base).netloc}: {error}") from None
        self._account(answer)
        if answer.status == 200 and len(answer.body) <= BODY_BYTES_MAX:
            return answer.body
        raise self._refusal(base, answer)

    async def close(self) -> None:
        """Closes the connections that are kept open for the next request."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _load_client(self) -> "HttpClient":
        """The HTTP client, which is loaded beside the loop where no request was made before: streams are read meanwhile."""
        await asyncio.to_thread(importlib.import_module, "tickmesh.nodes.net.http_client")
        from tickmesh.nodes.net.http_client import HttpClient

        if self._client is None:  # else another request was first
            self._client = HttpClient(self._timeout_s, self._headers, self._address)
        return self._client

    def _account(self, answer: "Answer") -> None:
        weight = answer.headers.get(self._rules.used_weight_header.lower(), "")
        if weight.isdigit():
            self.used_weight = int(weight)

    def _refusal(self, base: str, answer: "Answer") -> RestError:
        headers, body = answer.headers, answer.body
        code, message = self._rules.decode_error(body)
        said = refusals.refusal(answer.status, answer.reason, headers, body, now_ns() / 1e9)
        message = (message if code else said.words) or f"{said.phrase}, {len(body)} bytes"
        wait_s = said.wait_s
        if answer.status in self._rules.limited_statuses:
            wait_s = refusals.LIMITED_WAIT_S if wait_s is None else wait_s
        elif answer.status != UNAVAILABLE or "retry-after" not in headers:
            wait_s = None
        if wait_s is not None:
            banned = refusals.is_ban(answer.status, message)
            self.waits.take(base, self._address, wait_s, said.sentence, banned)
            self.limited += answer.status in self._rules.limited_statuses
            return RestLimited(answer.status, code, message, wait_s)
        return RestError(answer.status, code, message)

"""HTTP requests by aiohttp, and what its errors mean.

Loaded with the first request: aiohttp takes a quarter of a second of CPU, and a stream can flow without it
(docs/decisions/streams-first.md).
"""

from pathlib import Path
from typing import NamedTuple

import aiohttp
from yarl import URL

from tickmesh.nodes.net.failures import Unanswered, line_of, why_unreached
from tickmesh.nodes.net.trust import trust


class Answer(NamedTuple):
    """An answer to a request. `headers`: by their names in small letters; `body`: as much of it as was asked for."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """Requests whose connections are kept open for the next one; from `local_addr` if that is not empty. Made inside a loop."""

    def __init__(self, timeout_s: float, headers: dict[str, str], local_addr: str = ""):
        connector = aiohttp.TCPConnector(local_addr=(local_addr, 0) if local_addr else None)
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session = aiohttp.ClientSession(timeout=timeout, headers=headers, connector=connector)

    async def request(self, verb: str, url: str, ca: Path | None, bytes_max: int) -> Answer:
        """The answer to a request to `url`, which is sent as it is, with at most `bytes_max` of its body, or a part more.

        `ca`: a file of certificates to trust beside the system's. Raises Unanswered.
        """
        try:
            tls = trust(ca) if url.startswith("https:") else True
            # encoded=True: a signed text has to arrive as it was signed
            async with self._session.request(verb, URL(url, encoded=True), allow_redirects=False, ssl=tls) as answer:
                body = await answer.content.read(bytes_max)
                while len(body) < bytes_max and (more := await answer.content.read(bytes_max)):
                    body += more
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Answer(answer.status, answer.reason or "", headers, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unanswered(_why(error)) from None

    async def close(self) -> None:
        """Closes the connections that are kept open."""
        await self._session.close()


def _why(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return why_unreached(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return why_unreached(error.os_error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"its answer is not HTTP ({line_of(error.message)}): look at the address in [venues.…] of mesh.toml"
    if isinstance(error, aiohttp.ClientPayloadError):
        return f"its answer was cut off ({line_of(str(error))})"
    return why_unreached(error)

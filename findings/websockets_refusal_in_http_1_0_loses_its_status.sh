#!/usr/bin/env bash
# websockets 17.4: a handshake that is refused in HTTP/1.0 is "did not receive a valid HTTP response": status, Retry-After and body are gone.
#
# A gateway before a venue may answer in HTTP/1.0 (RFC 9110, 2.5, lets a server do so), or leave the reason phrase out. Both are refused as
# no HTTP at all: InvalidMessage without a response, where the same answer in HTTP/1.1 is InvalidStatus with status, headers and body. So a
# client that obeys Retry-After by InvalidStatus alone comes back at once. aiohttp 3.14 reads status and headers of both.
#
# Needs the package index only: everything runs on loopback. Fails when either package says something else than it does here.
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check websockets==17.4 aiohttp==3.14.5 2>"$folder/pip.log" ||
    { cat "$folder/pip.log" >&2; exit 2; }

"$folder/venv/bin/python" - <<'PYTHON' | tee "$folder/seen"
import asyncio
from importlib.metadata import version

import aiohttp
import websockets

REST = b"\r\nRetry-After: 60\r\nContent-Length: 11\r\nConnection: close\r\n\r\nmaintenance"
LINES = (b"HTTP/1.1 503 Service Unavailable", b"HTTP/1.0 503 Service Unavailable", b"HTTP/1.1 503")


async def by_websockets(url):
    try:
        await websockets.connect(url, proxy=None)
    except websockets.InvalidStatus as error:
        return f"{error.response.status_code}, Retry-After {error.response.headers['Retry-After']}"
    except websockets.InvalidMessage as error:
        return f"InvalidMessage: {error}"


async def by_aiohttp(url):
    async with aiohttp.ClientSession() as session:
        try:
            await session.ws_connect(url)
        except aiohttp.WSServerHandshakeError as error:
            return f"{error.status}, Retry-After {error.headers['Retry-After']}"
        except aiohttp.ClientError as error:
            return type(error).__name__


async def main():
    print("websockets", version("websockets"), "aiohttp", version("aiohttp"))
    for line in LINES:
        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(line + REST)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        print(f"  {line.decode()}: websockets: {await by_websockets(url)}; aiohttp: {await by_aiohttp(url)}")
        server.close()


asyncio.run(main())
PYTHON

diff - "$folder/seen" <<'SEEN' && echo "as described: of a refusal in HTTP/1.0, or without a reason phrase, websockets keeps nothing"
websockets 17.4 aiohttp 3.14.5
  HTTP/1.1 503 Service Unavailable: websockets: 503, Retry-After 60; aiohttp: 503, Retry-After 60
  HTTP/1.0 503 Service Unavailable: websockets: InvalidMessage: did not receive a valid HTTP response; aiohttp: 503, Retry-After 60
  HTTP/1.1 503: websockets: InvalidMessage: did not receive a valid HTTP response; aiohttp: 503, Retry-After 60
SEEN

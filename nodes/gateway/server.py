"""The HTTP server: uvicorn in this node's loop, with bounds on what a connection may take in time, bytes and number."""

import asyncio
import contextlib
import resource
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import uvicorn

from tickmesh.bus.config import Config
from tickmesh.bus.process import NodeFault
from tickmesh.nodes.gateway.connections import HEADERS_BYTES_MAX, BoundedHttp, PlainWebSocket
from tickmesh.nodes.gateway.guard import Application
from tickmesh.nodes.gateway.run_files import port_before

CLOSING_S = 3.0  # in which a websocket that was closed has to be gone
LOOK_S = 0.5
CLIENT_MESSAGE_BYTES_MAX = 16 << 10  # of a websocket: what a page sends of a click; a stream takes none
SENT_BYTES_MAX = 256 << 10  # that a client has not taken yet, in the kernel, which would keep 4 MiB of each
PING_S = 20.0
STOP_S = 1.0  # for answers that are on their way at the end
SPARE_FILES = 100  # descriptors beside those of connections


class GatewayServer(uvicorn.Server):
    """uvicorn's server in a loop whose signals are the node's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the node."""
        yield


def listening_socket(config: Config) -> socket.socket:
    """Opens the socket: at the port of mesh.toml, else at that of the last time if it is free, else any. Raises NodeFault."""
    host, port = config.gateway.host, config.gateway.port
    for wanted in (port,) if port else dict.fromkeys((port_before(config), 0)):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, wanted, type=socket.SOCK_STREAM)[0]
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            raise NodeFault(f"gateway.host = {host!r} cannot be used: {error.strerror}; take 127.0.0.1") from None
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT_BYTES_MAX)  # connections have what this one has
            sock.bind(address)
        except OSError as error:
            sock.close()
            if wanted and not port:
                continue
            why = f"{host} port {wanted} cannot be had: {error.strerror}"
            raise NodeFault(f"{why}; set another gateway.port in mesh.toml, or 0 for any free one") from None
        sock.setblocking(False)
        return sock
    raise AssertionError("the last one is any free port")


def url_of(config: Config, port: int) -> str:
    """The address that people are given."""
    host = config.gateway.host
    scheme = "https" if config.gateway.tls_certificate else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def build_server(config: Config, app: Application) -> GatewayServer:
    """Builds the server. Raises NodeFault for a certificate that cannot be used."""
    settings = config.gateway
    tls: dict[str, Any] = {}
    if settings.tls_certificate:
        tls = {"ssl_certfile": config.root / settings.tls_certificate, "ssl_keyfile": config.root / settings.tls_key}
    server_config = uvicorn.Config(
        app, loop="none", http=BoundedHttp, ws=PlainWebSocket, lifespan="off", log_config=None, access_log=False,
        proxy_headers=False, server_header=False, limit_concurrency=_connections_max(settings.connections_max),
        timeout_keep_alive=10, timeout_graceful_shutdown=int(STOP_S), h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
        ws_max_size=CLIENT_MESSAGE_BYTES_MAX, ws_per_message_deflate=False, ws_ping_interval=PING_S, ws_ping_timeout=PING_S,
        **tls,
    )  # fmt: skip
    try:
        server_config.load()
    except (OSError, ssl.SSLError) as error:
        files = f"gateway.tls_certificate = {settings.tls_certificate!r} or tls_key = {settings.tls_key!r}"
        raise NodeFault(f"{files} cannot be used: {error}; state two files in PEM, the key of that certificate") from None
    return GatewayServer(server_config)


def _connections_max(wanted: int) -> int:
    """As many connections as the process may have open, at most `wanted`; its soft limit is raised for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(min(wanted, soft - SPARE_FILES), 8)


async def serve(server: GatewayServer, sock: socket.socket, stop: asyncio.Event, slow_s: float) -> None:
    """Answers requests until `stop`; ends within STOP_S."""
    serving = asyncio.create_task(server.serve([sock]), name="serving")
    cutting = asyncio.create_task(cut_slow(server, slow_s), name="cutting")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, cutting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, cutting):
            if task.done():
                task.result()
    finally:
        server.should_exit = True
        stopping.cancel()
        cutting.cancel()
        await asyncio.wait({serving}, timeout=2 * STOP_S)  # it ends what is under way by itself
        serving.cancel()
        await asyncio.gather(serving, stopping, cutting, return_exceptions=True)


async def cut_slow(server: GatewayServer, slow_s: float) -> None:
    """Cuts connections whose client is waited for longer than `slow_s`, idle ones too, and closed websockets that stay."""
    loop = asyncio.get_running_loop()
    since: dict[object, tuple[object, float]] = {}  # connection → (what it does, since when)
    while True:
        await asyncio.sleep(LOOK_S)
        now, there = loop.time(), set(server.server_state.connections)
        since = {connection: seen for connection, seen in since.items() if connection in there}
        for connection in there:
            if isinstance(connection, BoundedHttp):
                doing: object = (connection.cycle, connection.works)
                patience_s = float("inf") if connection.works else slow_s
            else:
                doing = connection.transport.is_closing()
                patience_s = CLOSING_S if doing else float("inf")
            before, begun = since.get(connection, (None, 0.0))
            if connection not in since or before != doing:
                since[connection] = (doing, now)
            elif now - begun > patience_s:
                connection.transport.abort()

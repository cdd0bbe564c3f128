"""A gateway as a process of its own on a log that a test writes, and how it is asked."""

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from websockets.sync.client import ClientConnection, connect

from tests.support.mesh_run import until
from tests.support.stored import seq_of
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.sockets import LANES, Publisher


class GatewayProcess:
    """A node `gateway` on the mesh in `root`, and requests to it. `trust`: of one with TLS the certificate to be trusted."""

    def __init__(self, root: Path, trust: Path | None = None):
        self.root, self.config = root, load(root)
        self.tls = None if trust is None else ssl.create_default_context(cafile=trust)
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        ready = self.config.run_dir / "ready/gateway.json"
        ready.unlink(missing_ok=True)
        environment = {**os.environ, "TICKMESH_ROOT": str(self.root)}
        self.process = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", "gateway"], cwd=self.root, env=environment)
        until(lambda: ready.exists() or self.process.poll() is not None, "the gateway is ready")
        assert self.process.poll() is None, "the gateway ended"
        self.address = json.loads((self.config.run_dir / "gateway.json").read_bytes())
        self.url = self.address["url"]
        self.netloc = urlsplit(self.url).netloc

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def end(self) -> float:
        """Ends it with SIGTERM; gives for how long it took, in seconds."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0
        return time.monotonic() - begun

    @property
    def token(self) -> str:
        """The token that it has written."""
        return (self.config.run_dir / "gateway.token").read_text().strip()

    def request(self, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: bytes | None = None):
        """Makes a request on a connection of its own; gives (status, headers in lower case, body)."""
        if self.tls is None:
            connection = http.client.HTTPConnection(self.netloc, timeout=30)
        else:
            connection = http.client.HTTPSConnection(self.netloc, timeout=30, context=self.tls)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def json(self, path: str):
        """Makes a request that must succeed; gives its JSON."""
        status, headers, body = self.request(path)
        assert status == 200, (path, status, body[:500])
        assert headers["content-type"] == "application/json"
        return json.loads(body)

    def pages(self, path: str) -> list[dict]:
        """Follows `next` to the end; gives the events of all pages."""
        found = []
        while path:
            page = self.json(path)
            found += page["events"]
            path = page["next"] if page["more"] or page["events"] else None
        return found

    def raw(self, data: bytes, timeout: float = 20) -> bytes:
        """Sends bytes; gives what comes back until the connection is closed."""
        host, _, port = self.netloc.partition(":")
        with socket.create_connection((host, int(port)), timeout=timeout) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(data)
            out = b""
            with contextlib.suppress(ConnectionResetError):
                while part := sock.recv(1 << 16):
                    out += part
            return out

    def stream(self, query: str, **options) -> ClientConnection:
        """Opens a stream."""
        url = f"{self.url.replace('http', 'ws', 1)}/v1/stream?{query}"
        return connect(url, compression=None, ssl=self.tls, **options)

    def memory_bytes(self) -> int:
        """Its resident set."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class LiveLog:
    """Appends events to a mesh's log and rings for them, as the sequencer does."""

    def __init__(self, root: Path):
        config = load(root)
        self._writer = LogWriter(config.log_dir, segment_bytes=1 << 20, sync_ms=0)
        self._publisher = Publisher(config, self._writer, [self._writer.last] * LANES)

    def publish(self, raws: list[bytes]) -> None:
        """Appends events, which have their seq, and rings."""
        self._publisher.publish(seq_of(raws[0]), [bytearray(raw) for raw in raws])

    def close(self) -> None:
        """Closes log and socket."""
        self._publisher.close()
        self._writer.close()


def logged(root: Path, after: int = 0) -> list:
    """The events that are in the log after a seq."""
    return list(LogReader(load(root).log_dir).events(after))

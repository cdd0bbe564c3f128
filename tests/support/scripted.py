"""A scripted venue on loopback, and real processes beside it: sequencer, recorder, backfill, two lines."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from aiohttp import web

import tests.support.mesh_run as run
from tests.support.places import PROJECT
from tests.support.server_thread import ServerThread
from tickmesh.bus.config import load
from tickmesh.bus.log import LogReader


class Scripted(ServerThread):
    """A venue on loopback whose sockets and answers are a test's functions.

    `socket(ws)` has each websocket for as long as it lives, `answer(request)` gives JSON or a Response; `asked`: paths.
    """

    shutdown_s = 0.2

    def __init__(self, socket, answer):
        super().__init__()
        self.socket, self.answer = socket, answer
        self.asked: list[str] = []

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            self.asked.append(request.path)
            answer = self.answer(request)
            return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)
        ws = web.WebSocketResponse(max_msg_size=0, compress=False)
        await ws.prepare(request)
        with contextlib.suppress(ConnectionError, RuntimeError):
            await self.socket(ws)
        return ws


class Processes:
    """Runs sequencer, recorder, backfill and lines of one venue as real processes. Use as a context manager.

    Instruments as (symbol, price exponent, quantity exponent).
    """

    def __init__(self, folder: Path, venue: str, server: Scripted, instruments, settings: str = "", lines: int = 2):
        text = settings + f'\n[venues.{venue}]\nws = ["{server.ws}"]\n'
        text += f'rest = ["{server.rest}"]\n'
        for symbol, price, quantity in instruments:
            text += f'[[instruments]]\nvenue = "{venue}"\nsymbol = "{symbol}"\n'
            text += f"price_exponent = {price}\nquantity_exponent = {quantity}\n"
        (folder / "mesh.toml").write_text(text)
        self.folder, self.config = folder, load(folder)
        self.environment = {**os.environ, "TICKMESH_ROOT": str(folder), "PYTHONPATH": str(PROJECT)}
        word = "" if venue == "binance" else venue.removeprefix("binance_") + "-"
        self.names = [("sequencer",), ("recorder",), ("backfill",), *(("feed", f"{word}{n}") for n in range(1, lines + 1))]

    def __enter__(self) -> "Processes":
        self._log = open(self.folder / "nodes.log", "wb")  # noqa: SIM115
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tickmesh.nodes", *words], cwd=self.folder, env=self.environment,
                stdout=self._log, stderr=self._log,
            )
            for words in self.names
        ]  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        one, two, three, *feeds = self.processes
        try:
            for group in (feeds, [three], [one], [two]):
                for process in group:
                    process.send_signal(signal.SIGTERM)
                for process in group:
                    process.wait(60)
        finally:
            for process in self.processes:
                process.kill()
            self._log.close()
            shutil.rmtree(self.config.outbox_dir, ignore_errors=True)

    def events(self, *kinds: int) -> list:
        """Events that are in the log now."""
        return [event for event in LogReader(self.config.log_dir).events() if event.kind in kinds]

    def logged(self) -> str:
        """The last lines of every process's log."""
        return (self.folder / "nodes.log").read_text(errors="replace")[-3000:]

    def until(self, condition, what: str, seconds: float = 60.0):
        """Waits until a condition on the log holds."""

        def so_far():
            with contextlib.suppress(OSError, ValueError):  # the log is not there yet
                return condition()
            return None

        return run.until(so_far, lambda: f"{what} did not happen\n{self.logged()}", seconds)

    def command(self, *words: str) -> subprocess.CompletedProcess:
        """Runs a `mesh` command in its folder."""
        return subprocess.run(
            [sys.executable, "-m", "tickmesh.tools.cli", *words],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
        )

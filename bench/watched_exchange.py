"""The local exchange in this process, with a watch at both ends of its wire: it judges how fast others react."""

import asyncio
import contextlib
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import Popen
from typing import Any
from unittest import mock

from tickmesh.bus.config import Config, load
from tickmesh.bus.process import Context

SETTINGS = """\
[log]
level = "warning"
[feed]
lines = 1
[exchange]
lines = 1
quotes_per_s = {quotes}
trades_per_s = 5
[exchange.limits]
orders_per_10_s = 1000000
orders_per_day = 100000000
weight_per_minute = 100000000
[[models]]
name = "imbalance"
kernel = "book_imbalance"
[models.parameters]
threshold = 0.1
step = 0.02
interval_ms = 1
half_life_ms = 1
[executor]
orders_per_s = 200
position_max = "1000"
signal_threshold = 0.1
styles = ["market"]
[hosting]
warm_ms = {warm_ms}
"""
CLIENT_ID = re.compile(r'"newClientOrderId":\s*"([^"]+)"')


class WatchedExchange:
    """Runs as an async context. `sent`: update id of a bookTicker → ns; `arrived`: client order id → ns."""

    def __init__(self, config: Config):
        from tickmesh.nodes.exchange import node as exchange
        from tickmesh.nodes.exchange.api import streams, ws_api

        self.sent: dict[int, int] = {}
        self.arrived: dict[str, int] = {}
        publish, answer = streams.Hub.publish, ws_api.answer

        def watched_publish(hub: streams.Hub, stream: str, data: str, *more: Any, **others: Any) -> None:
            if stream.endswith("@bookTicker"):
                self.sent[int(data[5 : data.index(",")])] = time.time_ns()
            publish(hub, stream, data, *more, **others)

        def watched_answer(venue: Any, client: streams.Client, text: str, now_ms: int) -> bytes:
            now = time.time_ns()
            if (found := CLIENT_ID.search(text)) is not None:
                self.arrived.setdefault(found[1], now)
            return answer(venue, client, text, now_ms)

        self._patches = contextlib.ExitStack()
        self._watched = (
            mock.patch.object(streams.Hub, "publish", watched_publish),
            mock.patch.object(ws_api, "answer", watched_answer),
        )
        self._module = exchange
        self._ctx = Context(config, "exchange")

    async def __aenter__(self) -> "WatchedExchange":
        for patch in self._watched:
            self._patches.enter_context(patch)
        self._task = asyncio.create_task(self._module.run(self._ctx))
        while not (self._ctx.config.run_dir / "exchange.json").exists():
            await asyncio.sleep(0.01)
            if self._task.done():
                self._task.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ctx.stop.set()
        await self._task
        await self._ctx.close()
        self._patches.close()


@contextlib.contextmanager
def throw_away_root(quotes: float, warm_ms: int = 0, more: str = "") -> Iterator[Config]:
    """A mesh's folder for one run, with so many quotes a second; nothing of it is left, neither on disk nor in RAM.

    `more`: further sections of its mesh.toml.
    """
    root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    (root / "mesh.toml").write_text(SETTINGS.format(quotes=quotes, warm_ms=warm_ms) + more)
    config = load(root)
    try:
        yield config
    finally:
        for folder in (*config.outbox_dirs, root):
            shutil.rmtree(folder, ignore_errors=True)


async def until(condition: Callable[[], bool], seconds: float, what: str, children: Sequence[Popen] = ()) -> None:
    """Waits for a condition. Raises TimeoutError that names `what` did not come, RuntimeError where one of `children` ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        if any(child.poll() is not None for child in children):
            raise RuntimeError(f"{what}: a process of it has ended, see what it wrote above")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        await asyncio.sleep(0.05)

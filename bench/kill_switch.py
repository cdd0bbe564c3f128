"""From the kill switch to the last cancel at the venue, with 50 open orders: by log and session, and past a stopped session.

The beginning is the command's place in the log (normal), or the moment at which the file run/kill-switch is made while the
session is stopped by a signal (emergency); the end is the last of the cancels in the exchange's own ledger, by its clock of ms.
Beside it a bare script that sends 50 cancels on one connection: the venue and the wire alone.
"""

import contextlib
import hashlib
import hmac
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.floor import line
from tickmesh.bus.config import Config, load
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.log import LogReader
from tickmesh.bus.names import KILL_SWITCH_FILE, OPERATOR
from tickmesh.bus.schema import Kind, Status
from tickmesh.nodes.net import exchange_address
from tickmesh.nodes.orders.commanding import publish_command
from tickmesh.nodes.orders.commands import KillSwitch
from tickmesh.tools.judge.exchange_ledger import read_rows
from tickmesh.tools.judge.findings import Findings

ORDERS = 50
ROUNDS = {"normal": 20, "emergency": 8}
PATIENCE_S = 240.0
NODES = (("sequencer",), ("exchange",), ("feed", "1"), ("session",), ("executor",), ("sentinel", "1"))
SETTINGS = """\
[feed]
lines = 1
[exchange]
lines = 1
[exchange.limits]
orders_per_10_s = 1000000
orders_per_day = 100000000
weight_per_minute = 100000000
[executor]
order_ttl_ms = 3600000
[risk]
lost_latch_s = 0
"""


class KillMesh:
    """A mesh of processes, without models: orders of ours are placed at the exchange itself, and the mesh adopts them."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
        (self.root / "mesh.toml").write_text(SETTINGS)
        self.config: Config = load(self.root)
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.round = 0
        self._seen, self._states = 0, dict[str, int]()

    def start(self) -> None:
        for words in NODES:
            self.children[words[0]] = subprocess.Popen([sys.executable, "-m", "tickmesh.nodes", *words], cwd=self.root)
        until(lambda: (self.config.run_dir / "ready/session.json").exists(), "the session is ready")
        until(lambda: self._is_on() is False, "the executor beats")

    def end(self) -> None:
        for child in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            child.wait()
        shutil.rmtree(self.config.outbox_dir, ignore_errors=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def place(self) -> list[str]:
        """Orders that rest far below the market, and that the log has as New."""
        self.round += 1
        names = [f"t{self.round:016x}-{i:x}-0" for i in range(ORDERS)]
        for i, name in enumerate(names):
            self.ask("POST", symbol="BTCUSDT", side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.001",
                     price=f"{20_000 + i}.00", newClientOrderId=name)  # fmt: skip
        until(lambda: all(self.states().get(name) == Status.New for name in names), "the log has them")
        return names

    def ask(self, method: str, **params: object) -> None:
        where = exchange_address.read(self.config)
        assert where is not None
        query = signed_text(self.config, params | {"timestamp": int(time.time() * 1000)})
        url = f"{where.rest}/api/v3/order?{query}"
        request = urllib.request.Request(url, method=method, headers={"X-MBX-APIKEY": self.config.exchange.api_key})
        urllib.request.urlopen(request, timeout=30).close()

    def states(self) -> dict[str, int]:
        """Client order id → the last status that the log has."""
        for event in LogReader(self.config.log_dir).events(self._seen):
            self._seen = event.seq
            for row in event.records if event.kind == Kind.update else ():
                self._states[row["client_order_id"].decode()] = int(row["status"])
        return self._states

    def cancelled_ms(self, names: list[str]) -> list[int]:
        """When the exchange cancelled each of these orders, by its ledger."""
        wanted, out = set(names), []
        for _, kind, time_ms, *fields in read_rows(self.config.exchange_dir, Findings()):
            if kind == "event":
                event = json.loads(fields[0])
                if event.get("x") == "CANCELED" and event.get("C") in wanted:
                    out.append(int(time_ms))
        return out

    def wait_cancelled(self, names: list[str]) -> float:
        """Waits until the exchange has cancelled them all; gives when the last was, in s."""
        until(lambda: len(self.cancelled_ms(names)) == len(names), "all are cancelled")
        return max(self.cancelled_ms(names)) / 1000

    def lift(self, names: list[str]) -> None:
        until(lambda: all(self.states().get(name) == Status.Canceled for name in names), "the log has it")
        (self.config.run_dir / KILL_SWITCH_FILE).unlink(missing_ok=True)
        seq = publish_command(self.config, KillSwitch(False, OPERATOR), PATIENCE_S)
        until(lambda: self._is_on() is False, "it is off")
        # One that has begun, as after a slow cancel, would cancel the next round's orders until its sentinel ends it.
        until(lambda: self._beats_after(seq, "sentinel-1") > 2, "the sentinel has heard of it")
        until(self._no_emergency, "no emergency cancel is at work")

    def _beats_after(self, seq: int, name: str) -> int:
        return sum(e.kind == Kind.health and e.producer == name for e in LogReader(self.config.log_dir).events(seq))

    def _no_emergency(self) -> bool:
        with FileLock(self.config.run_dir / "emergency.lock") as lock:
            return lock.try_acquire()

    def _is_on(self) -> bool | None:
        reader = LogReader(self.config.log_dir)
        beats = [e for e in reader.events(max(reader.last - 5000, reader.first - 1)) if e.kind == Kind.health]
        mine = [e.map()["kill_switch"]["on"] for e in beats if e.subject == "executor"]
        return bool(mine[-1]) if mine else None


def signed_text(config: Config, params: dict[str, object]) -> str:
    text = "&".join(f"{name}={value}" for name, value in params.items())
    return f"{text}&signature={hmac.new(config.exchange.api_secret.encode(), text.encode(), hashlib.sha256).hexdigest()}"


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"the benchmark waits for this in vain: {what}")
        time.sleep(0.02)


def normal_s(mesh: KillMesh) -> float:
    """Seconds from the command's place in the log to the last cancel."""
    names = mesh.place()
    seq = publish_command(mesh.config, KillSwitch(True, OPERATOR, "bench"), PATIENCE_S)
    thrown_ns = next(iter(LogReader(mesh.config.log_dir).events(seq - 1))).seq_ns
    last_s = mesh.wait_cancelled(names)
    mesh.lift(names)
    return last_s - thrown_ns / 1e9


def emergency_s(mesh: KillMesh) -> float:
    """Seconds from the file to the last cancel, while the session is stopped by a signal."""
    names = mesh.place()
    os.kill(mesh.children["session"].pid, signal.SIGSTOP)
    begun_s = time.time()
    (mesh.config.run_dir / KILL_SWITCH_FILE).touch()
    last_s = mesh.wait_cancelled(names)
    os.kill(mesh.children["session"].pid, signal.SIGCONT)
    mesh.lift(names)
    return last_s - begun_s


def bare_s(mesh: KillMesh) -> float:
    """Seconds that a script takes which sends 50 cancels on one connection, one after the other, and reads the answers then."""
    import websockets.sync.client as client

    names, config = mesh.place(), mesh.config
    where = exchange_address.read(config)
    assert where is not None
    with client.connect(f"{where.ws}/ws-api/v3") as socket:
        begun_s = time.time()
        for i, name in enumerate(names):
            params = {
                "apiKey": config.exchange.api_key, "origClientOrderId": name, "symbol": "BTCUSDT",
                "timestamp": int(time.time() * 1000),
            }  # fmt: skip
            signed = dict(part.split("=", 1) for part in signed_text(config, dict(sorted(params.items()))).split("&"))
            request = {"id": str(i), "method": "order.cancel", "params": signed | {"timestamp": params["timestamp"]}}
            socket.send(json.dumps(request))
        for _ in names:
            socket.recv(timeout=60)
    last_s = mesh.wait_cancelled(names)
    until(lambda: all(mesh.states().get(name) == Status.Canceled for name in names), "the log has it")
    return last_s - begun_s


def main() -> None:
    mesh = KillMesh()
    try:
        mesh.start()
        took: dict[str, list[float]] = {"bare": [], "normal": [], "emergency": []}
        for _ in range(ROUNDS["normal"]):
            took["bare"].append(bare_s(mesh))
            took["normal"].append(normal_s(mesh))
        for _ in range(ROUNDS["emergency"]):
            took["emergency"].append(emergency_s(mesh))
    finally:
        mesh.end()
    ms = {name: tuple(np.percentile(np.array(values) * 1000, (50, 99))) for name, values in took.items()}
    print(f"kill switch → last cancel at the venue, {ORDERS} open orders (p50, p99); {os.cpu_count()} cores, exchange included")
    floor = f"bare script {ms['bare'][0]:,.0f} ms, {ms['bare'][1]:,.0f} ms"
    normal, emergency = ms["normal"], ms["emergency"]
    line(f"by log and session, {ROUNDS['normal']} rounds", f"{normal[0]:,.0f} ms, {normal[1]:,.0f} ms", floor)
    patience = (
        f"of it risk.session_patience_ms = {mesh.config.risk.session_patience_ms}, and up to 500 ms until a sentinel looks"
    )
    what = f"session stopped, past it, {ROUNDS['emergency']} rounds"
    line(what, f"{emergency[0]:,.0f} ms, {emergency[1]:,.0f} ms", patience)


if __name__ == "__main__":
    main()

"""The local exchange as a process in a folder of its own, over TLS: it stands in for a venue under the venue's own name.

    python -m tests.support.stand_in FOLDER BTCUSDT,binance_usdm.ETHUSDT [SETTINGS]

runs one until Ctrl-C, and prints what a mesh.toml needs to record it as these venues. `mesh verify --against` compares with its
ledger, FOLDER/data/sim/exchange.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

START_S = 90.0


class StandIn:
    """An exchange that trades `symbols` (of binance, or `venue.symbol`); `settings`: more of its mesh.toml.

    A context manager; it can begin again.
    """

    def __init__(self, folder: Path, symbols: Sequence[str], settings: str = ""):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        named = [symbol.rpartition(".") for symbol in symbols]
        rows = ", ".join(f'{{ venue = "{venue or "binance"}", symbol = "{symbol}" }}' for venue, _, symbol in named)
        (folder / "mesh.toml").write_text(f"instruments = [{rows}]\n{settings}\n[exchange]\ntls = true\n")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def ledger(self) -> Path:
        """The folder of its ledger, for `mesh verify --against`."""
        return self.folder / "data/sim/exchange"

    def begin(self) -> None:
        """Starts the process; returns when it listens, at the port that it had before."""
        environment = {**os.environ, "TICKMESH_ROOT": str(self.folder)}
        command = [sys.executable, "-m", "tickmesh.nodes", "exchange"]
        with open(self.folder / "exchange.log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + START_S
        while self._running().get("pid") != self.process.pid:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "exchange.log").read_text())
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ends the process and waits for that."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def toml(self, venue: str = "binance") -> str:
        """The table of mesh.toml by which `venue` is this exchange."""
        running = self._running()
        running = running.get("venues", {}).get(venue, running)
        ca = json.dumps(str(self.folder / "run/exchange.crt"))
        return f'[venues.{venue}]\nws = ["{running["ws"]}"]\nrest = ["{running["rest"]}"]\nca = {ca}\n'

    def _running(self) -> dict:
        try:
            return json.loads((self.folder / "run/exchange.json").read_text())
        except (OSError, ValueError):
            return {}

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


if __name__ == "__main__":
    over = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: over.set())
    with StandIn(Path(sys.argv[1]).resolve(), sys.argv[2].split(","), "".join(sys.argv[3:4])) as exchange:
        venues = dict.fromkeys(name.rpartition(".")[0] or "binance" for name in sys.argv[2].split(","))
        print("\n".join(map(exchange.toml, venues)), flush=True)
        over.wait()

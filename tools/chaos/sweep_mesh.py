"""The mesh that a sweep is about: in a folder of its own, started and ended as any other, struck by the plan."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from tickmesh.bus import clock
from tickmesh.bus.clock_faults import ClockFaults, read_fault
from tickmesh.bus.config import Config, load
from tickmesh.nodes.net import exchange_address
from tickmesh.tools.chaos.market import HALTED, UNKNOWN, instruments_of, rates_of, toml_of
from tickmesh.tools.chaos.plan import Strike, length_s
from tickmesh.tools.chaos.small_tmpfs import BUDGET_BYTES, SmallTmpfs
from tickmesh.tools.terminal import Failure, JsonObject

UP_S = 180.0
DOWN_S = 180.0
READY_S = 30.0  # a killed process that is not ready again after so long is lost
LOOK_S = 0.01
JSON = {"Content-Type": "application/json"}

# A sweep's connections come and go by the dozen, and its outages have to fit into seconds. It asks the venue as often in a
# minute as others do in an hour: were the venue's minute used up, repairs would wait for the next one, and ids begin anew
SETTINGS = """
host = {host}
{instruments}
[feed]
stale_s = 2.0
backoff_s = [0.05, 0.5]
connections_per_5_minutes = 100000
fresh_min_s = 3.0
fresh_times = 60.0
clock_s = 5.0
renew = {renew}
renew_s = 5.0
resync = {resync}
lines = {lines}
check_instruments = {check_instruments}

[log]
outbox_read = {outbox_read}
outbox_spill = {outbox_spill}
outbox_segment_bytes = 65536
outbox_ram_bytes = {outbox_ram_bytes}
log_read = {log_read}
check_numbers = {check_numbers}
contradictions = {contradictions}
eras = {eras}
unsynced = {unsynced}
steady_clock = {steady_clock}
segment_bytes = 262144
keep_segments = 100000

[backfill]
enabled = {backfill}
backoff_s = [0.1, 1.0]

[venues.binance]
weight_per_minute = 1000000
[venues.binance_usdm]
weight_per_minute = 1000000

[executor]
instruments = ["binance.*"]

[sentinel]
respawns_per_minute = {respawns}

[recorder]
segment_s = 3.0

[exchange]
seed = {seed}
trades_per_s = {trades_per_s}
quotes_per_s = {quotes_per_s}
life_s = 30.0
first_id = 3000000000
faults = "faults.toml"

[exchange.limits]
connections_per_5_minutes = 1000000
weight_per_minute = 1000000
raw_per_5_minutes = 100000000
messages_per_s = 1000

[exchange.usdm_limits]
connections_per_5_minutes = 1000000
weight_per_minute = 1000000
raw_per_5_minutes = 100000000
messages_per_s = 1000
"""
STANDING = """
[[faults]]
kind = "halt"
symbol = "{halted}"
[[faults]]
kind = "unknown"
symbol = "{unknown}"
"""
MESH = ("sequencer", "recorder", "backfill", "sentinel", "feed", "model", "executor", "session")  # whose clock may be wrong
FULL_LATE_NS = 1_000_000_000  # what was on its way when the tmpfs became full, and what a half-filled page still takes
STOPPED_S = 0.7  # how long a sleep is for those who sleep


class ReadyFile(TypedDict):
    """The content of run/ready/<process>, written once the process works: its pid, and the wall clock at that moment."""

    pid: int
    wall_ns: int


class Kill(NamedTuple):
    """One SIGKILL. `killed_ns`: the mesh's time; `ready_s`: until its successor was ready (None: killed again)."""

    name: str
    killed_ns: int
    ready_s: float | None


class SweepMesh:
    """The mesh of one sweep, in a folder of its own: commands to it, kills, faults of its venue and its clocks."""

    def __init__(self, folder: Path, seed: int, switches: dict[str, Any], instruments: int = 2):
        self.root = folder
        self.instruments = instruments_of(instruments)
        here = Path(__file__).resolve().parent.parent.parent
        folder.mkdir(parents=True, exist_ok=True)
        words = {
            "seed": seed,
            "resync": True,
            "renew": True,
            "respawns": 30,
            "lines": 2,
            "outbox_read": True,
            "outbox_spill": True,
            "outbox_ram_bytes": BUDGET_BYTES,
            "log_read": True,
            "check_numbers": True,
            "contradictions": True,
            "eras": True,
            "unsynced": True,
            "steady_clock": True,
            "check_instruments": True,
            "backfill": True,
            "host": [],
            **switches,
        }
        settings = {name: json.dumps(value) for name, value in words.items()}
        settings["instruments"] = toml_of(self.instruments)
        settings["trades_per_s"], settings["quotes_per_s"] = map(str, rates_of(self.instruments))
        (folder / "mesh.toml").write_text(SETTINGS.format_map(settings))
        (folder / "faults.toml").write_text(STANDING.format(halted=HALTED, unknown=UNKNOWN))
        self.clock = ClockFaults(folder / "clock-faults.json")
        self.tmpfs = SmallTmpfs(folder)
        self.full: list[tuple[int, int]] = []  # (from, to) when it was full, in the mesh's time
        self._full_since_ns = 0
        shutil.copy(here / "supervisor.conf", folder)
        (folder / ".venv").symlink_to(sys.prefix)
        self.kills: list[Kill] = []
        self._waiting: list[tuple[str, int, int, int]] = []  # name, old pid, killed_ns, and by the true clock
        self.faults = 0
        self.clock_faults = 0

    @property
    def config(self) -> Config:
        """The mesh's settings, read anew."""
        return load(self.root)

    def command(self, *words: str, timeout_s: float) -> str:
        """Runs a `mesh` command in the sweep's folder; gives its output. Raises Failure with its error."""
        environment = {**os.environ, "TICKMESH_ROOT": str(self.root), **self.clock.environment, **self.tmpfs.environment}
        try:
            done = subprocess.run(
                [*self.tmpfs.prefix, str(self.root / ".venv/bin/mesh"), *words],
                cwd=self.root, env=environment, capture_output=True, text=True, timeout=timeout_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failure(f"`mesh {' '.join(words)}` took longer than {timeout_s:.0f} s in {self.root}") from None
        if done.returncode:
            raise Failure(f"`mesh {' '.join(words)}` failed in {self.root}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def up(self) -> None:
        """Starts the mesh with `mesh up`. Raises Failure with its error."""
        self.command("up", timeout_s=UP_S)

    def down(self) -> None:
        """Ends the mesh with `mesh down`. Raises Failure with its error."""
        self.command("down", timeout_s=DOWN_S)

    # Striking.

    def strike(self, strikes: Sequence[Strike], on_strike: Callable[[Strike], None]) -> None:
        """Makes the strikes in time; returns when the last fault is over and everyone is ready again, else raises Failure.

        `on_strike` is called after each.
        """
        begun = time.monotonic()
        for one in strikes:
            while (left := begun + one.at_s - time.monotonic()) > 0:
                self._look_for_ready()
                time.sleep(min(left, LOOK_S))
            if one.kill:
                self._kill(one.kill)
            if one.clock:
                self.set_clock(**one.clock)
            if one.fault:
                self.command_fault(one.fault)
            if one.tmpfs:
                self.set_tmpfs(full=one.tmpfs == "fill")
            on_strike(one)
        time.sleep(max(0.0, begun + length_s(strikes) - time.monotonic()))  # the last faults run their time
        deadline = time.monotonic() + READY_S
        while self._waiting:
            self._look_for_ready()
            if time.monotonic() > deadline:
                raise Failure(f"{', '.join(name for name, *_ in self._waiting)} did not come back within {READY_S:.0f} s")
            time.sleep(LOOK_S)

    def _kill(self, names: Sequence[str]) -> None:
        """All at once, or each as soon as it is there again: nobody is killed before it works."""
        pids = {}
        deadline = time.monotonic() + READY_S
        for name in names:
            while not (pid := self.ready_pid(name)) or any(name == waiting for waiting, *_ in self._waiting):
                self._look_for_ready()
                if time.monotonic() > deadline:
                    raise Failure(f"{name} was not there to be killed for {READY_S:.0f} s")
                time.sleep(LOOK_S)
            pids[name] = pid
        for name, pid in pids.items():
            killed_ns, true_ns = self.now_ns(), time.time_ns()
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it died of itself a moment ago: its successor is to be ready as well
                pass
            self._waiting.append((name, pid, killed_ns, true_ns))

    def _look_for_ready(self) -> None:
        for one in tuple(self._waiting):
            name, pid, killed_ns, true_ns = one
            now = self._ready(name)
            if now and now["pid"] != pid:
                self._waiting.remove(one)
                self.kills.append(Kill(name, killed_ns, (now["wall_ns"] - true_ns) / 1e9))

    def _ready(self, name: str) -> ReadyFile | None:
        try:
            written: ReadyFile = json.loads((self.root / f"run/ready/{name}.json").read_text())
            return written
        except (OSError, ValueError):
            return None

    def ready_pid(self, name: str) -> int:
        """The pid of a process that is ready; 0 while it is not."""
        written = self._ready(name)
        return written["pid"] if written else 0

    # The clocks of the mesh's processes; the exchange plays another machine.

    def now_ns(self) -> int:
        """The mesh's time at this moment, as each of its processes computes it (bus/clock.py)."""
        known = clock.unpack((self.config.log_dir / clock.NAME).read_bytes())
        if known is None:
            raise Failure("the mesh's clock cannot be read")
        return known[1].at(clock.machine_elapsed_ns() + read_fault(self.clock.path).asleep_ns)

    def set_clock(self, step_s: float | None = None, suspend_s: float = 0.0) -> None:
        """Sets the mesh's wall clock off by `step_s` from now on, or stops all its processes as a sleeping machine would."""
        self.clock_faults += 1
        if suspend_s:
            self._sleep(suspend_s)
        elif step_s is not None:
            self.clock.heal()
            if step_s:
                self.clock.step(int(step_s * 1e9))

    # The tmpfs of its outboxes.

    def set_tmpfs(self, full: bool) -> None:
        """Fills it, or gives the room back."""
        if full:
            self.tmpfs.fill()
            self._full_since_ns = self._full_since_ns or self.now_ns()
        else:
            self.tmpfs.empty()
            if self._full_since_ns:
                self.full.append((self._full_since_ns + FULL_LATE_NS, self.now_ns()))
            self._full_since_ns = 0

    def _sleep(self, seconds: float) -> None:
        stopped = []
        try:
            for path in sorted((self.root / "run/ready").glob("*.json")):
                pid = self.ready_pid(path.stem)
                if path.stem.partition("-")[0] in MESH and pid:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                        stopped.append(pid)
            time.sleep(STOPPED_S)
            self.clock.suspend(int(seconds * 1e9))
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def command_fault(self, fault: dict[str, Any]) -> None:
        """Commands a fault from the local exchange. Raises Failure when the exchange refuses."""
        self._ask("POST", body=json.dumps(fault).encode())
        self.faults += 1

    def end_faults(self) -> None:
        """Ends all faults of the exchange but those about symbols: a halted or unknown symbol stays so."""
        for one in self._ask("GET")["faults"]:
            if one["state"] != "ended" and one["fault"]["kind"] not in ("halt", "unknown"):
                self._ask("DELETE", f"?id={one['id']}", may_be_over=True)

    def _ask(self, method: str, query: str = "", body: bytes | None = None, may_be_over: bool = False) -> JsonObject:
        where = exchange_address.read(self.config)
        if where is None:
            raise Failure("the exchange is not there: it has not begun, or it died")
        request = urllib.request.Request(f"{where.rest}/tickmesh/v1/faults{query}", body, JSON, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                content: JsonObject = json.loads(answer.read())
                return content
        except urllib.error.HTTPError as error:
            if may_be_over and error.code == 404:
                return {}
            raise Failure(f"the exchange refused a fault: {error.read().decode(errors='replace')}") from None
        except OSError as error:
            raise Failure(f"the exchange does not answer: {error}") from None

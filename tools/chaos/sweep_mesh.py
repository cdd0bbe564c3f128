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
from tickmesh.nodes.sentinel.processes import age_ns
from tickmesh.nodes.venues.binance_signing import hmac_signer, signed_query
from tickmesh.tools.chaos.market import SweepInstrument
from tickmesh.tools.chaos.plan import Strike, length_s
from tickmesh.tools.chaos.small_tmpfs import SmallTmpfs
from tickmesh.tools.terminal import Failure, JsonObject

UP_S = 180.0
DOWN_S = 180.0
READY_S = 30.0  # a killed process that is not ready again after so long is lost
LOOK_S = 0.01
COMMAND_S = 60.0
FAR = 0.95  # of the best bid: the price of an order that is not to be filled
FOREIGN_WORTH = 50.0  # of it, in the quote currency
JSON = {"Content-Type": "application/json"}

MESH = ("sequencer", "recorder", "backfill", "sentinel", "feed", "model", "executor", "session")  # whose clock may be wrong
HOST = "sequencer"  # in whose process others may run
FULL_LATE_NS = 1_000_000_000  # what was on its way when the tmpfs became full, and what a half-filled page still takes
STOPPED_S = 0.7  # how long a sleep is for those who sleep


class ReadyFile(TypedDict):
    """The content of run/ready/<process>, written once the process works: its pid, and the wall clock at that moment."""

    pid: int
    wall_ns: int


class Kill(NamedTuple):
    """One SIGKILL. `killed_ns`: the mesh's time; `ready_s`: until its successor was ready (None: killed again).

    `true_ns`: of the kill, by the true clock; `born_s`: until the kernel had started that successor.
    """

    name: str
    killed_ns: int
    ready_s: float | None
    true_ns: int = 0
    born_s: float = 0.0


class SweepMesh:
    """The mesh of one sweep, in a folder of its own: commands to it, kills, faults of its venue and its clocks.

    `settings`: mesh.toml's; `standing`: the schedule of faults that last all the time, faults.toml's; `guests`: whom the
    sequencer hosts that has to be ready, too, before it is killed again.
    """

    def __init__(
        self, folder: Path, settings: str, standing: str = "", instruments: Sequence[SweepInstrument] = (),
        guests: Sequence[str] = (),
    ):  # fmt: skip
        self.root = folder
        self.guests = tuple(guests)
        self.instruments = list(instruments)
        here = Path(__file__).resolve().parent.parent.parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mesh.toml").write_text(settings)
        (folder / "faults.toml").write_text(standing)
        self.clock = ClockFaults(folder / "clock-faults.json")
        self.tmpfs = SmallTmpfs(folder)
        self.asleep: list[tuple[int, int]] = []  # (from, to) by the true clock, when its processes were stopped
        self.full: list[tuple[int, int]] = []  # (from, to) when it was full, in the mesh's time
        self._full_since_ns = 0
        shutil.copy(here / "supervisor.conf", folder)
        (folder / ".venv").symlink_to(sys.prefix)
        self.kills: list[Kill] = []
        self._waiting: list[tuple[str, int, int, int]] = []  # name, old pid, killed_ns, and by the true clock
        self.faults = 0
        self.clock_faults = 0
        self._foreign = 0  # orders that were placed on the account beside the mesh

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

    def supervisorctl(self, *words: str) -> None:
        """Runs supervisorctl in the sweep's folder. Raises Failure with what it says."""
        program = [str(self.root / ".venv/bin/supervisorctl"), "-c", "supervisor.conf", *words]
        done = subprocess.run(program, cwd=self.root, capture_output=True, text=True, timeout=COMMAND_S)
        if done.returncode:
            raise Failure(f"`supervisorctl {' '.join(words)}` failed in {self.root}: {(done.stdout or done.stderr).strip()}")

    def await_ready(self, name: str, before: int) -> None:
        """Waits until a process is ready that is another one than `before`. Raises Failure after READY_S."""
        deadline = time.monotonic() + READY_S
        while self.ready_pid(name) in (0, before):
            if time.monotonic() > deadline:
                raise Failure(f"{name} did not come back within {READY_S:.0f} s")
            time.sleep(LOOK_S)

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
            for name in one.hang:
                self._signal(name, signal.SIGSTOP)
            if one.wake:
                self._await_all()  # who came back meanwhile has read what there was
            for name in one.wake:
                self._signal(name, signal.SIGCONT)
            if one.command:
                self.command(*one.command, timeout_s=COMMAND_S)
            if one.foreign:
                self._foreign += 1
                self.place_foreign(f"{one.foreign}-{self._foreign}")
            on_strike(one)
        time.sleep(max(0.0, begun + length_s(strikes) - time.monotonic()))  # the last faults run their time
        self._await_all()

    def _await_all(self) -> None:
        """Waits until everyone who was killed is ready again. Raises Failure after READY_S."""
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
            all_of_it = {name, *(self.guests if name == HOST else ())}
            while not (pid := self.ready_pid(name)) or any(waiting in all_of_it for waiting, *_ in self._waiting):
                self._look_for_ready()
                if time.monotonic() > deadline:
                    raise Failure(f"{name} was not there to be killed for {READY_S:.0f} s")
                time.sleep(LOOK_S)
            pids[name] = pid
        for name, pid in pids.items():
            killed_ns, true_ns = self.now_ns(), time.time_ns()
            if name == HOST:
                self._waiting += [(guest, pid, 0, true_ns) for guest in self.guests]
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it died of itself a moment ago: its successor is to be ready as well
                pass
            self._waiting.append((name, pid, killed_ns, true_ns))

    def _signal(self, name: str, number: int) -> None:
        if pid := self.ready_pid(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _look_for_ready(self) -> None:
        for one in tuple(self._waiting):
            name, pid, killed_ns, true_ns = one
            now = self._ready(name)
            if now and now["pid"] != pid:
                self._waiting.remove(one)
                if killed_ns:  # else it died with its host
                    ready_s = (now["wall_ns"] - true_ns) / 1e9
                    born_s = (time.time_ns() - age_ns(now["pid"]) - true_ns) / 1e9
                    self.kills.append(Kill(name, killed_ns, ready_s, true_ns, min(max(born_s, 0.0), ready_s)))

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
        begun_ns = time.time_ns()
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
            self.asleep.append((begun_ns, time.time_ns()))

    def command_fault(self, fault: dict[str, Any]) -> None:
        """Commands a fault from the local exchange. Raises Failure when the exchange refuses."""
        self._ask("POST", body=json.dumps(fault).encode())
        self.faults += 1

    def end_faults(self) -> None:
        """Ends all faults of the exchange but those about symbols: a halted or unknown symbol stays so."""
        for one in self._ask("GET")["faults"]:
            if one["state"] != "ended" and one["fault"]["kind"] not in ("halt", "unknown"):
                self._ask("DELETE", f"?id={one['id']}", may_be_over=True)

    def place_foreign(self, client_order_id: str) -> None:
        """Places an order on the mesh's account that its log does not know, too low to be filled. Raises Failure."""
        where, exchange = exchange_address.read(self.config), self.config.exchange
        if where is None:
            raise Failure("the exchange is not there: it has not begun, or it died")
        symbol = self.config.instruments[0].symbol
        with urllib.request.urlopen(f"{where.rest}/api/v3/ticker/bookTicker?symbol={symbol}", timeout=10) as answer:
            price = round(float(json.loads(answer.read())["bidPrice"]) * FAR)
        order = {
            "symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": price,
            "quantity": f"{FOREIGN_WORTH / price:.4f}", "newClientOrderId": client_order_id,
        }  # fmt: skip
        body = signed_query(order, hmac_signer(exchange.api_secret), time.time_ns() // 10**6, 5000)
        head = {"X-MBX-APIKEY": exchange.api_key}
        try:
            request = urllib.request.Request(f"{where.rest}/api/v3/order", body.encode(), head)
            urllib.request.urlopen(request, timeout=10).close()
        except OSError as error:
            why = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else str(error)
            raise Failure(f"the exchange took no order from the sweep: {why}") from None

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

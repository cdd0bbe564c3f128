"""A small recording to sweep over, a backend that computes nothing, and a cluster of Dask on this machine."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path

import numpy as np

from tests.support import backtest_scene
from tickmesh.research.sweep.parts import PartAnswer, SweepPart

KERNEL = """
import numpy as np
from numba import njit

from tickmesh.bus.schema import Kind
from tickmesh.nodes.models.interface import QUOTE, Parameter

KINDS = (Kind.quote,)
HORIZON_NS = 0
PARAMETERS = {"sign": Parameter(1.0, -1.0, 1.0, "1: it goes with the market, -1 against it; 0: it fails")}
STATE = np.dtype([("before", "<i8")])


@njit(cache=True)
def kernel(state, parameters, units, rows, count, quotes, trades, levels, out):
    n = 0
    for r in range(count):
        row = rows[r]
        if row.kind != QUOTE:
            continue
        now = quotes[row.first + row.count - 1].bid_ticks
        then = state[0].before
        state[0].before = now
        if then != 0 and now != then:
            out[n].row, out[n].price, out[n].reference_ticks = r, np.nan, now
            out[n].value = parameters[0].sign * (1.0 if now > then else -1.0) * (1 // int(abs(parameters[0].sign)))
            n += 1
    return n
"""
SETTINGS = """
[[models]]
name = "trend"
kernel = "trend"

[exchange]
fees = "free"

[[strategies]]
name = "main"
instruments = ["binance.*"]
order_quantity = "0.05"
styles = ["market"]
"""


def lay(root: Path, events: int = 900) -> Path:
    """Lays a mesh with a model and some minutes of a recording into `root`; two thirds of it are archived."""
    return backtest_scene.lay(root, SETTINGS, ("trend", KERNEL), events)


def made_up_answer(part: SweepPart) -> PartAnswer:
    """An answer that follows from the part's parameters, period and instrument."""
    seed = int.from_bytes(f"{part.parameters} {part.start_ns} {part.instrument}".encode()) % (1 << 32)
    gains = np.random.default_rng(seed).normal(size=(part.end_ns - part.start_ns) // part.interval_ns)
    measures = {"net": float(gains.sum()), "orders": 3, "fills": 2, "trips": 1}
    return PartAnswer(key=part.key, measures=measures, currency="USDT", gains=gains.astype("<f8").tobytes(), seconds=0.1)


class MadeUpBackend:
    """Answers without computing. `asked`: the parts of the last run."""

    def __init__(self, answer: Callable[[SweepPart], PartAnswer] = made_up_answer):
        self._answer = answer
        self.asked: list[SweepPart] = []

    def run(self, parts: Iterable[SweepPart]) -> Generator[tuple[SweepPart, PartAnswer], None, None]:
        """Gives an answer of each part."""
        self.asked = []
        for part in parts:
            self.asked.append(part)
            yield part, self._answer(part)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 90.0) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: it did not in {timeout_s:g} s"
        time.sleep(0.01)


Processes = list[subprocess.Popen[bytes]]


@contextlib.contextmanager
def dask_cluster(folder: Path, environment: dict[str, str], workers: int = 2) -> Iterator[tuple[str, Processes]]:
    """Runs a scheduler of Dask and its workers on loopback: gives its address, and the workers' processes."""
    found = folder / "scheduler.json"
    program = [sys.executable, "-m", "distributed.cli."]
    with contextlib.ExitStack() as stack:

        def begin(name: str, *words: str) -> subprocess.Popen[bytes]:
            line = [*program[:2], f"{program[2]}{name}", *words]
            with open(folder / "cluster.log", "ab") as log:
                process = subprocess.Popen(line, cwd=folder, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        begin("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(found))
        wait_until(lambda: found.is_file() and b"tcp://" in found.read_bytes(), "the scheduler writes its file")
        words = ("--scheduler-file", str(found), "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard")
        own = [begin("dask_worker", *words, "--local-directory", str(folder / f"worker-{number}")) for number in range(workers)]
        yield json.loads(found.read_bytes())["address"], own

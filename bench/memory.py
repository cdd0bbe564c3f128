"""What the default mesh takes, and the peak memory of what reads a period: that of a chunk it is to be, not of the period.

The first is mesh_memory.py's; for the second one day and DAYS of that size are read.

`python -m bench memory`. A figure is the peak of resident memory (VmHWM of /proc) of a process of its own while it works;
before that it has done the same over one day, so that what compiling took is not in it. Bars give as many rows as the period
has, a backtest its orders, fills and marks: that is what was asked for. TICKMESH_BENCH_MEMORY_EVENTS: other events of a day.
"""

import os
import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import mesh_memory, stored_days
from bench.floor import line, throw_away_mesh
from tickmesh.bus.config import Config, load
from tickmesh.research.database import Database
from tickmesh.research.sources import MeshSource

DAYS = 8
EVENTS = 400_000  # of a day
ALLOWED = 1.25  # times the peak of one day
CHUNK_ROWS = 20_000  # a day has several: what is compared is a day's worth of them with eight days'
SUBJECT = stored_days.SUBJECT
# A flow that is steady at its bound, and steps that next to none reaches: what is measured is reading, not a table of signals.
QUIET = {"threshold": 1.0, "step": 2.0}
SETTINGS = {
    "instruments": [{"symbol": SUBJECT.partition(".")[2]}],
    "models": [{"name": "flow", "kernel": "trade_flow", "parameters": QUIET}],
    "strategies": [{"name": "quiet", "models": ["flow"], "styles": ["market"]}],
}


def trades(config: Config) -> None:
    deque(Database(MeshSource(config)).trades(SUBJECT, gaps="ignore").chunks(CHUNK_ROWS), maxlen=0)


def bars(config: Config) -> None:
    Database(MeshSource(config)).bars(SUBJECT, "1m", source="ticks", gaps="ignore").to_numpy()


def books(config: Config) -> None:
    from tickmesh.storage.books.reading import snapshot_chunks

    deque(snapshot_chunks(config, SUBJECT, "1s", levels=10), maxlen=0)


def features(config: Config) -> None:
    from tickmesh.research.feature_frames import feature_chunks

    deque(feature_chunks(config, SUBJECT, ["ofi", "vpin", "depth_imbalance"], every="1s"), maxlen=0)


def run_model(config: Config) -> None:
    from tickmesh.tools.run_model import run_model as run

    run("trade_flow", QUIET, config=config)


def backtest(config: Config) -> None:
    from tickmesh.research.backtest.running import backtest as run

    run(config)


JOBS: dict[str, Callable[[Config], None]] = {one.__name__: one for one in (trades, bars, books, features, run_model, backtest)}


def status_kb(name: str) -> int:
    """A line of /proc/self/status: VmRSS, VmHWM."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0])


def measured(job: str, warm: Path, root: Path) -> tuple[int, int]:
    """(kB before, kB at the peak) of a job over `root`, after one over `warm`, in this process."""
    warnings.simplefilter("ignore")
    JOBS[job](load(warm, SETTINGS))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = status_kb("VmRSS")
    JOBS[job](load(root, SETTINGS))
    return before, status_kb("VmHWM")


def in_a_process(job: str, warm: Path, root: Path) -> tuple[int, int]:
    words = [sys.executable, "-m", "bench.memory", job, str(warm), str(root)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).resolve().parent.parent)
    if done.returncode:
        raise RuntimeError(f"{job}: {done.stderr[-2000:]}")
    before, peak = done.stdout.split()[-2:]
    return int(before), int(peak)


def main() -> dict[str, float]:
    figures = mesh_memory.main()
    events = int(os.environ.get("TICKMESH_BENCH_MEMORY_EVENTS") or EVENTS)
    short, long = throw_away_mesh(**SETTINGS), throw_away_mesh(**SETTINGS)
    stored_days.write_days(short, 1, events)
    stored_days.write_days(long, DAYS, events)
    print(f"memory: peak of {DAYS} days beside that of one, {events:,} events each; at most {ALLOWED:g} times it is to be")
    for job in JOBS:
        (_, one), (before, many) = (in_a_process(job, short.root, config.root) for config in (short, long))
        figures[f"memory_{job}_ratio"] = many / one
        line(
            f"{job}: {DAYS} days{'' if many <= ALLOWED * one else ' (IT GROWS)'}", f"{many / 1024:.0f} MB",
            f"one day {one / 1024:.0f} MB, before {before / 1024:.0f} MB", many / one,
        )  # fmt: skip
    return figures


if __name__ == "__main__":
    print(*np.array(measured(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))

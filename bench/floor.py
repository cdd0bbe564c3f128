"""Sharing for benchmarks: percentiles, a line of output, contestants that take turns, and folders that are gone afterwards."""

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tickmesh.bus.config import Config, load

ROUNDS = 7
RAM = Path("/dev/shm")


class Turns(NamedTuple):
    """What a contestant took in its rounds, and what it gave in the last one. Seconds: medians of the rounds.

    `cpu_s`: processor time of all threads of this process. On a machine that others use too it is the one to compare;
    `cpu_rounds`: that of each round, for those who ask how far it is from one to the next (bench/compare.py).
    """

    wall_s: float
    cpu_s: float
    given: Any
    cpu_rounds: list[float]


def rounds() -> int:
    """How often contestants that are compared take turns: ROUNDS, or what TICKMESH_BENCH_ROUNDS says for a quick look."""
    return max(int(os.environ.get("TICKMESH_BENCH_ROUNDS") or ROUNDS), 1)


def take_turns(contestants: Mapping[str, Callable[[], Any]], times: int | None = None) -> dict[str, Turns]:
    """Runs all contestants once, unmeasured, then one after the other for `times` rounds (None: `rounds()`).

    So what slows the machine down for a while slows all of them, and a median of one stands beside that of another.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    given = {name: work() for name, work in contestants.items()}
    for _ in range(times or rounds()):
        for name, work in contestants.items():
            given[name] = None  # what was given before is not to be in memory meanwhile
            wall, cpu = time.perf_counter(), time.process_time()
            given[name] = work()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: [float(middle) for middle in np.median(own, axis=0)] for name, own in taken.items()}
    return {
        name: Turns(wall, cpu, given[name], [round_cpu for _, round_cpu in taken[name]])
        for name, (wall, cpu) in medians.items()
    }


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """This process, its threads and its children run on one core meanwhile: the last that it may run on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def machine_words() -> str:
    """This machine in a sentence: its processor, cores, kernel, and the Python that runs."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((one.partition(":")[2].strip() for one in lines if one.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}."


def microseconds(samples_ns: ArrayLike) -> tuple[float, float]:
    """(p50, p99) in µs of latencies in ns."""
    p50, p99 = np.percentile(np.asarray(samples_ns, float), [50, 99]) / 1000
    return float(p50), float(p99)


def line(what: str, ours: str, floor: str = "", ratio: float | None = None) -> None:
    """One figure beside its floor, both of this run."""
    tail = f"  | floor {floor}  | ratio {ratio:.2f}" if ratio is not None else (f"  | {floor}" if floor else "")
    print(f"{what:<58} {ours:>26}{tail}", flush=True)


@contextlib.contextmanager
def nothing_left() -> Iterator[Path]:
    """Makes a folder for all that this process and its children make in temporary folders and in RAM; then it is gone.

    Gives the folder. Temporary folders of any library (TMPDIR) and outboxes (TICKMESH_TMPFS) lie in it meanwhile, so that no
    benchmark has to know which folders a mesh of its own has.
    """
    names, before = ("TMPDIR", "TICKMESH_TMPFS"), tempfile.tempdir
    kept = {name: os.environ.get(name) for name in names}
    ram = os.environ.get("TICKMESH_TMPFS") or (str(RAM) if os.access(RAM, os.W_OK) else None)
    with contextlib.ExitStack() as stack:
        stack.callback(_put_back, kept, before)
        for name, place in zip(names, (None, ram)):
            made = tempfile.TemporaryDirectory(prefix="tickmesh-bench-", dir=place, ignore_cleanup_errors=True)
            os.environ[name] = stack.enter_context(made)
        tempfile.tempdir = os.environ["TMPDIR"]
        yield Path(tempfile.tempdir)


def _put_back(kept: Mapping[str, str | None], tempdir: str | None) -> None:
    tempfile.tempdir = tempdir
    for name, value in kept.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def throw_away_mesh(**overrides: Any) -> Config:
    """A mesh's settings, in a new temporary folder; `nothing_left` takes it away."""
    root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    (root / "mesh.toml").write_text("")
    return load(root, overrides)

"""A sweep on 1 and on 2 workers: how much sooner it is done, what a part costs beside its backtest, and what a kept one costs.

`python -m bench sweep`: a made-up recording of two instruments is swept over four latencies and both, in eight parts of
some seconds each. Workers are begun anew each time, and load their machine code from the disk, as they do in life. With
Dask distributed installed, the same on a scheduler and two workers of this machine.
"""

import importlib.util
import os
import shutil
import tempfile
import time
from pathlib import Path

import tickmesh as tm
from bench.floor import line, rounds
from tests.support.sweep_scene import dask_cluster, lay

VARY = {"latency": "1 2 5 10"}
START = "2024-08-09"
EVENTS = int(os.environ.get("TICKMESH_BENCH_SWEEP_EVENTS") or 60_000)


def swept_s(root: Path, number: int, **words) -> float:
    """The seconds of a sweep into a new store."""
    begun = time.perf_counter()
    found = tm.sweep(root, VARY, START, every=None, store=root / f"kept-{number}.sqlite", **words)
    assert found.computed == len(found.keys) == 8 and not found.failures, found.failures
    return time.perf_counter() - begun


def main() -> dict[str, float]:
    root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    try:
        return measured(root)
    finally:
        shutil.rmtree(root)


def measured(root: Path) -> dict[str, float]:
    """Takes turns with one and two workers; the shortest of each counts."""
    lay(root, EVENTS)
    swept_s(root, 0, workers=2)  # compiles
    times: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(max(rounds() // 2, 1)):
        for workers, own in times.items():
            own.append(swept_s(root, 10 * turn + workers, workers=workers))
    one_s, two_s = min(times[1]), min(times[2])
    figures = {"sweep_one_worker_s": one_s, "sweep_two_workers_s": two_s, "sweep_speed_up": one_s / two_s}
    line(f"8 parts of {EVENTS:,} events, 1 worker", f"{one_s:.1f} s")
    line("the same on 2 workers", f"{two_s:.1f} s", f"{one_s:.1f} s, 1 worker", one_s / two_s)
    begun = time.perf_counter()
    kept = tm.sweep(root, VARY, START, every=None, store=root / "kept-1.sqlite", workers=2)
    assert kept.computed == 0
    figures["sweep_kept_s"] = time.perf_counter() - begun
    line("the same once more, all parts kept", f"{figures['sweep_kept_s']:.2f} s")
    if importlib.util.find_spec("distributed"):
        with dask_cluster(root, dict(os.environ)) as (address, _):
            swept_s(root, 100, cluster=address)  # its workers have begun
            figures["sweep_dask_two_workers_s"] = swept_s(root, 101, cluster=address)
        line("2 workers of Dask", f"{figures['sweep_dask_two_workers_s']:.1f} s", f"{two_s:.1f} s, processes",
             figures["sweep_dask_two_workers_s"] / two_s)  # fmt: skip
    return figures


if __name__ == "__main__":
    main()

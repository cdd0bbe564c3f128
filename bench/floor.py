"""Sharing for benchmarks: percentiles, a line of output, and the folder of a throw-away mesh."""

import os
import tempfile
from pathlib import Path

import numpy as np

from tickmesh.bus.config import Config, load

ROUNDS = 7


def rounds() -> int:
    """How often contestants that are compared take turns: ROUNDS, or what TICKMESH_BENCH_ROUNDS says for a quick look."""
    return max(int(os.environ.get("TICKMESH_BENCH_ROUNDS") or ROUNDS), 1)


def microseconds(samples_ns) -> tuple[float, float]:
    """(p50, p99) in µs of latencies in ns."""
    p50, p99 = np.percentile(np.asarray(samples_ns, float), [50, 99]) / 1000
    return float(p50), float(p99)


def line(what: str, ours: str, floor: str = "", ratio: float | None = None) -> None:
    """One figure beside its floor, both of this run."""
    tail = f"  | floor {floor}  | ratio {ratio:.2f}" if ratio is not None else (f"  | {floor}" if floor else "")
    print(f"{what:<58} {ours:>26}{tail}", flush=True)


def throw_away_mesh(**overrides) -> Config:
    root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    (root / "mesh.toml").write_text("")
    return load(root, overrides)

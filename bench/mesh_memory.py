"""What a mesh takes of a machine's memory, process by process: a page that n of them share counts as an n-th in each (PSS).

`python -m bench memory` runs the default mesh for it, as `mesh init` lays it. TICKMESH_BENCH_BESIDE: the .venv of another
installation, whose default mesh is measured in the same minute, for the ratio.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.floor import line
from tickmesh.nodes.supervision.presence import find
from tickmesh.tools.memory import memory_of
from tickmesh.tools.running import living

AIM_MB = 280.0  # of the default mesh
SETTLE_S = 10.0  # after `mesh up` has seen orders and fills
HERE = Path(sys.executable).parent.parent


def taken_mb(root: Path) -> dict[str, float]:
    """MB of each process of a folder's mesh that lives, and of its supervisord."""
    pids = living(root)
    if (presence := find(root / "run")) is not None:
        pids["supervisord"] = presence.pid
    return {name: memory.bytes / 1e6 for name, pid in pids.items() if (memory := memory_of(pid)) is not None}


def default_mesh(venv: Path) -> dict[str, float]:
    """MB of each process of an installation's default mesh, SETTLE_S after it is up."""
    root = Path(tempfile.mkdtemp(prefix="tickmesh-bench-"))
    mesh = str(venv / "bin/mesh")
    try:
        for words in (("init", "."), ("up",)):
            subprocess.run([mesh, *words], cwd=root, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        time.sleep(SETTLE_S)
        return taken_mb(root)
    finally:
        subprocess.run([mesh, "down"], cwd=root, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


def show(what: str, taken: dict[str, float], aim_mb: float) -> float:
    """Prints what a mesh takes by process, and in all beside the aim; gives the sum, MB."""
    total = sum(taken.values())
    by_size = sorted(taken.items(), key=lambda one: -one[1])
    line(what, f"{total:.0f} MB in {len(taken)} processes", f"aim {aim_mb:.0f} MB{'' if total <= aim_mb else ' (MISSED)'}")
    line("  by process, MB", ", ".join(f"{name} {mb:.1f}" for name, mb in by_size))
    return total


def main() -> dict[str, float]:
    total = show("the default mesh, shared pages counted once", default_mesh(HERE), AIM_MB)
    figures = {"memory_default_mesh_mb": total}
    if other := os.environ.get("TICKMESH_BENCH_BESIDE"):
        beside = sum(default_mesh(Path(other)).values())
        figures["memory_default_mesh_ratio"] = total / beside
        line("  beside the other installation's", f"{total:.0f} MB", f"{beside:.0f} MB", total / beside)
    return figures

"""What the sweeps have in common: a folder, a bar that shows how far they are, and the judge in a process of its own."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tickmesh.tools.chaos.plan import Strike
from tickmesh.tools.chaos.sweep_mesh import SweepMesh
from tickmesh.tools.terminal import Failure, JsonObject, UsageFailure, err


def place_of(folder: Path | None) -> Path:
    """The folder of a sweep's mesh: the one that is asked for, or a temporary one. Raises UsageFailure if it is not empty."""
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise UsageFailure(f"{folder} is not empty; a sweep makes a mesh of its own there")
    return folder or Path(tempfile.mkdtemp(prefix="tickmesh-chaos-"))


def kept_or_gone(mesh: SweepMesh, folder: Path | None, run: Callable[[], JsonObject]) -> JsonObject:
    """Runs a sweep, gives its result. The mesh is down then; its folder stays where it was asked for, or the sweep failed."""
    try:
        result = run()
    except BaseException:
        with contextlib.suppress(Failure):
            mesh.down()
        raise
    finally:
        mesh.tmpfs.close()
    if folder is None and result["ok"]:
        shutil.rmtree(mesh.root, ignore_errors=True)
    else:
        result["folder"] = str(mesh.root)
    return result


def judged_by(mesh: SweepMesh, *words: str) -> JsonObject:
    """`mesh verify` in a process of its own: it shares nothing with what it judges."""
    command = [str(mesh.root / ".venv/bin/mesh"), "verify", "--json", *words]
    environment = {**os.environ, "TICKMESH_ROOT": str(mesh.root)}
    done = subprocess.run(command, cwd=mesh.root, env=environment, capture_output=True, text=True, timeout=1200)
    try:
        verdict: JsonObject = json.loads(done.stdout)
        return verdict
    except ValueError:
        raise Failure(f"mesh verify {' '.join(words)} gave no verdict: {done.stderr.strip()}") from None


def describe(strike: Strike) -> str:
    """A strike in a few words."""
    if strike.kill:
        return f"kill {' '.join(strike.kill)}"
    for words in (strike.hang and ("hang", *strike.hang), strike.wake and ("wake", *strike.wake), strike.command):
        if words:
            return " ".join(words[:4])
    if strike.foreign:
        return "an order of nobody"
    if strike.tmpfs:
        return f"{strike.tmpfs} the tmpfs"
    return f"fault {strike.fault['kind']}" if strike.fault else f"clock {next(iter(strike.clock))}"


@contextlib.contextmanager
def progress(strikes: int, seconds: float) -> Iterator[Callable[[str, int], None]]:
    """A bar on the terminal: gives `step(words, by)`, which moves it on."""
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task(f"about {seconds + 20:.0f} s", total=strikes)
        yield lambda words, by: bar.update(task, description=words, advance=by)

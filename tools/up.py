"""`mesh up`: checks what can be checked, starts supervisord, and returns when it has itself seen the mesh work.

Proof is the log: a trade, a quote, a depth change, a signal, an intent and a fill beyond where it ended before.
"""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from bus.config import Config, find_root, load
from bus.log import LogReader, Tail
from bus.schema import Kind
from bus.segments import LogError
from bus.space import free_of, refusal
from bus.wire import events
from nodes.transport.supervisord import Away, ProcessStates, ShuttingDown, Supervisord
from tools import sources
from tools.status import read_window, unheard
from tools.terminal import Failure, err, out

PROOF = (Kind.trade, Kind.quote, Kind.depth, Kind.signal, Kind.intent, Kind.fill)
FREE_BYTES_MIN = 256 << 20  # a log segment, an outbox segment each, and an archive file, with room to notice
FREE_INODES_MIN = 200  # each of these files takes one, and each instrument's of a cut
LOOK_S = 0.1
RATES_S = 1.0  # rates are what comes in so long, once everything is there
AWAY_S_MAX = 10.0  # supervisord answers within a second of its start


def up(captures: list[Path], speed: float, timeout_s: float) -> dict:
    """Starts the mesh; what it returns is what `--json` prints. Raises Failure with what is missing."""
    root = find_root()
    for folder in (root / "run", root / "run" / "logs"):
        _make(folder)
    with _alone(root / "run" / "up.lock"):
        if (running := is_running(root)) is not None:
            return _already(load(root), captures, running)
        if not (root / "supervisor.conf").is_file():
            raise Failure(f"{root} has no supervisor.conf; it belongs beside mesh.toml")
        config = sources.for_captures(root, captures, speed) if captures else sources.plain(root)
        check_places(config)
        after = _end_of_log(config)
        started = time.monotonic()
        _start(root)
        counts, seconds = _watch(config, after, started + timeout_s)
    return {
        "running": True,
        "already": False,
        "source": config.source,
        "instruments": unheard(config, read_window(config)),
        "seconds": round(time.monotonic() - started, 1),
        "rates": {kind.name: round(counts[kind] / seconds, 1) for kind in proof(config)},
    }


def is_running(root: Path) -> list[dict] | None:
    """supervisord's processes; None when it does not run. Waits for one that is on its way out."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        client = Supervisord(root / "run")
        try:
            return client.processes()
        except Away:
            return None
        except ShuttingDown:
            time.sleep(0.1)
        finally:
            client.close()
    raise Failure("the mesh has been shutting down for a minute; see run/supervisord.log")


def _already(config: Config, captures: list[Path], processes: list[dict]) -> dict:
    wanted = [str(path.resolve()) for path in captures]
    if wanted and wanted != list(config.exchange.replay):
        raise Failure(f"the mesh is up with source {config.source!r}; `mesh down` first, then up on the capture")
    fine = (ProcessStates.RUNNING, ProcessStates.STARTING)
    down = [p["name"] for p in processes if p["state"] not in fine and not is_idle(p)]
    return {"running": True, "already": True, "source": config.source, "not_running": down}


def is_idle(process: dict) -> bool:
    """Whether it said that there is nothing to do for it: hosted by the sequencer, or switched off in mesh.toml."""
    return process["state"] == ProcessStates.EXITED and process["exitstatus"] == 0


def check_places(config: Config) -> None:
    """What would stop every process is said once, and before any starts."""
    if config.run != "run":
        raise Failure(f"mesh.toml has run = {config.run!r}, but supervisor.conf keeps its files in run/; leave it out")
    table = (config.root / "supervisor.conf").read_text()
    for name in () if "model" in config.host else (f"model-{model.name}" for model in config.models):
        if f"[program:{name}]" not in table:
            raise Failure(f"mesh.toml has {name}, but supervisor.conf has no [program:{name}]; add it there")
    _make(config.source_dir)
    probe = config.source_dir / ".writable"
    try:
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise Failure(f"the data folder {config.source_dir} cannot be written: {refusal(error, config.source_dir)}") from None
    free = free_of(config.source_dir)
    if free.bytes < FREE_BYTES_MIN or free.inodes < FREE_INODES_MIN:
        raise Failure(
            f"the disk of {config.source_dir} has {free} free; at least {FREE_BYTES_MIN} bytes and {FREE_INODES_MIN} inodes "
            "are needed"
        )
    if port := config.exchange.port:
        with socket.socket() as probe_socket:
            probe_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe_socket.bind((config.exchange.host, port))
            except OSError as error:
                raise Failure(f"exchange.port {port}: {error.strerror}; 0 takes any free one") from None


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Failure(f"the folder {folder} cannot be made: {refusal(error, folder)}") from None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two `mesh up` at once: the second waits, and then finds the mesh up."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {refusal(error, path)}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _end_of_log(config: Config) -> int:
    try:
        return LogReader(config.log_dir).last
    except LogError as error:
        raise Failure(str(error)) from None


def _start(root: Path) -> None:
    """supervisord as a daemon, in a session of its own; it outlives this shell."""
    with open(root / "run" / "logs" / "supervisord-start.log", "wb") as log:
        code = subprocess.call(
            [sys.executable, "-m", "supervisor.supervisord", "-c", "supervisor.conf"],
            cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, umask=0o077,
        )  # fmt: skip
    if code:
        said = (root / "run" / "logs" / "supervisord-start.log").read_text(errors="replace").strip().splitlines()
        raise Failure(f"supervisord did not start: {said[-1] if said else f'exit {code}'}")


def _watch(config: Config, after: int, deadline: float) -> tuple[Counter, float]:
    """Counts what is in the log beyond `after` until every kind of PROOF is among it: (events by kind, seconds)."""
    counts: Counter = Counter()
    wanted = proof(config)
    tail = Tail(config.log_dir, after)
    client = Supervisord(config.root / "run")
    away_until = time.monotonic() + AWAY_S_MAX
    status = err.status("starting") if err.is_terminal else contextlib.nullcontext()
    with status as line, contextlib.closing(tail), contextlib.closing(client):
        while missing := _count(tail, counts, wanted):
            now = time.monotonic()
            if now > deadline:
                raise Failure(_what_is_missing(config, missing, client))
            if now > away_until:
                away_until = now + 1
                _still_there(client)
            if line is not None:
                line.update(f"waiting for {', '.join(missing)}")
            time.sleep(LOOK_S)
        counts.clear()
        begun = time.monotonic()
        time.sleep(RATES_S)
        _count(tail, counts, wanted)
        return counts, time.monotonic() - begun


def proof(config: Config) -> tuple[Kind, ...]:
    """What has to flow; without an executor nothing is ordered."""
    return PROOF if config.executor.enabled else PROOF[:4]


def _count(tail: Tail, counts: Counter, wanted: tuple[Kind, ...]) -> list[str]:
    try:
        while batches := tail.read():
            for batch in batches:
                counts.update(event.kind for event in events(batch.body))
    except LogError as error:
        raise Failure(str(error)) from None
    return [kind.name for kind in wanted if not counts[kind]]


def _still_there(client: Supervisord) -> None:
    try:
        client.processes()
    except (Away, ShuttingDown):
        raise Failure("supervisord has ended again; see run/supervisord.log") from None


def _what_is_missing(config: Config, missing: list[str], client: Supervisord) -> str:
    lines = [f"no {', no '.join(missing)} in the log yet. What runs goes on; `mesh status` shows it."]
    with contextlib.suppress(Away, ShuttingDown):
        for process in client.processes():
            if process["state"] == ProcessStates.RUNNING and process["now"] - process["start"] > 5:
                continue
            log = config.root / "run" / "logs" / f"{process['name']}.log"
            said = log.read_text(errors="replace").strip().splitlines()[-1:] if log.is_file() else []
            lines.append(f"  {process['name']}: {process['statename']}, last said: {said[0] if said else 'nothing'}")
    return "\n".join([*lines, f"  logs: {config.root / 'run' / 'logs'}"])


def show(result: dict) -> None:
    """For a person."""
    if result["already"]:
        out.print(f"tickmesh is up already, source {result['source']}.")
        if result["not_running"]:
            out.print(f"Not running: {', '.join(result['not_running'])} (mesh status)")
        return
    rates = ", ".join(f"{rate:g} {kind}" for kind, rate in result["rates"].items())
    out.print(f"tickmesh is up after {result['seconds']} s, source {result['source']}.")
    out.print(f"In the log, per second: {rates}.")
    for one in result["instruments"]:
        out.print(f"{one['instrument']}: {one['why']}", style="bold", markup=False)
    out.print("Next:")
    for command, what in (
        (".venv/bin/tap trade", "trades as they come (tap quote, tap signal, tap fill …; --rate for rates)"),
        (".venv/bin/mesh status", "processes and topics"),
        (".venv/bin/supervisorctl -c supervisor.conf status", "start, stop, restart single processes"),
        (".venv/bin/mesh verify", "log, recent store and archive, checked against each other"),
        ("make down", "stop; `make up` goes on where it was"),
    ):
        out.print(f"  {command:<52} {what}")

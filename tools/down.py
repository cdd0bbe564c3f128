"""`mesh down`: an orderly end (venue and feeds, models, sequencer, recorder), and nothing left behind but the data."""

import contextlib
import os
import select
import shutil
import time
from pathlib import Path

from tickmesh.bus.config import Config, find_root, load
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.log import LogReader
from tickmesh.bus.outbox_room import outboxes
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.nodes.sentinel.supervisord import Away, ShuttingDown, Supervisord
from tickmesh.tools.terminal import Failure, JsonObject, out

WAIT_S = 240.0  # supervisord kills each process after its stopwaitsecs; their sum is less
PROD_S = 0.02  # supervisord looks after its children once a second unless it is asked something
# What a process says about itself: after the sequencer's end it stays in the outbox, and the next run says it anew.
OF_THE_MOMENT = (Kind.health, Kind.run, Kind.watermark)
TAIL_EVENTS = 20_000  # the sequencer's last words (its cursors) are among the last few


def down() -> JsonObject:
    """Stops the mesh in order and clears what only a running one needs. Raises Failure when something does not end."""
    root = find_root()
    config = load(root)
    client = Supervisord(root / "run")
    started = time.monotonic()
    with contextlib.closing(client):
        try:
            pids = [client.pid(), *(p["pid"] for p in client.processes() if p["pid"])]
            running = True
        except Away:
            pids, running = [], False
        except ShuttingDown:
            pids, running = [], True
        fds = _watch(pids)
        try:
            if running:
                _shut_down(client)
            _await_ends(fds, started + WAIT_S)
        finally:
            for fd in fds.values():
                os.close(fd)
    kept = _clear(config)
    return {
        "running": False,
        "was_running": running,
        "seconds": round(time.monotonic() - started, 1),
        "source": config.source,
        "log_seq": _last(config),
        "outboxes_kept": kept,
    }


def _watch(pids: list[int]) -> dict[int, int]:
    fds = {}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            fds[pid] = os.pidfd_open(pid)
    return fds


def _shut_down(client: Supervisord) -> None:
    """Asks for the end, and goes on asking until nobody answers: every question makes supervisord go on at once."""
    with contextlib.suppress(ShuttingDown):
        client.shutdown()
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            client.pid()
        except ShuttingDown:
            pass
        except Away:
            return
        time.sleep(PROD_S)
    raise Failure(f"supervisord has not ended within {WAIT_S:.0f} s; see run/supervisord.log")


def _await_ends(fds: dict[int, int], deadline: float) -> None:
    for pid, fd in fds.items():
        ready, _, _ = select.select([fd], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise Failure(f"process {pid} has not ended; see run/logs")


def _clear(config: Config) -> list[str]:
    """Removes sockets, and outboxes whose every event is in the log. Returns the names of those that stay."""
    shutil.rmtree(config.run_dir / "sockets", ignore_errors=True)
    for name in ("ready", "blocked"):
        shutil.rmtree(config.run_dir / name, ignore_errors=True)
    for name in ("supervisor.sock", "supervisord.pid", "exchange.json"):
        (config.root / "run" / name).unlink(missing_ok=True)
    cursors = _cursors(config)
    names = outboxes(config)
    kept = [name for name in names if not _is_taken(name, config.outbox(name), cursors)]
    for name in names:
        if name not in kept:
            for box in config.outbox(name):
                shutil.rmtree(box, ignore_errors=True)
    if not kept:
        for folder in config.outbox_dirs:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return kept


def _cursors(config: Config) -> dict[str, tuple[int, int]]:
    """producer → (epoch, number) that the sequencer had taken at its end; {} when the log does not say."""
    cursors: dict[str, tuple[int, int]] = {}
    with contextlib.suppress(LogError):
        log = LogReader(config.log_dir)
        for event in log.events(max(log.last - TAIL_EVENTS, log.first - 1)):
            if event.kind == Kind.cursor:
                for row in event.records:
                    cursors[row["producer"].decode()] = (int(row["epoch"]), int(row["number"]))
    return cursors


def _is_written(box: tuple[Path, ...]) -> bool:
    """Whether a process still lives on this outbox: one that supervisord no longer knows of."""
    for folder in box:
        try:
            lock = FileLock(folder / "lock", create=False)
        except OSError:
            continue
        with lock:
            if not lock.try_acquire():
                return True
    return False


def _is_taken(name: str, box: tuple[Path, ...], cursors: dict[str, tuple[int, int]]) -> bool:
    epoch, number = cursors.get(name, (0, 0))
    if _is_written(box):
        return False
    try:
        reader = LogReader(box)
        if reader.log_id != epoch:
            return False
        return all(event.kind in OF_THE_MOMENT for event in reader.events(number))
    except LogError:
        return False


def _last(config: Config) -> int:
    try:
        return LogReader(config.log_dir).last
    except LogError:
        return 0


def show(result: JsonObject) -> None:
    """Prints for a person how the mesh was stopped."""
    if not result["was_running"]:
        out.print("tickmesh was not running.")
        return
    out.print(f"tickmesh is down after {result['seconds']} s.")
    out.print(f"Source {result['source']}: {result['log_seq']} events in the log. `mesh verify` checks them.")
    if result["outboxes_kept"]:
        out.print(f"Not yet in the log, kept for the next start: the outboxes of {', '.join(result['outboxes_kept'])}.")

"""`mesh down`: an orderly end (orders, venue and feeds, models, sequencer, recorder), and nothing left behind but the data."""

import contextlib
import os
import shutil
import time
from pathlib import Path

from tickmesh.bus.config import Config, find_root
from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.log import LogReader
from tickmesh.bus.outbox_room import outboxes
from tickmesh.bus.schema import Kind
from tickmesh.bus.segments import LogError
from tickmesh.nodes.sentinel.supervisord import Away, ShuttingDown, Silent, Supervisord, is_free
from tickmesh.tools.ending import IN_ORDER, NOT_THERE, await_ends, end_by_force, end_what_is_left, watch
from tickmesh.tools.running import PATIENCE_S, await_end_of_others, living, silent_words
from tickmesh.tools.started_with import in_force
from tickmesh.tools.terminal import Failure, JsonObject, err, out

WAIT_S = 240.0  # supervisord kills each process after its stopwaitsecs; their sum is less
NEWS_S = 10.0  # how often a person is told what has not ended yet
PROD_S = 0.02  # supervisord looks after its children once a second unless it is asked something
# What a process says about itself: after the sequencer's end it stays in the outbox, and the next run says it anew.
OF_THE_MOMENT = (Kind.health, Kind.run, Kind.watermark)
TAIL_EVENTS = 20_000  # the sequencer's last words (its cursors) are among the last few


def down(timeout_s: float = WAIT_S, force: bool = False) -> JsonObject:
    """Stops the mesh in order and clears what only a running one needs; nothing of one that lives on is removed.

    A wrong mesh.toml hinders nothing: what it was started with counts then; where that is not known, outboxes stay.
    `force`: where supervisord does not answer, it and its processes are ended all the same. Raises Failure when something does
    not end within `timeout_s`.
    """
    root = find_root()
    config, wrong = in_force(root)
    started = time.monotonic()
    deadline = started + timeout_s
    how = _end(root, deadline, min(timeout_s, PATIENCE_S), force)
    await_end_of_others(root, max(deadline - time.monotonic(), 1.0))
    _clear(root)
    kept = _clear_outboxes(config) if config is not None else []
    return {
        "running": False,
        "was_running": how != NOT_THERE,
        "how": how,
        "seconds": round(time.monotonic() - started, 1),
        "source": config.source if config is not None else None,
        "log_seq": _last(config) if config is not None else None,
        "outboxes_kept": kept,
        "wrong_settings": str(wrong or ""),
    }


def _end(root: Path, deadline: float, patience_s: float, force: bool) -> str:
    """Ends supervisord and all of its processes; says how. Raises Failure for what is still there then."""
    with contextlib.closing(Supervisord(root / "run", patience_s)) as client:
        try:
            pids = [client.pid(), *(p["pid"] for p in client.processes() if p["pid"])]
        except Silent as silent:
            if not force:
                raise Failure(silent_words(root, silent)) from None
            return end_by_force(root, silent.presence, deadline)
        except Away:
            return end_what_is_left(root, deadline)
        except ShuttingDown:
            pids = list(living(root).values())
        fds = watch(pids)
        try:
            _shut_down(root, client, deadline)
            await_ends(fds, deadline)
        except Silent as silent:
            raise Failure(silent_words(root, silent)) from None
        finally:
            for fd in fds.values():
                os.close(fd)
    return IN_ORDER


def _shut_down(root: Path, client: Supervisord, deadline: float) -> None:
    """Asks for the end, and goes on asking until there is none: every question makes supervisord go on at once."""
    with contextlib.suppress(ShuttingDown):
        client.shutdown()
    begun = news = time.monotonic()
    while time.monotonic() < deadline:
        try:
            client.pid()
        except ShuttingDown:
            pass
        except Silent:
            if not is_free(root / "run"):  # it has not closed its socket yet, and hangs
                raise
        except Away:
            return
        if (now := time.monotonic()) - news > NEWS_S:
            news = now
            err.print(f"{now - begun:.0f} s: {', '.join(sorted(living(root))) or 'supervisord'} still to end", markup=False)
        time.sleep(PROD_S)
    raise Failure("supervisord has not ended in time; see run/supervisord.log")


def _clear(root: Path) -> None:
    """Removes sockets, and what says of processes that they run."""
    for name in ("sockets", "ready", "blocked"):
        shutil.rmtree(root / "run" / name, ignore_errors=True)
    for name in ("supervisor.sock", "supervisord.pid", "exchange.json"):
        (root / "run" / name).unlink(missing_ok=True)


def _clear_outboxes(config: Config) -> list[str]:
    """Removes outboxes whose every event is in the log. Returns the names of those that stay."""
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
    if result["wrong_settings"]:
        out.print(f"{result['wrong_settings']}; mend it before the next `mesh up`.", markup=False)
    if not result["was_running"]:
        out.print("tickmesh was not running.")
        return
    how = "" if result["how"] == IN_ORDER else f": {result['how']}"
    out.print(f"tickmesh is down after {result['seconds']} s{how}.")
    if result["source"] is None:
        out.print("With which settings it ran is not known: its outboxes stay, for the next start.")
        return
    out.print(f"Source {result['source']}: {result['log_seq']} events in the log. `mesh verify` checks them.")
    if result["outboxes_kept"]:
        out.print(f"Not yet in the log, kept for the next start: the outboxes of {', '.join(result['outboxes_kept'])}.")

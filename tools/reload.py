"""`mesh reload`: a changed mesh.toml takes effect while data flows. What it does not concern goes on as it is.

What runs is what supervisord itself holds, so a reload that was interrupted is completed by the next one.
"""

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from tickmesh.bus.config import Config, find_root, load
from tickmesh.bus.exits import STOPPED_EXIT
from tickmesh.bus.files import write_file
from tickmesh.bus.names import STEPS
from tickmesh.nodes.process_table import hosted, name_of, processes
from tickmesh.nodes.runner.put_out import read as read_put_out
from tickmesh.nodes.sentinel.supervisord import Away, ProcessInfo, ProcessStates, ShuttingDown, Silent, Supervisord
from tickmesh.tools import changed_models, started_with, table
from tickmesh.tools.before_start import check_cores
from tickmesh.tools.confirming import require_confirmation
from tickmesh.tools.reload_plan import FIRST, Change, ReloadPlan, fixed_changes, plan
from tickmesh.tools.running import alone, last_line, ready_pid, running_processes, silent_words
from tickmesh.tools.sources import chosen_otherwise
from tickmesh.tools.terminal import Failure, JsonObject, out

LOOK_S = 0.05  # and each question makes supervisord look after its children at once
STOP_S = 90.0  # supervisord kills a process after its stopwaitsecs, of which this is more
DEATHS_MAX = 3  # of a process that is to become ready, before that is the answer
STOPPED = (ProcessStates.STOPPED, ProcessStates.EXITED, ProcessStates.FATAL)
RUNS = (ProcessStates.RUNNING, ProcessStates.STARTING)


def reload(timeout_s: float, dry_run: bool, announce: Callable[[str], None]) -> JsonObject:
    """Applies mesh.toml to the mesh that runs; gives what `--json` prints. `announce` is given the plan, line by line, first.

    `timeout_s`: for each stage until its processes are ready. Raises Failure or ConfigError with what stands in the way.
    """
    root = find_root()
    if not (root / "run").is_dir():
        raise Failure("the mesh is not up; `mesh up` starts it")
    with alone(root):
        config = load(root)
        if (running := running_processes(root)) is None:
            raise Failure("the mesh is not up; `mesh up` starts it")
        if other := chosen_otherwise(root):
            announce(
                f"{', '.join(other)}: as the flags of `mesh up` said, not as mesh.toml says; "
                "`mesh down`, then `mesh up` without flags, goes by mesh.toml"
            )
        return apply(config, running, timeout_s, dry_run, announce)


def apply(
    config: Config,
    running: Sequence[ProcessInfo],
    timeout_s: float,
    dry_run: bool,
    announce: Callable[[str], None],
    starts_stopped: bool = False,
) -> JsonObject:
    """As `reload`, for a mesh of which it is known that it is up, and that nobody else changes.

    `starts_stopped`: whether what does not run is started, too, though an operator has stopped it.
    """
    begun = time.monotonic()
    if not dry_run:
        require_confirmation(config, starts=False)
    root, wanted = config.root, processes(config)
    with _supervisord(root) as client:
        rows = client.table()
        if table.hand_written(root) is not None or rows is None:
            raise Failure(
                "the processes that run are those of a table in supervisor.conf written by hand: change it there and use "
                "`supervisorctl update`, or include run/processes.conf as the project's own does; then `mesh down`, `mesh up`"
            )
        if fixed := fixed_changes(rows, wanted):
            raise Failure(f"{' and '.join(fixed)} cannot change while the mesh is up: `mesh down`, then `mesh up`")
        check_cores(config)
        bad_models = changed_models.refuse_bad(config, running)
        if not dry_run:
            table.write(root, wanted)
            started_with.remember(config)
        try:
            otherwise = client.reread()
        except ValueError as error:
            raise Failure(f"supervisor.conf cannot be read: {error}; no process was changed") from None
        stopped = {one["name"] for one in running if one["state"] == ProcessStates.STOPPED}
        interrupted = stopped & _interrupted(root)
        reasons = dict.fromkeys(otherwise, "supervisor.conf changed")
        reasons |= dict.fromkeys(interrupted, "a reload before was interrupted")
        guests = {name_of(*one): one[0] for one in hosted(config)}
        reasons |= changed_models.edited(config, guests, _pid(running, "sequencer"), bad_models)
        reasons |= {one["name"]: "it had stopped for a fault of its own" for one in running if has_stopped(one)}
        names = {entry.name for entry in wanted}
        down = _not_running(running, names) if starts_stopped else {}
        todo = plan(rows, wanted, guests.keys(), stopped - interrupted - down.keys(), reasons, down)
        for name, why in bad_models.items():
            announce(f"{name} cannot run: {why}. It is kept from running, and all else is done.")
        for line in describe(todo, bad_models):
            announce(line)
        failed: dict[str, str] = {}
        not_done: list[Change] = []
        if todo.changes and not dry_run:
            steps = [name for name, node in guests.items() if node in STEPS]
            failed, not_done = _carry_out(root, client, todo, steps, timeout_s)
            failed = {name: why for name, why in failed.items() if name not in bad_models}  # it has ended, as it was to
        now = client.processes()
        left = [name for name in _not_running(now, names) if name not in bad_models]
    sequencer = _pid(now, "sequencer")
    put_out = {name: one.why for name in guests if (one := read_put_out(config.run_dir, name, sequencer)) is not None}
    return {
        "running": True, "already": True, "mode": config.mode, "source": config.source, "dry_run": dry_run,
        "plan": [{"name": one.name, "action": one.action, "why": one.why} for one in todo.changes],
        "stay_stopped": [one.name for one in todo.asleep],
        "failed": failed, "not_done": [one.name for one in not_done], "not_running": left,
        "models_stopped": put_out | bad_models, "models_refused": list(bad_models),
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def start_stopped(
    config: Config, running: Sequence[ProcessInfo], timeout_s: float, announce: Callable[[str], None]
) -> JsonObject:
    """Starts what does not run of a table written by hand; gives what `--json` prints."""
    begun = time.monotonic()
    down = _not_running(running)
    with _supervisord(config.root) as client:
        for name, why in down.items():
            announce(f"start {name}: {why}")
            client.start(name)
        failed = _wait_until_ready(config.root, client, {name: [name] for name in down}, timeout_s)
        left = list(_not_running(client.processes()))
    return {
        "running": True, "already": True, "mode": config.mode, "source": config.source, "dry_run": False,
        "plan": [{"name": name, "action": "start", "why": why} for name, why in down.items()],
        "stay_stopped": [], "failed": failed, "not_done": [], "not_running": left,
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def _not_running(processes: Sequence[ProcessInfo], wanted: Collection[str] = ()) -> dict[str, str]:
    """Name → why, of the processes that do not run though they have something to do: those that mesh.toml has `wanted`, all."""
    return {
        one["name"]: f"it does not run ({one['statename']})"
        for one in processes
        if one["state"] not in RUNS and (one["name"] in wanted or not is_idle(one))
    }


@contextlib.contextmanager
def _supervisord(root: Path) -> Iterator[Supervisord]:
    """A client for the work of a reload. Raises Failure when supervisord goes away meanwhile."""
    with contextlib.closing(Supervisord(root / "run")) as client:
        try:
            yield client
        except Silent as silent:
            raise Failure(silent_words(root, silent)) from None
        except (Away, ShuttingDown):
            raise Failure("supervisord has ended meanwhile; see run/supervisord.log") from None


def _pid(processes: Sequence[ProcessInfo], name: str) -> int:
    """The pid of one of these; 0 of one that does not run, or is not there."""
    return next((one["pid"] for one in processes if one["name"] == name), 0)


def is_idle(process: ProcessInfo) -> bool:
    """Whether a process ended because there is nothing to do for it: hosted by the sequencer, or switched off in mesh.toml."""
    return bool(process["state"] == ProcessStates.EXITED and process["exitstatus"] == 0)


def has_stopped(process: ProcessInfo) -> bool:
    """Whether a process ended for good: a model that fails at every start. An alert says why."""
    return bool(process["state"] == ProcessStates.EXITED and process["exitstatus"] == STOPPED_EXIT)


def describe(todo: ReloadPlan, bad_models: Collection[str] = ()) -> list[str]:
    """The plan as lines for a person. `bad_models`: processes that end at once, since their models cannot run."""
    ends = "; it ends at once, with why it cannot run as its alert"
    lines = [f"{one.action} {one.name}: {one.why}{ends if one.name in bad_models else ''}" for one in todo.changes]
    lines += [f"{one.name} is stopped and stays so, though {one.why}: `supervisorctl start {one.name}`" for one in todo.asleep]
    return lines or ["nothing has changed"]


def forget_interrupted(root: Path) -> None:
    """Forgets what a reload was about to restart: it is done, or the mesh begins anew."""
    _journal(root).unlink(missing_ok=True)


def _journal(root: Path) -> Path:
    return root / "run" / "reload.json"


def _interrupted(root: Path) -> set[str]:
    """What an earlier reload was about to restart and has not got to the end of: stopped by it, not by an operator."""
    try:
        return set(json.loads(_journal(root).read_bytes()))
    except (OSError, ValueError):
        return set()


def _carry_out(
    root: Path, client: Supervisord, todo: ReloadPlan, hosted_steps: Sequence[str], timeout_s: float
) -> tuple[dict[str, str], list[Change]]:
    """(name → why it does not work, what was left undone because of that). A sequencer works when each step that it hosts does,
    or was put out of it for good."""
    restarted = {one.name for one in todo.changes if one.action != "stop"}
    write_file(_journal(root), json.dumps(sorted(restarted | _interrupted(root))).encode())
    failed: dict[str, str] = {}
    not_done: list[Change] = []
    broken: set[str] = set()  # venues, and what everything depends on
    for stage in todo.stages:
        ready = [one for one in stage if one.venue not in broken and not broken & set(FIRST)]
        not_done += [one for one in stage if one not in ready]
        _stop(client, {one.name for one in ready if one.action != "start"})
        for one in ready:
            if one.action == "stop":
                (root / "run" / "ready" / f"{one.name}.json").unlink(missing_ok=True)
            else:
                client.add(one.name) or client.start(one.name)
        coming = {one.name: [one.name, *hosted_steps] if one.name == "sequencer" else [one.name]
                  for one in ready if one.action != "stop"}  # fmt: skip
        bad = _wait_until_ready(root, client, coming, timeout_s)
        failed |= bad
        broken |= {one.venue or one.name for one in ready if one.name in bad}
    forget_interrupted(root)
    return failed, not_done


def _stop(client: Supervisord, names: set[str]) -> None:
    """Returns when supervisord has none of these any more."""
    deadline = time.monotonic() + STOP_S
    while left := [one for one in client.processes() if one["name"] in names]:
        for one in left:
            if one["state"] in STOPPED:
                client.remove(one["name"])
            elif one["state"] != ProcessStates.STOPPING:
                client.stop(one["name"])
        if time.monotonic() > deadline:
            unstopped = ", ".join(one["name"] for one in left)
            raise Failure(f"{unstopped} did not stop within {STOP_S:.0f} s; `mesh reload` goes on from here")
        time.sleep(LOOK_S)


def _wait_until_ready(root: Path, client: Supervisord, coming: Mapping[str, Sequence[str]], timeout_s: float) -> dict[str, str]:
    """Waits until all processes do their job (name → the nodes that it runs); gives name → why one does not."""
    waiting = set(coming)
    bad: dict[str, str] = {}
    pids: defaultdict[str, set[int]] = defaultdict(set)
    deadline = time.monotonic() + timeout_s
    while waiting:
        states = {one["name"]: one for one in client.processes()}
        for name in tuple(waiting):
            pid = states[name]["pid"]
            pids[name].add(pid)
            if pid and all(_is_settled(root, node, pid) for node in coming[name]):
                waiting.discard(name)
            elif time.monotonic() > deadline or len(pids[name] - {0}) > DEATHS_MAX or has_stopped(states[name]):
                waiting.discard(name)
                again = "has stopped" if has_stopped(states[name]) else "dies again and again"
                how = "not ready" if time.monotonic() > deadline else again
                bad[name] = f"{how} ({states[name]['statename']}), last said: {last_line(root, name)}"
        time.sleep(LOOK_S)
    return bad


def _is_settled(root: Path, node: str, pid: int) -> bool:
    """Whether a node does its job in the process `pid`, or was put out of that one, which does the rest."""
    return ready_pid(root, node) == pid or read_put_out(root / "run", node, pid) is not None


def show(result: JsonObject) -> None:
    """Prints for a person what has come of a reload; the plan has been announced before."""
    if result["dry_run"]:
        out.print("Nothing was done (--dry-run).")
    elif result["plan"]:
        word = "Not all of it was done" if result["failed"] else "Done"
        out.print(f"{word} after {result['seconds']} s, source {result['source']}.")
    for name, why in result["failed"].items():
        out.print(f"{name}: {why}", style="bold", markup=False)
    for name, why in result.get("models_stopped", {}).items():
        how = "cannot run" if name in result["models_refused"] else "was put out of the sequencer's process"
        out.print(f"{name} {how}, and all else goes on: {why}", style="bold", markup=False)
    if result["not_done"]:
        out.print(f"Not done because of that: {', '.join(result['not_done'])}; `mesh reload` tries again", markup=False)
    elif result["not_running"]:
        out.print(f"Not running: {', '.join(result['not_running'])} (mesh status)", markup=False)

"""Stops, starts and restarts one process of a mesh as a person does: in order, by supervisord, and it stays as it was left."""

import contextlib
import time
from pathlib import Path
from typing import Literal

from tickmesh.bus.config import Config
from tickmesh.nodes.sentinel.supervisord import Away, ProcessInfo, ProcessStates, ShuttingDown, Silent, Supervisord

Change = Literal["start", "stop", "restart"]
STOP_S = 70.0  # the recorder may take a minute to end (process_table.py)
LOOK_S = 0.05
RUNS = (ProcessStates.STARTING, ProcessStates.RUNNING, ProcessStates.BACKOFF)


class ProcessUnchanged(Exception):
    """A process was not changed: a sentence with what was seen and what to do."""


def change_process(config: Config, change: Change, name: str) -> str:
    """Starts, stops or restarts a process; gives a sentence with what was done. A restart waits for its end, STOP_S at most.

    Raises ProcessUnchanged where there is no such process, as where the sequencer hosts it, and where supervisord does not
    answer.
    """
    with contextlib.closing(Supervisord(config.root / "run")) as client:
        try:
            return _changed(client, change, name, config.root)
        except Silent as silent:
            raise ProcessUnchanged(f"{silent}; nothing was changed. `mesh down --force` ends all of it") from None
        except (Away, ShuttingDown):
            raise ProcessUnchanged("the mesh is not running, or is on its way down: `mesh up` starts it") from None


def _changed(client: Supervisord, change: Change, name: str, root: Path) -> str:
    found = _find(client, name)
    if change == "stop":
        if found["state"] not in RUNS:
            raise ProcessUnchanged(f"{name} does not run: it is {found['statename']}")
        client.stop(name)
        return f"{name} is being stopped, and stays so until it is started"
    if change == "start":
        if not client.start(name):
            raise ProcessUnchanged(f"{name} is {_find(client, name)['statename']}; only what does not run can be started")
        return f"{name} was started"
    deadline = time.monotonic() + STOP_S
    while (now := _find(client, name))["state"] in (*RUNS, ProcessStates.STOPPING):
        if now["state"] in RUNS:
            client.stop(name)
        if time.monotonic() > deadline:
            raise ProcessUnchanged(f"{name} has not ended within {STOP_S:g} s: see {root.name}/run/logs/{name}.log")
        time.sleep(LOOK_S)
    if not client.start(name):
        raise ProcessUnchanged(f"{name} has ended, and did not start again: it is {_find(client, name)['statename']}")
    return f"{name} was restarted"


def _find(client: Supervisord, name: str) -> ProcessInfo:
    rows = client.processes()
    for row in rows:
        if row["name"] == name:
            return row
    there = ", ".join(row["name"] for row in rows)
    raise ProcessUnchanged(f"there is no process {name!r} (what the sequencer hosts goes with it); there are: {there}")

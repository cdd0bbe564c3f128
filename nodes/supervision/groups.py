"""Words for several processes in supervisorctl: `restart feeds:*`, `stop models:*`, `start feeds:feed-binance-1`.

supervisord's own groups can only be changed whole: to give one process new settings all of its group would have to stop, both
lines of a venue at once. So every process is a group of its own, with its own name, and TICKMESH_GROUP in its environment says
which word it answers to as well. supervisor.conf names this file; it is loaded by supervisord and by supervisorctl.

supervisord loads the nodes' code here, for them to begin as copies of it (nodes/supervision/preloaded.py), takes its lock
(nodes/supervision/presence.py), counts how often it has had to start a process again, and in the foreground passes on what its
processes write (nodes/supervision/foreground.py).
"""

import os
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault

from supervisor import events
from supervisor.http import NOT_DONE_YET
from supervisor.options import split_namespec
from supervisor.rpcinterface import (
    SupervisorNamespaceRPCInterface,
    isNotRunning,
    isRunning,
    isSignallable,
    make_allfunc,
)  # fmt: skip
from supervisor.states import ProcessStates
from supervisor.supervisorctl import Controller, ControllerPluginBase, DefaultControllerPlugin

from tickmesh.bus.names import MESH
from tickmesh.nodes.supervision import preloaded
from tickmesh.nodes.supervision.foreground import ForegroundLines
from tickmesh.nodes.supervision.presence import SupervisordLock
from tickmesh.nodes.supervision.sessions import BEFORE, HostedSessions

RESTARTS_KEPT = 100  # of each process
RESTARTS_S = 60.0
GROUP = "TICKMESH_GROUP"  # in the environment of a process: the word for it and others
SETTINGS = "TICKMESH_SETTINGS"  # and what its settings are, as nodes/process_table.py fingerprints them


class GroupedProcesses(SupervisorNamespaceRPCInterface):  # type: ignore[misc]  # supervisor has no types
    """supervisord's XML-RPC, where a word for several processes may stand for the name of a group."""

    def __init__(self, supervisord: Any):
        """Raises ValueError, which supervisord prints, where another supervisord of this folder lives."""
        super().__init__(supervisord)
        try:
            self.lock = SupervisordLock(Path(supervisord.options.pidfile).parent)
        except ValueError as error:
            sys.stderr.write(f"Error: {error}\n")  # what is raised here supervisord has in its log only
            raise
        self.restarts: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RESTARTS_KEPT))
        os.environ[MESH] = self.lock.mesh  # and so in the environment of all that it starts
        events.subscribe(events.SupervisorRunningEvent, lambda _: self.lock.write(os.getpid()))
        events.subscribe(events.ProcessStateStartingEvent, self._count_restart)
        events.subscribe(events.SupervisorStoppingEvent, self._place_sessions)
        if supervisord.options.nodaemon:  # `mesh run`: whoever started it reads what its processes write, too
            lines = ForegroundLines(sys.stdout.fileno())
            events.subscribe(events.ProcessLogStdoutEvent, lambda event: lines.take(event.process.config.name, event.data))

    def _count_restart(self, event: Any) -> None:
        """Counts a start that nobody has asked for: the process had died."""
        if event.from_state != ProcessStates.STOPPED:
            self.restarts[event.process.config.name].append(time.monotonic())

    def _place_sessions(self, event: Any) -> None:
        """Puts what the sequencer hosts into the order in which supervisord stops its groups, the last one first."""
        groups = self.supervisord.stop_groups
        place = max((at for at, group in enumerate(groups, 1) if not group.config.name.startswith(BEFORE)), default=0)
        groups.insert(place, HostedSessions(self.supervisord))

    def getRestarts(self) -> dict[str, int]:
        """How often supervisord has started each process again within the last minute, of those that it had to."""
        self._update("getRestarts")
        since = time.monotonic() - RESTARTS_S
        counts = {name: sum(at > since for at in times) for name, times in self.restarts.items()}
        return {name: count for name, count in counts.items() if count}

    def getTable(self) -> list[dict[str, Any]]:
        """What supervisord holds of each process: name, group word, command, priority, stopwaitsecs, settings."""
        self._update("getTable")
        return [
            {
                "name": process.config.name,
                "group": _variable(process, GROUP) or process.config.name,
                "command": process.config.command,
                "priority": process.config.priority,
                "stopwaitsecs": process.config.stopwaitsecs,
                "settings": _variable(process, SETTINGS),
            }
            for _, process in self._getAllProcesses()
        ]

    def startProcess(self, name: str, wait: bool = True) -> Any:
        """Start a process, or all of a word: name, word:name or word:*. Returns True once it runs."""
        return super().startProcess(self._bare(name), wait)

    def startProcessGroup(self, name: str, wait: bool = True) -> Any:
        """Start all processes of a group or word that do not run. Returns their status structs."""
        if not (members := self._members(name)):
            return super().startProcessGroup(name, wait)
        self._update("startProcessGroup")
        return self._deferred(make_allfunc(members, isNotRunning, self.startProcess, wait=wait))

    def stopProcess(self, name: str, wait: bool = True) -> Any:
        """Stop a process, or all of a word: name, word:name or word:*. Returns True once it has stopped."""
        return super().stopProcess(self._bare(name), wait)

    def stopProcessGroup(self, name: str, wait: bool = True) -> Any:
        """Stop all processes of a group or word that run. Returns their status structs."""
        if not (members := self._members(name)):
            return super().stopProcessGroup(name, wait)
        self._update("stopProcessGroup")
        return self._deferred(make_allfunc(members, isRunning, self.stopProcess, wait=wait))

    def stopAllProcesses(self, wait: bool = True) -> Any:
        """Stop all processes, in the order in which a shutdown does. Returns their status structs."""
        self._update("stopAllProcesses")
        sessions = HostedSessions(self.supervisord)

        def end_sessions() -> Any:
            sessions.stop_all()
            return NOT_DONE_YET if sessions.get_unstopped_processes() else []

        levels = defaultdict(list)
        for group, process in self._getAllProcesses():
            levels[process.config.priority].append((group, process))
        stops = [make_allfunc(levels[one], isRunning, self.stopProcess, wait=wait) for one in sorted(levels, reverse=True)]
        before = {one for one in levels if all(process.config.name.startswith(BEFORE) for _, process in levels[one])}
        stops.insert(len(before), end_sessions)
        return self._deferred(_in_turn(stops))

    def signalProcess(self, name: str, signal: str) -> Any:
        """Send a signal to a process, or to all of a word: name, word:name or word:*."""
        return super().signalProcess(self._bare(name), signal)

    def signalProcessGroup(self, name: str, signal: str) -> Any:
        """Send a signal to all processes of a group or word. Returns their status structs."""
        if not (members := self._members(name)):
            return super().signalProcessGroup(name, signal)
        self._update("signalProcessGroup")
        return make_allfunc(members, isSignallable, self.signalProcess, signal=signal)()

    def getProcessInfo(self, name: str) -> Any:
        """Get info about a process: name or word:name."""
        return super().getProcessInfo(self._bare(name))

    def _members(self, word: str) -> list[tuple[Any, Any]]:
        """(group, process) of all that answer to a word; none where supervisord has a group of that name itself."""
        if word in self.supervisord.process_groups:
            return []
        return [(group, process) for group, process in self._getAllProcesses() if _variable(process, GROUP) == word]

    def _bare(self, name: str) -> str:
        """`feed-binance-1` for `feeds:feed-binance-1`; any other name as it is."""
        word, process_name = split_namespec(name)
        members = {process.config.name for _, process in self._members(word)}
        return process_name if process_name in members else name

    def _deferred(self, work: Callable[[], Any]) -> Callable[[], Any]:
        """As supervisord marks work that it goes on with until it is done."""
        vars(work).update(delay=0.05, rpcinterface=self)
        return work


def _in_turn(works: list[Callable[[], Any]]) -> Callable[[], Any]:
    """Works that supervisord goes on with until they are done as one, which begins each when the one before is done."""
    results: list[Any] = []

    def work() -> Any:
        while works:
            done = works[0]()
            if done is NOT_DONE_YET:
                return NOT_DONE_YET
            results.extend(done)
            del works[0]
        return results

    return work


def _variable(process: Any, name: str) -> str:
    return str((process.config.environment or {}).get(name, ""))


class GroupStatus(ControllerPluginBase):  # type: ignore[misc]  # supervisor has no types
    """`status` of supervisorctl, which knows the words too."""

    def __init__(self, controller: Controller):
        super().__init__(controller)
        self.usual = DefaultControllerPlugin(controller)
        controller.do_status = self.do_status  # before those of plugins, of which the first has a status of its own

    def do_status(self, arg: str) -> None:
        """Shows the state of the processes named, each once; of all where none is."""
        self.usual.do_status(" ".join(dict.fromkeys(name for word in arg.split() for name in self._names(word))))

    def _names(self, name: str) -> list[str]:
        """The processes that a name or word stands for; what is none of either stays as it is."""
        word, process_name = split_namespec(name)
        if process_name == word:
            return [name]
        try:
            table = self.ctl.get_supervisor().getTable()
        except (Fault, OSError):  # no supervisord, which `status` says itself, or one that has no words
            return [name]
        names = [row["name"] for row in table if row["group"] == word and process_name in (None, row["name"])]
        return names or [name]


def make_interface(supervisord: Any) -> GroupedProcesses:
    """What `supervisor.rpcinterface_factory` in supervisor.conf names. Loads what processes have in common (preloaded.py)."""
    interface = GroupedProcesses(supervisord)
    preloaded.use(supervisord)
    return interface


def make_status(controller: Controller) -> GroupStatus:
    """What `supervisor.ctl_factory` in supervisor.conf names. supervisorctl goes to that file's folder, where the socket is."""
    os.chdir(controller.options.here)
    return GroupStatus(controller)

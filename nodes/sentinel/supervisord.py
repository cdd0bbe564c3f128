"""supervisord's XML-RPC over its unix socket, however deep the folder.

Every request also wakes supervisord's loop, which otherwise looks after its children once a second only: asking is
what makes it reap, and then start, a dead child at once.
"""

import errno
import os
import socket
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from supervisor.process import ProcessStates
from supervisor.xmlrpc import Faults, SupervisorTransport

from tickmesh.nodes.supervision.presence import Presence, find

__all__ = ["Away", "ProcessInfo", "ProcessRow", "ProcessStates", "ShuttingDown", "Silent", "Supervisord"]

REQUEST_S_MAX = 5.0  # it answers in milliseconds; one that hangs must not hang its clients


class Away(ConnectionError):
    """No supervisord answers at this folder's socket: there is none, unless this is a Silent."""


class Silent(Away):
    """supervisord is there and does not answer. Nothing of its mesh may be taken for gone."""

    def __init__(self, presence: Presence):
        self.presence = presence
        who = f"supervisord (pid {presence.pid})" if presence.pid else "supervisord"
        super().__init__(f"{who} is there and does not answer: {presence.doing}")


class ShuttingDown(Exception):
    """supervisord is on its way out and answers nothing else."""


# What it holds of one process: name, group, command, priority, stopwaitsecs, settings (nodes/supervision/groups.py).
ProcessRow = dict[str, Any]

# What supervisord answers of one process: name, state, statename, pid (0 when there is none), exitstatus, start, stop, now
# (whole seconds of the wall clock).
ProcessInfo = dict[str, Any]


class _Connection(HTTPConnection):
    def __init__(self, run_dir: Path, timeout_s: float = REQUEST_S_MAX):
        super().__init__("localhost", timeout=timeout_s)
        self.run_dir = run_dir

    def connect(self) -> None:
        # A socket path is limited to 107 bytes; through a descriptor of its folder it is always short.
        folder = os.open(self.run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{folder}/supervisor.sock")
        finally:
            os.close(folder)


class Supervisord:
    """Blocking client, for one thread at a time. Raises Away when there is none, Silent when it does not answer within
    `timeout_s`, ShuttingDown when it is ending."""

    def __init__(self, run_dir: Path, timeout_s: float = REQUEST_S_MAX):
        transport = SupervisorTransport(None, None, "unix://")
        transport._get_connection = lambda: _Connection(run_dir, timeout_s)
        self._run_dir = run_dir
        self._transport = transport
        self._proxy: Any = ServerProxy("http://localhost", transport)

    def close(self) -> None:
        self._transport.close()

    def _call(self, method: str, *arguments: str | bool) -> Any:
        try:
            return getattr(self._proxy.supervisor, method)(*arguments)
        except Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:
                raise ShuttingDown("supervisord is shutting down") from None
            raise
        except (OSError, HTTPException, ProtocolError) as error:
            self._transport.close()
            if (presence := find(self._run_dir)) is not None:
                raise Silent(presence) from None
            raise Away(f"supervisord does not answer: {error}") from None

    def processes(self) -> list[ProcessInfo]:
        """One row a process of the table."""
        rows: list[ProcessInfo] = self._call("getAllProcessInfo")
        return rows

    def pid(self) -> int:
        return int(self._call("getPID"))

    def start(self, name: str) -> bool:
        """Whether it was started; False when it runs already, supervisord has not reaped it yet, or knows it no more."""
        try:
            return bool(self._call("startProcess", name, False))
        except Fault as fault:
            if fault.faultCode in (Faults.ALREADY_STARTED, Faults.SPAWN_ERROR, Faults.BAD_NAME):
                return False
            raise

    def kill(self, name: str) -> bool:
        """SIGKILL, which ends a hung process too; its own rules bring it back. False when it does not run."""
        try:
            return bool(self._call("signalProcess", name, "KILL"))
        except Fault as fault:
            if fault.faultCode in (Faults.NOT_RUNNING, Faults.BAD_NAME, Faults.FAILED):
                return False
            raise

    def stop(self, name: str) -> bool:
        """As an operator stops it: it stays down. False when it does not run."""
        try:
            return bool(self._call("stopProcess", name, False))
        except Fault as fault:
            if fault.faultCode in (Faults.NOT_RUNNING, Faults.BAD_NAME):
                return False
            raise

    def table(self) -> list[ProcessRow] | None:
        """One row a process as it was started, whatever the files say now; None where the table has no words for groups."""
        try:
            rows: list[ProcessRow] = self._call("getTable")
        except Fault as fault:
            if fault.faultCode == Faults.UNKNOWN_METHOD:
                return None
            raise
        return rows

    def restarts(self) -> dict[str, int]:
        """How often it has started each process again within the last minute; {} where its table does not count that."""
        try:
            counts: dict[str, int] = self._call("getRestarts")
        except Fault as fault:
            if fault.faultCode == Faults.UNKNOWN_METHOD:
                return {}
            raise
        return counts

    def reread(self) -> list[str]:
        """Reads supervisor.conf again; gives the processes that are otherwise in it than they run.

        Raises ValueError for a file that cannot be read.
        """
        try:
            [[_, changed, _]] = self._call("reloadConfig")
        except Fault as fault:
            if fault.faultCode == Faults.CANT_REREAD:
                raise ValueError(fault.faultString) from None
            raise
        return list(changed)

    def add(self, name: str) -> bool:
        """Takes up a process of the table that was read last, which starts it. False when it is there already."""
        try:
            return bool(self._call("addProcessGroup", name))
        except Fault as fault:
            if fault.faultCode == Faults.ALREADY_ADDED:
                return False
            raise

    def remove(self, name: str) -> bool:
        """Forgets a process that has stopped. False when it is not there, or has been started again."""
        try:
            return bool(self._call("removeProcessGroup", name))
        except Fault as fault:
            if fault.faultCode in (Faults.BAD_NAME, Faults.STILL_RUNNING):
                return False
            raise

    def shutdown(self) -> None:
        self._call("shutdown")


def is_free(run_dir: Path) -> bool:
    """Whether nobody listens at the socket (it may be left over from a supervisord that was killed)."""
    client = _Connection(run_dir)
    try:
        client.connect()
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.ECONNREFUSED)
    finally:
        client.close()
    return False

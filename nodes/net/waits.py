"""Servers that have asked this machine to wait: obeyed by every process, over REST and websocket alike, and over restarts.

A venue counts by address, not by process: what one was told, all who ask from the same address are told. A ban is of the
address, whichever of a venue's servers says it: all of them are left alone then. A wait is a file, of loopback in the mesh's
run folder, of any other server in one that all meshes of this user share. It ends by the steady clock, whatever the wall clock
does, and with the machine's next start.
"""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from tickmesh.bus.addresses import is_loopback
from tickmesh.bus.clock import machine_wall_ns
from tickmesh.bus.config import Config
from tickmesh.bus.files import boot_id
from tickmesh.bus.operator_log import log_line
from tickmesh.nodes.net.refusals import WAIT_S_MAX

LONG_S = 30.0  # a wait as long as this is an alert; a shorter one is a line for the operator
WAITS_MAX = 256  # files in a folder: servers and addresses of ours that are told to wait at the same time
WRITING_S = 10.0  # a younger file is left alone: it may be half written, or replaced a moment ago
LOOK_S = 1.0  # between two looks whether a wait is over: it may have been taken back
SERVERS = {"ws": "websocket", "wss": "websocket", "http": "REST", "https": "REST"}
RaiseAlert = Callable[[str, str, str, str, str], None]  # level, what, target, why, action


class Wait(msgspec.Struct, frozen=True):
    """A server's wish, or a venue's. `until_s`: by the steady clock of the boot `boot`; `until_ns`: by the wall clock."""

    server: str  # host and port (the local exchange's: and the venue behind them), and over what; of a ban the venue
    address: str  # of ours from which it was asked; "": any
    why: str
    by: str  # the process that was told
    asked_s: float
    until_s: float
    until_ns: int
    boot: str

    @property
    def left_s(self) -> float:
        """How long it lasts still; 0 where it is over."""
        return max(self.until_s - _steady_s(), 0.0) if self.boot == boot_id() else 0.0


class Waits:
    """What this process knows, and says, of who is to be left alone. `name`: of the process, "" for one that logs nothing.

    `raise_alert`: called for a wait of LONG_S and more. `venue`: whose servers are asked; without one a ban is of one server.
    Without a config it is kept in memory only.
    """

    def __init__(self, config: Config | None = None, name: str = "", raise_alert: RaiseAlert | None = None, venue: str = ""):
        self._config = config
        self._name = name
        self.raise_alert = raise_alert
        self._base = venue  # a server that speaks for several venues has a path for each, and they count apart
        self._venue = f"{venue} (all servers)" if venue else ""
        self._known: dict[Path, tuple[int, Wait | None]] = {}  # file → its mtime when it was read, and what it said
        self._memory: dict[str, Wait] = {}
        self.waiting = 0  # how many of this process are in `until_free`, and may not ask yet

    def current(self, url: str, local_addr: str = "") -> Wait | None:
        """The wish of a server or its venue, asked from `local_addr`, that is to be obeyed now; None where there is none."""
        whole = self._of(self._venue, url, local_addr) if self._venue else None
        own = self._of(self._server(url), url, local_addr)
        return max((wait for wait in (whole, own) if wait is not None), key=lambda wait: wait.left_s, default=None)

    def _of(self, server: str, url: str, local_addr: str) -> Wait | None:
        key = f"{server} {local_addr}"
        wait = self._memory.get(key) if self._config is None else self._read(_folder(self._config, url) / _file(key))
        return wait if wait is not None and wait.server == server and wait.left_s > 0 else None

    def _server(self, url: str) -> str:
        parts = urlsplit(url)
        base = f"/{self._base}" if self._base and parts.path.split("/")[1:2] == [self._base] else ""
        return f"{parts.netloc}{base} ({SERVERS.get(parts.scheme, parts.scheme)})"

    def left_s(self, url: str, local_addr: str = "") -> float:
        """For how long a server is still to be left alone; 0 where it may be asked."""
        wait = self.current(url, local_addr)
        return wait.left_s if wait is not None else 0.0

    async def until_free(self, url: str, local_addr: str = "") -> None:
        """Returns when the server may be asked."""
        self.waiting += 1
        try:
            while (left_s := self.left_s(url, local_addr)) > 0:
                await asyncio.sleep(min(left_s, LOOK_S))
        finally:
            self.waiting -= 1

    def take(self, url: str, local_addr: str, wait_s: float, why: str, banned: bool = False) -> None:
        """Takes a server's wish to be left alone for `wait_s`, for all processes; says so. A longer one that stands goes on.

        `banned`: it has banned the address, so no other server of its venue is asked either.
        """
        server = self._venue if banned and self._venue else self._server(url)
        known = self._of(server, url, local_addr) if banned else self.current(url, local_addr)
        if known is not None and wait_s <= known.left_s:
            return
        until_ns = machine_wall_ns() + int(wait_s * 1e9)
        wait = Wait(server, local_addr, why, self._name, wait_s, _steady_s() + wait_s, until_ns, boot_id())
        key, file = f"{server} {local_addr}", ""
        if self._config is None:
            self._memory[key] = wait
        else:
            path = _folder(self._config, url) / _file(key)
            _write(path, msgspec.json.encode(wait))
            file = f"; who knows better removes {path}"
        from_here = f" from {local_addr}" if local_addr else ""
        sentence = f"it is not asked{from_here} for {wait_s:g} s, until {clock_words(until_ns)}: {why}"
        if wait_s >= LONG_S and self.raise_alert is not None:
            action = f"every process of this machine leaves it alone until then{file}"
            self.raise_alert("warning", "told_to_wait", server, sentence, action)
        elif self._name:
            log_line(self._name, "warning", f"{server}: {sentence}")

    def _read(self, path: Path) -> Wait | None:
        try:
            stamp = path.stat().st_mtime_ns
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                known = self._known[path] = (stamp, msgspec.json.decode(path.read_bytes(), type=Wait))
            return known[1]
        except (OSError, msgspec.DecodeError, msgspec.ValidationError):
            return None


def all_waits(config: Config) -> list[Wait]:
    """Everything that is to be obeyed now by this mesh's processes, the longest first."""
    found = []
    for folder in dict.fromkeys((config.run_dir / "waits", _shared(config))):
        for path in folder.glob("*.json") if folder.is_dir() else ():
            with contextlib.suppress(OSError, msgspec.DecodeError, msgspec.ValidationError):
                found.append(msgspec.json.decode(path.read_bytes(), type=Wait))
    return sorted((wait for wait in found if wait.left_s > 0), key=lambda wait: -wait.left_s)


def as_json(wait: Wait) -> dict[str, str | float]:
    """A wait as `mesh status --json` has it; `sentence` is what it shows to a person."""
    by, left_s, until = f", told to {wait.by}" if wait.by else "", round(wait.left_s, 1), clock_words(wait.until_ns)
    sentence = f"{wait.server} is left alone for {left_s:.0f} s more, until {until}{by}: {wait.why}"
    return {
        "server": wait.server, "address": wait.address, "left_s": left_s, "until": until, "by": wait.by, "why": wait.why,
        "sentence": sentence,
    }  # fmt: skip


def _file(key: str) -> str:
    return quote(key, safe="") + ".json"


def _folder(config: Config, url: str) -> Path:
    host = urlsplit(url).hostname or ""
    return config.run_dir / "waits" if is_loopback(host) else _shared(config)


def _shared(config: Config) -> Path:
    """The folder that all meshes of this user share; the run folder where there is none that is ours alone."""
    folder = config.outbox_dir.parent / f"tickmesh-waits-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        if folder.is_dir() and not folder.is_symlink() and state.st_uid == os.getuid() and not state.st_mode & 0o022:
            return folder
    return config.run_dir / "waits"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all. Where it cannot be written the others have to be told by the server themselves."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # another process removes them at the same time
            _forget_old(path.parent)
        file, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(file, "wb") as out:
            out.write(data)
        os.replace(temporary, path)


def _forget_old(folder: Path) -> None:
    """Removes waits that are over, and the oldest beyond WAITS_MAX: their servers say it again."""
    newest_first = sorted(((file.stat().st_mtime, file) for file in folder.iterdir()), reverse=True)
    for place, (written_s, file) in enumerate(newest_first, 1):
        age_s = machine_wall_ns() / 1e9 - written_s
        if place >= WAITS_MAX or age_s > WAIT_S_MAX or (age_s > WRITING_S and _is_over(file)):
            file.unlink(missing_ok=True)


def _is_over(file: Path) -> bool:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Wait).left_s <= 0
    except (msgspec.DecodeError, msgspec.ValidationError):
        return True  # of a process that died while it wrote it


def clock_words(ns: int) -> str:
    """A wall time in nanoseconds as sentences about waits have it."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _steady_s() -> float:
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

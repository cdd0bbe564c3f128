"""`mesh logs`: what all processes have written for their operator, by time, and then as it comes."""

import heapq
import re
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import chain, islice
from pathlib import Path

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.nodes.process_table import NODES, name_of, nodes_of
from tickmesh.tools import terminal
from tickmesh.tools.arguments import moment
from tickmesh.tools.operator_logs.entries import Entry
from tickmesh.tools.operator_logs.files import SUPERVISORD, WholeLog, logs_of
from tickmesh.tools.operator_logs.following import FollowedLog
from tickmesh.tools.running import running_processes
from tickmesh.tools.table import process_names

POLL_S = 0.2
LINES = 100  # are shown where nobody says how many
LOOK_S = 1.0  # for logs of processes that are new
COLOURS = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta", "bright_blue")
GRAVE = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}


@dataclass(frozen=True)
class Choice:
    """Which entries are wanted: of these processes (none: of all), at least so grave, with this in their text."""

    names: frozenset[str]
    level: str
    pattern: re.Pattern[str] | None

    def __call__(self, entry: Entry) -> bool:
        """Whether an entry is wanted."""
        if self.names and not self.names & {entry.node, entry.file}:
            return False
        return entry.is_at_least(self.level) and (self.pattern is None or bool(self.pattern.search(entry.message)))


def choice(config: Config, nodes: Sequence[str], level: str, grep: str) -> Choice:
    """What is wanted. A node is a process's name, what all of a kind begin with (feed), or a pattern. Raises UsageFailure."""
    known = dict.fromkeys(
        [*(name_of(*one) for one in nodes_of(config)), *process_names(config), *logs_of(config.run_dir), SUPERVISORD]
    )
    names: set[str] = set()
    for node in nodes:
        found = {one for one in known if fnmatchcase(one, node) or (node.rstrip("s") in NODES and _is_of(one, node))}
        if not found:
            raise terminal.UsageFailure(f"there is no process {node!r} here; there are: {', '.join(known)}")
        names |= found
    try:
        pattern = re.compile(grep) if grep else None
    except re.error as error:
        raise terminal.UsageFailure(f"--grep {grep!r} is no regular expression: {error}; a plain word is one") from None
    return Choice(frozenset(names), level, pattern)


def _is_of(name: str, kind: str) -> bool:
    """Whether a process is of this kind: `feed` or `feeds`."""
    return name.partition("-")[0] == kind.rstrip("s")


@contextmanager
def opened(config: Config) -> Iterator[list[WholeLog]]:
    """Opens what was written until now of all processes. Raises Failure where there is nothing."""
    found = logs_of(config.run_dir)
    if not found:
        raise terminal.Failure(f"there are no logs in {config.run_dir / 'logs'} yet: `mesh up` starts what writes them")
    with ExitStack() as stack:
        yield [stack.enter_context(WholeLog(name, path)) for name, path in found.items()]


def written(whole: Sequence[WholeLog], wanted: Choice, since: str, lines: int | None) -> Iterator[Entry]:
    """Gives entries in order of time: all since a time, or the last ones of them. `lines`: None is all since, else 100."""
    if since:
        since_ns = moment("--since", since)
        every = filter(wanted, heapq.merge(*(log.since(since_ns) for log in whole), key=_when))
        return every if lines is None else iter(deque(every, lines))
    newest = (filter(wanted, (entry for entry, _ in log.newest_first())) for log in whole)
    last = islice(heapq.merge(*newest, key=_when, reverse=True), LINES if lines is None else lines)
    return reversed(list(last))


def _when(entry: Entry) -> int:
    return entry.time_ns


class LogsFollowed:
    """All logs of a mesh behind what was written; those of processes that are new are taken up from their beginning."""

    def __init__(self, run_dir: Path, whole: Sequence[WholeLog]):
        self._run_dir = run_dir
        self._logs = {log.name: FollowedLog(log.name, log.path, log) for log in whole}
        self._looked = time.monotonic()

    def read(self) -> list[Entry]:
        """Gives what has come since the last call, in order of time."""
        if time.monotonic() - self._looked > LOOK_S:
            self._looked = time.monotonic()
            for name, path in logs_of(self._run_dir).items():
                if name not in self._logs:
                    self._logs[name] = FollowedLog(name, path)
        entries = list(chain.from_iterable(log.read() for log in self._logs.values()))
        for name, log in self._logs.items():
            if log.lost:
                log.lost = 0
                entries.append(Entry(now_ns(), "warning", name, name, "(lines before these were rotated away unread)"))
        return sorted(entries, key=_when)

    def close(self) -> None:
        """Closes their files."""
        for log in self._logs.values():
            log.close()


def follow(config: Config, whole: Sequence[WholeLog], wanted: Choice) -> Iterator[Entry]:
    """Gives what comes behind what was written, as it comes; it never ends."""
    followed = LogsFollowed(config.run_dir, whole)
    try:
        if running_processes(config.root) is None:
            terminal.err.print("mesh logs: the mesh is not running; waiting for what it writes once it is up …", markup=False)
        while True:
            yield from filter(wanted, followed.read())
            time.sleep(POLL_S)
    finally:
        followed.close()


def as_json(entry: Entry) -> terminal.JsonObject:
    """An entry as `--json` prints it."""
    when = _time(entry.time_ns, False) if entry.time_ns else None
    line = {"time": when, "level": entry.level, "node": entry.node, "file": entry.file, "message": entry.message}
    return {**entry.fields, **line}


def show_entry(entry: Entry, local: bool = False) -> None:
    """Prints an entry on a line, and a traceback below it."""
    place = sum(entry.node.encode())
    when = _time(entry.time_ns, local) if entry.time_ns else " " * 24
    terminal.print_parts(
        (when, "dim"), (f"{entry.level:<8}", GRAVE.get(entry.level, "")), (f"{entry.node:<16}", COLOURS[place % len(COLOURS)]),
        (entry.message, GRAVE.get(entry.level, "") if entry.level != "debug" else "dim"),
    )  # fmt: skip


def _time(ns: int, local: bool) -> str:
    at = datetime.fromtimestamp(ns // 10**9, UTC).replace(microsecond=ns // 1000 % 10**6)
    if local:
        return at.astimezone().isoformat(timespec="milliseconds")
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""A line of run/logs as an entry: when, of whom, how grave; whichever form it was written in (bus/operator_log.py)."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LEVELS = ("debug", "info", "warning", "error", "critical")
HUMAN = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\w+) ([^\s:]+): (.*)", re.S)
SUPERVISORD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) (\w{4}) (.*)", re.S)
WORDS = {
    "trac": "debug",
    "blat": "debug",
    "debg": "debug",
    "info": "info",
    "warn": "warning",
    "erro": "error",
    "crit": "critical",
}


@dataclass
class Entry:
    """One entry of a log, and what follows it without a time of its own (a traceback).

    `time_ns`: of the machine's wall clock; 0 of what stands before the first line that has a time. `node`: the process, or
    whom its process hosts; `file`: the name of the process whose file it is. `fields`: further ones of a JSON line.
    """

    time_ns: int
    level: str
    node: str
    file: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)

    def is_at_least(self, level: str) -> bool:
        """Whether it is as grave as `level`, or graver; a level that nobody knows is."""
        return self.level not in LEVELS or LEVELS.index(self.level) >= LEVELS.index(level)


def parse(line: str, file: str) -> Entry | None:
    """The entry that a line of the log of the process `file` begins; None of one that goes on with the entry before it."""
    if found := HUMAN.fullmatch(line):
        return Entry(_ns(found[1]), found[2], found[3], file, found[4])
    if line.startswith('{"time"'):
        try:
            tree = json.loads(line)
            moment, level, node, message = (str(tree.pop(name)) for name in ("time", "level", "node", "message"))
            return Entry(_ns(moment), level, node, file, message, tree)
        except (ValueError, KeyError, AttributeError):
            return None
    if found := SUPERVISORD.fullmatch(line):
        at = datetime.fromisoformat(found[1]).timestamp()  # supervisord writes the time of this machine's zone
        ns = int(at) * 10**9 + int(found[2]) * 10**6
        return Entry(ns, WORDS.get(found[3].lower(), "info"), file, file, found[4])
    return None


def entries_of(lines: Iterable[str], file: str, before: Entry | None = None) -> Iterator[Entry]:
    """Joins lines of one process to entries. `before`: the entry that the first of them may go on with.

    Lines that go on with `before`, which has been given already, become an entry with its time, level and node.
    """
    entry: Entry | None = None
    last = before or Entry(0, "info", file, file, "")
    for line in lines:
        if (begun := parse(line, file)) is not None:
            if entry is not None:
                yield entry
            entry = last = begun
        elif entry is not None:
            entry.message += f"\n{line}"
        else:
            entry = Entry(last.time_ns, last.level, last.node, file, line)
    if entry is not None:
        yield entry


def _ns(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.astimezone(UTC).replace(microsecond=0).timestamp()) * 10**9 + moment.microsecond * 1000

"""What a changed mesh.toml asks for: which processes start, stop and begin anew, why, and in which order. Pure.

Those of one stage are changed together, and a stage begins when the one before it is ready. Of a venue's lines one is restarted
after the other, so that another one hears the venue meanwhile; what others need comes before them; whom the sequencer is to
host stops before it, and all else that is gone stops last.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from tickmesh.nodes.process_table import FIXED, ProcessEntry
from tickmesh.nodes.sentinel.supervisord import ProcessRow
from tickmesh.tools.table import command_of

FIRST = ("exchange", "sequencer", "recorder")  # what others need: one after the other, and the rest only if they work
HOSTED, LAST = -1, 1000  # stages of what stops
NO_REASONS: Mapping[str, str] = MappingProxyType({})
_LINES = len(FIRST)
_OTHERS = _LINES + 100
_SENTINELS = _OTHERS + 1


@dataclass(frozen=True)
class Change:
    """One process, what is done with it, and why. `venue`: of a line, else ""."""

    name: str
    action: Literal["start", "stop", "restart"]
    why: str
    venue: str = ""


@dataclass(frozen=True)
class ReloadPlan:
    """`stages` in order; `asleep`: changed, but stopped by an operator, and left so."""

    stages: list[list[Change]]
    asleep: list[Change]

    @property
    def changes(self) -> list[Change]:
        return [change for stage in self.stages for change in stage]


def fixed_changes(rows: Iterable[ProcessRow], wanted: Iterable[ProcessEntry]) -> list[str]:
    """The settings that differ and cannot change while the mesh is up, since all of its processes must agree on them."""
    entries = {entry.name: entry for entry in wanted}
    found = set()
    for row in rows:
        if (entry := entries.get(row["name"])) and row["settings"]:
            found |= set(_changed_parts(row, entry)) & set(FIXED)
    return [part for part in FIXED if part in found]


def plan(
    rows: Iterable[ProcessRow],
    wanted: Iterable[ProcessEntry],
    hosted: Collection[str],
    stopped: Collection[str],
    otherwise: Mapping[str, str] = NO_REASONS,
    down: Mapping[str, str] = NO_REASONS,
) -> ReloadPlan:
    """What has to be done so that the processes of `rows` become the `wanted` ones.

    `hosted`: names of whom the sequencer's process runs from now on; `stopped`: of those that an operator has stopped;
    `otherwise`: further reasons to restart one, by name; `down`: reasons to start one that does not run. A row without settings
    is a program of the operator's own, and is left alone.
    """
    active = {row["name"]: row for row in rows if row["settings"]}
    entries = {entry.name: entry for entry in wanted}
    stages: defaultdict[int, list[Change]] = defaultdict(list)
    asleep = []
    gone = [row for name, row in active.items() if name not in entries]
    for row in sorted(gone, key=lambda row: -row["priority"]):
        name: str = row["name"]
        why = "hosted by the sequencer" if name in hosted else "gone from mesh.toml"
        venue = _venue(name) if row["group"] == "feeds" else ""
        stages[HOSTED if name in hosted else LAST].append(Change(name, "stop", why, venue))
    for name, entry in entries.items():
        venue = _venue(name) if entry.node == "feed" else ""
        if name not in active:
            stages[_stage(entry, starts=True)].append(Change(name, "start", "mesh.toml wants it", venue))
        elif why := _why(active[name], entry) or otherwise.get(name, ""):
            change = Change(name, "restart", why, venue)
            asleep.append(change) if name in stopped else stages[_stage(entry, starts=False)].append(change)
        elif name in down:
            stages[_stage(entry, starts=True)].append(Change(name, "start", down[name], venue))
    return ReloadPlan([stages[number] for number in sorted(stages)], asleep)


def _venue(line: str) -> str:
    return line.partition("-")[2].rpartition("-")[0]


def _stage(entry: ProcessEntry, starts: bool) -> int:
    if entry.node in FIRST:
        return FIRST.index(entry.node)
    if entry.node == "feed":
        return _LINES if starts else _LINES + int(entry.instance.rpartition("-")[2])
    return _SENTINELS + int(entry.instance) if entry.node == "sentinel" else _OTHERS


def _why(row: ProcessRow, entry: ProcessEntry) -> str:
    if parts := _changed_parts(row, entry):
        return f"{', '.join(f'[{part}]' for part in parts)} changed"
    same = (row["command"], row["priority"], row["stopwaitsecs"]) == (command_of(entry), entry.priority, entry.stopwaitsecs)
    return "" if same else "its entry in the table changed"


def _changed_parts(row: ProcessRow, entry: ProcessEntry) -> list[str]:
    before: Mapping[str, str] = dict(word.split("=", 1) for word in str(row["settings"]).split())
    parts = sorted(before.keys() | entry.settings.keys())
    return [part for part in parts if before.get(part) != entry.settings.get(part)]

"""Whether a mesh is well: `healthy`, `degraded` or `down`, and every reason, each with what to do.

A reason is found by one function of FINDERS, which is given what `mesh status` has seen and gives sentences. To make it notice
one thing more, write one more such function.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tickmesh.bus.config import Config, ConfigError
from tickmesh.nodes.alerts.episodes import CRASH_LOOP, GAVE_UP, TOLD_TO_WAIT, Episode
from tickmesh.nodes.feed.line_names import line_of
from tickmesh.nodes.feed.standing import UNKNOWN
from tickmesh.nodes.sentinel.silence import WHAT as SUPERVISORD_SILENT
from tickmesh.nodes.supervision.presence import Presence
from tickmesh.tools.log_window import LogWindow
from tickmesh.tools.terminal import JsonObject

UNREACHABLE = "unreachable"  # a line's alert of its venue
HEALTHY, DEGRADED, DOWN = "healthy", "degraded", "down"
EXIT_CODES = {HEALTHY: 0, DEGRADED: 1, DOWN: 2}
LOOP_RESTARTS = 3  # within a minute, and a process dies again and again
START_S = 15.0  # a process that is younger need not have a heartbeat in the log yet
ALIVE, DEAD, HOSTED = "ALIVE", "DEAD", "HOSTED"  # states that supervisord does not know: the first two while it does not answer
LIVES = ("RUNNING", "STARTING", ALIVE, HOSTED)


class Finding(NamedTuple):
    """Why a mesh is not well: `about` a process, an instrument or a place, `why` and what to `do`, each a sentence's part."""

    about: str
    why: str
    do: str

    def __str__(self) -> str:
        return f"{self.about}: {self.why}; {self.do}" if self.do else f"{self.about}: {self.why}"


@dataclass(kw_only=True)
class Seen:
    """What `mesh status` has seen, in one moment; every part by its name.

    `silent`: a supervisord that does not answer, None of one that does; `nodes`: an object each, as `--json` has it;
    `wanted`: names that mesh.toml wants; `instruments`, `disk`, `blocked`,
    `waits` (`told_to_wait`): as `--json` has them; `episodes`: what alerts told of; `wrong_settings`: why mesh.toml cannot be,
    "" where it can: `config` is what the mesh was started with then.
    """

    config: Config
    now_ns: int
    window: LogWindow
    silent: Presence | None = None
    nodes: list[JsonObject] = field(default_factory=list)
    wanted: Sequence[str] = ()
    instruments: list[JsonObject] = field(default_factory=list)
    disk: JsonObject = field(default_factory=dict)
    episodes: list[Episode] = field(default_factory=list)
    blocked: list[JsonObject] = field(default_factory=list)
    waits: list[JsonObject] = field(default_factory=list)
    wrong_settings: str = ""

    def beat(self, name: str) -> JsonObject:
        """The newest `health` of a process within the log's last seconds; {} where it has none."""
        event = self.window.health.get(name)
        return event.map() if event is not None else {}


def venue_of_line(config: Config, process: str) -> str:
    """The venue of a process that is a line; "" of any other, also in a table that somebody has written."""
    word, _, instance = process.partition("-")
    with contextlib.suppress(ConfigError):
        return line_of(config, instance)[0] if word == "feed" else ""
    return ""


def no_line(venue: str) -> str:
    """Why an instrument is silent none of whose venue's lines lives."""
    return f"no line of {venue} runs: `mesh up` starts its feeds, `mesh status` has them"


def not_begun(venue: str) -> str:
    """Why an instrument is silent whose venue's lines live, and have not begun yet."""
    return f"no line of {venue} has begun yet: each does when the venue has answered"


def is_trouble(instrument: JsonObject) -> bool:
    """Whether that an instrument is silent is a trouble: not where it is the venue that does not trade it."""
    return instrument["standing"] in ("", UNKNOWN)


def unreached(episodes: Iterable[Episode], now_ns: int) -> dict[str, Episode]:
    """Venues that are not reached now, each with what was told of it."""
    return {one.target: one for one in episodes if one.what == UNREACHABLE and one.goes_on(now_ns)}


def venues(seen: Seen) -> Iterator[Finding]:
    """Venues that are not reached; those of one cause (no network) in one sentence. What follows from it is not said again."""
    causes: defaultdict[str, list[str]] = defaultdict(list)
    gone = unreached(seen.episodes, seen.now_ns)
    for venue, one in gone.items():
        causes[one.content["why"].split(": ", 2)[-1]].append(venue)  # without the seconds and the servers
    for cause, names in causes.items():
        why = cause if len(names) > 1 else gone[names[0]].content["why"]
        action = str(gone[names[0]].content.get("action", ""))
        yield Finding(", ".join(sorted(names)), f"{UNREACHABLE}: {why}", action)


def gave_up(seen: Seen) -> set[str]:
    """Processes, and guests of the sequencer, that have said why they stay stopped: `alerts` has that, and what to do."""
    return {one.target for one in seen.episodes if one.what in GAVE_UP and one.goes_on(seen.now_ns)}


def supervision(seen: Seen) -> Iterator[Finding]:
    """supervisord is there and does not answer."""
    if seen.silent is not None:
        who = f"supervisord (pid {seen.silent.pid})" if seen.silent.pid else "supervisord"
        yield Finding(who, f"it does not answer: {seen.silent.doing}", "`mesh down --force` ends it and all of its processes")


def settings(seen: Seen) -> Iterator[Finding]:
    """mesh.toml is wrong: what runs goes on with the settings before, and nothing can start."""
    if seen.wrong_settings:
        goes_on = "what runs goes on as it was started, and is shown here; a process that starts now ends with this error"
        do = f"mend it: {goes_on}. `mesh reload` applies what changed, `mesh up` starts what ended too"
        yield Finding("settings", seen.wrong_settings, do)


def processes(seen: Seen) -> Iterator[Finding]:
    """What mesh.toml wants and does not run, and what dies again and again."""
    there = {node["name"]: node for node in seen.nodes}
    explained = gave_up(seen)
    for name in seen.wanted:
        if name not in there:
            yield Finding(name, "mesh.toml wants it, and supervisord does not have it", "`mesh up` starts it")
    for name, node in there.items():
        if node["restarts_last_minute"] >= LOOP_RESTARTS:
            times = f"it has died {node['restarts_last_minute']} times within the last minute"
            yield Finding(name, f"{times}, last said: {node['said']}", f"see run/logs/{name}.log")
        elif node["state"] not in LIVES and not node["idle"] and name not in explained:
            do = "" if seen.silent else f"`mesh up`, or `supervisorctl start {name}`, starts it"
            yield Finding(name, f"it does not run ({node['state']})", do)


def heartbeats(seen: Seen) -> Iterator[Finding]:
    """The log stands still, or a process that runs has had nothing to say for too long."""
    if seen.window.is_still(seen.now_ns):
        age_s = seen.window.age_s(seen.now_ns)
        what = f"nothing has come into it for {age_s:.0f} s" if age_s is not None else "there is nothing in it yet"
        yield Finding("log", f"{what}, not even a clock event", "see run/logs/sequencer.log")
        return
    allowed_s = seen.config.sentinel.heartbeat_s
    gone, explained = unreached(seen.episodes, seen.now_ns), gave_up(seen)
    for node in seen.nodes:
        runs = node["state"] in LIVES and (node["uptime_s"] is None or node["uptime_s"] > START_S)
        beat_s = node["heartbeat_age_s"]
        if beat_s is None and venue_of_line(seen.config, node["name"]) in gone:
            continue  # it has not begun, for want of its venue
        if node["name"] in explained:
            continue
        if runs and (beat_s is None or beat_s > allowed_s) and node["restarts_last_minute"] < LOOP_RESTARTS:
            since = f"for {beat_s:.0f} s" if beat_s is not None else "within the log's last seconds"
            log = "sequencer" if node["state"] == HOSTED else node["name"]
            yield Finding(node["name"], f"it has published no heartbeat {since}", f"see run/logs/{log}.log")


def instruments(seen: Seen) -> Iterator[Finding]:
    """Configured instruments of which something does not come, unless it is the venue that does not trade them."""
    gone = unreached(seen.episodes, seen.now_ns)
    for one in seen.instruments:
        venue = one["instrument"].partition(".")[0]
        if is_trouble(one) and not (venue in gone and one["why"] == not_begun(venue)):
            of_venue = one["why"] in (no_line(venue), not_begun(venue))  # the same of all of its instruments: said once
            yield Finding(venue if of_venue else one["instrument"], one["why"], "")


def disk(seen: Seen) -> Iterator[Finding]:
    """The data folder's disk is short of room."""
    if seen.disk.get("short"):
        yield Finding("disk", seen.disk["short"], "make room; docs/operations.md, Disk")


def writers(seen: Seen) -> Iterator[Finding]:
    """Who cannot write: a full disk takes no alert of that."""
    for one in seen.blocked:
        yield Finding(one["node"], f"it cannot write, for {one['since_s']:.0f} s: {one['why']}", "docs/operations.md, Disk")


def waits(seen: Seen) -> Iterator[Finding]:
    """A server that has asked to be left alone: what it has is not heard meanwhile; and a venue that no line hears."""
    until: defaultdict[str, list[str]] = defaultdict(list)
    for node in seen.nodes:
        if node["state"] in LIVES and (venue := venue_of_line(seen.config, node["name"])):
            until[venue].append(str(seen.beat(node["name"]).get("no_data_until", "")))
    for venue, ends in until.items():
        if all(ends):
            why = f"no market data of {venue} comes: told to wait until {min(ends)}"
            yield Finding(venue, why, "it goes on by itself")
    for one in seen.waits:
        yield Finding(one["server"], one["sentence"], "it goes on by itself")


def trading(seen: Seen) -> Iterator[Finding]:
    """The kill switch is on, or a strategy was stopped by its limit."""
    counted = seen.beat("executor")
    switch = counted.get("kill_switch", {})
    if switch.get("on"):
        why = f"nothing is traded: {switch['why'] or 'no reason was given'} (by {switch['by']})"
        yield Finding("kill switch", why, "`mesh kill-switch off` lifts it")
    for name, one in counted.get("strategies", {}).items():
        if one["state"] == "off" and " allows " in one["why"]:
            yield Finding(f"strategy {name}", f"it is off: {one['why']}", f"`mesh strategy {name} on` switches it on")


def alerts(seen: Seen) -> Iterator[Finding]:
    """Troubles that were told of and go on, but of processes, venues, disks and waits, which the others look at themselves."""
    names = {node["name"] for node in seen.nodes}
    seen_itself = {"disk", CRASH_LOOP, TOLD_TO_WAIT, UNREACHABLE, SUPERVISORD_SILENT}
    if seen.beat("executor").get("kill_switch", {}).get("on"):
        seen_itself.add("latched")  # `trading` has it, with its reason
    for one in seen.episodes:
        of_process = one.target in names and "at_ns" in one.content
        if one.goes_on(seen.now_ns) and not of_process and one.what not in seen_itself:
            yield Finding(one.target, f"{one.what}: {one.content.get('why', '')}", str(one.content.get("action", "")))


FINDERS: tuple[Callable[[Seen], Iterator[Finding]], ...] = (
    supervision,
    settings,
    venues,
    processes,
    heartbeats,
    instruments,
    disk,
    writers,
    waits,
    trading,
    alerts,
)


def judge(seen: Seen) -> tuple[str, list[Finding]]:
    """(healthy, degraded or down; every reason). Down: nothing of it runs."""
    reasons = list(dict.fromkeys(reason for finder in FINDERS for reason in finder(seen)))
    if not any(node["pid"] and node["state"] != HOSTED for node in seen.nodes):
        return DOWN, reasons
    return (DEGRADED if reasons else HEALTHY), reasons

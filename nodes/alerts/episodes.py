"""Alerts as a person reads them: each trouble once, how often it was told of, and when it was over.

An alert of level info about the same `what` and `target` ends a trouble, and so does one of ENDS. A sentinel's verdict on a
process, and what a process said of itself when it gave up (GAVE_UP), is over when that process works again: with its first life
after the alert; of a crash loop with the first that has lasted, or the one that works now; of the sequencer, while the log
stands still, with one that has lasted. What only HAPPENED is over.

A process that begins anew judges anew: what its earlier lives told of is over when all that told of it work again; a trouble
that is still there is told of again. The kill switch outlives processes: what was told of it (KILL_SWITCH) is over when it is
lifted, and what breaks a rule of mesh.toml when a sentinel says so. A trouble of a process that mesh.toml has no more is over,
and a wait whose time has passed.
All else counts as going on for GOES_ON_S after it was told of last: who raises it says it again within that time.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, get_args

from tickmesh.bus.schema import Kind
from tickmesh.bus.settings_alerts import Rule
from tickmesh.bus.wire import Event
from tickmesh.nodes.sentinel.deaths import LOOP_S
from tickmesh.nodes.sentinel.silence import WHAT as SUPERVISORD_SILENT

JsonObject = dict[str, Any]

SECOND = 1_000_000_000
GOES_ON_S = 3600.0
ENDS: Mapping[str, tuple[str, ...]] = {  # `what` of an alert → of those that it ends, about the same target
    "reachable": ("unreachable",),
    "instrument_back": ("unknown_instrument", "halted_instrument"),
    "clock_slew_end": ("clock_slew",),
}
HAPPENED = frozenset({
    "clock_step", "clock_suspend", "checkpoint not used", "recent store not used", "contradiction", "ids_began_anew",
    "unconfirmed_jump", "gaps_forgotten", "prune", "stale_stream", "not_held", "impossible_transition",
})  # fmt: skip
GAVE_UP = frozenset({"stopped", "model stopped", "hosted step stopped"})  # by the process that it is about
CRASH_LOOP = "crash loop"
SEQUENCER = "sequencer"  # who writes the log
KILL_SWITCH = frozenset({("latched", "kill switch"), ("emergency cancel", "session")})  # (what, target)
TOLD_TO_WAIT = "told_to_wait"
RULES = frozenset(get_args(Rule))  # of mesh.toml: what their values are of is no process, and a sentinel's next life knows them
LEVELS = ("info", "warning", "critical")


@dataclass
class Episode:
    """One trouble: `what` is wrong with `target`. Times are seq_ns; `cleared_ns`: 0 as long as it goes on.

    `raised_ns`: by process, when each that told of it did so last; `moot`: why it is over where no event says since when.
    """

    what: str
    target: str
    first_ns: int
    newest: Event
    content: JsonObject
    times: int = 1
    cleared_ns: int = 0
    raised_ns: dict[str, int] = field(default_factory=dict)
    moot: str = ""

    def goes_on(self, now: int) -> bool:
        """Whether it is a trouble now."""
        return not self.cleared_ns and not self.moot and now - self.newest.seq_ns < GOES_ON_S * SECOND

    def as_json(self, now: int) -> JsonObject:
        """What `--json` has of it. `cleared`: when it was over (UTC), None while it goes on or `moot` says why not."""
        words = {key: self.content.get(key, "") for key in ("level", "what", "target", "why", "action")}
        return {
            "seq": self.newest.seq, "by": self.newest.subject, "age_s": round((now - self.newest.seq_ns) / SECOND, 1), **words,
            "times": self.times, "first_age_s": round((now - self.first_ns) / SECOND, 1), "goes_on": self.goes_on(now),
            "cleared": _utc(self.cleared_ns) if self.cleared_ns else None,
            "moot": self.moot,
        }  # fmt: skip


def episodes(
    reports: Iterable[Event],
    ready_ns: Mapping[str, int],
    wanted: Collection[str] | None = None,
    waiting: Collection[str] | None = None,
    still_since_ns: int = 0,
) -> list[Episode]:
    """The troubles that these alerts tell of, in the order in which each was last told of.

    `reports`: alerts, `run` events, which say when lives of processes began, and commands; `ready_ns`: since when each process
    works now, 0 of one that does not; `wanted`: the processes of mesh.toml, `waiting`: the servers that are left alone now;
    None: not known. `still_since_ns`: since when nothing has come into the log, 0 while something comes.
    """
    open_ones: dict[tuple[str, str], Episode] = {}
    over: list[Episode] = []
    begun: defaultdict[str, list[int]] = defaultdict(list)
    lives: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)

    def end(key: tuple[str, str], at_ns: int) -> None:
        if (one := open_ones.pop(key, None)) is not None:
            one.cleared_ns = at_ns
            over.append(one)

    for event in reports:
        content = event.map()
        if event.kind == Kind.run:
            begun[event.subject].append(event.sent_ns)
            lives[event.subject].append((content.get("begun_ns", 0), event.sent_ns))
            continue
        if event.kind == Kind.command:
            if content.get("command") == "kill_switch" and not content.get("on"):
                for key in KILL_SWITCH:
                    end(key, event.seq_ns)
            continue
        what, target = str(content.get("what", "")), str(content.get("target", ""))
        if content.get("level") == "info":
            for ended in (what, *ENDS.get(what, ())):
                end((ended, target), event.seq_ns)
            continue
        known = open_ones.get((what, target))
        if known is not None and (since := _of_earlier_lives_ns(known, lives)):
            end((what, target), since)
            known = None
        if known is None:
            known = open_ones[what, target] = Episode(what, target, event.seq_ns, event, content, times=0)
        known.times, known.newest, known.content = known.times + 1, event, content
        known.raised_ns[event.subject] = event.sent_ns
    for one in open_ones.values():
        if one.what in HAPPENED:
            one.cleared_ns = one.newest.seq_ns
        elif _is_verdict(one):
            one.cleared_ns = _works_again_ns(one, begun[one.target], ready_ns.get(one.target, 0))
            if one.target == SEQUENCER and still_since_ns - one.cleared_ns < LOOP_S * SECOND and still_since_ns:
                one.cleared_ns = 0  # it began anew, and the log stood still again
        else:
            one.cleared_ns = _of_earlier_lives_ns(one, lives)
        if not one.cleared_ns:
            one.moot = _moot(one, wanted, waiting)
    return sorted([*over, *open_ones.values()], key=lambda one: one.newest.seq)


def _is_verdict(one: Episode) -> bool:
    """Whether it is a sentinel's of a process, or that process's own of itself, and ends with another life of it."""
    by = one.newest.subject
    of_process = one.what not in (SUPERVISORD_SILENT, *RULES) and (one.what, one.target) not in KILL_SWITCH
    return of_process and by.startswith("sentinel-") or one.what in GAVE_UP and by == one.target


def _of_earlier_lives_ns(one: Episode, lives: Mapping[str, Sequence[tuple[int, int]]]) -> int:
    """Since when all who told of it work in later lives than told of it; 0: one does not, or it outlives processes."""
    if (one.what, one.target) in KILL_SWITCH or one.what == TOLD_TO_WAIT or one.what in RULES:
        return 0
    since = []
    for name, raised_ns in one.raised_ns.items():
        since.append(next((ready for began, ready in lives.get(name, ()) if began > raised_ns), 0))
    return max(since) if all(since) else 0


def _moot(one: Episode, wanted: Collection[str] | None, waiting: Collection[str] | None) -> str:
    if wanted is not None and _is_verdict(one) and one.target not in wanted:
        return f"mesh.toml has no {one.target} any more"
    if waiting is not None and one.what == TOLD_TO_WAIT and one.target not in waiting:
        return "the time has passed, or the wait was taken back"
    return ""


def _works_again_ns(one: Episode, begun: Sequence[int], ready_ns: int) -> int:
    """When the first life after a trouble began, of a crash loop one that outlasted it; else `ready_ns`; 0: none is there."""
    after_ns = _decided_ns(one)
    lives = begun
    if one.what == CRASH_LOOP:
        lives = [since for since, following in pairwise(begun) if following - since >= LOOP_S * SECOND]
    return next((since for since in lives if since > after_ns), ready_ns if ready_ns > after_ns else 0)


def _decided_ns(one: Episode) -> int:
    """When a sentinel decided it: the log has it later, and where the sequencer hung after what was done about it."""
    return int(one.content.get("at_ns", one.newest.sent_ns))


def sentence(alert: JsonObject) -> str:
    """Puts an episode's `as_json` into words."""
    often = f"{alert['times']} times, last " if alert["times"] > 1 else ""
    over = f"Over since {alert['cleared']}." if alert["cleared"] else "It goes on." if alert["goes_on"] else "Not said again."
    if alert["moot"]:
        over = f"Over: {alert['moot']}."
    what = f"{alert['target']}: {alert['what'].replace('_', ' ')} ({alert['level']})"
    return f"{what}. {_whole(alert['why'])} {_whole(_done(alert['action']))} Said {often}{_ago(alert['age_s'])} ago. {over}"


def _done(action: str) -> str:
    """What was done, as a sentence says it: an alert has `restart`, `none` or `none: why not` for programs."""
    if action == "restart":
        return "it was restarted"
    word, colon, reason = action.partition(":")
    return f"nothing was done{colon}{reason}" if word == "none" else action


def _whole(words: str) -> str:
    """Words as a sentence, with a capital and a full stop; a name or a path at its beginning stays as it is."""
    first = words.partition(" ")[0].rstrip(".,;:")
    words = words[:1].upper() + words[1:] if first.isalpha() and first.islower() else words
    return f"{words.rstrip('.')}." if words else ""


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _utc(ns: int) -> str:
    return datetime.fromtimestamp(ns // SECOND, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

"""Why the next market event came late after a kill: each moment between the two has one cause.

The causes are seen from outside: the venue's silences and connections in the exchange's ledger, deaths and births by the sweep
that killed and the kernel that starts. What processes say of themselves is not asked.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tickmesh.tools.chaos.stretches import Stretch, length, within, without
from tickmesh.tools.chaos.sweep_mesh import HOST, Kill
from tickmesh.tools.chaos.venue_record import VenueRecord

LATE_S = 0.5  # a next event later than this is explained
MS = 1_000_000  # nanoseconds
VENUE = "the venue "  # how the causes begin that are the venue's own
ASLEEP = "the machine sleeps"
SEQUENCER_DEAD = "sequencer: not begun again"
SEQUENCER_STARTS = "sequencer: begun, not ready"
LINES_DEAD = "every line: not begun again"
LINES_START = "a line begins, none is connected"
UNCONNECTED = "no line is connected"
UNSUBSCRIBED = "connected, nothing subscribed"
UNSEEN = "subscribed, and nothing logged"


class Late(NamedTuple):
    """One kill and its next event. `parts`: cause → seconds; they add up to `next_s`."""

    name: str
    true_ns: int  # of the kill, by the true clock
    next_s: float
    parts: dict[str, float]

    @property
    def ours_s(self) -> float:
        """How long it took, without the time in which the venue brought nothing to anybody."""
        return sum(seconds for cause, seconds in self.parts.items() if not cause.startswith(VENUE))

    @property
    def cause(self) -> str:
        """The cause of the longest part."""
        return max(self.parts, key=lambda cause: self.parts[cause])


def explained(
    kills: Sequence[Kill], next_s: Sequence[float], venue: VenueRecord, asleep: Sequence[Stretch], lines: Sequence[str]
) -> list[Late]:
    """Explains each kill's next event: `next_s` after it, both in one order. `asleep` in ns of the true clock; `lines`: the
    processes that are feeds, or host one."""
    layers = _layers(kills, venue, asleep, lines)
    out = []
    for kill, seconds in zip(kills, next_s, strict=False):  # the last kills may have had no event after them
        left: list[Stretch] = [(kill.true_ns, kill.true_ns + int(seconds * 1e9))]
        parts: dict[str, float] = {}
        for cause, stretches in layers:
            taken = length(within(left, stretches))
            if taken:
                parts[cause] = round(taken / 1e9, 4)
                left = without(left, stretches)
        if left:
            parts[UNSEEN] = round(length(left) / 1e9, 4)
        out.append(Late(kill.name, kill.true_ns, seconds, parts))
    return out


def _layers(
    kills: Sequence[Kill], venue: VenueRecord, asleep: Sequence[Stretch], lines: Sequence[str]
) -> list[tuple[str, list[Stretch]]]:
    """(cause, when it holds) in the order in which they count: a moment has the first of those that hold then."""
    horizon = [(0, 1 << 63)]
    layers = [(f"{VENUE}{what}", _ns(stretches)) for what, stretches in venue.silences.items()]
    layers.append((ASLEEP, list(asleep)))
    layers.append((SEQUENCER_DEAD, _unborn(kills, HOST)))
    layers.append((SEQUENCER_STARTS, _unready(kills, HOST)))
    unconnected = without(horizon, _ns(venue.open))
    all_dead, all_unready = unconnected, unconnected
    for line in dict.fromkeys(lines):
        all_dead = within(all_dead, _unborn(kills, line))
        all_unready = within(all_unready, _unready(kills, line))
    layers.append((LINES_DEAD, all_dead))
    layers.append((LINES_START, all_unready))
    layers.append((UNCONNECTED, unconnected))
    layers.append((UNSUBSCRIBED, without(horizon, _ns(venue.subscribed))))
    return layers


def _ns(stretches: Iterable[Stretch]) -> list[Stretch]:
    return [(begin * MS, end * MS) for begin, end in stretches]


def _unborn(kills: Sequence[Kill], name: str) -> list[Stretch]:
    return [(kill.true_ns, kill.true_ns + int(kill.born_s * 1e9)) for kill in kills if kill.name == name]


def _unready(kills: Sequence[Kill], name: str) -> list[Stretch]:
    return [(kill.true_ns, kill.true_ns + int((kill.ready_s or 0.0) * 1e9)) for kill in kills if kill.name == name]


def table(lates: Iterable[Late]) -> list[dict[str, Any]]:
    """One row for each cause of the late ones: in how many of them it is the longest part, its seconds in all, its longest."""
    late = [one for one in lates if one.next_s > LATE_S]
    causes = {cause for one in late for cause in one.parts}
    rows = [
        {
            "cause": cause,
            "kills": sum(one.cause == cause for one in late),
            "seconds": round(sum(one.parts.get(cause, 0.0) for one in late), 3),
            "longest_s": max(one.parts.get(cause, 0.0) for one in late),
        }
        for cause in causes
    ]
    return sorted(rows, key=lambda row: -float(str(row["seconds"])))


def as_json(one: Late, begun_ns: int) -> dict[str, Any]:
    """A late kill as `mesh chaos --json` has it; `at_s`: seconds since the first kill, at `begun_ns`."""
    return {
        "killed": one.name,
        "at_s": round((one.true_ns - begun_ns) / 1e9, 3),
        "next_s": round(one.next_s, 4),
        "ours_s": round(one.ours_s, 4),
        "parts": one.parts,
    }

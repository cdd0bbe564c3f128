"""What is done to the mesh, and when: a pure function of the seed. Moments are seconds since the first."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from tickmesh.tools.chaos.market import TRADED

FEEDS = ("feed-binance-1", "feed-binance-2")
USDM_FEEDS = ("feed-binance_usdm-1", "feed-binance_usdm-2")  # of sweeps with more than two instruments
VICTIMS = (*FEEDS, "sequencer", "recorder", "backfill", "sentinel-1", "sentinel-2")
AT_ONCE = (1, 1, 1, 1, 2, 2, 3)  # how many die together, drawn from these
PAUSE_S = (0.3, 1.6)  # between two strikes
FAULT_EVERY = 2  # strikes with kills, on average, for one fault
CALM_S = 2.0  # before the first strike
OUTAGE_S = 4.0  # a stall that every line's deadline notices
CLOCK_EVERY = 12  # strikes, on average, for one of the clock
REST_DEAD_S = 6.0  # longer than feeds live that are killed meanwhile
ERA_EVERY_S = 20.0  # a venue does not begin anew again before the last time is dealt with

# Each kind at least once in every sweep. Without `connection` a fault concerns both lines: what they miss together is a gap.
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "cut", "length_s": 0.1},
    {"kind": "cut", "length_s": 0.0, "probability": 0.5},
    {"kind": "shutdown", "length_s": 1.5},
    {"kind": "stall", "length_s": OUTAGE_S},
    {"kind": "skip", "length_s": 1.0, "stream": "*@trade"},
    {"kind": "skip", "length_s": 2.0, "probability": 0.2},
    {"kind": "duplicate", "length_s": 2.0, "probability": 0.5},
    {"kind": "reorder", "length_s": 2.0, "probability": 0.2},
    {"kind": "garbage", "length_s": 2.0, "probability": 0.2},
    {"kind": "truncate", "length_s": 2.0, "probability": 0.2},
    {"kind": "skip", "length_s": 1.0, "stream": "*@depth*"},
    {"kind": "delay", "length_s": 2.0, "delay_ms": 300, "probability": 0.3},
    {"kind": "answer", "length_s": 3.0, "endpoint": "GET *", "status": 429, "retry_after_s": 1, "probability": 0.7},
    {"kind": "refuse", "length_s": REST_DEAD_S, "endpoint": "GET *"},
    # Absurd ids: out of all proportion, sent to all lines or to one; and such as could be true. The frame's stream by chance.
    {"kind": "jump", "length_s": 1.0, "times": 2},
    {"kind": "jump", "length_s": 1.0, "times": 1},
    {"kind": "jump", "length_s": 1.0, "times": 2, "by": 5000},
    {"kind": "halt", "length_s": 2.0, "symbol": TRADED},
)
ANEW = {"kind": "anew", "length_s": 0.5}

# The clocks of the mesh's processes, not the venue's: the wall clock is set so far off, or the machine sleeps (all of them are
# stopped for a moment, and when they go on it is later).
CLOCKS: tuple[dict[str, float], ...] = ({"step_s": 3600.0}, {"step_s": -3600.0}, {"step_s": 0.0}, {"suspend_s": 20.0})

CODA_S = 3.0  # between the last faults
FULL_AFTER = 4  # strikes that the tmpfs of the outboxes is full, among those drawn
FULL_S = (0.5, 6.5)  # and in the coda: from when, and to when


class Strike(NamedTuple):
    """One blow to the mesh at `at_s`: these processes are killed together, or a fault is commanded, or the clock is set, or
    the tmpfs of its outboxes is full from now on ("fill"), or has room again ("empty"); or these processes hang from now
    on, or go on; or a `mesh` command is given; or an order of this client id, with a number behind
    it, unknown to the mesh, is placed on its account."""

    at_s: float
    kill: tuple[str, ...] = ()
    fault: dict[str, Any] = {}
    clock: dict[str, float] = {}
    tmpfs: str = ""
    hang: tuple[str, ...] = ()
    wake: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    foreign: str = ""


# The last faults, whatever the seed, on a mesh that has come back whole: they meet every line, and nothing that comes after
# them could make them good by chance. Those of the clock go on beside others.
_FAULTS = (
    {"kind": "cut", "length_s": 0.1},
    {"kind": "garbage", "length_s": 1.0, "probability": 0.5},
    {"kind": "shutdown", "length_s": 2.0},
    {"kind": "skip", "length_s": 1.0, "stream": "*@trade"},
    {"kind": "skip", "length_s": 1.0, "stream": "*@depth*"},
)
_AFTER_S = CODA_S * len(_FAULTS)
_FULL = (
    Strike(FULL_S[0], tmpfs="fill"),
    Strike(FULL_S[0] + 0.5, kill=FEEDS[:1]),  # its successor begins on a full tmpfs
    Strike(FULL_S[1], tmpfs="empty"),
)
CODA = (
    *sorted((*_FULL, *(Strike(CODA_S * place, fault=fault) for place, fault in enumerate(_FAULTS))), key=lambda one: one.at_s),
    Strike(_AFTER_S, fault={"kind": "refuse", "length_s": REST_DEAD_S, "endpoint": "GET *"}),
    Strike(_AFTER_S + 0.5, kill=(*FEEDS, *USDM_FEEDS)),  # what they say without a book must not die with them
    Strike(_AFTER_S + 1.0, clock={"step_s": -3600.0}),
    Strike(_AFTER_S + 3.5, kill=(*FEEDS, *USDM_FEEDS)),
    *(
        Strike(_AFTER_S + 8.0, fault={"kind": "jump", "length_s": 1.0, "times": 2, "stream": stream})
        for stream in ("*@trade", "*@bookTicker", "*@depth*")
    ),
    Strike(_AFTER_S + 8.0, clock={"step_s": 3600.0}),
    Strike(_AFTER_S + 11.0, clock={"suspend_s": 20.0}),
    Strike(_AFTER_S + 12.0, fault=ANEW),
)


def is_hosting(seed: int) -> bool:
    """Whether the sweep of this seed runs line 1, the models, executor and session in the sequencer's process: every third."""
    return seed % 3 == 0


def on_host(strikes: Sequence[Strike]) -> list[Strike]:
    """Replaces kills of line 1 by kills of the sequencer, which hosts it, each of them once in a strike."""
    hosts = dict.fromkeys((FEEDS[0], USDM_FEEDS[0]), "sequencer")
    return [one._replace(kill=tuple(dict.fromkeys(hosts.get(name, name) for name in one.kill))) for one in strikes]


def coda(victims: Sequence[str]) -> list[Strike]:
    """The closing strikes of every sweep, without kills of processes that this mesh does not have."""
    return [one._replace(kill=tuple(name for name in one.kill if name in victims)) for one in CODA]


def plan(kills: int, seed: int, victims: Sequence[str] = VICTIMS) -> list[Strike]:
    """Draws the strikes of a sweep from its seed: `kills` SIGKILLs, every fault at least once, the coda not yet.

    Both feeds of a venue are killed together at least once where there are two kills.
    """
    draw = random.Random(seed)
    groups = _groups(kills, draw, victims)
    all_faults = (*FAULTS, ANEW)
    faults = list(all_faults)
    draw.shuffle(faults)
    faults += [draw.choice(all_faults) for _ in range(len(groups) // FAULT_EVERY - len(faults))]
    clocks = list(CLOCKS)
    clocks += [draw.choice(CLOCKS) for _ in range((len(groups) + len(faults)) // CLOCK_EVERY - len(clocks))]
    acts = [Strike(0.0, kill=group) for group in groups] + [Strike(0.0, clock=clock) for clock in clocks]
    acts += [Strike(0.0, fault=fault) for fault in faults]
    draw.shuffle(acts)
    strikes, at_s, anew_s = [], CALM_S, -ERA_EVERY_S
    for act in acts:
        if act.fault.get("kind") == "anew":
            if at_s < anew_s + ERA_EVERY_S:
                act = act._replace(fault=draw.choice(FAULTS))
            else:
                anew_s = at_s
        fault = {**act.fault, "seed": draw.randrange(1 << 30)} if act.fault else {}
        strikes.append(act._replace(at_s=round(at_s, 3), fault=fault))
        at_s += draw.uniform(*PAUSE_S)
    return _with_full_tmpfs(strikes, draw)


def _with_full_tmpfs(strikes: list[Strike], draw: random.Random) -> list[Strike]:
    """Has the tmpfs full during some of the strikes, wherever they are."""
    if len(strikes) <= FULL_AFTER:
        return strikes
    begin = draw.randrange(len(strikes) - FULL_AFTER)
    end = begin + FULL_AFTER
    fill, empty = Strike(strikes[begin].at_s, tmpfs="fill"), Strike(strikes[end].at_s, tmpfs="empty")
    return [*strikes[:begin], fill, *strikes[begin:end], empty, *strikes[end:]]


def _groups(kills: int, draw: random.Random, victims: Sequence[str]) -> list[tuple[str, ...]]:
    """Who dies together. First each victim alone and both feeds of a venue, as far as `kills` reaches, then as drawn."""
    first: list[tuple[str, ...]] = [(name,) for name in victims]
    draw.shuffle(first)
    for both in (USDM_FEEDS, FEEDS):
        if set(both) <= set(victims):
            first.insert(0, both)
    groups, left = [], kills
    while left > 0:
        group = first.pop(0) if first else tuple(draw.sample(list(victims), min(draw.choice(AT_ONCE), len(victims))))
        groups.append(group[:left])
        left -= len(groups[-1])
    return groups


def without_eras(strikes: Sequence[Strike]) -> list[Strike]:
    """The strikes but those by which all ids begin anew.

    Of many instruments some are so slow that their first ids are gone with their line before they can be told from copies.
    """
    return [one for one in strikes if one.fault.get("kind") != ANEW["kind"]]


def required_paths(strikes: Sequence[Strike]) -> set[str]:
    """The recovery paths that a mesh must have used after these strikes and the coda (figures.py)."""
    wanted = {"book_resync", "frame_refused", "reconnect", "renewal", "shutdown", "repair"}
    wanted |= {"contradiction", "era", "unsynced", "clock", "unknown", "outbox_spill"}
    killed = [strike.kill for strike in strikes if strike.kill]
    if killed:
        wanted |= {"respawn", "restart"}
    if any("sequencer" in names for names in killed):
        wanted |= {"outbox_read", "log_read"}
    alone = [names for names in killed if "sequencer" not in names]  # which may host the other line, and logs what that brings
    if any(len(set(names) & set(feeds)) == 1 for names in alone for feeds in (FEEDS, USDM_FEEDS)):
        wanted |= {"other_line"}
    return wanted


def length_s(strikes: Sequence[Strike]) -> float:
    """Seconds until the last strike's fault is over."""
    return max((strike.at_s + strike.fault.get("length_s", 0.0) for strike in strikes), default=0.0)

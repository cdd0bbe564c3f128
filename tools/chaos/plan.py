"""What is done to the mesh, and when: a pure function of the seed. Moments are seconds since the first."""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

FEEDS = ("feed-1", "feed-2")
VICTIMS = (*FEEDS, "sequencer", "recorder", "backfill", "sentinel-1", "sentinel-2")
AT_ONCE = (1, 1, 1, 1, 2, 2, 3)  # how many die together, drawn from these
PAUSE_S = (0.3, 1.6)  # between two strikes
FAULT_EVERY = 2  # strikes with kills, on average, for one fault
CALM_S = 2.0  # before the first strike
OUTAGE_S = 4.0  # a stall that every line's deadline notices

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
    {"kind": "answer", "length_s": 3.0, "endpoint": "GET /api/v3/*", "status": 429, "retry_after_s": 1, "probability": 0.7},
)

CODA_S = 3.0  # between the last faults


class Strike(NamedTuple):
    """At `at_s` these processes are killed together, or this fault is commanded."""

    at_s: float
    kill: tuple[str, ...] = ()
    fault: dict[str, Any] = {}


# The last faults, whatever the seed, on a mesh that has come back whole: they meet every line, and nothing that comes after
# them could make them good by chance.
CODA = tuple(
    Strike(CODA_S * place, fault=fault)
    for place, fault in enumerate(
        (
            {"kind": "cut", "length_s": 0.1},
            {"kind": "garbage", "length_s": 1.0, "probability": 0.5},
            {"kind": "shutdown", "length_s": 2.0},
            {"kind": "skip", "length_s": 1.0, "stream": "*@trade"},
            {"kind": "skip", "length_s": 1.0, "stream": "*@depth*"},
        )
    )
)


def plan(kills: int, seed: int, victims: Sequence[str] = VICTIMS) -> list[Strike]:
    """`kills` SIGKILLs in all, both feeds together at least once where there are two kills, and every fault at least once.

    The coda comes after it.
    """
    draw = random.Random(seed)
    groups = _groups(kills, draw, victims)
    faults = list(FAULTS)
    draw.shuffle(faults)
    faults += [draw.choice(FAULTS) for _ in range(len(groups) // FAULT_EVERY - len(faults))]
    acts: list[tuple[str, ...] | dict[str, Any]] = [*groups, *faults]
    draw.shuffle(acts)
    strikes, at_s = [], CALM_S
    for act in acts:
        if isinstance(act, tuple):
            strikes.append(Strike(round(at_s, 3), kill=act))
        else:
            strikes.append(Strike(round(at_s, 3), fault={**act, "seed": draw.randrange(1 << 30)}))
        at_s += draw.uniform(*PAUSE_S)
    return strikes


def _groups(kills: int, draw: random.Random, victims: Sequence[str]) -> list[tuple[str, ...]]:
    """Who dies together. First each victim alone and both feeds at once, as far as `kills` reaches, then as drawn."""
    first: list[tuple[str, ...]] = [(name,) for name in victims]
    draw.shuffle(first)
    if set(FEEDS) <= set(victims):
        first.insert(0, FEEDS)
    groups, left = [], kills
    while left > 0:
        group = first.pop(0) if first else tuple(draw.sample(list(victims), min(draw.choice(AT_ONCE), len(victims))))
        groups.append(group[:left])
        left -= len(groups[-1])
    return groups


def paths(strikes: Sequence[Strike]) -> set[str]:
    """The recovery paths that these strikes and the coda cannot go without (figures.py)."""
    wanted = {"book_resync", "frame_refused", "reconnect", "renewal", "shutdown", "repair"}
    killed = [strike.kill for strike in strikes if strike.kill]
    if killed:
        wanted |= {"respawn", "restart"}
    if any("sequencer" in names for names in killed):
        wanted |= {"outbox_read", "log_read"}
    if any(len(set(names) & set(FEEDS)) == 1 for names in killed):
        wanted |= {"other_line"}
    return wanted


def length_s(strikes: Sequence[Strike]) -> float:
    """Until the last strike's fault is over."""
    return max((strike.at_s + strike.fault.get("length_s", 0.0) for strike in strikes), default=0.0)
